//! What the kernel says about a process, and on which core it runs.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Puts this thread, and what it starts from now on, on these cores.
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    sched_setaffinity(None, &set)?;
    Ok(())
}

/// The cores that this process may use.
pub(crate) fn cores() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect())
}

/// Nanoseconds on a core, user and system, of all threads that live.
pub(crate) fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        sum += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Resident user-space memory in bytes: heap and stacks, without what is mapped from files.
pub(crate) fn memory(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("smaps_rollup names no anonymous memory"))
}

/// Open descriptors.
pub(crate) fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Takes all the descriptors that the hard limit permits, for this process and what it starts; tells how many.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// How long a process may take to sleep, or to stop.
const STATE_LIMIT: Duration = Duration::from_secs(20);

/// Waits until a process sleeps, and stops it.
pub(crate) fn stop(pid: u32) -> io::Result<()> {
    await_state(pid, 'S')?;
    signal(pid, Signal::STOP)?;
    await_state(pid, 'T')
}

/// Lets a process that was stopped go on.
pub(crate) fn go_on(pid: u32) -> io::Result<()> {
    signal(pid, Signal::CONT)
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, signal)?)
}

/// Waits until the kernel shows a process in this state.
fn await_state(pid: u32, state: char) -> io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < STATE_LIMIT {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name before it is in parentheses, and may contain any character.
        if text.rsplit(") ").next().is_some_and(|rest| rest.starts_with(state)) {
            return Ok(());
        }
        thread::sleep(Duration::from_micros(100));
    }
    Err(io::Error::other(format!("process {pid} never came into state {state}")))
}
