//! Subscriptions, and what is published to them in a tick.

use super::core::Core;
use super::entry::Phase;
use super::topics::{Joined, Membership, Piece, Topic};
use crate::app::{CloseReason, ConnId, Outgoing, Published, SlowPolicy, TopicId};
use crate::proto::{Encoding, MAX_FRAME_HEADER_LEN, MessageKind, Opcode, write_frame};

impl Core {
    /// Adds a connection to a topic or variant, once.
    pub(super) fn join(&mut self, index: u32, topic: u32, policy: SlowPolicy) {
        let entry = &mut self.table[index as usize];
        if let Some(membership) = entry.memberships.iter_mut().find(|membership| membership.topic == topic) {
            membership.policy = policy;
            return;
        }
        let state = &mut self.topics[topic as usize];
        let piece = state.pieces.len() as u32;
        let joined = (piece > 0).then_some(Joined { tick: self.tick, piece });
        entry.flags.special |= joined.is_some();
        let position = state.members.len() as u32;
        entry.memberships.push(Membership { topic, position, joined, policy });
        state.members.push(index);
    }

    pub(super) fn leave_all_topics(&mut self, index: u32) {
        while let Some(membership) = self.table[index as usize].memberships.last().copied() {
            self.leave(index, membership);
        }
    }

    /// Takes a connection out of a topic; what this tick published before is kept for it.
    pub(super) fn leave(&mut self, index: u32, membership: Membership) {
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
        self.end_run();
        let topic = &self.topics[membership.topic as usize];
        let entry = &mut self.table[index as usize];
        for piece in &topic.pieces[membership.first_piece(self.tick)..] {
            if piece.except == Some(index) {
                continue;
            }
            let start = self.outbox.len();
            self.outbox.bytes.extend_from_slice(&topic.batch[piece.start as usize..piece.end as usize]);
            self.outbox.attach_at(&mut entry.chain, start, self.outbox.len(), piece.order);
            entry.flags.special = true;
            if !entry.flags.dirty {
                entry.flags.dirty = true;
                self.dirty.push(index);
            }
        }
    }

    pub(super) fn clear_topics(&mut self) {
        while let Some(topic) = self.dirty_topics.pop() {
            self.topics[topic as usize].clear();
            if self.topics[topic as usize].is_removed {
                self.forget_topic(topic);
            }
        }
    }

    pub(super) fn forget_topic(&mut self, topic: u32) {
        for member in self.topics.remove(topic as usize).members {
            self.table[member as usize].memberships.retain(|other| other.topic != topic);
        }
    }

    /// The variant of a topic for subscribers of an encoding; the first of them makes it.
    pub(super) fn variant_for(&mut self, topic: u32, encoding: Encoding) -> u32 {
        self.topics[topic as usize].variant(topic, encoding).unwrap_or_else(|| {
            let variant = self.topics.insert(Topic::new(topic, self.topics[topic as usize].options)) as u32;
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
        key: Option<u64>,
        message: Outgoing<'_>,
        except: Option<ConnId>,
    ) -> usize {
        let state = &mut self.topics[topic as usize];
        if state.members.is_empty() {
            return 0;
        }
        if state.batch.len() + message.payload().len() > self.config.max_tick_output {
            self.overflowed.extend_from_slice(&state.members);
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
        if end as usize > self.config.high_water {
            self.input_until = 0;
        }
        state.has_exceptions |= except.is_some();
        state.pieces.push(Piece { order, start, end, except, key });
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
            if start + message.payload().len() > self.config.max_tick_output {
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

    pub(super) fn publish_any(
        &mut self,
        topic: TopicId,
        key: Option<u64>,
        message: Outgoing<'_>,
        except: Option<ConnId>,
    ) -> Published {
        self.end_run();
        let order = self.outbox.next_order();
        let Some(state) = self.topics.get(topic.0 as usize).filter(|state| !state.is_removed) else {
            return Published::default();
        };
        let (variants, totals) = (state.variants.len(), state.totals);
        let mut receivers = self.publish_to(topic.0, Encoding::Plain, order, key, message, except);
        for at in 0..variants {
            let (encoding, variant) = self.topics[topic.0 as usize].variants[at];
            receivers += match encoding {
                Encoding::Own => self.publish_to_each(variant, message, except),
                encoding => self.publish_to(variant, encoding, order, key, message, except),
            };
        }
        self.stats.messages_out += receivers as u64;
        self.has_published = true;
        Published { receivers, totals }
    }
}
