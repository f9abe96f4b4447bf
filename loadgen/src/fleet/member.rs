//! One connection of the fleet.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;
use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::{Connection, Limits};

use crate::clock::Nanos;

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// TCP or the opening handshake is under way; boxed, for it is over soon.
    Opening(Box<Opening>),
    /// Messages go both ways, or the closing handshake is under way.
    Open(Connection),
}

/// An opening handshake until its deadline.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) handshake: ClientHandshake,
    pub(super) received: Vec<u8>,
    pub(super) deadline: Nanos,
}

/// A socket, what it could not take yet, and what the scenario keeps for it.
///
/// An idle one is a few hundred bytes: what is read and written goes through buffers of the fleet's.
#[derive(Debug)]
pub(super) struct Member<L> {
    pub(super) stream: TcpStream,
    pub(super) stage: Stage,
    pub(super) lane: L,
    /// Octets that the socket did not take.
    backlog: Vec<u8>,
    /// We began the closing handshake.
    pub(super) is_closing: bool,
    /// The closing handshake is complete; the server is to end the TCP connection (RFC 6455 7.1.1).
    pub(super) is_closed: bool,
}

/// What came of a look at a response head.
pub(super) enum Answer {
    /// It is incomplete.
    Partial,
    /// The connection is open; these octets stood behind the head.
    Accepted(Vec<u8>),
    /// The server erred or refused: the name of the failure.
    Refused(String),
}

impl<L> Member<L> {
    pub(super) fn new(stream: TcpStream, opening: Opening, request: &mut Vec<u8>, lane: L) -> Self {
        Self {
            stream,
            stage: Stage::Opening(Box::new(opening)),
            lane,
            backlog: std::mem::take(request),
            is_closing: false,
            is_closed: false,
        }
    }

    /// Whether everything went out.
    #[inline]
    pub(super) fn is_flushed(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Reads once; `None` when nothing is there.
    #[inline]
    pub(super) fn read(&mut self, input: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.read(input) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes `out` behind what is left of before, and empties it; what the socket does not take is kept.
    #[inline]
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.backlog.is_empty() {
            let taken = write_some(&mut self.stream, out)?;
            if taken < out.len() {
                self.backlog.extend_from_slice(&out[taken..]);
            }
        } else {
            self.backlog.extend_from_slice(out);
        }
        out.clear();
        Ok(())
    }

    /// Writes what is left of before.
    #[inline]
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.backlog.is_empty() {
            let taken = write_some(&mut self.stream, &self.backlog)?;
            self.backlog.drain(..taken);
        }
        Ok(())
    }

    /// Looks at more of the response to the opening handshake.
    pub(super) fn answer(&mut self, octets: &[u8], request: &ClientRequest<'_>, limits: &Limits) -> Answer {
        let Stage::Opening(opening) = &mut self.stage else { return Answer::Partial };
        opening.received.extend_from_slice(octets);
        match opening.handshake.receive(&opening.received, request, limits) {
            Ok(None) => Answer::Partial,
            Ok(Some(agreement)) => {
                // RFC 6455 4.1: who offers none may not be given one; whether one must be chosen is the
                // server's affair.
                Answer::Accepted(opening.received.split_off(agreement.head_len))
            }
            Err(error) => Answer::Refused(format!("opening handshake: {error}")),
        }
    }
}

/// Writes until the socket takes no more. After a short write the event queue says when to go on.
#[inline]
fn write_some(stream: &mut TcpStream, octets: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < octets.len() {
        match stream.write(&octets[taken..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => taken += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The socket of a connection under way says so in one of two ways.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
