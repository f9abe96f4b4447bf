//! The list of rooms, for other parts of the server: those on the disk and those in memory, by name, a page at a time.

use std::sync::Arc;

use serde::Serialize;

use crate::app::Context;
use crate::chat::commands::ask;
use crate::chat::pending::queries::{PendingQuery, Purpose};
use crate::chat::wire::notices::json_len;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal};
use crate::history::{HistoryError, Query, RoomHead};

/// Rooms, and bans, of one page.
pub const MAX_LISTED: usize = 1000;
/// Octets of a room in a list besides its name, at most.
const ROOM_OCTETS: usize = 80;

#[derive(Debug, Serialize)]
struct RoomList<'a> {
    rooms: Vec<Listed<'a>>,
    /// There are rooms behind the last one.
    more: bool,
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    room: &'a str,
    members: usize,
    seq: u64,
}

/// See [`Chat::list_rooms`].
pub(in crate::chat) fn list<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    request: u64,
    after: &str,
    limit: usize,
) {
    let limit = limit.min(MAX_LISTED);
    if !chat.pending.is_on_disk() {
        return answer_rooms(chat, ctx, &ReplyTo::Request(request), (after, limit), Vec::new());
    }
    let reply_to = ReplyTo::Request(request);
    let purpose = Purpose::Rooms { after: after.into(), limit };
    let query = |ask| Query::Rooms { ask, after: after.into(), limit: limit + 1 };
    if let Err(refusal) = ask::ask_for(chat, &reply_to, None, purpose, query) {
        chat.responder.refuse(ctx, &reply_to, &refusal);
    }
}

/// The rooms on the disk.
pub(in crate::chat) fn rooms_came<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    number: u64,
    rooms: Result<Vec<RoomHead>, HistoryError>,
) {
    let Some(PendingQuery { reply_to, purpose, .. }) = chat.pending.answered(number) else { return };
    let Purpose::Rooms { after, limit } = purpose else { return };
    match rooms {
        Ok(rooms) => answer_rooms(chat, ctx, &reply_to, (&after, limit), rooms),
        Err(_) => chat.responder.refuse(ctx, &reply_to, &Refusal::unavailable()),
    }
}

fn answer_rooms<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    (after, limit): (&str, usize),
    stored: Vec<RoomHead>,
) {
    // Behind the last one of a full page there may be others on the disk.
    let end: Option<Arc<str>> = stored.get(limit).map(|room| Arc::clone(&room.name));
    let is_wanted = |name: &str| name > after && end.as_deref().is_none_or(|end| name <= end);
    let open = chat.rooms().into_iter().filter(|room| is_wanted(&room.name));
    let mut rooms: Vec<(Arc<str>, usize, u64)> =
        open.map(|room| (room.name, room.members, room.seq)).collect();
    rooms.extend(stored.into_iter().map(|room| (room.name, 0, room.seq)));
    // Of a room that is in both places the state in memory comes first, and stays, with the newest message that either knows.
    rooms.sort_by(|a, b| a.0.cmp(&b.0));
    rooms.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same {
            earlier.2 = earlier.2.max(later.2);
        }
        is_same
    });
    let mut left = chat.options.limits.max_answer;
    let fits = |(room, ..): &&(Arc<str>, usize, u64)| {
        let octets = ROOM_OCTETS + json_len(room);
        let fits = octets <= left;
        left = left.saturating_sub(octets);
        fits
    };
    let count = rooms.iter().take(limit).take_while(fits).count();
    let count = count.max(1).min(rooms.len());
    let more = rooms.len() > count;
    rooms.truncate(count);
    let rooms =
        rooms.iter().map(|(room, members, seq)| Listed { room, members: *members, seq: *seq }).collect();
    chat.responder.reply(ctx, reply_to, &RoomList { rooms, more });
}
