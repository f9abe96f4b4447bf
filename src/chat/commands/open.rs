//! The room that a command is about: found, opened, or waited for.

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::ids::RoomId;
use crate::chat::people::names;
use crate::chat::people::permission::{Right, right_to};
use crate::chat::people::session::Waiting;
use crate::chat::rooms::{Kind, pair_room};
use crate::chat::wire::command::{Command, Omit};
use crate::chat::{Chat, Code, Refusal};
use crate::history::Query;

/// The room that a command is about, opened if need be.
pub(in crate::chat) fn room_of<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    command: &Command<'_>,
) -> Result<RoomId, Refusal> {
    let raw = command.room().unwrap_or_default();
    if let Some(other) = raw.strip_prefix('@') {
        return pair_room_of(chat, call, command, other);
    }
    // What members say is a name that is known already, as a rule.
    if let Some(room) = chat.rooms.find(raw) {
        return Ok(room);
    }
    let name = names::room(raw)?;
    // A name in another normal form, such as an ideograph of compatibility, may begin with @ only now.
    if name.starts_with('@') {
        return Err(Refusal::field(Code::BadField, "room", "`room` begins with @"));
    }
    if let Some(room) = chat.rooms.find(&name) {
        return Ok(room);
    }
    if matches!(command, Command::Join { .. }) {
        // No room is opened for somebody who may not enter it.
        chat.people.require(call.actor, Right::Join, &name, "room")?;
    } else if call.actor.session.is_some() {
        return Err(Refusal::not_joined());
    }
    open_room(chat, call.ctx, &name, Kind::Group)
}

/// `@name`: the conversation with that user.
fn pair_room_of<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    command: &Command<'_>,
    other: &str,
) -> Result<RoomId, Refusal> {
    let is_possible = matches!(
        command,
        Command::History { .. }
            | Command::Search { .. }
            | Command::Read { .. }
            | Command::Typing { .. }
            | Command::Edit { .. }
            | Command::Delete { .. }
            | Command::React { .. }
    );
    if !is_possible {
        return Err(Refusal::field(
            Code::BadField,
            "room",
            "a conversation of two is no room for this; `direct` adds to it",
        ));
    }
    if !call.actor.is_verified {
        return Err(Refusal::field(Code::NotFound, "room", "conversations of guests are not kept"));
    }
    let other = names::user(other, "room")?;
    let other = chat.people.holders().person_or(&names::fold(&other)).to_owned();
    let right = right_to(command).unwrap_or(Right::Join);
    chat.people.require_pair(call.actor, right, &other, "room")?;
    open_pair(chat, call.ctx, [&call.actor.person, &other])
}

/// The room of two users, in whatever order.
pub(in crate::chat) fn open_pair<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    pair: [&str; 2],
) -> Result<RoomId, Refusal> {
    let name = pair_room(pair);
    if let Some(room) = chat.rooms.find(&name) {
        return Ok(room);
    }
    let [a, b] = if pair[0] <= pair[1] { pair } else { [pair[1], pair[0]] };
    open_room(chat, ctx, &name, Kind::Pair([a.into(), b.into()]))
}

fn open_room<C: Context>(chat: &mut Chat, ctx: &mut C, name: &str, kind: Kind) -> Result<RoomId, Refusal> {
    if chat.rooms.len() >= chat.options.limits.max_rooms && !chat.rooms.put_one_away(ctx) {
        let why = "the server has no place for another room";
        return Err(Refusal::field(Code::TooManyRooms, "room", why));
    }
    let has_topic = kind == Kind::Group;
    if chat.pending.is_on_disk() {
        let limit = chat.options.limits.opened_messages;
        chat.pending.send(Query::Open { room: name.into(), recent: limit, changes: limit })?;
    }
    let room = chat.rooms.insert(name, kind);
    chat.rooms[room].note_asked(chat.pending.is_on_disk());
    if has_topic {
        chat.rooms.open_topic(ctx, room, Omit::default(), chat.options.topic(name));
    }
    Ok(room)
}

/// Whether a command has to wait for the room, or for a join before it.
pub(in crate::chat) fn must_wait<C>(chat: &Chat, call: &Call<'_, C>, room: RoomId) -> bool {
    let session = call.actor.session.and_then(|session| chat.people.look(session));
    !chat.rooms[room].is_open() || session.is_some_and(|session| session.is_joining(room))
}

pub(in crate::chat) fn wait(chat: &mut Chat, room: RoomId, waiting: Waiting) -> Result<(), Refusal> {
    let session = waiting.actor.session;
    chat.people.begin_waiting(session, &chat.options.limits)?;
    if let Some(waiting) = chat.rooms[room].wait(waiting)
        && let Some(session) = session.and_then(|session| chat.people.at(session))
    {
        session.wait_behind(room, waiting);
    }
    Ok(())
}
