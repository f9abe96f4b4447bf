//! The chat as a state machine: on the loop with sockets in memory, a clock that the test turns, and a store that does what
//! the test says. `promise_N_…` are the promises of `docs/chat-protocol.md`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    reason = "a test says what is wrong by panicking"
)]

mod amplification;
mod carried;
mod cluster;
mod conversations;
mod decisions;
mod disk;
mod engine;
mod engine_promises;
mod epochs;
mod expiry;
mod gate;
mod http;
mod identity;
mod lean;
mod limits;
mod loops;
mod memory;
mod model;
mod moderation;
mod operator;
mod pace;
mod pairs;
mod parsing;
mod people;
mod persons;
mod promises;
mod refresh;
mod retention;
mod room_list;
mod rooms;
mod schemas;
mod search;
mod signs;
mod tutorial;
mod unhappy;
mod unread;
mod world;
