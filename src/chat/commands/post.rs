//! Saying something, and changing what was said.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::{ask, gate, publish, read_back, tell, unread};
use crate::chat::ids::RoomId;
use crate::chat::pending::queries::Purpose;
use crate::chat::people::actor::Actor;
use crate::chat::people::holders::Holders;
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::rooms::Kind;
use crate::chat::wire::command::Command;
use crate::chat::wire::notices::Ack;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{
    Act, Change, Data, Draft, DraftKey, Keep, Outcome, Proposal, Query, Record, SERVER, Who,
};

/// What a command must know of the message that it changes.
#[derive(Debug, Clone)]
struct Facts {
    is_own: bool,
    /// The one who asks has reacted in this way, under this name.
    reacted_as: Option<Who>,
}

/// What somebody says.
#[derive(Debug)]
pub(in crate::chat) struct Said<'a> {
    pub(in crate::chat) text: &'a str,
    pub(in crate::chat) key: Option<&'a str>,
    pub(in crate::chat) data: Option<Data>,
    pub(in crate::chat) reply_to: Option<u64>,
}

pub(in crate::chat) fn post<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    said: Said<'_>,
) -> Result<(), Refusal> {
    gate::check_room_writable(chat, chat.rooms[room].name())?;
    say(chat, call, room, said);
    Ok(())
}

/// Takes a message of an archive in, with its number and time.
pub(in crate::chat) fn import<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    record: Box<Record>,
) -> Result<(), Refusal> {
    gate::check_room_writable(chat, chat.rooms[room].name())?;
    propose(chat, call.ctx, room, Act::Import(record), call.reply_to.clone());
    Ok(())
}

/// Proposes a post.
pub(in crate::chat) fn say<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    said: Said<'_>,
) {
    let (actor, Said { text, key, data, reply_to }) = (call.actor, said);
    let draft = Draft {
        user: Arc::clone(&actor.name),
        is_verified: actor.is_verified,
        client: Arc::clone(&actor.client),
        text: text.into(),
        key: key.map(|key| DraftKey { person: actor.keys_of(), key: key.into() }),
        data,
        reply_to,
    };
    propose(chat, call.ctx, room, Act::Post(draft), call.reply_to.clone());
}

/// Says that this was posted before, and what the answer was.
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
    gate::check_room_writable(chat, chat.rooms[room].name())?;
    let oldest = chat.options.visible_from(state, call.ctx.now().unix_ms);
    let is_unheard_of = seq > state.recent().seq();
    if seq == 0 || is_unheard_of && !chat.pending.is_shared() || seq < oldest {
        return Err(Refusal::no_message());
    }
    if let Some(record) = state.recent().log().find(seq) {
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
    gate::check_room_writable(chat, chat.rooms[room].name())?;
    let record = records.iter().find(|record| record.post.seq == seq).ok_or_else(Refusal::no_message)?;
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
    // What one said to the other nobody else changes.
    let may_moderate = *chat.rooms[room].kind() == Kind::Group
        && chat.people.may(actor, Right::Moderate, chat.rooms[room].name());
    let is_permitted = facts.is_own || may_moderate;
    let act = match command {
        Command::Edit { .. } | Command::Delete { .. } if !is_permitted => {
            return Err(Refusal::field(Code::Forbidden, "seq", "this message is somebody else's"));
        }
        Command::Edit { seq, text, data, .. } => Act::Edit { seq, text: text.into(), data },
        Command::Delete { seq, .. } => Act::Delete { seq },
        Command::React { seq, emoji, remove: is_removed, .. } => {
            let user = facts.reacted_as.unwrap_or_else(|| actor.who());
            let most = chat.options.limits.max_reactions;
            Act::React { seq, user, emoji: emoji.into(), is_removed, most }
        }
        _ => return Ok(()),
    };
    propose(chat, *ctx, room, act, (*reply_to).clone());
    Ok(())
}

/// Proposes something for a room. In memory the room decides at once; else whoever keeps its history does.
fn propose<C: Context>(chat: &mut Chat, ctx: &mut C, room: RoomId, act: Act, reply_to: ReplyTo) {
    let hold = chat.rooms.hold(room);
    let now = ctx.now();
    let proposal = Proposal { room: Arc::clone(chat.rooms[room].name()), time: now.unix_ms, act };
    if chat.pending.is_on_disk() {
        return chat.pending.add(proposal, hold, reply_to);
    }
    let (outcome, action) = chat.rooms.propose(room, proposal, &mut chat.keys, now.monotonic_ms);
    answer(chat, ctx, room, outcome, &reply_to);
    if let Some(action) = action {
        publish::happened(chat, ctx, room, &action);
        let name = Arc::clone(chat.rooms[room].name());
        if !chat.watch.is_idle() {
            unread::note(chat, &name, &action);
        }
        tell::changed(chat, &name, &action);
        if *chat.rooms[room].kind() != Kind::Group {
            publish::tell_pair(chat, ctx, &Change { room: Arc::clone(chat.rooms[room].name()), action });
        }
    }
    chat.rooms.release(ctx, hold);
}

/// Anyone who proposed something is told what came of it; `None`: nothing, it could not be made durable.
pub(in crate::chat) fn answer<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    room: RoomId,
    outcome: Option<Outcome>,
    reply_to: &ReplyTo,
) {
    let name = read_back::shown_name(chat, reply_to, room);
    let (seq, rev, time) = match outcome {
        Some(Outcome::Posted { seq, time }) => {
            chat.counts.posts += 1;
            (seq, None, Some(time))
        }
        Some(Outcome::Changed { seq, rev, time }) => {
            chat.counts.changes += 1;
            (seq, Some(rev), time)
        }
        Some(Outcome::Same { seq, rev }) => (seq, Some(rev), None),
        Some(Outcome::Repeated { seq, time }) => {
            return acknowledge_again(chat, ctx, reply_to, &name, (seq, time));
        }
        Some(Outcome::Gone) => return chat.responder.refuse(ctx, reply_to, &Refusal::no_message()),
        Some(Outcome::NoTarget) => return chat.responder.refuse(ctx, reply_to, &Refusal::no_target()),
        Some(Outcome::TooMany) => {
            let refusal = Refusal::field(Code::TooLong, "emoji", "this message bears too many reactions");
            return chat.responder.refuse(ctx, reply_to, &refusal);
        }
        Some(refused @ (Outcome::Taken | Outcome::Gap { .. } | Outcome::NoImport)) => {
            return chat.responder.refuse(ctx, reply_to, &not_imported(refused));
        }
        // That of `mine::subscribe` goes another way.
        Some(Outcome::Subscribed | Outcome::Unavailable) | None => {
            return chat.responder.refuse(ctx, reply_to, &Refusal::unavailable());
        }
    };
    let durable = Some(chat.pending.level());
    let ack = Ack { seq: Some(seq), rev, time, durable, ..Ack::new(reply_to.id(), Some(&name)) };
    chat.responder.acknowledge(ctx, reply_to, &ack);
}

/// Why a message of an archive is not taken in.
fn not_imported(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Gap { next } => {
            let message = format!("the next message of this room must be number {next}");
            Refusal::field(Code::BadField, "seq", message)
        }
        Outcome::NoImport => Refusal::field(
            Code::BadField,
            "room",
            "a history in memory takes no imports; the server needs --data",
        ),
        _ => Refusal::field(Code::BadField, "seq", "another message has this number"),
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
        reacted_as: if let Command::React { emoji, .. } = command { reacted_as(emoji) } else { None },
    })
}
