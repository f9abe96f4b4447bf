//! The scenario `chat`: people in rooms of a server that speaks `chat.v1.json` or `json`.

mod attendance;
mod person;
mod text;
mod wire;

use std::ops::Range;

use switchboard::proto::{Connection, Message};

pub(super) use self::person::{Dialect, House, News, Person};
pub(crate) use self::text::SHORTEST_TEXT;
use super::echo::MAX_WRITE;
use super::planned_in_window;
use crate::clock::Nanos;
use crate::fleet::{End, Scenario, Step, Turn};
use crate::plan::{Pacing, Plan};
use crate::record::Record;
use crate::schedule::{Cursor, OpenLoop};

/// What fails a connection that agreed on no chat.
pub(super) const NO_DIALECT: &str = "opening handshake: the server chose neither chat.v1.json nor json";

/// What fails a run against a server that is no chat.
const ECHO: &str = "the server sends back what it is sent: it is an echo server, not a chat";

/// A person and what holds them up.
#[derive(Debug)]
pub(crate) struct Lane {
    person: Person,
    is_held: bool,
    is_open: bool,
    /// Times that they have left, of those that were planned.
    left: u64,
}

/// All people of a thread together.
#[derive(Debug)]
pub(crate) struct Chat {
    house: House,
    pacing: Pacing,
    messages: Option<u64>,
    connections: u32,
    rejoin_rate: f64,
    plan: Option<OpenLoop>,
    cursor: Cursor,
    rejoins: Option<OpenLoop>,
    rejoin_cursor: Cursor,
    unready: u32,
    unanswered: u64,
    owed: u64,
}

impl Chat {
    pub(crate) fn new(plan: &Plan, thread: u32, rooms: u32, rejoin_rate: f64) -> Self {
        Self {
            house: House::new(plan.seed, rooms, plan.sizes),
            pacing: plan.pacing,
            messages: plan.messages,
            connections: plan.connections,
            rejoin_rate,
            plan: None,
            cursor: Cursor::new(thread, plan.threads),
            rejoins: None,
            rejoin_cursor: Cursor::new(thread, plan.threads),
            unready: 0,
            unanswered: 0,
            owed: 0,
        }
    }

    /// How many posts may go out at `now`, and whether more of them are due.
    fn allowance(&self, lane: &Lane, now: Nanos) -> (u64, bool) {
        let person = &lane.person;
        let free =
            if person.is_here() { self.pacing.pipeline.saturating_sub(person.unanswered()) } else { 0 };
        let due = match (self.pacing.rate, &self.plan) {
            (None, _) => free,
            (Some(_), Some(plan)) => plan.share(plan.due(now), person.number) - person.posted,
            (Some(_), None) => 0,
        };
        let due = due.min(self.messages.map_or(u64::MAX, |messages| messages - person.posted));
        (due.min(free), due > free)
    }
}

impl Scenario for Chat {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        self.owed += self.messages.unwrap_or(0);
        Lane { person: Person::new(number), is_held: false, is_open: false, left: 0 }
    }

    fn begin(&mut self, start: Nanos, window: &Range<Nanos>) -> Option<f64> {
        self.plan = self.pacing.rate.map(|rate| OpenLoop::new(start, window.end, rate, self.connections));
        if self.rejoin_rate > 0.0 {
            self.rejoins = Some(OpenLoop::new(start, window.end, self.rejoin_rate, self.connections));
        }
        None
    }

    fn opened(
        &mut self,
        lane: &mut Lane,
        subprotocol: Option<&str>,
        _now: Nanos,
        record: &mut Record,
    ) -> Result<(), String> {
        let dialect = Dialect::of(subprotocol).ok_or(NO_DIALECT)?;
        if dialect == Dialect::Json && (self.house.rooms > 1 || self.rejoin_rate > 0.0) {
            record.note("the server speaks json, which has one room that nobody leaves: --rooms and --rejoin-rate did nothing");
        }
        lane.person.opened(dialect);
        lane.is_open = true;
        self.unready += 1;
        Ok(())
    }

    fn unready(&self) -> u32 {
        self.unready
    }

    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        let was_ready = lane.left > 0;
        match lane.person.receive(&mut self.house, message, now, record) {
            News::Nothing => {}
            News::Arrived => self.unready -= u32::from(!was_ready),
            News::Echoed => {
                record.failure(ECHO);
                self.unready -= u32::from(std::mem::take(&mut lane.is_open));
            }
            News::Answered(count) => self.unanswered -= count,
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
        if let Some(rejoins) = &self.rejoins
            && rejoins.share(rejoins.due(turn.now), lane.person.number) > lane.left
            && lane.person.leave()
        {
            lane.left += 1;
        }
        lane.person.write_command(&mut self.house, connection, out);
        if !turn.sends {
            return Step::Rest;
        }
        let (allowed, is_more) = self.allowance(lane, turn.now);
        let was_held = std::mem::replace(&mut lane.is_held, is_more) || turn.was_blocked;
        let (first, until) = (lane.person.posted, lane.person.posted + allowed);
        while lane.person.posted < until && (out.len() < MAX_WRITE || lane.person.posted == first) {
            let planned = self.plan.as_ref().map(|plan| plan.planned(lane.person.number, lane.person.posted));
            if let Some(planned) = planned {
                record.departed(planned, turn.now, was_held);
            }
            lane.person.write_post(&mut self.house, connection, turn.now, planned, out);
        }
        let count = lane.person.posted - first;
        self.unanswered += count;
        self.owed = self.owed.saturating_sub(count);
        record.count.sent += count;
        if lane.person.posted < until { Step::More } else { Step::Rest }
    }

    fn next_due(&mut self, now: Nanos) -> Option<u32> {
        let post = self.plan.as_ref().and_then(|plan| self.cursor.next_due(plan, now));
        post.or_else(|| self.rejoins.as_ref().and_then(|plan| self.rejoin_cursor.next_due(plan, now)))
    }

    fn next_at(&self) -> Option<Nanos> {
        let post = self.plan.as_ref().and_then(|plan| self.cursor.next_at(plan));
        let rejoin = self.rejoins.as_ref().and_then(|plan| self.rejoin_cursor.next_at(plan));
        post.into_iter().chain(rejoin).min()
    }

    fn unanswered(&self) -> u64 {
        // A delivery that is owed is waited for as an answer is.
        self.unanswered + self.house.behind()
    }

    fn all_sent(&self) -> bool {
        self.messages.is_some() && self.owed == 0
    }

    fn end(&mut self, lane: &mut Lane, end: &End, now: Nanos, record: &mut Record) -> bool {
        if std::mem::take(&mut lane.is_open) && !lane.person.is_here() && lane.left == 0 {
            self.unready -= 1;
        }
        let posted = lane.person.posted;
        let owed = match (self.messages, &self.plan) {
            (Some(messages), _) => messages - posted,
            (None, Some(plan)) => plan.share(plan.due(now), lane.person.number) - posted,
            (None, None) => 0,
        };
        if self.messages.is_some() {
            self.owed -= owed;
        }
        let (unanswered, undelivered) = lane.person.gone(&mut self.house);
        self.unanswered -= unanswered;
        if *end == End::CutOff {
            record.count.cut_off += unanswered;
        } else {
            record.lost(undelivered);
            record.count.lost += unanswered;
            record.count.unsent += owed;
        }
        if let End::Failed(name) = end {
            record.failure(name);
        }
        false
    }

    fn finish(&mut self, record: &mut Record) {
        if let Some(plan) = &self.plan {
            record.count.planned_in_window = planned_in_window(plan, record, &self.cursor);
        }
    }
}
