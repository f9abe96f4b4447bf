//! Topics: what was published in this tick is one contiguous batch that all subscribers share.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use slab::Slab;

use super::budget::{Budget, Kept};
use crate::app::{Deliveries, TopicOptions};
use crate::proto::Encoding;
use crate::reactor::slot::{Slot, TopicSlot};
use crate::reactor::table::Table;

/// One message in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) order: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    /// The slot of the connection that must not get it.
    pub(super) except: Option<Slot>,
    pub(super) key: Option<u64>,
}

/// A set of connections and what this tick brought them.
///
/// The topic that the application knows holds those that get plain frames. For each other encoding that its subscribers
/// have there is a variant, a topic of its own with its own batch, so that nothing that comes after `publish` need know
/// that there are encodings.
#[derive(Debug)]
pub(super) struct Topic {
    /// Slots of the subscribers.
    pub(super) members: Vec<Slot>,
    pub(super) batch: Arc<Vec<u8>>,
    /// The batch, once a connection has to wait for it.
    kept: Option<Arc<Kept>>,
    pub(super) pieces: Vec<Piece>,
    /// Some of the pieces are not for all members.
    pub(super) has_exceptions: bool,
    pub(super) is_removed: bool,
    /// The variants, by encoding; at most nine.
    pub(super) variants: Vec<(Encoding, TopicSlot)>,
    /// The topic that the application knows: its own slot, or that of which this is a variant.
    pub(super) root: TopicSlot,
    pub(super) options: TopicOptions,
    /// Of the variants, too.
    pub(super) totals: Deliveries,
}

/// Capacity that a batch keeps between ticks, in bytes.
const KEPT_CAPACITY: usize = 1 << 20;

impl Topic {
    pub(super) fn new(root: TopicSlot, options: TopicOptions) -> Self {
        Self {
            members: Vec::new(),
            batch: Arc::default(),
            kept: None,
            pieces: Vec::new(),
            has_exceptions: false,
            is_removed: false,
            variants: Vec::new(),
            root,
            options,
            totals: Deliveries::default(),
        }
    }

    /// The batch that connections wait for, if some do.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_deref()
    }

    /// The batch, for a connection that has to wait for it.
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
    pub(super) fn variant(&self, own: TopicSlot, encoding: Encoding) -> Option<TopicSlot> {
        if encoding == Encoding::Plain {
            return Some(own);
        }
        self.variants.iter().find(|(other, _)| *other == encoding).map(|(_, variant)| *variant)
    }

    /// The batch, to be appended to. Within a tick nothing else refers to it.
    pub(super) fn batch_mut(&mut self) -> &mut Vec<u8> {
        Arc::make_mut(&mut self.batch)
    }

    /// Forgets the tick. A batch that a backlog refers to is left to the backlog.
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

/// All topics and their variants, and which of them have something to be written.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: Slab<Topic>,
    /// Those in which something was published in this tick.
    dirty: Vec<TopicSlot>,
}

impl Topics {
    /// Makes a topic.
    pub(super) fn create(&mut self, options: TopicOptions) -> TopicSlot {
        let vacant = self.topics.vacant_entry();
        let slot = TopicSlot::new(vacant.key());
        vacant.insert(Topic::new(slot, options));
        slot
    }

    /// The topic in a slot, unless it was removed.
    pub(super) fn get(&self, slot: TopicSlot) -> Option<&Topic> {
        self.topics.get(slot.index()).filter(|topic| !topic.is_removed)
    }

    /// The topic in a slot, also while what was published before it was removed still goes out.
    pub(super) fn any(&self, slot: TopicSlot) -> Option<&Topic> {
        self.topics.get(slot.index())
    }

    /// The variant of a topic for subscribers of an encoding; the first of them makes it.
    pub(super) fn variant_for(&mut self, topic: TopicSlot, encoding: Encoding) -> TopicSlot {
        let root = &self[topic];
        if let Some(variant) = root.variant(topic, encoding) {
            return variant;
        }
        let variant = TopicSlot::new(self.topics.insert(Topic::new(topic, root.options)));
        self[topic].variants.push((encoding, variant));
        variant
    }

    /// A topic in which something is published, and the list of topics that published in this tick.
    #[inline]
    pub(super) fn publishing(&mut self, slot: TopicSlot) -> (&mut Topic, &mut Vec<TopicSlot>) {
        (&mut self.topics[slot.index()], &mut self.dirty)
    }

    /// The topics in which something was published in this tick, by their number.
    #[inline]
    pub(super) fn dirty_at(&self, at: usize) -> Option<TopicSlot> {
        self.dirty.get(at).copied()
    }

    /// Ends a topic and its variants; what was published before still goes out.
    pub(super) fn remove(&mut self, slot: TopicSlot, table: &mut Table) {
        let Some(topic) = self.topics.get_mut(slot.index()) else { return };
        let variants = std::mem::take(&mut topic.variants);
        for slot in std::iter::once(slot).chain(variants.into_iter().map(|(_, variant)| variant)) {
            let topic = &mut self[slot];
            let was_removed = std::mem::replace(&mut topic.is_removed, true);
            if topic.pieces.is_empty() && !was_removed {
                self.forget(slot, table);
            }
        }
    }

    /// Forgets the tick.
    #[inline]
    pub(super) fn clear(&mut self, table: &mut Table) {
        while let Some(slot) = self.dirty.pop() {
            self[slot].clear();
            if self[slot].is_removed {
                self.forget(slot, table);
            }
        }
    }

    fn forget(&mut self, slot: TopicSlot, table: &mut Table) {
        for member in self.topics.remove(slot.index()).members {
            table[member].outbound.memberships.retain(|other| other.topic != slot);
        }
    }

    /// Whether members and memberships agree, and nothing is left of the tick. Calls `charged` for each batch that is kept.
    pub(super) fn check(&self, table: &Table, mut charged: impl FnMut(&Kept)) {
        assert!(self.dirty.is_empty(), "topics that are not flushed");
        let mut members = 0;
        for (index, topic) in &self.topics {
            assert!(topic.pieces.is_empty() && topic.batch.is_empty(), "topic {index} is not cleared");
            assert!(!topic.is_removed, "topic {index} is removed and not forgotten");
            members += topic.members.len();
            topic.kept().into_iter().for_each(&mut charged);
        }
        for (slot, entry) in table.iter() {
            for membership in &entry.outbound.memberships {
                let at = membership.position as usize;
                assert_eq!(self[membership.topic].members[at], slot, "a membership of {slot:?}");
                members -= 1;
            }
        }
        assert_eq!(members, 0, "members without a membership");
    }
}

impl Index<TopicSlot> for Topics {
    type Output = Topic;

    fn index(&self, slot: TopicSlot) -> &Topic {
        &self.topics[slot.index()]
    }
}

impl IndexMut<TopicSlot> for Topics {
    fn index_mut(&mut self, slot: TopicSlot) -> &mut Topic {
        &mut self.topics[slot.index()]
    }
}
