//! What a client of the subprotocol `json` posts: `{"user","text"}`.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use crate::text::is_blank;

/// Longest text in bytes of UTF-8.
const MAX_TEXT_LEN: usize = 4096;

/// What a client posts. Unknown fields are ignored; a field that is repeated is an error.
#[derive(Debug, Deserialize)]
pub(in crate::chat) struct Post<'a> {
    #[serde(borrow)]
    pub(in crate::chat) user: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::chat) text: Cow<'a, str>,
}

/// What is wrong with a post; its text is a sentence for the client.
#[derive(Debug)]
pub(in crate::chat) enum PostError {
    NoObject,
    Json(serde_json::Error),
    Empty(&'static str),
    TooLong,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject => f.write_str("expected an object with `user` and `text`"),
            Self::Json(error) => error.fmt(f),
            Self::Empty(field) => write!(f, "`{field}` is empty"),
            Self::TooLong => write!(f, "`text` is longer than {MAX_TEXT_LEN} bytes"),
        }
    }
}

impl std::error::Error for PostError {}

/// Reads a post.
pub(in crate::chat) fn parse_post(text: &str) -> Result<Post<'_>, PostError> {
    // A derived struct would take an array of its fields as well.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(PostError::NoObject);
    }
    let post: Post<'_> = serde_json::from_str(text).map_err(PostError::Json)?;
    for (name, value) in [("user", &post.user), ("text", &post.text)] {
        if is_blank(value) {
            return Err(PostError::Empty(name));
        }
    }
    if post.text.len() > MAX_TEXT_LEN {
        return Err(PostError::TooLong);
    }
    Ok(post)
}
