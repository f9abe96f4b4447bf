//! The report, for people and as JSON.

use std::fmt::{self, Write as _};

use crate::clock::{Nanos, SECOND};
use crate::plan::{Pacing, Plan};
use crate::record::{LATE, Latency, Record};

/// The version of the JSON; it changes when a field changes its name or meaning.
const SCHEMA: &str = "switchboard-loadgen/1";
/// Above this share of its core the generator measures itself.
const CLIENT_BOUND: f64 = 0.9;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every connection and message did what it should.
    Ok,
    /// Something was lost, wrong or refused.
    Failed,
    /// It was interrupted, and nothing had failed until then.
    Interrupted,
}

impl Verdict {
    /// The exit status.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Interrupted => 130,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A finished run and its figures.
#[derive(Debug)]
pub(crate) struct Report<'r> {
    plan: &'r Plan,
    record: &'r Record,
    pub(crate) verdict: Verdict,
    seconds: f64,
    per_second: f64,
    processor_share: f64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
impl<'r> Report<'r> {
    pub(crate) fn new(plan: &'r Plan, record: &'r Record, is_interrupted: bool) -> Self {
        let window = record.window.end.saturating_sub(record.window.start);
        let seconds = window as f64 / SECOND as f64;
        let share = |value: u64, of: f64| if of > 0.0 { value as f64 / of } else { 0.0 };
        Self {
            plan,
            record,
            verdict: match (record.is_flawless(), is_interrupted) {
                (false, _) => Verdict::Failed,
                (true, true) => Verdict::Interrupted,
                (true, false) => Verdict::Ok,
            },
            seconds,
            per_second: share(record.echoed_in_window, seconds),
            processor_share: share(record.processor, window as f64),
        }
    }

    fn is_client_bound(&self) -> bool {
        self.processor_share > CLIENT_BOUND
    }

    #[expect(clippy::cast_sign_loss, reason = "a rate is not negative")]
    fn rounded_rate(&self) -> u64 {
        self.per_second.round() as u64
    }

    fn megabytes_per_second(&self) -> f64 {
        self.per_second * self.plan.size as f64 / 1e6
    }

    /// One JSON object. Latencies are in nanoseconds.
    pub(crate) fn json(&self) -> String {
        let (plan, record) = (self.plan, self.record);
        let mut json = String::new();
        let mut field = |name: &str, value: &dyn fmt::Display| {
            // Writing to a string does not fail.
            let _ = write!(json, "{}\n  {}: {value}", if json.is_empty() { "{" } else { "," }, quoted(name));
        };
        field("schema", &quoted(SCHEMA));
        field("scenario", &quoted("echo"));
        field("url", &quoted(&plan.target.url));
        field("connections", &plan.connections);
        field("size", &plan.size);
        match plan.pacing {
            Pacing::Closed { pipeline } => field("pipeline", &pipeline),
            Pacing::Open { rate } => field("rate", &rate),
        }
        field("seed", &plan.seed);
        field("warmup_ns", &plan.warmup);
        field("verdict", &quoted(self.verdict.name()));
        field("client_bound", &self.is_client_bound());
        field("processor_share", &format_args!("{:.4}", self.processor_share));
        field("opened", &record.opened);
        field("closed", &record.closed);
        field("failed", &record.failed());
        field("failures", &object(record.failures()));
        field("window_ns", &(record.window.end.saturating_sub(record.window.start)));
        field("sent", &record.sent);
        field("echoed", &record.echoed);
        field("echoed_in_window", &record.echoed_in_window);
        field("messages_per_second", &format_args!("{:.1}", self.per_second));
        for (name, count) in record.faults() {
            field(name, &count);
        }
        field("unsent", &record.unsent);
        field("cut_off", &record.cut_off);
        field("latency_from_send_ns", &latency_object(record.latency_from_send()));
        if let Pacing::Open { .. } = plan.pacing {
            field("latency_from_plan_ns", &latency_object(record.latency_from_plan()));
            field("late", &record.late);
            field("max_lag_ns", &record.max_lag);
        }
        json.push_str("\n}\n");
        json
    }

    fn fmt_messages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        write!(f, "messages      {} sent, {} echoed", grouped(record.sent), grouped(record.echoed))?;
        for (name, count) in record.faults() {
            write!(f, ", {} {name}", grouped(count))?;
        }
        if record.unsent > 0 {
            write!(f, ", {} unsent", grouped(record.unsent))?;
        }
        if record.cut_off > 0 {
            write!(f, ", {} under way at the interrupt", grouped(record.cut_off))?;
        }
        writeln!(f)
    }

    fn fmt_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        if let Pacing::Open { rate } = self.plan.pacing {
            writeln!(
                f,
                "latency       {}   from the planned instant",
                Percentiles(record.latency_from_plan())
            )?;
            writeln!(f, "              {}   from the actual send", Percentiles(record.latency_from_send()))?;
            let late = grouped(record.late);
            let (limit, lag) = (Time(LATE), Time(record.max_lag));
            return writeln!(
                f,
                "schedule      {rate} msgs/s, {late} sent more than {limit} late, {lag} at most"
            );
        }
        writeln!(f, "latency       {}   from the send", Percentiles(record.latency_from_send()))
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plan, record) = (self.plan, self.record);
        write!(f, "loadgen echo  {}, {} B, ", plan.target.url, plan.size)?;
        match plan.pacing {
            Pacing::Closed { pipeline } => write!(f, "{pipeline} in flight per connection")?,
            Pacing::Open { rate } => write!(f, "open loop of {rate} msgs/s")?,
        }
        writeln!(f, ", seed {}", plan.seed)?;
        let (opened, failed) = (grouped(record.opened.into()), grouped(record.failed()));
        let (asked, closed) = (grouped(plan.connections.into()), grouped(record.closed.into()));
        writeln!(
            f,
            "connections   {asked} asked for, {opened} opened, {closed} closed cleanly, {failed} failed"
        )?;
        self.fmt_messages(f)?;
        let (rate, bytes) = (grouped(self.rounded_rate()), self.megabytes_per_second());
        writeln!(f, "throughput    {rate} msgs/s, {bytes:.1} MB/s each way, over {:.2} s", self.seconds)?;
        self.fmt_latencies(f)?;
        write!(f, "generator     {:.0} % of its core", self.processor_share * 100.0)?;
        if self.is_client_bound() {
            write!(f, ": client-bound, the server may be faster than this")?;
        }
        writeln!(f)?;
        for (name, count) in record.failures() {
            writeln!(f, "failure       {} x {name}", grouped(count))?;
        }
        writeln!(f, "verdict       {}", self.verdict.name())
    }
}

/// p50, p90, p99, p99.9 and the longest.
struct Percentiles(Latency);

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { count, p50, p90, p99, p999, max } = self.0;
        if count == 0 {
            return f.write_str("not measured");
        }
        let (p50, p90, p99, p999, max) = (Time(p50), Time(p90), Time(p99), Time(p999), Time(max));
        write!(f, "p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max}")
    }
}

/// A time for people: three digits and a unit.
struct Time(Nanos);

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            nanos @ 0..1_000_000 => (nanos as f64 / 1e3, "us"),
            nanos @ 1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
            nanos => (nanos as f64 / 1e9, "s"),
        };
        let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        write!(f, "{value:.digits$} {unit}")
    }
}

/// 1234567 as 1,234,567.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn latency_object(latency: Latency) -> String {
    let Latency { count, p50, p90, p99, p999, max } = latency;
    object(
        [("count", count), ("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p999), ("max", max)]
            .into_iter(),
    )
}

fn object<'n>(members: impl Iterator<Item = (&'n str, u64)>) -> String {
    let members: Vec<String> = members.map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    format!("{{{}}}", members.join(", "))
}

/// A JSON string (RFC 8259 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0, 12, 999, 1000, 1_234_567].map(grouped), ["0", "12", "999", "1,000", "1,234,567"]);
        let times =
            [0, 1_234, 45_678, 456_789, 1_500_000, 2_000_000_000].map(|nanos| Time(nanos).to_string());
        assert_eq!(times, ["0.00 us", "1.23 us", "45.7 us", "457 us", "1.50 ms", "2.00 s"]);
    }

    #[test]
    fn strings_of_json_are_escaped() {
        assert_eq!(quoted("a\"b\\c\nd"), "\"a\\\"b\\\\c\\u000ad\"");
    }
}
