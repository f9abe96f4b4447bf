//! How somebody is shown.

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
