//! What goes out in `chat.v1.json`: answers and events, each an object whose `type` comes first.

mod own_rooms;

use std::sync::Arc;

use serde::ser::{SerializeMap as _, SerializeStruct as _};
use serde::{Serialize, Serializer};

pub(in crate::chat) use self::own_rooms::{MineRoom, RoomPermissions, UnreadRoom};
use crate::app::CloseCode;
use crate::chat::ids::SessionId;
use crate::chat::limits::Limits;
use crate::chat::people::People;
use crate::chat::people::lookalike::Lookalikes;
use crate::chat::people::member::{Member, Person};
use crate::chat::wire::command::Id;
use crate::chat::wire::data::Json;
use crate::chat::wire::refusal::Code;
use crate::history::{Action, Data, MAX_UNREAD, Post, Record, Who};

macro_rules! notices {
    ($($(#[$doc:meta])* $kind:literal $name:ident { $($(#[$serde:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Serialize)]
            #[serde(tag = "type", rename = $kind)]
            pub(in crate::chat) struct $name<'a> { $($(#[$serde])* pub(in crate::chat) $field: $type),* }
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
        features: &'a [&'a str],
        permissions: &'a [&'a str],
        #[serde(skip_serializing_if = "Option::is_none")] expires_ms: Option<u64>,
    }
    "refreshed" Refreshed {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        user: &'a str,
        permissions: &'a [&'a str],
        rooms: RoomPermissions<'a>,
        expires_ms: u64,
    }
    "joined" Joined {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        room: &'a str,
        epoch: &'a str,
        seq: u64,
        rev: u64,
        recovered: bool,
        messages: Messages<'a>,
        #[serde(skip_serializing_if = "is_false")] more: bool,
        changes: Changes<'a>,
        members: Members<'a>,
        count: usize,
        read: u64,
        permissions: &'a [&'a str],
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
    #[expect(clippy::struct_field_names, reason = "the name is the protocol's")]
    "conversations" Conversations {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        conversations: &'a [Conversation],
        #[serde(skip_serializing_if = "Option::is_none")] next: Option<&'a str>,
    }
    "mine" MineList {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        rooms: &'a [MineRoom<'a>],
        #[serde(skip_serializing_if = "Option::is_none")] next: Option<&'a str>,
    }
    "unread" UnreadNotice { rooms: &'a [UnreadRoom] }
    "rooms" RoomList {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        rooms: &'a [Listed],
        #[serde(skip_serializing_if = "Option::is_none")] next: Option<&'a str>,
    }
    "pong" Pong {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
    }
    "found" Found {
        #[serde(skip_serializing_if = "Id::is_none")] id: &'a Id<'a>,
        room: &'a str,
        messages: &'a [Shown<'a>],
        #[serde(skip_serializing_if = "is_false")] more: bool,
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
        #[serde(skip_serializing_if = "Option::is_none")] prev: Option<u64>,
        user: &'a str,
        #[serde(skip_serializing_if = "is_false")] verified: bool,
        #[serde(skip_serializing_if = "is_false")] lookalike: bool,
        #[serde(skip_serializing_if = "Option::is_none")] client: Option<&'a str>,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")] data: Option<Json<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")] reply_to: Option<u64>,
        time: u64,
    }
    "presence" Presence {
        room: &'a str,
        joined: &'a [Member<'a>],
        left: &'a [Member<'a>],
        count: usize,
    }
    #[expect(clippy::struct_field_names, reason = "the name is the protocol's")]
    "epoch" Epoch {
        room: &'a str,
        epoch: &'a str,
        seq: u64,
        rev: u64,
    }
    "typing" Typing { room: &'a str, user: &'a str }
    "reads" Reads { room: &'a str, reads: &'a [ReadPosition<'a>] }
    "direct" Direct {
        from: &'a str,
        to: &'a str,
        #[serde(skip_serializing_if = "is_false")] verified: bool,
        #[serde(skip_serializing_if = "is_false")] lookalike: bool,
        #[serde(skip_serializing_if = "Option::is_none")] seq: Option<u64>,
        client: &'a str,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")] data: Option<Json<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")] reply_to: Option<u64>,
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

impl<'a> Ack<'a> {
    /// That a command was done, and nothing more.
    pub(in crate::chat) fn new(id: &'a Id<'a>, room: Option<&'a str>) -> Self {
        Self { id, room, seq: None, rev: None, time: None, durable: None, duplicate: false }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A conversation of two, in the list of one of them.
#[derive(Debug, Serialize)]
pub(in crate::chat) struct Conversation {
    pub(in crate::chat) user: String,
    pub(in crate::chat) verified: bool,
    pub(in crate::chat) epoch: String,
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) rev: u64,
    pub(in crate::chat) time: u64,
    pub(in crate::chat) read: u64,
}

/// A room in a list.
#[derive(Debug, Clone, Serialize)]
pub(in crate::chat) struct Listed {
    #[serde(serialize_with = "as_text")]
    pub(in crate::chat) room: Arc<str>,
    pub(in crate::chat) members: usize,
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) time: u64,
}

fn as_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// Why the server ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::chat) enum Farewell {
    ShuttingDown,
    Banned,
    TokenExpired,
    NameTaken,
    Disconnected,
    Flooding,
}

impl Farewell {
    /// What the connection is closed with.
    pub(in crate::chat) fn code(self) -> CloseCode {
        match self {
            Self::ShuttingDown => CloseCode::SERVICE_RESTART,
            Self::Flooding => CloseCode::POLICY_VIOLATION,
            Self::NameTaken => CloseCode(4001),
            Self::Banned => CloseCode(4002),
            Self::TokenExpired => CloseCode(4003),
            Self::Disconnected => CloseCode(4004),
        }
    }

    /// The reason of the Close, where nobody says another one.
    pub(in crate::chat) fn message(self) -> &'static str {
        match self {
            Self::ShuttingDown => "",
            Self::Flooding => "flooding",
            Self::NameTaken => "name taken",
            Self::Banned => "banned",
            Self::TokenExpired => "token expired",
            Self::Disconnected => "disconnected",
        }
    }
}

/// How a session ends.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Ending<'a> {
    pub(in crate::chat) reason: Farewell,
    pub(in crate::chat) message: &'a str,
    /// When it may come back.
    pub(in crate::chat) retry_after_ms: Option<u64>,
}

/// How far a user has read.
#[derive(Debug, Serialize)]
pub(in crate::chat) struct ReadPosition<'a> {
    pub(in crate::chat) user: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    pub(in crate::chat) verified: bool,
    pub(in crate::chat) seq: u64,
}

/// The first members of a room.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Members<'a> {
    pub(in crate::chat) people: &'a People,
    pub(in crate::chat) sessions: &'a [SessionId],
    /// Some of those on other loops.
    pub(in crate::chat) others: &'a [Person],
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own = self.sessions.iter().filter_map(|index| self.people.member(*index));
        serializer.collect_seq(own.chain(self.others.iter().map(|person| self.people.shown_person(person))))
    }
}

/// Messages out of three places.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Messages<'a> {
    parts: [&'a [Record]; 3],
    lookalikes: &'a Lookalikes,
}

impl<'a> Messages<'a> {
    pub(in crate::chat) fn new(parts: [&'a [Record]; 3], lookalikes: &'a Lookalikes) -> Self {
        Self { parts, lookalikes }
    }

    /// The newest of them, as many as fit into this many octets, and one at least; returns the octets as well, and whether any
    /// were left out.
    pub(in crate::chat) fn newest_within(self, octets: usize) -> (Self, usize, bool) {
        let Self { mut parts, lookalikes } = self;
        let mut used = 0;
        let mut is_cut = false;
        for part in parts.iter_mut().rev() {
            let mut start = part.len();
            while start > 0 && !is_cut {
                let len = Shown { record: &part[start - 1], lookalikes }.octets();
                is_cut = used > 0 && used + len > octets;
                if !is_cut {
                    used += len;
                    start -= 1;
                }
            }
            *part = &part[start..];
        }
        (Self { parts, lookalikes }, used, is_cut)
    }

    /// The oldest of them, as many as fit into this many octets, and one at least.
    pub(in crate::chat) fn oldest_within(self, octets: usize) -> Self {
        let Self { mut parts, lookalikes } = self;
        let mut used = 0;
        let mut is_cut = false;
        for part in &mut parts {
            let fits = |record: &&Record| {
                let len = Shown { record, lookalikes }.octets();
                is_cut |= used > 0 && used + len > octets;
                used += len;
                !is_cut
            };
            *part = &part[..part.iter().take_while(fits).count()];
        }
        Self { parts, lookalikes }
    }

    pub(in crate::chat) fn last_seq(&self) -> Option<u64> {
        self.parts.iter().copied().flatten().next_back().map(|record| record.post.seq)
    }

    pub(in crate::chat) fn first_seq(&self) -> Option<u64> {
        self.parts.iter().copied().flatten().next().map(|record| record.post.seq)
    }
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lookalikes = self.lookalikes;
        let records = self.parts.iter().copied().flatten();
        serializer.collect_seq(records.map(|record| Shown { record, lookalikes }))
    }
}

/// Octets that a text has in JSON, without its quotes.
pub(in crate::chat) fn json_len(text: &str) -> usize {
    let more = |octet: u8| match octet {
        b'"' | b'\\' | 8..=10 | 12 | 13 => 1,
        0..=31 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(more).sum::<usize>()
}

/// A message of a history.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Shown<'a> {
    pub(in crate::chat) record: &'a Record,
    pub(in crate::chat) lookalikes: &'a Lookalikes,
}

/// Octets of the names and numbers of a message, at most.
const SHOWN_OCTETS: usize = 256;

impl Shown<'_> {
    /// Octets that it takes, at most.
    pub(in crate::chat) fn octets(&self) -> usize {
        let Record { post, reactions, .. } = self.record;
        let names = |users: &[Who]| users.iter().map(|who| 2 * (json_len(&who.name) + 3)).sum::<usize>();
        let reactions: usize =
            reactions.iter().map(|(emoji, by)| 2 * (json_len(emoji) + 6) + names(by)).sum();
        let said = json_len(&post.text) + Data::len_of(post.data.as_ref());
        SHOWN_OCTETS + json_len(&post.user) + json_len(&post.client) + said + reactions
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Record { post, edited, is_deleted, reactions } = self.record;
        let mut shown = serializer.serialize_struct("Shown", 13)?;
        shown.serialize_field("seq", &post.seq)?;
        shown.serialize_field("user", &*post.user)?;
        if post.is_verified {
            shown.serialize_field("verified", &true)?;
        } else if self.lookalikes.has(&post.user) {
            shown.serialize_field("lookalike", &true)?;
        }
        shown.serialize_field("client", &*post.client)?;
        shown.serialize_field("text", &post.text)?;
        if let Some(data) = &post.data {
            shown.serialize_field("data", &Json(data))?;
        }
        if let Some(reply_to) = post.reply_to {
            shown.serialize_field("reply_to", &reply_to)?;
        }
        shown.serialize_field("time", &post.time)?;
        if let Some(edited) = edited {
            shown.serialize_field("edited", edited)?;
        }
        if *is_deleted {
            shown.serialize_field("deleted", &true)?;
        }
        if !reactions.is_empty() {
            shown.serialize_field("reactions", &Reactions { reactions, is_verified: false })?;
        }
        if reactions.iter().any(|(_, by)| by.iter().any(|who| who.is_verified)) {
            shown.serialize_field("reactions_verified", &Reactions { reactions, is_verified: true })?;
        }
        shown.end()
    }
}

/// Who reacted, or those of them who are verified.
struct Reactions<'a> {
    reactions: &'a [(Box<str>, Vec<Who>)],
    is_verified: bool,
}

impl Serialize for Reactions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (emoji, by) in self.reactions {
            if !self.is_verified || by.iter().any(|who| who.is_verified) {
                map.serialize_entry(emoji, &Names { by, is_verified: self.is_verified })?;
            }
        }
        map.end()
    }
}

struct Names<'a> {
    by: &'a [Who],
    is_verified: bool,
}

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = self.by.iter().filter(|who| !self.is_verified || who.is_verified);
        serializer.collect_seq(named.map(|who| &*who.name))
    }
}

/// Changes out of two places.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::chat) struct Changes<'a> {
    pub(in crate::chat) parts: [&'a [Action]; 2],
    /// The texts of messages below are not told any more.
    pub(in crate::chat) visible_from: u64,
}

impl Changes<'_> {
    /// Octets that they take, at most.
    pub(in crate::chat) fn octets(&self) -> usize {
        let len = |action: &Action| match action {
            Action::Edit { text, data, .. } => json_len(text) + Data::len_of(data.as_ref()),
            Action::React { user, emoji, .. } => json_len(&user.name) + json_len(emoji),
            _ => 0,
        };
        self.parts.iter().copied().flatten().map(|action| SHOWN_OCTETS + len(action)).sum()
    }
}

impl Serialize for Changes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let actions = self.parts.iter().copied().flatten();
        serializer.collect_seq(actions.map(|action| {
            let is_visible = action.target().is_none_or(|seq| seq >= self.visible_from);
            ChangeNotice { room: None, action, is_visible }
        }))
    }
}

/// `edited`, `deleted` or `reacted`; with a room as an event, without as an element of `changes`.
#[derive(Debug)]
pub(in crate::chat) struct ChangeNotice<'a> {
    pub(in crate::chat) room: Option<&'a str>,
    pub(in crate::chat) action: &'a Action,
    /// The message is one that may be read.
    pub(in crate::chat) is_visible: bool,
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
            Action::Edit { rev, seq, text, data, time } => {
                notice.serialize_entry("rev", rev)?;
                notice.serialize_entry("seq", seq)?;
                notice.serialize_entry("text", if self.is_visible { &**text } else { "" })?;
                if let Some(data) = data.as_ref().filter(|_| self.is_visible) {
                    notice.serialize_entry("data", &Json(data))?;
                }
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
                notice.serialize_entry("user", &*user.name)?;
                if user.is_verified {
                    notice.serialize_entry("verified", &true)?;
                }
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
pub(in crate::chat) struct LimitsShown<'a>(pub(in crate::chat) &'a Limits);

impl Serialize for LimitsShown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(limits) = self;
        let numbers = [
            ("name", crate::chat::people::names::MAX_LEN as u64),
            ("text", limits.max_text as u64),
            ("key", limits.max_key as u64),
            ("data", limits.max_data as u64),
            ("emoji", limits.max_emoji as u64),
            ("query", limits.max_query as u64),
            ("rooms", limits.max_rooms_per_connection as u64),
            ("history", limits.max_history as u64),
            ("recovery", limits.max_recovery as u64),
            ("listed", limits.max_listed as u64),
            ("rooms_listed", limits.max_rooms_listed as u64),
            ("subscriptions", limits.max_subscriptions as u64),
            ("unread", MAX_UNREAD as u64),
            ("posts_per_second", u64::from(limits.posts.per_second)),
            ("posts_at_once", u64::from(limits.posts.burst)),
            ("key_window_ms", limits.key_window_ms),
        ];
        serializer.collect_map(numbers)
    }
}
