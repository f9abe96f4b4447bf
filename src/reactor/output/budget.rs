//! The memory of all queues together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts bytes that wait for peers. What several connections wait for is counted once.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts `bytes` until the charge is dropped.
    pub(super) fn charge(&self, bytes: usize) -> Charge {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Charge { budget: self.clone(), bytes }
    }
}

/// A share of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Charge {
    /// Bytes that are charged.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The share is `bytes` from now on.
    pub(super) fn set(&mut self, bytes: usize) {
        self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        self.budget.0.fetch_sub(std::mem::replace(&mut self.bytes, bytes), Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A batch that outlives its tick because a connection waits for it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) bytes: Arc<Vec<u8>>,
    charge: Charge,
}

impl Kept {
    pub(super) fn new(bytes: Arc<Vec<u8>>, budget: &Budget) -> Self {
        let charge = budget.charge(bytes.capacity());
        Self { bytes, charge }
    }

    /// What is charged for it, under a number that tells batches apart.
    pub(super) fn charge_for_check(&self) -> (usize, usize) {
        (self.bytes.as_ptr().addr(), self.charge.bytes)
    }
}
