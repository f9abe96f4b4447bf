//! The one deadline of a connection: Ping after silence, then Pong, then the closing handshake (RFC 6455 5.5.2, 7.1.1).

use super::Timeouts;

/// Milliseconds since an origin that the caller chose; never goes back.
pub type Millis = u64;

/// What [`super::Connection::handle_timeout`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// The deadline has moved on; nothing was due.
    NotDue,
    /// The peer was silent: a Ping was appended to the output.
    Pinged,
    /// No sign of life after the Ping: a Close (1011) was appended; drop the TCP connection once it is written.
    PongOverdue,
    /// A message was begun and not finished in time: a Close (1008) was appended; the connection has failed.
    MessageOverdue,
    /// The peer did not finish the closing handshake: drop the TCP connection.
    CloseOverdue,
}

/// What the connection waits for; as wide as its neighbour in [`Timer`], so that one store sets both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Awaits {
    Silence,
    Pong,
    Close,
}

/// Since when the connection waits, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer {
    since: Millis,
    /// For how long the peer had been silent at `since`.
    silent_ms: u32,
    awaits: Awaits,
}

impl Timer {
    pub(super) fn new(now: Millis) -> Self {
        Self { since: now, silent_ms: 0, awaits: Awaits::Silence }
    }

    /// Octets arrived: the peer lives. The close deadline is not moved by them.
    #[inline]
    pub(super) fn heard(&mut self, now: Millis) {
        if self.awaits != Awaits::Close {
            *self = Self { since: now, silent_ms: 0, awaits: Awaits::Silence };
        }
    }

    /// How long ago the last octets came. In the closing handshake those that come are not counted.
    pub(super) fn silent_ms(&self, now: Millis) -> Millis {
        now.saturating_sub(self.since) + Millis::from(self.silent_ms)
    }

    fn begin(&mut self, now: Millis, awaits: Awaits) {
        let silent_ms = u32::try_from(self.silent_ms(now)).unwrap_or(u32::MAX);
        *self = Self { since: now, silent_ms, awaits };
    }

    /// When the last octets came, or what came after them happened.
    pub(super) fn since(&self) -> Millis {
        self.since
    }

    pub(super) fn pinged(&mut self, now: Millis) {
        self.begin(now, Awaits::Pong);
    }

    /// A Close was sent; the first one starts the clock.
    pub(super) fn closing(&mut self, now: Millis) {
        if self.awaits != Awaits::Close {
            self.begin(now, Awaits::Close);
        }
    }

    /// The peer's Close was answered; it arrived when the peer was last heard.
    pub(super) fn closing_at_last_sign(&mut self) {
        self.awaits = Awaits::Close;
    }

    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<Millis> {
        let wait = match self.awaits {
            Awaits::Silence => timeouts.ping_ms,
            Awaits::Pong => timeouts.pong_ms,
            Awaits::Close => return Some(self.since + timeouts.close_ms),
        };
        (wait > 0).then(|| self.since + wait)
    }

    pub(super) fn due(&self, now: Millis, timeouts: &Timeouts) -> Timeout {
        match self.deadline(timeouts) {
            Some(deadline) if deadline <= now => match self.awaits {
                Awaits::Silence => Timeout::Pinged,
                Awaits::Pong => Timeout::PongOverdue,
                Awaits::Close => Timeout::CloseOverdue,
            },
            _ => Timeout::NotDue,
        }
    }
}
