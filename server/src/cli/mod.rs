//! The command line of `switchboard`.

pub(crate) mod archive;
pub(crate) mod config;
pub(crate) mod engine;
mod examples;
mod file;
pub(crate) mod hooks;
pub(crate) mod listen;
pub(crate) mod pages;
pub(crate) mod probe;
#[cfg(test)]
mod reference;
mod settings;
mod table;
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
use self::config::ConfigCommand;
use self::engine::{EngineArgs, EngineCommand};
use self::hooks::HookArgs;
use self::listen::{ListenArgs, Place};
use self::pages::{CompletionsArgs, ManArgs};
use self::probe::ProbeArgs;
use self::settings::Settings;
use self::tls::{TlsArgs, TlsCommand};
use self::token::{TokenCommand, VerifyArgs};
use crate::doctor::DoctorArgs;
use crate::{Failure, log, version};

/// Port of the chat, unless `PORT` or `--listen` say otherwise.
const DEFAULT_PORT: u16 = 8080;
/// Port of the servers for benchmarks, unless `--listen` says otherwise.
const DEFAULT_BENCH_PORT: u16 = 9001;

/// A WebSocket server on single-threaded event loops, and a durable chat on top of it
#[derive(Debug, Parser)]
#[command(
    name = "switchboard",
    version = version::SHORT,
    long_version = version::long(),
    args_conflicts_with_subcommands = true,
    after_help = examples::SHORT,
    after_long_help = examples::LONG
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, read once")]
pub(crate) enum Command {
    /// Serve the chat and its page (the default)
    #[command(after_help = examples::SERVE)]
    Serve(ServeArgs),
    /// Send every message back to its sender: for conformance and benchmarks
    #[command(after_help = examples::ECHO)]
    Echo(BenchArgs),
    /// Send every message to every connection: for benchmarks
    #[command(after_help = examples::FANOUT)]
    Fanout(BenchArgs),
    /// Write messages to stdout, a line of JSON each
    ///
    /// A server may run on the data directory meanwhile.
    #[command(after_help = examples::EXPORT)]
    Export(ExportArgs),
    /// Read messages from stdin, as `export` writes them
    ///
    /// Messages that exist already are left as they are. No server may run on the data directory.
    #[command(after_help = examples::IMPORT)]
    Import(ImportArgs),
    /// Copy a data directory
    ///
    /// A server may run on it meanwhile.
    #[command(after_help = examples::BACKUP)]
    Backup(BackupArgs),
    /// Make and check tokens that say who somebody is
    #[command(subcommand, after_help = examples::TOKEN)]
    Token(TokenCommand),
    /// Make a certificate for trying out TLS
    #[command(subcommand, after_help = examples::TLS)]
    Tls(TlsCommand),
    /// Write a sample of the configuration file, check a file, show the settings
    #[command(subcommand, after_help = examples::CONFIG)]
    Config(ConfigCommand),
    /// Look whether this machine is fit for a server, and what to change
    ///
    /// It looks at descriptors, limits of the kernel, clock, memory, disk, certificates and ports. It takes the flags of
    /// `serve`. The exit code is 1 when a server would not work here.
    #[command(after_help = examples::DOCTOR)]
    Doctor(Box<DoctorArgs>),
    /// Ask a server whether it is well, for health checks
    ///
    /// The exit code is 0 when it answers 200, else 1.
    #[command(after_help = examples::PROBE)]
    Probe(ProbeArgs),
    /// Print the completions of a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print a man page, or write all of them
    #[command(after_help = examples::MAN)]
    Man(ManArgs),
    /// Check a Redis or Valkey before servers use it
    #[command(subcommand, after_help = examples::ENGINE)]
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
        let mut all = Self::concise_command();
        // What is wrong with the arguments is said when the settings are among them.
        let given = all.clone().ignore_errors(true).try_get_matches_from(&arguments)?;
        all.build();
        let (mut command, mut matches, mut depth) = (&all, &given, 1);
        while let Some((name, inner)) = matches.subcommand() {
            command = command.find_subcommand(name).unwrap_or(command);
            (matches, depth) = (inner, depth + 1);
        }
        // What talks about a server has its settings.
        command = settings::of(&all, command, matches, config::server(&given))
            .map_err(|why| settings::error(&[why]))?;
        let mut settings = Settings::new(command, matches);
        settings.add_environment(&all, variables).map_err(|why| settings::error(&why))?;
        if let Some(path) = settings.file(matches) {
            settings.add_file(&all, &path).map_err(|why| settings::error(&why))?;
        }
        let at = depth.min(arguments.len());
        arguments.splice(at..at, settings.flags());
        let read = all.clone().try_get_matches_from(&arguments);
        let matches = read.map_err(|error| settings.blame(error, &all, &arguments[..at]))?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.serve_args().is_port_of_platform = settings.is_port_of_platform();
        if let Some(Command::Config(ConfigCommand::Show(show))) = &mut cli.command {
            let mut inner = &matches;
            while let Some((_, matches)) = inner.subcommand() {
                inner = matches;
            }
            show.effective = settings.effective(inner);
        }
        Ok((cli, settings.warnings))
    }

    /// Commands that take the flags of `serve` without being it do not list them.
    fn concise_command() -> clap::Command {
        let concise = |command: clap::Command| {
            command.mut_args(|arg| {
                let is_own = arg.get_help_heading().is_none() || arg.get_long() == Some("config");
                arg.hide(!is_own)
            })
        };
        Self::command().mut_subcommand("doctor", concise).mut_subcommand("config", |config| {
            ["check", "show"].into_iter().fold(config, |config, name| config.mut_subcommand(name, concise))
        })
    }

    /// The settings of a server that is started, or talked about.
    fn serve_args(&mut self) -> &mut ServeArgs {
        match &mut self.command {
            Some(Command::Serve(serve)) => serve,
            Some(Command::Config(command)) => command.serve_args().unwrap_or(&mut self.serve),
            Some(Command::Doctor(args)) => &mut args.serve,
            _ => &mut self.serve,
        }
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
            Some(Command::Config(command)) => command.settings(),
            Some(Command::Doctor(args)) => &args.serve.common.settings,
            Some(Command::Probe(args)) => &args.settings,
            Some(Command::Completions(args)) => &args.settings,
            Some(Command::Man(args)) => &args.settings,
            Some(Command::Engine(command)) => command.settings(),
        };
        settings.log_format
    }
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings and log")]
pub(crate) struct SettingsArgs {
    /// TOML file with flags as keys: `max-connections = 1000`
    ///
    /// Flags and variables SWITCHBOARD_… take precedence. `switchboard config generate` writes a sample.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the log
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    log_format: log::Format,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags, one by one")]
#[command(next_help_heading = "Listening")]
pub(crate) struct ServeArgs {
    /// Where to listen: ADDR:PORT, :PORT, NAME:PORT or unix:PATH [default: 127.0.0.1:8080]
    ///
    /// :PORT is a port of all addresses. NAME is a name of this machine, such as localhost. The default holds unless
    /// there is another listener. May be repeated, or a list with commas.
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',')]
    pub(crate) listen: Vec<Place>,
    /// Port on 127.0.0.1, unless --listen is given
    ///
    /// The variable PORT, which hosting platforms set, is a port of all addresses.
    #[arg(long, default_value_t = DEFAULT_PORT)]
    pub(crate) port: u16,
    /// The port is that of the variable PORT.
    #[arg(skip)]
    pub(crate) is_port_of_platform: bool,
    /// Origin of pages that may connect, besides the same origin and localhost
    ///
    /// `scheme://host[:port]`, `file://`, `null`, an empty text for an empty Origin, or `*` for any. May be repeated,
    /// or a list with commas.
    #[arg(long, help_heading = "Who may connect", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Vec<String>,
    /// Host that requests may be for: HOST[:PORT], *.DOMAIN, or `*` for any [default: any]
    ///
    /// It holds on every path. On a loopback address the default is only localhost and loopback addresses, so that no
    /// page of a stranger gets in by DNS rebinding. May be repeated, or a list with commas.
    #[arg(long, help_heading = "Who may connect", value_name = "HOST", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// Refuse clients that offer only subprotocols unknown here
    #[arg(long, help_heading = "Who may connect")]
    pub(crate) strict_subprotocol: bool,
    /// Messages that a client receives when it joins a room
    #[arg(long, help_heading = "History", value_name = "N", default_value_t = 50)]
    pub(crate) history: usize,
    /// Posts of a connection, or of a user, in a second (0: no limit)
    ///
    /// Twice as many at once; an address ten times as many. 0 lifts the limit of every command.
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 20)]
    pub(crate) posts_per_second: u32,
    /// Longest `data` of a message in bytes (0: none)
    ///
    /// `data` is any JSON that a message carries beside its text.
    #[arg(long, help_heading = "Limits", value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u16).range(0..=32_768))]
    pub(crate) max_data: u16,
    /// Directory of the history; made if it is missing
    #[arg(long, help_heading = "History", value_name = "DIR", default_value = "switchboard-data")]
    pub(crate) data: PathBuf,
    /// Keep the history in memory only
    #[arg(long, help_heading = "History", conflicts_with_all = ["data", "keep_posts", "keep_for"])]
    pub(crate) ephemeral: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// Serve the files of this directory in the place of the page
    ///
    /// It is read once, at the start.
    #[arg(long, help_heading = "Page", value_name = "DIR")]
    pub(crate) page: Option<PathBuf>,
    /// Serve no page
    #[arg(long, help_heading = "Page", conflicts_with_all = ["page", "sign_in_url"])]
    pub(crate) no_page: bool,
    /// Where the page sends people to sign in
    ///
    /// An address of http or https, or a path of this host. People come back with `#token=…`. The address of the page
    /// goes along as the parameter `return_to`.
    #[arg(long, help_heading = "Page", value_name = "URL", value_parser = sign_in_url)]
    pub(crate) sign_in_url: Option<String>,
    /// Tell nobody which rooms there are
    ///
    /// Who knows the name of a room, and may join it, joins it.
    #[arg(long, help_heading = "Page")]
    pub(crate) no_room_list: bool,
    /// Refuse clients without a token (see --token-key)
    #[arg(long, help_heading = "Tokens")]
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
#[command(next_help_heading = "HTTP API")]
pub(crate) struct ApiArgs {
    /// Serve the HTTP API to clients with a token of this file [default: no API]
    ///
    /// The API is under /api/v1, the operator's page under /admin. The file holds one secret that may do everything,
    /// or a list that `switchboard token api-create` makes. SIGHUP reads it again.
    #[arg(long = "api-token-file", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Requests of one API token in a second; more get 429 (0: no limit)
    ///
    /// Twice as many at once.
    #[arg(long = "api-requests-per-second", value_name = "N", default_value_t = 1000)]
    pub(crate) requests_per_second: u32,
    /// Origin of pages that may use the API with a token
    ///
    /// `scheme://host[:port]`, or `*` for any. May be repeated, or a list with commas.
    #[arg(long = "api-cors-origin", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origins: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "History")]
pub(crate) struct RetentionArgs {
    /// Messages that each room keeps (0: all) [default: 0, with --engine 10000]
    #[arg(long, value_name = "N")]
    keep_posts: Option<u64>,
    /// How long messages are kept, such as 30d [default: no limit]
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
#[command(next_help_heading = "Listening")]
pub(crate) struct BenchArgs {
    /// Where to listen: ADDR:PORT, :PORT, NAME:PORT or unix:PATH [default: 127.0.0.1:9001]
    ///
    /// :PORT is a port of all addresses. NAME is a name of this machine, such as localhost. The default holds unless
    /// there is another listener. May be repeated, or a list with commas.
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',')]
    pub(crate) listen: Vec<Place>,
    /// Longest message in bytes
    #[arg(long, help_heading = "Limits", value_name = "BYTES", default_value_t = 64 << 20)]
    pub(crate) max_message: u64,
    #[command(flatten)]
    pub(crate) threads: ThreadsArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// How many loops there are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Loops")]
pub(crate) struct ThreadsArgs {
    /// Loops, each on a thread of its own (0: one for each core)
    ///
    /// They share all listeners. Limits are those of all loops together.
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
#[command(next_help_heading = "Limits")]
pub(crate) struct CommonArgs {
    #[command(flatten)]
    pub(crate) listeners: ListenArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// Never sleep: less latency, for a whole core
    #[arg(long, help_heading = "Loops")]
    pub(crate) busy_poll: bool,
    /// Connections at a time; more get 503 [default: as many as there are descriptors]
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0, hide_default_value = true)]
    max_connections: usize,
    /// TCP connections at a time from one address; more get 503 (0: no limit)
    ///
    /// With IPv6 one /64 counts as an address. Behind a proxy see --trusted-proxy.
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0)]
    max_connections_per_address: usize,
    /// New TCP connections in a second; more get 503 (0: no limit)
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0)]
    max_new_per_second: u32,
    /// New TCP connections in a second from one address; more get 503 (0: no limit)
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0)]
    max_new_per_second_per_address: u32,
    /// Milliseconds from an answer to the next request on the same connection
    ///
    /// 0: one request for each connection. The default is above the 60000 of common balancers.
    #[arg(long, help_heading = "Timeouts", value_name = "MS", default_value_t = Config::default().proto.timeouts.keep_alive_ms)]
    keep_alive_timeout: u64,
    /// Milliseconds between two Pings (0: none are sent)
    #[arg(long, help_heading = "Timeouts", value_name = "MS", default_value_t = Config::default().proto.timeouts.ping_ms)]
    pub(crate) ping_interval: u64,
    /// Milliseconds of silence after a Ping until a client is gone (0: no limit)
    #[arg(long, help_heading = "Timeouts", value_name = "MS", default_value_t = Config::default().proto.timeouts.pong_ms)]
    pong_timeout: u64,
    /// Milliseconds until a server that was told to stop ends
    ///
    /// It ends even with clients connected.
    #[arg(long, help_heading = "Timeouts", value_name = "MS", default_value_t = 10_000)]
    pub(crate) drain_timeout: u64,
    /// Milliseconds over which a stopping server closes its connections
    ///
    /// Up to 256 connections are closed at once.
    #[arg(long, help_heading = "Timeouts", value_name = "MS", default_value_t = Config::default().drain_spread_ms)]
    drain_spread: u64,
    /// Bytes that may wait for all slow readers together
    ///
    /// Above it the readers with the longest queues are dropped.
    #[arg(long, help_heading = "Limits", value_name = "BYTES", default_value_t = Config::default().max_queued)]
    max_queued: usize,
    /// Milliseconds that bytes may wait for a slow reader (0: no limit)
    ///
    /// Then the reader is dropped.
    #[arg(long, help_heading = "Timeouts", value_name = "MS", default_value_t = Config::default().max_queue_age_ms)]
    max_queue_age: u64,
    #[command(flatten)]
    deflate: DeflateArgs,
    /// Log the life of each connection: a line at its end, at level info
    ///
    /// Without it each cause of an end has a line in 5 s at most. The line says who it was, which path, how long, and
    /// why it ended.
    #[arg(long, help_heading = "Settings and log")]
    pub(crate) log_connections: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Compression")]
struct DeflateArgs {
    /// Compress messages where the client offers permessage-deflate
    #[arg(long = "deflate")]
    is_on: bool,
    /// Windows of 2^BITS bytes, 9 to 15: memory against compression
    #[arg(long = "deflate-window", value_name = "BITS", default_value_t = 15, requires = "is_on",
        value_parser = clap::value_parser!(u8).range(9..=15))]
    window_bits: u8,
    /// Compress each message to a client by itself
    ///
    /// No connection has a compressor, and a broadcast is compressed once.
    #[arg(long = "deflate-no-context-takeover", requires = "is_on")]
    no_context_takeover: bool,
    /// Ask clients to compress each message by itself
    ///
    /// No connection has a window for input. Safari does not do as it is asked, and its second message fails.
    #[arg(long = "deflate-client-no-context-takeover", requires = "is_on")]
    client_no_context_takeover: bool,
}

impl CommonArgs {
    /// Reads and checks what a server would, without serving. `default` is where one without any listener listens.
    pub(crate) fn check(&self, listen: &[Place], default: &Place) -> Result<(), Failure> {
        self.tls.tls()?;
        self.listeners.listeners(listen, default, Vec::new())?.redirect()?;
        Ok(())
    }

    pub(crate) fn log_format(&self) -> log::Format {
        self.settings.log_format
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.max_connections
    }

    pub(crate) fn max_queued(&self) -> usize {
        self.max_queued
    }

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
