//! What has become history reaches those whom it concerns.

use crate::app::{Context, Outgoing};
use crate::chat::Chat;
use crate::chat::commands::elsewhere;
use crate::chat::ids::RoomId;
use crate::chat::people::names;
use crate::chat::wire::data::Json;
use crate::chat::wire::notices::{ChangeNotice, Direct, Message};
use crate::history::{Action, Change, Post};

/// A change becomes part of a room's history, and everybody there is told.
pub(in crate::chat) fn happened<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId, action: &Action) {
    let prev = chat.rooms.happened(room, action);
    match action {
        Action::Post(post) => {
            tell_post(chat, ctx, room, post, prev);
        }
        Action::Edit { .. } | Action::Delete { .. } | Action::React { .. } => {
            let state = &chat.rooms[room];
            let notice = ChangeNotice { room: Some(state.name()), action, is_visible: true };
            chat.responder.publish(ctx, state.topics(), &notice, None);
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
    let (data, reply_to) = (post.data.as_ref().map(Json), post.reply_to);
    let lookalike = people.shown(user, verified).lookalike;
    for (omit, topic) in state.audiences() {
        let (prev, client) = ((!omit.prev()).then_some(prev), (!omit.client()).then_some(client));
        let room = state.name();
        let message =
            Message { room, seq, prev, user, verified, lookalike, client, text, data, reply_to, time };
        responder.publish(ctx, [topic], &message, None);
    }
}

/// What happens in a conversation of two reaches the connections of both.
pub(in crate::chat) fn tell_pair<C: Context>(chat: &mut Chat, ctx: &mut C, change: &Change) {
    let Some(pair) = change.room.strip_prefix('@').and_then(|pair| pair.split_once('\n')) else { return };
    match &change.action {
        Action::Post(post) => tell_direct(chat, ctx, pair, post),
        action @ (Action::Edit { .. } | Action::Delete { .. } | Action::React { .. }) => {
            for (person, other) in sides(pair) {
                let person = chat.people.find_verified(person);
                if chat.people.hearing(person).is_none() {
                    continue;
                }
                let room = elsewhere::pair_name(chat, other);
                let Chat { responder, people, .. } = chat;
                let notice = responder.encode(&ChangeNotice { room: Some(&room), action, is_visible: true });
                for conn in people.hearers_of(person) {
                    // A connection that has ended has no use for it.
                    let _ = ctx.send(conn, Outgoing::text(notice));
                }
            }
        }
        Action::Read { .. } => {}
    }
}

/// Each of the two with the other; somebody who talks to themselves once.
fn sides<'p>((a, b): (&'p str, &'p str)) -> impl Iterator<Item = (&'p str, &'p str)> {
    std::iter::once((a, b)).chain((a != b).then_some((b, a)))
}

/// A message from one user to another.
fn tell_direct<C: Context>(chat: &mut Chat, ctx: &mut C, pair: (&str, &str), post: &Post) {
    let (user, verified) = (&*post.user, post.is_verified);
    let from = names::fold(user);
    let is_of_first = *pair.0 == *chat.people.holders().person_or(&from);
    let to = if is_of_first { pair.1 } else { pair.0 };
    let shown = elsewhere::pair_name(chat, to);
    let Chat { responder, people, .. } = chat;
    let direct = Direct {
        from: user,
        to: shown.strip_prefix('@').unwrap_or(&shown),
        verified,
        lookalike: people.shown(user, verified).lookalike,
        seq: Some(post.seq),
        client: &post.client,
        text: &post.text,
        data: post.data.as_ref().map(Json),
        reply_to: post.reply_to,
        time: post.time,
    };
    let direct = responder.encode(&direct);
    let hearers = sides(pair).flat_map(|(person, _)| people.hearers_of(people.find_verified(person)));
    for conn in hearers {
        // A connection that has ended has no use for it.
        let _ = ctx.send(conn, Outgoing::text(direct));
    }
}
