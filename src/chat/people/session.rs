//! Connections that speak, and the users who they speak for.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::app::ConnId;
use crate::chat::commands::pace::Paced;
use crate::chat::identity::Claims;
use crate::chat::people::actor::Actor;
use crate::chat::people::address::Address;
use crate::chat::people::rate::Bucket;
use crate::chat::wire::command::Command;
use crate::chat::wire::responder::ReplyTo;

/// Whose rules a connection follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) enum Dialect {
    /// `chat.v1.json`.
    V1,
    /// `json`.
    Tutorial,
}

/// A place in a room.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Membership {
    pub(in crate::chat) room: u32,
    /// Where the connection stands among the members.
    pub(in crate::chat) position: u32,
    /// The others have been told.
    pub(in crate::chat) is_announced: bool,
    /// Where it is the number of lists that the room has given out, nobody has heard of it.
    pub(in crate::chat) since: u32,
}

/// A command that waits, and who gave it.
#[derive(Debug)]
pub(in crate::chat) struct Waiting {
    pub(in crate::chat) reply_to: ReplyTo,
    pub(in crate::chat) actor: Actor,
    pub(in crate::chat) command: Command<'static>,
}

/// A room that is being joined, and what waits for that.
#[derive(Debug)]
pub(in crate::chat) struct Joining {
    pub(in crate::chat) room: u32,
    pub(in crate::chat) behind: Vec<Waiting>,
}

/// One connection.
#[derive(Debug)]
pub(in crate::chat) struct Session {
    pub(in crate::chat) conn: ConnId,
    /// Tells all connections apart, for ever.
    pub(in crate::chat) number: u64,
    pub(in crate::chat) dialect: Dialect,
    /// `false`: it has been told to go, and is no part of anything any more.
    pub(in crate::chat) is_live: bool,
    /// `number`, as it is shown.
    pub(in crate::chat) client: Arc<str>,
    /// Who speaks, once that is known.
    pub(in crate::chat) user: Option<u32>,
    pub(in crate::chat) claims: Option<Box<Claims>>,
    pub(in crate::chat) address: Address,
    pub(in crate::chat) posts: Bucket,
    pub(in crate::chat) commands: Bucket,
    pub(in crate::chat) refusals: Bucket,
    pub(in crate::chat) rooms: Vec<Membership>,
    /// Rooms that are being joined.
    #[expect(clippy::box_collection, reason = "rarely there, and a session is to be small")]
    pub(in crate::chat) joining: Option<Box<Vec<Joining>>>,
    /// Commands that wait.
    pub(in crate::chat) waiting: u16,
    /// Questions to the store.
    pub(in crate::chat) asks: u16,
    /// What goes on when the connection, and the turn, have room for more.
    #[expect(clippy::box_collection, reason = "rarely there, and a session is to be small")]
    pub(in crate::chat) paced: Option<Box<VecDeque<Paced>>>,
    /// The turn in which the connection was last given answers of some length, and their octets.
    pub(in crate::chat) answered: (u32, u32),
}

impl Session {
    pub(in crate::chat) fn membership(&mut self, room: u32) -> Option<&mut Membership> {
        self.rooms.iter_mut().find(|membership| membership.room == room)
    }

    pub(in crate::chat) fn is_in(&self, room: u32) -> bool {
        self.rooms.iter().any(|membership| membership.room == room)
    }
}
