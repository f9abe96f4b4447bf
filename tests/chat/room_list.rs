//! `rooms`: those that one may join, by name, from memory and from the disk.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use switchboard::chat::Limits;
use switchboard::reactor::Config;

use crate::disk::Disk;
use crate::world::{Client, World, fill, list, options};

/// Every page of a list, asked for with these fields.
fn all(world: &mut World, client: Client, fields: &Value) -> Vec<Value> {
    let mut command = fields.clone();
    command["type"] = json!("rooms");
    let mut rooms = Vec::new();
    loop {
        let answer = world.ask(client, &command);
        assert_eq!(answer["type"], "rooms", "{answer}");
        rooms.extend(list(&answer, "rooms"));
        if answer["next"].is_null() {
            return rooms;
        }
        command["after"] = answer["next"].clone();
    }
}

fn names(rooms: &[Value]) -> Vec<String> {
    rooms.iter().map(|room| room["room"].as_str().unwrap().to_owned()).collect()
}

/// Two people talk in rooms; with a store, the server starts again, and only `here` is in memory.
fn talked(on_disk: bool) -> (World, Client) {
    let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
    let (ada, bob) = (world.verified("Ada"), world.verified("Bob"));
    for (room, posts) in [("team-a", 1), ("team-b", 2), ("zoo", 3), ("here", 1), ("élan", 1)] {
        world.join(ada, room);
        fill(&mut world, ada, room, &vec!["x"; posts]);
        world.advance(1000);
    }
    let command = json!({"type": "direct", "to": "Bob", "text": "between us"});
    world.send(ada, &command);
    world.tick();
    if on_disk {
        world.commit();
        world = world.restart();
    } else {
        world.cut(ada);
        world.cut(bob);
        world.tick();
    }
    let cleo = world.member("Cleo", "here");
    (world, cleo)
}

#[test]
fn rooms_are_listed_by_name_with_members_and_the_newest_message() {
    for on_disk in [false, true] {
        let (mut world, cleo) = talked(on_disk);
        let rooms = all(&mut world, cleo, &json!({}));
        assert_eq!(names(&rooms), ["general", "here", "team-a", "team-b", "zoo", "élan"], "{on_disk}");
        let numbers =
            |field: &str| -> Vec<u64> { rooms.iter().map(|room| room[field].as_u64().unwrap()).collect() };
        assert_eq!(numbers("members"), [0, 1, 0, 0, 0, 0]);
        assert_eq!(numbers("seq"), [0, 1, 1, 2, 3, 1]);
        let times = numbers("time");
        assert_eq!(times[0], 0, "nothing was said in it");
        assert!(times[2] < times[3] && times[3] < times[4] && times[4] < times[1], "{times:?}");
        // The answer names the command, and each room has these fields alone.
        let answer = world.ask(cleo, &json!({"type": "rooms", "id": "x", "limit": 1}));
        assert_eq!(answer["id"], "x");
        let fields: Vec<&String> = answer["rooms"][0].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["members", "room", "seq", "time"]);
        assert_eq!(answer["next"], "general");
    }
}

#[test]
fn a_list_is_read_page_by_page_and_by_the_beginning_of_names() {
    for on_disk in [false, true] {
        let (mut world, cleo) = talked(on_disk);
        let expected = names(&all(&mut world, cleo, &json!({})));
        for limit in 1..8 {
            assert_eq!(names(&all(&mut world, cleo, &json!({"limit": limit}))), expected, "{limit}");
        }
        // In any spelling, and from anywhere.
        for (fields, expected) in [
            (json!({"prefix": "team"}), vec!["team-a", "team-b"]),
            (json!({"prefix": "TEAM-B"}), vec!["team-b"]),
            (json!({"prefix": "É"}), vec!["élan"]),
            (json!({"prefix": "team", "after": "team-a"}), vec!["team-b"]),
            (json!({"after": "team"}), vec!["team-a", "team-b", "zoo", "élan"]),
            (json!({"after": "zz"}), vec!["élan"]),
            (json!({"prefix": "nothing"}), vec![]),
            (json!({"prefix": "@"}), vec![]),
            (json!({"prefix": "@ada"}), vec![]),
            (json!({"prefix": "", "limit": 0}), vec!["general", "here", "team-a", "team-b", "zoo", "élan"]),
        ] {
            assert_eq!(names(&all(&mut world, cleo, &fields)), expected, "{fields}");
        }
        for (field, nonsense) in [("limit", json!("many")), ("after", json!(7)), ("prefix", json!(["a"]))] {
            let error = world.ask(cleo, &json!({"type": "rooms", field: nonsense}));
            assert_eq!((&error["code"], &error["field"]), (&json!("bad_field"), &json!(field)));
        }
        let error = world.ask(cleo, &json!({"type": "rooms", "prefix": "x".repeat(66)}));
        assert_eq!((&error["code"], &error["field"]), (&json!("too_long"), &json!("prefix")));
    }
}

#[test]
fn ch_14_nobody_is_told_of_rooms_that_they_may_not_join() {
    for on_disk in [false, true] {
        let (mut world, _) = talked(on_disk);
        for (grants, expected) in [
            ("team-*=j", vec!["team-a", "team-b"]),
            ("zoo=j+team-b=jp", vec!["team-b", "zoo"]),
            ("t*=j+team-*=j+team-a=j", vec!["team-a", "team-b"]),
            ("*=p+here=j", vec!["here"]),
            ("*=m", vec![]),
            ("nowhere=j", vec![]),
            ("@*=j", vec![]),
        ] {
            let eve = world.verified(&format!("Eve:{grants}"));
            assert_eq!(names(&all(&mut world, eve, &json!({"limit": 2}))), expected, "{grants}");
            world.cut(eve);
            world.tick();
        }
    }
}

#[test]
fn a_room_that_nobody_is_in_and_nothing_was_said_in_is_none() {
    let mut world = World::in_memory();
    let (ada, bob) = (world.person("Ada"), world.person("Bob"));
    world.join(ada, "empty");
    let told = |world: &mut World| names(&all(world, bob, &json!({})));
    assert_eq!(told(&mut world), ["empty", "general"]);
    world.ask(ada, &json!({"type": "leave", "room": "empty"}));
    assert_eq!(told(&mut world), ["general"]);
}

#[test]
fn what_is_not_on_the_disk_is_not_counted() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "r");
    world.post(ada, "r", "x");
    world.tick();
    let room = |world: &mut World| all(world, ada, &json!({"prefix": "r"}))[0].clone();
    let before = room(&mut world);
    assert_eq!((&before["seq"], &before["time"]), (&json!(0), &json!(0)));
    world.commit();
    world.take(ada);
    assert_eq!(room(&mut world)["seq"], 1);
}

#[test]
fn a_list_of_the_store_that_cannot_be_had_is_unavailable() {
    let mut world = World::on_disk();
    let ada = world.person("Ada");
    world.full(true);
    assert_eq!(world.ask(ada, &json!({"type": "rooms"}))["code"], "unavailable");
    world.full(false);
    // Who asks for too many at a time is refused, and who is gone is told nothing.
    for id in 0..9 {
        world.send(ada, &json!({"type": "rooms", "id": id}));
    }
    world.tick();
    let refused = world.take(ada);
    assert_eq!(
        (refused.len(), &refused[0]["code"], &refused[0]["id"]),
        (1, &json!("rate_limited"), &json!(8))
    );
    world.answer();
    assert_eq!(world.take_type(ada, "rooms").len(), 8);
    world.send(ada, &json!({"type": "rooms"}));
    world.tick();
    let answers = world.answer_later();
    world.cut(ada);
    world.tick();
    world.deliver(answers);
    assert_eq!(world.take_type(ada, "rooms").len(), 0);
}

#[test]
fn no_list_is_longer_than_its_limits_and_none_looks_at_more() {
    let limits = options().limits;
    let mut world = World::in_memory_with(limits.with(|it| {
        it.max_rooms_listed = 10;
        it.max_rooms_looked = 4;
    }));
    let ada = world.person("Ada");
    for nth in 0..25 {
        world.join(ada, &format!("r{nth:02}"));
    }
    world.take(ada);
    let before = world.chat().stats().scanned_octets;
    let page = world.ask(ada, &json!({"type": "rooms", "limit": 1000}));
    assert_eq!(world.chat().stats().scanned_octets - before, 4 * 64);
    assert_eq!(names(&list(&page, "rooms")), ["general", "r00", "r01", "r02"]);
    assert_eq!(page["next"], "r02");
    assert_eq!(all(&mut world, ada, &json!({})).len(), 26);
    let mut world = World::in_memory_with(options().limits.with(|it| it.max_rooms_listed = 10));
    let ada = world.person("Ada");
    for nth in 0..25 {
        world.join(ada, &format!("r{nth:02}"));
    }
    let page = world.ask(ada, &json!({"type": "rooms", "limit": 1000}));
    assert_eq!(list(&page, "rooms").len(), 10);
}

#[test]
fn ch_06_lists_wait_for_slow_readers_and_count_as_commands() {
    let mut world = World::in_memory_with(Limits::default());
    let ada = world.person("Ada");
    for nth in 0..100 {
        world.join(ada, &format!("{nth:02}{}", "x".repeat(30)));
    }
    world.advance(10_000);
    world.take(ada);
    world.stall(ada, true);
    let before = world.chat().stats().answer_octets;
    for _ in 0..60 {
        world.send(ada, &json!({"type": "rooms", "limit": 100}));
    }
    for _ in 0..20 {
        world.advance(1);
    }
    let queued = world.chat().stats().answer_octets - before;
    assert!(queued <= 64 * 1024 + 16 * 1024, "{queued} octets wait for somebody who reads nothing");
    world.stall(ada, false);
    (0..200).for_each(|_| world.advance(1));
    assert_eq!(world.take_type(ada, "rooms").len(), 60);
    for _ in 0..401 {
        world.send(ada, &json!({"type": "rooms", "limit": 1}));
    }
    world.advance(0);
    (0..4).for_each(|_| world.advance(0));
    let errors = world.take_type(ada, "error");
    assert!(errors.iter().all(|error| error["code"] == "rate_limited") && !errors.is_empty(), "{errors:?}");
}

#[test]
fn a_server_may_keep_its_rooms_to_itself() {
    let mut world = World::with(options().with(|it| it.list_rooms = false), None, Config::default());
    let ada = world.connect();
    let welcome = world.ask(ada, &json!({"type": "hello", "user": "Ada"}));
    assert_eq!(welcome["features"], json!(["omit", "data", "reply_to", "pairs", "refresh", "mine"]));
    assert_eq!(world.ask(ada, &json!({"type": "rooms"}))["code"], "forbidden");
    let mut world = World::in_memory();
    let ada = world.connect();
    let welcome = world.ask(ada, &json!({"type": "hello", "user": "Ada"}));
    assert_eq!(welcome["features"], json!(["omit", "rooms", "data", "reply_to", "pairs", "refresh", "mine"]));
}

#[test]
fn clients_are_told_what_they_may_do() {
    let mut world = World::in_memory();
    let hello = |world: &mut World, token: &str| {
        let client = world.connect();
        let welcome = world.ask(client, &json!({"type": "hello", "token": format!("good-{token}")}));
        (client, welcome["permissions"].clone())
    };
    let (guest, none) = (world.person("Guest"), json!([]));
    assert_eq!(world.join(guest, "r")["permissions"], json!(["join", "post"]));
    let (plain, may) = hello(&mut world, "Ada");
    assert_eq!((may, world.join(plain, "r")["permissions"].clone()), (none.clone(), json!(["join", "post"])));
    let (reader, may) = hello(&mut world, "Bob:r=j+x=jpm");
    assert_eq!((may, world.join(reader, "r")["permissions"].clone()), (none, json!(["join"])));
    assert_eq!(world.join(reader, "X")["permissions"], json!(["join", "post", "moderate"]));
    let (boss, may) = hello(&mut world, "Cleo:*");
    assert_eq!(may, json!(["ban"]));
    assert_eq!(world.join(boss, "r")["permissions"], json!(["join", "post", "moderate"]));
}

/// Something that looks random and is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn any_list_is_what_a_filter_over_all_rooms_finds() {
    let pieces = ["a", "b", "aa", "ab", "é", "-", "?", "z", "\u{10fffd}"];
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let name =
            |dice: &mut Dice| -> String { (0..=dice.below(3)).map(|_| pieces[dice.below(8)]).collect() };
        let mut world =
            if seed % 2 == 0 { World::on_disk_with(Disk::new(), options()) } else { World::in_memory() };
        let ada = world.person("Ada");
        let mut model: BTreeMap<String, u64> = BTreeMap::from([("general".to_owned(), 0)]);
        for _ in 0..dice.below(20) {
            let room = name(&mut dice);
            world.join(ada, &room);
            let posts = 1 + dice.below(2);
            fill(&mut world, ada, &room, &vec!["x"; posts]);
            *model.entry(room).or_default() += posts as u64;
        }
        if world.is_on_disk() {
            world = world.restart();
            let bob = world.person("Bob");
            // Some are in memory, and some of these nowhere else.
            for _ in 0..dice.below(6) {
                let room = name(&mut dice);
                world.join(bob, &room);
                model.entry(room).or_default();
            }
        }
        for _ in 0..10 {
            let grants: BTreeSet<String> = (0..dice.below(4))
                .map(|_| format!("{}{}", name(&mut dice), ["", "*"][dice.below(2)]))
                .collect();
            let token = grants.iter().map(|grant| format!("{grant}=j")).collect::<Vec<_>>().join("+");
            let eve =
                if grants.is_empty() { world.person("Eve") } else { world.verified(&format!("Eve:{token}")) };
            let prefix = if dice.below(2) == 0 { String::new() } else { name(&mut dice) };
            let after = if dice.below(2) == 0 { String::new() } else { name(&mut dice) };
            let is_granted = |room: &str| {
                grants.is_empty()
                    || grants.iter().any(|grant| match grant.strip_suffix('*') {
                        Some(beginning) => room.starts_with(beginning),
                        None => room == grant,
                    })
            };
            let expected: Vec<(String, u64)> = model
                .iter()
                .filter(|(room, _)| is_granted(room) && room.starts_with(&prefix) && **room > after)
                .map(|(room, seq)| (room.clone(), *seq))
                .collect();
            let fields = json!({"prefix": prefix, "after": after, "limit": 1 + dice.below(5)});
            let found: Vec<(String, u64)> = all(&mut world, eve, &fields)
                .iter()
                .map(|room| (room["room"].as_str().unwrap().to_owned(), room["seq"].as_u64().unwrap()))
                .collect();
            assert_eq!(found, expected, "seed {seed}, {fields}, grants {grants:?}");
            world.cut(eve);
            world.tick();
        }
    }
}
