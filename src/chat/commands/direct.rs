//! Messages from one user to another.

use crate::app::{Context, Outgoing};
use crate::chat::commands::call::Call;
use crate::chat::commands::{gate, open, post};
use crate::chat::ids::UserId;
use crate::chat::pending::keys::{Known, Scope};
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::people::session::Waiting;
use crate::chat::people::user::User;
use crate::chat::rooms::pair_room;
use crate::chat::wire::command::Command;
use crate::chat::wire::notices::{Ack, Direct};
use crate::chat::{Chat, Code, Refusal};

pub(in crate::chat) fn direct<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    to: &str,
    text: &str,
    key: Option<&str>,
) -> Result<(), Refusal> {
    let to = names::user(to.strip_prefix('@').unwrap_or(to), "to")?;
    let folded = names::fold(&to);
    let here = chat.people.find_named(&folded);
    let is_guest = here.and_then(|user| chat.people.user(user)).is_some_and(|user| !user.is_verified());
    let person = chat.people.holders().owner(&folded, !is_guest).to_owned();
    chat.people.require_pair(call.actor, Right::Post, &person, "to")?;
    let name = pair_room([&call.actor.person, &person]);
    if let Some(key) = key
        && post::is_repeated(chat, call, &name, key)
    {
        return Ok(());
    }
    gate::check_writable(chat)?;
    let other = chat.people.hearing(here);
    let is_kept = call.actor.is_verified && other.is_none_or(User::is_verified);
    if !is_kept {
        return direct_unkept(chat, call, here, text, key);
    }
    let is_here = other.is_some();
    let room = open::open_pair(chat, call.ctx, [&call.actor.person, &person])?;
    if !chat.rooms[room].is_open() {
        let (to, text) = (to.into_owned().into(), text.to_owned().into());
        let command = Command::Direct { to, text, key: key.map(|key| key.to_owned().into()) };
        let (reply_to, actor) = (call.reply_to.clone(), call.actor.clone());
        return open::wait(chat, room, Waiting { reply_to, actor, command });
    }
    if !is_here && chat.rooms[room].order().is_blank() {
        // Nobody has ever heard of them.
        chat.rooms.rest(call.ctx, room);
        return Err(Refusal::field(Code::NotFound, "to", "there is no such user here"));
    }
    post::say(chat, call, room, text, key);
    Ok(())
}

/// With a guest at either end nothing is kept.
fn direct_unkept<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    to: Option<UserId>,
    text: &str,
    key: Option<&str>,
) -> Result<(), Refusal> {
    let Call { ctx, reply_to, actor } = call;
    let (now, time) = (ctx.now().monotonic_ms, ctx.now().unix_ms);
    let other = chat.people.hearing(to);
    let other = other.ok_or_else(|| Refusal::field(Code::NotFound, "to", "there is no such user here"))?;
    let room = format!("@{}", other.name());
    if let Some(key) = key {
        let name = pair_room([&actor.person, other.person()]);
        chat.keys.insert(&Scope::of(actor, &name, key), Known { seq: 0, time, is_pending: false }, now);
    }
    let direct = Direct {
        from: &actor.name,
        to: other.name(),
        verified: actor.is_verified,
        lookalike: chat.people.shown(&actor.name, actor.is_verified).lookalike,
        seq: None,
        client: &actor.client,
        text,
        time,
    };
    let own = actor.session.and_then(|session| chat.people.look(session)?.user());
    let own = own.filter(|own| Some(*own) != to);
    let conns: Vec<_> = chat.people.hearers_of(to).chain(chat.people.hearers_of(own)).collect();
    let ack = Ack { time: Some(time), durable: Some("memory"), ..Ack::new(reply_to.id(), Some(&room)) };
    chat.responder.acknowledge(*ctx, reply_to, &ack);
    let direct = chat.responder.encode(&direct);
    for conn in conns {
        // A connection that has ended has no use for it.
        let _ = ctx.send(conn, Outgoing::text(direct));
    }
    Ok(())
}
