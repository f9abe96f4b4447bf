//! A conversation of two is a room: what one does there the other is told, on every connection.

use serde_json::{Value, json};

use crate::world::{Client, World, list};

/// The same in memory and on the disk.
fn both(test: impl Fn(&mut World)) {
    for mut world in [World::in_memory(), World::on_disk()] {
        test(&mut world);
    }
}

fn say(world: &mut World, from: Client, to: &str, text: &str) {
    let ack = world.ask(from, &json!({"type": "direct", "to": to, "text": text}));
    assert_eq!(ack["type"], "ack", "{ack}");
}

/// Lets go of what came to these.
fn clear(world: &mut World, clients: &[Client]) {
    world.advance(1000);
    for client in clients {
        world.take(*client);
    }
}

/// What came to somebody and is of one type: the room, and the field.
fn told(world: &mut World, client: Client, kind: &str, field: &str) -> Vec<(Value, Value)> {
    let got = world.take_type(client, kind);
    got.into_iter().map(|one| (one["room"].clone(), one[field].clone())).collect()
}

#[test]
fn what_changes_in_a_conversation_both_are_told_under_the_name_of_the_other() {
    both(|world| {
        let (ada, bob, phone) = (world.verified("Ada"), world.verified("Bob"), world.verified("Bob"));
        let eve = world.verified("Eve");
        say(world, ada, "Bob", "one");
        say(world, bob, "Ada", "two");
        clear(world, &[ada, bob, phone]);
        let ack = world.ask(ada, &json!({"type": "edit", "room": "@bob", "seq": 1, "text": "one!"}));
        assert_eq!((&ack["room"], &ack["rev"]), (&json!("@Bob"), &json!(1)));
        for hearer in [bob, phone] {
            assert_eq!(told(world, hearer, "edited", "text"), [(json!("@Ada"), json!("one!"))]);
        }
        // What comes with the answer has been looked through by it.
        world.ask(bob, &json!({"type": "react", "room": "@Ada", "seq": 1, "emoji": "👍"}));
        assert_eq!(told(world, ada, "reacted", "emoji"), [(json!("@Bob"), json!("👍"))]);
        assert_eq!(told(world, phone, "reacted", "user"), [(json!("@Ada"), json!("Bob"))]);
        world.ask(ada, &json!({"type": "delete", "room": "@Bob", "seq": 1}));
        assert_eq!(told(world, bob, "deleted", "rev"), [(json!("@Ada"), json!(3))]);
        assert!(world.take(eve).is_empty(), "nobody else is told");
        let history = world.ask(bob, &json!({"type": "history", "room": "@Ada"}));
        assert_eq!(list(&history, "messages")[0]["deleted"], true);
        let listed = world.ask(bob, &json!({"type": "conversations"}));
        assert_eq!(list(&listed, "conversations")[0]["rev"], 3);
    });
}

#[test]
fn nobody_changes_what_the_other_said() {
    both(|world| {
        let (ada, bob) = (world.verified("Ada"), world.verified("Bob:*=jpm"));
        say(world, ada, "Bob", "mine");
        for command in [
            json!({"type": "edit", "room": "@Ada", "seq": 1, "text": "yours"}),
            json!({"type": "delete", "room": "@Ada", "seq": 1}),
        ] {
            let refused = world.ask(bob, &command);
            assert_eq!((&refused["code"], &refused["field"]), (&json!("forbidden"), &json!("seq")));
        }
        let refused = world.ask(bob, &json!({"type": "delete", "room": "@Ada", "seq": 2}));
        assert_eq!(refused["code"], "not_found");
        let (eve, guest) = (world.verified("Eve"), world.person("Guest"));
        let refused = world.ask(eve, &json!({"type": "react", "room": "@Ada", "seq": 1, "emoji": "👍"}));
        assert_eq!(refused["code"], "not_found", "a conversation of others is none of hers");
        for kind in ["typing", "delete"] {
            let refused = world.ask(guest, &json!({"type": kind, "room": "@Ada", "seq": 1}));
            assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("room")));
        }
        for kind in ["join", "leave", "who"] {
            assert_eq!(world.ask(ada, &json!({"type": kind, "room": "@Bob"}))["code"], "bad_field");
        }
    });
}

#[test]
fn the_other_sees_that_somebody_types_and_how_far_they_have_read() {
    both(|world| {
        let (ada, bob, phone) = (world.verified("Ada"), world.verified("Bob"), world.verified("Bob"));
        say(world, ada, "Bob", "one");
        say(world, ada, "Bob", "two");
        clear(world, &[ada, bob, phone]);
        for _ in 0..3 {
            world.send(bob, &json!({"type": "typing", "room": "@ada"}));
        }
        world.tick();
        assert_eq!(told(world, ada, "typing", "user"), [(json!("@Bob"), json!("Bob"))], "once in a second");
        assert!(world.take(phone).is_empty() && world.take(bob).is_empty(), "only the other");
        world.send(bob, &json!({"type": "read", "room": "@Ada", "seq": 1}));
        world.tick();
        let reads = |seq: u64| json!([{"user": "Bob", "verified": true, "seq": seq}]);
        assert_eq!(told(world, ada, "reads", "reads"), [(json!("@Bob"), reads(1))]);
        for own in [bob, phone] {
            assert_eq!(told(world, own, "reads", "reads"), [(json!("@Ada"), reads(1))]);
        }
        // Once in a second, and never back.
        for seq in [2, 1, 9] {
            world.send(bob, &json!({"type": "read", "room": "@Ada", "seq": seq}));
        }
        world.tick();
        assert!(world.take(ada).is_empty());
        world.advance(1000);
        assert_eq!(told(world, ada, "reads", "reads"), [(json!("@Bob"), reads(2))]);
    });
}

#[test]
fn who_talks_to_themselves_is_told_once() {
    both(|world| {
        let ada = world.verified("Ada");
        say(world, ada, "Ada", "note");
        clear(world, &[ada]);
        world.send(ada, &json!({"type": "typing", "room": "@Ada"}));
        world.send(ada, &json!({"type": "read", "room": "@Ada", "seq": 1}));
        world.send(ada, &json!({"type": "edit", "room": "@Ada", "seq": 1, "text": "other"}));
        world.tick();
        if world.is_on_disk() {
            world.commit();
        }
        let mut kinds: Vec<Value> = world.take(ada).into_iter().map(|one| one["type"].clone()).collect();
        kinds.sort_by_key(ToString::to_string);
        assert_eq!(kinds, [json!("ack"), json!("edited"), json!("reads")]);
    });
}

#[test]
fn a_token_says_what_may_be_done_in_a_conversation() {
    both(|world| {
        let (ada, bob) = (world.verified("Ada:@bob=j"), world.verified("Bob"));
        say(world, bob, "Ada", "one");
        clear(world, &[ada, bob]);
        world.send(ada, &json!({"type": "typing", "room": "@Bob"}));
        world.tick();
        assert_eq!(told(world, bob, "typing", "user").len(), 1);
        let react = json!({"type": "react", "room": "@Bob", "seq": 1, "emoji": "👍"});
        assert_eq!(world.ask(ada, &react)["code"], "forbidden");
        let eve = world.verified("Eve:r=jp");
        assert_eq!(world.ask(eve, &json!({"type": "typing", "room": "@Bob"}))["code"], "forbidden");
    });
}
