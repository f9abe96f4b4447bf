//! The report of a run: the fields of the JSON, from which every other form is made.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize};
use switchboard::proto::MessageKind;

use super::agents::AgentReport;
use super::environment::{host, kernel, shown_command, shown_subprotocol};
use super::figures::{per_second, share};
use super::frequency::Frequency;
use super::intervals::{Interval, drift_trend, intervals};
use super::latency::Latency;
use super::process::{ProcessReport, own_max_rss};
use super::record::Record;
use super::urls::{UrlReport, urls};
use crate::clock::Nanos;
use crate::input::condition::Condition;
use crate::input::plan::{Paced, Plan, Primary};
use crate::input::values::Arrivals;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) record: Record,
    pub(crate) process: Option<ProcessReport>,
    pub(crate) machine: Machine,
    pub(crate) is_interrupted: bool,
    pub(crate) started_at: SystemTime,
    /// The instant of the first message, if it came to that.
    pub(crate) begun_at: Option<SystemTime>,
}

/// What the kernel tells of this machine in the window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Machine {
    /// Share of the processor time that the hypervisor took.
    pub(crate) steal: Option<f64>,
    pub(crate) frequency: Option<Frequency>,
}

/// The version of the JSON. A new version means that a field has changed its name or meaning; fields may be added without one.
pub(crate) const SCHEMA: &str = "switchboard-loadgen/2";
/// A thread that uses more than this share of its core makes the run client-bound.
const BUSY: f64 = 0.9;
/// More than this share of late sends, by the generator's own fault, makes the run client-bound.
const LATE_SHARE: f64 = 0.01;

/// The detail that the scenario `slow` has.
pub(crate) const SLOW_CONNECTIONS: &str = "slow_connections";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Every connection and every message was correct.
    Ok,
    /// A message was lost or wrong, or a connection failed.
    Failed,
    /// The run was interrupted, and nothing had failed until then.
    Interrupted,
}

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    /// Bytes of a payload, or a range.
    pub(crate) size: String,
    pub(crate) text: bool,
    /// Messages per second of an open loop; in `churn`, connections per second.
    pub(crate) rate: Option<f64>,
    /// The rates of an open loop that change over time.
    #[serde(default)]
    pub(crate) stages: Option<String>,
    /// How the messages of an open loop are spread.
    #[serde(default = "even")]
    pub(crate) arrivals: String,
    /// Closed loop: the time between an answer and the next message.
    #[serde(default)]
    pub(crate) think: Option<String>,
    /// Limit on the unanswered messages of a connection, or of a publisher.
    pub(crate) pipeline: u64,
    /// Messages of each connection, if their number ends the run.
    pub(crate) messages: Option<u64>,
    pub(crate) warmup_ns: Nanos,
    pub(crate) deflate: bool,
    pub(crate) tls: bool,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) seed: u64,
    /// Numbers of the scenario's own options, such as `publishers`.
    #[serde(flatten, deserialize_with = "numbers")]
    pub(crate) details: BTreeMap<String, u64>,
}

/// The generator itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generator {
    /// Share of its core that the busiest thread used in the window.
    pub(crate) busiest_thread: f64,
    /// Cores that all threads used in the window.
    pub(crate) cores: f64,
    /// Delay of each wake-up behind the instant for which it was set.
    pub(crate) lag: Option<Latency>,
    /// Sends that were more than a millisecond late by the generator's own fault.
    pub(crate) late: u64,
    /// Share of this machine's processor time that the hypervisor gave to others in the window.
    #[serde(default)]
    pub(crate) steal: Option<f64>,
    /// Clock frequency of this machine's processors in the window.
    #[serde(default)]
    pub(crate) frequency: Option<Frequency>,
    /// The figures may show the limit of the generator rather than that of the server.
    pub(crate) client_bound: bool,
    /// Maximum of the resident memory, in bytes.
    pub(crate) max_rss_bytes: u64,
    /// Name of the machine.
    #[serde(default)]
    pub(crate) host: String,
    /// Release of the kernel.
    #[serde(default)]
    pub(crate) kernel: String,
    pub(crate) os: String,
    pub(crate) arch: String,
    pub(crate) version: String,
}

/// The slow connections of the scenario `slow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slow {
    /// Open until the end.
    pub(crate) held: u64,
    /// Closed by the server, by name and count.
    pub(crate) cut: BTreeMap<String, u64>,
    pub(crate) read_bytes: u64,
    /// Their unanswered messages at the end.
    pub(crate) unanswered: u64,
}

/// The result of an --assert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Assertion {
    pub(crate) condition: String,
    /// In the unit of the condition; `None` if the run did not measure the figure.
    pub(crate) value: Option<f64>,
    pub(crate) holds: bool,
}

impl Assertion {
    /// The measured value with its unit.
    pub(crate) fn measured(&self) -> String {
        let unit = self.condition.parse::<Condition>().map(|condition| condition.unit_name());
        let unit = unit.unwrap_or_default();
        self.value.map_or("not measured".to_owned(), |value| format!("{value:.3}{unit}"))
    }
}

/// A latency of a report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'r> {
    /// The word for it in conditions.
    pub(crate) group: &'static str,
    /// The words for it in texts.
    pub(crate) phrase: &'static str,
    pub(crate) latency: &'r Latency,
}

/// A finished run and its figures. Counts cover the whole run, the warm-up included, unless the name says otherwise.
/// Latencies cover the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: String,
    pub(crate) scenario: String,
    /// What the text calls an answer, such as `echoed`.
    #[serde(default = "answered")]
    pub(crate) answers: String,
    /// What `asked.rate` counts.
    #[serde(default)]
    pub(crate) paced: Paced,
    /// The first URL, and how many more there are.
    pub(crate) url: String,
    /// What each server did.
    #[serde(default)]
    pub(crate) urls: Vec<UrlReport>,
    /// Start of the run in UTC (RFC 3339).
    #[serde(default)]
    pub(crate) started_at: String,
    /// The instant at which messages began, in UTC (RFC 3339).
    #[serde(default)]
    pub(crate) begun_at: Option<String>,
    /// The agents of a lead.
    #[serde(default)]
    pub(crate) agents: Vec<AgentReport>,
    /// The command line, without secrets.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// Processes whose reports were merged.
    pub(crate) processes: u32,
    pub(crate) asked: Asked,
    /// What is different in this run, in the words of --annotate.
    #[serde(default)]
    pub(crate) annotations: Vec<String>,
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
    /// Publishes that reached every receiver (`fanout`); storms after which every connection was served (`storm`).
    pub(crate) completed: u64,
    pub(crate) rejoined: u64,
    /// Joins that the server asked to repeat later.
    #[serde(default)]
    pub(crate) put_off: u64,
    /// Histories that the server reported as not resumable.
    pub(crate) unrecovered: u64,
    /// Open loop: messages planned in the window, those of them that were sent, and all that left more than a millisecond
    /// late.
    pub(crate) planned_in_window: Option<u64>,
    pub(crate) sent_in_window: Option<u64>,
    pub(crate) late: Option<u64>,
    pub(crate) max_late_ns: Option<Nanos>,
    /// Open loop: from the planned instant of each message in the window to its send.
    #[serde(default)]
    pub(crate) drift_ns: Option<Latency>,
    /// By how much that grows, in nanoseconds for each second of the run.
    #[serde(default)]
    pub(crate) drift_trend_ns_per_s: Option<f64>,
    pub(crate) latency_from_send_ns: Option<Latency>,
    pub(crate) latency_from_plan_ns: Option<Latency>,
    pub(crate) latency_to_last_ns: Option<Latency>,
    pub(crate) latency_of_delivery_ns: Option<Latency>,
    pub(crate) handshake_ns: Option<Latency>,
    pub(crate) handshake_from_plan_ns: Option<Latency>,
    /// The parts of the handshake: until TCP is established, the TLS handshake, and the opening handshake itself.
    #[serde(default)]
    pub(crate) dial_ns: Option<Latency>,
    #[serde(default)]
    pub(crate) tls_ns: Option<Latency>,
    #[serde(default)]
    pub(crate) upgrade_ns: Option<Latency>,
    /// On each connection, from the first write after the opening handshake to the first read after that.
    #[serde(default)]
    pub(crate) first_answer_ns: Option<Latency>,
    /// Duration of each storm, until every connection was served again.
    pub(crate) storms_ns: Vec<Nanos>,
    pub(crate) slow: Option<Slow>,
    pub(crate) generator: Generator,
    pub(crate) server: Option<ProcessReport>,
    /// The latency of the intervals: `send`, `plan` or `handshake`.
    pub(crate) intervals_of: String,
    pub(crate) interval_ns: Nanos,
    pub(crate) intervals: Vec<Interval>,
}

impl Report {
    #[expect(clippy::too_many_lines, reason = "a line for each field")]
    pub(crate) fn new(plan: &Plan, outcome: &Outcome) -> Self {
        let Outcome { record, process, machine, is_interrupted, started_at, begun_at } = outcome;
        let Machine { steal, frequency } = *machine;
        let intervals = intervals(record);
        let count = record.count.clone();
        let window_ns = record.window_ns();
        let is_open = plan.pacing.is_open() && plan.primary() == Primary::Plan;
        let mut report = Self {
            schema: SCHEMA.to_owned(),
            scenario: plan.name.to_owned(),
            answers: plan.answered.to_owned(),
            paced: plan.paced,
            url: plan.url(),
            urls: urls(plan, record),
            started_at: humantime::format_rfc3339_millis(*started_at).to_string(),
            begun_at: begun_at.map(|begun| humantime::format_rfc3339_nanos(begun).to_string()),
            agents: Vec::new(),
            command: shown_command(std::env::args()),
            processes: 1,
            asked: asked(plan),
            annotations: Vec::new(),
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
            put_off: count.put_off,
            unrecovered: count.unrecovered,
            planned_in_window: is_open.then_some(count.planned_in_window),
            sent_in_window: is_open.then_some(count.sent_in_window),
            late: is_open.then_some(count.late),
            max_late_ns: is_open.then_some(record.max_late),
            drift_ns: Latency::some(&record.drift),
            drift_trend_ns_per_s: drift_trend(&intervals, record.series.interval),
            latency_from_send_ns: Latency::some(&record.from_send),
            latency_from_plan_ns: Latency::some(&record.from_plan),
            latency_to_last_ns: Latency::some(&record.to_last),
            latency_of_delivery_ns: Latency::some(&record.delivery),
            handshake_ns: Latency::some(&record.handshake),
            handshake_from_plan_ns: Latency::some(&record.handshake_from_plan),
            dial_ns: Latency::some(&record.dial),
            tls_ns: Latency::some(&record.tls),
            upgrade_ns: Latency::some(&record.upgrade),
            first_answer_ns: Latency::some(&record.first_answer),
            storms_ns: record.storms.clone(),
            slow: plan.details.contains_key(SLOW_CONNECTIONS).then(|| slow(record)),
            generator: Generator { steal, frequency, ..generator(record, window_ns, is_open) },
            server: process.clone(),
            intervals_of: plan.primary().name().to_owned(),
            interval_ns: record.series.interval,
            intervals,
        };
        report.verdict = report.judged(*is_interrupted);
        report
    }

    /// The verdict of what was counted. `is_interrupted`: somebody ended the run.
    pub(crate) fn judged(&self, is_interrupted: bool) -> Verdict {
        match (self.is_flawless(), is_interrupted) {
            (false, _) => Verdict::Failed,
            (true, true) => Verdict::Interrupted,
            (true, false) => Verdict::Ok,
        }
    }

    /// Whether every connection and every message was correct.
    pub(crate) fn is_flawless(&self) -> bool {
        self.failures.is_empty()
            && [self.unsent, self.lost, self.duplicated, self.reordered, self.corrupted] == [0; 5]
    }

    /// Wrong messages, by name and count.
    pub(crate) fn faults(&self) -> [(&'static str, u64); 4] {
        [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("corrupted", self.corrupted),
        ]
    }

    /// The differences between the plans of two runs, apart from the server. Empty: their figures can be compared.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let (mine, theirs) = (&self.asked, &other.asked);
        let plan = |report: &Self| {
            let asked = &report.asked;
            let rate = match (&asked.stages, asked.rate) {
                (Some(stages), _) => format!("open loop of {stages}"),
                (None, Some(rate)) => format!("open loop of {rate}/s"),
                (None, None) => "closed loop".to_owned(),
            };
            let number = |value: Option<u64>| value.map_or("none".to_owned(), |value| value.to_string());
            let shared = [
                ("--connections", asked.connections.to_string()),
                ("--rate", rate),
                ("--arrivals", asked.arrivals.clone()),
                ("--think", asked.think.clone().unwrap_or_default()),
                ("--size", asked.size.clone()),
                ("--text", asked.text.to_string()),
                ("--pipeline", asked.pipeline.to_string()),
                ("--messages", number(asked.messages)),
                ("--deflate", asked.deflate.to_string()),
                ("TLS", asked.tls.to_string()),
                ("processes", report.processes.to_string()),
            ];
            let names = mine.details.keys().chain(theirs.details.keys());
            let own: BTreeMap<String, String> = names
                .map(|name| (name.replace('_', " "), number(asked.details.get(name).copied())))
                .collect();
            shared.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(own).collect::<Vec<_>>()
        };
        if mine == theirs && self.processes == other.processes {
            return Vec::new();
        }
        let both = plan(self).into_iter().zip(plan(other));
        both.filter(|(mine, theirs)| mine != theirs)
            .map(|((name, mine), (_, theirs))| format!("{name}: {mine} and {theirs}"))
            .collect()
    }

    /// The latency that the run is about, if it was measured.
    pub(crate) fn primary(&self) -> Option<&Latency> {
        match self.intervals_of.as_str() {
            "handshake" => self.handshake_from_plan_ns.as_ref(),
            "plan" => self.latency_from_plan_ns.as_ref(),
            _ => self.latency_from_send_ns.as_ref(),
        }
    }

    /// Resident memory of the server for each connection, in bytes: of a local server whose connections were only held.
    pub(crate) fn server_bytes_per_connection(&self) -> Option<u64> {
        let server = self.server.as_ref().filter(|server| server.first_rss_bytes > 0)?;
        let is_held = self.paced == Paced::Nothing && self.storms_ns.is_empty();
        let grown = server.max_rss_bytes.saturating_sub(server.first_rss_bytes);
        if is_held { grown.checked_div(self.opened) } else { None }
    }

    /// The measured latencies.
    pub(crate) fn latencies(&self) -> impl Iterator<Item = Named<'_>> {
        let is_open = self.planned_in_window.is_some();
        let from_send = if is_open { "latency from the actual send" } else { "latency from the send" };
        [
            ("plan", "latency from the planned instant", &self.latency_from_plan_ns),
            ("send", from_send, &self.latency_from_send_ns),
            ("last", "latency until the last delivery", &self.latency_to_last_ns),
            ("delivery", "latency until each delivery", &self.latency_of_delivery_ns),
            ("handshake", "handshake from the dial", &self.handshake_ns),
            ("dial", "connect until TCP is established", &self.dial_ns),
            ("tls", "connect TLS handshake", &self.tls_ns),
            ("upgrade", "connect opening handshake", &self.upgrade_ns),
            ("first", "connect from the first message to the first answer", &self.first_answer_ns),
        ]
        .into_iter()
        .filter_map(|(group, phrase, latency)| Some(Named { group, phrase, latency: latency.as_ref()? }))
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

    /// The report as one JSON object in one line.
    pub(crate) fn json(&self) -> String {
        // Cannot fail: all keys are strings.
        let mut json = serde_json::to_string(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// Reads what [`Self::json`] wrote.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        Self::parse(&text).map_err(|error| format!("{name} {error}"))
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow its name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_str(text)
            .map_err(|error| format!("is not a report of loadgen --json: {error}"))?;
        if head.schema != SCHEMA {
            return Err(format!("has the schema {:?}; this loadgen reads {SCHEMA:?}", head.schema));
        }
        serde_json::from_str(text).map_err(|error| format!("is damaged: {error}"))
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

/// The default of [`Report::answers`].
fn answered() -> String {
    "answered".to_owned()
}

/// The default of [`Asked::arrivals`].
fn even() -> String {
    Arrivals::Even.to_string()
}

/// Reads the numbers among further fields; a scenario without the option may have written `null`.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, u64>, D::Error> {
    let fields = BTreeMap::<String, Option<u64>>::deserialize(deserializer)?;
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

fn asked(plan: &Plan) -> Asked {
    let mut details = plan.details.clone();
    Asked {
        connections: plan.connections,
        threads: plan.threads,
        size: plan.sizes.to_string(),
        text: plan.message_kind == MessageKind::Text,
        rate: plan.pacing.rate(),
        stages: plan.pacing.stages().map(ToString::to_string),
        arrivals: plan.pacing.arrivals.to_string(),
        think: plan.think.map(|think| think.to_string()),
        pipeline: plan.pacing.pipeline,
        // Messages of each connection, even if they do not end the run.
        messages: details.remove("messages").or(plan.messages),
        warmup_ns: plan.warmup,
        deflate: plan.deflate,
        tls: plan.destinations.iter().any(|destination| destination.target.is_tls),
        subprotocols: plan.subprotocols.iter().map(|name| shown_subprotocol(name)).collect(),
        seed: plan.seed,
        details,
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
        steal: None,
        frequency: None,
        client_bound: busiest_thread > BUSY || is_open && share(late, record.count.sent) > LATE_SHARE,
        max_rss_bytes: own_max_rss(),
        host: host(),
        kernel: kernel(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

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
