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
use switchboard::net::{Address, Handle, Listen, Mixed, Options, Server};
use switchboard::ops::{Hosts, Ops, Redirect, Watched};
use switchboard::proto::HostPolicy;
use switchboard::reactor::Config;

use self::cli::{BenchArgs, Cli, Command, CommonArgs, archive, tls, token};

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
        Command::Tls(command) => tls::run(&command).and_then(|text| print(&text)),
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
    run(&args.addresses(), args.config(), &args.common, app)
}

/// Serves until SIGTERM or SIGINT.
fn run(listen: &[SocketAddr], config: Config, common: &CommonArgs, app: impl Watched) -> Result<(), Failure> {
    finish(bind(listen, config, common, None, app)?)
}

fn finish<A: Application>(server: Bound<A>) -> Result<(), Failure> {
    match server {
        Bound::Plain(server) => server.run()?,
        Bound::Mixed(server) => server.run()?,
    }
    tracing::info!("drained");
    Ok(())
}

/// A server that listens. One of plain listeners is compiled for them alone, and does not pay for the others.
enum Bound<A: Application> {
    Plain(Server<A>),
    Mixed(Server<A, Mixed>),
}

impl<A: Application> Bound<A> {
    fn handle(&self) -> Handle<A::Mail> {
        match self {
            Self::Plain(server) => server.handle(),
            Self::Mixed(server) => server.handle(),
        }
    }

    fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Plain(server) => server.addresses(),
            Self::Mixed(server) => server.addresses(),
        }
    }
}

/// Listens, and says where. `hosts`: those that requests may be for; any when `None`.
fn bind<A: Watched>(
    listen: &[SocketAddr],
    config: Config,
    common: &CommonArgs,
    hosts: Option<HostPolicy>,
    app: A,
) -> Result<Bound<Ops<A>>, Failure> {
    let tls = common.tls.tls()?;
    let listeners = listeners(listen, common);
    let internal: Vec<_> = common.internal_listen.iter().map(|&address| Listen::tcp(address)).collect();
    let mut app = Ops::new(app, !internal.is_empty(), log::lost_lines);
    let all = || listeners.iter().map(|(listen, _)| listen).chain(&internal);
    if let Some(allowed) = hosts {
        app = app.with_hosts(Hosts::new(allowed, all().map(Listen::is_loopback).collect()));
    }
    if !common.tls.redirect_listen.is_empty() {
        let port = common.tls.tls_listen.first().map_or(0, SocketAddr::port);
        if port == 0 {
            return Err("--redirect-listen needs a --tls-listen whose port is not 0".into());
        }
        let is_redirect = listeners.iter().map(|(_, purpose)| *purpose == Purpose::Redirect);
        app = app.with_redirect(Redirect::new(is_redirect.collect(), port));
    }
    if let Some(tls) = &tls {
        app = app.with_tls(tls.clone());
    }
    let seed = random()?;
    let is_mixed = all().any(|listen| listen.is_tls() || listen.is_proxy_protocol());
    let purposes: Vec<_> = listeners.iter().map(|(_, purpose)| *purpose).collect();
    let options = Options::listen_on(listeners.into_iter().map(|(listen, _)| listen).collect()).with(|it| {
        it.internal = internal;
        it.config = config;
        it.drain_ms = common.drain_timeout;
        it.seed = seed;
        it.busy_poll = common.busy_poll;
        it.stop_on_signals = true;
        it.tls = tls;
    });
    descriptors::raise();
    let server = if is_mixed {
        Bound::Mixed(Server::bind_mixed(options, app)?)
    } else {
        Bound::Plain(Server::bind(options, app)?)
    };
    announce(&server.addresses(), &purposes)?;
    Ok(server)
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Plain,
    Tls,
    Redirect,
}

/// All listeners but the internal ones, in the order of their numbers.
fn listeners(listen: &[SocketAddr], common: &CommonArgs) -> Vec<(Listen, Purpose)> {
    let plain = listen.iter().map(|&address| (Listen::tcp(address), Purpose::Plain));
    let tls = common.tls.tls_listen.iter().map(|&address| (Listen::tcp(address).tls(), Purpose::Tls));
    let redirect =
        common.tls.redirect_listen.iter().map(|&address| (Listen::tcp(address), Purpose::Redirect));
    plain.chain(tls).chain(redirect).collect()
}

/// A number that no other run has.
fn random() -> Result<u64, Failure> {
    Ok(getrandom::u64().map_err(|error| format!("the system has no random numbers: {error}"))?)
}

/// Says where the server is; the internal listeners are behind those with a purpose.
fn announce(addresses: &[Address], purposes: &[Purpose]) -> Result<(), Failure> {
    for (at, address) in addresses.iter().enumerate() {
        let purpose = purposes.get(at);
        let url = match address {
            Address::Tcp(address) => {
                let mut url =
                    String::from(if purpose == Some(&Purpose::Tls) { "https://" } else { "http://" });
                match address.ip() {
                    ip if ip.is_loopback() => url.push_str("localhost"),
                    IpAddr::V4(ip) => write!(url, "{ip}")?,
                    IpAddr::V6(ip) => write!(url, "[{ip}]")?,
                }
                write!(url, ":{}", address.port())?;
                url
            }
            other => other.to_string(),
        };
        match purpose {
            Some(Purpose::Plain | Purpose::Tls) => tracing::info!("Server running at {url}"),
            Some(Purpose::Redirect) => tracing::info!("Redirecting {url} to TLS"),
            None => tracing::info!("Metrics and health at {url}"),
        }
    }
    Ok(())
}
