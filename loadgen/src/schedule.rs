//! When what is due: planned instants and phases. Pure: time is an argument.

use crate::clock::{Nanos, SECOND};

/// How long answers are awaited after the last message.
pub(crate) const ANSWER_WAIT: Nanos = 5 * SECOND;
/// How long the closing handshakes may take.
pub(crate) const CLOSE_WAIT: Nanos = 5 * SECOND;

/// Events at a steady rate: event 0 at `start`, event k at `start + k / rate`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beat {
    start: Nanos,
    rate: f64,
}

impl Beat {
    /// `rate`: events per second; infinite when everything is due at once.
    pub(crate) fn new(start: Nanos, rate: f64) -> Self {
        Self { start, rate }
    }

    /// The planned instant of event `k`, rounded up, so that `k` is due at it.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "2^53 ns are 104 days, above the longest run"
    )]
    pub(crate) fn planned(&self, k: u64) -> Nanos {
        self.start + (k as f64 * SECOND as f64 / self.rate).ceil() as u64
    }

    /// How many events are due at `now`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "2^53 ns are 104 days, above the longest run"
    )]
    pub(crate) fn due(&self, now: Nanos) -> u64 {
        if now < self.start {
            return 0;
        }
        if self.rate.is_infinite() {
            return u64::MAX;
        }
        // The quotient may be rounded either way; the planned instants decide.
        let mut due = ((now - self.start) as f64 * self.rate / SECOND as f64) as u64;
        while self.planned(due) <= now {
            due += 1;
        }
        while due > 0 && self.planned(due - 1) > now {
            due -= 1;
        }
        due
    }
}

/// An open loop over lanes: message k of all is message k / lanes of lane k mod lanes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenLoop {
    beat: Beat,
    lanes: u64,
    /// Messages planned at or after this instant do not exist.
    total: u64,
}

impl OpenLoop {
    /// Messages from `start` until `end` at `rate` per second over `lanes`.
    pub(crate) fn new(start: Nanos, end: Nanos, rate: f64, lanes: u32) -> Self {
        let beat = Beat::new(start, rate);
        let total = beat.due(end.saturating_sub(1));
        Self { beat, lanes: lanes.into(), total }
    }

    /// How many messages of all lanes are due at `now`.
    pub(crate) fn due(&self, now: Nanos) -> u64 {
        self.beat.due(now).min(self.total)
    }

    /// How many of the first `due` messages are those of `lane`.
    pub(crate) fn share(&self, due: u64, lane: u32) -> u64 {
        let lane = u64::from(lane);
        due / self.lanes + u64::from(lane < due % self.lanes)
    }

    /// The planned instant of message `seq` of `lane`.
    pub(crate) fn planned(&self, lane: u32, seq: u64) -> Nanos {
        self.beat.planned(seq * self.lanes + u64::from(lane))
    }

    /// When the next message after the first `due` is planned.
    pub(crate) fn next(&self, due: u64) -> Option<Nanos> {
        (due < self.total).then(|| self.beat.planned(due))
    }
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Opening handshakes; no message yet.
    Connecting,
    /// Traffic that is not measured.
    WarmUp,
    /// Traffic that is measured.
    Measuring,
    /// No new messages; answers are awaited.
    Draining,
    /// Closing handshakes.
    Closing,
    /// Nothing more happens.
    Over,
}

impl Phase {
    /// Whether messages go out.
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::WarmUp | Self::Measuring)
    }
}

/// What the phase depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Connections not asked for yet or within their opening handshake.
    pub(crate) awaited: u32,
    /// Connections that live.
    pub(crate) open: usize,
    /// Messages without their answer.
    pub(crate) unanswered: u64,
    /// Every connection has sent the messages it was told to send.
    pub(crate) all_sent: bool,
}

/// The durations of a run's phases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timetable {
    pub(crate) warmup: Nanos,
    pub(crate) duration: Nanos,
}

impl Timetable {
    /// The phase at `now`, when the present one began at `since`.
    pub(crate) fn phase(&self, phase: Phase, since: Nanos, now: Nanos, facts: Facts) -> Phase {
        if phase != Phase::Connecting && facts.open == 0 {
            return Phase::Over;
        }
        let lasted = now.saturating_sub(since);
        match phase {
            Phase::Connecting if facts.awaited > 0 => phase,
            Phase::Connecting if facts.open == 0 => Phase::Over,
            Phase::Connecting if self.warmup > 0 => Phase::WarmUp,
            Phase::Connecting => Phase::Measuring,
            Phase::WarmUp if lasted >= self.warmup => Phase::Measuring,
            Phase::Measuring if lasted >= self.duration || facts.all_sent && facts.unanswered == 0 => {
                Phase::Draining
            }
            Phase::Draining if facts.unanswered == 0 || lasted >= ANSWER_WAIT => Phase::Closing,
            Phase::Closing if lasted >= CLOSE_WAIT => Phase::Over,
            _ => phase,
        }
    }

    /// When time alone ends a phase that began at `since`.
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

    #[test]
    fn an_event_is_due_at_its_planned_instant_and_not_before() {
        for rate in [0.5, 1.0, 3.0, 7.3, 999.9, 20_000.0, 333_333.3, 3e6, 1e8] {
            let beat = Beat::new(1_000, rate);
            assert_eq!(beat.due(999), 0);
            for k in [0, 1, 2, 3, 10, 1_000, 123_457, 10_000_001] {
                let at = beat.planned(k);
                assert!(beat.due(at) > k, "{k} at {rate}/s");
                assert!(beat.due(at - 1) <= k, "{k} at {rate}/s");
            }
        }
    }

    #[test]
    fn an_hour_of_events_drifts_by_nothing() {
        let beat = Beat::new(0, 30_000.0);
        assert_eq!(beat.planned(30_000 * 3600), 3600 * SECOND);
    }

    #[test]
    fn the_lanes_share_all_messages_and_their_instants() {
        let plan = OpenLoop::new(5, 5 + SECOND, 1000.0, 7);
        assert_eq!(plan.due(SECOND), 1000);
        for due in [0, 1, 6, 7, 8, 500, 1000] {
            assert_eq!((0..7).map(|lane| plan.share(due, lane)).sum::<u64>(), due);
        }
        let mut instants: Vec<Nanos> = (0..7)
            .flat_map(|lane| (0..plan.share(1000, lane)).map(move |seq| plan.planned(lane, seq)))
            .collect();
        instants.sort_unstable();
        let expected: Vec<Nanos> = (0..1000).map(|k| 5 + k * 1_000_000).collect();
        assert_eq!(instants, expected);
        assert_eq!(plan.next(3), Some(5 + 3_000_000));
        assert_eq!(plan.next(1000), None);
        assert_eq!(plan.due(Nanos::MAX / 2), 1000);
    }

    const QUIET: Facts = Facts { awaited: 0, open: 3, unanswered: 0, all_sent: false };

    #[test]
    fn the_phases_follow_each_other() {
        let table = Timetable { warmup: 10, duration: 100 };
        let busy = Facts { unanswered: 4, ..QUIET };
        let steps = [
            (Phase::Connecting, 0, 9, Facts { awaited: 1, ..QUIET }, Phase::Connecting),
            (Phase::Connecting, 0, 9, Facts { open: 0, ..QUIET }, Phase::Over),
            (Phase::Connecting, 0, 9, QUIET, Phase::WarmUp),
            (Phase::WarmUp, 9, 18, busy, Phase::WarmUp),
            (Phase::WarmUp, 9, 19, busy, Phase::Measuring),
            (Phase::Measuring, 19, 118, QUIET, Phase::Measuring),
            (Phase::Measuring, 19, 119, busy, Phase::Draining),
            (Phase::Measuring, 19, 20, Facts { all_sent: true, ..busy }, Phase::Measuring),
            (Phase::Measuring, 19, 20, Facts { all_sent: true, ..QUIET }, Phase::Draining),
            (Phase::Measuring, 19, 20, Facts { open: 0, ..QUIET }, Phase::Over),
            (Phase::Draining, 119, 120, busy, Phase::Draining),
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
                    || facts.open == 0
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
}
