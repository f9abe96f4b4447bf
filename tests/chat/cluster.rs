//! Several loops that are one chat, under a seeded schedule: mail between them arrives whenever the dice say so, in the order of
//! each sender.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use switchboard::app::{Deliver, Mailbox, Peers, Undelivered};
use switchboard::chat::{Exchange, Mail, Options};
use switchboard::history::{Change, Event, Query};

use crate::disk::{Asked, Disk, Done};
use crate::world::World;

/// Something that looks random and is the same in every run (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

/// What goes wrong on purpose: each must be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// One change is not told to one loop.
    Skipped,
    /// One change is told to one loop again, under the next number.
    Twin,
    /// Two changes reach one loop in the wrong order.
    Reordered,
    /// Nobody is told who left a room on another loop.
    NoPresence,
}

/// A mailbox with few places; a copy is the same one.
#[derive(Default, Clone)]
struct Letters(Arc<Mutex<VecDeque<Mail>>>);

impl Letters {
    fn next(&self) -> Option<Mail> {
        self.0.lock().unwrap().pop_front()
    }
}

const PLACES: usize = 4;

impl Deliver<Mail> for Letters {
    fn try_send(&self, mail: Mail) -> Result<(), Undelivered<Mail>> {
        let mut mails = self.0.lock().unwrap();
        if mails.len() >= PLACES {
            return Err(Undelivered::Full(mail));
        }
        mails.push_back(mail);
        Ok(())
    }

    fn send_blocking(&self, mail: Mail) -> Result<(), Mail> {
        self.0.lock().unwrap().push_back(mail);
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

pub(crate) struct Cluster {
    pub(crate) loops: Vec<World>,
    boxes: Vec<Letters>,
    /// What the history tells each loop, on its way.
    events: Vec<VecDeque<Event>>,
    pub(crate) disk: Disk,
    open: BTreeMap<Arc<str>, BTreeSet<usize>>,
    tickets: Vec<u64>,
    fault: Fault,
    /// The fault comes when so many changes were told.
    until_fault: usize,
    held_back: Option<(usize, Arc<Change>)>,
}

impl Cluster {
    pub(crate) fn new(loops: usize, options: &Options) -> Self {
        Self::with_fault(loops, options, Fault::Nothing)
    }

    pub(crate) fn with_fault(loops: usize, options: &Options, fault: Fault) -> Self {
        let boxes: Vec<Letters> = (0..loops).map(|_| Letters::default()).collect();
        let peers = Peers::new(boxes.iter().map(|it| Mailbox::new(it.clone())));
        let exchange = Exchange::new(&[]);
        let disk = Disk::new();
        let beside = |own| World::beside((own, exchange.clone(), peers.clone()), options.clone());
        Self {
            loops: (0..loops).map(beside).collect(),
            boxes,
            events: (0..loops).map(|_| VecDeque::new()).collect(),
            disk,
            open: BTreeMap::new(),
            tickets: vec![0; loops],
            fault,
            until_fault: 12,
            held_back: None,
        }
    }

    /// Takes what the loops asked for: proposals are committed and questions are answered, for what is told on its way.
    pub(crate) fn authority(&mut self) {
        for number in 0..self.loops.len() {
            for request in self.loops[number].requests() {
                match request {
                    Asked::Commit(batch) => {
                        self.tickets[number] = batch.ticket;
                        let done = self.disk.commit(batch);
                        self.tell(number, done);
                    }
                    Asked::Hold(holder) => self.disk.hold(holder),
                    Asked::Query(query) => {
                        if let Query::Open { room, .. } = &query {
                            self.open.entry(room.clone()).or_default().insert(number);
                        }
                        let event = self.disk.answer(query);
                        self.events[number].push_back(event);
                    }
                    Asked::Follow(room) => {
                        self.open.entry(room).or_default().insert(number);
                    }
                    Asked::Close(room) => {
                        if let Some(loops) = self.open.get_mut(&room) {
                            loops.remove(&number);
                        }
                    }
                }
            }
        }
    }

    fn tell(&mut self, from: usize, done: Done) {
        let Done { outcomes, changes, bans } = done;
        let mut outcomes = Some(outcomes);
        for number in 0..self.loops.len() {
            let is_told = |change: &&Arc<Change>| {
                change.room.starts_with('@')
                    || self.open.get(&change.room).is_some_and(|loops| loops.contains(&number))
            };
            let told: Vec<Arc<Change>> = changes.iter().filter(is_told).cloned().collect();
            let changes = if number == from { told } else { self.spoil(number, told) };
            let outcomes = if number == from { outcomes.take().unwrap_or_default() } else { Vec::new() };
            if number == from || !changes.is_empty() || !bans.is_empty() {
                let (ticket, bans) = (self.tickets[number], bans.clone());
                self.events[number].push_back(Event::Settled { ticket, outcomes, changes, bans });
            }
        }
    }

    /// What a loop is told where something goes wrong.
    fn spoil(&mut self, number: usize, mut changes: Vec<Arc<Change>>) -> Vec<Arc<Change>> {
        if changes.is_empty() || self.fault == Fault::Nothing {
            return changes;
        }
        if self.until_fault > 0 {
            self.until_fault -= 1;
            return changes;
        }
        match self.fault {
            Fault::Skipped => {
                self.until_fault = usize::MAX;
                changes.remove(0);
            }
            Fault::Twin => {
                self.until_fault = usize::MAX;
                let mut twin = (*changes[0]).clone();
                if let switchboard::history::Action::Post(post) = &mut twin.action {
                    post.seq += 1;
                }
                changes.insert(1, Arc::new(twin));
            }
            Fault::Reordered => match self.held_back.take() {
                None => self.held_back = Some((number, changes.remove(0))),
                Some((other, change)) if other == number => {
                    self.until_fault = usize::MAX;
                    changes.push(change);
                }
                held_back => self.held_back = held_back,
            },
            Fault::Nothing | Fault::NoPresence => {}
        }
        changes
    }

    /// One step of the schedule: something that waits goes on somewhere.
    pub(crate) fn step(&mut self, dice: &mut Dice) {
        let number = dice.below(self.loops.len());
        match dice.below(4) {
            0 => self.authority(),
            1 => {
                if let Some(event) = self.events[number].pop_front() {
                    self.loops[number].tell(event);
                }
            }
            2 => {
                let mail = self.boxes[number].next();
                if let Some(mail) = mail
                    && !(self.fault == Fault::NoPresence && format!("{mail:?}").contains("Presence"))
                {
                    self.loops[number].receive(mail);
                }
            }
            _ => self.loops[number].tick(),
        }
        // The clock is one.
        for world in &mut self.loops {
            world.pass(1);
        }
    }

    /// Goes on until nothing is on its way any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200 {
            self.round();
        }
    }

    /// Every loop is told what is on its way to it.
    pub(crate) fn round(&mut self) {
        self.authority();
        for number in 0..self.loops.len() {
            while let Some(event) = self.events[number].pop_front() {
                self.loops[number].tell(event);
            }
            while let Some(mail) = self.boxes[number].next() {
                if !(self.fault == Fault::NoPresence && format!("{mail:?}").contains("Presence")) {
                    self.loops[number].receive(mail);
                }
            }
            self.loops[number].advance(10);
        }
    }
}
