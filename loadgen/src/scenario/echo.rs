//! The scenario `echo`: the server answers every message once, unchanged and in order.

use std::collections::BTreeSet;
use std::ops::Range;

use clap::Args;
use switchboard::proto::{Connection, MAX_FRAME_HEADER_LEN, MaskingKeys, Message};

use super::args::ScenarioArgs;
use super::flights::{Flight, Flights};
use super::slow_readers::SlowReaders;
use super::think::ThinkTimes;
use crate::clock::Nanos;
use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs, TimeArgs, TrafficArgs};
use crate::input::plan::{MAX_IN_FLIGHT, Outline, Pacing, Plan};
use crate::input::values::{Stages, ThinkTime};
use crate::output::record::Record;
use crate::output::report::Outcome;
use crate::run::Launch;
use crate::run::payload::{Payloads, masking_keys};
use crate::run::schedule::{Cursor, OpenLoop, Timeline, owed};
use crate::run::workload::{End, MAX_WRITE, Step, Turn, Workload};

/// Limit on the bytes that a slow connection has in flight, and that all of them have together.
const MAX_SLOW_BYTES: u64 = 4 << 20;
const MAX_ALL_SLOW_BYTES: u64 = 1 << 30;

/// Send messages to an echo server and compare every answer octet for octet
#[derive(Debug, Clone, Args)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    /// Closed loop with one message in flight: time between an answer and the next message of the connection, fixed
    /// (200ms), uniformly distributed (100ms-300ms) or exponentially (exp:200ms)
    #[arg(long, value_name = "TIME", conflicts_with_all = ["rate", "stages", "pipeline"])]
    think: Option<ThinkTime>,
    #[command(flatten)]
    output: OutputArgs,
}

impl ScenarioArgs for EchoArgs {
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
        self.traffic.shape.stages.as_mut()
    }

    fn rate(&mut self) -> Option<&mut Option<f64>> {
        Some(&mut self.traffic.rate)
    }

    fn outline(&self) -> Result<Outline, PlanError> {
        let outline = Outline::new("echo", &self.time, &self.traffic);
        Ok(Outline { answered: "echoed", think: self.think, ..outline })
    }

    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure> {
        let plan = launch.plan;
        launch.run(|_| |thread| Echo::new(plan, thread, SlowReaders::none()))
    }
}

/// The messages of one connection: `sent` went out, and the answer to `expected` comes next.
#[derive(Debug)]
pub(super) struct Lane {
    number: u32,
    /// A full socket or `--pipeline` delays the next message.
    is_held: bool,
    is_slow: bool,
    sent: u64,
    expected: u64,
    /// The record has the answers before this one.
    recorded: u64,
    /// The messages in flight, by write.
    flight: Flight,
    /// Messages whose answer was overtaken. Only a faulty server makes this grow.
    #[expect(clippy::box_collection, reason = "8 bytes if there are no gaps")]
    missing: Option<Box<BTreeSet<u64>>>,
}

/// The workload of one thread.
#[derive(Debug)]
pub(super) struct Echo {
    pacing: Pacing,
    messages: Option<u64>,
    connections: u32,
    payloads: Payloads,
    keys: MaskingKeys,
    flights: Flights,
    cursor: Cursor,
    /// The planned instants of an open loop; set when messages begin.
    plan: Option<OpenLoop>,
    unanswered: u64,
    /// Messages that the lanes still have to send, if each has a number of them.
    owed: u64,
    think: Option<ThinkTimes>,
    slow: SlowReaders,
    /// Limit on the unanswered messages of a slow connection, which sends as long as the server reads.
    slow_pipeline: u64,
    /// Limit on the messages of one write.
    at_once: u64,
}

impl Echo {
    pub(super) fn new(plan: &Plan, thread: u32, slow: SlowReaders) -> Self {
        let slow_bytes_each = MAX_SLOW_BYTES.min(MAX_ALL_SLOW_BYTES / u64::from(slow.count.max(1)));
        let slow_pipeline = (slow_bytes_each / plan.sizes.max.max(1) as u64).clamp(1, MAX_IN_FLIGHT);
        Self {
            pacing: plan.pacing.clone(),
            messages: plan.messages,
            connections: plan.connections,
            payloads: Payloads::of(plan),
            keys: masking_keys(plan, thread),
            flights: Flights::new(),
            cursor: Cursor::new(thread, plan.threads),
            plan: None,
            unanswered: 0,
            owed: 0,
            think: plan.think.map(|think| ThinkTimes::new(think, plan, thread)),
            slow,
            slow_pipeline: slow_pipeline.max(plan.pacing.pipeline),
            at_once: (MAX_WRITE / (plan.sizes.max + MAX_FRAME_HEADER_LEN)).max(1) as u64,
        }
    }

    /// Number of messages of `lane` that may go out at `now`, and whether more are due.
    #[inline]
    fn allowance(&self, lane: &Lane, now: Nanos) -> (u64, bool) {
        let bound = if lane.is_slow { self.slow_pipeline } else { self.pacing.pipeline };
        let free = bound.saturating_sub(lane.sent - lane.expected);
        let due = match (self.pacing.is_open(), &self.plan) {
            (false, _) => free,
            (true, Some(plan)) => plan.share(plan.due(now), lane.number) - lane.sent,
            (true, None) => 0,
        };
        let due = due.min(self.messages.map_or(u64::MAX, |messages| messages - lane.sent));
        (due.min(free), due > free)
    }

    /// The run no longer waits for the answers before `seq`.
    fn skip_to(&mut self, lane: &mut Lane, seq: u64) {
        self.forget(lane, seq - lane.expected);
        self.flights.remove(&mut lane.flight, lane.expected, seq, |_, _| {});
        lane.expected = seq;
        lane.recorded = seq;
    }

    #[inline]
    fn forget(&mut self, lane: &Lane, count: u64) {
        if !lane.is_slow {
            self.unanswered -= count;
        }
    }

    /// Records the answers from `lane.recorded` on.
    #[inline]
    fn record_answers(&mut self, lane: &mut Lane, now: Nanos, record: &mut Record) {
        let (from, to) = (lane.recorded, lane.expected);
        if from == to {
            return;
        }
        lane.recorded = to;
        self.forget(lane, to - from);
        let is_slow = lane.is_slow;
        self.flights.remove(&mut lane.flight, from, to, |at, count| {
            if !is_slow {
                record.answers(at, now, count);
            }
        });
        if let Some(think) = &mut self.think {
            think.answered(lane.number, now);
        }
        if let (Some(plan), false) = (&self.plan, is_slow) {
            for seq in from..to {
                record.answer_of_plan(plan.planned(lane.number, seq), now);
            }
        }
    }

    /// Judges a message that is not the next answer.
    #[cold]
    fn judge(&mut self, lane: &mut Lane, payload: Option<&[u8]>, now: Nanos, record: &mut Record) {
        self.record_answers(lane, now, record);
        let seq = payload
            .map(|payload| (payload, self.payloads.claimed(payload, lane.expected)))
            .and_then(|(payload, seq)| self.payloads.matches(lane.number, seq, payload).then_some(seq));
        match seq {
            Some(seq) if seq < lane.expected => {
                let was_missing = lane.missing.as_mut().is_some_and(|missing| missing.remove(&seq));
                if was_missing { record.count.reordered += 1 } else { record.count.duplicated += 1 }
            }
            Some(seq) if seq < lane.sent => {
                // Overtaken or lost: a late answer decides.
                lane.missing.get_or_insert_default().extend(lane.expected..seq);
                self.skip_to(lane, seq);
                lane.expected += 1;
            }
            _ => {
                record.count.corrupted += 1;
                // It counts as the expected answer.
                if lane.expected < lane.sent {
                    self.skip_to(lane, lane.expected + 1);
                }
            }
        }
    }
}

impl Workload for Echo {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        let is_slow = self.slow.contains(number);
        if !is_slow {
            self.owed += self.messages.unwrap_or(0);
        }
        Lane {
            number,
            is_held: false,
            is_slow,
            sent: 0,
            expected: 0,
            recorded: 0,
            flight: Flight::default(),
            missing: None,
        }
    }

    fn read_rate(&self, number: u32) -> Option<u64> {
        self.slow.read_rate(number)
    }

    fn begin(&mut self, start: Nanos, window: &Range<Nanos>) -> Option<Timeline> {
        self.plan = OpenLoop::of(&self.pacing, start, window.end, self.connections);
        if let Some(think) = &mut self.think {
            think.begin(start);
        }
        None
    }

    #[inline]
    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        let is_kind = message.kind == self.payloads.kind;
        if is_kind
            && lane.expected < lane.sent
            && self.payloads.matches(lane.number, lane.expected, message.payload)
        {
            lane.expected += 1;
        } else {
            self.judge(lane, is_kind.then_some(&*message.payload), now, record);
        }
    }

    #[inline]
    fn read_ended(&mut self, lane: &mut Lane, now: Nanos, record: &mut Record) {
        self.record_answers(lane, now, record);
    }

    #[inline]
    fn compose(&mut self, lane: &mut Lane, connection: &mut Connection, turn: &mut Turn<'_>) -> Step {
        if !turn.sends {
            return Step::Rest;
        }
        if self.think.as_ref().is_some_and(|think| think.is_thinking(lane.number, turn.now)) {
            return Step::Rest;
        }
        let (allowed, is_more) = self.allowance(lane, turn.now);
        let was_held = std::mem::replace(&mut lane.is_held, is_more) || turn.was_blocked;
        if allowed == 0 {
            return Step::Rest;
        }
        let count = allowed.min(self.at_once);
        if let (Some(plan), false) = (&self.plan, lane.is_slow) {
            for seq in lane.sent..lane.sent + count {
                turn.record.departed(plan.planned(lane.number, seq), turn.now, was_held);
            }
        }
        let seqs = lane.sent..lane.sent + count;
        self.payloads.encode(lane.number, seqs, connection, (&mut self.keys, &mut *turn.out));
        lane.sent += count;
        self.flights.push(&mut lane.flight, lane.sent, turn.now);
        if !lane.is_slow {
            self.owed = self.owed.saturating_sub(count);
            self.unanswered += count;
            turn.record.count.sent += count;
        }
        if count < allowed { Step::More } else { Step::Rest }
    }

    fn next_due(&mut self, now: Nanos) -> Option<u32> {
        if let Some(think) = &mut self.think {
            return think.next_due(now);
        }
        self.cursor.next_due(self.plan.as_ref()?, now)
    }

    fn next_at(&self) -> Option<Nanos> {
        if let Some(think) = &self.think {
            return think.next_at();
        }
        self.cursor.next_at(self.plan.as_ref()?)
    }

    fn unanswered(&self) -> u64 {
        self.unanswered
    }

    fn all_sent(&self) -> bool {
        self.messages.is_some() && self.owed == 0
    }

    fn end(&mut self, lane: &mut Lane, end: &End, now: Nanos, record: &mut Record) -> bool {
        let in_flight = lane.sent - lane.expected;
        let owed = owed(self.messages, self.plan.as_ref(), (lane.number, lane.sent), now);
        let missing = lane.missing.as_ref().map_or(0, |missing| missing.len() as u64);
        record.count.lost += missing;
        self.flights.remove(&mut lane.flight, lane.expected, lane.sent, |_, _| {});
        if lane.is_slow {
            record.count.slow_unanswered += in_flight;
            match end {
                End::Failed(name) => record.slow_end(name),
                End::Clean | End::Dropped | End::CutOff => record.count.slow_held += 1,
            }
            return false;
        }
        if self.messages.is_some() {
            self.owed -= owed;
        }
        self.unanswered -= in_flight;
        end.count(in_flight, owed, record);
        false
    }

    fn finish(&mut self, record: &mut Record) {
        if let Some(plan) = &self.plan {
            record.count.planned_in_window = self.cursor.planned_within(plan, &record.window);
        }
    }
}

#[cfg(test)]
mod tests {
    use switchboard::proto::MessageKind;

    use super::*;
    use crate::scenario::tests::plan_of;

    struct Bench {
        echo: Echo,
        lane: Lane,
        connection: Connection,
        record: Record,
    }

    fn bench(options: &str) -> Bench {
        let plan = plan_of(&format!("echo --mask fixed {options}"), "127.0.0.1:1").unwrap();
        let mut echo = Echo::new(&plan, 0, SlowReaders::none());
        let lane = echo.lane(0);
        let mut record = Record::new(plan.primary()).unwrap();
        record.begin(0..20_000_000);
        let connection = Connection::client(&std::sync::Arc::default(), MaskingKeys::Seeded(1), 0);
        Bench { echo, lane, connection, record }
    }

    impl Bench {
        fn send(&mut self, now: Nanos) -> u64 {
            let before = self.lane.sent;
            let (record, out) = (&mut self.record, &mut Vec::new());
            let mut turn = Turn { now, sends: true, was_blocked: false, record, out };
            self.echo.compose(&mut self.lane, &mut self.connection, &mut turn);
            self.lane.sent - before
        }

        fn answer(&mut self, seq: u64) {
            let mut payload = Vec::new();
            self.echo.payloads.render(0, seq, &mut payload);
            self.deliver(MessageKind::Binary, &mut payload);
        }

        fn deliver(&mut self, kind: MessageKind, payload: &mut [u8]) {
            let message = Message { kind, payload };
            self.echo.receive(&mut self.lane, &message, 500, &mut self.record);
            self.echo.read_ended(&mut self.lane, 500, &mut self.record);
        }

        /// Lost, duplicated, reordered, corrupted.
        fn finish(mut self) -> [u64; 4] {
            self.echo.end(&mut self.lane, &End::Clean, 2_000_000_000, &mut self.record);
            assert_eq!(self.echo.unanswered(), 0);
            let count = &self.record.count;
            [count.lost, count.duplicated, count.reordered, count.corrupted]
        }
    }

    #[test]
    fn a_closed_loop_keeps_its_pipeline_full_and_stops_after_its_messages() {
        let mut bench = bench("--pipeline 4 --messages 6 --connections 1");
        assert_eq!((bench.send(1), bench.send(2)), (4, 0));
        bench.answer(0);
        bench.answer(1);
        bench.answer(2);
        assert!(!bench.echo.all_sent());
        assert_eq!((bench.send(3), bench.echo.unanswered()), (2, 3));
        assert!(bench.echo.all_sent());
        for seq in 3..6 {
            bench.answer(seq);
        }
        assert_eq!((bench.send(4), bench.echo.unanswered(), bench.record.count.answered), (0, 0, 6));
        assert_eq!(bench.finish(), [0; 4]);
    }

    #[test]
    fn an_open_loop_sends_what_is_due_whether_or_not_it_is_answered() {
        let mut bench = bench("--rate 1000 --connections 1");
        assert_eq!(bench.send(0), 0);
        bench.echo.begin(0, &(0..10_000_000));
        assert_eq!((bench.send(0), bench.send(999_999), bench.send(5_000_000)), (1, 0, 5));
        assert_eq!((bench.send(1_000_000_000), bench.echo.unanswered()), (4, 10));
        assert_eq!((bench.record.max_late, bench.record.count.late), (994_000_000, 7));
        assert_eq!(bench.record.count.late_by_generator, 7);
        assert_eq!(bench.finish(), [10, 0, 0, 0]);
    }

    #[test]
    fn a_bounded_open_loop_waits_for_answers_and_counts_from_the_plan() {
        let mut bench = bench("--rate 1000 --connections 1 --pipeline 1");
        bench.echo.begin(0, &(0..10_000_000));
        assert_eq!((bench.send(0), bench.send(8_000_000)), (1, 0));
        bench.answer(0);
        assert_eq!(bench.send(8_000_000), 1);
        // It was late, and not by our fault.
        assert_eq!((bench.record.count.late, bench.record.count.late_by_generator), (1, 0));
        bench.answer(1);
        assert_eq!(bench.record.from_plan.len(), 2);
        assert_eq!(bench.finish(), [0; 4]);
    }

    #[test]
    fn each_lie_has_its_name() {
        let lies: [(&[u64], [u64; 4]); 6] = [
            (&[0, 1, 2, 3], [0, 0, 0, 0]),
            (&[0, 1, 3], [1, 0, 0, 0]),
            (&[0, 1, 2], [1, 0, 0, 0]),
            (&[0, 1, 1, 2, 3, 3], [0, 2, 0, 0]),
            (&[0, 2, 1, 3], [0, 0, 1, 0]),
            (&[3, 0, 2, 1], [0, 0, 3, 0]),
        ];
        for (answers, faults) in lies {
            let mut bench = bench("--pipeline 4 --messages 4 --connections 1");
            bench.send(1);
            for seq in answers {
                bench.answer(*seq);
            }
            assert_eq!(bench.finish(), faults, "{answers:?}");
        }
    }

    #[test]
    fn a_message_that_was_never_sent_is_corrupted() {
        let mut bench = bench("--pipeline 4 --messages 4 --connections 1");
        bench.send(1);
        let mut payload = Vec::new();
        bench.echo.payloads.render(0, 0, &mut payload);
        payload[19] ^= 1;
        bench.deliver(MessageKind::Binary, &mut payload);
        payload.clear();
        bench.echo.payloads.render(1, 1, &mut payload);
        bench.deliver(MessageKind::Binary, &mut payload);
        payload.clear();
        bench.echo.payloads.render(0, 2, &mut payload);
        bench.deliver(MessageKind::Text, &mut payload);
        bench.answer(3);
        bench.answer(4);
        assert_eq!(bench.finish(), [0, 0, 0, 4]);
    }

    #[test]
    fn an_idle_lane_is_small() {
        assert!(size_of::<Lane>() <= 64, "{}", size_of::<Lane>());
    }
}
