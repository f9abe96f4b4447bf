//! What messages carry besides their text, and what they reply to.

use serde_json::{Value, json};
use switchboard::chat::Limits;

use crate::world::{Client, World, list, options};

/// The same in memory and on the disk.
fn both(test: impl Fn(&mut World)) {
    for mut world in [World::in_memory(), World::on_disk()] {
        test(&mut world);
    }
}

/// The events of a kind that somebody got, once what was proposed is history.
fn told(world: &mut World, client: Client, kind: &str) -> Vec<Value> {
    world.tick();
    world.answer();
    if world.is_on_disk() {
        world.commit();
    }
    world.take_type(client, kind)
}

#[test]
fn data_comes_back_as_it_was_written_but_for_blanks() {
    both(|world| {
        let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
        let written = r#"{ "n" : 0.10, "big":12345678901234567890 , "s":"\u00e9 \" x", "l":[ null, true ] }"#;
        let kept = r#""data":{"n":0.10,"big":12345678901234567890,"s":"\u00e9 \" x","l":[null,true]}"#;
        world.take(bob);
        world.send_text(ada, &format!(r#"{{"type":"post","room":"r","text":"hi","data":{written}}}"#));
        world.tick();
        if world.is_on_disk() {
            world.commit();
        }
        let texts = world.take_texts(bob);
        assert!(texts[0].contains(kept), "{texts:?}");
        world.send(bob, &json!({"type": "history", "room": "r"}));
        world.tick();
        assert!(world.take_texts(bob)[0].contains(kept));
        world.send(bob, &json!({"type": "search", "room": "r", "query": "hi"}));
        world.tick();
        world.answer();
        assert!(world.take_texts(bob)[0].contains(kept));
        let found = world.ask(bob, &json!({"type": "search", "room": "r", "query": "true"}));
        assert_eq!(list(&found, "messages").len(), 0, "only the text is searched");
        let eve = world.person("Eve");
        let joined = world.join(eve, "r");
        assert_eq!(list(&joined, "messages")[0]["data"]["l"], json!([null, true]));
    });
}

#[test]
fn an_edit_changes_data_where_it_brings_some_and_a_deletion_takes_it() {
    both(|world| {
        let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
        world.ask(ada, &json!({"type": "post", "room": "r", "text": "a", "data": {"v": 1}}));
        let data = |world: &mut World| {
            let history = world.ask(bob, &json!({"type": "history", "room": "r"}));
            list(&history, "messages")[0]["data"].clone()
        };
        world.take(bob);
        for (command, edited, now) in [
            (json!({"text": "b"}), json!(null), json!({"v": 1})),
            (json!({"text": "c", "data": null}), json!(null), json!({"v": 1})),
            (json!({"text": "d", "data": [2]}), json!([2]), json!([2])),
            (json!({"text": "e"}), json!(null), json!([2])),
        ] {
            let mut command = command;
            command["type"] = json!("edit");
            command["room"] = json!("r");
            command["seq"] = json!(1);
            world.send(ada, &command);
            let event = &told(world, bob, "edited")[0];
            assert_eq!((&event["text"], &event["data"]), (&command["text"], &edited));
            assert_eq!(data(world), now);
        }
        world.take(ada);
        world.ask(ada, &json!({"type": "delete", "room": "r", "seq": 1}));
        world.take(bob);
        assert_eq!(data(world), json!(null));
    });
}

#[test]
fn a_reply_names_an_earlier_message_of_the_room() {
    both(|world| {
        let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
        world.take(bob);
        let reply = |to: u64| json!({"type": "post", "room": "r", "text": "x", "reply_to": to});
        for to in [0, 1, 2] {
            let refused = world.ask(ada, &reply(to));
            assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("reply_to")));
        }
        world.ask(ada, &json!({"type": "post", "room": "r", "text": "first"}));
        world.send(bob, &reply(1));
        assert_eq!(told(world, ada, "message").last().unwrap()["reply_to"], 1);
        // A message that is deleted can still be replied to, and a reply that is deleted keeps its place.
        world.ask(ada, &json!({"type": "delete", "room": "r", "seq": 1}));
        assert_eq!(world.ask(ada, &reply(1))["seq"], 3);
        world.ask(ada, &json!({"type": "delete", "room": "r", "seq": 3}));
        world.take(bob);
        let history = world.ask(bob, &json!({"type": "history", "room": "r"}));
        let replies: Vec<Value> =
            list(&history, "messages").iter().map(|one| one["reply_to"].clone()).collect();
        assert_eq!(replies, [json!(null), json!(1), json!(1)]);
        for wrong in [json!("1"), json!(-1), json!(1.5)] {
            let command = json!({"type": "post", "room": "r", "text": "x", "reply_to": wrong});
            assert_eq!(world.ask(ada, &command)["code"], "bad_field");
        }
    });
}

#[test]
fn direct_messages_carry_data_and_reply_where_they_are_kept() {
    both(|world| {
        let (ada, bob, guest) = (world.verified("Ada"), world.verified("Bob"), world.person("Guest"));
        let direct = |to: &str, more: Value| {
            let mut command = json!({"type": "direct", "to": to, "text": "x"});
            command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            command
        };
        world.ask(ada, &direct("Bob", json!({"data": {"a": 1}})));
        world.ask(bob, &direct("Ada", json!({"reply_to": 1, "data": "s"})));
        let got = world.take_type(ada, "direct");
        let shown: Vec<_> = got.iter().map(|one| (one["data"].clone(), one["reply_to"].clone())).collect();
        assert_eq!(shown.last(), Some(&(json!("s"), json!(1))));
        let refused = world.ask(ada, &direct("Bob", json!({"reply_to": 3})));
        assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("reply_to")));
        let refused = world.ask(guest, &direct("Ada", json!({"reply_to": 1})));
        assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("reply_to")));
        world.take(ada);
        world.ask(guest, &direct("Ada", json!({"data": [3]})));
        assert_eq!(world.take_type(ada, "direct")[0]["data"], json!([3]));
    });
}

#[test]
fn data_has_a_limit_and_is_one_value_of_json() {
    let limits = options().limits.with(|it| it.max_data = 10);
    let mut world = World::in_memory_with(limits);
    let ada = world.member("Ada", "r");
    let post = |data: &str| format!(r#"{{"type":"post","room":"r","text":"x","data":{data}}}"#);
    for (data, code) in [
        ("[ 1, 2,  3, 4 ]", None),
        (r#""12345678""#, None),
        (r#""123456789""#, Some("too_long")),
        ("null", None),
        ("[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]", Some("too_long")),
        ("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", Some("bad_json")),
        (r#"1,"data":2"#, Some("bad_field")),
        (r#"1,"d\u0061ta":2"#, Some("bad_field")),
    ] {
        world.send_text(ada, &post(data));
        world.tick();
        let answers = world.take(ada);
        let answer = answers.iter().find(|one| one["type"] == "ack" || one["type"] == "error").unwrap();
        assert_eq!(answer["code"].as_str(), code, "{data}");
        if code.is_some_and(|code| code != "bad_json") {
            assert_eq!(answer["field"], "data");
        }
    }
    world.send_text(ada, r#"{"type":"post","room":"r","text":"x","d\u0061ta":2}"#);
    world.tick();
    assert_eq!(world.next(ada)["field"], "data");
    // Where nothing may be carried the server does not say that it can be.
    let features = |limits: Limits| {
        let mut world = World::in_memory_with(limits);
        let client = world.connect();
        world.send(client, &json!({"type": "hello", "user": "Ada"}));
        world.tick();
        let welcome = world.next(client);
        (list(&welcome, "features"), welcome["limits"]["data"].clone())
    };
    let (features_without, most) = features(options().limits.with(|it| it.max_data = 0));
    assert!(!features_without.contains(&json!("data")) && most == 0);
    let (features_with, most) = features(options().limits);
    assert!(features_with.contains(&json!("data")) && features_with.contains(&json!("reply_to")));
    assert_eq!(most, 4096);
}
