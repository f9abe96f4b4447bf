//! Octets as frames, in both roles: what comes of them must not depend on where they are cut.

use switchboard::proto::{Connection, Limits, MessageKind, ProtoConfig, ReadyState};

use super::source::Source;
use super::support::{Outcome, Role, Seen, connection, receive};

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choices = source.octet();
    let role = if choices & 1 == 0 { Role::Server } else { Role::Client };
    let config = ProtoConfig::default().with(|it| it.limits = limits(choices >> 1));
    let cuts = source.cuts();
    check(&|| connection(role, &config), &config.limits, source.take_rest(), &cuts);
}

pub fn limits(choice: u8) -> Limits {
    match choice % 4 {
        0 => Limits::default(),
        1 => Limits::default().with(|it| {
            it.max_frame = 10;
            it.max_message = 20;
            it.max_fragments = 3;
        }),
        2 => Limits::default().with(|it| {
            it.max_frame = 70_000;
            it.max_message = 200;
            it.max_fragments = 1;
        }),
        _ => Limits::default().with(|it| {
            it.max_frame = 1 << 62;
            it.max_message = 1 << 40;
        }),
    }
}

/// Feeds the octets whole, cut at `cuts` and cut everywhere, and holds the outcomes against each other; then once more
/// with messages handed up piece by piece.
pub fn check(new: &dyn Fn() -> Connection, limits: &Limits, bytes: &[u8], cuts: &[usize]) {
    let each: Vec<usize> = (0..bytes.len()).collect();
    let mut peer = new();
    let whole = receive(&mut peer, bytes, &[]);
    check_events(&whole, limits);
    let has_ended = whole.error.is_some() || matches!(whole.events.last(), Some(Seen::Close(_)));
    assert_eq!(peer.ready_state() == ReadyState::Closed, has_ended);
    assert_eq!(receive(&mut new(), bytes, cuts), whole, "cut at {cuts:?}");
    assert_eq!(receive(&mut new(), bytes, &each), whole, "cut everywhere");
    for pause_after in [1, 1000] {
        let mut pausing = new();
        pausing.pause_after_inflating(pause_after);
        assert_eq!(receive(&mut pausing, bytes, cuts), whole, "pausing, cut at {cuts:?}");
    }

    let expected = whole_messages(whole);
    for cuts in [&[][..], cuts, &each] {
        let mut streaming = new();
        streaming.stream_messages(true);
        streaming.pause_after_inflating(500);
        let streamed = whole_messages(receive(&mut streaming, bytes, cuts));
        assert_eq!(streamed.answers, expected.answers, "streamed, cut at {cuts:?}");
        assert_eq!(streamed.events, expected.events, "streamed, cut at {cuts:?}");
        assert_eq!(streamed.error, expected.error, "streamed, cut at {cuts:?}");
    }
}

fn check_events(outcome: &Outcome, limits: &Limits) {
    for event in &outcome.events {
        match event {
            Seen::Message(kind, payload) => {
                assert!(payload.len() as u64 <= limits.max_message);
                assert!(*kind == MessageKind::Binary || std::str::from_utf8(payload).is_ok());
            }
            Seen::Ping(payload) | Seen::Pong(payload) => assert!(payload.len() <= 125),
            Seen::Close(frame) => assert!(frame.reason.len() <= 123),
            Seen::Chunk(..) => panic!("a chunk that nobody asked for"),
        }
    }
}

/// Control frames first, then messages, put together from their pieces; one that never ended is left out.
fn whole_messages(outcome: Outcome) -> Outcome {
    let (mut controls, mut messages, mut message) = (Vec::new(), Vec::new(), Vec::new());
    for event in outcome.events {
        match event {
            Seen::Chunk(kind, piece, is_last) => {
                message.extend(piece);
                if is_last {
                    messages.push(Seen::Message(kind, std::mem::take(&mut message)));
                }
            }
            Seen::Message(..) => {
                assert!(message.is_empty(), "a message within a message");
                messages.push(event);
            }
            control => controls.push(control),
        }
    }
    controls.extend(messages);
    Outcome { events: controls, ..outcome }
}
