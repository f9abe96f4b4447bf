//! A replica takes the place of its primary: what was acked at the level of replicas is there, and what is not is never hidden.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::Ordering;

use switchboard::history::engine::{self, Options, Target};
use switchboard::history::{Fork, Outcome};

use crate::bridge::{impatient, kept};
use crate::node::{Node, TIMEOUT, texts};
use crate::proxy::Proxy;
use crate::redis_server::{Engine, wait_until};

/// A primary and its replica, with ways to them that can be frozen.
struct Pair {
    primary: Engine,
    replica: Engine,
    /// From the replica to the primary.
    link: Proxy,
    /// From nodes to the primary, or to what was the replica.
    way: Proxy,
}

impl Pair {
    fn start() -> Self {
        let primary = Engine::with(&["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
        let link = Proxy::to(primary.port());
        let replica = Engine::start();
        replica.run::<()>(&["REPLICAOF", "127.0.0.1", &link.port().to_string()]);
        wait_until("the replica follows", || {
            primary.run::<String>(&["INFO", "replication"]).contains("state=online")
        });
        let way = Proxy::to(primary.port());
        Self { primary, replica, link, way }
    }

    /// The replica takes over, with what it has.
    fn fail_over(&mut self) {
        self.primary.kill();
        self.replica.run::<()>(&["REPLICAOF", "NO", "ONE"]);
        self.way.lead_to(self.replica.port());
    }
}

/// Posts until it is taken. Returns its number.
pub(crate) fn insist(node: &mut Node, text: &str) -> u64 {
    loop {
        match node.post(0, "r", text, Some(text)) {
            Some(Outcome::Posted { seq, .. } | Outcome::Repeated { seq, .. }) => return seq,
            Some(Outcome::Unavailable) | None => wait_until("posts are taken again", || {
                node.look(0);
                !node.is_failed[0]
            }),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_replica_has_confirmed_is_there_after_a_failover_each_once() {
    let mut pair = Pair::start();
    let options = impatient().with(|it| it.replicas = 1);
    let mut writer = Node::start(&pair.way.url(), options.clone(), 1);
    let mut reader = Node::start(&pair.way.url(), options, 1);
    assert_eq!(writer.clients[0].level(), "engine-replicas");
    let epoch = reader.open(0, "r").epoch;
    let mut acked = BTreeMap::new();
    for nth in 0..50 {
        let text = format!("acked {nth}");
        assert!(acked.insert(insist(&mut writer, &text), text).is_none());
    }
    // The replica hears no more: nothing is acked, though the primary has it.
    pair.link.freeze(true);
    for nth in 0..3 {
        assert_eq!(writer.post(0, "r", &format!("in doubt {nth}"), Some(&format!("in doubt {nth}"))), None);
        assert!(writer.is_failed[0], "nobody posts where nothing is confirmed");
    }
    assert!(!writer.counts.is_up.load(Ordering::Relaxed));
    let has_seen_more = texts(&reader.wait_for(0, "r", 51)).pop().unwrap();
    assert_eq!(has_seen_more, (51, "in doubt 0".to_owned()));
    pair.fail_over();
    pair.replica.run::<()>(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let mut next = Engine::start();
    next.run::<()>(&["REPLICAOF", "127.0.0.1", &pair.replica.port().to_string()]);
    let text = "in doubt 0".to_owned();
    assert!(acked.insert(insist(&mut writer, &text), text).is_none());
    let all: BTreeMap<u64, String> = kept(&mut writer, "r").into_iter().collect();
    assert_eq!(all, acked, "what was acked, and nothing twice");
    wait_until("the fork is told", || {
        reader.look(0);
        !reader.forks.is_empty()
    });
    let Fork { seq, rev, epoch: new } = reader.forks[0].1.clone();
    assert_eq!(
        (seq, rev),
        (50, 0),
        "who has seen what was not acked is told up to where the history is the same"
    );
    assert_ne!(new, epoch);
    writer.end();
    reader.end();
    next.kill();
}

#[test]
fn what_no_replica_had_is_lost_in_a_failover_and_everybody_is_told_so() {
    let mut pair = Pair::start();
    let mut writer = Node::start(&pair.way.url(), impatient(), 1);
    let mut reader = Node::start(&pair.way.url(), impatient(), 1);
    let epoch = reader.open(0, "r").epoch;
    for nth in 1..=30 {
        insist(&mut writer, &format!("kept {nth}"));
    }
    wait_until("the replica has it", || pair.replica.run::<usize>(&["LLEN", "sb:h:{r}"]) == 30);
    pair.link.freeze(true);
    for nth in 1..=10 {
        assert_eq!(insist(&mut writer, &format!("lost {nth}")), 30 + nth, "an ack waits for nobody");
    }
    reader.wait_for(0, "r", 40);
    pair.fail_over();
    assert_eq!(insist(&mut writer, "lost 10"), 31, "it was lost with its key, and is said again");
    wait_until("the fork is told", || {
        reader.look(0);
        !reader.forks.is_empty()
    });
    let Fork { epoch: new, seq, rev } = reader.forks[0].1.clone();
    assert_eq!((seq, rev), (30, 0));
    assert_ne!(new, epoch);
    let state = reader.open(0, "r");
    assert_eq!(state.lineage, [Fork { epoch, seq: 30, rev: 0 }]);
    let told = texts(&reader.wait_for(0, "r", 41));
    assert_eq!(told.last(), Some(&(31, "lost 10".to_owned())), "what came after the failover is told");
    writer.end();
    reader.end();
}

#[test]
fn an_engine_with_fewer_replicas_than_an_ack_waits_for_is_told_by_the_check() {
    let pair = Pair::start();
    let target = || Target::new(&pair.primary.url(), TIMEOUT).unwrap();
    assert!(engine::check(&target(), 1).unwrap().1.is_ok());
    let why = engine::check(&target(), 2).unwrap().1.unwrap_err().to_string();
    assert!(why.contains("1 replicas") && why.contains("--engine-replicas"), "{why}");
    let check = |count: &str| {
        let args = ["engine", "check", &pair.primary.url(), "--engine-replicas", count];
        let out = Command::new(env!("CARGO_BIN_EXE_switchboard")).args(args).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (code, said) = check("1");
    assert!(code == Some(0) && said.contains("\"durable\":\"engine-replicas\""), "{said}");
    let (code, said) = check("2");
    assert!(code == Some(2) && said.contains("waits for 2"), "{said}");
    let (code, said) = check("17");
    assert!(code == Some(2) && said.contains("from 0 to 16"), "{said}");
    // Nothing is taken until there are as many.
    let mut node = Node::start(&pair.primary.url(), Options::default().with(|it| it.replicas = 2), 1);
    wait_until("it says so", || {
        node.look(0);
        node.is_failed[0]
    });
    let second = Engine::start();
    second.run::<()>(&["REPLICAOF", "127.0.0.1", &pair.primary.port().to_string()]);
    wait_until("posts are taken", || {
        node.look(0);
        !node.is_failed[0]
    });
    assert!(matches!(node.post(0, "r", "x", None), Some(Outcome::Posted { seq: 1, .. })));
    node.end();
}
