//! A room: its order and recent history, who is in it, and whether anybody needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::{Millis, TopicId};
use crate::chat::ids::{SessionId, UserId};
use crate::chat::membership::Announced;
use crate::chat::people::session::Waiting;
use crate::chat::people::user::Identity;
use crate::chat::rooms::notice_pace::News;
use crate::chat::rooms::order::Order;
use crate::chat::rooms::presence::{Comings, Gone, Presence};
use crate::chat::rooms::reads::ReadPositions;
use crate::history::Action;

/// Who a room is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) enum Kind {
    /// Anyone who joins.
    Group,
    /// Two verified users: what they are kept under, in order.
    Pair([Arc<str>; 2]),
}

/// Whether a room's state is known.
#[derive(Debug)]
pub(in crate::chat) enum Phase {
    /// The history was asked; these commands wait.
    Opening(Vec<Waiting>),
    Open,
}

/// When users were last seen typing.
#[derive(Debug, Default)]
struct Typing(BTreeMap<UserId, Millis>);

/// One room. It stays for as long as it has members, somebody holds it ([`Rooms::hold`](super::Rooms::hold)), it is pinned, or
/// it is being opened; after that it may be put away.
#[derive(Debug)]
pub(in crate::chat) struct Room {
    name: Arc<str>,
    kind: Kind,
    phase: Phase,
    /// In memory a room that was forgotten is another one when it comes back.
    life: u64,
    pub(in crate::chat::rooms) topic: Option<TopicId>,
    pub(in crate::chat::rooms) order: Order,
    /// How many hold it.
    pub(in crate::chat::rooms) holds: u32,
    pub(in crate::chat::rooms) members: Vec<SessionId>,
    presence: Presence,
    typing: Typing,
    reads: ReadPositions,
    /// Its place among the rooms that nobody needs; 0: it is none of them.
    pub(in crate::chat::rooms) idle_since: u64,
    /// Changes that turned out to be on the disk while it was being opened.
    landed: Vec<Action>,
    /// It must be looked at when the tick ends.
    is_dirty: bool,
    /// It always exists.
    is_pinned: bool,
}

impl Room {
    pub(in crate::chat::rooms) fn new(name: Arc<str>, kind: Kind, phase: Phase, life: u64) -> Self {
        Self {
            name,
            kind,
            phase,
            life,
            topic: None,
            order: Order::default(),
            holds: 0,
            members: Vec::new(),
            presence: Presence::default(),
            typing: Typing::default(),
            reads: ReadPositions::default(),
            idle_since: 0,
            landed: Vec::new(),
            is_dirty: false,
            is_pinned: false,
        }
    }

    /// Its name in the normal form.
    pub(in crate::chat) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(in crate::chat) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Tells a room in memory from those of the same name before it.
    pub(in crate::chat) fn life(&self) -> u64 {
        self.life
    }

    /// What its members are subscribed to.
    pub(in crate::chat) fn topic(&self) -> Option<TopicId> {
        self.topic
    }

    /// Who is in it.
    pub(in crate::chat) fn members(&self) -> &[SessionId] {
        &self.members
    }

    /// What was said in it, and in which order.
    pub(in crate::chat) fn order(&self) -> &Order {
        &self.order
    }

    pub(in crate::chat) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(in crate::chat) fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// It always exists from now on.
    pub(in crate::chat) fn pin(&mut self) {
        self.is_pinned = true;
    }

    /// A command waits until the room is open. Returns it back when the room is open already.
    pub(in crate::chat) fn wait(&mut self, waiting: Waiting) -> Option<Waiting> {
        match &mut self.phase {
            Phase::Opening(list) => {
                list.push(waiting);
                None
            }
            Phase::Open => Some(waiting),
        }
    }

    /// The commands that wait for the room, which wait no longer; `None` when it is open.
    pub(in crate::chat) fn take_waiting(&mut self) -> Option<Vec<Waiting>> {
        match &mut self.phase {
            Phase::Opening(list) => Some(std::mem::take(list)),
            Phase::Open => None,
        }
    }

    /// Its state is known, or there is none to be known.
    pub(in crate::chat) fn open(&mut self) {
        debug_assert!(
            !matches!(&self.phase, Phase::Opening(list) if !list.is_empty()),
            "nobody waits any more"
        );
        self.phase = Phase::Open;
    }

    /// Something was found on the disk while the room was being opened.
    pub(in crate::chat) fn note_landed(&mut self, action: Action) {
        self.landed.push(action);
    }

    /// See [`Self::note_landed`].
    pub(in crate::chat) fn take_landed(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.landed)
    }

    /// It must be looked at when the tick ends; `true`: it was not before.
    pub(in crate::chat::rooms) fn mark_dirty(&mut self) -> bool {
        !std::mem::replace(&mut self.is_dirty, true)
    }

    /// It is looked at now.
    pub(in crate::chat::rooms) fn mark_clean(&mut self) {
        self.is_dirty = false;
    }

    /// Whether others are to see that a user types: once in this many milliseconds.
    pub(in crate::chat) fn types(&mut self, user: UserId, now: Millis, every: Millis) -> bool {
        let Typing(seen) = &mut self.typing;
        if seen.get(&user).is_some_and(|at| now < at + every) {
            return false;
        }
        // As many are left as typed within the time.
        seen.retain(|_, at| now < *at + every);
        seen.insert(user, now);
        true
    }

    // ---- its order

    /// The number and the time of the next message, which waits from now on until it is durable.
    pub(in crate::chat) fn next_seq(&mut self, unix_ms: u64) -> (u64, u64) {
        self.order.next_seq(unix_ms)
    }

    /// The number and the time of the next change of a message, which waits from now on until it is durable.
    pub(in crate::chat) fn next_rev(&mut self, unix_ms: u64) -> (u64, u64) {
        self.order.next_rev(unix_ms)
    }

    /// [`Self::next_rev`] for the deletion of a message.
    pub(in crate::chat) fn begin_delete(&mut self, seq: u64, unix_ms: u64) -> (u64, u64) {
        self.order.begin_delete(seq);
        self.order.next_rev(unix_ms)
    }

    /// A change is durable.
    pub(in crate::chat) fn committed(&mut self, action: &Action) {
        self.order.committed(action);
    }

    /// A change comes to nothing, with all that wait.
    pub(in crate::chat) fn undone(&mut self) {
        self.order.undone();
    }

    // ---- who came and went

    /// Somebody is shown a list of the members.
    pub(in crate::chat) fn listed(&mut self) {
        self.presence.listed();
    }

    /// See [`Presence::came`].
    pub(in crate::chat) fn came(&mut self, session: SessionId, number: u64) -> Announced {
        self.presence.came(session, number)
    }

    /// See [`Presence::went`].
    pub(in crate::chat) fn went(&mut self, number: u64, known: Announced, gone: Gone) {
        self.presence.went(number, known, gone);
    }

    /// See [`Presence::take_news`].
    pub(in crate::chat) fn take_presence(&mut self, now: Millis, every: Millis) -> News<Comings> {
        self.presence.take_news(now, every)
    }

    // ---- read positions

    /// The last message that a user has read, if that is known.
    pub(in crate::chat) fn read_position(&self, user: &Identity) -> Option<u64> {
        self.reads.of(user)
    }

    /// A user has read up to here, or further. At most `max` positions are kept.
    pub(in crate::chat) fn keep_read(&mut self, user: &Identity, seq: u64, max: usize) {
        self.reads.keep(user, seq, max);
    }

    /// The members must be told of a user's position.
    pub(in crate::chat) fn note_read(&mut self, user: Identity) {
        self.reads.note_untold(user);
    }

    /// A user's position is not kept any longer.
    pub(in crate::chat) fn forget_read(&mut self, user: &Identity) {
        self.reads.forget(user);
    }

    /// See [`ReadPositions::take_news`].
    pub(in crate::chat) fn take_reads(&mut self, now: Millis, every: Millis) -> News<Vec<(Identity, u64)>> {
        self.reads.take_news(now, every)
    }

    /// The timer for what the members must be told has fired.
    pub(in crate::chat) fn timer_fired(&mut self) {
        self.presence.timer_fired();
        self.reads.timer_fired();
    }

    // ---- whether it is needed

    /// Nobody needs it now.
    pub(in crate::chat::rooms) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.holds == 0 && !self.is_pinned && self.is_open()
    }

    /// How many commands wait for it.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn waiting(&self) -> usize {
        if let Phase::Opening(list) = &self.phase { list.len() } else { 0 }
    }

    #[cfg(debug_assertions)]
    pub(in crate::chat::rooms) fn check(&self) {
        self.order.check();
        assert_eq!(
            self.idle_since > 0,
            self.is_idle() && self.idle_since > 0,
            "a room that is needed is not idle"
        );
    }

    #[cfg(debug_assertions)]
    pub(in crate::chat::rooms) fn is_dirty(&self) -> bool {
        self.is_dirty
    }
}

/// The name of the room of two users, in whatever order. No user's name has a line break in it.
pub(in crate::chat) fn pair_room(pair: [&str; 2]) -> String {
    let [a, b] = if pair[0] <= pair[1] { pair } else { [pair[1], pair[0]] };
    format!("@{a}\n{b}")
}
