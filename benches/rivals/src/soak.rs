//! A long run: thousands of connections that talk, some of which leave in every way there is while others come. Memory must stay
//! where it is, and no descriptor may be left over.

use std::error::Error;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Interest, Token};
use switchboard::proto::Opcode;

use crate::compare::progress;
use crate::contender::{Contender, Running};
use crate::link::Link;
use crate::load::idle::receive;
use crate::load::talker::{Talk, Talker};
use crate::load::{Fleet, Lane, Tape, prepare};
use crate::process;
use crate::serve::Mode;
use crate::wire;

/// Messages per second over all connections, and connections that are replaced in a second.
const MESSAGES: u64 = 20_000;
const REPLACED: u64 = 200;
/// Of 64 connections one sends the longest, four the middle, and the rest the shortest.
const LENGTHS: [usize; 3] = [20, 1_024, 60_000];
/// On a machine that is too busy for it, less is sent.
const MOST_UNANSWERED: u64 = 4;
const SAMPLE: Duration = Duration::from_secs(5);
/// Samples of the beginning that do not count: buffers come to their size.
const WARM_UP: f64 = 0.1;
/// What the last third may have more than the first.
const GROWTH_SHARE: f64 = 0.02;
const GROWTH_BYTES: f64 = 512.0 * 1024.0;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

struct Soak {
    server: Running,
    fleet: Fleet,
    talkers: Vec<Talker>,
    talk: Talk,
    tapes: Vec<Tape>,
    sent: u64,
    /// How many of these were not, since the server or the generator was behind.
    skipped: u64,
    answers: u64,
    replaced: u64,
}

pub(crate) fn run(
    contender: &Contender,
    core: usize,
    connections: usize,
    duration: Duration,
) -> Result<(), Box<dyn Error>> {
    let server = contender.start(Mode::Echo, core, &[])?;
    drop(wire::open(server.endpoint)?);
    thread::sleep(Duration::from_millis(200));
    let descriptors = process::descriptors(server.pid())?;
    let fleet = Fleet::open(server.endpoint, connections)?;
    let tapes: Vec<_> =
        LENGTHS.iter().map(|&len| Tape::new(&wire::masked(Opcode::Text, &wire::letters(len)))).collect();
    let talk = Talk::new(contender.is_raw(), tapes[0].frame_len);
    let talkers = fleet.lanes.iter().map(|_| talk.talker()).collect();
    let mut soak = Soak { server, fleet, talkers, talk, tapes, sent: 0, skipped: 0, answers: 0, replaced: 0 };
    let samples = soak.drive(duration)?;
    let Soak { server, fleet, sent, skipped, answers, replaced, .. } = soak;
    drop(fleet);
    let left = await_descriptors(&server, descriptors)?;
    let (first, last) = thirds(&samples);
    println!(
        "{}: {connections} connections for {} s; {} messages sent, {answers} echoed, {replaced} connections replaced",
        contender.name,
        duration.as_secs(),
        sent - skipped
    );
    println!(
        "memory: {:.0} KiB in the first third, {:.0} KiB in the last; descriptors: {descriptors} before, {left} after",
        first / 1024.0,
        last / 1024.0
    );
    if left > descriptors {
        return Err(format!("{} descriptors are left over", left - descriptors).into());
    }
    if last - first > first * GROWTH_SHARE + GROWTH_BYTES {
        return Err(format!("memory grew by {:.0} KiB", (last - first) / 1024.0).into());
    }
    Ok(())
}

/// What of those who left is still open after a while.
fn await_descriptors(server: &Running, base: usize) -> io::Result<usize> {
    let until = Instant::now() + ANSWER_LIMIT;
    loop {
        let open = process::descriptors(server.pid())?;
        if open <= base || Instant::now() > until {
            return Ok(open);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Medians of the first and the last third, after the warm-up.
fn thirds(samples: &[u64]) -> (f64, f64) {
    let warm = &samples[(samples.len() as f64 * WARM_UP) as usize..];
    let third = warm.len().div_ceil(3);
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).map_or(0.0, |median| *median as f64)
    };
    (median(&warm[..third]), median(&warm[warm.len() - third..]))
}

/// An error, and where and when it came.
fn at(elapsed: Duration, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}, after {} s: {error}", elapsed.as_secs()))
}

/// What connection `at` sends.
fn tape_of(tapes: &[Tape], at: usize) -> &Tape {
    match at % 64 {
        0 => &tapes[2],
        1..=4 => &tapes[1],
        _ => &tapes[0],
    }
}

impl Soak {
    /// Returns the server's memory every few seconds.
    fn drive(&mut self, duration: Duration) -> io::Result<Vec<u64>> {
        let start = Instant::now();
        let mut samples = Vec::new();
        let bar = progress(duration.as_secs() as usize);
        let mut last_answer = (start, 0);
        loop {
            let elapsed = start.elapsed();
            if elapsed >= duration {
                bar.finish_and_clear();
                return Ok(samples);
            }
            self.receive().map_err(|error| at(elapsed, "reading", &error))?;
            let ms = elapsed.as_millis() as u64;
            while self.replaced < ms * REPLACED / 1000 {
                self.replace().map_err(|error| at(elapsed, "a new connection", &error))?;
            }
            while self.sent < ms * MESSAGES / 1000 {
                self.send().map_err(|error| at(elapsed, "writing", &error))?;
            }
            if self.answers > last_answer.1 {
                last_answer = (Instant::now(), self.answers);
            } else if last_answer.0.elapsed() > ANSWER_LIMIT {
                return Err(io::Error::other("nothing came for 10 s"));
            }
            if elapsed >= SAMPLE * samples.len() as u32 {
                samples.push(process::memory(self.server.pid())?);
                bar.set_position(elapsed.as_secs());
                bar.set_message(format!("{} KiB", samples.last().unwrap_or(&0) / 1024));
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        // A step that meets every connection in turn.
        let at = (self.sent as usize * 7919) % self.fleet.lanes.len();
        self.sent += 1;
        let tape = tape_of(&self.tapes, at);
        let lane = &mut self.fleet.lanes[at];
        if lane.sent - lane.answers >= MOST_UNANSWERED {
            self.skipped += 1;
            return Ok(());
        }
        lane.owe(1, tape);
        lane.pump(tape)
    }

    fn receive(&mut self) -> io::Result<()> {
        self.fleet.poll.poll(&mut self.fleet.events, Some(Duration::from_millis(1)))?;
        let ready: Vec<(usize, bool)> =
            self.fleet.events.iter().map(|event| (event.token().0, event.is_readable())).collect();
        for (at, is_readable) in ready {
            if is_readable {
                let Fleet { lanes, buffer, .. } = &mut self.fleet;
                let answers = receive(&mut lanes[at], &mut self.talkers[at], buffer)?;
                lanes[at].answers += answers;
                self.answers += answers;
            }
            let tape = tape_of(&self.tapes, at);
            self.fleet.lanes[at].pump(tape)?;
        }
        Ok(())
    }

    /// One leaves, in one of four ways, and another comes.
    fn replace(&mut self) -> io::Result<()> {
        let at = (self.replaced as usize * 4973) % self.fleet.lanes.len();
        let mut new = Link::connect(self.server.endpoint)?;
        new.write_all(&wire::upgrade_request())?;
        new.socket().set_read_timeout(Some(ANSWER_LIMIT))?;
        wire::read_head(&mut new)?;
        let mut stream = prepare(new)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.fleet.poll.registry().register(stream.socket_mut(), Token(at), interest)?;
        let old = std::mem::replace(&mut self.fleet.lanes[at], Lane::new(stream));
        self.talkers[at] = self.talk.talker();
        self.replaced += 1;
        leave(old, self.replaced)
    }
}

/// With a Close, with a bare FIN, with a reset, or with a reset in the middle of a frame.
fn leave(mut lane: Lane, way: u64) -> io::Result<()> {
    let frame = wire::masked(Opcode::Text, &wire::letters(100));
    let parting = match way % 4 {
        _ if lane.owed > 0 => &[],
        0 => &wire::masked(Opcode::Close, &1000_u16.to_be_bytes())[..],
        1 => &frame[..50],
        _ => &[],
    };
    if way.is_multiple_of(2) {
        socket2::SockRef::from(lane.stream.socket()).set_linger(None)?;
    }
    match lane.stream.write(parting) {
        // It may be gone already, or full.
        Ok(_) | Err(_) => Ok(()),
    }
}
