//! One oracle for every authority: whatever is proposed, `Order` says what comes of it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use proptest::prelude::*;
use switchboard::history::keys::Keys;
use switchboard::history::sqlite::{self, Options};
use switchboard::history::{
    Batch, Change, Event, History, Outcome, Proposal, Query, Reader, Record, RoomState, memory,
};

use crate::oracle::{Oracle, check_resumption, proposal, sorted};
use crate::support::{Dir, SOON};

/// A history at work for several loops.
struct Authority {
    clients: Vec<Box<dyn History>>,
    events: Vec<Receiver<Event>>,
    tickets: Vec<u64>,
    finish: Box<dyn FnOnce()>,
}

impl Authority {
    fn on_disk(dir: &Dir, loops: usize) -> Self {
        let (clients, worker, _) = sqlite::open_for(&dir.data(), Options::default(), loops).unwrap();
        let (senders, events): (Vec<_>, Vec<_>) = (0..loops).map(|_| channel()).unzip();
        let running = worker.start(move |number, event| senders[number].send(event).is_ok()).unwrap();
        let clients = clients.into_iter().map(|client| Box::new(client) as Box<dyn History>).collect();
        let finish = Box::new(|| running.finish().unwrap());
        Self { clients, events, tickets: vec![0; loops], finish }
    }

    fn in_memory(loops: usize) -> Self {
        let (clients, worker) = memory::new("epoch", memory::Options::default(), loops);
        let (senders, events): (Vec<_>, Vec<_>) = (0..loops).map(|_| channel()).unzip();
        let running = worker.start(move |number, event| senders[number].send(event).is_ok()).unwrap();
        let clients = clients.into_iter().map(|client| Box::new(client) as Box<dyn History>).collect();
        let finish = Box::new(|| running.finish());
        Self { clients, events, tickets: vec![0; loops], finish }
    }

    fn event(&self, number: usize) -> Event {
        self.events[number].recv_timeout(SOON).expect("an event")
    }

    fn open(&mut self, number: usize, room: &str) -> RoomState {
        self.clients[number].query(Query::Open { room: room.into(), recent: 500, changes: 500 }).unwrap();
        match self.event(number) {
            Event::Opened { state, .. } => state.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// What comes of a batch, and what each loop is told of it.
    fn propose(
        &mut self,
        from: usize,
        proposals: Vec<Proposal>,
        is_told: bool,
    ) -> (Vec<Outcome>, Vec<Vec<Arc<Change>>>) {
        self.tickets[from] += 1;
        let ticket = self.tickets[from];
        self.clients[from].propose(Batch { ticket, term: 0, proposals, bans: Vec::new() }).unwrap();
        let mut outcomes = Vec::new();
        let mut told = Vec::new();
        for number in 0..self.clients.len() {
            if number != from && !is_told {
                told.push(Vec::new());
                continue;
            }
            match self.event(number) {
                Event::Settled { ticket: settled, outcomes: came, changes, bans } => {
                    assert!(bans.is_empty() && (number != from || settled == ticket));
                    assert!(number == from || came.is_empty(), "outcomes of another loop");
                    outcomes.extend(came);
                    told.push(changes);
                }
                other => panic!("{other:?}"),
            }
        }
        (outcomes, told)
    }

    fn end(self) {
        drop(self.clients);
        (self.finish)();
    }
}

/// What somebody has not read of each of their rooms is what a filter over all messages finds.
fn check_unread(authority: &mut Authority, oracle: &Oracle) {
    let reader = Reader { user: "ada".into(), names: ["ada".into()].into(), read: 0 };
    let query = Query::Mine { ask: 1, reader: reader.clone(), after: None, limit: 50 };
    authority.clients[0].query(query).unwrap();
    let Event::Mine { page: Ok(page), .. } = authority.event(0) else { panic!("no list") };
    let subscribed: Vec<Arc<str>> = oracle.subscriptions.of("ada").cloned().collect();
    assert_eq!(page.subscribed, subscribed);
    let mut names: Vec<Arc<str>> = page.rooms.iter().map(|room| room.place.other.clone()).collect();
    names.sort();
    let pair: Arc<str> = "@ada\nbob".into();
    let mut expected = subscribed;
    expected.extend(oracle.records.get(&pair).map(|_| pair.clone()));
    expected.sort();
    assert_eq!(names, expected);
    for room in &page.rooms {
        let name = &room.place.other;
        let records = oracle.records.get(name).map(Vec::as_slice).unwrap_or_default();
        let mark = oracle.marks.get(&(name.clone(), reader.user.clone())).copied().unwrap_or(0);
        let read = mark.min(records.len() as u64);
        let is_unread =
            |record: &&Record| record.post.seq > read && !record.is_deleted && !reader.wrote(&record.post);
        let unread = records.iter().filter(is_unread).count() as u64;
        assert_eq!((room.seq, room.unread), (records.len() as u64, unread), "{name}");
        assert_eq!(
            room.newest.as_ref().map(|newest| newest.post.seq),
            records.last().map(|last| last.post.seq)
        );
        authority.clients[0]
            .query(Query::Unread { ask: 2, room: name.clone(), readers: vec![reader.clone()] })
            .unwrap();
        let Event::Unread { counts: Ok((seq, counts)), .. } = authority.event(0) else { panic!("no counts") };
        let counted: Vec<u64> = counts.iter().map(|count| count.count).collect();
        let exists = !counted.is_empty();
        assert_eq!((seq, counted), (records.len() as u64, if exists { vec![unread] } else { Vec::new() }));
        assert!(exists || records.is_empty());
    }
}

/// Batches of proposals go from one loop or another through an authority and through the oracle.
fn check(mut authority: Authority, batches: &[(usize, Vec<Proposal>)]) {
    let loops = authority.clients.len();
    let mut oracle = Oracle { keys: Keys::new(u64::MAX >> 1, 1000), ..Oracle::default() };
    for number in 0..loops {
        authority.open(number, "general");
    }
    for (from, proposals) in batches {
        let done: Vec<_> = proposals.iter().cloned().map(|proposal| oracle.propose(proposal)).collect();
        let expected: Vec<Outcome> = done.iter().filter_map(|(outcome, _)| *outcome).collect();
        let changes: Vec<Change> = done.into_iter().filter_map(|(_, change)| change).collect();
        let (outcomes, told) = authority.propose(from % loops, proposals.clone(), !changes.is_empty());
        assert_eq!(outcomes, expected);
        for told in told {
            let told: Vec<Change> = told.iter().map(|change| (**change).clone()).collect();
            assert_eq!(told, changes, "every loop is told all that happened, in order");
        }
    }
    for room in ["general", "@ada\nbob"] {
        let state = authority.open(loops - 1, room);
        let records = oracle.records.get(room).cloned().unwrap_or_default();
        let actions = oracle.actions.get(room).cloned().unwrap_or_default();
        assert_eq!((state.seq, state.rev), (records.len() as u64, actions.len() as u64));
        assert_eq!(sorted(state.recent), sorted(records.clone()));
        assert_eq!(state.changes.len(), actions.len());
        let posted = oracle.posted.get(room).cloned().unwrap_or_default();
        check_resumption(&posted, &actions, &state.changes, &records);
    }
    check_unread(&mut authority, &oracle);
    authority.end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_authority_decides_as_the_oracle_does(
        batches in prop::collection::vec((0..3_usize, prop::collection::vec(proposal(), 1..12)), 1..24),
        loops in 1..4_usize,
    ) {
        let dir = Dir::in_memory("order");
        check(Authority::on_disk(&dir, loops), &batches);
        check(Authority::in_memory(loops), &batches);
    }
}
