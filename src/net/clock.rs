//! The two clocks, read once a tick.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::app::Now;
use crate::proto::Millis;

/// The wall clock is compared with the monotonic one this often.
const SYNC_MS: Millis = 500;

/// Reads time for the loop. Between comparisons the wall clock follows the monotonic one.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    now: Now,
    /// `unix_ms - monotonic_ms` at the last comparison.
    unix_offset: u64,
    synced_at: Millis,
}

#[expect(clippy::disallowed_methods, reason = "this is where the loop reads the clock")]
impl Clock {
    pub(super) fn new() -> Self {
        let mut clock = Self { origin: Instant::now(), now: Now::default(), unix_offset: 0, synced_at: 0 };
        clock.sync(0);
        clock.read();
        clock
    }

    /// Reads the clocks.
    pub(super) fn read(&mut self) -> Now {
        let monotonic_ms = millis(self.origin.elapsed());
        if monotonic_ms >= self.synced_at + SYNC_MS {
            self.sync(monotonic_ms);
        }
        self.now = Now { monotonic_ms, unix_ms: self.unix_offset + monotonic_ms };
        self.now
    }

    /// What [`Self::read`] gave last.
    pub(super) fn now(&self) -> Now {
        self.now
    }

    fn sync(&mut self, monotonic_ms: Millis) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.unix_offset = millis(unix).saturating_sub(monotonic_ms);
        self.synced_at = monotonic_ms;
    }
}

fn millis(duration: Duration) -> Millis {
    // Not `as_millis`: that divides 128 bits, in every tick.
    duration.as_secs() * 1000 + u64::from(duration.subsec_millis())
}
