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
    /// The room had been told that they came; else only those had who were given a list meanwhile.
    pub(in crate::chat) was_announced: bool,
    /// [`Presence::lists`] when they went.
    pub(in crate::chat) at: u32,
}

/// What the next notice will say. Who came and went in between is not in it, whatever the order.
#[derive(Debug, Default)]
pub(in crate::chat) struct Presence {
    /// Slots and numbers of sessions that came; those that went again are still among them.
    pub(in crate::chat) came: Vec<(u32, u64)>,
    /// By the number of the session.
    pub(in crate::chat) went: BTreeMap<u64, Gone>,
    /// How many lists of members were given out. Who came and went between two of them nobody has heard of.
    pub(in crate::chat) lists: u32,
    /// The next notice comes no sooner.
    pub(in crate::chat) next_at: Millis,
    pub(in crate::chat) is_timed: bool,
}

impl Presence {
    /// A session comes, and is given a list. Gives whether nobody has missed it, so that there is nothing to tell, and the
    /// number of [`Self::lists`] since which nobody can have heard of it.
    pub(in crate::chat) fn came(&mut self, index: u32, number: u64) -> (bool, u32) {
        let gone = self.went.remove(&number);
        let was_heard_of = gone.is_some();
        let is_announced = gone.is_some_and(|gone| gone.was_announced && gone.at == self.lists);
        if !is_announced {
            self.came.push((index, number));
        }
        self.listed();
        (is_announced, self.lists.wrapping_sub(u32::from(was_heard_of)))
    }

    /// Somebody is given a list of the members.
    pub(in crate::chat) fn listed(&mut self) {
        self.lists = self.lists.wrapping_add(1);
    }

    /// A session went of which somebody has heard.
    pub(in crate::chat) fn went(&mut self, number: u64, gone: Gone) {
        self.went.insert(number, gone);
    }

    pub(in crate::chat) fn has_news(&self) -> bool {
        !(self.came.is_empty() && self.went.is_empty())
    }
}
