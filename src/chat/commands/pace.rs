//! What one connection and one turn may make the loop do: answers of some length wait until there is room for them.
//!
//! An answer is bounded ([`Limits::max_answer`]). A connection for which more than [`Limits::answer_queue`] octets wait is given
//! no further one, and when a turn has written or looked through its share, what is left goes on in the next. What waits is
//! done in the order in which it came; commands about rooms wait behind it, so that answers keep their order.
//!
//! [`Limits::max_answer`]: super::Limits::max_answer
//! [`Limits::answer_queue`]: super::Limits::answer_queue

use crate::app::{ConnId, Context, Millis};
use crate::chat::commands::call::Call;
use crate::chat::commands::turn::Paced;
use crate::chat::commands::{answers, search, turn};
use crate::chat::ids::SessionId;
use crate::chat::people::session::{Session, Waiting};
use crate::chat::wire::command::Command;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal, timer};

/// Milliseconds until what waits is looked at again: where the turn was too short, and where readers are slow.
const AGAIN_MS: [Millis; 2] = [1, 10];

impl Command<'_> {
    /// Whether its answer may be long.
    fn reads(&self) -> bool {
        matches!(
            self,
            Self::Join { .. }
                | Self::History { .. }
                | Self::Search { .. }
                | Self::Who { .. }
                | Self::Rooms { .. }
                | Self::Mine { .. }
        )
    }
}

/// Whether a command has to wait for its turn.
pub(in crate::chat) fn must_pace<C: Context>(chat: &Chat, call: &Call<'_, C>, command: &Command<'_>) -> bool {
    let ReplyTo::Connection(conn, _) = call.reply_to else { return false };
    let is_spent = || chat.turn.is_spent(&chat.options.limits, 1);
    let has_to_wait = chat.turn.is_behind(*conn) && command.room().is_some()
        || command.reads() && (is_spent() || turn::is_full(chat, call.ctx, *conn));
    // Nothing waits for a session that has ended meanwhile: see `gate::admit`.
    has_to_wait && chat.people.look(SessionId::of(*conn)).is_some_and(Session::is_live)
}

/// Lets a command wait for its turn.
pub(in crate::chat) fn pace_command<C>(
    chat: &mut Chat,
    call: &Call<'_, C>,
    command: Command<'_>,
) -> Result<(), Refusal> {
    let Some(conn) = call.reply_to.conn() else { return Ok(()) };
    chat.people.begin_waiting(call.actor.session, &chat.options.limits)?;
    let (reply_to, actor) = (call.reply_to.clone(), call.actor.clone());
    chat.turn.wait(conn, Paced::Command(Waiting { reply_to, actor, command: command.into_owned() }));
    Ok(())
}

/// A tick ends: what waits goes on, with half of what the next turn may do.
pub(in crate::chat) fn resume<C: Context>(chat: &mut Chat, ctx: &mut C) {
    let mut tries = chat.turn.begin();
    while tries > 0
        && !chat.turn.is_spent(&chat.options.limits, 2)
        && let Some(conn) = chat.turn.next_conn()
    {
        tries -= 1;
        if resume_one(chat, ctx, conn) {
            chat.turn.again(conn);
        }
    }
    if chat.turn.needs_timer() {
        let after = AGAIN_MS[usize::from(!chat.turn.is_spent(&chat.options.limits, 2))];
        ctx.set_timer(ctx.now().monotonic_ms + after, timer::PACE);
    }
}

/// `true`: something is left.
fn resume_one<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId) -> bool {
    while chat.turn.has_more(conn) {
        if chat.turn.is_spent(&chat.options.limits, 2) || turn::is_full(chat, ctx, conn) {
            return true;
        }
        match chat.turn.next_of(conn) {
            Some(Paced::Command(Waiting { reply_to, actor, command })) => {
                chat.people.end_waiting(reply_to.conn());
                super::execute_now(chat, &mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
            }
            Some(paced @ (Paced::Answer(..) | Paced::Join(_))) => tell_held(chat, ctx, paced),
            Some(Paced::Scan(scan)) => {
                if let Some(scan) = search::scan(chat, ctx, scan, chat.options.limits.turn_scan / 2) {
                    chat.turn.scan_later(conn, scan);
                }
            }
            None => {}
        }
    }
    false
}

/// An answer of the history waits no longer.
fn tell_held<C: Context>(chat: &mut Chat, ctx: &mut C, answer: Paced) {
    chat.turn.let_go(&answer, &mut chat.pending);
    match answer {
        Paced::Answer(query, records) => answers::tell_answer(chat, ctx, query, records),
        Paced::Join(join) => answers::end_join(chat, ctx, join, Ok(())),
        Paced::Command(_) | Paced::Scan(_) => {}
    }
}
