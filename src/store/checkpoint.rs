//! Brings the log into the database, on a thread and a connection of its own: the bulk of it while commits go on, so that
//! what is left for the thread that writes is short.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::archive::Place;
use super::schema;
use super::session::{Error, Result};

/// Pages of the log from which on it is brought into the database.
pub(super) const CHECKPOINT_PAGES: i32 = 4096;

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
    pub(super) fn start(place: Arc<Place>) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: AtomicU8::new(IDLE), conn: Mutex::new(None) });
        let (bell, rung) = sync_channel(1);
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || theirs.run(&place, &rung))?;
        Ok(Self { shared, bell: Some(bell), thread: Some(thread) })
    }

    /// The log has grown to so many pages; called between commits.
    pub(super) fn note(&self, pages: i32, conn: &Connection) -> Result<()> {
        if pages < CHECKPOINT_PAGES {
            return Ok(());
        }
        match self.shared.state.load(Ordering::Acquire) {
            IDLE => {
                self.shared.state.store(RUNNING, Ordering::Release);
                // The bell holds one stroke, and none is under way.
                let _ = self.bell.as_ref().map(|bell| bell.try_send(()));
            }
            DONE => {
                // What came meanwhile. When all is done, the next commit begins the log anew.
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

    /// Closes the connection, so that the log can be read anew.
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

    fn run(&self, place: &Place, rung: &Receiver<()>) {
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
    let is_busy: bool = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0))?;
    if is_busy && mode == "TRUNCATE" {
        return Err(Error::Contradiction("another process is reading the history".into()));
    }
    Ok(())
}
