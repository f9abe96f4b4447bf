//! The scenario `fanout`, and `slow --fanout`: what one publishes, everyone gets, once and in order.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use switchboard::proto::{Connection, Encoding, MaskingKeys, Message, MessageKind, Outgoing};

use super::echo::MAX_WRITE;
use super::sequence::{Arrival, Sequence};
use super::{masking_keys, planned_in_window};
use crate::clock::Nanos;
use crate::fleet::{End, Scenario, Shared, Step, Turn};
use crate::payload::Payloads;
use crate::plan::{Kind, Pacing, Plan};
use crate::record::Record;
use crate::schedule::{Cursor, OpenLoop};

/// Publishes that are not yet everywhere, over all publishers: 16 bytes each.
const MAX_SLOTS: u64 = 1 << 21;

/// What is said where each message came back to its sender alone.
const ECHO: &str = "every message came back to its publisher and went to nobody else: this is an echo server; use loadgen echo";

/// What the threads know in common: who has published what, and how far it has come.
#[derive(Debug)]
pub(crate) struct Hall {
    publishers: Vec<Publisher>,
    /// Publishes that are not yet everywhere.
    outstanding: AtomicU64,
    /// Messages that the publishers still owe, when each has a number of them to send.
    owed: AtomicU64,
    /// For each thread the publishers of its own that may go on.
    woken: Vec<Mutex<Vec<u32>>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Publisher {
    sent: AtomicU64,
    completed: AtomicU64,
    /// A message has the slot of its number, modulo their count, which is a power of two.
    slots: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    sent_at: AtomicU64,
    /// Threads with receivers that do not have it yet; 0: the slot is free.
    threads_left: AtomicU32,
}

impl Hall {
    pub(crate) fn new(plan: &Plan, shared: &Arc<Shared>) -> Arc<Self> {
        let publishers = publishers_of(plan);
        // A power of two, so that no delivery costs a division.
        let most = 1 << (MAX_SLOTS / u64::from(publishers)).max(1).ilog2();
        let slots = plan.pacing.pipeline.next_power_of_two().min(most) as usize;
        let publisher = || Publisher {
            sent: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            slots: (0..slots).map(|_| Slot::default()).collect(),
        };
        Arc::new(Self {
            publishers: (0..publishers).map(|_| publisher()).collect(),
            outstanding: AtomicU64::new(0),
            owed: AtomicU64::new(plan.messages.unwrap_or(0) * u64::from(publishers)),
            woken: (0..plan.threads).map(|_| Mutex::default()).collect(),
            shared: Arc::clone(shared),
        })
    }

    fn no_longer_owed(&self, count: u64) {
        let less = |owed: u64| Some(owed.saturating_sub(count));
        // It always gives a value.
        let _ = self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    /// The last receiver has a message of `publisher`.
    fn complete(&self, publisher: u32, thread: u32) {
        self.publishers[publisher as usize].completed.fetch_add(1, Ordering::AcqRel);
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
        let threads = self.woken.len() as u32;
        let home = publisher % threads;
        let mut woken = self.woken[home as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if woken.last() != Some(&(publisher / threads)) {
            woken.push(publisher / threads);
        }
        if home != thread {
            self.shared.wake(home);
        }
    }
}

fn publishers_of(plan: &Plan) -> u32 {
    match plan.kind {
        Kind::Fanout { publishers, .. } | Kind::Slow { publishers: Some(publishers), .. } => publishers,
        _ => 1,
    }
}

/// One subscriber, which may be a publisher, too.
#[derive(Debug)]
pub(crate) struct Lane {
    number: u32,
    is_slow: bool,
    is_held: bool,
    is_open: bool,
    /// Messages published.
    sent: u64,
    /// What came of each publisher.
    heard: Box<[Sequence]>,
}

/// Deliveries of one read that went out together.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    sent_at: Nanos,
    count: u64,
}

/// All lanes of a thread together.
#[derive(Debug)]
pub(crate) struct Fanout {
    hall: Arc<Hall>,
    thread: u32,
    threads: u32,
    excludes_self: bool,
    publishers: u32,
    first_slow: u32,
    slow_bytes: Option<u64>,
    pacing: Pacing,
    messages: Option<u64>,
    payloads: Payloads,
    keys: MaskingKeys,
    plan: Option<OpenLoop>,
    cursor: Cursor,
    /// Receivers of this thread.
    receivers: u32,
    /// Receivers of this thread that do not have the message in a slot yet; 0: it is not under way.
    left: Vec<u32>,
    slots: usize,
    batch: Batch,
    woken: Vec<u32>,
    scratch: Vec<u8>,
    /// Deliveries to connections of this thread, and those that were due to them, from other connections than themselves.
    from_others: u64,
    due_from_others: u64,
    from_themselves: u64,
}

impl Fanout {
    pub(crate) fn new(plan: &Plan, thread: u32, hall: Arc<Hall>) -> Self {
        let (slow, slow_bytes) = match plan.kind {
            Kind::Slow { slow, bytes_per_second, .. } => (slow, Some(bytes_per_second)),
            _ => (0, None),
        };
        let publishers = publishers_of(plan);
        let slots = hall.publishers[0].slots.len();
        Self {
            thread,
            threads: plan.threads,
            excludes_self: matches!(plan.kind, Kind::Fanout { excludes_self: true, .. }),
            publishers,
            first_slow: plan.connections - slow,
            slow_bytes,
            pacing: plan.pacing,
            messages: plan.messages,
            payloads: Payloads::new(plan.message_kind, plan.sizes, plan.seed, plan.mask),
            keys: masking_keys(plan, thread),
            plan: None,
            cursor: Cursor::new(thread, plan.threads),
            receivers: 0,
            left: vec![0; slots * publishers as usize],
            slots,
            batch: Batch::default(),
            woken: Vec::new(),
            scratch: Vec::new(),
            from_others: 0,
            due_from_others: 0,
            from_themselves: 0,
            hall,
        }
    }

    /// Receivers of `publisher` on `thread`, when everyone is there.
    fn receivers_on(&self, thread: u32, publisher: u32) -> u32 {
        let all = (self.first_slow + self.threads - 1).saturating_sub(thread) / self.threads;
        all - u32::from(self.excludes_self && publisher % self.threads == thread)
    }

    /// Threads that have receivers of `publisher`.
    fn threads_with_receivers(&self, publisher: u32) -> u32 {
        (0..self.threads).filter(|&thread| self.receivers_on(thread, publisher) > 0).count() as u32
    }

    /// One receiver of this thread has message `seq`, or will never have it.
    #[inline]
    fn done(&mut self, publisher: u32, seq: u64, now: Nanos, record: &mut Record) {
        let slot = seq as usize & (self.slots - 1);
        let left = &mut self.left[publisher as usize * self.slots + slot];
        if *left == 0 {
            let is_own = self.excludes_self && publisher % self.threads == self.thread;
            *left = self.receivers.saturating_sub(is_own.into()).max(1);
        }
        *left -= 1;
        if *left == 0 {
            self.thread_has_it(publisher, seq, slot, now, record);
        }
    }

    #[inline(never)]
    fn thread_has_it(&self, publisher: u32, seq: u64, slot: usize, now: Nanos, record: &mut Record) {
        let slot = &self.hall.publishers[publisher as usize].slots[slot];
        let sent_at = slot.sent_at.load(Ordering::Acquire);
        let less = |left: u32| left.checked_sub(1);
        if slot.threads_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less) != Ok(1) {
            return;
        }
        let since = self.plan.as_ref().map_or(sent_at, |plan| plan.planned(publisher, seq));
        if record.window.contains(&since) {
            record.to_last.saturating_record(now.saturating_sub(since));
        }
        record.count.completed += 1;
        self.hall.complete(publisher, self.thread);
    }

    /// A delivery that was right.
    #[inline]
    fn deliver(&mut self, publisher: u32, seq: u64, now: Nanos, record: &mut Record) {
        let slot = seq as usize & (self.slots - 1);
        let sent_at = self.hall.publishers[publisher as usize].slots[slot].sent_at.load(Ordering::Acquire);
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

    #[inline]
    fn flush(&mut self, now: Nanos, record: &mut Record) {
        let Batch { sent_at, count } = std::mem::take(&mut self.batch);
        if count > 0 {
            record.answers(sent_at, now, count);
        }
    }

    /// Something came that is not the next message of its publisher: says what it is instead.
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
        let was_sent = seq < self.hall.publishers[publisher as usize].sent.load(Ordering::Acquire);
        if !was_sent || !self.payloads.matches(publisher, seq, payload) {
            record.count.corrupted += 1;
            return;
        }
        match heard.arrived(seq) {
            Arrival::Next => self.deliver(publisher, seq, now, record),
            Arrival::Ahead(_) => {
                // Nobody waits for those that were left out.
                (first..seq).for_each(|seq| self.done(publisher, seq, now, record));
                self.deliver(publisher, seq, now, record);
            }
            Arrival::Late => record.count.reordered += 1,
            Arrival::Again => record.count.duplicated += 1,
        }
    }

    /// How many messages of a publisher may go out at `now`, and whether more of them are due.
    fn allowance(&self, lane: &Lane, now: Nanos) -> (u64, bool) {
        let completed = self.hall.publishers[lane.number as usize].completed.load(Ordering::Acquire);
        let bound = self.pacing.pipeline.min(self.slots as u64);
        let free = bound.saturating_sub(lane.sent - completed);
        let due = match (self.pacing.rate, &self.plan) {
            (None, _) => free,
            (Some(_), Some(plan)) => plan.share(plan.due(now), lane.number) - lane.sent,
            (Some(_), None) => 0,
        };
        let due = due.min(self.messages.map_or(u64::MAX, |messages| messages - lane.sent));
        (due.min(free), due > free)
    }

    fn write_frame(&mut self, lane: &Lane, connection: &mut Connection, out: &mut Vec<u8>) {
        if connection.encoding() == Encoding::Plain {
            return self.payloads.write_frames(lane.number, lane.sent, 1, &mut self.keys, out);
        }
        self.scratch.clear();
        self.payloads.render(lane.number, lane.sent, &mut self.scratch);
        let message = match self.payloads.kind {
            // Letters.
            MessageKind::Text => Outgoing::text(std::str::from_utf8(&self.scratch).unwrap_or_default()),
            MessageKind::Binary => Outgoing::binary(&self.scratch),
        };
        // Cannot fail: the loop composes on open connections only.
        let _ = connection.encode(message, out);
    }
}

impl Scenario for Fanout {
    type Lane = Lane;

    fn lane(&mut self, number: u32) -> Lane {
        let is_slow = number >= self.first_slow;
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
        self.slow_bytes.filter(|_| number >= self.first_slow)
    }

    fn begin(&mut self, start: Nanos, window: &Range<Nanos>) -> Option<f64> {
        self.plan = self.pacing.rate.map(|rate| OpenLoop::new(start, window.end, rate, self.publishers));
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
            && heard.next() < self.hall.publishers[publisher as usize].sent.load(Ordering::Acquire)
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
    fn settle(&mut self, _lane: &mut Lane, now: Nanos, record: &mut Record) {
        self.flush(now, record);
    }

    fn compose(
        &mut self,
        lane: &mut Lane,
        connection: &mut Connection,
        turn: Turn,
        record: &mut Record,
        out: &mut Vec<u8>,
    ) -> Step {
        if !turn.sends || lane.number >= self.publishers {
            return Step::Rest;
        }
        let (allowed, is_more) = self.allowance(lane, turn.now);
        let was_held = std::mem::replace(&mut lane.is_held, is_more) || turn.was_blocked;
        let (first, until) = (lane.sent, lane.sent + allowed);
        let threads = self.threads_with_receivers(lane.number);
        let hall = Arc::clone(&self.hall);
        let publisher = &hall.publishers[lane.number as usize];
        while lane.sent < until && (out.len() < MAX_WRITE || lane.sent == first) {
            let slot = &publisher.slots[lane.sent as usize & (self.slots - 1)];
            if slot.threads_left.load(Ordering::Acquire) != 0 {
                // A message of long ago is not everywhere yet.
                lane.is_held = true;
                break;
            }
            if let Some(plan) = &self.plan {
                record.departed(plan.planned(lane.number, lane.sent), turn.now, was_held);
            }
            slot.sent_at.store(turn.now, Ordering::Release);
            slot.threads_left.store(threads, Ordering::Release);
            self.write_frame(lane, connection, out);
            lane.sent += 1;
            publisher.sent.store(lane.sent, Ordering::Release);
            hall.outstanding.fetch_add(1, Ordering::AcqRel);
            if threads == 0 {
                slot.threads_left.store(0, Ordering::Release);
                hall.complete(lane.number, self.thread);
            }
        }
        let count = lane.sent - first;
        self.hall.no_longer_owed(count);
        record.count.sent += count;
        if lane.sent < until && !lane.is_held { Step::More } else { Step::Rest }
    }

    fn next_due(&mut self, now: Nanos) -> Option<u32> {
        if self.woken.is_empty() {
            let mut woken =
                self.hall.woken[self.thread as usize].lock().unwrap_or_else(PoisonError::into_inner);
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
        self.hall.outstanding.load(Ordering::Acquire)
    }

    fn all_sent(&self) -> bool {
        self.messages.is_some() && self.hall.owed.load(Ordering::Acquire) == 0
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
            self.hall.no_longer_owed(messages - lane.sent);
            record.count.unsent += if *end == End::CutOff { 0 } else { messages - lane.sent };
        }
        if was_open {
            for publisher in 0..self.publishers {
                if self.excludes_self && publisher == lane.number {
                    continue;
                }
                let heard = &lane.heard[publisher as usize];
                let sent = self.hall.publishers[publisher as usize].sent.load(Ordering::Acquire);
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
                (heard.next()..sent).for_each(|seq| self.done(publisher, seq, now, record));
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
            record.count.planned_in_window = planned_in_window(plan, record, &self.cursor);
        }
        if self.due_from_others > 0 && self.from_others == 0 && self.from_themselves > 0 {
            record.note(ECHO);
        }
    }
}
