//! Which rooms are followed by which loops, and up to where they have been told. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::values::News;

/// Up to where a room is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: Arc<str>,
    pub(super) seq: u64,
    pub(super) rev: u64,
}

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

/// What to do with news of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is what comes next: tell it.
    Tell,
    /// Something before it was missed, it comes twice, or the history goes on under another name: read what is new.
    Read,
}

impl Place {
    /// What to do with news.
    pub(super) fn step(&self, news: &News) -> Step {
        let is_next = (news.prev_seq, news.prev_rev) == (self.seq, self.rev) && *news.epoch == *self.epoch;
        if is_next { Step::Tell } else { Step::Read }
    }
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
    use crate::history::{Action, Post};

    fn news(epoch: &str, prev: (u64, u64), posts: u64, changes: u64) -> News {
        let post = |seq| Action::Post(Post { seq: prev.0 + seq, ..Post::default() });
        let change = |rev| Action::Delete { rev: prev.1 + rev, seq: 1, time: 1 };
        News {
            room: "r".into(),
            epoch: epoch.into(),
            prev_seq: prev.0,
            prev_rev: prev.1,
            actions: (1..=posts).map(post).chain((1..=changes).map(change)).collect(),
        }
    }

    #[test]
    fn what_comes_next_is_told_and_anything_else_has_the_room_read() {
        let place = Place { epoch: "e".into(), seq: 10, rev: 3 };
        for (news, step) in [
            (news("e", (10, 3), 2, 0), Step::Tell),
            (news("e", (10, 3), 0, 1), Step::Tell),
            (news("e", (8, 3), 2, 0), Step::Read),
            (news("e", (10, 2), 0, 1), Step::Read),
            (news("e", (4, 1), 1, 1), Step::Read),
            (news("e", (11, 3), 1, 0), Step::Read),
            (news("e", (10, 4), 1, 0), Step::Read),
            (news("e", (9, 3), 2, 0), Step::Read),
            (news("f", (10, 3), 1, 0), Step::Read),
            (news("f", (2, 0), 1, 0), Step::Read),
        ] {
            assert_eq!(place.step(&news), step, "{news:?}");
        }
    }

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
