//! The loop: waits for events and runs a tick for those that came.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::Options;
use super::alarm::{self, Alarm};
use super::clock::Clock;
use super::handle::{Command, Handle, Inbox, MAILBOX_LEN, Order};
use super::listen::Address;
use super::listener::Listener;
use super::loops::Loops;
use super::mixed::Mixed;
use super::parts::{ALARM, FIRST_LISTENER, Parts, SIGNALS, WAKER};
use super::plain::Plain;
use super::siblings::{Accepted, Siblings};
use super::signals::Signals;
use super::transport::Transport;
use crate::app::{Application, ConnId, Now, Peers};
use crate::proto::Millis;
use crate::reactor::{Reactor, Readiness, SharedLimits};

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Connections accepted in one tick; the rest wait in the kernel for the next one, which comes at once.
const ACCEPTS_PER_TICK: usize = 16;
/// One tick in this many is measured; reading a precise clock costs what a few messages cost.
const MEASURED_EVERY: u32 = 64;
/// The loop comes to itself this long after it was to wake up, in milliseconds: it was stopped (SIGSTOP, a debugger, a frozen
/// machine). Then that time does not count, or all that was due meanwhile would be cut off at once.
const STANDSTILL_MS: Millis = 1_000;

/// Why a loop leaves its usual way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It is over.
    Ended,
    /// The application wants no input for now.
    Paused,
}

/// One event loop with its listeners.
#[derive(Debug)]
pub struct Server<A: Application, T: Transport = Plain> {
    poll: Poll,
    reactor: Reactor<A, T>,
    setup: T::Setup,
    listeners: Vec<Listener>,
    /// The other loops of the process, if there are any.
    siblings: Option<Siblings<A::Mail>>,
    /// Connections that loop 0 has accepted for this one.
    arrivals: VecDeque<Accepted>,
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
    inbox: Inbox<A::Mail>,
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

    /// Binds all listeners, which are plain ones, for several loops on as many threads. `make` makes the application of each loop,
    /// by its number from 0 on and the mailboxes of all.
    ///
    /// On Linux each loop has listeners of its own (`SO_REUSEPORT`), and the kernel deals connections out. Elsewhere, and of Unix
    /// sockets and [`Listen::existing`](super::Listen::existing) ones, loop 0 accepts and hands them over in turn.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use switchboard::app::{
    ///     Application, ConnId, Context, Message, Outgoing, Peers, TopicId, TopicOptions,
    /// };
    /// use switchboard::net::{Options, Server};
    ///
    /// /// What somebody says reaches everybody, on whatever loop.
    /// struct Everybody {
    ///     own: usize,
    ///     peers: Peers<Arc<str>>,
    ///     topic: Option<TopicId>,
    /// }
    ///
    /// impl Application for Everybody {
    ///     type Mail = Arc<str>;
    ///
    ///     fn on_start<C: Context>(&mut self, ctx: &mut C) {
    ///         self.topic = Some(ctx.create_topic(TopicOptions::default()));
    ///     }
    ///
    ///     fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
    ///         let _ = ctx.subscribe(conn, self.topic.unwrap());
    ///     }
    ///
    ///     fn on_message<C: Context>(&mut self, ctx: &mut C, _: ConnId, message: Message<'_>) {
    ///         let text: Arc<str> = String::from_utf8_lossy(message.payload).into();
    ///         ctx.publish(self.topic.unwrap(), Outgoing::text(&text), None);
    ///         for (_, mailbox) in self.peers.others(self.own) {
    ///             // A mailbox is bounded. Who must lose nothing keeps what it does not take, and pauses the input.
    ///             let _ = mailbox.try_send(Arc::clone(&text));
    ///         }
    ///     }
    ///
    ///     fn on_mail<C: Context>(&mut self, ctx: &mut C, text: Arc<str>) {
    ///         ctx.publish(self.topic.unwrap(), Outgoing::text(&text), None);
    ///     }
    /// }
    ///
    /// let options = Options::listen(([127, 0, 0, 1], 0).into());
    /// let loops = Server::bind_many(options, 2, |own, peers| Everybody { own, peers: peers.clone(), topic: None })?;
    /// let handle = loops.handle();
    /// std::thread::spawn(move || handle.shutdown());
    /// loops.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The message names the address that could not be bound. There can be 1 to [`MAX_LOOPS`](super::MAX_LOOPS) loops.
    pub fn bind_many(
        options: Options,
        loops: usize,
        make: impl FnMut(usize, &Peers<A::Mail>) -> A,
    ) -> io::Result<Loops<A>> {
        Loops::bind(options, loops, make)
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

    /// As [`Server::bind_many`], for listeners of any kind.
    ///
    /// # Errors
    /// As there, or what is missing for TLS.
    pub fn bind_many_mixed(
        options: Options,
        loops: usize,
        make: impl FnMut(usize, &Peers<A::Mail>) -> A,
    ) -> io::Result<Loops<A, Mixed>> {
        Loops::bind(options, loops, make)
    }
}

impl<A: Application, T: Transport> Server<A, T> {
    fn with_transport(options: Options, app: A) -> io::Result<Self> {
        let parts = Parts::first(&options, T::setup(&options)?, Clock::new(), 1)?;
        Ok(Self::assemble(parts, options, app, SharedLimits::default(), None))
    }

    /// `siblings`: the other loops of the process, if there are any.
    pub(super) fn assemble(
        parts: Parts<A::Mail, T>,
        options: Options,
        app: A,
        shared: SharedLimits,
        siblings: Option<Siblings<A::Mail>>,
    ) -> Self {
        let Parts { poll, setup, listeners, mut clock, alarm, signals, handle, inbox } = parts;
        Self {
            reactor: Reactor::with_limits(options.config, app, options.seed, clock.now(), shared),
            setup,
            listeners,
            siblings,
            arrivals: VecDeque::new(),
            has_chores: true,
            alarm,
            clock,
            busy_poll: options.busy_poll,
            measured_from_us: None,
            timeout: None,
            catching_up: 0,
            was_late: false,
            signals,
            handle,
            inbox,
            drain_ms: options.drain_ms,
            drain_until: None,
            poll,
        }
    }

    /// The addresses of TCP on which the server listens, the internal ones last. See [`Self::addresses`] for those of all listeners.
    ///
    /// # Errors
    /// None: they are known since the server is bound.
    pub fn local_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.listeners.iter().filter_map(|listener| listener.address().tcp()).collect())
    }

    /// Where the listeners are, in the order of their numbers ([`Entrance::listener`](crate::app::Entrance::listener)).
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
            match self.tick(&events) {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(Stop::Ended) => return Ok(()),
                ControlFlow::Break(Stop::Paused) => {
                    if self.run_paused(&mut events)?.is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Runs the loop while the application wants no input: what sockets bring stays there.
    #[cold]
    fn run_paused(&mut self, events: &mut Events) -> io::Result<ControlFlow<()>> {
        while self.reactor.is_input_paused() {
            match self.poll.poll(events, self.timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if self.clock.has_moved() {
                self.time_goes_on();
            }
            for event in &*events {
                let token = event.token();
                if token.0 >= FIRST_LISTENER {
                    self.rare_event(token);
                } else {
                    self.reactor.hold(ConnId::from_bits(token.0 as u64), readiness(event));
                }
            }
            self.reactor.end_tick();
            if self.finish_tick() == ControlFlow::Break(Stop::Ended) {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    #[inline]
    fn tick(&mut self, events: &Events) -> ControlFlow<Stop> {
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
    fn finish_tick(&mut self) -> ControlFlow<Stop> {
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
        if flow.is_continue() && self.reactor.is_input_paused() {
            return ControlFlow::Break(Stop::Paused);
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
            self.reactor.stood_still(lost_ms);
            return self.clock.rewind(last);
        }
        self.was_late = false;
        now
    }

    #[inline(never)]
    fn chores(&mut self) -> ControlFlow<Stop> {
        let now = self.reactor.now().monotonic_ms;
        self.accept(now);
        self.has_chores = self.drain_until.is_some() || self.has_work();
        match self.drain_until {
            Some(until) if now >= until || self.reactor.is_drained() && self.may_end() => {
                ControlFlow::Break(Stop::Ended)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn may_end(&self) -> bool {
        self.siblings.as_ref().is_none_or(Siblings::may_end)
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
        let order = self.inbox.open();
        // Bounded by the mailbox: what comes in meanwhile wakes the next tick.
        for _ in 0..MAILBOX_LEN {
            match self.inbox.next() {
                Some(Command::Mail(mail)) => self.reactor.mail(mail),
                Some(Command::Connection(accepted)) => {
                    self.arrivals.push_back(*accepted);
                    self.has_chores = true;
                }
                None => break,
            }
        }
        match order {
            None => {}
            Some(Order::Drain) => self.begin_shutdown(),
            Some(Order::Abort) => {
                self.drain_until = Some(0);
                self.has_chores = true;
            }
        }
    }

    fn begin_shutdown(&mut self) {
        for listener in self.listeners.iter_mut().filter(|listener| !listener.entrance.is_internal) {
            listener.close();
        }
        if let Some(siblings) = &self.siblings {
            siblings.drain();
        }
        self.reactor.begin_shutdown();
        let now = self.reactor.now().monotonic_ms;
        self.drain_until.get_or_insert(now + self.drain_ms);
        self.has_chores = true;
        self.alarm.set(self.drain_until, now);
    }

    /// Accepts last in a tick, so that a slot freed by an event is not used again before its other events were seen.
    fn accept(&mut self, now: Millis) {
        for at in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_PER_TICK {
                let listener = &mut self.listeners[at];
                let Some((stream, peer)) = listener.accept(now) else { break };
                let (speaks, entrance) = (listener.speaks, listener.entrance);
                let accepted = Accepted { stream, peer, speaks, entrance };
                match &mut self.siblings {
                    Some(siblings) if listener.hands_over => {
                        if let Some(accepted) = siblings.hand_over(accepted) {
                            self.admit(accepted);
                        }
                    }
                    _ => self.admit(accepted),
                }
            }
        }
        if !self.arrivals.is_empty() {
            self.admit_arrivals();
        }
        T::tend(&self.setup, self.reactor.now().unix_ms);
        let retry_at = self.listeners.iter().filter_map(Listener::retry_at).min();
        self.alarm.set(retry_at, now);
    }

    fn admit_arrivals(&mut self) {
        let count = self.arrivals.len().min(ACCEPTS_PER_TICK);
        for _ in 0..count {
            let Some(accepted) = self.arrivals.pop_front() else { break };
            // As the kernel does with those that wait at a listener that is closed.
            if self.drain_until.is_none() {
                self.admit(accepted);
            }
        }
        self.inbox.taken(count);
    }

    /// Serves a connection.
    #[inline]
    fn admit(&mut self, accepted: Accepted) {
        let Accepted { stream, peer, speaks, entrance } = accepted;
        let socket = match T::open(stream, speaks, &self.setup) {
            Ok(socket) => socket,
            Err(error) => return tracing::error!(%error, "a connection could not be served"),
        };
        let conn = self.reactor.accepted(socket, peer, entrance);
        let Some(stream) = self.reactor.socket_mut(conn) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(conn.to_bits() as usize);
        if let Err(error) = self.poll.registry().register(stream.source(), token, interest) {
            tracing::error!(%error, "a connection could not be registered");
            self.reactor.abort(conn);
        }
    }

    /// Whether there are chores that no event announces.
    fn has_work(&self) -> bool {
        self.may_accept() || !self.arrivals.is_empty() || self.catching_up > 0
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

#[inline]
fn readiness(event: &Event) -> Readiness {
    Readiness {
        readable: event.is_readable() || event.is_error(),
        writable: event.is_writable(),
        read_closed: event.is_read_closed(),
    }
}
