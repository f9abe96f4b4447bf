//! The command line of `loadgen`.

pub(crate) mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::values::{Addresses, Sizes, duration};
use crate::condition::{Condition, RatioCondition};

/// Floods a WebSocket server with checked messages and reports what it took.
///
/// Exit status: 0 everything was as it should be, 1 something was lost, wrong or refused, 2 the run could not start,
/// 3 an --assert, --fail-if or --until did not hold, 4 with --strict: the generator itself was the limit,
/// 130 it was interrupted.
#[derive(Debug, Parser)]
#[command(version, term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Run(Scenario),
    /// Search the highest rate at which a scenario keeps its --until conditions
    ///
    /// Runs the scenario at doubling rates until a condition breaks, halves the distance, and confirms the result with a
    /// second run at that rate. Exit status 3 when not even the lowest rate holds.
    Search(SearchArgs),
    /// Compare two reports: ratios of their figures with bootstrap confidence
    Compare(CompareArgs),
    /// Put the reports of several processes of one run together
    Merge(MergeArgs),
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Scenario {
    /// Send messages to an echo server and compare every answer bit for bit
    Echo(EchoArgs),
    /// Publish to a server that sends every message to everyone; time every delivery and the last one of each
    Fanout(FanoutArgs),
    /// People in rooms of a chat server: subprotocol `chat.v1.json` or `json`
    Chat(ChatArgs),
    /// Open connections, hold them, answer pings
    Idle(IdleArgs),
    /// Connect, talk, close, and again: handshakes per second and their latency
    Churn(ChurnArgs),
    /// A share of the connections reads slowly while the others talk
    Slow(SlowArgs),
    /// Everyone loses the connection at once and comes back
    Storm(StormArgs),
}

/// Whose masking-keys go into the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mask {
    /// One key for all frames: cheapest
    Fixed,
    /// A new key for every frame, as RFC 6455 5.3 asks of clients
    Random,
    /// Frames without a key, and no closing handshake: only for what sends back the octets that came and knows no
    /// WebSocket, to see what that costs
    None,
}

/// Whom to connect to, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    /// The server, as `ws://HOST[:PORT]/PATH` or `wss://…`
    pub(crate) url: String,
    /// Connections; all are open before the first message
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) connections: u32,
    /// New connections per second [default: as fast as they are answered]
    #[arg(long, value_name = "R")]
    pub(crate) connect_rate: Option<f64>,
    /// Opening handshakes under way at once, so that the server's listen backlog is not overrun [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) connect_burst: Option<u32>,
    /// Event loops, each on a thread of its own; connections are dealt out among them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: u32,
    /// Local addresses to connect from, in turn: one, or IPv4 addresses FIRST-LAST; may stand more than once
    #[arg(long, value_name = "ADDR[-ADDR]", value_delimiter = ',')]
    pub(crate) source_ip: Vec<Addresses>,
    /// Offer a subprotocol; may stand more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,
    /// A further field of the request; may stand more than once
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// The Origin field
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Offer permessage-deflate, and compress where the server agrees
    #[arg(long)]
    pub(crate) deflate: bool,
    /// Accept any certificate of a wss:// server
    #[arg(long)]
    pub(crate) tls_insecure: bool,
    /// Masking-keys of the frames
    #[arg(long, value_enum, default_value_t = Mask::Random)]
    pub(crate) mask: Mask,
    /// Seed of keys and payloads [default: a new one, printed in the report]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Allow a target that is not this machine
    #[arg(long)]
    pub(crate) i_own_this_server: bool,
}

/// When to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct TimeArgs {
    /// How long to measure [default: 10s; where something else ends the run it is a bound: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Traffic before the measurement, not in the figures [default: 1s; 0s with --messages]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) warmup: Option<Duration>,
}

/// What is sent.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrafficArgs {
    /// Open loop: messages per second over all connections, each at its planned instant; with --pipeline, at most that
    /// many of a connection's are unanswered, and what waits counts from its planned instant
    #[arg(long, value_name = "R", conflicts_with = "messages")]
    pub(crate) rate: Option<f64>,
    /// Messages that each connection keeps unanswered [default: 1; with --rate no bound]
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

/// What comes of it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OutputArgs {
    /// Write the report as JSON (loadgen/report.schema.json), too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as one HTML page with charts, too
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the intervals of the run as CSV, too
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// A condition on the report, such as 'p99<5ms' or 'lost==0'; exit status 3 when it does not hold; may stand more
    /// than once
    #[arg(long, value_name = "CONDITION")]
    pub(crate) assert: Vec<Condition>,
    /// Exit status 4 when the generator itself was the limit
    #[arg(long)]
    pub(crate) strict: bool,
    /// Watch the processor time, memory and context switches of this process: a server on this machine
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Serve the figures of the running flood as Prometheus text
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// A small view of the running flood instead of the progress line
    #[arg(long)]
    pub(crate) tui: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) traffic: TrafficArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// So many of the connections publish; all of them subscribe
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) publishers: u32,
    /// The server does not send a message back to its publisher
    #[arg(long)]
    pub(crate) exclude_self: bool,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) traffic: TrafficArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Rooms over which the people spread; the subprotocol `json` has one
    #[arg(long, value_name = "R", default_value_t = 1)]
    pub(crate) rooms: u32,
    /// People who leave their room and join it again, per second over all [default: nobody]
    #[arg(long, value_name = "R")]
    pub(crate) rejoin_rate: Option<f64>,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    /// Posts per second over all people, each at its planned instant
    #[arg(long, value_name = "R", conflicts_with = "messages")]
    pub(crate) rate: Option<f64>,
    /// Posts that each person keeps unanswered [default: 1; with --rate no bound]
    #[arg(long, value_name = "P")]
    pub(crate) pipeline: Option<u32>,
    /// Each person posts M times, then closes
    #[arg(long, value_name = "M")]
    pub(crate) messages: Option<u64>,
    /// Text of each post in bytes, or a range from which each size is drawn
    #[arg(long, value_name = "B[-B]", default_value = "80")]
    pub(crate) size: Sizes,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// How long to hold the connections
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ChurnArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    /// Open loop: connections begun per second, over at most --connections at once [default: as fast as they end]
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<f64>,
    /// Messages that each connection sends and gets before it closes
    #[arg(long, value_name = "M", default_value_t = 1)]
    pub(crate) messages: u64,
    /// Payload of each message in bytes, or a range from which each size is drawn
    #[arg(long, value_name = "B[-B]", default_value = "20")]
    pub(crate) size: Sizes,
    /// Text messages (letters) instead of binary ones
    #[arg(long)]
    pub(crate) text: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SlowArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// The share of the connections that reads slowly
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub(crate) slow_share: f64,
    /// Bytes that a slow connection reads per second
    #[arg(long, value_name = "B", default_value_t = 1000)]
    pub(crate) slow_bytes: u64,
    /// Against a server that sends every message to everyone, with so many publishers among the fast connections
    /// [default: against an echo server, where slow connections send like all others]
    #[arg(long, value_name = "K")]
    pub(crate) fanout: Option<u32>,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) traffic: TrafficArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct StormArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// How often everyone is cut off
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rounds: u32,
    /// Rest between everyone's return and the next storm
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "200ms")]
    pub(crate) pause: Duration,
    /// Bound on the time of all rounds together
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub(crate) duration: Duration,
    /// Rooms over which people spread where the server speaks chat.v1.json
    #[arg(long, value_name = "R", default_value_t = 1)]
    pub(crate) rooms: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// What has to hold, such as 'p99<10ms'; may stand more than once, before the scenario or behind it
    #[arg(long, value_name = "CONDITION", global = true)]
    pub(crate) until: Vec<Condition>,
    /// The lowest rate to try
    #[arg(long, value_name = "R", default_value_t = 1000.0, global = true)]
    pub(crate) from: f64,
    /// The highest rate to try
    #[arg(long, value_name = "R", default_value_t = 4_000_000.0, global = true)]
    pub(crate) to: f64,
    /// Stop when the rate is known to this share
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, global = true)]
    pub(crate) precision: f64,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The report to compare with: the baseline
    pub(crate) base: PathBuf,
    /// The report in question
    pub(crate) new: PathBuf,
    /// A condition on a ratio new / base, such as 'p99>1.1x'; exit status 3 when it holds with confidence; may stand
    /// more than once
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_if: Vec<RatioCondition>,
    /// A condition that holds by its figure but not with confidence fails, too; so does a client-bound report (exit status 4)
    #[arg(long)]
    pub(crate) strict: bool,
    /// Compare reports of failed or interrupted runs, and of different plans, too
    #[arg(long)]
    pub(crate) anyway: bool,
    /// Seed of the resampling
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// Reports of processes that ran at the same time, as --json wrote them
    #[arg(required = true, num_args = 1..)]
    pub(crate) reports: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: MergeOutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MergeOutputArgs {
    /// Write the report as JSON, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as one HTML page with charts, too
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the intervals of the run as CSV, too
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// A condition on the report; exit status 3 when it does not hold; may stand more than once
    #[arg(long, value_name = "CONDITION")]
    pub(crate) assert: Vec<Condition>,
}
