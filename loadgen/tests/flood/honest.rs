//! Against the real server: every answer arrives.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use switchboard::apps::{Echo, Fanout};
use switchboard::proto::{DeflateConfig, Limits};
use switchboard::reactor::Config;

use crate::support::{Honest, accept, echo};

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
    assert!(run.json["latency_from_plan_ns"].is_null());
}

#[test]
fn an_open_loop_sends_exactly_what_was_planned() {
    let server = Honest::start(Echo);
    let run = echo(server.address, "--connections 7 --rate 2000 --warmup 250ms --duration 500ms");
    assert_eq!((run.status, run.faults(), run.count("unsent")), (0, [0; 4], 0), "{run:?}");
    // 2,000 a second for 750 ms, of which 500 ms are measured.
    assert_eq!((run.count("planned_in_window"), run.count("sent_in_window")), (1000, 1000));
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
fn threads_and_sizes_from_a_range_are_honest_too() {
    let server = Honest::start(Echo);
    for options in ["--pipeline 5", "--pipeline 5 --text", "--rate 3000 --duration 300ms --warmup 100ms"] {
        let count = if options.contains("rate") { "" } else { "--messages 40" };
        let run =
            echo(server.address, &format!("{options} {count} --size 3-400 --connections 7 --threads 3"));
        let expected = if options.contains("rate") { 1200 } else { 280 };
        assert_eq!((run.status, run.count("answered"), run.faults()), (0, expected, [0; 4]), "{run:?}");
        assert_eq!((run.count("opened"), run.count("closed")), (7, 7));
    }
}

#[test]
fn compressed_messages_come_back() {
    let deflate = |config: &mut Config| config.proto.deflate = Some(DeflateConfig::default());
    let server = Honest::start_with(Echo, deflate);
    for options in ["--text", "--binary"] {
        let run = echo(
            server.address,
            &format!("{options} --deflate --size 2000 --connections 3 --messages 20 --pipeline 4"),
        );
        assert_eq!((run.status, run.count("answered"), run.faults()), (0, 60, [0; 4]), "{run:?}");
        // The pattern repeats in no message, but letters have five bits.
        if options == "--text" {
            assert!(run.count("bytes_out") < 60 * 1900, "{run:?}");
        }
    }
    // If the server does not agree, messages are not compressed.
    let plain = Honest::start(Echo);
    let run = echo(plain.address, "--deflate --size 2000 --connections 3 --messages 20");
    assert_eq!((run.status, run.count("answered")), (0, 60), "{run:?}");
}

#[test]
fn connections_come_from_the_addresses_they_are_told_to() {
    let server = Honest::start(Echo);
    let run = echo(server.address, "--source-ip 127.0.0.2-127.0.0.5,127.0.0.9 --connections 10 --messages 3");
    assert_eq!((run.status, run.count("answered")), (0, 30), "{run:?}");
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peers = Arc::clone(&seen);
    let accepting = std::thread::spawn(move || {
        for _ in 0..10 {
            let (stream, peer) = listener.accept().unwrap();
            peers.lock().unwrap().insert(peer.ip().to_string());
            drop(stream);
        }
    });
    let run = echo(address, "--source-ip 127.0.0.2-127.0.0.5,127.0.0.9 --connections 10");
    accepting.join().unwrap();
    assert_eq!(run.status, 1);
    let expected = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.9"].map(str::to_owned);
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from(expected));
}

/// Sends back all octets after the opening handshake.
fn raw_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                let head = accept(&mut stream, &mut buffer, &Limits::default(), None);
                let mut writer = stream.try_clone().expect("a socket");
                // Ends when the client closes the connection.
                let _ = writer.write_all(&head).and_then(|()| std::io::copy(&mut stream, &mut writer));
            });
        }
    });
    address
}

#[test]
fn what_knows_no_websocket_is_flooded_without_masks() {
    let run = echo(raw_echo(), "--mask none --connections 3 --messages 50 --pipeline 8 --size 20-300");
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 150, [0; 4]), "{run:?}");
    let run = echo(raw_echo(), "--connections 3 --messages 50");
    assert_eq!((run.status, run.failures("masked frame")), (1, 3), "{run:?}");
}

#[test]
fn a_server_that_tells_everyone_is_no_echo() {
    let server = Honest::start(Fanout::default());
    let run = echo(server.address, "--connections 3 --messages 5");
    assert_eq!(run.status, 1, "{run:?}");
    assert!(run.count("corrupted") > 0, "{run:?}");
}
