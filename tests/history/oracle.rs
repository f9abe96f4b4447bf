//! What every authority must do, and what is proposed to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use switchboard::history::keys::Keys;
use switchboard::history::{
    Act, Action, Change, Data, Draft, DraftKey, Order, Outcome, Post, Proposal, Record, Subscriptions, Who,
};

/// What an authority must do.
#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) orders: BTreeMap<Arc<str>, Order>,
    pub(crate) keys: Keys,
    pub(crate) records: BTreeMap<Arc<str>, Vec<Record>>,
    pub(crate) marks: BTreeMap<(Arc<str>, Arc<str>), u64>,
    pub(crate) subscriptions: Subscriptions,
    /// The messages as they were posted.
    pub(crate) posted: BTreeMap<Arc<str>, Vec<Post>>,
    pub(crate) actions: BTreeMap<Arc<str>, Vec<Action>>,
}

impl Oracle {
    pub(crate) fn propose(&mut self, proposal: Proposal) -> (Option<Outcome>, Option<Change>) {
        let room = proposal.room.clone();
        if let Act::Subscribe { user, is_on, most } = &proposal.act {
            return (Some(self.subscriptions.change(user, &room, *is_on, *most)), None);
        }
        let order = self.orders.entry(room.clone()).or_default();
        let (outcome, action) = order.propose(proposal, &mut self.keys, 0);
        let Some(action) = action else { return (outcome, None) };
        if let Action::Read { user, seq } = action {
            let mark = self.marks.entry((room, user)).or_default();
            *mark = seq.max(*mark);
            return (outcome, None);
        }
        self.note(&room, &action);
        (outcome, Some(Change { room, action }))
    }

    /// What a change makes of the messages.
    fn note(&mut self, room: &Arc<str>, action: &Action) {
        let records = self.records.entry(room.clone()).or_default();
        match action {
            Action::Post(post) => {
                self.posted.entry(room.clone()).or_default().push(post.clone());
                records.push(Record {
                    post: post.clone(),
                    edited: None,
                    is_deleted: false,
                    reactions: Vec::new(),
                });
                return;
            }
            Action::Edit { seq, text, data, time, .. } => {
                let record = &mut records[*seq as usize - 1];
                (record.post.text, record.edited) = (text.clone(), Some(*time));
                record.post.data = data.clone().or_else(|| record.post.data.take());
            }
            Action::Delete { seq, .. } => {
                let record = &mut records[*seq as usize - 1];
                (record.post.text, record.post.data, record.is_deleted) = ("".into(), None, true);
                record.reactions.clear();
            }
            Action::React { seq, user, emoji, is_removed, .. } => {
                let reactions = &mut records[*seq as usize - 1].reactions;
                let at = reactions.iter().position(|(known, _)| known == emoji).unwrap_or_else(|| {
                    reactions.push((emoji.clone(), Vec::new()));
                    reactions.len() - 1
                });
                reactions[at].1.retain(|known| known != user);
                if !is_removed {
                    reactions[at].1.push(user.clone());
                }
                reactions.retain(|(_, users)| !users.is_empty());
            }
            Action::Read { .. } => {}
        }
        self.actions.entry(room.clone()).or_default().push(action.clone());
    }
}

pub(crate) fn data() -> impl Strategy<Value = Option<Data>> {
    let values = prop_oneof![Just(r#"{"a":[1,"b c"]}"#), Just("0.10"), Just("\"x\"")];
    prop::option::of(values.prop_map(Data::of_compact))
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let person = prop_oneof![Just("ada"), Just("bob")];
    let key = prop::option::of(0..4_u8);
    let carried = (data(), prop::option::of(0..6_u64));
    let post = (person, any::<bool>(), key, "\\PC{0,12}", carried);
    let post = post.prop_map(|(person, is_verified, key, text, (data, reply_to))| {
        let key = key.map(|key| DraftKey { person: person.into(), key: format!("k{key}").into() });
        let (user, client) = (person.into(), "c1".into());
        Act::Post(Draft { user, is_verified, client, text: text.into(), key, data, reply_to })
    });
    let who = prop_oneof![Just("ada"), Just("@ada"), Just("bob")];
    let emoji = prop_oneof![Just("👍"), Just("🎉")];
    prop_oneof![
        6 => post,
        1 => (0..12_u64, "\\PC{0,12}", data())
            .prop_map(|(seq, text, data)| Act::Edit { seq, text: text.into(), data }),
        1 => (0..12_u64).prop_map(|seq| Act::Delete { seq }),
        3 => (0..12_u64, who, emoji, any::<bool>()).prop_map(|(seq, user, emoji, is_removed)| Act::React {
            seq,
            user: Who::from_label(user),
            emoji: emoji.into(),
            is_removed,
            most: 3,
        }),
        1 => (0..12_u64).prop_map(|seq| Act::Read { user: "ada".into(), seq }),
        1 => any::<bool>().prop_map(|is_on| Act::Subscribe { user: "ada".into(), is_on, most: 1 }),
    ]
}

pub(crate) fn proposal() -> impl Strategy<Value = Proposal> {
    let room = prop_oneof![Just("general"), Just("@ada\nbob")];
    let group = prop_oneof![Just("general"), Just("other")];
    // Times are those of the loops' clocks, which need not agree.
    (room, group, act(), 1_790_000_000_000..1_790_000_000_050_u64).prop_map(|(room, group, act, time)| {
        let room = if matches!(act, Act::Subscribe { .. }) { group } else { room };
        Proposal { room: room.into(), time, act }
    })
}

/// The order of emoji is that of their oldest user who is still there; who reacted how is what counts here.
pub(crate) fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        record.post.key = None;
        record.reactions.sort();
        for (_, users) in &mut record.reactions {
            users.sort();
        }
    }
    records
}

/// Whoever resumes, at whatever change, ends with what is there now. A text that was edited away may be told as a later one.
pub(crate) fn check_resumption(posted: &[Post], actions: &[Action], told: &[Action], records: &[Record]) {
    for known in 0..=actions.len() {
        let mut resumed: Vec<(&str, Option<&Data>)> =
            posted.iter().map(|post| (&*post.text, post.data.as_ref())).collect();
        for action in actions[..known].iter().chain(&told[known..]) {
            if let Action::Edit { seq, text, data, .. } = action {
                let place = &mut resumed[*seq as usize - 1];
                *place = (text, data.as_ref().or(place.1));
            }
        }
        for (record, resumed) in records.iter().zip(resumed).filter(|(record, _)| !record.is_deleted) {
            let post = &record.post;
            assert_eq!(resumed, (&*post.text, post.data.as_ref()), "{} after {known}", post.seq);
        }
    }
}
