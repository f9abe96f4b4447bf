//! One user of a chat server: what the user sends, and whether the server keeps its promises.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use serde_json::Value;
use switchboard::proto::{Connection, Message, Outgoing};

use super::delivery::DeliveryTracker;
use super::text::{self, Head, Origin};
use super::wire::{Command, Listing, Notice, Past, Post, Since};
use crate::clock::{Nanos, SECOND};
use crate::input::plan::Plan;
use crate::input::values::Sizes;
use crate::output::record::Record;
use crate::scenario::sequence::{Arrival, Sequence};

/// The `id` of a join; posts have smaller ones.
const JOIN_ID: u64 = u32::MAX as u64;

/// The chat protocol of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `chat.v1.json`.
    V1,
    /// `json`.
    Json,
}

impl Dialect {
    /// The protocol of an agreed subprotocol.
    pub(in crate::scenario) fn of(subprotocol: Option<&str>) -> Option<Self> {
        match subprotocol {
            Some("chat.v1.json") => Some(Self::V1),
            Some("json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// The state of a user at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// The user has no connection.
    Offline,
    /// `hello` will be sent, or was.
    Greeting { is_sent: bool },
    /// `join` will be sent, or was.
    Joining { is_sent: bool },
    /// The user is in the room.
    Joined,
    /// `leave` will be sent, or was.
    Leaving { is_sent: bool },
    /// The user has left the room, and joins it again on another connection.
    Moving,
}

/// State that the users of a thread share.
#[derive(Debug)]
pub(crate) struct ChatState {
    /// Distinguishes the posts of this run from others.
    pub(crate) run: u32,
    pub(crate) rooms: u32,
    pub(crate) sizes: Sizes,
    /// Users who leave their room join it again at the next server.
    moves: bool,
    threads: u32,
    /// Users that a server asked to join again later, by instant and place.
    retries: BinaryHeap<Reverse<(Nanos, u32)>>,
    deliveries: DeliveryTracker,
    text: String,
    json: String,
}

impl ChatState {
    pub(crate) fn new(plan: &Plan, rooms: u32, sizes: Sizes) -> Self {
        Self {
            moves: plan.destinations.len() > 1,
            threads: plan.threads,
            retries: BinaryHeap::new(),
            run: plan.seed as u32,
            rooms,
            sizes,
            deliveries: DeliveryTracker::new(rooms),
            text: String::new(),
            json: String::new(),
        }
    }

    /// The place of a user who may ask again at `now`. Each call returns another one.
    pub(crate) fn next_retry(&mut self, now: Nanos) -> Option<u32> {
        self.retry_at().filter(|at| *at <= now)?;
        self.retries.pop().map(|Reverse((_, place))| place)
    }

    /// The instant at which the next user may ask again.
    pub(crate) fn retry_at(&self) -> Option<Nanos> {
        self.retries.peek().map(|Reverse((at, _))| *at)
    }

    /// Users who have not received every acknowledged message of their room.
    pub(crate) fn behind(&self) -> u64 {
        self.deliveries.behind()
    }
}

/// When a post leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PostTime {
    pub(crate) now: Nanos,
    /// The planned instant, in an open loop.
    pub(crate) planned: Option<Nanos>,
}

/// An unanswered post.
#[derive(Debug, Clone, Copy)]
struct Pending {
    seq: u64,
    sent_at: Nanos,
    planned: Option<Nanos>,
    /// The server answered a later post first.
    is_overtaken: bool,
}

/// The effect of a message on the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// The user is in the room now.
    Joined,
    /// The server sends messages back to their sender.
    Echoed,
    /// The server answered this number of posts.
    Answered(u64),
}

/// One user over all its connections.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) number: u32,
    dialect: Dialect,
    membership: Membership,
    /// Posts of all connections.
    pub(crate) posted: u64,
    pending: VecDeque<Pending>,
    /// The newest message of the room that the user has received.
    seen: Option<u64>,
    epoch: Option<Value>,
    /// The server asked the user not to join before this instant.
    join_at: Nanos,
    /// A hash of the newest message of the last list (`json`).
    newest: Option<u64>,
}

impl User {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            number,
            dialect: Dialect::V1,
            membership: Membership::Offline,
            posted: 0,
            pending: VecDeque::new(),
            seen: None,
            epoch: None,
            join_at: 0,
            newest: None,
        }
    }

    /// The user has a connection.
    pub(crate) fn opened(&mut self, dialect: Dialect) {
        self.dialect = dialect;
        self.newest = None;
        self.join_at = 0;
        self.membership = match dialect {
            Dialect::V1 => Membership::Greeting { is_sent: false },
            Dialect::Json => Membership::Joining { is_sent: true },
        };
    }

    /// Whether the user is in the room.
    pub(crate) fn is_joined(&self) -> bool {
        self.membership == Membership::Joined
    }

    /// Whether the user has left the room, has all answers, and joins it again on another connection.
    pub(crate) fn is_moving(&self) -> bool {
        self.membership == Membership::Moving && self.pending.is_empty()
    }

    /// Unanswered posts.
    pub(crate) fn unanswered(&self) -> u64 {
        self.pending.len() as u64
    }

    /// The user leaves the room, and joins it again after that. Returns whether the user is in a room to leave.
    pub(crate) fn leave(&mut self) -> bool {
        let can = self.dialect == Dialect::V1 && self.is_joined();
        if can {
            self.membership = Membership::Leaving { is_sent: false };
        }
        can
    }

    /// The connection is lost. Returns the number of unanswered posts, and of acknowledged messages of the room that the
    /// user never received.
    pub(crate) fn disconnected(&mut self, chat: &mut ChatState) -> (u64, u64) {
        let undelivered = self.leave_room(chat);
        self.membership = Membership::Offline;
        let unanswered = self.unanswered();
        self.pending.clear();
        (unanswered, undelivered)
    }

    /// The user leaves the room, if in one. Returns the number of messages that the user should have received and did not.
    fn leave_room(&mut self, chat: &mut ChatState) -> u64 {
        let is_in_room = matches!(self.membership, Membership::Joined | Membership::Leaving { .. });
        if self.dialect != Dialect::V1 || !is_in_room {
            return 0;
        }
        let (room, seen) = (self.room_index(chat), self.seen.unwrap_or(0));
        let lag = chat.deliveries.lag(room, seen);
        chat.deliveries.left(room, seen);
        if self.is_joined() { lag } else { 0 }
    }

    fn room_index(&self, chat: &ChatState) -> usize {
        (self.number % chat.rooms) as usize
    }

    /// Writes the next command, if one is due.
    pub(crate) fn write_command(
        &mut self,
        chat: &ChatState,
        connection: &mut Connection,
        now: Nanos,
        out: &mut Vec<u8>,
    ) {
        let (kind, next) = match self.membership {
            Membership::Greeting { is_sent: false } => ("hello", Membership::Greeting { is_sent: true }),
            Membership::Joining { is_sent: false } if self.join_at <= now => {
                ("join", Membership::Joining { is_sent: true })
            }
            Membership::Leaving { is_sent: false } => ("leave", Membership::Leaving { is_sent: true }),
            _ => return,
        };
        self.membership = next;
        let (user, room) = (format!("lg-{}", self.number), self.room(chat));
        let since = self.epoch.as_ref().zip(self.seen).map(|(epoch, seq)| Since { epoch, seq });
        let command = match kind {
            "hello" => Command { r#type: kind, user: Some(&user), ..Command::default() },
            "join" => Command { r#type: kind, id: JOIN_ID, room: Some(&room), since, ..Command::default() },
            _ => Command { r#type: kind, room: Some(&room), ..Command::default() },
        };
        send(connection, &serde_json::to_string(&command).unwrap_or_default(), out);
    }

    /// Writes the next post.
    pub(crate) fn write_post(
        &mut self,
        chat: &mut ChatState,
        time: PostTime,
        connection: &mut Connection,
        out: &mut Vec<u8>,
    ) {
        let seq = self.posted;
        self.posted += 1;
        let PostTime { now, planned } = time;
        self.pending.push_back(Pending { seq, sent_at: now, planned, is_overtaken: false });
        let room = self.room(chat);
        let ChatState { run, sizes, text, json, .. } = chat;
        let head = Head { lane: self.number, seq, since: planned.unwrap_or(now) };
        text.clear();
        text::write_text(*run, head, text::size_of(*sizes, self.number, seq), text);
        json.clear();
        *json = match self.dialect {
            Dialect::V1 => {
                let key = format!("{run:08x}-{}-{seq}", self.number);
                let (room, text, key) = (Some(room.as_str()), Some(text.as_str()), Some(key.as_str()));
                let post = Command { r#type: "post", id: seq, room, text, key, ..Command::default() };
                serde_json::to_string(&post).unwrap_or_default()
            }
            Dialect::Json => {
                let user = format!("lg-{}", self.number);
                serde_json::to_string(&Post { user: &user, text }).unwrap_or_default()
            }
        };
        send(connection, json, out);
    }

    /// A message arrived.
    pub(crate) fn receive(
        &mut self,
        chat: &mut ChatState,
        message: &Message<'_>,
        now: Nanos,
        record: &mut Record,
    ) -> Effect {
        let Some(text) = message.text() else {
            record.count.corrupted += 1;
            return Effect::Nothing;
        };
        match self.dialect {
            Dialect::V1 => match serde_json::from_str(text) {
                Ok(notice) => self.receive_notice(chat, &notice, now, record),
                Err(_) => malformed(record),
            },
            Dialect::Json => match serde_json::from_str(text) {
                Ok(listing) => self.receive_listing(chat, &listing, now, record),
                Err(_) => malformed(record),
            },
        }
    }

    fn receive_notice(
        &mut self,
        chat: &mut ChatState,
        notice: &Notice<'_>,
        now: Nanos,
        record: &mut Record,
    ) -> Effect {
        match (&*notice.r#type, self.membership) {
            ("welcome", Membership::Greeting { is_sent: true }) => {
                self.membership = Membership::Joining { is_sent: false };
                Effect::Nothing
            }
            // The server sends the command back: it is not a chat.
            ("hello", Membership::Greeting { is_sent: true }) => Effect::Echoed,
            ("joined", Membership::Joining { is_sent: true }) => {
                self.joined(notice, record);
                self.membership = Membership::Joined;
                chat.deliveries.joined(self.room_index(chat), self.seen.unwrap_or(0));
                Effect::Joined
            }
            ("left", Membership::Leaving { is_sent: true }) => {
                record.count.rejoined += 1;
                // The user receives messages that were acknowledged after the leave when it joins again.
                self.leave_room(chat);
                self.membership =
                    if chat.moves { Membership::Moving } else { Membership::Joining { is_sent: false } };
                Effect::Nothing
            }
            ("ack", _) => {
                if let Some(seq) = notice.seq.filter(|_| self.is_joined()) {
                    chat.deliveries.acked(self.room_index(chat), seq);
                }
                self.acknowledged(notice.id, now, record)
            }
            ("message", _) => {
                self.delivered(chat, notice, now, record);
                Effect::Nothing
            }
            ("error", Membership::Joining { is_sent: true })
                if notice.id == Some(JOIN_ID) && notice.retry_after_ms.is_some() =>
            {
                // The server has not yet heard of everything that the user knows from another one.
                record.count.put_off += 1;
                let after = notice.retry_after_ms.unwrap_or(0).saturating_mul(SECOND / 1000);
                self.join_at = now.saturating_add(after);
                chat.retries.push(Reverse((self.join_at, self.number / chat.threads)));
                self.membership = Membership::Joining { is_sent: false };
                Effect::Nothing
            }
            ("error", _) => {
                let code = notice.code.as_deref().unwrap_or("without a code");
                record.failure(&format!("error of the chat: {code}"));
                record.count.refused += 1;
                if notice.id.is_some_and(|id| self.forget(id)) {
                    Effect::Answered(1)
                } else {
                    Effect::Nothing
                }
            }
            // Presence, typing and the like.
            _ => Effect::Nothing,
        }
    }

    /// Removes a refused post; returns whether there was one.
    fn forget(&mut self, id: u64) -> bool {
        let before = self.pending.len();
        self.pending.retain(|pending| pending.seq != id);
        before > self.pending.len()
    }

    fn acknowledged(&mut self, id: Option<u64>, now: Nanos, record: &mut Record) -> Effect {
        let Some(place) = self.pending.iter().position(|pending| Some(pending.seq) == id) else {
            if id.is_some_and(|id| id < self.posted) {
                record.count.duplicated += 1;
            } else {
                record.count.corrupted += 1;
            }
            return Effect::Nothing;
        };
        self.pending.iter_mut().take(place).for_each(|pending| pending.is_overtaken = true);
        if let Some(pending) = self.pending.remove(place) {
            record.count.reordered += u64::from(pending.is_overtaken);
            answered(pending, now, record);
        }
        Effect::Answered(1)
    }

    /// Checks a delivery. `seq` orders the messages of a room, and `prev` names the message before: a gap shows at once.
    fn delivered(&mut self, chat: &mut ChatState, notice: &Notice<'_>, now: Nanos, record: &mut Record) {
        let Some(seq) = notice.seq else {
            record.count.corrupted += 1;
            return;
        };
        if notice.room.as_deref() != Some(&*self.room(chat)) {
            record.count.corrupted += 1;
            return;
        }
        match self.seen {
            Some(seen) if seq <= seen => {
                record.count.duplicated += 1;
                return;
            }
            Some(seen) if notice.prev.unwrap_or(seq.saturating_sub(1)) != seen => {
                record.lost((seq - seen - 1).max(1));
            }
            _ => {}
        }
        if matches!(self.membership, Membership::Joined | Membership::Leaving { .. }) {
            chat.deliveries.saw(self.room_index(chat), self.seen.unwrap_or(0), seq);
        }
        self.seen = Some(seq);
        check_text(chat, notice.text.as_deref(), now, record);
    }

    /// Checks the history in `joined`: either all missed messages, or `recovered` is false.
    fn joined(&mut self, notice: &Notice<'_>, record: &mut Record) {
        let mut last = notice.seq.unwrap_or(0);
        if let (Some(seen), Some(_)) = (self.seen, &self.epoch) {
            if notice.recovered == Some(true) && notice.epoch == self.epoch {
                let mut missed = Sequence::default();
                let mut seqs: Vec<u64> = notice.messages.iter().map(|past: &Past<'_>| past.seq).collect();
                seqs.sort_unstable();
                let after: Vec<u64> =
                    seqs.iter().filter(|seq| **seq > seen).map(|seq| seq - seen - 1).collect();
                for seq in after {
                    if missed.arrived(seq) == Arrival::Again {
                        record.count.duplicated += 1;
                    }
                }
                record.lost(missed.missing());
                record.lost(last.saturating_sub(seen.saturating_add(missed.next())));
                if notice.messages.iter().any(|past| past.text.is_none()) {
                    record.count.corrupted += 1;
                }
                // A server that is behind another one must not deliver again what the user has from that one.
                last = last.max(seen);
            } else {
                record.count.unrecovered += 1;
            }
        }
        self.seen = Some(last);
        self.epoch.clone_from(&notice.epoch);
    }

    /// Checks a list. It holds all messages since the list before it; a list may have several new messages.
    fn receive_listing(
        &mut self,
        chat: &mut ChatState,
        listing: &Listing<'_>,
        now: Nanos,
        record: &mut Record,
    ) -> Effect {
        let Some(list) = &listing.msg else {
            record.failure(&format!("error of the chat: {}", listing.error.as_deref().unwrap_or("no list")));
            record.count.refused += 1;
            return if self.pending.pop_front().is_some() { Effect::Answered(1) } else { Effect::Nothing };
        };
        let hash = |i: usize| list.get(i).map(|item| hash_of(&item.user, &item.text, item.time));
        let known = self.newest.map(|newest| (0..list.len()).find(|i| hash(*i) == Some(newest)));
        self.newest = hash(0);
        if self.membership != Membership::Joined {
            self.membership = Membership::Joined;
            return Effect::Joined;
        }
        let new = match known {
            Some(Some(0)) => {
                record.count.duplicated += 1;
                0
            }
            Some(Some(place)) => place,
            Some(None) => {
                // The list no longer has the newest message of the last one, so messages between them may be lost.
                record.count.lost += u64::from(list.len() > 1);
                list.len()
            }
            None => list.len(),
        };
        let mut answered = 0;
        for item in list[..new].iter().rev() {
            check_text(chat, Some(&item.text), now, record);
            if let Origin::Ours(head) = text::read_text(chat.run, &item.text)
                && head.lane == self.number
                && let Effect::Answered(count) = self.acknowledged(Some(head.seq), now, record)
            {
                answered += count;
            }
        }
        if answered > 0 { Effect::Answered(answered) } else { Effect::Nothing }
    }

    fn room(&self, chat: &ChatState) -> String {
        match self.dialect {
            Dialect::V1 => format!("lg-room-{}", self.number % chat.rooms),
            Dialect::Json => "general".to_owned(),
        }
    }
}

fn check_text(chat: &ChatState, text: Option<&str>, now: Nanos, record: &mut Record) {
    match text.map(|text| text::read_text(chat.run, text)) {
        None | Some(Origin::Corrupted) => record.count.corrupted += 1,
        Some(Origin::Ours(head)) if record.window.contains(&head.since) => {
            record.delivery.saturating_record(now.saturating_sub(head.since));
        }
        // Messages of others are not checked.
        Some(Origin::Ours(_) | Origin::Foreign) => {}
    }
}

fn answered(pending: Pending, now: Nanos, record: &mut Record) {
    record.answers(pending.sent_at, now, 1);
    if let Some(planned) = pending.planned {
        record.answer_of_plan(planned, now);
    }
}

fn malformed(record: &mut Record) -> Effect {
    record.count.corrupted += 1;
    Effect::Nothing
}

fn hash_of(user: &str, text: &str, time: u64) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one((user, text, time))
}

fn send(connection: &mut Connection, json: &str, out: &mut Vec<u8>) {
    // Cannot fail: the loop composes on open connections only.
    let _ = connection.encode(Outgoing::text(json), out);
}
