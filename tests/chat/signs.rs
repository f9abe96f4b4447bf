//! Typing and read marks.

use serde_json::{Value, json};

use crate::world::World;

#[test]
fn ch_16_typing_is_passed_on_once_a_second_and_to_the_others_only() {
    let mut world = World::in_memory();
    let (ada, twin, bob) = (world.member("Ada", "r"), world.member("Ada", "r"), world.member("Bob", "r"));
    world.advance(500);
    for client in [ada, twin, bob] {
        world.take(client);
    }
    for _ in 0..100 {
        for client in [ada, twin] {
            world.send(client, &json!({"type": "typing", "room": "r"}));
        }
        world.advance(10);
    }
    assert_eq!(world.take_type(bob, "typing").len(), 1, "once a second for a user");
    assert_eq!(world.take(ada), Vec::<Value>::new());
    world.send(ada, &json!({"type": "typing", "room": "r"}));
    world.advance(10);
    let typing = world.take_type(bob, "typing");
    assert_eq!((typing.len(), &typing[0]["user"]), (1, &json!("Ada")));
}

#[test]
fn reads_are_collected_and_only_go_forward() {
    let mut world = World::in_memory();
    let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
    for i in 0..5 {
        world.post(ada, "r", &i.to_string());
    }
    world.advance(500);
    world.take(bob);
    for seq in [2, 1, 3] {
        world.send(ada, &json!({"type": "read", "room": "r", "seq": seq}));
    }
    world.tick();
    let reads = world.take_type(bob, "reads");
    assert_eq!(reads.len(), 1);
    assert_eq!(reads[0]["reads"], json!([{"user": "Ada", "seq": 3}]));
    world.send(ada, &json!({"type": "read", "room": "r", "seq": 4}));
    world.send(bob, &json!({"type": "read", "room": "r", "seq": 1_000_000}));
    world.advance(500);
    assert_eq!(world.take_type(bob, "reads"), Vec::<Value>::new());
    world.advance(500);
    let reads = world.take_type(bob, "reads");
    assert_eq!(
        reads[0]["reads"],
        json!([{"user": "Ada", "seq": 4}, {"user": "Bob", "seq": 5}]),
        "not beyond the newest"
    );
    world.take(ada);
    assert_eq!(world.join(ada, "r")["read"], 4);
}

#[test]
fn a_verified_users_mark_is_kept_and_a_guests_is_not() {
    let mut world = World::on_disk();
    let (ada, guest) = (world.verified("Ada"), world.person("Guest"));
    for person in [ada, guest] {
        world.join(person, "r");
    }
    world.post(ada, "r", "x");
    world.tick();
    world.commit();
    for person in [ada, guest] {
        world.send(person, &json!({"type": "read", "room": "r", "seq": 1}));
    }
    world.tick();
    world.commit();
    let mut world = world.restart();
    let (ada, guest) = (world.verified("Ada"), world.person("Guest"));
    assert_eq!(world.join(ada, "r")["read"], 1);
    assert_eq!(world.join(guest, "r")["read"], 0);
}
