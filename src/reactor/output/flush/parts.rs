//! What a connection gets from several places in one tick, in order.

use std::io::{self, IoSlice};

use super::slow_consumer::Left;
use super::{Flush, Output};
use crate::app::SlowPolicy;
use crate::reactor::output::outbox::{Chain, Segment};
use crate::reactor::output::topics::Piece;
use crate::reactor::slot::{Slot, TopicSlot};
use crate::reactor::socket::Socket;
use crate::reactor::table::Entry;

/// Up to this many bytes are gathered into one hot buffer rather than handed over piece by piece.
const CORK_LEN: usize = 64 * 1024;
/// Most parts of one `writev`.
const MAX_SLICES: usize = 64;

/// Where the octets of a part lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// In the tick's buffer.
    Outbox,
    /// A long payload.
    Long(u32),
    /// In the batch of a topic.
    Topic(TopicSlot),
}

/// A run of octets for one connection, in its place among the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    order: u32,
    source: Source,
    start: u32,
    end: u32,
}

impl Part {
    fn of(segment: &Segment) -> Self {
        let source = segment.long().map_or(Source::Outbox, Source::Long);
        Self { order: segment.order, source, start: segment.start, end: segment.end }
    }
}

impl<S: Socket> Flush<'_, S> {
    /// Writes what a connection gets from several places.
    #[inline(never)]
    pub(super) fn parts(&mut self, slot: Slot, chain: Chain) {
        let mut parts = std::mem::take(&mut self.scratch.parts);
        collect(self.output, slot, &self.table[slot], chain, &mut parts);
        self.write_parts(slot, &parts);
        parts.clear();
        self.scratch.parts = parts;
    }

    fn write_parts(&mut self, slot: Slot, parts: &[Part]) {
        let total: usize = parts.iter().map(|part| (part.end - part.start) as usize).sum();
        let mut written = 0;
        let waited = self.table[slot].outbound.has_backlog();
        if !waited {
            match self.write_now(slot, parts, total) {
                Ok(count) => {
                    self.output.counts.bytes += count as u64;
                    written = count;
                }
                Err(_) => return self.pending.break_later(slot),
            }
        }
        if waited && !self.has_room_for(slot, parts) {
            return;
        }
        for part in parts {
            let (start, end) = (part.start as usize, part.end as usize);
            let taken = written.min(end - start);
            written -= taken;
            match part.source {
                Source::Topic(topic) => {
                    let left = Left { start, written: start + taken, end };
                    self.keep_published(slot, topic, &left);
                }
                Source::Outbox => self.keep_own(slot, start + taken, end),
                Source::Long(long) => self.keep_long(slot, long, taken),
            }
        }
    }

    /// Whether all of the parts that cannot be dropped may wait, too: one without the others would be half a message.
    fn has_room_for(&mut self, slot: Slot, parts: &[Part]) -> bool {
        let can_drop = |source| match source {
            Source::Topic(topic) => self.policy(slot, topic) != SlowPolicy::Close,
            _ => false,
        };
        let strict = parts.iter().filter(|part| !can_drop(part.source));
        let count = strict.map(|part| (part.end - part.start) as usize).sum();
        let has_room = self.has_room(slot, count);
        if !has_room {
            for part in parts {
                if let Source::Topic(topic) = part.source {
                    self.count_dropped(topic, part.start as usize, part.end as usize);
                }
            }
        }
        has_room
    }

    /// Writes the parts with one system call: small ones from a cork buffer, large ones with `writev`.
    fn write_now(&mut self, slot: Slot, parts: &[Part], total: usize) -> io::Result<usize> {
        let output = &*self.output;
        let octets = |part: &Part| match part.source {
            Source::Outbox => &output.outbox.bytes()[part.start as usize..part.end as usize],
            Source::Long(long) => output.outbox.long(long),
            Source::Topic(topic) => &output.topics[topic].batch[part.start as usize..part.end as usize],
        };
        if let [part] = parts {
            return self.sockets.write(slot, octets(part));
        }
        if total <= CORK_LEN {
            let cork = &mut self.scratch.cork;
            cork.clear();
            for part in parts {
                cork.extend_from_slice(octets(part));
            }
            return self.sockets.write(slot, cork);
        }
        let mut written = 0;
        for parts in parts.chunks(MAX_SLICES) {
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(octets(part))).collect();
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let count = self.sockets.write_vectored(slot, &slices)?;
            written += count;
            if count < offered {
                break;
            }
        }
        Ok(written)
    }
}

/// What a connection gets in this tick, in order; neighbours that lie side by side are one part.
fn collect(output: &Output, slot: Slot, entry: &Entry, chain: Chain, parts: &mut Vec<Part>) {
    if !collect_runs(output, entry, chain, parts) {
        parts.clear();
        collect_pieces(output, slot, entry, chain, parts);
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

/// The usual case of a member of one topic for which something else is queued, too: the topic's pieces lie side by side, and
/// only where a segment comes between them they are parts. `false`: it is not as simple as that.
fn collect_runs(output: &Output, entry: &Entry, chain: Chain, parts: &mut Vec<Part>) -> bool {
    let [membership] = &*entry.outbound.memberships else { return false };
    let topic = &output.topics[membership.topic];
    if topic.has_exceptions {
        return false;
    }
    let mut pieces = &topic.pieces[membership.first_piece(output.tick).min(topic.pieces.len())..];
    let source = Source::Topic(membership.topic);
    let run = |pieces: &[Piece]| {
        let (first, last) = pieces.first().zip(pieces.last())?;
        Some(Part { order: first.order, source, start: first.start, end: last.end })
    };
    let mut last_order = 0;
    for segment in output.outbox.segments(chain) {
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
fn collect_pieces(output: &Output, slot: Slot, entry: &Entry, chain: Chain, parts: &mut Vec<Part>) {
    parts.extend(output.outbox.segments(chain).map(|segment| Part::of(&segment)));
    for membership in &entry.outbound.memberships {
        let topic = &output.topics[membership.topic];
        let pieces = topic.pieces.iter().skip(membership.first_piece(output.tick));
        parts.extend(pieces.filter(|piece| piece.except != Some(slot)).map(|piece| Part {
            order: piece.order,
            source: Source::Topic(membership.topic),
            start: piece.start,
            end: piece.end,
        }));
    }
}
