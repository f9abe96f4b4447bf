//! `idle`, `churn`, `slow` and `storm` against the real server and against servers that fail.

use std::sync::mpsc;
use std::time::Duration;

use switchboard::apps::Echo;
use switchboard::proto::MessageKind;

use crate::hub::{Club, Letters, hub};
use crate::support::{Answers, Honest, flood, start};

#[test]
fn idle_connections_are_held_and_their_pings_answered() {
    let server = Honest::start_with(Echo, |config| config.proto.timeouts.ping_ms = 100);
    let run = flood("idle", server.address, "--connections 30 --duration 500ms");
    assert_eq!((run.status, run.count("opened"), run.count("closed")), (0, 30, 30), "{run:?}");
    assert!(run.count("pings") >= 30, "{run:?}");
}

#[test]
fn an_idle_connection_costs_little() {
    let server = Honest::start(Echo);
    let memory = |connections: u32| {
        let run = flood("idle", server.address, &format!("--connections {connections} --duration 300ms"));
        assert_eq!(run.status, 0, "{run:?}");
        run.json["generator"]["max_rss_bytes"].as_u64().unwrap()
    };
    let (few, many) = (memory(200), memory(4200));
    let each = many.saturating_sub(few) / 4000;
    assert!(each <= 256, "{each} bytes for each idle connection: {few} and {many}");
}

#[test]
fn churn_connects_talks_and_closes() {
    let server = Honest::start(Echo);
    for options in ["", "--rate 400", "--messages 3 --threads 2 --text --size 20-90", "--messages 0"] {
        let run = flood(
            "churn",
            server.address,
            &format!("--connections 8 --warmup 100ms --duration 400ms {options}"),
        );
        assert_eq!((run.status, run.faults(), run.count("failed")), (0, [0; 4], 0), "{options} {run:?}");
        let (opened, closed) = (run.count("opened"), run.count("closed"));
        assert!(opened == closed && opened > 8 && run.count("opened_in_window") > 0, "{options} {run:?}");
        if options == "--rate 400" {
            // As many as are planned before the end of the window.
            assert_eq!(opened, 200, "{run:?}");
        }
        let each = if options.contains("--messages 3") {
            3
        } else {
            u64::from(!options.contains('0') || options.contains("400"))
        };
        assert_eq!(run.count("answered"), opened * each, "{options} {run:?}");
        assert!(run.json["handshake_from_plan_ns"]["count"].as_u64() > Some(0));
    }
}

#[test]
fn dials_that_found_nobody_free_are_named() {
    // One connection and a server that answers after 20 ms: at most fifty connections per second.
    let slow = start(Answers(|_, message, _: &mut Vec<_>| {
        let (_sender, nothing) = mpsc::channel::<()>();
        let _ = nothing.recv_timeout(Duration::from_millis(20));
        Some(vec![message])
    }));
    let run = flood("churn", slow, "--connections 1 --rate 500 --warmup 0s --duration 300ms");
    assert_eq!((run.status, run.count("failed")), (1, 0), "{run:?}");
    assert!(run.count("unsent") > 100 && run.count("unsent") + run.count("opened") == 150, "{run:?}");
}

#[test]
fn churn_names_what_a_server_does_wrong() {
    let liar = Answers(|_, mut message: Vec<u8>, _: &mut Vec<_>| {
        message[10] ^= 1;
        Some(vec![message])
    });
    let run = flood("churn", start(liar), "--connections 2 --warmup 0s --duration 100ms");
    assert!(run.status == 1 && run.count("corrupted") > 0, "{run:?}");
    let run = flood(
        "churn",
        start(Answers(|_, _, _: &mut Vec<_>| None)),
        "--connections 2 --warmup 0s --duration 100ms",
    );
    assert!(run.status == 1 && run.failures("closed early") + run.failures("connection lost") > 0, "{run:?}");
}

#[test]
fn slow_readers_are_reported_and_the_others_are_served() {
    let server = Honest::start(Echo);
    let options = "--connections 20 --slow-share 0.2 --size 1000 --warmup 0s --duration 3s";
    let run = flood("slow", server.address, options);
    assert_eq!((run.status, run.faults()), (0, [0; 4]), "{run:?}");
    let slow = &run.json["slow"];
    assert_eq!(run.json["asked"]["slow_connections"], 4);
    let cut: u64 = slow["cut"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(slow["held"].as_u64().unwrap() + cut, 4, "{run:?}");
    // They read for 3 s, and before that until all connections were open.
    assert!((1..30_000).contains(&slow["read_bytes"].as_u64().unwrap()), "{run:?}");
    assert!(slow["unanswered"].as_u64() > Some(0) && run.count("answered") > 100, "{run:?}");
}

/// Sends each message to all connections but the last two, which it closes.
struct TurnsTheLastOut {
    members: usize,
}

impl Club for TurnsTheLastOut {
    fn joined(&mut self, _: usize, _: usize) {
        self.members += 1;
    }

    fn said(&mut self, _: usize, message: &[u8]) -> Letters {
        (0..self.members).map(|to| (to, MessageKind::Binary, message.to_vec())).collect()
    }

    fn expels(&self, member: usize) -> bool {
        member >= 8
    }
}

#[test]
fn slow_readers_that_are_cut_off_are_no_failure() {
    let options =
        "--fanout 2 --connections 10 --connect-burst 1 --slow-share 0.2 --warmup 0s --duration 500ms";
    let run = flood("slow", hub(TurnsTheLastOut { members: 0 }), options);
    assert_eq!((run.status, run.faults(), &run.json["slow"]["held"]), (0, [0; 4], &0.into()), "{run:?}");
    assert_eq!(run.json["slow"]["cut"]["closed early by the server with 1008"], 2, "{run:?}");
    assert!(run.text.contains("2 cut off") && run.count("answered") > 0, "{}", run.text);
}

#[test]
fn a_storm_brings_everyone_back() {
    let server = Honest::start(Echo);
    for threads in [1, 3] {
        let run = flood(
            "storm",
            server.address,
            &format!("--connections 50 --rounds 2 --pause 20ms --threads {threads}"),
        );
        assert_eq!((run.status, run.count("opened"), run.count("closed")), (0, 150, 50), "{run:?}");
        assert_eq!(run.json["storms_ns"].as_array().unwrap().len(), 2);
        assert!(run.text.contains("no history to resume"), "{}", run.text);
    }
}
