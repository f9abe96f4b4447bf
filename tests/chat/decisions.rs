//! Somebody else decides what may happen, and is told what has happened. The questions and the answers are a script: when an
//! answer comes is an input like any other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use switchboard::app::Rate;
use switchboard::chat::command::Command;
use switchboard::chat::decisions::{
    Allowed, Answer, AskKind, AskNumber, ChatEvents, EventOptions, Question, Speaker, WhenAway,
};
use switchboard::chat::identity::{Claims, Grant};
use switchboard::chat::{Happening, Mail, Options};
use switchboard::history::EventKind;

use crate::disk::Disk;
use crate::world::{Call, Client, World, options, texts};

/// What was asked and told.
#[derive(Debug, Default)]
struct Heard {
    questions: Vec<(AskNumber, Value)>,
    told: Vec<Value>,
    /// What is answered at once.
    at_once: Option<Answer>,
}

#[derive(Debug, Clone, Default)]
struct Script(Arc<Mutex<Heard>>);

impl Script {
    /// The questions since the last time.
    fn questions(&self) -> Vec<(AskNumber, Value)> {
        std::mem::take(&mut self.0.lock().unwrap().questions)
    }

    #[track_caller]
    fn question(&self) -> (AskNumber, Value) {
        let questions = self.questions();
        assert_eq!(questions.len(), 1, "one question was expected: {questions:?}");
        questions[0].clone()
    }

    fn told(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().unwrap().told)
    }
}

impl ChatEvents for Script {
    fn ask(&mut self, number: AskNumber, question: &Question<'_>) -> Option<Answer> {
        let mut heard = self.0.lock().unwrap();
        heard.questions.push((number, serde_json::to_value(question).unwrap()));
        heard.at_once.clone()
    }

    fn tell(&mut self, happening: &Happening<'_>) {
        self.0.lock().unwrap().told.push(serde_json::to_value(happening).unwrap());
    }
}

fn asks(kinds: &[AskKind]) -> EventOptions {
    EventOptions::default().with(|it| it.asks = kinds.iter().copied().collect())
}

fn world(asks: EventOptions, options: Options, disk: Option<Disk>) -> (World, Script) {
    let script = Script::default();
    (World::deciding(script.clone(), asks, options, disk), script)
}

fn answer(world: &mut World, number: AskNumber, answer: Answer) {
    world.receive(Mail::Decision(number, answer));
}

fn text(text: &str) -> Answer {
    Answer::Allow(Allowed::default().with(|it| it.text = Some(text.into())))
}

fn post(world: &mut World, client: Client, room: &str, text: &str) {
    world.send(client, &json!({"type": "post", "room": room, "text": text, "id": text}));
}

/// Somebody in rooms in which nobody is asked about joining.
fn member(world: &mut World, user: &str, rooms: &[&str]) -> Client {
    let client = world.person(user);
    for room in rooms {
        world.send(client, &json!({"type": "join", "room": room}));
        world.tick();
        world.answer();
    }
    world.advance(200);
    world.take(client);
    client
}

/// What a client got, without who came and went.
fn got(world: &mut World, client: Client) -> Vec<Value> {
    world.take(client).into_iter().filter(|notice| notice["type"] != "presence").collect()
}

#[test]
fn a_post_waits_for_its_decision_its_room_with_it_and_nobody_else() {
    let (mut world, script) = world(asks(&[AskKind::Post]), options(), None);
    let ada = member(&mut world, "Ada", &["r", "s"]);
    let bob = member(&mut world, "Bob", &["r"]);
    got(&mut world, ada);
    for line in ["one", "two"] {
        post(&mut world, ada, "r", line);
    }
    world.send(ada, &json!({"type": "who", "room": "R", "id": "who"}));
    post(&mut world, ada, "s", "three");
    post(&mut world, bob, "r", "four");
    world.send(ada, &json!({"type": "ping", "id": "ping"}));
    world.tick();
    let questions = script.questions();
    let said = |line: &str| {
        let (number, question) = questions.iter().find(|(_, question)| question["text"] == line).unwrap();
        assert_eq!(question["ask"], "post");
        (*number, question.clone())
    };
    assert_eq!(questions.len(), 3, "what waits is not asked yet: {questions:?}");
    let (one, question) = said("one");
    assert_eq!((&question["user"], &question["verified"]), (&json!("Ada"), &json!(false)));
    assert_eq!(got(&mut world, ada)[0]["type"], "pong", "nothing of it is told yet");

    answer(&mut world, said("four").0, Answer::allow());
    answer(&mut world, said("three").0, Answer::Refuse("not here".into()));
    let told = got(&mut world, ada);
    assert_eq!((&told[0]["text"], &told[0]["seq"]), (&json!("four"), &json!(1)));
    assert_eq!((&told[1]["code"], &told[1]["message"]), (&json!("refused"), &json!("not here")));
    assert_eq!(told.len(), 2, "{told:?}");

    answer(&mut world, one, text("ONE"));
    let (two, question) = script.question();
    assert_eq!(question["text"], "two");
    let told = got(&mut world, ada);
    let published = told.iter().find(|notice| notice["type"] == "message").unwrap();
    assert_eq!((&published["text"], &published["seq"]), (&json!("ONE"), &json!(2)));
    assert!(told.iter().all(|notice| notice["id"] != "who"), "it waits behind the second: {told:?}");
    answer(&mut world, two, Answer::allow());
    let told = got(&mut world, ada);
    let order: Vec<&Value> = told.iter().map(|notice| &notice["id"]).filter(|id| !id.is_null()).collect();
    assert_eq!(order, ["two", "who"]);
    assert_eq!(texts(&world.take_type(bob, "message")), ["four", "ONE", "two"]);
    assert!(script.questions().is_empty());
}

#[test]
fn edits_and_direct_messages_are_asked_about_and_the_server_is_not() {
    let (mut world, script) = world(asks(&[AskKind::Post]), options(), None);
    let ada = world.verified("Ada");
    let bob = world.verified("Bob");
    world.join(ada, "r");
    world.call(Call::Command(
        1,
        Some("Ann".to_owned()),
        Command::Post {
            room: "r".into(),
            text: "of the server".into(),
            key: None,
            data: None,
            reply_to: None,
        },
    ));
    assert!(script.questions().is_empty());
    post(&mut world, ada, "r", "first");
    world.tick();
    let (number, question) = script.question();
    assert_eq!(question["subject"], "Ada");
    answer(&mut world, number, Answer::allow());
    world.take(ada);
    world.send(ada, &json!({"type": "edit", "room": "r", "seq": 2, "text": "worse", "id": 1}));
    world.send(ada, &json!({"type": "direct", "to": "Bob", "text": "psst", "id": 2}));
    world.send(ada, &json!({"type": "react", "room": "r", "seq": 2, "emoji": "👍", "id": 3}));
    world.tick();
    let questions = script.questions();
    assert_eq!((&questions[0].1["edits"], &questions[0].1["text"]), (&json!(2), &json!("worse")));
    assert_eq!((&questions[1].1["to"], &questions[1].1["text"]), (&json!("Bob"), &json!("psst")));
    assert_eq!(questions.len(), 2);
    answer(&mut world, questions[1].0, text("pssst"));
    assert_eq!(texts(&world.take_type(bob, "direct")), ["pssst"]);
    answer(&mut world, questions[0].0, text("better"));
    let told = got(&mut world, ada);
    let edited = told.iter().find(|notice| notice["type"] == "edited").unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!(edited["text"], "better");
    let answered: Vec<u64> = told.iter().filter_map(|notice| notice["id"].as_u64()).collect();
    assert_eq!(answered, [2, 1, 3], "what waited behind the edit comes after it");
}

#[test]
fn who_does_not_answer_in_time_is_away_and_a_late_answer_is_none() {
    for (when_away, expected) in [(WhenAway::Refuse, "unavailable"), (WhenAway::Allow, "ack")] {
        let asks = asks(&[AskKind::Post]).with(|it| (it.deadline_ms, it.when_away) = (250, when_away));
        let (mut world, script) = world(asks, options(), None);
        let ada = member(&mut world, "Ada", &["r"]);
        post(&mut world, ada, "r", "one");
        world.tick();
        let (number, _) = script.question();
        world.advance(249);
        assert!(got(&mut world, ada).is_empty());
        post(&mut world, ada, "r", "two");
        world.advance(1);
        world.tick();
        let first = got(&mut world, ada);
        assert!(first.iter().any(|it| it["type"] == expected || it["code"] == expected), "{first:?}");
        answer(&mut world, number, text("too late"));
        assert!(got(&mut world, ada).iter().all(|it| it["text"] != "too late"));
        let (number, question) = script.question();
        assert_eq!(question["text"], "two");
        world.advance(200);
        answer(&mut world, number, Answer::allow());
        assert!(got(&mut world, ada).iter().any(|it| it["text"] == "two"));
        world.advance(500);
        let counts = world.chat().stats().hooks.0;
        assert_eq!((counts.asked, counts.allowed, counts.away, counts.waiting), ([0, 0, 2], 1, 1, 0));
    }
}

#[test]
fn an_answer_that_nobody_could_post_or_be_counts_as_none() {
    let (mut world, script) = world(asks(&[AskKind::Post, AskKind::Connect]), options(), None);
    script.0.lock().unwrap().at_once = Some(Answer::allow());
    let ada = member(&mut world, "Ada", &["r"]);
    let long = "x".repeat(world.chat().limits().max_text + 1);
    for bad in ["", " \n", &long] {
        script.0.lock().unwrap().at_once = Some(text(bad));
        post(&mut world, ada, "r", "one");
        world.tick();
        assert_eq!(got(&mut world, ada)[0]["code"], "unavailable", "{bad:?}");
    }
    let named = |user: &str, subject: &str| {
        let claims = Claims {
            subject: subject.to_owned(),
            user: user.to_owned(),
            expires_unix_s: 9_999_999_999,
            rooms: Vec::new(),
        };
        Speaker::Verified(Box::new(claims))
    };
    for speaker in
        [named("@x", "u"), named("Ada", " "), Speaker::Guest("".into()), Speaker::Guest("a\nb".into())]
    {
        script.0.lock().unwrap().at_once =
            Some(Answer::Allow(Allowed::default().with(|it| it.speaker = Some(speaker.clone()))));
        let client = world.connect();
        let refused = world.ask(client, &json!({"type": "hello", "user": "Eve"}));
        assert_eq!(refused["code"], "unavailable", "{speaker:?}");
    }
}

#[test]
fn whoever_decides_says_who_somebody_is_what_they_may_do_and_how_often() {
    let (mut world, script) = world(asks(&[AskKind::Connect]), Options::default(), None);
    let client = world.connect();
    world.send(client, &json!({"type": "hello", "user": "eve", "id": 1}));
    for (id, room) in [(2, "tea"), (3, "secret")] {
        world.send(client, &json!({"type": "join", "room": room, "id": id}));
    }
    world.tick();
    let (number, question) = script.question();
    assert_eq!((&question["ask"], &question["user"]), (&json!("connect"), &json!("eve")));
    assert_eq!((&question["address"], &question["verified"]), (&json!("127.0.0.1"), &json!(false)));
    assert!(got(&mut world, client).is_empty(), "everything waits");
    let grant = Grant { pattern: "t*".to_owned(), join: true, post: true, moderate: false };
    let claims = Claims {
        subject: "u17".to_owned(),
        user: "Ada".to_owned(),
        expires_unix_s: 9_999_999_999,
        rooms: vec![grant],
    };
    let allowed = Allowed::default().with(|it| {
        it.speaker = Some(Speaker::Verified(Box::new(claims)));
        it.posts = Some(Rate { per_second: 1, burst: 2 });
    });
    answer(&mut world, number, Answer::Allow(allowed));
    let told = got(&mut world, client);
    assert_eq!((&told[0]["type"], &told[0]["user"]), (&json!("welcome"), &json!("Ada")));
    assert_eq!((&told[0]["verified"], &told[0]["id"]), (&json!(true), &json!(1)));
    assert_eq!((&told[1]["type"], &told[1]["id"]), (&json!("joined"), &json!(2)));
    assert_eq!((&told[2]["code"], &told[2]["id"]), (&json!("forbidden"), &json!(3)));
    for line in ["one", "two", "three"] {
        post(&mut world, client, "tea", line);
    }
    world.tick();
    let told = got(&mut world, client);
    assert_eq!(told.last().unwrap()["code"], "rate_limited", "{told:?}");

    // Somebody with a token who begins with a command, and a guest by another name.
    let client = world.open("/ws?token=good-Bob", "chat.v1.json", "127.0.0.1:5000");
    world.tick();
    world.send(client, &json!({"type": "join", "room": "tea", "id": 1}));
    world.tick();
    let (number, question) = script.question();
    assert_eq!((&question["user"], &question["subject"]), (&json!("Bob"), &json!("Bob")));
    answer(&mut world, number, Answer::allow());
    assert_eq!(got(&mut world, client)[0]["type"], "joined");
    let client = world.connect();
    world.send(client, &json!({"type": "hello", "user": "x"}));
    world.tick();
    let guest = Allowed::default().with(|it| it.speaker = Some(Speaker::Guest("Guest 7".into())));
    answer(&mut world, script.question().0, Answer::Allow(guest));
    assert_eq!(got(&mut world, client)[0]["user"], "Guest 7");
}

#[test]
fn who_may_not_come_in_is_told_and_so_is_all_that_waited() {
    let (mut world, script) = world(asks(&[AskKind::Connect]), options(), None);
    let client = world.connect();
    for (id, command) in [(1, "join"), (2, "who")] {
        world.send(client, &json!({"type": command, "room": "r", "id": id}));
    }
    world.tick();
    answer(&mut world, script.question().0, Answer::Refuse("members only".into()));
    let told = got(&mut world, client);
    let told: Vec<(&Value, &Value)> = told.iter().map(|it| (&it["id"], &it["message"])).collect();
    assert_eq!(told, [(&json!(1), &json!("members only")), (&json!(2), &json!("members only"))]);
    // They may try again.
    world.send(client, &json!({"type": "hello", "user": "Ada", "id": 3}));
    world.tick();
    answer(&mut world, script.question().0, Answer::allow());
    assert_eq!(got(&mut world, client)[0]["type"], "welcome");
    // The tutorial's clients cannot be asked about.
    let tutorial = world.open("/ws", "json", "127.0.0.1:5000");
    world.tick();
    assert_eq!(world.status(tutorial), Some(403));
}

#[test]
fn a_join_is_decided_and_what_is_about_the_room_waits_for_it() {
    for disk in [None, Some(Disk::new())] {
        let (mut world, script) = world(asks(&[AskKind::Join]), options(), disk);
        let ada = world.person("Ada");
        for (id, room) in [(1, "a"), (2, "b")] {
            world.send(ada, &json!({"type": "join", "room": room, "id": id}));
        }
        world.send(ada, &json!({"type": "post", "room": "a", "text": "hello", "id": 3}));
        world.send(ada, &json!({"type": "post", "room": "b", "text": "hello", "id": 4}));
        world.tick();
        world.answer();
        let questions = script.questions();
        assert_eq!(questions.len(), 2, "{questions:?}");
        assert_eq!((&questions[0].1["ask"], &questions[0].1["room"]), (&json!("join"), &json!("a")));
        answer(&mut world, questions[1].0, Answer::Refuse("no".into()));
        answer(&mut world, questions[0].0, Answer::allow());
        world.answer();
        if world.is_on_disk() {
            world.commit();
        }
        let told = got(&mut world, ada);
        let answers: BTreeMap<u64, &Value> = told
            .iter()
            .filter_map(|it| {
                Some((it["id"].as_u64()?, if it["code"].is_null() { &it["type"] } else { &it["code"] }))
            })
            .collect();
        let expected = ["joined", "refused", "ack", "not_joined"].map(Value::from);
        assert_eq!(answers.into_values().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_may_wait_is_bounded() {
    let few = options().with(|it| {
        it.limits.max_hook_asks = 2;
        it.limits.max_waiting = 3;
    });
    let (mut world, script) = world(asks(&[AskKind::Post]), few, None);
    let ada = member(&mut world, "Ada", &["r"]);
    let bob = member(&mut world, "Bob", &["r", "s", "t"]);
    for line in 0..5 {
        post(&mut world, ada, "r", &line.to_string());
    }
    world.tick();
    let told = got(&mut world, ada);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|it| it["code"] == "rate_limited"), "{told:?}");
    for room in ["s", "t"] {
        post(&mut world, bob, room, room);
    }
    world.tick();
    let told = got(&mut world, bob);
    assert_eq!((&told[0]["code"], &told[0]["id"]), (&json!("unavailable"), &json!("t")));
    assert_eq!(script.questions().len(), 2);
    assert_eq!(world.chat().stats().hooks.0.busy, 1);
}

#[test]
fn who_goes_takes_their_questions_along() {
    for disk in [None, Some(Disk::new())] {
        let (mut world, script) =
            world(asks(&[AskKind::Connect, AskKind::Join, AskKind::Post]), options(), disk);
        script.0.lock().unwrap().at_once = Some(Answer::allow());
        let ada = member(&mut world, "Ada", &["r"]);
        let bob = member(&mut world, "Bob", &["r"]);
        script.0.lock().unwrap().at_once = None;
        script.questions();
        let eve = world.connect();
        world.send(eve, &json!({"type": "hello", "user": "Eve"}));
        world.send(eve, &json!({"type": "join", "room": "x"}));
        post(&mut world, ada, "r", "one");
        post(&mut world, ada, "r", "two");
        world.send(ada, &json!({"type": "join", "room": "y"}));
        world.tick();
        world.answer();
        let questions = script.questions();
        assert_eq!(questions.len(), 3, "{questions:?}");
        got(&mut world, bob);
        world.cut(ada);
        world.cut(eve);
        world.tick();
        for (number, _) in questions {
            answer(&mut world, number, Answer::allow());
        }
        world.advance(2000);
        assert!(got(&mut world, bob).iter().all(|it| it["type"] != "message"));
        assert_eq!(world.chat().stats().hooks.0.waiting, 0);
    }
}

fn all_kinds() -> EventOptions {
    EventOptions::default().with(|it| it.tells = EventKind::ALL.into_iter().collect())
}

/// Some of everything.
fn a_day(world: &mut World) {
    let ada = world.verified("Ada");
    world.send(ada, &json!({"type": "join", "room": "r"}));
    for command in [
        json!({"type": "post", "room": "r", "text": "one"}),
        json!({"type": "edit", "room": "r", "seq": 1, "text": "two"}),
        json!({"type": "react", "room": "r", "seq": 1, "emoji": "👍"}),
        json!({"type": "delete", "room": "r", "seq": 1}),
        json!({"type": "leave", "room": "r"}),
    ] {
        world.tick();
        world.answer();
        if world.is_on_disk() {
            world.commit();
        }
        world.send(ada, &command);
    }
    world.tick();
    world.call(Call::Command(
        1,
        None,
        Command::Ban { user: "Eve".into(), seconds: None, reason: Some("x".into()) },
    ));
    if world.is_on_disk() {
        world.commit();
    }
    world.call(Call::Command(2, None, Command::Unban { user: "Eve".into() }));
    if world.is_on_disk() {
        world.commit();
    }
    world.cut(ada);
    world.tick();
    if world.is_on_disk() {
        world.commit();
    }
}

const DAY: [&str; 11] = [
    "started",
    "connected",
    "joined",
    "posted",
    "edited",
    "reacted",
    "deleted",
    "left",
    "banned",
    "unbanned",
    "disconnected",
];

fn names(told: &[Value]) -> Vec<&str> {
    told.iter().map(|it| it["event"].as_str().unwrap()).collect()
}

#[test]
fn what_happens_is_told_in_order_in_memory_and_with_a_store() {
    for disk in [None, Some(Disk::new())] {
        let (mut world, script) = world(all_kinds(), options(), disk);
        a_day(&mut world);
        let told = script.told();
        assert_eq!(names(&told), DAY, "{told:?}");
        assert_eq!(
            (&told[3]["room"], &told[3]["seq"], &told[3]["text"]),
            (&json!("r"), &json!(1), &json!("one"))
        );
        assert_eq!((&told[4]["rev"], &told[6]["rev"]), (&json!(1), &json!(3)));
        assert_eq!((&told[8]["user"], &told[8]["reason"]), (&json!("eve"), &json!("x")));
    }
}

#[test]
fn where_the_history_has_an_outbox_it_gets_what_changes_no_room() {
    let through = all_kinds().with(|it| it.is_through_history = true);
    let (mut world, script) = world(through, options(), Some(Disk::new()));
    a_day(&mut world);
    assert!(script.told().is_empty(), "the outbox tells");
    let notes: Vec<Value> = world.disk.notes.iter().map(|note| serde_json::from_str(note).unwrap()).collect();
    assert_eq!(
        names(&notes),
        ["started", "connected", "joined", "left", "banned", "unbanned", "disconnected"]
    );
}

#[test]
fn only_what_is_wanted_is_told() {
    let few = EventOptions::default().with(|it| it.tells = [EventKind::Posted].into_iter().collect());
    let (mut world, script) = world(few, options(), None);
    a_day(&mut world);
    assert_eq!(names(&script.told()), ["posted"]);
}

/// Clients that say something at random, and what they have got.
struct Crowd {
    world: World,
    clients: Vec<Client>,
    random: Random,
    last: u64,
    /// The numbers of commands, and of their answers, by client and room.
    sent: BTreeMap<(usize, usize), Vec<u64>>,
    got: BTreeMap<(usize, usize), Vec<u64>>,
    messages: Vec<String>,
}

impl Crowd {
    fn say(&mut self) {
        let (client, room) = (self.random.below(3), self.random.below(2));
        self.last += 1;
        let (id, name) = (self.last, ["a", "b"][room]);
        let command = match self.random.below(4) {
            0 => json!({"type": "join", "room": name, "id": id}),
            1 => json!({"type": "who", "room": name, "id": id}),
            _ => json!({"type": "post", "room": name, "text": format!("m{id}"), "id": id}),
        };
        self.sent.entry((client, room)).or_default().push(id);
        self.world.send(self.clients[client], &command);
    }

    /// The store does what it was asked, or not yet.
    fn store(&mut self, commits: bool) {
        self.world.answer();
        if self.world.is_on_disk() && commits {
            self.world.commit();
        }
    }

    fn hear(&mut self) {
        for (at, client) in self.clients.iter().enumerate() {
            for notice in self.world.take(*client) {
                if let Some(id) = notice["id"].as_u64() {
                    let of = self.sent.iter().find(|(_, ids)| ids.contains(&id)).unwrap().0;
                    assert_eq!(of.0, at, "an answer is for whoever asked");
                    self.got.entry(*of).or_default().push(id);
                } else if notice["type"] == "message" {
                    self.messages.push(notice["text"].as_str().unwrap().to_owned());
                }
            }
        }
    }
}

/// Random clients, random answers at random times: each command has its answer once, in the order of its room, and what is
/// refused is seen by nobody.
#[test]
fn random_decisions_lose_nothing_and_keep_the_order_of_each_room() {
    for seed in 0..24 {
        let disk = (seed % 2 == 1).then(Disk::new);
        let asks = asks(&[AskKind::Join, AskKind::Post]).with(|it| it.deadline_ms = 400);
        let (mut world, script) = world(asks, options(), disk);
        let clients = (0..3).map(|at| world.person(&format!("user {at}"))).collect();
        let (random, messages) = (Random(seed + 1), Vec::new());
        let (sent, got) = (BTreeMap::new(), BTreeMap::new());
        let mut crowd = Crowd { world, clients, random, last: 0, sent, got, messages };
        let mut waiting: Vec<(AskNumber, Value)> = Vec::new();
        let mut refused = Vec::new();
        for step in 0..300 {
            let is_ending = step >= 240;
            match crowd.random.below(10) {
                0..4 if !is_ending => crowd.say(),
                4..8 if !waiting.is_empty() => {
                    let (number, question) = waiting.remove(crowd.random.below(waiting.len()));
                    let decided = match crowd.random.below(4) {
                        0 => Answer::Refuse("no".into()),
                        1 => Answer::Away("lies".into()),
                        _ => Answer::allow(),
                    };
                    if !matches!(decided, Answer::Allow(_)) {
                        refused.extend(question["text"].as_str().map(str::to_owned));
                    }
                    crowd.world.receive(Mail::Decision(number, decided));
                }
                8 => {
                    let ms = crowd.random.below(120) as u64;
                    crowd.world.advance(ms);
                }
                _ => crowd.world.tick(),
            }
            let commits = crowd.random.below(2) == 0;
            crowd.store(commits);
            if is_ending {
                crowd.world.advance(100);
                crowd.store(true);
            }
            waiting.extend(script.questions());
            crowd.hear();
        }
        let Crowd { world, sent, mut got, messages, .. } = crowd;
        if world.is_on_disk() {
            // What must be durable is acknowledged later than what is only read.
            for ids in got.values_mut() {
                ids.sort_unstable();
            }
        }
        assert_eq!(got, sent, "seed {seed}: each answer once, in order");
        assert!(messages.len() > 3, "seed {seed}: {messages:?}");
        // Some of them were overdue before the answer came: then they were refused as well.
        assert!(messages.iter().all(|text| !refused.contains(text)), "seed {seed}");
        let counts = world.chat().stats().hooks.0;
        assert_eq!(counts.waiting, 0, "seed {seed}");
        assert!(counts.allowed > 5 && counts.refused > 2 && counts.away > 2, "seed {seed}: {counts:?}");
    }
}

/// A generator of numbers (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}
