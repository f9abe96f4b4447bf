//! Layer 4: the mio event loop around the reactor. The only room that knows mio and reads the clock.

mod alarm;
mod clock;
mod event_loop;
mod handle;
mod introduced;
mod listen;
mod listener;
mod loops;
mod mixed;
mod parts;
mod plain;
mod siblings;
mod signals;
mod transport;

use std::net::SocketAddr;

pub use self::event_loop::Server;
pub use self::handle::Handle;
pub use self::listen::{Address, Listen};
pub use self::loops::{Loops, MAX_LOOPS};
pub use self::mixed::Mixed;
pub use self::plain::Plain;
pub use self::transport::Transport;
use crate::proto::Millis;
use crate::reactor::Config;

/// The settings of a [`Server`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Listeners for the operator alone, numbered behind `listen`. They are open until the end, so that the operator can ask
    /// whether the server is ready while it drains.
    pub internal: Vec<Listen>,
    /// Limits and timeouts.
    pub config: Config,
    /// How long a shutdown may take before connections are dropped.
    pub drain_ms: Millis,
    /// Seed of the loop's randomness.
    pub seed: u64,
    /// Never sleeps: the loop polls for events without a pause. Halves the latency of a quiet server for a whole core.
    pub busy_poll: bool,
    /// SIGTERM and SIGINT begin a graceful shutdown; a second one ends the process at once. SIGHUP reads the files of
    /// `tls` again.
    pub stop_on_signals: bool,
    /// Certificates for the listeners that speak TLS ([`Listen::tls`]).
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::Tls>,
}

changeable!(Options);

impl Options {
    /// Listens on `address`, where port 0 lets the kernel choose, with defaults for everything else.
    #[must_use]
    pub fn listen(address: SocketAddr) -> Self {
        Self::listen_on(vec![address.into()])
    }

    /// Has several listeners, with defaults for everything else.
    #[must_use]
    pub fn listen_on(listen: Vec<Listen>) -> Self {
        Self {
            listen,
            internal: Vec::new(),
            config: Config::default(),
            drain_ms: 10_000,
            seed: 0,
            busy_poll: false,
            stop_on_signals: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}
