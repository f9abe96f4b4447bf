//! State that the threads of a run share: they start together and end together.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::{Poll, Token, Waker};

use super::schedule::Phase;
use crate::clock::{Clock, Nanos, SECOND};
use crate::output::buckets::OCTAVES;

/// The token of wake-up calls between threads.
pub(crate) const WAKE: Token = Token(usize::MAX - 2);
/// Delay between the last thread's readiness and the first message, so that every thread knows the instant in time.
const START_DELAY: Nanos = SECOND / 100;

/// The figures of one thread for a live view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    pub(crate) open: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) faults: u64,
    pub(crate) failures: u64,
    /// Percentiles of the last intervals in nanoseconds; of all threads the largest.
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// All latencies of the window by octave, if a screen shows them.
    pub(crate) latencies: [u64; OCTAVES],
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            phase: Phase::default(),
            open: 0,
            sent: 0,
            answered: 0,
            faults: 0,
            failures: 0,
            p50: 0.0,
            p90: 0.0,
            p99: 0.0,
            p999: 0.0,
            latencies: [0; OCTAVES],
        }
    }
}

/// One value for all threads of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    /// Ends the run; a signal sets it.
    pub(crate) stop: Arc<AtomicBool>,
    threads: u32,
    connected: AtomicU32,
    drained: AtomicU32,
    /// The first message must not leave before this instant.
    earliest: Nanos,
    /// Somebody else names that instant, by [`Self::begin_at`].
    is_supervised: bool,
    /// A screen shows the latencies of the threads.
    pub(crate) is_shown: bool,
    /// The instant of the first message; 0 until it is known.
    start_at: AtomicU64,
    wakers: Vec<Waker>,
    snapshots: Vec<Mutex<Snapshot>>,
}

impl Shared {
    /// `polls`: the event queue of each thread.
    pub(crate) fn new(stop: Arc<AtomicBool>, polls: &[Poll]) -> io::Result<Self> {
        Ok(Self {
            clock: Clock::start(),
            stop,
            threads: polls.len() as u32,
            connected: AtomicU32::new(0),
            drained: AtomicU32::new(0),
            earliest: 0,
            is_supervised: false,
            is_shown: false,
            start_at: AtomicU64::new(0),
            wakers: polls.iter().map(|poll| Waker::new(poll.registry(), WAKE)).collect::<Result<_, _>>()?,
            snapshots: polls.iter().map(|_| Mutex::default()).collect(),
        })
    }

    /// Lets the first message leave at `earliest`, or as soon as all connections are open.
    pub(crate) fn not_before(mut self, earliest: Nanos) -> Self {
        self.earliest = earliest;
        self
    }

    /// Lets [`Self::begin_at`] name the instant of the first message.
    pub(crate) fn supervised(mut self, is_supervised: bool) -> Self {
        self.is_supervised = is_supervised;
        self
    }

    /// Lets the threads publish their latencies.
    pub(crate) fn shown(mut self, is_shown: bool) -> Self {
        self.is_shown = is_shown;
        self
    }

    /// Whether no thread has a connection left to open.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire) == self.threads
    }

    /// Names the instant of the first message of a supervised run whose threads are connected.
    pub(crate) fn begin_at(&self, at: Nanos) {
        debug_assert!(self.is_supervised && self.is_connected());
        self.start_at.store(at.max(1), Ordering::Release);
        self.wake_all();
    }

    /// A thread has no connection left to open. Each thread calls this once.
    pub(crate) fn thread_is_connected(&self) {
        let is_last = self.connected.fetch_add(1, Ordering::AcqRel) + 1 == self.threads;
        if is_last && !self.is_supervised {
            let delay = if self.threads > 1 { START_DELAY } else { 0 };
            let start_at = (self.clock.now() + delay).max(self.earliest).max(1);
            self.start_at.store(start_at, Ordering::Release);
            self.wake_all();
        }
    }

    /// The instant of the first message; `None` until all threads are connected.
    pub(crate) fn start_at(&self) -> Option<Nanos> {
        Some(self.start_at.load(Ordering::Acquire)).filter(|at| *at != 0)
    }

    /// A thread waits for no answer any more. Each thread calls this once.
    pub(crate) fn thread_is_drained(&self) {
        if self.drained.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.wake_all();
        }
    }

    /// Whether no thread waits for an answer.
    pub(crate) fn all_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire) == self.threads
    }

    /// Wakes a thread.
    pub(crate) fn wake(&self, thread: u32) {
        if let Some(waker) = self.wakers.get(thread as usize) {
            // If the call fails, the thread notices the change at its next sweep.
            let _ = waker.wake();
        }
    }

    /// Wakes all threads.
    pub(crate) fn wake_all(&self) {
        (0..self.threads).for_each(|thread| self.wake(thread));
    }

    /// Sets the figures of a thread.
    pub(crate) fn publish(&self, thread: u32, snapshot: &Snapshot) {
        *self.snapshots[thread as usize].lock().unwrap_or_else(PoisonError::into_inner) = *snapshot;
    }

    /// The figures of all threads together. The phase is that of the thread that is furthest behind.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut sum: Option<Snapshot> = None;
        for one in &self.snapshots {
            let one = *one.lock().unwrap_or_else(PoisonError::into_inner);
            let all = sum.get_or_insert(Snapshot { phase: one.phase, ..Snapshot::default() });
            all.phase = all.phase.min(one.phase);
            all.open += one.open;
            all.sent += one.sent;
            all.answered += one.answered;
            all.faults += one.faults;
            all.failures += one.failures;
            for (mine, theirs) in [
                (&mut all.p50, one.p50),
                (&mut all.p90, one.p90),
                (&mut all.p99, one.p99),
                (&mut all.p999, one.p999),
            ] {
                *mine = mine.max(theirs);
            }
            all.latencies.iter_mut().zip(one.latencies).for_each(|(mine, theirs)| *mine += theirs);
        }
        sum.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_known_when_the_last_thread_is_ready() {
        let polls = [Poll::new().unwrap(), Poll::new().unwrap()];
        let shared = Shared::new(Arc::default(), &polls).unwrap();
        shared.thread_is_connected();
        assert_eq!(shared.start_at(), None);
        shared.thread_is_connected();
        assert!(shared.start_at().is_some_and(|at| at > START_DELAY));
        let polls = [Poll::new().unwrap(), Poll::new().unwrap()];
        let later = Shared::new(Arc::default(), &polls).unwrap().not_before(3600 * SECOND);
        later.thread_is_connected();
        later.thread_is_connected();
        assert_eq!(later.start_at(), Some(3600 * SECOND));
        shared.thread_is_drained();
        assert!(!shared.all_drained());
        shared.thread_is_drained();
        assert!(shared.all_drained());
    }

    #[test]
    fn a_snapshot_is_of_all_threads() {
        let polls = [Poll::new().unwrap(), Poll::new().unwrap()];
        let shared = Shared::new(Arc::default(), &polls).unwrap();
        let one = Snapshot { phase: Phase::WarmUp, open: 3, p99: 5.0, ..Snapshot::default() };
        shared.publish(0, &one);
        shared.publish(1, &Snapshot { phase: Phase::Measuring, open: 4, p99: 2.0, ..one });
        let all = shared.snapshot();
        assert_eq!((all.phase, all.open), (Phase::WarmUp, 7));
        assert!((all.p99 - 5.0).abs() < f64::EPSILON);
    }
}
