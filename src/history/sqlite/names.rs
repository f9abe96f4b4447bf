//! The names that the history of all rooms had before: one for each time that it was copied or set back.

use std::sync::Arc;

use rusqlite::{Connection, Result};

use super::data_dir::{load_meta, store_meta};
use super::rows::{Head, Walk, load_change, newest_change, newest_post, rev_of};
use crate::history::{Fork, MAX_LINEAGE};

/// The entry of `meta`: `epoch:post:change`, with spaces between, the newest last.
const PAST: &str = "past";

/// The name of the history, and those before.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) epoch: Arc<str>,
    pub(super) past: Vec<Past>,
}

/// A name that the history had, and the newest rows that it had then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Past {
    epoch: Arc<str>,
    post: i64,
    change: i64,
}

impl Past {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let epoch = parts.next()?.into();
        let mut number = || parts.next()?.parse().ok();
        Some(Self { epoch, post: number()?, change: number()? })
    }
}

/// The names that the history had before, the newest last.
pub(super) fn load_past(conn: &Connection) -> Result<Vec<Past>> {
    let past = load_meta(conn, PAST)?.unwrap_or_default();
    Ok(past.split_whitespace().filter_map(Past::parse).collect())
}

/// The history has another name from now on; to be called within a transaction.
pub(super) fn note_past(conn: &Connection, epoch: &str) -> Result<()> {
    let mut past = load_past(conn)?;
    past.push(Past { epoch: epoch.into(), post: newest_post(conn)?, change: newest_change(conn)? });
    let newest = past.len().saturating_sub(MAX_LINEAGE);
    let shown = past[newest..].iter().map(|Past { epoch, post, change }| format!("{epoch}:{post}:{change}"));
    store_meta(conn, PAST, &shown.collect::<Vec<_>>().join(" "))
}

impl Names {
    /// What a room had when its history was called otherwise. At most `changes` changes are looked through: where there are
    /// more since, none counts as known.
    pub(super) fn lineage(
        &self,
        conn: &Connection,
        room: i64,
        head: &Head,
        changes: usize,
    ) -> Result<Vec<Fork>> {
        let fork = |Past { epoch, post, change }: &Past| {
            let (seq, rev) = (seq_at(conn, room, head, *post)?, rev_at(conn, head, *change, changes)?);
            Ok(Fork { epoch: Arc::clone(epoch), seq, rev })
        };
        self.past.iter().map(fork).collect()
    }
}

/// The newest message of a room among the rows up to one.
fn seq_at(conn: &Connection, room: i64, head: &Head, post: i64) -> Result<u64> {
    if head.post <= post {
        return Ok(head.seq);
    }
    let mut select = conn.prepare_cached(
        "SELECT ifnull(min(seq), ?3) FROM marks WHERE room = ?1 AND seq > (SELECT ifnull(max(seq), 0) FROM marks
         WHERE room = ?1 AND post <= ?2)",
    )?;
    let above: i64 = select.query_row((room, post, head.seq.cast_signed()), |row| row.get(0))?;
    let mut walk = Walk::new(conn, room, head, above.cast_unsigned() + 1)?;
    while let Some(stored) = walk.next(conn)? {
        if stored.id <= post {
            return Ok(stored.record.post.seq);
        }
    }
    Ok(0)
}

/// The newest change of a room among the rows up to one; 0 where that is too long ago.
fn rev_at(conn: &Connection, head: &Head, change: i64, most: usize) -> Result<u64> {
    let (mut next, mut rev) = (head.change, head.rev);
    for _ in 0..=most {
        if next <= change {
            return Ok(rev);
        }
        let Some(stored) = load_change(conn, next)?.filter(|stored| rev_of(&stored.action) == rev) else {
            break;
        };
        next = stored.prev;
        rev = rev.saturating_sub(1);
    }
    Ok(0)
}
