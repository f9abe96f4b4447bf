//! What was seen: counters, histograms, and failures by name.

use std::collections::BTreeMap;
use std::ops::Range;

use hdrhistogram::{CreationError, Histogram};

use crate::clock::{Nanos, SECOND};

/// Latencies are kept between these, with three digits.
const SHORTEST: Nanos = 100;
const LONGEST: Nanos = 3600 * SECOND;
/// A message that goes out so long after its planned instant is late.
pub(crate) const LATE: Nanos = SECOND / 1000;
/// Different names of failures; what comes after goes under one name.
const MAX_FAILURES: usize = 64;
const OTHER_FAILURES: &str = "further kinds of failures";

/// Everything that the report is made of.
#[derive(Debug)]
pub(crate) struct Record {
    /// The measured window. Messages belong to it by their planned instant or, in a closed loop, by their send.
    pub(crate) window: Range<Nanos>,
    /// Messages sent, the warm-up included.
    pub(crate) sent: u64,
    /// Right answers to them.
    pub(crate) echoed: u64,
    /// Right answers that came within the window.
    pub(crate) echoed_in_window: u64,
    /// Messages never answered.
    pub(crate) lost: u64,
    /// Answers that had come before.
    pub(crate) duplicated: u64,
    /// Right answers behind the answer to a later message.
    pub(crate) reordered: u64,
    /// Messages that came and were never sent.
    pub(crate) corrupted: u64,
    /// Messages under way when the run was interrupted.
    pub(crate) cut_off: u64,
    /// Messages whose planned instant came, and which could not be sent.
    pub(crate) unsent: u64,
    /// Messages that left more than [`LATE`] after their planned instant.
    pub(crate) late: u64,
    /// The longest such delay.
    pub(crate) max_lag: Nanos,
    /// Connections whose opening handshake was completed.
    pub(crate) opened: u32,
    /// Connections whose closing handshake was completed, and begun by us.
    pub(crate) closed: u32,
    /// Processor time within the window.
    pub(crate) processor: Nanos,
    failures: BTreeMap<String, u64>,
    from_send: Histogram<u64>,
    from_plan: Histogram<u64>,
    run: Run,
}

/// Answers of one read to messages of one write: they share their latency.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    sent_at: Nanos,
    now: Nanos,
    count: u64,
}

impl Record {
    pub(crate) fn new() -> Result<Self, CreationError> {
        let histogram = Histogram::new_with_bounds(SHORTEST, LONGEST, 3)?;
        Ok(Self {
            window: Nanos::MAX..Nanos::MAX,
            sent: 0,
            echoed: 0,
            echoed_in_window: 0,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            corrupted: 0,
            cut_off: 0,
            unsent: 0,
            late: 0,
            max_lag: 0,
            opened: 0,
            closed: 0,
            processor: 0,
            failures: BTreeMap::new(),
            from_send: histogram.clone(),
            from_plan: histogram,
            run: Run::default(),
        })
    }

    /// A right answer came at `now`.
    #[inline]
    pub(crate) fn echo(&mut self, sent_at: Nanos, now: Nanos) {
        if self.run.sent_at != sent_at || self.run.now != now {
            self.flush();
            self.run = Run { sent_at, now, count: 0 };
        }
        self.run.count += 1;
    }

    /// The same answer, by the planned instant of its message.
    #[inline]
    pub(crate) fn echo_of_plan(&mut self, planned: Nanos, now: Nanos) {
        if self.window.contains(&planned) {
            self.from_plan.saturating_record(now.saturating_sub(planned));
        }
    }

    /// A message of an open loop went out.
    pub(crate) fn departed(&mut self, planned: Nanos, now: Nanos) {
        let lag = now.saturating_sub(planned);
        self.late += u64::from(lag > LATE);
        self.max_lag = self.max_lag.max(lag);
    }

    /// Counts a failure under its name.
    pub(crate) fn failure(&mut self, name: &str) {
        if let Some(count) = self.failures.get_mut(name) {
            *count += 1;
            return;
        }
        let name = if self.failures.len() < MAX_FAILURES { name } else { OTHER_FAILURES };
        *self.failures.entry(name.to_owned()).or_default() += 1;
    }

    /// Right answers so far.
    pub(crate) fn echoed_so_far(&self) -> u64 {
        self.echoed + self.run.count
    }

    /// Ends the recording: what is read below is complete.
    pub(crate) fn flush(&mut self) {
        let Run { sent_at, now, count } = std::mem::take(&mut self.run);
        self.echoed += count;
        if self.window.contains(&now) {
            self.echoed_in_window += count;
        }
        if self.window.contains(&sent_at) && count > 0 {
            self.from_send.saturating_record_n(now.saturating_sub(sent_at), count);
        }
    }

    /// Failures of connections by name, with their counts.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&str, u64)> {
        self.failures.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// How many connections failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Messages that are not what they should be, by name.
    pub(crate) fn faults(&self) -> [(&'static str, u64); 4] {
        [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("corrupted", self.corrupted),
        ]
    }

    /// Whether every connection and every message did what it should.
    pub(crate) fn is_flawless(&self) -> bool {
        self.failures.is_empty() && self.unsent == 0 && self.faults().iter().all(|(_, count)| *count == 0)
    }

    /// Latencies from the actual send.
    pub(crate) fn latency_from_send(&self) -> Latency {
        Latency::of(&self.from_send)
    }

    /// Latencies from the planned instant: only an open loop has them.
    pub(crate) fn latency_from_plan(&self) -> Latency {
        Latency::of(&self.from_plan)
    }
}

/// What is printed of a histogram, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50: Nanos,
    pub(crate) p90: Nanos,
    pub(crate) p99: Nanos,
    pub(crate) p999: Nanos,
    pub(crate) max: Nanos,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn close_to(value: Nanos, expected: Nanos) -> bool {
        value.abs_diff(expected) <= expected / 500
    }

    #[test]
    fn the_warm_up_is_in_no_figure_and_a_late_answer_is() {
        let mut record = Record::new().unwrap();
        record.window = 100 * MS..200 * MS;
        record.echo(10 * MS, 99 * MS);
        record.echo(99 * MS, 101 * MS);
        record.echo(150 * MS, 151 * MS);
        record.echo(150 * MS, 151 * MS);
        record.echo(199 * MS, 700 * MS);
        assert_eq!(record.echoed_so_far(), 5);
        record.flush();
        let latency = record.latency_from_send();
        assert_eq!((record.echoed, record.echoed_in_window, latency.count), (5, 3, 3));
        assert!(close_to(latency.p50, MS) && close_to(latency.max, 501 * MS), "{latency:?}");
    }

    #[test]
    fn a_pause_shows_in_the_planned_latencies_and_hardly_in_the_others() {
        // A message each millisecond; the generator is held up for 100 ms, then sends everything at once.
        let mut record = Record::new().unwrap();
        record.window = 0..1000 * MS;
        for k in 0..1000 {
            let planned = k * MS;
            let sent_at = if (500..600).contains(&k) { 600 * MS } else { planned };
            record.departed(planned, sent_at);
            record.echo(sent_at, sent_at + MS / 10);
            record.echo_of_plan(planned, sent_at + MS / 10);
        }
        record.flush();
        assert!(close_to(record.latency_from_send().p999, MS / 10));
        assert!(
            record.latency_from_plan().p99 > 85 * MS
                && close_to(record.latency_from_plan().max, 100 * MS + MS / 10)
        );
        assert_eq!((record.late, record.max_lag), (99, 100 * MS));
    }

    #[test]
    fn failures_are_counted_by_name_and_their_names_are_bounded() {
        let mut record = Record::new().unwrap();
        assert!(record.is_flawless());
        for name in 0..200 {
            record.failure(&format!("closed early with {name}"));
            record.failure("connection refused");
        }
        assert_eq!(record.failed(), 400);
        assert_eq!(record.failures().count(), MAX_FAILURES + 1);
        assert!(record.failures().any(|failure| failure == ("connection refused", 200)));
        assert!(!record.is_flawless());
    }
}
