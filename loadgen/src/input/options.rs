//! Options that several scenarios share.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};

use super::condition::Condition;
use super::values::{Addresses, Arrivals, Sizes, Stages, annotation, duration, instant};

/// When something is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    #[default]
    Auto,
    Always,
    Never,
}

/// Which masking-keys frames have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mask {
    /// One key for all frames: the cheapest
    Fixed,
    /// A new key for every frame, as RFC 6455 5.3 requires of clients
    Random,
    /// Frames without a key and no closing handshake: only for a server that sends back the octets it reads and does
    /// not speak WebSocket, to measure the floor
    None,
}

/// The server and the connections to it.
#[expect(clippy::struct_excessive_bools, reason = "each of them is an option")]
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    /// URL of the server: `ws://HOST[:PORT]/PATH`, `wss://…`, or `ws+unix:SOCKET[:/PATH]` for a Unix domain socket
    #[arg(required_unless_present = "further_urls")]
    pub(crate) url: Option<String>,
    /// URL of a further server of the same run: connections go to all URLs in turn, and one that is dialled again goes to
    /// the next; may be repeated
    #[arg(long = "url", value_name = "URL")]
    pub(crate) further_urls: Vec<String>,
    /// Number of connections; all are open before the first message
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) connections: u32,
    /// New connections per second [default: as fast as the server answers]
    #[arg(long, value_name = "R")]
    pub(crate) connect_rate: Option<f64>,
    /// Opening handshakes in progress at the same time, so that the server's listen backlog does not overflow
    /// [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) connect_burst: Option<u32>,
    /// Event loops, each on a thread of its own; the connections are divided among them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: u32,
    /// Local addresses to connect from, in turn: one address or the IPv4 range FIRST-LAST; may be repeated
    #[arg(long, value_name = "ADDR[-ADDR]", value_delimiter = ',')]
    pub(crate) source_ip: Vec<Addresses>,
    /// Connect to all addresses of the host in turn [default: the first one that answers]
    #[arg(long)]
    pub(crate) all_addresses: bool,
    /// Begin each connection with a PROXY v2 header that names the addresses of the socket, for a server that expects a
    /// proxy before it
    #[arg(long)]
    pub(crate) proxy_protocol: bool,
    /// Offer a subprotocol; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,
    /// Add a field to the opening handshake; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// Value of the Origin field
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Offer permessage-deflate, and compress messages if the server agrees
    #[arg(long)]
    pub(crate) deflate: bool,
    /// Accept any certificate of a wss:// server
    #[arg(long)]
    pub(crate) tls_insecure: bool,
    /// Masking-keys of the frames
    #[arg(long, value_enum, default_value_t = Mask::Random)]
    pub(crate) mask: Mask,
    /// Seed of masking-keys and payloads [default: a random one, printed in the report]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Allow a target that is not this machine
    #[arg(long)]
    pub(crate) i_own_this_server: bool,
}

impl ConnectArgs {
    /// The URLs of all servers.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.url.iter().chain(&self.further_urls).map(String::as_str)
    }

    /// The addresses of --source-ip.
    pub(crate) fn sources(&self) -> Vec<IpAddr> {
        self.source_ip.iter().flat_map(|range| range.0.clone()).collect()
    }
}

/// When to measure.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TimeArgs {
    /// How long to measure [default: 10s; if something else ends the run, an upper bound: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Traffic before the measurement, which no figure includes [default: 1s; 0s with --messages]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) warmup: Option<Duration>,
    /// Send the first message at this time of day, so that several processes begin together: RFC 3339, such as
    /// 2026-03-01T12:00:00Z, or seconds since 1970 [default: as soon as all connections are open]
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) start_at: Option<SystemTime>,
}

impl TimeArgs {
    /// A measurement of this length without a warm-up.
    pub(crate) fn exactly(duration: Duration) -> Self {
        Self { duration: Some(duration), warmup: Some(Duration::ZERO), start_at: None }
    }
}

/// The shape of an open loop.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ShapeArgs {
    /// Open loop with rates that change: constant (10s@1000/s) or linear (30s@1000..5000/s), one after another, separated
    /// by commas; the warm-up has the rate of the first stage [default duration: that of the stages]
    #[arg(long, value_name = "TIME@R,…")]
    pub(crate) stages: Option<Stages>,
    /// How the messages of an open loop are spread: even, poisson, or bursts:N
    #[arg(long, value_name = "SPREAD", default_value = "even")]
    pub(crate) arrivals: Arrivals,
}

/// Messages and their pace.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrafficArgs {
    /// Open loop: messages per second over all connections, each at its planned instant; with --pipeline, at most that
    /// many messages of a connection are unanswered, and the waiting time of the others counts from the planned instant
    #[arg(long, value_name = "R", conflicts_with = "messages")]
    pub(crate) rate: Option<f64>,
    #[command(flatten)]
    pub(crate) shape: ShapeArgs,
    /// Unanswered messages that each connection keeps [default: 1; with --rate no bound]
    #[arg(long, value_name = "P")]
    pub(crate) pipeline: Option<u32>,
    /// Each connection sends M messages, then closes
    #[arg(long, value_name = "M")]
    pub(crate) messages: Option<u64>,
    /// Payload of each message in bytes, or a range from which each size is drawn
    #[arg(long, value_name = "B[-B]", default_value = "20")]
    pub(crate) size: Sizes,
    /// Text messages (letters) instead of binary ones
    #[arg(long, conflicts_with = "binary")]
    pub(crate) text: bool,
    /// Binary messages: the default
    #[arg(long)]
    pub(crate) binary: bool,
}

impl Default for TrafficArgs {
    /// No rate, no count, and small binary messages: for scenarios that do not have these options.
    fn default() -> Self {
        let size = Sizes { min: 20, max: 20 };
        Self {
            rate: None,
            shape: ShapeArgs::default(),
            pipeline: None,
            messages: None,
            size,
            text: false,
            binary: false,
        }
    }
}

/// Forms of the report, and conditions on it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ReportArgs {
    /// Write the report as JSON (loadgen/report.schema.json)
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as one HTML page with charts
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the intervals of the run as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the result as `JUnit` XML, with a test case for the run and one for each --assert
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write a summary as Markdown, for a pull request or `$GITHUB_STEP_SUMMARY`
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write the figures for the textfile collector of `node_exporter`; FILE should end with .prom
    #[arg(long, value_name = "FILE")]
    pub(crate) prometheus_file: Option<PathBuf>,
    /// Draw the rate over time and the distribution of the latency in the text report; auto: on a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub(crate) bars: When,
    /// What is different in this run, such as 'with the new allocator': it stands in every form of the report; may be
    /// repeated
    #[arg(long, value_name = "TEXT", value_parser = annotation)]
    pub(crate) annotate: Vec<String>,
    /// A condition on the report, such as 'p99<5ms' or 'lost==0'; exit status 3 if it does not hold; may be repeated
    #[arg(long, value_name = "CONDITION")]
    pub(crate) assert: Vec<Condition>,
}

/// The report of a scenario, and what is watched while it runs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OutputArgs {
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    /// Exit status 4 if the generator itself was the limit
    #[arg(long)]
    pub(crate) strict: bool,
    /// Measure processor time, memory and context switches of this process: a server on this machine
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Serve the figures of the running flood to Prometheus at http://ADDR:PORT/metrics
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Show the running flood on the whole terminal: curves, a heat map of the latency, and keys that pause it and change
    /// its rate
    #[arg(long)]
    pub(crate) tui: bool,
}
