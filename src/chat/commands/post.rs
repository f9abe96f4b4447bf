//! Saying something, and changing what was said.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::{ask, gate, publish, read_back};
use crate::chat::ids::RoomId;
use crate::chat::pending::keys::{Known, Scope, with_scope};
use crate::chat::pending::queries::Purpose;
use crate::chat::pending::{PendingChange, PendingItem};
use crate::chat::people::actor::Actor;
use crate::chat::people::holders::Holders;
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::rooms::Hold;
use crate::chat::wire::command::Command;
use crate::chat::wire::notices::Ack;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal, SERVER};
use crate::history::{Action, Keep, Post, Query, Record, Who};

/// What a command must know of the message that it changes.
#[derive(Debug, Clone)]
struct Facts {
    is_own: bool,
    /// Reactions of everybody.
    reactions: usize,
    /// The one who asks has reacted in this way, under this name.
    reacted_as: Option<Who>,
}

pub(in crate::chat) fn post<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    text: &str,
    key: Option<&str>,
) -> Result<(), Refusal> {
    let name = Arc::clone(chat.rooms[room].name());
    if let Some(key) = key
        && is_repeated(chat, call, &name, key)
    {
        return Ok(());
    }
    gate::check_writable(chat)?;
    say(chat, call, room, text, key);
    Ok(())
}

/// Numbers a post and makes it durable.
pub(in crate::chat) fn say<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    text: &str,
    key: Option<&str>,
) {
    let Call { ctx, reply_to, actor } = call;
    let now = ctx.now();
    let (seq, time) = chat.rooms[room].next_seq(now.unix_ms);
    let post = Post {
        seq,
        time,
        user: Arc::clone(&actor.name),
        is_verified: actor.is_verified,
        client: Arc::clone(&actor.client),
        text: text.into(),
        key: key.map(Into::into),
    };
    if let Some(key) = key {
        let known = Known { seq, time, is_pending: chat.pending.is_on_disk() };
        chat.keys.insert(&Scope::of(actor, chat.rooms[room].name(), key), known, now.monotonic_ms);
    }
    submit(chat, *ctx, room, Action::Post(post), (*reply_to).clone());
}

/// Whether this was posted before; then the answer is that of the first time.
pub(in crate::chat) fn is_repeated<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: &str,
    key: &str,
) -> bool {
    let Call { ctx, reply_to, actor } = call;
    let Some(known) = chat.keys.find(&Scope::of(actor, room, key), ctx.now().monotonic_ms) else {
        return false;
    };
    let Known { seq, time, is_pending } = known;
    let room = told_name(chat, &actor.person, room);
    if is_pending {
        chat.pending.add_echo(room, seq, time, (*reply_to).clone());
    } else {
        acknowledge_again(chat, *ctx, reply_to, &room, (seq, time));
    }
    true
}

/// What somebody calls a room that need not be open: a conversation of two is called after the other.
fn told_name(chat: &Chat, own: &str, room: &str) -> Arc<str> {
    match room.strip_prefix('@').and_then(|pair| pair.split_once('\n')) {
        Some((a, b)) => chat.people.pair_name(if a == own { b } else { a }),
        None => room.into(),
    }
}

pub(in crate::chat) fn acknowledge_again<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    room: &str,
    (seq, time): (u64, u64),
) {
    chat.counts.duplicates += 1;
    let is_kept = seq > 0;
    let ack = Ack {
        seq: is_kept.then_some(seq),
        time: Some(time),
        durable: Some(if is_kept { chat.pending.level() } else { "memory" }),
        duplicate: true,
        ..Ack::new(reply_to.id(), Some(room))
    };
    chat.responder.acknowledge(ctx, reply_to, &ack);
}

/// `edit`, `delete` and `react`.
pub(in crate::chat) fn change<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    command: Command<'_>,
) -> Result<(), Refusal> {
    let seq = seq_of(&command);
    let state = &chat.rooms[room];
    gate::check_writable(chat)?;
    let oldest = chat.options.visible_from(state, call.ctx.now().unix_ms);
    if seq == 0 || seq > state.order().seq() || seq < oldest || state.order().is_deleting(seq) {
        return Err(Refusal::no_message());
    }
    if let Some(record) = state.order().log().find(seq) {
        let facts = facts(record, call.actor, &command, chat.people.holders())?;
        return change_message(chat, call, room, command, facts);
    }
    if !chat.pending.is_on_disk() {
        return Err(Refusal::no_message());
    }
    let name = Arc::clone(state.name());
    let purpose = Purpose::Change { actor: call.actor.clone(), command: command.into_owned() };
    let request = |ask| Query::Page { ask, room: name, before: seq + 1, limit: 1, keep: Keep::Newest };
    ask::ask_for(chat, call.reply_to, Some(room), purpose, request)
}

/// [`change`], once the history has told of the message.
pub(in crate::chat) fn change_old<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    command: Command<'_>,
    records: &[Record],
) -> Result<(), Refusal> {
    let seq = seq_of(&command);
    gate::check_writable(chat)?;
    let record = records.iter().find(|record| record.post.seq == seq).ok_or_else(Refusal::no_message)?;
    if chat.rooms[room].order().is_deleting(seq) {
        return Err(Refusal::no_message());
    }
    let facts = facts(record, call.actor, &command, chat.people.holders())?;
    change_message(chat, call, room, command, facts)
}

fn change_message<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    command: Command<'_>,
    facts: Facts,
) -> Result<(), Refusal> {
    let Call { ctx, reply_to, actor } = call;
    let state = &mut chat.rooms[room];
    let is_permitted = facts.is_own || chat.people.may(actor, Right::Moderate, state.name());
    let now = ctx.now().unix_ms;
    let action = match command {
        Command::Edit { .. } | Command::Delete { .. } if !is_permitted => {
            return Err(Refusal::field(Code::Forbidden, "seq", "this message is somebody else's"));
        }
        Command::Edit { seq, text, .. } => {
            let (rev, time) = state.next_rev(now);
            Action::Edit { rev, seq, text: text.into(), time }
        }
        Command::Delete { seq, .. } => {
            let (rev, time) = state.begin_delete(seq, now);
            Action::Delete { rev, seq, time }
        }
        Command::React { seq, remove, .. }
            if facts.reacted_as.is_some() != remove && !state.order().has_pending() =>
        {
            // Nothing changes.
            let (rev, durable) = (Some(state.order().rev()), Some(chat.pending.level()));
            let name = Arc::clone(state.name());
            let ack = Ack { seq: Some(seq), rev, durable, ..Ack::new(reply_to.id(), Some(&name)) };
            chat.responder.acknowledge(*ctx, reply_to, &ack);
            return Ok(());
        }
        Command::React { remove: false, .. } if facts.reactions >= chat.options.limits.max_reactions => {
            return Err(Refusal::field(Code::TooLong, "emoji", "this message bears too many reactions"));
        }
        Command::React { seq, emoji, remove, .. } => {
            let user = facts.reacted_as.unwrap_or_else(|| actor.who());
            let (rev, _) = state.next_rev(now);
            Action::React { rev, seq, user, emoji: emoji.into(), is_removed: remove }
        }
        _ => return Ok(()),
    };
    submit(chat, *ctx, room, action, (*reply_to).clone());
    Ok(())
}

/// Makes a change durable, if that is promised; then it is history.
fn submit<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId, action: Action, reply_to: ReplyTo) {
    let hold = chat.rooms.hold(room);
    if chat.pending.is_on_disk() {
        chat.pending.add(chat.rooms[room].name(), hold, action, reply_to);
    } else {
        committed_change(chat, ctx, hold, &action, &reply_to);
    }
}

/// A change is as durable as promised: anyone who waits is told, and everybody sees it.
pub(in crate::chat) fn committed_change<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    hold: Hold,
    action: &Action,
    reply_to: &ReplyTo,
) {
    let room = hold.room();
    let name = read_back::shown_name(chat, reply_to, room);
    chat.rooms[room].committed(action);
    let (seq, rev, time) = match action {
        Action::Post(post) => (Some(post.seq), None, Some(post.time)),
        Action::Edit { seq, rev, time, .. } | Action::Delete { seq, rev, time } => {
            (Some(*seq), Some(*rev), Some(*time))
        }
        Action::React { seq, rev, .. } => (Some(*seq), Some(*rev), None),
        // Nobody waits for those.
        Action::Read { .. } => (None, None, None),
    };
    let durable = Some(chat.pending.level());
    let ack = Ack { seq, rev, time, durable, ..Ack::new(reply_to.id(), Some(&name)) };
    chat.responder.acknowledge(ctx, reply_to, &ack);
    publish::happened(chat, ctx, room, action);
    chat.rooms.release(ctx, hold);
}

/// A change comes to nothing: it could not be made durable.
pub(in crate::chat) fn undone<C: Context>(chat: &mut Chat, ctx: &mut C, item: PendingItem) {
    let PendingItem { change, reply_to } = item;
    if let PendingChange::Change(hold, action) = &change {
        let state = &mut chat.rooms[hold.room()];
        state.undone();
        if let Action::Post(post) = action {
            with_scope(post, state.name(), chat.people.holders(), |scope| chat.keys.forget(scope));
        }
    }
    chat.responder.refuse(ctx, &reply_to, &Refusal::unavailable());
    if let PendingChange::Change(hold, _) = change {
        chat.rooms.release(ctx, hold);
    }
}

fn seq_of(command: &Command<'_>) -> u64 {
    match command {
        Command::Edit { seq, .. } | Command::Delete { seq, .. } | Command::React { seq, .. } => *seq,
        _ => 0,
    }
}

fn facts(record: &Record, actor: &Actor, command: &Command<'_>, holders: &Holders) -> Result<Facts, Refusal> {
    if record.is_deleted {
        return Err(Refusal::no_message());
    }
    let post = &record.post;
    let is_actor = |name: &str, is_verified| {
        is_verified == actor.is_verified && *holders.owner(&names::fold(name), is_verified) == *actor.person
    };
    // What the server posts in a user's name is the server's.
    let is_of_server = post.is_verified && *post.client == *SERVER;
    let reacted_as = |emoji: &str| {
        let users = record.reactions.iter().find(|(other, _)| **other == *emoji).map(|(_, users)| users)?;
        users.iter().find(|who| is_actor(&who.name, who.is_verified)).cloned()
    };
    Ok(Facts {
        // A guest has nothing but the name; a verified user's messages are theirs alone, whatever they are called today.
        is_own: is_of_server == actor.session.is_none() && is_actor(&post.user, post.is_verified),
        reactions: record.reactions.iter().map(|(_, users)| users.len()).sum(),
        reacted_as: if let Command::React { emoji, .. } = command { reacted_as(emoji) } else { None },
    })
}
