//! What is not on the disk yet and who waits for it, and what the history was asked.

pub(in crate::chat) mod keys;
pub(in crate::chat) mod queries;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::queries::{PendingJoin, PendingQuery};
use crate::app::Millis;
use crate::chat::rooms::{Hold, Room};
use crate::chat::wire::refusal::Refusal;
use crate::chat::wire::reply_to::ReplyTo;
use crate::history::{Action, BanChange, Batch, Change, History, Holder, Query, Ticket};

/// Milliseconds after which a history that was too busy is asked again.
const RETRY_MS: Millis = 10;

/// What waits for a commit.
#[derive(Debug)]
pub(in crate::chat) enum PendingChange {
    /// A change of this room.
    Change(Hold, Action),
    /// A post that is a pending one over again: where, which and when.
    Echo { room: Arc<str>, seq: u64, time: u64 },
    /// A change of the bans.
    Ban(BanChange),
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
    /// Names one unbroken history.
    epoch: String,
    term: u32,
    last_ticket: Ticket,
    /// Of this tick, with what the history must be told of it.
    items: Vec<PendingItem>,
    changes: Vec<Change>,
    bans: Vec<BanChange>,
    handed: VecDeque<PendingBatch>,
    /// Since the history failed, until it has recovered.
    is_failed: bool,
    /// A timer is set for what the history was too busy to take.
    is_retry_timed: bool,
    /// Changes of rooms that are not durable yet.
    len: usize,
    last_query: u64,
    queries: BTreeMap<u64, PendingQuery>,
    /// Joins that wait for answers.
    joins: BTreeMap<u64, PendingJoin>,
}

impl Pending {
    pub(in crate::chat) fn new(history: Option<Box<dyn History + Send>>, epoch: String) -> Self {
        Self { history, epoch, ..Self::default() }
    }

    /// The name of the history of all rooms on the disk.
    pub(in crate::chat) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The name of a room's unbroken history.
    pub(in crate::chat) fn epoch_of(&self, room: &Room) -> String {
        if self.is_on_disk() { self.epoch.clone() } else { format!("{}-{}", self.epoch, room.life()) }
    }

    /// The newest message and change that a client can have seen under this name. What the client itself says it has seen is
    /// believed of nobody else: the history knows whether it was set back.
    pub(in crate::chat) fn known_under(&self, room: &Room, epoch: &str) -> Option<(u64, u64)> {
        (epoch == self.epoch_of(room)).then_some((room.order().seq(), room.order().rev()))
    }

    /// History is kept on the disk.
    pub(in crate::chat) fn is_on_disk(&self) -> bool {
        self.history.is_some()
    }

    /// What an `ack` means.
    pub(in crate::chat) fn level(&self) -> &'static str {
        if self.is_on_disk() { "disk" } else { "memory" }
    }

    /// Since the history failed, until it has recovered.
    pub(in crate::chat) fn is_failed(&self) -> bool {
        self.is_failed
    }

    /// Changes of rooms that are not durable yet.
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

    // ---- changes

    /// Adds a change to what this tick hands over.
    pub(in crate::chat) fn add(&mut self, name: &Arc<str>, hold: Hold, action: Action, reply_to: ReplyTo) {
        self.changes.push(Change { room: Arc::clone(name), action: action.clone() });
        self.len += 1;
        self.items.push(PendingItem { change: PendingChange::Change(hold, action), reply_to });
    }

    /// Adds a read position, for which nobody waits.
    pub(in crate::chat) fn add_read(&mut self, room: &Room, user: Arc<str>, seq: u64) {
        if self.is_on_disk() && !self.is_failed {
            self.changes.push(Change { room: Arc::clone(room.name()), action: Action::Read { user, seq } });
        }
    }

    pub(in crate::chat) fn add_ban(&mut self, change: BanChange, reply_to: ReplyTo) {
        self.bans.push(change.clone());
        self.items.push(PendingItem { change: PendingChange::Ban(change), reply_to });
    }

    /// Lets somebody wait for what is pending now.
    pub(in crate::chat) fn add_echo(&mut self, room: Arc<str>, seq: u64, time: u64, reply_to: ReplyTo) {
        let item = PendingItem { change: PendingChange::Echo { room, seq, time }, reply_to };
        match self.handed.back_mut() {
            Some(handed) if self.items.is_empty() => handed.items.push(item),
            _ => self.items.push(item),
        }
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
        if self.changes.is_empty() && self.bans.is_empty() {
            return true;
        }
        let Some(history) = &mut self.history else { return true };
        let batch = Batch {
            ticket: self.last_ticket + 1,
            term: self.term,
            changes: std::mem::take(&mut self.changes),
            bans: std::mem::take(&mut self.bans),
        };
        match history.commit(batch) {
            Ok(()) => {
                self.last_ticket += 1;
                let items = std::mem::take(&mut self.items);
                self.handed.push_back(PendingBatch { ticket: self.last_ticket, at: now, items });
                true
            }
            Err(batch) => {
                self.changes = batch.changes;
                self.bans = batch.bans;
                false
            }
        }
    }

    /// The next batch that is on the disk when everything up to this ticket is.
    pub(in crate::chat) fn next_committed(&mut self, ticket: Ticket) -> Option<PendingBatch> {
        let batch = self.handed.pop_front_if(|handed| handed.ticket <= ticket)?;
        self.len -= changes_in(&batch.items);
        Some(batch)
    }

    /// Takes note of a failure. Returns everything that is not durable; `None` when it was refused before.
    pub(in crate::chat) fn fail(&mut self, ticket: Ticket) -> Option<Vec<PendingItem>> {
        if self.is_failed || ticket > self.last_ticket {
            return None;
        }
        self.is_failed = true;
        self.term += 1;
        self.len = 0;
        self.changes.clear();
        self.bans.clear();
        let handed = std::mem::take(&mut self.handed).into_iter().flat_map(|handed| handed.items);
        Some(handed.chain(std::mem::take(&mut self.items)).collect())
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
        let handed: usize = self.handed.iter().map(|batch| changes_in(&batch.items)).sum();
        assert_eq!(self.len, handed + changes_in(&self.items), "changes that are not durable");
        let awaited: usize = self.joins.values().map(|join| usize::from(join.awaits())).sum();
        let asked = self.queries.values().filter(|query| query.is_for_join()).count();
        assert_eq!(awaited, asked, "joins wait for what was asked for them");
        let queries = self.queries.values().filter(|query| query.hold.is_some()).count();
        self.len + queries + self.joins.len()
    }
}

fn changes_in(items: &[PendingItem]) -> usize {
    items.iter().filter(|item| matches!(item.change, PendingChange::Change(..))).count()
}
