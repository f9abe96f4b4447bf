//! The threads: one writes, one reads; and the loop's end of both.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::checkpoint::LogSize;
use super::data_dir::{DataDir, OpenError, Options};
use super::notify::Notify;
use super::reader::{Ask, Reader, Slot};
use super::search_index::{IndexFile, SearchIndex, State};
use super::writer::{FinishError, Order, Writer};
use crate::history::{Action, BanChange, Batch, Event, History, Holder, Query, Start};

/// Batches that may be handed over and not yet be committed; above it [`History::commit`] refuses.
pub const MAX_ORDERS: usize = 4096;
/// What they may take in memory together.
pub const MAX_ORDER_BYTES: usize = 64 << 20;
/// Queries that may wait for their answers; above it [`History::query`] refuses.
pub const MAX_ASKS: usize = 4096;

/// Opens the data directory `dir`, and makes it when it is missing (its parent must be there).
///
/// # Errors
/// When the directory is in use, not writable, damaged, or not ours; the message says what to do.
pub fn open(dir: &Path, options: Options) -> Result<(Client, Worker, Start), OpenError> {
    let place = Arc::new(DataDir::take(dir, options)?);
    let (conn, start) = place.open()?;
    let words = Arc::new(SearchIndex::new(&place));
    let index = State::read(&conn).and_then(|state| words.open(&state, false));
    let index = index.inspect_err(|error| tracing::error!(%error, "the index of words cannot be used")).ok();
    let (orders, order_inbox) = sync_channel(MAX_ORDERS);
    let (asks, ask_inbox) = sync_channel(MAX_ASKS);
    let load = Arc::new(AtomicUsize::new(0));
    let log_bytes = Arc::new(AtomicU64::new(0));
    let log = LogSize::new(Arc::clone(&log_bytes));
    let client = Client { orders: orders.clone(), asks: asks.clone(), load: Arc::clone(&load), log_bytes };
    let worker = Worker { place, conn, words, index, orders, order_inbox, asks, ask_inbox, load, log };
    Ok((client, worker, start))
}

/// The loop's end: hands over requests and never waits. Requests are given back when [`MAX_ORDERS`], [`MAX_ORDER_BYTES`] or
/// [`MAX_ASKS`] are reached, or when the store has ended.
#[derive(Debug)]
pub struct Client {
    orders: SyncSender<Order>,
    asks: SyncSender<Ask>,
    /// What the batches take that are handed over and not committed.
    load: Arc<AtomicUsize>,
    log_bytes: Arc<AtomicU64>,
}

impl History for Client {
    fn query(&mut self, query: Query) -> Result<(), Query> {
        self.asks.try_send(Ask::Query(query)).map_err(|refused| match refused {
            TrySendError::Full(Ask::Query(query)) | TrySendError::Disconnected(Ask::Query(query)) => query,
            TrySendError::Full(Ask::Stop) | TrySendError::Disconnected(Ask::Stop) => {
                unreachable!("a query was sent")
            }
        })
    }

    fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    fn hold(&mut self, holder: Holder) -> Result<(), Holder> {
        self.orders.try_send(Order::Hold(holder)).map_err(|refused| match refused {
            TrySendError::Full(Order::Hold(holder)) | TrySendError::Disconnected(Order::Hold(holder)) => {
                holder
            }
            _ => unreachable!("a name was sent"),
        })
    }

    fn commit(&mut self, batch: Batch) -> Result<(), Batch> {
        let cost = cost(&batch);
        let load = self.load.fetch_add(cost, Ordering::Relaxed);
        // A batch above the bound goes through when it is alone.
        let refused = if load > 0 && load + cost > MAX_ORDER_BYTES {
            batch
        } else {
            match self.orders.try_send(Order::Commit { batch, cost }) {
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
    let changes = batch.changes.iter().map(|change| {
        let texts = match &change.action {
            Action::Post(post) => post.text.len() + post.key.as_ref().map_or(0, |key| key.len()),
            Action::Edit { text, .. } => text.len(),
            Action::React { emoji, .. } => emoji.len(),
            Action::Delete { .. } | Action::Read { .. } => 0,
        };
        size_of_val(change) + texts
    });
    let bans = batch.bans.iter().map(|ban| match ban {
        BanChange::Set(set) => size_of_val(ban) + set.user.len() + set.reason.len(),
        BanChange::Lift(user) => size_of_val(ban) + user.len(),
    });
    size_of_val(batch) + changes.sum::<usize>() + bans.sum::<usize>()
}

/// An opened history whose threads do not run yet.
#[derive(Debug)]
pub struct Worker {
    place: Arc<DataDir>,
    conn: Connection,
    words: Arc<SearchIndex>,
    index: Option<IndexFile>,
    orders: SyncSender<Order>,
    order_inbox: Receiver<Order>,
    asks: SyncSender<Ask>,
    ask_inbox: Receiver<Ask>,
    load: Arc<AtomicUsize>,
    log: LogSize,
}

impl Worker {
    /// Starts the threads. `notify` gets every event, in order, one at a time; it may block until there is room for the
    /// event (then the store waits), and says `false` when nobody listens any more.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(self, notify: impl FnMut(Event) -> bool + Send + 'static) -> io::Result<Running> {
        let Self { place, conn, words, index, orders, order_inbox, asks, ask_inbox, load, log } = self;
        let notify = Notify::new(notify);
        let slot = Arc::new(Mutex::new(Slot::default()));
        let reader =
            Reader::new(Arc::clone(&place), ask_inbox, notify.clone(), Arc::clone(&slot), Arc::clone(&words));
        let reader = thread::Builder::new().name("store-read".into()).spawn(move || reader.run())?;
        let writer = Writer::new(place, order_inbox, (notify, slot), (words, index), (load, log))?;
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
