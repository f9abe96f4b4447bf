//! What is not on the disk yet and who waits for it, and what the history was asked.

pub(in crate::chat) mod queries;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::queries::{PendingJoin, PendingQuery};
use crate::app::Millis;
use crate::chat::rooms::{Hold, Room};
use crate::chat::wire::refusal::Refusal;
use crate::chat::wire::reply_to::ReplyTo;
use crate::history::{Act, BanChange, Batch, EngineFigures, History, Holder, Proposal, Query, Ticket};

/// Milliseconds after which a history that was too busy is asked again.
const RETRY_MS: Millis = 10;

/// What waits for a commit.
#[derive(Debug)]
pub(in crate::chat) enum PendingChange {
    /// What was proposed for a room.
    Proposal(Hold),
    /// A change of the bans.
    Ban(BanChange),
    /// Who subscribes to which room, or does so no more. It has an outcome, and holds no room.
    Subscription(Arc<str>, Arc<str>, bool),
}

/// Something that waits for a commit, and who waits for it.
#[derive(Debug)]
pub(in crate::chat) struct PendingItem {
    pub(in crate::chat) change: PendingChange,
    pub(in crate::chat) reply_to: ReplyTo,
}

/// What was handed over at the end of one tick.
#[derive(Debug)]
pub(in crate::chat) struct PendingBatch {
    ticket: Ticket,
    /// When.
    pub(in crate::chat) at: Millis,
    pub(in crate::chat) items: Vec<PendingItem>,
}

/// The chat's side of the history: what was handed over and asked, until the answers come.
#[derive(Debug, Default)]
pub(in crate::chat) struct Pending {
    history: Option<Box<dyn History + Send>>,
    term: u32,
    last_ticket: Ticket,
    /// Of this tick, with what the history must be told of it.
    items: Vec<PendingItem>,
    proposals: Vec<Proposal>,
    bans: Vec<BanChange>,
    handed: VecDeque<PendingBatch>,
    /// Since the history failed, until it has recovered.
    is_failed: bool,
    /// A timer is set for what the history was too busy to take.
    is_retry_timed: bool,
    /// Proposals without an outcome.
    len: usize,
    last_query: u64,
    queries: BTreeMap<u64, PendingQuery>,
    /// Joins that wait for answers.
    joins: BTreeMap<u64, PendingJoin>,
}

impl Pending {
    pub(in crate::chat) fn new(history: Option<Box<dyn History + Send>>) -> Self {
        Self { history, ..Self::default() }
    }

    /// History is kept on the disk.
    pub(in crate::chat) fn is_on_disk(&self) -> bool {
        self.history.is_some()
    }

    /// What an `ack` means.
    pub(in crate::chat) fn level(&self) -> &'static str {
        self.history.as_ref().map_or("memory", |history| history.level())
    }

    /// Since the history failed, until it has recovered.
    pub(in crate::chat) fn is_failed(&self) -> bool {
        self.is_failed
    }

    /// Nothing can be added to this room now; the empty name stands for what is not about one room.
    pub(in crate::chat) fn is_away(&self, room: &str) -> bool {
        self.history.as_ref().is_some_and(|history| history.is_away(room))
    }

    /// Proposals without an outcome.
    pub(in crate::chat) fn len(&self) -> usize {
        self.len
    }

    /// Queries that are not answered yet.
    pub(in crate::chat) fn queries(&self) -> usize {
        self.queries.len()
    }

    /// Bytes of the history's log that are in use.
    pub(in crate::chat) fn log_bytes(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| history.log_bytes())
    }

    /// Other processes change the rooms, too: a client may know what this one has not heard of yet.
    pub(in crate::chat) fn is_shared(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.is_shared())
    }

    /// Other processes served the rooms when this one began.
    pub(in crate::chat) fn has_others(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.has_others())
    }

    /// How the engine is, if there is one.
    pub(in crate::chat) fn engine(&self) -> Option<EngineFigures> {
        self.history.as_ref().and_then(|history| history.engine())
    }

    /// Rooms that are open on any loop; `None`: this loop is alone.
    pub(in crate::chat) fn open_rooms(&self) -> Option<u64> {
        self.history.as_ref().and_then(|history| history.open_rooms())
    }

    /// Keys that the history remembers.
    pub(in crate::chat) fn keys(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| history.keys())
    }

    /// The history is to tell what happens in a room, open or not, until [`Self::close`].
    pub(in crate::chat) fn follow(&mut self, room: &Arc<str>) {
        if let Some(history) = &mut self.history {
            history.follow(room);
        }
    }

    /// A room is not open any more.
    pub(in crate::chat) fn close(&mut self, room: &str) {
        if let Some(history) = &mut self.history {
            history.close(room);
        }
    }

    // ---- proposals

    /// Adds a proposal to what this tick hands over.
    pub(in crate::chat) fn add(&mut self, proposal: Proposal, hold: Hold, reply_to: ReplyTo) {
        self.proposals.push(proposal);
        self.len += 1;
        self.items.push(PendingItem { change: PendingChange::Proposal(hold), reply_to });
    }

    /// Adds a subscription.
    pub(in crate::chat) fn add_subscription(
        &mut self,
        proposal: Proposal,
        (user, room, is_on): (Arc<str>, Arc<str>, bool),
        reply_to: ReplyTo,
    ) {
        self.proposals.push(proposal);
        self.items.push(PendingItem { change: PendingChange::Subscription(user, room, is_on), reply_to });
    }

    /// Adds a read position, for which nobody waits.
    pub(in crate::chat) fn add_read(&mut self, room: &Room, user: Arc<str>, seq: u64) {
        if self.is_on_disk() && !self.is_failed {
            let act = Act::Read { user, seq };
            self.proposals.push(Proposal { room: Arc::clone(room.name()), time: 0, act });
        }
    }

    /// Adds something for the outbox of the history, where there is a place for it.
    pub(in crate::chat) fn add_note(&mut self, body: Box<str>, most: usize) {
        if self.is_on_disk() && !self.is_failed && self.proposals.len() < most {
            self.proposals.push(Proposal { room: "".into(), time: 0, act: Act::Note(body) });
        }
    }

    pub(in crate::chat) fn add_ban(&mut self, change: BanChange, reply_to: ReplyTo) {
        self.bans.push(change.clone());
        self.items.push(PendingItem { change: PendingChange::Ban(change), reply_to });
    }

    /// Hands over what the tick brought. Where the history is too busy, returns the time of the next attempt, for which a timer
    /// must be set.
    pub(in crate::chat) fn hand_over(&mut self, now: Millis) -> Option<Millis> {
        let is_timed = self.try_hand_over(now) || std::mem::replace(&mut self.is_retry_timed, true);
        (!is_timed).then_some(now + RETRY_MS)
    }

    /// The timer for the next attempt has fired.
    pub(in crate::chat) fn retry_timer_fired(&mut self) {
        self.is_retry_timed = false;
    }

    /// `false`: the history is too busy.
    fn try_hand_over(&mut self, now: Millis) -> bool {
        if self.proposals.is_empty() && self.bans.is_empty() {
            return true;
        }
        let Some(history) = &mut self.history else { return true };
        let batch = Batch {
            ticket: self.last_ticket + 1,
            term: self.term,
            proposals: std::mem::take(&mut self.proposals),
            bans: std::mem::take(&mut self.bans),
        };
        match history.propose(batch) {
            Ok(()) => {
                self.last_ticket += 1;
                let items = std::mem::take(&mut self.items);
                self.handed.push_back(PendingBatch { ticket: self.last_ticket, at: now, items });
                true
            }
            Err(batch) => {
                self.proposals = batch.proposals;
                self.bans = batch.bans;
                false
            }
        }
    }

    /// The next batch that is settled when everything up to this ticket is.
    pub(in crate::chat) fn next_settled(&mut self, ticket: Ticket) -> Option<PendingBatch> {
        let batch = self.handed.pop_front_if(|handed| handed.ticket <= ticket)?;
        self.len -= proposals_in(&batch.items);
        Some(batch)
    }

    /// Takes note of a failure. Returns everything that comes to nothing.
    pub(in crate::chat) fn fail(&mut self, term: u32, ticket: Ticket) -> Vec<PendingItem> {
        self.is_failed = true;
        self.term = term;
        self.proposals.clear();
        self.bans.clear();
        let settled = self.handed.iter().take_while(|handed| handed.ticket < ticket).count();
        let refused = self.handed.split_off(settled).into_iter().flat_map(|handed| handed.items);
        let undone: Vec<PendingItem> = refused.chain(std::mem::take(&mut self.items)).collect();
        self.len -= proposals_in(&undone);
        undone
    }

    /// Commits are possible again.
    pub(in crate::chat) fn recovered(&mut self) {
        self.is_failed = false;
    }

    // ---- queries

    /// Asks the history something; `request` gets the number of the query. Returns the query back where it cannot be asked.
    pub(in crate::chat) fn ask(
        &mut self,
        query: PendingQuery,
        request: impl FnOnce(u64) -> Query,
    ) -> Result<(), Box<(Refusal, PendingQuery)>> {
        let number = self.last_query + 1;
        if let Err(refusal) = self.send(request(number)) {
            return Err(Box::new((refusal, query)));
        }
        self.last_query = number;
        self.queries.insert(number, query);
        Ok(())
    }

    /// The query with this number is answered.
    pub(in crate::chat) fn answered(&mut self, number: u64) -> Option<PendingQuery> {
        self.queries.remove(&number)
    }

    /// Asks something that is not answered by number.
    pub(in crate::chat) fn send(&mut self, query: Query) -> Result<(), Refusal> {
        let history = self.history.as_mut().ok_or_else(Refusal::unavailable)?;
        history.query(query).map_err(|_| Refusal::unavailable())
    }

    /// A name belongs to somebody from now on.
    pub(in crate::chat) fn hold_name(&mut self, holder: Holder) -> Result<(), Refusal> {
        let history = self.history.as_mut().ok_or_else(Refusal::unavailable)?;
        history.hold(holder).map_err(|_| Refusal::unavailable())
    }

    // ---- joins

    /// A number for a join.
    pub(in crate::chat) fn next_join(&self) -> u64 {
        self.last_query + 1
    }

    /// A join waits for answers.
    pub(in crate::chat) fn begin_join(&mut self, number: u64, join: PendingJoin) {
        self.joins.insert(number, join);
    }

    pub(in crate::chat) fn join(&mut self, number: u64) -> Option<&mut PendingJoin> {
        self.joins.get_mut(&number)
    }

    /// A join waits no longer.
    pub(in crate::chat) fn end_join(&mut self, number: u64) -> Option<PendingJoin> {
        self.joins.remove(&number)
    }

    /// Every counter counts what it says. Returns how many rooms are held by what waits here.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn check(&self) -> usize {
        let handed: usize = self.handed.iter().map(|batch| proposals_in(&batch.items)).sum();
        assert_eq!(self.len, handed + proposals_in(&self.items), "proposals without an outcome");
        let awaited: usize = self.joins.values().map(|join| usize::from(join.awaits())).sum();
        let asked = self.queries.values().filter(|query| query.is_for_join()).count();
        assert_eq!(awaited, asked, "joins wait for what was asked for them");
        let queries = self.queries.values().filter(|query| query.hold.is_some()).count();
        self.len + queries + self.joins.len()
    }
}

fn proposals_in(items: &[PendingItem]) -> usize {
    items.iter().filter(|item| matches!(item.change, PendingChange::Proposal(..))).count()
}
