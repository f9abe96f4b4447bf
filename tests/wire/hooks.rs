//! Hooks to the team's backend: whatever it does, everything is told, in order, and nobody waits longer than the deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::backend::{Backend, Mood};
use crate::chat_v1::Person;
use crate::ops::{fresh, get, run_with};
use crate::support::tls::Identity;
use crate::support::{Dice, Launch, SOON, Scratch, Server, secs, wait_until};

const SECRET: &str = "a secret of some length";

/// Moods in which nothing is an answer, and nothing is taken.
const BAD: [Mood; 10] = [
    Mood::Status(500),
    Mood::Status(302),
    Mood::Status(404),
    Mood::Nonsense,
    Mood::WrongTypes,
    Mood::Huge,
    Mood::Endless,
    Mood::Cut,
    Mood::Hangs,
    Mood::NoHttp,
];

fn secret() -> Scratch {
    Scratch::new("hook-secret", format!("{SECRET}\n").as_bytes())
}

/// A server with hooks to a backend, on a directory or in memory.
fn launch(url: &str, secret: &Scratch, data: Option<&str>, args: &[&str]) -> Server {
    let launch = match data {
        Some(data) => Launch::switchboard(&["serve", "--listen", "127.0.0.1:0", "--data", data]),
        None => Launch::serve(),
    };
    let hooks = ["--hook-url", url, "--hook-secret-file", secret.path(), "--posts-per-second", "0"];
    launch.args(&hooks).args(args).start()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// The events without those that were told again: each number once, at its first time, and then they grow by one.
fn once(events: &[Value]) -> Vec<Value> {
    let mut known = 0;
    let mut found = Vec::new();
    for event in events {
        let id = event["id"].as_u64().unwrap();
        if id > known {
            assert_eq!(id, known + 1, "nothing is skipped: {event}");
            known = id;
            found.push(event.clone());
        }
    }
    found
}

fn metric(addr: SocketAddr, name: &str) -> u64 {
    let (_, text) = get(addr, "/metrics");
    let line =
        text.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{'])));
    let value = line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("no {name}: {text}"));
    value.parse().unwrap()
}

/// The code blocks of the page about hooks that begin with a word.
fn snippet(language: &str) -> String {
    let page = include_str!("../../docs/hooks.md");
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("no {language}"));
    rest.split_once("```").unwrap().0.to_owned()
}

/// What the page gives people to check signatures with says so of these.
#[track_caller]
fn assert_checked(program: &[&str], script: &str, signature: &str, body: &str, is_good: bool) {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .arg(script)
        .args([SECRET, signature])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim(), if is_good { "good" } else { "bad" }, "{program:?} {signature} {body}");
}

#[test]
fn everything_is_told_in_order_with_signatures_that_others_can_check() {
    let (backend, secret) = (Backend::start(), secret());
    let (_scratch, data) = fresh();
    let tells = "posted,edited,deleted,reacted,joined,left,connected,disconnected,banned";
    let server = launch(&backend.url(), &secret, Some(&data), &["--hook-tell", tells]);
    let mut ada = Person::hello(server.addr, "Ada");
    for command in [
        json!({"type": "join", "room": "tea"}),
        json!({"type": "post", "room": "tea", "text": "eins"}),
        json!({"type": "edit", "room": "tea", "seq": 1, "text": "zwei \"2\""}),
        json!({"type": "react", "room": "tea", "seq": 1, "emoji": "👍"}),
        json!({"type": "post", "room": "tea", "text": "drei", "key": "k3", "data": {"a": [1]}, "reply_to": 1}),
        json!({"type": "leave", "room": "tea"}),
    ] {
        assert_ne!(ada.ask(&command)["type"], "error", "{command}");
    }
    drop(ada);
    let day =
        ["started", "connected", "joined", "posted", "edited", "reacted", "posted", "left", "disconnected"];
    backend.wait_for("the day", |events| events.len() >= day.len());
    let events = backend.events();
    assert_eq!(names(&events), day);
    assert_eq!(once(&events).len(), day.len());
    let posted = &events[3];
    assert_eq!((&posted["room"], &posted["seq"], &posted["user"]), (&json!("tea"), &json!(1), &json!("Ada")));
    assert_eq!(events[4]["text"], "zwei \"2\"");
    assert_eq!((&events[6]["key"], &events[6]["text"]), (&json!("k3"), &json!("drei")));
    assert_eq!((&events[6]["data"], &events[6]["reply_to"]), (&json!({"a": [1]}), &json!(1)));
    assert_eq!(posted.get("data").or(posted.get("reply_to")), None);
    let heard = backend.heard();
    let (python, node) = (snippet("python"), snippet("js"));
    for heard in [&heard[0], heard.last().unwrap()] {
        assert_eq!((&*heard.hook, &*heard.path), ("tell", "/hooks"));
        for (program, script) in
            [(&["python3", "-c"][..], &python), (&["node", "--input-type=module", "-e"], &node)]
        {
            assert_checked(program, script, &heard.signature, &heard.body, true);
            assert_checked(program, script, &heard.signature, &format!("{} ", heard.body), false);
            let old = format!("t=1700000000,{}", heard.signature.split_once(',').unwrap().1);
            assert_checked(program, script, &old, &heard.body, false);
        }
    }
    assert_eq!(metric(server.addr, "switchboard_hook_told_total"), day.len() as u64);
    wait_until(SOON, "nothing waits", || metric(server.addr, "switchboard_hook_backlog") == 0);
}

/// Posts into rooms, and says how many each has; what was not acknowledged is sent again with its key.
struct Poster {
    sent: BTreeMap<String, u64>,
}

impl Poster {
    fn post(&mut self, addr: SocketAddr, rooms: &[&str], count: usize) {
        let mut person = Person::hello(addr, "Ada");
        for room in rooms {
            assert_eq!(person.ask(&json!({"type": "join", "room": room}))["type"], "joined");
        }
        for _ in 0..count {
            for room in rooms {
                let number = self.sent.entry((*room).to_owned()).or_default();
                *number += 1;
                let post = json!({"type": "post", "room": room, "text": format!("{room} {number}")});
                assert_eq!(person.ask(&post)["seq"], *number);
            }
        }
    }
}

/// Of each room all messages are told, in the order of their numbers.
#[track_caller]
fn assert_all_told(events: &[Value], sent: &BTreeMap<String, u64>) {
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for event in once(events) {
        assert_ne!(event["event"], "missed", "{event}");
        if event["event"] == "posted" {
            let room = event["room"].as_str().unwrap();
            let seq = told.entry(room.to_owned()).or_default();
            *seq += 1;
            assert_eq!(event["seq"], *seq, "{event}");
            assert_eq!(event["text"], format!("{room} {seq}"));
        }
    }
    assert_eq!(told, *sent);
}

#[test]
fn a_backend_that_is_down_or_lies_and_a_server_that_is_killed_lose_no_event() {
    let secret = secret();
    let mut backend = Backend::start();
    let (addr, url) = (backend.addr.unwrap(), backend.url());
    let (_scratch, data) = fresh();
    let mut poster = Poster { sent: BTreeMap::new() };
    let rooms = ["a", "b", "c"];
    let mut dice = Dice::new(19);
    let args = ["--hook-tell", "posted,joined,connected"];
    let mut server = launch(&url, &secret, Some(&data), &args);
    for mood in BAD {
        backend.set(mood);
        let heard = backend.heard().len();
        poster.post(server.addr, &rooms, 5);
        wait_until(secs(30), "an attempt", || backend.heard().len() > heard);
        if dice.below(2) == 0 {
            drop(server);
            server = launch(&url, &secret, Some(&data), &args);
        }
        backend.set(Mood::Good);
        poster.post(server.addr, &rooms, 5);
        // Killed between commits and deliveries, or the backend begins again.
        match dice.below(3) {
            0 => {
                drop(server);
                server = launch(&url, &secret, Some(&data), &args);
            }
            1 => {
                let memory = backend.end();
                poster.post(server.addr, &rooms, 3);
                assert_eq!(get(server.addr, "/readyz").0, 200, "a backend that is away is no reason");
                backend = Backend::at(addr, memory);
            }
            _ => {}
        }
        let all: u64 = poster.sent.values().sum();
        backend.wait_for("all messages", |events| {
            let messages = events.iter().filter(|event| event["event"] == "posted");
            let place = |event: &Value| (event["room"].to_string(), event["seq"].as_u64());
            messages.map(place).collect::<BTreeSet<_>>().len() as u64 == all
        });
    }
    assert_all_told(&backend.events(), &poster.sent);
    // What was told is forgotten, and nothing of it is told by the next server.
    wait_until(SOON, "nothing waits", || metric(server.addr, "switchboard_hook_backlog") == 0);
    assert!(metric(server.addr, "switchboard_hook_dead_total") == 0);
}

#[test]
fn several_loops_tell_once_and_a_history_in_memory_is_told_from_memory() {
    let secret = secret();
    for (threads, is_on_disk) in [("1", false), ("2", false), ("2", true)] {
        let backend = Backend::start();
        let (_scratch, data) = fresh();
        let args = ["--threads", threads, "--hook-tell", "posted,edited,joined"];
        let server = launch(&backend.url(), &secret, is_on_disk.then_some(&data), &args);
        backend.set(Mood::Status(503));
        let mut poster = Poster { sent: BTreeMap::new() };
        poster.post(server.addr, &["a", "b"], 10);
        poster.post(server.addr, &["a", "b"], 10);
        backend.set(Mood::Good);
        backend.wait_for("all of them", |events| {
            events.iter().filter(|it| it["event"] == "posted").count() >= 40
        });
        assert_all_told(&backend.events(), &poster.sent);
        let joined = names(&once(&backend.events())).iter().filter(|name| **name == "joined").count();
        assert_eq!(joined, 4, "{threads} loops");
    }
}

#[test]
fn an_event_that_the_backend_refuses_is_found_and_put_aside() {
    let (backend, secret) = (Backend::start(), secret());
    let (_scratch, data) = fresh();
    let server = launch(&backend.url(), &secret, Some(&data), &["--hook-tell", "posted"]);
    backend.set(Mood::Status(503));
    backend.poison("poison");
    let mut ada = Person::hello(server.addr, "Ada");
    ada.ask(&json!({"type": "join", "room": "r"}));
    for number in 1..=20 {
        let text = if number == 7 { "some poison".to_owned() } else { format!("r {number}") };
        assert_eq!(ada.ask(&json!({"type": "post", "room": "r", "text": text}))["seq"], number);
    }
    backend.set(Mood::Good);
    backend.wait_for("the others", |events| events.len() >= 19);
    let seqs: Vec<u64> = backend.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    let expected: Vec<u64> = (1..=20).filter(|seq| *seq != 7).collect();
    assert_eq!(seqs, expected);
    wait_until(SOON, "it is counted", || metric(server.addr, "switchboard_hook_dead_total") == 1);
    assert!(server.wait_for_log("dead letter").contains("status 422"));
    let db = rusqlite::Connection::open(Path::new(&data).join("switchboard.db")).unwrap();
    let letter = || {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        db.query_row("SELECT why, body FROM dead_letters", [], row).ok()
    };
    // It is written down a moment later.
    wait_until(SOON, "it is kept", || letter().is_some());
    let (why, body): (String, String) = letter().unwrap();
    drop(server);
    assert_eq!(why, "status 422");
    assert!(body.contains("\"seq\":7") && !body.contains("poison"), "{body}");
    // The directory opens as always, with and without hooks.
    let server = Launch::switchboard(&["serve", "--listen", "127.0.0.1:0", "--data", &data]).start();
    let mut ada = Person::hello(server.addr, "Ada");
    assert_eq!(ada.ask(&json!({"type": "join", "room": "r"}))["seq"], 20);
}

#[test]
fn above_the_bound_the_backend_is_told_how_much_was_dropped_and_messages_go_last() {
    let (backend, secret) = (Backend::start(), secret());
    for is_on_disk in [true, false] {
        let (_scratch, data) = fresh();
        let args = ["--hook-tell", "posted,joined,left", "--hook-max-backlog", "12"];
        backend.set(Mood::Status(503));
        let server = launch(&backend.url(), &secret, is_on_disk.then_some(&data), &args);
        let before = backend.events().len();
        let mut ada = Person::hello(server.addr, "Ada");
        for number in 1..=10 {
            assert_eq!(ada.ask(&json!({"type": "join", "room": "r"}))["type"], "joined");
            assert_eq!(ada.ask(&json!({"type": "post", "room": "r", "text": "x"}))["seq"], number);
            assert_eq!(ada.ask(&json!({"type": "leave", "room": "r"}))["type"], "left");
        }
        wait_until(SOON, "it is counted", || {
            let (_, text) = get(server.addr, "/metrics");
            text.contains("switchboard_hook_dropped_total{kind=\"note\"} 19")
        });
        // A request under way may have what was dropped meanwhile; the one after the next has not.
        let heard = backend.heard().len();
        wait_until(SOON, "two more requests", || backend.heard().len() >= heard + 2);
        backend.set(Mood::Good);
        backend.wait_for("the messages", |events| {
            events[before..].iter().filter(|event| event["event"] == "posted").count() == 10
        });
        let events = backend.events()[before..].to_vec();
        let missed: u64 =
            events.iter().filter(|it| it["event"] == "missed").map(|it| it["count"].as_u64().unwrap()).sum();
        let told = events.iter().filter(|it| it["event"] != "missed").count() as u64;
        assert_eq!((missed, told), (19, 12), "{events:?}");
        assert_eq!(events.last().unwrap()["id"], 31);
    }
}

#[test]
fn whatever_the_backend_answers_nobody_waits_for_longer_than_the_deadline() {
    let (backend, secret) = (Backend::start(), secret());
    for (when_away, expected) in [("refuse", "unavailable"), ("allow", "ack")] {
        let args = [
            "--hook-ask",
            "post",
            "--hook-deadline",
            "300",
            "--hook-when-away",
            when_away,
            "--hook-connections",
            "2",
        ];
        let server = launch(&backend.url(), &secret, None, &args);
        let mut ada = Person::hello(server.addr, "Ada");
        ada.ask(&json!({"type": "join", "room": "r"}));
        for mood in BAD.into_iter().chain([Mood::Silent]) {
            backend.set(mood);
            let answer = ada.ask(&json!({"type": "post", "room": "r", "text": "x"}));
            assert!(answer["code"] == expected || answer["type"] == expected, "{mood:?}: {answer}");
        }
        server.wait_for_log("the backend did not decide");
        backend.set(Mood::Good);
        let refuse = |_: &Value| json!({"allow": false, "reason": "no such words"});
        backend.decide(refuse);
        wait_until(SOON, "the backend is asked again", || {
            let answer = ada.ask(&json!({"type": "post", "room": "r", "text": "x"}));
            answer["code"] == "refused" && answer["message"] == "no such words"
        });
        backend.decide(
            |question| json!({"allow": true, "text": question["text"].as_str().unwrap().to_uppercase()}),
        );
        assert_eq!(ada.ask(&json!({"type": "post", "room": "r", "text": "loud"}))["type"], "ack");
        while ada.event("message")["text"] != "LOUD" {}
        // What a message carries is asked about, too, and may be changed.
        backend.decide(|question| json!({"allow": true, "data": {"was": question["data"]}}));
        let post = json!({"type": "post", "room": "r", "text": "with data", "data": 7});
        assert_eq!(ada.ask(&post)["type"], "ack");
        let event = ada.event("message");
        assert_eq!((&event["text"], &event["data"]), (&json!("with data"), &json!({"was": 7})));
        let long = "x".repeat(5000);
        backend.decide(move |_| json!({"allow": true, "data": long}));
        let post = json!({"type": "post", "room": "r", "text": "x"});
        assert_eq!(ada.ask(&post)["type"], if when_away == "allow" { "ack" } else { "error" });
        backend.decide(|_| json!({"allow": true}));
    }
}

#[test]
fn nobody_else_waits_while_the_backend_thinks() {
    let (backend, secret) = (Backend::start(), secret());
    let args = ["--hook-ask", "join,post", "--hook-deadline", "60000", "--hook-connections", "1"];
    let server = launch(&backend.url(), &secret, None, &args);
    let mut people: Vec<Person> =
        ["Ada", "Bob"].into_iter().map(|user| Person::hello(server.addr, user)).collect();
    for person in &mut people {
        assert_eq!(person.ask(&json!({"type": "join", "room": "r"}))["type"], "joined");
    }
    let asked = backend.asked().len();
    backend.set(Mood::Silent);
    people[0].send(&json!({"type": "post", "room": "r", "text": "slow", "id": 1}));
    backend.wait_for_questions(asked + 1);
    // The one connection to the backend is taken, and no answer is there: everybody else goes on.
    for number in 0..200 {
        assert_eq!(people[1].ask(&json!({"type": "ping"}))["type"], "pong");
        assert_eq!(people[1].ask(&json!({"type": "who", "room": "r"}))["count"], 2);
        people[1].send(&json!({"type": "typing", "room": "r"}));
        assert_eq!(people[0].ask(&json!({"type": "ping"}))["type"], "pong", "{number}");
    }
    assert!(people[1].events.iter().all(|event| event["type"] != "message"));
    backend.set(Mood::Good);
    assert_eq!(people[1].event("message")["text"], "slow");
}

#[test]
fn the_backend_says_who_comes_in_and_where() {
    let (backend, secret) = (Backend::start(), secret());
    backend.decide(|question| match (question["ask"].as_str(), question["user"].as_str()) {
        (Some("connect"), Some("eve")) => json!({"allow": false, "reason": "not on the list"}),
        (Some("connect"), _) => json!({
            "allow": true, "user": "Ada", "verified": true, "subject": "u17", "posts_per_second": 50,
            "rooms": {"t*": ["join", "post"]},
        }),
        (_, _) => json!({"allow": question["room"] != "tax"}),
    });
    let path = Scratch::new("sock", b"");
    std::fs::remove_file(path.path()).unwrap();
    let unix = Backend::on_socket(Path::new(path.path()));
    let target = format!("unix:{}:/from/chat?x=1", path.path());
    let server = launch(&backend.url(), &secret, None, &["--hook-ask", "connect,join", "--require-token"]);
    let mut eve = Person::connect(server.addr);
    let refused = eve.ask(&json!({"type": "hello", "user": "eve"}));
    assert_eq!((&refused["code"], &refused["message"]), (&json!("refused"), &json!("not on the list")));
    let mut ada = Person::connect(server.addr);
    let welcome = ada.ask(&json!({"type": "hello", "user": "whoever"}));
    assert_eq!((&welcome["user"], &welcome["verified"]), (&json!("Ada"), &json!(true)));
    for (room, expected) in [("tea", "joined"), ("tax", "refused"), ("general", "forbidden")] {
        let answer = ada.ask(&json!({"type": "join", "room": room}));
        assert!(answer["type"] == expected || answer["code"] == expected, "{answer}");
    }
    assert_eq!(backend.asked().last().unwrap()["subject"], "u17");
    drop(server);
    // Through a socket nobody else reads along, so requests need no signature.
    let hooks = ["--hook-url", &target, "--hook-ask", "join", "--hook-tell", "joined"];
    let server = Launch::serve().args(&hooks).start();
    let mut ada = Person::hello(server.addr, "Ada");
    assert_eq!(ada.ask(&json!({"type": "join", "room": "r"}))["type"], "joined");
    unix.wait_for("the event", |events| names(events) == ["started", "joined"]);
    assert!(unix.heard().iter().all(|heard| heard.path == "/from/chat?x=1" && heard.signature.is_empty()));
}

#[test]
fn what_is_wrong_with_the_flags_is_said() {
    let secret = secret();
    let short = Scratch::new("hook-secret", b"short\n");
    let url = "http://127.0.0.1:9/";
    for (args, why) in [
        (vec!["--hook-url", url], "--hook-ask or --hook-tell"),
        (vec!["--hook-url", url, "--hook-ask", "post"], "needs --hook-secret-file"),
        (
            vec!["--hook-url", url, "--hook-ask", "post", "--hook-secret-file", short.path()],
            "at least 16 bytes",
        ),
        (vec!["--hook-url", url, "--hook-ask", "post", "--hook-secret-file", "/nowhere"], "/nowhere"),
        (
            vec!["--hook-url", url, "--hook-ask", "edit", "--hook-secret-file", secret.path()],
            "possible values",
        ),
        (
            vec!["--hook-url", url, "--hook-tell", "sent", "--hook-secret-file", secret.path()],
            "possible values",
        ),
        (vec!["--hook-url", "team.example", "--hook-ask", "post"], "nor unix:PATH"),
        (vec!["--hook-url", "ftp://team.example/", "--hook-ask", "post"], "nor unix:PATH"),
        (vec!["--hook-url", "unix:team.sock", "--hook-ask", "post"], "must begin with /"),
        (vec!["--hook-ask", "post"], "--hook-url"),
        (vec!["--hook-url", url, "--hook-deadline", "0"], "1..=60000"),
        (vec!["--hook-url", url, "--hook-when-away", "wait"], "possible values"),
    ] {
        let args: Vec<&str> =
            ["serve", "--ephemeral", "--listen", "127.0.0.1:0"].into_iter().chain(args).collect();
        let (code, _, said) = run_with(&args, &[], "");
        assert!(code == 2 && said.contains(why), "{args:?}: {said}");
    }
}

/// Like those of every other flag, the values may be in a file and in the environment.
#[test]
fn hooks_are_set_in_the_environment_and_in_a_file() {
    let (backend, secret) = (Backend::start(), secret());
    let file = Scratch::new(
        "switchboard.toml",
        format!("hook-tell = [\"posted\", \"joined\"]\nhook-secret-file = {:?}\n", secret.path()).as_bytes(),
    );
    let server = Launch::serve()
        .args(&["--config", file.path()])
        .env("SWITCHBOARD_HOOK_URL", &backend.url())
        .env("SWITCHBOARD_HOOK_ASK", "join")
        .start();
    let mut ada = Person::hello(server.addr, "Ada");
    assert_eq!(ada.ask(&json!({"type": "join", "room": "r"}))["type"], "joined");
    backend.wait_for("the event", |events| names(events).contains(&"joined"));
    assert_eq!(backend.asked().len(), 1);
}

/// The backend is another server here, which speaks TLS and wants no such requests.
#[test]
fn the_certificate_of_a_backend_is_checked_by_the_authorities_of_the_system() {
    let (own, other) = (Identity::new(&["localhost"]), Identity::new(&["localhost"]));
    let backend = Launch::program(env!("CARGO_BIN_EXE_switchboard").into(), "Server running at https://")
        .args(&["serve", "--ephemeral", "--tls-listen", "127.0.0.1:0"])
        .args(&own.flags())
        .start_as_it_is();
    let (secret, url) = (secret(), format!("https://localhost:{}/ws", backend.port()));
    for (authorities, why) in [(&own, "status 405"), (&other, "certificate")] {
        let server = Launch::serve()
            .args(&["--hook-url", &url, "--hook-secret-file", secret.path(), "--hook-tell", "connected"])
            .env("SSL_CERT_FILE", authorities.flags()[1])
            .env("SSL_CERT_DIR", "/nowhere")
            .start();
        drop(Person::hello(server.addr, "Ada"));
        let line = server.wait_for_log("the backend does not take them");
        assert!(line.contains(why), "{line}");
    }
}
