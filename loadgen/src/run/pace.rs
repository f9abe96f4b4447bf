//! Rates over time: how many events a moment has behind it, and the moment of an event. Pure.

use crate::clock::{Nanos, SECOND};
use crate::input::values::Stage;

/// A rate over time. Events are counted as a real number that grows with time: 2.5 events are due at the middle between
/// the second event and the third.
#[derive(Debug, Clone)]
pub(crate) enum Pace {
    /// Events per second from `start` on; infinite: all events are due at `start`.
    Steady { start: Nanos, rate: f64 },
    /// A rate that changes.
    Stages(Box<[Segment]>),
}

/// A part of a pace in which the rate is constant or changes linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Segment {
    start: Nanos,
    length: Nanos,
    /// Events per second at the start and at the end.
    from: f64,
    to: f64,
    /// Events before the segment, and those before its end.
    before: f64,
    until: f64,
}

impl Pace {
    /// Stages from `start` on, after a warm-up at the rate of the first one.
    pub(crate) fn stages(start: Nanos, warmup: Nanos, stages: &[Stage]) -> Self {
        let first = stages.first().map_or(0.0, |stage| stage.from);
        let warmup = Stage { length: warmup, from: first, to: first };
        let (mut start, mut before) = (start, 0.0);
        let segments = std::iter::once(&warmup).chain(stages).map(|stage| {
            let Stage { length, from, to } = *stage;
            let until = before + f64::midpoint(from, to) * seconds(length);
            let segment = Segment { start, length, from, to, before, until };
            (start, before) = (start + length, until);
            segment
        });
        Self::Stages(segments.collect())
    }

    /// The same pace with a share of the events.
    pub(crate) fn scaled(self, share: f64) -> Self {
        match self {
            Self::Steady { start, rate } => Self::Steady { start, rate: rate * share },
            Self::Stages(mut segments) => {
                for segment in &mut segments {
                    for value in [&mut segment.from, &mut segment.to, &mut segment.before, &mut segment.until]
                    {
                        *value *= share;
                    }
                }
                Self::Stages(segments)
            }
        }
    }

    /// The number of events that are due at `now`. An event is due at its instant and after it.
    pub(crate) fn events(&self, now: Nanos) -> f64 {
        match self {
            Self::Steady { start, .. } if now < *start => 0.0,
            Self::Steady { rate, .. } if rate.is_infinite() => f64::INFINITY,
            Self::Steady { start, rate } => seconds(now - start) * rate,
            Self::Stages(segments) => {
                let at = segments.partition_point(|segment| segment.start + segment.length <= now);
                match (segments.get(at), segments.last()) {
                    (Some(segment), _) => segment.events(now),
                    (None, last) => last.map_or(0.0, |last| last.until),
                }
            }
        }
    }

    /// The first nanosecond after which more than `events` are due; `None`: there are never more.
    #[expect(clippy::cast_sign_loss, reason = "events and rates are not negative")]
    #[expect(clippy::cast_precision_loss, reason = "a second is exact")]
    pub(crate) fn instant(&self, events: f64) -> Option<Nanos> {
        match self {
            // In one rounding: the instants of whole events are exact.
            Self::Steady { start, rate } => Some(start + (events * SECOND as f64 / rate).ceil() as Nanos),
            Self::Stages(segments) => {
                let at = segments.partition_point(|segment| segment.until <= events);
                segments.get(at).map(|segment| segment.instant(events))
            }
        }
    }
}

impl Segment {
    fn events(&self, now: Nanos) -> f64 {
        let at = seconds(now.saturating_sub(self.start));
        let slope = (self.to - self.from) / seconds(self.length);
        (self.before + self.from * at + slope * at * at / 2.0).min(self.until)
    }

    fn instant(&self, events: f64) -> Nanos {
        let wanted = (events - self.before).max(0.0);
        let slope = (self.to - self.from) / seconds(self.length);
        // The smaller root of slope / 2 t^2 + from t = wanted, in a form that is stable for a small slope.
        let root = (self.from * self.from + 2.0 * slope * wanted).max(0.0).sqrt();
        let at = if wanted == 0.0 { 0.0 } else { 2.0 * wanted / (self.from + root) };
        self.start + nanos(at).min(self.length)
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ns are 104 days, above the longest run")]
fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / SECOND as f64
}

/// Rounded up, so that the event is due at the nanosecond.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "2^53 ns are 104 days, above the longest run"
)]
fn nanos(seconds: f64) -> Nanos {
    (seconds * SECOND as f64).ceil() as Nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(text: &str) -> Vec<Stage> {
        text.parse::<crate::input::values::Stages>().unwrap().0
    }

    #[test]
    fn every_stage_has_its_events() {
        let pace = Pace::stages(SECOND, SECOND, &stages("2s@100/s,3s@0,1s@0..1000/s,1s@1000..0,5s@10"));
        for (at, events) in [
            (0, 0.0),
            (1, 0.0),
            (2, 100.0),
            (4, 300.0),
            (5, 300.0),
            (7, 300.0),
            (8, 800.0),
            (9, 1300.0),
            (14, 1350.0),
            (99, 1350.0),
        ] {
            assert!((pace.events(at * SECOND) - events).abs() < 1e-6, "{at} s");
        }
        for (events, at) in [
            (0.0, 1.0),
            (100.0, 2.0),
            (299.0, 3.99),
            (300.0, 7.0),
            (550.0, 7.707_106_8),
            (1300.0, 9.0),
            (1310.0, 10.0),
        ] {
            let instant = seconds(pace.instant(events).unwrap());
            assert!((instant - at).abs() < 1e-6, "{events}: {instant}");
        }
        assert_eq!(pace.instant(1350.0), None, "nothing comes after the last stage");
        // No event falls into a stage without a rate, not even the first.
        assert_eq!(Pace::stages(0, 0, &stages("5s@0,5s@1")).instant(0.0), Some(5 * SECOND));
    }

    #[test]
    fn an_instant_has_its_events_behind_it() {
        let pace = Pace::stages(7, SECOND / 3, &stages("1s@333..777/s,1s@777..3,2s@12345"));
        let mut before = 0;
        for event in (0_u32..).map(f64::from).take_while(|event| *event < pace.events(Nanos::MAX)) {
            let instant = pace.instant(event).unwrap();
            assert!(instant >= before, "instants are in order");
            assert!(pace.events(instant) >= event - 1e-6, "{event} at {instant}");
            assert!(instant < 8 || pace.events(instant - 2) < event + 1e-6, "{event} at {instant}");
            before = instant;
        }
    }
}
