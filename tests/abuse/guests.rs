//! AM-01, AM-02, AU-01, AU-02, CP-02 and MS-03 on the binary: what one guest can make the chat hold, do and show.

use serde_json::{Value, json};

use crate::support::{
    CLOSE, CONTINUATION, Client, FIN, Launch, RSV1, SOON, Scratch, Server, TEXT, assert_below, frame, millis,
    secs, text, upgrade_request, wait_until,
};

const CHAT: &str = "Sec-WebSocket-Protocol: chat.v1.json\r\n";

/// The next notice of a chat of this type.
#[track_caller]
fn notice(client: &mut Client, kind: &str) -> String {
    loop {
        let said = String::from_utf8(client.message().payload).unwrap();
        if said.starts_with(&format!("{{\"type\":\"{kind}\"")) {
            return said;
        }
    }
}

#[track_caller]
fn guest(server: &Server, name: &str) -> Client {
    let (mut client, _) = Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    client.send(&text(&format!(r#"{{"type":"hello","user":"{name}"}}"#)));
    notice(&mut client, "welcome");
    client.send(&text(r#"{"type":"join","room":"r","history":1}"#));
    notice(&mut client, "joined");
    client
}

#[test]
fn am_01_one_write_of_expensive_commands_holds_one_answer_and_delays_nobody() {
    let mut server = Launch::serve().args(&["--posts-per-second", "0"]).start();
    let mut ada = guest(&server, "Ada");
    // Each octet of it is six in JSON.
    let long = "\\u0001".repeat(4095);
    for _ in 0..100 {
        ada.send(&text(&format!(r#"{{"type":"post","room":"r","text":"{long}a"}}"#)));
        notice(&mut ada, "ack");
    }
    let (mut greedy, mut other) = (guest(&server, "Eve"), guest(&server, "Bob"));
    let rss = server.rss_kib();
    greedy.send(&text(r#"{"type":"history","room":"r","limit":100}"#).repeat(380));
    for _ in 0..20 {
        other.send(&text(r#"{"type":"who","room":"r"}"#));
        notice(&mut other, "members");
        std::thread::sleep(millis(10));
    }
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 16 * 1024);
    // It is closed for nothing: each command is answered, with what it asked for or with the limit of its rate.
    let (mut answers, mut refused) = (0, 0);
    while answers + refused < 380 {
        let said = String::from_utf8(greedy.message().payload).unwrap();
        answers += usize::from(said.starts_with(r#"{"type":"history""#));
        let is_refusal = said.starts_with(r#"{"type":"error""#);
        assert!(!is_refusal || said.contains(r#""code":"rate_limited""#), "{said}");
        refused += usize::from(is_refusal);
    }
    assert!(answers > 0);
    server.assert_alive();
}

/// What the client is told next that has this type.
#[track_caller]
fn told(client: &mut Client, kind: &str) -> Value {
    serde_json::from_str(&notice(client, kind)).unwrap()
}

fn say(client: &mut Client, command: &Value) {
    client.send(&text(&command.to_string()));
}

/// Posts this many messages of this text, fifty at a time.
fn fill(client: &mut Client, room: &str, count: usize, words: &str) {
    let post = text(&json!({"type": "post", "room": room, "text": words}).to_string());
    for _ in 0..count / 50 {
        client.send(&post.repeat(50));
        for _ in 0..50 {
            notice(client, "ack");
        }
    }
}

#[test]
fn am_01_one_who_resumes_eight_full_rooms_and_reads_is_not_cut_off() {
    let mut server = Launch::serve().args(&["--posts-per-second", "0"]).start();
    let mut ada = guest(&server, "Ada");
    let rooms: Vec<String> = (0..8).map(|room| format!("r{room}")).collect();
    let mut resume = Vec::new();
    for room in &rooms {
        say(&mut ada, &json!({"type": "join", "room": room}));
        let epoch = told(&mut ada, "joined")["epoch"].clone();
        fill(&mut ada, room, 1000, &"x".repeat(4000));
        let since = json!({"epoch": epoch, "seq": 1, "rev": 0});
        resume.extend(text(&json!({"type": "join", "room": room, "since": since}).to_string()));
    }
    let rss = server.rss_kib();
    let mut back = guest(&server, "Bea");
    back.send(&resume);
    for room in &rooms {
        let joined = told(&mut back, "joined");
        assert_eq!(joined["room"], **room);
        let messages = joined["messages"].as_array().unwrap();
        assert_eq!(messages.last().unwrap()["seq"], 1000);
    }
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 8 * 1024);
    say(&mut back, &json!({"type": "who", "room": "r0"}));
    notice(&mut back, "members");
    server.assert_alive();
}

#[test]
fn am_02_searches_in_memory_let_others_in_between() {
    let mut server = Launch::serve().args(&["--posts-per-second", "0"]).start();
    let mut ada = guest(&server, "Ada");
    fill(&mut ada, "r", 1000, &"needle ".repeat(550));
    let (mut greedy, mut other) = (guest(&server, "Eve"), guest(&server, "Bob"));
    let cpu = server.cpu();
    greedy.send(&text(r#"{"type":"search","room":"r","query":"hay"}"#).repeat(100));
    // One after the other: each waits for a turn of the loop.
    for _ in 0..10 {
        say(&mut other, &json!({"type": "who", "room": "r"}));
        notice(&mut other, "members");
    }
    // Had the first turn searched for all of them, nothing were left to do.
    let meanwhile = server.cpu_since(cpu);
    let mut answers = 0;
    while answers < 100 {
        let said: Value = serde_json::from_slice(&greedy.message().payload).unwrap();
        let is_refusal = said["type"] == "error" && said["code"] == "rate_limited";
        answers += usize::from(is_refusal || said["type"] == "found");
    }
    assert_below("CPU until the bystander was served", meanwhile, server.cpu_since(cpu) / 2);
    server.assert_alive();
}

const SECRET: &str = "a secret of more than thirty-two bytes";

/// A chat that takes tokens alone, and the key of the tokens.
fn strict() -> (Server, Scratch) {
    let key = Scratch::new("secret", SECRET.as_bytes());
    let server =
        Launch::serve().args(&["--require-token", "--token-leeway", "0", "--token-key", key.path()]).start();
    (server, key)
}

fn mint(key: &Scratch, args: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["token", "mint", "--key", key.path()])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn au_01_the_subprotocol_json_asks_for_the_token_that_the_other_one_asks_for() {
    let (server, key) = strict();
    let refused = |token: &str| {
        let target = if token.is_empty() { "/ws".to_owned() } else { format!("/ws?token={token}") };
        let mut client = Client::connect(server.addr);
        client.send(upgrade_request(&target, "Sec-WebSocket-Protocol: json\r\n").as_bytes());
        client.head().status
    };
    assert_eq!(refused(""), 401);
    assert_eq!(refused("nonsense"), 401);
    assert_eq!(refused(&mint(&key, &["--user", "Ada", "--room", "team:join,post"])), 403);
    assert_eq!(refused(&mint(&key, &["--user", "Ada", "--room", "general:post"])), 403);
    let brief = mint(&key, &["--user", "Ada", "--expires", "2s"]);
    let (mut ada, head) =
        Client::upgrade(server.addr, &format!("/ws?token={brief}"), "Sec-WebSocket-Protocol: json\r\n");
    assert_eq!(head.status, 101);
    loop {
        let frame = ada.try_frame(secs(8)).expect("an end with a Close");
        if frame.opcode == CLOSE {
            assert_eq!(frame.close_code(), Some(4003));
            break;
        }
    }
}

#[test]
fn am_02_logins_of_those_who_left_leave_nothing_behind() {
    let (server, key) = strict();
    let token = mint(&key, &["--user", "Ada", "--expires", "1h"]);
    let hello = text(&json!({"type": "hello", "token": token}).to_string());
    let login = |count: usize| {
        for _ in 0..count {
            let (mut client, _) = Client::upgrade(server.addr, "/ws", CHAT);
            client.send(&hello);
            notice(&mut client, "welcome");
        }
    };
    login(200);
    let rss = server.rss_kib();
    login(4_000);
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 2 * 1024);
}

#[test]
fn au_02_the_read_marks_of_guests_who_left_are_gone() {
    let server = Launch::serve().start();
    let mut ada = guest(&server, "Ada");
    say(&mut ada, &json!({"type": "post", "room": "r", "text": "hello"}));
    notice(&mut ada, "ack");
    let mut eve = guest(&server, "Eve");
    say(&mut eve, &json!({"type": "read", "id": 1, "room": "r", "seq": 1}));
    assert_eq!(told(&mut ada, "reads")["reads"], json!([{"user": "Eve", "seq": 1}]));
    eve.send(&frame(FIN | CLOSE, &[0x03, 0xE8]));
    while eve.frame().opcode != CLOSE {}
    wait_until(SOON, "Eve has left", || {
        say(&mut ada, &json!({"type": "who", "room": "r"}));
        told(&mut ada, "members")["count"] == 1
    });
    // The next one of that name has read nothing.
    let (mut next, _) = Client::upgrade(server.addr, "/ws", CHAT);
    say(&mut next, &json!({"type": "hello", "user": "Eve"}));
    say(&mut next, &json!({"type": "join", "room": "r"}));
    assert_eq!(told(&mut next, "joined")["read"], 0);
}

#[test]
fn cp_02_final_blocks_cost_their_sender_and_nobody_else() {
    let mut server = Launch::echo().args(&["--deflate", "--max-message", "4194304"]).start();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (mut bomber, head) = Client::upgrade(server.addr, "/", offer);
    assert!(head.field("sec-websocket-extensions").is_some());
    let mut other = Client::open(server.addr);
    // Blocks of 32 octets with BFINAL set (RFC 7692 7.2.3.5), 20,000 in a message.
    let mut payload = [&[0x01, 27, 0, !27, 0xFF][..], &[b'x'; 27]].concat().repeat(20_000);
    payload.push(0);
    let flood = frame(FIN | RSV1 | TEXT, &payload);
    bomber.send(&flood.repeat(4));
    let cpu = server.cpu();
    for _ in 0..10 {
        other.echo("beside it");
    }
    let meanwhile = server.cpu_since(cpu);
    for _ in 0..4 {
        bomber.message();
    }
    // The bystander was served in between and not behind all of it.
    assert_below("CPU until the bystander was served", meanwhile, server.cpu_since(cpu) / 2);
    server.assert_alive();
}

#[test]
fn ms_03_a_million_empty_fragments_are_no_message() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    let mut flood = frame(TEXT, b"");
    flood.extend(frame(CONTINUATION, b"").repeat(1_000_000));
    // The server may have closed before all of it was written.
    let _ = client.try_send(&flood);
    client.expect_close(1008);
}
