//! The other part of a program, or the team's backend, that is asked what may happen and told what has happened.

use std::fmt;

use serde::Serialize;

use crate::app::{Millis, Rate};
use crate::chat::happening::Happening;
use crate::chat::identity::Claims;
use crate::chat::wire::data::Json;
use crate::history::{Data, EventKinds};

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AskKind {
    /// Who is it, and what may they do?
    Connect,
    /// May they enter the room?
    Join,
    /// May they say this?
    Post,
}

impl AskKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Join, Self::Post];

    /// The name of the kind, as in the questions themselves.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Join => "join",
            Self::Post => "post",
        }
    }
}

/// Some kinds of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskKinds(u8);

impl AskKinds {
    /// Whether a kind is among them.
    #[must_use]
    pub fn has(self, kind: AskKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<AskKind> for AskKinds {
    fn from_iter<I: IntoIterator<Item = AskKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

/// What happens where nobody answers in time, or badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAway {
    /// What would happen if nobody were asked.
    Allow,
    /// It is refused: `unavailable`.
    #[default]
    Refuse,
}

/// What is asked and told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EventOptions {
    /// What is asked.
    pub asks: AskKinds,
    /// What is told.
    pub tells: EventKinds,
    /// Milliseconds after which nobody waits for an answer any more.
    pub deadline_ms: Millis,
    /// What happens then.
    pub when_away: WhenAway,
    /// What is told goes into the outbox of the history, where there is a history: it is as durable as the messages. Else
    /// [`ChatEvents::tell`] is called.
    pub is_through_history: bool,
}

changeable!(EventOptions);

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            asks: AskKinds::default(),
            tells: EventKinds::default(),
            deadline_ms: 1000,
            when_away: WhenAway::Refuse,
            is_through_history: false,
        }
    }
}

/// What is asked. Its JSON is that of `docs/hooks.md`.
#[derive(Debug, Serialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of docs/hooks.md, by name")]
#[non_exhaustive]
pub enum Question<'a> {
    /// Somebody says who they are.
    #[non_exhaustive]
    Connect {
        client: &'a str,
        address: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        origin: Option<&'a str>,
        /// The name that they wish for, or that of their token.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        /// They have a token.
        verified: bool,
        /// The subject of the token.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<&'a str>,
        /// When the token ends, in seconds since 1970.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires: Option<u64>,
    },
    /// Somebody wants to enter a room, which nothing forbids.
    #[non_exhaustive]
    Join {
        room: &'a str,
        client: &'a str,
        user: &'a str,
        verified: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<&'a str>,
    },
    /// Somebody wants to say something, in a room or to one user, or to give a message another text.
    #[non_exhaustive]
    Post {
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        /// The user whom it is for.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a str>,
        /// The message that is to have this text.
        #[serde(skip_serializing_if = "Option::is_none")]
        edits: Option<u64>,
        text: &'a str,
        /// What the message carries besides.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Json<'a>>,
        /// The message that it replies to.
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        client: &'a str,
        user: &'a str,
        verified: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<&'a str>,
    },
}

impl Question<'_> {
    /// Which of the kinds it belongs to.
    #[must_use]
    pub fn kind(&self) -> AskKind {
        match self {
            Self::Connect { .. } => AskKind::Connect,
            Self::Join { .. } => AskKind::Join,
            Self::Post { .. } => AskKind::Post,
        }
    }
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// A verified user, with what they may do.
    Verified(Box<Claims>),
    /// A guest of this name.
    Guest(Box<str>),
}

/// What goes on, and what is changed in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// Of [`Question::Connect`]: who it is; as they said themselves when `None`.
    pub speaker: Option<Speaker>,
    /// Of [`Question::Connect`]: how often they may post, in the place of [`Limits::posts`](crate::chat::Limits::posts).
    pub posts: Option<Rate>,
    /// Of [`Question::Post`]: what is said in the place of what they wrote.
    pub text: Option<Box<str>>,
    /// Of [`Question::Post`]: what the message carries in the place of what they gave it.
    pub data: Option<Data>,
}

changeable!(Allowed);

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It may happen.
    Allow(Allowed),
    /// It must not, and they are told why.
    Refuse(Box<str>),
    /// There is no good answer; the sentence is for the log.
    Away(Box<str>),
}

impl Answer {
    /// It may happen as it is.
    #[must_use]
    pub fn allow() -> Self {
        Self::Allow(Allowed::default())
    }
}

/// A question that was asked: its number among those of the chat on this loop.
pub type AskNumber = u64;

/// What is told and asked in the course of time, for the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TellCounts {
    /// Events that the backend has taken.
    pub told: u64,
    /// Requests with events that failed and were made again.
    pub retried: u64,
    /// Events that the backend refused for good.
    pub dead: u64,
    /// Events that were dropped, because too many waited: notes, and changes of rooms.
    pub dropped: [u64; 2],
    /// Events that wait now.
    pub backlog: u64,
    /// Milliseconds since the oldest of them waits.
    pub oldest_age_ms: u64,
}

impl TellCounts {
    /// These and those of another loop.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            told: self.told + other.told,
            retried: self.retried + other.retried,
            dead: self.dead + other.dead,
            dropped: std::array::from_fn(|at| self.dropped[at] + other.dropped[at]),
            backlog: self.backlog + other.backlog,
            oldest_age_ms: self.oldest_age_ms.max(other.oldest_age_ms),
        }
    }
}

/// Whoever is asked and told. All calls are made by the loop of the chat: none of them may wait for anything.
pub trait ChatEvents: fmt::Debug {
    /// Decides, if it is among [`EventOptions::asks`]. `None`: later; then the answer comes to the chat as
    /// [`Mail::Decision`](crate::chat::Mail::Decision) with the number.
    fn ask(&mut self, number: AskNumber, question: &Question<'_>) -> Option<Answer>;

    /// Something has happened that is among [`EventOptions::tells`]; it is as durable as the chat promises.
    fn tell(&mut self, happening: &Happening<'_>);

    /// What was told, as far as this one knows of it.
    fn counts(&self) -> TellCounts {
        TellCounts::default()
    }
}
