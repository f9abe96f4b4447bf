//! Certificates and keys as people have them: kinds, forms, and files that change.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};

use crate::support::tls::Identity;
use crate::support::{Scratch, Server, secs, text, upgrade_request, wait_until};
use crate::tls::{connect, get, only, start};

/// What `openssl` writes.
fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && !out.stdout.is_empty(), "openssl {args:?}");
    out.stdout
}

/// A certificate for localhost and its key, of a kind that `openssl req` knows.
fn made(kind: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let key = Scratch::new("key.pem", b"");
    let mut args =
        vec!["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key.path()];
    args.extend(["-addext", "subjectAltName=DNS:localhost", "-newkey"]);
    args.extend(kind);
    let certificate = openssl(&args, b"");
    (certificate, std::fs::read(key.path()).unwrap())
}

/// Whether a server takes these files and a client then gets an answer; what the server says otherwise.
fn serves(certificate: &[u8], key: &[u8], shown: &CertificateDer<'static>) -> Result<(), String> {
    let (certificate, key) = (Scratch::new("cert.pem", certificate), Scratch::new("key.pem", key));
    let flags = ["--tls-cert", certificate.path(), "--tls-key", key.path()];
    if let Some(said) = refusal(&flags) {
        return Err(said);
    }
    let server = start("echo", &flags);
    let mut stream =
        connect(server.addr, &only(shown.clone()), "localhost").map_err(|error| error.to_string())?;
    assert!(get(&mut stream, "/healthz").ends_with("ok\n"));
    Ok(())
}

/// What a server says that cannot start with these flags. `None`: it can. A listener that is none ends it in either case.
fn refusal(flags: &[&str]) -> Option<String> {
    let out = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["echo", "--tls-listen", "127.0.0.1:0", "--listen", "unix:/"])
        .args(flags)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (!said.contains("cannot listen on unix:/")).then_some(said)
}

#[test]
fn every_kind_of_key_that_certificates_have_is_taken() {
    for kind in [
        &["rsa:2048"][..],
        &["rsa:4096"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
        &["ed25519"],
    ] {
        let (certificate, key) = made(kind);
        let shown = CertificateDer::from_pem_slice(&certificate).unwrap();
        assert_eq!(serves(&certificate, &key, &shown), Ok(()), "{kind:?}");
    }
}

#[test]
fn keys_and_certificates_are_taken_in_the_forms_that_files_have() {
    let (rsa, rsa_key) = made(&["rsa:2048"]);
    let (ec, ec_key) = made(&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let [shown, shown_ec] = [&rsa, &ec].map(|pem| CertificateDer::from_pem_slice(pem).unwrap());
    // PKCS#1, and SEC 1 with its parameters before it, as `openssl ecparam -genkey` writes it.
    let pkcs1 = openssl(&["rsa", "-traditional"], &rsa_key);
    let sec1 = openssl(&["ec"], &ec_key);
    let parameters = openssl(&["ecparam", "-name", "prime256v1"], b"");
    assert!(pkcs1.starts_with(b"-----BEGIN RSA") && sec1.starts_with(b"-----BEGIN EC PRIVATE"));
    assert_eq!(serves(&rsa, &pkcs1, &shown), Ok(()));
    assert_eq!(serves(&ec, &sec1, &shown_ec), Ok(()));
    assert_eq!(serves(&ec, &[parameters, sec1].concat(), &shown_ec), Ok(()));

    let crlf = |pem: &[u8]| String::from_utf8_lossy(pem).replace('\n', "\r\n").into_bytes();
    let marked = |pem: &[u8]| [b"\xef\xbb\xbf", pem].concat();
    let with_text = openssl(&["x509", "-text"], &rsa);
    let latin_1 = [b"Stra\xdfe 1\n", &rsa[..]].concat();
    let spaces = String::from_utf8_lossy(&rsa).replace('\n', "  \n").into_bytes();
    let both = [&rsa[..], &rsa_key].concat();
    let key_first = [&rsa_key[..], &rsa].concat();
    for (what, certificate, key) in [
        ("CRLF", &crlf(&rsa), &crlf(&rsa_key)),
        ("a byte order mark", &marked(&rsa), &marked(&rsa_key)),
        ("no line end", &rsa.trim_ascii_end().to_vec(), &rsa_key.trim_ascii_end().to_vec()),
        ("text before it", &with_text, &rsa_key),
        ("what is no UTF-8 before it", &latin_1, &rsa_key),
        ("spaces at the end of lines", &spaces, &rsa_key),
        ("both in one file", &both, &both),
        ("both in one file, the key first", &key_first, &key_first),
    ] {
        assert_eq!(serves(certificate, key, &shown), Ok(()), "{what}");
    }
}

#[test]
fn what_cannot_be_used_is_said_in_a_sentence_without_octets_of_a_key() {
    let (rsa, key) = made(&["rsa:2048"]);
    let pkcs8 = openssl(&["pkcs8", "-topk8", "-passout", "pass:x"], &key);
    let pkcs1 = openssl(&["rsa", "-traditional", "-aes128", "-passout", "pass:x"], &key);
    let request = Scratch::new("key.pem", &key);
    let request = openssl(&["req", "-new", "-key", request.path(), "-subj", "/CN=localhost"], b"");
    let signer = Scratch::new("key.pem", &key);
    let version_1 = openssl(&["x509", "-req", "-signkey", signer.path(), "-days", "2"], &request);
    let der = openssl(&["x509", "-outform", "DER"], &rsa);
    let one_line: Vec<u8> = key.iter().copied().filter(|octet| *octet != b'\n').collect();
    let (authority, authority_key) = made(&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let other_order = [&authority[..], &rsa].concat();
    for (certificate, key, part) in [
        (&rsa, &pkcs8, "the key has a passphrase"),
        (&rsa, &pkcs1, "the key has a passphrase"),
        (&rsa, &one_line, "this is not PEM"),
        (&rsa, &authority_key, "does not belong to the certificate"),
        (&other_order, &key, "the first certificate of the file must be the server's own"),
        (&version_1, &key, "the certificate cannot be used: it is of X.509 version 1"),
        (&der, &key, "no certificate; the file must hold a `BEGIN CERTIFICATE` block"),
        (&rsa, &rsa, "no private key"),
    ] {
        let (certificate, key) = (Scratch::new("cert.pem", certificate), Scratch::new("key.pem", key));
        let said =
            refusal(&["--tls-cert", certificate.path(), "--tls-key", key.path()]).expect("it is taken");
        assert!(said.contains(part), "{said}");
        assert!(said.len() < 400, "{said}");
    }
}

/// The certificate that a server shows now is this one.
fn shows_now(server: &Server, identity: &Identity) -> bool {
    let shown = CertificateDer::from_pem_file(identity.certificate.path()).unwrap();
    connect(server.addr, &only(shown), "localhost").is_ok()
}

#[test]
fn files_behind_links_that_are_swapped_are_read_again() {
    let (before, after) = (Identity::new(&["localhost"]), Identity::new(&["localhost"]));
    // As Kubernetes mounts a secret: the files are links into a directory that is itself a link.
    let scratch = Scratch::new("x", b"");
    let directory = std::path::Path::new(scratch.path()).parent().unwrap();
    let version = |name: &str, identity: &Identity| {
        let version = directory.join(name);
        std::fs::create_dir(&version).unwrap();
        std::fs::copy(identity.certificate.path(), version.join("tls.crt")).unwrap();
        std::fs::copy(identity.key.path(), version.join("tls.key")).unwrap();
    };
    version("first", &before);
    std::os::unix::fs::symlink("first", directory.join("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), directory.join(file)).unwrap();
    }
    let path = |file: &str| directory.join(file).to_str().unwrap().to_owned();
    let (certificate, key) = (path("tls.crt"), path("tls.key"));
    let server = start("echo", &["--tls-cert", &certificate, "--tls-key", &key]);
    assert!(shows_now(&server, &before));
    version("second", &after);
    std::os::unix::fs::symlink("second", directory.join("..data_tmp")).unwrap();
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    server.signal("HUP");
    server.wait_for_log("the certificates were read again");
    assert!(shows_now(&server, &after) && !shows_now(&server, &before));
}

/// A connection that trusts both certificates: an echo, while others are opened.
fn visit(addr: SocketAddr, config: &Arc<ClientConfig>, round: usize) {
    let mut stream = connect(addr, config, "localhost").expect("a connection");
    stream.write_all(upgrade_request("/", "").as_bytes()).expect("a request");
    let message = format!("round {round}");
    stream.write_all(&text(&message)).expect("a message");
    let mut seen = Vec::new();
    while !seen.ends_with(message.as_bytes()) {
        let mut octets = [0; 500];
        let count = std::io::Read::read(&mut stream, &mut octets).expect("an answer");
        assert!(count > 0, "the connection ended: {seen:?}");
        seen.extend_from_slice(&octets[..count]);
    }
}

#[test]
fn tl_08_twenty_swaps_under_load_fail_no_connection() {
    const SWAPS: usize = 20;
    const THREADS: usize = 4;
    let identities = [Identity::new(&["localhost"]), Identity::new(&["localhost"])];
    let mut roots = RootCertStore::empty();
    for identity in &identities {
        roots.add(CertificateDer::from_pem_file(identity.certificate.path()).unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    // The files are replaced as certbot does it: each by a rename.
    let (certificate, key) = (Scratch::new("cert.pem", b""), Scratch::new("key.pem", b""));
    let replace = |identity: &Identity| {
        for (from, to) in [(&identity.certificate, &certificate), (&identity.key, &key)] {
            let fresh = format!("{}.new", to.path());
            std::fs::copy(from.path(), &fresh).unwrap();
            std::fs::rename(&fresh, to.path()).unwrap();
        }
    };
    replace(&identities[0]);
    let server = start("echo", &["--tls-cert", certificate.path(), "--tls-key", key.path()]);
    let (is_over, visits) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    visit(server.addr, &config, visits.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
        for swap in 1..=SWAPS {
            replace(&identities[swap % 2]);
            server.signal("HUP");
            let read = || server.log().iter().filter(|line| line.contains("were read again")).count();
            wait_until(secs(20), "the swap", || read() == swap);
            // Each certificate is shown to some.
            let before = visits.load(Ordering::Relaxed);
            wait_until(secs(20), "visits", || visits.load(Ordering::Relaxed) >= before + 3 * THREADS);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(visits.into_inner() >= SWAPS * 3 * THREADS);
    assert!(!server.log().iter().any(|line| line.contains("stay as they were")), "{:?}", server.log());
}

/// A client's configuration with a chain of certificates of its own.
fn client_with(server: &Identity, chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.certificate.path()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    Arc::new(config.unwrap())
}

fn as_authority() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

#[test]
fn tl_13_a_client_with_a_certificate_shows_it_each_time() {
    let identity = Identity::new(&["localhost"]);
    let root = CertifiedIssuer::self_signed(as_authority(), KeyPair::generate().unwrap()).unwrap();
    let mut params = as_authority();
    params.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
    let intermediate = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
    let file = Scratch::new("ca.pem", root.pem().as_bytes());
    let flags = [&identity.flags()[..], &["--tls-client-ca", file.path()]].concat();
    let server = start("echo", &flags);
    let (key, der) = (KeyPair::generate().unwrap(), |der: &[u8]| CertificateDer::from(der.to_vec()));
    let issued = |years: std::ops::Range<i32>| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        der(params.signed_by(&key, &intermediate).unwrap().der())
    };
    let chain = vec![issued(2000..4000), der(intermediate.der())];
    let config = client_with(&identity, chain, &key);
    for _ in 0..3 {
        let mut stream = connect(server.addr, &config, "localhost").unwrap();
        assert!(get(&mut stream, "/healthz").ends_with("ok\n"));
        assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Full), "a ticket let it in");
    }
    // Without the intermediate there is no way to the authority; and an old certificate is none.
    let old = vec![issued(2000..2010), der(intermediate.der())];
    for chain in [vec![issued(2000..4000)], old] {
        let refused = connect(server.addr, &client_with(&identity, chain, &key), "localhost");
        let answer = refused.and_then(|mut stream| {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            std::io::Read::read(&mut stream, &mut [0; 100])
        });
        let error = answer.expect_err("it came in").to_string();
        assert!(error.contains("ertificate") || error.contains("UnknownCA"), "no alert: {error}");
    }
}
