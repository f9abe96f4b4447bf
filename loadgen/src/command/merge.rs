//! Merges the reports of several processes that ran at the same time.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::cli::MergeArgs;
use super::print::print;
use crate::clock::nanos;
use crate::input::error::Failure;
use crate::output::assertion::conclude;
use crate::output::figures::Time;
use crate::output::files::Files;
use crate::output::intervals::{Interval, drift_trend};
use crate::output::latency::Latency;
use crate::output::report::{Report, Verdict};
use crate::output::urls;

/// Note on a figure that several processes cannot merge.
const LAST_RECEIVER: &str =
    "the last receiver of a publish is the last of its own process: compare the processes one by one";

/// How much the clocks of machines may differ whose processes count as ones that ran at the same time.
const MAX_SKEW_NS: u64 = 5_000_000_000;

/// Merges reports, prints and writes the result. Returns the exit status.
pub(crate) fn merge(args: &MergeArgs) -> Result<u8, Failure> {
    let reports = args.reports.iter().map(|path| Report::read(path)).collect::<Result<Vec<_>, _>>()?;
    let output = &args.output;
    let files = Files::create(output)?;
    let mut report = together(&reports)?;
    conclude(&mut report, output);
    print(&report, output)?;
    files.write(&report)?;
    Ok(report.exit_code(false))
}

/// One report of all. Refuses reports of different plans.
fn together(reports: &[Report]) -> Result<Report, String> {
    let (first, rest) = reports.split_first().ok_or("there is nothing to merge")?;
    if let Some(other) = rest.iter().find(|report| report.scenario != first.scenario) {
        return Err(format!("{} and {} are different scenarios", first.scenario, other.scenario));
    }
    for (at, report) in reports.iter().enumerate() {
        if let Some(twin) = reports[..at].iter().position(|other| other == report) {
            return Err(format!("reports {} and {} are the same one, given twice", twin + 1, at + 1));
        }
        let differences = first.differences(report);
        let differences: Vec<String> = differences.into_iter().filter(|text| !adds_up(text)).collect();
        if !differences.is_empty() {
            let differences = differences.join("; ");
            return Err(format!("reports 1 and {} are of different plans, {differences}", at + 1));
        }
    }
    let mut all = sum(reports).ok_or("there is nothing to merge")?;
    if let Some(spread) = spread(reports) {
        if spread > all.window_ns + MAX_SKEW_NS {
            let (spread, window) = (Time(spread), Time(all.window_ns));
            return Err(format!(
                "they began {spread} apart, by the clocks of their machines, and measured for {window}: what did not run at the \
                 same time has no common rate; `loadgen compare` shows one beside the other"
            ));
        }
        all.notes
            .push(format!("by the clocks of their machines, the processes began within {}", Time(spread)));
    }
    Ok(all)
}

/// One report of all, whatever their plans are; `None`: there is none.
pub(super) fn sum(reports: &[Report]) -> Option<Report> {
    let (first, rest) = reports.split_first()?;
    let mut all = first.clone();
    for report in rest {
        add(&mut all, report);
    }
    let latency = |of: fn(&Report) -> &Option<Latency>| {
        Latency::merge(&reports.iter().filter_map(|report| of(report).as_ref()).collect::<Vec<_>>())
    };
    all.latency_from_send_ns = latency(|report| &report.latency_from_send_ns);
    all.latency_from_plan_ns = latency(|report| &report.latency_from_plan_ns);
    all.latency_to_last_ns = latency(|report| &report.latency_to_last_ns);
    all.latency_of_delivery_ns = latency(|report| &report.latency_of_delivery_ns);
    all.handshake_ns = latency(|report| &report.handshake_ns);
    all.handshake_from_plan_ns = latency(|report| &report.handshake_from_plan_ns);
    all.dial_ns = latency(|report| &report.dial_ns);
    all.tls_ns = latency(|report| &report.tls_ns);
    all.upgrade_ns = latency(|report| &report.upgrade_ns);
    all.first_answer_ns = latency(|report| &report.first_answer_ns);
    all.drift_ns = latency(|report| &report.drift_ns);
    all.generator.lag = latency(|report| &report.generator.lag);
    all.messages_per_second = reports.iter().map(|report| report.messages_per_second).sum();
    all.handshakes_per_second = reports.iter().map(|report| report.handshakes_per_second).sum();
    all.intervals = intervals(reports, all.interval_ns);
    all.drift_trend_ns_per_s = drift_trend(&all.intervals, all.interval_ns);
    all.urls = urls::merged(reports.iter().flat_map(|report| &report.urls));
    if reports.len() > 1 && all.latency_to_last_ns.is_some() {
        all.notes.push(LAST_RECEIVER.to_owned());
    }
    all.verdict = all.judged(reports.iter().any(|one| one.verdict == Verdict::Interrupted));
    Some(all)
}

/// The time between the first and the last beginning of several processes.
fn spread(reports: &[Report]) -> Option<u64> {
    let begun = |report: &Report| humantime::parse_rfc3339(report.begun_at.as_ref()?).ok();
    let begun: Vec<SystemTime> = reports.iter().filter_map(begun).collect();
    let (first, last) = (begun.iter().min()?, begun.iter().max()?);
    (begun.len() > 1).then(|| last.duration_since(*first).map_or(0, nanos))
}

/// Whether processes of one run may differ in this, because the merged report has the sum.
fn adds_up(difference: &str) -> bool {
    let is_rate = difference.starts_with("--rate") && !difference.contains("closed loop");
    is_rate || difference.starts_with("--connections") || difference.starts_with("processes")
}

fn add(all: &mut Report, one: &Report) {
    all.processes += one.processes;
    if all.url != one.url && !all.url.ends_with('…') {
        all.url = format!("{}, …", all.url);
    }
    all.asked.connections += one.asked.connections;
    all.asked.threads += one.asked.threads;
    all.asked.rate = all.asked.rate.zip(one.asked.rate).map(|(mine, theirs)| mine + theirs);
    for (mine, theirs) in [
        (&mut all.opened, one.opened),
        (&mut all.closed, one.closed),
        (&mut all.failed, one.failed),
        (&mut all.sent, one.sent),
        (&mut all.answered, one.answered),
        (&mut all.answered_in_window, one.answered_in_window),
        (&mut all.opened_in_window, one.opened_in_window),
        (&mut all.lost, one.lost),
        (&mut all.duplicated, one.duplicated),
        (&mut all.reordered, one.reordered),
        (&mut all.corrupted, one.corrupted),
        (&mut all.unsent, one.unsent),
        (&mut all.cut_off, one.cut_off),
        (&mut all.pings, one.pings),
        (&mut all.bytes_in, one.bytes_in),
        (&mut all.bytes_out, one.bytes_out),
        (&mut all.completed, one.completed),
        (&mut all.rejoined, one.rejoined),
        (&mut all.put_off, one.put_off),
        (&mut all.unrecovered, one.unrecovered),
        (&mut all.generator.late, one.generator.late),
        (&mut all.generator.max_rss_bytes, one.generator.max_rss_bytes),
    ] {
        *mine = mine.saturating_add(theirs);
    }
    for (mine, theirs) in [
        (&mut all.planned_in_window, one.planned_in_window),
        (&mut all.sent_in_window, one.sent_in_window),
        (&mut all.late, one.late),
    ] {
        *mine = mine.zip(theirs).map(|(mine, theirs)| mine + theirs);
    }
    add_environment(all, one);
    all.max_late_ns = all.max_late_ns.max(one.max_late_ns);
    all.window_ns = all.window_ns.max(one.window_ns);
    add_by_name(&mut all.failures, &one.failures);
    if let (Some(mine), Some(theirs)) = (&mut all.slow, &one.slow) {
        mine.held += theirs.held;
        mine.read_bytes += theirs.read_bytes;
        mine.unanswered += theirs.unanswered;
        add_by_name(&mut mine.cut, &theirs.cut);
    }
    for (mine, theirs) in [(&mut all.notes, &one.notes), (&mut all.annotations, &one.annotations)] {
        for text in theirs {
            if !mine.contains(text) {
                mine.push(text.clone());
            }
        }
    }
    for (i, storm) in one.storms_ns.iter().enumerate() {
        match all.storms_ns.get_mut(i) {
            Some(mine) => *mine = storm.max(mine).to_owned(),
            None => all.storms_ns.push(*storm),
        }
    }
    all.generator.busiest_thread = all.generator.busiest_thread.max(one.generator.busiest_thread);
    all.generator.cores += one.generator.cores;
    all.generator.client_bound |= one.generator.client_bound;
    // The processes may have observed different servers.
    if all.server != one.server {
        all.server = None;
    }
}

/// The earliest start, and all agents and machines.
fn add_environment(all: &mut Report, one: &Report) {
    all.generator.steal = [all.generator.steal, one.generator.steal].into_iter().flatten().reduce(f64::max);
    all.generator.frequency = match (all.generator.frequency, one.generator.frequency) {
        (Some(mine), Some(theirs)) => Some(mine.merge(theirs)),
        (mine, theirs) => mine.or(theirs),
    };
    all.agents.extend(one.agents.iter().cloned());
    if one.started_at < all.started_at {
        all.started_at.clone_from(&one.started_at);
    }
    for (mine, other) in
        [(&mut all.generator.host, &one.generator.host), (&mut all.generator.kernel, &one.generator.kernel)]
    {
        if !mine.split(", ").any(|name| name == other) {
            *mine = format!("{mine}, {other}");
        }
    }
}

fn add_by_name(mine: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    for (name, count) in theirs {
        *mine.entry(name.clone()).or_default() += count;
    }
}

/// The intervals of all processes, which began at about the same time.
fn intervals(reports: &[Report], interval_ns: u64) -> Vec<Interval> {
    if reports.iter().any(|report| report.interval_ns != interval_ns) {
        return Vec::new();
    }
    let longest = reports.iter().map(|report| report.intervals.len()).max().unwrap_or(0);
    (0..longest)
        .map(|i| {
            let parts: Vec<&Interval> = reports.iter().filter_map(|report| report.intervals.get(i)).collect();
            let mut latency: BTreeMap<u64, u64> = BTreeMap::new();
            for (bound, count) in parts.iter().flat_map(|part| &part.latency) {
                *latency.entry(*bound).or_default() += count;
            }
            let sent = parts.iter().map(|part| part.sent).sum::<u64>();
            let drifts = parts.iter().map(|part| part.sent.saturating_mul(part.drift_ns));
            Interval {
                at_ns: i as u64 * interval_ns,
                sent,
                drift_ns: drifts.fold(0, u64::saturating_add).checked_div(sent).unwrap_or(0),
                answered: parts.iter().map(|part| part.answered).sum(),
                latency: latency.into_iter().collect(),
            }
        })
        .collect()
}
