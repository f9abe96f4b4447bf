//! How somebody is shown.

use std::sync::Arc;

use serde::Serialize;

/// Somebody in a room.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::chat) struct Member<'a> {
    pub(in crate::chat) client: &'a str,
    pub(in crate::chat) user: &'a str,
    pub(in crate::chat) verified: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::chat) lookalike: bool,
}

/// Somebody in a room, as others know them.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Person {
    pub(in crate::chat) client: Arc<str>,
    pub(in crate::chat) user: Arc<str>,
    pub(in crate::chat) is_verified: bool,
}
