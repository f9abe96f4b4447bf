//! The figures of a running flood as Prometheus text, for those who watch for long.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use switchboard::proto::Limits;
use switchboard::proto::head::{HeadScanner, with_request};

use crate::fleet::Snapshot;
use crate::run::Board;

/// A scrape that takes longer is given up.
const SCRAPE_LIMIT: Duration = Duration::from_secs(5);
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A listener for scrapes, on a thread that ends with the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    board: Arc<Board>,
}

impl Metrics {
    /// Listens on `address`; the runs of a search, one after the other, have one listener.
    pub(crate) fn serve(address: SocketAddr, scenario: &'static str) -> io::Result<Self> {
        static BOARD: OnceLock<Arc<Board>> = OnceLock::new();
        if let Some(board) = BOARD.get() {
            return Ok(Self { board: Arc::clone(board) });
        }
        let listener = TcpListener::bind(address)
            .map_err(|error| io::Error::other(format!("--metrics {address}: {error}")))?;
        let board = Arc::clone(BOARD.get_or_init(Arc::default));
        let mut registry = Registry::with_prefix("loadgen");
        registry.register_collector(Box::new(Figures { board: Arc::clone(&board), scenario }));
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A scrape that fails is the scraper's affair.
                let _ = stream.and_then(|stream| answer(stream, &registry));
            }
        });
        Ok(Self { board })
    }

    /// The newest figures.
    pub(crate) fn set(&self, snapshot: &Snapshot) {
        self.board.set(*snapshot);
    }
}

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
    let path = with_request(&head[..end], &limits, |head| {
        head.ok().map(|head| head.target.split('?').next().unwrap_or_default() == "/metrics")
    });
    let (status, body) = match path {
        None => ("400 Bad Request", String::new()),
        Some(false) => ("404 Not Found", "The figures are at /metrics.\n".to_owned()),
        Some(true) => {
            let mut body = String::new();
            encode(&mut body, registry).map_err(io::Error::other)?;
            ("200 OK", body)
        }
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// What a scrape shows.
#[derive(Debug)]
struct Figures {
    board: Arc<Board>,
    scenario: &'static str,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let now = self.board.read();
        let labels = [("scenario", self.scenario)];
        for (name, help, value) in [
            ("messages_sent", "Messages sent, the warm-up included", now.sent),
            ("messages_answered", "Right answers or deliveries", now.answered),
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
