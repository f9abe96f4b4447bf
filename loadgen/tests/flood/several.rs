//! Several servers in one run: `--url`.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;
use switchboard::apps::{Echo, Fanout};

use crate::chat::{House, Lie};
use crate::support::{Answers, Honest, Run, echo, flood, loadgen, start};

/// A figure of each server.
#[track_caller]
fn of_each(run: &Run, name: &str) -> Vec<u64> {
    let urls = run.json["urls"].as_array().unwrap_or_else(|| unreachable!("no urls in {run:?}"));
    urls.iter().map(|url| url[name].as_u64().expect("a figure")).collect()
}

fn further(address: SocketAddr) -> String {
    format!("--url ws://{address}/other?x=1")
}

#[test]
fn connections_go_to_all_servers_in_turn() {
    let (one, two, three) = (Honest::start(Echo), Honest::start(Echo), Honest::start(Echo));
    let urls = format!("{} {}", further(two.address), further(three.address));
    for threads in ["--threads 1", "--threads 3"] {
        let run = echo(one.address, &format!("{urls} --connections 8 --messages 5 {threads}"));
        assert_eq!((run.status, run.count("answered")), (0, 40), "{run:?}");
        assert_eq!(of_each(&run, "opened"), [3, 3, 2], "{run:?}");
        assert_eq!(of_each(&run, "closed"), [3, 3, 2], "{run:?}");
        assert_eq!(of_each(&run, "answered"), [15, 15, 10], "{run:?}");
        assert_eq!((of_each(&run, "faults"), of_each(&run, "failed")), (vec![0; 3], vec![0; 3]), "{run:?}");
        let line =
            format!("server        ws://{}/other?x=1: 3 opened, 3 closed cleanly, 15 echoed", two.address);
        assert!(run.text.contains(&line) && run.text.contains("and 2 more"), "{}", run.text);
    }
    let run = flood("idle", one.address, &format!("{urls} --connections 5 --duration 100ms"));
    assert_eq!((run.status, of_each(&run, "opened")), (0, vec![2, 2, 1]), "{run:?}");
    // The figures of the only server are those of the run.
    let run = echo(one.address, "--connections 3 --messages 5");
    assert_eq!((of_each(&run, "opened"), of_each(&run, "answered")), (vec![3], vec![15]), "{run:?}");
    assert!(!run.text.contains("\nserver  "), "{}", run.text);
}

#[test]
fn the_url_before_the_options_is_not_needed() {
    let (one, two) = (Honest::start(Echo), Honest::start(Echo));
    let urls = [one.address, two.address].map(|address| format!("ws://{address}/"));
    let words = ["echo", "--url", &urls[0], "--url", &urls[1], "--connections", "2", "--messages", "1"];
    let output = loadgen(&words);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (words, reason) in [
        (&["echo"][..], "URL"),
        (&["echo", &urls[0], "--url", &urls[0]], "is named twice"),
        (&["echo", &urls[0], "--url", "nonsense"], "not a URL"),
        (&["echo", &urls[0], "--url", "ws://192.0.2.1/"], "--i-own-this-server"),
    ] {
        let output = loadgen(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {errors}");
        assert!(errors.contains(reason), "{words:?}: {errors}");
    }
}

#[test]
fn each_connection_of_a_churn_goes_to_the_next_server() {
    let (one, two) = (Honest::start(Echo), Honest::start(Echo));
    let options = format!("{} --connections 1 --rate 100 --warmup 0s --duration 200ms", further(two.address));
    let run = flood("churn", one.address, &options);
    assert_eq!((run.status, of_each(&run, "opened")), (0, vec![10, 10]), "{run:?}");
}

#[test]
fn the_server_that_is_at_fault_is_named() {
    let honest = Honest::start(Echo);
    let liar = start(Answers(|seq, message: Vec<u8>, _: &mut Vec<_>| {
        Some(if seq == 3 { vec![message.clone(), message] } else { vec![message] })
    }));
    // A port on which no one listens.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = format!("{} {}", further(liar), further(nobody));
    let run = echo(honest.address, &format!("{urls} --connections 6 --messages 5 --duration 3s"));
    assert_eq!((run.status, run.faults()), (1, [0, 2, 0, 0]), "{run:?}");
    assert_eq!((of_each(&run, "faults"), of_each(&run, "failed")), (vec![0, 2, 0], vec![0, 0, 2]), "{run:?}");
    assert_eq!(of_each(&run, "opened"), [2, 2, 0], "{run:?}");
    let failures = run.json["urls"][2]["failures"].as_object().unwrap();
    assert!(failures.keys().all(|name| name.contains("connection refused")), "{run:?}");
    let line = format!("ws://{nobody}/other?x=1: 0 opened, 0 closed cleanly, 0 echoed, 0 faults, 2 failed");
    assert!(run.text.contains(&line), "{}", run.text);
}

#[test]
fn servers_that_do_not_share_their_messages_lose_them() {
    let (one, two) = (Honest::start(Fanout::default()), Honest::start(Fanout::default()));
    let options =
        format!("{} --connections 4 --publishers 2 --messages 1 --duration 2s", further(two.address));
    let run = flood("fanout", one.address, &options);
    // Every message reaches the two connections of its own server.
    assert_eq!((run.status, run.count("answered"), run.count("lost")), (1, 4, 4), "{run:?}");
    assert_eq!(of_each(&run, "answered"), [2, 2], "{run:?}");
    // What never came has no last delivery.
    assert_eq!((&run.json["latency_to_last_ns"], run.count("completed")), (&Value::Null, 0), "{run:?}");
}

const MOVES: &str = "--connections 6 --rooms 2 --rate 300 --rejoin-rate 60 --warmup 0s --duration 600ms";

fn moves(lie: Lie, options: &str) -> Run {
    let [one, two] = House::open_servers(lie);
    flood("chat", one, &format!("{} {MOVES} {options}", further(two)))
}

#[test]
fn users_join_again_at_the_next_server_and_miss_nothing() {
    for options in ["", "--threads 2", "--pipeline 1"] {
        let run = moves(Lie::None, options);
        assert_eq!((run.status, run.count("sent"), run.faults()), (0, 180, [0; 4]), "{options} {run:?}");
        assert_eq!((run.count("rejoined"), run.count("unrecovered")), (36, 0), "{options} {run:?}");
        // Each user moves six times: three connections to each server, and the first one.
        assert_eq!(of_each(&run, "opened").iter().sum::<u64>(), 42, "{options} {run:?}");
        assert_eq!((of_each(&run, "opened"), run.count("closed")), (vec![21, 21], 42), "{options} {run:?}");
    }
    // A closed loop: the posts that a user has left go on at the next server.
    let [one, two] = House::open_servers(Lie::None);
    let options = "--connections 4 --messages 100 --rejoin-rate 60 --duration 60s";
    let run = flood("chat", one, &format!("{} {options}", further(two)));
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 400, [0; 4]), "{run:?}");
    assert!(run.count("rejoined") > 0, "{run:?}");
}

#[test]
fn a_server_that_is_behind_another_one_is_asked_again() {
    let run = moves(Lie::SecondPutsOff(7), "");
    assert_eq!((run.status, run.count("put_off"), run.faults()), (0, 7, [0; 4]), "{run:?}");
    assert!(run.text.contains("7 joins that the server put off"), "{}", run.text);
    // Not for ever.
    let run = moves(Lie::SecondPutsOff(u64::MAX), "");
    assert!(run.status == 1 && run.failures("did not answer leave or join") > 0, "{run:?}");
}

#[test]
fn a_server_that_lies_to_those_who_come_from_another_one_is_named() {
    let run = moves(Lie::SecondHidesMissed, "");
    assert!(run.status == 1 && run.count("lost") > 0, "{run:?}");
    let faults = of_each(&run, "faults");
    assert_eq!((faults[0], faults[1]), (0, run.count("lost")), "{run:?}");

    let run = moves(Lie::SecondRepeats, "");
    assert!(run.status == 1 && run.count("duplicated") > 0, "{run:?}");
    assert_eq!(of_each(&run, "faults"), [0, run.count("duplicated")], "{run:?}");
}

#[test]
fn servers_that_are_not_one_chat_are_noticed() {
    let [one] = House::open_servers(Lie::None);
    let [two] = House::open_servers(Lie::None);
    let run = flood("chat", one, &format!("{} {MOVES}", further(two)));
    assert!(run.status == 1 && run.count("lost") + run.count("duplicated") > 0, "{run:?}");
}
