//! Which rooms are followed by which loops, and up to where they have been told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::names;
use crate::history::Action;
use crate::history::place::Standing;

/// What is known of a room.
#[derive(Debug)]
pub(super) enum Known<'p> {
    /// Nobody was told anything.
    Nothing,
    /// It is read in a moment.
    Soon,
    /// It was told up to here.
    UpTo(&'p mut Standing),
}

/// A room that loops follow.
#[derive(Debug, Default)]
pub(super) struct Follow {
    /// A bit for each.
    loops: u64,
    /// `None`: it is read in a moment.
    pub(super) standing: Option<Standing>,
}

/// Those who tell loops what happens in rooms hold this while they do, so that each room is told in order. No loop waits for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<Follows>>);

impl Places {
    pub(super) fn lock(&self) -> MutexGuard<'_, Follows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them, by name.
#[derive(Debug, Default)]
pub(super) struct Follows(HashMap<Arc<str>, Follow>);

impl Follows {
    /// A loop follows a room; `true`: nobody did.
    pub(super) fn add(&mut self, number: usize, room: &Arc<str>) -> bool {
        let is_new = !self.0.contains_key(room);
        self.0.entry(Arc::clone(room)).or_default().loops |= 1 << number;
        is_new
    }

    /// A loop follows a room no more. Returns what was known of it where nobody does.
    pub(super) fn remove(&mut self, number: usize, room: &str) -> Option<Follow> {
        let follow = self.0.get_mut(room)?;
        follow.loops &= !(1 << number);
        if follow.loops == 0 { self.0.remove(room) } else { None }
    }

    pub(super) fn get_mut(&mut self, room: &str) -> Option<&mut Follow> {
        self.0.get_mut(room)
    }

    /// An answer says what happened in a room, behind these numbers. Whether the loops are told of it now.
    pub(super) fn answered(&mut self, room: &str, epoch: &str, prev: (u64, u64), actions: &[Action]) -> bool {
        let standing = self.0.get_mut(room).and_then(|follow| follow.standing.as_mut());
        standing.is_some_and(|standing| standing.answered(epoch, prev, actions))
    }

    /// The loops that are told of a room, out of `count` loops. All of them are told of a conversation of two.
    pub(super) fn loops_of(&self, room: &str, count: usize) -> impl Iterator<Item = usize> + use<> {
        let is_pair = names::pair(room).is_some();
        let loops = if is_pair { u64::MAX } else { self.0.get(room).map_or(0, |follow| follow.loops) };
        (0..count).filter(move |number| loops & (1 << number) != 0)
    }

    /// The names of all rooms.
    pub(super) fn rooms(&self) -> Vec<Arc<str>> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Up to where a room was told that somebody follows, or a conversation of two.
pub(super) fn known<'p>(
    follows: &'p mut Follows,
    pairs: &'p mut BTreeMap<Arc<str>, Standing>,
    room: &str,
) -> Known<'p> {
    match follows.get_mut(room) {
        Some(follow) => follow.standing.as_mut().map_or(Known::Soon, Known::UpTo),
        None => pairs.get_mut(room).map_or(Known::Nothing, Known::UpTo),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_followed_until_no_loop_follows_it() {
        let mut follows = Follows::default();
        let room: Arc<str> = "r".into();
        assert!(follows.add(0, &room) && !follows.add(63, &room) && !follows.add(63, &room));
        assert_eq!(follows.loops_of("r", 64).collect::<Vec<_>>(), [0, 63]);
        assert_eq!((follows.loops_of("s", 3).count(), follows.loops_of("@a\nb", 3).count()), (0, 3));
        assert!(follows.remove(0, "r").is_none() && follows.remove(0, "s").is_none());
        assert!(follows.remove(63, "r").is_some());
        assert_eq!((follows.loops_of("r", 64).count(), follows.len()), (0, 0));
    }
}
