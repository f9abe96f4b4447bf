//! What goes out in `chat.v1.json`: answers and events, each an object whose `type` comes first.

use serde::ser::{SerializeMap as _, SerializeStruct as _};
use serde::{Serialize, Serializer};

use super::command::Id;
use super::limits::Limits;
use super::refusal::Code;
use super::session::People;
use crate::store::{Action, Post, Record};

macro_rules! notices {
    ($($(#[$doc:meta])* $kind:literal $name:ident { $($(#[$serde:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Serialize)]
            #[serde(tag = "type", rename = $kind)]
            pub(super) struct $name<'a> { $($(#[$serde])* pub(super) $field: $type),* }
        )*
    };
}

notices! {
    "welcome" Welcome {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        client: &'a str,
        user: &'a str,
        verified: bool,
        heartbeat_ms: u64,
        limits: LimitsShown<'a>,
    }
    "joined" Joined {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        room: &'a str,
        epoch: &'a str,
        seq: u64,
        rev: u64,
        recovered: bool,
        messages: Messages<'a>,
        changes: Changes<'a>,
        members: Members<'a>,
        count: usize,
        read: u64,
    }
    "left" Left {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        room: &'a str,
    }
    "ack" Ack {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        #[serde(skip_serializing_if = "Option::is_none")] room: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")] seq: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")] rev: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")] time: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")] durable: Option<&'a str>,
        #[serde(skip_serializing_if = "is_false")] duplicate: bool,
    }
    "history" History {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        room: &'a str,
        messages: Messages<'a>,
        more: bool,
    }
    "conversations" Conversations {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        conversations: &'a [Conversation],
        #[serde(skip_serializing_if = "Option::is_none")] next: Option<&'a str>,
    }
    "pong" Pong {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
    }
    "found" Found {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        room: &'a str,
        messages: &'a [Shown<'a>],
    }
    "members" MemberList {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        room: &'a str,
        members: Members<'a>,
        count: usize,
    }
    "error" Error {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        code: Code,
        #[serde(skip_serializing_if = "Option::is_none")] field: Option<&'a str>,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")] retry_after_ms: Option<u64>,
    }
    "message" Message {
        room: &'a str,
        seq: u64,
        prev: u64,
        user: &'a str,
        #[serde(skip_serializing_if = "is_false")] verified: bool,
        client: &'a str,
        text: &'a str,
        time: u64,
    }
    "presence" Presence {
        room: &'a str,
        joined: &'a [Member<'a>],
        left: &'a [Member<'a>],
        count: usize,
    }
    "typing" Typing { room: &'a str, user: &'a str }
    "reads" Reads { room: &'a str, reads: &'a [Mark<'a>] }
    "direct" Direct {
        from: &'a str,
        to: &'a str,
        #[serde(skip_serializing_if = "is_false")] verified: bool,
        #[serde(skip_serializing_if = "Option::is_none")] seq: Option<u64>,
        client: &'a str,
        text: &'a str,
        time: u64,
    }
    "broadcast" Broadcast { text: &'a str, time: u64 }
    "kicked" Kicked {
        room: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")] reason: &'a str,
    }
    "lagged" Lagged { room: &'a str, dropped: u64 }
    "bye" Bye {
        reason: Farewell,
        #[serde(skip_serializing_if = "str::is_empty")] message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")] retry_after_ms: Option<u64>,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A conversation of two, in the list of one of them.
#[derive(Debug, Serialize)]
pub(super) struct Conversation {
    pub(super) user: String,
    pub(super) verified: bool,
    pub(super) epoch: String,
    pub(super) seq: u64,
    pub(super) time: u64,
    pub(super) read: u64,
}

/// Why the server ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Farewell {
    ShuttingDown,
    Banned,
    TokenExpired,
    NameTaken,
    Disconnected,
    Flooding,
}

/// Somebody in a room.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Member<'a> {
    pub(super) client: &'a str,
    pub(super) user: &'a str,
    pub(super) verified: bool,
}

/// How far a user has read.
#[derive(Debug, Serialize)]
pub(super) struct Mark<'a> {
    pub(super) user: &'a str,
    pub(super) seq: u64,
}

/// The first members of a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Members<'a> {
    pub(super) people: &'a People,
    pub(super) sessions: &'a [u32],
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.sessions.iter().filter_map(|index| self.people.member(*index)))
    }
}

/// Messages out of two places.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Messages<'a>(pub(super) [&'a [Record]; 3]);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().copied().flatten().map(Shown))
    }
}

/// A message of a history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a>(pub(super) &'a Record);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(Record { post, edited, is_deleted, reactions }) = self;
        let mut shown = serializer.serialize_struct("Shown", 9)?;
        shown.serialize_field("seq", &post.seq)?;
        shown.serialize_field("user", &*post.user)?;
        if post.is_verified {
            shown.serialize_field("verified", &true)?;
        }
        shown.serialize_field("client", &*post.client)?;
        shown.serialize_field("text", &post.text)?;
        shown.serialize_field("time", &post.time)?;
        if let Some(edited) = edited {
            shown.serialize_field("edited", edited)?;
        }
        if *is_deleted {
            shown.serialize_field("deleted", &true)?;
        }
        if !reactions.is_empty() {
            shown.serialize_field("reactions", &Reactions(reactions))?;
        }
        shown.end()
    }
}

struct Reactions<'a>(&'a [(Box<str>, Vec<std::sync::Arc<str>>)]);

impl Serialize for Reactions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (emoji, users) in self.0 {
            map.serialize_key(emoji)?;
            map.serialize_value(&Names(users))?;
        }
        map.end()
    }
}

struct Names<'a>(&'a [std::sync::Arc<str>]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|name| &**name))
    }
}

/// Changes out of two places.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Changes<'a>(pub(super) [&'a [Action]; 2]);

impl Serialize for Changes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_seq(self.0.iter().copied().flatten().map(|action| ChangeNotice { room: None, action }))
    }
}

/// `edited`, `deleted` or `reacted`; with a room as an event, without as an element of `changes`.
#[derive(Debug)]
pub(super) struct ChangeNotice<'a> {
    pub(super) room: Option<&'a str>,
    pub(super) action: &'a Action,
}

impl Serialize for ChangeNotice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut notice = serializer.serialize_map(None)?;
        let kind = match self.action {
            Action::Edit { .. } => "edited",
            Action::Delete { .. } => "deleted",
            Action::React { .. } => "reacted",
            Action::Post(_) => "message",
            Action::Read { .. } => "read",
        };
        notice.serialize_entry("type", kind)?;
        if let Some(room) = self.room {
            notice.serialize_entry("room", room)?;
        }
        match self.action {
            Action::Edit { rev, seq, text, time } => {
                notice.serialize_entry("rev", rev)?;
                notice.serialize_entry("seq", seq)?;
                notice.serialize_entry("text", text)?;
                notice.serialize_entry("time", time)?;
            }
            Action::Delete { rev, seq, time } => {
                notice.serialize_entry("rev", rev)?;
                notice.serialize_entry("seq", seq)?;
                notice.serialize_entry("time", time)?;
            }
            Action::React { rev, seq, user, emoji, is_removed } => {
                notice.serialize_entry("rev", rev)?;
                notice.serialize_entry("seq", seq)?;
                notice.serialize_entry("user", &**user)?;
                notice.serialize_entry("emoji", emoji)?;
                if *is_removed {
                    notice.serialize_entry("removed", &true)?;
                }
            }
            Action::Post(Post { seq, .. }) | Action::Read { seq, .. } => {
                notice.serialize_entry("seq", seq)?;
            }
        }
        notice.end()
    }
}

/// What a client should know of the limits, in `welcome`.
#[derive(Debug)]
pub(super) struct LimitsShown<'a>(pub(super) &'a Limits);

impl Serialize for LimitsShown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(limits) = self;
        let numbers = [
            ("name", super::names::MAX_LEN as u64),
            ("text", limits.max_text as u64),
            ("key", limits.max_key as u64),
            ("emoji", limits.max_emoji as u64),
            ("query", limits.max_query as u64),
            ("rooms", limits.max_rooms_per_connection as u64),
            ("history", limits.max_history as u64),
            ("recovery", limits.max_recovery as u64),
            ("listed", limits.max_listed as u64),
            ("posts_per_second", u64::from(limits.posts.per_second)),
            ("posts_at_once", u64::from(limits.posts.burst)),
            ("key_window_ms", limits.key_window_ms),
        ];
        serializer.collect_map(numbers)
    }
}
