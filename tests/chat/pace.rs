//! Answers are bounded, and come no faster than the connection takes them.

use serde_json::{Value, json};
use switchboard::reactor::Config;

use crate::disk::Disk;
use crate::world::{Client, World, fill, list, options, seqs};

const ROOMS: usize = 8;

/// Rooms with this many messages of four kilobytes.
fn full_rooms(world: &mut World, messages: usize) {
    let writer = world.person("Writer");
    for room in 0..ROOMS {
        let room = format!("r{room}");
        world.join(writer, &room);
        fill(world, writer, &room, &vec!["x".repeat(4000); messages]);
    }
}

/// What a client is told that reads all that comes, within this many turns.
fn read_all(world: &mut World, client: Client, turns: usize) -> Vec<Value> {
    let mut got = Vec::new();
    for _ in 0..turns {
        world.answer();
        world.advance(1);
        got.extend(world.take(client));
    }
    got
}

#[test]
fn resuming_many_full_rooms_does_not_close_a_reader_that_reads() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        full_rooms(&mut world, 300);
        let ada = world.person("Ada");
        let epochs: Vec<Value> =
            (0..ROOMS).map(|room| world.join(ada, &format!("r{room}"))["epoch"].clone()).collect();
        world.cut(ada);
        world.tick();
        // The socket takes little at a time.
        let ada = world.person("Ada");
        world.drip(ada, 0);
        for (room, epoch) in epochs.iter().enumerate() {
            let since = json!({"epoch": epoch, "seq": 1, "rev": 0});
            world.send(ada, &json!({"type": "join", "room": format!("r{room}"), "since": since}));
        }
        let mut got = Vec::new();
        for _ in 0..2000 {
            world.answer();
            world.drip(ada, 64 * 1024);
            world.advance(1);
            got.extend(world.take(ada));
        }
        let joined: Vec<&Value> = got.iter().filter(|value| value["type"] == "joined").collect();
        assert_eq!(joined.len(), ROOMS, "{on_disk}");
        for told in joined {
            // More was missed than fits: the newest messages, as for somebody who is new.
            assert_eq!(told["recovered"], false);
            assert_eq!(seqs(&list(told, "messages")).last(), Some(&300));
        }
        assert_eq!(world.close_code(ada), None);
    }
}

#[test]
fn an_answer_that_does_not_fit_is_cut_and_says_so() {
    for on_disk in [false, true] {
        let limits = options().limits.with(|it| it.max_answer = 20_000);
        let disk = on_disk.then(Disk::new);
        let mut world = World::with(options().with(|it| it.limits = limits), disk, Config::default());
        world.answer();
        let ada = world.member("Ada", "r");
        fill(&mut world, ada, "r", &vec!["word ".repeat(800); 10]);
        let got = world.ask(ada, &json!({"type": "history", "room": "r"}));
        assert_eq!((seqs(&list(&got, "messages")), &got["more"]), (vec![7, 8, 9, 10], &json!(true)));
        let got = world.ask(ada, &json!({"type": "history", "room": "r", "before": 5}));
        assert_eq!((seqs(&list(&got, "messages")), &got["more"]), (vec![1, 2, 3, 4], &json!(false)));
        let got = world.ask(ada, &json!({"type": "search", "room": "r", "query": "word"}));
        assert_eq!((seqs(&list(&got, "messages")), &got["more"]), (vec![10, 9, 8, 7], &json!(true)));
        let got = world.join(ada, "r");
        assert_eq!((seqs(&list(&got, "messages")), &got["more"]), (vec![7, 8, 9, 10], &json!(true)));
        // All that was missed, or not recovered: never a part.
        for (seq, recovered) in [(6, true), (5, false)] {
            let since = json!({"epoch": got["epoch"], "seq": seq, "rev": 0});
            let told = world.ask(ada, &json!({"type": "join", "room": "r", "since": since}));
            assert_eq!(
                (&told["recovered"], seqs(&list(&told, "messages"))),
                (&json!(recovered), vec![7, 8, 9, 10])
            );
        }
        let tab = world.open("/", "json", "127.0.0.1:5000");
        world.tick();
        assert!(world.take_texts(tab)[0].len() < 20_000);
    }
}

#[test]
fn one_message_is_in_an_answer_however_long_it_is() {
    let limits = options().limits.with(|it| it.max_answer = 100);
    let mut world = World::in_memory_with(limits);
    let ada = world.member("Ada", "r");
    fill(&mut world, ada, "r", &vec!["\u{1}a".repeat(2000); 3]);
    let got = world.ask(ada, &json!({"type": "history", "room": "r"}));
    assert_eq!((seqs(&list(&got, "messages")), &got["more"]), (vec![3], &json!(true)));
}

#[test]
fn answers_of_one_turn_are_bounded_and_the_others_come_in_their_order() {
    let limits = options().limits.with(|it| it.turn_answers = 100_000);
    let mut world = World::in_memory_with(limits);
    let writer = world.member("Writer", "r");
    fill(&mut world, writer, "r", &vec!["x".repeat(4000); 20]);
    let people: Vec<Client> = (0..10).map(|i| world.member(&format!("user {i}"), "r")).collect();
    world.advance(1000);
    for person in &people {
        world.take(*person);
        for id in [1, 2] {
            world.send(*person, &json!({"type": "history", "id": id, "room": "r", "limit": 15}));
        }
        world.send(*person, &json!({"type": "who", "id": 3, "room": "r"}));
    }
    let before = world.chat().stats().answer_octets;
    world.tick();
    let done = world.chat().stats().answer_octets - before;
    assert!((100_000..300_000).contains(&done), "{done}");
    for person in people {
        let got = read_all(&mut world, person, 20);
        let ids: Vec<&Value> =
            got.iter().filter(|value| !value["id"].is_null()).map(|value| &value["id"]).collect();
        assert_eq!(ids, [1, 2, 3]);
    }
}

#[test]
fn what_waits_for_a_reader_goes_with_it() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        full_rooms(&mut world, 50);
        let ada = world.person("Ada");
        for room in 0..ROOMS {
            world.join(ada, &format!("r{room}"));
        }
        world.stall(ada, true);
        for room in 0..ROOMS {
            for _ in 0..3 {
                let command = json!({"type": "history", "room": format!("r{room}"), "before": 20});
                world.send(ada, &command);
            }
        }
        for _ in 0..5 {
            world.tick();
            world.answer();
        }
        // It reads nothing any more, and its queue grows too old.
        for _ in 0..4 {
            world.advance(11_000);
            world.answer();
        }
        assert_eq!((world.chat().stats().users, world.chat().stats().store_asks), (0, 0));
        let bob = world.person("Bob");
        for room in 0..ROOMS {
            assert_eq!(world.join(bob, &format!("r{room}"))["type"], "joined");
        }
    }
}

#[test]
fn answers_of_the_store_that_wait_for_slow_readers_are_bounded() {
    // Room for the texts of one page of twenty.
    let limits = options().limits.with(|it| {
        it.max_held_answers = 100_000;
        it.opened_messages = 1;
    });
    let mut world = World::on_disk_with(Disk::new(), options().with(|it| it.limits = limits));
    let writer = world.member("Writer", "r");
    fill(&mut world, writer, "r", &vec!["x".repeat(4000); 40]);
    let mut world = world.restart();
    let (slow, other) = (world.member("Slow", "r"), world.member("Other", "r"));
    let bob = world.verified("Bob");
    let page = |id: u64| json!({"type": "history", "id": id, "room": "r", "before": 30, "limit": 20});
    // The first answer goes into the queue of the connection; the others find it full.
    let ask = |world: &mut World, client: Client, ids: &[u64]| {
        world.drip(client, 0);
        for id in ids {
            world.send(client, &page(*id));
        }
        world.tick();
        world.answer();
    };
    ask(&mut world, slow, &[1, 2, 3]);
    ask(&mut world, other, &[1, 4]);
    // Nobody else is disturbed: what does not wait is not counted.
    assert_eq!(
        seqs(&list(&world.ask(bob, &json!({"type": "join", "room": "r", "history": 40})), "messages")).len(),
        40
    );
    for (client, ids) in
        [(slow, vec![(1, ""), (2, ""), (3, "rate_limited")]), (other, vec![(1, ""), (4, "rate_limited")])]
    {
        world.stall(client, false);
        let got = read_all(&mut world, client, 20);
        let mut answers: Vec<(u64, &str)> = got
            .iter()
            .filter_map(|value| Some((value["id"].as_u64()?, value["code"].as_str().unwrap_or_default())))
            .collect();
        answers.sort_unstable();
        assert_eq!(answers, ids);
    }
    // What was told is not counted any more.
    for client in [slow, other] {
        assert_eq!(list(&world.ask(client, &page(5)), "messages").len(), 20);
        ask(&mut world, client, &[6, 7]);
        world.cut(client);
        world.tick();
    }
    // They read nothing any more, and their queues grow too old.
    for _ in 0..4 {
        world.advance(11_000);
    }
    let third = world.member("Third", "r");
    ask(&mut world, third, &[8, 9]);
    world.stall(third, false);
    assert!(read_all(&mut world, third, 20).iter().all(|value| value["type"] != "error"));
}

#[test]
fn nothing_waits_for_a_session_that_ended_while_its_join_waited() {
    let mut world = World::on_disk();
    let writer = world.member("Writer", "r");
    fill(&mut world, writer, "r", &vec!["x".repeat(4000); 40]);
    let mut world = world.restart();
    // The room is open, and what was said before has to be asked for.
    let _other = world.member("Other", "r");
    let expires = world.unix_ms() / 1000 + 60;
    let ada = world.verified(&format!("Ada@{expires}"));
    world.drip(ada, 0);
    for command in ["join", "typing", "history", "who"] {
        world.send(ada, &json!({"type": command, "room": "r", "history": 40}));
    }
    world.tick();
    // Her token ends before the answer to the join, which fills what the connection may have.
    world.jump(61_000);
    world.answer();
    world.stall(ada, false);
    world.advance(1);
    let got = world.take(ada);
    let kinds: Vec<&str> = got.iter().filter_map(|value| value["type"].as_str()).collect();
    assert_eq!(kinds, ["joined", "bye"]);
    assert_eq!((world.close_code(ada), world.chat().stats().users), (Some(4003), 1));
}

#[test]
fn a_room_that_filled_while_a_join_waited_for_the_store_is_full() {
    let limits = options().limits.with(|it| it.max_members = 2);
    let mut world = World::on_disk_with(Disk::new(), options().with(|it| it.limits = limits));
    let (_ada, bob) = (world.member("Ada", "r"), world.person("Bob"));
    // Verified: how far they have read is asked of the store first.
    let [first, second] = ["Cleo", "Dan"].map(|name| world.verified(name));
    world.send(first, &json!({"type": "join", "id": 1, "room": "r"}));
    world.send(second, &json!({"type": "join", "id": 2, "room": "r"}));
    world.send(second, &json!({"type": "history", "id": 3, "room": "r"}));
    world.tick();
    // There was a place for each of them when they asked.
    assert_eq!(world.take_type(second, "error").len(), 0);
    world.answer();
    assert_eq!(world.take_type(first, "joined").len(), 1);
    let codes: Vec<Value> =
        world.take_type(second, "error").into_iter().map(|error| error["code"].clone()).collect();
    assert_eq!(codes, ["room_full", "not_joined"]);
    assert_eq!(world.join(bob, "r")["code"], "room_full");
    let who = world.ask(first, &json!({"type": "who", "room": "r"}));
    assert_eq!((list(&who, "members").len(), &who["count"]), (2, &json!(2)));
}
