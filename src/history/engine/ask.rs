//! The thread that reads what loops ask for, and has a word told each second by which the feed knows that it lives.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use redis::{Cmd, Value, cmd};

use super::error::EngineError;
use super::link::{Link, function, instant, is_passing, pause, random};
use super::shared::{Notify, Shared};
use super::target::Target;
use super::{SIGNS_MS, Signing, names, told, values};
use crate::history::unread::Counter;
use crate::history::{
    Event, HistoryError, Keep, MAX_UNREAD, Mine, MinePage, NameRange, PAGE_OCTETS, Pair, PairPlace, Query,
    Reader, Record, RoomHead, Unread,
};
use crate::text::words;

/// How often a word is told.
const BEAT: Duration = Duration::from_secs(1);
/// Messages that are read at once.
const PAGE: usize = 256;
/// The newest messages of a room in which words are looked for.
pub const SEARCH_SCAN: usize = 10_000;
/// Conversations of a user that are looked at.
const MAX_PAIRS: usize = 10_000;
/// Messages that are looked at for the names of those who wrote them.
const WRITERS_AMONG: usize = 16;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Ask {
    /// For which loop, and what.
    Query(usize, Query),
    /// The feed must look into its inbox.
    Wake,
    Stop,
}

type Read<T> = Result<T, EngineError>;

/// What the engine knows of a room besides what was said.
#[derive(Debug)]
struct Head {
    epoch: Arc<str>,
    seq: u64,
    rev: u64,
    time: u64,
}

/// See the module.
pub(super) struct Asker {
    target: Target,
    node: Arc<str>,
    inbox: Receiver<Ask>,
    shared: Arc<Shared>,
    notify: Notify,
    link: Option<Link>,
    /// When the next word is due.
    beat_at: Instant,
    /// When to connect again, and how often that has failed.
    retry: (Instant, u32),
    /// What other servers are told.
    signs: Option<Signing>,
    signs_at: Instant,
}

impl Asker {
    pub(super) fn new(
        (target, node): (Target, Arc<str>),
        inbox: Receiver<Ask>,
        shared: Arc<Shared>,
        notify: Notify,
        signs: Option<Signing>,
    ) -> Self {
        let now = instant();
        Self {
            target,
            node,
            inbox,
            shared,
            notify,
            link: None,
            beat_at: now,
            retry: (now, 0),
            signs,
            signs_at: now,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let due = if self.signs.is_some() { self.beat_at.min(self.signs_at) } else { self.beat_at };
            let wait = due.saturating_duration_since(instant());
            match self.inbox.recv_timeout(wait) {
                Ok(Ask::Query(from, query)) => self.answer(from, query),
                Ok(Ask::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            // A wake that the inbox had no place for is seen here, too.
            if instant() >= self.beat_at || self.shared.must_wake.load(Ordering::Relaxed) {
                self.beat();
            }
            if instant() >= self.signs_at {
                self.sign();
            }
        }
        self.beat();
        if let Some(Signing { signs, .. }) = &self.signs {
            let (channel, word) = (names::EVERYBODY.to_owned(), signs.last_word());
            self.tell(&[(channel, word)]);
        }
    }

    /// Tells other servers what there is to tell. What cannot be told is missed by them, and they notice.
    fn sign(&mut self) {
        let Some(it) = &self.signs else { return };
        self.signs_at = instant() + Duration::from_millis(SIGNS_MS);
        let words = it.signs.take(it.now_ms()).into_iter().map(|(to, word)| {
            let channel = to.map_or_else(|| names::EVERYBODY.to_owned(), |node| names::node(&node));
            (channel, word)
        });
        let words: Vec<_> = words.collect();
        self.tell(&words);
    }

    fn tell(&mut self, words: &[(String, String)]) {
        for part in words.chunks(PAGE) {
            let publish = |(channel, word): &(String, String)| {
                let mut publish = cmd("PUBLISH");
                publish.arg(channel).arg(told::sign(&self.node, word));
                publish
            };
            let commands: Vec<_> = part.iter().map(publish).collect();
            if let Err(error) = self.call(&commands) {
                tracing::debug!(%error, "other servers were not told");
            }
        }
    }

    /// Has a word told to the feed. Where that fails the feed knows it by the silence.
    fn beat(&mut self) {
        self.beat_at = instant() + BEAT;
        self.target.look();
        // What is a replica by now reaches nobody.
        if let Some(mut link) = self.link.take() {
            self.link = link.refresh().is_ok().then_some(link);
        }
        let mut word = cmd("PUBLISH");
        word.arg(names::node(&self.node)).arg(told::BEAT);
        if let Err(error) = self.call(&[word]) {
            tracing::debug!(%error, "no word was told");
        }
    }

    /// Asks the engine. A connection may have ended since it was used last: then another one is asked, once. One that cannot be
    /// made is tried again after a while; until then nothing waits for it.
    fn call(&mut self, commands: &[Cmd]) -> Read<Vec<Value>> {
        let was_used = self.link.is_some();
        match self.try_call(commands) {
            Err(EngineError::Unreachable(_)) if was_used => self.try_call(commands),
            result => result,
        }
    }

    fn try_call(&mut self, commands: &[Cmd]) -> Read<Vec<Value>> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None if instant() < self.retry.0 => return Err(EngineError::Answer("the engine is away".into())),
            None => Link::connect(&self.target).inspect_err(|_| {
                self.retry = (instant() + pause(self.retry.1, random()), self.retry.1 + 1);
            })?,
        };
        let answers = link.call(commands)?;
        for answer in &answers {
            if let Value::ServerError(error) = answer {
                if !is_passing(error) {
                    self.link = Some(link);
                }
                return Err(EngineError::Answer(format!(
                    "{} {}",
                    error.code(),
                    error.details().unwrap_or_default()
                )));
            }
        }
        self.retry.1 = 0;
        self.link = Some(link);
        Ok(answers)
    }

    /// Asks one thing.
    fn one(&mut self, command: Cmd) -> Read<Value> {
        Ok(self.call(&[command])?.pop().unwrap_or_default())
    }

    // ---- queries

    fn answer(&mut self, from: usize, query: Query) {
        let failed = |error: EngineError| HistoryError::storage(error.to_string());
        let event = match query {
            Query::Page { ask, room, before, limit, keep } => {
                Event::Page { ask, records: self.page(&room, before, limit, keep).map_err(failed) }
            }
            Query::Search { ask, room, query, limit } => {
                Event::Page { ask, records: self.search(&room, &query, limit).map_err(failed) }
            }
            Query::Rooms { ask, ranges, limit } => {
                Event::Rooms { ask, rooms: self.rooms(&ranges, limit).map_err(failed) }
            }
            Query::Pairs { ask, user, after, limit } => {
                Event::Pairs { ask, pairs: self.pairs(&user, after.as_ref(), limit).map_err(failed) }
            }
            Query::Mine { ask, reader, after, limit } => {
                Event::Mine { ask, page: self.mine(&reader, after.as_ref(), limit).map_err(failed) }
            }
            Query::Unread { ask, room, readers } => {
                let counts = self.unread(&room, &readers).map_err(failed);
                Event::Unread { ask, counts }
            }
            Query::ReadPosition { ask, room, user } => {
                // A position that cannot be read is as good as none: the next one is kept.
                let seq = self
                    .marks(&room, std::slice::from_ref(&user))
                    .ok()
                    .and_then(|marks| marks.first().copied());
                Event::ReadPosition { ask, seq: seq.unwrap_or(0) }
            }
            // The feed opens rooms.
            Query::Open { .. } => return,
        };
        self.notify.tell(from, event);
    }

    fn page(&mut self, room: &str, before: u64, limit: usize, keep: Keep) -> Read<Vec<Record>> {
        let mut call = function("page", &names::room_keys(room, 3));
        // More than any room has; the engine reckons with numbers of 53 bits.
        call.arg(before.min(1 << 52)).arg(limit).arg(PAGE_OCTETS).arg(u8::from(keep == Keep::Oldest));
        let answer = self.one(call)?;
        values::records(&answer).ok_or_else(|| EngineError::Answer("a page that is none".into()))
    }

    /// Walks back through the newest messages, at most `most`, until `look` has seen enough.
    fn walk(&mut self, room: &str, most: usize, mut look: impl FnMut(Record) -> bool) -> Read<()> {
        let (mut before, mut seen) = (u64::MAX, 0);
        while seen < most {
            let records = self.page(room, before, PAGE.min(most - seen), Keep::Newest)?;
            let Some(first) = records.first().map(|record| record.post.seq) else { break };
            seen += records.len();
            before = first;
            for record in records.into_iter().rev() {
                if !look(record) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn search(&mut self, room: &str, query: &str, limit: usize) -> Read<Vec<Record>> {
        let mut found = Vec::new();
        let Some(query) = words::Query::parse(query).filter(|_| limit > 0) else { return Ok(found) };
        self.walk(room, SEARCH_SCAN, |record| {
            if !record.is_deleted && query.matches(&record.post.text) {
                found.push(record);
            }
            found.len() < limit
        })?;
        Ok(found)
    }

    /// The heads of rooms, in their order.
    fn heads(&mut self, rooms: &[Arc<str>]) -> Read<Vec<Head>> {
        let mut heads = Vec::with_capacity(rooms.len());
        for part in rooms.chunks(PAGE) {
            let calls: Vec<_> =
                part.iter().map(|room| function("head", &names::room_keys(room, 1))).collect();
            for answer in self.call(&calls)? {
                let fields = values::list(&answer).unwrap_or_default();
                let number = |at: usize| fields.get(at).and_then(values::number).unwrap_or(0);
                let epoch = fields.first().and_then(values::text).unwrap_or_default();
                let epoch = epoch.as_str().into();
                heads.push(Head { epoch, seq: number(1), rev: number(2), time: number(3) });
            }
        }
        Ok(heads)
    }

    fn rooms(&mut self, ranges: &[NameRange], limit: usize) -> Read<Vec<RoomHead>> {
        let mut found = Vec::new();
        for range in ranges.iter().filter(|range| range.from < range.before) {
            let mut from = format!("[{}", range.from);
            while found.len() < limit {
                let mut names = cmd("ZRANGE");
                names.arg(names::ROOMS).arg(&from).arg(format!("({}", range.before)).arg("BYLEX");
                names.arg("LIMIT").arg(0).arg(PAGE);
                let answer = self.one(names)?;
                let names: Vec<Arc<str>> = texts(&answer);
                let Some(last) = names.last() else { break };
                from = format!("({last}");
                for (name, Head { seq, time, .. }) in names.iter().zip(self.heads(&names)?) {
                    // A room may be no more.
                    if seq > 0 && found.len() < limit {
                        found.push(RoomHead { name: Arc::clone(name), seq, time });
                    }
                }
            }
        }
        Ok(found)
    }

    /// The conversations of a user with the times of their newest messages.
    fn pair_names(&mut self, user: &str) -> Read<Vec<(Arc<str>, Arc<str>)>> {
        let mut call = cmd("ZRANGE");
        call.arg(names::pairs_of(user)).arg(0).arg(MAX_PAIRS - 1).arg("REV");
        let answer = self.one(call)?;
        let other = |room: Arc<str>| {
            let (a, b) = names::pair(&room)?;
            let other = if a == user { b } else { a }.into();
            Some((room, other))
        };
        Ok(texts(&answer).into_iter().filter_map(other).collect())
    }

    fn pairs(&mut self, user: &str, after: Option<&PairPlace>, limit: usize) -> Read<Vec<Pair>> {
        let (rooms, others): (Vec<_>, Vec<_>) = self.pair_names(user)?.into_iter().unzip();
        let heads = self.heads(&rooms)?;
        let mut pairs: Vec<(Arc<str>, Pair)> = Vec::new();
        for ((room, other), Head { epoch, seq, rev, time }) in rooms.into_iter().zip(others).zip(heads) {
            let pair =
                Pair { place: PairPlace { time, other }, epoch, seq, rev, read: 0, writers: Vec::new() };
            if seq > 0 && after.is_none_or(|after| pair.place.is_after(after)) {
                pairs.push((room, pair));
            }
        }
        pairs.sort_unstable_by(|(_, a), (_, b)| a.place.order().cmp(&b.place.order()));
        pairs.truncate(limit);
        for (room, pair) in &mut pairs {
            pair.read = self.marks(room, &[user.into()])?.first().copied().unwrap_or(0);
            for record in self.page(room, u64::MAX, WRITERS_AMONG, Keep::Newest)?.iter().rev() {
                if !pair.writers.contains(&record.post.user) {
                    pair.writers.push(Arc::clone(&record.post.user));
                }
            }
        }
        Ok(pairs.into_iter().map(|(_, pair)| pair).collect())
    }

    fn mine(&mut self, reader: &Reader, after: Option<&PairPlace>, limit: usize) -> Read<MinePage> {
        let mut call = cmd("SMEMBERS");
        call.arg(names::subscriptions(&reader.user));
        let mut subscribed: Vec<Arc<str>> = texts(&self.one(call)?);
        subscribed.sort_unstable();
        let pairs = self.pair_names(&reader.user)?.into_iter().map(|(room, _)| room);
        let names: Vec<Arc<str>> = pairs.chain(subscribed.iter().cloned()).collect();
        let heads = self.heads(&names)?;
        let mine = |(name, Head { epoch, seq, rev, time }): (Arc<str>, Head)| {
            let place = PairPlace { time, other: name };
            Mine { place, epoch, seq, rev, read: 0, unread: 0, newest: None }
        };
        let mut rooms: Vec<Mine> = names.into_iter().zip(heads).map(mine).collect();
        rooms.retain(|room| after.is_none_or(|after| room.place.is_after(after)));
        rooms.retain(|room| room.seq > 0 || names::pair(&room.place.other).is_none());
        rooms.sort_unstable_by(|a, b| a.place.order().cmp(&b.place.order()));
        rooms.truncate(limit);
        for room in rooms.iter_mut().filter(|room| room.seq > 0) {
            let name = Arc::clone(&room.place.other);
            let (_, counts) = self.unread(&name, std::slice::from_ref(reader))?;
            if let Some(Unread { read, count, .. }) = counts.into_iter().next() {
                (room.read, room.unread) = (read, count);
            }
            room.newest = self.page(&name, u64::MAX, 1, Keep::Newest)?.pop();
        }
        Ok(MinePage { rooms, subscribed })
    }

    fn unread(&mut self, room: &Arc<str>, readers: &[Reader]) -> Read<(u64, Vec<Unread>)> {
        let users: Vec<Arc<str>> = readers.iter().map(|reader| Arc::clone(&reader.user)).collect();
        let marks = self.marks(room, &users)?;
        let newest = self.heads(std::slice::from_ref(room))?.first().map_or(0, |head| head.seq);
        let mut counter = Counter::new(readers, marks.into_iter());
        self.walk(room, MAX_UNREAD, |record| counter.look(&record))?;
        Ok((newest, counter.finish()))
    }

    /// How far users have read a room.
    fn marks(&mut self, room: &str, users: &[Arc<str>]) -> Read<Vec<u64>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = cmd("HMGET");
        call.arg(names::marks(room));
        for user in users {
            call.arg(&**user);
        }
        let answer = self.one(call)?;
        let known: HashMap<usize, u64> = values::list(&answer)
            .unwrap_or_default()
            .iter()
            .enumerate()
            .filter_map(|(at, mark)| Some((at, values::number(mark)?)))
            .collect();
        Ok((0..users.len()).map(|at| known.get(&at).copied().unwrap_or(0)).collect())
    }
}

/// All texts of a list.
fn texts(value: &Value) -> Vec<Arc<str>> {
    let list = values::list(value).unwrap_or_default();
    list.iter().filter_map(values::text).map(|text| text.as_str().into()).collect()
}
