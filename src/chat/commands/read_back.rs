//! Reading back and looking for messages.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::pace::Paced;
use crate::chat::pending::queries::PendingQuery;
use crate::chat::rooms::log::apply;
use crate::chat::rooms::{Kind, Room};
use crate::chat::wire::notices::{Found, History, Messages, Shown};
use crate::chat::wire::responder::ReplyTo;
use crate::chat::{Chat, Refusal};
use crate::history::{Keep, PAGE_OCTETS, Query, Record};
use crate::text::words;

/// What looking at a message costs besides its text.
const LOOK: usize = 64;

/// A search through a history in memory that is under way.
#[derive(Debug)]
pub(in crate::chat) struct Scan {
    pub(in crate::chat) reply_to: ReplyTo,
    pub(in crate::chat) room: u32,
    query: words::Query,
    limit: usize,
    /// Messages below are to be looked at.
    before: u64,
    found: Vec<u64>,
}

/// Which part of a history is wanted: the newest messages before a number, or the oldest after one.
#[derive(Debug)]
pub(in crate::chat) struct Range {
    pub(in crate::chat) before: Option<u64>,
    pub(in crate::chat) after: Option<u64>,
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
    /// The oldest message that may be shown. The rule about ages is asked anew each time: a clock that is wrong for a moment
    /// hides messages for that moment only.
    pub(in crate::chat) fn visible_from(&self, room: &Room, unix_ms: u64) -> u64 {
        let (posts, ms) = (self.options.keep_posts, self.options.keep_ms);
        let mut oldest = room.oldest;
        if posts > 0 {
            oldest = oldest.max((room.seq + 1).saturating_sub(posts));
        }
        if ms > 0 {
            oldest = oldest.max(room.log.first_after(unix_ms.saturating_sub(ms)));
        }
        oldest
    }

    /// The oldest message of a room that can still be read.
    fn lowest(&self, room: &Room, unix_ms: u64) -> u64 {
        let visible = self.visible_from(room, unix_ms);
        if self.pending.is_on_disk() {
            return visible;
        }
        // In memory nothing is older than what is there.
        visible.max(room.log.first_seq().unwrap_or(room.seq + 1))
    }

    pub(in crate::chat) fn history<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: u32,
        range: &Range,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        let state = &self.rooms[room];
        let lowest = self.lowest(state, ctx.now().unix_ms);
        let (before, limit, end) = range.page(lowest, state.seq, self.page_len(limit));
        let after = before.saturating_sub(limit as u64 + 1);
        let first = state.log.first_seq().unwrap_or(state.seq + 1);
        let is_here = after + 1 >= first || first <= lowest || before <= lowest || limit == 0;
        if is_here || !self.pending.is_on_disk() {
            self.tell_recent(ctx, reply_to, room, [after, before], end);
            return Ok(());
        }
        let (name, rev) = (Arc::clone(&state.name), state.rev);
        let ask = PendingQuery::History { reply_to: reply_to.clone(), room, limit, rev, end };
        let keep = if end.is_some() { Keep::Oldest } else { Keep::Newest };
        self.ask_for(reply_to, room, ask, |ask| Query::Page { ask, room: name, before, limit, keep })
    }

    pub(in crate::chat) fn page_len(&self, limit: Option<u64>) -> usize {
        let limits = &self.options.limits;
        limit.unwrap_or(self.options.history as u64).min(limits.max_history as u64) as usize
    }

    fn tell_recent<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: u32,
        [after, before]: [u64; 2],
        end: Option<u64>,
    ) {
        let name = self.shown_name(reply_to, room);
        let state = &self.rooms[room];
        let lowest = self.lowest(state, ctx.now().unix_ms);
        let [older, newer] = state.log.between(after.max(lowest.saturating_sub(1)), before);
        let messages = Messages::new([&[], older, newer], &self.people.lookalikes);
        let most = self.options.limits.max_answer;
        let (messages, more) = match end {
            None => {
                let (messages, _, _) = messages.newest_within(most);
                (messages, messages.first_seq().unwrap_or(before) > lowest)
            }
            Some(end) => read_on(messages.oldest_within(most), end),
        };
        let history = History { id: reply_to.id(), room: &name, messages, more };
        let octets = self.responder.reply(ctx, reply_to, &history);
        self.note_answer(reply_to, octets);
    }

    /// Messages of the store, oldest first; `rev` is the newest change when they were asked for.
    pub(in crate::chat) fn tell_history<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: u32,
        mut records: Vec<Record>,
        (limit, rev, end): (usize, u64, Option<u64>),
    ) {
        let is_whole = records.len() < limit && octets_of(&records) < PAGE_OCTETS;
        self.bring_up_to_date(room, rev, &mut records);
        let name = self.shown_name(reply_to, room);
        let lowest = self.lowest(&self.rooms[room], ctx.now().unix_ms);
        records.retain(|record| record.post.seq >= lowest);
        let messages = Messages::new([&[], &[], &records], &self.people.lookalikes);
        let most = self.options.limits.max_answer;
        let (messages, more) = match end {
            None => {
                let (messages, _, is_cut) = messages.newest_within(most);
                let has_older = messages.first_seq().is_some_and(|first| first > lowest);
                (messages, (is_cut || !is_whole) && has_older)
            }
            Some(end) => read_on(messages.oldest_within(most), end),
        };
        let history = History { id: reply_to.id(), room: &name, messages, more };
        let octets = self.responder.reply(ctx, reply_to, &history);
        self.note_answer(reply_to, octets);
    }

    /// What the store read may be older than what the room has been told since.
    pub(in crate::chat) fn bring_up_to_date(&mut self, room: u32, rev: u64, records: &mut [Record]) {
        for record in &*records {
            if record.post.is_verified {
                self.people.lookalikes.vouch(&record.post.user);
            }
        }
        let state = &self.rooms[room];
        let Some(changes) = state.log.changes_after(rev, state.rev) else { return };
        for action in changes.into_iter().flatten() {
            if let Some(seq) = action.target()
                && let Some(record) = records.iter_mut().find(|record| record.post.seq == seq)
            {
                apply(record, action);
            }
        }
    }

    pub(in crate::chat) fn search<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: u32,
        query: &str,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        let limit = self.page_len(limit);
        let state = &self.rooms[room];
        if self.pending.is_on_disk() {
            let (name, rev) = (Arc::clone(&state.name), state.rev);
            let query = query.to_owned();
            let ask = PendingQuery::Search { reply_to: reply_to.clone(), room, rev };
            return self.ask_for(reply_to, room, ask, |ask| Query::Search { ask, room: name, query, limit });
        }
        let before = state.seq + 1;
        let Some(query) = words::Query::parse(query) else {
            self.tell_found(ctx, reply_to, room, &[]);
            return Ok(());
        };
        self.rooms.wake(room);
        self.rooms[room].asks += 1;
        let scan = Scan { reply_to: reply_to.clone(), room, query, limit, before, found: Vec::new() };
        if let Some(scan) = self.scan(ctx, Box::new(scan), self.options.limits.turn_scan)
            && let Some(conn) = reply_to.conn()
        {
            self.pace_first(conn, Paced::Scan(scan));
        }
        Ok(())
    }

    /// Looks through messages until the turn has looked through so many octets; returns the search if something is left of it.
    pub(in crate::chat) fn scan<C: Context>(
        &mut self,
        ctx: &mut C,
        mut scan: Box<Scan>,
        budget: usize,
    ) -> Option<Box<Scan>> {
        let state = &self.rooms[scan.room];
        let lowest = self.lowest(state, ctx.now().unix_ms);
        let [older, newer] = state.log.between(lowest.saturating_sub(1), scan.before);
        let begun = self.turn.scanned;
        for record in newer.iter().rev().chain(older.iter().rev()) {
            if scan.found.len() >= scan.limit {
                break;
            }
            if self.turn.scanned >= budget && scan.reply_to.conn().is_some() {
                self.scanned_octets += (self.turn.scanned - begun) as u64;
                return Some(scan);
            }
            self.turn.scanned += record.post.text.len() + LOOK;
            scan.before = record.post.seq;
            if !record.is_deleted && scan.query.matches(&record.post.text) {
                scan.found.push(record.post.seq);
            }
        }
        self.scanned_octets += (self.turn.scanned - begun) as u64;
        let Scan { reply_to, room, found, .. } = *scan;
        let log = &self.rooms[room].log;
        // Some may have gone in the meantime.
        let records: Vec<Record> = found.iter().filter_map(|seq| log.find(*seq).cloned()).collect();
        self.tell_found(ctx, &reply_to, room, &records);
        self.end_scan(ctx, room);
        None
    }

    /// A search does not need the room any more.
    pub(in crate::chat) fn end_scan<C: Context>(&mut self, ctx: &mut C, room: u32) {
        self.rooms[room].asks -= 1;
        self.rest_room(ctx, room);
    }

    /// Messages that were found, newest first.
    pub(in crate::chat) fn tell_found<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: u32,
        records: &[Record],
    ) {
        let name = self.shown_name(reply_to, room);
        let lookalikes = &self.people.lookalikes;
        let mut left = self.options.limits.max_answer;
        let mut found: Vec<Shown<'_>> = Vec::new();
        let mut more = false;
        for record in records.iter().filter(|record| !record.is_deleted) {
            let shown = Shown { record, lookalikes };
            let octets = shown.octets();
            if octets > left && !found.is_empty() {
                more = true;
                break;
            }
            left = left.saturating_sub(octets);
            found.push(shown);
        }
        let answer = Found { id: reply_to.id(), room: &name, messages: &found, more };
        let octets = self.responder.reply(ctx, reply_to, &answer);
        self.note_answer(reply_to, octets);
    }

    /// What the reply_to calls a room: the conversation of two is called after the other.
    pub(in crate::chat) fn shown_name(&self, reply_to: &ReplyTo, room: u32) -> Arc<str> {
        let state = &self.rooms[room];
        let Kind::Pair([a, b]) = &state.kind else { return Arc::clone(&state.name) };
        let own = reply_to.conn().and_then(|conn| self.people.actor(conn.index)).map(|actor| actor.person);
        self.pair_name(if own.as_ref() == Some(a) { b } else { a })
    }

    /// What a conversation with this user is called.
    pub(in crate::chat) fn pair_name(&self, other: &str) -> Arc<str> {
        let shown = self.people.find(other).and_then(|user| self.people.user(user));
        format!("@{}", shown.map_or(other, |user| &user.name)).into()
    }
}

/// Messages that follow one that is known, and whether more follow them before the number where the history ends.
fn read_on(messages: Messages<'_>, end: u64) -> (Messages<'_>, bool) {
    (messages, messages.last_seq().is_some_and(|last| last + 1 < end))
}

/// Octets of the texts of messages.
pub(in crate::chat) fn octets_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.post.text.len()).sum()
}
