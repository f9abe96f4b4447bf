//! Messages of an archive, a part of it at a time: a body is bounded, so the memory of an import is.

use std::sync::Arc;

use serde_json::{Value, json};

use super::json_response;
use super::problem::Problem;
use crate::app::{Request, Response};
use crate::chat::Answered;
use crate::chat::archive::Line;
use crate::history::Record;

/// The messages of the body of a request, all of which are well formed.
pub(super) fn messages(request: &Request<'_>) -> Result<Vec<(Arc<str>, Record)>, Problem> {
    let media = request.head.fields.text("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.is_empty() && !media.eq_ignore_ascii_case("application/x-ndjson") {
        return Err(Problem::new(415, "the body is to be application/x-ndjson"));
    }
    let lines = request.body.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii);
    let lines = (1..).zip(lines).filter(|(_, line)| !line.is_empty());
    lines
        .map(|(nth, line)| {
            let wrong = |why: &str| Problem::new(422, &format!("line {nth}: {why}"));
            let (room, record) = Line::read(line).map_err(|error| wrong(&error.to_string()))?;
            if room.starts_with('@') {
                return Err(wrong("a conversation of two; it can be imported while the server is stopped"));
            }
            Ok((room, record))
        })
        .collect()
}

/// What has come of the messages of a request.
#[derive(Debug)]
pub(super) struct Import {
    left: usize,
    imported: usize,
    known: usize,
    refused: Option<Answered>,
}

impl Import {
    /// So many messages were handed to the chat.
    pub(super) fn new(count: usize) -> Self {
        Self { left: count, imported: 0, known: 0, refused: None }
    }

    /// The chat has answered for one of them. Returns the answer to the request once it has for all.
    pub(super) fn note(&mut self, answered: Answered) -> Option<Response> {
        self.left -= 1;
        if answered.refused.is_some() {
            self.refused.get_or_insert(answered);
        } else {
            let ack: Value = serde_json::from_str(&answered.body).unwrap_or_default();
            *(if ack["duplicate"] == true { &mut self.known } else { &mut self.imported }) += 1;
        }
        (self.left == 0).then(|| self.response())
    }

    fn response(&self) -> Response {
        let Self { imported, known, refused, .. } = self;
        if let Some(Answered { refused: Some(code), body, .. }) = refused {
            let problem = Problem::of_answer(*code, body);
            return problem
                .after(&format!("{imported} messages were imported, {known} were there already"))
                .response();
        }
        let body = json!({ "imported": imported, "known": known });
        json_response(200, "application/json", body.to_string())
    }
}
