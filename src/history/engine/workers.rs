//! All engines of a chat at work: one, or several side by side.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use redis::{Cmd, cmd};

use super::error::EngineError;
use super::link::{Link, random};
use super::several::{Clients, Joiner};
use super::share::{Found, Mark, arrange};
use super::shared::Counts;
use super::target::Target;
use super::{Client, Options, Running, Signs, Worker, names, open, values};
use crate::history::memory::Told;
use crate::history::{Event, History, Start};

/// How often a list of engines is read that other servers make at the same time.
const ATTEMPTS: usize = 5;
/// Engines of a chat.
pub(super) const MAX_ENGINES: usize = 64;

/// A loop's end of the history.
pub type Loop = Box<dyn History + Send>;

/// Connects to all engines of a chat, for as many loops, with a client for each loop.
///
/// # Errors
/// Why one of them cannot be used, or that they are not those with which the chat began.
pub fn open_all(
    targets: Vec<Target>,
    options: &Options,
    loops: usize,
) -> Result<(Vec<Loop>, Workers, Start), EngineError> {
    let marks = marks(&targets)?;
    let mut targets: Vec<(Mark, Target)> = marks.into_iter().zip(targets).collect();
    targets.sort_by_key(|(mark, _)| mark.place);
    let mut all: Vec<Vec<Client>> = (0..loops).map(|_| Vec::new()).collect();
    let (mut workers, mut first) = (Vec::new(), None);
    for (mark, target) in targets {
        let (clients, mut worker, start) = open(target, options.clone(), loops)?;
        worker.mark = Some(mark.text());
        for (of_loop, client) in all.iter_mut().zip(clients) {
            of_loop.push(client);
        }
        workers.push(worker);
        first.get_or_insert(start);
    }
    let joiner = (workers.len() > 1).then(|| Arc::new(Joiner::new(loops, workers.len())));
    let boxed = |(number, mut engines): (usize, Vec<Client>)| match &joiner {
        Some(joiner) => {
            Box::new(Clients::new(number, Arc::clone(joiner), engines)) as Box<dyn History + Send>
        }
        None => Box::new(engines.remove(0)),
    };
    let clients = all.into_iter().enumerate().map(boxed).collect();
    Ok((clients, Workers { workers, joiner }, first.unwrap_or_default()))
}

/// The marks of engines; those with which a chat begins are given theirs.
fn marks(targets: &[Target]) -> Result<Vec<Mark>, EngineError> {
    if targets.is_empty() || targets.len() > MAX_ENGINES {
        return Err(EngineError::Engines(format!("a chat has 1 to {MAX_ENGINES}")));
    }
    let mut links = targets.iter().map(Link::connect).collect::<Result<Vec<_>, _>>()?;
    let mut question = cmd("HGET");
    question.arg(names::ENGINES).arg("chat");
    let mut rooms = cmd("EXISTS");
    rooms.arg(names::ROOMS).arg(names::RECENT_PAIRS);
    for _ in 0..ATTEMPTS {
        let mut found = Vec::with_capacity(links.len());
        for link in &mut links {
            let answers = link.call(&[question.clone(), rooms.clone()])?;
            let mark = answers.first().and_then(values::text).and_then(|text| Mark::read(&text));
            let has_rooms = answers.get(1).and_then(values::number) != Some(0);
            found.push(Found { mark, has_rooms });
        }
        let marks = arrange(&found, &format!("{:016x}", random()))?;
        let mut order: Vec<usize> = (0..marks.len()).collect();
        order.sort_by_key(|at| marks[*at].place);
        let mut is_agreed = true;
        // In the order of their places: who marks the first one names the chat.
        for at in order {
            if found[at].mark.is_none() && is_agreed {
                let answers = links[at].call(&[write(&marks[at].text()), question.clone()])?;
                is_agreed = answers.get(1).and_then(values::text) == Some(marks[at].text());
            }
        }
        if is_agreed {
            return Ok(marks);
        }
    }
    Err(EngineError::Engines(
        "other servers begin the chat with others, or the mark cannot be written".into(),
    ))
}

/// Gives an engine its mark, unless it has one.
pub(super) fn write(mark: &str) -> Cmd {
    let mut write = cmd("HSETNX");
    write.arg(names::ENGINES).arg("chat").arg(mark);
    write
}

/// The threads of all engines, which do not run yet.
pub struct Workers {
    /// By place.
    workers: Vec<Worker>,
    /// Where there are several.
    joiner: Option<Arc<Joiner>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Workers {
    /// The same; `tell` is told what this node has brought about, in the order of each room.
    #[must_use]
    pub fn with_teller(mut self, tell: impl FnMut(Told<'_>) + Send + 'static) -> Self {
        let tell = Arc::new(Mutex::new(tell));
        let telling = |worker: Worker| {
            let tell = Arc::clone(&tell);
            worker.with_teller(move |told| tell.lock().unwrap_or_else(PoisonError::into_inner)(told))
        };
        self.workers = self.workers.into_iter().map(telling).collect();
        self
    }

    /// The same; servers tell each other this, too, by the engine of the first place.
    #[must_use]
    pub fn with_signs(mut self, signs: &Arc<dyn Signs>) -> Self {
        let mut rest = self.workers.split_off(1);
        self.workers = self.workers.into_iter().map(|worker| worker.with_signs(Arc::clone(signs))).collect();
        self.workers.append(&mut rest);
        self
    }

    /// What servers call this one.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.workers.first().map(|worker| Arc::clone(&worker.node)).unwrap_or_default()
    }

    /// What the threads of each engine count, by place.
    #[must_use]
    pub fn counts(&self) -> Vec<Arc<Counts>> {
        self.workers.iter().map(Worker::counts).collect()
    }

    /// Starts the threads. `notify` gets every event with the number of the loop that it is for; it may block until there is room
    /// for the event, and says `false` when nobody listens any more.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(
        self,
        notify: impl Fn(usize, Event) -> bool + Send + Sync + 'static,
    ) -> Result<AllRunning, EngineError> {
        let notify = Arc::new(notify);
        let start = |(place, worker): (usize, Worker)| {
            let (joiner, notify) = (self.joiner.clone(), Arc::clone(&notify));
            worker.start(move |number, event| match &joiner {
                Some(joiner) => joiner.tell(place, number, event, &*notify),
                None => notify(number, event),
            })
        };
        self.workers.into_iter().enumerate().map(start).collect::<Result<_, _>>().map(AllRunning)
    }
}

/// The threads of all engines at work; they end with [`AllRunning::finish`].
#[derive(Debug)]
pub struct AllRunning(Vec<Running>);

impl AllRunning {
    /// Hands everything over to the engines that was handed over by the loops, where they answer in time. To be called after the
    /// loops have ended, on a thread that may wait.
    pub fn finish(self) {
        for running in self.0 {
            running.finish();
        }
    }
}
