//! The tutorial chat: subprotocol `json`, as its own page speaks it.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{
    CLOSE, Client, FIN, Launch, PING, PONG, SOON, Server, TEXT, assert_below, for_each, frame, millis, secs,
    text, wait_until,
};

const OFFER: &str = "Sec-WebSocket-Protocol: json\r\n";

/// A member of the chat, and the list that it was given when it came in.
fn join(addr: SocketAddr) -> (Client, Vec<Value>) {
    let (mut client, head) = Client::upgrade(addr, "/", OFFER);
    assert_eq!(head.field("sec-websocket-protocol"), Some("json"));
    let list = next_list(&mut client);
    (client, list)
}

#[track_caller]
fn next_value(client: &mut Client) -> Value {
    let got = client.message();
    assert_eq!(got.opcode, TEXT, "{got:?}");
    serde_json::from_slice(&got.payload).unwrap()
}

#[track_caller]
fn next_list(client: &mut Client) -> Vec<Value> {
    let value = next_value(client);
    assert_eq!(value.as_object().unwrap().len(), 1, "nothing but msg: {value}");
    value["msg"].as_array().unwrap_or_else(|| panic!("no list: {value}")).clone()
}

fn post(client: &mut Client, user: &str, line: &str) {
    client.send(&text(&json!({"user": user, "text": line}).to_string()));
}

fn texts(list: &[Value]) -> Vec<&str> {
    list.iter().map(|message| message["text"].as_str().unwrap()).collect()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[test]
fn s7_s9_the_state_comes_right_after_the_handshake() {
    let server = Launch::serve().start();
    for target in ["/", "/ws", "/?from=page", "/ws?x=y"] {
        let (mut client, head) = Client::upgrade(server.addr, target, OFFER);
        assert_eq!(head.field("sec-websocket-protocol"), Some("json"), "{target}");
        client.expect_text("{\"msg\":[]}");
    }
    let (mut client, head) = Client::upgrade(server.addr, "/", "Sec-WebSocket-Protocol: foo, json\r\n");
    assert_eq!(head.field("sec-websocket-protocol"), Some("json"));
    client.expect_text("{\"msg\":[]}");
}

#[test]
fn s47_a_client_that_offers_nothing_or_something_unknown_speaks_chat_v1() {
    let server = Launch::serve().start();
    for offer in ["", "Sec-WebSocket-Protocol: foo\r\n"] {
        let (mut client, head) = Client::upgrade(server.addr, "/", offer);
        assert_eq!(head.field("sec-websocket-protocol"), None);
        client.send(&text(r#"{"type":"hello","id":1,"user":"ann"}"#));
        let welcome = next_value(&mut client);
        assert_eq!((&welcome["type"], &welcome["id"]), (&json!("welcome"), &json!(1)), "{welcome}");
    }
}

#[test]
fn s10_s11_a_post_gets_the_servers_time() {
    let server = Launch::serve().start();
    let (mut client, _) = join(server.addr);
    let before = now_ms();
    post(&mut client, "ann", "what time is it");
    let list = next_list(&mut client);
    let message = list[0].as_object().unwrap();
    let mut keys: Vec<_> = message.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["text", "time", "user"]);
    assert_eq!((message["user"].as_str(), message["text"].as_str()), (Some("ann"), Some("what time is it")));
    let time = message["time"].as_u64().expect("whole milliseconds");
    assert!((before - 1000..=now_ms() + 1000).contains(&time), "{time} is not now");

    client.send(&text(r#"{"user":"ann","text":"forged","time":1}"#));
    let value = next_value(&mut client);
    assert!(value.get("error").is_some() || value["msg"][0]["time"].as_u64().unwrap() >= time, "{value}");
}

#[test]
fn s12_s44_every_tab_sees_a_post_at_once_the_sender_too() {
    let server = Launch::serve().start();
    let mut tabs: Vec<Client> = (0..10).map(|_| join(server.addr).0).collect();
    for i in 0..20 {
        let line = format!("line {i}");
        post(&mut tabs[i % 10], "ann", &line);
        let lists: Vec<_> = tabs.iter_mut().map(next_list).collect();
        assert_eq!(texts(&lists[0])[0], line);
        assert_eq!(lists[0].len(), i + 1);
        assert!(lists.iter().all(|list| *list == lists[0]), "the same list for everybody");
    }
}

#[test]
fn s12_posts_of_one_segment_are_all_there_and_in_order() {
    let server = Launch::serve().start();
    let (mut client, _) = join(server.addr);
    let (mut other, _) = join(server.addr);
    let posts: Vec<u8> =
        (0..10).flat_map(|i| text(&json!({"user": "ann", "text": i.to_string()}).to_string())).collect();
    client.send(&posts);
    // Lists of one tick may be sent as one; the last one must hold them all.
    for member in [&mut client, &mut other] {
        let mut list = next_list(member);
        while list.len() < 10 {
            let longer = next_list(member);
            assert!(longer.len() > list.len(), "a list went backwards");
            list = longer;
        }
        assert_eq!(texts(&list), ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
    }
}

#[test]
fn s13_the_newest_50_are_kept_newest_first() {
    let server = Launch::serve().start();
    let mut members: Vec<Client> = (0..6).map(|_| join(server.addr).0).collect();
    for i in 0..60 {
        post(&mut members[i % 6], &format!("user {}", i % 6), &format!("{i}"));
        for member in &mut members {
            let list = next_list(member);
            assert_eq!(list.len(), (i + 1).min(50));
            assert_eq!(texts(&list)[0], format!("{i}"));
        }
    }
    let (_, list) = join(server.addr);
    let expected: Vec<String> = (10..60).rev().map(|i| i.to_string()).collect();
    assert_eq!(texts(&list), expected);
    let times: Vec<u64> = list.iter().map(|message| message["time"].as_u64().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
}

#[test]
fn s13_the_size_of_the_ring_is_configurable() {
    let server = Launch::serve().args(&["--history", "3"]).start();
    let (mut client, _) = join(server.addr);
    for i in 0..5 {
        post(&mut client, "ann", &i.to_string());
        next_list(&mut client);
    }
    assert_eq!(texts(&join(server.addr).1), ["4", "3", "2"]);
}

#[test]
fn s10_what_is_no_post_gets_an_error_and_the_connection_stays() {
    let server = Launch::serve().start();
    let (mut witness, _) = join(server.addr);
    let (mut client, _) = join(server.addr);
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let cases = [
        "{}",
        r#"{"user":"ann"}"#,
        r#"{"text":"hi"}"#,
        r#"{"user":1,"text":"hi"}"#,
        r#"{"user":"ann","text":2}"#,
        r#"{"user":null,"text":"hi"}"#,
        r#"{"user":"ann","text":null}"#,
        r#"{"user":"ann","text":["hi"]}"#,
        r#"{"user":{"name":"ann"},"text":"hi"}"#,
        r#"{"user":true,"text":false}"#,
        r#"{"User":"ann","Text":"hi"}"#,
        "[]",
        r#"["ann","hi"]"#,
        r#"[{"user":"ann","text":"hi"}]"#,
        r#""a string""#,
        "1",
        "1e999",
        "null",
        "true",
        "",
        " ",
        "{",
        "}",
        "hello",
        "{user:'ann',text:'hi'}",
        r#"{"user":"ann","text":"hi"}}"#,
        r#"{"user":"ann","text":"hi"} x"#,
        r#"{"user":"ann","text":"hi",}"#,
        r#"{"user":"ann","text":"hi"#,
        r#"{"user":"ann","text":"\ud800"}"#,
        "{\"user\":\"ann\",\"text\":\"a raw \n line\"}",
        "\u{feff}{\"user\":\"ann\",\"text\":\"hi\"}",
        &deep,
    ];
    for_each(cases, |bad| {
        client.send(&text(bad));
        let value = next_value(&mut client);
        assert!(value.get("error").is_some(), "{bad:.60}: {value}");
        assert!(value.get("msg").is_none(), "{value}");
    });
    post(&mut client, "ann", "still here");
    assert_eq!(texts(&next_list(&mut client)), ["still here"]);
    assert_eq!(texts(&next_list(&mut witness)), ["still here"], "nobody else hears of the errors");
}

/// What the chat says to a message: it takes it as a post of this text, or answers an error.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Post(&'static str),
    Error,
}
use Answer::{Error, Post};

/// The message gets this one answer and no other, and the connection goes on.
#[track_caller]
fn expect_answer(client: &mut Client, message: &str, expected: Answer) {
    client.send(&text(message));
    let value = next_value(client);
    assert_eq!(value.as_object().map(serde_json::Map::len), Some(1), "{message:.80}: {value}");
    match expected {
        Post(line) => assert_eq!(value["msg"][0]["text"], line, "{message:.80}: {value}"),
        Error => {
            assert!(value["error"].as_str().is_some_and(|why| !why.is_empty()), "{message:.80}: {value}");
        }
    }
    client.send(&frame(FIN | PING, b"only one answer"));
    client.expect(PONG, b"only one answer");
}

#[test]
fn ms_07_depth_is_no_danger() {
    let mut server = Launch::serve().start();
    let (mut client, _) = join(server.addr);
    let cpu = server.cpu();
    for (open, close, levels) in [("[", "]", 30_000), ("{\"a\":", "}", 10_000)] {
        let open_only = open.repeat(levels);
        let whole = format!("{open_only}1{}", close.repeat(levels));
        expect_answer(&mut client, &open_only, Error);
        expect_answer(&mut client, &whole, Error);
        for field in ["user", "text"] {
            expect_answer(&mut client, &format!("{{\"{field}\":{open_only}"), Error);
            expect_answer(&mut client, &format!("{{\"{field}\":{whole}}}"), Error);
        }
        // A field that the chat does not know is passed over, whatever is in it.
        let post = "{\"user\":\"ann\",\"text\":\"deep\",\"x\":";
        expect_answer(&mut client, &format!("{post}{whole}}}"), Post("deep"));
        expect_answer(&mut client, &format!("{post}{open_only}"), Error);
        expect_answer(&mut client, &format!("{post}{open_only}{}", "]}".repeat(levels / 10)), Error);
    }
    // A hundred thousand levels are more than a message may hold.
    let (mut large, _) = join(server.addr);
    large.send(&text(&"[".repeat(100_000)));
    large.expect_close(1009);
    assert_below("CPU", server.cpu_since(cpu), secs(1));
    server.assert_alive();
    post(&mut client, "ann", "still here");
    assert_eq!(texts(&next_list(&mut client))[0], "still here");
}

#[test]
fn ms_08_every_oddity_of_json_has_one_answer() {
    let server = Launch::serve().start();
    let (mut client, _) = join(server.addr);
    let cases = [
        // A field that occurs twice has no first and no last that wins, in any spelling.
        (r#"{"user":"ann","text":"one","text":"two"}"#, Error),
        (r#"{"user":"ann","user":"bob","text":"a"}"#, Error),
        (r#"{"user":"ann","user":"ann","text":"a"}"#, Error),
        (r#"{"user":"ann","text":"one","te\u0078t":"two"}"#, Error),
        (r#"{"user":"ann","te\u0078t":"escaped"}"#, Post("escaped")),
        (r#"{"user":"ann","text":"b","x":1,"x":2}"#, Post("b")),
        // Numbers.
        (r#"{"user":"ann","text":123456789012345678901234567890}"#, Error),
        (r#"{"user":"ann","text":"c","x":123456789012345678901234567890}"#, Post("c")),
        (r#"{"user":"ann","text":1e999}"#, Error),
        (r#"{"user":"ann","text":"d","x":-1e999}"#, Post("d")),
        (r#"{"user":"ann","text":"e","x":NaN}"#, Error),
        (r#"{"user":"ann","text":"e","x":-Infinity}"#, Error),
        (r#"{"user":"ann","text":"e","x":01}"#, Error),
        (r#"{"user":"ann","text":"e","x":+1}"#, Error),
        (r#"{"user":"ann","text":"e","x":.5}"#, Error),
        (r#"{"user":"ann","text":"e","x":0x10}"#, Error),
        // Escapes.
        (r#"{"user":"ann","text":"\ud800"}"#, Error),
        (r#"{"user":"ann","text":"\udc00"}"#, Error),
        (r#"{"user":"ann","text":"\ude00\ud83d"}"#, Error),
        (r#"{"user":"\ud800x","text":"f"}"#, Error),
        (r#"{"user":"ann","text":"\ud83d\ude00"}"#, Post("\u{1f600}")),
        (r#"{"user":"ann","text":"\x41"}"#, Error),
        (r#"{"user":"ann","text":"\u12"}"#, Error),
        // Before, behind and between.
        ("\u{feff}{\"user\":\"ann\",\"text\":\"g\"}", Error),
        ("{\"user\":\"ann\",\"text\":\"g\"}\0", Error),
        (r#"{"user":"ann","text":"g"}{"user":"ann","text":"h"}"#, Error),
        (r#"{"user":"ann","text":"g"} , "#, Error),
        ("\t\r\n {\"user\":\"ann\",\"text\":\"h\"}\n\n", Post("h")),
        ("\u{a0}{\"user\":\"ann\",\"text\":\"i\"}", Error),
        (r#"{"user":"ann",/* no */"text":"i"}"#, Error),
        ("{\"user\":\"ann\",\"text\":\"a \u{1} b\"}", Error),
        // Types, and fields that mean something elsewhere.
        (r#"{"user":["ann"],"text":"i"}"#, Error),
        (r#"{"user":"ann","text":{"text":"i"}}"#, Error),
        (r#"{1:2,"user":"ann","text":"i"}"#, Error),
        (r#"{"user":" \t","text":"i"}"#, Error),
        (r#"{"user":"ann","text":""}"#, Error),
        (r#"{"user":"ann","text":"j","time":0,"msg":[],"error":"x","__proto__":{}}"#, Post("j")),
    ];
    for_each(cases, |(message, expected)| expect_answer(&mut client, message, expected));
    post(&mut client, "ann", "last");
    let list = next_list(&mut client);
    assert_eq!(texts(&list), ["last", "j", "h", "\u{1f600}", "d", "c", "b", "escaped"]);
    assert!(list.iter().all(|message| message["user"] == "ann" && message["time"].as_u64() > Some(0)));
}

#[test]
fn ms_09_thousands_of_keys_are_read_in_linear_time() {
    let server = Launch::serve().start();
    let (mut client, _) = join(server.addr);
    let different: Vec<String> = (0..6000).map(|i| format!("\"{i:04}\":0,")).collect();
    let equal = "\"k\":0,".repeat(10_000);
    let cpu = server.cpu();
    for _ in 0..10 {
        for keys in [&different.concat(), &equal] {
            expect_answer(&mut client, &format!("{{{keys}\"z\":0}}"), Error);
            expect_answer(&mut client, &format!("{{{keys}\"user\":\"ann\",\"text\":\"k\"}}"), Post("k"));
        }
    }
    // 20 ms for each, in a build without optimization.
    assert_below("CPU for 40 messages of 60 KB", server.cpu_since(cpu), millis(800));
}

#[test]
fn s25_text_is_data_and_comes_back_as_it_was() {
    let server = Launch::serve().start();
    let (mut client, _) = join(server.addr);
    for line in [
        "<img src=x onerror=alert(1)>",
        "</script><script>alert(1)</script>",
        "{{constructor.constructor('alert(1)')()}}",
        "\"quotes\" and \\ and / and \u{2028}\u{2029}",
        "\0\u{1}\u{1f}\u{7f}\n\r\t",
        "grüße, κόσμε, 👩‍👩‍👧‍👦, \u{10ffff}",
    ] {
        post(&mut client, "ann <b>", line);
        let value = next_value(&mut client);
        // Control characters may be refused; whatever is passed on is what was written.
        if value.get("error").is_none() {
            assert_eq!(value["msg"][0]["text"].as_str(), Some(line));
            assert_eq!(value["msg"][0]["user"].as_str(), Some("ann <b>"));
        } else {
            assert!(line.contains('\0'), "{value}");
        }
    }
}

#[test]
fn s12_a_post_may_come_in_fragments_and_in_any_spelling() {
    let server = Launch::serve().start();
    let (mut client, _) = join(server.addr);
    let body = " {\n \"text\" : \"h\\u00e9 \\ud83d\\ude00\" ,\t\"user\":\"ann\" } ";
    for (i, byte) in body.as_bytes().chunks(1).enumerate() {
        let opcode = if i == 0 { TEXT } else { 0 };
        client.send(&frame(opcode | if i + 1 == body.len() { FIN } else { 0 }, byte));
    }
    assert_eq!(texts(&next_list(&mut client)), ["hé \u{1f600}"]);
}

#[test]
fn s17_s18_whoever_leaves_leaves_the_room() {
    let mut server = Launch::serve().start();
    let (mut stays, _) = join(server.addr);
    let base = server.descriptors();
    let leave: [fn(Client); 4] = [
        |mut client| {
            client.send(&frame(FIN | CLOSE, &1001_u16.to_be_bytes()));
            client.expect_close(1001);
        },
        drop,
        Client::reset,
        |mut client| {
            client.half_close();
            assert_ne!(client.end(SOON), crate::support::End::Timeout);
        },
    ];
    for (i, leave) in leave.into_iter().cycle().take(20).enumerate() {
        let (leaver, _) = join(server.addr);
        wait_until(SOON, "one more connection", || server.descriptors() > base);
        leave(leaver);
        post(&mut stays, "ann", &i.to_string());
        assert_eq!(texts(&next_list(&mut stays))[0], i.to_string());
        server.wait_for_descriptors(base, SOON);
    }
    server.assert_alive();
}

#[test]
fn s28_the_environment_gives_the_port() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Launch::switchboard(&["serve", "--ephemeral"]).env("PORT", &free.to_string()).start();
    assert_eq!(server.port(), free);
    server.wait_for_log(&format!("listening on port {free} of all addresses"));
    join(server.addr);
}

#[test]
fn s28_no_command_at_all_is_serve() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let directory = std::env::temp_dir().join(format!("switchboard-wire-{}-{free}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let server = Launch::switchboard(&[]).env("PORT", &free.to_string()).working_in(&directory).start();
    assert_eq!(server.port(), free);
    join(server.addr);
    drop(server);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn s27_the_log_line_names_the_real_port() {
    let server: Server = Launch::serve().start();
    server.wait_for_log(&format!("Server running at http://localhost:{}", server.port()));
}

#[test]
fn s44_a_stalled_tab_holds_up_nobody() {
    let server = Launch::serve().start();
    let (_stalled, _) = join(server.addr);
    let (mut ann, _) = join(server.addr);
    let long = "x".repeat(2000);
    for i in 0..40 {
        post(&mut ann, "ann", &long);
        assert_eq!(next_list(&mut ann).len(), i + 1);
        std::thread::sleep(millis(2));
    }
}
