//! Questions to whoever decides ([`ChatEvents`](crate::chat::decisions::ChatEvents)), and what comes of the answers.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::app::{ConnId, Context};
use crate::chat::commands::call::Call;
use crate::chat::commands::login::{self, Greeting};
use crate::chat::commands::{self, gate};
use crate::chat::deciding::{Arrival, Asked, Behind, Subject};
use crate::chat::decisions::{Allowed, Answer, AskKind, AskNumber, Question, Speaker};
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::people::names;
use crate::chat::people::session::{Session, Waiting};
use crate::chat::wire::command::{Command, Id, Omit};
use crate::chat::wire::data::Json;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal, timer};
use crate::text::is_blank;

/// What is asked before a command is done.
fn kind_of(command: &Command<'_>) -> Option<AskKind> {
    match command {
        Command::Join { .. } => Some(AskKind::Join),
        Command::Post { .. } | Command::Edit { .. } | Command::Direct { .. } => Some(AskKind::Post),
        _ => None,
    }
}

/// Whether a question of this kind is asked at all.
pub(in crate::chat) fn asks(chat: &Chat, kind: AskKind) -> bool {
    chat.deciding.as_ref().is_some_and(|deciding| deciding.options.asks.has(kind))
}

/// Whether somebody else decides first. The server itself is not asked about.
pub(in crate::chat) fn is_asked<C>(chat: &mut Chat, call: &Call<'_, C>, command: &Command<'_>) -> bool {
    let Some(deciding) = &mut chat.deciding else { return false };
    call.actor.session.is_some()
        && kind_of(command).is_some_and(|kind| deciding.options.asks.has(kind))
        && !deciding.take_decided()
}

/// Asks whether a command may be done. It and all that is about its room wait for the answer.
pub(in crate::chat) fn ask<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: Option<RoomId>,
    command: Command<'_>,
) -> Result<(), Refusal> {
    let Some(conn) = call.reply_to.conn() else { return Ok(()) };
    if kind_of(&command) == Some(AskKind::Post) {
        gate::check_writable(chat)?;
    }
    let lane: Arc<str> = lane_of(chat, &command).unwrap_or_default().into();
    let name = room.map(|room| Arc::clone(chat.rooms[room].name()));
    let Some(deciding) = &mut chat.deciding else { return Ok(()) };
    deciding.check_place(chat.options.limits.max_hook_asks)?;
    chat.people.begin_waiting(call.actor.session, &chat.options.limits)?;
    let session = chat.people.look(SessionId::of(conn));
    let subject = session.and_then(Session::claims).map(|claims| &*claims.subject);
    let question = question(call, name.as_deref(), subject, &command);
    let (number, answer) = deciding.ask(&question);
    let hold = room.map(|room| chat.rooms.hold(room));
    if let Some(answer) = answer {
        chat.people.end_waiting(Some(conn));
        go_on(chat, call, command, answer);
        // Anyone who does the command lets the room rest.
        if let Some(hold) = hold {
            chat.rooms.unhold(hold);
        }
        return Ok(());
    }
    let (reply_to, actor) = (call.reply_to.clone(), call.actor.clone());
    let waiting = Box::new(Waiting { reply_to, actor, command: command.into_owned() });
    let now = call.ctx.now().monotonic_ms;
    deciding.wait(number, (conn, lane), now, Subject::Command(waiting, hold));
    set_timer(chat, call.ctx);
    Ok(())
}

/// What is asked about a command.
fn question<'q, C>(
    call: &'q Call<'_, C>,
    room: Option<&'q str>,
    subject: Option<&'q str>,
    command: &'q Command<'_>,
) -> Question<'q> {
    let (client, user, verified) = (&*call.actor.client, &*call.actor.name, call.actor.is_verified);
    let (to, edits, text, key, data, reply_to) = match command {
        Command::Direct { to, text, key, data, reply_to } => {
            (Some(to.strip_prefix('@').unwrap_or(to)), None, text, key.as_deref(), data, *reply_to)
        }
        Command::Edit { seq, text, data, .. } => (None, Some(*seq), text, None, data, None),
        Command::Post { text, key, data, reply_to, .. } => {
            (None, None, text, key.as_deref(), data, *reply_to)
        }
        other => {
            let room = room.or(other.room()).unwrap_or_default();
            return Question::Join { room, client, user, verified, subject };
        }
    };
    let data = data.as_ref().map(Json);
    Question::Post { room, to, edits, text, data, reply_to, key, client, user, verified, subject }
}

/// Does what was decided.
fn go_on<C: Context>(chat: &mut Chat, call: &mut Call<'_, C>, command: Command<'_>, answer: Answer) {
    let answer = check_text(chat, &command, answer);
    let Some(deciding) = &mut chat.deciding else { return };
    match deciding.judge(answer, call.ctx.now().monotonic_ms) {
        Ok(allowed) => {
            deciding.set_decided(true);
            commands::execute_now(chat, call, changed(command, allowed));
            if let Some(deciding) = &mut chat.deciding {
                deciding.set_decided(false);
            }
        }
        Err(refusal) => chat.responder.refuse(call.ctx, call.reply_to, &refusal),
    }
}

/// A text that nobody could post, or data that nobody could add, is no answer.
fn check_text(chat: &Chat, command: &Command<'_>, answer: Answer) -> Answer {
    let Answer::Allow(Allowed { text, data, .. }) = &answer else { return answer };
    let limits = &chat.options.limits;
    if let Some(text) = text
        && (kind_of(command) != Some(AskKind::Post) || is_blank(text) || text.len() > limits.max_text)
    {
        return Answer::Away("the answer's `text` cannot be posted".into());
    }
    if data.as_ref().is_some_and(|data| data.as_str().len() > limits.max_data) {
        return Answer::Away("the answer's `data` is too long".into());
    }
    answer
}

/// The command, with what the answer changes in it.
fn changed(mut command: Command<'_>, allowed: Allowed) -> Command<'_> {
    if let Command::Post { text, data, .. }
    | Command::Edit { text, data, .. }
    | Command::Direct { text, data, .. } = &mut command
    {
        if let Some(said) = allowed.text {
            *text = Cow::Owned(said.into());
        }
        if allowed.data.is_some() {
            *data = allowed.data;
        }
    }
    command
}

// ---- what waits

/// The lane of a command: the room that it is about, or the user.
fn lane_of<'c>(chat: &Chat, command: &'c Command<'_>) -> Option<Cow<'c, str>> {
    let pair = |name: &str| Cow::Owned(format!("@{}", names::fold(name)));
    if let Command::Direct { to, .. } = command {
        return Some(pair(to.strip_prefix('@').unwrap_or(to)));
    }
    let raw = command.room()?;
    if let Some(other) = raw.strip_prefix('@') {
        return Some(pair(other));
    }
    // What members say is a name that is known already, as a rule.
    if chat.rooms.find(raw).is_some() {
        return Some(Cow::Borrowed(raw));
    }
    Some(names::room(raw).unwrap_or(Cow::Borrowed(raw)))
}

/// Lets a command wait where something about its room is being decided; `None`: it waits. Its place among those of its connection
/// is kept.
pub(in crate::chat) fn wait_behind<'c, C>(
    chat: &mut Chat,
    call: &Call<'_, C>,
    command: Command<'c>,
) -> Result<Option<Command<'c>>, Refusal> {
    let Some(conn) = call.reply_to.conn() else { return Ok(Some(command)) };
    if !chat.deciding.as_ref().is_some_and(|deciding| deciding.is_busy(conn)) {
        return Ok(Some(command));
    }
    let Some(name) = lane_of(chat, &command) else { return Ok(Some(command)) };
    let Some(lane) = chat.deciding.as_mut().and_then(|deciding| deciding.lane(conn, &name)) else {
        drop(name);
        return Ok(Some(command));
    };
    chat.people.begin_waiting(call.actor.session, &chat.options.limits)?;
    drop(name);
    let (reply_to, actor) = (call.reply_to.clone(), call.actor.clone());
    lane.push_back(Behind::Command(Waiting { reply_to, actor, command: command.into_owned() }));
    Ok(None)
}

/// What waited goes on, until something of it is asked about as well.
fn resume<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    (conn, name): (ConnId, &str),
    mut behind: VecDeque<Behind>,
) {
    while let Some(next) = behind.pop_front() {
        chat.people.end_waiting(Some(conn));
        match next {
            Behind::Command(Waiting { reply_to, actor, command }) => {
                if chat.people.is_present(&reply_to) {
                    commands::execute(chat, &mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
                }
            }
            Behind::Unsaid(id, command) => commands::dispatch(chat, ctx, conn, id, command),
        }
        if let Some(lane) = chat.deciding.as_mut().and_then(|deciding| deciding.lane(conn, name)) {
            return lane.append(&mut behind);
        }
    }
}

// ---- answers

/// An answer has come.
pub(in crate::chat) fn answered<C: Context>(chat: &mut Chat, ctx: &mut C, number: AskNumber, answer: Answer) {
    let now = ctx.now().monotonic_ms;
    let Some((asked, behind)) = chat.deciding.as_mut().and_then(|deciding| deciding.answered(number, now))
    else {
        return;
    };
    let Asked { conn, subject, .. } = asked;
    match subject {
        Subject::Arrival(arrival) => arrived(chat, ctx, conn, (arrival, answer), behind),
        Subject::Command(waiting, hold) => {
            let Waiting { reply_to, actor, command } = *waiting;
            let name = lane_of(chat, &command).unwrap_or_default().into_owned();
            chat.people.end_waiting(Some(conn));
            go_on(chat, &mut Call { ctx, reply_to: &reply_to, actor: &actor }, command, answer);
            if let Some(hold) = hold {
                chat.rooms.release(ctx, hold);
            }
            resume(chat, ctx, (conn, &name), behind);
        }
    }
}

/// Nobody waits any longer for what is overdue.
pub(in crate::chat) fn timer_fired<C: Context>(chat: &mut Chat, ctx: &mut C) {
    if let Some(deciding) = &mut chat.deciding {
        deciding.timer_fired();
    }
    let now = ctx.now().monotonic_ms;
    while let Some(number) = chat.deciding.as_ref().and_then(|deciding| deciding.overdue(now)) {
        answered(chat, ctx, number, Answer::Away("no answer in time".into()));
    }
    set_timer(chat, ctx);
}

fn set_timer<C: Context>(chat: &mut Chat, ctx: &mut C) {
    if let Some(at) = chat.deciding.as_mut().and_then(|deciding| deciding.needs_timer()) {
        ctx.set_timer(at, timer::DECISIONS);
    }
}

/// A connection is gone: what waited for a decision comes to nothing.
pub(in crate::chat) fn forget<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId) {
    let Some(deciding) = &mut chat.deciding else { return };
    let (asked, waiting) = deciding.forget(conn);
    for _ in 0..waiting {
        chat.people.end_waiting(None);
    }
    for Asked { subject, .. } in asked {
        if let Subject::Command(_, hold) = subject {
            chat.people.end_waiting(None);
            if let Some(hold) = hold {
                chat.rooms.release(ctx, hold);
            }
        }
    }
}

// ---- who somebody is

/// Somebody who is nobody yet says something: whoever decides says who they are.
pub(in crate::chat) fn arrive<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    conn: ConnId,
    (id, command): (Id<'_>, Command<'_>),
) {
    let reply_to = ReplyTo::Connection(conn, id.into_owned());
    if let Err(refusal) = try_arrive(chat, ctx, &reply_to, command) {
        chat.responder.refuse(ctx, &reply_to, &refusal);
    }
}

fn try_arrive<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    command: Command<'_>,
) -> Result<(), Refusal> {
    let Some(conn) = reply_to.conn() else { return Ok(()) };
    let id = || reply_to.id().clone();
    if let Some(lane) = chat.deciding.as_mut().and_then(|deciding| deciding.lane(conn, "")) {
        chat.people.begin_waiting(Some(SessionId::of(conn)), &chat.options.limits)?;
        lane.push_back(Behind::Unsaid(id(), command.into_owned()));
        return Ok(());
    }
    let mut behind = VecDeque::new();
    let arrival = if let Command::Hello { user, token, omit } = &command {
        let greeting = Greeting { user: user.as_deref(), token: token.as_deref(), omit: *omit };
        let claims = login::claims_of(chat, ctx, conn, greeting)?.map(Box::new);
        if let Some(user) = user {
            names::user(user, "user")?;
        }
        Arrival { hello: Some(id()), user: user.as_deref().map(Into::into), claims, omit: *omit }
    } else {
        let claims = chat.people.session(conn).and_then(|session| session.claims().cloned());
        chat.people.begin_waiting(Some(SessionId::of(conn)), &chat.options.limits)?;
        behind.push_back(Behind::Unsaid(id(), command.into_owned()));
        Arrival { hello: None, user: None, claims: claims.map(Box::new), omit: Omit::default() }
    };
    match ask_who(chat, conn, &arrival) {
        Err(refusal) => {
            for _ in behind {
                chat.people.end_waiting(Some(conn));
            }
            return Err(refusal);
        }
        Ok((_, Some(answer))) => arrived(chat, ctx, conn, (arrival, answer), behind),
        Ok((number, None)) => {
            let now = ctx.now().monotonic_ms;
            if let Some(deciding) = &mut chat.deciding {
                deciding.wait(number, (conn, "".into()), now, Subject::Arrival(arrival));
                if let Some(lane) = deciding.lane(conn, "") {
                    *lane = behind;
                }
            }
            set_timer(chat, ctx);
        }
    }
    Ok(())
}

fn ask_who(chat: &mut Chat, conn: ConnId, arrival: &Arrival) -> Result<(AskNumber, Option<Answer>), Refusal> {
    let most = chat.options.limits.max_hook_asks;
    let (Some(session), Some(deciding)) = (chat.people.look(SessionId::of(conn)), &mut chat.deciding) else {
        return Err(Refusal::unavailable());
    };
    deciding.check_place(most)?;
    let origin = deciding.origin(conn).map(str::to_owned);
    let claims = arrival.claims.as_deref();
    let question = Question::Connect {
        client: session.client(),
        address: session.address().to_string(),
        origin: origin.as_deref(),
        user: claims.map(|claims| &*claims.user).or(arrival.user.as_deref()),
        verified: claims.is_some(),
        subject: claims.map(|claims| &*claims.subject),
        expires: claims.map(|claims| claims.expires_unix_s),
    };
    Ok(deciding.ask(&question))
}

/// It is decided who somebody is.
fn arrived<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    conn: ConnId,
    (arrival, answer): (Arrival, Answer),
    behind: VecDeque<Behind>,
) {
    let Arrival { hello, user, claims, omit } = arrival;
    let answer = check_speaker(answer);
    let now = ctx.now().monotonic_ms;
    let Some(deciding) = &mut chat.deciding else { return };
    let spoken = deciding.judge(answer, now).and_then(|allowed| {
        match allowed.speaker {
            Some(Speaker::Verified(claims)) => login::speak_verified(chat, ctx, conn, claims),
            Some(Speaker::Guest(name)) => login::speak_unverified(chat, ctx, conn, &name),
            None if hello.is_none() => login::be_guest(chat, ctx, conn),
            None => login::speak(chat, ctx, conn, (claims.map(|claims| *claims), user.as_deref())),
        }?;
        chat.people.set_rate(conn, allowed.posts);
        Ok(())
    });
    let greeting = Greeting { user: user.as_deref(), token: None, omit };
    let reply_to = hello.map(|id| ReplyTo::Connection(conn, id));
    match spoken {
        Ok(()) => {
            if let Some(deciding) = &mut chat.deciding {
                deciding.forget_origin(conn);
            }
            if let Some(reply_to) = reply_to {
                login::greeted(chat, ctx, &reply_to, greeting);
            }
            resume(chat, ctx, (conn, ""), behind);
        }
        Err(refusal) => {
            for next in behind {
                chat.people.end_waiting(Some(conn));
                if let Behind::Unsaid(id, _) = next {
                    chat.responder.refuse(ctx, &ReplyTo::Connection(conn, id), &refusal);
                }
            }
            if let Some(reply_to) = reply_to {
                login::refuse_hello(chat, ctx, &reply_to, (greeting, &refusal));
            }
        }
    }
}

/// Somebody whom nobody could be is no answer.
fn check_speaker(answer: Answer) -> Answer {
    let Answer::Allow(Allowed { speaker: Some(speaker), .. }) = &answer else { return answer };
    let (name, is_known) = match speaker {
        Speaker::Verified(claims) => (&*claims.user, !is_blank(&claims.subject)),
        Speaker::Guest(name) => (&**name, true),
    };
    if !is_known || names::user(name, "user").is_err() {
        return Answer::Away("the answer's `user` cannot be anybody's name".into());
    }
    answer
}
