//! The same tests over TLS: a bridge between a test, which speaks plain octets, and a server, which speaks TLS.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::Scratch;

/// With this variable the servers of the tests speak TLS, and the tests speak to them by a bridge.
const SWITCH: &str = "SWITCHBOARD_TEST_TLS";
/// A connection on which nothing moves is given up after this time.
const IDLE: Duration = Duration::from_secs(120);

/// A certificate in files, and clients that trust it.
pub(crate) struct Identity {
    pub(crate) certificate: Scratch,
    pub(crate) key: Scratch,
    pub(crate) client: Arc<ClientConfig>,
}

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::new(&["localhost", "127.0.0.1"]));

impl Identity {
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).unwrap();
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(issuer.der().to_vec())).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            certificate: Scratch::new("cert.pem", issuer.pem().as_bytes()),
            key: Scratch::new("key.pem", issuer.key().serialize_pem().as_bytes()),
            client: Arc::new(client),
        }
    }

    /// The flags that have a server show this certificate.
    pub(crate) fn flags(&self) -> [&str; 4] {
        ["--tls-cert", self.certificate.path(), "--tls-key", self.key.path()]
    }
}

/// Whether this run of the tests is the one over TLS.
pub(crate) fn is_on() -> bool {
    std::env::var_os(SWITCH).is_some()
}

/// The identity that all servers of such a run have.
pub(crate) fn identity() -> &'static Identity {
    &IDENTITY
}

/// Listens for plain connections, and takes each on to the server over TLS. It lives as long as the process.
pub(crate) fn bridge(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let Ok(near) = near else { return };
            let Ok(far) = TcpStream::connect(server) else { continue };
            let config = Arc::clone(&identity().client);
            std::thread::spawn(move || {
                let name = ServerName::try_from("localhost").unwrap();
                carry(&near, &far, ClientConnection::new(config, name).unwrap());
            });
        }
    });
    addr
}

/// Carries octets to and fro until both sides have ended. What the server ends, or breaks, ends so here.
fn carry(mut near: &TcpStream, mut far: &TcpStream, mut tls: ClientConnection) {
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let (mut to_near, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let (mut near_ended, mut far_ended) = (false, false);
    while !(far_ended && to_near.is_empty()) {
        // Back-pressure both ways: nothing is read that the other side does not take.
        let reads_near = !near_ended && !tls.wants_write();
        let reads_far = to_near.is_empty() && !far_ended;
        let flags = |reads: bool, writes: bool| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reads);
            flags.set(PollFlags::OUT, writes);
            flags
        };
        let mut fds = [
            PollFd::new(near, flags(reads_near, !to_near.is_empty())),
            PollFd::new(far, flags(reads_far, tls.wants_write())),
        ];
        let timeout = Timespec { tv_sec: IDLE.as_secs().cast_signed(), tv_nsec: 0 };
        if !matches!(poll(&mut fds, Some(&timeout)), Ok(1..)) {
            return;
        }
        if reads_near {
            match near.read(&mut buffer) {
                Ok(0) => {
                    near_ended = true;
                    tls.send_close_notify();
                }
                Ok(count) => tls.writer().write_all(&buffer[..count]).unwrap(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The test has reset the connection: so does the bridge, by leaving octets unread.
                Err(_) => return,
            }
        }
        while tls.wants_write() {
            match tls.write_tls(&mut far) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
        if near_ended && !tls.wants_write() {
            let _ = far.shutdown(Shutdown::Write);
        }
        if reads_far {
            match tls.read_tls(&mut far) {
                Ok(0) => far_ended = true,
                Ok(_) => {
                    let Ok(state) = tls.process_new_packets() else { return };
                    far_ended |= state.peer_has_closed();
                    let start = to_near.len();
                    to_near.resize(start + state.plaintext_bytes_to_read(), 0);
                    tls.reader().read_exact(&mut to_near[start..]).unwrap();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        while !to_near.is_empty() {
            match near.write(&to_near) {
                Ok(count) => drop(to_near.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
    }
    let _ = near.shutdown(Shutdown::Write);
    // Until the test ends its side, too.
    near.set_nonblocking(false).unwrap();
    near.set_read_timeout(Some(IDLE)).unwrap();
    while matches!(near.read(&mut buffer), Ok(1..)) {}
}
