//! Who came and went since the room was last told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::Millis;

/// Somebody who is not here any more.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Gone {
    pub(in crate::chat) client: Arc<str>,
    pub(in crate::chat) user: Arc<str>,
    pub(in crate::chat) is_verified: bool,
}

/// What the next notice will say. Who came and went in between is not in it, whatever the order.
#[derive(Debug, Default)]
pub(in crate::chat) struct Presence {
    /// Slots and numbers of sessions that came; those that went again are still among them.
    pub(in crate::chat) came: Vec<(u32, u64)>,
    /// By the number of the session.
    pub(in crate::chat) went: BTreeMap<u64, Gone>,
    /// The next notice comes no sooner.
    pub(in crate::chat) next_at: Millis,
    pub(in crate::chat) is_timed: bool,
}

impl Presence {
    /// A session came. `true`: the room has not missed it, so there is nothing to tell.
    pub(in crate::chat) fn came(&mut self, index: u32, number: u64) -> bool {
        if self.went.remove(&number).is_some() {
            return true;
        }
        self.came.push((index, number));
        false
    }

    /// A session went of which the room was told.
    pub(in crate::chat) fn went(&mut self, number: u64, gone: Gone) {
        self.went.insert(number, gone);
    }

    pub(in crate::chat) fn has_news(&self) -> bool {
        !(self.came.is_empty() && self.went.is_empty())
    }
}
