//! Those who speak, whatever connections they have.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::app::Bucket;
use crate::chat::ids::SessionId;
use crate::chat::people::shared_bucket::SharedBucket;

/// Somebody with a name and at least one connection.
#[derive(Debug)]
pub(in crate::chat) struct User {
    pub(in crate::chat::people) name: Arc<str>,
    person: Arc<str>,
    is_verified: bool,
    pub(in crate::chat::people) sessions: Vec<SessionId>,
    pub(in crate::chat::people) posts: Bucket,
    /// Where other loops take from it, too.
    pub(in crate::chat::people) shared: Option<SharedBucket>,
}

/// Guests and verified users of one name are different users.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::chat) struct Identity {
    /// See [`User::person`].
    pub(in crate::chat) person: Arc<str>,
    pub(in crate::chat) is_verified: bool,
}

impl User {
    pub(in crate::chat::people) fn new(name: &str, identity: Identity, posts: Bucket) -> Self {
        let Identity { person, is_verified } = identity;
        let name = if *person == *name { Arc::clone(&person) } else { name.into() };
        Self { name, person, is_verified, sessions: Vec::with_capacity(1), posts, shared: None }
    }

    /// The name as it is shown: that of the token that came last.
    pub(in crate::chat) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What is theirs is kept under this: of guests the folded name, of a verified person the first one that they had.
    pub(in crate::chat) fn person(&self) -> &Arc<str> {
        &self.person
    }

    /// A token vouched for the name.
    pub(in crate::chat) fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Their connections.
    pub(in crate::chat) fn sessions(&self) -> &[SessionId] {
        &self.sessions
    }

    pub(in crate::chat::people) fn identity(&self) -> Identity {
        Identity { person: Arc::clone(&self.person), is_verified: self.is_verified }
    }
}

/// What is left of the rates of users who are not here: anyone who comes back has not rested meanwhile.
#[derive(Debug, Default)]
pub(in crate::chat::people) struct Resting {
    posts: HashMap<Identity, Bucket>,
    /// Who left first.
    order: VecDeque<Identity>,
}

impl Resting {
    pub(in crate::chat::people) fn left(&mut self, user: Identity, posts: Bucket, max: usize, now_ms: u64) {
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
    pub(in crate::chat::people) fn came(&mut self, user: &Identity) -> Bucket {
        self.posts.get(user).copied().unwrap_or_default()
    }

    #[cfg(debug_assertions)]
    pub(in crate::chat::people) fn check(&self) {
        assert_eq!(
            self.posts.len(),
            self.order.len(),
            "every rate that is remembered has its place in the order"
        );
    }
}
