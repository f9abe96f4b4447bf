//! Reading back.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::{ask, elsewhere, turn};
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::pending::queries::{Purpose, StoredRange, octets_of};
use crate::chat::rooms::{Kind, Room};
use crate::chat::wire::notices::{History, Messages};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal};
use crate::history::log::apply;
use crate::history::{Keep, PAGE_OCTETS, Query, Record};

/// Which part of a history is wanted: the newest messages before a number, or the oldest after one.
#[derive(Debug)]
pub(in crate::chat) struct Range {
    pub(in crate::chat) before: Option<u64>,
    pub(in crate::chat) after: Option<u64>,
}

impl Range {
    /// The same as a number before which the newest messages are wanted, and how many of them. With `after` also the number
    /// before which there may be more.
    fn page(&self, oldest: u64, newest: u64, limit: usize) -> (u64, usize, Option<u64>) {
        let end = self.before.unwrap_or(u64::MAX).min(newest + 1);
        let Some(after) = self.after else { return (end, limit, None) };
        // The numbers of a room have no gaps.
        let first = after.saturating_add(1).max(oldest);
        let count = end.saturating_sub(first).min(limit as u64);
        (first.saturating_add(count).min(end), count as usize, Some(end))
    }
}

/// The oldest message of a room that can still be read.
pub(in crate::chat) fn lowest(chat: &Chat, room: &Room, unix_ms: u64) -> u64 {
    let visible = chat.options.visible_from(room, unix_ms);
    // In memory nothing is older than what is there.
    if chat.pending.is_on_disk() { visible } else { visible.max(room.recent().first_in_memory()) }
}

pub(in crate::chat) fn history<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    range: &Range,
    limit: Option<u64>,
) -> Result<(), Refusal> {
    let state = &chat.rooms[room];
    let lowest = lowest(chat, state, call.ctx.now().unix_ms);
    let (before, limit, end) = range.page(lowest, state.recent().seq(), chat.options.page_len(limit));
    let after = before.saturating_sub(limit as u64 + 1);
    let first = state.recent().first_in_memory();
    let is_here = after + 1 >= first || first <= lowest || before <= lowest || limit == 0;
    if is_here || !chat.pending.is_on_disk() {
        tell_recent(chat, call, room, [after, before], end);
        return Ok(());
    }
    let (room_name, rev) = (Arc::clone(state.name()), state.recent().rev());
    let purpose = Purpose::History(StoredRange { limit, rev, end });
    let keep = if end.is_some() { Keep::Oldest } else { Keep::Newest };
    let request = |ask| Query::Page { ask, room: room_name, before, limit, keep };
    ask::ask_for(chat, call.reply_to, Some(room), purpose, request)
}

fn tell_recent<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    [after, before]: [u64; 2],
    end: Option<u64>,
) {
    let name = shown_name(chat, call.reply_to, room);
    let state = &chat.rooms[room];
    let lowest = lowest(chat, state, call.ctx.now().unix_ms);
    let [older, newer] = state.recent().log().between(after.max(lowest.saturating_sub(1)), before);
    let messages = Messages::new([&[], older, newer], chat.people.lookalikes());
    let most = chat.options.limits.max_answer;
    let (messages, more) = match end {
        None => {
            let (messages, _, _) = messages.newest_within(most);
            (messages, messages.first_seq().unwrap_or(before) > lowest)
        }
        Some(end) => read_on(messages.oldest_within(most), end),
    };
    let history = History { id: call.reply_to.id(), room: &name, messages, more };
    let octets = chat.responder.reply(call.ctx, call.reply_to, &history);
    turn::note_answer(chat, call.reply_to, octets);
}

/// Messages of the history, oldest first.
pub(in crate::chat) fn tell_history<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    room: RoomId,
    (range, mut records): (StoredRange, Vec<Record>),
) {
    let StoredRange { limit, rev, end } = range;
    let is_whole = records.len() < limit && octets_of(&records) < PAGE_OCTETS;
    bring_up_to_date(chat, room, rev, &mut records);
    let name = shown_name(chat, reply_to, room);
    let lowest = lowest(chat, &chat.rooms[room], ctx.now().unix_ms);
    records.retain(|record| record.post.seq >= lowest);
    let messages = Messages::new([&[], &[], &records], chat.people.lookalikes());
    let most = chat.options.limits.max_answer;
    let (messages, more) = match end {
        None => {
            let (messages, _, is_cut) = messages.newest_within(most);
            let has_older = messages.first_seq().is_some_and(|first| first > lowest);
            (messages, (is_cut || !is_whole) && has_older)
        }
        Some(end) => read_on(messages.oldest_within(most), end),
    };
    let history = History { id: reply_to.id(), room: &name, messages, more };
    let octets = chat.responder.reply(ctx, reply_to, &history);
    turn::note_answer(chat, reply_to, octets);
}

/// What the history read may be older than what the room has been told since.
pub(in crate::chat) fn bring_up_to_date(chat: &mut Chat, room: RoomId, rev: u64, records: &mut [Record]) {
    let verified = records.iter().filter(|record| record.post.is_verified);
    chat.people.vouch(verified.map(|record| &*record.post.user));
    let order = chat.rooms[room].recent();
    let Some(changes) = order.log().changes_after(rev, order.rev()) else { return };
    for action in changes.into_iter().flatten() {
        if let Some(seq) = action.target()
            && let Some(record) = records.iter_mut().find(|record| record.post.seq == seq)
        {
            apply(record, action);
        }
    }
}

/// What the one who asked calls a room: the conversation of two is called after the other.
pub(in crate::chat) fn shown_name(chat: &Chat, reply_to: &ReplyTo, room: RoomId) -> Arc<str> {
    let state = &chat.rooms[room];
    let Kind::Pair([a, b]) = state.kind() else { return Arc::clone(state.name()) };
    let own =
        reply_to.conn().and_then(|conn| chat.people.actor(SessionId::of(conn))).map(|actor| actor.person);
    elsewhere::pair_name(chat, if own.as_ref() == Some(a) { b } else { a })
}

/// Messages that follow one that is known, and whether more follow them before the number where the history ends.
fn read_on(messages: Messages<'_>, end: u64) -> (Messages<'_>, bool) {
    (messages, messages.last_seq().is_some_and(|last| last + 1 < end))
}
