//! Searches through histories in memory.

use serde_json::json;

use crate::world::{World, fill, list, options, seqs};

#[test]
fn words_are_found_in_every_script_and_the_last_may_go_on() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    let texts =
        ["今天下午三点开会，请准备好会议材料", "Die Straße zum Café", "three messages 🚀", "ＡＢＣ１２３"];
    fill(&mut world, ada, "r", &texts);
    for (query, expected) in [
        ("会议", vec![1]),
        ("strasse", vec![2]),
        ("cafe", vec![2]),
        ("messag", vec![3]),
        ("🚀", vec![3]),
        ("abc123", vec![4]),
        ("mess three", vec![]),
        ("?!", vec![]),
    ] {
        let found = world.ask(ada, &json!({"type": "search", "room": "r", "query": query}));
        assert_eq!(seqs(&list(&found, "messages")), expected, "{query}");
    }
}

#[test]
fn searches_share_what_a_turn_may_look_through() {
    let limits = options().limits.with(|it| it.turn_scan = 50_000);
    let mut world = World::in_memory_with(limits);
    let ada = world.member("Ada", "r");
    fill(&mut world, ada, "r", &vec!["needle ".repeat(500); 100]);
    let people: Vec<_> = (0..4).map(|i| world.member(&format!("user {i}"), "r")).collect();
    for person in &people {
        world.take(*person);
        world.send(*person, &json!({"type": "search", "id": 1, "room": "r", "query": "hay"}));
        world.send(*person, &json!({"type": "who", "id": 2, "room": "r"}));
    }
    let mut answers = vec![Vec::new(); people.len()];
    let mut turns = 0;
    while answers.iter().any(|got| got.len() < 2) {
        let before = world.chat().stats().scanned_octets;
        world.advance(1);
        let scanned = world.chat().stats().scanned_octets - before;
        assert!(scanned <= 3 * 25_000 + 10_000, "{scanned} in one turn");
        turns += 1;
        assert!(turns < 100);
        for (person, got) in people.iter().zip(&mut answers) {
            got.extend(world.take(*person).into_iter().filter(|value| !value["id"].is_null()));
        }
    }
    assert!(turns > 15, "{turns}");
    for got in answers {
        assert_eq!((&got[0]["type"], &got[1]["type"]), (&json!("found"), &json!("members")), "in order");
    }
}

#[test]
fn a_search_that_nobody_waits_for_ends() {
    let limits = options().limits.with(|it| it.turn_scan = 10_000);
    let mut world = World::in_memory_with(limits);
    let ada = world.member("Ada", "r");
    fill(&mut world, ada, "r", &vec!["needle ".repeat(500); 100]);
    world.send(ada, &json!({"type": "search", "room": "r", "query": "hay"}));
    world.tick();
    world.cut(ada);
    world.tick();
    let scanned = world.chat().stats().scanned_octets;
    world.advance(10);
    assert_eq!(world.chat().stats().scanned_octets, scanned);
    assert_eq!(world.chat().stats().rooms, 2);
}
