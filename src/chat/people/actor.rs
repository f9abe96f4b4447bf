//! In whose name a command is done.

use std::borrow::Cow;
use std::sync::Arc;

use crate::chat::pending::keys::{Origin, Scope};
use crate::chat::people::session::SessionId;
use crate::chat::people::user::Identity;
use crate::history::Who;
use crate::text::fold;

/// In whose name something is done.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Actor {
    pub(in crate::chat) name: Arc<str>,
    /// See [`User::person`](super::user::User::person).
    pub(in crate::chat) person: Arc<str>,
    pub(in crate::chat) is_verified: bool,
    pub(in crate::chat) client: Arc<str>,
    /// The session; the server itself has none and may do everything.
    pub(in crate::chat) session: Option<SessionId>,
}

impl Actor {
    pub(in crate::chat) fn identity(&self) -> Identity {
        Identity { person: Arc::clone(&self.person), is_verified: self.is_verified }
    }

    fn origin(&self) -> Origin {
        if self.session.is_none() { Origin::Server } else { Origin::of(self.is_verified, "") }
    }

    /// Whose key a `key` of theirs is. What the server posts in somebody's name has keys of its own.
    pub(in crate::chat) fn scope<'a>(&'a self, room: &'a str, key: &'a str) -> Scope<'a> {
        let user = if self.session.is_none() { fold(&self.name) } else { Cow::Borrowed(&*self.person) };
        Scope { origin: self.origin(), user, room, key }
    }

    pub(in crate::chat) fn who(&self) -> Who {
        Who { name: Arc::clone(&self.name), is_verified: self.is_verified }
    }
}
