//! permessage-deflate on an open connection (RFC 7692 6 and 7.2), with `miniz_oxide` as the other implementation.

use std::sync::Arc;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use proptest::collection::vec;
use proptest::prelude::*;
use switchboard::proto::Opcode::{Binary, Close, Continuation, Ping, Text};
use switchboard::proto::{
    Connection, DeflateAgreement, DeflateConfig, DeflatePool, Encoding, Input, Limits, MaskingKeys,
    MessageKind, Opcode, Outgoing, ProtoConfig, ProtocolError,
};

use crate::support::{Outcome, Role, Seen, close_code, frame, receive};

const LIMIT: u64 = 100_000;
const RSV1: u8 = 0x40;

const TAKEOVER: DeflateAgreement = DeflateAgreement {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};
const NO_TAKEOVER: DeflateAgreement =
    DeflateAgreement { server_no_context_takeover: true, client_no_context_takeover: true, ..TAKEOVER };

fn config(min_len: usize) -> ProtoConfig {
    ProtoConfig::default().with(|it| {
        it.limits = Limits::default().with_max_message(LIMIT);
        it.deflate = Some(DeflateConfig::default().with(|it| it.min_len = min_len));
    })
}

fn connection(role: Role, agreement: DeflateAgreement, min_len: usize) -> Connection {
    let config = config(min_len);
    let pool = DeflatePool::new(&config);
    let config = Arc::new(config);
    match role {
        Role::Server => Connection::server(&config, 0),
        Role::Client => Connection::client(&config, MaskingKeys::Seeded(7), 0),
    }
    .with_deflate(agreement, &pool)
}

fn server(agreement: DeflateAgreement) -> Connection {
    connection(Role::Server, agreement, 0)
}

/// Octets without a pattern (xorshift64*).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(|| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    })
    .take(len)
    .collect()
}

/// A frame with RSV1, as a server receives it.
fn compressed(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(Role::Server, fin, opcode, payload);
    bytes[0] |= RSV1;
    bytes
}

/// As the other implementation compresses a message: its stream is final, so the octet of an empty block follows
/// (RFC 7692 7.2.3.5).
fn their_deflate(message: &[u8], level: u8) -> Vec<u8> {
    let mut stream = compress_to_vec(message, level);
    stream.push(0);
    stream
}

/// The same without BFINAL: one stored block, then the first octet of the empty one.
fn stored(message: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for block in message.chunks(0xFFFF) {
        let len = block.len() as u16;
        stream.push(0);
        stream.extend(len.to_le_bytes());
        stream.extend((!len).to_le_bytes());
        stream.extend(block);
    }
    stream.push(0);
    stream
}

/// What the other implementation inflates the frames of a server to that does not take context over.
fn their_inflate(payload: &[u8]) -> Vec<u8> {
    let stream = [payload, &[0, 0, 0xFF, 0xFF], &[1, 0, 0, 0xFF, 0xFF]].concat();
    decompress_to_vec_with_limit(&stream, 1 << 24).expect("valid for miniz_oxide")
}

fn text(outcome: &Outcome) -> &[u8] {
    assert_eq!(outcome.error, None);
    match &outcome.events[..] {
        [Seen::Message(_, payload)] => payload,
        other => panic!("one message, not {other:?}"),
    }
}

/// The only frame in what a server wrote: first octet, payload.
fn sole_frame(bytes: &[u8]) -> (u8, &[u8]) {
    let (len, header) = match bytes[1] {
        126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
        short => (usize::from(short), 2),
    };
    assert_eq!(bytes.len(), header + len);
    (bytes[0], &bytes[header..])
}

#[test]
fn the_examples_of_rfc_7692_7_2_3_are_understood() {
    let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    // 7.2.3.1: one frame, and two.
    assert_eq!(text(&receive(&mut server(TAKEOVER), &compressed(true, Text, &hello), &[])), b"Hello");
    let two = [compressed(false, Text, &hello[..3]), frame(Role::Server, true, Continuation, &hello[3..])];
    assert_eq!(text(&receive(&mut server(TAKEOVER), &two.concat(), &[])), b"Hello");
    // 7.2.3.2: the second message refers to the first.
    let shared = [compressed(true, Text, &hello), compressed(true, Text, &[0xF2, 0x00, 0x11, 0x00, 0x00])];
    let outcome = receive(&mut server(TAKEOVER), &shared.concat(), &[]);
    assert_eq!(outcome.events, vec![Seen::Message(MessageKind::Text, b"Hello".to_vec()); 2]);
    let outcome = receive(&mut server(NO_TAKEOVER), &shared.concat(), &[]);
    assert_eq!(outcome.error, Some(ProtocolError::InvalidDeflate));
    for (name, payload) in [
        ("7.2.3.3 no compression", &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00][..]),
        ("7.2.3.4 BFINAL", &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]),
        ("BFINAL and nothing behind", &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]),
        (
            "7.2.3.5 two blocks",
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ),
    ] {
        for agreement in [TAKEOVER, NO_TAKEOVER] {
            let bytes = compressed(true, Text, payload);
            let outcome = receive(&mut server(agreement), &bytes.repeat(3), &[]);
            assert_eq!(
                outcome.events,
                vec![Seen::Message(MessageKind::Text, b"Hello".to_vec()); 3],
                "{name}"
            );
        }
    }
    // 7.2.3.6: an empty message is one octet.
    assert_eq!(text(&receive(&mut server(TAKEOVER), &compressed(true, Text, &[0]), &[])), b"");
}

#[test]
fn a_window_survives_a_final_block() {
    // "Hello" with BFINAL, then a reference to it: the same message twice from a sender without sync flush.
    let final_hello = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
    let reference = [0xF2, 0x00, 0x11, 0x00, 0x00];
    for bits in [9, 12, 15] {
        let agreement = DeflateAgreement { client_max_window_bits: bits, ..TAKEOVER };
        let bytes = [compressed(true, Text, &final_hello), compressed(true, Text, &reference)].concat();
        let outcome = receive(&mut server(agreement), &bytes, &[]);
        assert_eq!(outcome.events, vec![Seen::Message(MessageKind::Text, b"Hello".to_vec()); 2], "{bits}");
    }
}

#[test]
fn cp_07_what_one_connection_said_is_out_of_reach_of_the_next() {
    let config = Arc::new(config(0));
    let pool = DeflatePool::new(&config);
    for hello in
        [&[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..], &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]]
    {
        let connect = || Connection::server(&config, 0).with_deflate(NO_TAKEOVER, &pool);
        assert_eq!(text(&receive(&mut connect(), &compressed(true, Text, hello), &[])), b"Hello");
        // The same inflater, out of the pool: a reference to that "Hello" must lead nowhere.
        let reference = compressed(true, Text, &[0xF2, 0x00, 0x11, 0x00, 0x00]);
        assert_eq!(receive(&mut connect(), &reference, &[]).error, Some(ProtocolError::InvalidDeflate));
    }
}

#[test]
fn a_storm_of_final_blocks_is_cut() {
    // Each empty final block makes zlib begin anew: 32,000 of them would cost more than any message may.
    let storm = [&[0x03, 0x00].repeat(32_000)[..], &[0]].concat();
    let outcome = receive(&mut server(TAKEOVER), &compressed(true, Binary, &storm), &[]);
    assert_eq!(outcome.error, Some(ProtocolError::InvalidDeflate));
    let few = [&[0x03, 0x00].repeat(16)[..], &[0]].concat();
    assert_eq!(text(&receive(&mut server(TAKEOVER), &compressed(true, Binary, &few), &[])), b"");
}

#[test]
fn cp_06_rsv1_stands_on_the_first_frame_of_a_data_message_only() {
    let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let continued =
        [compressed(false, Text, &hello[..3]), compressed(true, Continuation, &hello[3..])].concat();
    let plain_then_compressed =
        [frame(Role::Server, false, Text, b"Hel"), compressed(true, Continuation, b"lo")].concat();
    let mut rsv2 = compressed(true, Text, &hello);
    rsv2[0] |= 0x20;
    for (name, bytes) in [
        ("continuation", continued),
        ("continuation of a plain message", plain_then_compressed),
        ("Ping", compressed(true, Ping, b"")),
        ("Close", compressed(true, Close, b"")),
        ("nothing to continue", compressed(true, Continuation, b"")),
        ("RSV2", rsv2),
    ] {
        for cuts in [vec![], (0..bytes.len()).collect::<Vec<_>>()] {
            let outcome = receive(&mut server(TAKEOVER), &bytes, &cuts);
            assert_eq!(outcome.error, Some(ProtocolError::ReservedBits), "{name}");
            assert_eq!(close_code(&outcome.answers), Some(1002), "{name}");
        }
    }
    let mut plain = crate::support::connection(Role::Server, &config(0));
    let outcome = receive(&mut plain, &compressed(true, Text, &hello), &[]);
    assert_eq!(outcome.error, Some(ProtocolError::ReservedBits), "without the extension");
}

#[test]
fn ms_06_cp_01_the_limit_counts_what_is_inflated_to_the_byte() {
    let limit = LIMIT as usize;
    for (len, is_good) in [(limit - 1, true), (limit, true), (limit + 1, false), (limit * 100, false)] {
        let noise = noise(len);
        for (name, stream) in [
            ("bomb", their_deflate(&vec![b'a'; len], 9)),
            ("noise", their_deflate(&noise, 6)),
            ("stored", stored(&noise)),
        ] {
            let whole = compressed(true, Binary, &stream);
            let pieces: Vec<_> = stream.chunks(stream.len().div_ceil(50)).collect();
            let mut fragments = Vec::new();
            for (at, piece) in pieces.iter().enumerate() {
                let fin = at + 1 == pieces.len();
                fragments.extend(match at {
                    0 => compressed(fin, Binary, piece),
                    _ => frame(Role::Server, fin, Continuation, piece),
                });
            }
            for bytes in [whole, fragments] {
                let mut server = server(TAKEOVER);
                let outcome = receive(&mut server, &bytes, &[bytes.len() / 3, bytes.len() / 2]);
                if is_good {
                    assert_eq!(text(&outcome).len(), len, "{name} of {len}");
                } else {
                    let too_large = [ProtocolError::MessageTooLarge, ProtocolError::FrameTooLarge];
                    assert!(outcome.error.is_some_and(|error| too_large.contains(&error)), "{name} of {len}");
                    assert_eq!(close_code(&outcome.answers), Some(1009), "{name} of {len}");
                    assert!(!server.is_mid_message());
                }
            }
        }
    }
}

#[test]
fn cp_02_what_inflates_to_nothing_is_bounded_too() {
    let nothing = [0, 0, 0, 0xFF, 0xFF].repeat(4_000);
    let mut bytes = compressed(false, Binary, &nothing);
    for _ in 0..20 {
        bytes.extend(frame(Role::Server, false, Continuation, &nothing));
    }
    let outcome = receive(&mut server(NO_TAKEOVER), &bytes, &[]);
    assert_eq!(outcome.error, Some(ProtocolError::MessageTooLarge));
}

#[test]
fn cp_03_what_is_not_deflate_is_1007() {
    let message = b"a message that is long enough to be cut in the middle, twice over, twice over";
    let whole = their_deflate(message, 6);
    let sync = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let mut rows = vec![
        ("block type 3", vec![0xFF; 10]),
        ("nothing at all", vec![]),
        ("a stored block cut", vec![0, 5, 0, 0xFA, 0xFF, b'H', b'e']),
        ("lengths that do not match", vec![0, 5, 0, 0, 0, b'H', b'e', b'l', b'l', b'o', 0]),
        ("a reference to before the beginning", vec![0xF2, 0x00, 0x11, 0x00, 0x00]),
    ];
    let cuts =
        (1..whole.len() - 2).map(|cut| &whole[..cut]).chain((1..sync.len() - 1).map(|cut| &sync[..cut]));
    for cut in cuts {
        rows.push(("a block cut", cut.to_vec()));
        // With context takeover some of these cannot be told from a shorter message.
        let outcome = receive(&mut server(TAKEOVER), &compressed(true, Binary, cut), &[]);
        match (outcome.error, &outcome.events[..]) {
            (Some(error), []) => assert_eq!(error, ProtocolError::InvalidDeflate),
            (None, [Seen::Message(_, part)]) => {
                assert!(message.starts_with(part) || b"Hello".starts_with(&part[..]));
            }
            other => panic!("{other:?}"),
        }
    }
    for (name, payload) in rows {
        let bytes = compressed(true, Binary, &payload);
        for cuts in [vec![], (0..bytes.len()).collect()] {
            let mut server = server(NO_TAKEOVER);
            let outcome = receive(&mut server, &bytes, &cuts);
            assert_eq!(outcome.error, Some(ProtocolError::InvalidDeflate), "{name} {payload:x?}");
            assert_eq!(close_code(&outcome.answers), Some(1007), "{name}");
        }
    }
}

/// Found by the fuzz target: the stream passes the limit and breaks within one octet.
#[test]
fn the_limit_comes_before_a_fault_behind_it_wherever_the_octets_are_cut() {
    let mut stream = vec![0xE2; 21];
    stream.extend([0, 0, 0xFF, 4, 1, 0, 0, 0, 0x2F, 0xE2, 0xE2, 0xE2, 0xE2, 0x62]);
    stream.extend([0xE2; 24]);
    let limits = Limits::default().with(|it| it.max_message = 20);
    let config = config(0).with(|it| it.limits = limits);
    let bytes = compressed(true, Text, &stream);
    for cuts in [vec![], (0..bytes.len()).collect()] {
        let pool = DeflatePool::new(&config);
        let mut server = Connection::server(&Arc::new(config.clone()), 0).with_deflate(TAKEOVER, &pool);
        let outcome = receive(&mut server, &bytes, &cuts);
        assert_eq!(outcome.error, Some(ProtocolError::MessageTooLarge), "cut at {cuts:?}");
    }
}

#[test]
fn text_is_validated_as_it_inflates() {
    let invalid = [&[b'a'; 5000][..], &[0xC0], &[b'a'; 5000]].concat();
    let stream = stored(&invalid);
    let outcome = receive(&mut server(TAKEOVER), &compressed(true, Text, &stream), &[]);
    assert_eq!(outcome.error, Some(ProtocolError::TextNotUtf8));
    // Fail-fast: the rest of the message never comes.
    let outcome = receive(&mut server(TAKEOVER), &compressed(false, Text, &stream[..6000]), &[]);
    assert_eq!(outcome.error, Some(ProtocolError::TextNotUtf8));
    // RFC 6455 8.1: a code point may be cut by a fragment, not by the message.
    let outcome = receive(&mut server(TAKEOVER), &compressed(true, Text, &stored(&[0xE2, 0x82])), &[]);
    assert_eq!(outcome.error, Some(ProtocolError::TextNotUtf8));
    assert_eq!(
        text(&receive(&mut server(TAKEOVER), &compressed(true, Binary, &stored(&[0xC0])), &[])),
        [0xC0]
    );
}

#[test]
fn control_frames_may_stand_between_compressed_fragments() {
    let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let bytes = [
        compressed(false, Text, &hello[..2]),
        frame(Role::Server, true, Ping, b"still there?"),
        frame(Role::Server, false, Continuation, b""),
        frame(Role::Server, true, Continuation, &hello[2..]),
        frame(Role::Server, true, Text, b"not compressed"),
        compressed(true, Text, &[0xF2, 0x00, 0x11, 0x00, 0x00]),
    ]
    .concat();
    for cuts in [vec![], (0..bytes.len()).collect::<Vec<_>>()] {
        let outcome = receive(&mut server(TAKEOVER), &bytes, &cuts);
        let message = |text: &[u8]| Seen::Message(MessageKind::Text, text.to_vec());
        let expected = [
            Seen::Ping(b"still there?".to_vec()),
            message(b"Hello"),
            message(b"not compressed"),
            message(b"Hello"),
        ];
        assert_eq!(outcome.events, expected);
    }
}

#[test]
fn short_and_marked_messages_go_uncompressed() {
    let long = "long enough ".repeat(50);
    let mut server = connection(Role::Server, TAKEOVER, 100);
    for (message, is_compressed) in [
        (Outgoing::text(&long[..99]), false),
        (Outgoing::text(&long[..100]), true),
        (Outgoing::text(&long).uncompressed(), false),
        (Outgoing::binary(long.as_bytes()), true),
        (Outgoing::binary(b""), false),
    ] {
        let mut out = Vec::new();
        server.encode(message, &mut out).unwrap();
        assert_eq!(out[0] & RSV1 != 0, is_compressed);
        assert_eq!(out.len() < message.payload().len(), is_compressed);
    }
    let mut out = Vec::new();
    connection(Role::Server, TAKEOVER, 0).encode(Outgoing::text(""), &mut out).unwrap();
    assert_eq!(out, [0x81, 0], "an empty message gains nothing");
}

#[test]
fn what_would_grow_goes_uncompressed_where_no_context_is_lost() {
    let noise = noise(300);
    let mut out = Vec::new();
    server(NO_TAKEOVER).encode(Outgoing::binary(&noise), &mut out).unwrap();
    assert_eq!(sole_frame(&out), (0x82, &noise[..]));
}

#[test]
fn a_compressor_that_was_given_back_in_silence_is_not_missed() {
    let mut sender = server(TAKEOVER);
    let mut receiver = connection(Role::Client, TAKEOVER, 0);
    let text = "the same text in each message";
    let mut lens = Vec::new();
    for now in [0, 1, 25_000, 26_000] {
        let mut out = Vec::new();
        if now == 25_000 {
            sender.handle_timeout(now, &mut out);
            out.clear();
        }
        sender.encode(Outgoing::text(text), &mut out).unwrap();
        lens.push(out.len());
        let outcome = receive(&mut receiver, &out, &[]);
        assert_eq!(outcome.events, [Seen::Message(MessageKind::Text, text.as_bytes().to_vec())]);
    }
    assert!(lens[1] < lens[0] / 2 && lens[3] < lens[0] / 2, "context is taken over: {lens:?}");
    assert_eq!(lens[2], lens[0], "and begun anew");
}

#[test]
fn a_window_of_256_bytes_is_kept_to_by_not_compressing() {
    let agreement = DeflateAgreement { client_max_window_bits: 8, ..TAKEOVER };
    let mut client = connection(Role::Client, agreement, 0);
    assert_eq!(client.encoding(), Encoding::Plain);
    let mut out = Vec::new();
    client.encode(Outgoing::text(&"a".repeat(1000)), &mut out).unwrap();
    assert_eq!(out[0], 0x81);
    // The other end inflates such a window all the same.
    let bytes = compressed(true, Text, &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]);
    assert_eq!(text(&receive(&mut server(agreement), &bytes, &[])), b"Hello");
}

#[test]
fn a_message_for_all_is_what_each_would_have_got() {
    for bits in 9..=15 {
        let agreement = DeflateAgreement { server_max_window_bits: bits, ..NO_TAKEOVER };
        let pool = DeflatePool::new(&config(10));
        let mut server = Connection::server(&Arc::new(config(10)), 0).with_deflate(agreement, &pool);
        let Encoding::Shared(window_bits) = server.encoding() else { panic!("no takeover") };
        let (mut each, mut all) = (Vec::new(), Vec::new());
        let text = "some text some text".repeat(100);
        for message in [Outgoing::text(&text), Outgoing::text("short"), Outgoing::text(&text).uncompressed()]
        {
            server.encode(message, &mut each).unwrap();
            pool.write_message(window_bits, message, &mut all);
        }
        assert_eq!(each, all);
    }
}

/// CP-02: a pause comes behind the message that passes the bound, and every message behind it waits, compressed or not.
#[test]
fn cp_02_a_pause_comes_when_enough_was_inflated() {
    let one = compressed(true, Binary, &their_deflate(&[0; 1000], 6));
    let input = [one.repeat(5), frame(Role::Server, true, Text, b"plain"), one.repeat(2)].concat();
    for (pause_after, expected) in
        [(0, vec![1, 1, 1, 1, 1, 2, 1]), (1, vec![1, 1, 1, 1, 1, 2, 1]), (6_000, vec![2, 2, 3, 1])]
    {
        let mut bytes = input.clone();
        let mut input = Input::new(&mut bytes);
        let mut server = server(NO_TAKEOVER);
        server.pause_after_inflating(pause_after);
        let mut turns = Vec::new();
        while !input.is_empty() {
            let mut events = 0;
            while server.next_event(&mut input, &mut Vec::new()).unwrap().is_some() {
                events += 1;
            }
            turns.push(events);
        }
        assert_eq!(turns, expected, "{pause_after}");
    }
}

fn agreement() -> impl Strategy<Value = DeflateAgreement> {
    (any::<bool>(), any::<bool>(), 9..=15u8, 9..=15u8).prop_map(
        |(server, client, server_bits, client_bits)| DeflateAgreement {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        },
    )
}

/// Octets with repetitions near and far, so that windows matter.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    (vec("[a-f]{1,8}", 1..20), vec(any::<u8>(), 0..40), 0..40usize).prop_map(|(words, noise, times)| {
        let text = words.join(" ");
        let mut bytes = text.clone().into_bytes();
        for at in 0..times {
            bytes.extend(&noise);
            bytes.extend(text.as_bytes().iter().map(|octet| octet.wrapping_add((at % 7) as u8)));
        }
        bytes
    })
}

proptest! {
    #[test]
    fn what_one_end_sends_the_other_gets_whatever_is_agreed_and_cut(
        role in prop_oneof![Just(Role::Server), Just(Role::Client)],
        agreement in agreement(),
        min_len in prop_oneof![Just(0usize), Just(200)],
        messages in vec((payload(), any::<bool>()), 1..8),
        cuts in vec(any::<usize>(), 0..30),
    ) {
        let other = if role == Role::Server { Role::Client } else { Role::Server };
        let mut sender = connection(role, agreement, min_len);
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (payload, may_compress) in &messages {
            let message = Outgoing::binary(payload);
            sender.encode(if *may_compress { message } else { message.uncompressed() }, &mut bytes).unwrap();
            expected.push(Seen::Message(MessageKind::Binary, payload.clone()));
        }
        let mut receiver = connection(other, agreement, min_len);
        let outcome = receive(&mut receiver, &bytes, &cuts);
        prop_assert_eq!(outcome.error, None);
        prop_assert_eq!(&outcome.events, &expected);
        prop_assert!(!receiver.is_mid_message());
        let mut pausing = connection(other, agreement, min_len);
        pausing.pause_after_inflating(1);
        prop_assert_eq!(receive(&mut pausing, &bytes, &cuts), outcome);
    }

    #[test]
    fn the_other_implementation_inflates_what_we_deflate(payloads in vec(payload(), 1..5), bits in 9..=15u8) {
        let agreement = DeflateAgreement { server_max_window_bits: bits, ..NO_TAKEOVER };
        let mut ours = server(agreement);
        for payload in payloads {
            let mut out = Vec::new();
            ours.encode(Outgoing::binary(&payload), &mut out).unwrap();
            let (first, body) = sole_frame(&out);
            let inflated = if first & RSV1 == 0 { body.to_vec() } else { their_inflate(body) };
            prop_assert_eq!(inflated, payload);
        }
    }

    #[test]
    fn the_other_implementation_inflates_a_whole_context(payloads in vec(payload(), 1..8), bits in 9..=15u8) {
        let mut ours = server(DeflateAgreement { server_max_window_bits: bits, ..TAKEOVER });
        let mut stream = Vec::new();
        for payload in &payloads {
            let mut out = Vec::new();
            ours.encode(Outgoing::binary(payload), &mut out).unwrap();
            let (first, body) = sole_frame(&out);
            prop_assert_eq!(first, 0x82 | RSV1);
            stream.extend_from_slice(body);
            stream.extend([0, 0, 0xFF, 0xFF]);
        }
        stream.extend([1, 0, 0, 0xFF, 0xFF]);
        prop_assert_eq!(decompress_to_vec_with_limit(&stream, 1 << 24).unwrap(), payloads.concat());
    }

    #[test]
    fn we_inflate_what_the_other_implementation_deflates(
        payloads in vec(payload(), 1..5),
        level in 0..=10u8,
        takeover in any::<bool>(),
        fragments in 1..6usize,
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for payload in payloads {
            let stream = their_deflate(&payload, level);
            let pieces: Vec<_> = stream.chunks(stream.len().div_ceil(fragments)).collect();
            for (at, piece) in pieces.iter().enumerate() {
                let fin = at + 1 == pieces.len();
                bytes.extend(match at {
                    0 => compressed(fin, Binary, piece),
                    _ => frame(Role::Server, fin, Continuation, piece),
                });
            }
            expected.push(Seen::Message(MessageKind::Binary, payload));
        }
        let mut ours = server(if takeover { TAKEOVER } else { NO_TAKEOVER });
        let outcome = receive(&mut ours, &bytes, &cuts);
        prop_assert_eq!(outcome.error, None);
        prop_assert_eq!(outcome.events, expected);
    }

    #[test]
    fn cp_03_garbage_never_panics_and_what_passes_is_what_the_other_implementation_reads(
        payload in payload(),
        noise in vec((any::<usize>(), any::<u8>()), 0..6),
        cuts in vec(any::<usize>(), 0..10),
        kind in prop_oneof![Just(Text), Just(Binary)],
    ) {
        let mut stream = their_deflate(&payload, 6);
        for (at, value) in noise {
            let at = at % stream.len();
            stream[at] ^= value;
        }
        let bytes = compressed(true, kind, &stream).repeat(2);
        let outcome = receive(&mut server(NO_TAKEOVER), &bytes, &[]);
        prop_assert_eq!(&outcome, &receive(&mut server(NO_TAKEOVER), &bytes, &cuts));
        let whole = [&stream[..], &[0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF]].concat();
        if let (Some(Seen::Message(_, ours)), Ok(theirs)) =
            (outcome.events.first(), decompress_to_vec_with_limit(&whole, 1 << 24))
        {
            // Theirs ends at the first final block, ours goes on behind it.
            prop_assert!(ours.starts_with(&theirs));
        }
    }
}
