//! Why a request was not done, as problem details (RFC 9457).

use serde_json::{Value, json};

use super::json_response;
use super::tokens::Scope;
use crate::app::Response;
use crate::chat::Code;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Problem {
    status: u16,
    detail: String,
    /// The error of `chat.v1.json`.
    code: Option<Code>,
    /// The field at fault.
    field: Option<String>,
    retry_after_ms: Option<u64>,
    allow: Option<String>,
    /// What the token does not permit.
    scope: Option<Scope>,
}

impl Problem {
    pub(super) fn new(status: u16, detail: &str) -> Self {
        Self {
            status,
            detail: detail.to_owned(),
            code: None,
            field: None,
            retry_after_ms: None,
            allow: None,
            scope: None,
        }
    }

    /// A field is not as it should be.
    pub(super) fn field(name: &'static str, detail: &str) -> Self {
        Self { field: Some(name.to_owned()), code: Some(Code::BadField), ..Self::new(422, detail) }
    }

    /// A field, or a parameter of the query, is repeated.
    pub(super) fn twice(name: &str) -> Self {
        let detail = format!("`{name}` stands twice");
        Self { field: Some(name.to_owned()), code: Some(Code::BadField), ..Self::new(400, &detail) }
    }

    /// A text is longer than this many bytes.
    pub(super) fn too_long(name: &'static str, max: usize) -> Self {
        let detail = format!("`{name}` is longer than {max} bytes");
        Self { field: Some(name.to_owned()), code: Some(Code::TooLong), ..Self::new(422, &detail) }
    }

    /// RFC 9110 15.5.6: which methods there are.
    pub(super) fn not_allowed<'a>(methods: impl Iterator<Item = &'a str>) -> Self {
        let names = methods.map(|method| if method == "GET" { "GET, HEAD" } else { method });
        let allow = names.collect::<Vec<_>>().join(", ");
        Self { allow: Some(allow), ..Self::new(405, "this method is not for this resource") }
    }

    /// RFC 6750 3.1: the token permits other things.
    pub(super) fn lacks(scope: Scope) -> Self {
        let detail = format!("the token lacks the scope `{}`", scope.name());
        Self { scope: Some(scope), code: Some(Code::Forbidden), ..Self::new(403, &detail) }
    }

    /// The token is used too often.
    pub(super) fn too_fast(wait_ms: u64) -> Self {
        let detail = "too many requests with this token";
        Self { retry_after_ms: Some(wait_ms), code: Some(Code::RateLimited), ..Self::new(429, detail) }
    }

    /// The chat refused.
    pub(super) fn refused(
        code: Code,
        field: Option<&str>,
        detail: &str,
        retry_after_ms: Option<u64>,
    ) -> Self {
        let field = field.map(str::to_owned);
        Self { code: Some(code), field, retry_after_ms, ..Self::new(status(code), detail) }
    }

    /// The chat refused, in its own words.
    pub(super) fn of_answer(code: Code, body: &str) -> Self {
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        let detail = answer["message"].as_str().unwrap_or_default();
        Self::refused(code, answer["field"].as_str(), detail, answer["retry_after_ms"].as_u64())
    }

    /// The same, with what was done before.
    pub(super) fn after(mut self, done: &str) -> Self {
        self.detail = format!("{done}; then: {}", self.detail);
        self
    }

    pub(super) fn response(&self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": title(self.status),
            "status": self.status,
            "detail": self.detail,
        });
        if let Some(code) = self.code {
            body["code"] = json!(code);
        }
        if let Some(field) = &self.field {
            body["field"] = json!(field);
        }
        if let Some(scope) = self.scope {
            body["scope"] = json!(scope.name());
        }
        let mut response = json_response(self.status, "application/problem+json", body.to_string());
        if let Some(allow) = &self.allow {
            response = response.field("Allow", allow.as_str());
        }
        if let Some(scope) = self.scope {
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.name());
            response = response.field("WWW-Authenticate", challenge);
        }
        match self.retry_after_ms {
            Some(ms) => response.field("Retry-After", ms.div_ceil(1000).max(1).to_string()),
            None => response,
        }
    }
}

/// What an error of the chat is in HTTP.
fn status(code: Code) -> u16 {
    match code {
        Code::BadJson | Code::UnknownType => 400,
        Code::BadField | Code::TooLong => 422,
        Code::Forbidden | Code::Refused => 403,
        Code::NotFound => 404,
        Code::NotJoined | Code::RoomFull => 409,
        Code::RateLimited => 429,
        Code::TooManyRooms | Code::Unavailable | Code::ShuttingDown => 503,
    }
}

/// RFC 9457 4.2.1: with `about:blank` the title is the phrase of the status.
fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        _ => "Service Unavailable",
    }
}
