//! A rate that holds on several loops, and in shares on several servers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::app::{Bucket, Millis, Rate};

/// Rates that are looked through at a time for those that nobody needs.
const FIRST_SWEEP: usize = 4096;

/// A bucket that several loops take from. Two that do so in the same instant may both get the last token.
#[derive(Debug, Clone, Default)]
pub(in crate::chat) struct SharedBucket(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    full_at: AtomicU64,
    /// Other servers on which they are.
    others: AtomicU32,
}

impl SharedBucket {
    pub(in crate::chat) fn load(&self) -> Bucket {
        Bucket::full_at(self.0.full_at.load(Ordering::Relaxed))
    }

    pub(in crate::chat) fn store(&self, bucket: Bucket) {
        self.0.full_at.fetch_max(bucket.is_full_at(), Ordering::Relaxed);
    }

    /// They are on so many other servers by now.
    pub(in crate::chat) fn set_others(&self, others: usize) {
        self.0.others.store(u32::try_from(others).unwrap_or(u32::MAX - 1), Ordering::Relaxed);
    }

    /// What of a rate is allowed here: each server on which they are allows the same part, and one at least.
    pub(in crate::chat) fn share(&self, rate: Rate) -> Rate {
        let servers = self.0.others.load(Ordering::Relaxed) + 1;
        let part = |number: u32| if number == 0 { 0 } else { (number / servers).max(1) };
        Rate { per_second: part(rate.per_second), burst: part(rate.burst) }
    }

    /// Whether somebody has a copy.
    pub(in crate::chat) fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// Buckets by whose they are. Those that are full and that nobody holds are forgotten.
#[derive(Debug)]
pub(in crate::chat) struct Rates<K>(Mutex<(HashMap<K, SharedBucket>, usize)>);

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self(Mutex::new((HashMap::new(), FIRST_SWEEP)))
    }
}

impl<K: Hash + Eq + Clone> Rates<K> {
    fn locked(&self) -> MutexGuard<'_, (HashMap<K, SharedBucket>, usize)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the bucket of somebody, if there is one.
    pub(in crate::chat) fn look(&self, key: &K, look: impl FnOnce(&SharedBucket)) {
        if let Some(bucket) = self.locked().0.get(key) {
            look(bucket);
        }
    }

    /// The bucket of somebody.
    pub(in crate::chat) fn of(&self, key: &K, now_ms: Millis) -> SharedBucket {
        let (buckets, sweep_at) = &mut *self.locked();
        if let Some(bucket) = buckets.get(key) {
            return bucket.clone();
        }
        if buckets.len() >= *sweep_at {
            buckets.retain(|_, bucket| bucket.is_held() || !bucket.load().is_full(now_ms));
            *sweep_at = FIRST_SWEEP.max(2 * buckets.len());
        }
        buckets.entry(key.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_share_a_rate_and_none_of_them_forbids_everything() {
        let bucket = SharedBucket::default();
        let rate = |per_second, burst| Rate { per_second, burst };
        assert_eq!(bucket.share(rate(20, 40)), rate(20, 40));
        bucket.set_others(2);
        assert_eq!(bucket.share(rate(20, 40)), rate(6, 13));
        assert_eq!(bucket.share(rate(2, 4)), rate(1, 1));
        assert_eq!(bucket.share(rate(0, 4)), rate(0, 1), "no limit is none");
        bucket.set_others(0);
        assert_eq!(bucket.share(rate(20, 40)), rate(20, 40));
    }

    #[test]
    fn a_rate_holds_wherever_it_is_taken_from_and_is_forgotten_when_it_is_rested() {
        let rates = Rates::default();
        let rate = Rate { per_second: 1, burst: 2 };
        let take = |now| {
            let shared = rates.of(&"ada".to_owned(), now);
            let mut bucket = shared.load();
            let taken = bucket.try_take(rate, now);
            shared.store(bucket);
            taken.is_ok()
        };
        assert_eq!([1, 1, 1, 900, 1001].map(take), [true, true, false, false, true]);
        for number in 0..2 * FIRST_SWEEP {
            rates.of(&number.to_string(), 5000);
        }
        let len = rates.locked().0.len();
        assert!(len <= FIRST_SWEEP + 1, "{len} rates are remembered");
    }
}
