//! The scenario `fanout`: every connection receives every published message once, and those of a publisher in order.

mod state;

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use clap::Args;
use switchboard::proto::{Connection, MaskingKeys, Message};

use self::state::InFlight;
pub(super) use self::state::{FanoutState, Publishing};
use super::args::{ScenarioArgs, divide_connections};
use super::sequence::{Arrival, Sequence};
use super::slow_readers::SlowReaders;
use crate::clock::Nanos;
use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs, TimeArgs, TrafficArgs};
use crate::input::plan::{Outline, Pacing, Plan, within};
use crate::input::values::{Share, Stages};
use crate::output::record::Record;
use crate::output::report::Outcome;
use crate::run::Launch;
use crate::run::payload::{Payloads, masking_keys};
use crate::run::schedule::{Cursor, OpenLoop, Timeline};
use crate::run::workload::{End, MAX_WRITE, Step, Turn, Workload};

/// Note for a run in which only the publisher received each message.
const ECHO: &str = "only its publisher received each message: this is an echo server; use loadgen echo";

/// Publish to a server that sends every message to every connection; time each delivery and the last one of each message
#[derive(Debug, Clone, Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Number of connections that publish; all connections subscribe
    #[arg(long, value_name = "K", default_value_t = 1)]
    publishers: u32,
    /// The server does not send a message back to its publisher
    #[arg(long)]
    exclude_self: bool,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// What of the run this process has.
    #[arg(skip)]
    share: Share,
}

impl FanoutArgs {
    fn publishing(&self) -> Publishing {
        Publishing { publishers: self.publishers, excludes_self: self.exclude_self, share: self.share }
    }
}

/// Why agents cannot share a closed loop without an end.
const WITHOUT_PLAN: &str = "agents that share a fanout must know how many messages the others send: give --rate, --stages or --messages";

impl ScenarioArgs for FanoutArgs {
    fn connect(&self) -> &ConnectArgs {
        &self.connect
    }

    fn connect_mut(&mut self) -> &mut ConnectArgs {
        &mut self.connect
    }

    fn output(&self) -> &OutputArgs {
        &self.output
    }

    fn output_mut(&mut self) -> &mut OutputArgs {
        &mut self.output
    }

    fn stages(&mut self) -> Option<&mut Stages> {
        self.traffic.shape.stages.as_mut()
    }

    /// Connections, and with them publishers, are dealt to the processes in turn. Rate and seed are those of all: each process
    /// knows what the others send, and when.
    fn divide(&mut self, share: Share) -> Result<(), PlanError> {
        let TrafficArgs { rate, shape, messages, .. } = &self.traffic;
        if share.of > 1 && rate.is_none() && shape.stages.is_none() && messages.is_none() {
            return Err(PlanError(WITHOUT_PLAN.to_owned()));
        }
        within("--publishers", self.publishers.into(), 1, self.connect.connections.into())?;
        divide_connections(&mut self.connect, share)?;
        self.share = share;
        Ok(())
    }

    fn rate(&mut self) -> Option<&mut Option<f64>> {
        Some(&mut self.traffic.rate)
    }

    fn outline(&self) -> Result<Outline, PlanError> {
        if self.share.of == 1 {
            within("--publishers", self.publishers.into(), 1, self.connect.connections.into())?;
        }
        self.publishing().check(&self.connect, &self.traffic)?;
        let outline = Outline::new("fanout", &self.time, &self.traffic);
        Ok(Outline { answered: "delivered", ..outline.with("publishers", self.publishers.into()) })
    }

    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure> {
        let plan = launch.plan;
        launch.run(|shared| {
            let state = FanoutState::new(plan, self.publishing(), shared);
            move |thread| Fanout::new(plan, thread, SlowReaders::none(), &state)
        })
    }
}

/// One subscriber, which may also publish.
#[derive(Debug)]
pub(super) struct Lane {
    /// Among the connections of all processes.
    number: u32,
    is_slow: bool,
    is_held: bool,
    is_open: bool,
    /// Messages published.
    sent: u64,
    /// Arrivals of each publisher's messages.
    heard: Box<[Sequence]>,
}

/// Deliveries of one read whose messages left in one write.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    sent_at: Nanos,
    count: u64,
}

/// The workload of one thread.
#[derive(Debug)]
pub(super) struct Fanout {
    state: Arc<FanoutState>,
    thread: u32,
    threads: u32,
    excludes_self: bool,
    publishers: u32,
    slow: SlowReaders,
    /// Connections that count as receivers: those that do not read slowly.
    fast: u32,
    pacing: Pacing,
    messages: Option<u64>,
    payloads: Payloads,
    keys: MaskingKeys,
    plan: Option<OpenLoop>,
    cursor: Cursor,
    /// Receivers of this thread.
    receivers: u32,
    /// For each entry in flight, the receivers of this thread that have not received the message; 0: none was counted yet.
    left: Vec<u32>,
    slots: usize,
    batch: Batch,
    woken: Vec<u32>,
    /// Deliveries to connections of this thread from other connections, and those that were due.
    from_others: u64,
    due_from_others: u64,
    from_themselves: u64,
    share: Share,
    has_begun: bool,
    /// Deliveries to open connections of this thread that publishers of other processes owe, and those that came.
    due_from_afar: u64,
    from_afar: u64,
}

impl Fanout {
    pub(super) fn new(plan: &Plan, thread: u32, slow: SlowReaders, state: &Arc<FanoutState>) -> Self {
        let Publishing { publishers, excludes_self, share } = state.publishing;
        let (slots, own) = (state.slots, state.publishers.len());
        Self {
            thread,
            threads: plan.threads,
            excludes_self,
            publishers,
            slow,
            fast: plan.connections - slow.count,
            pacing: plan.pacing.clone(),
            messages: plan.messages,
            payloads: Payloads::of(plan),
            keys: masking_keys(plan, thread),
            plan: None,
            cursor: Cursor::new(share.number(thread), share.of * plan.threads),
            receivers: 0,
            left: vec![0; slots * own],
            slots,
            batch: Batch::default(),
            woken: Vec::new(),
            from_others: 0,
            due_from_others: 0,
            from_themselves: 0,
            share,
            has_begun: false,
            due_from_afar: 0,
            from_afar: 0,
            state: Arc::clone(state),
        }
    }

    /// Receivers of `publisher` on `thread` if all connections are open.
    fn receivers_on(&self, thread: u32, publisher: u32) -> u32 {
        let all = (self.fast + self.threads - 1).saturating_sub(thread) / self.threads;
        all - u32::from(self.excludes_self && self.share.own(publisher) % self.threads == thread)
    }

    /// Threads that have receivers of `publisher`.
    fn threads_with_receivers(&self, publisher: u32) -> u32 {
        (0..self.threads).filter(|&thread| self.receivers_on(thread, publisher) > 0).count() as u32
    }

    /// The entry of a publish in flight.
    #[inline]
    fn in_flight(&self, publisher: u32, seq: u64) -> &InFlight {
        &self.state.publisher(publisher).in_flight[seq as usize & (self.slots - 1)]
    }

    /// Messages of a publisher that may have arrived: those that it sent or, if it is in another process, all that it is to
    /// send.
    #[inline]
    fn sent_by(&self, publisher: u32) -> u64 {
        if self.share.has(publisher) {
            return self.state.publisher(publisher).sent.load(Ordering::Acquire);
        }
        // The first message of another process may come before this one begins.
        self.planned_of(publisher, Nanos::MAX).unwrap_or(u64::MAX)
    }

    /// Messages of a publisher that are planned before `now`; in a closed loop, all of them. `None`: no message is to go out
    /// yet.
    #[cold]
    fn planned_of(&self, publisher: u32, now: Nanos) -> Option<u64> {
        match &self.plan {
            Some(plan) => Some(plan.share(plan.due(now), publisher)),
            None => self.messages.filter(|_| self.has_begun),
        }
    }

    /// The publishers of other processes.
    fn publishers_afar(&self) -> impl Iterator<Item = u32> + use<> {
        let share = self.share;
        (0..self.publishers).filter(move |publisher| !share.has(*publisher))
    }

    /// One receiver of this thread has received message `seq`, or the run does not wait for that any more.
    #[inline]
    fn done(&mut self, publisher: u32, seq: u64, now: Nanos, record: &mut Record) {
        let (slot, lane) = (seq as usize & (self.slots - 1), self.share.own(publisher));
        let left = &mut self.left[lane as usize * self.slots + slot];
        if *left == 0 {
            let is_own = self.excludes_self && lane % self.threads == self.thread;
            *left = self.receivers.saturating_sub(is_own.into()).max(1);
        }
        *left -= 1;
        if *left == 0 {
            self.reached_thread(publisher, seq, now, record);
        }
    }

    #[inline(never)]
    fn reached_thread(&self, publisher: u32, seq: u64, now: Nanos, record: &mut Record) {
        let publish = self.in_flight(publisher, seq);
        let sent_at = publish.sent_at.load(Ordering::Acquire);
        let less = |left: u32| left.checked_sub(1);
        if publish.threads_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less) != Ok(1) {
            return;
        }
        if !publish.is_incomplete.swap(false, Ordering::AcqRel) {
            let since = self.plan.as_ref().map_or(sent_at, |plan| plan.planned(publisher, seq));
            if record.window.contains(&since) {
                record.to_last.saturating_record(now.saturating_sub(since));
            }
            record.count.completed += 1;
        }
        self.state.complete(publisher, self.thread);
    }

    /// The run does not wait for a delivery any more.
    fn give_up(&mut self, publisher: u32, seq: u64, now: Nanos, record: &mut Record) {
        if !self.share.has(publisher) {
            return;
        }
        self.in_flight(publisher, seq).is_incomplete.store(true, Ordering::Release);
        self.done(publisher, seq, now, record);
    }

    /// Records a correct delivery.
    #[inline]
    fn deliver(&mut self, publisher: u32, seq: u64, now: Nanos, record: &mut Record) {
        if !self.share.has(publisher) {
            return self.deliver_from_afar(publisher, seq, now, record);
        }
        let sent_at = self.in_flight(publisher, seq).sent_at.load(Ordering::Acquire);
        if sent_at != self.batch.sent_at {
            self.flush(now, record);
            self.batch = Batch { sent_at, count: 0 };
        }
        self.batch.count += 1;
        if let Some(plan) = &self.plan {
            record.answer_of_plan(plan.planned(publisher, seq), now);
        }
        self.done(publisher, seq, now, record);
    }

    /// Records a correct delivery from another process, whose plan is known, and not the instant at which it really sent.
    fn deliver_from_afar(&mut self, publisher: u32, seq: u64, now: Nanos, record: &mut Record) {
        self.from_afar += 1;
        record.answered_from_afar(now);
        if let Some(plan) = &self.plan {
            record.answer_of_plan(plan.planned(publisher, seq), now);
        }
    }

    #[inline]
    fn flush(&mut self, now: Nanos, record: &mut Record) {
        let Batch { sent_at, count } = std::mem::take(&mut self.batch);
        if count > 0 {
            record.answers(sent_at, now, count);
        }
    }

    /// Judges a message that is not the next one of its publisher.
    #[cold]
    fn judge(&mut self, lane: &mut Lane, payload: &[u8], now: Nanos, record: &mut Record) {
        let publisher = self.payloads.claimed_lane(payload).filter(|publisher| *publisher < self.publishers);
        let is_own = |publisher| self.excludes_self && publisher == lane.number;
        let Some(publisher) = publisher.filter(|publisher| !is_own(*publisher)) else {
            record.count.corrupted += 1;
            return;
        };
        let heard = &mut lane.heard[publisher as usize];
        let first = heard.next();
        let seq = self.payloads.claimed(payload, first);
        if seq >= self.sent_by(publisher) || !self.payloads.matches(publisher, seq, payload) {
            record.count.corrupted += 1;
            return;
        }
        match heard.arrived(seq) {
            Arrival::Next => self.deliver(publisher, seq, now, record),
            Arrival::Ahead(_) => {
                // The run no longer waits for the messages before it.
                (first..seq).for_each(|seq| self.give_up(publisher, seq, now, record));
                self.deliver(publisher, seq, now, record);
            }
            Arrival::Late => {
                self.from_afar += u64::from(!self.share.has(publisher));
                record.count.reordered += 1;
            }
            Arrival::Again => record.count.duplicated += 1,
        }
    }

    /// Number of messages of a publisher that may go out at `now`, and whether more are due.
    fn allowance(&self, lane: &Lane, now: Nanos) -> (u64, bool) {
        let completed = self.state.publisher(lane.number).completed.load(Ordering::Acquire);
        let bound = self.pacing.pipeline.min(self.slots as u64);
        let free = bound.saturating_sub(lane.sent - completed);
        let due = match (self.pacing.is_open(), &self.plan) {
            (false, _) => free,
            (true, Some(plan)) => plan.share(plan.due(now), lane.number) - lane.sent,
            (true, None) => 0,
        };
        let due = due.min(self.messages.map_or(u64::MAX, |messages| messages - lane.sent));
        (due.min(free), due > free)
    }
}

impl Workload for Fanout {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        let is_slow = self.slow.contains(number);
        let number = self.share.number(number);
        let heard = if is_slow { 0 } else { self.publishers };
        Lane {
            number,
            is_slow,
            is_held: false,
            is_open: false,
            sent: 0,
            heard: (0..heard).map(|_| Sequence::default()).collect(),
        }
    }

    fn read_rate(&self, number: u32) -> Option<u64> {
        self.slow.read_rate(number)
    }

    fn begin(&mut self, start: Nanos, window: &Range<Nanos>) -> Option<Timeline> {
        self.plan = OpenLoop::of(&self.pacing, start, window.end, self.publishers);
        self.has_begun = true;
        let each: u64 =
            self.publishers_afar().filter_map(|publisher| self.planned_of(publisher, Nanos::MAX)).sum();
        self.due_from_afar = each * u64::from(self.receivers);
        None
    }

    fn opened(
        &mut self,
        lane: &mut Lane,
        _subprotocol: Option<&str>,
        _now: Nanos,
        _record: &mut Record,
    ) -> Result<(), String> {
        lane.is_open = true;
        self.receivers += u32::from(!lane.is_slow);
        Ok(())
    }

    #[inline]
    fn receive(&mut self, lane: &mut Lane, message: &Message<'_>, now: Nanos, record: &mut Record) {
        if lane.is_slow {
            return;
        }
        if message.kind == self.payloads.kind
            && let Some(publisher) = self.payloads.claimed_lane(message.payload)
            && let Some(heard) = lane.heard.get_mut(publisher as usize)
            && (!self.excludes_self || publisher != lane.number)
            && heard.next() < self.sent_by(publisher)
            && self.payloads.matches(publisher, heard.next(), message.payload)
        {
            let seq = heard.next();
            heard.arrived(seq);
            self.deliver(publisher, seq, now, record);
        } else {
            self.judge(lane, message.payload, now, record);
        }
    }

    #[inline]
    fn read_ended(&mut self, _lane: &mut Lane, now: Nanos, record: &mut Record) {
        self.flush(now, record);
    }

    fn compose(&mut self, lane: &mut Lane, connection: &mut Connection, turn: &mut Turn<'_>) -> Step {
        if !turn.sends || lane.number >= self.publishers {
            return Step::Rest;
        }
        let (allowed, is_more) = self.allowance(lane, turn.now);
        let was_held = std::mem::replace(&mut lane.is_held, is_more) || turn.was_blocked;
        let (first, until) = (lane.sent, lane.sent + allowed);
        let threads = self.threads_with_receivers(lane.number);
        let state = Arc::clone(&self.state);
        let publisher = state.publisher(lane.number);
        while lane.sent < until && (turn.out.len() < MAX_WRITE || lane.sent == first) {
            let publish = &publisher.in_flight[lane.sent as usize & (self.slots - 1)];
            if publish.threads_left.load(Ordering::Acquire) != 0 {
                // The message that had this entry before has not reached every receiver.
                lane.is_held = true;
                break;
            }
            if let Some(plan) = &self.plan {
                turn.record.departed(plan.planned(lane.number, lane.sent), turn.now, was_held);
            }
            publish.sent_at.store(turn.now, Ordering::Release);
            publish.threads_left.store(threads, Ordering::Release);
            let seqs = lane.sent..lane.sent + 1;
            self.payloads.encode(lane.number, seqs, connection, (&mut self.keys, &mut *turn.out));
            lane.sent += 1;
            publisher.sent.store(lane.sent, Ordering::Release);
            state.outstanding.fetch_add(1, Ordering::AcqRel);
            if threads == 0 {
                publish.threads_left.store(0, Ordering::Release);
                state.complete(lane.number, self.thread);
            }
        }
        let count = lane.sent - first;
        self.state.no_longer_owed(count);
        turn.record.count.sent += count;
        if lane.sent < until && !lane.is_held { Step::More } else { Step::Rest }
    }

    fn next_due(&mut self, now: Nanos) -> Option<u32> {
        if self.woken.is_empty() {
            let mut woken =
                self.state.woken[self.thread as usize].lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut self.woken, &mut woken);
        }
        if let Some(place) = self.woken.pop() {
            return Some(place);
        }
        self.cursor.next_due(self.plan.as_ref()?, now)
    }

    fn next_at(&self) -> Option<Nanos> {
        self.cursor.next_at(self.plan.as_ref()?)
    }

    fn unanswered(&self) -> u64 {
        let own = self.state.outstanding.load(Ordering::Acquire);
        own + self.due_from_afar.saturating_sub(self.from_afar)
    }

    fn all_sent(&self) -> bool {
        self.messages.is_some() && self.state.owed.load(Ordering::Acquire) == 0
    }

    fn end(&mut self, lane: &mut Lane, end: &End, now: Nanos, record: &mut Record) -> bool {
        let was_open = std::mem::take(&mut lane.is_open);
        if lane.is_slow {
            match end {
                End::Failed(name) => record.slow_end(name),
                End::Clean | End::Dropped | End::CutOff => record.count.slow_held += 1,
            }
            return false;
        }
        if let Some(plan) =
            self.plan.as_ref().filter(|_| lane.number < self.publishers && *end != End::CutOff)
        {
            record.count.unsent += plan.share(plan.due(now), lane.number) - lane.sent;
        } else if lane.number < self.publishers
            && let Some(messages) = self.messages
        {
            self.state.no_longer_owed(messages - lane.sent);
            record.count.unsent += if *end == End::CutOff { 0 } else { messages - lane.sent };
        }
        if was_open {
            for publisher in 0..self.publishers {
                if self.excludes_self && publisher == lane.number {
                    continue;
                }
                let heard = &lane.heard[publisher as usize];
                let sent = if self.share.has(publisher) {
                    self.sent_by(publisher)
                } else {
                    let all = self.planned_of(publisher, Nanos::MAX).unwrap_or(0);
                    self.due_from_afar = self.due_from_afar.saturating_sub(all);
                    self.from_afar = self.from_afar.saturating_sub(heard.next() - heard.missing());
                    self.planned_of(publisher, now).unwrap_or(0).max(heard.next())
                };
                let under_way = sent - heard.next();
                if publisher == lane.number {
                    self.from_themselves += heard.next();
                } else {
                    self.from_others += heard.next();
                    self.due_from_others += sent;
                }
                if *end == End::CutOff {
                    record.count.cut_off += under_way;
                } else {
                    record.count.lost += under_way;
                }
                record.count.lost += heard.missing();
                (heard.next()..sent).for_each(|seq| self.give_up(publisher, seq, now, record));
            }
            self.receivers -= 1;
        }
        if let End::Failed(name) = end {
            record.failure(name);
        }
        false
    }

    fn finish(&mut self, record: &mut Record) {
        if let Some(plan) = &self.plan {
            record.count.planned_in_window = self.cursor.planned_within(plan, &record.window);
        }
        if self.due_from_others > 0 && self.from_others == 0 && self.from_themselves > 0 {
            record.note(ECHO);
        }
    }
}
