//! Rooms: history, changes, presence, conversations of two.

use serde_json::{Value, json};

use crate::disk::Disk;
use crate::world::{World, list, options, seqs, texts};

#[test]
fn ch_12_history_reads_back_page_by_page_and_no_more_at_a_time() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let ada = world.member("Ada", "r");
        for i in 1..=230 {
            world.post(ada, "r", &i.to_string());
        }
        world.tick();
        if on_disk {
            world.commit();
            // What is older than the newest hundred is on the disk only.
            world = world.restart();
        }
        let ada = world.member("Ada", "r");
        let mut before = None;
        let mut all = Vec::new();
        loop {
            let page = world
                .ask(ada, &json!({"type": "history", "room": "r", "before": before, "limit": 1_000_000}));
            let messages = list(&page, "messages");
            assert!(messages.len() <= 100);
            all.splice(0..0, seqs(&messages));
            before = messages.first().map(|message| message["seq"].clone());
            if page["more"] != true {
                break;
            }
        }
        assert_eq!(all, (1..=230).collect::<Vec<_>>());
        for nonsense in [json!(-1), json!(1.5), json!("9"), json!(9_007_199_254_740_992_u64), json!([1])] {
            for field in ["before", "limit"] {
                let mut command = json!({"type": "history", "room": "r"});
                command[field] = nonsense.clone();
                let error = world.ask(ada, &command);
                assert_eq!(
                    (&error["code"], &error["field"]),
                    (&json!("bad_field"), &json!(field)),
                    "{nonsense}"
                );
            }
        }
        for (before, limit, expected) in
            [(0, 10, vec![]), (1, 10, vec![]), (3, 10, vec![1, 2]), (50, 0, vec![])]
        {
            let page =
                world.ask(ada, &json!({"type": "history", "room": "r", "before": before, "limit": limit}));
            assert_eq!(seqs(&list(&page, "messages")), expected, "before {before}");
        }
    }
}

#[test]
fn ch_14_nothing_is_told_of_a_room_that_one_is_not_in() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "secret");
    world.post(ada, "secret", "hush");
    world.tick();
    let eve = world.person("Eve");
    for room in ["secret", "not there"] {
        let mut answers = Vec::new();
        for command in [
            json!({"type": "post", "text": "x"}),
            json!({"type": "history"}),
            json!({"type": "search", "query": "hush"}),
            json!({"type": "who"}),
            json!({"type": "edit", "seq": 1, "text": "x"}),
            json!({"type": "delete", "seq": 1}),
            json!({"type": "react", "seq": 1, "emoji": "👍"}),
            json!({"type": "typing"}),
            json!({"type": "read", "seq": 1}),
            json!({"type": "leave"}),
            json!({"type": "kick", "user": "Ada"}),
        ] {
            let mut command = command.clone();
            command["room"] = json!(room.replace(' ', "-"));
            answers.push(world.ask(eve, &command)["code"].clone());
        }
        assert!(answers.iter().all(|code| code == "not_joined"), "{room}: {answers:?}");
    }
    // Nor of a conversation of others, by whatever name.
    let bob = world.verified("Bob");
    for room in ["@ada\nbob", "@eve\nada", "\u{ff20}ada"] {
        let answer = world.ask(bob, &json!({"type": "history", "room": room}));
        assert_eq!(answer["type"], "error", "{room:?}");
    }
}

#[test]
fn edits_deletions_and_reactions_reach_everybody_and_stay() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
        for text in ["one", "two", "three"] {
            world.post(ada, "r", text);
        }
        world.tick();
        world.commit();
        world.take(ada);
        world.take(bob);
        for (who, command) in [
            (ada, json!({"type": "edit", "seq": 1, "text": "one!"})),
            (ada, json!({"type": "delete", "seq": 2})),
            (bob, json!({"type": "react", "seq": 3, "emoji": "👍"})),
            (ada, json!({"type": "react", "seq": 3, "emoji": "👍"})),
            (bob, json!({"type": "react", "seq": 3, "emoji": "👍", "remove": true})),
        ] {
            let mut command = command;
            command["room"] = json!("r");
            world.send(who, &command);
            world.tick();
            world.commit();
        }
        let events: Vec<Value> = world.take(bob).into_iter().filter(|value| value["type"] != "ack").collect();
        let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["edited", "deleted", "reacted", "reacted", "reacted"]);
        assert!(events.iter().enumerate().all(|(i, event)| event["rev"] == i as u64 + 1));
        let acks: Vec<Value> = world.take_type(ada, "ack").iter().map(|ack| ack["rev"].clone()).collect();
        assert_eq!(acks, [1, 2, 4]);
        let history = world.ask(bob, &json!({"type": "history", "room": "r"}));
        let messages = list(&history, "messages");
        assert_eq!(texts(&messages), ["one!", "", "three"]);
        assert!(messages[0]["edited"].is_u64() && messages[1]["deleted"] == true);
        assert_eq!(messages[2]["reactions"], json!({"👍": ["Ada"]}));
        // What is gone is gone.
        for command in [
            json!({"type": "edit", "room": "r", "seq": 2, "text": "back"}),
            json!({"type": "delete", "room": "r", "seq": 2}),
            json!({"type": "react", "room": "r", "seq": 2, "emoji": "👍"}),
            json!({"type": "edit", "room": "r", "seq": 4, "text": "x"}),
            json!({"type": "edit", "room": "r", "seq": 0, "text": "x"}),
        ] {
            assert_eq!(world.ask(ada, &command)["code"], "not_found", "{command}");
        }
        assert_eq!(
            world.ask(bob, &json!({"type": "edit", "room": "r", "seq": 1, "text": "x"}))["code"],
            "forbidden"
        );
        // A reaction that is there already, or not there, changes nothing.
        for remove in [false, true] {
            let who = if remove { bob } else { ada };
            let ack = world
                .ask(who, &json!({"type": "react", "room": "r", "seq": 3, "emoji": "👍", "remove": remove}));
            assert_eq!((&ack["type"], &ack["rev"]), (&json!("ack"), &json!(5)));
        }
    }
}

#[test]
fn a_message_on_its_way_to_deletion_takes_no_more_changes() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "r");
    world.post(ada, "r", "one");
    world.tick();
    world.commit();
    world.take(ada);
    let both = |world: &mut World| {
        world.send(ada, &json!({"type": "delete", "room": "r", "seq": 1}));
        world.send(ada, &json!({"type": "edit", "room": "r", "seq": 1, "text": "back"}));
        world.tick();
    };
    // Where the deletion comes to nothing the message is there again.
    both(&mut world);
    world.fail(0);
    world.recover();
    let refused = world.take_type(ada, "error");
    assert!(refused.len() == 2 && refused.iter().all(|error| error["code"] == "unavailable"), "{refused:?}");
    let edited = world.ask(ada, &json!({"type": "edit", "room": "r", "seq": 1, "text": "still here"}));
    assert_eq!((&edited["type"], world.disk.texts("r")), (&json!("ack"), vec!["still here".to_owned()]));
    both(&mut world);
    world.commit();
    assert_eq!(world.take_type(ada, "error").remove(0)["code"], "not_found");
    assert_eq!(world.disk.texts("r"), [""]);
}

#[test]
fn old_messages_are_changed_on_the_disk() {
    let limits = options().limits.with(|it| {
        it.recent_messages = 2;
        it.opened_messages = 2;
    });
    let mut world = World::on_disk_with(Disk::new(), options().with(|it| it.limits = limits));
    let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
    for i in 1..=9 {
        world.post(ada, "r", &i.to_string());
    }
    world.tick();
    world.commit();
    let refused = {
        world.take(bob);
        world.ask(bob, &json!({"type": "edit", "room": "r", "seq": 2, "text": "x"}))
    };
    assert_eq!(refused["code"], "forbidden");
    world.send(ada, &json!({"type": "edit", "room": "r", "seq": 2, "text": "two"}));
    world.tick();
    world.answer();
    world.commit();
    assert_eq!(world.disk.texts("r")[1], "two");
    assert_eq!(world.take_type(bob, "edited")[0]["text"], "two");
}

#[test]
fn presence_comes_at_once_then_collected_and_leaves_out_who_only_passed_by() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    world.advance(500);
    world.take(ada);
    let bob = world.member("Bob", "r");
    let presence = world.take_type(ada, "presence");
    assert_eq!(presence.len(), 1, "the first at once");
    assert_eq!((&presence[0]["joined"][0]["user"], &presence[0]["count"]), (&json!("Bob"), &json!(2)));
    // Within the next 100 ms: one comes and goes, one goes and comes, one stays, one leaves.
    let passer = world.member("Passer", "r");
    world.ask(passer, &json!({"type": "leave", "room": "r"}));
    world.ask(bob, &json!({"type": "leave", "room": "r"}));
    world.join(bob, "r");
    let eve = world.member("Eve", "r");
    assert_eq!(world.take_type(ada, "presence"), Vec::<Value>::new());
    world.advance(100);
    let presence = world.take_type(ada, "presence");
    assert_eq!(presence.len(), 1, "{presence:?}");
    assert_eq!(presence[0]["joined"].as_array().unwrap().len(), 1);
    assert_eq!((&presence[0]["joined"][0]["user"], &presence[0]["left"]), (&json!("Eve"), &json!([])));
    assert_eq!(presence[0]["count"], 3);
    world.cut(eve);
    world.tick();
    world.advance(100);
    let presence = world.take_type(ada, "presence");
    assert_eq!((&presence[0]["left"][0]["user"], &presence[0]["count"]), (&json!("Eve"), &json!(2)));
    // Nothing happened, so nothing is said.
    world.join(passer, "r");
    world.ask(passer, &json!({"type": "leave", "room": "r"}));
    world.advance(1000);
    assert_eq!(world.take_type(ada, "presence"), Vec::<Value>::new());
}

#[test]
fn ch_03_churn_costs_the_others_one_notice_in_100_ms() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    let crowd: Vec<_> = (0..50).map(|i| world.person(&format!("user {i}"))).collect();
    world.advance(500);
    world.take(ada);
    for round in 0..100 {
        for person in &crowd {
            let kind = if round % 2 == 0 { "join" } else { "leave" };
            world.send(*person, &json!({"type": kind, "room": "r"}));
        }
        world.advance(10);
    }
    let told = world.take_type(ada, "presence");
    assert!(told.len() <= 11, "{} notices in a second", told.len());
    let mut others = std::collections::BTreeSet::new();
    for notice in &told {
        let names =
            |name| list(notice, name).iter().map(|member| member["client"].to_string()).collect::<Vec<_>>();
        others.extend(names("joined"));
        for gone in names("left") {
            assert!(others.remove(&gone), "{gone} was never there");
        }
        assert_eq!(notice["count"], others.len() + 1, "{notice}");
    }
}

#[test]
fn lists_of_names_are_short_and_counts_are_right() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    let crowd: Vec<_> = (0..150).map(|i| world.person(&format!("user {i}"))).collect();
    world.advance(500);
    world.take(ada);
    for person in &crowd {
        world.send(*person, &json!({"type": "join", "room": "r"}));
    }
    world.tick();
    let presence = world.take_type(ada, "presence").remove(0);
    assert_eq!((list(&presence, "joined").len(), &presence["count"]), (100, &json!(151)));
    let who = world.ask(ada, &json!({"type": "who", "room": "r"}));
    assert_eq!((list(&who, "members").len(), &who["count"]), (100, &json!(151)));
}

#[test]
fn two_verified_users_have_a_conversation_that_is_kept() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let (ada, phone, bob) = (world.verified("Ada"), world.verified("Ada"), world.verified("Bob"));
        let command = json!({"type": "direct", "id": 1, "to": "bob", "text": "hi", "key": "k"});
        world.send(ada, &command);
        world.tick();
        world.answer();
        world.commit();
        for client in [ada, phone, bob] {
            let direct = world.take_type(client, "direct");
            assert_eq!(direct.len(), 1, "all connections of both, once");
            assert_eq!(
                (&direct[0]["from"], &direct[0]["to"], &direct[0]["seq"]),
                (&json!("Ada"), &json!("Bob"), &json!(1))
            );
        }
        let ack = world.ask(phone, &command);
        assert_eq!((&ack["duplicate"], &ack["seq"], &ack["room"]), (&json!(true), &json!(1), &json!("@Bob")));
        for (client, other) in [(ada, "@Bob"), (bob, "@ADA")] {
            let history = world.ask(client, &json!({"type": "history", "room": other}));
            assert_eq!(texts(&list(&history, "messages")), ["hi"]);
        }
        // The other need not be there, once they know each other.
        world.cut(bob);
        world.tick();
        world.send(ada, &json!({"type": "direct", "to": "Bob", "text": "are you there?"}));
        world.tick();
        world.commit();
        assert_eq!(world.take_type(ada, "ack")[0]["seq"], 2);
        assert_eq!(
            world.ask(ada, &json!({"type": "direct", "to": "Nobody", "text": "x"}))["code"],
            "not_found"
        );
        assert_eq!(world.ask(ada, &json!({"type": "join", "room": "@Bob"}))["code"], "bad_field");
    }
}

#[test]
fn with_a_guest_at_either_end_nothing_is_kept() {
    let mut world = World::on_disk();
    let (ada, guest) = (world.verified("Ada"), world.person("Guest"));
    for (from, to, other) in [(ada, "Guest", guest), (guest, "Ada", ada)] {
        let ack = world.ask(from, &json!({"type": "direct", "to": to, "text": "hi"}));
        assert_eq!(
            (&ack["type"], &ack["durable"], &ack["seq"]),
            (&json!("ack"), &json!("memory"), &Value::Null)
        );
        let direct = world.take_type(other, "direct").remove(0);
        assert_eq!((&direct["text"], &direct["seq"]), (&json!("hi"), &Value::Null));
        world.take(ada);
        world.take(guest);
    }
    assert!(!world.has_batches());
    assert_eq!(world.ask(guest, &json!({"type": "history", "room": "@Ada"}))["code"], "not_found");
    assert_eq!(
        world.ask(guest, &json!({"type": "direct", "to": "Nobody", "text": "x"}))["code"],
        "not_found"
    );
}

#[test]
fn search_finds_messages_with_all_words_newest_first() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    for text in ["Red apples", "green APPLES and pears", "apple pie", "red, green: apples!"] {
        world.post(ada, "r", text);
    }
    world.tick();
    world.take(ada);
    for (query, expected) in [
        ("apples", vec![4, 2, 1]),
        ("apples GREEN", vec![4, 2]),
        ("apple", vec![4, 3, 2, 1]),
        ("apple pie", vec![3]),
        ("plum", vec![]),
        ("!", vec![]),
    ] {
        let found = world.ask(ada, &json!({"type": "search", "room": "r", "query": query}));
        assert_eq!(seqs(&list(&found, "messages")), expected, "{query}");
    }
}

/// An hour ahead, an hour back, to 1970, and to the time that it is.
#[test]
fn pr_04_the_wall_clock_may_jump() {
    const HOUR: i64 = 3_600_000;
    let mut world = World::in_memory();
    let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
    let right = world.unix_ms();
    let mut last = 0;
    for by in [0, HOUR, -HOUR, -HOUR, i64::MIN, i64::try_from(right).unwrap() + 4000] {
        world.jump(by);
        world.post(ada, "r", "at some time");
        world.advance(1000);
        let [message] = &world.take_type(bob, "message")[..] else {
            panic!("one message after a jump by {by}")
        };
        let time = message["time"].as_u64().unwrap();
        assert!(time >= last, "{time} after {last}");
        last = time;
        world.take(ada);
        let who = world.ask(ada, &json!({"type": "who", "room": "r"}));
        assert_eq!(who["count"], 2, "after a jump by {by}: {who}");
    }
    assert!(last >= right + 3_600_000, "what is behind the newest message is not written down");
}
