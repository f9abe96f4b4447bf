//! What people on several servers see of each other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::nodes::{call_api, node_with};
use crate::person::Person;
use crate::redis_server::{Engine, SOON, wait_until};
use crate::support::{Scratch, Server};

/// A secret of the operator, and the flag that names it.
struct Chat {
    engine: Engine,
    secret: Scratch,
    keys: Scratch,
}

const SECRET: &str = "a-secret-of-the-operator-0123456789";

impl Chat {
    fn new() -> Self {
        let key = b"a key of the tests that is long enough for it";
        Self {
            engine: Engine::start(),
            secret: Scratch::new("api", SECRET.as_bytes()),
            keys: Scratch::new("key", key),
        }
    }

    fn node(&self, threads: &str) -> Server {
        let args =
            ["--threads", threads, "--api-token-file", self.secret.path(), "--token-key", self.keys.path()];
        node_with(&self.engine.url(), &args)
    }

    /// A token for somebody.
    fn token(&self, user: &str) -> String {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args([
                "token",
                "mint",
                "--key",
                self.keys.path(),
                "--user",
                user,
                "--room",
                "*:join,post,moderate",
            ])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }
}

/// The names in a room, as somebody there is told.
fn names(person: &mut Person, room: &str) -> Vec<String> {
    let answer = person.ask(&json!({"type": "who", "room": room}));
    let mut names: Vec<String> = answer["members"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"))
        .iter()
        .map(|it| it["user"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(answer["count"], names.len(), "{answer}");
    names
}

fn presence_of(person: &mut Person, list: &str, user: &str) -> Value {
    person.await_where(&format!("{list} {user}"), |it| {
        it["type"] == "presence"
            && it[list].as_array().is_some_and(|all| all.iter().any(|who| who["user"] == user))
    })
}

#[test]
fn promise_7_across_nodes_who_is_there_is_seen_on_all() {
    let chat = Chat::new();
    let nodes = [chat.node("1"), chat.node("2"), chat.node("1")];
    let mut people: Vec<Person> = ["Ada", "Bob", "Cleo"]
        .iter()
        .zip(&nodes)
        .map(|(name, node)| Person::hello(node.addr, name))
        .collect();
    for person in &mut people {
        person.join("tea", None);
    }
    for person in &mut people {
        wait_until("everybody is seen", || names(person, "tea") == ["Ada", "Bob", "Cleo"]);
    }
    presence_of(&mut people[0], "joined", "Cleo");
    let told = people[1].ask(&json!({"type": "rooms"}));
    let tea = told["rooms"].as_array().unwrap().iter().find(|it| it["room"] == "tea").cloned();
    assert_eq!(tea.unwrap()["members"], 3, "{told}");
    people[2].ask(&json!({"type": "leave", "room": "tea"}));
    let left = presence_of(&mut people[0], "left", "Cleo");
    assert_eq!(left["count"], 2);
    // A server that comes later knows them, too.
    let late = chat.node("1");
    let mut dan = Person::hello(late.addr, "Dan");
    dan.join("tea", None);
    wait_until("who came before is seen", || names(&mut dan, "tea") == ["Ada", "Bob", "Dan"]);
}

#[test]
fn the_people_of_a_killed_server_leave_together_within_a_lease() {
    let chat = Chat::new();
    let (stays, mut dies) = (chat.node("1"), chat.node("1"));
    let mut ada = Person::hello(stays.addr, "Ada");
    ada.join("tea", None);
    let mut others: Vec<Person> = (0..5).map(|nth| Person::hello(dies.addr, &format!("P{nth}"))).collect();
    for person in &mut others {
        person.join("tea", None);
    }
    wait_until("they are seen", || names(&mut ada, "tea").len() == 6);
    for nth in 0..5 {
        wait_until("they were announced", || {
            let mut joined = ada.events.iter().filter_map(|it| it["joined"].as_array()).flatten();
            let is_told = joined.any(|who| who["user"] == format!("P{nth}"));
            is_told || names(&mut ada, "tea").is_empty()
        });
    }
    dies.signal("KILL");
    dies.wait(SOON);
    let begin = Instant::now();
    let left = ada.await_where("they leave", |it| {
        it["type"] == "presence" && it["left"].as_array().is_some_and(|it| !it.is_empty())
    });
    assert_eq!(left["left"].as_array().unwrap().len(), 5, "together: {left}");
    assert!(begin.elapsed() < Duration::from_secs(15), "within one lease, and a bit");
    assert_eq!(names(&mut ada, "tea"), ["Ada"]);
}

#[test]
fn the_people_of_a_server_that_stops_are_gone_at_once() {
    let chat = Chat::new();
    let (stays, mut stops) = (chat.node("1"), chat.node("2"));
    let (mut ada, mut bob) = (Person::hello(stays.addr, "Ada"), Person::hello(stops.addr, "Bob"));
    ada.join("tea", None);
    bob.join("tea", None);
    presence_of(&mut ada, "joined", "Bob");
    stops.signal("TERM");
    assert_eq!(bob.event("bye")["reason"], "shutting_down");
    drop(bob);
    stops.wait(SOON);
    assert_eq!(presence_of(&mut ada, "left", "Bob")["count"], 1);
    // Bob comes back to another server.
    let mut bob = Person::hello(stays.addr, "Bob");
    bob.join("tea", None);
    assert_eq!(names(&mut bob, "tea"), ["Ada", "Bob"]);
}

#[test]
fn signs_of_life_cross_servers() {
    let chat = Chat::new();
    let nodes = [chat.node("1"), chat.node("2")];
    let (mut ada, mut bob) = (Person::hello(nodes[0].addr, "Ada"), Person::hello(nodes[1].addr, "Bob"));
    ada.join("tea", None);
    bob.join("tea", None);
    wait_until("they see each other", || {
        names(&mut ada, "tea").len() == 2 && names(&mut bob, "tea").len() == 2
    });
    bob.tell(&json!({"type": "typing", "room": "tea"}));
    assert_eq!(ada.event("typing")["user"], "Bob");
    let seq = ada.say("tea", "hello");
    bob.event("message");
    bob.tell(&json!({"type": "read", "room": "tea", "seq": seq}));
    let reads = ada.event("reads");
    assert_eq!((&reads["reads"][0]["user"], &reads["reads"][0]["seq"]), (&json!("Bob"), &json!(seq)));
    // A message to a guest is kept nowhere.
    let ack = ada.ask(&json!({"type": "direct", "to": "Bob", "text": "psst"}));
    assert_eq!(ack["type"], "ack", "{ack}");
    assert_eq!(bob.event("direct")["text"], "psst");
    let refused = ada.ask(&json!({"type": "direct", "to": "Nobody", "text": "psst"}));
    assert_eq!(refused["code"], "not_found");
}

#[test]
fn a_verified_name_is_no_guests_on_any_server() {
    let chat = Chat::new();
    let nodes = [chat.node("1"), chat.node("1")];
    let mut guest = Person::hello(nodes[0].addr, "Ada");
    let token = chat.token("Ada");
    let mut ada = Person::with(nodes[1].addr, &json!({"type": "hello", "token": token}));
    assert_eq!(guest.event("bye")["reason"], "name_taken");
    drop(guest);
    // As soon as it is known there.
    let mut person = Person::hello(nodes[0].addr, "Somebody");
    wait_until("no guest is called so", || try_hello(nodes[0].addr, "Ada")["code"] == "forbidden");
    let mut bob = Person::with(nodes[0].addr, &json!({"type": "hello", "token": chat.token("Bob")}));
    let ack = bob.ask(&json!({"type": "direct", "to": "Ada", "text": "kept"}));
    assert_eq!((&ack["seq"], &ack["durable"]), (&json!(1), &json!("engine")), "{ack}");
    assert_eq!(ada.event("direct")["text"], "kept");
    assert_eq!(person.ask(&json!({"type": "rooms"}))["type"], "rooms");
}

fn try_hello(addr: SocketAddr, name: &str) -> Value {
    let (mut client, _) =
        crate::support::Client::upgrade(addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    client.send(&crate::support::text(&json!({"type": "hello", "id": 1, "user": name}).to_string()));
    serde_json::from_slice(&client.message().payload).unwrap()
}

#[test]
fn who_is_told_to_go_goes_wherever_they_are() {
    let chat = Chat::new();
    let nodes = [chat.node("1"), chat.node("2"), chat.node("1")];
    let mut people: Vec<Person> = nodes.iter().map(|node| Person::hello(node.addr, "Eve")).collect();
    for person in &mut people {
        person.join("tea", None);
    }
    let mut moderator = Person::with(nodes[0].addr, &json!({"type": "hello", "token": chat.token("Mod")}));
    moderator.join("tea", None);
    wait_until("all are seen", || moderator.ask(&json!({"type": "who", "room": "tea"}))["count"] == 4);
    let ack = moderator.ask(&json!({"type": "kick", "room": "tea", "user": "Eve"}));
    assert_eq!(ack["type"], "ack", "{ack}");
    for person in &mut people {
        assert_eq!(person.event("kicked")["room"], "tea");
    }
    let refused = moderator.ask(&json!({"type": "kick", "room": "tea", "user": "Nobody"}));
    assert_eq!(refused["code"], "not_found");
    let told = call_api(nodes[1].addr, SECRET, "POST /api/v1/broadcast", r#"{"text":"tea is ready"}"#);
    assert!(told.contains(r#""receivers":4"#), "{told}");
    for person in &mut people {
        assert_eq!(person.event("broadcast")["text"], "tea is ready");
    }
    let told = call_api(nodes[2].addr, SECRET, "POST /api/v1/disconnect", r#"{"user":"Eve"}"#);
    assert!(told.contains(r#""disconnected":3"#), "{told}");
    for person in &mut people {
        assert_eq!(person.event("bye")["reason"], "disconnected");
    }
}

#[test]
fn a_server_that_was_cut_off_is_seen_again_when_it_is_back() {
    let chat = Chat::new();
    let proxy = crate::proxy::Proxy::to(chat.engine.port());
    let (near, far) = (chat.node("1"), node_with(&proxy.url(), &[]));
    let (mut ada, mut bob) = (Person::hello(near.addr, "Ada"), Person::hello(far.addr, "Bob"));
    ada.join("tea", None);
    bob.join("tea", None);
    wait_until("Bob is seen", || names(&mut ada, "tea").len() == 2);
    proxy.close(true);
    presence_of(&mut ada, "left", "Bob");
    ada.say("tea", "while Bob is away");
    proxy.close(false);
    assert_eq!(bob.messages(1)[0].1, "while Bob is away");
    presence_of(&mut ada, "joined", "Bob");
    wait_until("all is as before", || names(&mut ada, "tea").len() == 2 && names(&mut bob, "tea").len() == 2);
}
