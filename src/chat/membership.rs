//! What a session and a room know of each other.

use crate::chat::ids::RoomId;

/// A place in a room.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Membership {
    pub(in crate::chat) room: RoomId,
    /// The place of the connection among the members.
    pub(in crate::chat) position: u32,
    /// What the room knows of it.
    pub(in crate::chat) known: Announced,
}

/// What the room knows of a member.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Announced {
    /// The others have been told.
    pub(in crate::chat) is_announced: bool,
    /// Where it is the number of lists that the room has given out, nobody has heard of the member.
    pub(in crate::chat) since: u32,
}
