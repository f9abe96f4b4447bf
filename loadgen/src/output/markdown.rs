//! The result as Markdown (GitHub flavour), for a pull request or a job summary.

use std::fmt::Write as _;

use super::figures::{Time, grouped, mebibytes, rate};
use super::plain::Plain;
use super::report::{Named, Report, Verdict};
use super::text::{Drift, mhz, steal_of};
use crate::input::plan::Paced;

/// A heading with the verdict, a table of figures, and lists of assertions and failures.
pub(super) fn markdown(report: &Report) -> String {
    let is_held = report.assertions.iter().all(|assertion| assertion.holds);
    let (sign, verdict) = match report.verdict {
        Verdict::Ok if is_held => ("✅", "ok"),
        Verdict::Ok | Verdict::Failed => ("❌", "failed"),
        Verdict::Interrupted => ("⚠️", "interrupted"),
    };
    let mut text = format!("### {sign} loadgen {}: {verdict}\n\n", escaped(&report.scenario));
    // Writing to a string does not fail.
    let _ = writeln!(text, "`{}`\n", code(&report.url));
    for annotation in &report.annotations {
        let _ = writeln!(text, "{}\n", escaped(annotation));
    }
    text.push_str("| figure | value |\n|---|---|\n");
    for (name, value) in rows(report) {
        let _ = writeln!(text, "| {name} | {} |", escaped(&value));
    }
    if !report.assertions.is_empty() {
        text.push_str("\n| | assertion | measured |\n|---|---|---|\n");
        for assertion in &report.assertions {
            let sign = if assertion.holds { "✅" } else { "❌" };
            let (condition, measured) = (code(&assertion.condition), escaped(&assertion.measured()));
            let _ = writeln!(text, "| {sign} | `{condition}` | {measured} |");
        }
    }
    if !report.failures.is_empty() {
        text.push_str("\n| failures | |\n|---|---|\n");
        for (name, count) in &report.failures {
            let _ = writeln!(text, "| {} | {} |", grouped(*count), escaped(name));
        }
    }
    for note in &report.notes {
        let _ = writeln!(text, "\n> {}", escaped(note));
    }
    if report.generator.client_bound {
        text.push_str("\n> client-bound: the figures may show the limit of the generator\n");
    }
    if !report.command.is_empty() {
        let _ = writeln!(text, "\n<sub>{}</sub>", escaped(&report.command.join(" ")));
    }
    text
}

fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let mut rows = vec![(
        "connections",
        format!("{} opened, {} failed", grouped(report.opened), grouped(report.failed)),
    )];
    if report.paced == Paced::Connections {
        rows.push(("handshakes", format!("{} connections/s", rate(report.handshakes_per_second))));
    }
    if report.answered > 0 || report.sent > 0 {
        let wrong: Vec<String> = report
            .faults()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!(", {} {name}", grouped(count)))
            .collect();
        let (sent, answered) = (grouped(report.sent), grouped(report.answered));
        rows.push(("messages", format!("{sent} sent, {answered} {}{}", report.answers, wrong.concat())));
        rows.push(("throughput", format!("{} msgs/s", rate(report.messages_per_second))));
    }
    for Named { phrase, latency, .. } in report.latencies() {
        let values = latency.supported().map(|(name, value)| format!("{name} {}", Time(value)));
        rows.push((phrase, values.collect::<Vec<_>>().join(", ")));
    }
    if let Some(drift) = Drift::of(report) {
        rows.push(("drift from the planned instant to the send", drift.to_string().replace("  ", ", ")));
    }
    let generator = &report.generator;
    let busy = format!("{:.0} % of its core", generator.busiest_thread * 100.0);
    rows.push(("generator", format!("{busy}, {:.1} MiB", mebibytes(generator.max_rss_bytes))));
    rows.push(("machine", format!("{}; {}", mhz(generator.frequency), steal_of(generator.steal))));
    if let Some(server) = &report.server {
        let memory = mebibytes(server.max_rss_bytes);
        rows.push(("server", format!("{:.2} cores, {memory:.1} MiB", server.cores)));
    }
    rows
}

/// Text in a cell or a paragraph: a server may have chosen a part of it.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in Plain(text).to_string().chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // An at sign would notify a person.
            '@' => escaped.push_str("&#64;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text between backticks.
fn code(text: &str) -> String {
    Plain(text).to_string().replace('`', "'").replace('|', "\\|")
}
