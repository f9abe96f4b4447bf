//! Who on this loop is told how much of which rooms they have not read: users who asked for their rooms, whatever they have joined.
//!
//! A message or a deletion marks its room, which costs a look-up where anybody watches and nothing where nobody does. A round counts
//! the rooms that are marked, once for all who watch one, and collects what each user is told; the next round begins no earlier
//! than [`Limits::unread_ms`](super::Limits::unread_ms) after it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::app::{ConnId, Millis};
use crate::chat::rooms::News;

/// Read marks of a user that are remembered here; above it all are forgotten, and those of the history count.
const MAX_MARKS: usize = 4096;
/// Rooms that change while users come who will watch; above it all rooms of theirs are counted.
const MAX_CHANGED: usize = 4096;
/// Users for whom a room is counted at once.
pub(in crate::chat) const UNREAD_READERS: usize = 256;

/// What somebody is told of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) struct Count {
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) read: u64,
    pub(in crate::chat) unread: u64,
}

/// What a user is told, by room.
pub(in crate::chat) type Told = Vec<(Arc<str>, Count)>;

/// A user who watches, on one or several connections.
#[derive(Debug, Default)]
struct Watcher {
    conns: Vec<ConnId>,
    /// The rooms that the user has subscribed to; conversations of two are always watched.
    rooms: BTreeSet<Arc<str>>,
    /// Read marks that the history may not know yet.
    marks: HashMap<Arc<str>, u64>,
    /// What will be told.
    untold: BTreeMap<Arc<str>, Count>,
}

/// A room that is to be counted for these users.
#[derive(Debug)]
pub(in crate::chat) struct Task {
    pub(in crate::chat) room: Arc<str>,
    pub(in crate::chat) users: Vec<Arc<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::chat) struct Watch {
    watchers: BTreeMap<Arc<str>, Watcher>,
    /// Who watches a room that users have subscribed to.
    by_room: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Rooms that the next round counts.
    marked: BTreeSet<Arc<str>>,
    /// What this round still has to count.
    tasks: VecDeque<Task>,
    /// Counts that the history has not answered with.
    in_flight: usize,
    /// Users who are told something.
    ready: VecDeque<Arc<str>>,
    next_at: Millis,
    is_timed: bool,
    /// Lists that are asked for, and the rooms that changed meanwhile; `None`: too many.
    listing: usize,
    changed: Option<BTreeSet<Arc<str>>>,
}

impl Watch {
    /// Nobody watches: nothing need be noted.
    pub(in crate::chat) fn is_idle(&self) -> bool {
        self.watchers.is_empty()
    }

    // ---- who watches what

    /// A connection of a user watches from now on. The rooms come with [`Self::listed`].
    pub(in crate::chat) fn begin(&mut self, user: &Arc<str>, conn: ConnId) {
        let watcher = self.watchers.entry(Arc::clone(user)).or_default();
        if !watcher.conns.contains(&conn) {
            watcher.conns.push(conn);
        }
    }

    /// A list of somebody's rooms is asked for.
    pub(in crate::chat) fn list_asked(&mut self) {
        if self.listing == 0 {
            self.changed = Some(BTreeSet::new());
        }
        self.listing += 1;
    }

    /// The list has come, or will not. Rooms that changed meanwhile are counted. Returns the rooms that nobody watched before.
    pub(in crate::chat) fn listed(&mut self, user: &Arc<str>, rooms: &[Arc<str>]) -> Vec<Arc<str>> {
        self.listing -= 1;
        if !self.watchers.contains_key(user) {
            return Vec::new();
        }
        let added: Vec<Arc<str>> = rooms.iter().filter(|room| self.add(user, room)).cloned().collect();
        let changed = |room: &&Arc<str>| self.changed.as_ref().is_none_or(|changed| changed.contains(*room));
        self.marked.extend(rooms.iter().filter(changed).cloned());
        if let Some(changed) = &self.changed {
            self.marked.extend(changed.iter().filter(|room| is_of(room, user)).cloned());
        }
        added
    }

    /// A user watches a room from now on; `true`: nobody did before.
    fn add(&mut self, user: &Arc<str>, room: &Arc<str>) -> bool {
        let Some(watcher) = self.watchers.get_mut(user) else { return false };
        // One name serves all who watch the room.
        let room = self.by_room.get_key_value(room).map_or(room, |(known, _)| known);
        watcher.rooms.insert(Arc::clone(room));
        let users = self.by_room.entry(Arc::clone(room)).or_default();
        users.insert(Arc::clone(user));
        users.len() == 1
    }

    /// A user has subscribed to a room. Returns whether nobody here watched it before.
    pub(in crate::chat) fn subscribed(&mut self, user: &Arc<str>, room: &Arc<str>) -> bool {
        let is_new = self.add(user, room);
        if self.watchers.contains_key(user) {
            self.marked.insert(Arc::clone(room));
        }
        is_new
    }

    /// A user watches a room no more. Returns whether nobody here does.
    pub(in crate::chat) fn unsubscribed(&mut self, user: &Arc<str>, room: &Arc<str>) -> bool {
        if let Some(watcher) = self.watchers.get_mut(user) {
            watcher.rooms.remove(room);
            watcher.untold.remove(room);
        }
        let Some(users) = self.by_room.get_mut(room) else { return false };
        let was_there = users.remove(user);
        if users.is_empty() {
            self.by_room.remove(room);
            return was_there;
        }
        false
    }

    /// A connection is gone. Returns the rooms that nobody watches any more.
    pub(in crate::chat) fn end(&mut self, user: &Arc<str>, conn: ConnId) -> Vec<Arc<str>> {
        let Some(watcher) = self.watchers.get_mut(user) else { return Vec::new() };
        watcher.conns.retain(|other| *other != conn);
        if !watcher.conns.is_empty() {
            return Vec::new();
        }
        let rooms = std::mem::take(&mut watcher.rooms);
        let gone = rooms.into_iter().filter(|room| self.unsubscribed(user, room)).collect();
        self.watchers.remove(user);
        if self.watchers.is_empty() {
            self.marked.clear();
        }
        gone
    }

    /// Whether somebody watches a room that has to be subscribed to.
    pub(in crate::chat) fn is_watched(&self, room: &str) -> bool {
        self.by_room.contains_key(room)
    }

    /// The connections of a user that watch.
    pub(in crate::chat) fn conns(&self, user: &str) -> Vec<ConnId> {
        self.watchers.get(user).map(|watcher| watcher.conns.clone()).unwrap_or_default()
    }

    // ---- what happens

    /// Something has happened in a room that may change what somebody has not read.
    pub(in crate::chat) fn mark(&mut self, room: &Arc<str>) {
        if self.watches(room) {
            self.marked.insert(Arc::clone(room));
        }
        if self.listing > 0
            && let Some(changed) = &mut self.changed
        {
            changed.insert(Arc::clone(room));
            if changed.len() > MAX_CHANGED {
                self.changed = None;
            }
        }
    }

    fn watches(&self, room: &str) -> bool {
        match pair_of(room) {
            Some((a, b)) => self.watchers.contains_key(a) || self.watchers.contains_key(b),
            None => self.by_room.contains_key(room),
        }
    }

    /// A user has read up to here.
    pub(in crate::chat) fn read(&mut self, user: &str, room: &Arc<str>, seq: u64) {
        let Some(watcher) = self.watchers.get_mut(user) else { return };
        if !watcher.rooms.contains(room) && !is_of(room, user) {
            return;
        }
        if watcher.marks.len() >= MAX_MARKS {
            watcher.marks.clear();
        }
        let mark = watcher.marks.entry(Arc::clone(room)).or_default();
        *mark = seq.max(*mark);
        self.marked.insert(Arc::clone(room));
    }

    /// The last message of a room that a user has read, as far as that is known here.
    pub(in crate::chat) fn read_of(&self, user: &str, room: &str) -> u64 {
        let watcher = self.watchers.get(user);
        watcher.and_then(|watcher| watcher.marks.get(room)).copied().unwrap_or(0)
    }

    // ---- rounds

    /// A round begins where there is something to count and it is time for one; else the time of the next one, for which a timer must
    /// be set.
    pub(in crate::chat) fn begin_round(&mut self, now: Millis, every: Millis) -> News<()> {
        if self.is_busy() || self.marked.is_empty() {
            return Err(None);
        }
        if now < self.next_at {
            return Err((!std::mem::replace(&mut self.is_timed, true)).then_some(self.next_at));
        }
        self.next_at = now + every;
        for room in std::mem::take(&mut self.marked) {
            let users: Vec<Arc<str>> = match pair_of(&room) {
                Some((a, b)) => {
                    let other = (a != b).then_some(b);
                    let pair = std::iter::once(a).chain(other);
                    pair.filter(|user| self.watchers.contains_key(*user)).map(Arc::from).collect()
                }
                None => self.by_room.get(&room).into_iter().flatten().cloned().collect(),
            };
            for users in users.chunks(UNREAD_READERS) {
                self.tasks.push_back(Task { room: Arc::clone(&room), users: users.to_vec() });
            }
        }
        Ok(())
    }

    /// The timer has fired.
    pub(in crate::chat) fn timer_fired(&mut self) {
        self.is_timed = false;
    }

    /// Whether a timer must be set for what is left of a round; one is set from now on.
    pub(in crate::chat) fn needs_timer(&mut self) -> bool {
        let has_more = self.in_flight == 0 && (!self.tasks.is_empty() || !self.ready.is_empty());
        has_more && !std::mem::replace(&mut self.is_timed, true)
    }

    /// A round is under way.
    fn is_busy(&self) -> bool {
        !self.tasks.is_empty() || self.in_flight > 0 || !self.ready.is_empty()
    }

    /// The next room to count; at most so many are counted at a time.
    pub(in crate::chat) fn next_task(&mut self, most: usize) -> Option<Task> {
        if self.in_flight >= most { None } else { self.tasks.pop_front() }
    }

    /// A room cannot be counted now.
    pub(in crate::chat) fn put_back(&mut self, task: Task) {
        self.tasks.push_front(task);
    }

    /// The history is asked for a count.
    pub(in crate::chat) fn asked(&mut self) {
        self.in_flight += 1;
    }

    /// It has answered.
    pub(in crate::chat) fn answered(&mut self) {
        self.in_flight -= 1;
    }

    /// A room could not be counted: the next round tries again.
    pub(in crate::chat) fn failed(&mut self, room: &Arc<str>) {
        if self.watches(room) {
            self.marked.insert(Arc::clone(room));
        }
    }

    /// A count, for somebody who may be gone.
    pub(in crate::chat) fn counted(&mut self, user: &Arc<str>, room: &Arc<str>, count: Count) {
        let Some(watcher) = self.watchers.get_mut(user) else { return };
        if !watcher.rooms.contains(room) && !is_of(room, user) {
            return;
        }
        if watcher.untold.is_empty() {
            self.ready.push_back(Arc::clone(user));
        }
        watcher.untold.insert(Arc::clone(room), count);
    }

    /// The next user who is told something, once everything is counted: at most so many rooms at a time.
    pub(in crate::chat) fn next_told(&mut self, most: usize) -> Option<(Arc<str>, Told)> {
        if !self.tasks.is_empty() || self.in_flight > 0 {
            return None;
        }
        while let Some(user) = self.ready.pop_front() {
            let Some(watcher) = self.watchers.get_mut(&user) else { continue };
            let mut told = Vec::new();
            while told.len() < most
                && let Some(count) = watcher.untold.pop_first()
            {
                told.push(count);
            }
            if !watcher.untold.is_empty() {
                self.ready.push_front(Arc::clone(&user));
            }
            if !told.is_empty() {
                return Some((user, told));
            }
        }
        None
    }

    /// Every table has what another one has.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn check(&self) {
        let watched: usize = self.watchers.values().map(|watcher| watcher.rooms.len()).sum();
        assert_eq!(watched, self.by_room.values().map(BTreeSet::len).sum::<usize>(), "who watches what");
        assert!(self.watchers.values().all(|watcher| !watcher.conns.is_empty()), "who watches is here");
    }
}

/// The two of a conversation.
fn pair_of(room: &str) -> Option<(&str, &str)> {
    room.strip_prefix('@')?.split_once('\n')
}

/// Whether a room is a conversation of this user.
fn is_of(room: &str, user: &str) -> bool {
    pair_of(room).is_some_and(|(a, b)| a == user || b == user)
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;

    use super::*;

    const USERS: u32 = 1000;
    const ROOMS: u32 = 1000;

    fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    #[test]
    fn a_thousand_users_who_watch_a_thousand_rooms_take_64_kib_each() {
        let mut watch = Watch::default();
        let measured = measure(|| {
            for index in 0..USERS {
                let user: Arc<str> = format!("user {index}").into();
                watch.begin(&user, conn(index));
                watch.list_asked();
                // As the history returns them: each list has names of its own.
                let rooms: Vec<Arc<str>> = (0..ROOMS).map(|room| format!("room-{room}").into()).collect();
                let added = watch.listed(&user, &rooms);
                assert_eq!(added.len() as u32, if index == 0 { ROOMS } else { 0 });
            }
        });
        let each = measured.bytes_current / i64::from(USERS);
        println!("{each} bytes each of {USERS} users who watch {ROOMS} rooms");
        assert!(each <= 64 * 1024, "{each}");
        for index in 0..USERS {
            let gone = watch.end(&format!("user {index}").into(), conn(index));
            assert_eq!(gone.len() as u32, if index + 1 == USERS { ROOMS } else { 0 });
        }
        assert!(watch.is_idle() && watch.by_room.is_empty());
    }

    #[test]
    fn a_round_counts_each_room_once_for_so_many_users_and_the_next_one_waits() {
        let mut watch = Watch::default();
        let room: Arc<str> = "r".into();
        for index in 0..300 {
            let user: Arc<str> = format!("user {index}").into();
            watch.begin(&user, conn(index));
            assert_eq!(watch.subscribed(&user, &room), index == 0);
        }
        for _ in 0..1000 {
            watch.mark(&room);
        }
        watch.mark(&"other".into());
        assert_eq!(watch.begin_round(5000, 1000), Ok(()));
        let tasks = [watch.next_task(2), watch.next_task(2), watch.next_task(2)];
        let users: Vec<usize> = tasks.iter().flatten().map(|task| task.users.len()).collect();
        assert_eq!(users, [UNREAD_READERS, 300 - UNREAD_READERS]);
        let count = Count { seq: 1, read: 0, unread: 1 };
        for task in tasks.into_iter().flatten() {
            for user in &task.users {
                watch.counted(user, &task.room, count);
            }
        }
        let mut told = 0;
        while let Some((_, rooms)) = watch.next_told(9) {
            assert_eq!(rooms, [(Arc::clone(&room), count)]);
            told += 1;
        }
        assert_eq!(told, 300);
        watch.mark(&room);
        assert_eq!(watch.begin_round(5500, 1000), Err(Some(6000)), "a timer is set once");
        assert_eq!(watch.begin_round(5600, 1000), Err(None));
        watch.timer_fired();
        assert_eq!(watch.begin_round(6000, 1000), Ok(()));
    }
}
