//! The history of a chat of several nodes: processes that share an engine, which is Redis or Valkey.
//!
//! The engine gives the numbers: a library of functions (`switchboard.lua`) does each step of a room at once, and tells every
//! node that follows the room. Three threads stand between it and the loops. `engine-commit` hands over what the loops propose;
//! `engine-feed` is told what happens and alone knows up to where; `engine-ask` reads what loops ask for. Each has connections
//! of its own and makes them again, so a loop never waits.
//!
//! Each call has a number, and the engine remembers the last one of each node in each room with its answer: what is sent again
//! after a broken connection is done once. What an engine that began again does not have any more is another history: rooms go
//! on under another name ([`Event::Epoch`]).

mod ask;
mod commit;
mod error;
mod facts;
mod feed;
mod follow;
mod link;
mod names;
mod round;
mod session;
mod several;
mod share;
mod shared;
mod target;
mod told;
mod values;
mod workers;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use self::ask::SEARCH_SCAN;
use self::ask::{Ask, Asker};
use self::commit::{Committer, Ends, Order, Tell};
pub use self::error::EngineError;
pub use self::facts::{Facts, Level};
use self::feed::{Feed, Request};
use self::follow::Places;
use self::link::{Link, function, instant, random};
pub use self::shared::Counts;
use self::shared::{Notify, Shared};
pub use self::target::{Certificates, Target};
pub use self::workers::{AllRunning, Loop, Workers, open_all};
use super::followers::MAX_LOOPS;
use super::memory::Told;
use super::{Act, BanChange, Batch, Data, EngineFigures, Event, History, Holder, Query, Start};

/// Batches that may be handed over and not be taken yet; above it [`History::propose`] refuses.
pub const MAX_ORDERS: usize = 4096;
/// What batches that are not done may take in memory together.
pub const MAX_ORDER_BYTES: usize = 64 << 20;
/// Queries that may wait for their answers; above it [`History::query`] refuses.
pub const MAX_ASKS: usize = 4096;
/// Rooms that may wait to be opened or closed; above it [`History::query`] refuses.
pub const MAX_OPENED: usize = 4096;

/// Replicas that an ack may wait for.
pub const MAX_REPLICAS: usize = 16;

/// How much an engine keeps, and how long it is waited for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Messages that each room keeps, and up to 63 more; 0: all.
    pub keep_posts: u64,
    /// Milliseconds for which messages are kept; 0: for ever. A room in which nothing is said for longer is forgotten.
    pub keep_ms: u64,
    /// Changes (edit, delete, react) that each room keeps.
    pub keep_changes: usize,
    /// For how long a key makes posting twice post once, in milliseconds.
    pub window_ms: u64,
    /// Keys of a room that are remembered, twice as many at most.
    pub max_keys: usize,
    /// Milliseconds after which the fate of a post counts as unknown.
    pub doubt_ms: u64,
    /// Replicas that must have a post before it counts as done, at most [`MAX_REPLICAS`].
    pub replicas: usize,
}

changeable!(Options);

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_posts: 10_000,
            keep_ms: 0,
            keep_changes: 1000,
            window_ms: 600_000,
            max_keys: 250_000,
            doubt_ms: 5000,
            replicas: 0,
        }
    }
}

impl Options {
    /// What each call of `propose` and `post` is told first.
    fn settings(&self, node: &str, run: &str) -> String {
        let Self { keep_posts, keep_ms, keep_changes, window_ms, max_keys, .. } = self;
        format!("{node} {run} {keep_posts} {keep_ms} {window_ms} {max_keys} {keep_changes}")
    }

    fn doubt(&self) -> Duration {
        Duration::from_millis(self.doubt_ms)
    }
}

/// What servers tell each other besides what happens in rooms. What is lost is not told again.
pub trait Signs: Send + Sync {
    /// What is to be told, and to which server (all where there is none), at this time in milliseconds of a clock without leaps.
    /// Asked every [`SIGNS_MS`] milliseconds.
    fn take(&self, now_ms: u64) -> Vec<(Option<Arc<str>>, String)>;

    /// Another server tells something. May wait.
    fn hear(&self, from: &str, word: &str, now_ms: u64);

    /// What is told at the end.
    fn last_word(&self) -> String;
}

/// Milliseconds between two times at which servers tell each other something.
pub const SIGNS_MS: u64 = 50;

/// What an engine says of itself, whether it can be used or not where an ack waits for so many replicas; and why not.
///
/// # Errors
/// It cannot be reached, or is no engine.
pub fn check(target: &Target, replicas: usize) -> Result<(Facts, Result<(), EngineError>), EngineError> {
    let facts = Link::ask_facts(target)?;
    let verdict = facts.check().and_then(|()| {
        let is_short = facts.replicas < replicas as u64;
        if is_short { Err(EngineError::Replicas { have: facts.replicas, need: replicas }) } else { Ok(()) }
    });
    Ok((facts, verdict))
}

/// Connects to an engine, for as many loops, at most [`MAX_LOOPS`], with a client for each.
///
/// # Errors
/// Why it cannot be used.
pub fn open(
    target: Target,
    options: Options,
    loops: usize,
) -> Result<(Vec<Client>, Worker, Start), EngineError> {
    let mut link = Link::connect(&target)?;
    let mut holders = redis::cmd("HGETALL");
    holders.arg(names::HOLDERS);
    // How many feeds hear it; that of this process does not run yet.
    let mut others = redis::cmd("PUBLISH");
    others.arg(names::EVERYBODY).arg(told::BEAT);
    let answers = link.call(&[function("bans", &[names::BANS.to_owned()]), holders, others])?;
    let bans = answers.first().and_then(values::bans);
    let holders = answers.get(1).and_then(values::holders);
    let (Some(bans), Some(holders)) = (bans, holders) else {
        return Err(EngineError::Answer("the lists of bans and names cannot be read".into()));
    };
    let shared = Arc::new(Shared::default());
    shared.set_level(link.facts().level(options.replicas));
    let (orders, order_inbox) = sync_channel(MAX_ORDERS);
    let (asks, ask_inbox) = sync_channel(MAX_ASKS);
    let (requests, request_inbox) = sync_channel(MAX_OPENED);
    let has_others = answers.get(2).and_then(values::number).is_some_and(|count| count > 0);
    let client = |number| Client {
        number,
        shared: Arc::clone(&shared),
        orders: orders.clone(),
        asks: asks.clone(),
        requests: requests.clone(),
        late: VecDeque::new(),
        has_others,
    };
    let loops = loops.clamp(1, MAX_LOOPS);
    let clients = (0..loops).map(client).collect();
    let inboxes = Inboxes { orders: order_inbox, asks: ask_inbox, requests: request_inbox };
    let node: Arc<str> = format!("{:016x}", random()).into();
    let start = Start { epoch: node.to_string(), bans, holders };
    let signs = None;
    let worker = Worker {
        target,
        options,
        node,
        loops,
        shared,
        orders,
        asks,
        inboxes,
        teller: None,
        signs,
        start: start.clone(),
        mark: None,
    };
    Ok((clients, worker, start))
}

/// A loop's end: hands over requests and never waits.
#[derive(Debug)]
pub struct Client {
    number: usize,
    shared: Arc<Shared>,
    orders: SyncSender<Order>,
    asks: SyncSender<Ask>,
    requests: SyncSender<Request>,
    /// Rooms to be followed, or no more, for which there was no place; in order.
    late: VecDeque<Request>,
    /// Other servers were there when this one began.
    has_others: bool,
}

impl Client {
    /// Tells the feed what rooms it is about, in order. `false`: there is no place yet.
    fn send_late(&mut self) -> bool {
        while let Some(request) = self.late.pop_front() {
            if let Err(TrySendError::Full(request)) = self.requests.try_send(request) {
                self.late.push_front(request);
                break;
            }
        }
        self.wake();
        self.late.is_empty()
    }

    /// The feed waits for the engine: the thread that asks has the engine tell it to look.
    fn wake(&self) {
        if !self.shared.must_wake.swap(true, Ordering::Relaxed) {
            // Where its inbox is full the thread is awake, and looks itself.
            let _ = self.asks.try_send(Ask::Wake);
        }
    }
}

impl History for Client {
    fn propose(&mut self, batch: Batch) -> Result<(), Batch> {
        let cost = cost(&batch);
        let load = self.shared.load.fetch_add(cost, Ordering::Relaxed);
        // A batch above the bound goes through when it is alone.
        let refused = if load > 0 && load + cost > MAX_ORDER_BYTES {
            batch
        } else {
            match self.orders.try_send(Order::Commit { from: self.number, batch, cost }) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => match order {
                    Order::Commit { batch, .. } => batch,
                    _ => unreachable!("a batch was sent"),
                },
            }
        };
        self.shared.load.fetch_sub(cost, Ordering::Relaxed);
        Err(refused)
    }

    fn hold(&mut self, holder: Holder) -> Result<(), Holder> {
        self.orders.try_send(Order::Hold(holder)).map_err(|refused| match refused {
            TrySendError::Full(Order::Hold(holder)) | TrySendError::Disconnected(Order::Hold(holder)) => {
                holder
            }
            _ => unreachable!("a name was sent"),
        })
    }

    fn query(&mut self, query: Query) -> Result<(), Query> {
        let Query::Open { room, recent, changes } = query else {
            return self.asks.try_send(Ask::Query(self.number, query)).map_err(|refused| match refused {
                TrySendError::Full(Ask::Query(_, query))
                | TrySendError::Disconnected(Ask::Query(_, query)) => query,
                _ => unreachable!("a query was sent"),
            });
        };
        let request = Request::Open { from: self.number, room, recent, changes };
        let refused =
            if self.send_late() { self.requests.try_send(request) } else { Err(TrySendError::Full(request)) };
        self.wake();
        refused.map_err(|refused| match refused {
            TrySendError::Full(Request::Open { room, recent, changes, .. })
            | TrySendError::Disconnected(Request::Open { room, recent, changes, .. }) => {
                Query::Open { room, recent, changes }
            }
            _ => unreachable!("a room was to be opened"),
        })
    }

    fn level(&self) -> &'static str {
        self.shared.level().as_str()
    }

    fn close(&mut self, room: &str) {
        self.late.push_back(Request::Close { from: self.number, room: room.into() });
        self.send_late();
    }

    fn follow(&mut self, room: &Arc<str>) {
        self.late.push_back(Request::Follow { from: self.number, room: Arc::clone(room) });
        self.send_late();
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn has_others(&self) -> bool {
        self.has_others
    }

    fn engine(&self) -> Option<EngineFigures> {
        (self.number == 0).then(|| self.shared.counts.figures())
    }

    fn open_rooms(&self) -> Option<u64> {
        let rooms = self.shared.counts.rooms.load(Ordering::Relaxed) as u64;
        Some(if self.number == 0 { rooms } else { 0 })
    }
}

/// What a batch takes in memory, about.
fn cost(batch: &Batch) -> usize {
    let texts = batch.proposals.iter().map(|proposal| {
        let texts = match &proposal.act {
            Act::Post(draft) => draft.text.len() + Data::len_of(draft.data.as_ref()),
            Act::Edit { text, data, .. } => text.len() + Data::len_of(data.as_ref()),
            Act::Note(body) => body.len(),
            Act::Import(record) => record.post.text.len(),
            _ => 0,
        };
        size_of_val(proposal) + texts
    });
    let bans = batch.bans.iter().map(|ban| match ban {
        BanChange::Set(set) => size_of_val(ban) + set.reason.len(),
        BanChange::Lift(_) => size_of_val(ban),
    });
    size_of_val(batch) + texts.sum::<usize>() + bans.sum::<usize>()
}

/// A history whose threads do not run yet.
pub struct Worker {
    target: Target,
    options: Options,
    node: Arc<str>,
    loops: usize,
    shared: Arc<Shared>,
    orders: SyncSender<Order>,
    asks: SyncSender<Ask>,
    inboxes: Inboxes,
    teller: Option<Tell>,
    signs: Option<Arc<dyn Signs>>,
    start: Start,
    /// Which engine of the chat this one is; it is told so again where it has lost that.
    mark: Option<String>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("target", &self.target)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// What servers tell each other, and the clock by which they do.
#[derive(Clone)]
struct Signing {
    signs: Arc<dyn Signs>,
    begin: Instant,
}

impl Signing {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What the threads take from.
struct Inboxes {
    orders: Receiver<Order>,
    asks: Receiver<Ask>,
    requests: Receiver<Request>,
}

impl Worker {
    /// The same; `tell` is told what this node has brought about, in the order of each room.
    #[must_use]
    pub fn with_teller(mut self, tell: impl FnMut(Told<'_>) + Send + 'static) -> Self {
        self.teller = Some(Box::new(tell));
        self
    }

    /// The same; servers tell each other this, too.
    #[must_use]
    pub fn with_signs(mut self, signs: Arc<dyn Signs>) -> Self {
        self.signs = Some(signs);
        self
    }

    /// What the threads count.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.shared.counts)
    }

    /// Starts the threads. `notify` gets every event with the number of the loop that it is for; it may block until there is room
    /// for the event, and says `false` when nobody listens any more.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(
        self,
        notify: impl FnMut(usize, Event) -> bool + Send + 'static,
    ) -> Result<Running, EngineError> {
        let Self { target, options, node, loops, shared, orders, asks, inboxes, teller, signs, start, mark } =
            self;
        let notify = Notify::new(notify);
        let whose = || (target.clone(), Arc::clone(&node));
        let places = Places::default();
        let follows = (inboxes.requests, places.clone(), loops);
        let signs = signs.map(|signs| Signing { signs, begin: instant() });
        let feed = Feed::new(whose(), Arc::clone(&shared), notify.clone(), follows, (start, signs.clone()));
        let asker = Asker::new(whose(), inboxes.asks, Arc::clone(&shared), notify.clone(), signs);
        let ends = Ends { inbox: inboxes.orders, notify, places, teller, mark };
        let committer = Committer::new((target, options), node, Arc::clone(&shared), ends, loops);
        // It is not waited for at the end: it may wait for an engine that says nothing.
        spawn("engine-feed", || feed.run())?;
        let asker = spawn("engine-ask", || asker.run())?;
        let committer = spawn("engine-commit", || committer.run())?;
        Ok(Running { shared, orders, asks, asker, committer })
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, EngineError> {
    let thread = thread::Builder::new().name(name.into()).spawn(run);
    thread.map_err(|error| EngineError::System(format!("no thread can be started: {error}")))
}

/// The threads at work; they end with [`Running::finish`].
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    orders: SyncSender<Order>,
    asks: SyncSender<Ask>,
    asker: JoinHandle<()>,
    committer: JoinHandle<()>,
}

impl Running {
    /// Hands everything over to the engine that was handed over by the loops, where it answers in time. To be called after the
    /// loops have ended, on a thread that may wait.
    pub fn finish(self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        // A thread that is gone has nothing left to stop.
        let _ = self.orders.send(Order::Stop);
        let _ = self.asks.send(Ask::Stop);
        for thread in [self.committer, self.asker] {
            if thread.join().is_err() {
                tracing::error!("a thread of the engine panicked");
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the threads are none of the loop")]
fn sleep(time: Duration) {
    thread::sleep(time);
}
