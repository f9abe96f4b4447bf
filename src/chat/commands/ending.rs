//! The end of a session, and of its membership in a room.

use std::sync::Arc;

use crate::app::{ConnId, Context};
use crate::chat::Chat;
use crate::chat::commands::turn::Paced;
use crate::chat::commands::{decide, elsewhere, tell, unread};
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::membership::Membership;
use crate::chat::people::member::Person;
use crate::chat::people::session::{Dialect, Session};
use crate::chat::wire::notices::{Ending, Farewell};

/// Ends a session: a `bye`, then the closing handshake. It is in no room and holds no name from now on.
pub(in crate::chat) fn dismiss<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId, reason: Farewell) {
    dismiss_with(chat, ctx, conn, Ending { reason, message: reason.message(), retry_after_ms: None });
}

/// The same, with what else is told.
pub(in crate::chat) fn dismiss_with<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    conn: ConnId,
    ending: Ending<'_>,
) {
    let Ending { reason, message, .. } = ending;
    let user = chat.people.actor(SessionId::of(conn)).map(|actor| actor.name);
    let Some(session) = chat.people.session(conn) else { return };
    session.note_dismissal(user, message);
    match session.dialect() {
        Dialect::V1 => chat.responder.bye(ctx, conn, &ending),
        Dialect::Tutorial => chat.responder.farewell(ctx, conn, message),
    }
    detach(chat, ctx, conn);
    ctx.close(conn, reason.code(), message);
}

/// Ends a banned session, and tells it when the ban ends, if it does.
pub(in crate::chat) fn dismiss_banned<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    conn: ConnId,
    until: Option<u64>,
) {
    let reason = Farewell::Banned;
    let retry_after_ms = until.map(|until| until.saturating_sub(ctx.now().unix_ms));
    dismiss_with(chat, ctx, conn, Ending { reason, message: reason.message(), retry_after_ms });
}

/// Takes a session out of all that it is in.
pub(in crate::chat) fn detach<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId) {
    unread::forget(chat, conn);
    let Some(rooms) = chat.people.end_session(conn) else { return };
    for membership in rooms {
        take_out(chat, ctx, conn, &membership);
    }
    tell::disconnecting(chat, ctx.now(), conn);
    if let Some(user) = chat.people.speak_for_nobody(SessionId::of(conn), ctx.now().monotonic_ms) {
        elsewhere::exit(chat, conn, &user);
    }
    forget_paced(chat, ctx, conn);
    decide::forget(chat, ctx, conn);
}

/// Lets go of what waited for a connection that is gone.
fn forget_paced<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId) {
    for paced in chat.turn.forget(conn) {
        chat.turn.let_go(&paced, &mut chat.pending);
        let hold = match paced {
            Paced::Command(_) => {
                chat.people.end_waiting(None);
                None
            }
            Paced::Answer(query, _) => query.hold,
            Paced::Join(join) => chat.pending.end_join(join).map(|join| join.into_answer().hold),
            Paced::Scan(scan) => Some(scan.into_hold()),
        };
        if let Some(hold) = hold {
            chat.rooms.release(ctx, hold);
        }
    }
}

/// A connection leaves a room, of its own will or not.
pub(in crate::chat) fn expel<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId, room: RoomId) {
    let left = chat.people.at(SessionId::of(conn)).and_then(|session| session.leave(room));
    if let Some(membership) = left {
        take_out(chat, ctx, conn, &membership);
    }
}

/// Takes a connection out of a room; it does not count the room among its own any more.
fn take_out<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId, membership: &Membership) {
    let room = membership.room;
    let name = Arc::clone(chat.rooms[room].name());
    tell::left(chat, ctx.now(), SessionId::of(conn), &name);
    forget_member(chat, SessionId::of(conn), membership);
    let omit = chat.people.look(SessionId::of(conn)).map(Session::omit).unwrap_or_default();
    if let Some(topic) = chat.rooms[room].leave_topic(omit) {
        ctx.unsubscribe(conn, topic);
    }
    chat.rooms.rest(ctx, room);
}

/// Takes a session out of the members of a room.
fn forget_member(chat: &mut Chat, session: SessionId, membership: &Membership) {
    let Membership { room, position, known } = *membership;
    let moved = chat.rooms.leave(room, position);
    elsewhere::went(chat, room, session);
    if let Some(moved) = moved.and_then(|moved| chat.people.at(moved))
        && let Some(moved) = moved.membership(room)
    {
        moved.position = position;
    }
    let number = chat.people.look(session).map(Session::number);
    if let Some((number, actor)) = number.zip(chat.people.actor(session)) {
        let identity = actor.identity();
        let gone = Person { client: actor.client, user: actor.name, is_verified: actor.is_verified };
        chat.rooms[room].went(number, known, gone);
        // A guest's name is anybody's as soon as the guest has left.
        if !identity.is_verified && !chat.people.is_in_besides(&identity.person, room, session) {
            chat.rooms[room].forget_read(&identity);
        }
    }
    chat.rooms.touch(room);
}
