//! The server's process, as the kernel sees it: processor time, memory, context switches (proc(5)).

use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::param::clock_ticks_per_second;
use serde::{Deserialize, Serialize};

use crate::clock::{Nanos, SECOND};

/// What the process used while the run measured it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessReport {
    /// Process id.
    pub(crate) pid: u32,
    /// Cores that it kept busy.
    pub(crate) cores: f64,
    /// Nanoseconds of processor time in user space.
    pub(crate) user_ns: u64,
    /// Nanoseconds of processor time in the kernel.
    pub(crate) system_ns: u64,
    /// Maximum of the resident memory, in bytes.
    pub(crate) max_rss_bytes: u64,
    /// Resident memory before the first connection, in bytes; 0 in reports that do not have it.
    #[serde(default)]
    pub(crate) first_rss_bytes: u64,
    /// Voluntary context switches of all threads.
    pub(crate) voluntary_switches: u64,
    /// Involuntary context switches of all threads.
    pub(crate) involuntary_switches: u64,
    /// Length of the measured window, in nanoseconds.
    pub(crate) window_ns: u64,
}

/// The counters of a process at one instant.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    at: Nanos,
    user: u64,
    system: u64,
    voluntary: u64,
    involuntary: u64,
}

/// A process under observation.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    directory: PathBuf,
    first: Option<Sample>,
    last: Sample,
    max_rss: u64,
    first_rss: u64,
}

impl Process {
    /// Begins to observe a process.
    ///
    /// # Errors
    /// There is no such process, or this system has no `/proc`.
    pub(crate) fn watch(pid: u32) -> io::Result<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let mut process =
            Self { pid, directory, first: None, last: Sample::default(), max_rss: 0, first_rss: 0 };
        process.last = process.read(0).map_err(|error| {
            io::Error::other(format!("--pid {pid}: there is no such process on this machine ({error})"))
        })?;
        process.first_rss = process.max_rss;
        Ok(process)
    }

    /// Takes a sample. The report covers the time between the first and the last sample in the measured window.
    pub(crate) fn sample(&mut self, now: Nanos, is_measuring: bool) {
        let Ok(sample) = self.read(now) else { return };
        if is_measuring {
            self.first.get_or_insert(sample);
            self.last = sample;
        }
    }

    /// The difference between the last sample and the first.
    pub(crate) fn report(self) -> ProcessReport {
        let first = self.first.unwrap_or(self.last);
        let Sample { at, user, system, voluntary, involuntary } = self.last;
        let window_ns = at.saturating_sub(first.at);
        let (user_ns, system_ns) = (ticks(user - first.user), ticks(system - first.system));
        #[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
        let cores = if window_ns > 0 { (user_ns + system_ns) as f64 / window_ns as f64 } else { 0.0 };
        ProcessReport {
            pid: self.pid,
            cores,
            user_ns,
            system_ns,
            max_rss_bytes: self.max_rss,
            first_rss_bytes: self.first_rss,
            voluntary_switches: voluntary.saturating_sub(first.voluntary),
            involuntary_switches: involuntary.saturating_sub(first.involuntary),
            window_ns,
        }
    }

    fn read(&mut self, at: Nanos) -> io::Result<Sample> {
        let stat = fs::read_to_string(self.directory.join("stat"))?;
        let (user, system) = parse_stat(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let mut sample = Sample { at, user, system, ..Sample::default() };
        for task in fs::read_dir(self.directory.join("task"))? {
            // A thread may end between the two calls; its switches are not counted.
            let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
            sample.voluntary += status_field(&status, "voluntary_ctxt_switches:");
            sample.involuntary += status_field(&status, "nonvoluntary_ctxt_switches:");
        }
        let status = fs::read_to_string(self.directory.join("status"))?;
        self.max_rss = self.max_rss.max(status_field(&status, "VmRSS:") * 1024);
        Ok(sample)
    }
}

/// What a process uses at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// Cores that it kept busy since the last time.
    pub(crate) cores: f64,
    pub(crate) rss_bytes: u64,
}

/// A process for a live view.
#[derive(Debug)]
pub(crate) struct Meter {
    directory: PathBuf,
    last: (Nanos, u64),
}

impl Meter {
    /// # Errors
    /// There is no such process, or this system has no `/proc`.
    pub(crate) fn watch(pid: u32) -> io::Result<Self> {
        let mut meter = Self { directory: PathBuf::from(format!("/proc/{pid}")), last: (0, 0) };
        meter.last = (0, meter.used()?);
        Ok(meter)
    }

    /// What the process used between the last call and `now`; `None`: it is gone.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(crate) fn read(&mut self, now: Nanos) -> Option<Usage> {
        let used = self.used().ok()?;
        let (at, before) = std::mem::replace(&mut self.last, (now, used));
        let spent = ticks(used.saturating_sub(before)) as f64;
        let status = fs::read_to_string(self.directory.join("status")).ok()?;
        let rss_bytes = status_field(&status, "VmRSS:") * 1024;
        Some(Usage { cores: spent / now.saturating_sub(at).max(1) as f64, rss_bytes })
    }

    /// Ticks of processor time.
    fn used(&self) -> io::Result<u64> {
        let stat = fs::read_to_string(self.directory.join("stat"))?;
        let (user, system) = parse_stat(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(user + system)
    }
}

/// Maximum of this process's resident memory, in bytes; 0 if the system does not report it.
pub(crate) fn own_max_rss() -> u64 {
    fs::read_to_string("/proc/self/status").map_or(0, |status| status_field(&status, "VmHWM:") * 1024)
}

fn ticks(ticks: u64) -> u64 {
    ticks * SECOND / clock_ticks_per_second().max(1)
}

/// utime and stime. The name before them may hold any character, and ends with the last parenthesis.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn status_field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 100 0 0 0 777 333 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_stat(stat), Some((777, 333)));
        let status =
            "Name:\tx\nVmRSS:\t  1234 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(status_field(status, "VmRSS:"), 1234);
        assert_eq!(status_field(status, "voluntary_ctxt_switches:"), 7);
        assert_eq!(status_field(status, "nonvoluntary_ctxt_switches:"), 9);
        assert_eq!(status_field(status, "Other:"), 0);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = Process::watch(u32::MAX - 1).unwrap_err().to_string();
        assert!(error.contains("no such process"), "{error}");
    }

    #[test]
    fn what_counts_is_what_happens_while_the_run_measures() {
        let mut process = Process::watch(std::process::id()).unwrap();
        process.sample(SECOND, false);
        process.sample(2 * SECOND, true);
        process.sample(5 * SECOND, true);
        process.sample(9 * SECOND, false);
        let report = process.report();
        assert_eq!(report.window_ns, 3 * SECOND);
        assert!(report.max_rss_bytes > 0);
    }
}
