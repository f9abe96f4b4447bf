//! Keeps bad peers from flooding the log: this many lines for each cause, and then one for many.

use crate::app::{Bucket, CloseKind, Pace};
use crate::proto::Millis;

/// Eight lines about one cause may follow each other at once; after them, one line in 5 s.
const PACE: Pace = Pace { interval_us: 5_000_000, burst: 8 };

/// What lines are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// An upgrade breaks the rules.
    Refused,
    /// The input is no request, or there is no room.
    Rejected,
    /// The application turns a request away.
    TurnedAway,
    /// A connection was closed.
    Closed(CloseKind),
}

const CAUSES: usize = 3 + CloseKind::ALL.len();

impl Cause {
    fn index(self) -> usize {
        match self {
            Self::Refused => 0,
            Self::Rejected => 1,
            Self::TurnedAway => 2,
            Self::Closed(kind) => 3 + kind as usize,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Allowance {
    lines: Bucket,
    suppressed: u64,
}

/// Which lines are written.
#[derive(Debug)]
pub(super) struct LogLimit {
    pace: Pace,
    causes: [Allowance; CAUSES],
    suppressed: u64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::of_each(1)
    }
}

impl LogLimit {
    /// Of each of several loops, so that all together write no more than one.
    pub(super) fn of_each(loops: usize) -> Self {
        let loops = u32::try_from(loops).unwrap_or(u32::MAX).max(1);
        let Pace { interval_us, burst } = PACE;
        let pace = Pace { interval_us: interval_us * u64::from(loops), burst: burst.div_ceil(loops) };
        Self { pace, causes: [Allowance::default(); CAUSES], suppressed: 0 }
    }

    /// `Some`: the line is written. The number is that of the lines about the same cause that were left out since the last one.
    pub(super) fn admits(&mut self, cause: Cause, now: Millis) -> Option<u64> {
        let allowance = &mut self.causes[cause.index()];
        if allowance.lines.try_take(self.pace, now).is_ok() {
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
    fn loops_share_the_lines() {
        let mut limits =
            [LogLimit::of_each(4), LogLimit::of_each(4), LogLimit::of_each(4), LogLimit::of_each(4)];
        let admits =
            |limit: &mut LogLimit| (0..100).filter(|_| limit.admits(Cause::Refused, 7).is_some()).count();
        assert_eq!(limits.iter_mut().map(admits).sum::<usize>(), PACE.burst as usize);
    }

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
        assert_eq!(written, u64::from(PACE.burst) + 3, "20 s");
        assert_eq!(written + limit.suppressed(), 10_000);
        assert!(told > 0 && told <= limit.suppressed());
        assert_eq!(
            limit.admits(Cause::Closed(CloseKind::Protocol), 20_000),
            Some(0),
            "another cause has its own lines"
        );
        assert_eq!(limit.admits(Cause::Refused, 60_000), Some(limit.suppressed() - told));
        let quiet = (0..20).filter(|_| limit.admits(Cause::Refused, 1_000_000).is_some()).count();
        assert_eq!(quiet, PACE.burst as usize, "no more than a burst after a long silence");
    }
}
