//! Words are found behind the commits, in their room alone, as they are now; no query is an error.

use proptest::prelude::*;

use crate::support::{Dir, History, delete, edit, post, seqs, wait_until};

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
        assert_eq!(found(&mut history, "general", "laz"), [0; 0]);
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
        let conn = rusqlite::Connection::open(dir.database()).unwrap();
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
