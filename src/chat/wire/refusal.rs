//! Why a command was not done.

use std::borrow::Cow;

use serde::Serialize;

/// The errors of `chat.v1.json`, a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No JSON object, too deep, or too many fields.
    BadJson,
    /// A `type` that is not known.
    UnknownType,
    /// A field is missing, of the wrong type or not allowed.
    BadField,
    /// A text, name or list above its limit.
    TooLong,
    /// The command is for members of the room.
    NotJoined,
    /// No such message, user or ban.
    NotFound,
    /// The name is taken, or the token does not permit it.
    Forbidden,
    /// The team's backend does not want it.
    Refused,
    /// Too fast.
    RateLimited,
    /// As many members as may be are there.
    RoomFull,
    /// As many rooms as may be are open, or joined.
    TooManyRooms,
    /// It could not be made durable.
    Unavailable,
    /// The server stops.
    ShuttingDown,
}

impl Code {
    /// All of them, in the order of [`Stats::refused`](crate::chat::Stats::refused).
    pub const ALL: [Self; 13] = [
        Self::BadJson,
        Self::UnknownType,
        Self::BadField,
        Self::TooLong,
        Self::NotJoined,
        Self::NotFound,
        Self::Forbidden,
        Self::Refused,
        Self::RateLimited,
        Self::RoomFull,
        Self::TooManyRooms,
        Self::Unavailable,
        Self::ShuttingDown,
    ];
}

/// What the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the errors it is.
    pub code: Code,
    /// The field that is at fault.
    pub field: Option<&'static str>,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// When it may be tried again.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    pub(in crate::chat) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, field: None, message: message.into(), retry_after_ms: None }
    }

    pub(in crate::chat) fn field(
        code: Code,
        field: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field: Some(field), ..Self::new(code, message) }
    }

    pub(in crate::chat) fn later(code: Code, retry_after_ms: u64, message: &'static str) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(code, message) }
    }

    pub(in crate::chat) fn unavailable() -> Self {
        Self::later(
            Code::Unavailable,
            1000,
            "it could not be made durable; send it again later with the same key",
        )
    }

    pub(in crate::chat) fn no_token() -> Self {
        Self::field(Code::Forbidden, "token", "this server asks for a token")
    }

    pub(in crate::chat) fn not_joined() -> Self {
        Self::field(Code::NotJoined, "room", "join the room first")
    }

    pub(in crate::chat) fn no_target() -> Self {
        Self::field(Code::NotFound, "reply_to", "there is no such message to reply to")
    }

    pub(in crate::chat) fn no_message() -> Self {
        Self::field(Code::NotFound, "seq", "there is no such message")
    }
}
