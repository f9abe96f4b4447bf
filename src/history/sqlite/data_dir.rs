//! Opening a data directory: what must be there, what must be sound, and what the loop learns at the start.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};

use super::clock;
use super::lineage::{Lineage, identity};
use super::names::{Past, load_past, note_past};
use super::private_file::private;
use super::rows::{Head, read_post};
use super::schema::{self, APPLICATION, FORMAT, checksum};
use crate::history::keys::{Keys, Origin, Scope, Used};
use crate::history::outbox::OutboxOptions;
use crate::history::{Ban, Holder, MAX_LOOPS, Start};
use crate::text::fold;

/// Up to this size every page of the file is checked when it is opened; above it what is read is checked when it is read.
pub(super) const CHECKED_BYTES: u64 = 256 << 20;
/// Posts that are looked through for keys at the start.
const KEY_SCAN: usize = 8 << 20;
/// This many posts older than the window end the search for keys: the clock may have been set in between.
const KEY_SLACK: usize = 4096;

/// How a history is kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// For how long a key makes posting twice post once, in milliseconds.
    pub window_ms: u64,
    /// Keys that are read at the start, the newest of those within the window; about 150 bytes each.
    pub max_keys: usize,
    /// Messages that a room keeps; 0: all.
    pub keep_posts: u64,
    /// For how long messages are kept, in milliseconds; 0: for ever.
    pub keep_ms: u64,
    /// For how long the clock must have run evenly before it has anything removed, in milliseconds; `keep_ms` where that
    /// is less.
    pub settle_ms: u64,
    /// Edits, deletions and reactions that a room remembers, for those who resume; 0: all.
    pub keep_changes: u64,
    /// What is kept for the team's backend; nothing when `None`.
    pub outbox: Option<OutboxOptions>,
    /// Milliseconds since 1970.
    pub now: fn() -> u64,
}

changeable!(Options);

impl Options {
    /// Whether a message of this time is too old to be shown.
    pub(super) fn is_expired(&self, time: u64) -> bool {
        self.keep_ms > 0 && time.saturating_add(self.keep_ms) < (self.now)()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window_ms: 600_000,
            max_keys: 1 << 20,
            keep_posts: 0,
            keep_ms: 0,
            settle_ms: 60_000,
            keep_changes: 10_000,
            outbox: None,
            now: clock::now_ms,
        }
    }
}

/// Why a data directory cannot be used; the message says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory or a file in it cannot be made or opened.
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process uses the directory.
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The file is not a history of this program.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: i32,
    },
    /// A history is shared by at least one loop, and at most so many.
    Loops {
        /// How many were asked for.
        asked: usize,
    },
    /// The file is damaged.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be read or written.
    Unusable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { path, error } => {
                let advice = match error.kind() {
                    io::ErrorKind::NotFound => "its parent directory must exist",
                    io::ErrorKind::PermissionDenied => "this user must be allowed to write there",
                    io::ErrorKind::ReadOnlyFilesystem => "the file system must not be read-only",
                    io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "it must be a directory",
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full",
                    _ => "choose another directory with --data",
                };
                write!(f, "cannot use {}: {error}; {advice}", path.display())
            }
            Self::Locked { dir } => write!(
                f,
                "{} is in use by another process; stop that one, or choose another directory with --data",
                dir.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} is not a history of switchboard; it is left alone: move it away, or choose another directory with \
                 --data",
                path.display()
            ),
            Self::Newer { path, found } => write!(
                f,
                "{} has format {found}, this version knows formats up to {FORMAT}; it is left alone: use a newer \
                 version",
                path.display()
            ),
            Self::Loops { asked } => {
                write!(f, "a history is shared by 1 to {MAX_LOOPS} loops, not by {asked}")
            }
            Self::Damaged { path, what } => write!(
                f,
                "{} is damaged ({what}); it is left alone: restore a backup, or save what can be read with \
                 `switchboard export --all` and import it into another directory",
                path.display()
            ),
            Self::Unusable { path, reason } => write!(f, "cannot use {}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

type Result<T> = std::result::Result<T, OpenError>;

/// A data directory that this process holds the lock of.
#[derive(Debug)]
pub(super) struct DataDir {
    pub(super) dir: PathBuf,
    /// The database.
    pub(super) path: PathBuf,
    pub(super) options: Options,
    /// Locked for as long as the value lives.
    _lock: File,
}

impl DataDir {
    /// Makes the directory when it is missing, and takes its lock.
    pub(super) fn take(dir: &Path, options: Options) -> Result<Self> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { path, error }
        };
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            made => made.map_err(io(dir))?,
        }
        let path = dir.join("lock");
        let lock = private().write(true).create(true).truncate(false).open(&path).map_err(io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(OpenError::Io { path, error }),
        }
        let path = database(dir);
        match private().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(OpenError::Io { path, error });
            }
            _ => {}
        }
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io(dir))?;
        warn_of_others(dir);
        Ok(Self { dir: dir.to_owned(), path, options, _lock: lock })
    }

    /// Opens the database, makes it when it is new, and finds out what the loops and the threads must know.
    pub(super) fn open(&self) -> Result<(Connection, Start, Memory)> {
        let log = fs::metadata(self.dir.join("switchboard.db-wal")).map_or(0, |found| found.len());
        let conn = schema::connect(&self.path).map_err(|error| self.refusal(&error))?;
        self.recognize(&conn)?;
        schema::set_up_writer(&conn).map_err(|error| self.refusal(&error))?;
        if log > 0 {
            tracing::warn!(
                bytes = log,
                "the last run did not end in order; what it had committed was read back"
            );
        }
        self.check(&conn)?;
        let (start, memory) = self.start(&conn).map_err(|error| self.refusal(&error))?;
        Ok((conn, start, memory))
    }

    /// Whether there is anything in the log.
    pub(super) fn has_log(&self) -> bool {
        fs::metadata(self.dir.join("switchboard.db-wal")).is_ok_and(|found| found.len() > 0)
    }

    pub(super) fn refusal(&self, error: &rusqlite::Error) -> OpenError {
        let path = self.path.clone();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::Foreign { path },
            Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, what: error.to_string() },
            Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
                let reason = format!("{error}; this user must be allowed to write it and its directory");
                OpenError::Unusable { path, reason }
            }
            Some(ErrorCode::DiskFull) => OpenError::Unusable { path, reason: format!("{error}: make room") },
            _ => OpenError::Unusable { path, reason: error.to_string() },
        }
    }

    /// Nothing is written to a file that is not ours.
    fn recognize(&self, conn: &Connection) -> Result<()> {
        let number = |sql| conn.query_row(sql, [], |row| row.get::<_, i32>(0));
        let refusal = |error: rusqlite::Error| self.refusal(&error);
        let application = number("PRAGMA application_id").map_err(refusal)?;
        let format = number("PRAGMA user_version").map_err(refusal)?;
        if application == APPLICATION {
            if format > FORMAT {
                return Err(OpenError::Newer { path: self.path.clone(), found: format });
            }
            if format == FORMAT {
                return Ok(());
            }
            match format {
                1 => return self.write(conn, schema::convert_first),
                2 => return self.write(conn, schema::convert_second),
                3 => return self.write(conn, schema::convert_third),
                4 => return self.write(conn, schema::convert_fourth),
                _ => {}
            }
        }
        let tables = number("SELECT count(*) FROM sqlite_schema").map_err(refusal)?;
        if application != 0 || format != 0 || tables != 0 {
            return Err(OpenError::Foreign { path: self.path.clone() });
        }
        self.write(conn, schema::make)
    }

    fn write(&self, conn: &Connection, tables: fn(&Connection) -> rusqlite::Result<()>) -> Result<()> {
        schema::set_up_writer(conn)
            .and_then(|()| conn.execute_batch("BEGIN IMMEDIATE"))
            .and_then(|()| tables(conn))
            .and_then(|()| conn.execute_batch("COMMIT"))
            .map_err(|error| self.refusal(&error))
    }

    /// The list of rooms must be sound, or numbers could be given twice; of the rest what is damaged is passed over.
    fn check(&self, conn: &Connection) -> Result<()> {
        let damaged = |what: String| OpenError::Damaged { path: self.path.clone(), what };
        if !schema::is_whole(conn).map_err(|error| self.refusal(&error))? {
            return Err(damaged("its tables are not as they were made".into()));
        }
        let len = fs::metadata(&self.path).map_or(0, |found| found.len());
        let checks: &[&str] = if len <= CHECKED_BYTES {
            &["PRAGMA quick_check(1)", "PRAGMA integrity_check('rooms')"]
        } else {
            &["PRAGMA integrity_check('rooms')", "PRAGMA integrity_check('heads')"]
        };
        for check in checks {
            let said = conn.query_row(check, [], |row| row.get(0));
            let said: String = said.map_err(|error| self.refusal(&error))?;
            if said != "ok" {
                return Err(damaged(said));
            }
        }
        let flaw = find_flaw(conn).map_err(|error| self.refusal(&error))?;
        flaw.map_or(Ok(()), |flaw| Err(damaged(flaw)))
    }

    fn start(&self, conn: &Connection) -> rusqlite::Result<(Start, Memory)> {
        let epoch = match self.known_epoch(conn)? {
            Some(epoch) => epoch,
            None => self.begin_epoch(conn)?,
        };
        let (bans, holders) = (load_bans(conn)?, load_holders(conn)?);
        let memory = Memory { keys: self.load_keys(conn, &holders)?, past: load_past(conn)? };
        Ok((Start { epoch, bans, holders }, memory))
    }

    /// The epoch, when this is the history that had it, and all of it.
    fn known_epoch(&self, conn: &Connection) -> rusqlite::Result<Option<String>> {
        let Some(epoch) = load_meta(conn, "epoch")? else { return Ok(None) };
        let identity = identity(&self.dir, &self.path).ok();
        if identity.is_none() || load_meta(conn, "identity")? != identity {
            tracing::warn!(
                "this is a copy of a history: it gets an epoch of its own, and clients load it again"
            );
            return Ok(None);
        }
        let continues = match Lineage::read(&self.dir) {
            Some(closed) => Lineage::of(conn, &epoch)?.continues(&closed),
            None => false,
        };
        if !continues {
            tracing::warn!(
                "the history is older than when it was closed: it gets another epoch, and clients load it again"
            );
        }
        Ok(continues.then_some(epoch))
    }

    fn begin_epoch(&self, conn: &Connection) -> rusqlite::Result<String> {
        let epoch = random_epoch();
        conn.execute_batch("BEGIN IMMEDIATE")?;
        if let Some(before) = load_meta(conn, "epoch")? {
            note_past(conn, &before)?;
        }
        store_meta(conn, "epoch", &epoch)?;
        store_meta(conn, "identity", &identity(&self.dir, &self.path).unwrap_or_default())?;
        conn.execute_batch("COMMIT")?;
        self.note_lineage(conn);
        Ok(epoch)
    }

    /// Notes how far the history has come. Where that fails it gets another epoch at the next start, which costs clients a
    /// little and nobody a message.
    pub(super) fn note_lineage(&self, conn: &Connection) {
        let noted = load_meta(conn, "epoch").and_then(|epoch| Lineage::of(conn, &epoch.unwrap_or_default()));
        let written = noted.map_err(io::Error::other).and_then(|lineage| lineage.write(&self.dir));
        if let Err(error) = written {
            tracing::warn!(%error, "how far the history has come could not be noted");
        }
    }

    fn load_keys(&self, conn: &Connection, holders: &[Holder]) -> rusqlite::Result<Keys> {
        let Options { window_ms, max_keys, now, .. } = self.options;
        let now_ms = now();
        let since = now_ms.saturating_sub(window_ms);
        let persons = Persons::new(holders);
        let mut names: HashMap<i64, Arc<str>> = HashMap::new();
        let mut used = Vec::new();
        let mut old = 0;
        let mut select = conn.prepare(
            "SELECT id, prev, room, seq, time, flags, edited, user, client, key, text, crc, data, reply FROM posts
             ORDER BY id DESC",
        )?;
        let mut rows = select.query([])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            if used.len() == max_keys || seen > KEY_SCAN {
                tracing::warn!(
                    keys = used.len(),
                    "more keys within the window than are remembered: the oldest are not"
                );
                break;
            }
            if row.get::<_, i64>(4)?.cast_unsigned() < since {
                old += 1;
                if old > KEY_SLACK {
                    break;
                }
                continue;
            }
            let Some(mut stored) = read_post(row)? else { continue };
            let Some(key) = stored.record.post.key.take() else { continue };
            let room = if let Some(name) = names.get(&stored.room) {
                Arc::clone(name)
            } else {
                let mut select = conn.prepare_cached("SELECT name FROM rooms WHERE id = ?1")?;
                let name: Arc<str> = select.query_row([stored.room], |row| row.get(0))?;
                names.insert(stored.room, Arc::clone(&name));
                name
            };
            used.push((stored.record.post, room, key));
        }
        let mut keys = Keys::new(window_ms, max_keys);
        for (post, room, key) in used.into_iter().rev() {
            let origin = Origin::of(post.is_verified, &post.client);
            let name = fold(&post.user);
            let person = if origin == Origin::Verified { persons.of(&name) } else { &name };
            let scope = Scope { origin, person, room: &room, key: &key };
            let used = Used { seq: post.seq, time: post.time };
            keys.restore(&scope, used, now_ms.saturating_sub(post.time), clock::steady_ms());
        }
        Ok(keys)
    }
}

/// What the thread that writes, and the one that reads, must know from the start.
#[derive(Debug)]
pub(super) struct Memory {
    /// Keys of posts within the window.
    pub(super) keys: Keys,
    /// The names that the history had before.
    pub(super) past: Vec<Past>,
}

/// What is a person's is kept under the first name that they had.
struct Persons<'a> {
    by_name: HashMap<&'a str, &'a str>,
    first: HashMap<&'a str, &'a str>,
}

impl<'a> Persons<'a> {
    fn new(holders: &'a [Holder]) -> Self {
        let first = holders.iter().filter(|holder| holder.is_first);
        Self {
            by_name: holders.iter().map(|holder| (&*holder.name, &*holder.subject)).collect(),
            first: first.map(|holder| (&*holder.subject, &*holder.name)).collect(),
        }
    }

    fn of<'n>(&self, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        self.by_name.get(name).and_then(|subject| self.first.get(subject)).copied().unwrap_or(name)
    }
}

/// The database of a data directory.
pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join("switchboard.db")
}

/// Looks through the rooms and their heads.
fn find_flaw(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let mut select = conn.prepare(
        "SELECT r.id, r.name, r.crc, h.room IS NULL, h.seq, h.rev, h.time, h.post, h.change, h.oldest, h.crc
         FROM rooms r LEFT JOIN heads h ON h.room = r.id",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let name = row.get_ref(1)?;
        if name.as_str().is_err()
            || row.get::<_, i64>(2)? != checksum(&[id], &[name.as_bytes().unwrap_or_default()])
        {
            return Ok(Some(format!("the name of room number {id}")));
        }
        if !row.get::<_, bool>(3)? && Head::read(row, 4, id)?.is_none() {
            return Ok(Some(format!("the head of room number {id}")));
        }
    }
    let heads: i64 =
        conn.query_row("SELECT count(*) FROM heads WHERE room NOT IN (SELECT id FROM rooms)", [], |row| {
            row.get(0)
        })?;
    Ok((heads > 0).then(|| "a head without a room".to_owned()))
}

fn load_bans(conn: &Connection) -> rusqlite::Result<Vec<Ban>> {
    let mut select = conn.prepare("SELECT user, until, reason, crc FROM bans ORDER BY user")?;
    let mut rows = select.query([])?;
    let mut bans = Vec::new();
    while let Some(row) = rows.next()? {
        let until: Option<i64> = row.get(1)?;
        let (user, reason) = (row.get_ref(0)?, row.get_ref(2)?);
        let (Ok(user), Ok(reason)) = (user.as_str(), reason.as_str()) else { continue };
        if row.get::<_, i64>(3)? != checksum(&[until.unwrap_or(-1)], &[user.as_bytes(), reason.as_bytes()]) {
            tracing::error!("a damaged entry of the list of bans is passed over");
            continue;
        }
        bans.push(Ban { user: user.into(), until: until.map(i64::cast_unsigned), reason: reason.into() });
    }
    Ok(bans)
}

/// Warns of a directory, and of files in it, that every user of the machine may read or write.
fn warn_of_others(dir: &Path) {
    let names = ["", "switchboard.db", "switchboard.db-wal", "words.db", "words.db-wal"];
    for path in names.map(|name| if name.is_empty() { dir.to_owned() } else { dir.join(name) }) {
        let mode = path.metadata().map_or(0, |found| found.mode());
        if mode & 0o007 != 0 {
            let path = path.display();
            let mode = format!("{:03o}", mode & 0o777);
            tracing::warn!(%path, mode, "the history is open to every user of this machine; run: chmod o-rwx {path}");
        }
    }
}

/// Names a history.
pub(super) fn random_epoch() -> String {
    // Without the system's randomness the time still tells two histories apart.
    let number = getrandom::u64().unwrap_or_else(|_| clock::now_ms());
    format!("{number:016x}")
}

pub(super) fn load_meta(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let mut select = conn.prepare_cached("SELECT value, crc FROM meta WHERE name = ?1")?;
    let mut rows = select.query([name])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let value = row.get_ref(0)?.as_str().unwrap_or_default().to_owned();
    let is_sound = row.get::<_, i64>(1)? == checksum(&[], &[name.as_bytes(), value.as_bytes()]);
    if !is_sound {
        tracing::error!(name, "a damaged entry is made again");
    }
    Ok(is_sound.then_some(value))
}

/// What the entries of `meta` for verified names begin with: the first name of a person, and every other one.
const FIRST_NAME: &str = "name:";
const OTHER_NAME: &str = "alias:";

/// The first names come before the others.
pub(super) fn load_holders(conn: &Connection) -> rusqlite::Result<Vec<Holder>> {
    let mut select = conn
        .prepare("SELECT name, value, crc FROM meta WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name")?;
    let mut holders = Vec::new();
    for (prefix, is_first) in [(FIRST_NAME, true), (OTHER_NAME, false)] {
        let mut rows = select.query([prefix])?;
        while let Some(row) = rows.next()? {
            let (Ok(name), Ok(subject)) = (row.get_ref(0)?.as_str(), row.get_ref(1)?.as_str()) else {
                continue;
            };
            if row.get::<_, i64>(2)? != checksum(&[], &[name.as_bytes(), subject.as_bytes()]) {
                tracing::error!("a damaged entry of the list of verified names is passed over");
                continue;
            }
            holders.push(Holder { name: name[prefix.len()..].into(), subject: subject.into(), is_first });
        }
    }
    Ok(holders)
}

pub(super) fn store_holder(conn: &Connection, holder: &Holder) -> rusqlite::Result<()> {
    let prefix = if holder.is_first { FIRST_NAME } else { OTHER_NAME };
    store_meta(conn, &format!("{prefix}{}", holder.name), &holder.subject)
}

pub(super) fn forget_holder(conn: &Connection, holder: &Holder) -> rusqlite::Result<()> {
    let prefix = if holder.is_first { FIRST_NAME } else { OTHER_NAME };
    conn.execute("DELETE FROM meta WHERE name = ?1", [format!("{prefix}{}", holder.name)])?;
    Ok(())
}

pub(super) fn store_meta(conn: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    let crc = checksum(&[], &[name.as_bytes(), value.as_bytes()]);
    conn.prepare_cached("INSERT OR REPLACE INTO meta(name, value, crc) VALUES(?1, ?2, ?3)")?
        .execute((name, value, crc))?;
    Ok(())
}
