//! The scenarios `chat` and `storm`: against the real server's `json`, and against a small server of `chat.v1.json`
//! that is correct or has one fault.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use serde_json::{Value, json};
use switchboard::chat::{Chat, Limits, Options};
use switchboard::history::Start;
use switchboard::proto::{Limits as ProtoLimits, MessageKind};

use crate::hub::{Club, Letters, hubs};
use crate::support::{Honest, Run, Scratch, accept, flood};

/// The real server, with its history in memory and no limit of rates.
pub(crate) fn chat() -> Chat {
    let options = Options::default().with(|it| it.limits = Limits::default().with_posts_per_second(0));
    Chat::new(options, None, Start { epoch: "one".into(), ..Start::default() })
}

#[test]
fn the_real_server_keeps_every_room_in_order() {
    let server = Honest::start(chat());
    let run = flood(
        "chat",
        server.address,
        "--connections 20 --messages 8 --pipeline 2 --rooms 4 --rejoin-rate 100",
    );
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 160, [0; 4]), "{run:?}");
    assert!(run.json["latency_of_delivery_ns"]["count"].as_u64() >= Some(160), "{run:?}");
}

#[test]
fn the_real_server_gives_after_a_storm_what_was_missed() {
    let server = Honest::start(chat());
    let run = flood("storm", server.address, STORM);
    assert_eq!((run.status, run.faults()), (0, [0; 4]), "{run:?}");
    assert!(!run.text.contains("no history to resume"), "{}", run.text);
}

#[test]
fn the_real_server_lists_every_post() {
    let server = Honest::start(chat());
    let json = |options: &str| flood("chat", server.address, &format!("--subprotocol json {options}"));
    let run = json("--connections 5 --messages 8 --pipeline 2");
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 40, [0; 4]), "{run:?}");
    assert_eq!(run.json["latency_of_delivery_ns"]["count"], 200, "{run:?}");
    let run = json("--connections 5 --rate 200 --warmup 0s --duration 500ms --rooms 2");
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 100, [0; 4]), "{run:?}");
    assert!(run.text.contains("one room that no user leaves"), "{}", run.text);
}

#[test]
fn a_server_without_a_chat_is_named() {
    let server = Honest::start(switchboard::apps::Echo);
    let options = "--connections 3 --warmup 0s --duration 200ms";
    let run = flood("chat", server.address, options);
    assert_eq!((run.status, run.failures("it is an echo server and not a chat")), (1, 3), "{run:?}");
    // A server that agrees to no subprotocol.
    let server = Honest::start(Deaf);
    let run = flood("chat", server.address, options);
    assert_eq!((run.status, run.failures("neither chat.v1.json nor json")), (1, 3), "{run:?}");
}

/// Accepts every connection, and sends nothing.
struct Deaf;

impl switchboard::app::Application for Deaf {
    type Mail = std::convert::Infallible;

    fn on_message<C: switchboard::app::Context>(
        &mut self,
        _: &mut C,
        _: switchboard::app::ConnId,
        _: switchboard::app::Message<'_>,
    ) {
    }
}

/// A fault of a server of `chat.v1.json`, at message `seq` of a room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lie {
    None,
    Skips(u64),
    Doubles(u64),
    Bends(u64),
    ForgetsAck(u64),
    DoublesAck(u64),
    Refuses(u64),
    HidesMissed,
    ForgetsHistory,
    /// Acknowledges every message and delivers none.
    DeliversNothing,
    /// Delivers nothing to one member of a room.
    ForgetsMember,
    /// Delivers the last message of a room only to its author.
    ForgetsLast(u64),
    /// Reports a number of the newest message that no room ever reaches.
    Boasts,
    /// Names the error with markup and control characters.
    Paints,
    /// The second of two servers hides a missed message when a user comes back to a room.
    SecondHidesMissed,
    /// The second of two servers asks those who come from the first one to join later, so many times in all.
    SecondPutsOff(u64),
    /// The second of two servers delivers again what a user had from the first.
    SecondRepeats,
}

/// The part of a chat server that the tests need.
pub(crate) struct House {
    lie: Lie,
    /// The server of each member.
    servers: BTreeMap<usize, usize>,
    rooms: BTreeMap<String, Vec<String>>,
    members: BTreeMap<usize, String>,
}

impl House {
    fn open(lie: Lie) -> SocketAddr {
        let [address] = Self::open_servers(lie);
        address
    }

    /// Several servers that are one chat.
    pub(crate) fn open_servers<const SERVERS: usize>(lie: Lie) -> [SocketAddr; SERVERS] {
        hubs(Self { lie, servers: BTreeMap::new(), rooms: BTreeMap::new(), members: BTreeMap::new() })
    }

    fn is_put_off(&mut self, member: usize, command: &Value) -> bool {
        match &mut self.lie {
            Lie::SecondPutsOff(times)
                if *times > 0 && self.servers.get(&member) == Some(&1) && command["since"].is_object() =>
            {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    fn join(&mut self, member: usize, room: &str, since: &Value) -> Value {
        self.members.insert(member, room.to_owned());
        let texts = self.rooms.entry(room.to_owned()).or_default();
        let seen = since["seq"].as_u64().unwrap_or(0);
        let mut missed: Vec<Value> = (seen + 1..=texts.len() as u64)
            .map(|seq| json!({"seq": seq, "user": "x", "text": texts[seq as usize - 1]}))
            .collect();
        let is_second = self.servers.get(&member) == Some(&1);
        if self.lie == Lie::HidesMissed || self.lie == Lie::SecondHidesMissed && is_second {
            missed.pop();
        }
        if self.lie == Lie::Boasts && since.is_object() {
            missed.push(json!({"seq": u64::MAX - 1, "user": "x", "text": "x"}));
        }
        let recovered = since.is_object() && self.lie != Lie::ForgetsHistory;
        json!({"type": "joined", "room": room, "epoch": "e1", "seq": texts.len(), "recovered": recovered,
            "messages": missed, "count": self.members.len()})
    }

    fn post(&mut self, member: usize, command: &Value) -> Letters {
        let (room, text) = (
            command["room"].as_str().expect("a well-formed command"),
            command["text"].as_str().expect("a well-formed command"),
        );
        let texts = self.rooms.get_mut(room).expect("a well-formed command");
        let seq = texts.len() as u64 + 1;
        if self.lie == Lie::Paints {
            let code = "\"REPORT\"<img src=x onerror=alert(1)>\u{1b}[2J\u{202e}";
            return vec![letter(
                member,
                &json!({"type": "error", "id": command["id"], "code": code, "message": "no"}),
            )];
        }
        if self.lie == Lie::Refuses(seq) {
            self.lie = Lie::None;
            let error =
                json!({"type": "error", "id": command["id"], "code": "rate_limited", "message": "no"});
            return vec![letter(member, &error)];
        }
        texts.push(text.to_owned());
        let mut text = text.to_owned();
        if self.lie == Lie::Bends(seq) {
            let last = if text.ends_with('x') { 'y' } else { 'x' };
            text.pop();
            text.push(last);
        }
        let message =
            json!({"type": "message", "room": room, "seq": seq, "prev": seq - 1, "user": "x", "text": text});
        let mut letters = Vec::new();
        for (&to, _) in self.members.iter().filter(|(_, place)| *place == room) {
            let is_victim = to != member;
            let copies = match self.lie {
                Lie::Skips(which) | Lie::ForgetsLast(which) if which == seq && is_victim => 0,
                Lie::DeliversNothing => 0,
                Lie::ForgetsMember if to == 0 => 0,
                Lie::Doubles(which) if which == seq && is_victim => 2,
                _ => 1,
            };
            letters.extend((0..copies).map(|_| letter(to, &message)));
        }
        let ack = json!({"type": "ack", "id": command["id"], "room": room, "seq": seq, "time": 1, "durable": "memory"});
        let acks = match self.lie {
            Lie::ForgetsAck(which) if which == seq => 0,
            Lie::DoublesAck(which) if which == seq => 2,
            _ => 1,
        };
        letters.extend((0..acks).map(|_| letter(member, &ack)));
        letters
    }
}

fn letter(to: usize, value: &Value) -> (usize, MessageKind, Vec<u8>) {
    (to, MessageKind::Text, value.to_string().into_bytes())
}

impl Club for House {
    fn subprotocol(&self) -> Option<&'static str> {
        Some("chat.v1.json")
    }

    fn joined(&mut self, member: usize, server: usize) {
        self.servers.insert(member, server);
    }

    fn said(&mut self, member: usize, message: &[u8]) -> Letters {
        let command: Value = serde_json::from_slice(message).expect("a well-formed command");
        match command["type"].as_str().expect("a well-formed command") {
            "hello" => {
                vec![letter(member, &json!({"type": "welcome", "client": member, "heartbeat_ms": 25000}))]
            }
            "join" if self.is_put_off(member, &command) => {
                let error = json!({"type": "error", "id": command["id"], "code": "unavailable", "message": "later",
                    "retry_after_ms": 5});
                vec![letter(member, &error)]
            }
            "join" => {
                let joined = self.join(
                    member,
                    command["room"].as_str().expect("a well-formed command"),
                    &command["since"],
                );
                let mut letters = vec![letter(member, &joined)];
                if let (Lie::SecondRepeats, Some(1), Some(seen)) = (
                    self.lie,
                    self.servers.get(&member),
                    command["since"]["seq"].as_u64().filter(|seen| *seen > 0),
                ) {
                    let room = command["room"].as_str().expect("a well-formed command");
                    let again = json!({"type": "message", "room": room, "seq": seen, "prev": seen - 1,
                        "user": "x", "text": self.rooms[room][seen as usize - 1]});
                    letters.push(letter(member, &again));
                }
                letters
            }
            "leave" => {
                self.members.remove(&member);
                vec![letter(member, &json!({"type": "left", "room": command["room"]}))]
            }
            "post" => self.post(member, &command),
            other => {
                vec![letter(member, &json!({"type": "error", "code": "unknown_type", "message": other}))]
            }
        }
    }

    fn left(&mut self, member: usize) {
        self.members.remove(&member);
    }
}

/// Two users in each of two rooms post six times each.
fn visit(lie: Lie) -> Run {
    flood("chat", House::open(lie), "--connections 4 --rooms 2 --messages 6 --pipeline 2 --duration 3s")
}

#[test]
fn an_honest_house_is_not_convicted() {
    let run = visit(Lie::None);
    assert_eq!((run.status, run.count("sent"), run.count("answered")), (0, 24, 24), "{run:?}");
    assert_eq!((run.faults(), &run.json["latency_of_delivery_ns"]["count"]), ([0; 4], &json!(48)), "{run:?}");
}

#[test]
fn each_lie_of_a_house_is_named() {
    // Both rooms have a message of that number.
    for (lie, faults) in [
        (Lie::Skips(3), [2, 0, 0, 0]),
        (Lie::Doubles(3), [0, 2, 0, 0]),
        (Lie::Bends(3), [0, 0, 0, 4]),
        (Lie::ForgetsAck(3), [2, 0, 0, 0]),
        (Lie::DoublesAck(3), [0, 2, 0, 0]),
    ] {
        let run = visit(lie);
        assert_eq!((run.status, run.faults()), (1, faults), "{lie:?} {run:?}");
    }
    // A delivery that is missing at the end shows by the acknowledged messages.
    for (lie, lost) in [(Lie::DeliversNothing, 48), (Lie::ForgetsMember, 12), (Lie::ForgetsLast(12), 2)] {
        let run = visit(lie);
        assert_eq!((run.status, run.faults()), (1, [lost, 0, 0, 0]), "{lie:?} {run:?}");
    }
    let run = visit(Lie::Refuses(3));
    assert_eq!((run.status, run.failures("rate_limited"), run.count("answered")), (1, 1, 23), "{run:?}");
}

#[test]
fn whoever_leaves_and_joins_again_misses_nothing() {
    let options = "--connections 6 --rooms 2 --rate 400 --rejoin-rate 60 --warmup 0s --duration 500ms";
    let run = flood("chat", House::open(Lie::None), options);
    assert_eq!((run.status, run.count("answered"), run.faults()), (0, 200, [0; 4]), "{run:?}");
    assert!(run.count("rejoined") > 20 && run.count("unrecovered") == 0, "{run:?}");
    let run = flood("chat", House::open(Lie::HidesMissed), options);
    assert!(run.status == 1 && run.count("lost") > 0, "{run:?}");
    let run = flood("chat", House::open(Lie::ForgetsHistory), options);
    assert!(run.count("unrecovered") > 0, "{run:?}");
}

#[test]
fn a_number_that_no_room_reaches_costs_no_memory() {
    let options = "--connections 4 --rooms 2 --rate 200 --rejoin-rate 40 --warmup 0s --duration 400ms";
    let run = flood("chat", House::open(Lie::Boasts), options);
    assert!(run.status == 1 && run.count("lost") > 1 << 60, "{run:?}");
    let memory = run.json["generator"]["max_rss_bytes"].as_u64().unwrap();
    assert!(memory < 200 << 20, "{memory} bytes");
}

#[test]
fn what_a_server_calls_its_faults_is_shown_and_not_obeyed() {
    let html = Scratch::new("html");
    let options = format!("--connections 1 --messages 1 --duration 2s --html {}", html.path());
    let run = flood("chat", House::open(Lie::Paints), &options);
    assert_eq!(run.status, 1, "{run:?}");
    assert!(!run.text.contains(['\u{1b}', '\u{202e}']) && run.text.contains("\\u{1b}[2J"), "{}", run.text);
    let page = html.read();
    assert!(!page.contains("<img") && page.contains("&lt;img"), "markup of a stranger");
    let json = page.split_once("application/json\">").unwrap().1.split_once("</script>").unwrap().0;
    assert_eq!(serde_json::from_str::<Value>(json).unwrap(), run.json);
}

#[test]
fn a_storm_on_the_real_chat_resumes_its_rooms() {
    let server = Honest::start(chat());
    let run = flood("storm", server.address, "--connections 10 --rounds 2 --pause 20ms --rooms 2");
    assert_eq!((run.status, run.count("completed"), run.count("answered")), (0, 2, 20), "{run:?}");
    assert!(!run.text.contains("does not speak"), "{}", run.text);
}

const STORM: &str = "--connections 20 --rounds 3 --pause 20ms --rooms 2 --subprotocol chat.v1.json";

#[test]
fn a_storm_checks_what_was_missed() {
    let run = flood("storm", House::open(Lie::None), STORM);
    assert_eq!((run.status, run.count("completed"), run.count("opened")), (0, 3, 80), "{run:?}");
    // Each user posts once in each round.
    assert_eq!((run.count("answered"), run.faults(), run.count("unrecovered")), (60, [0; 4], 0), "{run:?}");
    assert_eq!(run.json["storms_ns"].as_array().unwrap().len(), 3);

    let run = flood("storm", House::open(Lie::HidesMissed), STORM);
    assert!(run.status == 1 && run.count("lost") > 0, "{run:?}");
    let run = flood("storm", House::open(Lie::ForgetsHistory), &format!("{STORM} --assert unrecovered==0"));
    assert_eq!((run.status, run.count("unrecovered")), (3, 60), "{run:?}");
}

#[test]
fn a_server_that_never_answers_hello_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                let head = accept(&mut stream, &mut buffer, &ProtoLimits::default(), Some("chat.v1.json"));
                stream.write_all(&head).expect("a client that reads");
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
            });
        }
    });
    let tests = ["chat", "storm"].map(|scenario| {
        thread::spawn(move || {
            let run = flood(scenario, address, "--connections 2");
            assert_eq!((run.status, run.failures("hello or join within 10 s")), (1, 2), "{scenario} {run:?}");
        })
    });
    for test in tests {
        test.join().unwrap();
    }
}
