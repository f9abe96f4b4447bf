//! A WebSocket server on a single-threaded mio event loop (RFC 6455, RFC 7692), and a chat on top of it.
//!
//! | module | layer | what it is |
//! |---|---|---|
//! | `simd` | 0 | the kernels that touch every payload byte |
//! | [`proto`] | 1 | the protocol, sans I/O, server and client role |
//! | `app` | 2 | the seam: what a server on the loop implements, and what it may do |
//! | `reactor` | 3 | connections, output, topics and timers, generic over the socket |
//! | `tls` | 3 | TLS between a socket and the reactor |
//! | `net` | 4 | the mio event loop |
//! | `history` | | what is durable: the seam, and SQLite behind it on threads of its own |
//! | `apps`, `chat` | 5 | applications: echo, fanout, the chat |
//! | `auth` | 5 | tokens that say who somebody is |
//! | `api` | 6 | the HTTP API of the chat |
//! | `hooks` | 6 | hooks of the chat to a backend over HTTP |
//! | `ops` | 6 | for operators: metrics, health, a log that bad peers cannot flood |
//!
//! With `default-features = false` there is only the protocol core, which does no I/O and knows no clock.
//!
//! ```no_run
//! # #[cfg(feature = "net")]
//! fn main() -> std::io::Result<()> {
//!     use switchboard::apps::Echo;
//!     use switchboard::net::{Options, Server};
//!
//!     Server::bind(Options::listen(([127, 0, 0, 1], 9001).into()), Echo)?.run()
//! }
//! # #[cfg(not(feature = "net"))]
//! # fn main() {}
//! ```

/// The samples of the book are tests.
#[cfg(all(doctest, feature = "net"))]
mod book {
    #[doc = include_str!("../docs/embedding.md")]
    mod embedding {}
    #[doc = include_str!("../README.md")]
    mod readme {}
}

/// What an options struct has beside `Default`. Outside of the crate no literal of it can be written, so a new field breaks
/// nobody.
macro_rules! changeable {
    ($options:ty) => {
        impl $options {
            /// The same options with some of them changed.
            #[must_use]
            pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
                change(&mut self);
                self
            }
        }
    };
}

/// The features with which this library was built, for what a program says of itself.
pub const FEATURES: &[&str] = &[
    #[cfg(feature = "chat")]
    "chat",
    #[cfg(feature = "deflate")]
    "deflate",
    #[cfg(feature = "hooks")]
    "hooks",
    #[cfg(feature = "mmap")]
    "mmap",
    #[cfg(feature = "net")]
    "net",
    #[cfg(feature = "ops")]
    "ops",
    #[cfg(feature = "proxy")]
    "proxy",
    #[cfg(feature = "tls")]
    "tls",
];

#[cfg(feature = "ops")]
pub mod api;
#[cfg(feature = "net")]
pub mod app;
#[cfg(feature = "net")]
pub mod apps;
#[cfg(feature = "ops")]
pub mod auth;
#[cfg(feature = "chat")]
pub mod chat;
#[cfg(feature = "chat")]
pub mod history;
#[cfg(feature = "hooks")]
pub mod hooks;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "ops")]
pub mod ops;
pub mod proto;
#[cfg(feature = "net")]
pub mod reactor;
#[cfg(feature = "chat")]
mod shards;
// Public for the benches alone.
#[doc(hidden)]
pub mod simd;
#[cfg(feature = "chat")]
mod text;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "net")]
pub mod wall;
