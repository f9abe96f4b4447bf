//! What is counted, read out.

use super::core::Core;
use super::{Reactor, Socket};
use crate::app::{Application, Stats};

impl Core {
    /// The counters, and what the loop holds at the moment.
    pub(super) fn stats_now(&self) -> Stats {
        Stats {
            connections: self.table.len(),
            open: self.open,
            queued_bytes: self.queues.used(),
            queued_connections: self.table.iter().filter(|(_, entry)| entry.backlog.is_some()).count(),
            ..self.stats.clone()
        }
    }
}

impl<A: Application, S: Socket> Reactor<A, S> {
    /// What the loop has counted.
    pub fn stats(&self) -> Stats {
        self.core.stats_now()
    }

    /// Counts ticks, and pieces of long ones.
    #[inline]
    pub fn ticks(&self) -> u32 {
        self.core.tick
    }

    /// The tick that ends now took so many microseconds.
    pub fn note_tick(&mut self, us: u64) {
        self.core.stats.ticks.note(us);
        if self.core.has_published {
            self.core.stats.publish_tick.note(us);
        }
    }

    /// Forgets whether something was published: a tick begins that will be measured.
    pub fn begin_measured(&mut self) {
        self.core.has_published = false;
    }
}
