//! Connections that speak, and the users who they speak for.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use slab::Slab;

use super::answers::Asker;
use super::bucket::Bucket;
use super::command::Command;
use super::identity::Claims;
use super::notice::Member;
use super::shards::Shards;
use crate::app::ConnId;

/// Whose rules a connection follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `chat.v1.json`.
    V1,
    /// `json`.
    Tutorial,
}

/// A place in a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    pub(super) room: u32,
    /// Where the connection stands among the members.
    pub(super) position: u32,
    /// The others have been told.
    pub(super) is_announced: bool,
    /// Where it is the number of lists that the room has given out, nobody has heard of it.
    pub(super) since: u32,
}

/// A command that waits, and who gave it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) asker: Asker,
    pub(super) actor: Actor,
    pub(super) command: Command<'static>,
}

/// A room that is being joined, and what waits for that.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) room: u32,
    pub(super) behind: Vec<Waiting>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) conn: ConnId,
    /// Tells all connections apart, for ever.
    pub(super) number: u64,
    pub(super) dialect: Dialect,
    /// `false`: it has been told to go, and is no part of anything any more.
    pub(super) is_live: bool,
    /// `number`, as it is shown.
    pub(super) client: Arc<str>,
    /// Who speaks, once that is known.
    pub(super) user: Option<u32>,
    pub(super) claims: Option<Box<Claims>>,
    pub(super) address: Address,
    pub(super) posts: Bucket,
    pub(super) commands: Bucket,
    pub(super) refusals: Bucket,
    pub(super) rooms: Vec<Membership>,
    /// Rooms that are being joined.
    #[expect(clippy::box_collection, reason = "rarely there, and a session is to be small")]
    pub(super) joining: Option<Box<Vec<Joining>>>,
    /// Commands that wait.
    pub(super) waiting: u16,
    /// Questions to the store.
    pub(super) asks: u16,
}

impl Session {
    pub(super) fn membership(&mut self, room: u32) -> Option<&mut Membership> {
        self.rooms.iter_mut().find(|membership| membership.room == room)
    }

    pub(super) fn is_in(&self, room: u32) -> bool {
        self.rooms.iter().any(|membership| membership.room == room)
    }
}

/// Somebody with a name and at least one connection.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: Arc<str>,
    pub(super) folded: Arc<str>,
    pub(super) is_verified: bool,
    pub(super) sessions: Vec<u32>,
    pub(super) posts: Bucket,
}

/// In whose name something is done.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    pub(super) name: Arc<str>,
    pub(super) folded: Arc<str>,
    pub(super) is_verified: bool,
    pub(super) client: Arc<str>,
    /// The session; the server itself has none and may do everything.
    pub(super) session: Option<u32>,
}

/// An IPv4 address, or an IPv6 /64: what one person is likely to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Address(u64);

impl Address {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(address.to_bits())),
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64 | 1 << 63),
        }
    }
}

#[derive(Debug, Default)]
struct AddressState {
    sessions: u32,
    posts: Bucket,
}

/// All sessions and users.
#[derive(Debug, Default)]
pub(super) struct People {
    /// By the slot of the connection.
    sessions: Vec<Option<Box<Session>>>,
    count: usize,
    users: Slab<User>,
    by_name: Shards<u32>,
    addresses: HashMap<Address, AddressState>,
    /// When tokens expire, by milliseconds since 1970 and slot.
    expiries: BTreeSet<(u64, u32)>,
    last_number: u64,
}

/// A number in base 36: every message carries one.
fn client_id(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.iter().rev().collect()
}

/// Addresses without connections that are remembered.
const MAX_IDLE_ADDRESSES: usize = 1024;

impl People {
    /// Clients are numbered from here on.
    pub(super) fn number_from(&mut self, number: u64) {
        self.last_number = number;
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    /// A connection begins to speak.
    pub(super) fn open(&mut self, conn: ConnId, dialect: Dialect, address: Address) -> &mut Session {
        self.last_number += 1;
        let number = self.last_number;
        self.addresses.entry(address).or_default().sessions += 1;
        self.count += 1;
        let at = conn.index as usize;
        if at >= self.sessions.len() {
            self.sessions.resize_with(at + 1, || None);
        }
        self.sessions[at].insert(Box::new(Session {
            conn,
            number,
            dialect,
            is_live: true,
            client: client_id(number).into(),
            user: None,
            claims: None,
            address,
            posts: Bucket::default(),
            commands: Bucket::default(),
            refusals: Bucket::default(),
            rooms: Vec::new(),
            joining: None,
            waiting: 0,
            asks: 0,
        }))
    }

    /// A connection is gone; it is in no room any more.
    pub(super) fn close(&mut self, conn: ConnId, now_ms: u64) {
        let Some(place) = self.sessions.get_mut(conn.index as usize) else { return };
        let Some(session) = place.take_if(|session| session.conn == conn) else { return };
        self.count -= 1;
        if let Some(state) = self.addresses.get_mut(&session.address) {
            state.sessions -= 1;
            if state.sessions == 0 && state.posts.is_full(now_ms) {
                self.addresses.remove(&session.address);
            }
        }
        if self.addresses.len() > MAX_IDLE_ADDRESSES + 2 * self.count {
            self.addresses.retain(|_, state| state.sessions > 0 || !state.posts.is_full(now_ms));
        }
    }

    /// The live session of a connection.
    pub(super) fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(conn.index as usize)?.as_deref_mut()?;
        (session.conn == conn && session.is_live).then_some(session)
    }

    /// The session in a slot, live or not.
    pub(super) fn at(&mut self, index: u32) -> Option<&mut Session> {
        self.sessions.get_mut(index as usize)?.as_deref_mut()
    }

    pub(super) fn look(&self, index: u32) -> Option<&Session> {
        self.sessions.get(index as usize)?.as_deref()
    }

    /// All live sessions.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter_map(Option::as_deref).filter(|session| session.is_live)
    }

    /// How somebody in a room is shown.
    pub(super) fn member(&self, index: u32) -> Option<Member<'_>> {
        let session = self.look(index)?;
        let user = self.users.get(session.user? as usize)?;
        Some(Member { client: &session.client, user: &user.name, verified: user.is_verified })
    }

    pub(super) fn user(&self, user: u32) -> Option<&User> {
        self.users.get(user as usize)
    }

    pub(super) fn user_mut(&mut self, user: u32) -> Option<&mut User> {
        self.users.get_mut(user as usize)
    }

    /// The user with this folded name.
    pub(super) fn find(&self, folded: &str) -> Option<u32> {
        self.by_name.get(folded).copied()
    }

    /// The handles of a user's connections.
    pub(super) fn conns_of(&self, folded: &str) -> Vec<ConnId> {
        let user = self.find(folded).and_then(|user| self.user(user));
        let sessions = user.map(|user| user.sessions.as_slice()).unwrap_or_default();
        sessions.iter().filter_map(|index| self.look(*index)).map(|session| session.conn).collect()
    }

    /// A session speaks for a user from now on.
    pub(super) fn speak_as(&mut self, index: u32, name: &str, folded: &str, claims: Option<Box<Claims>>) {
        let user = self.find(folded).unwrap_or_else(|| {
            let folded: Arc<str> = folded.into();
            let name = if *folded == *name { Arc::clone(&folded) } else { name.into() };
            let user = User {
                name,
                folded: Arc::clone(&folded),
                is_verified: claims.is_some(),
                sessions: Vec::with_capacity(1),
                posts: Bucket::default(),
            };
            let user = self.users.insert(user) as u32;
            self.by_name.insert(folded, user);
            user
        });
        self.users[user as usize].sessions.push(index);
        if let Some(claims) = &claims {
            self.expiries.insert((claims.expires_unix_s.saturating_mul(1000), index));
        }
        if let Some(session) = self.at(index) {
            session.user = Some(user);
            session.claims = claims;
        }
    }

    /// A session speaks for nobody any more.
    pub(super) fn fall_silent(&mut self, index: u32) {
        let Some(session) = self.at(index) else { return };
        session.is_live = false;
        session.joining = None;
        let (user, claims) = (session.user.take(), session.claims.take());
        if let Some(claims) = claims {
            self.expiries.remove(&(claims.expires_unix_s.saturating_mul(1000), index));
        }
        let Some(user) = user else { return };
        let state = &mut self.users[user as usize];
        state.sessions.retain(|other| *other != index);
        if state.sessions.is_empty() {
            let user = self.users.remove(user as usize);
            self.by_name.remove(&user.folded);
        }
    }

    /// In whose name a session acts.
    pub(super) fn actor(&self, index: u32) -> Option<Actor> {
        let session = self.look(index)?;
        let user = self.user(session.user?)?;
        Some(Actor {
            name: Arc::clone(&user.name),
            folded: Arc::clone(&user.folded),
            is_verified: user.is_verified,
            client: Arc::clone(&session.client),
            session: Some(index),
        })
    }

    /// When the first token expires, in milliseconds since 1970.
    pub(super) fn first_expiry(&self) -> Option<u64> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// The connection of a token that has expired.
    pub(super) fn expired(&self, unix_ms: u64) -> Option<ConnId> {
        let (at, index) = *self.expiries.first()?;
        (at <= unix_ms).then(|| self.look(index).map(|session| session.conn))?
    }

    pub(super) fn address_posts(&mut self, address: Address) -> Option<&mut Bucket> {
        self.addresses.get_mut(&address).map(|state| &mut state.posts)
    }
}
