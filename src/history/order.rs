//! The order of one room: the pure authority for a chat in memory, and what every other authority is compared with.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{Keys, Scope, Used};
use super::stamp::stamp;
use super::{Act, Action, Draft, Outcome, Proposal, Who};

/// Numbers what happens in a room, and knows of each message whether it is there and who reacted to it how.
#[derive(Debug, Default, Clone)]
pub struct Order {
    /// The newest message.
    seq: u64,
    /// The newest change.
    rev: u64,
    /// The time of the newest message.
    time: u64,
    /// Messages below are kept no more.
    oldest: u64,
    /// Most rooms have none.
    marks: Option<Box<Marks>>,
}

/// What there is to know of messages besides that they are there.
#[derive(Debug, Default, Clone)]
struct Marks {
    deleted: BTreeSet<u64>,
    /// By message, then in the order in which they came.
    reactions: BTreeMap<u64, Vec<(Box<str>, Who)>>,
}

impl Order {
    /// What comes of a proposal, and what happens in the room. `now_ms` is the time of a clock without leaps, by which keys
    /// end.
    pub fn propose(
        &mut self,
        proposal: Proposal,
        keys: &mut Keys,
        now_ms: u64,
    ) -> (Option<Outcome>, Option<Action>) {
        let Proposal { room, time, act } = proposal;
        let (outcome, action) = match act {
            Act::Post(draft) => self.post(draft, (&room, time), keys, now_ms),
            Act::Edit { seq, .. } | Act::Delete { seq } | Act::React { seq, .. } if !self.has(seq) => {
                (Outcome::Gone, None)
            }
            Act::Edit { seq, text, data } => {
                let (rev, time) = (self.next_rev(), stamp(self.time, time));
                let outcome = Outcome::Changed { seq, rev, time: Some(time) };
                (outcome, Some(Action::Edit { rev, seq, text, data, time }))
            }
            Act::Delete { seq } => {
                let (rev, time) = (self.next_rev(), stamp(self.time, time));
                let marks = self.marks.get_or_insert_default();
                marks.deleted.insert(seq);
                marks.reactions.remove(&seq);
                (Outcome::Changed { seq, rev, time: Some(time) }, Some(Action::Delete { rev, seq, time }))
            }
            Act::React { seq, user, emoji, is_removed, most } => {
                if let Some(outcome) = self.react(seq, (&user, &emoji), is_removed, most) {
                    (outcome, None)
                } else {
                    let rev = self.next_rev();
                    let outcome = Outcome::Changed { seq, rev, time: None };
                    (outcome, Some(Action::React { rev, seq, user, emoji, is_removed }))
                }
            }
            // What is kept in memory is gone with the process.
            Act::Import(_) => (Outcome::NoImport, None),
            // Whose rooms these are does not belong to the order of one room: see `Subscriptions`.
            Act::Subscribe { .. } => (Outcome::Subscribed, None),
            Act::Read { user, seq } => return (None, Some(Action::Read { user, seq })),
            Act::Note(_) => return (None, None),
        };
        (Some(outcome), action)
    }

    fn post(
        &mut self,
        draft: Draft,
        (room, time): (&str, u64),
        keys: &mut Keys,
        now_ms: u64,
    ) -> (Outcome, Option<Action>) {
        let scope = Scope::of(&draft, room);
        if let Some(Used { seq, time }) = scope.as_ref().and_then(|scope| keys.find(scope, now_ms)) {
            return (Outcome::Repeated { seq, time }, None);
        }
        if !draft.has_target(self.seq) {
            return (Outcome::NoTarget, None);
        }
        self.seq += 1;
        self.time = stamp(self.time, time);
        let (seq, time) = (self.seq, self.time);
        if let Some(scope) = scope {
            keys.insert(&scope, Used { seq, time }, now_ms);
        }
        (Outcome::Posted { seq, time }, Some(Action::Post(draft.numbered(seq, time))))
    }

    /// Changes the reactions to a message; what comes of it where nothing changes.
    fn react(
        &mut self,
        seq: u64,
        (user, emoji): (&Who, &str),
        is_removed: bool,
        most: usize,
    ) -> Option<Outcome> {
        let marks = self.marks.get_or_insert_default();
        let known = marks.reactions.entry(seq).or_default();
        let place = known.iter().position(|(other, by)| **other == *emoji && by == user);
        let outcome = match place {
            Some(at) if is_removed => {
                known.remove(at);
                None
            }
            None if !is_removed && known.len() >= most => Some(Outcome::TooMany),
            None if !is_removed => {
                known.push((emoji.into(), user.clone()));
                None
            }
            _ => Some(Outcome::Same { seq, rev: self.rev }),
        };
        if known.is_empty() {
            marks.reactions.remove(&seq);
        }
        outcome
    }

    fn next_rev(&mut self) -> u64 {
        self.rev += 1;
        self.rev
    }

    /// Whether there is a message that can be changed.
    fn has(&self, seq: u64) -> bool {
        let is_deleted = || self.marks.as_ref().is_some_and(|marks| marks.deleted.contains(&seq));
        seq >= self.oldest.max(1) && seq <= self.seq && !is_deleted()
    }

    /// Messages below this one are kept no more.
    pub fn forget_below(&mut self, seq: u64) {
        if seq > self.oldest {
            self.oldest = seq;
            if let Some(marks) = &mut self.marks {
                marks.deleted = marks.deleted.split_off(&seq);
                marks.reactions = marks.reactions.split_off(&seq);
            }
        }
    }

    /// The number of the newest message; 0 for a room without any.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The number of the newest change.
    #[must_use]
    pub fn rev(&self) -> u64 {
        self.rev
    }

    /// The time of the newest message, in milliseconds since 1970.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(act: Act) -> Proposal {
        Proposal { room: "r".into(), time: 1_790_000_000_000, act }
    }

    fn draft(key: Option<&str>) -> Act {
        let key = key.map(|key| crate::history::DraftKey { person: "ada".into(), key: key.into() });
        let (user, client, text) = ("Ada".into(), "c".into(), "x".into());
        Act::Post(Draft { user, client, text, key, ..Draft::default() })
    }

    fn react(seq: u64, user: &str, emoji: &str, is_removed: bool) -> Act {
        Act::React { seq, user: Who::from_label(user), emoji: emoji.into(), is_removed, most: 2 }
    }

    #[test]
    fn each_message_and_each_change_has_the_next_number_and_nothing_else_has_one() {
        let (mut order, mut keys) = (Order::default(), Keys::new(1000, 10));
        let mut propose = |act| order.propose(proposal(act), &mut keys, 5).0.unwrap();
        let time = 1_790_000_000_000;
        let changed = |seq, rev, time| Outcome::Changed { seq, rev, time };
        assert_eq!(propose(Act::Delete { seq: 1 }), Outcome::Gone);
        assert_eq!(propose(draft(Some("k"))), Outcome::Posted { seq: 1, time });
        assert_eq!(propose(draft(Some("k"))), Outcome::Repeated { seq: 1, time });
        assert_eq!(propose(draft(None)), Outcome::Posted { seq: 2, time });
        assert_eq!(propose(Act::Edit { seq: 1, text: "y".into(), data: None }), changed(1, 1, Some(time)));
        assert_eq!(propose(react(1, "a", "x", true)), Outcome::Same { seq: 1, rev: 1 });
        assert_eq!(propose(react(1, "a", "x", false)), changed(1, 2, None));
        assert_eq!(propose(react(1, "a", "x", false)), Outcome::Same { seq: 1, rev: 2 });
        assert_eq!(propose(react(1, "@a", "x", false)), changed(1, 3, None));
        assert_eq!(propose(react(1, "b", "y", false)), Outcome::TooMany);
        assert_eq!(propose(react(1, "a", "x", true)), changed(1, 4, None));
        assert_eq!(propose(Act::Delete { seq: 1 }), changed(1, 5, Some(time)));
        for act in [
            Act::Delete { seq: 1 },
            react(1, "a", "x", false),
            Act::Edit { seq: 3, text: "".into(), data: None },
        ] {
            assert_eq!(propose(act), Outcome::Gone);
        }
        for (seq, is_there) in [(0, false), (1, true), (2, true), (3, false)] {
            let target = Draft { reply_to: Some(seq), ..Draft::default() };
            let (outcome, _) = order.clone().propose(proposal(Act::Post(target)), &mut keys, 5);
            assert_eq!(outcome == Some(Outcome::NoTarget), !is_there, "{seq}");
        }
        order.forget_below(3);
        assert_eq!(order.propose(proposal(Act::Delete { seq: 2 }), &mut keys, 5).0, Some(Outcome::Gone));
        assert_eq!((order.seq(), order.rev()), (2, 5));
    }
}
