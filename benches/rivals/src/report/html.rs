//! The report as one page, with nothing to load from elsewhere.

use std::fmt::Write as _;

use super::model::{CellReport, Report, ServerReport};
use crate::contender::{FLOOR, FLOOR_TLS, OURS, OURS_TLS};
use crate::target::Outcome;

const STYLE: &str = "
:root { color-scheme: light dark; --ours: #0a7; --other: #78909c; --floor: #b08000; --grid: #8884; --bad: #c33; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .3rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .12rem .7rem .12rem 0; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.ours { font-weight: 600; color: var(--ours); }
.wide { overflow-x: auto; }
.met { color: var(--ours); } .missed { color: var(--bad); font-weight: 600; }
ul.targets { margin: .3rem 0; padding-left: 1.1rem; font-size: .9rem; }
svg { display: block; width: 100%; max-width: 46rem; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: currentColor; } svg line { stroke: var(--grid); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dd { margin: 0; }
";

const LEFT: f64 = 140.0;
const WIDTH: f64 = 720.0;
const ROW: f64 = 20.0;

pub(crate) fn page(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Switchboard beside other servers</title>\n<style>{STYLE}</style>\n\
         <h1>Switchboard beside other servers</h1>\n\
         <p>Every server in turn (A B C, then B C A, …), alone on one core, with the load generator on the other. Figures are \
         medians over the rounds; ratios are taken round by round, and the median of them is shown. The floor is a mio \
         program without a protocol: what the system calls alone cost. <code>benches/rivals</code> makes this page.</p>\n"
    );
    out.push_str("<h2>The machine, and whose versions</h2>\n<dl>\n");
    for (name, value) in report.machine.iter().chain(&report.versions) {
        let _ = writeln!(out, "<dt>{}<dd>{}", escaped(name), escaped(value));
    }
    out.push_str("</dl>\n");
    let outcomes = || report.cells.iter().flat_map(|cell| &cell.targets).chain(&report.targets);
    let count = |is_met| outcomes().filter(|outcome| outcome.is_met == Some(is_met)).count();
    let _ = writeln!(out, "<h2>Targets: {} met, {} missed</h2>", count(true), count(false));
    out.push_str(&targets(&report.targets));
    out.push_str(&tls(&report.cells));
    for cell in &report.cells {
        out.push_str(&section(cell));
    }
    out
}

fn is_ours(name: &str) -> bool {
    [OURS, OURS_TLS].contains(&name)
}

/// All cells about TLS in one table: the first figure of each server, and what ours has for each unit of it.
fn tls(cells: &[CellReport]) -> String {
    let cells: Vec<_> = cells.iter().filter(|cell| cell.is_secure).collect();
    let mut names: Vec<&str> = Vec::new();
    for server in cells.iter().flat_map(|cell| &cell.servers) {
        if !names.contains(&server.name.as_str()) {
            names.push(&server.name);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    let mut out = "<h2>Over TLS</h2>\n<p>TLS 1.3 with TLS_AES_128_GCM_SHA256, X25519 and one ECDSA certificate (P-256) for all; \
                   no session is resumed. In brackets: ours over TLS to it.</p>\n\
                   <div class=\"wide\"><table>\n<tr><th>"
        .to_owned();
    for name in &names {
        let _ = write!(out, "<th>{}", escaped(name));
    }
    out.push('\n');
    for cell in cells {
        let metric = &cell.metrics[0];
        let name = cell.name.trim_start_matches("TLS: ");
        let _ = write!(out, "<tr><td>{}: {}", escaped(name), escaped(&metric.title));
        for name in &names {
            let server = cell.servers.iter().find(|server| server.name == *name);
            let shown = server.and_then(|server| server.shown.get(&metric.key)).map_or("-", String::as_str);
            let _ = write!(out, "<td>{}", escaped(shown));
            let ratio = server.filter(|_| *name != OURS_TLS).and_then(|server| server.ours_to_it);
            if let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) {
                let _ = write!(out, " ({ratio:.2})");
            }
        }
        out.push('\n');
    }
    out.push_str("</table></div>\n");
    out
}

fn section(cell: &CellReport) -> String {
    let mut out = format!("<h2>{}</h2>\n", escaped(&cell.name));
    out.push_str(&targets(&cell.targets));
    out.push_str(&plot(cell));
    out.push_str("<div class=\"wide\"><table>\n<tr><th>");
    for metric in &cell.metrics {
        let _ = write!(out, "<th>{}", escaped(&metric.title));
    }
    out.push_str("<th>to floor<th>ours to it\n");
    for server in &cell.servers {
        let class = if is_ours(&server.name) { " class=\"ours\"" } else { "" };
        let _ = write!(out, "<tr{class}><td>{}", escaped(&server.name));
        for metric in &cell.metrics {
            let _ = write!(out, "<td>{}", server.shown.get(&metric.key).map_or("-", String::as_str));
        }
        for ratio in [server.to_floor, server.ours_to_it] {
            let _ = match ratio.filter(|ratio| ratio.is_finite()) {
                Some(ratio) => write!(out, "<td>{ratio:.3}"),
                None => write!(out, "<td>-"),
            };
        }
        out.push('\n');
        if let Some(failure) = &server.failure {
            let _ = writeln!(out, "<tr><td colspan=\"9\">failed: {}", escaped(failure));
        }
    }
    out.push_str("</table></div>\n");
    out
}

fn targets(outcomes: &[Outcome]) -> String {
    let mut out = String::new();
    for outcome in outcomes {
        let class = match outcome.is_met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        let _ = writeln!(out, "<li class=\"{class}\">{}", escaped(&outcome.to_string()));
    }
    if out.is_empty() { out } else { format!("<ul class=\"targets\">\n{out}</ul>\n") }
}

/// Each round a dot, the median a stroke, on a logarithmic axis.
fn plot(cell: &CellReport) -> String {
    let metric = &cell.metrics[0];
    let rounds = |server: &ServerReport| -> Vec<f64> {
        let values = server.rounds.iter().filter_map(|round| round.get(&metric.key).copied());
        values.filter(|value| *value > 0.0).collect()
    };
    let all: Vec<f64> = cell.servers.iter().flat_map(&rounds).collect();
    let (Some(least), Some(most)) =
        (all.iter().copied().reduce(f64::min), all.iter().copied().reduce(f64::max))
    else {
        return String::new();
    };
    let (low, high) = ((least * 0.9).log10(), (most * 1.1).log10());
    let x = |value: f64| LEFT + (value.log10() - low) / (high - low) * (WIDTH - LEFT - 10.0);
    let height = ROW * (cell.servers.len() as f64 + 2.0);
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0} by server\">\n\
         <text x=\"{LEFT}\" y=\"13\" opacity=\".7\">{0}, logarithmic</text>\n",
        escaped(&metric.title)
    );
    let bottom = height - ROW;
    for tick in ticks(least * 0.9, most * 1.1) {
        let at = x(tick);
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{ROW}\" y2=\"{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\" opacity=\".7\">{}</text>",
            height - 5.0,
            short(tick)
        );
    }
    for (row, server) in (0_u32..).zip(&cell.servers) {
        let y = ROW * (f64::from(row) + 1.5);
        let colour = match server.name.as_str() {
            OURS | OURS_TLS => "var(--ours)",
            FLOOR | FLOOR_TLS => "var(--floor)",
            _ => "var(--other)",
        };
        let _ = writeln!(out, "<text x=\"0\" y=\"{:.1}\">{}</text>", y + 4.0, escaped(&server.name));
        for value in rounds(server) {
            let _ = write!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\" opacity=\".45\"/>",
                x(value)
            );
        }
        if let Some(median) = server.medians.get(&metric.key).filter(|value| **value > 0.0) {
            let _ = writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"2.5\" height=\"14\" fill=\"{colour}\"/>",
                x(*median) - 1.25,
                y - 7.0
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

/// 1, 2 and 5 of each power of ten, or fewer of them when there are many.
fn ticks(least: f64, most: f64) -> Vec<f64> {
    let steps: &[f64] = if most / least > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = least.log10().floor() as i32..=most.log10().ceil() as i32;
    let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
    all.filter(|tick| (least..=most).contains(tick)).collect()
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
