//! A listening socket that survives the want of descriptors without spinning.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::app::Entrance;
use crate::proto::Millis;

/// Connections that the kernel keeps until they are accepted.
const LISTEN_BACKLOG: i32 = 4096;
/// First and longest wait after the kernel had no descriptor or memory for a connection.
const RETRY_MS: std::ops::RangeInclusive<Millis> = 50..=1000;
/// The same complaint is logged at most this often.
const LOG_EVERY_MS: Millis = 1000;

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) entrance: Entrance,
    /// `None` once it is closed.
    socket: Option<TcpListener>,
    /// Connections may wait: `accept` has not said `WouldBlock` since the last event. Events are edge-triggered, so
    /// nothing but this remembers them.
    is_ready: bool,
    /// Not to be tried before.
    retry_at: Option<Millis>,
    backoff_ms: Millis,
    logged_at: Option<Millis>,
}

impl Listener {
    /// `only_v6`: an IPv6 address takes no IPv4 connections.
    pub(super) fn bind(
        address: SocketAddr,
        only_v6: bool,
        entrance: Entrance,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if only_v6 {
            socket.set_only_v6(true)?;
        }
        // RX-10: a restart must not wait for TIME_WAIT.
        socket.set_reuse_address(true)?;
        // Inherited by accepted sockets on Linux: one write per tick needs no help from Nagle.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self {
            entrance,
            socket: Some(listener),
            is_ready: true,
            retry_at: None,
            backoff_ms: *RETRY_MS.start(),
            logged_at: None,
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.as_ref().map_or(Err(io::ErrorKind::NotConnected.into()), TcpListener::local_addr)
    }

    /// Accepts no more: the kernel refuses who comes.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.is_ready = false;
    }

    pub(super) fn handle_ready(&mut self) {
        self.is_ready = self.socket.is_some();
    }

    /// Whether [`Self::accept`] may give a connection now.
    pub(super) fn is_ready(&self, now: Millis) -> bool {
        self.is_ready && self.retry_at.is_none_or(|at| at <= now)
    }

    pub(super) fn retry_at(&self) -> Option<Millis> {
        self.retry_at.filter(|_| self.is_ready)
    }

    /// The next connection, if one waits. Errors of a single connection are passed over; want of descriptors or
    /// memory pauses accepting for a while.
    pub(super) fn accept(&mut self, now: Millis) -> Option<(TcpStream, SocketAddr)> {
        if !self.is_ready(now) {
            return None;
        }
        let socket = self.socket.as_ref()?;
        match socket.accept() {
            Ok(accepted) => {
                self.retry_at = None;
                self.backoff_ms = *RETRY_MS.start();
                return Some(accepted);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_ready = false;
                self.retry_at = None;
            }
            // One connection that was reset before we came to it; the next one is tried in the next tick.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                ) => {}
            // EMFILE, ENFILE, ENOBUFS, ENOMEM and whatever else the kernel may say: trying at once would spin.
            Err(error) => {
                self.retry_at = Some(now + self.backoff_ms);
                self.backoff_ms = (self.backoff_ms * 2).min(*RETRY_MS.end());
                if self.logged_at.is_none_or(|at| at + LOG_EVERY_MS <= now) {
                    self.logged_at = Some(now);
                    tracing::warn!(%error, "cannot accept connections; trying again in a moment");
                }
            }
        }
        None
    }
}
