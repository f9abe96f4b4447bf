//! Black-box tests of what hostile peers and bad days do to a server: connections that come and go in every wrong way, floods,
//! slow consumers, failing system calls. Each carries the row of the list of attacks in its name (`lc_01`, `rx_05`, …), would fail
//! without the defence it names, and is bounded in count and in time.
//!
//! What can only be seen with other timeouts than the binary's runs the library's server in a thread (`inside`), over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "the tests stand outside the loop: they read clocks and wait")]

mod deadlines;
mod disk;
mod floods;
mod guests;
mod inside;
mod lifecycle;
mod policies;
mod process;
mod resources;
mod slow;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the other tests of the binary need some of it alone")]
mod support;
