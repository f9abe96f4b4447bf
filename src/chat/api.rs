//! What other parts of the server may do with the chat: the same as clients, by the same rules and on the same ways.

use std::borrow::Cow;
use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands;
use crate::chat::commands::call::Call;
use crate::chat::commands::elsewhere;
use crate::chat::listing::{self, MAX_LISTED};
use crate::chat::neighbours::Neighbours;
use crate::chat::people::actor::Actor;
use crate::chat::people::names;
use crate::chat::rooms::Kind;
use crate::chat::rooms::pair_room;
use crate::chat::wire::command::Command;
use crate::chat::wire::notices::json_len;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::wire::responder::{Answered, CallId};
use crate::chat::{Chat, Code, Refusal, Stats};
use crate::history::{Ban, NameRange};

/// Octets of a ban in a list besides its texts, at most.
const BAN_OCTETS: usize = 64;

/// A room that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    /// Its name in the normal form.
    pub name: Arc<str>,
    /// Its members.
    pub members: usize,
    /// Its newest message.
    pub seq: u64,
}

/// A room's name as the store has it: in its normal form, or the two names of a conversation in their order.
///
/// # Errors
/// Nobody could open a room of this name.
pub fn stored_room(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    let Some(pair) = raw.strip_prefix('@') else { return names::room(raw) };
    let (a, b) = pair.split_once('\n').ok_or_else(|| {
        Refusal::field(Code::BadField, "room", "`room` begins with @, which is for conversations of two")
    })?;
    let folded = |name| names::user(name, "room").map(|name| names::fold(&name).into_owned());
    let (a, b) = (folded(a)?, folded(b)?);
    Ok(Cow::Owned(pair_room([&a, &b])))
}

/// A user's name as the store has it: as it is shown.
///
/// # Errors
/// Nobody could have this name.
pub fn stored_user(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    names::user(raw, "user")
}

/// One emoji of Unicode's list, in its one fully qualified form.
///
/// # Errors
/// It is none.
pub fn emoji(raw: &str) -> Result<&'static str, Refusal> {
    let known = emojis::get(raw).map(emojis::Emoji::as_str);
    known.ok_or_else(|| Refusal::field(Code::BadField, "emoji", "`emoji` must be one emoji"))
}

impl Chat {
    /// Does a command in the name of a user, or of the server where none is given. The answer is among those of
    /// [`Self::take_answered`], at once or once the store has committed; it is that of `chat.v1.json`.
    pub fn call<C: Context>(&mut self, ctx: &mut C, request: u64, user: Option<&str>, command: Command<'_>) {
        let reply_to = ReplyTo::Request(request);
        match names::user(user.unwrap_or("server"), "user") {
            Ok(name) => {
                let person = self.people.holders().person_or(&names::fold(&name)).into();
                let name = name.as_ref().into();
                let actor = Actor {
                    name,
                    person,
                    is_verified: true,
                    client: Arc::clone(&self.server),
                    session: None,
                    is_server: user.is_none(),
                };
                commands::execute(self, &mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
            }
            Err(refusal) => self.responder.refuse(ctx, &reply_to, &refusal),
        }
    }

    /// The same, under a number of the chat's own: [`Answered::is_for`] tells to which call an answer belongs.
    pub fn start<C: Context>(&mut self, ctx: &mut C, user: Option<&str>, command: Command<'_>) -> CallId {
        self.calls += 1;
        let id = CallId::new(self.calls);
        self.call(ctx, id.request(), user, command);
        id
    }

    /// The answers to [`Self::call`] and [`Self::start`] since the last time, in the order in which they were given.
    pub fn take_answered(&mut self) -> Vec<Answered> {
        self.responder.take_answered()
    }

    /// The rooms in memory, by name.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomInfo> {
        let groups = self.rooms.iter().filter(|room| *room.kind() == Kind::Group && room.is_open());
        let mut list: Vec<RoomInfo> = groups
            .map(|room| RoomInfo {
                name: Arc::clone(room.name()),
                members: room.members().len() + elsewhere::count(self, room.name()),
                seq: room.recent().seq(),
            })
            .collect();
        // What is said in one that is open on other loops only is on the disk.
        let others = elsewhere::rooms(self, &NameRange::all(), usize::MAX).into_iter();
        list.extend(others.map(|(name, members)| RoomInfo { name, members, seq: 0 }));
        list.sort_by(|a, b| (&a.name, b.seq).cmp(&(&b.name, a.seq)));
        list.dedup_by(|later, earlier| later.name == earlier.name);
        list
    }

    /// Lists at most `limit` rooms whose names come after `after`, and no more than fit into an answer. The answer is among
    /// those of [`Self::take_answered`].
    pub fn list_rooms<C: Context>(&mut self, ctx: &mut C, request: u64, after: &str, limit: usize) {
        listing::list(self, ctx, request, after, limit);
    }

    /// The bans in force whose names come after `after`, by name: at most `limit` of them, and no more than fit into an
    /// answer ([`Limits::max_answer`](super::Limits::max_answer)); and whether there are more.
    #[must_use]
    pub fn bans<C: Context>(&self, ctx: &C, after: &str, limit: usize) -> (Vec<&Ban>, bool) {
        let mut left = self.options.limits.max_answer;
        let mut page: Vec<&Ban> = Vec::new();
        for ban in self.people.bans().after(after, ctx.now().unix_ms) {
            let octets = BAN_OCTETS + json_len(&ban.user) + json_len(&ban.reason);
            if page.len() >= limit.min(MAX_LISTED) || octets > left && !page.is_empty() {
                return (page, true);
            }
            left = left.saturating_sub(octets);
            page.push(ban);
        }
        (page, false)
    }

    /// The ban in force against a user, however the name is spelt.
    ///
    /// # Errors
    /// It is no name of a user.
    pub fn find_ban<C: Context>(&self, ctx: &C, user: &str) -> Result<Option<&Ban>, Refusal> {
        let name = names::user(user, "user")?;
        Ok(self.people.ban_of(&names::fold(&name), ctx.now()))
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            acks: self.responder.acks(),
            refused: self.responder.refused(),
            sessions: self.people.len() as u64,
            users: elsewhere::users(self) as u64,
            rooms: self.pending.open_rooms().unwrap_or(self.rooms.len() as u64),
            signs_dropped: self.neighbours.as_ref().map_or(0, Neighbours::dropped),
            members: self.rooms.members() as u64,
            recent_bytes: self.rooms.bytes() as u64,
            keys: self.keys.len() as u64 + self.pending.keys(),
            store_pending: self.pending.len() as u64,
            store_asks: self.pending.queries() as u64,
            store_log_bytes: self.pending.log_bytes(),
            store_unavailable: u64::from(self.pending.is_failed()),
            engine: self.pending.engine(),
            hooks: self.deciding.as_ref().map(|deciding| deciding.counts()).unwrap_or_default(),
            ..self.counts.clone()
        }
    }
}
