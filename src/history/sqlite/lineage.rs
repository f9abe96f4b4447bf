//! Which history a data directory holds: whether it is the one that clients know, or a copy of it, or an older state.
//!
//! Nothing that a client says counts. The database remembers which file it was (inode and time of birth: a copy has others,
//! a volume that is attached again has the same), and the file `lineage` beside it how far the history had come when it was
//! last closed: a database that has come less far was put back.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rusqlite::Connection;

use super::private_file::private;
use super::schema::checksum;

/// The name of the file.
const FILE: &str = "lineage";

/// How far a history has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lineage {
    pub(super) epoch: String,
    /// The newest rows of `posts` and `changes` that there ever were.
    posts: i64,
    changes: i64,
}

impl Lineage {
    /// Of a database with this epoch, as it is now.
    pub(super) fn of(conn: &Connection, epoch: &str) -> rusqlite::Result<Self> {
        let changes = "SELECT max(ifnull((SELECT max(id) FROM changes), 0), ifnull((SELECT max(change) FROM heads), 0))";
        Ok(Self {
            epoch: epoch.to_owned(),
            posts: super::rows::newest_post(conn)?,
            changes: conn.query_row(changes, [], |row| row.get(0))?,
        })
    }

    /// As it was when the history was closed; `None` when the file is not there, or not whole.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(dir.join(FILE)).ok()?;
        let mut parts = text.trim_end().split(' ');
        let epoch = parts.next()?.to_owned();
        let mut number = || parts.next()?.parse().ok();
        let (posts, changes, crc): (i64, i64, i64) = (number()?, number()?, number()?);
        (crc == checksum(&[posts, changes], &[epoch.as_bytes()])).then_some(Self { epoch, posts, changes })
    }

    /// Puts it on the disk, whole or not at all.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let Self { epoch, posts, changes } = self;
        let crc = checksum(&[*posts, *changes], &[epoch.as_bytes()]);
        let next = dir.join("lineage.next");
        let mut file = private().write(true).create(true).truncate(true).open(&next)?;
        file.write_all(format!("{epoch} {posts} {changes} {crc}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    }

    /// Whether a database in this state comes after the one that was closed.
    pub(super) fn continues(&self, closed: &Self) -> bool {
        self.epoch == closed.epoch && self.posts >= closed.posts && self.changes >= closed.changes
    }
}

/// Names the file itself: a copy of it has another identity, and so has a snapshot in a file system where snapshots keep
/// the numbers of files. The number of the device says nothing: it is another one whenever a volume is attached.
pub(super) fn identity(dir: &Path, path: &Path) -> io::Result<String> {
    let found = fs::metadata(path)?;
    let born = if let Ok(born) = found.created() {
        born.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
    } else {
        // The lock is never written: it changed last when it was made.
        let lock = fs::metadata(dir.join("lock"))?;
        u128::from(lock.ctime().cast_unsigned()) * 1_000_000_000
            + u128::from(lock.ctime_nsec().cast_unsigned())
    };
    Ok(format!("{} {born} {}", found.ino(), subvolume(path)))
}

/// The number of the subvolume or data set; 0 where there is none.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn subvolume(path: &Path) -> u64 {
    const BTRFS: i64 = 0x9123_683E;
    const ZFS: i64 = 0x2FC1_2FC1;
    let kind = rustix::fs::statfs(path).map_or(0, |found| found.f_type);
    if kind == BTRFS || kind == ZFS { rustix::fs::statvfs(path).map_or(0, |found| found.f_fsid) } else { 0 }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn subvolume(_: &Path) -> u64 {
    0
}
