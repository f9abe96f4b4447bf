//! One connection of the fleet.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;
use switchboard::proto::Connection;
use switchboard::proto::client::ClientHandshake;

use super::tls::TlsStream;
use crate::clock::{Nanos, SECOND};

/// Buffers that are kept for the next socket that takes less than it is given.
const SPARE_BUFFERS: usize = 64;
/// A spare buffer holds no more than this, in bytes.
const MAX_SPARE: usize = 1024 * 1024;

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// TCP, TLS or the opening handshake is under way; boxed, for it is over soon.
    Opening(Box<Opening>),
    /// Messages go both ways, or the closing handshake is under way.
    Open(Connection),
}

/// An opening handshake until its deadline.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) handshake: ClientHandshake,
    pub(super) received: Vec<u8>,
    pub(super) planned: Nanos,
    pub(super) dialled: Nanos,
    pub(super) deadline: Nanos,
}

/// A connection that reads no more than it is allowed to.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: u64,
    /// What could have been read before this instant was, or is gone.
    paid_until: Nanos,
}

impl Throttle {
    pub(super) fn new(bytes_per_second: u64, now: Nanos) -> Self {
        Self { bytes_per_second, paid_until: now }
    }

    /// Bytes that may be read at `now`. What is not used within a second is gone.
    pub(super) fn allowance(&mut self, now: Nanos) -> usize {
        self.paid_until = self.paid_until.max(now.saturating_sub(SECOND));
        let saved = u128::from(now.saturating_sub(self.paid_until));
        (saved * u128::from(self.bytes_per_second) / u128::from(SECOND)) as usize
    }

    /// `count` bytes were read.
    pub(super) fn took(&mut self, count: usize) {
        self.paid_until += (count as u128 * u128::from(SECOND)).div_ceil(self.bytes_per_second.into()) as u64;
    }
}

/// A socket, and what it could not take yet.
///
/// An idle one is a few hundred bytes: what is read and written goes through buffers of the fleet's.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) stream: TcpStream,
    pub(super) stage: Stage,
    pub(super) tls: Option<TlsStream>,
    pub(super) throttle: Option<Box<Throttle>>,
    /// Octets that the socket did not take.
    pub(super) backlog: Vec<u8>,
    /// The socket was full when messages were due.
    pub(super) was_blocked: bool,
    /// We began the closing handshake.
    pub(super) is_closing: bool,
    /// The closing handshake is complete; the server is to end the TCP connection (RFC 6455 7.1.1).
    pub(super) is_closed: bool,
}

/// Buffers for sockets that take less than they are given: so that only the first one of them allocates.
#[derive(Debug, Default)]
pub(super) struct Spares(Vec<Vec<u8>>);

impl Spares {
    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < SPARE_BUFFERS && buffer.capacity() <= MAX_SPARE {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

impl Member {
    pub(super) fn new(stream: TcpStream, opening: Opening, tls: Option<TlsStream>) -> Self {
        Self {
            stream,
            stage: Stage::Opening(Box::new(opening)),
            tls,
            throttle: None,
            backlog: Vec::new(),
            was_blocked: false,
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
    fn write(&mut self, out: &mut Vec<u8>, spares: &mut Spares) -> io::Result<()> {
        if self.backlog.is_empty() {
            let taken = write_some(&mut self.stream, out)?;
            if taken < out.len() {
                self.backlog = spares.take();
                self.backlog.extend_from_slice(&out[taken..]);
            }
        } else {
            self.backlog.extend_from_slice(out);
        }
        out.clear();
        Ok(())
    }

    /// Encrypts `out` where that is agreed, and writes it; `wire` is for what is encrypted. Both are empty afterwards.
    /// Gives how many octets were for the socket.
    #[inline]
    pub(super) fn send(
        &mut self,
        out: &mut Vec<u8>,
        wire: &mut Vec<u8>,
        spares: &mut Spares,
    ) -> io::Result<u64> {
        let octets = match &mut self.tls {
            None => out,
            Some(tls) => {
                tls.send(out, wire)?;
                wire
            }
        };
        let count = octets.len() as u64;
        if count > 0 {
            self.write(octets, spares)?;
        }
        Ok(count)
    }

    /// Writes what is left of before.
    #[inline]
    pub(super) fn flush(&mut self, spares: &mut Spares) -> io::Result<()> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        self.was_blocked = true;
        let taken = write_some(&mut self.stream, &self.backlog)?;
        self.backlog.drain(..taken);
        if self.backlog.is_empty() {
            spares.give_back(std::mem::take(&mut self.backlog));
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_lets_its_rate_through_and_no_more() {
        let mut throttle = Throttle::new(1000, 0);
        let mut read = 0;
        for now in (0..=10 * SECOND).step_by(SECOND as usize / 100) {
            let allowed = throttle.allowance(now);
            throttle.took(allowed);
            read += allowed;
        }
        assert!((9_900..=10_000).contains(&read), "{read}");
        // Nothing is saved up in a pause.
        assert_eq!(throttle.allowance(100 * SECOND), 1000);
    }

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Member>() + 64 <= 400, "{}", size_of::<Member>());
    }
}
