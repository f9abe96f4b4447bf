//! What the history reports, and what is handed to it at the end of a tick.

use std::sync::Arc;

use crate::app::{Context, Millis};
use crate::chat::commands::call::Call;
use crate::chat::commands::{self, answers, conversations, moderate, pace, post, presence, publish};
use crate::chat::ids::RoomId;
use crate::chat::listing;
use crate::chat::pending::keys::{Known, with_scope};
use crate::chat::pending::{PendingChange, PendingItem};
use crate::chat::people::session::Waiting;
use crate::chat::rooms::{Kind, Phase};
use crate::chat::tutorial;
use crate::chat::{Chat, GENERAL, Refusal, timer};
use crate::history::{Action, Change, Event, HistoryError, Query, RoomState};

/// Milliseconds after which a room that could not be read is asked for again.
const RETRY_MS: Millis = 1000;

pub(in crate::chat) fn reported<C: Context>(chat: &mut Chat, ctx: &mut C, event: Event) {
    match event {
        Event::Committed { ticket } => {
            let now = ctx.now().monotonic_ms;
            while let Some(handed) = chat.pending.next_committed(ticket) {
                chat.counts.committed(now.saturating_sub(handed.at));
                for item in handed.items {
                    committed(chat, ctx, item);
                }
            }
        }
        Event::Failed { ticket, reason } => failed(chat, ctx, ticket, &reason),
        Event::Recovered { landed } => {
            tracing::info!(landed = landed.len(), "the store has recovered");
            chat.pending.recovered();
            for change in landed {
                change_landed(chat, ctx, change);
            }
        }
        Event::Opened { room, state } => opened(chat, ctx, &room, state),
        Event::Page { ask, records } => answers::page_came(chat, ctx, ask, records),
        Event::Pairs { ask, pairs } => conversations::pairs_came(chat, ctx, ask, pairs),
        Event::ReadPosition { ask, seq } => answers::read_came(chat, ctx, ask, seq),
        Event::Rooms { ask, rooms } => listing::rooms_came(chat, ctx, ask, rooms),
    }
}

fn committed<C: Context>(chat: &mut Chat, ctx: &mut C, item: PendingItem) {
    match item.change {
        PendingChange::Change(hold, action) => {
            post::committed_change(chat, ctx, hold, &action, &item.reply_to);
        }
        PendingChange::Echo { room, seq, time } => {
            post::acknowledge_again(chat, ctx, &item.reply_to, &room, (seq, time));
        }
        PendingChange::Ban(change) => moderate::ban_committed(chat, ctx, change, &item.reply_to),
    }
}

/// Nothing that is not durable has been seen by anybody: it comes to nothing, and its numbers are used again.
fn failed<C: Context>(chat: &mut Chat, ctx: &mut C, ticket: u64, reason: &HistoryError) {
    let Some(undone) = chat.pending.fail(ticket) else { return };
    tracing::error!(%reason, "the store failed: posts are refused until it has recovered");
    chat.counts.store_failures += 1;
    for item in undone {
        post::undone(chat, ctx, item);
    }
}

/// Something that was refused is on the disk nevertheless.
fn change_landed<C: Context>(chat: &mut Chat, ctx: &mut C, change: Change) {
    let Change { room: name, action } = change;
    if let Action::Post(post) = &action {
        let known = Known { seq: post.seq, time: post.time, is_pending: false };
        let now_ms = ctx.now().monotonic_ms;
        with_scope(post, &name, chat.people.holders(), |scope| chat.keys.insert(scope, known, now_ms));
    }
    // Anyone who opens the room later reads it from the disk.
    let Some(room) = chat.rooms.find(&name) else { return };
    if chat.rooms[room].is_open() {
        happened_after_all(chat, ctx, room, &action);
        chat.rooms.rest(ctx, room);
    } else {
        // What is being read may be older or younger than this.
        chat.rooms[room].note_landed(action);
    }
}

/// A change that landed, unless the room has it already.
fn happened_after_all<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId, action: &Action) {
    if chat.rooms[room].order().is_next(action) {
        let hold = chat.rooms.hold(room);
        publish::happened(chat, ctx, room, action);
        chat.rooms.unhold(hold);
    }
}

fn opened<C: Context>(chat: &mut Chat, ctx: &mut C, name: &str, state: Result<RoomState, HistoryError>) {
    let Some(room) = chat.rooms.find(name) else { return };
    let Some(waiting) = chat.rooms[room].take_waiting() else { return };
    match state {
        Ok(state) => {
            load(chat, room, state);
            for action in chat.rooms[room].take_landed() {
                happened_after_all(chat, ctx, room, &action);
            }
            resume_waiting(chat, ctx, waiting);
            chat.rooms.rest(ctx, room);
        }
        Err(reason) => {
            tracing::warn!(%reason, "a room could not be opened");
            for Waiting { reply_to, .. } in waiting {
                chat.people.end_waiting(reply_to.conn());
                chat.responder.refuse(ctx, &reply_to, &Refusal::unavailable());
            }
            if chat.rooms[room].is_pinned() {
                ctx.set_timer(ctx.now().monotonic_ms + RETRY_MS, timer::room(room));
            } else {
                chat.rooms[room].open();
                chat.rooms.rest(ctx, room);
            }
        }
    }
}

/// A room's state is known.
fn load(chat: &mut Chat, room: RoomId, state: RoomState) {
    let verified = state.recent.iter().filter(|record| record.post.is_verified);
    chat.people.vouch(verified.map(|record| &*record.post.user));
    chat.rooms.load(room, state, &chat.options.limits);
    chat.tutorial.note_change(room);
}

/// What waited for a room goes on.
fn resume_waiting<C: Context>(chat: &mut Chat, ctx: &mut C, waiting: Vec<Waiting>) {
    for Waiting { reply_to, actor, command } in waiting {
        chat.people.end_waiting(reply_to.conn());
        if chat.people.is_present(&reply_to) {
            commands::execute(chat, &mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
        }
    }
}

/// A room's timer is due.
pub(in crate::chat) fn room_timer(chat: &mut Chat, room: RoomId) {
    let Some(state) = chat.rooms.get_mut(room) else { return };
    state.timer_fired();
    if !state.is_open() && state.is_pinned() {
        let limit = chat.options.limits.opened_messages;
        let query = Query::Open { room: Arc::clone(state.name()), recent: limit, changes: limit };
        // Where that fails, too, its clients hear of it with their next command.
        let _ = chat.pending.send(query);
    }
    chat.rooms.touch(room);
}

/// The tick ends.
pub(in crate::chat) fn end_tick<C: Context>(chat: &mut Chat, ctx: &mut C) {
    pace::resume(chat, ctx);
    presence::tell_rooms(chat, ctx);
    if chat.tutorial.is_dirty() {
        tutorial::tell(chat, ctx);
    }
    if let Some(at) = chat.pending.hand_over(ctx.now().monotonic_ms) {
        ctx.set_timer(at, timer::RETRY);
    }
    #[cfg(debug_assertions)]
    chat.check();
}

/// The room `general` always exists.
pub(in crate::chat) fn open_general<C: Context>(chat: &mut Chat, ctx: &mut C) {
    let is_on_disk = chat.pending.is_on_disk();
    let phase = if is_on_disk { Phase::Opening(Vec::new()) } else { Phase::Open };
    let room = chat.rooms.insert(GENERAL, Kind::Group, phase);
    chat.rooms.open_topic(ctx, room, chat.options.topic(GENERAL));
    chat.rooms[room].pin();
    chat.tutorial.set_room(room);
    if is_on_disk {
        room_timer(chat, room);
    }
}
