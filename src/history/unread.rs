//! How many messages of a room somebody has not read: those of others after their read mark that are not deleted, among the
//! newest of the room.

use std::collections::HashMap;
use std::sync::Arc;

use super::keys::Origin;
use super::{Post, Record};
use crate::text::fold;

/// The newest messages of a room that are looked at; older ones count as read.
pub const MAX_UNREAD: usize = 500;

/// Somebody whose unread messages are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// What the user's things are kept under.
    pub user: Arc<str>,
    /// All names of theirs, folded.
    pub names: Arc<[Arc<str>]>,
    /// They have read at least up to here, whatever is kept.
    pub read: u64,
}

impl Reader {
    /// Whether they wrote a message; what the server posts in somebody's name is the server's.
    #[must_use]
    pub fn wrote(&self, post: &Post) -> bool {
        Origin::of(post.is_verified, &post.client) == Origin::Verified
            && self.names.iter().any(|name| **name == *fold(&post.user))
    }
}

/// How much somebody has not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Who; see [`Reader::user`].
    pub user: Arc<str>,
    /// The last message that they have read; 0 for none.
    pub read: u64,
    /// Messages that they have not read.
    pub count: u64,
}

/// Counts for several readers at once; each message is looked at once.
#[derive(Debug)]
pub(in crate::history) struct Counter<'r> {
    /// With the read marks that count; the one who has read most comes last.
    waiting: Vec<(&'r Reader, u64)>,
    done: Vec<Unread>,
    looked: usize,
    /// Messages that are not deleted, of all and of each verified author.
    all: u64,
    by_author: HashMap<String, u64>,
}

impl<'r> Counter<'r> {
    /// `marks` are the read marks that are kept of the readers, in their order.
    pub(in crate::history) fn new(readers: &'r [Reader], marks: impl Iterator<Item = u64>) -> Self {
        let mut waiting: Vec<_> =
            readers.iter().zip(marks).map(|(reader, mark)| (reader, mark.max(reader.read))).collect();
        waiting.sort_by_key(|(_, read)| *read);
        Self { waiting, done: Vec::new(), looked: 0, all: 0, by_author: HashMap::new() }
    }

    /// Looks at the next older message; `false`: no more is needed.
    pub(in crate::history) fn look(&mut self, record: &Record) -> bool {
        if self.looked == MAX_UNREAD {
            return false;
        }
        self.looked += 1;
        let post = &record.post;
        while let Some((reader, read)) = self.waiting.pop_if(|(_, read)| *read >= post.seq) {
            self.finish_one(reader, read);
        }
        if !record.is_deleted {
            self.all += 1;
            if Origin::of(post.is_verified, &post.client) == Origin::Verified {
                *self.by_author.entry(fold(&post.user).into_owned()).or_default() += 1;
            }
        }
        !self.waiting.is_empty()
    }

    fn finish_one(&mut self, reader: &Reader, read: u64) {
        let own: u64 = reader.names.iter().filter_map(|name| self.by_author.get(&**name)).sum();
        self.done.push(Unread { user: Arc::clone(&reader.user), read, count: self.all - own });
    }

    /// There are no older messages.
    pub(in crate::history) fn finish(mut self) -> Vec<Unread> {
        while let Some((reader, read)) = self.waiting.pop() {
            self.finish_one(reader, read);
        }
        self.done
    }
}

/// Counts in messages that come the newest first.
pub(crate) fn count<'m>(
    readers: &[Reader],
    marks: impl Iterator<Item = u64>,
    newest_first: impl Iterator<Item = &'m Record>,
) -> Vec<Unread> {
    let mut counter = Counter::new(readers, marks);
    for record in newest_first {
        if !counter.look(record) {
            break;
        }
    }
    counter.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader(user: &str, names: &[&str], read: u64) -> Reader {
        Reader { user: user.into(), names: names.iter().map(|name| (*name).into()).collect(), read }
    }

    /// The same, without a thought for what it costs.
    fn naive(reader: &Reader, mark: u64, records: &[Record]) -> u64 {
        let newest = records.iter().rev().take(MAX_UNREAD);
        let read = mark.max(reader.read);
        let counts =
            |record: &&Record| record.post.seq > read && !record.is_deleted && !reader.wrote(&record.post);
        newest.filter(counts).count() as u64
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn several_are_counted_at_once_as_each_alone(
            said in prop::collection::vec((0..5_usize, prop::bool::weighted(0.2)), 0..700),
            marks in prop::collection::vec((0..800_u64, 0..800_u64), 5),
        ) {
            let authors = [("Ada", true, "c"), ("ada", false, "c"), ("Countess", true, "c"), ("Bob", true, "c"),
                ("Ada", true, crate::history::SERVER)];
            let records: Vec<Record> = (1..).zip(said).map(|(seq, (author, is_deleted))| {
                let (user, is_verified, client) = authors[author];
                let (user, client) = (user.into(), client.into());
                Record { post: Post { seq, user, is_verified, client, ..Post::default() }, is_deleted, ..Record::default() }
            }).collect();
            let names: [&[&str]; 5] = [&["ada", "countess"], &["bob"], &["eve"], &["countess"], &[]];
            let readers: Vec<Reader> = names.iter().zip(&marks)
                .map(|(names, (_, read))| reader(names.first().unwrap_or(&"nobody"), names, *read)).collect();
            let counted = count(&readers, marks.iter().map(|(mark, _)| *mark), records.iter().rev());
            prop_assert_eq!(counted.len(), readers.len());
            for (reader, (mark, _)) in readers.iter().zip(&marks) {
                let unread = counted.iter().find(|unread| unread.user == reader.user).unwrap();
                prop_assert_eq!(unread.count, naive(reader, *mark, &records));
                prop_assert_eq!(unread.read, reader.read.max(*mark));
            }
        }
    }
}
