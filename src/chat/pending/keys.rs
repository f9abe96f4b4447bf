//! Keys of posts: posting twice posts once.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::app::{Millis, Now};
use crate::chat::SERVER;
use crate::chat::people::actor::Actor;
use crate::chat::people::holders::Holders;
use crate::chat::shards::Shards;
use crate::history::{self, Post};
use crate::text::fold;

/// Keys in a piece of their order.
const PIECE: usize = 4096;

/// Who a name belongs to: of the three nobody can use the keys of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) enum Origin {
    Guest,
    Verified,
    /// The server itself, in a user's name.
    Server,
}

impl Origin {
    pub(in crate::chat) fn of(is_verified: bool, client: &str) -> Self {
        match (is_verified, client) {
            (true, SERVER) => Self::Server,
            (true, _) => Self::Verified,
            (false, _) => Self::Guest,
        }
    }
}

/// A key, and all that it is a key of.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Scope<'a> {
    pub(in crate::chat) origin: Origin,
    /// Whose it is: see [`Holders::owner`]. What the server posts in a user's name is kept under that name, folded.
    pub(in crate::chat) user: Cow<'a, str>,
    /// The room's name in its normal form.
    pub(in crate::chat) room: &'a str,
    pub(in crate::chat) key: &'a str,
}

impl<'a> Scope<'a> {
    /// Whose key a `key` of somebody is. What the server posts in somebody's name has keys of its own.
    pub(in crate::chat) fn of(actor: &'a Actor, room: &'a str, key: &'a str) -> Self {
        let (origin, user) = match actor.session {
            None => (Origin::Server, fold(&actor.name)),
            Some(_) => (Origin::of(actor.is_verified, ""), Cow::Borrowed(&*actor.person)),
        };
        Self { origin, user, room, key }
    }
}

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) struct Known {
    /// Its number; 0 where it is not kept.
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) time: u64,
    /// It is not durable yet.
    pub(in crate::chat) is_pending: bool,
}

/// Keys within the window. The window is one of the monotonic clock: no room's time and no jump of the wall clock moves it.
#[derive(Debug, Default)]
pub(in crate::chat) struct Keys {
    window_ms: u64,
    max: usize,
    known: Shards<(Known, Millis)>,
    /// In the order in which they came, with the time at which they end; in pieces, so that it does not grow all at once
    /// either.
    order: VecDeque<VecDeque<(Millis, Arc<str>)>>,
    ordered: usize,
    /// A scope in one text.
    name: String,
    /// What the history remembers, until the clock is known; the oldest first.
    remembered: Vec<history::Key>,
}

impl Keys {
    pub(in crate::chat) fn new(window_ms: u64, max: usize, remembered: Vec<history::Key>) -> Self {
        Self { window_ms, max, remembered, ..Self::default() }
    }

    pub(in crate::chat) fn len(&self) -> usize {
        self.known.len()
    }

    fn name(&mut self, scope: &Scope<'_>) {
        let Scope { origin, user, room, key } = scope;
        let origin = *origin;
        self.name.clear();
        // Neither writing to a string fails, nor has a user's name a line break in it. A room's name may have one, and a key
        // may: the length tells where the room ends.
        let _ = write!(self.name, "{}{user}\n{} {room}{key}", origin as u8, room.len());
    }

    /// The post that was made with this key, unless it is longer ago than the window.
    pub(in crate::chat) fn find(&mut self, scope: &Scope<'_>, now_ms: Millis) -> Option<Known> {
        self.name(scope);
        let (known, until) = self.known.get(&self.name)?;
        (known.is_pending || *until > now_ms).then_some(*known)
    }

    /// The clock is known, and with it which keys of the history are still within the window.
    pub(in crate::chat) fn load(&mut self, now: Now, holders: &Holders) {
        for history::Key { user, is_verified, client, key, room, seq, time } in
            std::mem::take(&mut self.remembered)
        {
            let age = now.unix_ms.saturating_sub(time);
            if age < self.window_ms {
                let (user, origin) = (fold(&user), Origin::of(is_verified, &client));
                let scope = scope_of(&user, origin, holders, (&room, &key));
                let until = now.monotonic_ms + (self.window_ms - age);
                self.insert_until(&scope, Known { seq, time, is_pending: false }, until, now.monotonic_ms);
            }
        }
    }

    /// Remembers a post; forgets what is too old or too much.
    pub(in crate::chat) fn insert(&mut self, scope: &Scope<'_>, known: Known, now_ms: Millis) {
        self.insert_until(scope, known, now_ms + self.window_ms, now_ms);
    }

    fn insert_until(&mut self, scope: &Scope<'_>, known: Known, until: Millis, now_ms: Millis) {
        self.name(scope);
        let name: Arc<str> = self.name.as_str().into();
        self.append(until, Arc::clone(&name));
        self.known.insert(name, (known, until));
        while let Some((until, _)) = self.order.front().and_then(VecDeque::front) {
            if *until > now_ms && self.ordered <= self.max {
                break;
            }
            self.forget_first();
        }
    }

    fn append(&mut self, until: Millis, name: Arc<str>) {
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
            if self.known.get(&name).is_some_and(|(_, known)| *known == until) {
                self.known.remove(&name);
            }
        }
        if piece.is_empty() {
            self.order.pop_front();
        }
    }

    /// Every key that is remembered has its place in the order.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn check(&self) {
        assert_eq!(self.ordered, self.order.iter().map(VecDeque::len).sum::<usize>(), "keys in order");
        assert!(self.known.len() <= self.ordered, "a key that is known is in the order");
    }

    /// A post has become durable.
    pub(in crate::chat) fn commit(&mut self, scope: &Scope<'_>) {
        self.name(scope);
        if let Some((known, _)) = self.known.get_mut(&self.name) {
            known.is_pending = false;
        }
    }

    /// A post has come to nothing.
    pub(in crate::chat) fn forget(&mut self, scope: &Scope<'_>) {
        self.name(scope);
        self.known.remove(&self.name);
    }
}

fn scope_of<'a>(
    user: &'a str,
    origin: Origin,
    holders: &'a Holders,
    (room, key): (&'a str, &'a str),
) -> Scope<'a> {
    let user = Cow::Borrowed(holders.owner(user, origin == Origin::Verified));
    Scope { origin, user, room, key }
}

/// Whose key a post has, if it has one.
pub(in crate::chat) fn with_scope<T>(
    post: &Post,
    room: &str,
    holders: &Holders,
    then: impl FnOnce(&Scope<'_>) -> T,
) -> Option<T> {
    let key = post.key.as_deref()?;
    let (user, origin) = (fold(&post.user), Origin::of(post.is_verified, &post.client));
    Some(then(&scope_of(&user, origin, holders, (room, key))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(seq: u64) -> Known {
        Known { seq, time: 7, is_pending: false }
    }

    fn of<'a>(user: &'a str, key: &'a str) -> Scope<'a> {
        Scope { origin: Origin::Guest, user: user.into(), room: "r", key }
    }

    #[test]
    fn ch_10_a_key_is_known_for_the_window_and_to_its_user_only() {
        let mut keys = Keys::new(100, 10, Vec::new());
        keys.insert(&of("ada", "k"), known(1), 1000);
        assert_eq!(keys.find(&of("ada", "k"), 1099), Some(known(1)));
        assert_eq!(keys.find(&of("ada", "k"), 1100), None);
        assert_eq!(keys.find(&of("bob", "k"), 1000), None);
        assert_eq!(keys.find(&Scope { origin: Origin::Verified, ..of("ada", "k") }, 1000), None);
        assert_eq!(keys.find(&Scope { room: "s", ..of("ada", "k") }, 1000), None);
        keys.insert(&of("ada", "k"), known(2), 1101);
        assert_eq!(keys.find(&of("ada", "k"), 1102), Some(known(2)), "it is new again");
        assert_eq!(keys.len(), 1);
        keys.forget(&of("ada", "k"));
        assert_eq!((keys.find(&of("ada", "k"), 1102), keys.len()), (None, 0));
    }

    #[test]
    fn no_room_and_key_are_taken_for_another_room_and_key() {
        let mut keys = Keys::new(100, 10, Vec::new());
        keys.insert(&Scope { room: "@a\nb", ..of("a", "k") }, known(1), 0);
        for (room, key) in [("@a\nbk", ""), ("@a", "\nbk"), ("@a\n", "bk")] {
            assert_eq!(keys.find(&Scope { room, ..of("a", key) }, 0), None, "{room:?} {key:?}");
        }
    }

    #[test]
    fn no_more_keys_are_kept_than_may_be() {
        let mut keys = Keys::new(100, 10, Vec::new());
        for seq in 1..=1000 {
            keys.insert(&of("ada", &seq.to_string()), known(seq), 5);
        }
        assert_eq!((keys.len(), keys.ordered), (10, 10));
        assert_eq!(keys.find(&of("ada", "1000"), 5), Some(known(1000)));
        assert_eq!(keys.find(&of("ada", "990"), 5), None);
        keys.insert(&of("ada", "late"), known(2000), 500);
        assert_eq!((keys.len(), keys.ordered), (1, 1), "all others were too old");
    }

    #[test]
    fn keys_of_the_store_end_with_their_window_and_no_later() {
        let now = Now { monotonic_ms: 50, unix_ms: 1000 };
        let key = |key: &str, time| history::Key {
            user: "Ada".into(),
            is_verified: true,
            client: "c".into(),
            key: key.into(),
            room: "r".into(),
            seq: 1,
            time,
        };
        let remembered = vec![key("old", 900), key("young", 960), key("ahead", 10_000)];
        let mut keys = Keys::new(100, 10, remembered);
        keys.load(now, &Holders::default());
        let found = |keys: &mut Keys, key, now| {
            keys.find(&Scope { origin: Origin::Verified, ..of("ada", key) }, now).is_some()
        };
        assert_eq!(["old", "young", "ahead"].map(|key| found(&mut keys, key, 50)), [false, true, true]);
        assert_eq!(["young", "ahead"].map(|key| found(&mut keys, key, 110)), [false, true]);
        assert!(!found(&mut keys, "ahead", 150));
    }
}
