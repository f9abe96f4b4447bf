//! The report as text for a terminal.

use std::fmt;

use console::style;

use super::figures::{Time, grouped, rate};
use super::plain::Plain;
use super::{Latency, Report, Verdict};
use crate::condition::Condition;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_title(f)?;
        let (opened, closed) = (grouped(self.opened), grouped(self.closed));
        let (asked, failed) = (grouped(self.asked.connections.into()), grouped(self.failed));
        write!(
            f,
            "connections   {asked} asked for, {opened} opened, {closed} closed cleanly, {failed} failed"
        )?;
        if self.pings > 0 {
            write!(f, ", {} pings answered", grouped(self.pings))?;
        }
        writeln!(f)?;
        self.fmt_messages(f)?;
        self.fmt_throughput(f)?;
        self.fmt_latencies(f)?;
        self.fmt_scenario(f)?;
        self.fmt_generator(f)?;
        if let Some(server) = &self.server {
            let bytes = match (self.scenario.as_str(), server.first_rss_bytes) {
                ("idle", first) if first > 0 && self.opened > 0 => {
                    let grown = server.max_rss_bytes.saturating_sub(first) / self.opened;
                    format!("; {} bytes per connection", grouped(grown))
                }
                _ => String::new(),
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
        for note in &self.notes {
            writeln!(f, "note          {}", Plain(note))?;
        }
        for (name, count) in &self.failures {
            writeln!(f, "failure       {} x {}", grouped(*count), style(Plain(name)).red())?;
        }
        for assertion in &self.assertions {
            let (holds, value) = (assertion.holds, assertion.value);
            let unit = assertion.condition.parse::<Condition>().map(|condition| condition.unit_name());
            let unit = unit.unwrap_or_default();
            let value = value.map_or("not measured".to_owned(), |value| format!("{value:.3}{unit}"));
            let result = if holds { style("holds").green() } else { style("broken").red() };
            writeln!(f, "assert        {} {result}: it is {value}", Plain(&assertion.condition))?;
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
}

impl Report {
    fn fmt_title(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = &self.asked;
        write!(f, "loadgen {}  {}", Plain(&self.scenario), Plain(&self.url))?;
        if self.processes > 1 {
            write!(f, ", {} processes", self.processes)?;
        }
        if self.scenario == "churn" {
            match asked.rate {
                Some(rate) => write!(f, ", open loop of {rate} connections/s")?,
                None => write!(f, ", as fast as connections end")?,
            }
        } else if self.scenario != "idle" && self.scenario != "storm" {
            write!(f, ", {} B", asked.size)?;
            if let Some(rate) = asked.rate {
                write!(f, ", open loop of {rate} msgs/s")?;
            }
            let bound = if asked.rate.is_some() { crate::plan::MAX_IN_FLIGHT } else { u64::MAX };
            if asked.pipeline < bound {
                let whom = if asked.publishers.is_some() { "publisher" } else { "connection" };
                write!(f, ", {} in flight per {whom}", asked.pipeline)?;
            }
        }
        if let Some(publishers) = asked.publishers {
            write!(f, ", {} publishers", grouped(publishers.into()))?;
        }
        if asked.threads > 1 {
            write!(f, ", {} threads", asked.threads)?;
        }
        if asked.deflate {
            write!(f, ", permessage-deflate")?;
        }
        writeln!(f, ", seed {}", asked.seed)
    }

    fn fmt_messages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sent == 0 && self.answered == 0 && self.is_flawless() {
            return Ok(());
        }
        let answered = match self.scenario.as_str() {
            "fanout" => "delivered",
            "slow" if self.asked.publishers.is_some() => "delivered",
            "echo" | "slow" | "churn" => "echoed",
            _ => "answered",
        };
        write!(f, "messages      {} sent, {} {answered}", grouped(self.sent), grouped(self.answered))?;
        if self.asked.warmup_ns > 0 {
            write!(f, " (the warm-up of {} included)", Time(self.asked.warmup_ns))?;
        }
        for (name, count) in self.faults() {
            let text = format!("{} {name}", grouped(count));
            write!(f, ", {}", if count > 0 { style(text).red() } else { style(text) })?;
        }
        for (name, count) in [("unsent", self.unsent), ("under way at the interrupt", self.cut_off)] {
            if count > 0 {
                write!(f, ", {} {name}", grouped(count))?;
            }
        }
        writeln!(f)
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn fmt_throughput(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.window_ns as f64 / 1e9;
        if self.scenario == "churn" {
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
        let is_open = self.planned_in_window.is_some();
        for (latency, name) in [
            (&self.latency_from_plan_ns, "from the planned instant"),
            (&self.latency_from_send_ns, if is_open { "from the actual send" } else { "from the send" }),
            (&self.latency_to_last_ns, "until the last receiver had it"),
            (&self.latency_of_delivery_ns, "until it was delivered, each receiver"),
        ] {
            if let Some(latency) = latency {
                writeln!(f, "latency       {}   {name}", Percentiles(latency))?;
            }
        }
        if let Some(handshake) = &self.handshake_ns {
            writeln!(f, "handshake     {}   from the dial", Percentiles(handshake))?;
        }
        if let (Some(handshake), "churn") = (&self.handshake_from_plan_ns, self.scenario.as_str()) {
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
        Ok(())
    }

    fn fmt_scenario(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(slow) = &self.slow {
            let (held, bytes) = (grouped(slow.held), grouped(slow.read_bytes));
            writeln!(f, "slow readers  {held} held to the end, {bytes} bytes read by all of them")?;
            for (name, count) in &slow.cut {
                writeln!(f, "slow readers  {} cut off: {}", grouped(*count), Plain(name))?;
            }
        }
        for (i, storm) in self.storms_ns.iter().enumerate() {
            writeln!(f, "storm {:<7} everyone was back after {}", i + 1, Time(*storm))?;
        }
        if self.rejoined > 0 {
            writeln!(f, "rooms         {} left and joined again", grouped(self.rejoined))?;
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
        writeln!(f)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// p50, p90, p99 and p99.9, as far as there are samples for them, and the longest.
struct Percentiles<'l>(&'l Latency);

impl fmt::Display for Percentiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { count, p50, p90, p99, p999, max, .. } = *self.0;
        // A percentile needs as many samples as make one of them lie above it.
        for (name, value, needed) in
            [("p50", p50, 2), ("p90", p90, 10), ("p99", p99, 100), ("p99.9", p999, 1000)]
        {
            if count >= needed {
                write!(f, "{name} {}  ", Time(value))?;
            }
        }
        write!(f, "max {}", Time(max))?;
        if count < 1000 { write!(f, "  ({} samples)", grouped(count)) } else { Ok(()) }
    }
}
