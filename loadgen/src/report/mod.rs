//! The report of a run: what stands in the JSON, and what everything else is made of.

pub(crate) mod csv;
pub(crate) mod figures;
pub(crate) mod html;
mod latency;
pub(crate) mod plain;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use self::latency::Latency;
use crate::buckets::lower_bound;
use crate::clock::{Nanos, SECOND};
use crate::plan::{Kind, Plan};
use crate::process::{ProcessReport, own_max_rss};
use crate::record::{Primary, Record};
use crate::run::Outcome;

/// The version of the JSON; it changes when a field changes its name or meaning.
pub(crate) const SCHEMA: &str = "switchboard-loadgen/2";
/// Above this share of its core a thread of the generator measures itself.
const BUSY: f64 = 0.9;
/// Above this share of late sends, for which nobody but the generator is to blame, it measures itself.
const LATE_SHARE: f64 = 0.01;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Every connection and message did what it should.
    Ok,
    /// Something was lost, wrong or refused.
    Failed,
    /// It was interrupted, and nothing had failed until then.
    Interrupted,
}

/// What a run was asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    /// Bytes of a payload, or a range.
    pub(crate) size: String,
    pub(crate) text: bool,
    /// Messages per second of an open loop; in `churn`, connections per second.
    pub(crate) rate: Option<f64>,
    /// Messages that a connection (in `fanout`: a publisher) keeps unanswered at most.
    pub(crate) pipeline: u64,
    /// Messages of each connection, where they end the run.
    pub(crate) messages: Option<u64>,
    pub(crate) warmup_ns: Nanos,
    pub(crate) deflate: bool,
    pub(crate) tls: bool,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) publishers: Option<u32>,
    pub(crate) rooms: Option<u32>,
    pub(crate) slow_connections: Option<u32>,
    pub(crate) slow_bytes_per_second: Option<u64>,
    pub(crate) rounds: Option<u32>,
    pub(crate) seed: u64,
}

/// The generator itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generator {
    /// Share of a core that the busiest thread used in the window.
    pub(crate) busiest_thread: f64,
    /// Cores that all threads used in the window.
    pub(crate) cores: f64,
    /// How late the loop woke for what was planned.
    pub(crate) lag: Option<Latency>,
    /// Sends that were more than a millisecond late and that nobody but the generator held up.
    pub(crate) late: u64,
    /// What is measured may be the generator's limit rather than the server's.
    pub(crate) client_bound: bool,
    /// Most resident memory, in bytes.
    pub(crate) max_rss_bytes: u64,
    pub(crate) os: String,
    pub(crate) arch: String,
    pub(crate) version: String,
}

/// What slow connections met with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slow {
    /// Open to the end.
    pub(crate) held: u64,
    /// Cut off by the server, by how it did that.
    pub(crate) cut: BTreeMap<String, u64>,
    pub(crate) read_bytes: u64,
    /// Messages of theirs without an answer at the end.
    pub(crate) unanswered: u64,
}

/// An equal part of the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// Nanoseconds after the start of the window.
    pub(crate) at_ns: Nanos,
    /// Answers that came in it.
    pub(crate) answered: u64,
    /// Their latencies: lower bound of a bucket (16 to each doubling) in nanoseconds, and count.
    pub(crate) latency: Vec<(Nanos, u64)>,
}

/// The result of an --assert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Assertion {
    pub(crate) condition: String,
    /// In the unit of the condition; none where the run does not have the figure.
    pub(crate) value: Option<f64>,
    pub(crate) holds: bool,
}

/// A finished run and its figures. Counts are of the whole run, the warm-up included, where the name does not say
/// otherwise; latencies are of the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: String,
    pub(crate) scenario: String,
    pub(crate) url: String,
    /// Processes whose reports were merged.
    pub(crate) processes: u32,
    pub(crate) asked: Asked,
    pub(crate) verdict: Verdict,
    pub(crate) assertions: Vec<Assertion>,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) failed: u64,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) notes: Vec<String>,
    pub(crate) window_ns: Nanos,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) answered_in_window: u64,
    pub(crate) messages_per_second: f64,
    pub(crate) opened_in_window: u64,
    pub(crate) handshakes_per_second: f64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
    pub(crate) unsent: u64,
    pub(crate) cut_off: u64,
    pub(crate) pings: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Publishes that everyone got (`fanout`), storms that everyone came through (`storm`).
    pub(crate) completed: u64,
    pub(crate) rejoined: u64,
    /// Histories that the server could not resume, and said so.
    pub(crate) unrecovered: u64,
    /// Of an open loop: messages planned in the window, sent, and sent more than a millisecond late.
    pub(crate) planned_in_window: Option<u64>,
    pub(crate) sent_in_window: Option<u64>,
    pub(crate) late: Option<u64>,
    pub(crate) max_late_ns: Option<Nanos>,
    pub(crate) latency_from_send_ns: Option<Latency>,
    pub(crate) latency_from_plan_ns: Option<Latency>,
    pub(crate) latency_to_last_ns: Option<Latency>,
    pub(crate) latency_of_delivery_ns: Option<Latency>,
    pub(crate) handshake_ns: Option<Latency>,
    pub(crate) handshake_from_plan_ns: Option<Latency>,
    /// How long each storm took until everyone was back.
    pub(crate) storms_ns: Vec<Nanos>,
    pub(crate) slow: Option<Slow>,
    pub(crate) generator: Generator,
    pub(crate) server: Option<ProcessReport>,
    /// Which of the latencies the intervals show: `send`, `plan` or `handshake`.
    pub(crate) intervals_of: String,
    pub(crate) interval_ns: Nanos,
    pub(crate) intervals: Vec<Interval>,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
pub(crate) fn share(value: u64, of: u64) -> f64 {
    if of > 0 { value as f64 / of as f64 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
pub(crate) fn per_second(count: u64, window: Nanos) -> f64 {
    if window > 0 { count as f64 * SECOND as f64 / window as f64 } else { 0.0 }
}

impl Report {
    pub(crate) fn new(plan: &Plan, outcome: &Outcome) -> Self {
        let Outcome { record, process, is_interrupted } = outcome;
        let count = record.count.clone();
        let window_ns =
            if record.window.start == Nanos::MAX { 0 } else { record.window.end - record.window.start };
        let is_open = plan.pacing.rate.is_some() && plan.primary() == Primary::Plan;
        let mut report = Self {
            schema: SCHEMA.to_owned(),
            scenario: plan.kind.name().to_owned(),
            url: plan.target.url.clone(),
            processes: 1,
            asked: asked(plan),
            verdict: Verdict::Ok,
            assertions: Vec::new(),
            opened: count.opened,
            closed: count.closed,
            failed: record.failures().values().sum(),
            failures: record.failures().clone(),
            notes: record.notes.clone(),
            window_ns,
            sent: count.sent,
            answered: count.answered,
            answered_in_window: count.answered_in_window,
            messages_per_second: per_second(count.answered_in_window, window_ns),
            opened_in_window: count.opened_in_window,
            handshakes_per_second: per_second(count.opened_in_window, window_ns),
            lost: count.lost,
            duplicated: count.duplicated,
            reordered: count.reordered,
            corrupted: count.corrupted,
            unsent: count.unsent,
            cut_off: count.cut_off,
            pings: count.pings,
            bytes_in: count.octets_in,
            bytes_out: count.octets_out,
            completed: count.completed,
            rejoined: count.rejoined,
            unrecovered: count.unrecovered,
            planned_in_window: is_open.then_some(count.planned_in_window),
            sent_in_window: is_open.then_some(count.sent_in_window),
            late: is_open.then_some(count.late),
            max_late_ns: is_open.then_some(record.max_late),
            latency_from_send_ns: Latency::some(&record.from_send),
            latency_from_plan_ns: Latency::some(&record.from_plan),
            latency_to_last_ns: Latency::some(&record.to_last),
            latency_of_delivery_ns: Latency::some(&record.delivery),
            handshake_ns: Latency::some(&record.handshake),
            handshake_from_plan_ns: Latency::some(&record.handshake_from_plan),
            storms_ns: record.storms.clone(),
            slow: matches!(plan.kind, Kind::Slow { .. }).then(|| slow(record)),
            generator: generator(record, window_ns, is_open),
            server: process.clone(),
            intervals_of: plan.primary().name().to_owned(),
            interval_ns: record.series.interval,
            intervals: intervals(record),
        };
        report.verdict = match (report.is_flawless(), is_interrupted) {
            (false, _) => Verdict::Failed,
            (true, true) => Verdict::Interrupted,
            (true, false) => Verdict::Ok,
        };
        report
    }

    /// Whether every connection and every message did what it should.
    pub(crate) fn is_flawless(&self) -> bool {
        self.failures.is_empty()
            && [self.unsent, self.lost, self.duplicated, self.reordered, self.corrupted] == [0; 5]
    }

    /// Messages that are not what they should be, by name.
    pub(crate) fn faults(&self) -> [(&'static str, u64); 4] {
        [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("corrupted", self.corrupted),
        ]
    }

    /// What two runs were asked to do differently, apart from whom they asked; empty where their figures can be compared.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let (mine, theirs) = (&self.asked, &other.asked);
        let plan = |report: &Self| {
            let asked = &report.asked;
            let rate = asked.rate.map_or("closed loop".to_owned(), |rate| format!("open loop of {rate}/s"));
            let number = |value: Option<u64>| value.map_or("none".to_owned(), |value| value.to_string());
            [
                ("--connections", asked.connections.to_string()),
                ("--rate", rate),
                ("--size", asked.size.clone()),
                ("--text", asked.text.to_string()),
                ("--pipeline", asked.pipeline.to_string()),
                ("--messages", number(asked.messages)),
                ("--deflate", asked.deflate.to_string()),
                ("TLS", asked.tls.to_string()),
                ("--publishers", number(asked.publishers.map(u64::from))),
                ("--rooms", number(asked.rooms.map(u64::from))),
                ("slow connections", number(asked.slow_connections.map(u64::from))),
                ("--slow-bytes", number(asked.slow_bytes_per_second)),
                ("--rounds", number(asked.rounds.map(u64::from))),
                ("processes", report.processes.to_string()),
            ]
        };
        if mine == theirs && self.processes == other.processes {
            return Vec::new();
        }
        let both = plan(self).into_iter().zip(plan(other));
        both.filter(|(mine, theirs)| mine != theirs)
            .map(|((name, mine), (_, theirs))| format!("{name}: {mine} and {theirs}"))
            .collect()
    }

    /// The latency that the run is about.
    pub(crate) fn primary(&self) -> Option<&Latency> {
        match self.intervals_of.as_str() {
            "handshake" => self.handshake_from_plan_ns.as_ref(),
            "plan" => self.latency_from_plan_ns.as_ref(),
            _ => self.latency_from_send_ns.as_ref(),
        }
    }

    /// The exit status.
    pub(crate) fn exit_code(&self, is_strict: bool) -> u8 {
        match self.verdict {
            Verdict::Failed => 1,
            _ if self.assertions.iter().any(|assertion| !assertion.holds) => 3,
            _ if is_strict && self.generator.client_bound => 4,
            Verdict::Interrupted => 130,
            Verdict::Ok => 0,
        }
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> String {
        // Strings, numbers and names always have a JSON form.
        let mut json = serde_json::to_string(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// Reads what [`Self::json`] wrote.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let head: Head = serde_json::from_str(&text)
            .map_err(|error| format!("{name} is no report of loadgen --json: {error}"))?;
        if head.schema != SCHEMA {
            return Err(format!("{name} has the schema {:?}; this loadgen reads {SCHEMA:?}", head.schema));
        }
        serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))
    }
}

fn slow(record: &Record) -> Slow {
    Slow {
        held: record.count.slow_held,
        cut: record.slow_ends.clone(),
        read_bytes: record.count.slow_octets,
        unanswered: record.count.slow_unanswered,
    }
}

fn asked(plan: &Plan) -> Asked {
    let (mut publishers, mut rooms, mut slow, mut slow_bytes, mut storms) = (None, None, None, None, None);
    let mut messages = plan.messages;
    match plan.kind {
        Kind::Echo | Kind::Idle => {}
        Kind::Fanout { publishers: count, .. } => publishers = Some(count),
        Kind::Chat { rooms: count, .. } => rooms = Some(count),
        Kind::Churn { messages: count } => messages = Some(count),
        Kind::Slow { slow: count, bytes_per_second, publishers: fanout } => {
            (slow, slow_bytes, publishers) = (Some(count), Some(bytes_per_second), fanout);
        }
        Kind::Storm { rounds, rooms: count, .. } => (storms, rooms) = (Some(rounds), Some(count)),
    }
    Asked {
        connections: plan.connections,
        threads: plan.threads,
        size: plan.sizes.to_string(),
        text: plan.message_kind == switchboard::proto::MessageKind::Text,
        rate: plan.pacing.rate,
        pipeline: plan.pacing.pipeline,
        messages,
        warmup_ns: plan.warmup,
        deflate: plan.deflate,
        tls: plan.target.is_tls,
        subprotocols: plan.subprotocols.clone(),
        publishers,
        rooms,
        slow_connections: slow,
        slow_bytes_per_second: slow_bytes,
        rounds: storms,
        seed: plan.seed,
    }
}

fn generator(record: &Record, window_ns: Nanos, is_open: bool) -> Generator {
    let busiest_thread = share(record.processor.iter().copied().max().unwrap_or(0), window_ns);
    let late = record.count.late_by_generator;
    Generator {
        busiest_thread,
        cores: share(record.processor.iter().sum(), window_ns),
        lag: Latency::some(&record.lag),
        late,
        client_bound: busiest_thread > BUSY || is_open && share(late, record.count.sent) > LATE_SHARE,
        max_rss_bytes: own_max_rss(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn intervals(record: &Record) -> Vec<Interval> {
    let series = &record.series;
    let window = record.window.end.saturating_sub(record.window.start);
    (0..series.answered.len())
        .filter(|interval| *interval as u64 * series.interval < window)
        .map(|interval| {
            let row = series.row(interval).iter().enumerate().filter(|(_, count)| **count > 0);
            Interval {
                at_ns: interval as u64 * series.interval,
                answered: series.answered[interval],
                latency: row.map(|(bucket, count)| (lower_bound(bucket), u64::from(*count))).collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_is_client_bound_by_its_late_sends_or_its_busiest_core() {
        let bound = |late: u64, busy: Nanos, is_open: bool| {
            let mut record = Record::new(Primary::Plan).unwrap();
            record.count.sent = 1000;
            record.count.late_by_generator = late;
            record.processor = vec![busy];
            generator(&record, SECOND, is_open).client_bound
        };
        assert!(!bound(10, SECOND / 2, true), "one in a hundred");
        assert!(bound(11, SECOND / 2, true));
        assert!(!bound(500, SECOND / 2, false), "a closed loop has no schedule to be late for");
        assert!(!bound(0, SECOND / 10 * 9, true) && bound(0, SECOND / 10 * 9 + SECOND / 50, false));
    }
}
