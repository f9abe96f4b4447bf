//! Brings the log into the database, on a thread and a connection of its own: the bulk of it while commits go on, so that
//! what is left for the thread that writes is short.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use super::data_dir::DataDir;
use super::schema;
use super::transaction::{Error, Result};

/// Pages of the log from which on it is brought into the database.
pub(super) const CHECKPOINT_PAGES: i32 = 4096;

/// Pages of the log from which on commits wait for the thread and for readers: where commits are faster than both, the log
/// would otherwise have no bound.
const WAIT_PAGES: i32 = 8192;
/// How long a commit waits for readers, once for every `CHECKPOINT_PAGES`: another process may read for long.
const WAIT_READERS: Duration = Duration::from_secs(1);

/// Pages of the log that the thread which writes brings into the database itself.
const FEW_PAGES: i32 = 256;
/// Bytes of a page and of what the log says of it.
const PAGE_BYTES: u64 = 4096 + 24;
/// Bytes of log above which there is a warning, and another one whenever it has doubled.
const WARN_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Running,
    Done,
    Failed,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The state is no longer `Running`.
    ended: Condvar,
    conn: Mutex<Option<Connection>>,
}

/// The thread; it ends with the value.
#[derive(Debug)]
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    /// Pages of the log from which on commits wait.
    wait_from: i32,
    bell: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(place: Arc<DataDir>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Idle),
            ended: Condvar::new(),
            conn: Mutex::new(None),
        });
        let (bell, rung) = sync_channel(1);
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || theirs.run(&place, &rung))?;
        Ok(Self { shared, wait_from: WAIT_PAGES, bell: Some(bell), thread: Some(thread) })
    }

    /// The log has grown to this many pages; called between commits.
    pub(super) fn note(&mut self, pages: i32, conn: &Connection) -> Result<()> {
        if pages < CHECKPOINT_PAGES {
            self.wait_from = WAIT_PAGES;
            return Ok(());
        }
        if pages >= self.wait_from {
            self.wait_from = pages.saturating_add(CHECKPOINT_PAGES);
            self.shared.wait();
            self.shared.set(State::Idle);
            conn.busy_timeout(WAIT_READERS)?;
            let waited = checkpoint(conn, "RESTART");
            conn.busy_timeout(schema::BUSY)?;
            return waited;
        }
        match self.shared.state() {
            State::Idle => self.ring(),
            // What came meanwhile; when all is done, the next commit begins the log again. After a failure it fails here
            // again, with its reason.
            State::Done | State::Failed => {
                self.shared.set(State::Idle);
                checkpoint(conn, "PASSIVE")?;
            }
            State::Running => {}
        }
        Ok(())
    }

    /// Brings all of the log into the database and cuts it to nothing; `false`: not yet. Called between commits, which wait
    /// for little: the bulk is brought in by the thread before.
    pub(super) fn empty(&self, pages: &AtomicI32, conn: &Connection) -> Result<bool> {
        match self.shared.state() {
            State::Running => return Ok(false),
            State::Idle if pages.load(Ordering::Relaxed) > FEW_PAGES => {
                self.ring();
                return Ok(false);
            }
            _ => self.shared.set(State::Idle),
        }
        // Anyone who reads is not waited for.
        conn.busy_timeout(Duration::ZERO)?;
        let is_done = truncate(conn);
        conn.busy_timeout(schema::BUSY)?;
        let is_done = is_done?;
        if is_done {
            pages.store(0, Ordering::Relaxed);
        }
        Ok(is_done)
    }

    /// Begins to bring the log into the database.
    fn ring(&self) {
        self.shared.set(State::Running);
        // The bell holds one stroke, and none is under way.
        let _ = self.bell.as_ref().map(|bell| bell.try_send(()));
    }

    /// Closes the connection, so that the log can be read again.
    pub(super) fn disconnect(&self) {
        *self.shared.conn() = None;
        self.shared.set(State::Idle);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.bell = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, there would be nothing left to do.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn conn(&self) -> MutexGuard<'_, Option<Connection>> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.ended.notify_all();
    }

    /// Returns once the state is no longer `Running`.
    fn wait(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.ended.wait_while(state, |state| *state == State::Running));
    }

    fn run(&self, place: &DataDir, rung: &Receiver<()>) {
        while rung.recv().is_ok() {
            let mut slot = self.conn();
            let conn = match slot.take() {
                Some(conn) => Ok(conn),
                None => schema::connect(&place.path).map_err(Error::from),
            };
            let done = conn.and_then(|conn| checkpoint(&conn, "PASSIVE").map(|()| conn));
            let state = match done {
                Ok(conn) => {
                    *slot = Some(conn);
                    State::Done
                }
                Err(error) => {
                    tracing::error!(%error, "the log could not be brought into the database");
                    State::Failed
                }
            };
            drop(slot);
            self.set(state);
        }
    }
}

/// Brings the log into the database. PASSIVE does what is possible; RESTART waits for those who read, as long as the
/// connection does, so that the next commit begins the log again; TRUNCATE fails unless it was all of it.
pub(super) fn checkpoint(conn: &Connection, mode: &str) -> Result<()> {
    if mode == "TRUNCATE" {
        let is_done = truncate(conn)?;
        return if is_done { Ok(()) } else { Err(Error::InUse) };
    }
    Ok(conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?)
}

/// Brings all of the log into the database and cuts it to nothing; `false`: somebody reads.
pub(super) fn truncate(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)).map(|is_busy| !is_busy)
}

/// Watches how much of the log is in use.
#[derive(Debug)]
pub(super) struct LogSize {
    shared: Arc<AtomicU64>,
    warn_above: u64,
}

impl LogSize {
    /// `shared` is what others read.
    pub(super) fn new(shared: Arc<AtomicU64>) -> Self {
        Self { shared, warn_above: WARN_BYTES }
    }

    /// The log holds this many pages; called after each commit.
    pub(super) fn note(&mut self, pages: i32) {
        let bytes = u64::from(pages.unsigned_abs()) * PAGE_BYTES;
        self.shared.store(bytes, Ordering::Relaxed);
        if bytes > self.warn_above {
            self.warn_above = bytes * 2;
            tracing::warn!(
                bytes,
                "the log of the history grows: another process, such as an export, has been reading it for long"
            );
        } else if bytes < WARN_BYTES / 2 {
            self.warn_above = WARN_BYTES;
        }
    }
}
