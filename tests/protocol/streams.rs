//! Properties of whole streams: cuts do not matter, encoding and decoding are inverse, garbage never panics.

use proptest::collection::vec;
use proptest::prelude::*;
use switchboard::proto::{MessageKind, Opcode, Outgoing, ProtoConfig};

use crate::support::{Role, Seen, connection, frame, receive};

/// What a peer may do.
#[derive(Debug, Clone)]
pub enum Step {
    Text(Vec<String>),
    Binary(Vec<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

pub fn step() -> impl Strategy<Value = Step> {
    let bytes = || vec(any::<u8>(), 0..300);
    prop_oneof![
        vec("\\PC{0,90}", 1..4).prop_map(Step::Text),
        vec(bytes(), 1..4).prop_map(Step::Binary),
        vec(any::<u8>(), 0..=125).prop_map(Step::Ping),
        vec(any::<u8>(), 0..=125).prop_map(Step::Pong),
    ]
}

/// The octets of a step as a peer of `role` receives them, and what it must see.
pub fn encode(role: Role, step: &Step, out: &mut Vec<u8>) -> Seen {
    let mut message = |kind, opcode, fragments: Vec<&[u8]>| {
        let last = fragments.len() - 1;
        for (at, fragment) in fragments.iter().enumerate() {
            let opcode = if at == 0 { opcode } else { Opcode::Continuation };
            out.extend(frame(role, at == last, opcode, fragment));
        }
        Seen::Message(kind, fragments.concat())
    };
    match step {
        // A fragment may end inside a code point: cut the text where characters do not.
        Step::Text(parts) => {
            let text = parts.concat();
            let (first, second) = text.as_bytes().split_at(text.len() / 2);
            let fragments = if parts.len() > 1 { vec![first, second] } else { vec![text.as_bytes()] };
            message(MessageKind::Text, Opcode::Text, fragments)
        }
        Step::Binary(parts) => {
            message(MessageKind::Binary, Opcode::Binary, parts.iter().map(Vec::as_slice).collect())
        }
        Step::Ping(payload) => {
            out.extend(frame(role, true, Opcode::Ping, payload));
            Seen::Ping(payload.clone())
        }
        Step::Pong(payload) => {
            out.extend(frame(role, true, Opcode::Pong, payload));
            Seen::Pong(payload.clone())
        }
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

proptest! {
    #[test]
    fn fr_11_any_cut_of_any_valid_stream_gives_the_same_events(
        role in role(),
        steps in vec(step(), 0..12),
        cuts in vec(any::<usize>(), 0..40),
    ) {
        let mut bytes = Vec::new();
        let expected: Vec<Seen> = steps.iter().map(|step| encode(role, step, &mut bytes)).collect();
        let config = ProtoConfig::default();
        let whole = receive(&mut connection(role, &config), &bytes, &[]);
        prop_assert_eq!(&whole.events, &expected);
        prop_assert_eq!(whole.error, None);
        let cut = receive(&mut connection(role, &config), &bytes, &cuts);
        prop_assert_eq!(&whole, &cut);
        let each: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&whole, &receive(&mut connection(role, &config), &bytes, &each));
    }

    #[test]
    fn encode_then_decode_is_the_identity(
        role in role(),
        messages in vec((any::<bool>(), "\\PC{0,200}", 0..400usize), 0..10),
    ) {
        let config = ProtoConfig::default();
        let other = if role == Role::Server { Role::Client } else { Role::Server };
        let mut sender = connection(other, &config);
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (is_text, text, repeat) in &messages {
            let long = text.repeat(repeat / (text.len() + 1) + 1);
            let (message, kind) = if *is_text {
                (Outgoing::text(&long), MessageKind::Text)
            } else {
                (Outgoing::binary(long.as_bytes()), MessageKind::Binary)
            };
            sender.encode(message, &mut bytes).unwrap();
            expected.push(Seen::Message(kind, long.into_bytes()));
        }
        prop_assert_eq!(receive(&mut connection(role, &config), &bytes, &[]).events, expected);
    }

    #[test]
    fn garbage_gives_an_error_or_events_but_never_a_panic_and_cuts_do_not_matter(
        role in role(),
        bytes in vec(any::<u8>(), 0..400),
        steps in vec(step(), 0..3),
        flips in vec((any::<usize>(), any::<u8>()), 0..4),
        cuts in vec(any::<usize>(), 0..10),
    ) {
        let mut stream = Vec::new();
        for step in &steps {
            encode(role, step, &mut stream);
        }
        for (at, value) in flips {
            if !stream.is_empty() {
                let at = at % stream.len();
                stream[at] ^= value;
            }
        }
        stream.extend(bytes);
        let config = ProtoConfig::default();
        let whole = receive(&mut connection(role, &config), &stream, &[]);
        prop_assert_eq!(whole, receive(&mut connection(role, &config), &stream, &cuts));
    }
}
