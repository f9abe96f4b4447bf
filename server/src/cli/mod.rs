//! The command line of `switchboard`.

pub(crate) mod archive;
pub(crate) mod engine;
pub(crate) mod hooks;
pub(crate) mod listen;
mod settings;
pub(crate) mod tls;
pub(crate) mod token;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use switchboard::history::{self, sqlite};
use switchboard::net::MAX_LOOPS;
use switchboard::proto::{CloseCode, DeflateConfig, Limits};
use switchboard::reactor::Config;

use self::archive::{BackupArgs, ExportArgs, ImportArgs};
use self::engine::{EngineArgs, EngineCommand};
use self::hooks::HookArgs;
use self::listen::{ListenArgs, Place};
use self::settings::Settings;
use self::tls::{TlsArgs, TlsCommand};
use self::token::{TokenCommand, VerifyArgs};
use crate::log;

/// Port of the chat, unless `PORT` or `--listen` say otherwise.
const DEFAULT_PORT: u16 = 8080;
/// Port of the servers for benchmarks, unless `--listen` says otherwise.
const DEFAULT_BENCH_PORT: u16 = 9001;

/// A WebSocket server on single-threaded event loops, and a durable chat on top of it.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, read once")]
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
    /// Make and check tokens that say who somebody is
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make a certificate for trying out TLS
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Check a Redis or Valkey before servers use it
    #[command(subcommand)]
    Engine(EngineCommand),
}

impl Cli {
    /// What the arguments say, then the environment, then the file of `--config`, then the defaults; and warnings for the
    /// log. Ends the process with a message when something is wrong.
    pub(crate) fn read() -> (Self, Vec<String>) {
        let variables: Vec<_> = std::env::vars_os().collect();
        Self::from_all(std::env::args_os().collect(), &variables).unwrap_or_else(|error| error.exit())
    }

    fn from_all(
        mut arguments: Vec<OsString>,
        variables: &[(OsString, OsString)],
    ) -> Result<(Self, Vec<String>), clap::Error> {
        let mut all = Self::command();
        all.build();
        // What is wrong with the arguments is said when the settings are among them.
        let given = Self::command().ignore_errors(true).try_get_matches_from(&arguments)?;
        let (mut command, mut matches, mut depth) = (&all, &given, 1);
        while let Some((name, inner)) = matches.subcommand() {
            command = command.find_subcommand(name).unwrap_or(command);
            (matches, depth) = (inner, depth + 1);
        }
        let mut settings = Settings::new(command, matches);
        settings.add_environment(&all, variables).map_err(|why| settings::error(&all, why))?;
        if let Some(path) = settings.file(matches) {
            settings.add_file(&all, &path).map_err(|why| settings::error(&all, why))?;
        }
        let at = depth.min(arguments.len());
        arguments.splice(at..at, settings.flags());
        let matches = all
            .clone()
            .try_get_matches_from(&arguments)
            .map_err(|error| settings.name_origin(error, &all))?;
        let mut cli = Self::from_arg_matches(&matches)?;
        let serve = match &mut cli.command {
            Some(Command::Serve(serve)) => serve,
            _ => &mut cli.serve,
        };
        serve.is_port_of_platform = settings.is_port_of_platform();
        Ok((cli, settings.warnings))
    }

    /// The form of the log.
    pub(crate) fn log_format(&self) -> log::Format {
        let settings = match &self.command {
            None => &self.serve.common.settings,
            Some(Command::Serve(args)) => &args.common.settings,
            Some(Command::Echo(args) | Command::Fanout(args)) => &args.common.settings,
            Some(Command::Export(args)) => args.settings(),
            Some(Command::Import(args)) => args.settings(),
            Some(Command::Backup(args)) => args.settings(),
            Some(Command::Token(command)) => command.settings(),
            Some(Command::Tls(command)) => command.settings(),
            Some(Command::Engine(command)) => command.settings(),
        };
        settings.log_format
    }
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// A file of TOML with flags as keys: `max-connections = 1000`; flags and SWITCHBOARD_… variables take precedence
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lines for people, or JSON
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    log_format: log::Format,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags, one by one")]
pub(crate) struct ServeArgs {
    /// Where to listen: ADDR:PORT, :PORT for all addresses, NAME:PORT such as localhost:8080, or unix:PATH; may be repeated, or a list with
    /// commas [default: 127.0.0.1:8080, unless there is another listener]
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',')]
    pub(crate) listen: Vec<Place>,
    /// Port on 127.0.0.1, unless --listen is given. The variable PORT, which hosting platforms set, is one of all addresses
    #[arg(long, default_value_t = DEFAULT_PORT)]
    pub(crate) port: u16,
    /// The port is that of the variable PORT.
    #[arg(skip)]
    pub(crate) is_port_of_platform: bool,
    /// A page from this origin may connect, besides same origin and localhost: `scheme://host[:port]`, `file://`, `null`, an empty text
    /// for an empty Origin, or `*` for any; may be repeated, or a list with commas
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Vec<String>,
    /// Answer only requests for this host, on every path: HOST[:PORT], *.DOMAIN, or `*` for any; may be repeated, or a list with commas
    /// [default: any, but on a loopback address only localhost and loopback addresses, so that no page of a stranger gets in by DNS
    /// rebinding]
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// Refuse clients that offer only subprotocols unknown here
    #[arg(long)]
    pub(crate) strict_subprotocol: bool,
    /// Messages that a client receives when it joins a room
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) history: usize,
    /// Posts that a connection, or a user, may make in a second, twice as many at once; an address ten times as many (0: no
    /// limit, for any command)
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) posts_per_second: u32,
    /// Longest `data` of a message, which carries any JSON beside the text (0: none)
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u16).range(0..=32_768))]
    pub(crate) max_data: u16,
    /// The directory of the history; made when it is not there
    #[arg(long, value_name = "DIR", default_value = "switchboard-data")]
    pub(crate) data: PathBuf,
    /// Keep the history in memory only
    #[arg(long, conflicts_with_all = ["data", "keep_posts", "keep_for"])]
    pub(crate) ephemeral: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// Serve the files of this directory in the place of the page; read once, at the start
    #[arg(long, value_name = "DIR")]
    pub(crate) page: Option<PathBuf>,
    /// Serve no page, only /ws and what else is asked for
    #[arg(long, conflicts_with_all = ["page", "sign_in_url"])]
    pub(crate) no_page: bool,
    /// Where the page sends people to sign in: an address of http or https, or a path of this host. They come back with
    /// `#token=…`; the address of the page goes along as the parameter `return_to`
    #[arg(long, value_name = "URL", value_parser = sign_in_url)]
    pub(crate) sign_in_url: Option<String>,
    /// Tell nobody which rooms there are: who knows the name of one, and may join it, joins it
    #[arg(long)]
    pub(crate) no_room_list: bool,
    /// Refuse clients without a token (see --token-key)
    #[arg(long)]
    pub(crate) require_token: bool,
    #[command(flatten)]
    pub(crate) verify: VerifyArgs,
    #[command(flatten)]
    pub(crate) hooks: HookArgs,
    #[command(flatten)]
    pub(crate) threads: ThreadsArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// A page must not be led to a script or a file.
fn sign_in_url(url: &str) -> Result<String, String> {
    let is_address =
        ["https://", "http://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
    let is_path = url.starts_with('/') && !url.starts_with("//");
    if is_address || is_path {
        Ok(url.to_owned())
    } else {
        Err("not an address of http or https, nor a path".to_owned())
    }
}

/// The HTTP API.
#[derive(Debug, Args)]
pub(crate) struct ApiArgs {
    /// Serve the HTTP API under /api/v1, and the operator's page under /admin, to clients with a token in this file: one secret that may
    /// do everything, or a list that `switchboard token api-create` makes; SIGHUP reads the file again [default: no API]
    #[arg(long = "api-token-file", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Requests that one token may make in a second, twice as many at once; more get 429 (0: no limit)
    #[arg(long = "api-requests-per-second", value_name = "N", default_value_t = 1000)]
    pub(crate) requests_per_second: u32,
    /// Pages of this origin may use the API with a token: `scheme://host[:port]`, or `*` for any; may be repeated, or a list with commas
    #[arg(long = "api-cors-origin", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origins: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RetentionArgs {
    /// Messages that each room keeps (0: all) [default: 0, with --engine 10000]
    #[arg(long, value_name = "N")]
    keep_posts: Option<u64>,
    /// For how long messages are kept, such as 30d [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    keep_for: Option<Duration>,
}

impl RetentionArgs {
    /// Milliseconds for which messages are kept; 0: for ever.
    fn keep_ms(&self) -> u64 {
        self.keep_for.map_or(0, |keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX))
    }

    /// The defaults of a store, with what the command line says of how much it keeps.
    pub(crate) fn options(&self) -> sqlite::Options {
        sqlite::Options::default().with(|it| {
            it.keep_posts = self.keep_posts.unwrap_or(0);
            it.keep_ms = self.keep_ms();
        })
    }

    /// The same for an engine.
    pub(crate) fn engine_options(&self) -> history::engine::Options {
        history::engine::Options::default().with(|it| {
            it.keep_posts = self.keep_posts.unwrap_or(it.keep_posts);
            it.keep_ms = self.keep_ms();
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Where to listen: ADDR:PORT, :PORT for all addresses, NAME:PORT such as localhost:9001, or unix:PATH; may be repeated, or a list with
    /// commas [default: 127.0.0.1:9001, unless there is another listener]
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',')]
    pub(crate) listen: Vec<Place>,
    /// Longest message in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    pub(crate) max_message: u64,
    #[command(flatten)]
    pub(crate) threads: ThreadsArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// How many loops there are.
#[derive(Debug, Args)]
pub(crate) struct ThreadsArgs {
    /// Loops that share all listeners, each on a thread of its own (0: as many as there are cores). Limits are those of all together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to_max_loops)]
    threads: usize,
}

impl ThreadsArgs {
    pub(crate) fn loops(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_LOOPS),
            loops => loops,
        }
    }
}

fn up_to_max_loops(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(loops) if loops <= MAX_LOOPS => Ok(loops),
        _ => Err(format!("not a number from 0 to {MAX_LOOPS}")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    pub(crate) listeners: ListenArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// Never sleep: less latency, for a whole core
    #[arg(long)]
    pub(crate) busy_poll: bool,
    /// Connections at a time; more get 503 [default: as many as there are descriptors]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    max_connections: usize,
    /// TCP connections at a time from one address (IPv6: one /64); more get 503 (0: no limit). Behind a proxy: see --trusted-proxy
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_connections_per_address: usize,
    /// New TCP connections in a second; more get 503 (0: no limit)
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_new_per_second: u32,
    /// New TCP connections in a second from one address; more get 503 (0: no limit)
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_new_per_second_per_address: u32,
    /// Milliseconds that a client may take between the answer to a request and its next one on the same connection; above the
    /// 60000 of common balancers (0: one request a connection)
    #[arg(long, value_name = "MS", default_value_t = Config::default().proto.timeouts.keep_alive_ms)]
    keep_alive_timeout: u64,
    /// Milliseconds between two Pings (0: none are sent)
    #[arg(long, value_name = "MS", default_value_t = Config::default().proto.timeouts.ping_ms)]
    pub(crate) ping_interval: u64,
    /// Milliseconds of silence after a Ping until a client counts as gone (0: no limit)
    #[arg(long, value_name = "MS", default_value_t = Config::default().proto.timeouts.pong_ms)]
    pong_timeout: u64,
    /// Milliseconds after which a server that was told to stop ends, even with clients connected
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub(crate) drain_timeout: u64,
    /// Milliseconds over which a server that stops spreads the closing of more than 256 connections
    #[arg(long, value_name = "MS", default_value_t = Config::default().drain_spread_ms)]
    drain_spread: u64,
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
    /// Compress each message to a client for itself: no compressor per connection, and a broadcast is compressed once
    #[arg(long = "deflate-no-context-takeover", requires = "is_on")]
    no_context_takeover: bool,
    /// Ask clients to do so, too: no window per connection either. Safari does not do as it is asked, and its second message fails
    #[arg(long = "deflate-client-no-context-takeover", requires = "is_on")]
    client_no_context_takeover: bool,
}

impl CommonArgs {
    /// The defaults, with what the command line says about every kind of server.
    fn config(&self) -> Config {
        let mut config = Config::default().with(|it| {
            it.max_connections = self.max_connections;
            it.max_connections_per_address = self.max_connections_per_address;
            it.max_new_per_second = self.max_new_per_second;
            it.max_new_per_second_per_address = self.max_new_per_second_per_address;
            it.drain_spread_ms = self.drain_spread.min(self.drain_timeout);
            it.trusted_proxies = self.listeners.trusted_proxies();
            it.max_queued = self.max_queued;
            it.max_queue_age_ms = self.max_queue_age;
        });
        config.proto.timeouts.ping_ms = self.ping_interval;
        config.proto.timeouts.pong_ms = self.pong_timeout;
        config.proto.timeouts.keep_alive_ms = self.keep_alive_timeout;
        config.proto.deflate = self.deflate.config();
        config
    }
}

impl DeflateArgs {
    fn config(&self) -> Option<DeflateConfig> {
        self.is_on.then(|| {
            DeflateConfig::default().with(|it| {
                it.server_no_context_takeover = self.no_context_takeover;
                it.client_no_context_takeover = self.client_no_context_takeover;
                it.server_max_window_bits = self.window_bits;
                it.client_max_window_bits = self.window_bits;
            })
        })
    }
}

impl ServeArgs {
    /// Where a server without any listener listens.
    pub(crate) fn default_place(&self) -> Place {
        if self.is_port_of_platform { Place::Any(self.port) } else { (Ipv4Addr::LOCALHOST, self.port).into() }
    }

    pub(crate) fn config(&self) -> Config {
        // Promise 9: clients are to come back, to this server or another.
        self.common.config().with(|it| it.shutdown_code = CloseCode::SERVICE_RESTART)
    }
}

impl BenchArgs {
    /// Where a server without any listener listens.
    pub(crate) fn default_place() -> Place {
        (Ipv4Addr::LOCALHOST, DEFAULT_BENCH_PORT).into()
    }

    /// Limits for payloads of `--max-message`, and room in the queue for some of them.
    pub(crate) fn config(&self) -> Config {
        let mut config = self.common.config();
        config.proto.limits = Limits::default().with_max_message(self.max_message);
        let max_message = usize::try_from(self.max_message).unwrap_or(usize::MAX);
        config.max_backlog = config.max_backlog.saturating_add(max_message.saturating_mul(2));
        config
    }
}
