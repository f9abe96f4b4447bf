//! Messages that are handed up piece by piece, and messages that are sent in fragments.

use proptest::collection::vec;
use proptest::prelude::*;
use switchboard::proto::Opcode::{Binary, Continuation, Ping, Text};
use switchboard::proto::{
    CloseCode, Connection, Limits, MessageKind, Outgoing, ProtoConfig, ProtocolError, SendError,
};

use crate::streams::{Step, encode, step};
use crate::support::{Role, Seen, connection, frame, receive};

fn streaming(role: Role, max_message: u64) -> Connection {
    let limits = Limits::default().with_max_message(max_message);
    let mut connection = connection(role, &ProtoConfig::default().with(|it| it.limits = limits));
    connection.stream_messages(true);
    connection
}

/// Puts chunks back together; everything else stays as it is.
fn joined(events: Vec<Seen>) -> Vec<Seen> {
    let mut whole: Vec<Seen> = Vec::new();
    let mut message: Option<(MessageKind, Vec<u8>)> = None;
    for event in events {
        let Seen::Chunk(kind, bytes, is_last) = event else {
            assert!(message.is_none() || !matches!(event, Seen::Message(..)), "a message within a message");
            whole.push(event);
            continue;
        };
        let (first_kind, collected) = message.get_or_insert((kind, Vec::new()));
        assert_eq!(*first_kind, kind, "all pieces say what the message is");
        assert!(is_last || !bytes.is_empty(), "a piece without octets");
        collected.extend(bytes);
        if is_last {
            let (kind, bytes) = message.take().expect("just filled");
            whole.push(Seen::Message(kind, bytes));
        }
    }
    assert!(message.is_none(), "an unfinished message");
    whole
}

proptest! {
    #[test]
    fn chunks_put_together_are_the_messages_whatever_the_cuts(
        role in prop_oneof![Just(Role::Server), Just(Role::Client)],
        // Control frames come between fragments only where they were sent, so they are left out here.
        steps in vec(step().prop_filter("messages", |step| matches!(step, Step::Text(_) | Step::Binary(_))), 0..8),
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        let expected: Vec<Seen> = steps.iter().map(|step| encode(role, step, &mut bytes)).collect();
        let outcome = receive(&mut streaming(role, 1 << 20), &bytes, &cuts);
        prop_assert_eq!(outcome.error, None);
        prop_assert_eq!(joined(outcome.events), expected);
    }

    #[test]
    fn fragments_that_we_send_arrive_as_one_message(
        role in prop_oneof![Just(Role::Server), Just(Role::Client)],
        parts in vec("\\PC{0,40}", 1..6),
        is_text in any::<bool>(),
    ) {
        let other = if role == Role::Server { Role::Client } else { Role::Server };
        let mut sender = connection(other, &ProtoConfig::default());
        let mut bytes = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let fragment = if is_text { Outgoing::text(part) } else { Outgoing::binary(part.as_bytes()) };
            sender.encode_fragment(fragment, at + 1 == parts.len(), &mut bytes).unwrap();
        }
        sender.encode(Outgoing::text("after"), &mut bytes).unwrap();
        let kind = if is_text { MessageKind::Text } else { MessageKind::Binary };
        let events = receive(&mut connection(role, &ProtoConfig::default()), &bytes, &[]).events;
        prop_assert_eq!(events, [
            Seen::Message(kind, parts.concat().into_bytes()),
            Seen::Message(MessageKind::Text, b"after".to_vec()),
        ]);
    }
}

#[test]
fn nothing_comes_between_the_fragments_of_a_message_but_control_frames() {
    let (mut server, mut out) = (connection(Role::Server, &ProtoConfig::default()), Vec::new());
    server.encode_fragment(Outgoing::text("one "), false, &mut out).unwrap();
    let unfinished = Err(SendError::MessageUnfinished);
    assert_eq!(server.encode(Outgoing::text("other"), &mut out), unfinished);
    assert_eq!(server.encode_fragment(Outgoing::binary(b"other"), true, &mut out), unfinished);
    server.ping(b"", &mut out).unwrap();
    server.encode_fragment(Outgoing::text("two"), true, &mut out).unwrap();
    server.close(CloseCode::NORMAL, "", 0, &mut out);
    assert_eq!(server.encode_fragment(Outgoing::text("late"), true, &mut out), Err(SendError::NotOpen));
    let events = receive(&mut connection(Role::Client, &ProtoConfig::default()), &out, &[]).events;
    assert!(
        matches!(&events[..], [Seen::Ping(_), Seen::Message(_, text), Seen::Close(_)] if text == b"one two"),
        "{events:?}"
    );
}

#[test]
fn a_message_that_comes_whole_is_one_message_and_pings_pass_between_chunks() {
    let bytes = [
        frame(Role::Server, true, Binary, b"whole"),
        frame(Role::Server, false, Text, b"one"),
        frame(Role::Server, true, Ping, b"now"),
        frame(Role::Server, true, Continuation, b"two"),
    ]
    .concat();
    let chunk = |bytes: &[u8], is_last| Seen::Chunk(MessageKind::Text, bytes.to_vec(), is_last);
    assert_eq!(
        receive(&mut streaming(Role::Server, 100), &bytes, &[]).events,
        [
            Seen::Message(MessageKind::Binary, b"whole".to_vec()),
            chunk(b"one", false),
            Seen::Ping(b"now".to_vec()),
            chunk(b"two", true),
        ]
    );
}

#[test]
fn what_is_streamed_is_validated_and_limited_as_a_whole() {
    let text = "é".as_bytes();
    let cut = |tail: &[u8]| {
        [frame(Role::Server, false, Text, &text[..1]), frame(Role::Server, true, Continuation, tail)].concat()
    };
    let outcome = receive(&mut streaming(Role::Server, 100), &cut(&text[1..]), &[]);
    assert_eq!(joined(outcome.events), [Seen::Message(MessageKind::Text, text.to_vec())]);
    for tail in [&b"x"[..], b""] {
        let outcome = receive(&mut streaming(Role::Server, 100), &cut(tail), &[]);
        assert_eq!(outcome.error, Some(ProtocolError::TextNotUtf8));
    }
    let long =
        [frame(Role::Server, false, Binary, &[0; 60]), frame(Role::Server, true, Continuation, &[0; 41])]
            .concat();
    let outcome = receive(&mut streaming(Role::Server, 100), &long, &[]);
    assert_eq!(outcome.error, Some(ProtocolError::MessageTooLarge));
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_messages_are_streamed_inflated_within_bounds_and_within_the_limit() {
    use switchboard::proto::{DeflateAgreement, DeflateConfig, DeflatePool};

    let limits = Limits::default().with_max_message(10 << 20);
    let config = ProtoConfig::default().with(|it| {
        it.limits = limits;
        it.deflate = Some(DeflateConfig::default());
    });
    let agreement = DeflateAgreement {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let open = |role| connection(role, &config).with_deflate(agreement, &DeflatePool::new(&config));
    let send = |lengths: &[usize]| {
        let (mut client, mut bytes) = (open(Role::Client), Vec::new());
        for &len in lengths {
            let text: String = (0..len).map(|at| char::from(b'a' + (at * at / 7 % 26) as u8)).collect();
            client.encode(Outgoing::text(&text), &mut bytes).unwrap();
        }
        bytes
    };
    let (mut whole, mut pieces) = (open(Role::Server), open(Role::Server));
    pieces.stream_messages(true);
    // Later messages refer to earlier ones (context takeover), and the longest is longer than the window.
    let bytes = send(&[300_000, 100_000, 1_000_000]);
    let expected = receive(&mut whole, &bytes, &[]).events;
    let streamed = receive(&mut pieces, &bytes, &[5, 1000, 1001]).events;
    for event in &streamed {
        assert!(!matches!(event, Seen::Chunk(_, bytes, _) if bytes.len() > 1032 * 1024 + 32 * 1024));
    }
    assert!(streamed.len() > 2 * expected.len());
    assert_eq!(joined(streamed), expected);
    let mut pieces = open(Role::Server);
    pieces.stream_messages(true);
    let outcome = receive(&mut pieces, &send(&[11 << 20]), &[]);
    assert_eq!(outcome.error, Some(ProtocolError::MessageTooLarge));
}

#[test]
fn a_streamed_message_is_not_kept() {
    let mut server = streaming(Role::Server, 1 << 30);
    let bytes = frame(Role::Server, true, Binary, &vec![7; 1 << 20]);
    let cuts: Vec<usize> = (0..bytes.len()).step_by(4096).collect();
    let events = receive(&mut server, &bytes, &cuts).events;
    let longest = events.iter().map(|event| match event {
        Seen::Chunk(_, bytes, _) => bytes.len(),
        other => panic!("{other:?}"),
    });
    assert!(longest.max().unwrap() <= 4096);
    assert!(matches!(events.last(), Some(Seen::Chunk(_, _, true))));
}
