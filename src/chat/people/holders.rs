//! Who verified names belong to. A token names a person by its subject and carries the name that is shown. The first person
//! who comes with a name has it for good, so two people are never taken for one, however they call themselves; and a person
//! who comes with another name stays the same person.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::chat::people::names;
use crate::chat::{Code, Refusal};
use crate::history::Holder;

/// Names that are remembered, about 200 bytes each; above it no new ones are taken.
pub(in crate::chat) const MAX_NAMES: usize = 1 << 20;

/// The names of verified people, in their folded form.
///
/// A person is known by the first name that they had: all that is theirs is kept under it, in memory and on the disk.
#[derive(Debug, Default)]
pub(in crate::chat) struct Holders {
    /// The person who has a name.
    by_name: HashMap<Arc<str>, Arc<str>>,
    by_subject: HashMap<Arc<str>, Arc<str>>,
    /// All names of a person, the first one first.
    names: HashMap<Arc<str>, Vec<Arc<str>>>,
}

/// Why somebody cannot have a name.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::chat) enum Denied {
    /// It is somebody else's.
    Taken,
    /// There are as many as may be.
    Full,
}

impl Holders {
    /// What the store knows: of each person the first name comes before the others.
    pub(in crate::chat) fn new(known: Vec<Holder>) -> Self {
        let mut holders = Self::default();
        for Holder { name, subject, .. } in known {
            holders.insert(name, subject);
        }
        holders
    }

    /// Another loop says that a name is a person's. The first name of each comes before the others.
    pub(in crate::chat) fn learn(&mut self, holder: &Holder) {
        if !self.by_name.contains_key(&holder.name) {
            self.insert(Arc::clone(&holder.name), Arc::clone(&holder.subject));
        }
    }

    /// The history says that a name is a person's, whatever was believed here: two servers may have given it away at the same
    /// time. Returns the person who does not have it after all.
    pub(in crate::chat) fn overrule(&mut self, holder: &Holder) -> Option<Arc<str>> {
        let believed = self.by_name.get(&holder.name).cloned();
        if believed.is_none() || self.by_subject.get(&holder.subject) == believed.as_ref() {
            self.learn(holder);
            return None;
        }
        let person = believed?;
        let loser = self
            .by_subject
            .iter()
            .find(|(_, known)| **known == person)
            .map(|(subject, _)| Arc::clone(subject));
        if let Some(subject) = loser {
            self.forget(&Holder { name: Arc::clone(&holder.name), subject, is_first: false });
        }
        self.insert(Arc::clone(&holder.name), Arc::clone(&holder.subject));
        Some(person)
    }

    fn insert(&mut self, name: Arc<str>, subject: Arc<str>) -> Arc<str> {
        let person = Arc::clone(self.by_subject.entry(subject).or_insert_with(|| Arc::clone(&name)));
        self.names.entry(Arc::clone(&person)).or_default().push(Arc::clone(&name));
        self.by_name.insert(name, Arc::clone(&person));
        person
    }

    /// The subject under which a person is kept. Anyone who is called as their subject is one person in every spelling of it,
    /// and stays that person under other names.
    fn subject<'a>(&self, subject: &'a str, name: &str) -> Cow<'a, str> {
        let own = names::fold(subject);
        let is_known_by_it =
            self.by_subject.get(&*own).is_some_and(|person| self.person(&own) == Some(person));
        if !self.by_subject.contains_key(subject) && (*own == *name || is_known_by_it) {
            return own;
        }
        Cow::Borrowed(subject)
    }

    /// The person who has this name from now on, and whether it was nobody's before.
    fn claim_as(&mut self, name: &Arc<str>, subject: &str) -> Result<(Arc<str>, bool), Denied> {
        let person = self.by_subject.get(subject);
        match (self.by_name.get(name), person) {
            (Some(holder), Some(person)) if holder == person => Ok((Arc::clone(person), false)),
            (Some(_), _) => Err(Denied::Taken),
            (None, _) if self.by_name.len() >= MAX_NAMES => Err(Denied::Full),
            (None, _) => Ok((self.insert(Arc::clone(name), subject.into()), true)),
        }
    }

    /// Registers a name for the person with a subject. Returns what the person is known by, and what must be put on the disk where
    /// the name was nobody's before.
    pub(in crate::chat) fn claim(
        &mut self,
        name: &Arc<str>,
        subject: &str,
    ) -> Result<(Arc<str>, Option<Holder>), Denied> {
        let subject = self.subject(subject, name);
        let (person, is_new) = self.claim_as(name, &subject)?;
        let is_first = person == *name;
        let holder = is_new.then(|| Holder { name: Arc::clone(name), subject: (*subject).into(), is_first });
        Ok((person, holder))
    }

    /// The newest name of a person is nobody's again.
    pub(in crate::chat) fn forget(&mut self, holder: &Holder) {
        let Holder { name, subject, .. } = holder;
        let Some(person) = self.by_name.remove(&**name) else { return };
        let Some(names) = self.names.get_mut(&person) else { return };
        names.retain(|other| other != name);
        if names.is_empty() {
            self.names.remove(&person);
            self.by_subject.remove(&**subject);
        }
    }

    /// The verified person who has a name, if anybody has.
    pub(in crate::chat) fn person(&self, name: &str) -> Option<&Arc<str>> {
        self.by_name.get(name)
    }

    /// What is kept of the verified user of a name is kept under this: the first name of the person who has it.
    pub(in crate::chat) fn person_or<'a>(&'a self, name: &'a str) -> &'a str {
        self.by_name.get(name).map_or(name, |person| person)
    }

    /// The person with a subject who comes with a name, if they came before.
    pub(in crate::chat) fn person_with(&self, subject: &str, name: &str) -> Option<&Arc<str>> {
        self.by_subject.get(&*self.subject(subject, name))
    }

    /// All names of the person who has this one, itself among them.
    pub(in crate::chat) fn names_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.by_name.get(name).and_then(|person| self.names.get(person));
        let unheld = names.is_none().then_some(name);
        names.into_iter().flatten().map(|name| &**name).chain(unheld)
    }

    /// What is kept of a user is kept under this: a guest has nothing but the name, a person keeps what is theirs under every
    /// name.
    pub(in crate::chat) fn owner<'a>(&'a self, name: &'a str, is_verified: bool) -> &'a str {
        if is_verified { self.person_or(name) } else { name }
    }
}

impl Denied {
    /// What anyone who has the token is told.
    pub(in crate::chat) fn refusal(&self) -> Refusal {
        match self {
            Self::Taken => {
                let why = "another person has the name in this token; it must carry another one";
                Refusal::field(Code::Forbidden, "token", why)
            }
            Self::Full => Refusal::new(Code::Unavailable, "as many names as may be are taken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(holders: &mut Holders, name: &str, sub: &str) -> Result<(String, bool), Denied> {
        let claimed = holders.claim(&name.into(), sub);
        claimed.map(|(person, holder)| (person.to_string(), holder.is_some()))
    }

    fn forget(holders: &mut Holders, name: &str, subject: &str, is_first: bool) {
        holders.forget(&Holder { name: name.into(), subject: subject.into(), is_first });
    }

    fn is(person: &str, is_new: bool) -> (String, bool) {
        (person.to_owned(), is_new)
    }

    #[test]
    fn a_name_is_one_persons_for_good() {
        let known = Holder { name: "ada".into(), subject: "auth0|1".into(), is_first: true };
        let mut holders = Holders::new(vec![known]);
        assert_eq!(claim(&mut holders, "ada", "auth0|1"), Ok(is("ada", false)));
        assert_eq!(claim(&mut holders, "ada", "auth0|2"), Err(Denied::Taken));
        assert_eq!(claim(&mut holders, "bob", "auth0|2"), Ok(is("bob", true)));
        // Who changes the name keeps the one before, and is the same person.
        assert_eq!(claim(&mut holders, "ada l", "auth0|1"), Ok(is("ada", true)));
        assert_eq!(claim(&mut holders, "ada", "auth0|2"), Err(Denied::Taken));
        assert_eq!(claim(&mut holders, "ada l", "auth0|2"), Err(Denied::Taken));
        assert_eq!(holders.names_of("ada l").collect::<Vec<_>>(), ["ada", "ada l"]);
        assert_eq!(holders.names_of("eve").collect::<Vec<_>>(), ["eve"]);
        assert_eq!((holders.person_or("ada l"), holders.person_or("eve")), ("ada", "eve"));
        forget(&mut holders, "ada l", "auth0|1", false);
        assert_eq!(claim(&mut holders, "ada l", "auth0|3"), Ok(is("ada l", true)));
        assert_eq!(claim(&mut holders, "ada", "auth0|1"), Ok(is("ada", false)));
        forget(&mut holders, "bob", "auth0|2", true);
        assert_eq!(claim(&mut holders, "bob", "auth0|3"), Ok(is("ada l", true)));
    }

    #[test]
    fn who_is_called_as_their_subject_is_one_person_in_every_spelling_and_under_every_name() {
        let mut holders = Holders::default();
        assert_eq!(claim(&mut holders, "ada", "Ada"), Ok(is("ada", true)));
        assert_eq!(claim(&mut holders, "ada", "aDA"), Ok(is("ada", false)));
        assert_eq!(claim(&mut holders, "ada l", "Ada"), Ok(is("ada", true)));
        assert_eq!(claim(&mut holders, "ada", "bob"), Err(Denied::Taken));
        // The other way round: the subject comes with another name first.
        assert_eq!(claim(&mut holders, "robert", "Bob"), Ok(is("robert", true)));
        assert_eq!(claim(&mut holders, "bob", "Bob"), Ok(is("robert", true)));
        // Subjects that nobody is called after differ by their case.
        assert_eq!(claim(&mut holders, "adele", "x7q"), Ok(is("adele", true)));
        assert_eq!(claim(&mut holders, "eve", "X7Q"), Ok(is("eve", true)));
    }
}
