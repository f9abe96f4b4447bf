//! What a tick still owes.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::slot::Slot;
use super::table::{Entry, Table};
use crate::app::{Acceptance, Closed, ConnId, Refused, TopicId};

/// Connections before their upgrade that are read in one tick; the others wait for the next one, which comes at once.
/// Requests cost more than messages, and in a storm of them the connections that are open are still to be served.
const HTTP_TURNS_PER_TICK: u32 = 16;
/// Turns that a step of a handshake below HTTP takes: it costs several times what a request costs.
const HANDSHAKE_TURNS: u32 = 4;

/// How much there is to do in a tick besides reading and writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Nothing, and the next wait is like the last one.
    Nothing,
    /// A timer fires earlier than those before, a request came, or the caller of the loop has something to do.
    TickEnd,
    /// Something that no event announces: a list below is not empty, or a shutdown is asked for.
    Unsettled,
}

/// Owns the lists of work that the tick put off. It does none of it.
#[derive(Debug)]
pub(super) struct Pending {
    work: Work,
    /// `on_close` is owed to these.
    closed: Vec<(ConnId, Closed)>,
    /// Upgrades that the application has accepted after all: `on_open` is owed.
    accepted: Vec<(ConnId, Acceptance)>,
    /// `on_abandoned` is owed to these.
    abandoned: Vec<ConnId>,
    /// `on_refused_late` is owed for these addresses.
    refused: Vec<(SocketAddr, Refused)>,
    /// Connections that are ending: the next step of their TCP connection is due.
    ended: Vec<Slot>,
    /// Reading or writing failed: nothing more can be exchanged with these.
    broken: Vec<Slot>,
    /// `on_lag` is owed to these: a topic and the number of messages dropped.
    lagged: Vec<(ConnId, TopicId, u64)>,
    /// To be read again without a new event.
    resumed: Vec<ConnId>,
    /// Connections before their upgrade that are to be read, in the order in which they will be.
    waiting: VecDeque<ConnId>,
    /// The application wants a shutdown to begin.
    is_drain_asked: bool,
    /// The application wants no more messages for now.
    is_input_paused: bool,
    /// Turns that connections before their upgrade may still have in this tick.
    http_turns: u32,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            work: Work::TickEnd,
            closed: Vec::new(),
            accepted: Vec::new(),
            abandoned: Vec::new(),
            refused: Vec::new(),
            ended: Vec::new(),
            broken: Vec::new(),
            lagged: Vec::new(),
            resumed: Vec::new(),
            waiting: VecDeque::new(),
            is_drain_asked: false,
            is_input_paused: false,
            http_turns: HTTP_TURNS_PER_TICK,
        }
    }

    /// There is more to do at the end of this tick than to read and to write.
    pub(super) fn note_work(&mut self) {
        self.work = self.work.max(Work::TickEnd);
    }

    fn note_unsettled(&mut self) {
        self.work = Work::Unsettled;
    }

    /// Whether the end of the tick has more to do than to write.
    #[inline]
    pub(super) fn has_work(&self) -> bool {
        self.work > Work::Nothing
    }

    /// Whether there is something to do that no event announces.
    #[inline]
    pub(super) fn is_unsettled(&self) -> bool {
        self.work == Work::Unsettled
    }

    /// The caller has done what there was to do at the end of the tick; what is unsettled stays.
    pub(super) fn work_done(&mut self) {
        if self.work == Work::TickEnd {
            self.work = Work::Nothing;
        }
    }

    /// The end of a tick with more to do than to write has begun: others get their turns before the upgrade.
    pub(super) fn renew_http_turns(&mut self) {
        self.http_turns = HTTP_TURNS_PER_TICK;
    }

    /// Takes a turn of a connection before its upgrade, or several for a step of a handshake. `false`: there are none left in
    /// this tick.
    pub(super) fn take_http_turn(&mut self, is_handshake: bool) -> bool {
        let has_left = self.http_turns > 0;
        self.http_turns = self.http_turns.saturating_sub(if is_handshake { HANDSHAKE_TURNS } else { 1 });
        self.note_work();
        has_left
    }

    /// The connection before its upgrade that has waited longest, if there are turns left in this tick.
    #[inline]
    pub(super) fn pop_waiting(&mut self) -> Option<ConnId> {
        if self.http_turns > 0 { self.waiting.pop_front() } else { None }
    }

    /// Owes the application the end of a connection.
    pub(super) fn owe_close(&mut self, conn: ConnId, closed: Closed) {
        self.closed.push((conn, closed));
        self.note_unsettled();
    }

    /// Owes the application the begin of a connection.
    pub(super) fn owe_open(&mut self, conn: ConnId, acceptance: Acceptance) {
        self.accepted.push((conn, acceptance));
        self.note_unsettled();
    }

    /// Owes the application word of a request that nobody waits for any more.
    pub(super) fn owe_abandoned(&mut self, conn: ConnId) {
        self.abandoned.push(conn);
        self.note_unsettled();
    }

    /// Owes the application word of a request that it refused late.
    pub(super) fn owe_refused(&mut self, peer: SocketAddr, reason: Refused) {
        self.refused.push((peer, reason));
        self.note_unsettled();
    }

    /// Owes the application word of messages that were dropped.
    pub(super) fn owe_lag(&mut self, conn: ConnId, lost: Vec<(TopicId, u64)>) {
        if !lost.is_empty() {
            self.lagged.extend(lost.into_iter().map(|(topic, count)| (conn, topic, count)));
            self.note_unsettled();
        }
    }

    /// Takes the TCP connection a step further at the end of the tick.
    pub(super) fn end_later(&mut self, slot: Slot) {
        self.ended.push(slot);
        self.note_unsettled();
    }

    /// Breaks the connection off at the end of the tick.
    pub(super) fn break_later(&mut self, slot: Slot) {
        self.broken.push(slot);
        self.note_unsettled();
    }

    /// Lets a connection be read in the next tick, or when its turn comes.
    pub(super) fn resume_later(&mut self, slot: Slot, entry: &mut Entry) {
        if entry.inbound.set_resumed(true) {
            let conn = slot.conn(entry.generation());
            if entry.http().is_some() {
                self.waiting.push_back(conn);
            } else {
                self.resumed.push(conn);
            }
            self.note_unsettled();
        }
    }

    /// Asks for a shutdown at the end of the tick.
    pub(super) fn ask_drain(&mut self) {
        self.is_drain_asked = true;
        self.note_unsettled();
    }

    /// The shutdown has begun.
    pub(super) fn drain_begins(&mut self) {
        self.is_drain_asked = false;
    }

    /// Whether the application asked for a shutdown that has not begun.
    pub(super) fn is_drain_asked(&self) -> bool {
        self.is_drain_asked
    }

    /// The application wants no more messages for now, or wants them again. `true`: it did not want so before.
    pub(super) fn pause_input(&mut self, is_paused: bool) -> bool {
        self.note_work();
        std::mem::replace(&mut self.is_input_paused, is_paused) != is_paused
    }

    pub(super) fn is_input_paused(&self) -> bool {
        self.is_input_paused
    }

    /// Whether all that is unsettled is input that is paused.
    pub(super) fn waits_for_input_alone(&self) -> bool {
        self.is_input_paused && !self.has_ends() && !self.is_drain_asked
    }

    pub(super) fn take_closed(&mut self) -> Vec<(ConnId, Closed)> {
        std::mem::take(&mut self.closed)
    }

    pub(super) fn take_accepted(&mut self) -> Vec<(ConnId, Acceptance)> {
        std::mem::take(&mut self.accepted)
    }

    pub(super) fn take_abandoned(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.abandoned)
    }

    pub(super) fn take_refused(&mut self) -> Vec<(SocketAddr, Refused)> {
        std::mem::take(&mut self.refused)
    }

    pub(super) fn take_ended(&mut self) -> Vec<Slot> {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn pop_broken(&mut self) -> Option<Slot> {
        self.broken.pop()
    }

    pub(super) fn take_lagged(&mut self) -> Vec<(ConnId, TopicId, u64)> {
        std::mem::take(&mut self.lagged)
    }

    pub(super) fn take_resumed(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.resumed)
    }

    /// Whether connections are to be ended, or something is owed to those that were, or to those that are to be opened.
    pub(super) fn has_ends(&self) -> bool {
        !(self.closed.is_empty()
            && self.accepted.is_empty()
            && self.abandoned.is_empty()
            && self.refused.is_empty()
            && self.ended.is_empty()
            && self.broken.is_empty()
            && self.lagged.is_empty())
    }

    /// Whether connections are to be read that no event announces.
    fn has_reads(&self) -> bool {
        !(self.resumed.is_empty() && self.waiting.is_empty())
    }

    /// The ends of the tick are seen to, as far as its rounds go.
    pub(super) fn ends_done(&mut self) {
        let is_left = self.has_ends() || self.has_reads() || self.is_drain_asked;
        self.work = if is_left { Work::Unsettled } else { Work::TickEnd };
    }

    /// Whether the level of work and the marks of connections agree with the lists.
    pub(super) fn check(&self, table: &Table) {
        let is_unsettled = self.has_ends() || self.has_reads() || self.is_drain_asked;
        assert!(!is_unsettled || self.work == Work::Unsettled, "work that nobody will look for");
        let resumed: BTreeSet<ConnId> = self.resumed.iter().chain(&self.waiting).copied().collect();
        assert_eq!(resumed.len(), self.resumed.len() + self.waiting.len(), "a connection is listed twice");
        for (slot, entry) in table.iter() {
            let is_listed = resumed.contains(&table.conn(slot));
            assert_eq!(entry.inbound.is_resumed(), is_listed, "the mark of {slot:?}");
        }
    }
}
