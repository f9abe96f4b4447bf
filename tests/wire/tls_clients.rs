//! Clients over TLS as they are: what they ask for, how they leave, and how they are turned away.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use crate::support::tls::Identity;
use crate::support::{CLOSE, FIN, SOON, frame, secs, upgrade_request, wait_until};
use crate::tls::{Secure, connect, get, start};

/// What `openssl s_client` says and is answered, with these flags, when it asks for the health of the server.
fn s_client(addr: SocketAddr, flags: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &addr.to_string(), "-ign_eof"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl");
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let _ = client.stdin.take().unwrap().write_all(request);
    let out = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Octets over TLS cost least with AES-128, and a client that wants another cipher has it.
#[test]
fn aes_128_comes_first_and_others_are_there() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    for (version, flag, offered, chosen) in [
        (
            "-tls1_3",
            "-ciphersuites",
            "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
            "TLS_AES_128_GCM_SHA256",
        ),
        ("-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        ("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
        (
            "-tls1_2",
            "-cipher",
            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
    ] {
        let said = s_client(server.addr, &[version, flag, offered]);
        assert!(
            said.contains("HTTP/1.1 200 ") && said.contains(&format!("Cipher is {chosen}")),
            "{offered}: {said}"
        );
    }
}

#[test]
fn tl_14_names_as_clients_send_them_choose_a_certificate() {
    let (first, second) = (Identity::new(&["first.example"]), Identity::new(&["second.example"]));
    let server = start("echo", &[first.flags(), second.flags()].concat());
    let shows = |identity: &Identity, name: &str| {
        let flags = ["-servername", name, "-CAfile", identity.certificate.path(), "-verify_return_error"];
        s_client(server.addr, &flags).contains("HTTP/1.1 200 ")
    };
    for (name, identity) in [
        ("second.example", &second),
        ("SECOND.Example", &second),
        // RFC 6066 3: neither a dot at the end nor an address is a name, but clients send them.
        ("second.example.", &second),
        ("127.0.0.1", &first),
        ("::1", &first),
        ("under_score.example", &first),
        (&format!("{}.example", "a".repeat(63)), &first),
        (&vec!["a".repeat(60); 4].join("."), &first),
    ] {
        assert!(shows(identity, name), "{name}");
    }
    for name in ["m\u{fc}nchen.example", "sp ace", "-.example"] {
        let said = s_client(server.addr, &["-servername", name]);
        assert!(said.contains("alert number 47"), "illegal_parameter for {name}: {said}");
    }
}

#[test]
fn tl_14_the_protocol_is_http_1_or_the_client_is_told_that_there_is_no_other() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    for protocols in ["http/1.1", "h2,http/1.1"] {
        let said = s_client(server.addr, &["-alpn", protocols]);
        assert!(said.contains("ALPN protocol: http/1.1") && said.contains("HTTP/1.1 200 "), "{said}");
    }
    assert!(s_client(server.addr, &[]).contains("HTTP/1.1 200 "), "without ALPN");
    for version in ["-tls1_3", "-tls1_2"] {
        for protocols in ["h2", "acme-tls/1", "mqtt"] {
            // RFC 7301 3.2: no_application_protocol.
            let said = s_client(server.addr, &["-alpn", protocols, version]);
            assert!(said.contains("alert number 120"), "{protocols} {version}: {said}");
        }
    }
}

/// Everything that comes; an end without `close_notify` is an error.
fn read_all(stream: &mut Secure) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    Ok(all)
}

#[test]
fn every_end_of_ours_is_told_by_close_notify() {
    let identity = Identity::new(&["localhost"]);
    let mut server = start("echo", &[&identity.flags()[..], &["--drain-timeout", "5000"]].concat());
    let upgrade = upgrade_request("/", "").into_bytes();
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(70_000));
    for (sent, end) in [
        ([&upgrade[..], &frame(FIN | CLOSE, &[3, 232])].concat(), &[3, 232][..]),
        ([&upgrade[..], &frame(FIN | 3, b"")].concat(), b"reserved opcode"),
        (b"NONSENSE\r\n\r\n".to_vec(), b"\n"),
        (upgrade_request("/", "").replace("Version: 13", "Version: 7").into_bytes(), b"version 13\n"),
        (long.into_bytes(), b"too large\n"),
    ] {
        let mut stream = connect(server.addr, &identity.client, "localhost").unwrap();
        stream.write_all(&sent).unwrap();
        let all = read_all(&mut stream).expect("close_notify");
        assert!(all.ends_with(end), "{}", String::from_utf8_lossy(&all));
    }
    // One that was upgraded, one that is kept alive, one that has said nothing.
    let mut open: Vec<Secure> =
        (0..3).map(|_| connect(server.addr, &identity.client, "localhost").unwrap()).collect();
    open[0].write_all(&upgrade).unwrap();
    open[1].write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for stream in &mut open[..2] {
        assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
    }
    server.signal("TERM");
    for stream in &mut open {
        read_all(stream).expect("close_notify");
    }
    drop(open);
    assert!(server.wait(SOON).success());
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    for has_fin in [false, true] {
        for path in ["/healthz", "/metrics"] {
            let mut stream = connect(server.addr, &identity.client, "localhost").unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            if has_fin {
                stream.sock.shutdown(Shutdown::Write).unwrap();
            }
            let answer = read_all(&mut stream).expect("close_notify");
            assert!(answer.starts_with(b"HTTP/1.1 200 "), "{path}: {}", String::from_utf8_lossy(&answer));
        }
    }
}

#[test]
fn tl_01_clients_that_say_nothing_keep_nobody_waiting() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(server.addr).unwrap()).collect();
    for mut stream in &silent[..100] {
        stream.write_all(&[22, 3, 1]).unwrap();
    }
    for _ in 0..5 {
        let mut stream = connect(server.addr, &identity.client, "localhost").unwrap();
        assert!(get(&mut stream, "/healthz").ends_with("ok\n"));
    }
    let metrics = get(&mut connect(server.addr, &identity.client, "localhost").unwrap(), "/metrics");
    assert!(metrics.contains("switchboard_connections 201\n"), "{metrics}");
}

#[test]
fn tl_12_a_client_that_is_turned_away_is_told_by_an_alert() {
    let identity = Identity::new(&["localhost"]);
    let flags = [&identity.flags()[..], &["--max-connections-per-address", "1"]].concat();
    let server = start("echo", &flags);
    let mut first = connect(server.addr, &identity.client, "localhost").unwrap();
    for _ in 0..3 {
        let error = connect(server.addr, &identity.client, "localhost").expect_err("it came in").to_string();
        assert!(error.contains("AccessDenied"), "{error}");
        let said = s_client(server.addr, &[]);
        assert!(said.contains("alert number 49"), "{said}");
    }
    server.wait_for_log("too many connections from this address");
    // Nobody stays who was turned away, and no handshake was begun.
    let metrics = get(&mut first, "/metrics");
    assert!(metrics.contains("switchboard_requests_total{result=\"crowded\"} 6\n"), "{metrics}");
    assert!(
        metrics.contains("switchboard_tls_handshakes_total{version=\"1.3\",resumed=\"no\"} 1\n"),
        "{metrics}"
    );
    drop(first);
    wait_until(secs(10), "room again", || connect(server.addr, &identity.client, "localhost").is_ok());
}

#[test]
fn python_speaks_websocket_over_tls() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/wire/client.py");
    let out = Command::new("python3")
        .args([script, &server.port().to_string(), identity.certificate.path()])
        .output()
        .expect("python3");
    let (said, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let expected = "TLSv1.3\nHTTP/1.1 200 OK\nHTTP/1.1 101 Switching Protocols\nTrue\nTrue\nclosed\n";
    assert_eq!(said, expected, "{complained}");
}
