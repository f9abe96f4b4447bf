//! A rate that holds on several loops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::app::Bucket;

/// A bucket that several loops take from. Two that do so in the same instant may both get the last token.
#[derive(Debug, Clone, Default)]
pub(in crate::chat) struct SharedBucket(Arc<AtomicU64>);

impl SharedBucket {
    pub(in crate::chat) fn load(&self) -> Bucket {
        Bucket::full_at(self.0.load(Ordering::Relaxed))
    }

    pub(in crate::chat) fn store(&self, bucket: Bucket) {
        self.0.fetch_max(bucket.is_full_at(), Ordering::Relaxed);
    }

    /// Whether somebody has a copy.
    pub(in crate::chat) fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}
