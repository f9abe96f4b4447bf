//! A room: its recent history, who is in it, and whether anybody needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::{Millis, TopicId};
use crate::chat::ids::{SessionId, UserId};
use crate::chat::membership::Announced;
use crate::chat::people::member::Person;
use crate::chat::people::session::Waiting;
use crate::chat::people::user::Identity;
use crate::chat::rooms::audience::Audiences;
use crate::chat::rooms::branch::Branch;
use crate::chat::rooms::notice_pace::News;
use crate::chat::rooms::presence::{Comings, Presence};
use crate::chat::rooms::reads::ReadPositions;
use crate::chat::rooms::recent::Recent;
use crate::chat::wire::command::Omit;
use crate::history::{Change, Fork, Order, RoomState};

/// Changes that are kept while a room is being opened. Above it the room is read again.
pub(in crate::chat) const MAX_MEANWHILE: usize = 4096;

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
    /// The history is asked for it.
    Opening(Box<Opening>),
    Open,
}

/// A room that is being opened.
#[derive(Debug, Default)]
pub(in crate::chat) struct Opening {
    /// Commands that wait.
    pub(in crate::chat) waiting: Vec<Waiting>,
    /// What happened since it was asked for.
    pub(in crate::chat) meanwhile: Vec<Arc<Change>>,
    /// More than is kept, or it cannot be told from what was asked for: the room must be read again.
    pub(in crate::chat) is_behind: bool,
    /// Its state was asked for, and no answer has come.
    is_asked: bool,
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
    branch: Branch,
    pub(in crate::chat::rooms) audiences: Audiences,
    pub(in crate::chat::rooms) recent: Recent,
    /// Who gives the numbers, where that is the room itself: in memory.
    pub(in crate::chat::rooms) order: Option<Order>,
    /// How many hold it.
    pub(in crate::chat::rooms) holds: u32,
    pub(in crate::chat::rooms) members: Vec<SessionId>,
    presence: Presence,
    typing: Typing,
    reads: ReadPositions,
    /// Its place among the rooms that nobody needs; 0: it is none of them.
    pub(in crate::chat::rooms) idle_since: u64,
    /// It must be looked at when the tick ends.
    is_dirty: bool,
    /// It always exists.
    is_pinned: bool,
}

impl Room {
    /// A room that must be opened.
    pub(in crate::chat::rooms) fn new(name: Arc<str>, kind: Kind) -> Self {
        Self {
            name,
            kind,
            phase: Phase::Opening(Box::default()),
            branch: Branch::default(),
            audiences: Audiences::default(),
            recent: Recent::default(),
            order: None,
            holds: 0,
            members: Vec::new(),
            presence: Presence::default(),
            typing: Typing::default(),
            reads: ReadPositions::default(),
            idle_since: 0,
            is_dirty: false,
            is_pinned: false,
        }
    }

    /// A room in memory, which gives numbers itself. One that was forgotten is another one when it comes back.
    pub(in crate::chat::rooms) fn in_memory(name: Arc<str>, kind: Kind, epoch: Arc<str>) -> Self {
        Self {
            phase: Phase::Open,
            branch: Branch::new(epoch, Vec::new()),
            order: Some(Order::default()),
            ..Self::new(name, kind)
        }
    }

    /// Its name in the normal form.
    pub(in crate::chat) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(in crate::chat) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Names its one unbroken history.
    pub(in crate::chat) fn epoch(&self) -> &Arc<str> {
        self.branch.epoch()
    }

    /// The newest message and change that a client can have seen under this name and that are history now.
    pub(in crate::chat) fn known_under(&self, epoch: &str) -> Option<(u64, u64)> {
        self.branch.known_under(epoch, (self.recent.seq(), self.recent.rev()))
    }

    /// The topics that have members.
    pub(in crate::chat) fn topics(&self) -> impl Iterator<Item = TopicId> {
        self.audiences.occupied().map(|(_, topic)| topic)
    }

    /// The topics that have members, and the fields that messages in them do without.
    pub(in crate::chat) fn audiences(&self) -> impl Iterator<Item = (Omit, TopicId)> {
        self.audiences.occupied()
    }

    /// Whether members can join, and those who omit these fields have no topic yet.
    pub(in crate::chat) fn lacks_topic(&self, omit: Omit) -> bool {
        self.audiences.lacks(omit)
    }

    /// A member comes. Returns the topic that the member must be subscribed to.
    pub(in crate::chat) fn enter_topic(&mut self, omit: Omit) -> Option<TopicId> {
        self.audiences.enter(omit)
    }

    /// A member goes. Returns the topic that the member was subscribed to.
    pub(in crate::chat) fn leave_topic(&mut self, omit: Omit) -> Option<TopicId> {
        self.audiences.leave(omit)
    }

    /// The number of members who omit these fields.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn members_without(&self, omit: Omit) -> usize {
        self.audiences.members_without(omit)
    }

    /// Who is in it.
    pub(in crate::chat) fn members(&self) -> &[SessionId] {
        &self.members
    }

    /// What is known of its history.
    pub(in crate::chat) fn recent(&self) -> &Recent {
        &self.recent
    }

    pub(in crate::chat) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// It always exists from now on.
    pub(in crate::chat) fn pin(&mut self) {
        self.is_pinned = true;
    }

    /// A command waits until the room is open. Returns it back when the room is open already.
    pub(in crate::chat) fn wait(&mut self, waiting: Waiting) -> Option<Waiting> {
        match &mut self.phase {
            Phase::Opening(opening) => {
                opening.waiting.push(waiting);
                None
            }
            Phase::Open => Some(waiting),
        }
    }

    /// The answer about its state has come. Returns what was kept until then; nothing where it is open.
    pub(in crate::chat) fn take_opening(&mut self) -> Option<Opening> {
        let Phase::Opening(opening) = &mut self.phase else { return None };
        Some(std::mem::take(&mut **opening))
    }

    /// The commands wait on.
    pub(in crate::chat) fn wait_on(&mut self, waiting: Vec<Waiting>) {
        self.phase = Phase::Opening(Box::new(Opening { waiting, ..Opening::default() }));
    }

    /// Its state is known, or there is none to be known.
    pub(in crate::chat) fn open(&mut self) {
        debug_assert!(
            !matches!(&self.phase, Phase::Opening(opening) if !opening.waiting.is_empty()),
            "nobody waits any more"
        );
        self.phase = Phase::Open;
    }

    /// Something happens while the room is being opened.
    pub(in crate::chat) fn note_meanwhile(&mut self, change: Arc<Change>) {
        let Phase::Opening(opening) = &mut self.phase else { return };
        if opening.meanwhile.len() < MAX_MEANWHILE {
            opening.meanwhile.push(change);
        } else {
            opening.is_behind = true;
        }
    }

    /// Its state was asked for, or could not be.
    pub(in crate::chat) fn note_asked(&mut self, is_asked: bool) {
        if let Phase::Opening(opening) = &mut self.phase {
            opening.is_asked = is_asked;
        }
    }

    /// Whether it waits for a state that nobody was asked for.
    pub(in crate::chat) fn must_ask(&self) -> bool {
        matches!(&self.phase, Phase::Opening(opening) if !opening.is_asked)
    }

    /// Somebody is in it, or it always exists.
    pub(in crate::chat) fn is_wanted(&self) -> bool {
        self.is_pinned || !self.members.is_empty()
    }

    /// It has more than both histories have.
    pub(in crate::chat) fn has_more(&self, fork: &Fork) -> bool {
        self.recent.seq() > fork.seq || self.recent.rev() > fork.rev
    }

    /// Its history goes on under the name of the fork. Returns whether it has more than both histories: then it must be opened
    /// again, and commands wait until it is.
    pub(in crate::chat) fn fork(&mut self, fork: &Fork) -> bool {
        self.branch.fork(fork);
        let has_more = self.has_more(fork);
        match &mut self.phase {
            // What was asked for may be from before.
            Phase::Opening(opening) => opening.is_behind = true,
            Phase::Open if has_more => self.phase = Phase::Opening(Box::default()),
            Phase::Open => {}
        }
        has_more
    }

    /// More has happened than it was told: it must be opened again, and commands wait until it is.
    pub(in crate::chat) fn fall_behind(&mut self) {
        match &mut self.phase {
            Phase::Opening(opening) => opening.is_behind = true,
            Phase::Open => self.phase = Phase::Opening(Box::default()),
        }
    }

    /// What the history says of it.
    pub(in crate::chat::rooms) fn load(&mut self, mut state: RoomState) {
        self.branch = Branch::new(Arc::clone(&state.epoch), std::mem::take(&mut state.lineage));
        self.recent.load(state);
        self.open();
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
    pub(in crate::chat) fn went(&mut self, number: u64, known: Announced, gone: Person) {
        self.presence.went(number, known, gone);
    }

    /// See [`Presence::owe`].
    pub(in crate::chat) fn owe_presence(&mut self) {
        self.presence.owe();
    }

    /// See [`Presence::elsewhere`].
    pub(in crate::chat) fn came_and_went_elsewhere(&mut self, came: &[Person], went: &[Person], most: usize) {
        self.presence.elsewhere(came, went, most);
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
        if let Phase::Opening(opening) = &self.phase { opening.waiting.len() } else { 0 }
    }

    #[cfg(debug_assertions)]
    pub(in crate::chat::rooms) fn check(&self) {
        self.recent.check();
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
