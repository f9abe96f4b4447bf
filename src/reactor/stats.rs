//! What is counted, read out.

use super::{Reactor, Socket};
use crate::app::{Application, Durations, Stats};

/// How long ticks took, of those that were measured.
#[derive(Debug, Default)]
pub(super) struct TickTimes {
    all: Durations,
    /// Of those in which something was published.
    publishing: Durations,
}

impl TickTimes {
    /// Adds what was noted to `stats`.
    pub(super) fn count_into(&self, stats: &mut Stats) {
        stats.ticks = self.all;
        stats.publish_tick = self.publishing;
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
        self.core.output.tick()
    }

    /// The tick that ends now took `us` microseconds.
    pub fn note_tick(&mut self, us: u64) {
        self.core.tick_times.all.note(us);
        if self.core.output.has_published() {
            self.core.tick_times.publishing.note(us);
        }
    }

    /// Forgets whether something was published: a tick begins that will be measured.
    pub fn begin_measured(&mut self) {
        self.core.output.forget_published();
    }
}
