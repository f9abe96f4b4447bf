//! Octets as frames, in both roles: what comes of them must not depend on where they are cut.

use switchboard::proto::{Limits, ProtoConfig, ReadyState};

use super::source::Source;
use super::support::{Role, Seen, connection, receive};

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choices = source.octet();
    let role = if choices & 1 == 0 { Role::Server } else { Role::Client };
    let config = ProtoConfig { limits: limits(choices >> 1), ..ProtoConfig::default() };
    let cuts = source.cuts();
    let bytes = source.take_rest();

    let mut peer = connection(role, &config);
    let whole = receive(&mut peer, bytes, &[]);
    let has_ended = whole.error.is_some() || matches!(whole.events.last(), Some(Seen::Close(_)));
    assert_eq!(peer.ready_state() == ReadyState::Closed, has_ended);
    let mut held = 0;
    for event in &whole.events {
        match event {
            Seen::Message(_, payload) => {
                assert!(payload.len() as u64 <= config.limits.max_message);
                held += payload.len();
            }
            Seen::Ping(payload) | Seen::Pong(payload) => assert!(payload.len() <= 125),
            Seen::Close(frame) => assert!(frame.reason.len() <= 123),
        }
    }
    assert!(held <= bytes.len(), "more was handed up than came in");

    assert_eq!(receive(&mut connection(role, &config), bytes, &cuts), whole, "cut at {cuts:?}");
    let each: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(receive(&mut connection(role, &config), bytes, &each), whole, "cut everywhere");
}

fn limits(choice: u8) -> Limits {
    match choice % 4 {
        0 => Limits::default(),
        1 => Limits { max_frame: 10, max_message: 20, max_fragments: 3, ..Limits::default() },
        2 => Limits { max_frame: 70_000, max_message: 200, max_fragments: 1, ..Limits::default() },
        _ => Limits { max_frame: u64::MAX, max_message: u64::MAX, ..Limits::default() },
    }
}
