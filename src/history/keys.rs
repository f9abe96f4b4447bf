//! Keys of posts: posting twice posts once.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use super::{Draft, SERVER};
use crate::shards::Shards;

/// Keys in a piece of their order.
const PIECE: usize = 4096;

/// Who a name belongs to: of the three nobody can use the keys of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Anyone who calls themselves so.
    Guest,
    /// Somebody whose token vouches for the name.
    Verified,
    /// The server itself, in a user's name.
    Server,
}

impl Origin {
    /// Of a message.
    #[must_use]
    pub fn of(is_verified: bool, client: &str) -> Self {
        match (is_verified, client) {
            (true, SERVER) => Self::Server,
            (true, _) => Self::Verified,
            (false, _) => Self::Guest,
        }
    }
}

/// A key, and all that it is a key of.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Of which kind its user is.
    pub origin: Origin,
    /// Whose it is: what their things are kept under. What the server posts in a user's name is kept under that name, folded.
    pub person: &'a str,
    /// The room's name in its normal form.
    pub room: &'a str,
    /// The key.
    pub key: &'a str,
}

impl<'a> Scope<'a> {
    /// Of a message, if it has a key.
    #[must_use]
    pub fn of(draft: &'a Draft, room: &'a str) -> Option<Self> {
        let origin = Origin::of(draft.is_verified, &draft.client);
        draft.key.as_ref().map(|key| Self { origin, person: &key.person, room, key: &key.key })
    }
}

/// What a key was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The number of the message; 0 where it is not kept.
    pub seq: u64,
    /// Its time, in milliseconds since 1970.
    pub time: u64,
}

/// Keys within the window. The window is one of a clock without leaps: no room's time and no leap of the wall clock moves it.
#[derive(Debug, Default, Clone)]
pub struct Keys {
    window_ms: u64,
    max: usize,
    used: Shards<(Used, u64)>,
    /// In the order in which they came, with the time at which they end; in pieces, so that it does not grow all at once
    /// either.
    order: VecDeque<VecDeque<(u64, Arc<str>)>>,
    ordered: usize,
    /// A scope in one text.
    name: String,
}

impl Keys {
    /// Each is remembered for `window_ms` milliseconds, at most `max` of them.
    #[must_use]
    pub fn new(window_ms: u64, max: usize) -> Self {
        Self { window_ms, max, ..Self::default() }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// None is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn name(&mut self, scope: &Scope<'_>) {
        let Scope { origin, person, room, key } = *scope;
        self.name.clear();
        // Neither writing to a string fails, nor has a user's name a line break in it. A room's name may have one, and a key
        // may: the length tells where the room ends.
        let _ = write!(self.name, "{}{person}\n{} {room}{key}", origin as u8, room.len());
    }

    /// The post that was made with this key, unless it is longer ago than the window.
    pub fn find(&mut self, scope: &Scope<'_>, now_ms: u64) -> Option<Used> {
        self.name(scope);
        let (used, until) = self.used.get(&self.name)?;
        (*until > now_ms).then_some(*used)
    }

    /// Remembers a post; forgets what is too old or too much. Returns a name for [`Self::forget`].
    pub fn insert(&mut self, scope: &Scope<'_>, used: Used, now_ms: u64) -> Arc<str> {
        self.insert_until(scope, used, now_ms + self.window_ms, now_ms)
    }

    /// Remembers a post that was made this long ago. To be called with the oldest first.
    pub fn restore(&mut self, scope: &Scope<'_>, used: Used, age_ms: u64, now_ms: u64) {
        if age_ms < self.window_ms {
            self.insert_until(scope, used, now_ms + (self.window_ms - age_ms), now_ms);
        }
    }

    fn insert_until(&mut self, scope: &Scope<'_>, used: Used, until: u64, now_ms: u64) -> Arc<str> {
        self.name(scope);
        let name: Arc<str> = self.name.as_str().into();
        self.append(until, Arc::clone(&name));
        self.used.insert(Arc::clone(&name), (used, until));
        while let Some((until, _)) = self.order.front().and_then(VecDeque::front) {
            if *until > now_ms && self.ordered <= self.max {
                break;
            }
            self.forget_first();
        }
        name
    }

    fn append(&mut self, until: u64, name: Arc<str>) {
        self.ordered += 1;
        match self.order.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push_back((until, name)),
            _ => self.order.push_back(VecDeque::from([(until, name)])),
        }
    }

    fn forget_first(&mut self) {
        let Some(piece) = self.order.front_mut() else { return };
        if let Some((until, name)) = piece.pop_front() {
            self.ordered -= 1;
            // A key that was used again since is younger.
            if self.used.get(&name).is_some_and(|(_, known)| *known == until) {
                self.used.remove(&name);
            }
        }
        if piece.is_empty() {
            self.order.pop_front();
        }
    }

    /// A post has come to nothing; [`Self::insert`] returned the name.
    pub fn forget(&mut self, name: &str) {
        self.used.remove(name);
    }

    /// Every key that is remembered has its place in the order.
    #[cfg(debug_assertions)]
    pub(crate) fn check(&self) {
        assert_eq!(self.ordered, self.order.iter().map(VecDeque::len).sum::<usize>(), "keys in order");
        assert!(self.used.len() <= self.ordered, "a key that is known is in the order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(seq: u64) -> Used {
        Used { seq, time: 7 }
    }

    fn of<'a>(person: &'a str, key: &'a str) -> Scope<'a> {
        Scope { origin: Origin::Guest, person, room: "r", key }
    }

    #[test]
    fn ch_10_a_key_is_known_for_the_window_and_to_its_user_only() {
        let mut keys = Keys::new(100, 10);
        keys.insert(&of("ada", "k"), used(1), 1000);
        assert_eq!(keys.find(&of("ada", "k"), 1099), Some(used(1)));
        assert_eq!(keys.find(&of("ada", "k"), 1100), None);
        assert_eq!(keys.find(&of("bob", "k"), 1000), None);
        for origin in [Origin::Verified, Origin::Server] {
            assert_eq!(keys.find(&Scope { origin, ..of("ada", "k") }, 1000), None);
        }
        assert_eq!(keys.find(&Scope { room: "s", ..of("ada", "k") }, 1000), None);
        let name = keys.insert(&of("ada", "k"), used(2), 1101);
        assert_eq!(keys.find(&of("ada", "k"), 1102), Some(used(2)), "it is new again");
        assert_eq!(keys.len(), 1);
        keys.forget(&name);
        assert_eq!((keys.find(&of("ada", "k"), 1102), keys.len()), (None, 0));
    }

    #[test]
    fn no_room_and_key_are_taken_for_another_room_and_key() {
        let mut keys = Keys::new(100, 10);
        keys.insert(&Scope { room: "@a\nb", ..of("a", "k") }, used(1), 0);
        for (room, key) in [("@a\nbk", ""), ("@a", "\nbk"), ("@a\n", "bk")] {
            assert_eq!(keys.find(&Scope { room, ..of("a", key) }, 0), None, "{room:?} {key:?}");
        }
    }

    #[test]
    fn no_more_keys_are_kept_than_may_be() {
        let mut keys = Keys::new(100, 10);
        for seq in 1..=1000 {
            keys.insert(&of("ada", &seq.to_string()), used(seq), 5);
        }
        assert_eq!((keys.len(), keys.ordered), (10, 10));
        assert_eq!(keys.find(&of("ada", "1000"), 5), Some(used(1000)));
        assert_eq!(keys.find(&of("ada", "990"), 5), None);
        keys.insert(&of("ada", "late"), used(2000), 500);
        assert_eq!((keys.len(), keys.ordered), (1, 1), "all others were too old");
    }

    #[test]
    fn keys_of_the_history_end_with_their_window_and_no_later() {
        let mut keys = Keys::new(100, 10);
        // One was made before a leap of the clock, in the time ahead.
        for (key, age) in [("old", 100), ("young", 40), ("ahead", 0)] {
            keys.restore(&of("ada", key), used(1), age, 50);
        }
        let found = |keys: &mut Keys, key, now| keys.find(&of("ada", key), now).is_some();
        assert_eq!(["old", "young", "ahead"].map(|key| found(&mut keys, key, 50)), [false, true, true]);
        assert_eq!(["young", "ahead"].map(|key| found(&mut keys, key, 110)), [false, true]);
        assert!(!found(&mut keys, "ahead", 150));
    }
}
