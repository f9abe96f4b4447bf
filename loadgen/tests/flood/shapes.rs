//! Loads that change over time, arrivals at random and in bursts, and think times.

use std::process::{Command, Stdio};
use std::time::SystemTime;

use switchboard::apps::Echo;

use crate::support::{Honest, Scratch, echo, flood, loadgen};

#[test]
fn stages_send_what_they_plan() {
    let server = Honest::start(Echo);
    let options = "--connections 7 --warmup 0s --stages 200ms@100/s,200ms@0,200ms@500..1000/s,100ms@0";
    for more in ["", " --arrivals bursts:10", " --threads 2"] {
        let run = echo(server.address, &format!("{options}{more}"));
        assert_eq!((run.status, run.faults(), run.count("unsent")), (0, [0; 4], 0), "{run:?}");
        assert_eq!(run.count("planned_in_window"), 170, "{run:?}");
        assert_eq!((run.count("sent"), run.count("sent_in_window")), (170, 170), "{run:?}");
        assert_eq!(run.json["window_ns"], 700_000_000, "the run is as long as its stages");
        assert!(run.text.contains("open loop of 200ms@100/s,200ms@0/s,200ms@500..1000/s,"), "{}", run.text);
    }
    // The same for connections.
    let run = flood("churn", server.address, &format!("{options} --messages 0"));
    assert_eq!((run.status, run.count("opened"), run.count("unsent")), (0, 170, 0), "{run:?}");
}

#[test]
fn a_poisson_process_has_its_rate_and_its_seed() {
    let server = Honest::start(Echo);
    let sent = |seed: u32| {
        let options = format!(
            "--connections 5 --warmup 0s --duration 500ms --rate 1000 --arrivals poisson --seed {seed}"
        );
        let run = echo(server.address, &options);
        assert_eq!((run.status, run.faults(), run.count("unsent")), (0, [0; 4], 0), "{run:?}");
        assert_eq!(
            (&run.json["asked"]["arrivals"], run.count("sent")),
            (&"poisson".into(), run.count("planned_in_window"))
        );
        assert!((400..600).contains(&run.count("sent")), "{run:?}");
        run.count("sent")
    };
    assert_eq!(sent(7), sent(7));
    // Two of three have different numbers, or the seed does nothing.
    assert!(sent(7) != sent(8) || sent(7) != sent(9));
}

#[test]
fn think_times_keep_connections_from_sending() {
    let server = Honest::start(Echo);
    for think in ["100ms", "100ms-150ms"] {
        let options = format!("--connections 10 --warmup 0s --duration 650ms --think {think}");
        let run = echo(server.address, &options);
        assert_eq!((run.status, run.faults()), (0, [0; 4]), "{run:?}");
        assert!((10..=60).contains(&run.count("sent")), "{think} {run:?}");
        assert!(run.text.contains(&format!("think time {think}")), "{}", run.text);
    }
    let run = echo(server.address, "--connections 4 --messages 3 --think exp:5ms --threads 2");
    assert_eq!((run.status, run.count("answered")), (0, 12), "{run:?}");
    for bad in ["--rate 5", "--pipeline 2", "--stages 1s@5"] {
        let words: Vec<&str> = bad.split(' ').collect();
        let output = loadgen(&[&["echo", "ws://127.0.0.1:1/", "--think", "1s"], &words[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
    let url = format!("ws://{}/", server.address);
    let output = loadgen(&["search", "--until", "lost==0", "echo", &url, "--think", "1s"]);
    assert_eq!(output.status.code(), Some(2), "a search has a rate");
}

#[test]
fn several_processes_begin_at_one_instant() {
    let server = Honest::start(Echo);
    let url = format!("ws://{}/", server.address);
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let start_at = format!("{:.3}", since + 1.5);
    let reports = [Scratch::new("json"), Scratch::new("json")];
    let children = reports.each_ref().map(|report| {
        let words = ["echo", &url, "--connections", "3", "--messages", "2", "--start-at", &start_at];
        Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args([&words[..], &["--json", report.path()]].concat())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let merged = loadgen(&["merge", reports[0].path(), reports[1].path()]);
    let text = String::from_utf8_lossy(&merged.stdout).into_owned();
    assert!(text.contains("12 sent") && text.contains("the processes began within"), "{text}");
    for report in &reports {
        let json: serde_json::Value = serde_json::from_str(&report.read()).unwrap();
        let begun = humantime::parse_rfc3339(json["begun_at"].as_str().unwrap()).unwrap();
        let begun = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(begun >= since + 1.499, "not before the instant: {begun} {since}");
    }
    let past = loadgen(&["echo", &url, "--start-at", "2020-01-01T00:00:00Z"]);
    let errors = String::from_utf8_lossy(&past.stderr).into_owned();
    assert!(past.status.code() == Some(2) && errors.contains("in the past"), "{errors}");
    let search = ["search", "--until", "lost==0", "echo", &url, "--start-at", "2999-01-01T00:00:00Z"];
    assert_eq!(loadgen(&search).status.code(), Some(2));
}
