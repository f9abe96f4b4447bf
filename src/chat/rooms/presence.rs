//! Who came and went since the room was last told.

use std::collections::BTreeMap;

use crate::app::Millis;
use crate::chat::ids::SessionId;
use crate::chat::membership::Announced;
use crate::chat::people::member::Person;
use crate::chat::rooms::notice_pace::{News, NoticePace};

/// Who came and went.
#[derive(Debug)]
pub(in crate::chat) struct Comings {
    /// Sessions, with their numbers. Some of them went again, and some came twice.
    pub(in crate::chat) came: Vec<(SessionId, u64)>,
    pub(in crate::chat) went: Vec<Person>,
    /// Other loops have to be told how many are here.
    pub(in crate::chat) is_owed: bool,
    /// Who came and went on other loops; `None`: nobody did.
    pub(in crate::chat) elsewhere: Option<Elsewhere>,
}

/// Who came and went on other loops.
#[derive(Debug, Default)]
pub(in crate::chat) struct Elsewhere {
    pub(in crate::chat) came: Vec<Person>,
    pub(in crate::chat) went: Vec<Person>,
}

/// Somebody who went, and whether the room had been told that they came; else only those had who were given a list meanwhile.
#[derive(Debug)]
struct Left {
    gone: Person,
    was_announced: bool,
    /// The lists that had been given out then.
    at: u32,
}

/// What the next notice will say. Who came and went in between is not in it, whatever the order.
#[derive(Debug, Default)]
pub(in crate::chat::rooms) struct Presence {
    /// Sessions that came, with their numbers; those that went again are still among them.
    came: Vec<(SessionId, u64)>,
    /// By the number of the session.
    went: BTreeMap<u64, Left>,
    /// The same on other loops.
    elsewhere: Option<Box<Elsewhere>>,
    /// Other loops have to be told how many are here: somebody there may have seen another number meanwhile.
    is_owed: bool,
    /// How many lists of members were given out. Who came and went between two of them nobody has heard of.
    lists: u32,
    /// When the next notice may come.
    pace: NoticePace,
}

impl Presence {
    /// A session comes, and is given a list. Returns what the room knows of it: where nobody has missed it there is nothing to
    /// tell.
    pub(in crate::chat::rooms) fn came(&mut self, session: SessionId, number: u64) -> Announced {
        let gone = self.went.remove(&number);
        let was_heard_of = gone.is_some();
        let is_announced = gone.is_some_and(|gone| gone.was_announced && gone.at == self.lists);
        if !is_announced {
            self.came.push((session, number));
        }
        self.listed();
        Announced { is_announced, since: self.lists.wrapping_sub(u32::from(was_heard_of)) }
    }

    /// Somebody is given a list of the members.
    pub(in crate::chat::rooms) fn listed(&mut self) {
        self.lists = self.lists.wrapping_add(1);
    }

    /// A session goes. The room is told if anybody has heard of it.
    pub(in crate::chat::rooms) fn went(&mut self, number: u64, known: Announced, gone: Person) {
        let at = self.lists;
        if known.is_announced || known.since != at {
            self.went.insert(number, Left { gone, was_announced: known.is_announced, at });
        }
    }

    /// Who came and went on another loop; at most so many are named.
    pub(in crate::chat::rooms) fn elsewhere(&mut self, came: &[Person], went: &[Person], most: usize) {
        let elsewhere = self.elsewhere.get_or_insert_default();
        for person in went {
            // Who came and went in between is not told of.
            let at = elsewhere.came.iter().position(|other| other.client == person.client);
            if let Some(at) = at {
                elsewhere.came.remove(at);
            } else if elsewhere.went.len() < most {
                elsewhere.went.push(person.clone());
            }
        }
        let room = most.saturating_sub(elsewhere.came.len());
        elsewhere.came.extend(came.iter().take(room).cloned());
    }

    /// There are more here than before, or fewer, and other loops know.
    pub(in crate::chat::rooms) fn owe(&mut self) {
        self.is_owed = true;
    }

    /// What the room is told now, and then nothing for `every` milliseconds.
    pub(in crate::chat::rooms) fn take_news(&mut self, now: Millis, every: Millis) -> News<Comings> {
        if self.came.is_empty() && self.went.is_empty() && self.elsewhere.is_none() && !self.is_owed {
            return Err(None);
        }
        self.pace.take(now, every)?;
        let went = std::mem::take(&mut self.went).into_values().map(|left| left.gone).collect();
        Ok(Comings {
            is_owed: std::mem::take(&mut self.is_owed),
            came: std::mem::take(&mut self.came),
            went,
            elsewhere: self.elsewhere.take().map(|elsewhere| *elsewhere),
        })
    }

    /// The timer came.
    pub(in crate::chat::rooms) fn timer_fired(&mut self) {
        self.pace.timer_fired();
    }
}
