//! Kicks and bans.

use std::sync::Arc;

use crate::app::{ConnId, Context};
use crate::chat::commands::call::Call;
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::people::names;
use crate::chat::wire::command::NUMBER_END;
use crate::chat::wire::notices::{Ack, Ending, Farewell, Kicked};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{Ban, BanChange};

impl Chat {
    /// Ends a banned session, and tells it when the ban ends, if it does.
    pub(in crate::chat) fn dismiss_banned<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        until: Option<u64>,
    ) {
        let reason = Farewell::Banned;
        let retry_after_ms = until.map(|until| until.saturating_sub(ctx.now().unix_ms));
        self.dismiss_with(ctx, conn, Ending { reason, message: reason.message(), retry_after_ms });
    }

    pub(in crate::chat) fn kick<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        user: &str,
        reason: Option<&str>,
    ) -> Result<(), Refusal> {
        let Call { ctx, reply_to, .. } = call;
        let name = Arc::clone(self.rooms[room].name());
        let user = names::user(user, "user")?;
        let mut conns = self.people.conns_of(self.people.find_named(&names::fold(&user)));
        let is_in =
            |conn: &ConnId| self.people.look(SessionId::of(*conn)).is_some_and(|session| session.is_in(room));
        conns.retain(is_in);
        if conns.is_empty() {
            return Err(Refusal::field(Code::NotFound, "user", "there is no such user in the room"));
        }
        // The room lives until the answer is written.
        let hold = self.rooms.hold(room);
        for conn in conns {
            self.expel(*ctx, conn, room);
            self.responder.send(*ctx, conn, &Kicked { room: &name, reason: reason.unwrap_or_default() });
        }
        self.responder.acknowledge(*ctx, reply_to, &Ack::new(reply_to.id(), Some(&name)));
        self.rooms.release(hold);
        Ok(())
    }

    pub(in crate::chat) fn ban<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        user: &str,
        seconds: Option<u64>,
        reason: Option<&str>,
    ) -> Result<(), Refusal> {
        self.require_everywhere(call)?;
        self.check_writable()?;
        let now = call.ctx.now();
        let user: Arc<str> = names::fold(&names::user(user, "user")?).as_ref().into();
        if !self.people.bans_mut().has_place(self.options.limits.max_bans, now.unix_ms) {
            return Err(Refusal::new(Code::Unavailable, "as many users as may be are banned already"));
        }
        let until = seconds.map(|seconds| until(now.unix_ms, seconds)).transpose()?;
        // A person has one ban, whatever they were called when it began.
        let user = self.people.ban_of(&user, now).map_or(user, |ban| Arc::clone(&ban.user));
        let ban = Ban { user, until, reason: reason.unwrap_or_default().into() };
        self.submit_ban(call.ctx, BanChange::Set(ban), call.reply_to);
        Ok(())
    }

    pub(in crate::chat) fn unban<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        user: &str,
    ) -> Result<(), Refusal> {
        self.require_everywhere(call)?;
        self.check_writable()?;
        let user = names::user(user, "user")?;
        let folded = names::fold(&user);
        let (people, now) = (&self.people, call.ctx.now().unix_ms);
        let banned =
            people.holders().names_of(&folded).filter(|name| people.bans().find(name, now).is_some());
        let mut banned: Vec<Arc<str>> = banned.map(Into::into).collect();
        let Some(last) = banned.pop() else {
            return Err(Refusal::field(Code::NotFound, "user", "this user is not banned"));
        };
        // Several names may have been banned before they were one person's.
        for name in banned {
            self.submit_ban(call.ctx, BanChange::Lift(name), &ReplyTo::Nobody);
        }
        self.submit_ban(call.ctx, BanChange::Lift(last), call.reply_to);
        Ok(())
    }

    fn require_everywhere<C>(&self, call: &Call<'_, C>) -> Result<(), Refusal> {
        if self.people.moderates_all(call.actor) {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, "this takes a moderator of every room"))
    }

    fn submit_ban<C: Context>(&mut self, ctx: &mut C, change: BanChange, reply_to: &ReplyTo) {
        if self.pending.is_on_disk() {
            self.pending.add_ban(change, reply_to.clone());
        } else {
            self.ban_committed(ctx, change, reply_to);
        }
    }

    /// A change of the bans is as durable as promised.
    pub(in crate::chat) fn ban_committed<C: Context>(
        &mut self,
        ctx: &mut C,
        change: BanChange,
        reply_to: &ReplyTo,
    ) {
        let ack = Ack { durable: Some(self.pending.level()), ..Ack::new(reply_to.id(), None) };
        self.responder.acknowledge(ctx, reply_to, &ack);
        match change {
            BanChange::Set(ban) => {
                let (user, until) = (Arc::clone(&ban.user), ban.until);
                self.people.bans_mut().set(ban);
                for conn in self.people.conns_named(&user) {
                    self.dismiss_banned(ctx, conn, until);
                }
            }
            BanChange::Lift(user) => self.people.bans_mut().lift(&user),
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
