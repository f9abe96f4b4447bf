//! The figures of a report by name, and whether conditions on them hold.

use super::report::{Assertion, Report};
use crate::input::condition::{Condition, group_of};
use crate::input::options::ReportArgs;

/// Adds what the options say of a finished run: annotations, and conditions whether they hold or not.
pub(crate) fn conclude(report: &mut Report, args: &ReportArgs) {
    report.annotations.extend(args.annotate.iter().cloned());
    report.assertions = args.assert.iter().map(|condition| check(condition, report)).collect();
}

/// Checks a condition. It does not hold if the run did not measure its figure.
pub(crate) fn check(condition: &Condition, report: &Report) -> Assertion {
    let value = figure(report, condition.figure()).map(|value| condition.in_unit(value));
    Assertion {
        condition: condition.to_string(),
        value,
        holds: value.is_some_and(|value| condition.holds(value)),
    }
}

/// A figure of a report; times are in nanoseconds. `None`: the run did not measure it.
#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
pub(crate) fn figure(report: &Report, name: &str) -> Option<f64> {
    let count = |value: u64| Some(value as f64);
    match name {
        "rate" => Some(report.messages_per_second),
        "handshakes" => Some(report.handshakes_per_second),
        "lost" => count(report.lost),
        "duplicated" => count(report.duplicated),
        "reordered" => count(report.reordered),
        "corrupted" => count(report.corrupted),
        "unsent" => count(report.unsent),
        "failed" => count(report.failed),
        "opened" => count(report.opened),
        "late" => report.late.and_then(count),
        "unrecovered" => count(report.unrecovered),
        "slow_cut" => report.slow.as_ref().and_then(|slow| count(slow.cut.values().sum())),
        "busy" => Some(report.generator.busiest_thread),
        "rss" => report.server.as_ref().and_then(|server| count(server.max_rss_bytes)),
        _ => {
            let (group, name) = group_of(name);
            let latency = match group {
                None => report.primary(),
                Some("send") => report.latency_from_send_ns.as_ref(),
                Some("plan") => report.latency_from_plan_ns.as_ref(),
                Some("last") => report.latency_to_last_ns.as_ref(),
                Some("delivery") => report.latency_of_delivery_ns.as_ref(),
                Some("handshake") => report.handshake_ns.as_ref(),
                Some("dial") => report.dial_ns.as_ref(),
                Some("tls") => report.tls_ns.as_ref(),
                Some("upgrade") => report.upgrade_ns.as_ref(),
                Some("first") => report.first_answer_ns.as_ref(),
                Some("drift") => report.drift_ns.as_ref(),
                Some(_) => return storm(report, name),
            };
            latency?.value(name)
        }
    }
}

/// Storms are few, so only the longest, the shortest and the mean are figures.
#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
fn storm(report: &Report, name: &str) -> Option<f64> {
    let storms = &report.storms_ns;
    match name {
        "max" => storms.iter().max().map(|storm| *storm as f64),
        "min" => storms.iter().min().map(|storm| *storm as f64),
        "mean" if !storms.is_empty() => Some(storms.iter().sum::<u64>() as f64 / storms.len() as f64),
        _ => None,
    }
}
