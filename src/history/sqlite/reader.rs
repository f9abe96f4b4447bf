//! The thread that reads. It waits for no fsync and holds up no commit; what was committed before a question is in its answer.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::data_dir::{DataDir, Options};
use super::mine;
use super::names::Names;
use super::notify::Notify;
use super::outbox;
use super::pairs;
use super::room_list;
use super::rows::{Head, Walk, load_change, load_head, load_reactions, read_position, rev_of};
use super::schema;
use super::search::find;
use super::search_index::SearchIndex;
use crate::history::outbox::Page;
use crate::history::unread;
use crate::history::{
    Action, Event, HistoryError, Keep, MinePage, NameRange, PAGE_OCTETS, Pair, PairPlace, Query, Record,
    RoomHead, RoomState,
};

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Ask {
    /// For which loop, and what.
    Query(usize, Query),
    /// The oldest events after one, for the thread that tells the backend; `None`: they cannot be read now.
    Outbox {
        after: u64,
        limit: usize,
        octets: usize,
        answer: SyncSender<Option<Page>>,
    },
    Stop,
}

/// What the two threads share.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The connection that reads; opened when it is needed. Recovery closes it.
    pub(super) conn: Option<Connection>,
    /// Rooms of a failed commit that may or may not be on the disk.
    pub(super) uncertain: HashMap<Arc<str>, Uncertain>,
}

/// What of a room must not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uncertain {
    /// Messages with this number and above.
    From(u64),
    /// Anything: messages from before may have changed.
    All,
}

/// What is read.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) place: Arc<DataDir>,
    pub(super) words: Arc<SearchIndex>,
    pub(super) names: Names,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    shelf: Shelf,
    inbox: Receiver<Ask>,
    notify: Notify,
    slot: Arc<Mutex<Slot>>,
}

impl Reader {
    pub(super) fn new(shelf: Shelf, inbox: Receiver<Ask>, notify: Notify, slot: Arc<Mutex<Slot>>) -> Self {
        Self { shelf, inbox, notify, slot }
    }

    /// Answers until it is told to stop, or nobody is left who could ask.
    pub(super) fn run(self) {
        while let Ok(ask) = self.inbox.recv() {
            match ask {
                Ask::Query(number, query) => {
                    let event = self.answer(query);
                    self.notify.tell(number, event);
                }
                Ask::Outbox { after, limit, octets, answer } => {
                    // A thread that does not wait any more has no use for it.
                    let _ = answer.send(self.outbox(after, limit, octets));
                }
                Ask::Stop => return,
            }
        }
    }

    /// What waits for the backend; nothing as long as it is not certain what is on the disk.
    fn outbox(&self, after: u64, limit: usize, octets: usize) -> Option<Page> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.uncertain.is_empty() {
            return None;
        }
        let page = self.ask_database(&mut slot, |conn| outbox::page(conn, after, limit, octets));
        page.inspect_err(|error| tracing::error!(%error, "the outbox could not be read")).ok()
    }

    fn answer(&self, query: Query) -> Event {
        let options = &self.shelf.place.options;
        match query {
            Query::Open { room, recent, changes } => {
                let names = &self.shelf.names;
                let state = self.read(&room, |conn, room, head| {
                    let state = open_room(conn, options, (room, head), [recent, changes])?;
                    Ok(RoomState { lineage: names.lineage(conn, room, &head, changes)?, ..state })
                });
                let state = state.map(|state| RoomState { epoch: Arc::clone(&names.epoch), ..state });
                Event::Opened { room, state }
            }
            Query::Page { ask, room, before, limit, keep } => {
                let page = |conn: &_, room, head| {
                    page(conn, options, Walk::new(conn, room, &head, before)?, (limit, keep))
                };
                let records = self.read(&room, page);
                Event::Page { ask, records }
            }
            Query::Search { ask, room, query, limit } => {
                let records = self.read(&room, |conn, room, head| {
                    let search = |index: &_| find(index, conn, options, (room, head), (&query, limit));
                    self.shelf.words.search(search)
                });
                Event::Page { ask, records }
            }
            Query::Rooms { ask, ranges, limit } => Event::Rooms { ask, rooms: self.rooms(&ranges, limit) },
            Query::Pairs { ask, user, after, limit } => {
                let pairs = self.pairs(&user, after.as_ref(), limit);
                Event::Pairs { ask, pairs }
            }
            Query::Mine { ask, reader, after, limit } => {
                Event::Mine { ask, page: self.mine(&reader, after.as_ref(), limit) }
            }
            Query::Unread { ask, room, readers } => {
                let counts = self.read(&room, |conn, room, head| {
                    let is_expired = |time| options.is_expired(time);
                    Ok((head.seq, mine::count(conn, (room, head), &readers, is_expired)?))
                });
                Event::Unread { ask, counts }
            }
            Query::ReadPosition { ask, room, user } => {
                let seq =
                    self.read(&room, |conn, room, head| read_position(conn, room, head, &user)).unwrap_or(0);
                Event::ReadPosition { ask, seq }
            }
        }
    }

    /// Reads one state of the database: a room's number and head, and whatever hangs on them. Of a room that nobody knows
    /// there is nothing to tell.
    fn read<T: Default>(
        &self,
        name: &str,
        question: impl FnOnce(&Connection, i64, Head) -> rusqlite::Result<T>,
    ) -> Result<T, HistoryError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let uncertain = slot.uncertain.get(name).copied();
        if uncertain == Some(Uncertain::All) {
            return Err(HistoryError::Uncertain);
        }
        let answer = self.ask_database(&mut slot, |conn| match load_head(conn, name)? {
            None => Ok(T::default()),
            Some((room, mut head)) => {
                if let Some(Uncertain::From(seq)) = uncertain {
                    head = before_uncertain(conn, room, head, seq)?;
                }
                question(conn, room, visible(&self.shelf.place.options, head))
            }
        });
        answer.map_err(|error| read_failed(error, name))
    }

    /// The conversations of a user. What is uncertain is left out of them.
    fn pairs(&self, user: &str, after: Option<&PairPlace>, limit: usize) -> Result<Vec<Pair>, HistoryError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let uncertain = std::mem::take(&mut slot.uncertain);
        let is_sure = |name: &str| !uncertain.contains_key(name);
        let options = &self.shelf.place.options;
        let shown = |head: Head| {
            let head = visible(options, head);
            (head.seq >= head.oldest.max(1) && !options.is_expired(head.time)).then_some(head)
        };
        let pairs = self.ask_database(&mut slot, |conn| {
            pairs::newest(
                conn,
                &pairs::Wanted { user, epoch: &self.shelf.names.epoch, after, limit },
                is_sure,
                shown,
            )
        });
        slot.uncertain = uncertain;
        pairs.map_err(|error| read_failed(error, ""))
    }

    /// The rooms and conversations of a user. What is uncertain is left out of them.
    fn mine(
        &self,
        reader: &unread::Reader,
        after: Option<&PairPlace>,
        limit: usize,
    ) -> Result<MinePage, HistoryError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let uncertain = std::mem::take(&mut slot.uncertain);
        let is_sure = |name: &str| !uncertain.contains_key(name);
        let options = &self.shelf.place.options;
        let wanted = pairs::Wanted { user: &reader.user, epoch: &self.shelf.names.epoch, after, limit };
        let rules = (|head| visible(options, head), |time| options.is_expired(time));
        let page = self.ask_database(&mut slot, |conn| mine::page(conn, reader, &wanted, is_sure, rules));
        slot.uncertain = uncertain;
        page.map_err(|error| read_failed(error, ""))
    }

    /// The rooms with these names. What is uncertain is left out of them.
    fn rooms(&self, ranges: &[NameRange], limit: usize) -> Result<Vec<RoomHead>, HistoryError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let uncertain = std::mem::take(&mut slot.uncertain);
        let rooms = self.ask_database(&mut slot, |conn| room_list::rooms(conn, ranges, limit, &uncertain));
        slot.uncertain = uncertain;
        rooms.map_err(|error| read_failed(error, ""))
    }

    /// Reads one state of the database.
    fn ask_database<T>(
        &self,
        slot: &mut Slot,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        // After an error the connection is gone, and the next question opens another one.
        let conn = slot.conn.take().map_or_else(|| schema::connect_to_read(&self.shelf.place.path), Ok)?;
        conn.execute_batch("BEGIN")?;
        let answer = question(&conn)?;
        conn.execute_batch("COMMIT")?;
        slot.conn = Some(conn);
        Ok(answer)
    }
}

fn read_failed(error: rusqlite::Error, room: &str) -> HistoryError {
    tracing::error!(%error, room, "the history could not be read");
    HistoryError::storage(error)
}

/// The room as it was before the message `seq`.
pub(super) fn before_uncertain(
    conn: &Connection,
    room: i64,
    mut head: Head,
    seq: u64,
) -> rusqlite::Result<Head> {
    if head.seq >= seq {
        let newest = Walk::new(conn, room, &head, seq)?.next(conn)?;
        head.seq = seq - 1;
        (head.post, head.time) = newest.map_or((0, 0), |stored| (stored.id, stored.record.post.time));
    }
    Ok(head)
}

/// The room as the rules of retention show it, whether or not what they take away is gone from the disk yet.
fn visible(options: &Options, mut head: Head) -> Head {
    if options.keep_posts > 0 {
        head.oldest = head.oldest.max((head.seq + 1).saturating_sub(options.keep_posts));
    }
    head
}

fn open_room(
    conn: &Connection,
    options: &Options,
    (room, mut head): (i64, Head),
    [recent, changes]: [usize; 2],
) -> rusqlite::Result<RoomState> {
    let mut records = Vec::new();
    let mut walk = Walk::new(conn, room, &head, u64::MAX)?;
    while records.len() < recent
        && let Some(stored) = walk.next(conn)?
    {
        if options.is_expired(stored.record.post.time) {
            head.oldest = head.oldest.max(stored.record.post.seq + 1);
            break;
        }
        let reactions = load_reactions(conn, &stored)?;
        records.push(Record { reactions, ..stored.record });
    }
    records.reverse();
    let Head { seq, rev, time, oldest, .. } = head;
    let changes = newest_changes(conn, room, &head, changes)?;
    Ok(RoomState { seq, rev, time, oldest, recent: records, changes, ..RoomState::default() })
}

/// The newest changes that follow each other without a gap, the oldest first.
fn newest_changes(conn: &Connection, room: i64, head: &Head, limit: usize) -> rusqlite::Result<Vec<Action>> {
    let mut changes: Vec<Action> = Vec::new();
    let mut next = head.change;
    let mut rev = head.rev;
    while changes.len() < limit && next != 0 && rev != 0 {
        let Some(change) = load_change(conn, next)? else { break };
        if change.room != room || rev_of(&change.action) != rev {
            break;
        }
        next = change.prev;
        rev -= 1;
        changes.push(change.action);
    }
    // An edit that another one followed has lost its text on the disk: who resumes gets the newest.
    let mut newest: HashMap<u64, Box<str>> = HashMap::new();
    for change in &mut changes {
        let (seq, text) = match change {
            Action::Edit { seq, text, .. } => (seq, text),
            Action::Delete { seq, .. } => {
                newest.insert(*seq, "".into());
                continue;
            }
            _ => continue,
        };
        match newest.get(seq) {
            Some(newest) if text.is_empty() => text.clone_from(newest),
            _ => drop(newest.insert(*seq, text.clone())),
        }
    }
    changes.reverse();
    Ok(changes)
}

fn page(
    conn: &Connection,
    options: &Options,
    mut walk: Walk,
    (limit, keep): (usize, Keep),
) -> rusqlite::Result<Vec<Record>> {
    // The newest first.
    let mut records: VecDeque<Record> = VecDeque::new();
    let mut octets = 0;
    for _ in 0..limit {
        if keep == Keep::Newest && octets >= PAGE_OCTETS {
            break;
        }
        let Some(stored) = walk.next(conn)?.filter(|stored| !options.is_expired(stored.record.post.time))
        else {
            break;
        };
        octets += stored.record.post.octets();
        let reactions = load_reactions(conn, &stored)?;
        records.push_back(Record { reactions, ..stored.record });
        while keep == Keep::Oldest
            && records.len() > 1
            && octets > PAGE_OCTETS
            && let Some(newest) = records.pop_front()
        {
            octets -= newest.post.octets();
        }
    }
    Ok(records.into_iter().rev().collect())
}
