//! What one command can make the server write and do, at the default limits.

use serde_json::{Value, json};
use switchboard::chat::Limits;

use crate::world::World;

/// Octets that one command may bring, its echo to the asker included: one answer, and what stands around it.
const MOST: usize = 512 * 1024 + 40 * 1024;

/// A room as full of the longest texts as it may be, with the most expensive things in it.
fn world() -> (World, crate::world::Client) {
    let mut world = World::in_memory_with(Limits::default().with_posts_per_second(0));
    let ada = world.member("Ada", "r");
    // Each octet of it is six in JSON.
    let text = "\u{1}".repeat(4095) + "a";
    for _ in 0..400 {
        world.send(ada, &json!({"type": "post", "room": "r", "text": text}));
        world.tick();
        world.take(ada);
    }
    // As many other rooms as one list may have, with names as long as they may be in JSON.
    for nth in 0..120 {
        let room = format!("{}{nth:03}", "\"".repeat(29));
        world.join(ada, &room);
        world.post(ada, &room, "x");
        world.tick();
    }
    let boss = world.verified("Boss:*");
    world.join(boss, "r");
    world.advance(1000);
    world.take(ada);
    (world, boss)
}

#[test]
fn no_command_brings_more_than_one_bounded_answer() {
    let (mut world, boss) = world();
    let epoch = world.join(boss, "r")["epoch"].clone();
    world.advance(1000);
    world.take(boss);
    let since = json!({"epoch": epoch, "seq": 1, "rev": 0});
    // What one turn may do, half of the next, and a message each.
    let most_work = Limits::default().turn_scan as u64 * 3 / 2 + 10_000;
    for command in [
        json!({"type": "hello", "user": "x"}),
        json!({"type": "join", "room": "r", "history": 100}),
        json!({"type": "join", "room": "r", "since": since}),
        json!({"type": "history", "room": "r", "limit": 100}),
        json!({"type": "search", "room": "r", "query": "a", "limit": 100}),
        json!({"type": "search", "room": "r", "query": "nothing", "limit": 100}),
        json!({"type": "who", "room": "r"}),
        json!({"type": "rooms", "limit": 1_000_000}),
        json!({"type": "post", "room": "r", "text": "\u{1}".repeat(4095) + "a"}),
        json!({"type": "edit", "room": "r", "seq": 400, "text": "\u{1}".repeat(4095) + "a"}),
        json!({"type": "react", "room": "r", "seq": 400, "emoji": "👍"}),
        json!({"type": "delete", "room": "r", "seq": 399}),
        json!({"type": "typing", "room": "r"}),
        json!({"type": "read", "room": "r", "seq": 400}),
        json!({"type": "direct", "to": "Boss", "text": "x"}),
        json!({"type": "kick", "room": "r", "user": "nobody"}),
        json!({"type": "ban", "user": "nobody", "reason": "\u{1}".repeat(256)}),
        json!({"type": "unban", "user": "nobody"}),
        json!({"type": "leave", "room": "r"}),
    ] {
        let scanned = world.chat().stats().scanned_octets;
        world.send(boss, &command);
        world.tick();
        let work = world.chat().stats().scanned_octets - scanned;
        // What is more than one turn's work is done in the next ones.
        (0..10).for_each(|_| world.advance(100));
        let octets: usize = world.take_texts(boss).iter().map(String::len).sum();
        // With --nocapture this is the table of docs/attacks.md.
        println!(
            "| `{}` | {} | {octets} | {work} |",
            command["type"].as_str().unwrap(),
            command.to_string().len()
        );
        assert!(octets <= MOST, "{}: {octets} octets", command["type"]);
        assert!(work <= most_work, "{}: {work} octets looked through", command["type"]);
    }
}

#[test]
fn many_commands_in_one_write_hold_one_answer_and_little_more() {
    let (mut world, boss) = world();
    world.stall(boss, true);
    for id in 0..60 {
        world.send(boss, &json!({"type": "history", "id": id, "room": "r", "limit": 100}));
    }
    let before = world.chat().stats().answer_octets;
    for _ in 0..20 {
        world.advance(1);
    }
    let queued = world.chat().stats().answer_octets - before;
    assert!(queued <= (MOST + 64 * 1024) as u64, "{queued}");
    world.stall(boss, false);
    let mut ids: Vec<Value> = Vec::new();
    for _ in 0..200 {
        world.advance(1);
        ids.extend(world.take_type(boss, "history").into_iter().map(|answer| answer["id"].clone()));
    }
    assert_eq!(ids, (0..60).map(Value::from).collect::<Vec<_>>());
}
