//! An outbox in memory, for a history that is there, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::history::outbox::{Bell, DeadLetter, Dropped, Outbox, Page, Rope, Waiting, What};

/// Octets of the events that may wait in memory, about.
pub const MAX_MEMORY_OCTETS: usize = 64 << 20;

/// What waits.
#[derive(Debug, Default)]
struct Events {
    by_id: BTreeMap<u64, Box<str>>,
    /// Those of them that change no room.
    notes: BTreeSet<u64>,
    octets: usize,
    last: u64,
    told: u64,
}

/// The end that loops have.
#[derive(Debug)]
pub(super) struct Queue {
    events: Mutex<Events>,
    max_events: u64,
    dropped: Arc<Dropped>,
    rope: Rope,
}

/// The end of the thread that tells.
#[derive(Debug)]
pub(super) struct MemoryEnd {
    queue: Arc<Queue>,
    bell: Bell,
}

/// A queue of so many events.
pub(super) fn queue(max_events: u64) -> (Arc<Queue>, MemoryEnd) {
    let bell = Bell::default();
    let queue = Queue {
        events: Mutex::default(),
        max_events: max_events.max(1),
        dropped: Arc::default(),
        rope: bell.rope(),
    };
    let queue = Arc::new(queue);
    (Arc::clone(&queue), MemoryEnd { queue, bell })
}

impl Events {
    fn remove(&mut self, id: u64) {
        self.notes.remove(&id);
        self.octets -= self.by_id.remove(&id).map_or(0, |body| body.len());
    }
}

impl Queue {
    /// Adds an event. The lock is held for as long as a page is copied, by the one thread that tells.
    pub(super) fn push(&self, body: String, is_note: bool) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.last += 1;
        let id = events.last;
        events.octets += body.len();
        events.by_id.insert(id, body.into());
        if is_note {
            events.notes.insert(id);
        }
        while events.by_id.len() as u64 > self.max_events || events.octets > MAX_MEMORY_OCTETS {
            let note = events.notes.first().copied();
            let Some(oldest) = note.or_else(|| events.by_id.keys().next().copied()) else { break };
            events.remove(oldest);
            self.dropped.add(note.is_some());
        }
        drop(events);
        self.rope.ring();
    }
}

impl Outbox for MemoryEnd {
    fn page(&mut self, after: u64, limit: usize, octets: usize) -> Option<Page> {
        let queue = self.queue.events.lock().unwrap_or_else(PoisonError::into_inner);
        let told = queue.told.max(after);
        let (mut events, mut taken) = (Vec::new(), 0);
        for (id, body) in queue.by_id.range(told + 1..).take(limit) {
            if taken >= octets {
                break;
            }
            taken += body.len();
            events.push(Waiting { id: *id, what: What::Note(body.clone()) });
        }
        Some(Page { events, told, len: queue.by_id.len() as u64 })
    }

    fn told(&mut self, id: u64) {
        let mut events = self.queue.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.told = id;
        while let Some(oldest) = events.by_id.keys().next().copied().filter(|oldest| *oldest <= id) {
            events.remove(oldest);
        }
    }

    fn bury(&mut self, dead: DeadLetter) {
        self.told(dead.id);
    }

    fn dropped(&self) -> Arc<Dropped> {
        Arc::clone(&self.queue.dropped)
    }

    fn bell(&mut self) -> &mut Bell {
        &mut self.bell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(end: &mut MemoryEnd, after: u64) -> Vec<u64> {
        end.page(after, 100, usize::MAX).unwrap().events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn above_the_bound_notes_go_first_and_then_the_oldest() {
        let (queue, mut end) = queue(3);
        for is_note in [false, true, false, false, true] {
            queue.push("{}".to_owned(), is_note);
        }
        assert_eq!(ids(&mut end, 0), [1, 3, 4]);
        queue.push("{}".to_owned(), false);
        assert_eq!(ids(&mut end, 0), [3, 4, 6]);
        assert_eq!(end.dropped().counts(), [2, 1]);
        end.told(4);
        assert_eq!((ids(&mut end, 0), ids(&mut end, 6)), (vec![6], vec![]));
        queue.push("x".repeat(MAX_MEMORY_OCTETS), false);
        assert_eq!(ids(&mut end, 0), [7]);
    }
}
