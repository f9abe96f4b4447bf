//! What a callback may do.

use std::cmp::Reverse;

use super::core::{Core, NOBODY};
use super::entry::Phase;
use super::topics::{Membership, Topic};
use crate::app::{
    CloseReason, ConnId, Context, Now, Outgoing, OwnedMessage, Published, Response, SlowPolicy, Stats,
    TopicId, TopicOptions,
};
use crate::proto::{CloseCode, Encoding, MessageKind, Millis, SendError};

/// A payload from this length on, in bytes, is not copied where [`Context::forward`] can help it.
const LONG_LEN: usize = 64 * 1024;

impl Context for Core {
    fn now(&self) -> Now {
        self.now
    }

    fn random(&mut self) -> u64 {
        let mut half = || u64::from(u32::from_le_bytes(self.random.next_key()));
        half() << 32 | half()
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "an echo is one straight line from the frame to the outbox")]
    fn send(&mut self, conn: ConnId, message: Outgoing<'_>) -> Result<(), SendError> {
        if conn.to_bits() != self.express {
            return self.send_any(conn, message.kind(), message.payload(), message.may_compress());
        }
        debug_assert!(self.is_express(conn.index));
        let start = self.outbox.len();
        message.write_plain(&mut self.outbox.bytes);
        self.stats.messages_out += 1;
        self.wrote_plain(conn.index, start);
        Ok(())
    }

    fn forward(&mut self, conn: ConnId, message: OwnedMessage) -> Result<(), SendError> {
        if message.as_outgoing().payload().len() < LONG_LEN {
            return self.send(conn, message.as_outgoing());
        }
        let start = self.outbox.len();
        let entry = self.table.get_mut(conn.index as usize).ok_or(SendError::NotOpen)?;
        let connection = match &mut entry.phase {
            Phase::Open(connection) if entry.generation == conn.generation => connection,
            _ => return Err(SendError::NotOpen),
        };
        if !connection.encode_header(&message, &mut self.outbox.bytes) {
            return self.send(conn, message.as_outgoing());
        }
        self.wrote(conn.index, start);
        self.end_run();
        let chain = &mut self.table[conn.index as usize].chain;
        self.outbox.attach_long(chain, message.into_payload());
        self.input_until = 0;
        self.stats.messages_out += 1;
        Ok(())
    }

    fn send_fragment(
        &mut self,
        conn: ConnId,
        fragment: Outgoing<'_>,
        is_last: bool,
    ) -> Result<(), SendError> {
        self.express = NOBODY;
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
        self.stats.messages_out += u64::from(is_last);
        self.wrote(conn.index, start);
        Ok(())
    }

    fn publish(&mut self, topic: TopicId, message: Outgoing<'_>, except: Option<ConnId>) -> Published {
        self.publish_any(topic, None, message, except)
    }

    fn publish_keyed(
        &mut self,
        topic: TopicId,
        key: u64,
        message: Outgoing<'_>,
        except: Option<ConnId>,
    ) -> Published {
        self.publish_any(topic, Some(key), message, except)
    }

    fn create_topic(&mut self, options: TopicOptions) -> TopicId {
        let slot = self.topics.vacant_entry();
        let topic = slot.key() as u32;
        slot.insert(Topic::new(topic, options));
        TopicId(topic)
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
        let policy = self.topics.get(topic.0 as usize).map(|state| state.options.slow_policy);
        self.subscribe_as(conn, topic, policy.unwrap_or_default())
    }

    fn subscribe_as(&mut self, conn: ConnId, topic: TopicId, policy: SlowPolicy) -> Result<(), SendError> {
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
        let topic = self.variant_for(topic.0, entry.encoding_under(policy));
        self.join(conn.index, topic, policy);
        Ok(())
    }

    fn unsubscribe(&mut self, conn: ConnId, topic: TopicId) {
        let Some(entry) = self.table.get(conn.index as usize) else { return };
        let Some(state) = self.topics.get(topic.0 as usize) else { return };
        let is_it = |membership: &&Membership| {
            [Encoding::Plain, entry.encoding()]
                .iter()
                .any(|&encoding| state.variant(topic.0, encoding) == Some(membership.topic))
        };
        if entry.generation == conn.generation
            && let Some(membership) = entry.memberships.iter().find(is_it).copied()
        {
            self.leave(conn.index, membership);
        }
    }

    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) {
        self.close_for(conn, CloseReason::Application(code), reason);
    }

    fn respond(&mut self, conn: ConnId, response: Response) {
        self.answer_later(conn, &response);
    }

    fn drain(&mut self) {
        self.is_drain_asked = self.drain.is_none();
        self.unsettle();
    }

    fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    fn stats(&self) -> Stats {
        self.stats_now()
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
        self.wake_by(at);
    }
}

impl Core {
    /// Sends a message to a connection of which nothing is known. It comes in parts: as a whole it would be written to memory
    /// for the express way, too.
    fn send_any(
        &mut self,
        conn: ConnId,
        kind: MessageKind,
        payload: &[u8],
        may_compress: bool,
    ) -> Result<(), SendError> {
        let message = Outgoing::new(kind, payload, may_compress);
        let start = self.outbox.len();
        let entry = self.table.get_mut(conn.index as usize).ok_or(SendError::NotOpen)?;
        match &mut entry.phase {
            Phase::Open(connection) if entry.generation == conn.generation => {
                connection.encode(message, &mut self.outbox.bytes)?;
            }
            _ => return Err(SendError::NotOpen),
        }
        self.stats.messages_out += 1;
        self.wrote(conn.index, start);
        Ok(())
    }

    /// What must hold of the connection that is named in `express`.
    fn is_express(&self, index: u32) -> bool {
        let entry = &self.table[index as usize];
        entry.backlog.is_none() && matches!(&entry.phase, Phase::Open(connection) if connection.sends_plain())
    }
}
