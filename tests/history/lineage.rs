//! Which history it is: the same after a restart and on a volume that is attached again, another one in a copy and where an
//! older state was put back. What clients say has no part in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Dir, History, post};

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
