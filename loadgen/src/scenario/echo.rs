//! The scenarios `echo` and `slow`: every message comes back, once, unchanged and in order.

use std::collections::BTreeSet;
use std::ops::Range;

use switchboard::proto::{
    Connection, Encoding, MAX_FRAME_HEADER_LEN, MaskingKeys, Message, MessageKind, Outgoing,
};

use super::flights::{Flight, Flights};
use super::{masking_keys, planned_in_window};
use crate::clock::Nanos;
use crate::fleet::{End, Scenario, Step, Turn};
use crate::payload::Payloads;
use crate::plan::{Kind, MAX_IN_FLIGHT, Pacing, Plan};
use crate::record::Record;
use crate::schedule::{Cursor, OpenLoop};

/// One write holds frames up to this many bytes, and one frame at least.
pub(super) const MAX_WRITE: usize = 256 * 1024;

/// What a slow connection has in flight at most, and all of them together, in bytes.
const MAX_SLOW_BYTES: u64 = 4 << 20;
const MAX_ALL_SLOW_BYTES: u64 = 1 << 30;

/// One connection's messages: `sent` of them went out, the answer to `expected` comes next.
#[derive(Debug)]
pub(crate) struct Lane {
    number: u32,
    /// The next send was held up by the bound on what is unanswered, or by a full socket.
    is_held: bool,
    is_slow: bool,
    sent: u64,
    expected: u64,
    /// The answers before this one are in the record.
    recorded: u64,
    /// The messages in flight, by the write they went out with.
    flight: Flight,
    /// Messages whose answer was overtaken; only a server that errs makes this grow.
    #[expect(clippy::box_collection, reason = "8 bytes where there are no gaps")]
    missing: Option<Box<BTreeSet<u64>>>,
}

/// All lanes of a thread together.
#[derive(Debug)]
pub(crate) struct Echo {
    pacing: Pacing,
    messages: Option<u64>,
    connections: u32,
    payloads: Payloads,
    keys: MaskingKeys,
    flights: Flights,
    cursor: Cursor,
    /// Set when messages begin to go out, in an open loop.
    plan: Option<OpenLoop>,
    unanswered: u64,
    /// Messages that the lanes still owe, when each has a number of them to send.
    owed: u64,
    /// Lanes from this number on read slowly, at so many bytes per second.
    first_slow: u32,
    slow_bytes: Option<u64>,
    /// Messages that a slow connection keeps unanswered: it sends as long as the server takes what it sends.
    slow_pipeline: u64,
    /// Messages of one write at most.
    at_once: u64,
    scratch: Vec<u8>,
}

impl Echo {
    pub(crate) fn new(plan: &Plan, thread: u32) -> Self {
        let (slow, slow_bytes) = match plan.kind {
            Kind::Slow { slow, bytes_per_second, .. } => (slow, Some(bytes_per_second)),
            _ => (0, None),
        };
        let slow_bytes_each = MAX_SLOW_BYTES.min(MAX_ALL_SLOW_BYTES / u64::from(slow.max(1)));
        let slow_pipeline = (slow_bytes_each / plan.sizes.max.max(1) as u64).clamp(1, MAX_IN_FLIGHT);
        Self {
            pacing: plan.pacing,
            messages: plan.messages,
            connections: plan.connections,
            payloads: Payloads::new(plan.message_kind, plan.sizes, plan.seed, plan.mask),
            keys: masking_keys(plan, thread),
            flights: Flights::new(),
            cursor: Cursor::new(thread, plan.threads),
            plan: None,
            unanswered: 0,
            owed: 0,
            first_slow: plan.connections - slow,
            slow_bytes,
            slow_pipeline: slow_pipeline.max(plan.pacing.pipeline),
            at_once: (MAX_WRITE / (plan.sizes.max + MAX_FRAME_HEADER_LEN)).max(1) as u64,
            scratch: Vec::new(),
        }
    }

    /// How many messages of `lane` may go out at `now`, and whether more of them are due.
    #[inline]
    fn allowance(&self, lane: &Lane, now: Nanos) -> (u64, bool) {
        let bound = if lane.is_slow { self.slow_pipeline } else { self.pacing.pipeline };
        let free = bound.saturating_sub(lane.sent - lane.expected);
        let due = match (self.pacing.rate, &self.plan) {
            (None, _) => free,
            (Some(_), Some(plan)) => plan.share(plan.due(now), lane.number) - lane.sent,
            (Some(_), None) => 0,
        };
        let due = due.min(self.messages.map_or(u64::MAX, |messages| messages - lane.sent));
        (due.min(free), due > free)
    }

    /// Nobody waits for the answers before `seq` any more.
    fn skip_to(&mut self, lane: &mut Lane, seq: u64) {
        self.forget(lane, seq - lane.expected);
        self.flights.land(&mut lane.flight, lane.expected, seq, |_, _| {});
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
        self.flights.land(&mut lane.flight, from, to, |at, count| {
            if !is_slow {
                record.answers(at, now, count);
            }
        });
        if let (Some(plan), false) = (&self.plan, is_slow) {
            for seq in from..to {
                record.answer_of_plan(plan.planned(lane.number, seq), now);
            }
        }
    }

    /// Something came that is not the next answer: says what it is instead.
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
                // Overtaken or dropped: which of them is known when it comes, or does not.
                lane.missing.get_or_insert_default().extend(lane.expected..seq);
                self.skip_to(lane, seq);
                lane.expected += 1;
            }
            _ => {
                record.count.corrupted += 1;
                // It stands in the place of the answer that was expected.
                if lane.expected < lane.sent {
                    self.skip_to(lane, lane.expected + 1);
                }
            }
        }
    }

    /// Frames with `count` messages, compressed where that was agreed.
    #[inline]
    fn write_frames(&mut self, lane: &Lane, count: u64, connection: &mut Connection, out: &mut Vec<u8>) {
        if connection.encoding() == Encoding::Plain {
            return self.payloads.write_frames(lane.number, lane.sent, count, &mut self.keys, out);
        }
        for seq in lane.sent..lane.sent + count {
            self.scratch.clear();
            self.payloads.render(lane.number, seq, &mut self.scratch);
            let message = match self.payloads.kind {
                // Letters.
                MessageKind::Text => Outgoing::text(std::str::from_utf8(&self.scratch).unwrap_or_default()),
                MessageKind::Binary => Outgoing::binary(&self.scratch),
            };
            // Cannot fail: the loop composes on open connections only.
            let _ = connection.encode(message, out);
        }
    }
}

impl Scenario for Echo {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        let is_slow = number >= self.first_slow;
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
        self.slow_bytes.filter(|_| number >= self.first_slow)
    }

    fn begin(&mut self, start: Nanos, window: &Range<Nanos>) -> Option<f64> {
        self.plan = self.pacing.rate.map(|rate| OpenLoop::new(start, window.end, rate, self.connections));
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
    fn settle(&mut self, lane: &mut Lane, now: Nanos, record: &mut Record) {
        self.record_answers(lane, now, record);
    }

    #[inline]
    fn compose(
        &mut self,
        lane: &mut Lane,
        connection: &mut Connection,
        turn: Turn,
        record: &mut Record,
        out: &mut Vec<u8>,
    ) -> Step {
        if !turn.sends {
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
                record.departed(plan.planned(lane.number, seq), turn.now, was_held);
            }
        }
        self.write_frames(lane, count, connection, out);
        lane.sent += count;
        self.flights.push(&mut lane.flight, lane.sent, turn.now);
        if !lane.is_slow {
            self.owed = self.owed.saturating_sub(count);
            self.unanswered += count;
            record.count.sent += count;
        }
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
        let in_flight = lane.sent - lane.expected;
        let owed = match (self.messages, &self.plan) {
            (Some(messages), _) => messages - lane.sent,
            (None, Some(plan)) => plan.share(plan.due(now), lane.number) - lane.sent,
            (None, None) => 0,
        };
        let missing = lane.missing.as_ref().map_or(0, |missing| missing.len() as u64);
        record.count.lost += missing;
        self.flights.land(&mut lane.flight, lane.expected, lane.sent, |_, _| {});
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
        if *end == End::CutOff {
            record.count.cut_off += in_flight;
        } else {
            record.count.lost += in_flight;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan_of;

    struct Bench {
        echo: Echo,
        lane: Lane,
        connection: Connection,
        record: Record,
    }

    fn bench(options: &str) -> Bench {
        let plan = plan_of(&format!("echo --mask fixed {options}"), "127.0.0.1:1").unwrap();
        let mut echo = Echo::new(&plan, 0);
        let lane = echo.lane(0);
        let mut record = Record::new(plan.primary()).unwrap();
        record.begin(0..20_000_000);
        let connection = Connection::client(&std::sync::Arc::default(), MaskingKeys::Seeded(1), 0);
        Bench { echo, lane, connection, record }
    }

    impl Bench {
        fn send(&mut self, now: Nanos) -> u64 {
            let before = self.lane.sent;
            let turn = Turn { now, sends: true, was_blocked: false };
            let (lane, record) = (&mut self.lane, &mut self.record);
            self.echo.compose(lane, &mut self.connection, turn, record, &mut Vec::new());
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
            self.echo.settle(&mut self.lane, 500, &mut self.record);
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
