//! Durable history: what the chat hands over, and what comes back. The loop never waits for it.
//!
//! The loop hands over a [`Batch`] at the end of a tick; the store commits what has been handed over while the commit
//! before was under way, all at once (group commit), and tells with [`Event::Committed`] how far everything is on the disk.
//! What cannot be committed is refused as a whole, with everything behind it, until the loop has taken note
//! ([`Batch::term`]): then nothing is acked out of order and no number of the room's order is used twice.

use std::sync::Arc;

/// Numbers what is handed over; grows by 1 with each batch.
pub type Ticket = u64;

/// What one tick changed, in order.
#[derive(Debug)]
pub struct Batch {
    /// Counts from 1.
    pub ticket: Ticket,
    /// How many times the loop has taken note of a failure ([`Event::Failed`]). A batch of an earlier term is refused
    /// without a further event: the loop has counted it as failed already.
    pub term: u32,
    /// All of them or none is durable.
    pub changes: Vec<Change>,
    /// Who may not come in any more, or may again; durable together with the changes.
    pub bans: Vec<BanChange>,
}

/// A change of the list of bans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanChange {
    /// The user is banned; takes the place of an earlier ban.
    Set(Ban),
    /// The user with this folded name is banned no more.
    Lift(Arc<str>),
}

/// One change of a room's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The room's name in its normal form.
    pub room: Arc<str>,
    /// What changes.
    pub action: Action,
}

/// What changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A message.
    Post(Post),
    /// The text of an earlier message.
    Edit { rev: u64, seq: u64, text: Box<str>, time: u64 },
    /// An earlier message loses its text.
    Delete { rev: u64, seq: u64, time: u64 },
    /// A user's reaction is added or taken back.
    React { rev: u64, seq: u64, user: Arc<str>, emoji: Box<str>, is_removed: bool },
    /// A user has read up to here. Needs no order and may be late.
    Read { user: Arc<str>, seq: u64 },
}

/// A message as it is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Its number in the room; the numbers of a room grow by 1.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    /// Who said it, as shown.
    pub user: Arc<str>,
    /// Their name is verified.
    pub is_verified: bool,
    /// The connection that it came from.
    pub client: Arc<str>,
    /// What was said.
    pub text: Box<str>,
    /// Makes posting twice post once.
    pub key: Option<Box<str>>,
}

/// A message as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As it was posted; of a deleted one the text is empty.
    pub post: Post,
    /// When it was last edited.
    pub edited: Option<u64>,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// Who reacted how, in order.
    pub reactions: Vec<(Box<str>, Vec<Arc<str>>)>,
}

/// What the loop asks for.
#[derive(Debug)]
pub enum Request {
    /// To be made durable.
    Commit(Batch),
    /// The state of a room that the loop does not know (any more); answered with [`Event::Opened`].
    Open { room: Arc<str>, recent: usize, changes: usize },
    /// The newest `limit` messages before `before`, answered with [`Event::Page`].
    Page { ask: u64, room: Arc<str>, before: u64, limit: usize },
    /// The newest `limit` messages with all words of the query, answered with [`Event::Page`].
    Search { ask: u64, room: Arc<str>, query: String, limit: usize },
    /// Somebody knows more of the history than the store does: it was rolled back. Answered with [`Event::NewEpoch`].
    RolledBack,
    /// How far a user has read, answered with [`Event::Mark`].
    Mark { ask: u64, room: Arc<str>, user: Arc<str> },
}

/// What the store tells the loop.
#[derive(Debug)]
pub enum Event {
    /// Everything up to this ticket is on the disk.
    Committed { ticket: Ticket },
    /// The batch with this ticket and all behind it are refused. Posts are `unavailable` until [`Event::Recovered`].
    Failed { ticket: Ticket, reason: String },
    /// Commits are possible again. `landed` are messages and changes of the refused batches that turned out to be on the
    /// disk nevertheless, in order: they are history now, and whoever was told `unavailable` gets `duplicate` for the same key.
    Recovered { landed: Vec<Change> },
    /// A room's state. `Err` says why it could not be read.
    Opened { room: Arc<str>, state: Result<RoomState, String> },
    /// Messages, oldest first (for a search: newest first). `Err` says why they could not be read.
    Page { ask: u64, records: Result<Vec<Record>, String> },
    /// The history has another name from now on, which is on the disk.
    NewEpoch { epoch: String },
    /// The last message that the user has read; 0 when none.
    Mark { ask: u64, seq: u64 },
}

/// What is known of a room when it is opened.
#[derive(Debug, Default)]
pub struct RoomState {
    /// The number of its newest message; 0 for a room without any.
    pub seq: u64,
    /// The number of its newest change.
    pub rev: u64,
    /// The time of its newest message.
    pub time: u64,
    /// The number of its oldest message that is still kept; messages before it are gone.
    pub oldest: u64,
    /// Its newest messages, oldest first.
    pub recent: Vec<Record>,
    /// Its newest changes (edit, delete, react), oldest first.
    pub changes: Vec<Action>,
}

/// What the loop learns when it begins.
#[derive(Debug, Default)]
pub struct Start {
    /// Names one unbroken history: another one after a backup was restored.
    pub epoch: String,
    /// Keys of posts within the window: (user, key) -> (room, seq, time), the oldest first.
    pub keys: Vec<Key>,
    /// Who is banned.
    pub bans: Vec<Ban>,
}

/// A key that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Who used it.
    pub user: Arc<str>,
    /// The key.
    pub key: Box<str>,
    /// Where.
    pub room: Arc<str>,
    /// The number of the message.
    pub seq: u64,
    /// When.
    pub time: u64,
}

/// A user who may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The name in its folded form.
    pub user: Arc<str>,
    /// Milliseconds since 1970; `None`: for good.
    pub until: Option<u64>,
    /// Told to the user.
    pub reason: Box<str>,
}

/// Where the chat's requests go. Never blocks.
pub trait Store: std::fmt::Debug {
    /// Hands over a request; what comes of it arrives as an [`Event`] in a later tick.
    ///
    /// # Errors
    /// Gives the request back when too much is under way already.
    fn ask(&mut self, request: Request) -> Result<(), Request>;
}
