//! The two clocks, read once a tick.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::app::Now;
use crate::proto::Millis;

/// The wall clock is compared with the monotonic one this often.
const SYNC_MS: Millis = 500;

/// Linux keeps a time of its last timer interrupt, which is a load away. It is late by at most 10 ms, mostly by 4.
#[cfg(target_os = "linux")]
const MONOTONIC: ClockId = ClockId::MonotonicCoarse;
#[cfg(not(target_os = "linux"))]
const MONOTONIC: ClockId = ClockId::Monotonic;

/// Reads time for the loop. Between comparisons the wall clock follows the monotonic one.
#[derive(Debug)]
pub(super) struct Clock {
    origin_ms: Millis,
    /// `unix_ms - monotonic_ms` at the last comparison.
    unix_offset: u64,
    /// When the clocks are compared next.
    sync_at: Millis,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { origin_ms: monotonic_ms(), unix_offset: 0, sync_at: 0 }
    }

    /// Reads the clocks.
    #[inline]
    pub(super) fn read(&mut self) -> Now {
        let monotonic_ms = monotonic_ms() - self.origin_ms;
        if monotonic_ms >= self.sync_at {
            self.sync(monotonic_ms);
        }
        Now { monotonic_ms, unix_ms: self.unix_offset + monotonic_ms }
    }

    #[cold]
    #[expect(clippy::disallowed_methods, reason = "this is where the loop reads the clock")]
    fn sync(&mut self, monotonic_ms: Millis) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let unix_ms = unix.as_secs() * 1000 + u64::from(unix.subsec_millis());
        self.unix_offset = unix_ms.saturating_sub(monotonic_ms);
        self.sync_at = monotonic_ms + SYNC_MS;
    }
}

#[inline]
fn monotonic_ms() -> Millis {
    let now = clock_gettime(MONOTONIC);
    now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000
}
