//! Topics: what was published in this tick is one contiguous batch that all subscribers share.

use std::sync::Arc;

use super::budget::{Budget, Kept};
use crate::app::{Deliveries, SlowPolicy, TopicOptions};
use crate::proto::Encoding;

/// One message in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) order: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    /// The slot of the connection that must not get it.
    pub(super) except: Option<u32>,
    pub(super) key: Option<u64>,
}

/// A connection's place in a topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    pub(super) topic: u32,
    /// Where the connection stands among the members.
    pub(super) position: u32,
    /// In the tick in which it joined: the first piece that it gets.
    pub(super) joined: Option<Joined>,
    pub(super) policy: SlowPolicy,
}

impl Membership {
    /// The first piece of tick `tick` that the connection gets.
    pub(super) fn first_piece(&self, tick: u32) -> usize {
        match self.joined {
            Some(joined) if joined.tick == tick => joined.piece as usize,
            _ => 0,
        }
    }
}

/// The moment of a subscription, within one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) tick: u32,
    pub(super) piece: u32,
}

/// A set of connections and what this tick brought them.
///
/// The topic that the application knows holds those that get plain frames. For each other encoding that its subscribers
/// have there is a variant, a topic of its own with its own batch, so that nothing that comes after `publish` need know
/// that there are encodings.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Slots of the subscribers.
    pub(super) members: Vec<u32>,
    pub(super) batch: Arc<Vec<u8>>,
    /// The batch, once somebody has to wait for it.
    kept: Option<Arc<Kept>>,
    pub(super) pieces: Vec<Piece>,
    /// Some of the pieces are not for everyone.
    pub(super) has_exceptions: bool,
    pub(super) is_removed: bool,
    /// The variants, by encoding; at most nine.
    pub(super) variants: Vec<(Encoding, u32)>,
    /// The topic that the application knows: its own slot, or that of which this is a variant.
    pub(super) root: u32,
    pub(super) options: TopicOptions,
    /// Of the variants, too.
    pub(super) totals: Deliveries,
}

/// Capacity that a batch keeps between ticks, in bytes.
const KEPT_CAPACITY: usize = 1 << 20;

impl Topic {
    pub(super) fn new(root: u32, options: TopicOptions) -> Self {
        Self { root, options, ..Self::default() }
    }

    /// The batch, for somebody who has to wait for it.
    pub(super) fn keep(&mut self, budget: &Budget) -> Arc<Kept> {
        let batch = &self.batch;
        Arc::clone(self.kept.get_or_insert_with(|| Arc::new(Kept::new(Arc::clone(batch), budget))))
    }

    /// The messages of which `start..end` of the batch is made, the first of them perhaps in part.
    pub(super) fn pieces_in(&self, start: usize, end: usize) -> std::ops::Range<usize> {
        let first = self.pieces.partition_point(|piece| piece.end as usize <= start);
        let last = self.pieces.partition_point(|piece| (piece.start as usize) < end);
        first..last
    }

    /// The slot of the variant for an encoding; `own` is that of the topic itself.
    pub(super) fn variant(&self, own: u32, encoding: Encoding) -> Option<u32> {
        if encoding == Encoding::Plain {
            return Some(own);
        }
        self.variants.iter().find(|(other, _)| *other == encoding).map(|(_, variant)| *variant)
    }

    /// The batch, to be appended to. Within a tick nobody else holds it.
    pub(super) fn batch_mut(&mut self) -> &mut Vec<u8> {
        Arc::make_mut(&mut self.batch)
    }

    /// Forgets the tick. A batch that some backlog still holds is left to it.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.has_exceptions = false;
        self.kept = None;
        match Arc::get_mut(&mut self.batch) {
            Some(batch) => {
                batch.clear();
                batch.shrink_to(KEPT_CAPACITY);
            }
            None => self.batch = Arc::default(),
        }
    }
}
