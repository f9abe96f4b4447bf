//! The policy for slow consumers: what sockets did not take becomes backlogs, and what may not wait is dropped.

use std::ops::Range;

use super::Flush;
use crate::app::SlowPolicy;
use crate::reactor::output::backlog::{Backlog, Queued};
use crate::reactor::slot::{Slot, TopicSlot};
use crate::reactor::socket::Socket;

/// A part of a batch, of which the socket took the octets before `written`.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) start: usize,
    pub(super) written: usize,
    pub(super) end: usize,
}

impl<S: Socket> Flush<'_, S> {
    /// Keeps `start..end` of the tick's buffer for a connection.
    pub(super) fn keep_own(&mut self, slot: Slot, start: usize, end: usize) {
        if start < end {
            let backlog = self.table[slot].outbound.backlog.get_or_insert_default();
            backlog.push_copy(&self.output.outbox.bytes()[start..end], self.now, &self.output.budget);
            self.arm(slot);
        }
    }

    /// Keeps a long payload from `written` on.
    pub(super) fn keep_long(&mut self, slot: Slot, long: u32, written: usize) {
        if written < self.output.outbox.long(long).len() {
            let payload = self.output.outbox.take_long(long);
            let backlog = self.table[slot].outbound.backlog.get_or_insert_default();
            backlog.push_owned(payload, written, self.now, &self.output.budget);
            self.arm(slot);
        }
    }

    /// Keeps what is left of a part of a topic's batch for a member of the topic.
    pub(super) fn keep_published(&mut self, slot: Slot, topic: TopicSlot, part: &Left) {
        let policy = self.policy(slot, topic);
        let state = &mut self.output.topics[topic];
        let all = state.pieces_in(part.start, part.end);
        let is_whole = part.written == part.end;
        let rest = if is_whole { all.end..all.end } else { state.pieces_in(part.written, part.end) };
        state.totals.delivered += (rest.start - all.start) as u64;
        if rest.is_empty() {
            return;
        }
        if policy == SlowPolicy::Close {
            state.totals.queued += rest.len() as u64;
            let kept = state.keep(&self.output.budget);
            let backlog = self.table[slot].outbound.backlog.get_or_insert_default();
            backlog.push_shared(&kept, part.written, part.end, self.now);
        } else {
            self.offer(slot, topic, part.written, rest);
        }
        self.arm(slot);
    }

    /// What a member has a topic do when its queue is full.
    pub(super) fn policy(&self, slot: Slot, topic: TopicSlot) -> SlowPolicy {
        let memberships = &self.table[slot].outbound.memberships;
        let membership = memberships.iter().find(|membership| membership.topic == topic);
        membership.map_or(SlowPolicy::Close, |membership| membership.policy)
    }

    /// Counts what a topic published as dropped for a connection that has no room for it.
    pub(super) fn count_dropped(&mut self, topic: TopicSlot, start: usize, end: usize) {
        let state = &mut self.output.topics[topic];
        let count = state.pieces_in(start, end).len() as u64;
        state.totals.dropped += count;
        self.output.counts.dropped.count(SlowPolicy::Close, count);
    }

    /// Offers messages of a topic to a queue one by one, as the member's policy has it.
    fn offer(&mut self, slot: Slot, topic: TopicSlot, written: usize, pieces: Range<usize>) {
        let policy = self.policy(slot, topic);
        let state = &mut self.output.topics[topic];
        let limit = state.options.max_queue.unwrap_or(self.output.max_backlog);
        let batch = state.keep(&self.output.budget);
        let outbound = &mut self.table[slot].outbound;
        let mut backlog: Box<Backlog> = outbound.backlog.take().unwrap_or_default();
        let mut lost = 0;
        for piece in &state.pieces[pieces] {
            let (start, end) = (piece.start as usize, piece.end as usize);
            let message = Queued { batch: batch.clone(), start, end, topic: state.root, key: piece.key };
            if start < written {
                backlog.push_begun(&message, written - start, self.now);
                state.totals.queued += 1;
            } else {
                let offered = backlog.offer(message, policy, limit, self.now);
                state.totals.queued += u64::from(offered.is_queued);
                lost += offered.dropped;
            }
        }
        state.totals.dropped += lost;
        self.output.counts.dropped.count(policy, lost);
        backlog.note_lost(state.root, lost);
        if backlog.len() > 0 {
            outbound.backlog = Some(backlog);
        } else {
            // The last of what waited was dropped: no write comes that would end a pause.
            self.pending.owe_lag(self.table.conn(slot), backlog.take_lost());
            self.after_backlog(slot);
        }
    }

    /// Whether `count` bytes more, none of which can be dropped, may wait for a connection for which something waits. If
    /// not, it is closed after the flush. (What one tick brings to a connection for which nothing waits is kept whole.)
    pub(super) fn has_room(&mut self, slot: Slot, count: usize) -> bool {
        let entry = &self.table[slot];
        let is_open = entry.is_open() && entry.local_reason().is_none();
        let backlog_len = entry.outbound.backlog_len();
        let has_room = count == 0 || !is_open || backlog_len + count <= self.output.max_backlog;
        if !has_room {
            self.output.overflowed.push(slot);
        }
        has_room
    }
}
