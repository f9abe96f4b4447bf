//! The protocol core from outside: every rule, every cut, and against another implementation.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests say what is wrong by panicking"
)]

mod bulk;
mod closing;
#[cfg(feature = "deflate")]
mod deflate;
mod differential;
#[cfg(feature = "deflate")]
mod negotiation;
mod requirements;
mod rules;
mod streaming;
mod streams;
mod support;
