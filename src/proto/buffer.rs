//! The memory of a message that is put together.

use std::collections::TryReserveError;
use std::fmt;
use std::ops::{Deref, DerefMut};

#[cfg(feature = "mmap")]
use memmap2::MmapMut;

/// From this length on, in bytes, a buffer is a mapping of its own. An allocator would keep such memory for later, and one
/// small block above it would keep all of it from going back to the system.
#[cfg(feature = "mmap")]
const MAPPED_LEN: usize = 128 * 1024;

/// Octets of a long payload. With the feature `net` 128 KiB and more of them are a mapping of their own, which goes back to the
/// system when the buffer is dropped.
#[derive(Debug)]
pub struct Buffer(Memory);

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    #[cfg(feature = "mmap")]
    Mapped {
        map: MmapMut,
        len: usize,
    },
}

/// There is no memory for a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory for a long payload")
    }
}

impl std::error::Error for OutOfMemory {}

impl From<TryReserveError> for OutOfMemory {
    fn from(_: TryReserveError) -> Self {
        Self
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Memory::Heap(bytes))
    }
}

impl Buffer {
    /// An empty buffer with room for `capacity` bytes.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn with_capacity(capacity: usize) -> Result<Self, OutOfMemory> {
        let mut buffer = Self::default();
        buffer.grow(capacity)?;
        Ok(buffer)
    }

    /// Bytes that fit without more memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match &self.0 {
            Memory::Heap(bytes) => bytes.capacity(),
            #[cfg(feature = "mmap")]
            Memory::Mapped { map, .. } => map.len(),
        }
    }

    /// Makes room for `capacity` bytes in all.
    pub(super) fn grow(&mut self, capacity: usize) -> Result<(), OutOfMemory> {
        if capacity <= self.capacity() {
            return Ok(());
        }
        match &mut self.0 {
            #[cfg(feature = "mmap")]
            _ if capacity >= MAPPED_LEN => {
                let len = self.len();
                // Pages that nobody writes to cost nothing, so there is room for what may come, unless that is too much.
                let map = MmapMut::map_anon(capacity.max(2 * len)).or_else(|_| MmapMut::map_anon(capacity));
                let mut map = map.map_err(|_| OutOfMemory)?;
                map[..len].copy_from_slice(self);
                self.0 = Memory::Mapped { map, len };
                Ok(())
            }
            Memory::Heap(bytes) => Ok(bytes.try_reserve_exact(capacity - bytes.len())?),
            #[cfg(feature = "mmap")]
            Memory::Mapped { .. } => Err(OutOfMemory),
        }
    }

    /// Appends octets for which there is room.
    pub(super) fn append(&mut self, octets: &[u8]) {
        match &mut self.0 {
            Memory::Heap(bytes) => bytes.extend_from_slice(octets),
            #[cfg(feature = "mmap")]
            Memory::Mapped { map, len } => {
                map[*len..][..octets.len()].copy_from_slice(octets);
                *len += octets.len();
            }
        }
    }

    /// Appends `count` octets for which there is room, of any value, and returns them to be written over.
    pub(super) fn append_room(&mut self, count: usize) -> &mut [u8] {
        match &mut self.0 {
            Memory::Heap(bytes) => {
                let start = bytes.len();
                bytes.resize(start + count, 0);
                &mut bytes[start..]
            }
            #[cfg(feature = "mmap")]
            Memory::Mapped { map, len } => {
                *len += count;
                &mut map[*len - count..*len]
            }
        }
    }

    /// Keeps the first `count` octets.
    pub(crate) fn truncate(&mut self, count: usize) {
        match &mut self.0 {
            Memory::Heap(bytes) => bytes.truncate(count),
            #[cfg(feature = "mmap")]
            Memory::Mapped { len, .. } => *len = count.min(*len),
        }
    }

    /// The octets as a vector; those of a mapping are copied into one first.
    pub(super) fn as_vec(&mut self) -> &mut Vec<u8> {
        #[cfg(feature = "mmap")]
        if let Memory::Mapped { .. } = &self.0 {
            self.0 = Memory::Heap(self.to_vec());
        }
        match &mut self.0 {
            Memory::Heap(bytes) => bytes,
            #[cfg(feature = "mmap")]
            Memory::Mapped { .. } => unreachable!("it was copied to the heap"),
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Heap(bytes) => bytes,
            #[cfg(feature = "mmap")]
            Memory::Mapped { map, len } => &map[..*len],
        }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Heap(bytes) => bytes,
            #[cfg(feature = "mmap")]
            Memory::Mapped { map, len } => &mut map[..*len],
        }
    }
}

#[cfg(all(test, feature = "mmap"))]
mod tests {
    use super::*;

    #[test]
    fn octets_stay_while_a_buffer_grows_from_the_heap_into_a_mapping_and_on() {
        let mut buffer = Buffer::default();
        let mut expected = Vec::new();
        for capacity in [10, MAPPED_LEN - 1, MAPPED_LEN, 3 * MAPPED_LEN] {
            buffer.grow(capacity).unwrap();
            assert!(buffer.capacity() >= capacity);
            assert_eq!(matches!(buffer.0, Memory::Mapped { .. }), capacity >= MAPPED_LEN);
            buffer.append(b"abc");
            buffer.append_room(2).copy_from_slice(b"de");
            expected.extend_from_slice(b"abcde");
            assert_eq!(*buffer, expected);
        }
        buffer.truncate(7);
        buffer[6] = b'!';
        assert_eq!(&*buffer, b"abcdea!");
        assert_eq!(buffer.as_vec(), b"abcdea!");
        assert!(matches!(buffer.0, Memory::Heap(_)));
    }

    #[test]
    fn a_claim_beyond_all_memory_is_an_error() {
        assert!(Buffer::default().grow(usize::MAX / 2).is_err());
    }
}
