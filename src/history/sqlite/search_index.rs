//! The index of words: a database of its own beside the history, written behind it on a thread of its own.
//!
//! It holds nothing that the history does not, so no commit waits for it, and when it is lost, damaged, or of another
//! history, it is made again. New posts are found by their row numbers; posts that were edited, deleted or removed since they
//! were indexed stand in the history's table `reindex` until the index has taken note, which the index remembers itself.
//!
//! What was deleted is struck out at once, and erased behind that: the parts of the index that hold struck words are written
//! again without them ([`super::erasure`]).

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Result, params};

use super::checkpoint::truncate;
use super::clock::instant;
use super::data_dir::{CHECKED_BYTES, DataDir, load_meta, store_meta};
use super::erasure::Erasure;
use super::private_file::private;
use super::rows;
use super::rows::{Stored, load_post, read_post};
use super::schema::{self, META};
use crate::history::Record;
use crate::text::words::indexed;

/// Posts that are indexed in one transaction.
const STEP: i64 = 1024;
/// From the news of a commit to the transaction: meanwhile more posts come, and one costs less among many.
const PAUSE: Duration = Duration::from_millis(20);
/// Until the next attempt when the disk has failed.
const RETRY: Duration = Duration::from_secs(5);

/// At the end of the process: this many transactions, and no more than this many bytes of index that are rewritten.
const STEPS_AT_THE_END: usize = 16;
const ERASED_AT_THE_END: u64 = 64 << 20;

/// setpriority(2): from -20, the first, to 19, the last.
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

/// `user_version` of the file; any other is made again.
const FORMAT: i32 = 2;
/// Contentless: the text is in the history alone. `room` is one word for each room.
/// The text comes in tokens already ([`indexed`]), which are split at blanks.
pub(super) const FOUND: &str = "CREATE VIRTUAL TABLE found USING fts5(
  room, text, content='', contentless_delete=1, tokenize='ascii')";

/// What the threads of the store share of the index.
#[derive(Debug)]
pub(super) struct SearchIndex {
    path: PathBuf,
    /// How the thread reads the history.
    history: Mutex<History>,
    /// How the index is searched; opened when it is needed.
    searcher: Mutex<Option<Connection>>,
    /// Up to this row of `reindex` the index has taken note.
    reindexed: AtomicI64,
}

#[derive(Debug, Default)]
struct History {
    conn: Option<Connection>,
    /// It may not be opened: a failed commit is being looked after.
    is_closed: bool,
}

impl SearchIndex {
    pub(super) fn new(place: &DataDir) -> Self {
        let (history, searcher) = (Mutex::default(), Mutex::default());
        Self { path: path(&place.dir), history, searcher, reindexed: AtomicI64::new(0) }
    }

    /// Closes the connection to the history and opens no other until [`Self::reopen`].
    pub(super) fn close(&self) {
        *lock(&self.history) = History { conn: None, is_closed: true };
    }

    pub(super) fn reopen(&self) {
        lock(&self.history).is_closed = false;
    }

    /// Rows of `reindex` up to this one are needed no more.
    pub(super) fn reindexed(&self) -> i64 {
        self.reindexed.load(Ordering::Acquire)
    }

    /// Asks the index something.
    pub(super) fn search<T>(&self, question: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut searcher = lock(&self.searcher);
        let conn = searcher.take().map_or_else(|| schema::connect_to_read(&self.path), Ok)?;
        let answer = question(&conn)?;
        // After an error another one is opened.
        *searcher = Some(conn);
        Ok(answer)
    }
}

/// The thread that writes the index; it ends with the value.
#[derive(Debug)]
pub(super) struct IndexThread {
    bell: Option<SyncSender<()>>,
    thread: Option<JoinHandle<IndexWriter>>,
    /// Something was committed in this run.
    has_news: Cell<bool>,
}

impl IndexThread {
    pub(super) fn start(
        place: Arc<DataDir>,
        words: Arc<SearchIndex>,
        index: Option<IndexFile>,
    ) -> io::Result<Self> {
        let (bell, rung) = sync_channel(1);
        let erasure = Erasure::default();
        let mut work = IndexWriter { place, words, index, erasure, is_suspect: false, has_failed: false };
        let run = move || {
            work.run(&rung);
            work
        };
        let thread = thread::Builder::new().name("store-words".into()).spawn(run)?;
        Ok(Self { bell: Some(bell), thread: Some(thread), has_news: Cell::new(false) })
    }

    /// Something was committed.
    pub(super) fn ring(&self) {
        self.has_news.set(true);
        // The bell holds one stroke: more would say the same.
        let _ = self.bell.as_ref().map(|bell| bell.try_send(()));
    }
}

impl Drop for IndexThread {
    fn drop(&mut self) {
        self.bell = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, what it leaves behind is made again. What is left to do is done here: the
            // thread goes last where cores are few, and the end waits for it.
            if let Ok(mut work) = thread.join()
                && self.has_news.get()
            {
                work.finish();
            }
        }
    }
}

#[derive(Debug)]
struct IndexWriter {
    place: Arc<DataDir>,
    words: Arc<SearchIndex>,
    index: Option<IndexFile>,
    erasure: Erasure,
    /// What is on the disk is not to be trusted.
    is_suspect: bool,
    /// Nothing was indexed since the last failure.
    has_failed: bool,
}

impl IndexWriter {
    fn run(&mut self, rung: &Receiver<()>) {
        step_back();
        loop {
            match self.step() {
                Ok(true) if rung.try_recv() == Err(TryRecvError::Disconnected) => return,
                Ok(true) => {}
                Ok(false) => match self.erase(rung) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::warn!(%error, "what was deleted is still in the index of words"),
                },
                Err(error) => {
                    let will = if self.is_suspect { "it is built again" } else { "it is tried again" };
                    tracing::error!(%error, "the index of words could not be written; {will}");
                    // At once after a single failure.
                    if std::mem::replace(&mut self.has_failed, true) && !rests(rung, RETRY) {
                        return;
                    }
                }
            }
        }
    }

    /// With nothing to index: erases what is due, a little at a time, until the bell rings. `false`: it is over.
    fn erase(&mut self, rung: &Receiver<()>) -> Result<bool> {
        loop {
            let pause = match &mut self.index {
                Some(index) if index.has_struck => Some(self.erasure.pause(instant())),
                _ => None,
            };
            let stroke = match pause {
                None => rung.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(pause) => rung.recv_timeout(pause),
            };
            match stroke {
                Ok(()) => return Ok(rests(rung, PAUSE)),
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Err(RecvTimeoutError::Timeout) => self.erase_step()?,
            }
        }
    }

    fn erase_step(&mut self) -> Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        let began = instant();
        let is_done = self.erasure.step(&index.conn).inspect_err(|_| self.erasure.defer(instant()))?;
        if is_done {
            // Nobody searches meanwhile: who reads holds on to the log.
            let searcher = lock(&self.words.searcher);
            if truncate(&index.conn)? {
                index.note_erased()?;
            }
            drop(searcher);
        }
        self.erasure.worked(began, instant(), is_done);
        Ok(())
    }

    /// At the end: indexes what was committed last, as far as that is little, and erases what was deleted where the index
    /// is small. The rest is done after the next start.
    fn finish(&mut self) {
        let small = |path: &Path| fs::metadata(path).is_ok_and(|found| found.len() <= ERASED_AT_THE_END);
        let mut steps = (0..STEPS_AT_THE_END).map(|_| self.step());
        let indexed = steps.find(|step| !matches!(step, Ok(true)));
        *lock(&self.words.searcher) = None;
        if matches!(indexed, Some(Ok(false))) && small(&self.words.path) {
            while self.index.as_ref().is_some_and(|index| index.has_struck) {
                if let Err(error) = self.erase_step() {
                    tracing::warn!(%error, "what was deleted is still in the index of words");
                    return;
                }
                if self.erasure.is_waiting() {
                    break;
                }
            }
        }
    }

    /// Indexes what comes next. `true`: there may be more.
    fn step(&mut self) -> Result<bool> {
        let words = Arc::clone(&self.words);
        let mut history = lock(&words.history);
        if history.is_closed {
            return Ok(false);
        }
        let conn = history.conn.take().map_or_else(|| schema::connect_to_read(&self.place.path), Ok)?;
        let done = self.follow(&conn)?;
        history.conn = Some(conn);
        drop(history);
        done.map_or(Ok(false), |news| self.write(&news))
    }

    /// What the history has and the index has not.
    fn follow(&mut self, history: &Connection) -> Result<Option<News>> {
        history.execute_batch("BEGIN")?;
        let state = State::read(history)?;
        let index = self.index.take().filter(|index| index.is_of(&state) && !self.is_suspect);
        let index = if let Some(index) = index {
            index
        } else {
            let opened = self.words.open(&state, std::mem::take(&mut self.is_suspect));
            opened.inspect_err(|error| self.is_suspect = is_doubtful(error))?
        };
        self.words.reindexed.store(index.reindexed, Ordering::Release);
        let news = News::read(history, &index, state.newest)?;
        // Not for longer than it takes to read: as long as somebody does, the log cannot begin again.
        history.execute_batch("COMMIT")?;
        self.index = Some(index);
        Ok(news)
    }

    fn write(&mut self, news: &News) -> Result<bool> {
        let Some(mut index) = self.index.take() else { return Ok(false) };
        // What the history itself cannot tell says nothing against the index.
        index.write(news).inspect_err(|error| self.is_suspect = is_doubtful(error))?;
        self.words.reindexed.store(index.reindexed, Ordering::Release);
        self.index = Some(index);
        self.has_failed = false;
        Ok(news.is_more)
    }
}

/// Anyone who waits for a commit goes first where cores are few. (Linux: of this thread alone; elsewhere it would be the process.)
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST) {
        tracing::debug!(%error, "the index of words is written at the priority of commits");
    }
}

/// Waits for so long, however often the bell rings; `false`: it is over.
fn rests(rung: &Receiver<()>, pause: Duration) -> bool {
    let until = instant() + pause;
    loop {
        match rung.recv_timeout(until.saturating_duration_since(instant())) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// Whether nobody knows what is in the file after this.
fn is_doubtful(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase | SystemIoFailure))
}

/// What of the history tells whether an index is its own.
#[derive(Debug)]
pub(super) struct State {
    epoch: String,
    /// The newest row of `posts`.
    newest: i64,
    /// The newest row that `reindex` ever had. A power failure takes back what was not synced; an index that has seen more
    /// would take the next rows for those.
    noted: i64,
}

impl State {
    pub(super) fn read(history: &Connection) -> Result<Self> {
        let epoch = load_meta(history, "epoch")?.unwrap_or_default();
        let sql = "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'reindex'), 0)";
        let noted = history.query_row(sql, [], |row| row.get(0))?;
        Ok(Self { epoch, newest: rows::newest_post(history)?, noted })
    }
}

impl SearchIndex {
    /// The index of the history in this state, as far as it goes; made again when there is no sound one.
    pub(super) fn open(&self, state: &State, is_suspect: bool) -> Result<IndexFile> {
        if !is_suspect
            && let Ok(index) = IndexFile::load(&self.path)
            && index.is_of(state)
            && is_sound(&index.conn, &self.path).unwrap_or(false)
        {
            return Ok(index);
        }
        // Nobody searches meanwhile, and then in the new file.
        let mut searcher = lock(&self.searcher);
        *searcher = None;
        IndexFile::make(&self.path, &state.epoch)
    }
}

/// The index, and where it stands.
#[derive(Debug)]
pub(super) struct IndexFile {
    conn: Connection,
    /// Whose words it holds.
    epoch: String,
    /// Posts up to this row are in it.
    position: i64,
    /// Up to this row of `reindex` it has taken note.
    reindexed: i64,
    /// Words are struck out that the file still holds.
    has_struck: bool,
}

impl IndexFile {
    fn load(path: &Path) -> Result<Self> {
        let conn = connect(path)?;
        let format: i32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let text = |name| Ok::<_, rusqlite::Error>(load_meta(&conn, name)?.unwrap_or_default());
        let number = |name| Ok::<_, rusqlite::Error>(text(name)?.parse().unwrap_or(-1));
        // A number that is missing makes it another history's.
        let epoch = if format == FORMAT { text("epoch")? } else { String::new() };
        let (position, reindexed) = (number("position")?, number("reindexed")?);
        let has_struck = text("struck")? == "1";
        Ok(Self { conn, epoch, position, reindexed, has_struck })
    }

    fn make(path: &Path, epoch: &str) -> Result<Self> {
        let mut is_new = true;
        for end in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            is_new &= fs::remove_file(name).is_err();
        }
        if !is_new {
            tracing::warn!("the index of words does not fit the history; it is built again");
        }
        // SQLite says why when it cannot be made.
        let _ = private().write(true).create_new(true).open(path);
        let conn = connect(path)?;
        conn.execute_batch(&format!("BEGIN IMMEDIATE; {META}; {FOUND}; PRAGMA user_version = {FORMAT};"))?;
        let mut index = Self { conn, epoch: epoch.to_owned(), position: 0, reindexed: 0, has_struck: false };
        store_meta(&index.conn, "epoch", epoch)?;
        index.note(0, 0)?;
        index.conn.execute_batch("COMMIT")?;
        Ok(index)
    }

    fn is_of(&self, state: &State) -> bool {
        self.epoch == state.epoch
            && (0..=state.newest).contains(&self.position)
            && (0..=state.noted).contains(&self.reindexed)
    }

    /// One transaction.
    fn write(&mut self, news: &News) -> Result<()> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        {
            let mut remove = self.conn.prepare_cached("DELETE FROM found WHERE rowid = ?1")?;
            for post in &news.stale {
                remove.execute([post])?;
            }
            let mut insert =
                self.conn.prepare_cached("INSERT INTO found(rowid, room, text) VALUES(?1, ?2, ?3)")?;
            for (id, room, text) in &news.texts {
                insert.execute(params![id, format!("r{room}"), indexed(text)])?;
            }
        }
        if !news.stale.is_empty() {
            store_meta(&self.conn, "struck", "1")?;
            self.has_struck = true;
        }
        self.note(news.position, news.reindexed)?;
        self.conn.execute_batch("COMMIT")
    }

    /// Nothing of what was struck out is in the file any more.
    fn note_erased(&mut self) -> Result<()> {
        store_meta(&self.conn, "struck", "0")?;
        self.has_struck = false;
        Ok(())
    }

    /// Its state from now on.
    fn note(&mut self, position: i64, reindexed: i64) -> Result<()> {
        store_meta(&self.conn, "position", &position.to_string())?;
        store_meta(&self.conn, "reindexed", &reindexed.to_string())?;
        (self.position, self.reindexed) = (position, reindexed);
        Ok(())
    }
}

/// What one transaction of the index is to bring.
#[derive(Debug)]
struct News {
    /// Posts whose words are to go.
    stale: Vec<i64>,
    /// Post, room and text that come; folded only when nobody reads the history any more.
    texts: Vec<(i64, i64, Box<str>)>,
    /// The state of the index then.
    position: i64,
    reindexed: i64,
    /// There may be more.
    is_more: bool,
}

impl News {
    fn read(history: &Connection, index: &IndexFile, newest: i64) -> Result<Option<Self>> {
        let IndexFile { position, reindexed, .. } = *index;
        let mut news = Self { stale: Vec::new(), texts: Vec::new(), position, reindexed, is_more: false };
        news.add_stale(history)?;
        if position < newest {
            news.add_posts(history, newest)?;
        }
        let is_any = news.position != position || news.reindexed != reindexed;
        Ok(is_any.then_some(news))
    }

    /// Posts that changed since they were indexed; those behind the position come in their turn.
    fn add_stale(&mut self, history: &Connection) -> Result<()> {
        let sql = "SELECT id, post FROM reindex WHERE id > ?1 ORDER BY id LIMIT ?2";
        let mut select = history.prepare_cached(sql)?;
        let mut rows = select.query([self.reindexed, STEP])?;
        while let Some(row) = rows.next()? {
            self.reindexed = row.get(0)?;
            self.stale.push(row.get(1)?);
        }
        self.is_more = self.stale.len() == STEP as usize;
        let behind = self.position;
        self.stale.retain(|post| *post <= behind);
        self.stale.sort_unstable();
        self.stale.dedup();
        for at in 0..self.stale.len() {
            if let Ok(stored) = load_post(history, self.stale[at])? {
                self.add(stored);
            }
        }
        Ok(())
    }

    /// Posts that came since.
    fn add_posts(&mut self, history: &Connection, newest: i64) -> Result<()> {
        let mut select = history.prepare_cached(
            "SELECT id, prev, room, seq, time, flags, edited, user, client, key, text, crc, data, reply
             FROM posts WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = select.query([self.position, STEP])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            self.position = row.get(0)?;
            if let Some(stored) = read_post(row)? {
                self.add(stored);
            }
        }
        if seen == STEP {
            self.is_more = true;
        } else {
            // Of what is at the end but not there any more nothing comes up.
            self.position = newest;
        }
        Ok(())
    }

    fn add(&mut self, stored: Stored) {
        let Record { post, is_deleted, .. } = stored.record;
        if !is_deleted {
            self.texts.push((stored.id, stored.room, post.text));
        }
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("words.db")
}

fn connect(path: &Path) -> Result<Connection> {
    let conn = schema::connect(path)?;
    // What is said to be indexed must not come back as not indexed: `reindex` would not name it again.
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA secure_delete = ON;")?;
    Ok(conn)
}

/// Up to [`CHECKED_BYTES`] every page is looked at.
fn is_sound(conn: &Connection, path: &Path) -> Result<bool> {
    if fs::metadata(path).map_or(0, |found| found.len()) > CHECKED_BYTES {
        return Ok(true);
    }
    let said: Option<String> = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).optional()?;
    Ok(said.as_deref() == Some("ok"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
