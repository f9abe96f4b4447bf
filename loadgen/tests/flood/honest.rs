//! Against the real server: everything comes back.

use switchboard::apps::{Echo, Fanout};

use crate::support::{Honest, echo};

#[test]
fn every_message_comes_back_in_every_size_and_kind() {
    let server = Honest::start(Echo);
    for kind in ["--binary", "--text --mask fixed"] {
        for size in [0, 1, 7, 20, 125, 126, 1000, 65_535] {
            let run = echo(
                server.address,
                &format!("{kind} --size {size} --connections 3 --messages 30 --pipeline 5 --seed 1"),
            );
            assert_eq!((run.status, run.count("sent"), run.count("answered")), (0, 90, 90), "{size} {run:?}");
            assert_eq!((run.count("opened"), run.count("closed"), run.faults()), (3, 3, [0; 4]));
        }
    }
}

#[test]
fn messages_beyond_the_socket_buffers_come_back() {
    let server = Honest::start(Echo);
    let run = echo(server.address, "--size 60000 --connections 2 --messages 300 --pipeline 200");
    assert_eq!((run.status, run.count("answered")), (0, 600), "{run:?}");
}

#[test]
fn a_timed_run_measures_after_its_warm_up() {
    let server = Honest::start(Echo);
    let run = echo(server.address, "--connections 10 --pipeline 4 --warmup 200ms --duration 300ms");
    assert_eq!((run.status, run.faults()), (0, [0; 4]), "{run:?}");
    assert_eq!(run.count("window_ns"), 300_000_000);
    let measured = run.count("answered_in_window");
    assert!(measured > 0 && measured < run.count("answered"), "{run:?}");
    assert!(run.json["latency_from_send_ns"]["count"].as_u64() > Some(0));
    assert!(run.json.get("latency_from_plan_ns").is_none());
}

#[test]
fn an_open_loop_sends_exactly_what_was_planned() {
    let server = Honest::start(Echo);
    let run = echo(server.address, "--connections 7 --rate 2000 --warmup 250ms --duration 500ms");
    assert_eq!((run.status, run.faults(), run.count("unsent")), (0, [0; 4], 0), "{run:?}");
    // 2,000 a second for 750 ms, of which 500 ms are measured.
    assert_eq!((run.count("sent"), run.count("answered")), (1500, 1500), "{run:?}");
    assert_eq!(run.json["latency_from_plan_ns"]["count"], 1000);
    assert!(run.text.contains("from the planned instant") && run.text.contains("from the actual send"));
}

#[test]
fn connections_are_dialled_at_their_rate_and_within_their_burst() {
    let server = Honest::start(Echo);
    let run = echo(server.address, "--connections 40 --connect-rate 400 --connect-burst 2 --messages 1");
    assert_eq!((run.status, run.count("opened"), run.count("answered")), (0, 40, 40), "{run:?}");
}

#[test]
fn a_server_that_tells_everyone_is_no_echo() {
    let server = Honest::start(Fanout::default());
    let run = echo(server.address, "--connections 3 --messages 5");
    assert_eq!(run.status, 1, "{run:?}");
    assert!(run.count("corrupted") > 0, "{run:?}");
}
