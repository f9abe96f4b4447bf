//! The thread that tells.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::asker::now;
use super::batch;
use super::client::{Client, Reply};
use super::link::Counts;
use super::plan::{Next, Plan, Told};
use crate::history::outbox::{DeadLetter, Outbox, Page};

/// Octets of texts after which a request has no further event.
const BATCH_OCTETS: usize = 512 * 1024;
/// How long the backend may take for a request with events.
const TELL_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for the last one, when the server stops.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long what cannot be read is left alone.
const UNREADABLE: Duration = Duration::from_millis(100);
/// How long the thread waits where nothing happens, until it looks by itself.
const IDLE: Duration = Duration::from_mins(1);
/// Between two lines of the log that say why events wait.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Teller {
    outbox: Box<dyn Outbox>,
    client: Client,
    counts: Arc<Counts>,
    is_stopping: Arc<AtomicBool>,
    plan: Plan,
    /// The newest event that was taken.
    told: u64,
    logged: Option<Instant>,
}

impl Teller {
    pub(super) fn new(
        outbox: Box<dyn Outbox>,
        client: Client,
        counts: Arc<Counts>,
        is_stopping: Arc<AtomicBool>,
    ) -> Self {
        let plan = Plan::default();
        // There is one thread that tells.
        let _ = counts.dropped.set(outbox.dropped());
        Self { outbox, client, counts, is_stopping, plan, told: 0, logged: None }
    }

    /// Tells until the server stops.
    pub(super) fn run(mut self) {
        loop {
            let is_last = self.is_stopping.load(Ordering::Relaxed);
            let page = self.outbox.page(self.told, self.plan.limit(), BATCH_OCTETS);
            let wait = match page {
                None => UNREADABLE,
                Some(page) => {
                    self.note(&page);
                    if page.events.is_empty() { IDLE } else { self.tell(page, is_last) }
                }
            };
            if is_last && wait > Duration::ZERO {
                return;
            }
            self.wait(wait);
        }
    }

    /// Waits; where it is not for the next event, a new one is no reason to go on.
    fn wait(&mut self, wait: Duration) {
        let until = now() + wait;
        loop {
            let left = until.saturating_duration_since(now());
            if left == Duration::ZERO || self.is_stopping.load(Ordering::Relaxed) {
                return;
            }
            self.outbox.bell().wait(left);
            if wait == IDLE {
                return;
            }
        }
    }

    fn note(&mut self, page: &Page) {
        self.counts.backlog.store(page.len, Ordering::Relaxed);
        self.note_oldest(!page.events.is_empty());
    }

    /// The oldest event waits since it was seen first, or none waits.
    fn note_oldest(&self, is_there: bool) {
        let mut oldest = self.counts.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        *oldest = is_there.then(|| oldest.unwrap_or_else(now));
    }

    /// Tells the oldest events. Returns how long to wait until the next request.
    fn tell(&mut self, page: Page, is_last: bool) -> Duration {
        let Some(newest) = page.events.last().map(|event| event.id) else { return IDLE };
        let at_most = if is_last { LAST_TIMEOUT } else { TELL_TIMEOUT };
        let reply = self.client.post("tell", &batch::body(&page), at_most);
        let told = reply.as_ref().map_or(Told::Failed(None), |Reply { status, retry_after_s, .. }| {
            Told::of(*status, *retry_after_s)
        });
        let chance = getrandom::u64().unwrap_or_default();
        let events = page.events.len();
        match self.plan.after(&told, events, chance) {
            Next::GoOn => {
                self.told = newest;
                self.outbox.told(newest);
                self.counts.told.fetch_add(events as u64, Ordering::Relaxed);
                self.note_oldest(false);
                Duration::ZERO
            }
            Next::Again(wait_ms) => {
                self.counts.retried.fetch_add(1, Ordering::Relaxed);
                self.complain(reply, wait_ms);
                Duration::from_millis(wait_ms)
            }
            Next::Bury => {
                self.bury(page, &told);
                Duration::ZERO
            }
        }
    }

    fn bury(&mut self, page: Page, told: &Told) {
        let Some(event) = page.events.into_iter().next() else { return };
        let why = if let Told::Refused(status) = told { format!("status {status}") } else { String::new() };
        let (id, about) = (event.id, batch::about(&event));
        tracing::error!(id, why, about, "the backend refuses an event, which is a dead letter now");
        self.counts.dead.fetch_add(1, Ordering::Relaxed);
        self.told = id;
        self.note_oldest(false);
        self.outbox.bury(DeadLetter { id, why: why.into(), body: about.into() });
    }

    /// Says why events wait, now and then.
    fn complain(&mut self, reply: Result<Reply, String>, wait_ms: u64) {
        if self.logged.is_some_and(|at| now().saturating_duration_since(at) < LOG_EVERY) {
            return;
        }
        self.logged = Some(now());
        let why = reply.map_or_else(|error| error, |reply| format!("status {}", reply.status));
        let backlog = self.counts.backlog.load(Ordering::Relaxed);
        tracing::warn!(why, backlog, wait_ms, "events wait: the backend does not take them");
    }
}
