//! What other parts of the server may do with the chat: the same as clients, by the same rules and on the same ways.

use std::sync::Arc;

use super::answers::{Answered, Asker};
use super::command::Command;
use super::moderation::DISCONNECTED;
use super::names;
use super::notice::{Broadcast, Farewell};
use super::room::Kind;
use super::session::{Actor, Dialect};
use super::{Chat, Code, Refusal, Stats};
use crate::app::{ConnId, Context, Outgoing};
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

    /// Tells every connection of `chat.v1.json`; gives their number.
    ///
    /// # Errors
    /// The text is empty or too long.
    pub fn broadcast<C: Context>(&mut self, ctx: &mut C, text: &str) -> Result<usize, Refusal> {
        if text.trim().is_empty() {
            return Err(Refusal::field(Code::BadField, "text", "`text` is empty"));
        }
        if text.len() > self.options.limits.max_text {
            return Err(Refusal::field(Code::TooLong, "text", "`text` is too long"));
        }
        let Self { people, voice, .. } = self;
        let notice = voice.encode(&Broadcast { text, time: ctx.now().unix_ms });
        let mut told = 0;
        for session in people.iter().filter(|session| session.dialect == Dialect::V1) {
            told += usize::from(ctx.send(session.conn, Outgoing::text(notice)).is_ok());
        }
        Ok(told)
    }

    /// Ends all connections of a user; gives their number.
    ///
    /// # Errors
    /// It is no name of a user.
    pub fn disconnect_user<C: Context>(&mut self, ctx: &mut C, user: &str) -> Result<usize, Refusal> {
        let name = names::user(user, "user")?;
        let conns = self.people.conns_of(&names::fold(&name));
        for conn in &conns {
            self.dismiss(ctx, *conn, Farewell::Disconnected, "disconnected", DISCONNECTED);
        }
        Ok(conns.len())
    }

    /// Ends the connection with this client id, if there is one.
    pub fn disconnect_client<C: Context>(&mut self, ctx: &mut C, client: &str) -> bool {
        let found: Option<ConnId> =
            self.people.iter().find(|session| *session.client == *client).map(|session| session.conn);
        if let Some(conn) = found {
            self.dismiss(ctx, conn, Farewell::Disconnected, "disconnected", DISCONNECTED);
        }
        found.is_some()
    }

    /// Who is banned now, by name.
    #[must_use]
    pub fn bans<C: Context>(&self, ctx: &C) -> Vec<Ban> {
        self.bans.list(ctx.now().unix_ms)
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
            ..self.commits.clone()
        }
    }
}
