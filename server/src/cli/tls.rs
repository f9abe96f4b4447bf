//! The flags of TLS, and `switchboard tls`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use switchboard::tls::{Files, Tls, TlsError};

use super::SettingsArgs;
use crate::{Failure, Named};

/// Names of a certificate for trying out, besides those that are asked for.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// For how long it is valid. Browsers take no more than 398 days from a public authority, and Apple's 825 from any.
const DAYS: u64 = 397;

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// Certificate in PEM, with the chain of its issuers behind it
    ///
    /// May be repeated, with a --tls-key each. A client gets the certificate with the name that it asks for, else the
    /// first. SIGHUP reads the files again.
    #[arg(
        long = "tls-cert",
        id = "certificates",
        value_name = "FILE",
        value_delimiter = ',',
        requires = "keys"
    )]
    certificates: Vec<PathBuf>,
    /// Private key of the certificate, in PEM without a passphrase
    ///
    /// May be repeated.
    #[arg(
        long = "tls-key",
        id = "keys",
        value_name = "FILE",
        value_delimiter = ',',
        requires = "certificates"
    )]
    keys: Vec<PathBuf>,
    /// Take only clients with a certificate of an authority in this file
    #[arg(long = "tls-client-ca", value_name = "FILE", requires = "certificates")]
    client_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// Reads the certificates, if there are any.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        if self.certificates.is_empty() {
            return Ok(None);
        }
        if self.certificates.len() != self.keys.len() {
            return Err(format!(
                "each --tls-cert needs its --tls-key: there are {} certificates and {} keys",
                self.certificates.len(),
                self.keys.len()
            )
            .into());
        }
        let pairs = self.certificates.iter().cloned().zip(self.keys.iter().cloned()).collect();
        let files = Files::default().with(|it| {
            it.certificates = pairs;
            it.client_ca.clone_from(&self.client_ca);
        });
        let flag_of = |error: &TlsError| match error {
            TlsError::Read(path, _) if self.keys.contains(path) => "--tls-key",
            TlsError::Read(path, _) if self.client_ca.as_ref() == Some(path) => "--tls-client-ca",
            TlsError::NoKey(_) | TlsError::Encrypted(_) | TlsError::Key(..) => "--tls-key",
            TlsError::Authority(..) => "--tls-client-ca",
            _ => "--tls-cert",
        };
        Tls::read(files).map(Some).map_err(|error| Named::by(flag_of(&error))(error))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Make a certificate for trying TLS out: browsers warn of it, since no authority has signed it
    MakeCert(MakeCertArgs),
}

impl TlsCommand {
    pub(super) fn settings(&self) -> &SettingsArgs {
        match self {
            Self::MakeCert(args) => &args.settings,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct MakeCertArgs {
    /// Host names and addresses besides localhost
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The file of the certificate
    #[arg(long, value_name = "FILE", default_value = "cert.pem")]
    cert: PathBuf,
    /// The file of the key, which nobody else may read
    #[arg(long, value_name = "FILE", default_value = "key.pem")]
    key: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) fn run(command: &TlsCommand) -> Result<String, Failure> {
    match command {
        TlsCommand::MakeCert(args) => make_cert(args),
    }
}

fn make_cert(args: &MakeCertArgs) -> Result<String, Failure> {
    let names: Vec<String> =
        LOCAL_NAMES.into_iter().map(str::to_owned).chain(args.names.iter().cloned()).collect();
    let mut params = CertificateParams::new(names)?;
    #[expect(clippy::disallowed_methods, reason = "a command that makes something for now")]
    let today = SystemTime::now();
    params.not_before = (today - Duration::from_hours(1)).into();
    params.not_after = (today + Duration::from_hours(DAYS * 24)).into();
    params.distinguished_name.push(DnType::CommonName, "Switchboard, for trying out");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    // The certificate last: with it, both are there.
    write(&args.key, 0o600, &key.serialize_pem(), args.force)?;
    write(&args.cert, 0o644, &certificate.pem(), args.force)?;
    let (cert, key) = (args.cert.display(), args.key.display());
    Ok(format!(
        "{cert} and {key} are valid for {DAYS} days. Try them with:\n  \
         switchboard --tls-listen 127.0.0.1:8443 --tls-cert {cert} --tls-key {key}"
    ))
}

fn write(path: &Path, mode: u32, text: &str, force: bool) -> Result<(), Failure> {
    if force && path.is_file() {
        std::fs::remove_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} is there already; --force replaces it", path.display())
        }
        _ => format!("{}: {error}", path.display()),
    })?;
    Ok(file.write_all(text.as_bytes())?)
}
