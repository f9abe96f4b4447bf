//! Coming in and going out: without a gap, and without a part of what was missed.

use std::sync::Arc;

use crate::app::{ConnId, Context};
use crate::chat::pending::queries::{PendingJoin, PendingQuery};
use crate::chat::people::actor::Actor;
use crate::chat::people::session::{Joining, Membership};
use crate::chat::rooms::Room;
use crate::chat::rooms::presence::Gone;
use crate::chat::wire::command::Since;
use crate::chat::wire::notices::{Changes, Joined, Left, MemberList, Members, Messages};
use crate::chat::wire::responder::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{Action, Keep, Query, Record};

impl Chat {
    pub(in crate::chat) fn join<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        room: u32,
        since: Option<Since<'_>>,
        history: Option<u64>,
    ) -> Result<(), Refusal> {
        let ReplyTo::Connection(conn, _) = reply_to else {
            return Err(Refusal::field(Code::BadField, "type", "a connection joins, nobody else"));
        };
        self.check_room_for(*conn, room)?;
        if !self.pending.is_on_disk() {
            return self.finish_join(ctx, reply_to, actor, room, since.as_ref(), history, &[]);
        }
        let state = &self.rooms[room];
        let (after, _) = self.wanted(state, since.as_ref(), history);
        let first = state.log.first_seq().unwrap_or(state.seq + 1);
        let visible_from = self.visible_from(state, ctx.now().unix_ms);
        let needs_page = after + 1 < first && first > visible_from;
        let needs_mark = actor.is_verified && state.reads.of(&actor.identity()).is_none();
        if !needs_page && !needs_mark {
            return self.finish_join(ctx, reply_to, actor, room, since.as_ref(), history, &[]);
        }
        let rev = state.rev;
        let join = self.pending.next_join();
        let mut awaits = 0;
        if needs_page {
            let (name, limit) = (Arc::clone(&state.name), (first - 1 - after) as usize);
            let request = |ask| Query::Page { ask, room: name, before: first, limit, keep: Keep::Newest };
            self.ask_for(reply_to, room, PendingQuery::JoinPage(join), request)?;
            awaits += 1;
        }
        if needs_mark {
            let (name, user) = (Arc::clone(&self.rooms[room].name), Arc::clone(&actor.person));
            let request = |ask| Query::Mark { ask, room: name, user };
            match self.ask_for(reply_to, room, PendingQuery::JoinMark(join), request) {
                Ok(()) => awaits += 1,
                // The page is asked for already; the mark is not worth a refusal.
                Err(refusal) if awaits == 0 => return Err(refusal),
                Err(_) => {}
            }
        }
        let since = since.map(Since::into_owned);
        let (reply_to, actor) = (reply_to.clone(), actor.clone());
        let pending = PendingJoin { reply_to, actor, room, since, history, older: Vec::new(), rev, awaits };
        self.pending.joins.insert(join, pending);
        if let Some(session) = self.people.session(*conn) {
            session.joining.get_or_insert_default().push(Joining { room, behind: Vec::new() });
        }
        Ok(())
    }

    /// Whether there is a place for a connection.
    fn check_room_for(&mut self, conn: ConnId, room: u32) -> Result<(), Refusal> {
        let limits = &self.options.limits;
        let Some(session) = self.people.session(conn) else { return Ok(()) };
        if session.is_in(room) {
            return Ok(());
        }
        let joining = session.joining.as_ref().map_or(0, |list| list.len());
        if session.rooms.len() + joining >= limits.max_rooms_per_connection {
            return Err(Refusal::field(Code::TooManyRooms, "room", "leave another room first"));
        }
        if self.rooms[room].members.len() >= limits.max_members {
            return Err(Refusal::field(Code::RoomFull, "room", "the room is full"));
        }
        Ok(())
    }

    /// The name of a room's unbroken history.
    pub(in crate::chat) fn epoch_of(&self, room: &Room) -> String {
        if self.pending.is_on_disk() { self.epoch.clone() } else { format!("{}-{}", self.epoch, room.life) }
    }

    /// The newest message and change that a client can have seen under this name. What the client itself says it has seen is
    /// believed of nobody else: whether the history was set back is the store's to know.
    fn known_under(&self, room: &Room, epoch: &str) -> Option<(u64, u64)> {
        (epoch == self.epoch_of(room)).then_some((room.seq, room.rev))
    }

    /// The number behind which messages are wanted, and whether all of them must be there.
    fn wanted(&self, room: &Room, since: Option<&Since<'_>>, history: Option<u64>) -> (u64, bool) {
        let limits = &self.options.limits;
        if let Some(since) = since
            && let Some((seq, rev)) = self.known_under(room, &since.epoch)
            && since.seq <= seq
            && room.seq - since.seq <= limits.max_recovery as u64
            && since.rev.is_none_or(|known| {
                known <= rev
                    && room.rev - known <= limits.max_recovery as u64
                    && room.log.changes_after(known, room.rev).is_some()
            })
        {
            return (since.seq, true);
        }
        let count = history.unwrap_or(self.options.history as u64).min(limits.max_history as u64);
        (room.seq - count.min(room.seq), false)
    }

    /// Enters the room. `older` is what the store had of the messages before those in memory.
    #[expect(clippy::too_many_arguments, reason = "what the command says, and what was asked for")]
    pub(in crate::chat) fn finish_join<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        room: u32,
        since: Option<&Since<'_>>,
        history: Option<u64>,
        older: &[Record],
    ) -> Result<(), Refusal> {
        let ReplyTo::Connection(conn, _) = reply_to else { return Ok(()) };
        // It may have become full while answers were awaited.
        self.check_room_for(*conn, room)?;
        self.enter(ctx, *conn, room);
        // What is told borrows the rooms and the people.
        let mut responder = std::mem::take(&mut self.responder);
        let state = &self.rooms[room];
        let visible_from = self.visible_from(state, ctx.now().unix_ms);
        let told = self.told(state, visible_from, since, history, older);
        let listed = state.members.len().min(self.options.limits.max_listed);
        let epoch = self.epoch_of(state);
        let Told { messages, more, changes, recovered } = told;
        let joined = Joined {
            id: reply_to.id(),
            room: &state.name,
            epoch: &epoch,
            seq: state.seq,
            rev: state.rev,
            recovered,
            messages,
            more,
            changes: Changes { parts: changes, visible_from },
            members: Members { people: &self.people, sessions: &state.members[..listed] },
            count: state.members.len(),
            read: state.reads.of(&actor.identity()).unwrap_or(0),
        };
        let octets = responder.send(ctx, *conn, &joined);
        self.responder = responder;
        self.note_answer(reply_to, octets);
        if since.is_some() {
            *(if recovered { &mut self.recovered } else { &mut self.unrecovered }) += 1;
        }
        Ok(())
    }

    /// What a join tells of the history: all that was missed, or the newest messages.
    fn told<'a>(
        &'a self,
        state: &'a Room,
        visible_from: u64,
        since: Option<&Since<'_>>,
        history: Option<u64>,
        older: &'a [Record],
    ) -> Told<'a> {
        let most = self.options.limits.max_answer;
        let first = state.log.first_seq().unwrap_or(state.seq + 1);
        let messages_after = |after: u64| {
            let after = after.max(visible_from.saturating_sub(1));
            let older = older_part(older, after, first);
            let [middle, newest] = state.log.between(after, u64::MAX);
            Messages::new([older, middle, newest], &self.people.lookalikes)
        };
        let (after, recovered) = self.wanted(state, since, history);
        if recovered {
            let changes = since.and_then(|since| since.rev);
            let parts = changes.and_then(|rev| state.log.changes_after(rev, state.rev)).unwrap_or_default();
            let octets = Changes { parts, visible_from }.octets();
            let (messages, _, is_cut) = messages_after(after).newest_within(most.saturating_sub(octets));
            // A part that is missing makes all of it worthless.
            let is_whole = messages.first_seq().unwrap_or(state.seq + 1) <= after + 1;
            if is_whole && !is_cut && octets <= most {
                return Told { messages, more: false, changes: parts, recovered };
            }
        }
        let (after, _) = self.wanted(state, None, history);
        let (messages, _, more) = messages_after(after).newest_within(most);
        Told { messages, more, changes: [&[], &[]], recovered: false }
    }

    /// Makes a connection a member; one that is stays one.
    fn enter<C: Context>(&mut self, ctx: &mut C, conn: ConnId, room: u32) {
        let Some(session) = self.people.session(conn) else { return };
        if session.is_in(room) {
            self.rooms[room].presence.listed();
            return;
        }
        self.rooms.wake(room);
        let state = &mut self.rooms[room];
        let position = state.members.len() as u32;
        let (is_announced, since) = state.presence.came(conn.index, session.number);
        state.members.push(conn.index);
        if session.rooms.is_empty() {
            session.rooms.reserve_exact(1);
        }
        session.rooms.push(Membership { room, position, is_announced, since });
        if let Some(topic) = state.topic {
            // Cannot fail: it is open, and sends no fragments.
            let _ = ctx.subscribe(conn, topic);
        }
        self.rooms.members += 1;
        self.touch(room);
    }

    pub(in crate::chat) fn leave<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        actor: &Actor,
        room: u32,
    ) -> Result<(), Refusal> {
        let (Some(index), Some(conn)) = (actor.session, reply_to.conn()) else {
            return Err(Refusal::not_joined());
        };
        let name = Arc::clone(&self.rooms[room].name);
        self.expel(ctx, conn, index, room);
        self.responder.reply(ctx, reply_to, &Left { id: reply_to.id(), room: &name });
        Ok(())
    }

    /// A session leaves a room, of its own will or not.
    pub(in crate::chat) fn expel<C: Context>(&mut self, ctx: &mut C, conn: ConnId, index: u32, room: u32) {
        let Some(session) = self.people.at(index) else { return };
        let Some(at) = session.rooms.iter().position(|membership| membership.room == room) else { return };
        let membership = session.rooms.swap_remove(at);
        self.take_out(ctx, conn, &membership);
    }

    /// Takes a session out of the members of a room.
    pub(in crate::chat) fn forget_member(&mut self, index: u32, membership: &Membership) {
        let room = membership.room;
        let gone = self.people.look(index).map(|session| session.number).zip(self.people.actor(index));
        self.rooms.members -= 1;
        let state = &mut self.rooms[room];
        state.members.swap_remove(membership.position as usize);
        if let Some(moved) = state.members.get(membership.position as usize)
            && let Some(moved) = self.people.at(*moved)
            && let Some(moved) = moved.membership(room)
        {
            moved.position = membership.position;
        }
        if let Some((number, actor)) = gone {
            let identity = actor.identity();
            let presence = &mut self.rooms[room].presence;
            let (was_announced, at) = (membership.is_announced, presence.lists);
            if was_announced || membership.since != at {
                let is_verified = actor.is_verified;
                let gone = Gone { client: actor.client, user: actor.name, is_verified, was_announced, at };
                presence.went(number, gone);
            }
            self.forget_mark(room, &identity, index);
        }
        self.touch(room);
    }

    pub(in crate::chat) fn who<C: Context>(&mut self, ctx: &mut C, reply_to: &ReplyTo, room: u32) {
        let Self { rooms, people, responder, options, .. } = self;
        rooms[room].presence.listed();
        let state = &rooms[room];
        let listed = state.members.len().min(options.limits.max_listed);
        let list = MemberList {
            id: reply_to.id(),
            room: &state.name,
            members: Members { people, sessions: &state.members[..listed] },
            count: state.members.len(),
        };
        let octets = responder.reply(ctx, reply_to, &list);
        self.note_answer(reply_to, octets);
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
