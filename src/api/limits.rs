//! What anybody may make the API do or keep.

use crate::app::Rate;

/// The limits of the API. They hold for all loops together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Requests with one token: 429.
    pub requests: Rate,
    /// Answers that are remembered for an `Idempotency-Key`; the oldest are forgotten first.
    pub max_idempotent: usize,
    /// Milliseconds for which they are remembered.
    pub idempotent_ms: u64,
    /// Ends of connections that `closes` can tell of; the oldest are forgotten first.
    pub max_closes: usize,
}

changeable!(Limits);

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: Rate { per_second: 1000, burst: 2000 },
            max_idempotent: 4096,
            idempotent_ms: 10 * 60 * 1000,
            max_closes: 1000,
        }
    }
}
