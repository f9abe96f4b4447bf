//! `switchboard token`, and the flags that say which tokens a server takes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use switchboard::api::{NewToken, Scope};
use switchboard::auth::{KeyError, Keyring, Mint, Permission, Rules, Sources};
use switchboard::chat::identity::Verify;

use super::SettingsArgs;
use crate::{Failure, Named};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print a token
    Mint(MintArgs),
    /// Read a token from standard input and print what it says, or why it is refused
    Check(CheckArgs),
    /// Make a token for the HTTP API: its hash, name and scopes are added to a file, and the token is printed, once
    ApiCreate(ApiCreateArgs),
}

impl TokenCommand {
    pub(super) fn settings(&self) -> &SettingsArgs {
        match self {
            Self::Mint(args) => &args.settings,
            Self::Check(args) => &args.settings,
            Self::ApiCreate(args) => &args.settings,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Which tokens are valid.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct VerifyArgs {
    /// Take tokens signed with the key in this file
    ///
    /// A secret of 32 bytes or more (HS256), or a public key in PEM (RS256 or EdDSA). SIGHUP reads the file again.
    #[arg(long = "token-key", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Take tokens signed with a key of this set (JWKS, RFC 7517)
    ///
    /// SIGHUP reads the file again.
    #[arg(long = "token-jwks", value_name = "FILE")]
    key_set: Option<PathBuf>,
    /// Take only tokens for this audience (`aud`)
    #[arg(long = "token-audience", value_name = "NAME")]
    audience: Option<String>,
    /// Take only tokens of this issuer (`iss`)
    #[arg(long = "token-issuer", value_name = "NAME")]
    issuer: Option<String>,
    /// Claim with the name that is shown [default: name]
    ///
    /// Without this flag it is `name`, else `preferred_username`, else `sub`.
    #[arg(long = "token-name-claim", value_name = "CLAIM")]
    name_claim: Option<String>,
    /// Seconds by which the clock of a token's issuer may differ
    #[arg(long = "token-leeway", value_name = "S", default_value_t = 30)]
    leeway: u64,
}

#[derive(Debug, Args)]
pub(crate) struct ApiCreateArgs {
    /// The file of --api-token-file; made if it is missing
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Name of the token in the file
    ///
    /// Letters, digits, dots, dashes and underscores.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What the token permits: read, post, moderate, operate
    ///
    /// May be repeated, or a list with commas.
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    /// How long it is valid, such as 15m, 1h, 90d [default: no limit]
    ///
    /// A token ends when it is taken out of the file.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    settings: SettingsArgs,
}

fn scope(text: &str) -> Result<Scope, String> {
    let found = Scope::ALL.into_iter().find(|scope| scope.name() == text);
    found.ok_or_else(|| "none of read, post, moderate and operate".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct MintArgs {
    /// The secret (HS256) or the private key in PEM (RS256 or `EdDSA`)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Who it is (`sub`)
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The name that is shown (`name`) [default: that of --user]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What is permitted where, such as 'team-*:join,post' or '*:moderate'
    ///
    /// May be repeated. Without it the token permits to join and to post everywhere.
    #[arg(long = "room", value_name = "PATTERN:PERMISSIONS", value_parser = grant)]
    rooms: Vec<(String, Vec<Permission>)>,
    /// How long it is valid, such as 90s, 15m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// For whom (`aud`)
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// By whom (`iss`)
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// The key's name in a set of keys (`kid`)
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// `PATTERN:PERMISSION,…`; a pattern may hold colons itself.
fn grant(text: &str) -> Result<(String, Vec<Permission>), String> {
    let (pattern, permissions) = text
        .rsplit_once(':')
        .filter(|(pattern, _)| !pattern.is_empty())
        .ok_or("expected PATTERN:PERMISSIONS")?;
    let permissions = permissions.split(',').map(|name| match name {
        "join" => Ok(Permission::Join),
        "post" => Ok(Permission::Post),
        "moderate" => Ok(Permission::Moderate),
        _ => Err(format!("{name:?} is none of join, post and moderate")),
    });
    Ok((pattern.to_owned(), permissions.collect::<Result<_, _>>()?))
}

impl VerifyArgs {
    /// What checks tokens; `None` when no key is given.
    pub(crate) fn keyring(&self, is_stale: Arc<AtomicBool>) -> Result<Option<Keyring>, Failure> {
        let sources = Sources::default().with(|it| {
            it.key.clone_from(&self.key);
            it.key_set.clone_from(&self.key_set);
        });
        if sources == Sources::default() {
            return Ok(None);
        }
        let rules = Rules::default().with(|it| {
            it.audience.clone_from(&self.audience);
            it.issuer.clone_from(&self.issuer);
            it.leeway_s = self.leeway;
            it.name_claim.clone_from(&self.name_claim);
        });
        let flag_of = |error: &KeyError| match error {
            KeyError::Read { path, .. } | KeyError::Flawed { path, .. }
                if Some(path) == self.key_set.as_ref() =>
            {
                "--token-jwks"
            }
            _ => "--token-key",
        };
        let keyring = Keyring::read(sources, rules, is_stale);
        keyring.map(Some).map_err(|error| Named::by(flag_of(&error))(error))
    }
}

/// Does what the command says; returns what goes to standard output.
pub(crate) fn run(command: TokenCommand) -> Result<String, Failure> {
    match command {
        TokenCommand::Mint(args) => mint(args),
        TokenCommand::Check(args) => check(&args.verify),
        TokenCommand::ApiCreate(args) => api_create(&args),
    }
}

fn api_create(args: &ApiCreateArgs) -> Result<String, Failure> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| format!("the system has no random numbers: {error}"))?;
    let expires = args.expires.map(|time| now_unix_s() + time.as_secs());
    let made = NewToken::new(&args.name, &args.scopes, expires, random)
        .map_err(|why| format!("the token {:?} {why}", args.name))?;
    made.add_to(&args.file)?;
    Ok(made.secret)
}

fn mint(args: MintArgs) -> Result<String, Failure> {
    let mut rooms: BTreeMap<String, Vec<Permission>> = BTreeMap::new();
    for (pattern, permissions) in args.rooms {
        rooms.entry(pattern).or_default().extend(permissions);
    }
    let mint = Mint::default().with(|it| {
        it.user = args.user;
        it.name = args.name;
        it.expires_unix_s = now_unix_s() + args.expires.as_secs();
        it.audience = args.audience;
        it.issuer = args.issuer;
        it.key_id = args.key_id;
        it.rooms = rooms;
    });
    mint.sign(&args.key).map_err(Named::by("--key"))
}

fn check(args: &VerifyArgs) -> Result<String, Failure> {
    let keyring = args.keyring(Arc::default())?.ok_or("--token-key or --token-jwks is needed")?;
    let mut token = String::new();
    std::io::stdin().take(64 * 1024).read_to_string(&mut token)?;
    let now = now_unix_s();
    let claims = keyring.verify(token.trim(), now)?;
    let mut text =
        format!("user     {}\nexpires  in {} s", claims.user, claims.expires_unix_s.saturating_sub(now));
    if claims.subject != claims.user {
        text = format!("{text}\nsubject  {}", claims.subject);
    }
    if claims.rooms.is_empty() {
        text.push_str("\nrooms    join and post everywhere");
    }
    for grant in &claims.rooms {
        let names = [("join", grant.join), ("post", grant.post), ("moderate", grant.moderate)];
        let names: Vec<&str> = names.into_iter().filter_map(|(name, may)| may.then_some(name)).collect();
        text = format!("{text}\nroom     {}: {}", grant.pattern, names.join(", "));
    }
    Ok(text)
}

#[expect(clippy::disallowed_methods, reason = "outside of the loop")]
fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
