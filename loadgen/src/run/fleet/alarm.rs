//! Wakes the loop at an instant, with a finer resolution than the milliseconds of its event queue.

use std::io;

use mio::Registry;

use crate::clock::Nanos;

#[cfg(target_os = "linux")]
mod timer {
    use std::io;
    use std::os::fd::{AsRawFd as _, OwnedFd};

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    use crate::clock::{Nanos, SECOND};

    /// A timer of the kernel (timerfd). Nothing reads it: the event queue is edge-triggered, and setting it again is enough.
    #[derive(Debug)]
    pub(super) struct Timer(OwnedFd);

    impl Timer {
        pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let fd =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(fd))
        }

        /// `delay` above 0.
        pub(super) fn set(&self, delay: Nanos) -> io::Result<()> {
            let it_value = Timespec {
                tv_sec: i64::try_from(delay / SECOND).unwrap_or(i64::MAX),
                tv_nsec: (delay % SECOND).cast_signed(),
            };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod timer {
    use std::io;

    use mio::{Registry, Token};

    use crate::clock::Nanos;

    /// On other systems the event queue's timeout is all there is.
    #[derive(Debug)]
    pub(super) struct Timer;

    impl Timer {
        #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
        pub(super) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same signature as on Linux")]
        pub(super) fn set(&self, _delay: Nanos) -> io::Result<()> {
            Ok(())
        }
    }
}

/// An alarm for one instant at a time.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: timer::Timer,
    set_for: Option<Nanos>,
}

impl Alarm {
    pub(super) fn new(registry: &Registry, token: mio::Token) -> io::Result<Self> {
        Ok(Self { timer: timer::Timer::new(registry, token)?, set_for: None })
    }

    /// Wakes the loop at `at`, which must be after `now`.
    pub(super) fn set(&mut self, at: Nanos, now: Nanos) -> io::Result<()> {
        if self.set_for == Some(at) {
            return Ok(());
        }
        self.set_for = Some(at);
        self.timer.set(at.saturating_sub(now).max(1))
    }
}
