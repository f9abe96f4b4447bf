//! HS rows: the opening handshake in hostile hands.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::{
    ACCEPT, Client, FIN, Head, KEY, Launch, PING, PONG, SOON, assert_below, for_each, frame, head_of, millis,
    secs, text, upgrade_request, upgrade_with, wait_until,
};

/// The answer to these bytes is an error with one of these statuses, and then the connection ends, with not a byte
/// more than that one response.
#[track_caller]
pub(crate) fn expect_refusal(addr: SocketAddr, request: &[u8], statuses: &[u16]) -> Head {
    let shown = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
    let (mut client, head) = head_of(addr, request);
    let head = head.unwrap_or_else(|| panic!("no answer to {shown:?}"));
    assert!(statuses.contains(&head.status), "{} instead of {statuses:?} for {shown:?}", head.status);
    expect_close_after(&mut client, &head, &shown);
    head
}

#[track_caller]
fn expect_close_after(client: &mut Client, head: &Head, shown: &str) {
    assert!(head.has_token("connection", "close"), "no `Connection: close` for {shown:?}: {}", head.raw);
    client.half_close();
    let end = client.end(secs(3));
    assert_ne!(end, crate::support::End::Timeout, "still open after {shown:?}");
    let rest = client.take_unread();
    let len = head.field("content-length").map(|len| len.parse::<usize>().unwrap());
    assert_eq!(
        Some(rest.len()),
        len,
        "bytes after the refusal of {shown:?}: {:?}",
        String::from_utf8_lossy(&rest)
    );
}

#[track_caller]
pub(crate) fn expect_upgrade(addr: SocketAddr, request: &[u8]) -> (Client, Head) {
    let shown = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
    let (client, head) = head_of(addr, request);
    let head = head.unwrap_or_else(|| panic!("no answer to {shown:?}"));
    assert_eq!(head.status, 101, "for {shown:?}: {}", head.raw);
    assert_eq!(head.field("sec-websocket-accept"), Some(ACCEPT));
    (client, head)
}

/// Bytes of which nobody knows what the server will say, only that it must say or do something at once.
#[track_caller]
pub(crate) fn status_of(addr: SocketAddr, request: &[u8]) -> Option<u16> {
    head_of(addr, request).1.map(|head| head.status)
}

#[test]
fn s3_s4_the_switching_protocols_head() {
    let server = Launch::echo().start();
    let (mut client, head) = Client::upgrade(server.addr, "/any/path?of=all", "");
    assert!(head.raw.starts_with("HTTP/1.1 101 "), "{}", head.raw);
    assert!(head.field("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    assert!(head.has_token("connection", "upgrade"));
    for absent in
        ["sec-websocket-protocol", "sec-websocket-extensions", "content-length", "transfer-encoding"]
    {
        assert_eq!(head.field(absent), None, "{}", head.raw);
    }
    client.echo("hello");
}

#[test]
fn s1_an_upgrade_to_something_else_is_a_complete_bad_request() {
    let server = Launch::serve().start();
    for line in ["Upgrade: h2c", "Upgrade: websocketx", "Upgrade: web socket", "Upgrade: TLS/1.0"] {
        let request = upgrade_with("GET /ws HTTP/1.1", &[("Upgrade", line)], "");
        let head = expect_refusal(server.addr, request.as_bytes(), &[400]);
        assert!(head.raw.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{}", head.raw);
    }
    let request = upgrade_with("GET /ws HTTP/1.1", &[("Upgrade", "uPgRaDe: WebSocket")], "");
    expect_upgrade(server.addr, request.as_bytes());
}

#[test]
fn s2_an_upgrade_attempt_is_logged_with_peer_path_and_origin() {
    let server = Launch::serve().env("RUST_LOG", "debug").start();
    let (client, _) = Client::upgrade(server.addr, "/ws", "Origin: http://localhost:4711\r\n");
    let line = server.wait_for_log("http://localhost:4711");
    assert!(line.contains("/ws"), "the path: {line}");
    assert!(line.contains(&client.stream.local_addr().unwrap().to_string()), "the peer: {line}");
}

/// Waits for all to be cut and returns the seconds from `start` at which each was; `each_round` runs every 0.2 s.
fn watch_cuts(
    clients: &mut [Client],
    start: Instant,
    mut each_round: impl FnMut(&mut Client, usize),
) -> Vec<f64> {
    let mut cuts = vec![None; clients.len()];
    let mut round = 0;
    while cuts.iter().any(Option::is_none) && start.elapsed() < secs(14) {
        for (client, cut) in clients.iter_mut().zip(&mut cuts).filter(|(_, cut)| cut.is_none()) {
            each_round(client, round);
            if client.has_ended() {
                *cut = Some(start.elapsed().as_secs_f64());
            }
        }
        round += 1;
        std::thread::sleep(millis(200));
    }
    let left = cuts.iter().filter(|cut| cut.is_none()).count();
    assert_eq!(left, 0, "of {} connections were never cut", cuts.len());
    cuts.into_iter().flatten().collect()
}

#[test]
fn hs_01_slowloris_is_cut_at_the_deadline() {
    let server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let base = server.descriptors();
    let start = Instant::now();
    let mut drips: Vec<Client> = (0..200).map(|_| Client::connect(server.addr)).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: {}", "a".repeat(200));
    let mut slowest = Duration::ZERO;
    let mut last_round = usize::MAX;
    let cuts = watch_cuts(&mut drips, start, |client, round| {
        let _ = client.try_send(&head.as_bytes()[round..=round]);
        if round != last_round {
            last_round = round;
            let asked = Instant::now();
            healthy.echo("still here");
            slowest = slowest.max(asked.elapsed());
        }
    });
    let (first, last) = cuts.iter().fold((f64::MAX, 0.0_f64), |(a, b), cut| (a.min(*cut), b.max(*cut)));
    assert!(first >= 9.0 && last <= 14.0, "cut between {first:.1} s and {last:.1} s after accept");
    for drip in &mut drips {
        let answer = String::from_utf8_lossy(&drip.take_unread()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    }
    assert_below("a healthy client's slowest echo", slowest, secs(1));
    drop(drips);
    server.wait_for_descriptors(base, SOON);
    assert_below("CPU of 200 drips", server.cpu(), secs(5));
}

#[test]
fn hs_02_mute_connections_are_cut_at_the_deadline() {
    let server = Launch::echo().start();
    let base = server.descriptors();
    let start = Instant::now();
    let mut mute: Vec<Client> = (0..100).map(|_| Client::connect(server.addr)).collect();
    let cuts = watch_cuts(&mut mute, start, |_, _| {});
    assert!(cuts.iter().all(|cut| (9.0..=14.0).contains(cut)), "cut at {cuts:?}");
    server.wait_for_descriptors(base, secs(8));
    assert_below("CPU of 100 mute connections", server.cpu(), secs(2));
}

#[test]
fn hs_03_an_endless_field_is_refused_past_16_kib() {
    let server = Launch::echo().start();
    let fits = upgrade_request("/", &format!("X-Long: {}\r\n", "a".repeat(15 * 1024)));
    expect_upgrade(server.addr, fits.as_bytes());
    let too_long = upgrade_request("/", &format!("X-Long: {}\r\n", "a".repeat(17 * 1024)));
    expect_refusal(server.addr, too_long.as_bytes(), &[431]);
    let unfinished = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "a".repeat(17 * 1024));
    expect_refusal(server.addr, unfinished.as_bytes(), &[431]);

    let (cpu, rss) = (server.cpu(), server.rss_kib());
    let mut client = Client::connect(server.addr);
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Endless: ");
    let chunk = vec![b'a'; 64 * 1024];
    let sent = (0..320).take_while(|_| client.try_send(&chunk).is_ok()).count();
    // A reset may overtake the answer once the server has stopped reading: what counts is that it did stop.
    if let Ok(head) = client.try_head(SOON) {
        assert_eq!(head.status, 431, "{}", head.raw);
    }
    client.half_close();
    assert_ne!(client.end(secs(8)), crate::support::End::Timeout, "still open after {sent} chunks");
    assert_below("CPU for 20 MB of a field", server.cpu_since(cpu), secs(1));
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 4096);
}

#[test]
fn hs_04_more_than_100_fields_are_refused() {
    let server = Launch::echo().start();
    let fields = |n: usize| "X-Field: 1\r\n".repeat(n);
    let (mut client, _) = expect_upgrade(server.addr, upgrade_request("/", &fields(95)).as_bytes());
    client.echo("a hundred fields");
    expect_refusal(server.addr, upgrade_request("/", &fields(96)).as_bytes(), &[431]);
    let many = "a:b\r\n".repeat(1400);
    expect_refusal(server.addr, upgrade_request("/", &many).as_bytes(), &[431]);
    // The fields that matter come last: they must not be cut off and the request taken for another one.
    let request = format!("GET / HTTP/1.1\r\n{many}Host: localhost\r\nUpgrade: websocket\r\n\r\n");
    expect_refusal(server.addr, request.as_bytes(), &[431]);
}

#[test]
fn hs_05_a_request_target_of_60_kb_is_refused() {
    let server = Launch::serve().start();
    let long = format!("/{}", "a".repeat(60_000));
    expect_refusal(server.addr, upgrade_request(&long, "").as_bytes(), &[414, 431]);
    expect_refusal(server.addr, format!("GET {long}").as_bytes(), &[414, 431]);
}

#[test]
fn hs_06_a_request_in_one_byte_segments_costs_no_more_than_its_bytes() {
    let server = Launch::echo().start();
    let head = upgrade_request("/", &format!("X-Long: {}\r\n", "a".repeat(14_000)));
    let mut client = Client::connect(server.addr);
    let start = server.cpu();
    for byte in head.as_bytes().chunks(1) {
        client.send(byte);
    }
    assert_eq!(client.head().status, 101);
    let head_cost = server.cpu_since(start);
    client.echo("and it works");
    // The same number of segments through the frame parser is the measure: a head parsed again per byte costs more.
    let message = frame(FIN | 1, "a".repeat(head.len()).as_bytes());
    let start = server.cpu();
    for byte in message.chunks(1) {
        client.send(byte);
    }
    assert_eq!(client.message().payload.len(), head.len());
    let frame_cost = server.cpu_since(start);
    assert_below("CPU of the head", head_cost, frame_cost * 2 + millis(150));
}

#[test]
fn hs_07_no_field_value_costs_more_than_reading_it() {
    let server = Launch::echo().start();
    let values = [
        ",".repeat(12_000),
        " ".repeat(12_000),
        ";".repeat(12_000),
        "a;".repeat(6_000),
        format!("a; b=\"{}", "\\".repeat(12_000)),
        format!("a; b=\"{}\"", "\\\"".repeat(6_000)),
        format!("a;b={}!", " ".repeat(12_000)),
        format!("a{}!", "\t ".repeat(6_000)),
        "permessage-deflate; ".repeat(600),
        "permessage-deflate,".repeat(600),
        "x=".repeat(6_000),
    ];
    let start = server.cpu();
    for value in &values {
        for name in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
            let asked = Instant::now();
            let status =
                status_of(server.addr, upgrade_request("/", &format!("{name}: {value}\r\n")).as_bytes());
            assert!(matches!(status, Some(101 | 400)), "{status:?} for {name}: {value:.40}…");
            assert_below("time to answer", asked.elapsed(), secs(2));
        }
    }
    assert_below("CPU for 22 long values", server.cpu_since(start), millis(600));
}

#[test]
fn hs_08_s41_another_version_is_told_which_one() {
    let server = Launch::echo().start();
    for_each(
        ["12", "14", "0", "8", "7", "255", "1.3", "-13", "abc", "13, 8", "013", "+13", "1 3"],
        |version| {
            let line = format!("Sec-WebSocket-Version: {version}");
            let request = upgrade_with("GET / HTTP/1.1", &[("Sec-WebSocket-Version", &line)], "");
            let well_formed = version.parse::<u8>().is_ok_and(|n| n.to_string() == version);
            let allowed: &[u16] = if well_formed { &[426] } else { &[400, 426] };
            let head = expect_refusal(server.addr, request.as_bytes(), allowed);
            if head.status == 426 {
                assert_eq!(head.field("sec-websocket-version"), Some("13"), "{}", head.raw);
            }
        },
    );
    let absent = upgrade_with("GET / HTTP/1.1", &[("Sec-WebSocket-Version", "")], "");
    expect_refusal(server.addr, absent.as_bytes(), &[400, 426]);
    let twice = upgrade_request("/", "Sec-WebSocket-Version: 13\r\n");
    expect_refusal(server.addr, twice.as_bytes(), &[400]);
}

#[test]
fn hs_09_s41_a_flawed_upgrade_is_never_a_101() {
    let server = Launch::serve().start();
    let keys =
        ["", "x", "====", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ==="];
    let keys = keys.into_iter().chain([
        "dGhlIHNhbXBsZSBub25j",           // 15 bytes
        "dGhlIHNhbXBsZSBub25jZTE=",       // 17 bytes
        "dGhlIHNhbXBsZSBub25jZR==",       // bits after the end
        "dGhlIHNhbXBsZSBub25j!Q==",       // not in the alphabet
        "dGhlIHNhbXBsZSBu b25jZQ==",      // a space inside
        "dGhlIHNhbXBsZSBub25jZQ==, x",    // a list
        "dGhlIHNhbXBs-_Bub25jZQ==",       // base64url
        "\u{a0}dGhlIHNhbXBsZSBub25jZQ==", // not a blank for HTTP
    ]);
    for_each(keys, |key| {
        let line = format!("Sec-WebSocket-Key: {key}");
        let request = upgrade_with("GET /ws HTTP/1.1", &[("Sec-WebSocket-Key", &line)], "");
        expect_refusal(server.addr, request.as_bytes(), &[400]);
    });
    for_each(
        [
            ("Sec-WebSocket-Key", ""),
            ("Connection", ""),
            ("Connection", "Connection: close"),
            ("Connection", "Connection: keep-alive"),
            ("Connection", "Connection: notupgrade"),
            ("Connection", "Connection: upgrade-insecure"),
            ("Upgrade", "Upgrade: "),
        ],
        |(name, line)| {
            let request = upgrade_with("GET /ws HTTP/1.1", &[(name, line)], "");
            expect_refusal(server.addr, request.as_bytes(), &[400, 426]);
        },
    );
    let twice = upgrade_request("/ws", &format!("Sec-WebSocket-Key: {KEY}\r\n"));
    expect_refusal(server.addr, twice.as_bytes(), &[400]);
    for_each(["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "get", "CONNECT", "TRACE"], |method| {
        let request = upgrade_with(&format!("{method} /ws HTTP/1.1"), &[], "");
        let (_, head) = head_of(server.addr, request.as_bytes());
        assert!(head.is_some_and(|head| (400..600).contains(&head.status)), "{method}");
    });
    for_each(
        [
            ("GET /ws HTTP/1.0", [400, 426, 505].as_slice()),
            ("GET /ws HTTP/2.0", &[400, 505]),
            ("GET /ws HTTP/0.9", &[400, 505]),
            ("GET /ws", &[400, 505]),
            ("GET /ws XTTP/1.1", &[400]),
        ],
        |(request_line, statuses)| {
            let request = upgrade_with(request_line, &[], "");
            expect_refusal(server.addr, request.as_bytes(), statuses);
        },
    );
}

#[test]
fn hs_09_tokens_are_compared_in_any_case_and_place() {
    let server = Launch::echo().start();
    for_each(
        [
            ("Connection", "Connection: keep-alive, Upgrade"),
            ("Connection", "connection:upgrade"),
            ("Connection", "CONNECTION: UPGRADE\t"),
            ("Connection", "Connection: keep-alive\r\nConnection: upgrade"),
            ("Connection", "Connection: ,, upgrade ,"),
            ("Upgrade", "UPGRADE: WEBSOCKET"),
            ("Upgrade", "Upgrade: h2c, websocket"),
            ("Host", "Host: [::1]:8080"),
        ],
        |(name, line)| {
            let request =
                upgrade_with("GET / HTTP/1.1", &[(name, line)], "X-Other: \u{e9}\u{1f600}\r\nX-Empty:\r\n");
            expect_upgrade(server.addr, request.as_bytes());
        },
    );
    let absolute = upgrade_with("GET http://localhost/some/where HTTP/1.1", &[], "");
    expect_upgrade(server.addr, absolute.as_bytes());
}

#[test]
fn hs_10_an_upgrade_with_a_body_is_refused() {
    let server = Launch::echo().start();
    let body = frame(FIN | PING, b"smuggled");
    for_each(
        [
            "Content-Length: 14\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Content-Length: 14\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: +14\r\n",
            "Content-Length: 0x0e\r\n",
            "Content-Length: 14\r\nContent-Length: 15\r\n",
            "Content-Length: 14, 15\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Transfer-Encoding: \r\n",
        ],
        |fields| {
            let mut request = upgrade_request("/", fields).into_bytes();
            request.extend_from_slice(&body);
            expect_refusal(server.addr, &request, &[400]);
        },
    );
}

#[test]
fn hs_11_nothing_behind_a_refused_upgrade_is_a_request() {
    let server = Launch::serve().start();
    let second = "GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for_each(
        [
            ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 99"),
            ("Sec-WebSocket-Key", "Sec-WebSocket-Key: short"),
            ("Upgrade", "Upgrade: h2c"),
        ],
        |(name, line)| {
            let request = upgrade_with("GET /ws HTTP/1.1", &[(name, line)], "") + second;
            expect_refusal(server.addr, request.as_bytes(), &[400, 426]);
        },
    );
    let request = upgrade_request("/ws", "Origin: https://evil.example\r\n") + second;
    expect_refusal(server.addr, request.as_bytes(), &[403]);
    let request = upgrade_request("/nowhere", "") + second;
    expect_refusal(server.addr, request.as_bytes(), &[404]);
}

#[test]
fn hs_12_a_malformed_head_is_refused() {
    let server = Launch::serve().start();
    for extra in [
        "X-Space : 1\r\n",
        "X-Fold: 1\r\n folded\r\n",
        "X-Fold: 1\r\n\tfolded\r\n",
        "X-Bare: 1\nX-Lf: 2\r\n",
        "X-Bare: 1\rX-Cr: 2\r\n",
        "X-Nul: a\0b\r\n",
        "X-Ctl: a\x01b\r\n",
        "X-Esc: a\x1b[31mb\r\n",
        "X-Del: a\x7fb\r\n",
        "X-\0Name: 1\r\n",
        "X(Name): 1\r\n",
        "X\u{e9}: 1\r\n",
        ": no name\r\n",
        "no colon\r\n",
        "Host: other\r\n",
        "host: localhost\r\n",
    ] {
        let request = upgrade_request("/ws", extra);
        expect_refusal(server.addr, request.as_bytes(), &[400]);
    }
    let good = upgrade_request("/ws", "");
    for_each(
        [
            good.replace("\r\n", "\n"),
            good.replacen("\r\n", "\n", 1),
            good.replace("\r\n\r\n", "\r\n\n"),
            good.replace("Host: localhost\r\n", ""),
            good.replace("GET /ws", "GET  /ws"),
            good.replace("GET /ws", "GET\t/ws"),
            good.replace("/ws HTTP", "/ws  HTTP"),
            good.replace("/ws HTTP", "/w s HTTP"),
            good.replace("/ws HTTP", "/w\0s HTTP"),
            good.replace("/ws HTTP", "ws HTTP"),
            good.replace("HTTP/1.1\r\n", "http/1.1\r\n"),
            good.replace("HTTP/1.1\r\n", "HTTP/1.1 \r\n"),
            good.replacen("HTTP/1.1\r\n", "HTTP/1.1\r\n ", 1),
            good.replace("GET", "G\x01T"),
            good.replace("Host: localhost", "Host: local host"),
            good.replace("Host: localhost", "Host: a/b@c"),
        ],
        |request| {
            // A bare LF can make the head one that never ends for a strict reader: then the tail makes it 400.
            expect_refusal(server.addr, request.as_bytes(), &[400]);
        },
    );
    Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: json\r\n").0.frame();
}

#[test]
fn hs_15_bytes_of_other_protocols_end_at_once() {
    let server = Launch::serve().env("RUST_LOG", "trace").start();
    let mut noise = b"\x1b]0;owned\x07\r\nfake line\x9b".to_vec();
    noise.extend((0..=255).rev());
    let client_hello =
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x01\x02\x03\x04\x05\x06\x07".to_vec();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let ssh = b"SSH-2.0-OpenSSH_9.9\r\n".to_vec();
    let in_target = b"GET /\x1b]0;owned\x07 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    for bytes in [noise, client_hello, preface, ssh, in_target, vec![0; 64], vec![0xFF; 64]] {
        let mut client = Client::connect(server.addr);
        client.send(&bytes);
        if let Ok(head) = client.try_head(secs(3)) {
            assert!(matches!(head.status, 400 | 505), "{bytes:?}: {}", head.raw);
        }
        client.half_close();
        assert_ne!(client.end(secs(3)), crate::support::End::Timeout, "still open after {bytes:?}");
        let body = client.take_unread();
        assert!(!body.contains(&0x1b), "the bytes come back: {body:?}");
    }
    let hostile = ["\x1b", "\u{9b}", "\x07", "\0"];
    wait_until(SOON, "the server lives", || Client::upgrade(server.addr, "/ws", "").1.status == 101);
    let log = server.log();
    let raw = log.iter().find(|line| hostile.iter().any(|bytes| line.contains(bytes)));
    assert_eq!(raw, None, "control bytes reach the log");
    assert!(!log.iter().any(|line| line.starts_with("fake line")), "a peer writes log lines");
}

#[test]
fn hs_15_tls_on_a_port_without_it_is_named() {
    for bytes in [b"\x16\x03\x01\x02\0\x01\0\x01\xFC".as_slice(), b"\x16\x03\x01\x02\n"] {
        let server = Launch::serve().start();
        let mut client = Client::connect(server.addr);
        client.send(bytes);
        assert_eq!(client.response().0.status, 400);
        server.wait_for_log("TLS on a port without it");
    }
}

#[test]
fn hs_15_the_first_impossible_byte_is_enough() {
    let server = Launch::serve().start();
    // No end of line and no more bytes: a server that waits for the whole head would wait for its deadline.
    for bytes in [b"\x16\x03\x01".as_slice(), b"\0", b"GET /\x01", b"{\"json\":1}"] {
        let mut client = Client::connect(server.addr);
        client.send(bytes);
        if let Ok(head) = client.try_head(secs(3)) {
            assert_eq!(head.status, 400, "{bytes:?}");
        }
        assert_ne!(client.end(secs(7)), crate::support::End::Timeout, "still open after {bytes:?}");
    }
}

#[test]
fn hs_18_s6_frames_behind_the_request_are_answered_in_order() {
    let server = Launch::echo().start();
    for _ in 0..20 {
        let mut client = Client::connect(server.addr);
        let mut bytes = upgrade_request("/", "").into_bytes();
        bytes.extend(frame(FIN | PING, b"first"));
        bytes.extend(text("second"));
        bytes.extend(frame(FIN | PING, b"third"));
        bytes.extend(&text("fourth")[..7]);
        client.send(&bytes);
        assert_eq!(client.head().status, 101);
        client.expect(PONG, b"first");
        client.expect_text("second");
        client.expect(PONG, b"third");
        client.send(&text("fourth")[7..]);
        client.expect_text("fourth");
    }
}

#[test]
fn hs_18_frames_do_not_wait_for_more_bytes_when_the_head_comes_in_two_pieces() {
    let server = Launch::echo().start();
    let mut bytes = upgrade_request("/", "").into_bytes();
    let head_len = bytes.len();
    bytes.extend(text("glued"));
    for cut in [1, head_len - 4, head_len - 1, head_len, head_len + 1, head_len + 6, bytes.len() - 1] {
        let mut client = Client::connect(server.addr);
        client.send(&bytes[..cut]);
        std::thread::sleep(millis(30));
        client.send(&bytes[cut..]);
        assert_eq!(client.head().status, 101);
        client.expect_text("glued");
    }
}

#[test]
fn hs_19_no_path_leads_out_of_the_page() {
    let server = Launch::serve().start();
    for_each(
        [
            "/../../etc/passwd",
            "/../../../../../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/%2e%2e%2fetc%2fpasswd",
            "/..%2f..%2fetc/passwd",
            "/..\\..\\etc\\passwd",
            "/..%5c..%5cetc%5cpasswd",
            "/app.js/../../etc/passwd",
            "/app.js%00.html",
            "/%00",
            "//etc/passwd",
            "/etc/passwd",
            "/.//etc/passwd",
            "/Cargo.toml",
            "/src/main.rs",
            "/.git/config",
            "/static/app.js/",
            "/proc/self/environ",
            "/%",
            "/%zz",
            "/app.js~",
            "http://localhost/../../etc/passwd",
            "file:///etc/passwd",
            "*",
        ],
        |target| {
            let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let (mut client, head) = head_of(server.addr, request.as_bytes());
            let head = head.unwrap_or_else(|| panic!("no answer to {target}"));
            assert!(matches!(head.status, 400 | 404), "{target}: {}", head.raw);
            client.end(secs(3));
            let body = String::from_utf8_lossy(&client.take_unread()).into_owned();
            assert!(!body.contains("root:") && !body.contains("[package]"), "{target}: {body}");
            assert_below("a short body", body.len(), 1024);
        },
    );
}
