//! The log: a line for each event on stderr, for people or as JSON. It never holds up the loop (PR-08).

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::SendFlags;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// A pipe that is ready takes so many bytes without making anybody wait (`PIPE_BUF`); longer lines are cut.
const MAX_LINE: usize = 4096;
/// Bytes of lines that wait for a reader; what comes on top is lost, and counted.
const MAX_QUEUE: usize = 64 * 1024;
/// How long the end of the process waits for the reader, in milliseconds.
const LAST_WAIT_MS: i64 = 200;

static QUEUE: Mutex<Queue> = Mutex::new(Queue { lines: Vec::new(), lost: 0 });
static LOST: AtomicU64 = AtomicU64::new(0);

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people
    Text,
    /// An object of JSON in each line
    Json,
}

/// Starts the log; `RUST_LOG` chooses what is in it. From now on a panic is a line of it, and the end of the process.
pub(crate) fn start(format: Format) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    match format {
        Format::Text => log.with_ansi(io::stderr().is_terminal()).with_writer(Lines).init(),
        Format::Json => log.json().flatten_event(true).with_writer(Lines).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        // PR-09: what a callback left half done is not carried on with. What was acknowledged is on the disk.
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "a panic ends the server");
        finish();
        std::process::abort();
    }));
}

/// Lines that were lost because stderr did not take them.
pub(crate) fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Writes what waits, as far as the reader takes it within a moment.
pub(crate) fn finish() {
    if let Ok(mut queue) = QUEUE.try_lock() {
        queue.write_out(LAST_WAIT_MS);
    }
}

#[derive(Debug, Clone, Copy)]
struct Lines;

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for Lines {
    /// Takes an event, which comes whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if let Ok(mut queue) = QUEUE.lock() {
            queue.push(&one_line(event, io::stderr().is_terminal()));
            queue.write_out(0);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// CH-13: one line for one event, whatever peers wrote into it, and nothing that a terminal obeys. (Colours are escape
/// sequences of our own, and there on a terminal only.)
fn one_line(event: &[u8], has_colours: bool) -> Vec<u8> {
    let mut line = Vec::with_capacity(event.len() + 8);
    let event = event.strip_suffix(b"\n").unwrap_or(event);
    for &octet in event {
        match octet {
            0x1B if has_colours => line.push(octet),
            0..0x20 | 0x7F => line.extend(octet.escape_ascii()),
            _ => line.push(octet),
        }
    }
    if line.len() >= MAX_LINE {
        line.truncate(MAX_LINE - 4);
        line.extend("…".as_bytes());
    }
    line.push(b'\n');
    line
}

struct Queue {
    lines: Vec<u8>,
    /// Lost since the last line that was written.
    lost: u64,
}

impl Queue {
    fn push(&mut self, line: &[u8]) {
        if self.lost > 0 && self.lines.is_empty() {
            let note = format!("{} lines of the log are lost: nobody read them\n", self.lost);
            self.lines.extend(note.as_bytes());
            self.lost = 0;
        }
        if self.lines.len() + line.len() <= MAX_QUEUE && self.lost == 0 {
            self.lines.extend(line);
        } else {
            self.lose(1);
        }
    }

    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        LOST.fetch_add(lines, Ordering::Relaxed);
    }

    /// Writes as much as stderr takes without a wait longer than this.
    fn write_out(&mut self, wait_ms: i64) {
        while !self.lines.is_empty() {
            let rest = &self.lines[..self.lines.len().min(MAX_LINE)];
            let end = rest.iter().rposition(|&octet| octet == b'\n').map_or(rest.len(), |at| at + 1);
            match write_some(&rest[..end], wait_ms) {
                Ok(0) => return,
                Ok(count) => {
                    self.lines.drain(..count);
                }
                // Nobody will read it any more.
                Err(_) => {
                    let lines = self.lines.split(|&octet| octet == b'\n').count() - 1;
                    self.lines.clear();
                    return self.lose(lines as u64);
                }
            }
        }
    }
}

/// Writes at most [`MAX_LINE`] bytes to stderr; 0 when it takes none within the wait. The descriptor stays in the mode in which
/// it was found: others may write to it, too.
fn write_some(bytes: &[u8], wait_ms: i64) -> Result<usize, Errno> {
    let stderr = io::stderr();
    let stderr = stderr.as_fd();
    let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
    let wait = Timespec { tv_sec: 0, tv_nsec: wait_ms * 1_000_000 };
    if retry_on_intr(|| poll(&mut ready, Some(&wait)))? == 0 {
        return Ok(0);
    }
    // A socket that is ready may take less than a line; a pipe takes it whole.
    match retry_on_intr(|| rustix::net::send(stderr, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)) {
        Err(Errno::NOTSOCK) => retry_on_intr(|| rustix::io::write(stderr, bytes)),
        Err(Errno::AGAIN) => Ok(0),
        sent => sent,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn ch_13_an_event_is_one_line_without_orders_for_a_terminal() {
        let forged = b"closed reason=\x1b[2J\r\n2026-01-01 INFO forged\x07\x7f ok\n";
        let line = String::from_utf8(one_line(forged, false)).unwrap();
        assert_eq!(line, "closed reason=\\x1b[2J\\r\\n2026-01-01 INFO forged\\x07\\x7f ok\n");
        assert_eq!(one_line("Grüße 👍\n".as_bytes(), false), "Grüße 👍\n".as_bytes());
        assert!(one_line(&[b'x'; 10_000], false).len() <= MAX_LINE);
    }

    /// Set where the test below runs itself, to panic in a process of its own.
    const PANICS: &str = "SWITCHBOARD_TEST_PANICS";

    #[test]
    fn pr_09_a_panic_is_a_line_of_the_log_and_the_end() {
        if std::env::var_os(PANICS).is_some() {
            start(Format::Json);
            let thread = std::thread::spawn(|| panic!("torn\nstate"));
            let _ = thread.join();
            unreachable!("the process has ended, whichever thread panicked");
        }
        let name = "log::tests::pr_09_a_panic_is_a_line_of_the_log_and_the_end";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(PANICS, "1")
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(6), "SIGABRT");
        let said = String::from_utf8(output.stderr).unwrap();
        let line = said.lines().find(|line| line.contains("a panic ends the server")).expect("a line");
        assert!(
            line.starts_with('{') && line.contains("torn\\nstate") && line.contains("src/log.rs:"),
            "{line}"
        );
    }

    #[test]
    fn what_nobody_reads_is_lost_and_counted() {
        let mut queue = Queue { lines: Vec::new(), lost: 0 };
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let before = lost_lines();
        for _ in 0..1000 {
            queue.push(&line);
        }
        assert!(queue.lines.len() <= MAX_QUEUE);
        assert_eq!(queue.lost as usize, 1000 - MAX_QUEUE / 100);
        assert!(lost_lines() - before >= queue.lost);
        queue.lines.clear();
        queue.push(&line);
        assert!(queue.lines.starts_with(b"345 lines of the log are lost"), "{}", queue.lost);
        assert!(queue.lines.ends_with(&line));
    }
}
