//! What somebody is told of the rooms that are theirs.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{Shown, as_text};

/// What one may do in the rooms that one is in, by their names.
#[derive(Debug)]
pub(in crate::chat) struct RoomPermissions<'a>(pub(in crate::chat) &'a [(Arc<str>, Vec<&'static str>)]);

impl Serialize for RoomPermissions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(room, permissions)| (&**room, permissions)))
    }
}

/// A room that one has subscribed to, or a conversation.
#[derive(Debug, Serialize)]
pub(in crate::chat) struct MineRoom<'a> {
    #[serde(serialize_with = "as_text")]
    pub(in crate::chat) room: Arc<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(in crate::chat) epoch: &'a str,
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) rev: u64,
    pub(in crate::chat) time: u64,
    pub(in crate::chat) read: u64,
    pub(in crate::chat) unread: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::chat) message: Option<Shown<'a>>,
}

/// How much is unread in a room.
#[derive(Debug, Serialize)]
pub(in crate::chat) struct UnreadRoom {
    #[serde(serialize_with = "as_text")]
    pub(in crate::chat) room: Arc<str>,
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) read: u64,
    pub(in crate::chat) unread: u64,
}
