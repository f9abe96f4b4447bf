//! What a callback can reach: every connection's state, the tick's output, topics and timers, but no socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use slab::Slab;

use super::Config;
use super::entry::{Ending, Entry, Phase};
use super::outbox::{Chain, Outbox};
use super::topics::{Joined, Membership, Piece, Topic};
use super::wheel::Wheel;
use crate::app::{CloseReason, ConnId, Context, Now, Outgoing, TopicId};
use crate::proto::{
    CloseCode, DeflatePool, Encoding, MAX_FRAME_HEADER_LEN, MaskingKeys, MessageKind, Millis, Opcode,
    ProtoConfig, SendError, write_frame,
};

/// A timer of the application's: when, in which order it was set, its token.
type AppTimer = Reverse<(Millis, u64, u64)>;

/// What one tick may encode for single connections when it publishes, in bytes: with context takeover every receiver
/// costs a copy. Whom it is too much for is closed as a slow consumer.
const MAX_OUTBOX_LEN: usize = 1 << 30;

/// The state of the loop without its sockets and its application.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) proto: Arc<ProtoConfig>,
    /// What connections that compress without context takeover share.
    pub(super) deflate: DeflatePool,
    pub(super) now: Now,
    pub(super) table: Slab<Entry>,
    pub(super) outbox: Outbox,
    /// Connections with something to write or to look at.
    pub(super) dirty: Vec<u32>,
    pub(super) topics: Slab<Topic>,
    pub(super) dirty_topics: Vec<u32>,
    pub(super) wheel: Wheel,
    pub(super) app_timers: BinaryHeap<AppTimer>,
    /// `on_close` is owed to these.
    pub(super) closed: Vec<(ConnId, CloseReason)>,
    /// Their phase is `Ending`: the TCP connection is to be taken a step further.
    pub(super) ended: Vec<u32>,
    /// Reading or writing failed: nothing more can be exchanged with these.
    pub(super) broken: Vec<u32>,
    /// To be read again without a new event.
    pub(super) resume: Vec<ConnId>,
    pub(super) tick: u32,
    /// Bytes kept of all unfinished messages and of input that waits.
    pub(super) unfinished: usize,
    /// Input of connections that hold some.
    pub(super) held: BTreeMap<u32, Vec<u8>>,
    timers_set: u64,
    random: MaskingKeys,
}

impl Core {
    pub(super) fn new(config: Config, seed: u64, now: Now) -> Self {
        Self {
            deflate: DeflatePool::new(&config.proto),
            proto: Arc::new(config.proto.clone()),
            config,
            now,
            table: Slab::new(),
            outbox: Outbox::default(),
            dirty: Vec::new(),
            topics: Slab::new(),
            dirty_topics: Vec::new(),
            wheel: Wheel::new(),
            app_timers: BinaryHeap::new(),
            closed: Vec::new(),
            ended: Vec::new(),
            broken: Vec::new(),
            resume: Vec::new(),
            tick: 0,
            unfinished: 0,
            held: BTreeMap::new(),
            timers_set: 0,
            random: MaskingKeys::Seeded(seed),
        }
    }

    /// The entry that a handle names, unless that connection is gone.
    #[inline]
    pub(super) fn entry(&mut self, conn: ConnId) -> Option<&mut Entry> {
        self.table.get_mut(conn.index as usize).filter(|entry| entry.generation == conn.generation)
    }

    /// Gives the octets encoded since `start` to a connection: the one place that marks it dirty for writing.
    #[inline]
    pub(super) fn wrote(&mut self, index: u32, start: usize) {
        if self.outbox.len() == start {
            return;
        }
        let entry = &mut self.table[index as usize];
        self.outbox.attach(&mut entry.chain, start);
        if !entry.flags.dirty {
            entry.flags.dirty = true;
            self.dirty.push(index);
        }
    }

    pub(super) fn arm(&mut self, index: u32) {
        if let Some(deadline) = self.table[index as usize].deadline() {
            self.wheel.arm(index, deadline);
        }
    }

    /// Ends a connection towards the application, once; the TCP connection follows in `settle`.
    pub(super) fn finish(&mut self, index: u32, reason: CloseReason, ending: Ending) {
        let until = self.now.monotonic_ms + self.proto.timeouts.close_ms;
        self.leave_all_topics(index);
        let entry = &mut self.table[index as usize];
        let until = match entry.phase {
            // The closing handshake and the linger share one deadline.
            Phase::Open(_) if entry.local_reason.is_some() => entry.deadline().unwrap_or(until).min(until),
            Phase::Ending { until, .. } => until,
            _ => until,
        };
        if let Phase::Open(_) = entry.phase {
            let conn = ConnId { index, generation: entry.generation };
            let reason = entry.local_reason.take().map_or(reason, |reason| *reason);
            self.closed.push((conn, reason));
        }
        self.unfinished -= std::mem::take(&mut entry.unfinished);
        let holds = entry.flags.holds;
        entry.phase = Phase::Ending { ending, until };
        self.ended.push(index);
        self.wheel.arm(index, until);
        if holds {
            self.take_held(index);
        }
    }

    /// Takes the input that a connection holds, and out of the count.
    pub(super) fn take_held(&mut self, index: u32) -> Vec<u8> {
        self.table[index as usize].flags.holds = false;
        let held = self.held.remove(&index).unwrap_or_default();
        self.unfinished -= held.len();
        held
    }

    /// The peer sent FIN: it will not send more, so there is no one left to serve. Answers to what it sent before
    /// still go out.
    pub(super) fn peer_ended(&mut self, index: u32) {
        match &mut self.table[index as usize].phase {
            Phase::Ending { ending: ending @ (Ending::Linger | Ending::HalfClose), .. } => {
                *ending = Ending::Drop;
                self.ended.push(index);
            }
            Phase::Ending { .. } => {}
            _ => self.finish(index, CloseReason::Disconnected, Ending::Drop),
        }
    }

    /// The TCP connection failed: what was queued is void.
    pub(super) fn break_off(&mut self, index: u32) {
        self.finish(index, CloseReason::Disconnected, Ending::Drop);
        self.give_up_now(index);
    }

    /// Lets the TCP connection end at the next settling, written or not.
    pub(super) fn give_up_now(&mut self, index: u32) {
        self.table[index as usize].phase = Phase::Ending { ending: Ending::Drop, until: 0 };
    }

    /// Counts what a connection keeps of an unfinished message and arms its deadline. `false`: the budget is used up.
    pub(super) fn note_unfinished(&mut self, index: u32) -> bool {
        let entry = &mut self.table[index as usize];
        let Phase::Open(connection) = &entry.phase else { return true };
        if !connection.is_mid_message() && entry.unfinished == 0 {
            return true;
        }
        let len = connection.unfinished_len();
        let grew = len > entry.unfinished;
        self.unfinished = self.unfinished - entry.unfinished + len;
        entry.unfinished = len;
        self.arm(index);
        !grew || self.unfinished <= self.config.max_unfinished
    }

    /// Lets a connection be read in the next tick.
    pub(super) fn resume_later(&mut self, index: u32) {
        let entry = &mut self.table[index as usize];
        if !std::mem::replace(&mut entry.flags.resumes, true) {
            self.resume.push(ConnId { index, generation: entry.generation });
        }
    }

    /// Whether `settle` has nothing left to do.
    pub(super) fn is_settled(&self) -> bool {
        self.dirty.is_empty()
            && self.dirty_topics.is_empty()
            && self.closed.is_empty()
            && self.ended.is_empty()
            && self.broken.is_empty()
    }

    /// Bytes that wait for a connection, those of this tick included.
    pub(super) fn queued_len(&self, index: u32) -> usize {
        let entry = &self.table[index as usize];
        let queued: u32 = self.outbox.segments(entry.chain).map(|segment| segment.end - segment.start).sum();
        entry.backlog_len() + queued as usize
    }

    /// Begins the closing handshake for a reason of ours.
    pub(super) fn close_for(&mut self, conn: ConnId, reason: CloseReason, text: &str) {
        let now = self.now.monotonic_ms;
        let start = self.outbox.len();
        let Some(entry) = self.table.get_mut(conn.index as usize) else { return };
        if entry.generation != conn.generation || entry.local_reason.is_some() {
            return;
        }
        let Phase::Open(connection) = &mut entry.phase else { return };
        connection.close(reason.code(), text, now, &mut self.outbox.bytes);
        entry.local_reason = Some(Box::new(reason));
        self.wrote(conn.index, start);
        self.leave_all_topics(conn.index);
        self.arm(conn.index);
    }

    fn leave_all_topics(&mut self, index: u32) {
        while let Some(membership) = self.table[index as usize].memberships.last().copied() {
            self.leave(index, membership);
        }
    }

    /// Takes a connection out of a topic; what this tick published before is kept for it.
    fn leave(&mut self, index: u32, membership: Membership) {
        self.keep_pieces(index, &membership);
        let topic = &mut self.topics[membership.topic as usize];
        topic.members.swap_remove(membership.position as usize);
        let moved = topic.members.get(membership.position as usize).copied();
        self.table[index as usize].memberships.retain(|other| other.topic != membership.topic);
        if let Some(moved) = moved {
            for other in &mut self.table[moved as usize].memberships {
                if other.topic == membership.topic {
                    other.position = membership.position;
                }
            }
        }
    }

    /// Copies the pieces that a leaving member is still to get into its chain, each in its place.
    fn keep_pieces(&mut self, index: u32, membership: &Membership) {
        let topic = &self.topics[membership.topic as usize];
        let entry = &mut self.table[index as usize];
        for piece in &topic.pieces[membership.first_piece(self.tick)..] {
            if piece.except == Some(index) {
                continue;
            }
            let start = self.outbox.bytes.len();
            self.outbox.bytes.extend_from_slice(&topic.batch[piece.start as usize..piece.end as usize]);
            self.outbox.attach_at(&mut entry.chain, start, piece.order);
            entry.flags.special = true;
            if !entry.flags.dirty {
                entry.flags.dirty = true;
                self.dirty.push(index);
            }
        }
    }

    /// Forgets the tick after everything was written or moved to backlogs.
    pub(super) fn clear_tick(&mut self) {
        self.outbox.clear();
        while let Some(topic) = self.dirty_topics.pop() {
            self.topics[topic as usize].clear();
            if self.topics[topic as usize].is_removed {
                self.forget_topic(topic);
            }
        }
        self.tick = self.tick.wrapping_add(1);
    }

    fn forget_topic(&mut self, topic: u32) {
        for member in self.topics.remove(topic as usize).members {
            self.table[member as usize].memberships.retain(|other| other.topic != topic);
        }
    }

    /// Takes a connection out of the table.
    pub(super) fn remove(&mut self, index: u32) {
        debug_assert!(self.table[index as usize].memberships.is_empty());
        self.wheel.cancel(index);
        self.table.remove(index as usize);
    }

    pub(super) fn insert(&mut self, generation: u32, phase: Phase) -> ConnId {
        let index = self.table.insert(Entry {
            generation,
            phase,
            chain: Chain::EMPTY,
            backlog: None,
            memberships: Vec::new(),
            local_reason: None,
            unfinished: 0,
            flags: super::entry::Flags::default(),
        }) as u32;
        self.arm(index);
        ConnId { index, generation }
    }

    /// The variant of a topic for subscribers of an encoding; the first of them makes it.
    fn variant_for(&mut self, topic: u32, encoding: Encoding) -> u32 {
        self.topics[topic as usize].variant(topic, encoding).unwrap_or_else(|| {
            let variant = self.topics.insert(Topic::default()) as u32;
            self.topics[topic as usize].variants.push((encoding, variant));
            variant
        })
    }

    /// Encodes a message once for all members of a topic or variant but `except`; gives their number.
    fn publish_to(
        &mut self,
        topic: u32,
        encoding: Encoding,
        order: u32,
        message: Outgoing<'_>,
        except: Option<ConnId>,
    ) -> usize {
        let state = &mut self.topics[topic as usize];
        if state.members.is_empty() {
            return 0;
        }
        let except = except
            .filter(|conn| {
                self.table.get(conn.index as usize).is_some_and(|e| e.generation == conn.generation)
            })
            .map(|conn| conn.index)
            .filter(|&index| self.table[index as usize].memberships.iter().any(|m| m.topic == topic));
        if let Some(index) = except {
            let flags = &mut self.table[index as usize].flags;
            flags.special = true;
            if !flags.dirty {
                flags.dirty = true;
                self.dirty.push(index);
            }
        }
        if state.pieces.is_empty() {
            self.dirty_topics.push(topic);
        }
        let batch = state.batch_mut();
        let start = batch.len() as u32;
        if let Encoding::Shared(window_bits) = encoding {
            self.deflate.write_message(window_bits, message, batch);
        } else {
            let opcode = match message.kind() {
                MessageKind::Text => Opcode::Text,
                MessageKind::Binary => Opcode::Binary,
            };
            write_frame(batch, true, opcode, message.payload(), None);
        }
        let end = batch.len() as u32;
        debug_assert!((end - start) as usize <= message.payload().len() + MAX_FRAME_HEADER_LEN);
        state.pieces.push(Piece { order, start, end, except });
        state.members.len() - usize::from(except.is_some())
    }

    /// Encodes a message for each member by itself: with context takeover no two get the same octets.
    fn publish_to_each(&mut self, topic: u32, message: Outgoing<'_>, except: Option<ConnId>) -> usize {
        let members = std::mem::take(&mut self.topics[topic as usize].members);
        let mut receivers = 0;
        let mut too_much = Vec::new();
        for &index in &members {
            let start = self.outbox.len();
            let entry = &mut self.table[index as usize];
            let conn = ConnId { index, generation: entry.generation };
            let Phase::Open(connection) = &mut entry.phase else { continue };
            if except == Some(conn) {
                continue;
            }
            if start + message.payload().len() > MAX_OUTBOX_LEN {
                too_much.push(conn);
            } else if connection.encode(message, &mut self.outbox.bytes).is_ok() {
                self.wrote(index, start);
                receivers += 1;
            }
        }
        self.topics[topic as usize].members = members;
        for conn in too_much {
            self.close_for(conn, CloseReason::SlowConsumer, "slow consumer");
        }
        receivers
    }

    /// Takes a timer of the application's that is due.
    pub(super) fn pop_app_timer(&mut self) -> Option<u64> {
        match self.app_timers.peek() {
            Some(Reverse((at, ..))) if *at <= self.now.monotonic_ms => {}
            _ => return None,
        }
        self.app_timers.pop().map(|Reverse((.., token))| token)
    }
}

impl Context for Core {
    fn now(&self) -> Now {
        self.now
    }

    fn random(&mut self) -> u64 {
        let mut half = || u64::from(u32::from_le_bytes(self.random.next_key()));
        half() << 32 | half()
    }

    #[inline]
    fn send(&mut self, conn: ConnId, message: Outgoing<'_>) -> Result<(), SendError> {
        let start = self.outbox.len();
        let entry = self.table.get_mut(conn.index as usize).ok_or(SendError::NotOpen)?;
        match &mut entry.phase {
            Phase::Open(connection) if entry.generation == conn.generation => {
                connection.encode(message, &mut self.outbox.bytes)?;
            }
            _ => return Err(SendError::NotOpen),
        }
        self.wrote(conn.index, start);
        Ok(())
    }

    fn send_fragment(
        &mut self,
        conn: ConnId,
        fragment: Outgoing<'_>,
        is_last: bool,
    ) -> Result<(), SendError> {
        let start = self.outbox.len();
        let entry = self.table.get_mut(conn.index as usize).ok_or(SendError::NotOpen)?;
        let is_member = !entry.memberships.is_empty();
        match &mut entry.phase {
            Phase::Open(_) if is_member => return Err(SendError::MessageUnfinished),
            Phase::Open(connection) if entry.generation == conn.generation => {
                connection.encode_fragment(fragment, is_last, &mut self.outbox.bytes)?;
            }
            _ => return Err(SendError::NotOpen),
        }
        self.wrote(conn.index, start);
        Ok(())
    }

    fn publish(&mut self, topic: TopicId, message: Outgoing<'_>, except: Option<ConnId>) -> usize {
        let order = self.outbox.next_order();
        let Some(state) = self.topics.get(topic.0 as usize).filter(|state| !state.is_removed) else {
            return 0;
        };
        let variants = state.variants.len();
        let mut receivers = self.publish_to(topic.0, Encoding::Plain, order, message, except);
        for at in 0..variants {
            let (encoding, variant) = self.topics[topic.0 as usize].variants[at];
            receivers += match encoding {
                Encoding::Own => self.publish_to_each(variant, message, except),
                encoding => self.publish_to(variant, encoding, order, message, except),
            };
        }
        receivers
    }

    fn create_topic(&mut self) -> TopicId {
        TopicId(self.topics.insert(Topic::default()) as u32)
    }

    fn remove_topic(&mut self, topic: TopicId) {
        let Some(state) = self.topics.get_mut(topic.0 as usize) else { return };
        let variants = std::mem::take(&mut state.variants);
        for index in std::iter::once(topic.0).chain(variants.into_iter().map(|(_, variant)| variant)) {
            let state = &mut self.topics[index as usize];
            let was_removed = std::mem::replace(&mut state.is_removed, true);
            if state.pieces.is_empty() && !was_removed {
                self.forget_topic(index);
            }
        }
    }

    fn subscribe(&mut self, conn: ConnId, topic: TopicId) -> Result<(), SendError> {
        if self.topics.get(topic.0 as usize).is_none_or(|state| state.is_removed) {
            return Ok(());
        }
        let entry = self.table.get(conn.index as usize).ok_or(SendError::NotOpen)?;
        match &entry.phase {
            Phase::Open(connection)
                if entry.generation == conn.generation && entry.local_reason.is_none() =>
            {
                if connection.is_sending_fragments() {
                    return Err(SendError::MessageUnfinished);
                }
            }
            _ => return Err(SendError::NotOpen),
        }
        let topic = self.variant_for(topic.0, entry.encoding());
        let entry = &mut self.table[conn.index as usize];
        if entry.memberships.iter().any(|membership| membership.topic == topic) {
            return Ok(());
        }
        let state = &mut self.topics[topic as usize];
        let piece = state.pieces.len() as u32;
        let joined = (piece > 0).then_some(Joined { tick: self.tick, piece });
        entry.flags.special |= joined.is_some();
        let position = state.members.len() as u32;
        entry.memberships.push(Membership { topic, position, joined });
        state.members.push(conn.index);
        Ok(())
    }

    fn unsubscribe(&mut self, conn: ConnId, topic: TopicId) {
        let Some(entry) = self.table.get(conn.index as usize) else { return };
        let Some(state) = self.topics.get(topic.0 as usize) else { return };
        let variant = state.variant(topic.0, entry.encoding());
        if entry.generation == conn.generation
            && let Some(membership) = entry.memberships.iter().find(|m| Some(m.topic) == variant).copied()
        {
            self.leave(conn.index, membership);
        }
    }

    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) {
        self.close_for(conn, CloseReason::Application(code), reason);
    }

    fn backlog(&self, conn: ConnId) -> usize {
        match self.table.get(conn.index as usize) {
            Some(entry) if entry.generation == conn.generation => entry.backlog_len(),
            _ => 0,
        }
    }

    fn set_timer(&mut self, at: Millis, token: u64) {
        self.timers_set += 1;
        self.app_timers.push(Reverse((at, self.timers_set, token)));
    }
}
