//! Black-box tests of the `switchboard` binary and of the examples: a real process, a real socket, raw bytes.
//!
//! A test carries in its name the row of the list of attacks (`hs_01`, `fr_05`, …) or the behaviour (`s33`) it
//! stands for. Each would fail without the defence it names, and each is bounded in count and in time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "the tests stand outside the loop: they read clocks and wait")]

mod api;
mod backend;
mod bodies;
mod chat;
mod chat_v1;
mod compression;
mod doctor;
mod examples;
mod frames;
mod handshake;
mod hooks;
mod late;
mod log;
mod loops;
mod messages;
mod ops;
mod page;
mod peers;
mod policy;
mod prometheus;
mod proxies;
mod settings;
mod sockets;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of attacks need some of it alone")]
mod support;
mod tls;
mod tls_clients;
mod tls_files;
mod tokens;
mod upgrades;
