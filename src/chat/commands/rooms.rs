//! The rooms that somebody may join: who is there, and how far they go.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::{ask, elsewhere, turn};
use crate::chat::pending::queries::{Part, Purpose};
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::rooms::Room;
use crate::chat::wire::notices::{Listed, RoomList};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{NameRange, Query, RoomHead};

/// Rooms of one answer where nobody says how many.
const DEFAULT_LIMIT: u64 = 50;
/// What looking at a room costs, in octets that a search looks through.
const LOOK: usize = 64;

/// A part of the list.
#[derive(Debug)]
pub(in crate::chat) struct Page {
    pub(in crate::chat) rooms: Vec<Listed>,
    /// The name behind which the list goes on; `None`: it does not.
    pub(in crate::chat) next: Option<Arc<str>>,
    /// Rooms in memory that were looked at.
    pub(in crate::chat) looked: usize,
}

/// `rooms`: those that the asker may join, by name.
pub(in crate::chat) fn rooms<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    prefix: Option<&str>,
    after: Option<&str>,
    limit: Option<u64>,
) -> Result<(), Refusal> {
    if !chat.options.list_rooms {
        return Err(Refusal::new(Code::Forbidden, "this server does not list its rooms"));
    }
    let limits = &chat.options.limits;
    let limit = limit.unwrap_or(DEFAULT_LIMIT).min(limits.max_rooms_listed as u64) as usize;
    let wanted = [
        NameRange::of_prefix(&names::fold(prefix.unwrap_or_default())),
        NameRange::behind(after.unwrap_or_default()),
    ];
    let permitted = chat.people.names_where(call.actor, Right::Join);
    let ranges = wanted
        .iter()
        .fold(permitted, |ranges, wanted| NameRange::in_both(&ranges, std::slice::from_ref(wanted)));
    let part = Part { ranges, limit: limit.max(1), most_looked: limits.max_rooms_looked };
    if chat.pending.is_on_disk() {
        return ask_for(chat, call.reply_to, part, Purpose::Joinable);
    }
    tell(chat, call.ctx, call.reply_to, &part, Vec::new());
    Ok(())
}

/// Tells the rooms in memory, and those that the history knows.
pub(in crate::chat) fn tell<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    reply_to: &ReplyTo,
    part: &Part,
    stored: Vec<RoomHead>,
) {
    let Page { rooms, next, looked } = page(chat, part, stored);
    chat.turn.note_scan(looked * LOOK);
    chat.counts.scanned_octets += (looked * LOOK) as u64;
    let list = RoomList { id: reply_to.id(), rooms: &rooms, next: next.as_deref() };
    let octets = chat.responder.reply(ctx, reply_to, &list);
    turn::note_answer(chat, reply_to, octets);
}

/// Asks the history for the rooms on the disk: for one more than are told, which shows whether there are more.
pub(in crate::chat) fn ask_for(
    chat: &mut Chat,
    reply_to: &ReplyTo,
    part: Part,
    purpose: fn(Part) -> Purpose,
) -> Result<(), Refusal> {
    let (ranges, limit) = (part.ranges.clone(), part.limit + 1);
    ask::ask_for(chat, reply_to, None, purpose(part), |ask| Query::Rooms { ask, ranges, limit })
}

/// The rooms of a part: `stored` are those on the disk, of which there is one more than are told where there are more.
pub(in crate::chat) fn page(chat: &Chat, part: &Part, stored: Vec<RoomHead>) -> Page {
    // Behind the last one of a full page there may be others on the disk.
    let end = stored.get(part.limit).map(|room| Arc::clone(&room.name));
    let from_disk = |RoomHead { name, seq, time }| Listed { room: name, members: 0, seq, time };
    let mut found: BTreeMap<Arc<str>, Listed> =
        stored.into_iter().map(from_disk).map(|room| (Arc::clone(&room.room), room)).collect();
    let (mut looked, mut in_memory, mut cut) = (0, 0, None);
    for room in part.ranges.iter().flat_map(|range| chat.rooms.groups_in(range)) {
        if end.as_ref().is_some_and(|end| room.name() > end) || in_memory > part.limit {
            break;
        }
        looked += 1;
        if is_listed(room) {
            in_memory += 1;
            // The state in memory is the newer one.
            let room = listed(room);
            let seq = found.get(&room.room).map_or(0, |stored| stored.seq);
            found.insert(Arc::clone(&room.room), Listed { seq: room.seq.max(seq), ..room });
        }
        if looked >= part.most_looked {
            cut = Some(Arc::clone(room.name()));
            break;
        }
    }
    // Who is in a room on other loops counts; of each list no more is looked at than is told.
    for (name, members) in elsewhere::rooms(chat, &part.ranges, part.limit + 1) {
        if end.as_ref().is_some_and(|end| name > *end) {
            break;
        }
        looked += 1;
        let blank = || Listed { room: Arc::clone(&name), members: 0, seq: 0, time: 0 };
        found.entry(Arc::clone(&name)).or_insert_with(blank).members += members;
    }
    let mut rooms: Vec<Listed> = found.into_values().collect();
    if let Some(cut) = &cut {
        rooms.retain(|room| room.room <= *cut);
    }
    let next = rooms.get(part.limit.saturating_sub(1)).filter(|_| rooms.len() > part.limit);
    let next = next.map(|room| Arc::clone(&room.room)).or(cut);
    rooms.truncate(part.limit);
    Page { rooms, next, looked }
}

/// Whether a room in memory is one that others would find. One that is being opened is found on the disk.
fn is_listed(room: &Room) -> bool {
    room.is_open() && (room.recent().seq() > 0 || room.is_wanted())
}

fn listed(room: &Room) -> Listed {
    let seq = room.recent().seq();
    let newest = room.recent().log().find(seq).map(|record| record.post.time);
    let time = if seq == 0 { 0 } else { newest.unwrap_or_else(|| room.recent().time()) };
    Listed { room: Arc::clone(room.name()), members: room.members().len(), seq, time }
}
