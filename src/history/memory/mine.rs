//! How much of a room in memory somebody has not read.

use std::sync::Arc;

use super::Room;
use crate::history::{Mine, PairPlace, Reader, Unread, unread};

/// How much readers have not read of a room.
pub(super) fn unread_of(room: &Room, readers: &[Reader]) -> Vec<Unread> {
    let marks = readers.iter().map(|reader| room.reads.get(&reader.user).copied().unwrap_or(0));
    let [older, newer] = room.log.between(0, u64::MAX);
    unread::count(readers, marks, newer.iter().rev().chain(older.iter().rev()))
}

/// What a user is told of a room.
pub(super) fn mine_of(name: &Arc<str>, room: &Room, reader: &Reader) -> Option<Mine> {
    let seq = room.order.seq();
    let Unread { read, count, .. } = unread_of(room, std::slice::from_ref(reader)).into_iter().next()?;
    Some(Mine {
        place: PairPlace { time: room.order.time(), other: Arc::clone(name) },
        epoch: Arc::clone(&room.epoch),
        seq,
        rev: room.order.rev(),
        read,
        unread: count,
        newest: room.log.find(seq).cloned(),
    })
}

/// A room that nobody has opened yet.
pub(super) fn blank(name: &Arc<str>) -> Mine {
    let place = PairPlace { time: 0, other: Arc::clone(name) };
    Mine { place, epoch: Arc::default(), seq: 0, rev: 0, read: 0, unread: 0, newest: None }
}
