//! The one deadline of a connection: a Ping on schedule, then its Pong, then the closing handshake (RFC 6455 5.5.2, 7.1.1).

use super::Timeouts;

/// Milliseconds since an origin that the caller chose; never goes back.
pub type Millis = u64;

/// What [`super::Connection::handle_timeout`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// The deadline has moved on; nothing was due.
    NotDue,
    /// A Ping was appended to the output.
    Pinged,
    /// No sign of life after the Ping: a Close (1011) was appended; drop the TCP connection once it is written.
    PongOverdue,
    /// A message was begun and not finished in time: a Close (1008) was appended; the connection has failed.
    MessageOverdue,
    /// The peer did not finish the closing handshake: drop the TCP connection.
    CloseOverdue,
}

/// What the connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// The next Ping is due, [`Timeouts::ping_ms`] after the instant.
    Slot,
    /// The Pong to the Ping that was sent at the instant.
    Pong,
    /// The end of the closing handshake, which began at the instant.
    Close,
}

/// When the peer was last heard, and what is waited for since when.
///
/// Pings go out on a schedule, whether or not the peer talks, and at most one of them is unanswered: a peer that only listens for
/// Pings is alive as long as they come. Any octets are a sign of life; a Pong besides opens the way for the next Ping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer {
    /// When octets last came; those that come in the closing handshake are not counted.
    heard: Millis,
    /// The instant, with [`Awaits`] in its two lowest bits: a timer is part of every connection.
    state: u64,
}

impl Timer {
    pub(super) fn new(now: Millis) -> Self {
        Self { heard: now, state: packed(now, Awaits::Slot) }
    }

    /// Octets arrived: the peer lives. The close deadline is not moved by them.
    #[inline]
    pub(super) fn heard(&mut self, now: Millis) {
        if self.state & 3 != Awaits::Close as u64 {
            self.heard = now;
        }
    }

    /// A Pong came at `now`. `true`: it answers a Ping, and the deadline may be earlier than it was.
    pub(super) fn ponged(&mut self, now: Millis, timeouts: &Timeouts) -> bool {
        if self.awaits() != Awaits::Pong {
            return false;
        }
        // The schedule goes on where it would be, had the Pong come at once.
        let slots = (now - self.since()).checked_div(timeouts.ping_ms).unwrap_or(0);
        self.state = packed(self.since() + slots * timeouts.ping_ms, Awaits::Slot);
        true
    }

    /// How long ago the last octets came.
    pub(super) fn silent_ms(&self, now: Millis) -> Millis {
        now.saturating_sub(self.heard)
    }

    /// When the last octets came.
    pub(super) fn last_heard(&self) -> Millis {
        self.heard
    }

    pub(super) fn pinged(&mut self, now: Millis) {
        self.state = packed(now, Awaits::Pong);
    }

    /// A Close was sent; the first one starts the clock.
    pub(super) fn closing(&mut self, now: Millis) {
        if self.awaits() != Awaits::Close {
            self.state = packed(now, Awaits::Close);
        }
    }

    /// The peer's Close was answered; it arrived when the peer was last heard.
    pub(super) fn closing_at_last_sign(&mut self) {
        self.state = packed(self.heard, Awaits::Close);
    }

    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<Millis> {
        let wait = match self.awaits() {
            Awaits::Slot => timeouts.ping_ms,
            Awaits::Pong => timeouts.pong_ms,
            Awaits::Close => return Some(self.since() + timeouts.close_ms),
        };
        (wait > 0).then(|| self.since() + wait)
    }

    pub(super) fn due(&self, now: Millis, timeouts: &Timeouts) -> Timeout {
        match self.deadline(timeouts) {
            Some(deadline) if deadline <= now => match self.awaits() {
                Awaits::Slot => Timeout::Pinged,
                // The peer talks and does not answer Pings.
                Awaits::Pong if self.heard > self.since() => {
                    if timeouts.ping_ms > 0 {
                        Timeout::Pinged
                    } else {
                        Timeout::NotDue
                    }
                }
                Awaits::Pong => Timeout::PongOverdue,
                Awaits::Close => Timeout::CloseOverdue,
            },
            _ => Timeout::NotDue,
        }
    }

    fn since(&self) -> Millis {
        self.state >> 2
    }

    fn awaits(&self) -> Awaits {
        match self.state & 3 {
            0 => Awaits::Slot,
            1 => Awaits::Pong,
            _ => Awaits::Close,
        }
    }
}

fn packed(since: Millis, awaits: Awaits) -> u64 {
    since << 2 | awaits as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeouts(ping_ms: Millis, patience: Millis) -> Timeouts {
        Timeouts { ping_ms, pong_ms: patience, ..Timeouts::default() }
    }

    /// When Pings go out until `end` and how it ends, if the peer answers each Ping `answer` later and sends something else at the
    /// instants `talks`.
    fn pings(
        timeouts: &Timeouts,
        end: Millis,
        answer: Option<Millis>,
        talks: &[Millis],
    ) -> (Vec<Millis>, Timeout) {
        let mut timer = Timer::new(0);
        let (mut sent, mut pong_at) = (Vec::new(), None);
        for now in 1..=end {
            if talks.contains(&now) {
                timer.heard(now);
            }
            if pong_at == Some(now) {
                timer.heard(now);
                assert!(timer.ponged(now, timeouts));
            }
            match timer.due(now, timeouts) {
                Timeout::NotDue => {}
                Timeout::Pinged => {
                    sent.push(now);
                    timer.pinged(now);
                    pong_at = answer.map(|answer| now + answer);
                }
                other => return (sent, other),
            }
        }
        (sent, Timeout::NotDue)
    }

    #[test]
    fn pings_keep_to_their_interval_whatever_the_pong_timeout() {
        for pong_ms in [0, 5, 10, 50] {
            let timeouts = timeouts(10, pong_ms);
            assert_eq!(
                pings(&timeouts, 50, Some(1), &[]),
                (vec![10, 20, 30, 40, 50], Timeout::NotDue),
                "{pong_ms}"
            );
        }
    }

    #[test]
    fn a_peer_that_talks_is_pinged_all_the_same() {
        let talks: Vec<_> = (1..50).collect();
        assert_eq!(pings(&timeouts(10, 10), 40, Some(2), &talks).0, [10, 20, 30, 40]);
    }

    #[test]
    fn at_most_one_ping_is_unanswered() {
        // A late answer: the next Ping keeps to the schedule behind it.
        assert_eq!(pings(&timeouts(10, 100), 50, Some(15), &[]).0, [10, 30, 50]);
        // No answer, but signs of life: the Pong timeout ends the wait for the answer, not the connection.
        let talks: Vec<_> = (1..60).collect();
        assert_eq!(pings(&timeouts(10, 20), 55, None, &talks), (vec![10, 30, 50], Timeout::NotDue));
        assert_eq!(pings(&timeouts(10, 0), 55, None, &talks), (vec![10], Timeout::NotDue));
    }

    #[test]
    fn silence_after_a_ping_ends_the_connection() {
        assert_eq!(pings(&timeouts(10, 5), 50, None, &[3]), (vec![10], Timeout::PongOverdue));
        assert_eq!(pings(&timeouts(10, 35), 50, None, &[]), (vec![10], Timeout::PongOverdue));
        assert_eq!(pings(&timeouts(0, 5), 50, None, &[]), (vec![], Timeout::NotDue));
        assert_eq!(pings(&timeouts(10, 0), 50, None, &[]), (vec![10], Timeout::NotDue));
    }
}
