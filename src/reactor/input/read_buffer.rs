//! The buffer that sockets are read to.

const PAGE: usize = 4096;

/// A buffer that is read to, half a page away from the one that is copied to. A processor compares the lower 12 bits of
/// addresses: what is copied to the same place in another page, or a little behind it, waits at each load for the store
/// before it, and an echo of 16 KiB costs half as much again.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffer {
    memory: Vec<u8>,
    /// Where the buffer begins in `memory`, in bytes; it ends with it.
    start: usize,
}

impl ReadBuffer {
    /// A buffer of `len` bytes; what arrives there is copied to `target`.
    pub(crate) fn new(len: usize, target: &[u8]) -> Self {
        let mut memory = vec![0; PAGE + len];
        let distance = target.as_ptr().addr().wrapping_sub(memory.as_ptr().addr());
        let start = distance.wrapping_add(PAGE / 2) % PAGE;
        memory.truncate(start + len);
        Self { memory, start }
    }

    pub(crate) fn len(&self) -> usize {
        self.memory.len() - self.start
    }

    #[inline]
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_not_copied_to_the_same_place_in_another_page() {
        for len in [16 * 1024, 64 * 1024, 256 * 1024] {
            let target: Vec<u8> = Vec::with_capacity(len);
            let mut buffer = ReadBuffer::new(len, &target);
            assert_eq!((buffer.as_mut().len(), buffer.len()), (len, len));
            let distance = target.as_ptr().addr().wrapping_sub(buffer.as_mut().as_ptr().addr());
            assert_eq!(distance % PAGE, PAGE / 2);
        }
    }
}
