//! The threads that ask.

use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::answer;
use super::client::Client;
use crate::chat::decisions::{Answer, AskKind, AskNumber};

/// Questions of all loops that may wait for a thread; above it there is no answer.
pub const MAX_QUESTIONS: usize = 4096;

/// A question for the backend.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) from: usize,
    pub(super) number: AskNumber,
    pub(super) kind: AskKind,
    pub(super) body: String,
    /// Nobody waits for the answer after this.
    pub(super) until: Instant,
}

/// Where questions come from; `None` ends a thread.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) jobs: SyncSender<Option<Job>>,
    pub(super) inbox: Arc<Mutex<Receiver<Option<Job>>>>,
}

/// Asks one question after another.
pub(super) fn run(
    inbox: &Mutex<Receiver<Option<Job>>>,
    client: &Client,
    notify: &(impl Fn(usize, AskNumber, Answer) + ?Sized),
) {
    while let Some(job) = next(inbox) {
        let Job { from, number, kind, body, until } = job;
        let left = until.saturating_duration_since(now());
        // The loop has given it up already.
        if left > Duration::ZERO {
            notify(from, number, answer::of(kind, client.post("ask", body.as_bytes(), left)));
        }
    }
}

fn next(inbox: &Mutex<Receiver<Option<Job>>>) -> Option<Job> {
    // One thread waits here, and the others wait for it.
    inbox.lock().unwrap_or_else(PoisonError::into_inner).recv().ok().flatten()
}

#[expect(clippy::disallowed_methods, reason = "how long a question has waited is for the threads alone")]
pub(super) fn now() -> Instant {
    Instant::now()
}
