//! The configuration of a server, and its life: read from files, checked, put to use, read again.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::figures::{Completed, Failure, Figures};
use super::names::{Certificate, Fit};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The only protocol that is spoken over TLS (RFC 7301).
const ALPN: &[u8] = b"http/1.1";
const DAY_S: i64 = 24 * 60 * 60;
/// The log tells of certificates that expire within as many days.
const WARN_DAYS: i64 = 14;

thread_local! {
    /// The name that the client of the handshake that is under way asked for. The unbuffered connections of rustls do not say it
    /// themselves; the resolver runs while they process the ClientHello.
    static SERVER_NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Takes the name that a client has just asked for (SNI, RFC 6066 3).
pub(super) fn take_server_name() -> Option<Box<str>> {
    SERVER_NAME.take()
}

/// Where certificates, keys and authorities are read from, all in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Files {
    /// Chains of certificates, each with its key. A client gets the first one that has the name it asks for, else the first with a
    /// wildcard for it, else the first.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// Authorities for clients. With some, each client must show a certificate of one of them.
    pub client_ca: Option<PathBuf>,
}

changeable!(Files);

impl Files {
    /// One certificate with its key.
    pub fn pair(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificates: vec![(certificate.into(), key.into())], client_ca: None }
    }
}

/// Why a configuration cannot be put to use.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate is named.
    Nothing,
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file holds no certificate in PEM.
    NoCertificate(PathBuf),
    /// A file is not PEM.
    Pem(PathBuf, String),
    /// A file holds no key.
    NoKey(PathBuf),
    /// A key is encrypted.
    Encrypted(PathBuf),
    /// A key is of a kind that is not known.
    Key(PathBuf, rustls::Error),
    /// A certificate and a key do not belong together.
    Mismatch(PathBuf, PathBuf),
    /// A certificate cannot be used.
    Certificate(PathBuf, String),
    /// An authority for clients cannot be used.
    Authority(PathBuf, String),
    /// rustls does not take the configuration.
    Refused(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("TLS needs a certificate and its key"),
            Self::Read(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoCertificate(path) => {
                write!(
                    f,
                    "{}: no certificate; the file must hold a `BEGIN CERTIFICATE` block",
                    path.display()
                )
            }
            Self::Pem(path, why) => write!(f, "{}: this is not PEM: {why}", path.display()),
            Self::NoKey(path) => write!(
                f,
                "{}: no private key; the file must hold a `BEGIN PRIVATE KEY` block",
                path.display()
            ),
            Self::Encrypted(path) => write!(
                f,
                "{}: the key has a passphrase; `openssl pkey -in KEY -out NEW` writes it without one",
                path.display()
            ),
            Self::Key(path, error) => write!(f, "{}: the key cannot be used: {error}", path.display()),
            Self::Mismatch(certificate, key) => write!(
                f,
                "the key {} does not belong to the certificate {}; the first certificate of the file must be the server's own",
                key.display(),
                certificate.display()
            ),
            Self::Certificate(path, why) => {
                write!(f, "{}: the certificate cannot be used: {why}", path.display())
            }
            Self::Authority(path, why) => write!(f, "{}: no authority for clients: {why}", path.display()),
            Self::Refused(error) => write!(f, "TLS cannot be configured: {error}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, error) => Some(error),
            _ => None,
        }
    }
}

/// The TLS configuration of a server. Clones are one: what is read again, all use, from the next connection on.
///
/// ```no_run
/// use switchboard::tls::{Files, Tls};
///
/// let tls = Tls::read(Files::pair("cert.pem", "key.pem"))?;
/// // Later, after the certificate was renewed:
/// tls.reload()?;
/// # Ok::<(), switchboard::tls::TlsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    files: Option<Files>,
    current: Mutex<Current>,
    /// Called at the begin and at the end of each reload.
    watcher: OnceLock<Watcher>,
    /// When the log next warns of certificates that expire, in seconds since 1970-01-01 UTC.
    warn_at: AtomicI64,
    pub(super) figures: Figures,
}

/// What wants to know of reloads.
struct Watcher(Box<dyn Fn(Reload) + Send + Sync>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// What happens to the files of a configuration ([`Tls::watch_reloads`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// They are about to be read again.
    Begins,
    /// They were read: new connections use them, or all stayed as it was.
    Ends,
}

#[derive(Debug, Clone)]
struct Current {
    config: Arc<ServerConfig>,
    certificates: Vec<Certificate>,
}

impl Shared {
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock().config)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tls {
    /// Reads and checks all files: TLS 1.2 and 1.3, ALPN `http/1.1`, no early data, tickets without state on the server, but
    /// none where clients must show a certificate.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn read(files: Files) -> Result<Self, TlsError> {
        let current = read(&files)?;
        Ok(Self::with(current, Some(files)))
    }

    /// A configuration of one's own. [`Self::reload`] does nothing to it.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self::with(Current { config: Arc::new(config), certificates: Vec::new() }, None)
    }

    fn with(current: Current, files: Option<Files>) -> Self {
        let (current, warn_at) = (Mutex::new(current), AtomicI64::new(0));
        let watcher = OnceLock::new();
        let shared = Shared { files, current, watcher, warn_at, figures: Figures::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Reads the files again. New connections use what they say now; those that are open keep what they have.
    ///
    /// # Errors
    /// The first file that cannot be used. Then all stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.shared.files else { return Ok(()) };
        self.tell(Reload::Begins);
        let result = self.reload_from(files);
        self.tell(Reload::Ends);
        result
    }

    /// Calls `watcher` at the begin and at the end of each reload, on the thread that reloads. The first watcher stays.
    pub fn watch_reloads(&self, watcher: impl Fn(Reload) + Send + Sync + 'static) {
        self.shared.watcher.get_or_init(|| Watcher(Box::new(watcher)));
    }

    fn tell(&self, what: Reload) {
        if let Some(Watcher(watcher)) = self.shared.watcher.get() {
            watcher(what);
        }
    }

    fn reload_from(&self, files: &Files) -> Result<(), TlsError> {
        match read(files) {
            Ok(current) => {
                *self.shared.lock() = current;
                self.shared.warn_at.store(0, Ordering::Relaxed);
                self.shared.figures.reloads.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.shared.figures.reload_failures.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// The certificates in use, in order.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        self.shared.lock().certificates.clone()
    }

    /// Handshakes that were completed.
    #[must_use]
    pub fn completed(&self) -> Completed {
        self.shared.figures.all_completed()
    }

    /// Handshakes that failed for a reason.
    #[must_use]
    pub fn failed(&self, why: Failure) -> u64 {
        self.shared.figures.all_failed(why)
    }

    /// How often files were read again: with success, and without.
    #[must_use]
    pub fn reloads(&self) -> (u64, u64) {
        let figures = &self.shared.figures;
        (figures.reloads.load(Ordering::Relaxed), figures.reload_failures.load(Ordering::Relaxed))
    }

    /// Writes a warning to the log, once a day, when a certificate is not valid, or soon will not be.
    pub(crate) fn warn_of_expiry(&self, unix_s: i64) {
        // One loop of several does it.
        let (warn_at, next) = (&self.shared.warn_at, unix_s + DAY_S);
        let due = warn_at.load(Ordering::Relaxed);
        if due > unix_s || warn_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        for certificate in self.certificates() {
            let name = certificate.names.first().map_or("a certificate", String::as_str);
            let days = (certificate.not_after - unix_s) / DAY_S;
            if certificate.not_after <= unix_s {
                tracing::warn!(name, "the certificate has expired: clients refuse it");
            } else if certificate.not_before > unix_s {
                tracing::warn!(name, "the certificate is not valid yet: is the clock right?");
            } else if days < WARN_DAYS {
                tracing::warn!(name, days, "the certificate expires soon; renew it, then send SIGHUP");
            }
        }
    }

    /// Has the library of cryptography prepare itself. The first handshake of a process would take tens of milliseconds
    /// otherwise, on the loop.
    pub(crate) fn warm_up(&self) {
        super::warm_up::shake_hands(&self.shared);
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

fn read(files: &Files) -> Result<Current, TlsError> {
    let provider = super::in_place::provider();
    let mut keys = Vec::new();
    for (certificate, key) in &files.certificates {
        keys.push(read_pair(certificate, key, &provider)?);
    }
    if keys.is_empty() {
        return Err(TlsError::Nothing);
    }
    let certificates = keys.iter().map(|(certificate, _)| certificate.clone()).collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Refused)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let refused = |why: &dyn fmt::Display| TlsError::Authority(path.clone(), why.to_string());
            let mut roots = RootCertStore::empty();
            for authority in read_chain(path)? {
                roots.add(authority).map_err(|error| refused(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(&error))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName(keys)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    if files.client_ca.is_none() {
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Refused)?;
        config.send_tls13_tickets = 1;
    } else {
        // A ticket would let a client in whose certificate has expired since, and each ticket brings the next one.
        config.send_tls13_tickets = 0;
    }
    // Browsers ask for AES-128 first, as it costs least. Most libraries ask for AES-256 first, and take either.
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Current { config: Arc::new(config), certificates })
}

fn read_pair(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<(Certificate, Arc<CertifiedKey>), TlsError> {
    let chain = read_chain(certificate)?;
    let unusable = |why: &str| TlsError::Certificate(certificate.to_path_buf(), why.to_owned());
    let parsed = Certificate::parse(&chain[0]).ok_or_else(|| unusable("it is not X.509"))?;
    let octets = read_text(key)?;
    let private = match PrivateKeyDer::from_pem_slice(&octets) {
        Ok(private) => private,
        Err(_) if memchr::memmem::find(&octets, b"ENCRYPTED").is_some() => {
            return Err(TlsError::Encrypted(key.to_path_buf()));
        }
        Err(pem::Error::NoItemsFound) => return Err(TlsError::NoKey(key.to_path_buf())),
        Err(error) => return Err(not_pem(key, &error)),
    };
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch(certificate.to_path_buf(), key.to_path_buf())
        }
        rustls::Error::InvalidCertificate(why) => {
            let why = format!("{why:?}");
            // The name of the error, inside of others.
            let hint = if why.contains("UnsupportedCertVersion") {
                "it is of X.509 version 1; make one of version 3, with host names"
            } else {
                &why
            };
            unusable(hint)
        }
        error => TlsError::Key(key.to_path_buf(), error),
    })?;
    Ok((parsed, Arc::new(certified)))
}

/// All certificates of a file; at least one.
fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let octets = read_text(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    let chain = chain.map_err(|error| not_pem(path, &error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_path_buf())) } else { Ok(chain) }
}

/// The octets of a file, without the mark that editors of Windows begin a text with.
fn read_text(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut octets = std::fs::read(path).map_err(|error| TlsError::Read(path.to_path_buf(), error))?;
    if octets.starts_with(BYTE_ORDER_MARK) {
        octets.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(octets)
}

/// What is wrong with a file of PEM, without its octets, which may be those of a key.
fn not_pem(path: &Path, error: &pem::Error) -> TlsError {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "a block has no `END` line of its own".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a `BEGIN` line has more than it may have".to_owned(),
        error => error.to_string(),
    };
    TlsError::Pem(path.to_path_buf(), why)
}

/// Chooses a certificate by the name that a client asks for.
#[derive(Debug)]
struct ByName(Vec<(Certificate, Arc<CertifiedKey>)>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 6066 3: there is no dot at the end, but some clients send what was in the address.
        let name = hello.server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let fits = |certificate: &Certificate| name.as_deref().and_then(|name| certificate.fit(name));
        let rank = |(certificate, key): &&(Certificate, Arc<CertifiedKey>)| {
            let is_usable = key.key.choose_scheme(hello.signature_schemes()).is_some();
            (fits(certificate).map_or(2, |fit| u8::from(fit == Fit::Wildcard)), !is_usable)
        };
        // The first of those that are equally good.
        let best = self.0.iter().min_by_key(rank).map(|(_, key)| Arc::clone(key));
        SERVER_NAME.set(name.map(String::into_boxed_str));
        best
    }
}
