//! Signs of life that are no messages: who types, who has read how far, who came and went.

use std::sync::Arc;

use crate::app::{Context, Millis};
use crate::chat::commands::call::Call;
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::people::actor::Actor;
use crate::chat::people::member::Member;
use crate::chat::people::user::Identity;
use crate::chat::wire::notices::{Mark, Presence, Reads, Typing};
use crate::chat::{Chat, timer};

/// Whether a room may be told now; else a timer is set where one is needed.
fn may_tell<C: Context>(ctx: &mut C, room: RoomId, pace: Result<(), Option<Millis>>) -> bool {
    match pace {
        Ok(()) => true,
        Err(at) => {
            if let Some(at) = at {
                ctx.set_timer(at, timer::room(room));
            }
            false
        }
    }
}

impl Chat {
    /// The others see it, once a second for each user.
    pub(in crate::chat) fn typing<C: Context>(&mut self, call: &mut Call<'_, C>, room: RoomId) {
        let Call { ctx, actor, .. } = call;
        let now = ctx.now().monotonic_ms;
        let session = actor.session.and_then(|session| self.people.look(session));
        let Some((conn, user)) = session.and_then(|session| Some((session.conn(), session.user()?))) else {
            return;
        };
        let state = &mut self.rooms[room];
        if !state.types(user, now, self.options.limits.typing_ms) {
            return;
        }
        if let Some(topic) = state.topic() {
            let notice = Typing { room: state.name(), user: &actor.name };
            self.responder.publish(*ctx, topic, &notice, Some(conn));
        }
    }

    /// A read position only goes forward, and never beyond what there is.
    pub(in crate::chat) fn read(&mut self, actor: &Actor, room: RoomId, seq: u64) {
        let state = &self.rooms[room];
        let seq = seq.min(state.order.seq());
        let identity = actor.identity();
        if state.reads.of(&identity).is_some_and(|known| known >= seq) || seq == 0 {
            return;
        }
        // A guest's name is anybody's the next day.
        if actor.is_verified {
            self.pending.add_read(state, Arc::clone(&actor.person), seq);
        }
        self.keep_read(room, &identity, seq);
        self.rooms[room].reads.note_untold(identity);
        self.rooms.touch(room);
    }

    /// A guest's name is anybody's as soon as the guest has left.
    pub(in crate::chat) fn forget_read(&mut self, room: RoomId, user: &Identity, leaving: SessionId) {
        let here = self.people.find(&user.person).and_then(|user| self.people.user(user));
        let is_in =
            |session: &SessionId| self.people.look(*session).is_some_and(|session| session.is_in(room));
        let is_here = here
            .is_some_and(|user| user.sessions().iter().any(|session| *session != leaving && is_in(session)));
        if !user.is_verified && !is_here {
            self.rooms[room].reads.forget(user);
        }
    }

    pub(in crate::chat) fn keep_read(&mut self, room: RoomId, user: &Identity, seq: u64) {
        let max = self.options.limits.max_read_positions;
        self.rooms[room].reads.keep(user, seq, max);
    }

    /// Tells rooms of what happened in them, no more often than may be.
    pub(in crate::chat) fn tell_rooms<C: Context>(&mut self, ctx: &mut C) {
        for room in self.rooms.take_dirty() {
            self.tell_presence(ctx, room);
            self.tell_reads(ctx, room);
        }
    }

    fn tell_presence<C: Context>(&mut self, ctx: &mut C, room: RoomId) {
        let now = ctx.now().monotonic_ms;
        let limits = &self.options.limits;
        let members = self.rooms[room].members().len();
        // What a notice costs grows with the members; so that all of them together do not, they come less often.
        let every = limits.presence_ms * (1 + (members / limits.presence_members.max(1)) as u64);
        let presence = &mut self.rooms[room].presence;
        if !presence.has_news() || !may_tell(ctx, room, presence.pace.take(now, every)) {
            return;
        }
        let (came, went) = presence.take_news();
        // Of those that came some went again, and some came twice.
        let mut here = Vec::new();
        for (id, number) in came {
            let session = self.people.at(id).filter(|session| session.number() == number);
            if let Some(membership) = session.and_then(|session| session.membership(room))
                && !std::mem::replace(&mut membership.known.is_announced, true)
            {
                here.push(id);
            }
        }
        if here.is_empty() && went.is_empty() {
            return;
        }
        let Self { rooms, responder, people, options, .. } = self;
        let state = &rooms[room];
        let most = options.limits.max_listed;
        let joined: Vec<Member<'_>> =
            here.iter().take(most).filter_map(|session| people.member(*session)).collect();
        let left: Vec<Member<'_>> = went
            .iter()
            .take(most)
            .map(|gone| Member { client: &gone.client, ..people.shown(&gone.user, gone.is_verified) })
            .collect();
        if let Some(topic) = state.topic() {
            let count = state.members().len();
            let notice = Presence { room: state.name(), joined: &joined, left: &left, count };
            responder.publish(ctx, topic, &notice, None);
        }
    }

    fn tell_reads<C: Context>(&mut self, ctx: &mut C, room: RoomId) {
        let now = ctx.now().monotonic_ms;
        let every = self.options.limits.reads_ms;
        let reads = &mut self.rooms[room].reads;
        if !reads.has_news() || !may_tell(ctx, room, reads.pace.take(now, every)) {
            return;
        }
        let untold = reads.take_untold();
        let Self { rooms, responder, people, options, .. } = self;
        let state = &rooms[room];
        let shown = |mark: &Identity| {
            let name = people.name_of(&mark.person);
            Arc::clone(name.unwrap_or(&mark.person))
        };
        let marks: Vec<(Arc<str>, bool, u64)> = untold
            .iter()
            .take(options.limits.max_listed)
            .map(|(user, seq)| (shown(user), user.is_verified, *seq))
            .collect();
        let reads: Vec<Mark<'_>> =
            marks.iter().map(|(user, verified, seq)| Mark { user, verified: *verified, seq: *seq }).collect();
        if let Some(topic) = state.topic() {
            responder.publish(ctx, topic, &Reads { room: state.name(), reads: &reads }, None);
        }
    }
}
