//! Who is connected, who they are, and what they may do.

pub(in crate::chat) mod actor;
pub(in crate::chat) mod address;
pub(in crate::chat) mod bans;
pub(in crate::chat) mod holders;
mod login;
pub(in crate::chat) mod lookalike;
pub(in crate::chat) mod names;
pub(in crate::chat) mod permission;
pub(in crate::chat) mod rate;
pub(in crate::chat) mod session;
pub(in crate::chat) mod user;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use slab::Slab;

use self::actor::Actor;
use self::address::Address;
use self::holders::Holders;
use self::lookalike::Lookalikes;
use self::rate::Bucket;
use self::session::{Dialect, Session};
use self::user::{Identity, Resting, User};
use crate::app::ConnId;
use crate::chat::identity::Claims;
use crate::chat::shards::Shards;
use crate::chat::wire::notices::Member;

#[derive(Debug, Default)]
struct AddressState {
    sessions: u32,
    posts: Bucket,
}

/// All sessions and users.
#[derive(Debug, Default)]
pub(in crate::chat) struct People {
    /// By the slot of the connection.
    sessions: Vec<Option<Box<Session>>>,
    count: usize,
    users: Slab<User>,
    by_person: Shards<u32>,
    addresses: HashMap<Address, AddressState>,
    /// When tokens expire, by milliseconds since 1970 and slot.
    expiries: BTreeSet<(u64, u32)>,
    last_number: u64,
    resting: Resting,
    max_resting: usize,
    pub(in crate::chat) lookalikes: Lookalikes,
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
    pub(in crate::chat) fn new(max_resting: usize, max_names: usize) -> Self {
        Self { max_resting, lookalikes: Lookalikes::new(max_names), ..Self::default() }
    }

    /// Clients are numbered from here on. Eleven digits, which are never those of [`SERVER`](super::SERVER).
    pub(in crate::chat) fn number_from(&mut self, random: u64) {
        self.last_number = 1 << 52 | random >> 12;
    }

    pub(in crate::chat) fn len(&self) -> usize {
        self.count
    }

    pub(in crate::chat) fn users(&self) -> usize {
        self.users.len()
    }

    /// A connection begins to speak.
    pub(in crate::chat) fn open(&mut self, conn: ConnId, dialect: Dialect, address: Address) -> &mut Session {
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
    pub(in crate::chat) fn close(&mut self, conn: ConnId, now_ms: u64) {
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
    pub(in crate::chat) fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(conn.index as usize)?.as_deref_mut()?;
        (session.conn == conn && session.is_live).then_some(session)
    }

    /// The session in a slot, live or not.
    pub(in crate::chat) fn at(&mut self, index: u32) -> Option<&mut Session> {
        self.sessions.get_mut(index as usize)?.as_deref_mut()
    }

    pub(in crate::chat) fn look(&self, index: u32) -> Option<&Session> {
        self.sessions.get(index as usize)?.as_deref()
    }

    /// All live sessions.
    pub(in crate::chat) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter_map(Option::as_deref).filter(|session| session.is_live)
    }

    /// How somebody in a room is shown.
    pub(in crate::chat) fn member(&self, index: u32) -> Option<Member<'_>> {
        let session = self.look(index)?;
        let user = self.users.get(session.user? as usize)?;
        let (name, is_verified) = (&*user.name, user.is_verified);
        Some(Member { client: &session.client, user: name, ..self.shown(name, is_verified) })
    }

    pub(in crate::chat) fn user(&self, user: u32) -> Option<&User> {
        self.users.get(user as usize)
    }

    pub(in crate::chat) fn user_mut(&mut self, user: u32) -> Option<&mut User> {
        self.users.get_mut(user as usize)
    }

    /// The user who is kept under this ([`User::person`]).
    pub(in crate::chat) fn find(&self, person: &str) -> Option<u32> {
        self.by_person.get(person).copied()
    }

    /// The same, if it is a verified user.
    pub(in crate::chat) fn find_verified(&self, person: &str) -> Option<u32> {
        self.find(person).filter(|user| self.user(*user).is_some_and(|user| user.is_verified))
    }

    /// The user whom somebody means by a name: the verified person who has it, or the guests who use it.
    pub(in crate::chat) fn find_named(&self, folded: &str, holders: &Holders) -> Option<u32> {
        let person = holders.person(folded).and_then(|person| self.find_verified(person));
        person.or_else(|| self.find(folded))
    }

    /// How a name is shown.
    pub(in crate::chat) fn shown<'a>(&self, name: &'a str, is_verified: bool) -> Member<'a> {
        let lookalike = !is_verified && self.lookalikes.has(name);
        Member { client: "", user: name, verified: is_verified, lookalike }
    }

    /// The user, if a connection of theirs can be told of anything.
    pub(in crate::chat) fn hearing(&self, user: Option<u32>) -> Option<&User> {
        let user = self.user(user?)?;
        let hears = |index: &u32| self.look(*index).is_some_and(|session| session.dialect == Dialect::V1);
        user.sessions.iter().any(hears).then_some(user)
    }

    /// The handles of those connections of a user that speak `chat.v1.json`.
    pub(in crate::chat) fn hearers_of(&self, user: Option<u32>) -> impl Iterator<Item = ConnId> {
        let sessions = self.sessions_of(user).filter(|session| session.dialect == Dialect::V1);
        sessions.map(|session| session.conn)
    }

    /// The handles of a user's connections.
    pub(in crate::chat) fn conns_of(&self, user: Option<u32>) -> Vec<ConnId> {
        self.sessions_of(user).map(|session| session.conn).collect()
    }

    fn sessions_of(&self, user: Option<u32>) -> impl Iterator<Item = &Session> {
        let user = user.and_then(|user| self.user(user));
        let sessions = user.map(|user| user.sessions.as_slice()).unwrap_or_default();
        sessions.iter().filter_map(|index| self.look(*index))
    }

    /// A session speaks for a user from now on. A verified person who is here under another name is called by the new one.
    pub(in crate::chat) fn speak_as(
        &mut self,
        index: u32,
        name: &str,
        person: &str,
        claims: Option<Box<Claims>>,
    ) {
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
    pub(in crate::chat) fn fall_silent(&mut self, index: u32, now_ms: u64) {
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
    pub(in crate::chat) fn speak_for_nobody(&mut self, index: u32, now_ms: u64) {
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
    pub(in crate::chat) fn actor(&self, index: u32) -> Option<Actor> {
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
    pub(in crate::chat) fn first_expiry(&self) -> Option<u64> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// The connection of a token that has expired.
    pub(in crate::chat) fn expired(&self, unix_ms: u64) -> Option<ConnId> {
        let (at, index) = *self.expiries.first()?;
        (at <= unix_ms).then(|| self.look(index).map(|session| session.conn))?
    }

    pub(in crate::chat) fn address_posts(&mut self, address: Address) -> Option<&mut Bucket> {
        self.addresses.get_mut(&address).map(|state| &mut state.posts)
    }
}
