//! Planned instants of messages, and the phases of a run. Pure: time is an argument.

use std::ops::Range;

use super::arrivals::Spread;
use super::pace::Pace;
use crate::clock::steering::Steering;
use crate::clock::{Nanos, SECOND};
use crate::input::plan::{Load, Pacing};

/// How long the run waits for answers after the last message.
pub(crate) const ANSWER_WAIT: Nanos = 5 * SECOND;
/// How long the run waits for closing handshakes.
pub(crate) const CLOSE_WAIT: Nanos = 5 * SECOND;

/// The instants of events: a rate over time, and how events are spread over it.
#[derive(Debug)]
pub(crate) struct Timeline {
    pace: Pace,
    spread: Spread,
    steering: Steering,
}

impl Timeline {
    /// Events at equal distances from `start` on. `rate`: events per second; infinite: all events are due at once.
    pub(crate) fn steady(start: Nanos, rate: f64) -> Self {
        Self { pace: Pace::Steady { start, rate }, spread: Spread::Even, steering: Steering::default() }
    }

    /// One of `threads` equal parts of an open loop; all events at once in a closed one.
    pub(crate) fn share_of(pacing: &Pacing, start: Nanos, thread: u32, threads: u32) -> Self {
        Self::with_share(pacing, start, thread.into(), 1.0 / f64::from(threads))
            .unwrap_or_else(|| Self::steady(start, f64::INFINITY))
    }

    /// `None`: a closed loop. `salt` makes the random arrivals of several timelines independent.
    fn with_share(pacing: &Pacing, start: Nanos, salt: u64, share: f64) -> Option<Self> {
        let pace = match &pacing.load {
            Load::Closed => return None,
            Load::Rate(rate) => Pace::Steady { start, rate: rate * share },
            Load::Stages(stages) => Pace::stages(start, pacing.warmup, &stages.0).scaled(share),
        };
        let spread = Spread::new(pacing.arrivals, pacing.seed ^ salt << 32);
        Some(Self { pace, spread, steering: pacing.steering.clone() })
    }

    /// Whether events have instants of their own.
    pub(crate) fn is_paced(&self) -> bool {
        !matches!(self.pace, Pace::Steady { rate, .. } if rate.is_infinite())
    }

    /// The planned instant of event `k`, rounded up: `k` is due at that nanosecond. `None`: there is no such event.
    #[inline]
    pub(crate) fn planned(&self, k: u64) -> Option<Nanos> {
        self.steering.instant_of(self.pace.instant(self.spread.place(k))?)
    }

    /// Number of events that are due at `now`.
    pub(crate) fn due(&self, now: Nanos) -> u64 {
        let events = self.pace.events(self.steering.schedule_of(now));
        if events.is_infinite() {
            return u64::MAX;
        }
        // Places and instants are rounded, so the planned instants decide.
        let (mut due, step) = (self.spread.roughly_due(events), self.spread.step());
        while self.planned(due).is_some_and(|at| at <= now) {
            due += step;
        }
        while due > 0 && self.planned(due - 1).is_none_or(|at| at > now) {
            due = due.saturating_sub(step);
        }
        due
    }
}

/// An open loop over lanes: message k of all is message k / lanes of lane k mod lanes. A thread owns every `threads`-th
/// lane; the lanes of other threads are the gaps between its own messages.
#[derive(Debug)]
pub(crate) struct OpenLoop {
    events: Timeline,
    lanes: u64,
    /// Messages planned at or after this instant do not exist.
    end: Nanos,
}

impl OpenLoop {
    /// The messages of a run over `lanes` from `start` until the window ends; `None`: a closed loop. All threads have the
    /// same messages.
    pub(crate) fn of(pacing: &Pacing, start: Nanos, end: Nanos, lanes: u32) -> Option<Self> {
        let events = Timeline::with_share(pacing, start, 0, 1.0)?;
        Some(Self { events, lanes: lanes.into(), end })
    }

    /// Messages from `start` until `end` at `rate` per second over `lanes`, at equal distances.
    pub(crate) fn steady(start: Nanos, end: Nanos, rate: f64, lanes: u32) -> Self {
        Self { events: Timeline::steady(start, rate), lanes: lanes.into(), end }
    }

    /// Number of messages of all lanes that are due at `now`.
    #[inline]
    pub(crate) fn due(&self, now: Nanos) -> u64 {
        self.events.due(now.min(self.end.saturating_sub(1)))
    }

    /// Number of messages of `lane` among the first `due`.
    #[inline]
    pub(crate) fn share(&self, due: u64, lane: u32) -> u64 {
        let lane = u64::from(lane);
        due / self.lanes + u64::from(lane < due % self.lanes)
    }

    /// The planned instant of message `seq` of `lane`.
    #[inline]
    pub(crate) fn planned(&self, lane: u32, seq: u64) -> Nanos {
        self.events.planned(seq * self.lanes + u64::from(lane)).unwrap_or(Nanos::MAX)
    }

    /// The planned instant of message `k` of all.
    pub(crate) fn planned_of_all(&self, k: u64) -> Option<Nanos> {
        self.events.planned(k).filter(|at| *at < self.end)
    }

    /// Number of messages of all lanes that are planned within a window.
    pub(crate) fn planned_within(&self, window: &Range<Nanos>) -> u64 {
        let before = window.start.checked_sub(1).map_or(0, |before| self.due(before));
        self.due(window.end.saturating_sub(1)) - before
    }
}

/// How far a thread has come in an [`OpenLoop`]: its lanes are `thread`, `thread + threads`, and so on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    thread: u64,
    threads: u64,
    /// The next message of all that may belong to this thread.
    next: u64,
}

impl Cursor {
    pub(crate) fn new(thread: u32, threads: u32) -> Self {
        let mut cursor = Self { thread: thread.into(), threads: threads.into(), next: 0 };
        cursor.next = cursor.thread;
        cursor
    }

    /// Number of messages planned within a window, for one thread to report: 0 on all threads but the first.
    pub(crate) fn planned_within(&self, plan: &OpenLoop, window: &Range<Nanos>) -> u64 {
        if self.thread == 0 { plan.planned_within(window) } else { 0 }
    }

    fn lane(&self, plan: &OpenLoop) -> u64 {
        self.next % plan.lanes
    }

    /// Advances to the next message of a lane of this thread.
    fn step(&mut self, plan: &OpenLoop) {
        let lane = self.lane(plan) + self.threads;
        self.next +=
            if lane < plan.lanes { self.threads } else { plan.lanes + self.thread + self.threads - lane };
    }

    /// The next lane of this thread, by its place, that has a message due at `now`. A lane that is behind by several
    /// messages is returned once: they go out together.
    pub(crate) fn next_due(&mut self, plan: &OpenLoop, now: Nanos) -> Option<u32> {
        let due = plan.due(now);
        if due.saturating_sub(self.next) > plan.lanes {
            let rounds = (due - self.next) / plan.lanes - 1;
            self.next += rounds * plan.lanes;
        }
        if self.next >= due || self.thread >= plan.lanes {
            return None;
        }
        let place = (self.lane(plan) - self.thread) / self.threads;
        self.step(plan);
        Some(place as u32)
    }

    /// The planned instant of this thread's next message.
    pub(crate) fn next_at(&self, plan: &OpenLoop) -> Option<Nanos> {
        if self.thread >= plan.lanes {
            return None;
        }
        plan.planned_of_all(self.next)
    }
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Opening handshakes; no message yet.
    #[default]
    Connecting,
    /// Traffic before the measurement.
    WarmUp,
    /// Traffic within the measured window.
    Measuring,
    /// No new messages; the run waits for answers.
    Draining,
    /// Closing handshakes.
    Closing,
    /// The run has ended.
    Over,
}

impl Phase {
    /// Whether messages go out.
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::WarmUp | Self::Measuring)
    }

    /// Its name in the progress line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::WarmUp => "warming up",
            Self::Measuring => "measuring",
            Self::Draining => "awaiting answers",
            Self::Closing => "closing",
            Self::Over => "over",
        }
    }
}

/// The facts on which the phase depends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Connections that are not dialled yet, in their opening handshake, or not ready for messages.
    pub(crate) awaited: u32,
    /// All threads are ready, and the instant at which messages begin has come.
    pub(crate) may_begin: bool,
    /// Connections that are open or will be dialled.
    pub(crate) alive: usize,
    /// Unanswered messages.
    pub(crate) unanswered: u64,
    /// No thread waits for an answer.
    pub(crate) all_drained: bool,
    /// Every connection has sent its number of messages.
    pub(crate) all_sent: bool,
}

/// Messages that a lane, which has sent `sent`, still has to send: of `messages`, else of those that are due in an open loop.
pub(crate) fn owed(
    messages: Option<u64>,
    plan: Option<&OpenLoop>,
    (lane, sent): (u32, u64),
    now: Nanos,
) -> u64 {
    match (messages, plan) {
        (Some(messages), _) => messages - sent,
        (None, Some(plan)) => plan.share(plan.due(now), lane) - sent,
        (None, None) => 0,
    }
}

/// The durations of a run's phases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timetable {
    pub(crate) warmup: Nanos,
    pub(crate) duration: Nanos,
}

impl Timetable {
    /// The phase at `now`, if the present one began at `since`.
    pub(crate) fn phase(&self, phase: Phase, since: Nanos, now: Nanos, facts: Facts) -> Phase {
        if phase != Phase::Connecting && facts.alive == 0 {
            return Phase::Over;
        }
        let lasted = now.saturating_sub(since);
        match phase {
            Phase::Connecting if facts.awaited > 0 => phase,
            Phase::Connecting if facts.alive == 0 => Phase::Over,
            Phase::Connecting if !facts.may_begin => phase,
            Phase::Connecting if self.warmup > 0 => Phase::WarmUp,
            Phase::Connecting => Phase::Measuring,
            Phase::WarmUp if lasted >= self.warmup => Phase::Measuring,
            Phase::Measuring if lasted >= self.duration || facts.all_sent && facts.unanswered == 0 => {
                Phase::Draining
            }
            Phase::Draining if facts.all_drained || lasted >= ANSWER_WAIT => Phase::Closing,
            Phase::Closing if lasted >= CLOSE_WAIT => Phase::Over,
            _ => phase,
        }
    }

    /// The instant at which the second phase begins, where the first began at `since`. The window begins and ends as planned,
    /// however late the loop notices: else it would send and dial more than the plan has.
    pub(crate) fn begins(
        &self,
        (before, next): (Phase, Phase),
        since: Nanos,
        start_at: Nanos,
        now: Nanos,
    ) -> Nanos {
        match before {
            Phase::Connecting if next.sends() => start_at,
            Phase::WarmUp if next == Phase::Measuring => since + self.warmup,
            _ => now,
        }
    }

    /// The instant at which time alone ends a phase that began at `since`.
    pub(crate) fn ends(&self, phase: Phase, since: Nanos) -> Option<Nanos> {
        Some(match phase {
            Phase::Connecting | Phase::Over => return None,
            Phase::WarmUp => since + self.warmup,
            Phase::Measuring => since + self.duration,
            Phase::Draining => since + ANSWER_WAIT,
            Phase::Closing => since + CLOSE_WAIT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::values::{Arrivals, Stages};

    #[test]
    fn an_event_is_due_at_its_planned_instant_and_not_before() {
        for rate in [0.5, 1.0, 3.0, 7.3, 999.9, 20_000.0, 333_333.3, 3e6, 1e8] {
            let events = Timeline::steady(1_000, rate);
            assert_eq!(events.due(999), 0);
            for k in [0, 1, 2, 3, 10, 1_000, 123_457, 10_000_001] {
                let at = events.planned(k).unwrap();
                assert!(events.due(at) > k, "{k} at {rate}/s");
                assert!(events.due(at - 1) <= k, "{k} at {rate}/s");
            }
        }
    }

    #[test]
    fn the_window_ends_when_it_is_planned_to_however_late_its_beginning_is_noticed() {
        let timetable = Timetable { warmup: 100, duration: 400 };
        let (start_at, late) = (1000, 7);
        let warm = timetable.begins((Phase::Connecting, Phase::WarmUp), 0, start_at, start_at + late);
        let window = (Phase::WarmUp, Phase::Measuring);
        let begun = timetable.begins(window, warm, start_at, start_at + 100 + late);
        assert_eq!(timetable.ends(Phase::Measuring, begun), Some(1500));
        let drained = timetable.begins((Phase::Measuring, Phase::Draining), begun, start_at, 1500 + late);
        assert_eq!(drained, 1507, "what has no plan lasts from when it begins");
    }

    #[test]
    fn an_hour_of_events_drifts_by_nothing() {
        let events = Timeline::steady(0, 30_000.0);
        assert_eq!(events.planned(30_000 * 3600), Some(3600 * SECOND));
    }

    #[test]
    fn the_lanes_share_all_messages_and_their_instants() {
        let plan = OpenLoop::steady(5, 5 + SECOND, 1000.0, 7);
        assert_eq!(plan.due(SECOND), 1000);
        for due in [0, 1, 6, 7, 8, 500, 1000] {
            assert_eq!((0..7).map(|lane| plan.share(due, lane)).sum::<u64>(), due);
        }
        let mut instants: Vec<Nanos> = (0..7)
            .flat_map(|lane| (0..plan.share(1000, lane)).map(move |seq| (lane, seq)))
            .map(|(lane, seq)| plan.planned(lane, seq))
            .collect();
        instants.sort_unstable();
        let expected: Vec<Nanos> = (0..1000).map(|k| 5 + k * 1_000_000).collect();
        assert_eq!(instants, expected);
        assert_eq!(plan.planned_of_all(3), Some(5 + 3_000_000));
        assert_eq!(plan.planned_of_all(1000), None);
        assert_eq!(plan.planned_within(&(5 + 100_000_000..5 + 300_000_000)), 200);
        assert_eq!(plan.due(Nanos::MAX / 2), 1000);
    }

    #[test]
    fn the_cursors_of_all_threads_name_every_message_once() {
        for (lanes, threads) in [(1, 1), (7, 1), (7, 3), (6, 3), (3, 3), (2, 3)] {
            let plan = OpenLoop::steady(0, SECOND, 1000.0, lanes);
            let mut named = vec![0_u32; lanes as usize];
            for thread in 0..threads {
                let mut cursor = Cursor::new(thread, threads);
                let mut at = cursor.next_at(&plan);
                while let Some(now) = at {
                    while let Some(place) = cursor.next_due(&plan, now) {
                        named[(thread + place * threads) as usize] += 1;
                    }
                    at = cursor.next_at(&plan);
                    assert!(at.is_none_or(|at| at > now), "{lanes} {threads}");
                }
            }
            let expected: Vec<u32> = (0..lanes).map(|lane| plan.share(1000, lane) as u32).collect();
            assert_eq!(named, expected, "{lanes} over {threads}");
        }
    }

    #[test]
    fn a_cursor_that_fell_behind_names_each_lane_about_once() {
        let plan = OpenLoop::steady(0, SECOND, 1000.0, 10);
        let mut cursor = Cursor::new(0, 1);
        let named: Vec<u32> = std::iter::from_fn(|| cursor.next_due(&plan, SECOND)).collect();
        assert!((10..=20).contains(&named.len()), "{named:?}");
        assert_eq!(cursor.next_at(&plan), None);
    }

    const QUIET: Facts =
        Facts { awaited: 0, may_begin: true, alive: 3, unanswered: 0, all_drained: true, all_sent: false };

    #[test]
    fn the_phases_follow_each_other() {
        let table = Timetable { warmup: 10, duration: 100 };
        let busy = Facts { unanswered: 4, all_drained: false, ..QUIET };
        let steps = [
            (Phase::Connecting, 0, 9, Facts { awaited: 1, ..QUIET }, Phase::Connecting),
            (Phase::Connecting, 0, 9, Facts { may_begin: false, ..QUIET }, Phase::Connecting),
            (Phase::Connecting, 0, 9, Facts { alive: 0, ..QUIET }, Phase::Over),
            (Phase::Connecting, 0, 9, QUIET, Phase::WarmUp),
            (Phase::WarmUp, 9, 18, busy, Phase::WarmUp),
            (Phase::WarmUp, 9, 19, busy, Phase::Measuring),
            (Phase::Measuring, 19, 118, QUIET, Phase::Measuring),
            (Phase::Measuring, 19, 119, busy, Phase::Draining),
            (Phase::Measuring, 19, 20, Facts { all_sent: true, ..busy }, Phase::Measuring),
            (Phase::Measuring, 19, 20, Facts { all_sent: true, ..QUIET }, Phase::Draining),
            (Phase::Measuring, 19, 20, Facts { alive: 0, ..QUIET }, Phase::Over),
            (Phase::Draining, 119, 120, busy, Phase::Draining),
            (Phase::Draining, 119, 120, Facts { unanswered: 0, ..busy }, Phase::Draining),
            (Phase::Draining, 119, 120, QUIET, Phase::Closing),
            (Phase::Draining, 119, 119 + ANSWER_WAIT, busy, Phase::Closing),
            (Phase::Closing, 120, 121, QUIET, Phase::Closing),
            (Phase::Closing, 120, 120 + CLOSE_WAIT, QUIET, Phase::Over),
        ];
        for (phase, since, now, facts, next) in steps {
            assert_eq!(table.phase(phase, since, now, facts), next, "{phase:?} {facts:?}");
            let ends = table.ends(phase, since).unwrap_or(Nanos::MAX);
            assert!(
                next == phase
                    || ends <= now
                    || facts.alive == 0
                    || phase == Phase::Connecting
                    || facts.unanswered == 0
            );
        }
    }

    #[test]
    fn without_a_warm_up_the_measurement_begins_at_once() {
        let table = Timetable { warmup: 0, duration: 100 };
        assert_eq!(table.phase(Phase::Connecting, 0, 1, QUIET), Phase::Measuring);
    }

    #[test]
    fn an_event_of_any_shape_is_due_at_its_instant_and_not_before() {
        let paces = [
            || Pace::Steady { start: 1000, rate: 777.7 },
            || Pace::stages(1000, SECOND, &"1s@100..5000/s,1s@0,1s@333/s".parse::<Stages>().unwrap().0),
        ];
        for (pace, arrivals) in paces.iter().flat_map(|pace| {
            [Arrivals::Even, Arrivals::Poisson, Arrivals::Bursts(7)].map(|arrivals| (pace(), arrivals))
        }) {
            let events = Timeline { pace, spread: Spread::new(arrivals, 5), steering: Steering::default() };
            let mut before = 0;
            for k in 0..2000 {
                let at = events.planned(k).unwrap();
                assert!(at >= before, "{k} of {events:?}");
                assert!(events.due(at) > k && at > 0 && events.due(at - 1) <= k, "{k} {arrivals:?}");
                before = at;
            }
        }
    }

    #[test]
    fn the_cursor_names_every_message_of_a_poisson_process_once() {
        let spread = Spread::new(Arrivals::Poisson, 9);
        let pace = Pace::Steady { start: 0, rate: 1000.0 };
        let plan = OpenLoop {
            events: Timeline { pace, spread, steering: Steering::default() },
            lanes: 7,
            end: SECOND,
        };
        let mut named = 0;
        for thread in 0..3 {
            let mut cursor = Cursor::new(thread, 3);
            while let Some(now) = cursor.next_at(&plan) {
                named += std::iter::from_fn(|| cursor.next_due(&plan, now)).count() as u64;
            }
        }
        assert_eq!(named, plan.planned_within(&(0..SECOND)));
        assert!((900..1100).contains(&named), "{named}");
    }
}
