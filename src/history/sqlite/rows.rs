//! Rows as they stand in the tables, with their checksums, and the walk along the links of a room.
//!
//! A damaged row is told of in the log and passed over: what is read is true or not there.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::RangeInclusive;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, Result, Row};

use super::schema::{DELETED, VERIFIED, checksum};
use crate::history::{Action, Ban, Data, Post, Record, Who};

/// The newest of a room, from where everything else of it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) rev: u64,
    pub(super) time: u64,
    /// The row of the newest post; 0 when there is none.
    pub(super) post: i64,
    /// The row of the newest change; 0 when there is none.
    pub(super) change: i64,
    /// The number of the oldest post that is kept.
    pub(super) oldest: u64,
}

/// A row of `posts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) id: i64,
    pub(super) prev: i64,
    pub(super) room: i64,
    /// Without its reactions.
    pub(super) record: Record,
}

/// What is wrong with a row.
#[derive(Debug)]
pub(super) enum Flaw {
    /// There is none, or its page cannot be read.
    Missing,
    /// Its checksum does not fit. The link may be good all the same.
    Damaged { prev: i64 },
}

pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

impl Head {
    pub(super) fn checksum(&self, room: i64) -> i64 {
        let Self { seq, rev, time, post, change, oldest } = *self;
        checksum(&[room, signed(seq), signed(rev), signed(time), post, change, signed(oldest)], &[])
    }

    /// From the columns `seq, rev, time, post, change, oldest, crc`, the first of them at `at`.
    pub(super) fn read(row: &Row<'_>, at: usize, room: i64) -> Result<Option<Self>> {
        let head = Self {
            seq: row.get::<_, i64>(at)?.cast_unsigned(),
            rev: row.get::<_, i64>(at + 1)?.cast_unsigned(),
            time: row.get::<_, i64>(at + 2)?.cast_unsigned(),
            post: row.get(at + 3)?,
            change: row.get(at + 4)?,
            oldest: row.get::<_, i64>(at + 5)?.cast_unsigned(),
        };
        Ok((row.get::<_, i64>(at + 6)? == head.checksum(room)).then_some(head))
    }
}

/// A room's number and head; `None` when there is no such room.
pub(super) fn load_head(conn: &Connection, name: &str) -> Result<Option<(i64, Head)>> {
    let mut select = conn.prepare_cached(
        "SELECT r.id, h.seq, h.rev, h.time, h.post, h.change, h.oldest, h.crc
         FROM rooms r LEFT JOIN heads h ON h.room = r.id WHERE r.name = ?1",
    )?;
    let found = select
        .query_row([name], |row| {
            let id = row.get(0)?;
            if row.get_ref(1)? == ValueRef::Null {
                return Ok((id, Some(Head::default())));
            }
            Ok((id, Head::read(row, 1, id)?))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((id, Some(head))) => Ok(Some((id, head))),
        Some((id, None)) => Err(damaged(&format!("the head of room {name:?} (number {id})"))),
    }
}

/// The newest row of `posts`; rows that retention removed count as long as something may still name them.
pub(super) fn newest_post(conn: &Connection) -> Result<i64> {
    let sql = "SELECT max(ifnull((SELECT max(id) FROM posts), 0), ifnull((SELECT max(post) FROM heads), 0))";
    conn.query_row(sql, [], |row| row.get(0))
}

/// The newest row of `changes`, whether or not retention removed it.
pub(super) fn newest_change(conn: &Connection) -> Result<i64> {
    let sql =
        "SELECT max(ifnull((SELECT max(id) FROM changes), 0), ifnull((SELECT max(change) FROM heads), 0))";
    conn.query_row(sql, [], |row| row.get(0))
}

/// SQLite's own word for it, so that it is treated as what SQLite finds.
pub(super) fn damaged(what: &str) -> Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Error::SqliteFailure(code, Some(format!("the checksum of {what} does not fit")))
}

pub(super) fn is_damage(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
}

/// The checksum of a row of `posts`.
pub(super) fn post_checksum(
    [id, prev, room]: [i64; 3],
    post: &Post,
    (is_deleted, edited): (bool, Option<u64>),
) -> i64 {
    let flags = flags(post.is_verified, is_deleted);
    let key = post.key.as_deref();
    let numbers = [
        id,
        prev,
        room,
        signed(post.seq),
        signed(post.time),
        flags,
        edited.map_or(-1, signed),
        i64::from(key.is_some()),
    ];
    let texts = [
        post.user.as_bytes(),
        post.client.as_bytes(),
        key.unwrap_or_default().as_bytes(),
        post.text.as_bytes(),
    ];
    let (data, reply_to) = (&post.data, post.reply_to);
    if data.is_none() && reply_to.is_none() {
        return checksum(&numbers, &texts);
    }
    let mut all_numbers = [0; 10];
    all_numbers[..8].copy_from_slice(&numbers);
    all_numbers[8..].copy_from_slice(&[i64::from(data.is_some()), reply_to.map_or(0, signed)]);
    let data = data.as_ref().map_or("", Data::as_str).as_bytes();
    checksum(&all_numbers, &[texts[0], texts[1], texts[2], texts[3], data])
}

pub(super) fn flags(is_verified: bool, is_deleted: bool) -> i64 {
    (if is_verified { VERIFIED } else { 0 }) | (if is_deleted { DELETED } else { 0 })
}

/// Reads `id, prev, room, seq, time, flags, edited, user, client, key, text, crc, data, reply`; `None` when the row is damaged.
pub(super) fn read_post(row: &Row<'_>) -> Result<Option<Stored>> {
    let number = |at| row.get_ref(at).map(|value| value.as_i64().ok());
    let text = |at| row.get_ref(at).map(|value| value.as_str().ok());
    let key = match row.get_ref(9)? {
        ValueRef::Null => Some(None),
        value => value.as_str().ok().map(|key| Some(key.into())),
    };
    let edited = match row.get_ref(6)? {
        ValueRef::Null => Some(None),
        value => value.as_i64().ok().map(|time| Some(time.cast_unsigned())),
    };
    let (Some(id), Some(prev), Some(room), Some(seq), Some(time), Some(flags), Some(crc)) =
        (number(0)?, number(1)?, number(2)?, number(3)?, number(4)?, number(5)?, number(11)?)
    else {
        return Ok(None);
    };
    let (Some(user), Some(client), Some(body), Some(key), Some(edited)) =
        (text(7)?, text(8)?, text(10)?, key, edited)
    else {
        return Ok(None);
    };
    // Where these are damaged the checksum does not fit.
    let data = text(12)?.map(Data::of_compact);
    let reply_to = number(13)?.map(i64::cast_unsigned);
    let post = Post {
        seq: seq.cast_unsigned(),
        time: time.cast_unsigned(),
        user: user.into(),
        is_verified: flags & VERIFIED != 0,
        client: client.into(),
        text: body.into(),
        key,
        data,
        reply_to,
    };
    let is_deleted = flags & DELETED != 0;
    if crc != post_checksum([id, prev, room], &post, (is_deleted, edited)) {
        return Ok(None);
    }
    let record = Record { post, edited, is_deleted, reactions: Vec::new() };
    Ok(Some(Stored { id, prev, room, record }))
}

/// One post by its row.
pub(super) fn load_post(conn: &Connection, id: i64) -> Result<std::result::Result<Stored, Flaw>> {
    let sql = "SELECT id, prev, room, seq, time, flags, edited, user, client, key, text, crc,
               data, reply FROM posts WHERE id = ?1";
    let mut select = conn.prepare_cached(sql)?;
    let found = select.query_row([id], |row| {
        let stored = read_post(row)?;
        Ok(stored.ok_or_else(|| Flaw::Damaged { prev: row.get(1).unwrap_or(0) }))
    });
    match found {
        Err(Error::QueryReturnedNoRows) => Ok(Err(Flaw::Missing)),
        Err(error) if is_damage(&error) => Ok(Err(Flaw::Missing)),
        found => found,
    }
}

/// The posts in these rows, without those that are gone or damaged.
pub(super) fn load_posts(conn: &Connection, rows: RangeInclusive<i64>) -> Result<Vec<Stored>> {
    let sql = "SELECT id, prev, room, seq, time, flags, edited, user, client, key, text, crc,
               data, reply FROM posts WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
    let mut select = conn.prepare_cached(sql)?;
    let found: Result<Vec<Option<Stored>>> =
        select.query_map([rows.start(), rows.end()], read_post)?.collect();
    match found {
        // Where a page of the file is damaged, others are not.
        Err(error) if is_damage(&error) => {
            let mut posts = Vec::new();
            for id in rows {
                posts.extend(load_post(conn, id)?.ok());
            }
            Ok(posts)
        }
        found => Ok(found?.into_iter().flatten().collect()),
    }
}

/// Goes through the posts of a room from the newest to the oldest.
#[derive(Debug)]
pub(super) struct Walk {
    room: i64,
    /// The row that comes next; 0 at the end.
    next: i64,
    /// Numbers from here on are not wanted any more.
    below: u64,
    /// Numbers below are gone.
    oldest: u64,
}

impl Walk {
    /// Begins with the newest post whose number is below `before`.
    pub(super) fn new(conn: &Connection, room: i64, head: &Head, before: u64) -> Result<Self> {
        let mut walk = Self { room, next: head.post, below: head.seq + 1, oldest: head.oldest };
        if before > head.seq {
            return Ok(walk);
        }
        let mut select = conn.prepare_cached(
            "SELECT seq, post FROM marks WHERE room = ?1 AND seq >= ?2 ORDER BY seq LIMIT 1",
        )?;
        let seek_point = select.query_row([room, signed(before.saturating_sub(1))], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?))
        });
        if let Some((seq, post)) = seek_point.optional()? {
            walk.next = post;
            walk.below = seq.cast_unsigned() + 1;
        }
        while let Some(stored) = walk.next(conn)? {
            if stored.record.post.seq < before {
                (walk.next, walk.below) = (stored.id, stored.record.post.seq + 1);
                break;
            }
        }
        Ok(walk)
    }

    /// The next older post.
    pub(super) fn next(&mut self, conn: &Connection) -> Result<Option<Stored>> {
        while self.next != 0 && self.below > self.oldest {
            let flaw = match load_post(conn, self.next)? {
                Ok(stored)
                    if stored.room == self.room
                        && (self.oldest..self.below).contains(&stored.record.post.seq) =>
                {
                    self.next = stored.prev;
                    self.below = stored.record.post.seq;
                    return Ok(Some(stored));
                }
                Ok(_) => Flaw::Missing,
                Err(flaw) => flaw,
            };
            tracing::error!(room = self.room, row = self.next, "a damaged message is passed over");
            self.pass_over(conn, &flaw)?;
        }
        Ok(None)
    }

    /// Finds a way around a damaged row: its own link, when it leads to a sound neighbour; else the seek point below, and what
    /// is between is lost from sight.
    fn pass_over(&mut self, conn: &Connection, flaw: &Flaw) -> Result<()> {
        if let Flaw::Damaged { prev } = *flaw
            && let Ok(stored) = load_post(conn, prev)?
            && stored.room == self.room
            && stored.record.post.seq + 2 == self.below
        {
            self.next = prev;
            self.below -= 1;
            return Ok(());
        }
        let mut select = conn.prepare_cached(
            "SELECT seq, post FROM marks WHERE room = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1",
        )?;
        let below = signed(self.below.saturating_sub(1));
        let seek_point = select.query_row([self.room, below], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
        (self.next, self.below) = match seek_point.optional()? {
            Some((seq, post)) => (post, seq.cast_unsigned() + 1),
            None => (0, 0),
        };
        Ok(())
    }
}

/// The post with this number, when it is there and sound.
pub(super) fn find_post(conn: &Connection, room: i64, head: &Head, seq: u64) -> Result<Option<Stored>> {
    if seq == 0 || seq > head.seq {
        return Ok(None);
    }
    let found = Walk::new(conn, room, head, seq + 1)?.next(conn)?;
    Ok(found.filter(|stored| stored.record.post.seq == seq))
}

/// Who reacted how.
type Reactions = Vec<(Box<str>, Vec<Who>)>;

/// The reactions to a post, in order: each emoji where it first appeared. A deleted one has none; earlier versions left them
/// where they were.
pub(super) fn load_reactions(conn: &Connection, stored: &Stored) -> Result<Reactions> {
    if stored.record.is_deleted {
        return Ok(Reactions::new());
    }
    let post = stored.id;
    let mut select =
        conn.prepare_cached("SELECT emoji, user, rev, crc FROM reactions WHERE post = ?1 ORDER BY rev")?;
    let mut rows = select.query([post])?;
    let mut reactions = Reactions::new();
    let mut places: HashMap<Box<str>, usize> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (emoji, user) = (row.get_ref(0)?, row.get_ref(1)?);
        let (Ok(emoji), Ok(user)) = (emoji.as_str(), user.as_str()) else { continue };
        if row.get::<_, i64>(3)? != checksum(&[post, row.get(2)?], &[emoji.as_bytes(), user.as_bytes()]) {
            tracing::error!(row = post, "a damaged reaction is passed over");
            continue;
        }
        let place = *places.entry(emoji.into()).or_insert_with(|| {
            reactions.push((emoji.into(), Vec::new()));
            reactions.len() - 1
        });
        reactions[place].1.push(Who::from_label(user));
    }
    Ok(reactions)
}

/// Kinds of changes as they stand in `changes.kind`.
const EDIT: i64 = 1;
const DELETE: i64 = 2;
const REACT: i64 = 3;
const TAKE_BACK: i64 = 4;

/// A row of `changes`.
#[derive(Debug)]
pub(super) struct StoredChange {
    pub(super) prev: i64,
    pub(super) room: i64,
    pub(super) action: Action,
}

/// How far a user has read; 0 where that is not known.
pub(super) fn read_position(conn: &Connection, room: i64, head: Head, user: &str) -> rusqlite::Result<u64> {
    let mut select = conn.prepare_cached("SELECT seq, crc FROM reads WHERE room = ?1 AND user = ?2")?;
    let mut rows = select.query((room, user))?;
    let Some(row) = rows.next()? else { return Ok(0) };
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    let is_sound = row.get::<_, i64>(1)? == checksum(&[room, signed(seq)], &[user.as_bytes()]);
    Ok(if is_sound { seq.min(head.seq) } else { 0 })
}

/// The number of a change; messages and read positions have none.
pub(super) fn rev_of(action: &Action) -> u64 {
    match action {
        Action::Edit { rev, .. } | Action::Delete { rev, .. } | Action::React { rev, .. } => *rev,
        Action::Post(_) | Action::Read { .. } => 0,
    }
}

/// The columns of a change besides `id`, `prev` and `room`: rev, seq, kind, time, user, body.
type ChangeColumns<'a> = (u64, u64, i64, u64, Cow<'a, str>, &'a str);

/// The column `data` of a change.
pub(super) fn data_of(action: &Action) -> Option<&str> {
    if let Action::Edit { data, .. } = action { data.as_ref().map(Data::as_str) } else { None }
}

/// `None` for what is no change with a number.
pub(super) fn change_columns(action: &Action) -> Option<ChangeColumns<'_>> {
    Some(match action {
        Action::Edit { rev, seq, text, time, .. } => (*rev, *seq, EDIT, *time, "".into(), text),
        Action::Delete { rev, seq, time } => (*rev, *seq, DELETE, *time, "".into(), ""),
        Action::React { rev, seq, user, emoji, is_removed } => {
            (*rev, *seq, if *is_removed { TAKE_BACK } else { REACT }, 0, user.label(), emoji)
        }
        Action::Post(_) | Action::Read { .. } => return None,
    })
}

pub(super) fn change_checksum(id: i64, prev: i64, room: i64, action: &Action) -> i64 {
    let Some((rev, seq, kind, time, user, body)) = change_columns(action) else { return 0 };
    let numbers = [id, prev, room, signed(rev), signed(seq), kind, signed(time)];
    match data_of(action) {
        None => checksum(&numbers, &[user.as_bytes(), body.as_bytes()]),
        Some(data) => checksum(&numbers, &[user.as_bytes(), body.as_bytes(), data.as_bytes()]),
    }
}

/// A change by its row; `None` when it is not there or damaged.
pub(super) fn load_change(conn: &Connection, id: i64) -> Result<Option<StoredChange>> {
    let mut select = conn.prepare_cached(
        "SELECT prev, room, rev, seq, kind, time, user, body, crc, data FROM changes WHERE id = ?1",
    )?;
    let read = |row: &Row<'_>| {
        let (rev, seq) = (row.get::<_, i64>(2)?.cast_unsigned(), row.get::<_, i64>(3)?.cast_unsigned());
        let time = row.get::<_, i64>(5)?.cast_unsigned();
        let (user, body) = (row.get_ref(6)?, row.get_ref(7)?);
        let (Ok(user), Ok(body)) = (user.as_str(), body.as_str()) else { return Ok(None) };
        let action = match row.get(4)? {
            EDIT => {
                let data = row.get_ref(9)?.as_str().ok().map(Data::of_compact);
                Action::Edit { rev, seq, text: body.into(), data, time }
            }
            DELETE => Action::Delete { rev, seq, time },
            kind @ (REACT | TAKE_BACK) => Action::React {
                rev,
                seq,
                user: Who::from_label(user),
                emoji: body.into(),
                is_removed: kind == TAKE_BACK,
            },
            _ => return Ok(None),
        };
        let (prev, room) = (row.get(0)?, row.get(1)?);
        let is_sound = row.get::<_, i64>(8)? == change_checksum(id, prev, room, &action);
        Ok(is_sound.then_some(StoredChange { prev, room, action }))
    };
    match select.query_row([id], read).optional() {
        Ok(found) => Ok(found.flatten()),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The ban of a user, if there is one.
pub(super) fn load_ban(conn: &Connection, user: &str) -> Result<Option<Ban>> {
    let mut select = conn.prepare_cached("SELECT until, reason FROM bans WHERE user = ?1")?;
    let read = |row: &Row<'_>| {
        let until = row.get::<_, Option<i64>>(0)?.map(i64::cast_unsigned);
        Ok(Ban { user: user.into(), until, reason: row.get(1)? })
    };
    select.query_row([user], read).optional()
}
