//! TLS between the socket and the protocol (RFC 6455 10.6), for `wss://`.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

/// The TLS settings of a run.
#[derive(Debug)]
pub(crate) struct TlsSettings(Arc<ClientConfig>);

impl TlsSettings {
    /// `is_insecure`: accept any certificate.
    pub(crate) fn new(is_insecure: bool) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = if is_insecure {
            let verifier = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(
                    "this machine has no root certificates: install ca-certificates, or use --tls-insecure"
                        .to_owned(),
                );
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        };
        Ok(Self(Arc::new(config)))
    }

    /// The settings for one server. `host`: the name that its certificate must have.
    pub(crate) fn for_host(&self, host: &str) -> Result<TlsSetup, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host} is not a name that a certificate can have"))?;
        Ok(TlsSetup { config: Arc::clone(&self.0), name })
    }
}

/// The TLS settings for one server.
#[derive(Debug, Clone)]
pub(crate) struct TlsSetup {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsSetup {
    pub(super) fn connect(&self) -> Result<TlsStream, Error> {
        let mut session = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        // Every write is taken out at once, so no limit is needed.
        session.set_buffer_limit(None);
        Ok(TlsStream(Box::new(session)))
    }
}

/// The TLS session of one connection.
#[derive(Debug)]
pub(super) struct TlsStream(Box<ClientConnection>);

impl TlsStream {
    /// Decrypts `octets` from the socket, and appends the result to `plain`.
    pub(super) fn receive(&mut self, mut octets: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        while !octets.is_empty() {
            self.0.read_tls(&mut octets).map_err(|error| error.to_string())?;
            self.0.process_new_packets().map_err(|error| explained(&error))?;
            match self.0.reader().read_to_end(plain) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Whether the TLS handshake is in progress.
    pub(super) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Encrypts `plain` and empties it; the octets for the socket are appended to `wire`.
    pub(super) fn send(&mut self, plain: &mut Vec<u8>, wire: &mut Vec<u8>) -> io::Result<()> {
        self.0.writer().write_all(plain)?;
        plain.clear();
        while self.0.wants_write() {
            self.0.write_tls(wire)?;
        }
        Ok(())
    }
}

/// The error as a sentence that says what to do.
fn explained(error: &Error) -> String {
    let advice = match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => {
                "its certificate is self-signed, or of an authority that this machine does not trust; --tls-insecure accepts it"
            }
            CertificateError::Other(_) => "its certificate is self-signed; --tls-insecure accepts it",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired; --tls-insecure accepts it"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; --tls-insecure accepts it"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name; --tls-insecure accepts it"
            }
            _ => return format!("its certificate is not valid ({error}); --tls-insecure accepts it"),
        },
        Error::InvalidMessage(_) => "the server does not speak TLS; use ws://",
        _ => return error.to_string(),
    };
    advice.to_owned()
}

/// Accepts every certificate, and still checks signatures.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
