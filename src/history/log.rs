//! The recent history of a room: its newest messages and changes, each without a gap.

use std::collections::VecDeque;

use super::{Action, Data, Post, Record, Who};

/// What a message or change takes besides its text, in bytes, about.
const OVERHEAD: usize = 200;

/// Messages and changes that end with the room's newest.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Oldest first; their numbers grow by 1.
    records: VecDeque<Record>,
    /// Oldest first; their numbers grow by 1.
    changes: VecDeque<Action>,
    bytes: usize,
}

/// The number of a change; messages and read positions have none.
pub(crate) fn rev_of(action: &Action) -> u64 {
    match action {
        Action::Edit { rev, .. } | Action::Delete { rev, .. } | Action::React { rev, .. } => *rev,
        Action::Post(_) | Action::Read { .. } => 0,
    }
}

fn change_len(action: &Action) -> usize {
    OVERHEAD
        + match action {
            Action::Edit { text, data, .. } => text.len() + Data::len_of(data.as_ref()),
            Action::React { emoji, .. } => emoji.len(),
            Action::Post(_) | Action::Delete { .. } | Action::Read { .. } => 0,
        }
}

fn record_len(record: &Record) -> usize {
    let reactions: usize =
        record.reactions.iter().map(|(emoji, users)| emoji.len() + 32 + 16 * users.len()).sum();
    OVERHEAD + record.post.octets() + reactions
}

impl Log {
    /// What was read: of each list the newest part that has no gap and ends with the newest of all.
    pub(crate) fn load(&mut self, records: Vec<Record>, changes: Vec<Action>, seq: u64, rev: u64) {
        *self = Self::default();
        let whole = |numbers: Vec<u64>, newest: u64| {
            let mut expected = newest;
            let kept = numbers.iter().rev().take_while(|number| {
                let fits = **number == expected;
                expected = expected.wrapping_sub(1);
                fits
            });
            numbers.len() - kept.count()
        };
        let first = whole(records.iter().map(|record| record.post.seq).collect(), seq);
        self.records.extend(records.into_iter().skip(first));
        let first = whole(changes.iter().map(rev_of).collect(), rev);
        self.changes.extend(changes.into_iter().skip(first));
        self.bytes = self.records.iter().map(record_len).sum::<usize>()
            + self.changes.iter().map(change_len).sum::<usize>();
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, counted.
    #[cfg(debug_assertions)]
    pub(crate) fn counted_bytes(&self) -> usize {
        self.records.iter().map(record_len).sum::<usize>()
            + self.changes.iter().map(change_len).sum::<usize>()
    }

    /// The oldest message in memory.
    pub(crate) fn first_seq(&self) -> Option<u64> {
        self.records.front().map(|record| record.post.seq)
    }

    pub(crate) fn find(&self, seq: u64) -> Option<&Record> {
        let at = seq.checked_sub(self.first_seq()?)?;
        self.records.get(usize::try_from(at).ok()?)
    }

    /// All messages after this one and before that one, as far as they are in memory.
    pub(crate) fn between(&self, after: u64, before: u64) -> [&[Record]; 2] {
        let Some(first) = self.first_seq() else { return [&[], &[]] };
        let start = (after + 1).saturating_sub(first).min(self.records.len() as u64) as usize;
        let end = before.saturating_sub(first).min(self.records.len() as u64) as usize;
        slices(&self.records, start, end.max(start))
    }

    /// The oldest message in memory that is not older than this time; one more than the newest when all are.
    pub(crate) fn first_after(&self, time: u64) -> u64 {
        // Times never fall within a room.
        let at = self.records.partition_point(|record| record.post.time < time);
        self.first_seq().unwrap_or(0) + at as u64
    }

    /// The newest changes, at most so many, oldest first.
    pub(crate) fn newest_changes(&self, most: usize) -> Vec<Action> {
        self.changes.iter().skip(self.changes.len().saturating_sub(most)).cloned().collect()
    }

    /// All changes after this one, if they are in memory; `head` is the newest.
    pub(crate) fn changes_after(&self, rev: u64, head: u64) -> Option<[&[Action]; 2]> {
        if rev == head {
            return Some([&[], &[]]);
        }
        let at = (rev + 1).checked_sub(self.changes.front().map(rev_of)?)?;
        Some(slices(&self.changes, at as usize, self.changes.len()))
    }

    pub(crate) fn push(&mut self, post: &Post) {
        // Nobody looks for the key here.
        let post = Post { key: None, ..post.clone() };
        let record = Record { post, edited: None, is_deleted: false, reactions: Vec::new() };
        self.bytes += record_len(&record);
        self.records.push_back(record);
    }

    /// A change happens to a message, if it is here, and is remembered.
    pub(crate) fn change(&mut self, action: &Action) {
        if let Action::Edit { seq, .. } | Action::Delete { seq, .. } | Action::React { seq, .. } = action
            && let Some(first) = self.first_seq()
            && let Some(at) = seq.checked_sub(first)
            && let Some(record) = self.records.get_mut(at as usize)
        {
            self.bytes -= record_len(record);
            apply(record, action);
            self.bytes += record_len(record);
        }
        if let Action::Delete { seq, .. } = action {
            self.blank_edits(*seq);
        }
        self.bytes += change_len(action);
        self.changes.push_back(action.clone());
    }

    /// What a deleted message once said and carried goes with it.
    fn blank_edits(&mut self, deleted: u64) {
        for change in &mut self.changes {
            if let Action::Edit { seq, text, data, .. } = change
                && *seq == deleted
            {
                self.bytes -= text.len() + Data::len_of(data.as_ref());
                (*text, *data) = (Box::default(), None);
            }
        }
    }

    /// Forgets messages below this one; the newest message stays.
    pub(crate) fn forget_below(&mut self, seq: u64) {
        while self.records.len() > 1 && self.first_seq().is_some_and(|first| first < seq) {
            self.forget_oldest();
        }
    }

    /// Forgets what is above the limits; the newest message stays.
    pub(crate) fn trim(&mut self, max_messages: usize, max_bytes: usize) {
        while self.records.len() > max_messages.max(1) || self.bytes > max_bytes && self.records.len() > 1 {
            self.forget_oldest();
        }
        while self.changes.len() > max_messages || self.bytes > max_bytes && !self.changes.is_empty() {
            if let Some(change) = self.changes.pop_front() {
                self.bytes -= change_len(&change);
            }
        }
    }

    /// Keeps the newest message only.
    pub(crate) fn shrink(&mut self) {
        while self.records.len() > 1 {
            self.forget_oldest();
        }
        self.records.shrink_to(4);
        self.bytes -= self.changes.drain(..).map(|change| change_len(&change)).sum::<usize>();
    }

    fn forget_oldest(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= record_len(&record);
        }
    }
}

/// What a change makes of a message.
pub(crate) fn apply(record: &mut Record, action: &Action) {
    match action {
        Action::Edit { text, data, time, .. } if !record.is_deleted => {
            record.post.text.clone_from(text);
            if data.is_some() {
                record.post.data.clone_from(data);
            }
            record.edited = Some(*time);
        }
        Action::Delete { .. } => {
            record.is_deleted = true;
            record.post.text = Box::default();
            record.post.data = None;
            record.reactions.clear();
        }
        Action::React { user, emoji, is_removed, .. } if !record.is_deleted => {
            react(record, user, emoji, *is_removed);
        }
        _ => {}
    }
}

fn react(record: &mut Record, user: &Who, emoji: &str, is_removed: bool) {
    let at = record.reactions.iter().position(|(other, _)| **other == *emoji);
    match (at, is_removed) {
        (Some(at), false) => {
            let users = &mut record.reactions[at].1;
            if !users.contains(user) {
                users.push(user.clone());
            }
        }
        (None, false) => record.reactions.push((emoji.into(), vec![user.clone()])),
        (Some(at), true) => {
            record.reactions[at].1.retain(|other| other != user);
            if record.reactions[at].1.is_empty() {
                record.reactions.remove(at);
            }
        }
        (None, true) => {}
    }
}

fn slices<T>(ring: &VecDeque<T>, start: usize, end: usize) -> [&[T]; 2] {
    let (front, back) = ring.as_slices();
    let cut = |slice: &'_ [T], offset: usize| {
        let len = slice.len();
        (start.saturating_sub(offset).min(len), end.saturating_sub(offset).min(len))
    };
    let (a, b) = cut(front, 0);
    let (c, d) = cut(back, front.len());
    [&front[a..b], &back[c..d]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(seq: u64) -> Post {
        Post {
            seq,
            time: seq,
            user: "a".into(),
            is_verified: false,
            client: "c".into(),
            text: format!("text {seq}").into(),
            ..Post::default()
        }
    }

    fn seqs(parts: [&[Record]; 2]) -> Vec<u64> {
        parts.iter().copied().flatten().map(|record| record.post.seq).collect()
    }

    #[test]
    fn the_ring_holds_the_newest_without_a_gap() {
        let mut log = Log::default();
        for seq in 1..=12 {
            log.push(&post(seq));
            log.trim(5, usize::MAX);
            let first = seq.saturating_sub(4).max(1);
            assert_eq!(seqs(log.between(0, u64::MAX)), (first..=seq).collect::<Vec<_>>());
            for after in 0..=seq + 1 {
                let expected: Vec<u64> = (first.max(after + 1)..=seq).collect();
                assert_eq!(seqs(log.between(after, u64::MAX)), expected);
            }
            assert_eq!(log.find(seq).map(|record| record.post.seq), Some(seq));
            assert!(log.find(first - 1).is_none() && log.find(seq + 1).is_none());
        }
        log.shrink();
        assert_eq!(seqs(log.between(0, u64::MAX)), [12]);
        assert_eq!(log.bytes(), OVERHEAD + "text 12".len());
    }

    #[test]
    fn bytes_are_bounded_and_counted_right() {
        let mut log = Log::default();
        for seq in 1..=20 {
            log.push(&post(seq));
            let data = Some(Data::of_compact("[1,2,3]"));
            log.change(&Action::Edit { rev: seq, seq, text: "x".repeat(50).into(), data, time: 1 });
            log.change(&Action::React {
                rev: seq,
                seq,
                user: Who::from_label("u"),
                emoji: "👍".into(),
                is_removed: false,
            });
            log.trim(usize::MAX, 1000);
            assert!(log.bytes() <= 1000, "{}", log.bytes());
        }
        let counted = log.records.iter().map(record_len).sum::<usize>()
            + log.changes.iter().map(change_len).sum::<usize>();
        assert_eq!(log.bytes(), counted);
    }

    #[test]
    fn only_the_part_without_a_gap_is_taken_over() {
        let record = |seq| Record { post: post(seq), edited: None, is_deleted: false, reactions: Vec::new() };
        for (numbers, head, expected) in [
            (vec![1, 2, 3], 3, vec![1, 2, 3]),
            (vec![1, 3, 4], 4, vec![3, 4]),
            (vec![1, 2, 3], 4, vec![]),
            (vec![], 0, vec![]),
        ] {
            let mut log = Log::default();
            log.load(numbers.iter().copied().map(record).collect(), Vec::new(), head, 0);
            assert_eq!(seqs(log.between(0, u64::MAX)), expected);
        }
    }

    #[test]
    fn a_deleted_message_stays_deleted_with_all_that_it_said() {
        let mut log = Log::default();
        log.push(&post(1));
        let react = |rev, user, is_removed| Action::React {
            rev,
            seq: 1,
            user: Who::from_label(user),
            emoji: "x".into(),
            is_removed,
        };
        log.change(&react(1, "@u", false));
        log.change(&react(2, "@u", false));
        log.change(&react(3, "u", true));
        let verified = Who::from_label("@u");
        assert_eq!(
            log.find(1).unwrap().reactions,
            [("x".into(), vec![verified])],
            "a guest is somebody else"
        );
        log.change(&react(4, "@u", true));
        assert!(log.find(1).unwrap().reactions.is_empty());
        let data = Some(Data::of_compact(r#"{"also":"once"}"#));
        log.change(&Action::Edit { rev: 5, seq: 1, text: "once".into(), data, time: 9 });
        log.change(&Action::Delete { rev: 6, seq: 1, time: 9 });
        assert!(!format!("{log:?}").contains("once"));
        log.change(&Action::Edit {
            rev: 7,
            seq: 1,
            text: "back".into(),
            data: Some(Data::of_compact("1")),
            time: 9,
        });
        log.change(&react(8, "@u", false));
        let record = log.find(1).unwrap();
        assert!(record.is_deleted && record.post.octets() == 0 && record.reactions.is_empty());
        assert_eq!(log.changes_after(6, 8).unwrap().iter().map(|part| part.len()).sum::<usize>(), 2);
        assert!(log.changes_after(8, 8).is_some() && Log::default().changes_after(0, 8).is_none());
        let counted = log.records.iter().map(record_len).sum::<usize>()
            + log.changes.iter().map(change_len).sum::<usize>();
        assert_eq!(log.bytes(), counted);
    }
}
