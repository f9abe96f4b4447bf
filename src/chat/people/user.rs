//! Those who speak, whatever connections they have.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::chat::people::rate::Bucket;

/// Somebody with a name and at least one connection.
#[derive(Debug)]
pub(in crate::chat) struct User {
    /// As it is shown: the name of the token that came last.
    pub(in crate::chat) name: Arc<str>,
    /// What is theirs is kept under this: of guests the folded name, of a verified person the first one that they had.
    pub(in crate::chat) person: Arc<str>,
    pub(in crate::chat) is_verified: bool,
    pub(in crate::chat) sessions: Vec<u32>,
    pub(in crate::chat) posts: Bucket,
}

/// Guests and verified users of one name are different users.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::chat) struct Identity {
    /// See [`User::person`].
    pub(in crate::chat) person: Arc<str>,
    pub(in crate::chat) is_verified: bool,
}

impl User {
    pub(in crate::chat) fn identity(&self) -> Identity {
        Identity { person: Arc::clone(&self.person), is_verified: self.is_verified }
    }
}

/// What is left of the rates of users who are not here: whoever comes back has not rested meanwhile.
#[derive(Debug, Default)]
pub(in crate::chat) struct Resting {
    posts: HashMap<Identity, Bucket>,
    /// Who left first.
    order: VecDeque<Identity>,
}

impl Resting {
    pub(in crate::chat) fn left(&mut self, user: Identity, posts: Bucket, max: usize, now_ms: u64) {
        let is_rested = |posts: &HashMap<Identity, Bucket>, user: &Identity| {
            posts.get(user).is_none_or(|bucket| bucket.is_full(now_ms))
        };
        while let Some(first) = self.order.front()
            && (self.order.len() >= max || is_rested(&self.posts, first))
        {
            self.posts.remove(first);
            self.order.pop_front();
        }
        if max > 0 && !posts.is_full(now_ms) && self.posts.insert(user.clone(), posts).is_none() {
            self.order.push_back(user);
        }
    }

    /// The place in the order stays, until it is the first.
    pub(in crate::chat) fn came(&mut self, user: &Identity) -> Bucket {
        self.posts.get(user).copied().unwrap_or_default()
    }
}
