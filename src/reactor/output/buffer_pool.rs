//! A few long buffers that are between two uses. Fresh memory has to be cleared by the kernel, page by page; that costs as
//! much as everything else that is done for a long message.

use crate::proto::{Buffer, Millis};

/// A buffer shorter than this is not worth keeping, in bytes: allocators have warm memory of that size.
const MIN_LEN: usize = 128 * 1024;
/// Bytes that are kept at most.
const MAX_KEPT: usize = 16 * 1024 * 1024;
/// Milliseconds without a use after which all are freed.
const KEEP_MS: Millis = 500;

/// Owns the buffers that are kept for their next use.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    buffers: Vec<Buffer>,
    kept: usize,
    used_at: Millis,
}

impl BufferPool {
    /// Keeps a buffer, or drops it. Returns when to call [`Self::expire`], if this is the first one.
    pub(super) fn put(&mut self, buffer: Buffer, now: Millis) -> Option<Millis> {
        let len = buffer.capacity();
        if len < MIN_LEN || self.kept + len > MAX_KEPT {
            return None;
        }
        let is_first = self.buffers.is_empty();
        self.kept += len;
        self.used_at = now;
        self.buffers.push(buffer);
        is_first.then_some(now + KEEP_MS)
    }

    /// An empty buffer for at least `len` bytes, if there is one: the one that was used last.
    pub(super) fn take(&mut self, len: usize, now: Millis) -> Option<Buffer> {
        let at = self.buffers.iter().rposition(|buffer| buffer.capacity() >= len)?;
        let mut buffer = self.buffers.swap_remove(at);
        self.kept -= buffer.capacity();
        self.used_at = now;
        buffer.truncate(0);
        Some(buffer)
    }

    /// Frees all buffers when none was used for a while. Returns when to look again, if any is kept.
    pub(super) fn expire(&mut self, now: Millis) -> Option<Millis> {
        if now >= self.used_at + KEEP_MS {
            *self = Self::default();
        }
        (!self.buffers.is_empty()).then_some(self.used_at + KEEP_MS)
    }

    /// Whether the count agrees with what is kept.
    pub(super) fn check(&self) {
        let kept: usize = self.buffers.iter().map(Buffer::capacity).sum();
        assert_eq!(self.kept, kept, "bytes kept in the pool");
        assert!(kept <= MAX_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_within_bounds_and_given_back_after_a_while() {
        let mut pool = BufferPool::default();
        assert_eq!(pool.put(vec![1; 10].into(), 0), None);
        assert!(pool.take(1, 0).is_none());
        assert_eq!(pool.put(vec![1; MIN_LEN].into(), 5), Some(5 + KEEP_MS));
        assert_eq!(pool.put(vec![1; MAX_KEPT].into(), 6), None, "too much");
        assert_eq!(pool.put(vec![1; MIN_LEN].into(), 6), None, "the first one told when to look");
        assert!(pool.take(MIN_LEN + 1, 7).is_none());
        assert!(pool.take(MIN_LEN, 8).is_some_and(|buffer| buffer.is_empty()));
        assert_eq!(pool.expire(5 + KEEP_MS), Some(8 + KEEP_MS));
        assert_eq!(pool.expire(8 + KEEP_MS), None);
        assert!(pool.take(MIN_LEN, 9 + KEEP_MS).is_none());
    }
}
