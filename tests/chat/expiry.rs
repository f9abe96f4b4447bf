//! Tokens that expire, many at once.

use serde_json::json;

use crate::world::{World, options};

#[test]
fn tokens_that_expire_together_end_in_bounded_turns_by_one_timer() {
    let limits = options().limits.with(|it| it.turn_expiries = 10);
    let mut world = World::in_memory_with(limits);
    let expires = world.unix_ms() / 1000 + 60;
    let people: Vec<_> = (0..35).map(|i| world.verified(&format!("user {i}@{expires}"))).collect();
    assert_eq!(world.chat().stats().sessions, 35);
    world.advance(59_999);
    assert_eq!(world.chat().stats().users, 35);
    let mut left = Vec::new();
    for _ in 0..5 {
        world.advance(1);
        left.push(world.chat().stats().users);
    }
    assert_eq!(left, [25, 15, 5, 0, 0]);
    for person in people {
        world.take(person);
        assert_eq!(world.close_code(person), Some(4003));
    }
}

#[test]
fn an_earlier_token_ends_in_time_and_so_does_a_later_one() {
    let mut world = World::in_memory();
    let now = world.unix_ms() / 1000;
    let [late, early, middle] = [9, 3, 6].map(|s| world.verified(&format!("user {s}@{}", now + s)));
    for (client, seconds) in [(early, 3), (middle, 3), (late, 3)] {
        world.advance(seconds * 1000 - 1);
        assert!(world.ask(client, &json!({"type": "join", "room": "r"}))["type"] == "joined");
        world.advance(1);
        world.take(client);
        assert_eq!(world.close_code(client), Some(4003));
    }
}
