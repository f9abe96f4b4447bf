//! The scenario `storm`: everyone loses the connection at once, and comes back.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use switchboard::proto::{Connection, Message};

use super::chat::{Dialect, House, News, Person};
use crate::clock::Nanos;
use crate::fleet::{End, Order, Scenario, Step, Turn};
use crate::plan::Plan;
use crate::record::Record;

/// What is said where there is nothing to resume.
const NO_RESUME: &str =
    "the server does not speak chat.v1.json: reconnection was checked, and there is no history to resume";

const ECHO: &str = "the server sends back what it is sent: reconnection was checked, and an echo server has no history to resume";

/// What the threads know in common: when each storm began, and how many are back from it.
#[derive(Debug)]
pub(crate) struct Weather {
    rounds: Vec<Round>,
    pause: Nanos,
    connections: u32,
    /// Who will not come back any more.
    gone: AtomicU32,
}

#[derive(Debug, Default)]
struct Round {
    /// 0 until it is known.
    begins_at: AtomicU64,
    back: AtomicU32,
}

impl Weather {
    pub(crate) fn new(plan: &Plan, rounds: u32, pause: Nanos) -> Arc<Self> {
        Arc::new(Self {
            rounds: (0..rounds).map(|_| Round::default()).collect(),
            pause,
            connections: plan.connections,
            gone: AtomicU32::new(0),
        })
    }

    /// Everyone who is left is back from the storm.
    fn is_over(&self, round: usize) -> bool {
        let back = self.rounds[round].back.load(Ordering::Acquire);
        back + self.gone.load(Ordering::Acquire) >= self.connections
    }

    /// When a storm begins: a pause after the first thread asked.
    fn begins_at(&self, round: usize, now: Nanos) -> Nanos {
        let at = now + self.pause;
        let begins_at = &self.rounds[round].begins_at;
        begins_at.compare_exchange(0, at, Ordering::AcqRel, Ordering::Acquire).err().unwrap_or(at)
    }
}

/// A person, or a connection without one.
#[derive(Debug)]
pub(crate) struct Lane {
    person: Option<Person>,
    number: u32,
    is_unready: bool,
    /// They are back, and everything they had to check is checked.
    is_back: bool,
}

/// All lanes of a thread together.
#[derive(Debug)]
pub(crate) struct Storm {
    weather: Arc<Weather>,
    house: House,
    /// The storm that comes next, or rages.
    round: usize,
    begun: bool,
    rages: bool,
    rages_since: Nanos,
    unready: u32,
    unanswered: u64,
    is_cut_off: bool,
}

impl Storm {
    pub(crate) fn new(plan: &Plan, rooms: u32, weather: Arc<Weather>) -> Self {
        let size = super::chat::SHORTEST_TEXT;
        let sizes = crate::cli::values::Sizes { min: size, max: size };
        Self {
            weather,
            house: House::new(plan.seed, rooms, sizes),
            round: 0,
            begun: false,
            rages: false,
            rages_since: 0,
            unready: 0,
            unanswered: 0,
            is_cut_off: false,
        }
    }

    /// The lane has come through: the storm is over for it.
    fn back(&mut self, lane: &mut Lane, now: Nanos, record: &mut Record) {
        if std::mem::replace(&mut lane.is_back, true) || !self.rages {
            return;
        }
        self.weather.rounds[self.round].back.fetch_add(1, Ordering::AcqRel);
        let lasted = now.saturating_sub(self.rages_since);
        match record.storms.get_mut(self.round) {
            Some(longest) => *longest = lasted.max(*longest),
            None => record.storms.push(lasted),
        }
    }

    fn ready(&mut self, lane: &mut Lane) {
        self.unready -= u32::from(std::mem::take(&mut lane.is_unready));
    }
}

impl Scenario for Storm {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        Lane { person: None, number, is_unready: false, is_back: false }
    }

    fn begin(&mut self, _start: Nanos, _window: &Range<Nanos>) -> Option<f64> {
        self.begun = true;
        // Everyone at once.
        Some(f64::INFINITY)
    }

    fn opened(
        &mut self,
        lane: &mut Lane,
        subprotocol: Option<&str>,
        now: Nanos,
        record: &mut Record,
    ) -> Result<(), String> {
        let Some(Dialect::V1) = Dialect::of(subprotocol) else {
            record.note(NO_RESUME);
            self.back(lane, now, record);
            return Ok(());
        };
        lane.person.get_or_insert_with(|| Person::new(lane.number)).opened(Dialect::V1);
        lane.is_unready = !self.begun;
        self.unready += u32::from(lane.is_unready);
        Ok(())
    }

    fn unready(&self) -> u32 {
        self.unready
    }

    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        let Some(person) = &mut lane.person else { return };
        match person.receive(&mut self.house, message, now, record) {
            News::Nothing => {}
            News::Arrived => self.ready(lane),
            News::Echoed => {
                record.note(ECHO);
                lane.person = None;
                self.ready(lane);
                self.back(lane, now, record);
            }
            News::Answered(count) => {
                self.unanswered -= count;
                self.back(lane, now, record);
            }
        }
    }

    fn compose(
        &mut self,
        lane: &mut Lane,
        connection: &mut Connection,
        turn: Turn,
        record: &mut Record,
        out: &mut Vec<u8>,
    ) -> Step {
        let Some(person) = &mut lane.person else { return Step::Rest };
        person.write_command(&mut self.house, connection, out);
        // Whoever is back says so once: those who come later get it with what they missed.
        if self.rages && person.is_here() && !lane.is_back && person.unanswered() == 0 {
            person.write_post(&mut self.house, connection, turn.now, None, out);
            self.unanswered += 1;
            record.count.sent += 1;
        }
        Step::Rest
    }

    fn tick(&mut self, now: Nanos, record: &mut Record) -> Order {
        if !self.begun || self.round == self.weather.rounds.len() {
            return Order::Nothing;
        }
        if !self.rages {
            let begins_at = self.weather.begins_at(self.round, now);
            if now < begins_at {
                return Order::Nothing;
            }
            (self.rages, self.rages_since) = (true, begins_at);
            return Order::DropAll;
        }
        if self.weather.is_over(self.round) {
            self.rages = false;
            self.round += 1;
            record.count.completed += 1;
        }
        Order::Nothing
    }

    fn next_at(&self) -> Option<Nanos> {
        let round = self.weather.rounds.get(self.round).filter(|_| self.begun && !self.rages)?;
        Some(round.begins_at.load(Ordering::Acquire)).filter(|at| *at > 0)
    }

    fn unanswered(&self) -> u64 {
        self.unanswered + self.house.behind()
    }

    fn all_sent(&self) -> bool {
        self.round == self.weather.rounds.len()
    }

    fn end(&mut self, lane: &mut Lane, end: &End, _now: Nanos, record: &mut Record) -> bool {
        self.ready(lane);
        let gone = lane.person.as_mut().map(|person| person.gone(&mut self.house));
        let (unanswered, undelivered) = gone.unwrap_or_default();
        self.unanswered -= unanswered;
        match end {
            End::Dropped => {
                // It may have come after the storm's end, in which nobody waits for it.
                lane.is_back = false;
                true
            }
            End::Clean => {
                record.lost(undelivered);
                false
            }
            End::CutOff => {
                self.is_cut_off = true;
                record.count.cut_off += unanswered;
                false
            }
            End::Failed(name) => {
                record.lost(unanswered.saturating_add(undelivered));
                record.failure(name);
                self.weather.gone.fetch_add(1, Ordering::AcqRel);
                false
            }
        }
    }

    fn finish(&mut self, record: &mut Record) {
        if self.begun && !self.is_cut_off && self.round < self.weather.rounds.len() {
            record.failure(&format!("storm {} was not over when the time was up", self.round + 1));
        }
    }
}
