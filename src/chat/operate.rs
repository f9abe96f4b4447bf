//! What anyone who runs the chat may do besides what clients do.

use crate::app::{ConnId, Context, MAX_CLOSE_REASON};
use crate::chat::commands::elsewhere;
use crate::chat::ids::SessionId;
use crate::chat::neighbours::{Deed, Neighbours};
use crate::chat::people::names;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Limits, Listing, Place, Refusal};
use crate::text::is_blank;

impl Chat {
    /// What it was told to bound.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Who speaks on a connection, or did until it was told to go.
    #[must_use]
    pub fn user(&self, conn: ConnId) -> Option<&str> {
        let session = self.people.look(SessionId::of(conn)).filter(|session| session.conn() == conn)?;
        let dismissed = || session.dismissal().and_then(|(user, _)| user);
        self.people.member(session.id()).map(|member| member.user).or_else(dismissed)
    }

    /// The id of a connection's client, as in the list of connections.
    #[must_use]
    pub fn client(&self, conn: ConnId) -> Option<&str> {
        let session = self.people.look(SessionId::of(conn)).filter(|session| session.conn() == conn)?;
        Some(session.client())
    }

    /// Why the chat has told a connection to go, as its client was told.
    #[must_use]
    pub fn dismissal(&self, conn: ConnId) -> Option<&str> {
        let session = self.people.look(SessionId::of(conn)).filter(|session| session.conn() == conn)?;
        session.dismissal().map(|(_, why)| why)
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

    /// Lists connections, users or members from a place on: at most `limit`, and no more than
    /// [`MAX_CONNECTIONS_LISTED`](super::MAX_CONNECTIONS_LISTED). The answer, which says where the list goes on (`next`), is
    /// among those of [`Self::take_answered`].
    ///
    /// # Errors
    /// It is no name of a room, or no place of a list.
    pub fn list<C: Context>(
        &mut self,
        ctx: &mut C,
        request: u64,
        (listing, place): (Listing, Place),
        limit: usize,
    ) -> Result<(), Refusal> {
        let listing = match listing {
            Listing::Members(room) => Listing::Members(names::room(&room)?.into()),
            other => other,
        };
        if place.server.is_none() && place.at >= self.neighbours.as_ref().map_or(1, Neighbours::loops) {
            return Err(Refusal::field(Code::BadField, "after", "`after` is no `next` of a page"));
        }
        elsewhere::list(self, ctx, (listing, place), limit, ReplyTo::Request(request));
        Ok(())
    }

    /// The connections of a user. The answer, `{"user":…,"verified":…,"connections":[…]}`, is among those of
    /// [`Self::take_answered`].
    ///
    /// # Errors
    /// It is no name of a user.
    pub fn connections_of<C: Context>(
        &mut self,
        ctx: &mut C,
        request: u64,
        user: &str,
    ) -> Result<(), Refusal> {
        let user = names::fold(&names::user(user, "user")?).into();
        elsewhere::spread(self, ctx, Deed::Connections { user }, ReplyTo::Request(request));
        Ok(())
    }

    /// The figures of all loops. The answer, an object of numbers, is among those of [`Self::take_answered`].
    pub fn tell_figures<C: Context>(&mut self, ctx: &mut C, request: u64) {
        elsewhere::spread(self, ctx, Deed::Figures, ReplyTo::Request(request));
    }
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.len() > MAX_CLOSE_REASON {
        let message = format!("`reason` is longer than {MAX_CLOSE_REASON} bytes");
        return Err(Refusal::field(Code::TooLong, "reason", message));
    }
    Ok(())
}
