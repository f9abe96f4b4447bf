//! Clients whose messages come without some fields: they are told the same as everybody else, but for these fields.

use serde_json::{Value, json};
use switchboard::reactor::Config;

use crate::cluster::Cluster;
use crate::world::{Client, World, list, options, seqs, texts};

const SETS: [&[&str]; 4] = [&[], &["client"], &["prev"], &["client", "prev"]];

/// Two people for each set of fields, all of them in the room `r`.
fn crowd(world: &mut World) -> Vec<(Client, &'static [&'static str])> {
    let sets = SETS.into_iter().chain(SETS).enumerate();
    let people: Vec<_> = sets.map(|(number, omit)| (world.lean(&format!("p{number}"), omit), omit)).collect();
    for (person, _) in &people {
        assert_eq!(world.join(*person, "r")["type"], "joined");
    }
    world.advance(200);
    for (person, _) in &people {
        world.take(*person);
    }
    people
}

/// What is left of events without the fields that may be left out.
fn without(events: &[Value], omit: &[&str]) -> Vec<Value> {
    let mut events = events.to_vec();
    for message in events.iter_mut().filter(|event| event["type"] == "message") {
        for field in omit {
            let left_out = message.as_object_mut().unwrap().remove(*field);
            assert!(left_out.is_some(), "{message} has no {field}");
        }
    }
    events
}

fn events(got: Vec<Value>) -> Vec<Value> {
    got.into_iter().filter(|value| value["type"] != "ack" && value["type"] != "error").collect()
}

#[test]
fn all_members_are_told_the_same_in_one_order_but_for_the_fields_that_they_omit() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let boss = world.verified("Boss:*");
        world.join(boss, "r");
        let people = crowd(&mut world);
        for round in 0..20 {
            for (number, (person, _)) in people.iter().enumerate() {
                if (round + number) % 3 != 0 {
                    world.post(*person, "r", &format!("{round} {number}"));
                }
            }
            let (person, _) = people[round % people.len()];
            let seq = round + 1;
            for command in [
                json!({"type": "react", "room": "r", "seq": seq + 1, "emoji": "👍"}),
                json!({"type": "read", "room": "r", "seq": seq}),
            ] {
                world.send(person, &command);
            }
            world.send(boss, &json!({"type": "delete", "room": "r", "seq": seq}));
            world.tick();
            world.commit();
        }
        world.send(people[3].0, &json!({"type": "leave", "room": "r"}));
        world.advance(2000);
        let heard: Vec<Vec<Value>> = people.iter().map(|(person, _)| events(world.take(*person))).collect();
        let whole = &heard[0];
        for kind in ["message", "reacted", "deleted", "reads", "presence"] {
            assert!(whole.iter().any(|event| event["type"] == kind), "no {kind} among {whole:?}");
        }
        for ((number, got), (_, omit)) in heard.iter().enumerate().zip(&people) {
            let mut expected = without(whole, omit);
            if number == 3 {
                // It is not told what happens after it has left.
                expected.truncate(got.len() - 1);
                expected.push(json!({"type": "left", "room": "r"}));
            }
            assert_eq!(*got, expected, "{omit:?}");
        }
    }
}

#[test]
fn whoever_types_is_not_told_and_all_others_are() {
    let mut world = World::in_memory();
    let people = crowd(&mut world);
    for (typist, omit) in &people {
        world.send(*typist, &json!({"type": "typing", "room": "r"}));
        world.tick();
        for (person, _) in &people {
            let told = world.take_type(*person, "typing").len();
            assert_eq!(told, usize::from(person != typist), "{omit:?}");
        }
    }
}

#[test]
fn a_lean_member_that_reads_slowly_is_told_of_the_gap_and_resumes() {
    let options = options().with(|it| it.max_queue = Some(2000));
    let mut world = World::with(options, None, Config::default());
    let (ada, slow) = (world.member("Ada", "r"), world.lean("Slow", &["prev", "client"]));
    let epoch = world.join(slow, "r")["epoch"].clone();
    world.advance(200);
    world.take(slow);
    world.stall(slow, true);
    for i in 0..100 {
        world.send(ada, &json!({"type": "post", "room": "r", "text": format!("{i} {}", "x".repeat(200))}));
        world.tick();
    }
    world.stall(slow, false);
    (0..5).for_each(|_| world.tick());
    let got = world.take(slow);
    let told: Vec<Value> = got.iter().filter(|value| value["type"] == "message").cloned().collect();
    let lagged = got.iter().find(|value| value["type"] == "lagged").expect("it is told of the gap");
    assert_eq!(
        (&lagged["room"], told.len() as u64 + lagged["dropped"].as_u64().unwrap()),
        (&json!("r"), 100)
    );
    let first = seqs(&told)[0];
    let since = json!({"epoch": epoch, "seq": first - 1});
    let joined = world.ask(slow, &json!({"type": "join", "room": "r", "since": since}));
    assert_eq!(joined["recovered"], true);
    let messages = list(&joined, "messages");
    assert_eq!(seqs(&messages), (first..=100).collect::<Vec<_>>());
    // `omit` is about events: histories are whole.
    assert!(messages.iter().all(|message| message["client"].is_string()), "{messages:?}");
}

#[test]
fn a_lean_member_who_is_kicked_or_leaves_hears_no_more_and_may_come_back() {
    let mut world = World::in_memory();
    let (boss, lean) = (world.verified("Boss:*"), world.lean("Lean", &["client"]));
    for client in [boss, lean] {
        world.join(client, "r");
    }
    for (command, by) in [
        (json!({"type": "kick", "room": "r", "user": "Lean"}), boss),
        (json!({"type": "leave", "room": "r"}), lean),
    ] {
        world.take(lean);
        world.post(boss, "r", "before");
        world.tick();
        world.send(by, &command);
        world.tick();
        world.post(boss, "r", "after");
        world.tick();
        assert_eq!(texts(&world.take_type(lean, "message")), ["before"], "{command}");
        world.post(boss, "r", "meanwhile");
        world.tick();
        world.join(lean, "r");
        world.take(lean);
        world.post(boss, "r", "again");
        world.tick();
        let told = world.take_type(lean, "message");
        assert_eq!((texts(&told), &told[0]["client"]), (vec!["again".to_owned()], &Value::Null));
        assert!(told[0]["prev"].is_u64());
    }
}

#[test]
fn members_on_several_loops_are_told_the_same_but_for_the_fields_that_they_omit() {
    let mut cluster = Cluster::new(2, &options());
    let mut people = Vec::new();
    for (number, omit) in SETS.into_iter().chain(SETS).enumerate() {
        let own = number % 2;
        let client = cluster.loops[own].lean(&format!("p{number}"), omit);
        cluster.loops[own].send(client, &json!({"type": "join", "room": "r"}));
        cluster.settle();
        people.push((own, client, omit));
    }
    for (own, client, _) in &people {
        cluster.loops[*own].take(*client);
    }
    for (number, (own, client, _)) in people.iter().enumerate() {
        cluster.loops[*own]
            .send(*client, &json!({"type": "post", "room": "r", "text": format!("text {number}")}));
        cluster.loops[*own].tick();
    }
    cluster.settle();
    let heard: Vec<Vec<Value>> =
        people.iter().map(|(own, client, _)| cluster.loops[*own].take_type(*client, "message")).collect();
    assert_eq!(heard[0].len(), people.len());
    for (got, (_, _, omit)) in heard.iter().zip(&people) {
        assert_eq!(*got, without(&heard[0], omit), "{omit:?}");
    }
}

#[test]
fn fields_that_cannot_be_left_out_are_named_and_the_client_may_say_hello_again() {
    let mut world = World::in_memory();
    let client = world.connect();
    for (omit, named) in [
        (json!(["client", "seq"]), "`seq`"),
        (json!(["x".repeat(1000)]), "`xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx`"),
        (json!([["client"]]), "a list of strings"),
        (json!([null]), "a list of strings"),
        (json!("client"), "a list of strings"),
        (json!({"client": true}), "a list of strings"),
        (json!(true), "a list of strings"),
    ] {
        let error = world.ask(client, &json!({"type": "hello", "user": "Ada", "omit": omit}));
        assert_eq!((&error["code"], &error["field"]), (&json!("bad_field"), &json!("omit")), "{omit}");
        assert!(error["message"].as_str().unwrap().contains(named), "{error}");
    }
    // What a refused `hello` asked for does not count, a field of another command neither, and a name may be repeated.
    let taken = world.verified("Bob");
    let refused = world.ask(client, &json!({"type": "hello", "user": "Bob", "omit": ["prev"]}));
    assert_eq!(refused["code"], "forbidden");
    let welcome = world.ask(client, &json!({"type": "hello", "user": "Ada", "omit": ["client", "client"]}));
    assert!(list(&welcome, "features").contains(&json!("omit")), "{welcome}");
    world.ask(client, &json!({"type": "join", "room": "r", "omit": ["nonsense"]}));
    world.join(taken, "r");
    for nothing in [json!(null), json!([])] {
        let other = world.connect();
        assert_eq!(
            world.ask(other, &json!({"type": "hello", "user": "Eve", "omit": nothing}))["type"],
            "welcome"
        );
        world.join(other, "r");
        world.take(client);
        world.post(taken, "r", "x");
        world.tick();
        let told = world.take_type(client, "message").remove(0);
        assert_eq!((told["client"].is_null(), told["prev"].is_u64()), (true, true), "{told}");
        let told = world.take_type(other, "message").remove(0);
        assert_eq!((told["client"].is_string(), told["prev"].is_u64()), (true, true), "{told}");
    }
}
