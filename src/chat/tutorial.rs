//! The subprotocol `json`, the chat of the tutorial: a view on the room `general`.

use serde::{Serialize, Serializer};

use crate::app::{CloseCode, ConnId, Context, Now, Outgoing, TopicId, TopicOptions};
use crate::chat::commands::call::Call;
use crate::chat::commands::{self, elsewhere, ending, login, tell};
use crate::chat::identity::Claims;
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::people::names;
use crate::chat::people::permission::{Right, permits};
use crate::chat::people::user::User;
use crate::chat::wire::command::Command;
use crate::chat::wire::json;
use crate::chat::wire::notices::json_len;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, GENERAL, Refusal};
use crate::history::Record;

/// Octets of a line besides its texts.
const LINE_OCTETS: usize = 64;

/// Who sees the list.
#[derive(Debug, Default)]
pub(in crate::chat) struct Tutorial {
    topic: Option<TopicId>,
    /// `general`, once it is there.
    room: Option<RoomId>,
    /// The list is another one than the last that went out.
    is_dirty: bool,
}

impl Tutorial {
    /// This is `general`.
    pub(in crate::chat) fn set_room(&mut self, room: RoomId) {
        self.room = Some(room);
    }

    /// Something has happened in a room.
    pub(in crate::chat) fn note_change(&mut self, room: RoomId) {
        self.is_dirty |= self.room == Some(room);
    }

    /// The list is another one than the last that went out.
    pub(in crate::chat) fn is_dirty(&self) -> bool {
        self.is_dirty
    }
}

/// `{"msg":[…]}`, newest first (S9, S13).
#[derive(Serialize)]
struct Listing<'a> {
    msg: Listed<'a>,
}

struct Listed<'a> {
    newest: [&'a [Record]; 2],
    count: usize,
    /// Octets of the list.
    most: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    user: &'a str,
    text: &'a str,
    time: u64,
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.shown().map(|record| Line {
            user: &record.post.user,
            text: &record.post.text,
            time: record.post.time,
        }))
    }
}

impl<'a> Listed<'a> {
    /// The newest first, as many as fit into an answer.
    fn shown(&self) -> impl Iterator<Item = &'a Record> {
        let [older, newer] = self.newest;
        let shown = newer.iter().rev().chain(older.iter().rev()).filter(|record| !record.is_deleted);
        let mut left = self.most;
        shown.take(self.count).take_while(move |record| {
            let octets = LINE_OCTETS + json_len(&record.post.user) + json_len(&record.post.text);
            let fits = octets <= left;
            left = left.saturating_sub(octets);
            fits
        })
    }
}

pub(in crate::chat) fn open<C: Context>(chat: &mut Chat, ctx: &mut C) {
    chat.tutorial.topic = Some(ctx.create_topic(TopicOptions::default()));
}

/// Why somebody with these claims may not see the list.
pub(in crate::chat) fn refuse(chat: &Chat, claims: Option<&Claims>, now: Now) -> Option<Refusal> {
    match claims {
        None if !chat.options.guests => Some(Refusal::no_token()),
        Some(claims) if chat.people.ban_of_claims(claims, now).is_some() => {
            Some(Refusal::field(Code::Forbidden, "user", "banned"))
        }
        claims if !permits(claims, Right::Join, GENERAL) => {
            Some(Refusal::field(Code::Forbidden, "room", "your token does not permit this room"))
        }
        _ => None,
    }
}

/// Somebody comes; they see the list as soon as there is one.
pub(in crate::chat) fn came<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId) {
    let Some(topic) = chat.tutorial.topic else { return };
    let Some(session) = chat.people.session(conn) else { return };
    let claims = session.claims().cloned();
    let refused = refuse(chat, claims.as_ref(), ctx.now());
    let spoken = match (refused, claims) {
        (Some(refusal), _) => Err(refusal),
        (None, Some(claims)) => login::speak_verified(chat, ctx, conn, Box::new(claims)),
        (None, None) => Ok(()),
    };
    if let Err(refusal) = spoken {
        chat.responder.refuse(ctx, &ReplyTo::Tutorial(conn), &refusal);
        ending::detach(chat, ctx, conn);
        return ctx.close(conn, CloseCode::POLICY_VIOLATION, &refusal.message);
    }
    // A list that has changed goes to all of them when the tick ends.
    if !chat.tutorial.is_dirty
        && let Some(list) = listing(chat, ctx.now())
    {
        let _ = ctx.send(conn, Outgoing::text(list));
    }
    // Neither can fail: the connection has just been opened.
    let _ = ctx.subscribe(conn, topic);
}

/// The list, as soon as there is one.
fn listing(chat: &mut Chat, now: Now) -> Option<&str> {
    let room = &chat.rooms[chat.tutorial.room?];
    if !room.is_open() {
        return None;
    }
    let visible = chat.options.visible_from(room, now.unix_ms);
    let newest = room.recent().log().between(visible.saturating_sub(1), u64::MAX);
    let (count, most) = (chat.options.history, chat.options.limits.max_answer);
    Some(chat.responder.encode(&Listing { msg: Listed { newest, count, most } }))
}

/// Everybody gets the whole list.
pub(in crate::chat) fn tell<C: Context>(chat: &mut Chat, ctx: &mut C) {
    let Some(topic) = chat.tutorial.topic else { return };
    if let Some(list) = listing(chat, ctx.now()) {
        ctx.publish(topic, Outgoing::text(list), None);
        chat.tutorial.is_dirty = false;
    }
}

/// A text message on a connection of `json`.
pub(in crate::chat) fn said<C: Context>(chat: &mut Chat, ctx: &mut C, conn: ConnId, text: &str) {
    let reply_to = ReplyTo::Tutorial(conn);
    let said = json::parse_post(text).map_err(|error| Refusal::new(Code::BadJson, error.to_string()));
    let said = said.and_then(|post| {
        speak_in_tutorial(chat, ctx, conn, &post.user)?;
        Ok(post)
    });
    if let Err(wait_ms) =
        chat.people.take_token(conn, said.is_ok(), &chat.options.limits, ctx.now().monotonic_ms)
    {
        let refusal = Refusal::later(Code::RateLimited, wait_ms, "too fast; wait a moment");
        return commands::refuse_fast(chat, ctx, &reply_to, &refusal);
    }
    match (said, chat.people.actor(SessionId::of(conn))) {
        (Err(refusal), _) => chat.responder.refuse(ctx, &reply_to, &refusal),
        (Ok(post), Some(actor)) => {
            let command = Command::Post {
                room: GENERAL.into(),
                text: post.text,
                key: None,
                data: None,
                reply_to: None,
            };
            commands::execute(chat, &mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
        }
        (Ok(_), None) => {}
    }
}

/// Each post names its user again: that is who the connection speaks for from now on. With a token it is the token's.
fn speak_in_tutorial<C: Context>(chat: &mut Chat, ctx: &C, conn: ConnId, user: &str) -> Result<(), Refusal> {
    let name = names::user(user, "user")?;
    let folded = names::fold(&name);
    let Some(session) = chat.people.session(conn) else { return Ok(()) };
    let (spoken, is_verified) = (session.user(), session.claims().is_some());
    let spoken = spoken.and_then(|user| chat.people.user(user));
    let is_spoken =
        |user: &User| **user.person() == *chat.people.holders().owner(&folded, user.is_verified());
    if spoken.is_some_and(is_spoken) {
        return Ok(());
    }
    if is_verified {
        return Err(Refusal::field(Code::Forbidden, "user", "the token is somebody else's"));
    }
    if !chat.options.guests {
        return Err(Refusal::no_token());
    }
    chat.people.check_guest(&folded, ctx.now())?;
    tell::disconnecting(chat, ctx.now(), conn);
    if let Some(before) = chat.people.speak_for_nobody(SessionId::of(conn), ctx.now().monotonic_ms) {
        elsewhere::exit(chat, conn, &before);
    }
    elsewhere::enter_guest(chat, ctx, conn, (&name, &folded))
}
