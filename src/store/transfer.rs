//! Histories out of a data directory and into it: message by message, or whole.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::archive::{OpenError, Options, Place, database, private, random_epoch, store_meta};
use super::row::{Walk, find_post, load_head, load_reactions};
use super::session::{Error, Session};
use super::{Record, schema};

/// Messages of a room that an export holds in memory.
const BLOCK: u64 = 1024;
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
        why: String,
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

type Result<T> = std::result::Result<T, TransferError>;

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

/// Gives every message of a room, or of all rooms one after the other, the oldest first. Works beside a server that runs on
/// the directory: what is given is the history at one moment. Damaged messages are passed over, and told of in the log.
///
/// # Errors
/// When there is no such history or room, or `each` fails.
pub fn export(
    dir: &Path,
    room: Option<&str>,
    mut each: impl FnMut(&str, &Record) -> io::Result<()>,
) -> Result<Counts> {
    let conn = connect(dir)?;
    conn.execute_batch("BEGIN")?;
    let names = match room {
        Some(room) if load_head(&conn, room)?.is_none() => {
            return Err(TransferError::Missing(format!("there is no room {room:?} in {}", dir.display())));
        }
        Some(room) => vec![room.to_owned()],
        None => {
            let mut select = conn.prepare("SELECT name FROM rooms ORDER BY id")?;
            select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
        }
    };
    let mut counts = Counts::default();
    for name in names {
        let exported = export_room(&conn, &name, &mut each, &mut counts);
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

fn export_room(
    conn: &Connection,
    name: &str,
    each: &mut impl FnMut(&str, &Record) -> io::Result<()>,
    counts: &mut Counts,
) -> Result<()> {
    let Some((room, head)) = load_head(conn, name)? else { return Ok(()) };
    let mut from = head.oldest.max(1);
    while from <= head.seq {
        let end = (from + BLOCK).min(head.seq + 1);
        let mut block = Vec::new();
        let mut walk = Walk::new(conn, room, &head, end)?;
        while let Some(stored) = walk.next(conn)? {
            if stored.record.post.seq < from {
                break;
            }
            let reactions = load_reactions(conn, stored.id)?;
            block.push(Record { reactions, ..stored.record });
        }
        for record in block.iter().rev() {
            each(name, record)
                .map_err(|error| TransferError::Io { doing: "write the messages".into(), error })?;
            counts.messages += 1;
        }
        from = end;
    }
    Ok(())
}

/// Takes messages in, each with its room, in the order of their numbers within a room. What is there already is left as it
/// is, so an import that was interrupted can be repeated. Nobody else may use the directory meanwhile.
///
/// # Errors
/// When the directory cannot be used, or a message contradicts what is there: a different one has its number, or the time
/// would go back. What came before it stays.
pub fn import(
    dir: &Path,
    messages: impl IntoIterator<Item = std::result::Result<(Arc<str>, Record), String>>,
) -> Result<Counts> {
    let place = Place::take(dir, Options::default()).map_err(TransferError::Open)?;
    let (conn, _) = place.open().map_err(TransferError::Open)?;
    let mut session = Session::new(&conn).map_err(failed)?;
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
                        Err(why) => Err(Error::Contradiction(why)),
                    };
                    match added {
                        Ok(true) => counts.messages += 1,
                        Ok(false) => counts.known += 1,
                        Err(Error::Contradiction(why)) => {
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
    super::checkpoint::checkpoint(&conn, "TRUNCATE").map_err(failed)?;
    refusal.map_or(Ok(counts), Err)
}

fn failed(error: Error) -> TransferError {
    match error {
        Error::Sqlite(error) => error.into(),
        Error::Contradiction(what) => TransferError::Failed(what),
    }
}

impl Session<'_> {
    /// Takes a message in; `false` when it is there already.
    fn import(&mut self, name: &Arc<str>, record: &Record) -> super::session::Result<bool> {
        let post = &record.post;
        let at = self.room(name)?;
        let (room, head) = (self.id(at), *self.head(at));
        if post.seq == 0 {
            return Err(Error::Contradiction("`seq` begins with 1".into()));
        }
        if post.seq <= head.seq {
            let known = find_post(self.conn, room, &head, post.seq)?;
            let is_same = |known: &Record| {
                known.post.user == post.user
                    && known.post.time == post.time
                    && known.post.client == post.client
            };
            if known.as_ref().is_some_and(|known| !is_same(&known.record)) {
                let seq = post.seq;
                return Err(Error::Contradiction(format!("room {name:?} has another message {seq} already")));
            }
            return Ok(false);
        }
        if post.time < head.time {
            let why = format!("message {} of room {name:?} is older than the one before", post.seq);
            return Err(Error::Contradiction(why));
        }
        let id = self.append(at, room, post, record.is_deleted, record.edited)?;
        for (emoji, users) in &record.reactions {
            for user in users {
                let head = self.head_mut(at);
                head.rev += 1;
                let rev = head.rev;
                self.react(id, rev, &user.label(), emoji, false)?;
            }
        }
        Ok(true)
    }
}

/// Makes a copy of a data directory, which may be in use: `to` is a data directory itself, with a history of another epoch.
/// It is there whole or not at all.
///
/// # Errors
/// When there is no history in `dir`, `to` exists already, or the disk is full.
pub fn backup(dir: &Path, to: &Path) -> Result<()> {
    let conn = connect(dir)?;
    if fs::symlink_metadata(to).is_ok() {
        let error = io::Error::new(io::ErrorKind::AlreadyExists, "it exists already; choose another name");
        return Err(TransferError::Io { doing: format!("write {}", to.display()), error });
    }
    let part = part_of(to);
    let copied = copy(&conn, &part).and_then(|()| {
        fs::rename(&part, to)?;
        sync_dir(to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    });
    copied.map_err(|error| {
        clear(&part);
        TransferError::Io { doing: format!("write {}", to.display()), error }
    })
}

/// Where the copy is made until it is whole.
fn part_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    to.with_file_name(name)
}

fn copy(conn: &Connection, part: &Path) -> io::Result<()> {
    // What an interrupted copy left.
    clear(part);
    DirBuilder::new().mode(0o700).create(part)?;
    let path = database(part);
    private().write(true).create_new(true).open(&path)?;
    let name = path.to_str().ok_or_else(|| io::Error::other("the name must be UTF-8"))?;
    // Otherwise it counts as writing.
    conn.execute_batch("PRAGMA query_only = OFF").map_err(io::Error::other)?;
    conn.execute("VACUUM INTO ?1", [name]).map_err(io::Error::other)?;
    let copy = schema::connect(&path).map_err(io::Error::other)?;
    let renamed = copy
        .execute_batch("PRAGMA journal_mode = MEMORY; BEGIN")
        .and_then(|()| store_meta(&copy, "epoch", &random_epoch()))
        .and_then(|()| store_meta(&copy, "identity", ""))
        .and_then(|()| copy.execute_batch("COMMIT"));
    renamed.map_err(io::Error::other)?;
    copy.close().map_err(|(_, error)| io::Error::other(error))?;
    File::open(&path)?.sync_all()?;
    sync_dir(part)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a copy that did not become whole, and nothing else.
fn clear(part: &Path) {
    // What is not there need not go, and what cannot go is found by the next step.
    for name in ["switchboard.db", "switchboard.db-journal", "switchboard.db-wal", "switchboard.db-shm"] {
        let _ = fs::remove_file(part.join(name));
    }
    let _ = fs::remove_dir(part);
}

/// A connection beside whoever uses the directory.
fn connect(dir: &Path) -> Result<Connection> {
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
    schema::only_read(&conn)?;
    Ok(conn)
}
