//! How far users have read in a room.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::app::Millis;
use crate::chat::people::user::Identity;
use crate::chat::rooms::notice_pace::{News, NoticePace};

/// A read position, and when it was last moved.
#[derive(Debug, Clone, Copy)]
struct Position {
    seq: u64,
    moved: u64,
}

/// The read positions of a room that are in memory, as many as may be: the one that was not moved for the longest makes place.
#[derive(Debug, Default)]
pub(in crate::chat::rooms) struct ReadPositions {
    by_user: HashMap<Identity, Position>,
    /// By [`Position::moved`].
    order: BTreeMap<u64, Identity>,
    moves: u64,
    /// Of these the room has not been told.
    untold: BTreeSet<Identity>,
    /// When the next notice may come.
    pace: NoticePace,
}

impl ReadPositions {
    /// The last message that a user has read, if that is known.
    pub(in crate::chat::rooms) fn of(&self, user: &Identity) -> Option<u64> {
        self.by_user.get(user).map(|position| position.seq)
    }

    /// A user has read up to here, or further. At most `max` positions are kept.
    pub(in crate::chat::rooms) fn keep(&mut self, user: &Identity, seq: u64, max: usize) {
        self.moves += 1;
        let moved = self.moves;
        let position = self.by_user.entry(user.clone()).or_insert(Position { seq, moved });
        position.seq = position.seq.max(seq);
        self.order.remove(&std::mem::replace(&mut position.moved, moved));
        self.order.insert(moved, user.clone());
        while self.by_user.len() > max
            && let Some((_, longest)) = self.order.pop_first()
        {
            self.by_user.remove(&longest);
            self.untold.remove(&longest);
        }
        debug_assert_eq!(self.order.len(), self.by_user.len(), "every position has its place in the order");
    }

    /// The room must be told of a user's position.
    pub(in crate::chat::rooms) fn note_untold(&mut self, user: Identity) {
        if self.by_user.contains_key(&user) {
            self.untold.insert(user);
        }
    }

    pub(in crate::chat::rooms) fn forget(&mut self, user: &Identity) {
        if let Some(position) = self.by_user.remove(user) {
            self.order.remove(&position.moved);
        }
        self.untold.remove(user);
    }

    /// What the room is told now, by user, and then nothing for `every` milliseconds.
    pub(in crate::chat::rooms) fn take_news(
        &mut self,
        now: Millis,
        every: Millis,
    ) -> News<Vec<(Identity, u64)>> {
        if self.untold.is_empty() {
            return Err(None);
        }
        self.pace.take(now, every)?;
        Ok(self.take_untold())
    }

    /// The timer came.
    pub(in crate::chat::rooms) fn timer_fired(&mut self) {
        self.pace.timer_fired();
    }

    /// What the room has not been told, by user.
    fn take_untold(&mut self) -> Vec<(Identity, u64)> {
        let untold = std::mem::take(&mut self.untold);
        untold.into_iter().filter_map(|user| self.of(&user).map(|seq| (user, seq))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Identity {
        Identity { person: name.into(), is_verified: true }
    }

    #[test]
    fn the_position_that_was_not_moved_for_the_longest_makes_place() {
        let mut reads = ReadPositions::default();
        for name in ["zoe", "bob"] {
            reads.keep(&user(name), 1, 2);
        }
        reads.keep(&user("zoe"), 2, 2);
        // The newcomer is the first in the alphabet.
        reads.keep(&user("ada"), 3, 2);
        reads.note_untold(user("ada"));
        reads.note_untold(user("bob"));
        assert_eq!(["ada", "bob", "zoe"].map(|name| reads.of(&user(name))), [Some(3), None, Some(2)]);
        assert_eq!(reads.take_untold(), [(user("ada"), 3)]);
        reads.keep(&user("ada"), 1, 2);
        assert_eq!(reads.of(&user("ada")), Some(3), "it never goes back");
        reads.forget(&user("ada"));
        reads.keep(&user("eve"), 1, 2);
        assert_eq!(reads.of(&user("zoe")), Some(2));
        // Nobody has a place.
        reads.keep(&user("dan"), 1, 0);
        assert_eq!(reads.of(&user("dan")), None);
    }
}
