//! What sockets did not take becomes backlogs, by the rules for slow consumers.

use super::backlog::{Backlog, Queued};
use super::core::Core;
use super::entry::Phase;
use crate::app::{ConnId, SlowPolicy, TopicId};

/// A part of a batch, of which the socket took the octets before `written`.
pub(super) struct Left {
    pub(super) start: usize,
    pub(super) written: usize,
    pub(super) end: usize,
}

impl Core {
    /// Keeps `start..end` of the tick's buffer for a connection.
    pub(super) fn keep_own(&mut self, index: u32, start: usize, end: usize) {
        if start < end {
            let backlog = self.table[index as usize].backlog.get_or_insert_default();
            backlog.push_copy(&self.outbox.bytes[start..end], self.now.monotonic_ms, &self.queues);
            self.arm(index);
        }
    }

    /// Keeps a long payload from `written` on.
    pub(super) fn keep_long(&mut self, index: u32, long: u32, written: usize) {
        if written < self.outbox.long(long).len() {
            let payload = self.outbox.take_long(long);
            let backlog = self.table[index as usize].backlog.get_or_insert_default();
            backlog.push_owned(payload, written, self.now.monotonic_ms, &self.queues);
            self.arm(index);
        }
    }

    /// Keeps what is left of a part of a topic's batch for a member of the topic.
    pub(super) fn keep_published(&mut self, index: u32, topic: u32, part: &Left) {
        let policy = self.policy(index, topic);
        let state = &mut self.topics[topic as usize];
        let all = state.pieces_in(part.start, part.end);
        let is_whole = part.written == part.end;
        let rest = if is_whole { all.end..all.end } else { state.pieces_in(part.written, part.end) };
        state.totals.delivered += (rest.start - all.start) as u64;
        if rest.is_empty() {
            return;
        }
        if policy == SlowPolicy::Close {
            state.totals.queued += rest.len() as u64;
            let kept = state.keep(&self.queues);
            let backlog = self.table[index as usize].backlog.get_or_insert_default();
            backlog.push_shared(&kept, part.written, part.end, self.now.monotonic_ms);
        } else {
            self.offer(index, topic, policy, part.written, rest);
        }
        self.arm(index);
    }

    /// What a member has a topic do when its queue is full.
    pub(super) fn policy(&self, index: u32, topic: u32) -> SlowPolicy {
        let memberships = &self.table[index as usize].memberships;
        let membership = memberships.iter().find(|membership| membership.topic == topic);
        membership.map_or(SlowPolicy::Close, |membership| membership.policy)
    }

    /// Counts what a topic published as dropped for a connection that has no room for it.
    pub(super) fn count_dropped(&mut self, topic: u32, start: usize, end: usize) {
        let state = &mut self.topics[topic as usize];
        let count = state.pieces_in(start, end).len() as u64;
        state.totals.dropped += count;
        self.stats.dropped.count(SlowPolicy::Close, count);
    }

    /// Offers messages of a topic to a queue one by one, as the policy has it.
    fn offer(
        &mut self,
        index: u32,
        topic: u32,
        policy: SlowPolicy,
        written: usize,
        pieces: std::ops::Range<usize>,
    ) {
        let now = self.now.monotonic_ms;
        let state = &mut self.topics[topic as usize];
        let limit = state.options.max_queue.unwrap_or(self.config.max_backlog);
        let batch = state.keep(&self.queues);
        let mut backlog: Box<Backlog> = self.table[index as usize].backlog.take().unwrap_or_default();
        let mut lost = 0;
        for piece in &state.pieces[pieces] {
            let (start, end) = (piece.start as usize, piece.end as usize);
            let message = Queued { batch: batch.clone(), start, end, topic: state.root, key: piece.key };
            if start < written {
                backlog.push_begun(&message, written - start, now);
                state.totals.queued += 1;
            } else {
                let offered = backlog.offer(message, policy, limit, now);
                state.totals.queued += u64::from(offered.is_queued);
                lost += offered.dropped;
            }
        }
        state.totals.dropped += lost;
        self.stats.dropped.count(policy, lost);
        backlog.note_lost(state.root, lost);
        if backlog.len() > 0 {
            self.table[index as usize].backlog = Some(backlog);
        } else {
            self.note_lag(index, backlog.take_lost());
        }
    }

    /// Owes the application word of messages that were dropped.
    pub(super) fn note_lag(&mut self, index: u32, lost: Vec<(u32, u64)>) {
        let conn = ConnId { index, generation: self.table[index as usize].generation };
        if !lost.is_empty() {
            self.unsettle();
        }
        self.lagged.extend(lost.into_iter().map(|(topic, count)| (conn, TopicId(topic), count)));
    }

    /// Whether `count` bytes more, none of which can be dropped, may wait for a connection for which something waits. If
    /// not, it is closed at the end of the flush. (What one tick brings to a connection for which nothing waits is kept
    /// whole.)
    pub(super) fn has_room(&mut self, index: u32, count: usize) -> bool {
        let entry = &self.table[index as usize];
        let is_open = matches!(entry.phase, Phase::Open(_)) && entry.local_reason.is_none();
        let has_room = count == 0 || !is_open || entry.backlog_len() + count <= self.config.max_backlog;
        if !has_room {
            self.overflow(index);
        }
        has_room
    }
}
