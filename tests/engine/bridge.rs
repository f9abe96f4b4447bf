//! The threads between the loops and the engine: nothing is lost, doubled or out of order, whatever happens between the two.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use switchboard::history::engine::{self, EngineError, Options, Target};
use switchboard::history::{Act, Action, Event, Fork, History as _, Keep, Outcome, Proposal, Query};

use crate::node::{Node, TIMEOUT, post, texts};
use crate::proxy::Proxy;
use crate::redis_server::{Engine, wait_until};
use crate::support::StopOnDrop;

/// Those whose fate is known soon.
pub(crate) fn impatient() -> Options {
    Options::default().with(|it| it.doubt_ms = 1000)
}

/// All messages of a room, as the engine has them.
pub(crate) fn kept(node: &mut Node, room: &str) -> Vec<(u64, String)> {
    let (mut before, mut all) = (u64::MAX, Vec::new());
    loop {
        let mut records = Vec::new();
        // A thread may still be on its way to an engine that has just begun.
        wait_until("a page", || {
            let query = Query::Page { ask: 1, room: room.into(), before, limit: 256, keep: Keep::Newest };
            match node.query(0, query) {
                Event::Page { records: Ok(page), .. } => {
                    records = page;
                    true
                }
                Event::Page { .. } => false,
                other => panic!("{other:?}"),
            }
        });
        let Some(first) = records.first() else { break };
        before = first.post.seq;
        all.extend(records.iter().rev().map(|it| (it.post.seq, it.post.text.to_string())));
    }
    all.reverse();
    all
}

#[test]
fn what_is_sent_again_after_a_cut_is_done_once_and_told_once() {
    let engine = Engine::start();
    let proxy = Proxy::to(engine.port());
    let mut writer = Node::start(&proxy.url(), Options::default(), 1);
    let mut reader = Node::start(&proxy.url(), Options::default(), 1);
    reader.open(0, "r");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (cuts, done) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen = 0;
            while !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(37));
                // However slow this machine is, something gets through between two cuts.
                if done.load(Ordering::Relaxed) == seen {
                    continue;
                }
                seen = done.load(Ordering::Relaxed);
                proxy.cut();
                cuts.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Where something is wrong the cuts end, too.
        let stop = StopOnDrop(&is_over);
        for nth in 0..600 {
            // However fast this machine is, there is a cut for each hundred of them.
            while cuts.load(Ordering::Relaxed) < nth / 100 {
                std::thread::yield_now();
            }
            let some = (0..5).map(|of| post("r", &format!("{nth}.{of}"), None)).collect();
            let outcomes = writer.propose(0, some).expect("the engine is there within the time");
            let seqs: Vec<_> = outcomes
                .iter()
                .map(|outcome| match outcome {
                    Outcome::Posted { seq, .. } => *seq,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(seqs, (nth * 5 + 1..=nth * 5 + 5).collect::<Vec<u64>>());
            done.fetch_add(1, Ordering::Relaxed);
        }
        drop(stop);
    });
    let expected: Vec<(u64, String)> =
        (0..3000).map(|nth| (nth + 1, format!("{}.{}", nth / 5, nth % 5))).collect();
    assert_eq!(texts(&reader.wait_for(0, "r", 3000)), expected);
    assert_eq!(kept(&mut writer, "r"), expected);
    assert!(reader.counts.filled.load(Ordering::Relaxed) > 0, "something was missed, and read");
    writer.end();
    reader.end();
}

#[test]
fn changes_that_were_missed_are_told_behind_the_messages_that_they_change() {
    let engine = Engine::start();
    let proxy = Proxy::to(engine.port());
    let mut writer = Node::start(&engine.url(), Options::default(), 1);
    let mut reader = Node::start(&proxy.url(), Options::default(), 1);
    writer.open(0, "r");
    reader.open(0, "r");
    proxy.close(true);
    for nth in 1..=400_u64 {
        writer.post(0, "r", "x", None);
        let act = Act::Edit { seq: nth, text: format!("{nth}").into(), data: None };
        writer.propose(0, vec![Proposal { room: "r".into(), time: 1, act }]);
    }
    proxy.close(false);
    let told = reader.wait_for(0, "r", 800);
    let mut seen = 0;
    for change in &told {
        match &change.action {
            Action::Post(post) => {
                assert_eq!(post.seq, seen + 1);
                seen = post.seq;
            }
            Action::Edit { seq, rev, .. } => assert!(*seq <= seen && rev == seq, "{seq} of {seen}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((told.len(), seen), (800, 400));
    reader.end();
    writer.end();
}

#[test]
fn what_is_told_comes_once_and_in_order_though_some_of_it_is_lost_doubled_or_late() {
    let engine = Engine::start();
    let proxy = Proxy::to(engine.port());
    let mut writer = Node::start(&engine.url(), Options::default(), 1);
    let mut reader = Node::start(&proxy.url(), Options::default(), 2);
    writer.open(0, "r");
    reader.open(0, "r");
    reader.open(1, "r");
    proxy.spoil(true);
    for nth in 1..=400_u64 {
        let seq = nth - nth / 4;
        if nth % 4 == 0 {
            let act = Act::Edit { seq, text: format!("{seq}!").into(), data: None };
            writer.propose(0, vec![Proposal { room: "r".into(), time: 1, act }]);
        } else {
            writer.post(0, "r", &seq.to_string(), None);
        }
        // One by one, so that each has a fate of its own.
        wait_until("it has come by", || proxy.fates().iter().sum::<usize>() as u64 >= nth);
    }
    proxy.spoil(false);
    writer.post(0, "r", "301", None);
    for number in 0..2 {
        let told = reader.wait_for(number, "r", 401);
        // What is read later is as it was edited.
        let said = texts(&told);
        let is_right = |(nth, (seq, text)): (usize, &(u64, String))| {
            *seq == nth as u64 + 1 && *text.trim_end_matches('!') == seq.to_string()
        };
        assert!(said.len() == 301 && said.iter().enumerate().all(is_right), "loop {number}");
        let revs = told.iter().filter_map(|change| match change.action {
            Action::Edit { rev, .. } => Some(rev),
            _ => None,
        });
        assert!(revs.eq(1..=100), "loop {number}");
    }
    assert!(proxy.fates().iter().all(|count| *count > 50), "{:?}", proxy.fates());
    assert!(reader.forks.is_empty());
    writer.end();
    reader.end();
}

#[test]
fn of_what_is_kept_no_more_a_node_says_that_it_is_behind() {
    let engine = Engine::start();
    let proxy = Proxy::to(engine.port());
    let options = Options::default().with(|it| it.keep_posts = 20);
    let mut writer = Node::start(&engine.url(), options.clone(), 1);
    let mut reader = Node::start(&proxy.url(), options, 1);
    writer.post(0, "r", "first", None);
    reader.open(0, "r");
    proxy.close(true);
    for nth in 0..200 {
        writer.post(0, "r", &nth.to_string(), None);
    }
    proxy.close(false);
    wait_until("it is behind", || reader.counts.behind.load(Ordering::Relaxed) == 1);
    let seq = reader.open_when_behind("r");
    assert_eq!(seq, 201);
    writer.post(0, "r", "next", None);
    let told = texts(&reader.wait_for(0, "r", 1));
    assert_eq!(told, [(202, "next".to_owned())]);
    reader.end();
    writer.end();
}

#[test]
fn a_history_that_was_set_back_goes_on_under_another_name_from_where_it_was() {
    let mut engine = Engine::with(&["--save", "", "--appendonly", "no", "--dbfilename", "d.rdb"]);
    let mut saw_more = Node::start(&engine.url(), impatient(), 1);
    for nth in 1..=10 {
        saw_more.post(0, "r", &format!("kept {nth}"), None);
    }
    engine.run::<()>(&["SAVE"]);
    let mut opened = saw_more.open(0, "r");
    let epoch = std::mem::take(&mut opened.epoch);
    for nth in 11..=15 {
        saw_more.post(0, "r", &format!("lost {nth}"), Some(&format!("k{nth}")));
    }
    saw_more.wait_for(0, "r", 5);
    engine.kill();
    engine.start_again();
    wait_until("the history has another name", || {
        saw_more.look(0);
        !saw_more.forks.is_empty()
    });
    let (room, Fork { epoch: new, seq, rev }) = saw_more.forks[0].clone();
    assert_eq!((&*room, seq, rev), ("r", 10, 0), "what came after that is lost");
    assert_ne!(new, epoch);
    wait_until("posts are taken again", || {
        saw_more.look(0);
        !saw_more.is_failed[0]
    });
    let again = saw_more.post(0, "r", "lost 11", Some("k11"));
    assert!(matches!(again, Some(Outcome::Posted { seq: 11, .. })), "the key was lost, too: {again:?}");
    let state = saw_more.open(0, "r");
    assert_eq!(state.epoch, new);
    assert_eq!(state.lineage, [Fork { epoch, seq: 10, rev: 0 }]);
    saw_more.end();
}

#[test]
fn a_room_that_somebody_set_back_at_the_engine_goes_on_under_another_name() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default(), 1);
    let epoch = node.open(0, "r").epoch;
    for nth in 1..=5 {
        node.post(0, "r", &nth.to_string(), None);
    }
    let copy = |from: &str, to: &str| {
        for kind in ["m", "h"] {
            let (from, to) = (format!("{from}{kind}:{{r}}"), format!("{to}{kind}:{{r}}"));
            assert!(engine.run::<bool>(&["COPY", &from, &to, "REPLACE"]));
        }
    };
    copy("sb:", "backup:");
    for nth in 6..=8 {
        node.post(0, "r", &nth.to_string(), None);
    }
    node.wait_for(0, "r", 8);
    copy("backup:", "sb:");
    assert!(matches!(node.post(0, "r", "another 6", None), Some(Outcome::Posted { seq: 6, .. })));
    wait_until("the history has another name", || {
        node.look(0);
        !node.forks.is_empty()
    });
    let (_, fork) = node.forks[0].clone();
    assert_eq!((fork.seq, fork.rev), (6, 0), "what is common, as far as anybody can know");
    assert_ne!(fork.epoch, epoch);
    node.end();
}

#[test]
fn numbers_that_were_lost_are_given_again_under_another_name_though_no_server_knew_them() {
    let mut engine = Engine::with(&["--save", "", "--appendonly", "no", "--dbfilename", "d.rdb"]);
    let mut before = Node::start(&engine.url(), impatient(), 1);
    for nth in 1..=8 {
        before.post(0, "r", &format!("kept {nth}"), None);
    }
    engine.run::<()>(&["SAVE"]);
    before.post(0, "r", "lost 9", None);
    let epoch = before.open(0, "r").epoch;
    // All servers end with the engine.
    before.end();
    engine.kill();
    engine.start_again();
    let mut after = Node::start(&engine.url(), impatient(), 1);
    assert!(matches!(after.post(0, "r", "new 9", None), Some(Outcome::Posted { seq: 9, .. })));
    let state = after.open(0, "r");
    assert_ne!(state.epoch, epoch, "who knows the other message 9 must not be told that this is all");
    assert_eq!(state.lineage, [Fork { epoch, seq: 8, rev: 0 }]);
    after.end();
}

#[test]
fn nothing_that_was_acked_is_lost_or_doubled_when_an_engine_on_the_disk_is_killed() {
    let mut engine = Engine::on_disk();
    let mut writer = Node::start(&engine.url(), Options::default(), 1);
    let mut reader = Node::start(&engine.url(), Options::default(), 1);
    let level = writer.clients[0].level();
    assert_eq!(level, "engine-disk");
    reader.open(0, "r");
    let mut acked = BTreeMap::new();
    let mut nth = 0;
    for _ in 0..8 {
        for _ in 0..40 {
            nth += 1;
            let key = format!("k{nth}");
            loop {
                match writer.post(0, "r", &key, Some(&key)) {
                    Some(Outcome::Posted { seq, .. } | Outcome::Repeated { seq, .. }) => {
                        assert!(acked.insert(seq, key).is_none(), "{seq} twice");
                        break;
                    }
                    // It is in doubt: the same key tells.
                    Some(Outcome::Unavailable) | None => wait_until("it is back", || {
                        writer.look(0);
                        !writer.is_failed[0]
                    }),
                    other => panic!("{other:?}"),
                }
            }
            if nth % 40 == 17 {
                writer.hand_over(0, vec![post("r", &format!("under way {nth}"), None)]);
                engine.kill();
                engine.start_again();
                wait_until("what was under way is done", || writer.is_settled(0));
            }
        }
    }
    let all: BTreeMap<u64, String> = kept(&mut writer, "r").into_iter().collect();
    for (seq, key) in &acked {
        assert_eq!(all.get(seq), Some(key), "acked, and not there");
    }
    assert_eq!(all.len(), 320 + 8, "each once");
    assert!(all.keys().copied().eq(1..=328));
    let told: BTreeMap<u64, String> = texts(&reader.wait_for(0, "r", 328)).into_iter().collect();
    assert_eq!(told, all);
    assert_eq!(reader.told[0]["r"].len(), 328, "nothing is told twice");
    assert!(reader.forks.iter().all(|(_, fork)| fork.seq > 0));
    writer.end();
    reader.end();
}

#[test]
fn a_post_in_doubt_is_unavailable_and_its_key_tells_what_became_of_it() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), impatient(), 2);
    assert!(node.post(0, "r", "before", None).is_some());
    engine.signal("STOP");
    assert_eq!(node.post(0, "r", "in doubt", Some("k")), None);
    assert!(node.is_failed[0], "nobody posts meanwhile");
    node.look(1);
    assert!(node.is_failed[1], "on no loop");
    engine.signal("CONT");
    wait_until("the engine is back", || {
        node.look(0);
        node.look(1);
        !node.is_failed[0] && !node.is_failed[1]
    });
    let again = node.post(0, "r", "in doubt", Some("k"));
    let seq = match again {
        Some(Outcome::Posted { seq, .. } | Outcome::Repeated { seq, .. }) => seq,
        other => panic!("{other:?}"),
    };
    assert_eq!(seq, 2);
    let texts: Vec<_> = kept(&mut node, "r").into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["before", "in doubt"]);
    assert!(matches!(node.post(1, "r", "after", None), Some(Outcome::Posted { seq: 3, .. })));
    node.end();
}

#[test]
fn messages_of_two_that_were_missed_are_told_once_wherever_the_two_are() {
    let engine = Engine::start();
    let proxy = Proxy::to(engine.port());
    let mut writer = Node::start(&engine.url(), Options::default(), 1);
    let mut reader = Node::start(&proxy.url(), Options::default(), 2);
    wait_until("it is fed", || reader.counts.is_fed.load(Ordering::Relaxed));
    for nth in 0..3 {
        writer.post(0, "@ada\nbob", &format!("before {nth}"), None);
    }
    reader.wait_for(1, "@ada\nbob", 3);
    proxy.close(true);
    wait_until("it is cut off", || !reader.counts.is_fed.load(Ordering::Relaxed));
    for nth in 0..300 {
        writer.post(0, "@ada\nbob", &format!("meanwhile {nth}"), None);
    }
    writer.post(0, "@ada\neve", "to somebody else", None);
    proxy.close(false);
    for number in 0..2 {
        let told = texts(&reader.wait_for(number, "@ada\nbob", 303));
        assert!(told.iter().map(|(seq, _)| *seq).eq(1..=303), "{told:?}");
        assert_eq!(reader.wait_for(number, "@ada\neve", 1).len(), 1);
    }
    // What is open and closed again is not told twice either.
    reader.open(0, "@ada\nbob");
    writer.post(0, "@ada\nbob", "while it is open", None);
    reader.wait_for(0, "@ada\nbob", 304);
    reader.clients[0].close("@ada\nbob");
    writer.post(0, "@ada\nbob", "after it was closed", None);
    let told = texts(&reader.wait_for(0, "@ada\nbob", 305));
    assert!(told.iter().map(|(seq, _)| *seq).eq(1..=305));
    writer.end();
    reader.end();
}

#[test]
fn a_link_that_says_nothing_is_noticed_and_what_was_said_meanwhile_is_told() {
    let engine = Engine::start();
    let proxy = Proxy::to(engine.port());
    let mut writer = Node::start(&engine.url(), Options::default(), 1);
    let mut reader = Node::start(&proxy.url(), Options::default(), 1);
    reader.open(0, "r");
    proxy.freeze(true);
    let mut said = 0;
    wait_until("the silence is noticed", || {
        said += 1;
        writer.post(0, "r", &said.to_string(), None);
        !reader.counts.is_fed.load(Ordering::Relaxed)
    });
    proxy.freeze(false);
    let told = texts(&reader.wait_for(0, "r", said));
    assert_eq!(told, (1..=said).map(|nth| (nth as u64, nth.to_string())).collect::<Vec<_>>());
    writer.end();
    reader.end();
}

#[test]
fn functions_that_were_lost_are_loaded_again_and_others_of_their_name_are_not_used() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default(), 1);
    node.open(0, "r");
    node.post(0, "r", "1", None);
    engine.run::<()>(&["FUNCTION", "FLUSH"]);
    assert!(matches!(node.post(0, "r", "2", None), Some(Outcome::Posted { seq: 2, .. })));
    assert_eq!(texts(&node.wait_for(0, "r", 2)).len(), 2);
    node.end();
    let other =
        "#!lua name=switchboard_2\nredis.register_function('switchboard_2_open', function() return 1 end)";
    engine.run::<String>(&["FUNCTION", "LOAD", "REPLACE", other]);
    let why = engine::open(Target::new(&engine.url(), TIMEOUT).unwrap(), Options::default(), 1).unwrap_err();
    assert!(matches!(why, EngineError::Library), "{why}");
}

#[test]
fn an_engine_without_memory_takes_no_posts_and_lets_read() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default(), 1);
    node.open(0, "r");
    node.post(0, "r", "before", None);
    engine.run::<()>(&["CONFIG", "SET", "maxmemory", "1mb"]);
    assert_eq!(node.post(0, "r", "too much", None), Some(Outcome::Unavailable));
    assert_eq!(kept(&mut node, "r"), [(1, "before".to_owned())]);
    assert_eq!(node.open(0, "r").seq, 1);
    engine.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(matches!(node.post(0, "r", "after", None), Some(Outcome::Posted { seq: 2, .. })));
    node.end();
}

#[test]
fn a_damaged_message_is_left_out_and_nothing_else() {
    let engine = Engine::start();
    let mut node = Node::start(&engine.url(), Options::default(), 1);
    for text in ["1", "2", "3"] {
        node.post(0, "r", text, None);
    }
    engine.run::<()>(&["LSET", "sb:h:{r}", "1", "\u{1}\u{2}"]);
    let seqs: Vec<u64> = kept(&mut node, "r").into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, [1, 3]);
    // It cannot be changed, and what else is in the call is done.
    let change = |act| Proposal { room: "r".into(), time: 1, act };
    let edit = change(Act::Edit { seq: 2, text: "x".into(), data: None });
    let calls = vec![post("r", "4", None), edit, change(Act::Delete { seq: 2 }), post("r", "5", None)];
    let outcomes = node.propose(0, calls).unwrap();
    assert!(
        matches!(
            outcomes[..],
            [Outcome::Posted { seq: 4, .. }, Outcome::Gone, Outcome::Gone, Outcome::Posted { seq: 5, .. }]
        ),
        "{outcomes:?}"
    );
    let texts: Vec<String> = kept(&mut node, "r").into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["1", "3", "4", "5"]);
    // What is not a list at all concerns this room alone.
    engine.run::<()>(&["SET", "sb:h:{r}", "x"]);
    assert!(node.try_open(0, "r").is_none());
    let outcomes = node.propose(0, vec![post("r", "4", None), post("s", "1", None)]).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Unavailable, Outcome::Posted { seq: 1, .. }]), "{outcomes:?}");
    node.end();
}

#[test]
fn an_engine_that_would_lose_what_it_is_told_is_refused() {
    let engine = Engine::with(&["--save", "", "--maxmemory-policy", "allkeys-lru"]);
    let target = || Target::new(&engine.url(), TIMEOUT).unwrap();
    let why = engine::open(target(), Options::default(), 1).unwrap_err();
    assert!(why.to_string().contains("noeviction"), "{why}");
    engine.run::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let (clients, ..) = engine::open(target(), Options::default(), 1).unwrap();
    assert_eq!(clients[0].level(), "engine");
    engine.run::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let why = engine::open(target(), Options::default(), 1).unwrap_err();
    assert!(matches!(why, EngineError::Replica), "{why}");
}
