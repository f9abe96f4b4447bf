//! What was queued in this tick, for whom and in which order.
//!
//! Everything that goes to a single connection is encoded into one buffer of the loop; a connection holds a chain of
//! segments of it. Nothing is allocated per message, and an echo is written straight from here.

use std::ops::Range;

use crate::proto::Buffer;

const NONE: u32 = u32::MAX;

/// The chain of one connection's segments in the tick's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    #[cfg(debug_assertions)]
    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// A run of octets for one connection. `order` places it among what topics published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) order: u32,
    /// Its number among the long payloads, when it is one and not in the buffer.
    pub(super) long: Option<u32>,
    pub(super) start: u32,
    pub(super) end: u32,
    next: u32,
}

/// The tick's buffer.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) bytes: Vec<u8>,
    /// Payloads too long to be copied.
    long: Vec<Buffer>,
    segments: Vec<Segment>,
    /// The slot of the connection whose octets are at the end of the buffer and not a segment yet; more of the same
    /// connection simply follow. Most ticks of a quiet server hold one such run and nothing else.
    running: u32,
    run_start: u32,
    /// Counts publishes, so that direct sends before and after one keep their order.
    order: u32,
}

/// Capacity that the buffer begins with, in bytes: room for what is queued before an early flush, and for the answers to one
/// more read. It stays where it is as long as that is enough.
const USUAL_CAPACITY: usize = 128 * 1024;

/// Capacity that the buffer keeps between ticks, in bytes.
const KEPT_CAPACITY: usize = 1 << 20;

/// Bytes queued in one tick after which everything is written before more is read.
pub(super) const EARLY_FLUSH_LEN: usize = 32 * 1024;

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(USUAL_CAPACITY),
            long: Vec::new(),
            segments: Vec::new(),
            running: NONE,
            run_start: 0,
            order: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The number of the next piece that a topic publishes. No run may be open.
    pub(super) fn next_order(&mut self) -> u32 {
        debug_assert_eq!(self.running, NONE);
        self.order += 2;
        self.order
    }

    /// Whether what was appended just now belongs to the connection in slot `index` without further ado.
    #[inline]
    pub(super) fn runs_for(&self, index: u32) -> bool {
        self.running == index
    }

    /// Whether a run is open.
    #[inline]
    pub(super) fn has_run(&self) -> bool {
        self.running != NONE
    }

    /// What is appended from `start` on belongs to the connection in slot `index`.
    #[inline]
    pub(super) fn begin_run(&mut self, index: u32, start: usize) {
        debug_assert_eq!(self.running, NONE);
        self.running = index;
        self.run_start = start as u32;
    }

    /// Ends the run, if there is one: gives the slot of its connection and where it starts.
    #[inline]
    pub(super) fn end_run(&mut self) -> Option<(u32, usize)> {
        let index = std::mem::replace(&mut self.running, NONE);
        (index != NONE).then_some((index, self.run_start as usize))
    }

    /// The slot of the connection for which is all that was queued: the run began with the buffer (every segment has octets
    /// in it), and nothing was published.
    #[inline]
    pub(super) fn sole_runner(&self) -> Option<u32> {
        let is_sole = self.running != NONE && self.run_start | self.order == 0;
        debug_assert!(!is_sole || self.segments.is_empty());
        is_sole.then_some(self.running)
    }

    /// Appends `start..end` to a connection's chain.
    pub(super) fn attach(&mut self, chain: &mut Chain, start: usize, end: usize) {
        self.attach_at(chain, start, end, self.order + 1);
    }

    /// As [`Self::attach`], in the place of a piece that was published earlier.
    pub(super) fn attach_at(&mut self, chain: &mut Chain, start: usize, end: usize, order: u32) {
        debug_assert!(start < end && end <= self.bytes.len());
        self.push(chain, Segment { order, long: None, start: start as u32, end: end as u32, next: NONE });
    }

    /// Appends a long payload to a connection's chain.
    pub(super) fn attach_long(&mut self, chain: &mut Chain, payload: Buffer) {
        let (long, end) = (Some(self.long.len() as u32), payload.len() as u32);
        self.long.push(payload);
        self.push(chain, Segment { order: self.order + 1, long, start: 0, end, next: NONE });
    }

    /// A long payload.
    pub(super) fn long(&self, at: u32) -> &[u8] {
        &self.long[at as usize]
    }

    /// Takes a long payload, to be kept.
    pub(super) fn take_long(&mut self, at: u32) -> Buffer {
        std::mem::take(&mut self.long[at as usize])
    }

    /// Whether there are long payloads.
    #[inline]
    pub(super) fn has_long(&self) -> bool {
        !self.long.is_empty()
    }

    /// Takes all long payloads, for their buffers.
    pub(super) fn clear_long(&mut self) -> Vec<Buffer> {
        std::mem::take(&mut self.long)
    }

    /// Whether there is so much that it should be written before more is read.
    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() > EARLY_FLUSH_LEN || !self.long.is_empty()
    }

    fn push(&mut self, chain: &mut Chain, segment: Segment) {
        let at = self.segments.len() as u32;
        self.segments.push(segment);
        match self.segments.get_mut(chain.last as usize) {
            Some(last) => last.next = at,
            None => chain.first = at,
        }
        chain.last = at;
    }

    /// The segments of a chain, in the order in which they were attached; no run may be open.
    pub(super) fn segments(&self, chain: Chain) -> impl Iterator<Item = Segment> {
        debug_assert_eq!(self.running, NONE);
        let mut at = chain.first;
        std::iter::from_fn(move || {
            let segment = *self.segments.get(at as usize)?;
            at = segment.next;
            Some(segment)
        })
    }

    /// Where the octets of a chain lie that is one segment.
    #[inline]
    pub(super) fn sole_segment(&self, chain: Chain) -> Option<Range<usize>> {
        if chain.first != chain.last {
            return None;
        }
        let segment = self.segments.get(chain.first as usize).filter(|segment| segment.long.is_none())?;
        Some(segment.start as usize..segment.end as usize)
    }

    /// Forgets the tick; a buffer that a large message blew up gives its memory back.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes.shrink_to(KEPT_CAPACITY);
        }
        debug_assert!(self.long.is_empty());
        self.segments.clear();
        self.running = NONE;
        self.order = 0;
    }
}
