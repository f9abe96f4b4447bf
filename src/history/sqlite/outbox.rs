//! Events for the team's backend, committed with what caused them.
//!
//! A change is kept as the place of its row, so a deleted text is in no second place. Messages that follow each other are
//! one row ([`Run`]), so telling costs a message a few octets of it. The tables are made when they are needed first, and
//! have no part in the format of the file.
//!
//! What a row is, its `room` says: the number of a room for a change (`number` is its `rev`, negative) or one message
//! (`number` is its `seq`), [`NOTE`] for what changed no room, [`RUN`] for messages.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::data_dir::{load_meta, store_meta};
use super::fresh::Fresh;
use super::rows::{load_change, load_post, load_posts, rev_of, signed};
use super::schema::checksum;
use crate::history::outbox::{DeadLetter, Dropped, OutboxOptions, Page, Waiting, What};
use crate::history::{Action, Change, EventKind, Record};

/// The tables of this file, which [`super::schema::is_whole`] passes over.
pub(super) const NAMES: &str = "'outbox', 'dead_letters'";
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS outbox(
  id INTEGER PRIMARY KEY, room INTEGER NOT NULL, number INTEGER NOT NULL, place INTEGER NOT NULL, body TEXT NOT NULL,
  crc INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS notes ON outbox(id) WHERE room = 0;
CREATE TABLE IF NOT EXISTS dead_letters(id INTEGER PRIMARY KEY, why TEXT NOT NULL, body TEXT NOT NULL) STRICT;
";
/// The `room` of a row that is about none.
const NOTE: i64 = 0;
/// The `room` of a row that stands for as many messages as `number` says.
const RUN: i64 = -1;
/// Messages that one row stands for at most.
const MAX_RUN: i64 = 256;
/// The newest event.
const NEWEST: &str = "SELECT id + iif(room = -1, number - 1, 0) FROM outbox ORDER BY id DESC LIMIT 1";
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

fn load_newest(conn: &Connection) -> rusqlite::Result<i64> {
    Ok(conn.prepare_cached(NEWEST)?.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Messages in rows that follow each other, as events that do.
#[derive(Debug, Default)]
struct Run {
    /// The first event, and its row.
    id: i64,
    place: i64,
    len: i64,
    /// `room:seq` of each, and a space: what there is to say of a message whose row is gone by the time it is told.
    names: String,
}

impl Run {
    /// Whether the message in this row is the next one of it.
    fn goes_on_with(&self, place: i64) -> bool {
        (1..MAX_RUN).contains(&self.len) && place == self.place + self.len
    }

    fn push(&mut self, room: i64, seq: i64) {
        self.len += 1;
        // A string takes everything.
        let _ = write!(self.names, "{room}:{seq} ");
    }
}

/// The messages of a run: room and number of each.
fn names(names: &str) -> impl Iterator<Item = (i64, i64)> {
    names.split_ascii_whitespace().filter_map(|name| {
        let (room, seq) = name.split_once(':')?;
        Some((room.parse().ok()?, seq.parse().ok()?))
    })
}

/// The end that writes, within the transactions of one connection.
#[derive(Debug)]
pub(super) struct OutboxRows<'c> {
    conn: &'c Connection,
    options: OutboxOptions,
    dropped: Arc<Dropped>,
    fresh: Arc<Fresh>,
    /// What the transaction under way has added.
    added: Vec<Waiting>,
    /// Something of what is fresh was dropped.
    has_dropped: bool,
    insert: Statement<'c>,
    next: i64,
    len: u64,
    /// Messages that are events, and in no row yet.
    run: Run,
    /// Something was added since the last time that was asked.
    is_rung: bool,
}

impl<'c> OutboxRows<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        options: OutboxOptions,
        dropped: Arc<Dropped>,
        fresh: Arc<Fresh>,
    ) -> rusqlite::Result<Self> {
        // After a failure nobody knows which of the events there are.
        fresh.forget();
        let told = load_told(conn)?;
        let newest = load_newest(conn)?;
        let len: i64 =
            conn.query_row("SELECT ifnull(sum(iif(room = -1, number, 1)), 0) FROM outbox", [], |row| {
                row.get(0)
            })?;
        let insert = conn.prepare(
            "INSERT INTO outbox(id, room, number, place, body, crc) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let next = 1 + newest.max(signed(told));
        let (run, len) = (Run::default(), len.cast_unsigned());
        let (added, has_dropped, is_rung) = (Vec::new(), false, len > 0);
        Ok(Self { conn, options, dropped, fresh, added, has_dropped, insert, next, len, run, is_rung })
    }

    /// A change of a room was written to the row `place`.
    pub(super) fn note_change(
        &mut self,
        room: i64,
        change: &Arc<Change>,
        place: i64,
    ) -> rusqlite::Result<()> {
        let action = &change.action;
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
        match action {
            Action::Post(post) => self.add_post(room, signed(post.seq), place)?,
            _ => self.add([room, -signed(rev_of(action)), place], "")?,
        }
        self.count(What::Change(Arc::clone(change)));
        Ok(())
    }

    /// Something else happened.
    pub(super) fn note(&mut self, body: &str) -> rusqlite::Result<()> {
        self.add([NOTE, 0, 0], body)?;
        self.count(What::Note(body.into()));
        Ok(())
    }

    fn add_post(&mut self, room: i64, seq: i64, place: i64) -> rusqlite::Result<()> {
        self.make_room()?;
        if !self.run.goes_on_with(place) {
            self.end_run()?;
            (self.run.id, self.run.place) = (self.next, place);
        }
        self.run.push(room, seq);
        Ok(())
    }

    fn add(&mut self, columns: [i64; 3], body: &str) -> rusqlite::Result<()> {
        self.end_run()?;
        self.make_room()?;
        self.insert(self.next, columns, body)
    }

    fn count(&mut self, what: What) {
        self.added.push(Waiting { id: self.next.cast_unsigned(), what });
        self.next += 1;
        self.len += 1;
        self.is_rung = true;
    }

    fn insert(&mut self, id: i64, [room, number, place]: [i64; 3], body: &str) -> rusqlite::Result<()> {
        let crc = checksum(&[id, room, number, place], &[body.as_bytes()]);
        self.insert.execute((id, room, number, place, body, crc))?;
        Ok(())
    }

    /// Writes down what is in no row yet: nothing follows it, or the transaction ends.
    pub(super) fn end_run(&mut self) -> rusqlite::Result<()> {
        let Run { id, place, len, mut names } = std::mem::take(&mut self.run);
        match (len, self::names(&names).next()) {
            (0, _) => {}
            (1, Some((room, seq))) => self.insert(id, [room, seq, place], "")?,
            _ => self.insert(id, [RUN, len, place], &names)?,
        }
        names.clear();
        self.run.names = names;
        Ok(())
    }

    /// Where as many wait as may, the oldest note goes, or else the oldest event.
    fn make_room(&mut self) -> rusqlite::Result<()> {
        if self.len < self.options.max_events {
            return Ok(());
        }
        self.end_run()?;
        let note = "DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox WHERE room = 0)";
        let is_note = self.conn.prepare_cached(note)?.execute([])? > 0;
        if !is_note {
            self.drop_oldest()?;
        }
        self.dropped.add(is_note);
        self.has_dropped = true;
        self.len -= 1;
        Ok(())
    }

    /// The oldest event goes, also where it is the first of a run.
    fn drop_oldest(&mut self) -> rusqlite::Result<()> {
        let oldest: Option<i64> =
            self.conn.prepare_cached("SELECT min(id) FROM outbox")?.query_row([], |row| row.get(0))?;
        self.remove_to(oldest.unwrap_or(0)).map(drop)
    }

    /// Removes all events up to this one, and returns how many.
    fn remove_to(&mut self, last: i64) -> rusqlite::Result<u64> {
        let mut delete = self
            .conn
            .prepare_cached("DELETE FROM outbox WHERE id <= ?1 RETURNING id, room, number, place, body")?;
        let mut removed = 0;
        let mut rest = None;
        let mut rows = delete.query([last])?;
        while let Some(row) = rows.next()? {
            let (id, room, number): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let len = if room == RUN { number } else { 1 };
            let gone = len.min(last + 1 - id);
            removed += gone.cast_unsigned();
            if gone < len {
                let (place, names): (i64, String) = (row.get(3)?, row.get(4)?);
                let others: Vec<&str> =
                    names.split_inclusive(' ').skip(usize::try_from(gone).unwrap_or(0)).collect();
                rest = Some((place + gone, len - gone, others.concat()));
            }
        }
        drop(rows);
        if let Some((place, len, names)) = rest {
            self.insert(last + 1, [RUN, len, place], &names)?;
        }
        Ok(removed)
    }

    /// The backend has taken everything up to this event.
    pub(super) fn forget(&mut self, told: u64) -> rusqlite::Result<()> {
        self.len -= self.remove_to(signed(told))?;
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

    /// What was added is on the disk. Where something was edited or removed, the disk knows what is left of it.
    pub(super) fn note_committed(&mut self, has_erased: bool) {
        if has_erased || std::mem::take(&mut self.has_dropped) {
            self.added.clear();
            self.fresh.forget();
        } else {
            self.fresh.add(self.added.drain(..));
        }
    }

    /// Whether something was added since the last time.
    pub(super) fn take_rung(&mut self) -> bool {
        std::mem::take(&mut self.is_rung)
    }
}

/// The oldest events that wait after this one, at most so many. `at_most` octets of texts end it, too.
pub(super) fn page(conn: &Connection, after: u64, limit: usize, at_most: usize) -> rusqlite::Result<Page> {
    let told = load_told(conn)?.max(after);
    let len = load_newest(conn)?.cast_unsigned().saturating_sub(told);
    // What comes next may be within a run.
    let mut select = conn.prepare_cached(
        "SELECT id, room, number, place, body, crc FROM outbox
         WHERE id > ?1 OR id = (SELECT max(id) FROM outbox WHERE id <= ?1) ORDER BY id LIMIT ?2",
    )?;
    let mut rows = select.query([signed(told), signed(limit as u64 + 1)])?;
    let mut found =
        Found { conn, told: signed(told), limit, octets: at_most, events: Vec::new(), rooms: HashMap::new() };
    while found.wants_more()
        && let Some(row) = rows.next()?
    {
        let columns: [i64; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        let body = row.get_ref(4)?.as_str().unwrap_or_default();
        if row.get::<_, i64>(5)? == checksum(&columns, &[body.as_bytes()]) {
            found.take(columns, body)?;
        } else {
            tracing::error!(id = columns[0], "a damaged event of the outbox is passed over");
        }
    }
    Ok(Page { events: found.events, told, len })
}

/// A page in the making.
struct Found<'c> {
    conn: &'c Connection,
    told: i64,
    limit: usize,
    /// Of texts, that it still may have.
    octets: usize,
    events: Vec<Waiting>,
    rooms: HashMap<i64, Arc<str>>,
}

impl Found<'_> {
    fn wants_more(&self) -> bool {
        self.events.len() < self.limit && self.octets > 0
    }

    fn take(&mut self, [id, room, number, place]: [i64; 4], body: &str) -> rusqlite::Result<()> {
        match room {
            RUN => return self.take_run(id, (place, number), body),
            NOTE => self.add(id, What::Note(body.into())),
            _ if number > 0 => {
                let stored = load_post(self.conn, place)?.ok().filter(|stored| stored.room == room);
                let what = self.message((room, number), stored.map(|stored| stored.record))?;
                self.add(id, what);
            }
            _ => {
                let change = load_change(self.conn, place)?.filter(|change| change.room == room);
                let room = self.room(room)?;
                let what = match change {
                    Some(change) => What::Change(Arc::new(Change { room, action: change.action })),
                    None => What::Expired { room, seq: 0, rev: number.unsigned_abs() },
                };
                self.add(id, what);
            }
        }
        Ok(())
    }

    fn take_run(&mut self, id: i64, (place, len): (i64, i64), body: &str) -> rusqlite::Result<()> {
        let skipped = (self.told + 1 - id).max(0);
        let wanted = signed((self.limit - self.events.len()) as u64).min(len - skipped);
        let posts = load_posts(self.conn, place + skipped..=place + skipped + wanted - 1)?;
        let mut posts = posts.into_iter().peekable();
        for ((room, seq), at) in names(body).zip(0..len).skip(usize::try_from(skipped).unwrap_or(usize::MAX))
        {
            if !self.wants_more() {
                break;
            }
            let stored = posts.next_if(|stored| stored.id == place + at);
            let record = stored.filter(|stored| stored.room == room).map(|stored| stored.record);
            let what = self.message((room, seq), record)?;
            self.add(id + at, what);
        }
        Ok(())
    }

    fn message(&mut self, (room, seq): (i64, i64), record: Option<Record>) -> rusqlite::Result<What> {
        let room = self.room(room)?;
        Ok(match record {
            Some(record) => What::Post { room, record: Box::new(record) },
            None => What::Expired { room, seq: seq.cast_unsigned(), rev: 0 },
        })
    }

    fn add(&mut self, id: i64, what: What) {
        if id <= self.told {
            return;
        }
        self.octets = self.octets.saturating_sub(what.octets());
        self.events.push(Waiting { id: id.cast_unsigned(), what });
    }

    fn room(&mut self, id: i64) -> rusqlite::Result<Arc<str>> {
        if let Some(name) = self.rooms.get(&id) {
            return Ok(Arc::clone(name));
        }
        let mut select = self.conn.prepare_cached("SELECT name FROM rooms WHERE id = ?1")?;
        let name: Option<String> = select.query_row([id], |row| row.get(0)).optional()?;
        let name: Arc<str> = name.unwrap_or_default().into();
        self.rooms.insert(id, Arc::clone(&name));
        Ok(name)
    }
}
