//! What the servers of one chat tell each other about those who are connected to them.
//!
//! Each tells all others the state of what has changed: who speaks, who is in which room. States are numbered, so whoever has
//! missed one asks for all of it. A server of which nothing is heard for [`LEASE_MS`] is gone, with everybody who was there.
//! What concerns one server (somebody types, a message to a guest, a kick) is told to it alone.

mod sign;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::sign::{About, Sign, Somebody, State};
use crate::app::Millis;
use crate::chat::Mail;
use crate::chat::exchange::{Attendance, Exchange, FIRST_NODE, LOOP_BIT, News, Presence};
use crate::chat::neighbours::{Outgoing, Signal, Word};
use crate::history::Holder;

/// Milliseconds after which a server that says nothing is gone.
pub const LEASE_MS: Millis = 10_000;
/// Milliseconds between two words of a server of which nothing has changed.
const BEAT_MS: Millis = 1000;
/// Rooms and users in one state; the rest is in the next one.
const MAX_TOLD: usize = 1000;
/// Other servers at most; further ones are not heard.
const MAX_NODES: usize = 1024;

/// Whom a word is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// All servers.
    All,
    /// The server of this name.
    Node(Arc<str>),
}

/// See the module. Clones are one.
#[derive(Debug, Clone)]
pub struct Nodes(Arc<Hub>);

#[derive(Debug)]
struct Hub {
    loops: usize,
    exchange: Exchange,
    outgoing: Outgoing,
    state: Mutex<Known>,
}

/// What is known of the others, and what they know.
#[derive(Debug, Default)]
struct Known {
    /// The number of the last state that was told.
    told: u64,
    told_at: Millis,
    /// Somebody has missed a state.
    must_tell_all: bool,
    nodes: BTreeMap<Arc<str>, Node>,
    last_number: usize,
    /// Servers that are to tell all that there is.
    ask: Vec<Arc<str>>,
}

/// Another server.
#[derive(Debug)]
struct Node {
    number: usize,
    /// The last state that was heard; `None`: one was missed.
    heard: Option<u64>,
    heard_at: Millis,
    /// While it tells all that there is: what was known before and has not been told again.
    stale: Option<(Vec<Arc<str>>, Vec<crate::chat::people::user::Identity>)>,
}

impl Nodes {
    /// For a process with this many loops; with what the history knows of verified names.
    #[must_use]
    pub fn new(holders: &[Holder], loops: usize) -> Self {
        let exchange = Exchange::among_others(holders);
        Self(Arc::new(Hub { loops, exchange, outgoing: Outgoing::default(), state: Mutex::default() }))
    }

    /// The same; other servers call this one so.
    #[must_use]
    pub fn with_name(self, name: &Arc<str>) -> Self {
        self.0.exchange.set_name(name);
        self
    }

    pub(in crate::chat) fn ends(&self) -> (Exchange, Outgoing) {
        (self.0.exchange.clone(), self.0.outgoing.clone())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- telling

    /// What is to be told now. To be asked every few milliseconds.
    #[must_use]
    pub fn take(&self, now: Millis) -> Vec<(To, String)> {
        let mut known = self.known();
        let mut told = Vec::new();
        let is_all = std::mem::take(&mut known.must_tell_all);
        let (rooms, people) = self.0.exchange.take_changed(is_all);
        let rooms: Vec<About> = rooms.iter().map(About::of).collect();
        let people: Vec<Somebody> = people.into_iter().map(Somebody::of).collect();
        if is_all || !rooms.is_empty() || !people.is_empty() {
            for (is_first, is_last, rooms, people) in parts(&rooms, &people) {
                known.told += 1;
                let state = State {
                    number: known.told,
                    loops: self.0.loops,
                    is_begin: is_all && is_first,
                    is_end: is_all && is_last,
                    rooms: rooms.to_vec(),
                    people: people.to_vec(),
                };
                told.push((To::All, Sign::State(state)));
                known.told_at = now;
            }
        }
        if now >= known.told_at + BEAT_MS || known.told_at == 0 {
            known.told_at = now.max(1);
            told.push((To::All, Sign::Beat { number: known.told, loops: self.0.loops }));
        }
        for node in std::mem::take(&mut known.ask) {
            told.push((To::Node(node), Sign::TellAll));
        }
        let by_number: BTreeMap<usize, Arc<str>> =
            known.nodes.iter().map(|(name, node)| (node.number, Arc::clone(name))).collect();
        for (to, word) in self.0.outgoing.take() {
            let (number, of_loop) = (to & ((1 << LOOP_BIT) - 1), to >> LOOP_BIT);
            if let Some((node, sign)) = by_number.get(&number).zip(Sign::of_word(word, of_loop)) {
                told.push((To::Node(Arc::clone(node)), sign));
            }
        }
        told.into_iter().filter_map(|(to, sign)| Some((to, serde_json::to_string(&sign).ok()?))).collect()
    }

    /// The last word of this server.
    #[must_use]
    pub fn last_word(&self) -> String {
        serde_json::to_string(&Sign::Bye).unwrap_or_default()
    }

    // ---- hearing

    /// Another server tells something. Returns what loops here must know.
    #[must_use]
    pub fn hear(&self, from: &str, json: &str, now: Millis) -> Vec<(usize, Mail)> {
        let Ok(sign) = serde_json::from_str::<Sign>(json) else {
            tracing::debug!(from, "another server says something that this one does not know");
            return Vec::new();
        };
        let mut known = self.known();
        match sign {
            Sign::Bye => self.forget(&mut known, from),
            Sign::TellAll => {
                known.must_tell_all = true;
                Vec::new()
            }
            Sign::Beat { number, loops } => {
                if let Some(node) = Self::meet(&mut known, from, now)
                    && node.heard != Some(number)
                {
                    node.heard = None;
                    known.ask.push(from.into());
                }
                self.count(&known, from, loops);
                Vec::new()
            }
            Sign::State(state) => self.learn(&mut known, from, state, now),
            sign => {
                let number = known.nodes.get(from).map(|node| node.number);
                let word = number.and_then(|number| sign.into_word(number));
                word.map(|(at, word)| self.mail(at, &word)).unwrap_or_default()
            }
        }
    }

    /// The server of this name, of which something is heard.
    fn meet<'k>(known: &'k mut Known, from: &str, now: Millis) -> Option<&'k mut Node> {
        if !known.nodes.contains_key(from) {
            if known.nodes.len() >= MAX_NODES {
                return None;
            }
            // A number is used again only after many others.
            let is_used = |number: usize| known.nodes.values().any(|node| node.number == number);
            let next = |number: usize| if number + 1 < 1 << LOOP_BIT { number + 1 } else { FIRST_NODE };
            let mut number = next(known.last_number.max(FIRST_NODE - 1));
            while is_used(number) {
                number = next(number);
            }
            known.last_number = number;
            let node = Node { number, heard: None, heard_at: now, stale: None };
            known.nodes.insert(from.into(), node);
            // It does not know this one either.
            known.must_tell_all = true;
            tracing::info!(server = from, "another server of the chat is there");
        }
        let node = known.nodes.get_mut(from)?;
        node.heard_at = now;
        Some(node)
    }

    fn count(&self, known: &Known, from: &str, loops: usize) {
        if let Some(node) = known.nodes.get(from) {
            self.0.exchange.set_node(node.number, Some((from, loops.clamp(1, FIRST_NODE))));
        }
    }

    fn learn(&self, known: &mut Known, from: &str, state: State, now: Millis) -> Vec<(usize, Mail)> {
        let exchange = &self.0.exchange;
        let Some(node) = Self::meet(known, from, now) else { return Vec::new() };
        let State { number, loops, is_begin, is_end, rooms, people } = state;
        if is_begin {
            node.stale = Some(exchange.of_node(node.number));
        } else if node.heard.is_none_or(|heard| heard + 1 != number) {
            (node.heard, node.stale) = (None, None);
            known.ask.push(from.into());
            return Vec::new();
        }
        node.heard = Some(number);
        let at = node.number;
        let mut mails = Vec::new();
        for about in rooms {
            let attendance = about.into_attendance();
            if let Some((stale, _)) = &mut node.stale {
                stale.retain(|room| *room != attendance.room);
            }
            let room = Arc::clone(&attendance.room);
            mails.extend(presence(&room, exchange.set_attendance(at, attendance)));
        }
        for somebody in people {
            let presence = somebody.into_presence();
            if let Some((_, stale)) = &mut node.stale {
                stale.retain(|user| *user != presence.user);
            }
            if presence.user.is_verified && presence.connections.0 > 0 {
                // Their names are no guest's; who is one here is told so.
                let word = Word::Arrived { person: Arc::clone(&presence.user.person) };
                mails.extend(self.mail(None, &word));
            }
            exchange.set_presence(at, presence);
        }
        if is_end && let Some(stale) = node.stale.take() {
            mails.extend(self.sweep(at, stale));
        }
        self.count(known, from, loops);
        mails
    }

    /// What was known of a server and is no more.
    fn sweep(
        &self,
        node: usize,
        (rooms, people): (Vec<Arc<str>>, Vec<crate::chat::people::user::Identity>),
    ) -> Vec<(usize, Mail)> {
        let exchange = &self.0.exchange;
        for user in people {
            exchange.set_presence(node, Presence { user, name: Arc::default(), connections: (0, 0) });
        }
        let left = |room: Arc<str>| {
            let nobody = Attendance { room: Arc::clone(&room), count: 0, listed: Vec::new() };
            presence(&room, exchange.set_attendance(node, nobody))
        };
        rooms.into_iter().flat_map(left).collect()
    }

    /// A server is gone, with everybody who was there.
    fn forget(&self, known: &mut Known, name: &str) -> Vec<(usize, Mail)> {
        let Some(node) = known.nodes.remove(name) else { return Vec::new() };
        tracing::info!(server = name, "another server of the chat is gone");
        self.0.exchange.set_node(node.number, None);
        self.sweep(node.number, self.0.exchange.of_node(node.number))
    }

    /// Servers of which nothing was heard for too long are gone. Returns what loops here must know.
    #[must_use]
    pub fn sweep_silent(&self, now: Millis) -> Vec<(usize, Mail)> {
        let mut known = self.known();
        let is_silent = |node: &Node| now >= node.heard_at + LEASE_MS;
        let silent: Vec<Arc<str>> = known
            .nodes
            .iter()
            .filter(|(_, node)| is_silent(node))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        silent.into_iter().flat_map(|name| self.forget(&mut known, &name)).collect()
    }

    /// A word for a loop, or for all.
    fn mail(&self, at: Option<usize>, word: &Word) -> Vec<(usize, Mail)> {
        let loops = at.map_or(0..self.0.loops, |at| at..at + 1).filter(|at| *at < self.0.loops);
        loops.map(|at| (at, Mail::Signal(Signal(word.clone())))).collect()
    }
}

/// Loops are told who came into a room and who went out of it.
fn presence(room: &Arc<str>, news: News) -> Vec<(usize, Mail)> {
    let News { loops, came, went } = news;
    let word = Word::Presence { room: Arc::clone(room), came: came.into(), went: went.into() };
    loops.into_iter().map(|at| (at, Mail::Signal(Signal(word.clone())))).collect()
}

/// Cuts what is told into parts; there is one at least.
fn parts<'p>(rooms: &'p [About], people: &'p [Somebody]) -> Vec<(bool, bool, &'p [About], &'p [Somebody])> {
    let count = rooms.len().div_ceil(MAX_TOLD).max(people.len().div_ceil(MAX_TOLD)).max(1);
    let part = |len: usize, at: usize| (at * MAX_TOLD).min(len)..((at + 1) * MAX_TOLD).min(len);
    let cut = |at: usize| {
        (at == 0, at + 1 == count, &rooms[part(rooms.len(), at)], &people[part(people.len(), at)])
    };
    (0..count).map(cut).collect()
}

#[cfg(test)]
mod tests;
