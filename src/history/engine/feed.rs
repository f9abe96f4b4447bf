//! The thread that is told what happens, and tells the loops. It alone knows up to where each room was told.
//!
//! A room is read after its channel is followed, so nothing is missed between the two. What a broken connection misses is read
//! by number; where something comes twice, nothing is new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use redis::{Value, cmd};

use super::error::EngineError;
use super::follow::{Follows, Known, Places, known};
use super::link::{function, instant, pause, random};
use super::session::{Session, check_passing};
use super::shared::{Notify, Shared, add};
use super::target::Target;
use super::told::{Heard, Told, told};
use super::values;
use super::{MAX_OPENED, Signing, names};
use crate::history::place::{Place, Since, Standing, Step, Word};
use crate::history::{Action, Ban, BanChange, Change, Event, HistoryError, Holder, RoomState, Start};

/// No word for so long, and the connection is dead, whatever TCP says. The thread that asks has a word told each second.
const DEAD: Duration = Duration::from_secs(5);
/// How often it is looked whether another thread has reached the engine.
const LOOK: Duration = Duration::from_millis(25);
/// Rooms that are read at once.
const ROOMS_AT_ONCE: usize = 16;
/// Messages, and changes, that are read at once where some were missed.
const MISSED_AT_ONCE: u64 = 256;
/// Conversations of two that nobody follows and of which it is known up to where they were told.
const MAX_PAIRS: usize = 10_000;
/// What happened this long before the last word may have been missed, in milliseconds.
const MARGIN_MS: u64 = 2000;
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
    places: Places,
    /// Up to where conversations of two were told that nobody follows: those of which something was told, at most
    /// [`MAX_PAIRS`].
    pairs: BTreeMap<Arc<str>, Standing>,
    /// When something was told last; `None`: never yet.
    heard_at: Option<Instant>,
    /// Verified names that were told.
    held: usize,
    /// Who is banned, as the loops know it.
    bans: BTreeMap<Arc<str>, Ban>,
    /// Who hears what other servers tell.
    signs: Option<Signing>,
    /// Names for histories that begin here.
    last_fresh: u64,
}

impl Feed {
    pub(super) fn new(
        (target, node): (Target, Arc<str>),
        shared: Arc<Shared>,
        notify: Notify,
        (inbox, places, loops): (Receiver<Request>, Places, usize),
        (start, signs): (Start, Option<Signing>),
    ) -> Self {
        let Start { bans, holders, .. } = start;
        let bans = bans.into_iter().map(|ban| (Arc::clone(&ban.user), ban)).collect();
        Self {
            target,
            node,
            shared,
            notify,
            inbox,
            loops,
            places,
            bans,
            signs,
            pairs: BTreeMap::new(),
            heard_at: None,
            held: holders.len(),
            last_fresh: 0,
        }
    }

    pub(super) fn run(mut self) {
        let mut attempt = 0;
        while !self.shared.is_stopping() {
            let arrivals = self.shared.arrivals.load(Ordering::Relaxed);
            let Err(error) = self.session(&mut attempt) else { return };
            if self.shared.counts.is_fed.swap(false, Ordering::Relaxed) {
                tracing::warn!(%error, "what other nodes do does not come through: the engine is asked again");
                add(&self.shared.counts.reconnects, 1);
            }
            self.refuse();
            self.wait(pause(attempt, random()), arrivals);
            attempt += 1;
        }
    }

    /// Waits before the next attempt; not much longer where another thread has reached the engine meanwhile.
    fn wait(&self, pause: Duration, arrivals: u64) {
        let until = instant() + pause;
        while instant() < until {
            super::sleep(LOOK.min(pause));
            if self.shared.arrivals.load(Ordering::Relaxed) != arrivals {
                return;
            }
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
        let mut session = Session::connect(&self.target, DEAD)?;
        let mut channels = vec![names::node(&self.node), names::EVERYBODY.into(), names::PAIRS.into()];
        channels.extend(self.places.lock().rooms().iter().map(|room| names::channel(room)));
        session.follow("SUBSCRIBE", &channels)?;
        self.catch_up(&mut session)?;
        self.shared.counts.is_fed.store(true, Ordering::Relaxed);
        *attempt = 0;
        while !self.shared.is_stopping() {
            if self.shared.must_wake.swap(false, Ordering::Relaxed) {
                self.serve(&mut session)?;
            }
            session.reads.check_primary()?;
            let payload = session.next()?;
            self.heard_at = Some(instant());
            let is_told = match told(&payload) {
                Some(Told::News(heard)) => self.heard(&mut session, &heard)?,
                Some(other) => {
                    self.heard_other(other);
                    true
                }
                None => false,
            };
            if !is_told {
                add(&self.shared.counts.damaged, 1);
                tracing::warn!(
                    octets = payload.len(),
                    "the engine told something that no node of this version tells"
                );
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
        self.catch_up_names(session)?;
        let rooms = self.places.lock().rooms();
        for room in rooms {
            if !self.fill(session, &room)? {
                let wanted = Wanted { from: 0, room, recent: 0, changes: 0, is_open: false };
                self.read_wanted(session, &[], &[], &[wanted])?;
            }
        }
        self.catch_up_pairs(session)
    }

    /// Verified names that somebody took while nothing was told.
    fn catch_up_names(&mut self, session: &mut Session) -> Result<(), EngineError> {
        let mut count = cmd("HLEN");
        count.arg(names::HOLDERS);
        let count = session.reads.call(&[count])?.first().and_then(values::number).unwrap_or(0);
        if count as usize != self.held {
            let mut all = cmd("HGETALL");
            all.arg(names::HOLDERS);
            let holders = session.reads.call(&[all])?.first().and_then(values::holders).unwrap_or_default();
            self.held = holders.len();
            for holder in holders {
                self.tell_holder(&holder);
            }
        }
        Ok(())
    }

    fn tell_holder(&self, holder: &Holder) {
        for number in 0..self.loops {
            self.notify.tell(number, Event::Held(holder.clone()));
        }
    }

    /// Conversations of two in which something happened while nothing was told, whoever is in them.
    fn catch_up_pairs(&mut self, session: &mut Session) -> Result<(), EngineError> {
        let Some(heard_at) = self.heard_at else { return Ok(()) };
        let silent_ms = u64::try_from(heard_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let time = session.reads.call(&[cmd("TIME")])?;
        let seconds = time.first().and_then(values::list).and_then(|it| it.first()).and_then(values::number);
        let from = (seconds.unwrap_or(0) * 1000).saturating_sub(silent_ms.saturating_add(MARGIN_MS));
        let mut recent = cmd("ZRANGE");
        recent.arg(names::RECENT_PAIRS).arg(from).arg("+inf").arg("BYSCORE");
        let rooms = session.reads.call(&[recent])?;
        let rooms = rooms.first().and_then(values::list).unwrap_or_default();
        for room in rooms.iter().filter_map(values::text) {
            let room: Arc<str> = room.as_str().into();
            let is_followed = self.places.lock().get_mut(&room).is_some();
            if is_followed || self.fill(session, &room)? {
                continue;
            }
            // Nothing was ever told of it here, so nothing comes twice.
            let mut open = function("open", &names::room_keys(&room, 4));
            open.arg(MISSED_AT_ONCE).arg(0);
            let answer = session.reads.call(&[open])?.pop().unwrap_or_default();
            check_passing(&answer)?;
            if let Some(state) = values::state(&answer) {
                let missed = state.recent.into_iter().map(|it| it.post).filter(|post| post.time >= from);
                self.tell(&self.places.lock(), &room, missed.map(Action::Post).collect());
                let place = Place { epoch: state.epoch, seq: state.seq, rev: state.rev };
                self.remember(room, Standing::at(place));
            }
        }
        Ok(())
    }

    /// Up to where a conversation was told that nobody follows.
    fn remember(&mut self, room: Arc<str>, standing: Standing) {
        self.pairs.insert(room, standing);
        if self.pairs.len() > MAX_PAIRS {
            self.pairs.pop_first();
        }
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

    /// `false`: it cannot be read.
    fn heard(&mut self, session: &mut Session, heard: &Heard<'_>) -> Result<bool, EngineError> {
        let Heard { room, epoch, prev_seq, prev_rev, .. } = *heard;
        let mut follows = self.places.lock();
        match known(&mut follows, &mut self.pairs, room) {
            Known::UpTo(standing) => match standing.heard(epoch, (prev_seq, prev_rev)) {
                Step::Read => {
                    drop(follows);
                    self.fill(session, &room.into())?;
                }
                Step::Tell => {
                    let Some(actions) = heard.actions() else { return Ok(false) };
                    standing.advance(&actions);
                    self.tell(&follows, &room.into(), actions);
                }
                Step::Twin => {}
            },
            // Whoever is in a conversation may be connected here.
            Known::Nothing if names::pair(room).is_some() => {
                let Some(actions) = heard.actions() else { return Ok(false) };
                let room: Arc<str> = room.into();
                let place = Place { epoch: epoch.into(), seq: prev_seq, rev: prev_rev };
                let mut standing = Standing::at(place);
                standing.advance(&actions);
                self.tell(&follows, &room, actions);
                drop(follows);
                self.remember(room, standing);
            }
            // It is read in a moment, with this in it; or nobody follows it.
            Known::Soon | Known::Nothing => {}
        }
        Ok(true)
    }

    fn heard_other(&mut self, told: Told<'_>) {
        match told {
            Told::Ban(change) => self.ban(&change),
            Told::Hold(holder) => {
                self.held += 1;
                self.tell_holder(&holder);
            }
            Told::Sign { from, word } => {
                if let Some(it) = self.signs.as_ref().filter(|_| *from != *self.node) {
                    it.signs.hear(from, word, it.now_ms());
                }
            }
            Told::News(_) | Told::Beat => {}
        }
    }

    /// Tells the loops that follow a room.
    fn tell(&self, follows: &Follows, room: &Arc<str>, actions: Vec<Action>) {
        if actions.is_empty() {
            return;
        }
        let changes: Vec<_> =
            actions.into_iter().map(|action| Arc::new(Change { room: Arc::clone(room), action })).collect();
        for number in follows.loops_of(room, self.loops) {
            let changes = changes.clone();
            self.notify
                .tell(number, Event::Settled { ticket: 0, outcomes: Vec::new(), changes, bans: Vec::new() });
        }
    }

    /// Reads what is new in a room, and tells it. `false`: nothing of it was told yet.
    fn fill(&mut self, session: &mut Session, room: &Arc<str>) -> Result<bool, EngineError> {
        // While it is read, nobody else tells anything of it.
        let Some(mut standing) = self.take(room) else { return Ok(false) };
        loop {
            let read = self.since(session, room, standing.place());
            let mut is_done = true;
            if let Ok(Some(since)) = read {
                let (words, reached, is_all) = standing.place().reach(since);
                let follows = self.places.lock();
                self.tell_words(&follows, room, words);
                standing.reach(reached);
                is_done = is_all;
            } else if let Err(error) = read {
                self.put_back(room, standing);
                return Err(error);
            }
            if is_done {
                self.put_back(room, standing);
                return Ok(true);
            }
        }
    }

    fn take(&mut self, room: &str) -> Option<Standing> {
        match self.places.lock().get_mut(room) {
            Some(follow) => follow.standing.take(),
            None => self.pairs.get(room).cloned(),
        }
    }

    fn put_back(&mut self, room: &Arc<str>, standing: Standing) {
        let mut follows = self.places.lock();
        if let Some(follow) = follows.get_mut(room) {
            follow.standing = Some(standing);
        } else {
            drop(follows);
            self.remember(Arc::clone(room), standing);
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

    /// Tells what is new.
    fn tell_words(&self, follows: &Follows, room: &Arc<str>, words: Vec<Word>) {
        let counts = &self.shared.counts;
        for word in words {
            match word {
                Word::Fork(fork) => {
                    add(&counts.forks, 1);
                    let (seq, rev) = (fork.seq, fork.rev);
                    tracing::info!(room = &**room, seq, rev, "the history goes on under another name");
                    for number in follows.loops_of(room, self.loops) {
                        let (room, fork) = (Arc::clone(room), fork.clone());
                        self.notify.tell(number, Event::Epoch { room, fork });
                    }
                }
                Word::Behind => {
                    add(&counts.behind, 1);
                    for number in follows.loops_of(room, self.loops) {
                        self.notify.tell(number, Event::Behind { room: Arc::clone(room) });
                    }
                }
                Word::Happened(actions) => {
                    add(&counts.filled, actions.len() as u64);
                    self.tell(follows, room, actions);
                }
            }
        }
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
                    let follow = self.places.lock().remove(from, &room);
                    if let Some(follow) = follow {
                        if names::pair(&room).is_some()
                            && let Some(standing) = follow.standing
                        {
                            self.remember(Arc::clone(&room), standing);
                        }
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
            let mut follows = self.places.lock();
            if follows.add(from, &room) {
                // What was told of a conversation is not told again.
                let standing = self.pairs.remove(&room);
                if let Some(follow) = follows.get_mut(&room) {
                    follow.standing = standing;
                }
                let channel = names::channel(&room);
                if let Some(at) = old.iter().position(|it| *it == channel) {
                    old.remove(at);
                } else {
                    new.push(channel);
                }
            }
            drop(follows);
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
            self.shared.counts.rooms.store(self.places.lock().len(), Ordering::Relaxed);
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
        if let Some(state) = &state {
            let mut follows = self.places.lock();
            // Other loops know it under an earlier name.
            let mut is_earlier = false;
            if let Some(follow) = follows.get_mut(room) {
                let RoomState { epoch, seq, rev, .. } = state;
                let place = || Place { epoch: Arc::clone(epoch), seq: *seq, rev: *rev };
                let standing = follow.standing.get_or_insert_with(|| Standing::at(place()));
                is_earlier = standing.place().epoch != *epoch;
            }
            drop(follows);
            if is_earlier {
                self.fill(session, room)?;
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
