//! Who may do what does not depend on the way in: every command, by every way, with every kind of token.

use serde_json::{Value, json};
use switchboard::chat::Options;
use switchboard::chat::command::Command;
use switchboard::reactor::Config;

use crate::world::{Call, Client, World, list, options, texts};

/// A kind of token: what it says, and whether it may enter the room `general`, post there, moderate it, moderate everything, and
/// send to Bob alone.
const KINDS: [(&str, &str, [bool; 5]); 7] = [
    ("guest", "", [false; 5]),
    ("verified", "good-Ada", [true, true, false, false, true]),
    ("join only", "good-Ada:*=j", [true, false, false, false, false]),
    ("another room", "good-Ada:team=jp", [false; 5]),
    ("post only", "good-Ada:*=p", [false, true, false, false, true]),
    ("moderator here", "good-Ada:general=jpm", [true, true, true, false, false]),
    ("moderator everywhere", "good-Ada:*=jpm", [true; 5]),
];

fn strict() -> World {
    let mut world = World::with(Options { guests: false, ..options() }, None, Config::default());
    let bob = world.verified("Bob");
    world.join(bob, "general");
    for text in ["one", "two"] {
        world.post(bob, "general", text);
    }
    world.tick();
    world
}

/// Every command, and which of the five rights it takes.
fn commands() -> Vec<(Value, usize)> {
    let in_general = |mut command: Value| {
        command["room"] = "general".into();
        command
    };
    vec![
        (in_general(json!({"type": "join"})), 0),
        (in_general(json!({"type": "history"})), 0),
        (in_general(json!({"type": "search", "query": "one"})), 0),
        (in_general(json!({"type": "who"})), 0),
        (in_general(json!({"type": "post", "text": "x"})), 1),
        (in_general(json!({"type": "react", "seq": 1, "emoji": "👍"})), 1),
        (in_general(json!({"type": "kick", "user": "Bob"})), 2),
        (json!({"type": "direct", "to": "Bob", "text": "x"}), 4),
        (json!({"type": "ban", "user": "Eve"}), 3),
        (json!({"type": "unban", "user": "Eve"}), 3),
    ]
}

fn is_done(answer: &Value) -> bool {
    answer["type"] != "error"
}

#[test]
fn every_command_takes_the_right_that_it_takes_with_every_kind_of_token() {
    for (kind, token, rights) in KINDS {
        let mut world = strict();
        let ada = world.connect();
        if !token.is_empty() {
            world.ask(ada, &json!({"type": "hello", "token": token}));
        }
        for (command, right) in commands() {
            // Those that are for members only may be done by nobody who may not enter.
            let is_for_members = command["room"] == "general";
            let may = rights[right] && (!is_for_members || rights[0]);
            let answer = world.ask(ada, &command);
            assert_eq!(is_done(&answer), may, "{kind}: {command}: {answer}");
        }
    }
}

fn tab(world: &mut World, token: &str) -> Client {
    let target = if token.is_empty() { "/ws".to_owned() } else { format!("/ws?token={token}") };
    let client = world.open(&target, "json", "127.0.0.1:5000");
    world.tick();
    client
}

#[test]
fn the_same_rights_hold_for_json() {
    for (kind, token, [may_join, may_post, ..]) in KINDS {
        let mut world = strict();
        let client = tab(&mut world, token);
        let status = world.status(client);
        if !may_join {
            let expected = if token.is_empty() { 401 } else { 403 };
            assert_eq!(status, Some(expected), "{kind}");
            continue;
        }
        assert_eq!(status, Some(101), "{kind}");
        assert_eq!(texts(&list(&world.next(client), "msg")), ["two", "one"]);
        world.send(client, &json!({"user": "Ada", "text": "three"}));
        world.tick();
        let got = world.next(client);
        assert_eq!(got["error"].is_null(), may_post, "{kind}: {got}");
    }
}

#[test]
fn a_client_of_json_with_a_token_is_that_user_until_it_expires() {
    let mut world = strict();
    let expires = world.unix_ms() / 1000 + 60;
    let client = tab(&mut world, &format!("good-Ada@{expires}"));
    world.take(client);
    world.send(client, &json!({"user": "Eve", "text": "x"}));
    world.tick();
    assert!(world.next(client)["error"].is_string(), "the token is Ada's");
    world.send(client, &json!({"user": "aDA", "text": "x"}));
    world.tick();
    assert_eq!(list(&world.next(client), "msg")[0]["user"], "Ada");
    let bob = world.verified("Bob");
    let joined = world.join(bob, "general");
    assert_eq!(list(&joined, "messages")[2]["verified"], true);
    world.advance(60_000);
    assert!(world.take(client).iter().any(|said| said["error"].is_string()));
    assert_eq!(world.close_code(client), Some(4003));
}

#[test]
fn a_ban_ends_every_connection_of_a_user_whatever_it_speaks() {
    let mut world = World::in_memory();
    let boss = world.verified("Boss:*");
    let (verified, guest) = (tab(&mut world, "good-Ada"), tab(&mut world, ""));
    world.send(guest, &json!({"user": "Eve", "text": "x"}));
    world.tick();
    for (name, client) in [("ada", verified), ("EVE", guest)] {
        world.take(client);
        assert_eq!(world.ask(boss, &json!({"type": "ban", "user": name}))["type"], "ack");
        world.tick();
        world.take(client);
        assert_eq!(world.close_code(client), Some(4002), "{name}");
    }
    let again = tab(&mut world, "good-Ada");
    assert_eq!(world.status(again), Some(403));
    let other = tab(&mut world, "");
    world.take(other);
    world.send(other, &json!({"user": "Eve", "text": "x"}));
    world.tick();
    assert!(world.next(other)["error"].as_str().unwrap().starts_with("banned"));
}

#[test]
fn an_expired_token_does_nothing_even_before_its_timer_came() {
    let mut world = World::in_memory();
    let expires = world.unix_ms() / 1000 + 60;
    let ada = world.verified(&format!("Ada@{expires}"));
    world.join(ada, "r");
    let bob = world.member("Bob", "r");
    world.take(bob);
    // The clock of the wall says so; the timer knows nothing of that.
    world.jump(61_000);
    world.post(ada, "r", "too late");
    world.tick();
    assert_eq!(world.take_type(bob, "message").len(), 0);
    world.take(ada);
    assert_eq!(world.close_code(ada), Some(4003));
}

#[test]
fn where_a_token_is_asked_for_nobody_without_one_is_told_anything() {
    let mut world = strict();
    let silent = world.connect();
    world.call(Call::Broadcast("to all".to_owned()));
    assert_eq!(world.take(silent), Vec::<Value>::new());
}

#[test]
fn the_server_itself_may_do_everything() {
    let mut world = strict();
    let command = Command::Post { room: "general".into(), text: "x".into(), key: None };
    world.call(Call::Command(1, Some("Ada".to_owned()), command));
    world.call(Call::Command(
        2,
        None,
        Command::History { room: "general".into(), before: None, after: None, limit: None },
    ));
    world.call(Call::Command(3, None, Command::Ban { user: "Eve".into(), seconds: None, reason: None }));
    let kinds: Vec<Value> = world.answered().into_iter().map(|(_, answer)| answer["type"].clone()).collect();
    assert_eq!(kinds, ["ack", "history", "ack"]);
}

#[test]
fn a_second_hello_that_names_somebody_banned_ends_nothing() {
    let mut world = World::in_memory();
    let boss = world.verified("Boss:*");
    world.ask(boss, &json!({"type": "ban", "user": "Eve"}));
    let ada = world.member("Ada", "r");
    let refused = world.ask(ada, &json!({"type": "hello", "user": "Eve"}));
    assert_eq!((&refused["code"], &refused["field"]), (&json!("bad_field"), &json!("type")));
    assert_eq!(world.ask(ada, &json!({"type": "who", "room": "r"}))["type"], "members");
}

#[test]
fn a_direct_message_takes_the_right_to_post_in_that_conversation() {
    for (token, may) in [
        ("Ada", true),
        ("Ada:*=jp", true),
        ("Ada:@*=p", true),
        ("Ada:@bob=p", true),
        ("Ada:@eve=p", false),
        ("Ada:team-*=jp", false),
        ("Ada:*=j", false),
        ("Ada:@bob=j", false),
    ] {
        let mut world = World::on_disk();
        let (ada, _bob) = (world.verified(token), world.verified("Bob"));
        world.send(ada, &json!({"type": "direct", "to": "Bob", "text": "hi"}));
        world.tick();
        world.answer();
        world.commit();
        let got = world.take(ada);
        assert_eq!(got[0]["type"] == "ack", may, "{token}: {got:?}");
    }
}
