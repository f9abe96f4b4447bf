//! What has become history reaches those whom it concerns.

use crate::app::{Context, Outgoing};
use crate::chat::Chat;
use crate::chat::ids::RoomId;
use crate::chat::pending::keys::with_scope;
use crate::chat::people::names;
use crate::chat::people::user::User;
use crate::chat::rooms::Kind;
use crate::chat::wire::notices::{ChangeNotice, Direct, Message};
use crate::history::{Action, Post};

impl Chat {
    /// A change becomes part of a room's history, and everybody there is told.
    pub(in crate::chat) fn happened<C: Context>(&mut self, ctx: &mut C, room: RoomId, action: &Action) {
        let prev = self.rooms.happened(room, action);
        match action {
            Action::Post(post) => {
                self.counts.posts += 1;
                let (name, holders) = (self.rooms[room].name(), self.people.holders());
                with_scope(post, name, holders, |scope| self.keys.commit(scope));
                self.tell_post(ctx, room, post, prev);
            }
            Action::Edit { .. } | Action::Delete { .. } | Action::React { .. } => {
                self.counts.changes += 1;
                let state = &self.rooms[room];
                let notice = ChangeNotice { room: Some(state.name()), action, is_visible: true };
                if let Some(topic) = state.topic() {
                    self.responder.publish(ctx, topic, &notice, None);
                }
            }
            Action::Read { .. } => {}
        }
        let visible = self.visible_from(&self.rooms[room], ctx.now().unix_ms);
        self.rooms.trim(room, visible, &self.options.limits);
        self.tutorial.note_change(room);
        self.make_room(ctx, room);
    }

    fn tell_post<C: Context>(&mut self, ctx: &mut C, room: RoomId, post: &Post, prev: u64) {
        let Self { rooms, responder, people, .. } = self;
        let state = &rooms[room];
        let (user, client, text) = (&*post.user, &*post.client, &*post.text);
        let (seq, time, verified) = (post.seq, post.time, post.is_verified);
        let lookalike = people.shown(user, verified).lookalike;
        if let Some(topic) = state.topic() {
            let message =
                Message { room: state.name(), seq, prev, user, verified, lookalike, client, text, time };
            responder.publish(ctx, topic, &message, None);
        }
        if let Kind::Pair(pair) = state.kind() {
            let from = names::fold(user);
            let to = if *pair[0] == *people.holders().person_or(&from) { &pair[1] } else { &pair[0] };
            let shown = people.find_verified(to).and_then(|user| people.user(user));
            let shown = shown.map_or(to, User::name);
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
    fn make_room<C: Context>(&mut self, ctx: &mut C, room: RoomId) {
        while self.rooms.is_above(&self.options.limits) {
            let Some(idle) = self.rooms.longest_idle() else {
                return self.rooms.shrink(room);
            };
            self.forget_room(ctx, idle);
        }
    }

    /// Puts a room away that nobody is in.
    pub(in crate::chat) fn forget_room<C: Context>(&mut self, ctx: &mut C, room: RoomId) {
        if let Some(topic) = self.rooms.remove(room) {
            ctx.remove_topic(topic);
        }
    }

    /// A room may not be needed any more.
    pub(in crate::chat) fn rest_room<C: Context>(&mut self, ctx: &mut C, room: RoomId) {
        if self.rooms.get(room).is_some() && self.rooms.rest(room) {
            self.forget_room(ctx, room);
        }
    }
}
