//! Several engines side by side, each with rooms of its own. What is not about one room is on the engine of the first place:
//! bans, verified names, what servers tell each other.
//!
//! A batch of a loop is cut into a part for each engine, and is settled when all parts are. An engine that is away takes its
//! rooms along and nothing else: their posts are unavailable, and everything else goes on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Client;
use super::share::place_of;
use crate::history::{
    Act, Batch, EngineFigures, Event, History, HistoryError, Holder, MinePage, Outcome, Proposal, Query,
    Ticket,
};

/// What of all loops is under way at which engine.
#[derive(Debug)]
pub(super) struct Joiner(Vec<OfLoop>);

#[derive(Debug)]
struct OfLoop {
    /// Held while the loop is told something, so that it is told in order. The loop itself never waits for it.
    telling: Mutex<()>,
    merge: Mutex<Merge>,
}

/// What of a loop is under way at which engine.
#[derive(Debug)]
struct Merge {
    /// Of the batches that are taken.
    term: u32,
    wholes: VecDeque<Whole>,
    parts: Vec<Part>,
    /// Lists that not all engines have given their part of, by query.
    lists: HashMap<u64, List>,
}

/// A batch as the loop handed it over.
#[derive(Debug)]
struct Whole {
    ticket: Ticket,
    /// Parts that are not settled.
    missing: usize,
    outcomes: Vec<Outcome>,
}

/// What an engine has of a loop.
#[derive(Debug, Default)]
struct Part {
    term: u32,
    is_failed: bool,
    last_ticket: Ticket,
    handed: VecDeque<Handed>,
}

/// A part of a batch.
#[derive(Debug)]
struct Handed {
    ticket: Ticket,
    of: Ticket,
    /// Which outcomes of the whole are those of the part, in order.
    places: Vec<usize>,
    has_bans: bool,
}

/// A list that each engine has a part of.
#[derive(Debug)]
struct List {
    missing: usize,
    limit: usize,
    parts: Vec<Event>,
}

impl Joiner {
    pub(super) fn new(loops: usize, engines: usize) -> Self {
        let of_loop = |_| OfLoop { telling: Mutex::default(), merge: Mutex::new(Merge::new(engines)) };
        Self((0..loops).map(of_loop).collect())
    }

    fn merge(&self, number: usize) -> MutexGuard<'_, Merge> {
        self.0[number].merge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine of a place tells a loop something.
    pub(super) fn tell(
        &self,
        place: usize,
        number: usize,
        mut event: Event,
        notify: &impl Fn(usize, Event) -> bool,
    ) -> bool {
        let is_merged = match &mut event {
            Event::Settled { ticket, changes, .. } if *ticket > 0 => {
                // What happened has nothing to do with the batches of other engines.
                let (changes, outcomes, bans) = (std::mem::take(changes), Vec::new(), Vec::new());
                if !changes.is_empty()
                    && !notify(number, Event::Settled { ticket: 0, outcomes, changes, bans })
                {
                    return false;
                }
                true
            }
            Event::Failed { .. }
            | Event::Recovered { .. }
            | Event::Rooms { .. }
            | Event::Pairs { .. }
            | Event::Mine { .. } => true,
            _ => false,
        };
        if !is_merged {
            return notify(number, event);
        }
        let _telling = self.0[number].telling.lock().unwrap_or_else(PoisonError::into_inner);
        let events = self.merge(number).take(place, event);
        events.into_iter().all(|event| notify(number, event))
    }
}

impl Merge {
    fn new(engines: usize) -> Self {
        let parts = (0..engines).map(|_| Part::default()).collect();
        Self { term: 0, wholes: VecDeque::new(), parts, lists: HashMap::new() }
    }

    /// What the loop is told of what an engine tells.
    fn take(&mut self, place: usize, event: Event) -> Vec<Event> {
        match event {
            Event::Settled { ticket, outcomes, .. } => {
                let mut outcomes = outcomes.into_iter();
                while let Some(handed) = self.parts[place].handed.pop_front_if(|it| it.ticket <= ticket) {
                    self.settle(&handed, &mut outcomes);
                }
                self.done().into_iter().collect()
            }
            Event::Failed { term, ticket, reason } => self.fail(place, term, ticket, reason),
            Event::Recovered { .. } => {
                self.parts[place].is_failed = false;
                Vec::new()
            }
            Event::Rooms { ask, .. } | Event::Pairs { ask, .. } | Event::Mine { ask, .. } => {
                let Some(list) = self.lists.get_mut(&ask) else { return Vec::new() };
                list.parts.push(event);
                list.missing -= 1;
                let is_complete = list.missing == 0;
                let list = if is_complete { self.lists.remove(&ask) } else { None };
                list.map(List::merged).into_iter().collect()
            }
            other => vec![other],
        }
    }

    /// A part is done; nothing came of proposals without an outcome.
    fn settle(&mut self, handed: &Handed, outcomes: &mut impl Iterator<Item = Outcome>) {
        // A batch that was refused as a whole is not there any more.
        let mut whole = self.wholes.iter_mut().find(|whole| whole.ticket == handed.of);
        for (place, outcome) in handed.places.iter().zip(outcomes) {
            if let Some(whole) = &mut whole {
                whole.outcomes[*place] = outcome;
            }
        }
        if let Some(whole) = whole {
            debug_assert!(whole.missing > 0, "no part is settled twice");
            whole.missing -= 1;
        }
    }

    /// The batches that are done, in order.
    fn done(&mut self) -> Option<Event> {
        let (mut last, mut outcomes) = (None, Vec::new());
        while let Some(whole) = self.wholes.pop_front_if(|whole| whole.missing == 0) {
            last = Some(whole.ticket);
            outcomes.extend(whole.outcomes);
        }
        last.map(|ticket| Event::Settled { ticket, outcomes, changes: Vec::new(), bans: Vec::new() })
    }

    /// An engine is away.
    fn fail(&mut self, place: usize, term: u32, ticket: Ticket, reason: HistoryError) -> Vec<Event> {
        let part = &mut self.parts[place];
        (part.term, part.is_failed) = (term, true);
        let kept = part.handed.iter().take_while(|handed| handed.ticket < ticket).count();
        let lost = part.handed.split_off(kept);
        for handed in &lost {
            self.settle(handed, &mut std::iter::empty());
        }
        // A ban has no outcome: everything from there on is refused, as where the history is one.
        let Some(first) = lost.iter().filter(|handed| handed.has_bans).map(|handed| handed.of).min() else {
            return self.done().into_iter().collect();
        };
        self.wholes.retain(|whole| whole.ticket < first);
        self.term += 1;
        let failed = Event::Failed { term: self.term, ticket: first, reason };
        self.done().into_iter().chain([failed, Event::Recovered { landed: Vec::new() }]).collect()
    }
}

impl List {
    /// The whole list. Of rooms it is that of the engines that are there; what somebody has not read is nothing without all of
    /// them.
    fn merged(self) -> Event {
        let limit = self.limit;
        let (mut asked, mut rooms, mut pairs, mut mine) = (0, Vec::new(), Vec::new(), MinePage::default());
        let (mut kind, mut present, mut error) = (0, 0, None);
        for part in self.parts {
            let result = match part {
                Event::Rooms { ask, rooms: part } => {
                    (asked, kind) = (ask, 0);
                    part.map(|part| rooms.extend(part))
                }
                Event::Pairs { ask, pairs: part } => {
                    (asked, kind) = (ask, 1);
                    part.map(|part| pairs.extend(part))
                }
                Event::Mine { ask, page } => {
                    (asked, kind) = (ask, 2);
                    page.map(|page| {
                        mine.rooms.extend(page.rooms);
                        mine.subscribed.extend(page.subscribed);
                    })
                }
                _ => Ok(()),
            };
            match result {
                Ok(()) => present += 1,
                Err(why) => error = Some(why),
            }
        }
        let is_there = |all: bool| match error {
            Some(why) if all || present == 0 => Err(why),
            _ => Ok(()),
        };
        match kind {
            0 => {
                rooms.sort_by(|a: &crate::history::RoomHead, b| a.name.cmp(&b.name));
                rooms.truncate(limit);
                Event::Rooms { ask: asked, rooms: is_there(false).map(|()| rooms) }
            }
            1 => {
                pairs.sort_by(|a: &crate::history::Pair, b| a.place.order().cmp(&b.place.order()));
                pairs.truncate(limit);
                Event::Pairs { ask: asked, pairs: is_there(true).map(|()| pairs) }
            }
            _ => {
                mine.rooms.sort_by(|a, b| a.place.order().cmp(&b.place.order()));
                mine.rooms.truncate(limit);
                mine.subscribed.sort_unstable();
                Event::Mine { ask: asked, page: is_there(true).map(|()| mine) }
            }
        }
    }
}

/// A loop's end of all engines: hands over requests and never waits.
#[derive(Debug)]
pub(super) struct Clients {
    number: usize,
    joiner: Arc<Joiner>,
    /// By place.
    engines: Vec<Client>,
}

/// What of a batch is for one engine.
#[derive(Debug, Default)]
struct Cut {
    proposals: Vec<Proposal>,
    /// Where the proposals were in the batch.
    from: Vec<usize>,
    /// Which outcomes are theirs.
    places: Vec<usize>,
}

impl Clients {
    pub(super) fn new(number: usize, joiner: Arc<Joiner>, engines: Vec<Client>) -> Self {
        Self { number, joiner, engines }
    }

    fn of(&mut self, room: &str) -> &mut Client {
        let place = place_of(room, self.engines.len());
        &mut self.engines[place]
    }

    /// The parts of a batch by place, and how many outcomes all of it has.
    fn cut(&self, proposals: Vec<Proposal>) -> (Vec<Cut>, usize) {
        let count = self.engines.len();
        let mut cuts: Vec<Cut> = (0..count).map(|_| Cut::default()).collect();
        let mut outcomes = 0;
        for (from, proposal) in proposals.into_iter().enumerate() {
            let is_note = matches!(proposal.act, Act::Note(_));
            let cut = &mut cuts[if is_note { 0 } else { place_of(&proposal.room, count) }];
            if !is_note && !matches!(proposal.act, Act::Read { .. }) {
                cut.places.push(outcomes);
                outcomes += 1;
            }
            cut.from.push(from);
            cut.proposals.push(proposal);
        }
        (cuts, outcomes)
    }
}

/// The proposals of parts, in the order that they had.
fn joined(cuts: Vec<Cut>) -> Vec<Proposal> {
    let all = cuts.into_iter().flat_map(|cut| cut.from.into_iter().zip(cut.proposals));
    let mut all: Vec<(usize, Proposal)> = all.collect();
    all.sort_by_key(|(from, _)| *from);
    all.into_iter().map(|(_, proposal)| proposal).collect()
}

impl History for Clients {
    fn propose(&mut self, batch: Batch) -> Result<(), Batch> {
        let Batch { ticket, term, proposals, mut bans } = batch;
        let (mut cuts, outcomes) = self.cut(proposals);
        let mut merge = self.joiner.merge(self.number);
        // The loop has not heard yet that this one is refused.
        if term != merge.term {
            return Ok(());
        }
        let mut whole = Whole { ticket, missing: 0, outcomes: vec![Outcome::Unavailable; outcomes] };
        for place in 0..cuts.len() {
            let has_bans = place == 0 && !bans.is_empty();
            if cuts[place].proposals.is_empty() && !has_bans {
                continue;
            }
            let part = &mut merge.parts[place];
            let proposals = std::mem::take(&mut cuts[place].proposals);
            let own = Batch {
                ticket: part.last_ticket + 1,
                term: part.term,
                proposals,
                bans: if has_bans { std::mem::take(&mut bans) } else { Vec::new() },
            };
            match self.engines[place].propose(own) {
                Ok(()) => {
                    part.last_ticket += 1;
                    whole.missing += 1;
                    let places = std::mem::take(&mut cuts[place].places);
                    part.handed.push_back(Handed { ticket: part.last_ticket, of: ticket, places, has_bans });
                }
                // Nothing is handed over yet: all of it can wait.
                Err(refused) if whole.missing == 0 => {
                    cuts[place].proposals = refused.proposals;
                    if has_bans {
                        bans = refused.bans;
                    }
                    return Err(Batch { ticket, term, proposals: joined(cuts), bans });
                }
                // Nothing comes of this part.
                Err(_) => debug_assert!(!has_bans, "bans are handed over first"),
            }
        }
        debug_assert!(whole.missing > 0, "a batch is of something");
        merge.wholes.push_back(whole);
        Ok(())
    }

    fn hold(&mut self, holder: Holder) -> Result<(), Holder> {
        self.engines[0].hold(holder)
    }

    fn query(&mut self, query: Query) -> Result<(), Query> {
        let (ask, limit) = match &query {
            Query::Open { room, .. }
            | Query::Page { room, .. }
            | Query::Search { room, .. }
            | Query::Unread { room, .. }
            | Query::ReadPosition { room, .. } => {
                let room = Arc::clone(room);
                return self.of(&room).query(query);
            }
            Query::Rooms { ask, limit, .. }
            | Query::Pairs { ask, limit, .. }
            | Query::Mine { ask, limit, .. } => (*ask, *limit),
        };
        let mut merge = self.joiner.merge(self.number);
        let mut list = List { missing: 0, limit, parts: Vec::new() };
        for engine in &mut self.engines {
            match engine.query(query.clone()) {
                Ok(()) => list.missing += 1,
                Err(_) => list.parts.push(refused(&query)),
            }
        }
        if list.missing == 0 {
            return Err(query);
        }
        merge.lists.insert(ask, list);
        Ok(())
    }

    fn level(&self) -> &'static str {
        let levels = self.engines.iter().map(|engine| engine.shared.level());
        levels.min().unwrap_or(super::Level::Engine).as_str()
    }

    fn close(&mut self, room: &str) {
        self.of(room).close(room);
    }

    fn follow(&mut self, room: &Arc<str>) {
        self.of(room).follow(room);
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn has_others(&self) -> bool {
        self.engines[0].has_others()
    }

    fn is_away(&self, room: &str) -> bool {
        let place = if room.is_empty() { 0 } else { place_of(room, self.engines.len()) };
        self.joiner.merge(self.number).parts[place].is_failed
    }

    fn engine(&self) -> Option<EngineFigures> {
        self.engines.iter().filter_map(History::engine).reduce(EngineFigures::plus)
    }

    fn open_rooms(&self) -> Option<u64> {
        Some(self.engines.iter().filter_map(History::open_rooms).sum())
    }
}

/// The answer of an engine that cannot be asked.
fn refused(query: &Query) -> Event {
    let why = HistoryError::storage("too much waits for the engine");
    match query {
        Query::Pairs { ask, .. } => Event::Pairs { ask: *ask, pairs: Err(why) },
        Query::Mine { ask, .. } => Event::Mine { ask: *ask, page: Err(why) },
        Query::Rooms { ask, .. } => Event::Rooms { ask: *ask, rooms: Err(why) },
        _ => unreachable!("the others are asked of one engine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop with two engines, at which these parts of its batches are: the batch, the engine, its outcomes, whether it has bans.
    fn merge(parts: &[(Ticket, usize, &[usize], bool)]) -> Merge {
        let mut merge = Merge::new(2);
        for &(of, place, places, has_bans) in parts {
            let part = &mut merge.parts[place];
            part.last_ticket += 1;
            part.handed.push_back(Handed { ticket: part.last_ticket, of, places: places.into(), has_bans });
            if merge.wholes.back().is_none_or(|whole| whole.ticket != of) {
                merge.wholes.push_back(Whole { ticket: of, missing: 0, outcomes: Vec::new() });
            }
            let whole = merge.wholes.back_mut().unwrap();
            whole.missing += 1;
            whole.outcomes.extend(places.iter().map(|_| Outcome::Unavailable));
        }
        merge
    }

    fn settled(ticket: Ticket, seqs: &[u64]) -> Event {
        let outcomes = seqs.iter().map(|seq| Outcome::Posted { seq: *seq, time: 1 }).collect();
        Event::Settled { ticket, outcomes, changes: Vec::new(), bans: Vec::new() }
    }

    /// What a loop is told: up to which batch is settled, with the numbers of posts (0: nothing came of it).
    fn told(events: Vec<Event>) -> Vec<String> {
        let seq = |outcome: &Outcome| if let Outcome::Posted { seq, .. } = outcome { *seq } else { 0 };
        let event = |event: Event| match event {
            Event::Settled { ticket, outcomes, .. } => {
                format!("{ticket} {:?}", outcomes.iter().map(seq).collect::<Vec<_>>())
            }
            Event::Failed { term, ticket, .. } => format!("failed {ticket} term {term}"),
            Event::Recovered { .. } => "recovered".to_owned(),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(event).collect()
    }

    fn failed(ticket: Ticket) -> Event {
        Event::Failed { term: 1, ticket, reason: HistoryError::storage("away") }
    }

    #[test]
    fn batches_are_settled_in_order_when_all_their_parts_are_with_each_outcome_in_its_place() {
        let mut merge =
            merge(&[(1, 0, &[0, 2], false), (1, 1, &[1], false), (2, 1, &[0], false), (3, 0, &[0], false)]);
        assert_eq!(told(merge.take(1, settled(2, &[7, 8]))), [""; 0]);
        assert_eq!(told(merge.take(0, settled(1, &[1, 2]))), ["2 [1, 7, 2, 8]"]);
        assert_eq!(told(merge.take(0, settled(2, &[3]))), ["3 [3]"]);
    }

    #[test]
    fn what_an_engine_had_that_is_away_comes_to_nothing_and_the_rest_is_settled() {
        let mut merge =
            merge(&[(1, 0, &[0], false), (1, 1, &[1], false), (2, 1, &[0], false), (3, 0, &[0], false)]);
        assert_eq!(told(merge.take(1, failed(2))), [""; 0], "its first part may still be settled");
        assert!(merge.parts[1].is_failed && merge.parts[1].term == 1 && !merge.parts[0].is_failed);
        assert_eq!(told(merge.take(0, settled(2, &[4, 5]))), [""; 0]);
        assert_eq!(told(merge.take(1, settled(1, &[9]))), ["3 [4, 9, 0, 5]"]);
        assert_eq!(told(merge.take(1, Event::Recovered { landed: Vec::new() })), [""; 0]);
        assert!(!merge.parts[1].is_failed);
    }

    #[test]
    fn a_ban_that_is_lost_is_not_acknowledged_and_neither_is_what_came_after_it() {
        let mut merge =
            merge(&[(1, 1, &[0], false), (2, 0, &[], true), (2, 1, &[0], false), (3, 1, &[0], false)]);
        assert_eq!(told(merge.take(0, failed(1))), ["failed 2 term 1", "recovered"]);
        // What the other engine did meanwhile is told by its feed.
        assert_eq!(told(merge.take(1, settled(3, &[1, 2, 3]))), ["1 [1]"]);
        assert_eq!(merge.term, 1);
    }
}
