//! Messages from one user to another.

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::post::Said;
use crate::chat::commands::{decide, elsewhere, gate, open, post};
use crate::chat::decisions::AskKind;
use crate::chat::exchange::Elsewhere;
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::people::session::Waiting;
use crate::chat::people::user::{Identity, User};
use crate::chat::rooms::pair_room;
use crate::chat::wire::command::Command;
use crate::chat::wire::data::Json;
use crate::chat::wire::notices::{Ack, Direct};
use crate::chat::{Chat, Code, Refusal};
use crate::history::keys::{Scope, Used};

pub(in crate::chat) fn direct<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    to: &str,
    said: Said<'_>,
) -> Result<(), Refusal> {
    let to = names::user(to.strip_prefix('@').unwrap_or(to), "to")?;
    let folded = names::fold(&to);
    let here = chat.people.find_named(&folded);
    let person = chat.people.holders().person_or(&folded);
    let elsewhere = |person: &str, is_verified| chat.neighbours.as_ref()?.elsewhere(person, is_verified);
    let verified = elsewhere(person, true);
    let guest = if here.is_none() && verified.is_none() { elsewhere(&folded, false) } else { None };
    let is_guest = here.and_then(|user| chat.people.user(user)).is_some_and(|user| !user.is_verified());
    let is_guest = is_guest || guest.is_some();
    let person = if is_guest { folded.clone().into_owned() } else { person.to_owned() };
    chat.people.require_pair(call.actor, Right::Post, &person, "to")?;
    if let Some(key) = said.key
        && is_repeated(chat, call, &person, key)
    {
        return Ok(());
    }
    gate::check_writable(chat)?;
    let hears = |it: &Option<Elsewhere>| it.as_ref().is_some_and(|it| !it.hearing.is_empty());
    let other = chat.people.hearing(here);
    let is_kept = call.actor.is_verified && other.is_none_or(User::is_verified) && !hears(&guest);
    let is_here = other.is_some() || hears(&verified);
    if !is_kept {
        let name = other.map(User::name).or(verified.as_ref().or(guest.as_ref()).map(|it| &it.name));
        let name = name.filter(|_| is_here || hears(&guest)).cloned();
        let name = name.ok_or_else(no_such_user)?;
        if decide::asks(chat, AskKind::Post) && decide::is_asked(chat, call, &command(&to, &said)) {
            return decide::ask(chat, call, None, command(&to, &said));
        }
        let user = Identity { person: person.into(), is_verified: !is_guest };
        return direct_unkept(chat, call, (&name, user), &said);
    }
    let room = open::open_pair(chat, call.ctx, [&call.actor.person, &person])?;
    if !chat.rooms[room].is_open() {
        let command = command(&to, &said).into_owned();
        let (reply_to, actor) = (call.reply_to.clone(), call.actor.clone());
        return open::wait(chat, room, Waiting { reply_to, actor, command });
    }
    if !is_here && chat.rooms[room].recent().is_blank() {
        // Nobody has ever heard of them.
        chat.rooms.rest(call.ctx, room);
        return Err(no_such_user());
    }
    gate::check_room_writable(chat, chat.rooms[room].name())?;
    if decide::asks(chat, AskKind::Post) && decide::is_asked(chat, call, &command(&to, &said)) {
        return decide::ask(chat, call, Some(room), command(&to, &said));
    }
    post::say(chat, call, room, said);
    Ok(())
}

fn command<'c>(to: &'c str, said: &Said<'c>) -> Command<'c> {
    let Said { text, key, data, reply_to } = said;
    let (data, reply_to) = (data.clone(), *reply_to);
    Command::Direct { to: to.into(), text: (*text).into(), key: key.map(Into::into), data, reply_to }
}

/// Whether this was sent before, and is known here: then the answer is that of the first time.
fn is_repeated<C: Context>(chat: &mut Chat, call: &mut Call<'_, C>, person: &str, key: &str) -> bool {
    let Call { ctx, reply_to, actor } = call;
    let name = pair_room([&actor.person, person]);
    let scope = Scope { origin: actor.origin(), person: &actor.keys_of(), room: &name, key };
    let Some(Used { seq, time }) = chat.keys.find(&scope, ctx.now().monotonic_ms) else { return false };
    let room = elsewhere::pair_name(chat, person);
    post::acknowledge_again(chat, *ctx, reply_to, &room, (seq, time));
    true
}

fn no_such_user() -> Refusal {
    Refusal::field(Code::NotFound, "to", "there is no such user here")
}

/// With a guest at either end nothing is kept.
fn direct_unkept<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    (to, other): (&str, Identity),
    said: &Said<'_>,
) -> Result<(), Refusal> {
    let Said { text, key, data, reply_to: target } = said;
    if target.is_some() {
        // Its messages have no numbers.
        return Err(Refusal::no_target());
    }
    let Call { ctx, reply_to, actor } = call;
    let (now, time) = (ctx.now().monotonic_ms, ctx.now().unix_ms);
    let room = format!("@{to}");
    if let Some(key) = key {
        let name = pair_room([&actor.person, &other.person]);
        let scope = Scope { origin: actor.origin(), person: &actor.keys_of(), room: &name, key };
        chat.keys.insert(&scope, Used { seq: 0, time }, now);
    }
    let direct = Direct {
        from: &actor.name,
        to,
        verified: actor.is_verified,
        lookalike: chat.people.shown(&actor.name, actor.is_verified).lookalike,
        seq: None,
        client: &actor.client,
        text,
        data: data.as_ref().map(Json),
        reply_to: None,
        time,
    };
    let ack = Ack { time: Some(time), durable: Some("memory"), ..Ack::new(reply_to.id(), Some(&room)) };
    chat.responder.acknowledge(*ctx, reply_to, &ack);
    let direct = chat.responder.encode(&direct);
    let own = actor.session.map(|_| actor.identity()).filter(|own| *own != other);
    let users: Vec<Identity> = [Some(other), own].into_iter().flatten().collect();
    elsewhere::tell_everywhere(&chat.people, &mut chat.neighbours, *ctx, (&users, direct));
    Ok(())
}
