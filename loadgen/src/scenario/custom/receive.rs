//! What connections of the scenario `custom` receive.

use std::sync::Arc;

use super::awaited::Answers;
use super::expect::{Alike, Judged};
use super::mqtt::{self, Packet};
use super::script::{Opening, Script};
use super::{Custom, Lane, MAX_PACKET, MAX_REPLIES, Stage};
use crate::clock::Nanos;
use crate::output::plain::cut;
use crate::output::record::Record;

impl Custom {
    /// What a message of an open connection is, if it need not be read.
    #[inline]
    fn recognised(&self, lane: &mut Lane, octets: &[u8]) -> Option<Judged> {
        let judged = match self.script.number(octets) {
            Some(seq) => Judged::Answer(Some(seq)),
            None => lane.shapes.recognise(octets)?,
        };
        debug_assert_eq!(
            std::str::from_utf8(octets).map(|text| {
                let is_other = self.script.other_patterns().any(|pattern| pattern.is_match(text));
                (is_other, self.script.expectations.judge(text, lane.number))
            }),
            Ok((false, judged))
        );
        Some(judged)
    }

    /// Reads a message of an open connection, so that the next ones like it need not be read.
    fn judge(&self, lane: &mut Lane, text: &str) -> Judged {
        let Script { expectations, ignores_numbers, .. } = &*self.script;
        let judged = expectations.judge(text, lane.number);
        let number = match (judged, expectations.alike()) {
            (Judged::Answer(Some(seq)), Alike::AnswersNumber(plus) | Alike::AnyNumber(plus)) => {
                Some((seq, plus))
            }
            // Some servers say more of the message that they have just answered.
            (Judged::Other, Alike::AnyNumber(plus)) => {
                lane.awaited.oldest().checked_sub(1).map(|seq| (seq, plus))
            }
            _ => None,
        };
        let is_always_alike = matches!(judged, Judged::Other | Judged::Answer(None));
        if judged != Judged::Wrong {
            lane.shapes.learn(text, judged, number.filter(|_| *ignores_numbers), is_always_alike);
        }
        judged
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
                _ => self.forget(lane, text, now, record),
            };
        }
        if let Stage::Opening(step) = lane.stage {
            if let Some(Opening::Await(pattern)) = script.opening.get(step)
                && let Some(groups) = pattern.captures(text)
            {
                for name in pattern.names() {
                    let value = groups.name(name).map_or("", |group| group.as_str());
                    lane.variables.insert(name.to_owned(), value.to_owned());
                }
                lane.stage = Stage::Opening(step + 1);
            }
            return;
        }
        let judged = self.judge(lane, text);
        self.settle(lane, judged, now, record);
    }

    /// Records what a message of an open connection is.
    fn settle(&mut self, lane: &mut Lane, judged: Judged, now: Nanos, record: &mut Record) {
        let seq = match judged {
            Judged::Other => return,
            Judged::Wrong => {
                record.count.corrupted += 1;
                if !self.script.expectations.names_message() {
                    // It counts as the expected answer.
                    self.skip(lane, lane.awaited.oldest(), now, record);
                }
                return;
            }
            // A server may speak first.
            Judged::Answer(None) if lane.awaited.sent() == 0 => return,
            Judged::Answer(None) => lane.awaited.oldest(),
            Judged::Answer(Some(seq)) if seq >= lane.awaited.sent() => {
                record.count.corrupted += 1;
                return;
            }
            Judged::Answer(Some(seq)) => seq,
        };
        if !self.answered(lane, seq, now, record) {
            record.count.duplicated += 1;
        }
    }

    /// Records an answer. `false`: the message does not wait for one.
    #[inline]
    fn answered(&mut self, lane: &mut Lane, seq: u64, now: Nanos, record: &mut Record) -> bool {
        let waits = lane.awaited.waits(seq);
        if waits {
            self.unanswered -= 1;
            let plan = self.plan.as_ref();
            let answers = &mut Answers { flights: &mut self.flights, plan, record, now };
            lane.awaited.answer(seq, lane.number, answers);
        }
        waits
    }

    /// The run does not wait for the answer to a message any more.
    fn skip(&mut self, lane: &mut Lane, seq: u64, now: Nanos, record: &mut Record) {
        if lane.awaited.waits(seq) {
            self.unanswered -= 1;
            let plan = self.plan.as_ref();
            let answers = &mut Answers { flights: &mut self.flights, plan, record, now };
            lane.awaited.forget(seq, lane.number, answers);
        }
    }

    /// A message of the connection was refused.
    fn forget(&mut self, lane: &mut Lane, text: &str, now: Nanos, record: &mut Record) {
        let seq = match self.script.expectations.judge(text, lane.number) {
            Judged::Answer(Some(seq)) => seq,
            _ => lane.awaited.oldest(),
        };
        self.skip(lane, seq, now, record);
    }

    /// Takes in a message, or a line of one.
    #[inline]
    pub(super) fn receive_one(&mut self, lane: &mut Lane, octets: &[u8], now: Nanos, record: &mut Record) {
        if lane.stage == Stage::Ready
            && let Some(judged) = self.recognised(lane, octets)
        {
            // Most servers answer in order.
            if let Judged::Answer(Some(seq)) = judged
                && lane.awaited.answer_in_order(seq)
            {
                self.unanswered -= 1;
                return;
            }
            return self.settle(lane, judged, now, record);
        }
        self.read_one(lane, octets, now, record);
    }

    /// Takes in a message that is not recognised.
    fn read_one(&mut self, lane: &mut Lane, octets: &[u8], now: Nanos, record: &mut Record) {
        if self.script.has_lines && octets.contains(&b'\n') {
            for line in octets.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
                self.receive_one(lane, line, now, record);
            }
            return;
        }
        match std::str::from_utf8(octets) {
            Ok(text) => self.receive_text(lane, text, now, record),
            Err(_) => record.count.corrupted += 1,
        }
    }

    /// Takes in the packets of MQTT that are complete. Returns their length; `None`: the octets are not MQTT.
    #[inline]
    fn read_packets(
        &mut self,
        lane: &mut Lane,
        octets: &[u8],
        now: Nanos,
        record: &mut Record,
    ) -> Option<usize> {
        mqtt::read_packets(octets, |packet| match (packet, lane.stage) {
            (Packet::Acknowledged(identifier), _) => {
                let is_answer = mqtt::seq_of(identifier, lane.awaited.oldest())
                    .is_some_and(|seq| self.answered(lane, seq, now, record));
                if !is_answer {
                    let sent = lane.awaited.sent();
                    let was_sent = sent >= 65_535 || u64::from(identifier) <= sent && identifier > 0;
                    let count = &mut record.count;
                    *(if was_sent { &mut count.duplicated } else { &mut count.corrupted }) += 1;
                }
            }
            (Packet::Connected(0), Stage::Opening(_)) => self.ready(lane),
            (Packet::Connected(code), _) => {
                record.failure(&format!("error of the server: MQTT CONNACK with code {code}"));
                self.give_up(lane);
            }
            (Packet::Other, _) => {}
        })
    }

    #[inline]
    pub(super) fn receive_packets(
        &mut self,
        lane: &mut Lane,
        octets: &[u8],
        now: Nanos,
        record: &mut Record,
    ) {
        let mut received = std::mem::take(&mut lane.received);
        let read = if received.is_empty() {
            let read = self.read_packets(lane, octets, now, record);
            if read == Some(octets.len()) {
                return;
            }
            received.extend_from_slice(octets);
            read
        } else {
            received.extend_from_slice(octets);
            self.read_packets(lane, &received, now, record)
        };
        match read {
            Some(read) if received.len() - read <= MAX_PACKET => drop(received.drain(..read)),
            _ => {
                record.count.corrupted += 1;
                received.clear();
            }
        }
        lane.received = received;
    }
}
