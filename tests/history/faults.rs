//! A disk that is full, fails, or is slow: what was acked is there, what was refused is not, and nobody waits for it.

use std::process::Command;

use switchboard::history::{BanChange, Event};

use crate::child::{Keeper, Ledger, as_words, faults};
use crate::support::{Dir, History, ban, edit, keyed, post, seqs};

/// Runs under faults until it has recovered `times` times, then ends in order, and checks everything.
fn fail_and_recover(name: &str, injected: &[&str], times: usize) -> Ledger {
    let dir = Dir::new(name);
    let wrapper = faults(injected);
    let keeper = Keeper::start(&dir.data(), 1, &as_words(&wrapper), &[]);
    keeper.wait_for("recovered", times);
    let acked = keeper.count("acked");
    keeper.wait_for("acked", acked + 50);
    let lines = keeper.stop();
    assert_eq!(lines.iter().filter(|line| *line == "closed").count(), 1, "{lines:?}");
    let mut ledger = Ledger::default();
    ledger.enter(&lines);
    ledger.check_dir(&dir.data(), true);
    assert!(lines.iter().any(|line| line.starts_with("refused")), "nothing was refused");
    ledger
}

#[test]
fn st_05_after_a_failed_fsync_nothing_goes_on_as_if_nothing_had_happened() {
    let mut landed = 0;
    // Once, and several times after each other: then what was written is there when the log is read again.
    for when in ["16", "20", "31", "18..21", "24..29"] {
        landed += fail_and_recover("eio", &[&format!("fsync,fdatasync:error=EIO:when={when}")], 1).landed;
    }
    assert!(landed > 0, "nothing landed: then nothing was found out");
}

#[test]
fn st_05_fsyncs_that_fail_again_and_again() {
    fail_and_recover("eio-often", &["fsync,fdatasync:error=EIO:when=17+13"], 5);
}

#[test]
fn st_01_a_disk_that_is_full_for_a_while() {
    fail_and_recover("enospc", &["pwrite64:error=ENOSPC:when=60..66"], 1);
    fail_and_recover("write-eio", &["pwrite64:error=EIO:when=100+150"], 3);
}

#[test]
fn st_01_files_that_may_not_grow() {
    let dir = Dir::new("fsize");
    // Files of up to 1 MiB; growing beyond it fails as on a full disk. The signal that tells of it is ignored.
    let wrapper = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 2048; exec \"$@\"", "sh"];
    let keeper = Keeper::start(&dir.data(), 1, &wrapper, &[]);
    keeper.wait_for("failed", 1);
    // The history can be read meanwhile. (The log may be full and give way once; the database grows no more.)
    keeper.wait_for("read", 40);
    let (acked, recovered) = (keeper.count("acked"), keeper.count("recovered"));
    assert!(acked > 0);
    let id = keeper.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &id, "--fsize=unlimited"]).status().unwrap().success());
    keeper.wait_for("recovered", recovered + 1);
    keeper.wait_for("acked", acked + 100);
    let lines = keeper.stop();
    let mut ledger = Ledger::default();
    ledger.enter(&lines);
    ledger.check_dir(&dir.data(), true);
}

#[test]
fn st_01_killed_while_the_disk_is_full() {
    let dir = Dir::new("fsize-kill");
    let wrapper = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 1024; exec \"$@\"", "sh"];
    let keeper = Keeper::start(&dir.data(), 1, &wrapper, &[]);
    keeper.wait_for("failed", 1);
    let mut ledger = Ledger::default();
    ledger.enter(&keeper.kill());
    ledger.check_dir(&dir.data(), false);
}

/// A lock that another process holds for too long is a commit that fails.
fn fail_next(
    history: &mut History,
    dir: &Dir,
    changes: Vec<switchboard::history::Change>,
    bans: Vec<BanChange>,
) -> u64 {
    let blocker = rusqlite::Connection::open(dir.database()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ticket = history.hand_over(changes, bans);
    match history.event() {
        Event::Failed { ticket: failed, reason, .. } => {
            assert_eq!(failed, ticket);
            assert!(reason.to_string().contains("locked"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    history.term += 1;
    ticket
}

#[track_caller]
fn recovered(history: &History) -> Vec<switchboard::history::Change> {
    loop {
        match history.event() {
            Event::Recovered { landed } => return landed.iter().map(|change| (**change).clone()).collect(),
            Event::Failed { .. } | Event::Settled { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_handed_over_before_the_failure_is_known_is_refused_without_a_word() {
    let dir = Dir::new("terms");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "one")]);
    history.commit_bans(vec![BanChange::Set(ban("eve", "as it was"))]);
    let bans = vec![BanChange::Set(ban("eve", "refused")), BanChange::Set(ban("mallory", "refused"))];
    fail_next(&mut history, &dir, vec![post("general", 2, "refused")], bans);
    // The loop did not know yet: an earlier term.
    history.term -= 1;
    history.hand_over(vec![post("general", 3, "refused too")], Vec::new());
    history.term += 1;
    assert_eq!(recovered(&history), []);
    history.commit(vec![post("general", 2, "two"), edit("general", 1, 1, "first")]);
    assert_eq!(seqs(&history.room("general", 9).recent), [1, 2]);
    history.close();
    let mut history = History::open(&dir.data());
    assert_eq!(history.start.bans, [ban("eve", "as it was")]);
    let state = history.room("general", 9);
    assert_eq!((state.seq, state.rev), (2, 1));
    assert_eq!(&*state.recent[0].post.text, "first");
    history.close();
}

#[test]
fn the_numbers_and_keys_of_what_was_refused_are_used_again() {
    let dir = Dir::new("numbers");
    let mut history = History::open(&dir.data());
    let posted = |room, seq, key| keyed(room, seq, "said", Some(key), 1_000_000 + seq);
    history.commit(vec![posted("general", 1, "a")]);
    let refused = vec![posted("general", 2, "b"), posted("other", 1, "b"), edit("general", 1, 1, "new")];
    fail_next(&mut history, &dir, refused.clone(), Vec::new());
    assert_eq!(recovered(&history), []);
    assert_eq!(history.room("other", 9).seq, 0);
    history.commit(refused);
    assert_eq!(seqs(&history.room("general", 9).recent), [1, 2]);
    history.close();
}

/// What a failed commit left in the log is known only when all of it is in the database: until then nothing is committed.
#[test]
fn commits_go_on_only_when_the_whole_log_is_in_the_database() {
    let dir = Dir::new("whole-log");
    let mut history = History::open(&dir.data());
    history.commit((1..=50).map(|seq| post("general", seq, "one")).collect());
    // Who reads an older state keeps the log from being brought in.
    let reader = rusqlite::Connection::open(dir.database()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let seen: i64 = reader.query_row("SELECT count(*) FROM posts", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 50);
    history.commit(vec![post("general", 51, "two")]);
    fail_next(&mut history, &dir, vec![post("general", 52, "refused")], Vec::new());
    // As long as it reads every commit is refused, however often one asks.
    for _ in 0..2 {
        let ticket = history.hand_over(vec![post("general", 52, "refused too")], Vec::new());
        match history.event() {
            Event::Failed { ticket: failed, reason, .. } => {
                assert_eq!(failed, ticket);
                assert!(reason.to_string().contains("another process is reading"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        history.term += 1;
    }
    drop(reader);
    assert_eq!(recovered(&history), []);
    assert_eq!(
        std::fs::metadata(dir.log()).map_or(0, |log| log.len()),
        0,
        "the whole log is in the database"
    );
    history.commit(vec![post("general", 52, "three")]);
    history.close();
}

/// ST-09: every fsync takes half a second. Whoever hands over never waits, and questions are answered before the commit
/// that was handed over before them.
#[test]
fn st_09_a_slow_disk_holds_up_nobody() {
    let dir = Dir::new("slow");
    let wrapper = faults(&["fsync,fdatasync:delay_exit=500000"]);
    let lines =
        Keeper::start(&dir.data(), 1, &as_words(&wrapper), &[("STORE_SLOW", "1")]).stop_when("slow done");
    let order: Vec<&str> = lines.iter().map(String::as_str).filter(|line| line.starts_with("slow")).collect();
    let first = ["slow handed over", "slow page", "slow opened", "slow committed", "slow done"];
    assert_eq!(order, first, "{lines:?}");
}

#[test]
fn a_failure_that_lasts_refuses_what_comes_with_a_word_and_keeps_nothing_of_it() {
    let dir = Dir::new("lasting");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "one")]);
    let blocker = rusqlite::Connection::open(dir.database()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..2 {
        let ticket = history.hand_over(vec![post("general", 2, "refused")], Vec::new());
        let Event::Failed { ticket: failed, .. } = history.event() else { panic!("it fails") };
        assert_eq!(failed, ticket);
        history.term += 1;
        // What is committed can be read all the while, and no more than that.
        assert_eq!(history.room("general", 9).seq, 1);
        assert_eq!(seqs(&history.page("general", 9, 9)), [1]);
    }
    drop(blocker);
    assert_eq!(recovered(&history), []);
    history.commit(vec![post("general", 2, "two")]);
    history.close();
}
