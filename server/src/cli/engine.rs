//! The flags of an engine, and `switchboard engine`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use switchboard::history::engine::{self, Certificates, Facts, Level, Target};

use super::SettingsArgs;
use crate::Failure;

/// How long an engine is waited for at the start.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(next_help_heading = "History")]
pub(crate) struct EngineArgs {
    /// Keep the history in a Redis or Valkey that several servers share
    ///
    /// redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// with TLS. Where Sentinels watch it:
    /// `redis+sentinel://HOST[:PORT],HOST[:PORT]/NAME[/DB]`. Redis 7.0 or later, or Valkey 7.2 or later. Servers with the same
    /// engine are one chat. A password is best given by the variable, which lists of processes do not show. Repeated: rooms are
    /// dealt out over the engines. The chat begins with all of them: another list is refused later.
    #[arg(long = "engine", id = "engine", value_name = "URL", value_delimiter = ' ', conflicts_with_all = ["data", "ephemeral"])]
    urls: Vec<String>,
    /// How long an answer of the engine is waited for
    ///
    /// From 100ms to 30s. Then the engine counts as away.
    #[arg(long = "engine-timeout", value_name = "DURATION", default_value = "2s", value_parser = timeout)]
    timeout: Duration,
    #[command(flatten)]
    link: LinkArgs,
}

/// What an ack promises, and what TLS believes.
#[derive(Debug, Args)]
#[command(next_help_heading = "History")]
pub(crate) struct LinkArgs {
    /// Replicas of the engine that must have a post before its ack
    ///
    /// At most 16; `durable` is then "engine-replicas". A post that fewer replicas confirm within 5 seconds is `unavailable`:
    /// sent again with its `key`, it is there once. 0: an ack waits for the engine alone.
    #[arg(long = "engine-replicas", value_name = "K", default_value_t = 0, value_parser = replicas)]
    replicas: usize,
    /// Authorities that the certificate of the engine must be of
    ///
    /// PEM, for rediss://; without it those of the system. Read at the start.
    #[arg(long = "engine-ca", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate that this server shows to the engine
    ///
    /// PEM, with its key in --engine-key. Read at the start.
    #[arg(long = "engine-cert", value_name = "FILE", requires = "engine_key")]
    cert: Option<PathBuf>,
    /// Key of the certificate that this server shows to the engine
    #[arg(long = "engine-key", id = "engine_key", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl LinkArgs {
    fn target(&self, url: &str, timeout: Duration) -> Result<Target, Failure> {
        let read = |flag: &str, path: &PathBuf| {
            fs::read(path).map_err(|error| format!("{flag} {}: {error}", path.display()))
        };
        let certificates = Certificates {
            authorities: self.ca.as_ref().map(|path| read("--engine-ca", path)).transpose()?,
            own: match (&self.cert, &self.key) {
                (Some(cert), Some(key)) => Some((read("--engine-cert", cert)?, read("--engine-key", key)?)),
                _ => None,
            },
        };
        Target::with_certificates(url, timeout, &certificates)
            .map_err(|error| format!("--engine: {error}").into())
    }
}

fn replicas(text: &str) -> Result<usize, String> {
    let most = engine::MAX_REPLICAS;
    text.parse().ok().filter(|count| *count <= most).ok_or_else(|| format!("not from 0 to {most}"))
}

/// A time within which an engine can answer and somebody can wait for it.
fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (Duration::from_millis(100)..=Duration::from_secs(30)).contains(&time) => Ok(time),
        Ok(_) => Err("not from 100ms to 30s".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl EngineArgs {
    /// Where the engines are, if there are any.
    pub(crate) fn targets(&self) -> Result<Vec<Target>, Failure> {
        self.urls.iter().map(|url| self.link.target(url, self.timeout)).collect()
    }

    /// Replicas that an ack waits for.
    pub(crate) fn replicas(&self) -> usize {
        self.link.replicas
    }

    pub(crate) fn is_set(&self) -> bool {
        !self.urls.is_empty()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum EngineCommand {
    /// Say whether a Redis or Valkey can be the engine, and what an ack will promise there
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Where it is, as for --engine
    url: String,
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl EngineCommand {
    pub(super) fn settings(&self) -> &SettingsArgs {
        let Self::Check(args) = self;
        &args.settings
    }
}

/// Does what was asked; returns what is told.
pub(crate) fn run(command: &EngineCommand) -> Result<String, Failure> {
    let EngineCommand::Check(args) = command;
    let target = args.link.target(&args.url, Duration::from_secs(5))?;
    let (facts, verdict) = engine::check(&target, args.link.replicas)
        .map_err(|error| format!("{}: {error}", target.address()))?;
    let mut text = describe(&facts, args.link.replicas)?;
    match verdict {
        Ok(()) => text.push_str("\nIt can be the engine."),
        Err(error) => return Err(format!("{text}\nIt cannot be the engine: {error}").into()),
    }
    Ok(text)
}

fn describe(facts: &Facts, replicas: usize) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "version      {}", facts.version)?;
    let persistence = match (facts.has_file, &*facts.fsync) {
        (true, "") => "append-only file; when it is synced is not known (CONFIG GET is forbidden)".to_owned(),
        (true, fsync) => format!("append-only file, synced {fsync}"),
        (false, _) if facts.has_snapshots => "snapshots only".to_owned(),
        (false, _) => "no append-only file".to_owned(),
    };
    writeln!(text, "persistence  {persistence}")?;
    writeln!(text, "replicas     {}", facts.replicas)?;
    let most =
        if facts.max_memory == 0 { "no limit".to_owned() } else { format!("{} bytes", facts.max_memory) };
    writeln!(text, "memory       {} bytes of {most}, maxmemory-policy {}", facts.used_memory, facts.policy)?;
    let promise = match (facts.level(replicas), facts.has_file) {
        (Level::Disk, _) => "nothing that was acked is lost while this engine's disk is there",
        (Level::Replicas, _) => {
            "nothing that was acked is lost in a failover to a replica that has it (a loss of power is up to their disks)"
        }
        (Level::Engine, true) => {
            "a loss of power may lose the last second; a failover what was not replicated"
        }
        (Level::Engine, false) => {
            "a restart loses all since the last snapshot; a failover what was not replicated"
        }
    };
    write!(text, "ack          \"durable\":\"{}\": {promise}", facts.level(replicas).as_str())?;
    Ok(text)
}
