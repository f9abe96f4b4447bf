//! The thread that commits: all that the loops handed over while the last pipeline was under way goes into the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Cmd, Value, cmd};

use super::error::EngineError;
use super::follow::{Follows, Places};
use super::link::{Link, begin, function, instant, is_passing, pause, random};
use super::names;
use super::round::{Call, Done, Place, Queue, len_of};
use super::shared::{Notify, Shared, add};
use super::target::Target;
use super::values::Answer;
use super::workers::write;
use super::{MAX_ORDERS, Options, told, values};
use crate::history::memory::Told;
use crate::history::{Act, Action, Batch, Change, Draft, Event, HistoryError, Holder, Outcome};

/// How often an engine that nobody asks anything shows that it is there.
const IDLE: Duration = Duration::from_secs(1);

/// Words and octets of a call of `propose` besides its items, about.
const MOST_WORDS: usize = 20;
const CALL_OCTETS: usize = 512;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    Commit { from: usize, batch: Batch, cost: usize },
    Hold(Holder),
    Stop,
}

/// Tells the team's backend what this process has brought about.
pub(super) type Tell = Box<dyn FnMut(Told<'_>) + Send>;

/// See the module.
pub(super) struct Committer {
    pub(super) target: Target,
    pub(super) options: Options,
    pub(super) node: Arc<str>,
    pub(super) inbox: Receiver<Order>,
    pub(super) shared: Arc<Shared>,
    pub(super) notify: Notify,
    pub(super) teller: Option<Tell>,
    mark: Option<String>,
    queue: Queue,
    places: Places,
    loops: usize,
    link: Option<Link>,
    term: u32,
    /// Numbers the calls, so that each is done once.
    last_call: u64,
    is_ended: bool,
}

/// Where the thread takes from and what it tells.
pub(super) struct Ends {
    pub(super) inbox: Receiver<Order>,
    pub(super) notify: Notify,
    /// Up to where rooms were told.
    pub(super) places: Places,
    pub(super) teller: Option<Tell>,
    /// Which engine of the chat it is.
    pub(super) mark: Option<String>,
}

impl Committer {
    pub(super) fn new(
        (target, options): (Target, Options),
        node: Arc<str>,
        shared: Arc<Shared>,
        ends: Ends,
        loops: usize,
    ) -> Self {
        let Ends { inbox, notify, places, teller, mark } = ends;
        Self {
            target,
            options,
            node,
            inbox,
            shared,
            notify,
            teller,
            mark,
            queue: Queue::new(loops),
            places,
            loops,
            link: None,
            term: 0,
            last_call: 0,
            is_ended: false,
        }
    }

    pub(super) fn run(mut self) {
        while !(self.is_ended && self.queue.is_empty()) {
            self.take();
            let calls = self.queue.next_round();
            let is_done = if calls.is_empty() { self.look() } else { self.commit(calls) };
            if !is_done {
                self.fail();
            }
        }
    }

    /// Takes what there is; waits a moment where there is nothing.
    fn take(&mut self) {
        if self.queue.is_empty() && !self.is_ended {
            match self.inbox.recv_timeout(IDLE) {
                Ok(order) => self.add(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.is_ended = true,
            }
        }
        for _ in 0..MAX_ORDERS {
            let Ok(order) = self.inbox.try_recv() else { break };
            self.add(order);
        }
    }

    fn add(&mut self, order: Order) {
        match order {
            Order::Stop => self.is_ended = true,
            Order::Hold(holder) => self.queue.hold(holder),
            // The loop has counted it as failed already.
            Order::Commit { from, batch, cost } if batch.term < self.term => {
                self.queue.skip(from, batch.ticket);
                self.shared.load.fetch_sub(cost, Ordering::Relaxed);
            }
            Order::Commit { from, batch, cost } => {
                let teller = &mut self.teller;
                self.queue.add(from, batch, cost, |note| {
                    if let Some(tell) = teller {
                        tell(Told::Note(note));
                    }
                });
                self.tell_done(&mut []);
            }
        }
    }

    /// Tells loops what came of what they proposed, and what of it happened.
    fn tell_done(&mut self, changes: &mut [Vec<Arc<Change>>]) {
        for Done { from, ticket, outcomes, cost } in self.queue.take_done() {
            self.shared.load.fetch_sub(cost, Ordering::Relaxed);
            let (changes, bans) = (changes.get_mut(from).map(std::mem::take).unwrap_or_default(), Vec::new());
            self.notify.tell(from, Event::Settled { ticket, outcomes, changes, bans });
        }
        for (number, changes) in changes.iter_mut().enumerate().filter(|(_, changes)| !changes.is_empty()) {
            let (changes, bans, outcomes) = (std::mem::take(changes), Vec::new(), Vec::new());
            self.notify.tell(number, Event::Settled { ticket: 0, outcomes, changes, bans });
        }
    }

    // ---- the connection

    /// Sees whether the engine is there. `false`: not within the time.
    fn look(&mut self) -> bool {
        let until = instant() + self.target.timeout();
        let mut attempt = 0;
        while !self.is_ended {
            match self.call(Vec::new()) {
                Ok(_) => {
                    self.find();
                    return true;
                }
                Err(error) => self.lose(&error),
            }
            if !wait(&mut attempt, until) {
                return false;
            }
        }
        true
    }

    /// The connection; made and checked where that is due.
    fn link(&mut self) -> Result<&mut Link, EngineError> {
        let link = if let Some(mut link) = self.link.take() {
            link.refresh()?;
            link
        } else {
            let mut link = Link::connect(&self.target)?;
            if let Some(mark) = &self.mark {
                link.call(&[write(mark)])?;
            }
            add(&self.shared.arrivals, 1);
            link
        };
        self.shared.set_level(link.facts().level(self.options.replicas));
        Ok(self.link.insert(link))
    }

    fn find(&self) {
        self.shared.counts.is_up.store(true, Ordering::Relaxed);
    }

    fn lose(&mut self, error: &EngineError) {
        let has_link = matches!(error, EngineError::Replicas { .. });
        if self.shared.counts.is_up.swap(false, Ordering::Relaxed) {
            tracing::warn!(%error, address = self.target.address(), "the engine is away");
            add(&self.shared.counts.reconnects, u64::from(!has_link));
        }
        if !has_link {
            self.link = None;
        }
    }

    /// Sends commands on the connection, and waits until as many replicas have all of it as an ack promises.
    fn call(&mut self, mut commands: Vec<Cmd>) -> Result<Vec<Value>, EngineError> {
        let need = self.options.replicas;
        if need > 0 {
            // WAIT is about what this connection has written; calls that were done before the last cut write nothing.
            let mut word = cmd("PUBLISH");
            word.arg(names::node(&self.node)).arg(told::BEAT);
            let mut confirm = cmd("WAIT");
            confirm.arg(need).arg(u64::try_from(self.target.timeout().as_millis()).unwrap_or(u64::MAX) / 2);
            commands.extend([word, confirm]);
        }
        let link = self.link()?;
        // The connection is checked above; there is no command of no words.
        let mut answers = if commands.is_empty() { Vec::new() } else { link.call(&commands)? };
        if need > 0 {
            let confirmed = answers.pop().unwrap_or_default();
            answers.pop();
            match values::number(&confirmed) {
                Some(have) if have >= need as u64 => {}
                Some(have) => return Err(EngineError::Replicas { have, need }),
                // It has become a replica itself.
                None => return Err(EngineError::Answer(format!("WAIT: {confirmed:?}"))),
            }
        }
        Ok(answers)
    }

    // ---- a pipeline

    /// Has the engine do it. `false`: what became of it is not known in time.
    fn commit(&mut self, calls: Vec<Call>) -> bool {
        let first_call = self.last_call + 1;
        self.last_call += calls.len() as u64;
        let until = instant() + self.options.doubt();
        let mut attempt = 0;
        loop {
            match self.send(&calls, first_call) {
                Ok(answers) => {
                    self.find();
                    self.settle(calls, answers);
                    return true;
                }
                Err(error) => self.lose(&error),
            }
            if !wait(&mut attempt, until) {
                return false;
            }
        }
    }

    /// Sends the calls; the same ones with the same numbers are done once.
    fn send(&mut self, calls: &[Call], first_call: u64) -> Result<Vec<Value>, EngineError> {
        let begin = instant();
        let run = self.link()?.facts().run.clone();
        let settings = self.options.settings(&self.node, &run);
        let mut scratch = String::new();
        let commands: Vec<Cmd> = (first_call..)
            .zip(calls)
            .map(|(number, call)| self.command(call, number, &settings, &mut scratch))
            .collect();
        let answers = self.call(commands)?;
        for answer in &answers {
            if let Value::ServerError(error) = answer
                && is_passing(error)
            {
                return Err(EngineError::Answer(format!(
                    "{} {}",
                    error.code(),
                    error.details().unwrap_or_default()
                )));
            }
        }
        let counts = &self.shared.counts;
        add(&counts.pipelines, 1);
        add(&counts.calls, calls.len() as u64);
        add(&counts.wait_us, u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
        Ok(answers)
    }

    fn command(&self, call: &Call, number: u64, settings: &str, scratch: &mut String) -> Cmd {
        let options = &self.options;
        match call {
            Call::Room { room, items } => {
                let lone = match &items[..] {
                    [(_, Act::Post(draft))] if draft.reply_to.is_none() => Some(draft),
                    _ => None,
                };
                let octets: usize = items.iter().map(|(_, act)| len_of(act)).sum();
                let mut command = Cmd::with_capacity(MOST_WORDS + 4 * items.len(), CALL_OCTETS + 2 * octets);
                begin(&mut command, if lone.is_some() { "post" } else { "propose" });
                names::add_keys(&mut command, room, scratch);
                command.arg(settings).arg(&hex(number)).arg(names::channel(room));
                values::add_name(&mut command, room, scratch);
                if let Some(draft) = lone {
                    values::add_post(&mut command, draft, room, scratch);
                } else {
                    for (_, act) in items {
                        values::add_item(&mut command, act, room, scratch);
                    }
                }
                command
            }
            Call::Mark { room, user, seq, .. } => {
                let mut command = function("mark", &[names::marks(room)]);
                command.arg(&**user).arg(*seq).arg(options.keep_ms);
                command
            }
            Call::Subscribe { room, user, is_on, most, .. } => {
                let mut command = function("subscribe", &[names::subscriptions(user)]);
                command.arg(&**room).arg(u8::from(*is_on)).arg(*most);
                command
            }
            Call::Ban { change, .. } => {
                let mut command = function("ban", &[names::BANS.to_owned()]);
                command.arg(names::EVERYBODY);
                values::add_ban(&mut command, change);
                command
            }
            Call::Hold(holder) => {
                let mut command = function("hold", &[names::HOLDERS.to_owned()]);
                command.arg(names::EVERYBODY).arg(&*holder.name).arg(&*holder.subject);
                command.arg(u8::from(holder.is_first));
                command
            }
        }
    }

    fn settle(&mut self, calls: Vec<Call>, answers: Vec<Value>) {
        let places = self.places.clone();
        // Held until all is told: what is heard of comes before it or after it.
        let mut follows = places.lock();
        let mut changes = vec![Vec::new(); self.loops];
        for (call, answer) in calls.into_iter().zip(answers) {
            if let Value::ServerError(error) = &answer {
                tracing::warn!(code = error.code(), why = error.details(), "the engine refused a call");
            }
            match call {
                Call::Room { room, items } => {
                    let happened = self.settle_room(&mut follows, &room, items, &answer);
                    for number in follows.loops_of(&room, self.loops).filter(|_| !happened.is_empty()) {
                        changes[number].extend(happened.iter().cloned());
                    }
                }
                Call::Mark { place, .. } | Call::Ban { place, .. } => self.queue.settle(place, None),
                Call::Subscribe { place, .. } => {
                    let outcome = match values::number(&answer) {
                        Some(1) => Outcome::Subscribed,
                        Some(_) => Outcome::TooMany,
                        None => Outcome::Unavailable,
                    };
                    self.queue.settle(place, Some(outcome));
                }
                Call::Hold(_) => {}
            }
        }
        self.tell_done(&mut changes);
    }

    /// Returns what of it the loops are told now; anything else they are told when it is heard of.
    fn settle_room(
        &mut self,
        follows: &mut Follows,
        room: &Arc<str>,
        items: Vec<(Place, Act)>,
        answer: &Value,
    ) -> Vec<Arc<Change>> {
        let answer = values::answer(answer, items.len());
        let Some(Answer { epoch, prev, outcomes }) = answer else {
            for (place, _) in items {
                self.queue.settle(place, Some(Outcome::Unavailable));
            }
            return Vec::new();
        };
        let mut actions = Vec::with_capacity(items.len());
        for ((place, mut act), outcome) in items.into_iter().zip(outcomes) {
            self.queue.settle(place, Some(outcome));
            // The engine has the key; nobody else but the backend is told of it.
            if let (Act::Post(draft), None) = (&mut act, &self.teller) {
                draft.key = None;
            }
            actions.extend(action_of(act, outcome));
        }
        let is_told = follows.answered(room, epoch, prev, &actions);
        if !is_told && self.teller.is_none() {
            return Vec::new();
        }
        let change = |action| Arc::new(Change { room: Arc::clone(room), action });
        let changes: Vec<_> = actions.into_iter().map(change).collect();
        if let Some(tell) = &mut self.teller {
            for change in &changes {
                tell(Told::Change(change));
            }
        }
        if is_told { changes } else { Vec::new() }
    }

    // ---- an engine that is away

    /// Everything that waits comes to nothing, and so does what comes until the engine is back.
    fn fail(&mut self) {
        add(&self.shared.counts.doubts, u64::from(!self.queue.is_empty()));
        let mut attempt = 0;
        self.refuse();
        loop {
            if self.is_ended {
                self.queue = Queue::new(self.loops);
                return;
            }
            sleep(pause(attempt, random()));
            attempt += 1;
            match self.call(Vec::new()) {
                Ok(_) => {
                    self.find();
                    break;
                }
                Err(error) => self.lose(&error),
            }
            // What came meanwhile must not wait for its fate.
            self.refuse_later();
        }
        tracing::info!(address = self.target.address(), "the engine is back");
        for number in 0..self.loops {
            // What landed after all is told by the feed.
            self.notify.tell(number, Event::Recovered { landed: Vec::new() });
        }
    }

    /// Refuses what waits, and has every loop refuse what comes.
    fn refuse(&mut self) {
        let (first, cost) = self.queue.fail();
        self.shared.load.fetch_sub(cost, Ordering::Relaxed);
        self.term += 1;
        for (number, ticket) in first.into_iter().enumerate() {
            let reason = HistoryError::storage("the engine is away");
            self.notify.tell(number, Event::Failed { term: self.term, ticket, reason });
        }
    }

    fn refuse_later(&mut self) {
        loop {
            while let Ok(order) = self.inbox.try_recv() {
                self.add(order);
            }
            // A loop that has not heard of the failure yet hands over with the term before, which is skipped.
            if self.queue.has_batches() {
                self.refuse();
            } else {
                return;
            }
        }
    }
}

/// The number of a call: those of a node are compared as texts.
fn hex(number: u64) -> [u8; 16] {
    let digit = |nibble: u32| b"0123456789abcdef"[(number >> (60 - 4 * nibble) & 15) as usize];
    std::array::from_fn(|at| digit(at as u32))
}

/// What happened, if anything.
fn action_of(act: Act, outcome: Outcome) -> Option<Action> {
    match (act, outcome) {
        (Act::Post(draft), Outcome::Posted { seq, time }) => {
            Some(Action::Post(Draft::numbered(draft, seq, time)))
        }
        (Act::Edit { text, data, .. }, Outcome::Changed { seq, rev, time }) => {
            Some(Action::Edit { rev, seq, text, data, time: time? })
        }
        (Act::Delete { .. }, Outcome::Changed { seq, rev, time }) => {
            Some(Action::Delete { rev, seq, time: time? })
        }
        (Act::React { user, emoji, is_removed, .. }, Outcome::Changed { seq, rev, .. }) => {
            Some(Action::React { rev, seq, user, emoji, is_removed })
        }
        _ => None,
    }
}

/// Waits before the next attempt. `false`: there is no time for one.
fn wait(attempt: &mut u32, until: Instant) -> bool {
    let pause = pause(*attempt, random());
    *attempt += 1;
    let is_in_time = instant() + pause < until;
    if is_in_time {
        sleep(pause);
    }
    is_in_time
}

#[expect(clippy::disallowed_methods, reason = "the thread is none of the loop")]
fn sleep(time: Duration) {
    thread::sleep(time);
}
