//! What a peer has not taken yet. It exists only while there is something.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// Most pieces handed to one `writev`.
const MAX_SLICES: usize = 64;
/// A piece up to this length is copied behind the one before it, in bytes.
const MERGE_LEN: usize = 16 * 1024;

#[derive(Debug)]
enum Data {
    Owned(Vec<u8>),
    /// A batch that other connections wait for too.
    Shared(Arc<Vec<u8>>, usize),
}

impl Data {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes, end) => &bytes[..*end],
        }
    }
}

/// The outbound queue of one connection; whole frames, but for the first one, which may be written in part.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    chunks: VecDeque<Data>,
    /// Octets of the first chunk that are written.
    written: usize,
    len: usize,
}

impl Backlog {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_copy(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if let Some(Data::Owned(last)) = self.chunks.back_mut()
            && last.len() + bytes.len() <= MERGE_LEN
        {
            last.extend_from_slice(bytes);
        } else if !bytes.is_empty() {
            self.chunks.push_back(Data::Owned(bytes.to_vec()));
        }
    }

    /// Queues `batch[start..end]` without a copy, when it is first in the queue or starts at 0.
    pub(super) fn push_shared(&mut self, batch: &Arc<Vec<u8>>, start: usize, end: usize) {
        if start == end {
            return;
        }
        if self.chunks.is_empty() {
            self.written = start;
        } else if start > 0 {
            self.push_copy(&batch[start..end]);
            return;
        }
        self.len += end - start;
        self.chunks.push_back(Data::Shared(Arc::clone(batch), end));
    }

    /// The front of the queue, for one `writev`.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut skip = self.written;
        self.chunks
            .iter()
            .take(MAX_SLICES)
            .map(|chunk| IoSlice::new(&chunk.as_bytes()[std::mem::take(&mut skip)..]))
            .collect()
    }

    /// Forgets `count` octets that were written.
    pub(super) fn advance(&mut self, count: usize) {
        self.len -= count;
        self.written += count;
        while let Some(first) = self.chunks.front()
            && self.written >= first.as_bytes().len()
        {
            self.written -= first.as_bytes().len();
            self.chunks.pop_front();
        }
    }
}
