//! How events of the history reach the loops.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::history::Event;

/// Where events go: one at a time, from both threads, each to one loop.
#[derive(Clone)]
pub(super) struct Notify(Arc<Mutex<dyn FnMut(usize, Event) -> bool + Send>>);

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notify")
    }
}

impl Notify {
    pub(super) fn new(notify: impl FnMut(usize, Event) -> bool + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(notify)))
    }

    pub(super) fn tell(&self, number: usize, event: Event) {
        // Nobody listens any more while the loop has ended and the rest is committed: that is in order.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner)(number, event);
    }
}
