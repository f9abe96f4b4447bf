//! What the index of words is asked, by the thread that reads.

use rusqlite::{Connection, params};

use super::data_dir::Options;
use super::rows::{Head, load_post, load_reactions};
use crate::history::{PAGE_OCTETS, Record};
use crate::text::words::Query;

/// Hits that are looked at to answer a query: those that are deleted or past retention meanwhile do not count as answers.
pub(super) const MAX_HITS: i64 = 10_000;

/// The newest `limit` messages of a room that have all words of the query, the newest first. There is no syntax: whatever
/// the query holds is a word.
pub(super) fn find(
    index: &Connection,
    conn: &Connection,
    options: &Options,
    (room, head): (i64, Head),
    (query, limit): (&str, usize),
) -> rusqlite::Result<Vec<Record>> {
    let Some(query) = Query::parse(query) else { return Ok(Vec::new()) };
    let pattern = format!("room : \"r{room}\" AND {}", query.pattern());
    let mut select =
        index.prepare_cached("SELECT rowid FROM found WHERE found MATCH ?1 ORDER BY rowid DESC LIMIT ?2")?;
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
        if stored.room != room || *is_deleted || !is_there || options.is_expired(post.time) {
            continue;
        }
        // The index comes after the history: the text may be another one by now.
        if !query.matches(&post.text) {
            continue;
        }
        octets += post.text.len();
        let reactions = load_reactions(conn, &stored)?;
        records.push(Record { reactions, ..stored.record });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::text::words::{Query, indexed};

    fn index() -> rusqlite::Connection {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        conn.execute_batch(crate::history::sqlite::search_index::FOUND).unwrap();
        conn
    }

    /// Whether the query finds the text, by the one rule and by the index that SQLite makes of it.
    fn finds(conn: &rusqlite::Connection, query: &str, text: &str) -> [bool; 2] {
        let Some(query) = Query::parse(query) else { return [false, false] };
        conn.execute("DELETE FROM found", []).unwrap();
        conn.execute("INSERT INTO found(rowid, room, text) VALUES(1, 'r1', ?1)", [indexed(text)]).unwrap();
        let pattern = format!("room : \"r1\" AND {}", query.pattern());
        let sql = "SELECT count(*) FROM found WHERE found MATCH ?1";
        let count: i64 = conn.query_row(sql, [pattern], |row| row.get(0)).unwrap();
        [query.matches(text), count == 1]
    }

    #[test]
    fn words_are_found_in_every_script_and_spelling() {
        let conn = index();
        for (query, text) in [
            ("会议", "今天下午三点开会，请准备好会议材料"),
            ("会", "今天开会"),
            ("東京駅", "明日、東京駅で会いましょう"),
            ("カメラ", "新しいｶﾒﾗを買った"),
            ("ประชุม", "วันนี้มีประชุมตอนบ่าย"),
            ("ប្រជុំ", "ថ្ងៃនេះមានប្រជុំ"),
            ("🚀", "to the moon 🚀🚀"),
            ("👍", "yes 👍🏽"),
            ("❤", "I ❤\u{fe0f} it"),
            ("🇩🇪", "🇫🇷🇩🇪"),
            ("한국", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"),
            ("strasse", "Die Straße"),
            ("STRAẞE", "in der strasse"),
            ("cafe", "Café au lait"),
            ("café", "CAFE\u{301}"),
            ("abc123", "ＡＢＣ１２３"),
            ("messag", "three Messages"),
            ("three messag", "three Messages"),
            ("میخواهم", "من می‌خواهم"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("ёлка", "елка ёлка"),
            ("é", "é"),
            ("a", "a b"),
        ] {
            assert_eq!(finds(&conn, query, text), [true; 2], "{query} in {text}");
        }
        for (query, text) in [
            ("thre messages", "three messages"),
            ("会材", "会议材料"),
            ("a", "abc"),
            ("essage", "message"),
            ("🚀", "rocket"),
            ("か", "が"),
            ("🇪🇫", "🇩🇪🇫🇷"),
            ("", "x"),
            (" .,", "x"),
        ] {
            assert_eq!(finds(&conn, query, text), [false; 2], "{query} in {text}");
        }
    }

    fn config() -> ProptestConfig {
        ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() }
    }

    #[test]
    fn memory_and_disk_find_the_same() {
        let conn = index();
        let text = "[a-cA-C é☀🚀👍🏽会议東京ประชุ가각ﬁß0-2\u{fe0f}\u{200d}\"*-]{0,12}|\\PC{0,12}";
        let query = "[a-cA-C é☀🚀👍会议東京ประชุ가ß0-2\"*-]{0,4}|\\PC{0,4}";
        proptest!(config(), |(text in text, query in query)| {
            let [memory, disk] = finds(&conn, &query, &text);
            prop_assert_eq!(memory, disk);
        });
    }

    #[test]
    fn a_text_is_found_by_itself() {
        let conn = index();
        proptest!(config(), |(text in "\\PC{1,12}")| {
            if Query::parse(&text).is_some() {
                prop_assert_eq!(finds(&conn, &text, &text), [true; 2]);
            }
        });
    }
}
