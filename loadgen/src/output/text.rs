//! The report as text for a terminal.

use std::fmt;

use console::style;

use super::bars::{distribution, rate_over_time};
use super::figures::{Time, grouped, mebibytes, rate};
use super::frequency::Frequency;
use super::latency::Latency;
use super::plain::Plain;
use super::report::{Named, Report, Verdict};
use super::steal::MUCH;
use super::urls::UrlReport;
use crate::input::plan::{MAX_IN_FLIGHT, Paced};

/// The detail of scenarios in which some of the connections publish.
const PUBLISHERS: &str = "publishers";

/// A report with charts.
pub(crate) struct WithBars<'r>(pub(crate) &'r Report);

impl fmt::Display for WithBars<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        report.fmt_head(f)?;
        if let Some(curve) = rate_over_time(report) {
            writeln!(f, "over time     {}", style(curve).cyan())?;
        }
        if let Some(latency) = report.primary() {
            for (i, row) in distribution(latency).into_iter().enumerate() {
                writeln!(f, "{:<12}  {}", if i == 0 { "distribution" } else { "" }, style(row).cyan())?;
            }
        }
        report.fmt_tail(f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_head(f)?;
        self.fmt_tail(f)
    }
}

impl Report {
    /// Connections, messages, throughput and latencies.
    fn fmt_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_title(f)?;
        for annotation in &self.annotations {
            writeln!(f, "annotation    {}", Plain(annotation))?;
        }
        let (opened, closed) = (grouped(self.opened), grouped(self.closed));
        let (asked, failed) = (grouped(self.asked.connections.into()), grouped(self.failed));
        write!(
            f,
            "connections   {asked} requested, {opened} opened, {closed} closed cleanly, {failed} failed"
        )?;
        if self.pings > 0 {
            write!(f, ", {} pings answered", grouped(self.pings))?;
        }
        writeln!(f)?;
        self.fmt_urls(f)?;
        self.fmt_messages(f)?;
        self.fmt_throughput(f)?;
        self.fmt_latencies(f)
    }

    /// Scenario, generator, server, failures, assertions and the verdict.
    fn fmt_tail(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_scenario(f)?;
        self.fmt_generator(f)?;
        if let Some(server) = &self.server {
            let bytes = match self.server_bytes_per_connection() {
                Some(bytes) => format!("; {} bytes per connection", grouped(bytes)),
                None => String::new(),
            };
            writeln!(
                f,
                "server        pid {}: {:.2} cores (user {}, system {}), {:.1} MiB at most, {} + {} context switches{bytes}",
                server.pid,
                server.cores,
                Time(server.user_ns),
                Time(server.system_ns),
                mebibytes(server.max_rss_bytes),
                grouped(server.voluntary_switches),
                grouped(server.involuntary_switches)
            )?;
        }
        for agent in &self.agents {
            let line = if agent.lost.is_some() { style(agent).red() } else { style(agent) };
            writeln!(f, "agent         {line}")?;
        }
        for note in &self.notes {
            writeln!(f, "note          {}", Plain(note))?;
        }
        for (name, count) in &self.failures {
            writeln!(f, "failure       {} x {}", grouped(*count), style(Plain(name)).red())?;
        }
        for assertion in &self.assertions {
            let (sign, result) = if assertion.holds {
                (style("✓").green(), style("holds").green())
            } else {
                (style("✗").red(), style("broken").red())
            };
            let (condition, measured) = (Plain(&assertion.condition), assertion.measured());
            writeln!(f, "assert        {sign} {condition} {result}: it is {measured}")?;
        }
        let (broken, all) =
            (self.assertions.iter().filter(|assertion| !assertion.holds).count(), self.assertions.len());
        let broken = match broken {
            0 => String::new(),
            broken => format!(": {broken} of {all} assertions broken"),
        };
        let verdict = match self.verdict {
            Verdict::Ok if !broken.is_empty() => style("failed").red(),
            Verdict::Ok => style("ok").green(),
            Verdict::Failed => style("failed").red(),
            Verdict::Interrupted => style("interrupted").yellow(),
        };
        writeln!(f, "verdict       {verdict}{broken}")
    }

    fn fmt_title(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = &self.asked;
        write!(f, "loadgen {}  {}", Plain(&self.scenario), Plain(&self.url))?;
        if self.processes > 1 {
            write!(f, ", {} processes", self.processes)?;
        }
        let pace = match (&asked.stages, asked.rate) {
            (Some(stages), _) => Some(format!("{} of", Plain(stages))),
            (None, Some(rate)) => Some(rate.to_string()),
            (None, None) => None,
        };
        match (self.paced, &pace) {
            (Paced::Nothing, _) => {}
            (Paced::Connections, Some(rate)) => write!(f, ", open loop of {rate} connections/s")?,
            (Paced::Connections, None) => write!(f, ", as fast as connections end")?,
            (Paced::Messages, rate) => {
                write!(f, ", {} B", asked.size)?;
                if let Some(rate) = rate {
                    write!(f, ", open loop of {rate} msgs/s")?;
                }
                let bound = if rate.is_some() { MAX_IN_FLIGHT } else { u64::MAX };
                if asked.pipeline < bound {
                    let sender =
                        if asked.details.contains_key(PUBLISHERS) { "publisher" } else { "connection" };
                    write!(f, ", {} in flight per {sender}", asked.pipeline)?;
                }
            }
        }
        if pace.is_some() && asked.arrivals != "even" {
            write!(f, ", {} arrivals", Plain(&asked.arrivals))?;
        }
        if let Some(think) = &asked.think {
            write!(f, ", think time {}", Plain(think))?;
        }
        if let Some(publishers) = asked.details.get(PUBLISHERS) {
            write!(f, ", {} publishers", grouped(*publishers))?;
        }
        if asked.threads > 1 {
            write!(f, ", {} threads", asked.threads)?;
        }
        if asked.deflate {
            write!(f, ", permessage-deflate")?;
        }
        writeln!(f, ", seed {}", asked.seed)
    }

    /// A line for each of several servers.
    fn fmt_urls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.urls.len() > 1 { &self.urls[..] } else { &[] };
        for UrlReport { url, opened, closed, answered, faults, failed, .. } in shown {
            let [opened, closed, answered] = [opened, closed, answered].map(|count| grouped(*count));
            write!(
                f,
                "server        {}: {opened} opened, {closed} closed cleanly, {answered} {}",
                Plain(url),
                Plain(&self.answers)
            )?;
            for (name, count) in [("faults", *faults), ("failed", *failed)] {
                let text = format!("{} {name}", grouped(count));
                write!(f, ", {}", if count > 0 { style(text).red() } else { style(text) })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn fmt_messages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sent == 0 && self.answered == 0 && self.is_flawless() {
            return Ok(());
        }
        write!(
            f,
            "messages      {} sent, {} {}",
            grouped(self.sent),
            grouped(self.answered),
            Plain(&self.answers)
        )?;
        if self.asked.warmup_ns > 0 {
            write!(f, " (the warm-up of {} included)", Time(self.asked.warmup_ns))?;
        }
        for (name, count) in self.faults() {
            let text = format!("{} {name}", grouped(count));
            write!(f, ", {}", if count > 0 { style(text).red() } else { style(text) })?;
        }
        for (name, count) in [("unsent", self.unsent), ("unanswered at the interrupt", self.cut_off)] {
            if count > 0 {
                write!(f, ", {} {name}", grouped(count))?;
            }
        }
        writeln!(f)
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn fmt_throughput(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.window_ns as f64 / 1e9;
        if self.paced == Paced::Connections {
            let handshakes = rate(self.handshakes_per_second);
            writeln!(f, "throughput    {handshakes} connections/s, over {seconds:.2} s")?;
        }
        if self.answered > 0 {
            let (rate, bytes) = (rate(self.messages_per_second), self.bytes_in as f64 / 1e6);
            writeln!(f, "throughput    {rate} msgs/s over {seconds:.2} s; {bytes:.1} MB read in all")?;
        }
        Ok(())
    }

    fn fmt_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Named { phrase, latency, .. } in self.latencies() {
            let (what, whence) = phrase.split_once(' ').unwrap_or((phrase, ""));
            writeln!(f, "{what:<12}  {}   {whence}", Percentiles(latency))?;
        }
        if let (Some(handshake), Paced::Connections) = (&self.handshake_from_plan_ns, self.paced) {
            writeln!(f, "handshake     {}   from the planned instant", Percentiles(handshake))?;
        }
        if let (Some(planned), Some(sent), Some(late)) =
            (self.planned_in_window, self.sent_in_window, self.late)
        {
            let (planned, sent, late) = (grouped(planned), grouped(sent), grouped(late));
            let most = Time(self.max_late_ns.unwrap_or(0));
            writeln!(
                f,
                "schedule      {planned} planned, {sent} sent; {late} of all left more than 1 ms late, {most} at most"
            )?;
        }
        if let Some(drift) = Drift::of(self) {
            writeln!(f, "drift         {drift}   from the planned instant to the send")?;
        }
        Ok(())
    }

    fn fmt_scenario(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(slow) = &self.slow {
            let (held, bytes) = (grouped(slow.held), grouped(slow.read_bytes));
            writeln!(f, "slow readers  {held} open until the end, {bytes} bytes read by all of them")?;
            for (name, count) in &slow.cut {
                writeln!(f, "slow readers  {} cut off: {}", grouped(*count), Plain(name))?;
            }
        }
        for (i, storm) in self.storms_ns.iter().enumerate() {
            writeln!(f, "storm {:<7} every connection was served again after {}", i + 1, Time(*storm))?;
        }
        if self.rejoined > 0 {
            writeln!(f, "rooms         {} left and joined again", grouped(self.rejoined))?;
        }
        if self.put_off > 0 {
            writeln!(f, "rooms         {} joins that the server put off until later", grouped(self.put_off))?;
        }
        if self.unrecovered > 0 {
            writeln!(f, "rooms         {} histories could not be resumed", grouped(self.unrecovered))?;
        }
        Ok(())
    }

    fn fmt_generator(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generator = &self.generator;
        let (busiest, memory) = (generator.busiest_thread * 100.0, mebibytes(generator.max_rss_bytes));
        write!(f, "generator     {busiest:.0} % of its core")?;
        if self.asked.threads > 1 {
            write!(f, " (the busiest of {} threads)", self.asked.threads)?;
        }
        write!(f, ", {memory:.1} MiB")?;
        if let Some(lag) = &generator.lag {
            write!(f, ", woke p99 {} late, {} at most", Time(lag.p99), Time(lag.max))?;
        }
        if generator.client_bound {
            let text = ": client-bound, the server may be faster than this";
            write!(f, "{}", style(text).yellow())?;
        }
        writeln!(f)?;
        let is_unsteady = generator.frequency.is_some_and(Frequency::is_unsteady);
        let (mhz, steal) = (style(mhz(generator.frequency)), style(steal_of(generator.steal)));
        let mhz = if is_unsteady { mhz.yellow() } else { mhz };
        let steal = if generator.steal.is_some_and(|steal| steal > MUCH) { steal.yellow() } else { steal };
        writeln!(f, "machine       {mhz}; {steal}")
    }
}

/// The clock frequency of the processors for people.
pub(super) fn mhz(frequency: Option<Frequency>) -> String {
    match frequency {
        Some(Frequency { min_mhz, max_mhz }) => {
            format!("processors at {} to {} MHz", rate(min_mhz), rate(max_mhz))
        }
        None => "the frequency of the processors is unknown".to_owned(),
    }
}

/// The processor time that the hypervisor took, for people.
pub(super) fn steal_of(share: Option<f64>) -> String {
    match share {
        Some(share) => format!("the hypervisor took {:.1} % of all cores", share * 100.0),
        None => "the time that a hypervisor took is unknown".to_owned(),
    }
}

/// The drift of the schedule of an open loop.
pub(super) struct Drift<'r> {
    drift: &'r Latency,
    trend: Option<f64>,
}

impl<'r> Drift<'r> {
    /// The drift of a run, if it has a schedule.
    pub(super) fn of(report: &'r Report) -> Option<Self> {
        Some(Self { drift: report.drift_ns.as_ref()?, trend: report.drift_trend_ns_per_s })
    }
}

impl fmt::Display for Drift<'_> {
    #[expect(clippy::cast_sign_loss, reason = "neither is negative")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drift, trend } = self;
        write!(f, "mean {}  {}", Time(drift.mean.round() as u64), Percentiles(drift))?;
        match trend {
            Some(trend) => {
                let sign = if *trend < 0.0 { '-' } else { '+' };
                write!(f, "  trend {sign}{} per second", Time(trend.abs().round() as u64))
            }
            None => f.write_str("  trend not measured: too short a run"),
        }
    }
}

/// The percentiles with enough samples, and the maximum.
struct Percentiles<'l>(&'l Latency);

impl fmt::Display for Percentiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.0.supported().map(|(name, value)| format!("{name} {}", Time(value)));
        f.write_str(&values.collect::<Vec<_>>().join("  "))?;
        if self.0.count < 1000 { write!(f, "  ({} samples)", grouped(self.0.count)) } else { Ok(()) }
    }
}
