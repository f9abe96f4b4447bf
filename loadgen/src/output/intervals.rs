//! The measured window of a report in equal parts.

use serde::{Deserialize, Serialize};

use super::buckets::lower_bound;
use super::drift::{Part, trend};
use super::record::Record;
use crate::clock::Nanos;

/// An equal part of the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// Nanoseconds after the start of the window.
    pub(crate) at_ns: Nanos,
    /// Answers that arrived in the interval.
    pub(crate) answered: u64,
    /// Latencies of the answers: lower bound of a bucket (16 to each doubling) in nanoseconds, and count.
    pub(crate) latency: Vec<(Nanos, u64)>,
    /// Open loop: messages planned in the interval that were sent, and by how much they left too late in the mean.
    #[serde(default)]
    pub(crate) sent: u64,
    #[serde(default)]
    pub(crate) drift_ns: Nanos,
}

/// See [`trend`].
pub(crate) fn drift_trend(intervals: &[Interval], interval_ns: Nanos) -> Option<f64> {
    let part = |interval: &Interval| Part {
        at: interval.at_ns + interval_ns / 2,
        sent: interval.sent,
        drift: interval.drift_ns,
    };
    trend(&intervals.iter().map(part).collect::<Vec<_>>())
}

/// The intervals of a run.
pub(super) fn intervals(record: &Record) -> Vec<Interval> {
    let series = &record.series;
    let window = record.window.end.saturating_sub(record.window.start);
    (0..series.answered.len())
        .filter(|interval| *interval as u64 * series.interval < window)
        .map(|interval| {
            let row = series.row(interval).iter().enumerate().filter(|(_, count)| **count > 0);
            Interval {
                at_ns: interval as u64 * series.interval,
                answered: series.answered[interval],
                latency: row.map(|(bucket, count)| (lower_bound(bucket), u64::from(*count))).collect(),
                sent: series.sent[interval],
                drift_ns: series.drift(interval),
            }
        })
        .collect()
}
