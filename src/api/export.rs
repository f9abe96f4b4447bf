//! The messages of rooms as lines of JSON, as `switchboard import` takes them.
//!
//! An answer of the loop is queued whole. An export of unknown length would be a queue without a bound, or a response that
//! holds up the loop, so it comes in pages, each of which says where the next one begins (`Link`, RFC 8288).

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::problem::Problem;
use crate::app::{Body, Response};
use crate::chat::Answered;
use crate::chat::command::Command;

/// Messages of one page of an export.
const MAX_EXPORTED: usize = 1000;
/// Octets of a page after which nothing more is asked for.
const EXPORTED_OCTETS: usize = 512 * 1024;
/// Questions to the chat for one page: pages of messages, and the rooms that follow.
const MAX_EXPORT_STEPS: usize = 64;

/// Where an export is.
#[derive(Debug)]
pub(super) struct Export {
    /// It goes on with the rooms behind this one.
    is_all: bool,
    room: String,
    /// The last message of the room that was written.
    after: u64,
    /// Messages of the page.
    limit: usize,
    written: usize,
    lines: Vec<u8>,
    steps: usize,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// The room behind this one is wanted.
    Room(String),
    /// These messages are wanted.
    Messages(Command<'static>),
    /// The page is whole.
    Done(Response),
}

impl Export {
    /// A room from a message on, and with `is_all` those behind it.
    pub(super) fn new(is_all: bool, room: &str, after: u64, limit: Option<u64>) -> Self {
        let limit = limit.map_or(MAX_EXPORTED, |limit| limit.clamp(1, MAX_EXPORTED as u64) as usize);
        Self { is_all, room: room.to_owned(), after, limit, written: 0, lines: Vec::new(), steps: 0 }
    }

    /// The messages that are wanted next.
    pub(super) fn messages(&self) -> Command<'static> {
        let limit = Some((self.limit - self.written) as u64);
        Command::History { room: self.room.clone().into(), before: None, after: Some(self.after), limit }
    }

    /// The chat has answered.
    pub(super) fn go_on(&mut self, answered: &Answered) -> Next {
        self.steps += 1;
        if let Some(code) = answered.refused {
            // What is written is of use; who asks for the rest is told what is amiss.
            return Next::Done(if self.lines.is_empty() {
                Problem::of_answer(code, &answered.body).response()
            } else {
                self.page(Some(self.place()))
            });
        }
        let answer: Value = serde_json::from_str(&answered.body).unwrap_or_default();
        if let Some(rooms) = answer["rooms"].as_array() {
            let Some(room) = rooms.first().and_then(|room| room["room"].as_str()) else {
                return Next::Done(self.page(None));
            };
            (self.room, self.after) = (room.to_owned(), 0);
            return self.bounded(Next::Messages(self.messages()), &self.place());
        }
        for message in answer["messages"].as_array().into_iter().flatten() {
            self.write(message);
        }
        match (answer["more"] == true, self.is_all) {
            (true, _) => self.bounded(Next::Messages(self.messages()), &self.place()),
            (false, true) => {
                let behind = format!("behind={}", escaped(&self.room));
                self.bounded(Next::Room(self.room.clone()), &behind)
            }
            (false, false) => Next::Done(self.page(None)),
        }
    }

    /// Goes on, unless the page is full.
    fn bounded(&self, next: Next, place: &str) -> Next {
        let is_full = self.written >= self.limit
            || self.lines.len() >= EXPORTED_OCTETS
            || self.steps >= MAX_EXPORT_STEPS;
        if is_full { Next::Done(self.page(Some(place.to_owned()))) } else { next }
    }

    /// The query with which the export goes on in this room.
    fn place(&self) -> String {
        let room = if self.is_all { format!("room={}&", escaped(&self.room)) } else { String::new() };
        format!("{room}after={}", self.after)
    }

    fn page(&self, next: Option<String>) -> Response {
        let response = Response { status: 200, fields: Vec::new(), body: Body::Owned(self.lines.clone()) }
            .field("Content-Type", "application/x-ndjson")
            .field("Cache-Control", "no-store");
        match next {
            Some(place) => response.field("Link", format!("<?{place}&limit={}>; rel=\"next\"", self.limit)),
            None => response,
        }
    }

    fn write(&mut self, message: &Value) {
        let Some(shown) = message.as_object() else { return };
        self.after = message["seq"].as_u64().unwrap_or(self.after).max(self.after);
        self.written += 1;
        let line = line(&self.room, shown);
        self.lines.extend_from_slice(line.to_string().as_bytes());
        self.lines.push(b'\n');
    }
}

/// A message as it stands in an archive, out of what clients are told.
fn line(room: &str, shown: &Map<String, Value>) -> Value {
    let mut line = Map::new();
    line.insert("room".to_owned(), json!(room));
    for (name, value) in shown {
        match name.as_str() {
            "reactions" => {
                let labels = labels(value, shown.get("reactions_verified").unwrap_or(&Value::Null));
                line.insert(name.clone(), labels);
            }
            "reactions_verified" | "lookalike" => {}
            _ => drop(line.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(line)
}

/// Who reacted: `@` precedes the name of a verified user.
fn labels(all: &Value, verified: &Value) -> Value {
    let label = |(emoji, users): (&String, &Value)| {
        let mut verified: Vec<&Value> = verified[emoji].as_array().into_iter().flatten().collect();
        let labels = users.as_array().into_iter().flatten().map(|user| {
            let name = user.as_str().unwrap_or_default();
            match verified.iter().position(|other| *other == user) {
                Some(at) => {
                    verified.swap_remove(at);
                    format!("@{name}")
                }
                None => name.to_owned(),
            }
        });
        (emoji.clone(), json!(labels.collect::<Vec<_>>()))
    };
    Value::Object(all.as_object().into_iter().flatten().map(label).collect())
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &Value) -> Answered {
        Answered { request: 1, refused: None, body: body.to_string() }
    }

    fn history(from: u64, to: u64, more: bool) -> Answered {
        let messages: Vec<Value> = (from..=to).map(|seq| json!({ "seq": seq, "text": "x" })).collect();
        answer(&json!({ "type": "history", "messages": messages, "more": more }))
    }

    fn link(next: &Next) -> Option<&str> {
        let Next::Done(page) = next else { panic!("{next:?} is no page") };
        page.fields.iter().find(|(name, _)| *name == "Link").map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_page_ends_where_it_is_full_and_says_where_the_next_begins() {
        let mut one = Export::new(false, "a b", 0, Some(3));
        let next = one.go_on(&history(1, 2, true));
        assert!(
            matches!(&next, Next::Messages(Command::History { after: Some(2), limit: Some(1), .. })),
            "{next:?}"
        );
        assert_eq!(link(&one.go_on(&history(3, 3, true))), Some("<?after=3&limit=3>; rel=\"next\""));
        let mut last = Export::new(false, "a", 3, None);
        assert_eq!(link(&last.go_on(&history(4, 4, false))), None);
        let mut all = Export::new(true, "a", 0, Some(2));
        assert!(matches!(all.go_on(&history(1, 1, false)), Next::Room(room) if room == "a"));
        assert!(matches!(all.go_on(&answer(&json!({ "rooms": [{ "room": "b c" }] }))), Next::Messages(_)));
        assert_eq!(
            link(&all.go_on(&history(1, 1, true))),
            Some("<?room=b%20c&after=1&limit=2>; rel=\"next\"")
        );
        let mut end = Export::new(true, "b c", 1, Some(1));
        assert_eq!(link(&end.go_on(&history(2, 2, false))), Some("<?behind=b%20c&limit=1>; rel=\"next\""));
        assert_eq!(link(&Export::new(true, "z", 0, None).go_on(&answer(&json!({ "rooms": [] })))), None);
    }

    #[test]
    fn many_empty_rooms_make_no_endless_request() {
        let mut all = Export::new(true, "", 0, None);
        for step in 1.. {
            let rooms = answer(&json!({ "rooms": [{ "room": format!("room-{step}") }] }));
            if let next @ Next::Done(_) = all.go_on(&rooms) {
                assert!(step <= MAX_EXPORT_STEPS && link(&next).is_some());
                break;
            }
            if let next @ Next::Done(_) = all.go_on(&history(1, 0, false)) {
                assert!(step <= MAX_EXPORT_STEPS && link(&next).is_some());
                break;
            }
        }
    }

    #[test]
    fn a_line_has_the_labels_of_the_archive() {
        let shown = json!({
            "seq": 1, "user": "Ada", "lookalike": true,
            "reactions": { "👍": ["Ada", "Ada", "Bob"] }, "reactions_verified": { "👍": ["Ada"] },
        });
        let line = line("lobby", shown.as_object().unwrap());
        assert_eq!(
            line,
            json!({ "room": "lobby", "seq": 1, "user": "Ada", "reactions": { "👍": ["@Ada", "Ada", "Bob"] } })
        );
    }
}
