//! The scenario `churn`: connect, talk, close, and again.

use std::ops::Range;

use switchboard::proto::{Connection, MaskingKeys, Message};

use super::masking_keys;
use crate::clock::Nanos;
use crate::fleet::{End, Scenario, Step, Turn};
use crate::payload::Payloads;
use crate::plan::Plan;
use crate::record::Record;

/// A place that holds one connection after the other.
#[derive(Debug)]
pub(crate) struct Lane {
    number: u32,
    is_open: bool,
    /// Messages over all connections of the lane.
    sent: u64,
    answered: u64,
    /// Messages after which the present connection closes.
    until: u64,
    sent_at: Nanos,
}

/// All lanes of a thread together.
#[derive(Debug)]
pub(crate) struct Churn {
    /// Connections begun per second on this thread; infinite: as fast as they end.
    rate: f64,
    /// Messages of each connection.
    messages: u64,
    payloads: Payloads,
    keys: MaskingKeys,
    /// Connections that talk.
    open: u64,
}

impl Churn {
    pub(crate) fn new(plan: &Plan, thread: u32, messages: u64) -> Self {
        Self {
            rate: plan.pacing.rate.map_or(f64::INFINITY, |rate| rate / f64::from(plan.threads)),
            messages,
            payloads: Payloads::new(plan.message_kind, plan.sizes, plan.seed, plan.mask),
            keys: masking_keys(plan, thread),
            open: 0,
        }
    }
}

impl Scenario for Churn {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        Lane { number, is_open: false, sent: 0, answered: 0, until: 0, sent_at: 0 }
    }

    fn dials_first(&self) -> bool {
        false
    }

    fn begin(&mut self, _start: Nanos, _window: &Range<Nanos>) -> Option<f64> {
        Some(self.rate)
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
            // It stands in the place of the answer that was expected.
            lane.answered = lane.sent;
        }
    }

    fn compose(
        &mut self,
        lane: &mut Lane,
        _connection: &mut Connection,
        turn: Turn,
        record: &mut Record,
        out: &mut Vec<u8>,
    ) -> Step {
        if lane.answered < lane.sent {
            return Step::Rest;
        }
        if lane.sent == lane.until {
            return Step::Close;
        }
        self.payloads.write_frames(lane.number, lane.sent, 1, &mut self.keys, out);
        lane.sent += 1;
        lane.sent_at = turn.now;
        record.count.sent += 1;
        Step::Rest
    }

    fn unanswered(&self) -> u64 {
        self.open
    }

    fn end(&mut self, lane: &mut Lane, end: &End, _now: Nanos, record: &mut Record) -> bool {
        self.open -= u64::from(std::mem::take(&mut lane.is_open));
        let in_flight = lane.sent - lane.answered;
        lane.answered = lane.sent;
        match end {
            End::CutOff => record.count.cut_off += in_flight,
            End::Clean | End::Dropped => record.count.lost += in_flight,
            End::Failed(name) => {
                record.count.lost += in_flight;
                record.failure(name);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan_of;
    use switchboard::proto::MessageKind;

    #[test]
    fn each_connection_says_what_it_has_to_say_and_closes() {
        let plan = plan_of("churn --messages 2", "127.0.0.1:1").unwrap();
        let mut churn = Churn::new(&plan, 0, 2);
        let mut record = Record::new(plan.primary()).unwrap();
        let mut lane = churn.lane(0);
        let mut connection = Connection::client(&std::sync::Arc::default(), MaskingKeys::Seeded(1), 0);
        let turn = Turn { now: 5, sends: false, was_blocked: false };
        for round in 0..3 {
            churn.opened(&mut lane, None, 0, &mut record).unwrap();
            for seq in 0..2 {
                let compose = |churn: &mut Churn, lane: &mut Lane, record: &mut Record| {
                    churn.compose(lane, &mut connection, turn, record, &mut Vec::new())
                };
                let mut compose = compose;
                assert_eq!(compose(&mut churn, &mut lane, &mut record), Step::Rest);
                assert_eq!(compose(&mut churn, &mut lane, &mut record), Step::Rest);
                let mut payload = Vec::new();
                churn.payloads.render(0, round * 2 + seq, &mut payload);
                let message = Message { kind: MessageKind::Binary, payload: &mut payload };
                churn.receive(&mut lane, &message, 9, &mut record);
            }
            assert_eq!(churn.unanswered(), 1);
            let step = churn.compose(&mut lane, &mut connection, turn, &mut record, &mut Vec::new());
            assert_eq!(step, Step::Close);
            assert!(churn.end(&mut lane, &End::Clean, 9, &mut record));
        }
        assert_eq!((record.count.sent, record.count.answered, record.count.lost), (6, 6, 0));
        assert_eq!(churn.unanswered(), 0);
    }
}
