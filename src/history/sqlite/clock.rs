//! What time it is, for retention, for the window of keys and for pauses. The loop's own times come with its changes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::wall::Wall;

/// Goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// Milliseconds since 1970. A leap of the wall clock is followed once it is sure ([`Wall`]).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the store runs on threads of its own, away from the loop")]
pub fn now_ms() -> u64 {
    static WALL: Mutex<Option<Wall>> = Mutex::new(None);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let wall_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let steady_ms = steady_ms();
    let mut wall = WALL.lock().unwrap_or_else(PoisonError::into_inner);
    wall.get_or_insert_with(|| Wall::new(wall_ms, steady_ms)).read(wall_ms, steady_ms).0
}

/// Milliseconds of a clock that nobody can set.
pub(super) fn steady_ms() -> u64 {
    let time = clock_gettime(STEADY);
    time.tv_sec.cast_unsigned() * 1000 + time.tv_nsec.cast_unsigned() / 1_000_000
}

#[expect(clippy::disallowed_methods, reason = "the store runs on threads of its own, away from the loop")]
pub(super) fn instant() -> Instant {
    Instant::now()
}
