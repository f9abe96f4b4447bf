//! When each connection is dialled: at a rate, and with a limit on the handshakes in progress, so that no listen backlog
//! overflows. Pure.

use std::collections::VecDeque;

use crate::clock::Nanos;
use crate::run::schedule::Timeline;

/// An empty queue with a larger capacity is freed.
const MAX_KEPT: usize = 1024;

/// A connection to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) place: u32,
    /// The place of the server among the destinations of the plan.
    pub(super) server: u16,
    /// The planned instant: by the rate or, without one, the instant of the request.
    pub(super) planned: Nanos,
}

/// A queue of connections to dial, and the number of opening handshakes in progress.
#[derive(Debug)]
pub(super) struct Dialer {
    dials: Timeline,
    has_rate: bool,
    /// Dials since the rate was set.
    started: u64,
    waiting: VecDeque<Dial>,
    burst: u32,
    under_way: u32,
}

impl Dialer {
    /// `burst`: limit on the opening handshakes in progress.
    pub(super) fn new(burst: u32) -> Self {
        Self {
            dials: Timeline::steady(0, f64::INFINITY),
            has_rate: false,
            started: 0,
            waiting: VecDeque::new(),
            burst,
            under_way: 0,
        }
    }

    /// Sets the instants of the next dials.
    pub(super) fn set_dials(&mut self, dials: Timeline) {
        self.has_rate = dials.is_paced();
        self.dials = dials;
        self.started = 0;
    }

    /// Queues a connection.
    pub(super) fn push(&mut self, place: u32, server: u16, now: Nanos) {
        self.waiting.push_back(Dial { place, server, planned: now });
    }

    /// The next connection to dial at `now`.
    pub(super) fn next(&mut self, now: Nanos) -> Option<Dial> {
        if self.under_way == self.burst || self.waiting.is_empty() || self.started >= self.dials.due(now) {
            return None;
        }
        let dial = self.waiting.pop_front()?;
        if self.waiting.is_empty() && self.waiting.capacity() > MAX_KEPT {
            // All are dialled; a run may hold them for hours.
            self.waiting = VecDeque::new();
        }
        let planned = if self.has_rate { self.dials.planned(self.started)? } else { dial.planned };
        self.started += 1;
        self.under_way += 1;
        Some(Dial { planned, ..dial })
    }

    /// An opening handshake ended, with or without success.
    pub(super) fn handshake_ended(&mut self) {
        self.under_way -= 1;
    }

    /// Empties the queue; returns the connections in it.
    pub(super) fn give_up(&mut self) -> VecDeque<Dial> {
        std::mem::take(&mut self.waiting)
    }

    /// Dials that the rate had planned by `now` and that did not begin because no connection was free.
    pub(super) fn overdue(&self, now: Nanos) -> u64 {
        if self.has_rate { self.dials.due(now).saturating_sub(self.started) } else { 0 }
    }

    /// Connections that are queued or in their opening handshake.
    pub(super) fn awaited(&self) -> u32 {
        self.waiting.len() as u32 + self.under_way
    }

    /// Opening handshakes in progress.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way
    }

    /// The instant at which the rate allows the next dial, if only the rate delays it.
    pub(super) fn next_at(&self) -> Option<Nanos> {
        let waits_for_rate = !self.waiting.is_empty() && self.under_way < self.burst && self.has_rate;
        if waits_for_rate { self.dials.planned(self.started) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(lanes: u32, burst: u32) -> Dialer {
        let mut dialer = Dialer::new(burst);
        (0..lanes).for_each(|place| dialer.push(place, 0, 3));
        dialer
    }

    fn at(place: u32, planned: Nanos) -> Dial {
        Dial { place, server: 0, planned }
    }

    #[test]
    fn the_burst_bounds_what_is_under_way() {
        let mut dialer = dialer(5, 2);
        assert_eq!((dialer.next(5), dialer.next(5), dialer.next(5)), (Some(at(0, 3)), Some(at(1, 3)), None));
        assert_eq!((dialer.awaited(), dialer.next_at()), (5, None));
        dialer.handshake_ended();
        assert_eq!((dialer.next(5), dialer.next(5)), (Some(at(2, 3)), None));
        assert_eq!((dialer.give_up().len(), dialer.awaited()), (2, 2));
        dialer.handshake_ended();
        dialer.handshake_ended();
        assert_eq!((dialer.next(5), dialer.awaited()), (None, 0));
    }

    #[test]
    fn the_rate_spreads_them() {
        let mut dialer = dialer(10, 10);
        dialer.set_dials(Timeline::steady(7, 1000.0));
        assert_eq!((dialer.next(7), dialer.next(7)), (Some(at(0, 7)), None));
        assert_eq!(dialer.next_at(), Some(1_000_007));
        assert_eq!((dialer.next(1_000_006), dialer.next(1_000_007)), (None, Some(at(1, 1_000_007))));
    }

    #[test]
    fn a_connection_that_is_free_late_takes_the_earliest_planned_dial() {
        let mut dialer = dialer(1, 10);
        dialer.set_dials(Timeline::steady(0, 1000.0));
        assert_eq!(dialer.next(0), Some(at(0, 0)));
        assert_eq!(dialer.next(5_000_000), None);
        dialer.handshake_ended();
        dialer.push(0, 0, 5_500_000);
        assert_eq!((dialer.next(5_500_000), dialer.overdue(5_500_000)), (Some(at(0, 1_000_000)), 4));
    }
}
