//! Keeps bad peers from flooding the log: so many lines for each cause, and then one for many.

use crate::proto::Millis;

/// Lines about one cause that may follow each other at once.
const BURST: u32 = 8;
/// After those, one line in so many milliseconds.
const EVERY_MS: Millis = 5_000;

/// What lines are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// An upgrade breaks the rules.
    Refused,
    /// What came is no request, or there is no room.
    Rejected,
    /// The application turns a request away.
    TurnedAway,
    /// The peer closed.
    ByPeer,
    /// The application closed.
    ByApplication,
    /// The peer broke the protocol.
    Protocol,
    /// No Pong came.
    PingTimeout,
    /// The peer reads too slowly.
    Slow,
    /// The server stops.
    Shutdown,
    /// The TCP connection ended.
    Disconnected,
}

const CAUSES: usize = Cause::Disconnected as usize + 1;

#[derive(Debug, Clone, Copy, Default)]
struct Allowance {
    /// Lines used of the burst, as of `since`.
    used: u32,
    since: Millis,
    suppressed: u64,
}

/// Which lines are written.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    causes: [Allowance; CAUSES],
    suppressed: u64,
}

impl LogLimit {
    /// Whether a line is written; if so, how many about the same cause were not, since the last one that was.
    pub(super) fn admits(&mut self, cause: Cause, now: Millis) -> Option<u64> {
        let allowance = &mut self.causes[cause as usize];
        let regained = now.saturating_sub(allowance.since) / EVERY_MS;
        if allowance.used == 0 {
            allowance.since = now;
        } else if regained > 0 {
            allowance.used = allowance.used.saturating_sub(u32::try_from(regained).unwrap_or(u32::MAX));
            allowance.since += regained * EVERY_MS;
        }
        if allowance.used < BURST {
            allowance.used += 1;
            return Some(std::mem::take(&mut allowance.suppressed));
        }
        allowance.suppressed += 1;
        self.suppressed += 1;
        None
    }

    /// Lines that were not written.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rx_11_each_line_is_written_or_counted() {
        let mut limit = LogLimit::default();
        let (mut written, mut told) = (0, 0);
        for at in 0..10_000 {
            if let Some(suppressed) = limit.admits(Cause::Refused, at * 2) {
                written += 1;
                told += suppressed;
            }
        }
        assert_eq!(written, u64::from(BURST) + 3, "20 s");
        assert_eq!(written + limit.suppressed(), 10_000);
        assert!(told > 0 && told <= limit.suppressed());
        assert_eq!(limit.admits(Cause::Protocol, 20_000), Some(0), "another cause has its own lines");
        assert_eq!(limit.admits(Cause::Refused, 60_000), Some(limit.suppressed() - told));
        let quiet = (0..20).filter(|_| limit.admits(Cause::Refused, 1_000_000).is_some()).count();
        assert_eq!(quiet, BURST as usize, "no more than a burst after a long silence");
    }
}
