//! From a message to the command's own function: who may speak how often, and which room it is about.

mod answers;
pub(in crate::chat) mod call;
pub(in crate::chat) mod conversations;
pub(in crate::chat) mod direct;
mod events;
mod gate;
pub(in crate::chat) mod join;
pub(in crate::chat) mod login;
pub(in crate::chat) mod moderate;
pub(in crate::chat) mod pace;
pub(in crate::chat) mod post;
pub(in crate::chat) mod presence;
pub(in crate::chat) mod read_back;

use crate::app::{ConnId, Context};
use crate::chat::commands::call::Call;
use crate::chat::commands::direct::pair_room;
use crate::chat::commands::login::Credentials;
use crate::chat::commands::read_back::Range;
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::pending::queries::JoinRange;
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::people::session::Waiting;
use crate::chat::rooms::{Kind, Phase};
use crate::chat::wire::command::Command;
use crate::chat::wire::notices::{Farewell, Pong};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::Query;

impl Chat {
    /// A text message on a connection of `chat.v1.json`.
    pub(in crate::chat) fn command_came<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        payload: &mut [u8],
    ) {
        let mut parsed = self.parser.parse(payload, &self.options.limits);
        // Who speaks is known before their commands are counted.
        let is_new = self.people.session(conn).is_some_and(|session| session.user().is_none());
        if is_new
            && let Ok((id, command)) = &parsed
            && !matches!(command, Command::Hello { .. })
            && let Err(refusal) = self.be_guest(ctx, conn)
        {
            parsed = Err((id.clone(), refusal));
        }
        let is_post = parsed.as_ref().is_ok_and(|(_, command)| command.is_post());
        if let Err(wait_ms) = self.take_token(ctx, conn, is_post) {
            let id = match parsed {
                Ok((id, _)) | Err((id, _)) => id.into_owned(),
            };
            let refusal = Refusal::later(Code::RateLimited, wait_ms, "too fast; wait a moment");
            return self.refuse_fast(ctx, &ReplyTo::Connection(conn, id), &refusal);
        }
        match parsed {
            Err((id, refusal)) => {
                self.responder.refuse(ctx, &ReplyTo::Connection(conn, id.into_owned()), &refusal);
            }
            Ok((id, Command::Hello { user, token })) => {
                let credentials = Credentials { user: user.as_deref(), token: token.as_deref() };
                self.hello(ctx, &ReplyTo::Connection(conn, id.into_owned()), credentials);
            }
            Ok((id, command)) => {
                let reply_to = ReplyTo::Connection(conn, id.into_owned());
                if let Some(actor) = self.people.actor(SessionId::of(conn)) {
                    self.execute(&mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
                }
            }
        }
    }

    /// A token for a command, or the milliseconds until there is one.
    pub(in crate::chat) fn take_token<C: Context>(
        &mut self,
        ctx: &C,
        conn: ConnId,
        is_post: bool,
    ) -> Result<(), u64> {
        self.people.take_token(conn, is_post, &self.options.limits, ctx.now().monotonic_ms)
    }

    /// Tells somebody that they are too fast; anyone who goes on regardless is closed.
    pub(in crate::chat) fn refuse_fast<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        refusal: &Refusal,
    ) {
        let Some(conn) = reply_to.conn().filter(|conn| self.people.session(*conn).is_some()) else { return };
        if !self.people.may_refuse(conn, &self.options.limits, ctx.now().monotonic_ms) {
            self.counts.flooded += 1;
            return self.dismiss(ctx, conn, Farewell::Flooding);
        }
        self.responder.refuse(ctx, reply_to, refusal);
    }

    /// Does a command, now or when its room is there.
    pub(in crate::chat) fn execute<C: Context>(&mut self, call: &mut Call<'_, C>, command: Command<'_>) {
        if !self.must_pace(call, &command) {
            return self.execute_now(call, command);
        }
        if let Err(refusal) = self.pace_command(call, command) {
            self.responder.refuse(call.ctx, call.reply_to, &refusal);
        }
    }

    /// The same, whatever was done before in this turn.
    pub(in crate::chat) fn execute_now<C: Context>(&mut self, call: &mut Call<'_, C>, command: Command<'_>) {
        let done = self.admit(call).and_then(|is_there| match command.room() {
            _ if !is_there => Ok(()),
            Some(_) => self.execute_in_room(call, command),
            None => self.execute_anywhere(call, command),
        });
        if let Err(refusal) = done {
            self.responder.refuse(call.ctx, call.reply_to, &refusal);
        }
    }

    fn execute_anywhere<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        match command {
            Command::Direct { to, text, key } => self.direct(call, &to, &text, key.as_deref()),
            Command::Conversations { page, limit } => self.conversations(call, page.as_deref(), limit),
            Command::Ping => {
                self.responder.reply(call.ctx, call.reply_to, &Pong { id: call.reply_to.id() });
                Ok(())
            }
            Command::Ban { user, seconds, reason } => self.ban(call, &user, seconds, reason.as_deref()),
            Command::Unban { user } => self.unban(call, &user),
            _ => Err(Refusal::field(Code::BadField, "type", "`hello` comes once, and first")),
        }
    }

    fn execute_in_room<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        let room = self.room_of(call, &command)?;
        if self.must_wait(call, room) {
            let (reply_to, actor) = (call.reply_to.clone(), call.actor.clone());
            return self.wait(room, Waiting { reply_to, actor, command: command.into_owned() });
        }
        let done = self.execute_here(call, room, command);
        self.rest_room(call.ctx, room);
        done
    }

    fn execute_here<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        self.gate(call, room, &command)?;
        match command {
            Command::Join { since, history, .. } => self.join(call, room, JoinRange { since, history }),
            Command::Post { text, key, .. } => self.post(call, room, &text, key.as_deref()),
            command @ (Command::Edit { .. } | Command::Delete { .. } | Command::React { .. }) => {
                self.change(call, room, command)
            }
            Command::History { before, after, limit, .. } => {
                self.history(call, room, &Range { before, after }, limit)
            }
            Command::Search { query, limit, .. } => self.search(call, room, &query, limit),
            Command::Leave { .. } => self.leave(call, room),
            Command::Who { .. } => {
                self.who(call, room);
                Ok(())
            }
            Command::Typing { .. } => {
                self.typing(call, room);
                Ok(())
            }
            Command::Read { seq, .. } => {
                self.read(call.actor, room, seq);
                Ok(())
            }
            Command::Kick { user, reason, .. } => self.kick(call, room, &user, reason.as_deref()),
            _ => Err(Refusal::not_joined()),
        }
    }

    /// The room that a command is about, opened if need be.
    fn room_of<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        command: &Command<'_>,
    ) -> Result<RoomId, Refusal> {
        let raw = command.room().unwrap_or_default();
        if let Some(other) = raw.strip_prefix('@') {
            return self.pair_room_of(call, command, other);
        }
        // What members say is a name that is known already, as a rule.
        if let Some(room) = self.rooms.find(raw) {
            return Ok(room);
        }
        let name = names::room(raw)?;
        // A name in another normal form, such as an ideograph of compatibility, may begin with @ only now.
        if name.starts_with('@') {
            return Err(Refusal::field(Code::BadField, "room", "`room` begins with @"));
        }
        if let Some(room) = self.rooms.find(&name) {
            return Ok(room);
        }
        if matches!(command, Command::Join { .. }) {
            // No room is opened for somebody who may not enter it.
            self.people.require(call.actor, Right::Join, &name, "room")?;
        } else if call.actor.session.is_some() {
            return Err(Refusal::not_joined());
        }
        self.open_room(call.ctx, &name, Kind::Group)
    }

    /// `@name`: the conversation with that user, which can be read.
    fn pair_room_of<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        command: &Command<'_>,
        other: &str,
    ) -> Result<RoomId, Refusal> {
        if !matches!(command, Command::History { .. } | Command::Search { .. } | Command::Read { .. }) {
            return Err(Refusal::field(
                Code::BadField,
                "room",
                "a conversation of two can be read and searched; `direct` adds to it",
            ));
        }
        if !call.actor.is_verified {
            return Err(Refusal::field(Code::NotFound, "room", "conversations of guests are not kept"));
        }
        let other = names::user(other, "room")?;
        let other = self.people.holders().person_or(&names::fold(&other)).to_owned();
        self.people.require_pair(call.actor, Right::Join, &other, "room")?;
        self.open_pair(call.ctx, [&call.actor.person, &other])
    }

    /// The room of two users, in whatever order.
    pub(in crate::chat) fn open_pair<C: Context>(
        &mut self,
        ctx: &mut C,
        pair: [&str; 2],
    ) -> Result<RoomId, Refusal> {
        let name = pair_room(pair);
        if let Some(room) = self.rooms.find(&name) {
            return Ok(room);
        }
        let [a, b] = if pair[0] <= pair[1] { pair } else { [pair[1], pair[0]] };
        self.open_room(ctx, &name, Kind::Pair([a.into(), b.into()]))
    }

    fn open_room<C: Context>(&mut self, ctx: &mut C, name: &str, kind: Kind) -> Result<RoomId, Refusal> {
        if self.rooms.len() >= self.options.limits.max_rooms {
            let Some(idle) = self.rooms.longest_idle() else {
                let why = "the server has no place for another room";
                return Err(Refusal::field(Code::TooManyRooms, "room", why));
            };
            self.forget_room(ctx, idle);
        }
        let phase = if self.pending.is_on_disk() { Phase::Opening(Vec::new()) } else { Phase::Open };
        let has_topic = kind == Kind::Group;
        if self.pending.is_on_disk() {
            let limit = self.options.limits.opened_messages;
            self.pending.send(Query::Open { room: name.into(), recent: limit, changes: limit })?;
        }
        let room = self.rooms.insert(name, kind, phase);
        if has_topic {
            let topic = ctx.create_topic(self.topic_options(name));
            self.rooms.set_topic(room, topic);
        }
        Ok(room)
    }

    /// Whether a command has to wait for the room, or for a join before it.
    fn must_wait<C>(&self, call: &Call<'_, C>, room: RoomId) -> bool {
        let session = call.actor.session.and_then(|session| self.people.look(session));
        !self.rooms[room].is_open() || session.is_some_and(|session| session.is_joining(room))
    }

    pub(in crate::chat) fn wait(&mut self, room: RoomId, waiting: Waiting) -> Result<(), Refusal> {
        let session = waiting.actor.session;
        self.people.begin_waiting(session, &self.options.limits)?;
        if let Some(waiting) = self.rooms[room].wait(waiting)
            && let Some(session) = session.and_then(|session| self.people.at(session))
        {
            session.wait_behind(room, waiting);
        }
        Ok(())
    }
}
