//! Connections that speak, and the users who they speak for.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;

use super::answers::Asker;
use super::command::Command;
use super::holders::Holders;
use super::identity::Claims;
use super::keys::{Origin, Scope};
use super::lookalike::Lookalikes;
use super::notice::Member;
use super::pace::Paced;
use super::shards::Shards;
use crate::app::{AddressPrefix, Bucket, ConnId};
use crate::history::Who;
use crate::text::fold;

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
    pub(super) address: AddressPrefix,
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
    /// What goes on when the connection, and the turn, have room for more.
    #[expect(clippy::box_collection, reason = "rarely there, and a session is to be small")]
    pub(super) paced: Option<Box<VecDeque<Paced>>>,
    /// The turn in which the connection was last given answers of some length, and their octets.
    pub(super) answered: (u32, u32),
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
    /// As it is shown: the name of the token that came last.
    pub(super) name: Arc<str>,
    /// What is theirs is kept under this: of guests the folded name, of a verified person the first one that they had.
    pub(super) person: Arc<str>,
    pub(super) is_verified: bool,
    pub(super) sessions: Vec<u32>,
    pub(super) posts: Bucket,
}

/// Guests and verified users of one name are different users.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    /// See [`User::person`].
    pub(super) person: Arc<str>,
    pub(super) is_verified: bool,
}

impl User {
    fn identity(&self) -> Identity {
        Identity { person: Arc::clone(&self.person), is_verified: self.is_verified }
    }
}

impl Actor {
    pub(super) fn identity(&self) -> Identity {
        Identity { person: Arc::clone(&self.person), is_verified: self.is_verified }
    }

    fn origin(&self) -> Origin {
        if self.session.is_none() { Origin::Server } else { Origin::of(self.is_verified, "") }
    }

    /// Whose key a `key` of theirs is. What the server posts in somebody's name has keys of its own.
    pub(super) fn scope<'a>(&'a self, room: &'a str, key: &'a str) -> Scope<'a> {
        let user = if self.session.is_none() { fold(&self.name) } else { Cow::Borrowed(&*self.person) };
        Scope { origin: self.origin(), user, room, key }
    }

    pub(super) fn who(&self) -> Who {
        Who { name: Arc::clone(&self.name), is_verified: self.is_verified }
    }
}

/// What is left of the rates of users who are not here: whoever comes back has not rested meanwhile.
#[derive(Debug, Default)]
struct Resting {
    posts: HashMap<Identity, Bucket>,
    /// Who left first.
    order: VecDeque<Identity>,
}

impl Resting {
    fn left(&mut self, user: Identity, posts: Bucket, max: usize, now_ms: u64) {
        let is_rested = |posts: &HashMap<Identity, Bucket>, user: &Identity| {
            posts.get(user).is_none_or(|bucket| bucket.is_full(now_ms))
        };
        while let Some(first) = self.order.front()
            && (self.order.len() >= max || is_rested(&self.posts, first))
        {
            self.posts.remove(first);
            self.order.pop_front();
        }
        if max > 0 && !posts.is_full(now_ms) && self.posts.insert(user.clone(), posts).is_none() {
            self.order.push_back(user);
        }
    }

    /// The place in the order stays, until it is the first.
    fn came(&mut self, user: &Identity) -> Bucket {
        self.posts.get(user).copied().unwrap_or_default()
    }
}

/// In whose name something is done.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    pub(super) name: Arc<str>,
    /// See [`User::person`].
    pub(super) person: Arc<str>,
    pub(super) is_verified: bool,
    pub(super) client: Arc<str>,
    /// The session; the server itself has none and may do everything.
    pub(super) session: Option<u32>,
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
    by_person: Shards<u32>,
    addresses: HashMap<AddressPrefix, AddressState>,
    /// When tokens expire, by milliseconds since 1970 and slot.
    expiries: BTreeSet<(u64, u32)>,
    last_number: u64,
    resting: Resting,
    max_resting: usize,
    pub(super) lookalikes: Lookalikes,
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
    /// Nobody, with tables for so many users who have left and so many names of verified users.
    pub(super) fn new(max_resting: usize, max_names: usize) -> Self {
        Self { max_resting, lookalikes: Lookalikes::new(max_names), ..Self::default() }
    }

    /// Clients are numbered from here on. Eleven digits, which are never those of [`SERVER`](super::SERVER).
    pub(super) fn number_from(&mut self, random: u64) {
        self.last_number = 1 << 52 | random >> 12;
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    /// A connection begins to speak.
    pub(super) fn open(&mut self, conn: ConnId, dialect: Dialect, address: AddressPrefix) -> &mut Session {
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
            paced: None,
            answered: (0, 0),
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
        let (name, is_verified) = (&*user.name, user.is_verified);
        Some(Member { client: &session.client, user: name, ..self.shown(name, is_verified) })
    }

    pub(super) fn user(&self, user: u32) -> Option<&User> {
        self.users.get(user as usize)
    }

    pub(super) fn user_mut(&mut self, user: u32) -> Option<&mut User> {
        self.users.get_mut(user as usize)
    }

    /// The user who is kept under this ([`User::person`]).
    pub(super) fn find(&self, person: &str) -> Option<u32> {
        self.by_person.get(person).copied()
    }

    /// The same, if it is a verified user.
    pub(super) fn find_verified(&self, person: &str) -> Option<u32> {
        self.find(person).filter(|user| self.user(*user).is_some_and(|user| user.is_verified))
    }

    /// The user whom somebody means by a name: the verified person who has it, or the guests who use it.
    pub(super) fn find_named(&self, folded: &str, holders: &Holders) -> Option<u32> {
        let person = holders.person(folded).and_then(|person| self.find_verified(person));
        person.or_else(|| self.find(folded))
    }

    /// How a name is shown.
    pub(super) fn shown<'a>(&self, name: &'a str, is_verified: bool) -> Member<'a> {
        let lookalike = !is_verified && self.lookalikes.has(name);
        Member { client: "", user: name, verified: is_verified, lookalike }
    }

    /// The user, if a connection of theirs can be told of anything.
    pub(super) fn hearing(&self, user: Option<u32>) -> Option<&User> {
        let user = self.user(user?)?;
        let hears = |index: &u32| self.look(*index).is_some_and(|session| session.dialect == Dialect::V1);
        user.sessions.iter().any(hears).then_some(user)
    }

    /// The handles of those connections of a user that speak `chat.v1.json`.
    pub(super) fn hearers_of(&self, user: Option<u32>) -> impl Iterator<Item = ConnId> {
        let sessions = self.sessions_of(user).filter(|session| session.dialect == Dialect::V1);
        sessions.map(|session| session.conn)
    }

    /// The handles of a user's connections.
    pub(super) fn conns_of(&self, user: Option<u32>) -> Vec<ConnId> {
        self.sessions_of(user).map(|session| session.conn).collect()
    }

    fn sessions_of(&self, user: Option<u32>) -> impl Iterator<Item = &Session> {
        let user = user.and_then(|user| self.user(user));
        let sessions = user.map(|user| user.sessions.as_slice()).unwrap_or_default();
        sessions.iter().filter_map(|index| self.look(*index))
    }

    /// A session speaks for a user from now on. A verified person who is here under another name is called by the new one.
    pub(super) fn speak_as(&mut self, index: u32, name: &str, person: &str, claims: Option<Box<Claims>>) {
        let user = self.find(person).unwrap_or_else(|| {
            let person: Arc<str> = person.into();
            let name = if *person == *name { Arc::clone(&person) } else { name.into() };
            let is_verified = claims.is_some();
            let posts = self.resting.came(&Identity { person: Arc::clone(&person), is_verified });
            let sessions = Vec::with_capacity(1);
            let user = User { name, person: Arc::clone(&person), is_verified, sessions, posts };
            let user = self.users.insert(user) as u32;
            self.by_person.insert(person, user);
            user
        });
        let state = &mut self.users[user as usize];
        debug_assert_eq!(state.is_verified, claims.is_some(), "guests and verified users are not one user");
        if state.is_verified && *state.name != *name {
            state.name = name.into();
        }
        state.sessions.push(index);
        if let Some(claims) = &claims {
            self.expiries.insert((claims.expires_unix_s.saturating_mul(1000), index));
        }
        if let Some(session) = self.at(index) {
            session.user = Some(user);
            session.claims = claims;
        }
    }

    /// A session speaks for nobody any more.
    pub(super) fn fall_silent(&mut self, index: u32, now_ms: u64) {
        let Some(session) = self.at(index) else { return };
        session.is_live = false;
        session.joining = None;
        let claims = session.claims.take();
        if let Some(claims) = claims {
            self.expiries.remove(&(claims.expires_unix_s.saturating_mul(1000), index));
        }
        self.speak_for_nobody(index, now_ms);
    }

    /// A session lets go of its name.
    pub(super) fn speak_for_nobody(&mut self, index: u32, now_ms: u64) {
        let Some(user) = self.at(index).and_then(|session| session.user.take()) else { return };
        let state = &mut self.users[user as usize];
        state.sessions.retain(|other| *other != index);
        if state.sessions.is_empty() {
            let user = self.users.remove(user as usize);
            self.by_person.remove(&user.person);
            self.resting.left(user.identity(), user.posts, self.max_resting, now_ms);
        }
    }

    /// In whose name a session acts.
    pub(super) fn actor(&self, index: u32) -> Option<Actor> {
        let session = self.look(index)?;
        let user = self.user(session.user?)?;
        Some(Actor {
            name: Arc::clone(&user.name),
            person: Arc::clone(&user.person),
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

    pub(super) fn address_posts(&mut self, address: AddressPrefix) -> Option<&mut Bucket> {
        self.addresses.get_mut(&address).map(|state| &mut state.posts)
    }
}
