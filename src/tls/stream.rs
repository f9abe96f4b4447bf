//! A socket that may speak TLS.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use super::Tls;
use super::session::Session;
use crate::app::Security;
use crate::reactor::{Handshake, Socket};

/// A socket, and the TLS connection on it if there is one.
#[derive(Debug)]
pub struct TlsStream<S: Socket> {
    socket: S,
    session: Option<Box<Session>>,
}

impl<S: Socket> TlsStream<S> {
    /// A connection that has just been accepted, for the server's side.
    ///
    /// # Errors
    /// When rustls does not take the configuration.
    pub fn accept(socket: S, tls: &Tls) -> io::Result<Self> {
        let session = Session::new(tls.shared()).map_err(io::Error::other)?;
        Ok(Self { socket, session: Some(Box::new(session)) })
    }

    /// A connection without TLS.
    pub fn plain(socket: S) -> Self {
        Self { socket, session: None }
    }

    /// The socket below.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

impl<S: Socket> Drop for TlsStream<S> {
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            session.abandon(&mut self.socket);
        }
    }
}

impl<S: Socket> Socket for TlsStream<S> {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.read(buffer),
            Some(session) => session.read(&mut self.socket, buffer),
        }
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.write(bytes),
            Some(session) => session.write(&mut self.socket, &[IoSlice::new(bytes)]),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.write_vectored(slices),
            Some(session) => session.write(&mut self.socket, slices),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match &mut self.session {
            None => self.socket.shutdown_write(),
            Some(session) => session.shutdown_write(&mut self.socket),
        }
    }

    #[inline]
    fn holds_input(&self) -> bool {
        match &self.session {
            None => self.socket.holds_input(),
            Some(session) => session.holds_input(),
        }
    }

    #[inline]
    fn owes_output(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.owes_output())
    }

    fn write_owed(&mut self) -> io::Result<()> {
        match &mut self.session {
            None => Ok(()),
            Some(session) => session.flush_owed(&mut self.socket),
        }
    }

    fn handshake(&self) -> Handshake {
        self.session.as_ref().map_or(Handshake::Done, |session| session.progress())
    }

    fn introduced(&self) -> Option<SocketAddr> {
        self.socket.introduced()
    }

    fn security(&self) -> Option<Security> {
        self.session.as_ref()?.security()
    }
}
