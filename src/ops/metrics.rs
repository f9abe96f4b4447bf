//! Counters in the text form of `OpenMetrics`, which Prometheus reads. `docs/metrics.md` names and explains them all.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Figures;
use crate::app::{Durations, Stats};

/// What the text is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted, at one moment.
#[derive(Debug)]
pub(super) struct Snapshot<F> {
    pub(super) stats: Stats,
    pub(super) is_draining: bool,
    pub(super) lost_lines: u64,
    pub(super) suppressed_lines: u64,
    pub(super) figures: F,
}

impl<F: Figures> Snapshot<F> {
    pub(super) fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl<F: Figures> Collector for Snapshot<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { stats, .. } = self;
        let out = &mut encoder;
        gauge(out, "switchboard_draining", "1 while the server stops", u64::from(self.is_draining))?;
        connections(out, stats)?;
        traffic(out, stats)?;
        durations(
            out,
            "switchboard_tick_duration",
            "Time that a measured tick of the loop took",
            &[(None, &stats.ticks)],
        )?;
        durations(
            out,
            "switchboard_publish_wait",
            "Time from publishing until the socket took it",
            &[
                (Some(("class", "tick")), &stats.publish_tick),
                (Some(("class", "backlog")), &stats.publish_backlog),
            ],
        )?;
        counters(
            out,
            "switchboard_log_lines",
            "Lines of the log that were not written",
            "cause",
            &[("suppressed", self.suppressed_lines), ("lost", self.lost_lines)],
        )?;
        self.figures.encode(out)
    }
}

fn connections(out: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    gauge(out, "switchboard_connections", "TCP connections now", stats.connections as u64)?;
    gauge(out, "switchboard_open_connections", "Upgraded connections now", stats.open as u64)?;
    counter(out, "switchboard_accepted_connections", "TCP connections accepted", stats.accepted)?;
    let upgrades = &stats.upgrades;
    counters(
        out,
        "switchboard_upgrades",
        "Upgrades by result",
        "result",
        &[
            ("accepted", upgrades.accepted),
            ("invalid", upgrades.invalid),
            ("refused", upgrades.refused),
            ("no_room", upgrades.no_room),
            ("draining", upgrades.draining),
        ],
    )?;
    let refusals = &stats.refusals;
    counters(
        out,
        "switchboard_refusals",
        "Upgrades and plain requests that were turned away by reason",
        "reason",
        &[
            ("origin", refusals.origin),
            ("host", refusals.host),
            ("path", refusals.path),
            ("token", refusals.token),
            ("subprotocol", refusals.subprotocol),
        ],
    )?;
    let requests = &stats.requests;
    counters(
        out,
        "switchboard_requests",
        "Plain requests, and what was to be one, by result",
        "result",
        &[
            ("answered", requests.answered),
            ("malformed", requests.malformed),
            ("overdue", requests.overdue),
            ("unanswered", requests.unanswered),
            ("crowded", requests.crowded),
            ("hurried", requests.hurried),
        ],
    )?;
    let closes = &stats.closes;
    counters(
        out,
        "switchboard_closes",
        "Ends of upgraded connections by reason",
        "reason",
        &[
            ("peer", closes.peer),
            ("application", closes.application),
            ("protocol", closes.protocol),
            ("ping_timeout", closes.ping_timeout),
            ("slow_consumer", closes.slow_consumer),
            ("shutdown", closes.shutdown),
            ("disconnected", closes.disconnected),
        ],
    )
}

fn traffic(out: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    counters(
        out,
        "switchboard_messages",
        "WebSocket messages that came in, and that were queued to go out, once for each receiver",
        "direction",
        &[("in", stats.messages_in), ("out", stats.messages_out)],
    )?;
    counters(
        out,
        "switchboard_traffic_bytes",
        "Octets that sockets gave and took",
        "direction",
        &[("in", stats.bytes_in), ("out", stats.bytes_out)],
    )?;
    gauge(
        out,
        "switchboard_queued_bytes",
        "Bytes that wait for slow readers now",
        stats.queued_bytes as u64,
    )?;
    gauge(
        out,
        "switchboard_queued_connections",
        "Connections for which something waits now",
        stats.queued_connections as u64,
    )?;
    let dropped = &stats.dropped;
    counters(
        out,
        "switchboard_dropped_messages",
        "Messages dropped for slow readers by policy",
        "policy",
        &[
            ("close", dropped.close),
            ("drop_oldest", dropped.oldest),
            ("drop_newest", dropped.newest),
            ("conflate", dropped.conflate),
        ],
    )
}

/// A number that only grows; `_total` follows its name.
///
/// # Errors
/// Those of the encoder.
pub fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// Numbers that only grow, told apart by a label.
///
/// # Errors
/// Those of the encoder.
pub fn counters(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: &[(&str, u64)],
) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in values {
        let labels = [(label, *value)];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
    }
    Ok(())
}

/// A number that rises and falls.
///
/// # Errors
/// Those of the encoder.
pub fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    out.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&(value.cast_signed()))
}

fn durations(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: &[(Option<(&str, &str)>, &Durations)],
) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (label, durations) in all {
        let bound = |class| Durations::bound_us(class).map_or(f64::MAX, seconds);
        let classes = durations.classes.iter().enumerate();
        let buckets: Vec<(f64, u64)> = classes.map(|(class, count)| (bound(class), *count)).collect();
        let sum = seconds(durations.sum_us);
        match label {
            Some(label) => {
                let labels = [*label];
                let mut family = metric.encode_family(&labels)?;
                family.encode_histogram::<NoLabelSet>(sum, durations.count(), &buckets, None)?;
            }
            None => metric.encode_histogram::<NoLabelSet>(sum, durations.count(), &buckets, None)?,
        }
    }
    Ok(())
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}
