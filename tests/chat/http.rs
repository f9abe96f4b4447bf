//! The chat with its HTTP API, asked by hand.

use std::net::SocketAddr;

use serde_json::Value;
use switchboard::api::{Access, Api};
use switchboard::app::{Entrance, Now};
use switchboard::chat::{Chat, Options};
use switchboard::history::Start;
use switchboard::reactor::{Config, Reactor, Readiness};

use crate::world::{Stamp, Wire};

/// The token of the API.
pub(crate) const TOKEN: &str = "the-secret-of-the-api";

/// A chat in memory with its API.
pub(crate) struct Served {
    reactor: Reactor<Api, Wire>,
    now: Now,
}

impl Served {
    pub(crate) fn new(options: Options) -> Self {
        let start = Start { epoch: "memory".to_owned(), ..Start::default() };
        let chat = Chat::new(options, None, start).with_verifier(Box::new(Stamp));
        let now = Now { monotonic_ms: 1000, unix_ms: 1_700_000_000_000 };
        let api = Api::new(chat, Some(Access::of_secret(TOKEN.as_bytes())));
        Self { reactor: Reactor::new(Config::default(), api, 1, now), now }
    }

    /// One request on a connection of its own; `fields` are lines of its header section.
    pub(crate) fn ask(&mut self, request: &str, fields: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let wire = Wire::new();
        let peer: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let conn = self.reactor.accepted(wire.clone(), peer, Entrance::default());
        wire.send(head.as_bytes());
        wire.send(body.as_bytes());
        self.reactor.begin(self.now);
        self.reactor.ready(conn, Readiness { readable: true, writable: true, read_closed: false });
        self.reactor.serve_requests();
        self.reactor.end_tick();
        let answer = String::from_utf8(wire.take()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head[9..12].parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// The same with the token of the API.
    pub(crate) fn call(&mut self, request: &str, body: &Value) -> (u16, Value) {
        self.ask(request, &format!("Authorization: Bearer {TOKEN}\r\n"), body)
    }
}
