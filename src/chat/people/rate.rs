//! How often something may be done: a token bucket in one number.

/// How often, on average and at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Times per second in the long run; 0: without limit.
    pub per_second: u32,
    /// Times at once after a rest.
    pub burst: u32,
}

/// One bucket: the microsecond at which it is full again (the generic cell rate algorithm).
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::chat) struct Bucket(u64);

impl Bucket {
    /// Milliseconds until a token is there; 0: now.
    pub(in crate::chat) fn wait_ms(self, rate: Rate, now_ms: u64) -> u64 {
        if rate.per_second == 0 {
            return 0;
        }
        let most = u64::from(rate.burst.max(1) - 1) * interval_us(rate);
        self.0.saturating_sub(now_ms * 1000 + most).div_ceil(1000)
    }

    /// Takes a token, there or not.
    pub(in crate::chat) fn take(&mut self, rate: Rate, now_ms: u64) {
        if rate.per_second > 0 {
            self.0 = self.0.max(now_ms * 1000) + interval_us(rate);
        }
    }

    /// Takes a token, or returns the milliseconds until there is one.
    pub(in crate::chat) fn take_if_there(&mut self, rate: Rate, now_ms: u64) -> Result<(), u64> {
        match self.wait_ms(rate, now_ms) {
            0 => {
                self.take(rate, now_ms);
                Ok(())
            }
            wait_ms => Err(wait_ms),
        }
    }

    /// Whether it is full, so that a new one is the same.
    pub(in crate::chat) fn is_full(self, now_ms: u64) -> bool {
        self.0 <= now_ms * 1000
    }
}

fn interval_us(rate: Rate) -> u64 {
    1_000_000 / u64::from(rate.per_second)
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
