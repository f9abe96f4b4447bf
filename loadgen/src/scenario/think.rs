//! Think times: which connections wait before their next message, and until when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Nanos;
use crate::input::plan::Plan;
use crate::input::values::ThinkTime;
use crate::run::arrivals::{exponential, next_random};

/// The think times of the connections of one thread: the numbers `thread`, `thread + threads`, and so on.
#[derive(Debug)]
pub(super) struct ThinkTimes {
    think: ThinkTime,
    thread: u32,
    threads: u32,
    random: u64,
    /// For each place the instant until which the connection waits.
    until: Vec<Nanos>,
    /// The waiting connections by instant and place.
    waiting: BinaryHeap<Reverse<(Nanos, u32)>>,
}

impl ThinkTimes {
    pub(super) fn new(think: ThinkTime, plan: &Plan, thread: u32) -> Self {
        Self {
            think,
            thread,
            threads: plan.threads,
            random: plan.seed ^ u64::from(thread) << 32,
            until: vec![Nanos::MAX; plan.share(thread) as usize],
            waiting: BinaryHeap::new(),
        }
    }

    /// Messages begin at `start`. Every connection waits before its first message, so that they are not all at once.
    pub(super) fn begin(&mut self, start: Nanos) {
        (0..self.until.len() as u32).for_each(|place| self.wait(place, start));
    }

    /// The connection has its answer.
    pub(super) fn answered(&mut self, number: u32, now: Nanos) {
        self.wait((number - self.thread) / self.threads, now);
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits are taken")]
    fn wait(&mut self, place: u32, now: Nanos) {
        let unit = (next_random(&mut self.random) >> 11) as f64 / (1_u64 << 53) as f64;
        let until = now + self.think.of(unit, exponential(&mut self.random));
        self.until[place as usize] = until;
        self.waiting.push(Reverse((until, place)));
    }

    /// Whether the connection waits at `now`.
    pub(super) fn is_thinking(&self, number: u32, now: Nanos) -> bool {
        self.until[((number - self.thread) / self.threads) as usize] > now
    }

    /// The place of a connection whose wait has ended. Each call returns another one.
    pub(super) fn next_due(&mut self, now: Nanos) -> Option<u32> {
        let Reverse((until, _)) = self.waiting.peek()?;
        if *until > now {
            return None;
        }
        self.waiting.pop().map(|Reverse((_, place))| place)
    }

    /// The instant at which the next wait ends.
    pub(super) fn next_at(&self) -> Option<Nanos> {
        self.waiting.peek().map(|Reverse((until, _))| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::plan_of;

    #[test]
    fn a_connection_waits_after_its_answer_and_is_due_once() {
        let plan = plan_of("echo --connections 5 --threads 2 --think 10ms-20ms", "127.0.0.1:1").unwrap();
        let mut think = ThinkTimes::new(plan.think.unwrap(), &plan, 1);
        assert!(think.is_thinking(1, 1_000_000_000), "nobody sends before the start");
        think.begin(1000);
        let first = think.next_at().unwrap();
        assert!((10_001_000..20_001_000).contains(&first), "{first}");
        assert_eq!(think.next_due(first - 1), None);
        let mut places: Vec<u32> = std::iter::from_fn(|| think.next_due(20_001_000)).collect();
        places.sort_unstable();
        assert_eq!((places, think.next_at()), (vec![0, 1], None));
        assert!(!think.is_thinking(3, 20_001_000));
        think.answered(3, 30_000_000);
        assert!(think.is_thinking(3, 39_999_999) && !think.is_thinking(3, 50_000_000));
        assert_eq!(think.next_due(50_000_000), Some(1));
    }
}
