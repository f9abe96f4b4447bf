//! What anyone who runs the chat may do besides what clients do.

use crate::app::{ConnId, Context, MAX_CLOSE_REASON};
use crate::chat::commands::elsewhere;
use crate::chat::ids::SessionId;
use crate::chat::neighbours::Deed;
use crate::chat::people::names;
use crate::chat::wire::reply_to::ReplyTo;
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

    /// Tells every connection of `chat.v1.json`, or those in one of these open rooms. The answer, `{"receivers":N}`, is among
    /// those of [`Self::take_answered`].
    ///
    /// # Errors
    /// The text is empty or too long, or a room is not open.
    pub fn broadcast<C: Context>(
        &mut self,
        ctx: &mut C,
        request: u64,
        rooms: Option<&[String]>,
        text: &str,
    ) -> Result<(), Refusal> {
        if is_blank(text) {
            return Err(Refusal::field(Code::BadField, "text", "`text` is empty"));
        }
        if text.len() > self.options.limits.max_text {
            return Err(Refusal::field(Code::TooLong, "text", "`text` is too long"));
        }
        let find = |raw: &String| elsewhere::open_room(self, raw);
        let rooms = rooms.map(|rooms| rooms.iter().map(find).collect()).transpose()?;
        let deed = Deed::Broadcast { rooms, text: text.into(), time: ctx.now().unix_ms };
        elsewhere::spread(self, ctx, deed, ReplyTo::Request(request));
        Ok(())
    }

    /// Ends all connections of a user, who is told why. The answer, `{"disconnected":N}`, is among those of
    /// [`Self::take_answered`].
    ///
    /// # Errors
    /// It is no name of a user, or the reason is too long.
    pub fn disconnect_user<C: Context>(
        &mut self,
        ctx: &mut C,
        request: u64,
        user: &str,
        reason: &str,
    ) -> Result<(), Refusal> {
        check_reason(reason)?;
        let user = names::fold(&names::user(user, "user")?).into();
        let deed = Deed::DisconnectUser { user, reason: reason.into() };
        elsewhere::spread(self, ctx, deed, ReplyTo::Request(request));
        Ok(())
    }

    /// Ends the connection with this client id, which is told why. The answer, `{"disconnected":1}`, is among those of
    /// [`Self::take_answered`].
    ///
    /// # Errors
    /// The reason is too long.
    pub fn disconnect_client<C: Context>(
        &mut self,
        ctx: &mut C,
        request: u64,
        client: &str,
        reason: &str,
    ) -> Result<(), Refusal> {
        check_reason(reason)?;
        let deed = Deed::DisconnectClient { client: client.into(), reason: reason.into() };
        elsewhere::spread(self, ctx, deed, ReplyTo::Request(request));
        Ok(())
    }
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.len() > MAX_CLOSE_REASON {
        let message = format!("`reason` is longer than {MAX_CLOSE_REASON} bytes");
        return Err(Refusal::field(Code::TooLong, "reason", message));
    }
    Ok(())
}
