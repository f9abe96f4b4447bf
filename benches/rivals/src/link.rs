//! A stream with or without TLS, for the generator and for the floor.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, ServerConfig, ServerConnection,
    SignatureScheme,
};

/// Octets that one read of the socket takes: a message of 64 KiB with its frame header, in records.
const INPUT_LEN: usize = 80 * 1024;

thread_local! {
    /// Where records arrive; nothing stays in it between two reads.
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; INPUT_LEN]);
}

/// What every client offers: one group and one cipher suite, so that every server does the same work. Browsers prefer this
/// suite, too. No session is resumed.
static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![kx_group::X25519];
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap_or_else(|error| unreachable!("the suite is one of TLS 1.3: {error}"));
    let verifier = Arc::new(AnyCertificate);
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
});

/// Where a server listens, and whether it speaks TLS there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) is_secure: bool,
}

/// A stream with or without TLS. The handshake goes on by itself while the link is read and written.
#[derive(Debug)]
pub(crate) enum Link<S> {
    Plain(S),
    Tls(Box<Session<S>>),
}

/// TLS on a socket.
pub(crate) struct Session<S> {
    socket: S,
    tls: Connection,
    /// Octets of the socket that wait because the reader's buffer was full.
    kept: Vec<u8>,
    /// The last read of the socket took as many octets as it could.
    is_ahead: bool,
}

impl<S: fmt::Debug> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Link<TcpStream> {
    /// Connects; with TLS, the handshake is still to come.
    pub(crate) fn connect(endpoint: Endpoint) -> io::Result<Self> {
        Self::client(TcpStream::connect(endpoint.address)?, endpoint.is_secure)
    }
}

impl<S> Link<S> {
    /// The client's end.
    pub(crate) fn client(socket: S, is_secure: bool) -> io::Result<Self> {
        if !is_secure {
            return Ok(Self::Plain(socket));
        }
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::clone(&CLIENT), name).map_err(io::Error::other)?;
        Ok(Self::secure(socket, tls.into()))
    }

    /// The server's end.
    pub(crate) fn server(socket: S, tls: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Self::secure(socket, tls.into()))
    }

    fn secure(socket: S, mut tls: Connection) -> Self {
        tls.set_buffer_limit(None);
        Self::Tls(Box::new(Session { socket, tls, kept: Vec::new(), is_ahead: false }))
    }

    pub(crate) fn socket(&self) -> &S {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(session) => &session.socket,
        }
    }

    pub(crate) fn socket_mut(&mut self) -> &mut S {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(session) => &mut session.socket,
        }
    }

    /// The same link over another kind of the same socket.
    pub(crate) fn map<T>(self, map: impl FnOnce(S) -> T) -> Link<T> {
        match self {
            Self::Plain(socket) => Link::Plain(map(socket)),
            Self::Tls(session) => {
                let Session { socket, tls, kept, is_ahead } = *session;
                Link::Tls(Box::new(Session { socket: map(socket), tls, kept, is_ahead }))
            }
        }
    }

    /// Whether a read that returned `len` of `room` octets may have left some.
    #[inline]
    pub(crate) fn has_more(&self, len: usize, room: usize) -> bool {
        match self {
            Self::Plain(_) => len == room,
            Self::Tls(session) => len == room || session.is_ahead,
        }
    }
}

impl<S: Write> Link<S> {
    /// Writes what is encrypted already; returns whether the socket took all of it.
    #[inline]
    pub(crate) fn flush_owed(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(session) => session.flush_owed(),
        }
    }
}

impl<S: Write> Session<S> {
    fn flush_owed(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Decrypts `octets` into `buffer`; returns how many octets were taken, and how many came of them.
fn decrypt(tls: &mut Connection, octets: &[u8], buffer: &mut [u8]) -> io::Result<(usize, usize)> {
    let mut rest = octets;
    let mut count = 0;
    loop {
        // rustls takes no more before what it holds is read.
        match tls.reader().read(&mut buffer[count..]) {
            Ok(len) => count += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if rest.is_empty() || count == buffer.len() {
            return Ok((octets.len() - rest.len(), count));
        }
        if tls.read_tls(&mut rest)? == 0 {
            // The peer said that this is the end.
            return Ok((octets.len() - rest.len(), count));
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}

impl<S: Read + Write> Read for Session<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let kept = std::mem::take(&mut self.kept);
        let (taken, mut count) = decrypt(&mut self.tls, &kept, buffer)?;
        self.kept.extend_from_slice(&kept[taken..]);
        while count == 0 {
            let len = INPUT.with_borrow_mut(|input| {
                let len = self.socket.read(input)?;
                self.is_ahead = len == input.len();
                let (taken, decrypted) = decrypt(&mut self.tls, &input[..len], buffer)?;
                self.kept.extend_from_slice(&input[taken..len]);
                count = decrypted;
                io::Result::Ok(len)
            })?;
            // What the handshake has to say.
            self.flush_owed()?;
            if len == 0 {
                return Ok(0);
            }
        }
        Ok(count)
    }
}

impl<S: Write> Write for Session<S> {
    /// Takes all octets, or none while the socket has not taken those before.
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if !self.flush_owed()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = self.tls.writer().write(octets)?;
        self.flush_owed()?;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_owed().map(drop)
    }
}

impl<S: Read + Write> Read for Link<S> {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(session) => session.read(buffer),
        }
    }
}

impl<S: Write> Write for Link<S> {
    #[inline]
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(octets),
            Self::Tls(session) => session.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(session) => session.flush(),
        }
    }
}

/// Takes every certificate: what a client does with it costs a server nothing.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
