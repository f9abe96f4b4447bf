//! The list of rooms: those on the disk and those in memory, by name, a page at a time.

use serde::Serialize;

use crate::app::Context;
use crate::chat::commands::rooms::{self, Page, page};
use crate::chat::pending::queries::{Part, PendingQuery, Purpose};
use crate::chat::wire::notices::{Listed, json_len};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal};
use crate::history::{HistoryError, NameRange, RoomHead};

/// Rooms, and bans, of one page.
pub const MAX_LISTED: usize = 1000;
/// Octets of a room in a list besides its name, at most.
const ROOM_OCTETS: usize = 112;

#[derive(Debug, Serialize)]
struct RoomList<'a> {
    rooms: Vec<InApi<'a>>,
    /// There are rooms behind the last one.
    more: bool,
}

#[derive(Debug, Serialize)]
struct InApi<'a> {
    room: &'a str,
    members: usize,
    seq: u64,
    /// Of the newest message; 0 for a room without any.
    time: u64,
}

/// See [`Chat::list_rooms`].
pub(in crate::chat) fn list<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    request: u64,
    after: &str,
    limit: usize,
) {
    let ranges = NameRange::in_both(&NameRange::all(), &[NameRange::behind(after)]);
    let part = Part { ranges, limit: limit.min(MAX_LISTED), most_looked: usize::MAX };
    let reply_to = ReplyTo::Request(request);
    if !chat.pending.is_on_disk() {
        return answer_api(chat, ctx, &reply_to, &part, Vec::new());
    }
    if let Err(refusal) = rooms::ask_for(chat, &reply_to, part, Purpose::Rooms) {
        chat.responder.refuse(ctx, &reply_to, &refusal);
    }
}

/// The rooms on the disk.
pub(in crate::chat) fn rooms_came<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    number: u64,
    stored: Result<Vec<RoomHead>, HistoryError>,
) {
    let Some(PendingQuery { reply_to, purpose, .. }) = chat.pending.answered(number) else { return };
    chat.people.end_query(reply_to.conn());
    match (purpose, stored) {
        _ if !chat.people.is_present(&reply_to) => {}
        (Purpose::Rooms(part), Ok(stored)) => answer_api(chat, ctx, &reply_to, &part, stored),
        (Purpose::Joinable(part), Ok(stored)) => rooms::tell(chat, ctx, &reply_to, &part, stored),
        _ => chat.responder.refuse(ctx, &reply_to, &Refusal::unavailable()),
    }
}

fn answer_api<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    part: &Part,
    stored: Vec<RoomHead>,
) {
    let Page { rooms, next, .. } = page(chat, part, stored);
    let mut left = chat.options.limits.max_answer;
    let fits = |listed: &&Listed| {
        let octets = ROOM_OCTETS + json_len(&listed.room);
        let fits = octets <= left;
        left = left.saturating_sub(octets);
        fits
    };
    let count = rooms.iter().take_while(fits).count();
    let count = count.max(1).min(rooms.len());
    let more = next.is_some() || rooms.len() > count;
    let in_api = rooms[..count].iter().map(|Listed { room, members, seq, time, .. }| InApi {
        room,
        members: *members,
        seq: *seq,
        time: *time,
    });
    chat.responder.reply(ctx, reply_to, &RoomList { rooms: in_api.collect(), more });
}
