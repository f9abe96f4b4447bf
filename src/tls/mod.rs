//! TLS (RFC 8446, RFC 5246) by rustls, between a socket and the reactor, which does not know of it.
//!
//! [`Tls`] is the configuration of a server: certificates, and whose clients may come. It is read from files, and read again
//! without a restart. A [`TlsStream`] is a [`Socket`](crate::reactor::Socket) around another one.

mod client;
mod config;
mod figures;
mod in_place;
mod names;
mod rest;
mod session;
mod stream;
mod warm_up;

pub use self::client::crypto;
pub use self::config::{Files, Reload, Tls, TlsError};
pub use self::figures::{Completed, Failure};
pub use self::in_place::provider;
pub use self::names::Certificate;
pub use self::stream::TlsStream;
