//! The connections of one thread on one event loop, and the phases that they go through together.

mod alarm;
mod connect;
mod dial;
mod member;
mod scenario;
mod serve;
mod shared;
mod tls;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Events, Poll, Token};
use switchboard::proto::client::ClientRequest;
use switchboard::proto::{CloseCode, DeflatePool, Limits, MaskingKeys, ProtoConfig};

use self::alarm::Alarm;
use self::dial::Dialer;
use self::member::{Member, Spares, Stage};
pub(crate) use self::scenario::{End, Order, Scenario, Step, Turn};
pub(crate) use self::shared::{Shared, Snapshot};
pub(crate) use self::tls::TlsSetup;
use crate::cli::Mask;
use crate::clock::{Nanos, SECOND, processor_time};
use crate::plan::Plan;
use crate::record::Record;
use crate::schedule::{Facts, Phase, Timetable};

const ALARM: Token = Token(usize::MAX - 1);
/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Reads of one connection in one tick; a server that floods waits for the next one.
const READS_PER_TICK: usize = 16;
/// Deadlines are looked at, and progress is shown, this often.
const SWEEP: Nanos = SECOND / 10;
/// Connections that read slowly are looked at this often.
const SLOW_SWEEP: Nanos = SECOND / 50;
/// One opening handshake may take this long, TCP included.
const HANDSHAKE_WAIT: Nanos = 10 * SECOND;
/// Bounds of the one receive buffer.
const MIN_INPUT: usize = 64 * 1024;
const MAX_INPUT: usize = 1024 * 1024;

/// What a thread of a run is given.
#[derive(Debug)]
pub(crate) struct Station<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) thread: u32,
    pub(crate) request: ClientRequest<'p>,
    pub(crate) tls: Option<TlsSetup>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) poll: Poll,
}

/// The place of a connection: what the scenario keeps for it, and the connection while there is one.
#[derive(Debug)]
struct Seat<L> {
    lane: L,
    member: Option<Member>,
}

/// The loop. It owns the sockets and the buffers; what is sent and checked is the scenario's.
pub(crate) struct Fleet<'p, S: Scenario> {
    plan: &'p Plan,
    thread: u32,
    request: ClientRequest<'p>,
    tls: Option<TlsSetup>,
    shared: Arc<Shared>,
    config: Arc<ProtoConfig>,
    pool: DeflatePool,
    poll: Poll,
    alarm: Alarm,
    seats: Vec<Seat<S::Lane>>,
    /// Seats with a connection.
    open: usize,
    dialer: Dialer,
    scenario: S,
    record: Record,
    timetable: Timetable,
    phase: Phase,
    since: Nanos,
    swept_at: Nanos,
    slow_swept_at: Nanos,
    has_connected: bool,
    has_drained: bool,
    /// Processor time when the measurement began.
    processor_at: Nanos,
    /// What the alarm was set for.
    awaited_at: Option<Nanos>,
    /// Connections with more to read than one tick takes.
    again: Vec<u32>,
    /// Connections with more to read than they are allowed to.
    slowed: Vec<u32>,
    nonces: MaskingKeys,
    spares: Spares,
    input: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
    wire: Vec<u8>,
}

impl<'p, S: Scenario> Fleet<'p, S> {
    pub(crate) fn new(station: Station<'p>, mut scenario: S, record: Record) -> io::Result<Self> {
        let Station { plan, thread, request, tls, shared, poll } = station;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let in_flight = plan.pacing.pipeline.min(1024) as usize;
        let answers = (plan.sizes.max + 14).saturating_mul(in_flight);
        // A server may send more than it was sent: that is an error of content, not of size.
        let limits = Limits::default().with_max_message((plan.sizes.max as u64 * 2).max(1024 * 1024));
        let config = ProtoConfig { limits, deflate: request.deflate.cloned(), ..ProtoConfig::default() };
        let lanes = (0..plan.share(thread)).map(|place| scenario.lane(thread + place * plan.threads));
        let seats = lanes.map(|lane| Seat { lane, member: None }).collect();
        Ok(Self {
            plan,
            thread,
            request,
            tls,
            shared,
            pool: DeflatePool::new(&config),
            config: Arc::new(config),
            poll,
            alarm,
            seats,
            open: 0,
            dialer: Dialer::new(plan.connect_burst.div_ceil(plan.threads)),
            scenario,
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
            again: Vec::new(),
            slowed: Vec::new(),
            nonces: MaskingKeys::Seeded(plan.seed ^ u64::from(thread) << 48),
            spares: Spares::default(),
            input: vec![0; answers.next_power_of_two().clamp(MIN_INPUT, MAX_INPUT)],
            plain: Vec::new(),
            out: Vec::new(),
            wire: Vec::new(),
        })
    }

    /// Runs until the plan is done, or the run is stopped.
    pub(crate) fn run(mut self) -> io::Result<Record> {
        let mut events = Events::with_capacity(EVENTS);
        let mut timeout = Duration::ZERO;
        let now = self.shared.clock.now();
        if self.scenario.dials_first() {
            self.dialer.set_rate(self.plan.connect_rate / f64::from(self.plan.threads), now);
            (0..self.seats.len() as u32).for_each(|place| self.dialer.push(place, now));
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
                self.shared.publish(self.thread, self.snapshot(now));
            }
            timeout = self.timeout(now)?;
        }
        Ok(self.finish())
    }

    fn tick(&mut self, events: &Events) {
        self.note_lag();
        if self.phase == Phase::Connecting {
            // Messages of another thread, which has begun, may be among the events.
            self.advance(self.shared.clock.now());
        }
        let again = std::mem::take(&mut self.again);
        for event in events {
            // Tokens above the places are the alarm and calls from other threads.
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
        self.send_due(now);
        if self.scenario.tick(now, &mut self.record) == Order::DropAll {
            self.each(|fleet, place| fleet.end(place, &End::Dropped));
        }
        // Last, so that no event of this tick meets a connection in the place of one that ended.
        self.dial(now);
    }

    /// How late the loop is for what it planned.
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

    /// What an open loop planned before its end is sent even when its end has come.
    #[inline]
    fn sends(&self) -> bool {
        self.phase.sends() || self.phase == Phase::Draining && self.plan.pacing.rate.is_some()
    }

    fn advance(&mut self, now: Nanos) {
        let awaited = self.dialer.awaited() + self.scenario.unready();
        if awaited == 0 && !self.has_connected {
            self.has_connected = true;
            self.shared.thread_is_connected();
        }
        let unanswered = self.scenario.unanswered();
        if self.phase == Phase::Draining && unanswered == 0 && !self.has_drained {
            self.has_drained = true;
            self.shared.thread_is_drained();
        }
        let start_at = self.shared.start_at();
        let waits_for_start = self.phase == Phase::Connecting && !self.scenario.dials_first();
        let facts = Facts {
            awaited,
            may_begin: start_at.is_some_and(|at| at <= now),
            alive: if waits_for_start {
                self.seats.len()
            } else {
                self.open + self.dialer.awaited() as usize
            },
            unanswered,
            all_drained: self.shared.all_drained(),
            all_sent: self.scenario.all_sent(),
        };
        let next = self.timetable.phase(self.phase, self.since, now, facts);
        if next != self.phase {
            self.enter(next, start_at.unwrap_or(now), now);
        }
    }

    fn enter(&mut self, next: Phase, start_at: Nanos, now: Nanos) {
        let before = std::mem::replace(&mut self.phase, next);
        self.since = now;
        if before == Phase::Connecting && next.sends() {
            self.since = start_at;
            let window_start = start_at + self.plan.warmup;
            self.record.begin(window_start..window_start + self.plan.duration);
            if let Some(rate) = self.scenario.begin(start_at, &self.record.window) {
                self.dialer.set_rate(rate, start_at);
                if !self.scenario.dials_first() {
                    (0..self.seats.len() as u32).for_each(|place| self.dialer.push(place, start_at));
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
            Phase::Closing => self.each(Self::close),
            Phase::Connecting | Phase::Over => {}
        }
    }

    /// Dials those who were planned before the window's end, and nobody after that.
    fn end_dialling(&mut self, now: Nanos) {
        let end = now.min(self.record.window.end.saturating_sub(1));
        self.dial(end);
        if !self.scenario.dials_first() {
            self.record.count.unsent += self.dialer.overdue(end);
        }
        self.dialer.give_up();
    }

    /// The measurement ends now, or has ended.
    fn end_window(&mut self, now: Nanos) {
        self.record.processor = vec![processor_time().saturating_sub(self.processor_at)];
        self.record.end_window(now);
    }

    fn each(&mut self, mut act: impl FnMut(&mut Self, u32)) {
        for place in 0..self.seats.len() {
            if self.seats[place].member.is_some() {
                act(self, place as u32);
            }
        }
    }

    /// Begins the closing handshake. Who reads slowly would never see its end.
    fn close(&mut self, place: u32) {
        let now = millis(self.shared.clock.now());
        let Some(member) = &mut self.seats[place as usize].member else { return };
        if member.throttle.is_some() || self.plan.mask == Mask::None {
            return self.end(place, &End::Dropped);
        }
        if let Stage::Open(connection) = &mut member.stage {
            connection.close(CloseCode::NORMAL, "", now, &mut self.out);
            member.is_closing = true;
        }
        self.serve(place, false, false);
    }

    /// Serves the lanes that have messages due; each of them once.
    fn send_due(&mut self, now: Nanos) {
        if !self.sends() {
            return;
        }
        while let Some(place) = self.scenario.next_due(now) {
            self.serve(place, false, false);
        }
    }

    /// Ends what has waited for too long.
    fn sweep(&mut self, now: Nanos) {
        if self.phase == Phase::Connecting && now >= self.plan.connect_limit() {
            for (place, _) in self.dialer.give_up() {
                let never = "not dialled: the opening handshakes before it took too long".to_owned();
                let lane = &mut self.seats[place as usize].lane;
                self.scenario.end(lane, &End::Failed(never), now, &mut self.record);
            }
        }
        if self.dialer.under_way() == 0 {
            return;
        }
        self.each(|fleet, place| {
            let member = fleet.seats[place as usize].member.as_ref();
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
        let next_message = if self.sends() { self.scenario.next_at() } else { None };
        let next = self.dialer.next_at().into_iter().chain(next_message).min();
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

    /// Ends a connection, and lines it up to be dialled again if the scenario wants that.
    fn end(&mut self, place: u32, end: &End) {
        let seat = &mut self.seats[place as usize];
        let Some(mut member) = seat.member.take() else { return };
        self.open -= 1;
        if *end == End::Dropped {
            connect::abort(&member.stream);
        } else {
            // The answer to a Close, if it still goes out.
            let _ = member.send(&mut self.out, &mut self.wire, &mut self.spares);
        }
        self.out.clear();
        self.wire.clear();
        if let Stage::Opening(_) = member.stage {
            self.dialer.settled();
        }
        let now = self.shared.clock.now();
        if self.scenario.end(&mut seat.lane, end, now, &mut self.record) && self.phase.sends() {
            self.dialer.push(place, now);
        }
    }

    fn snapshot(&self, now: Nanos) -> Snapshot {
        let count = &self.record.count;
        let (p50, p99) = self.record.series.recent(now).unwrap_or_default();
        Snapshot {
            phase: self.phase,
            open: self.open as u64,
            sent: count.sent,
            answered: count.answered,
            faults: count.lost + count.duplicated + count.reordered + count.corrupted,
            failures: self.record.failures().values().sum(),
            p50,
            p99,
        }
    }

    /// Ends everyone who is left.
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
        for seat in &mut self.seats {
            let Some(member) = seat.member.take() else { continue };
            let end = match (is_cut_off, member.is_closed) {
                (true, _) => End::CutOff,
                (false, true) => End::Clean,
                (false, false) => End::Failed("closing handshake: no Close from the server".to_owned()),
            };
            self.scenario.end(&mut seat.lane, &end, now, &mut self.record);
        }
        self.scenario.finish(&mut self.record);
        self.record
    }
}

fn millis(now: Nanos) -> u64 {
    now / 1_000_000
}
