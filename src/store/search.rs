//! The index of words: written behind the commits, in small steps, and asked by the thread that reads.

use rusqlite::{Connection, OptionalExtension, params};

use super::Record;
use super::archive::{Options, load_meta, store_meta};
use super::reader::is_expired;
use super::row::{Flaw, Head, load_post, load_reactions, read_post};
use super::schema::FOUND;
use super::session::{Result, Session};

/// Posts that are indexed in one step; a commit that comes up waits for no more than that.
pub(super) const INDEX_STEP: i64 = 256;
/// Posts that may be missing from the index before it is written between commits that follow each other without a pause.
pub(super) const INDEX_LAG: i64 = 16_384;
/// Words of a query; the rest is left out.
pub(super) const MAX_WORDS: usize = 32;
/// Hits that are looked at to answer a query: those that are deleted or past retention meanwhile do not count as answers.
pub(super) const MAX_HITS: i64 = 10_000;

/// The newest `limit` messages of a room that have all words of the query, the newest first. There is no syntax: whatever
/// the query holds is a word.
pub(super) fn find(
    conn: &Connection,
    options: &Options,
    room: i64,
    head: Head,
    query: &str,
    limit: usize,
) -> rusqlite::Result<Vec<Record>> {
    let Some(pattern) = pattern(room, query) else { return Ok(Vec::new()) };
    let mut select =
        conn.prepare_cached("SELECT rowid FROM found WHERE found MATCH ?1 ORDER BY rowid DESC LIMIT ?2")?;
    let mut rows = select.query(params![pattern, MAX_HITS])?;
    let mut records = Vec::new();
    while records.len() < limit
        && let Some(row) = rows.next()?
    {
        let Ok(stored) = load_post(conn, row.get(0)?)? else { continue };
        let Record { post, is_deleted, .. } = &stored.record;
        let is_there = (head.oldest..=head.seq).contains(&post.seq);
        if stored.room != room || *is_deleted || !is_there || is_expired(options, post.time) {
            continue;
        }
        let reactions = load_reactions(conn, stored.id)?;
        records.push(Record { reactions, ..stored.record });
    }
    Ok(records)
}

/// Every word quoted, for FTS5; `None` when there is none.
fn pattern(room: i64, query: &str) -> Option<String> {
    let words = query.split(|c: char| c.is_whitespace() || c.is_control());
    let quoted = words
        .filter(|word| word.contains(char::is_alphanumeric))
        .take(MAX_WORDS)
        .map(|word| format!("text : \"{}\"", word.replace('"', "\"\"")));
    let words: Vec<String> = quoted.collect();
    (!words.is_empty()).then(|| format!("room : \"r{room}\" AND {}", words.join(" AND ")))
}

/// Where the index stands.
pub(super) fn load_position(conn: &Connection) -> rusqlite::Result<i64> {
    let position = load_meta(conn, "indexed")?.and_then(|position| position.parse().ok());
    match position {
        Some(position) => Ok(position),
        // Never indexed, or nobody knows how far.
        None => Ok(0),
    }
}

/// Whether there is something to index.
pub(super) fn lag(session: &Session<'_>) -> i64 {
    let missing = session.next_post() - 1 - session.indexed;
    if session.has_stale { missing.max(1) } else { missing }
}

/// Indexes the next few posts, within a transaction.
pub(super) fn index_step(session: &mut Session<'_>) -> Result<()> {
    if session.has_stale {
        return index_stale(session);
    }
    let conn = session.conn;
    let mut position = session.indexed;
    {
        let mut select = conn.prepare_cached(
            "SELECT id, prev, room, seq, time, flags, edited, user, client, key, text, crc FROM posts
             WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = select.query([position, INDEX_STEP])?;
        while let Some(row) = rows.next()? {
            position = row.get(0)?;
            if let Some(stored) = read_post(row)? {
                insert(conn, stored.id, stored.room, &stored.record)?;
            }
        }
    }
    if position == session.indexed {
        // The rest is gone already.
        position = session.next_post() - 1;
    }
    store_meta(conn, "indexed", &position.to_string())?;
    session.indexed = position;
    Ok(())
}

/// Posts whose text changed since they were indexed.
fn index_stale(session: &mut Session<'_>) -> Result<()> {
    let conn = session.conn;
    let stale: Vec<i64> = {
        let mut select = conn.prepare_cached("SELECT post FROM reindex LIMIT ?1")?;
        select.query_map([INDEX_STEP], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    session.has_stale = false;
    for (nth, &id) in (1..).zip(&stale) {
        session.has_stale |= nth == INDEX_STEP;
        remove(conn, id)?;
        match load_post(conn, id)? {
            Ok(stored) => insert(conn, id, stored.room, &stored.record)?,
            Err(Flaw::Missing | Flaw::Damaged { .. }) => {}
        }
        conn.prepare_cached("DELETE FROM reindex WHERE post = ?1")?.execute([id])?;
    }
    Ok(())
}

fn insert(conn: &Connection, id: i64, room: i64, record: &Record) -> rusqlite::Result<()> {
    if !record.is_deleted {
        conn.prepare_cached("INSERT INTO found(rowid, room, text) VALUES(?1, ?2, ?3)")?.execute(params![
            id,
            format!("r{room}"),
            record.post.text
        ])?;
    }
    Ok(())
}

/// A post is found no more.
pub(super) fn remove(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM found WHERE rowid = ?1")?.execute([id])?;
    Ok(())
}

/// Begins the index anew: what was there is damaged.
pub(super) fn rebuild(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    conn.execute_batch(&format!("DROP TABLE found; {FOUND}; DELETE FROM reindex;"))?;
    store_meta(conn, "indexed", "0")?;
    conn.execute_batch("COMMIT")
}

/// Whether posts wait to be indexed anew.
pub(super) fn has_stale(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(conn.query_row("SELECT 1 FROM reindex LIMIT 1", [], |_| Ok(())).optional()?.is_some())
}
