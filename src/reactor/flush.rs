//! The end of a tick: one write per dirty connection.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::core::Core;
use super::entry::{Ending, Phase};
use super::keep::Left;
use super::outbox::{Chain, Segment};
use super::topics::Piece;
use super::{Reactor, Socket};
use crate::app::{Application, CloseReason, SlowPolicy};

/// Up to this many bytes are gathered into one hot buffer rather than handed over piece by piece.
const CORK_LEN: usize = 64 * 1024;

/// Where the octets of a part lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// In the tick's buffer.
    Outbox,
    /// A long payload.
    Long(u32),
    /// In the batch of a topic.
    Topic(u32),
}

/// A run of octets for one connection, in its place among the others.
#[derive(Debug, Clone, Copy)]
struct Part {
    order: u32,
    source: Source,
    start: u32,
    end: u32,
}

impl Part {
    fn of(segment: &Segment) -> Self {
        let source = segment.long.map_or(Source::Outbox, Source::Long);
        Self { order: segment.order, source, start: segment.start, end: segment.end }
    }
}

/// Memory of `flush` that is used again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    parts: Vec<Part>,
    cork: Vec<u8>,
}

impl<A: Application, S: Socket> Reactor<A, S> {
    /// Writes everything that this tick queued; what a socket does not take becomes its backlog.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a tick of one connection ends right here")]
    pub(super) fn flush(&mut self) {
        match self.core.outbox.sole_runner() {
            Some(index) => self.flush_run(index),
            None => self.flush_all(),
        }
    }

    /// What the tick queued is for one connection.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn flush_run(&mut self, index: u32) {
        debug_assert!(self.core.table[index as usize].backlog.is_none());
        debug_assert!(self.core.dirty.is_empty() && self.core.dirty_topics.is_empty());
        let bytes = &self.core.outbox.bytes;
        let Some(Some(socket)) = self.sockets.get_mut(index as usize) else { return self.flush_all() };
        match socket.write(bytes) {
            Ok(count) if count == bytes.len() => {
                self.core.stats.bytes_out += count as u64;
                self.core.clear_run();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.flush_all(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.run_left(index, &Ok(0)),
            result => self.run_left(index, &result),
        }
    }

    /// A socket took the only run in part or not at all.
    #[cold]
    fn run_left(&mut self, index: u32, result: &io::Result<usize>) {
        match result {
            Ok(count) => {
                self.core.stats.bytes_out += *count as u64;
                self.core.keep_own(index, *count, self.core.outbox.len());
            }
            Err(_) => self.core.break_later(index),
        }
        self.core.clear_tick();
    }

    #[inline(never)]
    pub(super) fn flush_all(&mut self) {
        self.core.end_run();
        for at in 0..self.core.dirty_topics.len() {
            self.flush_topic(self.core.dirty_topics[at]);
        }
        while let Some(index) = self.core.dirty.pop() {
            self.flush_connection(index);
        }
        self.core.clear_tick();
        if !self.core.overflowed.is_empty() {
            for index in std::mem::take(&mut self.core.overflowed) {
                let conn = self.core.conn(index);
                self.core.close_for(conn, CloseReason::SlowConsumer, "slow consumer");
            }
            // The Close frames; a connection that is closing cannot overflow again.
            self.flush_all();
        }
        if self.core.queues.used() > self.core.config.max_queued {
            self.core.shed();
        }
    }

    /// Gives the batch to every subscriber that gets all of it and nothing else: one system call, no copy.
    fn flush_topic(&mut self, topic: u32) {
        let state = &mut self.core.topics[topic as usize];
        let batch = Arc::clone(&state.batch);
        let pieces = state.pieces.len() as u64;
        let members = std::mem::take(&mut state.members);
        let (mut delivered, mut octets) = (0, 0);
        for &index in &members {
            let entry = &mut self.core.table[index as usize];
            if entry.flags.dirty {
                continue;
            }
            if entry.flags.special || entry.memberships.len() > 1 {
                entry.flags.dirty = true;
                self.core.dirty.push(index);
                continue;
            }
            let mut written = 0;
            let waited = entry.backlog.is_some();
            if !waited {
                match write_some(&mut self.sockets, index, &batch) {
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
                        self.core.break_later(index);
                        continue;
                    }
                }
            }
            let left = Left { start: 0, written, end: batch.len() };
            if !waited
                || self.core.policy(index, topic) != SlowPolicy::Close
                || self.core.has_room(index, batch.len())
            {
                self.core.keep_published(index, topic, &left);
            } else {
                self.core.count_dropped(topic, 0, batch.len());
            }
        }
        let state = &mut self.core.topics[topic as usize];
        state.members = members;
        state.totals.delivered += delivered;
        self.core.stats.bytes_out += octets as u64;
    }

    fn flush_connection(&mut self, index: u32) {
        let entry = &mut self.core.table[index as usize];
        entry.flags.dirty = false;
        entry.flags.special = false;
        let chain = std::mem::replace(&mut entry.chain, Chain::EMPTY);
        let has_published = entry
            .memberships
            .iter()
            .any(|membership| !self.core.topics[membership.topic as usize].pieces.is_empty());
        match self.core.outbox.sole_segment(chain) {
            Some(range) if !has_published && entry.backlog.is_none() => {
                match write_some(&mut self.sockets, index, &self.core.outbox.bytes[range.clone()]) {
                    Ok(count) if count == range.len() => self.core.stats.bytes_out += count as u64,
                    Ok(count) => {
                        self.core.stats.bytes_out += count as u64;
                        self.core.keep_own(index, range.start + count, range.end);
                    }
                    Err(_) => self.core.break_later(index),
                }
            }
            _ => {
                let mut parts = std::mem::take(&mut self.scratch.parts);
                collect_parts(&self.core, index, chain, &mut parts);
                self.write_parts(index, &parts);
                parts.clear();
                self.scratch.parts = parts;
            }
        }
    }

    fn write_parts(&mut self, index: u32, parts: &[Part]) {
        let total: usize = parts.iter().map(|part| (part.end - part.start) as usize).sum();
        let mut written = 0;
        let waited = self.core.table[index as usize].backlog.is_some();
        if !waited {
            match self.write_now(index, parts, total) {
                Ok(count) => {
                    self.core.stats.bytes_out += count as u64;
                    written = count;
                }
                Err(_) => return self.core.break_later(index),
            }
        }
        if waited && !self.has_room_for(index, parts) {
            return;
        }
        for part in parts {
            let (start, end) = (part.start as usize, part.end as usize);
            let taken = written.min(end - start);
            written -= taken;
            match part.source {
                Source::Topic(topic) => {
                    let left = Left { start, written: start + taken, end };
                    self.core.keep_published(index, topic, &left);
                }
                Source::Outbox => self.core.keep_own(index, start + taken, end),
                Source::Long(long) => self.core.keep_long(index, long, taken),
            }
        }
    }

    /// Whether all of the parts that cannot be dropped may wait, too: one without the others would be half a message.
    fn has_room_for(&mut self, index: u32, parts: &[Part]) -> bool {
        let can_drop = |source| match source {
            Source::Topic(topic) => self.core.policy(index, topic) != SlowPolicy::Close,
            _ => false,
        };
        let strict = parts.iter().filter(|part| !can_drop(part.source));
        let count = strict.map(|part| (part.end - part.start) as usize).sum();
        let has_room = self.core.has_room(index, count);
        if !has_room {
            for part in parts {
                if let Source::Topic(topic) = part.source {
                    self.core.count_dropped(topic, part.start as usize, part.end as usize);
                }
            }
        }
        has_room
    }

    /// Writes the parts with one system call: small ones from a cork buffer, large ones with `writev`.
    fn write_now(&mut self, index: u32, parts: &[Part], total: usize) -> io::Result<usize> {
        let state = &self.core;
        let octets = |part: &Part| match part.source {
            Source::Outbox => &state.outbox.bytes[part.start as usize..part.end as usize],
            Source::Long(long) => state.outbox.long(long),
            Source::Topic(topic) => {
                &state.topics[topic as usize].batch[part.start as usize..part.end as usize]
            }
        };
        if let [part] = parts {
            return write_some(&mut self.sockets, index, octets(part));
        }
        if total <= CORK_LEN {
            let cork = &mut self.scratch.cork;
            cork.clear();
            for part in parts {
                cork.extend_from_slice(octets(part));
            }
            return write_some(&mut self.sockets, index, cork);
        }
        let mut written = 0;
        for parts in parts.chunks(64) {
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(octets(part))).collect();
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let count = write_slices(&mut self.sockets, index, &slices)?;
            written += count;
            if count < offered {
                break;
            }
        }
        Ok(written)
    }

    /// The socket takes octets again.
    pub(super) fn write_backlog(&mut self, index: u32) {
        let Core { table, stats, now, config, .. } = &mut self.core;
        let now = now.monotonic_ms;
        let entry = &mut table[index as usize];
        let (mut lost, mut free) = (Vec::new(), None);
        while let Some(backlog) = &mut entry.backlog {
            let slices = backlog.slices();
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let Ok(count) = write_slices(&mut self.sockets, index, &slices) else {
                self.core.break_later(index);
                return;
            };
            stats.bytes_out += count as u64;
            let waited = |since| stats.publish_backlog.note((now - since) * 1000);
            free = backlog.advance(count, waited).or(free);
            if backlog.len() == 0 {
                lost = backlog.take_lost();
                entry.backlog = None;
            }
            if count < offered {
                break;
            }
        }
        if entry.flags.paused && entry.backlog_len() <= config.high_water / 2 {
            entry.flags.paused = false;
            self.core.resume_later(index);
        }
        self.core.note_lag(index, lost);
        if let Some(buffer) = free {
            self.core.recycle(buffer);
        }
        let entry = &mut self.core.table[index as usize];
        if entry.backlog.is_none() && matches!(entry.phase, Phase::Ending { .. }) {
            self.core.end_later(index);
        }
    }

    /// Takes a connection whose work for the application is over a step further towards its end.
    pub(super) fn end_tcp(&mut self, index: u32) {
        let Some(entry) = self.core.table.get_mut(index as usize) else { return };
        let Phase::Ending { ending, until } = &mut entry.phase else { return };
        let is_late = *until <= self.core.now.monotonic_ms;
        match ending {
            _ if is_late => self.remove(index),
            _ if entry.backlog.is_some() => {}
            Ending::Drop => self.remove(index),
            Ending::HalfClose => {
                *ending = Ending::Linger;
                let shut = self.sockets[index as usize].as_mut().map(Socket::shutdown_write);
                if let Some(Err(_)) = shut {
                    self.remove(index);
                } else if self.core.table[index as usize].flags.read_closed {
                    // The peer's FIN may be behind octets that nobody has read.
                    self.core.resume_later(index);
                }
            }
            Ending::Linger => {}
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        self.sockets[index as usize] = None;
        self.core.remove(index);
    }
}

/// What a connection gets in this tick, in order; neighbours that lie side by side are one part.
fn collect_parts(core: &Core, index: u32, chain: Chain, parts: &mut Vec<Part>) {
    if !collect_runs(core, index, chain, parts) {
        parts.clear();
        collect_pieces(core, index, chain, parts);
        // Stable: segments of one order stay as they were attached.
        parts.sort_by_key(|part| part.order);
    }
    parts.dedup_by(|next, previous| {
        let adjoins = next.source == previous.source && next.start == previous.end;
        if adjoins {
            previous.end = next.end;
        }
        adjoins
    });
}

/// What everyone in a room has who also gets something for themselves: the topic's pieces lie side by side, and only where a
/// segment comes between them they are parts. `false`: it is not as simple as that.
fn collect_runs(core: &Core, index: u32, chain: Chain, parts: &mut Vec<Part>) -> bool {
    let [membership] = &*core.table[index as usize].memberships else { return false };
    let topic = &core.topics[membership.topic as usize];
    if topic.has_exceptions {
        return false;
    }
    let mut pieces = &topic.pieces[membership.first_piece(core.tick).min(topic.pieces.len())..];
    let source = Source::Topic(membership.topic);
    let run = |pieces: &[Piece]| {
        let (first, last) = pieces.first().zip(pieces.last())?;
        Some(Part { order: first.order, source, start: first.start, end: last.end })
    };
    let mut last_order = 0;
    for segment in core.outbox.segments(chain) {
        if segment.order < last_order {
            return false;
        }
        last_order = segment.order;
        let (before, after) = pieces.split_at(pieces.partition_point(|piece| piece.order < segment.order));
        parts.extend(run(before));
        parts.push(Part::of(&segment));
        pieces = after;
    }
    parts.extend(run(pieces));
    true
}

/// All segments and pieces that a connection gets, in no order.
fn collect_pieces(core: &Core, index: u32, chain: Chain, parts: &mut Vec<Part>) {
    parts.extend(core.outbox.segments(chain).map(|segment| Part::of(&segment)));
    for membership in &core.table[index as usize].memberships {
        let topic = &core.topics[membership.topic as usize];
        let pieces = topic.pieces.iter().skip(membership.first_piece(core.tick));
        parts.extend(pieces.filter(|piece| piece.except != Some(index)).map(|piece| Part {
            order: piece.order,
            source: Source::Topic(membership.topic),
            start: piece.start,
            end: piece.end,
        }));
    }
}

#[inline]
fn write_some<S: Socket>(sockets: &mut [Option<S>], index: u32, bytes: &[u8]) -> io::Result<usize> {
    let Some(socket) = &mut sockets[index as usize] else { return Err(io::ErrorKind::NotConnected.into()) };
    retry(|| socket.write(bytes))
}

fn write_slices<S: Socket>(
    sockets: &mut [Option<S>],
    index: u32,
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    let Some(socket) = &mut sockets[index as usize] else { return Err(io::ErrorKind::NotConnected.into()) };
    retry(|| socket.write_vectored(slices))
}

/// A full socket takes 0 octets; an interrupted call is made again.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}
