//! Several loops that are one chat: what is promised holds across them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Dice, Fault};
use crate::world::{Client, list, options, texts};

/// A client of one of the loops.
#[derive(Debug, Clone, Copy)]
struct At(usize, Client);

fn person(cluster: &mut Cluster, number: usize, user: &str) -> At {
    At(number, cluster.loops[number].person(user))
}

fn verified(cluster: &mut Cluster, number: usize, token: &str) -> At {
    let client = cluster.loops[number].connect();
    cluster.loops[number].send(client, &json!({"type": "hello", "token": format!("good-{token}")}));
    cluster.settle();
    let got = cluster.loops[number].take(client);
    assert!(got.iter().any(|value| value["type"] == "welcome"), "{got:?}");
    At(number, client)
}

fn send(cluster: &mut Cluster, at: At, command: &Value) {
    cluster.loops[at.0].send(at.1, command);
}

/// Everything that comes until nothing is on its way.
fn done(cluster: &mut Cluster, at: At, command: &Value) -> Vec<Value> {
    send(cluster, at, command);
    cluster.settle();
    cluster.loops[at.0].take(at.1)
}

fn join(cluster: &mut Cluster, at: At, room: &str) -> Value {
    let got = done(cluster, at, &json!({"type": "join", "room": room}));
    got.into_iter().find(|value| value["type"] == "joined").expect("joined")
}

fn of_type(got: &[Value], kind: &str) -> Vec<Value> {
    got.iter().filter(|value| value["type"] == kind).cloned().collect()
}

fn take(cluster: &mut Cluster, at: At) -> Vec<Value> {
    cluster.loops[at.0].take(at.1)
}

#[test]
fn everybody_in_a_room_hears_the_same_in_one_order() {
    let mut cluster = Cluster::new(3, &options());
    let people: Vec<At> = (0..3).map(|number| person(&mut cluster, number, &format!("p{number}"))).collect();
    for at in &people {
        join(&mut cluster, *at, "r");
    }
    for at in &people {
        take(&mut cluster, *at);
    }
    for round in 0..10 {
        for (number, at) in people.iter().enumerate() {
            send(
                &mut cluster,
                *at,
                &json!({"type": "post", "room": "r", "text": format!("{round}-{number}")}),
            );
            cluster.loops[number].tick();
        }
    }
    cluster.settle();
    let heard: Vec<Vec<String>> =
        people.iter().map(|at| texts(&of_type(&take(&mut cluster, *at), "message"))).collect();
    assert_eq!(heard[0].len(), 30);
    assert!(heard.iter().all(|other| *other == heard[0]), "{heard:?}");
}

#[test]
fn presence_is_summed_and_names_the_people_of_other_loops() {
    let mut cluster = Cluster::new(2, &options());
    let (ada, bob) = (person(&mut cluster, 0, "Ada"), person(&mut cluster, 1, "Bob"));
    assert_eq!(join(&mut cluster, ada, "r")["count"], 1);
    let joined = join(&mut cluster, bob, "r");
    assert_eq!(joined["count"], 2);
    let names = |value: &Value| -> Vec<String> {
        list(value, "members").iter().map(|member| member["user"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&joined), ["Bob", "Ada"]);
    let told = of_type(&take(&mut cluster, ada), "presence");
    let last = told.last().unwrap();
    assert_eq!((&last["count"], &last["joined"][0]["user"]), (&json!(2), &json!("Bob")));
    let who = done(&mut cluster, ada, &json!({"type": "who", "room": "r"}));
    assert_eq!((names(&who[0]), &who[0]["count"]), (vec!["Ada".to_owned(), "Bob".to_owned()], &json!(2)));
    // Typing and read marks are passed on.
    send(&mut cluster, bob, &json!({"type": "typing", "room": "r"}));
    let posted = done(&mut cluster, bob, &json!({"type": "post", "room": "r", "text": "x"}));
    assert_eq!(of_type(&posted, "ack").len(), 1);
    done(&mut cluster, bob, &json!({"type": "read", "room": "r", "seq": 1}));
    let told = take(&mut cluster, ada);
    assert_eq!(of_type(&told, "typing")[0]["user"], "Bob");
    assert_eq!(of_type(&told, "reads")[0]["reads"][0], json!({"user": "Bob", "seq": 1}));
    // One goes: of their own will, and with the connection, also where the room is closed then.
    done(&mut cluster, bob, &json!({"type": "leave", "room": "r"}));
    let told = of_type(&take(&mut cluster, ada), "presence");
    assert_eq!((&told[0]["count"], &told[0]["left"][0]["user"]), (&json!(1), &json!("Bob")));
    let eve = person(&mut cluster, 1, "Eve");
    join(&mut cluster, eve, "blank");
    let zoe = person(&mut cluster, 0, "Zoe");
    assert_eq!(join(&mut cluster, zoe, "blank")["count"], 2);
    take(&mut cluster, zoe);
    cluster.loops[1].cut(eve.1);
    cluster.settle();
    let told = of_type(&take(&mut cluster, zoe), "presence");
    assert_eq!((&told[0]["count"], &told[0]["left"][0]["user"]), (&json!(1), &json!("Eve")));
}

#[test]
fn what_happens_in_a_conversation_both_are_told_on_whatever_loop_they_are() {
    let mut cluster = Cluster::new(3, &options());
    let (ada, bob) = (verified(&mut cluster, 0, "Ada"), verified(&mut cluster, 1, "Bob"));
    let phone = verified(&mut cluster, 2, "Bob");
    done(&mut cluster, ada, &json!({"type": "direct", "to": "Bob", "text": "one"}));
    for at in [ada, bob, phone] {
        take(&mut cluster, at);
    }
    done(&mut cluster, ada, &json!({"type": "typing", "room": "@Bob"}));
    done(&mut cluster, ada, &json!({"type": "edit", "room": "@Bob", "seq": 1, "text": "two"}));
    done(&mut cluster, phone, &json!({"type": "react", "room": "@Ada", "seq": 1, "emoji": "👍"}));
    done(&mut cluster, phone, &json!({"type": "read", "room": "@Ada", "seq": 1}));
    let told = take(&mut cluster, bob);
    let rooms: Vec<&Value> = told.iter().map(|one| &one["room"]).collect();
    let kinds: Vec<&Value> = told.iter().map(|one| &one["type"]).collect();
    assert_eq!(kinds, ["typing", "edited", "reacted", "reads"]);
    assert!(rooms.iter().all(|room| **room == "@Ada"), "{told:?}");
    let told = take(&mut cluster, ada);
    assert_eq!(of_type(&told, "reacted")[0]["room"], "@Bob");
    assert_eq!(of_type(&told, "reads")[0]["reads"], json!([{"user": "Bob", "verified": true, "seq": 1}]));
}

#[test]
fn a_name_that_comes_with_a_new_token_is_theirs_on_all_loops() {
    let mut cluster = Cluster::new(2, &options());
    let (ada, guest) = (verified(&mut cluster, 0, "x1/Ada"), person(&mut cluster, 1, "Countess"));
    let got = done(&mut cluster, ada, &json!({"type": "refresh", "token": "good-x1/Countess"}));
    assert_eq!(got[0]["user"], "Countess");
    assert_eq!(of_type(&take(&mut cluster, guest), "bye")[0]["reason"], "name_taken");
    let bob = verified(&mut cluster, 1, "Bob");
    let sent = done(&mut cluster, bob, &json!({"type": "direct", "to": "Ada", "text": "x"}));
    assert_eq!(of_type(&sent, "ack")[0]["room"], "@Countess");
}

#[test]
fn a_verified_users_name_is_theirs_on_all_loops() {
    let mut cluster = Cluster::new(2, &options());
    let guest = person(&mut cluster, 0, "Ada");
    let ada = verified(&mut cluster, 1, "x1/Ada");
    let bye = take(&mut cluster, guest);
    assert_eq!((&bye[0]["type"], &bye[0]["reason"]), (&json!("bye"), &json!("name_taken")));
    let late = cluster.loops[0].connect();
    let late = At(0, late);
    let refused = done(&mut cluster, late, &json!({"type": "hello", "user": "ADA"}));
    assert_eq!((&refused[0]["code"], &refused[0]["field"]), (&json!("forbidden"), &json!("user")));
    // Another person may not have it, on whatever loop.
    let other = cluster.loops[0].connect();
    let other = At(0, other);
    let refused = done(&mut cluster, other, &json!({"type": "hello", "token": "good-x2/Ada"}));
    assert_eq!(refused[0]["code"], "forbidden");
    // When she goes, a guest may.
    cluster.loops[1].cut(ada.1);
    cluster.settle();
    assert_eq!(done(&mut cluster, late, &json!({"type": "hello", "user": "Ada"}))[0]["type"], "welcome");
}

#[test]
fn a_message_from_one_user_to_another_finds_every_connection() {
    let mut cluster = Cluster::new(3, &options());
    let (ada, ada2) = (verified(&mut cluster, 0, "Ada"), verified(&mut cluster, 1, "Ada"));
    let bob = verified(&mut cluster, 2, "Bob");
    let ack = done(&mut cluster, ada, &json!({"type": "direct", "to": "bob", "text": "hi", "key": "k"}));
    let ack = of_type(&ack, "ack").remove(0);
    assert_eq!((&ack["room"], &ack["seq"], &ack["durable"]), (&json!("@Bob"), &json!(1), &json!("disk")));
    for at in [ada2, bob] {
        let told = of_type(&take(&mut cluster, at), "direct");
        assert_eq!((&told[0]["from"], &told[0]["to"], told.len()), (&json!("Ada"), &json!("Bob"), 1));
    }
    // The other way round, and once more with the same key.
    done(&mut cluster, bob, &json!({"type": "direct", "to": "Ada", "text": "ho"}));
    for at in [ada, ada2] {
        assert_eq!(texts(&of_type(&take(&mut cluster, at), "direct")), ["ho"]);
    }
    let again = done(&mut cluster, ada2, &json!({"type": "direct", "to": "bob", "text": "hi", "key": "k"}));
    assert_eq!((&again[0]["duplicate"], &again[0]["seq"]), (&json!(true), &json!(1)));
    // With a guest nothing is kept.
    let (eve, zoe) = (person(&mut cluster, 0, "Eve"), person(&mut cluster, 1, "Zoe"));
    let ack = done(&mut cluster, eve, &json!({"type": "direct", "to": "zoe", "text": "psst"}));
    let ack = of_type(&ack, "ack").remove(0);
    assert_eq!(
        (&ack["room"], &ack["durable"], &ack["seq"]),
        (&json!("@Zoe"), &json!("memory"), &Value::Null)
    );
    assert_eq!(texts(&of_type(&take(&mut cluster, zoe), "direct")), ["psst"]);
    let refused = done(&mut cluster, eve, &json!({"type": "direct", "to": "nobody", "text": "x"}));
    assert_eq!(refused[0]["code"], "not_found");
}

#[test]
fn kicks_and_bans_reach_every_loop() {
    let mut cluster = Cluster::new(2, &options());
    let boss = verified(&mut cluster, 0, "Boss:*");
    let (eve, eve2) = (person(&mut cluster, 0, "Eve"), person(&mut cluster, 1, "Eve"));
    for at in [boss, eve, eve2] {
        join(&mut cluster, at, "r");
    }
    let kick = json!({"type": "kick", "room": "r", "user": "eve", "reason": "enough"});
    let got = done(&mut cluster, boss, &kick);
    assert_eq!(of_type(&got, "ack").len(), 1);
    for at in [eve, eve2] {
        assert_eq!(of_type(&take(&mut cluster, at), "kicked").len(), 1);
    }
    join(&mut cluster, eve2, "r");
    assert_eq!(of_type(&done(&mut cluster, boss, &kick), "ack").len(), 1, "on the other loop only");
    let refused = done(&mut cluster, boss, &kick);
    assert_eq!(of_type(&refused, "error")[0]["code"], "not_found");
    let ban = done(&mut cluster, boss, &json!({"type": "ban", "user": "Eve", "seconds": 60}));
    assert_eq!(of_type(&ban, "ack").len(), 1);
    for at in [eve, eve2] {
        let told = take(&mut cluster, at);
        assert_eq!(of_type(&told, "bye")[0]["reason"], "banned", "{told:?}");
    }
    let late = At(1, cluster.loops[1].connect());
    let refused = done(&mut cluster, late, &json!({"type": "hello", "user": "Eve"}));
    assert_eq!(refused[0]["code"], "forbidden");
}

#[test]
fn rates_hold_across_loops() {
    let limits = switchboard::chat::Limits::default().with_posts_per_second(2);
    let burst = limits.posts.burst as usize;
    let mut cluster = Cluster::new(2, &options().with(|it| it.limits = limits));
    let people: Vec<At> = (0..2).map(|number| verified(&mut cluster, number, "Ada")).collect();
    for at in &people {
        join(&mut cluster, *at, "r");
    }
    let (mut acked, mut limited) = (0, 0);
    for nth in 0..2 * burst {
        let at = people[nth % 2];
        send(&mut cluster, at, &json!({"type": "post", "room": "r", "text": "x"}));
        cluster.loops[at.0].tick();
    }
    cluster.settle();
    for at in people {
        let got = take(&mut cluster, at);
        acked += of_type(&got, "ack").len();
        limited += of_type(&got, "error").iter().filter(|error| error["code"] == "rate_limited").count();
    }
    assert_eq!((acked, limited), (burst, burst), "each loop alone would have let all of them through");
}

/// What somebody must have heard.
#[derive(Debug, Default)]
struct Ledger {
    /// By room: the newest message that they know.
    newest: BTreeMap<String, u64>,
    /// By room: how many were there when they were told last.
    count: BTreeMap<String, u64>,
    acked: Vec<(String, u64)>,
}

impl Ledger {
    fn take(&mut self, said: &mut BTreeMap<(String, u64), String>, got: Vec<Value>) {
        for value in got {
            let room = value["room"].as_str().unwrap_or_default().to_owned();
            match value["type"].as_str().unwrap() {
                "joined" => {
                    for message in list(&value, "messages") {
                        agree(said, &room, &message);
                    }
                    self.count.insert(room.clone(), value["count"].as_u64().unwrap());
                    self.newest.insert(room, value["seq"].as_u64().unwrap());
                }
                "left" => drop(self.newest.remove(&room)),
                "presence" => drop(self.count.insert(room, value["count"].as_u64().unwrap())),
                "message" => {
                    let Some(newest) = self.newest.get_mut(&room) else { panic!("not in {room}: {value}") };
                    assert_eq!(value["seq"].as_u64(), Some(*newest + 1), "a gap or a twin in {room}");
                    *newest += 1;
                    agree(said, &room, &value);
                }
                "ack" if value["seq"].is_u64() => self.acked.push((room, value["seq"].as_u64().unwrap())),
                "error" => {
                    assert!(
                        ["not_joined", "not_found"].contains(&value["code"].as_str().unwrap()),
                        "{value}"
                    );
                }
                _ => {}
            }
        }
    }
}

/// A message is the same for everybody.
fn agree(said: &mut BTreeMap<(String, u64), String>, room: &str, message: &Value) {
    let text = message["text"].as_str().unwrap().to_owned();
    let known = said.entry((room.to_owned(), message["seq"].as_u64().unwrap())).or_insert(text.clone());
    assert_eq!(*known, text, "two messages of one number in {room}");
}

/// People on several loops come, talk and go under this schedule; whoever is in a room hears everything once and in order.
fn run(loops: usize, seed: u64, fault: Fault) {
    let dice = &mut Dice::new(seed);
    let mut cluster = Cluster::with_fault(loops, &options(), fault);
    let people: Vec<At> = (0..6).map(|nth| person(&mut cluster, nth % loops, &format!("p{nth}"))).collect();
    let mut ledgers: Vec<Ledger> = people.iter().map(|_| Ledger::default()).collect();
    let mut said = BTreeMap::new();
    for nth in 0..160 {
        let who = dice.below(people.len());
        let room = format!("r{}", dice.below(2));
        let command = match dice.below(8) {
            0 | 1 => json!({"type": "join", "room": room}),
            2 if nth % 3 == 0 => json!({"type": "leave", "room": room}),
            _ => {
                json!({"type": "post", "room": room, "text": format!("{seed}-{nth}"), "key": format!("{nth}")})
            }
        };
        send(&mut cluster, people[who], &command);
        for _ in 0..dice.below(6) {
            cluster.step(dice);
        }
        let heard = dice.below(people.len());
        let got = take(&mut cluster, people[heard]);
        ledgers[heard].take(&mut said, got);
    }
    cluster.settle();
    for (at, ledger) in people.iter().zip(&mut ledgers) {
        let got = take(&mut cluster, *at);
        ledger.take(&mut said, got);
    }
    for (at, ledger) in people.iter().zip(&ledgers) {
        for (room, newest) in &ledger.newest {
            assert_eq!(
                *newest as usize,
                cluster.disk.texts(room).len(),
                "somebody has not heard all of {room}"
            );
        }
        for (room, seq) in &ledger.acked {
            assert!(
                *seq as usize <= cluster.disk.texts(room).len(),
                "acked and not kept: {at:?} {room} {seq}"
            );
        }
    }
    // Everybody agrees on who is there.
    for room in ["r0", "r1"] {
        let here: Vec<At> = people
            .iter()
            .zip(&ledgers)
            .filter(|(_, it)| it.newest.contains_key(room))
            .map(|it| *it.0)
            .collect();
        for ledger in ledgers.iter().filter(|it| it.newest.contains_key(room)) {
            assert_eq!(ledger.count[room], here.len() as u64, "what was told of {room}");
        }
        for at in &here {
            send(&mut cluster, *at, &json!({"type": "who", "room": room}));
            cluster.loops[at.0].tick();
            let who = of_type(&take(&mut cluster, *at), "members").remove(0);
            assert_eq!(
                (who["count"].as_u64(), list(&who, "members").len()),
                (Some(here.len() as u64), here.len())
            );
        }
    }
}

#[test]
fn promises_hold_on_two_and_three_loops_under_every_schedule() {
    for seed in 0..256 {
        run(2 + seed as usize % 2, seed, Fault::Nothing);
    }
}

/// The oracle sees what it is there for.
fn is_found_out(fault: Fault) -> bool {
    (0..12).any(|seed| std::panic::catch_unwind(|| run(2, seed, fault)).is_err())
}

#[test]
fn every_fault_between_loops_is_found_out() {
    for fault in [Fault::Skipped, Fault::Twin, Fault::Reordered, Fault::NoPresence] {
        assert!(is_found_out(fault), "{fault:?}");
    }
}

#[test]
fn an_operator_reaches_every_loop() {
    use crate::world::Call;
    let mut cluster = Cluster::new(2, &options());
    let (ada, bob) = (person(&mut cluster, 0, "Ada"), person(&mut cluster, 1, "Bob"));
    let (ada2, bob2) = (person(&mut cluster, 1, "Ada"), person(&mut cluster, 0, "Bob"));
    join(&mut cluster, bob, "r");
    cluster.loops[0].call(Call::Broadcast("hear".to_owned()));
    cluster.settle();
    for at in [ada, bob, ada2, bob2] {
        assert_eq!(texts(&of_type(&take(&mut cluster, at), "broadcast")), ["hear"]);
    }
    assert_eq!(cluster.loops[0].answered().last().unwrap().1, json!({"receivers": 4}));
    cluster.loops[1].call(Call::DisconnectUser("ada".to_owned()));
    cluster.settle();
    assert_eq!(cluster.loops[1].answered().last().unwrap().1, json!({"disconnected": 2}));
    for at in [ada, ada2] {
        assert_eq!(of_type(&take(&mut cluster, at), "bye")[0]["reason"], "disconnected");
    }
    let seen = join(&mut cluster, bob2, "r");
    let client = list(&seen, "members")[1]["client"].as_str().unwrap().to_owned();
    cluster.loops[0].call(Call::DisconnectClient(client));
    cluster.settle();
    assert_eq!(cluster.loops[0].answered().last().unwrap().1, json!({"disconnected": 1}));
    cluster.loops[0].call(Call::DisconnectClient("nobody".to_owned()));
    cluster.settle();
    assert_eq!(cluster.loops[0].answered().last().unwrap().1["code"], "not_found");
}
