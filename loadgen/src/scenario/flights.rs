//! The instants at which messages in flight left: one entry for each write, in one pool for all lanes.

use crate::clock::Nanos;

/// No entry.
const NONE: u32 = u32::MAX;

/// The messages before `until` that no earlier write holds.
#[derive(Debug, Clone, Copy)]
struct Write {
    until: u64,
    at: Nanos,
    next: u32,
}

/// The writes of all lanes. The pool grows to the largest number of writes in flight, and then allocates nothing.
#[derive(Debug)]
pub(super) struct Flights {
    writes: Vec<Write>,
    free: u32,
}

/// The writes of one lane, first and last; 8 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    first: u32,
    last: u32,
}

impl Default for Flight {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Flights {
    pub(super) fn new() -> Self {
        Self { writes: Vec::new(), free: NONE }
    }

    /// Adds a write at `at`: the messages before `until` that no earlier write holds.
    #[inline]
    pub(super) fn push(&mut self, flight: &mut Flight, until: u64, at: Nanos) {
        let write = Write { until, at, next: NONE };
        let place = if self.free == NONE {
            self.writes.push(write);
            self.writes.len() as u32 - 1
        } else {
            let place = self.free;
            self.free = self.writes[place as usize].next;
            self.writes[place as usize] = write;
            place
        };
        if flight.first == NONE {
            flight.first = place;
        } else {
            self.writes[flight.last as usize].next = place;
        }
        flight.last = place;
    }

    /// The instant at which a message in flight left.
    pub(super) fn instant(&self, flight: Flight, seq: u64) -> Option<Nanos> {
        let mut place = flight.first;
        while place != NONE {
            let Write { until, at, next } = self.writes[place as usize];
            if seq < until {
                return Some(at);
            }
            place = next;
        }
        None
    }

    /// Removes the messages from `from` to `to`. Calls `removed` for each write, with its instant and the number of messages.
    #[inline]
    pub(super) fn remove(
        &mut self,
        flight: &mut Flight,
        mut from: u64,
        to: u64,
        mut removed: impl FnMut(Nanos, u64),
    ) {
        while from < to && flight.first != NONE {
            let place = flight.first;
            let Write { until, at, next } = self.writes[place as usize];
            let end = until.min(to);
            if end > from {
                removed(at, end - from);
                from = end;
            }
            if end == until {
                self.writes[place as usize].next = self.free;
                self.free = place;
                flight.first = next;
            }
        }
    }
}

#[cfg(test)]
impl Flights {
    /// Entries that a lane holds.
    pub(super) fn in_use(&self) -> usize {
        let mut place = self.free;
        let mut free = 0;
        while place != NONE {
            place = self.writes[place as usize].next;
            free += 1;
        }
        self.writes.len() - free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_the_instant_of_its_write_and_entries_are_reused() {
        let mut flights = Flights::new();
        let (mut one, mut two) = (Flight::default(), Flight::default());
        for round in 0..100 {
            let base = round * 10;
            flights.push(&mut one, base + 4, 11);
            flights.push(&mut two, base + 10, 12);
            flights.push(&mut one, base + 10, 13);
            let instants = [base, base + 3, base + 4, base + 9].map(|seq| flights.instant(one, seq));
            assert_eq!(instants, [Some(11), Some(11), Some(13), Some(13)]);
            assert_eq!((flights.instant(one, base + 10), flights.in_use()), (None, 3));
            let mut removed = Vec::new();
            flights.remove(&mut one, base, base + 6, |at, count| removed.push((at, count)));
            flights.remove(&mut two, base, base + 10, |at, count| removed.push((at, count)));
            flights.remove(&mut one, base + 6, base + 10, |at, count| removed.push((at, count)));
            assert_eq!(removed, [(11, 4), (13, 2), (12, 10), (13, 4)]);
            flights.remove(&mut one, base + 10, base + 12, |at, count| removed.push((at, count)));
            assert_eq!(removed.len(), 4);
        }
        assert_eq!((flights.writes.len(), flights.in_use()), (3, 0));
    }
}
