//! `switchboard export`, `import` and `backup`, from outside; ST-10 for the copy.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use switchboard::store::{Options, open};

use crate::child::{Keeper, Ledger, faults};
use crate::support::{Dir, History, delete, edit, keyed, post, react, seqs, texts};

fn switchboard(args: &[&str], stdin: &str) -> Output {
    run(&[env!("CARGO_BIN_EXE_switchboard")], args, stdin)
}

fn run(program: &[&str], args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .args(args)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = stdin.to_owned();
    let writer = std::thread::spawn(move || {
        // Who refuses a line does not read the rest.
        let _ = pipe.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn fails(output: &Output, why: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(why), "{said}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn fill(dir: &Dir) -> History {
    let mut history = History::open(&dir.data());
    history.commit((1..=3000).map(|seq| post("general", seq, &format!("message {seq}"))).collect());
    history.commit(vec![
        keyed("other", 1, "with \"quotes\"\nand lines 🙂", Some("k1"), 5),
        edit("general", 1, 3, "edited"),
        delete("general", 2, 4),
        react("general", 3, 5, "Bob", "👍", false),
        react("general", 4, 5, "Ada", "A", false),
        react("general", 5, 5, "Ada", "👍", false),
    ]);
    history
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let dir = Dir::new("export");
    let history = fill(&dir);
    // The directory is in use.
    let lines = succeeds(&switchboard(&["export", "--data", path(&dir.data()), "--all"], ""));
    assert_eq!(lines.lines().count(), 3001);
    let room = succeeds(&switchboard(&["export", "--data", path(&dir.data()), "--room", "general"], ""));
    assert_eq!(room.lines().count(), 3000);
    assert!(lines.starts_with(&room));
    let fifth = room.lines().nth(4).unwrap();
    assert_eq!(
        fifth,
        r#"{"room":"general","seq":5,"time":1000005,"user":"Ada","client":"c17","text":"message 5","reactions":{"👍":["Bob","Ada"],"A":["Ada"]}}"#
    );
    history.close();

    let other = Dir::new("import");
    let import = || switchboard(&["import", "--data", path(&other.data())], &lines);
    assert!(text(&import().stderr).contains("3001 messages imported, 0 were there already"));
    assert!(text(&import().stderr).contains("0 messages imported, 3001 were there already"));
    let again = succeeds(&switchboard(&["export", "--data", path(&other.data()), "--all"], ""));
    assert_eq!(again, lines);
    let mut history = History::open(&other.data());
    let state = history.room("general", 5);
    assert_eq!((state.seq, state.rev, state.oldest), (3000, 3, 1));
    assert_eq!(&*history.page("general", 5, 2)[0].post.text, "edited");
    history.commit(vec![post("general", 3001, "on it goes"), edit("general", 4, 3000, "as ever")]);
    assert_eq!(texts(&history.room("general", 2).recent), ["as ever", "on it goes"]);
    history.close();
}

#[test]
fn an_import_that_was_interrupted_goes_on() {
    let dir = Dir::new("half");
    fill(&dir).close();
    let lines = succeeds(&switchboard(&["export", "--data", path(&dir.data()), "--all"], ""));
    let other = Dir::new("half-import");
    let at: usize = lines.match_indices('\n').nth(1700).unwrap().0;
    let half = format!("{}{{\"room\":", &lines[..=at]);
    let output = switchboard(&["import", "--data", path(&other.data())], &half);
    fails(&output, "line 1702: ");
    let output = switchboard(&["import", "--data", path(&other.data())], &lines);
    assert!(text(&output.stderr).contains("1300 messages imported, 1701 were there already"));
    let mut history = History::open(&other.data());
    assert_eq!(seqs(&history.room("general", 5000).recent), (1..=3000).collect::<Vec<_>>());
    history.close();
}

#[test]
fn a_line_that_cannot_be_taken_is_named() {
    let dir = Dir::new("lines");
    let import = |lines: &str| switchboard(&["import", "--data", path(&dir.data())], lines);
    let good =
        |seq: u64| format!("{{\"room\":\"a\",\"seq\":{seq},\"time\":{seq},\"user\":\"u\",\"text\":\"t\"}}\n");
    for (line, why) in [
        ("what\n", "line 2: expected value, at column 1"),
        ("\n", "line 2: EOF while parsing a value"),
        ("[]\n", "line 2: "),
        ("{\"room\":\"a\"}\n", "line 2: missing field `seq`"),
        ("{\"room\":\"a\",\"seq\":-1}\n", "line 2: invalid value: integer `-1`"),
        (
            "{\"room\":\"a\",\"seq\":2,\"time\":2,\"user\":\"u\",\"text\":7}\n",
            "line 2: invalid type: integer `7`",
        ),
        (
            "{\"room\":\"\",\"seq\":2,\"time\":2,\"user\":\"u\",\"text\":\"t\"}\n",
            "line 2: `room` must have 1 to 256 bytes",
        ),
        (
            "{\"room\":\"a\",\"seq\":0,\"time\":2,\"user\":\"u\",\"text\":\"t\"}\n",
            "line 2: `seq` begins with 1",
        ),
        (
            "{\"room\":\"a\",\"seq\":2,\"time\":0,\"user\":\"u\",\"text\":\"t\"}\n",
            "line 2: message 2 of room \"a\" is older",
        ),
        (
            "{\"room\":\"a\",\"seq\":1,\"time\":1,\"user\":\"w\",\"text\":\"t\"}\n",
            "line 2: room \"a\" has another message 1",
        ),
        (
            "{\"room\":\"a\",\"seq\":9007199254740992,\"time\":1,\"user\":\"w\",\"text\":\"t\"}\n",
            "line 2: numbers must be below 2^53",
        ),
    ] {
        fails(&import(&format!("{}{line}{}", good(1), good(2))), why);
    }
    fails(&import(&format!("{}{}\n", good(1), "x".repeat(5 << 20))), "line 2: longer than 4194304 bytes");
    let history = History::open(&dir.data());
    fails(&import(&good(2)), "in use by another process");
    history.close();
}

#[test]
fn what_is_not_there_is_not_exported() {
    let dir = Dir::new("nothing-to-export");
    let export = |args: &[&str]| switchboard(&[&["export"], args].concat(), "");
    fails(&export(&["--data", path(&dir.data()), "--all"]), "there is no history in");
    assert!(!dir.data().exists(), "asking makes no directory");
    let (client, worker, _) = open(&dir.data(), Options::default()).unwrap();
    fails(&export(&["--data", path(&dir.data()), "--room", "nowhere"]), "there is no room \"nowhere\"");
    assert_eq!(succeeds(&export(&["--data", path(&dir.data()), "--all"])), "");
    drop((client, worker));
    fs::write(dir.database(), "a letter").unwrap();
    fails(&export(&["--data", path(&dir.data()), "--all"]), "is not a history of switchboard");
    fails(
        &switchboard(&["backup", "--data", path(&dir.data()), path(&dir.path().join("b"))], ""),
        "is not a history",
    );
    assert_eq!(export(&["--data", path(&dir.data())]).status.code(), Some(2), "a room or all of them");
}

fn epoch_in(dir: &Path) -> String {
    let conn = rusqlite::Connection::open(dir.join("switchboard.db")).unwrap();
    conn.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_backup_of_a_history_at_work_is_a_data_directory_of_another_epoch() {
    let dir = Dir::new("backup");
    let keeper = Keeper::start(&dir.data(), 1, &[], &[]);
    keeper.wait_for("acked", 500);
    for n in 0..4 {
        let known = keeper.count("acked");
        let to = dir.path().join(format!("copy-{n}"));
        succeeds(&switchboard(&["backup", "--data", path(&dir.data()), path(&to)], ""));
        assert_ne!(epoch_in(&to), epoch_in(&dir.data()), "the copy itself has its own");
        let mut history = History::open(&to);
        Ledger::default().check(&mut history, false);
        let there: u64 = (0..6).map(|room| history.room(&crate::child::name(room), 0).seq).sum();
        assert!(there >= known as u64, "{there} messages, and {known} were acked before");
        history.close();
    }
    let to = dir.path().join("copy-1");
    fails(
        &switchboard(&["backup", "--data", path(&dir.data()), path(&to)], ""),
        "exists already; choose another name",
    );
    let mut ledger = Ledger::default();
    ledger.enter(&keeper.stop());
    ledger.check_dir(&dir.data(), true);

    let epoch = |dir: &Path| {
        let history = History::open(dir);
        let epoch = history.start.epoch.clone();
        history.close();
        epoch
    };
    let mut epochs = vec![epoch(&dir.data()), epoch(&to), epoch(&dir.path().join("copy-2"))];
    assert_eq!(epochs[1], epoch(&to), "it is the copy's own from then on");
    epochs.sort();
    epochs.dedup();
    assert_eq!(epochs.len(), 3);
    assert!(!dir.path().join("copy-1.part").exists());
}

#[test]
fn st_10_a_backup_that_is_killed_is_whole_or_not_there() {
    let dir = Dir::new("backup-kill");
    fill(&dir).close();
    let to = dir.path().join("copy");
    let (mut killed, mut whole) = (0, 0);
    for call in ["openat", "pwrite64", "fsync", "mkdir,rename,renameat,renameat2"] {
        for when in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233] {
            let mut wrapper = faults(&[&format!("{call}:signal=SIGKILL:when={when}")]);
            wrapper.push(env!("CARGO_BIN_EXE_switchboard").into());
            let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
            let output = run(&words, &["backup", "--data", path(&dir.data()), path(&to)], "");
            killed += usize::from(output.status.code().is_none());
            if output.status.code().is_some() {
                succeeds(&output);
                assert!(to.exists());
            }
            if to.exists() {
                whole += 1;
                let mut history = History::open(&to);
                assert_eq!(seqs(&history.room("general", 5000).recent).len(), 3000, "{call} {when}");
                history.close();
                fs::remove_dir_all(&to).unwrap();
            }
        }
    }
    assert!(killed >= 15 && whole >= 5, "{killed} killed, {whole} whole");
    // What an interrupted one left is in nobody's way.
    succeeds(&switchboard(&["backup", "--data", path(&dir.data()), path(&to)], ""));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the data and its copy");
}

#[test]
fn a_backup_onto_a_full_disk_leaves_nothing() {
    let dir = Dir::new("backup-full");
    fill(&dir).close();
    let to = dir.path().join("copy");
    let mut wrapper = faults(&["pwrite64:error=ENOSPC:when=20+1"]);
    wrapper.push(env!("CARGO_BIN_EXE_switchboard").into());
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let output = run(&words, &["backup", "--data", path(&dir.data()), path(&to)], "");
    fails(&output, "disk is full");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the data alone");
}
