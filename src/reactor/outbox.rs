//! What was queued in this tick, for whom and in which order.
//!
//! Everything that goes to a single connection is encoded into one buffer of the loop; a connection holds a chain of
//! segments of it. Nothing is allocated per message, and an echo is written straight from here.

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
    pub(super) start: u32,
    pub(super) end: u32,
    next: u32,
}

/// The tick's buffer.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) bytes: Vec<u8>,
    segments: Vec<Segment>,
    /// The slot of the connection whose segment is the last one and grows with the buffer.
    growing: u32,
    /// Counts publishes, so that direct sends before and after one keep their order.
    order: u32,
}

/// Capacity that the buffer keeps between ticks, in bytes.
const KEPT_CAPACITY: usize = 1 << 20;

impl Outbox {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), segments: Vec::new(), growing: NONE, order: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The number of the next piece that a topic publishes.
    pub(super) fn next_order(&mut self) -> u32 {
        self.stop_growing(self.bytes.len());
        self.order += 2;
        self.order
    }

    /// Whether what is appended now belongs to the connection in slot `index` without further ado: it follows what was
    /// encoded for the same connection just before.
    #[inline]
    pub(super) fn grows_for(&self, index: u32) -> bool {
        self.growing == index
    }

    /// Appends what was encoded since `start` to the chain of the connection in slot `index`.
    pub(super) fn attach(&mut self, index: u32, chain: &mut Chain, start: usize) {
        self.attach_at(chain, start, self.order + 1);
        self.growing = index;
    }

    /// As [`Self::attach`], in the place of a piece that was published earlier.
    pub(super) fn attach_at(&mut self, chain: &mut Chain, start: usize, order: u32) {
        debug_assert!(start < self.bytes.len());
        self.stop_growing(start);
        let at = self.segments.len() as u32;
        self.segments.push(Segment { order, start: start as u32, end: self.bytes.len() as u32, next: NONE });
        match self.segments.get_mut(chain.last as usize) {
            Some(last) => last.next = at,
            None => chain.first = at,
        }
        chain.last = at;
    }

    /// The segment that grew ends at `end`.
    pub(super) fn stop_growing(&mut self, end: usize) {
        if self.growing != NONE {
            self.growing = NONE;
            if let Some(last) = self.segments.last_mut() {
                last.end = end as u32;
            }
        }
    }

    /// The segments of a chain, in the order in which they were attached; none of them may be growing.
    pub(super) fn segments(&self, chain: Chain) -> impl Iterator<Item = Segment> {
        debug_assert_eq!(self.growing, NONE);
        let mut at = chain.first;
        std::iter::from_fn(move || {
            let segment = *self.segments.get(at as usize)?;
            at = segment.next;
            Some(segment)
        })
    }

    /// The octets of a chain that is one segment.
    #[inline]
    pub(super) fn sole_segment(&self, chain: Chain) -> Option<&[u8]> {
        if chain.first != chain.last {
            return None;
        }
        let segment = self.segments.get(chain.first as usize)?;
        Some(&self.bytes[segment.start as usize..segment.end as usize])
    }

    /// Forgets the tick; a buffer that a large message blew up gives its memory back.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes.shrink_to(KEPT_CAPACITY);
        }
        self.segments.clear();
        self.growing = NONE;
        self.order = 0;
    }
}
