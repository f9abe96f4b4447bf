//! The scenario `custom`: messages of one's own, openings, answers by field and pattern, and the profiles.

use std::fs;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use switchboard::apps::Echo;

use crate::support::{Answers, Honest, Run, Scratch, loadgen, start};

/// Runs the scenario with these words.
fn custom(address: SocketAddr, words: &[&str]) -> Run {
    let (json, url) = (Scratch::new("json"), format!("ws://{address}/"));
    let output = loadgen(&[&["custom", &url, "--json", json.path()], words].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Run {
        status: output.status.code().expect("an exit status"),
        text: String::from_utf8(output.stdout).expect("text") + &errors,
        json: serde_json::from_str(&json.read()).unwrap_or_default(),
    }
}

fn file(kind: &str, text: &str) -> Scratch {
    let file = Scratch::new(kind);
    fs::write(&file.0, text).expect("a file");
    file
}

/// A server whose answers are a function of the text and of what it has seen of the connection.
fn server(answer: impl Fn(&str, &mut Vec<Vec<u8>>) -> Vec<String> + Send + Sync + 'static) -> SocketAddr {
    start(Answers(move |_, message: Vec<u8>, held: &mut Vec<Vec<u8>>| {
        let text = String::from_utf8(message.clone()).expect("text");
        let answers = answer(&text, held);
        held.push(message);
        Some(answers.into_iter().map(String::into_bytes).collect())
    }))
}

#[test]
fn messages_may_come_from_a_pipe() {
    let pipe = Scratch::new("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe.0).status().expect("mkfifo");
    assert!(made.success());
    let path = pipe.0.clone();
    let writer = thread::spawn(move || fs::write(path, "one\ntwo\n").expect("the pipe is read"));
    let address = server(|text, _| vec![text.to_owned()]);
    let run = custom(address, &["--payload", pipe.path(), "--connections", "1", "--messages", "2"]);
    assert_eq!((run.status, run.count("answered")), (0, 2), "{run:?}");
    writer.join().expect("it was written once");
}

#[test]
fn messages_of_a_file_are_sent_in_turn_with_their_values() {
    let (sender, receiver) = mpsc::channel();
    let address = server(move |text, _| {
        sender.send(text.to_owned()).expect("the test waits");
        vec![text.to_owned()]
    });
    let payload = file(
        "json",
        r#"[{"id": "{{conn}}/{{seq}}", "text": "{{random:8}}", "at": "{{now}}"}, "plain {{seq+10}}"]"#,
    );
    let words = ["--payload", payload.path(), "--connections", "1", "--messages", "4"];
    let run = custom(address, &words);
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 4, [0; 4]), "{run:?}");
    let seen: Vec<String> = receiver.try_iter().collect();
    assert_eq!((seen[1].as_str(), seen[3].as_str()), ("plain 11", "plain 13"));
    let first: Value = serde_json::from_str(&seen[0]).unwrap();
    assert_eq!((&first["id"], first["text"].as_str().unwrap().len()), (&"0/0".into(), 8));
    assert!(first["at"].as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000_000, "{first}");
    let second: Value = serde_json::from_str(&seen[2]).unwrap();
    assert!(second["id"] == "0/2" && second["text"] != first["text"], "{second}");
    // In an open loop, over two threads, against the real server.
    let server = Honest::start(Echo);
    let words = ["--payload", payload.path(), "--connections", "4", "--threads", "2", "--rate", "400"];
    let run = custom(server.address, &[&words[..], &["--warmup", "0s", "--duration", "500ms"]].concat());
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 200, [0; 4]), "{run:?}");
    assert_eq!(run.json["latency_from_plan_ns"]["count"], 200);
}

#[test]
fn each_lie_about_an_answer_has_its_name() {
    // Lost, duplicated, reordered, corrupted, of six messages.
    let lies: [(&str, [u64; 4]); 8] = [
        ("honest", [0, 0, 0, 0]),
        ("never", [1, 0, 0, 0]),
        ("twice", [0, 1, 0, 0]),
        ("wrong", [1, 0, 0, 1]),
        ("other", [1, 0, 0, 1]),
        ("half", [1, 0, 0, 1]),
        ("late", [0, 0, 0, 0]),
        ("chatty", [0, 0, 0, 0]),
    ];
    let tests = lies.map(|(lie, faults)| {
        thread::spawn(move || {
            let address = server(move |text, held| {
                let answer = text.to_owned();
                let text = |id: &str| answer.replace("c0-2", id);
                match (lie, answer.contains("c0-2"), answer.contains("c0-4")) {
                    ("never" | "late", true, _) => vec![],
                    ("twice", true, _) => vec![answer.clone(), answer],
                    ("wrong", true, _) => vec![text("c0-99")],
                    ("other", true, _) => vec![text("c1-2")],
                    ("half", true, _) => vec![answer[..9].to_owned()],
                    ("late", _, true) => vec![answer, String::from_utf8(held[2].clone()).unwrap()],
                    ("chatty", ..) => vec![r#"{"type":"news","id":7}"#.to_owned(), answer],
                    _ => vec![answer],
                }
            });
            let payload = file("txt", r#"{"type":"ask","id":"c{{conn}}-{{seq}}"}"#);
            let words =
                ["--payload", payload.path(), "--connections", "1", "--messages", "6", "--pipeline", "3"];
            let expect =
                ["--expect", "$.type=ask", "--expect", "$.id=c{{conn}}-{{seq}}", "--duration", "300ms"];
            let run = custom(address, &[&words[..], &expect].concat());
            assert_eq!(run.faults(), faults, "{lie} {run:?}");
            assert_eq!(run.status, i32::from(faults != [0; 4]), "{lie} {run:?}");
        })
    });
    for test in tests {
        test.join().unwrap();
    }
}

#[test]
fn an_error_of_the_server_is_a_failure_and_is_not_awaited() {
    let address = server(|text, _| {
        let is_bad = text == "ask 1";
        vec![if is_bad { "error <b>\u{1b}[31m".to_owned() } else { text.to_owned() }]
    });
    let payload = file("txt", "ask {{seq}}\n");
    let words = ["--payload", payload.path(), "--connections", "2", "--messages", "3", "--fail-on", "^error"];
    let run = custom(address, &[&words[..], &["--expect", r"^ask (?<seq>\d+)$"]].concat());
    assert_eq!(
        (run.status, run.failures("error of the server: error"), run.count("answered")),
        (1, 2, 4),
        "{run:?}"
    );
    assert_eq!((run.faults(), run.text.contains('\u{1b}')), ([0; 4], false), "{run:?}");
}

#[test]
fn an_opening_sends_awaits_and_remembers() {
    let (sender, receiver) = mpsc::channel();
    let address = server(move |text, held| {
        sender.send(text.to_owned()).expect("the test waits");
        match held.len() {
            0 => vec!["noise".to_owned(), r#"{"sid":"S77"}"#.to_owned(), "ping".to_owned()],
            1 => vec![],
            _ => vec![text.to_owned()],
        }
    });
    let on_open = file("txt", "hello {{name}}\n< \"sid\":\"(?<sid>\\w+)\"\n");
    let payload = file("txt", "{{sid}}-{{seq}}");
    let words = ["--payload", payload.path(), "--on-open", on_open.path(), "--set", "name=bob"];
    let more = ["--connections", "1", "--messages", "2", "--reply", "^ping$=>pong {{sid}}", "--expect", "^S"];
    let run = custom(address, &[&words[..], &more].concat());
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 2, [0; 4]), "{run:?}");
    let seen: Vec<String> = receiver.try_iter().collect();
    assert_eq!(seen, ["hello bob", "pong S77", "S77-0", "S77-1"]);
}

#[test]
fn an_opening_that_is_never_answered_is_named() {
    let address = server(|_, _| vec![]);
    let on_open = file("txt", "hello\n< ^welcome\n");
    let payload = file("txt", "{{seq}}");
    let words = ["--payload", payload.path(), "--on-open", on_open.path(), "--connections", "2"];
    let run = custom(address, &words);
    assert_eq!((run.status, run.failures("no message matched ^welcome within 10 s")), (1, 2), "{run:?}");
}

/// Servers that speak as the real ones do.
#[test]
fn the_profiles_speak_their_protocols() {
    let phoenix = server(|text, _| {
        let message: Value = serde_json::from_str(text).unwrap();
        let status = if message[2] == "room:lobby" { "ok" } else { "error" };
        vec![format!(
            r#"["1",{},{},"phx_reply",{{"response":{{}},"status":"{status}"}}]"#,
            message[1], message[2]
        )]
    });
    let centrifugo = server(|text, _| {
        let command: Value = serde_json::from_str(text).unwrap();
        let kind =
            ["connect", "subscribe", "publish"].into_iter().find(|kind| command.get(kind).is_some()).unwrap();
        let reply = format!(r#"{{"id":{},"{kind}":{{}}}}"#, command["id"]);
        match kind {
            // Its ping, which must be answered with the same.
            "subscribe" => vec![reply, "{}".to_owned()],
            // Several replies and pushes may share a message, in lines.
            "publish" if command["id"].as_u64().unwrap().is_multiple_of(3) => {
                vec![format!("{{\"push\":{{\"channel\":\"bench\"}}}}\n{reply}\n")]
            }
            _ => vec![reply],
        }
    });
    let pusher = server(|text, _| {
        let event: Value = serde_json::from_str(text).unwrap();
        vec![match event["event"].as_str().unwrap() {
            "pusher:subscribe" => {
                r#"{"event":"pusher_internal:subscription_succeeded","data":"{}"}"#.to_owned()
            }
            "pusher:ping" => r#"{"event":"pusher:pong","data":{}}"#.to_owned(),
            other => unreachable!("{other}"),
        }]
    });
    // Pusher speaks first: its server here cannot, so the opening begins with the subscription.
    let on_open = file(
        "txt",
        "{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"x\"}}\n< subscription_succeeded\n",
    );
    let options = ["--connections", "3", "--messages", "20", "--pipeline", "4"];
    for (profile, address, more) in
        [("phoenix", phoenix, &[][..]), ("pusher", pusher, &["--on-open", on_open.path()])]
    {
        let run = custom(address, &[&["--profile", profile], &options[..], more].concat());
        assert_eq!((run.status, run.count("answered"), run.faults()), (0, 60, [0; 4]), "{profile} {run:?}");
    }
    let refused = custom(
        phoenix,
        &["--profile", "phoenix", "--connections", "2", "--set", "topic=secret", "--messages", "1"],
    );
    assert_eq!((refused.status, refused.failures("\"status\":\"error\"")), (1, 2), "{refused:?}");
    let stomp = server(|text, _| {
        let (head, _) = text.strip_suffix('\0').unwrap().split_once("\n\n").unwrap();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        vec![match head.lines().next().unwrap() {
            "CONNECT" if header("login:") == "guest" => "CONNECTED\nversion:1.2\n\n\0".to_owned(),
            "SEND" if header("destination:") == "/topic/bench" => {
                format!("RECEIPT\nreceipt-id:{}\n\n\0", header("receipt:"))
            }
            _ => "ERROR\nmessage:denied\n\n\0".to_owned(),
        }]
    });
    let run = custom(stomp, &[&["--profile", "stomp"], &options[..]].concat());
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 60, [0; 4]), "{run:?}");
    let options = ["--connections", "2", "--messages", "1", "--set", "destination=/secret"];
    let refused = custom(stomp, &[&["--profile", "stomp"], &options[..]].concat());
    assert_eq!((refused.status, refused.failures("error of the server: ERROR")), (1, 2), "{refused:?}");
    let options = ["--connections", "3", "--messages", "20", "--pipeline", "4"];
    // Its server may not see a `{}` that it did not ask for.
    let run =
        custom(centrifugo, &[&["--profile", "centrifugo", "--reply", "never=>x"], &options[..]].concat());
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 60, [0; 4]), "{run:?}");
}

#[test]
fn what_cannot_be_sent_or_recognised_is_refused() {
    let payload = file("txt", "no number");
    let empty = file("txt", "\n\n");
    for (words, reason) in [
        (&[][..], "--payload"),
        (&["--payload", "/no/such/file"], "No such file"),
        (&["--payload", empty.path()], "must not be empty"),
        (&["--payload", payload.path(), "--expect", "("], "regular expression"),
        (&["--payload", payload.path(), "--expect", "$.a..b"], "$.payload.id"),
        (&["--payload", payload.path(), "--expect", "$.id"], "does not have it"),
        (&["--payload", payload.path(), "--expect", "$.id={{sqe}}"], "{{sqe}} is unknown"),
        (&["--payload", payload.path(), "--reply", "x"], "PATTERN=>TEXT"),
        (&["--payload", payload.path(), "--set", "x"], "NAME=VALUE"),
        (&["--payload", payload.path(), "--fail-on", "["], "regular expression"),
        (&["--profile", "none"], "possible values"),
    ] {
        let output = loadgen(&[&["custom", "ws://127.0.0.1:1/"], words].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && errors.contains(reason), "{words:?}: {errors}");
    }
}
