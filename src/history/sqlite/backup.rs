//! A copy of a data directory that may be in use.
//!
//! The source is read in slices, and what was read is written between them, so a slow disk or a stopped process holds up
//! nothing of the server: its log can begin again between any two slices. A slice takes rows that are new, and rows that were
//! copied and have changed since. The last one finds nothing left that does not fit, and reads the heads of the rooms in the
//! same state: so the copy is the history at that moment.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::data_dir::{database, random_epoch, store_meta};
use super::private_file::private;
use super::rows::find_post;
use super::schema::{self, SEEK_POINT_EVERY};
use super::transfer::{Result, TransferError, connect, head_of};

/// Rows of a table in one slice, and the bytes of the texts in them, about.
const SLICE: usize = 1024;
const SLICE_BYTES: usize = 4 << 20;
/// Names that are tried for the directory in which the copy is made.
const ATTEMPTS: usize = 16;

/// Makes a copy of a data directory, which may be in use: `to` is a data directory itself, with a history of another epoch.
/// It is there whole or not at all. Nothing that was there before is touched.
///
/// # Errors
/// When there is no history in `dir`, `to` exists already, or the disk is full.
pub fn backup(dir: &Path, to: &Path) -> Result<()> {
    let source = connect(dir)?;
    let failed = |error| TransferError::Io { doing: format!("write {}", to.display()), error };
    if fs::symlink_metadata(to).is_ok() {
        return Err(failed(taken()));
    }
    let part = Part::make(to).map_err(failed)?;
    copy(&source, &part.dir).and_then(|()| part.publish(to)).map_err(failed)
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "it exists already; choose another name")
}

/// The directory in which a copy is made. Nobody else has made it, and it goes with the value unless it was published.
#[derive(Debug)]
struct Part {
    dir: PathBuf,
}

impl Part {
    /// A directory of a new name beside the one that is wanted.
    fn make(to: &Path) -> io::Result<Self> {
        let name = to.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        for _ in 0..ATTEMPTS {
            let mut unique = std::ffi::OsString::from(".");
            unique.push(name);
            unique.push(format!(".{}.part", random_epoch()));
            let dir = to.with_file_name(unique);
            match DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => return Ok(Self { dir }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(taken())
    }

    /// Returns the directory its name, which nobody else may have taken meanwhile.
    fn publish(self, to: &Path) -> io::Result<()> {
        rename_to_nothing(&self.dir, to)?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Part {
    /// Removes what is in it by name, and nothing else.
    fn drop(&mut self) {
        // What is not there need not go; and where it was published, none of it is there.
        for name in ["switchboard.db", "switchboard.db-journal"] {
            let _ = fs::remove_file(self.dir.join(name));
        }
        let _ = fs::remove_dir(&self.dir);
    }
}

/// rename(2) takes the place of an empty directory; this does not.
#[cfg(target_os = "linux")]
fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS) => rename_over_own(from, to),
        Err(Errno::EXIST) => Err(taken()),
        renamed => Ok(renamed?),
    }
}

#[cfg(not(target_os = "linux"))]
use rename_over_own as rename_to_nothing;

/// Makes an empty directory, which fails where anything is, and takes its place.
fn rename_over_own(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    fs::rename(from, to).inspect_err(|_| {
        // It goes if nobody has put anything into it.
        let _ = fs::remove_dir(to);
    })
}

fn copy(source: &Connection, dir: &Path) -> io::Result<()> {
    let path = database(dir);
    private().write(true).create_new(true).open(&path)?;
    let mut target = schema::connect(&path).map_err(io::Error::other)?;
    copy_rows(source, &mut target).map_err(io::Error::other)?;
    target.close().map_err(|(_, error)| io::Error::other(error))?;
    File::open(&path)?.sync_all()?;
    File::open(dir)?.sync_all()
}

fn copy_rows(source: &Connection, target: &mut Connection) -> rusqlite::Result<()> {
    // It is worth nothing before it is whole, and then it is synced.
    target.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE",
    )?;
    schema::make(target)?;
    let mut place = DataDir::default();
    loop {
        // Rows that were changed are found by the list of changes. Where retention took a part of it between two slices, the
        // copy begins again.
        if place.changes.is_none() {
            target.execute_batch(
                "DELETE FROM posts; DELETE FROM reactions; DELETE FROM rooms; DELETE FROM reads;",
            )?;
        }
        source.execute_batch("BEGIN")?;
        let slice = Slice::read(source, &mut place)?;
        if slice.is_last {
            copy_rest(source, target)?;
        }
        source.execute_batch("COMMIT")?;
        slice.write(target)?;
        if slice.is_last {
            break;
        }
    }
    finish(target)
}

type Row = Vec<Value>;

/// How far the copy has come.
#[derive(Debug, Default)]
struct DataDir {
    room: i64,
    post: i64,
    /// The last row of `changes` that was looked at; `None` at the beginning.
    changes: Option<i64>,
    /// The last read position that was copied. Read positions need no order: they may be of different moments.
    read: (i64, String),
}

/// What was read at once.
#[derive(Debug, Default)]
struct Slice {
    rooms: Vec<Row>,
    posts: Vec<Row>,
    reactions: Vec<Row>,
    /// Rows of `posts` whose reactions are told again.
    changed: Vec<i64>,
    reads: Vec<Row>,
    /// Nothing is left.
    is_last: bool,
}

const POSTS: &str =
    "SELECT id, prev, room, seq, time, flags, edited, user, client, key, text, crc, data, reply FROM posts";
const REACTIONS: &str = "SELECT post, emoji, user, rev, crc FROM reactions";

impl Slice {
    fn read(source: &Connection, place: &mut DataDir) -> rusqlite::Result<Self> {
        let mut slice = Self::default();
        let newest_change = source.query_row(
            "SELECT max(ifnull((SELECT max(id) FROM changes), 0), ifnull((SELECT max(change) FROM heads), 0))",
            [],
            |row| row.get::<_, i64>(0),
        )?;
        let seen = *place.changes.get_or_insert(newest_change);
        let mut is_full = false;
        if !slice.add_changed(source, place, seen..newest_change, &mut is_full)? {
            *place = DataDir::default();
            return Ok(slice);
        }
        slice.rooms = rows(
            source,
            "SELECT id, name, crc FROM rooms WHERE id > ?1 ORDER BY id",
            [place.room],
            &mut is_full,
        )?;
        place.room = last(&slice.rooms, place.room);
        let new = rows(source, &format!("{POSTS} WHERE id > ?1 ORDER BY id"), [place.post], &mut is_full)?;
        let upto = last(&new, place.post);
        let mut select = source.prepare_cached(&format!("{REACTIONS} WHERE post > ?1 AND post <= ?2"))?;
        slice.reactions.extend(all(&mut select, [place.post, upto])?);
        place.post = upto;
        slice.posts.extend(new);
        let (room, user) = &place.read;
        let sql = "SELECT room, user, seq, crc FROM reads WHERE (room, user) > (?1, ?2) ORDER BY room, user";
        slice.reads = rows(source, sql, (room, user), &mut is_full)?;
        if let Some([Value::Integer(room), Value::Text(user), ..]) = slice.reads.last().map(Vec::as_slice) {
            place.read = (*room, user.clone());
        }
        slice.is_last = !is_full;
        Ok(slice)
    }

    /// Adds copied posts that have changed since; `false`: it is not known any more which ones.
    fn add_changed(
        &mut self,
        source: &Connection,
        place: &mut DataDir,
        Range { start: seen, end: newest }: Range<i64>,
        is_full: &mut bool,
    ) -> rusqlite::Result<bool> {
        let sql = "SELECT id, room, seq FROM changes WHERE id > ?1 ORDER BY id";
        let changes = rows(source, sql, [seen], is_full)?;
        let upto = if *is_full { last(&changes, seen) } else { newest };
        if i64::try_from(changes.len()) != Ok(upto - seen) {
            return Ok(false);
        }
        place.changes = Some(upto);
        let mut touched: Vec<(i64, i64)> = changes
            .iter()
            .filter_map(|row| match row[..] {
                [_, Value::Integer(room), Value::Integer(seq)] => Some((room, seq)),
                _ => None,
            })
            .collect();
        touched.sort_unstable();
        touched.dedup();
        for (room, seq) in touched {
            let Some(head) = head_of(source, room)? else { continue };
            let Some(stored) = find_post(source, room, &head, seq.cast_unsigned())? else { continue };
            if stored.id > place.post {
                continue;
            }
            self.changed.push(stored.id);
            self.posts
                .extend(all(&mut source.prepare_cached(&format!("{POSTS} WHERE id = ?1"))?, [stored.id])?);
            let mut select = source.prepare_cached(&format!("{REACTIONS} WHERE post = ?1"))?;
            self.reactions.extend(all(&mut select, [stored.id])?);
        }
        Ok(true)
    }

    fn write(&self, target: &Connection) -> rusqlite::Result<()> {
        target.execute_batch("BEGIN")?;
        for post in &self.changed {
            target.prepare_cached("DELETE FROM reactions WHERE post = ?1")?.execute([post])?;
        }
        insert(target, "rooms(id, name, crc)", &self.rooms)?;
        insert(
            target,
            "posts(id, prev, room, seq, time, flags, edited, user, client, key, text, crc, data, reply)",
            &self.posts,
        )?;
        insert(target, "reactions(post, emoji, user, rev, crc)", &self.reactions)?;
        insert(target, "reads(room, user, seq, crc)", &self.reads)?;
        target.execute_batch("COMMIT")
    }
}

/// What the last slice has besides: it is little for each room.
fn copy_rest(source: &Connection, target: &Connection) -> rusqlite::Result<()> {
    target.execute_batch("BEGIN")?;
    for (table, columns, which) in [
        ("heads", "room, seq, rev, time, post, change, oldest, crc", ""),
        ("bans", "user, until, reason, crc", ""),
        ("subscriptions", "user, room, crc", ""),
        ("meta", "name, value, crc", "WHERE substr(name, 1, 5) = 'name:' OR substr(name, 1, 6) = 'alias:'"),
    ] {
        let mut select = source.prepare(&format!("SELECT {columns} FROM {table} {which}"))?;
        let width = select.column_count();
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<Row>>()?;
            insert(target, &format!("{table}({columns})"), &[values])?;
        }
    }
    target.execute_batch("COMMIT")
}

/// Removes what retention removed meanwhile, finds the seek points, and names the history. The list of changes stays behind: it is
/// for those who resume, and nobody has seen this epoch.
fn finish(target: &Connection) -> rusqlite::Result<()> {
    target.execute_batch(&format!(
        "BEGIN;
         DELETE FROM posts WHERE seq < (SELECT oldest FROM heads WHERE heads.room = posts.room);
         DELETE FROM reactions WHERE post NOT IN (SELECT id FROM posts);
         INSERT INTO marks(room, seq, post) SELECT room, seq, id FROM posts WHERE seq % {SEEK_POINT_EVERY} = 0 ORDER BY room, seq;"
    ))?;
    store_meta(target, "epoch", &random_epoch())?;
    store_meta(target, "identity", "")?;
    target.execute_batch("COMMIT")
}

/// The next rows, up to the bounds of a slice. `is_full` becomes true where there are more.
fn rows(
    source: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    is_full: &mut bool,
) -> rusqlite::Result<Vec<Row>> {
    let mut select = source.prepare_cached(sql)?;
    let width = select.column_count();
    let mut rows = select.query(params)?;
    let mut found = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if found.len() == SLICE || bytes > SLICE_BYTES {
            *is_full = true;
            break;
        }
        let values = (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<Row>>()?;
        bytes += values
            .iter()
            .map(|value| if let Value::Text(text) = value { text.len() } else { 8 })
            .sum::<usize>();
        found.push(values);
    }
    Ok(found)
}

fn all(
    select: &mut rusqlite::CachedStatement<'_>,
    params: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Row>> {
    let width = select.column_count();
    let rows = select.query_map(params, |row| (0..width).map(|at| row.get(at)).collect())?;
    rows.collect()
}

/// The number of the last row.
fn last(rows: &[Row], before: i64) -> i64 {
    match rows.last().and_then(|row| row.first()) {
        Some(Value::Integer(id)) => *id,
        _ => before,
    }
}

fn insert(target: &Connection, table: &str, rows: &[Row]) -> rusqlite::Result<()> {
    let Some(width) = rows.first().map(Vec::len) else { return Ok(()) };
    let places = vec!["?"; width].join(", ");
    let mut insert = target.prepare_cached(&format!("INSERT OR REPLACE INTO {table} VALUES({places})"))?;
    for row in rows {
        insert.execute(params_from_iter(row))?;
    }
    Ok(())
}
