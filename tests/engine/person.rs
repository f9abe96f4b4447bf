//! A client of the chat.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::redis_server::SOON;
use crate::support::{Client, TEXT, text};

/// A client of the chat, and the events that came while something else was awaited.
pub(crate) struct Person {
    client: Client,
    pub(crate) events: Vec<Value>,
}

impl Person {
    pub(crate) fn hello(addr: SocketAddr, user: &str) -> Self {
        Self::with(addr, &json!({"type": "hello", "user": user}))
    }

    pub(crate) fn with(addr: SocketAddr, hello: &Value) -> Self {
        let (client, head) = Client::upgrade(addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
        assert_eq!(head.status, 101);
        let mut person = Self { client, events: Vec::new() };
        assert_eq!(person.ask(hello)["type"], "welcome");
        person
    }

    /// Reads what comes within the time.
    fn read(&mut self, limit: Duration) -> bool {
        let Ok(frame) = self.client.try_frame(limit) else { return false };
        if frame.opcode == TEXT {
            self.events.push(serde_json::from_slice(&frame.payload).unwrap());
        }
        true
    }

    /// A command without an answer.
    pub(crate) fn tell(&mut self, command: &Value) {
        self.client.send(&text(&command.to_string()));
    }

    /// The answer to a command.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &Value) -> Value {
        let mut command = command.clone();
        command["id"] = json!("the question");
        self.client.send(&text(&command.to_string()));
        self.await_where(&command.to_string(), |it| it["id"] == "the question")
    }

    /// The next event of this type.
    #[track_caller]
    pub(crate) fn event(&mut self, kind: &str) -> Value {
        self.await_where(kind, |it| it["type"] == kind)
    }

    #[track_caller]
    pub(crate) fn await_where(&mut self, what: &str, mut is_it: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(at) = self.events.iter().position(&mut is_it) {
                return self.events.remove(at);
            }
            assert!(Instant::now() < deadline, "not within {SOON:?}: {what}; {:?}", self.events);
            self.read(Duration::from_millis(100));
        }
    }

    /// Says something, again until it is taken. Returns its number.
    #[track_caller]
    pub(crate) fn say(&mut self, room: &str, words: &str) -> u64 {
        let deadline = Instant::now() + SOON;
        loop {
            let answer = self.ask(&json!({"type": "post", "room": room, "text": words, "key": words}));
            if let Some(seq) = answer["seq"].as_u64() {
                return seq;
            }
            assert_eq!(answer["code"], "unavailable");
            assert!(Instant::now() < deadline, "it is not taken: {words}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    pub(crate) fn join(&mut self, room: &str, since: Option<&Value>) -> Value {
        let mut join = json!({"type": "join", "room": room});
        if let Some(since) = since {
            join["since"] = since.clone();
        }
        let deadline = Instant::now() + SOON;
        loop {
            let answer = self.ask(&join);
            if answer["type"] == "joined" {
                return answer;
            }
            assert_eq!(answer["code"], "unavailable");
            assert!(Instant::now() < deadline, "nobody comes in");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The next `count` messages: numbers and texts.
    #[track_caller]
    pub(crate) fn messages(&mut self, count: usize) -> Vec<(u64, String)> {
        (0..count)
            .map(|_| {
                let message = self.event("message");
                (message["seq"].as_u64().unwrap(), message["text"].as_str().unwrap().to_owned())
            })
            .collect()
    }
}
