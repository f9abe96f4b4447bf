//! The loop: waits for events and runs a tick for those that came.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use super::Options;
use super::alarm::{self, Alarm};
use super::clock::Clock;
use super::handle::{Command, Handle, MAILBOX_LEN};
use super::listen::{Address, Listen};
use super::listener::Listener;
use super::mixed::Mixed;
use super::plain::Plain;
use super::signals::Signals;
use super::transport::Transport;
use crate::app::{Application, ConnId, Entrance, Now};
use crate::proto::Millis;
use crate::reactor::{Reactor, Readiness};

const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
const ALARM: Token = Token(usize::MAX - 2);
const FIRST_LISTENER: usize = usize::MAX - 1024;
/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Connections accepted in one tick; the rest wait in the kernel for the next one, which comes at once.
const ACCEPTS_PER_TICK: usize = 16;
/// One tick in this many is measured; reading a precise clock costs what a few messages cost.
const MEASURED_EVERY: u32 = 64;
/// The loop comes to itself this long after it was to wake up, in milliseconds: it was stopped (SIGSTOP, a debugger, a frozen
/// machine). Then that time does not count, or all that was due meanwhile would be cut off at once.
const STANDSTILL_MS: Millis = 1_000;

/// One event loop with its listeners.
#[derive(Debug)]
pub struct Server<A: Application, T: Transport = Plain> {
    poll: Poll,
    reactor: Reactor<A, T>,
    setup: T::Setup,
    listeners: Vec<Listener>,
    /// The end of a tick has more to do than to write: connections may wait to be accepted, or a shutdown to end.
    has_chores: bool,
    clock: Clock,
    alarm: Alarm,
    busy_poll: bool,
    /// When the tick began, if it is one of those that are measured.
    measured_from_us: Option<u64>,
    /// How long the next wait for events is at most.
    timeout: Option<Duration>,
    /// Ticks in which no timers fire, because what came during a standstill is not read yet.
    catching_up: usize,
    /// The last tick in which the alarm was due came late.
    was_late: bool,
    signals: Option<Signals>,
    handle: Handle<A::Mail>,
    commands: Receiver<Command<A::Mail>>,
    drain_ms: Millis,
    /// When the loop ends the connections that are left; set by a shutdown.
    drain_until: Option<Millis>,
}

impl<A: Application> Server<A> {
    /// Binds all listeners, which are plain ones.
    ///
    /// # Errors
    /// The message names the address that could not be bound.
    pub fn bind(options: Options, app: A) -> io::Result<Self> {
        Self::with_transport(options, app)
    }
}

impl<A: Application> Server<A, Mixed> {
    /// Binds all listeners, of any kind: plain, TLS, behind the PROXY protocol. Plain ones cost a little more here than with
    /// [`Server::bind`].
    ///
    /// ```no_run
    /// # #[cfg(feature = "tls")] {
    /// use switchboard::apps::Echo;
    /// use switchboard::net::{Listen, Options, Server};
    /// use switchboard::tls::{Files, Tls};
    ///
    /// let tls = Tls::read(Files::pair("cert.pem", "key.pem"))?;
    /// let listener = Listen::tcp(([127, 0, 0, 1], 8443).into()).tls();
    /// let options = Options::listen_on(vec![listener]).with(|it| it.tls = Some(tls));
    /// Server::bind_mixed(options, Echo)?.run()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The message names the address that could not be bound, or what is missing for TLS.
    pub fn bind_mixed(options: Options, app: A) -> io::Result<Self> {
        Self::with_transport(options, app)
    }
}

impl<A: Application, T: Transport> Server<A, T> {
    fn with_transport(options: Options, app: A) -> io::Result<Self> {
        let setup = T::setup(&options)?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let rereads = T::rereads(&setup);
        let signals = options
            .stop_on_signals
            .then(|| Signals::register(poll.registry(), SIGNALS, rereads))
            .transpose()?;
        let (handle, commands) = Handle::new(waker);
        let mut clock = Clock::new();
        let mut listeners = Vec::new();
        for (at, listen) in options.listen.iter().chain(&options.internal).enumerate() {
            let is_internal = at >= options.listen.len();
            let entrance = Entrance { listener: at, is_internal, ..Entrance::default() };
            let token = Token(FIRST_LISTENER + at);
            let only_v6 = shares_port_with_v4(listen, &options);
            let listener =
                Listener::bind(listen, only_v6, entrance, poll.registry(), token).map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"))
                })?;
            listeners.push(listener);
        }
        Ok(Self {
            reactor: Reactor::new(options.config, app, options.seed, clock.now()),
            setup,
            listeners,
            has_chores: true,
            alarm: Alarm::register(poll.registry(), ALARM)?,
            clock,
            busy_poll: options.busy_poll,
            measured_from_us: None,
            timeout: None,
            catching_up: 0,
            was_late: false,
            signals,
            handle,
            commands,
            drain_ms: options.drain_ms,
            drain_until: None,
            poll,
        })
    }

    /// The addresses of TCP on which the server listens, the internal ones last. See [`Self::addresses`] for those of all listeners.
    ///
    /// # Errors
    /// None: they are known since the server is bound.
    pub fn local_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.listeners.iter().filter_map(|listener| listener.address().tcp()).collect())
    }

    /// Where the listeners are, in the order of their numbers ([`Entrance::listener`]).
    pub fn addresses(&self) -> Vec<Address> {
        self.listeners.iter().map(|listener| listener.address().clone()).collect()
    }

    /// Speaks to the loop from another thread.
    pub fn handle(&self) -> Handle<A::Mail> {
        self.handle.clone()
    }

    /// Runs the loop on this thread until a shutdown is complete.
    ///
    /// # Errors
    /// When the kernel's event queue fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        self.timeout = self.next_timeout();
        loop {
            match self.poll.poll(&mut events, self.timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if self.tick(&events).is_break() {
                return Ok(());
            }
        }
    }

    #[inline]
    fn tick(&mut self, events: &Events) -> ControlFlow<()> {
        if self.clock.has_moved() {
            self.time_goes_on();
        }
        if self.reactor.ticks().is_multiple_of(MEASURED_EVERY) {
            self.begin_measured();
        }
        self.reactor.resume();
        for event in events {
            let token = event.token();
            if token.0 >= FIRST_LISTENER {
                self.rare_event(token);
                continue;
            }
            let conn = ConnId::from_bits(token.0 as u64);
            // All but a few events say this and no more; what else they say is not looked at then.
            if event.is_readable() && !event.is_read_closed() {
                self.reactor.readable(conn, event.is_writable());
            } else {
                self.reactor.ready(conn, readiness(event));
            }
        }
        self.reactor.end_tick();
        if self.reactor.needs_more() { self.finish_tick() } else { ControlFlow::Continue(()) }
    }

    /// The end of a tick that has more to do than to read and to write.
    #[inline(never)]
    fn finish_tick(&mut self) -> ControlFlow<()> {
        self.reactor.serve_requests();
        if self.alarm.take_ring() {
            self.alarm_rang();
        }
        if self.catching_up == 0 {
            self.reactor.fire_timers();
        } else {
            self.catching_up -= 1;
        }
        self.reactor.end_tick();
        let flow = if self.has_chores { self.chores() } else { ControlFlow::Continue(()) };
        if let Some(from_us) = self.measured_from_us.take() {
            self.reactor.note_tick(Clock::precise_us() - from_us);
        }
        self.timeout = self.next_timeout();
        if !self.has_chores && self.catching_up == 0 {
            self.reactor.work_done();
        }
        flow
    }

    /// The clock has moved since the last tick.
    #[inline(never)]
    fn time_goes_on(&mut self) {
        let mut now = self.clock.now();
        if self.alarm.is_due(now.monotonic_ms) {
            self.alarm.ring();
            self.reactor.note_work();
            now = self.after_sleep(now);
        }
        self.reactor.begin(now);
        if !alarm::RINGS {
            self.reactor.note_work();
        }
    }

    /// A tick begins that is measured.
    #[cold]
    fn begin_measured(&mut self) {
        self.reactor.begin_measured();
        self.reactor.note_work();
        self.measured_from_us = Some(Clock::precise_us());
    }

    /// The alarm is due. When it was due long ago, time goes on where it stood (PR-05), and no timer fires before all
    /// connections could be read once: their Pongs may be there.
    #[cold]
    fn after_sleep(&mut self, now: Now) -> Now {
        let last = self.reactor.now().monotonic_ms;
        let lost_ms = now.monotonic_ms - last;
        let is_late = self.alarm.is_late(now.monotonic_ms, STANDSTILL_MS) && lost_ms > STANDSTILL_MS;
        // Not twice in a row: for a loop that is slow by itself time must go on.
        let was_late = std::mem::replace(&mut self.was_late, is_late);
        if is_late && !was_late {
            tracing::warn!(lost_ms, "the process stood still; its timers wait for as long");
            self.catching_up = self.reactor.connections() / EVENTS + 1;
            self.has_chores = true;
            return self.clock.rewind(last);
        }
        self.was_late = false;
        now
    }

    #[inline(never)]
    fn chores(&mut self) -> ControlFlow<()> {
        let now = self.reactor.now().monotonic_ms;
        self.accept(now);
        self.has_chores = self.drain_until.is_some() || self.has_work();
        match self.drain_until {
            Some(until) if self.reactor.is_drained() || now >= until => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    #[cold]
    fn rare_event(&mut self, token: Token) {
        self.reactor.note_work();
        match token {
            ALARM => self.alarm.ring(),
            WAKER => self.read_mailbox(),
            SIGNALS => {
                let signals = self.signals.as_mut().map(Signals::take).unwrap_or_default();
                if signals.hangup {
                    T::reread(&self.setup);
                }
                if signals.stop {
                    tracing::info!("draining; a second signal ends the server at once");
                    self.begin_shutdown();
                }
            }
            Token(listener) => {
                if let Some(listener) = self.listeners.get_mut(listener - FIRST_LISTENER) {
                    listener.handle_ready();
                    self.has_chores = true;
                }
            }
        }
    }

    /// The reactor's own deadlines are set again before every wait, the others here.
    #[cold]
    fn alarm_rang(&mut self) {
        self.alarm.set(self.drain_until, self.reactor.now().monotonic_ms);
        self.has_chores = true;
    }

    fn read_mailbox(&mut self) {
        // Bounded by the mailbox: what comes in meanwhile wakes the next tick.
        for _ in 0..MAILBOX_LEN {
            match self.commands.try_recv() {
                Ok(Command::Mail(mail)) => self.reactor.mail(mail),
                Ok(Command::Shutdown) => self.begin_shutdown(),
                Err(_) => break,
            }
        }
    }

    fn begin_shutdown(&mut self) {
        for listener in self.listeners.iter_mut().filter(|listener| !listener.entrance.is_internal) {
            listener.close();
        }
        self.reactor.begin_shutdown();
        let now = self.reactor.now().monotonic_ms;
        self.drain_until.get_or_insert(now + self.drain_ms);
        self.has_chores = true;
        self.alarm.set(self.drain_until, now);
    }

    /// Accepts last in a tick, so that a slot freed by an event is not used again before its other events were seen.
    fn accept(&mut self, now: Millis) {
        for listener in &mut self.listeners {
            for _ in 0..ACCEPTS_PER_TICK {
                let Some((stream, peer)) = listener.accept(now) else { break };
                let socket = match T::open(stream, listener.speaks, &self.setup) {
                    Ok(socket) => socket,
                    Err(error) => {
                        tracing::error!(%error, "a connection could not be served");
                        continue;
                    }
                };
                let conn = self.reactor.accepted(socket, peer, listener.entrance);
                let Some(stream) = self.reactor.socket_mut(conn) else { continue };
                let interest = Interest::READABLE | Interest::WRITABLE;
                let token = Token(conn.to_bits() as usize);
                if let Err(error) = self.poll.registry().register(stream.source(), token, interest) {
                    tracing::error!(%error, "a connection could not be registered");
                    self.reactor.abort(conn);
                }
            }
        }
        T::tend(&self.setup, self.reactor.now().unix_ms);
        let retry_at = self.listeners.iter().filter_map(Listener::retry_at).min();
        self.alarm.set(retry_at, now);
    }

    /// Whether there are chores that no event announces.
    fn has_work(&self) -> bool {
        self.may_accept() || self.catching_up > 0
    }

    fn may_accept(&self) -> bool {
        let now = self.reactor.now().monotonic_ms;
        self.listeners.iter().any(|listener| listener.is_ready(now))
    }

    /// How long to wait for events: not at all while work is left over.
    fn next_timeout(&mut self) -> Option<Duration> {
        if self.reactor.has_pending_work() && self.reactor.is_drain_asked() {
            self.begin_shutdown();
        }
        if self.reactor.has_pending_work() || self.has_chores && self.has_work() || self.busy_poll {
            return Some(Duration::ZERO);
        }
        let now = self.reactor.now().monotonic_ms;
        self.alarm.set(self.reactor.next_deadline(), now);
        self.alarm.timeout(now)
    }
}

/// Whether an IPv6 listener leaves IPv4 to another one on the same port. Alone it takes both.
fn shares_port_with_v4(listen: &Listen, options: &Options) -> bool {
    let mut all = options.listen.iter().chain(&options.internal);
    listen.v6_port().is_some_and(|port| port != 0 && all.any(|other| other.takes_v4(port)))
}

#[inline]
fn readiness(event: &Event) -> Readiness {
    Readiness {
        readable: event.is_readable() || event.is_error(),
        writable: event.is_writable(),
        read_closed: event.is_read_closed(),
    }
}
