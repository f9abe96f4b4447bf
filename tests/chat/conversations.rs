//! The list of one's conversations, reading on in a history, signs of life.

use serde_json::{Value, json};

use switchboard::reactor::Config;

use crate::disk::Disk;
use crate::world::{Client, World, fill, list, options, seqs};

/// A direct message that has arrived.
fn tell(world: &mut World, from: Client, to: &str, text: &str) {
    world.send(from, &json!({"type": "direct", "to": to, "text": text}));
    world.tick();
    world.answer();
    world.commit();
    world.advance(1000);
    world.take(from);
}

/// The conversations of somebody: with whom, and up to which messages they go and were read.
fn conversations(world: &mut World, client: Client) -> Vec<(String, u64, u64)> {
    let answer = world.ask(client, &json!({"type": "conversations"}));
    assert_eq!(answer["type"], "conversations", "{answer}");
    let row = |one: &Value| {
        assert_eq!(one["verified"], true);
        (
            one["user"].as_str().unwrap().to_owned(),
            one["seq"].as_u64().unwrap(),
            one["read"].as_u64().unwrap(),
        )
    };
    list(&answer, "conversations").iter().map(row).collect()
}

fn row(user: &str, seq: u64, read: u64) -> (String, u64, u64) {
    (user.to_owned(), seq, read)
}

#[test]
fn the_conversations_of_a_user_are_listed_the_newest_first() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let (ada, bob, cleo) = (world.verified("Ada"), world.verified("Bob"), world.verified("Cleo"));
        assert_eq!(conversations(&mut world, ada), []);
        tell(&mut world, ada, "bob", "one");
        tell(&mut world, cleo, "Ada", "two");
        assert_eq!(conversations(&mut world, ada), [row("Cleo", 1, 0), row("Bob", 1, 0)]);
        tell(&mut world, bob, "ada", "three");
        assert_eq!(conversations(&mut world, ada), [row("Bob", 2, 0), row("Cleo", 1, 0)]);
        assert_eq!(conversations(&mut world, bob), [row("Ada", 2, 0)]);
        // Who is not there is called as in their messages.
        world.cut(bob);
        world.tick();
        assert_eq!(conversations(&mut world, ada)[0], row("Bob", 2, 0));
    }
}

#[test]
fn conversations_are_listed_after_a_restart() {
    let mut world = World::on_disk();
    let (ada, _bob) = (world.verified("Ada"), world.verified("Bob"));
    tell(&mut world, ada, "Bob", "before");
    let mut world = world.restart();
    let (ada, bob) = (world.verified("Ada"), world.verified("Bob"));
    assert_eq!(conversations(&mut world, bob), [row("Ada", 1, 0)]);
    assert_eq!(conversations(&mut world, ada), [row("Bob", 1, 0)]);
}

/// The epoch of the newest conversation.
fn epoch(world: &mut World, client: Client) -> String {
    let answer = world.ask(client, &json!({"type": "conversations"}));
    list(&answer, "conversations")[0]["epoch"].as_str().unwrap().to_owned()
}

#[test]
fn a_conversation_that_begins_anew_has_another_epoch() {
    let limits = options().limits.with(|it| it.max_rooms = 2);
    let mut world = World::in_memory_with(limits);
    let (ada, _bob) = (world.verified("Ada"), world.verified("Bob"));
    tell(&mut world, ada, "Bob", "one");
    let before = epoch(&mut world, ada);
    tell(&mut world, ada, "Bob", "two");
    assert_eq!(epoch(&mut world, ada), before);
    // Another room takes its place.
    world.join(ada, "r");
    assert_eq!(conversations(&mut world, ada), []);
    world.ask(ada, &json!({"type": "leave", "room": "r"}));
    tell(&mut world, ada, "Bob", "three");
    assert_eq!(conversations(&mut world, ada), [row("Bob", 1, 0)]);
    assert_ne!(epoch(&mut world, ada), before);
}

#[test]
fn a_conversation_on_the_disk_keeps_its_epoch() {
    let mut world = World::on_disk();
    let (ada, _bob) = (world.verified("Ada"), world.verified("Bob"));
    tell(&mut world, ada, "Bob", "one");
    let before = epoch(&mut world, ada);
    let mut world = world.restart();
    let ada = world.verified("Ada");
    assert_eq!(epoch(&mut world, ada), before);
}

#[test]
fn a_long_list_of_conversations_comes_in_pages() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let ada = world.verified("Ada");
        for i in 0..7 {
            let other = world.verified(&format!("U{i}"));
            tell(&mut world, other, "Ada", "hi");
        }
        let mut seen = Vec::new();
        let mut page = Value::Null;
        loop {
            let ask = json!({"type": "conversations", "limit": 3, "page": page});
            let answer = world.ask(ada, &ask);
            let part = list(&answer, "conversations");
            assert!(part.len() <= 3);
            seen.extend(part.iter().map(|one| one["user"].as_str().unwrap().to_owned()));
            page = answer["next"].clone();
            if page.is_null() {
                break;
            }
        }
        assert_eq!(seen, ["U6", "U5", "U4", "U3", "U2", "U1", "U0"]);
        for page in ["", "x", "12", "-1:u", &"9".repeat(600)] {
            let answer = world.ask(ada, &json!({"type": "conversations", "page": page}));
            assert_eq!((&answer["type"], &answer["field"]), (&json!("error"), &json!("page")), "{page}");
        }
        // A page of nobody's making.
        assert_eq!(
            world.ask(ada, &json!({"type": "conversations", "page": "0:"}))["conversations"],
            json!([])
        );
        assert_eq!(
            list(&world.ask(ada, &json!({"type": "conversations", "limit": 0})), "conversations").len(),
            1
        );
    }
}

#[test]
fn a_guest_has_no_conversations_that_are_kept() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let (ada, guest) = (world.verified("Ada"), world.person("Guest"));
        tell(&mut world, ada, "Guest", "hi");
        assert_eq!(conversations(&mut world, guest), []);
        assert_eq!(conversations(&mut world, ada), []);
        // A guest with the name of somebody who has some is not told of them.
        let bob = world.verified("Bob");
        tell(&mut world, bob, "Ada", "secret");
        world.cut(ada);
        world.tick();
        let impostor = world.person("Ada");
        assert_eq!(conversations(&mut world, impostor), []);
    }
}

#[test]
fn how_far_a_conversation_was_read_is_kept() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let (ada, bob) = (world.verified("Ada"), world.verified("Bob"));
        for text in ["one", "two", "three"] {
            tell(&mut world, bob, "Ada", text);
        }
        world.send(ada, &json!({"type": "read", "room": "@Bob", "seq": 2}));
        world.tick();
        world.commit();
        assert_eq!(conversations(&mut world, ada), [row("Bob", 3, 2)]);
        assert_eq!(conversations(&mut world, bob), [row("Ada", 3, 0)], "each has a mark of their own");
        world.send(ada, &json!({"type": "read", "room": "@Bob", "seq": 1}));
        world.send(ada, &json!({"type": "read", "room": "@Nobody", "seq": 1}));
        world.tick();
        world.answer();
        assert_eq!(conversations(&mut world, ada), [row("Bob", 3, 2)], "a mark only goes forward");
        if on_disk {
            let mut world = world.restart();
            let ada = world.verified("Ada");
            assert_eq!(conversations(&mut world, ada), [row("Bob", 3, 2)]);
        }
    }
}

#[test]
fn a_history_is_read_on_after_a_message() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let ada = world.member("Ada", "r");
        for i in 0..30 {
            world.post(ada, "r", &format!("m{i}"));
        }
        world.tick();
        world.commit();
        world.take(ada);
        let mut page = |range: Value| {
            let mut ask = json!({"type": "history", "room": "r"});
            ask.as_object_mut().unwrap().extend(range.as_object().unwrap().clone());
            let answer = world.ask(ada, &ask);
            (seqs(&list(&answer, "messages")), answer["more"].clone())
        };
        assert_eq!(page(json!({"after": 10, "limit": 3})), (vec![11, 12, 13], json!(true)));
        assert_eq!(page(json!({"after": 27, "limit": 3})), (vec![28, 29, 30], json!(false)));
        assert_eq!(page(json!({"after": 0, "limit": 2})), (vec![1, 2], json!(true)));
        assert_eq!(page(json!({"after": 28, "limit": 9})), (vec![29, 30], json!(false)));
        for after in [30, 31, (1_u64 << 53) - 1] {
            assert_eq!(page(json!({"after": after, "limit": 3})), (vec![], json!(false)), "{after}");
        }
        // Between two.
        assert_eq!(page(json!({"after": 10, "before": 13})), (vec![11, 12], json!(false)));
        assert_eq!(page(json!({"after": 10, "before": 20, "limit": 4})), (vec![11, 12, 13, 14], json!(true)));
        for before in [0, 9, 10, 11] {
            assert_eq!(page(json!({"after": 10, "before": before})).0, Vec::<u64>::new(), "{before}");
        }
        assert_eq!(page(json!({"before": 13, "limit": 3})), (vec![10, 11, 12], json!(true)));
    }
}

#[test]
fn reading_on_after_an_answer_that_was_cut_loses_and_doubles_nothing() {
    for on_disk in [false, true] {
        let limits = options().limits.with(|it| {
            it.max_answer = 5000;
            it.opened_messages = 2;
        });
        let disk = on_disk.then(Disk::new);
        let mut world = World::with(options().with(|it| it.limits = limits), disk, Config::default());
        world.answer();
        let ada = world.member("Ada", "r");
        let texts: Vec<String> = (0..40).map(|nth| "x".repeat(100 + 37 * nth)).collect();
        fill(&mut world, ada, "r", &texts);
        // On the disk all but the newest two have to be asked for.
        let mut world = if on_disk { world.restart() } else { world };
        let ada = world.member("Ada", "r");
        for before in [None, Some(31)] {
            let (mut seen, mut after) = (Vec::new(), 0);
            loop {
                let ask = json!({"type": "history", "room": "r", "after": after, "before": before});
                let answer = world.ask(ada, &ask);
                let part = seqs(&list(&answer, "messages"));
                assert!(!part.is_empty() && part.len() < 30, "{part:?} after {seen:?}: {answer}");
                after = *part.last().unwrap();
                seen.extend(part);
                if answer["more"] == false {
                    break;
                }
            }
            assert_eq!(seen, (1..before.unwrap_or(41)).collect::<Vec<u64>>(), "{on_disk}");
        }
    }
}

#[test]
fn conversations_are_those_that_the_token_permits_to_read() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let ada = world.verified("Ada");
        for name in ["Bob", "Cleo", "Team"] {
            let other = world.verified(name);
            tell(&mut world, other, "Ada", "hi");
        }
        world.cut(ada);
        world.tick();
        for (rights, expected) in [
            ("", vec!["Team", "Cleo", "Bob"]),
            (":*=jpm", vec!["Team", "Cleo", "Bob"]),
            (":*=j", vec!["Team", "Cleo", "Bob"]),
            (":@*=j", vec!["Team", "Cleo", "Bob"]),
            (":@bob=j", vec!["Bob"]),
            (":@Bob=jp+@cleo=p", vec!["Bob"]),
            (":@cleo=j+@team=jp", vec!["Team", "Cleo"]),
            (":*=p", vec![]),
            (":*=m", vec![]),
            (":team=jp", vec![]),
            (":general=jpm", vec![]),
        ] {
            let ada = world.verified(&format!("Ada{rights}"));
            let names: Vec<String> =
                conversations(&mut world, ada).into_iter().map(|(name, ..)| name).collect();
            assert_eq!(names, expected, "{rights}");
            // Pages go on over those that are left out.
            let mut seen = Vec::new();
            let mut page = Value::Null;
            loop {
                let answer = world.ask(ada, &json!({"type": "conversations", "limit": 1, "page": page}));
                let part = list(&answer, "conversations");
                seen.extend(part.iter().map(|one| one["user"].as_str().unwrap().to_owned()));
                page = answer["next"].clone();
                if page.is_null() {
                    break;
                }
            }
            assert_eq!(seen, expected, "{rights}");
            world.cut(ada);
            world.tick();
        }
        // Without a token there is nothing, and where one is asked for there is a refusal.
        let guest = world.person("Ada");
        assert_eq!(conversations(&mut world, guest), []);
        let mut strict = World::with(options().with(|it| it.guests = false), None, Config::default());
        let nobody = strict.connect();
        assert_eq!(strict.ask(nobody, &json!({"type": "conversations"}))["code"], "forbidden");
        // A token that has expired lists nothing any more.
        let expires = world.unix_ms() / 1000 + 60;
        let ada = world.verified(&format!("Ada@{expires}"));
        world.jump(61_000);
        world.send(ada, &json!({"type": "conversations"}));
        world.tick();
        assert_eq!(world.take_type(ada, "conversations").len(), 0);
    }
}

#[test]
fn a_ping_is_answered() {
    let mut world = World::in_memory();
    let ada = world.person("Ada");
    let answer = world.ask(ada, &json!({"type": "ping"}));
    assert_eq!(answer["type"], "pong");
}
