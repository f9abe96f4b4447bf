//! What is committed is there, in order and whole, after a restart too.

use std::os::unix::fs::PermissionsExt;

use switchboard::history::sqlite::{Options, now_ms};
use switchboard::history::{Act, Action, BanChange, History as _, Outcome, Proposal, Query, RoomState};

use crate::support::{
    Dir, History, ban, batch, change, delete, edit, keyed, names, post, proposal, react, seqs, texts,
    wait_until,
};

#[test]
fn what_is_committed_is_there_after_a_restart() {
    let dir = Dir::new("basics");
    let mut history = History::open(&dir.data());
    for seq in 1..=300 {
        history
            .commit(vec![post("general", seq, &format!("message {seq}")), post("other", seq, "elsewhere")]);
    }
    let check = |history: &mut History| {
        let state = history.room("general", 50);
        assert_eq!((state.seq, state.rev, state.time, state.oldest), (300, 0, 1_000_300, 1));
        assert_eq!(seqs(&state.recent), (251..=300).collect::<Vec<_>>());
        assert_eq!(&*state.recent[0].post.text, "message 251");
        assert!(state.recent[1].post.is_verified && !state.recent[0].post.is_verified);
        for before in [1_u64, 2, 64, 65, 66, 128, 200, 300, 301, 9999] {
            let wanted: Vec<u64> = (before.min(301).saturating_sub(10).max(1)..before.min(301)).collect();
            assert_eq!(seqs(&history.page("general", before, 10)), wanted, "before {before}");
        }
        assert_eq!(history.page("general", 0, 10), []);
        assert_eq!(history.page("nowhere", 5, 10), []);
        let RoomState { seq, rev, oldest, recent, .. } = history.room("nowhere", 10);
        assert_eq!((seq, rev, oldest, recent.len()), (0, 0, 0, 0));
    };
    check(&mut history);
    let epoch = history.start.epoch.clone();
    history.close();
    let mut history = History::open(&dir.data());
    assert_eq!(history.start.epoch, epoch);
    check(&mut history);
    history.close();
}

#[test]
fn changes_show_in_messages_and_in_the_list_of_changes() {
    let dir = Dir::new("changes");
    let mut history = History::open(&dir.data());
    history.commit((1..=5).map(|seq| post("general", seq, "as it was")).collect());
    let changes = vec![
        edit("general", 1, 2, "as it is"),
        react("general", 2, 2, "Bob", "👍", false),
        react("general", 3, 2, "Ada", "🎉", false),
        react("general", 4, 2, "Eve", "👍", false),
        react("general", 5, 2, "Ada", "👍", false),
        react("general", 6, 2, "Bob", "👍", true),
        edit("general", 7, 3, "a secret"),
        delete("general", 8, 3),
    ];
    history.commit(changes.clone());
    for _ in 0..2 {
        let state = history.room("general", 10);
        assert_eq!((state.seq, state.rev), (5, 8));
        assert_eq!(texts(&state.recent), ["as it was", "as it is", "", "as it was", "as it was"]);
        let (second, third) = (&state.recent[1], &state.recent[2]);
        assert_eq!((second.edited, second.is_deleted), (Some(2_000_001), false));
        // Bob was the first, and took it back: the place of 👍 is now that of Eve's.
        let expected = [("🎉".into(), names(&["Ada"])), ("👍".into(), names(&["Eve", "Ada"]))];
        assert_eq!(second.reactions, expected);
        assert!(third.is_deleted);
        let mut actions: Vec<Action> = changes.iter().map(|change| change.action.clone()).collect();
        // What was deleted is nowhere any more, not among the changes either.
        if let Action::Edit { text, .. } = &mut actions[6] {
            *text = "".into();
        }
        assert_eq!(state.changes, actions);
        history.close();
        history = History::open(&dir.data());
    }
    assert_eq!(history.room("general", 3).changes.len(), 3);
    history.close();
    let file = std::fs::read(dir.database()).unwrap();
    assert!(
        !file.windows(8).any(|found| found == b"a secret"),
        "the text of a deleted message is on the disk"
    );
}

#[test]
fn a_message_that_is_not_there_or_gone_cannot_be_changed() {
    let dir = Dir::new("nothing");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "one"), delete("general", 1, 1)]);
    let changes = vec![
        edit("general", 2, 1, "again"),
        delete("general", 2, 1),
        react("general", 2, 1, "A", "x", false),
        edit("general", 2, 9, "what"),
        delete("elsewhere", 1, 4),
        react("general", 2, 0, "A", "x", true),
    ];
    let proposals = changes.into_iter().map(proposal).collect();
    assert_eq!(history.propose(proposals), [Outcome::Gone; 6]);
    let state = history.room("general", 10);
    assert_eq!((state.seq, state.rev, state.changes.len(), state.recent.len()), (1, 1, 1, 1));
    history.close();
}

#[test]
fn reactions_are_counted_and_one_that_changes_nothing_has_no_number() {
    let dir = Dir::new("reactions");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "one"), react("general", 1, 1, "A", "x", false)]);
    let mut react = |user: &str, emoji: &str, is_removed| {
        let user = switchboard::history::Who::from_label(user);
        let act = Act::React { seq: 1, user, emoji: emoji.into(), is_removed, most: 2 };
        history.propose(vec![Proposal { room: "general".into(), time: 0, act }]).remove(0)
    };
    assert_eq!(react("A", "x", false), Outcome::Same { seq: 1, rev: 1 });
    assert_eq!(react("B", "x", true), Outcome::Same { seq: 1, rev: 1 });
    assert_eq!(react("B", "x", false), Outcome::Changed { seq: 1, rev: 2, time: None });
    assert_eq!(react("C", "y", false), Outcome::TooMany);
    assert_eq!(react("A", "x", true), Outcome::Changed { seq: 1, rev: 3, time: None });
    assert_eq!(react("C", "y", false), Outcome::Changed { seq: 1, rev: 4, time: None });
    history.close();
}

#[test]
fn keys_bans_and_marks_are_known_at_the_start() {
    let dir = Dir::new("start");
    let mut history = History::open(&dir.data());
    assert!(history.start.bans.is_empty());
    let now = now_ms();
    history.commit(vec![
        keyed("general", 1, "old", Some("k1"), now - 700_000),
        keyed("general", 2, "young", Some("k2"), now - 1000),
        keyed("other", 1, "young", Some("k2"), now - 900),
        keyed("other", 2, "no key", None, now),
    ]);
    history.commit_bans(vec![BanChange::Set(ban("eve", "first")), BanChange::Set(ban("mallory", "spam"))]);
    history.commit_bans(vec![BanChange::Set(ban("eve", "again")), BanChange::Lift("mallory".into())]);
    let read = |seq| change("general", Action::Read { user: "Ada".into(), seq });
    history.commit(vec![read(2)]);
    history.commit(vec![read(1)]);
    assert_eq!(history.read_position("general", "Ada"), 2);
    assert_eq!(history.read_position("general", "Bob"), 0);
    assert_eq!(history.read_position("nowhere", "Ada"), 0);
    history.close();

    let mut history = History::open(&dir.data());
    let again = |history: &mut History, room, seq, key| {
        history.propose(vec![proposal(keyed(room, seq, "again", Some(key), now_ms()))]).remove(0)
    };
    let repeated = |seq, time| Outcome::Repeated { seq, time };
    assert_eq!(again(&mut history, "general", 2, "k2"), repeated(2, now - 1000));
    assert_eq!(again(&mut history, "other", 1, "k2"), repeated(1, now - 900));
    assert!(matches!(again(&mut history, "general", 1, "k1"), Outcome::Posted { seq: 3, .. }), "too old");
    assert_eq!(history.start.bans, [ban("eve", "again")]);
    assert_eq!(history.read_position("general", "Ada"), 2);
    history.close();

    let mut history = History::open_with(&dir.data(), Options::default().with(|it| it.max_keys = 1));
    // The newest is kept.
    assert!(matches!(again(&mut history, "general", 1, "k1"), Outcome::Repeated { seq: 3, .. }));
    assert!(matches!(again(&mut history, "other", 1, "k2"), Outcome::Posted { seq: 3, .. }));
    history.close();
}

#[test]
fn a_verified_user_and_a_guest_of_one_name_react_apart() {
    let dir = Dir::new("who");
    let mut history = History::open(&dir.data());
    history.commit(vec![
        post("general", 1, "one"),
        react("general", 1, 1, "Ada", "👍", false),
        react("general", 2, 1, "@Ada", "👍", false),
        react("general", 3, 1, "Ada", "👍", true),
    ]);
    let room = history.room("general", 9);
    let ada = switchboard::history::Who { name: "Ada".into(), is_verified: true };
    assert_eq!(room.recent[0].reactions, [("👍".into(), vec![ada])]);
    history.close();
}

#[test]
fn files_are_private() {
    let dir = Dir::new("private");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "between us")]);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.data()), 0o700);
    let mut files = 0;
    for file in std::fs::read_dir(dir.data()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert!(files >= 3, "the database, its log, the lock");
    history.close();
}

#[test]
fn the_client_never_takes_more_than_its_bounds() {
    let dir = Dir::new("bounds");
    let (mut client, worker, _) =
        switchboard::history::sqlite::open(&dir.data(), Options::default()).unwrap();
    // The threads do not run yet, so nothing is taken away.
    let mut taken = 0;
    let batch = |ticket, text: &str| batch(ticket, vec![post("general", ticket, text)]);
    let long = "x".repeat(1 << 20);
    while client.propose(batch(taken + 1, &long)).is_ok() {
        taken += 1;
    }
    assert!((60..=64).contains(&taken), "{taken} batches of 1 MiB");
    let mut asked = 0;
    let open = || Query::Open { room: "general".into(), recent: 1, changes: 1 };
    while client.query(open()).is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 4096);
    let (sender, events) = std::sync::mpsc::channel();
    let running = worker.start(move |_, event| sender.send(event).is_ok()).unwrap();
    wait_until("there is room again", || client.propose(batch(taken + 1, &long)).is_ok());
    taken += 1;
    drop(client);
    running.finish().unwrap();
    let last = events.iter().filter_map(|event| match event {
        switchboard::history::Event::Settled { ticket, .. } => Some(ticket),
        _ => None,
    });
    assert_eq!(last.max(), Some(taken), "what was handed over is committed before the end");
}

#[test]
fn many_batches_come_into_one_commit() {
    let dir = Dir::new("group");
    let (mut client, worker, _) =
        switchboard::history::sqlite::open(&dir.data(), Options::default()).unwrap();
    for ticket in 1..=1000 {
        let changes = vec![post("general", ticket, "one of many")];
        client.propose(batch(ticket, changes)).unwrap();
    }
    let (sender, events) = std::sync::mpsc::channel();
    let running = worker.start(move |_, event| sender.send(event).is_ok()).unwrap();
    drop(client);
    running.finish().unwrap();
    let tickets: Vec<_> = events.iter().collect();
    assert!(
        matches!(tickets[..], [switchboard::history::Event::Settled { ticket: 1000, .. }]),
        "one commit for all: {tickets:?}"
    );
}
