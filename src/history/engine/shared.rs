//! What the threads of an engine and the loops share.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::facts::Level;
use crate::history::{EngineFigures, Event};

/// What the threads count; each number only grows, but for those that say what is now.
#[derive(Debug, Default)]
pub struct Counts {
    /// The connection that commits works.
    pub is_up: AtomicBool,
    /// The connection that brings what happens works.
    pub is_fed: AtomicBool,
    /// Connections that were made again.
    pub reconnects: AtomicU64,
    /// Pipelines with posts and changes that were answered.
    pub pipelines: AtomicU64,
    /// Calls in them.
    pub calls: AtomicU64,
    /// Microseconds that the answers to them took.
    pub wait_us: AtomicU64,
    /// Batches whose fate was not known in time.
    pub doubts: AtomicU64,
    /// Messages and changes that were read because what told of them was missed.
    pub filled: AtomicU64,
    /// Rooms whose history went on under another name.
    pub forks: AtomicU64,
    /// Rooms of which more was missed than is kept.
    pub behind: AtomicU64,
    /// What was told and could not be read.
    pub damaged: AtomicU64,
    /// Rooms that are followed.
    pub rooms: AtomicUsize,
}

impl Counts {
    /// What they are now.
    #[must_use]
    pub fn figures(&self) -> EngineFigures {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        EngineFigures {
            up: u64::from(self.is_up.load(Ordering::Relaxed)),
            fed: u64::from(self.is_fed.load(Ordering::Relaxed)),
            reconnects: count(&self.reconnects),
            pipelines: count(&self.pipelines),
            calls: count(&self.calls),
            wait_us: count(&self.wait_us),
            doubts: count(&self.doubts),
            filled: count(&self.filled),
            forks: count(&self.forks),
            behind: count(&self.behind),
            damaged: count(&self.damaged),
        }
    }
}

/// What the threads of an engine and the loops share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) counts: Arc<Counts>,
    level: AtomicU8,
    /// What the batches take that are handed over and not done, in octets.
    pub(super) load: AtomicUsize,
    /// The thread that is told what happens must look into its inbox.
    pub(super) must_wake: AtomicBool,
    pub(super) is_stopping: AtomicBool,
    /// How often the thread that commits has reached the engine anew.
    pub(super) arrivals: AtomicU64,
}

impl Shared {
    pub(super) fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Engine,
            1 => Level::Disk,
            _ => Level::Replicas,
        }
    }

    pub(super) fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}

/// Adds to a count.
pub(super) fn add(count: &AtomicU64, number: u64) {
    count.fetch_add(number, Ordering::Relaxed);
}

type Tell = Box<dyn FnMut(usize, Event) -> bool + Send>;

/// Tells loops what there is, for several threads; each event waits until its loop has a place for it.
#[derive(Clone)]
pub(super) struct Notify(Arc<Mutex<Tell>>);

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notify")
    }
}

impl Notify {
    pub(super) fn new(tell: impl FnMut(usize, Event) -> bool + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(tell))))
    }

    /// Tells a loop. One that has ended needs to know nothing.
    pub(super) fn tell(&self, number: usize, event: Event) {
        let tell = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tell(number, event);
    }
}
