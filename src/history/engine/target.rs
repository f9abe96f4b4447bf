//! Where an engine is: at an address, or where its Sentinels say.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    ProtocolVersion, RedisError, TlsCertificates, Value, cmd,
};

use super::error::EngineError;
use super::values;

/// How long one Sentinel is waited for.
const SENTINEL_WITHIN: Duration = Duration::from_millis(500);
/// The port of a Sentinel whose address has none.
const SENTINEL_PORT: u16 = 26_379;
/// Sentinels of an address.
const MAX_SENTINELS: usize = 16;

/// What TLS believes and shows, as PEM; what is not there is the system's.
#[derive(Clone, Default)]
pub struct Certificates {
    /// The authorities that an engine's certificate must be of.
    pub authorities: Option<Vec<u8>>,
    /// The certificate of this server, and its key.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Certificates {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (has_authorities, has_own) = (self.authorities.is_some(), self.own.is_some());
        f.debug_struct("Certificates")
            .field("has_authorities", &has_authorities)
            .field("has_own", &has_own)
            .finish_non_exhaustive()
    }
}

/// Where an engine is, and how long it is waited for. Clones are about the same engine.
#[derive(Clone)]
pub struct Target {
    place: Place,
    timeout: Duration,
}

#[derive(Clone)]
enum Place {
    Fixed(Box<Client>),
    Watched(Arc<Sentinels>),
}

/// What watches an engine and says which of several is the primary.
struct Sentinels {
    watchers: Vec<Client>,
    /// What they call the engine.
    name: String,
    /// How to speak to the engine, wherever it is.
    settings: ConnectionInfo,
    certificates: TlsCertificates,
    /// The one that answered last.
    next: AtomicUsize,
    primary: Mutex<(String, u16)>,
    /// Grows when the primary is another one.
    moves: AtomicU64,
}

impl fmt::Debug for Target {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("address", &self.address())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The primary that a connection leads to.
#[derive(Clone)]
pub(super) struct Primary(Option<(Arc<Sentinels>, u64)>);

impl Primary {
    /// The Sentinels name another one by now.
    pub(super) fn has_moved(&self) -> bool {
        self.0.as_ref().is_some_and(|(watch, moves)| watch.moves.load(Ordering::Relaxed) != *moves)
    }
}

impl Target {
    /// Reads an address such as `redis://127.0.0.1:6379/0`. An answer is waited for `timeout`.
    ///
    /// # Errors
    /// Where it is none.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, EngineError> {
        Self::with_certificates(url, timeout, &Certificates::default())
    }

    /// The same where TLS believes and shows other certificates than the system's.
    ///
    /// # Errors
    /// Where it is no address, or an address without TLS.
    pub fn with_certificates(
        url: &str,
        timeout: Duration,
        certificates: &Certificates,
    ) -> Result<Self, EngineError> {
        let is_asked_for = certificates.authorities.is_some() || certificates.own.is_some();
        if is_asked_for && !url.starts_with("rediss") {
            let why = "certificates are for TLS only: the address must begin with rediss://";
            return Err(EngineError::Address(why.to_owned()));
        }
        let certificates = TlsCertificates {
            root_cert: certificates.authorities.clone(),
            client_tls: certificates
                .own
                .clone()
                .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
        };
        let place = match url.split_once("+sentinel://") {
            Some((scheme, rest)) => Place::Watched(Arc::new(Sentinels::read(scheme, rest, certificates)?)),
            None => Place::Fixed(Box::new(client(info(url)?, &certificates).map_err(|error| wrong(&error))?)),
        };
        Ok(Self { place, timeout })
    }

    /// Where it is, for the log.
    #[must_use]
    pub fn address(&self) -> String {
        let of = |client: &Client| client.get_connection_info().addr().to_string();
        match &self.place {
            Place::Fixed(client) => of(client),
            Place::Watched(watch) => {
                let watchers: Vec<_> = watch.watchers.iter().map(of).collect();
                format!("{} of {}", watch.name, watchers.join(","))
            }
        }
    }

    /// Whether Sentinels say where it is: another one than a moment ago, perhaps.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        matches!(self.place, Place::Watched(_))
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A connection to it, about which nothing is known yet.
    pub(super) fn dial(&self) -> Result<(Connection, Primary), EngineError> {
        match &self.place {
            Place::Fixed(client) => Ok((connect(client, self.timeout)?, Primary(None))),
            Place::Watched(watch) => {
                let ((host, port), moves) = watch.ask_all(self.timeout)?;
                let addr = match watch.settings.addr() {
                    ConnectionAddr::TcpTls { insecure, .. } => {
                        ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
                    }
                    _ => ConnectionAddr::Tcp(host, port),
                };
                let client = client(watch.settings.clone().set_addr(addr), &watch.certificates)?;
                let primary = Primary(Some((Arc::clone(watch), moves)));
                Ok((connect(&client, self.timeout)?, primary))
            }
        }
    }

    /// Asks one Sentinel where the engine is, if there are any. One that does not answer is not asked next.
    pub(super) fn look(&self) {
        if let Place::Watched(watch) = &self.place {
            let at = watch.next.load(Ordering::Relaxed);
            if let Err(error) = watch.ask(at, SENTINEL_WITHIN.min(self.timeout)) {
                watch.next.store((at + 1) % watch.watchers.len(), Ordering::Relaxed);
                tracing::debug!(%error, "a Sentinel does not answer");
            }
        }
    }
}

impl Sentinels {
    /// Reads `[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]/NAME[/DB][?sentinel_username=U&sentinel_password=P]`.
    fn read(scheme: &str, rest: &str, certificates: TlsCertificates) -> Result<Self, EngineError> {
        let bad = |why: &str| EngineError::Address(why.to_owned());
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let (name, db) = path.split_once('/').unwrap_or((path, "0"));
        if name.is_empty() {
            return Err(bad("the address says not what the Sentinels call the engine"));
        }
        let (mut sentinel_user, mut sentinel_password) = ("", "");
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("sentinel_username", value)) => sentinel_user = value,
                Some(("sentinel_password", value)) => sentinel_password = value,
                _ => return Err(bad("only sentinel_username and sentinel_password come after the ?")),
            }
        }
        let login = |user: &str| if user.is_empty() { String::new() } else { format!("{user}@") };
        let sentinel = if sentinel_password.is_empty() {
            String::new()
        } else {
            login(&format!("{sentinel_user}:{sentinel_password}"))
        };
        let watcher = |host: &str| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
            client(info(&format!("{scheme}://{sentinel}{host}{port}"))?, &certificates)
                .map_err(|error| wrong(&error))
        };
        let watchers = hosts.split(',').map(watcher).collect::<Result<Vec<_>, _>>()?;
        if watchers.len() > MAX_SENTINELS {
            return Err(bad("there are more than 16 Sentinels"));
        }
        let settings = info(&format!("{scheme}://{}sentinel/{db}", login(user)))?;
        Ok(Self {
            watchers,
            name: name.to_owned(),
            settings,
            certificates,
            next: AtomicUsize::new(0),
            primary: Mutex::default(),
            moves: AtomicU64::new(0),
        })
    }

    /// Asks one of them. Returns where the primary is, and how often it has moved.
    fn ask(&self, at: usize, within: Duration) -> Result<((String, u16), u64), EngineError> {
        let mut watcher = connect(&self.watchers[at], within)?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        watcher.send_packed_command(&question.get_packed_command())?;
        let answer = watcher.recv_response()?;
        let primary = match values::list(&answer) {
            Some([host, port]) => {
                values::text(host).zip(values::number(port).and_then(|it| it.try_into().ok()))
            }
            _ => None,
        };
        let primary: (String, u16) = primary.ok_or_else(|| match answer {
            Value::Nil => EngineError::Sentinel(format!("none of them watches \"{}\"", self.name)),
            other => EngineError::Sentinel(format!("one of them says {other:?}")),
        })?;
        let mut known = self.primary.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != primary {
            if !known.0.is_empty() {
                tracing::warn!(host = primary.0, port = primary.1, "the engine has another primary");
            }
            known.clone_from(&primary);
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
        Ok((primary, self.moves.load(Ordering::Relaxed)))
    }

    /// Asks them until one answers.
    fn ask_all(&self, timeout: Duration) -> Result<((String, u16), u64), EngineError> {
        let (count, first) = (self.watchers.len(), self.next.load(Ordering::Relaxed));
        let mut result = Err(EngineError::Sentinel("there are none".into()));
        for at in (0..count).map(|nth| (first + nth) % count) {
            result = self.ask(at, SENTINEL_WITHIN.min(timeout));
            if result.is_ok() {
                self.next.store(at, Ordering::Relaxed);
                break;
            }
        }
        result
    }
}

fn wrong(error: &RedisError) -> EngineError {
    EngineError::Address(error.to_string())
}

/// What an address says, and how it is spoken there.
fn info(url: &str) -> Result<ConnectionInfo, EngineError> {
    let info = url.into_connection_info().map_err(|error| wrong(&error))?;
    let settings = info.tcp_settings().clone().set_nodelay(true);
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    Ok(info.set_tcp_settings(settings).set_redis_settings(redis))
}

fn client(info: ConnectionInfo, certificates: &TlsCertificates) -> Result<Client, RedisError> {
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        Client::build_with_tls(info, certificates.clone())
    } else {
        Client::open(info)
    }
}

fn connect(client: &Client, timeout: Duration) -> Result<Connection, RedisError> {
    let connection = client.get_connection_with_timeout(timeout)?;
    connection.set_read_timeout(Some(timeout))?;
    connection.set_write_timeout(Some(timeout))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Target, EngineError> {
        Target::new(url, Duration::from_secs(1))
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let shown = format!("{:?}", read("redis://ada:secret@127.0.0.1:7001/2").unwrap());
        assert!(shown.contains("127.0.0.1:7001") && !shown.contains("secret"), "{shown}");
        let url = "redis+sentinel://ada:secret@h1,[::1]:5/main/3?sentinel_password=secret";
        let shown = format!("{:?}", read(url).unwrap());
        assert!(shown.contains("main of h1:26379,") && !shown.contains("secret"), "{shown}");
        let why = read("http://127.0.0.1").unwrap_err().to_string();
        assert!(why.contains("redis://"), "{why}");
    }

    #[test]
    fn the_address_of_sentinels_has_a_name_and_what_is_needed_to_speak_to_both() {
        let target =
            read("rediss+sentinel://ada:s%20x@h1,h2:7/main/3?sentinel_username=u&sentinel_password=p");
        let Place::Watched(watch) = target.unwrap().place else { panic!("nobody watches") };
        let of = |at: usize| watch.watchers[at].get_connection_info();
        assert_eq!((of(0).addr().to_string(), of(1).addr().to_string()), ("h1:26379".into(), "h2:7".into()));
        assert_eq!(
            (of(0).redis_settings().username(), of(0).redis_settings().password()),
            (Some("u"), Some("p"))
        );
        let engine = watch.settings.redis_settings();
        assert_eq!((engine.username(), engine.password(), engine.db()), (Some("ada"), Some("s x"), 3));
        assert!(matches!(watch.settings.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        let many = vec!["h"; MAX_SENTINELS + 1].join(",");
        for url in [
            "redis+sentinel://h1",
            "redis+sentinel://h1/",
            "redis+sentinel:///main",
            "redis+sentinel://h1/main/x",
            "redis+sentinel://h1/main?x=1",
            "http+sentinel://h1/main",
            &format!("redis+sentinel://{many}/main"),
        ] {
            assert!(matches!(read(url), Err(EngineError::Address(_))), "{url}");
        }
    }

    #[test]
    fn certificates_without_tls_are_refused() {
        let certificates = Certificates { authorities: Some(Vec::new()), own: None };
        let read = |url| Target::with_certificates(url, Duration::from_secs(1), &certificates);
        assert!(read("redis://h").unwrap_err().to_string().contains("rediss://"));
    }
}
