//! A history in a directory of its own, asked and waited for.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use switchboard::history::sqlite;
use switchboard::history::sqlite::{Client, Options, OutboxEnd, Running};
use switchboard::history::{
    Act, Action, Ban, BanChange, Batch, Change, Draft, DraftKey, Event, History as _, HistoryError, Keep,
    Outcome, Post, Proposal, Query, Record, RoomState, Start, Who,
};

/// How long a test waits for something that should happen at once; slow disks are slow.
pub(crate) const SOON: Duration = Duration::from_mins(2);

/// A directory that goes when the value goes.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        Self::within(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }

    /// Where there is such a thing, on a file system without a disk: for tests that open thousands of histories.
    pub(crate) fn in_memory(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::within(memory, name) } else { Self::new(name) }
    }

    pub(crate) fn within(base: &Path, name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("store-{name}-{}-{nth}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the history is.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("switchboard.db")
    }

    /// The index of words.
    pub(crate) fn words(&self) -> PathBuf {
        self.data().join("words.db")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.data().join("switchboard.db-wal")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A history at work.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) client: Client,
    pub(crate) start: Start,
    pub(crate) events: Receiver<Event>,
    /// What waits for a backend, where the options say so.
    pub(crate) outbox: Option<OutboxEnd>,
    running: Running,
    pub(crate) ticket: u64,
    pub(crate) term: u32,
    ask: u64,
}

impl History {
    #[track_caller]
    pub(crate) fn open(dir: &Path) -> Self {
        Self::open_with(dir, Options::default())
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "as those who open a history have them")]
    pub(crate) fn open_with(dir: &Path, options: Options) -> Self {
        // A process that another test starts holds the locks of this one from its fork to its exec.
        let mut opened = Self::try_open(dir, options.clone());
        wait_until("the directory is nobody else's", || {
            let is_locked = matches!(opened, Err(sqlite::OpenError::Locked { .. }));
            if is_locked {
                opened = Self::try_open(dir, options.clone());
            }
            !is_locked
        });
        opened.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_open(dir: &Path, options: Options) -> Result<Self, sqlite::OpenError> {
        let (client, mut worker, start) = sqlite::open(dir, options)?;
        let outbox = worker.outbox();
        let (sender, events) = channel();
        let running = worker.start(move |_, event| sender.send(event).is_ok()).unwrap();
        Ok(Self { client, start, events, outbox, running, ticket: 0, term: 0, ask: 0 })
    }

    pub(crate) fn close(self) {
        let Self { client, running, .. } = self;
        drop(client);
        running.finish().unwrap();
    }

    /// Hands over without waiting.
    #[track_caller]
    pub(crate) fn hand_over(&mut self, changes: Vec<Change>, bans: Vec<BanChange>) -> u64 {
        self.ticket += 1;
        let batch = Batch { bans, term: self.term, ..batch(self.ticket, changes) };
        self.client.propose(batch).expect("room for a batch");
        self.ticket
    }

    #[track_caller]
    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(SOON).expect("an event")
    }

    /// Commits what comes out as these changes, and nothing else.
    #[track_caller]
    pub(crate) fn commit(&mut self, changes: Vec<Change>) {
        let expected: Vec<Change> =
            changes.iter().filter(|change| !matches!(change.action, Action::Read { .. })).cloned().collect();
        let ticket = self.hand_over(changes, Vec::new());
        match self.event() {
            Event::Settled { ticket: settled, outcomes, changes, .. } if settled == ticket => {
                let changes: Vec<Change> = changes.iter().map(|change| (**change).clone()).collect();
                assert_eq!(changes, expected);
                assert_eq!(outcomes.len(), expected.len());
            }
            other => panic!("{other:?}"),
        }
    }

    /// What comes of proposals.
    #[track_caller]
    pub(crate) fn propose(&mut self, proposals: Vec<Proposal>) -> Vec<Outcome> {
        self.ticket += 1;
        let batch = Batch { ticket: self.ticket, term: self.term, proposals, bans: Vec::new() };
        self.client.propose(batch).expect("room for a batch");
        match self.event() {
            Event::Settled { ticket, outcomes, .. } if ticket == self.ticket => outcomes,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn commit_bans(&mut self, bans: Vec<BanChange>) {
        let ticket = self.hand_over(Vec::new(), bans);
        self.wait_for(ticket);
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, ticket: u64) {
        loop {
            match self.event() {
                Event::Settled { ticket: upto, .. } if upto >= ticket => return,
                Event::Settled { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn ask_for(&mut self, query: Query) -> Event {
        self.client.query(query).expect("room for a question");
        self.event()
    }

    #[track_caller]
    pub(crate) fn room(&mut self, room: &str, recent: usize) -> RoomState {
        match self.ask_for(Query::Open { room: room.into(), recent, changes: recent }) {
            Event::Opened { state, .. } => state.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn page(&mut self, room: &str, before: u64, limit: usize) -> Vec<Record> {
        self.page_that_keeps(Keep::Newest, room, before, limit)
    }

    #[track_caller]
    pub(crate) fn page_that_keeps(
        &mut self,
        keep: Keep,
        room: &str,
        before: u64,
        limit: usize,
    ) -> Vec<Record> {
        self.ask += 1;
        let ask = self.ask;
        match self.ask_for(Query::Page { ask, room: room.into(), before, limit, keep }) {
            Event::Page { ask: answered, records } if answered == ask => records.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn search(
        &mut self,
        room: &str,
        query: &str,
        limit: usize,
    ) -> Result<Vec<Record>, HistoryError> {
        self.ask += 1;
        let ask = self.ask;
        match self.ask_for(Query::Search { ask, room: room.into(), query: query.into(), limit }) {
            Event::Page { ask: answered, records } if answered == ask => records,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn read_position(&mut self, room: &str, user: &str) -> u64 {
        match self.ask_for(Query::ReadPosition { ask: 7, room: room.into(), user: user.into() }) {
            Event::ReadPosition { ask: 7, seq } => seq,
            other => panic!("{other:?}"),
        }
    }
}

/// Makes a closed history one of an older format, which had no place for what messages carry.
pub(crate) fn make_older(dir: &Dir, format: i32) {
    let conn = rusqlite::Connection::open(dir.database()).unwrap();
    conn.execute_batch(&format!(
        "ALTER TABLE posts DROP COLUMN data; ALTER TABLE posts DROP COLUMN reply;
         ALTER TABLE changes DROP COLUMN data; DROP TABLE subscriptions; PRAGMA user_version = {format};"
    ))
    .unwrap();
}

/// A batch of proposals that come out as these changes.
pub(crate) fn batch(ticket: u64, changes: Vec<Change>) -> Batch {
    let proposals = changes.into_iter().map(proposal).collect();
    Batch { ticket, term: 0, proposals, bans: Vec::new() }
}

/// What must be proposed so that this happens, where the room has come so far.
pub(crate) fn proposal(change: Change) -> Proposal {
    let Change { room, action } = change;
    let (time, act) = match action {
        Action::Post(post) => {
            let Post { time, user, is_verified, client, text, key, data, reply_to, .. } = post;
            let key = key.map(|key| DraftKey { person: user.to_lowercase().into(), key });
            (time, Act::Post(Draft { user, is_verified, client, text, key, data, reply_to }))
        }
        Action::Edit { seq, text, data, time, .. } => (time, Act::Edit { seq, text, data }),
        Action::Delete { seq, time, .. } => (time, Act::Delete { seq }),
        Action::React { seq, user, emoji, is_removed, .. } => {
            (0, Act::React { seq, user, emoji, is_removed, most: usize::MAX })
        }
        Action::Read { user, seq } => (0, Act::Read { user, seq }),
    };
    Proposal { room, time, act }
}

pub(crate) fn post(room: &str, seq: u64, text: &str) -> Change {
    keyed(room, seq, text, None, 1_000_000 + seq)
}

pub(crate) fn keyed(room: &str, seq: u64, text: &str, key: Option<&str>, time: u64) -> Change {
    let post = Post {
        seq,
        time,
        user: "Ada".into(),
        is_verified: seq.is_multiple_of(2),
        client: "c17".into(),
        text: text.into(),
        key: key.map(Into::into),
        ..Post::default()
    };
    change(room, Action::Post(post))
}

pub(crate) fn change(room: &str, action: Action) -> Change {
    Change { room: room.into(), action }
}

pub(crate) fn edit(room: &str, rev: u64, seq: u64, text: &str) -> Change {
    change(room, Action::Edit { rev, seq, text: text.into(), data: None, time: 2_000_000 + rev })
}

pub(crate) fn delete(room: &str, rev: u64, seq: u64) -> Change {
    change(room, Action::Delete { rev, seq, time: 2_000_000 + rev })
}

pub(crate) fn react(room: &str, rev: u64, seq: u64, user: &str, emoji: &str, is_removed: bool) -> Change {
    change(room, Action::React { rev, seq, user: Who::from_label(user), emoji: emoji.into(), is_removed })
}

pub(crate) fn ban(user: &str, reason: &str) -> Ban {
    Ban { user: user.into(), until: None, reason: reason.into() }
}

pub(crate) fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| &*record.post.text).collect()
}

pub(crate) fn seqs(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.post.seq).collect()
}

/// Polls `holds` until it is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + SOON;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn names(users: &[&str]) -> Vec<Who> {
    users.iter().map(|user| Who::from_label(user)).collect()
}

/// Something that looks random and is the same in every run (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

/// Commits without a pause: the next batch is handed over before the one before it is committed.
pub(crate) struct Busy<F> {
    changes: F,
    nth: u64,
    committed: u64,
}

impl<F: FnMut(u64) -> Vec<Change>> Busy<F> {
    pub(crate) fn begin(history: &mut History, changes: F) -> Self {
        let mut busy = Self { changes, nth: 0, committed: history.ticket };
        busy.add(history);
        busy
    }

    fn add(&mut self, history: &mut History) -> u64 {
        self.nth += 1;
        history.hand_over((self.changes)(self.nth), Vec::new())
    }

    /// This many batches more.
    pub(crate) fn go_on(&mut self, history: &mut History, batches: usize) {
        for _ in 0..batches {
            let before = self.add(history) - 1;
            while self.committed < before {
                assert!(self.hear(history).is_none(), "an answer to nothing");
            }
        }
    }

    /// How many messages are found, in the midst of it.
    pub(crate) fn search(&mut self, history: &mut History, room: &str, query: &str) -> usize {
        let request = Query::Search { ask: 0, room: room.into(), query: query.into(), limit: 50 };
        history.client.query(request).expect("room for a question");
        loop {
            if let Some(found) = self.hear(history) {
                return found.len();
            }
        }
    }

    fn hear(&mut self, history: &History) -> Option<Vec<Record>> {
        match history.event() {
            Event::Page { records, .. } => return Some(records.unwrap()),
            Event::Settled { ticket, .. } => self.committed = ticket,
            other => panic!("{other:?}"),
        }
        None
    }
}
