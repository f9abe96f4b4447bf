//! One row per rule of RFC 6455 sections 5 to 7: octets, the rule they break, the code that answers them.

use switchboard::proto::Opcode::{Binary, Close, Continuation, Ping, Text};
use switchboard::proto::{CloseCode, Limits, ProtoConfig, ProtocolError, ReadyState};

use crate::support::{Role, close_code, connection, frame, receive};

fn config() -> ProtoConfig {
    let mut limits = Limits::default().with_max_message(1000);
    limits.max_frame = 600;
    limits.max_fragments = 10;
    ProtoConfig::default().with(|it| it.limits = limits)
}

/// Masked, as a server receives it.
fn masked(fin: bool, opcode: switchboard::proto::Opcode, payload: &[u8]) -> Vec<u8> {
    frame(Role::Server, fin, opcode, payload)
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(true, Close, &[&code.to_be_bytes(), reason].concat())
}

fn rows() -> Vec<(&'static str, Vec<u8>, ProtocolError, u16)> {
    use ProtocolError as E;
    let fragments = |count: usize| {
        let mut bytes = masked(false, Binary, b"");
        for _ in 1..count {
            bytes.extend(masked(false, Continuation, b""));
        }
        bytes
    };
    vec![
        ("5.2 RSV1", vec![0xC1, 0x80], E::ReservedBits, 1002),
        ("5.2 RSV2", vec![0xA1, 0x80], E::ReservedBits, 1002),
        ("5.2 RSV3", vec![0x92, 0x80], E::ReservedBits, 1002),
        ("5.2 opcode 3", vec![0x83, 0x80], E::ReservedOpcode(3), 1002),
        ("5.2 opcode 7", vec![0x87, 0x80], E::ReservedOpcode(7), 1002),
        ("5.2 opcode 11", vec![0x8B, 0x80], E::ReservedOpcode(11), 1002),
        ("5.2 opcode 15", vec![0x8F, 0x80], E::ReservedOpcode(15), 1002),
        ("5.1 unmasked", frame(Role::Client, true, Text, b"hi"), E::UnmaskedFrame, 1002),
        ("5.2 length 125 in 16 bits", vec![0x82, 0xFE, 0, 125], E::NonMinimalLength, 1002),
        (
            "5.2 length 600 in 64 bits",
            [&[0x82, 0xFF][..], &600_u64.to_be_bytes()].concat(),
            E::NonMinimalLength,
            1002,
        ),
        (
            "5.2 length 2^63",
            [&[0x82, 0xFF][..], &(1_u64 << 63).to_be_bytes()].concat(),
            E::LengthOverflow,
            1002,
        ),
        ("5.5 fragmented Ping", masked(false, Ping, b""), E::FragmentedControlFrame, 1002),
        ("5.5 Ping of 126 bytes", masked(true, Ping, &[0; 126]), E::LongControlFrame, 1002),
        ("5.4 nothing to continue", masked(true, Continuation, b"x"), E::UnexpectedContinuation, 1002),
        (
            "5.4 interleaved messages",
            [masked(false, Text, b"a"), masked(true, Text, b"b")].concat(),
            E::ExpectedContinuation,
            1002,
        ),
        ("5.5.1 Close of one byte", masked(true, Close, b"x"), E::ClosePayloadOfOneByte, 1002),
        ("7.4.1 code 1005", close(1005, b""), E::InvalidCloseCode(CloseCode(1005)), 1002),
        ("7.4.2 code 999", close(999, b""), E::InvalidCloseCode(CloseCode(999)), 1002),
        ("7.4.2 code 5000", close(5000, b""), E::InvalidCloseCode(CloseCode(5000)), 1002),
        ("5.5.1 reason not UTF-8", close(1000, &[0xFF]), E::CloseReasonNotUtf8, 1007),
        ("8.1 text not UTF-8", masked(true, Text, &[b'a', 0xC0, 0x80]), E::TextNotUtf8, 1007),
        (
            "8.1 text ends in a code point",
            masked(true, Text, "é".as_bytes().split_at(1).0),
            E::TextNotUtf8,
            1007,
        ),
        ("8.1 fail-fast in a fragment", masked(false, Text, &[0xED, 0xA0]), E::TextNotUtf8, 1007),
        ("limit: frame", masked(true, Binary, &[0; 601]), E::FrameTooLarge, 1009),
        (
            "limit: message",
            [masked(false, Binary, &[0; 600]), masked(true, Continuation, &[0; 401])].concat(),
            E::MessageTooLarge,
            1009,
        ),
        ("limit: fragments", fragments(11), E::TooManyFragments, 1008),
    ]
}

#[test]
fn every_broken_rule_fails_the_connection_with_its_code_whatever_the_cuts() {
    for (name, bytes, error, code) in rows() {
        for cuts in [vec![], (0..bytes.len()).collect()] {
            let mut server = connection(Role::Server, &config());
            let tail = masked(true, Text, b"never seen");
            let outcome = receive(&mut server, &[&bytes[..], &tail].concat(), &cuts);
            assert_eq!(outcome.error, Some(error), "{name}");
            assert_eq!(outcome.events, [], "{name}");
            assert_eq!(close_code(&outcome.answers), Some(code), "{name}");
            assert_eq!(server.ready_state(), ReadyState::Closed, "{name}");
            assert!(!server.is_mid_message(), "{name}: memory is kept");
        }
    }
}

#[test]
fn what_is_just_within_a_limit_passes() {
    let fragments: Vec<u8> =
        (0..10).flat_map(|at| masked(at == 9, if at == 0 { Binary } else { Continuation }, b"")).collect();
    for (name, bytes) in [
        ("frame", masked(true, Binary, &[0; 600])),
        ("message", [masked(false, Binary, &[0; 600]), masked(true, Continuation, &[0; 400])].concat()),
        ("fragments", fragments),
        ("control", masked(true, Ping, &[0; 125])),
    ] {
        let outcome = receive(&mut connection(Role::Server, &config()), &bytes, &[]);
        assert_eq!((outcome.error, outcome.events.len()), (None, 1), "{name}");
    }
}

#[test]
fn a_client_refuses_a_masked_frame() {
    let bytes = frame(Role::Server, true, Text, b"hi");
    let outcome = receive(&mut connection(Role::Client, &config()), &bytes, &[]);
    assert_eq!(outcome.error, Some(ProtocolError::MaskedFrame));
}

#[test]
fn fr_01_a_claim_is_refused_before_anything_is_kept() {
    for claim in [601_u64, 1 << 20, 1 << 62] {
        let mut bytes = vec![0x82];
        match u16::try_from(claim) {
            Ok(len) => bytes.extend([&[0xFE][..], &len.to_be_bytes()].concat()),
            Err(_) => bytes.extend([&[0xFF][..], &claim.to_be_bytes()].concat()),
        }
        bytes.extend([1, 2, 3, 4]);
        let outcome = receive(&mut connection(Role::Server, &config()), &bytes, &[]);
        assert_eq!(outcome.error, Some(ProtocolError::FrameTooLarge), "{claim}");
    }
}

/// Fragments that bring something are no flood, however many there are; those that bring nothing are one, however long a message
/// may be.
#[test]
fn fr_07_fragments_that_bring_nothing_are_limited_whatever_the_limit_on_messages() {
    let config = ProtoConfig::default().with(|it| it.limits = Limits::default().with_max_message(64 << 20));
    for (payload, ok) in [(vec![], false), (vec![b'x'], true), (vec![b'x'; 100], true)] {
        for streams in [false, true] {
            let mut server = connection(Role::Server, &config);
            server.stream_messages(streams);
            let mut bytes = masked(false, Binary, &payload);
            bytes.extend(masked(false, Continuation, &payload).repeat(20_000));
            bytes.extend(masked(true, Continuation, &payload));
            let outcome = receive(&mut server, &bytes, &[]);
            let expected = (!ok).then_some(ProtocolError::TooManyFragments);
            assert_eq!(outcome.error, expected, "{} octets each, streamed: {streams}", payload.len());
        }
    }
}
