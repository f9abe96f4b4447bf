//! Loads that change over time, arrivals at random and in bursts, and think times.

use switchboard::apps::Echo;

use crate::support::{Honest, echo, flood, loadgen};

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
