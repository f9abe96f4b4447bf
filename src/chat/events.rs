//! What the history reports, and what is handed to it at the end of a tick.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::app::{Context, Millis};
use crate::chat::commands::call::Call;
use crate::chat::commands::{
    self, answers, conversations, elsewhere, mine, moderate, pace, post, presence, publish, tell, unread,
};
use crate::chat::ids::RoomId;
use crate::chat::listing;
use crate::chat::pending::{PendingChange, PendingItem};
use crate::chat::people::session::Waiting;
use crate::chat::rooms::{Hold, Kind, Opening};
use crate::chat::tutorial;
use crate::chat::wire::command::Omit;
use crate::chat::wire::notices::{Epoch, Lagged};
use crate::chat::{Chat, GENERAL, Refusal, timer};
use crate::history::{Action, Change, Event, Fork, HistoryError, Outcome, Query, RoomState, Ticket};

/// Milliseconds after which a room that could not be read is asked for again.
const RETRY_MS: Millis = 1000;

pub(in crate::chat) fn reported<C: Context>(chat: &mut Chat, ctx: &mut C, event: Event) {
    match event {
        Event::Settled { ticket, outcomes, changes, bans } => {
            let (holds, own) = settled(chat, ctx, ticket, outcomes);
            happened(chat, ctx, &changes);
            tell_own(chat, &changes, &own);
            for change in bans {
                moderate::bans_changed(chat, ctx, change);
            }
            for hold in holds {
                chat.rooms.release(ctx, hold);
            }
        }
        Event::Epoch { room, fork } => forked(chat, ctx, &room, &fork),
        Event::Held(holder) => elsewhere::held(chat, ctx, &holder),
        Event::Behind { room } => behind(chat, ctx, &room),
        Event::Failed { term, ticket, reason } => failed(chat, ctx, (term, ticket), &reason),
        Event::Recovered { landed } => {
            tracing::info!(landed = landed.len(), "the store has recovered");
            chat.pending.recovered();
            happened(chat, ctx, &landed);
            if chat.neighbours.is_none() && tell::is_direct(chat) {
                for change in &landed {
                    tell::changed(chat, &change.room, &change.action);
                }
            }
        }
        Event::Opened { room, state } => opened(chat, ctx, &room, state),
        Event::Page { ask, records } => answers::page_came(chat, ctx, ask, records),
        Event::Pairs { ask, pairs } => conversations::pairs_came(chat, ctx, ask, pairs),
        Event::Mine { ask, page } => mine::mine_came(chat, ctx, ask, page),
        Event::Unread { ask, counts } => unread::counts_came(chat, ask, counts),
        Event::ReadPosition { ask, seq } => answers::read_came(chat, ctx, ask, seq),
        Event::Rooms { ask, rooms } => listing::rooms_came(chat, ctx, ask, rooms),
    }
}

/// What loops proposed: rooms, and the numbers of messages or of changes.
type Own = BTreeSet<(RoomId, Option<u64>, Option<u64>)>;

/// Tells of what this loop had proposed, where the history has no outbox for it.
fn tell_own(chat: &mut Chat, changes: &[Arc<Change>], own: &Own) {
    for Change { room: name, action } in changes.iter().map(|change| &**change) {
        let Some(room) = chat.rooms.find(name) else { continue };
        let number = match action {
            Action::Post(post) => (room, Some(post.seq), None),
            Action::Edit { rev, .. } | Action::Delete { rev, .. } | Action::React { rev, .. } => {
                (room, None, Some(*rev))
            }
            Action::Read { .. } => continue,
        };
        if own.contains(&number) {
            tell::changed(chat, name, action);
        }
    }
}

/// What was proposed is decided, and anyone who waits is told. Returns the rooms that are needed until everybody has seen
/// what happened, and what of it must be told.
fn settled<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    ticket: Ticket,
    outcomes: Vec<Outcome>,
) -> (Vec<Hold>, Own) {
    let now = ctx.now().monotonic_ms;
    let is_direct = tell::is_direct(chat);
    let mut own = Own::new();
    let mut holds = Vec::with_capacity(outcomes.len());
    let mut outcomes = outcomes.into_iter();
    while let Some(handed) = chat.pending.next_settled(ticket) {
        chat.counts.committed(now.saturating_sub(handed.at));
        for PendingItem { change, reply_to } in handed.items {
            match change {
                PendingChange::Proposal(hold) => {
                    let outcome = outcomes.next();
                    match outcome {
                        Some(Outcome::Posted { seq, .. }) if is_direct => {
                            own.insert((hold.room(), Some(seq), None));
                        }
                        Some(Outcome::Changed { rev, .. }) if is_direct => {
                            own.insert((hold.room(), None, Some(rev)));
                        }
                        _ => {}
                    }
                    post::answer(chat, ctx, hold.room(), outcome, &reply_to);
                    holds.push(hold);
                }
                PendingChange::Subscription(user, room, is_on) => {
                    let outcome = (outcomes.next(), &reply_to);
                    mine::subscribed(chat, ctx, (&user, &room, is_on), outcome);
                }
                PendingChange::Ban(change) => {
                    tell::banned(chat, ctx.now(), &change);
                    moderate::acknowledge_ban(chat, ctx, &reply_to);
                }
            }
        }
    }
    debug_assert!(outcomes.next().is_none(), "each outcome is that of a proposal");
    (holds, own)
}

/// Nothing that is not durable has been seen by anybody: it comes to nothing, and its numbers are used again.
fn failed<C: Context>(chat: &mut Chat, ctx: &mut C, (term, ticket): (u32, Ticket), reason: &HistoryError) {
    tracing::error!(%reason, "the store failed: posts are refused until it has recovered");
    chat.counts.store_failures += 1;
    for PendingItem { change, reply_to } in chat.pending.fail(term, ticket) {
        chat.responder.refuse(ctx, &reply_to, &Refusal::unavailable());
        if let PendingChange::Proposal(hold) = change {
            chat.rooms.release(ctx, hold);
        }
    }
}

/// What happened in rooms. Of a room that is not open here nobody here is told: anyone who opens it reads it then.
fn happened<C: Context>(chat: &mut Chat, ctx: &mut C, changes: &[Arc<Change>]) {
    for change in changes {
        // Also where the room is not open: those who speak may be on any loop.
        publish::tell_pair(chat, ctx, change);
        unread::note(chat, &change.room, &change.action);
        let Some(room) = chat.rooms.find(&change.room) else { continue };
        if chat.rooms[room].is_open() {
            happened_in(chat, ctx, room, &change.action);
            chat.rooms.rest(ctx, room);
        } else {
            chat.rooms[room].note_meanwhile(Arc::clone(change));
        }
    }
}

/// A change happens in an open room, unless the room had it already when it was opened.
fn happened_in<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId, action: &Action) {
    if chat.rooms[room].recent().is_next(action) {
        let hold = chat.rooms.hold(room);
        publish::happened(chat, ctx, room, action);
        chat.rooms.unhold(hold);
    }
}

/// The history of a room goes on under another name.
fn forked<C: Context>(chat: &mut Chat, ctx: &mut C, name: &str, fork: &Fork) {
    let Some(room) = chat.rooms.find(name) else { return };
    if chat.rooms[room].has_more(fork) && chat.rooms.put_away(ctx, room) {
        return;
    }
    let state = &mut chat.rooms[room];
    let was_open = state.is_open();
    let has_more = state.fork(fork);
    let state = &chat.rooms[room];
    let notice = Epoch { room: state.name(), epoch: &fork.epoch, seq: fork.seq, rev: fork.rev };
    chat.responder.publish(ctx, state.topics(), &notice, None);
    if was_open && has_more {
        ask_again(chat, ctx, room);
    }
}

/// More has happened in a room than is told: it is read again, and its members are told that they have missed something.
fn behind<C: Context>(chat: &mut Chat, ctx: &mut C, name: &str) {
    let Some(room) = chat.rooms.find(name) else { return };
    if chat.rooms.put_away(ctx, room) {
        return;
    }
    let was_open = chat.rooms[room].is_open();
    chat.rooms[room].fall_behind();
    let state = &chat.rooms[room];
    // How much it was is known when the room is read; whoever is told reads it by number.
    let notice = Lagged { room: state.name(), dropped: 1 };
    chat.responder.publish(ctx, state.topics(), &notice, None);
    if was_open {
        ask_again(chat, ctx, room);
    }
}

fn opened<C: Context>(chat: &mut Chat, ctx: &mut C, name: &str, state: Result<RoomState, HistoryError>) {
    let Some(room) = chat.rooms.find(name) else { return };
    let Some(opening) = chat.rooms[room].take_opening() else { return };
    let Opening { waiting, meanwhile, is_behind, .. } = opening;
    match state {
        Ok(_) if is_behind => {
            tracing::warn!(room = name, "a room is read again: too much has happened since it was asked for");
            chat.rooms[room].wait_on(waiting);
            ask_again(chat, ctx, room);
        }
        Ok(state) => {
            load(chat, room, state);
            for change in meanwhile {
                happened_in(chat, ctx, room, &change.action);
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
            if chat.rooms[room].is_wanted() {
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
pub(in crate::chat) fn room_timer<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId) {
    let Some(state) = chat.rooms.get_mut(room) else { return };
    state.timer_fired();
    if state.must_ask() {
        ask_again(chat, ctx, room);
    }
    chat.rooms.touch(room);
}

/// Asks for the state of a room that is being opened; later where that cannot be asked now.
fn ask_again<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId) {
    let limit = chat.options.limits.opened_messages;
    let query = Query::Open { room: Arc::clone(chat.rooms[room].name()), recent: limit, changes: limit };
    let is_asked = chat.pending.send(query).is_ok();
    chat.rooms[room].note_asked(is_asked);
    if !is_asked {
        ctx.set_timer(ctx.now().monotonic_ms + RETRY_MS, timer::room(room));
    }
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
    unread::end_tick(chat, ctx);
    elsewhere::end_tick(chat, ctx);
    #[cfg(debug_assertions)]
    chat.check();
}

/// The room `general` always exists.
pub(in crate::chat) fn open_general<C: Context>(chat: &mut Chat, ctx: &mut C) {
    let room = chat.rooms.insert(GENERAL, Kind::Group);
    chat.rooms.open_topic(ctx, room, Omit::default(), chat.options.topic(GENERAL));
    chat.rooms[room].pin();
    chat.tutorial.set_room(room);
    if chat.pending.is_on_disk() {
        ask_again(chat, ctx, room);
    }
}
