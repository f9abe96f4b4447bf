//! The body of a request that tells: a JSON array of events, each with its number.

use crate::chat::Happening;
use crate::history::outbox::{Page, Waiting, What};

/// The body; where events were dropped, the backend is told how many.
pub(super) fn body(page: &Page) -> String {
    let mut body = String::with_capacity(128 * page.events.len());
    let mut known = page.told;
    for event in &page.events {
        let missed = event.id.saturating_sub(known + 1);
        if missed > 0 {
            add(&mut body, event.id - 1, &Happening::Missed { count: missed }.json());
        }
        known = event.id;
        add(&mut body, event.id, &json(event));
    }
    body.push(']');
    body
}

fn json(event: &Waiting) -> String {
    match &event.what {
        What::Post { room, record } => Happening::of_record(room, record).json(),
        What::Change { room, action } => {
            Happening::of_action(room, action).map(|happening| happening.json()).unwrap_or_default()
        }
        What::Expired { room, seq, rev } => Happening::Expired { room, seq: *seq, rev: *rev }.json(),
        What::Note(body) => body.to_string(),
    }
}

/// Adds an event with its number, which stands in front of its other fields.
fn add(body: &mut String, id: u64, json: &str) {
    body.push_str(if body.is_empty() { "[" } else { "," });
    body.push_str("{\"id\":");
    body.push_str(&id.to_string());
    // An object begins with its brace.
    if let Some(fields) = json.get(1..).filter(|fields| *fields != "}") {
        body.push(',');
        body.push_str(fields);
    } else {
        body.push('}');
    }
}

/// What an event is about, without a text that somebody may still delete.
pub(super) fn about(event: &Waiting) -> String {
    match &event.what {
        What::Post { room, record } => Happening::Expired { room, seq: record.post.seq, rev: 0 }.json(),
        What::Change { room, action } => {
            let seq = action.target().unwrap_or(0);
            Happening::Expired { room, seq, rev: 0 }.json()
        }
        What::Expired { .. } | What::Note(_) => json(event),
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
        let events =
            vec![note(8), Waiting { id: 11, what: What::Post { room: "r".into(), record } }, note(12)];
        let found: Value = serde_json::from_str(&body(&Page { events, told: 7, len: 3 })).unwrap();
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
