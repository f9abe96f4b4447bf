//! Sockets of the system, as they are.

use std::io::{self, IoSlice};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::Options;
use super::listen::{Listen, Speaks};
use super::transport::{Open, Transport};
use crate::reactor::Socket;

/// A connected socket, and nothing between it and the loop.
#[derive(Debug)]
pub struct Plain(TcpStream);

impl Plain {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Linux hands TCP_NODELAY down from the listener.
        #[cfg(not(target_os = "linux"))]
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        Self(stream)
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.0
    }
}

impl Transport for Plain {}

impl Open for Plain {
    type Setup = ();

    fn setup(options: &Options) -> io::Result<()> {
        let is_plain = |listen: &Listen| listen.speaks == Speaks::default();
        match options.listen.iter().chain(&options.internal).find(|listen| !is_plain(listen)) {
            None => Ok(()),
            Some(listen) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{listen} is no plain listener: use Server::bind_mixed for TLS and the PROXY protocol"
                ),
            )),
        }
    }

    fn open(stream: TcpStream, _speaks: Speaks, (): &()) -> io::Result<Self> {
        Ok(Self::new(stream))
    }

    fn source(&mut self) -> &mut TcpStream {
        self.stream()
    }
}

#[expect(clippy::inline_always, reason = "nothing but a system call")]
impl Socket for Plain {
    #[inline(always)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        imp::read(&mut self.0, buffer)
    }

    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        imp::write(&mut self.0, bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        imp::write_vectored(&mut self.0, slices)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}

/// The system calls themselves: the C library's functions around them cost more than what they add, a cancellation point and
/// `errno`.
#[cfg(target_os = "linux")]
#[expect(clippy::inline_always, reason = "nothing but a system call")]
mod imp {
    use std::io::{self, IoSlice};

    use mio::net::TcpStream;
    use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};

    #[inline(always)]
    pub(super) fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = recv(stream, buffer, RecvFlags::empty())?;
        Ok(count)
    }

    #[inline(always)]
    pub(super) fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(stream, bytes, SendFlags::NOSIGNAL)?)
    }

    /// As `writev`, which raises SIGPIPE where the peer is gone: the action of that signal is the embedding process's.
    pub(super) fn write_vectored(stream: &mut TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io::{self, IoSlice, Read, Write};

    use mio::net::TcpStream;

    pub(super) fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer)
    }

    pub(super) fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        stream.write(bytes)
    }

    pub(super) fn write_vectored(stream: &mut TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        stream.write_vectored(slices)
    }
}
