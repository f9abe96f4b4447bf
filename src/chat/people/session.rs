//! One connection: who speaks on it, which rooms it is in, and what of it waits.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::app::{AddressPrefix, Bucket, ConnId};
use crate::chat::commands::pace::Paced;
use crate::chat::identity::Claims;
use crate::chat::people::actor::Actor;
use crate::chat::people::user::UserId;
use crate::chat::rooms::RoomId;
use crate::chat::rooms::presence::Announced;
use crate::chat::wire::command::Command;
use crate::chat::wire::responder::ReplyTo;

/// The place of a session: that of its connection. Another session may have it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::chat) struct SessionId(u32);

impl SessionId {
    pub(in crate::chat) fn of(conn: ConnId) -> Self {
        Self(conn.index)
    }

    pub(in crate::chat::people) fn slot(self) -> usize {
        self.0 as usize
    }
}

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
    pub(in crate::chat) room: RoomId,
    /// Where the connection stands among the members.
    pub(in crate::chat) position: u32,
    /// What the room knows of it.
    pub(in crate::chat) known: Announced,
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
struct Joining {
    room: RoomId,
    behind: Vec<Waiting>,
}

/// What a session has when it ends, for whoever lets go of it.
#[derive(Debug)]
pub(in crate::chat) struct Left {
    pub(in crate::chat) rooms: Vec<Membership>,
    pub(in crate::chat) paced: VecDeque<Paced>,
}

/// One connection.
#[derive(Debug)]
pub(in crate::chat) struct Session {
    conn: ConnId,
    /// Tells all connections apart, for ever.
    number: u64,
    dialect: Dialect,
    /// `false`: it has been told to go, and is no part of anything any more.
    is_live: bool,
    /// `number`, as it is shown.
    client: Arc<str>,
    /// Who speaks, once that is known.
    pub(in crate::chat::people) user: Option<UserId>,
    pub(in crate::chat::people) claims: Option<Box<Claims>>,
    address: AddressPrefix,
    pub(in crate::chat::people) posts: Bucket,
    pub(in crate::chat::people) commands: Bucket,
    pub(in crate::chat::people) refusals: Bucket,
    rooms: Vec<Membership>,
    /// Rooms that are being joined.
    #[expect(clippy::box_collection, reason = "rarely there, and a session is to be small")]
    joining: Option<Box<Vec<Joining>>>,
    /// Commands that wait.
    pub(in crate::chat::people) waiting: u16,
    /// Queries that the history has not answered.
    pub(in crate::chat::people) queries: u16,
    /// What goes on when the connection, and the turn, have room for more.
    #[expect(clippy::box_collection, reason = "rarely there, and a session is to be small")]
    paced: Option<Box<VecDeque<Paced>>>,
    /// The turn in which the connection was last given answers of some length, and their octets.
    answered: (u32, u32),
}

impl Session {
    pub(in crate::chat::people) fn new(
        conn: ConnId,
        number: u64,
        client: Arc<str>,
        dialect: Dialect,
        address: AddressPrefix,
    ) -> Self {
        Self {
            conn,
            number,
            dialect,
            is_live: true,
            client,
            user: None,
            claims: None,
            address,
            posts: Bucket::default(),
            commands: Bucket::default(),
            refusals: Bucket::default(),
            rooms: Vec::new(),
            joining: None,
            waiting: 0,
            queries: 0,
            paced: None,
            answered: (0, 0),
        }
    }

    pub(in crate::chat) fn conn(&self) -> ConnId {
        self.conn
    }

    pub(in crate::chat) fn id(&self) -> SessionId {
        SessionId::of(self.conn)
    }

    /// Tells all connections apart, for ever.
    pub(in crate::chat) fn number(&self) -> u64 {
        self.number
    }

    pub(in crate::chat) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// `false`: it has been told to go, and is no part of anything any more.
    pub(in crate::chat) fn is_live(&self) -> bool {
        self.is_live
    }

    /// The number of the connection, as it is shown.
    pub(in crate::chat) fn client(&self) -> &Arc<str> {
        &self.client
    }

    /// Who speaks, once that is known.
    pub(in crate::chat) fn user(&self) -> Option<UserId> {
        self.user
    }

    pub(in crate::chat) fn claims(&self) -> Option<&Claims> {
        self.claims.as_deref()
    }

    /// The token came with the request; nobody has spoken yet.
    pub(in crate::chat) fn set_claims(&mut self, claims: Option<Box<Claims>>) {
        self.claims = claims;
    }

    pub(in crate::chat) fn address(&self) -> AddressPrefix {
        self.address
    }

    // ---- rooms

    pub(in crate::chat) fn is_in(&self, room: RoomId) -> bool {
        self.rooms.iter().any(|membership| membership.room == room)
    }

    pub(in crate::chat) fn membership(&mut self, room: RoomId) -> Option<&mut Membership> {
        self.rooms.iter_mut().find(|membership| membership.room == room)
    }

    #[cfg(debug_assertions)]
    pub(in crate::chat) fn memberships(&self) -> &[Membership] {
        &self.rooms
    }

    /// How many rooms it is in or joins.
    pub(in crate::chat) fn room_count(&self) -> usize {
        self.rooms.len() + self.joining.as_ref().map_or(0, |list| list.len())
    }

    pub(in crate::chat) fn enter(&mut self, membership: Membership) {
        if self.rooms.is_empty() {
            self.rooms.reserve_exact(1);
        }
        self.rooms.push(membership);
    }

    pub(in crate::chat) fn leave(&mut self, room: RoomId) -> Option<Membership> {
        let at = self.rooms.iter().position(|membership| membership.room == room)?;
        Some(self.rooms.swap_remove(at))
    }

    // ---- joins

    /// Commands about the room wait from now on.
    pub(in crate::chat) fn begin_joining(&mut self, room: RoomId) {
        self.joining.get_or_insert_default().push(Joining { room, behind: Vec::new() });
    }

    pub(in crate::chat) fn is_joining(&self, room: RoomId) -> bool {
        self.joining.as_ref().is_some_and(|list| list.iter().any(|joining| joining.room == room))
    }

    /// A command waits for the join of its room.
    pub(in crate::chat) fn wait_behind(&mut self, room: RoomId, waiting: Waiting) {
        let list = self.joining.iter_mut().flat_map(|list| list.iter_mut());
        let joining = list.into_iter().find(|joining| joining.room == room);
        debug_assert!(joining.is_some(), "only what has to wait does");
        if let Some(joining) = joining {
            joining.behind.push(waiting);
        }
    }

    /// A join has ended. Returns what waited for it.
    pub(in crate::chat) fn end_joining(&mut self, room: RoomId) -> Vec<Waiting> {
        let Some(list) = &mut self.joining else { return Vec::new() };
        let Some(at) = list.iter().position(|joining| joining.room == room) else { return Vec::new() };
        let behind = list.swap_remove(at).behind;
        if list.is_empty() {
            self.joining = None;
        }
        behind
    }

    /// Commands that wait for joins.
    pub(in crate::chat::people) fn waiting_behind(&self) -> usize {
        self.joining.iter().flat_map(|list| list.iter()).map(|joining| joining.behind.len()).sum()
    }

    // ---- what waits for its turn

    /// Something waits for its turn.
    pub(in crate::chat) fn is_paced(&self) -> bool {
        self.paced.is_some()
    }

    /// Lets something wait, behind all that does; `true`: nothing did.
    pub(in crate::chat) fn pace(&mut self, paced: Paced) -> bool {
        let is_first = self.paced.is_none();
        self.paced.get_or_insert_default().push_back(paced);
        is_first
    }

    /// Lets something wait, before all that does; `true`: nothing did.
    pub(in crate::chat) fn pace_first(&mut self, paced: Paced) -> bool {
        let is_first = self.paced.is_none();
        self.paced.get_or_insert_default().push_front(paced);
        is_first
    }

    /// Whether anything is left that waits for its turn.
    pub(in crate::chat) fn has_paced(&mut self) -> bool {
        self.paced.take_if(|paced| paced.is_empty());
        self.paced.is_some()
    }

    /// What comes next of what waits for its turn.
    pub(in crate::chat) fn next_paced(&mut self) -> Option<Paced> {
        self.paced.as_mut()?.pop_front()
    }

    #[cfg(debug_assertions)]
    pub(in crate::chat) fn paced(&self) -> impl Iterator<Item = &Paced> {
        self.paced.iter().flat_map(|paced| paced.iter())
    }

    /// Octets of answers that it was given in a turn.
    pub(in crate::chat) fn answered_in(&self, turn: u32) -> usize {
        let (last, octets) = self.answered;
        if last == turn { octets as usize } else { 0 }
    }

    /// It is given an answer.
    pub(in crate::chat) fn note_answer(&mut self, turn: u32, octets: usize) {
        let given = self.answered_in(turn) as u32;
        self.answered = (turn, given.saturating_add(octets as u32));
    }

    /// It is no part of anything any more. Returns what it leaves.
    pub(in crate::chat::people) fn end(&mut self) -> Left {
        self.is_live = false;
        self.joining = None;
        let paced = self.paced.take().map(|paced| *paced).unwrap_or_default();
        Left { rooms: std::mem::take(&mut self.rooms), paced }
    }
}
