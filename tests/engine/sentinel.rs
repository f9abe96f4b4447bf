//! Sentinels say where the engine is: servers follow it to another primary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::cmd;
use switchboard::history::Fork;
use switchboard::history::engine::{self, EngineError, Options, Target};

use crate::bridge::{impatient, kept};
use crate::failover::insist;
use crate::node::{Node, TIMEOUT, texts};
use crate::redis_server::{Engine, PROGRAM, free_port, wait_until};

/// A Sentinel; it is killed, by its id, when the value goes.
struct Sentinel {
    child: Child,
    port: u16,
    file: PathBuf,
}

impl Sentinel {
    fn of(primary: &Engine) -> Self {
        let port = free_port();
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sentinel-{port}.conf"));
        let watched = primary.port();
        let config = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {watched} 2\n\
             sentinel down-after-milliseconds main 700\nsentinel failover-timeout main 4000\n"
        );
        std::fs::write(&file, config).unwrap();
        let program = std::env::var(PROGRAM).unwrap_or_else(|_| "redis-server".into());
        let mut command = Command::new(program);
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null());
        Self { child: command.spawn().unwrap(), port, file }
    }

    fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut command = cmd("SENTINEL");
        for word in words {
            command.arg(*word);
        }
        command.query(&mut client.get_connection_with_timeout(Duration::from_secs(1))?)
    }

    /// Whether it could fail over, and knows the others.
    fn is_ready(&self) -> bool {
        let is_many = self.run::<String>(&["CKQUORUM", "main"]).is_ok_and(|it| it.starts_with("OK 3"));
        is_many && self.has_replica()
    }

    fn has_replica(&self) -> bool {
        let replicas: Vec<std::collections::BTreeMap<String, String>> =
            self.run(&["REPLICAS", "main"]).unwrap_or_default();
        replicas.iter().any(|it| it["flags"] == "slave" && it["master-link-status"] == "ok")
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(&self.file);
    }
}

#[test]
fn servers_follow_the_primary_that_the_sentinels_name() {
    let mut first = Engine::with(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    let second = Engine::with(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    second.run::<()>(&["REPLICAOF", "127.0.0.1", &first.port().to_string()]);
    let mut sentinels = [Sentinel::of(&first), Sentinel::of(&first), Sentinel::of(&first)];
    wait_until("the Sentinels know each other", || sentinels.iter().all(Sentinel::is_ready));
    let hosts: Vec<_> = sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
    let url = format!("redis+sentinel://{}/main", hosts.join(","));
    let unknown = Target::new(&url.replace("/main", "/other"), TIMEOUT).unwrap();
    let why = engine::open(unknown, Options::default(), 1).unwrap_err();
    assert!(matches!(&why, EngineError::Sentinel(_)) && why.to_string().contains("\"other\""), "{why}");

    let mut writer = Node::start(&url, impatient(), 1);
    let mut reader = Node::start(&url, impatient(), 1);
    let epoch = reader.open(0, "r").epoch;
    for nth in 1..=20 {
        assert_eq!(insist(&mut writer, &format!("before {nth}")), nth);
    }
    wait_until("the replica has it", || second.run::<usize>(&["LLEN", "sb:h:{r}"]) == 20);
    // One of the three is enough to ask.
    sentinels[0].kill();
    first.kill();
    assert_eq!(insist(&mut writer, "after"), 21);
    assert_eq!(second.run::<usize>(&["LLEN", "sb:h:{r}"]), 21, "the replica is the primary now");
    assert_eq!(texts(&reader.wait_for(0, "r", 21)).last(), Some(&(21, "after".to_owned())));
    let Fork { epoch: new, seq, rev } = reader.forks[0].1.clone();
    assert_eq!((seq, rev), (20, 0), "it had everything");
    assert_ne!(new, epoch);
    assert_eq!(writer.clients[0].level(), "engine");
    assert_eq!(kept(&mut writer, "r").len(), 21);
    writer.end();
    reader.end();
}

#[test]
fn servers_leave_a_primary_that_lives_on_where_the_sentinels_name_another_one() {
    let (old, new) = (Engine::start(), Engine::start());
    new.run::<()>(&["REPLICAOF", "127.0.0.1", &old.port().to_string()]);
    let sentinel = Sentinel::of(&old);
    wait_until("the Sentinel knows it", || sentinel.run::<()>(&["MASTER", "main"]).is_ok());
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port);
    let mut writer = Node::start(&url, impatient(), 1);
    let mut reader = Node::start(&url, impatient(), 1);
    reader.open(0, "r");
    assert_eq!(insist(&mut writer, "before"), 1);
    wait_until("the replica has it", || new.run::<usize>(&["LLEN", "sb:h:{r}"]) == 1);
    // Nobody tells the old one, and it goes on as if nothing were.
    new.run::<()>(&["REPLICAOF", "NO", "ONE"]);
    sentinel.run::<()>(&["REMOVE", "main"]).unwrap();
    sentinel.run::<()>(&["MONITOR", "main", "127.0.0.1", &new.port().to_string(), "1"]).unwrap();
    let mut said = 1;
    wait_until("posts go to the new one", || {
        said += 1;
        insist(&mut writer, &format!("after {said}"));
        new.run::<usize>(&["LLEN", "sb:h:{r}"]) != 1
    });
    wait_until("everybody hears them", || {
        reader.look(0);
        texts(&reader.told[0]["r"]).last() == kept(&mut writer, "r").last()
    });
    let (_, fork) = reader.forks[0].clone();
    assert_eq!((fork.seq, fork.rev), (1, 0), "what the old one took is no part of it");
    writer.end();
    reader.end();
}
