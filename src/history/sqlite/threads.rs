//! The threads: one writes, one reads; and the loop's end of both.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::checkpoint::LogSize;
use super::data_dir::{DataDir, Memory, OpenError, Options};
use super::fresh::Fresh;
use super::names::Names;
use super::notify::Notify;
use super::reader::{Ask, Reader, Shelf, Slot};
use super::search_index::{IndexFile, SearchIndex, State};
use super::writer::{Ends, FinishError, KnownKeys, Order, OutboxEnds, Writer};
use crate::history::followers::{Followers, MAX_LOOPS};
use crate::history::outbox::{Bell, DeadLetter, Dropped, Outbox, Page, Rope};
use crate::history::{Act, BanChange, Batch, Data, Event, History, Holder, Query, Start};

/// Batches that may be handed over and not yet be committed; above it [`History::propose`] refuses.
pub const MAX_ORDERS: usize = 4096;
/// What they may take in memory together.
pub const MAX_ORDER_BYTES: usize = 64 << 20;
/// Queries that may wait for their answers; above it [`History::query`] refuses.
pub const MAX_ASKS: usize = 4096;

/// Opens the data directory `dir`, and makes it when it is missing (its parent must be there), for one loop.
///
/// # Errors
/// When the directory is in use, not writable, damaged, or not ours; the message says what to do.
pub fn open(dir: &Path, options: Options) -> Result<(Client, Worker, Start), OpenError> {
    let (clients, worker, start) = open_for(dir, options, 1)?;
    let client = clients.into_iter().next().ok_or(OpenError::Loops { asked: 1 })?;
    Ok((client, worker, start))
}

/// The same for several loops, with a client for each; at most [`MAX_LOOPS`].
///
/// # Errors
/// As [`open`], and when there are more loops, or none.
pub fn open_for(
    dir: &Path,
    options: Options,
    loops: usize,
) -> Result<(Vec<Client>, Worker, Start), OpenError> {
    if !(1..=MAX_LOOPS).contains(&loops) {
        return Err(OpenError::Loops { asked: loops });
    }
    let place = Arc::new(DataDir::take(dir, options)?);
    let (conn, start, Memory { keys, past }) = place.open()?;
    if place.options.outbox.is_some() {
        super::outbox::make(&conn).map_err(|error| place.refusal(&error))?;
    }
    let words = Arc::new(SearchIndex::new(&place));
    let index = State::read(&conn).and_then(|state| words.open(&state, false));
    let index = index.inspect_err(|error| tracing::error!(%error, "the index of words cannot be used")).ok();
    let (orders, order_inbox) = sync_channel(MAX_ORDERS);
    let (asks, ask_inbox) = sync_channel(MAX_ASKS);
    let load = Arc::new(AtomicUsize::new(0));
    let log_bytes = Arc::new(AtomicU64::new(0));
    let log = LogSize::new(Arc::clone(&log_bytes));
    let followers = Arc::new(Followers::new(loops));
    let known_keys = Arc::new(AtomicU64::new(keys.len() as u64));
    let client = |number| Client {
        number,
        orders: orders.clone(),
        asks: asks.clone(),
        load: Arc::clone(&load),
        log_bytes: Arc::clone(&log_bytes),
        keys: Arc::clone(&known_keys),
        followers: Arc::clone(&followers),
    };
    let clients = (0..loops).map(client).collect();
    let inboxes = Inboxes { orders: order_inbox, asks: ask_inbox };
    let outbox = place.options.outbox.is_some().then(<(Arc<Dropped>, Arc<Fresh>)>::default);
    let names = Names { epoch: start.epoch.as_str().into(), past };
    let keys = KnownKeys { keys, count: known_keys };
    let worker = Worker {
        place,
        conn,
        words,
        index,
        orders,
        asks,
        inboxes,
        load,
        log,
        followers,
        keys,
        names,
        outbox,
        rope: None,
    };
    Ok((clients, worker, start))
}

/// A loop's end: hands over requests and never waits. Requests are given back when [`MAX_ORDERS`], [`MAX_ORDER_BYTES`] or
/// [`MAX_ASKS`] are reached, or when the store has ended.
#[derive(Debug)]
pub struct Client {
    /// Which loop.
    number: usize,
    orders: SyncSender<Order>,
    asks: SyncSender<Ask>,
    /// What the batches take that are handed over and not committed.
    load: Arc<AtomicUsize>,
    log_bytes: Arc<AtomicU64>,
    keys: Arc<AtomicU64>,
    followers: Arc<Followers>,
}

impl History for Client {
    fn query(&mut self, query: Query) -> Result<(), Query> {
        if let Query::Open { room, .. } = &query {
            // Before it is read: what is committed in between is told.
            self.followers.follow(self.number, room);
        }
        self.asks.try_send(Ask::Query(self.number, query)).map_err(|refused| match refused {
            TrySendError::Full(Ask::Query(_, query)) | TrySendError::Disconnected(Ask::Query(_, query)) => {
                query
            }
            _ => unreachable!("a query was sent"),
        })
    }

    fn close(&mut self, room: &str) {
        self.followers.unfollow(self.number, room);
    }

    fn open_rooms(&self) -> Option<u64> {
        (self.followers.loops() > 1).then(|| if self.number == 0 { self.followers.rooms() as u64 } else { 0 })
    }

    fn keys(&self) -> u64 {
        // One loop tells of them.
        if self.number == 0 { self.keys.load(Ordering::Relaxed) } else { 0 }
    }

    fn follow(&mut self, room: &Arc<str>) {
        self.followers.follow(self.number, room);
    }

    fn log_bytes(&self) -> u64 {
        if self.number == 0 { self.log_bytes.load(Ordering::Relaxed) } else { 0 }
    }

    fn hold(&mut self, holder: Holder) -> Result<(), Holder> {
        self.orders.try_send(Order::Hold(holder)).map_err(|refused| match refused {
            TrySendError::Full(Order::Hold(holder)) | TrySendError::Disconnected(Order::Hold(holder)) => {
                holder
            }
            _ => unreachable!("a name was sent"),
        })
    }

    fn propose(&mut self, batch: Batch) -> Result<(), Batch> {
        let cost = cost(&batch);
        let load = self.load.fetch_add(cost, Ordering::Relaxed);
        // A batch above the bound goes through when it is alone.
        let refused = if load > 0 && load + cost > MAX_ORDER_BYTES {
            batch
        } else {
            match self.orders.try_send(Order::Commit { from: self.number, batch, cost }) {
                Ok(()) => return Ok(()),
                Err(
                    TrySendError::Full(Order::Commit { batch, .. })
                    | TrySendError::Disconnected(Order::Commit { batch, .. }),
                ) => batch,
                Err(_) => unreachable!("a batch was sent"),
            }
        };
        self.load.fetch_sub(cost, Ordering::Relaxed);
        Err(refused)
    }
}

/// What a batch takes in memory, within a few bytes.
fn cost(batch: &Batch) -> usize {
    let proposals = batch.proposals.iter().map(|proposal| {
        let texts = match &proposal.act {
            Act::Post(draft) => {
                let key = draft.key.as_ref().map_or(0, |key| key.key.len());
                draft.text.len() + Data::len_of(draft.data.as_ref()) + key
            }
            Act::Edit { text, data, .. } => text.len() + Data::len_of(data.as_ref()),
            Act::React { emoji, .. } => emoji.len(),
            Act::Import(record) => {
                let reactions = record.reactions.iter().flat_map(|(_, users)| users);
                let data = Data::len_of(record.post.data.as_ref());
                size_of_val(&**record)
                    + record.post.text.len()
                    + data
                    + reactions.map(size_of_val).sum::<usize>()
            }
            Act::Note(body) => body.len(),
            Act::Delete { .. } | Act::Read { .. } | Act::Subscribe { .. } => 0,
        };
        size_of_val(proposal) + texts
    });
    let bans = batch.bans.iter().map(|ban| match ban {
        BanChange::Set(set) => size_of_val(ban) + set.user.len() + set.reason.len(),
        BanChange::Lift(user) => size_of_val(ban) + user.len(),
    });
    size_of_val(batch) + proposals.sum::<usize>() + bans.sum::<usize>()
}

/// An opened history whose threads do not run yet.
#[derive(Debug)]
pub struct Worker {
    place: Arc<DataDir>,
    conn: Connection,
    words: Arc<SearchIndex>,
    index: Option<IndexFile>,
    orders: SyncSender<Order>,
    asks: SyncSender<Ask>,
    inboxes: Inboxes,
    load: Arc<AtomicUsize>,
    log: LogSize,
    followers: Arc<Followers>,
    keys: KnownKeys,
    names: Names,
    outbox: Option<(Arc<Dropped>, Arc<Fresh>)>,
    rope: Option<Rope>,
}

/// What the threads take from.
#[derive(Debug)]
struct Inboxes {
    orders: Receiver<Order>,
    asks: Receiver<Ask>,
}

impl Worker {
    /// The end of the outbox for the thread that tells the backend, if there is an outbox ([`Options::outbox`]).
    pub fn outbox(&mut self) -> Option<OutboxEnd> {
        let (dropped, fresh) = self.outbox.clone()?;
        let bell = Bell::default();
        self.rope = Some(bell.rope());
        Some(OutboxEnd {
            orders: self.orders.clone(),
            asks: self.asks.clone(),
            dropped,
            fresh,
            told: 0,
            bell,
        })
    }

    /// Starts the threads. `notify` gets every event with the number of the loop that it is for, in order, one at a time; it
    /// may block until there is room for the event (then the store waits), and says `false` when nobody listens any more.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(self, notify: impl FnMut(usize, Event) -> bool + Send + 'static) -> io::Result<Running> {
        let Self { place, conn, words, index, orders, asks, inboxes, load, log, followers, keys, .. } = self;
        let (names, outbox, rope) = (self.names, self.outbox, self.rope);
        let notify = Notify::new(notify);
        let slot = Arc::new(Mutex::new(Slot::default()));
        let books = Shelf { place: Arc::clone(&place), words: Arc::clone(&words), names };
        let reader = Reader::new(books, inboxes.asks, notify.clone(), Arc::clone(&slot));
        let reader = thread::Builder::new().name("store-read".into()).spawn(move || reader.run())?;
        let outbox = outbox.zip(rope).map(|((dropped, fresh), rope)| OutboxEnds { dropped, fresh, rope });
        let ends = Ends { notify, slot, followers, outbox };
        let writer = Writer::new((place, keys), inboxes.orders, ends, (words, index), (load, log))?;
        let writer = thread::Builder::new().name("store-write".into()).spawn(move || writer.run(conn))?;
        Ok(Running { orders, asks, writer, reader })
    }
}

/// The threads of a history at work. They end with [`Running::finish`].
#[derive(Debug)]
pub struct Running {
    orders: SyncSender<Order>,
    asks: SyncSender<Ask>,
    writer: JoinHandle<Result<(), FinishError>>,
    reader: JoinHandle<()>,
}

impl Running {
    /// Commits everything that was handed over, closes the database in order and returns back the lock. To be called after
    /// the loop has ended, on a thread that may wait.
    ///
    /// # Errors
    /// What could not be committed or closed.
    pub fn finish(self) -> Result<(), FinishError> {
        // A thread that is gone has nothing left to stop.
        let _ = self.asks.send(Ask::Stop);
        let _ = self.orders.send(Order::Stop);
        let ended = |_| FinishError::Panicked;
        self.reader.join().map_err(ended)?;
        self.writer.join().map_err(ended)?
    }
}

/// What the thread has that tells the backend: it looks at what is fresh or else asks the thread that reads, and tells the one
/// that writes.
#[derive(Debug)]
pub struct OutboxEnd {
    orders: SyncSender<Order>,
    asks: SyncSender<Ask>,
    dropped: Arc<Dropped>,
    fresh: Arc<Fresh>,
    /// The newest event of which the thread that writes was told so.
    told: u64,
    bell: Bell,
}

impl Outbox for OutboxEnd {
    fn page(&mut self, after: u64, limit: usize, octets: usize) -> Option<Page> {
        let after = after.max(self.told);
        if let Some(page) = self.fresh.page(after, limit, octets) {
            return Some(page);
        }
        let (answer, answered) = sync_channel(1);
        self.asks.send(Ask::Outbox { after, limit, octets, answer }).ok()?;
        answered.recv().ok()?
    }

    fn told(&mut self, id: u64) {
        self.told = id;
        // A store that has ended tells it again.
        let _ = self.orders.send(Order::Told(id));
    }

    fn bury(&mut self, dead: DeadLetter) {
        self.told = dead.id;
        let _ = self.orders.send(Order::Bury(dead));
    }

    fn dropped(&self) -> Arc<Dropped> {
        Arc::clone(&self.dropped)
    }

    fn bell(&mut self) -> &mut Bell {
        &mut self.bell
    }
}
