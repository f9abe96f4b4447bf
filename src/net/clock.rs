//! The two clocks, read once a tick.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::app::Now;
use crate::proto::Millis;
use crate::wall::{Leap, Wall};

/// The wall clock is compared with the monotonic one this often.
const SYNC_MS: Millis = 500;

/// Linux keeps a time of its last timer interrupt, which is a load away. It is late by at most 10 ms, mostly by 4.
#[cfg(target_os = "linux")]
const MONOTONIC: ClockId = ClockId::MonotonicCoarse;
#[cfg(not(target_os = "linux"))]
const MONOTONIC: ClockId = ClockId::Monotonic;
/// What the wall clock is compared with; it goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// Reads time for the loop. Between comparisons the wall clock follows the monotonic one.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    origin_ms: Millis,
    /// What the kernel said last: with a coarse clock, mostly what it says next.
    time: Timespec,
    now: Now,
    wall: Wall,
    /// `unix_ms - monotonic_ms` at the last comparison.
    unix_offset: u64,
    /// When the clocks are compared next.
    sync_at: Millis,
}

impl Clock {
    pub(super) fn new() -> Self {
        let time = clock_gettime(MONOTONIC);
        let origin_ms = millis(time);
        let wall = Wall::new(wall_ms(), millis(clock_gettime(STEADY)));
        let mut clock = Self { origin_ms, time, now: Now::default(), wall, unix_offset: 0, sync_at: 0 };
        clock.convert();
        clock
    }

    /// Reads the clock; whether it says something else than the last time.
    #[inline]
    pub(super) fn has_moved(&mut self) -> bool {
        let time = clock_gettime(MONOTONIC);
        if time == self.time {
            return false;
        }
        self.time = time;
        true
    }

    /// The time that was read last.
    pub(super) fn now(&mut self) -> Now {
        self.convert();
        self.now
    }

    /// Takes back the time since `until`: the process stood still, and nobody else is to blame.
    #[cold]
    pub(super) fn rewind(&mut self, until: Millis) -> Now {
        self.origin_ms += self.now.monotonic_ms.saturating_sub(until);
        self.sync_at = 0;
        self.convert();
        self.now
    }

    /// Microseconds from some origin, to tell how long something took.
    #[cold]
    pub(super) fn precise_us() -> u64 {
        let time = clock_gettime(ClockId::Monotonic);
        time.tv_sec.cast_unsigned() * 1_000_000 + time.tv_nsec.cast_unsigned() / 1000
    }

    fn convert(&mut self) {
        let monotonic_ms = millis(self.time) - self.origin_ms;
        if monotonic_ms >= self.sync_at {
            self.sync(monotonic_ms);
        }
        self.now = Now { monotonic_ms, unix_ms: self.unix_offset + monotonic_ms };
    }

    #[cold]
    fn sync(&mut self, monotonic_ms: Millis) {
        let (unix_ms, leap) = self.wall.read(wall_ms(), millis(clock_gettime(STEADY)));
        match leap {
            Some(Leap::Doubted(ms)) => {
                tracing::warn!(
                    ms,
                    "the wall clock has leapt; it is followed when it has been sure for a minute"
                );
            }
            Some(Leap::Over) => tracing::warn!("the wall clock is back where it was"),
            Some(Leap::Believed(ms)) => tracing::warn!(ms, "the leap of the wall clock is followed"),
            None => {}
        }
        self.unix_offset = unix_ms.saturating_sub(monotonic_ms);
        self.sync_at = monotonic_ms + SYNC_MS;
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the loop reads the clock")]
fn wall_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    unix.as_secs() * 1000 + u64::from(unix.subsec_millis())
}

fn millis(time: Timespec) -> Millis {
    time.tv_sec.cast_unsigned() * 1000 + time.tv_nsec.cast_unsigned() / 1_000_000
}
