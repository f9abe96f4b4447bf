//! Whom a verified name belongs to. A token names a person by its subject and carries the name that is shown: the first
//! person who comes with a name has it for good, so two people are never taken for one, however they call themselves.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Chat, Code, Refusal, names};
use crate::store::{Holder, Request};

/// Names that are remembered, about 200 bytes each; above it no new ones are taken.
pub(super) const MAX_NAMES: usize = 1 << 20;

/// The names, in their folded form, and the subjects that have them.
#[derive(Debug, Default)]
pub(super) struct Holders {
    by_name: HashMap<Arc<str>, Arc<str>>,
    by_subject: HashMap<Arc<str>, Vec<Arc<str>>>,
}

/// Why somebody cannot have a name.
#[derive(Debug, PartialEq, Eq)]
enum Denied {
    /// It is somebody else's.
    Taken,
    /// There are as many as may be.
    Full,
}

impl Holders {
    pub(super) fn new(known: Vec<Holder>) -> Self {
        let mut holders = Self::default();
        for Holder { name, subject } in known {
            holders.insert(name, subject);
        }
        holders
    }

    fn insert(&mut self, name: Arc<str>, subject: Arc<str>) {
        self.by_subject.entry(Arc::clone(&subject)).or_default().push(Arc::clone(&name));
        self.by_name.insert(name, subject);
    }

    /// `true`: the name was nobody's before.
    fn claim(&mut self, name: &str, subject: &str) -> Result<bool, Denied> {
        match self.by_name.get(name) {
            Some(holder) if **holder == *subject => Ok(false),
            Some(_) => Err(Denied::Taken),
            None if self.by_name.len() >= MAX_NAMES => Err(Denied::Full),
            None => {
                self.insert(name.into(), subject.into());
                Ok(true)
            }
        }
    }

    fn forget(&mut self, name: &str) {
        let Some(subject) = self.by_name.remove(name) else { return };
        if let Some(names) = self.by_subject.get_mut(&subject) {
            names.retain(|other| **other != *name);
        }
    }

    /// All names of the person who has this one, itself among them.
    pub(super) fn all_names(&self, name: &Arc<str>) -> Vec<Arc<str>> {
        let held = self.by_name.get(name).and_then(|subject| self.by_subject.get(subject));
        held.cloned().unwrap_or_else(|| vec![Arc::clone(name)])
    }
}

impl Chat {
    /// Gives a name to a person, or refuses it: somebody else has it. On the disk before anything that is said under it.
    pub(super) fn hold_name(&mut self, folded: &Arc<str>, subject: &str) -> Result<(), Refusal> {
        // Whoever is called as their subject is one person in every spelling.
        let own = names::fold(subject);
        let subject = if *own == **folded { folded } else { subject };
        match self.holders.claim(folded, subject) {
            Ok(true) if self.durable.is_on_disk() => {
                let request = Request::Hold(Holder { name: Arc::clone(folded), subject: subject.into() });
                self.durable.send(request).inspect_err(|_| self.holders.forget(folded))
            }
            Ok(_) => Ok(()),
            Err(Denied::Taken) => {
                let why = "another person has the name in this token; it must carry another one";
                Err(Refusal::field(Code::Forbidden, "token", why))
            }
            Err(Denied::Full) => Err(Refusal::new(Code::Unavailable, "as many names as may be are taken")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_persons_for_good() {
        let holder = |name: &str, subject: &str| Holder { name: name.into(), subject: subject.into() };
        let mut holders = Holders::new(vec![holder("ada", "auth0|1")]);
        assert_eq!(holders.claim("ada", "auth0|1"), Ok(false));
        assert_eq!(holders.claim("ada", "auth0|2"), Err(Denied::Taken));
        assert_eq!(holders.claim("bob", "auth0|2"), Ok(true));
        // Who changes the name keeps the one before.
        assert_eq!(holders.claim("ada l", "auth0|1"), Ok(true));
        assert_eq!(holders.claim("ada", "auth0|2"), Err(Denied::Taken));
        let names =
            |name: &str| holders.all_names(&name.into()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("ada l"), ["ada", "ada l"]);
        assert_eq!(names("eve"), ["eve"]);
        holders.forget("bob");
        assert_eq!(holders.claim("bob", "auth0|3"), Ok(true));
    }
}
