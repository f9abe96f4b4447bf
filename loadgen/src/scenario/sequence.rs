//! Numbers that should arrive in order.

use std::collections::BTreeMap;

/// What the arrival of a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The number is the next one.
    Next,
    /// This many numbers before it have not arrived: they are lost or late.
    Ahead(u64),
    /// The number was overtaken.
    Late,
    /// The number had arrived before.
    Again,
}

/// The numbers that have arrived. Each gap takes one entry, however long it is: a server may send any number.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    next: u64,
    missing: Option<Box<Missing>>,
}

/// Numbers below the next one that have not arrived.
#[derive(Debug, Default)]
struct Missing {
    /// The first number of each gap, and the number after its last.
    gaps: BTreeMap<u64, u64>,
    count: u64,
}

impl Missing {
    fn add(&mut self, first: u64, end: u64) {
        self.gaps.insert(first, end);
        self.count += end - first;
    }

    /// Removes a number from its gap; `false`: no gap has it.
    fn remove(&mut self, number: u64) -> bool {
        let Some((&first, &end)) = self.gaps.range(..=number).next_back() else { return false };
        if number >= end {
            return false;
        }
        self.gaps.remove(&first);
        if first < number {
            self.gaps.insert(first, number);
        }
        if number + 1 < end {
            self.gaps.insert(number + 1, end);
        }
        self.count -= 1;
        true
    }
}

impl Sequence {
    /// The number that should arrive next.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Records an arrival.
    #[inline]
    pub(super) fn arrived(&mut self, number: u64) -> Arrival {
        if number == self.next {
            self.next = self.next.saturating_add(1);
            return Arrival::Next;
        }
        if number > self.next {
            let gap = number - self.next;
            self.missing.get_or_insert_default().add(self.next, number);
            self.next = number.saturating_add(1);
            return Arrival::Ahead(gap);
        }
        let was_missing = self.missing.as_mut().is_some_and(|missing| missing.remove(number));
        if was_missing { Arrival::Late } else { Arrival::Again }
    }

    /// Numbers below the next one that have not arrived.
    pub(super) fn missing(&self) -> u64 {
        self.missing.as_ref().map_or(0, |missing| missing.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arrival_has_its_name() {
        let mut sequence = Sequence::default();
        let arrivals = [0, 1, 4, 3, 3, 1, 5].map(|number| sequence.arrived(number));
        assert_eq!(
            arrivals,
            [
                Arrival::Next,
                Arrival::Next,
                Arrival::Ahead(2),
                Arrival::Late,
                Arrival::Again,
                Arrival::Again,
                Arrival::Next
            ]
        );
        assert_eq!((sequence.next(), sequence.missing()), (6, 1));
    }

    #[test]
    fn a_gap_takes_the_same_memory_whatever_its_length() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.arrived(u64::MAX - 1), Arrival::Ahead(u64::MAX - 1));
        assert_eq!(sequence.missing.as_ref().map(|missing| missing.gaps.len()), Some(1));
        for (number, arrival, gaps) in
            [(7, Arrival::Late, 2), (7, Arrival::Again, 2), (0, Arrival::Late, 2), (6, Arrival::Late, 2)]
        {
            assert_eq!(sequence.arrived(number), arrival, "{number}");
            assert_eq!(sequence.missing.as_ref().map(|missing| missing.gaps.len()), Some(gaps), "{number}");
        }
        assert_eq!(sequence.missing(), u64::MAX - 4);
        assert_eq!(sequence.arrived(u64::MAX), Arrival::Next);
        assert_eq!(sequence.arrived(u64::MAX), Arrival::Next, "there is no number after the last");
    }
}
