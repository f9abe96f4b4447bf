//! What the loops of one process share about a chat: who speaks where, who is in which room, how often somebody posts, and who
//! verified names belong to.
//!
//! Tables behind locks that are held for one look-up each, and never while anything is sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::app::{AddressPrefix, Millis};
use crate::chat::people::holders::{Denied, Holders};
use crate::chat::people::member::Person;
use crate::chat::people::shared_bucket::{Rates, SharedBucket};
use crate::chat::people::user::Identity;
use crate::history::{Holder, MAX_LOOPS, NameRange};

/// Other servers of the chat have numbers as loops have, from here on.
pub(in crate::chat) const FIRST_NODE: usize = MAX_LOOPS;

/// The number of a loop of another server begins at this bit; the number of the server is below it.
pub(in crate::chat) const LOOP_BIT: u32 = 16;

/// Names of those who went since the other loops were told; more are only counted.
const MAX_GONE: usize = 256;

/// By name, then by loop. Nobody is in a room that is not there.
type Rooms = BTreeMap<Arc<str>, BTreeMap<usize, Here>>;

/// What the loops of one process share about a chat. Clones are one.
#[derive(Debug, Clone)]
pub struct Exchange(Arc<Tables>);

#[derive(Debug)]
struct Tables {
    people: Mutex<HashMap<Identity, Spoken>>,
    rooms: Mutex<Rooms>,
    posts: Rates<Identity>,
    address_posts: Rates<AddressPrefix>,
    holders: Mutex<Holders>,
    /// What other servers are to be told of, where there may be some.
    changed: Option<Mutex<Changed>>,
    /// The other servers, by number: their names, and how many loops each has.
    nodes: Mutex<BTreeMap<usize, (Arc<str>, usize)>>,
    /// What other servers call this one.
    name: OnceLock<Arc<str>>,
}

/// What has changed on the loops of this process.
#[derive(Debug, Default)]
struct Changed {
    rooms: BTreeSet<Arc<str>>,
    people: BTreeSet<Identity>,
}

/// A user on the loops of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) struct Presence {
    pub(in crate::chat) user: Identity,
    /// The name that is shown.
    pub(in crate::chat) name: Arc<str>,
    /// Connections: all, and those that can be told of anything.
    pub(in crate::chat) connections: (u32, u32),
}

/// Who is in a room on the loops of one process.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Attendance {
    pub(in crate::chat) room: Arc<str>,
    pub(in crate::chat) count: usize,
    pub(in crate::chat) listed: Vec<Person>,
}

/// Who came into a room and who went out of it on another server, and the loops here that are to know.
#[derive(Debug, Default)]
pub(in crate::chat) struct News {
    pub(in crate::chat) loops: Vec<usize>,
    pub(in crate::chat) came: Vec<Person>,
    pub(in crate::chat) went: Vec<Person>,
}

/// Where somebody speaks.
#[derive(Debug, Default)]
struct Spoken {
    /// The name that is shown: the one that came last.
    name: Arc<str>,
    /// Connections on each loop: all, and those that can be told of anything.
    loops: BTreeMap<usize, (u32, u32)>,
}

/// Who is in a room on one loop.
#[derive(Debug, Clone, Default)]
pub(in crate::chat) struct Here {
    pub(in crate::chat) count: usize,
    /// Some of them, at most [`Limits::max_listed`](crate::chat::Limits::max_listed).
    pub(in crate::chat) listed: Vec<Person>,
    /// Those who were listed and have gone, until the other loops are told.
    gone: Vec<Person>,
}

/// Somebody on other loops.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Elsewhere {
    pub(in crate::chat) name: Arc<str>,
    /// The loops on which a connection of theirs can be told of anything.
    pub(in crate::chat) hearing: Vec<usize>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    /// For the loops of one process; with what the history knows of verified names.
    #[must_use]
    pub fn new(holders: &[Holder]) -> Self {
        Self::with(holders, None)
    }

    /// The same, for one of several processes that are one chat.
    pub(in crate::chat) fn among_others(holders: &[Holder]) -> Self {
        Self::with(holders, Some(Mutex::default()))
    }

    fn with(holders: &[Holder], changed: Option<Mutex<Changed>>) -> Self {
        Self(Arc::new(Tables {
            people: Mutex::default(),
            rooms: Mutex::default(),
            posts: Rates::default(),
            address_posts: Rates::default(),
            holders: Mutex::new(Holders::new(holders.to_vec())),
            changed,
            nodes: Mutex::default(),
            name: OnceLock::new(),
        }))
    }

    /// There may be other processes.
    pub(in crate::chat) fn has_others(&self) -> bool {
        self.0.changed.is_some()
    }

    fn note_person(&self, user: &Identity) {
        if let Some(changed) = &self.0.changed {
            locked(changed).people.insert(user.clone());
        }
    }

    fn note_room(&self, room: &Arc<str>) {
        if let Some(changed) = &self.0.changed {
            locked(changed).rooms.insert(Arc::clone(room));
        }
    }

    // ---- people

    /// A guest begins to speak on a loop. `false`: somebody verified is kept under one of these on some loop.
    pub(in crate::chat) fn enter_guest(
        &self,
        own: usize,
        guest: &Identity,
        (name, is_hearing): (&Arc<str>, bool),
        person: &Arc<str>,
    ) -> bool {
        let mut people = locked(&self.0.people);
        let verified = Identity { person: Arc::clone(person), is_verified: true };
        let is_free = !people.contains_key(&verified);
        if is_free {
            people.entry(guest.clone()).or_default().came(own, name, is_hearing);
            self.note_person(guest);
        }
        is_free
    }

    /// A verified user begins to speak on a loop. Returns the other loops where guests use one of their names.
    pub(in crate::chat) fn enter_verified<'n>(
        &self,
        own: usize,
        user: &Identity,
        (name, is_hearing): (&Arc<str>, bool),
        names: impl Iterator<Item = &'n str>,
    ) -> Vec<usize> {
        let mut people = locked(&self.0.people);
        people.entry(user.clone()).or_default().came(own, name, is_hearing);
        self.note_person(user);
        guests_elsewhere(&people, own, names)
    }

    /// A verified user who speaks on a loop is called by this name from now on. Returns the other loops where guests use one of
    /// their names.
    pub(in crate::chat) fn rename<'n>(
        &self,
        own: usize,
        user: &Identity,
        name: &Arc<str>,
        names: impl Iterator<Item = &'n str>,
    ) -> Vec<usize> {
        let mut people = locked(&self.0.people);
        if let Some(spoken) = people.get_mut(user) {
            spoken.name = Arc::clone(name);
            self.note_person(user);
        }
        guests_elsewhere(&people, own, names)
    }

    /// One connection of somebody on a loop speaks no more.
    pub(in crate::chat) fn exit(&self, own: usize, user: &Identity, is_hearing: bool) {
        let mut people = locked(&self.0.people);
        if let Some(spoken) = people.get_mut(user) {
            spoken.went(own, is_hearing);
            self.note_person(user);
            if spoken.loops.is_empty() {
                people.remove(user);
            }
        }
    }

    /// Somebody, if they speak on another loop.
    pub(in crate::chat) fn elsewhere(&self, own: usize, user: &Identity) -> Option<Elsewhere> {
        let people = locked(&self.0.people);
        let Spoken { name, loops } = people.get(user)?;
        let others = || loops.iter().filter(|(at, _)| **at != own);
        others().next()?;
        let hearing = others().filter(|(_, (_, hearing))| *hearing > 0).map(|(at, _)| *at).collect();
        Some(Elsewhere { name: Arc::clone(name), hearing })
    }

    /// The first loop on which somebody speaks, and how many connections they have on all. Servers come in the order of their
    /// names.
    pub(in crate::chat) fn connections(&self, user: &Identity) -> Option<(usize, usize)> {
        let people = locked(&self.0.people);
        let nodes = locked(&self.0.nodes);
        let loops = &people.get(user)?.loops;
        let own = self.0.name.get();
        let is_earlier =
            |node: &usize| nodes.get(node).is_some_and(|(name, _)| own.is_some_and(|own| name < own));
        let earlier = loops.range(FIRST_NODE..).map(|(node, _)| node).find(|node| is_earlier(node));
        Some((*earlier.or_else(|| loops.keys().next())?, loops.values().map(|(all, _)| *all as usize).sum()))
    }

    /// Users that are here on any loop of this process.
    pub(in crate::chat) fn users(&self) -> usize {
        let people = locked(&self.0.people);
        if !self.has_others() {
            return people.len();
        }
        people.values().filter(|spoken| spoken.loops.range(..FIRST_NODE).next().is_some()).count()
    }

    // ---- verified names

    /// Registers a name for the person with a subject. Returns what the person is known by, the name as it is to be kept, and
    /// whether it was nobody's before.
    pub(in crate::chat) fn claim(
        &self,
        name: &Arc<str>,
        subject: &str,
    ) -> Result<(Arc<str>, Option<Holder>), Denied> {
        locked(&self.0.holders).claim(name, subject)
    }

    /// Another process of the chat says that a name is somebody's.
    pub(in crate::chat) fn learn(&self, holder: &Holder) {
        locked(&self.0.holders).overrule(holder);
    }

    /// The newest name of a person is nobody's again.
    pub(in crate::chat) fn forget(&self, holder: &Holder) {
        locked(&self.0.holders).forget(holder);
    }

    // ---- rooms

    /// Somebody has come into a room on a loop, where so many are now. At most `most` are listed.
    pub(in crate::chat) fn came(
        &self,
        own: usize,
        room: &Arc<str>,
        (person, count): (Person, usize),
        most: usize,
    ) {
        self.set(own, room, |here| {
            here.count = count;
            if here.listed.len() < most {
                here.listed.push(person);
            }
        });
    }

    /// Somebody has gone out of a room on a loop, where so many are now.
    pub(in crate::chat) fn went(&self, own: usize, room: &Arc<str>, (client, count): (&str, usize)) {
        self.set(own, room, |here| {
            here.count = count;
            let at = here.listed.iter().position(|person| *person.client == *client);
            let gone = at.map(|at| here.listed.remove(at));
            here.gone.extend(gone.filter(|_| here.gone.len() < MAX_GONE));
        });
    }

    /// A room is closed on a loop. Returns those of whom the other loops are not told that they have gone.
    pub(in crate::chat) fn forget_room(&self, own: usize, room: &Arc<str>) -> Vec<Person> {
        let mut gone = Vec::new();
        self.set(own, room, |here| gone = std::mem::take(here).gone);
        gone
    }

    /// Some of those who are in a room on a loop, as the others are told.
    pub(in crate::chat) fn set_listed(&self, own: usize, room: &Arc<str>, listed: Vec<Person>) {
        self.set(own, room, |here| {
            here.listed = listed;
            here.gone.clear();
        });
    }

    fn set(&self, own: usize, room: &Arc<str>, set: impl FnOnce(&mut Here)) {
        let mut rooms = locked(&self.0.rooms);
        let loops = rooms.entry(Arc::clone(room)).or_default();
        let here = loops.entry(own).or_default();
        set(here);
        self.note_room(room);
        if here.count == 0 && here.listed.is_empty() && here.gone.is_empty() {
            loops.remove(&own);
            if loops.is_empty() {
                rooms.remove(room);
            }
        }
    }

    /// Who is in a room on other loops.
    pub(in crate::chat) fn in_room(&self, own: usize, room: &str) -> Vec<(usize, Here)> {
        let rooms = locked(&self.0.rooms);
        let loops = rooms.get(room).into_iter().flatten();
        loops.filter(|(at, _)| **at != own).map(|(at, here)| (*at, here.clone())).collect()
    }

    /// How many are in a room on other loops.
    pub(in crate::chat) fn count(&self, own: usize, room: &str) -> usize {
        let rooms = locked(&self.0.rooms);
        let loops = rooms.get(room).into_iter().flatten();
        loops.filter(|(at, _)| **at != own).map(|(_, here)| here.count).sum()
    }

    /// The rooms of these names that somebody is in on other loops, with how many, in their order: at most so many.
    pub(in crate::chat) fn rooms(
        &self,
        own: usize,
        ranges: &[NameRange],
        most: usize,
    ) -> Vec<(Arc<str>, usize)> {
        let rooms = locked(&self.0.rooms);
        let count = |loops: &BTreeMap<usize, Here>| {
            loops.iter().filter(|(at, _)| **at != own).map(|(_, here)| here.count).sum::<usize>()
        };
        let found = ranges.iter().filter(|range| range.from < range.before).flat_map(|range| {
            rooms.range::<str, _>((Bound::Included(&*range.from), Bound::Excluded(&*range.before)))
        });
        let found = found.map(|(room, loops)| (Arc::clone(room), count(loops)));
        found.filter(|(_, count)| *count > 0).take(most).collect()
    }

    // ---- other servers

    /// Another server is there, with so many loops; or none, and it is there no more.
    pub(in crate::chat) fn set_node(&self, node: usize, is_there: Option<(&str, usize)>) {
        let mut nodes = locked(&self.0.nodes);
        match is_there {
            Some((name, loops)) => nodes.insert(node, (name.into(), loops)),
            None => nodes.remove(&node),
        };
    }

    /// Other servers call this one so.
    pub(in crate::chat) fn set_name(&self, name: &Arc<str>) {
        self.0.name.get_or_init(|| Arc::clone(name));
    }

    /// What other servers call this one.
    pub(in crate::chat) fn own_name(&self) -> Option<Arc<str>> {
        self.0.name.get().cloned()
    }

    /// The same; nothing while there are none.
    pub(in crate::chat) fn name(&self) -> Option<Arc<str>> {
        self.own_name().filter(|_| !locked(&self.0.nodes).is_empty())
    }

    /// The server whose name comes next in the order of names; the first one after none.
    pub(in crate::chat) fn server_after(&self, name: Option<&str>) -> Option<Arc<str>> {
        let nodes = locked(&self.0.nodes);
        let all = nodes.values().map(|(other, _)| other).chain(self.0.name.get());
        all.filter(|other| name.is_none_or(|name| ***other > *name)).min().cloned()
    }

    /// The number of another server.
    pub(in crate::chat) fn number_of(&self, name: &str) -> Option<usize> {
        let nodes = locked(&self.0.nodes);
        nodes.iter().find(|(_, (other, _))| **other == *name).map(|(node, _)| *node)
    }

    /// The other servers, and how many loops each has.
    pub(in crate::chat) fn nodes(&self) -> Vec<(usize, usize)> {
        locked(&self.0.nodes).iter().map(|(node, (_, loops))| (*node, *loops)).collect()
    }

    /// What has changed on this one since it was asked last; or all that there is.
    pub(in crate::chat) fn take_changed(&self, is_all: bool) -> (Vec<Attendance>, Vec<Presence>) {
        let Some(changed) = &self.0.changed else { return (Vec::new(), Vec::new()) };
        let mut changed = std::mem::take(&mut *locked(changed));
        let people = locked(&self.0.people);
        let rooms = locked(&self.0.rooms);
        if is_all {
            changed.rooms.extend(rooms.keys().cloned());
            changed.people.extend(people.keys().cloned());
        }
        let attendance = |room: Arc<str>| {
            let here = rooms.get(&room).into_iter().flat_map(|loops| loops.range(..FIRST_NODE));
            let (mut count, mut listed) = (0, Vec::new());
            for (_, here) in here {
                count += here.count;
                listed.extend(here.listed.iter().cloned());
            }
            Attendance { room, count, listed }
        };
        let presence = |user: Identity| {
            let spoken = people.get(&user);
            let here = spoken.into_iter().flat_map(|spoken| spoken.loops.range(..FIRST_NODE));
            let connections = here.fold((0, 0), |sum, (_, it)| (sum.0 + it.0, sum.1 + it.1));
            Presence { user, name: spoken.map(|it| Arc::clone(&it.name)).unwrap_or_default(), connections }
        };
        (
            changed.rooms.into_iter().map(attendance).collect(),
            changed.people.into_iter().map(presence).collect(),
        )
    }

    /// Who is in a room on another server.
    pub(in crate::chat) fn set_attendance(&self, node: usize, attendance: Attendance) -> News {
        let Attendance { room, count, listed } = attendance;
        let mut rooms = locked(&self.0.rooms);
        let loops = rooms.entry(Arc::clone(&room)).or_default();
        let before = loops.remove(&node).map(|here| here.listed).unwrap_or_default();
        let is_in = |list: &[Person], person: &Person| list.iter().any(|it| it.client == person.client);
        let came = listed.iter().filter(|it| !is_in(&before, it)).cloned().collect();
        let went = before.iter().filter(|it| !is_in(&listed, it)).cloned().collect();
        if count > 0 {
            loops.insert(node, Here { count, listed, gone: Vec::new() });
        }
        let told = loops.range(..FIRST_NODE).map(|(at, _)| *at).collect();
        if loops.is_empty() {
            rooms.remove(&room);
        }
        News { loops: told, came, went }
    }

    /// Somebody speaks on another server, or does so no more.
    pub(in crate::chat) fn set_presence(&self, node: usize, presence: Presence) {
        let Presence { user, name, connections } = presence;
        let mut people = locked(&self.0.people);
        if connections.0 > 0 {
            let spoken = people.entry(user.clone()).or_default();
            spoken.name = name;
            spoken.loops.insert(node, connections);
        } else if let Some(spoken) = people.get_mut(&user) {
            spoken.loops.remove(&node);
            if spoken.loops.is_empty() {
                people.remove(&user);
            }
        }
        let others = people.get(&user).map_or(0, Spoken::servers);
        drop(people);
        self.0.posts.look(&user, |bucket| bucket.set_others(others));
    }

    /// The rooms that somebody is in on another server, and who speaks there.
    pub(in crate::chat) fn of_node(&self, node: usize) -> (Vec<Arc<str>>, Vec<Identity>) {
        // In the order of `take_changed`.
        let people = locked(&self.0.people);
        let rooms = locked(&self.0.rooms);
        let rooms =
            rooms.iter().filter(|(_, loops)| loops.contains_key(&node)).map(|(room, _)| Arc::clone(room));
        let mut speaks: Vec<Identity> = people
            .iter()
            .filter(|(_, spoken)| spoken.loops.contains_key(&node))
            .map(|it| it.0.clone())
            .collect();
        speaks.sort_unstable();
        (rooms.collect(), speaks)
    }

    // ---- rates

    /// How often somebody posts, wherever they are connected.
    pub(in crate::chat) fn posts_of(&self, user: &Identity, now_ms: Millis) -> SharedBucket {
        let others = locked(&self.0.people).get(user).map_or(0, Spoken::servers);
        let bucket = self.0.posts.of(user, now_ms);
        bucket.set_others(others);
        bucket
    }

    /// How often somebody at an address posts.
    pub(in crate::chat) fn address_posts_of(&self, address: AddressPrefix, now_ms: Millis) -> SharedBucket {
        self.0.address_posts.of(&address, now_ms)
    }
}

/// The other loops where guests use one of these names.
fn guests_elsewhere<'n>(
    people: &HashMap<Identity, Spoken>,
    own: usize,
    names: impl Iterator<Item = &'n str>,
) -> Vec<usize> {
    let mut guests = Vec::new();
    for name in names {
        let guest = Identity { person: name.into(), is_verified: false };
        guests.extend(people.get(&guest).into_iter().flat_map(|spoken| spoken.loops.keys().copied()));
    }
    guests.sort_unstable();
    guests.dedup();
    guests.retain(|at| *at != own);
    guests
}

impl Spoken {
    fn came(&mut self, own: usize, name: &Arc<str>, is_hearing: bool) {
        self.name = Arc::clone(name);
        let (all, hearing) = self.loops.entry(own).or_default();
        *all += 1;
        *hearing += u32::from(is_hearing);
    }

    /// Other servers on which they are.
    fn servers(&self) -> usize {
        self.loops.range(FIRST_NODE..).count()
    }

    fn went(&mut self, own: usize, is_hearing: bool) {
        if let Some((all, hearing)) = self.loops.get_mut(&own) {
            *all -= 1;
            *hearing -= u32::from(is_hearing);
            if *all == 0 {
                self.loops.remove(&own);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, is_verified: bool) -> Identity {
        Identity { person: name.into(), is_verified }
    }

    #[test]
    fn a_name_is_a_guests_or_a_verified_users_on_all_loops() {
        let exchange = Exchange::new(&[]);
        let name: Arc<str> = "Ada".into();
        let (guest, verified) = (user("ada", false), user("ada", true));
        assert!(exchange.enter_guest(0, &guest, (&name, true), &"ada".into()));
        assert!(exchange.enter_guest(2, &guest, (&name, false), &"ada".into()));
        assert!(exchange.elsewhere(1, &guest).is_some_and(|it| it.hearing == [0]));
        assert_eq!(exchange.enter_verified(2, &verified, (&name, true), ["ada", "a"].into_iter()), [0]);
        assert!(!exchange.enter_guest(1, &guest, (&name, true), &"ada".into()));
        assert_eq!(
            (exchange.connections(&guest), exchange.connections(&verified)),
            (Some((0, 2)), Some((2, 1)))
        );
        exchange.exit(0, &guest, true);
        exchange.exit(2, &guest, false);
        assert!(exchange.elsewhere(1, &guest).is_none() && exchange.elsewhere(2, &verified).is_none());
        assert_eq!(exchange.elsewhere(1, &verified).map(|it| it.hearing), Some(vec![2]));
        exchange.exit(2, &verified, true);
        assert!(locked(&exchange.0.people).is_empty());
    }

    #[test]
    fn rooms_are_summed() {
        let exchange = Exchange::new(&[]);
        let room: Arc<str> = "r".into();
        let came = |own: usize, count: usize| {
            let client = format!("c{own}-{count}").into();
            let person = Person { client, user: "u".into(), is_verified: false };
            exchange.came(own, &room, (person, count), 1);
        };
        came(0, 3);
        came(1, 4);
        assert_eq!((exchange.count(0, "r"), exchange.count(2, "r"), exchange.count(0, "s")), (4, 7, 0));
        exchange.went(1, &room, ("c1-4", 0));
        assert_eq!(exchange.forget_room(1, &room).len(), 1);
        assert_eq!(
            (exchange.count(0, "r"), exchange.rooms(1, &NameRange::all(), 9)),
            (0, vec![(room.clone(), 3)])
        );
        exchange.went(0, &room, ("c0-3", 0));
        exchange.set_listed(0, &room, Vec::new());
        assert!(locked(&exchange.0.rooms).is_empty());
    }
}
