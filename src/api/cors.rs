//! Which pages of other origins may use the API (the Fetch standard, 3.2).
//!
//! A token is what lets somebody in; no cookie is looked at. So an origin that is allowed gets nothing that its page could
//! not get from a server of its own.

use crate::app::{RequestHead, Response};

/// Seconds for which a browser remembers what it was allowed.
const MAX_AGE_S: &str = "600";
/// What a page may send.
const REQUEST_FIELDS: &str = "Authorization, Content-Type, Idempotency-Key, If-None-Match";
/// What a page may read besides the safelisted fields.
const RESPONSE_FIELDS: &str = "Allow, ETag, Idempotency-Replayed, Link, Retry-After, WWW-Authenticate";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// The origins of pages that may use the API.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins(Vec<String>);

impl Origins {
    pub(super) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The origin of a request, if it is allowed. `*` allows any.
    pub(super) fn admitted(&self, head: &RequestHead<'_>) -> Option<Box<str>> {
        let origin = head.fields.text("origin")?;
        let is_allowed = |allowed: &String| *allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        self.0.iter().any(is_allowed).then(|| origin.into())
    }
}

/// Whether a browser asks before it sends a request of a page.
pub(super) fn is_preflight(head: &RequestHead<'_>) -> bool {
    head.method == "OPTIONS"
        && head.fields.first("origin").is_some()
        && head.fields.first("access-control-request-method").is_some()
}

/// The answer to such a question.
pub(super) fn preflight(origin: Option<&str>) -> Response {
    let response = Response { status: 204, ..Response::default() };
    match origin {
        Some(origin) => admit(response, origin)
            .field("Access-Control-Allow-Methods", METHODS)
            .field("Access-Control-Allow-Headers", REQUEST_FIELDS)
            .field("Access-Control-Max-Age", MAX_AGE_S),
        None => response.field("Vary", "Origin"),
    }
}

/// Lets a page of an origin read an answer.
pub(super) fn admit(response: Response, origin: &str) -> Response {
    response
        .field("Access-Control-Allow-Origin", origin)
        .field("Access-Control-Expose-Headers", RESPONSE_FIELDS)
        .field("Vary", "Origin")
}
