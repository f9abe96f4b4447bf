//! The file of the API's tokens: one secret that may do everything, or a list of hashes with names and scopes.
//!
//! A token of the list is 256 random bits. Nobody can find it by trying, so one round of SHA-256 hides it: a slow hash is for
//! passwords, which people choose.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::auth::{KeyFlaw, check_secret, warn_of_others};

/// Shortest secret of a file with one token, in bytes.
const MIN_API_TOKEN: usize = 16;
/// Tokens of one file.
const MAX_API_TOKENS: usize = 1024;
/// Bytes of a token's name.
const MAX_TOKEN_NAME: usize = 64;
/// What each token that this module makes begins with: secrets in logs and repositories are found by it.
const PREFIX: &str = "sbapi_";
/// The name of the token in a file with one secret.
const DEFAULT_NAME: &str = "default";

/// What a token permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To read rooms, messages, members and the names of users.
    Read,
    /// To post, react, edit and delete in the name of users.
    Post,
    /// To change what others wrote, to kick, ban and disconnect, and to see a user's connections.
    Moderate,
    /// To see all connections and figures, to broadcast, to drain the server, and the page `/admin`.
    Operate,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Read, Self::Post, Self::Moderate, Self::Operate];

    /// Its name in the file and in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Post => "post",
            Self::Moderate => "moderate",
            Self::Operate => "operate",
        }
    }
}

/// The SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    pub(super) fn of(token: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        Self(hash)
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, octet) in hash.iter_mut().enumerate() {
            *octet = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(hash))
    }

    /// Whether two are equal, in the same time for all.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::LowerHex for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A token that the API takes.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) name: Arc<str>,
    pub(super) hash: Hash,
    pub(super) scopes: Vec<Scope>,
    expires_unix_s: Option<u64>,
}

impl Token {
    /// The one token of a file without scopes, which may do everything.
    pub(super) fn of_secret(secret: &[u8]) -> Self {
        let (name, hash) = (DEFAULT_NAME.into(), Hash::of(secret));
        Self { name, hash, scopes: Scope::ALL.to_vec(), expires_unix_s: None }
    }

    pub(super) fn is_valid_at(&self, unix_ms: u64) -> bool {
        self.expires_unix_s.is_none_or(|until| unix_ms / 1000 < until)
    }
}

/// Why a file has no tokens for the API.
#[derive(Debug)]
#[non_exhaustive]
pub enum TokenFileError {
    /// It cannot be read, or written.
    Io(PathBuf, io::Error),
    /// What it holds is no secret.
    NoSecret(PathBuf, KeyFlaw),
    /// The one secret is too short, or no single word.
    Short(PathBuf),
    /// It is no list of tokens.
    NoList(PathBuf, String),
    /// A token of the list is not as it should be.
    Token(PathBuf, String, &'static str),
}

impl fmt::Display for TokenFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoSecret(path, flaw) => write!(f, "{}: {flaw}", path.display()),
            Self::Short(path) => write!(
                f,
                "{}: the API's token has at least {MIN_API_TOKEN} characters, and no spaces; make one with: openssl rand -hex 32",
                path.display()
            ),
            Self::NoList(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Token(path, name, why) => write!(f, "{}: the token {name:?} {why}", path.display()),
        }
    }
}

impl std::error::Error for TokenFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    scopes: Vec<Scope>,
    expires: Option<String>,
}

/// Reads the tokens of a file.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn read(path: &Path) -> Result<Vec<Token>, TokenFileError> {
    let content = fs::read(path).map_err(|error| TokenFileError::Io(path.to_owned(), error))?;
    warn_of_others(path);
    match std::str::from_utf8(&content) {
        Ok(text) if is_list(text) => parse(path, text),
        _ => {
            check_secret(&content).map_err(|flaw| TokenFileError::NoSecret(path.to_owned(), flaw))?;
            let secret = content.trim_ascii();
            if secret.len() < MIN_API_TOKEN || !secret.iter().all(u8::is_ascii_graphic) {
                return Err(TokenFileError::Short(path.to_owned()));
            }
            Ok(vec![Token::of_secret(secret)])
        }
    }
}

/// Whether a file is a list of tokens and not one secret: it has tables, or nothing but comments.
fn is_list(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    let is_blank = lines.peek().is_none();
    let lines: Vec<&str> = lines.collect();
    !is_blank
        && (lines.contains(&"[[token]]") || lines.iter().all(|line| line.starts_with("# ") || *line == "#"))
}

fn parse(path: &Path, text: &str) -> Result<Vec<Token>, TokenFileError> {
    let no_list = |why| TokenFileError::NoList(path.to_owned(), why);
    let list: List = toml::from_str(text).map_err(|error| {
        // What is wrong is said without the text, which may hold what was meant to be secret.
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        no_list(format!("line {line}: {}", error.message()))
    })?;
    if list.token.len() > MAX_API_TOKENS {
        return Err(no_list(format!("more than {MAX_API_TOKENS} tokens")));
    }
    let mut tokens: Vec<Token> = Vec::with_capacity(list.token.len());
    for Entry { name, sha256, scopes, expires } in list.token {
        let wrong = |why| TokenFileError::Token(path.to_owned(), name.clone(), why);
        check_name(&name).map_err(wrong)?;
        if tokens.iter().any(|other| *other.name == *name) {
            return Err(wrong("stands twice"));
        }
        let hash = Hash::from_hex(&sha256)
            .ok_or_else(|| wrong("has no SHA-256: `sha256` must be 64 hexadecimal digits"))?;
        if scopes.is_empty() {
            return Err(wrong("has no scopes: they are read, post, moderate and operate"));
        }
        let expires_unix_s = match expires {
            None => None,
            Some(text) => Some(
                unix_s(&text).ok_or_else(|| wrong("expires at no time: write \"2030-01-31T00:00:00Z\""))?,
            ),
        };
        tokens.push(Token { name: name.as_str().into(), hash, scopes, expires_unix_s });
    }
    Ok(tokens)
}

fn unix_s(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// A name is shown in logs and stands in the file.
fn check_name(name: &str) -> Result<(), &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > MAX_TOKEN_NAME || !name.chars().all(is_plain) {
        return Err("has a name that is not 1 to 64 letters, digits, dots, dashes or underscores");
    }
    Ok(())
}

/// A token that is made, and the entry for the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What is shown once and kept by whoever uses the API.
    pub secret: String,
    /// What stands in the file.
    pub entry: String,
}

impl NewToken {
    /// A token of 256 random bits. `expires_unix_s`: `None` if it is valid until it is taken out of the file.
    ///
    /// # Errors
    /// What is wrong with the name or the scopes.
    pub fn new(
        name: &str,
        scopes: &[Scope],
        expires_unix_s: Option<u64>,
        random: [u8; 32],
    ) -> Result<Self, &'static str> {
        check_name(name)?;
        if scopes.is_empty() {
            return Err("has no scopes");
        }
        let secret = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        let scopes: Vec<String> = scopes.into_iter().map(|scope| format!("\"{}\"", scope.name())).collect();
        let mut entry = format!(
            "[[token]]\nname = \"{name}\"\nsha256 = \"{:x}\"\nscopes = [{}]\n",
            Hash::of(secret.as_bytes()),
            scopes.join(", ")
        );
        if let Some(expires) = expires_unix_s {
            let time = UNIX_EPOCH + Duration::from_secs(expires);
            let _ = writeln!(entry, "expires = \"{}\"", humantime::format_rfc3339_seconds(time));
        }
        Ok(Self { secret, entry })
    }

    /// Adds the entry to a file, which is made if it is missing and then read by its owner alone.
    ///
    /// # Errors
    /// The file is no list of tokens, has one of this name, or cannot be written.
    pub fn add_to(&self, path: &Path) -> Result<(), TokenFileError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let io = |error| TokenFileError::Io(path.to_owned(), error);
        let known = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io(error)),
        };
        if !known.trim().is_empty() && !is_list(&known) {
            let why = "this holds one token that may do everything; name another file for a list of tokens";
            return Err(TokenFileError::NoList(path.to_owned(), why.to_owned()));
        }
        let gap = if known.is_empty() || known.ends_with("\n\n") { "" } else { "\n" };
        let added = format!("{gap}{}", self.entry);
        parse(path, &format!("{known}{added}"))?;
        let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(io)?;
        file.write_all(added.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<Token>, String> {
        parse(Path::new("tokens"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_made_is_read_again() {
        let made =
            NewToken::new("bot-1", &[Scope::Post, Scope::Read, Scope::Post], Some(1_900_000_000), [7; 32]);
        let made = made.unwrap();
        assert!(made.secret.starts_with("sbapi_BwcHBwcH") && made.secret.len() == 6 + 43, "{}", made.secret);
        assert!(!made.entry.contains(&made.secret) && is_list(&made.entry), "{}", made.entry);
        let tokens = list(&made.entry).unwrap();
        let [token] = &tokens[..] else { panic!("{tokens:?}") };
        assert_eq!((&*token.name, &token.scopes[..]), ("bot-1", &[Scope::Read, Scope::Post][..]));
        assert!(token.hash.is(&Hash::of(made.secret.as_bytes())));
        assert!(!token.hash.is(&Hash::of(&made.secret.as_bytes()[1..])));
        assert!(token.is_valid_at(1_899_999_999_999) && !token.is_valid_at(1_900_000_000_000));
        assert!(NewToken::new("a b", &[Scope::Read], None, [0; 32]).is_err());
        assert!(NewToken::new("a", &[], None, [0; 32]).is_err());
    }

    #[test]
    fn a_list_says_what_is_wrong_and_repeats_no_secret() {
        let hash = "ab".repeat(32);
        let entry = |name: &str, hash: &str, rest: &str| {
            format!("[[token]]\nname = \"{name}\"\nsha256 = \"{hash}\"\n{rest}\n")
        };
        let good = entry("a", &hash, "scopes = [\"read\"]");
        assert_eq!(list(&good).unwrap().len(), 1);
        for (text, why) in [
            (entry("a b", &hash, "scopes = [\"read\"]"), "name"),
            (entry("", &hash, "scopes = [\"read\"]"), "name"),
            (entry("a", "hunter2-is-no-hash", "scopes = [\"read\"]"), "64 hexadecimal digits"),
            (entry("a", &hash, "scopes = []"), "no scopes"),
            (entry("a", &hash, "scopes = [\"root\"]"), "root"),
            (entry("a", &hash, "scopes = [\"read\"]\nexpires = \"soon\""), "2030-01-31T00:00:00Z"),
            (entry("a", &hash, "scopes = [\"read\"]\ncolour = 1"), "colour"),
            (format!("{good}{good}"), "twice"),
            (format!("{good}hunter2"), "line 5"),
        ] {
            let error = list(&text).unwrap_err();
            assert!(error.contains(why) && !error.contains("hunter2"), "{text}: {error}");
        }
        let many: String =
            (0..=MAX_API_TOKENS).map(|nth| entry(&nth.to_string(), &hash, "scopes = [\"read\"]")).collect();
        assert!(list(&many).unwrap_err().contains("1024"));
    }

    #[test]
    fn one_secret_is_no_list() {
        for secret in ["0123456789abcdef", "#0123456789abcdef", "[[token]]0123456789", "", " \n"] {
            assert!(!is_list(secret), "{secret:?}");
        }
        for text in ["# all are revoked\n", "\n  [[token]]  \nname = \"x\"", "#\n# none\n"] {
            assert!(is_list(text), "{text:?}");
        }
    }
}
