//! Who is banned.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::chat::people::names;
use crate::history::Ban;

/// Who is banned, by folded name.
#[derive(Debug, Default)]
pub(in crate::chat) struct Bans(BTreeMap<Arc<str>, Ban>);

impl Bans {
    pub(in crate::chat) fn new(bans: Vec<Ban>) -> Self {
        let refold = |ban: Ban| (names::fold(&ban.user).as_ref().into(), ban);
        Self(bans.into_iter().map(refold).collect())
    }

    pub(in crate::chat) fn find(&self, folded: &str, unix_ms: u64) -> Option<&Ban> {
        self.0.get(folded).filter(|ban| ban.until.is_none_or(|until| until > unix_ms))
    }

    /// Whether one more user can be banned; bans that have ended make place.
    pub(in crate::chat) fn has_place(&mut self, max: usize, unix_ms: u64) -> bool {
        if self.0.len() >= max {
            self.0.retain(|_, ban| ban.until.is_none_or(|until| until > unix_ms));
        }
        self.0.len() < max
    }

    pub(in crate::chat) fn set(&mut self, ban: Ban) {
        self.0.insert(Arc::clone(&ban.user), ban);
    }

    pub(in crate::chat) fn lift(&mut self, folded: &str) {
        self.0.remove(folded);
    }

    /// Those in force whose names come after one, by name.
    pub(in crate::chat) fn after(&self, name: &str, unix_ms: u64) -> impl Iterator<Item = &Ban> {
        let bans = self.0.range::<str, _>((Bound::Excluded(name), Bound::Unbounded)).map(|(_, ban)| ban);
        bans.filter(move |ban| ban.until.is_none_or(|until| until > unix_ms))
    }
}
