//! What a callback may do: each call is handed to the owner of what it changes.

use super::Core;
use crate::app::{
    Acceptance, ConnId, Context, Now, Outgoing, OwnedMessage, Published, Refused, Response, SlowPolicy,
    Stats, TopicId, TopicOptions,
};
use crate::proto::{CloseCode, MessageKind, Millis, SendError};
use crate::reactor::output::Publication;
use crate::reactor::table::LocalReason;

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
        if !self.output.is_on_fast_path(conn) {
            return self.send_any(conn, message.kind(), message.payload(), message.may_compress());
        }
        debug_assert!(self.is_fast(conn), "{conn:?} must not be on the fast path");
        self.output.append_fast(message);
        Ok(())
    }

    fn forward(&mut self, conn: ConnId, message: OwnedMessage) -> Result<(), SendError> {
        if self.table.get(conn).is_none_or(|entry| !entry.is_open()) {
            return Err(SendError::NotOpen);
        }
        match self.output.forward(&mut self.table, conn.into(), message) {
            Some(message) => self.send(conn, message.as_outgoing()),
            None => Ok(()),
        }
    }

    fn send_fragment(
        &mut self,
        conn: ConnId,
        fragment: Outgoing<'_>,
        is_last: bool,
    ) -> Result<(), SendError> {
        if self.table.get(conn).is_some_and(|entry| entry.is_open() && entry.outbound.is_member()) {
            return Err(SendError::MessageUnfinished);
        }
        let queued = self.queue(conn, |connection, out| connection.encode_fragment(fragment, is_last, out));
        queued.unwrap_or(Err(SendError::NotOpen))?;
        self.output.count_messages(is_last.into());
        Ok(())
    }

    fn publish(&mut self, topic: TopicId, message: Outgoing<'_>, except: Option<ConnId>) -> Published {
        self.publish_any(topic, &Publication { message, key: None, except })
    }

    fn publish_keyed(
        &mut self,
        topic: TopicId,
        key: u64,
        message: Outgoing<'_>,
        except: Option<ConnId>,
    ) -> Published {
        self.publish_any(topic, &Publication { message, key: Some(key), except })
    }

    fn create_topic(&mut self, options: TopicOptions) -> TopicId {
        self.output.create_topic(options)
    }

    fn remove_topic(&mut self, topic: TopicId) {
        self.output.remove_topic(&mut self.table, topic);
    }

    fn subscribe(&mut self, conn: ConnId, topic: TopicId) -> Result<(), SendError> {
        self.output.subscribe(&mut self.table, conn, topic, None)
    }

    fn subscribe_as(&mut self, conn: ConnId, topic: TopicId, policy: SlowPolicy) -> Result<(), SendError> {
        self.output.subscribe(&mut self.table, conn, topic, Some(policy))
    }

    fn unsubscribe(&mut self, conn: ConnId, topic: TopicId) {
        self.output.unsubscribe(&mut self.table, conn, topic);
    }

    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) {
        self.close_for(conn, LocalReason::Application(code), reason);
    }

    fn respond(&mut self, conn: ConnId, response: Response) {
        self.answer_later(conn, &response);
    }

    fn accept(&mut self, conn: ConnId, acceptance: Acceptance) {
        if self.awaited(conn).is_some() {
            self.pending.owe_open(conn, acceptance);
        }
    }

    fn refuse(&mut self, conn: ConnId, reason: Refused, response: Response) {
        if self.awaited(conn).is_some() {
            self.counts.refusals.count(reason);
            self.pending.owe_refused(self.table.address(conn.into()), reason);
            self.answer_later(conn, &response);
        }
    }

    fn drain(&mut self) {
        if self.drain.is_none() {
            self.pending.ask_drain();
        }
    }

    fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    fn pause_input(&mut self) {
        self.counts.input_pauses += u64::from(self.pending.pause_input(true));
    }

    fn resume_input(&mut self) {
        self.pending.pause_input(false);
    }

    fn stats(&self) -> Stats {
        self.stats_now()
    }

    fn backlog(&self, conn: ConnId) -> usize {
        self.table.get(conn).map_or(0, |entry| entry.outbound.backlog_len())
    }

    fn set_timer(&mut self, at: Millis, token: u64) {
        if self.timers.set(at, token) {
            self.pending.note_work();
        }
    }
}

impl Core {
    /// Sends a message to a connection of which nothing is known. It comes in parts: as a whole it would be written to memory
    /// for the fast path, too.
    #[inline(never)]
    fn send_any(
        &mut self,
        conn: ConnId,
        kind: MessageKind,
        payload: &[u8],
        may_compress: bool,
    ) -> Result<(), SendError> {
        let message = Outgoing::new(kind, payload, may_compress);
        let queued = self.queue(conn, |connection, out| connection.encode(message, out));
        queued.unwrap_or(Err(SendError::NotOpen))?;
        self.output.count_messages(1);
        Ok(())
    }

    fn publish_any(&mut self, topic: TopicId, publication: &Publication<'_>) -> Published {
        let published = self.output.publish(&mut self.table, topic, publication);
        if self.output.has_too_much() {
            self.close_too_much();
        }
        published
    }

    #[cold]
    fn close_too_much(&mut self) {
        for conn in self.output.take_too_much() {
            self.close_for(conn, LocalReason::SlowConsumer, "slow consumer");
        }
    }
}
