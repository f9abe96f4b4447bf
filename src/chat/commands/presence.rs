//! Signs of life that are no messages: who types, who has read how far, who came and went.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::people::actor::Actor;
use crate::chat::people::user::Identity;
use crate::chat::wire::notices::{Mark, Member, Presence, Reads, Typing};
use crate::chat::{Chat, timer};

impl Chat {
    /// The others see it, once a second for each user.
    pub(in crate::chat) fn typing<C: Context>(&mut self, ctx: &mut C, actor: &Actor, room: u32) {
        let now = ctx.now().monotonic_ms;
        let every = self.options.limits.typing_ms;
        let session = actor.session.and_then(|index| self.people.look(index));
        let Some((conn, user)) = session.and_then(|session| Some((session.conn, session.user?))) else {
            return;
        };
        let Self { rooms, responder, .. } = self;
        let state = &mut rooms[room];
        if state.typing.get(&user).is_some_and(|at| now < at + every) {
            return;
        }
        // As many are left as typed within the time.
        state.typing.retain(|_, at| now < *at + every);
        state.typing.insert(user, now);
        if let Some(topic) = state.topic {
            responder.publish(ctx, topic, &Typing { room: &state.name, user: &actor.name }, Some(conn));
        }
    }

    /// A mark only goes forward, and never beyond what there is.
    pub(in crate::chat) fn read(&mut self, actor: &Actor, room: u32, seq: u64) {
        let state = &self.rooms[room];
        let seq = seq.min(state.seq);
        let identity = actor.identity();
        if state.reads.of(&identity).is_some_and(|known| known >= seq) || seq == 0 {
            return;
        }
        let name = Arc::clone(&state.name);
        self.keep_read(room, &identity, seq);
        self.rooms[room].reads.note_untold(identity);
        // A guest's name is anybody's the next day.
        if actor.is_verified {
            self.pending.add_mark(&name, Arc::clone(&actor.person), seq);
        }
        self.touch(room);
    }

    /// A guest's name is anybody's as soon as the guest has left.
    pub(in crate::chat) fn forget_mark(&mut self, room: u32, user: &Identity, leaving: u32) {
        let here = self.people.find(&user.person).and_then(|user| self.people.user(user));
        let is_here = here.is_some_and(|user| {
            user.sessions.iter().any(|index| {
                *index != leaving && self.people.look(*index).is_some_and(|session| session.is_in(room))
            })
        });
        if !user.is_verified && !is_here {
            self.rooms[room].reads.forget(user);
        }
    }

    pub(in crate::chat) fn keep_read(&mut self, room: u32, user: &Identity, seq: u64) {
        let max = self.options.limits.max_marks;
        self.rooms[room].reads.keep(user, seq, max);
    }

    /// A room is to be looked at when the tick ends.
    pub(in crate::chat) fn touch(&mut self, room: u32) {
        if let Some(state) = self.rooms.get_mut(room)
            && !std::mem::replace(&mut state.is_dirty, true)
        {
            self.dirty.push(room);
        }
    }

    /// Tells rooms of what happened in them, no more often than may be.
    pub(in crate::chat) fn tell_rooms<C: Context>(&mut self, ctx: &mut C) {
        for room in std::mem::take(&mut self.dirty) {
            let Some(state) = self.rooms.get_mut(room) else { continue };
            state.is_dirty = false;
            self.tell_presence(ctx, room);
            self.tell_reads(ctx, room);
        }
    }

    fn tell_presence<C: Context>(&mut self, ctx: &mut C, room: u32) {
        let now = ctx.now().monotonic_ms;
        let limits = &self.options.limits;
        let members = self.rooms[room].members.len();
        // What a notice costs grows with the members; so that all of them together do not, they come less often.
        let every = limits.presence_ms * (1 + (members / limits.presence_members.max(1)) as u64);
        let presence = &mut self.rooms[room].presence;
        if !presence.has_news() {
            return;
        }
        if now < presence.next_at {
            if !std::mem::replace(&mut presence.is_timed, true) {
                ctx.set_timer(presence.next_at, timer::room(room));
            }
            return;
        }
        presence.next_at = now + every;
        presence.is_timed = false;
        let came = std::mem::take(&mut presence.came);
        let went = std::mem::take(&mut presence.went);
        // Of those that came some went again, and some came twice.
        let mut here = Vec::new();
        for (index, number) in came {
            let session = self.people.at(index).filter(|session| session.number == number);
            if let Some(membership) = session.and_then(|session| session.membership(room))
                && !std::mem::replace(&mut membership.is_announced, true)
            {
                here.push(index);
            }
        }
        if here.is_empty() && went.is_empty() {
            return;
        }
        let Self { rooms, responder, people, options, .. } = self;
        let state = &rooms[room];
        let most = options.limits.max_listed;
        let joined: Vec<Member<'_>> =
            here.iter().take(most).filter_map(|index| people.member(*index)).collect();
        let left: Vec<Member<'_>> = went
            .values()
            .take(most)
            .map(|gone| Member { client: &gone.client, ..people.shown(&gone.user, gone.is_verified) })
            .collect();
        if let Some(topic) = state.topic {
            let count = state.members.len();
            let notice = Presence { room: &state.name, joined: &joined, left: &left, count };
            responder.publish(ctx, topic, &notice, None);
        }
    }

    fn tell_reads<C: Context>(&mut self, ctx: &mut C, room: u32) {
        let now = ctx.now().monotonic_ms;
        let reads = &mut self.rooms[room].reads;
        if !reads.has_news() {
            return;
        }
        if now < reads.next_at {
            if !std::mem::replace(&mut reads.is_timed, true) {
                ctx.set_timer(reads.next_at, timer::room(room));
            }
            return;
        }
        reads.next_at = now + self.options.limits.reads_ms;
        reads.is_timed = false;
        let untold = reads.take_untold();
        let Self { rooms, responder, people, options, .. } = self;
        let state = &rooms[room];
        let shown = |mark: &Identity| {
            let user = people.find(&mark.person).and_then(|user| people.user(user));
            user.map_or_else(|| Arc::clone(&mark.person), |user| Arc::clone(&user.name))
        };
        let marks: Vec<(Arc<str>, bool, u64)> = untold
            .iter()
            .take(options.limits.max_listed)
            .map(|(user, seq)| (shown(user), user.is_verified, *seq))
            .collect();
        let reads: Vec<Mark<'_>> =
            marks.iter().map(|(user, verified, seq)| Mark { user, verified: *verified, seq: *seq }).collect();
        if let Some(topic) = state.topic {
            responder.publish(ctx, topic, &Reads { room: &state.name, reads: &reads }, None);
        }
    }
}
