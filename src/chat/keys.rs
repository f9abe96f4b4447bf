//! Keys of posts: posting twice posts once.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use super::shards::Shards;

/// Keys in a piece of their order.
const PIECE: usize = 4096;

/// What became of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Where it was posted, as the poster was told.
    pub(super) room: Arc<str>,
    /// Its number; 0 where it is not kept.
    pub(super) seq: u64,
    pub(super) time: u64,
    /// It is not durable yet.
    pub(super) is_pending: bool,
}

/// Keys within the window.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: Shards<Known>,
    /// In the order in which they came, with their times; in pieces, so that it does not grow all at once either.
    order: VecDeque<VecDeque<(u64, Arc<str>)>>,
    ordered: usize,
    /// User and key in one.
    name: String,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn name(&mut self, user: &str, key: &str) -> &str {
        self.name.clear();
        // Neither writing to a string fails, nor has a name a line break in it.
        let _ = write!(self.name, "{user}\n{key}");
        &self.name
    }

    /// The post that this user made with this key, unless it is longer ago than the window.
    pub(super) fn find(&mut self, user: &str, key: &str, now: u64, window_ms: u64) -> Option<Known> {
        self.name(user, key);
        let known = self.known.get(&self.name)?;
        (known.is_pending || known.time.saturating_add(window_ms) > now).then(|| known.clone())
    }

    /// Remembers a post; forgets what is too old or too much.
    pub(super) fn insert(&mut self, user: &str, key: &str, known: Known, window_ms: u64, max: usize) {
        let now = known.time;
        let name: Arc<str> = self.name(user, key).into();
        self.append(now, Arc::clone(&name));
        self.known.insert(name, known);
        while let Some((time, _)) = self.order.front().and_then(VecDeque::front) {
            if time.saturating_add(window_ms) > now && self.ordered <= max {
                break;
            }
            self.forget_first();
        }
    }

    fn append(&mut self, time: u64, name: Arc<str>) {
        self.ordered += 1;
        match self.order.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push_back((time, name)),
            _ => self.order.push_back(VecDeque::from([(time, name)])),
        }
    }

    fn forget_first(&mut self) {
        let Some(piece) = self.order.front_mut() else { return };
        if let Some((time, name)) = piece.pop_front() {
            self.ordered -= 1;
            // A key that was used again since is younger.
            if self.known.get(&name).is_some_and(|known| known.time == time) {
                self.known.remove(&name);
            }
        }
        if piece.is_empty() {
            self.order.pop_front();
        }
    }

    /// A post has become durable.
    pub(super) fn commit(&mut self, user: &str, key: &str) {
        self.name(user, key);
        if let Some(known) = self.known.get_mut(&self.name) {
            known.is_pending = false;
        }
    }

    /// A post has come to nothing.
    pub(super) fn forget(&mut self, user: &str, key: &str) {
        self.name(user, key);
        self.known.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(seq: u64, time: u64) -> Known {
        Known { room: "r".into(), seq, time, is_pending: false }
    }

    #[test]
    fn ch_10_a_key_is_known_for_the_window_and_to_its_user_only() {
        let mut keys = Keys::default();
        keys.insert("ada", "k", known(1, 1000), 100, 10);
        assert_eq!(keys.find("ada", "k", 1099, 100), Some(known(1, 1000)));
        assert_eq!(keys.find("ada", "k", 1100, 100), None);
        assert_eq!(keys.find("bob", "k", 1000, 100), None);
        keys.insert("ada", "k", known(2, 1101), 100, 10);
        assert_eq!(keys.find("ada", "k", 1102, 100), Some(known(2, 1101)), "it is new again");
        assert_eq!(keys.len(), 1);
        keys.forget("ada", "k");
        assert_eq!((keys.find("ada", "k", 1102, 100), keys.len()), (None, 0));
    }

    #[test]
    fn no_more_keys_are_kept_than_may_be() {
        let mut keys = Keys::default();
        for seq in 1..=1000 {
            keys.insert("ada", &seq.to_string(), known(seq, 5), 100, 10);
        }
        assert_eq!((keys.len(), keys.ordered), (10, 10));
        assert_eq!(keys.find("ada", "1000", 5, 100), Some(known(1000, 5)));
        assert_eq!(keys.find("ada", "990", 5, 100), None);
        keys.insert("ada", "late", known(2000, 500), 100, 10);
        assert_eq!((keys.len(), keys.ordered), (1, 1), "all others were too old");
    }
}
