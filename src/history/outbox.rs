//! Events that the team's backend has not taken yet, in one order for all rooms.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::{Action, Change, Data, EventKinds, Post, Record};

/// What a history keeps for the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxOptions {
    /// Which changes of rooms are kept. Notes are kept whatever this says.
    pub kinds: EventKinds,
    /// Events that may wait. Above it the oldest notes go, and where there are none the oldest changes.
    pub max_events: u64,
}

changeable!(OutboxOptions);

impl Default for OutboxOptions {
    fn default() -> Self {
        Self { kinds: EventKinds::default(), max_events: 1_000_000 }
    }
}

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Grows by 1 with each event, and is never used twice. Where one is missing the event was dropped.
    pub id: u64,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A message, as it is now: what was deleted meanwhile has no text any more.
    Post {
        /// The room's name in its normal form.
        room: Arc<str>,
        /// The message.
        record: Box<Record>,
    },
    /// A change of a message, or a message that nothing has changed.
    Change(Arc<Change>),
    /// A message or a change that the history has forgotten since, by its rules of retention.
    Expired {
        /// The room's name in its normal form.
        room: Arc<str>,
        /// The number of the message; 0 for a change.
        seq: u64,
        /// The number of the change; 0 for a message.
        rev: u64,
    },
    /// What the loops had written down.
    Note(Box<str>),
}

impl What {
    /// Octets of the texts and data that it carries.
    #[must_use]
    pub fn octets(&self) -> usize {
        let carried = |text: &str, data: &Option<Data>| {
            text.len() + data.as_ref().map_or(0, |data| data.as_str().len())
        };
        let of_post = |post: &Post| carried(&post.text, &post.data);
        match self {
            Self::Post { record, .. } => of_post(&record.post),
            Self::Change(change) => match &change.action {
                Action::Post(post) => of_post(post),
                Action::Edit { text, data, .. } => carried(text, data),
                Action::Delete { .. } | Action::React { .. } | Action::Read { .. } => 0,
            },
            Self::Note(body) => body.len(),
            Self::Expired { .. } => 0,
        }
    }
}

/// What is known of an outbox at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The oldest events, by their numbers.
    pub events: Vec<Waiting>,
    /// The newest event that the backend has taken, or that will never be told; the first of `events` has the next number unless
    /// something was dropped.
    pub told: u64,
    /// Events that wait, at most: those that were dropped among them count.
    pub len: u64,
}

/// An event that the backend refuses, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event.
    pub id: u64,
    /// What the backend answered.
    pub why: Box<str>,
    /// What it is about, without texts: those may have to be deleted.
    pub body: Box<str>,
}

/// The end of an outbox that the thread has which tells the backend.
pub trait Outbox: fmt::Debug + Send {
    /// The oldest events after this one, at most so many, and hardly more than so many octets of texts; `None`: they cannot be
    /// read now.
    fn page(&mut self, after: u64, limit: usize, octets: usize) -> Option<Page>;

    /// The backend has taken everything up to this event.
    fn told(&mut self, id: u64);

    /// The backend refuses an event for good.
    fn bury(&mut self, dead: DeadLetter);

    /// Events that were dropped since the start.
    fn dropped(&self) -> Arc<Dropped>;

    /// What rings when something was added.
    fn bell(&mut self) -> &mut Bell;
}

/// Wakes the thread that tells the backend.
#[derive(Debug)]
pub struct Bell {
    rope: Rope,
    rung: Receiver<()>,
}

/// What a [`Bell`] is rung with, from any thread.
#[derive(Debug, Clone)]
pub struct Rope(SyncSender<()>);

impl Rope {
    /// Rings; a bell that rings already goes on.
    pub fn ring(&self) {
        let _ = self.0.try_send(());
    }
}

impl Default for Bell {
    fn default() -> Self {
        let (rope, rung) = sync_channel(1);
        Self { rope: Rope(rope), rung }
    }
}

impl Bell {
    /// Something to ring it with.
    #[must_use]
    pub fn rope(&self) -> Rope {
        self.rope.clone()
    }

    /// Waits until it rings, or for so long.
    pub fn wait(&self, at_most: Duration) {
        match self.rung.recv_timeout(at_most) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("the bell has a rope of its own"),
        }
    }
}

/// Events that were dropped since the start, because too many waited.
#[derive(Debug, Default)]
pub struct Dropped {
    notes: AtomicU64,
    changes: AtomicU64,
}

impl Dropped {
    /// One more was dropped.
    pub fn add(&self, is_note: bool) {
        let count = if is_note { &self.notes } else { &self.changes };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes, and changes of rooms.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        [&self.notes, &self.changes].map(|count| count.load(Ordering::Relaxed))
    }
}
