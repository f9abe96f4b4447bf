//! Which rooms users have subscribed to, in memory: pure, and what every other authority is compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Outcome;

/// Rooms by user: what the user's things are kept under, and the rooms' names in their normal form.
#[derive(Debug, Default, Clone)]
pub struct Subscriptions(BTreeMap<Arc<str>, BTreeSet<Arc<str>>>);

impl Subscriptions {
    /// A user subscribes to a room, or does so no more. At most `most` rooms are a user's.
    pub fn change(&mut self, user: &Arc<str>, room: &Arc<str>, is_on: bool, most: usize) -> Outcome {
        if !is_on {
            if let Some(rooms) = self.0.get_mut(user) {
                rooms.remove(room);
                if rooms.is_empty() {
                    self.0.remove(user);
                }
            }
            return Outcome::Subscribed;
        }
        let known = self.0.get(user);
        if known.is_some_and(|rooms| rooms.contains(room)) {
            return Outcome::Subscribed;
        }
        if known.map_or(0, BTreeSet::len) >= most {
            return Outcome::TooMany;
        }
        self.0.entry(Arc::clone(user)).or_default().insert(Arc::clone(room));
        Outcome::Subscribed
    }

    /// The rooms of a user, by name.
    pub fn of(&self, user: &str) -> impl Iterator<Item = &Arc<str>> {
        self.0.get(user).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_rooms_are_a_users_each_once() {
        let mut all = Subscriptions::default();
        let mut change = |user: &str, room: &str, is_on| all.change(&user.into(), &room.into(), is_on, 2);
        assert_eq!(
            ["b", "a", "b", "c"].map(|room| change("ada", room, true)),
            [Outcome::Subscribed, Outcome::Subscribed, Outcome::Subscribed, Outcome::TooMany]
        );
        assert_eq!(change("bob", "c", true), Outcome::Subscribed);
        assert_eq!([change("ada", "x", false), change("ada", "a", false)], [Outcome::Subscribed; 2]);
        assert_eq!(change("ada", "c", true), Outcome::Subscribed);
        assert_eq!(change("bob", "c", false), Outcome::Subscribed);
        assert_eq!(all.of("ada").map(|room| &**room).collect::<Vec<_>>(), ["b", "c"]);
        assert!(all.of("bob").next().is_none() && all.0.len() == 1);
    }
}
