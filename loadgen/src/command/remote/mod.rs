//! Runs on several machines: agents, and the lead that conducts them.
//!
//! An agent listens, and a lead connects. Both prove that they know the token, without sending it. The lead compares the
//! clocks, sends the command line, waits until all agents have opened their connections, and names the instant of the first
//! message, to each agent by its own clock. Every message is a line of JSON ([`wire`]).

pub(crate) mod agent;
mod auth;
mod clocks;
pub(crate) mod lead;
#[cfg(test)]
mod tests;
mod wire;

use std::time::{Duration, SystemTime};

use crate::clock::time_of_day;

/// Interval at which an agent reports its progress.
const PROGRESS: Duration = Duration::from_secs(1);
/// An agent that is silent for this long is lost.
const SILENCE: Duration = Duration::from_secs(10);
/// Limit on each step before the run: the connection, the proof, and the answer to a command line.
const PATIENCE: Duration = Duration::from_secs(10);
/// Limit on the agents of one lead.
const MAX_AGENTS: usize = 256;

/// A clock of the time of day.
#[derive(Debug, Clone, Copy, Default)]
struct WallClock {
    /// What the clock is ahead of the machine's; tests have such clocks.
    skew_ns: i64,
}

impl WallClock {
    /// Nanoseconds since 1970.
    fn now(self) -> i64 {
        let since = time_of_day().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX).saturating_add(self.skew_ns)
    }
}
