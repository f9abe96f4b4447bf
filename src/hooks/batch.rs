//! The body of a request that tells: a JSON array of events, each with its number.

use std::io::Write as _;

use crate::chat::Happening;
use crate::history::Action;
use crate::history::outbox::{Page, Waiting, What};

/// The body; where events were dropped, the backend is told how many.
pub(super) fn body(page: &Page) -> Vec<u8> {
    let mut body = Vec::with_capacity(256 * page.events.len());
    let mut known = page.told;
    for event in &page.events {
        let missed = event.id.saturating_sub(known + 1);
        if missed > 0 {
            add(&mut body, event.id - 1, |body| Happening::Missed { count: missed }.write_json(body));
        }
        known = event.id;
        add(&mut body, event.id, |body| write_json(event, body));
    }
    body.push(b']');
    body
}

fn write_json(event: &Waiting, body: &mut Vec<u8>) {
    match &event.what {
        What::Post { room, record } => Happening::of_record(room, record).write_json(body),
        What::Change(change) => {
            if let Some(happening) = Happening::of_action(&change.room, &change.action) {
                happening.write_json(body);
            }
        }
        What::Expired { room, seq, rev } => {
            Happening::Expired { room, seq: *seq, rev: *rev }.write_json(body);
        }
        What::Note(note) => body.extend_from_slice(note.as_bytes()),
    }
}

/// Adds an event with its number, which stands in front of its other fields.
fn add(body: &mut Vec<u8>, id: u64, write_json: impl FnOnce(&mut Vec<u8>)) {
    body.push(if body.is_empty() { b'[' } else { b',' });
    // Memory takes it.
    let _ = write!(body, "{{\"id\":{id}");
    let brace = body.len();
    write_json(body);
    // What was written is an object with at least one field: its brace becomes the comma after the number.
    match body.get_mut(brace) {
        Some(brace) => *brace = b',',
        None => body.push(b'}'),
    }
}

/// What an event is about, without a text that somebody may still delete.
pub(super) fn about(event: &Waiting) -> String {
    match &event.what {
        What::Post { room, record } => Happening::Expired { room, seq: record.post.seq, rev: 0 }.json(),
        What::Change(change) => {
            let seq = match &change.action {
                Action::Post(post) => post.seq,
                action => action.target().unwrap_or(0),
            };
            Happening::Expired { room: &change.room, seq, rev: 0 }.json()
        }
        What::Expired { .. } | What::Note(_) => {
            let mut json = Vec::new();
            write_json(event, &mut json);
            String::from_utf8(json).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Post, Record};
    use serde_json::{Value, json};

    #[test]
    fn events_have_numbers_and_what_was_dropped_is_counted() {
        let post = Post {
            seq: 3,
            time: 9,
            user: "Ada".into(),
            is_verified: true,
            client: "c".into(),
            text: "a \"word\"".into(),
            key: None,
            data: None,
            reply_to: None,
        };
        let record = Record { post, edited: None, is_deleted: false, reactions: Vec::new() };
        let note = |id| Waiting { id, what: What::Note("{\"event\":\"left\"}".into()) };
        let events = vec![
            note(8),
            Waiting { id: 11, what: What::Post { room: "r".into(), record: Box::new(record) } },
            note(12),
        ];
        let found: Value = serde_json::from_slice(&body(&Page { events, told: 7, len: 3 })).unwrap();
        assert_eq!(
            found,
            json!([
                { "id": 8, "event": "left" },
                { "id": 10, "event": "missed", "count": 2 },
                { "id": 11, "event": "posted", "room": "r", "seq": 3, "time": 9, "user": "Ada", "verified": true,
                  "client": "c", "text": "a \"word\"" },
                { "id": 12, "event": "left" },
            ])
        );
    }
}
