//! ST rows against the whole server: killed under load, on a disk that is full, fails or is slow, or that cannot be used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{Client, Dice, Launch, SOON, Server, TEXT, assert_below, millis, secs, text};

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--posts-per-second", "0"];

/// A data directory that goes when the value goes.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn launch(&self) -> Launch {
        Launch::switchboard(&SERVE).args(&["--data", self.0.join("data").to_str().unwrap()])
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Somebody in the room `general`.
struct Member {
    client: Client,
    joined: Value,
}

impl Member {
    fn join(server: &Server, user: &str) -> Self {
        let (client, _) = Client::upgrade(server.addr, "/", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
        let mut member = Self { client, joined: Value::Null };
        member.say(&json!({"type": "hello", "user": user}));
        member.wait_for("welcome");
        member.say(&json!({"type": "join", "room": "general"}));
        member.joined = member.wait_for("joined");
        member
    }

    fn say(&mut self, command: &Value) {
        self.client.send(&text(&command.to_string()));
    }

    fn post(&mut self, key: &str, body: &str) {
        self.say(&json!({"type": "post", "room": "general", "text": body, "key": key, "id": key}));
    }

    fn next(&mut self, limit: std::time::Duration) -> Option<Value> {
        let got = self.client.try_frame(limit).ok()?;
        (got.opcode == TEXT).then(|| serde_json::from_slice(&got.payload).unwrap())
    }

    #[track_caller]
    fn wait_for(&mut self, kind: &str) -> Value {
        let deadline = Instant::now() + secs(30);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let notice = self.next(left).unwrap_or_else(|| panic!("no {kind}"));
            if notice["type"] == kind {
                return notice;
            }
        }
    }

    /// The whole history, the oldest first.
    fn history(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut before = 1_u64 << 50;
        loop {
            self.say(&json!({"type": "history", "room": "general", "before": before, "limit": 100}));
            let page = self.wait_for("history");
            let messages = page["messages"].as_array().unwrap();
            all.extend(messages.iter().rev().cloned());
            if page["more"] != true {
                all.reverse();
                return all;
            }
            before = messages[0]["seq"].as_u64().unwrap();
        }
    }
}

/// What anybody was told.
#[derive(Default)]
struct Told {
    /// key -> (seq, time)
    acked: BTreeMap<String, (u64, u64)>,
    /// seq -> text
    seen: BTreeMap<u64, String>,
    refused: BTreeSet<String>,
}

impl Told {
    fn take(&mut self, notice: &Value) {
        let number = |field: &str| notice[field].as_u64().unwrap();
        match notice["type"].as_str().unwrap() {
            "ack" => {
                assert_eq!(notice["durable"], "disk");
                let key = notice["id"].as_str().unwrap().to_owned();
                let told = (number("seq"), number("time"));
                assert_eq!(*self.acked.entry(key).or_insert(told), told, "an ack that says something else");
            }
            "message" => {
                let said = notice["text"].as_str().unwrap();
                let known = self.seen.entry(number("seq")).or_insert_with(|| said.to_owned());
                assert_eq!(known, said, "two messages with one number");
            }
            "error" if notice["code"] == "unavailable" => {
                self.refused.insert(notice["id"].as_str().unwrap().to_owned());
            }
            "error" => panic!("{notice}"),
            _ => {}
        }
    }

    /// Everything that was told is there, in its place, once.
    fn check(&self, history: &[Value]) {
        let mut keys = BTreeSet::new();
        for (place, message) in (1..).zip(history) {
            assert_eq!(message["seq"], place, "a gap");
            let said = message["text"].as_str().unwrap();
            assert!(keys.insert(said), "{said} is there twice");
            if let Some(seen) = self.seen.get(&place) {
                assert_eq!(seen, said, "somebody saw another message {place}");
            }
        }
        let last = self.seen.keys().next_back().copied().unwrap_or(0);
        assert!(last <= history.len() as u64, "message {last} was seen and is gone");
        for (key, (seq, time)) in &self.acked {
            let message =
                history.get(*seq as usize - 1).unwrap_or_else(|| panic!("{key} was acked and is gone"));
            assert_eq!((&message["text"], &message["time"]), (&json!(key), &json!(time)));
        }
    }
}

/// Collects what both are told until `until` says so, or nothing more comes.
fn collect(told: &mut Told, members: &mut [&mut Member], mut until: impl FnMut(&Told) -> bool) {
    let deadline = Instant::now() + SOON;
    while !until(told) && Instant::now() < deadline {
        for member in &mut *members {
            while let Some(notice) = member.next(millis(1)) {
                told.take(&notice);
            }
        }
    }
}

#[test]
fn st_02_kill_9_under_load_loses_nothing_that_anyone_was_told() {
    let dir = Dir::new("kill");
    let mut told = Told::default();
    let mut dice = Dice::new(9);
    let mut epoch = None;
    for round in 0..100 {
        let mut server = dir.launch().start();
        let mut speaker = Member::join(&server, "Ada");
        let mut listener = Member::join(&server, "Bob");
        assert_eq!(*epoch.get_or_insert(speaker.joined["epoch"].clone()), speaker.joined["epoch"]);
        // What was acked before is posted again: it is the same message.
        let again: Vec<String> = told.acked.keys().nth_back(dice.below(40)).cloned().into_iter().collect();
        for key in &again {
            speaker.post(key, key);
            let ack = speaker.wait_for("ack");
            assert_eq!(ack["duplicate"], true, "{ack}");
            told.take(&ack);
        }
        for i in 0..60 {
            let key = format!("{round}-{i}");
            speaker.post(&key, &key);
        }
        let enough = told.acked.len() + dice.below(60);
        collect(&mut told, &mut [&mut speaker, &mut listener], |told| told.acked.len() >= enough);
        server.signal("KILL");
        server.wait(SOON);
        // What was on its way when it died was told, too.
        for member in [&mut speaker, &mut listener] {
            while let Some(notice) = member.next(SOON) {
                told.take(&notice);
            }
        }
        if round % 20 == 19 {
            let server = dir.launch().start();
            told.check(&Member::join(&server, "Eve").history());
        }
    }
    assert!(told.acked.len() > 1000 && told.seen.len() > 1000, "{} acked", told.acked.len());
}

#[test]
fn st_01_a_full_disk_refuses_posts_and_nothing_else() {
    let dir = Dir::new("full");
    let mut server = dir.launch().with_file_size(1024).start();
    let mut speaker = Member::join(&server, "Ada");
    let mut told = Told::default();
    let mut posted = 0;
    while told.refused.is_empty() {
        assert!(posted < 20_000, "the disk is never full");
        for _ in 0..50 {
            posted += 1;
            let key = format!("k{posted}");
            speaker.post(&key, &format!("{key} {}", "x".repeat(500)));
        }
        while (told.acked.len() + told.refused.len()) < posted {
            let notice = speaker.next(SOON).expect("every post is answered");
            if notice["type"] == "message" {
                continue;
            }
            told.take(&notice);
        }
    }
    assert!(!told.acked.is_empty());
    // The rest of the chat goes on, for newcomers too.
    let mut other = Member::join(&server, "Bob");
    other.say(&json!({"type": "typing", "room": "general"}));
    speaker.wait_for("typing");
    other.say(&json!({"type": "who", "room": "general"}));
    assert_eq!(other.wait_for("members")["count"], 2);
    assert!(!other.history().is_empty());
    let room =
        Command::new("prlimit").args(["--pid", &server.id().to_string(), "--fsize=unlimited"]).status();
    assert!(room.unwrap().success());
    let refused = told.refused.iter().next().unwrap().clone();
    let deadline = Instant::now() + secs(30);
    let ack = loop {
        assert!(Instant::now() < deadline, "it never comes back");
        speaker.post(&refused, "at last");
        let answer = loop {
            let notice = speaker.next(SOON).expect("an answer");
            if notice["type"] == "ack" || notice["type"] == "error" {
                break notice;
            }
        };
        if answer["type"] == "ack" {
            break answer;
        }
        assert_eq!(answer["code"], "unavailable");
        std::thread::sleep(millis(100));
    };
    let known = other.history().len() as u64;
    assert!(ack["seq"].as_u64().unwrap() <= known);
    server.assert_alive();
    server.signal("TERM");
    assert_eq!(server.wait(secs(20)).code(), Some(0));
    let server = dir.launch().start();
    let history = Member::join(&server, "Eve").history();
    for (key, (seq, time)) in &told.acked {
        let message = &history[*seq as usize - 1];
        assert!(message["text"].as_str().unwrap().starts_with(&format!("{key} ")), "{key} is gone");
        assert_eq!(message["time"], json!(time));
    }
}

#[test]
fn st_05_a_failed_fsync_costs_those_posts_alone() {
    let dir = Dir::new("eio");
    let mut told = Told::default();
    {
        let mut server = dir.launch().with_faults(&["fsync,fdatasync:error=EIO:when=20+9"]).start();
        let mut speaker = Member::join(&server, "Ada");
        for round in 0..400 {
            let key = format!("k{round}");
            speaker.post(&key, &key);
            let refused = told.refused.len();
            let count = told.acked.len() + refused + 1;
            collect(&mut told, &mut [&mut speaker], |told| told.acked.len() + told.refused.len() >= count);
            // Whoever is refused waits a little, or all posts would fall into the time of one recovery.
            if told.refused.len() > refused {
                std::thread::sleep(millis(20));
            }
        }
        assert!(told.refused.len() >= 3 && told.acked.len() >= 100, "{} refused", told.refused.len());
        // A client that was refused may try again; it is there once.
        for key in told.refused.clone() {
            while !told.acked.contains_key(&key) {
                speaker.post(&key, &key);
                let count = told.acked.len();
                let start = Instant::now();
                collect(&mut told, &mut [&mut speaker], |told| {
                    told.acked.len() > count || start.elapsed() > millis(300)
                });
            }
        }
        server.assert_alive();
        server.signal("KILL");
        server.wait(SOON);
    }
    let server = dir.launch().start();
    told.check(&Member::join(&server, "Eve").history());
}

#[test]
fn st_09_a_slow_disk_holds_up_acks_and_nothing_else() {
    let dir = Dir::new("slow");
    let server = dir.launch().with_faults(&["fsync,fdatasync:delay_exit=700000"]).start();
    let mut speaker = Member::join(&server, "Ada");
    speaker.post("k", "hello");
    for _ in 0..3 {
        speaker.say(&json!({"type": "who", "room": "general"}));
    }
    let mut order = Vec::new();
    while order.len() < 4 {
        let notice = speaker.next(SOON).expect("an answer");
        if notice["type"] == "members" || notice["type"] == "ack" {
            order.push(notice["type"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(order, ["members", "members", "members", "ack"]);
}

#[test]
fn st_06_st_07_st_08_a_directory_that_cannot_be_used_ends_the_start() {
    let dir = Dir::new("refused");
    let start = |data: &str| {
        let program = env!("CARGO_BIN_EXE_switchboard");
        let output =
            Command::new(program).args(SERVE).args(["--data", data]).env("NO_COLOR", "1").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let data = dir.0.join("data");
    let data = data.to_str().unwrap();
    for (path, why) in [
        (format!("{data}/missing/there"), "its parent directory must exist"),
        ("/proc/history".into(), "/proc/history"),
        (env!("CARGO_BIN_EXE_switchboard").into(), "it must be a directory"),
    ] {
        let (code, said) = start(&path);
        assert!(code == Some(2) && said.contains(why), "{code:?} {said}");
    }
    let mut server = dir.launch().start();
    let (code, said) = start(data);
    assert!(code == Some(2) && said.contains("in use by another process; stop that one"), "{code:?} {said}");
    server.signal("TERM");
    assert_eq!(server.wait(SOON).code(), Some(0));
    std::fs::write(format!("{data}/switchboard.db"), "a letter").unwrap();
    let (code, said) = start(data);
    assert!(code == Some(2) && said.contains("is not a history of switchboard"), "{code:?} {said}");
}

/// ST-11: endless posts make neither the memory nor the disk grow for ever.
#[test]
fn st_11_memory_and_disk_stay_flat_over_a_soak_with_retention() {
    const BATCH: u64 = 500;
    let dir = Dir::new("soak");
    let server = dir.launch().args(&["--keep-posts", "1000"]).start();
    let mut ada = Member::join(&server, "Ada");
    let mut posted = 0;
    let mut post = |count: u64| {
        for _ in 0..count / BATCH {
            let line = |n| json!({"type": "post", "room": "general", "text": format!("number {n} of very many"), "id": n});
            let batch: Vec<u8> = (posted..posted + BATCH).flat_map(|n| text(&line(n).to_string())).collect();
            ada.client.send(&batch);
            posted += BATCH;
            while ada.wait_for("ack")["id"].as_u64() != Some(posted - 1) {}
        }
    };
    // Without the logs, which have bounds of their own.
    let disk = || {
        let files = ["switchboard.db", "words.db"].map(|name| dir.0.join("data").join(name));
        files.iter().map(|file| std::fs::metadata(file).map_or(0, |found| found.len())).sum::<u64>()
    };
    post(150_000);
    let memory = server.rss_kib();
    post(150_000);
    assert_below("KiB of memory", server.rss_kib(), memory + 8 * 1024);
    // All 300,000 messages would take three times as much.
    assert_below("bytes of disk", disk(), 16 << 20);
}
