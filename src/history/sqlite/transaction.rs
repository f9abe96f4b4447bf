//! What one connection writes: batches, each commit of them whole or not at all.
//!
//! The statements of the commit path are prepared once. Of the rooms in use number and head are kept in memory, so a post
//! costs one row, and each room of a commit one more. After an error a session is of no use any more: what it keeps in
//! memory may be ahead of the disk.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::clock::steady_ms;
use super::data_dir::{load_meta, store_meta};
use super::mine::subscription_checksum;
use super::outbox::OutboxRows;
use super::rows::{
    Head, Stored, change_checksum, change_columns, data_of, flags, load_ban, load_head, newest_change,
    newest_post, post_checksum, signed,
};
use super::schema::{SEEK_POINT_EVERY, checksum};
use crate::history::keys::Keys;
use crate::history::{Action, Ban, BanChange, Batch, Change, Data, Outcome, Post};

/// Rooms whose number and head are kept in memory, about 200 bytes each; above it all are forgotten and read again.
pub(super) const ROOMS_KEPT: usize = 65_536;

/// Why a message cannot be taken in.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused {
    /// It is no message.
    Unreadable(Box<dyn std::error::Error + Send + Sync>),
    /// Its number is 0.
    NoNumber,
    /// Another message has its number.
    Taken {
        /// The room.
        room: Arc<str>,
        /// The number.
        seq: u64,
    },
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(f),
            Self::NoNumber => f.write_str("`seq` begins with 1"),
            Self::Taken { room, seq } => write!(f, "room {room:?} has another message {seq} already"),
        }
    }
}

impl std::error::Error for Refused {}

/// Why something could not be made durable.
#[derive(Debug)]
pub(super) enum Error {
    Sqlite(rusqlite::Error),
    /// Another process reads, so the log cannot be emptied.
    InUse,
    /// A message cannot be imported.
    Refused(Refused),
}

impl std::error::Error for Error {}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(error) => error.fmt(f),
            Self::InUse => f.write_str("another process is reading the history"),
            Self::Refused(why) => why.fmt(f),
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, Error>;

/// By what one knows after a failed commit whether it is on the disk nevertheless: the last row that it added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trace {
    pub(super) post: Option<i64>,
    pub(super) change: Option<i64>,
}

/// What has come of the batches of a commit.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// For each loop, in order.
    pub(super) outcomes: Vec<Vec<Outcome>>,
    pub(super) changes: Vec<Arc<Change>>,
    pub(super) bans: Vec<BanChange>,
    /// Keys that were used.
    pub(super) keys: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Room {
    id: i64,
    head: Head,
    is_dirty: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Transactions<'c> {
    pub(super) conn: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    insert_post: Statement<'c>,
    insert_seek_point: Statement<'c>,
    insert_change: Statement<'c>,
    write_head: Statement<'c>,
    rooms: Vec<Room>,
    by_name: HashMap<Arc<str>, usize>,
    by_id: HashMap<i64, usize>,
    dirty: Vec<usize>,
    /// The rows that come next.
    next_post: i64,
    next_change: i64,
    next_room: i64,
    /// What the transaction under way added so far, and the bans that it replaced.
    trace: Trace,
    replaced_bans: Vec<BanChange>,
    /// Something was removed or overwritten that must be gone from every file.
    has_erased: bool,
    /// The database says so itself ([`ERASING`]), for the case that this process does not get so far.
    is_erasing: bool,
    /// What is kept for the team's backend.
    pub(super) outbox: Option<OutboxRows<'c>>,
    /// The newest event of it that the backend has taken; the next transaction takes note of it.
    pub(super) told: Option<u64>,
}

/// The entry of `meta` that is there from a deletion until nothing of what was deleted is in the file any more.
const ERASING: &str = "erasing";

impl<'c> Transactions<'c> {
    pub(super) fn new(conn: &'c Connection) -> Result<Self> {
        let top = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(Self {
            conn,
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            insert_post: conn.prepare(
                "INSERT INTO posts(id, prev, room, seq, time, flags, edited, user, client, key, text, crc, data, reply)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?,
            insert_seek_point: conn.prepare("INSERT INTO marks(room, seq, post) VALUES(?1, ?2, ?3)")?,
            insert_change: conn.prepare(
                "INSERT INTO changes(id, prev, room, rev, seq, kind, time, user, body, crc, data)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?,
            write_head: conn.prepare(
                "INSERT OR REPLACE INTO heads(room, seq, rev, time, post, change, oldest, crc)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            rooms: Vec::new(),
            by_name: HashMap::new(),
            by_id: HashMap::new(),
            dirty: Vec::new(),
            next_post: 1 + newest_post(conn)?,
            next_change: 1 + newest_change(conn)?,
            next_room: 1 + top("SELECT ifnull(max(id), 0) FROM rooms")?,
            trace: Trace::default(),
            replaced_bans: Vec::new(),
            has_erased: false,
            is_erasing: load_meta(conn, ERASING)?.is_some(),
            outbox: None,
            told: None,
        })
    }

    /// Commits all of them at once; on the disk when it returns. What has come of them until then is in `done`, also where it
    /// fails.
    pub(super) fn commit(
        &mut self,
        batches: Vec<(usize, Batch)>,
        keys: &mut Keys,
        done: &mut Done,
    ) -> Result<()> {
        self.trace = Trace::default();
        self.replaced_bans.clear();
        let now_ms = steady_ms();
        self.transact(|session| {
            for (from, batch) in batches {
                for proposal in batch.proposals {
                    let outcome = session.apply(proposal, (keys, now_ms), done)?;
                    done.outcomes[from].extend(outcome);
                }
                for ban in batch.bans {
                    session.change_ban(&ban)?;
                    done.bans.push(ban);
                }
            }
            Ok(())
        })
    }

    /// Does something in a transaction, heads included.
    pub(super) fn transact(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if self.rooms.len() > ROOMS_KEPT {
            self.reload();
        }
        self.begin.execute([])?;
        if let (Some(told), Some(outbox)) = (self.told.take(), &mut self.outbox) {
            outbox.forget(told)?;
        }
        work(self)?;
        self.write_heads()?;
        if let Some(outbox) = &mut self.outbox {
            outbox.end_run()?;
        }
        if self.has_erased && !self.is_erasing {
            store_meta(self.conn, ERASING, "1")?;
            self.is_erasing = true;
        }
        self.commit.execute([])?;
        if let Some(outbox) = &mut self.outbox {
            outbox.note_committed(self.has_erased);
        }
        Ok(())
    }

    /// Whether something was erased since the last time.
    pub(super) fn take_erased(&mut self) -> bool {
        std::mem::take(&mut self.has_erased)
    }

    /// Whether something that was deleted, in this run or before, may still be in the file.
    pub(super) fn is_erasing(&self) -> bool {
        self.is_erasing
    }

    /// Nothing that was deleted is in the file any more.
    pub(super) fn end_erasing(&mut self) -> Result<()> {
        end_erasing(self.conn)?;
        self.is_erasing = false;
        Ok(())
    }

    /// What was removed must be gone from every file.
    pub(super) fn note_erased(&mut self) {
        self.has_erased = true;
    }

    /// What the last transaction added.
    pub(super) fn trace(&self) -> Trace {
        self.trace
    }

    /// Undoes the bans of the last transaction, should it turn out to be on the disk.
    pub(super) fn replaced_bans(&mut self) -> Vec<BanChange> {
        let mut bans = std::mem::take(&mut self.replaced_bans);
        bans.reverse();
        bans
    }

    /// The number that the next post will have.
    pub(super) fn next_post(&self) -> i64 {
        self.next_post
    }

    /// The number that the next change will have.
    pub(super) fn next_change(&self) -> i64 {
        self.next_change
    }

    /// Forgets what is kept of the rooms: a transaction was undone.
    pub(super) fn reload(&mut self) {
        // The entry may have been undone, too; it is written again with the next deletion.
        self.is_erasing = false;
        self.rooms = Vec::new();
        self.by_name = HashMap::new();
        self.by_id = HashMap::new();
        self.dirty.clear();
    }

    /// Where a room is kept; a room that nobody knew is one from now on.
    pub(super) fn room(&mut self, name: &Arc<str>) -> Result<usize> {
        if let Some(&at) = self.by_name.get(name) {
            return Ok(at);
        }
        let (id, head) = match load_head(self.conn, name)? {
            Some(known) => known,
            None => (self.add_room(name)?, Head::default()),
        };
        self.by_name.insert(Arc::clone(name), self.rooms.len());
        self.by_id.insert(id, self.rooms.len());
        self.rooms.push(Room { id, head, is_dirty: false });
        Ok(self.rooms.len() - 1)
    }

    fn add_room(&mut self, name: &str) -> Result<i64> {
        let id = self.next_room;
        let crc = checksum(&[id], &[name.as_bytes()]);
        self.conn
            .prepare_cached("INSERT INTO rooms(id, name, crc) VALUES(?1, ?2, ?3)")?
            .execute(params![id, name, crc])?;
        self.next_room += 1;
        Ok(id)
    }

    /// Where the room with this number is kept; `None` when there is none.
    pub(super) fn room_by_id(&mut self, id: i64) -> Result<Option<usize>> {
        if let Some(&at) = self.by_id.get(&id) {
            return Ok(Some(at));
        }
        let mut select = self.conn.prepare_cached("SELECT name FROM rooms WHERE id = ?1")?;
        let name: Option<String> = select.query_row([id], |row| row.get(0)).optional()?;
        name.map(|name| self.room(&name.into())).transpose()
    }

    pub(super) fn id(&self, at: usize) -> i64 {
        self.rooms[at].id
    }

    pub(super) fn head(&self, at: usize) -> &Head {
        &self.rooms[at].head
    }

    pub(super) fn head_mut(&mut self, at: usize) -> &mut Head {
        let room = &mut self.rooms[at];
        if !room.is_dirty {
            room.is_dirty = true;
            self.dirty.push(at);
        }
        &mut room.head
    }

    fn write_heads(&mut self) -> Result<()> {
        for at in self.dirty.drain(..) {
            let Room { id, head, is_dirty } = &mut self.rooms[at];
            *is_dirty = false;
            self.write_head.execute((
                *id,
                signed(head.seq),
                signed(head.rev),
                signed(head.time),
                head.post,
                head.change,
                signed(head.oldest),
                head.checksum(*id),
            ))?;
        }
        Ok(())
    }

    /// A change goes into the outbox, too.
    pub(super) fn note_for_outbox(&mut self, at: usize, change: &Arc<Change>) -> Result<()> {
        let Some(outbox) = &mut self.outbox else { return Ok(()) };
        let place = if let Action::Post(_) = change.action { self.trace.post } else { self.trace.change };
        Ok(outbox.note_change(self.rooms[at].id, change, place.unwrap_or(0))?)
    }

    /// So does what changes no room.
    pub(super) fn note(&mut self, body: &str) -> Result<()> {
        self.outbox.as_mut().map_or(Ok(()), |outbox| Ok(outbox.note(body)?))
    }

    /// Adds a row to the room; the caller has seen to the number.
    pub(super) fn append(
        &mut self,
        at: usize,
        post: &Post,
        (is_deleted, edited): (bool, Option<u64>),
    ) -> Result<i64> {
        let room = self.rooms[at].id;
        let id = self.next_post;
        self.next_post += 1;
        let head = self.head_mut(at);
        let prev = head.post;
        head.post = id;
        head.seq = post.seq;
        head.time = post.time;
        if prev == 0 {
            head.oldest = post.seq;
        }
        self.insert_post.execute((
            id,
            prev,
            room,
            signed(post.seq),
            signed(post.time),
            flags(post.is_verified, is_deleted),
            edited.map(signed),
            &*post.user,
            &*post.client,
            post.key.as_deref(),
            &*post.text,
            post_checksum([id, prev, room], post, (is_deleted, edited)),
            post.data.as_ref().map(Data::as_str),
            post.reply_to.map(signed),
        ))?;
        if post.seq.is_multiple_of(SEEK_POINT_EVERY) {
            self.insert_seek_point.execute((room, signed(post.seq), id))?;
        }
        self.trace.post = Some(id);
        Ok(id)
    }

    /// Adds a change to the list of those of its room.
    pub(super) fn note_change(&mut self, at: usize, action: &Action) -> Result<()> {
        let Some((rev, seq, kind, time, user, body)) = change_columns(action) else { return Ok(()) };
        let room = self.rooms[at].id;
        let id = self.next_change;
        self.next_change += 1;
        let head = self.head_mut(at);
        let prev = head.change;
        head.change = id;
        head.rev = rev;
        let crc = change_checksum(id, prev, room, action);
        self.insert_change.execute((
            id,
            prev,
            room,
            signed(rev),
            signed(seq),
            kind,
            signed(time),
            &*user,
            body,
            crc,
            data_of(action),
        ))?;
        self.trace.change = Some(id);
        Ok(())
    }

    /// Gives a post another text and other data, and has it indexed again.
    pub(super) fn rewrite(
        &mut self,
        stored: &Stored,
        (text, data): (Box<str>, Option<Data>),
        is_deleted: bool,
        edited: Option<u64>,
    ) -> Result<()> {
        let (id, post) = (stored.id, Post { text, data, ..stored.record.post.clone() });
        let crc = post_checksum([id, stored.prev, stored.room], &post, (is_deleted, edited));
        self.conn
            .prepare_cached(
                "UPDATE posts SET text = ?2, flags = ?3, edited = ?4, crc = ?5, data = ?6 WHERE id = ?1",
            )?
            .execute(params![
                id,
                &*post.text,
                flags(post.is_verified, is_deleted),
                edited.map(signed),
                crc,
                post.data.as_ref().map(Data::as_str),
            ])?;
        self.note_stale(id)
    }

    /// The index of words is to look at a post again: what it said must be gone.
    pub(super) fn note_stale(&mut self, post: i64) -> Result<()> {
        self.has_erased = true;
        self.conn.prepare_cached("INSERT INTO reindex(post) VALUES(?1)")?.execute([post])?;
        Ok(())
    }

    /// What a deleted post once said and carried goes with it.
    pub(super) fn blank_edits(&mut self, room: i64, seq: u64) -> Result<()> {
        let sql = "SELECT id FROM changes WHERE room = ?1 AND seq = ?2 AND kind = 1";
        self.edits(sql, room, seq)?.into_iter().try_for_each(|id| self.blank_edit((room, id), true))
    }

    /// The text of the last edit is edited away; those before have lost theirs already. What it carried, or the last before it
    /// that carried something, goes where the next edit brings other data.
    pub(super) fn blank_last_edit(&mut self, room: i64, seq: u64, has_data: bool) -> Result<()> {
        let sql = "SELECT id FROM changes WHERE room = ?1 AND seq = ?2 AND kind = 1 ORDER BY id DESC LIMIT 1";
        let last = self.edits(sql, room, seq)?;
        last.into_iter().try_for_each(|id| self.blank_edit((room, id), false))?;
        if !has_data {
            return Ok(());
        }
        let sql = "SELECT id FROM changes WHERE room = ?1 AND seq = ?2 AND kind = 1 AND data IS NOT NULL";
        self.edits(sql, room, seq)?.into_iter().try_for_each(|id| self.blank_edit((room, id), true))
    }

    fn edits(&self, sql: &str, room: i64, seq: u64) -> Result<Vec<i64>> {
        let mut select = self.conn.prepare_cached(sql)?;
        Ok(select.query_map([room, signed(seq)], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// An edit loses its text, and with `all` its data.
    fn blank_edit(&self, (room, id): (i64, i64), all: bool) -> Result<()> {
        let Some(mut change) = super::rows::load_change(self.conn, id)? else { return Ok(()) };
        if let Action::Edit { text, data, .. } = &mut change.action {
            *text = "".into();
            data.take_if(|_| all);
        }
        let crc = change_checksum(id, change.prev, room, &change.action);
        self.conn
            .prepare_cached("UPDATE changes SET body = '', crc = ?2, data = ?3 WHERE id = ?1")?
            .execute(params![id, crc, data_of(&change.action)])?;
        Ok(())
    }

    pub(super) fn react(
        &mut self,
        (post, rev): (i64, u64),
        (user, emoji): (&str, &str),
        is_removed: bool,
    ) -> Result<()> {
        if is_removed {
            self.conn
                .prepare_cached("DELETE FROM reactions WHERE post = ?1 AND emoji = ?2 AND user = ?3")?
                .execute(params![post, emoji, user])?;
            return Ok(());
        }
        let crc = checksum(&[post, signed(rev)], &[emoji.as_bytes(), user.as_bytes()]);
        self.conn
            .prepare_cached(
                "INSERT OR IGNORE INTO reactions(post, emoji, user, rev, crc) VALUES(?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![post, emoji, user, signed(rev), crc])?;
        Ok(())
    }

    /// Marks only go forward.
    pub(super) fn read(&mut self, at: usize, user: &str, seq: u64) -> Result<()> {
        let room = self.rooms[at].id;
        let crc = checksum(&[room, signed(seq)], &[user.as_bytes()]);
        self.conn
            .prepare_cached(
                "INSERT INTO reads(room, user, seq, crc) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(room, user)
                 DO UPDATE SET seq = excluded.seq, crc = excluded.crc WHERE excluded.seq > seq",
            )?
            .execute(params![room, user, signed(seq), crc])?;
        Ok(())
    }

    /// A user subscribes to a room, or does so no more.
    pub(super) fn subscribe(
        &mut self,
        at: usize,
        user: &str,
        (is_on, most): (bool, usize),
    ) -> Result<Outcome> {
        let room = self.rooms[at].id;
        if !is_on {
            self.conn
                .prepare_cached("DELETE FROM subscriptions WHERE user = ?1 AND room = ?2")?
                .execute((user, room))?;
            return Ok(Outcome::Subscribed);
        }
        let sql = "SELECT count(*), ifnull(max(room = ?2), 0) FROM subscriptions WHERE user = ?1";
        let mut select = self.conn.prepare_cached(sql)?;
        let (count, is_known) =
            select.query_row((user, room), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))?;
        if !is_known && count.cast_unsigned() as usize >= most {
            return Ok(Outcome::TooMany);
        }
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO subscriptions(user, room, crc) VALUES(?1, ?2, ?3)")?
            .execute((user, room, subscription_checksum(user, room)))?;
        Ok(Outcome::Subscribed)
    }

    pub(super) fn change_ban(&mut self, change: &BanChange) -> Result<()> {
        let user = match change {
            BanChange::Set(ban) => &ban.user,
            BanChange::Lift(user) => user,
        };
        let before = load_ban(self.conn, user)?;
        self.replaced_bans.push(before.map_or_else(|| BanChange::Lift(Arc::clone(user)), BanChange::Set));
        match change {
            BanChange::Set(Ban { user, until, reason }) => {
                let until = until.map(signed);
                let crc = checksum(&[until.unwrap_or(-1)], &[user.as_bytes(), reason.as_bytes()]);
                self.conn
                    .prepare_cached(
                        "INSERT OR REPLACE INTO bans(user, until, reason, crc) VALUES(?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![user, until, reason, crc])?;
            }
            BanChange::Lift(user) => {
                self.has_erased = true;
                self.conn.prepare_cached("DELETE FROM bans WHERE user = ?1")?.execute([user])?;
            }
        }
        Ok(())
    }
}

/// See [`Transactions::end_erasing`].
pub(super) fn end_erasing(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM meta WHERE name = ?1", [ERASING])?;
    Ok(())
}
