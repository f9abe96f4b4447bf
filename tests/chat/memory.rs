//! What an idle member costs beyond its connection, and what a large room costs.

use std::time::Instant;

use allocation_counter::measure;
use serde_json::json;

use crate::world::{Client, World, list};

const PEOPLE: usize = 10_000;
/// Bytes of a joined member beyond its connection.
const MOST: i64 = 512;

fn crowd(world: &mut World) -> Vec<Client> {
    let people: Vec<Client> =
        (0..PEOPLE).map(|_| world.open("/ws", "chat.v1.json", "127.0.0.1:5000")).collect();
    // The loop takes a few handshakes in each turn.
    for some in people.chunks(16) {
        world.turn_of(some);
    }
    assert_eq!(world.chat().stats().sessions as usize, PEOPLE);
    people
}

/// Bytes that each of the people holds once all of them are in a room, their names and rooms included.
fn bytes_each(rooms: usize) -> i64 {
    let mut world = World::in_memory();
    let people = crowd(&mut world);
    // The buffers of the loop, the parser and the clients get their size.
    let first = world.person("first");
    world.join(first, "room-0");
    world.advance(1000);
    for person in &people {
        world.forget(*person);
    }
    let measured = measure(|| {
        for (i, person) in people.iter().enumerate() {
            world.send(*person, &json!({"type": "hello", "user": format!("person {i}")}));
            world.send(*person, &json!({"type": "join", "room": format!("room-{}", i % rooms)}));
        }
        world.advance(10);
        world.advance(1000);
        for person in &people {
            world.forget(*person);
        }
    });
    assert_eq!(world.chat().stats().members as usize, PEOPLE + 1);
    measured.bytes_current / i64::try_from(PEOPLE).unwrap()
}

#[test]
fn an_idle_member_takes_no_more_than_512_bytes_beyond_its_connection() {
    for rooms in [1, 1000] {
        let each = bytes_each(rooms);
        println!("{PEOPLE} members of {rooms} rooms: {each} bytes each");
        assert!(each <= MOST, "{each} bytes each in {rooms} rooms");
    }
}

#[test]
fn joining_a_room_of_10_000_is_answered_with_a_part_of_the_list() {
    let mut world = World::in_memory();
    let people = crowd(&mut world);
    for person in &people {
        world.send(*person, &json!({"type": "join", "room": "r"}));
    }
    world.tick();
    for person in &people {
        world.forget(*person);
    }
    world.advance(1000);
    let last = world.person("last");
    world.send(last, &json!({"type": "join", "room": "r"}));
    #[expect(clippy::disallowed_methods, reason = "the time is printed")]
    let before = Instant::now();
    world.turn_of(&[last]);
    println!("the turn in which the 10,001st joins takes {:?}", before.elapsed());
    let joined = world.take_type(last, "joined").remove(0);
    assert_eq!((list(&joined, "members").len(), &joined["count"]), (100, &json!(PEOPLE + 1)));
}
