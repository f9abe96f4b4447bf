//! Bodies of requests: an object of JSON, whose fields are asked for by name. Those that nobody asks for are ignored.

use serde_json::{Map, Value};

use super::problem::Problem;
use crate::app::Request;
use crate::chat::{carried, strict};
use crate::history::Data;

/// The fields of a body.
#[derive(Debug)]
pub(super) struct Fields<'a>(Map<String, Value>, &'a [u8]);

impl<'r> Fields<'r> {
    /// Reads the body of a request.
    pub(super) fn of(request: &Request<'r>) -> Result<Self, Problem> {
        let media = request.head.fields.text("content-type").unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        if !media.is_empty() && !media.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(415, "the body is to be application/json"));
        }
        match strict::from_slice(request.body) {
            Ok(Value::Object(fields)) => Ok(Self(fields, request.body)),
            Ok(_) => Err(Problem::new(400, "the body is to be an object")),
            Err(strict::Error::Duplicate(name)) => Err(Problem::twice(&name)),
            Err(strict::Error::Json(error)) => {
                Err(Problem::new(400, &format!("the body is no JSON: {error}")))
            }
        }
    }

    /// A text that must be there.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, Problem> {
        self.maybe_text(name)?.ok_or_else(|| Problem::field(name, &format!("`{name}` is missing")))
    }

    /// A text that must be there, that says something and is no longer than this many bytes.
    pub(super) fn said(&self, name: &'static str, max: usize) -> Result<&str, Problem> {
        self.maybe_said(name, max)?.ok_or_else(|| Problem::field(name, &format!("`{name}` is missing")))
    }

    /// The same, which may be there.
    pub(super) fn maybe_said(&self, name: &'static str, max: usize) -> Result<Option<&str>, Problem> {
        match self.maybe_text(name)? {
            Some(text) if text.trim().is_empty() => Err(Problem::field(name, &format!("`{name}` is empty"))),
            Some(text) if text.len() > max => Err(Problem::too_long(name, max)),
            text => Ok(text),
        }
    }

    /// A text that may be there.
    pub(super) fn maybe_text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        self.maybe(name, "a text", Value::as_str)
    }

    /// A number that may be there.
    pub(super) fn maybe_number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        self.maybe(name, "a number that is not negative", Value::as_u64)
    }

    /// A list of texts that may be there.
    pub(super) fn maybe_texts(&self, name: &'static str) -> Result<Option<Vec<String>>, Problem> {
        self.maybe(name, "a list of texts", |value| {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        })
    }

    /// The value of `data`, as it is written in the body; at most so many bytes.
    pub(super) fn data(&self, max: usize) -> Result<Option<Data>, Problem> {
        carried(self.1, max).map_err(Problem::from)
    }

    fn maybe<'a, T>(
        &'a self,
        name: &'static str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| Problem::field(name, &format!("`{name}` is to be {what}"))),
        }
    }
}
