//! One person at a chat server: what the server owes them, and whether it keeps to it.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use serde_json::Value;
use switchboard::proto::{Connection, Message, Outgoing};

use super::attendance::Attendance;
use super::text::{self, Head, Origin};
use super::wire::{Command, Listing, Notice, Past, Post, Since};
use crate::cli::values::Sizes;
use crate::clock::Nanos;
use crate::record::Record;
use crate::scenario::sequence::{Arrival, Sequence};

/// What the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `chat.v1.json`.
    V1,
    /// `json`.
    Json,
}

impl Dialect {
    pub(crate) fn of(subprotocol: Option<&str>) -> Option<Self> {
        match subprotocol {
            Some("chat.v1.json") => Some(Self::V1),
            Some("json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// Where a person stands with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// No connection.
    Away,
    /// `hello` is to be sent, or was.
    Greeting { is_sent: bool },
    /// `join` is to be sent, or was.
    Joining { is_sent: bool },
    /// In the room.
    Here,
    /// `leave` is to be sent, or was.
    Leaving { is_sent: bool },
}

/// What all people of a run have in common.
#[derive(Debug)]
pub(crate) struct House {
    /// Tells the posts of this run from all others.
    pub(crate) run: u32,
    pub(crate) rooms: u32,
    pub(crate) sizes: Sizes,
    attendance: Attendance,
    text: String,
    json: String,
}

impl House {
    pub(crate) fn new(seed: u64, rooms: u32, sizes: Sizes) -> Self {
        Self {
            run: seed as u32,
            rooms,
            sizes,
            attendance: Attendance::new(rooms),
            text: String::new(),
            json: String::new(),
        }
    }

    /// People who have not got all that was acknowledged in their room.
    pub(crate) fn behind(&self) -> u64 {
        self.attendance.behind()
    }
}

/// A post that has no answer yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    seq: u64,
    sent_at: Nanos,
    planned: Option<Nanos>,
    /// A later one was answered before it.
    is_overtaken: bool,
}

/// What a message meant for the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Nothing,
    /// They are in the room now.
    Arrived,
    /// The server sends back what it was sent.
    Echoed,
    /// So many of their posts were answered.
    Answered(u64),
}

/// One person, from one connection to the next.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) number: u32,
    dialect: Dialect,
    standing: Standing,
    /// Posts written over all connections.
    pub(crate) posted: u64,
    pending: VecDeque<Pending>,
    /// The newest message of the room that was seen.
    seen: Option<u64>,
    epoch: Option<Value>,
    /// The newest message of the last list (`json`), as a hash.
    newest: Option<u64>,
}

impl Person {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            number,
            dialect: Dialect::V1,
            standing: Standing::Away,
            posted: 0,
            pending: VecDeque::new(),
            seen: None,
            epoch: None,
            newest: None,
        }
    }

    /// A connection is open.
    pub(crate) fn opened(&mut self, dialect: Dialect) {
        self.dialect = dialect;
        self.newest = None;
        self.standing = match dialect {
            Dialect::V1 => Standing::Greeting { is_sent: false },
            Dialect::Json => Standing::Joining { is_sent: true },
        };
    }

    /// Whether they are in the room.
    pub(crate) fn is_here(&self) -> bool {
        self.standing == Standing::Here
    }

    /// Posts without their answer.
    pub(crate) fn unanswered(&self) -> u64 {
        self.pending.len() as u64
    }

    /// They leave the room, and join it again as soon as they have left; gives whether they can.
    pub(crate) fn leave(&mut self) -> bool {
        let can = self.dialect == Dialect::V1 && self.is_here();
        if can {
            self.standing = Standing::Leaving { is_sent: false };
        }
        can
    }

    /// The connection is gone; returns how many posts have no answer, and how many messages that were acknowledged in the room
    /// never came.
    pub(crate) fn gone(&mut self, house: &mut House) -> (u64, u64) {
        let undelivered = self.leave_room(house);
        self.standing = Standing::Away;
        let unanswered = self.unanswered();
        self.pending.clear();
        (unanswered, undelivered)
    }

    /// Not in the room any more, if they were; returns how many messages never came to them while they were to get them.
    fn leave_room(&mut self, house: &mut House) -> u64 {
        let is_in_room = matches!(self.standing, Standing::Here | Standing::Leaving { .. });
        if self.dialect != Dialect::V1 || !is_in_room {
            return 0;
        }
        let (room, seen) = (self.place(house), self.seen.unwrap_or(0));
        let lag = house.attendance.lag(room, seen);
        house.attendance.left(room, seen);
        if self.is_here() { lag } else { 0 }
    }

    fn place(&self, house: &House) -> usize {
        (self.number % house.rooms) as usize
    }

    /// Writes the command that is due, if one is.
    pub(crate) fn write_command(
        &mut self,
        house: &mut House,
        connection: &mut Connection,
        out: &mut Vec<u8>,
    ) {
        let (kind, next) = match self.standing {
            Standing::Greeting { is_sent: false } => ("hello", Standing::Greeting { is_sent: true }),
            Standing::Joining { is_sent: false } => ("join", Standing::Joining { is_sent: true }),
            Standing::Leaving { is_sent: false } => ("leave", Standing::Leaving { is_sent: true }),
            _ => return,
        };
        self.standing = next;
        let (user, room) = (format!("lg-{}", self.number), self.room(house));
        let since = self.epoch.as_ref().zip(self.seen).map(|(epoch, seq)| Since { epoch, seq });
        let command = match kind {
            "hello" => Command { r#type: kind, user: Some(&user), ..Command::default() },
            "join" => Command { r#type: kind, room: Some(&room), since, ..Command::default() },
            _ => Command { r#type: kind, room: Some(&room), ..Command::default() },
        };
        send(connection, &serde_json::to_string(&command).unwrap_or_default(), out);
    }

    /// Writes the next post.
    pub(crate) fn write_post(
        &mut self,
        house: &mut House,
        connection: &mut Connection,
        now: Nanos,
        planned: Option<Nanos>,
        out: &mut Vec<u8>,
    ) {
        let seq = self.posted;
        self.posted += 1;
        self.pending.push_back(Pending { seq, sent_at: now, planned, is_overtaken: false });
        let room = self.room(house);
        let House { run, sizes, text, json, .. } = house;
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

    /// A message came.
    pub(crate) fn receive(
        &mut self,
        house: &mut House,
        message: &Message<'_>,
        now: Nanos,
        record: &mut Record,
    ) -> News {
        let Some(text) = message.text() else {
            record.count.corrupted += 1;
            return News::Nothing;
        };
        match self.dialect {
            Dialect::V1 => match serde_json::from_str(text) {
                Ok(notice) => self.receive_notice(house, &notice, now, record),
                Err(_) => malformed(record),
            },
            Dialect::Json => match serde_json::from_str(text) {
                Ok(listing) => self.receive_listing(house, &listing, now, record),
                Err(_) => malformed(record),
            },
        }
    }

    fn receive_notice(
        &mut self,
        house: &mut House,
        notice: &Notice<'_>,
        now: Nanos,
        record: &mut Record,
    ) -> News {
        match (&*notice.r#type, self.standing) {
            ("welcome", Standing::Greeting { is_sent: true }) => {
                self.standing = Standing::Joining { is_sent: false };
                News::Nothing
            }
            // What it was sent comes back: nobody chats here.
            ("hello", Standing::Greeting { is_sent: true }) => News::Echoed,
            ("joined", Standing::Joining { is_sent: true }) => {
                self.joined(notice, record);
                self.standing = Standing::Here;
                house.attendance.came(self.place(house), self.seen.unwrap_or(0));
                News::Arrived
            }
            ("left", Standing::Leaving { is_sent: true }) => {
                record.count.rejoined += 1;
                // What was acknowledged to others behind the leave is not theirs any more; they get it when they join again.
                self.leave_room(house);
                self.standing = Standing::Joining { is_sent: false };
                News::Nothing
            }
            ("ack", _) => {
                if let Some(seq) = notice.seq.filter(|_| self.is_here()) {
                    house.attendance.acked(self.place(house), seq);
                }
                self.acknowledged(notice.id, now, record)
            }
            ("message", _) => {
                self.delivered(house, notice, now, record);
                News::Nothing
            }
            ("error", _) => {
                let code = notice.code.as_deref().unwrap_or("without a code");
                record.failure(&format!("error of the chat: {code}"));
                record.count.refused += 1;
                if notice.id.is_some_and(|id| self.forget(id)) { News::Answered(1) } else { News::Nothing }
            }
            // Presence, typing and the like.
            _ => News::Nothing,
        }
    }

    /// A refused post is not awaited any more.
    fn forget(&mut self, id: u64) -> bool {
        let before = self.pending.len();
        self.pending.retain(|pending| pending.seq != id);
        before > self.pending.len()
    }

    fn acknowledged(&mut self, id: Option<u64>, now: Nanos, record: &mut Record) -> News {
        let Some(place) = self.pending.iter().position(|pending| Some(pending.seq) == id) else {
            if id.is_some_and(|id| id < self.posted) {
                record.count.duplicated += 1;
            } else {
                record.count.corrupted += 1;
            }
            return News::Nothing;
        };
        self.pending.iter_mut().take(place).for_each(|pending| pending.is_overtaken = true);
        if let Some(pending) = self.pending.remove(place) {
            record.count.reordered += u64::from(pending.is_overtaken);
            answered(pending, now, record);
        }
        News::Answered(1)
    }

    /// The room's order is `seq`, and each message names the one before it: a gap is seen at once.
    fn delivered(&mut self, house: &mut House, notice: &Notice<'_>, now: Nanos, record: &mut Record) {
        let Some(seq) = notice.seq else {
            record.count.corrupted += 1;
            return;
        };
        if notice.room.as_deref() != Some(&*self.room(house)) {
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
        if matches!(self.standing, Standing::Here | Standing::Leaving { .. }) {
            house.attendance.saw(self.place(house), self.seen.unwrap_or(0), seq);
        }
        self.seen = Some(seq);
        check_text(house, notice.text.as_deref(), now, record);
    }

    /// Promise 5 and 6 of the chat: what was missed comes with `joined`, all of it or, as it says itself, not.
    fn joined(&mut self, notice: &Notice<'_>, record: &mut Record) {
        let last = notice.seq.unwrap_or(0);
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
            } else {
                record.count.unrecovered += 1;
            }
        }
        self.seen = Some(last);
        self.epoch.clone_from(&notice.epoch);
    }

    /// Each list shows what came since the one before it; posts of one turn of the server come in one list.
    fn receive_listing(
        &mut self,
        house: &mut House,
        listing: &Listing<'_>,
        now: Nanos,
        record: &mut Record,
    ) -> News {
        let Some(list) = &listing.msg else {
            record.failure(&format!("error of the chat: {}", listing.error.as_deref().unwrap_or("no list")));
            record.count.refused += 1;
            return if self.pending.pop_front().is_some() { News::Answered(1) } else { News::Nothing };
        };
        let hash = |i: usize| list.get(i).map(|item| hash_of(&item.user, &item.text, item.time));
        let known = self.newest.map(|newest| (0..list.len()).find(|i| hash(*i) == Some(newest)));
        self.newest = hash(0);
        if self.standing != Standing::Here {
            self.standing = Standing::Here;
            return News::Arrived;
        }
        let new = match known {
            Some(Some(0)) => {
                record.count.duplicated += 1;
                0
            }
            Some(Some(place)) => place,
            Some(None) => {
                // What was newest is not there any more: something between may be gone, too.
                record.count.lost += u64::from(list.len() > 1);
                list.len()
            }
            None => list.len(),
        };
        let mut answered = 0;
        for item in list[..new].iter().rev() {
            check_text(house, Some(&item.text), now, record);
            if let Origin::Ours(head) = text::read_text(house.run, &item.text)
                && head.lane == self.number
                && let News::Answered(count) = self.acknowledged(Some(head.seq), now, record)
            {
                answered += count;
            }
        }
        if answered > 0 { News::Answered(answered) } else { News::Nothing }
    }

    fn room(&self, house: &House) -> String {
        match self.dialect {
            Dialect::V1 => format!("lg-room-{}", self.number % house.rooms),
            Dialect::Json => "general".to_owned(),
        }
    }
}

fn check_text(house: &House, text: Option<&str>, now: Nanos, record: &mut Record) {
    match text.map(|text| text::read_text(house.run, text)) {
        None | Some(Origin::Corrupted) => record.count.corrupted += 1,
        Some(Origin::Ours(head)) if record.window.contains(&head.since) => {
            record.delivery.saturating_record(now.saturating_sub(head.since));
        }
        // Somebody else's messages are none of our business.
        Some(Origin::Ours(_) | Origin::Foreign) => {}
    }
}

fn answered(pending: Pending, now: Nanos, record: &mut Record) {
    record.answers(pending.sent_at, now, 1);
    if let Some(planned) = pending.planned {
        record.answer_of_plan(planned, now);
    }
}

fn malformed(record: &mut Record) -> News {
    record.count.corrupted += 1;
    News::Nothing
}

fn hash_of(user: &str, text: &str, time: u64) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one((user, text, time))
}

fn send(connection: &mut Connection, json: &str, out: &mut Vec<u8>) {
    // Cannot fail: the loop composes on open connections only.
    let _ = connection.encode(Outgoing::text(json), out);
}
