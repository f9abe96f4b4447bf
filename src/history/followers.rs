//! Which loops have which rooms open, and so are told what happens there.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Loops that share a history, at most.
pub const MAX_LOOPS: usize = 64;

/// Parts of the table, each with a lock of its own that is held for one look-up.
const PARTS: usize = 16;

/// Loops, a bit for each.
type Loops = u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Followers {
    loops: usize,
    hasher: RandomState,
    parts: [Mutex<HashMap<Arc<str>, Loops>>; PARTS],
}

impl Followers {
    /// For this many loops, at most [`MAX_LOOPS`].
    pub(super) fn new(loops: usize) -> Self {
        debug_assert!((1..=MAX_LOOPS).contains(&loops), "{loops} loops");
        Self { loops, hasher: RandomState::new(), parts: std::array::from_fn(|_| Mutex::default()) }
    }

    /// How many loops there are.
    pub(super) fn loops(&self) -> usize {
        self.loops
    }

    /// A loop opens a room.
    pub(super) fn follow(&self, number: usize, room: &Arc<str>) {
        if self.loops > 1 {
            *self.part(room).entry(Arc::clone(room)).or_default() |= 1 << number;
        }
    }

    /// A loop has closed a room.
    pub(super) fn unfollow(&self, number: usize, room: &str) {
        if self.loops == 1 {
            return;
        }
        let mut part = self.part(room);
        if let Some(loops) = part.get_mut(room) {
            *loops &= !(1 << number);
            if *loops == 0 {
                part.remove(room);
            }
        }
    }

    /// The loops that are told what happens in a room: those that have it open. A loop that is alone is told of every room, and
    /// every loop of conversations of two, whose users may be connected anywhere.
    pub(super) fn of(&self, room: &str) -> impl Iterator<Item = usize> + use<> {
        let loops = if self.loops == 1 || room.starts_with('@') {
            Loops::MAX
        } else {
            self.part(room).get(room).copied().unwrap_or_default()
        };
        (0..self.loops).filter(move |number| loops & (1 << number) != 0)
    }

    /// Whether any loop has a room open.
    pub(super) fn is_open(&self, room: &str) -> bool {
        self.loops == 1 || self.part(room).contains_key(room)
    }

    /// Rooms that are open on any loop.
    pub(super) fn rooms(&self) -> usize {
        let len = |part: &Mutex<HashMap<_, _>>| part.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.parts.iter().map(len).sum()
    }

    fn part(&self, room: &str) -> MutexGuard<'_, HashMap<Arc<str>, Loops>> {
        let part = self.hasher.hash_one(room) as usize % PARTS;
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_told_of_the_rooms_that_it_has_open() {
        let followers = Followers::new(3);
        let of = |room: &str| followers.of(room).collect::<Vec<_>>();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        followers.follow(0, &a);
        followers.follow(2, &a);
        followers.follow(2, &a);
        followers.follow(1, &b);
        assert_eq!((of("a"), of("b"), of("c")), (vec![0, 2], vec![1], vec![]));
        followers.unfollow(2, "a");
        followers.unfollow(2, "b");
        followers.unfollow(1, "c");
        assert_eq!((of("a"), of("b")), (vec![0], vec![1]));
        assert_eq!(of("@a\nb"), [0, 1, 2]);
        followers.unfollow(0, "a");
        assert!(followers.parts.iter().map(|part| part.lock().unwrap().len()).sum::<usize>() == 1);
        assert_eq!(Followers::new(1).of("whatever").collect::<Vec<_>>(), [0]);
    }
}
