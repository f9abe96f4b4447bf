//! The measured window in equal intervals: answers and coarse latencies of each.

use std::ops::Range;

use super::buckets::{BUCKETS, OCTAVES, add_octaves, bucket_of, quantile};
use crate::clock::{Nanos, SECOND};

/// Limit on the intervals of a window.
pub(crate) const MAX_INTERVALS: usize = 120;
/// Shortest interval.
const SHORTEST: Nanos = SECOND / 20;

/// Counts and coarse latencies by interval. Setting the window allocates them; recording allocates nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    start: Nanos,
    pub(crate) interval: Nanos,
    /// Answers by the instant of their arrival.
    pub(crate) answered: Vec<u64>,
    /// Messages of an open loop by their planned instants, and the sum of their drifts.
    pub(crate) sent: Vec<u64>,
    drifts: Vec<Nanos>,
    /// A row of [`BUCKETS`] for each interval.
    counts: Vec<u32>,
}

impl Series {
    /// An empty series for a window.
    pub(crate) fn over(window: &Range<Nanos>) -> Self {
        let length = window.end.saturating_sub(window.start).max(1);
        let interval = length.div_ceil(MAX_INTERVALS as u64).max(SHORTEST);
        let intervals = length.div_ceil(interval) as usize;
        Self {
            start: window.start,
            interval,
            answered: vec![0; intervals],
            sent: vec![0; intervals],
            drifts: vec![0; intervals],
            counts: vec![0; intervals * BUCKETS],
        }
    }

    /// Records `count` answers that arrived at `now`, all with one latency.
    #[inline]
    pub(crate) fn record(&mut self, now: Nanos, latency: Nanos, count: u64) {
        let Some(interval) = self.interval_of(now) else { return };
        if let Some(answered) = self.answered.get_mut(interval) {
            *answered += count;
            let cell = &mut self.counts[interval * BUCKETS + bucket_of(latency)];
            *cell = cell.saturating_add(count as u32);
        }
    }

    /// Records that a message left `drift` after its planned instant.
    #[inline]
    pub(crate) fn departed(&mut self, planned: Nanos, drift: Nanos) {
        let Some(interval) = self.interval_of(planned) else { return };
        if let (Some(sent), Some(sum)) = (self.sent.get_mut(interval), self.drifts.get_mut(interval)) {
            *sent += 1;
            *sum = sum.saturating_add(drift);
        }
    }

    /// The mean drift of the messages of an interval; 0 if there are none.
    pub(crate) fn drift(&self, interval: usize) -> Nanos {
        self.drifts[interval].checked_div(self.sent[interval]).unwrap_or(0)
    }

    #[inline]
    fn interval_of(&self, at: Nanos) -> Option<usize> {
        Some(at.checked_sub(self.start)?.checked_div(self.interval)? as usize)
    }

    /// The row of an interval.
    pub(crate) fn row(&self, interval: usize) -> &[u32] {
        &self.counts[interval * BUCKETS..(interval + 1) * BUCKETS]
    }

    /// Adds the series of another thread for the same window.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.answered.is_empty() {
            *self = other.clone();
            return;
        }
        for (mine, theirs) in [
            (&mut self.answered, &other.answered),
            (&mut self.sent, &other.sent),
            (&mut self.drifts, &other.drifts),
        ] {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine = mine.saturating_add(*theirs);
            }
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// All latencies so far by octave, for a live view.
    pub(crate) fn octaves(&self) -> [u64; OCTAVES] {
        let mut sums = [0; OCTAVES];
        self.counts.chunks(BUCKETS).for_each(|row| add_octaves(row, &mut sums));
        sums
    }

    /// p50, p90, p99 and p99.9 of the interval at `now` and the one before it together, in nanoseconds, for a live view.
    pub(crate) fn recent(&self, now: Nanos) -> Option<[f64; 4]> {
        let last = (now.checked_sub(self.start)?.checked_div(self.interval)? as usize)
            .min(self.answered.len().checked_sub(1)?);
        let mut counts = vec![0_u64; BUCKETS];
        for interval in last.saturating_sub(1)..=last {
            counts.iter_mut().zip(self.row(interval)).for_each(|(sum, count)| *sum += u64::from(*count));
        }
        quantile(&counts, 0.5)?;
        Some([0.5, 0.9, 0.99, 0.999].map(|q| quantile(&counts, q).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_in_the_interval_it_came_in() {
        let mut series = Series::over(&(SECOND..13 * SECOND));
        assert_eq!((series.interval, series.answered.len()), (SECOND / 10, 120));
        series.record(SECOND - 1, 5, 1);
        series.record(SECOND, 1_000_000, 3);
        series.record(13 * SECOND - 1, 2_000_000, 4);
        series.record(13 * SECOND, 5, 1);
        assert_eq!((series.answered[0], series.answered[119]), (3, 4));
        assert_eq!(series.answered.iter().sum::<u64>(), 7);
        assert_eq!(series.row(0)[bucket_of(1_000_000)], 3);
        let [p50, _, p99, _] = series.recent(20 * SECOND).unwrap();
        assert!((p50 / 2e6 - 1.0).abs() < 0.07 && (p99 / 2e6 - 1.0).abs() < 0.07, "{p50} {p99}");
    }

    #[test]
    fn threads_add_up_and_a_short_window_has_short_intervals() {
        let mut sum = Series::default();
        sum.record(5, 5, 5);
        assert_eq!(sum.recent(5), None);
        let mut one = Series::over(&(0..SECOND / 2));
        assert_eq!((one.interval, one.answered.len()), (SHORTEST, 10));
        one.record(0, 1_000, 2);
        one.departed(5, 30);
        one.departed(SECOND, 30);
        sum.merge(&one);
        one.departed(5, 60);
        sum.merge(&one);
        assert_eq!((sum.answered[0], sum.row(0)[bucket_of(1_000)]), (4, 4));
        assert_eq!((sum.sent[0], sum.drift(0), sum.drift(1)), (3, 40, 0));
    }
}
