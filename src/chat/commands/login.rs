//! Who speaks: names taken, tokens checked, sessions ended.

use std::sync::Arc;

use crate::app::{ConnId, Context, Now};
use crate::chat::commands::call::Call;
use crate::chat::commands::{elsewhere, ending, tell};
use crate::chat::identity::{Claims, TokenError};
use crate::chat::ids::SessionId;
use crate::chat::neighbours::Word;
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::wire::command::Omit;
use crate::chat::wire::notices::{Farewell, Kicked, LimitsShown, Refreshed, RoomPermissions, Welcome};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal, timer};

pub(in crate::chat) fn hello<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    greeting: Greeting<'_>,
) {
    let Some(conn) = reply_to.conn() else { return };
    let claims = claims_of(chat, ctx, conn, greeting);
    match claims.and_then(|claims| speak(chat, ctx, conn, (claims, greeting.user))) {
        Ok(()) => greeted(chat, ctx, reply_to, greeting),
        Err(refusal) => refuse_hello(chat, ctx, reply_to, (greeting, &refusal)),
    }
}

/// Somebody is who they said.
pub(in crate::chat) fn greeted<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    greeting: Greeting<'_>,
) {
    if let Some(session) = reply_to.conn().and_then(|conn| chat.people.session(conn)) {
        session.set_omit(greeting.omit);
    }
    welcome(chat, ctx, reply_to);
}

/// Somebody is not who they said.
pub(in crate::chat) fn refuse_hello<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    (greeting, refusal): (Greeting<'_>, &Refusal),
) {
    let Some(conn) = reply_to.conn() else { return };
    chat.responder.refuse(ctx, reply_to, refusal);
    let is_nobody = chat.people.session(conn).is_some_and(|session| session.user().is_none());
    let name = greeting.user.filter(|_| is_nobody).and_then(|user| names::user(user, "user").ok());
    let ban = name.and_then(|name| chat.people.ban_of(&names::fold(&name), ctx.now()));
    if let Some(until) = ban.map(|ban| ban.until) {
        ending::dismiss_banned(chat, ctx, conn, until);
    }
}

/// What the token of somebody who says `hello` says, if there is one.
pub(in crate::chat) fn claims_of<C: Context>(
    chat: &mut Chat,
    ctx: &C,
    conn: ConnId,
    Greeting { user, token, .. }: Greeting<'_>,
) -> Result<Option<Claims>, Refusal> {
    let Some(session) = chat.people.session(conn) else { return Ok(None) };
    if session.user().is_some() {
        return Err(Refusal::field(Code::BadField, "type", "`hello` comes once, and first"));
    }
    let claims = match token {
        Some(token) => {
            let claims = check_token(chat, token, ctx.now());
            Some(claims.map_err(|why| Refusal::field(Code::Forbidden, "token", why.to_string()))?)
        }
        None => session.claims().cloned(),
    };
    if let (Some(claims), Some(user)) = (&claims, user)
        && names::fold(user) != names::fold(&claims.user)
    {
        return Err(Refusal::field(Code::Forbidden, "user", "the token is somebody else's"));
    }
    Ok(claims)
}

/// Somebody begins to speak: with a token, or as a guest.
pub(in crate::chat) fn speak<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    conn: ConnId,
    (claims, user): (Option<Claims>, Option<&str>),
) -> Result<(), Refusal> {
    if chat.people.session(conn).is_none() {
        return Ok(());
    }
    match (claims, user) {
        (Some(claims), _) => speak_verified(chat, ctx, conn, Box::new(claims)),
        (None, Some(user)) => speak_unverified(chat, ctx, conn, user),
        (None, None) => Err(Refusal::field(Code::BadField, "user", "`user` or `token` must be there")),
    }
}

/// What a token says.
pub(in crate::chat) fn check_token(chat: &Chat, token: &str, now: Now) -> Result<Claims, TokenError> {
    let Some(verifier) = &chat.verifier else { return Err(TokenError::NotTaken) };
    verifier.verify(token, now.unix_ms / 1000)
}

/// A client that begins with another command than `hello` is a guest.
pub(in crate::chat) fn be_guest<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    conn: ConnId,
) -> Result<(), Refusal> {
    let Some(session) = chat.people.session(conn) else { return Ok(()) };
    if let Some(claims) = session.claims().cloned() {
        return speak_verified(chat, ctx, conn, Box::new(claims));
    }
    let name = format!("guest-{}", session.client());
    speak_unverified(chat, ctx, conn, &name)
}

pub(in crate::chat) fn speak_unverified<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    conn: ConnId,
    user: &str,
) -> Result<(), Refusal> {
    if !chat.options.guests {
        return Err(Refusal::no_token());
    }
    let name = names::user(user, "user")?;
    let folded = names::fold(&name);
    chat.people.check_guest(&folded, ctx.now())?;
    elsewhere::enter_guest(chat, ctx, conn, (&name, &folded))
}

pub(in crate::chat) fn speak_verified<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    conn: ConnId,
    claims: Box<Claims>,
) -> Result<(), Refusal> {
    let name = names::user(&claims.user, "token")?.into_owned();
    let folded: Arc<str> = names::fold(&name).as_ref().into();
    let person = hold_name(chat, &folded, &claims.subject)?;
    let ban = chat.people.ban_of(&person, ctx.now());
    if let Some(until) = ban.map(|ban| ban.until) {
        let refusal = Refusal::field(Code::Forbidden, "user", "banned");
        ending::dismiss_banned(chat, ctx, conn, until);
        return Err(refusal);
    }
    let now = ctx.now();
    let expires_ms = claims.expires_unix_s.saturating_mul(1000);
    if expires_ms <= now.unix_ms {
        ending::dismiss(chat, ctx, conn, Farewell::TokenExpired);
        return Err(Refusal::field(Code::Forbidden, "token", Farewell::TokenExpired.message()));
    }
    for other in chat.people.guests_named(&person) {
        ending::dismiss(chat, ctx, other, Farewell::NameTaken);
    }
    chat.people.speak_as(SessionId::of(conn), &name, &person, Some(claims));
    elsewhere::entered_verified(chat, ctx, conn, (&name, &person));
    time_expiry(chat, ctx);
    tell::connected(chat, ctx.now(), conn);
    Ok(())
}

/// `refresh`: the same person goes on with another token, and with what that one says.
pub(in crate::chat) fn refresh<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    token: &str,
) -> Result<(), Refusal> {
    let refused = |why: String| Refusal::field(Code::Forbidden, "token", why);
    let Some(conn) = call.reply_to.conn().filter(|_| call.actor.is_verified) else {
        return Err(refused("only who came with a token goes on with another one".to_owned()));
    };
    let claims = check_token(chat, token, call.ctx.now()).map_err(|why| refused(why.to_string()))?;
    let name = names::user(&claims.user, "token")?.into_owned();
    let folded: Arc<str> = names::fold(&name).as_ref().into();
    if chat.people.holders().person_with(&claims.subject, &folded) != Some(&call.actor.person) {
        return Err(refused("the token is somebody else's".to_owned()));
    }
    let person = hold_name(chat, &folded, &claims.subject)?;
    for other in chat.people.guests_named(&person) {
        ending::dismiss(chat, call.ctx, other, Farewell::NameTaken);
    }
    chat.people.refresh(SessionId::of(conn), &name, Box::new(claims));
    elsewhere::renamed(chat, (&name, &person));
    time_expiry(chat, call.ctx);
    expel_from_forbidden(chat, call, conn);
    tell_refreshed(chat, call, (conn, &name));
    Ok(())
}

/// A connection leaves the rooms that its token does not permit.
fn expel_from_forbidden<C: Context>(chat: &mut Chat, call: &mut Call<'_, C>, conn: ConnId) {
    let Some(session) = chat.people.look(SessionId::of(conn)) else { return };
    let rooms: Vec<_> = session.rooms().collect();
    for room in rooms {
        let name = Arc::clone(chat.rooms[room].name());
        if !chat.people.may(call.actor, Right::Join, &name) {
            ending::expel(chat, call.ctx, conn, room);
            let reason = "your token does not permit this room any more";
            chat.responder.send(call.ctx, conn, &Kicked { room: &name, reason });
        }
    }
}

fn tell_refreshed<C: Context>(chat: &mut Chat, call: &mut Call<'_, C>, (conn, user): (ConnId, &str)) {
    let Chat { people, responder, rooms, .. } = chat;
    let Some(session) = people.look(SessionId::of(conn)) else { return };
    let permissions = |room| {
        let name = rooms[room].name();
        (Arc::clone(name), people.permissions(call.actor, name))
    };
    let in_rooms: Vec<_> = session.rooms().map(permissions).collect();
    let refreshed = Refreshed {
        id: call.reply_to.id(),
        user,
        permissions: if people.require_moderator(call.actor).is_ok() { &["ban"] } else { &[] },
        rooms: RoomPermissions(&in_rooms),
        expires_ms: session.expires_ms(call.ctx.now()).unwrap_or(0),
    };
    responder.reply(call.ctx, call.reply_to, &refreshed);
}

/// Returns a name to a person, or refuses it. On the disk before anything that is said under it. Returns what the person is
/// known by.
fn hold_name(chat: &mut Chat, name: &Arc<str>, subject: &str) -> Result<Arc<str>, Refusal> {
    let claimed = match &chat.neighbours {
        Some(neighbours) => neighbours.exchange().claim(name, subject),
        None => chat.people.holders_mut().claim(name, subject),
    };
    let (person, holder) = claimed.map_err(|denied| denied.refusal())?;
    let Some(holder) = holder.filter(|_| chat.pending.is_on_disk()) else { return Ok(person) };
    if let Err(refusal) = chat.pending.hold_name(holder.clone()) {
        match &chat.neighbours {
            Some(neighbours) => neighbours.exchange().forget(&holder),
            None => chat.people.holders_mut().forget(&holder),
        }
        return Err(refusal);
    }
    if let Some(neighbours) = &mut chat.neighbours {
        chat.people.holders_mut().learn(&holder);
        neighbours.tell_all(&Word::Held(holder));
    }
    Ok(person)
}

/// Sees to it that a timer comes when the first token expires.
fn time_expiry<C: Context>(chat: &mut Chat, ctx: &mut C) {
    if let Some(at) = chat.people.time_expiry(ctx.now()) {
        ctx.set_timer(at, timer::EXPIRY);
    }
}

/// Ends the sessions of tokens that have expired, a bounded number in a turn. Nobody whose token has expired may do
/// anything meanwhile (see `gate::admit`).
pub(in crate::chat) fn expire<C: Context>(chat: &mut Chat, ctx: &mut C) {
    let now = ctx.now();
    chat.people.expiry_timer_fired(now);
    for _ in 0..chat.options.limits.turn_expiries {
        let Some(conn) = chat.people.expired(now.unix_ms) else { break };
        ending::dismiss(chat, ctx, conn, Farewell::TokenExpired);
    }
    time_expiry(chat, ctx);
}

fn welcome<C: Context>(chat: &mut Chat, ctx: &mut C, reply_to: &ReplyTo) {
    let Some(conn) = reply_to.conn() else { return };
    let Chat { people, responder, options, verifier, .. } = chat;
    let Some(actor) = people.actor(SessionId::of(conn)) else { return };
    let Some(member) = people.member(SessionId::of(conn)) else { return };
    let list_rooms = options.list_rooms.then_some("rooms");
    let data = (options.limits.max_data > 0).then_some("data");
    let refresh = verifier.is_some().then_some("refresh");
    let features = [Some("omit"), list_rooms, data, Some("reply_to"), Some("pairs"), refresh, Some("mine")];
    let features: Vec<&str> = features.into_iter().flatten().collect();
    let welcome = Welcome {
        id: reply_to.id(),
        client: member.client,
        user: member.user,
        verified: member.verified,
        heartbeat_ms: options.heartbeat_ms,
        limits: LimitsShown(&options.limits),
        features: &features,
        permissions: if people.require_moderator(&actor).is_ok() { &["ban"] } else { &[] },
        expires_ms: people.look(SessionId::of(conn)).and_then(|session| session.expires_ms(ctx.now())),
    };
    responder.reply(ctx, reply_to, &welcome);
}

/// What a `hello` says.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Greeting<'a> {
    pub(in crate::chat) user: Option<&'a str>,
    pub(in crate::chat) token: Option<&'a str>,
    pub(in crate::chat) omit: Omit,
}
