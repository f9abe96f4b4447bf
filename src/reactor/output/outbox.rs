//! What was queued in this tick, for whom and in which order.
//!
//! Everything that goes to a single connection is encoded into one buffer of the loop; a connection holds a chain of
//! segments of it. Nothing is allocated per message, and an echo is written straight from here.

use std::ops::Range;

use crate::app::ConnId;
use crate::proto::Buffer;
use crate::reactor::slot::Slot;

const NONE: u32 = u32::MAX;

/// No connection's handle, in bits: slots are far fewer.
const NOBODY: u64 = u64::MAX;

/// The chain of one connection's segments in the tick's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Chain {
    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// A run of octets for one connection. `order` places it among what topics published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) order: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    slot: Slot,
    next: u32,
    /// Its number among the long payloads, [`NONE`] when it is in the buffer.
    long: u32,
}

impl Segment {
    /// Its number among the long payloads, when it is one and not in the buffer.
    pub(super) fn long(&self) -> Option<u32> {
        (self.long != NONE).then_some(self.long)
    }
}

/// Octets that a connection on the fast path appended: from `start` to the start of the next run.
#[derive(Debug, Clone, Copy)]
struct Run {
    slot: Slot,
    start: u32,
}

/// The tick's buffer.
///
/// The connection on the fast path (see [`Self::enter_fast_path`]) appends to the end of the buffer and nothing else: its
/// octets from `run_start` on are its run. In most ticks there are runs and nothing else, one for each connection, and they
/// are written as they lie. Whatever else is queued first turns all runs into segments (`Output::gather`); from then on a run
/// becomes a segment when the next turn begins.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// Payloads too long to be copied.
    long: Vec<Buffer>,
    segments: Vec<Segment>,
    /// Runs that have ended and are no segments, side by side from the beginning of the buffer.
    runs: Vec<Run>,
    /// Runs stay runs when they end.
    keeps_runs: bool,
    /// The handle, in bits, of the connection on the fast path.
    fast: u64,
    /// Where the octets begin that the connection on the fast path has appended.
    run_start: usize,
    /// Counts publishes, so that direct sends before and after one keep their order.
    order: u32,
}

/// Capacity that the buffer begins with, in bytes: room for what is queued before an early flush, and for the answers to one
/// more read. It stays where it is as long as that is enough.
const USUAL_CAPACITY: usize = 128 * 1024;

/// Capacity that the buffer keeps between ticks, in bytes.
const KEPT_CAPACITY: usize = 1 << 20;

/// Bytes queued in one tick after which everything is written before more is read.
const EARLY_FLUSH_LEN: usize = 32 * 1024;

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(USUAL_CAPACITY),
            long: Vec::new(),
            segments: Vec::new(),
            runs: Vec::new(),
            keeps_runs: true,
            fast: NOBODY,
            run_start: 0,
            order: 0,
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The buffer, to be appended to: by the connection on the fast path, or where there are no runs and before
    /// [`Self::appended`].
    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Puts a connection on the fast path: what it appends is its run. `None`: no connection. There is no run.
    #[inline]
    pub(super) fn enter_fast_path(&mut self, conn: Option<ConnId>) {
        debug_assert!(!self.has_run(), "octets of another connection would be taken for its own");
        self.fast = conn.map_or(NOBODY, ConnId::to_bits);
    }

    /// Nobody is on the fast path. There is no run.
    #[inline]
    pub(super) fn leave_fast_path(&mut self) {
        debug_assert!(!self.has_run(), "octets would go to nobody");
        self.fast = NOBODY;
    }

    #[inline]
    pub(super) fn is_on_fast_path(&self, conn: ConnId) -> bool {
        self.fast == conn.to_bits()
    }

    /// Whether the connection on the fast path has appended octets that are no segment yet.
    #[inline]
    pub(super) fn has_run(&self) -> bool {
        self.run_start != self.bytes.len()
    }

    /// Ends the run. `false`: it must become a segment.
    #[inline]
    pub(super) fn keep_run(&mut self) -> bool {
        debug_assert!(self.fast != NOBODY);
        if self.keeps_runs {
            self.runs.push(Run { slot: ConnId::from_bits(self.fast).into(), start: self.run_start as u32 });
            self.run_start = self.bytes.len();
        }
        self.keeps_runs
    }

    /// Whether runs wait to become segments, or to be written.
    #[inline]
    pub(super) fn has_runs(&self) -> bool {
        !self.runs.is_empty() || self.has_run()
    }

    /// Ends the run, if there is one. From now on no runs are kept.
    pub(super) fn end_runs(&mut self) {
        if self.has_run() {
            self.keeps_runs = true;
            self.keep_run();
        }
        self.keeps_runs = false;
    }

    /// Forgets the runs: they are segments.
    pub(super) fn clear_runs(&mut self) {
        self.runs.clear();
    }

    /// The slot and the octets of a run that has ended.
    #[inline]
    pub(super) fn run_at(&self, at: usize) -> Option<(Slot, Range<usize>)> {
        let run = self.runs.get(at)?;
        let end = self.runs.get(at + 1).map_or(self.run_start, |next| next.start as usize);
        Some((run.slot, run.start as usize..end))
    }

    /// What was appended is accounted for: a run begins here.
    #[inline]
    pub(super) fn appended(&mut self) {
        self.run_start = self.bytes.len();
    }

    /// The slot of the connection for which is all that was queued: its run began with the buffer (every segment has octets
    /// in it), and nothing was published.
    #[inline]
    pub(super) fn sole_run(&self) -> Option<Slot> {
        let is_sole = self.run_start as u64 | u64::from(self.order) == 0 && !self.bytes.is_empty();
        debug_assert!(!is_sole || self.segments.is_empty() && self.runs.is_empty() && self.fast != NOBODY);
        is_sole.then(|| ConnId::from_bits(self.fast).into())
    }

    /// The number of the next piece that a topic publishes. There is no run.
    pub(super) fn next_order(&mut self) -> u32 {
        debug_assert!(!self.has_runs());
        self.order += 2;
        self.order
    }

    /// Appends octets of the buffer to a connection's chain.
    #[inline]
    pub(super) fn attach(&mut self, chain: &mut Chain, slot: Slot, octets: Range<usize>) {
        let (start, end) = (octets.start as u32, octets.end as u32);
        debug_assert!(start < end);
        let order = self.order + 1;
        if let Some(last) = self.segments.last_mut()
            && (last.slot, last.end, last.order, last.long) == (slot, start, order, NONE)
        {
            last.end = end;
            return;
        }
        self.push(chain, Segment { order, long: NONE, start, end, slot, next: NONE });
    }

    /// As [`Self::attach`], in the place of a piece that was published earlier.
    pub(super) fn attach_at(&mut self, chain: &mut Chain, slot: Slot, start: usize, order: u32) {
        let (start, end) = (start as u32, self.bytes.len() as u32);
        self.push(chain, Segment { order, long: NONE, start, end, slot, next: NONE });
    }

    /// Appends a long payload to a connection's chain.
    pub(super) fn attach_long(&mut self, chain: &mut Chain, slot: Slot, payload: Buffer) {
        let (long, end) = (self.long.len() as u32, payload.len() as u32);
        self.long.push(payload);
        self.push(chain, Segment { order: self.order + 1, long, start: 0, end, slot, next: NONE });
    }

    /// A long payload.
    pub(super) fn long(&self, at: u32) -> &[u8] {
        &self.long[at as usize]
    }

    /// Takes a long payload, to be kept.
    pub(super) fn take_long(&mut self, at: u32) -> Buffer {
        std::mem::take(&mut self.long[at as usize])
    }

    /// Takes all long payloads, for their buffers.
    pub(super) fn clear_long(&mut self) -> Vec<Buffer> {
        std::mem::take(&mut self.long)
    }

    /// Whether there is so much that it should be written before more is read.
    #[inline]
    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() > EARLY_FLUSH_LEN || !self.long.is_empty()
    }

    #[inline]
    fn push(&mut self, chain: &mut Chain, segment: Segment) {
        let at = self.segments.len() as u32;
        self.segments.push(segment);
        match self.segments.get_mut(chain.last as usize) {
            Some(last) => last.next = at,
            None => chain.first = at,
        }
        chain.last = at;
    }

    /// The connections of all segments, in the order in which they were attached, each with the number of the segment.
    #[inline]
    pub(super) fn slot_at(&self, at: usize) -> Option<Slot> {
        self.segments.get(at).map(|segment| segment.slot)
    }

    /// Whether a chain begins with segment `at`.
    #[inline]
    pub(super) fn begins_with(chain: Chain, at: usize) -> bool {
        chain.first as usize == at
    }

    /// The segments of a chain, in the order in which they were attached; there is no run.
    pub(super) fn segments(&self, chain: Chain) -> impl Iterator<Item = Segment> {
        debug_assert!(!self.has_runs());
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
        let segment = self.segments.get(chain.first as usize).filter(|segment| segment.long == NONE)?;
        Some(segment.start as usize..segment.end as usize)
    }

    /// Forgets a tick in which there was a sole run.
    #[inline]
    pub(super) fn clear_sole_run(&mut self) {
        debug_assert!(self.sole_run().is_some() && self.long.is_empty());
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_CAPACITY {
            self.shrink();
        }
        self.keeps_runs = true;
    }

    /// Frees the memory that a large message made the buffer grow by.
    #[cold]
    fn shrink(&mut self) {
        self.bytes.shrink_to(KEPT_CAPACITY);
    }

    /// Forgets the tick, and who is on the fast path.
    pub(super) fn clear(&mut self) {
        debug_assert!(self.long.is_empty());
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_CAPACITY {
            self.shrink();
        }
        self.segments.clear();
        self.runs.clear();
        self.keeps_runs = true;
        self.run_start = 0;
        self.fast = NOBODY;
        self.order = 0;
    }

    /// Whether all that was queued is runs that have ended.
    #[inline]
    pub(super) fn has_only_runs(&self) -> bool {
        !self.runs.is_empty() && self.keeps_runs
    }

    /// Whether all that was queued is gone.
    pub(super) fn check(&self) {
        assert!(self.bytes.is_empty() && self.segments.is_empty() && self.long.is_empty(), "{self:?}");
        assert!(self.runs.is_empty() && self.keeps_runs, "{self:?}");
        assert_eq!((self.run_start, self.order), (0, 0));
    }
}
