//! Who asks, where proxies stand between: the flags, and what the log, the limits and the checks of origin and host make of it.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::{
    Client, End, Launch, SOON, Scratch, Server, head_of, upgrade_request, upgrade_with, wait_until,
};

/// The status of an upgrade with these fields.
#[track_caller]
fn status(server: &Server, fields: &str) -> (Client, u16) {
    let (client, head) = head_of(server.addr, upgrade_request("/ws", fields).as_bytes());
    (client, head.expect("an answer").status)
}

#[test]
fn px_01_a_stranger_forwards_nothing() {
    let args = ["--max-connections-per-address", "2", "--trusted-proxy", "10.0.0.0/8,192.0.2.1"];
    let server = Launch::serve().args(&args).start();
    let forged = |n: u8| {
        format!(
            "X-Forwarded-For: 192.0.2.{n}\r\nX-Forwarded-Host: evil.example\r\nOrigin: http://evil.example\r\n"
        )
    };
    assert_eq!(status(&server, &forged(1)).1, 403, "the host that is forwarded is not believed");
    let open: Vec<(Client, u16)> =
        (0..4).map(|n| status(&server, &format!("X-Forwarded-For: 192.0.2.{n}\r\n"))).collect();
    assert_eq!(open.iter().filter(|(_, status)| *status == 101).count(), 2, "all are one address");
}

#[test]
fn a_proxy_that_is_not_trusted_is_hinted_at_once() {
    let server = Launch::serve().start();
    for _ in 0..3 {
        assert_eq!(status(&server, "X-Forwarded-For: 192.0.2.7\r\n").1, 101);
    }
    assert!(server.wait_for_log("--trusted-proxy 127.0.0.1").contains("WARN"));
    let hints = server.log().iter().filter(|line| line.contains("--trusted-proxy")).count();
    assert_eq!(hints, 1);
    let server = Launch::serve().args(&["--trusted-proxy", "127.0.0.1"]).start();
    assert_eq!(status(&server, "X-Forwarded-For: 192.0.2.7\r\n").1, 101);
    assert!(!server.log().iter().any(|line| line.contains("--trusted-proxy")));
}

#[test]
fn px_02_settings_of_proxies_come_from_a_file_and_the_environment_too() {
    let file = Scratch::new(
        "proxies.toml",
        b"trusted-proxy = [\"10.0.0.0/8\", \"127.0.0.1\"]\nunix-mode = \"0600\"\n",
    );
    for launch in [
        Launch::serve().args(&["--config", file.path()]),
        Launch::serve().env("SWITCHBOARD_TRUSTED_PROXY", "10.0.0.0/8, 127.0.0.1"),
    ] {
        let server = launch.args(&["--max-connections-per-address", "1"]).start();
        let open = [7, 8].map(|n| status(&server, &format!("X-Forwarded-For: 192.0.2.{n}\r\n")));
        assert_eq!(open.map(|(_, status)| status), [101, 101]);
    }
}

#[test]
fn px_02_behind_a_trusted_proxy_everybody_has_an_address_of_their_own() {
    let args = ["--max-connections-per-address", "2", "--trusted-proxy", "127.0.0.1"];
    let server = Launch::serve().args(&args).env("RUST_LOG", "switchboard=debug").start();
    for n in 1..=5 {
        let open: Vec<(Client, u16)> =
            (0..3).map(|_| status(&server, &format!("X-Forwarded-For: 1.1.1.1, 192.0.2.{n}\r\n"))).collect();
        let statuses: Vec<u16> = open.iter().map(|(_, status)| *status).collect();
        assert_eq!(statuses, [101, 101, 503], "of 192.0.2.{n}");
        server.wait_for_log(&format!("peer=192.0.2.{n}:0"));
    }
}

#[test]
fn px_07_origin_and_host_are_compared_with_what_the_client_asked_for() {
    let server = Launch::serve().args(&["--trusted-proxy", "127.0.0.1"]).start();
    let ask = |fields: &str| status(&server, fields).1;
    let forwarded =
        "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(ask(&format!("{forwarded}Origin: https://chat.example\r\n")), 101);
    assert_eq!(ask(&format!("{forwarded}Origin: http://chat.example\r\n")), 403, "a page without TLS");
    assert_eq!(ask(&format!("{forwarded}Origin: https://evil.example\r\n")), 403);
    assert_eq!(ask("X-Forwarded-For: 192.0.2.7\r\nOrigin: https://chat.example\r\n"), 403);
    // A proxy behind the one that speaks TLS.
    let inner = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: http\r\n";
    assert_eq!(ask(&format!("{inner}Origin: https://chat.example\r\n")), 101);
    let standard = "Forwarded: for=192.0.2.7;host=\"chat.example:8443\";proto=https\r\n";
    assert_eq!(ask(&format!("{standard}Origin: https://chat.example:8443\r\n")), 101);
    assert_eq!(ask(&format!("{standard}Origin: https://chat.example\r\n")), 403);
    // DNS rebinding: the page can forge what a proxy says, but not the Host.
    let request = upgrade_with("GET /ws HTTP/1.1", &[("Host", "Host: evil.example")], forwarded);
    assert_eq!(head_of(server.addr, request.as_bytes()).1.unwrap().status, 421);
    // With a list of hosts, the one that the client asked for is looked up.
    let args = ["--trusted-proxy", "127.0.0.1", "--allow-host", "chat.example"];
    let server = Launch::serve().args(&args).start();
    assert_eq!(status(&server, forwarded).1, 101);
    assert_eq!(status(&server, "X-Forwarded-Host: evil.example\r\n").1, 421);
}

#[test]
fn px_04_fields_that_disagree_are_a_400() {
    let server = Launch::serve().args(&["--trusted-proxy", "127.0.0.1"]).start();
    assert_eq!(status(&server, "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.8\r\n").1, 400);
    assert_eq!(status(&server, "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.7\r\n").1, 101);
}

#[test]
fn px_08_who_connects_over_a_unix_socket_is_a_trusted_proxy() {
    let scratch = Scratch::new("x", b"");
    let path = Path::new(scratch.path()).with_file_name("s.sock");
    let listen = format!("unix:{}", path.display());
    let args = ["--listen", &listen, "--max-connections-per-address", "1"];
    let server = Launch::serve().args(&args).env("RUST_LOG", "switchboard=debug").start();
    wait_until(SOON, "the socket", || path.exists());
    let open = |fields: &str| {
        let mut client = Client::of_unix(UnixStream::connect(&path).expect("connect"));
        client.send(upgrade_with("GET /ws HTTP/1.1", &[("Host", "Host: chat.example")], fields).as_bytes());
        let status = client.head().status;
        (client, status)
    };
    let clients: Vec<(Client, u16)> =
        [7, 7, 8].map(|n| open(&format!("X-Forwarded-For: 192.0.2.{n}\r\n"))).into();
    let statuses: Vec<u16> = clients.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, [101, 503, 101]);
    server.wait_for_log("peer=192.0.2.8:0");
    // Without a word of the proxy's all are one.
    assert_eq!([open(""), open("")].map(|(_, status)| status), [101, 503]);
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n";

/// A header of version 2 with an extension of 200 octets.
fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\xd7".to_vec();
    header.extend([192, 0, 2, 8, 198, 51, 100, 1, 0xc3, 0x50, 1, 187]);
    header.extend([0x20, 0, 200]);
    header.extend([7; 200]);
    header
}

/// A chat with a listener of the PROXY protocol at this address.
fn introduced(args: &[&str]) -> (Server, SocketAddr) {
    let address = free_address();
    let listen = address.to_string();
    let args = [&["--proxy-protocol", &listen], args].concat();
    (Launch::serve().args(&args).env("RUST_LOG", "switchboard=debug").start(), address)
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn px_05_a_header_of_the_proxy_protocol_says_who_it_is() {
    let (server, address) = introduced(&["--max-connections-per-address", "1"]);
    let request = upgrade_request("/ws", "X-Forwarded-For: 203.0.113.9\r\n");
    let open = |header: &[u8]| {
        let mut client = Client::connect(address);
        client.send(&[header, request.as_bytes()].concat());
        let status = client.head().status;
        (client, status)
    };
    let clients = [open(V1), open(V1), open(&v2()), open(b"PROXY UNKNOWN\r\n")];
    let statuses = clients.each_ref().map(|(_, status)| *status);
    assert_eq!(statuses, [101, 503, 101, 101]);
    for peer in ["192.0.2.7:50000", "192.0.2.8:50000"] {
        server.wait_for_log(&format!("peer={peer}"));
    }
    assert!(
        !server.log().iter().any(|line| line.contains("203.0.113.9")),
        "what is forwarded is not believed"
    );
}

#[test]
fn px_09_a_header_may_come_in_any_pieces_and_only_a_header_may_come() {
    let (server, address) = introduced(&[]);
    let request = upgrade_request("/ws", "");
    for header in [V1, &v2()] {
        // Octet by octet, header and request.
        let mut client = Client::connect(address);
        for octet in [header, request.as_bytes()].concat() {
            client.send(&[octet]);
        }
        assert_eq!(client.head().status, 101);
        // Cut in the header, at its end, and behind it.
        for cut in [1, header.len() - 1, header.len(), header.len() + 1] {
            let mut client = Client::connect(address);
            let octets = [header, request.as_bytes()].concat();
            client.send(&octets[..cut]);
            client.send(&octets[cut..]);
            assert_eq!(client.head().status, 101, "{cut}");
        }
    }
    // The plain listener beside it knows no headers.
    assert_eq!(head_of(server.addr, &[V1, request.as_bytes()].concat()).1.unwrap().status, 400);
    let endless = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
    for octets in [request.as_bytes(), b"\x16\x03\x01\x02\0", b"PROXY TCP4 a b 1 2\r\n", &endless] {
        let mut client = Client::connect(address);
        client.send(octets);
        let end = client.try_head(SOON).expect_err("no answer");
        assert!(matches!(end, End::Fin | End::Reset), "{end:?}");
    }
    assert!(server.wait_for_log("a header of the PROXY protocol must come first").contains("INFO"));
    server.wait_for_log("the header of the PROXY protocol is malformed");
    let mut metrics = Client::connect(server.addr);
    metrics.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let metrics = String::from_utf8(metrics.response().1).unwrap();
    for (result, count) in [("accepted", 10), ("untrusted", 0), ("missing", 2), ("malformed", 2)] {
        let line = format!("switchboard_proxy_headers_total{{result=\"{result}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn px_06_only_named_proxies_introduce_anybody() {
    let (server, address) = introduced(&["--trusted-proxy", "10.0.0.0/8"]);
    let mut client = Client::connect(address);
    client.send(&[V1, upgrade_request("/ws", "").as_bytes()].concat());
    assert_eq!(client.head().status, 403);
    server.wait_for_log("status=403");
    let (server, address) = introduced(&["--trusted-proxy", "127.0.0.1,192.0.2.7"]);
    let mut client = Client::connect(address);
    // The one who is introduced is a proxy in turn.
    client.send(&[V1, upgrade_request("/ws", "X-Forwarded-For: 203.0.113.9\r\n").as_bytes()].concat());
    assert_eq!(client.head().status, 101);
    server.wait_for_log("peer=203.0.113.9:0");
}
