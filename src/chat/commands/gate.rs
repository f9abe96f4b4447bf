//! Whether a command may be done. Whatever way a command comes in, at once or after it has waited, it goes through
//! [`admit`] first, and through [`gate`] where it is about a room.

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::ending;
use crate::chat::ids::RoomId;
use crate::chat::people::permission::{Right, right_to};
use crate::chat::rooms::Kind;
use crate::chat::wire::command::Command;
use crate::chat::wire::notices::Farewell;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};

/// Whether somebody may do anything at all now. `false`: the session has ended.
pub(in crate::chat) fn admit<C: Context>(chat: &mut Chat, call: &mut Call<'_, C>) -> Result<bool, Refusal> {
    let Some(session) = call.actor.session else { return Ok(true) };
    let Some(session) = chat.people.look(session).filter(|session| session.is_live()) else {
        return Ok(false);
    };
    let conn = session.conn();
    match session.claims() {
        Some(claims) if claims.expires_unix_s.saturating_mul(1000) <= call.ctx.now().unix_ms => {
            ending::dismiss(chat, call.ctx, conn, Farewell::TokenExpired);
            Ok(false)
        }
        None if !chat.options.guests => Err(Refusal::no_token()),
        _ => Ok(true),
    }
}

/// Whether somebody may do this in an open room.
pub(in crate::chat) fn gate<C>(
    chat: &Chat,
    call: &Call<'_, C>,
    room: RoomId,
    command: &Command<'_>,
) -> Result<(), Refusal> {
    let Call { reply_to, actor, .. } = call;
    let state = &chat.rooms[room];
    if let Kind::Pair([a, b]) = state.kind() {
        let other = if *a == actor.person { b } else { a };
        let right = right_to(command).unwrap_or(Right::Join);
        return chat.people.require_pair(actor, right, other, "room");
    }
    let is_in = match (actor.session, reply_to) {
        // What `json` sees is the room `general`, for those who may join it.
        (None, _) | (_, ReplyTo::Tutorial(_)) => true,
        (Some(session), _) => chat.people.look(session).is_some_and(|session| session.is_in(room)),
    };
    if !is_in && !matches!(command, Command::Join { .. }) {
        return Err(Refusal::not_joined());
    }
    match right_to(command) {
        Some(right) => chat.people.require(actor, right, state.name(), "room"),
        None => Ok(()),
    }
}

/// Whether anything can be added to any history now.
pub(in crate::chat) fn check_writable(chat: &Chat) -> Result<(), Refusal> {
    if chat.is_draining {
        return Err(Refusal::new(Code::ShuttingDown, "the server stops; send it to the next one"));
    }
    if chat.pending.is_failed() || chat.pending.len() >= chat.options.limits.max_pending {
        return Err(Refusal::unavailable());
    }
    Ok(())
}

/// The same for one room; the empty name stands for what is not about one room.
pub(in crate::chat) fn check_room_writable(chat: &Chat, room: &str) -> Result<(), Refusal> {
    check_writable(chat)?;
    if chat.pending.is_away(room) { Err(Refusal::unavailable()) } else { Ok(()) }
}
