//! Histories out of a data directory and into it: message by message, or whole.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::data_dir::{DataDir, OpenError, Options, database};
use super::rows::{Head, Walk, find_post, load_head, load_reactions};
use super::schema;
use super::transaction::{Error, Refused, Transactions};
use crate::history::Record;

/// Messages of a room that an export reads at once and holds in memory, and their bytes, about.
const BLOCK: u64 = 1024;
const BLOCK_BYTES: usize = 4 << 20;
/// Messages that an import commits at once.
pub(super) const IMPORT_COMMIT: usize = 4096;

/// Why a history could not be exported, imported or copied.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransferError {
    /// The data directory cannot be used.
    Open(OpenError),
    /// There is no history, or no such room in it.
    Missing(String),
    /// What the messages are written to, or the copy, failed.
    Io {
        /// What was to be done.
        doing: String,
        /// What the system said.
        error: io::Error,
    },
    /// The database failed.
    Failed(String),
    /// A message cannot be taken in.
    Refused {
        /// Which one, from 1.
        nth: u64,
        /// Why not.
        why: Refused,
    },
}

impl std::fmt::Display for TransferError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Missing(what) | Self::Failed(what) => f.write_str(what),
            Self::Io { doing, error } => write!(f, "cannot {doing}: {error}"),
            Self::Refused { nth, why } => write!(f, "line {nth}: {why}"),
        }
    }
}

impl std::error::Error for TransferError {}

impl From<rusqlite::Error> for TransferError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(format!("the database failed: {error}"))
    }
}

pub(super) type Result<T> = std::result::Result<T, TransferError>;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that were written out or taken in.
    pub messages: u64,
    /// Messages that were there already.
    pub known: u64,
    /// Rooms that could not be read.
    pub damaged_rooms: u64,
}

/// Returns every message of a room, or of all rooms one after the other, the oldest first: those that are there when it begins,
/// each as it is when it is read. Works beside a server that runs on the directory, and holds up none of its work, however
/// long `each` takes: the database is read in slices. Damaged messages are passed over, and told of in the log.
///
/// # Errors
/// When there is no such history or room, or `each` fails.
pub fn export(
    dir: &Path,
    room: Option<&str>,
    mut each: impl FnMut(&str, &Record) -> io::Result<()>,
) -> Result<Counts> {
    let conn = connect(dir)?;
    let bounds = bounds(&conn, room)?;
    if let Some(room) = room
        && bounds.is_empty()
    {
        return Err(TransferError::Missing(format!("there is no room {room:?} in {}", dir.display())));
    }
    let mut counts = Counts::default();
    for (name, last) in bounds {
        let exported = export_room(&conn, &name, last, &mut each, &mut counts);
        match exported {
            Err(TransferError::Failed(reason)) if room.is_none() => {
                tracing::error!(room = name, reason, "a room cannot be read");
                counts.damaged_rooms += 1;
            }
            exported => exported?,
        }
    }
    Ok(counts)
}

/// The rooms that are wanted with the numbers of their newest messages, at one moment. A head that is damaged is found out
/// when the room is read.
fn bounds(conn: &Connection, room: Option<&str>) -> Result<Vec<(String, u64)>> {
    let mut select = conn.prepare(
        "SELECT r.name, ifnull(h.seq, 0) FROM rooms r LEFT JOIN heads h ON h.room = r.id
         WHERE ?1 IS NULL OR r.name = ?1 ORDER BY r.id",
    )?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
    Ok(select.query_map([room], read)?.collect::<rusqlite::Result<_>>()?)
}

fn export_room(
    conn: &Connection,
    name: &str,
    last: u64,
    each: &mut impl FnMut(&str, &Record) -> io::Result<()>,
    counts: &mut Counts,
) -> Result<()> {
    let Some((room, head)) = slice(conn, |conn| load_head(conn, name))? else { return Ok(()) };
    let last = last.min(head.seq);
    let mut from = head.oldest.max(1);
    let mut len = BLOCK;
    while from <= last {
        let end = (from + len).min(last + 1);
        let Some(block) = slice(conn, |conn| read_block(conn, room, from..end))? else {
            len /= 2;
            continue;
        };
        for record in block.iter().rev() {
            each(name, record)
                .map_err(|error| TransferError::Io { doing: "write the messages".into(), error })?;
            counts.messages += 1;
        }
        from = end;
    }
    Ok(())
}

/// Reads one state of the database, and lets go of it.
fn slice<T>(conn: &Connection, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    conn.execute_batch("BEGIN")?;
    let found = read(conn);
    conn.execute_batch("COMMIT")?;
    found
}

/// The messages with these numbers, the newest first; `None`: they are too long for one block, and there are several.
fn read_block(conn: &Connection, room: i64, numbers: Range<u64>) -> rusqlite::Result<Option<Vec<Record>>> {
    let Some(head) = head_of(conn, room)? else { return Ok(Some(Vec::new())) };
    let mut block = Vec::new();
    let mut bytes = 0;
    let mut walk = Walk::new(conn, room, &head, numbers.end)?;
    while let Some(stored) = walk.next(conn)? {
        if stored.record.post.seq < numbers.start {
            break;
        }
        bytes += stored.record.post.octets();
        if bytes > BLOCK_BYTES && numbers.end - numbers.start > 1 {
            return Ok(None);
        }
        let reactions = load_reactions(conn, &stored)?;
        block.push(Record { reactions, ..stored.record });
    }
    Ok(Some(block))
}

/// The head of a room by its number.
pub(super) fn head_of(conn: &Connection, room: i64) -> rusqlite::Result<Option<Head>> {
    let mut select =
        conn.prepare_cached("SELECT seq, rev, time, post, change, oldest, crc FROM heads WHERE room = ?1")?;
    let mut rows = select.query([room])?;
    rows.next()?.map_or(Ok(None), |row| Head::read(row, 0, room))
}

/// Takes messages in, each with its room, in the order of their numbers within a room. What is there already is left as it
/// is, so an import that was interrupted can be repeated. Nobody else may use the directory meanwhile.
///
/// # Errors
/// When the directory cannot be used, or a message contradicts what is there: a different one has its number. What
/// came before it stays.
pub fn import<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    dir: &Path,
    messages: impl IntoIterator<Item = std::result::Result<(Arc<str>, Record), E>>,
) -> Result<Counts> {
    let place = DataDir::take(dir, Options::default()).map_err(TransferError::Open)?;
    let (conn, ..) = place.open().map_err(TransferError::Open)?;
    let mut session = Transactions::new(&conn).map_err(failed)?;
    let mut counts = Counts::default();
    let mut messages = (1..).zip(messages);
    let mut refusal = None;
    while refusal.is_none() {
        let mut taken = 0;
        session
            .transact(|session| {
                for (nth, message) in messages.by_ref().take(IMPORT_COMMIT) {
                    taken += 1;
                    let added = match message {
                        Ok((room, record)) => session.import(&room, &record),
                        Err(error) => Err(Error::Refused(Refused::Unreadable(error.into()))),
                    };
                    match added {
                        Ok(true) => counts.messages += 1,
                        Ok(false) => counts.known += 1,
                        Err(Error::Refused(why)) => {
                            refusal = Some(TransferError::Refused { nth, why });
                            break;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            })
            .map_err(failed)?;
        if taken == 0 {
            break;
        }
    }
    drop(session);
    place.note_lineage(&conn);
    super::checkpoint::checkpoint(&conn, "TRUNCATE").map_err(failed)?;
    refusal.map_or(Ok(counts), Err)
}

fn failed(error: Error) -> TransferError {
    match error {
        Error::Sqlite(error) => error.into(),
        other => TransferError::Failed(other.to_string()),
    }
}

impl Transactions<'_> {
    /// Takes a message in; `false` when it is there already.
    fn import(&mut self, name: &Arc<str>, record: &Record) -> super::transaction::Result<bool> {
        let post = &record.post;
        let at = self.room(name)?;
        let (room, head) = (self.id(at), *self.head(at));
        if post.seq == 0 {
            return Err(Error::Refused(Refused::NoNumber));
        }
        if post.seq <= head.seq {
            let known = find_post(self.conn, room, &head, post.seq)?;
            let is_same = |known: &Record| {
                known.post.user == post.user
                    && known.post.time == post.time
                    && known.post.client == post.client
            };
            if known.as_ref().is_some_and(|known| !is_same(&known.record)) {
                return Err(Error::Refused(Refused::Taken { room: Arc::clone(name), seq: post.seq }));
            }
            return Ok(false);
        }
        let id = self.append(at, post, (record.is_deleted, record.edited))?;
        for (emoji, users) in &record.reactions {
            for user in users {
                let head = self.head_mut(at);
                head.rev += 1;
                let rev = head.rev;
                self.react((id, rev), (&user.label(), emoji), false)?;
            }
        }
        Ok(true)
    }
}

/// A connection beside anyone who uses the directory.
pub(super) fn connect(dir: &Path) -> Result<Connection> {
    let path = database(dir);
    if !path.is_file() {
        return Err(TransferError::Missing(format!(
            "there is no history in {}: {} is missing; --data names the directory",
            dir.display(),
            path.display()
        )));
    }
    let conn = schema::connect(&path)?;
    let application = conn.query_row("PRAGMA application_id", [], |row| row.get::<_, i32>(0));
    if application != Ok(schema::APPLICATION) {
        return Err(TransferError::Open(OpenError::Foreign { path }));
    }
    let found = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > schema::FORMAT {
        return Err(TransferError::Open(OpenError::Newer { path, found }));
    }
    schema::read_as_newest(&conn)?;
    schema::only_read(&conn)?;
    Ok(conn)
}
