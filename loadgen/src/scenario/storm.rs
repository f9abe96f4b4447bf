//! The scenario `storm`: all connections are lost at the same time, and dialled again.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use std::time::Duration;

use clap::Args;
use switchboard::proto::{Connection, Message};

use super::args::ScenarioArgs;
use super::chat::text::SHORTEST_TEXT;
use super::chat::user::{ChatState, Dialect, Effect, PostTime, User};
use crate::clock::{Nanos, SECOND, nanos};
use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs, TimeArgs, TrafficArgs};
use crate::input::plan::{Outline, Paced, Plan, within};
use crate::input::values::{Sizes, duration};
use crate::output::record::Record;
use crate::output::report::Outcome;
use crate::run::Launch;
use crate::run::schedule::Timeline;
use crate::run::workload::{End, Order, READY_LIMIT, Step, Turn, Workload};

/// Limit on the storms of one run.
const MAX_ROUNDS: u32 = 1000;

/// Notes for servers that have no history to resume.
const NO_RESUME: &str =
    "the server does not speak chat.v1.json: reconnection was checked, and there is no history to resume";

const ECHO: &str = "the server sends back what it is sent: reconnection was checked, and an echo server has no history to resume";

/// All connections are lost at the same time, and dialled again
#[derive(Debug, Clone, Args)]
pub(crate) struct StormArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Number of storms
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Time between the end of one storm and the beginning of the next
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "200ms")]
    pause: Duration,
    /// Limit on the time of all storms together
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    duration: Duration,
    /// Rooms among which the users are divided, if the server speaks chat.v1.json
    #[arg(long, value_name = "R", default_value_t = 1)]
    rooms: u32,
    #[command(flatten)]
    output: OutputArgs,
}

impl ScenarioArgs for StormArgs {
    fn connect(&self) -> &ConnectArgs {
        &self.connect
    }

    fn connect_mut(&mut self) -> &mut ConnectArgs {
        &mut self.connect
    }

    fn output(&self) -> &OutputArgs {
        &self.output
    }

    fn output_mut(&mut self) -> &mut OutputArgs {
        &mut self.output
    }

    fn outline(&self) -> Result<Outline, PlanError> {
        within("--rounds", self.rounds.into(), 1, MAX_ROUNDS.into())?;
        within("--rooms", self.rooms.into(), 1, self.connect.connections.into())?;
        let outline = Outline::new("storm", &TimeArgs::exactly(self.duration), &TrafficArgs::default())
            .with("rounds", self.rounds.into())
            .with("rooms", self.rooms.into());
        // A storm is many opening handshakes at the same time.
        Ok(Outline {
            paced: Paced::Nothing,
            subprotocols: &["chat.v1.json"],
            connects_at_once: true,
            ..outline
        })
    }

    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure> {
        let plan = launch.plan;
        launch.run(|_| {
            let state = StormState::new(plan, self.rounds, nanos(self.pause));
            move |_| Storm::new(plan, self.rooms, &state)
        })
    }
}

/// State that the threads share: when each storm began, and how many connections came through it.
#[derive(Debug)]
struct StormState {
    rounds: Vec<Round>,
    pause: Nanos,
    connections: u32,
    /// Connections that failed, and are not dialled again.
    gone: AtomicU32,
}

#[derive(Debug, Default)]
struct Round {
    /// 0 until it is known.
    begins_at: AtomicU64,
    back: AtomicU32,
}

impl StormState {
    fn new(plan: &Plan, rounds: u32, pause: Nanos) -> Arc<Self> {
        Arc::new(Self {
            rounds: (0..rounds).map(|_| Round::default()).collect(),
            pause,
            connections: plan.connections,
            gone: AtomicU32::new(0),
        })
    }

    /// Whether every connection that did not fail has come through the storm.
    fn is_over(&self, round: usize) -> bool {
        let back = self.rounds[round].back.load(Ordering::Acquire);
        back + self.gone.load(Ordering::Acquire) >= self.connections
    }

    /// The instant at which a storm begins: a pause after the first thread asks.
    fn begins_at(&self, round: usize, now: Nanos) -> Nanos {
        let at = now + self.pause;
        let begins_at = &self.rounds[round].begins_at;
        begins_at.compare_exchange(0, at, Ordering::AcqRel, Ordering::Acquire).err().unwrap_or(at)
    }
}

/// A connection, and its user if the server speaks `chat.v1.json`.
#[derive(Debug)]
struct Lane {
    user: Option<User>,
    number: u32,
    is_unready: bool,
    opened_at: Nanos,
    /// The connection came through the storm, and everything that it had to check is checked.
    is_back: bool,
}

/// The workload of one thread.
#[derive(Debug)]
struct Storm {
    state: Arc<StormState>,
    users: ChatState,
    /// The number of the present or the next storm.
    round: usize,
    begun: bool,
    is_raging: bool,
    raging_since: Nanos,
    unready: u32,
    unanswered: u64,
    is_cut_off: bool,
}

impl Storm {
    fn new(plan: &Plan, rooms: u32, state: &Arc<StormState>) -> Self {
        let sizes = Sizes { min: SHORTEST_TEXT, max: SHORTEST_TEXT };
        Self {
            state: Arc::clone(state),
            users: ChatState::new(plan, rooms, sizes),
            round: 0,
            begun: false,
            is_raging: false,
            raging_since: 0,
            unready: 0,
            unanswered: 0,
            is_cut_off: false,
        }
    }

    /// The lane has come through the storm.
    fn back(&mut self, lane: &mut Lane, now: Nanos, record: &mut Record) {
        if std::mem::replace(&mut lane.is_back, true) || !self.is_raging {
            return;
        }
        self.state.rounds[self.round].back.fetch_add(1, Ordering::AcqRel);
        let lasted = now.saturating_sub(self.raging_since);
        match record.storms.get_mut(self.round) {
            Some(longest) => *longest = lasted.max(*longest),
            None => record.storms.push(lasted),
        }
    }

    fn ready(&mut self, lane: &mut Lane) {
        self.unready -= u32::from(std::mem::take(&mut lane.is_unready));
    }
}

impl Workload for Storm {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        Lane { user: None, number, is_unready: false, opened_at: 0, is_back: false }
    }

    fn begin(&mut self, start: Nanos, _window: &Range<Nanos>) -> Option<Timeline> {
        self.begun = true;
        // All connections at the same time.
        Some(Timeline::steady(start, f64::INFINITY))
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
        lane.user.get_or_insert_with(|| User::new(lane.number)).opened(Dialect::V1);
        lane.is_unready = !self.begun;
        lane.opened_at = now;
        self.unready += u32::from(lane.is_unready);
        Ok(())
    }

    fn unready(&self) -> u32 {
        self.unready
    }

    fn overdue(&self, lane: &Lane, now: Nanos) -> Option<String> {
        let is_waiting = lane.is_unready;
        let seconds = READY_LIMIT / SECOND;
        (is_waiting && now >= lane.opened_at + READY_LIMIT)
            .then(|| format!("the server did not answer hello or join within {seconds} s"))
    }

    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        let Some(user) = &mut lane.user else { return };
        match user.receive(&mut self.users, message, now, record) {
            Effect::Nothing => {}
            Effect::Joined => self.ready(lane),
            Effect::Echoed => {
                record.note(ECHO);
                lane.user = None;
                self.ready(lane);
                self.back(lane, now, record);
            }
            Effect::Answered(count) => {
                self.unanswered -= count;
                self.back(lane, now, record);
            }
        }
    }

    fn compose(&mut self, lane: &mut Lane, connection: &mut Connection, turn: &mut Turn<'_>) -> Step {
        let Some(user) = &mut lane.user else { return Step::Rest };
        user.write_command(&self.users, connection, turn.now, turn.out);
        // A user that is back posts once: users that join later receive the post with the history.
        if self.is_raging && user.is_joined() && !lane.is_back && user.unanswered() == 0 {
            let time = PostTime { now: turn.now, planned: None };
            user.write_post(&mut self.users, time, connection, turn.out);
            self.unanswered += 1;
            turn.record.count.sent += 1;
        }
        Step::Rest
    }

    fn tick(&mut self, now: Nanos, record: &mut Record) -> Order {
        if !self.begun || self.round == self.state.rounds.len() {
            return Order::Nothing;
        }
        if !self.is_raging {
            let begins_at = self.state.begins_at(self.round, now);
            if now < begins_at {
                return Order::Nothing;
            }
            (self.is_raging, self.raging_since) = (true, begins_at);
            return Order::DropAll;
        }
        if self.state.is_over(self.round) {
            self.is_raging = false;
            self.round += 1;
            record.count.completed += 1;
        }
        Order::Nothing
    }

    fn next_at(&self) -> Option<Nanos> {
        let round = self.state.rounds.get(self.round).filter(|_| self.begun && !self.is_raging)?;
        Some(round.begins_at.load(Ordering::Acquire)).filter(|at| *at > 0)
    }

    fn woken(&mut self, now: Nanos) -> Option<u32> {
        self.users.next_retry(now)
    }

    fn wakes_at(&self) -> Option<Nanos> {
        self.users.retry_at()
    }

    fn unanswered(&self) -> u64 {
        self.unanswered + self.users.behind()
    }

    fn all_sent(&self) -> bool {
        self.round == self.state.rounds.len()
    }

    fn end(&mut self, lane: &mut Lane, end: &End, _now: Nanos, record: &mut Record) -> bool {
        self.ready(lane);
        let gone = lane.user.as_mut().map(|user| user.disconnected(&mut self.users));
        let (unanswered, undelivered) = gone.unwrap_or_default();
        self.unanswered -= unanswered;
        match end {
            End::Dropped => {
                // The connection may have come through after the end of the storm, when the run no longer waited for it.
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
                self.state.gone.fetch_add(1, Ordering::AcqRel);
                false
            }
        }
    }

    fn finish(&mut self, record: &mut Record) {
        if self.begun && !self.is_cut_off && self.round < self.state.rounds.len() {
            record.failure(&format!("storm {} was not over when the time was up", self.round + 1));
        }
    }
}
