//! What is known of a room's history: its newest numbers, and its newest part in memory.

use crate::chat::limits::Limits;
use crate::history::log::{Log, rev_of};
use crate::history::{Action, RoomState};

/// The part of a room's history that anybody may know of, as far as it is in memory.
#[derive(Debug)]
pub(in crate::chat) struct Recent {
    log: Log,
    /// The newest message.
    seq: u64,
    /// The newest change.
    rev: u64,
    /// The time of the newest message.
    time: u64,
    /// The oldest message that is kept anywhere.
    oldest: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self { log: Log::default(), seq: 0, rev: 0, time: 0, oldest: 1 }
    }
}

impl Recent {
    /// What is in memory.
    pub(in crate::chat) fn log(&self) -> &Log {
        &self.log
    }

    /// The newest message.
    pub(in crate::chat) fn seq(&self) -> u64 {
        self.seq
    }

    /// The newest change.
    pub(in crate::chat) fn rev(&self) -> u64 {
        self.rev
    }

    /// The time of the newest message.
    pub(in crate::chat) fn time(&self) -> u64 {
        self.time
    }

    /// The oldest message in memory; one more than the newest where none is.
    pub(in crate::chat) fn first_in_memory(&self) -> u64 {
        self.log.first_seq().unwrap_or(self.seq + 1)
    }

    /// The oldest message that may be shown where a room keeps `posts` messages for `ms` milliseconds (0: no limit). The rule
    /// about ages is asked again each time: a clock that is wrong for a moment hides messages for that moment only.
    pub(in crate::chat) fn visible_from(&self, posts: u64, ms: u64, unix_ms: u64) -> u64 {
        let mut oldest = self.oldest;
        if posts > 0 {
            oldest = oldest.max((self.seq + 1).saturating_sub(posts));
        }
        if ms > 0 {
            oldest = oldest.max(self.log.first_after(unix_ms.saturating_sub(ms)));
        }
        oldest
    }

    /// Nothing was ever said here.
    pub(in crate::chat) fn is_blank(&self) -> bool {
        self.seq == 0 && self.rev == 0
    }

    /// Whether a change follows what is history.
    pub(in crate::chat) fn is_next(&self, action: &Action) -> bool {
        match action {
            Action::Post(post) => post.seq == self.seq + 1,
            other => rev_of(other) == self.rev + 1,
        }
    }

    /// A change becomes history. Returns the message that was the newest before it.
    pub(in crate::chat::rooms) fn happened(&mut self, action: &Action) -> u64 {
        let prev = self.seq;
        match action {
            Action::Post(post) => {
                self.seq = post.seq;
                self.time = post.time;
                self.log.push(post);
            }
            Action::Edit { rev, .. } | Action::Delete { rev, .. } | Action::React { rev, .. } => {
                self.rev = *rev;
                self.log.change(action);
            }
            Action::Read { .. } => {}
        }
        prev
    }

    /// What the history says of the room.
    pub(in crate::chat::rooms) fn load(&mut self, state: RoomState) {
        let RoomState { seq, rev, time, oldest, recent, changes, .. } = state;
        (self.seq, self.rev, self.time, self.oldest) = (seq, rev, time, oldest.max(1));
        self.log.load(recent, changes, seq, rev);
    }

    /// Forgets messages below this one, and what is above the limits.
    pub(in crate::chat::rooms) fn trim(&mut self, below: u64, limits: &Limits) {
        self.log.forget_below(below);
        self.log.trim(limits.recent_messages, limits.recent_bytes);
    }

    /// Keeps the newest message only.
    pub(in crate::chat::rooms) fn shrink(&mut self) {
        self.log.shrink();
    }

    #[cfg(debug_assertions)]
    pub(in crate::chat::rooms) fn check(&self) {
        assert_eq!(self.log.bytes(), self.log.counted_bytes(), "the bytes of a log are counted right");
    }
}
