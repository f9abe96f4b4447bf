//! The subprotocol `json`, the chat of the tutorial: a view on the room `general`.

use serde::{Serialize, Serializer};

use crate::app::{CloseCode, ConnId, Context, Now, Outgoing, TopicId, TopicOptions};
use crate::chat::commands::call::Call;
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

impl Chat {
    pub(in crate::chat) fn open_tutorial<C: Context>(&mut self, ctx: &mut C) {
        self.tutorial.topic = Some(ctx.create_topic(TopicOptions::default()));
    }

    /// Why somebody with these claims may not see the list.
    pub(in crate::chat) fn refuse_tutorial(&self, claims: Option<&Claims>, now: Now) -> Option<Refusal> {
        match claims {
            None if !self.options.guests => Some(Refusal::no_token()),
            Some(claims) if self.people.ban_of_claims(claims, now).is_some() => {
                Some(Refusal::field(Code::Forbidden, "user", "banned"))
            }
            claims if !permits(claims, Right::Join, GENERAL) => {
                Some(Refusal::field(Code::Forbidden, "room", "your token does not permit this room"))
            }
            _ => None,
        }
    }

    /// Somebody comes; they see the list as soon as there is one.
    pub(in crate::chat) fn tutorial_came<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        let Some(topic) = self.tutorial.topic else { return };
        let Some(session) = self.people.session(conn) else { return };
        let claims = session.claims().cloned();
        let refused = self.refuse_tutorial(claims.as_ref(), ctx.now());
        let spoken = match (refused, claims) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(claims)) => self.speak_verified(ctx, conn, Box::new(claims)),
            (None, None) => Ok(()),
        };
        if let Err(refusal) = spoken {
            self.responder.refuse(ctx, &ReplyTo::Tutorial(conn), &refusal);
            self.detach(ctx, conn);
            return ctx.close(conn, CloseCode::POLICY_VIOLATION, &refusal.message);
        }
        // A list that has changed goes to all of them when the tick ends.
        if !self.tutorial.is_dirty
            && let Some(list) = self.listing(ctx.now())
        {
            let _ = ctx.send(conn, Outgoing::text(list));
        }
        // Neither can fail: the connection has just been opened.
        let _ = ctx.subscribe(conn, topic);
    }

    /// The list, as soon as there is one.
    fn listing(&mut self, now: Now) -> Option<&str> {
        let room = &self.rooms[self.tutorial.room?];
        if !room.is_open() {
            return None;
        }
        let visible = self.visible_from(room, now.unix_ms);
        let newest = room.order.log().between(visible.saturating_sub(1), u64::MAX);
        let (count, most) = (self.options.history, self.options.limits.max_answer);
        Some(self.responder.encode(&Listing { msg: Listed { newest, count, most } }))
    }

    /// Everybody gets the whole list.
    pub(in crate::chat) fn tell_tutorial<C: Context>(&mut self, ctx: &mut C) {
        let Some(topic) = self.tutorial.topic else { return };
        if let Some(list) = self.listing(ctx.now()) {
            ctx.publish(topic, Outgoing::text(list), None);
            self.tutorial.is_dirty = false;
        }
    }

    /// A text message on a connection of `json`.
    pub(in crate::chat) fn tutorial_said<C: Context>(&mut self, ctx: &mut C, conn: ConnId, text: &str) {
        let reply_to = ReplyTo::Tutorial(conn);
        let said = json::parse_post(text).map_err(|error| Refusal::new(Code::BadJson, error.to_string()));
        let said = said.and_then(|post| {
            self.speak_in_tutorial(ctx, conn, &post.user)?;
            Ok(post)
        });
        if let Err(wait_ms) = self.take_token(ctx, conn, said.is_ok()) {
            let refusal = Refusal::later(Code::RateLimited, wait_ms, "too fast; wait a moment");
            return self.refuse_fast(ctx, &reply_to, &refusal);
        }
        match (said, self.people.actor(SessionId::of(conn))) {
            (Err(refusal), _) => self.responder.refuse(ctx, &reply_to, &refusal),
            (Ok(post), Some(actor)) => {
                let command = Command::Post { room: GENERAL.into(), text: post.text, key: None };
                self.execute(&mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
            }
            (Ok(_), None) => {}
        }
    }

    /// Each post names its user again: that is who the connection speaks for from now on. With a token it is the token's.
    fn speak_in_tutorial<C: Context>(&mut self, ctx: &C, conn: ConnId, user: &str) -> Result<(), Refusal> {
        let name = names::user(user, "user")?;
        let folded = names::fold(&name);
        let Some(session) = self.people.session(conn) else { return Ok(()) };
        let (spoken, is_verified) = (session.user(), session.claims().is_some());
        let spoken = spoken.and_then(|user| self.people.user(user));
        let is_spoken =
            |user: &User| **user.person() == *self.people.holders().owner(&folded, user.is_verified());
        if spoken.is_some_and(is_spoken) {
            return Ok(());
        }
        if is_verified {
            return Err(Refusal::field(Code::Forbidden, "user", "the token is somebody else's"));
        }
        if !self.options.guests {
            return Err(Refusal::no_token());
        }
        self.check_name(&folded, ctx.now())?;
        self.people.speak_for_nobody(SessionId::of(conn), ctx.now().monotonic_ms);
        self.people.speak_as(SessionId::of(conn), &name, &folded, None);
        Ok(())
    }
}
