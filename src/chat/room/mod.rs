//! A room: its order, its recent history, who is in it.

pub(super) mod log;
pub(super) mod presence;
pub(super) mod reads;
pub(super) mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::log::Log;
use self::presence::Presence;
use self::reads::ReadPositions;
use super::session::Waiting;
use crate::app::{Millis, TopicId};
use crate::history::Action;

/// Who a room is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whoever joins.
    Group,
    /// Two verified users: what they are kept under, in order.
    Pair([Arc<str>; 2]),
}

/// Whether a room's state is known.
#[derive(Debug)]
pub(super) enum Phase {
    /// The store was asked; these commands wait.
    Opening(Vec<Waiting>),
    Open,
}

/// One room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    /// In memory a room that was forgotten is another one when it comes back.
    pub(super) life: u64,
    pub(super) topic: Option<TopicId>,
    pub(super) log: Log,
    /// The newest message that anybody may know of.
    pub(super) seq: u64,
    /// The newest change that anybody may know of.
    pub(super) rev: u64,
    /// The newest numbers that were given out, to what is not durable yet.
    pub(super) given_seq: u64,
    pub(super) given_rev: u64,
    /// The latest time that was given out.
    pub(super) time: u64,
    /// The oldest message that is kept anywhere.
    pub(super) oldest: u64,
    /// Changes that are not durable yet.
    pub(super) pending: u32,
    /// Messages whose deletion is not durable yet.
    pub(super) deleting: Vec<u64>,
    /// Questions to the store and joins under way.
    pub(super) asks: u32,
    /// Slots of the members.
    pub(super) members: Vec<u32>,
    pub(super) presence: Presence,
    /// When users were last seen typing.
    pub(super) typing: BTreeMap<u32, Millis>,
    pub(super) reads: ReadPositions,
    /// Its place among the rooms that nobody is in; 0: it is none of them.
    pub(super) idle_since: u64,
    /// Changes that turned out to be on the disk while it was being opened.
    pub(super) landed: Vec<Action>,
    /// It is to be looked at when the tick ends.
    pub(super) is_dirty: bool,
    /// It always exists.
    pub(super) is_pinned: bool,
}

impl Room {
    pub(super) fn new(name: Arc<str>, kind: Kind, phase: Phase, life: u64) -> Self {
        Self {
            name,
            kind,
            phase,
            life,
            topic: None,
            log: Log::default(),
            seq: 0,
            rev: 0,
            given_seq: 0,
            given_rev: 0,
            time: 0,
            oldest: 1,
            pending: 0,
            deleting: Vec::new(),
            asks: 0,
            members: Vec::new(),
            presence: Presence::default(),
            typing: BTreeMap::new(),
            reads: ReadPositions::default(),
            idle_since: 0,
            landed: Vec::new(),
            is_dirty: false,
            is_pinned: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Nobody needs it now.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending == 0 && self.asks == 0 && !self.is_pinned && self.is_open()
    }

    /// Nothing is known of it that a new one would not know.
    pub(super) fn is_blank(&self) -> bool {
        self.given_seq == 0 && self.given_rev == 0
    }
}
