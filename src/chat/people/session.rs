//! One connection: who speaks on it, which rooms it is in, and what of it waits.

use std::sync::Arc;

use crate::app::{AddressPrefix, Bucket, ConnId, Now};
use crate::chat::identity::Claims;
use crate::chat::ids::{RoomId, SessionId, UserId};
use crate::chat::membership::Membership;
use crate::chat::people::actor::Actor;
use crate::chat::wire::command::{Command, NUMBER_END, Omit};
use crate::chat::wire::reply_to::ReplyTo;

/// Whose rules a connection follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) enum Dialect {
    /// `chat.v1.json`.
    V1,
    /// `json`.
    Tutorial,
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

/// Who was told to go, and why.
#[derive(Debug)]
struct Dismissed {
    user: Option<Arc<str>>,
    why: Box<str>,
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
    /// What its messages do without.
    omit: Omit,
    /// `number`, as it is shown.
    client: Arc<str>,
    /// Who speaks, once that is known.
    pub(in crate::chat::people) user: Option<UserId>,
    pub(in crate::chat::people) claims: Option<Box<Claims>>,
    address: AddressPrefix,
    /// When the connection was opened, in milliseconds since 1970.
    since: u64,
    /// Who it was, and why it was told to go; for the log.
    dismissed: Option<Box<Dismissed>>,
    pub(in crate::chat::people) posts: Bucket,
    pub(in crate::chat::people) commands: Bucket,
    pub(in crate::chat::people) refusals: Bucket,
    rooms: Vec<Membership>,
    /// Rooms that are being joined.
    #[expect(clippy::box_collection, reason = "rarely there, and a session must be small")]
    joining: Option<Box<Vec<Joining>>>,
    /// Commands that wait.
    pub(in crate::chat::people) waiting: u16,
    /// Queries that the history has not answered.
    pub(in crate::chat::people) queries: u16,
    /// The turn in which the connection was last given answers of some length, and their octets.
    answered: (u32, u32),
}

impl Session {
    pub(in crate::chat::people) fn new(
        (conn, number): (ConnId, u64),
        client: Arc<str>,
        dialect: Dialect,
        (address, since): (AddressPrefix, u64),
    ) -> Self {
        Self {
            conn,
            number,
            dialect,
            is_live: true,
            omit: Omit::default(),
            client,
            user: None,
            claims: None,
            address,
            since,
            dismissed: None,
            posts: Bucket::default(),
            commands: Bucket::default(),
            refusals: Bucket::default(),
            rooms: Vec::new(),
            joining: None,
            waiting: 0,
            queries: 0,
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

    /// Milliseconds until the token expires, where there is one.
    pub(in crate::chat) fn expires_ms(&self, now: Now) -> Option<u64> {
        let claims = self.claims.as_ref().filter(|_| self.user.is_some())?;
        Some(claims.expires_unix_s.saturating_mul(1000).saturating_sub(now.unix_ms).min(NUMBER_END - 1))
    }

    /// The token came with the request; nobody has spoken yet.
    pub(in crate::chat) fn set_claims(&mut self, claims: Option<Box<Claims>>) {
        self.claims = claims;
    }

    /// The fields that its `message` events do without.
    pub(in crate::chat) fn omit(&self) -> Omit {
        self.omit
    }

    /// The client says what its `message` events do without. It is in no room yet.
    pub(in crate::chat) fn set_omit(&mut self, omit: Omit) {
        debug_assert!(self.rooms.is_empty(), "a membership has one topic");
        self.omit = omit;
    }

    pub(in crate::chat) fn address(&self) -> AddressPrefix {
        self.address
    }

    /// When the connection was opened, in milliseconds since 1970.
    pub(in crate::chat) fn since(&self) -> u64 {
        self.since
    }

    /// It is told to go: who it was, and why.
    pub(in crate::chat) fn note_dismissal(&mut self, user: Option<Arc<str>>, why: &str) {
        self.dismissed = Some(Box::new(Dismissed { user, why: why.into() }));
    }

    /// Who it was, and why it was told to go; `None`: it was not.
    pub(in crate::chat) fn dismissal(&self) -> Option<(Option<&str>, &str)> {
        self.dismissed.as_deref().map(|Dismissed { user, why }| (user.as_deref(), &**why))
    }

    // ---- rooms

    pub(in crate::chat) fn is_in(&self, room: RoomId) -> bool {
        self.rooms.iter().any(|membership| membership.room == room)
    }

    pub(in crate::chat) fn membership(&mut self, room: RoomId) -> Option<&mut Membership> {
        self.rooms.iter_mut().find(|membership| membership.room == room)
    }

    /// The rooms that it is in.
    pub(in crate::chat) fn rooms(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.iter().map(|membership| membership.room)
    }

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

    // ---- answers

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

    /// It is no part of anything any more. Returns the rooms that it was in.
    pub(in crate::chat::people) fn end(&mut self) -> Vec<Membership> {
        self.is_live = false;
        self.joining = None;
        std::mem::take(&mut self.rooms)
    }
}
