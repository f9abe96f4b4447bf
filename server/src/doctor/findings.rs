//! What the facts mean: pure, so that every sentence has a test.

use std::time::Duration;

/// Connections for which descriptors should suffice where nothing says how many are wanted.
const MANY_DESCRIPTORS: u64 = 65_536;
/// What a server asks the kernel to queue of connections that are not accepted yet.
const BACKLOG: u64 = 4096;
/// Free bytes of a disk below which a server soon fails, and below which somebody should look.
const LITTLE_SPACE: u64 = 16 << 20;
const SOME_SPACE: u64 = 1 << 30;
/// Above it an acknowledged post takes noticeably long.
const SLOW_SYNC: Duration = Duration::from_millis(20);
/// A certificate that expires sooner should have been renewed.
const RENEW_S: i64 = 14 * 86_400;
/// No clock that is right is before it: 2026-01-01.
const EARLIEST_UNIX_S: i64 = 1_767_225_600;
/// What the two clocks may differ by while a fraction of a second passes.
const MAX_LEAP: Duration = Duration::from_millis(50);
/// Bytes that a server needs besides what waits for slow readers.
const OWN_MEMORY: u64 = 128 << 20;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    Good,
    /// A server works, but not as well as it could.
    Warning,
    /// A server does not work.
    Failure,
}

impl Grade {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// What was looked at, what was found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) grade: Grade,
    pub(super) found: String,
    /// `None` where nothing has to be done.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, grade: Grade::Good, found: found.into(), advice: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, grade: Grade::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    pub(super) fn failure(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, grade: Grade::Failure, found: found.into(), advice: Some(advice.into()) }
    }
}

/// `limit`: the hard limit of a process, `of_system`: that of all processes. `wanted`: `--max-connections`, 0 where it is not given.
pub(super) fn descriptors(limit: Option<u64>, of_system: Option<u64>, wanted: u64) -> Finding {
    let check = "descriptors";
    let Some(limit) = limit else { return Finding::good(check, "no limit") };
    let (needed, why) = match wanted {
        0 => (MANY_DESCRIPTORS, String::new()),
        wanted => (wanted.saturating_add(64), format!(", and --max-connections is {wanted}")),
    };
    let found = format!("the limit is {limit}, one for each connection{why}");
    if limit < needed {
        let how =
            format!("set LimitNOFILE={needed} in the unit of systemd, or `ulimit -Hn {needed}` in a shell");
        return Finding::warning(check, found, how);
    }
    match of_system.filter(|of_system| *of_system < needed) {
        Some(of_system) => Finding::warning(
            check,
            format!("all processes together have {of_system} (fs.file-max)"),
            format!("sysctl -w fs.file-max={}", needed.saturating_mul(4)),
        ),
        None => Finding::good(check, found),
    }
}

/// `somaxconn`: the longest queue of connections that the kernel keeps for a listener.
pub(super) fn backlog(somaxconn: Option<u64>) -> Finding {
    let check = "backlog";
    match somaxconn {
        Some(length) if length < BACKLOG => Finding::warning(
            check,
            format!("the kernel queues {length} new connections (net.core.somaxconn)"),
            format!("a storm of reconnects needs more: sysctl -w net.core.somaxconn={BACKLOG}"),
        ),
        Some(length) => Finding::good(check, format!("the kernel queues {length} new connections")),
        None => Finding::good(check, "the kernel does not say how many new connections it queues"),
    }
}

/// What the clocks have shown.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    pub(super) unix_s: i64,
    /// By how much the wall clock left the monotonic one while both were watched.
    pub(super) leap: Duration,
    /// What the kernel reads.
    pub(super) source: Option<String>,
}

pub(super) fn clock(clock: &Clock) -> Finding {
    let check = "clock";
    let source = clock.source.as_deref().unwrap_or("a source that is not known");
    if clock.unix_s < EARLIEST_UNIX_S {
        return Finding::failure(
            check,
            "the clock is before 2026",
            "set it, for example with systemd-timesyncd or chrony: tokens and certificates depend on it",
        );
    }
    if clock.leap > MAX_LEAP {
        return Finding::warning(
            check,
            format!("the wall clock leapt by {} ms", clock.leap.as_millis()),
            "see what sets it: posts carry its time",
        );
    }
    if matches!(source, "hpet" | "acpi_pm" | "jiffies" | "pit") {
        return Finding::warning(
            check,
            format!("it is read from {source}, which is slow"),
            "boot with clocksource=tsc, or ask the host of the virtual machine for kvm-clock",
        );
    }
    Finding::good(check, format!("it is set, runs evenly, and is read from {source}"))
}

/// `available`: bytes that a process may still take. `queued`: `--max-queued`.
pub(super) fn memory(available: Option<u64>, queued: u64) -> Finding {
    let check = "memory";
    let Some(available) = available else {
        return Finding::good(check, "the system does not say how much is free");
    };
    let found = format!("{} available, of which slow readers may take {}", size(available), size(queued));
    if available < queued.saturating_add(OWN_MEMORY) {
        let fits = available.saturating_sub(OWN_MEMORY) / 2;
        return Finding::warning(
            check,
            found,
            format!("lower --max-queued, for example to {fits}, or add memory"),
        );
    }
    Finding::good(check, found)
}

pub(super) fn cores(cores: usize, loops: usize) -> Finding {
    let found = format!("{cores} for {loops} {}", if loops == 1 { "loop" } else { "loops" });
    if loops > cores {
        let advice = format!("--threads {cores}: more loops than cores only wait for each other");
        return Finding::warning("cores", found, advice);
    }
    Finding::good("cores", found)
}

/// The disk of a data directory.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// What it is called in the sentences.
    pub(super) directory: String,
    pub(super) free: u64,
    /// Files that may still be made, where there is such a limit.
    pub(super) free_files: Option<u64>,
    /// The name of a kind of file system on which a history is not safe.
    pub(super) unsafe_kind: Option<&'static str>,
}

pub(super) fn disk(disk: &Disk) -> Finding {
    let check = "disk";
    let found = format!("{} free for {}", size(disk.free), disk.directory);
    if let Some(kind) = disk.unsafe_kind {
        return Finding::warning(
            check,
            format!("{} is on {kind}", disk.directory),
            "choose a directory on a disk of this machine with --data: here the history may be lost or damaged",
        );
    }
    if disk.free < LITTLE_SPACE {
        return Finding::failure(check, found, "make room: posts are refused when the disk is full");
    }
    if let Some(files) = disk.free_files.filter(|files| *files < 64) {
        return Finding::failure(
            check,
            format!("only {files} files can still be made"),
            "remove files: the disk has no inodes",
        );
    }
    if disk.free < SOME_SPACE {
        return Finding::warning(
            check,
            found,
            "make room, or bound the history with --keep-for or --keep-posts",
        );
    }
    Finding::good(check, found)
}

/// `times`: of a write of 4 KiB until it is durable.
pub(super) fn sync(times: &[Duration]) -> Finding {
    let check = "fsync";
    let mut times = times.to_vec();
    times.sort_unstable();
    let (Some(&median), Some(&longest)) = (times.get(times.len() / 2), times.last()) else {
        return Finding::good(check, "not measured");
    };
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let found = format!(
        "a write is durable after {} (median; the longest of {}: {})",
        ms(median),
        times.len(),
        ms(longest)
    );
    if median > SLOW_SYNC {
        return Finding::warning(
            check,
            found,
            "a post is acknowledged after that time: put --data on a faster disk",
        );
    }
    Finding::good(check, found)
}

/// A certificate: its names and until when it is valid.
pub(super) fn certificate(names: &str, not_before: i64, not_after: i64, now: i64) -> Finding {
    let check = "tls";
    let days = (not_after - now).div_euclid(86_400);
    if not_before > now {
        return Finding::failure(
            check,
            format!("the certificate of {names} is not valid yet"),
            "check it and the clock",
        );
    }
    if not_after <= now {
        return Finding::failure(
            check,
            format!("the certificate of {names} expired {} days ago", -days),
            "renew it, then send SIGHUP to the server",
        );
    }
    let found = format!("the certificate of {names} is valid for {days} days");
    if not_after - now < RENEW_S {
        return Finding::warning(check, found, "renew it, then send SIGHUP to the server");
    }
    Finding::good(check, found)
}

/// `why`: the address cannot be listened on.
pub(super) fn port(place: &str, why: Option<&std::io::Error>) -> Finding {
    use std::io::ErrorKind;
    let check = "port";
    let Some(why) = why else { return Finding::good(check, format!("{place} is free")) };
    let advice = match why.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there (see `ss -ltnp`): stop it, or choose another port"
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE, or sockets of systemd: choose another port, or grant it"
        }
        ErrorKind::AddrNotAvailable => "no interface of this machine has the address",
        _ => "choose another address",
    };
    Finding::failure(check, format!("{place}: {why}"), advice)
}

/// `64 KiB`, `3.5 GiB`.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        Some((unit, shift)) => format!("{:.1} {unit}", bytes as f64 / f64::from(1_u32 << shift)),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Grade::{Failure, Good, Warning};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn each_fact_has_its_grade_and_what_is_bad_has_advice() {
        let now = 1_800_000_000;
        let clock_of =
            |unix_s, leap, source: &str| clock(&Clock { unix_s, leap, source: Some(source.into()) });
        let disk_of = |free, free_files, unsafe_kind| {
            disk(&Disk { directory: "/srv/chat".into(), free, free_files, unsafe_kind })
        };
        let io = |kind: std::io::ErrorKind| port("127.0.0.1:80", Some(&kind.into()));
        for (finding, grade, part) in [
            (descriptors(None, None, 0), Good, "no limit"),
            (descriptors(Some(65_536), Some(1 << 20), 0), Good, "65536"),
            (descriptors(Some(1024), None, 0), Warning, "LimitNOFILE=65536"),
            (descriptors(Some(1024), None, 100), Good, "--max-connections is 100"),
            (descriptors(Some(1024), None, 1000), Warning, "LimitNOFILE=1064"),
            (descriptors(Some(1 << 20), Some(9000), 10_000), Warning, "fs.file-max"),
            (backlog(Some(128)), Warning, "net.core.somaxconn=4096"),
            (backlog(Some(4096)), Good, "4096"),
            (backlog(None), Good, "does not say"),
            (clock_of(0, ms(0), "tsc"), Failure, "before 2026"),
            (clock_of(now, ms(60), "tsc"), Warning, "leapt by 60 ms"),
            (clock_of(now, ms(0), "hpet"), Warning, "slow"),
            (clock_of(now, ms(1), "tsc"), Good, "tsc"),
            (memory(Some(1 << 30), 256 << 20), Good, "1.0 GiB available"),
            (memory(Some(300 << 20), 256 << 20), Warning, "--max-queued"),
            (memory(None, 1), Good, "does not say"),
            (cores(2, 2), Good, "2 for 2 loops"),
            (cores(1, 4), Warning, "--threads 1"),
            (disk_of(1 << 40, None, None), Good, "1024.0 GiB"),
            (disk_of(512 << 20, Some(1000), None), Warning, "--keep-for"),
            (disk_of(1 << 20, None, None), Failure, "make room"),
            (disk_of(1 << 40, Some(3), None), Failure, "inodes"),
            (disk_of(1 << 40, None, Some("NFS")), Warning, "on NFS"),
            (sync(&[ms(1), ms(50), ms(2)]), Good, "2.00 ms (median; the longest of 3: 50.00 ms)"),
            (sync(&[ms(30), ms(30)]), Warning, "faster disk"),
            (sync(&[]), Good, "not measured"),
            (certificate("a.example", 0, now + 86_400 * 60, now), Good, "60 days"),
            (certificate("a.example", 0, now + 86_400 * 3, now), Warning, "SIGHUP"),
            (certificate("a.example", 0, now - 86_400 * 3, now), Failure, "expired 3 days ago"),
            (certificate("a.example", now + 1, now + 10, now), Failure, "not valid yet"),
            (port("127.0.0.1:80", None), Good, "is free"),
            (io(std::io::ErrorKind::AddrInUse), Failure, "another program"),
            (io(std::io::ErrorKind::PermissionDenied), Failure, "CAP_NET_BIND_SERVICE"),
            (io(std::io::ErrorKind::AddrNotAvailable), Failure, "no interface"),
        ] {
            let said = format!("{} {}", finding.found, finding.advice.as_deref().unwrap_or_default());
            assert!(finding.grade == grade && said.contains(part), "{part}: {finding:?}");
            assert_eq!(finding.advice.is_some(), grade != Good, "{finding:?}");
        }
    }

    #[test]
    fn sizes_are_read_by_people() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1 << 10, "1.0 KiB"),
            (5 << 19, "2.5 MiB"),
            (1 << 41, "2048.0 GiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
