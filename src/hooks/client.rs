//! One request to the backend.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Error as HttpError};

use super::Error;
use super::signature::Signer;
use super::target::Target;
use super::unix::UnixConnector;
use crate::tls;

/// Octets of an answer's body that are read; a longer one is no answer.
pub(super) const MAX_ANSWER_OCTETS: usize = 64 * 1024;
/// Octets of the head of an answer.
const MAX_HEAD_OCTETS: usize = 16 * 1024;
/// How long a connection without a request is kept: less than backends keep theirs, as a rule.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// Makes requests, from any thread.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    uri: String,
    signer: Option<Signer>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// What the backend answers.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Seconds after which it wants to be asked again.
    pub(super) retry_after_s: Option<u64>,
    /// Why it could not be read where it could not.
    pub(super) body: Result<Vec<u8>, String>,
}

impl Client {
    pub(super) fn new(target: &Target, secret: Option<&[u8]>) -> Result<Self, Error> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(MAX_HEAD_OCTETS)
            .max_idle_connections_per_host(usize::from(u16::MAX))
            .max_idle_connections(usize::from(u16::MAX))
            .max_idle_age(MAX_IDLE);
        if target.is_tls() {
            let tls = TlsConfig::builder()
                .root_certs(RootCerts::new_with_certs(&authorities()?))
                .unversioned_rustls_crypto_provider(tls::crypto())
                .build();
            config = config.tls_config(tls);
        }
        let config = config.build();
        let agent = match target.socket() {
            Some(path) => {
                Agent::with_parts(config, UnixConnector { path: path.clone() }, DefaultResolver::default())
            }
            None => config.into(),
        };
        Ok(Self { agent, uri: target.uri().to_owned(), signer: secret.map(Signer::new) })
    }

    /// Posts a body and waits for the answer, all in all so long. `hook` is `ask` or `tell`.
    pub(super) fn post(&self, hook: &str, body: &[u8], at_most: Duration) -> Result<Reply, String> {
        // A connection of before may have ended just when it was used. It costs little to find out, and no more than once.
        match self.try_post(hook, body, at_most) {
            Err(HttpError::Io(_)) => self.try_post(hook, body, at_most),
            done => done,
        }
        .map_err(|error| error.to_string())
    }

    fn try_post(&self, hook: &str, body: &[u8], at_most: Duration) -> Result<Reply, HttpError> {
        let mut request = self
            .agent
            .post(&self.uri)
            .config()
            .timeout_global(Some(at_most))
            .build()
            .header("Content-Type", "application/json")
            .header("Switchboard-Hook", hook);
        if let Some(signer) = &self.signer {
            request = request.header("Switchboard-Signature", signer.sign(unix_s(), body));
        }
        let mut response = request.send(body)?;
        let retry_after_s = response.headers().get("retry-after");
        let retry_after_s = retry_after_s.and_then(|after| after.to_str().ok()?.trim().parse().ok());
        let limited = response.body_mut().with_config().limit(MAX_ANSWER_OCTETS as u64);
        let body = limited.read_to_vec().map_err(|error| error.to_string());
        Ok(Reply { status: response.status().as_u16(), retry_after_s, body })
    }

    /// Ends what is under way, and everything after it.
    pub(super) fn shut_down(self) {
        self.agent.shutdown();
    }
}

/// Whom the system trusts.
fn authorities() -> Result<Vec<Certificate<'static>>, Error> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in loaded.errors {
        tracing::warn!(%error, "certificates of authorities could not be read");
    }
    let authorities: Vec<_> =
        loaded.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    if authorities.is_empty() { Err(Error::NoAuthorities) } else { Ok(authorities) }
}

#[expect(clippy::disallowed_methods, reason = "the threads of the hooks are none of the loop")]
fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
