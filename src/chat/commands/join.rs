//! Coming in and going out: without a gap, and without a part of what was missed.

use std::sync::Arc;

use crate::app::{ConnId, Context};
use crate::chat::commands::call::Call;
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::membership::Membership;
use crate::chat::pending::queries::{JoinRange, PendingJoin, Purpose};
use crate::chat::people::session::Session;
use crate::chat::rooms::Room;
use crate::chat::rooms::presence::Gone;
use crate::chat::wire::notices::{Changes, Joined, Left, MemberList, Members, Messages};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{Action, Keep, Query, Record};

impl Chat {
    pub(in crate::chat) fn join<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        range: JoinRange<'_>,
    ) -> Result<(), Refusal> {
        let ReplyTo::Connection(conn, _) = call.reply_to else {
            return Err(Refusal::field(Code::BadField, "type", "a connection joins, nobody else"));
        };
        self.check_room_for(*conn, room)?;
        if !self.pending.is_on_disk() {
            return self.finish_join(call, room, &range, &[]);
        }
        let state = &self.rooms[room];
        let (after, _) = self.wanted(state, &range);
        let first = state.order.first_in_memory();
        let visible_from = self.visible_from(state, call.ctx.now().unix_ms);
        let needs_page = after + 1 < first && first > visible_from;
        let needs_read = call.actor.is_verified && state.reads.of(&call.actor.identity()).is_none();
        if !needs_page && !needs_read {
            return self.finish_join(call, room, &range, &[]);
        }
        let (name, rev) = (Arc::clone(state.name()), state.order.rev());
        let join = self.pending.next_join();
        let mut awaits = 0;
        if needs_page {
            let (room, limit) = (Arc::clone(&name), (first - 1 - after) as usize);
            let request = |ask| Query::Page { ask, room, before: first, limit, keep: Keep::Newest };
            self.ask_for(call.reply_to, None, Purpose::JoinPage(join), request)?;
            awaits += 1;
        }
        if needs_read {
            let user = Arc::clone(&call.actor.person);
            let request = |ask| Query::ReadPosition { ask, room: name, user };
            match self.ask_for(call.reply_to, None, Purpose::JoinRead(join), request) {
                Ok(()) => awaits += 1,
                // The page is asked for already; the read position is not worth a refusal.
                Err(refusal) if awaits == 0 => return Err(refusal),
                Err(_) => {}
            }
        }
        let hold = self.rooms.hold(room);
        let pending = PendingJoin::new(
            (call.reply_to.clone(), call.actor.clone()),
            hold,
            range.into_owned(),
            rev,
            awaits,
        );
        self.pending.begin_join(join, pending);
        if let Some(session) = self.people.session(*conn) {
            session.begin_joining(room);
        }
        Ok(())
    }

    /// Whether there is a place for a connection.
    fn check_room_for(&mut self, conn: ConnId, room: RoomId) -> Result<(), Refusal> {
        let limits = &self.options.limits;
        let Some(session) = self.people.session(conn) else { return Ok(()) };
        if session.is_in(room) {
            return Ok(());
        }
        if session.room_count() >= limits.max_rooms_per_connection {
            return Err(Refusal::field(Code::TooManyRooms, "room", "leave another room first"));
        }
        if self.rooms[room].members().len() >= limits.max_members {
            return Err(Refusal::field(Code::RoomFull, "room", "the room is full"));
        }
        Ok(())
    }

    /// The name of a room's unbroken history.
    pub(in crate::chat) fn epoch_of(&self, room: &Room) -> String {
        if self.pending.is_on_disk() { self.epoch.clone() } else { format!("{}-{}", self.epoch, room.life()) }
    }

    /// The newest message and change that a client can have seen under this name. What the client itself says it has seen is
    /// believed of nobody else: whether the history was set back is the store's to know.
    fn known_under(&self, room: &Room, epoch: &str) -> Option<(u64, u64)> {
        (epoch == self.epoch_of(room)).then_some((room.order.seq(), room.order.rev()))
    }

    /// The number behind which messages are wanted, and whether all of them must be there.
    fn wanted(&self, room: &Room, range: &JoinRange<'_>) -> (u64, bool) {
        let limits = &self.options.limits;
        let (newest, newest_rev) = (room.order.seq(), room.order.rev());
        if let Some(since) = &range.since
            && let Some((seq, rev)) = self.known_under(room, &since.epoch)
            && since.seq <= seq
            && newest - since.seq <= limits.max_recovery as u64
            && since.rev.is_none_or(|known| {
                known <= rev
                    && newest_rev - known <= limits.max_recovery as u64
                    && room.order.log().changes_after(known, newest_rev).is_some()
            })
        {
            return (since.seq, true);
        }
        let count = range.history.unwrap_or(self.options.history as u64).min(limits.max_history as u64);
        (newest - count.min(newest), false)
    }

    /// Enters the room. `older` is what the history had of the messages before those in memory.
    pub(in crate::chat) fn finish_join<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        range: &JoinRange<'_>,
        older: &[Record],
    ) -> Result<(), Refusal> {
        let ReplyTo::Connection(conn, _) = call.reply_to else { return Ok(()) };
        // It may have become full while answers were awaited.
        self.check_room_for(*conn, room)?;
        self.enter(call.ctx, *conn, room);
        // What is told borrows the rooms and the people.
        let mut responder = std::mem::take(&mut self.responder);
        let state = &self.rooms[room];
        let visible_from = self.visible_from(state, call.ctx.now().unix_ms);
        let told = self.told(state, visible_from, range, older);
        let members = state.members();
        let listed = members.len().min(self.options.limits.max_listed);
        let epoch = self.epoch_of(state);
        let Told { messages, more, changes, recovered } = told;
        let joined = Joined {
            id: call.reply_to.id(),
            room: state.name(),
            epoch: &epoch,
            seq: state.order.seq(),
            rev: state.order.rev(),
            recovered,
            messages,
            more,
            changes: Changes { parts: changes, visible_from },
            members: Members { people: &self.people, sessions: &members[..listed] },
            count: members.len(),
            read: state.reads.of(&call.actor.identity()).unwrap_or(0),
        };
        let octets = responder.send(call.ctx, *conn, &joined);
        self.responder = responder;
        self.note_answer(call.reply_to, octets);
        if range.since.is_some() {
            *(if recovered { &mut self.counts.recovered } else { &mut self.counts.unrecovered }) += 1;
        }
        Ok(())
    }

    /// What a join tells of the history: all that was missed, or the newest messages.
    fn told<'a>(
        &'a self,
        state: &'a Room,
        visible_from: u64,
        range: &JoinRange<'_>,
        older: &'a [Record],
    ) -> Told<'a> {
        let most = self.options.limits.max_answer;
        let (log, seq, rev) = (state.order.log(), state.order.seq(), state.order.rev());
        let first = state.order.first_in_memory();
        let messages_after = |after: u64| {
            let after = after.max(visible_from.saturating_sub(1));
            let older = older_part(older, after, first);
            let [middle, newest] = log.between(after, u64::MAX);
            Messages::new([older, middle, newest], self.people.lookalikes())
        };
        let (after, recovered) = self.wanted(state, range);
        if recovered {
            let known = range.since.as_ref().and_then(|since| since.rev);
            let parts = known.and_then(|known| log.changes_after(known, rev)).unwrap_or_default();
            let octets = Changes { parts, visible_from }.octets();
            let (messages, _, is_cut) = messages_after(after).newest_within(most.saturating_sub(octets));
            // A part that is missing makes all of it worthless.
            let is_whole = messages.first_seq().unwrap_or(seq + 1) <= after + 1;
            if is_whole && !is_cut && octets <= most {
                return Told { messages, more: false, changes: parts, recovered };
            }
        }
        let (after, _) = self.wanted(state, &JoinRange { since: None, history: range.history });
        let (messages, _, more) = messages_after(after).newest_within(most);
        Told { messages, more, changes: [&[], &[]], recovered: false }
    }

    /// Makes a connection a member; one that is stays one.
    fn enter<C: Context>(&mut self, ctx: &mut C, conn: ConnId, room: RoomId) {
        let Some(session) = self.people.session(conn) else { return };
        if session.is_in(room) {
            self.rooms[room].presence.listed();
            return;
        }
        let position = self.rooms.enter(room, session.id());
        let state = &mut self.rooms[room];
        let known = state.presence.came(session.id(), session.number());
        session.enter(Membership { room, position, known });
        if let Some(topic) = state.topic() {
            // Cannot fail: it is open, and sends no fragments.
            let _ = ctx.subscribe(conn, topic);
        }
        self.rooms.touch(room);
    }

    pub(in crate::chat) fn leave<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
    ) -> Result<(), Refusal> {
        let (Some(_), Some(conn)) = (call.actor.session, call.reply_to.conn()) else {
            return Err(Refusal::not_joined());
        };
        let name = Arc::clone(self.rooms[room].name());
        self.expel(call.ctx, conn, room);
        self.responder.reply(call.ctx, call.reply_to, &Left { id: call.reply_to.id(), room: &name });
        Ok(())
    }

    /// A connection leaves a room, of its own will or not.
    pub(in crate::chat) fn expel<C: Context>(&mut self, ctx: &mut C, conn: ConnId, room: RoomId) {
        let left = self.people.at(SessionId::of(conn)).and_then(|session| session.leave(room));
        if let Some(membership) = left {
            self.take_out(ctx, conn, &membership);
        }
    }

    /// Takes a connection out of a room; it does not count the room among its own any more.
    pub(in crate::chat) fn take_out<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        membership: &Membership,
    ) {
        let room = membership.room;
        self.forget_member(SessionId::of(conn), membership);
        if let Some(topic) = self.rooms[room].topic() {
            ctx.unsubscribe(conn, topic);
        }
        self.rest_room(ctx, room);
    }

    /// Takes a session out of the members of a room.
    fn forget_member(&mut self, session: SessionId, membership: &Membership) {
        let Membership { room, position, known } = *membership;
        let moved = self.rooms.leave(room, position);
        if let Some(moved) = moved.and_then(|moved| self.people.at(moved))
            && let Some(moved) = moved.membership(room)
        {
            moved.position = position;
        }
        let number = self.people.look(session).map(Session::number);
        if let Some((number, actor)) = number.zip(self.people.actor(session)) {
            let identity = actor.identity();
            let gone = Gone { client: actor.client, user: actor.name, is_verified: actor.is_verified };
            self.rooms[room].presence.went(number, known, gone);
            self.forget_read(room, &identity, session);
        }
        self.rooms.touch(room);
    }

    pub(in crate::chat) fn who<C: Context>(&mut self, call: &mut Call<'_, C>, room: RoomId) {
        let Self { rooms, people, responder, options, .. } = self;
        rooms[room].presence.listed();
        let members = rooms[room].members();
        let listed = members.len().min(options.limits.max_listed);
        let list = MemberList {
            id: call.reply_to.id(),
            room: rooms[room].name(),
            members: Members { people, sessions: &members[..listed] },
            count: members.len(),
        };
        let octets = responder.reply(call.ctx, call.reply_to, &list);
        self.note_answer(call.reply_to, octets);
    }
}

/// What a join tells of the history.
#[derive(Debug)]
struct Told<'a> {
    messages: Messages<'a>,
    /// Older messages were asked for than those that fit.
    more: bool,
    changes: [&'a [Action]; 2],
    recovered: bool,
}

/// Of what the store had, what fits without a gap before the messages in memory.
fn older_part(older: &[Record], after: u64, first: u64) -> &[Record] {
    let end = older.partition_point(|record| record.post.seq < first);
    let mut start = end;
    while start > 0
        && older[start - 1].post.seq > after
        && older[start - 1].post.seq + (end - start) as u64 + 1 == first
    {
        start -= 1;
    }
    &older[start..end]
}
