//! The servers that are compared, in this one program: `rivals serve NAME MODE ADDRESS`.

mod fastwebsockets;
mod floor;
mod hub;
mod sockudo;
mod streams;
mod tungstenite;

use std::io;
use std::net::SocketAddr;

use clap::ValueEnum;
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

/// Serves until it is killed.
pub(crate) fn serve(name: Name, mode: Mode, address: SocketAddr) -> io::Result<()> {
    match name {
        Name::Floor => floor::serve(mode, address),
        Name::Fastwebsockets => accept_all(address, fastwebsockets::Server::new(mode)),
        Name::SockudoWs => accept_all(address, sockudo::Server::new(mode)),
        Name::TokioTungstenite => accept_all(address, tungstenite::Server::new(mode)),
    }
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
