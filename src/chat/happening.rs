//! What the team's backend, or a program that embeds the chat, is told of.

use serde::Serialize;

use crate::chat::wire::data::Json;
use crate::history::{Action, EventKind, Post, Record};

/// Something that happened. Its JSON is that of `docs/hooks.md`, without the number of the event.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of docs/hooks.md, by name")]
pub enum Happening<'a> {
    /// The server begins: nobody is connected, and no room has a member.
    Started { time: u64 },
    /// A message.
    Posted {
        room: &'a str,
        seq: u64,
        time: u64,
        user: &'a str,
        verified: bool,
        client: &'a str,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Json<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        deleted: bool,
    },
    /// Another text of a message.
    Edited {
        room: &'a str,
        seq: u64,
        rev: u64,
        time: u64,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Json<'a>>,
    },
    /// A message without a text.
    Deleted { room: &'a str, seq: u64, rev: u64, time: u64 },
    /// A reaction that comes, or goes.
    Reacted {
        room: &'a str,
        seq: u64,
        rev: u64,
        user: &'a str,
        verified: bool,
        emoji: &'a str,
        removed: bool,
    },
    /// A message (`seq`) or a change (`rev`) that the history has forgotten, by its rules, before it could be told.
    Expired {
        room: &'a str,
        #[serde(skip_serializing_if = "is_zero")]
        seq: u64,
        #[serde(skip_serializing_if = "is_zero")]
        rev: u64,
    },
    /// A connection enters a room.
    Joined { room: &'a str, user: &'a str, verified: bool, client: &'a str, time: u64 },
    /// A connection is in a room no more.
    Left { room: &'a str, user: &'a str, verified: bool, client: &'a str, time: u64 },
    /// A connection speaks for somebody.
    Connected { user: &'a str, verified: bool, client: &'a str, address: String, time: u64 },
    /// A connection speaks for them no more.
    Disconnected { user: &'a str, verified: bool, client: &'a str, time: u64 },
    /// Somebody is banned.
    Banned {
        user: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
        #[serde(skip_serializing_if = "str::is_empty")]
        reason: &'a str,
        time: u64,
    },
    /// Somebody is banned no more.
    Unbanned { user: &'a str, time: u64 },
    /// So many events before this one were dropped: more waited than may.
    Missed { count: u64 },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> Happening<'a> {
    /// A message as it is now.
    #[must_use]
    pub fn of_record(room: &'a str, record: &'a Record) -> Self {
        Self::of_post(room, &record.post, record.is_deleted)
    }

    fn of_post(room: &'a str, post: &'a Post, deleted: bool) -> Self {
        Self::Posted {
            room,
            seq: post.seq,
            time: post.time,
            user: &post.user,
            verified: post.is_verified,
            client: &post.client,
            text: &post.text,
            data: post.data.as_ref().map(Json),
            reply_to: post.reply_to,
            key: post.key.as_deref(),
            deleted,
        }
    }

    /// A change of a room; `None`: nothing that anybody is told of.
    #[must_use]
    pub fn of_action(room: &'a str, action: &'a Action) -> Option<Self> {
        Some(match action {
            Action::Post(post) => Self::of_post(room, post, false),
            Action::Edit { rev, seq, text, data, time } => {
                Self::Edited { room, seq: *seq, rev: *rev, time: *time, text, data: data.as_ref().map(Json) }
            }
            Action::Delete { rev, seq, time } => Self::Deleted { room, seq: *seq, rev: *rev, time: *time },
            Action::React { rev, seq, user, emoji, is_removed } => Self::Reacted {
                room,
                seq: *seq,
                rev: *rev,
                user: &user.name,
                verified: user.is_verified,
                emoji,
                removed: *is_removed,
            },
            Action::Read { .. } => return None,
        })
    }

    /// Which of the kinds it belongs to; `None`: it is told to everybody who is told anything.
    #[must_use]
    pub fn kind(&self) -> Option<EventKind> {
        Some(match self {
            Self::Posted { .. } => EventKind::Posted,
            Self::Edited { .. } => EventKind::Edited,
            Self::Deleted { .. } => EventKind::Deleted,
            Self::Reacted { .. } => EventKind::Reacted,
            Self::Joined { .. } => EventKind::Joined,
            Self::Left { .. } => EventKind::Left,
            Self::Connected { .. } => EventKind::Connected,
            Self::Disconnected { .. } => EventKind::Disconnected,
            Self::Banned { .. } | Self::Unbanned { .. } => EventKind::Banned,
            Self::Started { .. } | Self::Expired { .. } | Self::Missed { .. } => return None,
        })
    }

    /// Adds its JSON to what is there.
    pub fn write_json(&self, to: &mut Vec<u8>) {
        // Strings and numbers always have a JSON form, and memory takes it.
        let _ = serde_json::to_writer(to, self);
    }

    /// Its JSON.
    #[must_use]
    pub fn json(&self) -> String {
        // Strings and numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}
