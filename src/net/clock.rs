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
    now: Now,
    /// `unix_ms - monotonic_ms` at the last comparison.
    unix_offset: u64,
    synced_at: Millis,
}

impl Clock {
    pub(super) fn new() -> Self {
        let origin_ms = monotonic_ms();
        let mut clock = Self { origin_ms, now: Now::default(), unix_offset: 0, synced_at: 0 };
        clock.sync(0);
        clock.read();
        clock
    }

    /// Reads the clocks.
    #[inline]
    pub(super) fn read(&mut self) -> Now {
        let monotonic_ms = monotonic_ms() - self.origin_ms;
        if monotonic_ms >= self.synced_at + SYNC_MS {
            self.sync(monotonic_ms);
        }
        self.now = Now { monotonic_ms, unix_ms: self.unix_offset + monotonic_ms };
        self.now
    }

    /// What [`Self::read`] gave last.
    #[inline]
    pub(super) fn now(&self) -> Now {
        self.now
    }

    #[cold]
    #[expect(clippy::disallowed_methods, reason = "this is where the loop reads the clock")]
    fn sync(&mut self, monotonic_ms: Millis) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let unix_ms = unix.as_secs() * 1000 + u64::from(unix.subsec_millis());
        self.unix_offset = unix_ms.saturating_sub(monotonic_ms);
        self.synced_at = monotonic_ms;
    }
}

#[inline]
fn monotonic_ms() -> Millis {
    let now = clock_gettime(MONOTONIC);
    now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000
}
