//! What every test here stands on: a server process of its own, and a client that speaks raw bytes.

mod client;
mod scratch;
mod server;
pub(crate) mod tls;

use std::time::{Duration, Instant};

pub(crate) use client::{
    Client, End, Frame, Head, frame, head_of, masked, text, upgrade_request, upgrade_with,
};
pub(crate) use scratch::Scratch;
pub(crate) use server::{Launch, Server, assert_below, example};

/// The key of the example in RFC 6455 1.3, and the accept value that belongs to it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;

/// How long a test waits for something that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Polls `holds` until it is true; fails the test after `limit`.
#[track_caller]
pub(crate) fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(millis(20));
    }
}

/// Runs `check` on every case, and fails at the end if any did: one wrong row does not hide the next.
#[track_caller]
pub(crate) fn for_each<T>(cases: impl IntoIterator<Item = T>, mut check: impl FnMut(T)) {
    let run = |case| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(case))).is_err();
    let failed = cases.into_iter().map(run).filter(|failed| *failed).count();
    assert_eq!(failed, 0, "so many cases failed, see above");
}

/// Something that looks random and is the same in every run (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

/// Tells threads to stop when it goes, so that a failing test does not wait for them for ever.
#[derive(Debug)]
pub(crate) struct StopOnDrop<'s>(pub(crate) &'s std::sync::atomic::AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
