//! Coming in and going out: without a gap, and without a part of what was missed.

use std::sync::Arc;

use crate::app::{ConnId, Context};
use crate::chat::commands::call::Call;
use crate::chat::commands::{ask, elsewhere, ending, tell, turn};
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::membership::Membership;
use crate::chat::pending::queries::{JoinRange, PendingJoin, Purpose};
use crate::chat::rooms::Room;
use crate::chat::wire::notices::{Changes, Joined, Left, MemberList, Members, Messages};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{Action, Keep, Query, Record};

pub(in crate::chat) fn join<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    range: JoinRange<'_>,
) -> Result<(), Refusal> {
    let ReplyTo::Connection(conn, _) = call.reply_to else {
        return Err(Refusal::field(Code::BadField, "type", "a connection joins, nobody else"));
    };
    check_room_for(chat, *conn, room)?;
    if !chat.pending.is_on_disk() {
        return finish_join(chat, call, room, &range, &[]);
    }
    let state = &chat.rooms[room];
    let (after, _) = wanted(chat, state, &range);
    let first = state.recent().first_in_memory();
    let visible_from = chat.options.visible_from(state, call.ctx.now().unix_ms);
    let needs_page = after + 1 < first && first > visible_from;
    let needs_read = call.actor.is_verified && state.read_position(&call.actor.identity()).is_none();
    if !needs_page && !needs_read {
        return finish_join(chat, call, room, &range, &[]);
    }
    let (name, rev) = (Arc::clone(state.name()), state.recent().rev());
    let join = chat.pending.next_join();
    let mut awaits = 0;
    if needs_page {
        let (room, limit) = (Arc::clone(&name), (first - 1 - after) as usize);
        let request = |ask| Query::Page { ask, room, before: first, limit, keep: Keep::Newest };
        ask::ask_for(chat, call.reply_to, None, Purpose::JoinPage(join), request)?;
        awaits += 1;
    }
    if needs_read {
        let user = Arc::clone(&call.actor.person);
        let request = |ask| Query::ReadPosition { ask, room: name, user };
        match ask::ask_for(chat, call.reply_to, None, Purpose::JoinRead(join), request) {
            Ok(()) => awaits += 1,
            // The page is asked for already; the read position is not worth a refusal.
            Err(refusal) if awaits == 0 => return Err(refusal),
            Err(_) => {}
        }
    }
    let hold = chat.rooms.hold(room);
    let pending =
        PendingJoin::new((call.reply_to.clone(), call.actor.clone()), hold, range.into_owned(), rev, awaits);
    chat.pending.begin_join(join, pending);
    if let Some(session) = chat.people.session(*conn) {
        session.begin_joining(room);
    }
    Ok(())
}

/// Milliseconds after which a client asks again that knows more than this server.
const HEARD_OF_MS: u64 = 200;
/// Milliseconds for which a connection is asked to ask again that knows a history of which this server has not heard: it may be
/// the newest one, of which another server has told it.
const HEARD_WITHIN_MS: u64 = 3000;

/// Whether there is a place for a connection.
fn check_room_for(chat: &mut Chat, conn: ConnId, room: RoomId) -> Result<(), Refusal> {
    let Some(session) = chat.people.session(conn) else { return Ok(()) };
    let limits = &chat.options.limits;
    if session.is_in(room) {
        return Ok(());
    }
    if session.room_count() >= limits.max_rooms_per_connection {
        return Err(Refusal::field(Code::TooManyRooms, "room", "leave another room first"));
    }
    let members = chat.rooms[room].members().len();
    if members + elsewhere::count(chat, chat.rooms[room].name()) >= limits.max_members {
        return Err(Refusal::field(Code::RoomFull, "room", "the room is full"));
    }
    Ok(())
}

/// Where several processes share a history, a client that comes from another one may know what is still on its way to this one.
fn check_heard_of(
    chat: &mut Chat,
    (conn, now_ms): (ConnId, u64),
    room: RoomId,
    range: &JoinRange<'_>,
) -> Result<(), Refusal> {
    let Some(since) = range.since.as_ref().filter(|_| chat.pending.is_shared()) else { return Ok(()) };
    let is_new = chat.people.session(conn).is_some_and(|it| now_ms < it.since() + HEARD_WITHIN_MS);
    let (room, recent) = (&chat.rooms[room], chat.rooms[room].recent());
    let is_ahead = since.seq > recent.seq() || since.rev.is_some_and(|rev| rev > recent.rev());
    let is_unheard_of = is_new && room.known_under(&since.epoch).is_none();
    if *since.epoch == **room.epoch() && is_ahead || is_unheard_of {
        let message = "this server has not heard yet of what you know; ask again";
        return Err(Refusal::later(Code::Unavailable, HEARD_OF_MS, message));
    }
    Ok(())
}

/// The number behind which messages are wanted, and whether all of them must be there.
fn wanted(chat: &Chat, room: &Room, range: &JoinRange<'_>) -> (u64, bool) {
    let limits = &chat.options.limits;
    let (newest, newest_rev) = (room.recent().seq(), room.recent().rev());
    if let Some(since) = &range.since
        && let Some((seq, rev)) = room.known_under(&since.epoch)
        && since.seq <= seq
        && newest - since.seq <= limits.max_recovery as u64
        && since.rev.is_none_or(|known| {
            known <= rev
                && newest_rev - known <= limits.max_recovery as u64
                && room.recent().log().changes_after(known, newest_rev).is_some()
        })
    {
        return (since.seq, true);
    }
    let count = range.history.unwrap_or(chat.options.history as u64).min(limits.max_history as u64);
    (newest - count.min(newest), false)
}

/// Enters the room. `older` is what the history had of the messages before those in memory.
pub(in crate::chat) fn finish_join<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    range: &JoinRange<'_>,
    older: &[Record],
) -> Result<(), Refusal> {
    let ReplyTo::Connection(conn, _) = call.reply_to else { return Ok(()) };
    // It may have become full while answers were awaited.
    check_room_for(chat, *conn, room)?;
    check_heard_of(chat, (*conn, call.ctx.now().unix_ms), room, range)?;
    enter(chat, call.ctx, *conn, room);
    let most = chat.options.limits.max_listed;
    let listed = chat.rooms[room].members().len().min(most);
    let (others, elsewhere) = elsewhere::members(chat, chat.rooms[room].name(), most - listed);
    // What is told borrows the rooms and the people.
    let mut responder = std::mem::take(&mut chat.responder);
    let state = &chat.rooms[room];
    let visible_from = chat.options.visible_from(state, call.ctx.now().unix_ms);
    let told = told(chat, state, visible_from, range, older);
    let members = state.members();
    let permissions = chat.people.permissions(call.actor, state.name());
    let Told { messages, more, changes, recovered } = told;
    let joined = Joined {
        id: call.reply_to.id(),
        room: state.name(),
        epoch: state.epoch(),
        seq: state.recent().seq(),
        rev: state.recent().rev(),
        recovered,
        messages,
        more,
        changes: Changes { parts: changes, visible_from },
        members: Members { people: &chat.people, sessions: &members[..listed], others: &others },
        count: members.len() + elsewhere,
        read: state.read_position(&call.actor.identity()).unwrap_or(0),
        permissions: &permissions,
    };
    let octets = responder.send(call.ctx, *conn, &joined);
    chat.responder = responder;
    turn::note_answer(chat, call.reply_to, octets);
    if range.since.is_some() {
        *(if recovered { &mut chat.counts.recovered } else { &mut chat.counts.unrecovered }) += 1;
    }
    Ok(())
}

/// What a join tells of the history: all that was missed, or the newest messages.
fn told<'a>(
    chat: &'a Chat,
    state: &'a Room,
    visible_from: u64,
    range: &JoinRange<'_>,
    older: &'a [Record],
) -> Told<'a> {
    let most = chat.options.limits.max_answer;
    let (log, seq, rev) = (state.recent().log(), state.recent().seq(), state.recent().rev());
    let first = state.recent().first_in_memory();
    let messages_after = |after: u64| {
        let after = after.max(visible_from.saturating_sub(1));
        let older = older_part(older, after, first);
        let [middle, newest] = log.between(after, u64::MAX);
        Messages::new([older, middle, newest], chat.people.lookalikes())
    };
    let (after, recovered) = wanted(chat, state, range);
    if recovered {
        let known = range.since.as_ref().and_then(|since| since.rev);
        let parts = known.and_then(|known| log.changes_after(known, rev)).unwrap_or_default();
        let octets = Changes { parts, visible_from }.octets();
        let (messages, _, is_cut) = messages_after(after).newest_within(most.saturating_sub(octets));
        // A part that is missing makes all of it worthless.
        let is_whole = messages.first_seq().unwrap_or(seq + 1) <= after + 1;
        if is_whole && !is_cut && octets <= most {
            return Told { messages, more: false, changes: parts, recovered };
        }
    }
    let (after, _) = wanted(chat, state, &JoinRange { since: None, history: range.history });
    let (messages, _, more) = messages_after(after).newest_within(most);
    Told { messages, more, changes: [&[], &[]], recovered: false }
}

/// Makes a connection a member; one that is stays one.
fn enter<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId, room: RoomId) {
    let Some(session) = chat.people.session(conn) else { return };
    if session.is_in(room) {
        chat.rooms[room].listed();
        return;
    }
    let position = chat.rooms.enter(room, session.id());
    let state = &mut chat.rooms[room];
    let known = state.came(session.id(), session.number());
    session.enter(Membership { room, position, known });
    let omit = session.omit();
    if state.lacks_topic(omit) {
        let options = chat.options.topic(state.name());
        chat.rooms.open_topic(ctx, room, omit, options);
    }
    if let Some(topic) = chat.rooms[room].enter_topic(omit) {
        // Cannot fail: it is open, and sends no fragments.
        let _ = ctx.subscribe(conn, topic);
    }
    chat.rooms.touch(room);
    elsewhere::came(chat, room, SessionId::of(conn));
    let name = Arc::clone(chat.rooms[room].name());
    tell::joined(chat, ctx.now(), SessionId::of(conn), &name);
}

pub(in crate::chat) fn leave<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
) -> Result<(), Refusal> {
    let (Some(_), Some(conn)) = (call.actor.session, call.reply_to.conn()) else {
        return Err(Refusal::not_joined());
    };
    let name = Arc::clone(chat.rooms[room].name());
    ending::expel(chat, call.ctx, conn, room);
    chat.responder.reply(call.ctx, call.reply_to, &Left { id: call.reply_to.id(), room: &name });
    Ok(())
}

pub(in crate::chat) fn who<C: Context>(chat: &mut Chat, call: &mut Call<'_, C>, room: RoomId) {
    let most = chat.options.limits.max_listed;
    let listed = chat.rooms[room].members().len().min(most);
    let (others, elsewhere) = elsewhere::members(chat, chat.rooms[room].name(), most - listed);
    let Chat { rooms, people, responder, .. } = chat;
    rooms[room].listed();
    let members = rooms[room].members();
    let list = MemberList {
        id: call.reply_to.id(),
        room: rooms[room].name(),
        members: Members { people, sessions: &members[..listed], others: &others },
        count: members.len() + elsewhere,
    };
    let octets = responder.reply(call.ctx, call.reply_to, &list);
    turn::note_answer(chat, call.reply_to, octets);
}

/// What a join tells of the history.
#[derive(Debug)]
struct Told<'a> {
    messages: Messages<'a>,
    /// Older messages were asked for than those that fit.
    more: bool,
    changes: [&'a [Action]; 2],
    recovered: bool,
}

/// Of what the store had, what fits without a gap before the messages in memory.
fn older_part(older: &[Record], after: u64, first: u64) -> &[Record] {
    let end = older.partition_point(|record| record.post.seq < first);
    let mut start = end;
    while start > 0
        && older[start - 1].post.seq > after
        && older[start - 1].post.seq + (end - start) as u64 + 1 == first
    {
        start -= 1;
    }
    &older[start..end]
}
