//! Who speaks: names, tokens, guests.

use serde_json::{Value, json};
use switchboard::proto::Opcode;
use switchboard::reactor::Config;

use crate::world::{World, list, options, texts};

#[test]
fn welcome_says_who_one_is_and_what_the_limits_are() {
    let mut world = World::in_memory();
    let client = world.connect();
    let welcome = world.ask(client, &json!({"type": "hello", "id": "x", "user": "Ada"}));
    assert_eq!(
        (&welcome["type"], &welcome["id"], &welcome["user"]),
        (&json!("welcome"), &json!("x"), &json!("Ada"))
    );
    assert_eq!((&welcome["verified"], &welcome["heartbeat_ms"]), (&json!(false), &json!(25000)));
    assert_eq!(welcome["limits"]["text"], 4096);
    assert!(welcome["client"].as_str().is_some_and(|client| !client.is_empty()));
    let again = world.ask(client, &json!({"type": "hello", "id": 2, "user": "Bob"}));
    assert_eq!((&again["code"], &again["id"]), (&json!("bad_field"), &json!(2)), "once, and first");
}

#[test]
fn who_begins_with_another_command_is_a_guest() {
    let mut world = World::in_memory();
    let client = world.connect();
    let joined = world.join(client, "r");
    let me = &list(&joined, "members")[0];
    assert!(me["user"].as_str().unwrap().starts_with("guest-"), "{me}");
    assert_eq!(me["verified"], false);

    let mut world = World::with(options().with(|it| it.guests = false), None, Config::default());
    let client = world.connect();
    assert_eq!(world.join(client, "r")["code"], "forbidden");
    assert_eq!(world.ask(client, &json!({"type": "hello", "user": "Ada"}))["code"], "forbidden");
    assert_eq!(world.ask(client, &json!({"type": "hello", "token": "good-Ada"}))["type"], "welcome");
}

#[test]
fn ch_04_look_alikes_are_one_user() {
    let mut world = World::in_memory();
    let composed = world.member("é", "r");
    let decomposed = world.member("e\u{301}", "R");
    let wide = world.connect();
    let welcome = world.ask(wide, &json!({"type": "hello", "user": "É"}));
    assert_eq!(welcome["user"], "é", "shown as the first who came");
    assert_eq!(world.chat().stats().users, 1);
    let who = world.ask(composed, &json!({"type": "who", "room": "r"}));
    assert_eq!(who["count"], 2);
    let _ = decomposed;
}

#[test]
fn ch_06_ch_09_what_a_client_says_of_sender_number_and_time_is_ignored() {
    let mut world = World::in_memory();
    let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
    world.take(bob);
    let forged = json!({"type": "post", "room": "r", "text": "hi", "user": "Bob", "client": "c1", "seq": 99, "time": 1,
        "verified": true, "prev": 7, "edited": 1});
    world.send(ada, &forged);
    world.tick();
    let message = world.take_type(bob, "message").remove(0);
    assert_eq!((&message["user"], &message["seq"], &message["prev"]), (&json!("Ada"), &json!(1), &json!(0)));
    assert_eq!((&message["time"], &message["verified"]), (&json!(world.unix_ms()), &Value::Null));
    world.take(ada);
    for kind in ["message", "ack", "welcome", "presence"] {
        let answer = world.ask(ada, &json!({"type": kind, "id": 1, "room": "r", "messages": []}));
        assert_eq!((&answer["code"], &answer["field"]), (&json!("unknown_type"), &json!("type")), "{answer}");
    }
}

#[test]
fn ch_07_a_name_in_use_by_a_verified_user_cannot_be_taken() {
    let mut world = World::in_memory();
    let ada = world.verified("Ada");
    let other = world.connect();
    for name in ["Ada", "ADA", "ａｄａ"] {
        let refused = world.ask(other, &json!({"type": "hello", "user": name}));
        assert_eq!((&refused["code"], &refused["field"]), (&json!("forbidden"), &json!("user")));
    }
    // A second connection of the same user is welcome, and both end in any order.
    let second = world.verified("Ada");
    world.cut(ada);
    world.tick();
    assert_eq!(world.ask(other, &json!({"type": "hello", "user": "Ada"}))["code"], "forbidden");
    world.cut(second);
    world.tick();
    assert_eq!(world.ask(other, &json!({"type": "hello", "user": "Ada"}))["type"], "welcome");
}

#[test]
fn ch_07_a_verified_user_takes_the_name_from_guests() {
    let mut world = World::in_memory();
    let guests = [world.member("Ada", "r"), world.member("ada", "r")];
    let bob = world.member("Bob", "r");
    world.advance(200);
    world.take(bob);
    let ada = world.verified("Ada");
    world.join(ada, "r");
    world.advance(200);
    for guest in guests {
        let bye = world.take(guest).into_iter().find(|value| value["type"] == "bye").expect("a bye");
        assert_eq!(bye["reason"], "name_taken");
        assert_eq!(world.close_code(guest), Some(4001));
        // What it still says is heard by nobody.
        world.post(guest, "r", "I am Ada");
    }
    world.tick();
    let who = world.ask(bob, &json!({"type": "who", "room": "r"}));
    let members = list(&who, "members");
    let verified: Vec<&Value> = members.iter().filter(|member| member["user"] == "Ada").collect();
    assert_eq!((members.len(), verified.len(), &verified[0]["verified"]), (2, 1, &json!(true)));
}

#[test]
fn ch_07_a_guest_cannot_change_what_a_verified_user_of_that_name_said() {
    let mut world = World::in_memory();
    let ada = world.verified("Ada");
    world.join(ada, "r");
    world.post(ada, "r", "signed");
    world.tick();
    world.cut(ada);
    world.tick();
    let guest = world.member("Ada", "r");
    for command in [
        json!({"type": "edit", "room": "r", "seq": 1, "text": "forged"}),
        json!({"type": "delete", "room": "r", "seq": 1}),
    ] {
        assert_eq!(world.ask(guest, &command)["code"], "forbidden");
    }
}

#[test]
fn ch_17_tokens_that_are_no_good() {
    let mut world = World::in_memory();
    let client = world.connect();
    let past = format!("good-Ada@{}", world.unix_ms() / 1000);
    for token in ["", "bad", "eyJhbGciOiJub25lIn0.e30.", &past] {
        let refused = world.ask(client, &json!({"type": "hello", "token": token}));
        assert_eq!(
            (&refused["code"], &refused["field"]),
            (&json!("forbidden"), &json!("token")),
            "{refused}"
        );
        assert!(token.is_empty() || !refused.to_string().contains(token), "a token is not repeated");
    }
    let somebody_else = json!({"type": "hello", "user": "Bob", "token": "good-Ada"});
    assert_eq!(world.ask(client, &somebody_else)["code"], "forbidden");
    assert_eq!(
        world.ask(client, &json!({"type": "hello", "user": "aDa", "token": "good-Ada"}))["user"],
        "Ada"
    );
    assert_eq!(world.ask(client, &json!({"type": "hello", "token": 1}))["field"], "token");
}

#[test]
fn ch_17_a_token_may_come_with_the_upgrade() {
    let mut world = World::in_memory();
    let bad = world.open("/ws?token=bad", "chat.v1.json", "127.0.0.1:5000");
    let good = world.open("/ws?x=y&token=good-Ada", "chat.v1.json", "127.0.0.1:5000");
    world.tick();
    assert_eq!((world.status(bad), world.status(good)), (Some(401), Some(101)));
    let joined = world.join(good, "r");
    let me = &list(&joined, "members")[0];
    assert_eq!((&me["user"], &me["verified"]), (&json!("Ada"), &json!(true)));
}

#[test]
fn permissions_are_per_room() {
    let mut world = World::in_memory();
    let ada = world.verified("Ada:team-*=jp+news=j");
    for (room, joins, posts) in [("team-a", true, true), ("news", true, false), ("general", false, false)] {
        assert_eq!(world.join(ada, room)["type"] == "joined", joins, "{room}");
        let posted = world.ask(ada, &json!({"type": "post", "room": room, "text": "x"}));
        assert_eq!(posted["type"] == "ack", posts, "{room}: {posted}");
    }
    let refused = world.join(ada, "secret");
    assert_eq!(refused["code"], "forbidden");
    assert_eq!(world.chat().stats().rooms, 3, "no room is opened for who may not enter it");
}

#[test]
fn binary_ends_the_connection_and_bad_json_does_not() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    world.advance(200);
    world.take(ada);
    for (bad, code) in [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("[]", "bad_json"),
        ("null", "bad_json"),
        ("\"x\"", "bad_json"),
        (r#"{"type":"who","room":"r"} x"#, "bad_json"),
        (r#"{"type":"who","type":"who","room":"r"}"#, "bad_field"),
        (r#"{"type":1}"#, "bad_field"),
        (r#"{"room":"r"}"#, "bad_field"),
        (r#"{"type":"shout"}"#, "unknown_type"),
    ] {
        world.send_text(ada, bad);
        world.tick();
        let error = world.next(ada);
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{bad}");
    }
    assert_eq!(world.ask(ada, &json!({"type": "who", "room": "r"}))["type"], "members");
    world.send_frame(ada, Opcode::Binary, b"{}");
    world.tick();
    assert_eq!(world.close_code(ada), Some(1003));
}

#[test]
fn ch_08_ch_15_text_is_data_and_its_length_is_counted_in_bytes() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    for text in ["<img onerror=alert(1)>", "\u{0}\u{1b}\nx", "\u{202e}x", "👩‍👩‍👧", "\"\\/"] {
        world.take(ada);
        world.post(ada, "r", text);
        world.tick();
        let message = world.take_type(ada, "message").remove(0);
        assert_eq!(texts(&[message]), [text]);
    }
    for (text, fits) in
        [("é".repeat(2048), true), ("é".repeat(2048) + "x", false), ("👍".repeat(1025), false)]
    {
        let answer = world.ask(ada, &json!({"type": "post", "room": "r", "text": text}));
        assert_eq!(answer["type"] == "ack", fits);
        assert!(fits || answer["code"] == "too_long" && answer["field"] == "text");
    }
    for empty in ["", " ", "\n\t", "\u{200b}", "\u{202e}", "\u{0}\u{1b}", "\u{2800}", "\u{fe0f}\u{200d}"] {
        assert_eq!(world.ask(ada, &json!({"type": "post", "room": "r", "text": empty}))["code"], "bad_field");
    }
}
