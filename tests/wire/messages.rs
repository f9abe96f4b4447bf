//! MS rows: what whole messages may hold, and how large they may grow.

use crate::support::{
    BINARY, CLOSE, Client, FIN, Frame, Launch, PING, PONG, SOON, Server, TEXT, assert_below, frame, masked,
    text,
};

const LIMIT: usize = 65_536;

fn small_echo() -> Server {
    Launch::echo().args(&["--max-message", "65536"]).start()
}

/// Sends pieces until the server answers with a Close, at most `limit` times; returns the code and how many were sent.
fn flood(client: &mut Client, piece: &[u8], limit: usize) -> (Option<u16>, usize) {
    for sent in 0..limit {
        let refused = client.try_send(piece).is_err();
        if refused || client.has_ended() {
            return (client.try_frame(SOON).ok().and_then(|got| got.close_code()), sent);
        }
        // `has_ended` has read what came; a Close lies in the inbox before the connection ends.
        if let Some(got) = client.parse_frame() {
            return (got.close_code(), sent);
        }
    }
    (client.try_frame(SOON).ok().and_then(|got| got.close_code()), limit)
}

#[test]
fn ms_02_a_message_that_never_ends_is_cut_at_the_limit() {
    let server = small_echo();
    let mut client = Client::open(server.addr);
    let rss = server.rss_kib();
    client.send(&frame(BINARY, &vec![1; 16_384]));
    let (code, sent) = flood(&mut client, &frame(0, &vec![2; 16_384]), 16_384);
    assert_eq!(code, Some(1009));
    // With the first one three are exactly the limit; the Close may come while the fourth is still being written.
    assert!((3..1024).contains(&sent), "{sent} more fragments of 16 KiB taken with a limit of 64 KiB");
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 4096);
}

#[test]
fn ms_02_the_chat_takes_64_kib_at_most() {
    let server = Launch::serve().start();
    let offer = "Sec-WebSocket-Protocol: json\r\n";
    let mut client = Client::upgrade(server.addr, "/ws", offer).0;
    client.frame();
    client.send(&frame(TEXT, &[b' '; 16_384]));
    let (code, _) = flood(&mut client, &frame(0, &[b' '; 16_384]), 1024);
    assert_eq!(code, Some(1009));
    // The limit is the message's, not the connection's.
    let mut client = Client::upgrade(server.addr, "/ws", offer).0;
    client.frame();
    for _ in 0..10 {
        client.send(&text(&" ".repeat(20_000)));
        assert!(client.message().payload.starts_with(b"{\"error\":"));
    }
}

#[test]
fn ms_03_endless_empty_fragments_are_cut() {
    let server = small_echo();
    let mut client = Client::open(server.addr);
    let rss = server.rss_kib();
    client.send(&frame(TEXT, b""));
    let piece = frame(0, b"").repeat(1000);
    let (code, _) = flood(&mut client, &piece, 200);
    assert_eq!(code, Some(1008), "a limit on the number of fragments");
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 4096);
}

#[test]
fn ms_03_a_thousand_fragments_are_still_a_message() {
    let server = small_echo();
    let mut client = Client::open(server.addr);
    let mut bytes = frame(TEXT, b"");
    bytes.extend(frame(0, b"ab").repeat(1000));
    bytes.extend(frame(FIN, b""));
    for _ in 0..3 {
        client.send(&bytes);
        client.expect_text(&"ab".repeat(1000));
    }
}

/// Byte strings that are not UTF-8, of every class that RFC 3629 knows.
#[rustfmt::skip]
const INVALID: &[&[u8]] = &[
    // Continuations without a start.
    b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80", b"\x80\xbf\x80\xbf\x80\xbf", b"a\x80", b"\xc3\xa9\xa9",
    // Starts without (all of) their continuations, at the end and before something else.
    b"\xc2", b"\xdf", b"\xe0", b"\xe0\xa0", b"\xe1\x80", b"\xed\x9f", b"\xef\xbf", b"\xf0", b"\xf0\x90",
    b"\xf0\x9f\x98", b"\xf3\xbf\xbf", b"\xf4\x8f\xbf", b"\xc2A", b"\xe1A", b"\xe1\x80A", b"\xf1\x80A",
    b"\xf1\x80\x80A", b"\xc2\xc2\x80", b"\xe1\x80\xe1\x80\x80", b"\xf1\x80\x80\xf1\x80\x80\x80",
    b"\xc0 \xc1 \xc2 \xc3 ", b"\xe0 \xe1 \xe2 ", b"\xf0 \xf1 \xf2 ", b"ok \xe2\x82",
    // Longer than need be.
    b"\xc0\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x80\xaf", b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80", b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf", b"\xf8\x80\x80\x80\x80",
    b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x80\x80\x80\x80\xaf", b"\xfc\x83\xbf\xbf\xbf\xbf",
    // Surrogates, alone and in pairs.
    b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80",
    b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf",
    // Above U+10FFFF, and bytes that never occur.
    b"\xf4\x90\x80\x80", b"\xf4\xbf\xbf\xbf", b"\xf5\x80\x80\x80", b"\xf7\xbf\xbf\xbf",
    b"\xf8\x88\x80\x80\x80", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf", b"\xfe", b"\xff",
    b"\xfe\xfe\xff\xff", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
];

fn invalid_utf8() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = INVALID.iter().map(|bytes| bytes.to_vec()).collect();
    // Beside the borders of the blocks in which fast validators read.
    for before in [7, 8, 15, 16, 31, 32, 63, 64, 127] {
        all.push([&b"a".repeat(before), &b"\xed\xa0\x80"[..], &b"b".repeat(40)].concat());
        all.push([&"é".repeat(before).into_bytes(), &b"\xc3"[..]].concat());
    }
    all
}

fn valid_utf8() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        "a",
        "\0",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{fff}",
        "\u{1000}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{10000}",
        "\u{3ffff}",
        "\u{40000}",
        "\u{fffff}",
        "\u{100000}",
        "\u{10ffff}",
        "\u{feff}bom",
        "κόσμε",
        "Hello-µ@ßöäüàá-UTF-8!!",
        "👩‍👩‍👧‍👦 ﷽ ",
    ]
    .map(String::from)
    .to_vec();
    for before in [7, 8, 15, 16, 31, 32, 63, 64, 127] {
        all.push(format!("{}\u{10ffff}{}", "a".repeat(before), "é".repeat(40)));
    }
    all
}

/// The bytes as one message of one-byte fragments, with a ping before each when `pings` is set.
fn in_fragments(bytes: &[u8], pings: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, byte) in bytes.chunks(1).enumerate() {
        if pings {
            out.extend(frame(FIN | PING, b"between"));
        }
        let opcode = if i == 0 { TEXT } else { 0 };
        out.extend(frame(opcode | if i + 1 == bytes.len() { FIN } else { 0 }, byte));
    }
    if bytes.is_empty() {
        out = [frame(TEXT, b""), frame(FIN | PING, b"between"), frame(FIN, b"")].concat();
    }
    out
}

fn shapes(bytes: &[u8]) -> [Vec<u8>; 3] {
    [frame(FIN | TEXT, bytes), in_fragments(bytes, false), in_fragments(bytes, true)]
}

fn next_but_pongs(client: &mut Client) -> Frame {
    loop {
        let got = client.message();
        if got.opcode != PONG {
            return got;
        }
    }
}

#[test]
fn ms_05_invalid_utf8_fails_with_1007_however_it_is_cut() {
    let server = Launch::echo().start();
    let cases = invalid_utf8();
    assert!(cases.len() >= 64 && cases.iter().all(|bytes| std::str::from_utf8(bytes).is_err()));
    for bytes in cases {
        for sent in shapes(&bytes) {
            let mut client = Client::open(server.addr);
            client.send(&sent);
            let got = next_but_pongs(&mut client);
            assert_eq!((got.opcode, got.close_code()), (CLOSE, Some(1007)), "{bytes:x?}");
        }
        // It is text alone that has to be UTF-8.
        let mut client = Client::open(server.addr);
        client.send(&frame(FIN | BINARY, &bytes));
        client.expect(BINARY, &bytes);
    }
}

#[test]
fn ms_05_valid_utf8_passes_however_it_is_cut() {
    let server = Launch::echo().start();
    let cases = valid_utf8();
    assert!(cases.len() >= 17);
    let mut client = Client::open(server.addr);
    for message in cases {
        for sent in shapes(message.as_bytes()) {
            client.send(&sent);
            let got = next_but_pongs(&mut client);
            assert_eq!((got.opcode, got.payload.as_slice()), (TEXT, message.as_bytes()), "{message:?}");
        }
    }
}

#[test]
fn ms_05_invalid_utf8_fails_before_the_message_is_whole() {
    let server = Launch::echo().start();
    let in_first_fragment = frame(TEXT, b"ok\xff");
    let in_second_fragment = [frame(TEXT, b"ok\xf4"), frame(0, b"\x90")].concat();
    let whole = frame(FIN | TEXT, &[b"ok\xed\xa0".as_slice(), &[b'x'; 996]].concat());
    let inside_a_frame = whole[..8 + 4].to_vec();
    let large =
        masked(vec![FIN | TEXT, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0], &[b"ok\xc0".as_slice(), &[b'x'; 50]].concat());
    for bytes in [in_first_fragment, in_second_fragment, inside_a_frame, large] {
        let mut client = Client::open(server.addr);
        client.send(&bytes);
        client.expect_close(1007);
    }
}

#[test]
fn ms_06_a_message_of_the_limit_passes_and_one_more_byte_does_not() {
    let server = small_echo();
    for pieces in [1, 2, 5, 64] {
        for len in [LIMIT - 1, LIMIT] {
            let message = "x".repeat(len);
            let mut client = Client::open(server.addr);
            client.send(&in_pieces(message.as_bytes(), pieces));
            client.expect_text(&message);
            client.echo("and the next");
        }
        for len in [LIMIT + 1, LIMIT * 2] {
            let mut client = Client::open(server.addr);
            let _ = client.try_send(&in_pieces(&b"x".repeat(len), pieces));
            client.expect_close(1009);
        }
    }
}

fn in_pieces(bytes: &[u8], pieces: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, piece) in bytes.chunks(bytes.len().div_ceil(pieces)).enumerate() {
        let opcode = if i == 0 { TEXT } else { 0 };
        out.extend(frame(opcode | if i + 1 == pieces { FIN } else { 0 }, piece));
    }
    out
}

#[test]
fn ms_06_the_length_in_the_header_is_enough_to_refuse() {
    let server = small_echo();
    for len in [LIMIT as u64 + 1, 1 << 31, 1 << 32, (1 << 32) + 5, 1 << 62] {
        let mut client = Client::open(server.addr);
        client.send(&masked([&[FIN | BINARY, 0xFF], &len.to_be_bytes()[..]].concat(), b""));
        client.expect_close_in(&[1009]);
    }
    let mut client = Client::open(server.addr);
    client.send(&frame(BINARY, &vec![0; LIMIT]));
    client.send(&frame(0, b"x")[..6]);
    client.expect_close(1009);
}

#[test]
fn ms_10_binary_is_refused_where_text_is_spoken() {
    let server = Launch::serve().start();
    for offer in ["Sec-WebSocket-Protocol: json\r\n", ""] {
        for payload in [b"{\"user\":\"a\",\"text\":\"b\"}".as_slice(), b"", b"\xff"] {
            let mut client = Client::upgrade(server.addr, "/ws", offer).0;
            if !offer.is_empty() {
                client.expect_text("{\"msg\":[]}");
            }
            client.send(&frame(FIN | BINARY, payload));
            client.expect_close(1003);
        }
    }
}
