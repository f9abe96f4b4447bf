//! One connection of the fleet.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::SockRef;
use switchboard::proto::Connection;
use switchboard::proto::client::ClientHandshake;

use super::tls::TlsStream;
use crate::clock::{Nanos, SECOND};
use crate::output::record::OpeningSteps;

/// Limit on the buffers in the pool.
const POOLED_BUFFERS: usize = 64;
/// Larger buffers are freed instead of kept, in bytes.
const MAX_POOLED: usize = 1024 * 1024;

/// The server has sent something since the first write.
pub(super) const ANSWERED: Nanos = Nanos::MAX;

/// The stage of a connection.
#[derive(Debug)]
pub(super) enum Stage {
    /// TCP, TLS or the opening handshake is in progress. Boxed, so that an open connection is small.
    Opening(Box<Opening>),
    /// Messages go both ways, or the closing handshake is in progress.
    Open(Connection),
}

/// An opening handshake until its deadline.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) handshake: ClientHandshake,
    pub(super) received: Vec<u8>,
    pub(super) steps: OpeningSteps,
    pub(super) deadline: Nanos,
}

/// Limits the bytes that a connection reads per second.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: u64,
    /// The allowance up to this instant is used up or expired.
    paid_until: Nanos,
}

impl Throttle {
    pub(super) fn new(bytes_per_second: u64, now: Nanos) -> Self {
        Self { bytes_per_second, paid_until: now }
    }

    /// Bytes that may be read at `now`. An unused allowance expires after a second.
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

/// A socket, and the octets that it has not taken yet.
///
/// An idle connection takes a few hundred bytes: it reads and writes through the buffers of the loop.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) stream: TcpStream,
    pub(super) stage: Stage,
    /// The place of the server among the destinations of the plan.
    pub(super) server: u16,
    pub(super) tls: Option<TlsStream>,
    pub(super) throttle: Option<Box<Throttle>>,
    /// Octets that the socket has not taken; never empty. Boxed, so that an idle connection is small.
    pub(super) backlog: Option<Box<Backlog>>,
    /// The socket was full when messages were due.
    pub(super) was_blocked: bool,
    /// The instant of the first write after the opening handshake: 0 before it, [`ANSWERED`] after the first message behind it.
    pub(super) first_write: Nanos,
    /// The generator began the closing handshake.
    pub(super) is_closing: bool,
    /// The closing handshake is complete; the server must end the TCP connection (RFC 6455 7.1.1).
    pub(super) is_closed: bool,
}

/// Octets that a full socket has not taken.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    octets: Vec<u8>,
    /// The socket has taken this many of them.
    taken: usize,
}

/// Buffers for octets that a full socket does not take.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a box moves between the pool and a connection without an allocation")]
pub(super) struct BufferPool(Vec<Box<Backlog>>);

impl BufferPool {
    #[expect(clippy::unnecessary_box_returns, reason = "it is in the pool as a box")]
    fn take(&mut self) -> Box<Backlog> {
        self.0.pop().unwrap_or_default()
    }

    fn give_back(&mut self, mut backlog: Box<Backlog>) {
        if self.0.len() < POOLED_BUFFERS && backlog.octets.capacity() <= MAX_POOLED {
            backlog.octets.clear();
            backlog.taken = 0;
            self.0.push(backlog);
        }
    }
}

impl Member {
    pub(super) fn new(stream: TcpStream, opening: Opening, tls: Option<TlsStream>, server: u16) -> Self {
        Self {
            stream,
            stage: Stage::Opening(Box::new(opening)),
            server,
            tls,
            throttle: None,
            backlog: None,
            was_blocked: false,
            first_write: 0,
            is_closing: false,
            is_closed: false,
        }
    }

    /// Whether the socket has taken all octets.
    #[inline]
    pub(super) fn is_flushed(&self) -> bool {
        self.backlog.is_none()
    }

    /// Sends these octets before all others.
    pub(super) fn send_first(&mut self, octets: Vec<u8>) {
        debug_assert!(self.backlog.is_none(), "nothing has been sent");
        self.backlog = Some(Box::new(Backlog { octets, taken: 0 }));
    }

    /// The socket has taken the request at `now`: TCP is established.
    pub(super) fn connected(&mut self, now: Nanos) {
        if let Stage::Opening(opening) = &mut self.stage {
            opening.steps.connected.get_or_insert(now);
        }
    }

    /// Lets the connection end with an RST: as if the machine had failed, and without TIME-WAIT (RFC 9293 3.6.1).
    pub(super) fn abort(&self) {
        // If this fails, the connection ends with a FIN, which is nearly as good.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads once; `None`: the socket has nothing to read.
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

    /// Writes `out` after the backlog, and empties it. Octets that the socket does not take join the backlog.
    #[inline]
    fn write(&mut self, out: &mut Vec<u8>, pool: &mut BufferPool) -> io::Result<()> {
        if let Some(backlog) = &mut self.backlog {
            backlog.octets.extend_from_slice(out);
        } else {
            let taken = write_some(&mut self.stream, out)?;
            if taken < out.len() {
                let mut backlog = pool.take();
                backlog.octets.extend_from_slice(&out[taken..]);
                self.backlog = Some(backlog);
            }
        }
        out.clear();
        Ok(())
    }

    /// Encrypts `out` into `wire` if the connection has TLS, and writes it. Both buffers are empty afterwards. Returns the
    /// number of octets for the socket.
    #[inline]
    pub(super) fn send(
        &mut self,
        out: &mut Vec<u8>,
        wire: &mut Vec<u8>,
        pool: &mut BufferPool,
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
            self.write(octets, pool)?;
        }
        Ok(count)
    }

    /// Writes the backlog.
    #[inline]
    pub(super) fn flush(&mut self, pool: &mut BufferPool) -> io::Result<()> {
        let Some(backlog) = &mut self.backlog else { return Ok(()) };
        self.was_blocked = true;
        backlog.taken += write_some(&mut self.stream, &backlog.octets[backlog.taken..])?;
        if backlog.taken == backlog.octets.len()
            && let Some(backlog) = self.backlog.take()
        {
            pool.give_back(backlog);
        }
        Ok(())
    }
}

/// Writes until the socket takes no more. The event queue then reports when the socket has room.
#[inline]
fn write_some(stream: &mut TcpStream, octets: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < octets.len() {
        match stream.write(&octets[taken..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => taken += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A socket that is still connecting reports one of these two errors.
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
        // The connection boxes its masking-keys: 32 bytes in the heap.
        assert!(size_of::<Option<Member>>() + 32 <= 176, "{}", size_of::<Member>());
    }
}
