//! What callbacks can reach.

mod answer;
mod context;
mod endings;

use std::sync::Arc;

use super::Config;
use super::drain::Drain;
use super::http::phase::HttpPhase;
use super::input::intake::Intake;
use super::output::Output;
use super::pending::Pending;
use super::slot::Slot;
use super::stats::TickTimes;
use super::table::{Entry, SharedLimits, Table};
use super::timers::Timers;
use crate::app::{Closes, ConnId, Durations, Now, ProxyHeaders, Refusals, Requests, Stats, Upgrades};
use crate::proto::{Connection, MaskingKeys, Millis, ProtoConfig};

/// What was counted about requests and ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) upgrades: Upgrades,
    pub(super) refusals: Refusals,
    pub(super) requests: Requests,
    pub(super) proxy_headers: ProxyHeaders,
    handshakes: Durations,
    closes: Closes,
    input_pauses: u64,
}

/// The state of the loop without its sockets and its application: one owner for each part of it, and what concerns several of
/// them at once.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) proto: Arc<ProtoConfig>,
    pub(super) now: Now,
    pub(super) table: Table,
    pub(super) intake: Intake,
    pub(super) output: Output,
    pub(super) timers: Timers,
    pub(super) pending: Pending,
    pub(super) drain: Option<Drain>,
    pub(super) counts: Counts,
    /// Requests whose answer comes later.
    late: usize,
    shared: SharedLimits,
    pub(super) tick_times: TickTimes,
    random: MaskingKeys,
}

impl Core {
    pub(super) fn new(config: Config, seed: u64, now: Now, shared: SharedLimits) -> Self {
        Self {
            proto: Arc::new(config.proto.clone()),
            now,
            table: Table::new(&config, shared.clone()),
            intake: Intake::new(config.max_unfinished),
            output: Output::new(&config),
            timers: Timers::new(),
            pending: Pending::new(),
            drain: None,
            counts: Counts::default(),
            late: 0,
            shared,
            tick_times: TickTimes::default(),
            random: MaskingKeys::Seeded(seed),
            config,
        }
    }

    /// Puts a connection on the fast path, if all holds that it demands; see [`Output`]. It may have had a turn before.
    pub(super) fn enter_fast_path(&mut self, conn: ConnId) {
        self.output.gather(&mut self.table);
        self.output.enter_fast_path(conn, self.is_fast(conn));
    }

    /// Before input of a connection is taken: what waits for it counts among what its input may queue.
    pub(super) fn limit_input(&mut self, conn: ConnId) {
        let waiting = self.table.get(conn).map_or(0, |entry| entry.outbound.backlog_len());
        self.output.limit_input(waiting);
    }

    /// What the fast path demands of a connection.
    pub(super) fn is_fast(&self, conn: ConnId) -> bool {
        let is_fast = |entry: &Entry| {
            !entry.outbound.has_backlog() && entry.connection().is_some_and(Connection::sends_fast)
        };
        self.table.get(conn).is_some_and(is_fast)
    }

    /// Looks at a connection again at its next deadline.
    pub(super) fn arm(&mut self, slot: Slot) {
        if let Some(deadline) = self.table[slot].deadline(self.config.max_queue_age_ms) {
            self.arm_at(slot, deadline);
        }
    }

    fn arm_at(&mut self, slot: Slot, deadline: Millis) {
        if self.timers.arm(slot, deadline) {
            self.pending.note_work();
        }
    }

    /// Lets a connection be read in the next tick.
    pub(super) fn resume_later(&mut self, slot: Slot) {
        self.pending.resume_later(slot, &mut self.table[slot]);
    }

    /// A handshake below HTTP is complete, on a connection whose first request must be there by `deadline`.
    pub(super) fn note_handshake(&mut self, deadline: Millis) {
        let arrived = deadline - self.proto.timeouts.handshake_ms;
        self.counts.handshakes.note((self.now.monotonic_ms - arrived) * 1000);
    }

    /// Counts what a connection keeps of an unfinished message and arms its deadline.
    #[inline]
    pub(super) fn note_unfinished(&mut self, slot: Slot) {
        match self.intake.count_unfinished(&mut self.table[slot]) {
            Ok(false) => {}
            Ok(true) => self.arm(slot),
            Err(error) => self.fail(slot, error),
        }
    }

    /// Keeps the rest of a connection's input for the next tick.
    #[cold]
    pub(super) fn park(&mut self, slot: Slot, octets: &[u8]) {
        let parked = self.intake.park(slot, &mut self.table[slot], octets);
        self.resume_later(slot);
        if let Err(error) = parked {
            self.fail(slot, error);
        }
    }

    /// Whether so much waits for peers that new upgrades are refused and connections for which something waits are not read.
    fn is_crowded(&self) -> bool {
        self.output.queued_bytes() > self.config.max_queued / 4 * 3
    }

    /// Takes a place for another upgraded connection, if there is room for one.
    pub(super) fn take_place(&self) -> bool {
        !self.is_crowded() && self.table.take_place()
    }

    /// The answer to one more request comes later. `false`: there are too many of these.
    pub(super) fn begin_late(&mut self) -> bool {
        self.late += 1;
        self.shared.add_late() <= self.config.max_late
    }

    /// A request whose answer was to come later is answered, or nobody waits for the answer any more.
    pub(super) fn end_late(&mut self) {
        self.late -= 1;
        self.shared.remove_late();
    }

    /// Looks up when the first timer fires, after some have fired.
    pub(super) fn reset_timers(&mut self) {
        let now = self.now.monotonic_ms;
        let buffers = self.output.expire_buffers(now);
        let drain = self.drain.as_ref().and_then(|drain| drain.next_at(now));
        self.timers.reset(buffers.into_iter().chain(drain));
    }

    /// The counters, and what the loop holds at the moment.
    pub(super) fn stats_now(&self) -> Stats {
        let mut stats = Stats {
            connections: self.table.len(),
            open: self.table.open(),
            accepted: self.table.accepted(),
            upgrades: self.counts.upgrades,
            refusals: self.counts.refusals,
            requests: self.counts.requests,
            proxy_headers: self.counts.proxy_headers,
            handshakes: self.counts.handshakes,
            closes: self.counts.closes,
            input_pauses: self.counts.input_pauses,
            messages_in: self.intake.messages,
            bytes_in: self.intake.bytes,
            queued_connections: self.table.iter().filter(|(_, entry)| entry.outbound.has_backlog()).count(),
            ..Stats::default()
        };
        self.output.count_into(&mut stats);
        self.tick_times.count_into(&mut stats);
        stats
    }

    /// Whether everything that must hold between ticks does.
    pub(super) fn check(&self) {
        self.table.check();
        let late =
            |entry: &Entry| entry.http().and_then(HttpPhase::awaited).is_some_and(|awaited| awaited.is_late);
        assert_eq!(self.late, self.table.iter().filter(|(_, entry)| late(entry)).count(), "late answers");
        self.intake.check(&self.table);
        self.output.check(&self.table);
        self.pending.check(&self.table);
        let max_queue_age = self.config.max_queue_age_ms;
        let deadline = |(slot, entry): (Slot, &Entry)| entry.deadline(max_queue_age).map(|at| (slot, at));
        // A connection that was given up has a deadline of 0, for which nothing is armed.
        if !self.pending.has_ends() {
            self.timers.check(self.table.iter().filter_map(deadline));
        }
    }

    /// As [`Output::append`], for an open connection. `None`: it is not open (any more).
    pub(super) fn queue<R>(
        &mut self,
        conn: ConnId,
        write: impl FnOnce(&mut Connection, &mut Vec<u8>) -> R,
    ) -> Option<R> {
        self.table.get(conn).filter(|entry| entry.is_open())?;
        let write = |entry: &mut Entry, out: &mut Vec<u8>| Some(write(entry.connection_mut()?, out));
        self.output.append(&mut self.table, conn.into(), write)
    }
}
