//! The `switchboard` server binary.

mod archive_cli;
mod cli;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use switchboard::app::Application;
use switchboard::apps::{Echo, Fanout};
use switchboard::chat::{self, Chat};
use switchboard::net::{Options, Server};
use switchboard::proto::OriginPolicy;
use switchboard::reactor::Config;
use tracing_subscriber::EnvFilter;

use self::cli::{BenchArgs, Cli, Command, CommonArgs, ServeArgs};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    let result = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve(&args),
        Command::Echo(args) => bench(&args, Echo),
        Command::Fanout(args) => bench(&args, Fanout::default()),
        Command::Export(args) => archive_cli::export(&args).map_err(Failure::from),
        Command::Import(args) => archive_cli::import(&args).map_err(Failure::from),
        Command::Backup(args) => archive_cli::backup(&args).map_err(Failure::from),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Lines on stderr; `RUST_LOG` chooses which.
fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let mut origins = OriginPolicy::default();
    for origin in &args.allow_origin {
        origins.allow(origin)?;
    }
    if !args.ephemeral {
        tracing::warn!("history is kept in memory and ends with the server (--ephemeral: so it should be)");
    }
    let chat = Chat::new(chat::Options {
        origins,
        hosts: args.allow_host.clone(),
        strict_subprotocol: args.strict_subprotocol,
        history: args.history,
    });
    run(&args.addresses(), args.config(), &args.common, chat)
}

fn bench(args: &BenchArgs, app: impl Application) -> Result<(), Failure> {
    run(&args.listen, args.config(), &args.common, app)
}

/// Serves until SIGTERM or SIGINT.
fn run(
    listen: &[SocketAddr],
    config: Config,
    common: &CommonArgs,
    app: impl Application,
) -> Result<(), Failure> {
    let options = Options {
        listen: listen.to_vec(),
        config,
        drain_ms: 10_000,
        seed: u64::from(std::process::id()),
        busy_poll: common.busy_poll,
        stop_on_signals: true,
    };
    let server = Server::bind(options, app)?;
    for address in server.local_addrs()? {
        let host = if address.ip().is_loopback() { "localhost".to_owned() } else { host(address) };
        tracing::info!("Server running at http://{host}:{}", address.port());
    }
    server.run()?;
    tracing::info!("drained");
    Ok(())
}

/// An IP address as it stands in a URL.
fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
