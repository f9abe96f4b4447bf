//! What an operator asks about connections, users and members, and what one loop answers another.
//!
//! A list is read in pages. A page covers one loop and at most [`MAX_LOOKED`] places of its tables, so no page holds up the
//! loop, and a connection that stays while the list is read is listed once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// Places of connections, or of users, that one page looks at.
pub(in crate::chat) const MAX_LOOKED: usize = 4096;
/// Connections, users or members of one page, and connections of a user on one loop.
pub const MAX_CONNECTIONS_LISTED: usize = 200;
/// Rooms that are named for one connection in a list.
pub(in crate::chat) const MAX_ROOMS_NAMED: usize = 20;

/// What a list is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// Connections: all, or those whose user's name holds this text, whose client id is this, or whose address begins so.
    Connections(Option<Box<str>>),
    /// Users: all, or those whose folded name begins like this.
    Users(Option<Box<str>>),
    /// The connections in the room of this name.
    Members(Box<str>),
}

/// Letters of the name of a server in a place, at most.
const MAX_SERVER: usize = 32;

/// Where a list goes on: the place of a connection, or of a user, on a loop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The name of the server, where there are several.
    pub(in crate::chat) server: Option<Arc<str>>,
    /// The number of the loop.
    pub(in crate::chat) at: usize,
    pub(in crate::chat) slot: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(server) = &self.server {
            write!(f, "{server}.")?;
        }
        write!(f, "{}.{}", self.at, self.slot)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// It is no place of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (at, slot) = text.rsplit_once('.').ok_or(NoPlace)?;
        let (server, at) = at.rsplit_once('.').map_or((None, at), |(server, at)| (Some(server), at));
        let is_name = |name: &str| {
            (1..=MAX_SERVER).contains(&name.len()) && name.bytes().all(|it| it.is_ascii_alphanumeric())
        };
        if server.is_some_and(|name| !is_name(name)) {
            return Err(NoPlace);
        }
        let number = |text: &str| text.parse().map_err(|_| NoPlace);
        Ok(Self { server: server.map(Arc::from), at: number(at)?, slot: number(slot)? })
    }
}

/// A connection as an operator sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::chat) struct Connection {
    pub(in crate::chat) client: Box<str>,
    /// Who speaks, once that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::chat) user: Option<Box<str>>,
    pub(in crate::chat) verified: bool,
    /// An IPv4 address, or the /64 of an IPv6 address.
    pub(in crate::chat) address: Box<str>,
    /// Milliseconds since 1970.
    pub(in crate::chat) since: u64,
    pub(in crate::chat) protocol: Box<str>,
    /// At most [`MAX_ROOMS_NAMED`] of them.
    pub(in crate::chat) rooms: Vec<Box<str>>,
    pub(in crate::chat) room_count: usize,
    /// Octets that the client has not read.
    pub(in crate::chat) queued: usize,
}

/// Figures by name, of one loop or of several.
#[derive(Debug, Clone, Default)]
pub(in crate::chat) struct Figures {
    pub(in crate::chat) loops: u64,
    /// Those that add up over loops.
    pub(in crate::chat) sums: Vec<(&'static str, u64)>,
    /// Those that all loops share, such as the state of their history.
    pub(in crate::chat) shared: Vec<(&'static str, u64)>,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.loops += other.loops;
        for ((name, sum), (other_name, value)) in self.sums.iter_mut().zip(&other.sums) {
            debug_assert_eq!(name, other_name, "all loops count the same");
            *sum += value;
        }
        for ((_, most), (_, value)) in self.shared.iter_mut().zip(&other.shared) {
            *most = (*most).max(*value);
        }
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let loops = [("loops", self.loops)];
        serializer.collect_map(loops.iter().chain(&self.sums).chain(&self.shared).copied())
    }
}

/// What a loop answers.
#[derive(Debug, Clone)]
pub(in crate::chat) enum Found {
    /// How many it concerned.
    Count(usize),
    /// The connections of a user.
    Connections(Vec<Connection>),
    /// A page of a list, as JSON.
    Page(Arc<str>),
    Figures(Box<Figures>),
}

impl Found {
    /// How many it concerned.
    pub(in crate::chat) fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Connections(connections) => connections.len(),
            Self::Page(_) | Self::Figures(_) => 1,
        }
    }

    /// Adds what another loop has found.
    pub(in crate::chat) fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Count(sum), Self::Count(count)) => *sum += count,
            (Self::Connections(all), Self::Connections(more)) => all.extend(more),
            (Self::Figures(sum), Self::Figures(more)) => sum.add(&more),
            (found, other) => *found = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_what_it_shows() {
        for server in [None, Some("00ff".into())] {
            let place = Place { server, at: 3, slot: 4097 };
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        let long = format!("{}.1.1", "a".repeat(MAX_SERVER + 1));
        for wrong in ["", ".", "1", "1.", ".1", "1.x", "-1.1", ".1.1", "a.b.1.1", "ä.1.1", &long] {
            assert_eq!(wrong.parse::<Place>(), Err(NoPlace), "{wrong:?}");
        }
    }

    #[test]
    fn figures_add_up_but_for_those_that_are_shared() {
        let figures = |sum, shared| Figures {
            loops: 1,
            sums: vec![("posts", sum)],
            shared: vec![("failures", shared)],
        };
        let mut found = Found::Figures(Box::new(figures(2, 7)));
        found.add(Found::Figures(Box::new(figures(3, 5))));
        let Found::Figures(sum) = found else { panic!("{found:?}") };
        assert_eq!(serde_json::to_string(&sum).unwrap(), r#"{"loops":2,"posts":5,"failures":7}"#);
    }
}
