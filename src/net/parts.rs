//! A loop before it has its application: everything that may fail is made here.

use std::io;

use mio::{Poll, Token};

use super::alarm::Alarm;
use super::clock::Clock;
use super::handle::{Handle, Inbox};
use super::listener::Listener;
use super::signals::Signals;
use super::{Listen, Options, Transport};
use crate::app::Entrance;

pub(super) const WAKER: Token = Token(usize::MAX);
pub(super) const SIGNALS: Token = Token(usize::MAX - 1);
pub(super) const ALARM: Token = Token(usize::MAX - 2);
pub(super) const FIRST_LISTENER: usize = usize::MAX - 1024;
/// Ports below it are for root, where the system says nothing else.
const FIRST_FREE_PORT: u16 = 1024;

/// A loop without its application.
#[derive(Debug)]
pub(super) struct Parts<M, T: Transport> {
    pub(super) poll: Poll,
    pub(super) setup: T::Setup,
    pub(super) listeners: Vec<Listener>,
    pub(super) clock: Clock,
    pub(super) alarm: Alarm,
    pub(super) signals: Option<Signals>,
    pub(super) handle: Handle<M>,
    pub(super) inbox: Inbox<M>,
}

impl<M, T: Transport> Parts<M, T> {
    fn new(setup: T::Setup, clock: Clock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (handle, inbox) = Inbox::new(&poll, WAKER)?;
        let alarm = Alarm::register(poll.registry(), ALARM)?;
        Ok(Self { poll, setup, listeners: Vec::new(), clock, alarm, signals: None, handle, inbox })
    }

    /// The first of so many loops. It has the signals and all listeners.
    pub(super) fn first(options: &Options, setup: T::Setup, clock: Clock, loops: usize) -> io::Result<Self> {
        let rereads = T::rereads(&setup);
        let mut parts = Self::new(setup, clock)?;
        if options.stop_on_signals {
            parts.signals = Some(Signals::register(parts.poll.registry(), SIGNALS, rereads)?);
        }
        for (at, listen) in options.listen.iter().chain(&options.internal).enumerate() {
            let is_internal = at >= options.listen.len();
            let entrance = Entrance { listener: at, is_internal, ..Entrance::default() };
            let is_for_all = loops > 1 && !is_internal;
            let listener = parts.listener(listen, options, entrance, is_for_all).map_err(|error| {
                let advice = advice(&error, listen);
                io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}{advice}"))
            })?;
            parts.listeners.push(listener);
        }
        Ok(parts)
    }

    /// `is_for_all`: its connections are those of all loops.
    fn listener(
        &self,
        listen: &Listen,
        options: &Options,
        entrance: Entrance,
        is_for_all: bool,
    ) -> io::Result<Listener> {
        let only_v6 = shares_port_with_v4(listen, options);
        let token = Token(FIRST_LISTENER + self.listeners.len());
        let registry = self.poll.registry();
        if !is_for_all {
            return Listener::bind(listen, only_v6, entrance, registry, token);
        }
        if !listen.is_balanced() {
            let mut listener = Listener::bind(listen, only_v6, entrance, registry, token)?;
            listener.hands_over = true;
            return Ok(listener);
        }
        if !listen.shares_port {
            // The port is shared among the loops, and with no other server.
            Listener::check_free(listen, only_v6)?;
        }
        Listener::bind(&listen.clone().reuse_port(), only_v6, entrance, registry, token)
    }

    /// Another loop at the addresses of this one, as far as the kernel deals connections out.
    pub(super) fn beside(&self, options: &Options) -> io::Result<Self> {
        let mut parts = Self::new(self.setup.clone(), self.clock.clone())?;
        for (listen, first) in options.listen.iter().zip(&self.listeners) {
            let Some(address) = first.address().tcp().filter(|_| !first.hands_over) else { continue };
            let same = listen.at_address(address).reuse_port();
            let only_v6 = shares_port_with_v4(listen, options);
            let token = Token(FIRST_LISTENER + parts.listeners.len());
            let listener = Listener::bind(&same, only_v6, first.entrance, parts.poll.registry(), token)
                .map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot listen on {listen} once more: {error}"))
                })?;
            parts.listeners.push(listener);
        }
        Ok(parts)
    }
}

/// What to do about an error of a listener, where that is known.
fn advice(error: &io::Error, listen: &Listen) -> &'static str {
    let is_low = listen.port().is_some_and(|port| port < FIRST_FREE_PORT);
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the process that listens there, or choose another address",
        io::ErrorKind::AddrNotAvailable => "; no network interface of this machine has that address",
        io::ErrorKind::PermissionDenied if is_low => {
            "; a port below 1024 needs root, the capability CAP_NET_BIND_SERVICE, or a socket of systemd"
        }
        io::ErrorKind::PermissionDenied => "; this user must be allowed to write in its directory",
        io::ErrorKind::NotFound => "; its directory must exist",
        _ => "",
    }
}

/// Whether an IPv6 listener leaves IPv4 to another one on the same port. Alone it takes both.
fn shares_port_with_v4(listen: &Listen, options: &Options) -> bool {
    let mut all = options.listen.iter().chain(&options.internal);
    listen.v6_port().is_some_and(|port| port != 0 && all.any(|other| other.takes_v4(port)))
}
