//! The list of rooms is read by their names, a page at a time, without conversations and without what may not be on the disk.

use switchboard::history::{Event, NameRange, Query, RoomHead};

use crate::support::{Dir, History, post};

fn rooms(history: &mut History, ranges: Vec<NameRange>, limit: usize) -> Vec<RoomHead> {
    match history.ask_for(Query::Rooms { ask: 9, ranges, limit }) {
        Event::Rooms { ask: 9, rooms } => rooms.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn names(rooms: &[RoomHead]) -> Vec<&str> {
    rooms.iter().map(|room| &*room.name).collect()
}

fn filled(dir: &Dir) -> History {
    let mut history = History::open(&dir.data());
    let mut changes: Vec<_> =
        ["b", "a", "?", "@a\nb", "aa", "é", "z"].iter().map(|room| post(room, 1, "x")).collect();
    changes.extend([post("b", 2, "y"), post("b", 3, "z")]);
    history.commit(changes);
    history
}

#[test]
fn rooms_are_listed_in_the_order_of_their_names() {
    let dir = Dir::new("rooms");
    let mut history = filled(&dir);
    for _ in 0..2 {
        let all = rooms(&mut history, NameRange::all(), 100);
        assert_eq!(names(&all), ["?", "a", "aa", "b", "z", "é"]);
        assert_eq!((all[3].seq, all[3].time), (3, 1_000_003));
        assert_eq!(names(&rooms(&mut history, NameRange::all(), 2)), ["?", "a"]);
        let behind = |name| NameRange::in_both(&NameRange::all(), &[NameRange::behind(name)]);
        assert_eq!(names(&rooms(&mut history, behind("a"), 2)), ["aa", "b"]);
        assert_eq!(names(&rooms(&mut history, behind("é"), 2)), [""; 0]);
        let some = vec![NameRange::of_name("?"), NameRange::of_prefix("a"), NameRange::of_name("é")];
        assert_eq!(names(&rooms(&mut history, some.clone(), 100)), ["?", "a", "aa", "é"]);
        assert_eq!(names(&rooms(&mut history, some, 3)), ["?", "a", "aa"]);
        assert!(rooms(&mut history, Vec::new(), 3).is_empty());
        history.close();
        history = History::open(&dir.data());
    }
    history.close();
}

#[test]
fn a_list_reads_no_more_rows_than_it_needs() {
    let dir = Dir::new("rooms-plan");
    filled(&dir).close();
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    // Nothing is sorted: the index of the names gives the order.
    let plan = "EXPLAIN QUERY PLAN SELECT r.name, r.id, h.seq FROM rooms r LEFT JOIN heads h ON h.room = r.id
        WHERE r.name >= 'a' AND r.name < 'b' ORDER BY r.name";
    let mut select = conn.prepare(plan).unwrap();
    let steps: Vec<String> = select.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
    assert!(
        steps.iter().any(|step| step.starts_with("SEARCH r USING") && step.contains("INDEX")),
        "{steps:?}"
    );
    assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
}

#[test]
fn a_damaged_head_makes_no_list_unreadable() {
    let dir = Dir::new("rooms-damaged");
    let mut history = filled(&dir);
    // At the start it would be found.
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.execute_batch("UPDATE heads SET seq = 7 WHERE room = (SELECT id FROM rooms WHERE name = 'aa')")
        .unwrap();
    drop(conn);
    let all = rooms(&mut history, NameRange::all(), 100);
    assert_eq!(names(&all), ["?", "a", "aa", "b", "z", "é"]);
    assert_eq!((all[2].seq, all[2].time), (0, 0));
    history.close();
}
