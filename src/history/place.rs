//! Up to where a room was told, and what to do with news of it, where those who order the room and those who tell of it are
//! apart. Pure.
//!
//! Whoever tells may lose something, say it twice, or say it too late. So nothing is told but what comes next after what was
//! told before; anything else has the room read from there.

use std::sync::Arc;

use super::{Action, Fork, Record};

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

/// What happened in a room, in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The room's name in its normal form.
    pub room: Arc<str>,
    /// The name of its history.
    pub epoch: Arc<str>,
    /// The newest message before.
    pub prev_seq: u64,
    /// The newest change before.
    pub prev_rev: u64,
    /// Messages and changes, in order.
    pub actions: Vec<Action>,
}

/// What to do with news of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is what comes next: tell it.
    Tell,
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

impl News {
    /// The newest message and the newest change after it.
    #[must_use]
    pub fn end(&self) -> (u64, u64) {
        let posts = self.actions.iter().filter(|action| matches!(action, Action::Post(_))).count() as u64;
        (self.prev_seq + posts, self.prev_rev + (self.actions.len() as u64 - posts))
    }
}

impl Place {
    /// What to do with news.
    #[must_use]
    pub fn step(&self, news: &News) -> Step {
        let is_next = (news.prev_seq, news.prev_rev) == (self.seq, self.rev) && *news.epoch == *self.epoch;
        if is_next { Step::Tell } else { Step::Read }
    }

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
    fn of_what_is_new_changes_come_last_and_what_is_gone_is_said() {
        let place = Place { epoch: "e".into(), seq: 10, rev: 3 };
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
