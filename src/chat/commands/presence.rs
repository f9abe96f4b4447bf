//! Signs of life that are no messages: who types, who has read how far, who came and went.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::{elsewhere, unread};
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::neighbours::Word;
use crate::chat::people::actor::Actor;
use crate::chat::people::member::{Member, Person};
use crate::chat::people::user::Identity;
use crate::chat::rooms::presence::Comings;
use crate::chat::rooms::{Kind, News};
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
    if let Kind::Pair(pair) = state.kind() {
        let other = other_of(pair, &actor.person);
        if *other.person != *actor.person {
            let room = format!("@{}", actor.name);
            let notice = chat.responder.encode(&Typing { room: &room, user: &actor.name });
            elsewhere::tell_everywhere(&chat.people, &mut chat.neighbours, *ctx, (&[other], notice));
        }
        return;
    }
    let notice = Typing { room: state.name(), user: &actor.name };
    chat.responder.publish(*ctx, state.topics(), &notice, Some(conn));
    if chat.neighbours.is_some() {
        let (room, user) = (Arc::clone(chat.rooms[room].name()), Arc::clone(&actor.name));
        elsewhere::sign(chat, &room.clone(), &Word::Typing { room, user });
    }
}

/// The other one of two.
fn other_of([a, b]: &[Arc<str>; 2], person: &Arc<str>) -> Identity {
    let person = if a == person { b } else { a };
    Identity { person: Arc::clone(person), is_verified: true }
}

/// A read position only goes forward, and never beyond what there is.
pub(in crate::chat) fn read(chat: &mut Chat, actor: &Actor, room: RoomId, seq: u64) {
    let state = &chat.rooms[room];
    let seq = seq.min(state.recent().seq());
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
    if actor.is_verified {
        let name = Arc::clone(chat.rooms[room].name());
        unread::note_read(chat, &actor.person, &name, seq);
    }
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
    let Some(comings) = now_or_later(ctx, room, news) else { return };
    let Comings { came, went, is_owed, elsewhere } = comings;
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
    let most = chat.options.limits.max_listed;
    if is_owed {
        tell_others(chat, room, &here, &went);
    }
    if here.is_empty() && went.is_empty() && elsewhere.is_none() {
        return;
    }
    let elsewhere = elsewhere.unwrap_or_default();
    let others = elsewhere::count(chat, chat.rooms[room].name());
    let Chat { rooms, responder, people, .. } = chat;
    let state = &rooms[room];
    let own = here.iter().filter_map(|session| people.member(*session));
    let came = elsewhere.came.iter().map(|person| people.shown_person(person));
    let joined: Vec<Member<'_>> = own.chain(came).take(most).collect();
    let gone = went.iter().chain(&elsewhere.went);
    let left: Vec<Member<'_>> = gone.map(|person| people.shown_person(person)).take(most).collect();
    let count = state.members().len() + others;
    let notice = Presence { room: state.name(), joined: &joined, left: &left, count };
    responder.publish(ctx, state.topics(), &notice, None);
}

/// The other loops are told who came and went.
fn tell_others(chat: &mut Chat, room: RoomId, here: &[SessionId], went: &[Person]) {
    if chat.neighbours.is_none() {
        return;
    }
    let most = chat.options.limits.max_listed;
    let actors = here.iter().take(most).filter_map(|session| chat.people.actor(*session));
    let came = actors
        .map(|actor| Person { client: actor.client, user: actor.name, is_verified: actor.is_verified })
        .collect();
    elsewhere::tell_presence(chat, room, (came, went.iter().take(most).cloned().collect()));
}

fn tell_reads<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId) {
    let now = ctx.now().monotonic_ms;
    let every = chat.options.limits.reads_ms;
    let news = chat.rooms[room].take_reads(now, every);
    let Some(untold) = now_or_later(ctx, room, news) else { return };
    if let Kind::Pair(pair) = chat.rooms[room].kind() {
        let pair = pair.clone();
        return tell_pair_reads(chat, ctx, &pair, &untold);
    }
    let Chat { rooms, responder, people, options, .. } = chat;
    let state = &rooms[room];
    let position = |(user, seq): &'_ (Identity, u64)| {
        let name = people.name_of(&user.person).unwrap_or(&user.person);
        (user.clone(), Arc::clone(name), *seq)
    };
    let positions: Vec<(Identity, Arc<str>, u64)> =
        untold.iter().take(options.limits.max_listed).map(position).collect();
    let reads: Vec<ReadPosition<'_>> = positions
        .iter()
        .map(|(user, name, seq)| ReadPosition { user: name, verified: user.is_verified, seq: *seq })
        .collect();
    responder.publish(ctx, state.topics(), &Reads { room: state.name(), reads: &reads }, None);
    if chat.neighbours.is_some() {
        let room = Arc::clone(chat.rooms[room].name());
        let word = Word::Reads { room: Arc::clone(&room), positions: positions.into() };
        elsewhere::sign(chat, &room, &word);
    }
}

/// Both of a conversation are told how far one of them has read.
fn tell_pair_reads<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    pair: &[Arc<str>; 2],
    untold: &[(Identity, u64)],
) {
    for (reader, seq) in untold {
        let other = other_of(pair, &reader.person);
        let own_name = elsewhere::pair_name(chat, &reader.person);
        let other_name = elsewhere::pair_name(chat, &other.person);
        let user = own_name.strip_prefix('@').unwrap_or(&own_name);
        let reads = [ReadPosition { user, verified: true, seq: *seq }];
        let is_alone = other == *reader;
        for (to, room) in [(reader.clone(), &other_name), (other, &own_name)] {
            let notice = chat.responder.encode(&Reads { room, reads: &reads });
            elsewhere::tell_everywhere(&chat.people, &mut chat.neighbours, ctx, (&[to], notice));
            if is_alone {
                break;
            }
        }
    }
}
