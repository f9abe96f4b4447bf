//! Layer 6: hooks of the chat to the team's backend over HTTP, by the contract of `docs/hooks.md`.
//!
//! The loops hand questions over and go on. Threads make the requests: some ask, one tells. What is asked and told, and how
//! answers are read (`answer`, `plan`, `batch`), is apart from the threads and knows no clock.

mod answer;
mod asker;
mod batch;
mod client;
mod link;
mod memory;
mod plan;
mod signature;
mod target;
mod teller;
mod unix;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

pub use self::asker::MAX_QUESTIONS;
pub use self::link::Link;
pub use self::memory::MAX_MEMORY_OCTETS;
pub use self::signature::signature;
pub use self::target::Target;

use self::asker::{Asker, Job};
use self::client::Client;
use self::link::Counts;
use self::memory::{MemoryEnd, Queue};
use self::teller::Teller;
use crate::chat::Happening;
use crate::chat::decisions::{Answer, AskNumber, EventOptions};
use crate::history::memory::Told;
use crate::history::outbox::{Outbox, Rope};

/// What the backend is, and what it is asked and told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where it is.
    pub target: Target,
    /// What requests are signed with; they are not when `None`.
    pub secret: Option<Vec<u8>>,
    /// What it is asked and told.
    pub events: EventOptions,
    /// Questions that are asked at a time, each on a connection and a thread of its own.
    pub connections: usize,
    /// Events that may wait in memory, where the history is there, too.
    pub max_events: u64,
}

changeable!(Options);

impl Options {
    /// The defaults, for a backend.
    #[must_use]
    pub fn of(target: Target) -> Self {
        Self { target, secret: None, events: EventOptions::default(), connections: 16, max_events: 1_000_000 }
    }
}

/// Why the hooks cannot begin.
#[derive(Debug)]
pub enum Error {
    /// The system has no certificates of authorities, or cannot start a thread.
    Io(io::Error),
    /// The backend's certificate could not be checked: the system trusts nobody.
    NoAuthorities,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NoAuthorities => f.write_str(
                "the system has no certificates of authorities to check the backend's by; install them, or name a file with the \
                 variable SSL_CERT_FILE",
            ),
        }
    }
}

impl std::error::Error for Error {}

/// The hooks of a process, whose threads do not run yet.
#[derive(Debug)]
pub struct Worker {
    client: Client,
    connections: usize,
    askers: Asker,
    queue: Arc<Queue>,
    end: MemoryEnd,
    counts: Arc<Counts>,
    tells: bool,
}

/// The threads at work; they end with [`Running::finish`].
#[derive(Debug)]
pub struct Running {
    client: Client,
    jobs: SyncSender<Option<Job>>,
    askers: Vec<JoinHandle<()>>,
    teller: Option<(JoinHandle<()>, Rope, Arc<AtomicBool>)>,
}

/// Hooks for this many loops, with an end for the chat of each.
///
/// # Errors
/// There is nothing to check the backend's certificate by.
pub fn new(options: Options, loops: usize) -> Result<(Vec<Link>, Worker), Error> {
    let Options { target, secret, events, connections, max_events } = options;
    let client = Client::new(&target, secret.as_deref())?;
    let (jobs, inbox) = sync_channel(MAX_QUESTIONS);
    let counts = Arc::new(Counts::default());
    let (queue, end) = memory::queue(max_events);
    let link =
        |own| Link::new(own, jobs.clone(), Arc::clone(&queue), Arc::clone(&counts), events.deadline_ms);
    let links = (0..loops).map(link).collect();
    let askers = Asker { jobs: jobs.clone(), inbox: Arc::new(Mutex::new(inbox)) };
    let tells = !events.tells.is_empty();
    Ok((links, Worker { client, connections, askers, queue, end, counts, tells }))
}

impl Worker {
    /// Takes note of what happens in a history in memory that several loops share.
    pub fn recorder(&self, events: &EventOptions) -> impl FnMut(Told<'_>) + Send + 'static {
        let (queue, tells) = (Arc::clone(&self.queue), events.tells);
        move |told| match told {
            Told::Note(body) => queue.push(body.to_owned(), true),
            Told::Change(change) => {
                let happening = Happening::of_action(&change.room, &change.action);
                let is_told = |it: &Happening<'_>| it.kind().is_some_and(|kind| tells.has(kind));
                if let Some(happening) = happening.filter(is_told) {
                    queue.push(happening.json(), false);
                }
            }
        }
    }

    /// Starts the threads. What waits to be told is in `outbox`, or in memory where there is none. `notify` gets each answer with
    /// the number of the loop that it is for.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        self,
        outbox: Option<Box<dyn Outbox>>,
        notify: impl Fn(usize, AskNumber, Answer) + Send + Sync + 'static,
    ) -> io::Result<Running> {
        let Self { client, connections, askers, end, counts, tells, .. } = self;
        let notify = Arc::new(notify);
        let mut threads = Vec::with_capacity(connections);
        for number in 0..connections {
            let (client, notify, inbox) = (client.clone(), Arc::clone(&notify), Arc::clone(&askers.inbox));
            let run = move || asker::run(&inbox, &client, &*notify);
            threads.push(Builder::new().name(format!("hook-ask-{number}")).spawn(run)?);
        }
        let mut teller = None;
        if tells {
            let mut outbox = outbox.unwrap_or_else(|| Box::new(end));
            let (rope, is_stopping) = (outbox.bell().rope(), Arc::new(AtomicBool::new(false)));
            let work = Teller::new(outbox, client.clone(), counts, Arc::clone(&is_stopping));
            let thread = Builder::new().name("hook-tell".into()).spawn(move || work.run())?;
            teller = Some((thread, rope, is_stopping));
        }
        Ok(Running { client, jobs: askers.jobs, askers: threads, teller })
    }
}

impl Running {
    /// Ends the threads; what waits in memory is told once more, if the backend takes it at once. To be called after the loops have
    /// ended, and before the store is closed.
    pub fn finish(self) {
        let Self { client, jobs, askers, teller } = self;
        for _ in &askers {
            // Threads take no further question; nobody waits for the answers.
            let _ = jobs.try_send(None);
        }
        if let Some((thread, rope, is_stopping)) = teller {
            is_stopping.store(true, Ordering::Relaxed);
            rope.ring();
            if thread.join().is_err() {
                tracing::error!("the thread that tells the backend panicked");
            }
        }
        client.shut_down();
        drop(jobs);
        for thread in askers {
            if thread.join().is_err() {
                tracing::error!("a thread that asks the backend panicked");
            }
        }
    }
}
