//! What was deleted or edited away is in no file of the directory any more once the maintenance has run.

use std::fs;
use std::path::Path;

use switchboard::history::Change;
use switchboard::history::sqlite::Options;

use crate::child::Keeper;
use crate::support::{Dir, History, SOON, ban, delete, edit, post, seqs, wait_until};

/// The files of a directory in which any six octets of the word stand: parts of a word are left where terms are stored as
/// the difference to the one before.
pub(crate) fn files_with(dir: &Path, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let octets = fs::read(&path).unwrap_or_default();
        let lower = octets.to_ascii_lowercase();
        let parts: Vec<&[u8]> = word.as_bytes().windows(6.min(word.len())).collect();
        if lower.windows(6.min(word.len())).any(|window| parts.contains(&window)) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

#[track_caller]
fn wait_until_gone(dir: &Dir, words: &[&str]) {
    for word in words {
        let deadline = std::time::Instant::now() + SOON;
        while std::time::Instant::now() < deadline && !files_with(&dir.data(), word).is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(files_with(&dir.data(), word), [""; 0], "{word}");
    }
}

/// Posts with a word each that stands nowhere else, among others.
fn fill(history: &mut History) {
    history.commit((1..=300).map(|seq| post("general", seq, &format!("something ordinary {seq}"))).collect());
    history.commit(vec![
        post("general", 301, "the qzvkwxjfpq word"),
        post("general", 302, "the jqxzvwkbfq word"),
        post("general", 303, &format!("{} zkqjxvwpfz {}", "x".repeat(9000), "y".repeat(9000))),
        post("general", 304, "the vjzqkwxfpb word"),
    ]);
    history.commit(vec![
        edit("general", 1, 302, "then xwqzjkvpzf"),
        edit("general", 2, 301, "first wvxjqzkfpx"),
    ]);
    history.commit(vec![edit("general", 3, 302, "at last the pumpernickel")]);
    history
        .commit((305..=600).map(|seq| post("general", seq, &format!("something ordinary {seq}"))).collect());
    wait_until("the words are found", || !history.search("general", "ordinary", 9).unwrap().is_empty());
    history.commit(vec![delete("general", 4, 301), delete("general", 5, 303)]);
}

const GONE: &[&str] = &["qzvkwxjfpq", "jqxzvwkbfq", "xwqzjkvpzf", "wvxjqzkfpx", "zkqjxvwpfz"];

#[test]
fn rt_01_deleted_and_edited_words_are_gone_while_the_server_runs() {
    let dir = Dir::new("erasing");
    let mut history = History::open(&dir.data());
    fill(&mut history);
    wait_until_gone(&dir, GONE);
    assert!(!files_with(&dir.data(), "pumpernickel").is_empty(), "what is said stays");
    assert!(files_with(&dir.data(), "vjzqkwxfpb").len() >= 2, "in the history and in the index");
    assert_eq!(seqs(&history.search("general", "pumpernickel", 9).unwrap()), [302]);
    assert_eq!(history.search("general", "ordinary", 50).unwrap().len(), 50);
    // Again, with posts and searches in between.
    for round in 0..3 {
        let seq = 601 + round;
        let word = format!("kzwvqx{round}fqpz");
        history.commit(vec![post("general", seq, &word)]);
        wait_until("it is found", || seqs(&history.search("general", &word, 9).unwrap()) == [seq]);
        history.commit(vec![delete("general", 6 + round, seq)]);
        wait_until_gone(&dir, &[&word]);
    }
    history.close();
}

#[test]
fn deleted_words_are_gone_after_a_stop_and_a_start() {
    let dir = Dir::new("erasing-stop");
    let mut history = History::open(&dir.data());
    fill(&mut history);
    // At once: no maintenance had time to run.
    history.close();
    for word in GONE {
        assert_eq!(files_with(&dir.data(), word), [""; 0], "{word}");
    }
    let mut history = History::open(&dir.data());
    assert_eq!(seqs(&history.search("general", "pumpernickel", 9).unwrap()), [302]);
    history.close();
}

#[test]
fn what_retention_removes_is_gone_as_well() {
    let dir = Dir::new("erasing-retention");
    let options = Options::default().with(|it| it.keep_posts = 100);
    let mut history = History::open_with(&dir.data(), options);
    fill(&mut history);
    let mut seq = 601;
    wait_until("a sweep has come by", || {
        // Sweeps begin at 4,096 new rows.
        if seq < 10_000 {
            history.commit((seq..seq + 500).map(|seq| post("general", seq, "of no interest")).collect());
            seq += 500;
        }
        files_with(&dir.data(), "vjzqkwxfpb").is_empty() && files_with(&dir.data(), "pumpernickel").is_empty()
    });
    history.close();
}

#[test]
fn reasons_of_bans_that_were_lifted_are_gone() {
    use switchboard::history::BanChange;
    let dir = Dir::new("erasing-bans");
    let mut history = History::open(&dir.data());
    history.commit_bans(vec![BanChange::Set(ban("eve", "for qwzxvjkfpb"))]);
    history.commit_bans(vec![BanChange::Lift("eve".into())]);
    wait_until_gone(&dir, &["qwzxvjkfpb"]);
    history.close();
}

#[test]
fn who_resumes_gets_the_newest_text_of_a_message_that_was_edited_twice() {
    let dir = Dir::new("erasing-resume");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 1, "one"), post("general", 2, "two")]);
    history.commit(vec![
        edit("general", 1, 1, "one a"),
        edit("general", 2, 2, "two a"),
        edit("general", 3, 1, "one b"),
    ]);
    history.commit(vec![delete("general", 4, 2)]);
    let changes = history.room("general", 9).changes;
    let texts: Vec<Option<&str>> = changes
        .iter()
        .map(|change| match change {
            switchboard::history::Action::Edit { text, .. } => Some(&**text),
            _ => None,
        })
        .collect();
    assert_eq!(texts, [Some("one b"), Some(""), Some("one b"), None]);
    history.close();
}

/// Edits, deletions and posts in random order: what will be committed, the words that are gone then, and those that stay.
pub(crate) fn churn() -> (Vec<Change>, Vec<String>, Vec<String>) {
    let mut dice = crate::support::Dice::new(11);
    let (mut changes, mut gone) = (Vec::new(), Vec::new());
    let (mut seq, mut rev) = (0, 0);
    let mut said: Vec<(u64, String)> = Vec::new();
    let word = |n: u64| format!("{}w{n:05}zq", ["kxv", "qjw", "zvx", "wqk"][n as usize % 4]);
    for n in 0..1500 {
        let text = |dice: &mut crate::support::Dice| format!("{} {}", word(n), "-".repeat(dice.below(900)));
        if said.is_empty() || dice.below(3) == 0 {
            seq += 1;
            said.push((seq, word(n)));
            let text = text(&mut dice);
            changes.push(post("general", seq, &text));
            continue;
        }
        let at = dice.below(said.len());
        rev += 1;
        let (of, old) = said[at].clone();
        gone.push(old);
        if dice.below(2) == 0 {
            let text = text(&mut dice);
            changes.push(edit("general", rev, of, &text));
            said[at].1 = word(n);
        } else {
            changes.push(delete("general", rev, of));
            said.swap_remove(at);
        }
    }
    (changes, gone, said.into_iter().map(|(_, word)| word).collect())
}

/// Which of these words stand in any file of a directory.
fn left_of(dir: &Path, words: &[String]) -> Vec<String> {
    let mut octets = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        octets.extend(fs::read(file.unwrap().path()).unwrap_or_default());
    }
    // Every word ends with its number: `w00017zq`.
    let ends = octets.windows(8).filter(|end| end[0] == b'w' && end.ends_with(b"zq"));
    let found: std::collections::HashSet<&[u8]> = ends.collect();
    words.iter().filter(|word| found.contains(&word.as_bytes()[3..])).cloned().collect()
}

#[test]
fn no_page_keeps_what_once_stood_on_it() {
    let dir = Dir::new("erasing-random");
    let mut history = History::open(&dir.data());
    let (changes, gone, said) = churn();
    for change in changes {
        history.commit(vec![change]);
    }
    history.close();
    let left = left_of(&dir.data(), &gone);
    assert!(left.is_empty(), "{} of {} are left: {left:?}", left.len(), gone.len());
    assert_eq!(left_of(&dir.data(), &said), said, "what is said stays");
}

#[test]
fn what_a_killed_process_did_not_come_to_erase_is_erased_by_the_next() {
    let dir = Dir::new("erasing-killed");
    let (_, gone, said) = churn();
    let keeper = Keeper::start(&dir.data(), 0, &[], &[("STORE_CHURN", "1")]);
    keeper.wait_for("churned", 1);
    keeper.kill();
    assert!(!left_of(&dir.data(), &gone).is_empty(), "it was killed before it had erased anything");
    // What is in the log comes into the file, and the log is gone, as after a start that is killed again. Now the words stand in
    // the gaps of the file alone, and nothing is deleted any more that would ask for it to be rewritten.
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(conn);
    assert!(!left_of(&dir.data(), &gone).is_empty());
    let history = History::open(&dir.data());
    wait_until("it is erased", || left_of(&dir.data(), &gone).is_empty());
    assert_eq!(left_of(&dir.data(), &said), said, "what is said stays");
    history.close();
}
