//! What is seen of a room in memory.

use std::sync::Arc;

use super::Room;
use crate::history::{Keep, PAGE_OCTETS, Pair, PairPlace, Record, RoomState};
use crate::text::words;

/// Messages that are looked at for the names of those who wrote them.
const WRITERS_AMONG: u64 = 16;

/// What a loop is told that opens the room.
pub(super) fn state(room: &Room, recent: usize, changes: usize) -> RoomState {
    let (seq, rev) = (room.order.seq(), room.order.rev());
    let parts = room.log.between(seq.saturating_sub(recent as u64), u64::MAX);
    RoomState {
        epoch: Arc::clone(&room.epoch),
        lineage: Vec::new(),
        seq,
        rev,
        time: room.order.time(),
        oldest: room.oldest(),
        recent: parts.concat(),
        changes: room.log.newest_changes(changes),
    }
}

/// Messages before a place.
pub(super) fn page(room: &Room, before: u64, limit: usize, keep: Keep) -> Vec<Record> {
    let end = before.min(room.order.seq() + 1);
    let mut records: Vec<Record> = room.log.between(end.saturating_sub(limit as u64 + 1), end).concat();
    let mut octets: usize = records.iter().map(|record| record.post.octets()).sum();
    while octets > PAGE_OCTETS && records.len() > 1 {
        let gone = if keep == Keep::Newest { Some(records.remove(0)) } else { records.pop() };
        octets -= gone.map_or(0, |record| record.post.octets());
    }
    records
}

/// The newest messages that a query finds.
pub(super) fn search(room: &Room, query: &words::Query, limit: usize) -> Vec<Record> {
    let [older, newer] = room.log.between(0, u64::MAX);
    let newest_first = newer.iter().rev().chain(older.iter().rev());
    let is_found = |record: &&Record| !record.is_deleted && query.matches(&record.post.text);
    newest_first.filter(is_found).take(limit).cloned().collect()
}

/// The conversation as one of the two sees it.
pub(super) fn pair(name: &str, room: &Room, user: &str) -> Option<Pair> {
    let (first, second) = name.strip_prefix('@')?.split_once('\n')?;
    let other = match (first == user, second == user) {
        (true, _) => second,
        (_, true) => first,
        _ => return None,
    };
    let seq = room.order.seq();
    let mut writers: Vec<Arc<str>> = Vec::new();
    let [older, newer] = room.log.between(seq.saturating_sub(WRITERS_AMONG), u64::MAX);
    for record in newer.iter().rev().chain(older.iter().rev()) {
        if !writers.contains(&record.post.user) {
            writers.push(Arc::clone(&record.post.user));
        }
    }
    (seq > 0).then(|| Pair {
        place: PairPlace { time: room.order.time(), other: other.into() },
        epoch: Arc::clone(&room.epoch),
        seq,
        rev: room.order.rev(),
        read: room.reads.get(user).copied().unwrap_or(0),
        writers,
    })
}
