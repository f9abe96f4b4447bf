//! The words of servers to each other, as JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chat::connections::{Connection, Found, Listing};
use crate::chat::exchange::{Attendance, LOOP_BIT, Presence};
use crate::chat::neighbours::{Deed, Word};
use crate::chat::people::member::Person;
use crate::chat::people::user::Identity;

/// A word of one server to others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "sign", rename_all = "snake_case")]
pub(super) enum Sign {
    /// What has changed.
    State(State),
    /// Nothing has changed since the state of this number.
    Beat { number: u64, loops: usize },
    /// Who hears this tells all that there is.
    TellAll,
    /// The server ends.
    Bye,
    /// Somebody types.
    Typing { room: String, user: String },
    /// How far users have read.
    Reads { room: String, positions: Vec<(Known, String, u64)> },
    /// For the connections of these users.
    Direct { users: Vec<Known>, notice: String },
    /// A verified user has read up to here.
    ReadUp { user: String, room: String, seq: u64 },
    /// A verified user has subscribed to a room, or has no more.
    Subscribed { user: String, room: String, is_on: bool },
    /// A verified user speaks: their names are no guest's.
    Arrived { person: String },
    /// Every loop is to do something, and to tell a loop of the server that asks how many it concerned.
    Do { of_loop: usize, gather: u64, deed: Asked },
    /// What came of it.
    Done { to_loop: usize, gather: u64, found: Answer },
}

/// What came of something.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// How many it concerned.
    Count(usize),
    Connections(Vec<Connection>),
    /// A page of a list, as JSON.
    Page(String),
}

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case")]
pub(super) enum Asked {
    Kick {
        room: String,
        user: String,
        reason: String,
    },
    DisconnectUser {
        user: String,
        reason: String,
    },
    DisconnectClient {
        client: String,
        reason: String,
    },
    Broadcast {
        rooms: Option<Vec<String>>,
        text: String,
        time: u64,
    },
    /// The connections of a user.
    Connections {
        user: String,
    },
    /// A page of a list, of one loop.
    List {
        at: usize,
        of: ListOf,
        from: usize,
        limit: usize,
    },
}

/// What a list is of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ListOf {
    Connections(Option<String>),
    Users(Option<String>),
    Members(String),
}

impl ListOf {
    fn of(listing: &Listing) -> Self {
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        match listing {
            Listing::Connections(search) => Self::Connections(text(search)),
            Listing::Users(prefix) => Self::Users(text(prefix)),
            Listing::Members(room) => Self::Members(room.to_string()),
        }
    }

    fn into_listing(self) -> Listing {
        match self {
            Self::Connections(search) => Listing::Connections(search.map(Into::into)),
            Self::Users(prefix) => Listing::Users(prefix.map(Into::into)),
            Self::Members(room) => Listing::Members(room.into()),
        }
    }
}

/// What has changed on a server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Grows by 1.
    pub(super) number: u64,
    pub(super) loops: usize,
    /// From here to `is_end` it is all that there is.
    pub(super) is_begin: bool,
    pub(super) is_end: bool,
    pub(super) rooms: Vec<About>,
    pub(super) people: Vec<Somebody>,
}

/// Who is in a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct About {
    room: String,
    count: usize,
    /// Client, name, and whether the name is verified.
    listed: Vec<(String, String, bool)>,
}

/// Who speaks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Somebody {
    user: Known,
    name: String,
    connections: (u32, u32),
}

/// A user: what they are kept under, and whether they are verified.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Known(String, bool);

impl Known {
    fn of(user: &Identity) -> Self {
        Self(user.person.to_string(), user.is_verified)
    }

    fn into_identity(self) -> Identity {
        Identity { person: self.0.into(), is_verified: self.1 }
    }
}

impl About {
    pub(super) fn of(attendance: &Attendance) -> Self {
        let listed =
            attendance.listed.iter().map(|it| (it.client.to_string(), it.user.to_string(), it.is_verified));
        Self { room: attendance.room.to_string(), count: attendance.count, listed: listed.collect() }
    }

    pub(super) fn into_attendance(self) -> Attendance {
        let person = |(client, user, is_verified): (String, String, bool)| Person {
            client: client.into(),
            user: user.into(),
            is_verified,
        };
        let listed = self.listed.into_iter().map(person).collect();
        Attendance { room: self.room.into(), count: self.count, listed }
    }
}

impl Somebody {
    pub(super) fn of(presence: Presence) -> Self {
        let Presence { user, name, connections } = presence;
        Self { user: Known::of(&user), name: name.to_string(), connections }
    }

    pub(super) fn into_presence(self) -> Presence {
        Presence { user: self.user.into_identity(), name: self.name.into(), connections: self.connections }
    }
}

impl Asked {
    fn of(deed: &Deed) -> Option<Self> {
        Some(match deed {
            Deed::Kick { room, user, reason } => {
                Self::Kick { room: room.to_string(), user: user.to_string(), reason: reason.to_string() }
            }
            Deed::DisconnectUser { user, reason } => {
                Self::DisconnectUser { user: user.to_string(), reason: reason.to_string() }
            }
            Deed::DisconnectClient { client, reason } => {
                Self::DisconnectClient { client: client.to_string(), reason: reason.to_string() }
            }
            Deed::Broadcast { rooms, text, time } => {
                let rooms = rooms.as_ref().map(|rooms| rooms.iter().map(ToString::to_string).collect());
                Self::Broadcast { rooms, text: text.to_string(), time: *time }
            }
            Deed::Connections { user } => Self::Connections { user: user.to_string() },
            Deed::List { at, listing, from, limit } => {
                Self::List { at: *at, of: ListOf::of(listing), from: *from, limit: *limit }
            }
            Deed::Figures => return None,
        })
    }

    fn into_deed(self) -> Deed {
        match self {
            Self::Kick { room, user, reason } => {
                Deed::Kick { room: room.into(), user: user.into(), reason: reason.into() }
            }
            Self::DisconnectUser { user, reason } => {
                Deed::DisconnectUser { user: user.into(), reason: reason.into() }
            }
            Self::DisconnectClient { client, reason } => {
                Deed::DisconnectClient { client: client.into(), reason: reason.into() }
            }
            Self::Broadcast { rooms, text, time } => {
                let rooms = rooms.map(|rooms| rooms.into_iter().map(Arc::from).collect());
                Deed::Broadcast { rooms, text: text.into(), time }
            }
            Self::Connections { user } => Deed::Connections { user: user.into() },
            Self::List { at, of, from, limit } => Deed::List { at, listing: of.into_listing(), from, limit },
        }
    }
}

impl Sign {
    /// What a loop tells another server; nothing where that is told as a state, or stays here. `of_loop`: the loop there that
    /// has asked.
    pub(super) fn of_word(word: Word, of_loop: usize) -> Option<Self> {
        Some(match word {
            Word::Typing { room, user } => Self::Typing { room: room.to_string(), user: user.to_string() },
            Word::Reads { room, positions } => {
                let position =
                    |(user, name, seq): &(Identity, Arc<str>, u64)| (Known::of(user), name.to_string(), *seq);
                Self::Reads { room: room.to_string(), positions: positions.iter().map(position).collect() }
            }
            Word::Direct { users, notice } => {
                Self::Direct { users: users.iter().map(Known::of).collect(), notice: notice.to_string() }
            }
            Word::ReadUp { user, room, seq } => {
                Self::ReadUp { user: user.to_string(), room: room.to_string(), seq }
            }
            Word::Subscribed { user, room, is_on } => {
                Self::Subscribed { user: user.to_string(), room: room.to_string(), is_on }
            }
            Word::Arrived { person } => Self::Arrived { person: person.to_string() },
            Word::Do { from, gather, deed } => Self::Do { of_loop: from, gather, deed: Asked::of(&deed)? },
            Word::Done { gather, found } => {
                let found = match found {
                    Found::Connections(connections) => Answer::Connections(connections),
                    Found::Page(page) => Answer::Page(page.to_string()),
                    other => Answer::Count(other.count()),
                };
                Self::Done { to_loop: of_loop, gather, found }
            }
            Word::Presence { .. } | Word::Held(_) => return None,
        })
    }

    /// The same for a loop here, or for all of them. `node`: the number of the server that says it.
    pub(super) fn into_word(self, node: usize) -> Option<(Option<usize>, Word)> {
        let word = match self {
            Self::Typing { room, user } => Word::Typing { room: room.into(), user: user.into() },
            Self::Reads { room, positions } => {
                let position =
                    |(user, name, seq): (Known, String, u64)| (user.into_identity(), name.into(), seq);
                Word::Reads { room: room.into(), positions: positions.into_iter().map(position).collect() }
            }
            Self::Direct { users, notice } => {
                let users = users.into_iter().map(Known::into_identity).collect();
                Word::Direct { users, notice: notice.into() }
            }
            Self::ReadUp { user, room, seq } => Word::ReadUp { user: user.into(), room: room.into(), seq },
            Self::Subscribed { user, room, is_on } => {
                Word::Subscribed { user: user.into(), room: room.into(), is_on }
            }
            Self::Arrived { person } => Word::Arrived { person: person.into() },
            Self::Do { of_loop, gather, deed } => {
                let deed = Arc::new(deed.into_deed());
                let at = if let Deed::List { at, .. } = &*deed { Some(*at) } else { None };
                return Some((at, Word::Do { from: node | of_loop << LOOP_BIT, gather, deed }));
            }
            Self::Done { to_loop, gather, found } => {
                let found = match found {
                    Answer::Count(count) => Found::Count(count),
                    Answer::Connections(connections) => Found::Connections(connections),
                    Answer::Page(page) => Found::Page(page.into()),
                };
                return Some((Some(to_loop), Word::Done { gather, found }));
            }
            Self::State(_) | Self::Beat { .. } | Self::TellAll | Self::Bye => return None,
        };
        Some((None, word))
    }
}
