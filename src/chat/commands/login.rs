//! Who speaks: names taken, tokens checked, sessions ended.

use std::sync::Arc;

use crate::app::{ConnId, Context, Now};
use crate::chat::identity::{Claims, TokenError};
use crate::chat::ids::SessionId;
use crate::chat::people::names;
use crate::chat::people::session::Dialect;
use crate::chat::wire::notices::{Ending, Farewell, LimitsShown, Welcome};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal, timer};

impl Chat {
    pub(in crate::chat) fn hello<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        credentials: Credentials<'_>,
    ) {
        let Some(conn) = reply_to.conn() else { return };
        match self.try_hello(ctx, conn, credentials) {
            Ok(()) => self.welcome(ctx, reply_to),
            Err(refusal) => {
                self.responder.refuse(ctx, reply_to, &refusal);
                let is_nobody = self.people.session(conn).is_some_and(|session| session.user().is_none());
                let name =
                    credentials.user.filter(|_| is_nobody).and_then(|user| names::user(user, "user").ok());
                let ban = name.and_then(|name| self.people.ban_of(&names::fold(&name), ctx.now()));
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
        Credentials { user, token }: Credentials<'_>,
    ) -> Result<(), Refusal> {
        let Some(session) = self.people.session(conn) else { return Ok(()) };
        if session.user().is_some() {
            return Err(Refusal::field(Code::BadField, "type", "`hello` comes once, and first"));
        }
        let claims = match token {
            Some(token) => {
                let claims = self.check_token(token, ctx.now());
                Some(claims.map_err(|why| Refusal::field(Code::Forbidden, "token", why.to_string()))?)
            }
            None => session.claims().cloned(),
        };
        match (claims, user) {
            (Some(claims), user) => {
                let own = names::fold(&claims.user).into_owned();
                if user.is_some_and(|user| names::fold(user) != own) {
                    return Err(Refusal::field(Code::Forbidden, "user", "the token is somebody else's"));
                }
                self.speak_verified(ctx, conn, Box::new(claims))
            }
            (None, Some(user)) => self.speak_unverified(ctx, conn, user),
            (None, None) => Err(Refusal::field(Code::BadField, "user", "`user` or `token` must be there")),
        }
    }

    /// What a token says.
    pub(in crate::chat) fn check_token(&self, token: &str, now: Now) -> Result<Claims, TokenError> {
        let Some(verifier) = &self.verifier else { return Err(TokenError::NotTaken) };
        verifier.verify(token, now.unix_ms / 1000)
    }

    /// A client that begins with another command than `hello` is a guest.
    pub(in crate::chat) fn be_guest<C: Context>(&mut self, ctx: &mut C, conn: ConnId) -> Result<(), Refusal> {
        let Some(session) = self.people.session(conn) else { return Ok(()) };
        if let Some(claims) = session.claims().cloned() {
            return self.speak_verified(ctx, conn, Box::new(claims));
        }
        let name = format!("guest-{}", session.client());
        self.speak_unverified(ctx, conn, &name)
    }

    fn speak_unverified<C: Context>(&mut self, ctx: &mut C, conn: ConnId, user: &str) -> Result<(), Refusal> {
        if !self.options.guests {
            return Err(Refusal::no_token());
        }
        let name = names::user(user, "user")?;
        let folded = names::fold(&name);
        self.check_name(&folded, ctx.now())?;
        self.people.speak_as(SessionId::of(conn), &name, &folded, None);
        Ok(())
    }

    /// Whether a guest may have this name now.
    pub(in crate::chat) fn check_name(&self, folded: &str, now: Now) -> Result<(), Refusal> {
        let person = self.people.holders().person(folded);
        if person.is_some_and(|person| self.people.find_verified(person).is_some()) {
            return Err(Refusal::field(Code::Forbidden, "user", "this name is taken by a verified user"));
        }
        match self.people.ban_of(folded, now) {
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
        let name = names::user(&claims.user, "token")?.into_owned();
        let folded: Arc<str> = names::fold(&name).as_ref().into();
        let person = self.hold_name(&folded, &claims.subject)?;
        let ban = self.people.ban_of(&person, ctx.now());
        if let Some(until) = ban.map(|ban| ban.until) {
            let refusal = Refusal::field(Code::Forbidden, "user", "banned");
            self.dismiss_banned(ctx, conn, until);
            return Err(refusal);
        }
        let now = ctx.now();
        let expires_ms = claims.expires_unix_s.saturating_mul(1000);
        if expires_ms <= now.unix_ms {
            self.dismiss(ctx, conn, Farewell::TokenExpired);
            return Err(Refusal::field(Code::Forbidden, "token", Farewell::TokenExpired.message()));
        }
        for other in self.people.guests_named(&person) {
            self.dismiss(ctx, other, Farewell::NameTaken);
        }
        self.people.speak_as(SessionId::of(conn), &name, &person, Some(claims));
        self.time_expiry(ctx);
        Ok(())
    }

    /// Returns a name to a person, or refuses it. On the disk before anything that is said under it. Returns what the person is
    /// known by.
    fn hold_name(&mut self, name: &Arc<str>, subject: &str) -> Result<Arc<str>, Refusal> {
        let claimed = self.people.holders_mut().claim(name, subject);
        let (person, holder) = claimed.map_err(|denied| denied.refusal())?;
        if let Some(holder) = holder.filter(|_| self.pending.is_on_disk()) {
            self.pending
                .hold_name(holder.clone())
                .inspect_err(|_| self.people.holders_mut().forget(&holder))?;
        }
        Ok(person)
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
            self.dismiss(ctx, conn, Farewell::TokenExpired);
        }
        self.time_expiry(ctx);
    }

    fn welcome<C: Context>(&mut self, ctx: &mut C, reply_to: &ReplyTo) {
        let Some(conn) = reply_to.conn() else { return };
        let Self { people, responder, options, .. } = self;
        let Some(member) = people.member(SessionId::of(conn)) else { return };
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
    pub(in crate::chat) fn dismiss<C: Context>(&mut self, ctx: &mut C, conn: ConnId, reason: Farewell) {
        self.dismiss_with(ctx, conn, Ending { reason, message: reason.message(), retry_after_ms: None });
    }

    /// The same, with what else is told.
    pub(in crate::chat) fn dismiss_with<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        ending: Ending<'_>,
    ) {
        let Ending { reason, message, .. } = ending;
        let Some(session) = self.people.session(conn) else { return };
        match session.dialect() {
            Dialect::V1 => self.responder.bye(ctx, conn, &ending),
            Dialect::Tutorial => self.responder.farewell(ctx, conn, message),
        }
        self.detach(ctx, conn);
        ctx.close(conn, reason.code(), message);
    }

    /// Takes a session out of all that it is in.
    pub(in crate::chat) fn detach<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        let Some(rooms) = self.people.end_session(conn) else { return };
        for membership in rooms {
            self.take_out(ctx, conn, &membership);
        }
        self.people.speak_for_nobody(SessionId::of(conn), ctx.now().monotonic_ms);
        self.drop_paced(ctx, conn);
    }
}

/// What a `hello` says of who speaks.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Credentials<'a> {
    pub(in crate::chat) user: Option<&'a str>,
    pub(in crate::chat) token: Option<&'a str>,
}
