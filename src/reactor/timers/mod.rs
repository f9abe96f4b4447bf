//! What is due, and when.

mod wheel;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use self::wheel::Wheel;
use super::slot::Slot;
use crate::proto::Millis;

/// A timer of the application: when, in which order it was set, its token.
type AppTimer = Reverse<(Millis, u64, u64)>;

/// Owns all deadlines: one for each connection, those of the application, and one of the loop itself. [`Self::next`] is the
/// first of them or before; what sets an earlier one returns `true`, since the caller's wait must then be shorter.
#[derive(Debug)]
pub(super) struct Timers {
    wheel: Wheel,
    app: BinaryHeap<AppTimer>,
    /// Timers that the application has set so far: those for one instant fire in this order.
    set: u64,
    /// When the first timer fires, or before; [`Millis::MAX`] when none is set.
    next: Millis,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { wheel: Wheel::new(), app: BinaryHeap::new(), set: 0, next: Millis::MAX }
    }

    /// When the first timer fires, or before; [`Millis::MAX`] when none is set.
    #[inline]
    pub(super) fn next(&self) -> Millis {
        self.next
    }

    /// A connection is looked at when `deadline` comes, or before.
    #[must_use]
    pub(super) fn arm(&mut self, slot: Slot, deadline: Millis) -> bool {
        self.wheel.arm(slot.index() as u32, deadline);
        self.wake_by(self.wheel.next_deadline())
    }

    /// A connection is gone.
    pub(super) fn cancel(&mut self, slot: Slot) {
        self.wheel.cancel(slot.index() as u32);
    }

    /// Sets a timer of the application.
    #[must_use]
    pub(super) fn set(&mut self, at: Millis, token: u64) -> bool {
        self.set += 1;
        self.app.push(Reverse((at, self.set, token)));
        self.wake_by(at)
    }

    /// The loop itself has something to do at `at`.
    #[must_use]
    pub(super) fn wake_by(&mut self, at: Millis) -> bool {
        let is_earlier = at < self.next;
        self.next = self.next.min(at);
        is_earlier
    }

    /// Appends to `fired` the connections that are to be looked at; none of them is armed any more.
    pub(super) fn take_fired(&mut self, now: Millis, fired: &mut Vec<Slot>) {
        self.wheel.advance(now, |index| fired.push(Slot::new(index as usize)));
    }

    /// The token of a timer of the application that is due.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<u64> {
        let Reverse((at, ..)) = self.app.peek()?;
        if *at > now {
            return None;
        }
        self.app.pop().map(|Reverse((.., token))| token)
    }

    /// Looks up when the first timer fires after some have fired. The loop itself has something to do at `own`.
    pub(super) fn reset(&mut self, own: impl Iterator<Item = Millis>) {
        let app = self.app.peek().map(|Reverse((at, ..))| *at);
        let next = own.chain(app).min().unwrap_or(Millis::MAX);
        self.next = next.min(self.wheel.next_deadline());
    }

    /// Whether everything that is due by `deadline` wakes the loop by then; `deadlines` are those of the connections.
    pub(super) fn check(&self, deadlines: impl Iterator<Item = (Slot, Millis)>) {
        self.wheel.check();
        for (slot, deadline) in deadlines {
            let is_armed = self.wheel.is_armed(slot.index() as u32, deadline);
            assert!(is_armed, "{slot:?} is not armed for {deadline}");
        }
        let app = self.app.peek().map_or(Millis::MAX, |Reverse((at, ..))| *at);
        assert!(self.next <= app.min(self.wheel.next_deadline()), "the loop wakes up too late");
    }
}
