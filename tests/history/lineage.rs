//! Which history it is: the same after a restart and on a volume that is attached again, another one in a copy and where an
//! older state was put back. What clients say has no part in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use switchboard::history::Fork;

use crate::support::{Dir, History, delete, edit, post};

fn epoch(dir: &Path) -> String {
    let history = History::open(dir);
    let epoch = history.start.epoch.clone();
    history.close();
    epoch
}

/// A history with some messages.
fn filled(name: &str) -> (Dir, String) {
    let dir = Dir::new(name);
    let mut history = History::open(&dir.data());
    history.commit((1..=100).map(|seq| post("general", seq, "hello")).collect());
    let epoch = history.start.epoch.clone();
    assert!(epoch.len() >= 16);
    history.close();
    (dir, epoch)
}

#[track_caller]
fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_restart_and_a_move_keep_the_epoch() {
    let (dir, first) = filled("lineage");
    assert_eq!(epoch(&dir.data()), first);
    let moved = dir.path().join("moved");
    fs::rename(dir.data(), &moved).unwrap();
    assert_eq!(epoch(&moved), first);
}

#[test]
fn every_kind_of_copy_gets_an_epoch_of_its_own() {
    let (dir, first) = filled("lineage-copies");
    let (from, base) = (dir.data(), dir.path());
    let (from, base) = (from.display(), base.display());
    let mut epochs = vec![first];
    for (name, script) in [
        ("cp", format!("cp -a {from} {base}/cp")),
        ("tar", format!("mkdir {base}/tar && tar -C {from} -c . | tar -C {base}/tar -x")),
        ("again", format!("cp -a {base}/cp {base}/again")),
        ("file", format!("mkdir {base}/file && cp {from}/switchboard.db {base}/file/")),
    ] {
        sh(&script);
        let copy = dir.path().join(name);
        let found = epoch(&copy);
        assert_eq!(found, epoch(&copy), "{name}: it is the copy's own from then on");
        epochs.push(found);
    }
    epochs.push(epoch(&dir.data()));
    assert_eq!(epochs.first(), epochs.last(), "the copies do nothing to the first");
    epochs.pop();
    let count = epochs.len();
    epochs.sort();
    epochs.dedup();
    assert_eq!(epochs.len(), count, "{epochs:?}");
}

#[test]
fn an_older_state_that_is_put_back_into_the_same_file_is_noticed() {
    let (dir, first) = filled("lineage-older");
    let older = dir.path().join("older.db");
    fs::copy(dir.database(), &older).unwrap();
    let mut history = History::open(&dir.data());
    history.commit(vec![post("general", 101, "seen by somebody")]);
    history.close();
    assert_eq!(epoch(&dir.data()), first);
    // The file stays the same file.
    fs::write(dir.database(), fs::read(&older).unwrap()).unwrap();
    let second = epoch(&dir.data());
    assert_ne!(second, first);
    assert_eq!(epoch(&dir.data()), second);
    // An operator who restores a snapshot of a whole volume says so.
    fs::remove_file(dir.data().join("lineage")).unwrap();
    assert_ne!(epoch(&dir.data()), second);
    for broken in ["", "x", "a b c d", "\n"] {
        let before = epoch(&dir.data());
        fs::write(dir.data().join("lineage"), broken).unwrap();
        assert_ne!(epoch(&dir.data()), before, "{broken:?}");
    }
}

/// Whoever saw only what was put back need load nothing again, and whoever saw more is not told that nothing was lost.
#[test]
fn a_history_that_was_put_back_knows_what_it_shares_with_those_before() {
    let dir = Dir::new("lineage-forks");
    let put_back = |older: &Path, more: Vec<switchboard::history::Change>| {
        let mut history = History::open(&dir.data());
        let epoch: std::sync::Arc<str> = history.start.epoch.as_str().into();
        fs::write(older, fs::read(dir.database()).unwrap()).unwrap();
        for change in more {
            history.commit(vec![change]);
        }
        history.close();
        fs::write(dir.database(), fs::read(older).unwrap()).unwrap();
        epoch
    };
    let mut history = History::open(&dir.data());
    // In another room, so that rows and numbers are not the same.
    history.commit((1..=90).map(|seq| post("elsewhere", seq, "x")).collect());
    history.commit((1..=150).map(|seq| post("general", seq, "x")).collect());
    history.commit(vec![edit("general", 1, 3, "y"), edit("general", 2, 4, "y")]);
    history.close();
    let first = put_back(&dir.path().join("a"), vec![post("general", 151, "lost"), delete("general", 3, 1)]);
    let mut history = History::open(&dir.data());
    let second: std::sync::Arc<str> = history.start.epoch.as_str().into();
    assert_ne!(second, first);
    // It goes on in another way, and keeps the fork.
    history.commit((151..=300).map(|seq| post("general", seq, "on")).collect());
    history.commit((3..=9).map(|rev| edit("general", rev, rev, "z")).collect());
    let fork = |epoch: &std::sync::Arc<str>, seq, rev| Fork { epoch: epoch.clone(), seq, rev };
    let state = history.room("general", 20);
    assert_eq!((state.epoch.clone(), state.seq, state.rev), (second.clone(), 300, 9));
    assert_eq!(state.lineage, [fork(&first, 150, 2)]);
    assert_eq!(history.room("elsewhere", 20).lineage, [fork(&first, 90, 0)]);
    assert_eq!(history.room("nowhere", 20).lineage, []);
    assert_eq!(history.room("general", 3).lineage, [fork(&first, 150, 0)], "further back than it looks");
    history.close();
    // A second time, and further in between.
    put_back(&dir.path().join("b"), vec![post("general", 301, "lost")]);
    let mut history = History::open(&dir.data());
    assert_eq!(history.room("general", 20).lineage, [fork(&first, 150, 2), fork(&second, 300, 9)]);
    history.close();
}

#[test]
fn a_server_that_was_killed_keeps_its_epoch() {
    let dir = Dir::new("lineage-killed");
    let keeper = crate::child::Keeper::start(&dir.data(), 1, &[], &[]);
    keeper.wait_for("acked", 50);
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    let first: String =
        conn.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0)).unwrap();
    drop(conn);
    let _ = keeper.kill();
    assert_eq!(epoch(&dir.data()), first);
}

/// A file system in a file, which goes with the value.
struct Volume {
    image: PathBuf,
    at: PathBuf,
    device: String,
}

impl Volume {
    /// `None` where nobody may mount anything.
    fn make(dir: &Dir) -> Option<Self> {
        let (image, at) = (dir.path().join("image"), dir.path().join("volume"));
        fs::create_dir(&at).unwrap();
        let made = Command::new("sh")
            .args(["-ec", &format!("truncate -s 32M {0} && mkfs.ext4 -q -F {0}", image.display())])
            .status();
        let mut volume = Self { image, at, device: String::new() };
        (made.is_ok_and(|status| status.success()) && volume.attach()).then_some(volume)
    }

    fn attach(&mut self) -> bool {
        let script = format!(
            "device=$(losetup -f --show {}); mount $device {} || {{ losetup -d $device; exit 1; }}; echo $device",
            self.image.display(),
            self.at.display()
        );
        let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
        self.device = String::from_utf8_lossy(&output.stdout).trim().into();
        output.status.success()
    }

    fn detach(&mut self) {
        if !self.device.is_empty() {
            sh(&format!("umount {}; losetup -d {}", self.at.display(), self.device));
            self.device.clear();
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.detach();
    }
}

#[test]
fn a_volume_that_is_attached_again_keeps_the_epoch() {
    use std::os::unix::fs::MetadataExt;
    let dir = Dir::new("lineage-volume");
    let Some(mut volume) = Volume::make(&dir) else {
        eprintln!("nothing can be mounted here: not tested");
        return;
    };
    let data = volume.at.join("data");
    let mut history = History::open(&data);
    history.commit(vec![post("general", 1, "hello")]);
    let first = history.start.epoch.clone();
    history.close();
    let device = fs::metadata(&data).unwrap().dev();
    volume.detach();
    // Another device takes the number.
    let other = dir.path().join("other");
    fs::write(&other, vec![0; 1 << 20]).unwrap();
    let taken = sh(&format!("losetup -f --show {}", other.display()));
    let attached = volume.attach();
    let moved = attached && fs::metadata(&data).unwrap().dev() != device;
    let again = attached.then(|| epoch(&data));
    sh(&format!("losetup -d {taken}"));
    assert!(moved, "the volume is on another device");
    assert_eq!(again, Some(first));
}
