//! The tables, and how a connection to them is set up.
//!
//! A commit appends: rows of `posts` and `changes` have growing numbers and link back to the row before in their room,
//! so the rows of a thousand rooms fill the same few pages. What a commit touches besides is one small row of `heads` for
//! each room in it. `marks` has every [`SEEK_POINT_EVERY`]th post of a room, so that any place in a history is found in this many
//! steps. Each row has a checksum of what it says and where it stands: SQLite itself would not find a flipped bit.

use std::path::Path;
use std::time::Duration;

use crc32fast::Hasher;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};

use super::outbox;

/// `application_id` of the file: "SWBD".
pub(super) const APPLICATION: i32 = 0x5357_4244;
/// `user_version` of the file; a newer one is not opened.
pub(super) const FORMAT: i32 = 5;
/// One post of a room in this many is found without a walk.
pub(super) const SEEK_POINT_EVERY: u64 = 64;
/// How long a connection waits for another one's lock; only other processes ever hold one for long.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps beside those of the commit path.
const STATEMENTS: usize = 64;

/// A post is deleted, or its author verified.
pub(super) const DELETED: i64 = 1;
pub(super) const VERIFIED: i64 = 2;

/// What a file says of itself.
pub(super) const META: &str = "CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID";

pub(super) const TABLES: &str = "
CREATE TABLE rooms(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, crc INTEGER NOT NULL) STRICT;
CREATE TABLE heads(
  room INTEGER PRIMARY KEY, seq INTEGER NOT NULL, rev INTEGER NOT NULL, time INTEGER NOT NULL, post INTEGER NOT NULL,
  change INTEGER NOT NULL, oldest INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE posts(
  id INTEGER PRIMARY KEY, prev INTEGER NOT NULL, room INTEGER NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL,
  flags INTEGER NOT NULL, edited INTEGER, user TEXT NOT NULL, client TEXT NOT NULL, key TEXT, text TEXT NOT NULL,
  crc INTEGER NOT NULL) STRICT;
CREATE TABLE marks(room INTEGER NOT NULL, seq INTEGER NOT NULL, post INTEGER NOT NULL,
  PRIMARY KEY(room, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE changes(
  id INTEGER PRIMARY KEY, prev INTEGER NOT NULL, room INTEGER NOT NULL, rev INTEGER NOT NULL, seq INTEGER NOT NULL,
  kind INTEGER NOT NULL, time INTEGER NOT NULL, user TEXT NOT NULL, body TEXT NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE INDEX edits ON changes(room, seq) WHERE kind = 1;
CREATE TABLE reactions(post INTEGER NOT NULL, emoji TEXT NOT NULL, user TEXT NOT NULL, rev INTEGER NOT NULL,
  crc INTEGER NOT NULL, PRIMARY KEY(post, emoji, user)) STRICT, WITHOUT ROWID;
CREATE TABLE reads(room INTEGER NOT NULL, user TEXT NOT NULL, seq INTEGER NOT NULL, crc INTEGER NOT NULL,
  PRIMARY KEY(room, user)) STRICT, WITHOUT ROWID;
CREATE TABLE bans(user TEXT PRIMARY KEY, until INTEGER, reason TEXT NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// Conversations of two by the second of their names. The first is the beginning of the room's name, which has an index.
pub(super) const PAIRS: &str =
    "CREATE INDEX pairs ON rooms(substr(name, instr(name, char(10)) + 1)) WHERE substr(name, 1, 1) = '@'";

/// Posts that changed since they came in, for the index of words ([`super::search_index`]).
pub(super) const REINDEX: &str =
    "CREATE TABLE reindex(id INTEGER PRIMARY KEY AUTOINCREMENT, post INTEGER NOT NULL) STRICT";

/// What messages carry besides their text, and what they reply to; what edits changed of that. Most have neither. And the rooms
/// that users have subscribed to.
const CARRIED: &str = "
ALTER TABLE posts ADD COLUMN data TEXT;
ALTER TABLE posts ADD COLUMN reply INTEGER;
ALTER TABLE changes ADD COLUMN data TEXT;
CREATE TABLE subscriptions(user TEXT NOT NULL, room INTEGER NOT NULL, crc INTEGER NOT NULL,
  PRIMARY KEY(user, room)) STRICT, WITHOUT ROWID;
";

/// The same for a connection that only reads a file of an older format: its tables look as if they had these columns.
const NOTHING_CARRIED: &str = "
CREATE TEMP VIEW posts AS SELECT *, NULL AS data, NULL AS reply FROM main.posts;
CREATE TEMP VIEW changes AS SELECT *, NULL AS data FROM main.changes;
CREATE TEMP TABLE subscriptions(user TEXT, room INTEGER, crc INTEGER);
";

/// A connection to a file that exists. Nothing is read yet.
pub(super) fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // No plan depends on what is bound: otherwise statements are planned again for each value of a LIMIT or a range.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;",
    )?;
    Ok(conn)
}

/// How the one connection that writes is set up: every commit is on the disk when it returns, and checkpoints are left to
/// us. A log that grew for a while is cut down again, and what is deleted is overwritten with zeros.
pub(super) fn set_up_writer(conn: &Connection) -> Result<()> {
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -32768; PRAGMA secure_delete = ON;",
    )
}

/// A connection that only reads.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection> {
    let conn = connect(path)?;
    only_read(&conn)?;
    Ok(conn)
}

pub(super) fn only_read(conn: &Connection) -> Result<()> {
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 0;")
}

/// Makes the tables in an empty file, within a transaction.
pub(super) fn make(conn: &Connection) -> Result<()> {
    conn.execute_batch(&format!(
        "{META}; {TABLES} {REINDEX}; {PAIRS}; {CARRIED} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"
    ))
}

/// Makes a file of the first format one of this format, within a transaction. The first had the index of words in it.
pub(super) fn convert_first(conn: &Connection) -> Result<()> {
    conn.execute_batch(&format!(
        "DROP TABLE found; DROP TABLE reindex; DELETE FROM meta WHERE name = 'indexed'; {REINDEX};"
    ))?;
    convert_second(conn)
}

/// Makes a file of the second format one of this format, within a transaction. The second had no index of conversations.
pub(super) fn convert_second(conn: &Connection) -> Result<()> {
    conn.execute_batch(&format!("{PAIRS};"))?;
    convert_third(conn)
}

/// Makes a file of the third format one of this format, within a transaction. The third kept what is a person's under each of
/// their names.
pub(super) fn convert_third(conn: &Connection) -> Result<()> {
    super::persons::unite(conn)?;
    convert_fourth(conn)
}

/// Makes a file of the fourth format one of this format, within a transaction. In the fourth messages had a text alone.
pub(super) fn convert_fourth(conn: &Connection) -> Result<()> {
    conn.execute_batch(&format!("{CARRIED} PRAGMA user_version = {FORMAT};"))
}

/// Has a connection that only reads a file of an older format find what newer ones have.
pub(super) fn read_as_newest(conn: &Connection) -> Result<()> {
    let format: i32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if format < 5 { conn.execute_batch(NOTHING_CARRIED) } else { Ok(()) }
}

/// Whether the tables are as [`make`] makes them.
pub(super) fn is_whole(conn: &Connection) -> Result<bool> {
    let expected = Connection::open_in_memory()?;
    make(&expected)?;
    Ok(tables(conn)? == tables(&expected)?)
}

fn tables(conn: &Connection) -> Result<Vec<[Option<String>; 4]>> {
    let mut select = conn.prepare(&format!(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE tbl_name NOT IN ({}) ORDER BY name",
        outbox::NAMES
    ))?;
    select.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?.collect()
}

/// The checksum of a row: of its numbers, and of its texts with their lengths.
pub(super) fn checksum(numbers: &[i64], texts: &[&[u8]]) -> i64 {
    let mut hasher = Hasher::new();
    let mut fixed = [0; 128];
    let mut len = 0;
    let lengths = texts.iter().map(|text| (text.len() as u64).cast_signed());
    for number in numbers.iter().copied().chain(lengths) {
        fixed[len..len + 8].copy_from_slice(&number.to_le_bytes());
        len += 8;
    }
    hasher.update(&fixed[..len]);
    for text in texts {
        hasher.update(text);
    }
    hasher.finalize().into()
}
