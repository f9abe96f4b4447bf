//! Who may use the API, and how often. All loops of a process share it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Limits;
use super::closes::{Close, Closes};
use super::cors::Origins;
use super::idempotency::{Answers, Known, Repeatable};
use super::tokens::{self, Hash, Scope, Token, TokenFileError};
use crate::app::{Bucket, Closed, Millis, Now, RequestHead, Response};

/// Who may use the API. Clones are one: what is read again, all use.
#[derive(Debug, Clone)]
pub struct Access(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: Option<File>,
    tokens: Mutex<Vec<Used>>,
    answers: Mutex<Answers>,
    closes: Mutex<Closes>,
    origins: Origins,
    limits: Limits,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Set by a signal: the file is to be read again.
    is_stale: Arc<AtomicBool>,
}

/// A token, and how often it was used.
#[derive(Debug)]
struct Used {
    token: Token,
    requests: Bucket,
}

/// Whose request it is.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) token: Arc<str>,
    scopes: Vec<Scope>,
}

impl Caller {
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// It has no token that is valid.
    NoToken,
    /// Its token is used too often; milliseconds until it may be used again.
    TooFast(u64),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unused(tokens: Vec<Token>) -> Vec<Used> {
    tokens.into_iter().map(|token| Used { token, requests: Bucket::default() }).collect()
}

impl Access {
    /// For anyone who has this secret, who may do everything.
    #[must_use]
    pub fn of_secret(secret: &[u8]) -> Self {
        Self::new(None, vec![Token::of_secret(secret)])
    }

    /// For those whose tokens stand in a file. When `is_stale` is set, the file is read again before the next token is checked.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: PathBuf, is_stale: Arc<AtomicBool>) -> Result<Self, TokenFileError> {
        let tokens = tokens::read(&path)?;
        Ok(Self::new(Some(File { path, is_stale }), tokens))
    }

    fn new(file: Option<File>, tokens: Vec<Token>) -> Self {
        Self(Arc::new(Shared {
            file,
            tokens: Mutex::new(unused(tokens)),
            answers: Mutex::default(),
            closes: Mutex::default(),
            origins: Origins::default(),
            limits: Limits::default(),
        }))
    }

    /// The same with these limits, for pages of these origins too; `*` is any. Nobody may have used it yet.
    #[must_use]
    pub fn with(mut self, limits: Limits, origins: Vec<String>) -> Self {
        let shared = Arc::get_mut(&mut self.0);
        debug_assert!(shared.is_some(), "loops share what has its limits already");
        if let Some(shared) = shared {
            (shared.limits, shared.origins) = (limits, Origins::new(origins));
        }
        self
    }

    pub(super) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// Reads the file again after a signal. A file that cannot be read leaves the tokens as they are.
    fn refresh(&self) {
        let Some(File { path, is_stale }) = &self.0.file else { return };
        if !is_stale.swap(false, Ordering::Relaxed) {
            return;
        }
        match tokens::read(path) {
            Ok(read) => {
                tracing::info!(tokens = read.len(), "the tokens of the API were read again");
                let mut known = locked(&self.0.tokens);
                let mut read = unused(read);
                // A token does not rest by being read again.
                for entry in &mut read {
                    if let Some(earlier) = known.iter().find(|it| it.token.hash == entry.token.hash) {
                        entry.requests = earlier.requests;
                    }
                }
                *known = read;
            }
            Err(error) => tracing::error!(%error, "the tokens of the API stay as they were"),
        }
    }

    /// Whether a request has a known token, whether it has expired or not. Takes as long for each wrong token, and as
    /// long for each right one.
    pub(super) fn is_known(&self, head: &RequestHead<'_>) -> bool {
        self.refresh();
        let Some(hash) = given(head) else { return false };
        locked(&self.0.tokens).iter().fold(false, |known, it| known | it.token.hash.is(&hash))
    }

    /// Whose request it is.
    pub(super) fn admit(&self, head: &RequestHead<'_>, now: Now) -> Result<Caller, Denied> {
        self.refresh();
        let hash = given(head).ok_or(Denied::NoToken)?;
        let mut tokens = locked(&self.0.tokens);
        // All are compared, so that the time tells nothing of them.
        let found =
            tokens.iter_mut().fold(None, |found, it| if it.token.hash.is(&hash) { Some(it) } else { found });
        let Used { token, requests } =
            found.filter(|it| it.token.is_valid_at(now.unix_ms)).ok_or(Denied::NoToken)?;
        requests.try_take(self.0.limits.requests, now.monotonic_ms).map_err(Denied::TooFast)?;
        Ok(Caller { token: Arc::clone(&token.name), scopes: token.scopes.clone() })
    }

    /// Whether somebody may operate the server: then there is a page for it.
    pub(super) fn has_operator(&self, now: Now) -> bool {
        self.refresh();
        let tokens = locked(&self.0.tokens);
        tokens.iter().any(|it| it.token.scopes.contains(&Scope::Operate) && it.token.is_valid_at(now.unix_ms))
    }

    // ---- requests that may be sent again

    pub(super) fn begin(&self, request: &Repeatable, print: Hash, now: Millis) -> Known {
        locked(&self.0.answers).begin(request, print, now, &self.0.limits)
    }

    pub(super) fn end(&self, request: &Repeatable, answer: &Response) {
        locked(&self.0.answers).end(request, answer);
    }

    // ---- ends of connections

    /// A connection ended: whose it was, and why the chat had told it to go.
    pub(super) fn closed(&self, closed: &Closed, told: (Option<&str>, Option<&str>), now: Now) {
        locked(&self.0.closes).add(closed, told, now.unix_ms, self.0.limits.max_closes);
    }

    /// At most `limit` ends of connections after a number, or the newest; and the number of the newest.
    pub(super) fn closes(&self, after: Option<u64>, limit: usize) -> (Vec<Close>, u64) {
        let closes = locked(&self.0.closes);
        (closes.after(after, limit), closes.last())
    }
}

/// The hash of the bearer token of a request (RFC 6750 2.1).
fn given(head: &RequestHead<'_>) -> Option<Hash> {
    let value = head.fields.single("authorization").ok().flatten()?;
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| Hash::of(token.trim_ascii()))
}
