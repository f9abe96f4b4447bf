//! Who is dialled when: at a rate, and never so many at once that a listen backlog overflows. Pure.

use crate::clock::Nanos;
use crate::schedule::Beat;

/// Counts connections from the first attempt to the end of the opening handshake.
#[derive(Debug)]
pub(super) struct Dialer {
    beat: Beat,
    total: u32,
    burst: u32,
    started: u32,
    under_way: u32,
}

impl Dialer {
    pub(super) fn new(total: u32, rate: f64, burst: u32, now: Nanos) -> Self {
        Self { beat: Beat::new(now, rate), total, burst, started: 0, under_way: 0 }
    }

    /// The number of the next connection, if it may be dialled at `now`.
    pub(super) fn next(&mut self, now: Nanos) -> Option<u32> {
        let is_due = u64::from(self.started) < self.beat.due(now);
        if self.started == self.total || self.under_way == self.burst || !is_due {
            return None;
        }
        self.started += 1;
        self.under_way += 1;
        Some(self.started - 1)
    }

    /// An opening handshake ended, well or not.
    pub(super) fn settled(&mut self) {
        self.under_way -= 1;
    }

    /// Dials nobody any more; gives how many were never dialled.
    pub(super) fn give_up(&mut self) -> u32 {
        let never = self.total - self.started;
        self.total = self.started;
        never
    }

    /// Connections whose opening handshake has not ended.
    pub(super) fn awaited(&self) -> u32 {
        self.total - self.started + self.under_way
    }

    /// When the rate alone allows the next one.
    pub(super) fn next_at(&self) -> Option<Nanos> {
        let waits_for_rate = self.started < self.total && self.under_way < self.burst;
        waits_for_rate.then(|| self.beat.planned(self.started.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_bounds_what_is_under_way() {
        let mut dialer = Dialer::new(5, f64::INFINITY, 2, 0);
        assert_eq!((dialer.next(0), dialer.next(0), dialer.next(0)), (Some(0), Some(1), None));
        assert_eq!((dialer.awaited(), dialer.next_at()), (5, None));
        dialer.settled();
        assert_eq!((dialer.next(0), dialer.next(0)), (Some(2), None));
        assert_eq!((dialer.give_up(), dialer.awaited()), (2, 2));
        dialer.settled();
        dialer.settled();
        assert_eq!((dialer.next(0), dialer.awaited()), (None, 0));
    }

    #[test]
    fn the_rate_spreads_them() {
        let mut dialer = Dialer::new(10, 1000.0, 10, 7);
        assert_eq!((dialer.next(7), dialer.next(7)), (Some(0), None));
        assert_eq!(dialer.next_at(), Some(1_000_007));
        assert_eq!((dialer.next(1_000_006), dialer.next(1_000_007)), (None, Some(1)));
    }
}
