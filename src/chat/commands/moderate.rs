//! Kicks and bans.

use std::sync::Arc;

use crate::app::{CloseCode, ConnId, Context, Now};
use crate::chat::identity::Claims;
use crate::chat::people::actor::Actor;
use crate::chat::people::names;
use crate::chat::wire::command::NUMBER_END;
use crate::chat::wire::notices::{Ack, Farewell, Kicked};
use crate::chat::wire::responder::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{Ban, BanChange};

/// What somebody who is banned is closed with.
const BANNED: CloseCode = CloseCode(4002);
/// What somebody whom an operator disconnects is closed with.
pub(in crate::chat) const DISCONNECTED: CloseCode = CloseCode(4004);

impl Chat {
    /// The ban that is in force against a name. A ban is the person's: it holds under every name of theirs.
    pub(in crate::chat) fn ban_of(&self, folded: &str, now: Now) -> Option<&Ban> {
        self.holders.names_of(folded).find_map(|name| self.bans.find(name, now.unix_ms))
    }

    /// The ban that is in force against whoever has a token.
    pub(in crate::chat) fn ban_of_claims(&self, claims: &Claims, now: Now) -> Option<&Ban> {
        let name = names::fold(&claims.user);
        let person = self.holders.person_with(&claims.subject, &name).map_or(&*name, |person| person);
        self.ban_of(person, now).or_else(|| self.ban_of(&name, now))
    }

    /// Ends a banned session, and tells it when the ban ends, if it does.
    pub(in crate::chat) fn dismiss_banned<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        until: Option<u64>,
    ) {
        let wait = until.map(|until| until.saturating_sub(ctx.now().unix_ms));
        self.dismiss_until(ctx, conn, (Farewell::Banned, "banned", BANNED), wait);
    }

    pub(in crate::chat) fn kick<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: u32,
        user: &str,
        reason: Option<&str>,
    ) -> Result<(), Refusal> {
        let name = Arc::clone(&self.rooms[room].name);
        let user = names::user(user, "user")?;
        let conns = self.people.conns_of(self.people.find_named(&names::fold(&user), &self.holders));
        let there = |people: &crate::chat::people::People, conn: &ConnId| {
            people.look(conn.index).is_some_and(|session| session.is_in(room))
        };
        let conns: Vec<ConnId> = conns.into_iter().filter(|conn| there(&self.people, conn)).collect();
        if conns.is_empty() {
            return Err(Refusal::field(Code::NotFound, "user", "there is no such user in the room"));
        }
        // The room lives until the answer is written.
        self.rooms[room].asks += 1;
        for conn in conns {
            self.expel(ctx, conn, conn.index, room);
            self.responder.send(ctx, conn, &Kicked { room: &name, reason: reason.unwrap_or_default() });
        }
        self.rooms[room].asks -= 1;
        let ack = Ack {
            id: reply_to.id(),
            room: Some(&name),
            seq: None,
            rev: None,
            time: None,
            durable: None,
            duplicate: false,
        };
        self.responder.acknowledge(ctx, reply_to, &ack);
        Ok(())
    }

    pub(in crate::chat) fn ban<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        user: &str,
        seconds: Option<u64>,
        reason: Option<&str>,
    ) -> Result<(), Refusal> {
        self.require_everywhere(actor)?;
        self.check_writable()?;
        let now = ctx.now().unix_ms;
        let user: Arc<str> = names::fold(&names::user(user, "user")?).as_ref().into();
        if !self.bans.has_place(self.options.limits.max_bans, now) {
            return Err(Refusal::new(Code::Unavailable, "as many users as may be are banned already"));
        }
        let until = seconds.map(|seconds| until(now, seconds)).transpose()?;
        // A person has one ban, whatever they were called when it began.
        let user = self.ban_of(&user, ctx.now()).map_or(user, |ban| Arc::clone(&ban.user));
        let ban = Ban { user, until, reason: reason.unwrap_or_default().into() };
        self.submit_ban(ctx, BanChange::Set(ban), reply_to);
        Ok(())
    }

    pub(in crate::chat) fn unban<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        user: &str,
    ) -> Result<(), Refusal> {
        self.require_everywhere(actor)?;
        self.check_writable()?;
        let user = names::user(user, "user")?;
        let folded = names::fold(&user);
        let banned = |name: &&str| self.bans.find(name, ctx.now().unix_ms).is_some();
        let mut banned: Vec<Arc<str>> =
            self.holders.names_of(&folded).filter(banned).map(Into::into).collect();
        let Some(last) = banned.pop() else {
            return Err(Refusal::field(Code::NotFound, "user", "this user is not banned"));
        };
        // Several names may have been banned before they were one person's.
        for name in banned {
            self.submit_ban(ctx, BanChange::Lift(name), &ReplyTo::Nobody);
        }
        self.submit_ban(ctx, BanChange::Lift(last), reply_to);
        Ok(())
    }

    fn require_everywhere(&self, actor: &Actor) -> Result<(), Refusal> {
        if self.moderates_all(actor) {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, "this takes a moderator of every room"))
    }

    fn submit_ban<C: Context>(&mut self, ctx: &mut C, change: BanChange, reply_to: &ReplyTo) {
        if self.pending.is_on_disk() {
            self.pending.add_ban(change, reply_to.clone());
        } else {
            self.ban_settled(ctx, change, reply_to);
        }
    }

    /// A change of the bans is as durable as promised.
    pub(in crate::chat) fn ban_settled<C: Context>(
        &mut self,
        ctx: &mut C,
        change: BanChange,
        reply_to: &ReplyTo,
    ) {
        let ack = Ack {
            id: reply_to.id(),
            room: None,
            seq: None,
            rev: None,
            time: None,
            durable: Some(self.pending.level()),
            duplicate: false,
        };
        self.responder.acknowledge(ctx, reply_to, &ack);
        match change {
            BanChange::Set(ban) => {
                let (user, until) = (Arc::clone(&ban.user), ban.until);
                self.bans.set(ban);
                let people = &self.people;
                let users = self.holders.names_of(&user).map(|name| people.find_named(name, &self.holders));
                let guests = self.holders.names_of(&user).map(|name| people.find(name));
                let conns: Vec<ConnId> = users.chain(guests).flat_map(|user| people.conns_of(user)).collect();
                for conn in conns {
                    self.dismiss_banned(ctx, conn, until);
                }
            }
            BanChange::Lift(user) => {
                self.bans.lift(&user);
            }
        }
    }
}

/// When a ban ends. Times are numbers that every client can hold.
fn until(now: u64, seconds: u64) -> Result<u64, Refusal> {
    let until = seconds.checked_mul(1000).and_then(|ms| now.checked_add(ms));
    until.filter(|until| *until < NUMBER_END).ok_or_else(|| {
        Refusal::field(
            Code::BadField,
            "seconds",
            "`seconds` leads beyond the year 287396; leave it out for good",
        )
    })
}
