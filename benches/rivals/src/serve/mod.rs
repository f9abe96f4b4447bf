//! The servers that are compared, in this one program: `rivals serve NAME MODE ADDRESS`.

mod fastwebsockets;
mod floor;
mod hub;
mod sockudo;
mod streams;
mod tungstenite;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};

/// What a server does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Send it back
    Echo,
    /// Send it to every connection, its sender too
    Fanout,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Fanout => "fanout",
        }
    }
}

/// A server of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Raw mio: the bytes that came, in one write per read; a fan-out coalesces what came in a tick
    Floor,
    /// fastwebsockets on tokio and hyper
    Fastwebsockets,
    /// sockudo-ws on tokio
    SockudoWs,
    /// tungstenite on tokio
    TokioTungstenite,
}

/// The longest message that a server must take, in bytes.
const MAX_MESSAGE: usize = 64 << 20;

/// With these a server speaks TLS, if it can.
#[derive(Debug, Args)]
pub(crate) struct Tls {
    /// The certificate in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Tls {
    /// What rustls makes of it by default.
    fn config(&self) -> Result<Option<Arc<ServerConfig>>, Box<dyn Error>> {
        let Some((certificate, key)) = self.tls_cert.as_ref().zip(self.tls_key.as_ref()) else {
            return Ok(None);
        };
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        Ok(Some(Arc::new(config)))
    }
}

/// Serves until it is killed.
pub(crate) fn serve(name: Name, mode: Mode, address: SocketAddr, tls: &Tls) -> Result<(), Box<dyn Error>> {
    let tls = tls.config()?;
    match name {
        Name::Floor => floor::serve(mode, address, tls)?,
        Name::TokioTungstenite => accept_all(address, tungstenite::Server::new(mode, tls))?,
        Name::Fastwebsockets | Name::SockudoWs if tls.is_some() => {
            return Err("this server speaks no TLS here".into());
        }
        Name::Fastwebsockets => accept_all(address, fastwebsockets::Server::new(mode))?,
        Name::SockudoWs => accept_all(address, sockudo::Server::new(mode))?,
    }
    Ok(())
}

/// What is done with an accepted connection, on its own task.
trait Serve: Clone + Send + 'static {
    fn serve(self, stream: TcpStream) -> impl Future<Output = ()> + Send;
}

/// The loop of every server on tokio, on one thread.
fn accept_all(address: SocketAddr, server: impl Serve) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener: TcpListener = listen(address)?.try_into()?;
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            };
            stream.set_nodelay(true)?;
            tokio::spawn(server.clone().serve(stream));
        }
    })
}

/// A listener with the backlog that the others have, too.
fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
