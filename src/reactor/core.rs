//! The state that callbacks can reach, by way of `context`: every connection's, the tick's output, topics and timers, but no socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;

use slab::Slab;

use super::admission::Admission;
use super::budget::Budget;
use super::drain::Drain;
use super::entry::{Ending, Entry, Phase};
use super::outbox::{Chain, Outbox};
use super::peer::Peers;
use super::spare::Spare;
use super::topics::Topic;
use super::wheel::Wheel;
use super::{Config, HTTP_TURNS_PER_TICK};
use crate::app::{CloseReason, Closed, ConnId, Now, Stats, TopicId};
use crate::proto::{Buffer, DeflatePool, MaskingKeys, Millis, ProtoConfig, ProtocolError};

/// A timer of the application's: when, in which order it was set, its token.
type AppTimer = Reverse<(Millis, u64, u64)>;

/// No connection's handle, in bits: slots are far fewer.
pub(super) const NOBODY: u64 = u64::MAX;

/// What there is to do in a tick besides reading and writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rest {
    /// Nothing, and the next wait is like the last one.
    Nothing,
    /// A timer fires earlier than those before, a request came, or the caller of the loop has something to do, such as to see
    /// to timers that are due.
    Something,
    /// No event will announce it: there is something in `closed`, `ended`, `broken`, `lagged` or `resume`, or a shutdown is
    /// asked for.
    Unsettled,
}

/// The state of the loop without its sockets and its application.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) proto: Arc<ProtoConfig>,
    /// What connections that compress without context takeover share.
    pub(super) deflate: DeflatePool,
    pub(super) now: Now,
    pub(super) table: Slab<Entry>,
    pub(super) outbox: Outbox,
    /// Length of the outbox, in bytes, from which on it is written before more input is taken: [`Config::high_water`], and 0 once
    /// the tick has queued as much elsewhere.
    pub(super) input_until: usize,
    /// Connections with something to write or to look at.
    pub(super) dirty: Vec<u32>,
    pub(super) topics: Slab<Topic>,
    pub(super) dirty_topics: Vec<u32>,
    pub(super) wheel: Wheel,
    pub(super) app_timers: BinaryHeap<AppTimer>,
    /// When the first timer of any kind fires, or before; [`Millis::MAX`] when none is set.
    pub(super) wake_at: Millis,
    pub(super) rest: Rest,
    /// The handle, in bits, of the connection that is being read, if messages to it go out as they are and at once: it is
    /// open, no compression is agreed, no fragment is under way, and nothing waits for it.
    pub(super) express: u64,
    /// `on_close` is owed to these.
    pub(super) closed: Vec<(ConnId, Closed)>,
    /// Their phase is `Ending`: the TCP connection is to be taken a step further.
    pub(super) ended: Vec<u32>,
    /// Reading or writing failed: nothing more can be exchanged with these.
    pub(super) broken: Vec<u32>,
    /// To be read again without a new event.
    pub(super) resume: Vec<ConnId>,
    /// Turns that connections before their upgrade may still have in this tick.
    pub(super) http_turns: u32,
    /// Connections that are to be closed because more would wait for them than may.
    pub(super) overflowed: Vec<u32>,
    /// `on_lag` is owed to these: a topic and the number of messages dropped.
    pub(super) lagged: Vec<(ConnId, TopicId, u64)>,
    /// The memory of all backlogs.
    pub(super) queues: Budget,
    pub(super) spare: Spare,
    /// Who is at the other end, by slot.
    pub(super) peers: Peers,
    pub(super) admission: Admission,
    pub(super) stats: Stats,
    /// Something was published in this tick.
    pub(super) has_published: bool,
    pub(super) drain: Option<Drain>,
    /// The application wants a shutdown to begin.
    pub(super) is_drain_asked: bool,
    /// Upgraded connections that `on_close` was not called for.
    pub(super) open: usize,
    pub(super) tick: u32,
    /// Bytes kept of all unfinished messages and of input that waits.
    pub(super) unfinished: usize,
    /// Input of connections that hold some.
    pub(super) held: BTreeMap<u32, Vec<u8>>,
    /// Timers that the application has set so far: those for one instant fire in this order.
    pub(super) timers_set: u64,
    pub(super) random: MaskingKeys,
}

impl Core {
    pub(super) fn new(config: Config, seed: u64, now: Now) -> Self {
        Self {
            deflate: DeflatePool::new(&config.proto),
            proto: Arc::new(config.proto.clone()),
            input_until: config.high_water.max(1),
            config,
            now,
            table: Slab::new(),
            outbox: Outbox::new(),
            dirty: Vec::new(),
            topics: Slab::new(),
            dirty_topics: Vec::new(),
            wheel: Wheel::new(),
            app_timers: BinaryHeap::new(),
            wake_at: Millis::MAX,
            rest: Rest::Something,
            express: NOBODY,
            closed: Vec::new(),
            ended: Vec::new(),
            broken: Vec::new(),
            resume: Vec::new(),
            http_turns: HTTP_TURNS_PER_TICK,
            overflowed: Vec::new(),
            lagged: Vec::new(),
            queues: Budget::default(),
            spare: Spare::default(),
            peers: Peers::default(),
            admission: Admission::default(),
            stats: Stats::default(),
            has_published: false,
            drain: None,
            is_drain_asked: false,
            open: 0,
            tick: 0,
            unfinished: 0,
            held: BTreeMap::new(),
            timers_set: 0,
            random: MaskingKeys::Seeded(seed),
        }
    }

    /// The entry that a handle names, unless that connection is gone.
    #[inline]
    pub(super) fn entry(&mut self, conn: ConnId) -> Option<&mut Entry> {
        self.table.get_mut(conn.index as usize).filter(|entry| entry.generation == conn.generation)
    }

    /// The handle of the connection in slot `index`.
    pub(super) fn conn(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.table[index as usize].generation }
    }

    /// Where a connection stands, unless it is gone.
    #[inline]
    pub(super) fn phase(&mut self, conn: ConnId) -> Option<&mut Phase> {
        self.entry(conn).map(|entry| &mut entry.phase)
    }

    /// There is more to do than to read and to write.
    pub(super) fn attend(&mut self) {
        self.rest = self.rest.max(Rest::Something);
    }

    /// There is something left to settle.
    pub(super) fn unsettle(&mut self) {
        self.rest = Rest::Unsettled;
    }

    /// A timer fires at `at`.
    pub(super) fn wake_by(&mut self, at: Millis) {
        if at < self.wake_at {
            self.wake_at = at;
            self.attend();
        }
    }

    /// Gives the octets encoded since `start` to a connection.
    pub(super) fn wrote(&mut self, index: u32, start: usize) {
        self.wrote_plain(index, start);
        // A run may be written without another look at its connection.
        if self.table[index as usize].backlog.is_some() {
            self.end_run();
        }
    }

    /// The same for one for which nothing waits.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one comparison, as a rule")]
    pub(super) fn wrote_plain(&mut self, index: u32, start: usize) {
        if !self.outbox.runs_for(index) && self.outbox.len() > start {
            if self.outbox.has_run() {
                self.end_run_at(start);
            }
            if start > self.config.max_tick_output {
                return self.overflow(index);
            }
            self.outbox.begin_run(index, start);
        }
    }

    /// Makes the open run of the outbox a segment of its connection's chain, so that all that is queued is in chains.
    pub(super) fn end_run(&mut self) {
        self.end_run_at(self.outbox.len());
    }

    #[inline(never)]
    fn end_run_at(&mut self, end: usize) {
        if let Some((index, start)) = self.outbox.end_run() {
            // Offsets have 32 bits. What goes to nobody any more is whole messages.
            if u32::try_from(end).is_err() {
                return self.overflow(index);
            }
            let entry = &mut self.table[index as usize];
            self.outbox.attach(&mut entry.chain, start, end);
            if !entry.flags.dirty {
                entry.flags.dirty = true;
                self.dirty.push(index);
            }
        }
    }

    fn arm_at(&mut self, index: u32, deadline: Millis) {
        self.wheel.arm(index, deadline);
        self.wake_by(self.wheel.next_deadline());
    }

    /// Takes the TCP connection a step further at the next settling.
    pub(super) fn end_later(&mut self, index: u32) {
        self.ended.push(index);
        self.unsettle();
    }

    /// Breaks the connection off at the next settling.
    pub(super) fn break_later(&mut self, index: u32) {
        self.broken.push(index);
        self.unsettle();
    }

    pub(super) fn arm(&mut self, index: u32) {
        if let Some(deadline) = self.table[index as usize].deadline(self.config.max_queue_age_ms) {
            self.arm_at(index, deadline);
        }
    }

    /// Lets go of a connection for which too much waits, or for too long: there is no room for a Close.
    pub(super) fn drop_slow(&mut self, index: u32) {
        self.finish(index, CloseReason::SlowConsumer, Ending::Drop);
        self.table[index as usize].backlog = None;
        self.give_up_now(index);
    }

    /// Whether there is room for another upgraded connection.
    pub(super) fn admits(&self) -> bool {
        let max_connections = self.config.max_connections;
        (max_connections == 0 || self.open < max_connections)
            && self.queues.used() <= self.config.max_queued / 4 * 3
    }

    /// Above the limit for all queues together the longest ones go first.
    pub(super) fn shed(&mut self) {
        let mut queues: Vec<(usize, u32)> = self
            .table
            .iter()
            .map(|(index, entry)| (entry.backlog_len(), index as u32))
            .filter(|(len, _)| *len > 0)
            .collect();
        queues.sort_unstable_by(|a, b| b.cmp(a));
        for (_, index) in queues {
            if self.queues.used() <= self.config.max_queued {
                break;
            }
            self.drop_slow(index);
        }
    }

    /// Ends a connection towards the application, once; the TCP connection follows in `settle`.
    pub(super) fn finish(&mut self, index: u32, reason: CloseReason, ending: Ending) {
        let queued = self.queued_len(index);
        let until = self.now.monotonic_ms + self.proto.timeouts.close_ms;
        self.leave_all_topics(index);
        let entry = &mut self.table[index as usize];
        let until = match entry.phase {
            // The closing handshake and the linger share one deadline.
            Phase::Open(_) if entry.local_reason.is_some() => {
                entry.phase_deadline().unwrap_or(until).min(until)
            }
            Phase::Ending { until, .. } => until,
            _ => until,
        };
        if let Phase::Open(connection) = &entry.phase {
            let conn = ConnId { index, generation: entry.generation };
            let reason = entry.local_reason.take().map_or(reason, |reason| *reason);
            let silent_ms = connection.silent_ms(self.now.monotonic_ms);
            self.open -= 1;
            self.stats.closes.count(reason.kind());
            let peer = self.peers.address(index);
            self.closed.push((conn, Closed { reason, peer, silent_ms, queued }));
        }
        self.unfinished -= std::mem::take(&mut entry.unfinished) as usize;
        let holds = entry.flags.holds;
        entry.phase = Phase::Ending { ending, until };
        self.end_later(index);
        self.arm_at(index, until);
        if holds {
            self.take_held(index);
        }
    }

    /// The peer sent FIN: it will not send more, so there is no one left to serve. Answers to what it sent before
    /// still go out.
    pub(super) fn peer_ended(&mut self, index: u32) {
        match &mut self.table[index as usize].phase {
            Phase::Ending { ending: ending @ (Ending::Linger | Ending::HalfClose), .. } => {
                *ending = Ending::Drop;
                self.end_later(index);
            }
            Phase::Ending { .. } => {}
            _ => self.finish(index, CloseReason::Disconnected, Ending::Drop),
        }
    }

    /// The TCP connection failed: what was queued is void.
    pub(super) fn break_off(&mut self, index: u32) {
        self.finish(index, CloseReason::Disconnected, Ending::Drop);
        self.give_up_now(index);
    }

    /// Lets the TCP connection end at the next settling, written or not.
    pub(super) fn give_up_now(&mut self, index: u32) {
        self.table[index as usize].phase = Phase::Ending { ending: Ending::Drop, until: 0 };
    }

    /// Fails the connection (RFC 6455 7.1.7).
    #[cold]
    pub(super) fn fail(&mut self, index: u32, error: ProtocolError) {
        let start = self.outbox.len();
        let Phase::Open(connection) = &mut self.table[index as usize].phase else { return };
        connection.fail(error, self.now.monotonic_ms, &mut self.outbox.bytes);
        self.wrote(index, start);
        self.finish(index, CloseReason::Protocol(error), Ending::HalfClose);
    }

    /// Lets a connection be read in the next tick.
    pub(super) fn resume_later(&mut self, index: u32) {
        let entry = &mut self.table[index as usize];
        if !std::mem::replace(&mut entry.flags.resumes, true) {
            self.resume.push(ConnId { index, generation: entry.generation });
            self.unsettle();
        }
    }

    /// Whether connections are to be ended, or something is owed to those that were.
    pub(super) fn has_ends(&self) -> bool {
        !(self.closed.is_empty() && self.ended.is_empty() && self.broken.is_empty() && self.lagged.is_empty())
    }

    /// More is queued for a connection than may be: it is closed at the end of the flush.
    pub(super) fn overflow(&mut self, index: u32) {
        self.overflowed.push(index);
    }

    /// Bytes that wait for a connection, those of this tick included.
    pub(super) fn queued_len(&mut self, index: u32) -> usize {
        self.end_run();
        let entry = &self.table[index as usize];
        let queued: u32 = self.outbox.segments(entry.chain).map(|segment| segment.end - segment.start).sum();
        entry.backlog_len() + queued as usize
    }

    /// Begins the closing handshake for a reason of ours.
    pub(super) fn close_for(&mut self, conn: ConnId, reason: CloseReason, text: &str) {
        let now = self.now.monotonic_ms;
        let start = self.outbox.len();
        let Some(entry) = self.table.get_mut(conn.index as usize) else { return };
        if entry.generation != conn.generation || entry.local_reason.is_some() {
            return;
        }
        let Phase::Open(connection) = &mut entry.phase else { return };
        self.express = NOBODY;
        connection.close(reason.code(), text, now, &mut self.outbox.bytes);
        entry.local_reason = Some(Box::new(reason));
        self.wrote(conn.index, start);
        self.leave_all_topics(conn.index);
        self.arm(conn.index);
    }

    /// [`Self::clear_tick`] where there was one run and nothing else.
    #[inline]
    pub(super) fn clear_run(&mut self) {
        self.outbox.clear();
        self.tick = self.tick.wrapping_add(1);
    }

    /// Forgets the tick after everything was written or moved to backlogs.
    pub(super) fn clear_tick(&mut self) {
        if self.outbox.has_long() {
            for payload in self.outbox.clear_long() {
                self.recycle(payload);
            }
        }
        self.outbox.clear();
        self.input_until = self.config.high_water.max(1);
        if !self.dirty_topics.is_empty() {
            self.clear_topics();
        }
        self.tick = self.tick.wrapping_add(1);
    }

    /// Takes a connection out of the table.
    pub(super) fn remove(&mut self, index: u32) {
        debug_assert!(self.table[index as usize].memberships.is_empty());
        self.wheel.cancel(index);
        self.table.remove(index as usize);
        if let Some(counted) = self.peers.remove(index) {
            self.admission.left(counted, self.now.monotonic_ms);
        }
    }

    pub(super) fn insert(
        &mut self,
        generation: u32,
        phase: Phase,
        peer: SocketAddr,
        is_counted: bool,
    ) -> ConnId {
        let index = self.table.insert(Entry {
            generation,
            phase,
            chain: Chain::EMPTY,
            backlog: None,
            memberships: Vec::new(),
            local_reason: None,
            unfinished: 0,
            flags: super::entry::Flags::default(),
        }) as u32;
        self.peers.set(index, peer, is_counted);
        self.arm(index);
        ConnId { index, generation }
    }

    /// Takes a timer of the application's that is due.
    pub(super) fn pop_app_timer(&mut self) -> Option<u64> {
        let Reverse((at, ..)) = self.app_timers.peek()?;
        if *at > self.now.monotonic_ms {
            return None;
        }
        self.app_timers.pop().map(|Reverse((.., token))| token)
    }

    /// Keeps a buffer that has become free, for a while.
    pub(super) fn recycle(&mut self, buffer: Buffer) {
        if let Some(expires) = self.spare.put(buffer, self.now.monotonic_ms) {
            self.wake_by(expires);
        }
    }

    /// Looks up when the first timer fires, after some have fired.
    pub(super) fn reset_wake(&mut self) {
        let app_timer = self.app_timers.peek().map_or(Millis::MAX, |Reverse((at, ..))| *at);
        let now = self.now.monotonic_ms;
        let spare = self.spare.expire(now).unwrap_or(Millis::MAX);
        let drain = self.drain.as_ref().and_then(|drain| drain.next_at(now)).unwrap_or(Millis::MAX);
        self.wake_at = self.wheel.next_deadline().min(app_timer).min(spare).min(drain);
    }
}
