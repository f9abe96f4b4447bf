//! HS-13, HS-14, HS-16, HS-17: who may connect, and what the answer may say.

use std::net::SocketAddr;

use crate::handshake::{expect_refusal, expect_upgrade, status_of};
use crate::support::{Client, Launch, head_of, millis, upgrade_request, upgrade_with};

fn origin_status(addr: SocketAddr, host: &str, origin: &str) -> Option<u16> {
    let host = format!("Host: {host}");
    let extra = format!("Origin: {origin}\r\n");
    status_of(addr, upgrade_with("GET /ws HTTP/1.1", &[("Host", &host)], &extra).as_bytes())
}

#[test]
fn hs_13_s31_s32_the_origin_policy() {
    let server = Launch::serve().start();
    let own = server.addr.to_string();
    Client::upgrade(server.addr, "/ws", "");
    for good in [
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://127.0.0.1:9",
        "http://[::1]",
        "http://[::1]:1234",
        &format!("http://{own}"),
    ] {
        assert_eq!(origin_status(server.addr, &own, good), Some(101), "{good}");
    }
    for bad in [
        "null",
        "https://evil.example",
        "http://localhost.evil.example",
        "http://evil-localhost",
        "http://notlocalhost:80",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "http://localhost@evil.example",
        "http://evil.example#localhost",
        "http://evil.example/http://localhost",
        "http://evil.example:80@localhost.x",
        "http://128.0.0.1",
        "http://1127.0.0.1",
        "http://[::1",
        "http://[::1]evil",
        "http://[::2]",
        "file://",
        "localhost",
        "//localhost",
        "http://",
        "http://localhost:x",
        "http://localhost http://evil.example",
        "javascript://localhost",
    ] {
        assert_eq!(origin_status(server.addr, &own, bad), Some(403), "{bad}");
    }
    let twice = upgrade_request("/ws", "Origin: http://localhost\r\nOrigin: https://evil.example\r\n");
    assert!(matches!(status_of(server.addr, twice.as_bytes()), Some(400 | 403)));
    let head = expect_refusal(server.addr, upgrade_request("/ws", "Origin: null\r\n").as_bytes(), &[403]);
    assert_eq!(head.field("upgrade"), None);
}

#[test]
fn hs_13_the_same_origin_is_the_one_the_client_asked_for() {
    let server = Launch::serve().args(&["--allow-host", "*"]).start();
    let status = |host, origin| origin_status(server.addr, host, origin);
    assert_eq!(status("chat.example.org:8080", "http://chat.example.org:8080"), Some(101));
    assert_eq!(status("chat.example.org", "http://chat.example.org"), Some(101));
    assert_eq!(status("chat.example.org:8080", "http://chat.example.org:8081"), Some(403));
    assert_eq!(status("chat.example.org", "http://chat.example.org.evil.example"), Some(403));
    assert_eq!(status("chat.example.org", "http://x-chat.example.org"), Some(403));
    assert_eq!(status("chat.example.org", "http://example.org"), Some(403));
}

#[test]
fn hs_13_an_allowed_origin_is_one_scheme_host_and_port() {
    let server = Launch::serve()
        .args(&["--allow-origin", "https://allowed.example", "--allow-origin"])
        .args(&["http://b.example:81", "--allow-host", "chat.example.org"]);
    let server = server.start();
    let status = |origin| origin_status(server.addr, "chat.example.org", origin);
    assert_eq!(status("https://allowed.example"), Some(101));
    assert_eq!(status("http://b.example:81"), Some(101));
    for bad in [
        "http://allowed.example",
        "https://allowed.example:444",
        "https://allowed.example:4433",
        "https://allowed.example.evil",
        "https://evil-allowed.example",
        "https://sub.allowed.example",
        "https://allowed.example@evil.example",
        "https://allowed.exampl",
        "wss://allowed.example",
        "http://b.example",
        "https://b.example:81",
        "null",
    ] {
        assert_eq!(status(bad), Some(403), "{bad}");
    }
    // The same origin in other letters: a browser never sends these, so either answer will do, but no other.
    for same in ["https://ALLOWED.EXAMPLE", "https://allowed.example:443", "HTTPS://allowed.example"] {
        assert!(matches!(status(same), Some(101 | 403)), "{same}");
    }
}

#[test]
fn hs_13_the_plain_echo_serves_any_origin() {
    let server = Launch::echo().start();
    assert_eq!(origin_status(server.addr, "x", "https://evil.example"), Some(101));
    assert_eq!(origin_status(server.addr, "x", "null"), Some(101));
}

#[test]
fn hs_14_another_host_is_refused_when_hosts_are_listed() {
    let server = Launch::serve().args(&["--allow-host", "chat.example.org"]).start();
    for request_line in ["GET /ws HTTP/1.1", "GET / HTTP/1.1"] {
        let upgrade = |host: &str| upgrade_with(request_line, &[("Host", &format!("Host: {host}"))], "");
        for good in ["chat.example.org", "chat.example.org:8080", "CHAT.example.org"] {
            expect_upgrade(server.addr, upgrade(good).as_bytes());
        }
        for evil in ["evil.example", "chat.example.org.evil.example", "xchat.example.org", "example.org"] {
            expect_refusal(server.addr, upgrade(evil).as_bytes(), &[403, 421]);
            let same_origin = format!("Origin: http://{evil}\r\n");
            let request = upgrade_with(request_line, &[("Host", &format!("Host: {evil}"))], &same_origin);
            expect_refusal(server.addr, request.as_bytes(), &[403, 421]);
        }
    }
    let plain =
        |host: &str| status_of(server.addr, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    assert_eq!(plain("chat.example.org"), Some(200));
    assert!(matches!(plain("evil.example"), Some(403 | 421)));
}

#[test]
fn hs_16_s7_only_an_offered_protocol_is_chosen() {
    let server = Launch::serve().start();
    let chosen = |lines: &str| {
        let (_, head) = Client::upgrade(server.addr, "/ws", lines);
        head.field("sec-websocket-protocol").map(str::to_owned)
    };
    let many: Vec<String> = (0..1000).map(|i| format!("p{i}")).collect();
    let many = many.join(",");
    let json = Some("json".to_owned());
    assert_eq!(chosen("Sec-WebSocket-Protocol: json\r\n"), json);
    assert_eq!(chosen("Sec-WebSocket-Protocol: foo, json\r\n"), json);
    assert_eq!(chosen("Sec-WebSocket-Protocol: foo,json , bar\r\n"), json);
    assert_eq!(chosen("Sec-WebSocket-Protocol: foo\r\nSec-WebSocket-Protocol: json\r\n"), json);
    assert_eq!(chosen(&format!("Sec-WebSocket-Protocol: {many}, json\r\n")), json);
    assert_eq!(chosen(&format!("Sec-WebSocket-Protocol: {many}\r\n")), None);
    assert_eq!(chosen("Sec-WebSocket-Protocol: jsonx, xjson, js, JSON5\r\n"), None);
    assert_eq!(chosen(""), None);
    for odd in [", ,json", "json,,", "json json", "\"json\"", "json;q=1", "", ",", "json, json", "JSON"] {
        let request = upgrade_request("/ws", &format!("Sec-WebSocket-Protocol: {odd}\r\n"));
        let (_, head) = head_of(server.addr, request.as_bytes());
        let head = head.unwrap_or_else(|| panic!("no answer to {odd:?}"));
        assert!(matches!(head.status, 101 | 400), "{odd:?}: {}", head.raw);
        let protocol = head.field("sec-websocket-protocol");
        let offered = odd.split(',').any(|token| token.trim() == "json");
        assert!(protocol.is_none() || (offered && protocol == Some("json")), "{odd:?}: {}", head.raw);
    }
}

#[test]
fn hs_16_a_strict_server_refuses_what_it_does_not_speak() {
    let server = Launch::serve().args(&["--strict-subprotocol"]).start();
    let offer = |list: &str| upgrade_request("/ws", &format!("Sec-WebSocket-Protocol: {list}\r\n"));
    expect_refusal(server.addr, offer("foo, bar").as_bytes(), &[400]);
    expect_upgrade(server.addr, offer("foo, json").as_bytes());
    expect_upgrade(server.addr, upgrade_request("/ws", "").as_bytes());
}

#[test]
fn hs_17_nothing_of_the_request_is_echoed_into_the_response() {
    let server = Launch::serve().start();
    for (value, statuses) in [
        ("json\r\nX-Injected: yes", [101].as_slice()),
        ("json\rX-Injected: yes", &[400]),
        ("json\nX-Injected: yes", &[400]),
        ("json\0X-Injected: yes", &[400]),
        ("json%0d%0aX-Injected: yes", &[101, 400]),
    ] {
        for target in ["/ws", "/ws?%0d%0aX-Injected:%20yes"] {
            let request = upgrade_request(target, &format!("Sec-WebSocket-Protocol: {value}\r\n"));
            let (mut client, head) = head_of(server.addr, request.as_bytes());
            let head = head.unwrap_or_else(|| panic!("no answer to {value:?}"));
            assert!(statuses.contains(&head.status), "{value:?}: {}", head.raw);
            client.end(millis(50));
            let body = String::from_utf8_lossy(&client.take_unread()).into_owned();
            assert!(!head.raw.contains("Injected") && !body.contains("Injected"), "{} {body}", head.raw);
        }
    }
    let request = "GET /%0d%0aX-Injected:%20yes HTTP/1.1\r\nHost: x\r\n\r\n";
    let (_, head) = head_of(server.addr, request.as_bytes());
    assert!(!head.unwrap().raw.to_lowercase().contains("injected"));
}
