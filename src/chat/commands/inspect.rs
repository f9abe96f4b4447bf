//! What an operator is told of who is connected to this loop.

use std::sync::Arc;

use serde::Serialize;

use crate::app::Context;
use crate::chat::commands::elsewhere;
use crate::chat::connections::{
    Connection, Figures, Listing, MAX_CONNECTIONS_LISTED, MAX_LOOKED, MAX_ROOMS_NAMED, Place,
};
use crate::chat::exchange::Exchange;
use crate::chat::ids::{SessionId, UserId};
use crate::chat::neighbours::Neighbours;
use crate::chat::people::member::Member;
use crate::chat::people::names;
use crate::chat::people::session::{Dialect, Session};
use crate::chat::people::user::{Identity, User};
use crate::chat::rooms::{Kind, Room};
use crate::chat::{Chat, JSON, V1};

#[derive(Serialize)]
struct Connections {
    connections: Vec<Connection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Place>,
}

#[derive(Serialize)]
struct Users<'a> {
    users: Vec<ListedUser<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Place>,
}

#[derive(Serialize)]
struct ListedUser<'a> {
    user: &'a str,
    verified: bool,
    /// On all loops.
    connections: usize,
}

#[derive(Serialize)]
struct MemberPage<'a> {
    r#type: &'static str,
    room: &'a str,
    members: Vec<Member<'a>>,
    /// In the whole room.
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Place>,
}

/// A page of a list, as JSON: what this loop has from a place on.
pub(in crate::chat) fn list<C: Context>(
    chat: &Chat,
    ctx: &C,
    listing: &Listing,
    (from, limit): (usize, usize),
) -> Arc<str> {
    let limit = limit.clamp(1, MAX_CONNECTIONS_LISTED);
    let page = match listing {
        Listing::Connections(search) => {
            let (found, next) = connections(chat, ctx, search.as_deref(), (from, limit));
            serde_json::to_string(&Connections { connections: found, next })
        }
        Listing::Users(prefix) => {
            let (users, next) = users(chat, prefix.as_deref().unwrap_or_default(), (from, limit));
            serde_json::to_string(&Users { users, next })
        }
        Listing::Members(room) => serde_json::to_string(&members(chat, room, (from, limit))),
    };
    // Strings and numbers always have a JSON form.
    page.unwrap_or_default().into()
}

/// A page with nothing on it, behind which there is nothing.
pub(in crate::chat) fn nothing(chat: &Chat, listing: &Listing) -> Arc<str> {
    let page = match listing {
        Listing::Connections(_) => {
            serde_json::to_string(&Connections { connections: Vec::new(), next: None })
        }
        Listing::Users(_) => serde_json::to_string(&Users { users: Vec::new(), next: None }),
        Listing::Members(room) => {
            serde_json::to_string(&MemberPage { next: None, ..members(chat, room, (usize::MAX, 0)) })
        }
    };
    page.unwrap_or_default().into()
}

/// The connections of a user, by the folded name.
pub(in crate::chat) fn connections_of<C: Context>(chat: &Chat, ctx: &C, user: &str) -> Vec<Connection> {
    let conns = chat.people.conns_of(chat.people.find_named(user));
    let sessions = conns.into_iter().filter_map(|conn| chat.people.look(SessionId::of(conn)));
    sessions.take(MAX_CONNECTIONS_LISTED).map(|session| shown(chat, ctx, session)).collect()
}

/// The figures of this loop.
pub(in crate::chat) fn figures<C: Context>(chat: &Chat, ctx: &C) -> Figures {
    let (chat, net) = (chat.stats(), ctx.stats());
    let commits: u64 = chat.commit_ms.iter().sum();
    Figures {
        loops: 1,
        sums: vec![
            ("connections", net.open as u64),
            ("accepted", net.upgrades.accepted),
            ("sessions", chat.sessions),
            ("users", chat.users),
            ("members", chat.members),
            ("posts", chat.posts),
            ("changes", chat.changes),
            ("duplicates", chat.duplicates),
            ("refused", chat.refused.iter().sum()),
            ("flooded", chat.flooded),
            ("lagged", chat.lagged),
            ("messages_in", net.messages_in),
            ("messages_out", net.messages_out),
            ("bytes_in", net.bytes_in),
            ("bytes_out", net.bytes_out),
            ("queued_bytes", net.queued_bytes as u64),
            ("queued_connections", net.queued_connections as u64),
            ("recent_bytes", chat.recent_bytes),
            ("pending", chat.store_pending),
            ("commits", commits),
            ("commit_ms_sum", chat.commit_ms_sum),
            ("open_rooms", chat.rooms),
        ],
        shared: vec![
            ("log_bytes", chat.store_log_bytes),
            ("store_failures", chat.store_failures),
            ("store_unavailable", chat.store_unavailable),
            ("draining", u64::from(ctx.is_draining())),
            ("time", ctx.now().unix_ms),
        ],
    }
}

/// Where a list goes on that has looked at all places of this loop before `slot`; there are `slots` of them.
fn next(chat: &Chat, slot: usize, slots: usize) -> Option<Place> {
    let (own, loops) = chat.neighbours.as_ref().map_or((0, 1), |it| (it.own(), it.loops()));
    let exchange = chat.neighbours.as_ref().map(Neighbours::exchange);
    let server = exchange.and_then(Exchange::name);
    if slot < slots {
        return Some(Place { server, at: own, slot });
    }
    if own + 1 < loops {
        return Some(Place { server, at: own + 1, slot: 0 });
    }
    let later = exchange?.server_after(Some(&*server?))?;
    Some(Place { server: Some(later), at: 0, slot: 0 })
}

fn connections<C: Context>(
    chat: &Chat,
    ctx: &C,
    search: Option<&str>,
    (from, limit): (usize, usize),
) -> (Vec<Connection>, Option<Place>) {
    let slots = chat.people.slots();
    let search = search.map(|text| (text, names::fold(text)));
    let mut found = Vec::new();
    let mut slot = from;
    while slot < slots && slot - from < MAX_LOOKED && found.len() < limit {
        if let Some(session) = chat.people.in_slot(slot).filter(|session| session.is_live())
            && search.as_ref().is_none_or(|(raw, folded)| is_meant(chat, session, raw, folded))
        {
            found.push(shown(chat, ctx, session));
        }
        slot += 1;
    }
    (found, next(chat, slot, slots))
}

fn is_meant(chat: &Chat, session: &Session, raw: &str, folded: &str) -> bool {
    let user = session.user().and_then(|user| chat.people.user(user));
    let is_address = raw.contains(['.', ':']);
    user.is_some_and(|user| names::fold(user.name()).contains(folded))
        || **session.client() == *raw
        || is_address && session.address().to_string().starts_with(raw)
}

fn shown<C: Context>(chat: &Chat, ctx: &C, session: &Session) -> Connection {
    let user = session.user().and_then(|user| chat.people.user(user));
    let rooms = session.memberships().iter().filter_map(|it| chat.rooms.get(it.room));
    let groups = rooms.filter(|room| *room.kind() == Kind::Group);
    Connection {
        client: (&**session.client()).into(),
        user: user.map(|user| (&**user.name()).into()),
        verified: user.is_some_and(User::is_verified),
        address: session.address().to_string().into(),
        since: session.since(),
        protocol: match session.dialect() {
            Dialect::V1 => V1.into(),
            Dialect::Tutorial => JSON.into(),
        },
        rooms: groups.take(MAX_ROOMS_NAMED).map(|room| (&**room.name()).into()).collect(),
        room_count: session.memberships().len(),
        queued: ctx.backlog(session.conn()),
    }
}

fn users<'a>(
    chat: &'a Chat,
    prefix: &str,
    (from, limit): (usize, usize),
) -> (Vec<ListedUser<'a>>, Option<Place>) {
    let slots = chat.people.user_slots();
    let prefix = names::fold(prefix);
    let mut found = Vec::new();
    let mut slot = from;
    while slot < slots && slot - from < MAX_LOOKED && found.len() < limit {
        if let Some(user) = chat.people.user(UserId::of_slot(slot))
            && names::fold(user.name()).starts_with(&*prefix)
        {
            let identity = Identity { person: Arc::clone(user.person()), is_verified: user.is_verified() };
            // Somebody who is on several loops is listed by the first of them.
            let on_all = match &chat.neighbours {
                None => Some(user.sessions().len()),
                Some(neighbours) => on_all_loops(neighbours, &identity),
            };
            found.extend(on_all.map(|connections| ListedUser {
                user: user.name(),
                verified: user.is_verified(),
                connections,
            }));
        }
        slot += 1;
    }
    (found, next(chat, slot, slots))
}

/// How many connections somebody has on all loops, if this is the first of those.
fn on_all_loops(neighbours: &Neighbours, user: &Identity) -> Option<usize> {
    let (first, count) = neighbours.exchange().connections(user)?;
    (first == neighbours.own()).then_some(count)
}

fn members<'a>(chat: &'a Chat, name: &'a str, (from, limit): (usize, usize)) -> MemberPage<'a> {
    let room = chat.rooms.find(name).map(|room| &chat.rooms[room]);
    let members = room.map(Room::members).unwrap_or_default();
    let mut later: Vec<SessionId> = members.iter().copied().filter(|it| it.slot() >= from).collect();
    // Those of the page are found without sorting a large room.
    if later.len() > limit + 1 {
        later.select_nth_unstable(limit);
        later.truncate(limit + 1);
    }
    later.sort_unstable();
    let slots = chat.people.slots();
    let slot = later.get(limit).map_or(slots, |next| next.slot());
    later.truncate(limit);
    MemberPage {
        r#type: "members",
        room: name,
        members: later.into_iter().filter_map(|session| chat.people.member(session)).collect(),
        count: members.len() + elsewhere::count(chat, name),
        next: next(chat, slot, slots),
    }
}
