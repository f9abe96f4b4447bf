//! The first handshake of a process, with nobody.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use super::config::{Shared, take_server_name};

/// Has a server answer a client in memory: it draws random numbers, agrees on a key, and signs. The client trusts nobody, so
/// more than that does not come of it.
pub(super) fn shake_hands(shared: &Shared) {
    if let Err(error) = hello(shared) {
        tracing::debug!(%error, "the first handshake will be slow");
    }
    take_server_name();
}

fn hello(shared: &Shared) -> Result<(), Box<dyn std::error::Error>> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
    let mut server = ServerConnection::new(shared.current())?;
    let mut octets = Vec::new();
    client.write_tls(&mut octets)?;
    server.read_tls(&mut octets.as_slice())?;
    server.process_new_packets()?;
    Ok(())
}
