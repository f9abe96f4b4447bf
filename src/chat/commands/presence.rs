//! Signs of life that are no messages: who types, who has read how far, who came and went.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::ids::RoomId;
use crate::chat::people::actor::Actor;
use crate::chat::people::member::Member;
use crate::chat::people::user::Identity;
use crate::chat::rooms::News;
use crate::chat::rooms::presence::Comings;
use crate::chat::wire::notices::{Presence, ReadPosition, Reads, Typing};
use crate::chat::{Chat, timer};

/// What a room is told now; else a timer is set where one is needed.
fn now_or_later<C: Context, T>(ctx: &mut C, room: RoomId, news: News<T>) -> Option<T> {
    if let Err(Some(at)) = news {
        ctx.set_timer(at, timer::room(room));
    }
    news.ok()
}

/// The others see it, once a second for each user.
pub(in crate::chat) fn typing<C: Context>(chat: &mut Chat, call: &mut Call<'_, C>, room: RoomId) {
    let Call { ctx, actor, .. } = call;
    let now = ctx.now().monotonic_ms;
    let session = actor.session.and_then(|session| chat.people.look(session));
    let Some((conn, user)) = session.and_then(|session| Some((session.conn(), session.user()?))) else {
        return;
    };
    let state = &mut chat.rooms[room];
    if !state.types(user, now, chat.options.limits.typing_ms) {
        return;
    }
    if let Some(topic) = state.topic() {
        let notice = Typing { room: state.name(), user: &actor.name };
        chat.responder.publish(*ctx, topic, &notice, Some(conn));
    }
}

/// A read position only goes forward, and never beyond what there is.
pub(in crate::chat) fn read(chat: &mut Chat, actor: &Actor, room: RoomId, seq: u64) {
    let state = &chat.rooms[room];
    let seq = seq.min(state.order().seq());
    let identity = actor.identity();
    if state.read_position(&identity).is_some_and(|known| known >= seq) || seq == 0 {
        return;
    }
    // A guest's name is anybody's the next day.
    if actor.is_verified {
        chat.pending.add_read(state, Arc::clone(&actor.person), seq);
    }
    let state = &mut chat.rooms[room];
    state.keep_read(&identity, seq, chat.options.limits.max_read_positions);
    state.note_read(identity);
    chat.rooms.touch(room);
}

/// Tells rooms of what happened in them, no more often than may be.
pub(in crate::chat) fn tell_rooms<C: Context>(chat: &mut Chat, ctx: &mut C) {
    for room in chat.rooms.take_dirty() {
        tell_presence(chat, ctx, room);
        tell_reads(chat, ctx, room);
    }
}

fn tell_presence<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId) {
    let now = ctx.now().monotonic_ms;
    let limits = &chat.options.limits;
    let members = chat.rooms[room].members().len();
    // What a notice costs grows with the members; so that all of them together do not, they come less often.
    let every = limits.presence_ms * (1 + (members / limits.presence_members.max(1)) as u64);
    let news = chat.rooms[room].take_presence(now, every);
    let Some(Comings { came, went }) = now_or_later(ctx, room, news) else { return };
    // Of those that came some went again, and some came twice.
    let mut here = Vec::new();
    for (id, number) in came {
        let session = chat.people.at(id).filter(|session| session.number() == number);
        if let Some(membership) = session.and_then(|session| session.membership(room))
            && !std::mem::replace(&mut membership.known.is_announced, true)
        {
            here.push(id);
        }
    }
    if here.is_empty() && went.is_empty() {
        return;
    }
    let Chat { rooms, responder, people, options, .. } = chat;
    let state = &rooms[room];
    let most = options.limits.max_listed;
    let joined: Vec<Member<'_>> =
        here.iter().take(most).filter_map(|session| people.member(*session)).collect();
    let left: Vec<Member<'_>> = went
        .iter()
        .take(most)
        .map(|gone| Member { client: &gone.client, ..people.shown(&gone.user, gone.is_verified) })
        .collect();
    if let Some(topic) = state.topic() {
        let count = state.members().len();
        let notice = Presence { room: state.name(), joined: &joined, left: &left, count };
        responder.publish(ctx, topic, &notice, None);
    }
}

fn tell_reads<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId) {
    let now = ctx.now().monotonic_ms;
    let every = chat.options.limits.reads_ms;
    let news = chat.rooms[room].take_reads(now, every);
    let Some(untold) = now_or_later(ctx, room, news) else { return };
    let Chat { rooms, responder, people, options, .. } = chat;
    let state = &rooms[room];
    let position = |(user, seq): &'_ (Identity, u64)| {
        let name = people.name_of(&user.person).unwrap_or(&user.person);
        (Arc::clone(name), user.is_verified, *seq)
    };
    let positions: Vec<(Arc<str>, bool, u64)> =
        untold.iter().take(options.limits.max_listed).map(position).collect();
    let reads: Vec<ReadPosition<'_>> = positions
        .iter()
        .map(|(user, verified, seq)| ReadPosition { user, verified: *verified, seq: *seq })
        .collect();
    if let Some(topic) = state.topic() {
        responder.publish(ctx, topic, &Reads { room: state.name(), reads: &reads }, None);
    }
}
