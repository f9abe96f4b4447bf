//! The history of a room goes on under another name: who is told what, and who has to load it again.

use serde_json::{Value, json};
use switchboard::history::{Event, Fork, RoomState};

use crate::disk::Disk;
use crate::world::{Client, World, fill, list, options, seqs, texts};

fn fork(seq: u64, rev: u64) -> Fork {
    Fork { epoch: "second".into(), seq, rev }
}

fn rejoin(world: &mut World, client: Client, epoch: &Value, seq: u64) -> Value {
    let since = json!({"epoch": epoch, "seq": seq});
    world.ask(client, &json!({"type": "join", "room": "r", "since": since}))
}

/// A room with these messages, a member, and the name of its history.
fn world(count: usize) -> (World, Client, Value) {
    let mut world = World::on_disk();
    let ada = world.person("Ada");
    let epoch = world.join(ada, "r")["epoch"].clone();
    let texts: Vec<String> = (1..=count).map(|nth| nth.to_string()).collect();
    fill(&mut world, ada, "r", &texts);
    world.take(ada);
    (world, ada, epoch)
}

#[test]
fn members_are_told_where_the_history_forked_and_nothing_is_lost_for_those_who_have_no_more() {
    let (mut world, ada, epoch) = world(10);
    world.disk.epoch = "second".to_owned();
    world.tell(Event::Epoch { room: "r".into(), fork: fork(10, 0) });
    let told = world.take(ada);
    assert_eq!(told, [json!({"type": "epoch", "room": "r", "epoch": "second", "seq": 10, "rev": 0})]);
    // It goes on as if nothing had happened.
    world.post(ada, "r", "next");
    world.tick();
    world.commit();
    assert_eq!(seqs(&world.take_type(ada, "message")), [11]);
    // What was known under the name before is known under this one.
    let bob = world.person("Bob");
    let joined = rejoin(&mut world, bob, &epoch, 8);
    assert_eq!((&joined["recovered"], &joined["epoch"]), (&json!(true), &json!("second")));
    assert_eq!(seqs(&list(&joined, "messages")), [9, 10, 11]);
}

#[test]
fn whoever_saw_what_was_lost_is_told_so() {
    let (mut world, ada, epoch) = world(10);
    world.disk.roll_back("r", 6);
    world.disk.epoch = "second".to_owned();
    world.disk.lineage.push(Fork { epoch: "first".into(), ..fork(6, 0) });
    world.tell(Event::Epoch { room: "r".into(), fork: fork(6, 0) });
    // Meanwhile the room is read again, and commands wait.
    world.post(ada, "r", "anew");
    world.tick();
    assert!(!world.has_batches());
    world.answer();
    world.commit();
    let told = world.take(ada);
    assert_eq!((&told[0]["type"], &told[0]["seq"]), (&json!("epoch"), &json!(6)));
    let anew = told.iter().find(|event| event["type"] == "message").unwrap();
    assert_eq!((&anew["seq"], &anew["prev"]), (&json!(7), &json!(6)));
    let bob = world.person("Bob");
    for (seq, recovered) in [(6, true), (3, true), (7, false), (10, false)] {
        let joined = rejoin(&mut world, bob, &epoch, seq);
        assert_eq!(joined["recovered"], recovered, "{seq}: {joined}");
        let last = list(&joined, "messages").last().cloned().unwrap();
        assert_eq!((&last["seq"], &last["text"]), (&json!(7), &json!("anew")));
    }
    let history = world.ask(bob, &json!({"type": "history", "room": "r"}));
    assert_eq!(texts(&list(&history, "messages")), ["1", "2", "3", "4", "5", "6", "anew"]);
}

#[test]
fn a_room_that_is_being_opened_is_read_again_after_a_fork() {
    let mut world = World::on_disk_with(Disk::new(), options());
    let ada = world.person("Ada");
    world.send(ada, &json!({"type": "join", "room": "r"}));
    world.tick();
    let asked = world.answer_later();
    world.tell(Event::Epoch { room: "r".into(), fork: fork(0, 0) });
    world.disk.epoch = "second".to_owned();
    world.deliver(asked);
    assert_eq!(world.take_type(ada, "joined"), Vec::<Value>::new(), "what was read is from before");
    world.answer();
    assert_eq!(world.take_type(ada, "joined")[0]["epoch"], "second");
}

#[test]
fn more_than_is_kept_happens_while_a_room_is_opened() {
    let mut world = World::on_disk();
    let ada = world.person("Ada");
    world.send(ada, &json!({"type": "join", "room": "r"}));
    world.tick();
    let before = world.answer_later();
    let posts: Vec<String> = (1..=4097).map(|nth| nth.to_string()).collect();
    // Somebody on another loop posts them.
    let changes = world.disk.post("r", &posts);
    let settled = |changes| Event::Settled { ticket: 0, outcomes: Vec::new(), changes, bans: Vec::new() };
    world.tell(settled(changes));
    world.deliver(before);
    assert_eq!(world.take_type(ada, "joined"), Vec::<Value>::new(), "there would be a gap");
    world.answer();
    let joined = world.take_type(ada, "joined").remove(0);
    assert_eq!(joined["seq"], 4097);
    // What it read and what is told may overlap, by however much.
    let changes = world.disk.post("r", &["last".to_owned()]);
    world.tell(settled(changes.clone()));
    world.tell(settled(changes));
    assert_eq!(texts(&world.take_type(ada, "message")), ["last"]);
    let opened = RoomState::default();
    world.tell(Event::Opened { room: "r".into(), state: Ok(opened) });
    assert_eq!(world.join(ada, "r")["seq"], 4098, "an answer that nobody asked for");
}

#[test]
fn a_room_that_nobody_needs_is_put_away_when_it_is_behind_or_has_what_was_lost() {
    let behind = Event::Behind { room: "r".into() };
    for (event, is_kept) in [
        (behind, false),
        (Event::Epoch { room: "r".into(), fork: fork(6, 0) }, false),
        (Event::Epoch { room: "r".into(), fork: fork(10, 0) }, true),
    ] {
        let (mut world, ada, _) = world(10);
        world.ask(ada, &json!({"type": "leave", "room": "r"}));
        let rooms = world.chat().stats().rooms;
        world.disk.roll_back("r", 6);
        world.tell(event);
        assert_eq!(world.chat().stats().rooms, rooms - u64::from(!is_kept));
        let seq = if is_kept { 10 } else { 6 };
        assert_eq!(world.join(ada, "r")["seq"], seq, "what is not kept is read again");
    }
}
