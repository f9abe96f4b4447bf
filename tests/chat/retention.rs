//! What retention takes away is shown by nothing in memory either.

use serde_json::{Value, json};
use switchboard::reactor::Config;

use crate::disk::Disk;
use crate::world::{Client, World, list, options, seqs};

fn world(on_disk: bool, keep_posts: u64, keep_ms: u64) -> (World, Client) {
    let disk = on_disk.then(Disk::new);
    let mut world = World::with(
        options().with(|it| {
            it.keep_posts = keep_posts;
            it.keep_ms = keep_ms;
        }),
        disk,
        Config::default(),
    );
    world.answer();
    let ada = world.member("Ada", "general");
    (world, ada)
}

fn post(world: &mut World, ada: Client, on_disk: bool, count: usize) {
    for _ in 0..count {
        world.send(ada, &json!({"type": "post", "room": "general", "text": "word"}));
    }
    world.tick();
    if on_disk {
        world.commit();
    }
    world.take(ada);
}

/// All ways to see messages of the room.
fn seen(world: &mut World, ada: Client, epoch: &Value) -> Vec<Vec<u64>> {
    let since = json!({"epoch": epoch, "seq": 0, "rev": 0});
    let commands = [
        json!({"type": "history", "room": "general", "limit": 100}),
        json!({"type": "join", "room": "general", "history": 100}),
        json!({"type": "join", "room": "general", "since": since}),
    ];
    let mut seen: Vec<Vec<u64>> =
        commands.iter().map(|command| seqs(&list(&world.ask(ada, command), "messages"))).collect();
    let tab = world.open("/", "json", "127.0.0.1:5000");
    world.tick();
    let count = list(&world.next(tab), "msg").len() as u64;
    let newest = seen[0].last().copied().unwrap_or_default();
    seen.push((newest + 1 - count..=newest).filter(|_| count > 0).collect());
    seen
}

#[test]
fn only_the_newest_posts_are_shown_where_only_those_are_kept() {
    for on_disk in [false, true] {
        let (mut world, ada) = world(on_disk, 10, 0);
        post(&mut world, ada, on_disk, 38);
        let epoch = world.join(ada, "general")["epoch"].clone();
        for way in seen(&mut world, ada, &epoch) {
            assert_eq!(way, (29..=38).collect::<Vec<u64>>(), "{on_disk}");
        }
        let refused = world.ask(ada, &json!({"type": "react", "room": "general", "seq": 28, "emoji": "👍"}));
        assert_eq!(refused["code"], "not_found");
        let got = world.ask(ada, &json!({"type": "history", "room": "general", "limit": 5}));
        assert_eq!(got["more"], true);
        let got = world.ask(ada, &json!({"type": "history", "room": "general", "limit": 10}));
        assert_eq!(got["more"], false);
    }
}

#[test]
fn only_young_posts_are_shown_where_only_those_are_kept() {
    for on_disk in [false, true] {
        let (mut world, ada) = world(on_disk, 0, 3000);
        post(&mut world, ada, on_disk, 3);
        let edit = json!({"type": "edit", "room": "general", "seq": 3, "text": "a secret"});
        world.send(ada, &edit);
        world.tick();
        if on_disk {
            world.commit();
        }
        world.take(ada);
        let epoch = world.join(ada, "general")["epoch"].clone();
        world.advance(2000);
        post(&mut world, ada, on_disk, 2);
        for (after, expected) in [(0, 1..6), (1001, 4..6), (2000, 6..6)] {
            world.advance(after);
            world.take(ada);
            for way in seen(&mut world, ada, &epoch) {
                assert_eq!(way, expected.clone().collect::<Vec<u64>>(), "{on_disk}");
            }
        }
        let since = json!({"epoch": epoch, "seq": 5, "rev": 0});
        let joined = world.ask(ada, &json!({"type": "join", "room": "general", "since": since}));
        assert_eq!(joined["recovered"], true);
        assert!(!joined.to_string().contains("secret"), "{joined}");
        // A clock that was wrong for a moment hides nothing for good.
        post(&mut world, ada, on_disk, 1);
        world.jump(1_000_000);
        let got = world.ask(ada, &json!({"type": "history", "room": "general"}));
        assert_eq!(list(&got, "messages").len(), 0);
        world.jump(-1_000_000);
        let got = world.ask(ada, &json!({"type": "history", "room": "general"}));
        assert_eq!(seqs(&list(&got, "messages")), [6]);
    }
}

#[test]
fn what_a_deleted_message_once_said_is_told_to_nobody() {
    for on_disk in [false, true] {
        let (mut world, ada) = world(on_disk, 0, 0);
        let epoch = world.join(ada, "general")["epoch"].clone();
        post(&mut world, ada, on_disk, 1);
        for command in [
            json!({"type": "edit", "room": "general", "seq": 1, "text": "a secret"}),
            json!({"type": "delete", "room": "general", "seq": 1}),
        ] {
            world.send(ada, &command);
            world.tick();
            if on_disk {
                world.commit();
            }
        }
        world.take(ada);
        for seq in [0, 1] {
            let since = json!({"epoch": epoch, "seq": seq, "rev": 0});
            let joined = world.ask(ada, &json!({"type": "join", "room": "general", "since": since}));
            assert_eq!((&joined["recovered"], list(&joined, "changes").len()), (&json!(true), 2));
            assert!(!joined.to_string().contains("secret"), "{joined}");
        }
    }
}

#[test]
fn what_the_store_read_is_brought_up_to_date_before_it_is_told() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "general");
    for _ in 0..3 {
        post(&mut world, ada, true, 50);
    }
    let epoch = world.join(ada, "general")["epoch"].clone();
    let mut world = world.restart();
    let (ada, bob) = (world.member("Ada", "general"), world.person("Bob"));
    let since = json!({"epoch": epoch, "seq": 10, "rev": 0});
    world.send(bob, &json!({"type": "join", "id": 1, "room": "general", "since": since}));
    world.tick();
    // The store has read the page; the deletion is on the disk before the page is told.
    let page = world.answer_later();
    world.send(ada, &json!({"type": "delete", "room": "general", "seq": 20}));
    world.tick();
    world.answer();
    world.commit();
    world.deliver(page);
    let joined = world.take_type(bob, "joined").remove(0);
    let old = list(&joined, "messages").into_iter().find(|message| message["seq"] == 20).unwrap();
    assert_eq!((&old["deleted"], &old["text"]), (&json!(true), &json!("")));
}

#[test]
fn a_history_of_nothing_says_whether_there_is_more() {
    for on_disk in [false, true] {
        let (mut world, ada) = world(on_disk, 0, 0);
        let ask = json!({"type": "history", "room": "general", "limit": 0});
        assert_eq!(world.ask(ada, &ask)["more"], false);
        post(&mut world, ada, on_disk, 2);
        let got = world.ask(ada, &ask);
        assert_eq!((list(&got, "messages").len(), &got["more"]), (0, &json!(true)));
        let got = world.ask(ada, &json!({"type": "history", "room": "general", "limit": 0, "before": 1}));
        assert_eq!(got["more"], false);
    }
}
