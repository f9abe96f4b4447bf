//! A store that fails, is busy, or knows more than it said.

use serde_json::{Value, json};
use switchboard::history::{Event, HistoryError};

use crate::disk::Disk;
use crate::world::{World, list, options, seqs, texts};

#[test]
fn what_cannot_be_made_durable_is_refused_and_its_numbers_are_given_again() {
    let mut world = World::on_disk();
    let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
    world.post(ada, "r", "kept");
    world.tick();
    world.commit();
    world.take(ada);
    world.take(bob);
    for i in 0..5 {
        world.post(ada, "r", &format!("lost {i}"));
        world.send(ada, &json!({"type": "edit", "id": "e", "room": "r", "seq": 1, "text": "lost"}));
        world.tick();
    }
    world.post(ada, "r", "not even handed over");
    world.fail(0);
    let got = world.take(ada);
    assert_eq!(got.len(), 11, "{got:?}");
    for error in &got {
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unavailable")), "{error}");
        assert!(error["retry_after_ms"].as_u64() > Some(0));
    }
    assert_eq!(world.take(bob), Vec::<Value>::new(), "nobody has seen any of it");
    // Until the store has recovered nothing is taken.
    assert_eq!(world.ask(ada, &json!({"type": "post", "room": "r", "text": "x"}))["code"], "unavailable");
    assert!(!world.has_batches());
    assert_eq!(world.chat().stats().store_unavailable, 1);
    // Reading goes on.
    let history = world.ask(ada, &json!({"type": "history", "room": "r"}));
    assert_eq!(texts(&list(&history, "messages")), ["kept"]);
    world.recover();
    world.post(ada, "r", "next");
    world.send(ada, &json!({"type": "edit", "room": "r", "seq": 1, "text": "edited"}));
    world.tick();
    world.commit();
    let got = world.take(bob);
    assert_eq!((&got[0]["seq"], &got[0]["prev"], &got[0]["text"]), (&json!(2), &json!(1), &json!("next")));
    assert_eq!((&got[1]["rev"], &got[1]["text"]), (&json!(1), &json!("edited")));
    assert_eq!(world.disk.texts("r"), ["edited", "next"]);
}

#[test]
fn what_landed_nevertheless_is_history_and_its_key_is_known() {
    let mut world = World::on_disk();
    let (ada, bob) = (world.member("Ada", "r"), world.member("Bob", "r"));
    world.advance(200);
    world.take(bob);
    let command = json!({"type": "post", "room": "r", "text": "one", "key": "k"});
    world.send(ada, &command);
    world.tick();
    world.send(ada, &json!({"type": "post", "room": "r", "text": "two", "key": "l"}));
    world.tick();
    world.fail(1);
    assert_eq!(world.take_type(ada, "error").len(), 2);
    world.recover();
    let got = world.take(bob);
    assert_eq!(texts(&got), ["one"], "it is shown late, but it is shown");
    let ack = world.ask(ada, &command);
    assert_eq!((&ack["duplicate"], &ack["seq"]), (&json!(true), &json!(1)));
    world.send(ada, &json!({"type": "post", "room": "r", "text": "two", "key": "l"}));
    world.tick();
    world.commit();
    assert_eq!(world.disk.texts("r"), ["one", "two"]);
    assert_eq!(seqs(&world.take_type(bob, "message")), [2]);
}

#[test]
fn what_landed_while_its_room_was_being_opened_is_not_overwritten() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "r");
    world.post(ada, "r", "one");
    world.tick();
    world.fail(1);
    world.ask(ada, &json!({"type": "leave", "room": "r"}));
    // The room is opened; what the store read is from before the post landed.
    world.send(ada, &json!({"type": "join", "room": "r"}));
    world.tick();
    world.take(ada);
    world.recover();
    world.tell(Event::Opened { room: "r".into(), state: Ok(switchboard::history::RoomState::default()) });
    let joined = world.take_type(ada, "joined").remove(0);
    world.post(ada, "r", "two");
    world.tick();
    world.commit();
    assert_eq!(world.disk.texts("r"), ["one", "two"]);
    assert!(joined["seq"] == 1 || seqs(&world.take_type(ada, "message")) == [1, 2]);
}

#[test]
fn a_busy_store_gets_everything_later_and_in_order() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "r");
    world.full(true);
    for i in 0..10 {
        world.post(ada, "r", &i.to_string());
        world.tick();
    }
    assert!(!world.has_batches());
    world.full(false);
    world.advance(20);
    world.commit();
    assert_eq!(world.disk.texts("r"), (0..10).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(world.take_type(ada, "ack").len(), 10);
}

#[test]
fn no_more_is_pending_than_may_be() {
    let limits = options().limits.with(|it| it.max_pending = 5);
    let mut world = World::on_disk_with(Disk::new(), options().with(|it| it.limits = limits));
    let ada = world.member("Ada", "r");
    for i in 0..8 {
        world.post(ada, "r", &i.to_string());
    }
    world.tick();
    let refused = world.take_type(ada, "error");
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|error| error["code"] == "unavailable"));
    world.commit();
    world.post(ada, "r", "again");
    world.tick();
    world.commit();
    assert_eq!(world.disk.texts("r"), ["0", "1", "2", "3", "4", "again"]);
}

#[test]
fn a_room_that_cannot_be_opened_is_unavailable_and_may_be_tried_again() {
    let mut world = World::on_disk();
    let ada = world.person("Ada");
    world.send(ada, &json!({"type": "join", "id": 1, "room": "r"}));
    world.send(ada, &json!({"type": "post", "id": 2, "room": "r", "text": "x"}));
    world.tick();
    world.tell(Event::Opened { room: "r".into(), state: Err(HistoryError::storage("bad sector")) });
    let got = world.take(ada);
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|error| error["code"] == "unavailable"), "{got:?}");
    assert_eq!(world.chat().stats().rooms, 1, "nothing is left of it");
    let joined = world.join(ada, "r");
    assert_eq!(joined["type"], "joined");
}

#[test]
fn questions_that_nobody_waits_for_any_more_do_no_harm() {
    let limits = options().limits.with(|it| {
        it.recent_messages = 3;
        it.opened_messages = 3;
    });
    let mut world = World::on_disk_with(Disk::new(), options().with(|it| it.limits = limits));
    let ada = world.verified("Ada");
    world.join(ada, "r");
    let epoch = world.join(ada, "r")["epoch"].clone();
    for i in 0..20 {
        world.post(ada, "r", &i.to_string());
    }
    world.tick();
    world.commit();
    for command in [
        json!({"type": "history", "room": "r", "before": 10}),
        json!({"type": "search", "room": "r", "query": "1"}),
        json!({"type": "edit", "room": "r", "seq": 2, "text": "edited"}),
        json!({"type": "join", "room": "r", "since": {"epoch": epoch, "seq": 2}}),
    ] {
        let bob = world.verified("Ada");
        world.join(bob, "r");
        world.send(bob, &command);
        world.tick();
        world.cut(bob);
        world.tick();
        world.answer();
        world.commit();
    }
    assert_eq!(world.disk.texts("r")[1], "1", "who is gone changes nothing");
    assert_eq!((world.chat().stats().members, world.chat().stats().store_asks), (1, 0));
}

#[test]
fn no_connection_waits_for_more_answers_than_may_be() {
    let limits = options().limits.with(|it| {
        it.recent_messages = 3;
        it.opened_messages = 3;
        it.max_asks = 2;
    });
    let mut world = World::on_disk_with(Disk::new(), options().with(|it| it.limits = limits));
    let ada = world.member("Ada", "r");
    for i in 0..20 {
        world.post(ada, "r", &i.to_string());
    }
    world.tick();
    world.commit();
    world.take(ada);
    for id in 0..4 {
        world.send(ada, &json!({"type": "history", "id": id, "room": "r", "before": 10, "limit": 2}));
    }
    world.tick();
    let refused = world.take_type(ada, "error");
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|error| error["code"] == "rate_limited"), "{refused:?}");
    world.answer();
    let pages = world.take_type(ada, "history");
    assert_eq!(pages.len(), 2);
    assert_eq!(seqs(&list(&pages[0], "messages")), [8, 9]);
    assert_eq!(pages[0]["more"], true);
}
