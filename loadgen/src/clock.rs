//! The clocks: the only place that reads them.

pub(crate) mod steering;

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the start of the run.
pub(crate) type Nanos = u64;

/// One second.
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// The monotonic clock, counted from the start of the run, and the processor time of this thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is where the generator reads the clock")]
impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        nanos(self.origin.elapsed())
    }
}

/// The time of day, for the start of a run.
#[expect(clippy::disallowed_methods, reason = "this is where the generator reads the clock")]
pub(crate) fn time_of_day() -> SystemTime {
    SystemTime::now()
}

/// Processor time that this thread has used, in user space and in the kernel.
pub(crate) fn processor_time() -> Nanos {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * SECOND + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A duration in nanoseconds; 584 years at most.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
