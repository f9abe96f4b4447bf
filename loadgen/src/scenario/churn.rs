//! The scenario `churn`: each connection is opened, exchanges messages, closes, and is opened again.

use std::ops::Range;

use clap::Args;
use switchboard::proto::{Connection, MaskingKeys, Message};

use super::args::ScenarioArgs;
use crate::clock::Nanos;
use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs, ShapeArgs, TimeArgs, TrafficArgs};
use crate::input::plan::{Outline, Paced, Pacing, Plan, within};
use crate::input::values::{Sizes, Stages};
use crate::output::record::Record;
use crate::output::report::Outcome;
use crate::run::Launch;
use crate::run::payload::{Payloads, masking_keys};
use crate::run::schedule::Timeline;
use crate::run::workload::{End, Step, Turn, Workload};

/// Connect, exchange messages, close, and again: handshakes per second and their latency
#[derive(Debug, Clone, Args)]
pub(crate) struct ChurnArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    time: TimeArgs,
    /// Open loop: new connections per second, with at most --connections at the same time [default: as fast as
    /// connections end]
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Messages that each connection sends and receives before it closes
    #[arg(long, value_name = "M", default_value_t = 1)]
    messages: u64,
    /// Payload of each message in bytes, or a range from which each size is drawn
    #[arg(long, value_name = "B[-B]", default_value = "20")]
    size: Sizes,
    /// Text messages (letters) instead of binary ones
    #[arg(long)]
    text: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl ScenarioArgs for ChurnArgs {
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
        within("--messages", self.messages, 0, u32::MAX.into())?;
        let traffic = TrafficArgs {
            rate: self.rate,
            shape: self.shape.clone(),
            size: self.size,
            text: self.text,
            ..TrafficArgs::default()
        };
        let outline = Outline::new("churn", &self.time, &traffic).with("messages", self.messages);
        Ok(Outline { paced: Paced::Connections, answered: "echoed", ..outline })
    }

    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure> {
        let plan = launch.plan;
        launch.run(|_| |thread| Churn::new(plan, thread, self.messages))
    }
}

/// A place for one connection after another.
#[derive(Debug)]
struct Lane {
    number: u32,
    is_open: bool,
    /// Messages of all connections of the lane.
    sent: u64,
    answered: u64,
    /// Number of messages after which the present connection closes.
    until: u64,
    sent_at: Nanos,
}

/// The workload of one thread.
#[derive(Debug)]
struct Churn {
    /// The new connections of this thread; without an open loop they begin as fast as connections end.
    pacing: Pacing,
    threads: u32,
    thread: u32,
    /// Messages of each connection.
    messages: u64,
    payloads: Payloads,
    keys: MaskingKeys,
    /// Open connections.
    open: u64,
}

impl Churn {
    fn new(plan: &Plan, thread: u32, messages: u64) -> Self {
        Self {
            pacing: plan.pacing.clone(),
            threads: plan.threads,
            thread,
            messages,
            payloads: Payloads::of(plan),
            keys: masking_keys(plan, thread),
            open: 0,
        }
    }
}

impl Workload for Churn {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        Lane { number, is_open: false, sent: 0, answered: 0, until: 0, sent_at: 0 }
    }

    fn dials_first(&self) -> bool {
        false
    }

    fn begin(&mut self, start: Nanos, _window: &Range<Nanos>) -> Option<Timeline> {
        Some(Timeline::share_of(&self.pacing, start, self.thread, self.threads))
    }

    fn opened(
        &mut self,
        lane: &mut Lane,
        _subprotocol: Option<&str>,
        _now: Nanos,
        _record: &mut Record,
    ) -> Result<(), String> {
        self.open += 1;
        lane.is_open = true;
        lane.until = lane.sent + self.messages;
        Ok(())
    }

    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        let is_expected = lane.answered < lane.sent && message.kind == self.payloads.kind;
        if is_expected && self.payloads.matches(lane.number, lane.answered, message.payload) {
            lane.answered += 1;
            record.answers(lane.sent_at, now, 1);
        } else if lane.answered > 0 && self.payloads.matches(lane.number, lane.answered - 1, message.payload)
        {
            record.count.duplicated += 1;
        } else {
            record.count.corrupted += 1;
            // It counts as the expected answer.
            lane.answered = lane.sent;
        }
    }

    fn compose(&mut self, lane: &mut Lane, _connection: &mut Connection, turn: &mut Turn<'_>) -> Step {
        if lane.answered < lane.sent {
            return Step::Rest;
        }
        if lane.sent == lane.until {
            return Step::Close;
        }
        self.payloads.write_frames(lane.number, lane.sent..lane.sent + 1, &mut self.keys, turn.out);
        lane.sent += 1;
        lane.sent_at = turn.now;
        turn.record.count.sent += 1;
        Step::Rest
    }

    fn unanswered(&self) -> u64 {
        self.open
    }

    fn end(&mut self, lane: &mut Lane, end: &End, _now: Nanos, record: &mut Record) -> bool {
        self.open -= u64::from(std::mem::take(&mut lane.is_open));
        let in_flight = lane.sent - lane.answered;
        lane.answered = lane.sent;
        end.count(in_flight, 0, record);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::plan_of;
    use switchboard::proto::MessageKind;

    #[test]
    fn each_connection_sends_its_messages_and_closes() {
        let plan = plan_of("churn --messages 2", "127.0.0.1:1").unwrap();
        let mut churn = Churn::new(&plan, 0, 2);
        let mut record = Record::new(plan.primary()).unwrap();
        let mut lane = churn.lane(0);
        let mut connection = Connection::client(&std::sync::Arc::default(), MaskingKeys::Seeded(1), 0);
        let mut compose = |churn: &mut Churn, lane: &mut Lane, record: &mut Record| {
            let mut turn = Turn { now: 5, sends: false, was_blocked: false, record, out: &mut Vec::new() };
            churn.compose(lane, &mut connection, &mut turn)
        };
        for round in 0..3 {
            churn.opened(&mut lane, None, 0, &mut record).unwrap();
            for seq in 0..2 {
                for _ in 0..2 {
                    assert_eq!(compose(&mut churn, &mut lane, &mut record), Step::Rest);
                }
                let mut payload = Vec::new();
                churn.payloads.render(0, round * 2 + seq, &mut payload);
                let message = Message { kind: MessageKind::Binary, payload: &mut payload };
                churn.receive(&mut lane, &message, 9, &mut record);
            }
            assert_eq!(churn.unanswered(), 1);
            assert_eq!(compose(&mut churn, &mut lane, &mut record), Step::Close);
            assert!(churn.end(&mut lane, &End::Clean, 9, &mut record));
        }
        assert_eq!((record.count.sent, record.count.answered, record.count.lost), (6, 6, 0));
        assert_eq!(churn.unanswered(), 0);
    }
}
