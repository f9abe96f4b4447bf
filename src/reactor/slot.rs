//! Places in the tables of the loop: the compiler tells those of connections and those of topics apart.

use crate::app::{ConnId, TopicId};

/// The place of a connection in the table. It is used again when the connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u32);

impl Slot {
    pub(crate) fn new(index: usize) -> Self {
        debug_assert!(u32::try_from(index).is_ok(), "more connections than there are descriptors");
        Self(index as u32)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// The handle of the connection of a generation in this place.
    #[inline]
    pub(crate) fn conn(self, generation: u32) -> ConnId {
        ConnId { index: self.0, generation }
    }
}

impl From<ConnId> for Slot {
    #[inline]
    fn from(conn: ConnId) -> Self {
        Self(conn.index)
    }
}

/// The place of a topic, or of a variant of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicSlot(u32);

impl TopicSlot {
    pub(crate) fn new(index: usize) -> Self {
        debug_assert!(u32::try_from(index).is_ok(), "more topics than memory has room for");
        Self(index as u32)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// The handle of the topic.
    pub(crate) fn id(self) -> TopicId {
        TopicId(self.0)
    }
}

impl From<TopicId> for TopicSlot {
    fn from(topic: TopicId) -> Self {
        Self(topic.0)
    }
}
