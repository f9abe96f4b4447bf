//! Rooms, presence and resume against a naive model: whatever the order of commands, disconnects, commits, failures and
//! evictions, what each client has put together from what it was told is what is there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use switchboard::chat::Options;
use switchboard::reactor::Config;

use crate::disk::Disk;
use crate::world::{Client, World, options};

const PEOPLE: usize = 4;
const ROOMS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Join(usize, usize),
    Leave(usize, usize),
    Post(usize, usize),
    /// With a key out of three.
    Keyed(usize, usize, u8),
    Edit(usize, usize, u64),
    Delete(usize, usize, u64),
    React(usize, usize, u64, bool),
    Cut(usize),
    Commit,
    Fail(usize),
    Recover,
    Answer,
    Advance(u64),
    Busy(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let (who, room) = (0..PEOPLE, 0..ROOMS.len());
    prop_oneof![
        4 => (who.clone(), room.clone()).prop_map(|(who, room)| Step::Join(who, room)),
        2 => (who.clone(), room.clone()).prop_map(|(who, room)| Step::Leave(who, room)),
        6 => (who.clone(), room.clone()).prop_map(|(who, room)| Step::Post(who, room)),
        2 => (who.clone(), room.clone(), 0..3_u8).prop_map(|(who, room, key)| Step::Keyed(who, room, key)),
        2 => (who.clone(), room.clone(), 1..9_u64).prop_map(|(who, room, seq)| Step::Edit(who, room, seq)),
        1 => (who.clone(), room.clone(), 1..9_u64).prop_map(|(who, room, seq)| Step::Delete(who, room, seq)),
        1 => (who.clone(), room, 1..9_u64, any::<bool>()).prop_map(|(who, room, seq, gone)| Step::React(who, room, seq, gone)),
        2 => who.prop_map(Step::Cut),
        5 => Just(Step::Commit),
        1 => (0..3_usize).prop_map(Step::Fail),
        2 => Just(Step::Recover),
        4 => Just(Step::Answer),
        3 => (0..150_u64).prop_map(Step::Advance),
        1 => any::<bool>().prop_map(Step::Busy),
    ]
}

/// What a client makes of a message.
#[derive(Debug, Clone, Default, PartialEq)]
struct Said {
    text: String,
    is_deleted: bool,
    reactions: BTreeMap<String, BTreeSet<String>>,
}

impl Said {
    fn of(message: &Value) -> Self {
        let mut said = Self {
            text: message["text"].as_str().unwrap().to_owned(),
            is_deleted: message["deleted"] == true,
            reactions: BTreeMap::new(),
        };
        for (emoji, users) in message["reactions"].as_object().into_iter().flatten() {
            let users = users.as_array().unwrap().iter().map(|user| user.as_str().unwrap().to_owned());
            said.reactions.insert(emoji.clone(), users.collect());
        }
        said
    }

    fn change(&mut self, event: &Value) {
        match event["type"].as_str().unwrap() {
            "edited" => event["text"].as_str().unwrap().clone_into(&mut self.text),
            "deleted" => *self = Self { is_deleted: true, ..Self::default() },
            _ => {
                let emoji = event["emoji"].as_str().unwrap().to_owned();
                let users = self.reactions.entry(emoji.clone()).or_default();
                let user = event["user"].as_str().unwrap().to_owned();
                if event["removed"] == true {
                    users.remove(&user)
                } else {
                    users.insert(user)
                };
                if users.is_empty() {
                    self.reactions.remove(&emoji);
                }
            }
        }
    }
}

/// What a client knows of a room.
#[derive(Debug, Default)]
struct View {
    epoch: Value,
    seq: u64,
    rev: u64,
    said: BTreeMap<u64, Said>,
    members: BTreeSet<String>,
    is_in: bool,
}

impl View {
    fn joined(&mut self, joined: &Value) {
        let is_recovered = joined["recovered"] == true;
        let messages = joined["messages"].as_array().unwrap();
        if is_recovered {
            let numbers: Vec<u64> = messages.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
            let head = joined["seq"].as_u64().unwrap();
            assert_eq!(numbers, (self.seq + 1..=head).collect::<Vec<_>>(), "recovered in part: {joined}");
        } else {
            *self = Self::default();
        }
        for message in messages {
            self.said.insert(message["seq"].as_u64().unwrap(), Said::of(message));
        }
        for change in joined["changes"].as_array().unwrap() {
            self.rev += 1;
            assert_eq!(change["rev"], self.rev, "{joined}");
            // What came with `messages` is as it is now; a change that is in it already changes nothing.
            if let Some(said) = self.said.get_mut(&change["seq"].as_u64().unwrap())
                && !messages.iter().any(|message| message["seq"] == change["seq"])
            {
                said.change(change);
            }
        }
        assert!(!is_recovered || joined["rev"] == self.rev, "changes are missing: {joined}");
        self.epoch = joined["epoch"].clone();
        self.seq = joined["seq"].as_u64().unwrap();
        self.rev = joined["rev"].as_u64().unwrap();
        let clients = joined["members"].as_array().unwrap().iter();
        self.members = clients.map(|member| member["client"].as_str().unwrap().to_owned()).collect();
        assert_eq!(joined["count"], self.members.len());
        self.is_in = true;
    }

    fn see(&mut self, event: &Value, is_lean: bool) {
        assert!(self.is_in, "an event for who is not in the room: {event}");
        match event["type"].as_str().unwrap() {
            "message" => {
                assert_eq!(event["seq"], self.seq + 1, "{event}");
                assert_eq!(event["prev"], if is_lean { Value::Null } else { json!(self.seq) }, "{event}");
                assert_eq!(event["client"].is_null(), is_lean, "{event}");
                self.seq += 1;
                self.said.insert(self.seq, Said::of(event));
            }
            "presence" => {
                let names = |name: &str| {
                    let list = event[name].as_array().unwrap().iter();
                    list.map(|member| member["client"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
                };
                self.members.extend(names("joined"));
                for client in names("left") {
                    self.members.remove(&client);
                }
            }
            _ => {
                self.rev += 1;
                assert_eq!(event["rev"], self.rev, "{event}");
                if let Some(said) = self.said.get_mut(&event["seq"].as_u64().unwrap()) {
                    said.change(event);
                }
            }
        }
    }
}

/// A person over all connections.
#[derive(Debug)]
struct Person {
    client: Client,
    /// Wants no `client` and `prev` on its messages.
    is_lean: bool,
    views: BTreeMap<&'static str, View>,
}

/// Half of the people.
fn is_lean(who: usize) -> bool {
    who % 2 == 1
}

fn connect(world: &mut World, who: usize) -> Client {
    let user = format!("user {who}");
    if is_lean(who) { world.lean(&user, &["client", "prev"]) } else { world.person(&user) }
}

#[derive(Debug)]
struct Model {
    people: Vec<Person>,
    posted: u64,
    acked: Vec<(String, u64, String)>,
    texts: BTreeMap<String, String>,
    is_failed: bool,
    is_on_disk: bool,
}

impl Model {
    fn run(world: &mut World, steps: &[Step], is_on_disk: bool) {
        let people = (0..PEOPLE)
            .map(|i| {
                let is_lean = is_lean(i);
                Person { client: connect(world, i), is_lean, views: BTreeMap::new() }
            })
            .collect();
        let mut model = Self {
            people,
            posted: 0,
            acked: Vec::new(),
            texts: BTreeMap::new(),
            is_failed: false,
            is_on_disk,
        };
        for step in steps {
            model.step(world, step);
            model.read(world);
        }
        model.rest(world);
        model.compare(world);
    }

    fn send(&mut self, world: &mut World, who: usize, room: usize, mut command: Value) {
        command["room"] = json!(ROOMS[room]);
        world.send(self.people[who].client, &command);
    }

    fn step(&mut self, world: &mut World, step: &Step) {
        match *step {
            Step::Join(who, room) => {
                // What it knows must not change between the command and the answer.
                world.tick();
                self.read(world);
                let view = self.people[who].views.entry(ROOMS[room]).or_default();
                let mut command = json!({"type": "join", "id": ROOMS[room], "history": 5});
                if !view.epoch.is_null() {
                    command["since"] = json!({"epoch": view.epoch, "seq": view.seq, "rev": view.rev});
                }
                self.send(world, who, room, command);
                world.tick();
                if self.is_on_disk {
                    world.answer();
                }
            }
            Step::Leave(who, room) => {
                self.send(world, who, room, json!({"type": "leave", "id": ROOMS[room]}));
            }
            Step::Post(who, room) => {
                self.posted += 1;
                let text = format!("text {}", self.posted);
                let id = format!("{} {text}", ROOMS[room]);
                self.send(world, who, room, json!({"type": "post", "id": id, "text": text}));
            }
            Step::Keyed(who, room, key) => {
                let text = format!("keyed {who} {} {key}", ROOMS[room]);
                self.send(world, who, room, json!({"type": "post", "text": text, "key": key.to_string()}));
            }
            Step::Edit(who, room, seq) => {
                self.posted += 1;
                let text = format!("edit {}", self.posted);
                self.send(world, who, room, json!({"type": "edit", "seq": seq, "text": text}));
            }
            Step::Delete(who, room, seq) => {
                self.send(world, who, room, json!({"type": "delete", "seq": seq}));
            }
            Step::React(who, room, seq, remove) => {
                self.send(
                    world,
                    who,
                    room,
                    json!({"type": "react", "seq": seq, "emoji": "👍", "remove": remove}),
                );
            }
            Step::Cut(who) => {
                self.read(world);
                world.cut(self.people[who].client);
                world.tick();
                self.people[who].client = connect(world, who);
                self.people[who].views.values_mut().for_each(|view| view.is_in = false);
            }
            Step::Advance(ms) => world.advance(ms),
            Step::Commit if self.is_on_disk => world.commit(),
            Step::Fail(landed) if self.is_on_disk && !self.is_failed && world.has_batches() => {
                world.fail(landed);
                self.is_failed = true;
            }
            Step::Recover if self.is_failed => {
                world.recover();
                self.is_failed = false;
            }
            Step::Answer if self.is_on_disk => world.answer(),
            Step::Busy(is_busy) if self.is_on_disk => world.full(is_busy),
            _ => world.tick(),
        }
    }

    /// What everybody was told.
    fn read(&mut self, world: &mut World) {
        for person in &mut self.people {
            for told in world.take(person.client) {
                let room = told["room"].as_str().map(ToOwned::to_owned);
                let room = room.and_then(|room| ROOMS.into_iter().find(|other| *other == room));
                match (told["type"].as_str().unwrap(), room) {
                    ("joined", Some(room)) => person.views.entry(room).or_default().joined(&told),
                    ("left", Some(room)) => person.views.entry(room).or_default().is_in = false,
                    ("ack", Some(room)) => {
                        if let Some(text) = told["id"].as_str().and_then(|id| id.split_once(' ')) {
                            let seq = told["seq"].as_u64().unwrap();
                            self.acked.push((room.to_owned(), seq, text.1.to_owned()));
                        }
                    }
                    ("error", _) => {
                        let code = told["code"].as_str().unwrap();
                        let known = ["not_joined", "not_found", "forbidden", "unavailable", "too_many_rooms"];
                        assert!(known.contains(&code), "{told}");
                    }
                    (_, Some(room)) => person.views.entry(room).or_default().see(&told, person.is_lean),
                    _ => panic!("unexpected: {told}"),
                }
            }
        }
    }

    /// Everything that is under way comes to its end.
    fn rest(&mut self, world: &mut World) {
        if self.is_on_disk {
            world.full(false);
            if self.is_failed {
                world.recover();
            }
        }
        for _ in 0..3 {
            world.advance(200);
            world.answer();
            if self.is_on_disk {
                world.commit();
            }
            self.read(world);
        }
    }

    fn compare(&mut self, world: &mut World) {
        let mut here: BTreeMap<&str, usize> = BTreeMap::new();
        for person in &self.people {
            for (room, view) in person.views.iter().filter(|(_, view)| view.is_in) {
                *here.entry(room).or_default() += 1;
                let history =
                    world.ask(person.client, &json!({"type": "history", "room": room, "limit": 100}));
                let messages = history["messages"].as_array().unwrap();
                let newest = messages.last().map_or(0, |message| message["seq"].as_u64().unwrap());
                assert_eq!(view.seq, newest, "{room}: something was not told");
                for message in messages {
                    if let Some(said) = view.said.get(&message["seq"].as_u64().unwrap()) {
                        assert_eq!(*said, Said::of(message), "{room}: {message}");
                    }
                }
                let who = world.ask(person.client, &json!({"type": "who", "room": room}));
                let members = who["members"].as_array().unwrap().iter();
                let members: BTreeSet<String> =
                    members.map(|member| member["client"].as_str().unwrap().to_owned()).collect();
                assert_eq!(view.members, members, "presence of {room}");
            }
        }
        for person in &self.people {
            for (room, _) in person.views.iter().filter(|(_, view)| view.is_in) {
                let who = world.ask(person.client, &json!({"type": "who", "room": room}));
                assert_eq!(who["count"], here[room], "{room}");
            }
        }
        if self.is_on_disk {
            self.compare_with_disk(world);
        }
    }

    fn compare_with_disk(&mut self, world: &World) {
        for (room, seq, text) in &self.acked {
            let texts = world.disk.texts(room);
            let there = &texts[*seq as usize - 1];
            assert!(
                there == text || there.is_empty() || there.starts_with("edit"),
                "{text} was acked: {there}"
            );
        }
        for room in ROOMS {
            for text in world.disk.texts(room).into_iter().filter(|text| text.starts_with("keyed")) {
                let before = self.texts.insert(text.clone(), room.to_owned());
                assert_eq!(before, None, "{text} was posted twice");
            }
        }
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 192,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    }
}

/// Limits so small that everything that is forgotten is forgotten soon.
fn small() -> Options {
    let limits = options().limits.with(|it| {
        it.recent_messages = 4;
        it.opened_messages = 2;
        it.max_recovery = 6;
        it.max_rooms = 3;
    });
    options().with(|it| it.limits = limits)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_on_the_disk_is_what_everybody_knows(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::on_disk_with(Disk::new(), options());
        Model::run(&mut world, &steps, true);
    }

    #[test]
    fn with_hardly_any_memory_it_is_the_same(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::on_disk_with(Disk::new(), small());
        Model::run(&mut world, &steps, true);
    }

    #[test]
    fn in_memory_everybody_knows_the_same(steps in prop::collection::vec(step(), 1..120), is_small in any::<bool>()) {
        let options = if is_small { small() } else { options() };
        let mut world = World::with(options, None, Config::default());
        Model::run(&mut world, &steps, false);
    }
}
