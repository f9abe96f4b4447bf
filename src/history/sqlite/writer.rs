//! The thread that writes: group commit, and what happens when a commit fails.
//!
//! It takes what was handed over while the last commit was under way and commits it at once. After a failure it goes on
//! with nothing as if it had happened: what was to be committed and all behind it is refused, every connection is closed,
//! and a new one must bring the whole log into the database before anything is committed again. Then it is certain what of
//! the refused is on the disk.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::checkpoint::{Checkpointer, LogSize, checkpoint};
use super::clock::instant;
use super::data_dir::{DataDir, store_holder};
use super::fresh::Fresh;
use super::maintenance::{ERASE_AFTER, Maintenance, REWRITTEN_AT_THE_END, rewrite};
use super::notify::Notify;
use super::outbox::OutboxRows;
use super::reader::{Slot, Uncertain};
use super::schema;
use super::search_index::{IndexFile, IndexThread, SearchIndex};
use super::transaction::{Done, Error, Trace, Transactions, end_erasing};
use crate::history::followers::Followers;
use crate::history::keys::Keys;
use crate::history::outbox::{DeadLetter, Dropped, Rope};
use crate::history::{Action, BanChange, Batch, Change, Event, HistoryError, Holder, Ticket};

/// Changes of one commit; the batch that reaches it is the last.
pub(super) const MAX_COMMIT_CHANGES: usize = 8192;
/// Bytes of one commit; the batch that reaches them is the last.
pub(super) const MAX_COMMIT_BYTES: usize = 16 << 20;
/// Between two attempts to recover, in milliseconds: at first, and at most.
pub(super) const RETRY_MS: (u64, u64) = (100, 5000);

/// Why a history did not end in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum FinishError {
    /// A thread panicked.
    Panicked,
    /// The last commit failed, and there was no time left to recover.
    Uncommitted(HistoryError),
    /// The database could not be closed.
    Unclosed(HistoryError),
}

impl fmt::Display for FinishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("a thread of the store panicked"),
            Self::Uncommitted(error) | Self::Unclosed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FinishError {}

/// After this what the backend has taken is written down, also where nothing else is committed. A server that is killed before
/// tells it again.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    /// From which loop, what, and what it takes in memory.
    Commit {
        from: usize,
        batch: Batch,
        cost: usize,
    },
    Hold(Holder),
    /// The backend has taken the events up to this one.
    Told(u64),
    /// The backend refuses an event for good.
    Bury(DeadLetter),
    Stop,
}

/// What failed, and what must be known to recover.
#[derive(Debug)]
struct Failure {
    error: Arc<Error>,
    /// What was to be committed, and may be on the disk.
    done: Done,
    /// The first batch of each loop that is refused; none of those that had none.
    tickets: Vec<Option<Ticket>>,
    trace: Trace,
    /// Undoes the bans of the batches.
    undo: Vec<BanChange>,
}

impl From<Error> for Box<Failure> {
    fn from(error: Error) -> Self {
        Box::new(Failure {
            error: Arc::new(error),
            done: Done::default(),
            tickets: Vec::new(),
            trace: Trace::default(),
            undo: Vec::new(),
        })
    }
}

/// Why a connection is used no more.
#[derive(Debug)]
enum Ended {
    Stopped,
    Failed(Box<Failure>),
}

/// Whom the thread tells what.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) notify: Notify,
    pub(super) slot: Arc<Mutex<Slot>>,
    pub(super) followers: Arc<Followers>,
    pub(super) outbox: Option<OutboxEnds>,
}

/// What the thread shares with the one that tells the backend.
#[derive(Debug)]
pub(super) struct OutboxEnds {
    pub(super) dropped: Arc<Dropped>,
    pub(super) fresh: Arc<Fresh>,
    pub(super) rope: Rope,
}

impl Ends {
    /// What each loop is told of changes.
    fn deal_out(&self, changes: &[Arc<Change>]) -> Vec<Vec<Arc<Change>>> {
        let mut dealt = vec![Vec::new(); self.followers.loops()];
        for change in changes {
            for number in self.followers.of(&change.room) {
                dealt[number].push(Arc::clone(change));
            }
        }
        dealt
    }
}

/// The keys against double posts, and how many there are.
#[derive(Debug)]
pub(super) struct KnownKeys {
    pub(super) keys: Keys,
    pub(super) count: Arc<AtomicU64>,
}

impl KnownKeys {
    fn note(&self) {
        self.count.store(self.keys.len() as u64, Ordering::Relaxed);
    }

    /// What was to be committed has come to nothing.
    fn forget(&mut self, names: &[Arc<str>]) {
        for name in names {
            self.keys.forget(name);
        }
        self.note();
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    place: Arc<DataDir>,
    inbox: Receiver<Order>,
    /// Was taken from the inbox and is next.
    carried: Option<Order>,
    ends: Ends,
    keys: KnownKeys,
    checkpointer: Checkpointer,
    words: Arc<SearchIndex>,
    indexer: IndexThread,
    load: Arc<AtomicUsize>,
    /// Failures told so far; batches of an earlier term are refused without a word.
    term: u32,
    /// The last ticket of each loop that was committed or refused.
    tickets: Vec<Ticket>,
    /// Names that are not on the disk yet.
    holders: Vec<Holder>,
    /// The newest event that the backend has taken, where the outbox does not know of it yet.
    told: Option<(u64, Instant)>,
    /// How much of the log is in use.
    log: LogSize,
    /// Something was deleted in this run, or in one before that did not come to erase it.
    has_erased: bool,
    /// Writing the database again has not failed.
    may_rewrite: bool,
    /// How long to wait before the next attempt to recover; 0 as long as commits succeed.
    retry_ms: u64,
}

impl Writer {
    pub(super) fn new(
        (place, keys): (Arc<DataDir>, KnownKeys),
        inbox: Receiver<Order>,
        ends: Ends,
        (words, index): (Arc<SearchIndex>, Option<IndexFile>),
        (load, log): (Arc<AtomicUsize>, LogSize),
    ) -> io::Result<Self> {
        let checkpointer = Checkpointer::start(Arc::clone(&place))?;
        let indexer = IndexThread::start(Arc::clone(&place), Arc::clone(&words), index)?;
        let tickets = vec![0; ends.followers.loops()];
        Ok(Self {
            place,
            inbox,
            carried: None,
            ends,
            keys,
            checkpointer,
            words,
            indexer,
            load,
            term: 0,
            tickets,
            holders: Vec::new(),
            told: None,
            log,
            has_erased: false,
            may_rewrite: true,
            retry_ms: 0,
        })
    }

    /// Serves until it is told to stop, or nobody is left who could tell.
    pub(super) fn run(mut self, mut conn: Connection) -> Result<(), FinishError> {
        loop {
            match self.serve(&mut conn) {
                Ended::Stopped => {
                    drop(self.checkpointer);
                    drop(self.indexer);
                    self.place.note_lineage(&conn);
                    return close(conn, self.has_erased);
                }
                Ended::Failed(failure) => {
                    let reason = failed(&failure.error);
                    self.refuse(&failure);
                    drop(conn);
                    conn = self.recover(*failure).ok_or(FinishError::Uncommitted(reason))?;
                }
            }
        }
    }

    fn serve(&mut self, conn: &mut Connection) -> Ended {
        let pages = Arc::new(AtomicI32::new(0));
        let counter = Arc::clone(&pages);
        let hooked = conn.wal_hook(Some(move |_: &mut _, pages| {
            counter.store(pages, Ordering::Relaxed);
            Ok(())
        }));
        let served = hooked
            .map_err(Error::from)
            .and_then(|()| Transactions::new(conn))
            .and_then(|session| self.with_outbox(session))
            .map_err(Box::<Failure>::from);
        match served.and_then(|mut session| self.serve_session(&mut session, &pages)) {
            Ok(()) => Ended::Stopped,
            Err(failure) => Ended::Failed(failure),
        }
    }

    fn with_outbox<'c>(&self, mut session: Transactions<'c>) -> super::transaction::Result<Transactions<'c>> {
        if let (Some(options), Some(ends)) = (self.place.options.outbox, &self.ends.outbox) {
            let (dropped, fresh) = (Arc::clone(&ends.dropped), Arc::clone(&ends.fresh));
            session.outbox = Some(OutboxRows::new(session.conn, options, dropped, fresh)?);
            ends.rope.ring();
        }
        Ok(session)
    }

    fn serve_session(
        &mut self,
        session: &mut Transactions<'_>,
        pages: &AtomicI32,
    ) -> Result<(), Box<Failure>> {
        let options = self.place.options.clone();
        let words = Arc::clone(&self.words);
        // Right after a failure commits go first: erasing writes much, and may fail again.
        let pause = if self.term > 0 { ERASE_AFTER } else { Duration::ZERO };
        let erase_in = self.place.has_log().then_some(pause);
        let mut maintenance = Maintenance::load(session, words, &options, erase_in, self.may_rewrite)?;
        self.has_erased |= maintenance.is_moved();
        loop {
            if !self.holders.is_empty() {
                session.transact(|session| {
                    self.holders.iter().try_for_each(|holder| Ok(store_holder(session.conn, holder)?))
                })?;
                self.holders.clear();
            }
            let (pause, told_in) = (maintenance.pause(session, &options), self.told_in());
            if told_in == Some(Duration::ZERO) {
                self.note_told(session)?;
            }
            match self.next_order(pause.into_iter().chain(told_in).min()) {
                None if told_in.is_some_and(|told_in| pause.is_none_or(|pause| told_in < pause)) => {}
                None => {
                    maintenance.step(session, &options)?;
                    let erased = maintenance.erase(&self.checkpointer, pages, session);
                    // It is tried again after the next deletion, and by the next run.
                    erased.inspect_err(|_| self.may_rewrite = false)?;
                    self.has_erased |= maintenance.is_moved();
                }
                Some(Order::Stop) => return Ok(self.note_told(session)?),
                Some(Order::Hold(holder)) => self.holders.push(holder),
                Some(Order::Told(told)) => {
                    // The next commit takes it along.
                    let since = self.told.map_or_else(instant, |(_, since)| since);
                    self.told = Some((told, since));
                }
                Some(Order::Bury(dead)) => {
                    session.transact(|session| {
                        session.outbox.as_mut().map_or(Ok(()), |outbox| Ok(outbox.bury(&dead)?))
                    })?;
                }
                Some(Order::Commit { from, batch, cost }) => {
                    maintenance.note(self.commit(session, (from, batch), cost)?);
                    if session.take_erased() {
                        maintenance.note_erased();
                        self.has_erased = true;
                    }
                    self.indexer.ring();
                }
            }
            self.log.note(pages.load(Ordering::Relaxed));
            self.checkpointer.note(pages.load(Ordering::Relaxed), session.conn)?;
        }
    }

    /// How long it takes at most until that is written down which the backend has taken.
    fn told_in(&self) -> Option<Duration> {
        self.told.map(|(_, since)| (since + TOLD_AFTER).saturating_duration_since(instant()))
    }

    fn note_told(&mut self, session: &mut Transactions<'_>) -> super::transaction::Result<()> {
        let Some((told, _)) = self.told.take() else { return Ok(()) };
        session.told = Some(told);
        session.transact(|_| Ok(()))
    }

    /// `None` when nothing came up in the pause, or there must be none.
    fn next_order(&mut self, pause: Option<Duration>) -> Option<Order> {
        if self.carried.is_some() {
            return self.carried.take();
        }
        let order = match pause {
            // An order that waits already would be taken first.
            Some(Duration::ZERO) => return None,
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(pause) => self.inbox.recv_timeout(pause),
        };
        match order {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            // Nobody is left who could tell: the same as to be told.
            Err(RecvTimeoutError::Disconnected) => Some(Order::Stop),
        }
    }

    /// Commits the batch with all that wait behind it, up to the bounds of a commit; returns the number of changes.
    fn commit(
        &mut self,
        session: &mut Transactions<'_>,
        first: (usize, Batch),
        cost: usize,
    ) -> Result<usize, Box<Failure>> {
        let mut batches = Vec::new();
        let mut tickets = vec![None; self.tickets.len()];
        let mut total = 0;
        let mut proposals = 0;
        let mut next = Some((first, cost));
        while let Some(((from, batch), cost)) = next.take() {
            total += cost;
            self.tickets[from] = batch.ticket;
            if batch.term == self.term {
                tickets[from].get_or_insert(batch.ticket);
                proposals += batch.proposals.len();
                batches.push((from, batch));
            }
            if proposals >= MAX_COMMIT_CHANGES || total >= MAX_COMMIT_BYTES {
                break;
            }
            match self.inbox.try_recv() {
                Ok(Order::Commit { from, batch, cost }) => next = Some(((from, batch), cost)),
                Ok(other) => self.carried = Some(other),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
        }
        let mut done = Done { outcomes: vec![Vec::new(); self.tickets.len()], ..Done::default() };
        let committed = if batches.is_empty() {
            Ok(())
        } else {
            session.told = self.told.take().map(|(told, _)| told);
            session.commit(batches, &mut self.keys.keys, &mut done)
        };
        self.load.fetch_sub(total, Ordering::Relaxed);
        self.keys.note();
        if let Err(error) = committed {
            let (trace, undo) = (session.trace(), session.replaced_bans());
            return Err(Box::new(Failure { error: Arc::new(error), done, tickets, trace, undo }));
        }
        if let (Some(rows), Some(ends)) = (&mut session.outbox, &self.ends.outbox)
            && rows.take_rung()
        {
            ends.rope.ring();
        }
        if tickets.iter().any(Option::is_some) {
            self.retry_ms = 0;
            self.tell_settled(done, &tickets);
        }
        Ok(proposals)
    }

    /// Tells each loop what came of its proposals, and what happened in the rooms that it has open.
    fn tell_settled(&self, done: Done, tickets: &[Option<Ticket>]) {
        let Done { outcomes, changes, bans, .. } = done;
        let dealt = self.ends.deal_out(&changes);
        for (number, (outcomes, changes)) in outcomes.into_iter().zip(dealt).enumerate() {
            if tickets[number].is_some() || !changes.is_empty() || !bans.is_empty() {
                let (ticket, bans) = (self.tickets[number], bans.clone());
                self.ends.notify.tell(number, Event::Settled { ticket, outcomes, changes, bans });
            }
        }
    }

    /// Tells of a failure. From here on nothing is told of the rooms whose refused changes may be on the disk, until it is
    /// known whether they are.
    fn refuse(&mut self, failure: &Failure) {
        self.slot().uncertain = uncertain(&failure.done.changes);
        tracing::error!(error = %failure.error, "a commit failed; nothing is accepted until it is mended");
        self.refuse_from(&failure.tickets, &failed(&failure.error));
    }

    /// Every loop begins another term. Of those that have no ticket among these whatever comes next is refused.
    fn refuse_from(&mut self, tickets: &[Option<Ticket>], reason: &HistoryError) {
        self.term = self.term.wrapping_add(1);
        for (number, last) in self.tickets.iter().enumerate() {
            let (term, reason) = (self.term, reason.clone());
            let ticket = tickets.get(number).copied().flatten().unwrap_or(last + 1);
            self.ends.notify.tell(number, Event::Failed { term, ticket, reason });
        }
    }

    /// Tries until a new connection has everything of the log in the database; `None` when told to stop before.
    fn recover(&mut self, failure: Failure) -> Option<Connection> {
        let Failure { mut error, done, trace, undo, .. } = failure;
        loop {
            // At once after a single failure.
            if self.retry_ms > 0 {
                self.wait(self.retry_ms, &error)?;
            }
            self.retry_ms = (self.retry_ms * 2).clamp(RETRY_MS.0, RETRY_MS.1);
            match self.reopen(trace, &undo) {
                Ok((conn, has_landed)) => {
                    let landed: &[_] = if has_landed { &done.changes } else { &[] };
                    if !has_landed {
                        self.keys.forget(&done.keys);
                    }
                    tracing::info!(landed = landed.len(), "commits are possible again");
                    for (number, landed) in self.ends.deal_out(landed).into_iter().enumerate() {
                        self.ends.notify.tell(number, Event::Recovered { landed });
                    }
                    self.slot().uncertain.clear();
                    return Some(conn);
                }
                Err(again) => {
                    tracing::warn!(error = %again, wait_ms = self.retry_ms, "not mended yet");
                    error = Arc::new(again);
                }
            }
        }
    }

    /// Opens again, which reads the log back, brings all of it into the database, and finds out whether the failed commit
    /// is there.
    fn reopen(&self, trace: Trace, undo: &[BanChange]) -> super::transaction::Result<(Connection, bool)> {
        // No connection of this process is left, so what the log really holds is read again.
        let mut slot = self.slot();
        slot.conn = None;
        self.checkpointer.disconnect();
        self.words.close();
        let conn = schema::connect(&self.place.path)?;
        schema::set_up_writer(&conn)?;
        checkpoint(&conn, "TRUNCATE")?;
        drop(slot);
        let has_landed = has_row(&conn, "posts", trace.post)? || has_row(&conn, "changes", trace.change)?;
        let mut session = Transactions::new(&conn)?;
        session.transact(|session| undo.iter().try_for_each(|ban| session.change_ban(ban)))?;
        drop(session);
        self.words.reopen();
        self.indexer.ring();
        Ok((conn, has_landed))
    }

    /// Waits for the next attempt and refuses what comes meanwhile; `None` when told to stop.
    fn wait(&mut self, wait_ms: u64, error: &Arc<Error>) -> Option<()> {
        let until = instant() + Duration::from_millis(wait_ms);
        loop {
            let left = until.saturating_duration_since(instant());
            let order = match self.carried.take() {
                Some(order) => order,
                None => match self.inbox.recv_timeout(left) {
                    Ok(order) => order,
                    Err(RecvTimeoutError::Timeout) => return Some(()),
                    Err(RecvTimeoutError::Disconnected) => return None,
                },
            };
            match order {
                Order::Stop => return None,
                Order::Hold(holder) => self.holders.push(holder),
                // It is told again, or refused again.
                Order::Told(_) | Order::Bury(_) => {}
                Order::Commit { from, batch, cost } => {
                    self.load.fetch_sub(cost, Ordering::Relaxed);
                    self.tickets[from] = batch.ticket;
                    if batch.term == self.term {
                        let mut tickets = vec![None; self.tickets.len()];
                        tickets[from] = Some(batch.ticket);
                        self.refuse_from(&tickets, &failed(error));
                    }
                }
            }
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.ends.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of each room may or may not be on the disk.
fn uncertain(changes: &[Arc<Change>]) -> HashMap<Arc<str>, Uncertain> {
    let mut uncertain = HashMap::new();
    for Change { room, action } in changes.iter().map(|change| &**change) {
        match action {
            Action::Read { .. } => {}
            Action::Post(post) => {
                uncertain.entry(Arc::clone(room)).or_insert(Uncertain::From(post.seq));
            }
            Action::Edit { .. } | Action::Delete { .. } | Action::React { .. } => {
                uncertain.insert(Arc::clone(room), Uncertain::All);
            }
        }
    }
    uncertain
}

/// What the loop is told of a failure.
fn failed(error: &Arc<Error>) -> HistoryError {
    HistoryError::Storage(Arc::<Error>::clone(error))
}

fn has_row(conn: &Connection, table: &str, id: Option<i64>) -> rusqlite::Result<bool> {
    let Some(id) = id else { return Ok(false) };
    conn.prepare(&format!("SELECT 1 FROM {table} WHERE id = ?1"))?.exists([id])
}

/// Leaves one file that needs nothing read back, and nothing that was deleted.
fn close(conn: Connection, has_erased: bool) -> Result<(), FinishError> {
    if has_erased
        && let Err(error) = rewrite(&conn, REWRITTEN_AT_THE_END)
            .and_then(|is_done| if is_done { Ok(end_erasing(&conn)?) } else { Ok(()) })
    {
        tracing::warn!(%error, "the history could not be written again without what was deleted");
    }
    if let Err(error) = checkpoint(&conn, "TRUNCATE") {
        tracing::warn!(%error, "the log stays beside the database until the next start");
    }
    conn.close().map_err(|(_, error)| FinishError::Unclosed(HistoryError::storage(error)))
}
