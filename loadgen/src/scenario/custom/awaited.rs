//! The messages of one connection that wait for an answer. Answers may come in any order.

use std::collections::BTreeSet;

use crate::clock::Nanos;
use crate::output::record::Record;
use crate::run::schedule::OpenLoop;
use crate::scenario::flights::{Flight, Flights};

/// What the answers of a thread need besides their own connection.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    pub(super) flights: &'a mut Flights,
    pub(super) plan: Option<&'a OpenLoop>,
    pub(super) record: &'a mut Record,
    pub(super) now: Nanos,
}

/// The messages of a connection: `sent` went out, and `oldest` is the first one that waits.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    sent: u64,
    oldest: u64,
    /// The record has the answers before this one.
    recorded: u64,
    flight: Flight,
    /// Later messages than the oldest that do not wait any more.
    #[expect(clippy::box_collection, reason = "8 bytes if answers come in order")]
    settled: Option<Box<BTreeSet<u64>>>,
}

impl Awaited {
    /// Messages that went out.
    #[inline]
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Messages that wait.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.sent - self.oldest - self.settled.as_ref().map_or(0, |settled| settled.len() as u64)
    }

    /// The first message that waits, or the next one to go out.
    #[inline]
    pub(super) fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Messages went out.
    #[inline]
    pub(super) fn push(&mut self, count: u64, now: Nanos, flights: &mut Flights) {
        self.sent += count;
        flights.push(&mut self.flight, self.sent, now);
    }

    /// Whether a message waits.
    #[inline]
    pub(super) fn waits(&self, seq: u64) -> bool {
        (self.oldest..self.sent).contains(&seq)
            && (seq == self.oldest || !self.settled.as_ref().is_some_and(|settled| settled.contains(&seq)))
    }

    /// The oldest message is answered, if it is this one and no later one was answered before it. The answers of one read are
    /// recorded together.
    #[inline]
    pub(super) fn answer_in_order(&mut self, seq: u64) -> bool {
        let is_next = seq == self.oldest && seq < self.sent && self.settled.is_none();
        self.oldest += u64::from(is_next);
        is_next
    }

    /// A message that waits is answered.
    #[inline]
    pub(super) fn answer(&mut self, seq: u64, lane: u32, answers: &mut Answers<'_>) {
        if self.answer_in_order(seq) {
            return;
        }
        if seq == self.oldest {
            self.oldest += 1;
            self.skip_settled(lane, answers);
        } else {
            self.answer_early(seq, lane, answers);
        }
    }

    #[cold]
    fn answer_early(&mut self, seq: u64, lane: u32, answers: &mut Answers<'_>) {
        let Answers { flights, plan, record, now } = answers;
        if let Some(at) = flights.instant(self.flight, seq) {
            record.answers(at, *now, 1);
        }
        if let Some(plan) = plan {
            record.answer_of_plan(plan.planned(lane, seq), *now);
        }
        self.settled.get_or_insert_default().insert(seq);
    }

    /// A message that waits will not be answered.
    #[cold]
    pub(super) fn forget(&mut self, seq: u64, lane: u32, answers: &mut Answers<'_>) {
        self.settled.get_or_insert_default().insert(seq);
        self.skip_settled(lane, answers);
    }

    /// Goes on to the next message that waits.
    #[cold]
    fn skip_settled(&mut self, lane: u32, answers: &mut Answers<'_>) {
        let Some(mut settled) = self.settled.take() else { return };
        while settled.remove(&self.oldest) {
            self.flush(lane, answers);
            self.oldest += 1;
            self.recorded = self.oldest;
            answers.flights.remove(&mut self.flight, self.oldest - 1, self.oldest, |_, _| {});
        }
        self.settled = (!settled.is_empty()).then_some(settled);
    }

    /// Records the answers that came in order.
    #[inline]
    pub(super) fn flush(&mut self, lane: u32, answers: &mut Answers<'_>) {
        let (from, to) = (self.recorded, self.oldest);
        if from == to {
            return;
        }
        self.recorded = to;
        let Answers { flights, plan, record, now } = answers;
        flights.remove(&mut self.flight, from, to, |at, count| record.answers(at, *now, count));
        if let Some(plan) = plan {
            for seq in from..to {
                record.answer_of_plan(plan.planned(lane, seq), *now);
            }
        }
    }

    /// The connection ended. Returns the number of messages that waited.
    pub(super) fn end(&mut self, flights: &mut Flights) -> u64 {
        let waited = self.count();
        flights.remove(&mut self.flight, self.recorded, self.sent, |_, _| {});
        (self.oldest, self.recorded, self.settled) = (self.sent, self.sent, None);
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::arrivals::next_random;
    use crate::scenario::tests::plan_of;

    fn record() -> Record {
        let plan = plan_of("echo --connections 1", "127.0.0.1:1").unwrap();
        let mut record = Record::new(plan.primary()).unwrap();
        record.begin(0..u64::MAX);
        record
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn whatever_the_order_each_answer_has_its_latency_once() {
        let mut random = 7;
        for round in 0..500 {
            let (mut awaited, mut flights, mut record) = (Awaited::default(), Flights::new(), record());
            let mut naive: Vec<(u64, Nanos)> = Vec::new();
            let (mut expected, mut forgotten) = (Vec::new(), 0);
            for now in (0..60).map(|step| step * 1_000_000) {
                let choice = next_random(&mut random) % 8;
                let mut answers = Answers { flights: &mut flights, plan: None, record: &mut record, now };
                if choice < 3 {
                    naive.extend((0..=choice).map(|i| (awaited.sent() + i, now)));
                    awaited.push(choice + 1, now, answers.flights);
                } else if !naive.is_empty() {
                    // In order in half of all rounds.
                    let any = (next_random(&mut random) % naive.len() as u64) as usize;
                    let (seq, at) = naive.remove(if round % 2 == 0 { 0 } else { any });
                    assert!(awaited.waits(seq));
                    if choice == 7 {
                        awaited.forget(seq, 0, &mut answers);
                        forgotten += 1;
                    } else {
                        awaited.answer(seq, 0, &mut answers);
                        expected.push(now - at);
                        if choice == 6 {
                            // The end of a read.
                            awaited.flush(0, &mut answers);
                        }
                    }
                    if choice != 6 {
                        awaited.flush(0, &mut answers);
                    }
                    assert!(!awaited.waits(seq));
                }
                assert_eq!(awaited.count(), naive.len() as u64);
                assert_eq!(
                    awaited.oldest(),
                    naive.iter().map(|(seq, _)| *seq).min().unwrap_or(awaited.sent())
                );
                assert!(naive.iter().all(|(seq, _)| awaited.waits(*seq)) && !awaited.waits(awaited.sent()));
            }
            let sum = |latencies: &[u64]| latencies.iter().sum::<u64>();
            assert_eq!(record.count.answered, expected.len() as u64);
            assert_eq!(record.from_send.len(), expected.len() as u64);
            let mean = sum(&expected) as f64 / expected.len().max(1) as f64;
            assert!(
                (record.from_send.mean() - mean).abs() <= mean / 100.0,
                "{} {mean}",
                record.from_send.mean()
            );
            assert_eq!(awaited.end(&mut flights), awaited.sent() - expected.len() as u64 - forgotten);
            assert_eq!((awaited.count(), flights.in_use()), (0, 0));
        }
    }
}
