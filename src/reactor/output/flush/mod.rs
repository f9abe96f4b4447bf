//! The end of a tick: one write per dirty connection.

mod parts;
mod slow_consumer;

use std::io;
use std::sync::Arc;

use self::parts::Part;
use self::slow_consumer::Left;
use super::Output;
use super::outbox::Outbox;
use crate::app::SlowPolicy;
use crate::proto::Millis;
use crate::reactor::pending::Pending;
use crate::reactor::slot::{Slot, TopicSlot};
use crate::reactor::socket::{Socket, Sockets};
use crate::reactor::table::Table;
use crate::reactor::timers::Timers;

/// Memory of flushes that is used again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    parts: Vec<Part>,
    cork: Vec<u8>,
}

/// One flush: the output, and what it is written to. It calls nothing back; the work that follows from it is in `pending`, or among
/// the [overflowed](Output::take_overflowed).
#[derive(Debug)]
pub(crate) struct Flush<'r, S> {
    pub(crate) output: &'r mut Output,
    pub(crate) table: &'r mut Table,
    pub(crate) sockets: &'r mut Sockets<S>,
    pub(crate) timers: &'r mut Timers,
    pub(crate) pending: &'r mut Pending,
    pub(crate) scratch: &'r mut Scratch,
    pub(crate) now: Millis,
    pub(crate) max_queue_age: Millis,
}

impl<S: Socket> Flush<'_, S> {
    /// A socket took the first `count` octets of the only run.
    pub(crate) fn sole_run_left(&mut self, slot: Slot, count: usize) {
        self.output.counts.bytes += count as u64;
        self.keep_own(slot, count, self.output.outbox.len());
        self.clear_tick();
    }

    /// Writes everything that was queued; what a socket does not take becomes its backlog.
    #[inline(never)]
    pub(crate) fn all(&mut self) {
        self.output.begin_turn(self.table);
        if self.output.outbox.has_only_runs() && self.output.outbox.len() <= self.output.tick_limit {
            self.runs();
        } else {
            self.output.gather(self.table);
            self.everything();
        }
        self.clear_tick();
    }

    /// Writes runs as they lie, where nothing else was queued.
    fn runs(&mut self) {
        let mut may_wait = false;
        let mut at = 0;
        while let Some((slot, octets)) = self.output.outbox.run_at(at) {
            at += 1;
            let written = if may_wait && self.table[slot].outbound.has_backlog() {
                // It had two turns, and the socket did not take what came of the first one.
                if !self.has_room(slot, octets.len()) {
                    continue;
                }
                Ok(0)
            } else {
                self.sockets.write(slot, &self.output.outbox.bytes()[octets.clone()])
            };
            match written {
                Ok(count) => {
                    self.output.counts.bytes += count as u64;
                    if count < octets.len() {
                        may_wait = true;
                        self.keep_own(slot, octets.start + count, octets.end);
                    }
                }
                Err(_) => self.pending.break_later(slot),
            }
        }
    }

    /// Writes what topics published and what is in chains.
    fn everything(&mut self) {
        let mut at = 0;
        while let Some(topic) = self.output.topics.dirty_at(at) {
            self.topic(topic);
            at += 1;
        }
        at = 0;
        while let Some(slot) = self.output.outbox.slot_at(at) {
            if Outbox::begins_with(self.table[slot].outbound.chain, at) {
                self.connection(slot);
            }
            at += 1;
        }
        while let Some(slot) = self.output.special.pop() {
            if self.table[slot].outbound.is_special {
                self.connection(slot);
            }
        }
    }

    /// Writes the batch to every subscriber that gets all of it and nothing else: one system call, no copy.
    fn topic(&mut self, topic: TopicSlot) {
        let state = &mut self.output.topics[topic];
        let batch = Arc::clone(&state.batch);
        let pieces = state.pieces.len() as u64;
        let members = std::mem::take(&mut state.members);
        let (mut delivered, mut octets) = (0, 0);
        for &slot in &members {
            let outbound = &mut self.table[slot].outbound;
            if outbound.is_dirty() {
                continue;
            }
            if outbound.memberships.len() > 1 {
                self.output.note_special(outbound, slot);
                continue;
            }
            let mut written = 0;
            let waited = outbound.has_backlog();
            if !waited {
                match self.sockets.write(slot, &batch) {
                    Ok(count) if count == batch.len() => {
                        delivered += pieces;
                        octets += count;
                        continue;
                    }
                    Ok(count) => {
                        written = count;
                        octets += count;
                    }
                    Err(_) => {
                        self.pending.break_later(slot);
                        continue;
                    }
                }
            }
            let left = Left { start: 0, written, end: batch.len() };
            if !waited || self.policy(slot, topic) != SlowPolicy::Close || self.has_room(slot, batch.len()) {
                self.keep_published(slot, topic, &left);
            } else {
                self.count_dropped(topic, 0, batch.len());
            }
        }
        let state = &mut self.output.topics[topic];
        state.members = members;
        state.totals.delivered += delivered;
        self.output.counts.bytes += octets as u64;
    }

    #[inline]
    fn connection(&mut self, slot: Slot) {
        let outbound = &mut self.table[slot].outbound;
        outbound.is_special = false;
        let chain = std::mem::take(&mut outbound.chain);
        let topics = &self.output.topics;
        let has_published =
            outbound.memberships.iter().any(|membership| !topics[membership.topic].pieces.is_empty());
        match self.output.outbox.sole_segment(chain) {
            Some(range) if !has_published && !outbound.has_backlog() => {
                match self.sockets.write(slot, &self.output.outbox.bytes()[range.clone()]) {
                    Ok(count) if count == range.len() => self.output.counts.bytes += count as u64,
                    Ok(count) => {
                        self.output.counts.bytes += count as u64;
                        self.keep_own(slot, range.start + count, range.end);
                    }
                    Err(_) => self.pending.break_later(slot),
                }
            }
            _ => self.parts(slot, chain),
        }
    }

    /// The socket takes octets again.
    pub(crate) fn backlog(&mut self, slot: Slot) {
        match self.write_backlog(slot) {
            Ok(()) => self.after_backlog(slot),
            Err(_) => self.pending.break_later(slot),
        }
    }

    fn write_backlog(&mut self, slot: Slot) -> io::Result<()> {
        if let Some(socket) = self.sockets.get_mut(slot)
            && socket.owes_output()
        {
            socket.write_owed()?;
        }
        let now = self.now;
        let (mut lost, mut free) = (Vec::new(), None);
        let outbound = &mut self.table[slot].outbound;
        let counts = &mut self.output.counts;
        while let Some(backlog) = &mut outbound.backlog {
            let slices = backlog.slices();
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let count = self.sockets.write_vectored(slot, &slices)?;
            counts.bytes += count as u64;
            free = backlog.advance(count, |since| counts.backlog_waits.note((now - since) * 1000)).or(free);
            if backlog.len() == 0 {
                lost = backlog.take_lost();
                outbound.backlog = None;
            }
            if count < offered {
                break;
            }
        }
        self.pending.owe_lag(self.table.conn(slot), lost);
        if let Some(buffer) = free {
            self.recycle(buffer);
        }
        Ok(())
    }

    /// Less waits for a connection than before: it may be read again, or ended.
    fn after_backlog(&mut self, slot: Slot) {
        let entry = &mut self.table[slot];
        if entry.outbound.unpause(self.output.high_water / 2) {
            self.pending.resume_later(slot, entry);
        }
        let is_written = !entry.outbound.has_backlog() && !self.sockets.owes_output(slot);
        if is_written && entry.is_ending() {
            self.pending.end_later(slot);
        }
    }

    /// Forgets the tick after everything was written or moved to backlogs.
    fn clear_tick(&mut self) {
        for payload in self.output.outbox.clear_long() {
            self.recycle(payload);
        }
        self.output.outbox.clear();
        self.output.input_until = self.output.high_water;
        self.output.topics.clear(self.table);
        self.output.tick = self.output.tick.wrapping_add(1);
    }

    /// Keeps a buffer that has become free, for a while.
    fn recycle(&mut self, buffer: crate::proto::Buffer) {
        if let Some(expires) = self.output.recycle(buffer, self.now)
            && self.timers.wake_by(expires)
        {
            self.pending.note_work();
        }
    }

    /// Looks at a connection again when the first of what waits has waited for too long.
    fn arm(&mut self, slot: Slot) {
        if let Some(deadline) = self.table[slot].deadline(self.max_queue_age)
            && self.timers.arm(slot, deadline)
        {
            self.pending.note_work();
        }
    }
}
