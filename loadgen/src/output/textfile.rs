//! The figures of a finished run for the textfile collector of `node_exporter`.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::latency::Latency;
use super::prometheus::Format;
use super::report::{Named, Report, Verdict};

/// The text format 0.0.4 of Prometheus. Every metric is that of the last run, so all but the histograms are gauges.
pub(super) fn textfile(report: &Report) -> String {
    let mut registry = Registry::with_prefix("loadgen_run");
    registry.register_collector(Box::new(Figures(report.clone())));
    // Cannot fail: writing to a string does not.
    Format::Prometheus.text(&registry).unwrap_or_default()
}

#[derive(Debug)]
struct Figures(Report);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let report = &self.0;
        let labels = [("scenario", report.scenario.as_str()), ("url", report.url.as_str())];
        let is_ok =
            report.verdict == Verdict::Ok && report.assertions.iter().all(|assertion| assertion.holds);
        for (name, help, value) in [
            ("ok", "1 if nothing failed and every assertion held", f64::from(u8::from(is_ok))),
            (
                "client_bound",
                "1 if the generator was the limit",
                f64::from(u8::from(report.generator.client_bound)),
            ),
            ("start_time_seconds", "Start of the run, in seconds since 1970", start_seconds(report)),
            ("duration_seconds", "Length of the measured window", seconds(report.window_ns)),
            ("messages_per_second", "Answers or deliveries per second", report.messages_per_second),
            ("handshakes_per_second", "Opening handshakes per second", report.handshakes_per_second),
            ("generator_cores", "Cores that the generator used", report.generator.cores),
        ] {
            gauge(&mut encoder, name, help, &[(&labels, value)])?;
        }
        for (name, help, value) in [
            ("connections_opened", "Completed opening handshakes", report.opened),
            ("connections_failed", "Connections that failed", report.failed),
            ("messages_sent", "Messages sent, the warm-up included", report.sent),
            ("messages_answered", "Correct answers or deliveries, the warm-up included", report.answered),
            ("messages_unsent", "Messages that were due and could not be sent", report.unsent),
            (
                "generator_memory_bytes",
                "Maximum of the generator's resident memory",
                report.generator.max_rss_bytes,
            ),
        ] {
            gauge(&mut encoder, name, help, &[(&labels, whole(value))])?;
        }
        let faults =
            report.faults().map(|(fault, count)| ([labels[0], labels[1], ("fault", fault)], whole(count)));
        let faults: Vec<(&[_], f64)> = faults.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        gauge(&mut encoder, "faults", "Wrong messages by kind", &faults)?;
        histograms(&mut encoder, report, labels)
    }
}

type Labels<'a> = [(&'a str, &'a str)];

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[(&Labels<'_>, f64)],
) -> Result<(), std::fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(*value).encode(metric.encode_family(labels)?)?;
    }
    Ok(())
}

fn histograms(
    encoder: &mut DescriptorEncoder<'_>,
    report: &Report,
    labels: [(&str, &str); 2],
) -> Result<(), std::fmt::Error> {
    let help = "Latencies of the measured window by what they measure";
    let mut metric = encoder.encode_descriptor("latency_seconds", help, None, MetricType::Histogram)?;
    for Named { group, latency, .. } in report.latencies() {
        let labels = [labels[0], labels[1], ("latency", group)];
        let buckets = buckets(latency);
        let sum = latency.mean / 1e9 * whole(latency.count);
        let mut family = metric.encode_family(&labels)?;
        family.encode_histogram::<NoLabelSet>(sum, latency.count, &buckets, None)?;
    }
    Ok(())
}

/// Upper bounds of the buckets in seconds: 1, 2 and 5 in each decade from 10 us to 10 s.
const BOUNDS: [f64; 19] = [
    10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0,
];

/// The counts of a latency by upper bound. The last bucket has no bound: `le="+Inf"`.
fn buckets(latency: &Latency) -> Vec<(f64, u64)> {
    let mut buckets: Vec<(f64, u64)> = BOUNDS.iter().map(|bound| (*bound, 0)).collect();
    buckets.push((f64::INFINITY, 0));
    for (value, count) in &latency.histogram {
        let at = BOUNDS.partition_point(|bound| *bound < seconds(*value));
        buckets[at].1 += count;
    }
    buckets
}

fn seconds(nanos: u64) -> f64 {
    super::figures::micros(nanos) / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn whole(count: u64) -> f64 {
    count as f64
}

fn start_seconds(report: &Report) -> f64 {
    let started = humantime::parse_rfc3339(&report.started_at).ok();
    let since = started.and_then(|started| started.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0.0, |since| since.as_secs_f64())
}
