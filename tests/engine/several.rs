//! Several engines side by side: each has rooms of its own, and takes nothing but them along when it is away.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use switchboard::history::engine::{self, EngineError, Options, Target};
use switchboard::history::{Act, Event, NameRange, Outcome, Proposal, Query, Reader};

use crate::bridge::{impatient, kept};
use crate::node::{Node, TIMEOUT, post, texts};
use crate::nodes::{call_api, get, node_with};
use crate::person::Person;
use crate::redis_server::{Engine, wait_until};

const NAMES: [&str; 8] = ["general", "tea", "work", "rust", "@ada\nbob", "@ada\neve", "music", "zebra"];

fn rooms_of(engine: &Engine) -> BTreeSet<String> {
    engine.run::<Vec<String>>(&["KEYS", "sb:m:*"]).into_iter().collect()
}

fn urls(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// A room of each engine.
fn one_of_each(engines: &[Engine]) -> Vec<&'static str> {
    let of = |engine: &Engine| {
        let rooms = rooms_of(engine);
        NAMES.into_iter().find(|name| rooms.contains(&format!("sb:m:{{{name}}}"))).expect("it has a room")
    };
    engines.iter().map(of).collect()
}

#[test]
fn rooms_are_dealt_out_and_a_batch_over_all_of_them_is_settled_in_order() {
    let engines = [Engine::start(), Engine::start(), Engine::start()];
    let addresses: Vec<String> = engines.iter().map(Engine::url).collect();
    let mut writer = Node::among(&urls(&addresses), &Options::default(), 2);
    // The order of the list is as good as another one.
    let mut reader = Node::among(&[&*addresses[2], &*addresses[0], &*addresses[1]], &Options::default(), 1);
    for room in NAMES {
        reader.open(0, room);
    }
    let mut said: BTreeMap<&str, Vec<(u64, String)>> = BTreeMap::new();
    for round in 0..40 {
        let mut batch = Vec::new();
        for nth in 0..12 {
            let room = NAMES[(round * 5 + nth * 3) % NAMES.len()];
            let text = format!("{round}.{nth}");
            batch.push(post(room, &text, Some(&text)));
            let of_room = said.entry(room).or_default();
            of_room.push((of_room.len() as u64 + 1, text));
        }
        let read = Act::Read { user: "ada".into(), seq: 1 };
        batch.insert(5, Proposal { room: NAMES[round % 4].into(), time: 1, act: read });
        let expected: Vec<Arc<str>> =
            batch.iter().filter(|it| matches!(it.act, Act::Post(_))).map(|it| Arc::clone(&it.room)).collect();
        let outcomes = writer.propose(round % 2, batch).unwrap();
        assert_eq!(outcomes.len(), expected.len());
        let mut first: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for (outcome, room) in outcomes.iter().zip(expected) {
            let Outcome::Posted { seq, .. } = outcome else { panic!("{outcome:?}") };
            let last = first.entry(room).or_insert(seq - 1);
            assert_eq!(*seq, *last + 1, "each outcome is that of its proposal");
            *last = *seq;
        }
    }
    for (room, said) in &said {
        assert_eq!(texts(&reader.wait_for(0, room, said.len())), *said);
        assert_eq!(kept(&mut reader, room), *said);
    }
    let shares: Vec<_> = engines.iter().map(rooms_of).collect();
    assert!(shares.iter().all(|share| !share.is_empty()), "{shares:?}");
    assert_eq!(shares.iter().map(BTreeSet::len).sum::<usize>(), NAMES.len(), "each room is on one of them");
    check_lists(&mut reader, &said);
    writer.end();
    reader.end();
}

fn check_lists(node: &mut Node, said: &BTreeMap<&str, Vec<(u64, String)>>) {
    let rooms = Query::Rooms { ask: 1, ranges: NameRange::all(), limit: 4 };
    let Event::Rooms { rooms: Ok(rooms), ask: 1 } = node.query(0, rooms) else { panic!("no list") };
    let names: Vec<_> = rooms.iter().map(|room| (room.name.to_string(), room.seq)).collect();
    let expected: Vec<_> = said
        .iter()
        .filter(|(room, _)| !room.starts_with('@'))
        .map(|(room, said)| ((*room).to_owned(), said.len() as u64))
        .take(4)
        .collect();
    assert_eq!(names, expected);
    let pairs = Query::Pairs { ask: 2, user: "ada".into(), after: None, limit: 50 };
    let Event::Pairs { pairs: Ok(pairs), ask: 2 } = node.query(0, pairs) else { panic!("no list") };
    let mut others: Vec<_> = pairs.iter().map(|pair| &*pair.place.other).collect();
    others.sort_unstable();
    assert_eq!(others, ["bob", "eve"]);
    let subscribe = |room: &str| Proposal {
        room: room.into(),
        time: 1,
        act: Act::Subscribe { user: "ada".into(), is_on: true, most: 10 },
    };
    let outcomes = node.propose(0, vec![subscribe("tea"), subscribe("work"), subscribe("rust")]).unwrap();
    assert_eq!(outcomes, [Outcome::Subscribed; 3]);
    let reader = Reader { user: "ada".into(), names: ["ada".into()].into(), read: 0 };
    let mine = Query::Mine { ask: 3, reader, after: None, limit: 50 };
    let Event::Mine { page: Ok(page), .. } = node.query(0, mine) else { panic!("no list") };
    assert_eq!(page.subscribed.iter().map(|room| &**room).collect::<Vec<_>>(), ["rust", "tea", "work"]);
    assert_eq!(page.rooms.len(), 5);
    assert!(page.rooms.is_sorted_by(|a, b| a.place.order() <= b.place.order()));
}

#[test]
fn an_engine_that_is_away_takes_its_rooms_along_and_nothing_else() {
    let mut engines = [Engine::on_disk(), Engine::on_disk()];
    let addresses: Vec<String> = engines.iter().map(Engine::url).collect();
    let mut node = Node::among(&urls(&addresses), &impatient(), 1);
    for room in NAMES {
        node.post(0, room, "before", None);
    }
    let rooms = one_of_each(&engines);
    engines[1].kill();
    let both = || vec![post(rooms[0], "x", None), post(rooms[1], "x", Some("k")), post(rooms[0], "y", None)];
    let outcomes = node.propose(0, both()).expect("the loop is not told that all has failed");
    assert!(
        matches!(
            outcomes[..],
            [Outcome::Posted { seq: 2, .. }, Outcome::Unavailable, Outcome::Posted { seq: 3, .. }]
        ),
        "{outcomes:?}"
    );
    assert!(
        node.clients[0].is_away(rooms[1])
            && !node.clients[0].is_away(rooms[0])
            && !node.clients[0].is_away("")
    );
    assert!(!node.is_failed[0]);
    let reader = Reader { user: "ada".into(), names: ["ada".into()].into(), read: 0 };
    let mine = node.query(0, Query::Mine { ask: 1, reader, after: None, limit: 50 });
    assert!(
        matches!(mine, Event::Mine { page: Err(_), .. }),
        "what is unread is not known without it: {mine:?}"
    );
    let list = node.query(0, Query::Rooms { ask: 2, ranges: NameRange::all(), limit: 50 });
    assert!(matches!(&list, Event::Rooms { rooms: Ok(rooms), .. } if !rooms.is_empty()), "{list:?}");
    engines[1].start_again();
    wait_until("it is back", || !node.clients[0].is_away(rooms[1]));
    let outcomes = node.propose(0, both()).unwrap();
    assert!(
        matches!(
            outcomes[..],
            [Outcome::Posted { seq: 4, .. }, Outcome::Posted { seq: 2, .. }, Outcome::Posted { seq: 5, .. }]
        ),
        "{outcomes:?}"
    );
    node.end();
}

#[test]
fn a_server_with_one_of_its_engines_away_serves_the_rooms_of_the_others() {
    let mut engines = [Engine::on_disk(), Engine::on_disk()];
    let secret = crate::support::Scratch::new("api", b"a-secret-of-the-operator-0123456789");
    let (first, second) = (engines[0].url(), engines[1].url());
    let args = ["--engine", &*second, "--api-token-file", secret.path()];
    let nodes = [node_with(&first, &args), node_with(&first, &args)];
    let (mut ada, mut bob) = (Person::hello(nodes[0].addr, "Ada"), Person::hello(nodes[1].addr, "Bob"));
    let names = ["tea", "work", "rust", "music", "zebra"];
    for room in names {
        ada.join(room, None);
        bob.join(room, None);
        ada.say(room, &format!("in {room}"));
    }
    bob.messages(names.len());
    let has = |engine: &Engine, room: &str| rooms_of(engine).contains(&format!("sb:m:{{{room}}}"));
    let near = names.into_iter().find(|room| has(&engines[0], room)).unwrap();
    let far = names.into_iter().find(|room| has(&engines[1], room)).unwrap();
    engines[1].kill();
    wait_until("its rooms are unavailable", || {
        ada.ask(&json!({"type": "post", "room": far, "text": "x", "key": "k"}))["code"] == "unavailable"
    });
    assert_eq!(ada.say(near, "goes on"), 2);
    assert_eq!(bob.messages(1), [(2, "goes on".to_owned())]);
    assert_eq!(get(nodes[0].addr, "/readyz").0, 200, "a balancer does not take all servers away");
    assert!(get(nodes[0].addr, "/metrics").1.contains("switchboard_engine_up 1\n"));
    let ban = call_api(nodes[0].addr, "a-secret-of-the-operator-0123456789", "PUT /api/v1/bans/Eve", "{}");
    assert!(ban.starts_with("HTTP/1.1 20"), "{ban}");
    engines[1].start_again();
    assert_eq!(ada.say(far, "back"), 2);
    let told = bob
        .await_where("it is told", |it| it["type"] == "message" && it["room"] == far && it["text"] == "back");
    assert_eq!(told["seq"], 2);
    // Without the first one there are no bans, and nobody is told that there are.
    engines[0].kill();
    wait_until("bans are unavailable", || {
        let ban =
            call_api(nodes[0].addr, "a-secret-of-the-operator-0123456789", "PUT /api/v1/bans/Mal", "{}");
        ban.starts_with("HTTP/1.1 503")
    });
    assert_eq!(ada.say(far, "still here"), 3);
}

#[test]
fn another_list_of_engines_is_refused_before_anything_is_lost() {
    let engines = [Engine::start(), Engine::start(), Engine::start()];
    let url = |at: usize| engines[at].url();
    let open = |places: &[usize]| {
        let targets = places.iter().map(|at| Target::new(&url(*at), TIMEOUT).unwrap()).collect();
        engine::open_all(targets, &Options::default(), 1).map(|_| ())
    };
    let mut node = Node::among(&[&url(0), &url(1)], &Options::default(), 1);
    node.post(0, "tea", "x", None);
    node.end();
    open(&[1, 0]).unwrap();
    for (places, word) in [
        (&[0][..], "began with 2, and these are 1"),
        (&[0, 1, 2], "began with 2, and these are 3"),
        (&[0, 2], "has no mark"),
        (&[0, 0], "twice"),
    ] {
        let why = open(places).unwrap_err();
        assert!(
            matches!(why, EngineError::Engines(_)) && why.to_string().contains(word),
            "{places:?}: {why}"
        );
    }
    let args = ["serve", "--listen", "127.0.0.1:0", "--engine", &url(0), "--engine", &url(2)];
    let out = Command::new(env!("CARGO_BIN_EXE_switchboard")).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("not the engines of the chat"), "{said}");
    // One that has lost everything is told by the servers at work who it is.
    let node = Node::among(&[&url(0), &url(1)], &impatient(), 1);
    engines[1].run::<()>(&["FLUSHALL"]);
    assert!(open(&[0, 1]).is_err());
    engines[1].run::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    wait_until("it is known again", || open(&[0, 1]).is_ok());
    node.end();
}
