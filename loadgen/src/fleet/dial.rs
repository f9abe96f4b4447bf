//! Who is dialled when: at a rate, and never so many at once that a listen backlog overflows. Pure.

use std::collections::VecDeque;

use crate::clock::Nanos;
use crate::schedule::Beat;

/// Counts connections from the first attempt to the end of the opening handshake.
#[derive(Debug)]
pub(super) struct Dialer {
    beat: Beat,
    has_rate: bool,
    /// Dials of the present beat.
    started: u64,
    /// Who is to be dialled, and since when.
    waiting: VecDeque<(u32, Nanos)>,
    burst: u32,
    under_way: u32,
}

impl Dialer {
    /// A dialer that lets `burst` opening handshakes be under way at once.
    pub(super) fn new(burst: u32) -> Self {
        Self {
            beat: Beat::new(0, f64::INFINITY),
            has_rate: false,
            started: 0,
            waiting: VecDeque::new(),
            burst,
            under_way: 0,
        }
    }

    /// From now on `rate` dials per second; infinite: as fast as they are answered.
    pub(super) fn set_rate(&mut self, rate: f64, now: Nanos) {
        self.beat = Beat::new(now, rate);
        self.has_rate = rate.is_finite();
        self.started = 0;
    }

    /// `lane` is to be dialled.
    pub(super) fn push(&mut self, lane: u32, now: Nanos) {
        self.waiting.push_back((lane, now));
    }

    /// The next to be dialled at `now`, and the instant at which that was planned: by the rate or, without one, the
    /// instant since which it waits.
    pub(super) fn next(&mut self, now: Nanos) -> Option<(u32, Nanos)> {
        if self.under_way == self.burst || self.waiting.is_empty() || self.started >= self.beat.due(now) {
            return None;
        }
        let (lane, since) = self.waiting.pop_front()?;
        let planned = if self.has_rate { self.beat.planned(self.started) } else { since };
        self.started += 1;
        self.under_way += 1;
        Some((lane, planned))
    }

    /// An opening handshake ended, well or not.
    pub(super) fn settled(&mut self) {
        self.under_way -= 1;
    }

    /// Dials nobody any more; gives who was never dialled.
    pub(super) fn give_up(&mut self) -> VecDeque<(u32, Nanos)> {
        std::mem::take(&mut self.waiting)
    }

    /// Dials that the rate had planned by `now`, and that did not begin because nobody was free.
    pub(super) fn overdue(&self, now: Nanos) -> u64 {
        if self.has_rate { self.beat.due(now).saturating_sub(self.started) } else { 0 }
    }

    /// Connections whose opening handshake has not ended.
    pub(super) fn awaited(&self) -> u32 {
        self.waiting.len() as u32 + self.under_way
    }

    /// Opening handshakes under way.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way
    }

    /// When the rate alone allows the next one.
    pub(super) fn next_at(&self) -> Option<Nanos> {
        let waits_for_rate = !self.waiting.is_empty() && self.under_way < self.burst && self.has_rate;
        waits_for_rate.then(|| self.beat.planned(self.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(lanes: u32, burst: u32) -> Dialer {
        let mut dialer = Dialer::new(burst);
        (0..lanes).for_each(|lane| dialer.push(lane, 3));
        dialer
    }

    #[test]
    fn the_burst_bounds_what_is_under_way() {
        let mut dialer = dialer(5, 2);
        assert_eq!((dialer.next(5), dialer.next(5), dialer.next(5)), (Some((0, 3)), Some((1, 3)), None));
        assert_eq!((dialer.awaited(), dialer.next_at()), (5, None));
        dialer.settled();
        assert_eq!((dialer.next(5), dialer.next(5)), (Some((2, 3)), None));
        assert_eq!((dialer.give_up().len(), dialer.awaited()), (2, 2));
        dialer.settled();
        dialer.settled();
        assert_eq!((dialer.next(5), dialer.awaited()), (None, 0));
    }

    #[test]
    fn the_rate_spreads_them() {
        let mut dialer = dialer(10, 10);
        dialer.set_rate(1000.0, 7);
        assert_eq!((dialer.next(7), dialer.next(7)), (Some((0, 7)), None));
        assert_eq!(dialer.next_at(), Some(1_000_007));
        assert_eq!((dialer.next(1_000_006), dialer.next(1_000_007)), (None, Some((1, 1_000_007))));
    }

    #[test]
    fn whoever_comes_free_late_takes_the_place_that_was_planned() {
        let mut dialer = dialer(1, 10);
        dialer.set_rate(1000.0, 0);
        assert_eq!(dialer.next(0), Some((0, 0)));
        assert_eq!(dialer.next(5_000_000), None);
        dialer.settled();
        dialer.push(0, 5_500_000);
        assert_eq!((dialer.next(5_500_000), dialer.overdue(5_500_000)), (Some((0, 1_000_000)), 4));
    }
}
