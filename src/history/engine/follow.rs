//! Which rooms are followed by which loops, and up to where they have been told. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::history::place::Place;

/// What is known of a room.
#[derive(Debug)]
pub(super) enum Known<'p> {
    /// Nobody was told anything.
    Nothing,
    /// It is read in a moment.
    Soon,
    /// It was told up to here.
    UpTo(&'p mut Place),
}

/// A room that loops follow.
#[derive(Debug, Default)]
pub(super) struct Follow {
    /// A bit for each.
    loops: u64,
    /// `None`: it was not read yet.
    pub(super) place: Option<Place>,
}

/// All of them, by name.
#[derive(Debug, Default)]
pub(super) struct Follows(BTreeMap<Arc<str>, Follow>);

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

    /// The loops that follow a room.
    pub(super) fn loops_of(&self, room: &str) -> impl Iterator<Item = usize> + use<> {
        let loops = self.0.get(room).map_or(0, |follow| follow.loops);
        (0..u64::BITS as usize).filter(move |number| loops & (1 << number) != 0)
    }

    /// The names of all rooms.
    pub(super) fn rooms(&self) -> Vec<Arc<str>> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
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
        assert_eq!(follows.loops_of("r").collect::<Vec<_>>(), [0, 63]);
        assert!(follows.remove(0, "r").is_none() && follows.remove(0, "s").is_none());
        assert!(follows.remove(63, "r").is_some());
        assert_eq!((follows.loops_of("r").count(), follows.len()), (0, 0));
    }
}
