//! Several servers that are one chat, from outside.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::json;

use crate::person::Person;
use crate::redis_server::{Engine, wait_until};
use crate::support::{Launch, Server};

fn node(engine: &Engine) -> Server {
    node_with(&engine.url(), &[])
}

pub(crate) fn node_with(url: &str, args: &[&str]) -> Server {
    let server = Launch::switchboard(&["serve", "--listen", "127.0.0.1:0", "--engine", url]);
    server.args(&["--engine-timeout", "500ms"]).args(args).start_as_it_is()
}

fn three(engine: &Engine) -> [Server; 3] {
    [node(engine), node_with(&engine.url(), &["--threads", "2"]), node(engine)]
}

pub(crate) fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// A request to the API; returns the whole answer.
pub(crate) fn call_api(addr: SocketAddr, secret: &str, what: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(
        stream,
        "{what} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn promise_1_across_nodes_one_order_and_each_message_once_for_everybody() {
    let engine = Engine::on_disk();
    let nodes = three(&engine);
    let mut people: Vec<Person> =
        (0..6).map(|nth| Person::hello(nodes[nth % 3].addr, &format!("P{nth}"))).collect();
    for person in &mut people {
        assert_eq!(person.join("tea", None)["seq"], 0);
    }
    for round in 0..30 {
        for (nth, person) in people.iter_mut().enumerate() {
            let post = json!({"type": "post", "room": "tea", "text": format!("{round}.{nth}")});
            let ack = person.ask(&post);
            assert_eq!((&ack["durable"], ack["seq"].is_u64()), (&json!("engine-disk"), true), "{ack}");
        }
    }
    let told: Vec<_> = people.iter_mut().map(|person| person.messages(180)).collect();
    assert!(told[0].iter().map(|(seq, _)| *seq).eq(1..=180));
    assert!(told.iter().all(|other| *other == told[0]), "everybody is told the same");
}

#[test]
fn promise_2_across_nodes_a_key_counts_on_every_node() {
    let engine = Engine::start();
    let nodes = three(&engine);
    let post = json!({"type": "post", "room": "tea", "text": "once", "key": "k"});
    let mut seqs = Vec::new();
    for node in &nodes {
        let mut ada = Person::hello(node.addr, "Ada");
        ada.join("tea", None);
        let ack = ada.ask(&post);
        seqs.push((ack["seq"].clone(), ack["duplicate"] == true));
    }
    assert_eq!(seqs, [(json!(1), false), (json!(1), true), (json!(1), true)]);
}

#[test]
fn promise_3_across_nodes_who_joins_while_others_speak_misses_nothing() {
    let engine = Engine::start();
    let nodes = three(&engine);
    let mut ada = Person::hello(nodes[0].addr, "Ada");
    ada.join("tea", None);
    for nth in 1..=60_u64 {
        assert_eq!(ada.say("tea", &nth.to_string()), nth);
        if nth % 6 != 0 {
            continue;
        }
        // On a node where the room may or may not be open.
        let mut guest = Person::hello(nodes[nth as usize % 3].addr, &format!("G{nth}"));
        let joined = guest.join("tea", None);
        let seen = joined["seq"].as_u64().unwrap();
        assert_eq!(seen, nth);
        ada.say("tea", &format!("after {nth}"));
        let (next, text) = guest.messages(1).remove(0);
        assert_eq!((next, text), (seen + 1, format!("after {nth}")));
        break;
    }
    let mut others: Vec<Person> =
        (0..9).map(|nth| Person::hello(nodes[nth % 3].addr, &format!("O{nth}"))).collect();
    let mut newest = 7;
    for person in &mut others {
        newest = ada.say("tea", &format!("x{newest}"));
        let joined = person.join("tea", None);
        let came = joined["messages"].as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap());
        let came: Vec<u64> = came.collect();
        // What was acked a moment ago may come live instead.
        let live = person.messages((newest - came.len() as u64) as usize);
        assert!(came.into_iter().chain(live.into_iter().map(|(seq, _)| seq)).eq(1..=newest));
    }
}

#[test]
fn promise_4_across_nodes_a_client_resumes_at_another_node() {
    let engine = Engine::start();
    let mut nodes = three(&engine);
    let mut ada = Person::hello(nodes[0].addr, "Ada");
    let epoch = ada.join("tea", None)["epoch"].clone();
    let mut bob = Person::hello(nodes[1].addr, "Bob");
    assert_eq!(bob.join("tea", None)["epoch"], epoch, "a history has one name on all nodes");
    for nth in 1..=5 {
        bob.say("tea", &nth.to_string());
    }
    assert_eq!(ada.messages(5).last().unwrap().0, 5);
    nodes[0].signal("KILL");
    nodes[0].wait(crate::redis_server::SOON);
    bob.say("tea", "while Ada was away");
    bob.ask(&json!({"type": "edit", "room": "tea", "seq": 2, "text": "two"}));
    let mut ada = Person::hello(nodes[2].addr, "Ada");
    let joined = ada.join("tea", Some(&json!({"epoch": epoch, "seq": 5, "rev": 0})));
    assert_eq!((&joined["recovered"], &joined["messages"][0]["seq"]), (&json!(true), &json!(6)));
    assert_eq!((&joined["changes"][0]["seq"], &joined["changes"][0]["text"]), (&json!(2), &json!("two")));
    assert_eq!(joined["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn after_a_rollback_of_the_engine_who_saw_more_is_told_and_who_saw_less_resumes() {
    let mut engine = Engine::with(&["--save", "", "--appendonly", "no"]);
    let nodes = three(&engine);
    let (mut ada, mut bob) = (Person::hello(nodes[0].addr, "Ada"), Person::hello(nodes[1].addr, "Bob"));
    let epoch = ada.join("tea", None)["epoch"].clone();
    bob.join("tea", None);
    for nth in 1..=8 {
        ada.say("tea", &format!("kept {nth}"));
    }
    engine.run::<()>(&["SAVE"]);
    for nth in 9..=12 {
        ada.say("tea", &format!("lost {nth}"));
    }
    assert_eq!(bob.messages(12).len(), 12);
    engine.kill();
    engine.start_again();
    for person in [&mut ada, &mut bob] {
        let told = person.event("epoch");
        assert_eq!((&told["room"], &told["seq"], &told["rev"]), (&json!("tea"), &json!(8), &json!(0)));
        assert_ne!(told["epoch"], epoch);
    }
    // Now the numbers of what was lost are given to other messages.
    for nth in 9..=14 {
        assert_eq!(ada.say("tea", &format!("new {nth}")), nth);
    }
    for (seq, is_recovered) in [(12, false), (9, false), (8, true), (3, true)] {
        for node in &nodes {
            let mut person = Person::hello(node.addr, "Eve");
            let joined = person.join("tea", Some(&json!({"epoch": epoch, "seq": seq, "rev": 0})));
            assert_eq!(joined["recovered"], is_recovered, "{seq}: {joined}");
            let first = if is_recovered { seq + 1 } else { 1 };
            let mut seqs: Vec<u64> =
                joined["messages"].as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap()).collect();
            // What was acked a moment ago may come live instead.
            let live = person.messages((14 - seqs.last().copied().unwrap_or(first - 1)) as usize);
            seqs.extend(live.into_iter().map(|(seq, _)| seq));
            assert_eq!(seqs, (first..=14).collect::<Vec<_>>(), "{seq}");
        }
    }
    assert_eq!(bob.messages(6).last().unwrap(), &(14, "new 14".to_owned()));
}

#[test]
fn while_the_engine_is_away_the_server_says_so_and_goes_on_when_it_is_back() {
    let mut engine = Engine::on_disk();
    let server = node_with(&engine.url(), &["--internal-listen", "127.0.0.1:0"]);
    let operator = server.wait_for_log("Metrics and health at");
    let port: u16 = operator.rsplit(':').next().unwrap().trim().parse().unwrap();
    let operator = SocketAddr::from(([127, 0, 0, 1], port));
    let mut ada = Person::hello(server.addr, "Ada");
    ada.join("tea", None);
    ada.say("tea", "before");
    assert_eq!(get(operator, "/readyz").0, 200);
    engine.kill();
    wait_until("it is not ready", || get(operator, "/readyz").0 == 503);
    let refused = ada.ask(&json!({"type": "post", "room": "tea", "text": "meanwhile"}));
    assert_eq!(refused["code"], "unavailable");
    let mut bob = Person::hello(server.addr, "Bob");
    let joined = bob.join("tea", None);
    assert_eq!(joined["messages"][0]["text"], "before", "what is in memory can be read");
    let (_, metrics) = get(operator, "/metrics");
    assert!(metrics.contains("\nswitchboard_engine_up 0\n"), "{metrics}");
    engine.start_again();
    wait_until("it is ready again", || get(operator, "/readyz").0 == 200);
    assert_eq!(ada.say("tea", "after"), 2);
    assert_eq!(bob.messages(1), [(2, "after".to_owned())]);
    let (_, metrics) = get(operator, "/metrics");
    assert!(metrics.contains("\nswitchboard_engine_up 1\n"), "{metrics}");
    let page = include_str!("../../docs/scaling.md");
    let shown: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| name.starts_with("switchboard_engine"))
        .collect();
    assert!(shown.len() > 8, "{shown:?}");
    for name in &shown {
        assert!(page.contains(&format!("- `{name}`: ")), "docs/scaling.md does not explain {name}");
    }
    let explained = page.lines().filter(|line| line.starts_with("- `switchboard_engine")).count();
    assert_eq!(explained, shown.len());
}

#[test]
fn a_ban_holds_on_every_node_and_after_each_of_them_began_again() {
    let engine = Engine::start();
    let secret = crate::support::Scratch::new("api", b"a-secret-of-the-operator-0123456789");
    let nodes = [node_with(&engine.url(), &["--api-token-file", secret.path()]), node(&engine)];
    let mut eve = Person::hello(nodes[1].addr, "Eve");
    let answer = call_api(
        nodes[0].addr,
        "a-secret-of-the-operator-0123456789",
        "PUT /api/v1/bans/Eve",
        r#"{"reason":"spam"}"#,
    );
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    assert_eq!(eve.event("bye")["reason"], "banned");
    let late = node(&engine);
    let (mut client, _) =
        crate::support::Client::upgrade(late.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    client.send(&crate::support::text(r#"{"type":"hello","id":1,"user":"Eve"}"#));
    let answer = String::from_utf8(client.message().payload).unwrap();
    assert!(answer.contains("banned"), "{answer}");
}

#[test]
fn an_engine_that_cannot_be_one_is_refused_with_a_sentence() {
    let evicts = Engine::with(&["--save", "", "--maxmemory-policy", "allkeys-lru"]);
    let run = |args: &[&str]| {
        let out =
            Command::new(env!("CARGO_BIN_EXE_switchboard")).args(args).env("NO_COLOR", "1").output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let serve = |url: &str| run(&["serve", "--listen", "127.0.0.1:0", "--engine", url]);
    let (code, said) = serve(&evicts.url());
    assert!(code == Some(2) && said.contains("noeviction"), "{said}");
    let (code, said) = serve("http://localhost");
    assert!(code == Some(2) && said.contains("--engine: ") && said.contains("redis://"), "{said}");
    let (code, said) = run(&["serve", "--ephemeral", "--engine", &evicts.url()]);
    assert!(code == Some(2) && said.contains("cannot be used with"), "{said}");
    let (code, said) = run(&["serve", "--data", "x", "--engine", &evicts.url()]);
    assert!(code == Some(2) && said.contains("cannot be used with"), "{said}");
    let (code, said) = run(&["engine", "check", &evicts.url()]);
    assert!(code == Some(2) && said.contains("allkeys-lru"), "{said}");
    let good = Engine::on_disk();
    let (code, said) = run(&["engine", "check", &good.url()]);
    assert_eq!(code, Some(0), "{said}");
    let engines = ["version      Redis ", "version      Valkey "];
    assert!(engines.iter().any(|engine| said.contains(engine)), "{said}");
    for words in ["append-only file, synced always", "engine-disk", "It can be the engine."] {
        assert!(said.contains(words), "{said}");
    }
    let (code, said) = run(&["engine", "check", "redis://127.0.0.1:1"]);
    assert!(code == Some(2) && said.contains("cannot be reached"), "{said}");
}
