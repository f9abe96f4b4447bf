//! Layer 3: connections, topics and timers, generic over the socket. It knows no mio, no chat and no clock: a run is
//! a pure function of its seed and its inputs.
//!
//! # A tick
//!
//! The caller makes these calls, in this order:
//!
//! 1. [`Reactor::begin`], if time has moved.
//! 2. [`Reactor::resume`]: connections that had more to read than the last tick allowed.
//! 3. [`Reactor::ready`] (or [`Reactor::readable`]) for each event, and [`Reactor::mail`] for each mail.
//! 4. [`Reactor::end_tick`]: `on_tick_end`, then one write for each connection for which something was queued, then the
//!    ends of connections. Most ticks end here: [`Reactor::needs_more`] is `false`.
//! 5. Where it is `true`: [`Reactor::serve_requests`], which reads connections before their upgrade,
//!    [`Reactor::fire_timers`], [`Reactor::end_tick`] again, and last [`Reactor::accepted`], so that a slot freed in this
//!    tick is not used again in it. Then [`Reactor::work_done`]. The next wait takes no time while
//!    [`Reactor::has_pending_work`], and no longer than until [`Reactor::next_deadline`].
//!
//! Callbacks only queue, so none of them leads to another one. So much output that it should not wait for the end of the
//! tick is written between two events.
//!
//! # Rooms
//!
//! | room | what it owns |
//! |---|---|
//! | `config`, `socket`, `slot` | the settings; what is wanted of a socket; the types of places in tables |
//! | `table` | who is connected: entries, generations, addresses, admission (`table::admission`) |
//! | `http` | requests before the upgrade |
//! | `input` | whose turn it is (`turns`), what most messages take (`fast_path`), unfinished messages and parked input (`intake`) |
//! | `output` | the tick's buffer (`outbox`), `topics`, the flush and the policy for slow consumers (`flush::slow_consumer`), backlogs and their budget, long buffers (`buffer_pool`) |
//! | `timers` | the timing wheel and the timers of the application |
//! | `pending` | the work that a tick puts off |
//! | `core` | what callbacks can reach: one owner for each part of the state; `core::context` is the application's side, `core::endings` all ways in which a connection ends |
//! | `drain`, `stats` | the shutdown; what is counted |

mod config;
mod core;
mod drain;
mod http;
mod input;
mod output;
mod pending;
mod slot;
mod socket;
mod stats;
mod table;
mod timers;

use std::net::SocketAddr;

pub use self::config::Config;
use self::core::Core;
use self::input::ReadBuffer;
use self::output::{Flush, Scratch};
use self::slot::Slot;
use self::socket::Sockets;
pub use self::socket::{Handshake, Readiness, Socket};
pub use self::table::SharedLimits;
use self::table::{Ending, Entry, Phase};
use crate::app::{Application, CloseReason, ConnId, Entrance, Now};
use crate::proto::{Millis, ProtocolError, Timeout};

/// What is read at once in the middle of a message that is no small one, in ordinary reads.
const BULK_READS: usize = 4;
/// Times that connections are flushed and ended in one tick; what is left makes the next tick wait for nothing.
const END_ROUNDS: usize = 8;
/// Debug builds check everything that must hold between ticks after every fourth flush of a loop with up to this many
/// connections, and after every 64th of a larger one.
#[cfg(debug_assertions)]
const CHECKED_CONNECTIONS: usize = 64;

/// The loop without its event queue.
#[derive(Debug)]
pub struct Reactor<A, S> {
    app: A,
    core: Core,
    sockets: Sockets<S>,
    /// What a turn brings is read to here.
    receive: ReadBuffer,
    /// The same for longer reads, see [`BULK_READS`].
    bulk: ReadBuffer,
    scratch: Scratch,
    fired: Vec<Slot>,
}

impl<A: Application, S: Socket> Reactor<A, S> {
    /// A loop without connections that starts at `now`. All randomness comes from `seed`.
    pub fn new(config: Config, app: A, seed: u64, now: Now) -> Self {
        Self::with_limits(config, app, seed, now, SharedLimits::default())
    }

    /// As [`Self::new`], for one of several loops of a process: its limits count in `shared` what all of these have.
    pub fn with_limits(config: Config, mut app: A, seed: u64, now: Now, shared: SharedLimits) -> Self {
        let receive_buffer = config.receive_buffer;
        let mut core = Core::new(config, seed, now, shared);
        let receive = ReadBuffer::new(receive_buffer, core.output.bytes());
        let bulk = ReadBuffer::new(BULK_READS * receive_buffer, core.output.bytes());
        app.on_start(&mut core);
        Self {
            app,
            core,
            receive,
            bulk,
            sockets: Sockets::new(),
            scratch: Scratch::default(),
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

    /// The loop stood still for `ms` that do not count in its time. In that of other loops they do.
    pub fn stood_still(&mut self, ms: Millis) {
        self.core.table.add_lag(ms);
    }

    /// A connection was accepted. The caller registers the socket for edge-triggered events under the handle.
    pub fn accepted(&mut self, socket: S, peer: SocketAddr, entrance: Entrance) -> ConnId {
        let Core { table, config, now, .. } = &mut self.core;
        let (conn, refusal) = table.accept(config, peer, entrance, now.monotonic_ms);
        self.core.arm(conn.into());
        self.sockets.insert(conn.into(), socket);
        if let Some(refusal) = refusal {
            self.turn_away(conn.into(), refusal);
        }
        conn
    }

    /// The socket of a connection, for its registration.
    pub fn socket_mut(&mut self, conn: ConnId) -> Option<&mut S> {
        self.core.table.get(conn)?;
        self.sockets.get_mut(conn.into())
    }

    /// Drops a connection at once, such as one that could not be registered.
    pub fn abort(&mut self, conn: ConnId) {
        if self.core.table.get(conn).is_some() {
            self.core.finish(conn.into(), CloseReason::Disconnected, Ending::Drop);
        }
    }

    /// Another thread sent something to the application.
    pub fn mail(&mut self, mail: A::Mail) {
        self.app.on_mail(&mut self.core, mail);
        self.flush_if_much();
    }

    /// Writes what is queued where it is so much that it should not wait for the end of the tick.
    fn flush_if_much(&mut self) {
        if self.core.output.is_to_be_flushed() {
            self.flush_all();
        }
    }

    /// A flush of what is queued now.
    #[inline]
    fn flusher(&mut self) -> Flush<'_, S> {
        let Core { output, table, timers, pending, now, config, .. } = &mut self.core;
        Flush {
            output,
            table,
            sockets: &mut self.sockets,
            timers,
            pending,
            scratch: &mut self.scratch,
            now: now.monotonic_ms,
            max_queue_age: config.max_queue_age_ms,
        }
    }

    /// Writes everything that this tick queued; what a socket does not take becomes its backlog.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a tick of one connection ends right here")]
    fn flush(&mut self) {
        let Self { core, sockets, .. } = self;
        let Some(slot) = core.output.sole_run() else { return self.flush_all() };
        debug_assert!(!core.table[slot].outbound.has_backlog(), "{slot:?} was on the fast path");
        let Some(socket) = sockets.get_mut(slot) else { return self.flush_all() };
        if let Err(count) = core.output.write_sole_run(socket) {
            self.flush_left(slot, count);
        }
    }

    /// A socket took the first `count` octets of a sole run; or none, and the usual way tells why.
    #[cold]
    fn flush_left(&mut self, slot: Slot, count: Option<usize>) {
        match count {
            Some(count) => self.flusher().sole_run_left(slot, count),
            None => self.flush_all(),
        }
    }

    #[inline(never)]
    pub(in crate::reactor) fn flush_all(&mut self) {
        self.flusher().all();
        if self.core.close_overflowed() {
            // The Close frames; a connection that is closing cannot overflow again.
            self.flush_all();
        }
        self.core.shed();
    }

    /// Handles the deadlines and the timers that are due.
    #[inline]
    pub fn fire_timers(&mut self) {
        if self.core.timers.next() <= self.core.now.monotonic_ms {
            self.fire_all();
        }
    }

    /// Writes what the tick queued, and ends connections.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a tick of one connection ends right here")]
    pub fn end_tick(&mut self) {
        self.app.on_tick_end(&mut self.core);
        self.flush();
        if self.core.pending.has_work() {
            self.end_tick_with_work();
        }
        #[cfg(debug_assertions)]
        if self.ticks().is_multiple_of(if self.connections() <= CHECKED_CONNECTIONS { 4 } else { 64 }) {
            self.check();
        }
    }

    #[inline(never)]
    fn end_tick_with_work(&mut self) {
        self.core.pending.renew_http_turns();
        if self.core.pending.is_unsettled() {
            self.end_connections();
        }
    }

    fn end_connections(&mut self) {
        for _ in 0..END_ROUNDS {
            while let Some(slot) = self.core.pending.pop_broken() {
                self.core.break_off(slot);
            }
            self.open_accepted();
            for conn in self.core.pending.take_abandoned() {
                self.app.on_abandoned(&mut self.core, conn);
            }
            for (peer, reason) in self.core.pending.take_refused() {
                self.app.on_refused_late(peer, reason);
            }
            for (conn, closed) in self.core.pending.take_closed() {
                self.app.on_close(&mut self.core, conn, &closed);
            }
            for (conn, topic, dropped) in self.core.pending.take_lagged() {
                if self.core.table.get(conn).is_some_and(Entry::is_open) {
                    self.app.on_lag(&mut self.core, conn, topic, dropped);
                }
            }
            self.app.on_tick_end(&mut self.core);
            self.core.output.leave_fast_path(&mut self.core.table);
            for slot in self.core.pending.take_ended() {
                self.step_end(slot);
            }
            self.flush_all();
            if !self.core.pending.has_ends() {
                break;
            }
        }
        self.core.pending.ends_done();
    }

    /// When the loop must wake up at the latest.
    #[inline]
    pub fn next_deadline(&self) -> Option<Millis> {
        let next = self.core.timers.next();
        (next != Millis::MAX).then_some(next)
    }

    /// Whether there is more to do at the end of this tick than to read and to write, or the next wait is not like the
    /// last one.
    #[inline]
    pub fn needs_more(&self) -> bool {
        self.core.pending.has_work()
    }

    /// The caller has something to do at the end of this tick.
    pub fn note_work(&mut self) {
        self.core.pending.note_work();
    }

    /// The caller has done its part of the tick's end; [`Self::has_pending_work`] stays as it is.
    pub fn work_done(&mut self) {
        self.core.pending.work_done();
    }

    /// Whether there is work that no event announces. Input that is paused is none.
    #[inline]
    pub fn has_pending_work(&self) -> bool {
        self.core.pending.is_unsettled() && !self.core.pending.waits_for_input_alone()
    }

    /// Whether the application has paused the input: then [`Self::hold`] takes the place of [`Self::ready`], and
    /// [`Self::resume`] is not called.
    pub fn is_input_paused(&self) -> bool {
        self.core.pending.is_input_paused()
    }

    #[inline(never)]
    fn fire_all(&mut self) {
        let now = self.core.now.monotonic_ms;
        let mut fired = std::mem::take(&mut self.fired);
        self.core.timers.take_fired(now, &mut fired);
        for slot in fired.drain(..) {
            self.handle_timeout(slot);
        }
        self.fired = fired;
        while let Some(token) = self.core.timers.pop_due(now) {
            self.app.on_timer(&mut self.core, token);
            self.flush_if_much();
        }
        self.drain_some();
        self.core.reset_timers();
    }

    fn handle_timeout(&mut self, slot: Slot) {
        let now = self.core.now.monotonic_ms;
        let Some(entry) = self.core.table.at(slot) else { return };
        let is_too_old =
            entry.outbound.too_old_at(self.core.config.max_queue_age_ms).is_some_and(|at| at <= now);
        match entry.phase() {
            Phase::Open(_) if is_too_old => self.core.drop_slow(slot),
            Phase::Http(http) if http.deadline() <= now => self.http_timeout(slot),
            Phase::Ending { until, .. } if *until <= now => self.core.pending.end_later(slot),
            Phase::Open(_) => self.connection_timeout(slot),
            Phase::Http(_) | Phase::Ending { .. } => self.core.arm(slot),
        }
    }

    fn connection_timeout(&mut self, slot: Slot) {
        let now = self.core.now.monotonic_ms;
        let conn = self.core.table.conn(slot);
        let timeout = self.core.queue(conn, |connection, out| connection.handle_timeout(now, out));
        match timeout.unwrap_or(Timeout::NotDue) {
            Timeout::NotDue | Timeout::Pinged => self.core.arm(slot),
            Timeout::PongOverdue => self.core.give_up(slot, CloseReason::PongTimeout),
            Timeout::MessageOverdue => {
                let reason = CloseReason::Protocol(ProtocolError::MessageTimeout);
                self.core.finish(slot, reason, Ending::HalfClose);
            }
            Timeout::CloseOverdue => self.core.finish(slot, CloseReason::Disconnected, Ending::Drop),
        }
    }

    /// Whether everything that must hold between ticks does: every counter agrees with what it counts, every mark with what
    /// it tells.
    ///
    /// # Panics
    /// When something does not hold.
    #[doc(hidden)]
    pub fn check(&self) {
        self.sockets.check(self.core.table.iter().map(|(slot, _)| slot));
        self.core.check();
    }
}
