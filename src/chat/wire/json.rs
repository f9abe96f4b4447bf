//! What a client of the subprotocol `json` posts: `{"user","text"}`.

use std::borrow::Cow;

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

/// Reads a post.
///
/// # Errors
/// A sentence that names what is wrong.
pub(in crate::chat) fn parse_post(text: &str) -> Result<Post<'_>, String> {
    // A derived struct would take an array of its fields as well.
    if !text.trim_ascii_start().starts_with('{') {
        return Err("expected an object with `user` and `text`".to_owned());
    }
    let post: Post<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for (name, value) in [("user", &post.user), ("text", &post.text)] {
        if is_blank(value) {
            return Err(format!("`{name}` is empty"));
        }
    }
    if post.text.len() > MAX_TEXT_LEN {
        return Err(format!("`text` is longer than {MAX_TEXT_LEN} bytes"));
    }
    Ok(post)
}
