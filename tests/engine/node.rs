//! The threads of a node without its loops: a test is the loops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use switchboard::history::engine::{self, AllRunning, Counts, Options, Target};
use switchboard::history::{
    Act, Action, Batch, Change, Draft, DraftKey, Event, Fork, History, Outcome, Proposal, Query, RoomState,
};

use crate::redis_server::SOON;

/// A node at work.
pub(crate) struct Node {
    pub(crate) clients: Vec<Box<dyn History + Send>>,
    events: Vec<Receiver<Event>>,
    tickets: Vec<u64>,
    terms: Vec<u32>,
    running: Option<AllRunning>,
    pub(crate) counts: Arc<Counts>,
    /// What each loop was told, by room.
    pub(crate) told: Vec<BTreeMap<Arc<str>, Vec<Change>>>,
    pub(crate) forks: Vec<(Arc<str>, Fork)>,
    pub(crate) is_failed: Vec<bool>,
    /// Batches that came to nothing.
    pub(crate) refused: Vec<u64>,
}

/// A timeout that a test need not wait long for.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(500);

impl Node {
    #[expect(clippy::needless_pass_by_value, reason = "tests make them in place")]
    pub(crate) fn start(url: &str, options: Options, loops: usize) -> Self {
        Self::among(&[url], &options, loops)
    }

    /// On several engines.
    pub(crate) fn among(urls: &[&str], options: &Options, loops: usize) -> Self {
        let targets = urls.iter().map(|url| Target::new(url, TIMEOUT).unwrap()).collect();
        let (clients, worker, _) = engine::open_all(targets, options, loops).unwrap();
        let (senders, events): (Vec<_>, Vec<_>) = (0..loops).map(|_| channel()).unzip();
        let counts = worker.counts().remove(0);
        let running = worker.start(move |number, event| senders[number].send(event).is_ok()).unwrap();
        Self {
            clients,
            events,
            tickets: vec![0; loops],
            terms: vec![0; loops],
            running: Some(running),
            counts,
            told: vec![BTreeMap::new(); loops],
            forks: Vec::new(),
            is_failed: vec![false; loops],
            refused: Vec::new(),
        }
    }

    /// The next event of a loop that is about what it asked; notes the others.
    fn event(&mut self, number: usize, limit: Duration) -> Option<Event> {
        loop {
            let event = match self.events[number].recv_timeout(limit) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("the node has ended"),
            };
            if let Event::Settled { changes, .. } = &event {
                for change in changes {
                    let told = self.told[number].entry(Arc::clone(&change.room)).or_default();
                    told.push((**change).clone());
                }
            }
            match event {
                Event::Settled { ticket: 0, .. } => {}
                Event::Epoch { room, fork } => self.forks.push((room, fork)),
                Event::Failed { term, ticket, .. } => {
                    self.is_failed[number] = true;
                    self.terms[number] = term;
                    return Some(Event::Failed {
                        term,
                        ticket,
                        reason: switchboard::history::HistoryError::Uncertain,
                    });
                }
                Event::Recovered { .. } => self.is_failed[number] = false,
                other => return Some(other),
            }
        }
    }

    /// Looks at what is told meanwhile.
    pub(crate) fn look(&mut self, number: usize) {
        while let Some(event) = self.event(number, Duration::from_millis(20)) {
            assert!(matches!(event, Event::Failed { .. }), "{event:?}");
        }
    }

    pub(crate) fn query(&mut self, number: usize, query: Query) -> Event {
        self.clients[number].query(query).unwrap();
        self.event(number, SOON).expect("an answer")
    }

    pub(crate) fn open(&mut self, number: usize, room: &str) -> RoomState {
        self.try_open(number, room).expect("the room opens")
    }

    pub(crate) fn try_open(&mut self, number: usize, room: &str) -> Option<RoomState> {
        match self.query(number, Query::Open { room: room.into(), recent: 1000, changes: 1000 }) {
            Event::Opened { state, .. } => state.ok(),
            other => panic!("{other:?}"),
        }
    }

    /// Opens a room of which a loop was told that more has happened than it is told.
    pub(crate) fn open_when_behind(&mut self, room: &str) -> u64 {
        match self.event(0, SOON) {
            Some(Event::Behind { room: behind }) if *behind == *room => {}
            other => panic!("{other:?}"),
        }
        self.open(0, room).seq
    }

    /// Whether the last batch of a loop is settled.
    pub(crate) fn is_settled(&mut self, number: usize) -> bool {
        let last = self.tickets[number];
        match self.event(number, Duration::from_millis(50)) {
            Some(Event::Settled { ticket, .. }) => ticket == last,
            Some(Event::Failed { .. }) => panic!("it has failed"),
            _ => false,
        }
    }

    /// Hands over a batch.
    pub(crate) fn hand_over(&mut self, number: usize, proposals: Vec<Proposal>) -> u64 {
        self.tickets[number] += 1;
        let (ticket, term) = (self.tickets[number], self.terms[number]);
        self.clients[number].propose(Batch { ticket, term, proposals, bans: Vec::new() }).unwrap();
        ticket
    }

    /// What comes of a batch; nothing where it is refused.
    pub(crate) fn propose(&mut self, number: usize, proposals: Vec<Proposal>) -> Option<Vec<Outcome>> {
        let ticket = self.hand_over(number, proposals);
        match self.event(number, SOON).expect("an answer") {
            Event::Settled { ticket: settled, outcomes, .. } if settled == ticket => Some(outcomes),
            Event::Failed { ticket: first, .. } if first <= ticket => {
                self.refused.push(ticket);
                None
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn post(
        &mut self,
        number: usize,
        room: &str,
        text: &str,
        key: Option<&str>,
    ) -> Option<Outcome> {
        self.propose(number, vec![post(room, text, key)]).map(|outcomes| outcomes[0])
    }

    /// Waits until a loop was told so many changes of a room.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, number: usize, room: &str, count: usize) -> Vec<Change> {
        let deadline = std::time::Instant::now() + SOON;
        loop {
            let told = self.told[number].get(room).map_or(0, Vec::len);
            if told >= count {
                return self.told[number][room].clone();
            }
            assert!(std::time::Instant::now() < deadline, "told {told} of {count}");
            if let Some(event) = self.event(number, Duration::from_millis(100)) {
                assert!(matches!(event, Event::Failed { .. }), "{event:?}");
            }
        }
    }

    pub(crate) fn end(mut self) {
        if let Some(running) = self.running.take() {
            running.finish();
        }
    }
}

pub(crate) fn post(room: &str, text: &str, key: Option<&str>) -> Proposal {
    let key = key.map(|key| DraftKey { person: "ada".into(), key: key.into() });
    let (user, client) = ("Ada".into(), "c1".into());
    let act = Act::Post(Draft { user, client, text: text.into(), key, ..Draft::default() });
    Proposal { room: room.into(), time: 1, act }
}

/// The texts of messages, each with its number.
pub(crate) fn texts(changes: &[Change]) -> Vec<(u64, String)> {
    let post = |change: &Change| match &change.action {
        Action::Post(post) => Some((post.seq, post.text.to_string())),
        _ => None,
    };
    changes.iter().filter_map(post).collect()
}
