//! The parts of an opening: TCP, TLS, the opening handshake, and the first answer.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::{Liar, echo, start};

/// Takes 60 ms for the opening handshake, and 30 ms for the first answer.
struct Slow;

fn wait(time: Duration) {
    let (_sender, nothing) = mpsc::channel::<()>();
    // It ends with the time.
    let _ = nothing.recv_timeout(time);
}

impl Liar for Slow {
    fn twist_head(&self, head: Vec<u8>) -> Vec<u8> {
        wait(Duration::from_millis(60));
        head
    }

    fn answer(&self, seq: usize, message: Vec<u8>, _: &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
        if seq == 0 {
            wait(Duration::from_millis(30));
        }
        Some(vec![message])
    }
}

#[test]
fn each_part_of_an_opening_has_its_own_time() {
    let options = "--connections 4 --messages 3 --assert upgrade.min>=50ms --assert first.min>=30ms --assert dial.max>0ns \
                   --assert handshake.min>=60ms";
    let run = echo(start(Slow), options);
    assert_eq!(run.status, 0, "{run:?}");
    for (part, count) in [("handshake_ns", 4), ("dial_ns", 4), ("upgrade_ns", 4), ("first_answer_ns", 4)] {
        assert_eq!(run.json[part]["count"], count, "{part} {run:?}");
    }
    assert!(run.json["tls_ns"].is_null(), "{run:?}");
    let time = |part: &str| run.json[part]["mean"].as_f64().unwrap();
    let parts = time("dial_ns") + time("upgrade_ns");
    assert!((parts / time("handshake_ns") - 1.0).abs() < 0.01, "the parts are the whole: {run:?}");
    for line in ["until TCP is established", "opening handshake", "to the first answer"] {
        assert!(run.text.contains(line), "{line}: {}", run.text);
    }
}
