//! Brings the log into the database, on a thread and a connection of its own: the bulk of it while commits go on, so that
//! what is left for the thread that writes is short.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use super::data_dir::DataDir;
use super::schema;
use super::transaction::{Error, Result};

/// Pages of the log from which on it is brought into the database.
pub(super) const CHECKPOINT_PAGES: i32 = 4096;

/// Pages of the log that the thread which writes brings into the database itself.
const FEW_PAGES: i32 = 256;
/// Bytes of a page and of what the log says of it.
const PAGE_BYTES: u64 = 4096 + 24;
/// Bytes of log above which there is a warning, and another one whenever it has doubled.
const WARN_BYTES: u64 = 64 << 20;

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;
const FAILED: u8 = 3;

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    conn: Mutex<Option<Connection>>,
}

/// The thread; it ends with the value.
#[derive(Debug)]
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    bell: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(place: Arc<DataDir>) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: AtomicU8::new(IDLE), conn: Mutex::new(None) });
        let (bell, rung) = sync_channel(1);
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || theirs.run(&place, &rung))?;
        Ok(Self { shared, bell: Some(bell), thread: Some(thread) })
    }

    /// The log has grown to this many pages; called between commits.
    pub(super) fn note(&self, pages: i32, conn: &Connection) -> Result<()> {
        if pages < CHECKPOINT_PAGES {
            return Ok(());
        }
        match self.shared.state.load(Ordering::Acquire) {
            IDLE => self.ring(),
            DONE => {
                // What came meanwhile. When all is done, the next commit begins the log again.
                self.shared.state.store(IDLE, Ordering::Release);
                checkpoint(conn, "PASSIVE")?;
            }
            FAILED => {
                // Here it fails again, with its reason.
                self.shared.state.store(IDLE, Ordering::Release);
                checkpoint(conn, "PASSIVE")?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Brings all of the log into the database and cuts it to nothing; `false`: not yet. Called between commits, which wait
    /// for little: the bulk is brought in by the thread before.
    pub(super) fn empty(&self, pages: &AtomicI32, conn: &Connection) -> Result<bool> {
        match self.shared.state.load(Ordering::Acquire) {
            RUNNING => return Ok(false),
            IDLE if pages.load(Ordering::Relaxed) > FEW_PAGES => {
                self.ring();
                return Ok(false);
            }
            _ => self.shared.state.store(IDLE, Ordering::Release),
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
        self.shared.state.store(RUNNING, Ordering::Release);
        // The bell holds one stroke, and none is under way.
        let _ = self.bell.as_ref().map(|bell| bell.try_send(()));
    }

    /// Closes the connection, so that the log can be read again.
    pub(super) fn disconnect(&self) {
        *self.shared.lock() = None;
        self.shared.state.store(IDLE, Ordering::Release);
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
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, place: &DataDir, rung: &Receiver<()>) {
        while rung.recv().is_ok() {
            let mut slot = self.lock();
            let conn = match slot.take() {
                Some(conn) => Ok(conn),
                None => schema::connect(&place.path).map_err(Error::from),
            };
            let done = conn.and_then(|conn| checkpoint(&conn, "PASSIVE").map(|()| conn));
            let state = match done {
                Ok(conn) => {
                    *slot = Some(conn);
                    DONE
                }
                Err(error) => {
                    tracing::error!(%error, "the log could not be brought into the database");
                    FAILED
                }
            };
            self.state.store(state, Ordering::Release);
        }
    }
}

/// Brings the log into the database. PASSIVE does what is possible, TRUNCATE all of it.
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
