//! A search through a history in memory that is under way.

use crate::chat::ids::RoomId;
use crate::chat::rooms::Hold;
use crate::chat::wire::reply_to::ReplyTo;
use crate::history::Record;
use crate::text::words::Query;

/// What looking at a message costs besides its text.
const LOOK: usize = 64;

/// A search through a history in memory, from the newest message to the oldest.
#[derive(Debug)]
pub(in crate::chat) struct Scan {
    reply_to: ReplyTo,
    hold: Hold,
    query: Query,
    limit: usize,
    /// The messages below are still to be looked at.
    before: u64,
    found: Vec<u64>,
}

impl Scan {
    /// Looks for at most `limit` messages below `before`.
    pub(in crate::chat) fn new(
        (reply_to, hold): (ReplyTo, Hold),
        query: Query,
        limit: usize,
        before: u64,
    ) -> Self {
        Self { reply_to, hold, query, limit, before, found: Vec::new() }
    }

    pub(in crate::chat) fn room(&self) -> RoomId {
        self.hold.room()
    }

    /// Somebody waits on a connection, so the search can go on in a later turn.
    pub(in crate::chat) fn can_wait(&self) -> bool {
        self.reply_to.conn().is_some()
    }

    /// The messages below are still to be looked at.
    pub(in crate::chat) fn before(&self) -> u64 {
        self.before
    }

    /// As many were found as are wanted.
    pub(in crate::chat) fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    /// Looks at the next message; returns what that costs, in octets.
    pub(in crate::chat) fn look(&mut self, record: &Record) -> usize {
        self.before = record.post.seq;
        if !record.is_deleted && self.query.matches(&record.post.text) {
            self.found.push(record.post.seq);
        }
        record.post.text.len() + LOOK
    }

    /// The search is over: who waits, the room, and the messages that were found, newest first.
    pub(in crate::chat) fn into_found(self) -> (ReplyTo, Hold, Vec<u64>) {
        (self.reply_to, self.hold, self.found)
    }

    /// The search is given up; its room must be released.
    pub(in crate::chat) fn into_hold(self) -> Hold {
        self.hold
    }
}
