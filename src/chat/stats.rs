//! What the chat counts.

use crate::chat::deciding::Counts as AskCounts;
use crate::chat::decisions::TellCounts;
use crate::chat::wire::refusal::Code;
use crate::history::EngineFigures;

/// Upper bounds of [`Stats::commit_ms`] in milliseconds; the last bucket has none.
pub const COMMIT_BUCKETS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// Counters since the start, and gauges, of a chat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Posts that became history.
    pub posts: u64,
    /// Edits, deletions and reactions that did.
    pub changes: u64,
    /// Posts whose key was known already.
    pub duplicates: u64,
    /// Commands acknowledged.
    pub acks: u64,
    /// Refused commands, by [`Code::ALL`].
    pub refused: [u64; Code::ALL.len()],
    /// Connections ended for flooding.
    pub flooded: u64,
    /// `joined` with `recovered: true`.
    pub recovered: u64,
    /// `joined` with `recovered: false` although `since` was given.
    pub unrecovered: u64,
    /// Messages dropped for readers that are too slow.
    pub lagged: u64,
    /// Signs of life, such as who types, that another loop had no place for.
    pub signs_dropped: u64,
    /// Connections that speak now.
    pub sessions: u64,
    /// Users that are here now.
    pub users: u64,
    /// Rooms that are open now.
    pub rooms: u64,
    /// Memberships now.
    pub members: u64,
    /// Bytes of messages and changes in memory now, about.
    pub recent_bytes: u64,
    /// Keys remembered now.
    pub keys: u64,
    /// Octets of the answers that may be long: `joined`, `history`, `found`, `members`.
    pub answer_octets: u64,
    /// Octets of messages that searches in memory looked through.
    pub scanned_octets: u64,
    /// Changes that are not durable yet.
    pub store_pending: u64,
    /// Questions that the store has not answered yet.
    pub store_asks: u64,
    /// Bytes of the store's log that are in use.
    pub store_log_bytes: u64,
    /// Times that the store failed.
    pub store_failures: u64,
    /// 1 while posts are refused because of it.
    pub store_unavailable: u64,
    /// Batches by the milliseconds from the end of their tick to the tick that learns that they are durable.
    pub commit_ms: [u64; COMMIT_BUCKETS_MS.len() + 1],
    /// The sum of these milliseconds.
    pub commit_ms_sum: u64,
    /// How the engine is, if there is one.
    pub engine: Option<EngineFigures>,
    /// What the backend was asked and told.
    pub hooks: (AskCounts, TellCounts),
}

impl Stats {
    pub(in crate::chat) fn committed(&mut self, ms: u64) {
        let bucket = COMMIT_BUCKETS_MS.partition_point(|bound| *bound < ms);
        self.commit_ms[bucket] += 1;
        self.commit_ms_sum += ms;
    }
}
