//! All rooms: found by name, put away when nobody needs them.

pub(in crate::chat) mod log;
pub(in crate::chat) mod presence;
pub(in crate::chat) mod reads;
pub(in crate::chat) mod room;
pub(in crate::chat) mod stamp;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use slab::Slab;

pub(in crate::chat) use self::room::{Kind, Phase, Room};
use crate::app::TopicId;
use crate::chat::limits::Limits;
use crate::chat::shards::Shards;

/// The rooms that are in memory.
#[derive(Debug, Default)]
pub(in crate::chat) struct Rooms {
    /// Boxed: a slab that grows moves all that it holds.
    slab: Slab<Box<Room>>,
    by_name: Shards<u32>,
    by_topic: BTreeMap<TopicId, u32>,
    /// Conversations of two, by what each of them is kept under.
    by_user: BTreeMap<Arc<str>, BTreeSet<u32>>,
    /// Rooms that nobody is in, the longest forgotten first.
    idle: BTreeMap<u64, u32>,
    idle_clock: u64,
    lives: u64,
    /// Bytes of all logs.
    pub(in crate::chat) bytes: usize,
    pub(in crate::chat) members: usize,
}

impl Rooms {
    pub(in crate::chat) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(in crate::chat) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(in crate::chat) fn of_topic(&self, topic: TopicId) -> Option<u32> {
        self.by_topic.get(&topic).copied()
    }

    pub(in crate::chat) fn get(&self, room: u32) -> Option<&Room> {
        self.slab.get(room as usize).map(|room| &**room)
    }

    pub(in crate::chat) fn get_mut(&mut self, room: u32) -> Option<&mut Room> {
        self.slab.get_mut(room as usize).map(|room| &mut **room)
    }

    pub(in crate::chat) fn iter(&self) -> impl Iterator<Item = &Room> {
        self.slab.iter().map(|(_, room)| &**room)
    }

    pub(in crate::chat) fn insert(&mut self, name: &str, kind: Kind, phase: Phase) -> u32 {
        self.lives += 1;
        let name: Arc<str> = name.into();
        let users = users_of(&kind);
        let room = self.slab.insert(Box::new(Room::new(Arc::clone(&name), kind, phase, self.lives))) as u32;
        self.by_name.insert(name, room);
        for user in users {
            self.by_user.entry(user).or_default().insert(room);
        }
        room
    }

    /// The conversations of a user that are in memory.
    pub(in crate::chat) fn pairs_of(&self, user: &str) -> impl Iterator<Item = &Room> {
        self.by_user.get(user).into_iter().flatten().filter_map(|room| self.get(*room))
    }

    pub(in crate::chat) fn set_topic(&mut self, room: u32, topic: TopicId) {
        self[room].topic = Some(topic);
        self.by_topic.insert(topic, room);
    }

    /// Forgets a room that is idle; gives its topic, which is to be removed.
    pub(in crate::chat) fn remove(&mut self, room: u32) -> Option<TopicId> {
        let gone = self.slab.remove(room as usize);
        self.idle.remove(&gone.idle_since);
        self.by_name.remove(&gone.name);
        for user in users_of(&gone.kind) {
            if let Some(rooms) = self.by_user.get_mut(&user) {
                rooms.remove(&room);
                if rooms.is_empty() {
                    self.by_user.remove(&user);
                }
            }
        }
        self.bytes -= gone.log.bytes();
        if let Some(topic) = gone.topic {
            self.by_topic.remove(&topic);
        }
        gone.topic
    }

    /// Somebody needs a room.
    pub(in crate::chat) fn wake(&mut self, room: u32) {
        let since = std::mem::take(&mut self[room].idle_since);
        if since > 0 {
            self.idle.remove(&since);
        }
    }

    /// Somebody needs a room no more. `true`: it can be forgotten at once, for nothing is in it.
    pub(in crate::chat) fn rest(&mut self, room: u32) -> bool {
        if !self[room].is_idle() || self[room].idle_since > 0 {
            return false;
        }
        if self[room].is_blank() {
            return true;
        }
        self.idle_clock += 1;
        self[room].idle_since = self.idle_clock;
        self.idle.insert(self.idle_clock, room);
        false
    }

    /// The room that was left first, of those that nobody is in.
    pub(in crate::chat) fn longest_idle(&self) -> Option<u32> {
        self.idle.values().next().copied()
    }

    /// Keeps a log within its limits, after something was done to it.
    pub(in crate::chat) fn settle_log(&mut self, room: u32, before: usize, limits: &Limits) {
        let log = &mut self.slab[room as usize].log;
        log.trim(limits);
        self.bytes = self.bytes - before + log.bytes();
    }

    /// Whether there is more in memory than may be.
    pub(in crate::chat) fn is_above(&self, limits: &Limits) -> bool {
        self.bytes > limits.all_recent_bytes
    }

    /// Keeps the newest message of a room only.
    pub(in crate::chat) fn shrink(&mut self, room: u32) {
        let log = &mut self.slab[room as usize].log;
        self.bytes -= log.bytes();
        log.shrink();
        self.bytes += log.bytes();
    }
}

fn users_of(kind: &Kind) -> Vec<Arc<str>> {
    match kind {
        Kind::Group => Vec::new(),
        Kind::Pair(users) => users.to_vec(),
    }
}

impl Index<u32> for Rooms {
    type Output = Room;

    fn index(&self, room: u32) -> &Room {
        &self.slab[room as usize]
    }
}

impl IndexMut<u32> for Rooms {
    fn index_mut(&mut self, room: u32) -> &mut Room {
        &mut self.slab[room as usize]
    }
}
