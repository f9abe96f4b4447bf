//! The `switchboard` server binary.

mod cli;
mod descriptors;
mod log;
mod serve;
mod service;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use switchboard::app::Application;
use switchboard::apps::{Echo, Fanout};
use switchboard::net::{Address, Listen, Options, Server};
use switchboard::ops::{Hosts, Ops, Watched};
use switchboard::proto::HostPolicy;
use switchboard::reactor::Config;

use self::cli::listen::Listeners;
use self::cli::{BenchArgs, Cli, Command, CommonArgs, archive, token};
use self::service::{Manager, Service};

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

/// A server as the binary runs it.
type Running<A> = Server<Service<Ops<A>>>;

/// Serves until SIGTERM or SIGINT.
fn bench(args: &BenchArgs, app: impl Watched) -> Result<(), Failure> {
    let listen = &args.common.listeners;
    let listeners = listen.listeners(&args.listen, &BenchArgs::default_place(), service::inherited()?)?;
    finish(bind(listeners, args.config(), &args.common, None, app)?)
}

fn finish<A: Application>(server: Server<A>) -> Result<(), Failure> {
    server.run()?;
    tracing::info!("drained");
    Ok(())
}

/// Listens, and says where. `hosts`: those that requests may be for; any when `None`.
fn bind<A: Watched>(
    listeners: Listeners,
    config: Config,
    common: &CommonArgs,
    hosts: Option<HostPolicy>,
    app: A,
) -> Result<Running<A>, Failure> {
    let Listeners { public, internal, .. } = listeners;
    let count = public.len();
    let mut app = Ops::new(app, !internal.is_empty(), log::lost_lines);
    if let Some(allowed) = hosts {
        let loopback = public.iter().chain(&internal).map(Listen::is_loopback);
        app = app.with_hosts(Hosts::new(allowed, loopback.collect()));
    }
    let seed = random()?;
    let options = Options::listen_on(public).with(|it| {
        it.internal = internal;
        it.config = config;
        it.drain_ms = common.drain_timeout;
        it.seed = seed;
        it.busy_poll = common.busy_poll;
        it.stop_on_signals = true;
    });
    descriptors::raise();
    let manager = Manager::from_environment();
    let server = Server::bind(options, Service::new(app, manager.clone()))?;
    announce(&server, count)?;
    manager.ready();
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
