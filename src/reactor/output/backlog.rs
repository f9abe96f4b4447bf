//! What a peer has not taken yet. It exists only while there is something.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use super::budget::{Budget, Charge, Kept};
use crate::app::{SlowPolicy, TopicId};
use crate::proto::{Buffer, Millis};
use crate::reactor::slot::TopicSlot;

/// Most pieces handed to one `writev`.
const MAX_SLICES: usize = 64;
/// A piece up to this length is copied behind the one before it, in bytes.
const MERGE_LEN: usize = 16 * 1024;

/// One message of a topic, as it lies in a batch.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) batch: Arc<Kept>,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) topic: TopicSlot,
    /// Of messages with one key only the newest is worth keeping.
    pub(super) key: Option<u64>,
}

#[derive(Debug)]
enum Data {
    /// Whole frames for this connection alone.
    Owned(Vec<u8>, Charge),
    /// A long payload for this connection alone.
    Long { payload: Buffer, charge: Charge },
    /// Part of a batch that other connections wait for too.
    Shared(Arc<Kept>, usize, usize),
    /// A message that the policy of its topic may drop.
    Message(Queued),
    /// A newer message with the same key waits further back.
    Outdated,
}

impl Data {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes, _) => bytes,
            Self::Long { payload, .. } => payload,
            Self::Shared(batch, start, end) => &batch.bytes[*start..*end],
            Self::Message(message) => &message.batch.bytes[message.start..message.end],
            Self::Outdated => &[],
        }
    }
}

#[derive(Debug)]
struct Chunk {
    data: Data,
    queued_at: Millis,
}

/// What became of a message that was offered to a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) is_queued: bool,
    /// Messages that the policy gave up, the offered one included.
    pub(super) dropped: u64,
}

/// The outbound queue of one connection; whole frames, but for the first one, which may be written in part.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    chunks: VecDeque<Chunk>,
    /// Octets of the first chunk that are written. Once there are any, the chunk stays.
    written: usize,
    len: usize,
    /// Chunks that left the queue at its front; a chunk's number is this and its position.
    gone: u64,
    /// The numbers of the messages that have a key, by topic and key.
    keyed: BTreeMap<(TopicSlot, u64), u64>,
    /// Chunks that are outdated.
    outdated: usize,
    /// Messages that were dropped, by topic: what the application is still to be told.
    lost: Vec<(TopicId, u64)>,
}

impl Backlog {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Since when the first chunk waits.
    pub(super) fn oldest(&self) -> Option<Millis> {
        self.chunks.front().map(|chunk| chunk.queued_at)
    }

    pub(super) fn push_copy(&mut self, bytes: &[u8], now: Millis, budget: &Budget) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        if let Some(Chunk { data: Data::Owned(last, charge), .. }) = self.chunks.back_mut()
            && last.len() + bytes.len() <= MERGE_LEN
        {
            last.extend_from_slice(bytes);
            charge.set(last.capacity());
        } else {
            let charge = budget.charge(bytes.len());
            self.push(Data::Owned(bytes.to_vec(), charge), now);
        }
    }

    /// Queues the octets of a buffer from `start` on without a copy; when others wait, `start` is 0.
    pub(super) fn push_owned(&mut self, payload: Buffer, start: usize, now: Millis, budget: &Budget) {
        debug_assert!(start == 0 || self.chunks.is_empty());
        if start < payload.len() {
            self.len += payload.len() - start;
            self.written += start;
            let charge = budget.charge(payload.capacity());
            self.push(Data::Long { payload, charge }, now);
        }
    }

    /// Queues part of a batch without a copy.
    pub(super) fn push_shared(&mut self, batch: &Arc<Kept>, start: usize, end: usize, now: Millis) {
        if start < end {
            self.len += end - start;
            self.push(Data::Shared(Arc::clone(batch), start, end), now);
        }
    }

    /// Queues the rest of a message that the socket took in part: it can be dropped no more.
    pub(super) fn push_begun(&mut self, message: &Queued, written: usize, now: Millis) {
        debug_assert!(self.chunks.is_empty() && written < message.end - message.start);
        self.push_shared(&message.batch, message.start + written, message.end, now);
    }

    fn push(&mut self, data: Data, queued_at: Millis) {
        self.chunks.push_back(Chunk { data, queued_at });
    }

    /// Queues a message as the policy of its topic has it: never more than `limit` bytes wait.
    pub(super) fn offer(
        &mut self,
        message: Queued,
        policy: SlowPolicy,
        limit: usize,
        now: Millis,
    ) -> Offered {
        let len = message.end - message.start;
        let mut offered = Offered { is_queued: true, dropped: 0 };
        let place = message.key.map(|key| (message.topic, key)).filter(|_| policy == SlowPolicy::Conflate);
        if let Some(place) = &place {
            offered.dropped += u64::from(self.outdate(place));
        }
        while self.len + len > limit {
            offered.dropped += 1;
            if policy == SlowPolicy::DropNewest || !self.drop_oldest(message.topic) {
                offered.is_queued = false;
                return offered;
            }
        }
        if let Some(place) = place {
            self.keyed.insert(place, self.gone + self.chunks.len() as u64);
        }
        self.len += len;
        self.push(Data::Message(message), now);
        offered
    }

    /// Empties the message with a key, if one waits that is not begun. What is kept keeps its order, and outdated chunks
    /// never outnumber the others.
    fn outdate(&mut self, place: &(TopicSlot, u64)) -> bool {
        let Some(number) = self.keyed.remove(place) else { return false };
        let Some(chunk) = self.chunks.get_mut((number - self.gone) as usize) else { return false };
        self.len -= chunk.data.as_bytes().len();
        chunk.data = Data::Outdated;
        self.outdated += 1;
        if self.outdated * 2 > self.chunks.len() {
            self.outdated = 0;
            self.chunks.retain(|chunk| !matches!(chunk.data, Data::Outdated));
            for (at, chunk) in self.chunks.iter().enumerate() {
                if let Data::Message(Queued { topic, key: Some(key), .. }) = &chunk.data
                    && let Some(number) = self.keyed.get_mut(&(*topic, *key))
                {
                    *number = self.gone + at as u64;
                }
            }
        }
        true
    }

    /// Takes the oldest message of a topic out of the queue, if there is one that is not begun.
    fn drop_oldest(&mut self, topic: TopicSlot) -> bool {
        let first = usize::from(self.written > 0);
        let found = self
            .chunks
            .iter()
            .skip(first)
            .position(|chunk| matches!(&chunk.data, Data::Message(message) if message.topic == topic));
        let Some(at) = found.map(|at| at + first) else { return false };
        self.forget_key(at);
        if let Some(chunk) = self.chunks.remove(at) {
            self.len -= chunk.data.as_bytes().len();
        }
        // What stood before it moves up by one number, as if the first had gone.
        self.gone += 1;
        for at in first..at {
            if let Data::Message(Queued { topic, key: Some(key), .. }) = &self.chunks[at].data
                && let Some(number) = self.keyed.get_mut(&(*topic, *key))
                && *number == self.gone - 1 + at as u64
            {
                *number += 1;
            }
        }
        true
    }

    /// The chunk at `at` can be replaced no more.
    fn forget_key(&mut self, at: usize) {
        if let Data::Message(Queued { topic, key: Some(key), .. }) = &self.chunks[at].data
            && self.keyed.get(&(*topic, *key)) == Some(&(self.gone + at as u64))
        {
            self.keyed.remove(&(*topic, *key));
        }
    }

    /// Notes messages of a topic that were dropped.
    pub(super) fn note_lost(&mut self, topic: TopicSlot, count: u64) {
        let topic = topic.id();
        match self.lost.iter_mut().find(|(other, _)| *other == topic) {
            Some((_, total)) => *total += count,
            None if count > 0 => self.lost.push((topic, count)),
            None => {}
        }
    }

    /// Messages that were dropped and not told of, by topic.
    pub(super) fn take_lost(&mut self) -> Vec<(TopicId, u64)> {
        std::mem::take(&mut self.lost)
    }

    /// The front of the queue, for one `writev`.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut skip = self.written;
        self.chunks
            .iter()
            .filter(|chunk| !matches!(chunk.data, Data::Outdated))
            .take(MAX_SLICES)
            .map(|chunk| IoSlice::new(&chunk.data.as_bytes()[std::mem::take(&mut skip)..]))
            .collect()
    }

    /// Forgets `count` octets that were written; `waited` is called with the time since when a chunk waited, for each
    /// that was written whole. Returns the
    /// buffer of the last long payload among them.
    pub(super) fn advance(&mut self, count: usize, mut waited: impl FnMut(Millis)) -> Option<Buffer> {
        let mut buffer = None;
        self.len -= count;
        self.written += count;
        while let Some(first) = self.chunks.front() {
            let len = first.data.as_bytes().len();
            let is_outdated = matches!(first.data, Data::Outdated);
            if self.written > 0 {
                self.forget_key(0);
            }
            if self.written < len {
                break;
            }
            self.written -= len;
            self.outdated -= usize::from(is_outdated);
            let chunk = self.chunks.pop_front();
            if let Some(chunk) = chunk.filter(|_| !is_outdated) {
                waited(chunk.queued_at);
                if let Data::Long { payload, .. } = chunk.data {
                    buffer = Some(payload);
                }
            }
            self.gone += 1;
        }
        buffer
    }

    /// Whether the counters agree with the chunks. Adds to `charged` what is charged for them, for each batch once.
    pub(super) fn check(&self, charged: &mut BTreeMap<usize, usize>) {
        let len: usize = self.chunks.iter().map(|chunk| chunk.data.as_bytes().len()).sum();
        assert_eq!(self.len + self.written, len, "bytes that wait");
        let outdated = self.chunks.iter().filter(|chunk| matches!(chunk.data, Data::Outdated)).count();
        assert_eq!(self.outdated, outdated, "outdated chunks");
        for (place, number) in &self.keyed {
            let chunk = &self.chunks[(number - self.gone) as usize];
            let is_it = matches!(&chunk.data, Data::Message(message)
                if message.topic == place.0 && message.key == Some(place.1));
            assert!(is_it, "the message with key {place:?} is another one");
        }
        for chunk in &self.chunks {
            let (key, bytes) = match &chunk.data {
                Data::Owned(bytes, charge) => (bytes.as_ptr().addr(), charge.bytes()),
                Data::Long { payload, charge } => (payload.as_ptr().addr(), charge.bytes()),
                Data::Shared(batch, ..) | Data::Message(Queued { batch, .. }) => batch.charge_for_check(),
                Data::Outdated => continue,
            };
            charged.insert(key, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic() -> TopicSlot {
        TopicSlot::new(7)
    }

    /// A message of `len` octets, all of which are `mark`.
    fn message(mark: u8, len: usize, key: Option<u64>, budget: &Budget) -> Queued {
        let batch = Kept::new(Arc::new(vec![mark; len]), budget);
        Queued { batch: Arc::new(batch), start: 0, end: len, topic: topic(), key }
    }

    /// Reads everything, `step` octets at a time.
    fn drain(backlog: &mut Backlog, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while backlog.len() > 0 {
            let octets: Vec<u8> =
                backlog.slices().iter().flat_map(|slice| slice.to_vec()).take(step).collect();
            backlog.advance(octets.len(), |_| ());
            all.extend(octets);
        }
        all
    }

    #[test]
    fn drop_oldest_keeps_what_is_begun_and_what_is_newest() {
        let budget = Budget::default();
        let mut backlog = Backlog::default();
        for mark in 1..=3 {
            backlog.offer(message(mark, 10, None, &budget), SlowPolicy::DropOldest, 30, 0);
        }
        backlog.advance(1, |_| ());
        let offered = backlog.offer(message(4, 15, None, &budget), SlowPolicy::DropOldest, 30, 0);
        assert_eq!(offered, Offered { is_queued: true, dropped: 2 });
        assert_eq!(drain(&mut backlog, 4), [[1; 9].as_slice(), &[4; 15]].concat());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_merged_is_charged_with_the_memory_that_it_takes() {
        let budget = Budget::default();
        let mut backlog = Backlog::default();
        for count in 1..=5_000 {
            backlog.push_copy(&[7; 10], 0, &budget);
            let memory: usize = backlog
                .chunks
                .iter()
                .map(|chunk| match &chunk.data {
                    Data::Owned(bytes, _) => bytes.capacity(),
                    _ => 0,
                })
                .sum();
            assert_eq!(backlog.len(), 10 * count);
            assert_eq!(budget.used(), memory, "{count} pieces");
        }
        backlog.advance(20_000, |_| ());
        assert!(budget.used() >= backlog.len() && budget.used() < 2 * MERGE_LEN + backlog.len());
        drop(backlog);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn drop_newest_keeps_what_waits_and_nothing_for_one_alone_is_dropped() {
        let budget = Budget::default();
        let mut backlog = Backlog::default();
        backlog.push_copy(&[9; 25], 0, &budget);
        let refused = backlog.offer(message(1, 10, None, &budget), SlowPolicy::DropNewest, 30, 0);
        assert_eq!(refused, Offered { is_queued: false, dropped: 1 });
        let refused = backlog.offer(message(1, 10, None, &budget), SlowPolicy::DropOldest, 30, 0);
        assert_eq!(refused, Offered { is_queued: false, dropped: 1 });
        assert_eq!(drain(&mut backlog, 100), [9; 25]);
    }

    #[test]
    fn conflate_keeps_the_newest_and_what_is_begun() {
        let budget = Budget::default();
        let mut backlog = Backlog::default();
        let conflate = |backlog: &mut Backlog, mark, key| {
            backlog.offer(message(mark, 4, Some(key), &budget), SlowPolicy::Conflate, 100, 0)
        };
        conflate(&mut backlog, 1, 1);
        conflate(&mut backlog, 2, 2);
        assert_eq!(conflate(&mut backlog, 3, 1), Offered { is_queued: true, dropped: 1 });
        backlog.advance(1, |_| ());
        // The one of key 2 is begun.
        assert_eq!(conflate(&mut backlog, 5, 2), Offered { is_queued: true, dropped: 0 });
        assert_eq!(conflate(&mut backlog, 4, 3), Offered { is_queued: true, dropped: 0 });
        assert_eq!(conflate(&mut backlog, 5, 2), Offered { is_queued: true, dropped: 1 });
        assert_eq!(drain(&mut backlog, 3), [2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5]);
    }

    proptest! {
        /// The oracle is a plain list of messages with the same rules.
        #[test]
        fn agrees_with_a_list(
            policy in prop::sample::select(vec![SlowPolicy::DropOldest, SlowPolicy::DropNewest, SlowPolicy::Conflate]),
            operations in prop::collection::vec((0..4u8, 1..20usize, 0..4u64), 1..200),
        ) {
            const LIMIT: usize = 60;
            let budget = Budget::default();
            let mut backlog = Backlog::default();
            // (octet, length, key, may be dropped)
            let mut list: VecDeque<(u8, usize, Option<u64>, bool)> = VecDeque::new();
            let mut begun = 0;
            for (at, (kind, len, key)) in operations.into_iter().enumerate() {
                let mark = at as u8;
                let waiting = list.iter().map(|entry| entry.1).sum::<usize>() - begun;
                match kind {
                    0 => {
                        backlog.push_copy(&vec![mark; len], 0, &budget);
                        list.push_back((mark, len, None, false));
                    }
                    1 | 2 => {
                        let key = (policy == SlowPolicy::Conflate).then_some(key);
                        let offered = backlog.offer(message(mark, len, key, &budget), policy, LIMIT, 0);
                        let first = usize::from(begun > 0);
                        let mut waiting = waiting;
                        let mut dropped = 0;
                        let place = list.iter().rposition(|entry| key.is_some() && entry.2 == key);
                        if let Some(at) = place.filter(|&at| at >= first) {
                            waiting -= list.remove(at).unwrap().1;
                            dropped = 1;
                        }
                        let mut fits = true;
                        while waiting + len > LIMIT {
                            dropped += 1;
                            let oldest = list.iter().skip(first).position(|entry| entry.3);
                            let Some(at) = oldest.filter(|_| policy != SlowPolicy::DropNewest) else {
                                fits = false;
                                break;
                            };
                            waiting -= list.remove(at + first).unwrap().1;
                        }
                        if fits {
                            list.push_back((mark, len, key, true));
                        }
                        prop_assert_eq!(offered.is_queued, fits);
                        prop_assert_eq!(offered.dropped, dropped);
                    }
                    _ => {
                        let count = len.min(waiting);
                        let octets: Vec<u8> =
                            backlog.slices().iter().flat_map(|slice| slice.to_vec()).take(count).collect();
                        backlog.advance(count, |_| ());
                        for octet in octets {
                            prop_assert_eq!(octet, list[0].0);
                            begun += 1;
                            if begun == list[0].1 {
                                list.pop_front();
                                begun = 0;
                            }
                        }
                    }
                }
                prop_assert_eq!(backlog.len(), list.iter().map(|entry| entry.1).sum::<usize>() - begun);
            }
            drop(backlog);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
