//! What has become history reaches those whom it concerns.

use crate::app::{Context, Outgoing};
use crate::chat::Chat;
use crate::chat::ids::RoomId;
use crate::chat::pending::keys::with_scope;
use crate::chat::people::names;
use crate::chat::people::user::User;
use crate::chat::rooms::Kind;
use crate::chat::wire::notices::{ChangeNotice, Direct, Message};
use crate::history::{Action, Post};

/// A change becomes part of a room's history, and everybody there is told.
pub(in crate::chat) fn happened<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId, action: &Action) {
    let prev = chat.rooms.happened(room, action);
    match action {
        Action::Post(post) => {
            chat.counts.posts += 1;
            let (name, holders) = (chat.rooms[room].name(), chat.people.holders());
            with_scope(post, name, holders, |scope| chat.keys.commit(scope));
            tell_post(chat, ctx, room, post, prev);
        }
        Action::Edit { .. } | Action::Delete { .. } | Action::React { .. } => {
            chat.counts.changes += 1;
            let state = &chat.rooms[room];
            let notice = ChangeNotice { room: Some(state.name()), action, is_visible: true };
            if let Some(topic) = state.topic() {
                chat.responder.publish(ctx, topic, &notice, None);
            }
        }
        Action::Read { .. } => {}
    }
    let visible = chat.options.visible_from(&chat.rooms[room], ctx.now().unix_ms);
    chat.rooms.trim(room, visible, &chat.options.limits);
    chat.tutorial.note_change(room);
    chat.rooms.make_room(ctx, &chat.options.limits, room);
}

fn tell_post<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId, post: &Post, prev: u64) {
    let Chat { rooms, responder, people, .. } = chat;
    let state = &rooms[room];
    let (user, client, text) = (&*post.user, &*post.client, &*post.text);
    let (seq, time, verified) = (post.seq, post.time, post.is_verified);
    let lookalike = people.shown(user, verified).lookalike;
    if let Some(topic) = state.topic() {
        let message =
            Message { room: state.name(), seq, prev, user, verified, lookalike, client, text, time };
        responder.publish(ctx, topic, &message, None);
    }
    if let Kind::Pair(pair) = state.kind() {
        let from = names::fold(user);
        let to = if *pair[0] == *people.holders().person_or(&from) { &pair[1] } else { &pair[0] };
        let shown = people.find_verified(to).and_then(|user| people.user(user));
        let shown = shown.map_or(to, User::name);
        let direct =
            Direct { from: user, to: shown, verified, lookalike, seq: Some(seq), client, text, time };
        let direct = responder.encode(&direct);
        let only_once = if pair[0] == pair[1] { &pair[..1] } else { &pair[..] };
        for conn in only_once.iter().flat_map(|person| people.hearers_of(people.find_verified(person))) {
            // A connection that has ended has no use for it.
            let _ = ctx.send(conn, Outgoing::text(direct));
        }
    }
}
