//! A history in memory that several loops share: a thread gives the numbers, and keeps the newest part of each room.
//!
//! A room that no loop has open is forgotten when its place is needed; one of the same name is another one then.

mod mine;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use self::mine::{blank, mine_of, unread_of};
use super::followers::{Followers, MAX_LOOPS};
use super::keys::Keys;
use super::log::Log;
use super::order::Order;
use super::{
    Act, Action, Batch, Change, Event, History, Holder, Keep, Mine, MinePage, NameRange, Outcome,
    PAGE_OCTETS, Pair, PairPlace, Query, Reader, Record, RoomHead, RoomState, Subscriptions,
};
use crate::text::words;

/// Requests of all loops that may wait; above it they are refused.
pub const MAX_MEMORY_REQUESTS: usize = 4096;
/// Users of a room whose read positions are kept.
const MAX_READ_POSITIONS: usize = 10_000;
/// Messages that are looked at for the names of those who wrote them.
const WRITERS_AMONG: u64 = 16;

/// How much is kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// For how long a key makes posting twice post once, in milliseconds.
    pub window_ms: u64,
    /// Keys that are remembered.
    pub max_keys: usize,
    /// Messages, and changes, of a room.
    pub messages: usize,
    /// Bytes of the messages and changes of a room, about.
    pub bytes: usize,
    /// The same of all rooms. Above it rooms that no loop has open are forgotten, the longest closed first; then each room keeps
    /// the newest message only.
    pub all_bytes: usize,
}

changeable!(Options);

impl Default for Options {
    fn default() -> Self {
        Self { window_ms: 600_000, max_keys: 500_000, messages: 1000, bytes: 1 << 20, all_bytes: 256 << 20 }
    }
}

/// What the thread is told.
#[derive(Debug)]
enum Request {
    Propose(usize, Batch),
    Query(usize, Query),
    /// A room is not open on a loop any more.
    Close(Arc<str>),
    Stop,
}

/// A loop's end: hands over requests and never waits.
#[derive(Debug)]
pub struct Client {
    number: usize,
    requests: SyncSender<Request>,
    followers: Arc<Followers>,
    keys: Arc<AtomicU64>,
    /// Rooms that are not open any more, and of which the thread was too busy to be told.
    closing: VecDeque<Arc<str>>,
}

impl Client {
    /// Tells of rooms that are not open any more, as far as there is a place.
    fn tell_closings(&mut self) {
        while let Some(room) = self.closing.pop_front() {
            if let Err(TrySendError::Full(Request::Close(room))) =
                self.requests.try_send(Request::Close(room))
            {
                return self.closing.push_front(room);
            }
        }
    }
}

impl History for Client {
    fn propose(&mut self, batch: Batch) -> Result<(), Batch> {
        self.tell_closings();
        self.requests.try_send(Request::Propose(self.number, batch)).map_err(|refused| match refused {
            TrySendError::Full(Request::Propose(_, batch))
            | TrySendError::Disconnected(Request::Propose(_, batch)) => batch,
            _ => unreachable!("a batch was sent"),
        })
    }

    /// Names live with the loops.
    fn hold(&mut self, _: Holder) -> Result<(), Holder> {
        Ok(())
    }

    fn query(&mut self, query: Query) -> Result<(), Query> {
        if let Query::Open { room, .. } = &query {
            // Before it is read: what happens in between is told.
            self.followers.follow(self.number, room);
        }
        self.requests.try_send(Request::Query(self.number, query)).map_err(|refused| match refused {
            TrySendError::Full(Request::Query(_, query))
            | TrySendError::Disconnected(Request::Query(_, query)) => query,
            _ => unreachable!("a query was sent"),
        })
    }

    fn level(&self) -> &'static str {
        "memory"
    }

    fn close(&mut self, room: &str) {
        self.followers.unfollow(self.number, room);
        self.closing.push_back(room.into());
        self.tell_closings();
    }

    fn follow(&mut self, room: &Arc<str>) {
        self.followers.follow(self.number, room);
    }

    fn open_rooms(&self) -> Option<u64> {
        (self.followers.loops() > 1).then(|| if self.number == 0 { self.followers.rooms() as u64 } else { 0 })
    }

    fn keys(&self) -> u64 {
        // One loop tells of them.
        if self.number == 0 { self.keys.load(Ordering::Relaxed) } else { 0 }
    }
}

/// A history whose thread does not run yet.
#[derive(Debug)]
pub struct Worker {
    requests: SyncSender<Request>,
    inbox: Receiver<Request>,
    book: Book,
    teller: Teller,
}

/// What is told what happens, in order, with the time in milliseconds since 1970.
type Tell = Box<dyn FnMut(Told<'_>) + Send>;

/// Something for the team's backend.
#[derive(Debug)]
pub enum Told<'a> {
    /// A change of a room.
    Change(&'a Change),
    /// What a loop has written down.
    Note(&'a str),
}

/// Who is told.
#[derive(Default)]
struct Teller(Option<Tell>);

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Teller").field(&self.0.is_some()).finish()
    }
}

impl Teller {
    fn tell(&mut self, told: Told<'_>) {
        if let Some(tell) = &mut self.0 {
            tell(told);
        }
    }
}

/// The thread at work; it ends with [`Running::finish`].
#[derive(Debug)]
pub struct Running {
    requests: SyncSender<Request>,
    thread: JoinHandle<()>,
}

/// A history for this many loops, at most [`MAX_LOOPS`], with a client for each. `epoch` must be another one each time.
#[must_use]
pub fn new(epoch: &str, options: Options, loops: usize) -> (Vec<Client>, Worker) {
    let (requests, inbox) = sync_channel(MAX_MEMORY_REQUESTS);
    let followers = Arc::new(Followers::new(loops.clamp(1, MAX_LOOPS)));
    let keys = Arc::new(AtomicU64::new(0));
    let client = |number| Client {
        number,
        requests: requests.clone(),
        followers: Arc::clone(&followers),
        keys: Arc::clone(&keys),
        closing: VecDeque::new(),
    };
    let clients = (0..followers.loops()).map(client).collect();
    let book = Book::new(epoch, options, followers, keys);
    (clients, Worker { requests, inbox, book, teller: Teller::default() })
}

impl Worker {
    /// The same; this is told of everything that happens, on the thread.
    #[must_use]
    pub fn with_teller(mut self, tell: impl FnMut(Told<'_>) + Send + 'static) -> Self {
        self.teller = Teller(Some(Box::new(tell)));
        self
    }

    /// Starts the thread. `notify` gets every event with the number of the loop that it is for; it may block until there is room
    /// for the event, and says `false` when nobody listens any more.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(self, mut notify: impl FnMut(usize, Event) -> bool + Send + 'static) -> io::Result<Running> {
        let Self { requests, inbox, mut book, mut teller } = self;
        let thread = thread::Builder::new().name("order".into()).spawn(move || {
            let begin = instant();
            while let Ok(request) = inbox.recv() {
                let now_ms = begin.elapsed().as_millis() as u64;
                let events = match request {
                    Request::Propose(from, batch) => book.propose((from, batch), now_ms, &mut teller),
                    Request::Query(from, query) => vec![(from, book.answer(query))],
                    Request::Close(room) => {
                        book.closed(&room);
                        Vec::new()
                    }
                    Request::Stop => break,
                };
                for (number, event) in events {
                    // Nobody listens any more while the loops end: that is in order.
                    notify(number, event);
                }
            }
        })?;
        Ok(Running { requests, thread })
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread is none of the loop")]
fn instant() -> Instant {
    Instant::now()
}

impl Running {
    /// Ends the thread. To be called after the loops have ended.
    pub fn finish(self) {
        // A thread that is gone has nothing left to stop.
        let _ = self.requests.send(Request::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that gives the numbers panicked");
        }
    }
}

/// A room: its order, its newest part, and how far its users have read.
#[derive(Debug)]
struct Room {
    epoch: Arc<str>,
    order: Order,
    log: Log,
    reads: BTreeMap<Arc<str>, u64>,
    /// When it was closed on all loops, by a count of such times; 0 while it is open.
    closed: u64,
}

impl Room {
    /// The oldest message that is kept; 0 for a room without any.
    fn oldest(&self) -> u64 {
        self.log.first_seq().unwrap_or(self.order.seq())
    }
}

/// All rooms; pure.
#[derive(Debug)]
struct Book {
    epoch: String,
    options: Options,
    followers: Arc<Followers>,
    keys: Keys,
    key_count: Arc<AtomicU64>,
    rooms: BTreeMap<Arc<str>, Room>,
    subscriptions: Subscriptions,
    /// Rooms that no loop has open, the longest closed first.
    closed: BTreeMap<u64, Arc<str>>,
    closings: u64,
    lives: u64,
    bytes: usize,
}

impl Book {
    fn new(epoch: &str, options: Options, followers: Arc<Followers>, key_count: Arc<AtomicU64>) -> Self {
        Self {
            epoch: epoch.to_owned(),
            keys: Keys::new(options.window_ms, options.max_keys),
            options,
            followers,
            key_count,
            rooms: BTreeMap::new(),
            subscriptions: Subscriptions::default(),
            closed: BTreeMap::new(),
            closings: 0,
            lives: 0,
            bytes: 0,
        }
    }

    /// What comes of a batch, for the loops that are to know.
    fn propose(
        &mut self,
        (from, batch): (usize, Batch),
        now_ms: u64,
        teller: &mut Teller,
    ) -> Vec<(usize, Event)> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut dealt = vec![Vec::new(); self.followers.loops()];
        for proposal in batch.proposals {
            if let Act::Note(body) = &proposal.act {
                teller.tell(Told::Note(body));
                continue;
            }
            let name = Arc::clone(&proposal.room);
            if let Act::Subscribe { user, is_on, most } = &proposal.act {
                outcomes.push(self.subscriptions.change(user, &name, *is_on, *most));
                continue;
            }
            self.make(&name);
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            let (outcome, action) = room.order.propose(proposal, &mut self.keys, now_ms);
            outcomes.extend(outcome);
            let Some(action) = action else { continue };
            let before = room.log.bytes();
            match &action {
                Action::Read { user, seq } => {
                    // Marks above the bound are those of this run's loops alone.
                    if room.reads.len() < MAX_READ_POSITIONS || room.reads.contains_key(user) {
                        let known = room.reads.entry(Arc::clone(user)).or_default();
                        *known = (*known).max(*seq);
                    }
                    continue;
                }
                Action::Post(post) => room.log.push(post),
                Action::Edit { .. } | Action::Delete { .. } | Action::React { .. } => {
                    room.log.change(&action);
                }
            }
            room.log.trim(self.options.messages, self.options.bytes);
            room.order.forget_below(room.oldest());
            self.bytes = self.bytes - before + room.log.bytes();
            let change = Arc::new(Change { room: Arc::clone(&name), action });
            teller.tell(Told::Change(&change));
            for number in self.followers.of(&name) {
                dealt[number].push(Arc::clone(&change));
            }
            self.make_room(&name);
        }
        self.key_count.store(self.keys.len() as u64, Ordering::Relaxed);
        let settled = |(number, changes): (usize, Vec<_>)| {
            let is_asker = number == from;
            (is_asker || !changes.is_empty() || !batch.bans.is_empty()).then(|| {
                let ticket = if is_asker { batch.ticket } else { 0 };
                let outcomes = if is_asker { std::mem::take(&mut outcomes) } else { Vec::new() };
                (number, Event::Settled { ticket, outcomes, changes, bans: batch.bans.clone() })
            })
        };
        dealt.into_iter().enumerate().filter_map(settled).collect()
    }

    /// A room that nobody knew is one from now on.
    fn make(&mut self, name: &Arc<str>) {
        if !self.rooms.contains_key(name) {
            self.lives += 1;
            let epoch = format!("{}-{}", self.epoch, self.lives).into();
            let (order, log, reads) = (Order::default(), Log::default(), BTreeMap::new());
            self.rooms.insert(Arc::clone(name), Room { epoch, order, log, reads, closed: 0 });
        }
    }

    /// A loop has closed a room.
    fn closed(&mut self, name: &Arc<str>) {
        if self.followers.is_open(name) {
            return;
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.order.seq() == 0 && room.order.rev() == 0 {
            self.rooms.remove(name);
            return;
        }
        if room.closed == 0 {
            self.closings += 1;
            room.closed = self.closings;
            self.closed.insert(self.closings, Arc::clone(name));
        }
    }

    /// Keeps all rooms within their limit. `grown`, which has grown, is cut where no other can be forgotten.
    fn make_room(&mut self, grown: &Arc<str>) {
        while self.bytes > self.options.all_bytes {
            let Some((_, name)) = self.closed.pop_first() else {
                if let Some(room) = self.rooms.get_mut(grown) {
                    self.bytes -= room.log.bytes();
                    room.log.shrink();
                    room.order.forget_below(room.oldest());
                    self.bytes += room.log.bytes();
                }
                return;
            };
            if let Some(room) = self.rooms.remove(&name) {
                self.bytes -= room.log.bytes();
            }
        }
    }

    /// The rooms and conversations of a user.
    fn mine(&self, reader: &Reader, after: Option<&PairPlace>, limit: usize) -> MinePage {
        let subscribed: Vec<Arc<str>> = self.subscriptions.of(&reader.user).cloned().collect();
        let is_pair = |(name, room): &(&Arc<str>, &Room)| pair(name, room, &reader.user).is_some();
        let pairs = self.rooms.iter().filter(is_pair).filter_map(|(name, room)| mine_of(name, room, reader));
        let of_name = |name: &Arc<str>| {
            let known = self.rooms.get(name).and_then(|room| mine_of(name, room, reader));
            known.unwrap_or_else(|| blank(name))
        };
        let mut rooms: Vec<Mine> = pairs.chain(subscribed.iter().map(of_name)).collect();
        rooms.retain(|room| after.is_none_or(|after| room.place.is_after(after)));
        rooms.sort_unstable_by(|a, b| a.place.order().cmp(&b.place.order()));
        rooms.truncate(limit);
        MinePage { rooms, subscribed }
    }

    fn answer(&mut self, query: Query) -> Event {
        match query {
            Query::Open { room: name, recent, changes } => {
                self.make(&name);
                let state = self.rooms.get_mut(&name).map(|room| {
                    self.closed.remove(&std::mem::take(&mut room.closed));
                    state(room, recent, changes)
                });
                Event::Opened { room: name, state: Ok(state.unwrap_or_default()) }
            }
            Query::Page { ask, room, before, limit, keep } => {
                let room = self.rooms.get(&room);
                let records = room.map(|room| page(room, before, limit, keep)).unwrap_or_default();
                Event::Page { ask, records: Ok(records) }
            }
            Query::Search { ask, room, query, limit } => {
                let found = self.rooms.get(&room).zip(words::Query::parse(&query));
                let records = found.map(|(room, query)| search(room, &query, limit)).unwrap_or_default();
                Event::Page { ask, records: Ok(records) }
            }
            Query::Rooms { ask, ranges, limit } => {
                let in_range = |range: NameRange| {
                    self.rooms
                        .range::<str, _>((Bound::Included(&*range.from), Bound::Excluded(&*range.before)))
                        .map(|(name, room)| (Arc::clone(name), room))
                        .collect::<Vec<_>>()
                };
                let has_names = |range: &NameRange| range.from < range.before;
                let rooms = ranges.into_iter().filter(has_names).flat_map(in_range);
                let head = |(name, room): (Arc<str>, &Room)| RoomHead {
                    name,
                    seq: room.order.seq(),
                    time: room.order.time(),
                };
                let rooms = rooms.filter(|(_, room)| room.order.seq() > 0).take(limit);
                Event::Rooms { ask, rooms: Ok(rooms.map(head).collect()) }
            }
            Query::Pairs { ask, user, after, limit } => {
                let pairs = self.rooms.iter().filter_map(|(name, room)| pair(name, room, &user));
                let is_wanted = |pair: &Pair| after.as_ref().is_none_or(|after| pair.place.is_after(after));
                let mut pairs: Vec<Pair> = pairs.filter(is_wanted).collect();
                pairs.sort_unstable_by(|a, b| a.place.order().cmp(&b.place.order()));
                pairs.truncate(limit);
                Event::Pairs { ask, pairs: Ok(pairs) }
            }
            Query::Mine { ask, reader, after, limit } => {
                Event::Mine { ask, page: Ok(self.mine(&reader, after.as_ref(), limit)) }
            }
            Query::Unread { ask, room, readers } => {
                let counts = self.rooms.get(&room).map(|room| (room.order.seq(), unread_of(room, &readers)));
                Event::Unread { ask, counts: Ok(counts.unwrap_or_default()) }
            }
            Query::ReadPosition { ask, room, user } => {
                let room = self.rooms.get(&room);
                let seq = room.and_then(|room| room.reads.get(&user)).copied().unwrap_or(0);
                Event::ReadPosition { ask, seq }
            }
        }
    }
}

fn state(room: &Room, recent: usize, changes: usize) -> RoomState {
    let (seq, rev) = (room.order.seq(), room.order.rev());
    let parts = room.log.between(seq.saturating_sub(recent as u64), u64::MAX);
    RoomState {
        epoch: Arc::clone(&room.epoch),
        lineage: Vec::new(),
        seq,
        rev,
        time: room.order.time(),
        oldest: room.oldest(),
        recent: parts.concat(),
        changes: room.log.newest_changes(changes),
    }
}

fn page(room: &Room, before: u64, limit: usize, keep: Keep) -> Vec<Record> {
    let end = before.min(room.order.seq() + 1);
    let mut records: Vec<Record> = room.log.between(end.saturating_sub(limit as u64 + 1), end).concat();
    let mut octets: usize = records.iter().map(|record| record.post.octets()).sum();
    while octets > PAGE_OCTETS && records.len() > 1 {
        let gone = if keep == Keep::Newest { Some(records.remove(0)) } else { records.pop() };
        octets -= gone.map_or(0, |record| record.post.octets());
    }
    records
}

fn search(room: &Room, query: &words::Query, limit: usize) -> Vec<Record> {
    let [older, newer] = room.log.between(0, u64::MAX);
    let newest_first = newer.iter().rev().chain(older.iter().rev());
    let is_found = |record: &&Record| !record.is_deleted && query.matches(&record.post.text);
    newest_first.filter(is_found).take(limit).cloned().collect()
}

fn pair(name: &str, room: &Room, user: &str) -> Option<Pair> {
    let (first, second) = name.strip_prefix('@')?.split_once('\n')?;
    let other = match (first == user, second == user) {
        (true, _) => second,
        (_, true) => first,
        _ => return None,
    };
    let seq = room.order.seq();
    let mut writers: Vec<Arc<str>> = Vec::new();
    let [older, newer] = room.log.between(seq.saturating_sub(WRITERS_AMONG), u64::MAX);
    for record in newer.iter().rev().chain(older.iter().rev()) {
        if !writers.contains(&record.post.user) {
            writers.push(Arc::clone(&record.post.user));
        }
    }
    (seq > 0).then(|| Pair {
        place: PairPlace { time: room.order.time(), other: other.into() },
        epoch: Arc::clone(&room.epoch),
        seq,
        rev: room.order.rev(),
        read: room.reads.get(user).copied().unwrap_or(0),
        writers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Draft, Proposal};

    fn book(options: Options) -> Book {
        Book::new("e", options, Arc::new(Followers::new(2)), Arc::default())
    }

    fn open(book: &mut Book, room: &str) -> RoomState {
        book.followers.follow(0, &room.into());
        match book.answer(Query::Open { room: room.into(), recent: 9, changes: 9 }) {
            Event::Opened { state, .. } => state.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn close(book: &mut Book, room: &str) {
        book.followers.unfollow(0, room);
        book.closed(&room.into());
    }

    fn propose(book: &mut Book, room: &str, act: Act) {
        let proposals = vec![Proposal { room: room.into(), time: 1, act }];
        book.propose(
            (0, Batch { ticket: 1, term: 0, proposals, bans: Vec::new() }),
            0,
            &mut Teller::default(),
        );
    }

    fn post(book: &mut Book, room: &str) {
        let (user, client, text) = ("Ada".into(), "c".into(), "x".repeat(1000).into());
        propose(book, room, Act::Post(Draft { user, client, text, ..Draft::default() }));
    }

    #[test]
    fn rooms_that_come_and_go_leave_nothing_behind() {
        let mut book = book(Options::default());
        for _ in 0..100 {
            open(&mut book, "blank");
            close(&mut book, "blank");
            open(&mut book, "kept");
            post(&mut book, "kept");
            close(&mut book, "kept");
        }
        assert_eq!((book.rooms.len(), book.closed.len()), (1, 1));
        let state = open(&mut book, "kept");
        assert_eq!((state.seq, book.closed.len()), (100, 0));
    }

    #[test]
    fn the_room_that_was_closed_first_is_forgotten_first_and_an_open_one_is_cut() {
        let mut book = book(Options::default().with(|it| it.all_bytes = 5_000));
        for room in ["a", "b"] {
            open(&mut book, room);
            post(&mut book, room);
            close(&mut book, room);
        }
        let epoch = open(&mut book, "a").epoch;
        for _ in 0..20 {
            post(&mut book, "a");
            assert!(book.bytes <= 5_000, "{}", book.bytes);
        }
        assert!(!book.rooms.contains_key("b") && open(&mut book, "a").epoch == epoch);
        assert_eq!(open(&mut book, "a").seq, 21);
    }

    #[test]
    fn so_many_read_positions_of_a_room_are_kept() {
        let mut book = book(Options::default());
        post(&mut book, "r");
        for user in 0..MAX_READ_POSITIONS + 5 {
            propose(&mut book, "r", Act::Read { user: user.to_string().into(), seq: 1 });
        }
        assert_eq!(book.rooms["r"].reads.len(), MAX_READ_POSITIONS);
    }
}
