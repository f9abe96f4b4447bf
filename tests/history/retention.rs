//! ST-11: what is kept no longer is out of sight at once and off the disk soon, and nothing else is.

use std::sync::atomic::{AtomicU64, Ordering};

use switchboard::history::Action;
use switchboard::history::sqlite::Options;

use crate::support::{Busy, Dir, History, change, keyed, post, react, seqs, wait_until};

fn rows(dir: &Dir, table: &str) -> u64 {
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.busy_timeout(crate::support::SOON).unwrap();
    conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
        .unwrap()
        .cast_unsigned()
}

/// Bytes of a file that holds as many messages as the sweeps leave at any time.
fn size_of_all() -> u64 {
    let dir = Dir::new("retention-all");
    let mut history = History::open(&dir.data());
    let all = (1..=2500).flat_map(|seq| {
        [post("general", seq, "one of very many messages"), post("other", seq, "one of very many")]
    });
    history.commit(all.collect());
    history.close();
    std::fs::metadata(dir.database()).unwrap().len()
}

#[test]
fn st_11_a_room_keeps_so_many_messages() {
    let dir = Dir::new("retention");
    let options = Options::default().with(|it| it.keep_posts = 100);
    let mut history = History::open_with(&dir.data(), options.clone());
    let size = size_of_all();
    for round in 0..200_u64 {
        let all = (1..=100).flat_map(|i| {
            let seq = round * 100 + i;
            [post("general", seq, "one of very many messages"), post("other", seq, "one of very many")]
        });
        history.commit(all.collect());
        let state = history.room("general", 500);
        assert_eq!(state.oldest, (state.seq + 1).saturating_sub(100).max(1));
        assert_eq!(seqs(&state.recent), (state.oldest..=state.seq).collect::<Vec<_>>());
        assert_eq!(history.page("general", state.oldest, 10), []);
        // Sweeps begin at 4,096 new rows. Commits without a pause would be ahead of them on a loaded machine.
        wait_until("the sweeps keep up", || rows(&dir, "posts") < 4800);
        if round == 60 {
            history.close();
            history = History::open_with(&dir.data(), options.clone());
        }
    }
    history.commit(vec![post("small", 1, "the only one")]);
    wait_until("what is gone is off the disk", || rows(&dir, "posts") < 6000);
    wait_until("and out of the index", || history.search("general", "very", 500).unwrap().len() == 100);
    assert_eq!(seqs(&history.room("small", 5).recent), [1]);
    assert_eq!(rows(&dir, "marks"), rows(&dir, "posts WHERE seq % 64 = 0"));
    history.close();
    let grown = std::fs::metadata(dir.database()).unwrap().len();
    assert!(grown < size * 2, "the file has {grown} bytes, one of what it may hold at once {size}");
    // Without the rule nothing more comes to light than what is there.
    let mut history = History::open(&dir.data());
    let state = history.room("general", 50_000);
    assert_eq!(seqs(&state.recent), (state.oldest..=20_000).collect::<Vec<_>>());
    history.commit(vec![post("general", 20_001, "and it goes on")]);
    history.close();
}

static NOW: AtomicU64 = AtomicU64::new(0);

#[test]
fn st_11_messages_are_kept_for_so_long() {
    let dir = Dir::new("retention-age");
    let now = || NOW.load(Ordering::Relaxed);
    let options = Options::default().with(|it| {
        it.keep_ms = 1_000_000;
        it.settle_ms = 0;
        it.now = now;
    });
    NOW.store(5_000_000, Ordering::Relaxed);
    let mut history = History::open_with(&dir.data(), options.clone());
    let said = |room: &str, seq: u64, time: u64| keyed(room, seq, "then", None, time);
    history.commit((1..=200).map(|seq| said("general", seq, 5_000_000 + seq * 1000)).collect());
    history.commit(vec![said("quiet", 1, 5_000_000), said("quiet", 2, 5_000_001)]);
    history.commit(vec![
        react("quiet", 1, 1, "Bob", "👍", false),
        change(
            "quiet",
            Action::Edit { rev: 2, seq: 2, text: "a secret".into(), data: None, time: 5_000_002 },
        ),
    ]);
    assert_eq!(history.room("general", 500).recent.len(), 200);
    NOW.store(6_100_000, Ordering::Relaxed);
    let state = history.room("general", 500);
    assert_eq!((state.seq, state.oldest, state.recent.len()), (200, 100, 101));
    let state = history.room("quiet", 10);
    assert_eq!((state.seq, state.oldest, state.recent.len()), (2, 3, 0));
    assert_eq!(history.page("quiet", 3, 10), []);
    wait_until("what is gone is off the disk", || rows(&dir, "posts") == 101);
    wait_until("with what hung on it", || rows(&dir, "reactions") == 0);
    // A room whose messages are all gone goes on where it was.
    history.commit(vec![said("quiet", 3, 6_100_000)]);
    assert_eq!(seqs(&history.room("quiet", 10).recent), [3]);
    history.close();
    let mut history = History::open_with(&dir.data(), options);
    assert_eq!(seqs(&history.room("quiet", 10).recent), [3]);
    assert_eq!(history.room("quiet", 10).oldest, 3);
    history.close();
}

#[test]
fn changes_are_kept_for_those_who_resume() {
    let dir = Dir::new("retention-changes");
    let options = Options::default().with(|it| it.keep_changes = 50);
    let mut history = History::open_with(&dir.data(), options);
    history.commit(vec![post("general", 1, "hello")]);
    for round in 0..100 {
        let toggle = |i: u64| react("general", round * 100 + i, 1, "Bob", "👍", i.is_multiple_of(2));
        history.commit((1..=100).map(toggle).collect());
    }
    wait_until("most are off the disk", || rows(&dir, "changes") < 5000);
    let state = history.room("general", 50);
    assert_eq!((state.rev, state.changes.len()), (10_000, 50));
    history.close();
}

#[test]
fn rows_go_while_commits_follow_each_other_without_a_pause() {
    let dir = Dir::new("retention-busy");
    let options = Options::default().with(|it| it.keep_posts = 100);
    let mut history = History::open_with(&dir.data(), options);
    let hundred = |seq: u64| (1..=100).map(|n| post("general", (seq - 1) * 100 + n, "a word")).collect();
    let mut busy = Busy::begin(&mut history, hundred);
    busy.go_on(&mut history, 400);
    let left = rows(&dir, "posts");
    assert!(left < 20_000, "{left} rows of 40,000 are left");
    history.close();
}

#[test]
fn nothing_is_removed_by_a_clock_that_is_wrong_for_a_moment() {
    static WRONG: AtomicU64 = AtomicU64::new(0);
    let dir = Dir::new("retention-leap");
    let now = || 5_000_000 + WRONG.load(Ordering::Relaxed);
    let options = Options::default().with(|it| {
        it.keep_ms = 1_000_000;
        it.now = now;
    });
    let mut history = History::open_with(&dir.data(), options.clone());
    history.commit((1..=200).map(|seq| keyed("general", seq, "then", None, 5_000_000)).collect());
    WRONG.store(315_576_000_000, Ordering::Relaxed);
    // More than one look, and as many steps as commits ask for.
    for seq in 201..=300 {
        history.commit(vec![keyed("general", seq, "then", None, 5_000_000)]);
    }
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(rows(&dir, "posts"), 300);
    history.close();
    // Not at a start with a clock that is wrong either.
    let history = History::open_with(&dir.data(), options);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(rows(&dir, "posts"), 300);
    history.close();
    WRONG.store(0, Ordering::Relaxed);
    let mut history = History::open_with(
        &dir.data(),
        Options::default().with(|it| {
            it.keep_ms = 1_000_000;
            it.now = now;
        }),
    );
    assert_eq!(history.room("general", 500).recent.len(), 300);
    history.close();
}
