//! A room: its order, its recent history, who is in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::{Millis, TopicId};
use crate::chat::people::session::Waiting;
use crate::chat::rooms::log::Log;
use crate::chat::rooms::presence::Presence;
use crate::chat::rooms::reads::ReadPositions;
use crate::history::Action;

/// Who a room is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) enum Kind {
    /// Whoever joins.
    Group,
    /// Two verified users: what they are kept under, in order.
    Pair([Arc<str>; 2]),
}

/// Whether a room's state is known.
#[derive(Debug)]
pub(in crate::chat) enum Phase {
    /// The store was asked; these commands wait.
    Opening(Vec<Waiting>),
    Open,
}

/// One room.
#[derive(Debug)]
pub(in crate::chat) struct Room {
    pub(in crate::chat) name: Arc<str>,
    pub(in crate::chat) kind: Kind,
    pub(in crate::chat) phase: Phase,
    /// In memory a room that was forgotten is another one when it comes back.
    pub(in crate::chat) life: u64,
    pub(in crate::chat) topic: Option<TopicId>,
    pub(in crate::chat) log: Log,
    /// The newest message that anybody may know of.
    pub(in crate::chat) seq: u64,
    /// The newest change that anybody may know of.
    pub(in crate::chat) rev: u64,
    /// The newest numbers that were given out, to what is not durable yet.
    pub(in crate::chat) given_seq: u64,
    pub(in crate::chat) given_rev: u64,
    /// The latest time that was given out.
    pub(in crate::chat) time: u64,
    /// The oldest message that is kept anywhere.
    pub(in crate::chat) oldest: u64,
    /// Changes that are not durable yet.
    pub(in crate::chat) pending: u32,
    /// Messages whose deletion is not durable yet.
    pub(in crate::chat) deleting: Vec<u64>,
    /// Questions to the store and joins under way.
    pub(in crate::chat) asks: u32,
    /// Slots of the members.
    pub(in crate::chat) members: Vec<u32>,
    pub(in crate::chat) presence: Presence,
    /// When users were last seen typing.
    pub(in crate::chat) typing: BTreeMap<u32, Millis>,
    pub(in crate::chat) reads: ReadPositions,
    /// Its place among the rooms that nobody is in; 0: it is none of them.
    pub(in crate::chat) idle_since: u64,
    /// Changes that turned out to be on the disk while it was being opened.
    pub(in crate::chat) landed: Vec<Action>,
    /// It is to be looked at when the tick ends.
    pub(in crate::chat) is_dirty: bool,
    /// It always exists.
    pub(in crate::chat) is_pinned: bool,
}

impl Room {
    pub(in crate::chat) fn new(name: Arc<str>, kind: Kind, phase: Phase, life: u64) -> Self {
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

    pub(in crate::chat) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Nobody needs it now.
    pub(in crate::chat) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending == 0 && self.asks == 0 && !self.is_pinned && self.is_open()
    }

    /// Nothing is known of it that a new one would not know.
    pub(in crate::chat) fn is_blank(&self) -> bool {
        self.given_seq == 0 && self.given_rev == 0
    }
}
