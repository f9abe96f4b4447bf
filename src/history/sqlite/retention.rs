//! What is kept no longer is removed behind the commits, in small steps.
//!
//! Rows are removed in the order in which they were added, so of each room the oldest go first and the links between the
//! rest stay whole. What the rules take away is out of sight at once ([`super::reader::visible`]); from the disk it goes with
//! the next sweep through the table. A sweep begins when a quarter of what it would read is new: so each post costs the
//! same few rows, however many there are.

use super::data_dir::{Options, load_meta, store_meta};
use super::rows::{load_change, read_post};
use super::schema::SEEK_POINT_EVERY;
use super::transaction::{Result, Transactions};
use crate::history::Action;
use crate::wall::LEAP_MS;

/// Rows that are looked at in one step; a commit that comes up waits for no more than that.
pub(super) const SWEEP_STEP: i64 = 256;
/// No sweep for fewer new rows than this.
pub(super) const SWEEP_MIN: i64 = 4096;
/// The longest time between two sweeps when messages are kept for a time, in milliseconds.
pub(super) const SWEEP_MS: u64 = 3_600_000;

/// Which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Posts,
    Changes,
}

/// How far a table is swept; kept in the database, so that a restart goes on where it was.
#[derive(Debug)]
pub(super) struct Sweep {
    table: Table,
    /// The last row that was looked at; 0 between two sweeps.
    cursor: i64,
    /// The row that came next when the last sweep ended.
    since: i64,
    /// Rows that the last sweep left, and that this one has left so far.
    kept: i64,
    keeping: i64,
    /// When the last sweep ended.
    ended_ms: u64,
}

impl Sweep {
    pub(super) fn load(table: Table, session: &Transactions<'_>) -> Result<Self> {
        let known = load_meta(session.conn, name(table))?.unwrap_or_default();
        let mut numbers = known.split(' ').map(|number| number.parse().unwrap_or(0));
        let mut number = || numbers.next().unwrap_or(0);
        let (cursor, since, kept, keeping, ended_ms) = (number(), number(), number(), number(), number());
        Ok(Self { table, cursor, since, kept, keeping, ended_ms: ended_ms.cast_unsigned() })
    }

    /// Whether there is something to do now.
    pub(super) fn is_due(&self, session: &Transactions<'_>, options: &Options) -> bool {
        if self.cursor != 0 {
            return true;
        }
        let (keep, next) = match self.table {
            Table::Posts => (options.keep_posts, session.next_post()),
            Table::Changes => (options.keep_changes, session.next_change()),
        };
        let is_full = keep > 0 && next - self.since >= SWEEP_MIN.max(self.kept / 4);
        let pause_ms = (options.keep_ms / 8).clamp(1000, SWEEP_MS);
        let is_old = self.table == Table::Posts && options.keep_ms > 0 && {
            let now = (options.now)();
            // A sweep that ended in the future says that the clock was wrong then.
            now >= self.ended_ms.saturating_add(pause_ms) || self.ended_ms > now.saturating_add(pause_ms)
        };
        is_full || is_old
    }

    /// Looks at the next few rows, within a transaction.
    pub(super) fn step(&mut self, session: &mut Transactions<'_>, options: &Options) -> Result<()> {
        let (seen, removed, is_ahead) = match self.table {
            Table::Posts => self.sweep_posts(session, options)?,
            Table::Changes => {
                let (seen, removed) = self.sweep_changes(session, options)?;
                (seen, removed, false)
            }
        };
        self.keeping += seen - removed;
        // Kept for a time alone, posts are removed in the order in which they stand. Those of a clock that was ahead are
        // no reason to end.
        let is_past = self.table == Table::Posts && options.keep_posts == 0 && removed == 0 && !is_ahead;
        if seen < SWEEP_STEP || is_past {
            self.cursor = 0;
            self.since = match self.table {
                Table::Posts => session.next_post(),
                Table::Changes => session.next_change(),
            };
            self.kept = std::mem::take(&mut self.keeping);
            self.ended_ms = (options.now)();
        }
        let Self { cursor, since, kept, keeping, ended_ms, .. } = self;
        let numbers = format!("{cursor} {since} {kept} {keeping} {ended_ms}");
        Ok(store_meta(session.conn, name(self.table), &numbers)?)
    }

    /// How many rows were looked at and how many of them removed, and whether any is of a time to come.
    fn sweep_posts(&mut self, session: &mut Transactions<'_>, options: &Options) -> Result<(i64, i64, bool)> {
        let conn = session.conn;
        let mut found = Vec::new();
        let mut seen = 0;
        {
            let mut select = conn.prepare_cached(
                "SELECT id, prev, room, seq, time, flags, edited, user, client, key, text, crc, data, reply
                 FROM posts WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?;
            let mut rows = select.query([self.cursor, SWEEP_STEP])?;
            while let Some(row) = rows.next()? {
                seen += 1;
                self.cursor = row.get(0)?;
                found.extend(read_post(row)?);
            }
        }
        let mut removed = 0;
        let now = (options.now)();
        let is_ahead = found.iter().any(|stored| stored.record.post.time > now.saturating_add(LEAP_MS));
        for stored in found {
            let Some(at) = session.room_by_id(stored.room)? else { continue };
            let (seq, head) = (stored.record.post.seq, session.head(at));
            let is_over = options.keep_posts > 0 && seq + options.keep_posts <= head.seq;
            if seq >= head.oldest && !is_over && !options.is_expired(stored.record.post.time) {
                continue;
            }
            if seq >= head.oldest {
                session.head_mut(at).oldest = seq + 1;
            }
            let id = stored.id;
            conn.prepare_cached("DELETE FROM posts WHERE id = ?1")?.execute([id])?;
            conn.prepare_cached("DELETE FROM reactions WHERE post = ?1")?.execute([id])?;
            if seq.is_multiple_of(SEEK_POINT_EVERY) {
                conn.prepare_cached("DELETE FROM marks WHERE room = ?1 AND seq = ?2")?
                    .execute([stored.room, seq.cast_signed()])?;
            }
            if stored.record.edited.is_some() {
                session.blank_edits(stored.room, seq)?;
            }
            session.note_stale(id)?;
            removed += 1;
        }
        Ok((seen, removed, is_ahead))
    }

    fn sweep_changes(&mut self, session: &mut Transactions<'_>, options: &Options) -> Result<(i64, i64)> {
        let conn = session.conn;
        let ids: Vec<i64> = {
            let mut select =
                conn.prepare_cached("SELECT id FROM changes WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            let ids = select.query_map([self.cursor, SWEEP_STEP], |row| row.get(0))?;
            ids.collect::<rusqlite::Result<_>>()?
        };
        let (mut seen, mut removed) = (0, 0);
        for id in ids {
            seen += 1;
            self.cursor = id;
            let Some(change) = load_change(conn, id)? else { continue };
            let (Action::Edit { rev, .. } | Action::Delete { rev, .. } | Action::React { rev, .. }) =
                change.action
            else {
                continue;
            };
            let Some(at) = session.room_by_id(change.room)? else { continue };
            if rev + options.keep_changes <= session.head(at).rev {
                conn.prepare_cached("DELETE FROM changes WHERE id = ?1")?.execute([id])?;
                session.note_erased();
                removed += 1;
            }
        }
        Ok((seen, removed))
    }
}

fn name(table: Table) -> &'static str {
    match table {
        Table::Posts => "sweep of posts",
        Table::Changes => "sweep of changes",
    }
}
