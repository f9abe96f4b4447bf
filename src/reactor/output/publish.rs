//! Subscriptions, and what is published to them in a tick.

use super::Output;
use super::outbound::{Joined, Membership, Outbound};
use super::topics::Piece;
use crate::app::{ConnId, Outgoing, Published, SendError, SlowPolicy, TopicId, TopicOptions};
use crate::proto::{Encoding, MAX_FRAME_HEADER_LEN, MessageKind, Opcode, write_frame};
use crate::reactor::slot::{Slot, TopicSlot};
use crate::reactor::table::Table;

/// A message of a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication<'m> {
    pub(crate) message: Outgoing<'m>,
    /// Of messages with one key only the newest is worth keeping.
    pub(crate) key: Option<u64>,
    /// The connection that must not get it.
    pub(crate) except: Option<ConnId>,
}

impl Output {
    /// Makes a topic without subscribers.
    pub(crate) fn create_topic(&mut self, options: TopicOptions) -> TopicId {
        self.topics.create(options).id()
    }

    /// Ends a topic; what was published before still goes out.
    pub(crate) fn remove_topic(&mut self, table: &mut Table, topic: TopicId) {
        self.topics.remove(topic.into(), table);
    }

    /// Adds a connection to a topic, with a policy or the topic's own; a topic that was removed has no subscribers.
    pub(crate) fn subscribe(
        &mut self,
        table: &mut Table,
        conn: ConnId,
        topic: TopicId,
        policy: Option<SlowPolicy>,
    ) -> Result<(), SendError> {
        let Some(state) = self.topics.get(topic.into()) else { return Ok(()) };
        let policy = policy.unwrap_or(state.options.slow_policy);
        let entry = table.get(conn).ok_or(SendError::NotOpen)?;
        match entry.connection() {
            Some(connection) if entry.local_reason().is_none() => {
                if connection.is_sending_fragments() {
                    return Err(SendError::MessageUnfinished);
                }
            }
            _ => return Err(SendError::NotOpen),
        }
        let topic = self.topics.variant_for(topic.into(), entry.encoding_under(policy));
        self.join(&mut table[conn.into()].outbound, conn.into(), topic, policy);
        Ok(())
    }

    /// Adds a connection to a topic or variant, once.
    fn join(&mut self, outbound: &mut Outbound, slot: Slot, topic: TopicSlot, policy: SlowPolicy) {
        if let Some(membership) = outbound.memberships.iter_mut().find(|membership| membership.topic == topic)
        {
            membership.policy = policy;
            return;
        }
        let tick = self.tick;
        let state = &mut self.topics[topic];
        let piece = state.pieces.len() as u32;
        let joined = (piece > 0).then_some(Joined { tick, piece });
        let position = state.members.len() as u32;
        outbound.memberships.push(Membership { topic, position, joined, policy });
        state.members.push(slot);
        if joined.is_some() {
            self.note_special(outbound, slot);
        }
    }

    /// Takes a connection out of a topic: it gets what was published until now.
    pub(crate) fn unsubscribe(&mut self, table: &mut Table, conn: ConnId, topic: TopicId) {
        let Some(entry) = table.get(conn) else { return };
        let root = TopicSlot::from(topic);
        let Some(state) = self.topics.any(root) else { return };
        let encodings = [Encoding::Plain, entry.encoding()];
        let is_it = |membership: &&Membership| {
            encodings.iter().any(|&encoding| state.variant(root, encoding) == Some(membership.topic))
        };
        if let Some(membership) = entry.outbound.memberships.iter().find(is_it).copied() {
            self.leave(table, conn.into(), membership);
        }
    }

    pub(crate) fn leave_all_topics(&mut self, table: &mut Table, slot: Slot) {
        while let Some(membership) = table[slot].outbound.memberships.last().copied() {
            self.leave(table, slot, membership);
        }
    }

    /// Takes a connection out of a topic; what this tick published before is kept for it.
    fn leave(&mut self, table: &mut Table, slot: Slot, membership: Membership) {
        self.gather(table);
        self.keep_pieces(&mut table[slot].outbound, slot, &membership);
        let topic = &mut self.topics[membership.topic];
        topic.members.swap_remove(membership.position as usize);
        let moved = topic.members.get(membership.position as usize).copied();
        table[slot].outbound.memberships.retain(|other| other.topic != membership.topic);
        if let Some(moved) = moved {
            for other in &mut table[moved].outbound.memberships {
                if other.topic == membership.topic {
                    other.position = membership.position;
                }
            }
        }
    }

    /// Copies the pieces that a leaving member is still to get into its chain, each in its place. There is no run.
    fn keep_pieces(&mut self, outbound: &mut Outbound, slot: Slot, membership: &Membership) {
        let topic = &self.topics[membership.topic];
        let mut has_kept = false;
        for piece in &topic.pieces[membership.first_piece(self.tick)..] {
            if piece.except == Some(slot) {
                continue;
            }
            let start = self.outbox.len();
            let octets = &topic.batch[piece.start as usize..piece.end as usize];
            self.outbox.bytes_mut().extend_from_slice(octets);
            self.outbox.attach_at(&mut outbound.chain, slot, start, piece.order);
            has_kept = true;
        }
        self.outbox.appended();
        if has_kept {
            self.note_special(outbound, slot);
        }
    }

    /// Queues a message for every subscriber of a topic. The connections for which it would be too much come back, to be
    /// closed.
    pub(crate) fn publish(
        &mut self,
        table: &mut Table,
        topic: TopicId,
        publication: &Publication<'_>,
    ) -> (Published, Vec<ConnId>) {
        self.gather(table);
        let order = self.outbox.next_order();
        let root = TopicSlot::from(topic);
        let mut too_much = Vec::new();
        let Some(state) = self.topics.get(root) else { return (Published::default(), too_much) };
        let (variants, totals) = (state.variants.len(), state.totals);
        let mut receivers = self.publish_to(table, (root, Encoding::Plain), order, publication);
        for at in 0..variants {
            let (encoding, variant) = self.topics[root].variants[at];
            receivers += match encoding {
                Encoding::Own => self.publish_to_each(table, variant, publication, &mut too_much),
                encoding => self.publish_to(table, (variant, encoding), order, publication),
            };
        }
        self.counts.messages += receivers as u64;
        self.has_published = true;
        (Published { receivers, totals }, too_much)
    }

    /// Encodes a message once for all members of a topic or variant; returns their number.
    fn publish_to(
        &mut self,
        table: &mut Table,
        (topic, encoding): (TopicSlot, Encoding),
        order: u32,
        publication: &Publication<'_>,
    ) -> usize {
        let Publication { message, key, except } = *publication;
        let state = &mut self.topics[topic];
        if state.members.is_empty() {
            return 0;
        }
        if state.batch.len() + message.payload().len() > self.tick_limit {
            self.overflowed.extend_from_slice(&state.members);
            return 0;
        }
        if state.pieces.is_empty() {
            self.topics.note_dirty(topic);
        }
        let except = except.and_then(|conn| {
            let outbound = &mut table.get_mut(conn)?.outbound;
            let is_member = outbound.memberships.iter().any(|membership| membership.topic == topic);
            is_member.then(|| {
                self.note_special(outbound, conn.into());
                Slot::from(conn)
            })
        });
        let state = &mut self.topics[topic];
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
        if end as usize > self.high_water {
            self.input_until = 0;
        }
        state.has_exceptions |= except.is_some();
        state.pieces.push(Piece { order, start, end, except, key });
        state.members.len() - usize::from(except.is_some())
    }

    /// Encodes a message for each member by itself: with context takeover no two get the same octets.
    fn publish_to_each(
        &mut self,
        table: &mut Table,
        topic: TopicSlot,
        publication: &Publication<'_>,
        too_much: &mut Vec<ConnId>,
    ) -> usize {
        let message = publication.message;
        let members = std::mem::take(&mut self.topics[topic].members);
        let mut receivers = 0;
        for &slot in &members {
            let conn = table.conn(slot);
            if !table[slot].is_open() || publication.except == Some(conn) {
                continue;
            }
            if self.outbox.len() + message.payload().len() > self.tick_limit {
                too_much.push(conn);
                continue;
            }
            let is_queued = self.append(table, slot, |entry, out| {
                entry.connection_mut().is_some_and(|connection| connection.encode(message, out).is_ok())
            });
            receivers += usize::from(is_queued);
        }
        self.topics[topic].members = members;
        receivers
    }
}
