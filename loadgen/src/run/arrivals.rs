//! How events are spread over a pace: evenly, in bursts, or at random. Pure: randomness comes from a seed.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::input::values::Arrivals;

/// The place of every event on the axis of a [`Pace`](super::pace::Pace): with 2.5, the event is due when 2.5 events are.
#[derive(Debug)]
pub(crate) enum Spread {
    /// Event k is at k.
    Even,
    /// Events come in bursts of this number: those of a burst share the place of its first one.
    Bursts(u64),
    /// The distances of the events are exponentially distributed with the mean 1: a Poisson process.
    Poisson(RefCell<Poisson>),
}

impl Spread {
    pub(crate) fn new(arrivals: Arrivals, seed: u64) -> Self {
        match arrivals {
            Arrivals::Even => Self::Even,
            Arrivals::Bursts(count) => Self::Bursts(count.max(1)),
            Arrivals::Poisson => Self::Poisson(RefCell::new(Poisson::new(seed))),
        }
    }

    /// The place of event `k`.
    #[expect(clippy::cast_precision_loss, reason = "a run has less than 2^52 events")]
    pub(crate) fn place(&self, k: u64) -> f64 {
        match self {
            Self::Even => k as f64,
            Self::Bursts(count) => (k - k % count) as f64,
            Self::Poisson(poisson) => poisson.borrow_mut().place(k),
        }
    }

    /// The number of events whose place is at or before `events`, or nearly so: the places of the events decide.
    #[expect(clippy::cast_sign_loss, reason = "the number of due events is not negative")]
    pub(crate) fn roughly_due(&self, events: f64) -> u64 {
        match self {
            Self::Even => events as u64,
            Self::Bursts(count) => (events as u64 / count).saturating_mul(*count),
            Self::Poisson(poisson) => poisson.borrow_mut().due(events),
        }
    }

    /// The number of events that share a place.
    pub(crate) fn step(&self) -> u64 {
        match self {
            Self::Bursts(count) => *count,
            Self::Even | Self::Poisson(_) => 1,
        }
    }
}

/// Places that are kept; older ones are computed again from the mark before them. 8 bytes each.
const KEPT: usize = 1 << 20;
/// Events between two marks of 16 bytes.
const BETWEEN_MARKS: u64 = 4096;

/// The places of a Poisson process with one event per unit. Any place can be asked for; those near the newest are cheap.
#[derive(Debug)]
pub(crate) struct Poisson {
    /// State of the generator and place before every 4096th event.
    marks: Vec<Walk>,
    /// Generates the event after the newest one.
    newest: Walk,
    /// The places of the newest events.
    kept: VecDeque<f64>,
    /// The number of the first of them.
    first_kept: u64,
    /// The last answer of [`Self::due`].
    due: u64,
}

/// A random walk along the places.
#[derive(Debug, Clone, Copy)]
struct Walk {
    state: u64,
    place: f64,
}

impl Walk {
    fn step(&mut self) -> f64 {
        // The first place is not 0: a process has no event at its start.
        self.place += exponential(&mut self.state);
        self.place
    }
}

/// An exponentially distributed number with the mean 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits are taken")]
pub(crate) fn exponential(state: &mut u64) -> f64 {
    let unit = ((next_random(state) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    -unit.ln()
}

/// A random number (`SplitMix64`).
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Poisson {
    fn new(seed: u64) -> Self {
        let newest = Walk { state: seed, place: 0.0 };
        Self { marks: Vec::new(), newest, kept: VecDeque::new(), first_kept: 0, due: 0 }
    }

    /// The number of events that were generated.
    fn generated(&self) -> u64 {
        self.first_kept + self.kept.len() as u64
    }

    fn generate(&mut self) -> f64 {
        if self.generated().is_multiple_of(BETWEEN_MARKS) {
            self.marks.push(self.newest);
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.first_kept += 1;
        }
        let place = self.newest.step();
        self.kept.push_back(place);
        place
    }

    fn place(&mut self, k: u64) -> f64 {
        while self.generated() <= k {
            self.generate();
        }
        if let Some(at) = k.checked_sub(self.first_kept) {
            return self.kept[at as usize];
        }
        let mut walk = self.marks[(k / BETWEEN_MARKS) as usize];
        for _ in 0..k % BETWEEN_MARKS {
            walk.step();
        }
        walk.step()
    }

    /// The number of events at or before a place that lies before the kept ones.
    fn due_in_the_past(&self, place: f64) -> u64 {
        let mark = self.marks.partition_point(|mark| mark.place <= place).saturating_sub(1);
        let Some(mut walk) = self.marks.get(mark).copied() else { return 0 };
        let mut due = mark as u64 * BETWEEN_MARKS;
        while walk.step() <= place {
            due += 1;
        }
        due
    }

    /// The number of events at or before a place.
    fn due(&mut self, place: f64) -> u64 {
        while self.newest.place <= place {
            self.generate();
        }
        // The newest event lies behind the place now.
        let is_kept = self.kept.front().is_some_and(|first| *first <= place);
        if !is_kept {
            return self.due_in_the_past(place);
        }
        // Time goes on, so the answer is near the last one.
        let near = self.due.saturating_sub(self.first_kept) as usize;
        let at = if near > 0 && near < self.kept.len() && self.kept[near - 1] <= place {
            near + self.kept.range(near..).take_while(|next| **next <= place).count()
        } else {
            self.kept.partition_point(|kept| *kept <= place)
        };
        self.due = self.first_kept + at as u64;
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distances_are_those_of_a_poisson_process() {
        let spread = Spread::new(Arrivals::Poisson, 7);
        let places: Vec<f64> = (0..100_000).map(|k| spread.place(k)).collect();
        let distances: Vec<f64> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = distances.iter().sum::<f64>() / 99_999.0;
        let variance = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / 99_999.0;
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
        // The share of distances above x is e^-x.
        for (x, share) in [(0.5_f64, 0.6065), (1.0, 0.3679), (3.0, 0.0498)] {
            let above = distances.iter().filter(|distance| **distance > x).count() as u32;
            assert!((f64::from(above) / 99_999.0 - share).abs() < 0.01, "{x}: {above}");
        }
        assert_ne!(Spread::new(Arrivals::Poisson, 8).place(0).to_bits(), places[0].to_bits());
    }

    #[test]
    fn a_place_of_long_ago_is_the_same_as_it_was() {
        let mut poisson = Poisson::new(3);
        let early: Vec<f64> = (0..10_000).map(|k| poisson.place(k)).collect();
        let far = KEPT as u64 * 2;
        let place = poisson.place(far);
        assert!(poisson.first_kept > 10_000);
        for k in [0, 1, 4095, 4096, 9_999] {
            assert_eq!(poisson.place(k).to_bits(), early[k as usize].to_bits(), "{k}");
        }
        assert_eq!(poisson.due(place), far + 1);
        assert_eq!(poisson.due(early[5000]), 5001, "a question about the past");
        assert_eq!(poisson.due(-1.0), 0);
        assert_eq!(poisson.due(place), far + 1);
    }

    #[test]
    fn a_burst_has_one_place() {
        let spread = Spread::new(Arrivals::Bursts(4), 1);
        for (k, place) in (0..).zip([0.0_f64, 0.0, 0.0, 0.0, 4.0, 4.0, 4.0, 4.0, 8.0]) {
            assert_eq!(spread.place(k).to_bits(), place.to_bits(), "{k}");
        }
    }
}
