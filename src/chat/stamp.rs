//! The time that a change of a room is given.

use crate::wall::LEAP_MS;

/// Times do not fall within a room, except where the last one came from a clock that was ahead and was set right: otherwise
/// everything would carry that time until it has come.
pub(super) fn stamp(last_ms: u64, now_ms: u64) -> u64 {
    if last_ms > now_ms.saturating_add(LEAP_MS) { now_ms } else { last_ms.max(now_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_do_not_fall_but_after_a_leap() {
        const NOW: u64 = 1_790_000_000_000;
        for (last, expected) in [
            (0, NOW),
            (NOW - 1, NOW),
            (NOW + 1, NOW + 1),
            (NOW + 10_000, NOW + 10_000),
            (NOW + 10_001, NOW),
            (NOW + 315_576_000_000, NOW),
            (u64::MAX, NOW),
        ] {
            assert_eq!(stamp(last, NOW), expected, "{last}");
        }
        assert_eq!(stamp(u64::MAX, u64::MAX), u64::MAX);
    }
}
