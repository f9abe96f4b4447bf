//! The newest events that wait for the backend, in memory as well: one that keeps up is told without the disk being read.
//!
//! Here is only what is committed, without a gap, and nothing that was edited or removed since: where that happens all of it
//! is forgotten, and read from the disk.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::history::outbox::{Page, Waiting};

/// Events, and octets of what they carry.
const MOST: (usize, usize) = (32_768, 4 << 20);

#[derive(Debug, Default)]
pub(super) struct Fresh(Mutex<Events>);

#[derive(Debug, Default)]
struct Events {
    waiting: VecDeque<Waiting>,
    octets: usize,
    /// The newest event, also where it was told already; 0 where that is not known here.
    newest: u64,
}

impl Fresh {
    /// These were committed.
    pub(super) fn add(&self, committed: impl Iterator<Item = Waiting>) {
        let mut events = self.lock();
        for event in committed {
            if event.id != events.newest + 1 {
                events.forget();
            }
            events.newest = event.id;
            events.octets += event.what.octets();
            events.waiting.push_back(event);
            while events.waiting.len() > MOST.0 || events.octets > MOST.1 {
                events.pop();
            }
        }
    }

    /// What is here is not what is on the disk any more.
    pub(super) fn forget(&self) {
        self.lock().forget();
    }

    /// The oldest events after this one, at most so many, and octets of what they carry; `None`: ask the disk.
    pub(super) fn page(&self, after: u64, limit: usize, at_most: usize) -> Option<Page> {
        let mut events = self.lock();
        while events.waiting.front().is_some_and(|event| event.id <= after) {
            events.pop();
        }
        let is_all_here = match events.waiting.front() {
            Some(oldest) => oldest.id == after + 1,
            None => events.newest == after && after > 0,
        };
        if !is_all_here {
            return None;
        }
        let mut octets = 0;
        let page = events.waiting.iter().take(limit).take_while(|event| {
            let is_wanted = octets < at_most;
            octets += event.what.octets();
            is_wanted
        });
        Some(Page { events: page.cloned().collect(), told: after, len: events.newest - after })
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    fn pop(&mut self) {
        self.octets -= self.waiting.pop_front().map_or(0, |event| event.what.octets());
    }

    fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::outbox::What;

    fn events(ids: std::ops::RangeInclusive<u64>, len: usize) -> impl Iterator<Item = Waiting> {
        ids.map(move |id| Waiting { id, what: What::Note("x".repeat(len).into()) })
    }

    fn seen(fresh: &Fresh, after: u64, limit: usize, at_most: usize) -> Option<(Vec<u64>, u64)> {
        let page = fresh.page(after, limit, at_most)?;
        Some((page.events.iter().map(|event| event.id).collect(), page.len))
    }

    #[test]
    fn a_page_is_here_or_on_the_disk_and_never_has_a_gap() {
        let fresh = Fresh::default();
        assert_eq!(seen(&fresh, 0, 9, 99), None, "what was there before is not known");
        fresh.add(events(5..=7, 10));
        assert_eq!(seen(&fresh, 3, 9, 99), None);
        assert_eq!(seen(&fresh, 4, 9, 99), Some((vec![5, 6, 7], 3)));
        assert_eq!(seen(&fresh, 4, 2, 99), Some((vec![5, 6], 3)));
        assert_eq!(seen(&fresh, 4, 9, 11), Some((vec![5, 6], 3)));
        assert_eq!(seen(&fresh, 5, 9, 99), Some((vec![6, 7], 2)));
        assert_eq!(seen(&fresh, 4, 9, 99), None, "what was told is here no more");
        assert_eq!(seen(&fresh, 7, 9, 99), Some((vec![], 0)));
        fresh.add(events(8..=8, 1));
        assert_eq!(seen(&fresh, 7, 9, 99), Some((vec![8], 1)));
        fresh.add(events(10..=11, 1));
        assert_eq!(seen(&fresh, 8, 9, 99), None);
        assert_eq!(seen(&fresh, 9, 9, 99), Some((vec![10, 11], 2)));
        fresh.forget();
        assert_eq!(seen(&fresh, 9, 9, 99), None);
    }

    #[test]
    fn it_is_bounded_in_events_and_in_octets() {
        let fresh = Fresh::default();
        fresh.add(events(1..=40_000, 1));
        assert_eq!(fresh.lock().waiting.len(), MOST.0);
        assert_eq!(seen(&fresh, 0, 9, 99), None);
        fresh.add(events(40_001..=40_800, 10_000));
        let events = fresh.lock();
        assert!(events.octets <= MOST.1 && events.waiting.len() < 430, "{}", events.octets);
    }
}
