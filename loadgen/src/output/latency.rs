//! A latency histogram in a report.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;

/// Percentiles and the histogram behind them; times are in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) min: Nanos,
    pub(crate) p50: Nanos,
    pub(crate) p90: Nanos,
    pub(crate) p99: Nanos,
    #[serde(rename = "p99.9")]
    pub(crate) p999: Nanos,
    #[serde(rename = "p99.99")]
    pub(crate) p9999: Nanos,
    pub(crate) max: Nanos,
    /// Values (three significant digits) with their counts, in ascending order, for `merge` and the charts.
    pub(crate) histogram: Vec<(Nanos, u64)>,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
            histogram: histogram
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        }
    }

    /// The latency of a histogram; `None` if it is empty.
    pub(crate) fn some(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self::of(histogram))
    }

    /// The latencies of several processes as one.
    pub(crate) fn merge(parts: &[&Self]) -> Option<Self> {
        let mut all = Histogram::new_with_bounds(1, 1 << 42, 3).ok()?;
        for (value, count) in parts.iter().flat_map(|part| &part.histogram) {
            all.saturating_record_n(*value, *count);
        }
        let least = parts.iter().filter(|part| part.count > 0).map(|part| part.min).min();
        // Each report has its exact minimum; the histogram of all has three digits of it.
        Self::some(&all).map(|all| Self { min: least.unwrap_or(all.min), ..all })
    }

    /// The percentiles that have enough samples, at least one of them above each, and the maximum.
    pub(crate) fn supported(&self) -> impl Iterator<Item = (&'static str, Nanos)> + use<> {
        let Self { count, p50, p90, p99, p999, max, .. } = *self;
        [("p50", p50, 2), ("p90", p90, 10), ("p99", p99, 100), ("p99.9", p999, 1000), ("max", max, 0)]
            .into_iter()
            .filter(move |(_, _, needed)| count >= *needed)
            .map(|(name, value, _)| (name, value))
    }

    /// The figure of this name in nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of hours are far below 2^52")]
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        Some(match name {
            "min" => self.min as f64,
            "mean" => self.mean,
            "p50" => self.p50 as f64,
            "p90" => self.p90 as f64,
            "p99" => self.p99 as f64,
            "p99.9" => self.p999 as f64,
            "p99.99" => self.p9999 as f64,
            "max" => self.max as f64,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_merged_is_what_was_recorded() {
        let mut all = Histogram::new_with_bounds(100, 1 << 42, 3).unwrap();
        let mut parts = [all.clone(), all.clone()];
        for i in 0..10_000_u64 {
            let value = 1000 + i * i;
            all.saturating_record(value);
            parts[(i % 2) as usize].saturating_record(value);
        }
        let parts = parts.map(|part| Latency::of(&part));
        let merged = Latency::merge(&[&parts[0], &parts[1]]).unwrap();
        let expected = Latency::of(&all);
        assert_eq!(merged.count, 10_000);
        for name in ["p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "min"] {
            let (merged, expected) = (merged.value(name).unwrap(), expected.value(name).unwrap());
            assert!((merged / expected - 1.0).abs() < 0.003, "{name}: {merged} {expected}");
        }
        assert_eq!(expected.value("p42"), None);
        assert_eq!(Latency::merge(&[]), None);
    }
}
