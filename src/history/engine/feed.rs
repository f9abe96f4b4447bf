//! The thread that is told what happens, and tells the loops. It alone knows up to where each room was told.
//!
//! A room is read after its channel is followed, so nothing is missed between the two. What a broken connection misses is read
//! by number, and what comes twice is dropped by number.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use redis::{Connection, Value, cmd};

use super::error::EngineError;
use super::follow::{Follows, Place, Step};
use super::link::{Link, Target, function, is_passing, pause, random};
use super::shared::{Notify, Shared, add};
use super::values::{self, News, Since, Told};
use super::{MAX_OPENED, Signing, names};
use crate::history::{Action, Ban, BanChange, Change, Event, Fork, HistoryError};

/// No word for so long, and the connection is dead, whatever TCP says. The thread that asks has a word told each second.
const DEAD: Duration = Duration::from_secs(5);
/// Channels of one SUBSCRIBE.
const CHANNELS: usize = 512;
/// Rooms that are read at once.
const ROOMS_AT_ONCE: usize = 16;
/// Messages, and changes, that are read at once where some were missed.
const MISSED_AT_ONCE: u64 = 256;
/// How long a room is kept in which nobody has said anything, in milliseconds.
const BLANK_MS: u64 = 3_600_000;

/// What the thread is told by loops.
#[derive(Debug)]
pub(super) enum Request {
    Open { from: usize, room: Arc<str>, recent: usize, changes: usize },
    Follow { from: usize, room: Arc<str> },
    Close { from: usize, room: Arc<str> },
}

/// A room that is to be read, for a loop that wants its state or for one that wants to be told only.
struct Wanted {
    from: usize,
    room: Arc<str>,
    recent: usize,
    changes: usize,
    is_open: bool,
}

/// See the module.
pub(super) struct Feed {
    target: Target,
    node: Arc<str>,
    shared: Arc<Shared>,
    notify: Notify,
    inbox: Receiver<Request>,
    loops: usize,
    follows: Follows,
    /// Who is banned, as the loops know it.
    bans: BTreeMap<Arc<str>, Ban>,
    /// Who hears what other servers tell.
    signs: Option<Signing>,
    /// Names for histories that begin here.
    last_fresh: u64,
}

/// The two connections of the thread: one is told, the other one reads.
struct Session {
    told: Connection,
    reads: Link,
    /// What was told while a confirmation was waited for.
    waiting: VecDeque<Vec<u8>>,
}

impl Feed {
    pub(super) fn new(
        (target, node): (Target, Arc<str>),
        shared: Arc<Shared>,
        notify: Notify,
        (inbox, loops): (Receiver<Request>, usize),
        (bans, signs): (Vec<Ban>, Option<Signing>),
    ) -> Self {
        let bans = bans.into_iter().map(|ban| (Arc::clone(&ban.user), ban)).collect();
        let follows = Follows::default();
        Self { target, node, shared, notify, inbox, loops, follows, bans, signs, last_fresh: 0 }
    }

    pub(super) fn run(mut self) {
        let mut attempt = 0;
        while !self.shared.is_stopping() {
            let Err(error) = self.session(&mut attempt) else { return };
            if self.shared.counts.is_fed.swap(false, Ordering::Relaxed) {
                tracing::warn!(%error, "what other nodes do does not come through: the engine is asked again");
                add(&self.shared.counts.reconnects, 1);
            }
            self.refuse();
            super::sleep(pause(attempt, random()));
            attempt += 1;
        }
    }

    /// Rooms cannot be read now.
    fn refuse(&mut self) {
        self.shared.must_wake.store(false, Ordering::Relaxed);
        let (_, _, wanted) = self.take_requests();
        for Wanted { from, room, is_open, .. } in wanted {
            if is_open {
                let state = Err(HistoryError::storage("the engine is away"));
                self.notify.tell(from, Event::Opened { room, state });
            }
        }
    }

    /// Follows everything and tells of it until the connection fails or the process stops.
    fn session(&mut self, attempt: &mut u32) -> Result<(), EngineError> {
        let reads = Link::connect(&self.target)?;
        let told = self.target.dial()?;
        told.set_read_timeout(Some(DEAD))?;
        let mut session = Session { told, reads, waiting: VecDeque::new() };
        let mut channels = vec![names::node(&self.node), names::EVERYBODY.into(), names::PAIRS.into()];
        channels.extend(self.follows.rooms().iter().map(|room| names::channel(room)));
        session.follow("SUBSCRIBE", &channels)?;
        self.catch_up(&mut session)?;
        self.shared.counts.is_fed.store(true, Ordering::Relaxed);
        *attempt = 0;
        while !self.shared.is_stopping() {
            if self.shared.must_wake.swap(false, Ordering::Relaxed) {
                self.serve(&mut session)?;
            }
            let payload = session.next()?;
            match values::told(&payload) {
                Some(Told::News(news)) => self.heard(&mut session, news)?,
                Some(Told::Ban(change)) => self.ban(&change),
                Some(Told::Hold(holder)) => {
                    for number in 0..self.loops {
                        self.notify.tell(number, Event::Held(holder.clone()));
                    }
                }
                Some(Told::Sign { from, word }) => {
                    if let Some(it) = self.signs.as_ref().filter(|_| *from != *self.node) {
                        it.signs.hear(&from, &word, it.now_ms());
                    }
                }
                Some(Told::Beat) => {}
                None => {
                    add(&self.shared.counts.damaged, 1);
                    tracing::warn!(
                        octets = payload.len(),
                        "the engine told something that no node of this version tells"
                    );
                }
            }
        }
        Ok(())
    }

    /// Reads what happened while nothing was told.
    fn catch_up(&mut self, session: &mut Session) -> Result<(), EngineError> {
        let bans = session.reads.call(&[function("bans", &[names::BANS.to_owned()])])?;
        let bans = bans.first().and_then(values::bans).unwrap_or_default();
        let gone: Vec<_> =
            self.bans.keys().filter(|user| !bans.iter().any(|ban| ban.user == **user)).cloned().collect();
        for user in gone {
            self.ban(&BanChange::Lift(user));
        }
        for ban in bans {
            if self.bans.get(&ban.user) != Some(&ban) {
                self.ban(&BanChange::Set(ban));
            }
        }
        for room in self.follows.rooms() {
            if self.follows.get_mut(&room).is_some_and(|follow| follow.place.is_some()) {
                self.fill(session, &room)?;
            } else {
                let wanted = Wanted { from: 0, room, recent: 0, changes: 0, is_open: false };
                self.read_wanted(session, &[], &[], &[wanted])?;
            }
        }
        Ok(())
    }

    fn ban(&mut self, change: &BanChange) {
        match change {
            BanChange::Set(ban) => {
                self.bans.insert(Arc::clone(&ban.user), ban.clone());
            }
            BanChange::Lift(user) => {
                self.bans.remove(user);
            }
        }
        for number in 0..self.loops {
            let bans = vec![change.clone()];
            self.notify
                .tell(number, Event::Settled { ticket: 0, outcomes: Vec::new(), changes: Vec::new(), bans });
        }
    }

    // ---- what happens

    fn heard(&mut self, session: &mut Session, news: News) -> Result<(), EngineError> {
        let is_pair = names::pair(&news.room).is_some();
        let place = self.follows.get_mut(&news.room).map(|follow| &mut follow.place);
        match place {
            Some(Some(place)) => match place.step(&news) {
                Step::Drop => {}
                Step::Fill => {
                    let room = Arc::clone(&news.room);
                    self.fill(session, &room)?;
                }
                Step::Tell => {
                    (place.seq, place.rev) = news.end();
                    self.tell(&news.room, news.actions);
                }
            },
            // Whoever is in a conversation may be connected here.
            None if is_pair => self.tell(&news.room, news.actions),
            // It is read in a moment, with this in it; or nobody follows it.
            Some(None) | None => {}
        }
        Ok(())
    }

    /// Tells the loops that follow a room; all loops of a conversation of two.
    fn tell(&self, room: &Arc<str>, actions: Vec<Action>) {
        if actions.is_empty() {
            return;
        }
        let changes: Vec<_> =
            actions.into_iter().map(|action| Arc::new(Change { room: Arc::clone(room), action })).collect();
        for number in self.loops_for(room) {
            let changes = changes.clone();
            self.notify
                .tell(number, Event::Settled { ticket: 0, outcomes: Vec::new(), changes, bans: Vec::new() });
        }
    }

    fn loops_for(&self, room: &str) -> Vec<usize> {
        if names::pair(room).is_some() {
            (0..self.loops).collect()
        } else {
            self.follows.loops_of(room).collect()
        }
    }

    /// Reads what is new in a room, and tells it.
    fn fill(&mut self, session: &mut Session, room: &Arc<str>) -> Result<(), EngineError> {
        loop {
            let Some(Some(known)) = self.follows.get_mut(room).map(|follow| follow.place.clone()) else {
                return Ok(());
            };
            let Some(since) = self.since(session, room, &known)? else { return Ok(()) };
            let place = self.told_since(room, &known, since);
            let is_done = place.1;
            if let Some(follow) = self.follows.get_mut(room) {
                follow.place = Some(place.0);
            }
            if is_done {
                return Ok(());
            }
        }
    }

    /// Asks for what is new after a place; makes the room where it is gone.
    fn since(
        &mut self,
        session: &mut Session,
        room: &str,
        known: &Place,
    ) -> Result<Option<Since>, EngineError> {
        session.reads.refresh()?;
        for _ in 0..2 {
            let run = session.reads.facts().run.clone();
            let mut call = function("since", &names::room_keys(room, 4));
            call.arg(run)
                .arg(self.fresh())
                .arg(&*known.epoch)
                .arg(known.seq)
                .arg(known.rev)
                .arg(MISSED_AT_ONCE);
            let answer = session.reads.call(&[call])?.pop().unwrap_or_default();
            check_passing(&answer)?;
            if answer != Value::Nil {
                let since = values::since(&answer);
                if since.is_none() {
                    self.damaged(room, &answer);
                }
                return Ok(since);
            }
            self.begin(session, room)?;
        }
        Ok(None)
    }

    /// Tells what is new. Returns up to where, and whether that is all.
    fn told_since(&self, room: &Arc<str>, known: &Place, since: Since) -> (Place, bool) {
        let Since { epoch, base, end, messages, changes } = since;
        let loops = self.loops_for(room);
        if *epoch != *known.epoch {
            add(&self.shared.counts.forks, 1);
            tracing::info!(
                room = &**room,
                seq = base.0,
                rev = base.1,
                "the history goes on under another name"
            );
            for number in loops.iter().copied() {
                let fork = Fork { epoch: Arc::clone(&epoch), seq: base.0, rev: base.1 };
                self.notify.tell(number, Event::Epoch { room: Arc::clone(room), fork });
            }
        }
        let (Some(messages), Some(mut changes)) = (messages, changes) else {
            add(&self.shared.counts.behind, 1);
            for number in loops {
                self.notify.tell(number, Event::Behind { room: Arc::clone(room) });
            }
            return (Place { epoch, seq: end.0, rev: end.1 }, true);
        };
        let seq = base.0 + messages.len() as u64;
        // A change of a message comes after the message.
        if seq < end.0 {
            changes.clear();
        }
        let rev = base.1 + changes.len() as u64;
        let mut actions: Vec<_> = messages.into_iter().map(|record| Action::Post(record.post)).collect();
        actions.append(&mut changes);
        add(&self.shared.counts.filled, actions.len() as u64);
        self.tell(room, actions);
        (Place { epoch, seq, rev }, (seq, rev) == end)
    }

    // ---- what loops want

    fn take_requests(&mut self) -> (Vec<String>, Vec<String>, Vec<Wanted>) {
        let (mut new, mut old, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..MAX_OPENED {
            let Ok(request) = self.inbox.try_recv() else { break };
            let (from, room, recent, changes, is_open) = match request {
                Request::Open { from, room, recent, changes } => (from, room, recent, changes, true),
                Request::Follow { from, room } => (from, room, 0, 0, false),
                Request::Close { from, room } => {
                    if self.follows.remove(from, &room) {
                        wanted.retain(|it: &Wanted| it.room != room);
                        let channel = names::channel(&room);
                        if let Some(at) = new.iter().position(|it| *it == channel) {
                            new.remove(at);
                        } else {
                            old.push(channel);
                        }
                    }
                    continue;
                }
            };
            if self.follows.add(from, &room) {
                let channel = names::channel(&room);
                if let Some(at) = old.iter().position(|it| *it == channel) {
                    old.remove(at);
                } else {
                    new.push(channel);
                }
            }
            wanted.push(Wanted { from, room, recent, changes, is_open });
        }
        // Every node is told of conversations of two.
        new.retain(|channel| channel != names::PAIRS);
        old.retain(|channel| channel != names::PAIRS);
        (new, old, wanted)
    }

    fn serve(&mut self, session: &mut Session) -> Result<(), EngineError> {
        loop {
            let (new, old, wanted) = self.take_requests();
            self.shared.counts.rooms.store(self.follows.len(), Ordering::Relaxed);
            if new.is_empty() && old.is_empty() && wanted.is_empty() {
                return Ok(());
            }
            let result = self.read_wanted(session, &new, &old, &wanted);
            if result.is_err() {
                // The loops ask again; whatever was told of these rooms is not known.
                for Wanted { from, room, is_open, .. } in wanted {
                    if is_open {
                        let state = Err(HistoryError::storage("the engine is away"));
                        self.notify.tell(from, Event::Opened { room, state });
                    }
                }
                return result;
            }
        }
    }

    fn read_wanted(
        &mut self,
        session: &mut Session,
        new: &[String],
        old: &[String],
        wanted: &[Wanted],
    ) -> Result<(), EngineError> {
        session.follow("UNSUBSCRIBE", old)?;
        session.follow("SUBSCRIBE", new)?;
        for part in wanted.chunks(ROOMS_AT_ONCE) {
            let call = |it: &Wanted| {
                let mut call = function("open", &names::room_keys(&it.room, 4));
                call.arg(it.recent).arg(it.changes);
                call
            };
            let calls: Vec<_> = part.iter().map(call).collect();
            let mut answers = session.reads.call(&calls)?;
            for (wanted, answer) in part.iter().zip(&mut answers) {
                if *answer == Value::Nil {
                    self.begin(session, &wanted.room)?;
                    *answer = session.reads.call(&[call(wanted)])?.pop().unwrap_or_default();
                }
                self.opened(session, wanted, answer)?;
            }
        }
        Ok(())
    }

    fn opened(&mut self, session: &mut Session, wanted: &Wanted, answer: &Value) -> Result<(), EngineError> {
        let Wanted { from, room, is_open, .. } = wanted;
        check_passing(answer)?;
        let state = values::state(answer);
        if let (Some(state), Some(follow)) = (&state, self.follows.get_mut(room)) {
            match &follow.place {
                None => {
                    follow.place =
                        Some(Place { epoch: Arc::clone(&state.epoch), seq: state.seq, rev: state.rev });
                }
                // Other loops know it under an earlier name.
                Some(place) if place.epoch != state.epoch => self.fill(session, room)?,
                Some(_) => {}
            }
        }
        if *is_open {
            let state = state.ok_or_else(|| {
                self.damaged(room, answer);
                HistoryError::storage("the engine's answer cannot be read")
            });
            self.notify.tell(*from, Event::Opened { room: Arc::clone(room), state });
        }
        Ok(())
    }

    fn damaged(&self, room: &str, answer: &Value) {
        add(&self.shared.counts.damaged, 1);
        let error = if let Value::ServerError(error) = answer { error.details() } else { None };
        tracing::error!(room, error, "what the engine has of a room cannot be read");
    }

    /// Makes a room in which nothing was said yet.
    fn begin(&mut self, session: &mut Session, room: &str) -> Result<(), EngineError> {
        let mut begin = function("begin", &names::room_keys(room, 6));
        begin.arg(session.reads.facts().run.clone()).arg(self.fresh()).arg(BLANK_MS);
        session.reads.call(&[begin])?;
        Ok(())
    }

    /// A name that no other history has.
    fn fresh(&mut self) -> String {
        self.last_fresh += 1;
        format!("{}+{:x}", self.node, self.last_fresh)
    }
}

impl Session {
    /// Subscribes to channels, or does so no more; when this returns, it is so.
    fn follow(&mut self, verb: &str, channels: &[String]) -> Result<(), EngineError> {
        for part in channels.chunks(CHANNELS) {
            self.told.send_packed_command(&cmd(verb).arg(part).get_packed_command())?;
            let mut missing = part.len();
            while missing > 0 {
                match message(self.told.recv_response()?) {
                    Ok(payload) => self.waiting.push_back(payload),
                    Err(Value::ServerError(error)) => {
                        return Err(EngineError::Answer(format!(
                            "{verb}: {error:?}; the user needs the channels sb:*"
                        )));
                    }
                    Err(_) => missing -= 1,
                }
            }
        }
        Ok(())
    }

    /// The next word.
    fn next(&mut self) -> Result<Vec<u8>, EngineError> {
        if let Some(payload) = self.waiting.pop_front() {
            return Ok(payload);
        }
        loop {
            if let Ok(payload) = message(self.told.recv_response()?) {
                return Ok(payload);
            }
        }
    }
}

/// An error that another connection may not have ends this one.
fn check_passing(answer: &Value) -> Result<(), EngineError> {
    match answer {
        Value::ServerError(error) if is_passing(error) => Err(EngineError::Answer(format!("{error:?}"))),
        _ => Ok(()),
    }
}

/// What was told; anything else is given back.
fn message(value: Value) -> Result<Vec<u8>, Value> {
    match value {
        Value::Array(mut parts) if parts.len() == 3 && parts[0] == Value::BulkString(b"message".to_vec()) => {
            match parts.pop() {
                Some(Value::BulkString(payload)) => Ok(payload),
                _ => Err(Value::Nil),
            }
        }
        other => Err(other),
    }
}
