//! What the index of words is asked, by the thread that reads.

use rusqlite::{Connection, params};

use super::archive::Options;
use super::reader::is_expired;
use super::row::{Head, load_post, load_reactions};
use super::{PAGE_OCTETS, Record};
use crate::text::words::Query;

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
    let Some(query) = Query::parse(query) else { return Ok(Vec::new()) };
    let pattern = format!("room : \"r{room}\" AND {}", query.pattern());
    let mut select =
        words.prepare_cached("SELECT rowid FROM found WHERE found MATCH ?1 ORDER BY rowid DESC LIMIT ?2")?;
    let mut rows = select.query(params![pattern, MAX_HITS])?;
    let mut records = Vec::new();
    let mut octets = 0;
    while records.len() < limit
        && octets < PAGE_OCTETS
        && let Some(row) = rows.next()?
    {
        let Ok(stored) = load_post(conn, row.get(0)?)? else { continue };
        let Record { post, is_deleted, .. } = &stored.record;
        let is_there = (head.oldest..=head.seq).contains(&post.seq);
        if stored.room != room || *is_deleted || !is_there || is_expired(options, post.time) {
            continue;
        }
        // The index comes after the history: the text may be another one by now.
        if !query.matches(&post.text) {
            continue;
        }
        octets += post.text.len();
        let reactions = load_reactions(conn, stored.id)?;
        records.push(Record { reactions, ..stored.record });
    }
    Ok(records)
}
