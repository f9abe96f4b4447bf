//! Reading back and looking for messages.

use std::sync::Arc;

use super::answers::Asker;
use super::ask::Ask;
use super::names;
use super::notice::{Found, History, Messages, Shown};
use super::room::Kind;
use super::{Chat, Refusal};
use crate::app::Context;
use crate::store::{Record, Request};

/// Which part of a history is wanted: the newest messages before a number, or the oldest after one.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) before: Option<u64>,
    pub(super) after: Option<u64>,
}

impl Range {
    /// The same as a number before which the newest messages are wanted, and how many of them. With `after` also the number
    /// before which there may be more.
    fn page(&self, oldest: u64, newest: u64, limit: usize) -> (u64, usize, Option<u64>) {
        let end = self.before.unwrap_or(u64::MAX).min(newest + 1);
        let Some(after) = self.after else { return (end, limit, None) };
        // The numbers of a room have no gaps.
        let first = after.saturating_add(1).max(oldest);
        let count = end.saturating_sub(first).min(limit as u64);
        (first.saturating_add(count).min(end), count as usize, Some(end))
    }
}

impl Chat {
    pub(super) fn history<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        room: u32,
        range: &Range,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        let state = &self.rooms[room];
        let (before, limit, end) = range.page(state.oldest, state.seq, self.page_len(limit));
        let after = before.saturating_sub(limit as u64 + 1);
        let first = state.log.first_seq().unwrap_or(state.seq + 1);
        let is_here = after + 1 >= first || first <= state.oldest || before <= state.oldest;
        if is_here || !self.durable.is_on_disk() {
            self.tell_recent(ctx, asker, room, [after, before], end);
            return Ok(());
        }
        let name = Arc::clone(&state.name);
        let ask = Ask::History { asker: asker.clone(), room, limit, end };
        self.ask_for(asker, room, ask, |ask| Request::Page { ask, room: name, before, limit })
    }

    pub(super) fn page_len(&self, limit: Option<u64>) -> usize {
        let limits = &self.options.limits;
        limit.unwrap_or(self.options.history as u64).min(limits.max_history as u64) as usize
    }

    fn tell_recent<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        room: u32,
        [after, before]: [u64; 2],
        end: Option<u64>,
    ) {
        let name = self.shown_name(asker, room);
        let Self { rooms, voice, durable, .. } = self;
        let state = &rooms[room];
        let [older, newer] = state.log.between(after, before);
        let first = older.first().or(newer.first()).map(|record| record.post.seq);
        // In memory nothing is older than what is there.
        let oldest = if durable.is_on_disk() { Some(state.oldest) } else { state.log.first_seq() };
        let last = newer.last().or(older.last()).map(|record| record.post.seq);
        let more = match end {
            None => first.zip(oldest).is_some_and(|(first, oldest)| first > oldest),
            Some(end) => last.is_some_and(|last| last + 1 < end),
        };
        let messages = Messages([&[], older, newer]);
        voice.reply(ctx, asker, &History { id: asker.id(), room: &name, messages, more });
    }

    /// Messages of the store, oldest first.
    pub(super) fn tell_history<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        room: u32,
        records: &[Record],
        limit: usize,
        end: Option<u64>,
    ) {
        let name = self.shown_name(asker, room);
        let first = records.first().map_or(0, |record| record.post.seq);
        let more = match end {
            None => records.len() >= limit && first > self.rooms[room].oldest,
            Some(end) => records.last().is_some_and(|record| record.post.seq + 1 < end),
        };
        let messages = Messages([&[], &[], records]);
        self.voice.reply(ctx, asker, &History { id: asker.id(), room: &name, messages, more });
    }

    pub(super) fn search<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        room: u32,
        query: &str,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        let limit = self.page_len(limit);
        if self.durable.is_on_disk() {
            let name = Arc::clone(&self.rooms[room].name);
            let query = query.to_owned();
            let ask = Ask::Search { asker: asker.clone(), room };
            return self.ask_for(asker, room, ask, |ask| Request::Search { ask, room: name, query, limit });
        }
        let name = self.shown_name(asker, room);
        let wanted = words(query);
        let Self { rooms, voice, .. } = self;
        let has_all = |record: &&Record| {
            let there = words(&record.post.text);
            !record.is_deleted && !wanted.is_empty() && wanted.iter().all(|word| there.contains(word))
        };
        let found: Vec<Shown<'_>> =
            rooms[room].log.iter_back().filter(has_all).take(limit).map(Shown).collect();
        voice.reply(ctx, asker, &Found { id: asker.id(), room: &name, messages: &found });
        Ok(())
    }

    /// Messages that the store found, newest first.
    pub(super) fn tell_found<C: Context>(
        &mut self,
        ctx: &mut C,
        asker: &Asker,
        room: u32,
        records: &[Record],
    ) {
        let name = self.shown_name(asker, room);
        let found: Vec<Shown<'_>> = records.iter().map(Shown).collect();
        self.voice.reply(ctx, asker, &Found { id: asker.id(), room: &name, messages: &found });
    }

    /// What the asker calls a room: the conversation of two is called after the other.
    pub(super) fn shown_name(&self, asker: &Asker, room: u32) -> Arc<str> {
        let state = &self.rooms[room];
        let Kind::Pair([a, b]) = &state.kind else { return Arc::clone(&state.name) };
        let own = asker.conn().and_then(|conn| self.people.actor(conn.index)).map(|actor| actor.folded);
        let other = if own.as_ref() == Some(a) { b } else { a };
        let shown = self.people.find(other).and_then(|user| self.people.user(user)).map(|user| &user.name);
        format!("@{}", shown.unwrap_or(other)).into()
    }
}

/// The words of a text, without case.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| names::fold(word).into_owned())
        .collect()
}
