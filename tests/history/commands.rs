//! `switchboard export`, `import` and `backup`, from outside; ST-10 for the copy.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use switchboard::history::sqlite::{Options, open};

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
fn what_messages_carry_is_exported_and_imported_as_it_was_written() {
    let dir = Dir::new("import-carried");
    let lines = [
        r#"{"room":"a","seq":1,"time":1,"user":"u","client":"c","text":"t","data":{"n":0.10}}"#,
        r#"{"room":"a","seq":2,"time":1,"user":"u","client":"c","text":"t","reply_to":1}"#,
        "",
    ];
    let lines = lines.join("\n");
    succeeds(&switchboard(&["import", "--data", path(&dir.data())], &lines));
    assert_eq!(succeeds(&switchboard(&["export", "--data", path(&dir.data()), "--all"], "")), lines);
    let deleted = r#"{"room":"b","seq":1,"time":1,"user":"u","text":"","deleted":true,"data":1}"#;
    let why = "line 1: the `text` of a deleted message must be empty, and it has no `data`";
    fails(&switchboard(&["import", "--data", path(&dir.data())], &format!("{deleted}\n")), why);
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
        ("{\"room\":\"\",\"seq\":2,\"time\":2,\"user\":\"u\",\"text\":\"t\"}\n", "line 2: `room` is empty"),
        (
            "{\"room\":\"a\",\"seq\":0,\"time\":2,\"user\":\"u\",\"text\":\"t\"}\n",
            "line 2: `seq` begins with 1",
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
fn an_import_takes_names_as_the_chat_has_them() {
    let dir = Dir::new("import-names");
    let import = |lines: &str| switchboard(&["import", "--data", path(&dir.data())], lines);
    let line = |room: &str, user: &str, more: &str| {
        let (room, user) = (room.escape_default(), user.escape_default());
        format!("{{\"room\":\"{room}\",\"seq\":1,\"time\":1,\"user\":\"{user}\",\"text\":\"t\"{more}}}\n")
    };
    for (room, user, more, why) in [
        ("A Room", "u", "", "line 2: `room` has a space"),
        ("@ada", "u", "", "line 2: `room` begins with @"),
        ("@ada\\n", "u", "", "line 2: `room` is empty"),
        ("a", "@u", "", "line 2: `user` begins with @"),
        ("a", "u ", "", "line 2: `user` ends with a space"),
        ("a", "u\t", "", "line 2: `user` has a control character"),
        ("a", "u", ",\"reactions\":{\"x\":[\"v\",\"\"]}", "line 2: `user` is empty"),
    ] {
        let room = room.replace("\\n", "\n");
        let lines = format!("{}{}", line("first", "u", ""), line(&room, user, more));
        fails(&import(&lines), why);
    }
    let long = "x".repeat(65);
    fails(&import(&line(&long, "u", "")), "line 1: `room` is longer than");
    fails(&import(&line("a", &long, "")), "line 1: `user` is longer than");
    let lines =
        [line("General", "Ada", ""), line("@Bob\nADA", "Bob", ""), line("@bob\nada", "Bob", "")].concat();
    let output = import(&lines);
    assert!(
        text(&output.stderr).contains("2 messages imported, 1 were there already"),
        "{}",
        text(&output.stderr)
    );
    let mut history = History::open(&dir.data());
    for room in ["general", "@ada\nbob"] {
        assert_eq!(seqs(&history.room(room, 5).recent), [1], "{room:?}");
    }
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
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "the data and its copies");
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
    // What an interrupted one left is in nobody's way, and says whose it is.
    succeeds(&switchboard(&["backup", "--data", path(&dir.data()), path(&to)], ""));
    for file in fs::read_dir(dir.path()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let is_left = name.starts_with(".copy.") && name.rsplit('.').next() == Some("part");
        assert!(is_left || name == "data" || name == "copy", "{name}");
    }
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

#[test]
fn op_01_a_backup_touches_nothing_that_it_did_not_make() {
    let dir = Dir::new("backup-names");
    fill(&dir).close();
    let base = dir.path();
    let whole = |data: &Path| {
        let mut history = History::open(data);
        assert_eq!(history.room("general", 1).seq, 3000);
        history.close();
    };
    // A source that is called as an unfinished copy might be.
    let part = base.join("chat.part");
    fs::rename(dir.data(), &part).unwrap();
    let link = base.join("link");
    std::os::unix::fs::symlink(&part, &link).unwrap();
    let foreign = base.join("other.part");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("switchboard.db"), "somebody's").unwrap();
    succeeds(&switchboard(&["backup", "--data", path(&part), path(&base.join("chat"))], ""));
    succeeds(&switchboard(&["backup", "--data", path(&link), path(&base.join("other"))], ""));
    succeeds(&switchboard(&["backup", "--data", path(&part), path(&part.join("within"))], ""));
    for data in [&part, &base.join("chat"), &base.join("other"), &part.join("within")] {
        whole(data);
    }
    assert_eq!(fs::read(foreign.join("switchboard.db")).unwrap(), b"somebody's");
    // Whatever has the name already stays what it is.
    let (file, empty) = (base.join("file"), base.join("empty"));
    fs::write(&file, "somebody's").unwrap();
    fs::create_dir(&empty).unwrap();
    let (dangling, twin) = (base.join("dangling"), base.join("twin"));
    std::os::unix::fs::symlink(base.join("nowhere"), &dangling).unwrap();
    fs::hard_link(part.join("switchboard.db"), &twin).unwrap();
    for to in [&file, &empty, &link, &dangling, &twin, &part, &part.join("switchboard.db"), &base.join("..")]
    {
        fails(&switchboard(&["backup", "--data", path(&part), path(to)], ""), "cannot write");
    }
    whole(&part);
    assert_eq!(fs::read(&file).unwrap(), b"somebody's");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    assert!(!base.join("nowhere").exists());
    assert!(
        fs::read_dir(base).unwrap().all(|file| !file.unwrap().file_name().to_string_lossy().starts_with('.'))
    );
}

#[test]
fn op_01_an_export_does_not_write_into_its_own_history() {
    let dir = Dir::new("export-into");
    fill(&dir).close();
    let before = fs::read(dir.database()).unwrap();
    let into = fs::OpenOptions::new().append(true).open(dir.database()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["export", "--all", "--data", path(&dir.data())])
        .stdout(into)
        .output()
        .unwrap();
    fails(&output, "the output is a file of the data directory");
    assert!(fs::read(dir.database()).unwrap() == before);
}

/// A process that was started and goes with the value.
struct Started(std::process::Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_export_that_sleeps_holds_up_neither_the_log_nor_erasing() {
    let dir = Dir::new("export-sleeps");
    let mut history = fill(&dir);
    // Nobody reads what it writes: it waits for ever with its pipe full.
    let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["export", "--all", "--data", path(&dir.data())])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Started(child);
    let mut first = [0; 1];
    std::io::Read::read_exact(child.0.stdout.as_mut().unwrap(), &mut first).unwrap();
    let text = "x".repeat(4000);
    let mut commit = |n: u64| {
        let before = fs::metadata(dir.log()).unwrap().len();
        history.commit((1..=100).map(|i| post("other", 1 + n * 100 + i, &text)).collect());
        fs::metadata(dir.log()).unwrap().len() == before
    };
    // A commit that does not make the log longer has begun it again: nobody holds up what was in it.
    let is_begun_again = (0..300).any(&mut commit);
    assert!(is_begun_again, "the log grows with every one of 300 commits");
    assert!(child.0.try_wait().unwrap().is_none(), "it still waits");
    // What it gives is what was there when it began.
    let mut rest = String::from_utf8(first.to_vec()).unwrap();
    std::io::Read::read_to_string(child.0.stdout.as_mut().unwrap(), &mut rest).unwrap();
    assert_eq!(rest.lines().count(), 3001);
    history.close();
}

#[test]
fn a_backup_amid_changes_is_one_state_of_the_history() {
    let dir = Dir::new("backup-amid");
    let mut history = History::open(&dir.data());
    let text = "y".repeat(2000);
    for n in 0..40 {
        history.commit((1..=500).map(|i| post("general", n * 500 + i, &text)).collect());
    }
    let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["backup", "--data", path(&dir.data()), path(&dir.path().join("copy"))])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Started(child);
    // Each commit changes an old message and adds a new one: in the copy there are as many of one as of the other.
    let mut rev = 0;
    while child.0.try_wait().unwrap().is_none() {
        rev += 1;
        let of = 1 + (rev * 37) % 20_000;
        history.commit(vec![
            react("general", rev, of, "Bob", &format!("e{rev}"), false),
            post("general", 20_000 + rev, "new"),
        ]);
    }
    assert!(child.0.wait().unwrap().success());
    history.close();
    let mut copy = History::open(&dir.path().join("copy"));
    let state = copy.room("general", 100_000);
    let reactions: usize = state.recent.iter().map(|record| record.reactions.len()).sum();
    assert_eq!((state.seq - 20_000, state.rev), (reactions as u64, reactions as u64));
    assert_eq!(seqs(&state.recent), (1..=state.seq).collect::<Vec<_>>());
    assert!(reactions > 0 && reactions as u64 <= rev, "{reactions} of {rev}");
    copy.commit(vec![post("general", state.seq + 1, "and on"), edit("general", state.rev + 1, 5, "it goes")]);
    copy.close();
}
