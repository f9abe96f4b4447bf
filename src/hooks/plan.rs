//! When what is told. Pure: what came of a request and chance are arguments.

/// Events of one request at most.
pub(super) const MAX_BATCH: usize = 500;
/// Times that the backend refuses one event before it is told no more.
pub(super) const DEAD_AFTER: u32 = 5;
/// Milliseconds between two attempts: at first, and at most.
pub(super) const RETRY_MS: (u64, u64) = (100, 30_000);
/// Seconds that a backend may put off the next attempt for (`Retry-After`).
const MAX_RETRY_AFTER_S: u64 = 300;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// It was taken.
    Taken,
    /// Something in it is refused: 400, 413 or 422.
    Refused(u16),
    /// It did not get through, or the backend is not able now; with the seconds that it wants to be left alone for.
    Failed(Option<u64>),
}

impl Told {
    pub(super) fn of(status: u16, retry_after_s: Option<u64>) -> Self {
        match status {
            200..=299 => Self::Taken,
            // What another address or another secret would change is no fault of an event.
            400 | 413 | 422 => Self::Refused(status),
            _ => Self::Failed(retry_after_s),
        }
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next events.
    GoOn,
    /// The same events after so many milliseconds, of them as many as [`Plan::limit`] says now.
    Again(u64),
    /// The one event is told no more.
    Bury,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Plan {
    limit: usize,
    /// Requests in a row that did not get through.
    failures: u32,
    /// Times that the one event was refused.
    refusals: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self { limit: MAX_BATCH, failures: 0, refusals: 0 }
    }
}

impl Plan {
    /// How many events the next request has at most.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// What comes after a request with so many events. `chance` is any number.
    pub(super) fn after(&mut self, told: &Told, events: usize, chance: u64) -> Next {
        match told {
            Told::Taken => {
                (self.failures, self.refusals) = (0, 0);
                self.limit = (self.limit * 2).min(MAX_BATCH);
                Next::GoOn
            }
            // Halves lead to the event that is meant.
            Told::Refused(_) if events > 1 => {
                (self.failures, self.refusals) = (0, 0);
                self.limit = events / 2;
                Next::Again(0)
            }
            Told::Refused(_) => {
                self.failures = 0;
                self.refusals += 1;
                self.limit = 1;
                if self.refusals >= DEAD_AFTER {
                    self.refusals = 0;
                    return Next::Bury;
                }
                Next::Again(wait_ms(self.refusals, chance))
            }
            Told::Failed(retry_after_s) => {
                self.failures = self.failures.saturating_add(1);
                let asked = retry_after_s.map(|seconds| seconds.min(MAX_RETRY_AFTER_S) * 1000);
                Next::Again(asked.unwrap_or(0).max(wait_ms(self.failures, chance)))
            }
        }
    }
}

/// Twice as long each time, and between half of that and all of it, so that many servers do not come at once.
fn wait_ms(times: u32, chance: u64) -> u64 {
    let (least, most) = RETRY_MS;
    let wait = least.saturating_mul(1 << (times - 1).min(20)).min(most);
    wait / 2 + chance % (wait / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_less_and_less_often_until_one_gets_through() {
        let mut plan = Plan::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            match plan.after(&Told::Failed(None), 9, u64::MAX) {
                Next::Again(ms) => waits.push(ms),
                other => panic!("{other:?}"),
            }
        }
        let bounds = (0..12).map(|times| (RETRY_MS.0 << times).min(RETRY_MS.1));
        assert!(waits.iter().zip(bounds).all(|(wait, most)| (most / 2..=most).contains(wait)), "{waits:?}");
        assert_eq!(plan.after(&Told::Taken, 9, 0), Next::GoOn);
        assert_eq!(plan.after(&Told::Failed(None), 9, 0), Next::Again(RETRY_MS.0 / 2));
        assert_eq!(plan.after(&Told::Failed(Some(7)), 9, 0), Next::Again(7000));
        assert_eq!(plan.after(&Told::Failed(Some(u64::MAX)), 9, 0), Next::Again(MAX_RETRY_AFTER_S * 1000));
    }

    /// A backend that refuses some events gets all others, each once where nothing else fails, and the dead are the refused.
    #[test]
    fn the_refused_are_found_and_nobody_else_is_lost() {
        for (bad, events) in
            [(vec![], 40), (vec![0], 1), (vec![7], 700), (vec![0, 1, 699], 700), (vec![3, 5], 6)]
        {
            let mut plan = Plan::default();
            let (mut at, mut taken, mut dead, mut requests) = (0, Vec::new(), Vec::new(), 0);
            while at < events {
                requests += 1;
                assert!(requests < 1000, "it comes to an end");
                let batch: Vec<usize> = (at..events).take(plan.limit()).collect();
                let is_bad = batch.iter().any(|event| bad.contains(event));
                let told = if is_bad { Told::Refused(422) } else { Told::Taken };
                match plan.after(&told, batch.len(), 0) {
                    Next::GoOn => {
                        at += batch.len();
                        taken.extend(batch);
                    }
                    Next::Again(_) => {}
                    Next::Bury => {
                        assert_eq!(batch.len(), 1);
                        at += 1;
                        dead.extend(batch);
                    }
                }
            }
            assert_eq!(dead, bad);
            let good: Vec<usize> = (0..events).filter(|event| !bad.contains(event)).collect();
            assert_eq!(taken, good);
        }
    }

    #[test]
    fn only_what_is_said_of_the_content_is_a_refusal() {
        let of = |status| Told::of(status, None);
        assert!([200, 202, 204].into_iter().all(|status| of(status) == Told::Taken));
        assert!([400, 413, 422].into_iter().all(|status| of(status) == Told::Refused(status)));
        let others = [301, 401, 403, 404, 405, 408, 429, 500, 503];
        assert!(others.into_iter().all(|status| of(status) == Told::Failed(None)));
    }
}
