//! All rooms: found by name, kept while somebody needs them, put away when their place is needed.

mod audience;
mod branch;
mod notice_pace;
pub(in crate::chat) mod presence;
pub(in crate::chat) mod reads;
mod recent;
pub(in crate::chat) mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Index, IndexMut};
use std::sync::Arc;

use slab::Slab;

pub(in crate::chat) use self::notice_pace::News;
pub(in crate::chat) use self::room::{Kind, Opening, Room, pair_room};
use crate::app::{Context, Millis, TopicId, TopicOptions};
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::limits::Limits;
use crate::chat::wire::command::Omit;
use crate::history::keys::Keys;
use crate::history::{Action, NameRange, Outcome, Proposal, RoomState};
use crate::shards::Shards;

/// Somebody needs a room: it is not put away before this is given back ([`Rooms::release`]).
#[derive(Debug)]
#[must_use = "a hold that is not released keeps its room for good"]
pub(in crate::chat) struct Hold(RoomId);

impl Hold {
    pub(in crate::chat) fn room(&self) -> RoomId {
        self.0
    }
}

/// The rooms that are in memory.
#[derive(Debug, Default)]
pub(in crate::chat) struct Rooms {
    /// Boxed: a slab that grows moves all that it holds.
    slab: Slab<Box<Room>>,
    by_name: Shards<RoomId>,
    /// Those that anyone may join, in the order of their names.
    groups: BTreeMap<Arc<str>, RoomId>,
    by_topic: BTreeMap<TopicId, RoomId>,
    /// Conversations of two, by what each of them is kept under.
    by_user: BTreeMap<Arc<str>, BTreeSet<RoomId>>,
    /// Rooms that nobody needs, the longest forgotten first.
    idle: BTreeMap<u64, RoomId>,
    idle_clock: u64,
    /// Rooms live in memory only, and this begins the names of their histories.
    memory: Option<String>,
    lives: u64,
    /// Bytes of all logs.
    bytes: usize,
    /// Members of all rooms.
    members: usize,
    /// Rooms to be looked at when the tick ends.
    dirty: Vec<RoomId>,
    /// Rooms that were forgotten since the end of the last tick; in memory nobody asks.
    closed: Vec<Arc<str>>,
}

impl Rooms {
    /// Rooms whose histories the authority keeps; with `memory`, which is another one each time, in memory only.
    pub(in crate::chat) fn new(memory: Option<String>) -> Self {
        Self { memory, ..Self::default() }
    }

    pub(in crate::chat) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Bytes of messages and changes in memory, about.
    pub(in crate::chat) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Members of all rooms.
    pub(in crate::chat) fn members(&self) -> usize {
        self.members
    }

    pub(in crate::chat) fn find(&self, name: &str) -> Option<RoomId> {
        self.by_name.get(name).copied()
    }

    pub(in crate::chat) fn of_topic(&self, topic: TopicId) -> Option<RoomId> {
        self.by_topic.get(&topic).copied()
    }

    pub(in crate::chat) fn get(&self, room: RoomId) -> Option<&Room> {
        self.slab.get(room.slot()).map(|room| &**room)
    }

    pub(in crate::chat) fn get_mut(&mut self, room: RoomId) -> Option<&mut Room> {
        self.slab.get_mut(room.slot()).map(|room| &mut **room)
    }

    pub(in crate::chat) fn iter(&self) -> impl Iterator<Item = &Room> {
        self.slab.iter().map(|(_, room)| &**room)
    }

    pub(in crate::chat) fn insert(&mut self, name: &str, kind: Kind) -> RoomId {
        self.lives += 1;
        let name: Arc<str> = name.into();
        let (users, is_group) = (users_of(&kind), kind == Kind::Group);
        let room = match &self.memory {
            Some(memory) => {
                Room::in_memory(Arc::clone(&name), kind, format!("{memory}-{}", self.lives).into())
            }
            None => Room::new(Arc::clone(&name), kind),
        };
        let room = RoomId::of_slot(self.slab.insert(Box::new(room)));
        if is_group {
            self.groups.insert(Arc::clone(&name), room);
        }
        self.by_name.insert(name, room);
        for user in users {
            self.by_user.entry(user).or_default().insert(room);
        }
        room
    }

    /// What comes of a proposal in a room that gives numbers itself.
    pub(in crate::chat) fn propose(
        &mut self,
        room: RoomId,
        proposal: Proposal,
        keys: &mut Keys,
        now: Millis,
    ) -> (Option<Outcome>, Option<Action>) {
        match &mut self.slab[room.slot()].order {
            Some(order) => order.propose(proposal, keys, now),
            None => (None, None),
        }
    }

    /// The rooms that anyone may join, of these names and in their order.
    pub(in crate::chat) fn groups_in(&self, range: &NameRange) -> impl Iterator<Item = &Room> {
        let names = (Bound::Included(&*range.from), Bound::Excluded(&*range.before));
        let is_range = range.from < range.before;
        let found = is_range.then(|| self.groups.range::<str, _>(names)).into_iter().flatten();
        found.filter_map(|(_, room)| self.get(*room))
    }

    /// The conversations of a user that are in memory.
    pub(in crate::chat) fn pairs_of(&self, user: &str) -> impl Iterator<Item = &Room> {
        self.by_user.get(user).into_iter().flatten().filter_map(|room| self.get(*room))
    }

    /// Members of the room who omit these fields can be subscribed to it from now on.
    pub(in crate::chat) fn open_topic<C: Context>(
        &mut self,
        ctx: &mut C,
        room: RoomId,
        omit: Omit,
        options: TopicOptions,
    ) {
        let topic = ctx.create_topic(options);
        self[room].audiences.open(omit, topic);
        self.by_topic.insert(topic, room);
    }

    /// Forgets a room that nobody needs.
    pub(in crate::chat) fn remove<C: Context>(&mut self, ctx: &mut C, room: RoomId) {
        debug_assert!(self[room].is_idle(), "nobody needs it");
        let gone = self.slab.remove(room.slot());
        self.idle.remove(&gone.idle_since);
        self.by_name.remove(gone.name());
        if self.memory.is_none() {
            self.closed.push(Arc::clone(gone.name()));
        }
        self.groups.remove(gone.name());
        for user in users_of(gone.kind()) {
            if let Some(rooms) = self.by_user.get_mut(&user) {
                rooms.remove(&room);
                if rooms.is_empty() {
                    self.by_user.remove(&user);
                }
            }
        }
        self.bytes -= gone.recent().log().bytes();
        for topic in gone.audiences.topics() {
            self.by_topic.remove(&topic);
            ctx.remove_topic(topic);
        }
    }

    /// Somebody needs a room from now on.
    pub(in crate::chat) fn hold(&mut self, room: RoomId) -> Hold {
        self.wake(room);
        self[room].holds += 1;
        Hold(room)
    }

    /// Somebody needs a room no more, so it may rest.
    pub(in crate::chat) fn release<C: Context>(&mut self, ctx: &mut C, hold: Hold) {
        let room = hold.room();
        self.unhold(hold);
        self.rest(ctx, room);
    }

    /// [`Self::release`], where the caller lets the room rest later.
    #[expect(clippy::needless_pass_by_value, reason = "a hold is released once")]
    pub(in crate::chat) fn unhold(&mut self, hold: Hold) {
        self[hold.room()].holds -= 1;
    }

    fn wake(&mut self, room: RoomId) {
        let since = std::mem::take(&mut self[room].idle_since);
        if since > 0 {
            self.idle.remove(&since);
        }
    }

    /// A room may not be needed any more: it can be put away then, and is forgotten at once when nothing was ever said in it.
    pub(in crate::chat) fn rest<C: Context>(&mut self, ctx: &mut C, room: RoomId) {
        let Some(state) = self.get(room).filter(|state| state.is_idle() && state.idle_since == 0) else {
            return;
        };
        if state.recent().is_blank() {
            return self.remove(ctx, room);
        }
        self.idle_clock += 1;
        self[room].idle_since = self.idle_clock;
        self.idle.insert(self.idle_clock, room);
    }

    /// What is known of a room is no more: it is put away where nobody needs it. `false`: somebody does.
    pub(in crate::chat) fn put_away<C: Context>(&mut self, ctx: &mut C, room: RoomId) -> bool {
        let is_idle = self[room].is_idle();
        if is_idle {
            self.remove(ctx, room);
        }
        is_idle
    }

    /// Puts away the room that was left first, of those that nobody needs; `false`: every room is needed.
    pub(in crate::chat) fn put_one_away<C: Context>(&mut self, ctx: &mut C) -> bool {
        let Some(idle) = self.idle.values().next().copied() else { return false };
        self.remove(ctx, idle);
        true
    }

    /// A session becomes a member. Returns its place among the members.
    pub(in crate::chat) fn enter(&mut self, room: RoomId, session: SessionId) -> u32 {
        self.wake(room);
        self.members += 1;
        let members = &mut self[room].members;
        members.push(session);
        members.len() as u32 - 1
    }

    /// The member in this place goes. Returns the one who has the place now, if anybody has.
    pub(in crate::chat) fn leave(&mut self, room: RoomId, position: u32) -> Option<SessionId> {
        self.members -= 1;
        let members = &mut self[room].members;
        members.swap_remove(position as usize);
        members.get(position as usize).copied()
    }

    /// A room must be looked at when the tick ends.
    pub(in crate::chat) fn touch(&mut self, room: RoomId) {
        if self.get_mut(room).is_some_and(Room::mark_dirty) {
            self.dirty.push(room);
        }
    }

    /// The rooms that are to be looked at, now that the tick ends.
    pub(in crate::chat) fn take_dirty(&mut self) -> Vec<RoomId> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|room| self.get_mut(*room).map(Room::mark_clean).is_some());
        dirty
    }

    /// The rooms that were forgotten since the last time. Some may be open again.
    pub(in crate::chat) fn take_closed(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.closed)
    }

    /// A change becomes history. Returns the message that was the newest before it.
    pub(in crate::chat) fn happened(&mut self, room: RoomId, action: &Action) -> u64 {
        let recent = &mut self.slab[room.slot()].recent;
        let before = recent.log().bytes();
        let prev = recent.happened(action);
        self.bytes = self.bytes - before + recent.log().bytes();
        prev
    }

    /// Forgets messages below this one, and what of the log is above its limits.
    pub(in crate::chat) fn trim(&mut self, room: RoomId, below: u64, limits: &Limits) {
        let Room { recent, order, .. } = &mut *self.slab[room.slot()];
        let before = recent.log().bytes();
        recent.trim(below, limits);
        self.bytes = self.bytes - before + recent.log().bytes();
        if let Some(order) = order {
            order.forget_below(recent.first_in_memory());
        }
    }

    /// A room's state is known.
    pub(in crate::chat) fn load(&mut self, room: RoomId, state: RoomState, limits: &Limits) {
        let place = &mut self.slab[room.slot()];
        let before = place.recent.log().bytes();
        place.load(state);
        self.bytes = self.bytes - before + place.recent.log().bytes();
        self.trim(room, 0, limits);
    }

    /// Keeps what all rooms have in memory within its limit. `room`, which has grown, is cut where no other can be put away.
    pub(in crate::chat) fn make_room<C: Context>(&mut self, ctx: &mut C, limits: &Limits, room: RoomId) {
        while self.bytes > limits.all_recent_bytes {
            if !self.put_one_away(ctx) {
                return self.shrink(room);
            }
        }
    }

    /// Keeps the newest message of a room only.
    fn shrink(&mut self, room: RoomId) {
        let Room { recent, order, .. } = &mut *self.slab[room.slot()];
        self.bytes -= recent.log().bytes();
        recent.shrink();
        self.bytes += recent.log().bytes();
        if let Some(order) = order {
            order.forget_below(recent.first_in_memory());
        }
    }

    /// Every counter counts what it says, and every table has what another one has.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn check(&self) {
        let (mut idle, mut groups, mut topics) = (0, 0, 0);
        for (slot, room) in &self.slab {
            room.check();
            let id = RoomId::of_slot(slot);
            assert_eq!(self.find(room.name()), Some(id), "a room is found by its name");
            for topic in room.audiences.topics() {
                topics += 1;
                assert_eq!(self.of_topic(topic), Some(id), "and by its topics");
            }
            if *room.kind() == Kind::Group {
                assert_eq!(room.audiences.members(), room.members.len(), "a member has one topic");
            }
            for user in users_of(room.kind()) {
                assert!(self.by_user.get(&user).is_some_and(|rooms| rooms.contains(&id)), "and by its users");
            }
            if *room.kind() == Kind::Group {
                groups += 1;
                assert_eq!(self.groups.get(room.name()), Some(&id), "and in the list");
            }
            idle += usize::from(room.idle_since > 0);
            assert!(room.idle_since == 0 || self.idle.get(&room.idle_since) == Some(&id));
            assert!(room.idle_since > 0 || !room.is_idle(), "a room that nobody needs can be put away");
            assert!(!room.is_dirty() || self.dirty.contains(&id), "a dirty room is looked at");
        }
        assert_eq!(groups, self.groups.len(), "rooms in the list");
        assert_eq!(topics, self.by_topic.len(), "topics of rooms");
        assert_eq!(idle, self.idle.len(), "idle rooms");
        assert_eq!(self.by_name.len(), self.slab.len(), "names of rooms");
        assert_eq!(
            self.bytes,
            self.iter().map(|room| room.recent().log().bytes()).sum::<usize>(),
            "bytes of all logs"
        );
        assert_eq!(
            self.members,
            self.iter().map(|room| room.members.len()).sum::<usize>(),
            "members of all rooms"
        );
    }

    /// How many hold any room.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn holds(&self) -> usize {
        self.iter().map(|room| room.holds as usize).sum()
    }
}

fn users_of(kind: &Kind) -> Vec<Arc<str>> {
    match kind {
        Kind::Group => Vec::new(),
        Kind::Pair(users) => users.to_vec(),
    }
}

impl Index<RoomId> for Rooms {
    type Output = Room;

    fn index(&self, room: RoomId) -> &Room {
        &self.slab[room.slot()]
    }
}

impl IndexMut<RoomId> for Rooms {
    fn index_mut(&mut self, room: RoomId) -> &mut Room {
        &mut self.slab[room.slot()]
    }
}
