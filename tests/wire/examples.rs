//! The examples, end to end: what the tutorials' own servers say and log.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use crate::support::{
    BINARY, CLOSE, Client, FIN, Head, Launch, SOON, Server, example, frame, head_of, text, upgrade_request,
    wait_until,
};

fn demo_101() -> Server {
    Launch::program(example("demo_101"), "listening on ").args(&["0"]).start()
}

fn hello() -> Server {
    Launch::program(example("hello"), "").args(&["0"]).start()
}

fn enter(server: &Server) -> Client {
    Client::upgrade(server.addr, "/", "Origin: http://localhost\r\n").0
}

#[test]
fn s30_demo_101_says_where_it_listens() {
    let server = demo_101();
    server.wait_for_log(&format!("Server is listening on port {}.", server.port()));
}

#[test]
fn s29_demo_101_answers_plain_http_with_404() {
    let server = demo_101();
    for target in ["/", "/nothing?x=1"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (_, head) = head_of(server.addr, request.as_bytes());
        assert_eq!(head.expect("an answer").status, 404);
        server.wait_for_log(&format!("Received request from {target}"));
    }
}

fn ask(server: &Server, origin: &str) -> Head {
    let request = upgrade_request("/", &format!("Origin: {origin}\r\n"));
    head_of(server.addr, request.as_bytes()).1.expect("an answer")
}

#[test]
fn s31_s32_demo_101_accepts_the_origins_of_this_machine() {
    let server = demo_101();
    let good = ["http://localhost", "http://127.0.0.1", "http://localhost:8000", "http://127.0.0.1:1337"];
    for origin in good {
        assert_eq!(ask(&server, origin).status, 101, "{origin}");
        server.wait_for_log(&format!("Connection accepted from origin {origin}"));
    }
    for origin in
        ["http://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1.evil.example"]
    {
        assert_eq!(ask(&server, origin).status, 403, "{origin}");
    }
    let accepted = server.log().iter().filter(|line| line.contains("Connection accepted")).count();
    assert_eq!(accepted, good.len());
}

#[test]
fn s33_demo_101_gives_the_five_replies() {
    let server = demo_101();
    let mut client = enter(&server);
    for (said, reply) in [
        ("hi", "Hey there"),
        ("hello", "Heya!"),
        ("xyzzy", "Nothing happens."),
        ("desu", "Keep typing, man. Keep typing."),
        ("Hi", "Hello. Uh... what am I supposed to do with 'Hi'?"),
        ("", "Hello. Uh... what am I supposed to do with ''?"),
        ("it's <b>", "Hello. Uh... what am I supposed to do with 'it's <b>'?"),
        ("κόσμε", "Hello. Uh... what am I supposed to do with 'κόσμε'?"),
        ("hi", "Hey there"),
    ] {
        client.send(&text(said));
        client.expect_text(reply);
    }
}

#[test]
fn s34_s35_demo_101_logs_a_conversation() {
    let server = demo_101();
    let mut client = enter(&server);
    server.wait_for_log("Connection started.");
    client.send(&text("xyzzy"));
    client.expect_text("Nothing happens.");
    server.wait_for_log("Received Message: xyzzy");
    client.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
    client.expect_close(1000);
    let line = server.wait_for_log(" has been disconnected.");
    assert!(line.contains("127.0.0.1"), "{line}");
}

#[test]
fn s34_demo_101_hears_text_only() {
    let server = demo_101();
    let mut client = enter(&server);
    client.send(&frame(FIN | BINARY, b"hi"));
    client.send(&text("hello"));
    let got = client.frame();
    let refused = got.opcode == CLOSE && got.close_code() == Some(1003);
    assert!(refused || got.payload == b"Heya!", "{got:?}");
    assert!(!server.log().iter().any(|line| line.contains("Received Message: hi")));
}

#[test]
fn s35_demo_101_escapes_what_a_peer_says() {
    let server = demo_101();
    let mut client = enter(&server);
    client.send(&text("a\x1b[31mred\nforged line\r\0\u{9b}\u{7f}"));
    client.frame();
    let line = server.wait_for_log("Received Message: a");
    assert!(!line.contains(char::is_control), "{line:?}");
    let target = "/\u{9b}forged";
    let (_, _) = head_of(server.addr, format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    client.send(&text("after"));
    client.frame();
    server.wait_for_log("Received Message: after");
    for line in server.log() {
        assert!(!line.starts_with("forged") && !line.contains(char::is_control), "{line:?}");
    }
}

#[test]
fn s35_demo_101_notices_a_bare_fin() {
    let server = demo_101();
    drop(enter(&server));
    server.wait_for_log(" has been disconnected.");
}

#[test]
fn s37_demo_101_knows_echo_protocol() {
    let server = demo_101();
    let chosen = |offer: &str| {
        let fields = format!("Origin: http://localhost\r\n{offer}");
        let (mut client, head) = Client::upgrade(server.addr, "/", &fields);
        client.send(&text("hi"));
        client.expect_text("Hey there");
        head.field("sec-websocket-protocol").map(str::to_owned)
    };
    assert_eq!(chosen("Sec-WebSocket-Protocol: echo-protocol\r\n").as_deref(), Some("echo-protocol"));
    assert_eq!(chosen("Sec-WebSocket-Protocol: foo, echo-protocol\r\n").as_deref(), Some("echo-protocol"));
    assert_eq!(chosen(""), None);
}

#[test]
fn s40_hello_greets_and_logs_what_it_hears() {
    let server = hello();
    for said in ["Hello server!", "\u{1f600} again"] {
        let mut client = Client::open(server.addr);
        client.expect_text("Hello client!");
        client.send(&text(said));
        server.wait_for_log(&format!("Client: {said}"));
        client.send(&frame(FIN | CLOSE, b""));
        let got = client.frame();
        assert_eq!((got.opcode, got.payload.len()), (CLOSE, 0));
    }
    let mut client = Client::open(server.addr);
    client.expect_text("Hello client!");
    client.send(&text("a\x1b[31mred\nforged line"));
    let line = server.wait_for_log("Client: a");
    assert!(!line.contains(char::is_control), "{line:?}");
    wait_until(SOON, "no line is forged", || !server.log().iter().any(|line| line.starts_with("forged")));
}

#[test]
fn s19_the_echo_example_echoes() {
    let server = Launch::program(example("echo"), "").args(&["127.0.0.1:0"]).start();
    let (mut client, _) = Client::upgrade(server.addr, "/any/where", "");
    client.echo("hello");
    client.send(&frame(FIN | BINARY, &[0, 159, 146, 150]));
    client.expect(BINARY, &[0, 159, 146, 150]);
    client.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
    client.expect_close(1000);
}

/// A plain request on a connection of its own: status and body.
fn plain(server: &Server, request: &str) -> (u16, String) {
    let mut client = Client::connect(server.addr);
    client.send(
        request.replace(" HTTP/1.1\r\n", " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n").as_bytes(),
    );
    let (head, body) = client.response();
    (head.status, String::from_utf8(body).unwrap().trim_end().to_owned())
}

fn started(name: &str, announcement: &'static str) -> Server {
    Launch::program(example(name), announcement).args(&["127.0.0.1:0"]).start()
}

#[test]
fn topics_keeps_paths_apart_and_answers_nobody_with_their_own_words() {
    let server = started("topics", "rooms on ws://");
    let enter = |path: &str| Client::upgrade(server.addr, path, "").0;
    let (mut ada, mut ben, mut eve) = (enter("/tea"), enter("/tea"), enter("/coffee"));
    let mut other = enter("/coffee");
    ben.send(&text("from Ben"));
    ada.expect_text("from Ben");
    ada.send(&text("from Ada"));
    ben.expect_text("from Ada");
    // It is the first that anybody hears in that room.
    eve.send(&text("from Eve"));
    other.expect_text("from Eve");
    ada.send(&frame(FIN | CLOSE, &[0x03, 0xE8]));
    ada.expect_close(1000);
    assert_eq!(plain(&server, "GET /tea HTTP/1.1\r\n\r\n").0, 404);
}

#[test]
fn timers_tells_the_time() {
    let server = started("timers", "clock on ws://");
    let mut client = Client::open(server.addr);
    let mut tick = || String::from_utf8(client.message().payload).unwrap().parse::<u64>().unwrap();
    let first = tick();
    assert!(first > 1_700_000_000_000 && tick() > first);
}

#[test]
fn http_answers_at_once_with_a_body_and_later() {
    let server = started("http", "site on http://");
    assert_eq!(plain(&server, "GET / HTTP/1.1\r\n\r\n"), (200, "hello".into()));
    let shout = "POST /shout HTTP/1.1\r\nContent-Length: 3\r\n\r\nhey";
    assert_eq!(plain(&server, shout), (200, "HEY".into()));
    assert_eq!(plain(&server, "GET /slow HTTP/1.1\r\n\r\n"), (200, "done".into()));
    assert_eq!(plain(&server, "GET /nothing HTTP/1.1\r\n\r\n").0, 404);
    Client::open(server.addr).echo("beside it");
}

#[test]
fn mail_brings_lines_of_the_input_to_everybody() {
    let mut child = Command::new(example("mail"))
        .arg("127.0.0.1:0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("announcements on ws://").unwrap().parse().unwrap();
    let (mut ada, mut ben) = (Client::open(address), Client::open(address));
    let mut input = child.stdin.take().unwrap();
    // Who was let in is subscribed by the time that the next line is read.
    writeln!(input, "hello").unwrap();
    for client in [&mut ada, &mut ben] {
        client.expect_text("hello");
    }
    drop(input);
    ada.expect_close(1001);
    ben.expect_close(1001);
    drop((ada, ben));
    assert!(child.wait().unwrap().success());
}

#[test]
fn loops_pass_on_to_each_other_what_is_said() {
    let server = started("loops", "loops on ws://");
    let mut clients: Vec<Client> = (0..12).map(|_| Client::open(server.addr)).collect();
    for at in 0..12 {
        clients[at].send(&text(&format!("from {at}")));
        let mut said = clients.iter_mut().map(|client| String::from_utf8(client.message().payload).unwrap());
        let first = said.next().unwrap();
        assert!(first.starts_with("loop ") && first.ends_with(&format!(": from {at}")), "{first}");
        assert!(said.all(|other| other == first), "{first}");
    }
}

#[test]
fn embedded_chat_has_a_route_of_its_own_and_the_chat_behind_it() {
    let server = started("embedded_chat", "chat on http://");
    assert_eq!(plain(&server, "GET /about HTTP/1.1\r\n\r\n"), (200, "a chat in another program".into()));
    assert!(plain(&server, "GET / HTTP/1.1\r\n\r\n").1.contains("<!doctype html>"));
    let (mut client, _) = Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    client.send(&text(r#"{"type":"hello","user":"Ada"}"#));
    let welcome = String::from_utf8(client.message().payload).unwrap();
    assert!(welcome.starts_with(r#"{"type":"welcome""#), "{welcome}");
    // The program decides what is said, and says something itself.
    let mut until = |command: &str, part: &str| {
        client.send(&text(command));
        loop {
            let said = String::from_utf8(client.message().payload).unwrap();
            if said.contains(part) {
                break;
            }
        }
    };
    until(r#"{"type":"join","room":"tea"}"#, r#""text":"Ada, welcome!""#);
    until(r#"{"type":"post","room":"tea","text":"damn good tea"}"#, r#""text":"d*** good tea""#);
    until(r#"{"type":"post","room":"tea","text":"spam"}"#, r#""code":"refused","message":"no spam here""#);
}

#[test]
fn sans_io_takes_two_ends_from_the_handshake_to_the_close() {
    let output = Command::new(example("sans_io")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().filter(|line| line.starts_with("client got Text")).count(), 1, "{said}");
    assert!(said.ends_with("closed\n"), "{said}");
}

#[test]
fn traced_has_a_span_for_each_message_in_the_trace_of_the_caller() {
    let mut server =
        Launch::program(example("traced"), "traced echo on ws://").args(&["127.0.0.1:0"]).start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let caller = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    let (mut client, _) = Client::upgrade(server.addr, "/x", &caller);
    client.echo("hello");
    drop(client);
    server.signal("TERM");
    server.wait_for_log(&format!("span message trace={trace}"));
    assert_eq!(server.wait(SOON).code(), Some(0));
}
