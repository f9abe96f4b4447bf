//! What is asked of the system.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{fdatasync, statfs};
use rustix::process::{Resource, getrlimit};

use super::findings::{self, Clock, Disk, Finding};

/// Number of timed writes, bytes of each, and the time after which no further one begins.
const WRITES: usize = 32;
const WRITE: [u8; 4096] = [0x5a; 4096];
const WRITE_TIME: Duration = Duration::from_secs(2);

/// File systems that keep nothing, or on which SQLite's locks and log are not safe, by their numbers (statfs(2)).
const UNSAFE_KINDS: [(u32, &str); 7] = [
    (0x0102_1994, "tmpfs, which is memory"),
    (0x8584_58f6, "ramfs, which is memory"),
    (0x794c_7630, "the overlay of a container, which goes with it"),
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9P"),
];

/// The number in a file of the kernel.
pub(super) fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// To how many the limit of this process can be raised; `None`: there is none.
pub(super) fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

#[expect(clippy::disallowed_methods, reason = "outside of the loop")]
pub(super) fn clock() -> Clock {
    let (wall, monotonic) = (SystemTime::now(), Instant::now());
    std::thread::sleep(Duration::from_millis(100));
    let (later, elapsed) = (SystemTime::now(), monotonic.elapsed());
    let leap = later.duration_since(wall).map_or(Duration::MAX, |passed| passed.abs_diff(elapsed));
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let since = later.duration_since(UNIX_EPOCH).unwrap_or_default();
    Clock {
        unix_s: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        leap,
        source: source.ok().map(|source| source.trim().to_owned()),
    }
}

/// Bytes that the system, or the control group of this process, still has.
pub(super) fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let of_system = line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024);
    let of_group = number("/sys/fs/cgroup/memory.max")
        .zip(number("/sys/fs/cgroup/memory.current"))
        .map(|(limit, used)| limit.saturating_sub(used));
    Some(of_group.map_or(of_system, |of_group| of_group.min(of_system)))
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// What is found of the disk of a data directory; one that is missing is to be made in its parent.
pub(super) fn disk(data: &Path) -> Vec<Finding> {
    let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = if data.is_dir() { data } else { parent };
    let times = match sync_times(directory) {
        Ok(times) => times,
        Err(error) => {
            let why = format!("{}: {error}", directory.display());
            let advice = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room",
                _ => "the server must be able to write there: see --data",
            };
            return vec![Finding::failure("disk", why, advice)];
        }
    };
    let mut all = Vec::new();
    if let Ok(found) = statfs(directory) {
        let kind = u32::try_from(found.f_type).ok();
        let unsafe_kind = UNSAFE_KINDS.into_iter().find(|(number, _)| Some(*number) == kind);
        let block = u64::try_from(found.f_bsize).unwrap_or_default();
        all.push(findings::disk(&Disk {
            directory: data.display().to_string(),
            free: found.f_bavail.saturating_mul(block),
            free_files: (found.f_files > 0).then_some(found.f_ffree),
            unsafe_kind: unsafe_kind.map(|(_, name)| name),
        }));
    }
    all.push(findings::sync(&times));
    all
}

/// A file that is removed with the value.
struct Probe(PathBuf);

impl Drop for Probe {
    fn drop(&mut self) {
        // What cannot be removed is empty space at worst.
        let _ = fs::remove_file(&self.0);
    }
}

/// How long a write takes until it is durable, several times.
#[expect(clippy::disallowed_methods, reason = "outside of the loop")]
fn sync_times(directory: &Path) -> io::Result<Vec<Duration>> {
    let path = directory.join(format!(".switchboard-doctor-{}", std::process::id()));
    let mut file = File::create_new(&path)?;
    let _probe = Probe(path);
    let begin = Instant::now();
    let mut times = Vec::with_capacity(WRITES);
    while times.len() < WRITES && begin.elapsed() < WRITE_TIME {
        let start = Instant::now();
        file.write_all(&WRITE)?;
        fdatasync(&file)?;
        times.push(start.elapsed());
    }
    Ok(times)
}
