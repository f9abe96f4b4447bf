//! TLS on the server's own port: certificates, their life, and who may come.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};

use switchboard::app::{Application, ConnId, Context, Message, Request, Response, Verdict};
use switchboard::net::{Listen, Options};
use switchboard::tls::{Files, Tls};

use crate::support::tls::Identity;
use crate::support::{Client, Launch, SOON, Scratch, Server, secs, text, upgrade_request, wait_until};

pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A server that speaks nothing but TLS.
pub(crate) fn start(command: &str, flags: &[&str]) -> Server {
    let mut args = vec![command, "--tls-listen", "127.0.0.1:0"];
    if command == "serve" {
        args.push("--ephemeral");
    }
    args.extend(flags);
    Launch::program(env!("CARGO_BIN_EXE_switchboard").into(), "Server running at https://")
        .args(&args)
        .start_as_it_is()
}

pub(crate) fn connect(addr: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<Secure> {
    let socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(SOON))?;
    let client = ClientConnection::new(Arc::clone(config), ServerName::try_from(name.to_owned()).unwrap());
    let mut stream = StreamOwned::new(client.map_err(std::io::Error::other)?, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// The whole answer to a request, which ends the connection.
fn ask(stream: &mut Secure, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // The end must be told by close_notify: without it, this is an error.
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

pub(crate) fn get(stream: &mut Secure, path: &str) -> String {
    ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// Whether the certificate that is shown for this name is the identity's.
fn shows(server: &Server, identity: &Identity, name: &str) -> bool {
    let shown = CertificateDer::from_pem_file(identity.certificate.path()).unwrap();
    connect(server.addr, &only(shown), name).is_ok()
}

/// A client that takes this certificate and no other, whatever its names.
pub(crate) fn only(shown: CertificateDer<'static>) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(shown)))
        .with_no_client_auth();
    Arc::new(config)
}

/// Takes one certificate, whatever its names.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl rustls::client::danger::ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        if **shown == *self.0 {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another certificate".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn a_page_and_a_connection_come_over_tls() {
    let identity = Identity::new(&["localhost"]);
    let server = start("serve", &identity.flags());
    let mut stream = connect(server.addr, &identity.client, "localhost").unwrap();
    assert!(get(&mut stream, "/").starts_with("HTTP/1.1 200 "));
    assert_eq!(stream.conn.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));

    let server = start("echo", &identity.flags());
    let mut stream = connect(server.addr, &identity.client, "localhost").unwrap();
    stream.write_all(upgrade_request("/", "Origin: https://localhost\r\n").as_bytes()).unwrap();
    stream.write_all(&text("over TLS")).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\x81\x08over TLS") {
        let mut octets = [0; 1000];
        let count = stream.read(&mut octets).unwrap();
        assert!(count > 0, "{answer:?}");
        answer.extend_from_slice(&octets[..count]);
    }
}

#[test]
fn both_versions_are_spoken_and_http_1_is_agreed_on() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    for only in [&version::TLS12, &version::TLS13] {
        let roots = CertificateDer::from_pem_file(identity.certificate.path()).unwrap();
        let mut store = RootCertStore::empty();
        store.add(roots).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[only])
            .unwrap()
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        for resumed in [false, true] {
            let mut stream = connect(server.addr, &config, "localhost").unwrap();
            assert_eq!(stream.conn.protocol_version(), Some(only.version));
            assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert!(get(&mut stream, "/healthz").ends_with("ok\n"));
            let kind = stream.conn.handshake_kind();
            assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), resumed, "{only:?} {kind:?}");
        }
        // Nobody speaks HTTP/2 here.
        let mut config = (*config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        assert!(connect(server.addr, &Arc::new(config), "localhost").is_err());
    }
    let metrics = get(&mut connect(server.addr, &identity.client, "localhost").unwrap(), "/metrics");
    for line in [
        "switchboard_tls_handshakes_total{version=\"1.2\",resumed=\"no\"} 1\n",
        "switchboard_tls_handshakes_total{version=\"1.2\",resumed=\"yes\"} 1\n",
        "switchboard_tls_handshakes_total{version=\"1.3\",resumed=\"yes\"} 1\n",
        "switchboard_tls_failed_handshakes_total{cause=\"protocol\"} 2\n",
        "switchboard_tls_certificate_expiry_timestamp_seconds{certificate=\"0\",name=\"localhost\"} ",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let measured = metrics
        .lines()
        .find_map(|line| line.strip_prefix("switchboard_tls_handshake_duration_seconds_count "));
    assert!(measured.is_some_and(|count| count.parse::<u32>().unwrap() >= 4), "{metrics}");
}

#[test]
fn openssl_shakes_hands_with_each_version_and_with_no_older_one() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    for (flag, works) in [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false)] {
        let mut client = Command::new("openssl")
            .args(["s_client", "-connect", &server.addr.to_string(), "-CAfile", identity.certificate.path()])
            .args([flag, "-verify_return_error", "-verify_hostname", "localhost", "-quiet", "-ign_eof"])
            .args(["-cipher", "DEFAULT:@SECLEVEL=0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let _ = client.stdin.take().unwrap().write_all(request);
        let out = client.wait_with_output().unwrap();
        let answer = String::from_utf8_lossy(&out.stdout);
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), works, "{flag}: {answer}");
    }
}

#[test]
fn tl_02_a_client_that_wants_to_negotiate_again_is_refused() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &server.addr.to_string(), "-CAfile", identity.certificate.path()])
        .args(["-tls1_2", "-legacy_renegotiation", "-no_ign_eof"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.as_mut().unwrap().write_all(b"R\n").unwrap();
    let out = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation") || said.contains("alert"), "{said}");
    let mut stream = connect(server.addr, &identity.client, "localhost").unwrap();
    assert!(get(&mut stream, "/healthz").ends_with("ok\n"));
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let first = Identity::new(&["first.example"]);
    let wild = Identity::new(&["*.example.org"]);
    let exact = Identity::new(&["chat.example.org", "example.org"]);
    let flags: Vec<&str> = [&first, &wild, &exact].iter().flat_map(|identity| identity.flags()).collect();
    let server = start("echo", &flags);
    for (name, identity) in [
        ("first.example", &first),
        ("chat.example.org", &exact),
        ("CHAT.example.ORG", &exact),
        ("example.org", &exact),
        ("other.example.org", &wild),
        ("a.b.example.org", &first),
        ("unknown.example", &first),
        ("127.0.0.1", &first),
    ] {
        assert!(shows(&server, identity, name), "{name}");
    }
}

#[test]
fn tl_08_sighup_swaps_certificates_and_a_broken_one_changes_nothing() {
    let (before, after) = (Identity::new(&["localhost"]), Identity::new(&["localhost"]));
    let server = start("echo", &[&before.flags()[..], &["--threads", "4"]].concat());
    let mut open = connect(server.addr, &before.client, "localhost").unwrap();
    open.write_all(upgrade_request("/", "").as_bytes()).unwrap();

    std::fs::copy(after.certificate.path(), before.certificate.path()).unwrap();
    server.signal("HUP");
    server.wait_for_log("the certificates stay as they were");
    let kept = server.log().iter().any(|line| line.contains("does not belong to the certificate"));
    assert!(kept, "{:?}", server.log());
    assert!(connect(server.addr, &before.client, "localhost").is_ok());

    std::fs::copy(after.key.path(), before.key.path()).unwrap();
    server.signal("HUP");
    server.wait_for_log("the certificates were read again");
    // On each of the loops.
    for _ in 0..24 {
        assert!(connect(server.addr, &before.client, "localhost").is_err(), "the old one is shown");
    }
    let mut stream = connect(server.addr, &after.client, "localhost").unwrap();
    let metrics = get(&mut stream, "/metrics");
    assert!(metrics.contains("switchboard_tls_reloads_total{result=\"done\"} 1\n"), "{metrics}");
    assert!(metrics.contains("switchboard_tls_reloads_total{result=\"failed\"} 1\n"), "{metrics}");

    open.write_all(&text("still here")).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"still here") {
        let mut octets = [0; 500];
        let count = open.read(&mut octets).unwrap();
        assert!(count > 0, "the connection did not outlive the swap");
        seen.extend_from_slice(&octets[..count]);
    }
}

/// A certificate of an authority, and its key.
fn issued(
    authority: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (CertificateDer::from(certificate.der().to_vec()), private)
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn with_an_authority_for_clients_only_theirs_come_in() {
    let identity = Identity::new(&["localhost"]);
    let (ours, theirs) = (authority(), authority());
    let file = Scratch::new("ca.pem", ours.pem().as_bytes());
    let mut flags = identity.flags().to_vec();
    flags.extend(["--tls-client-ca", file.path()]);
    let server = start("echo", &flags);
    let with = |client: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>| {
        let root = CertificateDer::from_pem_file(identity.certificate.path()).unwrap();
        let mut store = RootCertStore::empty();
        store.add(root).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(store);
        Arc::new(match client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        })
    };
    let mut stream = connect(server.addr, &with(Some(issued(&ours, "backend"))), "localhost").unwrap();
    assert!(get(&mut stream, "/healthz").ends_with("ok\n"));
    for refused in [None, Some(issued(&theirs, "stranger"))] {
        // In TLS 1.3 the client learns of it with its first read.
        let answer = connect(server.addr, &with(refused), "localhost").and_then(|mut stream| {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            stream.read(&mut [0; 100])
        });
        let error = answer.expect_err("it came in").to_string();
        assert!(error.contains("alert") || error.contains("ertificate"), "no alert: {error}");
    }
    let mut stream = connect(server.addr, &with(Some(issued(&ours, "monitor"))), "localhost").unwrap();
    let metrics = get(&mut stream, "/metrics");
    let line = "switchboard_tls_failed_handshakes_total{cause=\"certificate\"} 2\n";
    assert!(metrics.contains(line), "{metrics}");
}

/// Answers with what it is told of TLS.
struct Facts;

impl Application for Facts {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, _: &mut C, request: &Request<'_>) -> Verdict {
        let security = request.security.as_ref().unwrap();
        let client = security.client.as_ref().unwrap();
        assert!(request.is_secure() && !client.der.is_empty() && security.cipher_suite.starts_with("TLS13_"));
        let name = security.server_name.as_deref().unwrap_or_default();
        Verdict::Respond(Response::text(200, format!("{} {name} {}", security.version, client.subject)))
    }

    fn on_message<C: Context>(&mut self, _: &mut C, _: ConnId, _: Message<'_>) {}
}

#[test]
fn the_application_learns_who_the_client_is() {
    let identity = Identity::new(&["localhost"]);
    let ours = authority();
    let file = Scratch::new("ca.pem", ours.pem().as_bytes());
    let files = Files::pair(identity.certificate.path(), identity.key.path())
        .with(|it| it.client_ca = Some(file.path().into()));
    let listen = Listen::tcp(([127, 0, 0, 1], 0).into()).tls();
    let options = Options::listen_on(vec![listen]).with(|it| it.tls = Some(Tls::read(files).unwrap()));
    let server = switchboard::net::Server::bind_mixed(options, Facts).unwrap();
    let (addr, handle) = (server.local_addrs().unwrap()[0], server.handle());
    let running = std::thread::spawn(move || server.run());

    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(identity.certificate.path()).unwrap()).unwrap();
    let (certificate, key) = issued(&ours, "backend");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    let answer = get(&mut connect(addr, &Arc::new(config), "localhost").unwrap(), "/");
    assert!(answer.contains("TLSv1.3 localhost ") && answer.contains("CN=backend"), "{answer}");
    assert!(handle.shutdown());
    running.join().unwrap().unwrap();
}

#[test]
fn tl_10_a_request_without_tls_is_told_so() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    let mut client = Client::connect(server.addr);
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status, head.field("connection")), (400, Some("close")));
}

#[test]
fn http_is_redirected_to_https() {
    let identity = Identity::new(&["localhost"]);
    let (tls, plain) = (free_port(), free_port());
    let (tls_at, plain_at) = (format!("127.0.0.1:{tls}"), format!("127.0.0.1:{plain}"));
    let mut args = vec!["serve", "--ephemeral", "--tls-listen", &tls_at, "--redirect-listen", &plain_at];
    args.extend(identity.flags());
    let server = Launch::program(env!("CARGO_BIN_EXE_switchboard").into(), "Redirecting http://")
        .args(&args)
        .start_as_it_is();
    let ask = |request: &str| {
        let mut client = Client::connect(server.addr);
        client.send(request.as_bytes());
        let head = client.head();
        (head.status, head.field("location").map(str::to_owned))
    };
    for (line, host, location) in [
        ("GET /a/b?c=d&e HTTP/1.1", "localhost", Some(format!("https://localhost:{tls}/a/b?c=d&e"))),
        ("POST /api/v1 HTTP/1.1", "LocalHost:80", Some(format!("https://localhost:{tls}/api/v1"))),
        ("GET http://localhost/x HTTP/1.1", "localhost", Some(format!("https://localhost:{tls}/x"))),
        ("GET /metrics HTTP/1.1", "[::1]:8080", Some(format!("https://[::1]:{tls}/metrics"))),
        ("GET / HTTP/1.1", "", None),
    ] {
        let (status, got) = ask(&format!("{line}\r\nHost: {host}\r\n\r\n"));
        assert_eq!((status, got), (if location.is_some() { 308 } else { 421 }, location), "{line}");
    }
    // An upgrade goes there as well, and a host that is not the server's goes nowhere.
    let (status, location) = ask(&upgrade_request("/chat", ""));
    assert_eq!((status, location), (308, Some(format!("https://localhost:{tls}/chat"))));
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").0, 421);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_certificate_for_trying_out_is_one_command_away() {
    let directory = Scratch::new("empty", b"");
    let directory = std::path::Path::new(directory.path()).parent().unwrap();
    let make = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["tls", "make-cert"])
            .args(args)
            .current_dir(directory)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), text)
    };
    let (code, said) = make(&["chat.test"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("switchboard --tls-listen 127.0.0.1:8443 --tls-cert cert.pem --tls-key key.pem"));
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, said) = make(&[]);
    assert!(code == Some(2) && said.contains("--force"), "{said}");
    assert_eq!(make(&["--force"]).0, Some(0));
    assert_eq!(make(&["--force", "chat.test"]).0, Some(0));

    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let server = start("serve", &["--tls-cert", certificate, "--tls-key", key]);
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    let config = Arc::new(config);
    for name in ["localhost", "127.0.0.1", "chat.test"] {
        assert!(connect(server.addr, &config, name).is_ok(), "{name}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_in_a_sentence() {
    let (good, other) = (Identity::new(&["localhost"]), Identity::new(&["localhost"]));
    let nothing = Scratch::new("nothing.pem", b"no certificate\n");
    let torn = Scratch::new("torn.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n");
    let (cert, key) = (good.certificate.path(), good.key.path());
    for (flags, part) in [
        (&["--tls-cert", cert, "--tls-key", other.key.path()][..], "does not belong to the certificate"),
        (&["--tls-cert", nothing.path(), "--tls-key", key], "no certificate"),
        (&["--tls-cert", torn.path(), "--tls-key", key], "this is not PEM"),
        (&["--tls-cert", cert, "--tls-key", nothing.path()], "no private key"),
        (&["--tls-cert", cert, "--tls-key", "/nowhere.pem"], "/nowhere.pem: "),
        (&["--tls-cert", cert, "--tls-cert", cert, "--tls-key", key], "2 certificates and 1 keys"),
        (&["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", nothing.path()], "no certificate"),
        (&["--tls-cert", cert], "--tls-key"),
        (&[], "--tls-cert"),
        (
            &["--redirect-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key],
            "--redirect-listen needs",
        ),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["echo", "--tls-listen", "127.0.0.1:0"])
            .args(flags)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{flags:?}: {said}");
        assert!(said.contains(part), "{flags:?}: {said}");
    }
}

#[test]
fn a_certificate_that_no_listener_shows_is_an_error() {
    let identity = Identity::new(&["localhost"]);
    let out = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["echo", "--listen", "127.0.0.1:0"])
        .args(identity.flags())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("--tls-cert needs a listener that speaks TLS"), "{said}");
}

#[test]
fn tl_05_a_storm_of_handshakes_ends_and_all_are_served() {
    let identity = Identity::new(&["localhost"]);
    let server = start("echo", &identity.flags());
    let mut all = Vec::new();
    for _ in 0..4 {
        let (addr, client) = (server.addr, Arc::clone(&identity.client));
        all.push(std::thread::spawn(move || {
            (0..50)
                .filter(|_| {
                    let mut stream = connect(addr, &client, "localhost").unwrap();
                    get(&mut stream, "/healthz").ends_with("ok\n")
                })
                .count()
        }));
    }
    let count: usize = all.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(count, 200);
    wait_until(secs(10), "all are gone", || {
        let metrics = get(&mut connect(server.addr, &identity.client, "localhost").unwrap(), "/metrics");
        metrics.contains("switchboard_connections 1\n")
    });
}

#[test]
fn px_05_the_header_of_a_proxy_comes_before_tls() {
    let identity = Identity::new(&["localhost"]);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = address.to_string();
    let flags = [&identity.flags()[..], &["--tls-proxy-protocol", &listen]].concat();
    let server = start("serve", &flags);
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n";
    for cut in [1, header.len() - 1, header.len()] {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::clone(&identity.client), name).unwrap();
        socket.write_all(&header[..cut]).unwrap();
        socket.write_all(&header[cut..]).unwrap();
        let mut stream = StreamOwned::new(client, socket);
        let request = upgrade_request("/ws", "").replace("Version: 13", "Version: 12");
        assert!(ask(&mut stream, &request).starts_with("HTTP/1.1 426 "));
    }
    assert!(server.wait_for_log("upgrade refused").contains("peer=192.0.2.7:50000"));
    // TLS without a header is no way in.
    assert!(connect(address, &identity.client, "localhost").is_err());
}
