//! Looking for messages: in the history, or step by step in memory.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::read_back::{lowest, shown_name};
use crate::chat::commands::scan::Scan;
use crate::chat::commands::{ask, turn};
use crate::chat::ids::RoomId;
use crate::chat::pending::queries::Purpose;
use crate::chat::wire::notices::{Found, Shown};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal};
use crate::history::{Query, Record};
use crate::text::words;

pub(in crate::chat) fn search<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: RoomId,
    query: &str,
    limit: Option<u64>,
) -> Result<(), Refusal> {
    let limit = chat.options.page_len(limit);
    let state = &chat.rooms[room];
    if chat.pending.is_on_disk() {
        let (room_name, rev) = (Arc::clone(state.name()), state.recent().rev());
        let query = query.to_owned();
        let request = |ask| Query::Search { ask, room: room_name, query, limit };
        return ask::ask_for(chat, call.reply_to, Some(room), Purpose::Search { rev }, request);
    }
    let before = state.recent().seq() + 1;
    let Some(query) = words::Query::parse(query) else {
        tell_found(chat, call.ctx, call.reply_to, room, &[]);
        return Ok(());
    };
    let hold = chat.rooms.hold(room);
    let begun = Box::new(Scan::new((call.reply_to.clone(), hold), query, limit, before));
    if let Some(scan) = scan(chat, call.ctx, begun, chat.options.limits.turn_scan)
        && let Some(conn) = call.reply_to.conn()
    {
        chat.turn.scan_later(conn, scan);
    }
    Ok(())
}

/// Looks through messages until the turn has looked through this many octets; returns the search if something is left of it.
pub(in crate::chat) fn scan<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    mut scan: Box<Scan>,
    budget: usize,
) -> Option<Box<Scan>> {
    let state = &chat.rooms[scan.room()];
    let lowest = lowest(chat, state, ctx.now().unix_ms);
    let [older, newer] = state.recent().log().between(lowest.saturating_sub(1), scan.before());
    for record in newer.iter().rev().chain(older.iter().rev()) {
        if scan.is_full() {
            break;
        }
        if chat.turn.is_scanned(budget) && scan.can_wait() {
            return Some(scan);
        }
        let octets = scan.look(record);
        chat.turn.note_scan(octets);
        chat.counts.scanned_octets += octets as u64;
    }
    let (reply_to, hold, found) = scan.into_found();
    let log = chat.rooms[hold.room()].recent().log();
    // Some may have gone in the meantime.
    let records: Vec<Record> = found.iter().filter_map(|seq| log.find(*seq).cloned()).collect();
    tell_found(chat, ctx, &reply_to, hold.room(), &records);
    chat.rooms.release(ctx, hold);
    None
}

/// Messages that were found, newest first.
pub(in crate::chat) fn tell_found<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    room: RoomId,
    records: &[Record],
) {
    let name = shown_name(chat, reply_to, room);
    let lookalikes = chat.people.lookalikes();
    let mut left = chat.options.limits.max_answer;
    let mut found: Vec<Shown<'_>> = Vec::new();
    let mut more = false;
    for record in records.iter().filter(|record| !record.is_deleted) {
        let shown = Shown { record, lookalikes };
        let octets = shown.octets();
        if octets > left && !found.is_empty() {
            more = true;
            break;
        }
        left = left.saturating_sub(octets);
        found.push(shown);
    }
    let answer = Found { id: reply_to.id(), room: &name, messages: &found, more };
    let octets = chat.responder.reply(ctx, reply_to, &answer);
    turn::note_answer(chat, reply_to, octets);
}
