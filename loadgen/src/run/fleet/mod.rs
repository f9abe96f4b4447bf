//! The event loop of one thread: its connections, and the phases that they pass through together.

mod alarm;
mod connect;
mod dial;
mod errors;
mod member;
mod proxy;
mod serve;
pub(crate) mod tls;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Events, Poll, Token};
use switchboard::proto::client::ClientRequest;
use switchboard::proto::{CloseCode, DeflatePool, Limits, MaskingKeys, ProtoConfig};

use self::alarm::Alarm;
use self::dial::Dialer;
use self::member::{BufferPool, Member, Stage};
use self::tls::TlsSetup;
use crate::clock::{Nanos, SECOND, processor_time};
use crate::input::options::Mask;
use crate::input::plan::Plan;
use crate::output::buckets::OCTAVES;
use crate::output::record::Record;
use crate::run::schedule::{Facts, Phase, Timeline, Timetable};
use crate::run::shared::{Shared, Snapshot};
use crate::run::workload::{End, Order, Workload};

const ALARM: Token = Token(usize::MAX - 1);
/// Limit on the events of one tick.
const EVENTS: usize = 1024;
/// Limit on the reads of one connection in one tick, so that a server that floods does not stop the others.
const READS_PER_TICK: usize = 16;
/// Interval at which deadlines are checked and progress is published.
const SWEEP: Nanos = SECOND / 10;
/// Interval at which connections that read slowly are served.
const SLOW_SWEEP: Nanos = SECOND / 50;
/// Limit on the time of one opening handshake, TCP included.
const HANDSHAKE_WAIT: Nanos = 10 * SECOND;
/// Bounds of the receive buffer, which all connections of a thread share, in bytes.
const MIN_INPUT: usize = 64 * 1024;
const MAX_INPUT: usize = 1024 * 1024;

/// Everything that a thread of a run needs to start its loop.
#[derive(Debug)]
pub(crate) struct LoopContext<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) thread: u32,
    /// By the place of the server among the destinations of the plan.
    pub(crate) routes: &'p [Route<'p>],
    pub(crate) shared: Arc<Shared>,
    pub(crate) poll: Poll,
}

/// What a connection to one of the servers begins with.
#[derive(Debug)]
pub(crate) struct Route<'p> {
    pub(crate) request: ClientRequest<'p>,
    pub(crate) tls: Option<TlsSetup>,
}

/// A place for one connection: its lane, and the connection while there is one.
#[derive(Debug)]
struct Slot<L> {
    lane: L,
    member: Option<Member>,
}

/// The loop. It owns the sockets and the buffers; the workload composes and checks the messages.
pub(crate) struct Fleet<'p, W: Workload> {
    plan: &'p Plan,
    thread: u32,
    routes: &'p [Route<'p>],
    shared: Arc<Shared>,
    config: Arc<ProtoConfig>,
    pool: DeflatePool,
    poll: Poll,
    alarm: Alarm,
    slots: Vec<Slot<W::Lane>>,
    /// Slots with a connection.
    open: usize,
    dialer: Dialer,
    workload: W,
    record: Record,
    timetable: Timetable,
    phase: Phase,
    since: Nanos,
    swept_at: Nanos,
    slow_swept_at: Nanos,
    has_connected: bool,
    has_drained: bool,
    /// Processor time at the start of the measurement.
    processor_at: Nanos,
    /// The instant for which the alarm is set.
    awaited_at: Option<Nanos>,
    /// A person has paused a closed loop.
    is_held: bool,
    /// Connections that may have more to read than one tick allows.
    again: Vec<u32>,
    /// Connections that have used up their allowance of bytes to read.
    slowed: Vec<u32>,
    nonces: MaskingKeys,
    buffers: BufferPool,
    input: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
    wire: Vec<u8>,
}

impl<'p, W: Workload> Fleet<'p, W> {
    pub(crate) fn new(context: LoopContext<'p>, mut workload: W, record: Record) -> io::Result<Self> {
        let LoopContext { plan, thread, routes, shared, poll } = context;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let in_flight = plan.pacing.pipeline.min(1024) as usize;
        let answers = (plan.sizes.max + 14).saturating_mul(in_flight);
        // An answer that is too long must be reported as corrupted, not as a violation of the protocol's limits.
        let limits = Limits::default().with_max_message((plan.sizes.max as u64 * 2).max(1024 * 1024));
        let config = ProtoConfig::default().with(|it| {
            it.limits = limits;
            it.deflate = routes.first().and_then(|route| route.request.deflate.cloned());
        });
        let lanes = (0..plan.share(thread)).map(|place| workload.lane(thread + place * plan.threads));
        let slots = lanes.map(|lane| Slot { lane, member: None }).collect();
        Ok(Self {
            plan,
            thread,
            routes,
            shared,
            pool: DeflatePool::new(&config),
            config: Arc::new(config),
            poll,
            alarm,
            slots,
            open: 0,
            dialer: Dialer::new(plan.connect_burst.div_ceil(plan.threads)),
            workload,
            record,
            timetable: Timetable { warmup: plan.warmup, duration: plan.duration },
            phase: Phase::Connecting,
            since: 0,
            swept_at: 0,
            slow_swept_at: 0,
            has_connected: false,
            has_drained: false,
            processor_at: 0,
            awaited_at: None,
            is_held: false,
            again: Vec::new(),
            slowed: Vec::new(),
            nonces: MaskingKeys::Seeded(plan.seed ^ u64::from(thread) << 48),
            buffers: BufferPool::default(),
            input: vec![0; answers.next_power_of_two().clamp(MIN_INPUT, MAX_INPUT)],
            plain: Vec::new(),
            out: Vec::new(),
            wire: Vec::new(),
        })
    }

    /// Runs until the plan is done or the run is stopped; returns the record.
    pub(crate) fn run(mut self) -> io::Result<Record> {
        let mut events = Events::with_capacity(EVENTS);
        let mut timeout = Duration::ZERO;
        let now = self.shared.clock.now();
        if self.workload.dials_first() {
            let rate = self.plan.connect_rate / f64::from(self.plan.threads);
            self.dialer.set_dials(Timeline::steady(now, rate));
            self.dial_all(now);
        }
        while self.phase != Phase::Over && !self.shared.stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.tick(&events);
            let now = self.shared.clock.now();
            if now >= self.swept_at + SWEEP {
                self.swept_at = now;
                self.sweep(now);
                self.shared.publish(self.thread, &self.snapshot(now));
            }
            timeout = self.timeout(now)?;
        }
        Ok(self.finish())
    }

    fn tick(&mut self, events: &Events) {
        self.note_lag();
        if self.phase == Phase::Connecting {
            // Another thread may have begun, and its messages may be among the events.
            self.advance(self.shared.clock.now());
        }
        let again = std::mem::take(&mut self.again);
        for event in events {
            // Tokens above the places belong to the alarm and to calls from other threads.
            let is_ended = event.is_read_closed() || event.is_error();
            self.serve(event.token().0.min(u32::MAX as usize) as u32, true, is_ended);
        }
        for place in again {
            self.serve(place, true, true);
        }
        let now = self.shared.clock.now();
        if !self.slowed.is_empty() && now >= self.slow_swept_at + SLOW_SWEEP {
            self.slow_swept_at = now;
            let slowed = std::mem::take(&mut self.slowed);
            for place in slowed {
                self.serve(place, true, true);
            }
        }
        self.advance(now);
        self.obey_pause();
        self.send_due(now);
        if self.workload.tick(now, &mut self.record) == Order::DropAll {
            self.each(|fleet, place| fleet.end(place, &End::Dropped));
        }
        // Last, so that no event of this tick meets a new connection in the place of one that ended.
        self.dial(now);
    }

    /// Records the delay of a wake-up.
    fn note_lag(&mut self) {
        let Some(awaited_at) = self.awaited_at else { return };
        let now = self.shared.clock.now();
        if now >= awaited_at {
            self.awaited_at = None;
            if self.phase == Phase::Measuring {
                self.record.lag.saturating_record(now - awaited_at);
            }
        }
    }

    /// Whether messages may go out. An open loop still sends what it planned before the end of the window.
    #[inline]
    fn sends(&self) -> bool {
        self.phase.sends() && !self.is_held || self.phase == Phase::Draining && self.plan.pacing.is_open()
    }

    /// Stops a closed loop in a pause, and lets it go on after that. In an open loop, schedule time stands still instead.
    fn obey_pause(&mut self) {
        let pacing = &self.plan.pacing;
        let is_held = pacing.steering.is_paused() && !pacing.is_open();
        if std::mem::replace(&mut self.is_held, is_held) && !is_held {
            self.each(|fleet, place| fleet.serve(place, false, false));
        }
    }

    fn advance(&mut self, now: Nanos) {
        let awaited = self.dialer.awaited() + self.workload.unready();
        if awaited == 0 && !self.has_connected {
            self.has_connected = true;
            self.shared.thread_is_connected();
        }
        let unanswered = self.workload.unanswered();
        // A connection in its opening handshake may send its messages after that.
        let is_drained = unanswered == 0 && self.dialer.under_way() == 0;
        if self.phase == Phase::Draining && is_drained && !self.has_drained {
            self.has_drained = true;
            self.shared.thread_is_drained();
        }
        let start_at = self.shared.start_at();
        let waits_for_start = self.phase == Phase::Connecting && !self.workload.dials_first();
        let facts = Facts {
            awaited,
            may_begin: start_at.is_some_and(|at| at <= now),
            alive: if waits_for_start {
                self.slots.len()
            } else {
                self.open + self.dialer.awaited() as usize
            },
            unanswered,
            all_drained: self.shared.all_drained(),
            all_sent: self.workload.all_sent(),
        };
        let next = self.timetable.phase(self.phase, self.since, now, facts);
        if next != self.phase {
            self.enter(next, start_at.unwrap_or(now), now);
        }
    }

    /// Queues all connections, each for its server.
    fn dial_all(&mut self, now: Nanos) {
        for place in 0..self.slots.len() as u32 {
            let server = (self.number(place) as usize % self.routes.len()) as u16;
            self.dialer.push(place, server, now);
        }
    }

    /// The number of a connection over all threads.
    fn number(&self, place: u32) -> u32 {
        self.thread + place * self.plan.threads
    }

    fn enter(&mut self, next: Phase, start_at: Nanos, now: Nanos) {
        let before = std::mem::replace(&mut self.phase, next);
        self.since = self.timetable.begins((before, next), self.since, start_at, now);
        if before == Phase::Connecting && next.sends() {
            let window_start = start_at + self.plan.warmup;
            self.record.begin(window_start..window_start + self.plan.duration);
            if let Some(dials) = self.workload.begin(start_at, &self.record.window) {
                self.dialer.set_dials(dials);
                if !self.workload.dials_first() {
                    self.dial_all(start_at);
                }
            }
        }
        if next == Phase::Measuring {
            self.processor_at = processor_time();
        }
        if before == Phase::Measuring {
            self.end_window(now);
        }
        match next {
            Phase::WarmUp | Phase::Measuring => self.each(|fleet, place| fleet.serve(place, false, false)),
            Phase::Draining => self.end_dialling(now),
            Phase::Closing => {
                self.give_up_dials();
                self.each(Self::close);
            }
            Phase::Connecting | Phase::Over => {}
        }
    }

    /// Dials the connections that were planned before the end of the window, and empties the queue.
    fn end_dialling(&mut self, now: Nanos) {
        let end = now.min(self.record.window.end.saturating_sub(1));
        self.dial(end);
        if !self.workload.dials_first() {
            self.record.count.unsent += self.dialer.overdue(end);
            self.give_up_dials();
        }
    }

    /// Empties the queue of connections that were to be dialled again.
    fn give_up_dials(&mut self) {
        for dial in self.dialer.give_up() {
            let now = self.shared.clock.now();
            self.workload.stranded(&mut self.slots[dial.place as usize].lane, now, &mut self.record);
        }
    }

    /// Whether connections may be dialled again. Those that were open before the first message have still to send what was
    /// planned before the end of the window.
    fn dials_again(&self) -> bool {
        self.phase.sends() || self.phase == Phase::Draining && self.workload.dials_first()
    }

    /// Ends the window.
    fn end_window(&mut self, now: Nanos) {
        self.record.processor = vec![processor_time().saturating_sub(self.processor_at)];
        self.record.end_window(now);
    }

    fn each(&mut self, mut act: impl FnMut(&mut Self, u32)) {
        for place in 0..self.slots.len() {
            if self.slots[place].member.is_some() {
                act(self, place as u32);
            }
        }
    }

    /// Begins the closing handshake. A connection that reads slowly is dropped: it would never see the end of it.
    fn close(&mut self, place: u32) {
        let now = millis(self.shared.clock.now());
        let Some(member) = &mut self.slots[place as usize].member else { return };
        if member.throttle.is_some() || self.plan.mask == Mask::None {
            return self.end(place, &End::Dropped);
        }
        if let Stage::Open(connection) = &mut member.stage {
            connection.close(CloseCode::NORMAL, "", now, &mut self.out);
            member.is_closing = true;
        }
        self.serve(place, false, false);
    }

    /// Serves the lanes that have messages due, each once.
    fn send_due(&mut self, now: Nanos) {
        while let Some(place) = self.workload.woken(now) {
            self.serve(place, false, false);
        }
        if !self.sends() {
            return;
        }
        while let Some(place) = self.workload.next_due(now) {
            self.serve(place, false, false);
        }
    }

    /// Ends opening handshakes that took too long.
    fn sweep(&mut self, now: Nanos) {
        if self.phase == Phase::Connecting && now >= self.plan.connect_limit() {
            for dial in self.dialer.give_up() {
                let never = "not dialled: earlier opening handshakes took too long".to_owned();
                let lane = &mut self.slots[dial.place as usize].lane;
                self.record.serving(dial.server.into());
                self.workload.end(lane, &End::Failed(never), now, &mut self.record);
                self.record.served();
            }
        }
        if self.workload.unready() > 0 {
            self.each(|fleet, place| {
                if let Some(failure) = fleet.workload.overdue(&fleet.slots[place as usize].lane, now) {
                    fleet.end(place, &End::Failed(failure));
                }
            });
        }
        if self.dialer.under_way() == 0 {
            return;
        }
        self.each(|fleet, place| {
            let member = fleet.slots[place as usize].member.as_ref();
            let is_overdue = member.is_some_and(
                |member| matches!(&member.stage, Stage::Opening(opening) if opening.deadline <= now),
            );
            if is_overdue {
                let seconds = HANDSHAKE_WAIT / SECOND;
                fleet.end(place, &End::Failed(format!("opening handshake: no answer within {seconds} s")));
            }
        });
    }

    fn timeout(&mut self, now: Nanos) -> io::Result<Duration> {
        if !self.again.is_empty() {
            return Ok(Duration::ZERO);
        }
        let mut wake_at = self.swept_at + SWEEP;
        if !self.slowed.is_empty() {
            wake_at = wake_at.min(self.slow_swept_at + SLOW_SWEEP);
        }
        if let Some(end) = self.timetable.ends(self.phase, self.since) {
            wake_at = wake_at.min(end);
        }
        if self.phase == Phase::Connecting
            && let Some(start_at) = self.shared.start_at()
        {
            wake_at = wake_at.min(start_at);
        }
        let next_message = if self.sends() { self.workload.next_at() } else { None };
        let next =
            [self.dialer.next_at(), next_message, self.workload.wakes_at()].into_iter().flatten().min();
        if let Some(next) = next {
            self.awaited_at = Some(next);
            if next <= now {
                return Ok(Duration::ZERO);
            }
            self.alarm.set(next, now)?;
            if !cfg!(target_os = "linux") {
                wake_at = wake_at.min(next);
            }
        }
        Ok(Duration::from_nanos(wake_at.saturating_sub(now)))
    }

    /// Ends a connection, and queues it for another dial if the workload asks for that.
    fn end(&mut self, place: u32, end: &End) {
        let Some(member) = &self.slots[place as usize].member else { return };
        self.record.serving(member.server.into());
        self.end_served(place, end);
        self.record.served();
    }

    /// Ends the connection that is being served.
    fn end_served(&mut self, place: u32, end: &End) {
        let slot = &mut self.slots[place as usize];
        let Some(mut member) = slot.member.take() else { return };
        self.open -= 1;
        if *end == End::Dropped {
            member.abort();
        } else {
            // Sends the answer to a Close if the socket still takes it.
            let _ = member.send(&mut self.out, &mut self.wire, &mut self.buffers);
        }
        self.out.clear();
        self.wire.clear();
        if let Stage::Opening(_) = member.stage {
            self.dialer.handshake_ended();
        }
        let now = self.shared.clock.now();
        if self.workload.end(&mut slot.lane, end, now, &mut self.record) {
            self.dial_again(place, member.server, now);
        }
    }

    /// Queues a connection that ended for another dial, to the next server.
    fn dial_again(&mut self, place: u32, server: u16, now: Nanos) {
        if self.dials_again() {
            self.dialer.push(place, (server + 1) % self.routes.len() as u16, now);
        } else {
            self.workload.stranded(&mut self.slots[place as usize].lane, now, &mut self.record);
        }
    }

    fn snapshot(&self, now: Nanos) -> Snapshot {
        let count = &self.record.count;
        let [p50, p90, p99, p999] = self.record.series.recent(now).unwrap_or_default();
        let shows = self.shared.is_shown;
        Snapshot {
            phase: self.phase,
            open: self.open as u64,
            sent: count.sent,
            answered: count.answered,
            faults: count.lost + count.duplicated + count.reordered + count.corrupted,
            failures: self.record.failures().values().sum(),
            p50,
            p90,
            p99,
            p999,
            latencies: if shows { self.record.series.octaves() } else { [0; OCTAVES] },
        }
    }

    /// Ends all connections; returns the record.
    fn finish(mut self) -> Record {
        let now = self.shared.clock.now();
        if self.phase == Phase::Measuring {
            self.end_window(now);
        }
        let is_cut_off = self.phase != Phase::Over;
        for (is_done, signal) in [
            (self.has_connected, Shared::thread_is_connected as fn(&Shared)),
            (self.has_drained, Shared::thread_is_drained),
        ] {
            if !is_done {
                signal(&self.shared);
            }
        }
        for slot in &mut self.slots {
            let Some(member) = slot.member.take() else { continue };
            let end = match (is_cut_off, member.is_closed) {
                (true, _) => End::CutOff,
                (false, true) => End::Clean,
                (false, false) => End::Failed("closing handshake: no Close from the server".to_owned()),
            };
            self.record.serving(member.server.into());
            self.workload.end(&mut slot.lane, &end, now, &mut self.record);
            self.record.served();
        }
        self.workload.finish(&mut self.record);
        self.record
    }
}

fn millis(now: Nanos) -> u64 {
    now / 1_000_000
}
