//! The seam between the chat and what orders its rooms. The loop never waits for it.
//!
//! The chat proposes, and one authority gives the numbers: [`Order`] in the loop where a chat of one loop lives in memory
//! only, else a [`History`] behind threads. The loop hands over a [`Batch`] of proposals at the end of a tick. The history
//! commits what has been handed over while the commit before was under way, all at once (group commit). Then
//! [`Event::Settled`] brings the outcomes to the loop that asked, and what happened in its rooms to every loop that has them
//! open: from [`Event::Opened`] on each change of a room comes once, in the order of its numbers and without a gap, or
//! [`Event::Epoch`] says from where on the history goes on under another name.
//!
//! What cannot be committed is refused as a whole, with everything behind it, until the loop has taken note
//! ([`Batch::term`]): then nothing is acked out of order and no number of a room's order is used twice.

mod data;
#[cfg(feature = "engine")]
pub mod engine;
mod engine_figures;
mod error;
mod followers;
pub mod keys;
mod kinds;
pub(crate) mod log;
pub mod memory;
mod names;
pub mod order;
pub mod outbox;
pub mod place;
mod proposal;
pub mod sqlite;
mod stamp;
mod subscriptions;
pub(crate) mod unread;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

pub use self::data::Data;
pub use self::engine_figures::EngineFigures;
pub use self::error::HistoryError;
pub use self::followers::MAX_LOOPS;
pub use self::kinds::{EventKind, EventKinds};
pub use self::names::NameRange;
pub use self::order::Order;
pub use self::proposal::{Act, BanChange, Batch, Draft, DraftKey, Outcome, Proposal, Ticket};
pub use self::subscriptions::Subscriptions;
pub use self::unread::{MAX_UNREAD, Reader, Unread};

/// Octets of texts after which a page, or what a search found, ends although more was asked for.
pub const PAGE_OCTETS: usize = 512 * 1024;
/// The client id of what the server does itself. Those of clients are longer.
pub const SERVER: &str = "server";

/// Where the history of a room went on under another name: what has numbers up to these is the same under both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The name: in a [`RoomState`] that of the history before, in an [`Event::Epoch`] that of the one from then on.
    pub epoch: Arc<str>,
    /// The newest message that both have.
    pub seq: u64,
    /// The newest change that both have.
    pub rev: u64,
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
    Edit {
        /// Its number among the room's changes, which grow by 1.
        rev: u64,
        /// The message.
        seq: u64,
        /// What it says from now on.
        text: Box<str>,
        /// What it carries from now on; `None`: what it carried before.
        data: Option<Data>,
        /// When, in milliseconds since 1970.
        time: u64,
    },
    /// An earlier message loses its text, whatever text it had before, and its reactions. Its place stays.
    Delete {
        /// Its number among the room's changes.
        rev: u64,
        /// The message.
        seq: u64,
        /// When, in milliseconds since 1970.
        time: u64,
    },
    /// A user's reaction is added or taken back.
    React {
        /// Its number among the room's changes.
        rev: u64,
        /// The message.
        seq: u64,
        /// Who reacts.
        user: Who,
        /// With what.
        emoji: Box<str>,
        /// Taken back.
        is_removed: bool,
    },
    /// A user has read up to here. Needs no order and may be late; never goes back.
    Read {
        /// Who.
        user: Arc<str>,
        /// The last message that was read.
        seq: u64,
    },
}

impl Action {
    /// The message that a change is about; `None` for what is no change.
    #[must_use]
    pub fn target(&self) -> Option<u64> {
        match self {
            Self::Edit { seq, .. } | Self::Delete { seq, .. } | Self::React { seq, .. } => Some(*seq),
            Self::Post(_) | Self::Read { .. } => None,
        }
    }
}

/// A user as the history knows one: guests and verified users of one name are different users.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    /// The name as shown.
    pub name: Arc<str>,
    /// A token vouched for the name.
    pub is_verified: bool,
}

impl Who {
    /// One text for both fields: the name of a verified user begins with `@`. No name begins with it.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        if self.is_verified { Cow::Owned(format!("@{}", self.name)) } else { Cow::Borrowed(&self.name) }
    }

    /// The opposite of [`Self::label`].
    #[must_use]
    pub fn from_label(label: &str) -> Self {
        let verified = label.strip_prefix('@');
        Self { name: verified.unwrap_or(label).into(), is_verified: verified.is_some() }
    }
}

/// A message as it is posted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// What it carries besides the text.
    pub data: Option<Data>,
    /// The earlier message of the room that it replies to.
    pub reply_to: Option<u64>,
}

impl Post {
    /// Bytes of what was said, and of what it carries.
    pub(crate) fn octets(&self) -> usize {
        self.text.len() + Data::len_of(self.data.as_ref())
    }
}

/// A message as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// As it was posted; of a deleted one the text is empty, and it carries nothing.
    pub post: Post,
    /// When it was last edited.
    pub edited: Option<u64>,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// Who reacted how, in order.
    pub reactions: Vec<(Box<str>, Vec<Who>)>,
}

/// Which end of a page stays where not all of it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The newest messages: the page is one of those that are read backwards.
    Newest,
    /// The oldest messages: the page follows one that is known.
    Oldest,
}

/// What the loop asks a history for.
#[derive(Debug, Clone)]
pub enum Query {
    /// The state of a room that the loop does not know (any more), answered with [`Event::Opened`]. From the question on the
    /// loop is told what happens in the room; what is part of the answer may come again.
    Open {
        /// Its name in the normal form.
        room: Arc<str>,
        /// How many messages at most.
        recent: usize,
        /// How many changes at most.
        changes: usize,
    },
    /// The newest messages before a place, answered with [`Event::Page`]. Of a room with commits under way it may hold
    /// messages whose [`Event::Settled`] is still to come: they are on the disk.
    Page {
        /// Comes back in the answer.
        ask: u64,
        /// The room's name in its normal form.
        room: Arc<str>,
        /// Messages with smaller numbers are wanted.
        before: u64,
        /// How many at most; fewer above [`PAGE_OCTETS`].
        limit: usize,
        /// Which of them stay then.
        keep: Keep,
    },
    /// The newest messages with all words of the query, answered with [`Event::Page`]. Messages can be found moments after
    /// their commit, and later where no core is free.
    Search {
        /// Comes back in the answer.
        ask: u64,
        /// The room's name in its normal form.
        room: Arc<str>,
        /// Words; there is no syntax.
        query: String,
        /// How many at most.
        limit: usize,
    },
    /// The rooms with these names, by name; answered with [`Event::Rooms`].
    Rooms {
        /// Comes back in the answer.
        ask: u64,
        /// In order, and without a room that is in two.
        ranges: Vec<NameRange>,
        /// How many at most.
        limit: usize,
    },
    /// The conversations of two that a user has, the newest first, answered with [`Event::Pairs`].
    Pairs {
        /// Comes back in the answer.
        ask: u64,
        /// The user's folded name.
        user: Arc<str>,
        /// Only those that come after this place in the order.
        after: Option<PairPlace>,
        /// How many at most.
        limit: usize,
    },
    /// The rooms that a user has subscribed to and their conversations of two, the newest first, with how much of each they have
    /// not read; answered with [`Event::Mine`].
    Mine {
        /// Comes back in the answer.
        ask: u64,
        /// Who.
        reader: Reader,
        /// Only those that come after this place in the order; `other` is the name of a room.
        after: Option<PairPlace>,
        /// How many at most.
        limit: usize,
    },
    /// How much of a room each of these has not read, answered with [`Event::Unread`].
    Unread {
        /// Comes back in the answer.
        ask: u64,
        /// The room's name in its normal form.
        room: Arc<str>,
        /// Who.
        readers: Vec<Reader>,
    },
    /// How far a user has read, answered with [`Event::ReadPosition`].
    ReadPosition {
        /// Comes back in the answer.
        ask: u64,
        /// The room's name in its normal form.
        room: Arc<str>,
        /// Whose position.
        user: Arc<str>,
    },
}

/// What a history tells the loop.
#[derive(Debug)]
pub enum Event {
    /// A commit: everything of this loop up to this ticket that was not refused is as durable as promised.
    Settled {
        /// The loop's last batch of the commit.
        ticket: Ticket,
        /// What came of the proposals of its batches, in order.
        outcomes: Vec<Outcome>,
        /// What happened in rooms that the loop has open, in the order of each room.
        changes: Vec<Arc<Change>>,
        /// How the list of bans changed, whichever loop asked for it.
        bans: Vec<BanChange>,
    },
    /// The history of a room goes on under another name: what came after the fork is lost.
    Epoch {
        /// The room's name in its normal form.
        room: Arc<str>,
        /// From where on.
        fork: Fork,
    },
    /// A verified name is somebody's: another node has said so.
    Held(Holder),
    /// More has happened in a room than can be told: it must be opened again, and its readers have missed something.
    Behind {
        /// The room's name in its normal form.
        room: Arc<str>,
    },
    /// The batch with this ticket and all behind it are refused. Posts are `unavailable` until [`Event::Recovered`]. What is
    /// handed over before that with the new term is refused with another one of these.
    Failed {
        /// The term of the batches that are taken from now on.
        term: u32,
        /// The first batch that is refused.
        ticket: Ticket,
        /// For the log and for `/readyz`.
        reason: HistoryError,
    },
    /// Commits are possible again. What of the refused batches turned out to be on the disk is history now, and anyone who was
    /// told `unavailable` gets `duplicate` for the same key. No answer before this event knew of it.
    Recovered {
        /// Messages and changes, in order.
        landed: Vec<Arc<Change>>,
    },
    /// A room's state.
    Opened {
        /// Its name.
        room: Arc<str>,
        /// `Err` says why it could not be read.
        state: Result<RoomState, HistoryError>,
    },
    /// Messages, oldest first (for a search: newest first).
    Page {
        /// The question.
        ask: u64,
        /// `Err` says why they could not be read. Damaged messages are left out.
        records: Result<Vec<Record>, HistoryError>,
    },
    /// Rooms by name.
    Rooms {
        /// The question.
        ask: u64,
        /// `Err` says why they could not be read.
        rooms: Result<Vec<RoomHead>, HistoryError>,
    },
    /// Conversations of two, the newest first.
    Pairs {
        /// The question.
        ask: u64,
        /// `Err` says why they could not be read.
        pairs: Result<Vec<Pair>, HistoryError>,
    },
    /// Rooms and conversations of a user, the newest first.
    Mine {
        /// The question.
        ask: u64,
        /// `Err` says why they could not be read.
        page: Result<MinePage, HistoryError>,
    },
    /// How much of a room its readers have not read.
    Unread {
        /// The question.
        ask: u64,
        /// The newest message that was counted, and the counts; `Err` says why they could not be read.
        counts: Result<(u64, Vec<Unread>), HistoryError>,
    },
    /// The last message that the user has read; 0 when none.
    ReadPosition {
        /// The question.
        ask: u64,
        /// The message.
        seq: u64,
    },
}

/// A room in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomHead {
    /// Its name in the normal form.
    pub name: Arc<str>,
    /// The number of its newest message; 0 for a room without any.
    pub seq: u64,
    /// The time of its newest message; 0 for a room without any.
    pub time: u64,
}

/// Where a conversation is in the list of a user's conversations: by time, the newest first, then by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairPlace {
    /// The time of its newest message.
    pub time: u64,
    /// The folded name of the other user.
    pub other: Arc<str>,
}

impl PairPlace {
    /// What the list is sorted by.
    #[must_use]
    pub fn order(&self) -> (Reverse<u64>, &str) {
        (Reverse(self.time), &self.other)
    }

    /// Whether the place comes after another one in the list.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        self.order() > other.order()
    }
}

/// A conversation of two, as one of them sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Where it is in the list.
    pub place: PairPlace,
    /// Names its one unbroken history.
    pub epoch: Arc<str>,
    /// The number of its newest message.
    pub seq: u64,
    /// The number of its newest change.
    pub rev: u64,
    /// The last message that the user has read; 0 for none.
    pub read: u64,
    /// The names of those who wrote the newest messages, as shown, each once.
    pub writers: Vec<Arc<str>>,
}

/// A room that a user has subscribed to, or a conversation of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mine {
    /// Where it is in the list: the time of its newest message, and the name of the room.
    pub place: PairPlace,
    /// Names its one unbroken history.
    pub epoch: Arc<str>,
    /// The number of its newest message.
    pub seq: u64,
    /// The number of its newest change.
    pub rev: u64,
    /// The last message that the user has read; 0 for none.
    pub read: u64,
    /// Messages that they have not read.
    pub unread: u64,
    /// The newest message, as it is now.
    pub newest: Option<Record>,
}

/// A part of the list of a user's rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MinePage {
    /// The rooms and conversations of the part.
    pub rooms: Vec<Mine>,
    /// The names of all rooms that the user has subscribed to.
    pub subscribed: Vec<Arc<str>>,
}

/// What is known of a room when it is opened.
#[derive(Debug, Default)]
pub struct RoomState {
    /// Names its one unbroken history.
    pub epoch: Arc<str>,
    /// The names that its history had before, the newest last; at most [`MAX_LINEAGE`].
    pub lineage: Vec<Fork>,
    /// The number of its newest message; 0 for a room without any.
    pub seq: u64,
    /// The number of its newest change.
    pub rev: u64,
    /// The time of its newest message.
    pub time: u64,
    /// The number of its oldest message that is still kept; messages before it are gone. 0 for a room without any, and one
    /// more than `seq` when all of them are gone.
    pub oldest: u64,
    /// Its newest messages, oldest first.
    pub recent: Vec<Record>,
    /// Its newest changes (edit, delete, react), oldest first.
    pub changes: Vec<Action>,
}

/// Names of earlier histories that a room remembers.
pub const MAX_LINEAGE: usize = 64;

/// What the loop learns when it begins.
#[derive(Debug, Default, Clone)]
pub struct Start {
    /// Names one unbroken history: another one in a copy, and after a backup was put back.
    pub epoch: String,
    /// Who is banned.
    pub bans: Vec<Ban>,
    /// Who verified names belong to; of each person the first name comes before the others.
    pub holders: Vec<Holder>,
}

/// A verified name and whom it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The name in its folded form.
    pub name: Arc<str>,
    /// The subject of their tokens.
    pub subject: Arc<str>,
    /// It is the first name that they had, under which all that is theirs is kept.
    pub is_first: bool,
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

/// A durable history. No call blocks: what comes of it arrives as an [`Event`] in a later tick.
pub trait History: std::fmt::Debug {
    /// Hands over what a tick proposes; [`Event::Settled`] or [`Event::Failed`] says what became of it.
    ///
    /// # Errors
    /// Returns the batch back when too much waits for a commit already.
    fn propose(&mut self, batch: Batch) -> Result<(), Batch>;

    /// A verified name belongs to somebody. It is on the disk before whatever is handed over later, and nothing is told of it.
    ///
    /// # Errors
    /// Returns the name back when too much waits for a commit already.
    fn hold(&mut self, holder: Holder) -> Result<(), Holder>;

    /// Asks for something; each query names the event that answers it.
    ///
    /// # Errors
    /// Returns the query back when too many wait for their answers already.
    fn query(&mut self, query: Query) -> Result<(), Query>;

    /// What an `ack` promises: `disk` or `memory`.
    fn level(&self) -> &'static str {
        "disk"
    }

    /// Nothing can be added to this room now, though to others it can; the empty name stands for what is not about one room.
    fn is_away(&self, _room: &str) -> bool {
        false
    }

    /// A room is not open here any more: nothing need be told of it. [`Query::Open`] opened it.
    fn close(&mut self, _room: &str) {}

    /// The loop is told what happens in a room that it need not have open, until [`Self::close`].
    fn follow(&mut self, _room: &Arc<str>) {}

    /// Rooms that are open on any loop, where the histories of several loops are one; one loop tells of them.
    fn open_rooms(&self) -> Option<u64> {
        None
    }

    /// Keys against double posts that it remembers.
    fn keys(&self) -> u64 {
        0
    }

    /// Bytes of the log that are in use: what was committed and is not in the database yet.
    fn log_bytes(&self) -> u64 {
        0
    }

    /// Other processes change the rooms, too: a client may know what this one has not heard of yet.
    fn is_shared(&self) -> bool {
        false
    }

    /// Other processes served the same history when this one began.
    fn has_others(&self) -> bool {
        false
    }

    /// How the engine is that several processes share, if there is one; one loop tells of it.
    fn engine(&self) -> Option<EngineFigures> {
        None
    }
}
