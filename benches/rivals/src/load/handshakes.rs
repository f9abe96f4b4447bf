//! Clients that connect, shake hands, leave without a word and come again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::probe::{Probe, percentile};
use super::{Mark, Span};
use crate::contender::Running;
use crate::metric::{HANDSHAKE_CPU, HANDSHAKES, IDLE_P99, P99, P99_ABOVE_IDLE, Sample};
use crate::wire;

struct Client {
    stream: TcpStream,
    has_asked: bool,
    /// The end of what has come of the head.
    tail: [u8; 4],
}

struct Crowd {
    address: SocketAddr,
    request: Vec<u8>,
    poll: Poll,
    events: Events,
    clients: Vec<Option<Client>>,
}

/// Each of this many clients comes again as soon as its handshake is done.
pub(crate) fn churn(clients: usize, server: &Running, span: Span) -> io::Result<Sample> {
    let mut crowd = Crowd::new(server.address, clients)?;
    for at in 0..clients {
        crowd.connect(at)?;
    }
    crowd.drive(&mut None, Instant::now() + span.warm_up, true)?;
    let mark = Mark::now(server)?;
    let done = crowd.drive(&mut None, Instant::now() + span.measured, true)? as f64;
    let usage = mark.usage()?;
    Ok(vec![(HANDSHAKE_CPU, usage.server_cpu * 1e6 / done), (HANDSHAKES, done / usage.seconds)])
}

/// All clients come at once, and when the last one has its answer all leave and come again; a healthy client meanwhile.
pub(crate) fn storm(clients: usize, server: &Running, is_raw: bool, span: Span) -> io::Result<Sample> {
    let mut probe = Probe::open(server.address, is_raw)?;
    let calm_until = Instant::now() + span.warm_up + span.measured / 2;
    probe.take();
    while Instant::now() < calm_until {
        probe.poke()?;
    }
    let idle = percentile(&probe.take(), 0.99);
    let mut crowd = Crowd::new(server.address, clients)?;
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
    fn new(address: SocketAddr, clients: usize) -> io::Result<Self> {
        Ok(Self {
            address,
            request: wire::upgrade_request(),
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: std::iter::repeat_with(|| None).take(clients).collect(),
        })
    }

    /// Begins to connect; nothing here blocks, or the healthy client would seem to wait.
    fn connect(&mut self, at: usize) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(at), interest)?;
        self.clients[at] = Some(Client { stream, has_asked: false, tail: [0; 4] });
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
                if !client.has_asked {
                    client.ask(&self.request)?;
                }
                if is_readable && client.is_done()? {
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
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        self.stream.set_nodelay(true)?;
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        self.stream.write_all(request)?;
        self.has_asked = true;
        Ok(())
    }

    /// Whether the head is whole.
    fn is_done(&mut self) -> io::Result<bool> {
        let mut head = [0; 1024];
        loop {
            match self.stream.read(&mut head) {
                Ok(0) => {
                    return Err(io::Error::other("the server ended a connection instead of a handshake"));
                }
                Ok(len) => {
                    let all = [&self.tail[..], &head[..len]].concat();
                    self.tail.copy_from_slice(&all[all.len() - 4..]);
                    if self.tail == *b"\r\n\r\n" {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}
