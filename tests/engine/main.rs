//! Several nodes that are one chat, on a real engine. It needs `redis-server`, and fails without.

#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test")]

mod bridge;
mod functions;
mod node;
#[path = "../history/oracle.rs"]
mod oracle;
mod proxy;
mod redis_server;
