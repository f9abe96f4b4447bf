//! Numbers that should come one after the other.

use std::collections::BTreeSet;

/// What the arrival of a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is the next one.
    Next,
    /// So many before it have not come: they are lost, or late.
    Ahead(u64),
    /// It was overtaken.
    Late,
    /// It had come before.
    Again,
}

/// Which numbers have come. Only gaps make it grow.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    next: u64,
    #[expect(clippy::box_collection, reason = "8 bytes where there are no gaps")]
    missing: Option<Box<BTreeSet<u64>>>,
}

impl Sequence {
    /// The number that should come next.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    #[inline]
    pub(super) fn arrived(&mut self, number: u64) -> Arrival {
        if number == self.next {
            self.next += 1;
            return Arrival::Next;
        }
        if number > self.next {
            let gap = number - self.next;
            self.missing.get_or_insert_default().extend(self.next..number);
            self.next = number + 1;
            return Arrival::Ahead(gap);
        }
        let was_missing = self.missing.as_mut().is_some_and(|missing| missing.remove(&number));
        if was_missing { Arrival::Late } else { Arrival::Again }
    }

    /// Numbers below the next one that have not come.
    pub(super) fn missing(&self) -> u64 {
        self.missing.as_ref().map_or(0, |missing| missing.len() as u64)
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
}
