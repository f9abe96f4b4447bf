//! Random batches, restarts and questions against a history that is a list.

use std::collections::BTreeMap;

use proptest::prelude::*;
use switchboard::history::sqlite::Options;
use switchboard::history::{Action, Record, Who};

use crate::support::{Dir, History, change, delete, edit, keyed, react};

#[derive(Debug, Clone)]
enum Step {
    Post(u8, String),
    Edit(u8, u64, String),
    Delete(u8, u64),
    React(u8, u64, u8, u8, bool),
    Read(u8, u8, u64),
    /// Everything so far is handed over, and committed or not yet.
    Commit(bool),
    Reopen,
    Page(u8, u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let room = 0..4_u8;
    prop_oneof![
        8 => (room.clone(), "\\PC{0,30}").prop_map(|(room, text)| Step::Post(room, text)),
        1 => (room.clone(), any::<u64>(), "\\PC{0,30}").prop_map(|(room, seq, text)| Step::Edit(room, seq, text)),
        1 => (room.clone(), any::<u64>()).prop_map(|(room, seq)| Step::Delete(room, seq)),
        2 => (room.clone(), any::<u64>(), 0..3_u8, 0..3_u8, any::<bool>())
            .prop_map(|(room, seq, user, emoji, is_removed)| Step::React(room, seq, user, emoji, is_removed)),
        1 => (room.clone(), 0..3_u8, any::<u64>()).prop_map(|(room, user, seq)| Step::Read(room, user, seq)),
        3 => any::<bool>().prop_map(Step::Commit),
        1 => Just(Step::Reopen),
        2 => (room, 0..400_u64, 0..100_usize).prop_map(|(room, before, limit)| Step::Page(room, before, limit)),
    ]
}

#[derive(Default)]
struct Room {
    records: Vec<Record>,
    changes: Vec<Action>,
    reads: BTreeMap<String, u64>,
}

/// The history as a list, and the changes that are not handed over yet.
#[derive(Default)]
struct Model {
    rooms: BTreeMap<String, Room>,
    batch: Vec<switchboard::history::Change>,
}

impl Model {
    fn take(&mut self, step: &Step) {
        let name = |room: &u8| format!("room {room}");
        match step {
            Step::Post(room, text) => {
                let name = name(room);
                let room = self.rooms.entry(name.clone()).or_default();
                let seq = room.records.len() as u64 + 1;
                let posted = keyed(&name, seq, text, Some(&format!("k{seq}")), 1_000_000 + seq);
                let Action::Post(post) = posted.action.clone() else { unreachable!("a post") };
                room.records.push(Record { post, edited: None, is_deleted: false, reactions: Vec::new() });
                self.batch.push(posted);
            }
            Step::Edit(room, seq, text) => {
                let edited = self.change(&name(room), *seq, |name, rev, seq, record| {
                    if record.is_deleted {
                        return None;
                    }
                    record.post.text = text.as_str().into();
                    record.edited = Some(2_000_000 + rev);
                    Some(edit(name, rev, seq, text))
                });
                // What is edited away is gone: who resumes gets the newest text.
                self.retell(&name(room), edited, text);
            }
            Step::Delete(room, seq) => {
                let deleted = self.change(&name(room), *seq, |name, rev, seq, record| {
                    if record.is_deleted {
                        return None;
                    }
                    record.post.text = "".into();
                    record.is_deleted = true;
                    record.reactions.clear();
                    Some(delete(name, rev, seq))
                });
                self.retell(&name(room), deleted, "");
            }
            Step::React(room, seq, user, emoji, is_removed) => {
                let (user, emoji) = (format!("user {user}"), format!("emoji {emoji}"));
                self.change(&name(room), *seq, |name, rev, seq, record| {
                    if record.is_deleted {
                        return None;
                    }
                    let place = record.reactions.iter().position(|(known, _)| **known == *emoji);
                    let known = place.and_then(|at| {
                        record.reactions[at].1.iter().position(|by| *by == Who::from_label(&user))
                    });
                    match (place, known) {
                        (Some(at), Some(by)) if *is_removed => {
                            record.reactions[at].1.remove(by);
                        }
                        (Some(at), None) if !*is_removed => {
                            record.reactions[at].1.push(Who::from_label(&user));
                        }
                        (None, None) if !*is_removed => {
                            record.reactions.push((emoji.as_str().into(), vec![Who::from_label(&user)]));
                        }
                        // The chat lets nothing through that changes nothing.
                        _ => return None,
                    }
                    Some(react(name, rev, seq, &user, &emoji, *is_removed))
                });
            }
            Step::Read(room, user, seq) => {
                let (name, user) = (name(room), format!("user {user}"));
                let room = self.rooms.entry(name.clone()).or_default();
                let seq = seq % (room.records.len() as u64 + 1);
                let known = room.reads.entry(user.clone()).or_default();
                *known = seq.max(*known);
                self.batch.push(change(&name, Action::Read { user: user.as_str().into(), seq }));
            }
            Step::Commit(_) | Step::Reopen | Step::Page(..) => {}
        }
    }

    /// The edits of a message in the list of changes have another text.
    fn retell(&mut self, name: &str, changed: Option<u64>, new: &str) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        for change in &mut room.changes {
            if let Action::Edit { seq, text, .. } = change
                && Some(*seq) == changed
            {
                *text = new.into();
            }
        }
    }

    /// Changes a message that is there, and says which.
    fn change(
        &mut self,
        name: &str,
        seq: u64,
        apply: impl FnOnce(&str, u64, u64, &mut Record) -> Option<switchboard::history::Change>,
    ) -> Option<u64> {
        let room = self.rooms.get_mut(name)?;
        let at = (seq % room.records.len().max(1) as u64) as usize;
        let rev = room.changes.len() as u64 + 1;
        let record = room.records.get_mut(at)?;
        let change = apply(name, rev, record.post.seq, record)?;
        room.changes.push(change.action.clone());
        self.batch.push(change);
        Some(at as u64 + 1)
    }

    fn recent(&self, name: &str, before: u64, limit: usize) -> Vec<Record> {
        let Some(room) = self.rooms.get(name) else { return Vec::new() };
        let end = room.records.len().min(before.saturating_sub(1) as usize);
        let mut records = room.records[end.saturating_sub(limit)..end].to_vec();
        for record in &mut records {
            // An emoji that nobody uses any more is not there, and comes back behind the others; the order of the
            // others is that of their oldest user who is still there, which the list here does not know.
            record.reactions.retain(|(_, users)| !users.is_empty());
            record.reactions.sort();
        }
        records
    }
}

fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        record.reactions.sort();
    }
    records
}

fn check(history: &mut History, model: &Model) {
    for (name, room) in &model.rooms {
        let state = history.room(name, 30);
        let seq = room.records.len() as u64;
        assert_eq!((state.seq, state.rev), (seq, room.changes.len() as u64));
        assert_eq!(state.oldest, seq.min(1));
        assert_eq!(sorted(state.recent), model.recent(name, u64::MAX, 30));
        assert_eq!(state.changes, room.changes[room.changes.len().saturating_sub(30)..]);
        for (user, seq) in &room.reads {
            assert_eq!(history.read_position(name, user), *seq);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_history_is_what_a_list_would_be(steps in prop::collection::vec(step(), 1..250)) {
        let dir = Dir::new("model");
        let mut history = History::open(&dir.data());
        let mut model = Model::default();
        let mut last = 0;
        for step in &steps {
            model.take(step);
            match step {
                Step::Commit(is_waited_for) => {
                    last = history.hand_over(std::mem::take(&mut model.batch), Vec::new());
                    if *is_waited_for {
                        history.wait_for(last);
                        last = 0;
                        check(&mut history, &model);
                    }
                }
                Step::Reopen => {
                    history.hand_over(std::mem::take(&mut model.batch), Vec::new());
                    history.close();
                    history = History::open_with(&dir.data(), Options::default());
                    last = 0;
                    check(&mut history, &model);
                }
                Step::Page(room, before, limit) if last == 0 && model.batch.is_empty() => {
                    let name = format!("room {room}");
                    let page = sorted(history.page(&name, *before, *limit));
                    prop_assert_eq!(page, model.recent(&name, *before, *limit));
                }
                _ => {}
            }
        }
        last = history.hand_over(std::mem::take(&mut model.batch), Vec::new());
        history.wait_for(last);
        check(&mut history, &model);
        history.close();
    }
}
