//! What lies between the loop and the sockets of the system.

use std::fmt;
use std::io;

use mio::net::TcpStream;

use super::Options;
use super::listen::Speaks;
use crate::reactor::Socket;

/// The kind of the sockets of a [`Server`](super::Server): [`Plain`](super::Plain) or [`Mixed`](super::Mixed).
///
/// It is a type, not a value: a server of plain listeners is compiled without a branch for the others.
pub trait Transport: Open {}

/// How a transport takes over the connections that were accepted. Nobody else implements it: it knows mio.
pub trait Open: Socket + Send + Sized {
    /// What all connections share.
    type Setup: Clone + Send + fmt::Debug;

    /// What the options ask for.
    ///
    /// # Errors
    /// When this transport cannot do that, or something is missing for it.
    fn setup(options: &Options) -> io::Result<Self::Setup>;

    /// A connection that was accepted.
    ///
    /// # Errors
    /// When it cannot be served.
    fn open(stream: TcpStream, speaks: Speaks, setup: &Self::Setup) -> io::Result<Self>;

    /// Whether there are files that SIGHUP has read again.
    fn rereads(setup: &Self::Setup) -> bool {
        let _ = setup;
        false
    }

    /// Reads files again, without holding up the loop.
    fn reread(setup: &Self::Setup) {
        let _ = setup;
    }

    /// Connections were accepted; at this time, in milliseconds since 1970-01-01 UTC.
    fn tend(setup: &Self::Setup, unix_ms: u64) {
        let _ = (setup, unix_ms);
    }

    /// What is registered with the event queue.
    fn source(&mut self) -> &mut TcpStream;
}
