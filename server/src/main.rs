//! The `switchboard` server binary.

mod cli;
mod descriptors;
mod log;
mod serve;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use switchboard::app::Application;
use switchboard::apps::{Echo, Fanout};
use switchboard::net::{Address, Listen, Options, Server};
use switchboard::ops::{Hosts, Ops, Watched};
use switchboard::proto::HostPolicy;
use switchboard::reactor::Config;

use self::cli::{BenchArgs, Cli, Command, CommonArgs, archive, token};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let (cli, warnings) = Cli::read();
    log::start(cli.log_format());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let result = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::serve(&args),
        Command::Echo(args) => bench(&args, Echo),
        Command::Fanout(args) => bench(&args, Fanout::default()),
        Command::Token(command) => token::run(command).and_then(|text| print(&text)),
        Command::Export(args) => archive::export(&args).map_err(Failure::from),
        Command::Import(args) => archive::import(&args).map_err(Failure::from),
        Command::Backup(args) => archive::backup(&args).map_err(Failure::from),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(2)
        }
    };
    log::finish();
    code
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn bench(args: &BenchArgs, app: impl Watched) -> Result<(), Failure> {
    run(&args.listen, args.config(), &args.common, app)
}

/// Serves until SIGTERM or SIGINT.
fn run(listen: &[SocketAddr], config: Config, common: &CommonArgs, app: impl Watched) -> Result<(), Failure> {
    finish(bind(listen, config, common, None, app)?)
}

fn finish<A: Application>(server: Server<A>) -> Result<(), Failure> {
    server.run()?;
    tracing::info!("drained");
    Ok(())
}

/// Listens, and says where. `hosts`: those that requests may be for; any when `None`.
fn bind<A: Watched>(
    listen: &[SocketAddr],
    config: Config,
    common: &CommonArgs,
    hosts: Option<HostPolicy>,
    app: A,
) -> Result<Server<Ops<A>>, Failure> {
    let internal = common.internal_listen.clone();
    let mut app = Ops::new(app, !internal.is_empty(), log::lost_lines);
    if let Some(allowed) = hosts {
        let loopback = listen.iter().chain(&internal).map(|address| address.ip().is_loopback());
        app = app.with_hosts(Hosts::new(allowed, loopback.collect()));
    }
    let seed = random()?;
    let listeners = listen.iter().map(|&address| Listen::tcp(address)).collect();
    let options = Options::listen_on(listeners).with(|it| {
        it.internal = internal.into_iter().map(Listen::tcp).collect();
        it.config = config;
        it.drain_ms = common.drain_timeout;
        it.seed = seed;
        it.busy_poll = common.busy_poll;
        it.stop_on_signals = true;
    });
    descriptors::raise();
    let server = Server::bind(options, app)?;
    announce(&server, listen.len())?;
    Ok(server)
}

/// A number that no other run has.
fn random() -> Result<u64, Failure> {
    Ok(getrandom::u64().map_err(|error| format!("the system has no random numbers: {error}"))?)
}

/// Says where the server is.
fn announce<A: Application>(server: &Server<A>, public: usize) -> Result<(), Failure> {
    for (at, address) in server.addresses().into_iter().enumerate() {
        let mut url = String::from("http://");
        match address {
            Address::Tcp(address) => {
                match address.ip() {
                    ip if ip.is_loopback() => url.push_str("localhost"),
                    IpAddr::V4(ip) => write!(url, "{ip}")?,
                    IpAddr::V6(ip) => write!(url, "[{ip}]")?,
                }
                write!(url, ":{}", address.port())?;
            }
            other => url = other.to_string(),
        }
        if at < public {
            tracing::info!("Server running at {url}");
        } else {
            tracing::info!("Metrics and health at {url}");
        }
    }
    Ok(())
}
