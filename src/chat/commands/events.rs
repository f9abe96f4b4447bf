//! What the store tells, and what is handed to it at the end of a tick.

use std::sync::Arc;

use crate::app::{Context, Millis};
use crate::chat::commands::call::Call;
use crate::chat::ids::RoomId;
use crate::chat::pending::keys::{Known, with_scope};
use crate::chat::pending::{PendingChange, PendingItem};
use crate::chat::people::session::Waiting;
use crate::chat::rooms::{Kind, Phase};
use crate::chat::{Chat, GENERAL, Refusal, timer};
use crate::history::{Action, Change, Event, HistoryError, Query, RoomState};

/// Milliseconds after which a store that was too busy, or could not read, is asked again.
const RETRY_MS: [Millis; 2] = [10, 1000];

impl Chat {
    pub(in crate::chat) fn history_said<C: Context>(&mut self, ctx: &mut C, event: Event) {
        match event {
            Event::Committed { ticket } => {
                let now = ctx.now().monotonic_ms;
                while let Some(handed) = self.pending.next_committed(ticket) {
                    self.counts.committed(now.saturating_sub(handed.at));
                    for item in handed.items {
                        self.committed(ctx, item);
                    }
                }
            }
            Event::Failed { ticket, reason } => self.failed(ctx, ticket, &reason),
            Event::Recovered { landed } => {
                tracing::info!(landed = landed.len(), "the store has recovered");
                self.pending.recovered();
                for change in landed {
                    self.landed(ctx, change);
                }
            }
            Event::Opened { room, state } => self.opened(ctx, &room, state),
            Event::Page { ask, records } => self.page_came(ctx, ask, records),
            Event::Pairs { ask, pairs } => self.pairs_came(ctx, ask, pairs),
            Event::ReadPosition { ask, seq } => self.read_came(ctx, ask, seq),
            Event::Rooms { ask, rooms } => self.rooms_came(ctx, ask, rooms),
        }
    }

    fn committed<C: Context>(&mut self, ctx: &mut C, item: PendingItem) {
        match item.change {
            PendingChange::Change(hold, action) => self.committed_change(ctx, hold, &action, &item.reply_to),
            PendingChange::Echo { room, seq, time } => {
                self.acknowledge_again(ctx, &item.reply_to, &room, (seq, time));
            }
            PendingChange::Ban(change) => self.ban_committed(ctx, change, &item.reply_to),
        }
    }

    /// Nothing that is not durable has been seen by anybody: it comes to nothing, and its numbers are given again.
    fn failed<C: Context>(&mut self, ctx: &mut C, ticket: u64, reason: &HistoryError) {
        let Some(undone) = self.pending.fail(ticket) else { return };
        tracing::error!(%reason, "the store failed: posts are refused until it has recovered");
        self.counts.store_failures += 1;
        for item in undone {
            self.undone(ctx, item);
        }
    }

    /// Something that was refused is on the disk nevertheless.
    fn landed<C: Context>(&mut self, ctx: &mut C, change: Change) {
        let Change { room: name, action } = change;
        if let Action::Post(post) = &action {
            let known = Known { seq: post.seq, time: post.time, is_pending: false };
            let now_ms = ctx.now().monotonic_ms;
            with_scope(post, &name, self.people.holders(), |scope| self.keys.insert(scope, known, now_ms));
        }
        // Anyone who opens the room later reads it from the disk.
        let Some(room) = self.rooms.find(&name) else { return };
        if self.rooms[room].is_open() {
            self.happened_after_all(ctx, room, &action);
            self.rest_room(ctx, room);
        } else {
            // What is being read may be older or younger than this.
            self.rooms[room].note_landed(action);
        }
    }

    /// A change that landed, unless the room has it already.
    fn happened_after_all<C: Context>(&mut self, ctx: &mut C, room: RoomId, action: &Action) {
        if self.rooms[room].order.is_next(action) {
            let hold = self.rooms.hold(room);
            self.happened(ctx, room, action);
            self.rooms.release(hold);
        }
    }

    fn opened<C: Context>(&mut self, ctx: &mut C, name: &str, state: Result<RoomState, HistoryError>) {
        let Some(room) = self.rooms.find(name) else { return };
        let Some(waiting) = self.rooms[room].take_waiting() else { return };
        match state {
            Ok(state) => {
                self.load(room, state);
                for action in self.rooms[room].take_landed() {
                    self.happened_after_all(ctx, room, &action);
                }
                self.resume_waiting(ctx, waiting);
                self.rest_room(ctx, room);
            }
            Err(reason) => {
                tracing::warn!(%reason, "a room could not be opened");
                for Waiting { reply_to, .. } in waiting {
                    self.people.end_waiting(reply_to.conn());
                    self.responder.refuse(ctx, &reply_to, &Refusal::unavailable());
                }
                if self.rooms[room].is_pinned() {
                    ctx.set_timer(ctx.now().monotonic_ms + RETRY_MS[1], timer::room(room));
                } else {
                    self.rooms[room].open();
                    self.rest_room(ctx, room);
                }
            }
        }
    }

    /// A room's state is known.
    fn load(&mut self, room: RoomId, state: RoomState) {
        let verified = state.recent.iter().filter(|record| record.post.is_verified);
        self.people.vouch(verified.map(|record| &*record.post.user));
        self.rooms.load(room, state, &self.options.limits);
        self.tutorial.note_change(room);
    }

    /// What waited for a room goes on.
    fn resume_waiting<C: Context>(&mut self, ctx: &mut C, waiting: Vec<Waiting>) {
        for Waiting { reply_to, actor, command } in waiting {
            self.people.end_waiting(reply_to.conn());
            if self.is_present(&reply_to) {
                self.execute(&mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
            }
        }
    }

    /// A room's timer is due.
    pub(in crate::chat) fn room_timer(&mut self, room: RoomId) {
        let Some(state) = self.rooms.get_mut(room) else { return };
        state.presence.pace.timer_fired();
        state.reads.pace.timer_fired();
        if !state.is_open() && state.is_pinned() {
            let limit = self.options.limits.opened_messages;
            let query = Query::Open { room: Arc::clone(state.name()), recent: limit, changes: limit };
            // Where that fails, too, its clients hear of it with their next command.
            let _ = self.pending.send(query);
        }
        self.rooms.touch(room);
    }

    /// The tick ends.
    pub(in crate::chat) fn end_tick<C: Context>(&mut self, ctx: &mut C) {
        self.resume_paced(ctx);
        self.tell_rooms(ctx);
        if self.tutorial.is_dirty() {
            self.tell_tutorial(ctx);
        }
        let now = ctx.now().monotonic_ms;
        if !self.pending.hand_over(now) && !std::mem::replace(&mut self.is_retry_timed, true) {
            ctx.set_timer(now + RETRY_MS[0], timer::RETRY);
        }
        #[cfg(debug_assertions)]
        self.check();
    }

    /// The room `general` always exists.
    pub(in crate::chat) fn open_general<C: Context>(&mut self, ctx: &mut C) {
        let topic = ctx.create_topic(self.topic_options(GENERAL));
        let is_on_disk = self.pending.is_on_disk();
        let phase = if is_on_disk { Phase::Opening(Vec::new()) } else { Phase::Open };
        let room = self.rooms.insert(GENERAL, Kind::Group, phase);
        self.rooms.set_topic(room, topic);
        self.rooms[room].pin();
        self.tutorial.set_room(room);
        if is_on_disk {
            self.room_timer(room);
        }
    }
}
