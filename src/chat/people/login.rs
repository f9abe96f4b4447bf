//! Who speaks: names taken, tokens checked, sessions ended.

use std::sync::Arc;

use crate::app::{CloseCode, ConnId, Context, Now};
use crate::chat::identity::Claims;
use crate::chat::people::session::{Dialect, Membership};
use crate::chat::wire::command::Id;
use crate::chat::wire::notices::{Farewell, LimitsShown, Welcome};
use crate::chat::wire::responder::ReplyTo;
use crate::chat::{Chat, Code, NAME_TAKEN, Refusal, TOKEN_EXPIRED, timer};

impl Chat {
    pub(in crate::chat) fn hello<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        id: Id<'static>,
        user: Option<&str>,
        token: Option<&str>,
    ) {
        let reply_to = ReplyTo::Connection(conn, id);
        match self.try_hello(ctx, conn, user, token) {
            Ok(()) => self.welcome(ctx, &reply_to),
            Err(refusal) => {
                self.responder.refuse(ctx, &reply_to, &refusal);
                let is_nobody = self.people.session(conn).is_some_and(|session| session.user.is_none());
                let name = user
                    .filter(|_| is_nobody)
                    .and_then(|user| crate::chat::people::names::user(user, "user").ok());
                let ban =
                    name.and_then(|name| self.ban_of(&crate::chat::people::names::fold(&name), ctx.now()));
                if let Some(until) = ban.map(|ban| ban.until) {
                    self.dismiss_banned(ctx, conn, until);
                }
            }
        }
    }

    fn try_hello<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        user: Option<&str>,
        token: Option<&str>,
    ) -> Result<(), Refusal> {
        let Some(session) = self.people.session(conn) else { return Ok(()) };
        if session.user.is_some() {
            return Err(Refusal::field(Code::BadField, "type", "`hello` comes once, and first"));
        }
        let claims = match token {
            Some(token) => {
                let claims = self.check_token(token, ctx.now());
                Some(Box::new(claims.map_err(|why| Refusal::field(Code::Forbidden, "token", why))?))
            }
            None => session.claims.clone(),
        };
        match (claims, user) {
            (Some(claims), user) => {
                let own = crate::chat::people::names::fold(&claims.user).into_owned();
                if user.is_some_and(|user| crate::chat::people::names::fold(user) != own) {
                    return Err(Refusal::field(Code::Forbidden, "user", "the token is somebody else's"));
                }
                self.speak_verified(ctx, conn, claims)
            }
            (None, Some(user)) => self.speak_unverified(ctx, conn, user),
            (None, None) => Err(Refusal::field(Code::BadField, "user", "`user` or `token` must be there")),
        }
    }

    /// What a token says.
    pub(in crate::chat) fn check_token(&self, token: &str, now: Now) -> Result<Claims, String> {
        let Some(verifier) = &self.verifier else { return Err("this server takes no tokens".to_owned()) };
        verifier.verify(token, now.unix_ms / 1000)
    }

    /// Whoever begins with another command than `hello`.
    pub(in crate::chat) fn be_guest<C: Context>(&mut self, ctx: &mut C, conn: ConnId) -> Result<(), Refusal> {
        let Some(session) = self.people.session(conn) else { return Ok(()) };
        if let Some(claims) = session.claims.clone() {
            return self.speak_verified(ctx, conn, claims);
        }
        let name = format!("guest-{}", session.client);
        self.speak_unverified(ctx, conn, &name)
    }

    fn speak_unverified<C: Context>(&mut self, ctx: &mut C, conn: ConnId, user: &str) -> Result<(), Refusal> {
        if !self.options.guests {
            return Err(Refusal::no_token());
        }
        let name = crate::chat::people::names::user(user, "user")?;
        let folded = crate::chat::people::names::fold(&name);
        self.check_name(&folded, ctx.now())?;
        self.people.speak_as(conn.index, &name, &folded, None);
        Ok(())
    }

    /// Whether a guest may have this name now.
    pub(in crate::chat) fn check_name(&self, folded: &str, now: Now) -> Result<(), Refusal> {
        let person = self.holders.person(folded);
        if person.is_some_and(|person| self.people.find_verified(person).is_some()) {
            return Err(Refusal::field(Code::Forbidden, "user", "this name is taken by a verified user"));
        }
        match self.ban_of(folded, now) {
            Some(ban) => Err(Refusal::field(Code::Forbidden, "user", format!("banned: {}", ban.reason))),
            None => Ok(()),
        }
    }

    pub(in crate::chat) fn speak_verified<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        claims: Box<Claims>,
    ) -> Result<(), Refusal> {
        let name = crate::chat::people::names::user(&claims.user, "token")?.into_owned();
        let folded: Arc<str> = crate::chat::people::names::fold(&name).as_ref().into();
        let person = self.hold_name(&folded, &claims.subject)?;
        let ban = self.ban_of(&person, ctx.now());
        if let Some(until) = ban.map(|ban| ban.until) {
            let refusal = Refusal::field(Code::Forbidden, "user", "banned");
            self.dismiss_banned(ctx, conn, until);
            return Err(refusal);
        }
        let now = ctx.now();
        let expires_ms = claims.expires_unix_s.saturating_mul(1000);
        if expires_ms <= now.unix_ms {
            self.dismiss_expired(ctx, conn);
            return Err(Refusal::field(Code::Forbidden, "token", TOKEN_EXPIRED));
        }
        for other in self.guests_named(&person) {
            self.dismiss(ctx, other, Farewell::NameTaken, NAME_TAKEN, CloseCode(4001));
        }
        self.people.speak_as(conn.index, &name, &person, Some(claims));
        self.people.lookalikes.vouch(&name);
        self.time_expiry(ctx);
        Ok(())
    }

    /// The connections of guests who use one of a person's names.
    fn guests_named(&self, person: &str) -> Vec<ConnId> {
        let users = self.holders.names_of(person).filter_map(|name| self.people.find(name));
        let guests = users.filter(|user| self.people.user(*user).is_some_and(|user| !user.is_verified));
        guests.flat_map(|user| self.people.conns_of(Some(user))).collect()
    }

    /// Sees to it that a timer comes when the first token expires: one timer, however many tokens there are.
    fn time_expiry<C: Context>(&mut self, ctx: &mut C) {
        let Some(next) = self.people.first_expiry() else { return };
        let now = ctx.now();
        // A token that should have ended waits for the next turn.
        let wait_ms = next.saturating_sub(now.unix_ms).max(1);
        let at = now.monotonic_ms.saturating_add(wait_ms);
        if self.expiry_timer.is_none_or(|timed| at < timed) {
            self.expiry_timer = Some(at);
            ctx.set_timer(at, timer::EXPIRY);
        }
    }

    /// Ends the sessions of tokens that have expired, a bounded number in a turn. Nobody whose token has expired may do
    /// anything meanwhile ([`Chat::admit`]).
    pub(in crate::chat) fn expire<C: Context>(&mut self, ctx: &mut C) {
        let now = ctx.now();
        // A timer that an earlier one has overtaken still comes, and changes nothing.
        self.expiry_timer.take_if(|timed| *timed <= now.monotonic_ms);
        for _ in 0..self.options.limits.turn_expiries {
            let Some(conn) = self.people.expired(now.unix_ms) else { break };
            self.dismiss_expired(ctx, conn);
        }
        self.time_expiry(ctx);
    }

    pub(in crate::chat) fn dismiss_expired<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        self.dismiss(ctx, conn, Farewell::TokenExpired, TOKEN_EXPIRED, CloseCode(4003));
    }

    fn welcome<C: Context>(&mut self, ctx: &mut C, reply_to: &ReplyTo) {
        let Some(conn) = reply_to.conn() else { return };
        let Self { people, responder, options, .. } = self;
        let Some(member) = people.member(conn.index) else { return };
        let welcome = Welcome {
            id: reply_to.id(),
            client: member.client,
            user: member.user,
            verified: member.verified,
            heartbeat_ms: options.heartbeat_ms,
            limits: LimitsShown(&options.limits),
        };
        responder.reply(ctx, reply_to, &welcome);
    }

    /// Ends a session: a `bye`, then the closing handshake. It is in no room and holds no name from now on.
    pub(in crate::chat) fn dismiss<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        reason: Farewell,
        message: &str,
        code: CloseCode,
    ) {
        self.dismiss_until(ctx, conn, (reason, message, code), None);
    }

    /// The same; with the milliseconds after which it may come back.
    pub(in crate::chat) fn dismiss_until<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        (reason, message, code): (Farewell, &str, CloseCode),
        retry_after_ms: Option<u64>,
    ) {
        let Some(session) = self.people.session(conn) else { return };
        match session.dialect {
            Dialect::V1 => self.responder.bye(ctx, conn, reason, message, retry_after_ms),
            Dialect::Tutorial => self.responder.farewell(ctx, conn, message),
        }
        self.detach(ctx, conn);
        ctx.close(conn, code, message);
    }

    /// Takes a session out of all that it is in.
    pub(in crate::chat) fn detach<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        let Some(session) = self.people.session(conn) else { return };
        let rooms = std::mem::take(&mut session.rooms);
        let paced = session.paced.take();
        self.waiting -= session
            .joining
            .iter()
            .flat_map(|list| list.iter())
            .map(|joining| joining.behind.len())
            .sum::<usize>();
        for membership in rooms {
            self.take_out(ctx, conn, &membership);
        }
        self.people.fall_silent(conn.index, ctx.now().monotonic_ms);
        if let Some(paced) = paced {
            self.drop_paced(ctx, *paced);
        }
    }

    /// Takes a session out of a room; it does not count it among its own any more.
    pub(in crate::chat) fn take_out<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        membership: &Membership,
    ) {
        let room = membership.room;
        self.forget_member(conn.index, membership);
        if let Some(topic) = self.rooms[room].topic {
            ctx.unsubscribe(conn, topic);
        }
        self.rest_room(ctx, room);
    }
}
