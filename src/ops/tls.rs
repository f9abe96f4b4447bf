//! What is counted of TLS, as metrics.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::metrics::counters;
use crate::tls::{Failure, Tls};

pub(super) fn encode(out: &mut DescriptorEncoder<'_>, tls: &Tls) -> fmt::Result {
    let done = tls.completed();
    let (name, help) = ("switchboard_tls_handshakes", "TLS handshakes that were completed");
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (version, resumed, count) in [
        ("1.3", "no", done.full_13),
        ("1.3", "yes", done.resumed_13),
        ("1.2", "no", done.full_12),
        ("1.2", "yes", done.resumed_12),
    ] {
        let labels = [("version", version), ("resumed", resumed)];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    let failed = Failure::ALL.map(|why| (why.name(), tls.failed(why)));
    counters(out, "switchboard_tls_failed_handshakes", "TLS handshakes that failed", "cause", &failed)?;
    let (done, failed) = tls.reloads();
    let reloads = [("done", done), ("failed", failed)];
    counters(out, "switchboard_tls_reloads", "Certificates read again", "result", &reloads)?;
    let (name, help) =
        ("switchboard_tls_certificate_expiry_timestamp", "When a certificate in use expires, as Unix time");
    let unit = prometheus_client::registry::Unit::Seconds;
    let mut metric = out.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
    for (at, certificate) in tls.certificates().iter().enumerate() {
        let (at, name) = (at.to_string(), certificate.names.first().map_or("", String::as_str));
        let labels = [("certificate", at.as_str()), ("name", name)];
        metric.encode_family(&labels)?.encode_gauge(&certificate.not_after)?;
    }
    Ok(())
}
