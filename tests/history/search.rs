//! Words are found behind the commits, in their room alone, as they are now; no query is an error.

use proptest::prelude::*;

use crate::support::{Busy, Dir, History, delete, edit, make_older, post, seqs, wait_until};

#[track_caller]
fn found(history: &mut History, room: &str, query: &str) -> Vec<u64> {
    seqs(&history.search(room, query, 50).unwrap())
}

#[track_caller]
fn wait_for(history: &mut History, room: &str, query: &str, wanted: &[u64]) {
    wait_until(&format!("{query:?} finds {wanted:?}"), || found(history, room, query) == wanted);
}

#[test]
fn words_are_found_in_their_room_the_newest_first() {
    let dir = Dir::new("search");
    let mut history = History::open(&dir.data());
    history.commit(vec![
        post("general", 1, "The quick brown fox"),
        post("general", 2, "jumps over the lazy Dog"),
        post("general", 3, "a lazy brown cat, a Café"),
        post("other", 1, "lazy brown everything"),
        post("general", 4, "съешь ещё этих мягких французских булок"),
    ]);
    for round in 0..2 {
        wait_for(&mut history, "general", "булок мягких", &[4]);
        assert_eq!(found(&mut history, "general", "lazy"), [3, 2]);
        assert_eq!(found(&mut history, "general", "LAZY   brown"), [3]);
        assert_eq!(found(&mut history, "general", "cafe"), [3]);
        assert_eq!(found(&mut history, "other", "lazy"), [1]);
        assert_eq!(found(&mut history, "general", "laz"), [3, 2], "the last word may go on");
        assert_eq!(found(&mut history, "general", "laz brown"), [0; 0]);
        assert_eq!(found(&mut history, "general", "azy"), [0; 0]);
        assert_eq!(
            found(&mut history, "general", "r1"),
            [0; 0],
            "how a room is marked in the index is no word"
        );
        assert_eq!(found(&mut history, "nowhere", "lazy"), [0; 0]);
        assert_eq!(seqs(&history.search("general", "lazy", 1).unwrap()), [3]);
        if round == 0 {
            history.close();
            history = History::open(&dir.data());
        }
    }
    history.commit(vec![edit("general", 1, 2, "leaps over the idle dog"), delete("general", 2, 3)]);
    assert_eq!(found(&mut history, "general", "brown"), [1], "what is deleted is found no more, at once");
    wait_for(&mut history, "general", "idle dog", &[2]);
    wait_for(&mut history, "general", "lazy", &[]);
    history.close();
}

#[test]
fn a_long_history_is_indexed_in_steps_and_goes_on_after_a_restart() {
    let dir = Dir::new("search-long");
    let mut history = History::open(&dir.data());
    for round in 0..20 {
        history.commit(
            (1..=100).map(|i| post("general", round * 100 + i, &format!("word{} all", i % 10))).collect(),
        );
        if round % 7 == 0 {
            history.close();
            history = History::open(&dir.data());
        }
    }
    wait_until("all is indexed", || history.search("general", "all", 5000).unwrap().len() == 2000);
    assert_eq!(history.search("general", "word3 all", 5000).unwrap().len(), 200);
    history.close();
}

#[test]
fn a_damaged_index_is_made_anew() {
    let dir = Dir::new("search-damage");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "one needle")]);
    wait_for(&mut history, "general", "needle", &[1]);
    let damage = || {
        let conn = rusqlite::Connection::open(dir.words()).unwrap();
        conn.busy_timeout(crate::support::SOON).unwrap();
        conn.execute("UPDATE found_data SET block = x'00000000ffffffffffffffffffff'", []).unwrap();
    };
    damage();
    assert!(history.search("general", "needle", 5).is_err());
    history.commit(vec![post("general", 2, "another needle")]);
    wait_until("both are found", || {
        history.search("general", "needle", 5).is_ok_and(|found| found.len() == 2)
    });
    history.close();
    damage();
    let mut history = History::open(&dir.data());
    wait_for(&mut history, "general", "needle", &[2, 1]);
    history.close();
}

/// Whatever lies where the index should be: the history does not depend on it.
#[test]
fn an_index_that_is_lost_or_of_another_history_is_made_anew() {
    let (dir, other) = (Dir::new("search-lost"), Dir::new("search-other"));
    let mut history = History::open(&other.data());
    history.commit(vec![post("general", 1, "what others said")]);
    wait_for(&mut history, "general", "others", &[1]);
    history.close();
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "one needle"), post("general", 2, "another needle")]);
    wait_for(&mut history, "general", "needle", &[2, 1]);
    history.close();
    for wrong in 0..3 {
        match wrong {
            0 => std::fs::remove_file(dir.words()).unwrap(),
            1 => std::fs::write(dir.words(), "this is no index").unwrap(),
            _ => std::fs::copy(other.words(), dir.words()).map(drop).unwrap(),
        }
        let mut history = History::open(&dir.data());
        wait_for(&mut history, "general", "needle", &[2, 1]);
        assert_eq!(found(&mut history, "general", "others"), [0; 0]);
        history.close();
    }
}

/// A sweep is not synced, but what the index has noted of it is: the numbers of `reindex` begin again.
#[test]
fn an_index_that_has_seen_more_than_came_through_a_power_failure_is_made_anew() {
    let dir = Dir::new("search-power");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "one needle"), edit("general", 1, 1, "two needles")]);
    wait_for(&mut history, "general", "needles", &[1]);
    history.close();
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.execute_batch("DELETE FROM reindex; DELETE FROM sqlite_sequence").unwrap();
    drop(conn);
    let mut history = History::open(&dir.data());
    history.commit(vec![edit("general", 2, 1, "three pins")]);
    wait_for(&mut history, "general", "pins", &[1]);
    assert_eq!(found(&mut history, "general", "needles"), [0; 0]);
    history.close();
}

#[test]
fn an_index_that_cannot_be_written_holds_up_no_commit_and_is_written_later() {
    let dir = Dir::new("search-blocked");
    History::open(&dir.data()).close();
    std::fs::remove_file(dir.words()).unwrap();
    std::fs::create_dir(dir.words()).unwrap();
    let mut history = History::open(&dir.data());
    for seq in 1..=100 {
        history.commit(vec![post("general", seq, "a word")]);
    }
    assert!(history.search("general", "word", 5).is_err());
    std::fs::remove_dir(dir.words()).unwrap();
    wait_until("it is made", || history.search("general", "word", 500).is_ok_and(|found| found.len() == 100));
    history.close();
}

#[test]
fn words_are_found_while_commits_follow_each_other_without_a_pause() {
    let dir = Dir::new("search-busy");
    let mut history = History::open(&dir.data());
    let mut busy = Busy::begin(&mut history, |seq| vec![post("general", seq, &format!("word{seq} end"))]);
    wait_until("the first word is found", || {
        busy.go_on(&mut history, 50);
        busy.search(&mut history, "general", "word1 end") == 1
    });
    history.close();
}

/// The first format had the index in the history's own file.
#[test]
fn a_file_of_the_first_format_is_converted() {
    let dir = Dir::new("search-first");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "one needle")]);
    history.close();
    std::fs::remove_file(dir.words()).unwrap();
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.execute_batch(
        "DROP INDEX pairs; DROP TABLE reindex; CREATE TABLE reindex(post INTEGER PRIMARY KEY) STRICT; CREATE VIRTUAL TABLE found USING fts5(
           room, text, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 2');
         INSERT INTO meta VALUES('indexed', '1', 0);",
    )
    .unwrap();
    drop(conn);
    make_older(&dir, 1);
    for _ in 0..2 {
        let mut history = History::open(&dir.data());
        wait_for(&mut history, "general", "needle", &[1]);
        assert_eq!(seqs(&history.room("general", 9).recent), [1]);
        history.close();
    }
}

#[test]
fn no_query_is_an_error() {
    let dir = Dir::new("search-odd");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "NEAR the AND of \"OR\" x* -y col:z ^a {b} (c")]);
    wait_for(&mut history, "general", "near", &[1]);
    for query in [
        "",
        " ",
        "\"",
        "\"\"",
        "*",
        "x*",
        "AND",
        "OR NOT",
        "NEAR(",
        "the AND of",
        "text:the",
        "room:r1",
        "-y",
        "^a",
        "{b}",
        "(",
        "((((((((",
        "a\0b",
        "\u{1}",
        "'",
        ";",
        "--",
        "\u{10FFFF}",
        "💥",
        "🙂 the",
        "%",
        "_",
        "\\",
        "+ +",
        ":",
        "col:z",
    ] {
        let result = history.search("general", query, 5);
        assert!(result.is_ok(), "{query:?}: {result:?}");
    }
    assert_eq!(found(&mut history, "general", "x*"), [1], "the star is nothing: x is there");
    assert_eq!(found(&mut history, "general", "AND \"OR\""), [1]);
    let long = "word ".repeat(10_000);
    assert_eq!(found(&mut history, "general", &long), [0; 0]);
    let history = std::cell::RefCell::new(history);
    proptest!(ProptestConfig::with_cases(500), |(query in any::<String>())| {
        prop_assert!(history.borrow_mut().search("general", &query, 5).is_ok());
    });
    proptest!(ProptestConfig::with_cases(500), |(query in "[a-z\"'*:()^{}+,.; \\-]{0,40}|(AND|OR|NOT|NEAR| |\"|a)*")| {
        prop_assert!(history.borrow_mut().search("general", &query, 5).is_ok());
    });
    history.into_inner().close();
}
