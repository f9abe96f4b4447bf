//! Every limit, hit.

use serde_json::{Value, json};
use switchboard::chat::{Limits, Rate};
use switchboard::reactor::Config;

use crate::disk::Disk;
use crate::http::Served;
use crate::world::{Client, World, list, options, seqs};

fn world(change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = options().limits;
    change(&mut limits);
    World::in_memory_with(limits)
}

fn code(world: &mut World, client: Client, command: &Value) -> String {
    let answer = world.ask(client, command);
    answer["code"].as_str().unwrap_or("none").to_owned()
}

/// What came of each of these posts: how many were acknowledged, and the errors.
fn flood(world: &mut World, client: Client, count: usize) -> (usize, Vec<Value>) {
    for i in 0..count {
        world.send(client, &json!({"type": "post", "room": "r", "text": i.to_string()}));
    }
    for _ in 0..8 {
        world.tick();
    }
    let got = world.take(client);
    let acks = got.iter().filter(|value| value["type"] == "ack").count();
    (acks, got.into_iter().filter(|value| value["type"] == "error").collect())
}

#[test]
fn ch_01_a_flood_is_refused_then_closed_and_the_room_is_not_flooded() {
    let mut world = World::in_memory_with(Limits::default());
    let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
    world.advance(1000);
    world.take(bob);
    let (acks, errors) = flood(&mut world, ada, 41);
    assert_eq!((acks, errors.len()), (40, 1), "a burst of 40");
    assert_eq!(errors[0]["code"], "rate_limited");
    assert_eq!(errors[0]["retry_after_ms"], 50);
    world.advance(50);
    assert_eq!(flood(&mut world, ada, 1).0, 1, "and when it was said there is another");
    flood(&mut world, ada, 1000);
    assert_eq!(world.close_code(ada), Some(1008));
    assert_eq!(world.take_type(bob, "message").len(), 41);
    assert_eq!(world.chat().stats().flooded, 1);
}

#[test]
fn ch_01_who_floods_is_told_why_it_ends() {
    let mut world = World::in_memory_with(Limits::default());
    let ada = world.member("Ada", "r");
    for _ in 0..500 {
        world.post(ada, "r", "x");
    }
    world.tick();
    let byes = world.take_type(ada, "bye");
    assert_eq!(byes.len(), 1);
    assert_eq!(byes[0]["reason"], "flooding");
}

#[test]
fn ch_01_a_user_has_one_bucket_for_all_connections_and_an_address_for_all_users() {
    let limits = Limits::default().with(|it| {
        it.posts = Rate { per_second: 10, burst: 10 };
        it.address_posts = Rate { per_second: 10, burst: 25 };
    });
    let mut world = World::in_memory_with(limits);
    let same: Vec<_> = (0..3).map(|_| world.member("Ada", "r")).collect();
    let acks: usize = same.iter().map(|client| flood(&mut world, *client, 10).0).sum();
    assert_eq!(acks, 10, "one user");
    world.advance(5000);
    let others: Vec<_> = (0..4).map(|i| world.member(&format!("user {i}"), "r")).collect();
    let acks: usize = others.iter().map(|client| flood(&mut world, *client, 10).0).sum();
    assert_eq!(acks, 25, "one address");
    let elsewhere = world.open("/ws", "chat.v1.json", "127.0.0.2:5000");
    world.tick();
    world.join(elsewhere, "r");
    assert_eq!(flood(&mut world, elsewhere, 10).0, 10, "another address");
    // Addresses of one /64 are one person's.
    let v6 = |world: &mut World, address: &str| {
        let client = world.open("/ws", "chat.v1.json", address);
        world.tick();
        world.join(client, "r");
        flood(world, client, 10).0
    };
    let acks =
        ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"].map(|address| v6(&mut world, address));
    assert_eq!(acks, [10, 10, 5]);
}

#[test]
fn other_commands_have_a_limit_too_and_so_has_what_is_none() {
    let limits = Limits::default().with(|it| it.commands = Rate { per_second: 10, burst: 20 });
    let mut world = World::in_memory_with(limits);
    let ada = world.member("Ada", "r");
    world.advance(5000);
    world.take(ada);
    for _ in 0..15 {
        world.send(ada, &json!({"type": "who", "room": "r"}));
        world.send_text(ada, "no JSON");
    }
    world.tick();
    let got = world.take(ada);
    let refused = got.iter().filter(|value| value["code"] == "rate_limited").count();
    assert_eq!((got.len(), refused), (30, 10));
}

#[test]
fn zero_is_no_limit() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    assert_eq!(flood(&mut world, ada, 3000).0, 3000);
}

#[test]
fn ch_02_rooms_have_limits_and_empty_ones_are_freed() {
    let mut world = world(|limits| limits.max_rooms_per_connection = 3);
    let ada = world.person("Ada");
    for room in ["a", "b", "c"] {
        assert_eq!(world.join(ada, room)["type"], "joined");
    }
    assert_eq!(world.join(ada, "d")["code"], "too_many_rooms");
    assert_eq!(world.join(ada, "a")["type"], "joined", "again is no other room");
    world.ask(ada, &json!({"type": "leave", "room": "a"}));
    assert_eq!(world.join(ada, "d")["type"], "joined");
    for i in 0..2000 {
        let room = format!("room-{i}");
        world.ask(ada, &json!({"type": "leave", "room": "d"}));
        world.join(ada, &room);
        world.ask(ada, &json!({"type": "leave", "room": room}));
        world.join(ada, "d");
    }
    assert_eq!(world.chat().stats().rooms, 4, "general and three");
}

#[test]
fn ch_02_the_server_has_no_more_rooms_than_may_be() {
    let mut world = world(|limits| limits.max_rooms = 3);
    let (ada, bob) = (world.member("Ada", "a"), world.member("Bob", "b"));
    assert_eq!(world.join(ada, "c")["code"], "too_many_rooms");
    assert_eq!(world.join(ada, "general")["type"], "joined");
    // A room with history that nobody is in makes place.
    world.post(bob, "b", "remember me");
    world.tick();
    world.ask(bob, &json!({"type": "leave", "room": "b"}));
    assert_eq!(world.chat().stats().rooms, 3);
    assert_eq!(world.join(ada, "c")["type"], "joined");
    assert_eq!(world.chat().stats().rooms, 3);
}

#[test]
fn a_room_is_full() {
    let mut world = world(|limits| limits.max_members = 2);
    let (ada, _bob, eve) = (world.member("Ada", "r"), world.member("Bob", "r"), world.person("Eve"));
    assert_eq!(world.join(eve, "r")["code"], "room_full");
    assert_eq!(world.join(ada, "r")["type"], "joined", "who is in is not counted twice");
    world.cut(ada);
    world.tick();
    assert_eq!(world.join(eve, "r")["type"], "joined");
}

#[test]
fn ch_15_what_is_too_long_is_named() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    let x = |len: usize| "x".repeat(len);
    for (command, field) in [
        (json!({"type": "post", "room": "r", "text": x(4097)}), "text"),
        (json!({"type": "post", "room": "r", "text": "x", "key": x(65)}), "key"),
        (json!({"type": "post", "room": x(66), "text": "x"}), "room"),
        (json!({"type": "join", "room": x(33)}), "room"),
        (json!({"type": "who", "room": "r", "id": x(65)}), "id"),
        (json!({"type": "react", "room": "r", "seq": 1, "emoji": "👍".repeat(17)}), "emoji"),
        (json!({"type": "search", "room": "r", "query": x(257)}), "query"),
        (json!({"type": "kick", "room": "r", "user": "x", "reason": x(257)}), "reason"),
        (json!({"type": "direct", "to": x(70), "text": "x"}), "to"),
    ] {
        let error = world.ask(ada, &command);
        assert_eq!((&error["code"], &error["field"]), (&json!("too_long"), &json!(field)), "{error}");
    }
    let client = world.connect();
    assert_eq!(code(&mut world, client, &json!({"type": "hello", "token": x(8193)})), "too_long");
    assert_eq!(code(&mut world, client, &json!({"type": "hello", "user": x(33)})), "too_long");
}

#[test]
fn commands_have_only_so_many_fields_and_so_much_depth() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    let fields = |count: usize| {
        let more: String = (2..count).map(|i| [",\"f", &i.to_string(), "\":0"].concat()).collect();
        format!("{{\"type\":\"who\",\"room\":\"r\"{more}}}")
    };
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!("{{\"type\":\"who\",\"room\":\"r\",\"x\":{open}{close}}}")
    };
    world.advance(500);
    world.take(ada);
    for (text, fits) in
        [(fields(32), true), (fields(33), false), (deep(16), true), (deep(17), false), (deep(5000), false)]
    {
        world.send_text(ada, &text);
        world.tick();
        let answer = world.next(ada);
        assert_eq!(answer["type"] == "members", fits, "{answer}");
        assert!(fits || answer["code"] == "bad_json");
    }
}

#[test]
fn a_message_bears_only_so_many_reactions() {
    let mut world = world(|limits| limits.max_reactions = 3);
    let ada = world.member("Ada", "r");
    world.post(ada, "r", "x");
    world.tick();
    world.take(ada);
    let react = |emoji: &str| json!({"type": "react", "room": "r", "seq": 1, "emoji": emoji});
    let codes: Vec<String> =
        ["👍", "👎", "❤", "🚀", "👍"].map(|emoji| code(&mut world, ada, &react(emoji))).into();
    assert_eq!(codes, ["none", "none", "none", "too_long", "none"]);
    assert_eq!(code(&mut world, ada, &react("👍👎")), "bad_field");
}

#[test]
fn memory_for_history_is_bounded_for_a_room_and_for_all() {
    let mut world = world(|limits| {
        limits.recent_bytes = 10_000;
        limits.all_recent_bytes = 25_000;
        limits.max_rooms_per_connection = 100;
    });
    let ada = world.person("Ada");
    for i in 0..20 {
        let room = format!("r{i}");
        world.join(ada, &room);
        for _ in 0..30 {
            world.send(ada, &json!({"type": "post", "room": room, "text": "x".repeat(1000)}));
        }
        world.tick();
        // Rooms that are left are put away first.
        if i % 2 == 0 {
            world.take(ada);
            world.ask(ada, &json!({"type": "leave", "room": room}));
        }
        assert!(
            world.chat().stats().recent_bytes <= 25_000 + 20 * 1200,
            "{}",
            world.chat().stats().recent_bytes
        );
    }
    world.take(ada);
    let kept = world.ask(ada, &json!({"type": "history", "room": "r19"}));
    assert_eq!(seqs(&list(&kept, "messages")).last(), Some(&30), "the newest is always there");
}

#[test]
fn commands_wait_only_in_bounded_numbers() {
    let limits = options().limits.with(|it| it.max_waiting = 5);
    let mut world = World::on_disk_with(Disk::new(), options().with(|it| it.limits = limits));
    let ada = world.person("Ada");
    for id in 0..10 {
        world.send(ada, &json!({"type": "join", "id": id, "room": "r"}));
    }
    world.tick();
    let refused = world.take(ada);
    assert_eq!(refused.len(), 5);
    assert!(refused.iter().all(|error| error["code"] == "rate_limited"), "{refused:?}");
    world.answer();
    assert_eq!(world.take_type(ada, "joined").len(), 5);
    for id in 0..5 {
        world.send(ada, &json!({"type": "join", "id": id, "room": "s"}));
    }
    world.tick();
    assert_eq!(world.take(ada), Vec::<Value>::new(), "those that came through are not counted any more");
}

#[test]
fn all_that_waits_for_rooms_is_bounded() {
    let limits = options().limits.with(|it| {
        it.max_pending = 6;
        it.max_waiting = 4;
    });
    let mut world = World::on_disk_with(Disk::new(), options().with(|it| it.limits = limits));
    let people: Vec<_> = (0..3).map(|i| world.person(&format!("user {i}"))).collect();
    for person in &people {
        for id in 0..4 {
            world.send(*person, &json!({"type": "join", "id": id, "room": "r"}));
        }
    }
    world.tick();
    let refused: usize = people.iter().map(|person| world.take_type(*person, "error").len()).sum();
    assert_eq!(refused, 6);
    // Whoever goes takes theirs along.
    for person in &people {
        world.cut(*person);
    }
    world.tick();
    world.answer();
    assert_eq!(world.chat().stats().rooms, 1);
}

#[test]
fn read_marks_in_memory_are_bounded() {
    let mut world = world(|limits| limits.max_read_positions = 2);
    let people: Vec<_> = (0..4).map(|i| world.member(&format!("user {i}"), "r")).collect();
    world.post(people[0], "r", "x");
    world.tick();
    for person in &people {
        world.send(*person, &json!({"type": "read", "room": "r", "seq": 1}));
    }
    world.tick();
    for person in &people {
        world.take(*person);
    }
    let reads: Vec<Value> = people.iter().map(|person| world.join(*person, "r")["read"].clone()).collect();
    assert_eq!(reads, [0, 0, 1, 1]);
    // The newcomer stays, whatever the name; of the others whoever has read on last.
    world.post(people[0], "r", "y");
    world.tick();
    let newcomer = world.member("Ada", "r");
    for person in [people[2], newcomer] {
        world.send(person, &json!({"type": "read", "room": "r", "seq": 2}));
    }
    world.tick();
    for person in &people {
        world.take(*person);
    }
    world.take(newcomer);
    let last = [people[2], people[3], newcomer];
    let reads: Vec<Value> = last.iter().map(|person| world.join(*person, "r")["read"].clone()).collect();
    assert_eq!(reads, [2, 0, 2]);
}

/// The elements of a list of the HTTP API, page by page; each page is no longer than the limit.
fn pages(served: &mut Served, path: &str, list: &str, key: &str) -> Vec<String> {
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let request = format!("GET {path}?after={}", after.replace('"', "%22"));
        let (status, page) = served.call(&request, &Value::Null);
        assert_eq!(status, 200);
        assert!(page.to_string().len() < 2500, "{} octets", page.to_string().len());
        let part = page[list].as_array().unwrap();
        seen.extend(part.iter().map(|one| one[key].as_str().unwrap().to_owned()));
        after.clone_from(seen.last().unwrap());
        if page["more"] == false {
            return seen;
        }
        assert!((2..50).contains(&part.len()), "{}", part.len());
    }
}

#[test]
fn lists_of_the_http_api_are_bounded_in_octets_and_go_on() {
    let limits = options().limits.with(|it| it.max_answer = 2400);
    let mut served = Served::new(options().with(|it| it.limits = limits));
    // Quotes take two octets each.
    let names: Vec<String> = (0..60).map(|nth| format!("{nth:02}{}", "\"".repeat(nth % 20))).collect();
    for name in &names {
        let name = name.replace('"', "%22");
        let post = json!({"user": "Robot", "text": "x"});
        assert_eq!(served.call(&format!("POST /api/v1/rooms/{name}/posts"), &post).0, 201);
        let ban = json!({"reason": "\"".repeat(90)});
        assert_eq!(served.call(&format!("PUT /api/v1/bans/{name}"), &ban).0, 204);
    }
    assert_eq!(pages(&mut served, "/api/v1/bans", "bans", "user"), names);
    let rooms: Vec<String> = names.iter().cloned().chain(["general".to_owned()]).collect();
    assert_eq!(pages(&mut served, "/api/v1/rooms", "rooms", "room"), rooms);
    // One element is in a page however long it is.
    let limits = options().limits.with(|it| it.max_answer = 10);
    let mut served = Served::new(options().with(|it| it.limits = limits));
    served.call("PUT /api/v1/bans/ada", &json!({}));
    served.call("PUT /api/v1/bans/eve", &json!({}));
    for (path, list) in [("/api/v1/bans", "bans"), ("/api/v1/rooms", "rooms")] {
        let (_, page) = served.call(&format!("GET {path}"), &Value::Null);
        assert_eq!(page[list].as_array().unwrap().len(), 1, "{page}");
    }
    let (_, page) = served.call("GET /api/v1/bans?limit=1&after=ada", &Value::Null);
    assert_eq!((&page["bans"][0]["user"], &page["more"]), (&json!("eve"), &json!(false)));
}

#[test]
fn large_rooms_are_told_of_presence_less_often() {
    let mut world = world(|limits| limits.presence_members = 10);
    let people: Vec<_> = (0..20).map(|i| world.member(&format!("user {i}"), "r")).collect();
    world.advance(10_000);
    world.take(people[0]);
    let passer = world.person("passer");
    for round in 0..100 {
        let kind = if round % 2 == 0 { "join" } else { "leave" };
        world.ask(passer, &json!({"type": kind, "room": "r"}));
        world.take(people[1]);
        // Somebody is given a list each time, so that the room must be told.
        world.ask(people[1], &json!({"type": "who", "room": "r"}));
        world.advance(10);
    }
    let told = world.take_type(people[0], "presence").len();
    assert!((3..=4).contains(&told), "once in 300 ms: {told}");
}

#[test]
fn bans_are_bounded() {
    let mut world = World::with(
        options().with(|it| it.limits = options().limits.with(|it| it.max_bans = 2)),
        None,
        Config::default(),
    );
    let boss = world.verified("Boss:*");
    let ban = |user: &str, seconds: Option<u64>| json!({"type": "ban", "user": user, "seconds": seconds});
    assert_eq!(code(&mut world, boss, &ban("a", Some(1))), "none");
    assert_eq!(code(&mut world, boss, &ban("b", None)), "none");
    assert_eq!(code(&mut world, boss, &ban("c", None)), "unavailable");
    world.advance(1000);
    assert_eq!(code(&mut world, boss, &ban("c", None)), "none", "one has ended");
}
