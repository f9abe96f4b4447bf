//! What is not on the disk yet and who waits for it, and what the history was asked.

pub(in crate::chat) mod events;
pub(in crate::chat) mod keys;
pub(in crate::chat) mod queries;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::app::Millis;
use crate::chat::pending::queries::{PendingJoin, PendingQuery};
use crate::chat::wire::refusal::Refusal;
use crate::chat::wire::responder::ReplyTo;
use crate::history::{Action, BanChange, Batch, Change, History, Holder, Query, Ticket};

/// What waits for a commit.
#[derive(Debug)]
pub(in crate::chat) enum PendingChange {
    /// A change of this room.
    Change(u32, Action),
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

/// The chat's side of the store.
#[derive(Debug, Default)]
pub(in crate::chat) struct Pending {
    history: Option<Box<dyn History + Send>>,
    term: u32,
    last_ticket: Ticket,
    /// Of this tick, with what the store is to be told of it.
    items: Vec<PendingItem>,
    changes: Vec<Change>,
    bans: Vec<BanChange>,
    handed: VecDeque<PendingBatch>,
    /// Since the store failed, until it has recovered.
    pub(in crate::chat) is_failed: bool,
    /// Changes that are not durable yet.
    pub(in crate::chat) pending: usize,
    last_ask: u64,
    pub(in crate::chat) asks: BTreeMap<u64, PendingQuery>,
    /// Joins that wait for answers.
    pub(in crate::chat) joins: BTreeMap<u64, PendingJoin>,
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
        if self.is_on_disk() { "disk" } else { "memory" }
    }

    /// Adds a change to what this tick hands over.
    pub(in crate::chat) fn add(&mut self, name: &Arc<str>, room: u32, action: Action, reply_to: ReplyTo) {
        self.changes.push(Change { room: Arc::clone(name), action: action.clone() });
        self.pending += 1;
        self.items.push(PendingItem { change: PendingChange::Change(room, action), reply_to });
    }

    /// Adds a mark, for which nobody waits.
    pub(in crate::chat) fn add_mark(&mut self, name: &Arc<str>, user: Arc<str>, seq: u64) {
        if self.is_on_disk() && !self.is_failed {
            self.changes.push(Change { room: Arc::clone(name), action: Action::Read { user, seq } });
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

    /// Bytes of the store's log that are in use.
    pub(in crate::chat) fn log_bytes(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| history.log_bytes())
    }

    /// Hands over what the tick brought. `false`: the store is too busy, so it is to be tried again later.
    pub(in crate::chat) fn hand_over(&mut self, now: Millis) -> bool {
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
        self.handed.pop_front_if(|handed| handed.ticket <= ticket)
    }

    /// Takes note of a failure: gives everything that is not durable.
    pub(in crate::chat) fn fail(&mut self) -> Vec<PendingItem> {
        self.is_failed = true;
        self.term += 1;
        self.pending = 0;
        self.changes.clear();
        self.bans.clear();
        let handed = std::mem::take(&mut self.handed);
        handed.into_iter().flat_map(|handed| handed.items).chain(std::mem::take(&mut self.items)).collect()
    }

    /// Whether a failure with this ticket concerns what has not been refused yet.
    pub(in crate::chat) fn concerns(&self, ticket: Ticket) -> bool {
        !self.is_failed && ticket <= self.last_ticket
    }

    /// Asks the store something; `request` gets the number of the question.
    pub(in crate::chat) fn ask(
        &mut self,
        ask: PendingQuery,
        request: impl FnOnce(u64) -> Query,
    ) -> Result<(), Refusal> {
        let number = self.last_ask + 1;
        self.send(request(number))?;
        self.last_ask = number;
        self.asks.insert(number, ask);
        Ok(())
    }

    /// A number for a join.
    pub(in crate::chat) fn next_join(&self) -> u64 {
        self.last_ask + 1
    }

    /// Asks something that is not answered by number.
    pub(in crate::chat) fn send(&mut self, query: Query) -> Result<(), Refusal> {
        let history = self.history.as_mut().ok_or_else(Refusal::unavailable)?;
        history.query(query).map_err(|_| Refusal::unavailable())
    }

    /// A name belongs to somebody from now on.
    pub(in crate::chat) fn hold(&mut self, holder: Holder) -> Result<(), Refusal> {
        let history = self.history.as_mut().ok_or_else(Refusal::unavailable)?;
        history.hold(holder).map_err(|_| Refusal::unavailable())
    }
}
