//! The table entry of one connection.

use super::backlog::Backlog;
use super::body::Pending;
use super::outbox::Chain;
use super::topics::Membership;
use crate::app::{CloseReason, Entrance, SlowPolicy};
use crate::proto::head::HeadScanner;
use crate::proto::{Connection, Encoding, Millis};

/// The part of a connection's life before the upgrade.
#[derive(Debug)]
pub(super) struct HttpPhase {
    pub(super) entrance: Entrance,
    /// What arrived of a head that is not complete.
    pub(super) buffer: Vec<u8>,
    pub(super) scanner: HeadScanner,
    /// The head must be complete by then, or have begun where the connection is kept alive; bytes that arrive do not move it.
    pub(super) deadline: Millis,
    /// A request whose body has not arrived whole.
    pub(super) pending: Option<Box<Pending>>,
    /// A request that the application has and has not answered.
    pub(super) awaited: Option<Awaited>,
    /// `buffer` may hold whole requests, which wait until the peer has read the answers to earlier ones.
    pub(super) is_deferred: bool,
    /// Requests answered so far.
    pub(super) requests: u32,
    /// A request was answered, and nothing of the next one has arrived.
    pub(super) is_kept_alive: bool,
}

/// What is to be known of a request when it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Awaited {
    /// It is a HEAD.
    pub(super) head_only: bool,
    /// The connection ends with the answer.
    pub(super) closes: bool,
}

/// How the TCP connection ends once everything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Send FIN, then linger: discard what arrives until the peer's FIN, so that no RST destroys our last octets.
    HalfClose,
    /// The FIN is sent; waiting for the peer's.
    Linger,
    /// Close the socket.
    Drop,
}

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    Http(Box<HttpPhase>),
    Open(Connection),
    /// No event of it reaches the application any more; `until` the TCP connection must be gone.
    Ending {
        ending: Ending,
        until: Millis,
    },
}

/// What the loop keeps per connection, besides its socket.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) generation: u32,
    pub(super) phase: Phase,
    /// What this tick queued for it alone.
    pub(super) chain: Chain,
    /// What earlier ticks could not write.
    pub(super) backlog: Option<Box<Backlog>>,
    pub(super) memberships: Vec<Membership>,
    /// Why we began the closing handshake.
    pub(super) local_reason: Option<Box<CloseReason>>,
    /// What is kept of an unfinished message, in bytes (4 GiB at most), as counted in the loop's total.
    pub(super) unfinished: u32,
    pub(super) flags: Flags,
}

/// Marks of an entry, each set in one place.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Flags {
    /// Not read, because too much waits to be written.
    pub(super) paused: bool,
    /// Input of it waits for the next tick.
    pub(super) holds: bool,
    /// The peer's FIN is known to be in the receive queue.
    pub(super) read_closed: bool,
    /// In the middle of a message that is no small one: the next read may bring more than others.
    pub(super) bulk: bool,
    /// In the list of connections to be flushed.
    pub(super) dirty: bool,
    /// This tick's batches need filtering or sorting for it.
    pub(super) special: bool,
    /// In the list of connections to be read again without a new event.
    pub(super) resumes: bool,
}

impl Flags {
    /// Nothing stands against a simple read.
    #[inline]
    fn flows(self) -> bool {
        // Neighbours, so that this is one comparison.
        u32::from_ne_bytes([self.paused, self.holds, self.read_closed, self.bulk].map(u8::from)) == 0
    }
}

impl Entry {
    /// An open connection about which there is nothing to know before it is read.
    #[inline]
    pub(super) fn is_flowing(&self) -> bool {
        self.backlog.is_none() && self.flags.flows() && matches!(self.phase, Phase::Open(_))
    }

    pub(super) fn backlog_len(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.len())
    }

    /// How messages to the peer are encoded.
    pub(super) fn encoding(&self) -> Encoding {
        match &self.phase {
            Phase::Open(connection) => connection.encoding(),
            _ => Encoding::Plain,
        }
    }

    /// How messages of a topic are encoded for the peer. What may be dropped must not be referred to by what comes after.
    pub(super) fn encoding_under(&self, policy: SlowPolicy) -> Encoding {
        match self.encoding() {
            Encoding::Own if policy != SlowPolicy::Close => Encoding::Plain,
            encoding => encoding,
        }
    }

    /// When something is due for this connection. What waits for it may do so for `max_queue_age` (0: for ever).
    pub(super) fn deadline(&self, max_queue_age: Millis) -> Option<Millis> {
        let too_old = self.too_old_at(max_queue_age);
        self.phase_deadline().into_iter().chain(too_old).min()
    }

    /// When the first of what waits has waited for too long.
    pub(super) fn too_old_at(&self, max_queue_age: Millis) -> Option<Millis> {
        let oldest = self.backlog.as_ref().filter(|_| max_queue_age > 0)?.oldest()?;
        Some(oldest + max_queue_age)
    }

    /// When something is due in the connection's life.
    pub(super) fn phase_deadline(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Http(http) => Some(http.deadline),
            Phase::Open(connection) => connection.next_timeout(),
            Phase::Ending { until, .. } => Some(*until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the vacancy mark of the slab, the socket, the peer's address and the link of the timing wheel: under 200 bytes.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Entry>() <= 160, "{}", size_of::<Entry>());
    }
}
