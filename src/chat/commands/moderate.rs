//! Kicks and bans.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::{elsewhere, ending, gate, tell};
use crate::chat::ids::RoomId;
use crate::chat::neighbours::Deed;
use crate::chat::people::names;
use crate::chat::wire::command::NUMBER_END;
use crate::chat::wire::notices::Ack;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{Ban, BanChange};

pub(in crate::chat) fn kick<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    user: &str,
    reason: Option<&str>,
) -> Result<(), Refusal> {
    let user = names::user(user, "user")?;
    let deed = Deed::Kick {
        room: Arc::clone(chat.rooms[room].name()),
        user: names::fold(&user).into(),
        reason: reason.unwrap_or_default().into(),
    };
    // Anyone who does the command lets the room rest.
    let hold = chat.rooms.hold(room);
    elsewhere::spread(chat, call.ctx, deed, call.reply_to.clone());
    chat.rooms.unhold(hold);
    Ok(())
}

pub(in crate::chat) fn ban<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    user: &str,
    seconds: Option<u64>,
    reason: Option<&str>,
) -> Result<(), Refusal> {
    chat.people.require_moderator(call.actor)?;
    gate::check_room_writable(chat, "")?;
    let now = call.ctx.now();
    let user: Arc<str> = names::fold(&names::user(user, "user")?).as_ref().into();
    if !chat.people.bans_mut().has_place(chat.options.limits.max_bans, now.unix_ms) {
        return Err(Refusal::new(Code::Unavailable, "as many users as may be are banned already"));
    }
    let until = seconds.map(|seconds| until(now.unix_ms, seconds)).transpose()?;
    // A person has one ban, whatever they were called when it began.
    let user = chat.people.ban_of(&user, now).map_or(user, |ban| Arc::clone(&ban.user));
    let ban = Ban { user, until, reason: reason.unwrap_or_default().into() };
    submit_ban(chat, call.ctx, BanChange::Set(ban), call.reply_to);
    Ok(())
}

pub(in crate::chat) fn unban<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    user: &str,
) -> Result<(), Refusal> {
    chat.people.require_moderator(call.actor)?;
    gate::check_room_writable(chat, "")?;
    let user = names::user(user, "user")?;
    let folded = names::fold(&user);
    let (people, now) = (&chat.people, call.ctx.now().unix_ms);
    let banned = people.holders().names_of(&folded).filter(|name| people.bans().find(name, now).is_some());
    let mut banned: Vec<Arc<str>> = banned.map(Into::into).collect();
    let Some(last) = banned.pop() else {
        return Err(Refusal::field(Code::NotFound, "user", "this user is not banned"));
    };
    // Several names may have been banned before they were one person's.
    for name in banned {
        submit_ban(chat, call.ctx, BanChange::Lift(name), &ReplyTo::Nobody);
    }
    submit_ban(chat, call.ctx, BanChange::Lift(last), call.reply_to);
    Ok(())
}

fn submit_ban<C: Context>(chat: &mut Chat, ctx: &mut C, change: BanChange, reply_to: &ReplyTo) {
    tell::banning(chat, ctx.now(), &change);
    if chat.pending.is_on_disk() {
        return chat.pending.add_ban(change, reply_to.clone());
    }
    acknowledge_ban(chat, ctx, reply_to);
    bans_changed(chat, ctx, change);
}

/// A change of the bans is as durable as promised.
pub(in crate::chat) fn acknowledge_ban<C: Context>(chat: &mut Chat, ctx: &mut C, reply_to: &ReplyTo) {
    let ack = Ack { durable: Some(chat.pending.level()), ..Ack::new(reply_to.id(), None) };
    chat.responder.acknowledge(ctx, reply_to, &ack);
}

/// The list of bans changes.
pub(in crate::chat) fn bans_changed<C: Context>(chat: &mut Chat, ctx: &mut C, change: BanChange) {
    match change {
        BanChange::Set(ban) => {
            let (user, until) = (Arc::clone(&ban.user), ban.until);
            chat.people.bans_mut().set(ban);
            for conn in chat.people.conns_named(&user) {
                ending::dismiss_banned(chat, ctx, conn, until);
            }
        }
        BanChange::Lift(user) => chat.people.bans_mut().lift(&user),
    }
}

/// When a ban ends. Times are numbers that every client can hold.
fn until(now: u64, seconds: u64) -> Result<u64, Refusal> {
    let until = seconds.checked_mul(1000).and_then(|ms| now.checked_add(ms));
    until.filter(|until| *until < NUMBER_END).ok_or_else(|| {
        Refusal::field(
            Code::BadField,
            "seconds",
            "`seconds` leads beyond the year 287396; leave it out for good",
        )
    })
}
