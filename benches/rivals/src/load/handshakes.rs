//! Clients that connect, shake hands, perhaps send a message, leave without a word and come again.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::probe::{Probe, percentile};
use super::{Mark, Span, Usage};
use crate::contender::Running;
use crate::link::{Endpoint, Link};
use crate::metric::{
    CONNECTION_CPU, CONNECTIONS, HANDSHAKE_CPU, HANDSHAKES, IDLE_P99, P99, P99_ABOVE_IDLE, Sample,
};
use crate::wire;

struct Client {
    stream: Link<TcpStream>,
    stage: Stage,
}

enum Stage {
    Connecting,
    /// The request is sent; the end of what has come of the head.
    Head([u8; 4]),
    /// A message is sent; octets of its answer that are still to come.
    Answer(usize),
}

/// What a client sends once its connection is open, and how long the answer is.
pub(crate) struct Message {
    pub(crate) frame: Vec<u8>,
    pub(crate) answer_len: usize,
}

struct Crowd {
    endpoint: Endpoint,
    request: Vec<u8>,
    message: Option<Message>,
    poll: Poll,
    events: Events,
    clients: Vec<Option<Client>>,
}

/// Each of this many clients comes again as soon as its handshake is done.
pub(crate) fn churn(clients: usize, server: &Running, span: Span) -> io::Result<Sample> {
    let (done, usage) = come_and_go(clients, None, server, span)?;
    Ok(vec![(HANDSHAKE_CPU, usage.server_cpu * 1e6 / done), (HANDSHAKES, done / usage.seconds)])
}

/// The same with one message on each connection.
pub(crate) fn visits(clients: usize, message: Message, server: &Running, span: Span) -> io::Result<Sample> {
    let (done, usage) = come_and_go(clients, Some(message), server, span)?;
    Ok(vec![(CONNECTION_CPU, usage.server_cpu * 1e6 / done), (CONNECTIONS, done / usage.seconds)])
}

fn come_and_go(
    clients: usize,
    message: Option<Message>,
    server: &Running,
    span: Span,
) -> io::Result<(f64, Usage)> {
    let mut crowd = Crowd::new(server.endpoint, clients, message)?;
    for at in 0..clients {
        crowd.connect(at)?;
    }
    crowd.drive(&mut None, Instant::now() + span.warm_up, true)?;
    let mark = Mark::now(server)?;
    let done = crowd.drive(&mut None, Instant::now() + span.measured, true)?;
    if done == 0 {
        return Err(io::Error::other("no connection was done in the measured time"));
    }
    Ok((done as f64, mark.usage()?))
}

/// All clients come at once, and when the last one has its answer all leave and come again; a healthy client meanwhile.
pub(crate) fn storm(clients: usize, server: &Running, is_raw: bool, span: Span) -> io::Result<Sample> {
    let mut probe = Probe::open(server.endpoint, is_raw)?;
    let calm_until = Instant::now() + span.warm_up + span.measured / 2;
    probe.take();
    while Instant::now() < calm_until {
        probe.poke()?;
    }
    let idle = percentile(&probe.take(), 0.99);
    let mut crowd = Crowd::new(server.endpoint, clients, None)?;
    let mut probe = Some(probe);
    let mark = Mark::now(server)?;
    let until = Instant::now() + span.measured;
    let mut done = 0;
    while Instant::now() < until {
        for at in 0..clients {
            crowd.connect(at)?;
            poke(&mut probe)?;
        }
        done += crowd.drive(&mut probe, Instant::now() + Duration::from_secs(20), false)?;
        for client in &mut crowd.clients {
            *client = None;
            poke(&mut probe)?;
        }
    }
    let usage = mark.usage()?;
    let stormy = probe.map_or(0.0, |mut probe| percentile(&probe.take(), 0.99));
    Ok(vec![
        (P99_ABOVE_IDLE, stormy - idle),
        (P99, stormy),
        (IDLE_P99, idle),
        (HANDSHAKES, done as f64 / usage.seconds),
        (HANDSHAKE_CPU, usage.server_cpu * 1e6 / done as f64),
    ])
}

fn poke(probe: &mut Option<Probe>) -> io::Result<()> {
    probe.as_mut().map_or(Ok(()), Probe::poke)
}

impl Crowd {
    fn new(endpoint: Endpoint, clients: usize, message: Option<Message>) -> io::Result<Self> {
        Ok(Self {
            endpoint,
            request: wire::upgrade_request(),
            message,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: std::iter::repeat_with(|| None).take(clients).collect(),
        })
    }

    /// Begins to connect; nothing here blocks, or the healthy client would seem to wait.
    fn connect(&mut self, at: usize) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.endpoint.address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(at), interest)?;
        self.clients[at] =
            Some(Client { stream: Link::client(stream, self.endpoint.is_secure)?, stage: Stage::Connecting });
        Ok(())
    }

    /// Handshakes done until then; or, if nobody comes again, until all have theirs.
    fn drive(&mut self, probe: &mut Option<Probe>, until: Instant, comes_again: bool) -> io::Result<u64> {
        let mut done = 0;
        let timeout = if probe.is_some() { Duration::ZERO } else { Duration::from_millis(20) };
        loop {
            self.poll.poll(&mut self.events, Some(timeout))?;
            poke(probe)?;
            let ready: Vec<(usize, bool)> =
                self.events.iter().map(|event| (event.token().0, event.is_readable())).collect();
            for (at, is_readable) in ready {
                let Some(client) = &mut self.clients[at] else { continue };
                if matches!(client.stage, Stage::Connecting) {
                    client.ask(&self.request)?;
                }
                if is_readable && client.is_done(self.message.as_ref())? {
                    done += 1;
                    if comes_again {
                        self.connect(at)?;
                    }
                }
                poke(probe)?;
            }
            let now = Instant::now();
            if !comes_again && done == self.clients.len() as u64 || comes_again && now >= until {
                return Ok(done);
            }
            if now >= until {
                return Err(io::Error::other("some handshakes were never answered"));
            }
        }
    }
}

impl Client {
    /// The connection is there, or has failed: sends the request.
    fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        let socket = self.stream.socket();
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        socket.set_nodelay(true)?;
        socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
        self.stream.write_all(request)?;
        self.stage = Stage::Head([0; 4]);
        Ok(())
    }

    /// Whether everything has come: the head, and the answer to the message if there is one.
    fn is_done(&mut self, message: Option<&Message>) -> io::Result<bool> {
        let mut octets = [0; 1024];
        loop {
            let len = match self.stream.read(&mut octets) {
                Ok(0) => {
                    return Err(io::Error::other("the server ended a connection instead of a handshake"));
                }
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            match &mut self.stage {
                Stage::Connecting => {}
                Stage::Head(tail) => {
                    let all = [&tail[..], &octets[..len]].concat();
                    tail.copy_from_slice(&all[all.len() - 4..]);
                    if tail == b"\r\n\r\n" {
                        let Some(message) = message else { return Ok(true) };
                        self.stream.write_all(&message.frame)?;
                        self.stage = Stage::Answer(message.answer_len);
                    }
                }
                Stage::Answer(rest) => {
                    *rest = rest.saturating_sub(len);
                    if *rest == 0 {
                        return Ok(true);
                    }
                }
            }
        }
    }
}
