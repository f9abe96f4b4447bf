//! Who is connected, who they are, and what they may do.

pub(in crate::chat) mod actor;
pub(in crate::chat) mod bans;
pub(in crate::chat) mod holders;
pub(in crate::chat) mod lookalike;
pub(in crate::chat) mod member;
pub(in crate::chat) mod names;
pub(in crate::chat) mod permission;
mod rates;
pub(in crate::chat) mod session;
pub(in crate::chat) mod shared_bucket;
pub(in crate::chat) mod user;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use slab::Slab;

use self::actor::Actor;
use self::bans::Bans;
use self::holders::Holders;
use self::lookalike::Lookalikes;
use self::member::{Member, Person};
use self::session::{Dialect, Session};
use self::shared_bucket::SharedBucket;
use self::user::{Identity, Resting, User};
use crate::app::{AddressPrefix, Bucket, ConnId, Millis, Now, Rate};
use crate::chat::identity::Claims;
use crate::chat::ids::{RoomId, SessionId, UserId};
use crate::chat::membership::Membership;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Code, Limits, Refusal};
use crate::history::{Ban, MAX_LOOPS};
use crate::shards::Shards;

/// What connections from one address share.
#[derive(Debug, Default)]
struct AddressState {
    sessions: u32,
    posts: Bucket,
    /// Where other loops take from it, too.
    shared: Option<SharedBucket>,
}

/// All sessions and users, the names of verified people, and who is banned.
#[derive(Debug, Default)]
pub(in crate::chat) struct People {
    /// By the slot of the connection.
    sessions: Vec<Option<Box<Session>>>,
    count: usize,
    users: Slab<User>,
    by_person: Shards<UserId>,
    /// How often users may post for whom it is another rate than everybody's.
    rates: BTreeMap<UserId, Rate>,
    addresses: HashMap<AddressPrefix, AddressState>,
    /// When tokens expire, by milliseconds since 1970.
    expiries: BTreeSet<(u64, SessionId)>,
    /// When the timer for expired tokens comes.
    expiry_timer: Option<Millis>,
    last_number: u64,
    resting: Resting,
    max_resting: usize,
    /// Commands that wait, of all sessions and of those that have ended.
    waiting: usize,
    lookalikes: Lookalikes,
    holders: Holders,
    bans: Bans,
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
    /// Nobody is here; with what the history knows of names and bans.
    pub(in crate::chat) fn new(limits: &Limits, holders: Holders, bans: Bans) -> Self {
        let lookalikes = Lookalikes::new(limits.max_known_names);
        Self { max_resting: limits.max_resting, lookalikes, holders, bans, ..Self::default() }
    }

    /// Clients are numbered from here on: by the loop, from a random number. Eleven digits, which are never those of
    /// [`SERVER`](crate::history::SERVER).
    pub(in crate::chat) fn number_from(&mut self, own: usize, random: u64) {
        const LOOP_BITS: u32 = MAX_LOOPS.ilog2();
        self.last_number = 1 << 52 | (own as u64) << (52 - LOOP_BITS) | random >> (12 + LOOP_BITS);
    }

    pub(in crate::chat) fn len(&self) -> usize {
        self.count
    }

    pub(in crate::chat) fn users(&self) -> usize {
        self.users.len()
    }

    // ---- sessions

    /// A connection begins to speak, from an address and since a moment in milliseconds since 1970.
    pub(in crate::chat) fn open(
        &mut self,
        conn: ConnId,
        dialect: Dialect,
        (address, since): (AddressPrefix, u64),
    ) -> &mut Session {
        self.last_number += 1;
        let number = self.last_number;
        self.addresses.entry(address).or_default().sessions += 1;
        self.count += 1;
        let at = SessionId::of(conn).slot();
        if at >= self.sessions.len() {
            self.sessions.resize_with(at + 1, || None);
        }
        let client = client_id(number).into();
        let session = Session::new((conn, number), client, dialect, (address, since));
        self.sessions[at].insert(Box::new(session))
    }

    /// A connection is gone; it is in no room any more.
    pub(in crate::chat) fn close(&mut self, conn: ConnId, now_ms: u64) {
        let Some(place) = self.sessions.get_mut(SessionId::of(conn).slot()) else { return };
        let Some(session) = place.take_if(|session| session.conn() == conn) else { return };
        self.count -= 1;
        if let Some(state) = self.addresses.get_mut(&session.address()) {
            state.sessions -= 1;
            if state.sessions == 0 && state.posts.is_full(now_ms) {
                self.addresses.remove(&session.address());
            }
        }
        if self.addresses.len() > MAX_IDLE_ADDRESSES + 2 * self.count {
            self.addresses.retain(|_, state| state.sessions > 0 || !state.posts.is_full(now_ms));
        }
    }

    /// The live session of a connection.
    pub(in crate::chat) fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.at(SessionId::of(conn)).filter(|session| session.conn() == conn && session.is_live())
    }

    /// The session in a place, live or not.
    pub(in crate::chat) fn at(&mut self, session: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(session.slot())?.as_deref_mut()
    }

    /// The session in a place, live or not.
    pub(in crate::chat) fn look(&self, session: SessionId) -> Option<&Session> {
        self.sessions.get(session.slot())?.as_deref()
    }

    /// How many places of sessions there are.
    pub(in crate::chat) fn slots(&self) -> usize {
        self.sessions.len()
    }

    /// The session in a place, by its number.
    pub(in crate::chat) fn in_slot(&self, slot: usize) -> Option<&Session> {
        self.sessions.get(slot)?.as_deref()
    }

    /// How many places of users there are.
    pub(in crate::chat) fn user_slots(&self) -> usize {
        self.users.capacity()
    }

    /// Whether anyone who asked is still there to hear the answer.
    pub(in crate::chat) fn is_present(&self, reply_to: &ReplyTo) -> bool {
        reply_to.conn().is_none_or(|conn| {
            let session = self.look(SessionId::of(conn));
            session.is_some_and(|session| session.conn() == conn && session.is_live())
        })
    }

    /// All live sessions.
    pub(in crate::chat) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter_map(Option::as_deref).filter(|session| session.is_live())
    }

    // ---- users

    /// How somebody in a room is shown.
    pub(in crate::chat) fn member(&self, session: SessionId) -> Option<Member<'_>> {
        let session = self.look(session)?;
        let user = self.user(session.user()?)?;
        Some(Member { client: session.client(), ..self.shown(user.name(), user.is_verified()) })
    }

    pub(in crate::chat) fn user(&self, user: UserId) -> Option<&User> {
        self.users.get(user.slot())
    }

    /// The user who is kept under this ([`User::person`]).
    pub(in crate::chat) fn find(&self, person: &str) -> Option<UserId> {
        self.by_person.get(person).copied()
    }

    /// The same, if it is a verified user.
    pub(in crate::chat) fn find_verified(&self, person: &str) -> Option<UserId> {
        self.find(person).filter(|user| self.user(*user).is_some_and(User::is_verified))
    }

    /// The user whom somebody means by a name: the verified person who has it, or the guests who use it.
    pub(in crate::chat) fn find_named(&self, folded: &str) -> Option<UserId> {
        let person = self.holders.person(folded).and_then(|person| self.find_verified(person));
        person.or_else(|| self.find(folded))
    }

    /// How the user who is kept under this is called, if they are here.
    pub(in crate::chat) fn name_of(&self, person: &str) -> Option<&Arc<str>> {
        self.find(person).and_then(|user| self.user(user)).map(User::name)
    }

    /// How a name is shown.
    pub(in crate::chat) fn shown<'a>(&self, name: &'a str, is_verified: bool) -> Member<'a> {
        let lookalike = !is_verified && self.lookalikes.has(name);
        Member { client: "", user: name, verified: is_verified, lookalike }
    }

    /// How somebody is shown who is not here, or not any more.
    pub(in crate::chat) fn shown_person<'a>(&self, person: &'a Person) -> Member<'a> {
        Member { client: &person.client, ..self.shown(&person.user, person.is_verified) }
    }

    /// The user, if a connection of theirs can be told of anything.
    pub(in crate::chat) fn hearing(&self, user: Option<UserId>) -> Option<&User> {
        self.hearers_of(user).next()?;
        self.user(user?)
    }

    /// The handles of those connections of a user that speak `chat.v1.json`.
    pub(in crate::chat) fn hearers_of(&self, user: Option<UserId>) -> impl Iterator<Item = ConnId> {
        let sessions = self.sessions_of(user).filter(|session| session.dialect() == Dialect::V1);
        sessions.map(Session::conn)
    }

    /// The handles of a user's connections.
    pub(in crate::chat) fn conns_of(&self, user: Option<UserId>) -> Vec<ConnId> {
        self.sessions_of(user).map(Session::conn).collect()
    }

    /// Those of them that are in a room.
    pub(in crate::chat) fn conns_in(&self, user: Option<UserId>, room: RoomId) -> Vec<ConnId> {
        self.sessions_of(user).filter(|session| session.is_in(room)).map(Session::conn).collect()
    }

    /// Whether a user is in a room on another connection than this one.
    pub(in crate::chat) fn is_in_besides(&self, person: &str, room: RoomId, besides: SessionId) -> bool {
        self.sessions_of(self.find(person)).any(|session| session.id() != besides && session.is_in(room))
    }

    /// The handles of the connections of guests who use one of a person's names.
    pub(in crate::chat) fn guests_named(&self, person: &str) -> Vec<ConnId> {
        let users = self.holders.names_of(person).filter_map(|name| self.find(name));
        let guests = users.filter(|user| self.user(*user).is_some_and(|user| !user.is_verified()));
        guests.flat_map(|user| self.conns_of(Some(user))).collect()
    }

    /// The handles of all connections that a ban of this name concerns.
    pub(in crate::chat) fn conns_named(&self, folded: &str) -> Vec<ConnId> {
        let users = self.holders.names_of(folded).map(|name| self.find_named(name));
        let guests = self.holders.names_of(folded).map(|name| self.find(name));
        users.chain(guests).flat_map(|user| self.conns_of(user)).collect()
    }

    fn sessions_of(&self, user: Option<UserId>) -> impl Iterator<Item = &Session> {
        let user = user.and_then(|user| self.user(user));
        let sessions = user.map(User::sessions).unwrap_or_default();
        sessions.iter().filter_map(|session| self.look(*session))
    }

    /// A session speaks for a user from now on. A verified person who is here under another name is called by the new one.
    pub(in crate::chat) fn speak_as(
        &mut self,
        session: SessionId,
        name: &str,
        person: &str,
        claims: Option<Box<Claims>>,
    ) {
        let user = self.find(person).unwrap_or_else(|| {
            let identity = Identity { person: person.into(), is_verified: claims.is_some() };
            let posts = self.resting.came(&identity);
            let person = Arc::clone(&identity.person);
            let user = UserId::of_slot(self.users.insert(User::new(name, identity, posts)));
            self.by_person.insert(person, user);
            user
        });
        let state = &mut self.users[user.slot()];
        debug_assert_eq!(state.is_verified(), claims.is_some(), "guests and verified users are not one user");
        if state.is_verified() && **state.name() != *name {
            state.name = name.into();
        }
        state.sessions.push(session);
        if let Some(claims) = &claims {
            self.expiries.insert((claims.expires_unix_s.saturating_mul(1000), session));
            self.lookalikes.vouch(name);
        }
        if let Some(session) = self.at(session) {
            session.user = Some(user);
            session.claims = claims;
        }
    }

    /// A verified session goes on with another token of the same person, who is called by its name from now on.
    pub(in crate::chat) fn refresh(&mut self, session: SessionId, name: &str, claims: Box<Claims>) {
        let Some(state) = self.at(session) else { return };
        let (user, expires_unix_s) = (state.user, claims.expires_unix_s);
        let before = state.claims.replace(claims);
        if let Some(before) = before {
            self.expiries.remove(&(before.expires_unix_s.saturating_mul(1000), session));
        }
        self.expiries.insert((expires_unix_s.saturating_mul(1000), session));
        self.lookalikes.vouch(name);
        if let Some(user) = user.and_then(|user| self.users.get_mut(user.slot()))
            && **user.name() != *name
        {
            user.name = name.into();
        }
    }

    /// A session ends. Returns the rooms that it was in; it speaks for its user until [`Self::speak_for_nobody`].
    pub(in crate::chat) fn end_session(&mut self, conn: ConnId) -> Option<Vec<Membership>> {
        let session = self.session(conn)?;
        let (id, waiting) = (session.id(), session.waiting_behind());
        let rooms = session.end();
        if let Some(claims) = session.claims.take() {
            self.expiries.remove(&(claims.expires_unix_s.saturating_mul(1000), id));
        }
        self.waiting -= waiting;
        Some(rooms)
    }

    /// A session lets go of its name. Returns whose it was.
    pub(in crate::chat) fn speak_for_nobody(&mut self, session: SessionId, now_ms: u64) -> Option<Identity> {
        let user = self.at(session).and_then(|session| session.user.take())?;
        let state = &mut self.users[user.slot()];
        let identity = state.identity();
        state.sessions.retain(|other| *other != session);
        if state.sessions.is_empty() {
            self.rates.remove(&user);
            let user = self.users.remove(user.slot());
            self.by_person.remove(user.person());
            self.resting.left(user.identity(), user.posts, self.max_resting, now_ms);
        }
        Some(identity)
    }

    /// In whose name a session acts.
    pub(in crate::chat) fn actor(&self, session: SessionId) -> Option<Actor> {
        let state = self.look(session)?;
        let user = self.user(state.user()?)?;
        Some(Actor {
            name: Arc::clone(user.name()),
            person: Arc::clone(user.person()),
            is_verified: user.is_verified(),
            client: Arc::clone(state.client()),
            session: Some(session),
            is_server: false,
        })
    }

    // ---- tokens

    /// The time for which a timer must be set, so that one comes when the first token expires: one timer, however many
    /// tokens there are.
    pub(in crate::chat) fn time_expiry(&mut self, now: Now) -> Option<Millis> {
        let (next, _) = *self.expiries.first()?;
        // A token that should have ended waits for the next turn.
        let wait_ms = next.saturating_sub(now.unix_ms).max(1);
        let at = now.monotonic_ms.saturating_add(wait_ms);
        let is_first = self.expiry_timer.is_none_or(|timed| at < timed);
        is_first.then(|| *self.expiry_timer.insert(at))
    }

    /// The timer for expired tokens has fired.
    pub(in crate::chat) fn expiry_timer_fired(&mut self, now: Now) {
        // A timer that an earlier one has overtaken still comes, and changes nothing.
        self.expiry_timer.take_if(|timed| *timed <= now.monotonic_ms);
    }

    /// The connection of a token that has expired.
    pub(in crate::chat) fn expired(&self, unix_ms: u64) -> Option<ConnId> {
        let (at, session) = *self.expiries.first()?;
        (at <= unix_ms).then(|| self.look(session).map(Session::conn))?
    }

    // ---- names

    /// Whether a guest may have this name now.
    pub(in crate::chat) fn check_guest(&self, folded: &str, now: Now) -> Result<(), Refusal> {
        let person = self.holders.person(folded);
        if person.is_some_and(|person| self.find_verified(person).is_some()) {
            return Err(Refusal::field(Code::Forbidden, "user", "this name is taken by a verified user"));
        }
        match self.ban_of(folded, now) {
            Some(ban) => Err(Refusal::field(Code::Forbidden, "user", format!("banned: {}", ban.reason))),
            None => Ok(()),
        }
    }

    /// Who verified names belong to.
    pub(in crate::chat) fn holders(&self) -> &Holders {
        &self.holders
    }

    pub(in crate::chat) fn holders_mut(&mut self) -> &mut Holders {
        &mut self.holders
    }

    /// The names of verified users that others look like.
    pub(in crate::chat) fn lookalikes(&self) -> &Lookalikes {
        &self.lookalikes
    }

    /// The history tells of verified users.
    pub(in crate::chat) fn vouch<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        names.for_each(|name| self.lookalikes.vouch(name));
    }

    // ---- bans

    /// Those who are banned.
    pub(in crate::chat) fn bans(&self) -> &Bans {
        &self.bans
    }

    pub(in crate::chat) fn bans_mut(&mut self) -> &mut Bans {
        &mut self.bans
    }

    /// The ban that is in force against a name. A ban is the person's: it holds under every name of theirs.
    pub(in crate::chat) fn ban_of(&self, folded: &str, now: Now) -> Option<&Ban> {
        self.holders.names_of(folded).find_map(|name| self.bans.find(name, now.unix_ms))
    }

    /// The ban that is in force against anyone who has a token.
    pub(in crate::chat) fn ban_of_claims(&self, claims: &Claims, now: Now) -> Option<&Ban> {
        let name = names::fold(&claims.user);
        let person = self.holders.person_with(&claims.subject, &name).map_or(&*name, |person| person);
        self.ban_of(person, now).or_else(|| self.ban_of(&name, now))
    }

    // ---- what waits

    /// One more command of somebody waits.
    pub(in crate::chat) fn begin_waiting(
        &mut self,
        session: Option<SessionId>,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        if self.waiting >= limits.max_pending {
            return Err(Refusal::unavailable());
        }
        if let Some(session) = session.and_then(|session| self.at(session)) {
            if usize::from(session.waiting) >= limits.max_waiting {
                let message = "too many commands wait for their answers";
                return Err(Refusal::later(Code::RateLimited, 100, message));
            }
            session.waiting += 1;
        }
        self.waiting += 1;
        Ok(())
    }

    /// A command waits no longer.
    pub(in crate::chat) fn end_waiting(&mut self, conn: Option<ConnId>) {
        self.waiting -= 1;
        if let Some(session) = conn.and_then(|conn| self.session(conn)) {
            session.waiting -= 1;
        }
    }

    /// Whether somebody may ask the history one thing more.
    pub(in crate::chat) fn may_query(
        &mut self,
        conn: Option<ConnId>,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        match conn.and_then(|conn| self.session(conn)) {
            Some(session) if usize::from(session.queries) >= limits.max_asks => {
                Err(Refusal::later(Code::RateLimited, 100, "wait for the answers to earlier questions"))
            }
            _ => Ok(()),
        }
    }

    /// The history was asked something.
    pub(in crate::chat) fn begin_query(&mut self, conn: Option<ConnId>) {
        if let Some(session) = conn.and_then(|conn| self.session(conn)) {
            session.queries += 1;
        }
    }

    /// The answer has come, or is not wanted any more.
    pub(in crate::chat) fn end_query(&mut self, conn: Option<ConnId>) {
        if let Some(session) = conn.and_then(|conn| self.session(conn)) {
            session.queries -= 1;
        }
    }

    /// Every counter counts what it says, and every table has what another one has. `waiting`: commands that wait elsewhere.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn check(&self, mut waiting: usize) {
        let sessions = || self.sessions.iter().filter_map(Option::as_deref);
        assert_eq!(self.count, sessions().count(), "sessions");
        for session in sessions() {
            let user = session.user().and_then(|user| self.user(user));
            assert_eq!(session.user().is_some(), user.is_some(), "who speaks is here");
            assert!(
                user.is_none_or(|user| user.sessions().contains(&session.id())),
                "a user has their sessions"
            );
            assert!(
                session.is_live() || session.user().is_none(),
                "who has been told to go speaks for nobody"
            );
            waiting += session.waiting_behind();
            assert!(session.waiting_behind() <= usize::from(session.waiting), "commands of a session wait");
            let expiry =
                session.user().and(session.claims()).map(|claims| claims.expires_unix_s.saturating_mul(1000));
            assert!(
                expiry.is_none_or(|at| self.expiries.contains(&(at, session.id()))),
                "a token's end is known"
            );
        }
        assert_eq!(self.waiting, waiting, "commands that wait");
        for (slot, user) in &self.users {
            assert_eq!(self.find(user.person()), Some(UserId::of_slot(slot)), "a user is found");
            assert!(!user.sessions().is_empty(), "a user has a session");
        }
        assert_eq!(self.by_person.len(), self.users.len(), "users");
        let of_addresses: u32 = self.addresses.values().map(|state| state.sessions).sum();
        assert_eq!(of_addresses as usize, self.count, "sessions of addresses");
        self.resting.check();
    }
}
