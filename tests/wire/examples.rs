//! The examples, end to end: what the tutorials' own servers say and log.

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
