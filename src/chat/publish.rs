//! What has become history reaches those whom it concerns.

use crate::app::{Context, Outgoing};
use crate::chat::Chat;
use crate::chat::pending::keys::with_scope;
use crate::chat::people::names;
use crate::chat::rooms::Kind;
use crate::chat::wire::notices::{ChangeNotice, Direct, Message};
use crate::history::{Action, Post};

impl Chat {
    /// A change becomes part of a room's history, and everybody there is told.
    pub(in crate::chat) fn happened<C: Context>(&mut self, ctx: &mut C, room: u32, action: &Action) {
        let before = self.rooms[room].log.bytes();
        match action {
            Action::Post(post) => {
                self.posts += 1;
                with_scope(post, &self.rooms[room].name, &self.holders, |scope| self.keys.commit(scope));
                let state = &mut self.rooms[room];
                let prev = std::mem::replace(&mut state.seq, post.seq);
                state.given_seq = state.given_seq.max(post.seq);
                state.time = state.time.max(post.time);
                state.log.push(post);
                self.tell_post(ctx, room, post, prev);
            }
            Action::Edit { rev, .. } | Action::Delete { rev, .. } | Action::React { rev, .. } => {
                self.changes += 1;
                let state = &mut self.rooms[room];
                state.rev = *rev;
                state.given_rev = state.given_rev.max(*rev);
                state.log.change(action);
                let notice = ChangeNotice { room: Some(&self.rooms[room].name), action, is_visible: true };
                if let Some(topic) = self.rooms[room].topic {
                    self.responder.publish(ctx, topic, &notice, None);
                }
            }
            Action::Read { .. } => {}
        }
        let visible = self.visible_from(&self.rooms[room], ctx.now().unix_ms);
        self.rooms[room].log.forget_below(visible);
        self.rooms.settle_log(room, before, &self.options.limits);
        self.tutorial.is_dirty |= room == self.tutorial.room;
        self.make_room(ctx, room);
    }

    fn tell_post<C: Context>(&mut self, ctx: &mut C, room: u32, post: &Post, prev: u64) {
        let Self { rooms, responder, people, holders, .. } = self;
        let state = &rooms[room];
        let (user, client, text) = (&*post.user, &*post.client, &*post.text);
        let (seq, time, verified) = (post.seq, post.time, post.is_verified);
        let lookalike = people.shown(user, verified).lookalike;
        if let Some(topic) = state.topic {
            let message =
                Message { room: &state.name, seq, prev, user, verified, lookalike, client, text, time };
            responder.publish(ctx, topic, &message, None);
        }
        if let Kind::Pair(pair) = &state.kind {
            let from = names::fold(user);
            let to = if *pair[0] == *holders.person_or(&from) { &pair[1] } else { &pair[0] };
            let shown = people.find_verified(to).and_then(|user| people.user(user));
            let shown = shown.map_or(to, |user| &user.name);
            let direct =
                Direct { from: user, to: shown, verified, lookalike, seq: Some(seq), client, text, time };
            let direct = responder.encode(&direct);
            let only_once = if pair[0] == pair[1] { &pair[..1] } else { &pair[..] };
            for conn in only_once.iter().flat_map(|person| people.hearers_of(people.find_verified(person))) {
                // A connection that has ended has no use for it.
                let _ = ctx.send(conn, Outgoing::text(direct));
            }
        }
    }

    /// Keeps what all rooms have in memory within its limit.
    fn make_room<C: Context>(&mut self, ctx: &mut C, room: u32) {
        while self.rooms.is_above(&self.options.limits) {
            let Some(idle) = self.rooms.longest_idle() else {
                return self.rooms.shrink(room);
            };
            self.forget_room(ctx, idle);
        }
    }

    /// Puts a room away that nobody is in.
    pub(in crate::chat) fn forget_room<C: Context>(&mut self, ctx: &mut C, room: u32) {
        if let Some(topic) = self.rooms.remove(room) {
            ctx.remove_topic(topic);
        }
    }

    /// A room may not be needed any more.
    pub(in crate::chat) fn rest_room<C: Context>(&mut self, ctx: &mut C, room: u32) {
        if self.rooms.get(room).is_some() && self.rooms.rest(room) {
            self.forget_room(ctx, room);
        }
    }
}
