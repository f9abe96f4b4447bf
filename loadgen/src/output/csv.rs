//! The intervals of a run as CSV (RFC 4180).

use std::fmt::Write as _;

use super::buckets::{BUCKETS, bucket_of, quantile};
use super::figures::{micros, per_second};
use super::intervals::Interval;
use super::report::Report;

/// One line for each interval; times are in seconds and microseconds.
pub(crate) fn csv(report: &Report) -> String {
    let mut csv = String::from("start_s,answered,per_second,p50_us,p90_us,p99_us,p99.9_us\r\n");
    for interval in &report.intervals {
        let rate = per_second(interval.answered, report.interval_ns.min(report.window_ns - interval.at_ns));
        let counts = counts(interval);
        // Writing to a string does not fail.
        let _ = write!(csv, "{:.3},{},{rate:.1}", micros(interval.at_ns) / 1e6, interval.answered);
        for q in [0.5, 0.9, 0.99, 0.999] {
            match quantile(&counts, q) {
                Some(nanos) => drop(write!(csv, ",{:.1}", nanos / 1e3)),
                None => csv.push(','),
            }
        }
        csv.push_str("\r\n");
    }
    csv
}

/// The counts of an interval by bucket.
pub(crate) fn counts(interval: &Interval) -> Vec<u64> {
    let mut counts = vec![0; BUCKETS];
    for (bound, count) in &interval.latency {
        counts[bucket_of(*bound)] += count;
    }
    counts
}
