//! Messages from one user to another.

use super::answers::Asker;
use super::command::Command;
use super::keys::Known;
use super::names;
use super::notice::{Ack, Direct};
use super::session::{Actor, Waiting};
use super::{Chat, Code, Refusal};
use crate::app::{Context, Outgoing};

impl Chat {
    pub(super) fn direct<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        actor: &Actor,
        to: &str,
        text: &str,
        key: Option<&str>,
    ) -> Result<(), Refusal> {
        let to = names::user(to.strip_prefix('@').unwrap_or(to), "to")?;
        let folded = names::fold(&to).into_owned();
        if let Some(key) = key
            && self.is_repeated(ctx, asker, actor, key)
        {
            return Ok(());
        }
        self.check_writable()?;
        let other = self.people.find(&folded).and_then(|user| self.people.user(user));
        let is_kept = actor.is_verified && other.is_none_or(|user| user.is_verified);
        if !is_kept {
            return self.direct_unkept(ctx, asker, actor, &folded, text, key);
        }
        let is_here = other.is_some();
        let room = self.open_pair(ctx, [&actor.folded, &folded])?;
        if !self.rooms[room].is_open() {
            let (to, text) = (to.into_owned().into(), text.to_owned().into());
            let command = Command::Direct { to, text, key: key.map(|key| key.to_owned().into()) };
            return self.wait(room, Waiting { asker: asker.clone(), actor: actor.clone(), command });
        }
        if !is_here && self.rooms[room].is_blank() {
            // Nobody has ever heard of them.
            self.rest_room(ctx, room);
            return Err(Refusal::field(Code::NotFound, "to", "there is no such user here"));
        }
        self.say(ctx, asker, actor, room, text, key);
        Ok(())
    }

    /// With a guest at either end nothing is kept.
    fn direct_unkept<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        actor: &Actor,
        to: &str,
        text: &str,
        key: Option<&str>,
    ) -> Result<(), Refusal> {
        let time = ctx.now().unix_ms;
        let other = self.people.find(to).and_then(|user| self.people.user(user));
        let other =
            other.ok_or_else(|| Refusal::field(Code::NotFound, "to", "there is no such user here"))?;
        let room = format!("@{}", other.name);
        if let Some(key) = key {
            let known = Known { room: room.as_str().into(), seq: 0, time, is_pending: false };
            let limits = &self.options.limits;
            self.keys.insert(&actor.folded, key, known, limits.key_window_ms, limits.max_keys);
        }
        let direct = Direct {
            from: &actor.name,
            to: &other.name,
            verified: actor.is_verified,
            seq: None,
            client: &actor.client,
            text,
            time,
        };
        let mut conns = self.people.conns_of(to);
        if *actor.folded != *to {
            conns.extend(self.people.conns_of(&actor.folded));
        }
        let ack = Ack {
            id: asker.id(),
            room: Some(&room),
            seq: None,
            rev: None,
            time: Some(time),
            durable: Some("memory"),
            duplicate: false,
        };
        self.voice.acknowledge(ctx, asker, &ack);
        let direct = self.voice.encode(&direct);
        for conn in conns {
            // A connection that has ended has no use for it.
            let _ = ctx.send(conn, Outgoing::text(direct));
        }
        Ok(())
    }
}
