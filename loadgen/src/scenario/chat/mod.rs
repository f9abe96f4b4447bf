//! The scenario `chat`: users in rooms of a server that speaks `chat.v1.json` or `json`.

mod delivery;
pub(super) mod text;
pub(super) mod user;
mod wire;

use std::ops::Range;

use clap::Args;
use switchboard::proto::{Connection, Message};

use self::text::SHORTEST_TEXT;
use self::user::{ChatState, Dialect, Effect, PostTime, User};
use super::args::{ScenarioArgs, divide_common};
use crate::clock::{Nanos, SECOND};
use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs, ShapeArgs, TimeArgs, TrafficArgs};
use crate::input::plan::{Outline, Pacing, Plan, rate_within, within};
use crate::input::values::{Share, Sizes, Stages};
use crate::output::record::Record;
use crate::output::report::Outcome;
use crate::run::Launch;
use crate::run::schedule::{Cursor, OpenLoop, Timeline, owed};
use crate::run::workload::{End, MAX_WRITE, READY_LIMIT, Step, Turn, Workload};

/// Limit on the smallest text of a post in bytes.
const LONGEST_TEXT: u64 = 4096;
/// Failure of a connection without a chat protocol.
const NO_DIALECT: &str = "opening handshake: the server chose neither chat.v1.json nor json";

/// Failure of a connection whose user was still away at the end of the run.
const NEVER_BACK: &str = "the server did not answer leave or join before the end of the run";

/// Failure of a connection to a server that is not a chat.
const ECHO: &str = "the server sends back what it is sent: it is an echo server and not a chat";

/// Users in rooms of a chat server that speaks the subprotocol `chat.v1.json` or `json`
#[derive(Debug, Clone, Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Rooms among which the users are divided; the subprotocol `json` has one
    #[arg(long, value_name = "R", default_value_t = 1)]
    rooms: u32,
    /// Users per second, over all connections, that leave their room and join it again; with several URLs, on a new
    /// connection to the next server [default: none]
    #[arg(long, value_name = "R")]
    rejoin_rate: Option<f64>,
    #[command(flatten)]
    time: TimeArgs,
    /// Posts per second over all users, each at its planned instant
    #[arg(long, value_name = "R", conflicts_with = "messages")]
    rate: Option<f64>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Unanswered posts that each user keeps [default: 1; with --rate no bound]
    #[arg(long, value_name = "P")]
    pipeline: Option<u32>,
    /// Each user posts M times, then closes
    #[arg(long, value_name = "M")]
    messages: Option<u64>,
    /// Text of each post in bytes, or a range from which each size is drawn
    #[arg(long, value_name = "B[-B]", default_value = "80")]
    size: Sizes,
    #[command(flatten)]
    output: OutputArgs,
}

impl ScenarioArgs for ChatArgs {
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

    fn stages(&mut self) -> Option<&mut Stages> {
        self.shape.stages.as_mut()
    }

    fn divide(&mut self, share: Share) -> Result<(), PlanError> {
        self.rejoin_rate = self.rejoin_rate.map(|rate| share.rate(rate));
        divide_common(self, share)
    }

    fn rate(&mut self) -> Option<&mut Option<f64>> {
        Some(&mut self.rate)
    }

    fn outline(&self) -> Result<Outline, PlanError> {
        within("--rooms", self.rooms.into(), 1, self.connect.connections.into())?;
        self.rejoin_rate.map_or(Ok(0.0), |rate| rate_within("--rejoin-rate", rate))?;
        within("--size", self.size.min as u64, SHORTEST_TEXT as u64, LONGEST_TEXT)?;
        let traffic = TrafficArgs {
            rate: self.rate,
            shape: self.shape.clone(),
            pipeline: self.pipeline,
            messages: self.messages,
            size: self.size,
            text: true,
            binary: false,
        };
        let outline = Outline::new("chat", &self.time, &traffic).with("rooms", self.rooms.into());
        Ok(Outline { subprotocols: &["chat.v1.json", "json"], ..outline })
    }

    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure> {
        let plan = launch.plan;
        launch.run(|_| |thread| Chat::new(plan, thread, self))
    }
}

/// A user, and the state of its connection.
#[derive(Debug)]
struct Lane {
    user: User,
    /// A full socket or `--pipeline` delays the next post.
    is_held: bool,
    /// The user has a connection and is not in the room yet.
    is_unready: bool,
    opened_at: Nanos,
    /// The user has begun to leave and is not back in the room.
    is_away: bool,
    /// Number of planned leaves that the user has begun.
    left: u64,
}

/// The workload of one thread.
#[derive(Debug)]
struct Chat {
    users: ChatState,
    pacing: Pacing,
    messages: Option<u64>,
    connections: u32,
    rejoin_rate: f64,
    plan: Option<OpenLoop>,
    cursor: Cursor,
    rejoins: Option<OpenLoop>,
    rejoin_cursor: Cursor,
    unready: u32,
    /// Users who have begun to leave and are not back in the room.
    away: u64,
    unanswered: u64,
    owed: u64,
}

impl Chat {
    fn new(plan: &Plan, thread: u32, args: &ChatArgs) -> Self {
        Self {
            users: ChatState::new(plan, args.rooms, plan.sizes),
            pacing: plan.pacing.clone(),
            messages: plan.messages,
            connections: plan.connections,
            rejoin_rate: args.rejoin_rate.unwrap_or(0.0),
            plan: None,
            cursor: Cursor::new(thread, plan.threads),
            rejoins: None,
            rejoin_cursor: Cursor::new(thread, plan.threads),
            unready: 0,
            away: 0,
            unanswered: 0,
            owed: 0,
        }
    }

    fn ready(&mut self, lane: &mut Lane) {
        self.unready -= u32::from(std::mem::take(&mut lane.is_unready));
    }

    fn back(&mut self, lane: &mut Lane) {
        self.away -= u64::from(std::mem::take(&mut lane.is_away));
    }

    /// Counts the posts that a lane will never send. Returns their number.
    fn give_up(&mut self, lane: &Lane, now: Nanos) -> u64 {
        let sent = (lane.user.number, lane.user.posted);
        let owed = owed(self.messages, self.plan.as_ref(), sent, now);
        if self.messages.is_some() {
            self.owed -= owed;
        }
        owed
    }

    /// Number of posts that may go out at `now`, and whether more are due.
    fn allowance(&self, lane: &Lane, now: Nanos) -> (u64, bool) {
        let user = &lane.user;
        let free = if user.is_joined() { self.pacing.pipeline.saturating_sub(user.unanswered()) } else { 0 };
        let due = match (self.pacing.is_open(), &self.plan) {
            (false, _) => free,
            (true, Some(plan)) => plan.share(plan.due(now), user.number) - user.posted,
            (true, None) => 0,
        };
        let due = due.min(self.messages.map_or(u64::MAX, |messages| messages - user.posted));
        (due.min(free), due > free)
    }
}

impl Workload for Chat {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        self.owed += self.messages.unwrap_or(0);
        Lane {
            user: User::new(number),
            is_held: false,
            is_unready: false,
            opened_at: 0,
            is_away: false,
            left: 0,
        }
    }

    fn begin(&mut self, start: Nanos, window: &Range<Nanos>) -> Option<Timeline> {
        self.plan = OpenLoop::of(&self.pacing, start, window.end, self.connections);
        if self.rejoin_rate > 0.0 {
            self.rejoins = Some(OpenLoop::steady(start, window.end, self.rejoin_rate, self.connections));
        }
        None
    }

    fn opened(
        &mut self,
        lane: &mut Lane,
        subprotocol: Option<&str>,
        now: Nanos,
        record: &mut Record,
    ) -> Result<(), String> {
        let dialect = Dialect::of(subprotocol).ok_or(NO_DIALECT)?;
        if dialect == Dialect::Json && (self.users.rooms > 1 || self.rejoin_rate > 0.0) {
            record.note("the server speaks json, which has one room that no user leaves: --rooms and --rejoin-rate had no effect");
        }
        lane.user.opened(dialect);
        lane.is_unready = true;
        lane.opened_at = now;
        self.unready += 1;
        Ok(())
    }

    fn unready(&self) -> u32 {
        self.unready
    }

    fn overdue(&self, lane: &Lane, now: Nanos) -> Option<String> {
        let seconds = READY_LIMIT / SECOND;
        (lane.is_unready && now >= lane.opened_at + READY_LIMIT)
            .then(|| format!("the server did not answer hello or join within {seconds} s"))
    }

    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        match lane.user.receive(&mut self.users, message, now, record) {
            Effect::Nothing => {}
            Effect::Joined => {
                self.ready(lane);
                self.back(lane);
            }
            Effect::Echoed => {
                record.failure(ECHO);
                self.ready(lane);
            }
            Effect::Answered(count) => self.unanswered -= count,
        }
    }

    fn compose(&mut self, lane: &mut Lane, connection: &mut Connection, turn: &mut Turn<'_>) -> Step {
        if let Some(rejoins) = &self.rejoins
            && rejoins.share(rejoins.due(turn.now), lane.user.number) > lane.left
            && lane.user.leave()
        {
            lane.left += 1;
            lane.is_away = true;
            self.away += 1;
        }
        if lane.user.is_moving() {
            return Step::Close;
        }
        lane.user.write_command(&self.users, connection, turn.now, turn.out);
        if !turn.sends {
            return Step::Rest;
        }
        let (allowed, is_more) = self.allowance(lane, turn.now);
        let was_held = std::mem::replace(&mut lane.is_held, is_more) || turn.was_blocked;
        let (first, until) = (lane.user.posted, lane.user.posted + allowed);
        while lane.user.posted < until && (turn.out.len() < MAX_WRITE || lane.user.posted == first) {
            let planned = self.plan.as_ref().map(|plan| plan.planned(lane.user.number, lane.user.posted));
            if let Some(planned) = planned {
                turn.record.departed(planned, turn.now, was_held);
            }
            let time = PostTime { now: turn.now, planned };
            lane.user.write_post(&mut self.users, time, connection, turn.out);
        }
        let count = lane.user.posted - first;
        self.unanswered += count;
        self.owed = self.owed.saturating_sub(count);
        turn.record.count.sent += count;
        if lane.user.posted < until { Step::More } else { Step::Rest }
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

    fn woken(&mut self, now: Nanos) -> Option<u32> {
        self.users.next_retry(now)
    }

    fn wakes_at(&self) -> Option<Nanos> {
        self.users.retry_at()
    }

    fn unanswered(&self) -> u64 {
        // The run waits for missing deliveries and for users who are away as it waits for answers.
        self.unanswered + self.users.behind() + self.away
    }

    fn all_sent(&self) -> bool {
        self.messages.is_some() && self.owed == 0
    }

    fn end(&mut self, lane: &mut Lane, end: &End, now: Nanos, record: &mut Record) -> bool {
        self.ready(lane);
        let moves = *end == End::Clean && lane.user.is_moving();
        let owed = if moves { 0 } else { self.give_up(lane, now) };
        if !moves && std::mem::take(&mut lane.is_away) {
            self.away -= 1;
            if *end == End::Clean {
                record.failure(NEVER_BACK);
            }
        }
        let (unanswered, undelivered) = lane.user.disconnected(&mut self.users);
        self.unanswered -= unanswered;
        if *end != End::CutOff {
            record.lost(undelivered);
        }
        end.count(unanswered, owed, record);
        moves
    }

    fn stranded(&mut self, lane: &mut Lane, now: Nanos, record: &mut Record) {
        self.back(lane);
        record.count.unsent += self.give_up(lane, now);
    }

    fn finish(&mut self, record: &mut Record) {
        if let Some(plan) = &self.plan {
            record.count.planned_in_window = self.cursor.planned_within(plan, &record.window);
        }
    }
}
