//! The scenario `echo`: every message comes back, once, unchanged and in order.

use std::collections::{BTreeSet, VecDeque};

use switchboard::proto::{MaskingKeys, Message, MessageKind, Opcode, write_frame};

use crate::clock::Nanos;
use crate::fleet::Scenario;
use crate::payload::Payloads;
use crate::plan::{MAX_IN_FLIGHT, Pacing, Plan};
use crate::record::Record;
use crate::schedule::OpenLoop;

/// One write holds frames up to this many bytes, and one frame at least.
const MAX_WRITE: usize = 256 * 1024;

/// One connection's messages: `sent` of them went out, the answer to `expected` comes next.
#[derive(Debug)]
pub(crate) struct Lane {
    number: u32,
    sent: u64,
    expected: u64,
    /// The messages in flight, by the write they went out with.
    writes: VecDeque<Write>,
    /// Messages whose answer was overtaken; only a server that errs makes this grow.
    missing: BTreeSet<u64>,
}

/// Messages before `until`, and not of an earlier write.
#[derive(Debug, Clone, Copy)]
struct Write {
    until: u64,
    at: Nanos,
}

/// All lanes together.
#[derive(Debug)]
pub(crate) struct Echo {
    pacing: Pacing,
    kind: MessageKind,
    opcode: Opcode,
    messages: Option<u64>,
    connections: u32,
    payloads: Payloads,
    keys: MaskingKeys,
    /// Set when messages begin to go out, in an open loop.
    plan: Option<OpenLoop>,
    unanswered: u64,
    /// Messages that the lanes still owe, when each has a number of them to send.
    owed: u64,
}

impl Echo {
    pub(crate) fn new(plan: &Plan, keys: MaskingKeys) -> Self {
        Self {
            pacing: plan.pacing,
            kind: plan.kind,
            opcode: match plan.kind {
                MessageKind::Text => Opcode::Text,
                MessageKind::Binary => Opcode::Binary,
            },
            messages: plan.messages,
            connections: plan.connections,
            payloads: Payloads::new(plan.kind, plan.size, plan.seed),
            keys,
            plan: None,
            unanswered: 0,
            owed: 0,
        }
    }

    /// How many messages of `lane` may go out at `now`.
    #[inline]
    fn allowance(&self, lane: &Lane, now: Nanos) -> u64 {
        let in_flight = lane.sent - lane.expected;
        let allowed = match (self.pacing, &self.plan) {
            (Pacing::Closed { pipeline }, _) => pipeline.saturating_sub(in_flight),
            (Pacing::Open { .. }, Some(plan)) => {
                let due = plan.share(plan.due(now), lane.number) - lane.sent;
                due.min(MAX_IN_FLIGHT.saturating_sub(in_flight))
            }
            (Pacing::Open { .. }, None) => 0,
        };
        allowed.min(self.messages.map_or(u64::MAX, |messages| messages - lane.sent))
    }

    #[inline]
    fn accept(&mut self, lane: &mut Lane, now: Nanos, record: &mut Record) {
        let seq = lane.expected;
        lane.expected += 1;
        self.unanswered -= 1;
        if let Some(&Write { until, at }) = lane.writes.front() {
            record.echo(at, now);
            if until == lane.expected {
                lane.writes.pop_front();
            }
        }
        if let Some(plan) = &self.plan {
            record.echo_of_plan(plan.planned(lane.number, seq), now);
        }
    }

    /// Nobody waits for the answers before `seq` any more.
    fn skip_to(&mut self, lane: &mut Lane, seq: u64) {
        self.unanswered -= seq - lane.expected;
        lane.expected = seq;
        while lane.writes.front().is_some_and(|write| write.until <= seq) {
            lane.writes.pop_front();
        }
    }

    /// Something came that is not the next answer: says what it is instead.
    #[cold]
    fn judge(&mut self, lane: &mut Lane, payload: Option<&[u8]>, now: Nanos, record: &mut Record) {
        let seq = payload
            .map(|payload| (payload, self.payloads.claimed(payload, lane.expected)))
            .and_then(|(payload, seq)| self.payloads.matches(lane.number, seq, payload).then_some(seq));
        match seq {
            Some(seq) if seq < lane.expected => {
                let was_missing = lane.missing.remove(&seq);
                if was_missing { record.reordered += 1 } else { record.duplicated += 1 }
            }
            Some(seq) if seq < lane.sent => {
                // Overtaken or dropped: which of them is known when it comes, or does not.
                lane.missing.extend(lane.expected..seq);
                self.skip_to(lane, seq);
                self.accept(lane, now, record);
            }
            _ => {
                record.corrupted += 1;
                // It stands in the place of the answer that was expected.
                if lane.expected < lane.sent {
                    self.skip_to(lane, lane.expected + 1);
                }
            }
        }
    }
}

impl Scenario for Echo {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        self.owed += self.messages.unwrap_or(0);
        Lane { number, sent: 0, expected: 0, writes: VecDeque::new(), missing: BTreeSet::new() }
    }

    fn begin(&mut self, start: Nanos, end: Nanos) {
        if let Pacing::Open { rate } = self.pacing {
            self.plan = Some(OpenLoop::new(start, end, rate, self.connections));
        }
    }

    #[inline]
    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        let is_kind = message.kind == self.kind;
        if is_kind
            && lane.expected < lane.sent
            && self.payloads.matches(lane.number, lane.expected, message.payload)
        {
            self.accept(lane, now, record);
        } else {
            self.judge(lane, is_kind.then_some(&*message.payload), now, record);
        }
    }

    #[inline]
    fn compose(&mut self, lane: &mut Lane, now: Nanos, record: &mut Record, out: &mut Vec<u8>) -> bool {
        let until = lane.sent + self.allowance(lane, now);
        let first = lane.sent;
        while lane.sent < until && (out.len() < MAX_WRITE || lane.sent == first) {
            if let Some(plan) = &self.plan {
                record.departed(plan.planned(lane.number, lane.sent), now);
            }
            let payload = self.payloads.render(lane.number, lane.sent);
            write_frame(out, true, self.opcode, payload, Some(self.keys.next_key()));
            lane.sent += 1;
        }
        let count = lane.sent - first;
        if count > 0 {
            lane.writes.push_back(Write { until: lane.sent, at: now });
            self.unanswered += count;
            self.owed = self.owed.saturating_sub(count);
            record.sent += count;
        }
        lane.sent < until
    }

    fn due(&self, now: Nanos) -> u64 {
        self.plan.map_or(0, |plan| plan.due(now))
    }

    fn next(&self, due: u64) -> Option<Nanos> {
        self.plan.and_then(|plan| plan.next(due))
    }

    fn unanswered(&self) -> u64 {
        self.unanswered
    }

    fn all_sent(&self) -> bool {
        self.messages.is_some() && self.owed == 0
    }

    fn end(&mut self, lane: Lane, is_cut_off: bool, now: Nanos, record: &mut Record) {
        let in_flight = lane.sent - lane.expected;
        let owed = match (self.messages, &self.plan) {
            (Some(messages), _) => messages - lane.sent,
            (None, Some(plan)) => plan.share(plan.due(now), lane.number) - lane.sent,
            (None, None) => 0,
        };
        record.lost += lane.missing.len() as u64;
        if is_cut_off {
            record.cut_off += in_flight;
        } else {
            record.lost += in_flight;
            record.unsent += owed;
        }
        self.unanswered -= in_flight;
        if self.messages.is_some() {
            self.owed -= owed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::plan::Target;
    use clap::Parser as _;

    struct Bench {
        echo: Echo,
        lane: Lane,
        record: Record,
        payloads: Payloads,
    }

    fn bench(options: &str) -> Bench {
        let words = ["loadgen", "echo", "ws://127.0.0.1:1/"];
        let Command::Echo(args) =
            Cli::try_parse_from(words.into_iter().chain(options.split_whitespace())).unwrap().command;
        let target = Target::parse(&args.url).unwrap();
        let plan = Plan::check(&args, target, &["127.0.0.1:1".parse().unwrap()], 3).unwrap();
        let mut echo = Echo::new(&plan, MaskingKeys::Fixed([1, 2, 3, 4]));
        let lane = echo.lane(0);
        let payloads = Payloads::new(plan.kind, plan.size, plan.seed);
        let mut record = Record::new().unwrap();
        record.window = 0..u64::MAX;
        Bench { echo, lane, record, payloads }
    }

    impl Bench {
        fn send(&mut self, now: Nanos) -> u64 {
            let before = self.lane.sent;
            self.echo.compose(&mut self.lane, now, &mut self.record, &mut Vec::new());
            self.lane.sent - before
        }

        fn answer(&mut self, seq: u64) {
            let mut payload = self.payloads.render(0, seq).to_vec();
            self.deliver(MessageKind::Binary, &mut payload);
        }

        fn deliver(&mut self, kind: MessageKind, payload: &mut [u8]) {
            let message = Message { kind, payload };
            self.echo.receive(&mut self.lane, &message, 500, &mut self.record);
        }

        /// Lost, duplicated, reordered, corrupted.
        fn finish(mut self) -> [u64; 4] {
            self.echo.end(self.lane, false, 2_000_000_000, &mut self.record);
            self.record.flush();
            assert_eq!(self.echo.unanswered(), 0);
            self.record.faults().map(|(_, count)| count)
        }
    }

    #[test]
    fn a_closed_loop_keeps_its_pipeline_full_and_stops_after_its_messages() {
        let mut bench = bench("--pipeline 4 --messages 6");
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
        assert_eq!((bench.send(4), bench.echo.unanswered(), bench.record.echoed_so_far()), (0, 0, 6));
        assert_eq!(bench.finish(), [0; 4]);
    }

    #[test]
    fn an_open_loop_sends_what_is_due_whether_or_not_it_is_answered() {
        let mut bench = bench("--rate 1000 --connections 1");
        assert_eq!(bench.send(0), 0);
        bench.echo.begin(0, 10_000_000);
        assert_eq!((bench.send(0), bench.send(999_999), bench.send(5_000_000)), (1, 0, 5));
        assert_eq!((bench.send(1_000_000_000), bench.echo.unanswered()), (4, 10));
        assert_eq!(bench.record.max_lag, 994_000_000);
        assert_eq!(bench.finish(), [10, 0, 0, 0]);
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
            let mut bench = bench("--pipeline 4 --messages 4");
            bench.send(1);
            for seq in answers {
                bench.answer(*seq);
            }
            assert_eq!(bench.finish(), faults, "{answers:?}");
        }
    }

    #[test]
    fn a_message_that_was_never_sent_is_corrupted() {
        let mut bench = bench("--pipeline 4 --messages 4");
        bench.send(1);
        let mut payload = bench.payloads.render(0, 0).to_vec();
        payload[19] ^= 1;
        bench.deliver(MessageKind::Binary, &mut payload);
        let mut payload = bench.payloads.render(1, 1).to_vec();
        bench.deliver(MessageKind::Binary, &mut payload);
        let mut payload = bench.payloads.render(0, 2).to_vec();
        bench.deliver(MessageKind::Text, &mut payload);
        bench.answer(3);
        bench.answer(4);
        assert_eq!(bench.finish(), [0, 0, 0, 4]);
    }
}
