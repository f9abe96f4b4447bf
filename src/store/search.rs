//! What the index of words is asked, by the thread that reads.

use rusqlite::{Connection, params};

use super::Record;
use super::archive::Options;
use super::reader::is_expired;
use super::row::{Head, load_post, load_reactions};

/// Words of a query; the rest is left out.
pub(super) const MAX_WORDS: usize = 32;
/// Hits that are looked at to answer a query: those that are deleted or past retention meanwhile do not count as answers.
pub(super) const MAX_HITS: i64 = 10_000;

/// The newest `limit` messages of a room that have all words of the query, the newest first. There is no syntax: whatever
/// the query holds is a word.
pub(super) fn find(
    words: &Connection,
    conn: &Connection,
    options: &Options,
    room: i64,
    head: Head,
    query: &str,
    limit: usize,
) -> rusqlite::Result<Vec<Record>> {
    let Some(pattern) = pattern(room, query) else { return Ok(Vec::new()) };
    let mut select =
        words.prepare_cached("SELECT rowid FROM found WHERE found MATCH ?1 ORDER BY rowid DESC LIMIT ?2")?;
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
