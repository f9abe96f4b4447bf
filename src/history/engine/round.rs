//! What is asked of an engine at once. Pure: which proposals make a call, and what came of the batches they are from.
//!
//! A pipeline has at most one call of a room: the engine remembers the last call of a node for each room, with its answer, so
//! a pipeline that is sent again does nothing twice.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::history::{Act, BanChange, Batch, Data, Holder, Outcome, Proposal, Ticket};

/// Calls of a pipeline.
pub(super) const MAX_CALLS: usize = 256;
/// Octets of a pipeline, about.
pub(super) const MAX_PIPELINE_BYTES: usize = 4 << 20;
/// Posts and changes of a call.
pub(super) const MAX_ITEMS: usize = 256;
/// Octets of a call, about; one that is longer is a call of its own.
pub(super) const MAX_CALL_BYTES: usize = 256 * 1024;

/// Whose a proposal is, and which outcome of the batch is its.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    from: usize,
    ticket: Ticket,
    /// `None`: it has no outcome.
    at: Option<usize>,
}

/// One call of a function.
#[derive(Debug)]
pub(super) enum Call {
    /// Posts and changes of one room.
    Room { room: Arc<str>, items: Vec<(Place, Act)> },
    /// Somebody has read up to here.
    Mark { place: Place, room: Arc<str>, user: Arc<str>, seq: u64 },
    /// Somebody subscribes to a room, or does so no more.
    Subscribe { place: Place, room: Arc<str>, user: Arc<str>, is_on: bool, most: usize },
    /// Somebody is banned, or no more.
    Ban { place: Place, change: BanChange },
    /// A verified name is somebody's.
    Hold(Holder),
}

#[derive(Debug)]
enum Work {
    Proposal(Place, Proposal),
    Ban(Place, BanChange),
    Hold(Holder),
}

/// A batch of which not all is done.
#[derive(Debug)]
struct Open {
    ticket: Ticket,
    missing: usize,
    outcomes: Vec<Outcome>,
    cost: usize,
}

/// What of a loop is done: all batches up to a ticket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) from: usize,
    pub(super) ticket: Ticket,
    pub(super) outcomes: Vec<Outcome>,
    /// What the batches took in memory.
    pub(super) cost: usize,
}

/// What waits for the engine, in order.
#[derive(Debug)]
pub(super) struct Queue {
    work: VecDeque<Work>,
    loops: Vec<VecDeque<Open>>,
    /// The last ticket of each loop that is done, or came to nothing.
    last: Vec<Ticket>,
}

impl Queue {
    pub(super) fn new(loops: usize) -> Self {
        Self {
            work: VecDeque::new(),
            loops: (0..loops).map(|_| VecDeque::new()).collect(),
            last: vec![0; loops],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.work.is_empty() && self.loops.iter().all(VecDeque::is_empty)
    }

    /// Whether a batch waits.
    pub(super) fn has_batches(&self) -> bool {
        self.loops.iter().any(|open| !open.is_empty())
    }

    /// Adds what a loop has handed over. Notes are given to `note`.
    pub(super) fn add(&mut self, from: usize, batch: Batch, cost: usize, mut note: impl FnMut(&str)) {
        let Batch { ticket, proposals, bans, .. } = batch;
        let mut open = Open { ticket, missing: 0, outcomes: Vec::new(), cost };
        for proposal in proposals {
            let has_outcome = !matches!(proposal.act, Act::Read { .. } | Act::Note(_));
            let at = has_outcome.then_some(open.outcomes.len());
            if has_outcome {
                open.outcomes.push(Outcome::Unavailable);
            }
            match &proposal.act {
                Act::Note(body) => note(body),
                // An archive has numbers of its own.
                Act::Import(_) => {
                    if let Some(last) = open.outcomes.last_mut() {
                        *last = Outcome::NoImport;
                    }
                }
                _ => {
                    open.missing += 1;
                    self.work.push_back(Work::Proposal(Place { from, ticket, at }, proposal));
                }
            }
        }
        for change in bans {
            open.missing += 1;
            self.work.push_back(Work::Ban(Place { from, ticket, at: None }, change));
        }
        self.loops[from].push_back(open);
    }

    /// Adds a name.
    pub(super) fn hold(&mut self, holder: Holder) {
        self.work.push_back(Work::Hold(holder));
    }

    /// The calls of the next pipeline. What does not fit waits, behind nothing of the same room.
    pub(super) fn next_round(&mut self) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        let mut rooms: HashMap<Arc<str>, (usize, usize)> = HashMap::new();
        let mut full: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut later = VecDeque::new();
        let mut bytes = 0;
        while let Some(work) = self.work.pop_front() {
            if calls.len() >= MAX_CALLS || bytes >= MAX_PIPELINE_BYTES {
                later.push_back(work);
                break;
            }
            match work {
                Work::Hold(holder) => calls.push(Call::Hold(holder)),
                Work::Ban(place, change) => calls.push(Call::Ban { place, change }),
                Work::Proposal(place, Proposal { room, act, time }) => match act {
                    Act::Read { user, seq } => calls.push(Call::Mark { place, room, user, seq }),
                    Act::Subscribe { user, is_on, most } => {
                        calls.push(Call::Subscribe { place, room, user, is_on, most });
                    }
                    act if full.contains(&room) => {
                        later.push_back(Work::Proposal(place, Proposal { room, time, act }));
                    }
                    act => {
                        let len = len_of(&act);
                        let known = rooms.get_mut(&room);
                        if let Some((at, taken)) = known {
                            let Call::Room { items, .. } = &mut calls[*at] else { continue };
                            if items.len() >= MAX_ITEMS || *taken + len > MAX_CALL_BYTES {
                                full.insert(Arc::clone(&room));
                                later.push_back(Work::Proposal(place, Proposal { room, time, act }));
                                continue;
                            }
                            items.push((place, act));
                            *taken += len;
                        } else {
                            rooms.insert(Arc::clone(&room), (calls.len(), len));
                            calls.push(Call::Room { room, items: vec![(place, act)] });
                        }
                        bytes += len;
                    }
                },
            }
        }
        later.append(&mut self.work);
        self.work = later;
        calls
    }

    /// What came of something.
    pub(super) fn settle(&mut self, place: Place, outcome: Option<Outcome>) {
        let Some(open) = self.loops[place.from].iter_mut().find(|open| open.ticket == place.ticket) else {
            debug_assert!(false, "what is settled waits: {place:?}");
            return;
        };
        debug_assert!(open.missing > 0, "nothing is settled twice");
        open.missing -= 1;
        if let (Some(at), Some(outcome)) = (place.at, outcome) {
            open.outcomes[at] = outcome;
        }
    }

    /// The batches that are done, by loop and in order.
    pub(super) fn take_done(&mut self) -> Vec<Done> {
        let mut all = Vec::new();
        for (from, open) in self.loops.iter_mut().enumerate() {
            let mut done: Option<Done> = None;
            while let Some(Open { ticket, outcomes, cost, .. }) = open.pop_front_if(|open| open.missing == 0)
            {
                let done = done.get_or_insert(Done { from, ticket, outcomes: Vec::new(), cost: 0 });
                done.ticket = ticket;
                done.outcomes.extend(outcomes);
                done.cost += cost;
            }
            if let Some(done) = &done {
                self.last[from] = done.ticket;
            }
            all.extend(done);
        }
        all
    }

    /// Everything that waits comes to nothing. Returns the first ticket of each loop that does, and what all of it took in
    /// memory.
    pub(super) fn fail(&mut self) -> (Vec<Ticket>, usize) {
        // Names are kept: nobody is told what becomes of them.
        self.work.retain(|work| matches!(work, Work::Hold(_)));
        let cost = self.loops.iter().flatten().map(|open| open.cost).sum();
        let mut first = Vec::with_capacity(self.loops.len());
        for (open, last) in self.loops.iter_mut().zip(&mut self.last) {
            first.push(*last + 1);
            *last = open.back().map_or(*last, |open| open.ticket);
            open.clear();
        }
        (first, cost)
    }

    /// A batch of a loop came to nothing before it was added.
    pub(super) fn skip(&mut self, from: usize, ticket: Ticket) {
        self.last[from] = self.last[from].max(ticket);
    }
}

/// What an item takes in a call, about.
pub(super) fn len_of(act: &Act) -> usize {
    64 + match act {
        Act::Post(draft) => draft.text.len() + Data::len_of(draft.data.as_ref()),
        Act::Edit { text, data, .. } => text.len() + Data::len_of(data.as_ref()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Draft;

    fn post(room: &str, len: usize) -> Proposal {
        let act = Act::Post(Draft { text: "x".repeat(len).into(), ..Draft::default() });
        Proposal { room: room.into(), time: 1, act }
    }

    fn batch(ticket: Ticket, proposals: Vec<Proposal>) -> Batch {
        Batch { ticket, term: 0, proposals, bans: Vec::new() }
    }

    fn settle_all(queue: &mut Queue, calls: Vec<Call>) {
        for call in calls {
            match call {
                Call::Room { items, .. } => {
                    for (place, _) in items {
                        queue.settle(place, Some(Outcome::Gone));
                    }
                }
                Call::Mark { place, .. } | Call::Ban { place, .. } => queue.settle(place, None),
                Call::Subscribe { place, .. } => queue.settle(place, Some(Outcome::Subscribed)),
                Call::Hold(_) => {}
            }
        }
    }

    #[test]
    fn a_pipeline_has_one_call_of_a_room_with_all_of_it_that_fits_in_order() {
        let mut queue = Queue::new(2);
        let many = (0..MAX_ITEMS + 10).map(|len| post("a", len)).collect();
        queue.add(0, batch(1, many), 1, |_| {});
        queue.add(1, batch(1, vec![post("b", 1), post("a", 9999)]), 1, |_| {});
        queue.add(0, batch(2, vec![post("b", 2)]), 1, |_| {});
        let calls = queue.next_round();
        let lens = |call: &Call| match call {
            Call::Room { items, .. } => items.iter().map(|(_, act)| len_of(act) - 64).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        assert_eq!(calls.len(), 2);
        assert_eq!(lens(&calls[0]), (0..MAX_ITEMS).collect::<Vec<_>>());
        assert_eq!(lens(&calls[1]), [1, 2]);
        settle_all(&mut queue, calls);
        assert!(queue.take_done().is_empty(), "the second batch of loop 0 is done, but not the first one");
        let calls = queue.next_round();
        assert_eq!(lens(&calls[0]), (MAX_ITEMS..MAX_ITEMS + 10).chain([9999]).collect::<Vec<_>>());
        settle_all(&mut queue, calls);
        let done: Vec<_> =
            queue.take_done().iter().map(|it| (it.from, it.ticket, it.outcomes.len())).collect();
        assert_eq!(done, [(0, 2, MAX_ITEMS + 11), (1, 1, 2)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn calls_and_pipelines_are_bounded_and_what_is_longer_goes_alone() {
        let mut queue = Queue::new(1);
        let huge = vec![post("a", MAX_CALL_BYTES * 2), post("a", 1), post("a", 2)];
        queue.add(0, batch(1, huge), 1, |_| {});
        let rounds: Vec<usize> = (0..2)
            .map(|_| match &queue.next_round()[..] {
                [Call::Room { items, .. }] => items.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(rounds, [1, 2]);
        let rooms = (0..=MAX_CALLS).map(|room| post(&room.to_string(), 1)).collect();
        queue.add(0, batch(2, rooms), 1, |_| {});
        assert_eq!((queue.next_round().len(), queue.next_round().len()), (MAX_CALLS, 1));
        let wide = (0..64).map(|room| post(&room.to_string(), MAX_CALL_BYTES)).collect();
        queue.add(0, batch(3, wide), 1, |_| {});
        assert_eq!(queue.next_round().len(), MAX_PIPELINE_BYTES / MAX_CALL_BYTES);
    }

    #[test]
    fn a_failure_names_the_first_batch_of_each_loop_that_came_to_nothing() {
        let mut queue = Queue::new(3);
        queue.add(0, batch(1, vec![post("a", 1)]), 7, |_| {});
        let calls = queue.next_round();
        settle_all(&mut queue, calls);
        assert_eq!(queue.take_done().len(), 1);
        queue.add(0, batch(2, vec![post("a", 1)]), 7, |_| {});
        queue.add(0, batch(3, vec![post("a", 1)]), 7, |_| {});
        queue.add(1, batch(1, vec![post("a", 1)]), 7, |_| {});
        queue.next_round();
        assert_eq!(queue.fail(), (vec![2, 1, 1], 21));
        assert!(queue.is_empty());
        queue.skip(1, 2);
        assert_eq!(queue.fail(), (vec![4, 3, 1], 0));
    }

    #[test]
    fn what_has_no_outcome_has_none_and_an_archive_is_refused() {
        let mut queue = Queue::new(1);
        let act = |act| Proposal { room: "a".into(), time: 1, act };
        let proposals = vec![
            act(Act::Read { user: "u".into(), seq: 3 }),
            act(Act::Note("note".into())),
            act(Act::Import(Box::default())),
            act(Act::Subscribe { user: "u".into(), is_on: true, most: 3 }),
        ];
        let mut notes = Vec::new();
        queue.add(0, batch(1, proposals), 1, |note| notes.push(note.to_owned()));
        assert_eq!(notes, ["note"]);
        let calls = queue.next_round();
        settle_all(&mut queue, calls);
        let done = queue.take_done();
        assert_eq!(done[0].outcomes, [Outcome::NoImport, Outcome::Subscribed]);
    }
}
