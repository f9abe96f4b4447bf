//! What a loop counts. Plain numbers that only grow, but for the few that say what is at the moment.

use super::{CloseKind, Refused, SlowPolicy};

/// What a loop has done since it began, and what it holds now; from [`Context::stats`](super::Context::stats).
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// TCP connections now.
    pub connections: usize,
    /// Upgraded connections now.
    pub open: usize,
    /// TCP connections ever accepted.
    pub accepted: u64,
    /// What became of upgrades.
    pub upgrades: Upgrades,
    /// Requests that the application turned away, by reason.
    pub refusals: Refusals,
    /// What became of plain requests, and of what was to be one.
    pub requests: Requests,
    /// Headers of the PROXY protocol.
    pub proxy_headers: ProxyHeaders,
    /// How long handshakes below HTTP took that were completed, from the connection on.
    pub handshakes: Durations,
    /// Upgraded connections that ended, by reason.
    pub closes: Closes,
    /// Times that the application has paused the input ([`Context::pause_input`](super::Context::pause_input)).
    pub input_pauses: u64,
    /// Messages that arrived (the pieces of a streamed message count once, with the last).
    pub messages_in: u64,
    /// Messages that the application queued, once for each receiver.
    pub messages_out: u64,
    /// Octets that sockets gave.
    pub bytes_in: u64,
    /// Octets that sockets took.
    pub bytes_out: u64,
    /// Bytes that wait for slow readers now; what several wait for is counted once.
    pub queued_bytes: usize,
    /// Connections for which something waits now.
    pub queued_connections: usize,
    /// Messages that were dropped for slow readers, by the policy that dropped them.
    pub dropped: Dropped,
    /// How long ticks took, of those that were measured.
    pub ticks: Durations,
    /// From the begin of a measured tick in which something was published until all of it was handed to the sockets: how
    /// long a message waits for a reader that keeps up, at most.
    pub publish_tick: Durations,
    /// How long what did not fit a socket at once waited until the socket took it.
    pub publish_backlog: Durations,
}

/// Upgrades by result. All but the first were answered with an HTTP error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upgrades {
    /// 101.
    pub accepted: u64,
    /// The request breaks RFC 6455 4.2.1.
    pub invalid: u64,
    /// The application answered with something else than a 101.
    pub refused: u64,
    /// Too many connections, or too much waits for slow readers.
    pub no_room: u64,
    /// The server stops.
    pub draining: u64,
}

/// Plain requests by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// The application answered.
    pub answered: u64,
    /// No HTTP, or above a limit.
    pub malformed: u64,
    /// The request did not arrive in time.
    pub overdue: u64,
    /// The application did not answer in time.
    pub unanswered: u64,
    /// Refused at the door: too many connections from one address.
    pub crowded: u64,
    /// Refused at the door: too many new connections in a second.
    pub hurried: u64,
}

/// Headers of the PROXY protocol by result. Connections that ended before their header was whole are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHeaders {
    /// The header said for whom the proxy connects, and the first octets of HTTP followed.
    pub accepted: u64,
    /// The same, but the peer is none of the trusted proxies.
    pub untrusted: u64,
    /// The connection began with something else.
    pub missing: u64,
    /// The header was too long, or not well-formed.
    pub malformed: u64,
}

/// Ends of upgraded connections, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closes([u64; CloseKind::ALL.len()]);

impl Stats {
    /// Adds what another loop of the process has counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            connections,
            open,
            accepted,
            upgrades,
            refusals,
            requests,
            closes,
            input_pauses,
            messages_in,
            messages_out,
            bytes_in,
            bytes_out,
            queued_bytes,
            queued_connections,
            dropped,
            ticks,
            publish_tick,
            publish_backlog,
            proxy_headers,
            handshakes,
        } = other;
        self.connections += connections;
        self.open += open;
        self.accepted += accepted;
        self.upgrades.add(upgrades);
        add_each(&mut self.refusals.0, &refusals.0);
        self.requests.add(requests);
        add_each(&mut self.closes.0, &closes.0);
        self.input_pauses += input_pauses;
        self.messages_in += messages_in;
        self.messages_out += messages_out;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        self.queued_bytes += queued_bytes;
        self.queued_connections += queued_connections;
        self.dropped.add(dropped);
        self.ticks.add(ticks);
        self.publish_tick.add(publish_tick);
        self.publish_backlog.add(publish_backlog);
        self.proxy_headers.add(proxy_headers);
        self.handshakes.add(handshakes);
    }
}

fn add_each<const N: usize>(sums: &mut [u64; N], others: &[u64; N]) {
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}

impl Upgrades {
    fn add(&mut self, other: &Self) {
        let Self { accepted, invalid, refused, no_room, draining } = other;
        self.accepted += accepted;
        self.invalid += invalid;
        self.refused += refused;
        self.no_room += no_room;
        self.draining += draining;
    }
}

impl ProxyHeaders {
    fn add(&mut self, other: &Self) {
        let Self { accepted, untrusted, missing, malformed } = other;
        self.accepted += accepted;
        self.untrusted += untrusted;
        self.missing += missing;
        self.malformed += malformed;
    }
}

impl Requests {
    fn add(&mut self, other: &Self) {
        let Self { answered, malformed, overdue, unanswered, crowded, hurried } = other;
        self.answered += answered;
        self.malformed += malformed;
        self.overdue += overdue;
        self.unanswered += unanswered;
        self.crowded += crowded;
        self.hurried += hurried;
    }
}

impl Closes {
    /// Ends of one kind.
    #[must_use]
    pub fn of(&self, kind: CloseKind) -> u64 {
        self.0[kind as usize]
    }

    pub(crate) fn count(&mut self, kind: CloseKind) {
        self.0[kind as usize] += 1;
    }
}

/// Messages that were dropped, once for each receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// [`SlowPolicy::Close`]: what was published when the connection was already to be closed.
    pub close: u64,
    /// [`SlowPolicy::DropOldest`].
    pub oldest: u64,
    /// [`SlowPolicy::DropNewest`].
    pub newest: u64,
    /// [`SlowPolicy::Conflate`].
    pub conflate: u64,
}

/// Requests that the application turned away, upgrades and others, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals([u64; Refused::ALL.len()]);

impl Refusals {
    /// Requests that were turned away for one reason.
    #[must_use]
    pub fn of(&self, reason: Refused) -> u64 {
        self.0[reason as usize]
    }

    pub(crate) fn count(&mut self, reason: Refused) {
        self.0[reason as usize] += 1;
    }
}

impl Dropped {
    fn add(&mut self, other: &Self) {
        let Self { close, oldest, newest, conflate } = other;
        self.close += close;
        self.oldest += oldest;
        self.newest += newest;
        self.conflate += conflate;
    }

    pub(crate) fn count(&mut self, policy: SlowPolicy, messages: u64) {
        *match policy {
            SlowPolicy::Close => &mut self.close,
            SlowPolicy::DropOldest => &mut self.oldest,
            SlowPolicy::DropNewest => &mut self.newest,
            SlowPolicy::Conflate => &mut self.conflate,
        } += messages;
    }
}

/// Durations in classes that double: the first holds those up to 1 microsecond, the last but one those up to 67 seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many fell into each class.
    pub classes: [u64; Self::CLASSES],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Durations {
    /// Classes, the one without an upper bound included.
    pub const CLASSES: usize = 28;

    /// Notes one.
    pub fn note(&mut self, us: u64) {
        let class = (u64::BITS - us.saturating_sub(1).leading_zeros()) as usize;
        self.classes[class.min(Self::CLASSES - 1)] += 1;
        self.sum_us += us;
    }

    /// Adds those of another loop.
    fn add(&mut self, other: &Self) {
        add_each(&mut self.classes, &other.classes);
        self.sum_us += other.sum_us;
    }

    /// The longest duration of a class in microseconds, both ends included; `None` for the last class.
    #[must_use]
    pub fn bound_us(class: usize) -> Option<u64> {
        (class + 1 < Self::CLASSES).then(|| 1 << class)
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stats_of_loops_add_up() {
        let mut one = Stats { connections: 1, accepted: 2, ..Stats::default() };
        one.closes.count(CloseKind::Protocol);
        one.refusals.count(Refused::Host);
        one.upgrades.refused = 3;
        one.requests.hurried = 4;
        one.dropped.count(SlowPolicy::Conflate, 5);
        one.ticks.note(6);
        let mut sum = one.clone();
        sum.add(&one);
        let durations = (sum.ticks.count(), sum.ticks.sum_us);
        assert_eq!((sum.connections, sum.accepted, durations), (2, 4, (2, 12)));
        assert_eq!((sum.closes.of(CloseKind::Protocol), sum.closes.of(CloseKind::Peer)), (2, 0));
        assert_eq!((sum.refusals.of(Refused::Host), sum.upgrades.refused), (2, 6));
        assert_eq!((sum.requests.hurried, sum.dropped.conflate), (8, 10));
    }

    #[test]
    fn a_duration_falls_into_the_first_class_that_holds_it() {
        for us in [0, 1, 2, 3, 4, 5, 1000, 1024, 1025, 67_108_864, 67_108_865, u64::MAX / 2] {
            let mut durations = Durations::default();
            durations.note(us);
            let class = durations.classes.iter().position(|&count| count == 1).unwrap();
            assert!(Durations::bound_us(class).is_none_or(|bound| us <= bound), "{us} is in class {class}");
            let below = class.checked_sub(1).and_then(Durations::bound_us);
            assert!(below.is_none_or(|bound| bound < us), "{us} is in class {class}");
            assert_eq!((durations.count(), durations.sum_us), (1, us));
        }
    }
}
