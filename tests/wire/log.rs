//! The log as programs read it: a line can be split, JSON has a schema, each connection has its line, the journal gets priorities, and
//! no secret is ever in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::backend::Backend;
use crate::ops::{fresh, get_with, run, run_with};
use crate::support::tls::Identity;
use crate::support::{
    CLOSE, Client, FIN, Launch, SOON, Scratch, Server, frame, head_of, text, upgrade_request, wait_until,
};

/// A line without its time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    level: String,
    message: String,
    fields: BTreeMap<String, String>,
}

/// Splits a line for people, as docs/metrics.md says that it can be.
fn split(line: &str) -> Event {
    let (_, rest) = line.split_once(' ').unwrap();
    let (level, rest) = rest.trim_start().split_once(' ').unwrap();
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_')
    };
    let mut starts = rest.match_indices(' ').map(|(at, _)| at);
    let is_field = |at: &usize| rest[at + 1..].split_once('=').is_some_and(|(name, _)| is_name(name));
    let first = starts.find(is_field).unwrap_or(rest.len());
    let (message, mut rest) = rest.split_at(first);
    let mut fields = BTreeMap::new();
    while let Some((name, after)) = rest.strip_prefix(' ').and_then(|rest| rest.split_once('=')) {
        assert!(is_name(name), "{line}");
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            unquote(quoted).unwrap_or_else(|| panic!("{line}"))
        } else {
            let end = after.find(' ').unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        assert_eq!(fields.insert(name.to_owned(), value), None, "{line}");
        rest = after;
    }
    assert_eq!(rest, "", "{line}");
    Event { level: level.to_owned(), message: message.to_owned(), fields }
}

/// A text up to its closing quote, and what follows.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = quoted.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match rest.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                'u' => {
                    let (digits, _) = quoted[at..].strip_prefix("\\u{")?.split_once('}')?;
                    value.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                    rest.nth(digits.len() + 1)?;
                }
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

/// The same out of a line of JSON.
fn read(line: &str) -> Event {
    let Value::Object(mut object) =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    else {
        panic!("{line}")
    };
    let mut take = |key: &str| object.remove(key).map(|value| value.as_str().unwrap().to_owned());
    let (level, message, _) = (take("level").unwrap(), take("message").unwrap(), take("timestamp").unwrap());
    let shown = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Event { level, message, fields: object.into_iter().map(|(key, value)| (key, shown(value))).collect() }
}

/// Everything that peers can write into the log, and more than they should.
fn nasty(server: &Server) {
    for origin in ["http://evil.example", "a b=\"c\" level=ERROR", "\\\" closed peer=1", "="] {
        let fields = format!("Origin: {origin}\r\nX-Request-Id: \"{origin}\r\n");
        let _ = head_of(server.addr, upgrade_request("/ws?token=x", &fields).as_bytes());
    }
    let _ = head_of(server.addr, upgrade_request("/a%20b=c", "Sec-WebSocket-Version: 7\r\n").as_bytes());
    for user in ["Ada", "two words", "q\\\"x= y=z", "=", "back\\\\slash"] {
        let (mut client, _) = Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
        client.send(&text(&format!(r#"{{"type":"hello","user":"{user}","id":1}}"#)));
        client.message();
        client.send(&frame(FIN | CLOSE, b"\x03\xe8code=1 \"reason\" \\ user=root"));
        let _ = client.end(SOON);
    }
    wait_until(SOON, "all ends", || {
        server.log().iter().filter(|line| line.contains("closed") && line.contains("duration_ms")).count()
            == 5
    });
}

#[test]
fn a_line_for_people_can_be_split_and_says_what_the_line_of_json_says() {
    let events = ["text", "json"].map(|format| {
        let server = Launch::serve().args(&["--log-connections", "--log-format", format]).start();
        nasty(&server);
        let log = server.log();
        let lines = log.iter().filter(|line| !line.contains("Server running"));
        let mut events: Vec<Event> =
            lines.map(|line| if format == "text" { split(line) } else { read(line) }).collect();
        for event in &mut events {
            // What differs from run to run.
            for varies in ["peer", "client", "request", "duration_ms", "silent_ms", "host"] {
                event.fields.remove(varies);
            }
        }
        events.sort();
        events
    });
    assert!(events[0].len() >= 10, "{events:?}");
    assert_eq!(events[0], events[1]);
    assert!(events[0].iter().any(|event| event.fields.get("user").is_some_and(|user| user == "q\"x= y=z")));
}

#[test]
fn every_line_of_json_fits_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("../../docs/log.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let server = Launch::serve()
        .env("RUST_LOG", "debug")
        .args(&["--log-connections", "--log-format", "json", "--trusted-proxy", "127.0.0.1"])
        .start();
    nasty(&server);
    let _ = head_of(server.addr, b"\x16\x03\x01 hello");
    server.wait_for_log("rejected");
    for line in server.log() {
        let line: Value = serde_json::from_str(&line).unwrap();
        let errors: Vec<String> = schema.iter_errors(&line).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line}: {errors:?}");
    }
    for wrong in [
        r#"{"level":"INFO"}"#,
        r#"{"level":"LOUD","message":"x"}"#,
        r#"{"level":"INFO","message":"closed","peer":"[::1]:1"}"#,
        r#"{"level":"INFO","message":"x","field":{}}"#,
        r#"{"level":"INFO","message":"x","code":"1000"}"#,
    ] {
        assert!(!schema.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
    }
}

#[test]
fn each_connection_has_its_line_where_that_is_asked_for() {
    let lines = |flags: &[&str], fields: &str| {
        let server = Launch::serve().args(flags).start();
        for n in 0..30 {
            let (mut client, _) = Client::upgrade(server.addr, &format!("/ws?n={n}&key=canary"), fields);
            client.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
            client.expect_close(1000);
        }
        let closed = || server.log().into_iter().filter(|line| line.contains("closed")).collect::<Vec<_>>();
        let wanted = if flags.contains(&"--log-connections") { 30 } else { 4 };
        wait_until(SOON, "the lines", || closed().len() >= wanted);
        closed()
    };
    assert!(lines(&[], "").len() <= 8 + 1);
    let fields = "X-Request-Id: 0f-1\r\nX-Forwarded-For: 192.0.2.9\r\n";
    for (flags, request) in [
        (&["--log-connections"][..], None),
        (&["--log-connections", "--trusted-proxy", "127.0.0.1"], Some("0f-1")),
    ] {
        let lines = lines(flags, fields);
        assert_eq!(lines.len(), 30, "{lines:?}");
        for line in lines {
            let event = split(&line);
            assert!(event.level == "INFO" && event.message == "closed", "{line}");
            assert_eq!(event.fields["path"], "/ws", "{line}");
            // Without a proxy that is believed, the id is one of the server's own.
            let id = &event.fields["request"];
            let is_own = id.len() == 16 && id.bytes().all(|octet| octet.is_ascii_hexdigit());
            assert!(request.map_or(is_own, |request| id == request), "{line}");
            assert!(event.fields["duration_ms"].parse::<u64>().unwrap() < 60_000, "{line}");
            assert!(event.fields["client"].len() > 3 && !event.fields.contains_key("suppressed"), "{line}");
        }
    }
}

#[test]
fn the_journal_gets_priorities_in_the_place_of_the_time() {
    for (format, is_journal) in [("text", true), ("json", true), ("text", false)] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let theirs = File::from(OwnedFd::from(theirs));
        let found = theirs.metadata().unwrap();
        let ino = if is_journal { found.ino() } else { found.ino() + 1 };
        let status = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["token", "check", "--token-key", "/nowhere", "--log-format", format])
            .env("JOURNAL_STREAM", format!("{}:{ino}", found.dev()))
            .env("SWITCHBOARD_NOTHING", "1")
            .stdin(Stdio::null())
            .stderr(theirs)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2));
        let mut log = String::new();
        ours.read_to_string(&mut log).unwrap();
        // This run may have a variable of its own.
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("SWITCHBOARD_TEST_")).collect();
        let [warning, error] = &lines[..] else { panic!("{log}") };
        match (format, is_journal) {
            ("text", true) => {
                assert!(warning.starts_with("<4>WARN the variable SWITCHBOARD_NOTHING"), "{warning}");
                assert!(error.starts_with("<3>ERROR --token-key /nowhere"), "{error}");
            }
            ("json", _) => {
                assert_eq!(read(warning.strip_prefix("<4>").unwrap()).level, "WARN");
                assert_eq!(read(error.strip_prefix("<3>").unwrap()).level, "ERROR");
            }
            _ => assert!(warning.starts_with("20") && split(error).level == "ERROR", "{log}"),
        }
    }
}

/// Secrets of every kind, each with a word that is nowhere else.
#[test]
fn no_canary_is_in_the_log_at_any_level() {
    let api = Scratch::new("api", b"canary-api-secret-0123456789abcdef");
    let key = Scratch::new("key", b"canary-key-0123456789abcdef0123456789");
    let hook_secret = Scratch::new("hook", b"canary-hook-secret-0123456789");
    let (_, token, _) = run(&["token", "mint", "--key", key.path(), "--user", "Ada"], "");
    let token = token.trim();
    let signature = token.rsplit('.').next().unwrap();
    let identity = Identity::new(&["localhost"]);
    let pem = std::fs::read_to_string(identity.flags()[3]).unwrap();
    let private = pem.lines().nth(1).unwrap().to_owned();
    let backend = Backend::start();
    let hook_url = format!("{}?key=canary-hook-query", backend.url());
    for format in ["text", "json"] {
        let (_scratch, data) = fresh();
        let server =
            Launch::switchboard(&["serve", "--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0"])
                .env("RUST_LOG", "trace")
                .args(&["--data", &data, "--log-format", format, "--log-connections"])
                .args(&["--api-token-file", api.path(), "--token-key", key.path()])
                .args(&["--hook-url", &hook_url, "--hook-secret-file", hook_secret.path()])
                .args(&["--hook-ask", "connect,post", "--hook-tell", "posted,connected"])
                .args(&["--sign-in-url", "https://login.example/?client=canary-sign-in"])
                .args(&identity.flags())
                .start_as_it_is();
        let headers = "Cookie: id=canary-cookie\r\nAuthorization: Basic canary-basic\r\nReferer: http://a/?canary-referer\r\n\
                       User-Agent: canary-agent\r\nX-Api-Key: canary-field\r\nProxy-Authorization: canary-proxy\r\n";
        for path in ["/", "/ws", "/api/v1/rooms", "/metrics", "/nowhere", "/admin"] {
            let target = format!("{path}?token=canary-query&access_token={token}");
            let _ = get_with(server.addr, &target, headers);
            let _ = head_of(server.addr, upgrade_request(&target, headers).as_bytes());
            let bearer = "Authorization: Bearer canary-api-secret-0123456789abcdef\r\n";
            let _ = get_with(server.addr, path, bearer);
            let _ = head_of(
                server.addr,
                upgrade_request(path, "Sec-WebSocket-Protocol: canary-protocol\r\n").as_bytes(),
            );
        }
        let (mut client, _) = Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
        for said in [
            format!(r#"{{"type":"hello","token":"{token}","id":1}}"#),
            r#"{"type":"hello","token":"canary-forged","id":2}"#.to_owned(),
            r#"{"type":"join","room":"general","id":3}"#.to_owned(),
            r#"{"type":"post","room":"general","text":"canary-text","data":{"a":"canary-data"},"key":"canary-idempotency","id":4}"#.to_owned(),
            r#"{"type":"canary-type"}"#.to_owned(),
        ] {
            client.send(&text(&said));
        }
        backend.wait_for("the post is told", |events| events.iter().any(|event| event["event"] == "posted"));
        let _ = head_of(server.addr, b"canary-nonsense canary-nonsense\r\n\r\n");
        drop(client);
        server.wait_for_log("duration_ms");
        server.signal("HUP");
        server.wait_for_log("read again");
        for line in server.log() {
            assert!(!line.contains("canary"), "{line}");
            assert!(!line.contains(signature) && !line.contains(&private), "{line}");
        }
    }
    // Nor is a secret in what is said about settings that are wrong.
    for (args, input) in [
        (&["token", "check", "--token-key", key.path()][..], "canary.token.x"),
        (
            &["serve", "--ephemeral", "--hook-url", "https://canary:canary@a.example", "--hook-ask", "post"],
            "",
        ),
        (&["serve", "--ephemeral", "--sign-in-url", "ftp://a.example/?canary"], ""),
    ] {
        let (code, printed, said) = run_with(args, &[("RUST_LOG", "trace")], input);
        assert!(code == 2 && !said.is_empty(), "{said}");
        assert!(!printed.contains("canary") && !said.contains("canary"), "{printed}{said}");
    }
}

#[test]
fn a_client_that_is_turned_away_can_name_its_line() {
    let server = Launch::serve().start();
    let request = upgrade_request("/ws", "Origin: https://evil.example\r\nX-Request-Id: mine\r\n");
    let head = head_of(server.addr, request.as_bytes()).1.unwrap();
    assert_eq!(head.status, 403);
    let id = head.field("x-request-id").unwrap();
    assert!(id.len() == 16 && id.bytes().all(|octet| octet.is_ascii_hexdigit()), "{id}");
    server.wait_for_log(&format!("request=\"{id}\""));
}
