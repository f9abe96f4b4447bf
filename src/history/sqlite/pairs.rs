//! The conversations of two that a user has, out of the names and heads of rooms.
//!
//! The name of such a room is `@`, the folded names of both in their order, and a line break between them
//! ([`super::schema::PAIRS`]).

use std::sync::Arc;

use rusqlite::{Connection, Result};

use super::rows::{Head, Walk, read_position};
use crate::history::{Pair, PairPlace};

/// Conversations of one user that are looked at in one question. Of a user who has more, the others are not listed.
pub(super) const MAX_PAIRS: u32 = 10_000;
/// Messages that are looked at for the names of those who wrote them.
const WRITERS_AMONG: usize = 16;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) user: &'a str,
    /// Names the history.
    pub(super) epoch: &'a Arc<str>,
    pub(super) after: Option<&'a PairPlace>,
    pub(super) limit: usize,
}

/// A room of somebody's, before it is known whether it is told.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) place: PairPlace,
    pub(super) room: i64,
    pub(super) head: Head,
}

/// Those that are wanted, in the order of the list.
pub(super) fn limited(mut found: Vec<Candidate>, wanted: &Wanted<'_>) -> Vec<Candidate> {
    found.retain(|candidate| wanted.after.is_none_or(|after| candidate.place.is_after(after)));
    found.sort_unstable_by(|a, b| a.place.order().cmp(&b.place.order()));
    found.truncate(wanted.limit);
    found
}

/// The newest conversations after a place, `is_sure` of the room's name and with a head that is `shown`.
pub(super) fn newest(
    conn: &Connection,
    wanted: &Wanted<'_>,
    is_sure: impl Fn(&str) -> bool,
    shown: impl Fn(Head) -> Option<Head>,
) -> Result<Vec<Pair>> {
    limited(candidates(conn, wanted.user, is_sure, shown)?, wanted)
        .into_iter()
        .map(|Candidate { place, room, head }| {
            let writers = writers(conn, room, &head)?;
            let read = read_position(conn, room, head, wanted.user)?;
            let epoch = Arc::clone(wanted.epoch);
            Ok(Pair { place, epoch, seq: head.seq, rev: head.rev, read, writers })
        })
        .collect()
}

/// The conversations of a user; the place of each names the other.
pub(super) fn candidates(
    conn: &Connection,
    user: &str,
    is_sure: impl Fn(&str) -> bool,
    shown: impl Fn(Head) -> Option<Head>,
) -> Result<Vec<Candidate>> {
    // A range of the names for those in which the user comes first, the index of second names for the others.
    let mut select = conn.prepare_cached(
        "SELECT r.name, r.id, h.seq, h.rev, h.time, h.post, h.change, h.oldest, h.crc FROM (
             SELECT name, id FROM rooms WHERE name >= ?1 AND name < ?2
             UNION
             SELECT name, id FROM rooms
             WHERE substr(name, 1, 1) = '@' AND substr(name, instr(name, char(10)) + 1) = ?3
             LIMIT ?4
         ) r JOIN heads h ON h.room = r.id",
    )?;
    let bounds = (format!("@{user}\n"), format!("@{user}\x0b"));
    let mut rows = select.query((&bounds.0, &bounds.1, user, MAX_PAIRS))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let room = row.get(1)?;
        let Some((first, second)) = name.strip_prefix('@').and_then(|pair| pair.split_once('\n')) else {
            continue;
        };
        let other: Arc<str> = if first == user { second.into() } else { first.into() };
        // A damaged head is told of when the room is opened.
        if let Some(head) = Head::read(row, 2, room)?.filter(|_| is_sure(&name)).and_then(&shown) {
            found.push(Candidate { place: PairPlace { time: head.time, other }, room, head });
        }
    }
    Ok(found)
}

fn writers(conn: &Connection, room: i64, head: &Head) -> Result<Vec<Arc<str>>> {
    let mut walk = Walk::new(conn, room, head, u64::MAX)?;
    let mut writers: Vec<Arc<str>> = Vec::new();
    for _ in 0..WRITERS_AMONG {
        let Some(stored) = walk.next(conn)? else { break };
        let user = stored.record.post.user;
        if !writers.contains(&user) {
            writers.push(user);
        }
        // Each of the two may have had several names.
        if writers.len() > 3 {
            break;
        }
    }
    Ok(writers)
}
