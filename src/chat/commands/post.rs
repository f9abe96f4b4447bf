//! Saying something, and changing what was said.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::ids::RoomId;
use crate::chat::pending::keys::{Known, Scope, with_scope};
use crate::chat::pending::queries::Purpose;
use crate::chat::pending::{PendingChange, PendingItem};
use crate::chat::people::actor::Actor;
use crate::chat::people::holders::Holders;
use crate::chat::people::names;
use crate::chat::people::permission::Right;
use crate::chat::rooms::Hold;
use crate::chat::wire::command::Command;
use crate::chat::wire::notices::Ack;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal, SERVER};
use crate::history::{Action, Keep, Post, Query, Record, Who};

/// What a command must know of the message that it changes.
#[derive(Debug, Clone)]
struct Facts {
    is_own: bool,
    /// Reactions of everybody.
    reactions: usize,
    /// The one who asks has reacted in this way, under this name.
    reacted_as: Option<Who>,
}

impl Chat {
    pub(in crate::chat) fn post<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        text: &str,
        key: Option<&str>,
    ) -> Result<(), Refusal> {
        let name = Arc::clone(self.rooms[room].name());
        if let Some(key) = key
            && self.is_repeated(call, &name, key)
        {
            return Ok(());
        }
        self.check_writable()?;
        self.say(call, room, text, key);
        Ok(())
    }

    /// Returns a post its place in the order of a room.
    pub(in crate::chat) fn say<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        text: &str,
        key: Option<&str>,
    ) {
        let Call { ctx, reply_to, actor } = call;
        let now = ctx.now();
        let (seq, time) = self.rooms[room].order.give_seq(now.unix_ms);
        let post = Post {
            seq,
            time,
            user: Arc::clone(&actor.name),
            is_verified: actor.is_verified,
            client: Arc::clone(&actor.client),
            text: text.into(),
            key: key.map(Into::into),
        };
        if let Some(key) = key {
            let known = Known { seq, time, is_pending: self.pending.is_on_disk() };
            self.keys.insert(&Scope::of(actor, self.rooms[room].name(), key), known, now.monotonic_ms);
        }
        self.submit(*ctx, room, Action::Post(post), (*reply_to).clone());
    }

    /// Whether this was posted before; then the answer is that of the first time.
    pub(in crate::chat) fn is_repeated<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: &str,
        key: &str,
    ) -> bool {
        let Call { ctx, reply_to, actor } = call;
        let Some(known) = self.keys.find(&Scope::of(actor, room, key), ctx.now().monotonic_ms) else {
            return false;
        };
        let Known { seq, time, is_pending } = known;
        let room = self.told_name(&actor.person, room);
        if is_pending {
            self.pending.add_echo(room, seq, time, (*reply_to).clone());
        } else {
            self.acknowledge_again(*ctx, reply_to, &room, (seq, time));
        }
        true
    }

    /// What somebody calls a room that need not be open: a conversation of two is called after the other.
    fn told_name(&self, own: &str, room: &str) -> Arc<str> {
        match room.strip_prefix('@').and_then(|pair| pair.split_once('\n')) {
            Some((a, b)) => self.pair_name(if a == own { b } else { a }),
            None => room.into(),
        }
    }

    pub(in crate::chat) fn acknowledge_again<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: &str,
        (seq, time): (u64, u64),
    ) {
        self.counts.duplicates += 1;
        let is_kept = seq > 0;
        let ack = Ack {
            seq: is_kept.then_some(seq),
            time: Some(time),
            durable: Some(if is_kept { self.pending.level() } else { "memory" }),
            duplicate: true,
            ..Ack::new(reply_to.id(), Some(room))
        };
        self.responder.acknowledge(ctx, reply_to, &ack);
    }

    /// `edit`, `delete` and `react`.
    pub(in crate::chat) fn change<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        let seq = seq_of(&command);
        let state = &self.rooms[room];
        self.check_writable()?;
        let oldest = self.visible_from(state, call.ctx.now().unix_ms);
        if seq == 0 || seq > state.order.seq() || seq < oldest || state.order.is_deleting(seq) {
            return Err(Refusal::no_message());
        }
        if let Some(record) = state.order.log().find(seq) {
            let facts = facts(record, call.actor, &command, self.people.holders())?;
            return self.change_message(call, room, command, facts);
        }
        if !self.pending.is_on_disk() {
            return Err(Refusal::no_message());
        }
        let name = Arc::clone(state.name());
        let purpose = Purpose::Change { actor: call.actor.clone(), command: command.into_owned() };
        let request = |ask| Query::Page { ask, room: name, before: seq + 1, limit: 1, keep: Keep::Newest };
        self.ask_for(call.reply_to, Some(room), purpose, request)
    }

    /// [`Self::change`], once the history has told of the message.
    pub(in crate::chat) fn change_old<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        command: Command<'_>,
        records: &[Record],
    ) -> Result<(), Refusal> {
        let seq = seq_of(&command);
        self.check_writable()?;
        let record = records.iter().find(|record| record.post.seq == seq).ok_or_else(Refusal::no_message)?;
        if self.rooms[room].order.is_deleting(seq) {
            return Err(Refusal::no_message());
        }
        let facts = facts(record, call.actor, &command, self.people.holders())?;
        self.change_message(call, room, command, facts)
    }

    fn change_message<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        command: Command<'_>,
        facts: Facts,
    ) -> Result<(), Refusal> {
        let Call { ctx, reply_to, actor } = call;
        let state = &mut self.rooms[room];
        let is_permitted = facts.is_own || self.people.may(actor, Right::Moderate, state.name());
        let now = ctx.now().unix_ms;
        let order = &mut state.order;
        let action = match command {
            Command::Edit { .. } | Command::Delete { .. } if !is_permitted => {
                return Err(Refusal::field(Code::Forbidden, "seq", "this message is somebody else's"));
            }
            Command::Edit { seq, text, .. } => {
                let (rev, time) = order.give_rev(now);
                Action::Edit { rev, seq, text: text.into(), time }
            }
            Command::Delete { seq, .. } => {
                order.begin_delete(seq);
                let (rev, time) = order.give_rev(now);
                Action::Delete { rev, seq, time }
            }
            Command::React { seq, remove, .. }
                if facts.reacted_as.is_some() != remove && !order.has_pending() =>
            {
                // Nothing changes.
                let (rev, durable) = (Some(order.rev()), Some(self.pending.level()));
                let name = Arc::clone(state.name());
                let ack = Ack { seq: Some(seq), rev, durable, ..Ack::new(reply_to.id(), Some(&name)) };
                self.responder.acknowledge(*ctx, reply_to, &ack);
                return Ok(());
            }
            Command::React { remove: false, .. } if facts.reactions >= self.options.limits.max_reactions => {
                return Err(Refusal::field(Code::TooLong, "emoji", "this message bears too many reactions"));
            }
            Command::React { seq, emoji, remove, .. } => {
                let user = facts.reacted_as.unwrap_or_else(|| actor.who());
                let (rev, _) = order.give_rev(now);
                Action::React { rev, seq, user, emoji: emoji.into(), is_removed: remove }
            }
            _ => return Ok(()),
        };
        self.submit(*ctx, room, action, (*reply_to).clone());
        Ok(())
    }

    /// Makes a change durable, if that is promised; then it is history.
    fn submit<C: Context>(&mut self, ctx: &mut C, room: RoomId, action: Action, reply_to: ReplyTo) {
        let hold = self.rooms.hold(room);
        if self.pending.is_on_disk() {
            self.pending.add(self.rooms[room].name(), hold, action, reply_to);
        } else {
            self.committed_change(ctx, hold, &action, &reply_to);
        }
    }

    /// A change is as durable as promised: anyone who waits is told, and everybody sees it.
    pub(in crate::chat) fn committed_change<C: Context>(
        &mut self,
        ctx: &mut C,
        hold: Hold,
        action: &Action,
        reply_to: &ReplyTo,
    ) {
        let room = hold.room();
        let name = self.shown_name(reply_to, room);
        self.rooms[room].order.committed(action);
        let (seq, rev, time) = match action {
            Action::Post(post) => (Some(post.seq), None, Some(post.time)),
            Action::Edit { seq, rev, time, .. } | Action::Delete { seq, rev, time } => {
                (Some(*seq), Some(*rev), Some(*time))
            }
            Action::React { seq, rev, .. } => (Some(*seq), Some(*rev), None),
            // Nobody waits for those.
            Action::Read { .. } => (None, None, None),
        };
        let durable = Some(self.pending.level());
        let ack = Ack { seq, rev, time, durable, ..Ack::new(reply_to.id(), Some(&name)) };
        self.responder.acknowledge(ctx, reply_to, &ack);
        self.happened(ctx, room, action);
        self.release(ctx, hold);
    }

    /// A change comes to nothing: it could not be made durable.
    pub(in crate::chat) fn undone<C: Context>(&mut self, ctx: &mut C, item: PendingItem) {
        let PendingItem { change, reply_to } = item;
        if let PendingChange::Change(hold, action) = &change {
            let state = &mut self.rooms[hold.room()];
            state.order.undone();
            if let Action::Post(post) = action {
                with_scope(post, state.name(), self.people.holders(), |scope| self.keys.forget(scope));
            }
        }
        self.responder.refuse(ctx, &reply_to, &Refusal::unavailable());
        if let PendingChange::Change(hold, _) = change {
            self.release(ctx, hold);
        }
    }
}

fn seq_of(command: &Command<'_>) -> u64 {
    match command {
        Command::Edit { seq, .. } | Command::Delete { seq, .. } | Command::React { seq, .. } => *seq,
        _ => 0,
    }
}

fn facts(record: &Record, actor: &Actor, command: &Command<'_>, holders: &Holders) -> Result<Facts, Refusal> {
    if record.is_deleted {
        return Err(Refusal::no_message());
    }
    let post = &record.post;
    let is_actor = |name: &str, is_verified| {
        is_verified == actor.is_verified && *holders.owner(&names::fold(name), is_verified) == *actor.person
    };
    // What the server posts in a user's name is the server's.
    let is_of_server = post.is_verified && *post.client == *SERVER;
    let reacted_as = |emoji: &str| {
        let users = record.reactions.iter().find(|(other, _)| **other == *emoji).map(|(_, users)| users)?;
        users.iter().find(|who| is_actor(&who.name, who.is_verified)).cloned()
    };
    Ok(Facts {
        // A guest has nothing but the name; a verified user's messages are theirs alone, whatever they are called today.
        is_own: is_of_server == actor.session.is_none() && is_actor(&post.user, post.is_verified),
        reactions: record.reactions.iter().map(|(_, users)| users.len()).sum(),
        reacted_as: if let Command::React { emoji, .. } = command { reacted_as(emoji) } else { None },
    })
}
