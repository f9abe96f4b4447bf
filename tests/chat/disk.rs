//! A store under the test's control: what it was asked waits until the test says what becomes of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use switchboard::history::keys::Keys;
use switchboard::history::{
    Act, Action, Ban, BanChange, Batch, Change, Draft, Event, Fork, History, Holder, MAX_UNREAD, Mine,
    MinePage, Order, Outcome, Pair, PairPlace, Post, Proposal, Query, Reader, Record, RoomHead, RoomState,
    Start, Subscriptions, Unread, Who,
};

/// What the chat asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    Commit(Batch),
    Hold(Holder),
    Query(Query),
    Follow(Arc<str>),
    Close(Arc<str>),
}

/// What the chat has asked for and the test has not looked at.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) requests: VecDeque<Asked>,
    /// Nothing more is taken.
    pub(crate) is_full: bool,
    /// Other loops use the store, too.
    pub(crate) is_shared: bool,
    /// Other servers do.
    pub(crate) is_engine: bool,
}

/// The chat's end.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestStore(pub(crate) Arc<Mutex<Inbox>>);

impl TestStore {
    fn take<T>(&self, asked: T, request: impl FnOnce(T) -> Asked) -> Result<(), T> {
        let mut inbox = self.0.lock().unwrap();
        if inbox.is_full {
            return Err(asked);
        }
        inbox.requests.push_back(request(asked));
        Ok(())
    }
}

impl History for TestStore {
    fn propose(&mut self, batch: Batch) -> Result<(), Batch> {
        self.take(batch, Asked::Commit)
    }

    fn hold(&mut self, holder: Holder) -> Result<(), Holder> {
        self.take(holder, Asked::Hold)
    }

    fn query(&mut self, query: Query) -> Result<(), Query> {
        self.take(query, Asked::Query)
    }

    #[expect(clippy::misnamed_getters, reason = "what several loops share is no engine")]
    fn is_shared(&self) -> bool {
        self.0.lock().unwrap().is_engine
    }

    fn follow(&mut self, room: &Arc<str>) {
        let mut inbox = self.0.lock().unwrap();
        if inbox.is_shared {
            inbox.requests.push_back(Asked::Follow(room.clone()));
        }
    }

    fn close(&mut self, room: &str) {
        let mut inbox = self.0.lock().unwrap();
        // Where nobody asks they are not kept.
        if inbox.is_shared {
            inbox.requests.push_back(Asked::Close(room.into()));
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Room {
    records: Vec<Record>,
    changes: Vec<Action>,
    marks: BTreeMap<Arc<str>, u64>,
    time: u64,
    order: Order,
}

impl Room {
    /// The naive count.
    fn unread(&self, reader: &Reader) -> Unread {
        let read = self.marks.get(&reader.user).copied().unwrap_or(0).max(reader.read);
        let newest = self.records.iter().rev().take(MAX_UNREAD);
        let counts =
            |record: &&Record| !record.is_deleted && record.post.seq > read && !reader.wrote(&record.post);
        Unread { user: reader.user.clone(), read, count: newest.filter(counts).count() as u64 }
    }
}

/// What has come of batches.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) changes: Vec<Arc<Change>>,
    pub(crate) bans: Vec<BanChange>,
}

/// What is on the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    rooms: BTreeMap<Arc<str>, Room>,
    bans: BTreeMap<Arc<str>, Ban>,
    holders: Vec<Holder>,
    pub(crate) epoch: String,
    /// Of every room.
    pub(crate) lineage: Vec<Fork>,
    keys: Keys,
    subscriptions: Subscriptions,
    term: u32,
    /// What would be told to a backend, in order.
    pub(crate) notes: Vec<String>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { epoch: "first".to_owned(), keys: Keys::new(600_000, 1 << 20), ..Self::default() }
    }

    /// What a server learns that begins now.
    pub(crate) fn start(&self) -> Start {
        Start {
            epoch: self.epoch.clone(),
            bans: self.bans.values().cloned().collect(),
            holders: self.holders.clone(),
        }
    }

    pub(crate) fn hold(&mut self, holder: Holder) {
        self.holders.push(holder);
    }

    /// The texts of a room, as they are.
    pub(crate) fn texts(&self, room: &str) -> Vec<String> {
        let records = self.rooms.get(room).map(|room| room.records.as_slice()).unwrap_or_default();
        records.iter().map(|record| record.post.text.to_string()).collect()
    }

    /// A backup from when the room had this many messages is restored.
    pub(crate) fn roll_back(&mut self, room: &str, len: usize) {
        let place = self.rooms.get_mut(room).unwrap();
        place.records.truncate(len);
        place.changes.clear();
        place.order = Order::default();
        let mut unknown = Keys::new(0, 0);
        for Post { time, user, is_verified, client, text, data, reply_to, .. } in
            place.records.iter().map(|record| record.post.clone())
        {
            let act = Act::Post(Draft { user, is_verified, client, text, key: None, data, reply_to });
            place.order.propose(Proposal { room: room.into(), time, act }, &mut unknown, 0);
        }
        // The store finds that out by itself.
        self.epoch.push('+');
    }

    fn write(&mut self, change: &Change) {
        let room = self.rooms.entry(change.room.clone()).or_default();
        match &change.action {
            Action::Post(post) => {
                let next = room.records.len() as u64 + 1;
                assert_eq!(post.seq, next, "the numbers of {} have a gap or a twin", change.room);
                assert!(post.time >= room.time, "time fell");
                room.time = post.time;
                let post = post.clone();
                room.records.push(Record { post, edited: None, is_deleted: false, reactions: Vec::new() });
                return;
            }
            Action::Read { user, seq } => {
                let mark = room.marks.entry(user.clone()).or_default();
                *mark = (*mark).max(*seq);
                return;
            }
            Action::Edit { rev, seq, text, data, time } => {
                assert_eq!(*rev, room.changes.len() as u64 + 1);
                let record = &mut room.records[*seq as usize - 1];
                assert!(!record.is_deleted, "a deleted message was edited");
                record.post.text = text.clone();
                record.post.data = data.clone().or_else(|| record.post.data.take());
                record.edited = Some(*time);
            }
            Action::Delete { rev, seq, .. } => {
                assert_eq!(*rev, room.changes.len() as u64 + 1);
                let record = &mut room.records[*seq as usize - 1];
                record.is_deleted = true;
                (record.post.text, record.post.data) = ("".into(), None);
                record.reactions.clear();
            }
            Action::React { rev, seq, user, emoji, is_removed } => {
                assert_eq!(*rev, room.changes.len() as u64 + 1);
                let reactions = &mut room.records[*seq as usize - 1].reactions;
                let mut users: BTreeMap<Box<str>, Vec<Who>> = reactions.drain(..).collect();
                let of_emoji = users.entry(emoji.clone()).or_default();
                of_emoji.retain(|other| other != user);
                if !is_removed {
                    of_emoji.push(user.clone());
                }
                reactions.extend(users.into_iter().filter(|(_, users)| !users.is_empty()));
            }
        }
        room.changes.push(change.action.clone());
    }

    /// Does what is proposed; returns what came of it.
    pub(crate) fn commit(&mut self, batch: Batch) -> Done {
        let mut done = Done::default();
        for proposal in batch.proposals {
            if let Act::Note(body) = &proposal.act {
                self.notes.push(body.to_string());
                continue;
            }
            let room = proposal.room.clone();
            if let Act::Subscribe { user, is_on, most } = &proposal.act {
                done.outcomes.push(self.subscriptions.change(user, &room, *is_on, *most));
                continue;
            }
            let order = &mut self.rooms.entry(room.clone()).or_default().order;
            // The clock stands still: keys are forgotten by their number.
            let (outcome, action) = order.propose(proposal, &mut self.keys, 1);
            done.outcomes.extend(outcome);
            if let Some(action) = action {
                let change = Change { room, action };
                self.write(&change);
                if !matches!(change.action, Action::Read { .. }) {
                    done.changes.push(Arc::new(change));
                }
            }
        }
        for ban in &batch.bans {
            match ban {
                BanChange::Set(ban) => drop(self.bans.insert(ban.user.clone(), ban.clone())),
                BanChange::Lift(user) => drop(self.bans.remove(user)),
            }
        }
        done.bans = batch.bans;
        done
    }

    /// Somebody on another loop posts these.
    pub(crate) fn post(&mut self, room: &str, texts: &[String]) -> Vec<Arc<Change>> {
        let proposal = |text: &String| {
            let (user, client, text) = ("Eve".into(), "c9".into(), text.as_str().into());
            let act = Act::Post(Draft { user, client, text, ..Draft::default() });
            Proposal { room: room.into(), time: 1_700_000_000_000, act }
        };
        let proposals = texts.iter().map(proposal).collect();
        self.commit(Batch { ticket: 0, term: self.term, proposals, bans: Vec::new() }).changes
    }

    /// A batch from before the last failure is refused.
    pub(crate) fn is_of_this_term(&self, batch: &Batch) -> bool {
        batch.term == self.term
    }

    /// Returns the term that begins.
    pub(crate) fn failed(&mut self) -> u32 {
        self.term += 1;
        self.term
    }

    /// The conversations of a user.
    fn pairs(&self, user: &str, after: Option<&PairPlace>, limit: usize) -> Vec<Pair> {
        let pair = |(name, room): (&Arc<str>, &Room)| {
            let (first, second) = name.strip_prefix('@')?.split_once('\n')?;
            let other = if first == user { second } else { first };
            let place = PairPlace { time: room.time, other: other.into() };
            let read = room.marks.get(user).copied().unwrap_or(0);
            let writers = room.records.iter().rev().map(|record| record.post.user.clone()).collect();
            let (epoch, seq) = (self.epoch.as_str().into(), room.records.len() as u64);
            let pair = Pair { place, epoch, seq, rev: room.changes.len() as u64, read, writers };
            (first == user || second == user).then_some(pair)
        };
        let mut pairs: Vec<Pair> = self.rooms.iter().filter_map(pair).collect();
        pairs.retain(|pair| after.is_none_or(|after| pair.place.is_after(after)));
        pairs.sort_by(|a, b| a.place.order().cmp(&b.place.order()));
        pairs.truncate(limit);
        pairs
    }

    /// The rooms and conversations of a user.
    fn mine(&self, reader: &Reader, after: Option<&PairPlace>, limit: usize) -> MinePage {
        let subscribed: Vec<Arc<str>> = self.subscriptions.of(&reader.user).cloned().collect();
        let is_pair = |name: &str| {
            let pair = name.strip_prefix('@').and_then(|pair| pair.split_once('\n'));
            pair.is_some_and(|(a, b)| *a == *reader.user || *b == *reader.user)
        };
        let pairs = self.rooms.iter().filter(|(name, room)| is_pair(name) && !room.records.is_empty());
        let names = pairs.map(|(name, _)| name.clone()).chain(subscribed.iter().cloned());
        let mine = |name: Arc<str>| {
            let room = self.rooms.get(&name).cloned().unwrap_or_default();
            let Unread { read, count, .. } = room.unread(reader);
            Mine {
                place: PairPlace { time: room.time, other: name },
                epoch: self.epoch.as_str().into(),
                seq: room.records.len() as u64,
                rev: room.changes.len() as u64,
                read,
                unread: count,
                newest: room.records.last().cloned(),
            }
        };
        let mut rooms: Vec<Mine> = names.map(mine).collect();
        rooms.retain(|room| after.is_none_or(|after| room.place.is_after(after)));
        rooms.sort_by(|a, b| a.place.order().cmp(&b.place.order()));
        rooms.truncate(limit);
        MinePage { rooms, subscribed }
    }

    /// The answer to what is no commit.
    pub(crate) fn answer(&mut self, query: Query) -> Event {
        match query {
            Query::Open { room, recent, changes } => {
                let place = self.rooms.get(&room).cloned().unwrap_or_default();
                let newest = |len: usize, count: usize| len.saturating_sub(count);
                let state = RoomState {
                    epoch: self.epoch.as_str().into(),
                    lineage: self.lineage.clone(),
                    seq: place.records.len() as u64,
                    rev: place.changes.len() as u64,
                    time: place.time,
                    oldest: 1,
                    recent: place.records[newest(place.records.len(), recent)..].to_vec(),
                    changes: place.changes[newest(place.changes.len(), changes)..].to_vec(),
                };
                Event::Opened { room, state: Ok(state) }
            }
            Query::Page { ask, room, before, limit, .. } => {
                let place = self.rooms.get(&room).cloned().unwrap_or_default();
                let end = (before.saturating_sub(1) as usize).min(place.records.len());
                let records = place.records[end.saturating_sub(limit)..end].to_vec();
                Event::Page { ask, records: Ok(records) }
            }
            Query::Search { ask, room, query, limit } => {
                let place = self.rooms.get(&room).cloned().unwrap_or_default();
                let has = |record: &&Record| record.post.text.contains(&*query);
                let records = place.records.iter().rev().filter(has).take(limit).cloned().collect();
                Event::Page { ask, records: Ok(records) }
            }
            Query::ReadPosition { ask, room, user } => {
                let seq = self.rooms.get(&room).and_then(|room| room.marks.get(&user).copied());
                Event::ReadPosition { ask, seq: seq.unwrap_or(0) }
            }
            Query::Unread { ask, room, readers } => {
                let room = self.rooms.get(&room).cloned().unwrap_or_default();
                let unread = readers.iter().map(|reader| room.unread(reader)).collect();
                Event::Unread { ask, counts: Ok((room.records.len() as u64, unread)) }
            }
            Query::Mine { ask, reader, after, limit } => {
                Event::Mine { ask, page: Ok(self.mine(&reader, after.as_ref(), limit)) }
            }
            Query::Rooms { ask, ranges, limit } => {
                let is_wanted = |name: &str| ranges.iter().any(|range| range.has(name));
                let wanted = self.rooms.iter().filter(|(name, _)| is_wanted(name)).take(limit);
                let head = |(name, room): (&Arc<str>, &Room)| {
                    let newest = room.records.last().map(|record| record.post.time);
                    let seq = room.records.len() as u64;
                    RoomHead { name: Arc::clone(name), seq, time: newest.unwrap_or(0) }
                };
                Event::Rooms { ask, rooms: Ok(wanted.map(head).collect()) }
            }
            Query::Pairs { ask, user, after, limit } => {
                Event::Pairs { ask, pairs: Ok(self.pairs(&user, after.as_ref(), limit)) }
            }
        }
    }
}
