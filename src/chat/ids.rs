//! What names a room, a session or a user, for as long as it is there.

use crate::app::ConnId;

/// A room that is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::chat) struct RoomId(u32);

impl RoomId {
    /// For the tokens of timers. A timer may outlive its room.
    pub(in crate::chat) const fn number(self) -> u32 {
        self.0
    }

    /// See [`Self::number`].
    pub(in crate::chat) const fn of_number(number: u32) -> Self {
        Self(number)
    }

    pub(in crate::chat) fn of_slot(slot: usize) -> Self {
        Self(slot as u32)
    }

    pub(in crate::chat) fn slot(self) -> usize {
        self.0 as usize
    }
}

/// The place of a session: that of its connection. Another session may have it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::chat) struct SessionId(u32);

impl SessionId {
    pub(in crate::chat) fn of(conn: ConnId) -> Self {
        Self(conn.index)
    }

    pub(in crate::chat) fn slot(self) -> usize {
        self.0 as usize
    }
}

/// A user who is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::chat) struct UserId(u32);

impl UserId {
    pub(in crate::chat) fn of_slot(slot: usize) -> Self {
        Self(slot as u32)
    }

    pub(in crate::chat) fn slot(self) -> usize {
        self.0 as usize
    }
}
