//! The end of the loop: connections are closed a few at a time, so that not everybody comes back at once.

use std::collections::VecDeque;

use super::http::phase::HttpPhase;
use super::table::{Ending, Entry, LocalReason};
use super::{Reactor, Socket};
use crate::app::{Application, CloseReason, ConnId};
use crate::proto::Millis;

/// Up to this many connections are closed at once: there is no storm to be spread.
const AT_ONCE: usize = 256;
/// Milliseconds until the next few are closed.
const STEP_MS: Millis = 20;

/// A shutdown under way.
#[derive(Debug)]
pub(super) struct Drain {
    /// Connections that are not closed yet.
    waiting: VecDeque<ConnId>,
    total: usize,
    began: Millis,
    spread_ms: Millis,
}

impl Drain {
    /// When the next connections are to be closed.
    pub(super) fn next_at(&self, now: Millis) -> Option<Millis> {
        (!self.waiting.is_empty()).then(|| now + STEP_MS)
    }

    /// How many are to be closed now, at an even pace.
    fn due(&self, now: Millis) -> usize {
        let elapsed = now - self.began + STEP_MS;
        if elapsed >= self.spread_ms {
            return self.waiting.len();
        }
        let gone = self.total - self.waiting.len();
        let due = (self.total as u64 * elapsed).div_ceil(self.spread_ms) as usize;
        due.saturating_sub(gone)
    }
}

impl<A: Application, S: Socket> Reactor<A, S> {
    /// Begins to stop: the application is told, then every connection is closed with [`Config::shutdown_code`], spread
    /// over [`Config::drain_spread_ms`] when there are many. Requests that have come are answered. The caller accepts
    /// no more (but for the operator) and ends the loop when [`Self::is_drained`] or its own deadline has passed.
    ///
    /// [`Config::shutdown_code`]: super::Config::shutdown_code
    /// [`Config::drain_spread_ms`]: super::Config::drain_spread_ms
    pub fn begin_shutdown(&mut self) {
        if self.core.drain.is_some() {
            return;
        }
        let waiting: VecDeque<ConnId> = self.handles(Entry::is_open).collect();
        let total = waiting.len();
        let spread_ms = if total <= AT_ONCE { 0 } else { self.core.config.drain_spread_ms };
        self.core.drain = Some(Drain { waiting, total, began: self.core.now.monotonic_ms, spread_ms });
        self.core.pending.drain_begins();
        self.app.on_drain(&mut self.core);
        let idle: Vec<ConnId> = self.handles(|entry| entry.http().is_some()).collect();
        for conn in idle {
            // What was sent before the end is a request under way.
            self.http_turn(conn.into());
            if self.core.table.get(conn).is_some_and(is_idle) {
                self.core.finish(conn.into(), CloseReason::Disconnected, Ending::HalfClose);
            } else if self.core.table.get(conn).is_some() {
                self.end_late_upgrade(conn.into());
            }
        }
        self.drain_some();
    }

    /// Closes those connections whose turn it is.
    pub(super) fn drain_some(&mut self) {
        let now = self.core.now.monotonic_ms;
        let Some(drain) = &mut self.core.drain else { return };
        let due = drain.due(now);
        let next: Vec<ConnId> = drain.waiting.drain(..due).collect();
        let code = self.core.config.shutdown_code;
        for conn in next {
            self.core.close_for(conn, LocalReason::Shutdown(code), "server going away");
        }
        self.core.reset_timers();
    }

    /// Whether a shutdown is complete: nobody is left but those who have sent no whole request.
    pub fn is_drained(&self) -> bool {
        self.core.drain.is_some()
            && self.core.table.open() == 0
            && self.core.table.iter().all(|(_, entry)| is_idle(entry))
    }

    /// Whether the application asked for a shutdown that has not begun.
    #[inline]
    pub fn is_drain_asked(&self) -> bool {
        self.core.pending.is_drain_asked()
    }

    fn handles(&self, is_meant: impl Fn(&Entry) -> bool) -> impl Iterator<Item = ConnId> {
        let meant = self.core.table.iter().filter(move |(_, entry)| is_meant(entry));
        meant.map(|(slot, entry)| slot.conn(entry.generation()))
    }
}

/// Not upgraded, and no request is under way.
fn is_idle(entry: &Entry) -> bool {
    entry.http().is_some_and(HttpPhase::is_idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_closed_at_an_even_pace() {
        let conn = ConnId { index: 0, generation: 0 };
        let total = 10_000;
        let waiting = std::iter::repeat_n(conn, total).collect();
        let mut drain = Drain { waiting, total, began: 500, spread_ms: 5000 };
        let mut now = 500;
        let mut most = 0;
        while let Some(next) = drain.next_at(now) {
            let due = drain.due(now);
            most = most.max(due);
            drain.waiting.drain(..due);
            now = next;
        }
        assert_eq!(most, 40, "an even share of each step");
        assert!((5400..=5520).contains(&now), "{now}");
    }
}
