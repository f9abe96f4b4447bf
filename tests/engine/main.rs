//! Several nodes that are one chat, on a real engine. It needs `redis-server`, and fails without.

#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../wire/backend.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of nodes need some of it alone")]
mod backend;
mod backend_told;
mod bridge;
mod drain;
mod failover;
mod functions;
mod kills;
mod lists;
mod node;
mod nodes;
#[path = "../history/oracle.rs"]
mod oracle;
mod person;
mod proxy;
mod redis_server;
mod sentinel;
mod several;
mod signs;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of nodes need some of it alone")]
mod support;
mod trust;
