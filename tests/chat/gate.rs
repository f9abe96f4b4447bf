//! Who may do what does not depend on the way in: every command, by every way, with every kind of token.

use serde_json::{Value, json};
use switchboard::chat::command::Command;
use switchboard::reactor::Config;

use crate::http::{Served, TOKEN};
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
    let mut world = World::with(options().with(|it| it.guests = false), None, Config::default());
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

/// Every route of the HTTP API with a request that can be done, and the statuses of a good answer, of one that names a user who
/// is banned and of one that names a room that nobody has.
fn routes() -> Vec<(&'static str, Value, [u16; 3])> {
    let post = json!({"user": "USER", "text": "x"});
    vec![
        ("GET /api/v1/openapi.json", Value::Null, [200, 200, 200]),
        ("GET /api/v1/rooms", Value::Null, [200, 200, 200]),
        // The server speaks in whose name it likes, and a room begins with its first post.
        ("POST /api/v1/rooms/ROOM/posts", post, [201, 201, 201]),
        ("GET /api/v1/rooms/ROOM/history", Value::Null, [200, 200, 200]),
        ("GET /api/v1/rooms/ROOM/members", Value::Null, [200, 200, 200]),
        ("POST /api/v1/broadcast", json!({"text": "x", "rooms": ["ROOM"]}), [200, 200, 404]),
        ("POST /api/v1/disconnect", json!({"user": "USER"}), [404, 404, 404]),
        ("GET /api/v1/bans", Value::Null, [200, 200, 200]),
        ("GET /api/v1/bans/USER", Value::Null, [404, 200, 404]),
        ("PUT /api/v1/bans/USER", json!({}), [204, 204, 204]),
        ("DELETE /api/v1/bans/USER", Value::Null, [204, 204, 204]),
        ("POST /api/v1/drain", Value::Null, [202, 202, 202]),
    ]
}

#[test]
fn the_http_api_takes_its_own_token_and_no_other() {
    let strict = options().with(|it| it.guests = false);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let expired = 1_700_000_000 - 1;
    // Whoever moderates everything in the chat is nobody here; the API's token never expires, and is good only in its place.
    let wrong = [
        String::new(),
        bearer("wrong"),
        bearer(""),
        bearer(&TOKEN[1..]),
        bearer(&format!("{TOKEN}x")),
        bearer("good-Boss:*=jpm"),
        bearer(&format!("good-Boss@{expired}:*=jpm")),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("Authorization: {TOKEN}\r\n"),
        format!("X-Token: {TOKEN}\r\n"),
        format!("{0}{0}", bearer(TOKEN)),
    ];
    for (request, body, _) in routes() {
        let mut served = Served::new(strict.clone());
        let named = |text: &str| text.replace("USER", "Eve").replace("ROOM", "general");
        let (request, body) = (named(request), serde_json::from_str(&named(&body.to_string())).unwrap());
        for fields in &wrong {
            assert_eq!(served.ask(&request, fields, &body).0, 401, "{request} {fields:?}");
        }
        let target = format!("{request}?token={TOKEN}");
        assert_eq!(served.ask(&target, "", &body).0, 401, "{target}");
        // Nothing of all that was done.
        let (_, history) = served.call("GET /api/v1/rooms/general/history", &Value::Null);
        assert_eq!(history["messages"], json!([]), "{request}");
        assert_eq!(served.call("GET /api/v1/bans", &Value::Null).1["bans"], json!([]), "{request}");
    }
}

#[test]
fn every_route_of_the_http_api_does_what_it_may() {
    for (request, body, statuses) in routes() {
        for (kind, status) in
            ["as usual", "a banned user", "a room that nobody has"].into_iter().zip(statuses)
        {
            let mut served = Served::new(options().with(|it| it.guests = false));
            let room = if kind == "a room that nobody has" { "nowhere" } else { "general" };
            if kind == "a banned user" || request.starts_with("DELETE") {
                assert_eq!(served.call("PUT /api/v1/bans/eve", &json!({})).0, 204);
            }
            let named = |text: &str| text.replace("USER", "Eve").replace("ROOM", room);
            let body = serde_json::from_str(&named(&body.to_string())).unwrap();
            let got = served.call(&named(request), &body);
            assert_eq!(got.0, status, "{kind}: {request}: {}", got.1);
        }
    }
    // Names that no room can have, and conversations of two, which are nobody else's.
    let mut served = Served::new(options());
    for room in ["a%20b", "%E2%80%8B", "@ada", "@ada%0Abob"] {
        let post = json!({"user": "Ada", "text": "x"});
        assert_eq!(served.call(&format!("POST /api/v1/rooms/{room}/posts"), &post).0, 422, "{room}");
        assert_eq!(served.call(&format!("GET /api/v1/rooms/{room}/members"), &Value::Null).0, 422, "{room}");
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
    let command =
        Command::Post { room: "general".into(), text: "x".into(), key: None, data: None, reply_to: None };
    world.call(Call::Command(1, Some("Ada".to_owned()), command));
    world.call(Call::Command(
        2,
        None,
        Command::History { room: "general".into(), before: None, after: None, limit: None },
    ));
    world.call(Call::Command(3, None, Command::Ban { user: "Eve".into(), seconds: None, reason: None }));
    let kinds: Vec<Value> = world.answered().into_iter().map(|(_, answer)| answer["type"].clone()).collect();
    assert_eq!(kinds, ["ack", "history", "ack"]);
    // In a user's name it may do what the user may, and changes what it said in that name.
    let edit = |seq: u64| Command::Edit { room: "general".into(), seq, text: "y".into(), data: None };
    world.call(Call::Command(4, Some("Ben".to_owned()), edit(3)));
    world.call(Call::Command(5, Some("Ada".to_owned()), edit(3)));
    world.call(Call::Command(6, None, edit(3)));
    world.call(Call::Command(7, Some("Ada".to_owned()), Command::Unban { user: "Eve".into() }));
    let answers: Vec<Value> = world.answered().into_iter().skip(3).map(|(_, answer)| answer).collect();
    let seen: Vec<(&Value, &Value)> = answers.iter().map(|it| (&it["type"], &it["code"])).collect();
    let (error, ack) = ((&json!("error"), &json!("forbidden")), (&json!("ack"), &Value::Null));
    assert_eq!(seen, [error, ack, ack, error]);
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

#[test]
fn a_number_out_of_range_names_its_field() {
    let mut world = World::in_memory();
    let boss = world.verified("Boss:*");
    world.join(boss, "r");
    for (command, field) in [
        (json!({"type": "history", "room": "r"}), "before"),
        (json!({"type": "history", "room": "r"}), "limit"),
        (json!({"type": "search", "room": "r", "query": "x"}), "limit"),
        (json!({"type": "join", "room": "r"}), "history"),
        (json!({"type": "edit", "room": "r", "text": "x"}), "seq"),
        (json!({"type": "delete", "room": "r"}), "seq"),
        (json!({"type": "react", "room": "r", "emoji": "👍"}), "seq"),
        (json!({"type": "read", "room": "r"}), "seq"),
        (json!({"type": "ban", "user": "Eve"}), "seconds"),
        (json!({"type": "who", "room": "r"}), "id"),
    ] {
        for wrong in [json!(-1), json!(1.5), json!(1e300), json!(1_u64 << 53), json!(u64::MAX), json!(true)] {
            let mut command = command.clone();
            command[field] = wrong;
            let refused = world.ask(boss, &command);
            assert_eq!(
                (&refused["code"], &refused["field"]),
                (&json!("bad_field"), &json!(field)),
                "{command}"
            );
        }
    }
    // A ban's end is a number that clients can hold, too.
    let refused = world.ask(boss, &json!({"type": "ban", "user": "Eve", "seconds": (1_u64 << 53) - 1}));
    assert_eq!((&refused["code"], &refused["field"]), (&json!("bad_field"), &json!("seconds")));
    let command = Command::Ban { user: "Eve".into(), seconds: Some(u64::MAX), reason: None };
    world.call(Call::Command(1, None, command));
    assert_eq!(world.answered()[0].1["field"], "seconds");
}

#[test]
fn a_reaction_is_one_emoji_in_one_form() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    world.post(ada, "r", "x");
    world.tick();
    world.take(ada);
    let react = |emoji: &str| json!({"type": "react", "room": "r", "seq": 1, "emoji": emoji});
    for emoji in ["❤", "❤\u{fe0f}", "👍🏽", "🇩🇪", "1\u{fe0f}\u{20e3}", "👩\u{200d}💻", "🏴\u{200d}☠\u{fe0f}"]
    {
        assert_eq!(world.ask(ada, &react(emoji))["type"], "ack", "{emoji}");
    }
    for wrong in ["lol", "\u{202e}", "1", "🇩", "❤❤", "👍 ", "\u{fe0f}", "toString", "__proto__", ""]
    {
        let refused = world.ask(ada, &react(wrong));
        assert_eq!(
            (&refused["code"], &refused["field"]),
            (&json!("bad_field"), &json!("emoji")),
            "{wrong:?}"
        );
    }
    let got = world.ask(ada, &json!({"type": "history", "room": "r"}));
    let reactions = list(&got, "messages")[0]["reactions"].clone();
    assert_eq!(reactions.as_object().unwrap().len(), 6, "{reactions}");
    assert_eq!(reactions["❤\u{fe0f}"], json!(["Ada"]));
}
