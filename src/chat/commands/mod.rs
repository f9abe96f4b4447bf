//! From a message to the command's own function: who may speak how often, and which room it is about.

pub(in crate::chat) mod conversations;
pub(in crate::chat) mod direct;
pub(in crate::chat) mod join;
pub(in crate::chat) mod moderate;
pub(in crate::chat) mod pace;
pub(in crate::chat) mod post;
pub(in crate::chat) mod presence;
pub(in crate::chat) mod read_back;

use crate::app::{CloseCode, ConnId, Context};
use crate::chat::commands::direct::pair_room;
use crate::chat::commands::read_back::Range;
use crate::chat::people::actor::Actor;
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::people::session::{Joining, Waiting};
use crate::chat::rooms::{Kind, Phase};
use crate::chat::wire::command::{Command, Id};
use crate::chat::wire::notices::{Farewell, Pong};
use crate::chat::wire::responder::ReplyTo;
use crate::chat::{Chat, Code, FLOODED, Refusal};
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
        // Whoever speaks is known before it is counted how often they do.
        let is_new = self.people.session(conn).is_some_and(|session| session.user.is_none());
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
                self.hello(ctx, conn, id.into_owned(), user.as_deref(), token.as_deref());
            }
            Ok((id, command)) => self.begin(ctx, conn, id, command),
        }
    }

    /// A command other than `hello`.
    fn begin<C: Context>(&mut self, ctx: &mut C, conn: ConnId, id: Id<'_>, command: Command<'_>) {
        let reply_to = ReplyTo::Connection(conn, id.into_owned());
        if let Some(actor) = self.people.session(conn).map(|session| session.conn.index)
            && let Some(actor) = self.people.actor(actor)
        {
            self.execute(ctx, &reply_to, &actor, command);
        }
    }

    /// A token for a command, or the milliseconds until there is one.
    pub(in crate::chat) fn take_token<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        is_post: bool,
    ) -> Result<(), u64> {
        let now = ctx.now().monotonic_ms;
        let limits = &self.options.limits;
        let Some(session) = self.people.session(conn) else { return Err(0) };
        if !is_post {
            let wait = session.commands.wait_ms(limits.commands, now);
            if wait == 0 {
                session.commands.take(limits.commands, now);
                return Ok(());
            }
            return Err(wait);
        }
        let (user, address) = (session.user, session.address);
        let mut wait = session.posts.wait_ms(limits.posts, now);
        if let Some(user) = user.and_then(|user| self.people.user_mut(user)) {
            wait = wait.max(user.posts.wait_ms(limits.posts, now));
        }
        if let Some(posts) = self.people.address_posts(address) {
            wait = wait.max(posts.wait_ms(limits.address_posts, now));
        }
        if wait > 0 {
            return Err(wait);
        }
        if let Some(session) = self.people.session(conn) {
            session.posts.take(limits.posts, now);
        }
        if let Some(user) = user.and_then(|user| self.people.user_mut(user)) {
            user.posts.take(limits.posts, now);
        }
        if let Some(posts) = self.people.address_posts(address) {
            posts.take(limits.address_posts, now);
        }
        Ok(())
    }

    /// Tells somebody that they are too fast; whoever goes on regardless is closed.
    pub(in crate::chat) fn refuse_fast<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        refusal: &Refusal,
    ) {
        let now = ctx.now().monotonic_ms;
        let rate = self.options.limits.refusals;
        let Some(session) = reply_to.conn().and_then(|conn| self.people.session(conn)) else { return };
        let conn = session.conn;
        if session.refusals.wait_ms(rate, now) > 0 {
            self.flooded += 1;
            return self.dismiss(ctx, conn, Farewell::Flooding, FLOODED, CloseCode::POLICY_VIOLATION);
        }
        session.refusals.take(rate, now);
        self.responder.refuse(ctx, reply_to, refusal);
    }

    /// Does a command, now or when its room is there.
    pub(in crate::chat) fn execute<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        command: Command<'_>,
    ) {
        let done = if self.must_pace(ctx, reply_to, &command) {
            self.pace_command(reply_to, actor, command)
        } else {
            return self.execute_now(ctx, reply_to, actor, command);
        };
        if let Err(refusal) = done {
            self.responder.refuse(ctx, reply_to, &refusal);
        }
    }

    /// The same, whatever was done before in this turn.
    pub(in crate::chat) fn execute_now<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        command: Command<'_>,
    ) {
        let done = self.admit(ctx, actor).and_then(|is_there| match command.room() {
            _ if !is_there => Ok(()),
            Some(_) => self.execute_in_room(ctx, reply_to, actor, command),
            None => self.execute_anywhere(ctx, reply_to, actor, command),
        });
        if let Err(refusal) = done {
            self.responder.refuse(ctx, reply_to, &refusal);
        }
    }

    fn execute_anywhere<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        match command {
            Command::Direct { to, text, key } => {
                self.direct(ctx, reply_to, actor, &to, &text, key.as_deref())
            }
            Command::Conversations { page, limit } => {
                self.conversations(ctx, reply_to, actor, page.as_deref(), limit)
            }
            Command::Ping => {
                self.responder.reply(ctx, reply_to, &Pong { id: reply_to.id() });
                Ok(())
            }
            Command::Ban { user, seconds, reason } => {
                self.ban(ctx, reply_to, actor, &user, seconds, reason.as_deref())
            }
            Command::Unban { user } => self.unban(ctx, reply_to, actor, &user),
            _ => Err(Refusal::field(Code::BadField, "type", "`hello` comes once, and first")),
        }
    }

    fn execute_in_room<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        let room = self.room_of(ctx, actor, &command)?;
        if self.must_wait(actor, room) {
            let waiting =
                Waiting { reply_to: reply_to.clone(), actor: actor.clone(), command: command.into_owned() };
            return self.wait(room, waiting);
        }
        let done = self.execute_here(ctx, reply_to, actor, room, command);
        self.rest_room(ctx, room);
        done
    }

    fn execute_here<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        room: u32,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        self.gate(reply_to, actor, room, &command)?;
        match command {
            Command::Join { since, history, .. } => self.join(ctx, reply_to, actor, room, since, history),
            Command::Post { text, key, .. } => self.post(ctx, reply_to, actor, room, &text, key.as_deref()),
            command @ (Command::Edit { .. } | Command::Delete { .. } | Command::React { .. }) => {
                self.change(ctx, reply_to, actor, room, command)
            }
            Command::History { before, after, limit, .. } => {
                self.history(ctx, reply_to, room, &Range { before, after }, limit)
            }
            Command::Search { query, limit, .. } => self.search(ctx, reply_to, room, &query, limit),
            Command::Leave { .. } => self.leave(ctx, reply_to, actor, room),
            Command::Who { .. } => {
                self.who(ctx, reply_to, room);
                Ok(())
            }
            Command::Typing { .. } => {
                self.typing(ctx, actor, room);
                Ok(())
            }
            Command::Read { seq, .. } => {
                self.read(actor, room, seq);
                Ok(())
            }
            Command::Kick { user, reason, .. } => self.kick(ctx, reply_to, room, &user, reason.as_deref()),
            _ => Err(Refusal::not_joined()),
        }
    }

    /// The room that a command is about, opened if need be.
    fn room_of<C: Context>(
        &mut self,
        ctx: &mut C,
        actor: &Actor,
        command: &Command<'_>,
    ) -> Result<u32, Refusal> {
        let raw = command.room().unwrap_or_default();
        if let Some(other) = raw.strip_prefix('@') {
            return self.pair_room_of(ctx, actor, command, other);
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
            self.require(actor, Right::Join, &name, "room")?;
        } else if actor.session.is_some() {
            return Err(Refusal::not_joined());
        }
        self.open_room(ctx, &name, Kind::Group)
    }

    /// `@name`: the conversation with that user, which can be read.
    fn pair_room_of<C: Context>(
        &mut self,
        ctx: &mut C,
        actor: &Actor,
        command: &Command<'_>,
        other: &str,
    ) -> Result<u32, Refusal> {
        if !matches!(command, Command::History { .. } | Command::Search { .. } | Command::Read { .. }) {
            return Err(Refusal::field(
                Code::BadField,
                "room",
                "a conversation of two can be read and searched; `direct` adds to it",
            ));
        }
        if !actor.is_verified {
            return Err(Refusal::field(Code::NotFound, "room", "conversations of guests are not kept"));
        }
        let other = names::user(other, "room")?;
        let other = self.holders.person_or(&names::fold(&other)).to_owned();
        self.require_pair(actor, Right::Join, &other, "room")?;
        self.open_pair(ctx, [&actor.person, &other])
    }

    /// The room of two users, in whatever order.
    pub(in crate::chat) fn open_pair<C: Context>(
        &mut self,
        ctx: &mut C,
        pair: [&str; 2],
    ) -> Result<u32, Refusal> {
        let name = pair_room(pair);
        if let Some(room) = self.rooms.find(&name) {
            return Ok(room);
        }
        let [a, b] = if pair[0] <= pair[1] { pair } else { [pair[1], pair[0]] };
        self.open_room(ctx, &name, Kind::Pair([a.into(), b.into()]))
    }

    fn open_room<C: Context>(&mut self, ctx: &mut C, name: &str, kind: Kind) -> Result<u32, Refusal> {
        if self.rooms.len() >= self.options.limits.max_rooms {
            let Some(idle) = self.rooms.longest_idle() else {
                return Err(Refusal::field(
                    Code::TooManyRooms,
                    "room",
                    "the server has no place for another room",
                ));
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
    fn must_wait(&self, actor: &Actor, room: u32) -> bool {
        let session = actor.session.and_then(|index| self.people.look(index));
        let joining = session.and_then(|session| session.joining.as_deref());
        !self.rooms[room].is_open()
            || joining.is_some_and(|list| list.iter().any(|joining| joining.room == room))
    }

    pub(in crate::chat) fn wait(&mut self, room: u32, waiting: Waiting) -> Result<(), Refusal> {
        self.count_waiting(&waiting.actor)?;
        if let Phase::Opening(list) = &mut self.rooms[room].phase {
            list.push(waiting);
        } else if let Some(session) = waiting.actor.session.and_then(|index| self.people.at(index))
            && let Some(joining) = session.joining.as_deref_mut()
            && let Some(Joining { behind, .. }) = joining.iter_mut().find(|joining| joining.room == room)
        {
            behind.push(waiting);
        }
        Ok(())
    }
}
