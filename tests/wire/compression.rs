//! CP rows: permessage-deflate from outside, with `miniz_oxide` on the other side.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use crate::support::{
    BINARY, CLOSE, Client, FIN, Frame, Launch, PING, RSV1, SOON, Server, TEXT, assert_below, for_each, frame,
    head_of, millis, text, upgrade_request,
};

const LIMIT: usize = 65_536;
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

fn echo(more: &[&str]) -> Server {
    Launch::echo().args(&["--max-message", "65536", "--deflate"]).args(more).start()
}

/// Each message for itself, in both directions, so that no test has to keep a context.
fn frugal_echo() -> Server {
    echo(&["--deflate-no-context-takeover", "--deflate-client-no-context-takeover"])
}

fn open(server: &Server) -> Client {
    let (client, head) = Client::upgrade(server.addr, "/", OFFER);
    assert!(
        head.has_token("sec-websocket-extensions", "permessage-deflate") || head.raw.contains("deflate;")
    );
    client
}

/// A message with a final block, and the octet of the empty block behind it (RFC 7692 7.2.3.5).
fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut stream = compress_to_vec(payload, 9);
    stream.push(0);
    stream
}

/// The payload of a frame, which was compressed for itself.
fn inflate(frame: &Frame) -> Vec<u8> {
    if !frame.rsv1 {
        return frame.payload.clone();
    }
    let end = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];
    decompress_to_vec_with_limit(&[&frame.payload[..], &end].concat(), 1 << 24).expect("DEFLATE data")
}

fn compressed(payload: &[u8]) -> Vec<u8> {
    frame(FIN | RSV1 | TEXT, &deflate(payload))
}

/// Compresses to about a thousandth.
fn bomb(len: usize) -> Vec<u8> {
    deflate(&vec![b'a'; len])
}

#[test]
fn compression_is_off_unless_asked_for() {
    for launch in [Launch::echo(), Launch::serve()] {
        let server = launch.start();
        let target = "/ws";
        let (mut client, head) = Client::upgrade(server.addr, target, OFFER);
        assert_eq!(head.field("sec-websocket-extensions"), None);
        client.send(&compressed(b"Hello"));
        while client
            .try_frame(SOON)
            .is_ok_and(|frame| frame.opcode != CLOSE || frame.close_code() != Some(1002))
        {}
    }
}

#[test]
fn the_flags_say_what_is_agreed() {
    for_each(
        [
            (&["--deflate"][..], "permessage-deflate", "permessage-deflate"),
            (
                &["--deflate", "--deflate-window", "10"],
                "permessage-deflate",
                "permessage-deflate; server_max_window_bits=10",
            ),
            (
                &[
                    "--deflate",
                    "--deflate-no-context-takeover",
                    "--deflate-client-no-context-takeover",
                    "--deflate-window",
                    "9",
                ],
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=9; client_max_window_bits=9",
            ),
        ],
        |(flags, offer, expected)| {
            for launch in [Launch::serve(), Launch::fanout()] {
                let server = launch.args(flags).start();
                let field = format!("Sec-WebSocket-Extensions: {offer}\r\n");
                let head = Client::upgrade(server.addr, "/ws", &field).1;
                assert_eq!(head.field("sec-websocket-extensions"), Some(expected));
            }
        },
    );
}

#[test]
fn compressed_messages_come_back_compressed() {
    let server = frugal_echo();
    let mut client = open(&server);
    for len in [0, 1, 127, 128, 1000, LIMIT] {
        let payload = vec![b'x'; len];
        client.send(&compressed(&payload));
        let echoed = client.message();
        assert_eq!(echoed.rsv1, len >= 128, "{len}");
        assert!(inflate(&echoed) == payload, "{len}");
    }
    client.send(&text("plain messages are still messages"));
    client.expect_text("plain messages are still messages");
    // Context takeover is the client's to use, too: the second message refers to the first.
    let server = echo(&[]);
    let mut client = open(&server);
    client.send(&frame(FIN | RSV1 | TEXT, &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]));
    client.expect_text("Hello");
    client.send(&frame(FIN | RSV1 | TEXT, &[0xF2, 0x00, 0x11, 0x00, 0x00]));
    client.expect_text("Hello");
}

#[test]
fn cp_01_a_bomb_ends_at_the_limit() {
    let mut server = frugal_echo();
    for len in [LIMIT + 1, 16 << 20, 256 << 20] {
        let bomb = bomb(len);
        let mut client = open(&server);
        let (rss, cpu) = (server.rss_kib(), server.cpu());
        // A bomb that is too long even before it inflates is refused by its header.
        let _ = client.try_send(&frame(FIN | RSV1 | BINARY, &bomb));
        client.expect_close(1009);
        assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 4096);
        assert_below("CPU for a bomb", server.cpu_since(cpu), millis(200));
    }
    server.assert_alive();
}

#[test]
fn cp_02_a_bomb_in_pieces_is_no_larger() {
    let server = frugal_echo();
    let bomb = bomb(16 << 20);
    let mut client = open(&server);
    let rss = server.rss_kib();
    let mut answer = None;
    for (at, piece) in bomb.chunks(20).enumerate() {
        let first = if at == 0 { RSV1 | BINARY } else { 0 };
        let _ = client.try_send(&frame(first, piece));
        answer = client.try_frame(millis(5)).ok();
        if answer.is_some() {
            break;
        }
        assert!(at < 20, "400 octets inflate to 400,000");
    }
    assert_eq!(answer.and_then(|close| close.close_code()), Some(1009));
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 4096);
}

#[test]
fn cp_02_many_small_bombs_leave_nothing_behind() {
    let server = frugal_echo();
    let mut client = open(&server);
    let bomb = frame(FIN | RSV1 | BINARY, &bomb(LIMIT));
    let mut grown = 0;
    for round in 0..200 {
        client.send(&bomb);
        assert_eq!(inflate(&client.message()).len(), LIMIT);
        if round == 20 {
            grown = server.rss_kib();
        }
    }
    assert_below("growth in KiB", server.rss_kib().saturating_sub(grown), 1024);
}

#[test]
fn ms_06_the_limit_is_that_of_the_message() {
    let server = frugal_echo();
    for len in [LIMIT - 1, LIMIT] {
        let mut client = open(&server);
        client.send(&frame(FIN | RSV1 | BINARY, &bomb(len)));
        assert_eq!(inflate(&client.message()).len(), len);
    }
}

#[test]
fn cp_03_what_is_not_deflate_data_is_1007() {
    let mut server = frugal_echo();
    let good = deflate(b"to be cut somewhere in the middle of a block, where nothing good can follow");
    for_each(
        [
            vec![],
            vec![0xFF; 20],
            vec![0, 5, 0, 0, 0, b'H', b'e', b'l', b'l', b'o', 0],
            vec![0, 5, 0, 0xFA, 0xFF, b'H'],
            vec![0xF2, 0x00, 0x11, 0x00, 0x00],
            // A zlib header that asks for a preset dictionary.
            vec![0x78, 0xBB, 1, 2, 3, 4, 5, 6],
            good[..good.len() / 2].to_vec(),
        ],
        |payload| {
            let mut client = open(&server);
            client.send(&frame(FIN | RSV1 | TEXT, &payload));
            client.expect_close_in(&[1007]);
        },
    );
    server.assert_alive();
}

#[test]
fn cp_04_no_offer_breaks_a_handshake() {
    let mut server = frugal_echo();
    let declined = |offer: &str| {
        let head = Client::upgrade(server.addr, "/", &format!("Sec-WebSocket-Extensions: {offer}\r\n")).1;
        assert_eq!(head.field("sec-websocket-extensions"), None, "{offer}");
    };
    for bits in ["7", "16", "abc", "-1", "0", "08", "1e1", "4294967304", "\"16\"", "8"] {
        declined(&format!("permessage-deflate; server_max_window_bits={bits}"));
    }
    for offer in [
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "x-webkit-deflate-frame",
    ] {
        declined(offer);
    }
    for offer in
        ["permessage-deflate; =8", "permessage-deflate; server_max_window_bits=\"8", "a b", ";", "a=b"]
    {
        let request = upgrade_request("/", &format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        let head = head_of(server.addr, request.as_bytes()).1.expect("an answer");
        assert_eq!(head.status, 400, "{offer}");
    }
    // Two fields are one list.
    let two = "Sec-WebSocket-Extensions: permessage-deflate; unknown\r\n".to_owned() + OFFER;
    let head = Client::upgrade(server.addr, "/", &two).1;
    assert!(head.field("sec-websocket-extensions").is_some());
    server.assert_alive();
}

/// What a connection costs that agreed on the extension and used it once, in KiB.
fn kib_per_connection(server: &Server, count: usize) -> u64 {
    let message = compressed(&[b'x'; 1000]);
    let mut clients = Vec::new();
    let use_once = |client: &mut Client| {
        client.send(&message);
        assert_eq!(inflate(&client.message()), [b'x'; 1000]);
    };
    use_once(&mut open(server));
    let rss = server.rss_kib();
    for _ in 0..count {
        let mut client = open(server);
        use_once(&mut client);
        clients.push(client);
    }
    server.rss_kib().saturating_sub(rss) / count as u64
}

#[test]
fn cp_05_connections_without_context_takeover_stay_small() {
    let server = frugal_echo();
    assert_below("KiB per connection", kib_per_connection(&server, 2_000), 2);
}

#[test]
fn cp_06_rsv1_on_the_wrong_frame_is_1002() {
    let server = frugal_echo();
    for_each(
        [
            frame(FIN | RSV1 | PING, b""),
            frame(FIN | RSV1 | CLOSE, b""),
            frame(FIN | RSV1, b""),
            frame(FIN | RSV1 | 0x20 | TEXT, b""),
            [frame(RSV1 | TEXT, &[0xF2]), frame(FIN | RSV1, &[0])].concat(),
            [frame(TEXT, b"a"), frame(FIN | RSV1, &[0])].concat(),
        ],
        |bytes| {
            let mut client = open(&server);
            client.send(&bytes);
            client.expect_close(1002);
        },
    );
}

#[test]
fn a_broadcast_reaches_plain_and_compressing_clients_alike() {
    for flags in [&["--deflate"][..], &["--deflate", "--deflate-no-context-takeover"]] {
        let server = Launch::fanout().args(flags).start();
        let mut plain = Client::open(server.addr);
        let ask = |parameters: &str| {
            let field = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n");
            Client::upgrade(server.addr, "/", &field).0
        };
        let mut all = ask("; server_no_context_takeover");
        let mut narrow = ask("; server_no_context_takeover; server_max_window_bits=9");
        let mut own = ask("");
        let long = "said to everyone ".repeat(40);
        for message in [&long[..], "short"] {
            plain.send(&text(message));
            plain.expect_text(message);
            for client in [&mut all, &mut narrow] {
                let frame = client.message();
                assert_eq!(
                    (inflate(&frame), frame.rsv1),
                    (message.as_bytes().to_vec(), message.len() >= 128)
                );
            }
            let frame = own.message();
            if message == long {
                assert_eq!((inflate(&frame), frame.rsv1), (message.as_bytes().to_vec(), true));
            }
        }
    }
}
