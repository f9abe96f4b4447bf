//! The log: a line for each event on stderr, for people or as JSON. It never holds up the loop (PR-08). Where stderr is the
//! journal of systemd, each line begins with its priority, `<6>`, as sd-daemon(3) has it.

use std::env;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::SendFlags;
use serde_json::{Map, Value, json};
use tracing::field::Field;
use tracing::{Level, Metadata};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A pipe that is ready takes up to this many bytes without making anybody wait (`PIPE_BUF`); longer lines are cut.
const MAX_LINE: usize = 4096;
/// Bytes of a priority.
const PRIORITY: usize = "<6>".len();
/// What is left of a line for its event.
const MAX_EVENT: usize = MAX_LINE - PRIORITY;
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
    let filter = env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let log = tracing_subscriber::registry()
        .with(filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO)));
    let lines = Lines { format, is_journal: is_journal(), level: Level::INFO };
    let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(lines);
    match format {
        Format::Text => {
            let fields = debug_fn(write_field).delimited(" ");
            let layer = layer.with_timer(Clock { is_journal: lines.is_journal });
            log.with(layer.with_ansi(io::stderr().is_terminal()).fmt_fields(fields)).init();
        }
        Format::Json => log.with(layer.json().flatten_event(true)).init(),
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

/// Whether stderr is the journal: a service manager says which socket that is, by device and inode.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let found = rustix::fs::fstat(io::stderr()).map(|found| format!("{}:{}", found.st_dev, found.st_ino));
    found.is_ok_and(|found| found == stream)
}

/// The time of a line, which the journal has already.
#[derive(Debug, Clone, Copy)]
struct Clock {
    is_journal: bool,
}

impl FormatTime for Clock {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        if self.is_journal { Ok(()) } else { SystemTime.format_time(out) }
    }
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

/// A field of a line for people. A value is quoted unless it is one word, so that it is clear where it ends.
fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => out.write_str(&value),
        name if is_one_word(&value) || is_quoted(&value) => write!(out, "{name}={value}"),
        name => write!(out, "{name}={value:?}"),
    }
}

fn is_one_word(value: &str) -> bool {
    !value.is_empty()
        && !value.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '='))
}

/// Whether a value is a text in quotes, with the quotes in it escaped.
fn is_quoted(value: &str) -> bool {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c == '"' || c == '\\' && rest.next().is_none() {
            return false;
        }
    }
    true
}

#[derive(Debug, Clone, Copy)]
struct Lines {
    format: Format,
    is_journal: bool,
    /// Of the event that is written.
    level: Level,
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }

    fn make_writer_for(&self, event: &Metadata<'_>) -> Self {
        Self { level: *event.level(), ..*self }
    }
}

impl Lines {
    /// An event as a line, with its priority where somebody reads it.
    fn line(self, event: &str) -> String {
        let line = match self.format {
            Format::Text => text_line(event.trim_start(), io::stderr().is_terminal()),
            Format::Json => json_line(event),
        };
        if self.is_journal { format!("{}{line}", priority(self.level)) } else { line }
    }

    /// What stands for lines that nobody read.
    fn note_of_lost(self, lost: u64) -> String {
        let message = format!("{lost} lines of the log are lost: nobody read them");
        let level = Level::WARN;
        match self.format {
            Format::Text => Self { level, ..self }.line(&format!("{level} {message}")),
            Format::Json => {
                Self { level, ..self }.line(&json!({ "level": "WARN", "message": message }).to_string())
            }
        }
    }
}

/// syslog(3): the urgency of a line.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

impl Write for Lines {
    /// Takes an event, which comes whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let line = self.line(text);
        if let Ok(mut queue) = QUEUE.lock() {
            queue.push(line.as_bytes(), |lost| self.note_of_lost(lost));
            queue.write_out(0);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// CH-13: one line for one event, whatever peers wrote into it, and nothing that a terminal obeys. (Colours are escape
/// sequences of our own, and there on a terminal only.) It ends with `…` where it was cut.
fn text_line(event: &str, has_colours: bool) -> String {
    const END: &str = "…";
    const PLAIN: &str = "\x1b[0m";
    let room = MAX_EVENT - END.len() - PLAIN.len() - 1;
    let mut line = String::with_capacity(event.len().min(MAX_LINE) + 8);
    for c in event.chars() {
        let end = line.len();
        match c {
            '\x1b' if has_colours => line.push(c),
            '\0'..='\x1f' | '\x7f' => line.extend(std::ascii::escape_default(c as u8).map(char::from)),
            c if is_unsafe(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
        if line.len() > room {
            line.truncate(end);
            line.push_str(if has_colours { PLAIN } else { "" });
            line.push_str(END);
            break;
        }
    }
    line.push('\n');
    line
}

/// What a terminal obeys or shows in another order: control characters, marks of direction, ends of lines.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// The same for an event in JSON, which stays an object: where it is too long its longest texts are cut.
fn json_line(event: &str) -> String {
    let mut line = escaped_json(event);
    let mut longest = MAX_EVENT / 2;
    while line.len() >= MAX_EVENT && longest > 0 {
        let Ok(mut event) = serde_json::from_str::<Map<String, Value>>(event) else { break };
        for value in event.values_mut() {
            let Value::String(text) = value else { continue };
            if text.len() > longest {
                text.truncate(text.floor_char_boundary(longest));
                text.push('…');
            }
        }
        line = escaped_json(&Value::Object(event).to_string());
        longest /= 2;
    }
    if line.len() >= MAX_EVENT {
        // More fields than there is room for, even for their names.
        line = String::from(r#"{"level":"WARN","message":"an event was too long for the log"}"#);
    }
    line.push('\n');
    line
}

fn escaped_json(event: &str) -> String {
    let mut line = String::with_capacity(event.len() + 8);
    for c in event.chars() {
        if is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(c);
        }
    }
    line
}

struct Queue {
    lines: Vec<u8>,
    /// Lost since the last line that was written.
    lost: u64,
}

impl Queue {
    /// `note`: the line that says how many lines were lost.
    fn push(&mut self, line: &[u8], note: impl FnOnce(u64) -> String) {
        if self.lost > 0 && self.lines.is_empty() {
            self.lines.extend(note(self.lost).as_bytes());
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
        let forged = "closed reason=\x1b[2J\r\n2026-01-01 INFO forged\x07\x7f ok \u{9b}2J\u{202e}";
        let line = text_line(forged, false);
        let shown = "closed reason=\\x1b[2J\\r\\n2026-01-01 INFO forged\\x07\\x7f ok \\u{9b}2J\\u{202e}\n";
        assert_eq!(line, shown);
        assert_eq!(text_line("Grüße 👍", false), "Grüße 👍\n");
    }

    #[test]
    fn a_line_of_any_length_is_whole_and_within_its_bound() {
        for what in ["x", "é", "👍", "\x7f", "\"", "\\", "\u{9b}", "\n", "名"] {
            for len in (0..200).chain(1300..1500).chain(2000..2100).chain(4050..4110).chain([10_000, 70_000])
            {
                let path = what.repeat(len);
                let text = text_line(&format!("rejected path={path}"), false);
                assert!(text.len() <= MAX_LINE && text.ends_with('\n') && text.lines().count() == 1, "{len}");
                let event = serde_json::json!({ "level": "INFO", "message": "rejected", "path": path, "status": 404 });
                let line = json_line(&event.to_string());
                assert!(line.len() <= MAX_LINE && line.ends_with('\n') && line.lines().count() == 1, "{len}");
                let read: Value =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                assert_eq!((&read["message"], &read["status"]), (&event["message"], &event["status"]));
                let shown = read["path"].as_str().unwrap();
                assert!(shown == path || path.starts_with(shown.strip_suffix('…').unwrap()), "{shown}");
            }
        }
        let many: Map<String, Value> = (0..3000).map(|nth| (format!("field {nth}"), nth.into())).collect();
        let line = json_line(&Value::Object(many).to_string());
        assert!(line.len() <= MAX_LINE && serde_json::from_str::<Value>(&line).is_ok());
        assert!(text_line(&"\x1b[2m".repeat(2000), true).ends_with("\x1b[0m…\n"));
    }

    #[test]
    fn a_value_of_more_than_one_word_is_quoted() {
        for (value, shown) in [
            ("word", true),
            ("[::1]:80", true),
            ("", false),
            ("two words", false),
            ("a=b", false),
            ("\"quoted text\"", true),
            ("\"a \\\" b\"", true),
            ("\"a\" level=ERROR b=\"c\"", false),
            ("\"a\\\"", false),
            ("\"", false),
            ("nbsp\u{a0}x", false),
        ] {
            assert_eq!(is_one_word(value) || is_quoted(value), shown, "{value}");
        }
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
        let lines = Lines { format: Format::Json, is_journal: false, level: Level::INFO };
        for _ in 0..1000 {
            queue.push(&line, |lost| lines.note_of_lost(lost));
        }
        assert!(queue.lines.len() <= MAX_QUEUE);
        assert_eq!(queue.lost as usize, 1000 - MAX_QUEUE / 100);
        assert!(lost_lines() - before >= queue.lost);
        queue.lines.clear();
        queue.push(&line, |lost| lines.note_of_lost(lost));
        let note = queue.lines.strip_suffix(&*line).unwrap();
        let note: Value = serde_json::from_slice(note).unwrap();
        assert_eq!(note["message"], "345 lines of the log are lost: nobody read them");
    }

    #[test]
    fn the_journal_is_told_how_urgent_a_line_is() {
        for (level, format, event, line) in [
            (Level::ERROR, Format::Text, " ERROR no", "<3>ERROR no\n"),
            (Level::WARN, Format::Text, "  WARN no", "<4>WARN no\n"),
            (Level::INFO, Format::Json, "{}", "<6>{}\n"),
            (Level::TRACE, Format::Text, " TRACE no", "<7>TRACE no\n"),
        ] {
            let lines = Lines { format, is_journal: true, level };
            assert_eq!(lines.line(event), line);
            let plain = Lines { is_journal: false, ..lines }.line(event);
            assert_eq!(plain, line[PRIORITY..]);
            let long = lines.line(&format!("{{\"message\":{:?}}}", "x".repeat(9000)));
            assert!(long.len() <= MAX_LINE, "{}", long.len());
        }
        let note = Lines { format: Format::Text, is_journal: true, level: Level::ERROR }.note_of_lost(3);
        assert_eq!(note, "<4>WARN 3 lines of the log are lost: nobody read them\n");
    }
}
