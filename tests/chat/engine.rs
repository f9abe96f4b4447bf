//! Servers that share an engine which loses, doubles and delays what it is asked and what it tells, and which goes back to an
//! earlier state, under a seeded schedule. What the servers do with it is what the real ones do: [`Place`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use switchboard::history::place::{Place, Since, Standing, Step, Word};
use switchboard::history::{Action, Batch, Change, Event, Fork, Outcome, Proposal, Query, RoomState};

use crate::cluster::Dice;
use crate::disk::{Asked, Disk, Done};
use crate::world::World;

/// Messages, and changes, that are read at once where some were missed.
const MISSED_AT_ONCE: usize = 3;

/// What goes wrong on purpose: each must be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// A call that is sent again is done again.
    Answers,
    /// What was missed is not read.
    Gaps,
    /// A history that went back keeps its name.
    Epochs,
    /// A name that a history had before is forgotten.
    Lineage,
    /// What is answered is told whatever was before it.
    Order,
}

/// What happened in a room, in one step.
#[derive(Debug, Clone)]
struct News {
    room: Arc<str>,
    epoch: Arc<str>,
    /// The newest message and the newest change before.
    prev: (u64, u64),
    actions: Vec<Action>,
}

/// What came of a call: of each proposal, and of each room.
type Answer = (Vec<Outcome>, Vec<News>);

/// Under which name a room goes on.
#[derive(Debug, Clone)]
struct Branch {
    run: u64,
    epoch: Arc<str>,
    lineage: Vec<Fork>,
}

/// What an engine keeps.
#[derive(Debug, Clone, Default)]
struct Kept {
    disk: Disk,
    branches: BTreeMap<Arc<str>, Branch>,
    /// The last call of each server, with its answer.
    answers: BTreeMap<usize, (u64, Answer)>,
}

#[derive(Debug)]
struct Engine {
    kept: Kept,
    /// What is kept where it goes back.
    saved: Kept,
    run: u64,
    fresh: u64,
    broken: Broken,
}

impl Engine {
    fn open(&mut self, room: &Arc<str>, recent: usize, changes: usize) -> RoomState {
        let branch = self.branch(room);
        let query = Query::Open { room: Arc::clone(room), recent, changes };
        let Event::Opened { state: Ok(state), .. } = self.kept.disk.answer(query) else {
            unreachable!("it opens")
        };
        RoomState { epoch: branch.epoch, lineage: branch.lineage, ..state }
    }

    fn branch(&mut self, room: &Arc<str>) -> Branch {
        if !self.kept.branches.contains_key(room) {
            let branch = Branch { run: self.run, epoch: self.fresh(), lineage: Vec::new() };
            self.kept.branches.insert(Arc::clone(room), branch);
        }
        self.kept.branches[room].clone()
    }

    fn fresh(&mut self) -> Arc<str> {
        self.fresh += 1;
        format!("e{}", self.fresh).into()
    }

    /// Numbers that another run gave may have been given again since.
    fn fence(&mut self, room: &Arc<str>) -> (u64, u64) {
        let RoomState { seq, rev, .. } = self.open(room, 0, 0);
        if self.kept.branches[room].run != self.run && self.broken != Broken::Epochs {
            let fresh = self.fresh();
            let (run, has_lineage) = (self.run, self.broken != Broken::Lineage);
            let branch = self.kept.branches.get_mut(room).unwrap();
            let epoch = std::mem::replace(&mut branch.epoch, fresh);
            branch.run = run;
            if has_lineage {
                branch.lineage.push(Fork { epoch, seq, rev });
            }
        }
        (seq, rev)
    }

    /// Does a call once. Returns its answer, and what it has to tell.
    fn propose(&mut self, from: usize, call: u64, proposals: &[Proposal]) -> (Answer, Vec<News>) {
        if let Some((last, answer)) = self.kept.answers.get(&from)
            && *last == call
            && self.broken != Broken::Answers
        {
            return (answer.clone(), Vec::new());
        }
        let mut before = BTreeMap::new();
        for proposal in proposals {
            if !before.contains_key(&proposal.room) {
                before.insert(Arc::clone(&proposal.room), self.fence(&proposal.room));
            }
        }
        // The keys of posts are not what is tried here.
        let proposals = proposals.to_vec();
        let batch = Batch { ticket: 0, term: 0, proposals, bans: Vec::new() };
        let Done { outcomes, changes, .. } = self.kept.disk.commit(batch);
        let mut news: Vec<News> = Vec::new();
        for (room, prev) in before {
            let actions: Vec<Action> =
                changes.iter().filter(|it| it.room == room).map(|it| it.action.clone()).collect();
            if !actions.is_empty() {
                let epoch = self.branch(&room).epoch;
                news.push(News { room, epoch, prev, actions });
            }
        }
        let answer = (outcomes, news.clone());
        self.kept.answers.insert(from, (call, answer.clone()));
        (answer, news)
    }

    /// What is new after a place.
    fn since(&mut self, room: &Arc<str>, known: &Place) -> Since {
        self.fence(room);
        let state = self.open(room, usize::MAX, usize::MAX);
        let mut base = (known.seq.min(state.seq), known.rev.min(state.rev));
        if *state.epoch != *known.epoch {
            let from = state.lineage.iter().position(|fork| fork.epoch == known.epoch);
            let forks = from.map(|at| &state.lineage[at..]);
            let least = |(seq, rev): (u64, u64), fork: &Fork| (seq.min(fork.seq), rev.min(fork.rev));
            base = forks.map_or((0, 0), |forks| forks.iter().fold(base, least));
        }
        let messages = state.recent.into_iter().skip(base.0 as usize).take(MISSED_AT_ONCE).collect();
        let changes = state.changes.into_iter().skip(base.1 as usize).take(MISSED_AT_ONCE).collect();
        let end = (state.seq, state.rev);
        Since { epoch: state.epoch, base, end, messages: Some(messages), changes: Some(changes) }
    }
}

/// A room that is to be read, and from which of its recent messages and changes on; all of it without.
type Wanted = (Arc<str>, Option<(usize, usize)>);

/// One server: its chat, and the threads between it and the engine.
struct Node {
    world: World,
    calls: VecDeque<(u64, u64, Vec<Proposal>)>,
    last_call: u64,
    /// Rooms that are followed, and up to where each was told.
    places: BTreeMap<Arc<str>, Option<Standing>>,
    wanted: VecDeque<Wanted>,
    news: VecDeque<News>,
    /// The connection that tells was made again.
    is_new: bool,
    /// What the thread that commits was answered, by ticket.
    answers: VecDeque<(u64, Answer)>,
    /// What the two have told the loop.
    told: VecDeque<Event>,
}

impl Node {
    fn take(&mut self, engine: &mut Engine) {
        for request in self.world.requests() {
            match request {
                Asked::Commit(batch) => {
                    self.last_call += 1;
                    self.calls.push_back((self.last_call, batch.ticket, batch.proposals));
                }
                Asked::Hold(holder) => engine.kept.disk.hold(holder),
                Asked::Query(Query::Open { room, recent, changes }) => {
                    self.places.entry(Arc::clone(&room)).or_default();
                    self.wanted.push_back((room, Some((recent, changes))));
                }
                Asked::Query(query) => self.told.push_back(engine.kept.disk.answer(query)),
                Asked::Follow(room) => {
                    self.places.entry(Arc::clone(&room)).or_default();
                    self.wanted.push_back((room, None));
                }
                Asked::Close(room) => {
                    self.places.remove(&room);
                    self.wanted.retain(|(wanted, _)| *wanted != room);
                }
            }
        }
    }

    fn feed(&mut self, engine: &mut Engine, dice: &mut Dice, is_faulty: bool) {
        if std::mem::take(&mut self.is_new) {
            let rooms: Vec<Arc<str>> = self.places.keys().cloned().collect();
            for room in rooms {
                self.read(engine, &room);
            }
        } else if let Some((room, asked)) = self.wanted.pop_front() {
            let (recent, changes) = asked.unwrap_or_default();
            let state = engine.open(&room, recent, changes);
            match self.places.get_mut(&room) {
                Some(standing @ None) => {
                    let place = Place { epoch: Arc::clone(&state.epoch), seq: state.seq, rev: state.rev };
                    *standing = Some(Standing::at(place));
                }
                Some(Some(standing)) if standing.place().epoch != state.epoch => self.read(engine, &room),
                _ => {}
            }
            if asked.is_some() {
                self.told.push_back(Event::Opened { room, state: Ok(state) });
            }
        } else if let Some(news) = self.news.pop_front() {
            match if is_faulty { dice.below(6) } else { 3 } {
                0 => return,
                1 => self.news.push_front(news.clone()),
                2 => {
                    let at = self.news.len().min(1);
                    self.news.insert(at, news);
                    return;
                }
                _ => {}
            }
            self.hear(engine, news);
        }
    }

    fn hear(&mut self, engine: &mut Engine, news: News) {
        let Some(Some(standing)) = self.places.get_mut(&news.room) else { return };
        match standing.heard(&news.epoch, news.prev) {
            Step::Tell => {
                standing.advance(&news.actions);
                let changes = changes(&news.room, news.actions);
                self.tell(0, Vec::new(), changes);
            }
            Step::Twin => {}
            Step::Read => self.read(engine, &news.room),
        }
    }

    /// The thread that commits goes through an answer.
    fn settle(&mut self, broken: Broken) {
        let Some((ticket, (outcomes, news))) = self.answers.pop_front() else { return };
        let mut happened = Vec::new();
        for News { room, epoch, prev, actions } in news {
            let Some(Some(standing)) = self.places.get_mut(&room) else { continue };
            if broken == Broken::Order {
                standing.advance(&actions);
                happened.extend(changes(&room, actions));
            } else if standing.answered(&epoch, prev, &actions) {
                happened.extend(changes(&room, actions));
            }
        }
        self.tell(ticket, outcomes, happened);
    }

    fn read(&mut self, engine: &mut Engine, room: &Arc<str>) {
        if engine.broken == Broken::Gaps {
            return;
        }
        while let Some(Some(standing)) = self.places.get(room) {
            let known = standing.place().clone();
            let (words, reached, is_done) = known.reach(engine.since(room, &known));
            for word in words {
                let room = Arc::clone(room);
                match word {
                    Word::Fork(fork) => self.told.push_back(Event::Epoch { room, fork }),
                    Word::Behind => self.told.push_back(Event::Behind { room }),
                    Word::Happened(actions) => self.tell(0, Vec::new(), changes(&room, actions)),
                }
            }
            if let Some(Some(standing)) = self.places.get_mut(room) {
                standing.reach(reached);
            }
            if is_done {
                return;
            }
        }
    }

    fn tell(&mut self, ticket: u64, outcomes: Vec<Outcome>, changes: Vec<Arc<Change>>) {
        self.told.push_back(Event::Settled { ticket, outcomes, changes, bans: Vec::new() });
    }
}

fn changes(room: &Arc<str>, actions: Vec<Action>) -> Vec<Arc<Change>> {
    actions.into_iter().map(|action| Arc::new(Change { room: Arc::clone(room), action })).collect()
}

/// All of it.
pub(crate) struct Servers {
    engine: Engine,
    nodes: Vec<Node>,
    is_faulty: bool,
}

impl Servers {
    pub(crate) fn new(count: usize, broken: Broken) -> Self {
        let node = |_| Node {
            world: World::on_engine(),
            calls: VecDeque::new(),
            last_call: 0,
            places: BTreeMap::new(),
            wanted: VecDeque::new(),
            news: VecDeque::new(),
            is_new: false,
            answers: VecDeque::new(),
            told: VecDeque::new(),
        };
        let kept = Kept { disk: Disk::new(), ..Kept::default() };
        let engine = Engine { saved: kept.clone(), kept, run: 1, fresh: 0, broken };
        Self { engine, nodes: (0..count).map(node).collect(), is_faulty: true }
    }

    pub(crate) fn world(&mut self, number: usize) -> &mut World {
        &mut self.nodes[number].world
    }

    pub(crate) fn texts(&self, room: &str) -> Vec<String> {
        self.engine.kept.disk.texts(room)
    }

    /// The engine's disk has all of it.
    pub(crate) fn save(&mut self) {
        self.engine.saved = self.engine.kept.clone();
    }

    /// The engine begins again, with all that it knows or with what it saved.
    pub(crate) fn restart(&mut self, goes_back: bool) {
        if goes_back {
            self.engine.kept = self.engine.saved.clone();
        }
        self.engine.run += 1;
        for node in &mut self.nodes {
            node.news.clear();
            node.is_new = true;
        }
    }

    fn commit(&mut self, number: usize, dice: &mut Dice) {
        let fate = if self.is_faulty { dice.below(5) } else { 2 };
        let Some((call, ticket, proposals)) = self.nodes[number].calls.front().cloned() else { return };
        if fate == 0 {
            // The call is lost, and will be sent again.
            return;
        }
        let (answer, news) = self.engine.propose(number, call, &proposals);
        for news in news {
            for node in self.nodes.iter_mut().filter(|node| node.places.contains_key(&news.room)) {
                node.news.push_back(news.clone());
            }
        }
        if fate == 1 {
            // The answer is lost.
            return;
        }
        let node = &mut self.nodes[number];
        node.calls.pop_front();
        node.answers.push_back((ticket, answer));
    }

    /// One step of the schedule: something that waits goes on somewhere.
    pub(crate) fn step(&mut self, dice: &mut Dice) {
        let number = dice.below(self.nodes.len());
        let what = dice.below(6);
        let node = &mut self.nodes[number];
        match what {
            0 => node.take(&mut self.engine),
            1 => self.commit(number, dice),
            2 => node.feed(&mut self.engine, dice, self.is_faulty),
            3 => node.settle(self.engine.broken),
            4 => {
                if let Some(event) = node.told.pop_front() {
                    node.world.tell(event);
                }
            }
            _ => node.world.tick(),
        }
        for node in &mut self.nodes {
            node.world.pass(1);
        }
    }

    /// Goes on, without further faults, until nothing is on its way any more.
    pub(crate) fn settle(&mut self, dice: &mut Dice) {
        self.is_faulty = false;
        for node in &mut self.nodes {
            // What was lost is noticed when the connection is made again.
            node.is_new = true;
        }
        for _ in 0..300 {
            self.step(dice);
        }
        for _ in 0..20 {
            for number in 0..self.nodes.len() {
                self.go_on(number, dice);
            }
        }
        self.is_faulty = true;
    }

    /// One server does what it has to do, without faults.
    pub(crate) fn go_on(&mut self, number: usize, dice: &mut Dice) {
        self.is_faulty = false;
        let node = &mut self.nodes[number];
        node.take(&mut self.engine);
        while !self.nodes[number].calls.is_empty() {
            self.commit(number, dice);
        }
        let node = &mut self.nodes[number];
        while node.is_new || !node.wanted.is_empty() || !node.news.is_empty() {
            node.feed(&mut self.engine, dice, false);
        }
        while !node.answers.is_empty() {
            node.settle(self.engine.broken);
        }
        while let Some(event) = node.told.pop_front() {
            node.world.tell(event);
        }
        node.world.advance(10);
        self.is_faulty = true;
    }
}
