//! Names of verified people: which was the first, and what older files kept under each of them.

use switchboard::history::{Action, History as _, Holder, Post};

use crate::support::{Dir, History, change, make_older, post};

fn holder(name: &str, subject: &str, is_first: bool) -> Holder {
    Holder { name: name.into(), subject: subject.into(), is_first }
}

fn hold(history: &mut History, holder: Holder) {
    history.client.hold(holder).unwrap();
}

#[test]
fn the_first_name_of_a_person_is_known_after_a_restart_and_in_a_backup() {
    let dir = Dir::new("persons");
    let mut history = History::open(&dir.data());
    // The first one comes last in the alphabet.
    let known = [
        holder("zoe", "x1", true),
        holder("ben", "x2", true),
        holder("ada", "x1", false),
        holder("name:zoe", "x3", true),
    ];
    for holder in known.clone() {
        hold(&mut history, holder);
    }
    history.commit(vec![post("r", 1, "x")]);
    history.close();
    let expected = [&known[1], &known[3], &known[0], &known[2]].map(Clone::clone);
    let history = History::open(&dir.data());
    assert_eq!(history.start.holders, expected);
    history.close();
    let copy = dir.path().join("copy");
    switchboard::history::sqlite::backup(&dir.data(), &copy).unwrap();
    let history = History::open(&copy);
    assert_eq!(history.start.holders, expected);
    history.close();
}

#[test]
fn what_an_older_file_kept_under_several_names_of_a_person_comes_under_one() {
    let dir = Dir::new("persons-older");
    let mut history = History::open(&dir.data());
    for (name, subject) in [("ada", "x1"), ("countess", "x1"), ("bob", "x2"), ("eve", "x3")] {
        hold(&mut history, holder(name, subject, true));
    }
    let said = |room: &str, seq: u64, user: &str| {
        let (text, client) = (user.into(), "c".into());
        let (time, user) = (1000 + seq, user.into());
        let post = Post { seq, time, user, is_verified: true, client, text, ..Post::default() };
        change(room, Action::Post(post))
    };
    let read = |room: &str, user: &str, seq: u64| change(room, Action::Read { user: user.into(), seq });
    history.commit(vec![
        said("@bob\ncountess", 1, "Countess"),
        said("@bob\ncountess", 2, "Bob"),
        said("@countess\neve", 1, "Eve"),
        said("@countess\nzed", 1, "Zed"),
        said("@ada\nbob", 1, "Ada"),
        said("@ada\nada", 1, "Ada"),
        read("@countess\neve", "countess", 1),
        post("r", 1, "x"),
        post("r", 2, "y"),
        read("r", "ada", 2),
        read("r", "countess", 1),
        read("r", "bob", 1),
    ]);
    history.close();
    // As the third format had it.
    make_older(&dir, 3);
    let mut history = History::open(&dir.data());
    // The name with the most conversations is the first. With Bob there were two of them: the other stays where it was.
    let expected = [
        holder("bob", "x2", true),
        holder("countess", "x1", true),
        holder("eve", "x3", true),
        holder("ada", "x1", false),
    ];
    assert_eq!(history.start.holders, expected);
    for (room, seq) in
        [("@bob\ncountess", 2), ("@countess\neve", 1), ("@countess\ncountess", 1), ("@ada\nbob", 1)]
    {
        assert_eq!(history.room(room, 9).seq, seq, "{room}");
    }
    assert_eq!(history.room("@ada\nada", 9).seq, 0);
    for (room, user, seq) in
        [("r", "countess", 2), ("r", "ada", 0), ("r", "bob", 1), ("@countess\neve", "countess", 1)]
    {
        assert_eq!(history.read_position(room, user), seq, "{room} {user}");
    }
    history.close();
}
