//! Names that look like those of verified users, by the skeletons of UTS 39.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use unicode_security::skeleton;

use crate::text::fold;

/// Names whose answer is remembered.
const MAX_ANSWERS: usize = 4096;

/// The names of verified users that the server has seen, and what looks like one of them.
#[derive(Debug, Default)]
pub(in crate::chat) struct Lookalikes {
    max: usize,
    names: HashSet<Arc<str>>,
    /// Of each name as it is shown and folded, and how many names have it.
    skeletons: HashMap<String, usize>,
    /// The longest known first.
    order: VecDeque<Arc<str>>,
    /// What was asked before: skeletons cost more than a look at a table.
    answers: RefCell<HashMap<Box<str>, bool>>,
}

fn skeletons(name: &str) -> [String; 2] {
    [skeleton(name).collect(), skeleton(&fold(name)).collect()]
}

impl Lookalikes {
    /// Remembers the names of this many verified users.
    pub(in crate::chat) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Takes note of a verified user.
    pub(in crate::chat) fn vouch(&mut self, name: &str) {
        if self.max == 0 || self.names.contains(name) {
            return;
        }
        if self.names.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(&oldest);
        }
        let name: Arc<str> = name.into();
        for skeleton in skeletons(&name) {
            *self.skeletons.entry(skeleton).or_default() += 1;
        }
        self.order.push_back(Arc::clone(&name));
        self.names.insert(name);
        self.answers.get_mut().clear();
    }

    fn forget(&mut self, name: &str) {
        self.names.remove(name);
        for skeleton in skeletons(name) {
            if let Some(count) = self.skeletons.get_mut(&skeleton) {
                *count -= 1;
                if *count == 0 {
                    self.skeletons.remove(&skeleton);
                }
            }
        }
    }

    /// Whether an unverified name looks like that of a verified user.
    pub(in crate::chat) fn has(&self, name: &str) -> bool {
        if self.names.is_empty() {
            return false;
        }
        if let Some(answer) = self.answers.borrow().get(name) {
            return *answer;
        }
        let answer = skeletons(name).iter().any(|skeleton| self.skeletons.contains_key(skeleton));
        let mut answers = self.answers.borrow_mut();
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        answers.insert(name.into(), answer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_the_same_are_found_whatever_their_letters_are() {
        let mut known = Lookalikes::new(10);
        assert!(!known.has("Ada"));
        known.vouch("Ada");
        known.vouch("paul");
        for name in
            ["Ada", "ada", "\u{410}da", "Ad\u{430}", "𝐀da", "A\u{fe0f}da", "р\u{430}ul", "pau1", "pauI"]
        {
            assert!(known.has(name), "{name}");
        }
        for name in ["Bob", "Adam", "Ana"] {
            assert!(!known.has(name), "{name}");
        }
    }

    #[test]
    fn only_so_many_names_are_remembered_the_newest() {
        let mut known = Lookalikes::new(2);
        for name in ["Ada", "ada", "Ben", "Cleo"] {
            known.vouch(name);
        }
        assert_eq!(["ADA", "ben", "cleo"].map(|name| known.has(name)), [false, true, true]);
        assert_eq!((known.order.len(), known.names.len(), known.skeletons.len()), (2, 2, 4));
    }
}
