//! The rooms that a user has subscribed to, and their conversations of two: without joining them.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::{ask, gate, turn, unread};
use crate::chat::pending::queries::{PendingQuery, Purpose};
use crate::chat::people::actor::Actor;
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::rooms::Room;
use crate::chat::wire::notices::{Ack, MineList, MineRoom, Shown};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{
    Act, HistoryError, Mine, MinePage, Outcome, PairPlace, Proposal, Query, Reader, Unread, unread as counts,
};

/// Rooms of one answer where nobody says how many.
const DEFAULT_LIMIT: u64 = 20;

/// `subscribe` and `unsubscribe`.
pub(in crate::chat) fn subscribe<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    room: &str,
    is_on: bool,
) -> Result<(), Refusal> {
    let name = names::room(room)?;
    if name.starts_with('@') {
        let why = "conversations of two are in the list without being subscribed to";
        return Err(Refusal::field(Code::BadField, "room", why));
    }
    if !call.actor.is_verified || call.actor.session.is_none() {
        return Err(Refusal::new(Code::Forbidden, "nothing is remembered for a guest"));
    }
    if is_on {
        chat.people.require(call.actor, Right::Join, &name, "room")?;
    }
    gate::check_room_writable(chat, &name)?;
    let (user, room): (Arc<str>, Arc<str>) = (Arc::clone(&call.actor.person), (*name).into());
    let most = chat.options.limits.max_subscriptions;
    if chat.pending.is_on_disk() {
        let act = Act::Subscribe { user: Arc::clone(&user), is_on, most };
        let proposal = Proposal { room: Arc::clone(&room), time: 0, act };
        chat.pending.add_subscription(proposal, (user, room, is_on), call.reply_to.clone());
        return Ok(());
    }
    let outcome = chat.subscriptions.change(&user, &room, is_on, most);
    subscribed(chat, call.ctx, (&user, &room, is_on), (Some(outcome), call.reply_to));
    Ok(())
}

/// What came of it.
pub(in crate::chat) fn subscribed<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    (user, room, is_on): (&Arc<str>, &Arc<str>, bool),
    (outcome, reply_to): (Option<Outcome>, &ReplyTo),
) {
    match outcome {
        Some(Outcome::Subscribed) => {
            unread::subscribed(chat, user, room, is_on);
            unread::tell_subscribed(chat, user, room, is_on);
            let durable = Some(chat.pending.level());
            chat.responder.acknowledge(
                ctx,
                reply_to,
                &Ack { durable, ..Ack::new(reply_to.id(), Some(room)) },
            );
        }
        Some(Outcome::TooMany) => {
            let refusal = Refusal::field(Code::TooManyRooms, "room", "unsubscribe from another room first");
            chat.responder.refuse(ctx, reply_to, &refusal);
        }
        _ => chat.responder.refuse(ctx, reply_to, &Refusal::unavailable()),
    }
}

/// `mine`: the connection is told from now on how much is unread. Nothing is remembered for a guest.
pub(in crate::chat) fn mine<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    page: Option<&str>,
    limit: Option<u64>,
) -> Result<(), Refusal> {
    let after = page.map(read_page).transpose()?;
    let most = chat.options.limits.max_mine as u64;
    let limit = limit.unwrap_or(DEFAULT_LIMIT).clamp(1, most) as usize;
    if !call.actor.is_verified {
        tell(chat, call, (MinePage::default(), limit));
        return Ok(());
    }
    // A request is told once, and nothing live.
    let conn = call.reply_to.conn();
    let user = Arc::clone(&call.actor.person);
    let reader = unread::reader(chat, &user, None);
    if chat.pending.is_on_disk() {
        let purpose = Purpose::Mine { actor: call.actor.clone(), limit };
        // One more than is told shows whether there are more.
        let request = |ask| Query::Mine { ask, reader, after, limit: limit + 1 };
        ask::ask_for(chat, call.reply_to, None, purpose, request)?;
        if let Some(conn) = conn {
            chat.watch.begin(&user, conn);
            chat.watch.list_asked();
        }
        return Ok(());
    }
    let page = in_memory(chat, &reader, after.as_ref(), limit + 1);
    if let Some(conn) = conn {
        chat.watch.begin(&user, conn);
        chat.watch.list_asked();
        unread::watch(chat, &user, &page.subscribed);
    }
    tell(chat, call, (page, limit));
    Ok(())
}

/// The answer of the history.
pub(in crate::chat) fn mine_came<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    number: u64,
    page: Result<MinePage, HistoryError>,
) {
    let Some(PendingQuery { reply_to, purpose, .. }) = chat.pending.answered(number) else { return };
    let Purpose::Mine { actor, limit } = purpose else { return };
    chat.people.end_query(reply_to.conn());
    if reply_to.conn().is_some() {
        let subscribed = page.as_ref().map(|page| page.subscribed.clone()).unwrap_or_default();
        unread::watch(chat, &actor.person, &subscribed);
    }
    match page {
        Ok(_) if !chat.people.is_present(&reply_to) => {}
        Ok(page) => tell(chat, &mut Call { ctx, reply_to: &reply_to, actor: &actor }, (page, limit)),
        Err(_) => chat.responder.refuse(ctx, &reply_to, &Refusal::unavailable()),
    }
}

fn in_memory(chat: &mut Chat, reader: &Reader, after: Option<&PairPlace>, limit: usize) -> MinePage {
    let subscribed: Vec<Arc<str>> = chat.subscriptions.of(&reader.user).cloned().collect();
    let open = |name: &Arc<str>| chat.rooms.find(name).and_then(|room| chat.rooms.get(room));
    let groups = subscribed.iter().map(|name| (Arc::clone(name), open(name)));
    let pairs = chat.rooms.pairs_of(&reader.user).filter(|room| room.recent().seq() > 0);
    let pairs = pairs.map(|room| (Arc::clone(room.name()), Some(room)));
    let place = |(name, room): (Arc<str>, Option<&'_ Room>)| {
        let time = room.filter(|room| room.recent().seq() > 0).map_or(0, |room| room.recent().time());
        PairPlace { time, other: name }
    };
    let mut places: Vec<PairPlace> = groups.chain(pairs).map(place).collect();
    places.retain(|place| after.is_none_or(|after| place.is_after(after)));
    places.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
    places.truncate(limit);
    let rooms: Vec<Mine> = places.into_iter().map(|place| mine_of(chat, reader, place)).collect();
    chat.turn.note_scan(rooms.len() * counts::MAX_UNREAD);
    MinePage { rooms, subscribed }
}

/// A room in memory; one that is not there has nothing in it.
fn mine_of(chat: &Chat, reader: &Reader, place: PairPlace) -> Mine {
    let Some(room) = chat.rooms.find(&place.other).and_then(|room| chat.rooms.get(room)) else {
        return Mine { place, epoch: Arc::default(), seq: 0, rev: 0, read: 0, unread: 0, newest: None };
    };
    let reader = unread::reader(chat, &reader.user, Some(room.name()));
    let recent = room.recent();
    let [older, newer] = recent.log().between(0, u64::MAX);
    let newest_first = newer.iter().rev().chain(older.iter().rev());
    let counted = counts::count(std::slice::from_ref(&reader), [0].into_iter(), newest_first);
    let (read, unread) = counted.first().map_or((0, 0), |Unread { read, count, .. }| (*read, *count));
    let (seq, rev, epoch) = (recent.seq(), recent.rev(), Arc::clone(room.epoch()));
    Mine { place, epoch, seq, rev, read, unread, newest: recent.log().find(seq).cloned() }
}

/// Tells at most `limit` of the rooms, and whether there are more.
fn tell<C: Context>(chat: &mut Chat, call: &mut Call<'_, C>, (page, limit): (MinePage, usize)) {
    let MinePage { mut rooms, .. } = page;
    let has_more = rooms.len() > limit;
    rooms.truncate(limit);
    let next = rooms.last().filter(|_| has_more).map(|room| write_page(&room.place));
    // Some of them the token may not permit to read.
    rooms.retain(|room| unread::may_join(chat, call.actor, &room.place.other));
    // What is told borrows the people.
    let mut responder = std::mem::take(&mut chat.responder);
    let shown: Vec<_> = rooms.iter().map(|room| shown(chat, call.actor, room)).collect();
    let (id, next) = (call.reply_to.id(), next.as_deref());
    let octets = responder.reply(call.ctx, call.reply_to, &MineList { id, rooms: &shown, next });
    chat.responder = responder;
    turn::note_answer(chat, call.reply_to, octets);
}

fn shown<'m>(chat: &'m Chat, actor: &Actor, mine: &'m Mine) -> MineRoom<'m> {
    let Mine { place: PairPlace { time, other: name }, epoch, seq, rev, read, unread, newest } = mine;
    let message = newest.as_ref().map(|record| Shown { record, lookalikes: chat.people.lookalikes() });
    let room = unread::shown_as(chat, &actor.person, name);
    MineRoom {
        room,
        epoch,
        seq: *seq,
        rev: *rev,
        time: *time,
        read: (*read).min(*seq),
        unread: *unread,
        message,
    }
}

/// A place in the list, as `page` names it: the time, a colon and the room.
fn write_page(place: &PairPlace) -> String {
    format!("{}:{}", place.time, place.other)
}

fn read_page(page: &str) -> Result<PairPlace, Refusal> {
    let place = page.split_once(':').and_then(|(time, other)| {
        let other = other.into();
        Some(PairPlace { time: time.parse().ok()?, other })
    });
    let wrong = || Refusal::field(Code::BadField, "page", "`page` must be the `next` of an earlier answer");
    place.ok_or_else(wrong)
}
