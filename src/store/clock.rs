//! What time it is, for retention, for the window of keys and for pauses. The loop's own times come with its changes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the store runs on threads of its own, away from the loop")]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the store runs on threads of its own, away from the loop")]
pub(super) fn instant() -> Instant {
    Instant::now()
}
