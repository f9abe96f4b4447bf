//! Data directories of every format that there ever was are opened by this binary, and one of a later format is left alone.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::chat_v1::Person;
use crate::ops::{fresh, run, run_with};
use crate::support::{CLOSE, Client, Launch, SOON, Scratch, Server, text, wait_until};

/// That of tests/fixtures/make.py.
const SECRET: &[u8] = b"a key that signs the tokens of the fixtures";

/// The databases, each with its format, which `tests/fixtures/make.py` has made by the binaries of their time.
fn fixtures() -> Vec<(i32, PathBuf)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/data");
    let mut found: Vec<(i32, PathBuf)> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let format = name.strip_prefix("format-").and_then(|name| name.strip_suffix(".db.gz")).unwrap();
            (format.parse().unwrap(), path)
        })
        .collect();
    found.sort();
    found
}

/// A data directory with one of the databases.
fn unpack(path: &Path) -> (Scratch, String) {
    let (scratch, data) = fresh();
    let mut database = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut database).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::write(format!("{data}/switchboard.db"), database).unwrap();
    (scratch, data)
}

fn format_of(data: &str) -> i32 {
    let database = Connection::open(format!("{data}/switchboard.db")).unwrap();
    database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

fn texts(messages: &Value) -> Vec<(u64, &str, &str)> {
    let messages = messages.as_array().unwrap().iter();
    messages
        .map(|it| {
            (
                it["seq"].as_u64().unwrap(),
                it["user"].as_str().unwrap(),
                it["text"].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

fn token(key: &Scratch, user: &str) -> String {
    let (code, token, said) = run(&["token", "mint", "--key", key.path(), "--user", user], "");
    assert_eq!(code, 0, "{said}");
    token.trim().to_owned()
}

/// A person with a token.
fn come(server: &Server, key: &Scratch, user: &str) -> Person {
    let mut person = Person::connect(server.addr);
    let welcome = person.ask(&json!({"type": "hello", "token": token(key, user)}));
    assert_eq!(welcome["user"], user, "{welcome}");
    person
}

#[test]
fn every_format_that_ever_was_is_opened_with_all_that_is_in_it() {
    let key = Scratch::new("key", SECRET);
    let fixtures = fixtures();
    let mut newest = 0;
    for (format, path) in &fixtures {
        let (_scratch, data) = unpack(path);
        assert_eq!(format_of(&data), *format);
        let mut server = Launch::switchboard(&["serve", "--listen", "127.0.0.1:0", "--data", &data])
            .args(&["--token-key", key.path()])
            .start();
        let mut ada = come(&server, &key, "Ada");
        let joined = ada.ask(&json!({"type": "join", "room": "general"}));
        let expected = [
            (1, "Ada", "message 1 of Ada"),
            (2, "Ada", "message 2, edited"),
            (3, "Ada", ""),
            (4, "Ada", "message 4 of Ada"),
            (5, "Bob", "an answer of Bob"),
        ];
        assert_eq!(texts(&joined["messages"]), expected, "{format}: {joined}");
        assert_eq!(joined["messages"][2]["deleted"], true, "{format}: {joined}");
        assert_eq!(joined["messages"][0]["reactions"], json!({"👍": ["Bob"]}), "{format}: {joined}");
        let other = ada.ask(&json!({"type": "join", "room": "Grüße"}));
        assert_eq!(texts(&other["messages"]), [(1, "Bob", "schöne Grüße 👋")], "{format}: {other}");
        // The index of words is made again beside everything else.
        wait_until(SOON, "the index of words", || {
            let found = ada.ask(&json!({"type": "search", "room": "general", "query": "edited"}));
            texts(&found["messages"]) == [expected[1]]
        });
        let mut bob = come(&server, &key, "Bob");
        let between = bob.ask(&json!({"type": "history", "room": "@Ada"}));
        assert_eq!(between["messages"][0]["text"], "between us", "{format}: {between}");
        let (mut mallory, _) =
            Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
        mallory.send(&text(&json!({"type": "hello", "token": token(&key, "Mallory")}).to_string()));
        let last = std::iter::from_fn(|| Some(mallory.frame())).find(|frame| frame.opcode == CLOSE);
        assert_eq!(last.unwrap().close_code(), Some(4002), "{format}: the ban holds");
        // It goes on where it ended.
        let ack = ada.ask(&json!({"type": "post", "room": "general", "text": "new"}));
        assert_eq!((&ack["seq"], &ack["durable"]), (&json!(6), &json!("disk")), "{format}: {ack}");
        drop((ada, bob, mallory));
        server.signal("TERM");
        assert_eq!(server.wait(SOON).code(), Some(0));
        newest = format_of(&data);
        let (code, lines, said) = run_with(&["export", "--all", "--data", &data], &[], "");
        assert!(
            code == 0 && lines.contains("message 2, edited") && lines.contains("\"new\""),
            "{format}: {said}"
        );
    }
    let formats: Vec<i32> = fixtures.iter().map(|(format, _)| *format).collect();
    let all: Vec<i32> = (1..=newest).collect();
    assert_eq!(formats, all, "a format has no fixture: tests/fixtures/make.py makes it");
}

#[test]
fn a_later_format_is_refused_with_a_sentence_and_left_alone() {
    let (format, path) = fixtures().pop().unwrap();
    let (_scratch, data) = unpack(&path);
    let database = Connection::open(format!("{data}/switchboard.db")).unwrap();
    database.execute_batch(&format!("PRAGMA user_version = {};", format + 1)).unwrap();
    drop(database);
    let before = std::fs::read(format!("{data}/switchboard.db")).unwrap();
    let copy = format!("{data}-copy");
    for args in [
        &["serve", "--listen", "127.0.0.1:0", "--data", &data][..],
        &["import", "--data", &data],
        &["export", "--all", "--data", &data],
        &["backup", "--data", &data, &copy],
    ] {
        let (code, _, said) = run_with(args, &[], "");
        assert!(code == 2, "{args:?}: {said}");
        for part in [&format!("has format {}", format + 1), &format!("formats up to {format}"), "newer"] {
            assert!(said.contains(part), "{args:?}: {said}");
        }
    }
    assert!(std::fs::read(format!("{data}/switchboard.db")).unwrap() == before, "it is as it was");
}
