//! All connections of a run on one event loop, and the phases that they go through together.

mod alarm;
mod dial;
mod member;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::{CloseCode, Connection, Event, Input, Limits, MaskingKeys, Message, ProtoConfig};

use self::alarm::Alarm;
use self::dial::Dialer;
use self::member::{Answer, Member, Opening, Stage};
use crate::clock::{Clock, Nanos, SECOND, processor_time};
use crate::plan::{Pacing, Plan};
use crate::record::Record;
use crate::schedule::{Facts, Phase, Timetable};

const ALARM: Token = Token(usize::MAX - 1);
/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Reads of one connection in one tick; a server that floods waits for the next one.
const READS_PER_TICK: usize = 16;
/// Deadlines are looked at, and progress is shown, this often.
const SWEEP: Nanos = SECOND / 10;
/// One opening handshake may take this long, TCP included.
const HANDSHAKE_WAIT: Nanos = 10 * SECOND;
/// Bounds of the one receive buffer.
const MIN_INPUT: usize = 64 * 1024;
const MAX_INPUT: usize = 1024 * 1024;

/// What the connections say, and what they make of what they hear. It knows neither sockets nor clocks.
pub(crate) trait Scenario {
    /// What is kept for one connection.
    type Lane;

    /// A connection is dialled.
    fn lane(&mut self, number: u32) -> Self::Lane;
    /// Messages go out from `start` until `end`.
    fn begin(&mut self, start: Nanos, end: Nanos);
    /// A message came.
    fn receive(&mut self, lane: &mut Self::Lane, message: &Message<'_>, now: Nanos, record: &mut Record);
    /// Appends the frames that may go out at `now`; `true` when one write does not hold all of them.
    fn compose(&mut self, lane: &mut Self::Lane, now: Nanos, record: &mut Record, out: &mut Vec<u8>) -> bool;
    /// How many messages of an open loop are due, over all lanes in turn.
    fn due(&self, now: Nanos) -> u64;
    /// When the message after the first `due` is planned.
    fn next(&self, due: u64) -> Option<Nanos>;
    /// Messages without their answer.
    fn unanswered(&self) -> u64;
    /// Whether a bounded number of messages has gone out.
    fn all_sent(&self) -> bool;
    /// The connection ended; with `is_cut_off` the run was interrupted, and what is under way is not lost.
    fn end(&mut self, lane: Self::Lane, is_cut_off: bool, now: Nanos, record: &mut Record);
}

/// What the progress line shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) now: Nanos,
    pub(crate) phase: Phase,
    pub(crate) open: usize,
    pub(crate) echoed: u64,
}

/// How a connection ended: well, or with the name of a failure.
enum End {
    Clean,
    Failed(String),
}

/// The loop. It owns the sockets and the buffers; what is sent and checked is the scenario's.
pub(crate) struct Fleet<'p, S: Scenario> {
    plan: &'p Plan,
    request: ClientRequest<'p>,
    config: Arc<ProtoConfig>,
    clock: Clock,
    poll: Poll,
    alarm: Alarm,
    members: Slab<Member<S::Lane>>,
    /// Keys in `members` by the number of the connection.
    by_number: Vec<usize>,
    dialer: Dialer,
    scenario: S,
    record: Record,
    timetable: Timetable,
    phase: Phase,
    since: Nanos,
    swept_at: Nanos,
    /// Processor time when the measurement began.
    processor_at: Nanos,
    /// Messages of an open loop that were due so far.
    due: u64,
    /// Connections with more to read than one tick takes.
    again: Vec<usize>,
    nonces: MaskingKeys,
    input: Vec<u8>,
    out: Vec<u8>,
}

impl<'p, S: Scenario> Fleet<'p, S> {
    pub(crate) fn new(
        plan: &'p Plan,
        request: ClientRequest<'p>,
        scenario: S,
        record: Record,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let pipeline = if let Pacing::Closed { pipeline } = plan.pacing { pipeline as usize } else { 1 };
        let answers = (plan.size + 14).saturating_mul(pipeline);
        // A server may send more than it was sent: that is an error of content, not of size.
        let limits = Limits::default().with_max_message((plan.size as u64 * 2).max(64 * 1024));
        Ok(Self {
            plan,
            request,
            config: Arc::new(ProtoConfig { limits, ..ProtoConfig::default() }),
            clock: Clock::start(),
            poll,
            alarm,
            members: Slab::with_capacity(plan.connections as usize),
            by_number: Vec::with_capacity(plan.connections as usize),
            dialer: Dialer::new(plan.connections, plan.connect_rate, plan.connect_burst, 0),
            scenario,
            record,
            timetable: Timetable { warmup: plan.warmup, duration: plan.duration },
            phase: Phase::Connecting,
            since: 0,
            swept_at: 0,
            processor_at: 0,
            due: 0,
            again: Vec::new(),
            nonces: MaskingKeys::Seeded(plan.seed),
            input: vec![0; answers.next_power_of_two().clamp(MIN_INPUT, MAX_INPUT)],
            out: Vec::new(),
        })
    }

    /// Runs until the plan is done, or `stop` is set.
    pub(crate) fn run(mut self, stop: &AtomicBool, mut progress: impl FnMut(Progress)) -> io::Result<Record> {
        let mut events = Events::with_capacity(EVENTS);
        let mut timeout = Duration::ZERO;
        while self.phase != Phase::Over && !stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.tick(&events);
            let now = self.clock.now();
            if now >= self.swept_at + SWEEP {
                self.swept_at = now;
                self.sweep(now);
                let echoed = self.record.echoed_so_far();
                progress(Progress { now, phase: self.phase, open: self.members.len(), echoed });
            }
            timeout = self.timeout(self.clock.now())?;
        }
        Ok(self.finish())
    }

    fn tick(&mut self, events: &Events) {
        let again = std::mem::take(&mut self.again);
        for event in events {
            if event.token() != ALARM {
                let is_ended = event.is_read_closed() || event.is_error();
                self.serve(event.token().0, true, is_ended);
            }
        }
        for key in again {
            self.serve(key, true, true);
        }
        let now = self.clock.now();
        self.advance(now);
        self.send_due(now);
        // Last, so that no event of this tick meets a connection in the place of one that ended.
        self.dial(now);
    }

    /// Octets of this connection may have come, or room for octets.
    fn serve(&mut self, key: usize, reads: bool, is_ended: bool) {
        if !self.members.contains(key) {
            return;
        }
        let served = self.members[key]
            .flush()
            .map_err(|error| lost(&error))
            .and_then(|()| if reads { self.read(key, is_ended) } else { Ok(()) })
            .and_then(|()| self.write(key));
        if let Err(end) = served {
            self.end(key, end);
        }
    }

    fn read(&mut self, key: usize, is_ended: bool) -> Result<(), End> {
        for _ in 0..READS_PER_TICK {
            let member = &mut self.members[key];
            let count = match member.read(&mut self.input) {
                Ok(Some(0)) => return Err(ended(member)),
                Ok(Some(count)) => count,
                Ok(None) => return Ok(()),
                Err(error) => return unreadable(member, &error),
            };
            let now = self.clock.now();
            if let Stage::Opening(_) = member.stage {
                match member.answer(&self.input[..count], &self.request, &self.config.limits) {
                    Answer::Partial => {}
                    Answer::Accepted(mut rest) => {
                        self.opened(key, now);
                        self.digest(key, &mut rest, now)?;
                    }
                    Answer::Refused(failure) => return Err(End::Failed(failure)),
                }
            } else {
                let mut input = std::mem::take(&mut self.input);
                let digested = self.digest(key, &mut input[..count], now);
                self.input = input;
                digested?;
            }
            // A short read has emptied the socket; what comes later is an event of its own (epoll(7), question 9).
            if count < self.input.len() && !is_ended {
                return Ok(());
            }
        }
        self.again.push(key);
        Ok(())
    }

    fn opened(&mut self, key: usize, now: Nanos) {
        let keys = MaskingKeys::Seeded(self.plan.seed.wrapping_add(key as u64));
        let member = &mut self.members[key];
        member.stage = Stage::Open(Connection::client(&self.config, keys, millis(now)));
        self.dialer.settled();
        self.record.opened += 1;
    }

    /// Gives every message to the scenario.
    #[inline]
    fn digest(&mut self, key: usize, octets: &mut [u8], now: Nanos) -> Result<(), End> {
        let member = &mut self.members[key];
        let Stage::Open(connection) = &mut member.stage else { return Ok(()) };
        let mut input = Input::new(octets);
        loop {
            match connection.next_event(&mut input, &mut self.out) {
                Ok(Some(Event::Message(message))) => {
                    self.scenario.receive(&mut member.lane, &message, now, &mut self.record);
                }
                // The core has answered a Ping already; nobody asked for messages in chunks.
                Ok(Some(Event::Ping(_) | Event::Pong(_) | Event::Chunk(_))) => {}
                Ok(Some(Event::Close(_))) if member.is_closing => {
                    member.is_closed = true;
                    self.record.closed += 1;
                }
                Ok(Some(Event::Close(close))) => {
                    return Err(End::Failed(format!("closed early by the server with {}", close.code)));
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    connection.fail(error, millis(now), &mut self.out);
                    return Err(End::Failed(format!("protocol error of the server: {error}")));
                }
            }
        }
    }

    /// One write, unless the messages that may go out are more than it holds.
    #[inline]
    fn write(&mut self, key: usize) -> Result<(), End> {
        let sends = self.sends();
        let member = &mut self.members[key];
        let is_open = matches!(member.stage, Stage::Open(_));
        let mut is_more = sends && is_open && member.is_flushed();
        loop {
            if is_more {
                let now = self.clock.now();
                is_more = self.scenario.compose(&mut member.lane, now, &mut self.record, &mut self.out);
            }
            if !self.out.is_empty() {
                member.write(&mut self.out).map_err(|error| lost(&error))?;
            }
            if !is_more || !member.is_flushed() {
                return Ok(());
            }
        }
    }

    /// What an open loop planned before its end is sent even when its end has come.
    fn sends(&self) -> bool {
        self.phase.sends() || self.phase == Phase::Draining && matches!(self.plan.pacing, Pacing::Open { .. })
    }

    fn advance(&mut self, now: Nanos) {
        let facts = Facts {
            awaited: self.dialer.awaited(),
            open: self.members.len(),
            unanswered: self.scenario.unanswered(),
            all_sent: self.scenario.all_sent(),
        };
        let next = self.timetable.phase(self.phase, self.since, now, facts);
        if next == self.phase {
            return;
        }
        let before = std::mem::replace(&mut self.phase, next);
        self.since = now;
        if before == Phase::Connecting && next.sends() {
            let start = now + self.plan.warmup;
            self.record.window = start..start + self.plan.duration;
            self.scenario.begin(now, self.record.window.end);
        }
        if next == Phase::Measuring {
            self.processor_at = processor_time();
        }
        if before == Phase::Measuring {
            self.end_window(now);
        }
        match next {
            Phase::WarmUp | Phase::Measuring => self.each(|fleet, key| fleet.serve(key, false, false)),
            Phase::Closing => self.each(Self::close),
            Phase::Connecting | Phase::Draining | Phase::Over => {}
        }
    }

    /// The measurement ends now, or has ended.
    fn end_window(&mut self, now: Nanos) {
        self.record.processor = processor_time().saturating_sub(self.processor_at);
        let window = &mut self.record.window;
        window.end = window.end.min(now + 1).max(window.start);
    }

    fn each(&mut self, mut act: impl FnMut(&mut Self, usize)) {
        let keys: Vec<usize> = self.members.iter().map(|(key, _)| key).collect();
        for key in keys {
            act(self, key);
        }
    }

    /// Begins the closing handshake.
    fn close(&mut self, key: usize) {
        let now = millis(self.clock.now());
        let member = &mut self.members[key];
        if let Stage::Open(connection) = &mut member.stage {
            connection.close(CloseCode::NORMAL, "", now, &mut self.out);
            member.is_closing = true;
        }
        self.serve(key, false, false);
    }

    /// Serves the lanes that have messages due; each of them once.
    fn send_due(&mut self, now: Nanos) {
        if !self.sends() {
            return;
        }
        let lanes = u64::from(self.plan.connections);
        let (first, due) = (self.due, self.scenario.due(now));
        for k in first..due.min(first + lanes) {
            if let Some(&key) = self.by_number.get((k % lanes) as usize) {
                self.serve(key, false, false);
            }
        }
        self.due = due;
    }

    fn dial(&mut self, now: Nanos) {
        while let Some(number) = self.dialer.next(now) {
            let stream = TcpStream::connect(self.plan.address);
            let mut lane = Some(self.scenario.lane(number));
            let added = stream.and_then(|stream| self.add(stream, &mut lane, now));
            match added {
                Ok(key) => self.by_number.push(key),
                Err(error) => {
                    self.by_number.push(usize::MAX);
                    self.dialer.settled();
                    self.record.failure(&format!("connect: {error}"));
                    if let Some(lane) = lane {
                        self.scenario.end(lane, false, now, &mut self.record);
                    }
                }
            }
        }
    }

    /// Registers a socket and queues the request. The lane is taken only if that goes well.
    fn add(&mut self, mut stream: TcpStream, lane: &mut Option<S::Lane>, now: Nanos) -> io::Result<usize> {
        stream.set_nodelay(true)?;
        let entry = self.members.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(key), interest)?;
        let mut nonce = [0; 16];
        nonce.chunks_exact_mut(4).for_each(|part| part.copy_from_slice(&self.nonces.next_key()));
        let mut request = Vec::new();
        let handshake = ClientHandshake::start(&self.request, nonce, &mut request);
        let opening = Opening { handshake, received: Vec::new(), deadline: now + HANDSHAKE_WAIT };
        if let Some(lane) = lane.take() {
            entry.insert(Member::new(stream, opening, &mut request, lane));
        }
        Ok(key)
    }

    /// Ends what has waited for too long.
    fn sweep(&mut self, now: Nanos) {
        if self.phase != Phase::Connecting {
            return;
        }
        if now >= self.plan.connect_limit() {
            for _ in 0..self.dialer.give_up() {
                self.record.failure("not dialled: the opening handshakes before it took too long");
            }
        }
        self.each(|fleet, key| {
            let is_overdue =
                matches!(&fleet.members[key].stage, Stage::Opening(opening) if opening.deadline <= now);
            if is_overdue {
                fleet.end(
                    key,
                    End::Failed(format!("opening handshake: no answer within {} s", HANDSHAKE_WAIT / SECOND)),
                );
            }
        });
    }

    fn timeout(&mut self, now: Nanos) -> io::Result<Duration> {
        if !self.again.is_empty() {
            return Ok(Duration::ZERO);
        }
        let mut wake_at = self.swept_at + SWEEP;
        if let Some(end) = self.timetable.ends(self.phase, self.since) {
            wake_at = wake_at.min(end);
        }
        if self.phase == Phase::Connecting
            && let Some(next) = self.dialer.next_at()
        {
            wake_at = wake_at.min(next);
        }
        if self.sends()
            && let Some(next) = self.scenario.next(self.due)
        {
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

    fn end(&mut self, key: usize, end: End) {
        // The answer to a Close, if it still goes out.
        let mut member = self.members.remove(key);
        let _ = member.write(&mut self.out);
        self.out.clear();
        if let Stage::Opening(_) = member.stage {
            self.dialer.settled();
        }
        if let End::Failed(failure) = end {
            self.record.failure(&failure);
        }
        self.scenario.end(member.lane, false, self.clock.now(), &mut self.record);
    }

    /// Ends everyone who is left.
    fn finish(mut self) -> Record {
        let now = self.clock.now();
        if self.phase == Phase::Measuring {
            self.end_window(now);
        }
        let is_cut_off = self.phase != Phase::Over;
        for member in self.members.drain() {
            if !is_cut_off && !member.is_closed {
                self.record.failure("closing handshake: no Close from the server");
            }
            self.scenario.end(member.lane, is_cut_off, now, &mut self.record);
        }
        self.record.flush();
        self.record
    }
}

/// The server ended the TCP connection.
fn ended<L>(member: &Member<L>) -> End {
    match member.stage {
        _ if member.is_closed => End::Clean,
        Stage::Opening(_) => End::Failed("opening handshake: connection closed without an answer".to_owned()),
        Stage::Open(_) if member.is_closing => {
            End::Failed("closing handshake: connection closed without a Close".to_owned())
        }
        Stage::Open(_) => End::Failed("closed early by the server without a Close".to_owned()),
    }
}

/// A read failed; while TCP connects, that may only mean that it still does.
fn unreadable<L>(member: &Member<L>, error: &io::Error) -> Result<(), End> {
    match &member.stage {
        Stage::Opening(_) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        Stage::Opening(opening) if opening.received.is_empty() => {
            Err(End::Failed(format!("connect: {}", error.kind())))
        }
        _ if member.is_closed => Err(End::Clean),
        _ => Err(lost(error)),
    }
}

fn lost(error: &io::Error) -> End {
    End::Failed(format!("connection lost: {}", error.kind()))
}

fn millis(now: Nanos) -> u64 {
    now / 1_000_000
}
