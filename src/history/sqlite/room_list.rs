//! The list of rooms, out of the names and heads of rooms.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::reader::{Uncertain, before_uncertain};
use super::rows::Head;
use crate::history::{NameRange, RoomHead};

/// At most `limit` rooms by name. Of a failed commit nothing is told.
pub(super) fn rooms(
    conn: &Connection,
    ranges: &[NameRange],
    limit: usize,
    uncertain: &HashMap<Arc<str>, Uncertain>,
) -> Result<Vec<RoomHead>> {
    // The index of the names gives the order: rows are read until there are enough.
    let mut select = conn.prepare_cached(
        "SELECT r.name, r.id, h.seq, h.rev, h.time, h.post, h.change, h.oldest, h.crc
         FROM rooms r LEFT JOIN heads h ON h.room = r.id WHERE r.name >= ?1 AND r.name < ?2 ORDER BY r.name",
    )?;
    let mut found: Vec<RoomHead> = Vec::new();
    for NameRange { from, before } in ranges {
        let mut rows = select.query((from, before))?;
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            let name: Arc<str> = row.get::<_, String>(0)?.into();
            let id = row.get(1)?;
            // A damaged head is told of when the room is opened.
            let head = match row.get_ref(2)? {
                // Somebody has subscribed to it, and nothing was said there.
                ValueRef::Null => continue,
                _ => Head::read(row, 2, id)?,
            };
            let head = match uncertain.get(&name) {
                None => head.unwrap_or_default(),
                Some(Uncertain::From(seq)) => before_uncertain(conn, id, head.unwrap_or_default(), *seq)?,
                Some(Uncertain::All) => continue,
            };
            found.push(RoomHead { name, seq: head.seq, time: head.time });
        }
    }
    Ok(found)
}
