//! Layer 3: connections, topics and timers, generic over the socket. It knows no mio, no chat and no clock: a run is
//! a pure function of its seed and its inputs.
//!
//! A tick, in this order: [`Reactor::begin`] (if time has moved), [`Reactor::resume`], [`Reactor::ready`] for each event,
//! [`Reactor::mail`], [`Reactor::fire_timers`], [`Reactor::settle`], and last [`Reactor::accepted`], so that a slot
//! freed in this tick is not used again in it.

mod admission;
mod backlog;
mod body;
mod budget;
mod context;
mod core;
mod count;
mod drain;
mod entry;
mod flush;
mod held;
mod http;
mod keep;
mod landing;
mod outbox;
mod peer;
mod publish;
mod read;
mod receive;
mod spare;
mod topics;
mod wheel;

use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;

use self::admission::is_per_address;
use self::core::{Core, Rest};
use self::entry::{Ending, HttpPhase, Phase};
use self::landing::Landing;
use crate::app::{Application, CloseReason, ConnId, Entrance, Now};
use crate::proto::{CloseCode, Millis, ProtoConfig, ProtocolError, Timeout};

/// A non-blocking stream socket.
pub trait Socket {
    /// As [`io::Read::read`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// As [`io::Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// As [`io::Write::write_vectored`].
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Sends FIN.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

/// What the loop itself is told; everything has a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Limits and timeouts of the protocol.
    pub proto: ProtoConfig,
    /// The most that a connection may bring in one turn, in bytes; in the middle of a message of 8 KiB or more it is four
    /// times as much.
    pub receive_buffer: usize,
    /// Bytes that compressed messages may inflate to in one turn of a connection; the message that passes it is finished,
    /// the rest of the input waits for the next tick. A few KiB of input can inflate to a thousand times as much.
    pub max_inflated: usize,
    /// Bytes queued for a connection above which no more input of it is taken, not even what has been read already. One
    /// answer may pass it.
    pub high_water: usize,
    /// Bytes that one tick may queue for single connections together, and for each topic. A connection for which it would be
    /// more is closed with 1008. Offsets have 32 bits: at most 4 GiB - 1.
    pub max_tick_output: usize,
    /// All unfinished messages together, and input that waits (see `max_inflated`), in bytes; above it a connection whose message grows fails with 1013.
    pub max_unfinished: usize,
    /// A connection for which more than this many bytes wait is closed with 1008. What one tick brings to a
    /// connection that has no backlog is kept whole.
    pub max_backlog: usize,
    /// Milliseconds that the first of what waits for a connection may wait; then the TCP connection ends. 0: for ever.
    pub max_queue_age_ms: Millis,
    /// Bytes that may wait for all connections together; what several wait for is counted once. Above it the connections
    /// with the longest queues are dropped; above three quarters of it new upgrades get 503, and there or above 16 MiB
    /// whoever has something waiting is not read.
    pub max_queued: usize,
    /// Upgraded connections at a time; above it new upgrades get 503. 0: as many as there are descriptors.
    pub max_connections: usize,
    /// TCP connections from one address (of IPv6: from one /64) at a time; above it they get 503 at once. 0: no limit.
    /// Behind a proxy all clients have its address.
    pub max_connections_per_address: usize,
    /// New TCP connections in a second, from one address; above it they get 503 at once. 0: no limit.
    pub max_new_per_second_per_address: u32,
    /// New TCP connections in a second; above it they get 503 at once. 0: no limit.
    pub max_new_per_second: u32,
    /// Milliseconds that an application may take for an answer ([`Verdict::Later`](crate::app::Verdict::Later)); then it is
    /// 504.
    pub max_answer_ms: Millis,
    /// The code with which a shutdown closes connections.
    pub shutdown_code: CloseCode,
    /// Milliseconds over which a shutdown spreads the closing of more than 256 connections, so that not all of them come
    /// back at once. 0: no spreading.
    pub drain_spread_ms: Millis,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            proto: ProtoConfig::default(),
            receive_buffer: 64 * 1024,
            max_inflated: 1024 * 1024,
            high_water: 64 * 1024,
            max_tick_output: 1 << 30,
            max_backlog: 1024 * 1024,
            max_unfinished: 256 * 1024 * 1024,
            max_queue_age_ms: 30_000,
            max_queued: 256 * 1024 * 1024,
            max_connections: 0,
            max_connections_per_address: 0,
            max_new_per_second_per_address: 0,
            max_new_per_second: 0,
            max_answer_ms: 10_000,
            shutdown_code: CloseCode::GOING_AWAY,
            drain_spread_ms: 5_000,
        }
    }
}

/// What an event says about a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Octets, a FIN or an error can be read.
    pub readable: bool,
    /// The socket takes octets again.
    pub writable: bool,
    /// The peer's FIN has arrived, perhaps behind octets.
    pub read_closed: bool,
}

/// What is read at once in the middle of a message that is no small one, in ordinary reads.
const BULK_READS: usize = 4;
/// Connections before their upgrade that are read in one tick; the others wait for the next one, which comes at once. Requests cost
/// more than messages, and in a storm of them the connections that are open are still to be served.
const HTTP_TURNS_PER_TICK: u32 = 16;
/// Times that connections are flushed and ended in one tick; what is left makes the next tick wait for nothing.
const SETTLE_ROUNDS: usize = 8;

/// The loop without its event queue.
#[derive(Debug)]
pub struct Reactor<A, S> {
    app: A,
    core: Core,
    sockets: Vec<Option<S>>,
    /// What a turn brings is read to here.
    receive: Landing,
    /// The same for longer reads, see [`BULK_READS`].
    bulk: Landing,
    scratch: flush::Scratch,
    generation: u32,
    fired: Vec<u32>,
}

impl<A: Application, S: Socket> Reactor<A, S> {
    /// A loop without connections that starts at `now`. All randomness comes from `seed`.
    pub fn new(config: Config, mut app: A, seed: u64, now: Now) -> Self {
        let receive_buffer = config.receive_buffer;
        let mut core = Core::new(config, seed, now);
        let receive = Landing::new(receive_buffer, &core.outbox.bytes);
        let bulk = Landing::new(BULK_READS * receive_buffer, &core.outbox.bytes);
        app.on_start(&mut core);
        Self {
            app,
            core,
            receive,
            bulk,
            sockets: Vec::new(),
            scratch: flush::Scratch::default(),
            generation: 0,
            fired: Vec::new(),
        }
    }

    /// When the tick began.
    #[inline]
    pub fn now(&self) -> Now {
        self.core.now
    }

    /// The application.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// Connections, those that are ending included.
    pub fn connections(&self) -> usize {
        self.core.table.len()
    }

    /// A tick begins, and time has moved since the last one.
    pub fn begin(&mut self, now: Now) {
        debug_assert!(now.monotonic_ms >= self.core.now.monotonic_ms, "monotonic time went back");
        self.core.now = now;
    }

    /// A connection was accepted. The caller registers the socket for edge-triggered events under the handle.
    pub fn accepted(&mut self, socket: S, peer: SocketAddr, entrance: Entrance) -> ConnId {
        self.generation = self.generation.wrapping_add(1);
        let now = self.core.now.monotonic_ms;
        let deadline = now + self.core.proto.timeouts.handshake_ms;
        let Core { admission, config, .. } = &mut self.core;
        let refusal = if entrance.is_internal { None } else { admission.arrived(config, peer, now) };
        let is_counted = !entrance.is_internal && refusal.is_none() && is_per_address(config);
        let phase = Phase::Http(Box::new(HttpPhase::new(entrance, deadline)));
        let conn = self.core.insert(self.generation, phase, peer, is_counted);
        self.core.stats.accepted += 1;
        let at = conn.index as usize;
        if at >= self.sockets.len() {
            self.sockets.resize_with(at + 1, || None);
        }
        self.sockets[at] = Some(socket);
        if let Some(refusal) = refusal {
            self.turn_away(conn.index, refusal);
        }
        conn
    }

    /// The socket of a connection, for its registration.
    pub fn socket_mut(&mut self, conn: ConnId) -> Option<&mut S> {
        self.core.entry(conn)?;
        self.sockets[conn.index as usize].as_mut()
    }

    /// Drops a connection at once, such as one that could not be registered.
    pub fn abort(&mut self, conn: ConnId) {
        if self.core.entry(conn).is_some() {
            self.core.finish(conn.index, CloseReason::Disconnected, Ending::Drop);
        }
    }

    /// Goes on with connections that had more to read than a turn allows.
    #[inline]
    pub fn resume(&mut self) {
        if self.core.rest == Rest::Unsettled {
            self.resume_all();
        }
    }

    fn resume_all(&mut self) {
        for conn in std::mem::take(&mut self.core.resume) {
            let Some(entry) = self.core.entry(conn) else { continue };
            entry.flags.resumes = false;
            self.read_turn(conn);
            self.flush_if_much();
        }
    }

    /// Another thread sent something to the application.
    pub fn mail(&mut self, mail: A::Mail) {
        self.app.on_mail(&mut self.core, mail);
        self.flush_if_much();
    }

    /// Writes what is queued where it is so much that it should not wait for the end of the tick.
    fn flush_if_much(&mut self) {
        if self.core.outbox.is_large() || self.core.input_until == 0 {
            self.flush_all();
        }
    }

    /// Does what is due.
    #[inline]
    pub fn fire_timers(&mut self) {
        if self.core.wake_at <= self.core.now.monotonic_ms {
            self.fire_all();
        }
    }

    /// Writes what the tick queued and ends what is to be ended.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a tick of one connection ends right here")]
    pub fn settle(&mut self) {
        self.app.on_tick_end(&mut self.core);
        self.flush();
        if self.core.rest > Rest::Nothing {
            self.settle_rest();
        }
        #[cfg(debug_assertions)]
        self.check_invariants();
    }

    #[inline(never)]
    fn settle_rest(&mut self) {
        self.core.http_turns = HTTP_TURNS_PER_TICK;
        if self.core.rest == Rest::Unsettled {
            self.settle_ends();
        }
    }

    fn settle_ends(&mut self) {
        for _ in 0..SETTLE_ROUNDS {
            while let Some(index) = self.core.broken.pop() {
                self.core.break_off(index);
            }
            for (conn, closed) in std::mem::take(&mut self.core.closed) {
                self.app.on_close(&mut self.core, conn, &closed);
            }
            for (conn, topic, dropped) in std::mem::take(&mut self.core.lagged) {
                if self.core.entry(conn).is_some_and(|entry| matches!(entry.phase, Phase::Open(_))) {
                    self.app.on_lag(&mut self.core, conn, topic, dropped);
                }
            }
            self.app.on_tick_end(&mut self.core);
            self.core.end_run();
            for index in std::mem::take(&mut self.core.ended) {
                // What a callback or a failure queued is written first.
                if self.core.table.get(index as usize).is_some_and(|entry| entry.flags.dirty) {
                    self.core.end_later(index);
                } else {
                    self.end_tcp(index);
                }
            }
            self.flush_all();
            if !self.core.has_ends() {
                break;
            }
        }
        let is_left = self.core.has_ends() || !self.core.resume.is_empty() || self.core.is_drain_asked;
        self.core.rest = if is_left { Rest::Unsettled } else { Rest::Something };
    }

    /// When the loop must wake up at the latest.
    #[inline]
    pub fn next_deadline(&self) -> Option<Millis> {
        (self.core.wake_at != Millis::MAX).then_some(self.core.wake_at)
    }

    /// Whether there is nothing to do in this tick but to read and to write, and the next wait is like the last one.
    #[inline]
    pub fn is_calm(&self) -> bool {
        self.core.rest == Rest::Nothing
    }

    /// The caller has something to do at the end of this tick.
    pub fn attend(&mut self) {
        self.core.attend();
    }

    /// All is done that there was to do, but for [`Self::has_backlog`]; the next wait ends at [`Self::next_deadline`].
    pub fn calm_down(&mut self) {
        if self.core.rest == Rest::Something {
            self.core.rest = Rest::Nothing;
        }
    }

    /// Whether there is work that no event announces.
    #[inline]
    pub fn has_backlog(&self) -> bool {
        self.core.rest == Rest::Unsettled
    }

    #[inline(never)]
    fn fire_all(&mut self) {
        let mut fired = std::mem::take(&mut self.fired);
        self.core.wheel.advance(self.core.now.monotonic_ms, &mut fired);
        for index in fired.drain(..) {
            self.handle_timeout(index);
        }
        self.fired = fired;
        while let Some(token) = self.core.pop_app_timer() {
            self.app.on_timer(&mut self.core, token);
            self.flush_if_much();
        }
        self.drain_some();
        self.core.reset_wake();
    }

    fn handle_timeout(&mut self, index: u32) {
        let now = self.core.now.monotonic_ms;
        let start = self.core.outbox.len();
        let max_queue_age = self.core.config.max_queue_age_ms;
        let Some(entry) = self.core.table.get_mut(index as usize) else { return };
        let is_too_old = entry.too_old_at(max_queue_age).is_some_and(|at| at <= now);
        match &mut entry.phase {
            Phase::Open(_) if is_too_old => self.core.drop_slow(index),
            Phase::Http(http) if http.deadline <= now => self.http_timeout(index),
            Phase::Ending { until, .. } if *until <= now => self.core.end_later(index),
            Phase::Open(connection) => {
                let timeout = connection.handle_timeout(now, &mut self.core.outbox.bytes);
                self.core.wrote(index, start);
                match timeout {
                    Timeout::NotDue | Timeout::Pinged => self.core.arm(index),
                    Timeout::PongOverdue => {
                        self.core.finish(index, CloseReason::PongTimeout, Ending::Drop);
                        self.core.give_up_now(index);
                    }
                    Timeout::MessageOverdue => {
                        let reason = CloseReason::Protocol(ProtocolError::MessageTimeout);
                        self.core.finish(index, reason, Ending::HalfClose);
                    }
                    Timeout::CloseOverdue => {
                        self.core.finish(index, CloseReason::Disconnected, Ending::Drop);
                    }
                }
            }
            _ => self.core.arm(index),
        }
    }

    /// What must hold between ticks.
    #[cfg(debug_assertions)]
    fn check_invariants(&self) {
        for (index, entry) in &self.core.table {
            assert!(self.sockets[index].is_some(), "connection {index} without a socket");
            for membership in &entry.memberships {
                let members = &self.core.topics[membership.topic as usize].members;
                assert_eq!(members[membership.position as usize] as usize, index, "membership out of step");
            }
            if let Some(backlog) = &entry.backlog {
                assert!(backlog.len() > 0, "an empty backlog was kept");
            }
            assert_eq!(
                entry.flags.holds,
                self.core.held.contains_key(&(index as u32)),
                "held input out of step"
            );
            assert!(entry.chain.is_empty() || entry.flags.dirty, "queued octets that nobody flushes");
        }
    }
}
