//! The command line of `switchboard`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::{Args, Parser, Subcommand};
use switchboard::proto::{DeflateConfig, Limits};
use switchboard::reactor::Config;

use crate::archive_cli::{BackupArgs, ExportArgs, ImportArgs};

/// Port of the chat, unless `PORT` or `--listen` say otherwise.
const DEFAULT_PORT: u16 = 8080;

/// A WebSocket server on a single-threaded event loop, and the chat that stands on it.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the chat and its page (what happens without a command, too)
    Serve(ServeArgs),
    /// Send every message back to its sender: for conformance and benchmarks
    Echo(BenchArgs),
    /// Send every message to every connection: for benchmarks
    Fanout(BenchArgs),
    /// Write the messages of a room to stdout, a line of JSON each; a server may be running meanwhile
    Export(ExportArgs),
    /// Take messages in from stdin, as `export` writes them; what is there already is left as it is
    Import(ImportArgs),
    /// Copy a data directory, while a server runs on it or not
    Backup(BackupArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; may stand more than once [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Port on 127.0.0.1; --listen goes before it
    #[arg(long, env = "PORT", default_value_t = DEFAULT_PORT)]
    pub(crate) port: u16,
    /// A page from this origin may connect, besides same origin and localhost; may stand more than once
    #[arg(long, value_name = "SCHEME://HOST[:PORT]")]
    pub(crate) allow_origin: Vec<String>,
    /// Answer only requests for these hosts; may stand more than once [default: any]
    #[arg(long, value_name = "HOST")]
    pub(crate) allow_host: Vec<String>,
    /// Refuse clients that offer only subprotocols unknown here
    #[arg(long)]
    pub(crate) strict_subprotocol: bool,
    /// Messages that the room remembers
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) history: usize,
    /// Keep history in memory only, and do not warn about it
    #[arg(long)]
    pub(crate) ephemeral: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Where to listen; may stand more than once
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9001")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Longest message in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    pub(crate) max_message: u64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Never sleep: less latency, for a whole core
    #[arg(long)]
    pub(crate) busy_poll: bool,
    /// Connections at a time; more get 503 [default: as many as there are descriptors]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    max_connections: usize,
    /// Bytes that may wait for all slow readers together; above it those with the longest queues are dropped
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().max_queued)]
    max_queued: usize,
    /// Milliseconds that anything may wait for a slow reader; then it is dropped (0: for ever)
    #[arg(long, value_name = "MS", default_value_t = Config::default().max_queue_age_ms)]
    max_queue_age: u64,
    #[command(flatten)]
    deflate: DeflateArgs,
}

#[derive(Debug, Args)]
struct DeflateArgs {
    /// Compress messages where the client offers it (permessage-deflate)
    #[arg(long = "deflate")]
    is_on: bool,
    /// Windows of 2^BITS bytes at most, 9 to 15: memory against compression
    #[arg(long = "deflate-window", value_name = "BITS", default_value_t = 15, requires = "is_on",
        value_parser = clap::value_parser!(u8).range(9..=15))]
    window_bits: u8,
    /// Compress each message for itself: no memory per connection, and a broadcast is compressed once
    #[arg(long = "deflate-no-context-takeover", requires = "is_on")]
    no_context_takeover: bool,
}

impl CommonArgs {
    /// The defaults, with what the command line says about every kind of server.
    fn config(&self) -> Config {
        let mut config = Config {
            max_connections: self.max_connections,
            max_queued: self.max_queued,
            max_queue_age_ms: self.max_queue_age,
            ..Config::default()
        };
        config.proto.deflate = self.deflate.config();
        config
    }
}

impl DeflateArgs {
    fn config(&self) -> Option<DeflateConfig> {
        self.is_on.then(|| DeflateConfig {
            server_no_context_takeover: self.no_context_takeover,
            client_no_context_takeover: self.no_context_takeover,
            server_max_window_bits: self.window_bits,
            client_max_window_bits: self.window_bits,
            ..DeflateConfig::default()
        })
    }
}

impl ServeArgs {
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        if self.listen.is_empty() {
            vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)]
        } else {
            self.listen.clone()
        }
    }

    pub(crate) fn config(&self) -> Config {
        self.common.config()
    }
}

impl BenchArgs {
    /// Limits for payloads of `--max-message`, and room in the queue for some of them.
    pub(crate) fn config(&self) -> Config {
        let mut config = self.common.config();
        config.proto.limits = Limits::default().with_max_message(self.max_message);
        let max_message = usize::try_from(self.max_message).unwrap_or(usize::MAX);
        config.max_backlog = config.max_backlog.saturating_add(max_message.saturating_mul(2));
        config
    }
}
