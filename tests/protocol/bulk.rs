//! Long payloads that are read in place: the same messages and the same errors as by way of an input.

use proptest::collection::vec;
use proptest::prelude::*;
use switchboard::proto::{Buffer, Input, Limits, Opcode, ProtoConfig, ProtocolError};

use crate::support::{Outcome, Role, Seen, connection, frame, receive, seen};

const LIMIT: u64 = 400_000;

fn config() -> ProtoConfig {
    ProtoConfig::default().with(|it| it.limits = Limits::default().with_max_message(LIMIT))
}

/// Reads the stream as an event loop does that puts long payloads together in place, `read` bytes at a time; `most` bytes of
/// a long payload. In some runs the unfinished message moves to another buffer.
fn receive_in_place(role: Role, bytes: &[u8], read: usize, most: usize, adopts: bool) -> (Outcome, usize) {
    let mut connection = connection(role, &config());
    let mut outcome = Outcome { events: Vec::new(), error: None, answers: Vec::new() };
    let (mut at, mut in_place) = (0, 0);
    let fail =
        |connection: &mut switchboard::proto::Connection, outcome: &mut Outcome, error: ProtocolError| {
            connection.fail(error, 0, &mut outcome.answers);
            outcome.error = Some(error);
        };
    while at < bytes.len() && outcome.error.is_none() {
        if let Some(len) = connection.wants_buffer().filter(|_| adopts && connection.is_bulky()) {
            connection.adopt(Buffer::with_capacity(len).unwrap());
        }
        if let Some(room) = connection.room(most).unwrap() {
            let count = room.len().min(read).min(bytes.len() - at);
            room[..count].copy_from_slice(&bytes[at..at + count]);
            let len = room.len();
            at += count;
            in_place += count;
            match connection.filled(len, count) {
                Ok(Some(mut message)) => {
                    let message = message.as_message();
                    outcome.events.push(Seen::Message(message.kind, message.payload.to_vec()));
                }
                Ok(None) => {}
                Err(error) => fail(&mut connection, &mut outcome, error),
            }
            continue;
        }
        let mut piece = bytes[at..bytes.len().min(at + read)].to_vec();
        at += piece.len();
        let mut input = Input::new(&mut piece);
        loop {
            match connection.next_event(&mut input, &mut outcome.answers) {
                Ok(Some(event)) => outcome.events.push(seen(event)),
                Ok(None) => break,
                Err(error) => {
                    fail(&mut connection, &mut outcome, error);
                    break;
                }
            }
        }
    }
    (outcome, in_place)
}

fn fragment() -> impl Strategy<Value = (usize, bool, bool)> {
    (prop_oneof![0..200usize, 30_000..40_000usize, 90_000..150_000usize], any::<bool>(), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn long_payloads_read_in_place_are_the_same_messages(
        role in prop_oneof![Just(Role::Server), Just(Role::Client)],
        messages in vec((vec(fragment(), 1..4), any::<bool>(), prop::option::of(any::<prop::sample::Index>())), 1..4),
        read in prop_oneof![1000..70_000usize, 100_000..300_000usize],
        most in 1..300_000usize,
        adopts in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        for (fragments, is_text, fault) in &messages {
            let kind = if *is_text { Opcode::Text } else { Opcode::Binary };
            for (at, (len, is_wide, pings)) in fragments.iter().enumerate() {
                let opcode = if at == 0 { kind } else { Opcode::Continuation };
                let unit = if *is_wide { "zwölf €" } else { "ascii " };
                let mut payload = unit.repeat(len / unit.len()).into_bytes();
                if let (Some(fault), true) = (fault, at + 1 == fragments.len() && !payload.is_empty()) {
                    let at = fault.index(payload.len());
                    payload[at] = 0xFF;
                }
                bytes.extend(frame(role, at + 1 == fragments.len(), opcode, &payload));
                if *pings {
                    bytes.extend(frame(role, true, Opcode::Ping, b"between"));
                }
            }
        }
        let expected = receive(&mut connection(role, &config()), &bytes, &[]);
        let (got, _) = receive_in_place(role, &bytes, read, most, adopts);
        prop_assert!(expected == got, "{:?} and {:?}", expected.error, got.error);
    }
}

#[test]
fn what_is_long_is_read_in_place() {
    let payload = vec![7; 200_000];
    let bytes = frame(Role::Server, true, Opcode::Binary, &payload);
    let (outcome, in_place) = receive_in_place(Role::Server, &bytes, 65_536, 65_536, false);
    assert_eq!(outcome.error, None);
    assert!(outcome.events == [Seen::Message(switchboard::proto::MessageKind::Binary, payload)]);
    assert!(in_place > 100_000, "{in_place}");
}
