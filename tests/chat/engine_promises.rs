//! What is promised holds on servers that share an engine, whatever becomes of what it is asked and tells.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cluster::Dice;
use crate::engine::{Broken, Servers};
use crate::world::{Client, list};

const EMOJI: [&str; 6] = ["👍", "🎉", "😀", "🙏", "👀", "🚀"];

/// What somebody knows of a room.
#[derive(Debug, Default)]
struct View {
    epoch: String,
    seq: u64,
    rev: u64,
    said: BTreeMap<u64, String>,
    /// They have asked to come in, and wait.
    is_waiting: bool,
    is_in: bool,
}

struct Person {
    at: usize,
    client: Client,
    views: BTreeMap<String, View>,
    /// By text: where it is.
    acked: BTreeMap<String, (String, u64)>,
}

impl Person {
    fn join(&mut self, servers: &mut Servers, room: &str) {
        let view = self.views.entry(room.to_owned()).or_default();
        view.is_waiting = true;
        view.is_in = false;
        let mut join = json!({"type": "join", "id": room, "room": room});
        if !view.epoch.is_empty() {
            join["since"] = json!({"epoch": view.epoch, "seq": view.seq, "rev": view.rev});
        }
        servers.world(self.at).send(self.client, &join);
    }

    fn read(&mut self, servers: &mut Servers, loses: bool) {
        for value in servers.world(self.at).take(self.client) {
            self.hear(servers, &value, loses);
        }
    }

    fn hear(&mut self, servers: &mut Servers, value: &Value, loses: bool) {
        let room = value["room"].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("{name} of {value}"));
        let view = self.views.entry(room.clone()).or_default();
        match value["type"].as_str().unwrap() {
            "joined" => {
                let is_recovered = value["recovered"] == true;
                assert!(loses || is_recovered || view.epoch.is_empty(), "nothing was lost: {value}");
                let first = if is_recovered { view.seq + 1 } else { number("seq") + 1 };
                let came = list(value, "messages");
                if is_recovered {
                    let seqs: Vec<u64> = came.iter().map(|it| it["seq"].as_u64().unwrap()).collect();
                    assert_eq!(seqs, (first..=number("seq")).collect::<Vec<_>>(), "{value}");
                } else {
                    view.said.clear();
                }
                for message in &came {
                    view.said
                        .insert(message["seq"].as_u64().unwrap(), message["text"].as_str().unwrap().into());
                }
                (view.epoch, view.seq, view.rev) =
                    (value["epoch"].as_str().unwrap().to_owned(), number("seq"), number("rev"));
                (view.is_waiting, view.is_in) = (false, true);
            }
            "message" if view.is_in => {
                assert_eq!(number("seq"), view.seq + 1, "a gap or a twin: {value}");
                view.seq += 1;
                view.said.insert(view.seq, value["text"].as_str().unwrap().into());
            }
            "reacted" if view.is_in => {
                assert_eq!(number("rev"), view.rev + 1, "a gap or a twin: {value}");
                view.rev += 1;
            }
            "epoch" if view.is_in => {
                let has_more = view.seq > number("seq") || view.rev > number("rev");
                assert!(loses || !has_more, "nothing was lost: {value}");
                if has_more {
                    // What it knows is of the history before.
                    self.join(servers, &room);
                } else {
                    value["epoch"].as_str().unwrap().clone_into(&mut view.epoch);
                }
            }
            // Somebody who has asked to come in again since comes from where they were.
            "left" if view.is_waiting => {}
            "left" => *view = View::default(),
            "ack" if value["seq"].is_u64() && value["rev"].is_null() => {
                let text = value["id"].as_str().unwrap().to_owned();
                self.acked.insert(text, (room, number("seq")));
            }
            "error" if value["code"] == "unavailable" => {
                let id = value["id"].as_str().unwrap().to_owned();
                assert!(self.views.contains_key(&id), "only a join may have to wait: {value}");
                self.join(servers, &id);
            }
            "error" => {
                let code = value["code"].as_str().unwrap();
                assert!(["not_joined", "not_found"].contains(&code), "{value}");
            }
            _ => {}
        }
    }
}

/// People at three servers come, talk and go while the engine begins again, with less than it knew where it `loses`.
fn run(seed: u64, broken: Broken, loses: bool) {
    let dice = &mut Dice::new(seed);
    let mut servers = Servers::new(3, broken);
    let mut people: Vec<Person> = (0..6)
        .map(|nth| {
            let client = servers.world(nth % 3).person(&format!("p{nth}"));
            Person { at: nth % 3, client, views: BTreeMap::new(), acked: BTreeMap::new() }
        })
        .collect();
    for nth in 0..160 {
        let person = &mut people[dice.below(6)];
        let room = format!("r{}", dice.below(2));
        let (at, client) = (person.at, person.client);
        match dice.below(9) {
            0 | 1 if !person.views.get(&room).is_some_and(|view| view.is_waiting || view.is_in) => {
                person.join(&mut servers, &room);
            }
            2 if nth % 3 == 0 && person.views.get(&room).is_some_and(|view| view.is_in) => {
                servers.world(at).send(client, &json!({"type": "leave", "room": room}));
            }
            3 => {
                let react =
                    json!({"type": "react", "room": room, "seq": 1, "emoji": EMOJI[nth % EMOJI.len()]});
                servers.world(at).send(client, &react);
            }
            _ => {
                let text = format!("{seed}-{nth}");
                let post = json!({"type": "post", "id": text, "room": room, "text": text});
                servers.world(at).send(client, &post);
            }
        }
        if dice.below(12) == 0 {
            servers.save();
        }
        if dice.below(40) == 0 {
            servers.restart(loses);
        }
        for _ in 0..dice.below(12) {
            servers.step(dice);
        }
        people[dice.below(6)].read(&mut servers, loses);
    }
    // Whoever has to ask again is answered, too.
    for _ in 0..6 {
        servers.settle(dice);
        for person in &mut people {
            person.read(&mut servers, loses);
        }
    }
    check(&servers, &people, loses);
}

fn check(servers: &Servers, people: &[Person], loses: bool) {
    for room in ["r0", "r1"] {
        let kept = servers.texts(room);
        let texts: BTreeSet<&String> = kept.iter().collect();
        assert_eq!(texts.len(), kept.len(), "something is in {room} twice");
        for person in people {
            let Some(view) = person.views.get(room) else { continue };
            assert!(!view.is_waiting, "somebody waits for {room}");
            if view.is_in {
                assert_eq!(view.seq as usize, kept.len(), "somebody has not heard all of {room}");
                for (seq, text) in &view.said {
                    assert_eq!(*text, kept[*seq as usize - 1], "{seq} of {room}");
                }
            }
        }
    }
    for (text, (room, seq)) in people.iter().filter(|_| !loses).flat_map(|person| &person.acked) {
        assert_eq!(servers.texts(room).get(*seq as usize - 1), Some(text), "acked, and not there");
    }
}

#[test]
fn promises_hold_on_an_engine_under_every_schedule() {
    for seed in 0..128 {
        run(seed, Broken::Nothing, false);
        run(seed, Broken::Nothing, true);
    }
}

#[test]
fn an_engine_and_servers_that_are_broken_are_found_out() {
    for broken in [Broken::Answers, Broken::Gaps, Broken::Epochs, Broken::Lineage, Broken::Order] {
        let loses = broken == Broken::Epochs;
        let is_found = (0..24).any(|seed| std::panic::catch_unwind(|| run(seed, broken, loses)).is_err());
        assert!(is_found, "{broken:?}");
    }
}

#[test]
fn who_knows_a_history_of_which_a_server_has_not_heard_yet_asks_again() {
    let dice = &mut Dice::new(1);
    let mut servers = Servers::new(2, Broken::Nothing);
    let people = [0, 1].map(|at| {
        let client = servers.world(at).person(&format!("p{at}"));
        servers.world(at).send(client, &json!({"type": "join", "room": "r"}));
        client
    });
    let post = |text| json!({"type": "post", "room": "r", "text": text});
    servers.world(0).send(people[0], &post("one"));
    servers.settle(dice);
    servers.world(0).take(people[0]);
    // The engine begins again; one server has heard of it, the other one has not.
    servers.restart(false);
    servers.go_on(0, dice);
    servers.world(0).send(people[0], &post("two"));
    servers.go_on(0, dice);
    servers.go_on(0, dice);
    let told = servers.world(0).take(people[0]);
    let epoch = &told.iter().find(|it| it["type"] == "epoch").expect("the history has another name")["epoch"];
    assert!(told.iter().any(|it| it["type"] == "message" && it["seq"] == 2), "{told:?}");

    let moved = servers.world(1).person("p0");
    let mut join = json!({"type": "join", "room": "r", "since": {"epoch": epoch, "seq": 2, "rev": 0}});
    servers.world(1).take(moved);
    servers.world(1).send(moved, &join);
    servers.world(1).tick();
    let refused = servers.world(1).take(moved);
    assert_eq!((&refused[0]["code"], &refused[0]["retry_after_ms"]), (&json!("unavailable"), &json!(200)));
    servers.settle(dice);
    servers.world(1).send(moved, &join);
    servers.settle(dice);
    let joined = servers.world(1).take(moved);
    assert_eq!((&joined[0]["type"], &joined[0]["recovered"]), (&json!("joined"), &json!(true)), "{joined:?}");

    // A history of which nobody ever hears is no reason to ask for ever.
    let stranger = servers.world(1).person("p2");
    servers.world(1).take(stranger);
    join["since"]["epoch"] = json!("elsewhere");
    servers.world(1).send(stranger, &join);
    servers.world(1).tick();
    assert_eq!(servers.world(1).take(stranger)[0]["code"], "unavailable");
    servers.world(1).advance(3000);
    servers.world(1).send(stranger, &join);
    servers.settle(dice);
    let joined = servers.world(1).take(stranger);
    assert_eq!(
        (&joined[0]["type"], &joined[0]["recovered"]),
        (&json!("joined"), &json!(false)),
        "{joined:?}"
    );
}
