//! The scenario `custom`: messages of one's own, and answers that a pattern or a field recognises.

mod expect;
mod field;
mod mqtt;
mod options;
mod profile;
mod script;
mod shape;
mod template;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use clap::Args;
use switchboard::proto::{Connection, Message, Outgoing};

use self::expect::{Expectations, Judged};
use self::mqtt::Packet;
use self::options::CustomOptions;
use self::script::{Opening, Script};
use self::shape::Shape;
use self::template::{Template, Values, Variables};
use super::args::ScenarioArgs;
use crate::clock::{Nanos, SECOND, time_of_day};
use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs, ShapeArgs, TimeArgs, TrafficArgs};
use crate::input::plan::{Outline, Pacing, Plan};
use crate::input::values::Stages;
use crate::output::plain::cut;
use crate::output::record::Record;
use crate::output::report::Outcome;
use crate::run::Launch;
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
        let script = Script::read(&self.custom)?;
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
        let script = Arc::new(Script::read(&self.custom)?);
        let is_binary = self.custom.binary || script.is_mqtt;
        launch.run(|_| {
            // The clock of the run starts now.
            let started_ms =
                time_of_day().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
            move |thread| {
                Custom::new(plan, thread, Start { script: Arc::clone(&script), is_binary, started_ms })
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

/// An unanswered message.
#[derive(Debug, Clone, Copy)]
struct Pending {
    seq: u64,
    sent_at: Nanos,
    planned: Option<Nanos>,
}

/// One connection.
#[derive(Debug)]
struct Lane {
    number: u32,
    stage: Stage,
    opened_at: Nanos,
    /// A full socket or `--pipeline` delays the next message.
    is_held: bool,
    sent: u64,
    /// In the order of their numbers.
    pending: VecDeque<Pending>,
    variables: Variables,
    /// The last answer that was read as JSON.
    shape: Shape,
    /// Replies that are due, as positions in the script.
    replies: Vec<usize>,
    /// The beginning of an MQTT packet.
    received: Vec<u8>,
}

/// Answers of one read whose messages left in one write.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    sent_at: Nanos,
    count: u64,
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
    batch: Batch,
    text: String,
    packet: Vec<u8>,
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
            batch: Batch::default(),
            text: String::new(),
            packet: Vec::new(),
        }
    }

    /// Number of messages that may go out at `now`, and whether more are due.
    fn allowance(&self, lane: &Lane, now: Nanos) -> (u64, bool) {
        let free = self.pacing.pipeline.saturating_sub(lane.pending.len() as u64);
        let due = match (self.pacing.is_open(), &self.plan) {
            (false, _) => free,
            (true, Some(plan)) => plan.share(plan.due(now), lane.number) - lane.sent,
            (true, None) => 0,
        };
        let due = due.min(self.messages.map_or(u64::MAX, |messages| messages - lane.sent));
        (due.min(free), due > free)
    }

    /// Renders a template into `self.text`.
    fn render(&mut self, template: &Template, lane: &Lane, now: Nanos) {
        self.text.clear();
        let values = &mut Values {
            seq: lane.sent,
            conn: lane.number,
            now_ms: self.started_ms + now / 1_000_000,
            random: &mut self.random,
            variables: Some(&lane.variables),
        };
        template.render(values, &mut self.text);
    }

    /// Appends a message with the rendered text.
    fn send_text(&self, connection: &mut Connection, out: &mut Vec<u8>) {
        let message =
            if self.is_binary { Outgoing::binary(self.text.as_bytes()) } else { Outgoing::text(&self.text) };
        // Cannot fail: the loop composes on open connections only.
        let _ = connection.encode(message, out);
    }

    /// Sends the steps of the opening that are due.
    fn write_opening(&mut self, lane: &mut Lane, connection: &mut Connection, turn: &mut Turn<'_>) {
        let script = Arc::clone(&self.script);
        if script.is_mqtt {
            if lane.stage == Stage::Opening(0) {
                lane.stage = Stage::Opening(1);
                self.packet.clear();
                mqtt::connect(&format!("lg-{:x}-{}", self.started_ms, lane.number), &mut self.packet);
                let _ = connection.encode(Outgoing::binary(&self.packet), turn.out);
            }
            return;
        }
        while let Stage::Opening(step) = lane.stage {
            match script.opening.get(step) {
                None => self.ready(lane),
                Some(Opening::Await(_)) => return,
                Some(Opening::Send(template)) => {
                    lane.stage = Stage::Opening(step + 1);
                    self.render(template, lane, turn.now);
                    self.send_text(connection, turn.out);
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
        self.owed -= self.messages.map_or(0, |messages| messages - lane.sent);
    }

    fn write_message(&mut self, lane: &mut Lane, connection: &mut Connection, turn: &mut Turn<'_>) {
        let script = Arc::clone(&self.script);
        let planned = self.plan.as_ref().map(|plan| plan.planned(lane.number, lane.sent));
        self.render(script.payload(lane.sent), lane, turn.now);
        if script.is_mqtt {
            self.packet.clear();
            let identifier = mqtt::identifier(lane.sent);
            mqtt::publish(&script.topic, identifier, self.text.as_bytes(), &mut self.packet);
            let _ = connection.encode(Outgoing::binary(&self.packet), turn.out);
        } else {
            self.send_text(connection, turn.out);
        }
        lane.pending.push_back(Pending { seq: lane.sent, sent_at: turn.now, planned });
        lane.sent += 1;
    }

    /// The answer to the oldest message, or to the one that `is_it` recognises.
    fn answered(
        &mut self,
        lane: &mut Lane,
        is_it: impl Fn(&Pending) -> bool,
        now: Nanos,
        record: &mut Record,
    ) -> bool {
        // Most servers answer in order.
        let pending = match lane.pending.front() {
            Some(first) if is_it(first) => lane.pending.pop_front(),
            _ => lane.pending.iter().position(is_it).and_then(|place| lane.pending.remove(place)),
        };
        let Some(pending) = pending else { return false };
        self.unanswered -= 1;
        if self.batch.sent_at != pending.sent_at {
            self.flush(now, record);
            self.batch.sent_at = pending.sent_at;
        }
        self.batch.count += 1;
        if let Some(planned) = pending.planned {
            record.answer_of_plan(planned, now);
        }
        true
    }

    /// Records the answers of one read whose messages left in one write.
    fn flush(&mut self, now: Nanos, record: &mut Record) {
        let Batch { sent_at, count } = std::mem::take(&mut self.batch);
        if count > 0 {
            record.answers(sent_at, now, count);
        }
    }

    fn receive_text(&mut self, lane: &mut Lane, text: &str, now: Nanos, record: &mut Record) {
        let script = Arc::clone(&self.script);
        if let Some(reply) = script.replies.iter().position(|reply| reply.pattern.is_match(text)) {
            if lane.replies.len() < MAX_REPLIES {
                lane.replies.push(reply);
            }
            return;
        }
        if script.fail_on.as_ref().is_some_and(|pattern| pattern.is_match(text)) {
            record.failure(&format!("error of the server: {}", cut(text)));
            record.count.refused += 1;
            return match lane.stage {
                Stage::Opening(_) => self.give_up(lane),
                _ => self.forget(lane, text),
            };
        }
        if let Stage::Opening(step) = lane.stage {
            if let Some(Opening::Await(pattern)) = script.opening.get(step)
                && let Some(groups) = pattern.captures(text)
            {
                for name in pattern.capture_names().flatten() {
                    let value = groups.name(name).map_or("", |group| group.as_str());
                    lane.variables.insert(name.to_owned(), value.to_owned());
                }
                lane.stage = Stage::Opening(step + 1);
            }
            return;
        }
        let judged = judge(&script.expectations, lane, text);
        self.settle(lane, judged, now, record);
    }

    /// Records what a message of an open connection is.
    fn settle(&mut self, lane: &mut Lane, judged: Judged, now: Nanos, record: &mut Record) {
        let is_known = match judged {
            Judged::Other => return,
            Judged::Wrong => {
                record.count.corrupted += 1;
                if !self.script.expectations.names_message() && lane.pending.pop_front().is_some() {
                    // It counts as the expected answer.
                    self.unanswered -= 1;
                }
                return;
            }
            Judged::Answer(None) => self.answered(lane, |_| true, now, record) || lane.sent == 0,
            Judged::Answer(Some(seq)) => {
                if seq >= lane.sent {
                    record.count.corrupted += 1;
                    return;
                }
                self.answered(lane, |pending| pending.seq == seq, now, record)
            }
        };
        record.count.duplicated += u64::from(!is_known);
    }

    /// A message of the connection was refused: the run does not wait for its answer.
    fn forget(&mut self, lane: &mut Lane, text: &str) {
        let place = match self.script.expectations.judge(text, lane.number) {
            Judged::Answer(Some(seq)) => lane.pending.iter().position(|pending| pending.seq == seq),
            _ => Some(0),
        };
        if place.and_then(|place| lane.pending.remove(place)).is_some() {
            self.unanswered -= 1;
        }
    }

    fn receive_packets(&mut self, lane: &mut Lane, octets: &[u8], now: Nanos, record: &mut Record) {
        let mut received = std::mem::take(&mut lane.received);
        received.extend_from_slice(octets);
        let taken = mqtt::take_packets(&mut received, |packet| match (packet, lane.stage) {
            (Packet::Connected(0), Stage::Opening(_)) => self.ready(lane),
            (Packet::Connected(code), _) => {
                record.failure(&format!("error of the server: MQTT CONNACK with code {code}"));
                self.give_up(lane);
            }
            (Packet::Acknowledged(identifier), _) => {
                let is_it = |pending: &Pending| mqtt::identifier(pending.seq) == identifier;
                if self.answered(lane, is_it, now, record) {
                    return;
                }
                let was_sent = lane.sent >= 65_535 || u64::from(identifier) <= lane.sent && identifier > 0;
                let count = &mut record.count;
                *(if was_sent { &mut count.duplicated } else { &mut count.corrupted }) += 1;
            }
            (Packet::Other, _) => {}
        });
        if taken.is_none() || received.len() > MAX_PACKET {
            record.count.corrupted += 1;
            received.clear();
        }
        lane.received = received;
    }
}

/// The message that is answered, if the answer differs from the last one in its number alone.
#[inline]
fn recognised(expectations: &Expectations, lane: &Lane, octets: &[u8]) -> Option<u64> {
    let plus = expectations.numbers_from()?;
    let seq = lane.shape.number(octets)?.checked_sub(plus)?;
    debug_assert_eq!(
        std::str::from_utf8(octets).map(|text| expectations.judge(text, lane.number)),
        Ok(Judged::Answer(Some(seq)))
    );
    Some(seq)
}

/// What a message of an open connection is. Answers that differ in their number alone are read as JSON once.
fn judge(expectations: &Expectations, lane: &mut Lane, text: &str) -> Judged {
    if let Some(seq) = recognised(expectations, lane, text.as_bytes()) {
        return Judged::Answer(Some(seq));
    }
    let Some(plus) = expectations.numbers_from() else { return expectations.judge(text, lane.number) };
    let judged = expectations.judge(text, lane.number);
    if let Judged::Answer(Some(seq)) = judged {
        lane.shape.learn(text, seq.saturating_add(plus));
    }
    judged
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
            sent: 0,
            pending: VecDeque::new(),
            variables: Variables::new(),
            shape: Shape::default(),
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
                format!("opening: no message matched {pattern} within {seconds} s")
            }
            _ => format!("opening: not complete within {seconds} s"),
        })
    }

    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        if self.script.is_mqtt {
            return self.receive_packets(lane, message.payload, now, record);
        }
        // Where a pattern may say something else of it, it is read as text first.
        if lane.stage == Stage::Ready
            && !self.script.has_patterns()
            && let Some(seq) = recognised(&self.script.expectations, lane, message.payload)
        {
            return self.settle(lane, Judged::Answer(Some(seq)), now, record);
        }
        match message.text().or_else(|| std::str::from_utf8(message.payload).ok()) {
            Some(text) => self.receive_text(lane, text, now, record),
            None => record.count.corrupted += 1,
        }
    }

    fn read_ended(&mut self, _lane: &mut Lane, now: Nanos, record: &mut Record) {
        self.flush(now, record);
    }

    fn compose(&mut self, lane: &mut Lane, connection: &mut Connection, turn: &mut Turn<'_>) -> Step {
        let script = Arc::clone(&self.script);
        for reply in std::mem::take(&mut lane.replies) {
            self.render(&script.replies[reply].answer, lane, turn.now);
            self.send_text(connection, turn.out);
        }
        self.write_opening(lane, connection, turn);
        if !turn.sends || lane.stage != Stage::Ready {
            return Step::Rest;
        }
        let (allowed, is_more) = self.allowance(lane, turn.now);
        let was_held = std::mem::replace(&mut lane.is_held, is_more) || turn.was_blocked;
        let (first, until) = (lane.sent, lane.sent + allowed);
        while lane.sent < until && (turn.out.len() < MAX_WRITE || lane.sent == first) {
            if let Some(plan) = &self.plan {
                turn.record.departed(plan.planned(lane.number, lane.sent), turn.now, was_held);
            }
            self.write_message(lane, connection, turn);
        }
        let count = lane.sent - first;
        self.unanswered += count;
        self.owed = self.owed.saturating_sub(count);
        turn.record.count.sent += count;
        if lane.sent < until { Step::More } else { Step::Rest }
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
        let owed = owed(self.messages, self.plan.as_ref(), (lane.number, lane.sent), now);
        let unanswered = lane.pending.len() as u64;
        lane.pending.clear();
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
