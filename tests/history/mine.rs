//! The rooms that users have subscribed to, and what is unread in them: kept, counted in bounds, and in a backup.

use std::sync::Arc;

use switchboard::history::sqlite::{self, Options};
use switchboard::history::{
    Act, Action, Event, MAX_UNREAD, MinePage, NameRange, Outcome, PairPlace, Proposal, Query, Reader, Unread,
};

use crate::support::{Dir, History, change, delete, post};

fn subscribe(history: &mut History, user: &str, room: &str, is_on: bool) -> Outcome {
    let act = Act::Subscribe { user: user.into(), is_on, most: 2 };
    history.propose(vec![Proposal { room: room.into(), time: 0, act }])[0]
}

fn reader(user: &str) -> Reader {
    Reader { user: user.into(), names: [user.into()].into(), read: 0 }
}

fn mine(history: &mut History, user: &str, after: Option<PairPlace>, limit: usize) -> MinePage {
    match history.ask_for(Query::Mine { ask: 3, reader: reader(user), after, limit }) {
        Event::Mine { ask: 3, page } => page.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Each room with how much is unread in it.
fn rows(page: &MinePage) -> Vec<(&str, u64, u64)> {
    page.rooms.iter().map(|room| (&*room.place.other, room.seq, room.unread)).collect()
}

fn names(page: &MinePage) -> Vec<&str> {
    page.subscribed.iter().map(|name| &**name).collect()
}

#[test]
fn subscriptions_outlive_the_server_and_are_in_a_backup() {
    let dir = Dir::new("mine");
    let mut history = History::open(&dir.data());
    for (room, outcome) in [
        ("b", Outcome::Subscribed),
        ("a", Outcome::Subscribed),
        ("b", Outcome::Subscribed),
        ("c", Outcome::TooMany),
    ] {
        assert_eq!(subscribe(&mut history, "eve", room, true), outcome, "{room}");
    }
    assert_eq!(subscribe(&mut history, "zoe", "c", true), Outcome::Subscribed);
    history.commit((1..=3).map(|seq| post("b", seq, "x")).collect());
    history.commit(vec![
        post("@eve\nzoe", 1, "y"),
        change("b", Action::Read { user: "eve".into(), seq: 1 }),
        delete("b", 1, 2),
    ]);
    let expected = [("b", 3, 1), ("@eve\nzoe", 1, 1), ("a", 0, 0)];
    assert_eq!(rows(&mine(&mut history, "eve", None, 9)), expected);
    // A room in which nothing was said is in the list of nobody else.
    match history.ask_for(Query::Rooms { ask: 4, ranges: NameRange::all(), limit: 9 }) {
        Event::Rooms { rooms, .. } => {
            let names: Vec<Arc<str>> = rooms.unwrap().into_iter().map(|room| room.name).collect();
            assert_eq!(names, [Arc::from("b")]);
        }
        other => panic!("{other:?}"),
    }
    history.close();
    let copy = dir.path().join("copy");
    sqlite::backup(&dir.data(), &copy).unwrap();
    for data in [&dir.data(), &copy] {
        let mut history = History::open(data);
        let page = mine(&mut history, "eve", None, 9);
        assert_eq!((rows(&page), names(&page)), (expected.to_vec(), vec!["a", "b"]));
        // A page at a time.
        let first = mine(&mut history, "eve", None, 2);
        let place = first.rooms[1].place.clone();
        assert_eq!(rows(&first), expected[..2]);
        assert_eq!(rows(&mine(&mut history, "eve", Some(place), 2)), expected[2..]);
        history.close();
    }
    let mut history = History::open(&dir.data());
    assert_eq!(subscribe(&mut history, "eve", "a", false), Outcome::Subscribed);
    assert_eq!(subscribe(&mut history, "eve", "never", false), Outcome::Subscribed);
    assert_eq!(names(&mine(&mut history, "eve", None, 9)), ["b"]);
    assert_eq!(names(&mine(&mut history, "zoe", None, 9)), ["c"]);
    history.close();
}

#[test]
fn the_newest_messages_are_counted_those_of_retention_are_not() {
    let dir = Dir::new("mine-many");
    let mut history = History::open(&dir.data());
    let newest = MAX_UNREAD as u64 + 40;
    history.commit((1..=newest).map(|seq| post("r", seq, "x")).collect());
    let count = |history: &mut History, reads: &[u64]| -> Vec<u64> {
        let users = ["eve", "zoe", "cleo"];
        let readers =
            users.iter().zip(reads).map(|(user, read)| Reader { read: *read, ..reader(user) }).collect();
        match history.ask_for(Query::Unread { ask: 5, room: "r".into(), readers }) {
            Event::Unread { ask: 5, counts } => {
                let (seq, counts) = counts.unwrap();
                assert_eq!(seq, newest);
                let of =
                    |user: &str| counts.iter().find(|Unread { user: by, .. }| **by == *user).unwrap().count;
                users[..reads.len()].iter().map(|user| of(user)).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(count(&mut history, &[0, newest, newest - 7]), [MAX_UNREAD as u64, 0, 7]);
    // Every second message is Ada's own.
    let ada = Reader { names: ["ada".into()].into(), ..reader("ada") };
    let asked = Query::Unread { ask: 6, room: Arc::from("r"), readers: vec![ada] };
    match history.ask_for(asked) {
        Event::Unread { counts, .. } => assert_eq!(counts.unwrap().1[0].count, MAX_UNREAD as u64 / 2),
        other => panic!("{other:?}"),
    }
    history.close();
    let options = Options::default().with(|it| it.keep_posts = 5);
    let mut history = History::open_with(&dir.data(), options);
    assert_eq!(count(&mut history, &[0, newest - 2]), [5, 2]);
    history.close();
}
