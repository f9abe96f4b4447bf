//! What devices, browsers, proxies and libraries of other makes send, and what they expect.

use std::net::SocketAddr;

use crate::handshake::{expect_refusal, expect_upgrade, status_of};
use crate::ops::{Metrics, get};
use crate::support::{Client, Launch, head_of, upgrade_request, upgrade_with};

fn plain(addr: SocketAddr, head: &str) -> Option<u16> {
    status_of(addr, head.as_bytes())
}

#[test]
fn an_upgrade_with_a_content_length_of_zero_has_no_body() {
    for launch in [Launch::echo(), Launch::serve()] {
        let server = launch.start();
        for length in
            ["Content-Length: 0\r\n", "Content-Length: 00\r\n", "Content-Length: 0\r\ncontent-length: 0\r\n"]
        {
            expect_upgrade(server.addr, upgrade_request("/ws", length).as_bytes());
        }
        for body in ["Content-Length: 1\r\n", "Content-Length: -0\r\n", "Transfer-Encoding: chunked\r\n"] {
            expect_refusal(server.addr, upgrade_request("/ws", body).as_bytes(), &[400]);
        }
    }
}

#[test]
fn an_upgrade_to_another_protocol_is_ignored() {
    let server = Launch::serve().start();
    let h2c =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("POST", "/", 405),
        ("GET", "/nothing", 404),
        ("GET", "/ws", 426),
    ] {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{h2c}Content-Length: 0\r\n\r\n");
        assert_eq!(plain(server.addr, &request), Some(status), "{method} {path}");
    }
    let tls = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: TLS/1.2\r\n\r\n";
    assert_eq!(plain(server.addr, tls), Some(200));
    // A list that names WebSocket among others is an upgrade, and so is a request with any field of RFC 6455.
    let list = upgrade_with("GET /ws HTTP/1.1", &[("Upgrade", "Upgrade: h2c, WebSocket")], "");
    expect_upgrade(server.addr, list.as_bytes());
    for field in [
        "Upgrade: websocket",
        "Sec-WebSocket-Key: a",
        "sec-websocket-protocol: a",
        "SEC-WEBSOCKET-Extensions: a",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n");
        assert_eq!(plain(server.addr, &request), Some(400), "{field}");
    }
}

#[test]
fn a_host_has_a_port_that_is_a_number_or_none() {
    for launch in [Launch::echo(), Launch::serve()] {
        let server = launch.start();
        for bad in [
            "localhost:b",
            "localhost:80:81",
            "localhost:99999",
            "localhost:-1",
            "[::1",
            "[::g]",
            "::1",
            "a@b",
        ] {
            for request in [
                upgrade_with("GET /ws HTTP/1.1", &[("Host", &format!("Host: {bad}"))], ""),
                format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n"),
                upgrade_with(&format!("GET http://{}/ws HTTP/1.1", bad.replace(' ', "%")), &[], ""),
            ] {
                assert_eq!(plain(server.addr, &request), Some(400), "{request}");
            }
        }
        for good in ["localhost:", "localhost:1", "LOCALHOST.:65535", "[::1]:80", "127.0.0.1"] {
            let request = upgrade_with("GET /ws HTTP/1.1", &[("Host", &format!("Host: {good}"))], "");
            expect_upgrade(server.addr, request.as_bytes());
        }
    }
}

#[test]
fn an_asterisk_is_no_resource_to_be_upgraded() {
    for launch in [Launch::echo(), Launch::serve()] {
        let server = launch.start();
        for line in ["GET * HTTP/1.1", "OPTIONS * HTTP/1.1", "HEAD * HTTP/1.1"] {
            assert_eq!(plain(server.addr, &upgrade_with(line, &[], "")), Some(400), "{line}");
        }
        assert_eq!(plain(server.addr, "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n"), Some(400));
        let options = plain(server.addr, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(matches!(options, Some(404 | 405 | 426)), "{options:?}");
    }
}

#[test]
fn echo_and_fanout_agree_to_a_subprotocol_that_is_offered() {
    for command in ["echo", "fanout"] {
        let server = Launch::switchboard(&[command, "--listen", "127.0.0.1:0"]).start();
        let chosen = |addr, offer: &str| {
            let lines = format!("Sec-WebSocket-Protocol: {offer}\r\n");
            let (_, head) = Client::upgrade(addr, "/", if offer.is_empty() { "" } else { &lines });
            head.field("sec-websocket-protocol").map(str::to_owned)
        };
        assert_eq!(chosen(server.addr, "ocpp1.6, ocpp2.0.1").as_deref(), Some("ocpp1.6"));
        assert_eq!(chosen(server.addr, "mqtt").as_deref(), Some("mqtt"));
        assert_eq!(chosen(server.addr, ""), None);
    }
}

#[test]
fn ipv4_and_ipv6_may_share_a_port() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (first, second) in [("0.0.0.0", "[::]"), ("[::1]", "127.0.0.1")] {
        let (first, second) = (format!("{first}:{port}"), format!("{second}:{port}"));
        let server = Launch::switchboard(&["echo", "--listen", &first, "--listen", &second]).start();
        for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            Client::open(address.parse().unwrap()).echo("hello");
        }
        drop(server);
    }
    // Alone, the IPv6 address that stands for all takes IPv4, too.
    let server = Launch::switchboard(&["echo", "--listen", &format!("[::]:{port}")]).start();
    Client::open(SocketAddr::from(([127, 0, 0, 1], port))).echo("hello");
    drop(server);
}

fn origin_status(addr: SocketAddr, origin: &str) -> Option<u16> {
    status_of(addr, upgrade_request("/ws", &format!("Origin: {origin}\r\n")).as_bytes())
}

#[test]
fn origins_without_a_host_can_be_allowed() {
    for (allowed, origin) in [
        ("file://", "file://"),
        ("null", "null"),
        ("", ""),
        ("capacitor://localhost", "capacitor://localhost"),
        ("*", "https://anything.example"),
    ] {
        let server = Launch::serve().start();
        assert_eq!(origin_status(server.addr, origin), Some(403), "{origin}");
        let server = Launch::serve().args(&["--allow-origin", allowed]).start();
        assert_eq!(origin_status(server.addr, origin), Some(101), "{origin}");
        if allowed != "*" {
            assert_eq!(origin_status(server.addr, "https://evil.example"), Some(403));
        }
    }
    // The advice of the refusal can be followed.
    let server = Launch::serve().start();
    let mut client = Client::connect(server.addr);
    client.send(upgrade_request("/ws", "Origin: file://\r\n").as_bytes());
    let (_, body) = client.response();
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("--allow-origin \"file://\""), "{body}");
}

fn host_status(addr: SocketAddr, path: &str, host: &str) -> Option<u16> {
    plain(addr, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn op_02_a_listed_host_is_understood_in_every_form_and_asked_for_on_every_path() {
    for (listed, good, bad) in [
        ("chat.example", "chat.example:8080", "evil.example"),
        ("chat.example:8443", "chat.example:8443", "chat.example:8444"),
        ("chat.example.", "chat.example", "chat.example.evil"),
        ("::1", "[::1]:8080", "[::2]:8080"),
        ("[::1]:8080", "[::1]:8080", "[::1]:8081"),
        ("*.chat.example", "a.chat.example", "chat.example"),
    ] {
        let server = Launch::serve().args(&["--allow-host", listed]).start();
        for path in ["/", "/metrics", "/healthz", "/readyz"] {
            assert_eq!(host_status(server.addr, path, good), Some(200), "{listed} {good} {path}");
            assert_eq!(host_status(server.addr, path, bad), Some(421), "{listed} {bad} {path}");
        }
        for (host, status) in [(good, 401), (bad, 421)] {
            let found = host_status(server.addr, "/api/v1/rooms", host);
            assert!(
                found == Some(status) || status == 401 && found == Some(404),
                "{listed} {host}: {found:?}"
            );
            let upgrade = upgrade_with("GET /ws HTTP/1.1", &[("Host", &format!("Host: {host}"))], "");
            let expected = if status == 421 { 421 } else { 101 };
            assert_eq!(plain(server.addr, &upgrade), Some(expected), "{listed} {host}");
        }
    }
}

#[test]
fn hosts_and_origins_that_can_never_match_are_refused_at_the_start() {
    for (flag, value) in [
        ("--allow-host", "http://chat.example"),
        ("--allow-host", "chat.example/"),
        ("--allow-host", "chat.example:port"),
        ("--allow-host", ""),
        ("--allow-origin", "chat.example"),
        ("--allow-origin", "https://*.example"),
        ("--allow-origin", "https://chat.example/page"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["serve", "--ephemeral", "--listen", "127.0.0.1:0", &format!("{flag}={value}")])
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{flag} {value}: {said}");
        assert!(said.contains(flag) && said.contains("write "), "{flag} {value}: {said}");
    }
}

#[test]
fn op_02_a_loopback_listener_answers_for_loopback_names_alone() {
    let server = Launch::serve().args(&["--internal-listen", "127.0.0.1:0"]).start();
    let operator = server.wait_for_log("Metrics and health at");
    let operator: SocketAddr =
        format!("127.0.0.1:{}", operator.rsplit_once(':').unwrap().1.trim()).parse().unwrap();
    for good in
        ["localhost", "LOCALHOST:1", "localhost.", "app.localhost", "127.0.0.1:8080", "127.1.2.3", "[::1]"]
    {
        assert_eq!(host_status(server.addr, "/", good), Some(200), "{good}");
        assert_eq!(host_status(operator, "/metrics", good), Some(200), "{good}");
    }
    for evil in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "x", "0.0.0.0"] {
        assert_eq!(host_status(server.addr, "/", evil), Some(421), "{evil}");
        let same_origin = format!("Origin: http://{evil}\r\n");
        let upgrade = upgrade_with("GET /ws HTTP/1.1", &[("Host", &format!("Host: {evil}"))], &same_origin);
        assert_eq!(plain(server.addr, &upgrade), Some(421), "{evil}");
    }
    assert_eq!(host_status(operator, "/metrics", "evil.example"), Some(421));
    // A scraper that knows an address only; a page cannot come by one.
    assert_eq!(host_status(operator, "/metrics", "10.0.0.7:9090"), Some(200));
    // A health check of HTTP/1.0 that sends no Host: no browser does that.
    assert_eq!(plain(server.addr, "GET / HTTP/1.0\r\n\r\n"), Some(200));
    // Told otherwise.
    let server = Launch::serve().args(&["--allow-host", "*"]).start();
    assert_eq!(host_status(server.addr, "/", "evil.example"), Some(200));
    let server = Launch::switchboard(&["serve", "--ephemeral", "--listen", "0.0.0.0:0"]).start();
    let everywhere = SocketAddr::from(([127, 0, 0, 1], server.port()));
    assert_eq!(host_status(everywhere, "/", "chat.example"), Some(200));
}

#[test]
fn what_is_turned_away_is_logged_with_what_was_compared_and_counted_by_reason() {
    let server = Launch::serve().args(&["--strict-subprotocol"]).start();
    assert_eq!(origin_status(server.addr, "https://evil.example"), Some(403));
    let line = server.wait_for_log("turned away");
    for part in ["reason=\"origin\"", "https://evil.example", "localhost", "/ws", "INFO"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(host_status(server.addr, "/", "evil.example"), Some(421));
    assert_eq!(plain(server.addr, &upgrade_request("/elsewhere", "")), Some(404));
    assert_eq!(plain(server.addr, &upgrade_request("/ws?token=no-such-token", "")), Some(401));
    assert_eq!(plain(server.addr, &upgrade_request("/ws", "Sec-WebSocket-Protocol: x\r\n")), Some(400));
    let metrics = Metrics::of(server.addr);
    for reason in ["origin", "host", "path", "token", "subprotocol"] {
        assert_eq!(metrics.value("switchboard_refusals_total", Some(("reason", reason))), 1, "{reason}");
    }
    assert_eq!(metrics.value("switchboard_upgrades_total", Some(("result", "refused"))), 4);
    // Many of one kind do not fill the log.
    for at in 0..50 {
        assert_eq!(origin_status(server.addr, &format!("https://evil{at}.example")), Some(403));
    }
    let lines = server.log().iter().filter(|line| line.contains("turned away")).count();
    assert!(lines < 16, "{lines} lines");
    assert!(!server.log().iter().any(|line| line.contains("no-such-token")), "a token in the log");
}

#[test]
fn a_client_that_keeps_its_window_is_understood_unless_it_is_asked_not_to() {
    use flate2::{Compress, Compression, FlushCompress};
    let compressed = |inner: &mut Compress, text: &str| {
        let mut out = Vec::with_capacity(1000);
        inner.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        crate::support::frame(0xC1, &out)
    };
    let flags = ["--deflate", "--deflate-no-context-takeover"];
    let server = Launch::echo().args(&flags).start();
    // Safari offers no parameter, and keeps its window whatever the answer says.
    let (mut safari, head) =
        Client::upgrade(server.addr, "/", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let agreed = head.field("sec-websocket-extensions").unwrap();
    assert!(agreed.contains("server_no_context_takeover") && !agreed.contains("client_no"), "{agreed}");
    let mut inner = Compress::new(Compression::best(), false);
    for _ in 0..3 {
        // The second and third are references to the first.
        safari.send(&compressed(&mut inner, "a text that is said again and again"));
        safari.expect_text("a text that is said again and again");
    }
    // The two sides can be set apart the other way, too.
    let server = Launch::echo().args(&["--deflate", "--deflate-client-no-context-takeover"]).start();
    let (_, head) = Client::upgrade(server.addr, "/", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let agreed = head.field("sec-websocket-extensions");
    assert_eq!(agreed, Some("permessage-deflate; client_no_context_takeover"));
}

#[test]
fn a_connection_stays_for_the_next_request_for_as_long_as_it_is_told_to() {
    let server = Launch::serve().args(&["--keep-alive-timeout", "1500"]).start();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = Client::connect(server.addr);
    for _ in 0..3 {
        client.send(request);
        assert_eq!(client.response().0.status, 200);
        std::thread::sleep(crate::support::millis(900));
    }
    client.expect_end(crate::support::secs(5));
    let server = Launch::serve().args(&["--keep-alive-timeout", "0"]).start();
    let (_, head) = head_of(server.addr, request);
    assert!(head.unwrap().has_token("connection", "close"));
    assert_eq!(get(server.addr, "/healthz").0, 200);
}
