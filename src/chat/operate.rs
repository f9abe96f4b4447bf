//! What anyone who runs the chat may do besides what clients do.

use crate::app::{ConnId, Context, MAX_CLOSE_REASON, Outgoing};
use crate::chat::commands::ending;
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::people::names;
use crate::chat::people::session::{Dialect, Session};
use crate::chat::wire::notices::{Broadcast, Ending, Farewell};
use crate::chat::{Chat, Code, Limits, Refusal};
use crate::text::is_blank;

impl Chat {
    /// What it was told to bound.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Who speaks on a connection.
    #[must_use]
    pub fn user(&self, conn: ConnId) -> Option<&str> {
        let session = SessionId::of(conn);
        self.people.look(session).filter(|session| session.conn() == conn)?;
        self.people.member(session).map(|member| member.user)
    }

    /// Tells every connection of `chat.v1.json`, or those in one of these open rooms; returns their number.
    ///
    /// # Errors
    /// The text is empty or too long, or a room is not open.
    pub fn broadcast<C: Context>(
        &mut self,
        ctx: &mut C,
        rooms: Option<&[String]>,
        text: &str,
    ) -> Result<usize, Refusal> {
        if is_blank(text) {
            return Err(Refusal::field(Code::BadField, "text", "`text` is empty"));
        }
        if text.len() > self.options.limits.max_text {
            return Err(Refusal::field(Code::TooLong, "text", "`text` is too long"));
        }
        let wanted = rooms.map(|rooms| self.open_rooms(rooms)).transpose()?;
        let Self { people, responder, options, .. } = self;
        let notice = responder.encode(&Broadcast { text, time: ctx.now().unix_ms });
        let mut told = 0;
        // Where a token is asked for, anyone who has shown none is told nothing.
        let is_known = |session: &&Session| session.user().is_some() || options.guests;
        for session in people.iter().filter(|session| session.dialect() == Dialect::V1).filter(is_known) {
            if wanted.as_ref().is_none_or(|rooms| rooms.iter().any(|room| session.is_in(*room))) {
                told += usize::from(ctx.send(session.conn(), Outgoing::text(notice)).is_ok());
            }
        }
        Ok(told)
    }

    fn open_rooms(&self, names: &[String]) -> Result<Vec<RoomId>, Refusal> {
        let find = |raw: &String| {
            let found = self.rooms.find(&names::room(raw)?);
            found.ok_or_else(|| Refusal::field(Code::NotFound, "rooms", "there is no such room"))
        };
        names.iter().map(find).collect()
    }

    /// Ends all connections of a user, who is told why; returns their number.
    ///
    /// # Errors
    /// It is no name of a user, or the reason is too long.
    pub fn disconnect_user<C: Context>(
        &mut self,
        ctx: &mut C,
        user: &str,
        reason: &str,
    ) -> Result<usize, Refusal> {
        check_reason(reason)?;
        let name = names::user(user, "user")?;
        let conns = self.people.conns_of(self.people.find_named(&names::fold(&name)));
        for conn in &conns {
            ending::dismiss_with(self, ctx, *conn, disconnected(reason));
        }
        Ok(conns.len())
    }

    /// Ends the connection with this client id, which is told why; whether there is one.
    ///
    /// # Errors
    /// The reason is too long.
    pub fn disconnect_client<C: Context>(
        &mut self,
        ctx: &mut C,
        client: &str,
        reason: &str,
    ) -> Result<bool, Refusal> {
        check_reason(reason)?;
        let found = self.people.iter().find(|session| **session.client() == *client).map(Session::conn);
        if let Some(conn) = found {
            ending::dismiss_with(self, ctx, conn, disconnected(reason));
        }
        Ok(found.is_some())
    }
}

/// How a session ends that an operator ends.
fn disconnected(message: &str) -> Ending<'_> {
    Ending { reason: Farewell::Disconnected, message, retry_after_ms: None }
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.len() > MAX_CLOSE_REASON {
        let message = format!("`reason` is longer than {MAX_CLOSE_REASON} bytes");
        return Err(Refusal::field(Code::TooLong, "reason", message));
    }
    Ok(())
}
