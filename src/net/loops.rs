//! Several loops in one process.

use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use super::clock::Clock;
use super::event_loop::Server;
use super::handle::Handle;
use super::listen::Address;
use super::parts::Parts;
use super::siblings::Siblings;
use super::{Options, Plain, Transport};
use crate::app::{Application, Mailbox, Peers};
use crate::reactor::SharedLimits;

/// Loops of one process at most.
pub const MAX_LOOPS: usize = 64;

/// Several single-threaded loops that serve the same addresses, each with connections and an application of its own; made by
/// [`Server::bind_many`].
///
/// Mail ([`Peers`]) is all that applications on different loops share. The limits of [`Config`](crate::reactor::Config) are those
/// of the process: connections, their rates, those of an address, and late answers are counted over all loops. The memory of
/// queues and of unfinished messages is dealt out to the loops in equal shares.
#[derive(Debug)]
pub struct Loops<A: Application, T: Transport = Plain> {
    /// The first one runs on the caller's thread.
    servers: Vec<Server<A, T>>,
    handles: Arc<[Handle<A::Mail>]>,
}

impl<A: Application, T: Transport> Loops<A, T> {
    pub(super) fn bind(
        mut options: Options,
        loops: usize,
        mut make: impl FnMut(usize, &Peers<A::Mail>) -> A,
    ) -> io::Result<Self> {
        if !(1..=MAX_LOOPS).contains(&loops) {
            let error = format!("{loops} loops: there can be 1 to {MAX_LOOPS}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        options.config.max_queued = options.config.max_queued.div_ceil(loops);
        options.config.max_unfinished = options.config.max_unfinished.div_ceil(loops);
        let (setup, clock) = (T::setup(&options)?, Clock::new());
        let mut parts = vec![Parts::first(&options, setup, clock, loops)?];
        for _ in 1..loops {
            parts.push(parts[0].beside(&options)?);
        }
        let handles: Arc<[Handle<A::Mail>]> = parts.iter().map(|parts| parts.handle.clone()).collect();
        let peers = Self::peers_of(&handles);
        let shared = SharedLimits::default();
        let mut servers = Vec::with_capacity(loops);
        for (at, parts) in parts.into_iter().enumerate() {
            let app = make(at, &peers);
            let siblings = (loops > 1).then(|| Siblings::new(at, &handles));
            let mut options = options.clone();
            options.seed = seed_of(options.seed, at);
            servers.push(Server::assemble(parts, options, app, shared.clone(), siblings));
        }
        Ok(Self { servers, handles })
    }

    fn peers_of(handles: &[Handle<A::Mail>]) -> Peers<A::Mail> {
        Peers::new(handles.iter().map(|handle| Mailbox::new(handle.clone())))
    }

    /// The addresses of TCP on which the server listens, the internal ones last. See [`Self::addresses`] for those of all listeners.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.addresses().iter().filter_map(Address::tcp).collect()
    }

    /// Where the listeners are, in the order of their numbers ([`Entrance::listener`](crate::app::Entrance::listener)).
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.servers.first().map(Server::addresses).unwrap_or_default()
    }

    /// The mailboxes of all loops.
    #[must_use]
    pub fn peers(&self) -> Peers<A::Mail> {
        Self::peers_of(&self.handles)
    }

    /// Speaks to loop 0 from another thread; [`Handle::shutdown`] is for all loops.
    #[must_use]
    pub fn handle(&self) -> Handle<A::Mail> {
        self.handles[0].clone()
    }
}

impl<A: Application + Send, T: Transport> Loops<A, T> {
    /// Runs loop 0 on this thread, and the others on threads named `loop-1` and so on, until a shutdown of all is complete. Signals and
    /// internal listeners are those of loop 0.
    ///
    /// # Errors
    /// A thread could not be started, or the event queue of a loop failed: that stops all loops at once.
    ///
    /// # Panics
    /// When a loop does: all others are stopped at once, then the panic goes on here.
    pub fn run(self) -> io::Result<()> {
        let Self { servers, handles } = self;
        let (mut servers, handles) = (servers.into_iter(), &*handles);
        let Some(first) = servers.next() else { return Ok(()) };
        thread::scope(|scope| {
            let mut threads = Vec::new();
            let mut result = Ok(());
            for (at, server) in servers.enumerate() {
                let thread = thread::Builder::new().name(format!("loop-{}", at + 1));
                match thread.spawn_scoped(scope, move || run_one(server, handles)) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        handles.iter().for_each(Handle::abort);
                        result = Err(error);
                        break;
                    }
                }
            }
            result = result.and(run_one(first, handles));
            for thread in threads {
                match thread.join() {
                    Ok(ended) => result = result.and(ended),
                    Err(panic) => resume_unwind(panic),
                }
            }
            result
        })
    }
}

/// Runs a loop. Where it fails or panics, all others are stopped.
fn run_one<A: Application, T: Transport>(
    server: Server<A, T>,
    handles: &[Handle<A::Mail>],
) -> io::Result<()> {
    let _guard = StopsOthers(handles);
    let result = server.run();
    if result.is_err() {
        handles.iter().for_each(Handle::abort);
    }
    // Loop 0 waits for the others.
    handles[0].ring();
    result
}

/// Stops all loops when this one panics.
struct StopsOthers<'h, M>(&'h [Handle<M>]);

impl<M> Drop for StopsOthers<'_, M> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.iter().for_each(Handle::abort);
        }
    }
}

/// No two loops have the same randomness.
fn seed_of(seed: u64, at: usize) -> u64 {
    // An odd number with bits all over: the golden ratio.
    seed.wrapping_add((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
