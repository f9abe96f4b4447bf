//! How often something may happen: a token bucket in one number (the generic cell rate algorithm).

/// How often, on average and at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Times per second in the long run; 0: no limit.
    pub per_second: u32,
    /// Times at once after a pause.
    pub burst: u32,
}

/// A [`Rate`] by the time between two tokens, for what happens less often than once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Microseconds between two tokens; 0: no limit.
    pub interval_us: u64,
    /// Tokens at once after a pause.
    pub burst: u32,
}

impl From<Rate> for Pace {
    fn from(rate: Rate) -> Self {
        Self {
            interval_us: 1_000_000_u64.checked_div(rate.per_second.into()).unwrap_or(0),
            burst: rate.burst,
        }
    }
}

/// One bucket. Time is an argument.
///
/// ```
/// use switchboard::app::{Bucket, Rate};
///
/// let (rate, mut bucket) = (Rate { per_second: 1, burst: 2 }, Bucket::default());
/// assert_eq!((bucket.try_take(rate, 0), bucket.try_take(rate, 0)), (Ok(()), Ok(())));
/// assert_eq!(bucket.try_take(rate, 0), Err(1000));
/// ```
///
/// It holds the microsecond at which it is full again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket(u64);

impl Bucket {
    /// Milliseconds until there is a token; 0: there is one.
    #[must_use]
    pub fn wait_ms(self, pace: impl Into<Pace>, now_ms: u64) -> u64 {
        let Pace { interval_us, burst } = pace.into();
        let most_us = u64::from(burst.max(1) - 1) * interval_us;
        if interval_us == 0 { 0 } else { self.0.saturating_sub(now_ms * 1000 + most_us).div_ceil(1000) }
    }

    /// Takes a token, whether there is one or not.
    pub fn take(&mut self, pace: impl Into<Pace>, now_ms: u64) {
        let Pace { interval_us, .. } = pace.into();
        if interval_us > 0 {
            self.0 = self.0.max(now_ms * 1000) + interval_us;
        }
    }

    /// Takes a token if there is one.
    ///
    /// # Errors
    /// The milliseconds until there is one.
    pub fn try_take(&mut self, pace: impl Into<Pace>, now_ms: u64) -> Result<(), u64> {
        let pace = pace.into();
        match self.wait_ms(pace, now_ms) {
            0 => {
                self.take(pace, now_ms);
                Ok(())
            }
            wait_ms => Err(wait_ms),
        }
    }

    /// The bucket that is full at this microsecond.
    #[must_use]
    pub fn full_at(us: u64) -> Self {
        Self(us)
    }

    /// The microsecond at which it is full.
    #[must_use]
    pub fn is_full_at(self) -> u64 {
        self.0
    }

    /// Whether the bucket is full and so the same as a new one.
    #[must_use]
    pub fn is_full(self, now_ms: u64) -> bool {
        self.0 <= now_ms * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate { per_second: 20, burst: 40 };
        let mut bucket = Bucket::default();
        let mut taken = 0;
        for now in 5000..6000 {
            while bucket.wait_ms(rate, now) == 0 {
                bucket.take(rate, now);
                taken += 1;
            }
        }
        assert_eq!(taken, 40 + 19, "one every 50 ms after the burst");
        assert_eq!(bucket.wait_ms(rate, 5990), 10);
        assert_eq!(bucket.wait_ms(rate, 6000), 0, "and when it says so there is one");
        assert!(!bucket.is_full(6000) && bucket.is_full(9000));
    }

    #[test]
    fn zero_is_no_limit() {
        let mut bucket = Bucket::default();
        for _ in 0..1_000_000 {
            bucket.take(Rate::default(), 1);
        }
        assert_eq!(bucket.wait_ms(Rate::default(), 1), 0);
    }
}
