//! The other loops of the process, as a loop of the chat sees them: what it tells them, and what it waits for from them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::app::{Millis, Peers, Undelivered};
use crate::chat::Mail;
use crate::chat::connections::{Found, Listing};
use crate::chat::exchange::{Elsewhere, Exchange, FIRST_NODE};
use crate::chat::people::member::Person;
use crate::chat::people::user::Identity;
use crate::chat::wire::reply_to::ReplyTo;
use crate::history::Holder;

/// Mails that may wait because the mailbox of a loop is full. Above it signs of life are left out, and the rest is refused.
pub(in crate::chat) const MAX_WAITING: usize = 4096;
/// Milliseconds until a full mailbox is tried again.
pub(in crate::chat) const RETRY_MS: Millis = 1;
/// Milliseconds for which answers of other loops are waited for. Then what has come counts.
pub(in crate::chat) const ANSWER_MS: Millis = 500;

/// What one loop of the chat tells another.
#[derive(Debug, Clone)]
pub struct Signal(pub(in crate::chat) Word);

/// What it is about.
#[derive(Debug, Clone)]
pub(in crate::chat) enum Word {
    /// Who came into a room and went out of it.
    Presence { room: Arc<str>, came: Arc<[Person]>, went: Arc<[Person]> },
    /// Somebody types.
    Typing { room: Arc<str>, user: Arc<str> },
    /// How far users have read, and how each is called.
    Reads { room: Arc<str>, positions: Arc<[(Identity, Arc<str>, u64)]> },
    /// What is kept nowhere, for the connections of these users.
    Direct { users: Arc<[Identity]>, notice: Arc<str> },
    /// A verified user has read up to here.
    ReadUp { user: Arc<str>, room: Arc<str>, seq: u64 },
    /// A verified user has subscribed to a room, or has no more.
    Subscribed { user: Arc<str>, room: Arc<str>, is_on: bool },
    /// A verified user speaks: their names are no guest's.
    Arrived { person: Arc<str> },
    /// A name is a verified user's.
    Held(Holder),
    /// Something is to be done; the asker wants to know how many it concerned.
    Do { from: usize, gather: u64, deed: Arc<Deed> },
    /// What came of it.
    Done { gather: u64, found: Found },
}

/// What one loop does for another.
#[derive(Debug)]
pub(in crate::chat) enum Deed {
    /// A user, by the folded name, leaves a room.
    Kick { room: Arc<str>, user: Arc<str>, reason: Box<str> },
    /// A user's connections end.
    DisconnectUser { user: Arc<str>, reason: Box<str> },
    /// A connection ends.
    DisconnectClient { client: Box<str>, reason: Box<str> },
    /// All connections are told something, or those in these rooms.
    Broadcast { rooms: Option<Vec<Arc<str>>>, text: Box<str>, time: u64 },
    /// The connections of a user, by the folded name, are told.
    Connections { user: Arc<str> },
    /// A page of a list is told by a loop, from a place on.
    List { at: usize, listing: Listing, from: usize, limit: usize },
    /// The figures are told.
    Figures,
}

impl Deed {
    /// Whether it is done on all other servers, too. A page of a list is that of one, and figures are.
    pub(in crate::chat) fn is_for_others(&self) -> bool {
        match self {
            Self::Kick { .. }
            | Self::DisconnectUser { .. }
            | Self::DisconnectClient { .. }
            | Self::Broadcast { .. }
            | Self::Connections { .. } => true,
            Self::List { .. } | Self::Figures => false,
        }
    }
}

/// What loops tell other servers, until it is on its way. Clones are one.
#[derive(Debug, Clone, Default)]
pub(in crate::chat) struct Outgoing(Arc<Mutex<VecDeque<(usize, Word)>>>);

impl Outgoing {
    /// Adds a word for a server. `false`: there is no place.
    fn push(&self, to: usize, word: Word) -> bool {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_place = words.len() < MAX_WAITING;
        if has_place {
            words.push_back((to, word));
        }
        has_place
    }

    /// All words, in order, with the numbers of the servers.
    pub(in crate::chat) fn take(&self) -> VecDeque<(usize, Word)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers of other loops that are waited for.
#[derive(Debug)]
pub(in crate::chat) struct Gather {
    /// Loops that have not answered.
    missing: usize,
    /// What has come so far, that of this loop included.
    pub(in crate::chat) found: Found,
    pub(in crate::chat) until: Millis,
    pub(in crate::chat) reply_to: ReplyTo,
    pub(in crate::chat) deed: Arc<Deed>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::chat) struct Neighbours {
    own: usize,
    exchange: Exchange,
    peers: Peers<Mail>,
    /// What other servers are told, if there may be some.
    outgoing: Option<Outgoing>,
    /// What the mailbox of each loop had no room for.
    waiting: Vec<VecDeque<Mail>>,
    is_retry_timed: bool,
    gathers: BTreeMap<u64, Gather>,
    last_gather: u64,
    /// Signs of life that were left out.
    dropped: u64,
}

impl Neighbours {
    pub(in crate::chat) fn new(
        own: usize,
        exchange: Exchange,
        peers: Peers<Mail>,
        outgoing: Option<Outgoing>,
    ) -> Self {
        let waiting = (0..peers.len()).map(|_| VecDeque::new()).collect();
        Self {
            own,
            exchange,
            peers,
            outgoing,
            waiting,
            is_retry_timed: false,
            gathers: BTreeMap::new(),
            last_gather: 0,
            dropped: 0,
        }
    }

    /// The number of this loop.
    pub(in crate::chat) fn own(&self) -> usize {
        self.own
    }

    pub(in crate::chat) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Somebody, if they speak on another loop.
    pub(in crate::chat) fn elsewhere(&self, person: &str, is_verified: bool) -> Option<Elsewhere> {
        self.exchange.elsewhere(self.own, &Identity { person: person.into(), is_verified })
    }

    /// Signs of life that were left out because a loop did not keep up.
    pub(in crate::chat) fn dropped(&self) -> u64 {
        self.dropped
    }

    // ---- sending

    /// Tells a loop something. `false`: it does not keep up, and is not told.
    pub(in crate::chat) fn tell(&mut self, at: usize, word: Word) -> bool {
        if at >= FIRST_NODE {
            // Who is in which room is told as a state.
            if matches!(word, Word::Presence { .. }) {
                return true;
            }
            return self.outgoing.as_ref().is_some_and(|outgoing| outgoing.push(at, word));
        }
        let mail = Mail::Signal(Signal(word));
        if at == self.own {
            return true;
        }
        let waiting = &mut self.waiting[at];
        if !waiting.is_empty() {
            return Self::let_wait(waiting, mail);
        }
        match self.peers.get(at).try_send(mail) {
            Ok(()) => true,
            Err(Undelivered::Full(mail)) => Self::let_wait(waiting, mail),
            // The server stops.
            Err(Undelivered::Ended(_)) => false,
        }
    }

    fn let_wait(waiting: &mut VecDeque<Mail>, mail: Mail) -> bool {
        let has_place = waiting.len() < MAX_WAITING;
        if has_place {
            waiting.push_back(mail);
        }
        has_place
    }

    /// Tells loops a sign of life, which is left out where one does not keep up.
    pub(in crate::chat) fn sign(&mut self, loops: impl Iterator<Item = usize>, word: &Word) {
        for at in loops {
            let is_told = self.tell(at, word.clone());
            self.dropped += u64::from(!is_told);
        }
    }

    /// Tells all other loops.
    pub(in crate::chat) fn tell_all(&mut self, word: &Word) {
        for at in 0..self.peers.len() {
            self.tell(at, word.clone());
        }
    }

    /// Sends what waits, as far as the mailboxes have room. Returns when to try again, for which a timer must be set.
    pub(in crate::chat) fn send_waiting(&mut self, now: Millis) -> Option<Millis> {
        for (waiting, mailbox) in self.waiting.iter_mut().zip(self.peers.iter()) {
            while let Some(mail) = waiting.pop_front() {
                match mailbox.try_send(mail) {
                    Ok(()) => {}
                    Err(Undelivered::Full(mail)) => {
                        waiting.push_front(mail);
                        break;
                    }
                    Err(Undelivered::Ended(_)) => waiting.clear(),
                }
            }
        }
        let has_more = self.waiting.iter().any(|waiting| !waiting.is_empty());
        (has_more && !std::mem::replace(&mut self.is_retry_timed, true)).then_some(now + RETRY_MS)
    }

    /// The timer for the next attempt, or for answers that have not come, has fired.
    pub(in crate::chat) fn timer_fired(&mut self) {
        self.is_retry_timed = false;
    }

    // ---- gathering

    /// How many loops there are.
    pub(in crate::chat) fn loops(&self) -> usize {
        self.peers.len()
    }

    /// Has these loops do something, and all loops of these servers, of which it is known how many they have. `own`: what came of it on this one. `Err`: none of them is there, or all are behind;
    /// then this is the answer.
    pub(in crate::chat) fn ask(
        &mut self,
        (loops, nodes): (Range<usize>, &[(usize, usize)]),
        (deed, own): (Deed, Found),
        reply_to: ReplyTo,
        now: Millis,
    ) -> Result<Millis, (Deed, Found, ReplyTo)> {
        let gather = self.last_gather + 1;
        let deed = Arc::new(deed);
        let word = Word::Do { from: self.own, gather, deed: Arc::clone(&deed) };
        let others: Vec<usize> = loops.filter(|at| *at != self.own).collect();
        let mut missing = others.into_iter().filter(|at| self.tell(*at, word.clone())).count();
        // Each loop of another server answers for itself.
        for (node, loops) in nodes {
            missing += if self.tell(*node, word.clone()) { *loops } else { 0 };
        }
        drop(word);
        if missing == 0 {
            return match Arc::try_unwrap(deed) {
                Ok(deed) => Err((deed, own, reply_to)),
                Err(deed) => {
                    debug_assert!(false, "nobody was told: {deed:?}");
                    Ok(now)
                }
            };
        }
        let until = now + ANSWER_MS;
        self.last_gather = gather;
        self.gathers.insert(gather, Gather { missing, found: own, until, reply_to, deed });
        Ok(until)
    }

    /// A loop has answered. Returns the question if that was the last one.
    pub(in crate::chat) fn answered(&mut self, gather: u64, found: Found) -> Option<Gather> {
        let asked = self.gathers.get_mut(&gather)?;
        asked.found.add(found);
        asked.missing -= 1;
        if asked.missing > 0 {
            return None;
        }
        self.gathers.remove(&gather)
    }

    /// Questions whose answers are waited for no longer.
    pub(in crate::chat) fn overdue(&mut self, now: Millis) -> Vec<Gather> {
        let overdue: Vec<u64> =
            self.gathers.iter().filter(|(_, asked)| asked.until <= now).map(|(gather, _)| *gather).collect();
        overdue.into_iter().filter_map(|gather| self.gathers.remove(&gather)).collect()
    }
}
