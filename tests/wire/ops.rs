//! What an operator sees of a server: metrics, health, the log, and where settings come from.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use prometheus_parse::{Scrape, Value};

use crate::support::tls::Identity;
use crate::support::{
    BINARY, CLOSE, Client, FIN, Head, KEY, Launch, SOON, Scratch, Server, TEXT, frame, head_of, millis, text,
    upgrade_request, upgrade_with, wait_until,
};

/// What a plain GET is answered: status and body.
#[track_caller]
pub(crate) fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = get_with(addr, path, "");
    (head.status, body)
}

/// The same with more fields, and with the whole head of the answer.
#[track_caller]
pub(crate) fn get_with(addr: SocketAddr, path: &str, fields: &str) -> (Head, String) {
    let mut client = Client::connect(addr);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    client.send(request.as_bytes());
    let (head, body) = client.response();
    (head, String::from_utf8(body).unwrap())
}

/// The metrics, read by a parser that is not ours.
pub(crate) struct Metrics(Scrape);

impl Metrics {
    #[track_caller]
    pub(crate) fn of(addr: SocketAddr) -> Self {
        let (status, body) = get(addr, "/metrics");
        assert_eq!(status, 200);
        let lines = body.lines().map(|line| Ok(line.to_owned()));
        Self(Scrape::parse(lines).expect("the metrics parse"))
    }

    /// The value of a metric with at most one label.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, label: Option<(&str, &str)>) -> u64 {
        let mut found = self.0.samples.iter().filter(|sample| {
            sample.metric == name && label.is_none_or(|(key, value)| sample.labels.get(key) == Some(value))
        });
        let sample = found.next().unwrap_or_else(|| panic!("no {name} {label:?}"));
        match &sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => {
                value.to_string().parse().unwrap()
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    #[track_caller]
    fn assert(&self, expected: &[(&str, &str, u64)]) {
        for (name, label, value) in expected {
            let label = label.split_once('=');
            assert_eq!(self.value(name, label), *value, "{name} {label:?}");
        }
    }
}

/// The address of the internal listener.
pub(crate) fn internal(server: &Server) -> SocketAddr {
    let line = server.wait_for_log("Metrics and health at");
    SocketAddr::from(([127, 0, 0, 1], line.rsplit_once(':').unwrap().1.trim().parse().unwrap()))
}

#[test]
fn metrics_are_exact_after_a_scripted_session() {
    let server = Launch::fanout().args(&["--internal-listen", "127.0.0.1:0"]).start();
    let operator = internal(&server);
    let mut both = [Client::open(server.addr), Client::open(server.addr)];
    for i in 0..10 {
        both[0].send(&text(&format!("message {i}")));
        for client in &mut both {
            client.expect_text(&format!("message {i}"));
        }
    }
    // One breaks the protocol, one leaves in good manners, one is no WebSocket, one no HTTP, one resets.
    both[1].send(&frame(FIN | 3, b""));
    both[1].expect_close(1002);
    let mut third = Client::open(server.addr);
    third.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
    third.expect_close(1000);
    let bad_version =
        upgrade_with("GET / HTTP/1.1", &[("Sec-WebSocket-Version", "Sec-WebSocket-Version: 12")], "");
    assert_eq!(head_of(server.addr, bad_version.as_bytes()).1.unwrap().status, 426);
    assert_eq!(head_of(server.addr, b"\x16\x03\x01 hello").1.unwrap().status, 400);
    let fourth = Client::open(server.addr);
    fourth.reset();
    wait_until(SOON, "the reset is seen", || {
        Metrics::of(operator).value("switchboard_closes_total", Some(("reason", "disconnected"))) == 1
    });
    let before = Metrics::of(operator);
    before.assert(&[
        ("switchboard_open_connections", "", 1),
        ("switchboard_upgrades_total", "result=accepted", 4),
        ("switchboard_upgrades_total", "result=invalid", 1),
        ("switchboard_upgrades_total", "result=refused", 0),
        ("switchboard_requests_total", "result=malformed", 1),
        ("switchboard_closes_total", "reason=peer", 1),
        ("switchboard_closes_total", "reason=protocol", 1),
        ("switchboard_closes_total", "reason=application", 0),
        ("switchboard_messages_total", "direction=in", 10),
        ("switchboard_messages_total", "direction=out", 20),
        ("switchboard_queued_bytes", "", 0),
        ("switchboard_queued_connections", "", 0),
        ("switchboard_draining", "", 0),
    ]);
    // Octets, to the last one: a masked message has 6 more than its payload on the way in and 2 on the way out.
    let (in_before, out_before) = (
        before.value("switchboard_traffic_bytes_total", Some(("direction", "in"))),
        before.value("switchboard_traffic_bytes_total", Some(("direction", "out"))),
    );
    let asked = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".len() as u64;
    both[0].send(&text("12345"));
    both[0].expect_text("12345");
    let after = Metrics::of(operator);
    let in_after = after.value("switchboard_traffic_bytes_total", Some(("direction", "in")));
    assert_eq!(in_after - in_before, 11 + asked);
    let out_after = after.value("switchboard_traffic_bytes_total", Some(("direction", "out")));
    assert!(out_after - out_before > 7, "the answer to the first question went out, too");
    both[0].echo("still there");
}

#[test]
fn every_metric_is_explained_and_everything_explained_is_there() {
    let page = include_str!("../../docs/metrics.md");
    let identity = Identity::new(&["localhost"]);
    let server =
        Launch::serve().args(&["--tls-listen", "127.0.0.1:0"]).args(&identity.flags()).start_as_it_is();
    let (_, text) = get(server.addr, "/metrics");
    let mut shown: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            shown.push(name.to_owned());
        }
    }
    assert!(shown.len() > 30, "{shown:?}");
    // `_users` in an entry that begins with `switchboard_chat_sessions` is `switchboard_chat_users`.
    let mut explained: Vec<String> = Vec::new();
    for name in
        page.lines().filter_map(|line| line.strip_prefix("- `").map(|line| line.split(": ").next().unwrap()))
    {
        for part in name.split("`, `") {
            let part = part.trim_end_matches('`');
            explained.push(if part.starts_with('_') {
                format!("switchboard_chat{part}")
            } else {
                part.to_owned()
            });
        }
    }
    shown.sort();
    explained.sort();
    assert_eq!(shown, explained);
}

#[test]
fn the_operator_has_a_door_of_its_own() {
    let server = Launch::serve().args(&["--internal-listen", "127.0.0.1:0"]).start();
    let operator = internal(&server);
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(get(server.addr, path).0, 404, "{path} is not for everybody");
        assert_eq!(get(operator, path).0, 200, "{path}");
        let (_, head) =
            head_of(operator, format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let head = head.unwrap();
        assert_eq!((head.status, head.field("allow")), (405, Some("GET, HEAD")));
    }
    assert_eq!(get(operator, "/").0, 404);
    let (_, head) = head_of(operator, upgrade_request("/ws", "").as_bytes());
    assert_eq!(head.unwrap().status, 404, "no chat at the operator's door");
    assert_eq!(get(server.addr, "/").0, 200);
    // Without such a door they are at the only one.
    let server = Launch::serve().start();
    assert_eq!(get(server.addr, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(server.addr, "/readyz"), (200, "ready\n".to_owned()));
}

#[test]
fn pr_01_readiness_says_503_while_the_server_drains() {
    let mut server = Launch::serve().args(&["--internal-listen", "127.0.0.1:0"]).start();
    let operator = internal(&server);
    // Requests that have begun are answered; this one holds up the end until it is whole.
    let mut under_way = Client::connect(server.addr);
    under_way.send(b"GET / HTTP/1.1\r\nHost: loc");
    let mut open = Client::open(server.addr);
    std::thread::sleep(millis(100));
    server.signal("TERM");
    loop {
        let got = open.frame();
        if got.opcode == CLOSE {
            assert_eq!(got.close_code(), Some(1012));
            open.answer_close(&got.payload);
            break;
        }
    }
    let (status, why) = get(operator, "/readyz");
    assert_eq!(status, 503);
    assert!(why.contains("draining"), "{why}");
    assert_eq!(get(operator, "/healthz").0, 200, "alive to the end");
    assert_eq!(Metrics::of(operator).value("switchboard_draining", None), 1);
    assert!(std::net::TcpStream::connect(server.addr).is_err(), "the public door is shut");
    under_way.send(b"alhost\r\n\r\n");
    let (head, _) = under_way.response();
    assert_eq!((head.status, head.field("connection")), (200, Some("close")));
    under_way.half_close();
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn promise_10_each_close_is_logged_with_its_reason() {
    let server = Launch::fanout().env("RUST_LOG", "debug").start();
    let mut polite = Client::open(server.addr);
    let port = polite.stream.local_addr().unwrap().port();
    polite.send(&frame(FIN | CLOSE, b"\x03\xe8bye\tnow"));
    polite.expect_close(1000);
    let line = server.wait_for_log(&format!("closed peer=127.0.0.1:{port}"));
    assert!(line.contains("code=1000") && line.contains("silent_ms="), "{line}");
    assert!(
        line.contains("queued=") && line.contains(r#"reason="closed by the peer: \"bye\\tnow\"""#),
        "{line}"
    );
    let mut rude = Client::open(server.addr);
    rude.send(&frame(BINARY | 0x70, b""));
    rude.expect_close(1002);
    let line = server.wait_for_log("code=1002");
    assert!(line.contains("protocol error"), "{line}");
}

#[test]
fn ch_13_what_peers_write_cannot_forge_lines() {
    let forged = "/ws?x=\u{9b}31m";
    let nasty = format!(
        "GET {forged} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a\tb\r\nOrigin: \"}}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    for format in ["text", "json"] {
        let server = Launch::serve().env("RUST_LOG", "debug").args(&["--log-format", format]).start();
        let _ = head_of(server.addr, nasty.as_bytes());
        let mut client = Client::open(server.addr);
        client.send(&frame(FIN | CLOSE, "\x03\u{e8}".as_bytes()));
        let _ = client.end(SOON);
        let mut client = Client::open(server.addr);
        client.send(&frame(FIN | CLOSE, b"\x03\xe8line\r\n{\"level\":\"ERROR\"} \x1b[2J"));
        let _ = client.end(SOON);
        wait_until(SOON, "both ends", || {
            server.log().iter().filter(|line| line.contains("closed")).count() >= 2
        });
        for line in server.log() {
            assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
            if format == "json" {
                let value: serde_json::Value =
                    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
                assert!(value["level"].is_string() && value["message"].is_string(), "{line}");
                assert_ne!(value["level"], "ERROR");
            } else {
                assert!(line.starts_with("20"), "a line of ours begins with its time: {line}");
            }
        }
    }
}

/// Runs the binary to its end: status, standard output, standard error.
pub(crate) fn run(args: &[&str], input: &str) -> (i32, String, String) {
    run_with(args, &[], input)
}

/// The same with these variables in the environment.
pub(crate) fn run_with(args: &[&str], variables: &[(&str, &str)], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(args)
        .env_remove("PORT")
        .envs(variables.iter().copied())
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended before it read anything.
    if let Err(error) = child.stdin.take().unwrap().write_all(input.as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
    let output = child.wait_with_output().unwrap();
    let utf8 = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), utf8(output.stdout), utf8(output.stderr))
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let file = Scratch::new(
        "switchboard.toml",
        b"# all that a flag can say\nlisten = [\"127.0.0.1:0\"]\nmax-message = 1000\nmax-connections = 1\nbusy-poll = false\n",
    );
    // One loop: what one loop has closed, another one may not know yet.
    let echo = || Launch::switchboard(&["echo", "--config", file.path(), "--threads", "1"]);
    // How long a message may be tells where the limit came from.
    let limit_of = |server: &Server, len: usize| {
        // There is room for one, and the one before leaves a moment later.
        let mut client = None;
        wait_until(SOON, "there is room", || {
            let (found, head) = head_of(server.addr, upgrade_request("/", "").as_bytes());
            client = (head.unwrap().status == 101).then_some(found);
            client.is_some()
        });
        let mut client = client.unwrap();
        client.send(&frame(FIN | BINARY, &vec![1; len]));
        let got = client.message();
        if got.opcode == CLOSE { got.close_code() } else { None }
    };
    let server = echo().start();
    assert_eq!(limit_of(&server, 1001), Some(1009));
    assert_eq!(limit_of(&server, 1000), None);
    let server = echo().env("SWITCHBOARD_MAX_MESSAGE", "2000").start();
    assert_eq!(limit_of(&server, 2001), Some(1009));
    assert_eq!(limit_of(&server, 2000), None);
    let server = echo().env("SWITCHBOARD_MAX_MESSAGE", "2000").args(&["--max-message", "3000"]).start();
    assert_eq!(limit_of(&server, 3001), Some(1009));
    assert_eq!(limit_of(&server, 3000), None);
    // The file alone says that there is room for one.
    let _one = Client::open(server.addr);
    wait_until(SOON, "no room", || {
        head_of(server.addr, upgrade_request("/", "").as_bytes()).1.unwrap().status == 503
    });
}

#[test]
fn pr_11_what_is_wrong_with_a_setting_is_said_by_name() {
    let cases: [(&str, &[&str]); 9] = [
        ("max-conections = 3", &["unknown key `max-conections`", "did you mean `max-connections`?"]),
        ("max_connections = 3", &["unknown key `max_connections`", "did you mean `max-connections`?"]),
        ("data = \"x\"", &["broken.toml:1: `data` is a setting of `serve`, and not of `echo`"]),
        ("max-connections = \"many\"", &["`max-connections`", "many"]),
        ("max-connections = -1", &["`max-connections`", "-1"]),
        ("max-connections = 1.5", &["`max-connections` cannot be of type float"]),
        ("busy-poll = 1", &["`busy-poll` is true or false"]),
        ("\n\nmax-connections = = 3", &[".toml:3:"]),
        ("config = \"other.toml\"", &["unknown key `config`"]),
    ];
    for (content, expected) in cases {
        let file = Scratch::new("broken.toml", content.as_bytes());
        let (code, _, said) = run(&["echo", "--listen", "127.0.0.1:0", "--config", file.path()], "");
        assert_eq!(code, 2, "{content:?}: {said}");
        for part in expected.iter().chain(&["broken.toml"]) {
            assert!(said.contains(part), "{content:?}: {said}");
        }
    }
    let (code, _, said) = run(&["echo", "--config", "nowhere.toml"], "");
    assert!(
        code == 2 && said.contains("nowhere.toml: there is no such file; `switchboard config generate`"),
        "{said}"
    );
}

#[test]
fn a_message_is_counted_once_however_it_comes() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    for payload in [vec![1; 10], vec![2; 70_000], vec![3; 500_000]] {
        client.send(&frame(FIN | BINARY, &payload));
        client.expect(BINARY, &payload);
    }
    client.send(&[frame(TEXT, b"in "), frame(0, b"three "), frame(FIN, b"pieces")].concat());
    client.expect_text("in three pieces");
    let metrics = Metrics::of(server.addr);
    metrics.assert(&[
        ("switchboard_messages_total", "direction=in", 4),
        ("switchboard_messages_total", "direction=out", 4),
    ]);
}

/// A directory that is not there yet, within one that goes with the value.
pub(crate) fn fresh() -> (Scratch, String) {
    let scratch = Scratch::new("beside", b"");
    let data = format!("{}.data", scratch.path());
    (scratch, data)
}

#[test]
fn a_long_path_leaves_the_log_in_json() {
    for (path, format) in
        [("x".repeat(10_000), "json"), ("%7f\u{9b}é".repeat(2000), "json"), ("x".repeat(10_000), "text")]
    {
        let server = Launch::serve().env("RUST_LOG", "debug").args(&["--log-format", format]).start();
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        );
        let _ = head_of(server.addr, request.as_bytes());
        let _open = Client::open(server.addr);
        server.wait_for_log("connected");
        for line in server.log() {
            assert!(line.len() <= 4096 && !line.contains(|c: char| c.is_control()), "{line:?}");
            if format == "json" {
                serde_json::from_str::<serde_json::Value>(&line)
                    .unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }
}

#[test]
fn values_with_spaces_are_quoted_in_lines_for_people() {
    let server = Launch::fanout().env("RUST_LOG", "debug").start();
    let mut rude = Client::open(server.addr);
    let line = server.wait_for_log("connected");
    assert!(
        line.contains(" DEBUG ") && line.contains(" peer=127.0.0.1:") && line.contains(" path=/ request="),
        "{line}"
    );
    rude.send(&frame(BINARY | 0x70, b""));
    rude.expect_close(1002);
    let line = server.wait_for_log("code=1002");
    assert!(line.contains(" reason=\"protocol error") && line.contains(" queued="), "{line}");
}

#[test]
fn no_secret_is_in_the_log_at_any_level() {
    let (api, key) =
        (Scratch::new("api", b"the-secret-of-the-api-0123456789"), Scratch::new("key", &[b'k'; 40]));
    let (_, token, _) = run(&["token", "mint", "--key", key.path(), "--user", "Ada"], "");
    let token = token.trim();
    let forged = format!("{}x", &token[..token.len() - 1]);
    for format in ["text", "json"] {
        let server = Launch::serve()
            .env("RUST_LOG", "trace")
            .args(&["--api-token-file", api.path(), "--token-key", key.path(), "--log-format", format])
            .start();
        for token in [token, &forged] {
            for path in ["/ws", "/", "/nowhere", "/metrics", "/api/v1/rooms", "/readyz"] {
                let target = format!("{path}?a=b&token={token}");
                let _ = get_with(
                    server.addr,
                    &target,
                    &format!("Authorization: Bearer {token}\r\nCookie: t={token}\r\n"),
                );
                let _ = head_of(server.addr, upgrade_request(&target, "").as_bytes());
                let _ = head_of(
                    server.addr,
                    upgrade_request(&format!("{path}?token={token}\x01"), "").as_bytes(),
                );
                let _ =
                    head_of(server.addr, upgrade_request(&target, "Sec-WebSocket-Version: 7\r\n").as_bytes());
            }
            let (mut client, _) =
                Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
            client.send(&text(&format!(r#"{{"type":"hello","token":"{token}","id":1}}"#)));
            client.message();
        }
        let _ = get_with(
            server.addr,
            "/api/v1/rooms",
            "Authorization: Bearer the-secret-of-the-api-0123456789\r\n",
        );
        let _ = get_with(server.addr, "/api/v1/rooms?token=the-secret-of-the-api-0123456789", "");
        server.wait_for_log("connected");
        let parts: Vec<&str> =
            token.split('.').chain(forged.split('.')).chain(["the-secret-of", "kkkkkkkk"]).collect();
        for line in server.log() {
            assert!(parts.iter().all(|part| !line.contains(part)), "{line}");
        }
    }
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let mode =
        |path: &str, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let (api, key) =
        (Scratch::new("api", b"the-secret-of-the-api-0123456789"), Scratch::new("key", &[b'k'; 40]));
    let (_scratch, data) = fresh();
    std::fs::create_dir(&data).unwrap();
    for (others, warnings) in [(0o600, 0), (0o640, 0), (0o644, 3), (0o602, 3)] {
        mode(api.path(), others);
        mode(key.path(), others);
        mode(&data, others | 0o100);
        let server = Launch::switchboard(&["serve", "--listen", "127.0.0.1:0", "--data", &data])
            .args(&["--api-token-file", api.path(), "--token-key", key.path()])
            .start();
        let log = server.log();
        let found: Vec<&String> = log.iter().filter(|line| line.contains("chmod o-rwx")).collect();
        assert_eq!(found.len(), warnings, "{others:o}: {log:?}");
        for path in [api.path(), key.path(), &data] {
            assert!(warnings == 0 || found.iter().any(|line| line.contains(path)), "{path}: {found:?}");
        }
    }
}

#[test]
fn probe_is_a_health_check() {
    let args = ["--internal-listen", "127.0.0.1:0"];
    let server = Launch::echo().args(&args).start();
    let url = format!("http://{}/readyz", internal(&server));
    let probe = |url: &str| {
        // A proxy of the environment is not asked.
        let proxy = [("HTTP_PROXY", "http://127.0.0.1:1"), ("http_proxy", "http://127.0.0.1:1")];
        let (code, said, _) = run_with(&["probe", url, "--within", "5000"], &proxy, "");
        (code, said.trim().to_owned())
    };
    assert_eq!(probe(&url), (0, "ready".to_owned()));
    assert_eq!(probe(&url.replace("readyz", "nothing")).0, 1);
    let mut under_way = Client::connect(server.addr);
    under_way.send(b"GET / HTTP/1.1\r\nHost: loc");
    std::thread::sleep(millis(100));
    server.signal("TERM");
    wait_until(SOON, "it drains", || get(internal(&server), "/readyz").0 == 503);
    let (code, said) = probe(&url);
    assert!(code == 1 && said.contains("draining"), "{said}");
    drop(server);
    let (code, said) = probe(&url);
    assert!(code == 1 && said.contains(&format!("no answer from {url}: ")), "{said}");
    // An answer that breaks off is none; Docker keeps exit code 2 for itself.
    let broken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/readyz", broken.local_addr().unwrap());
    let breaks_off = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut client, _) = broken.accept().unwrap();
        let _ = client.read(&mut [0; 1024]).unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nrea").unwrap();
    });
    let (code, said) = probe(&url);
    breaks_off.join().unwrap();
    assert!(code == 1 && said.contains(&format!("no answer from {url}: ")), "{said}");
    assert_eq!(probe("https://localhost/").0, 2);
}

#[test]
fn health_says_why_in_json_where_it_is_asked_to() {
    let args = ["--internal-listen", "127.0.0.1:0", "--drain-timeout", "60000"];
    for loops in ["1", "2"] {
        let server = Launch::echo().args(&args).args(&["--threads", loops]).start();
        let operator = internal(&server);
        let json = |path: &str| {
            let (head, body) = get_with(operator, path, "Accept: application/json\r\n");
            assert_eq!(head.field("content-type"), Some("application/json"));
            assert_eq!((head.field("vary"), head.field("cache-control")), (Some("Accept"), Some("no-store")));
            (head.status, serde_json::from_str::<serde_json::Value>(&body).unwrap())
        };
        assert_eq!(json("/healthz"), (200, serde_json::json!({"status": "ok", "reasons": []})));
        assert_eq!(json("/readyz"), (200, serde_json::json!({"status": "ready", "reasons": []})));
        // A request that has begun keeps the server draining.
        let mut under_way = Client::connect(server.addr);
        under_way.send(b"GET / HTTP/1.1\r\nHost: loc");
        std::thread::sleep(millis(100));
        server.signal("TERM");
        wait_until(SOON, "it drains", || get(operator, "/readyz").0 == 503);
        let (status, why) = json("/readyz");
        assert!(status == 503 && why["status"] == "unavailable", "{why}");
        assert_eq!(why["reasons"][0]["code"], "draining", "{why}");
        assert!(why["reasons"][0]["text"].as_str().unwrap().contains("shutting down"), "{why}");
        assert_eq!(json("/healthz").0, 200);
    }
}
