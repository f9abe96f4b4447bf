//! Up to where a room was told, and what to do with news of it, where those who order the room and those who tell of it are
//! apart. Pure.
//!
//! Whoever tells may lose something, say it twice, or say it too late. So nothing is told but what comes next after what was
//! told before; anything else has the room read from there.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Action, Fork, Record};

/// Steps that were told by their answers and are to be heard of again; of what is forgotten the room is read.
const MAX_OWN: usize = 64;

/// Up to where a room is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name of its history.
    pub epoch: Arc<str>,
    /// The newest message.
    pub seq: u64,
    /// The newest change.
    pub rev: u64,
}

/// What to do with news of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is what comes next: tell it.
    Tell,
    /// It was told already, when it was answered.
    Twin,
    /// Something before it was missed, it comes twice, or the history goes on under another name: read what is new.
    Read,
}

/// What is new to somebody who knew a room up to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The name of the history.
    pub epoch: Arc<str>,
    /// The newest message and change that are part of it and of what was known.
    pub base: (u64, u64),
    /// Its newest message and change.
    pub end: (u64, u64),
    /// The messages after the base, or the first of them; `None`: not all of them are kept any more.
    pub messages: Option<Vec<Record>>,
    /// The changes after the base, or the first of them; `None`: not all of them are kept any more.
    pub changes: Option<Vec<Action>>,
}

/// What those are told who follow a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The history goes on under another name.
    Fork(Fork),
    /// More has happened than can be told.
    Behind,
    /// Messages and changes, in order.
    Happened(Vec<Action>),
}

/// Up to where a room was told by two who tell of it: one hears all that happens, the other one is answered what it has brought
/// about itself. The first of them that knows of a step tells it.
#[derive(Debug, Clone)]
pub struct Standing {
    place: Place,
    /// What was before each step that was told by its answer and was not heard of yet; the oldest first.
    own: VecDeque<(u64, u64)>,
}

impl Standing {
    /// At a place that was read.
    #[must_use]
    pub fn at(place: Place) -> Self {
        Self { place, own: VecDeque::new() }
    }

    /// Up to where.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What to do with a step that is heard of, of the history of this name, behind these numbers.
    pub fn heard(&mut self, epoch: &str, prev: (u64, u64)) -> Step {
        let is_same = *epoch == *self.place.epoch;
        while let Some(own) = self.own.front().copied().filter(|_| is_same) {
            if own.0 > prev.0 || own.1 > prev.1 {
                break;
            }
            self.own.pop_front();
            if own == prev {
                return Step::Twin;
            }
        }
        if is_same && self.is_at(prev) { Step::Tell } else { Step::Read }
    }

    /// An answer says that a step behind these numbers was done, in the history of this name. Whether it is told now: not where
    /// something before it was not told yet, which is heard of before it.
    pub fn answered(&mut self, epoch: &str, prev: (u64, u64), actions: &[Action]) -> bool {
        let is_next = !actions.is_empty() && self.is_at(prev) && *epoch == *self.place.epoch;
        if is_next {
            if self.own.len() == MAX_OWN {
                self.own.pop_front();
            }
            self.own.push_back(prev);
            self.advance(actions);
        }
        is_next
    }

    /// It was read, and told, up to another place.
    pub fn reach(&mut self, place: Place) {
        if place.epoch != self.place.epoch {
            self.own.clear();
        }
        self.place = place;
    }

    fn is_at(&self, prev: (u64, u64)) -> bool {
        prev == (self.place.seq, self.place.rev)
    }

    /// What comes next is told.
    pub fn advance(&mut self, actions: &[Action]) {
        let posts = actions.iter().filter(|action| matches!(action, Action::Post(_))).count() as u64;
        self.place.seq += posts;
        self.place.rev += actions.len() as u64 - posts;
    }
}

impl Place {
    /// What is told where this is new. Returns up to where it is told then, and whether that is all.
    #[must_use]
    pub fn reach(&self, since: Since) -> (Vec<Word>, Self, bool) {
        let Since { epoch, base, end, messages, changes } = since;
        let mut words = Vec::new();
        if *epoch != *self.epoch {
            words.push(Word::Fork(Fork { epoch: Arc::clone(&epoch), seq: base.0, rev: base.1 }));
        }
        let (Some(messages), Some(mut changes)) = (messages, changes) else {
            words.push(Word::Behind);
            return (words, Self { epoch, seq: end.0, rev: end.1 }, true);
        };
        let seq = base.0 + messages.len() as u64;
        // A change of a message comes after the message.
        if seq < end.0 {
            changes.clear();
        }
        let rev = base.1 + changes.len() as u64;
        let mut actions: Vec<_> = messages.into_iter().map(|record| Action::Post(record.post)).collect();
        actions.append(&mut changes);
        if !actions.is_empty() {
            words.push(Word::Happened(actions));
        }
        (words, Self { epoch, seq, rev }, (seq, rev) == end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Post;

    fn place() -> Place {
        Place { epoch: "e".into(), seq: 10, rev: 3 }
    }

    fn standing() -> Standing {
        Standing::at(place())
    }

    fn change(rev: u64) -> Action {
        Action::Delete { rev, seq: 1, time: 1 }
    }

    #[test]
    fn what_comes_next_is_told_and_anything_else_has_the_room_read() {
        for (epoch, prev, step) in [
            ("e", (10, 3), Step::Tell),
            ("e", (8, 3), Step::Read),
            ("e", (10, 2), Step::Read),
            ("e", (4, 1), Step::Read),
            ("e", (11, 3), Step::Read),
            ("e", (10, 4), Step::Read),
            ("f", (10, 3), Step::Read),
            ("f", (2, 0), Step::Read),
        ] {
            let mut standing = standing();
            assert_eq!(standing.heard(epoch, prev), step, "{epoch} {prev:?}");
            assert_eq!(*standing.place(), place());
        }
        let mut standing = standing();
        standing.advance(&[Action::Post(Post::default()), change(4), change(5)]);
        assert_eq!((standing.place().seq, standing.place().rev), (11, 5));
    }

    #[test]
    fn what_was_told_by_its_answer_is_not_told_again_when_it_is_heard_of() {
        let mut standing = standing();
        let post = [Action::Post(Post::default())];
        assert!(!standing.answered("f", (10, 3), &post), "another history");
        assert!(!standing.answered("e", (11, 3), &post), "something before it was not heard of yet");
        assert!(!standing.answered("e", (10, 3), &[]), "nothing happened");
        assert!(standing.answered("e", (10, 3), &post) && standing.answered("e", (11, 3), &[change(4)]));
        assert_eq!(standing.heard("f", (10, 3)), Step::Read);
        assert_eq!(standing.heard("e", (10, 3)), Step::Twin);
        assert_eq!(standing.heard("e", (10, 3)), Step::Read, "a real twin");
        assert_eq!(standing.heard("e", (11, 3)), Step::Twin);
        assert_eq!(standing.heard("e", (11, 4)), Step::Tell);
        // What was missed is not heard of any more.
        assert!(standing.answered("e", (11, 4), &post) && standing.answered("e", (12, 4), &post));
        assert_eq!(standing.heard("e", (12, 4)), Step::Twin);
        assert!(standing.own.is_empty());
        for seq in 13..200 {
            assert!(standing.answered("e", (seq, 4), &post));
        }
        assert_eq!(standing.own.len(), MAX_OWN);
        assert_eq!(standing.heard("e", (14, 4)), Step::Read, "it was forgotten");
        assert_eq!(standing.heard("e", (199, 4)), Step::Twin);
    }

    #[test]
    fn of_what_is_new_changes_come_last_and_what_is_gone_is_said() {
        let place = place();
        let since = |epoch: &str, base, end, messages: Option<u64>| Since {
            epoch: epoch.into(),
            base,
            end,
            messages: messages.map(|count| vec![Record::default(); count as usize]),
            changes: Some(vec![Action::Delete { rev: 4, seq: 1, time: 1 }]),
        };
        let (words, reached, is_done) = place.reach(since("e", (10, 3), (12, 4), Some(2)));
        assert!(matches!(&words[..], [Word::Happened(actions)] if actions.len() == 3));
        assert_eq!((reached.seq, reached.rev, is_done), (12, 4, true));
        let (words, reached, is_done) = place.reach(since("e", (10, 3), (13, 4), Some(2)));
        assert!(matches!(&words[..], [Word::Happened(actions)] if actions.len() == 2), "no change yet");
        assert_eq!((reached.seq, reached.rev, is_done), (12, 3, false));
        let (words, reached, is_done) = place.reach(since("f", (6, 2), (90, 9), None));
        let fork = Fork { epoch: "f".into(), seq: 6, rev: 2 };
        assert_eq!(words, [Word::Fork(fork), Word::Behind]);
        assert_eq!((&*reached.epoch, reached.seq, reached.rev, is_done), ("f", 90, 9, true));
    }
}
