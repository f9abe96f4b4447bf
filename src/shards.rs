//! A map by name that never grows all at once.
//!
//! A table that doubles moves all that it holds: for half a million names that takes a quarter of a second, in which the loop
//! would stand still. Here a small part of them moves.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Tables over which the names spread: of a million each moves four thousand, in less than a millisecond.
const SHARDS: usize = 256;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Shards<V> {
    /// Not that of the tables, in which all names would look alike then.
    hasher: RandomState,
    tables: Vec<HashMap<Arc<str>, V>>,
    len: usize,
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        let tables = (0..SHARDS).map(|_| HashMap::new()).collect();
        Self { hasher: RandomState::new(), tables, len: 0 }
    }
}

impl<V> Shards<V> {
    fn shard(&self, name: &str) -> usize {
        self.hasher.hash_one(name) as usize % SHARDS
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.tables[self.shard(name)].get(name)
    }

    pub(crate) fn insert(&mut self, name: Arc<str>, value: V) {
        let shard = self.shard(&name);
        self.len += usize::from(self.tables[shard].insert(name, value).is_none());
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let shard = self.shard(name);
        self.len -= usize::from(self.tables[shard].remove(name).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_put_in_is_found_until_it_is_taken_out() {
        let mut names = Shards::default();
        for number in 0..10_000 {
            names.insert(number.to_string().into(), number);
            names.insert((number / 2).to_string().into(), number / 2);
        }
        assert_eq!(names.len(), 10_000);
        for number in (0..10_000).step_by(2) {
            names.remove(&number.to_string());
            names.remove("nobody");
        }
        assert_eq!(names.len(), 5_000);
        assert!((0..10_000).all(|number| names.get(&number.to_string()).is_some() == (number % 2 == 1)));
    }

    #[test]
    fn no_name_that_comes_in_moves_many_others() {
        let mut names = Shards::default();
        for number in 0..200_000_u32 {
            let name: Arc<str> = format!("user {number}\nkey").into();
            let shard = names.shard(&name);
            let (capacity, len) = (names.tables[shard].capacity(), names.tables[shard].len());
            names.insert(name, number);
            assert!(names.tables[shard].capacity() == capacity || len < 1000, "{len} names moved");
        }
    }

    #[test]
    fn ch_05_nobody_can_tell_beforehand_which_names_meet() {
        let [one, other] = [Shards::<()>::default(), Shards::default()];
        let alike = |name: &String| one.shard(name) == other.shard(name);
        let count = (0..10_000).map(|number| number.to_string()).filter(alike).count();
        assert!(count < 200, "{count} of 10,000 names have the same place in two servers");
    }
}
