//! FR rows: frames that break the rules of RFC 6455 5, and frames cut and glued in every way.

use proptest::prelude::*;

use crate::support::{
    BINARY, CLOSE, Client, Dice, End, FIN, Frame, Launch, PING, PONG, SOON, Server, TEXT, assert_below,
    for_each, frame, masked, millis, secs, text,
};

/// Each of these byte strings, on a connection of its own, fails it with the code.
#[track_caller]
fn expect_failures(server: &Server, cases: impl IntoIterator<Item = Vec<u8>>, codes: &[u16]) {
    for_each(cases, |bytes| {
        let mut client = Client::open(server.addr);
        client.send(&bytes);
        let got = client.try_frame(SOON);
        let shown = &bytes[..bytes.len().min(24)];
        let code = got.as_ref().ok().filter(|got| got.opcode == CLOSE).and_then(Frame::close_code);
        assert!(code.is_some_and(|code| codes.contains(&code)), "{codes:?} for {shown:x?}, got {got:?}");
        client.answer_close(&got.unwrap().payload);
    });
}

#[test]
fn fr_01_a_claim_of_2_to_the_62_allocates_nothing() {
    let server = Launch::echo().start();
    expect_failures(&server, (0..20).map(|_| huge_claim()), &[1009, 1002]);
    let (rss, space) = (server.rss_kib(), server.address_space_kib());
    let mut clients: Vec<Client> = (0..500).map(|_| Client::open(server.addr)).collect();
    for client in &mut clients {
        client.send(&huge_claim());
    }
    for client in &mut clients {
        let got = client.frame();
        assert!(matches!(got.close_code(), Some(1009 | 1002)), "{got:?}");
    }
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 500 * 24);
    assert_below("address space in KiB", server.address_space_kib().saturating_sub(space), 256 * 1024);
    drop(clients);
    Client::open(server.addr).echo("alive");
}

fn huge_claim() -> Vec<u8> {
    let mut bytes = vec![FIN | BINARY, 0xFF];
    bytes.extend_from_slice(&(1_u64 << 62).to_be_bytes());
    masked(bytes, b"0123456789")
}

#[test]
fn fr_01_the_claim_alone_is_enough() {
    let server = Launch::serve().start();
    // Not one byte of the payload has come: the length was already too much.
    let mut client = Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: json\r\n").0;
    client.frame();
    let mut header = vec![FIN | TEXT, 0xFF];
    header.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    client.send(&masked(header, b""));
    client.expect_close_in(&[1009, 1002]);
}

#[test]
fn fr_02_a_length_with_the_top_bit_set_is_a_protocol_error() {
    let server = Launch::echo().start();
    let lengths = [1_u64 << 63, u64::MAX, (1 << 63) | 5];
    let cases = lengths.map(|len| masked([&[FIN | BINARY, 0xFF], &len.to_be_bytes()[..]].concat(), b"hello"));
    expect_failures(&server, cases, &[1002]);
}

#[test]
fn fr_03_a_large_claim_costs_only_what_has_come() {
    let server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let mut clients: Vec<Client> = (0..200).map(|_| Client::open(server.addr)).collect();
    let (rss, space) = (server.rss_kib(), server.address_space_kib());
    for client in &mut clients {
        let mut bytes = vec![FIN | BINARY, 0xFF];
        bytes.extend_from_slice(&(15_u64 << 20).to_be_bytes());
        client.send(&masked(bytes, &[7; 16]));
    }
    for _ in 0..10 {
        healthy.echo("during");
    }
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 200 * 64);
    assert_below("address space in KiB", server.address_space_kib().saturating_sub(space), 512 * 1024);
    assert!(clients.iter_mut().all(|client| !client.has_ended()), "15 MiB is below the limit");
}

#[test]
fn fr_04_lengths_are_written_in_the_shortest_form() {
    let server = Launch::echo().start();
    let mut cases = Vec::new();
    for len in [0_u16, 1, 5, 124, 125] {
        let payload = vec![b'a'; len.into()];
        cases.push(masked([&[FIN | TEXT, 0xFE], &len.to_be_bytes()[..]].concat(), &payload));
        cases.push(masked([&[FIN | TEXT, 0xFF], &u64::from(len).to_be_bytes()[..]].concat(), &payload));
    }
    for len in [126_u64, 1000, 65_535] {
        let payload = vec![b'a'; len as usize];
        cases.push(masked([&[FIN | TEXT, 0xFF], &len.to_be_bytes()[..]].concat(), &payload));
    }
    expect_failures(&server, cases, &[1002]);
}

#[test]
fn fr_04_s19_every_length_form_goes_there_and_back() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    for len in [0, 1, 2, 7, 124, 125, 126, 127, 128, 255, 256, 1000, 65_534, 65_535, 65_536, 65_537, 200_000]
    {
        let payload: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
        client.send(&frame(FIN | BINARY, &payload));
        client.expect(BINARY, &payload);
        client.echo(&"é".repeat(len / 2));
    }
}

#[test]
fn fr_05_an_unmasked_frame_is_a_protocol_error() {
    let server = Launch::echo().start();
    let cases = [
        vec![FIN | TEXT, 5, b'h', b'e', b'l', b'l', b'o'],
        vec![FIN | TEXT, 0],
        vec![TEXT, 1, b'h'],
        vec![FIN | BINARY, 126, 1, 0],
        vec![FIN | BINARY, 127, 0, 0, 0, 0, 0, 1, 0, 0],
        vec![FIN | PING, 0],
        vec![FIN | PONG, 0],
        vec![FIN | CLOSE, 2, 3, 232],
        vec![FIN | CLOSE, 0],
    ];
    expect_failures(&server, cases, &[1002]);
}

#[test]
fn fr_06_reserved_bits_without_an_extension_are_a_protocol_error() {
    let server = Launch::echo().start();
    let cases = (1..8_u8).flat_map(|bits| {
        [TEXT, BINARY, PING, PONG, CLOSE, 0].map(|opcode| frame(FIN | (bits << 4) | opcode, b""))
    });
    expect_failures(&server, cases, &[1002]);
    expect_failures(&server, (1..8_u8).map(|bits| frame((bits << 4) | TEXT, b"part")), &[1002]);
}

#[test]
fn fr_07_reserved_opcodes_are_a_protocol_error() {
    let server = Launch::echo().start();
    let opcodes = [3_u8, 4, 5, 6, 7, 11, 12, 13, 14, 15];
    expect_failures(&server, opcodes.map(|opcode| frame(FIN | opcode, b"")), &[1002]);
    expect_failures(&server, opcodes.map(|opcode| frame(opcode, b"data")), &[1002]);
    // Inside a message too, and the header alone is enough.
    expect_failures(
        &server,
        opcodes.map(|opcode| [frame(TEXT, b"a"), vec![FIN | opcode, 0x80]].concat()),
        &[1002],
    );
}

#[test]
fn fr_08_control_frames_are_whole_and_short() {
    let server = Launch::echo().start();
    let controls = [CLOSE, PING, PONG];
    expect_failures(&server, controls.map(|opcode| frame(opcode, b"")), &[1002]);
    expect_failures(&server, controls.map(|opcode| frame(FIN | opcode, &[b'a'; 126])), &[1002]);
    expect_failures(&server, controls.map(|opcode| frame(FIN | opcode, &vec![b'a'; 70_000])), &[1002]);
    expect_failures(&server, controls.map(|opcode| vec![FIN | opcode, 0xFE]), &[1002]);
    expect_failures(&server, [[frame(TEXT, b"a"), frame(PING, b"")].concat()], &[1002]);
}

#[test]
fn fr_09_fragments_come_in_order() {
    let server = Launch::echo().start();
    let cases = [
        frame(FIN, b"no start"),
        frame(0, b"no start"),
        [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(),
        [frame(TEXT, b"a"), frame(TEXT, b"b")].concat(),
        [frame(TEXT, b"a"), frame(FIN | BINARY, b"b")].concat(),
        [frame(BINARY, b"a"), frame(0, b"b"), frame(FIN | TEXT, b"c")].concat(),
    ];
    expect_failures(&server, cases, &[1002]);
    let mut client = Client::open(server.addr);
    client
        .send(&[frame(TEXT, b"a"), frame(0, b"b"), frame(FIN, b"c"), frame(FIN, b"after the end")].concat());
    client.expect_text("abc");
    client.expect_close(1002);
}

#[test]
fn fr_09_s21_control_frames_may_stand_between_fragments() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    client.send(&frame(TEXT, b"one "));
    client.send(&frame(FIN | PING, b"in between"));
    client.expect(PONG, b"in between");
    client.send(
        &[frame(0, b""), frame(FIN | PONG, b"unasked"), frame(0, b"two "), frame(FIN, b"three")].concat(),
    );
    client.expect_text("one two three");
    client.send(&[frame(BINARY, b""), frame(0, b""), frame(FIN, b"")].concat());
    client.expect(BINARY, b"");
}

#[test]
fn fr_10_a_close_that_is_not_one_is_a_protocol_error() {
    let server = Launch::echo().start();
    let codes = [0_u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65_535];
    let cases = codes.map(|code| frame(FIN | CLOSE, &code.to_be_bytes()));
    expect_failures(&server, cases, &[1002]);
    let cases = codes.map(|code| frame(FIN | CLOSE, &[&code.to_be_bytes()[..], b"reason"].concat()));
    expect_failures(&server, cases, &[1002]);
    expect_failures(&server, [frame(FIN | CLOSE, &[3])], &[1002]);
    let bad_reasons = [&b"\xff"[..], b"ok\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"];
    let cases = bad_reasons.map(|reason| frame(FIN | CLOSE, &[&1000_u16.to_be_bytes()[..], reason].concat()));
    expect_failures(&server, cases, &[1007]);
}

#[test]
fn fr_10_s39_a_valid_close_is_echoed_and_the_server_ends_first() {
    let server = Launch::echo().start();
    let codes = [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    for code in codes {
        for reason in ["", "bye", "geht’s noch?", &"r".repeat(123)] {
            let mut client = Client::open(server.addr);
            client.send(&frame(FIN | CLOSE, &[&code.to_be_bytes()[..], reason.as_bytes()].concat()));
            let got = client.frame();
            assert_eq!((got.opcode, got.close_code()), (CLOSE, Some(code)), "{code} {reason}: {got:?}");
            // RFC 6455 7.1.1: it is the server that closes TCP first; the client has sent no FIN.
            client.expect_end(secs(3));
        }
    }
    let mut client = Client::open(server.addr);
    client.send(&frame(FIN | CLOSE, b""));
    assert_eq!(client.frame(), Frame { fin: true, rsv1: false, opcode: CLOSE, payload: Vec::new() });
    client.expect_end(secs(3));
}

#[test]
fn fr_10_a_close_inside_a_fragmented_message_ends_it() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    client.send(&[frame(TEXT, b"never ended"), frame(FIN | CLOSE, &1000_u16.to_be_bytes())].concat());
    client.expect_close(1000);
}

/// What a conversation of every kind of frame sends, and what an echo server must answer, in order.
fn conversation() -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
    let mut sent = Vec::new();
    let mut answers = Vec::new();
    let medium = "grüße ".repeat(60);
    let large: Vec<u8> = (0..70_000_u32).map(|i| (i % 251) as u8).collect();
    for message in ["", "a", "héllo", "\u{1f600}", &medium] {
        sent.extend(text(message));
        answers.push((TEXT, message.as_bytes().to_vec()));
    }
    sent.extend(frame(FIN | PING, b"p"));
    answers.push((PONG, b"p".to_vec()));
    sent.extend(frame(TEXT, "h\u{e9}".as_bytes().split_at(2).0));
    sent.extend(frame(FIN | PING, &[0; 125]));
    answers.push((PONG, vec![0; 125]));
    sent.extend(frame(FIN, "h\u{e9}!".as_bytes().split_at(2).1));
    answers.push((TEXT, "h\u{e9}!".as_bytes().to_vec()));
    sent.extend(frame(FIN | BINARY, &large));
    answers.push((BINARY, large));
    sent.extend(frame(FIN | CLOSE, &4321_u16.to_be_bytes()));
    answers.push((CLOSE, 4321_u16.to_be_bytes().to_vec()));
    (sent, answers)
}

#[track_caller]
fn expect_answers(client: &mut Client, answers: &[(u8, Vec<u8>)]) {
    for (opcode, payload) in answers {
        client.expect(*opcode, payload);
    }
    client.expect_end(secs(3));
}

#[test]
fn fr_11_one_byte_per_segment_is_the_same_conversation() {
    let server = Launch::echo().start();
    let (sent, answers) = conversation();
    let mut client = Client::open(server.addr);
    client.send(&sent);
    expect_answers(&mut client, &answers);

    let mut client = Client::open(server.addr);
    let small = sent.len() - 70_000;
    for byte in sent[..small].chunks(1) {
        client.send(byte);
    }
    client.send(&sent[small..]);
    expect_answers(&mut client, &answers);
}

#[test]
fn fr_11_a_hundred_chunks_of_one_byte() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    let bytes = text(&"x".repeat(94));
    assert_eq!(bytes.len(), 100);
    for byte in bytes.chunks(1) {
        client.send(byte);
        std::thread::sleep(millis(1));
    }
    client.expect_text(&"x".repeat(94));
}

#[test]
fn fr_11_thousands_of_frames_in_one_write() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    let messages: Vec<String> = (0..5000).map(|i| format!("message {i}")).collect();
    let bytes: Vec<u8> = messages.iter().flat_map(|message| text(message)).collect();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes).unwrap());
    for message in &messages {
        client.expect_text(message);
    }
    sender.join().unwrap();
}

#[test]
fn fr_11_any_cut_gives_the_same_answers() {
    let server = Launch::echo().start();
    let (sent, answers) = conversation();
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(cuts in proptest::collection::vec(0..sent.len(), 0..12), pause in any::<bool>())| {
        let mut cuts = cuts;
        cuts.push(sent.len());
        cuts.sort_unstable();
        let mut client = Client::open(server.addr);
        let mut from = 0;
        for cut in cuts {
            client.send(&sent[from..cut]);
            from = cut;
            if pause {
                std::thread::sleep(millis(1));
            }
        }
        expect_answers(&mut client, &answers);
    });
}

#[test]
fn fr_15_what_follows_a_close_is_not_parsed() {
    let server = Launch::echo().start();
    let base = server.descriptors();
    let cpu = server.cpu();
    let mut client = Client::open(server.addr);
    let mut bytes = frame(FIN | CLOSE, &1000_u16.to_be_bytes());
    bytes.extend(text("after the close"));
    bytes.extend(frame(FIN | PING, b"after the close"));
    bytes.extend(frame(FIN | 3, b"not even a frame"));
    bytes.extend(frame(FIN | CLOSE, &3000_u16.to_be_bytes()));
    client.send(&bytes);
    let flood = text(&"flood".repeat(13_000));
    let sent = (0..160).take_while(|_| client.try_send(&flood).is_ok()).count();
    // If the server did not wait for our FIN the kernel may have thrown its Close away with a reset.
    match client.try_frame(secs(3)) {
        Ok(got) => assert_eq!((got.opcode, got.close_code()), (CLOSE, Some(1000))),
        Err(end) => assert_eq!(end, End::Reset),
    }
    client.expect_end(secs(8));
    server.wait_for_descriptors(base, secs(8));
    assert_below(&format!("CPU for {sent} messages after the Close"), server.cpu_since(cpu), secs(2));
}

#[test]
fn fr_15_the_close_is_not_lost_in_what_follows() {
    let server = Launch::echo().start();
    for _ in 0..20 {
        let mut client = Client::open(server.addr);
        let mut bytes = frame(FIN | CLOSE, &4000_u16.to_be_bytes());
        // More than a server reads at once.
        bytes.extend(text(&"more".repeat(250_000)));
        let _ = client.try_send(&bytes);
        // Unread bytes at close() would turn into a reset: the server has to drain before it closes.
        let got = client.try_frame(SOON);
        assert_eq!(got.as_ref().ok().and_then(Frame::close_code), Some(4000), "{got:?}");
        assert_eq!(client.end(secs(3)), End::Fin, "a clean closure");
    }
}

#[test]
fn s19_a_ping_is_answered_with_the_same_payload() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    let mut dice = Dice::new(7);
    for len in [0, 1, 2, 3, 4, 5, 63, 64, 124, 125] {
        let payload: Vec<u8> = (0..len).map(|_| dice.below(256) as u8).collect();
        client.send(&frame(FIN | PING, &payload));
        client.expect(PONG, &payload);
    }
    client.send(&frame(FIN | PONG, b"nobody asked"));
    client.echo("and nothing came of it");
}
