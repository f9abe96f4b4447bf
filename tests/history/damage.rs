//! Files that are torn, damaged, foreign, too new, or in use: refused with a word of what to do, or read as far as they are
//! true. Never a panic, never a text that nobody wrote.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use switchboard::history::sqlite::{OpenError, Options};

use crate::child::{Keeper, Ledger, as_words, faults};
use crate::support::{Dice, Dir, History, delete, edit, post, react, seqs, texts};

/// A history whose process was killed: the log beside the database holds commits.
fn killed(name: &str) -> (Dir, Ledger) {
    let dir = Dir::new(name);
    let keeper = Keeper::start(&dir.data(), 3, &[], &[]);
    keeper.wait_for("acked", 300);
    let mut ledger = Ledger::default();
    ledger.enter(&keeper.kill());
    (dir, ledger)
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for name in ["switchboard.db", "switchboard.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn st_03_a_log_that_ends_anywhere_gives_whole_commits() {
    let (dir, _) = killed("torn");
    let whole = fs::metadata(dir.log()).unwrap().len();
    assert!(whole > 64 * 1024, "{whole} bytes of log");
    // Four at a time: opening waits for threads more than it computes.
    let opened: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..4_u64)
            .map(|part| {
                let source = dir.data();
                scope.spawn(move || {
                    let fast = Dir::in_memory(&format!("torn-{part}"));
                    let torn = fast.path().join("torn");
                    let cuts = part * 1024..(part + 1) * 1024 + u64::from(part == 3);
                    cuts.map(|cut| seqs_with_a_log_of(&source, &torn, whole - cut, cut % 64 == 0)).collect()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| -> Vec<Vec<u64>> { part.join().unwrap() }).collect()
    });
    assert_eq!(opened.len(), 4097);
    for pair in opened.windows(2) {
        assert!(pair[1].iter().zip(&pair[0]).all(|(now, before)| now <= before), "a shorter log knows more");
    }
    let states: std::collections::BTreeSet<_> = opened.into_iter().collect();
    assert!(states.len() >= 2, "the cuts never met the last commit");
}

/// The newest numbers of all rooms in a copy of the history whose log has `len` octets.
fn seqs_with_a_log_of(source: &Path, torn: &Path, len: u64, is_checked: bool) -> Vec<u64> {
    copy(source, torn);
    let log = fs::File::options().write(true).open(torn.join("switchboard.db-wal")).unwrap();
    log.set_len(len).unwrap();
    let mut history = History::open(torn);
    let seqs = (0..6).map(|room| history.room(&crate::child::name(room), 0).seq).collect();
    if is_checked {
        Ledger::default().check(&mut history, false);
    }
    history.close();
    seqs
}

#[test]
fn st_04_no_flipped_bit_gives_a_text_that_nobody_wrote() {
    let dir = Dir::new("flips");
    let mut history = History::open(&dir.data());
    let mut texts = std::collections::HashSet::new();
    for seq in 1..=400_u64 {
        let text =
            format!("message {seq} of many, and some more of it: {}", "text ".repeat(seq as usize % 40));
        texts.insert(text.clone());
        history.commit(vec![post("general", seq, &text), post("other", seq, &text)]);
    }
    texts.insert(String::new());
    texts.insert("edited".into());
    history.commit(vec![
        edit("general", 1, 7, "edited"),
        delete("general", 2, 9),
        react("other", 1, 3, "Bob", "👍", false),
    ]);
    history.close();
    let sound = fs::read(dir.database()).unwrap();
    let mut dice = Dice::new(11);
    let (mut refused, mut passed_over) = (0, 0);
    let fast = Dir::in_memory("flips");
    let copy = fast.path().join("flipped");
    for _ in 0..1000 {
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir(&copy).unwrap();
        let mut bytes = sound.clone();
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
        fs::write(copy.join("switchboard.db"), &bytes).unwrap();
        let mut history = match History::try_open(&copy, Options::default()) {
            Ok(history) => history,
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains("switchboard.db") && said.len() > 40, "{said}");
                refused += 1;
                continue;
            }
        };
        for room in ["general", "other"] {
            let state = match history.ask_for(switchboard::history::Query::Open {
                room: room.into(),
                recent: 1000,
                changes: 10,
            }) {
                switchboard::history::Event::Opened { state: Ok(state), .. } => state,
                switchboard::history::Event::Opened { state: Err(_), .. } => continue,
                other => panic!("{other:?}"),
            };
            assert_eq!(state.seq, 400, "bit of byte {at}: numbers would be given twice");
            passed_over += usize::from(state.recent.len() < 400);
            for record in &state.recent {
                assert!(texts.contains(&*record.post.text), "byte {at}: {:?}", record.post.text);
                assert_eq!((&*record.post.user, &*record.post.client), ("Ada", "c17"), "byte {at}");
            }
        }
        let found = history.search("general", "many", 1000).unwrap_or_default();
        assert!(found.iter().all(|record| texts.contains(&*record.post.text)), "byte {at}");
        history.close();
    }
    assert!(refused > 10 && passed_over > 10, "{refused} refused, {passed_over} with a message passed over");
}

#[test]
fn a_damaged_message_costs_no_other() {
    let dir = Dir::new("one");
    let mut history = History::open(&dir.data());
    history.commit((1..=200).map(|seq| post("general", seq, &format!("number {seq}."))).collect());
    history.close();
    let damage = |from: &str, to: &str| {
        let file = fs::File::options().read(true).write(true).open(dir.database()).unwrap();
        let mut bytes = fs::read(dir.database()).unwrap();
        let at = bytes.windows(from.len()).position(|found| found == from.as_bytes()).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        file.write_all_at(&bytes, 0).unwrap();
    };
    damage("number 150.", "nuMber 150.");
    damage("number 200.", "nuMber 200.");
    let mut history = History::open(&dir.data());
    let state = history.room("general", 1000);
    assert_eq!(state.seq, 200);
    assert_eq!(seqs(&state.recent), (1..200).filter(|seq| *seq != 150).collect::<Vec<_>>());
    assert_eq!(seqs(&history.page("general", 152, 3)), [148, 149, 151]);
    history.commit(vec![post("general", 201, "and on")]);
    assert_eq!(texts(&history.room("general", 2).recent), ["number 199.", "and on"]);
    history.close();
}

/// Half of the newer messages are gone without a trace: whoever walked through them would not come through.
#[test]
fn a_page_is_found_without_a_walk_through_all_that_is_newer() {
    let dir = Dir::new("marks");
    let mut history = History::open(&dir.data());
    for n in 0..100 {
        history.commit((1..=100).map(|i| post("general", n * 100 + i, "one of many")).collect());
    }
    history.close();
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.execute("DELETE FROM posts WHERE seq > 5000 AND seq < 10000", []).unwrap();
    drop(conn);
    let mut history = History::open(&dir.data());
    assert_eq!(seqs(&history.page("general", 4000, 5)), [3995, 3996, 3997, 3998, 3999]);
    assert_eq!(seqs(&history.page("general", 4992, 2)), [4990, 4991]);
    history.commit(vec![edit("general", 1, 1234, "found")]);
    assert_eq!(texts(&history.page("general", 1235, 1)), ["found"]);
    assert_eq!(seqs(&history.room("general", 3).recent), [4991, 4992, 10000], "and around them as well");
    history.close();
}

#[track_caller]
fn refusal(dir: &Path) -> String {
    let error = History::try_open(dir, Options::default()).expect_err("it cannot be used");
    error.to_string()
}

#[test]
fn st_06_a_place_that_cannot_be_used_is_named_with_what_to_do() {
    let dir = Dir::new("places");
    let said = refusal(&dir.path().join("missing/data"));
    assert!(said.contains("missing/data") && said.contains("parent directory must exist"), "{said}");
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let said = refusal(&file);
    assert!(said.contains("must be a directory"), "{said}");
    let said = refusal(&file.join("data"));
    assert!(said.contains("must be a directory"), "{said}");
    let said = refusal(Path::new("/proc/switchboard"));
    assert!(said.contains("/proc/switchboard"), "{said}");
}

/// Who runs as root may write everywhere: the errors of those who may not come from strace.
#[test]
fn st_06_no_permission_and_a_read_only_disk_at_the_start() {
    let dir = Dir::new("readonly");
    fs::create_dir(dir.data()).unwrap();
    fs::set_permissions(dir.data(), fs::Permissions::from_mode(0o700)).unwrap();
    for (path, error, advice) in [
        ("lock", "EACCES", "must be allowed to write"),
        ("lock", "EROFS", "read-only"),
        ("switchboard.db", "EACCES", "must be allowed to write"),
        ("switchboard.db", "EROFS", "read-only"),
    ] {
        let mut wrapper = faults(&[&format!("openat:error={error}")]);
        wrapper.push("-P".into());
        wrapper.push(dir.data().join(path).to_string_lossy().into_owned());
        let lines = Keeper::start(&dir.data(), 1, &as_words(&wrapper), &[]).stop();
        let said = lines.iter().find(|line| line.starts_with("unusable"));
        assert!(said.is_some_and(|said| said.contains(advice)), "{path} {error}: {lines:?}");
    }
}

#[test]
fn st_07_foreign_new_and_huge_files_are_left_alone() {
    let dir = Dir::new("foreign");
    fs::create_dir(dir.data()).unwrap();
    let check = |what: &str| {
        let before = fs::metadata(dir.database()).unwrap();
        let head = fs::read(dir.database()).map(|bytes| bytes[..bytes.len().min(4096)].to_vec());
        let error = History::try_open(&dir.data(), Options::default()).expect_err(what);
        assert_eq!(fs::metadata(dir.database()).unwrap().len(), before.len(), "{what}");
        if before.len() < 1 << 20 {
            assert_eq!(
                head.unwrap(),
                fs::read(dir.database()).unwrap()[..before.len().min(4096) as usize],
                "{what}"
            );
        }
        error
    };
    fs::write(dir.database(), "this is a letter to somebody, and no database at all").unwrap();
    assert!(matches!(check("a letter"), OpenError::Foreign { .. }));
    fs::write(dir.database(), vec![0x5A; 100_000]).unwrap();
    assert!(matches!(check("noise"), OpenError::Foreign { .. }));
    fs::remove_file(dir.database()).unwrap();
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.execute_batch("CREATE TABLE recipes(name); INSERT INTO recipes VALUES('cake')").unwrap();
    drop(conn);
    assert!(matches!(check("a cookbook"), OpenError::Foreign { .. }));
    fs::remove_file(dir.database()).unwrap();

    let history = History::open(&dir.data());
    history.close();
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.execute_batch("PRAGMA user_version = 6").unwrap();
    drop(conn);
    let error = History::try_open(&dir.data(), Options::default()).expect_err("a newer format");
    assert!(matches!(error, OpenError::Newer { found: 6, .. }), "{error}");
    assert!(error.to_string().contains("use a newer version"), "{error}");
    fs::remove_file(dir.database()).unwrap();

    // Ten GiB of nothing.
    fs::File::create(dir.database()).unwrap().set_len(10 << 30).unwrap();
    let error = History::try_open(&dir.data(), Options::default()).expect_err("a huge file");
    assert!(matches!(error, OpenError::Foreign { .. } | OpenError::Damaged { .. }), "{error}");
}

#[test]
fn st_08_a_directory_serves_one_process() {
    let dir = Dir::new("locked");
    let keeper = Keeper::start(&dir.data(), 1, &[], &[]);
    keeper.wait_for("acked", 1);
    let error = History::try_open(&dir.data(), Options::default()).expect_err("the other one has it");
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("in use by another process; stop that one"), "{error}");
    drop(keeper);
    crate::support::wait_until("the lock goes with the process", || {
        History::try_open(&dir.data(), Options::default()).map(History::close).is_ok()
    });
}
