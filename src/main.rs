//! The `switchboard` server binary.

mod cli;
mod log;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use switchboard::api::Api;
use switchboard::app::Application;
use switchboard::apps::{Echo, Fanout};
use switchboard::chat::{self, Chat, Limits};
use switchboard::net::{Options, Server};
use switchboard::ops::{Ops, Watched};
use switchboard::proto::OriginPolicy;
use switchboard::reactor::Config;
use switchboard::store::Start;

use self::cli::{BenchArgs, Cli, Command, CommonArgs, ServeArgs, token};

/// Shortest secret of the API in bytes.
const MIN_API_TOKEN: usize = 16;

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
    let keyring = args.verify.keyring(reread_on_hangup()?)?;
    if args.require_token && keyring.is_none() {
        return Err("--require-token needs --token-key or --token-jwks: nobody could come in".into());
    }
    let options = chat::Options {
        origins,
        hosts: args.allow_host.clone(),
        strict_subprotocol: args.strict_subprotocol,
        history: args.history,
        limits: Limits::default().with_posts_per_second(args.posts_per_second),
        guests: !args.require_token,
        heartbeat_ms: args.common.ping_interval,
        ..chat::Options::default()
    };
    let mut chat = Chat::new(options, None, Start { epoch: epoch()?, ..Start::default() });
    if let Some(keyring) = keyring {
        chat = chat.with_verifier(Box::new(keyring));
    }
    let token = args.api_token_file.as_deref().map(api_token).transpose()?;
    run(&args.addresses(), args.config(), &args.common, Api::new(chat, token))
}

/// A name for a history that ends with the process.
#[expect(clippy::disallowed_methods, reason = "outside of the loop")]
fn epoch() -> io::Result<String> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    Ok(format!("{:x}-{:x}", since_1970.as_nanos(), std::process::id()))
}

/// Becomes true with each SIGHUP, which does nothing else.
fn reread_on_hangup() -> io::Result<Arc<AtomicBool>> {
    let is_stale = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&is_stale))?;
    Ok(is_stale)
}

/// The secret of the API, without the line end that editors put behind it.
fn api_token(path: &Path) -> Result<Vec<u8>, String> {
    let token = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let token = token.trim_ascii();
    if token.len() < MIN_API_TOKEN || !token.iter().all(u8::is_ascii_graphic) {
        return Err(format!(
            "{}: the API's token has at least {MIN_API_TOKEN} characters, and no spaces; make one with: openssl rand -hex 32",
            path.display()
        ));
    }
    Ok(token.to_vec())
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
