//! What this loop and the other ones of the process tell each other.

use std::sync::Arc;

use serde::Serialize;

use crate::app::{ConnId, Context, Millis, Outgoing};
use crate::chat::commands::{ending, inspect, tell, unread};
use crate::chat::connections::{Connection, Found, Listing, Place};
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::neighbours::{Deed, Gather, Neighbours, Word};
use crate::chat::people::member::Person;
use crate::chat::people::session::{Dialect, Session};
use crate::chat::people::user::Identity;
use crate::chat::people::{People, names};
use crate::chat::wire::notices::{Ack, Broadcast, Ending, Farewell, Kicked, ReadPosition, Reads, Typing};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal, timer};
use crate::history::{Holder, NameRange};

/// What an operator is told.
#[derive(Serialize)]
struct Disconnected {
    disconnected: usize,
}

/// What an operator is told.
#[derive(Serialize)]
struct Receivers {
    receivers: usize,
}

/// What an operator is told of a user.
#[derive(Serialize)]
struct UserConnections {
    user: Option<Box<str>>,
    verified: bool,
    connections: Vec<Connection>,
}

/// Another loop tells something.
pub(in crate::chat) fn heard<C: Context>(chat: &mut Chat, ctx: &mut C, word: Word) {
    match word {
        Word::Presence { room, came, went } => {
            if let Some(room) = chat.rooms.find(&room) {
                let most = chat.options.limits.max_listed;
                chat.rooms[room].came_and_went_elsewhere(&came, &went, most);
                chat.rooms.touch(room);
            }
        }
        Word::Typing { room, user } => {
            if let Some(room) = chat.rooms.find(&room).map(|room| &chat.rooms[room]) {
                let notice = Typing { room: room.name(), user: &user };
                chat.responder.publish(ctx, room.topics(), &notice, None);
            }
        }
        Word::Reads { room, positions } => heard_reads(chat, ctx, &room, &positions),
        Word::Direct { users, notice } => tell_users(&chat.people, ctx, &users, &notice),
        Word::ReadUp { user, room, seq } => chat.watch.read(&user, &room, seq),
        Word::Subscribed { user, room, is_on } => unread::subscribed(chat, &user, &room, is_on),
        Word::Arrived { person } => {
            for conn in chat.people.guests_named(&person) {
                ending::dismiss(chat, ctx, conn, Farewell::NameTaken);
            }
        }
        Word::Held(holder) => chat.people.holders_mut().learn(&holder),
        Word::Do { from, gather, deed } => {
            let found = perform(chat, ctx, &deed);
            if let Some(neighbours) = &mut chat.neighbours {
                neighbours.tell(from, Word::Done { gather, found });
            }
        }
        Word::Done { gather, found } => {
            let done = chat.neighbours.as_mut().and_then(|neighbours| neighbours.answered(gather, found));
            if let Some(done) = done {
                finish(chat, ctx, done);
            }
        }
    }
}

/// Another process of the chat says that a verified name is somebody's.
pub(in crate::chat) fn held<C: Context>(chat: &mut Chat, ctx: &mut C, holder: &Holder) {
    if let Some(neighbours) = &chat.neighbours {
        neighbours.exchange().learn(holder);
    }
    // Whoever was given the name here at the same time does not have it after all.
    if let Some(loser) = chat.people.holders_mut().overrule(holder) {
        for conn in chat.people.conns_of(chat.people.find_verified(&loser)) {
            ending::dismiss(chat, ctx, conn, Farewell::NameTaken);
        }
    }
}

fn heard_reads<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    name: &str,
    positions: &[(Identity, Arc<str>, u64)],
) {
    let Some(room) = chat.rooms.find(name) else { return };
    let most = chat.options.limits.max_read_positions;
    for (user, _, seq) in positions {
        // One that is not known here is read from the disk when it is needed.
        if chat.rooms[room].read_position(user).is_some_and(|known| known < *seq) {
            chat.rooms[room].keep_read(user, *seq, most);
        }
    }
    let reads: Vec<ReadPosition<'_>> = positions
        .iter()
        .map(|(user, name, seq)| ReadPosition { user: name, verified: user.is_verified, seq: *seq })
        .collect();
    chat.responder.publish(ctx, chat.rooms[room].topics(), &Reads { room: name, reads: &reads }, None);
}

/// The end of a tick: what waits is sent, and rooms that are closed are no more.
pub(in crate::chat) fn end_tick<C: Context>(chat: &mut Chat, ctx: &mut C) {
    for name in chat.rooms.take_closed() {
        // It may have been opened again.
        if chat.rooms.find(&name).is_none() {
            // Somebody may still be told how much is said in it.
            if !chat.watch.is_watched(&name) {
                chat.pending.close(&name);
            }
            leave_room(chat, &name);
        }
    }
    let now = ctx.now().monotonic_ms;
    let retry = chat.neighbours.as_mut().and_then(|neighbours| neighbours.send_waiting(now));
    if let Some(at) = retry {
        ctx.set_timer(at, timer::NEIGHBOURS);
    }
}

/// A full mailbox is tried again, and answers that have not come are waited for no longer.
pub(in crate::chat) fn timer_fired<C: Context>(chat: &mut Chat, ctx: &mut C) {
    let now = ctx.now().monotonic_ms;
    let Some(neighbours) = &mut chat.neighbours else { return };
    neighbours.timer_fired();
    for gather in neighbours.overdue(now) {
        finish(chat, ctx, gather);
    }
}

// ---- people

/// A guest begins to speak. Refused where somebody verified has the name on another loop.
pub(in crate::chat) fn enter_guest<C: Context>(
    chat: &mut Chat,
    ctx: &C,
    conn: ConnId,
    (name, folded): (&str, &str),
) -> Result<(), Refusal> {
    let Some(neighbours) = &chat.neighbours else {
        chat.people.speak_as(SessionId::of(conn), name, folded, None);
        tell::connected(chat, ctx.now(), conn);
        return Ok(());
    };
    let person = chat.people.holders().person_or(folded).into();
    let guest = Identity { person: folded.into(), is_verified: false };
    let is_hearing = is_hearing(chat, conn);
    let (own, exchange) = (neighbours.own(), neighbours.exchange());
    if !exchange.enter_guest(own, &guest, (&name.into(), is_hearing), &person) {
        return Err(Refusal::field(Code::Forbidden, "user", "this name is taken by a verified user"));
    }
    chat.people.speak_as(SessionId::of(conn), name, folded, None);
    share_rates(chat, ctx, conn);
    tell::connected(chat, ctx.now(), conn);
    Ok(())
}

/// A verified user has begun to speak: guests who use one of their names end.
pub(in crate::chat) fn entered_verified<C: Context>(
    chat: &mut Chat,
    ctx: &C,
    conn: ConnId,
    (name, person): (&str, &Arc<str>),
) {
    let is_hearing = is_hearing(chat, conn);
    let Some(neighbours) = &mut chat.neighbours else { return };
    let user = Identity { person: Arc::clone(person), is_verified: true };
    let names = chat.people.holders().names_of(person);
    let exchange = neighbours.exchange().clone();
    let guests = exchange.enter_verified(neighbours.own(), &user, (&name.into(), is_hearing), names);
    for at in guests {
        neighbours.tell(at, Word::Arrived { person: Arc::clone(person) });
    }
    share_rates(chat, ctx, conn);
}

/// A verified user who speaks here is called by this name from now on: guests who use it end.
pub(in crate::chat) fn renamed(chat: &mut Chat, (name, person): (&str, &Arc<str>)) {
    let Some(neighbours) = &mut chat.neighbours else { return };
    let user = Identity { person: Arc::clone(person), is_verified: true };
    let names = chat.people.holders().names_of(person);
    let exchange = neighbours.exchange().clone();
    for at in exchange.rename(neighbours.own(), &user, &name.into(), names) {
        neighbours.tell(at, Word::Arrived { person: Arc::clone(person) });
    }
}

/// A session speaks for somebody no more.
pub(in crate::chat) fn exit(chat: &Chat, conn: ConnId, user: &Identity) {
    if let Some(neighbours) = &chat.neighbours {
        neighbours.exchange().exit(neighbours.own(), user, is_hearing(chat, conn));
    }
}

fn is_hearing(chat: &Chat, conn: ConnId) -> bool {
    let session = chat.people.look(SessionId::of(conn));
    session.is_some_and(|session| session.dialect() == Dialect::V1)
}

/// The rates of a session hold on all loops.
fn share_rates<C: Context>(chat: &mut Chat, ctx: &C, conn: ConnId) {
    let Chat { neighbours: Some(neighbours), people, .. } = chat else { return };
    let (session, now) = (SessionId::of(conn), ctx.now().monotonic_ms);
    let exchange = neighbours.exchange();
    people.share_user(session, |user| exchange.posts_of(user, now));
    if let Some(address) = people.look(session).map(Session::address) {
        people.share_address(address, || exchange.address_posts_of(address, now));
    }
}

/// Tells the connections of users something that is kept nowhere.
pub(in crate::chat) fn tell_users<C: Context>(
    people: &People,
    ctx: &mut C,
    users: &[Identity],
    notice: &str,
) {
    for user in users {
        let here = people.find(&user.person);
        let here =
            here.filter(|here| people.user(*here).is_some_and(|it| it.is_verified() == user.is_verified));
        for conn in people.hearers_of(here) {
            // A connection that has ended has no use for it.
            let _ = ctx.send(conn, Outgoing::text(notice));
        }
    }
}

/// Tells the connections of users on all loops something that is kept nowhere.
pub(in crate::chat) fn tell_everywhere<C: Context>(
    people: &People,
    neighbours: &mut Option<Neighbours>,
    ctx: &mut C,
    (users, notice): (&[Identity], &str),
) {
    tell_users(people, ctx, users, notice);
    tell_users_elsewhere(neighbours, users, notice);
}

/// Has the other loops tell users something that is kept nowhere.
pub(in crate::chat) fn tell_users_elsewhere(
    neighbours: &mut Option<Neighbours>,
    users: &[Identity],
    notice: &str,
) {
    let Some(neighbours) = neighbours else { return };
    let hearing = users.iter().filter_map(|user| neighbours.elsewhere(&user.person, user.is_verified));
    let mut loops: Vec<usize> = hearing.flat_map(|it| it.hearing).collect();
    loops.sort_unstable();
    loops.dedup();
    let word = Word::Direct { users: users.into(), notice: notice.into() };
    neighbours.sign(loops.into_iter(), &word);
}

/// Users that are here; one loop counts those of all.
pub(in crate::chat) fn users(chat: &Chat) -> usize {
    match &chat.neighbours {
        None => chat.people.users(),
        Some(neighbours) if neighbours.own() == 0 => neighbours.exchange().users(),
        Some(_) => 0,
    }
}

// ---- rooms

/// Somebody has come into a room here.
pub(in crate::chat) fn came(chat: &mut Chat, room: RoomId, session: SessionId) {
    let most = chat.options.limits.max_listed;
    let Chat { neighbours: Some(neighbours), rooms, people, .. } = chat else { return };
    let state = &mut rooms[room];
    if let Some(actor) = people.actor(session) {
        let person = Person { client: actor.client, user: actor.name, is_verified: actor.is_verified };
        let count = state.members().len();
        neighbours.exchange().came(neighbours.own(), state.name(), (person, count), most);
    }
    state.owe_presence();
}

/// Somebody has gone out of a room here.
pub(in crate::chat) fn went(chat: &mut Chat, room: RoomId, session: SessionId) {
    let Chat { neighbours: Some(neighbours), rooms, people, .. } = chat else { return };
    let state = &mut rooms[room];
    if let Some(session) = people.look(session) {
        let count = state.members().len();
        neighbours.exchange().went(neighbours.own(), state.name(), (session.client(), count));
    }
    state.owe_presence();
}

/// How many are in a room on other loops.
pub(in crate::chat) fn count(chat: &Chat, room: &str) -> usize {
    chat.neighbours.as_ref().map_or(0, |neighbours| neighbours.exchange().count(neighbours.own(), room))
}

/// The rooms of these names that somebody is in on other loops, with how many, in their order: at most so many.
pub(in crate::chat) fn rooms(chat: &Chat, ranges: &[NameRange], most: usize) -> Vec<(Arc<str>, usize)> {
    let Some(neighbours) = &chat.neighbours else { return Vec::new() };
    neighbours.exchange().rooms(neighbours.own(), ranges, most)
}

/// Some of those who are in a room on other loops, at most so many, and how many there are.
pub(in crate::chat) fn members(chat: &Chat, room: &str, most: usize) -> (Vec<Person>, usize) {
    let Some(neighbours) = &chat.neighbours else { return (Vec::new(), 0) };
    let others = neighbours.exchange().in_room(neighbours.own(), room);
    let count = others.iter().map(|(_, here)| here.count).sum();
    // Of a loop where all have gone somebody may be listed until it says so.
    let here = others.iter().filter(|(_, here)| here.count > 0);
    let listed = here.flat_map(|(_, here)| here.listed.iter().cloned());
    (listed.take(most).collect(), count)
}

/// The other loops are told who came into a room here and went out of it, and who is there now.
pub(in crate::chat) fn tell_presence(
    chat: &mut Chat,
    room: RoomId,
    (came, went): (Vec<Person>, Vec<Person>),
) {
    let most = chat.options.limits.max_listed;
    let Chat { neighbours: Some(neighbours), rooms, people, .. } = chat else { return };
    let state = &rooms[room];
    let persons = state.members().iter().take(most).filter_map(|session| people.actor(*session));
    let listed = persons
        .map(|actor| Person { client: actor.client, user: actor.name, is_verified: actor.is_verified })
        .collect();
    neighbours.exchange().set_listed(neighbours.own(), state.name(), listed);
    let word = Word::Presence { room: Arc::clone(state.name()), came: came.into(), went: went.into() };
    let others = neighbours.exchange().in_room(neighbours.own(), state.name());
    neighbours.sign(others.into_iter().map(|(at, _)| at), &word);
}

/// A room is closed here: those of its members that were told of have gone.
fn leave_room(chat: &mut Chat, name: &Arc<str>) {
    let Some(neighbours) = &mut chat.neighbours else { return };
    let went = neighbours.exchange().forget_room(neighbours.own(), name);
    if went.is_empty() {
        return;
    }
    let word = Word::Presence { room: Arc::clone(name), came: Arc::default(), went: went.into() };
    let others = neighbours.exchange().in_room(neighbours.own(), name);
    neighbours.sign(others.into_iter().map(|(at, _)| at), &word);
}

/// The other loops on which somebody is in a room are told a sign of life.
pub(in crate::chat) fn sign(chat: &mut Chat, room: &str, word: &Word) {
    let Some(neighbours) = &mut chat.neighbours else { return };
    let others = neighbours.exchange().in_room(neighbours.own(), room);
    neighbours.sign(others.into_iter().map(|(at, _)| at), word);
}

// ---- deeds

/// Does something on all loops. The answer says what came of it.
pub(in crate::chat) fn spread<C: Context>(chat: &mut Chat, ctx: &mut C, deed: Deed, reply_to: ReplyTo) {
    let found = perform(chat, ctx, &deed);
    let now = ctx.now().monotonic_ms;
    let done = match &mut chat.neighbours {
        Some(neighbours) => {
            let nodes = if deed.is_for_others() { neighbours.exchange().nodes() } else { Vec::new() };
            neighbours.ask((0..neighbours.loops(), &nodes), (deed, found), reply_to, now)
        }
        None => Err((deed, found, reply_to)),
    };
    await_or_tell(chat, ctx, done);
}

/// Has the loop of a place tell a page of a list. Lists go through the servers in the order of their names; one that is gone
/// is passed over.
pub(in crate::chat) fn list<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    (listing, place): (Listing, Place),
    limit: usize,
    reply_to: ReplyTo,
) {
    let at = match &chat.neighbours {
        Some(neighbours) => at_server(neighbours, place),
        None => Some((None, place)),
    };
    let Some((node, Place { at, slot: from, .. })) = at else {
        let page = inspect::nothing(chat, &listing);
        return tell(chat, ctx, &Deed::List { at: 0, listing, from: 0, limit }, Found::Page(page), &reply_to);
    };
    if node.is_none() && at >= chat.neighbours.as_ref().map_or(1, Neighbours::loops) {
        let refusal = Refusal::field(Code::BadField, "after", "`after` is no `next` of a page");
        return chat.responder.refuse(ctx, &reply_to, &refusal);
    }
    let deed = Deed::List { at, listing, from, limit };
    let now = ctx.now().monotonic_ms;
    let done = match &mut chat.neighbours {
        Some(neighbours) if node.is_some() => {
            let node: Vec<(usize, usize)> = node.map(|node| (node, 1)).into_iter().collect();
            neighbours.ask((0..0, &node), (deed, Found::Count(0)), reply_to, now)
        }
        Some(neighbours) if at != neighbours.own() => {
            neighbours.ask((at..at + 1, &[]), (deed, Found::Count(0)), reply_to, now)
        }
        _ => {
            let found = perform(chat, ctx, &deed);
            Err((deed, found, reply_to))
        }
    };
    await_or_tell(chat, ctx, done);
}

/// Which other server has a place, or one that comes after it; nothing where there is no further one.
fn at_server(neighbours: &Neighbours, place: Place) -> Option<(Option<usize>, Place)> {
    let exchange = neighbours.exchange();
    let Some(own) = exchange.own_name() else { return Some((None, place)) };
    let Place { server, at, slot } = place;
    let server = match server {
        None if (at, slot) == (0, 0) => exchange.server_after(None)?,
        None => Arc::clone(&own),
        Some(server) => server,
    };
    let find = |server: &str| if *server == *own { Some(None) } else { exchange.number_of(server).map(Some) };
    if let Some(node) = find(&server) {
        return Some((node, Place { server: Some(server), at, slot }));
    }
    let server = exchange.server_after(Some(&*server))?;
    Some((find(&server)?, Place { server: Some(server), at: 0, slot: 0 }))
}

/// Other loops were asked, and answer until then; or this is the answer.
fn await_or_tell<C: Context>(chat: &mut Chat, ctx: &mut C, done: Result<Millis, (Deed, Found, ReplyTo)>) {
    match done {
        Ok(until) => ctx.set_timer(until, timer::NEIGHBOURS),
        Err((deed, found, reply_to)) => tell(chat, ctx, &deed, found, &reply_to),
    }
}

/// Every loop has answered, or was given the time.
fn finish<C: Context>(chat: &mut Chat, ctx: &mut C, gather: Gather) {
    let Gather { deed, found, reply_to, .. } = gather;
    tell(chat, ctx, &deed, found, &reply_to);
}

/// Tells what came of something.
fn tell<C: Context>(chat: &mut Chat, ctx: &mut C, deed: &Deed, found: Found, reply_to: &ReplyTo) {
    if !chat.people.is_present(reply_to) {
        return;
    }
    let count = found.count();
    match (deed, found) {
        (Deed::Kick { .. }, _) if count == 0 => {
            let refusal = Refusal::field(Code::NotFound, "user", "there is no such user in the room");
            chat.responder.refuse(ctx, reply_to, &refusal);
        }
        (Deed::Kick { room, .. }, _) => {
            chat.responder.acknowledge(ctx, reply_to, &Ack::new(reply_to.id(), Some(room)));
        }
        (
            Deed::DisconnectUser { .. } | Deed::DisconnectClient { .. } | Deed::Connections { .. },
            Found::Count(_) | Found::Connections(_),
        ) if count == 0 => {
            let refusal = Refusal::new(Code::NotFound, "nobody of that name is connected");
            chat.responder.refuse(ctx, reply_to, &refusal);
        }
        (Deed::DisconnectUser { .. } | Deed::DisconnectClient { .. }, _) => {
            chat.responder.reply(ctx, reply_to, &Disconnected { disconnected: count });
        }
        (Deed::Broadcast { .. }, _) => {
            chat.responder.reply(ctx, reply_to, &Receivers { receivers: count });
        }
        (Deed::Connections { .. }, Found::Connections(connections)) => {
            let (user, verified) =
                connections.first().map_or((None, false), |it| (it.user.clone(), it.verified));
            chat.responder.reply(ctx, reply_to, &UserConnections { user, verified, connections });
        }
        (Deed::List { .. }, Found::Page(page)) => chat.responder.pass_on(reply_to, &page),
        (Deed::Figures, Found::Figures(figures)) => {
            chat.responder.reply(ctx, reply_to, &figures);
        }
        // The loop that was asked does not keep up.
        (Deed::List { .. } | Deed::Connections { .. } | Deed::Figures, _) => {
            let refusal =
                Refusal::later(Code::Unavailable, 1000, "a loop of the server is behind; ask again later");
            chat.responder.refuse(ctx, reply_to, &refusal);
        }
    }
}

/// Does something on this loop; returns what came of it.
fn perform<C: Context>(chat: &mut Chat, ctx: &mut C, deed: &Deed) -> Found {
    match deed {
        Deed::Kick { room, user, reason } => Found::Count(kick(chat, ctx, (room, user), reason)),
        Deed::DisconnectUser { user, reason } => {
            let conns = chat.people.conns_of(chat.people.find_named(user));
            for conn in &conns {
                ending::dismiss_with(chat, ctx, *conn, disconnected(reason));
            }
            Found::Count(conns.len())
        }
        Deed::DisconnectClient { client, reason } => {
            let found = chat.people.iter().find(|session| **session.client() == **client).map(Session::conn);
            if let Some(conn) = found {
                ending::dismiss_with(chat, ctx, conn, disconnected(reason));
            }
            Found::Count(usize::from(found.is_some()))
        }
        Deed::Broadcast { rooms, text, time } => {
            Found::Count(broadcast(chat, ctx, rooms.as_deref(), (text, *time)))
        }
        Deed::Connections { user } => Found::Connections(inspect::connections_of(chat, ctx, user)),
        Deed::List { listing, from, limit, .. } => {
            Found::Page(inspect::list(chat, ctx, listing, (*from, *limit)))
        }
        Deed::Figures => Found::Figures(Box::new(inspect::figures(chat, ctx))),
    }
}

fn kick<C: Context>(chat: &mut Chat, ctx: &mut C, (room, user): (&Arc<str>, &str), reason: &str) -> usize {
    let Some(id) = chat.rooms.find(room) else { return 0 };
    let conns = chat.people.conns_in(chat.people.find_named(user), id);
    // The room lives until all of them are out.
    let hold = chat.rooms.hold(id);
    for conn in &conns {
        ending::expel(chat, ctx, *conn, id);
        chat.responder.send(ctx, *conn, &Kicked { room, reason });
    }
    chat.rooms.release(ctx, hold);
    conns.len()
}

fn broadcast<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    rooms: Option<&[Arc<str>]>,
    (text, time): (&str, u64),
) -> usize {
    let wanted = rooms.map(|rooms| rooms.iter().filter_map(|room| chat.rooms.find(room)).collect::<Vec<_>>());
    let Chat { people, responder, options, .. } = chat;
    let notice = responder.encode(&Broadcast { text, time });
    let mut told = 0;
    // Where a token is asked for, anyone who has shown none is told nothing.
    let is_known = |session: &&Session| session.user().is_some() || options.guests;
    for session in people.iter().filter(|session| session.dialect() == Dialect::V1).filter(is_known) {
        if wanted.as_ref().is_none_or(|rooms| rooms.iter().any(|room| session.is_in(*room))) {
            told += usize::from(ctx.send(session.conn(), Outgoing::text(notice)).is_ok());
        }
    }
    told
}

/// How a session ends that an operator ends.
fn disconnected(message: &str) -> Ending<'_> {
    Ending { reason: Farewell::Disconnected, message, retry_after_ms: None }
}

/// What a conversation with the user who is kept under this is called.
pub(in crate::chat) fn pair_name(chat: &Chat, person: &str) -> Arc<str> {
    let elsewhere = || Some(chat.neighbours.as_ref()?.elsewhere(person, true)?.name);
    let name = chat.people.name_of(person).cloned().or_else(elsewhere);
    format!("@{}", name.as_deref().unwrap_or(person)).into()
}

/// Whether a room is open on any loop: its folded name.
pub(in crate::chat) fn open_room(chat: &Chat, raw: &str) -> Result<Arc<str>, Refusal> {
    let name = names::room(raw)?;
    let is_open = chat.rooms.find(&name).is_some() || count(chat, &name) > 0;
    is_open
        .then(|| (*name).into())
        .ok_or_else(|| Refusal::field(Code::NotFound, "rooms", "there is no such room"))
}
