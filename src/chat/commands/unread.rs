//! How much of their rooms users have not read, told as it changes: see [`Watch`](crate::chat::watch::Watch).

use std::sync::Arc;

use crate::app::{ConnId, Context, Millis};
use crate::chat::commands::{ask, elsewhere};
use crate::chat::ids::SessionId;
use crate::chat::neighbours::Word;
use crate::chat::pending::queries::{PendingQuery, Purpose};
use crate::chat::people::actor::Actor;
use crate::chat::people::permission::Right;
use crate::chat::people::user::Identity;
use crate::chat::watch::{Count, Task};
use crate::chat::wire::notices::{UnreadNotice, UnreadRoom};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, timer};
use crate::history::{Action, HistoryError, Query, Reader, Unread, unread};

/// Counts that the history is asked for at a time.
const UNREAD_ASKS: usize = 4;
/// Milliseconds until a round that a turn was too short for goes on.
const AGAIN_MS: Millis = 10;
/// What looking at a message costs, in octets that a search looks through.
const LOOK: usize = 64;

/// Something has happened in a room, whether or not it is open here.
pub(in crate::chat) fn note(chat: &mut Chat, room: &Arc<str>, action: &Action) {
    if !chat.watch.is_idle() && matches!(action, Action::Post(_) | Action::Delete { .. }) {
        chat.watch.mark(room);
    }
}

/// Somebody has read up to here: their other connections are told, on whatever loop.
pub(in crate::chat) fn note_read(chat: &mut Chat, user: &Arc<str>, room: &Arc<str>, seq: u64) {
    chat.watch.read(user, room, seq);
    let word = || Word::ReadUp { user: Arc::clone(user), room: Arc::clone(room), seq };
    tell_loops(chat, user, word);
}

/// Tells the other loops on which a user is.
fn tell_loops(chat: &mut Chat, user: &str, word: impl FnOnce() -> Word) {
    let Some(neighbours) = &mut chat.neighbours else { return };
    if let Some(elsewhere) = neighbours.elsewhere(user, true) {
        neighbours.sign(elsewhere.hearing.into_iter(), &word());
    }
}

/// A user has subscribed to a room, or has no more.
pub(in crate::chat) fn subscribed(chat: &mut Chat, user: &Arc<str>, room: &Arc<str>, is_on: bool) {
    if is_on {
        if chat.watch.subscribed(user, room) {
            chat.pending.follow(room);
        }
    } else if chat.watch.unsubscribed(user, room) {
        unfollow(chat, room);
    }
}

/// The loops on which a user is are told the same.
pub(in crate::chat) fn tell_subscribed(chat: &mut Chat, user: &Arc<str>, room: &Arc<str>, is_on: bool) {
    let word = || Word::Subscribed { user: Arc::clone(user), room: Arc::clone(room), is_on };
    tell_loops(chat, user, word);
}

/// Nobody here watches a room any more; it may be open.
fn unfollow(chat: &mut Chat, room: &Arc<str>) {
    if chat.rooms.find(room).is_none() {
        chat.pending.close(room);
    }
}

/// The list of a user's rooms has come.
pub(in crate::chat) fn watch(chat: &mut Chat, user: &Arc<str>, rooms: &[Arc<str>]) {
    for room in chat.watch.listed(user, rooms) {
        chat.pending.follow(&room);
        if chat.neighbours.is_some() {
            // What happened before nobody has told this loop.
            chat.watch.mark(&room);
        }
    }
}

/// A connection is gone.
pub(in crate::chat) fn forget(chat: &mut Chat, conn: ConnId) {
    if chat.watch.is_idle() {
        return;
    }
    let Some(actor) = chat.people.actor(SessionId::of(conn)) else { return };
    for room in chat.watch.end(&actor.person, conn) {
        unfollow(chat, &room);
    }
}

/// Whose unread messages are counted in a room.
pub(in crate::chat) fn reader(chat: &Chat, user: &Arc<str>, room: Option<&str>) -> Reader {
    let names = chat.people.holders().names_of(user).map(Arc::from).collect();
    let known = |room| {
        let identity = Identity { person: Arc::clone(user), is_verified: true };
        let state = chat.rooms.find(room).and_then(|room| chat.rooms.get(room));
        let here = state.and_then(|state| state.read_position(&identity)).unwrap_or(0);
        here.max(chat.watch.read_of(user, room))
    };
    Reader { user: Arc::clone(user), names, read: room.map_or(0, known) }
}

/// The end of a tick: rooms that have changed are counted, and what came of it is told.
pub(in crate::chat) fn end_tick<C: Context>(chat: &mut Chat, ctx: &mut C) {
    if chat.watch.is_idle() {
        return;
    }
    let now = ctx.now().monotonic_ms;
    if let Err(Some(at)) = chat.watch.begin_round(now, chat.options.limits.unread_ms) {
        ctx.set_timer(at, timer::UNREAD);
    }
    while let Some(task) = chat.watch.next_task(UNREAD_ASKS) {
        if let Err(task) = count(chat, task) {
            chat.watch.put_back(task);
            break;
        }
    }
    tell(chat, ctx);
    if chat.watch.needs_timer() {
        ctx.set_timer(now + AGAIN_MS, timer::UNREAD);
    }
}

/// Counts a room for some users, or asks the history to; returns the task where that has to wait.
fn count(chat: &mut Chat, task: Task) -> Result<(), Task> {
    let room = Arc::clone(&task.room);
    let readers: Vec<Reader> = task.users.iter().map(|user| reader(chat, user, Some(&room))).collect();
    if chat.pending.is_on_disk() {
        let request = |ask| Query::Unread { ask, room: Arc::clone(&room), readers };
        let purpose = Purpose::Unread { room: Arc::clone(&room) };
        ask::ask_for(chat, &ReplyTo::Nobody, None, purpose, request).map_err(|_| task)?;
        chat.watch.asked();
        return Ok(());
    }
    if chat.turn.is_scanned(chat.options.limits.turn_scan / 2) {
        return Err(task);
    }
    let state = chat.rooms.find(&room).and_then(|room| chat.rooms.get(room));
    let seq = state.map_or(0, |state| state.recent().seq());
    let counts = state.map_or_else(Vec::new, |state| {
        let [older, newer] = state.recent().log().between(0, u64::MAX);
        unread::count(&readers, readers.iter().map(|_| 0), newer.iter().rev().chain(older.iter().rev()))
    });
    chat.turn.note_scan(unread::MAX_UNREAD.min(seq as usize) * LOOK);
    counted(chat, &room, (seq, counts));
    Ok(())
}

/// The history has counted.
pub(in crate::chat) fn counts_came(
    chat: &mut Chat,
    number: u64,
    counts: Result<(u64, Vec<Unread>), HistoryError>,
) {
    let Some(PendingQuery { purpose: Purpose::Unread { room }, .. }) = chat.pending.answered(number) else {
        return;
    };
    chat.watch.answered();
    match counts {
        Ok(counts) => counted(chat, &room, counts),
        Err(_) => chat.watch.failed(&room),
    }
}

fn counted(chat: &mut Chat, room: &Arc<str>, (seq, counts): (u64, Vec<Unread>)) {
    for Unread { user, read, count } in counts {
        chat.watch.counted(&user, room, Count { seq, read: read.min(seq), unread: count });
    }
}

/// Tells users what was counted, a bounded number of them in a turn.
fn tell<C: Context>(chat: &mut Chat, ctx: &mut C) {
    for _ in 0..chat.options.limits.turn_unread {
        let Some((user, told)) = chat.watch.next_told(chat.options.limits.max_listed) else { return };
        for conn in chat.watch.conns(&user) {
            tell_one(chat, ctx, conn, &told);
        }
    }
}

/// A connection is told of the rooms that it is not in.
fn tell_one<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId, told: &[(Arc<str>, Count)]) {
    let session = SessionId::of(conn);
    let Some(actor) = chat.people.actor(session) else { return };
    let is_in = |room: &str| {
        let room = chat.rooms.find(room);
        room.is_some_and(|room| chat.people.look(session).is_some_and(|session| session.is_in(room)))
    };
    let shown = |(room, count): &(Arc<str>, Count)| {
        if is_in(room) || !may_join(chat, &actor, room) {
            return None;
        }
        let Count { seq, read, unread } = *count;
        Some(UnreadRoom { room: shown_as(chat, &actor.person, room), seq, read, unread })
    };
    let rooms: Vec<UnreadRoom> = told.iter().filter_map(shown).collect();
    if !rooms.is_empty() {
        chat.responder.send(ctx, conn, &UnreadNotice { rooms: &rooms });
    }
}

/// Whether a token permits to read a room or conversation of a user's.
pub(in crate::chat) fn may_join(chat: &Chat, actor: &Actor, room: &str) -> bool {
    match other_of(&actor.person, room) {
        Some(other) => chat.people.may_pair(actor, Right::Join, other),
        None => chat.people.may(actor, Right::Join, room),
    }
}

/// What a room is called for a user: a conversation after the other one.
pub(in crate::chat) fn shown_as(chat: &Chat, user: &str, room: &Arc<str>) -> Arc<str> {
    other_of(user, room).map_or_else(|| Arc::clone(room), |other| elsewhere::pair_name(chat, other))
}

/// The other one of a conversation.
fn other_of<'r>(user: &str, room: &'r str) -> Option<&'r str> {
    let (a, b) = room.strip_prefix('@')?.split_once('\n')?;
    Some(if a == user { b } else { a })
}
