//! Saying something, and changing what was said.

use std::sync::Arc;

use super::answers::Asker;
use super::ask::Ask;
use super::command::Command;
use super::durable::Matter;
use super::holders::Holders;
use super::keys::{Known, with_scope};
use super::names;
use super::notice::Ack;
use super::session::Actor;
use super::stamp::stamp;
use super::{Chat, Code, Refusal, SERVER};
use crate::app::Context;
use crate::history::{Action, Keep, Post, Query, Record, Who};

/// What is to be known of a message that is to be changed.
#[derive(Debug, Clone)]
struct Facts {
    is_own: bool,
    /// Reactions of everybody.
    reactions: usize,
    /// The asker has reacted in this way, under this name.
    reacted_as: Option<Who>,
}

impl Chat {
    pub(super) fn post<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        actor: &Actor,
        room: u32,
        text: &str,
        key: Option<&str>,
    ) -> Result<(), Refusal> {
        let name = Arc::clone(&self.rooms[room].name);
        if let Some(key) = key
            && self.is_repeated(ctx, asker, actor, &name, key)
        {
            return Ok(());
        }
        self.check_writable()?;
        self.say(ctx, asker, actor, room, text, key);
        Ok(())
    }

    /// Gives a post its place in the order of a room.
    pub(super) fn say<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        actor: &Actor,
        room: u32,
        text: &str,
        key: Option<&str>,
    ) {
        let state = &mut self.rooms[room];
        state.given_seq += 1;
        // Never falling within a room.
        state.time = stamp(state.time, ctx.now().unix_ms);
        let post = Post {
            seq: state.given_seq,
            time: state.time,
            user: Arc::clone(&actor.name),
            is_verified: actor.is_verified,
            client: Arc::clone(&actor.client),
            text: text.into(),
            key: key.map(Into::into),
        };
        if let Some(key) = key {
            let scope = actor.scope(&self.rooms[room].name, key);
            let known = Known { seq: post.seq, time: post.time, is_pending: self.durable.is_on_disk() };
            self.keys.insert(&scope, known, ctx.now().monotonic_ms);
        }
        self.submit(ctx, room, Action::Post(post), asker.clone());
    }

    /// Whether this was posted before; then the answer is that of the first time.
    pub(super) fn is_repeated<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        actor: &Actor,
        room: &str,
        key: &str,
    ) -> bool {
        let Some(known) = self.keys.find(&actor.scope(room, key), ctx.now().monotonic_ms) else {
            return false;
        };
        let Known { seq, time, is_pending } = known;
        let room = self.told_name(&actor.person, room);
        if is_pending {
            self.durable.add_echo(room, seq, time, asker.clone());
        } else {
            self.acknowledge_again(ctx, asker, &room, seq, time);
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

    pub(super) fn acknowledge_again<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        room: &str,
        seq: u64,
        time: u64,
    ) {
        self.duplicates += 1;
        let is_kept = seq > 0;
        let ack = Ack {
            id: asker.id(),
            room: Some(room),
            seq: is_kept.then_some(seq),
            rev: None,
            time: Some(time),
            durable: Some(if is_kept { self.durable.level() } else { "memory" }),
            duplicate: true,
        };
        self.voice.acknowledge(ctx, asker, &ack);
    }

    /// Whether anything can be added to any history now.
    pub(super) fn check_writable(&self) -> Result<(), Refusal> {
        if self.is_draining {
            return Err(Refusal::new(Code::ShuttingDown, "the server stops; send it to the next one"));
        }
        if self.durable.is_failed || self.durable.pending >= self.options.limits.max_pending {
            return Err(Refusal::unavailable());
        }
        Ok(())
    }

    /// `edit`, `delete` and `react`.
    pub(super) fn change<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        actor: &Actor,
        room: u32,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        let seq = seq_of(&command);
        let state = &self.rooms[room];
        self.check_writable()?;
        let oldest = self.visible_from(state, ctx.now().unix_ms);
        if seq == 0 || seq > state.seq || seq < oldest || state.deleting.contains(&seq) {
            return Err(Refusal::no_message());
        }
        if let Some(record) = state.log.find(seq) {
            let facts = facts(record, actor, &command, &self.holders)?;
            return self.change_message(ctx, asker, actor, room, command, facts);
        }
        if !self.durable.is_on_disk() {
            return Err(Refusal::no_message());
        }
        let name = Arc::clone(&state.name);
        let ask =
            Ask::Change { asker: asker.clone(), actor: actor.clone(), room, command: command.into_owned() };
        let request = |ask| Query::Page { ask, room: name, before: seq + 1, limit: 1, keep: Keep::Newest };
        self.ask_for(asker, room, ask, request)
    }

    /// [`Self::change`], once the store has told of the message.
    pub(super) fn change_old<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        actor: &Actor,
        room: u32,
        command: Command<'_>,
        records: &[Record],
    ) -> Result<(), Refusal> {
        let seq = seq_of(&command);
        self.check_writable()?;
        let record = records.iter().find(|record| record.post.seq == seq).ok_or_else(Refusal::no_message)?;
        if self.rooms[room].deleting.contains(&seq) {
            return Err(Refusal::no_message());
        }
        let facts = facts(record, actor, &command, &self.holders)?;
        self.change_message(ctx, asker, actor, room, command, facts)
    }

    fn change_message<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        actor: &Actor,
        room: u32,
        command: Command<'_>,
        facts: Facts,
    ) -> Result<(), Refusal> {
        let is_permitted =
            facts.is_own || self.may(actor, super::permission::Right::Moderate, &self.rooms[room].name);
        let state = &mut self.rooms[room];
        let rev = state.given_rev + 1;
        let time = stamp(state.time, ctx.now().unix_ms);
        let action = match command {
            Command::Edit { .. } | Command::Delete { .. } if !is_permitted => {
                return Err(Refusal::field(Code::Forbidden, "seq", "this message is somebody else's"));
            }
            Command::Edit { seq, text, .. } => Action::Edit { rev, seq, text: text.into(), time },
            Command::Delete { seq, .. } => {
                state.deleting.push(seq);
                Action::Delete { rev, seq, time }
            }
            Command::React { seq, remove, .. }
                if facts.reacted_as.is_some() != remove && state.pending == 0 =>
            {
                // Nothing changes.
                let (name, rev) = (Arc::clone(&state.name), state.rev);
                let ack = Ack {
                    id: asker.id(),
                    room: Some(&name),
                    seq: Some(seq),
                    rev: Some(rev),
                    time: None,
                    durable: Some(self.durable.level()),
                    duplicate: false,
                };
                self.voice.acknowledge(ctx, asker, &ack);
                return Ok(());
            }
            Command::React { remove: false, .. } if facts.reactions >= self.options.limits.max_reactions => {
                return Err(Refusal::field(Code::TooLong, "emoji", "this message bears too many reactions"));
            }
            Command::React { seq, emoji, remove, .. } => {
                let user = facts.reacted_as.unwrap_or_else(|| actor.who());
                Action::React { rev, seq, user, emoji: emoji.into(), is_removed: remove }
            }
            _ => return Ok(()),
        };
        state.given_rev = rev;
        state.time = time;
        self.submit(ctx, room, action, asker.clone());
        Ok(())
    }

    /// Makes a change durable, if that is promised; then it is history.
    fn submit<C: Context>(&mut self, ctx: &mut C, room: u32, action: Action, asker: Asker) {
        self.rooms.wake(room);
        let state = &mut self.rooms[room];
        state.pending += 1;
        if self.durable.is_on_disk() {
            self.durable.add(&state.name, room, action, asker);
        } else {
            self.settled(ctx, room, &action, &asker);
        }
    }

    /// A change is as durable as promised: whoever waits is told, and everybody sees it.
    pub(super) fn settled<C: Context>(&mut self, ctx: &mut C, room: u32, action: &Action, asker: &Asker) {
        let name = self.shown_name(asker, room);
        let state = &mut self.rooms[room];
        state.pending -= 1;
        let (seq, rev, time) = match action {
            Action::Post(post) => (post.seq, None, Some(post.time)),
            Action::Edit { seq, rev, time, .. } | Action::Delete { seq, rev, time } => {
                (*seq, Some(*rev), Some(*time))
            }
            Action::React { seq, rev, .. } => (*seq, Some(*rev), None),
            Action::Read { .. } => return,
        };
        if let Action::Delete { seq, .. } = action {
            state.deleting.retain(|other| other != seq);
        }
        let durable = Some(self.durable.level());
        let ack =
            Ack { id: asker.id(), room: Some(&name), seq: Some(seq), rev, time, durable, duplicate: false };
        self.voice.acknowledge(ctx, asker, &ack);
        self.happened(ctx, room, action);
        self.rest_room(ctx, room);
    }

    /// A change comes to nothing: it could not be made durable.
    pub(super) fn undone<C: Context>(&mut self, ctx: &mut C, matter: &Matter, asker: &Asker) {
        if let Matter::Change(room, action) = matter {
            let state = &mut self.rooms[*room];
            state.pending -= 1;
            state.deleting.clear();
            (state.given_seq, state.given_rev) = (state.seq, state.rev);
            if let Action::Post(post) = action {
                with_scope(post, &state.name, &self.holders, |scope| self.keys.forget(scope));
            }
        }
        self.voice.refuse(ctx, asker, &Refusal::unavailable());
        if let Matter::Change(room, _) = matter {
            self.rest_room(ctx, *room);
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
