//! The subprotocol `json`, the chat of the tutorial: a view on the room `general`.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::answers::Asker;
use super::command::Command;
use super::session::Actor;
use super::{Chat, Code, GENERAL, Refusal, json, names};
use crate::app::{ConnId, Context, Outgoing, TopicId, TopicOptions};
use crate::store::Record;

/// Who sees the list.
#[derive(Debug, Default)]
pub(super) struct Tutorial {
    topic: Option<TopicId>,
    /// `general`.
    pub(super) room: u32,
    /// The list is another one than the last that went out.
    pub(super) is_dirty: bool,
}

/// `{"msg":[…]}`, newest first (S9, S13).
#[derive(Serialize)]
struct Listing<'a> {
    msg: Listed<'a>,
}

struct Listed<'a> {
    newest: [&'a [Record]; 2],
    count: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    user: &'a str,
    text: &'a str,
    time: u64,
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [older, newer] = self.newest;
        let shown = newer.iter().rev().chain(older.iter().rev()).filter(|record| !record.is_deleted);
        serializer.collect_seq(shown.take(self.count).map(|record| Line {
            user: &record.post.user,
            text: &record.post.text,
            time: record.post.time,
        }))
    }
}

impl Chat {
    pub(super) fn open_tutorial<C: Context>(&mut self, ctx: &mut C) {
        self.tutorial.topic = Some(ctx.create_topic(TopicOptions::default()));
    }

    /// Somebody comes; they see the list as soon as there is one.
    pub(super) fn tutorial_came<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        let Some(topic) = self.tutorial.topic else { return };
        let is_open = self.rooms[self.tutorial.room].is_open();
        // A list that has changed goes to all of them when the tick ends.
        if is_open && !self.tutorial.is_dirty {
            let list = self.listing();
            let _ = ctx.send(conn, Outgoing::text(list));
        }
        // Neither can fail: the connection has just been opened.
        let _ = ctx.subscribe(conn, topic);
    }

    fn listing(&mut self) -> &str {
        let Self { rooms, voice, options, tutorial, .. } = self;
        let newest = rooms[tutorial.room].log.newest(usize::MAX);
        voice.encode(&Listing { msg: Listed { newest, count: options.history } })
    }

    /// Everybody gets the whole list.
    pub(super) fn tell_tutorial<C: Context>(&mut self, ctx: &mut C) {
        let Some(topic) = self.tutorial.topic else { return };
        if self.rooms[self.tutorial.room].is_open() {
            let list = self.listing();
            ctx.publish(topic, Outgoing::text(list), None);
            self.tutorial.is_dirty = false;
        }
    }

    /// A text message on a connection of `json`.
    pub(super) fn tutorial_said<C: Context>(&mut self, ctx: &mut C, conn: ConnId, text: &str) {
        let asker = Asker::Tutorial(conn);
        let post = json::parse_post(text);
        if let Err(wait_ms) = self.take_token(ctx, conn, post.is_ok()) {
            let refusal = Refusal::later(Code::RateLimited, wait_ms, "too fast; wait a moment");
            return self.refuse_fast(ctx, &asker, &refusal);
        }
        let actor = post.map_err(|error| Refusal::new(Code::BadJson, error)).and_then(|post| {
            let actor = self.tutorial_actor(ctx, conn, &post.user)?;
            Ok((actor, post))
        });
        match actor {
            Err(refusal) => self.voice.refuse(ctx, &asker, &refusal),
            Ok((actor, post)) => {
                let command = Command::Post { room: GENERAL.into(), text: post.text, key: None };
                self.execute(ctx, &asker, &actor, command);
            }
        }
    }

    /// Each post names its user anew.
    fn tutorial_actor<C: Context>(&self, ctx: &C, conn: ConnId, user: &str) -> Result<Actor, Refusal> {
        let name = names::user(user, "user")?;
        let folded = names::fold(&name);
        self.check_name(&folded, ctx.now())?;
        let session = self.people.look(conn.index).ok_or_else(Refusal::not_joined)?;
        Ok(Actor {
            name: name.as_ref().into(),
            folded: folded.as_ref().into(),
            is_verified: false,
            client: Arc::clone(&session.client),
            session: Some(conn.index),
        })
    }
}
