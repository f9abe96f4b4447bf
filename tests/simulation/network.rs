//! Sockets made of byte queues. Readiness is told by edges, as epoll does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;

use switchboard::reactor::{Readiness, Socket};

/// A small generator, so that a seed is a run (`SplitMix64`).
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// The most that a socket that keeps octets back owes, in bytes.
const MAX_OWED: usize = 1000;

/// One TCP connection between a client and the server.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a connection")]
pub struct Wire {
    pub to_server: VecDeque<u8>,
    pub to_client: VecDeque<u8>,
    /// Octets that fit between server and client.
    pub capacity: usize,
    pub client_fin: bool,
    pub is_reset: bool,
    pub server_fin: bool,
    pub server_closed: bool,
    /// Edges that the server has not been told of.
    pub readable: bool,
    pub writable: bool,
    /// The server found the socket full, so room will be an edge.
    pub server_waits: bool,
    /// The next write takes half of what it is given although there is room.
    pub takes_half: bool,
    /// The server's socket keeps octets back, as one that encrypts does.
    pub keeps_back: bool,
    /// Octets that the socket has taken off the wire and not returned from a read.
    pub held_input: VecDeque<u8>,
    /// Octets that the socket has reported as written and not passed on.
    pub owed_output: VecDeque<u8>,
    /// For whom the client's socket says that it speaks.
    pub introduced: Option<SocketAddr>,
    pub inputs_held: usize,
    pub outputs_owed: usize,
    pub random: Random,
    pub interrupts: usize,
    pub full_writes: usize,
    pub partial_writes: usize,
}

pub type SharedWire = Rc<RefCell<Wire>>;

impl Wire {
    pub fn new(random: Random, capacity: usize) -> SharedWire {
        Rc::new(RefCell::new(Self {
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            capacity,
            client_fin: false,
            is_reset: false,
            server_fin: false,
            server_closed: false,
            readable: false,
            // Registering an edge-triggered socket tells its state once.
            writable: true,
            server_waits: false,
            takes_half: false,
            keeps_back: false,
            held_input: VecDeque::new(),
            owed_output: VecDeque::new(),
            introduced: None,
            inputs_held: 0,
            outputs_owed: 0,
            random,
            interrupts: 0,
            full_writes: 0,
            partial_writes: 0,
        }))
    }

    pub fn client_sends(&mut self, bytes: &[u8]) {
        self.to_server.extend(bytes);
        self.readable = true;
    }

    pub fn client_takes(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.to_client.len());
        let taken: Vec<u8> = self.to_client.drain(..count).collect();
        if self.server_waits && !taken.is_empty() {
            self.server_waits = false;
            self.writable = true;
        }
        taken
    }

    pub fn client_ends(&mut self) {
        self.client_fin = true;
        self.readable = true;
    }

    pub fn client_resets(&mut self) {
        self.is_reset = true;
        self.readable = true;
        self.to_server.clear();
        self.held_input.clear();
        self.owed_output.clear();
        self.to_client.clear();
    }

    /// What epoll would report now, once.
    pub fn take_edges(&mut self) -> Option<Readiness> {
        if !self.readable && !self.writable {
            return None;
        }
        let has_input = !self.to_server.is_empty() || self.client_fin || self.is_reset;
        let has_room = self.to_client.len() < self.capacity;
        (self.readable, self.writable) = (false, false);
        Some(Readiness {
            readable: has_input,
            writable: has_room,
            read_closed: self.client_fin || self.is_reset,
        })
    }

    /// Octets that the server has not read.
    pub fn unread(&self) -> usize {
        self.to_server.len() + self.held_input.len()
    }

    /// Whether the server has written octets that the client has not taken.
    pub fn has_output(&self) -> bool {
        !self.to_client.is_empty() || !self.owed_output.is_empty()
    }

    /// Takes all octets off the wire and returns some of them.
    fn read_held(&mut self, most: usize) -> Vec<u8> {
        let arrived = std::mem::take(&mut self.to_server);
        self.held_input.extend(arrived);
        let most = most.min(self.held_input.len());
        let count = if self.random.one_in(2) { most } else { 1 + self.random.below(most) };
        self.inputs_held += usize::from(count < self.held_input.len());
        self.held_input.drain(..count).collect()
    }

    /// Passes on what is owed, as far as there is room.
    fn pass_on(&mut self) {
        let count = (self.capacity - self.to_client.len()).min(self.owed_output.len());
        self.to_client.extend(self.owed_output.drain(..count));
        self.server_waits |= !self.owed_output.is_empty();
    }

    /// Takes octets as written, and keeps back those for which there is no room, or a few although there is.
    fn write_owing(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(MAX_OWED - self.owed_output.len());
        if count == 0 && !bytes.is_empty() {
            self.full_writes += 1;
            self.server_waits = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.owed_output.extend(&bytes[..count]);
        if self.random.one_in(4) {
            // An event tells that it can go on.
            self.writable = true;
        } else {
            self.pass_on();
        }
        self.server_waits |= count < bytes.len();
        self.outputs_owed += usize::from(!self.owed_output.is_empty());
        Ok(count)
    }

    fn interrupted(&mut self) -> io::Result<()> {
        if self.random.one_in(20) {
            self.interrupts += 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.is_reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

/// The server's end.
pub struct SimSocket(pub SharedWire);

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.0.borrow_mut().server_closed = true;
    }
}

impl Socket for SimSocket {
    fn introduced(&self) -> Option<SocketAddr> {
        self.0.borrow().introduced
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        wire.interrupted()?;
        if wire.unread() == 0 {
            return if wire.client_fin { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        if wire.keeps_back {
            let octets = wire.read_held(buffer.len());
            buffer[..octets.len()].copy_from_slice(&octets);
            return Ok(octets.len());
        }
        let count = buffer.len().min(wire.to_server.len());
        for (slot, octet) in buffer.iter_mut().zip(wire.to_server.drain(..count)) {
            *slot = octet;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        wire.interrupted()?;
        assert!(!wire.server_fin, "a write after the FIN");
        if wire.keeps_back {
            return wire.write_owing(bytes);
        }
        let room = wire.capacity - wire.to_client.len();
        if room < bytes.len() {
            wire.server_waits = true;
        }
        if room == 0 && !bytes.is_empty() {
            wire.full_writes += 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut count = room.min(bytes.len());
        if std::mem::take(&mut wire.takes_half) {
            count /= 2;
            // An event tells that it takes more.
            wire.writable = true;
        }
        wire.partial_writes += usize::from(count < bytes.len());
        wire.to_client.extend(&bytes[..count]);
        Ok(count)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.write(&bytes)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        assert!(wire.owed_output.is_empty(), "a FIN before octets that are owed");
        wire.server_fin = true;
        Ok(())
    }

    fn holds_input(&self) -> bool {
        !self.0.borrow().held_input.is_empty()
    }

    fn owes_output(&self) -> bool {
        !self.0.borrow().owed_output.is_empty()
    }

    fn write_owed(&mut self) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        while let Err(error) = wire.interrupted() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        wire.pass_on();
        Ok(())
    }
}
