//! Sockets on which a proxy says first for whom it connects.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::Plain;
use crate::proto::ProxyHeader;
use crate::reactor::Socket;

/// A socket, and the header of the PROXY protocol that is to come first, if it is to come. What is above never sees the header.
#[derive(Debug)]
pub(super) struct Introduced {
    socket: Plain,
    /// The header, until it is whole.
    header: Option<Box<ProxyHeader>>,
    peer: Option<SocketAddr>,
    /// The socket may have more than the last read took.
    is_ahead: bool,
}

impl Introduced {
    /// `has_header`: the header of the PROXY protocol comes first.
    pub(super) fn new(stream: TcpStream, has_header: bool) -> Self {
        let header = has_header.then(Box::default);
        Self { socket: Plain::new(stream), header, peer: None, is_ahead: false }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        self.socket.stream()
    }

    /// Reads until the header is whole; returns the octets behind it.
    #[cold]
    fn read_header(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(header) = &mut self.header {
            let count = self.socket.read(buffer)?;
            if count == 0 {
                return Ok(0);
            }
            let is_ahead = count == buffer.len();
            match header.receive(&buffer[..count]) {
                Ok(None) if is_ahead => {}
                Ok(None) => return Err(io::ErrorKind::WouldBlock.into()),
                Ok(Some((taken, introduction))) => {
                    self.peer = introduction.peer;
                    self.header = None;
                    if taken < count {
                        self.is_ahead = is_ahead;
                        buffer.copy_within(taken..count, 0);
                        return Ok(count - taken);
                    }
                    if !is_ahead {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
            }
        }
        self.socket.read(buffer)
    }
}

impl Socket for Introduced {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.is_ahead = false;
        if self.header.is_some() { self.read_header(buffer) } else { self.socket.read(buffer) }
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.write_vectored(slices)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    #[inline]
    fn holds_input(&self) -> bool {
        self.is_ahead
    }

    fn introduced(&self) -> Option<SocketAddr> {
        self.peer
    }
}
