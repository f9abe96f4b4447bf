//! Sockets of a server whose listeners are not all plain.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::Options;
use super::introduced::Introduced;
use super::listen::Speaks;
use super::transport::{Open, Transport};
use crate::app::Security;
use crate::reactor::{Handshake, Socket};
#[cfg(feature = "tls")]
use crate::tls::{Tls, TlsStream};

#[cfg(feature = "tls")]
type Inner = TlsStream<Introduced>;
#[cfg(not(feature = "tls"))]
type Inner = Introduced;

/// A connected socket, and what its listener has between it and the loop: TLS, the PROXY protocol, or nothing.
#[derive(Debug)]
pub struct Mixed(Inner);

impl Transport for Mixed {}

#[cfg(feature = "tls")]
impl Open for Mixed {
    type Setup = Option<Tls>;

    fn setup(options: &Options) -> io::Result<Self::Setup> {
        let mut all = options.listen.iter().chain(&options.internal);
        match all.find(|listen| listen.speaks.tls) {
            Some(listen) if options.tls.is_none() => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{listen} speaks TLS, and Options::tls has no certificate for it"),
            )),
            Some(_) => {
                let tls = options.tls.clone();
                tls.iter().for_each(Tls::warm_up);
                Ok(tls)
            }
            None => Ok(None),
        }
    }

    fn open(stream: TcpStream, speaks: Speaks, tls: &Option<Tls>) -> io::Result<Self> {
        let socket = Introduced::new(stream, speaks.proxy_protocol);
        Ok(Self(match tls {
            Some(tls) if speaks.tls => TlsStream::accept(socket, tls)?,
            _ => TlsStream::plain(socket),
        }))
    }

    fn rereads(tls: &Option<Tls>) -> bool {
        tls.is_some()
    }

    /// A thread of its own that ends at once: the files may be on a slow disk, and with one thread system calls are cheaper.
    fn reread(tls: &Option<Tls>) {
        let Some(tls) = tls.clone() else { return };
        let reload = move || match tls.reload() {
            Ok(()) => tracing::info!("the certificates were read again"),
            Err(error) => tracing::error!("the certificates stay as they were: {error}"),
        };
        if let Err(error) = std::thread::Builder::new().name("tls-reload".into()).spawn(reload) {
            tracing::error!(%error, "the certificates could not be read again");
        }
    }

    fn tend(tls: &Option<Tls>, unix_ms: u64) {
        if let Some(tls) = tls {
            tls.warn_of_expiry((unix_ms / 1000).cast_signed());
        }
    }

    fn source(&mut self) -> &mut TcpStream {
        self.0.get_mut().stream()
    }
}

#[cfg(not(feature = "tls"))]
impl Open for Mixed {
    type Setup = ();

    fn setup(options: &Options) -> io::Result<()> {
        let mut all = options.listen.iter().chain(&options.internal);
        match all.find(|listen| listen.speaks.tls) {
            Some(listen) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{listen} speaks TLS, which this build has not: turn the feature `tls` on"),
            )),
            None => Ok(()),
        }
    }

    fn open(stream: TcpStream, speaks: Speaks, (): &()) -> io::Result<Self> {
        Ok(Self(Introduced::new(stream, speaks.proxy_protocol)))
    }

    fn source(&mut self) -> &mut TcpStream {
        self.0.stream()
    }
}

impl Socket for Mixed {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown_write()
    }

    #[inline]
    fn holds_input(&self) -> bool {
        self.0.holds_input()
    }

    #[inline]
    fn owes_output(&self) -> bool {
        self.0.owes_output()
    }

    fn write_owed(&mut self) -> io::Result<()> {
        self.0.write_owed()
    }

    fn handshake(&self) -> Handshake {
        self.0.handshake()
    }

    fn introduced(&self) -> Option<SocketAddr> {
        self.0.introduced()
    }

    fn security(&self) -> Option<Security> {
        self.0.security()
    }
}
