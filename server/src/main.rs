//! The `switchboard` server binary.

mod banner;
mod cli;
mod descriptors;
mod doctor;
mod log;
mod serve;
mod service;
mod version;

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use switchboard::app::{Application, Peers};
use switchboard::apps::{Echo, Fanout, SharedFanout};
use switchboard::net::{Address, Listen, Loops, Mixed, Options, Server};
use switchboard::ops::{Hosts, Ops, OpsMail, Watched};
use switchboard::proto::HostPolicy;
use switchboard::reactor::Config;
use switchboard::tls::{Reload, Tls};

use self::banner::{Banner, Door};
use self::cli::listen::Listeners;
use self::cli::{BenchArgs, Cli, Command, CommonArgs, archive, config, pages, probe, tls, token};
use self::service::{Manager, Service};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let (cli, warnings) = Cli::read();
    log::start(cli.log_format());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut code = ExitCode::SUCCESS;
    let result = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::serve(&args),
        Command::Echo(args) => bench(&args, |_, _| Echo),
        // One loop has nobody to share with, and pays for no mail.
        Command::Fanout(args) if args.threads.loops() == 1 => bench(&args, |_, _| Fanout::default()),
        Command::Fanout(args) => bench(&args, SharedFanout::new),
        Command::Token(command) => token::run(command).and_then(|text| print(&text)),
        Command::Tls(command) => tls::run(&command).and_then(|text| print(&text)),
        Command::Engine(command) => cli::engine::run(&command).and_then(|text| print(&text)),
        Command::Export(args) => archive::export(&args).map_err(Failure::from),
        Command::Import(args) => archive::import(&args).map_err(Failure::from),
        Command::Backup(args) => archive::backup(&args).map_err(Failure::from),
        Command::Config(command) => config::run(&command).and_then(|text| print(&text)),
        Command::Doctor(args) => report(doctor::run(&args), &mut code),
        Command::Probe(args) => report(probe::run(&args), &mut code),
        Command::Completions(args) => print(&pages::completions(&args)),
        Command::Man(args) => pages::man(&args).and_then(|page| page.map_or(Ok(()), |page| print(&page))),
    };
    if let Err(error) = result {
        tracing::error!("{error}{}", advice(&*error));
        code = ExitCode::from(2);
    }
    log::finish();
    code
}

/// What is wrong with the value of a flag.
#[derive(Debug)]
struct Named {
    flag: &'static str,
    error: Failure,
}

impl Named {
    /// Names the flag.
    fn by<E: std::error::Error + 'static>(flag: &'static str) -> impl Fn(E) -> Failure {
        move |error| Box::new(Self { flag, error: Box::new(error) })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flag, self.error)
    }
}

impl std::error::Error for Named {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// What to do about a file that may not be read or written.
fn advice(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut causes = std::iter::successors(error.source(), |cause| cause.source());
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    if causes.any(|cause| cause.downcast_ref().is_some_and(is_denied)) {
        "; the user who runs this needs access to it"
    } else {
        ""
    }
}

/// Prints what a command has found; what is not good is exit code 1.
fn report((text, is_good): (String, bool), code: &mut ExitCode) -> Result<(), Failure> {
    if !is_good {
        *code = ExitCode::from(1);
    }
    print(&text)
}

fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        // The reader has closed the pipe, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// An application with all that the binary puts around it.
type Served<A> = Service<Ops<A>>;

/// Serves until SIGTERM or SIGINT.
fn bench<A: Watched + Send>(
    args: &BenchArgs,
    make: impl FnMut(usize, &Peers<A::Mail>) -> A,
) -> Result<(), Failure> {
    let listen = &args.common.listeners;
    let listeners = listen.listeners(&args.listen, &BenchArgs::default_place(), service::inherited()?)?;
    let plan =
        Plan { listeners, config: args.config(), hosts: None, loops: args.threads.loops(), chat: None };
    finish(bind(plan, &args.common, make)?)
}

fn finish<A: Application + Send>(server: Bound<A>) -> Result<(), Failure> {
    match server {
        Bound::Plain(loops) => loops.run()?,
        Bound::Mixed(loops) => loops.run()?,
    }
    tracing::info!("drained");
    Ok(())
}

/// What a server is to be.
struct Plan {
    listeners: Listeners,
    config: Config,
    /// Hosts that requests may be for; any when `None`.
    hosts: Option<HostPolicy>,
    loops: usize,
    /// What the banner says of a chat.
    chat: Option<banner::Chat>,
}

/// A server that listens. One of plain listeners is compiled for them alone, and does not pay for the others.
enum Bound<A: Application> {
    Plain(Loops<A>),
    Mixed(Loops<A, Mixed>),
}

impl<A: Application> Bound<A> {
    fn peers(&self) -> Peers<A::Mail> {
        match self {
            Self::Plain(loops) => loops.peers(),
            Self::Mixed(loops) => loops.peers(),
        }
    }

    fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Plain(loops) => loops.addresses(),
            Self::Mixed(loops) => loops.addresses(),
        }
    }
}

/// Listens, and says where. `make` makes the application of each loop.
fn bind<A: Watched>(
    plan: Plan,
    common: &CommonArgs,
    mut make: impl FnMut(usize, &Peers<A::Mail>) -> A,
) -> Result<Bound<Served<A>>, Failure> {
    let tls = common.tls.tls()?;
    let Plan { listeners, config, hosts, loops, chat } = plan;
    let redirect = listeners.redirect()?;
    let Listeners { mut public, redirect: sent_on, internal, .. } = listeners;
    let purposes: Vec<_> =
        public.iter().map(Purpose::of).chain(sent_on.iter().map(|_| Purpose::Redirect)).collect();
    public.extend(sent_on);
    let hosts = hosts.map(|allowed| {
        let loopback = public.iter().chain(&internal).map(Listen::is_loopback);
        Hosts::new(allowed, loopback.collect())
    });
    let seed = random()?;
    let is_plain = |listen: &Listen| !listen.is_tls() && !listen.is_proxy_protocol();
    let is_all_plain = public.iter().chain(&internal).all(is_plain);
    if tls.is_some() && !public.iter().chain(&internal).any(Listen::is_tls) {
        return Err("--tls-cert needs a listener that speaks TLS, such as --tls-listen 127.0.0.1:8443".into());
    }
    let has_internal = !internal.is_empty();
    let manager = Manager::from_environment(loops);
    let has_hinted = Arc::default();
    let assemble = |own: usize, peers: &Peers<OpsMail<A::Mail, A::Figures>>| {
        let app = make(own, &peers.map(OpsMail::App, OpsMail::into_app));
        let app = Ops::new(app, has_internal, log::lost_lines).with_peers(own, peers.clone());
        let mut app = app.with_hint_of_all(Arc::clone(&has_hinted));
        if common.log_connections {
            app = app.with_lives_in_log();
        }
        if let Some(hosts) = &hosts {
            app = app.with_hosts(hosts.clone());
        }
        if let Some(redirect) = &redirect {
            app = app.with_redirect(redirect.clone());
        }
        if let Some(tls) = &tls {
            app = app.with_tls(tls.clone());
        }
        Service::new(app, manager.clone(), own)
    };
    let options = Options::listen_on(public).with(|it| {
        it.internal = internal;
        it.config = config;
        it.drain_ms = common.drain_timeout;
        it.seed = seed;
        it.busy_poll = common.busy_poll;
        it.stop_on_signals = true;
        it.tls.clone_from(&tls);
    });
    descriptors::raise();
    let server = if is_all_plain {
        Bound::Plain(Server::bind_many(options, loops, assemble)?)
    } else {
        Bound::Mixed(Server::bind_many_mixed(options, loops, assemble)?)
    };
    let doors = doors(&server.addresses(), &purposes);
    announce(&doors);
    if common.log_format() == log::Format::Text {
        let certificates = tls.as_ref().map(Tls::certificates).unwrap_or_default();
        Banner { doors, chat, certificates }.show();
    }
    manager.ready();
    if let Some(tls) = tls {
        tls.watch_reloads(move |what| match what {
            Reload::Begins => manager.reloading(),
            Reload::Ends => manager.ready(),
        });
    }
    Ok(server)
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Plain,
    Tls,
    Redirect,
}

impl Purpose {
    fn of(listen: &Listen) -> Self {
        if listen.is_tls() { Self::Tls } else { Self::Plain }
    }
}

/// A number that no other run has.
fn random() -> Result<u64, Failure> {
    Ok(getrandom::u64().map_err(|error| format!("the system has no random numbers: {error}"))?)
}

/// The listeners; the internal ones are behind those with a purpose.
fn doors(addresses: &[Address], purposes: &[Purpose]) -> Vec<Door> {
    let purposes = purposes.iter().copied().map(Some).chain(std::iter::repeat(None));
    addresses.iter().zip(purposes).map(|(address, purpose)| Door::new(address, purpose)).collect()
}

/// Says in the log where the server is.
fn announce(doors: &[Door]) {
    for Door { url, purpose, .. } in doors {
        match purpose {
            Some(Purpose::Plain | Purpose::Tls) => tracing::info!("Server running at {url}"),
            Some(Purpose::Redirect) => tracing::info!("Redirecting {url} to TLS"),
            None => tracing::info!("Metrics and health at {url}"),
        }
    }
}
