//! The floor: what the system calls alone cost, or those and rustls. It answers the opening handshake and knows nothing of frames.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::ServerConfig;
use slab::Slab;
use switchboard::proto::handshake::accept_key;

use super::{Mode, listen};
use crate::link::Link;

const LISTENER: Token = Token(usize::MAX);
const RECEIVE_LEN: usize = 64 * 1024;

struct Peer {
    stream: Link<TcpStream>,
    /// Until the head is whole.
    head: Option<Vec<u8>>,
    /// What the socket did not take.
    backlog: Vec<u8>,
    /// More may be there to read: it was not, because of the backlog.
    is_held: bool,
}

/// What must be done with a connection.
#[derive(PartialEq)]
enum Fate {
    Lives,
    Ends,
}

struct Floor {
    mode: Mode,
    tls: Option<Arc<ServerConfig>>,
    poll: Poll,
    peers: Slab<Peer>,
    receive: Vec<u8>,
    /// What came in this tick, for everyone.
    batch: Vec<u8>,
}

pub(super) fn serve(mode: Mode, address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let mut listener = TcpListener::from_std(listen(address)?);
    let mut events = Events::with_capacity(1024);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor =
        Floor { mode, tls, poll, peers: Slab::new(), receive: vec![0; RECEIVE_LEN], batch: Vec::new() };
    loop {
        if let Err(error) = floor.poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        let mut is_accepting = false;
        for event in &events {
            match event.token() {
                LISTENER => is_accepting = true,
                Token(at) => floor.ready(at, event.is_readable() || event.is_read_closed()),
            }
        }
        if !floor.batch.is_empty() {
            floor.publish();
        }
        if is_accepting {
            floor.accept(&listener)?;
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nodelay(true)?;
            let stream = Link::server(stream, self.tls.as_ref())?;
            let entry = self.peers.vacant_entry();
            let token = Token(entry.key());
            let peer =
                entry.insert(Peer { stream, head: Some(Vec::new()), backlog: Vec::new(), is_held: false });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(peer.stream.socket_mut(), token, interest)?;
        }
        Ok(())
    }

    fn ready(&mut self, at: usize, is_readable: bool) {
        let Some(peer) = self.peers.get_mut(at) else { return };
        let mut fate = peer.flush();
        if fate == Fate::Lives && (is_readable || peer.is_held) {
            fate = peer.read(self.mode, &mut self.receive, &mut self.batch);
        }
        if fate == Fate::Ends {
            self.peers.remove(at);
        }
    }

    /// One write for each connection, of all that came in this tick.
    fn publish(&mut self) {
        let batch = &self.batch;
        self.peers.retain(|_, peer| peer.head.is_some() || peer.send(batch) == Fate::Lives);
        self.batch.clear();
    }
}

impl Peer {
    fn read(&mut self, mode: Mode, receive: &mut [u8], batch: &mut Vec<u8>) -> Fate {
        loop {
            self.is_held = mode == Mode::Echo && !self.backlog.is_empty();
            if self.is_held {
                return Fate::Lives;
            }
            let len = match self.stream.read(receive) {
                Ok(0) => return Fate::Ends,
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Lives,
                Err(_) => return Fate::Ends,
            };
            let bytes = &receive[..len];
            let fate = match (&mut self.head, mode) {
                (Some(head), _) => {
                    head.extend_from_slice(bytes);
                    self.shake_hands()
                }
                (None, Mode::Echo) => self.send(bytes),
                (None, Mode::Fanout) => {
                    batch.extend_from_slice(bytes);
                    Fate::Lives
                }
            };
            if !self.stream.has_more(len, receive.len()) || fate == Fate::Ends {
                return fate;
            }
        }
    }

    fn shake_hands(&mut self) -> Fate {
        let Some(head) = self.head.as_deref().filter(|head| head.ends_with(b"\r\n\r\n")) else {
            return Fate::Lives;
        };
        let text = String::from_utf8_lossy(head);
        let key = text.lines().filter_map(|line| line.split_once(':'));
        let mut key =
            key.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|field| field.1);
        let Some(accept) = key.next_back().map(|key| accept_key(key.trim().as_bytes())) else {
            return Fate::Ends;
        };
        let mut response =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                .to_vec();
        response.extend_from_slice(&accept);
        response.extend_from_slice(b"\r\n\r\n");
        self.head = None;
        self.send(&response)
    }

    fn send(&mut self, bytes: &[u8]) -> Fate {
        if !self.backlog.is_empty() {
            self.backlog.extend_from_slice(bytes);
            return Fate::Lives;
        }
        match self.stream.write(bytes) {
            Ok(len) => self.backlog.extend_from_slice(&bytes[len..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.backlog.extend_from_slice(bytes),
            Err(_) => return Fate::Ends,
        }
        Fate::Lives
    }

    fn flush(&mut self) -> Fate {
        if self.stream.flush_owed().is_err() {
            return Fate::Ends;
        }
        if self.backlog.is_empty() {
            return Fate::Lives;
        }
        match self.stream.write(&self.backlog) {
            Ok(len) if len == self.backlog.len() => self.backlog = Vec::new(),
            Ok(len) => drop(self.backlog.drain(..len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Fate::Ends,
        }
        Fate::Lives
    }
}
