//! The order of a room: which numbers and times were given out, what has become history, and what of it is in memory.

use crate::chat::limits::Limits;
use crate::chat::rooms::log::{Log, rev_of};
use crate::chat::rooms::stamp::stamp;
use crate::history::{Action, RoomState};

/// Numbers every change of a room, and keeps the recent history. A number counts as given from the moment at which
/// the change is handed over; it is history once the change is as durable as promised.
#[derive(Debug)]
pub(in crate::chat) struct Order {
    log: Log,
    /// The newest message, and the newest change, that anybody may know of.
    seq: u64,
    rev: u64,
    /// The newest numbers that were given out.
    given_seq: u64,
    given_rev: u64,
    /// The latest time that was given out.
    time: u64,
    /// The oldest message that is kept anywhere.
    oldest: u64,
    /// Changes that were given a number and are not durable yet.
    pending: u32,
    /// Messages whose deletion is not durable yet.
    deleting: Vec<u64>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            log: Log::default(),
            seq: 0,
            rev: 0,
            given_seq: 0,
            given_rev: 0,
            time: 0,
            oldest: 1,
            pending: 0,
            deleting: Vec::new(),
        }
    }
}

impl Order {
    /// What is in memory.
    pub(in crate::chat) fn log(&self) -> &Log {
        &self.log
    }

    /// The newest message that anybody may know of.
    pub(in crate::chat) fn seq(&self) -> u64 {
        self.seq
    }

    /// The newest change that anybody may know of.
    pub(in crate::chat) fn rev(&self) -> u64 {
        self.rev
    }

    /// The latest time that was given out.
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
        self.given_seq == 0 && self.given_rev == 0
    }

    /// Whether changes wait until they are durable.
    pub(in crate::chat) fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// Whether a message is about to be deleted.
    pub(in crate::chat) fn is_deleting(&self, seq: u64) -> bool {
        self.deleting.contains(&seq)
    }

    /// The number and the time of the next message, which waits from now on. Times never fall within a room.
    pub(in crate::chat::rooms) fn next_seq(&mut self, unix_ms: u64) -> (u64, u64) {
        self.given_seq += 1;
        self.time = stamp(self.time, unix_ms);
        self.pending += 1;
        (self.given_seq, self.time)
    }

    /// The number and the time of the next change of a message, which waits from now on.
    pub(in crate::chat::rooms) fn next_rev(&mut self, unix_ms: u64) -> (u64, u64) {
        self.given_rev += 1;
        self.time = stamp(self.time, unix_ms);
        self.pending += 1;
        (self.given_rev, self.time)
    }

    /// A message is about to be deleted.
    pub(in crate::chat::rooms) fn begin_delete(&mut self, seq: u64) {
        self.deleting.push(seq);
    }

    /// A change waits no longer: it is durable.
    pub(in crate::chat::rooms) fn committed(&mut self, action: &Action) {
        self.pending -= 1;
        if let Action::Delete { seq, .. } = action {
            self.deleting.retain(|other| other != seq);
        }
    }

    /// A change comes to nothing, with all that wait: their numbers are used again.
    pub(in crate::chat::rooms) fn undone(&mut self) {
        self.pending -= 1;
        self.deleting.clear();
        (self.given_seq, self.given_rev) = (self.seq, self.rev);
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
                self.given_seq = self.given_seq.max(post.seq);
                self.time = self.time.max(post.time);
                self.log.push(post);
            }
            Action::Edit { rev, .. } | Action::Delete { rev, .. } | Action::React { rev, .. } => {
                self.rev = *rev;
                self.given_rev = self.given_rev.max(*rev);
                self.log.change(action);
            }
            Action::Read { .. } => {}
        }
        prev
    }

    /// What the history says of the room.
    pub(in crate::chat::rooms) fn load(&mut self, state: RoomState) {
        let RoomState { seq, rev, time, oldest, recent, changes } = state;
        (self.seq, self.given_seq, self.rev, self.given_rev) = (seq, seq, rev, rev);
        (self.time, self.oldest) = (time, oldest.max(1));
        self.log.load(recent, changes, seq, rev);
    }

    /// Forgets messages below this one, and what is above the limits.
    pub(in crate::chat::rooms) fn trim(&mut self, below: u64, limits: &Limits) {
        self.log.forget_below(below);
        self.log.trim(limits);
    }

    /// Keeps the newest message only.
    pub(in crate::chat::rooms) fn shrink(&mut self) {
        self.log.shrink();
    }

    /// What is given out is never behind what is history, and what waits accounts for the difference.
    #[cfg(debug_assertions)]
    pub(in crate::chat::rooms) fn check(&self) {
        assert!(self.given_seq >= self.seq && self.given_rev >= self.rev, "numbers are given once");
        let given = self.given_seq - self.seq + self.given_rev - self.rev;
        assert!(u64::from(self.pending) >= given, "{given} numbers are given, {} changes wait", self.pending);
        assert!(self.pending as usize >= self.deleting.len(), "every deletion that is under way waits");
        assert_eq!(self.log.bytes(), self.log.counted_bytes(), "the bytes of a log are counted right");
    }
}
