//! The durable history from outside: what it gives back, what it survives, and what it refuses.

#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test")]

mod basics;
mod bounds;
mod carried;
mod child;
mod commands;
mod damage;
mod durability;
mod erasing;
mod faults;
mod lineage;
mod mine;
mod model;
mod oracle;
mod order;
mod outbox;
mod pairs;
mod persons;
mod retention;
mod room_list;
mod search;
mod support;
