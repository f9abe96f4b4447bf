//! The conversations of two that a user has: who with, how far they go, how far they were read.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::ask;
use crate::chat::commands::call::Call;
use crate::chat::pending::queries::{PendingQuery, Purpose};
use crate::chat::people::actor::Actor;
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::people::user::Identity;
use crate::chat::rooms::pair_room;
use crate::chat::rooms::{Kind, Room};
use crate::chat::wire::notices::{Conversation, Conversations};
use crate::chat::{Chat, Code, Refusal};
use crate::history::{HistoryError, Pair, PairPlace, Query};

/// `conversations`: those that are kept, the newest first. Nothing is kept of the conversations of guests.
pub(in crate::chat) fn conversations<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    page: Option<&str>,
    limit: Option<u64>,
) -> Result<(), Refusal> {
    let after = page.map(read_page).transpose()?;
    let limit = chat.options.page_len(limit).max(1);
    let user = Arc::clone(&call.actor.person);
    if !call.actor.is_verified {
        tell_conversations(chat, call, Vec::new(), limit);
        return Ok(());
    }
    if !chat.pending.is_on_disk() {
        let pairs = pairs_in_memory(chat, &user, after.as_ref(), call.ctx.now().unix_ms);
        tell_conversations(chat, call, pairs, limit);
        return Ok(());
    }
    let purpose = Purpose::Pairs { actor: call.actor.clone(), limit };
    // One more than is told shows whether there are more.
    ask::ask_for(chat, call.reply_to, None, purpose, |ask| Query::Pairs {
        ask,
        user,
        after,
        limit: limit + 1,
    })
}

/// The answer of the history.
pub(in crate::chat) fn pairs_came<C: Context>(
    chat: &mut Chat,
    ctx: &mut C,
    number: u64,
    pairs: Result<Vec<Pair>, HistoryError>,
) {
    let Some(PendingQuery { reply_to, purpose, .. }) = chat.pending.answered(number) else { return };
    let Purpose::Pairs { actor, limit } = purpose else { return };
    chat.people.end_query(reply_to.conn());
    match pairs {
        Ok(_) if !chat.people.is_present(&reply_to) => {}
        Ok(pairs) => {
            let mut call = Call { ctx, reply_to: &reply_to, actor: &actor };
            tell_conversations(chat, &mut call, pairs, limit);
        }
        Err(_) => chat.responder.refuse(ctx, &reply_to, &Refusal::unavailable()),
    }
}

fn pairs_in_memory(chat: &Chat, user: &Arc<str>, after: Option<&PairPlace>, unix_ms: u64) -> Vec<Pair> {
    let pair = |room: &Room| {
        let (kept, other) = (room.recent(), other_of(room, user)?);
        let place = PairPlace { time: kept.time(), other };
        let mut writers: Vec<Arc<str>> = Vec::new();
        let [older, newer] = kept.log().between(kept.seq().saturating_sub(WRITERS_AMONG), kept.seq() + 1);
        for record in newer.iter().rev().chain(older.iter().rev()) {
            if !writers.contains(&record.post.user) {
                writers.push(Arc::clone(&record.post.user));
            }
        }
        let identity = Identity { person: Arc::clone(user), is_verified: true };
        let read = room.read_position(&identity).unwrap_or(0);
        (kept.seq() >= chat.options.visible_from(room, unix_ms).max(1)).then_some(Pair {
            place,
            epoch: Arc::clone(room.epoch()),
            seq: kept.seq(),
            rev: kept.rev(),
            read,
            writers,
        })
    };
    let is_wanted = |pair: &Pair| after.is_none_or(|after| pair.place.is_after(after));
    let mut pairs: Vec<Pair> = chat.rooms.pairs_of(user).filter_map(pair).filter(is_wanted).collect();
    pairs.sort_unstable_by(|a, b| a.place.order().cmp(&b.place.order()));
    pairs
}

/// Tells at most `limit` of the conversations, and whether there are more.
fn tell_conversations<C: Context>(
    chat: &mut Chat,
    call: &mut Call<'_, C>,
    mut pairs: Vec<Pair>,
    limit: usize,
) {
    let Call { ctx, reply_to, actor } = call;
    let has_more = pairs.len() > limit;
    pairs.truncate(limit);
    let next = pairs.last().filter(|_| has_more).map(|pair| write_page(&pair.place));
    // Some of them the token may not permit to read.
    pairs.retain(|pair| chat.people.may_pair(actor, Right::Join, &pair.place.other));
    let conversations: Vec<Conversation> = pairs.iter().map(|pair| conversation(chat, actor, pair)).collect();
    let (id, next) = (reply_to.id(), next.as_deref());
    chat.responder.reply(*ctx, reply_to, &Conversations { id, conversations: &conversations, next });
}

fn conversation(chat: &Chat, actor: &Actor, pair: &Pair) -> Conversation {
    let Pair { place: PairPlace { time, other }, epoch, seq, rev, read, writers } = pair;
    let here = chat.people.find_verified(other).and_then(|user| chat.people.user(user));
    let here = here.map(|user| &**user.name());
    let is_theirs = |name: &&Arc<str>| *chat.people.holders().person_or(&names::fold(name)) == **other;
    let wrote = writers.iter().find(is_theirs).map(|name| &**name);
    // A position may be in memory that is not on the disk yet.
    let room = chat.rooms.find(&pair_room([&actor.person, other])).and_then(|room| chat.rooms.get(room));
    let marked = room.and_then(|room| room.read_position(&actor.identity())).unwrap_or(0);
    Conversation {
        user: here.or(wrote).unwrap_or(other).to_owned(),
        verified: true,
        epoch: (**epoch).to_owned(),
        seq: *seq,
        rev: *rev,
        time: *time,
        read: (*read).max(marked).min(*seq),
    }
}

/// Messages that are looked at for the names of those who wrote them.
const WRITERS_AMONG: u64 = 16;

fn other_of(room: &Room, user: &Arc<str>) -> Option<Arc<str>> {
    let Kind::Pair([a, b]) = room.kind() else { return None };
    Some(Arc::clone(if a == user { b } else { a }))
}

/// A place in the list, as `page` names it: the time, a colon and what the other user is kept under.
fn write_page(place: &PairPlace) -> String {
    format!("{}:{}", place.time, place.other)
}

fn read_page(page: &str) -> Result<PairPlace, Refusal> {
    let place = page.split_once(':').and_then(|(time, other)| {
        let other = other.into();
        Some(PairPlace { time: time.parse().ok()?, other })
    });
    place.ok_or_else(|| {
        Refusal::field(Code::BadField, "page", "`page` must be the `next` of an earlier answer")
    })
}
