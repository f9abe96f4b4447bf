//! What the output keeps of one connection.

use super::backlog::Backlog;
use super::outbox::Chain;
use crate::app::SlowPolicy;
use crate::proto::Millis;
use crate::reactor::slot::TopicSlot;

/// The output of one connection: what this tick queued for it, what earlier ticks could not write, and what it is
/// subscribed to. Only this room changes it.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// What this tick queued for it alone.
    pub(super) chain: Chain,
    /// What earlier ticks could not write; present while there is something.
    pub(super) backlog: Option<Box<Backlog>>,
    pub(super) memberships: Vec<Membership>,
    /// This tick's batches need filtering or sorting for it; it is in the list of those that are flushed one by one.
    pub(super) is_special: bool,
    /// Not read, because too much waits to be written.
    is_paused: bool,
}

impl Outbound {
    /// Whether something waits that earlier ticks could not write.
    #[inline]
    pub(crate) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    /// Bytes that earlier ticks could not write.
    pub(crate) fn backlog_len(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.len())
    }

    /// Forgets what earlier ticks could not write, and what this one has queued: behind half of a message it would be nonsense.
    pub(crate) fn drop_queue(&mut self) {
        self.backlog = None;
        self.chain = Chain::default();
        self.is_special = false;
    }

    /// When the first of what waits has waited for `max_queue_age` (0: no limit).
    pub(crate) fn too_old_at(&self, max_queue_age: Millis) -> Option<Millis> {
        let oldest = self.backlog.as_ref().filter(|_| max_queue_age > 0)?.oldest()?;
        Some(oldest + max_queue_age)
    }

    /// Whether this tick queued something that is not written yet.
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_special || !self.chain.is_empty()
    }

    /// Marks it to be flushed by itself. `true`: the caller must add it to the list of those.
    pub(super) fn set_special(&mut self) -> bool {
        !std::mem::replace(&mut self.is_special, true)
    }

    /// Whether it is subscribed to something.
    pub(crate) fn is_member(&self) -> bool {
        !self.memberships.is_empty()
    }

    /// Whether it is not read until less waits to be written.
    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Does not read it until less waits to be written.
    pub(crate) fn pause(&mut self) {
        debug_assert!(self.has_backlog(), "nothing would end the pause");
        self.is_paused = true;
    }

    /// Ends the pause, if there is one, once no more than `low_water` bytes wait. `true`: it must be read again.
    pub(super) fn unpause(&mut self, low_water: usize) -> bool {
        self.is_paused && self.backlog_len() <= low_water && {
            self.is_paused = false;
            true
        }
    }
}

/// A connection's place in a topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    pub(super) topic: TopicSlot,
    /// The connection's place among the members.
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

/// When a subscription began, within one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) tick: u32,
    pub(super) piece: u32,
}
