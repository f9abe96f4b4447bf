//! From a message to the command's own function: who may speak how often, and which room it is about.

pub(in crate::chat) mod answers;
pub(in crate::chat) mod ask;
pub(in crate::chat) mod call;
pub(in crate::chat) mod conversations;
pub(in crate::chat) mod decide;
pub(in crate::chat) mod direct;
pub(in crate::chat) mod elsewhere;
pub(in crate::chat) mod ending;
mod gate;
pub(in crate::chat) mod inspect;
pub(in crate::chat) mod join;
pub(in crate::chat) mod login;
pub(in crate::chat) mod mine;
pub(in crate::chat) mod moderate;
mod open;
pub(in crate::chat) mod pace;
pub(in crate::chat) mod post;
pub(in crate::chat) mod presence;
pub(in crate::chat) mod publish;
pub(in crate::chat) mod read_back;
pub(in crate::chat) mod rooms;
mod scan;
mod search;
pub(in crate::chat) mod tell;
pub(in crate::chat) mod turn;
pub(in crate::chat) mod unread;

use crate::app::{ConnId, Context};
use crate::chat::commands::call::Call;
use crate::chat::commands::login::Greeting;
use crate::chat::commands::post::Said;
use crate::chat::commands::read_back::Range;
use crate::chat::decisions::AskKind;
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::pending::queries::JoinRange;
use crate::chat::people::session::Waiting;
use crate::chat::wire::command::{Command, Id};
use crate::chat::wire::notices::{Farewell, Pong};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};

/// A text message on a connection of `chat.v1.json`.
pub(in crate::chat) fn came<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId, payload: &mut [u8]) {
    let mut parsed = chat.parser.parse(payload, &chat.options.limits);
    // Who speaks is known before their commands are counted.
    let is_new = chat.people.session(conn).is_some_and(|session| session.user().is_none());
    let is_decided = is_new && decide::asks(chat, AskKind::Connect);
    if is_new
        && !is_decided
        && let Ok((id, command)) = &parsed
        && !matches!(command, Command::Hello { .. })
        && let Err(refusal) = login::be_guest(chat, ctx, conn)
    {
        parsed = Err((id.clone(), refusal));
    }
    let is_post = parsed.as_ref().is_ok_and(|(_, command)| command.is_post());
    if let Err(wait_ms) = chat.people.take_token(conn, is_post, &chat.options.limits, ctx.now().monotonic_ms)
    {
        let id = match parsed {
            Ok((id, _)) | Err((id, _)) => id.into_owned(),
        };
        let refusal = Refusal::later(Code::RateLimited, wait_ms, "too fast; wait a moment");
        return refuse_fast(chat, ctx, &ReplyTo::Connection(conn, id), &refusal);
    }
    match parsed {
        Err((id, refusal)) => {
            chat.responder.refuse(ctx, &ReplyTo::Connection(conn, id.into_owned()), &refusal);
        }
        Ok((id, command)) if is_decided => decide::arrive(chat, ctx, conn, (id, command)),
        Ok((id, command)) => dispatch(chat, ctx, conn, id, command),
    }
}

/// Does a command of somebody who says who they are, or has said so.
pub(in crate::chat) fn dispatch<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    conn: ConnId,
    id: Id<'_>,
    command: Command<'_>,
) {
    let reply_to = ReplyTo::Connection(conn, id.into_owned());
    if let Command::Hello { user, token, omit } = command {
        let greeting = Greeting { user: user.as_deref(), token: token.as_deref(), omit };
        login::hello(chat, ctx, &reply_to, greeting);
    } else if let Some(actor) = chat.people.actor(SessionId::of(conn)) {
        execute(chat, &mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
    }
}

/// Tells somebody that they are too fast; anyone who goes on regardless is closed.
pub(in crate::chat) fn refuse_fast<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    refusal: &Refusal,
) {
    let Some(conn) = reply_to.conn().filter(|conn| chat.people.session(*conn).is_some()) else { return };
    if !chat.people.may_refuse(conn, &chat.options.limits, ctx.now().monotonic_ms) {
        chat.counts.flooded += 1;
        return ending::dismiss(chat, ctx, conn, Farewell::Flooding);
    }
    chat.responder.refuse(ctx, reply_to, refusal);
}

/// Does a command, now or when its room is there.
pub(in crate::chat) fn execute<C: Context>(chat: &mut Chat, call: &mut Call<'_, C>, command: Command<'_>) {
    if !pace::must_pace(chat, call, &command) {
        return execute_now(chat, call, command);
    }
    if let Err(refusal) = pace::pace_command(chat, call, command) {
        chat.responder.refuse(call.ctx, call.reply_to, &refusal);
    }
}

/// The same, whatever was done before in this turn.
pub(in crate::chat) fn execute_now<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    command: Command<'_>,
) {
    let done = gate::admit(chat, call).and_then(|is_there| {
        let command = if is_there { decide::wait_behind(chat, call, command)? } else { None };
        match command {
            None => Ok(()),
            Some(command) if command.room().is_some() => execute_in_room(chat, call, command),
            Some(command) => execute_anywhere(chat, call, command),
        }
    });
    if let Err(refusal) = done {
        chat.responder.refuse(call.ctx, call.reply_to, &refusal);
    }
}

fn execute_anywhere<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    command: Command<'_>,
) -> Result<(), Refusal> {
    match command {
        Command::Direct { to, text, key, data, reply_to } => {
            let said = Said { text: &text, key: key.as_deref(), data, reply_to };
            direct::direct(chat, call, &to, said)
        }
        Command::Conversations { page, limit } => {
            conversations::conversations(chat, call, page.as_deref(), limit)
        }
        Command::Rooms { prefix, after, limit } => {
            rooms::rooms(chat, call, prefix.as_deref(), after.as_deref(), limit)
        }
        Command::Subscribe { room, is_on } => mine::subscribe(chat, call, &room, is_on),
        Command::Mine { page, limit } => mine::mine(chat, call, page.as_deref(), limit),
        Command::Refresh { token } => login::refresh(chat, call, &token),
        Command::Ping => {
            chat.responder.reply(call.ctx, call.reply_to, &Pong { id: call.reply_to.id() });
            Ok(())
        }
        Command::Ban { user, seconds, reason } => {
            moderate::ban(chat, call, &user, seconds, reason.as_deref())
        }
        Command::Unban { user } => moderate::unban(chat, call, &user),
        _ => Err(Refusal::field(Code::BadField, "type", "`hello` comes once, and first")),
    }
}

fn execute_in_room<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    command: Command<'_>,
) -> Result<(), Refusal> {
    let room = open::room_of(chat, call, &command)?;
    if open::must_wait(chat, call, room) {
        let (reply_to, actor) = (call.reply_to.clone(), call.actor.clone());
        return open::wait(chat, room, Waiting { reply_to, actor, command: command.into_owned() });
    }
    let done = execute_here(chat, call, room, command);
    chat.rooms.rest(call.ctx, room);
    done
}

fn execute_here<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    command: Command<'_>,
) -> Result<(), Refusal> {
    gate::gate(chat, call, room, &command)?;
    if decide::is_asked(chat, call, &command) {
        return decide::ask(chat, call, Some(room), command);
    }
    match command {
        Command::Join { since, history, .. } => join::join(chat, call, room, JoinRange { since, history }),
        Command::Post { text, key, data, reply_to, .. } => {
            let said = Said { text: &text, key: key.as_deref(), data, reply_to };
            post::post(chat, call, room, said)
        }
        command @ (Command::Edit { .. } | Command::Delete { .. } | Command::React { .. }) => {
            post::change(chat, call, room, command)
        }
        Command::History { before, after, limit, .. } => {
            read_back::history(chat, call, room, &Range { before, after }, limit)
        }
        Command::Search { query, limit, .. } => search::search(chat, call, room, &query, limit),
        Command::Leave { .. } => join::leave(chat, call, room),
        Command::Who { .. } => {
            join::who(chat, call, room);
            Ok(())
        }
        Command::Typing { .. } => {
            presence::typing(chat, call, room);
            Ok(())
        }
        Command::Read { seq, .. } => {
            presence::read(chat, call.actor, room, seq);
            Ok(())
        }
        Command::Import { record, .. } => post::import(chat, call, room, record),
        Command::Kick { user, reason, .. } => moderate::kick(chat, call, room, &user, reason.as_deref()),
        _ => Err(Refusal::not_joined()),
    }
}
