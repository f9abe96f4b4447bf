//! Where reads go.

/// From here on, in bytes, allocators ask the kernel for memory of its own, which begins with a page.
const OWN_PAGES_LEN: usize = 128 * 1024;
/// Half a page. The tick's buffer begins with a page, too, and what is copied there must not come from the same place in another
/// page or a little before: a processor takes each load then for one that waits for the store before it, since it compares
/// the lower 12 bits of addresses, and a copy of 16 KiB takes eight times as long.
const OFFSET: usize = 2048;

/// A buffer that is read to, and copied from into one that [`aligned`] made.
#[derive(Debug, Default)]
pub(super) struct Landing(Vec<u8>);

impl Landing {
    /// A buffer of `len` bytes.
    pub(super) fn new(len: usize) -> Self {
        let mut memory = vec![0; (OFFSET + len).max(OWN_PAGES_LEN)];
        memory.truncate(OFFSET + len);
        Self(memory)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len() - OFFSET
    }

    #[inline]
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0[OFFSET..]
    }
}

/// An empty buffer for at least `len` bytes that begins with a page.
pub(super) fn aligned(len: usize) -> Vec<u8> {
    Vec::with_capacity(len.max(OWN_PAGES_LEN))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_not_copied_to_the_same_place_in_another_page() {
        for len in [16 * 1024, 64 * 1024, 256 * 1024] {
            let (mut from, to) = (Landing::new(len), aligned(32 * 1024));
            assert_eq!((from.as_mut().len(), from.len()), (len, len));
            let distance = to.as_ptr().addr().wrapping_sub(from.as_mut().as_ptr().addr()) % 4096;
            assert!((1024..=3072).contains(&distance), "{len}: {distance}");
        }
    }
}
