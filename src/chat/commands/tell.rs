//! Whoever is to know is told what has happened.

use std::sync::Arc;

use crate::app::{ConnId, Now};
use crate::chat::Chat;
use crate::chat::happening::Happening;
use crate::chat::ids::SessionId;
use crate::chat::people::actor::Actor;
use crate::chat::people::session::Session;
use crate::history::{Action, BanChange, EventKind};

fn is_told(chat: &Chat, kind: EventKind) -> bool {
    chat.deciding.as_ref().is_some_and(|deciding| deciding.options.tells.has(kind))
}

/// Whether what happens is told by the chat itself: else the history has an outbox for it.
pub(in crate::chat) fn is_direct(chat: &Chat) -> bool {
    let deciding = chat.deciding.as_ref().filter(|deciding| !deciding.options.tells.is_empty());
    deciding.is_some_and(|deciding| !(deciding.options.is_through_history && chat.pending.is_on_disk()))
}

/// Tells of what changes no room: by the outbox of the history, between the changes that the same tick proposes.
fn tell(chat: &mut Chat, happening: &Happening<'_>) {
    if !is_direct(chat) {
        return chat.pending.add_note(happening.json().into(), chat.options.limits.max_pending);
    }
    if let Some(deciding) = &mut chat.deciding {
        deciding.events().tell(happening);
    }
}

/// The server begins.
pub(in crate::chat) fn started(chat: &mut Chat, now: Now) {
    let is_first = chat.neighbours.as_ref().is_none_or(|neighbours| neighbours.own() == 0);
    let presence = [EventKind::Connected, EventKind::Disconnected, EventKind::Joined, EventKind::Left];
    if is_first && presence.into_iter().any(|kind| is_told(chat, kind)) {
        tell(chat, &Happening::Started { time: now.unix_ms });
    }
}

/// A connection speaks for somebody.
pub(in crate::chat) fn connected(chat: &mut Chat, now: Now, conn: ConnId) {
    if !is_told(chat, EventKind::Connected) {
        return;
    }
    let session = SessionId::of(conn);
    let Some(address) = chat.people.look(session).map(Session::address) else { return };
    let Some(Actor { name, is_verified, client, .. }) = chat.people.actor(session) else { return };
    let (user, verified, client, address) = (&*name, is_verified, &*client, address.to_string());
    tell(chat, &Happening::Connected { user, verified, client, address, time: now.unix_ms });
}

/// A connection is about to speak for nobody any more.
pub(in crate::chat) fn disconnecting(chat: &mut Chat, now: Now, conn: ConnId) {
    if is_told(chat, EventKind::Disconnected)
        && let Some(Actor { name, is_verified, client, .. }) = chat.people.actor(SessionId::of(conn))
    {
        let (user, verified, client) = (&*name, is_verified, &*client);
        tell(chat, &Happening::Disconnected { user, verified, client, time: now.unix_ms });
    }
}

/// A connection has entered a room.
pub(in crate::chat) fn joined(chat: &mut Chat, now: Now, session: SessionId, room: &Arc<str>) {
    if is_told(chat, EventKind::Joined)
        && let Some(Actor { name, is_verified, client, .. }) = chat.people.actor(session)
    {
        let (user, verified, client) = (&*name, is_verified, &*client);
        tell(chat, &Happening::Joined { room, user, verified, client, time: now.unix_ms });
    }
}

/// A connection is in a room no more.
pub(in crate::chat) fn left(chat: &mut Chat, now: Now, session: SessionId, room: &Arc<str>) {
    if is_told(chat, EventKind::Left)
        && let Some(Actor { name, is_verified, client, .. }) = chat.people.actor(session)
    {
        let (user, verified, client) = (&*name, is_verified, &*client);
        tell(chat, &Happening::Left { room, user, verified, client, time: now.unix_ms });
    }
}

/// A change of the bans is proposed.
pub(in crate::chat) fn banning(chat: &mut Chat, now: Now, change: &BanChange) {
    if is_told(chat, EventKind::Banned) && !(is_direct(chat) && chat.pending.is_on_disk()) {
        tell(chat, &of_ban(now, change));
    }
}

/// A change of the bans that this loop proposed is durable.
pub(in crate::chat) fn banned(chat: &mut Chat, now: Now, change: &BanChange) {
    if is_told(chat, EventKind::Banned) && is_direct(chat) && chat.pending.is_on_disk() {
        tell(chat, &of_ban(now, change));
    }
}

fn of_ban(now: Now, change: &BanChange) -> Happening<'_> {
    match change {
        BanChange::Set(ban) => {
            Happening::Banned { user: &ban.user, until: ban.until, reason: &ban.reason, time: now.unix_ms }
        }
        BanChange::Lift(user) => Happening::Unbanned { user, time: now.unix_ms },
    }
}

/// A change of a room is history, which has no outbox for it.
pub(in crate::chat) fn changed(chat: &mut Chat, room: &str, action: &Action) {
    let Some(happening) = Happening::of_action(room, action) else { return };
    if happening.kind().is_some_and(|kind| is_told(chat, kind))
        && let Some(deciding) = &mut chat.deciding
    {
        deciding.events().tell(&happening);
    }
}
