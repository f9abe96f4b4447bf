//! Servers with one fault: the report names it, and the exit status is 1.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{Answers, Liar, Run, echo, start};

/// Four connections, ten messages each, four in flight.
const FLOOD: &str = "--connections 4 --messages 10 --pipeline 4 --size 20 --duration 2s";

#[track_caller]
fn convicted(run: &Run, faults: [u64; 4]) {
    assert_eq!((run.status, run.faults()), (1, faults), "{run:?}");
    assert!(run.text.contains("verdict       failed"), "{}", run.text);
    assert_eq!(run.json["verdict"], "failed");
}

#[test]
fn an_honest_server_of_the_same_make_is_not_convicted() {
    let run = echo(start(Answers(|_, message, _: &mut Vec<_>| Some(vec![message]))), FLOOD);
    assert_eq!((run.status, run.count("answered"), run.count("closed")), (0, 40, 4), "{run:?}");
}

#[test]
fn a_wrong_accept_key_is_named() {
    struct WrongAccept;
    impl Liar for WrongAccept {
        fn twist_head(&self, head: Vec<u8>) -> Vec<u8> {
            String::from_utf8(head)
                .unwrap()
                .replace("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x")
                .into()
        }
        fn answer(&self, _: usize, _: Vec<u8>, _: &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
            None
        }
    }
    let run = echo(start(WrongAccept), FLOOD);
    convicted(&run, [0; 4]);
    assert_eq!((run.failures("Sec-WebSocket-Accept"), run.count("opened"), run.count("sent")), (4, 0, 0));
}

#[test]
fn a_refused_upgrade_is_named() {
    struct Refusal;
    impl Liar for Refusal {
        fn twist_head(&self, _: Vec<u8>) -> Vec<u8> {
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n".to_vec()
        }
        fn answer(&self, _: usize, _: Vec<u8>, _: &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
            None
        }
    }
    let run = echo(start(Refusal), FLOOD);
    convicted(&run, [0; 4]);
    assert_eq!(run.failures("status 503 instead of 101: the server takes no more connections now"), 4);
}

#[test]
fn the_end_of_a_connection_is_no_answer() {
    struct Silence;
    impl Liar for Silence {
        fn answer(&self, _: usize, _: Vec<u8>, _: &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
            Some(Vec::new())
        }
    }
    let run = echo(start(Silence), "--connections 4 --duration 200ms --warmup 0s");
    assert_eq!((run.count("sent"), run.count("answered"), run.count("closed")), (4, 0, 4), "{run:?}");
    assert_eq!(run.json["first_answer_ns"], serde_json::Value::Null, "{}", run.json);
}

#[test]
fn a_corrupted_echo_is_counted() {
    for at in [0, 7, 19] {
        let liar = Answers(move |seq, mut message: Vec<u8>, _: &mut Vec<_>| {
            message[at] ^= u8::from(seq == 3);
            Some(vec![message])
        });
        let run = echo(start(liar), FLOOD);
        // A changed sequence number of a message in flight may claim to be another one; never in these.
        assert_eq!((run.status, run.count("corrupted") > 0), (1, true), "{run:?}");
        assert!(run.text.contains("4 corrupted"), "{}", run.text);
    }
}

#[test]
fn a_dropped_echo_is_lost() {
    let run = echo(
        start(Answers(|seq, message, _: &mut Vec<_>| Some(if seq == 3 { vec![] } else { vec![message] }))),
        FLOOD,
    );
    convicted(&run, [4, 0, 0, 0]);
}

#[test]
fn a_duplicated_echo_is_counted_even_at_the_end() {
    let run = echo(
        start(Answers(|seq, message: Vec<u8>, _: &mut Vec<_>| {
            Some(if seq == 3 || seq == 9 { vec![message.clone(), message] } else { vec![message] })
        })),
        FLOOD,
    );
    convicted(&run, [0, 8, 0, 0]);
}

#[test]
fn a_reordered_echo_is_counted() {
    let run = echo(
        start(Answers(|seq, message, held: &mut Vec<_>| match seq {
            3 => {
                held.push(message);
                Some(vec![])
            }
            4 => Some(vec![message, held.remove(0)]),
            _ => Some(vec![message]),
        })),
        FLOOD,
    );
    convicted(&run, [0, 0, 4, 0]);
}

#[test]
fn an_early_end_is_named_and_its_messages_are_lost() {
    let run = echo(start(Answers(|seq, message, _: &mut Vec<_>| (seq < 4).then(|| vec![message]))), FLOOD);
    assert_eq!(
        (run.status, run.count("answered") + run.count("lost") + run.count("unsent")),
        (1, 40),
        "{run:?}"
    );
    assert!(run.count("lost") > 0, "{run:?}");
    assert_eq!(run.failures("closed early") + run.failures("connection lost"), 4, "{run:?}");
}

#[test]
fn a_connection_that_ends_within_the_handshake_is_named() {
    struct HangsUp;
    impl Liar for HangsUp {
        fn hangs_up(&self) -> bool {
            true
        }
        fn answer(&self, _: usize, _: Vec<u8>, _: &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
            None
        }
    }
    let run = echo(start(HangsUp), FLOOD);
    convicted(&run, [0; 4]);
    assert_eq!(run.failures("connection closed without an answer"), 4, "{run:?}");
}

#[test]
fn a_masked_frame_of_the_server_is_named() {
    struct Masked;
    impl Liar for Masked {
        fn twist_head(&self, mut head: Vec<u8>) -> Vec<u8> {
            // Right after the response: a frame with the MASK bit.
            head.extend_from_slice(&[0x82, 0x81, 1, 2, 3, 4, 5]);
            head
        }
        fn answer(&self, _: usize, _: Vec<u8>, _: &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
            None
        }
    }
    let run = echo(start(Masked), FLOOD);
    assert_eq!((run.status, run.failures("protocol error of the server")), (1, 4), "{run:?}");
}

/// A server that stops for 100 ms, once, at message `at`.
fn pauses(at: usize) -> SocketAddr {
    start(Answers(move |seq, message, _: &mut Vec<_>| {
        if seq == at {
            let (_sender, nothing) = mpsc::channel::<()>();
            let _ = nothing.recv_timeout(Duration::from_millis(100));
        }
        Some(vec![message])
    }))
}

#[test]
fn a_pause_shows_from_the_planned_instant_and_hides_from_the_send() {
    let run = echo(
        pauses(500),
        "--connections 1 --rate 1000 --pipeline 1 --duration 2s --warmup 0s --assert plan.p99.9>60ms",
    );
    assert_eq!((run.status, run.count("sent")), (0, 2000), "{run:?}");
    let at = |latency: &str, name: &str| run.json[latency][name].as_u64().unwrap();
    // A hundred messages were due during the pause, and each waited for the rest of it. One had been sent before.
    assert!(at("latency_from_plan_ns", "p99.9") > 60_000_000, "{run:?}");
    assert!(
        at("latency_from_plan_ns", "max") >= 100_000_000 && at("latency_from_send_ns", "max") >= 100_000_000
    );
    assert!(at("latency_from_send_ns", "p99.9") < at("latency_from_plan_ns", "p99.9"), "{run:?}");
    assert!(run.count("late") > 80, "{run:?}");
    // Only the server is at fault.
    assert!(run.json["generator"]["late"].as_u64().unwrap() < run.count("late"), "{run:?}");
}

#[test]
fn an_unbounded_open_loop_sends_into_the_pause() {
    let run = echo(pauses(500), "--connections 1 --rate 1000 --duration 1s --warmup 0s");
    assert_eq!((run.status, run.count("sent")), (0, 1000), "{run:?}");
    assert!(run.json["latency_from_send_ns"]["p99"].as_u64() > Some(60_000_000), "{run:?}");
}

#[test]
fn an_unanswered_close_is_named() {
    struct Mute;
    impl Liar for Mute {
        fn answer(&self, _: usize, message: Vec<u8>, _: &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
            Some(vec![message])
        }
        fn answers_close(&self) -> bool {
            false
        }
    }
    let run = echo(start(Mute), FLOOD);
    convicted(&run, [0; 4]);
    assert_eq!(
        (run.count("answered"), run.count("closed"), run.failures("without a Close")),
        (40, 0, 4),
        "{run:?}"
    );
}

#[test]
fn messages_that_are_never_answered_are_lost() {
    let run = echo(start(Answers(|_, _, _: &mut Vec<_>| Some(vec![]))), "--connections 2 --duration 300ms");
    convicted(&run, [2, 0, 0, 0]);
    assert_eq!(run.count("answered"), 0);
}

#[test]
fn an_upgrade_that_is_never_answered_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let silent = std::thread::spawn(move || {
        // Reads, and sends nothing until the other end gives up.
        let (mut stream, _) = listener.accept().unwrap();
        std::io::copy(&mut stream.by_ref(), &mut std::io::sink()).unwrap_or(0)
    });
    let run = echo(address, "--connections 1 --duration 300ms");
    convicted(&run, [0; 4]);
    assert_eq!(run.failures("no answer within 10 s"), 1, "{run:?}");
    assert!(silent.join().unwrap() > 0);
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = echo(address, "--connections 3");
    convicted(&run, [0; 4]);
    assert_eq!(run.failures("connection refused: no server listens there; start it"), 3, "{run:?}");
}
