//! Counters in the two text formats that Prometheus reads: its own 0.0.4, and `OpenMetrics` 1.0 where the `Accept` field asks
//! for it. `docs/metrics.md` names and explains all metrics.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use mediatype::{MediaType, MediaTypeList, Name, ReadParams};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Figures;
use super::gather::LoopState;
use crate::app::{CloseKind, Durations, Refused, Stats};
use crate::tls::Tls;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The text format 0.0.4 of Prometheus, which every scraper reads.
    Prometheus,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that a client prefers, by the values of its `Accept` fields (RFC 9110 12.5.1). `OpenMetrics` only when
    /// it is named.
    pub(super) fn preferred<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let ranges: Vec<MediaType<'_>> =
            accept.flat_map(|field| MediaTypeList::new(field).filter_map(Result::ok)).collect();
        let (open, is_named) = weight(&ranges, "application", "openmetrics-text", "1.0.0");
        let (plain, _) = weight(&ranges, "text", "plain", "0.0.4");
        if is_named && open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The weight (`q`) of a media type in the given version, by the most specific range that covers it, and whether that range
/// names it.
pub(super) fn weight(ranges: &[MediaType<'_>], kind: &str, name: &str, version: &str) -> (f32, bool) {
    let rank = |range: &MediaType<'_>| match (range.ty.as_str(), range.subty.as_str()) {
        ("*", "*") => Some(0),
        (ty, "*") if ty.eq_ignore_ascii_case(kind) => Some(1),
        (ty, subty) if ty.eq_ignore_ascii_case(kind) && subty.eq_ignore_ascii_case(name) => Some(2),
        _ => None,
    };
    let parameter =
        |range: &MediaType<'_>, name| Some(range.get_param(Name::new(name)?)?.unquoted_str().into_owned());
    let is_ours = |range: &&MediaType<'_>| parameter(range, "version").is_none_or(|found| found == version);
    let ranked = ranges.iter().filter(is_ours).filter_map(|range| Some((rank(range)?, range)));
    ranked.max_by_key(|(rank, _)| *rank).map_or((0.0, false), |(rank, range)| {
        let q = parameter(range, "q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
        (q, rank == 2)
    })
}

/// Text of `OpenMetrics` in the format 0.0.4: the name of a counter ends with `_total` in its `HELP` and `TYPE`, too, and
/// there is no `UNIT` and no `EOF`.
fn prometheus_text(text: &str) -> String {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = kinds.filter_map(|line| line.strip_suffix(" counter")).collect();
    let mut converted = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let described =
            ["# HELP ", "# TYPE "].into_iter().find_map(|word| Some((word, line.strip_prefix(word)?)));
        match described.and_then(|(word, rest)| Some((word, rest.split_once(' ')?))) {
            Some((word, (name, rest))) if counters.contains(name) => {
                converted.extend([word, name, "_total ", rest]);
            }
            _ => converted.push_str(line),
        }
        converted.push('\n');
    }
    converted
}

/// Everything that is counted, at one moment.
#[derive(Debug)]
pub(super) struct Snapshot<F> {
    pub(super) stats: Stats,
    /// Each loop, if there is more to say of them than their sums.
    pub(super) loops: Vec<LoopState>,
    pub(super) is_draining: bool,
    pub(super) lost_lines: u64,
    pub(super) suppressed_lines: u64,
    pub(super) tls: Option<Tls>,
    pub(super) figures: F,
}

impl<F: Figures> Snapshot<F> {
    pub(super) fn text(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(if format == Format::OpenMetrics { text } else { prometheus_text(&text) })
    }
}

impl<F: Figures> Collector for Snapshot<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { stats, .. } = self;
        let out = &mut encoder;
        gauge(out, "switchboard_draining", "1 while the server stops", u64::from(self.is_draining))?;
        connections(out, stats)?;
        loops(out, &self.loops)?;
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
        if let Some(tls) = &self.tls {
            super::tls::encode(out, tls)?;
            let (name, help) = (
                "switchboard_tls_handshake_duration",
                "Time from the connection to the end of its TLS handshake",
            );
            durations(out, name, help, &[(None, &stats.handshakes)])?;
        }
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
    let refusals = Refused::ALL.map(|reason| (reason.name(), stats.refusals.of(reason)));
    counters(
        out,
        "switchboard_refusals",
        "Upgrades and plain requests that were turned away by reason",
        "reason",
        &refusals,
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
    let headers = &stats.proxy_headers;
    counters(
        out,
        "switchboard_proxy_headers",
        "Headers of the PROXY protocol by result",
        "result",
        &[
            ("accepted", headers.accepted),
            ("untrusted", headers.untrusted),
            ("missing", headers.missing),
            ("malformed", headers.malformed),
        ],
    )?;
    let closes = CloseKind::ALL.map(|kind| (kind.name(), stats.closes.of(kind)));
    counters(out, "switchboard_closes", "Ends of upgraded connections by reason", "reason", &closes)
}

fn loops(out: &mut DescriptorEncoder<'_>, loops: &[LoopState]) -> fmt::Result {
    let mut each = |name: &str, help: &str, value: fn(&LoopState) -> u64| {
        let mut metric = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
        loops.iter().enumerate().try_for_each(|(at, state)| {
            let at = at.to_string();
            let labels = [("loop", at.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&value(state).cast_signed())
        })
    };
    if loops.is_empty() {
        return Ok(());
    }
    each("switchboard_loop_connections", "TCP connections of a loop now", |it| it.connections as u64)?;
    each("switchboard_mailbox_length", "Mails that a loop has not seen", |it| it.waiting as u64)?;
    each(
        "switchboard_loop_silent",
        "1 where a loop did not answer in time, so that its figures are older",
        |it| it.is_silent.into(),
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
    counter(
        out,
        "switchboard_input_pauses",
        "Times that a loop took no more input, since others did not keep up",
        stats.input_pauses,
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
pub(crate) fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// Numbers that only grow, told apart by a label.
///
/// # Errors
/// Those of the encoder.
pub(crate) fn counters(
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
pub(crate) fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
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
        let bound = |class| Durations::bound_us(class).map_or(f64::INFINITY, seconds);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_follows_the_accept_field() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, is_open) in [
            (&[][..], false),
            (&[""], false),
            (&["*/*"], false),
            (&["text/html, application/xml;q=0.9, */*;q=0.8"], false),
            (&["application/*"], false),
            (&["application/json"], false),
            (&["text/plain"], false),
            (&["application/openmetrics-text"], true),
            (&["Application/OpenMetrics-Text; Version=\"1.0.0\""], true),
            (&["application/openmetrics-text;q=0"], false),
            (&["application/openmetrics-text;q=0.4, text/plain;q=0.5"], false),
            (&["application/openmetrics-text;version=2.0.0"], false),
            (&["text/plain;q=0.5", "application/openmetrics-text;version=1.0.0;q=0.9"], true),
            (&[prometheus_2], true),
            (&[prometheus_3], true),
            (&["application/openmetrics-text;q=x"], false),
        ] {
            let expected = if is_open { Format::OpenMetrics } else { Format::Prometheus };
            assert_eq!(Format::preferred(accept.iter().copied()), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_older_format_names_counters_as_its_samples_do() {
        let open = "# HELP a_b Ends.\n# TYPE a_b counter\n# UNIT a_b bytes\na_b_total 1\n# HELP c C.\n# TYPE c gauge\nc 2\n# EOF\n";
        let text = "# HELP a_b_total Ends.\n# TYPE a_b_total counter\na_b_total 1\n# HELP c C.\n# TYPE c gauge\nc 2\n";
        assert_eq!(prometheus_text(open), text);
    }
}
