//! Wakes the loop at its next deadline.
//!
//! A timeout of the wait itself would have the kernel set up and take down a timer in every tick, though deadlines are
//! seconds away. On Linux one timer stays set over many ticks; it is touched only when an earlier deadline comes up.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

use crate::proto::Millis;

const UNSET: Millis = Millis::MAX;

/// The alarm is an event of its own; where it is not, each wait has a timeout of its own.
pub(super) const RINGS: bool = imp::RINGS;

#[derive(Debug)]
pub(super) struct Alarm {
    set_for: Millis,
    has_rung: bool,
    timer: imp::Timer,
}

impl Alarm {
    pub(super) fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self { set_for: UNSET, has_rung: false, timer: imp::Timer::register(registry, token)? })
    }

    /// Sees to it that the loop wakes up at `deadline` or before.
    #[inline]
    pub(super) fn set(&mut self, deadline: Option<Millis>, now: Millis) {
        if let Some(deadline) = deadline
            && deadline < self.set_for
        {
            self.set_for = deadline;
            self.timer.set(Duration::from_millis(deadline.saturating_sub(now).max(1)));
        }
    }

    /// The event of the alarm came, or its time.
    pub(super) fn ring(&mut self) {
        self.has_rung = true;
    }

    /// Whether it has rung since this was asked last. Then it is set no more.
    pub(super) fn take_ring(&mut self) -> bool {
        let has_rung = std::mem::take(&mut self.has_rung);
        if has_rung {
            self.set_for = UNSET;
        }
        has_rung
    }

    /// Whether it is to ring although no event tells.
    #[inline]
    pub(super) fn is_due(&self, now: Millis) -> bool {
        self.set_for <= now
    }

    /// Whether it was to ring more than `late_ms` ago.
    pub(super) fn is_late(&self, now: Millis, late_ms: Millis) -> bool {
        self.set_for.saturating_add(late_ms) < now
    }

    /// The longest wait for events.
    #[inline]
    pub(super) fn timeout(&self, now: Millis) -> Option<Duration> {
        if imp::RINGS || self.set_for == UNSET {
            return None;
        }
        Some(Duration::from_millis(self.set_for.saturating_sub(now)))
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// The timer is an event of its own.
    pub(super) const RINGS: bool = true;

    #[derive(Debug)]
    pub(super) struct Timer(OwnedFd);

    impl Timer {
        pub(super) fn register(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(timer))
        }

        /// Edge-triggered, so an expiry need not be read; setting the timer again forgets it.
        #[cold]
        pub(super) fn set(&mut self, wait: Duration) {
            let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
            let once = Itimerspec { it_interval: Timespec::default(), it_value: wait };
            // Cannot fail: the descriptor is a timer and the time is valid.
            let set = timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once);
            debug_assert!(set.is_ok(), "{set:?}");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    /// Nothing rings: the wait has a timeout.
    pub(super) const RINGS: bool = false;

    #[derive(Debug)]
    pub(super) struct Timer;

    impl Timer {
        #[expect(clippy::unnecessary_wraps, reason = "where there is a timer it may fail")]
        pub(super) fn register(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        #[expect(clippy::unused_self, reason = "where there is a timer it is set")]
        pub(super) fn set(&mut self, _wait: Duration) {}
    }
}
