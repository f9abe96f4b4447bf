//! What other parts of the server may do with the chat: the same as clients, by the same rules and on the same ways.

use std::sync::Arc;

use super::answers::{Answered, Asker};
use super::command::Command;
use super::names;
use super::room::Kind;
use super::session::Actor;
use super::{Chat, Refusal, Stats};
use crate::app::Context;
use crate::store::Ban;

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

impl Chat {
    /// Does a command in the name of a user, or of the server where none is given. The answer is among those of
    /// [`Self::take_answered`], at once or once the store has committed; it is that of `chat.v1.json`.
    pub fn call<C: Context>(&mut self, ctx: &mut C, request: u64, user: Option<&str>, command: Command<'_>) {
        let asker = Asker::Request(request);
        match names::user(user.unwrap_or("server"), "user") {
            Ok(name) => {
                let folded = names::fold(&name).as_ref().into();
                let name = name.as_ref().into();
                let actor = Actor {
                    name,
                    folded,
                    is_verified: true,
                    client: Arc::clone(&self.server),
                    session: None,
                };
                self.execute(ctx, &asker, &actor, command);
            }
            Err(refusal) => self.voice.refuse(ctx, &asker, &refusal),
        }
    }

    /// The answers to [`Self::call`] since the last time, in the order in which they were given.
    pub fn take_answered(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.voice.answered)
    }

    /// The rooms in memory, by name.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomInfo> {
        let groups = self.rooms.iter().filter(|room| room.kind == Kind::Group && room.is_open());
        let mut list: Vec<RoomInfo> = groups
            .map(|room| RoomInfo { name: Arc::clone(&room.name), members: room.members.len(), seq: room.seq })
            .collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// Who is banned now, by name.
    #[must_use]
    pub fn bans<C: Context>(&self, ctx: &C) -> Vec<Ban> {
        self.bans.list(ctx.now().unix_ms)
    }

    /// The ban in force against a user, however the name is spelt.
    ///
    /// # Errors
    /// It is no name of a user.
    pub fn find_ban<C: Context>(&self, ctx: &C, user: &str) -> Result<Option<&Ban>, Refusal> {
        let name = names::user(user, "user")?;
        Ok(self.ban_of(&names::fold(&name), ctx.now()))
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            posts: self.posts,
            changes: self.changes,
            duplicates: self.duplicates,
            acks: self.voice.acks,
            refused: self.voice.refused,
            flooded: self.flooded,
            recovered: self.recovered,
            unrecovered: self.unrecovered,
            lagged: self.lagged,
            sessions: self.people.len() as u64,
            users: self.people.users() as u64,
            rooms: self.rooms.len() as u64,
            members: self.rooms.members as u64,
            recent_bytes: self.rooms.bytes as u64,
            keys: self.keys.len() as u64,
            store_pending: self.durable.pending as u64,
            store_asks: self.durable.asks.len() as u64,
            store_failures: self.store_failures,
            store_unavailable: u64::from(self.durable.is_failed),
            answer_octets: self.answer_octets,
            scanned_octets: self.scanned_octets,
            ..self.commits.clone()
        }
    }
}
