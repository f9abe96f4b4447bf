//! Events for the team's backend, committed with what caused them.
//!
//! A change is kept as the place of its row, so a deleted text is in no second place, and telling costs a commit a few
//! octets. The tables are made when they are needed first, and have no part in the format of the file.

use std::sync::Arc;

use rusqlite::{Connection, Statement, params};

use super::data_dir::{load_meta, store_meta};
use super::rows::{load_change, load_post, rev_of, signed};
use super::schema::checksum;
use crate::history::outbox::{DeadLetter, Dropped, OutboxOptions, Page, Waiting, What};
use crate::history::{Action, EventKind};

/// The tables of this file, which [`super::schema::is_whole`] passes over.
pub(super) const NAMES: &str = "'outbox', 'dead_letters'";
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS outbox(
  id INTEGER PRIMARY KEY, room INTEGER NOT NULL, number INTEGER NOT NULL, place INTEGER NOT NULL, body TEXT NOT NULL,
  crc INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS notes ON outbox(id) WHERE room = 0;
CREATE TABLE IF NOT EXISTS dead_letters(id INTEGER PRIMARY KEY, why TEXT NOT NULL, body TEXT NOT NULL) STRICT;
";
/// The entry of `meta` with the newest event that was told, or that will never be.
const TOLD: &str = "told";
/// Events that the backend refused and that are kept to be looked at; the oldest go first.
pub(super) const MAX_DEAD_LETTERS: u64 = 10_000;

/// Makes the tables where they are not there yet.
pub(super) fn make(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLES)
}

fn load_told(conn: &Connection) -> rusqlite::Result<u64> {
    Ok(load_meta(conn, TOLD)?.and_then(|told| told.parse().ok()).unwrap_or(0))
}

/// The end that writes, within the transactions of one connection.
#[derive(Debug)]
pub(super) struct OutboxRows<'c> {
    conn: &'c Connection,
    options: OutboxOptions,
    dropped: Arc<Dropped>,
    insert: Statement<'c>,
    next: i64,
    len: u64,
    /// Something was added since the last time that was asked.
    is_rung: bool,
}

impl<'c> OutboxRows<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        options: OutboxOptions,
        dropped: Arc<Dropped>,
    ) -> rusqlite::Result<Self> {
        let told = load_told(conn)?;
        let (newest, len): (i64, i64) =
            conn.query_row("SELECT ifnull(max(id), 0), count(*) FROM outbox", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let insert = conn.prepare(
            "INSERT INTO outbox(id, room, number, place, body, crc) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let next = 1 + newest.max(signed(told));
        Ok(Self { conn, options, dropped, insert, next, len: len.cast_unsigned(), is_rung: len > 0 })
    }

    /// A change of a room was written to the row `place`.
    pub(super) fn note_change(&mut self, room: i64, action: &Action, place: i64) -> rusqlite::Result<()> {
        let kind = match action {
            Action::Post(_) => EventKind::Posted,
            Action::Edit { .. } => EventKind::Edited,
            Action::Delete { .. } => EventKind::Deleted,
            Action::React { .. } => EventKind::Reacted,
            Action::Read { .. } => return Ok(()),
        };
        if !self.options.kinds.has(kind) {
            return Ok(());
        }
        // The number of a change is negative.
        let number = if let Action::Post(post) = action { signed(post.seq) } else { -signed(rev_of(action)) };
        self.add([room, number, place], "")
    }

    /// Something else happened.
    pub(super) fn note(&mut self, body: &str) -> rusqlite::Result<()> {
        self.add([0; 3], body)
    }

    fn add(&mut self, [room, number, place]: [i64; 3], body: &str) -> rusqlite::Result<()> {
        if self.len >= self.options.max_events {
            self.drop_one()?;
        }
        let id = self.next;
        let crc = checksum(&[id, room, number, place], &[body.as_bytes()]);
        self.insert.execute((id, room, number, place, body, crc))?;
        self.next += 1;
        self.len += 1;
        self.is_rung = true;
        Ok(())
    }

    /// Makes room for one: the oldest note goes, or else the oldest event.
    fn drop_one(&mut self) -> rusqlite::Result<()> {
        let note = "DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox WHERE room = 0)";
        let any = "DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)";
        let is_note = self.conn.prepare_cached(note)?.execute([])? > 0;
        if !is_note {
            self.conn.prepare_cached(any)?.execute([])?;
        }
        self.dropped.add(is_note);
        self.len -= 1;
        Ok(())
    }

    /// The backend has taken everything up to this event.
    pub(super) fn forget(&mut self, told: u64) -> rusqlite::Result<()> {
        let gone = self.conn.prepare_cached("DELETE FROM outbox WHERE id <= ?1")?.execute([signed(told)])?;
        self.len -= gone as u64;
        store_meta(self.conn, TOLD, &told.to_string())
    }

    /// The backend refuses this event for good.
    pub(super) fn bury(&mut self, dead: &DeadLetter) -> rusqlite::Result<()> {
        let DeadLetter { id, why, body } = dead;
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO dead_letters(id, why, body) VALUES(?1, ?2, ?3)")?
            .execute(params![signed(*id), why, body])?;
        self.conn
            .prepare_cached(
                "DELETE FROM dead_letters WHERE id <= (SELECT id FROM dead_letters ORDER BY id DESC LIMIT 1 OFFSET ?1)",
            )?
            .execute([signed(MAX_DEAD_LETTERS)])?;
        self.forget(*id)
    }

    /// Whether something was added since the last time.
    pub(super) fn take_rung(&mut self) -> bool {
        std::mem::take(&mut self.is_rung)
    }
}

/// The oldest events that wait after this one, at most so many. `at_most` octets of texts end it, too.
pub(super) fn page(conn: &Connection, after: u64, limit: usize, at_most: usize) -> rusqlite::Result<Page> {
    let told = load_told(conn)?.max(after);
    let newest: i64 = conn.query_row("SELECT ifnull(max(id), 0) FROM outbox", [], |row| row.get(0))?;
    let len = newest.cast_unsigned().saturating_sub(told);
    let mut select = conn.prepare_cached(
        "SELECT o.id, o.room, o.number, o.place, o.body, o.crc, r.name FROM outbox o LEFT JOIN rooms r ON r.id = o.room
         WHERE o.id > ?1 ORDER BY o.id LIMIT ?2",
    )?;
    let mut rows = select.query([signed(told), signed(limit as u64)])?;
    let (mut events, mut octets) = (Vec::new(), 0);
    while octets < at_most
        && let Some(row) = rows.next()?
    {
        let [id, room, number, place]: [i64; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        let body = row.get_ref(4)?.as_str().unwrap_or_default();
        if row.get::<_, i64>(5)? != checksum(&[id, room, number, place], &[body.as_bytes()]) {
            tracing::error!(id, "a damaged event of the outbox is passed over");
            continue;
        }
        let what = if room == 0 {
            What::Note(body.into())
        } else {
            let name: Option<String> = row.get(6)?;
            what(conn, (room, name.unwrap_or_default().into()), number, place)?
        };
        octets += match &what {
            What::Post { record, .. } => record.post.text.len(),
            What::Change { action: Action::Edit { text, .. }, .. } => text.len(),
            What::Note(body) => body.len(),
            What::Change { .. } | What::Expired { .. } => 0,
        };
        events.push(Waiting { id: id.cast_unsigned(), what });
    }
    Ok(Page { events, told, len })
}

fn what(conn: &Connection, (room, name): (i64, Arc<str>), number: i64, place: i64) -> rusqlite::Result<What> {
    if number > 0 {
        return Ok(match load_post(conn, place)? {
            Ok(stored) if stored.room == room => What::Post { room: name, record: stored.record },
            _ => What::Expired { room: name, seq: number.cast_unsigned(), rev: 0 },
        });
    }
    Ok(match load_change(conn, place)? {
        Some(change) if change.room == room => What::Change { room: name, action: change.action },
        _ => What::Expired { room: name, seq: 0, rev: number.unsigned_abs() },
    })
}
