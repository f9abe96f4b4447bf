//! A histogram as it stands in a report.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;

/// Times in nanoseconds.
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
    /// Values with their counts, three digits each, in ascending order: what `merge` and the charts need.
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

    /// A latency of its own count, or nothing where nothing was measured.
    pub(crate) fn some(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self::of(histogram))
    }

    /// Several processes together.
    pub(crate) fn merge(parts: &[&Self]) -> Option<Self> {
        let mut all = Histogram::new_with_bounds(1, 1 << 42, 3).ok()?;
        for (value, count) in parts.iter().flat_map(|part| &part.histogram) {
            all.saturating_record_n(*value, *count);
        }
        let least = parts.iter().filter(|part| part.count > 0).map(|part| part.min).min();
        // Their own is finer than what a histogram of all keeps of it.
        Self::some(&all).map(|all| Self { min: least.unwrap_or(all.min), ..all })
    }

    /// The value of this name in nanoseconds.
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
