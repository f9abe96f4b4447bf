//! The time that a change of a room is given.

/// So far ahead the last time of a room may be and others follow it, in milliseconds.
const MAX_AHEAD_MS: u64 = 86_400_000;
/// The year 2020: a clock that says less is wrong itself.
const FIRST_MS: u64 = 1_577_836_800_000;

/// Times do not fall within a room, except where the last one came from a clock that was ahead by more than a day and was set
/// right: otherwise everything would carry that time until it has come.
pub(super) fn stamp(last_ms: u64, now_ms: u64) -> u64 {
    let is_ahead = last_ms > now_ms.saturating_add(MAX_AHEAD_MS) && now_ms >= FIRST_MS;
    if is_ahead { now_ms } else { last_ms.max(now_ms) }
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
            (NOW + 86_400_000, NOW + 86_400_000),
            (NOW + 86_400_001, NOW),
            (NOW + 315_576_000_000, NOW),
            (u64::MAX, NOW),
        ] {
            assert_eq!(stamp(last, NOW), expected, "{last}");
        }
        assert_eq!(stamp(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(stamp(NOW, 1000), NOW, "a clock that was never set");
    }
}
