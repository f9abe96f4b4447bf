//! Who waits for an answer.

use crate::app::ConnId;
use crate::chat::wire::command::Id;

/// Who asked. An answer may come in a later tick: what must be durable is acknowledged once it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyTo {
    /// A client of `chat.v1.json`.
    Connection(ConnId, Id<'static>),
    /// A client of `json`, who is told of errors only.
    Tutorial(ConnId),
    /// Another part of the server, by a number of its choice; see [`Chat::take_answered`](crate::chat::Chat::take_answered).
    Request(u64),
    /// Nobody waits.
    Nobody,
}

impl ReplyTo {
    pub(in crate::chat) fn id(&self) -> &Id<'static> {
        match self {
            Self::Connection(_, id) => id,
            _ => &Id::None,
        }
    }

    pub(in crate::chat) fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Connection(conn, _) | Self::Tutorial(conn) => Some(*conn),
            Self::Request(_) | Self::Nobody => None,
        }
    }
}
