//! The scenario `custom`: messages of one's own, and answers that a pattern or a field recognises.

mod awaited;
mod draft;
mod expect;
mod field;
mod mqtt;
mod options;
mod pattern;
mod profile;
mod receive;
mod script;
mod shape;
mod template;

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use clap::Args;
use switchboard::proto::{
    Connection, Encoding, MAX_FRAME_HEADER_LEN, MaskingKeys, Message, Opcode, Outgoing, write_frame,
    write_masked_frames,
};

use self::awaited::{Answers, Awaited};
use self::draft::Draft;
use self::options::CustomOptions;
use self::script::{Opening, Script};
use self::shape::Shapes;
use self::template::{Template, Values, Variables};
use super::args::ScenarioArgs;
use super::flights::Flights;
use crate::clock::{Nanos, SECOND, time_of_day};
use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, Mask, OutputArgs, ShapeArgs, TimeArgs, TrafficArgs};
use crate::input::plan::{Outline, Pacing, Plan};
use crate::input::values::Stages;
use crate::output::record::Record;
use crate::output::report::Outcome;
use crate::run::Launch;
use crate::run::payload::masking_keys;
use crate::run::schedule::{Cursor, OpenLoop, Timeline, owed};
use crate::run::workload::{End, MAX_WRITE, READY_LIMIT, Step, Turn, Workload};

/// Limit on the octets of an incomplete MQTT packet.
const MAX_PACKET: usize = 1 << 20;
/// Limit on the replies that a connection has not sent yet.
const MAX_REPLIES: usize = 1024;

/// Send messages of your own, or of a protocol above WebSocket, and match the answers
#[derive(Debug, Clone, Args)]
pub(crate) struct CustomArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    custom: CustomOptions,
    #[command(flatten)]
    time: TimeArgs,
    /// Open loop: messages per second over all connections, each at its planned instant
    #[arg(long, value_name = "R", conflicts_with = "messages")]
    rate: Option<f64>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Unanswered messages that each connection keeps [default: 1; with --rate no bound]
    #[arg(long, value_name = "P")]
    pipeline: Option<u32>,
    /// Each connection sends M messages, then closes
    #[arg(long, value_name = "M")]
    messages: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
    #[arg(skip)]
    script: OnceLock<Arc<Script>>,
}

impl CustomArgs {
    /// What is sent and what comes back. The files are read once: one may be a pipe.
    fn script(&self) -> Result<&Arc<Script>, PlanError> {
        if let Some(script) = self.script.get() {
            return Ok(script);
        }
        let script = Arc::new(Script::read(&self.custom)?);
        Ok(self.script.get_or_init(|| script))
    }
}

impl ScenarioArgs for CustomArgs {
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

    fn rate(&mut self) -> Option<&mut Option<f64>> {
        Some(&mut self.rate)
    }

    fn outline(&self) -> Result<Outline, PlanError> {
        let script = self.script()?;
        let traffic = TrafficArgs {
            rate: self.rate,
            shape: self.shape.clone(),
            pipeline: self.pipeline,
            messages: self.messages,
            size: script.sizes()?,
            text: !self.custom.binary && !script.is_mqtt,
            binary: false,
        };
        let subprotocols = self.custom.profile.map_or(&[][..], |profile| profile.parts().subprotocols);
        Ok(Outline { subprotocols, ..Outline::new("custom", &self.time, &traffic) })
    }

    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure> {
        let plan = launch.plan;
        let script = self.script()?;
        let is_binary = self.custom.binary || script.is_mqtt;
        launch.run(|_| {
            // The clock of the run starts now.
            let started_ms =
                time_of_day().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
            move |thread| {
                Custom::new(plan, thread, Start { script: Arc::clone(script), is_binary, started_ms })
            }
        })
    }
}

/// What a thread starts with.
struct Start {
    script: Arc<Script>,
    is_binary: bool,
    started_ms: u64,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The opening handshake is not complete.
    Dialling,
    /// This step of the opening is next.
    Opening(usize),
    Ready,
    /// The opening failed, or the connection ended.
    Over,
}

/// One connection.
#[derive(Debug)]
struct Lane {
    number: u32,
    stage: Stage,
    opened_at: Nanos,
    /// A full socket or `--pipeline` delays the next message.
    is_held: bool,
    awaited: Awaited,
    draft: Draft,
    variables: Variables,
    shapes: Shapes,
    /// Replies that are due, as positions in the script.
    replies: Vec<usize>,
    /// The beginning of an MQTT packet.
    received: Vec<u8>,
}

/// The workload of one thread.
#[derive(Debug)]
struct Custom {
    script: Arc<Script>,
    is_binary: bool,
    started_ms: u64,
    random: u64,
    pacing: Pacing,
    messages: Option<u64>,
    connections: u32,
    plan: Option<OpenLoop>,
    cursor: Cursor,
    unready: u32,
    unanswered: u64,
    owed: u64,
    flights: Flights,
    keys: MaskingKeys,
    is_masked: bool,
    text: Vec<u8>,
}

impl Custom {
    fn new(plan: &Plan, thread: u32, start: Start) -> Self {
        let Start { script, is_binary, started_ms } = start;
        Self {
            script,
            is_binary,
            started_ms,
            random: plan.seed ^ u64::from(thread) << 32,
            pacing: plan.pacing.clone(),
            messages: plan.messages,
            connections: plan.connections,
            plan: None,
            cursor: Cursor::new(thread, plan.threads),
            unready: 0,
            unanswered: 0,
            owed: 0,
            flights: Flights::new(),
            keys: masking_keys(plan, thread),
            is_masked: plan.mask != Mask::None,
            text: Vec::new(),
        }
    }

    /// Number of messages that may go out at `now`, and whether more are due.
    #[inline]
    fn allowance(&self, lane: &Lane, now: Nanos) -> (u64, bool) {
        let sent = lane.awaited.sent();
        let free = self.pacing.pipeline.saturating_sub(lane.awaited.count());
        let due = match (self.pacing.is_open(), &self.plan) {
            (false, _) => free,
            (true, Some(plan)) => plan.share(plan.due(now), lane.number) - sent,
            (true, None) => 0,
        };
        let due = due.min(self.messages.map_or(u64::MAX, |messages| messages - sent));
        (due.min(free), due > free)
    }

    /// Appends a message with a text that is sent once.
    fn send_text(
        &mut self,
        template: &Template,
        lane: &Lane,
        connection: &mut Connection,
        turn: &mut Turn<'_>,
    ) {
        let values = &mut Values {
            seq: lane.awaited.sent(),
            conn: lane.number,
            now_ms: self.started_ms + turn.now / 1_000_000,
            random: &mut self.random,
            variables: Some(&lane.variables),
        };
        self.text.clear();
        template.render(values, &mut self.text, &mut Vec::new());
        // Cannot fail: the loop composes on open connections only.
        let _ = connection.encode(outgoing(self.is_binary, &self.text), turn.out);
    }

    /// Sends the steps of the opening that are due.
    fn write_opening(&mut self, lane: &mut Lane, connection: &mut Connection, turn: &mut Turn<'_>) {
        let script = Arc::clone(&self.script);
        if script.is_mqtt {
            if lane.stage == Stage::Opening(0) {
                lane.stage = Stage::Opening(1);
                self.text.clear();
                mqtt::connect(&format!("lg-{:x}-{}", self.started_ms, lane.number), &mut self.text);
                let _ = connection.encode(Outgoing::binary(&self.text), turn.out);
            }
            return;
        }
        while let Stage::Opening(step) = lane.stage {
            match script.opening.get(step) {
                None => self.ready(lane),
                Some(Opening::Await(_)) => return,
                Some(Opening::Send(template)) => {
                    lane.stage = Stage::Opening(step + 1);
                    self.send_text(template, lane, connection, turn);
                }
            }
        }
    }

    /// The opening is complete.
    fn ready(&mut self, lane: &mut Lane) {
        lane.stage = Stage::Ready;
        self.unready -= 1;
    }

    /// The connection sends no message any more: the run does not wait for those that it still has to send.
    fn give_up(&mut self, lane: &mut Lane) {
        match std::mem::replace(&mut lane.stage, Stage::Over) {
            Stage::Over => return,
            Stage::Opening(_) => self.unready -= 1,
            Stage::Dialling | Stage::Ready => {}
        }
        self.owed -= self.messages.map_or(0, |messages| messages - lane.awaited.sent());
    }

    /// Appends the frames of the next messages: `count` of them, or as many as one write holds. Returns their number.
    #[inline]
    fn write_messages(
        &mut self,
        lane: &mut Lane,
        count: u64,
        connection: &mut Connection,
        turn: &mut Turn<'_>,
    ) -> u64 {
        let is_plain = connection.encoding() == Encoding::Plain;
        let opcode = if self.is_binary { Opcode::Binary } else { Opcode::Text };
        let draft = &mut lane.draft;
        let first = lane.awaited.sent();
        let mut values = Values {
            seq: first,
            conn: lane.number,
            now_ms: self.started_ms + turn.now / 1_000_000,
            random: &mut self.random,
            variables: Some(&lane.variables),
        };
        let mut written = 0;
        while written < count && (turn.out.len() < MAX_WRITE || written == 0) {
            values.seq = first + written;
            let alike = draft.begin(&self.script, &mut values);
            let len = draft.octets().len();
            let room = MAX_WRITE.saturating_sub(turn.out.len()) / (len + MAX_FRAME_HEADER_LEN);
            let at_once = alike.min(count - written).min(room as u64).max(1);
            if is_plain && self.is_masked {
                write_masked_frames(turn.out, opcode, (at_once as usize, len), &mut self.keys, |i, place| {
                    if i > 0 {
                        draft.advance(&mut values);
                    }
                    place.copy_from_slice(draft.octets());
                });
            } else {
                for i in 0..at_once {
                    if i > 0 {
                        draft.advance(&mut values);
                    }
                    if is_plain {
                        write_frame(turn.out, true, opcode, draft.octets(), None);
                    } else {
                        // Cannot fail: the loop composes on open connections only.
                        let _ = connection.encode(outgoing(self.is_binary, draft.octets()), turn.out);
                    }
                }
            }
            written += at_once;
        }
        written
    }
}

/// A message of octets that are text, or of binary ones.
fn outgoing(is_binary: bool, octets: &[u8]) -> Outgoing<'_> {
    match std::str::from_utf8(octets) {
        Ok(text) if !is_binary => Outgoing::text(text),
        _ => Outgoing::binary(octets),
    }
}

impl Workload for Custom {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        self.owed += self.messages.unwrap_or(0);
        Lane {
            number,
            stage: Stage::Dialling,
            opened_at: 0,
            is_held: false,
            awaited: Awaited::default(),
            draft: Draft::default(),
            variables: Variables::new(),
            shapes: Shapes::default(),
            replies: Vec::new(),
            received: Vec::new(),
        }
    }

    fn begin(&mut self, start: Nanos, window: &Range<Nanos>) -> Option<Timeline> {
        self.plan = OpenLoop::of(&self.pacing, start, window.end, self.connections);
        None
    }

    fn opened(
        &mut self,
        lane: &mut Lane,
        _subprotocol: Option<&str>,
        now: Nanos,
        _record: &mut Record,
    ) -> Result<(), String> {
        lane.stage = Stage::Opening(0);
        lane.opened_at = now;
        self.unready += 1;
        Ok(())
    }

    fn unready(&self) -> u32 {
        self.unready
    }

    fn overdue(&self, lane: &Lane, now: Nanos) -> Option<String> {
        let Stage::Opening(step) = lane.stage else { return None };
        if now < lane.opened_at + READY_LIMIT {
            return None;
        }
        let seconds = READY_LIMIT / SECOND;
        Some(match self.script.opening.get(step) {
            Some(Opening::Await(pattern)) => {
                format!("opening: no message matched {} within {seconds} s", pattern.as_str())
            }
            _ => format!("opening: not complete within {seconds} s"),
        })
    }

    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        if self.script.is_mqtt {
            return self.receive_packets(lane, message.payload, now, record);
        }
        self.receive_one(lane, message.payload, now, record);
    }

    #[inline]
    fn read_ended(&mut self, lane: &mut Lane, now: Nanos, record: &mut Record) {
        let plan = self.plan.as_ref();
        lane.awaited.flush(lane.number, &mut Answers { flights: &mut self.flights, plan, record, now });
    }

    fn compose(&mut self, lane: &mut Lane, connection: &mut Connection, turn: &mut Turn<'_>) -> Step {
        if !lane.replies.is_empty() {
            let script = Arc::clone(&self.script);
            for reply in std::mem::take(&mut lane.replies) {
                self.send_text(&script.replies[reply].answer, lane, connection, turn);
            }
        }
        if lane.stage != Stage::Ready {
            self.write_opening(lane, connection, turn);
        }
        if !turn.sends || lane.stage != Stage::Ready {
            return Step::Rest;
        }
        let (allowed, is_more) = self.allowance(lane, turn.now);
        let was_held = std::mem::replace(&mut lane.is_held, is_more) || turn.was_blocked;
        if allowed == 0 {
            return Step::Rest;
        }
        let first = lane.awaited.sent();
        let count = self.write_messages(lane, allowed, connection, turn);
        if let Some(plan) = &self.plan {
            for seq in first..first + count {
                turn.record.departed(plan.planned(lane.number, seq), turn.now, was_held);
            }
        }
        lane.awaited.push(count, turn.now, &mut self.flights);
        self.unanswered += count;
        self.owed = self.owed.saturating_sub(count);
        turn.record.count.sent += count;
        if count < allowed { Step::More } else { Step::Rest }
    }

    fn next_due(&mut self, now: Nanos) -> Option<u32> {
        self.cursor.next_due(self.plan.as_ref()?, now)
    }

    fn next_at(&self) -> Option<Nanos> {
        self.cursor.next_at(self.plan.as_ref()?)
    }

    fn unanswered(&self) -> u64 {
        self.unanswered
    }

    fn all_sent(&self) -> bool {
        self.messages.is_some() && self.owed == 0
    }

    fn end(&mut self, lane: &mut Lane, end: &End, now: Nanos, record: &mut Record) -> bool {
        self.give_up(lane);
        let owed = owed(self.messages, self.plan.as_ref(), (lane.number, lane.awaited.sent()), now);
        let unanswered = lane.awaited.end(&mut self.flights);
        self.unanswered -= unanswered;
        end.count(unanswered, owed, record);
        false
    }

    fn finish(&mut self, record: &mut Record) {
        if let Some(plan) = &self.plan {
            record.count.planned_in_window = self.cursor.planned_within(plan, &record.window);
        }
    }
}
