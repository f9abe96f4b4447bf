//! What the chat proposes, and what the authority says came of it.

use std::sync::Arc;

use super::{Ban, Data, Post, Record, Who};

/// Numbers what is handed over; grows by 1 with each batch.
pub type Ticket = u64;

/// What one tick proposes, in order.
#[derive(Debug)]
pub struct Batch {
    /// Counts from 1.
    pub ticket: Ticket,
    /// As the last [`Event::Failed`](super::Event::Failed) said; 0 before the first. A batch of an earlier term is refused
    /// without a further event: the loop has counted it as failed already.
    pub term: u32,
    /// What comes of all of them or of none is durable.
    pub proposals: Vec<Proposal>,
    /// Who may not come in any more, or may again; durable together with the rest.
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

/// What somebody wants to become part of a room's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The room's name in its normal form.
    pub room: Arc<str>,
    /// When, in milliseconds since 1970; what comes of it is never dated before the newest message of the room.
    pub time: u64,
    /// What.
    pub act: Act,
}

/// What is proposed. The authority gives the numbers, and says what came of it ([`Outcome`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A message.
    Post(Draft),
    /// Another text for an earlier message.
    Edit {
        /// The message.
        seq: u64,
        /// What it says from then on.
        text: Box<str>,
        /// What it carries from then on; `None`: what it carried before.
        data: Option<Data>,
    },
    /// An earlier message loses its text.
    Delete {
        /// The message.
        seq: u64,
    },
    /// A user's reaction is added or taken back.
    React {
        /// The message.
        seq: u64,
        /// Who reacts.
        user: Who,
        /// With what.
        emoji: Box<str>,
        /// Taken back.
        is_removed: bool,
        /// Reactions of everybody that a message bears; one more is refused.
        most: usize,
    },
    /// A message of an archive, with its number and time and what was done with it. Only a history on the disk takes it.
    Import(Box<Record>),
    /// A user subscribes to the room, or does so no more. It is told to nobody.
    Subscribe {
        /// Who.
        user: Arc<str>,
        /// Subscribes.
        is_on: bool,
        /// Rooms of a user; one more is refused.
        most: usize,
    },
    /// A user has read up to here. Needs no order and may be late; never goes back, and has no outcome.
    Read {
        /// Who.
        user: Arc<str>,
        /// The last message that was read.
        seq: u64,
    },
    /// Something for the team's backend that changes no room; has no outcome. Where there is no outbox it comes to nothing.
    Note(Box<str>),
}

/// A message without its number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// Who says it, as shown.
    pub user: Arc<str>,
    /// Their name is verified.
    pub is_verified: bool,
    /// The connection that it comes from.
    pub client: Arc<str>,
    /// What is said.
    pub text: Box<str>,
    /// Makes posting twice post once.
    pub key: Option<DraftKey>,
    /// What it carries besides the text.
    pub data: Option<Data>,
    /// The earlier message of the room that it replies to; refused where the room has not come so far.
    pub reply_to: Option<u64>,
}

/// A key, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftKey {
    /// What the user's things are kept under: a folded name.
    pub person: Arc<str>,
    /// The key.
    pub key: Box<str>,
}

impl Draft {
    /// Whether what it replies to has been said, where this is the newest message: one that was deleted, or that is kept no more,
    /// has been.
    pub(in crate::history) fn has_target(&self, newest: u64) -> bool {
        self.reply_to.is_none_or(|seq| (1..=newest).contains(&seq))
    }

    /// The message with its number and time, which fall to it.
    #[must_use]
    pub fn numbered(self, seq: u64, time: u64) -> Post {
        let Self { user, is_verified, client, text, key, data, reply_to } = self;
        let key = key.map(|key| key.key);
        Post { seq, time, user, is_verified, client, text, key, data, reply_to }
    }
}

/// What came of a proposal. There is one for each but those that say how far somebody has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The message is part of the history.
    Posted {
        /// Its number.
        seq: u64,
        /// Its time, in milliseconds since 1970.
        time: u64,
    },
    /// The same user has posted into the same room with the same key before, and this came of it.
    Repeated {
        /// Its number; 0 where it is not kept.
        seq: u64,
        /// Its time, in milliseconds since 1970.
        time: u64,
    },
    /// The message was changed.
    Changed {
        /// The message.
        seq: u64,
        /// The number of the change.
        rev: u64,
        /// When, in milliseconds since 1970; reactions have no time.
        time: Option<u64>,
    },
    /// The message is that way already.
    Same {
        /// The message.
        seq: u64,
        /// The newest change of the room.
        rev: u64,
    },
    /// There is no such message, or none any more.
    Gone,
    /// The message is not taken in: another one has its number.
    Taken,
    /// The message is not taken in: the room goes on with this number.
    Gap {
        /// The number of the room's next message.
        next: u64,
    },
    /// This history takes no messages of archives.
    NoImport,
    /// There is no message of this number to reply to.
    NoTarget,
    /// The user has subscribed, or has no more.
    Subscribed,
    /// The message bears as many reactions as may be, or the user has as many rooms.
    TooMany,
    /// It could not be done now; whether it was done is not known.
    Unavailable,
}
