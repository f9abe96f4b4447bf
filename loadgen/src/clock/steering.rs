//! Schedule time: what a person does to the rate of a running flood. Pure: time is an argument.
//!
//! A schedule is computed as if nobody intervened. Steering maps its instants to those of the clock: in a pause schedule
//! time stands still, and at a rate of 150 % it runs one and a half times as fast.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Nanos;

/// Limit on the changes of one run.
pub(crate) const MAX_CHANGES: usize = 256;
/// Limits on the speed, as a multiple of the planned one.
const MIN_SPEED: f64 = 1.0 / 64.0;
const MAX_SPEED: f64 = 64.0;

/// From an instant on, schedule time runs at this speed.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: Nanos,
    /// Schedule time at that instant.
    schedule: f64,
    speed: f64,
}

/// The changes of one run, for all threads. Reading takes no lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steering(Arc<Changes>);

#[derive(Debug)]
struct Changes {
    all: Box<[OnceLock<Change>]>,
    count: AtomicUsize,
    /// The speed to go back to after a pause.
    resumes_at: Mutex<f64>,
}

impl Default for Changes {
    fn default() -> Self {
        let all = (0..MAX_CHANGES).map(|_| OnceLock::new()).collect();
        Self { all, count: AtomicUsize::new(0), resumes_at: Mutex::new(1.0) }
    }
}

/// Two schedules are steered alike if it is by the same hand.
impl PartialEq for Steering {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Steering {
    /// Multiplies the speed, within its limits. In a pause, the new speed is that after it.
    pub(crate) fn multiply(&self, now: Nanos, factor: f64) {
        let mut speed = self.0.resumes_at.lock().unwrap_or_else(PoisonError::into_inner);
        *speed = (*speed * factor).clamp(MIN_SPEED, MAX_SPEED);
        if !self.is_paused() {
            self.push(now, *speed);
        }
    }

    /// Stops schedule time, or lets it go on.
    pub(crate) fn pause_or_resume(&self, now: Nanos) {
        let speed = self.0.resumes_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.push(now, if self.is_paused() { *speed } else { 0.0 });
    }

    /// Whether schedule time stands still.
    pub(crate) fn is_paused(&self) -> bool {
        self.newest().is_some_and(|change| change.speed == 0.0)
    }

    /// The multiple of the planned rate; 0 in a pause.
    pub(crate) fn speed(&self) -> f64 {
        self.newest().map_or(1.0, |change| change.speed)
    }

    /// Number of changes.
    pub(crate) fn changes(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// How long schedule time stood still until `end`.
    pub(crate) fn paused(&self, end: Nanos) -> Nanos {
        let changes: Vec<Change> = (0..self.changes()).filter_map(|i| self.get(i)).collect();
        let ends = changes.iter().skip(1).map(|change| change.at).chain([end]);
        let pauses = changes.iter().zip(ends).filter(|(change, _)| change.speed == 0.0);
        pauses.map(|(change, until)| until.saturating_sub(change.at)).sum()
    }

    /// Schedule time at an instant of the clock.
    #[inline]
    pub(crate) fn schedule_of(&self, now: Nanos) -> Nanos {
        if self.changes() == 0 { now } else { self.steered_schedule(now) }
    }

    /// The first instant of the clock at which schedule time is `schedule`; `None`: it does not come so far.
    #[inline]
    pub(crate) fn instant_of(&self, schedule: Nanos) -> Option<Nanos> {
        if self.changes() == 0 { Some(schedule) } else { self.steered_instant(schedule) }
    }

    #[cold]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "2^53 ns are 104 days, above the longest run"
    )]
    fn steered_schedule(&self, now: Nanos) -> Nanos {
        let Some(change) = self.last_that(|change| change.at <= now) else { return now };
        (change.schedule + (now - change.at) as f64 * change.speed) as Nanos
    }

    #[cold]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "2^53 ns are 104 days, above the longest run"
    )]
    fn steered_instant(&self, schedule: Nanos) -> Option<Nanos> {
        let wanted = schedule as f64;
        // At the end of a pause the same schedule time comes again: the first instant counts.
        let Some(change) = self.last_that(|change| change.schedule < wanted) else {
            return Some(schedule);
        };
        let wait = (wanted - change.schedule) / change.speed;
        (change.speed > 0.0).then(|| change.at + wait.ceil() as Nanos)
    }

    /// The last change of those at the beginning that satisfy a condition.
    fn last_that(&self, holds: impl Fn(&Change) -> bool) -> Option<Change> {
        let (mut low, mut high) = (0, self.changes());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.get(middle).is_some_and(|change| holds(&change)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).and_then(|i| self.get(i))
    }

    fn newest(&self) -> Option<Change> {
        self.changes().checked_sub(1).and_then(|i| self.get(i))
    }

    fn get(&self, i: usize) -> Option<Change> {
        self.0.all.get(i)?.get().copied()
    }

    /// Changes the speed. The caller holds the lock, so changes come one after another.
    #[expect(clippy::cast_precision_loss, reason = "2^53 ns are 104 days, above the longest run")]
    fn push(&self, now: Nanos, speed: f64) {
        let count = self.changes();
        let before = self.newest();
        let at = before.map_or(now, |before| now.max(before.at));
        let schedule =
            before.map_or(at as f64, |before| before.schedule + (at - before.at) as f64 * before.speed);
        if let Some(slot) = self.0.all.get(count) {
            // Cannot be set: slots are filled in order.
            let _ = slot.set(Change { at, schedule, speed });
            self.0.count.store(count + 1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    #[test]
    fn nobody_intervenes() {
        let steering = Steering::default();
        assert_eq!((steering.schedule_of(7), steering.instant_of(7)), (7, Some(7)));
        assert!(!steering.is_paused() && steering.paused(SECOND) == 0);
    }

    #[test]
    fn a_pause_stops_the_schedule_and_a_speed_stretches_it() {
        let steering = Steering::default();
        steering.pause_or_resume(10 * SECOND);
        assert!(steering.is_paused());
        assert_eq!(steering.schedule_of(15 * SECOND), 10 * SECOND);
        assert_eq!(
            (steering.instant_of(10 * SECOND), steering.instant_of(10 * SECOND + 1)),
            (Some(10 * SECOND), None)
        );
        // The new speed is that after the pause.
        steering.multiply(12 * SECOND, 2.0);
        steering.pause_or_resume(20 * SECOND);
        assert!(!steering.is_paused());
        assert_eq!(steering.schedule_of(21 * SECOND), 12 * SECOND);
        assert_eq!(steering.instant_of(12 * SECOND), Some(21 * SECOND));
        steering.multiply(22 * SECOND, 0.25);
        assert_eq!(steering.schedule_of(26 * SECOND), 16 * SECOND);
        assert_eq!((steering.paused(30 * SECOND), steering.changes()), (10 * SECOND, 3));
    }

    #[test]
    fn instants_and_schedule_agree() {
        let steering = Steering::default();
        for (i, factor) in [2.0, 0.1, 7.0, 0.5].into_iter().enumerate() {
            steering.multiply((i as u64 + 1) * 1_000_003, factor);
            steering.pause_or_resume((i as u64 + 1) * 1_000_003 + 400_000);
            steering.pause_or_resume((i as u64 + 1) * 1_000_003 + 500_000);
        }
        let mut before = 0;
        for schedule in (0..6_000_000).step_by(977) {
            let at = steering.instant_of(schedule).unwrap();
            assert!(at >= before, "instants are in order");
            assert!(steering.schedule_of(at).abs_diff(schedule) <= 16, "{schedule} at {at}");
            before = at;
        }
    }

    #[test]
    fn speeds_and_the_number_of_changes_have_limits() {
        let steering = Steering::default();
        (0..100).for_each(|now| steering.multiply(now, 4.0));
        assert!((steering.speed() - MAX_SPEED).abs() < f64::EPSILON);
        (100..1000).for_each(|now| steering.multiply(now, 0.25));
        assert_eq!(steering.changes(), MAX_CHANGES);
        assert!(steering.speed() >= MIN_SPEED);
    }
}
