//! The ten promises, as far as the chat alone keeps them.

use serde_json::{Value, json};
use switchboard::chat::Limits;
use switchboard::reactor::Config;

use crate::disk::Disk;
use crate::world::{World, list, options, seqs, texts};

/// A member's own view of a room, which finds every fault in the order.
#[derive(Debug, Default)]
struct View {
    seen: u64,
    texts: Vec<String>,
}

impl View {
    fn joined(&mut self, joined: &Value) {
        self.seen = joined["seq"].as_u64().unwrap();
        self.texts = texts(&list(joined, "messages"));
    }

    fn see(&mut self, events: &[Value]) {
        for event in events.iter().filter(|event| event["type"] == "message") {
            assert_eq!(event["prev"], self.seen, "a gap or a twin: {event}");
            assert_eq!(event["seq"], self.seen + 1, "{event}");
            self.seen += 1;
            self.texts.push(event["text"].as_str().unwrap().to_owned());
        }
    }
}

#[test]
fn promise_1_order_is_the_same_for_everybody() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let people: Vec<_> = (0..8).map(|i| world.member(&format!("user {i}"), "r")).collect();
        let mut views: Vec<View> = people.iter().map(|_| View::default()).collect();
        for round in 0..40 {
            for (i, person) in people.iter().enumerate().filter(|(i, _)| (round + i) % 3 != 0) {
                for part in 0..=round % 3 {
                    world.post(*person, "r", &format!("{i} {round} {part}"));
                }
            }
            world.tick();
            if round % 4 == 3 {
                world.commit();
            }
            for (view, person) in views.iter_mut().zip(&people) {
                view.see(&world.take(*person));
            }
        }
        let history = world.ask(people[0], &json!({"type": "history", "room": "r", "limit": 100}));
        let newest = texts(&list(&history, "messages"));
        for view in &views {
            assert_eq!(view.texts, views[0].texts, "another order");
            assert!(view.texts.ends_with(&newest) && newest.len() == 100);
        }
        for sender in 0..8 {
            let own: Vec<Vec<u32>> = views[0]
                .texts
                .iter()
                .map(|text| text.split(' ').map(|part| part.parse().unwrap()).collect::<Vec<u32>>())
                .filter(|text| text[0] == sender)
                .collect();
            assert!(own.is_sorted(), "what one connection posts stays in its order");
        }
    }
}

#[test]
fn promise_1_time_never_falls_within_a_room() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    world.post(ada, "r", "before");
    world.tick();
    world.jump(-3_600_000);
    world.post(ada, "r", "after");
    world.tick();
    let times: Vec<u64> =
        world.take_type(ada, "message").iter().map(|message| message["time"].as_u64().unwrap()).collect();
    assert_eq!(times.len(), 2);
    assert!(times[0] <= times[1], "{times:?}");
}

#[test]
fn promise_2_no_ack_before_the_commit() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "r");
    world.tick();
    world.take(ada);
    world.post(ada, "r", "one");
    for _ in 0..3 {
        world.advance(50);
        assert_eq!(world.take(ada), Vec::<Value>::new(), "nothing may be said yet");
    }
    world.commit();
    let got = world.take(ada);
    let ack = got.iter().find(|value| value["type"] == "ack").expect("an ack");
    assert_eq!((&ack["durable"], &ack["seq"], &ack["id"]), (&json!("disk"), &json!(1), &json!("one")));
    assert_eq!(world.disk.texts("r"), ["one"]);

    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    let ack = world.ask(ada, &json!({"type": "post", "room": "r", "text": "one"}));
    assert_eq!(ack["durable"], "memory");
}

#[test]
fn promise_3_nobody_sees_what_could_be_lost() {
    let mut world = World::on_disk();
    let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
    world.post(ada, "r", "one");
    world.tick();
    world.commit();
    world.post(ada, "r", "two");
    world.send(ada, &json!({"type": "edit", "room": "r", "seq": 1, "text": "one!"}));
    world.send(ada, &json!({"type": "react", "room": "r", "seq": 1, "emoji": "👍"}));
    world.tick();
    world.take(bob);
    // Neither live, nor in history, nor to whoever joins, nor in a search.
    let eve = world.person("Eve");
    let joined = world.join(eve, "r");
    assert_eq!((&joined["seq"], &joined["rev"]), (&json!(1), &json!(0)));
    assert_eq!(texts(&list(&joined, "messages")), ["one"]);
    let history = world.ask(bob, &json!({"type": "history", "room": "r"}));
    assert_eq!(texts(&list(&history, "messages")), ["one"]);
    let found = world.ask(bob, &json!({"type": "search", "room": "r", "query": "two"}));
    assert_eq!(list(&found, "messages"), Vec::<Value>::new());
    // The server is killed now: nobody has seen what is not on the disk.
    let mut world = world.restart();
    let bob = world.member("Bob", "r");
    let history = world.ask(bob, &json!({"type": "history", "room": "r"}));
    assert_eq!(texts(&list(&history, "messages")), ["one"]);
}

#[test]
fn promise_4_posting_twice_posts_once() {
    let command = json!({"type": "post", "id": 1, "room": "r", "text": "one", "key": "k1"});
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let ada = world.member("Ada", "r");
        // Twice in one message, so that the second comes while the first is on its way.
        world.send(ada, &command);
        world.send(ada, &command);
        world.tick();
        world.send(ada, &command);
        world.tick();
        if on_disk {
            assert_eq!(world.take_type(ada, "ack"), Vec::<Value>::new());
            world.commit();
        }
        let acks = world.take_type(ada, "ack");
        let of = |name: &str| acks.iter().map(|ack| ack[name].clone()).collect::<Vec<_>>();
        assert_eq!(of("seq"), [1, 1, 1]);
        assert_eq!(of("duplicate"), [Value::Null, json!(true), json!(true)]);
        assert_eq!(acks[0]["time"], acks[2]["time"]);
        // Over a new connection, and from somebody else.
        world.cut(ada);
        world.tick();
        let ada = world.member("ADA", "r");
        assert_eq!(world.ask(ada, &command)["duplicate"], true);
        let bob = world.member("Bob", "r");
        world.send(bob, &command);
        world.tick();
        if on_disk {
            world.commit();
        }
        let ack = world.take_type(bob, "ack").remove(0);
        assert_eq!((&ack["seq"], &ack["duplicate"]), (&json!(2), &Value::Null));
        if on_disk {
            world = world.restart();
            let ada = world.member("Ada", "r");
            let ack = world.ask(ada, &command);
            assert_eq!((&ack["seq"], &ack["duplicate"]), (&json!(1), &json!(true)), "it survives a restart");
        } else {
            // Beyond the window it is a new post.
            world.advance(Limits::default().key_window_ms);
            world.tick();
            assert_eq!(world.ask(ada, &command)["duplicate"], Value::Null);
        }
    }
}

#[test]
fn promise_5_joining_is_gap_free() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let ada = world.member("Ada", "r");
        let mut joiners = Vec::new();
        for i in 0..60 {
            world.post(ada, "r", &format!("{i} first"));
            let joiner = world.person(&format!("user {i}"));
            // In the same turn as posts before and after it.
            world.post(ada, "r", &format!("{i} before"));
            world.send(joiner, &json!({"type": "join", "room": "r", "history": 100}));
            world.tick();
            world.post(ada, "r", &format!("{i} after"));
            world.tick();
            joiners.push(joiner);
            if i % 7 == 0 {
                world.commit();
            }
        }
        world.commit();
        world.take(ada);
        let all = world.ask(ada, &json!({"type": "history", "room": "r", "limit": 100}));
        let newest = texts(&list(&all, "messages"));
        for joiner in joiners {
            let got = world.take(joiner);
            let at = got.iter().position(|value| value["type"] == "joined").expect("joined");
            assert!(got[..at].iter().all(|value| value["type"] != "message"), "live before joined");
            let mut view = View::default();
            view.joined(&got[at]);
            view.see(&got[at + 1..]);
            assert_eq!(view.seen, 180, "some are missing");
            let both = newest.len().min(view.texts.len());
            assert_eq!(view.texts[view.texts.len() - both..], newest[newest.len() - both..]);
        }
    }
}

#[test]
fn promise_5_a_room_that_is_being_opened_is_joined_without_a_gap() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "r");
    world.post(ada, "r", "old");
    world.tick();
    world.commit();
    let mut world = world.restart();
    let (ada, bob) = (world.person("Ada"), world.person("Bob"));
    // All in one go: the answers come in this order once the room is there.
    for person in [ada, bob] {
        world.send(person, &json!({"type": "join", "id": 1, "room": "r"}));
        world.send(person, &json!({"type": "post", "id": 2, "room": "r", "text": "new"}));
        world.send(person, &json!({"type": "history", "id": 3, "room": "r"}));
        world.send(person, &json!({"type": "leave", "id": 4, "room": "r"}));
        world.send(person, &json!({"type": "post", "id": 5, "room": "r", "text": "too late"}));
    }
    world.tick();
    assert_eq!(world.take(ada), Vec::<Value>::new());
    world.answer();
    world.commit();
    for person in [ada, bob] {
        let got = world.take(person);
        let answers: Vec<(&Value, &Value)> = got
            .iter()
            .filter(|value| !value["id"].is_null())
            .map(|value| (&value["id"], &value["type"]))
            .collect();
        let expected = [(1, "joined"), (3, "history"), (4, "left"), (5, "error"), (2, "ack")];
        let expected: Vec<(Value, Value)> =
            expected.iter().map(|(id, kind)| (json!(id), json!(kind))).collect();
        assert_eq!(answers, expected.iter().map(|(id, kind)| (id, kind)).collect::<Vec<_>>());
        assert_eq!(texts(&list(&got[0], "messages")), ["old"]);
    }
    assert_eq!(world.disk.texts("r"), ["old", "new", "new"]);
}

fn since(epoch: &Value, seq: u64) -> Value {
    json!({"type": "join", "room": "r", "since": {"epoch": epoch, "seq": seq, "rev": 0}})
}

#[test]
fn promise_6_resuming_is_honest() {
    let limits = options().limits.with(|it| {
        it.recent_messages = 20;
        it.max_recovery = 30;
    });
    for on_disk in [false, true] {
        let options = options().with(|it| it.limits.clone_from(&limits));
        let disk = on_disk.then(Disk::new);
        let mut world = World::with(options, disk, Config::default());
        world.answer();
        let ada = world.member("Ada", "r");
        let epoch = world.join(ada, "r")["epoch"].clone();
        for i in 1..=50 {
            world.post(ada, "r", &i.to_string());
        }
        world.tick();
        if on_disk {
            world.commit();
        }
        for seq in 0..=60_u64 {
            let bob = world.person("Bob");
            let joined = world.ask(bob, &since(&epoch, seq));
            let messages = seqs(&list(&joined, "messages"));
            // In memory 20 are left; on the disk all are, of which 30 at a time are told.
            let is_possible = (if on_disk { 20..=50 } else { 30..=50 }).contains(&seq);
            if joined["recovered"] == true {
                assert!(is_possible, "{seq}: {joined}");
                assert_eq!(messages, (seq + 1..=50).collect::<Vec<_>>(), "a part of what was missed");
            } else {
                assert!(!is_possible, "{seq} could have been recovered");
                assert_eq!(messages.last(), Some(&50), "then the newest");
            }
            world.cut(bob);
            world.tick();
            if seq > 50 && on_disk {
                break;
            }
        }
        let bob = world.person("Bob");
        assert_eq!(world.ask(bob, &since(&json!("another"), 50))["recovered"], false);
    }
}

#[test]
fn promise_6_missed_changes_are_told_or_nothing_is() {
    let limits = options().limits.with(|it| it.recent_messages = 5);
    let mut world = World::in_memory_with(limits);
    let ada = world.member("Ada", "r");
    let epoch = world.join(ada, "r")["epoch"].clone();
    world.post(ada, "r", "one");
    world.tick();
    for i in 1..=8 {
        world.send(ada, &json!({"type": "edit", "room": "r", "seq": 1, "text": i.to_string()}));
    }
    world.tick();
    for rev in 0..=9 {
        let bob = world.person("Bob");
        let joined = world
            .ask(bob, &json!({"type": "join", "room": "r", "since": {"epoch": epoch, "seq": 1, "rev": rev}}));
        let revs: Vec<u64> =
            list(&joined, "changes").iter().map(|change| change["rev"].as_u64().unwrap()).collect();
        if (3..=8).contains(&rev) {
            assert_eq!(joined["recovered"], true);
            assert_eq!(revs, (rev + 1..=8).collect::<Vec<_>>());
        } else {
            assert_eq!((&joined["recovered"], revs.len()), (&json!(false), 0), "{rev}");
            assert_eq!(texts(&list(&joined, "messages")), ["8"]);
        }
    }
}

#[test]
fn promise_6_a_forgotten_room_is_another_one() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    let first = world.join(ada, "r")["epoch"].clone();
    world.ask(ada, &json!({"type": "leave", "room": "r"}));
    let second = world.join(ada, "r")["epoch"].clone();
    assert_ne!(first, second);
    world.post(ada, "r", "new");
    world.tick();
    world.take(ada);
    assert_eq!(world.ask(ada, &since(&first, 0))["recovered"], false);
    assert_eq!(world.ask(ada, &since(&second, 0))["recovered"], true);
}

#[test]
fn promise_6_a_restored_backup_gets_another_epoch() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "r");
    let epoch = world.join(ada, "r")["epoch"].clone();
    for text in ["one", "two", "three"] {
        world.post(ada, "r", text);
    }
    world.tick();
    world.commit();
    world.disk.roll_back("r", 1);
    let mut world = world.restart();
    let ada = world.person("Ada");
    let joined = world.ask(ada, &since(&epoch, 3));
    assert_eq!((&joined["recovered"], &joined["seq"]), (&json!(false), &json!(1)));
    // Old numbers are never taken for those of new messages.
    for text in ["other two", "other three", "other four"] {
        world.post(ada, "r", text);
    }
    world.tick();
    world.commit();
    world.take(ada);
    let bob = world.person("Bob");
    assert_eq!(world.ask(bob, &since(&epoch, 3))["recovered"], false);
    let next = world.join(bob, "r")["epoch"].clone();
    assert_ne!(next, epoch);
    assert_eq!(world.ask(bob, &since(&next, 3))["recovered"], true);
    // Whoever lies about what was seen ends nothing.
    world.ask(bob, &since(&next, 1 << 50));
    assert_eq!(world.join(bob, "r")["epoch"], next);
}

#[test]
fn promise_7_presence_is_true_about_a_dead_connection() {
    let mut config = Config::default();
    config.proto.timeouts.ping_ms = 1000;
    config.proto.timeouts.pong_ms = 500;
    let mut world = World::with(options(), None, config);
    let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
    world.advance(200);
    world.take(ada);
    // Bob's machine dies without a word; Ada lives.
    for _ in 0..4 {
        world.advance(500);
        world.send_frame(ada, switchboard::proto::Opcode::Ping, b"");
        world.tick();
    }
    world.advance(200);
    let presence = world.take_type(ada, "presence");
    assert_eq!(presence.len(), 1, "{presence:?}");
    assert_eq!((&presence[0]["left"][0]["user"], &presence[0]["count"]), (&json!("Bob"), &json!(1)));
    let members = world.ask(ada, &json!({"type": "who", "room": "r"}));
    assert_eq!(members["count"], 1);
    let _ = bob;
}

#[test]
fn promise_8_slow_readers_hurt_only_themselves() {
    let options = options().with(|it| it.max_queue = Some(2000));
    let mut world = World::with(options, None, Config::default());
    let (ada, slow) = (world.member("Ada", "r"), world.member("Slow", "r"));
    let mut seen = View { seen: 0, texts: Vec::new() };
    world.advance(200);
    world.take(ada);
    world.take(slow);
    world.stall(slow, true);
    for i in 0..100 {
        let text = format!("{i} {}", "x".repeat(200));
        world.send(ada, &json!({"type": "post", "room": "r", "text": text}));
        world.tick();
        seen.see(&world.take(ada));
    }
    assert_eq!(seen.seen, 100, "the others get everything");
    world.stall(slow, false);
    for _ in 0..5 {
        world.tick();
    }
    let got = world.take(slow);
    let told: Vec<u64> =
        seqs(&got.iter().filter(|value| value["type"] == "message").cloned().collect::<Vec<_>>());
    let lagged = got.iter().find(|value| value["type"] == "lagged").expect("it is told of the gap");
    assert_eq!(told.len() as u64 + lagged["dropped"].as_u64().unwrap(), 100, "{lagged}");
    assert_eq!((told.last(), &lagged["room"]), (Some(&100), &json!("r")));
    assert!(world.chat().stats().lagged > 0);
    // It joins again and has everything.
    let epoch = world.join(slow, "r")["epoch"].clone();
    let first = told[0] - 1;
    let joined = world.ask(slow, &since(&epoch, first));
    assert_eq!(joined["recovered"], true);
    assert_eq!(seqs(&list(&joined, "messages")), (told[0]..=100).collect::<Vec<_>>());
}

#[test]
fn promise_9_going_down_is_polite() {
    let mut world = World::on_disk();
    let people: Vec<_> = (0..20).map(|i| world.member(&format!("user {i}"), "r")).collect();
    world.advance(200);
    for person in &people {
        world.take(*person);
    }
    world.post(people[0], "r", "last words");
    world.tick();
    world.drain();
    let mut delays = Vec::new();
    for person in &people {
        let bye = world.take(*person).into_iter().find(|value| value["type"] == "bye").expect("a bye");
        assert_eq!(bye["reason"], "shutting_down");
        delays.push(bye["retry_after_ms"].as_u64().unwrap());
    }
    assert!(delays.iter().all(|delay| (1000..=6000).contains(delay)), "{delays:?}");
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 15, "they do not all come back at once");
    assert!(world.has_batches(), "what was posted before still becomes durable");
    world.commit();
    assert_eq!(world.disk.texts("r"), ["last words"]);
}

#[test]
fn promise_10_the_chat_names_a_reason_for_every_close_of_its_own() {
    let mut world = World::in_memory();
    let guest = world.person("Ada");
    let short = world.verified(&format!("Bob@{}", world.unix_ms() / 1000 + 10));
    world.verified("Ada");
    assert_eq!(world.take(guest)[0]["reason"], "name_taken");
    assert_eq!(world.close_code(guest), Some(4001));
    world.advance(9_000);
    assert_eq!(world.take(short), Vec::<Value>::new());
    world.advance(1_500);
    assert_eq!(world.take(short)[0]["reason"], "token_expired");
    assert_eq!(world.close_code(short), Some(4003));
}
