//! The figures of a running flood for Prometheus.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use switchboard::proto::Limits;
use switchboard::proto::head::{HeadScanner, with_request};

use super::shared::Snapshot;
use crate::output::prometheus::Format;

/// Limit on each read and write of a scrape.
const SCRAPE_LIMIT: Duration = Duration::from_secs(5);

/// A listener for scrapes, on a thread that ends with the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    latest: Arc<Latest>,
}

/// The newest snapshot, which the loop's thread writes and the listener's thread reads.
#[derive(Debug, Default)]
struct Latest(RwLock<Snapshot>);

impl Latest {
    fn set(&self, snapshot: &Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = *snapshot;
    }

    fn read(&self) -> Snapshot {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// Listens on `address`. The runs of a search, one after another, share one listener.
    pub(crate) fn serve(address: SocketAddr, scenario: &'static str) -> io::Result<Self> {
        static LATEST: OnceLock<Arc<Latest>> = OnceLock::new();
        if let Some(latest) = LATEST.get() {
            return Ok(Self { latest: Arc::clone(latest) });
        }
        let listener = TcpListener::bind(address)
            .map_err(|error| io::Error::other(format!("--metrics {address}: {error}")))?;
        let latest = Arc::clone(LATEST.get_or_init(Arc::default));
        let mut registry = Registry::with_prefix("loadgen");
        registry.register_collector(Box::new(Figures { latest: Arc::clone(&latest), scenario }));
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A scrape that fails does not concern the run; the scraper reports it.
                let _ = stream.and_then(|stream| answer(stream, &registry));
            }
        });
        Ok(Self { latest })
    }

    /// Sets the newest figures.
    pub(crate) fn set(&self, snapshot: &Snapshot) {
        self.latest.set(snapshot);
    }
}

/// The answer to a request: status, format of the body, and body.
type Answer = (&'static str, Format, String);

fn answer(mut stream: TcpStream, registry: &Registry) -> io::Result<()> {
    stream.set_read_timeout(Some(SCRAPE_LIMIT))?;
    stream.set_write_timeout(Some(SCRAPE_LIMIT))?;
    let (limits, mut scanner) = (Limits::default(), HeadScanner::default());
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        let count = stream.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..count]);
        match scanner.find_end(&head, &limits) {
            Ok(Some(end)) => break end,
            Ok(None) if count > 0 => {}
            _ => return Ok(()),
        }
    };
    let answered: Result<Answer, std::fmt::Error> = with_request(&head[..end], &limits, |head| {
        let Ok(head) = head else { return Ok(("400 Bad Request", Format::Prometheus, String::new())) };
        if head.path() != "/metrics" {
            let hint = "The figures are at /metrics.\n".to_owned();
            return Ok(("404 Not Found", Format::Prometheus, hint));
        }
        let accept = head.fields.all("accept").filter_map(|value| std::str::from_utf8(value).ok());
        let format = Format::preferred(accept);
        Ok(("200 OK", format, format.text(registry)?))
    });
    let (status, format, body) = answered.map_err(io::Error::other)?;
    let (content_type, length) = (format.content_type(), body.len());
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nVary: Accept\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// The metrics of one scrape.
#[derive(Debug)]
struct Figures {
    latest: Arc<Latest>,
    scenario: &'static str,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let now = self.latest.read();
        let labels = [("scenario", self.scenario)];
        for (name, help, value) in [
            ("messages_sent", "Messages sent, the warm-up included", now.sent),
            ("messages_answered", "Correct answers or deliveries", now.answered),
            ("faults", "Messages lost, duplicated, reordered or corrupted", now.faults),
            ("failures", "Connections that failed", now.failures),
        ] {
            let metric = ConstCounter::new(value);
            let mut descriptor = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(descriptor.encode_family(&labels)?)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "connections are far below 2^52")]
        let open = now.open as f64;
        for (name, help, value) in [
            ("connections", "Connections that are open", open),
            ("latency_p50_seconds", "Median latency of the last intervals", now.p50 / 1e9),
            ("latency_p99_seconds", "99th percentile of the latency of the last intervals", now.p99 / 1e9),
        ] {
            let metric = ConstGauge::new(value);
            let mut descriptor = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(descriptor.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
