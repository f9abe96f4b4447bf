//! `wss://`, against a server with rustls.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Answers, run, serve};

/// An echo server with a certificate of an unknown authority.
fn encrypted() -> SocketAddr {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("TLS");
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("TLS");
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").expect("TLS"));
    let address = listener.local_addr().expect("TLS");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let mut stream =
                    StreamOwned::new(ServerConnection::new(config).expect("TLS"), stream.expect("TLS"));
                // A client that refuses the certificate disconnects.
                if stream.conn.complete_io(&mut stream.sock).is_ok() {
                    serve(&Answers(|_, message, _: &mut Vec<_>| Some(vec![message])), stream);
                }
            });
        }
    });
    address
}

#[test]
fn messages_come_back_through_tls() {
    let port = encrypted().port();
    let url = format!("wss://localhost:{port}/");
    let options = "--tls-insecure --connections 3 --messages 30 --pipeline 4 --size 20-30000";
    let done = run("echo", &url, options);
    assert_eq!((done.status, done.count("answered"), done.count("closed")), (0, 90, 3), "{done:?}");
    assert_eq!((&done.json["asked"]["tls"], &done.json["tls_ns"]["count"]), (&true.into(), &3.into()));
}

#[test]
fn an_unknown_certificate_is_refused() {
    let url = format!("wss://localhost:{}/", encrypted().port());
    let done = run("echo", &url, "--connections 2 --messages 1");
    if done.text.contains("no root certificates") {
        // A machine without any says so before it connects.
        assert_eq!(done.status, 2, "{done:?}");
    } else {
        assert_eq!((done.status, done.count("opened"), done.failures("TLS")), (1, 0, 2), "{done:?}");
    }
}
