//! The way through the store: what is not on the disk yet, and who waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::answers::Asker;
use super::ask::{Ask, PendingJoin};
use super::refusal::Refusal;
use crate::app::Millis;
use crate::history::{Action, BanChange, Batch, Change, History, Holder, Query, Ticket};

/// What waits for a commit.
#[derive(Debug)]
pub(super) enum Matter {
    /// A change of this room.
    Change(u32, Action),
    /// A post that is a pending one over again: where, which and when.
    Echo { room: Arc<str>, seq: u64, time: u64 },
    /// A change of the bans.
    Ban(BanChange),
}

/// Something that waits for a commit, and who waits for it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) matter: Matter,
    pub(super) asker: Asker,
}

/// What was handed over at the end of one tick.
#[derive(Debug)]
pub(super) struct Handed {
    ticket: Ticket,
    /// When.
    pub(super) at: Millis,
    pub(super) items: Vec<Item>,
}

/// The chat's side of the store.
#[derive(Debug, Default)]
pub(super) struct Durable {
    history: Option<Box<dyn History + Send>>,
    term: u32,
    last_ticket: Ticket,
    /// Of this tick, with what the store is to be told of it.
    items: Vec<Item>,
    changes: Vec<Change>,
    bans: Vec<BanChange>,
    handed: VecDeque<Handed>,
    /// Since the store failed, until it has recovered.
    pub(super) is_failed: bool,
    /// Changes that are not durable yet.
    pub(super) pending: usize,
    last_ask: u64,
    pub(super) asks: BTreeMap<u64, Ask>,
    /// Joins that wait for answers.
    pub(super) joins: BTreeMap<u64, PendingJoin>,
}

impl Durable {
    pub(super) fn new(history: Option<Box<dyn History + Send>>) -> Self {
        Self { history, ..Self::default() }
    }

    /// History is kept on the disk.
    pub(super) fn is_on_disk(&self) -> bool {
        self.history.is_some()
    }

    /// What an `ack` means.
    pub(super) fn level(&self) -> &'static str {
        if self.is_on_disk() { "disk" } else { "memory" }
    }

    /// Adds a change to what this tick hands over.
    pub(super) fn add(&mut self, name: &Arc<str>, room: u32, action: Action, asker: Asker) {
        self.changes.push(Change { room: Arc::clone(name), action: action.clone() });
        self.pending += 1;
        self.items.push(Item { matter: Matter::Change(room, action), asker });
    }

    /// Adds a mark, for which nobody waits.
    pub(super) fn add_mark(&mut self, name: &Arc<str>, user: Arc<str>, seq: u64) {
        if self.is_on_disk() && !self.is_failed {
            self.changes.push(Change { room: Arc::clone(name), action: Action::Read { user, seq } });
        }
    }

    pub(super) fn add_ban(&mut self, change: BanChange, asker: Asker) {
        self.bans.push(change.clone());
        self.items.push(Item { matter: Matter::Ban(change), asker });
    }

    /// Lets somebody wait for what is pending now.
    pub(super) fn add_echo(&mut self, room: Arc<str>, seq: u64, time: u64, asker: Asker) {
        let item = Item { matter: Matter::Echo { room, seq, time }, asker };
        match self.handed.back_mut() {
            Some(handed) if self.items.is_empty() => handed.items.push(item),
            _ => self.items.push(item),
        }
    }

    /// Bytes of the store's log that are in use.
    pub(super) fn log_bytes(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| history.log_bytes())
    }

    /// Hands over what the tick brought. `false`: the store is too busy, so it is to be tried again later.
    pub(super) fn hand_over(&mut self, now: Millis) -> bool {
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
                self.handed.push_back(Handed { ticket: self.last_ticket, at: now, items });
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
    pub(super) fn next_committed(&mut self, ticket: Ticket) -> Option<Handed> {
        self.handed.pop_front_if(|handed| handed.ticket <= ticket)
    }

    /// Takes note of a failure: gives everything that is not durable.
    pub(super) fn fail(&mut self) -> Vec<Item> {
        self.is_failed = true;
        self.term += 1;
        self.pending = 0;
        self.changes.clear();
        self.bans.clear();
        let handed = std::mem::take(&mut self.handed);
        handed.into_iter().flat_map(|handed| handed.items).chain(std::mem::take(&mut self.items)).collect()
    }

    /// Whether a failure with this ticket concerns what has not been refused yet.
    pub(super) fn concerns(&self, ticket: Ticket) -> bool {
        !self.is_failed && ticket <= self.last_ticket
    }

    /// Asks the store something; `request` gets the number of the question.
    pub(super) fn ask(&mut self, ask: Ask, request: impl FnOnce(u64) -> Query) -> Result<(), Refusal> {
        let number = self.last_ask + 1;
        self.send(request(number))?;
        self.last_ask = number;
        self.asks.insert(number, ask);
        Ok(())
    }

    /// A number for a join.
    pub(super) fn next_join(&self) -> u64 {
        self.last_ask + 1
    }

    /// Asks something that is not answered by number.
    pub(super) fn send(&mut self, query: Query) -> Result<(), Refusal> {
        let history = self.history.as_mut().ok_or_else(Refusal::unavailable)?;
        history.query(query).map_err(|_| Refusal::unavailable())
    }

    /// A name belongs to somebody from now on.
    pub(super) fn hold(&mut self, holder: Holder) -> Result<(), Refusal> {
        let history = self.history.as_mut().ok_or_else(Refusal::unavailable)?;
        history.hold(holder).map_err(|_| Refusal::unavailable())
    }
}
