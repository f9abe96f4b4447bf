//! The `switchboard` server binary.

mod cli;
mod log;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use switchboard::app::Application;
use switchboard::apps::{Echo, Fanout};
use switchboard::chat::{self, Chat, Limits};
use switchboard::net::{Options, Server};
use switchboard::ops::{Ops, Watched};
use switchboard::proto::OriginPolicy;
use switchboard::reactor::Config;
use switchboard::store::Start;

use self::cli::{BenchArgs, Cli, Command, CommonArgs, ServeArgs, token};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::read();
    log::start(cli.log_format());
    let result = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve(&args),
        Command::Echo(args) => bench(&args, Echo),
        Command::Fanout(args) => bench(&args, Fanout::default()),
        Command::Token(command) => token::run(command).map_err(Into::into).and_then(|text| print(&text)),
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

fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let mut origins = OriginPolicy::default();
    for origin in &args.allow_origin {
        origins.allow(origin)?;
    }
    if !args.ephemeral {
        tracing::warn!("history is kept in memory and ends with the server (--ephemeral: so it should be)");
    }
    let keyring = args.verify.keyring(Arc::default())?;
    if args.require_token && keyring.is_none() {
        return Err("--require-token needs --token-key or --token-jwks: nobody could come in".into());
    }
    let options = chat::Options {
        origins,
        hosts: args.allow_host.clone(),
        strict_subprotocol: args.strict_subprotocol,
        history: args.history,
        guests: !args.require_token,
        limits: Limits::default().with_posts_per_second(args.posts_per_second),
        ..chat::Options::default()
    };
    let mut chat = Chat::new(options, None, Start { epoch: epoch()?, ..Start::default() });
    if let Some(keyring) = keyring {
        chat = chat.with_verifier(Box::new(keyring));
    }
    run(&args.addresses(), args.config(), &args.common, chat)
}

/// A name for a history that ends with the process.
fn epoch() -> Result<String, Failure> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(format!("{:x}-{:x}", since_1970.as_nanos(), std::process::id()))
}

fn bench(args: &BenchArgs, app: impl Watched) -> Result<(), Failure> {
    run(&args.listen, args.config(), &args.common, app)
}

/// Serves until SIGTERM or SIGINT.
fn run(listen: &[SocketAddr], config: Config, common: &CommonArgs, app: impl Watched) -> Result<(), Failure> {
    let internal = common.internal_listen.clone();
    let app = Ops::new(app, !internal.is_empty(), log::lost_lines);
    let options = Options {
        listen: listen.to_vec(),
        internal,
        config,
        drain_ms: common.drain_timeout,
        seed: u64::from(std::process::id()),
        busy_poll: common.busy_poll,
        stop_on_signals: true,
    };
    let server = Server::bind(options, app)?;
    announce(&server, listen.len())?;
    server.run()?;
    tracing::info!("drained");
    Ok(())
}

/// Says where the server is.
fn announce<A: Application>(server: &Server<A>, public: usize) -> Result<(), Failure> {
    for (at, address) in server.local_addrs()?.into_iter().enumerate() {
        let mut url = String::from("http://");
        match address {
            _ if address.ip().is_loopback() => url.push_str("localhost"),
            SocketAddr::V4(address) => write!(url, "{}", address.ip())?,
            SocketAddr::V6(address) => write!(url, "[{}]", address.ip())?,
        }
        write!(url, ":{}", address.port())?;
        if at < public {
            tracing::info!("Server running at {url}");
        } else {
            tracing::info!("Metrics and health at {url}");
        }
    }
    Ok(())
}
