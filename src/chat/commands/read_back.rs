//! Reading back and looking for messages.

use std::sync::Arc;

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::pace::Paced;
use crate::chat::ids::{RoomId, SessionId};
use crate::chat::pending::queries::{Purpose, StoredRange, octets_of};
use crate::chat::rooms::log::apply;
use crate::chat::rooms::{Hold, Kind, Room};
use crate::chat::wire::notices::{Found, History, Messages, Shown};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal};
use crate::history::{Keep, PAGE_OCTETS, Query, Record};
use crate::text::words;

/// What looking at a message costs besides its text.
const LOOK: usize = 64;

/// A search through a history in memory that is under way.
#[derive(Debug)]
pub(in crate::chat) struct Scan {
    reply_to: ReplyTo,
    pub(in crate::chat) hold: Hold,
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
    /// The oldest message that may be shown.
    pub(in crate::chat) fn visible_from(&self, room: &Room, unix_ms: u64) -> u64 {
        room.order.visible_from(self.options.keep_posts, self.options.keep_ms, unix_ms)
    }

    /// The oldest message of a room that can still be read.
    fn lowest(&self, room: &Room, unix_ms: u64) -> u64 {
        let visible = self.visible_from(room, unix_ms);
        // In memory nothing is older than what is there.
        if self.pending.is_on_disk() { visible } else { visible.max(room.order.first_in_memory()) }
    }

    pub(in crate::chat) fn history<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        range: &Range,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        let state = &self.rooms[room];
        let lowest = self.lowest(state, call.ctx.now().unix_ms);
        let (before, limit, end) = range.page(lowest, state.order.seq(), self.page_len(limit));
        let after = before.saturating_sub(limit as u64 + 1);
        let first = state.order.first_in_memory();
        let is_here = after + 1 >= first || first <= lowest || before <= lowest || limit == 0;
        if is_here || !self.pending.is_on_disk() {
            self.tell_recent(call, room, [after, before], end);
            return Ok(());
        }
        let (room_name, rev) = (Arc::clone(state.name()), state.order.rev());
        let purpose = Purpose::History(StoredRange { limit, rev, end });
        let keep = if end.is_some() { Keep::Oldest } else { Keep::Newest };
        let request = |ask| Query::Page { ask, room: room_name, before, limit, keep };
        self.ask_for(call.reply_to, Some(room), purpose, request)
    }

    pub(in crate::chat) fn page_len(&self, limit: Option<u64>) -> usize {
        let limits = &self.options.limits;
        limit.unwrap_or(self.options.history as u64).min(limits.max_history as u64) as usize
    }

    fn tell_recent<C: Context>(
        &mut self,
        call: &mut Call<'_, C>,
        room: RoomId,
        [after, before]: [u64; 2],
        end: Option<u64>,
    ) {
        let name = self.shown_name(call.reply_to, room);
        let state = &self.rooms[room];
        let lowest = self.lowest(state, call.ctx.now().unix_ms);
        let [older, newer] = state.order.log().between(after.max(lowest.saturating_sub(1)), before);
        let messages = Messages::new([&[], older, newer], self.people.lookalikes());
        let most = self.options.limits.max_answer;
        let (messages, more) = match end {
            None => {
                let (messages, _, _) = messages.newest_within(most);
                (messages, messages.first_seq().unwrap_or(before) > lowest)
            }
            Some(end) => read_on(messages.oldest_within(most), end),
        };
        let history = History { id: call.reply_to.id(), room: &name, messages, more };
        let octets = self.responder.reply(call.ctx, call.reply_to, &history);
        self.note_answer(call.reply_to, octets);
    }

    /// Messages of the history, oldest first.
    pub(in crate::chat) fn tell_history<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: RoomId,
        (range, mut records): (StoredRange, Vec<Record>),
    ) {
        let StoredRange { limit, rev, end } = range;
        let is_whole = records.len() < limit && octets_of(&records) < PAGE_OCTETS;
        self.bring_up_to_date(room, rev, &mut records);
        let name = self.shown_name(reply_to, room);
        let lowest = self.lowest(&self.rooms[room], ctx.now().unix_ms);
        records.retain(|record| record.post.seq >= lowest);
        let messages = Messages::new([&[], &[], &records], self.people.lookalikes());
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

    /// What the history read may be older than what the room has been told since.
    pub(in crate::chat) fn bring_up_to_date(&mut self, room: RoomId, rev: u64, records: &mut [Record]) {
        let verified = records.iter().filter(|record| record.post.is_verified);
        self.people.vouch(verified.map(|record| &*record.post.user));
        let order = &self.rooms[room].order;
        let Some(changes) = order.log().changes_after(rev, order.rev()) else { return };
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
        call: &mut Call<'_, C>,
        room: RoomId,
        query: &str,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        let limit = self.page_len(limit);
        let state = &self.rooms[room];
        if self.pending.is_on_disk() {
            let (room_name, rev) = (Arc::clone(state.name()), state.order.rev());
            let query = query.to_owned();
            let request = |ask| Query::Search { ask, room: room_name, query, limit };
            return self.ask_for(call.reply_to, Some(room), Purpose::Search { rev }, request);
        }
        let before = state.order.seq() + 1;
        let Some(query) = words::Query::parse(query) else {
            self.tell_found(call.ctx, call.reply_to, room, &[]);
            return Ok(());
        };
        let hold = self.rooms.hold(room);
        let scan = Scan { reply_to: call.reply_to.clone(), hold, query, limit, before, found: Vec::new() };
        if let Some(scan) = self.scan(call.ctx, Box::new(scan), self.options.limits.turn_scan)
            && let Some(conn) = call.reply_to.conn()
        {
            self.pace_first(conn, Paced::Scan(scan));
        }
        Ok(())
    }

    /// Looks through messages until the turn has looked through this many octets; returns the search if something is left of it.
    pub(in crate::chat) fn scan<C: Context>(
        &mut self,
        ctx: &mut C,
        mut scan: Box<Scan>,
        budget: usize,
    ) -> Option<Box<Scan>> {
        let state = &self.rooms[scan.hold.room()];
        let lowest = self.lowest(state, ctx.now().unix_ms);
        let [older, newer] = state.order.log().between(lowest.saturating_sub(1), scan.before);
        let begun = self.turn.scanned;
        for record in newer.iter().rev().chain(older.iter().rev()) {
            if scan.found.len() >= scan.limit {
                break;
            }
            if self.turn.scanned >= budget && scan.reply_to.conn().is_some() {
                self.counts.scanned_octets += (self.turn.scanned - begun) as u64;
                return Some(scan);
            }
            self.turn.scanned += record.post.text.len() + LOOK;
            scan.before = record.post.seq;
            if !record.is_deleted && scan.query.matches(&record.post.text) {
                scan.found.push(record.post.seq);
            }
        }
        self.counts.scanned_octets += (self.turn.scanned - begun) as u64;
        let Scan { reply_to, hold, found, .. } = *scan;
        let log = self.rooms[hold.room()].order.log();
        // Some may have gone in the meantime.
        let records: Vec<Record> = found.iter().filter_map(|seq| log.find(*seq).cloned()).collect();
        self.tell_found(ctx, &reply_to, hold.room(), &records);
        self.release(ctx, hold);
        None
    }

    /// Messages that were found, newest first.
    pub(in crate::chat) fn tell_found<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: RoomId,
        records: &[Record],
    ) {
        let name = self.shown_name(reply_to, room);
        let lookalikes = self.people.lookalikes();
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

    /// What the one who asked calls a room: the conversation of two is called after the other.
    pub(in crate::chat) fn shown_name(&self, reply_to: &ReplyTo, room: RoomId) -> Arc<str> {
        let state = &self.rooms[room];
        let Kind::Pair([a, b]) = state.kind() else { return Arc::clone(state.name()) };
        let own =
            reply_to.conn().and_then(|conn| self.people.actor(SessionId::of(conn))).map(|actor| actor.person);
        self.pair_name(if own.as_ref() == Some(a) { b } else { a })
    }

    /// What a conversation with this user is called.
    pub(in crate::chat) fn pair_name(&self, other: &str) -> Arc<str> {
        format!("@{}", self.people.name_of(other).map_or(other, |name| name)).into()
    }
}

/// Messages that follow one that is known, and whether more follow them before the number where the history ends.
fn read_on(messages: Messages<'_>, end: u64) -> (Messages<'_>, bool) {
    (messages, messages.last_seq().is_some_and(|last| last + 1 < end))
}
