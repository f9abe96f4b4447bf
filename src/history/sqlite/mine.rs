//! The rooms that a user has subscribed to, and how much somebody has not read, out of the tables.

use std::sync::Arc;

use rusqlite::{Connection, Result};

use super::pairs::{Candidate, Wanted, candidates, limited};
use super::rows::{Head, Walk, load_head, load_reactions, read_position};
use super::schema::checksum;
use crate::history::unread::{Counter, Reader, Unread};
use crate::history::{Mine, MinePage, PairPlace, Record};

/// The checksum of a row of `subscriptions`.
pub(super) fn subscription_checksum(user: &str, room: i64) -> i64 {
    checksum(&[room], &[user.as_bytes()])
}

/// The rooms of a user and the conversations of theirs, the newest first; `is_sure` of a room's name, `shown` makes a head what may
/// be told of it, and `is_expired` says so of a time.
pub(super) fn page(
    conn: &Connection,
    reader: &Reader,
    wanted: &Wanted<'_>,
    is_sure: impl Fn(&str) -> bool,
    (shown, is_expired): (impl Fn(Head) -> Head, impl Fn(u64) -> bool),
) -> Result<MinePage> {
    let subscribed = subscriptions(conn, wanted.user)?;
    let has_messages = |head: Head| {
        let head = shown(head);
        (head.seq >= head.oldest.max(1) && !is_expired(head.time)).then_some(head)
    };
    let mut found = candidates(conn, wanted.user, &is_sure, has_messages)?;
    for candidate in &mut found {
        candidate.place.other = pair_room(wanted.user, &candidate.place.other);
    }
    for name in subscribed.iter().filter(|name| is_sure(name)) {
        let Some((room, head)) = load_head(conn, name)? else { continue };
        let head = shown(head);
        found.push(Candidate { place: PairPlace { time: head.time, other: Arc::clone(name) }, room, head });
    }
    let mut rooms = Vec::new();
    for Candidate { place, room, head } in limited(found, wanted) {
        let newest = Walk::new(conn, room, &head, u64::MAX)?.next(conn)?;
        let newest = newest.filter(|stored| !is_expired(stored.record.post.time));
        let newest = match newest {
            Some(stored) => {
                let reactions = load_reactions(conn, &stored)?;
                Some(Record { reactions, ..stored.record })
            }
            None => None,
        };
        let counted = count(conn, (room, head), std::slice::from_ref(reader), &is_expired)?;
        let Some(Unread { read, count, .. }) = counted.into_iter().next() else { continue };
        let epoch = Arc::clone(wanted.epoch);
        let Head { seq, rev, .. } = head;
        rooms.push(Mine { place, epoch, seq, rev, read, unread: count, newest });
    }
    Ok(MinePage { rooms, subscribed })
}

/// How much readers have not read of a room.
pub(super) fn count(
    conn: &Connection,
    (room, head): (i64, Head),
    readers: &[Reader],
    is_expired: impl Fn(u64) -> bool,
) -> Result<Vec<Unread>> {
    let marks: Vec<u64> =
        readers.iter().map(|reader| read_position(conn, room, head, &reader.user)).collect::<Result<_>>()?;
    let mut counter = Counter::new(readers, marks.into_iter());
    let mut walk = Walk::new(conn, room, &head, u64::MAX)?;
    while let Some(stored) = walk.next(conn)?.filter(|stored| !is_expired(stored.record.post.time)) {
        if !counter.look(&stored.record) {
            break;
        }
    }
    Ok(counter.finish())
}

/// The rooms that a user has subscribed to, by name.
fn subscriptions(conn: &Connection, user: &str) -> Result<Vec<Arc<str>>> {
    let mut select = conn.prepare_cached(
        "SELECT s.room, s.crc, r.name FROM subscriptions s JOIN rooms r ON r.id = s.room WHERE s.user = ?1
         ORDER BY r.name",
    )?;
    let mut rows = select.query([user])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let room = row.get(0)?;
        if row.get::<_, i64>(1)? == subscription_checksum(user, room) {
            found.push(row.get::<_, String>(2)?.into());
        } else {
            tracing::error!(room, "a damaged subscription is passed over");
        }
    }
    Ok(found)
}

/// The room of a conversation of two.
fn pair_room(user: &str, other: &str) -> Arc<str> {
    let (a, b) = if user <= other { (user, other) } else { (other, user) };
    format!("@{a}\n{b}").into()
}
