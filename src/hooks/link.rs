//! The end of the hooks that the chat of a loop has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::asker::{Job, now};
use super::memory::Queue;
use crate::app::Millis;
use crate::chat::Happening;
use crate::chat::decisions::{Answer, AskNumber, ChatEvents, Question, TellCounts};
use crate::history::outbox::Dropped;

/// What the thread that tells has counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) told: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) backlog: AtomicU64,
    pub(super) dropped: OnceLock<Arc<Dropped>>,
    /// Since when the oldest event waits, as far as that thread knows.
    pub(super) oldest: Mutex<Option<Instant>>,
}

/// Asks the threads, and never waits for them.
#[derive(Debug)]
pub struct Link {
    own: usize,
    jobs: SyncSender<Option<Job>>,
    queue: Arc<Queue>,
    counts: Arc<Counts>,
    deadline: Duration,
}

impl Link {
    pub(super) fn new(
        own: usize,
        jobs: SyncSender<Option<Job>>,
        queue: Arc<Queue>,
        counts: Arc<Counts>,
        deadline_ms: Millis,
    ) -> Self {
        Self { own, jobs, queue, counts, deadline: Duration::from_millis(deadline_ms) }
    }
}

impl ChatEvents for Link {
    fn ask(&mut self, number: AskNumber, question: &Question<'_>) -> Option<Answer> {
        // Strings and numbers always have a JSON form.
        let body = serde_json::to_string(question).unwrap_or_default();
        let job = Job { from: self.own, number, kind: question.kind(), body, until: now() + self.deadline };
        match self.jobs.try_send(Some(job)) {
            Ok(()) => None,
            Err(_) => Some(Answer::Away("too many questions wait for the backend".into())),
        }
    }

    fn tell(&mut self, happening: &Happening<'_>) {
        let is_note = !matches!(
            happening,
            Happening::Posted { .. }
                | Happening::Edited { .. }
                | Happening::Deleted { .. }
                | Happening::Reacted { .. }
        );
        self.queue.push(happening.json(), is_note);
    }

    fn counts(&self) -> TellCounts {
        if self.own > 0 {
            // One loop tells of them.
            return TellCounts::default();
        }
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { told, retried, dead, dropped, backlog, oldest } = &*self.counts;
        let oldest = *oldest.lock().unwrap_or_else(PoisonError::into_inner);
        let age = oldest.map_or(Duration::ZERO, |since| now().saturating_duration_since(since));
        TellCounts {
            told: load(told),
            retried: load(retried),
            dead: load(dead),
            dropped: dropped.get().map(|dropped| dropped.counts()).unwrap_or_default(),
            backlog: load(backlog),
            oldest_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
