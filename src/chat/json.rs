//! The subprotocol `json`: `{"user","text"}` in, `{"msg":[{"user","text","time"}…]}` out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Longest name in bytes of UTF-8.
pub(super) const MAX_USER_LEN: usize = 64;
/// Longest text in bytes of UTF-8.
pub(super) const MAX_TEXT_LEN: usize = 4096;

/// What a client posts. Unknown fields are ignored; a field that stands twice is an error.
#[derive(Debug, Deserialize)]
pub(super) struct Post<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// What everyone gets. The time is the server's, in milliseconds since 1970 (S11).
#[derive(Serialize)]
struct Stored<'a> {
    user: &'a str,
    text: &'a str,
    time: u64,
}

#[derive(Serialize)]
struct ErrorNotice<'a> {
    error: &'a str,
}

/// Reads a post.
///
/// # Errors
/// A sentence that names what is wrong.
pub(super) fn parse_post(text: &str) -> Result<Post<'_>, String> {
    // A derived struct would take an array of its fields as well.
    if !text.trim_ascii_start().starts_with('{') {
        return Err("expected an object with `user` and `text`".to_owned());
    }
    let post: Post<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for (name, value, limit) in [("user", &post.user, MAX_USER_LEN), ("text", &post.text, MAX_TEXT_LEN)] {
        if value.trim().is_empty() {
            return Err(format!("`{name}` is empty"));
        }
        if value.len() > limit {
            return Err(format!("`{name}` is longer than {limit} bytes"));
        }
    }
    Ok(post)
}

pub(super) fn message(post: &Post<'_>, unix_ms: u64) -> String {
    encode(&Stored { user: &post.user, text: &post.text, time: unix_ms })
}

pub(super) fn error(error: &str) -> String {
    encode(&ErrorNotice { error })
}

/// Strings and numbers always have a JSON form.
fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
