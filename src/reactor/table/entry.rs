//! The table entry of one connection.

use crate::app::{CloseReason, SlowPolicy};
use crate::proto::{CloseCode, Connection, Encoding, Millis};
use crate::reactor::http::phase::HttpPhase;
use crate::reactor::input::inbound::Inbound;
use crate::reactor::output::outbound::Outbound;

/// How the TCP connection ends once everything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Send FIN, then linger: discard what arrives until the peer's FIN, so that no RST destroys our last octets.
    HalfClose,
    /// The FIN is sent; waiting for the peer's.
    Linger,
    /// Close the socket.
    Drop,
}

/// Where a connection is in its life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Before the upgrade.
    Http(Box<HttpPhase>),
    /// Messages go both ways, or the closing handshake is under way.
    Open(Connection),
    /// No event of it reaches the application any more; `until` the TCP connection must be gone.
    Ending {
        /// How.
        ending: Ending,
        /// When at the latest.
        until: Millis,
    },
}

/// Why the server began the closing handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalReason {
    Application(CloseCode),
    SlowConsumer,
    Shutdown(CloseCode),
}

impl From<LocalReason> for CloseReason {
    fn from(reason: LocalReason) -> Self {
        match reason {
            LocalReason::Application(code) => Self::Application(code),
            LocalReason::SlowConsumer => Self::SlowConsumer,
            LocalReason::Shutdown(code) => Self::Shutdown(code),
        }
    }
}

/// What the loop keeps of one connection, besides its socket.
#[derive(Debug)]
pub(crate) struct Entry {
    phase: Phase,
    /// What the output keeps of it.
    pub(crate) outbound: Outbound,
    /// What the input keeps of it.
    pub(crate) inbound: Inbound,
    generation: u32,
    local_reason: Option<LocalReason>,
}

impl Entry {
    pub(super) fn new(generation: u32, http: HttpPhase) -> Self {
        Self {
            phase: Phase::Http(Box::new(http)),
            outbound: Outbound::default(),
            inbound: Inbound::default(),
            generation,
            local_reason: None,
        }
    }

    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    #[inline]
    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(super) fn set_open(&mut self, connection: Connection) {
        debug_assert!(matches!(self.phase, Phase::Http(_)), "an upgrade in {:?}", self.phase);
        self.phase = Phase::Open(connection);
    }

    /// Returns what was open.
    pub(super) fn set_ending(&mut self, ending: Ending, until: Millis) -> Option<Connection> {
        match std::mem::replace(&mut self.phase, Phase::Ending { ending, until }) {
            Phase::Open(connection) => Some(connection),
            Phase::Http(_) | Phase::Ending { .. } => None,
        }
    }

    /// The TCP connection ends in another way than was meant at first.
    pub(crate) fn change_ending(&mut self, to: Ending) {
        if let Phase::Ending { ending, .. } = &mut self.phase {
            *ending = to;
        }
    }

    /// Notes why the closing handshake begins. `false`: it has begun before.
    pub(crate) fn begin_close(&mut self, reason: LocalReason) -> bool {
        self.local_reason.is_none() && {
            self.local_reason = Some(reason);
            true
        }
    }

    /// Why the server began the closing handshake, if it did.
    pub(crate) fn local_reason(&self) -> Option<LocalReason> {
        self.local_reason
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
    }

    #[inline]
    pub(crate) fn connection(&self) -> Option<&Connection> {
        if let Phase::Open(connection) = &self.phase { Some(connection) } else { None }
    }

    #[inline]
    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        if let Phase::Open(connection) = &mut self.phase { Some(connection) } else { None }
    }

    /// The connection, unless there is more to know about it before it is read: it is open, nothing waits to be written to
    /// it, and a read is like any other.
    #[inline]
    pub(crate) fn fast_path(&mut self) -> Option<&mut Connection> {
        if self.outbound.has_backlog() || !self.inbound.is_ordinary() {
            return None;
        }
        debug_assert!(!self.outbound.is_paused() || !self.is_open(), "not read although nothing waits");
        self.connection_mut()
    }

    pub(crate) fn http(&self) -> Option<&HttpPhase> {
        if let Phase::Http(http) = &self.phase { Some(http) } else { None }
    }

    /// When the request before an upgrade must be there.
    pub(crate) fn http_deadline(&self) -> Option<Millis> {
        self.http().map(HttpPhase::deadline)
    }

    pub(crate) fn http_mut(&mut self) -> Option<&mut HttpPhase> {
        if let Phase::Http(http) = &mut self.phase { Some(http) } else { None }
    }

    /// How messages to the peer are encoded.
    pub(crate) fn encoding(&self) -> Encoding {
        self.connection().map_or(Encoding::Plain, Connection::encoding)
    }

    /// How messages of a topic are encoded for the peer. What may be dropped must not be referred to by what comes after.
    pub(crate) fn encoding_under(&self, policy: SlowPolicy) -> Encoding {
        match self.encoding() {
            Encoding::Own if policy != SlowPolicy::Close => Encoding::Plain,
            encoding => encoding,
        }
    }

    /// When something is due for this connection. Its queue may wait for `max_queue_age` (0: no limit).
    pub(crate) fn deadline(&self, max_queue_age: Millis) -> Option<Millis> {
        let too_old = self.outbound.too_old_at(max_queue_age);
        self.phase_deadline().into_iter().chain(too_old).min()
    }

    /// When something is due in the connection's life.
    pub(crate) fn phase_deadline(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Http(http) => Some(http.deadline()),
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
