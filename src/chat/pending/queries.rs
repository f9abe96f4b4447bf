//! What the history was asked, and for what.

use std::sync::Arc;

use crate::chat::ids::RoomId;
use crate::chat::people::actor::Actor;
use crate::chat::rooms::Hold;
use crate::chat::wire::command::{Command, Since};
use crate::chat::wire::reply_to::ReplyTo;
use crate::history::{NameRange, Record};

/// What the answer to `history` needs besides the messages.
#[derive(Debug)]
pub(in crate::chat) struct StoredRange {
    pub(in crate::chat) limit: usize,
    /// The newest change when it was asked.
    pub(in crate::chat) rev: u64,
    /// Where it reads on: the number before which there may be more.
    pub(in crate::chat) end: Option<u64>,
}

/// Which part of the history the one who joins wants.
#[derive(Debug)]
pub(in crate::chat) struct JoinRange<'a> {
    /// All that came after this, if it can be told.
    pub(in crate::chat) since: Option<Since<'a>>,
    /// Else this many messages.
    pub(in crate::chat) history: Option<u64>,
}

impl JoinRange<'_> {
    pub(in crate::chat) fn into_owned(self) -> JoinRange<'static> {
        JoinRange { since: self.since.map(Since::into_owned), history: self.history }
    }
}

/// Which part of the list of rooms is wanted.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Part {
    pub(in crate::chat) ranges: Vec<NameRange>,
    pub(in crate::chat) limit: usize,
    /// Rooms in memory that are looked at, at most.
    pub(in crate::chat) most_looked: usize,
}

/// A query that the history has not answered.
#[derive(Debug)]
pub(in crate::chat) struct PendingQuery {
    pub(in crate::chat) reply_to: ReplyTo,
    /// The room that it is about.
    pub(in crate::chat) hold: Option<Hold>,
    pub(in crate::chat) purpose: Purpose,
}

/// What an answer is for.
#[derive(Debug)]
pub(in crate::chat) enum Purpose {
    /// `history`.
    History(StoredRange),
    /// `search`; with the newest change when it was asked.
    Search { rev: u64 },
    /// The message that must be changed.
    Change { actor: Actor, command: Command<'static> },
    /// `conversations`.
    Pairs { actor: Actor, limit: usize },
    /// `mine`.
    Mine { actor: Actor, limit: usize },
    /// How much of a room users have not read.
    Unread { room: Arc<str> },
    /// The older part of what a join tells.
    JoinPage(u64),
    /// How far the one who joins has read.
    JoinRead(u64),
    /// The list of rooms, for another part of the server.
    Rooms(Part),
    /// `rooms`.
    Joinable(Part),
}

impl PendingQuery {
    #[cfg(debug_assertions)]
    pub(in crate::chat::pending) fn is_for_join(&self) -> bool {
        matches!(self.purpose, Purpose::JoinPage(_) | Purpose::JoinRead(_))
    }
}

/// A join that waits for answers.
#[derive(Debug)]
pub(in crate::chat) struct PendingJoin {
    reply_to: ReplyTo,
    actor: Actor,
    hold: Hold,
    range: JoinRange<'static>,
    older: Vec<Record>,
    /// The newest change when it was asked.
    rev: u64,
    awaits: u8,
}

/// A join for which every answer is there.
#[derive(Debug)]
pub(in crate::chat) struct JoinAnswer {
    pub(in crate::chat) reply_to: ReplyTo,
    pub(in crate::chat) actor: Actor,
    pub(in crate::chat) hold: Hold,
    pub(in crate::chat) range: JoinRange<'static>,
    pub(in crate::chat) older: Vec<Record>,
    pub(in crate::chat) rev: u64,
}

impl PendingJoin {
    /// A join for which `awaits` queries are asked; `rev` is the newest change.
    pub(in crate::chat) fn new(
        (reply_to, actor): (ReplyTo, Actor),
        hold: Hold,
        range: JoinRange<'static>,
        rev: u64,
        awaits: u8,
    ) -> Self {
        Self { reply_to, actor, hold, range, older: Vec::new(), rev, awaits }
    }

    /// The room that is joined.
    pub(in crate::chat) fn room(&self) -> RoomId {
        self.hold.room()
    }

    /// Who joins.
    pub(in crate::chat) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Who waits for the answer.
    pub(in crate::chat) fn reply_to(&self) -> &ReplyTo {
        &self.reply_to
    }

    /// The older part of what it tells has come.
    pub(in crate::chat) fn add_older(&mut self, records: Vec<Record>) {
        self.older = records;
    }

    /// An answer has come; `true`: none is awaited any more.
    pub(in crate::chat) fn goes_on(&mut self) -> bool {
        self.awaits -= 1;
        self.awaits == 0
    }

    /// What must be told.
    pub(in crate::chat) fn into_answer(self) -> JoinAnswer {
        let Self { reply_to, actor, hold, range, older, rev, .. } = self;
        JoinAnswer { reply_to, actor, hold, range, older, rev }
    }

    #[cfg(debug_assertions)]
    pub(in crate::chat::pending) fn awaits(&self) -> u8 {
        self.awaits
    }

    /// Octets of what the history has answered with.
    pub(in crate::chat) fn octets(&self) -> usize {
        octets_of(&self.older)
    }
}

/// Octets of what messages say and carry.
pub(in crate::chat) fn octets_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.post.octets()).sum()
}
