//! The generator: many connections on one thread, frames prebuilt, answers counted by their length.

pub(crate) mod chat;
pub(crate) mod closed;
pub(crate) mod flood;
pub(crate) mod handshakes;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod probe;
pub(crate) mod talker;

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::contender::Running;
use crate::link::{Endpoint, Link};
use crate::process;
use crate::wire;

/// Connections that shake hands at once while a fleet is opened.
const OPENING: usize = 128;
const OPENING_LIMIT: Duration = Duration::from_secs(20);
const RECEIVE_LEN: usize = 1 << 20;
/// Frames are prebuilt up to about this many bytes, so that many go out in one write.
const TAPE_LEN: usize = 128 * 1024;

/// The same frame over and over.
#[derive(Debug)]
pub(crate) struct Tape {
    bytes: Vec<u8>,
    pub(crate) frame_len: usize,
}

impl Tape {
    pub(crate) fn new(frame: &[u8]) -> Self {
        Self { bytes: frame.repeat((TAPE_LEN / frame.len()).max(1)), frame_len: frame.len() }
    }

    /// Octets that go out in one write.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// One connection of the generator.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) stream: Link<TcpStream>,
    /// Octets still to be written.
    pub(crate) owed: u64,
    /// Where in its frame the next of them is.
    at: usize,
    /// Octets of an answer that is not whole.
    rest: usize,
    /// Whole answers.
    pub(crate) answers: u64,
    /// Messages that were handed out to be written.
    pub(crate) sent: u64,
}

impl Lane {
    pub(crate) fn new(stream: Link<TcpStream>) -> Self {
        Self { stream, owed: 0, at: 0, rest: 0, answers: 0, sent: 0 }
    }

    /// Writes what is owed, as far as the socket takes it.
    #[inline]
    pub(crate) fn pump(&mut self, tape: &Tape) -> io::Result<()> {
        if !self.stream.flush_owed()? {
            return Ok(());
        }
        while self.owed > 0 {
            let room = tape.bytes.len() - self.at;
            let len = usize::try_from(self.owed).unwrap_or(usize::MAX).min(room);
            match self.stream.write(&tape.bytes[self.at..self.at + len]) {
                Ok(written) => {
                    self.owed -= written as u64;
                    self.at = (self.at + written) % tape.frame_len;
                    if written < len {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all that is there; returns the number of octets.
    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<u64> {
        let mut sum = 0;
        self.read_pieces(buffer, |octets| sum += octets.len() as u64)?;
        Ok(sum)
    }

    /// Reads all that is there, piece by piece.
    #[inline]
    pub(crate) fn read_pieces(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server ended a connection")),
                Ok(len) => {
                    take(&buffer[..len]);
                    if !self.stream.has_more(len, buffer.len()) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Counts octets as answers of one length; returns the number of those that are whole now.
    #[inline]
    pub(crate) fn count(&mut self, octets: u64, answer_len: usize) -> u64 {
        let sum = self.rest + octets as usize;
        // Most often it is exactly one.
        let whole = if sum == answer_len { 1 } else { sum / answer_len };
        self.rest = sum - whole * answer_len;
        self.answers += whole as u64;
        whole as u64
    }

    /// Hands out messages to be written.
    #[inline]
    pub(crate) fn owe(&mut self, messages: u64, tape: &Tape) {
        self.sent += messages;
        self.owed += messages * tape.frame_len as u64;
    }
}

/// Open connections and what they wait for.
pub(crate) struct Fleet {
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) buffer: Vec<u8>,
}

impl Fleet {
    /// Opens `count` connections.
    pub(crate) fn open(endpoint: Endpoint, count: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut lanes: Vec<Lane> = Vec::with_capacity(count);
        let request = wire::upgrade_request();
        while lanes.len() < count {
            let mut batch = Vec::new();
            for _ in lanes.len()..count.min(lanes.len() + OPENING) {
                let mut stream = Link::connect(endpoint)?;
                stream.write_all(&request)?;
                batch.push(stream);
            }
            for mut stream in batch {
                stream.socket().set_read_timeout(Some(OPENING_LIMIT))?;
                wire::read_head(&mut stream)?;
                let mut stream = prepare(stream)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(stream.socket_mut(), Token(lanes.len()), interest)?;
                lanes.push(Lane::new(stream));
            }
        }
        Ok(Self { poll, events: Events::with_capacity(1024), lanes, buffer: vec![0; RECEIVE_LEN] })
    }
}

/// No delay, no blocking, and a reset at the end, so that no port is left in `TIME_WAIT`.
pub(crate) fn prepare(stream: Link<std::net::TcpStream>) -> io::Result<Link<TcpStream>> {
    stream.socket().set_nodelay(true)?;
    stream.socket().set_nonblocking(true)?;
    socket2::SockRef::from(stream.socket()).set_linger(Some(Duration::ZERO))?;
    Ok(stream.map(TcpStream::from_std))
}

/// How long a measurement takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What was used between two instants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    /// Seconds on a core.
    pub(crate) server_cpu: f64,
    pub(crate) generator_cpu: f64,
}

/// The beginning of what is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    at: Instant,
    pid: u32,
    server_ns: u64,
    generator_ns: u64,
}

impl Mark {
    pub(crate) fn now(server: &Running) -> io::Result<Self> {
        let pid = server.pid();
        let generator_ns = process::cpu_ns(std::process::id())?;
        Ok(Self { at: Instant::now(), pid, server_ns: process::cpu_ns(pid)?, generator_ns })
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        let seconds = self.at.elapsed().as_secs_f64();
        let since = |pid, then: u64| Ok::<f64, io::Error>((process::cpu_ns(pid)? - then) as f64 / 1e9);
        Ok(Usage {
            seconds,
            server_cpu: since(self.pid, self.server_ns)?,
            generator_cpu: since(std::process::id(), self.generator_ns)?,
        })
    }
}
