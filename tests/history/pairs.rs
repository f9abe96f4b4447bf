//! The conversations of a user are found by either name, the newest first, also in files of earlier formats.

use std::sync::Arc;

use switchboard::history::sqlite::Options;
use switchboard::history::{Action, Change, Event, Pair, PairPlace, Query};

use crate::support::{Dir, History, change, make_older, post};

fn pairs(history: &mut History, user: &str, after: Option<PairPlace>, limit: usize) -> Vec<Pair> {
    match history.ask_for(Query::Pairs { ask: 9, user: user.into(), after, limit }) {
        Event::Pairs { ask: 9, pairs } => pairs.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn others(pairs: &[Pair]) -> Vec<&str> {
    pairs.iter().map(|pair| &*pair.place.other).collect()
}

/// A message of a conversation at a time.
fn told(room: &str, seq: u64, time: u64, user: &str) -> Change {
    let Change { room, action } = post(room, seq, "hi");
    let Action::Post(said) = action else { unreachable!("a post is a post") };
    Change { room, action: Action::Post(switchboard::history::Post { time, user: user.into(), ..said }) }
}

fn filled(dir: &Dir) -> History {
    let mut history = History::open(&dir.data());
    history.commit(vec![
        post("general", 1, "hi"),
        told("@ada\nbob", 1, 100, "Ada"),
        told("@ada\ncleo", 1, 300, "Cleo"),
        told("@ada\nzoe", 1, 200, "Ada"),
        // Neither name, nor the beginning or the end of one, is enough.
        told("@adam\nbob", 1, 400, "Bob"),
        told("@bob\nyada", 1, 400, "Bob"),
        told("@aaron\nada", 1, 200, "Aaron"),
        told("@ada\nada", 1, 50, "Ada"),
        told("@ada\nbob", 2, 150, "BOB"),
        change("@ada\nbob", Action::Read { user: "ada".into(), seq: 1 }),
        change("@ada\nbob", Action::Read { user: "bob".into(), seq: 2 }),
    ]);
    history
}

#[test]
fn conversations_are_found_by_either_name_the_newest_first() {
    let dir = Dir::new("pairs");
    let mut history = filled(&dir);
    for _ in 0..2 {
        let found = pairs(&mut history, "ada", None, 50);
        assert_eq!(others(&found), ["cleo", "aaron", "zoe", "bob", "ada"]);
        let bob = &found[3];
        let names: [Arc<str>; 2] = ["BOB".into(), "Ada".into()];
        assert_eq!((bob.seq, bob.read, bob.place.time, &*bob.writers), (2, 1, 150, &names[..]));
        assert_eq!(others(&pairs(&mut history, "bob", None, 50)), ["adam", "yada", "ada"]);
        assert_eq!(pairs(&mut history, "bob", None, 50)[2].read, 2);
        assert_eq!(others(&pairs(&mut history, "zoe", None, 50)), ["ada"]);
        assert!(pairs(&mut history, "ad", None, 50).is_empty());
        assert!(pairs(&mut history, "general", None, 50).is_empty());
        assert!(pairs(&mut history, "ada\nbob", None, 50).is_empty());
        history.close();
        history = History::open(&dir.data());
    }
    history.close();
}

#[test]
fn a_long_list_goes_on_after_each_place_in_it() {
    let dir = Dir::new("pairs-pages");
    let mut history = filled(&dir);
    let mut seen: Vec<String> = Vec::new();
    let mut after = None;
    loop {
        let found = pairs(&mut history, "ada", after, 2);
        seen.extend(others(&found).iter().map(|other| (*other).to_owned()));
        let Some(last) = found.last() else { break };
        after = Some(last.place.clone());
    }
    // Two of them have the same time.
    assert_eq!(seen, ["cleo", "aaron", "zoe", "bob", "ada"]);
    history.close();
}

#[test]
fn conversations_that_retention_has_emptied_are_not_listed() {
    let dir = Dir::new("pairs-retention");
    filled(&dir).close();
    let mut history = History::open_with(
        &dir.data(),
        Options::default().with(|it| {
            it.keep_ms = 100;
            it.now = || 320;
        }),
    );
    assert_eq!(others(&pairs(&mut history, "ada", None, 50)), ["cleo"]);
    history.close();
}

#[test]
fn a_file_of_the_second_format_gets_the_index() {
    let dir = Dir::new("pairs-second");
    filled(&dir).close();
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.execute_batch("DROP INDEX pairs;").unwrap();
    drop(conn);
    make_older(&dir, 2);
    let mut history = History::open(&dir.data());
    assert_eq!(others(&pairs(&mut history, "ada", None, 1)), ["cleo"]);
    history.close();
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    // Both halves of the question are answered by an index.
    let plan = "EXPLAIN QUERY PLAN SELECT name, id FROM rooms
        WHERE substr(name, 1, 1) = '@' AND substr(name, instr(name, char(10)) + 1) = 'ada'";
    let detail: String = conn.query_row(plan, [], |row| row.get(3)).unwrap();
    assert!(detail.contains("USING INDEX pairs"), "{detail}");
}
