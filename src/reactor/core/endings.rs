//! All ways in which a connection ends.
//!
//! ```text
//!                 turned away, answered for the last time,
//!                 FIN, error or deadline before the upgrade
//!   Http ───────────────────────────────────────────────────┐
//!    │ upgrade                                               │
//!    ▼         close_for                                     │ finish
//!   Open ───────────────▶ Open, our Close is queued          │
//!    │                        │ peer's Close, its deadline   │
//!    │ peer's Close, fail,    │                              │
//!    │ peer_ended, break_off, │                              │
//!    │ drop_slow, timeouts    │                              │
//!    └────────────────────────┴──────────────────────────────┤
//!                                                            ▼
//!      HalfClose ── all is written: FIN ──▶ Linger ── peer's FIN ──▶ Drop
//!          │                                  │                       │
//!          │ deadline, error                  │ deadline, error       │ all is written, deadline, error
//!          ▼                                  ▼                       ▼
//!        ──────────────────────────── removed ───────────────────────────
//! ```
//!
//! `on_close` comes once, after [`Core::finish`] of a connection that was open: nothing can be sent to it any more, and the
//! rest is the business of TCP alone ([`Reactor::step_end`], at the end of a tick).

use super::Core;
use crate::app::{Application, CloseReason, Closed, ConnId};
use crate::proto::ProtocolError;
use crate::reactor::Reactor;
use crate::reactor::http::phase::HttpPhase;
use crate::reactor::slot::Slot;
use crate::reactor::socket::Socket;
use crate::reactor::table::{Ending, LocalReason, Phase};

impl Core {
    /// Begins the closing handshake for a reason of ours.
    pub(crate) fn close_for(&mut self, conn: ConnId, reason: LocalReason, text: &str) {
        let now = self.now.monotonic_ms;
        let Some(entry) = self.table.get_mut(conn) else { return };
        if !entry.is_open() || !entry.begin_close(reason) {
            return;
        }
        let code = CloseReason::from(reason).code();
        self.queue(conn, |connection, out| connection.close(code, text, now, out));
        self.output.leave_all_topics(&mut self.table, conn.into());
        self.arm(conn.into());
    }

    /// Fails the connection (RFC 6455 7.1.7).
    #[cold]
    pub(crate) fn fail(&mut self, slot: Slot, error: ProtocolError) {
        let now = self.now.monotonic_ms;
        let conn = self.table.conn(slot);
        if self.queue(conn, |connection, out| connection.fail(error, now, out)).is_some() {
            self.finish(slot, CloseReason::Protocol(error), Ending::HalfClose);
        }
    }

    /// The peer sent FIN: it will not send more, so there is no one left to serve. Answers to what it sent before
    /// still go out.
    pub(crate) fn peer_ended(&mut self, slot: Slot) {
        match self.table[slot].phase() {
            Phase::Ending { ending: Ending::Linger | Ending::HalfClose, .. } => {
                self.table[slot].change_ending(Ending::Drop);
                self.pending.end_later(slot);
            }
            Phase::Ending { .. } => {}
            Phase::Http(_) | Phase::Open(_) => {
                self.finish(slot, CloseReason::Disconnected, Ending::Drop);
            }
        }
    }

    /// The TCP connection failed: what was queued is void.
    pub(crate) fn break_off(&mut self, slot: Slot) {
        self.give_up(slot, CloseReason::Disconnected);
    }

    /// Lets go of a connection for which too much waits, or for too long: there is no room for a Close.
    pub(crate) fn drop_slow(&mut self, slot: Slot) {
        self.give_up(slot, CloseReason::SlowConsumer);
        self.table[slot].outbound.drop_queue();
    }

    /// Ends a connection whose socket is closed at the end of the tick, written or not.
    pub(crate) fn give_up(&mut self, slot: Slot, reason: CloseReason) {
        self.finish(slot, reason, Ending::Drop);
        self.table.end(slot, Ending::Drop, 0);
    }

    /// Ends a connection towards the application, once; the TCP connection follows at the end of the tick.
    pub(crate) fn finish(&mut self, slot: Slot, reason: CloseReason, ending: Ending) {
        let now = self.now.monotonic_ms;
        self.output.leave_fast_path(&mut self.table);
        let queued = self.output.queued_len(&mut self.table, slot);
        self.output.leave_all_topics(&mut self.table, slot);
        let entry = &mut self.table[slot];
        let mut until = now + self.proto.timeouts.close_ms;
        let local_reason = entry.local_reason();
        match entry.phase() {
            // The closing handshake and the linger share one deadline.
            Phase::Open(_) if local_reason.is_some() => {
                until = entry.phase_deadline().unwrap_or(until).min(until);
            }
            Phase::Ending { until: earlier, .. } => until = *earlier,
            Phase::Http(_) | Phase::Open(_) => {}
        }
        self.intake.forget(slot, entry);
        let is_awaited = entry.http().and_then(HttpPhase::awaited).is_some_and(|awaited| awaited.is_late);
        let conn = self.table.conn(slot);
        if is_awaited {
            self.end_late();
            self.pending.owe_abandoned(conn);
        }
        if let Some(connection) = self.table.end(slot, ending, until) {
            let reason = local_reason.map_or(reason, CloseReason::from);
            self.counts.closes.count(reason.kind());
            let peer = self.table.address(slot);
            let silent_ms = connection.silent_ms(now);
            self.pending.owe_close(conn, Closed { reason, peer, silent_ms, queued });
        }
        self.pending.end_later(slot);
        self.arm_at(slot, until);
    }

    /// Closes the connections for which the flush had more than may wait. `false`: there are none.
    pub(crate) fn close_overflowed(&mut self) -> bool {
        let overflowed = self.output.take_overflowed();
        for &slot in &overflowed {
            self.close_for(self.table.conn(slot), LocalReason::SlowConsumer, "slow consumer");
        }
        !overflowed.is_empty()
    }

    /// Drops connections, those with the longest queues first, while all queues together are above their limit.
    pub(crate) fn shed(&mut self) {
        if self.output.queued_bytes() <= self.config.max_queued {
            return;
        }
        let queues = self.table.iter().map(|(slot, entry)| (entry.outbound.backlog_len(), slot));
        let mut queues: Vec<(usize, Slot)> = queues.filter(|(len, _)| *len > 0).collect();
        queues.sort_unstable_by(|a, b| b.cmp(a));
        for (_, slot) in queues {
            if self.output.queued_bytes() <= self.config.max_queued {
                break;
            }
            self.drop_slow(slot);
        }
    }
}

impl<A: Application, S: Socket> Reactor<A, S> {
    /// Takes a connection whose work for the application is over a step further towards its end.
    pub(crate) fn step_end(&mut self, slot: Slot) {
        let Some(entry) = self.core.table.at(slot) else { return };
        let Phase::Ending { ending, until } = *entry.phase() else { return };
        let is_late = until <= self.core.now.monotonic_ms;
        // What a callback or a failure queued is written first.
        if entry.outbound.is_dirty() {
            return self.core.pending.end_later(slot);
        }
        if !is_late && (entry.outbound.has_backlog() || self.sockets.owes_output(slot)) {
            return;
        }
        match ending {
            Ending::HalfClose if !is_late => self.half_close(slot),
            Ending::Linger if !is_late => {}
            Ending::HalfClose | Ending::Linger | Ending::Drop => self.remove(slot),
        }
    }

    fn remove(&mut self, slot: Slot) {
        self.sockets.close(slot);
        self.core.timers.cancel(slot);
        self.core.table.remove(slot, self.core.now.monotonic_ms);
    }

    fn half_close(&mut self, slot: Slot) {
        let entry = &mut self.core.table[slot];
        entry.change_ending(Ending::Linger);
        let has_fin = entry.inbound.has_fin();
        if self.sockets.get_mut(slot).is_some_and(|socket| socket.shutdown_write().is_err()) {
            self.remove(slot);
        } else if has_fin {
            // The peer's FIN may be behind octets that nobody has read.
            self.core.resume_later(slot);
        }
    }
}
