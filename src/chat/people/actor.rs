//! In whose name a command is done.

use std::sync::Arc;

use crate::chat::ids::SessionId;
use crate::chat::people::user::Identity;
use crate::history::Who;
use crate::history::keys::Origin;
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
    /// The server itself, in nobody's name: it may do everything.
    pub(in crate::chat) is_server: bool,
}

impl Actor {
    pub(in crate::chat) fn identity(&self) -> Identity {
        Identity { person: Arc::clone(&self.person), is_verified: self.is_verified }
    }

    pub(in crate::chat) fn origin(&self) -> Origin {
        match self.session {
            None => Origin::Server,
            Some(_) => Origin::of(self.is_verified, ""),
        }
    }

    /// What their keys against double posts are kept under. What the server posts in somebody's name has keys of its own.
    pub(in crate::chat) fn keys_of(&self) -> Arc<str> {
        match self.session {
            None => fold(&self.name).into(),
            Some(_) => Arc::clone(&self.person),
        }
    }

    pub(in crate::chat) fn who(&self) -> Who {
        Who { name: Arc::clone(&self.name), is_verified: self.is_verified }
    }
}
