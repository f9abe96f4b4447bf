//! The functions do what `Order` says, whatever is proposed.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use switchboard::history::engine::Options;
use switchboard::history::keys::Keys;
use switchboard::history::{Act, Change, Event, Keep, Outcome, Proposal, Query, Reader};

use crate::node::{Node, post as post_of};
use crate::oracle::{Oracle, check_resumption, proposal, sorted};
use crate::redis_server::Engine;

const ROOMS: [&str; 2] = ["general", "@ada\nbob"];

/// The time that the engine gave a proposal is that which the oracle is told.
fn with_time(mut proposal: Proposal, outcome: Option<Outcome>) -> Proposal {
    proposal.time = match outcome {
        Some(Outcome::Posted { time, .. } | Outcome::Changed { time: Some(time), .. }) => time,
        _ => 0,
    };
    proposal
}

fn check(engine: &Engine, batches: &[(usize, Vec<Proposal>)]) {
    engine.run::<()>(&["FLUSHALL"]);
    let mut node = Node::start(&engine.url(), Options::default(), 2);
    let mut oracle = Oracle { keys: Keys::new(u64::MAX >> 1, 1000), ..Oracle::default() };
    let mut expected: BTreeMap<Arc<str>, Vec<Change>> = BTreeMap::new();
    node.open(0, "general");
    node.open(1, "general");
    for (from, proposals) in batches {
        let outcomes = node.propose(from % 2, proposals.clone()).unwrap();
        let mut came = outcomes.iter().copied();
        let mut ours = Vec::new();
        for proposal in proposals {
            let outcome = if matches!(proposal.act, Act::Read { .. }) { None } else { came.next() };
            let (decided, change) = oracle.propose(with_time(proposal.clone(), outcome));
            ours.extend(decided);
            if let Some(mut change) = change {
                // The key is the engine's business.
                if let switchboard::history::Action::Post(post) = &mut change.action {
                    post.key = None;
                }
                expected.entry(Arc::clone(&change.room)).or_default().push(change);
            }
        }
        assert_eq!(outcomes, ours);
    }
    for number in 0..2 {
        for (room, changes) in &expected {
            assert_eq!(node.wait_for(number, room, changes.len()), *changes, "told of {room}");
        }
    }
    for room in ROOMS {
        let state = node.open(1, room);
        let records = oracle.records.get(room).cloned().unwrap_or_default();
        let actions = oracle.actions.get(room).cloned().unwrap_or_default();
        assert_eq!((state.seq, state.rev), (records.len() as u64, actions.len() as u64));
        assert_eq!(state.oldest, u64::from(!records.is_empty()));
        assert_eq!(sorted(state.recent), sorted(records.clone()));
        assert_eq!(state.changes.len(), actions.len());
        let posted = oracle.posted.get(room).cloned().unwrap_or_default();
        check_resumption(&posted, &actions, &state.changes, &records);
    }
    check_unread(&mut node, &oracle);
    node.end();
}

/// What somebody has not read is what a filter over all messages finds.
fn check_unread(node: &mut Node, oracle: &Oracle) {
    let reader = Reader { user: "ada".into(), names: ["ada".into()].into(), read: 0 };
    let query = Query::Mine { ask: 1, reader: reader.clone(), after: None, limit: 50 };
    let Event::Mine { page: Ok(page), .. } = node.query(0, query) else { panic!("no list") };
    let subscribed: Vec<Arc<str>> = oracle.subscriptions.of("ada").cloned().collect();
    assert_eq!(page.subscribed, subscribed);
    let mut names: Vec<Arc<str>> = page.rooms.iter().map(|room| room.place.other.clone()).collect();
    let mut expected = subscribed;
    expected.extend(oracle.records.get(ROOMS[1]).map(|_| ROOMS[1].into()));
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    for room in &page.rooms {
        let name = &room.place.other;
        let records = oracle.records.get(name).map(Vec::as_slice).unwrap_or_default();
        let mark = oracle.marks.get(&(name.clone(), reader.user.clone())).copied().unwrap_or(0);
        let is_unread = |record: &&switchboard::history::Record| {
            record.post.seq > mark && !record.is_deleted && !reader.wrote(&record.post)
        };
        let unread = records.iter().filter(is_unread).count() as u64;
        assert_eq!((room.seq, room.unread), (records.len() as u64, unread), "{name}");
        assert_eq!(room.newest.as_ref().map(|it| it.post.seq), records.last().map(|it| it.post.seq));
    }
}

#[test]
fn the_engine_decides_as_the_oracle_does() {
    let engine = Engine::start();
    // A post that comes alone is the matter of a function of its own.
    let batch =
        prop_oneof![prop::collection::vec(proposal(), 1..=1), prop::collection::vec(proposal(), 1..12)];
    let batches = prop::collection::vec((0..2_usize, batch), 1..32);
    let config = Config { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&batches, |batches| {
            check(&engine, &batches);
            Ok(())
        })
        .unwrap();
}

#[test]
fn so_many_messages_are_kept_and_those_below_cannot_be_changed() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default().with(|it| it.keep_posts = 10), 1);
    for nth in 1..=200 {
        assert!(
            matches!(node.post(0, "r", &nth.to_string(), None), Some(Outcome::Posted { seq, .. }) if seq == nth)
        );
        let change = |act| Proposal { room: "r".into(), time: 1, act };
        node.propose(0, vec![change(Act::Edit { seq: nth, text: format!("{nth}!").into(), data: None })]);
    }
    let state = node.open(0, "r");
    let oldest = state.oldest;
    assert!((11..=74).contains(&(201 - oldest)), "{oldest}");
    let seqs: Vec<u64> = state.recent.iter().map(|record| record.post.seq).collect();
    assert_eq!(seqs, (oldest..=200).collect::<Vec<_>>());
    assert!(state.recent.iter().all(|record| *record.post.text == *format!("{}!", record.post.seq)));
    assert_eq!(engine.run::<u64>(&["HLEN", "sb:o:{r}"]), 201 - oldest, "what was done to others is gone");
    let gone = Proposal { room: "r".into(), time: 1, act: Act::Delete { seq: oldest - 1 } };
    let there = Proposal { room: "r".into(), time: 1, act: Act::Delete { seq: oldest } };
    let outcomes = node.propose(0, vec![gone, there]).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Gone, Outcome::Changed { .. }]), "{outcomes:?}");
    node.end();
}

#[test]
fn messages_that_are_too_old_go_and_so_does_a_room_in_which_nothing_is_said() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default().with(|it| it.keep_ms = 300), 1);
    let said = |count: usize| (0..count).map(|nth| post_of("r", &nth.to_string(), None)).collect::<Vec<_>>();
    node.propose(0, said(100));
    std::thread::sleep(std::time::Duration::from_millis(500));
    node.propose(0, said(64));
    assert_eq!(node.open(0, "r").oldest, 101);
    std::thread::sleep(std::time::Duration::from_millis(500));
    // At the next number of which 64 is a divisor.
    for post in said(192 - 164) {
        node.propose(0, vec![post]);
    }
    let oldest = node.open(0, "r").oldest;
    assert!((165..=192).contains(&oldest), "{oldest}");
    let ttl = engine.run::<i64>(&["PTTL", "sb:h:{r}"]);
    assert!(ttl > 0 && ttl <= 300 + 7_200_000, "{ttl}");
    node.end();
}

#[test]
fn a_key_counts_for_its_window_and_so_many_are_remembered() {
    let engine = Engine::start();
    let options = Options::default().with(|it| (it.window_ms, it.max_keys) = (700, 50));
    let mut node = Node::start(&engine.url(), options, 1);
    assert!(matches!(node.post(0, "r", "x", Some("k")), Some(Outcome::Posted { seq: 1, .. })));
    assert!(matches!(node.post(0, "r", "x", Some("k")), Some(Outcome::Repeated { seq: 1, .. })));
    assert!(
        matches!(node.post(0, "s", "x", Some("k")), Some(Outcome::Posted { seq: 1, .. })),
        "another room"
    );
    std::thread::sleep(std::time::Duration::from_millis(900));
    assert!(matches!(node.post(0, "r", "x", Some("k")), Some(Outcome::Posted { seq: 2, .. })));
    for nth in 0..300 {
        node.post(0, "r", "x", Some(&format!("n{nth}")));
        let kept = engine.run::<usize>(&["HLEN", "sb:k:{r}"]) + engine.run::<usize>(&["HLEN", "sb:j:{r}"]);
        assert!(kept <= 101, "{kept}");
    }
    for (seq, nth) in (3..).zip(0..300).skip(250) {
        let known = node.post(0, "r", "x", Some(&format!("n{nth}")));
        assert!(matches!(known, Some(Outcome::Repeated { seq: of, .. }) if of == seq), "{nth}: {known:?}");
    }
    node.end();
}

#[test]
fn a_post_that_failed_in_its_middle_is_not_there_when_it_comes_again() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default(), 1);
    node.post(0, "r", "x", Some("a"));
    node.post(0, "r", "x", Some("b"));
    // Somebody has damaged the list of messages.
    engine.run::<()>(&["RENAME", "sb:h:{r}", "kept"]);
    engine.run::<()>(&["SET", "sb:h:{r}", "no list"]);
    for _ in 0..2 {
        assert_eq!(node.post(0, "r", "x", Some("c")), Some(Outcome::Unavailable));
    }
    engine.run::<()>(&["RENAME", "kept", "sb:h:{r}"]);
    assert!(matches!(node.post(0, "r", "x", Some("c")), Some(Outcome::Posted { seq: 3, .. })));
    assert!(matches!(node.post(0, "r", "x", Some("c")), Some(Outcome::Repeated { seq: 3, .. })));
    node.end();
}

#[test]
fn many_keys_are_not_searched_one_after_the_other() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default(), 1);
    for nth in 0..40 {
        node.post(0, "r", "x", Some(&format!("n{nth}")));
        let form: String = engine.run(&["OBJECT", "ENCODING", "sb:k:{r}"]);
        assert_eq!(form, if nth < 32 { "listpack" } else { "hashtable" }, "{nth}");
    }
    assert!(matches!(node.post(0, "r", "x", Some("n7")), Some(Outcome::Repeated { seq: 8, .. })));
    node.end();
}

#[test]
fn a_deleted_text_is_nowhere_any_more() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default(), 1);
    let change = |act| Proposal { room: "r".into(), time: 1, act };
    node.post(0, "r", "SECRET one", None);
    node.propose(0, vec![change(Act::Edit { seq: 1, text: "SECRET two".into(), data: None })]);
    node.propose(0, vec![change(Act::Delete { seq: 1 })]);
    for key in engine.run::<Vec<String>>(&["KEYS", "*"]) {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query(&mut engine.connect()).unwrap();
        assert!(!dump.windows(6).any(|it| it == b"SECRET"), "{key}");
    }
    let state = node.open(0, "r");
    assert!(state.recent[0].is_deleted && !format!("{state:?}").contains("SECRET"));
    node.end();
}

#[test]
fn pages_end_where_their_octets_end_and_words_are_found() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default(), 1);
    for nth in 1..=300_u64 {
        let text = if nth % 100 == 0 { format!("needle {nth}") } else { "x".repeat(10_000) };
        node.post(0, "r", &text, None);
    }
    let mut page = |before, limit, keep| match node
        .query(0, Query::Page { ask: 1, room: "r".into(), before, limit, keep })
    {
        Event::Page { records, .. } => records.unwrap().iter().map(|it| it.post.seq).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(page(11, 5, Keep::Newest), [6, 7, 8, 9, 10]);
    assert_eq!(page(3, 5, Keep::Newest), [1, 2]);
    let newest = page(u64::MAX, 200, Keep::Newest);
    assert_eq!((newest.len(), newest.last()), (53, Some(&300)), "512 KiB, and two short ones");
    let oldest = page(u64::MAX, 200, Keep::Oldest);
    assert_eq!((oldest.len(), oldest.first()), (52, Some(&101)));
    let search = Query::Search { ask: 1, room: "r".into(), query: "NEEDLE".into(), limit: 2 };
    let Event::Page { records, .. } = node.query(0, search) else { panic!("no page") };
    assert_eq!(records.unwrap().iter().map(|it| it.post.seq).collect::<Vec<_>>(), [300, 200]);
    node.end();
}

#[test]
fn nodes_that_are_no_more_are_forgotten() {
    let engine = Engine::start();
    for nth in 0..40 {
        let mut node = Node::start(&engine.url(), Options::default(), 1);
        node.post(0, "r", &nth.to_string(), None);
        node.end();
        // What they remember of each is an hour old.
        let fields: Vec<String> = engine.run(&["HKEYS", "sb:m:{r}"]);
        for field in fields.iter().filter(|field| field.starts_with('n')) {
            let old = format!("{:016x}{:013}", 1, 1);
            redis::cmd("HSET")
                .arg("sb:m:{r}")
                .arg(field)
                .arg(old)
                .query::<()>(&mut engine.connect())
                .unwrap();
        }
    }
    assert!(engine.run::<usize>(&["HLEN", "sb:m:{r}"]) <= 33);
}

/// The functions of the version before, as they were.
const BEFORE: &str = include_str!("../fixtures/engine/switchboard_1.lua");

/// A call of `switchboard_1_propose` by a node of its own, on one room.
fn propose_before(engine: &Engine, call: u64, items: &[&str]) -> redis::RedisResult<redis::Value> {
    let info: String = engine.run(&["INFO"]);
    let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let run = format!("{}.{}", of("run_id:"), of("master_replid:"));
    let mut command = redis::cmd("FCALL");
    command.arg("switchboard_1_propose").arg(7);
    for kind in ["m", "h", "o", "c", "k", "j"] {
        command.arg(format!("sb:{kind}:{{r}}"));
    }
    command.arg("sb:rooms").arg(run).arg("before").arg(call).arg("sb:C:{r}").arg("r");
    command.arg(&[10_000, 0, 600_000, 250_000, 1000]).arg(items);
    command.query(&mut engine.connect())
}

#[test]
fn rooms_of_the_version_before_go_on_and_it_does_nothing_to_them_any_more() {
    let engine = Engine::start();
    engine.run::<String>(&["FUNCTION", "LOAD", BEFORE]);
    let post = |text, key| ["P", "ada\nlaptop\n\n", text, "", key, ""];
    propose_before(&engine, 1, &[post("one", "0ada\na"), post("two", "0ada\nb")].concat()).unwrap();
    propose_before(&engine, 2, &[post("three", ""), post("four", "0ada\nd")].concat()).unwrap();
    propose_before(&engine, 3, &["E", "2", "two!", "", "D", "3", "R", "1", "ada", "x", "0", "9"]).unwrap();

    let mut node = Node::start(&engine.url(), Options::default(), 1);
    let state = node.open(0, "r");
    assert!(state.epoch.starts_with("before-"), "{}", state.epoch);
    assert_eq!((state.seq, state.rev, state.oldest, state.changes.len()), (4, 3, 1, 3));
    let texts = |state: &switchboard::history::RoomState| {
        state.recent.iter().map(|record| record.post.text.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&state), ["one", "two!", "", "four"]);
    assert!(state.recent[2].is_deleted && state.recent[0].reactions.len() == 1);
    assert_eq!(&*state.recent[3].post.user, "ada");
    let time = state.recent[3].post.time;

    // What was said is known by its key still, though it comes by another server.
    let draft = |text: &str, key: &str| {
        let mut proposal = post_of("r", text, Some(key));
        if let Act::Post(draft) = &mut proposal.act {
            draft.user = "ada".into();
        }
        proposal
    };
    let change = |act| Proposal { room: "r".into(), time: 1, act };
    let edit = change(Act::Edit { seq: 1, text: "one!".into(), data: None });
    let items = vec![draft("four", "d"), draft("five", "e"), edit, change(Act::Delete { seq: 2 })];
    let outcomes = node.propose(0, items).unwrap();
    assert_eq!(outcomes[0], Outcome::Repeated { seq: 4, time });
    assert!(matches!(outcomes[1], Outcome::Posted { seq: 5, .. }), "{outcomes:?}");
    assert!(matches!(outcomes[2..], [Outcome::Changed { rev: 4, .. }, Outcome::Changed { rev: 5, .. }]));
    node.end();

    let refused = propose_before(&engine, 4, &post("six", "0ada\nf"));
    assert!(refused.is_err(), "{refused:?}");
    let mut node = Node::start(&engine.url(), Options::default(), 1);
    let state = node.open(0, "r");
    assert_eq!(texts(&state), ["one!", "", "", "four", "five"]);
    assert!(state.epoch.starts_with("before-"), "it is the same history");
    node.end();
}
