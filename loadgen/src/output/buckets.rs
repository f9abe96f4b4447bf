//! Coarse buckets of latency, sixteen to each doubling: small enough to keep a row of them for every interval.

use crate::clock::Nanos;

/// Buckets to each doubling: a bucket is at most 6.25 % wide.
const PER_OCTAVE: u32 = 16;
/// Octaves from 2^7 ns to 2^43 ns (2.4 hours). Longer latencies share the last bucket.
const LOW_BITS: u32 = 7;
/// Number of octaves.
pub(crate) const OCTAVES: usize = 36;
/// Number of buckets.
pub(crate) const BUCKETS: usize = OCTAVES * PER_OCTAVE as usize;

/// The bucket of a latency.
#[inline]
pub(crate) fn bucket_of(nanos: Nanos) -> usize {
    let nanos = nanos.max(1 << LOW_BITS);
    let octave = nanos.ilog2();
    let step = (nanos >> (octave - PER_OCTAVE.ilog2())) as u32 - PER_OCTAVE;
    (((octave - LOW_BITS) * PER_OCTAVE + step) as usize).min(BUCKETS - 1)
}

/// The lower bound of a bucket in nanoseconds.
pub(crate) fn lower_bound(bucket: usize) -> Nanos {
    let (octave, step) = (bucket as u32 / PER_OCTAVE, bucket as u32 % PER_OCTAVE);
    Nanos::from(PER_OCTAVE + step) << (octave + LOW_BITS - PER_OCTAVE.ilog2())
}

/// The lower bound of an octave in nanoseconds.
pub(crate) fn octave_bound(octave: usize) -> Nanos {
    lower_bound(octave * PER_OCTAVE as usize)
}

/// Adds the counts of each octave.
pub(crate) fn add_octaves(counts: &[u32], sums: &mut [u64; OCTAVES]) {
    for (sum, octave) in sums.iter_mut().zip(counts.chunks(PER_OCTAVE as usize)) {
        *sum += octave.iter().map(|count| u64::from(*count)).sum::<u64>();
    }
}

/// The latency below which the share `quantile` of all counts lies, interpolated within its bucket; `None`: no counts.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52, and buckets are coarse")]
pub(crate) fn quantile(counts: &[u64], quantile: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    let wanted = total as f64 * quantile;
    let mut below = 0.0;
    for (bucket, &count) in counts.iter().enumerate() {
        let count = count as f64;
        if count > 0.0 && below + count >= wanted {
            let (low, high) = (lower_bound(bucket) as f64, lower_bound(bucket + 1) as f64);
            return Some(low + (high - low) * ((wanted - below) / count).clamp(0.0, 1.0));
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_its_bucket_and_buckets_are_narrow() {
        for nanos in
            (0..43).flat_map(|bits| [1_u64 << bits, (1 << bits) + 1, (3 << bits) / 2, (2 << bits) - 1])
        {
            let bucket = bucket_of(nanos);
            let (low, high) = (lower_bound(bucket), lower_bound(bucket + 1));
            assert!(bucket < BUCKETS);
            assert!(nanos.max(1 << LOW_BITS) >= low && nanos < high, "{nanos}: {low}..{high}");
            assert!((high - low) * 16 <= low, "{low}..{high}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_interpolated() {
        let mut counts = [0; BUCKETS];
        assert_eq!(quantile(&counts, 0.5), None);
        counts[bucket_of(1_000_000)] = 90;
        counts[bucket_of(50_000_000)] = 10;
        let (p50, p99) = (quantile(&counts, 0.5).unwrap(), quantile(&counts, 0.99).unwrap());
        assert!((p50 / 1e6 - 1.0).abs() < 0.07, "{p50}");
        assert!((p99 / 50e6 - 1.0).abs() < 0.07, "{p99}");
        assert!(quantile(&counts, 0.0).unwrap() <= p50);
    }
}
