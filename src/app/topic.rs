//! Topics: sets of connections that get the same messages.

/// A set of connections that get the same messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub(crate) u32);

/// What a topic does when the queue of a subscriber that reads too slowly is full. Messages for one connection alone and
/// control frames are never dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SlowPolicy {
    /// The connection is closed with 1008: nothing that a subscriber gets has a gap.
    #[default]
    Close,
    /// The oldest messages of the topic that wait make room for the new one.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// Of the messages with one key ([`Context::publish_keyed`](super::Context::publish_keyed)) only the newest waits, even where there is room for more;
    /// where there is none, as [`Self::DropOldest`].
    Conflate,
}

/// How a topic treats its subscribers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicOptions {
    /// For subscribers that read too slowly.
    pub slow_policy: SlowPolicy,
    /// Bytes that may wait for a subscriber before the policy drops; [`Config::max_backlog`] when `None`. Does not concern
    /// [`SlowPolicy::Close`].
    ///
    /// [`Config::max_backlog`]: crate::reactor::Config::max_backlog
    pub max_queue: Option<usize>,
}

changeable!(TopicOptions);

/// What [`Context::publish`](super::Context::publish) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Connections that the message is for.
    pub receivers: usize,
    /// What became of all that the topic published in earlier ticks.
    pub totals: Deliveries,
}

/// Counts messages, once for each receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// The socket took them at once.
    pub delivered: u64,
    /// They had to wait.
    pub queued: u64,
    /// They were dropped because the receiver reads too slowly, some of them after they had waited.
    pub dropped: u64,
}
