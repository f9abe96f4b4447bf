//! What the command line says of the team's backend.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueEnum};
use switchboard::auth;
use switchboard::chat::decisions::{AskKind, EventOptions, WhenAway};
use switchboard::history::EventKind;
use switchboard::history::outbox::OutboxOptions;
use switchboard::hooks::{Options, Target};

use crate::{Failure, Named};

/// Shortest secret in bytes.
const MIN_SECRET: usize = 16;

#[derive(Debug, Args)]
#[command(next_help_heading = "Backend of your own")]
pub(crate) struct HookArgs {
    /// The team's backend, which is asked (--hook-ask) and told (--hook-tell)
    ///
    /// An address of http or https, or unix:PATH[:/PATH], a socket and a path of HTTP. See docs/hooks.md.
    #[arg(id = "hook_url", long = "hook-url", value_name = "URL", value_parser = Target::parse)]
    url: Option<Target>,
    /// File of the secret that signs requests to the backend
    ///
    /// It is required for http and https.
    #[arg(id = "hook_secret_file", long = "hook-secret-file", value_name = "FILE", requires = "hook_url")]
    secret_file: Option<PathBuf>,
    /// What the backend is asked
    ///
    /// `connect`: who is it, and what may they do. `join`: may they enter. `post`: may they say this, also edits and
    /// direct messages. A list with commas.
    #[arg(
        id = "hook_ask",
        long = "hook-ask",
        value_name = "KIND",
        value_delimiter = ',',
        value_enum,
        requires = "hook_url"
    )]
    ask: Vec<Ask>,
    /// What the backend is told, at least once and in order
    ///
    /// A list with commas.
    #[arg(
        id = "hook_tell",
        long = "hook-tell",
        value_name = "KIND",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(EventKind::ALL.map(EventKind::name)).try_map(|name| kind_of(&name)),
        requires = "hook_url"
    )]
    tell: Vec<EventKind>,
    /// Milliseconds that the backend has for an answer
    #[arg(id = "hook_deadline", long = "hook-deadline", value_name = "MS", default_value_t = EventOptions::default().deadline_ms, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    deadline: u64,
    /// What happens when the backend does not answer in time
    #[arg(
        id = "hook_when_away",
        long = "hook-when-away",
        value_name = "WHAT",
        value_enum,
        default_value = "refuse"
    )]
    when_away: Away,
    /// Questions to the backend at a time, each on its own connection
    #[arg(id = "hook_connections", long = "hook-connections", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Events that may wait for the backend
    ///
    /// Above it the oldest events that are no messages are dropped first, then the oldest messages. The backend is
    /// told how many.
    #[arg(id = "hook_max_backlog", long = "hook-max-backlog", value_name = "N", default_value_t = OutboxOptions::default().max_events, value_parser = clap::value_parser!(u64).range(1..))]
    max_backlog: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Ask {
    Connect,
    Join,
    Post,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Away {
    Allow,
    Refuse,
}

impl HookArgs {
    /// What is said, if there is a backend.
    pub(crate) fn options(&self) -> Result<Option<Options>, Failure> {
        let Some(target) = &self.url else { return Ok(None) };
        if self.ask.is_empty() && self.tell.is_empty() {
            return Err(
                "--hook-url needs --hook-ask or --hook-tell: the backend would hear of nothing".into()
            );
        }
        let secret = self.secret()?;
        if secret.is_none() && target.socket().is_none() {
            return Err("--hook-url needs --hook-secret-file: the backend could not tell who asks".into());
        }
        let events = EventOptions::default().with(|it| {
            it.asks = self.ask.iter().map(|ask| ask.kind()).collect();
            it.tells = self.tell.iter().copied().collect();
            it.deadline_ms = self.deadline;
            it.when_away = match self.when_away {
                Away::Allow => WhenAway::Allow,
                Away::Refuse => WhenAway::Refuse,
            };
            it.is_through_history = true;
        });
        Ok(Some(Options::of(target.clone()).with(|it| {
            it.secret = secret;
            it.events = events;
            it.connections = self.connections.into();
            it.max_events = self.max_backlog;
        })))
    }

    fn secret(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.secret_file else { return Ok(None) };
        let shown = path.display();
        let secret = std::fs::read(path).map_err(|error| auth::KeyError::Read { path: path.clone(), error });
        let secret = secret.map_err(Named::by("--hook-secret-file"))?;
        auth::warn_of_others(path);
        let secret = secret.trim_ascii();
        if secret.len() < MIN_SECRET {
            return Err(format!(
                "--hook-secret-file {shown}: the secret of the hooks has at least {MIN_SECRET} bytes; make one with: openssl rand -hex 32"
            )
            .into());
        }
        Ok(Some(secret.to_vec()))
    }
}

/// What the history keeps for the backend.
pub(crate) fn outbox(options: &Options) -> Option<OutboxOptions> {
    let kinds = options.events.tells;
    (!kinds.is_empty()).then(|| {
        OutboxOptions::default().with(|it| {
            it.kinds = kinds;
            it.max_events = options.max_events;
        })
    })
}

impl Ask {
    fn kind(self) -> AskKind {
        match self {
            Self::Connect => AskKind::Connect,
            Self::Join => AskKind::Join,
            Self::Post => AskKind::Post,
        }
    }
}

fn kind_of(name: &str) -> Result<EventKind, String> {
    EventKind::ALL
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| format!("there is no event {name:?}"))
}
