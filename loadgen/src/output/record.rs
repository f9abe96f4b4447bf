//! What a thread of the generator recorded: counters, histograms, and failures by name.

use std::collections::BTreeMap;
use std::ops::Range;

use hdrhistogram::{CreationError, Histogram};

use super::plain::cut;
use super::series::Series;
use crate::clock::{Nanos, SECOND};
use crate::input::plan::Primary;

/// Bounds of the latencies in a histogram, which keeps three significant digits.
const SHORTEST: Nanos = 100;
const LONGEST: Nanos = 3600 * SECOND;
/// A message that leaves this much after its planned instant is late.
pub(crate) const LATE: Nanos = SECOND / 1000;
/// Limit on the different names of failures; all others share one name.
const MAX_FAILURES: usize = 64;
const OTHER_FAILURES: &str = "further kinds of failures";

/// Declares the counters: a field for each, and the addition of those of another thread.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters that every scenario shares.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: u64,)* }

        impl Counters {
            /// Adds the counters of another thread.
            fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }
        }
    };
}

impl Counters {
    /// Wrong messages.
    fn faults(&self) -> u64 {
        [self.duplicated, self.reordered, self.corrupted].into_iter().fold(self.lost, u64::saturating_add)
    }
}

counters! {
    /// Messages sent, the warm-up included.
    sent,
    /// Correct answers or deliveries, the warm-up included.
    answered,
    /// Correct answers that arrived within the window.
    answered_in_window,
    /// Messages without an answer, and deliveries that never arrived.
    lost,
    /// Answers and deliveries that had arrived before.
    duplicated,
    /// Correct answers that arrived after the answer to a later message.
    reordered,
    /// Messages that arrived although the generator never sent them.
    corrupted,
    /// Unanswered messages when the run was interrupted.
    cut_off,
    /// Messages that were due and could not be sent.
    unsent,
    /// Open loop: messages planned in the window.
    planned_in_window,
    /// Open loop: messages planned in the window and sent.
    sent_in_window,
    /// Messages that left more than [`LATE`] after their planned instant.
    late,
    /// Late messages that neither a full socket nor `--pipeline` delayed: the generator's own fault.
    late_by_generator,
    /// Completed opening handshakes.
    opened,
    /// Opening handshakes completed within the window.
    opened_in_window,
    /// Completed closing handshakes that the generator began.
    closed,
    /// Answered Pings of the server.
    pings,
    /// Octets read from the sockets.
    octets_in,
    /// Octets written to the sockets.
    octets_out,
    /// Publishes that reached their last receiver, and storms that ended.
    completed,
    /// Errors that a chat server reported.
    refused,
    /// Rooms left and joined again.
    rejoined,
    /// Joins that a chat server asked to repeat later.
    put_off,
    /// Histories that a chat server reported as not resumable.
    unrecovered,
    /// Slow connections that the server cut off.
    slow_cut,
    /// Bytes that slow connections read.
    slow_octets,
    /// Slow connections that were open until the end.
    slow_held,
    /// Unanswered messages of slow connections at the end of the run.
    slow_unanswered,
}

/// What one of several servers did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServerCount {
    /// Completed opening handshakes.
    pub(crate) opened: u64,
    /// Completed closing handshakes that the generator began.
    pub(crate) closed: u64,
    /// Correct answers or deliveries.
    pub(crate) answered: u64,
    /// Messages lost, duplicated, reordered or corrupted.
    pub(crate) faults: u64,
    pub(crate) failures: BTreeMap<String, u64>,
}

impl ServerCount {
    fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.answered += other.answered;
        self.faults = self.faults.saturating_add(other.faults);
        for (name, count) in &other.failures {
            count_by_name(&mut self.failures, name, *count);
        }
    }
}

/// The server whose connection is being served, and the counters before that.
#[derive(Debug)]
struct Served {
    server: usize,
    before: Counters,
}

/// The instants of an opening handshake.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OpeningSteps {
    /// The planned instant of the dial.
    pub(crate) planned: Nanos,
    pub(crate) dialled: Nanos,
    /// TCP is established, and has taken what was sent first.
    pub(crate) connected: Option<Nanos>,
    /// The TLS handshake is complete.
    pub(crate) secured: Option<Nanos>,
}

/// Everything from which the report is made.
#[derive(Debug)]
pub(crate) struct Record {
    /// The measured window. Messages belong to it by their planned instant or, in a closed loop, by their send.
    pub(crate) window: Range<Nanos>,
    pub(crate) count: Counters,
    /// The longest delay of a send behind its planned instant.
    pub(crate) max_late: Nanos,
    /// Processor time of each thread within the window.
    pub(crate) processor: Vec<Nanos>,
    /// Duration of each storm, until every connection was served again.
    pub(crate) storms: Vec<Nanos>,
    failures: BTreeMap<String, u64>,
    /// What each server did; empty if there is one.
    pub(crate) servers: Vec<ServerCount>,
    served: Option<Served>,
    /// Ends of slow connections, by name and count.
    pub(crate) slow_ends: BTreeMap<String, u64>,
    /// What the run could not check, with the reason.
    pub(crate) notes: Vec<String>,
    pub(crate) from_send: Histogram<u64>,
    pub(crate) from_plan: Histogram<u64>,
    /// From a publish to its last delivery.
    pub(crate) to_last: Histogram<u64>,
    /// From a post of the chat to each of its deliveries.
    pub(crate) delivery: Histogram<u64>,
    /// From the dial to the end of the opening handshake, TCP and TLS included.
    pub(crate) handshake: Histogram<u64>,
    /// The parts of it: until TCP is established, the TLS handshake, and the opening handshake itself.
    pub(crate) dial: Histogram<u64>,
    pub(crate) tls: Histogram<u64>,
    pub(crate) upgrade: Histogram<u64>,
    /// On each connection, from the first write after the opening handshake to the first read after that.
    pub(crate) first_answer: Histogram<u64>,
    /// From the planned instant of the dial to the end of the opening handshake.
    pub(crate) handshake_from_plan: Histogram<u64>,
    /// Open loop: from the planned instant of each message in the window to its send.
    pub(crate) drift: Histogram<u64>,
    /// Delay of each wake-up behind the instant for which it was set.
    pub(crate) lag: Histogram<u64>,
    pub(crate) series: Series,
    primary: Primary,
}

impl Record {
    /// An empty record. `primary`: the latency of the intervals.
    pub(crate) fn new(primary: Primary) -> Result<Self, CreationError> {
        let histogram = Histogram::new_with_bounds(SHORTEST, LONGEST, 3)?;
        Ok(Self {
            window: Nanos::MAX..Nanos::MAX,
            count: Counters::default(),
            max_late: 0,
            processor: Vec::new(),
            storms: Vec::new(),
            failures: BTreeMap::new(),
            servers: Vec::new(),
            served: None,
            slow_ends: BTreeMap::new(),
            notes: Vec::new(),
            from_send: histogram.clone(),
            from_plan: histogram.clone(),
            to_last: histogram.clone(),
            delivery: histogram.clone(),
            handshake: histogram.clone(),
            dial: histogram.clone(),
            tls: histogram.clone(),
            upgrade: histogram.clone(),
            first_answer: histogram.clone(),
            handshake_from_plan: histogram.clone(),
            drift: histogram.clone(),
            lag: histogram,
            series: Series::default(),
            primary,
        })
    }

    /// Counts also for each of several servers.
    pub(crate) fn for_servers(mut self, count: usize) -> Self {
        if count > 1 {
            self.servers = vec![ServerCount::default(); count];
        }
        self
    }

    /// What is recorded from now on until [`Self::served`] was caused by a connection to this server.
    pub(crate) fn serving(&mut self, server: usize) {
        debug_assert!(self.served.is_none(), "one connection is served at a time");
        self.served = Some(Served { server, before: self.count.clone() });
    }

    /// The connection has been served.
    pub(crate) fn served(&mut self) {
        let Some(Served { server, before }) = self.served.take() else { return };
        let Some(mine) = self.servers.get_mut(server) else { return };
        mine.opened += self.count.opened - before.opened;
        mine.closed += self.count.closed - before.closed;
        mine.answered += self.count.answered - before.answered;
        mine.faults = mine.faults.saturating_add(self.count.faults().saturating_sub(before.faults()));
    }

    /// Sets the window.
    pub(crate) fn begin(&mut self, window: Range<Nanos>) {
        self.series = Series::over(&window);
        self.window = window;
    }

    /// The length of the window; 0 if it never began.
    pub(crate) fn window_ns(&self) -> Nanos {
        if self.window.start == Nanos::MAX { 0 } else { self.window.end - self.window.start }
    }

    /// Ends the window at `now` unless it ended before.
    pub(crate) fn end_window(&mut self, now: Nanos) {
        self.window.end = self.window.end.min(now + 1).max(self.window.start);
    }

    /// Records `count` correct answers that arrived at `now` to messages of one write.
    #[inline]
    pub(crate) fn answers(&mut self, sent_at: Nanos, now: Nanos, count: u64) {
        self.count.answered += count;
        if self.window.contains(&now) {
            self.count.answered_in_window += count;
        }
        if self.window.contains(&sent_at) {
            let latency = now.saturating_sub(sent_at);
            self.from_send.saturating_record_n(latency, count);
            if self.primary == Primary::Send {
                self.series.record(now, latency, count);
            }
        }
    }

    /// Records a correct answer that arrived at `now` to a message of another process. The instant of its send is not known.
    pub(crate) fn answered_from_afar(&mut self, now: Nanos) {
        self.count.answered += 1;
        self.count.answered_in_window += u64::from(self.window.contains(&now));
    }

    /// Records the latency of one of these answers from the planned instant of its message.
    #[inline]
    pub(crate) fn answer_of_plan(&mut self, planned: Nanos, now: Nanos) {
        if self.window.contains(&planned) {
            let latency = now.saturating_sub(planned);
            self.from_plan.saturating_record(latency);
            if self.primary == Primary::Plan {
                self.series.record(now, latency, 1);
            }
        }
    }

    /// Records that a message of an open loop left. `is_held`: a full socket or `--pipeline` delayed it.
    #[inline]
    pub(crate) fn departed(&mut self, planned: Nanos, now: Nanos, is_held: bool) {
        let late = now.saturating_sub(planned);
        if late > LATE {
            self.count.late += 1;
            self.count.late_by_generator += u64::from(!is_held);
        }
        self.max_late = self.max_late.max(late);
        if self.window.contains(&planned) {
            self.count.sent_in_window += 1;
            self.drift.saturating_record(late);
            self.series.departed(planned, late);
        }
    }

    /// Records an opening handshake that was completed at `now`. Before the window all of them count.
    pub(crate) fn opened(&mut self, steps: OpeningSteps, now: Nanos) {
        let OpeningSteps { planned, dialled, connected, secured } = steps;
        self.count.opened += 1;
        self.count.opened_in_window += u64::from(self.window.contains(&now));
        let is_early = self.window.start == Nanos::MAX;
        if is_early || self.window.contains(&planned) {
            self.handshake.saturating_record(now.saturating_sub(dialled));
            let connected = connected.unwrap_or(dialled);
            self.dial.saturating_record(connected.saturating_sub(dialled));
            if let Some(secured) = secured {
                self.tls.saturating_record(secured.saturating_sub(connected));
            }
            self.upgrade.saturating_record(now.saturating_sub(secured.unwrap_or(connected)));
            self.handshake_from_plan.saturating_record(now.saturating_sub(planned));
            if self.primary == Primary::Handshake {
                self.series.record(now, now.saturating_sub(planned), 1);
            }
        }
    }

    /// Counts lost messages. The sum saturates, since `count` may be a number that the server sent.
    pub(crate) fn lost(&mut self, count: u64) {
        self.count.lost = self.count.lost.saturating_add(count);
    }

    /// Counts a failure under its name.
    pub(crate) fn failure(&mut self, name: &str) {
        count_by_name(&mut self.failures, name, 1);
        if let Some(server) = self.served.as_ref().and_then(|served| self.servers.get_mut(served.server)) {
            count_by_name(&mut server.failures, name, 1);
        }
    }

    /// Counts the end of a slow connection under its name.
    pub(crate) fn slow_end(&mut self, name: &str) {
        self.count.slow_cut += 1;
        count_by_name(&mut self.slow_ends, name, 1);
    }

    /// Notes once what could not be checked.
    pub(crate) fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) && self.notes.len() < MAX_FAILURES {
            self.notes.push(cut(note));
        }
    }

    /// What all servers did together.
    pub(crate) fn total(&self) -> ServerCount {
        let Counters { opened, closed, answered, .. } = self.count;
        let (faults, failures) = (self.count.faults(), self.failures.clone());
        ServerCount { opened, closed, answered, faults, failures }
    }

    /// Failures of connections by name, with their counts.
    pub(crate) fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// Adds the record of another thread.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.window = if self.window.start == Nanos::MAX {
            other.window.clone()
        } else if other.window.start == Nanos::MAX {
            self.window.clone()
        } else {
            self.window.start.min(other.window.start)..self.window.end.max(other.window.end)
        };
        self.count.add(&other.count);
        self.max_late = self.max_late.max(other.max_late);
        self.processor.extend(&other.processor);
        for (i, &storm) in other.storms.iter().enumerate() {
            match self.storms.get_mut(i) {
                Some(mine) => *mine = storm.max(*mine),
                None => self.storms.push(storm),
            }
        }
        for (name, count) in &other.failures {
            count_by_name(&mut self.failures, name, *count);
        }
        self.servers.iter_mut().zip(&other.servers).for_each(|(mine, theirs)| mine.merge(theirs));
        for (name, count) in &other.slow_ends {
            count_by_name(&mut self.slow_ends, name, *count);
        }
        other.notes.iter().for_each(|note| self.note(note));
        for (mine, theirs) in [
            (&mut self.from_send, &other.from_send),
            (&mut self.from_plan, &other.from_plan),
            (&mut self.to_last, &other.to_last),
            (&mut self.delivery, &other.delivery),
            (&mut self.handshake, &other.handshake),
            (&mut self.dial, &other.dial),
            (&mut self.tls, &other.tls),
            (&mut self.upgrade, &other.upgrade),
            (&mut self.first_answer, &other.first_answer),
            (&mut self.handshake_from_plan, &other.handshake_from_plan),
            (&mut self.drift, &other.drift),
            (&mut self.lag, &other.lag),
        ] {
            // Both have the same bounds, so no value is left out.
            let _ = mine.add(theirs);
        }
        self.series.merge(&other.series);
    }
}

fn count_by_name(counts: &mut BTreeMap<String, u64>, name: &str, more: u64) {
    if let Some(count) = counts.get_mut(name) {
        *count += more;
        return;
    }
    // A server may have chosen the name.
    let name = if counts.len() < MAX_FAILURES { cut(name) } else { OTHER_FAILURES.to_owned() };
    *counts.entry(name).or_default() += more;
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn close_to(value: Nanos, expected: Nanos) -> bool {
        value.abs_diff(expected) <= expected / 500
    }

    #[test]
    fn the_warm_up_is_in_no_figure_and_a_late_answer_is() {
        let mut record = Record::new(Primary::Send).unwrap();
        record.begin(100 * MS..200 * MS);
        record.answers(10 * MS, 99 * MS, 1);
        record.answers(99 * MS, 101 * MS, 1);
        record.answers(150 * MS, 151 * MS, 2);
        record.answers(199 * MS, 700 * MS, 1);
        assert_eq!((record.count.answered, record.count.answered_in_window), (5, 3));
        let latency = &record.from_send;
        assert_eq!((latency.len(), record.series.answered.iter().sum::<u64>()), (3, 2));
        assert!(close_to(latency.value_at_quantile(0.5), MS) && close_to(latency.max(), 501 * MS));
    }

    #[test]
    fn a_pause_shows_in_the_planned_latencies_and_hardly_in_the_others() {
        // A message each millisecond; the server is held up for 100 ms, then everything goes out at once.
        let mut record = Record::new(Primary::Plan).unwrap();
        record.begin(0..1000 * MS);
        for k in 0..1000 {
            let planned = k * MS;
            let is_held = (500..600).contains(&k);
            let sent_at = if is_held { 600 * MS } else { planned };
            record.departed(planned, sent_at, is_held);
            record.answers(sent_at, sent_at + MS / 10, 1);
            record.answer_of_plan(planned, sent_at + MS / 10);
        }
        let (sent, plan) = (&record.from_send, &record.from_plan);
        assert!(close_to(sent.value_at_quantile(0.999), MS / 10));
        assert!(plan.value_at_quantile(0.99) > 85 * MS && close_to(plan.max(), 100 * MS + MS / 10));
        assert_eq!((record.count.late, record.count.late_by_generator, record.max_late), (99, 0, 100 * MS));
        assert_eq!(record.count.sent_in_window, 1000);
        // The drift is that of the schedule: 100 messages left 50.5 ms late in the mean, all others at their instants.
        assert_eq!(record.drift.len(), 1000);
        assert!(
            (record.drift.mean() / 5_050_000.0 - 1.0).abs() < 0.002 && close_to(record.drift.max(), 100 * MS)
        );
        assert!(
            close_to(record.drift.value_at_quantile(0.99), 90 * MS),
            "{}",
            record.drift.value_at_quantile(0.99)
        );
        let drifts: Vec<Nanos> = (0..record.series.sent.len()).map(|at| record.series.drift(at)).collect();
        assert!(drifts[0] == 0 && drifts[10] > 70 * MS && drifts[19] == 0, "{drifts:?}");
    }

    #[test]
    fn failures_are_counted_by_name_and_their_names_are_bounded() {
        let mut record = Record::new(Primary::Send).unwrap();
        for name in 0..200 {
            record.failure(&format!("closed early with {name}"));
            record.failure("connection refused");
        }
        assert_eq!(record.failures().values().sum::<u64>(), 400);
        assert_eq!(record.failures().len(), MAX_FAILURES + 1);
        assert_eq!(record.failures()["connection refused"], 200);
    }

    #[test]
    fn threads_add_up() {
        let mut sum = Record::new(Primary::Send).unwrap();
        for (start, storm) in [(100, 7), (101, 9)] {
            let mut one = Record::new(Primary::Send).unwrap();
            one.begin(start..start + SECOND);
            one.answers(start, start + MS, 4);
            one.failure("closed early");
            one.note("one thing");
            one.storms.push(storm);
            one.processor.push(5);
            let steps =
                OpeningSteps { planned: start, dialled: start, connected: Some(start + MS), secured: None };
            one.opened(steps, start + 2 * MS);
            sum.merge(&one);
        }
        assert_eq!((sum.count.answered, sum.count.opened, sum.from_send.len()), (8, 2, 8));
        assert_eq!((sum.window.clone(), sum.storms.as_slice()), (100..101 + SECOND, &[9][..]));
        assert_eq!((sum.failures()["closed early"], sum.notes.len(), sum.processor.len()), (2, 1, 2));
        assert_eq!((sum.handshake.len(), sum.dial.len(), sum.tls.len(), sum.upgrade.len()), (2, 2, 0, 2));
        assert!(close_to(sum.dial.max(), MS) && close_to(sum.upgrade.max(), MS));
    }
}
