//! What is done with the answers of the history.

use crate::app::{ConnId, Context};
use crate::chat::commands::call::Call;
use crate::chat::commands::turn::Paced;
use crate::chat::commands::{self, join, post, read_back, search, turn};
use crate::chat::ids::RoomId;
use crate::chat::pending::queries::{JoinAnswer, PendingJoin, PendingQuery, Purpose};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal};
use crate::history::{HistoryError, Record};

/// Messages that were asked for.
pub(in crate::chat) fn page_came<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    number: u64,
    records: Result<Vec<Record>, HistoryError>,
) {
    let Some(query) = chat.pending.answered(number) else { return };
    let records = records.map_err(|reason| failed(&reason));
    if matches!(query.purpose, Purpose::History(_) | Purpose::Search { .. })
        && let Some(conn) = must_hold(chat, ctx, &query.reply_to)
    {
        return hold(chat, ctx, conn, Paced::Answer(query, records));
    }
    tell_answer(chat, ctx, query, records);
}

/// The connection that a long answer has to wait for, if it has to.
fn must_hold<C: Context>(chat: &mut Chat, ctx: &C, reply_to: &ReplyTo) -> Option<ConnId> {
    let ReplyTo::Connection(conn, _) = reply_to else { return None };
    let has_to_wait = chat.turn.is_behind(*conn)
        || chat.turn.is_spent(&chat.options.limits, 1)
        || turn::is_full(chat, ctx, *conn);
    (has_to_wait && chat.people.session(*conn).is_some()).then_some(*conn)
}

/// Lets an answer of the history wait for its turn; where too much waits already, the answer is a refusal.
fn hold<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId, answer: Paced) {
    let most = chat.options.limits.max_held_answers;
    let Err(refused) = chat.turn.hold(conn, answer, &mut chat.pending, most) else { return };
    match *refused {
        (refusal, Paced::Answer(query, _)) => tell_answer(chat, ctx, query, Err(refusal)),
        (refusal, Paced::Join(join)) => end_join(chat, ctx, join, Err(refusal)),
        (_, Paced::Command(_) | Paced::Scan(_)) => {}
    }
}

/// Passes on what the history answered.
pub(in crate::chat) fn tell_answer<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    query: PendingQuery,
    records: Result<Vec<Record>, Refusal>,
) {
    let PendingQuery { reply_to, hold, purpose } = query;
    chat.people.end_query(reply_to.conn());
    match purpose {
        Purpose::JoinPage(join) => {
            if let Some(pending) = chat.pending.join(join) {
                // Without them it is not recovered; that is the answer then.
                pending.add_older(records.unwrap_or_default());
            }
            join_goes_on(chat, ctx, join);
        }
        Purpose::JoinRead(join) => join_goes_on(chat, ctx, join),
        // Answered by events of their own.
        Purpose::Rooms(_)
        | Purpose::Joinable(_)
        | Purpose::Pairs { .. }
        | Purpose::Mine { .. }
        | Purpose::Unread { .. } => {}
        Purpose::History(_) | Purpose::Search { .. } | Purpose::Change { .. } => {
            let Some(hold) = hold else { return };
            if chat.people.is_present(&reply_to) {
                let told = records
                    .and_then(|records| tell_records(chat, ctx, &reply_to, hold.room(), (purpose, records)));
                if let Err(refusal) = told {
                    chat.responder.refuse(ctx, &reply_to, &refusal);
                }
            }
            chat.rooms.release(ctx, hold);
        }
    }
}

fn tell_records<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    room: RoomId,
    (purpose, mut records): (Purpose, Vec<Record>),
) -> Result<(), Refusal> {
    match purpose {
        Purpose::History(range) => read_back::tell_history(chat, ctx, reply_to, room, (range, records)),
        Purpose::Search { rev } => {
            read_back::bring_up_to_date(chat, room, rev, &mut records);
            search::tell_found(chat, ctx, reply_to, room, &records);
        }
        Purpose::Change { actor, command } => {
            let mut call = Call { ctx, reply_to, actor: &actor };
            return post::change_old(chat, &mut call, room, command, &records);
        }
        _ => {}
    }
    Ok(())
}

/// How far somebody has read.
pub(in crate::chat) fn read_came<C: Context>(chat: &mut Chat, ctx: &mut C, number: u64, seq: u64) {
    let Some(query) = chat.pending.answered(number) else { return };
    if let Purpose::JoinRead(join) = query.purpose
        && let Some(pending) = chat.pending.join(join)
    {
        let (room, user) = (pending.room(), pending.actor().identity());
        chat.rooms[room].keep_read(&user, seq, chat.options.limits.max_read_positions);
    }
    tell_answer(chat, ctx, query, Ok(Vec::new()));
}

fn join_goes_on<C: Context>(chat: &mut Chat, ctx: &mut C, join: u64) {
    let Some(pending) = chat.pending.join(join) else { return };
    if !pending.goes_on() {
        return;
    }
    let reply_to = pending.reply_to().clone();
    if let Some(conn) = must_hold(chat, ctx, &reply_to) {
        return hold(chat, ctx, conn, Paced::Join(join));
    }
    end_join(chat, ctx, join, Ok(()));
}

/// Every answer that a join needs is there, or it is refused.
pub(in crate::chat) fn end_join<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    join: u64,
    may: Result<(), Refusal>,
) {
    let Some(answer) = chat.pending.end_join(join).map(PendingJoin::into_answer) else { return };
    let JoinAnswer { reply_to, actor, hold, range, mut older, rev } = answer;
    let room = hold.room();
    if chat.people.is_present(&reply_to) {
        read_back::bring_up_to_date(chat, room, rev, &mut older);
        let mut call = Call { ctx, reply_to: &reply_to, actor: &actor };
        let done = may.and_then(|()| join::finish_join(chat, &mut call, room, &range, &older));
        if let Err(refusal) = done {
            chat.responder.refuse(ctx, &reply_to, &refusal);
        }
        joined_or_not(chat, ctx, &reply_to, room);
    }
    chat.rooms.release(ctx, hold);
}

/// What waited behind a join goes on.
fn joined_or_not<C: Context>(chat: &mut Chat, ctx: &mut C, reply_to: &ReplyTo, room: RoomId) {
    let Some(session) = reply_to.conn().and_then(|conn| chat.people.session(conn)) else { return };
    let (conn, behind) = (session.conn(), session.end_joining(room));
    if chat.turn.is_behind(conn) {
        // They came before what waits there.
        for waiting in behind.into_iter().rev() {
            chat.turn.wait_first(conn, waiting);
        }
        return;
    }
    for waiting in &behind {
        chat.people.end_waiting(waiting.reply_to.conn());
    }
    for waiting in behind {
        let mut call = Call { ctx, reply_to: &waiting.reply_to, actor: &waiting.actor };
        commands::execute(chat, &mut call, waiting.command);
    }
}

fn failed(reason: &HistoryError) -> Refusal {
    tracing::warn!(%reason, "the history could not be read");
    Refusal::unavailable()
}
