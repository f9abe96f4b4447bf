//! Which connections read slowly, and how slowly.

use crate::input::plan::Plan;

/// The connections from one number on, which read a limited number of bytes per second.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlowReaders {
    pub(super) count: u32,
    /// The number of the first of them.
    pub(super) first: u32,
    bytes_per_second: u64,
}

impl SlowReaders {
    /// No connection reads slowly.
    pub(super) fn none() -> Self {
        Self { count: 0, first: u32::MAX, bytes_per_second: 0 }
    }

    /// The last `count` connections of a plan.
    pub(super) fn last(plan: &Plan, count: u32, bytes_per_second: u64) -> Self {
        Self { count, first: plan.connections - count, bytes_per_second }
    }

    /// Whether the connection reads slowly.
    pub(super) fn contains(&self, number: u32) -> bool {
        number >= self.first
    }

    /// Limit on the bytes per second that the connection reads.
    pub(super) fn read_rate(&self, number: u32) -> Option<u64> {
        self.contains(number).then_some(self.bytes_per_second)
    }
}
