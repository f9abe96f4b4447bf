//! In steady state no message costs an allocation: not on the way from a socket to its echo, not when one connection
//! sends to another, not when a topic publishes. And a connection that has become idle keeps nothing.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use allocation_counter::measure;
use switchboard::app::{Application, ConnId, Context, Entrance, Message, Now};
use switchboard::apps::{Echo, Fanout};
use switchboard::proto::{Limits, Opcode, write_frame};
use switchboard::reactor::{Config, Reactor, Readiness, Socket};

/// Ticks that bring every buffer of the loop to its size.
const WARM_UP: usize = 64;
const TICKS: usize = 512;
const READABLE: Readiness = Readiness { readable: true, writable: false, read_closed: false };
const WRITABLE: Readiness = Readiness { readable: false, writable: true, read_closed: false };

/// What a peer sends, and how much came back. Nothing here allocates while bytes move.
#[derive(Default)]
struct Pipe {
    to_server: Vec<u8>,
    read: usize,
    written: usize,
    /// Octets that the peer takes before it is full.
    room: usize,
}

#[derive(Clone)]
struct MemorySocket(Rc<RefCell<Pipe>>);

impl MemorySocket {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(Pipe { room: usize::MAX, ..Pipe::default() })))
    }

    /// The peer sends these octets once more.
    fn again(&self) {
        self.0.borrow_mut().read = 0;
    }

    fn written(&self) -> usize {
        self.0.borrow().written
    }
}

impl Socket for MemorySocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        let left = &pipe.to_server[pipe.read..];
        if left.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        pipe.read += count;
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        let count = bytes.len().min(pipe.room);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.room -= count;
        pipe.written += count;
        Ok(count)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sum = 0;
        for slice in slices {
            match self.write(slice) {
                Ok(count) => sum += count,
                Err(error) if sum == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sum)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reactor and its open connections.
struct World<A: Application> {
    reactor: Reactor<A, MemorySocket>,
    peers: Vec<(ConnId, MemorySocket)>,
    now: Now,
}

impl<A: Application> World<A> {
    fn new(app: A, connections: usize) -> Self {
        let mut config = Config::default();
        config.proto.limits = Limits::default().with_max_message(8 << 20);
        config.max_backlog = 64 << 20;
        let now = Now { monotonic_ms: 1, unix_ms: 1 };
        let mut world = Self { reactor: Reactor::new(config, app, 7, now), peers: Vec::new(), now };
        for _ in 0..connections {
            let socket = MemorySocket::new();
            socket.0.borrow_mut().to_server = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .to_vec();
            let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let conn = world.reactor.accepted(socket.clone(), peer, Entrance::default());
            world.peers.push((conn, socket));
        }
        world.tick(0..connections);
        for (_, socket) in &world.peers {
            assert!(socket.written() > 100, "the handshake is answered");
            socket.0.borrow_mut().to_server.clear();
            socket.again();
        }
        world
    }

    /// What peer `at` sends from now on in each tick.
    fn sends(&self, at: usize, bytes: Vec<u8>) {
        self.peers[at].1.0.borrow_mut().to_server = bytes;
    }

    /// A tick in which these peers send.
    fn tick(&mut self, senders: std::ops::Range<usize>) {
        // Now and then a millisecond, so that timers are armed again.
        self.now.monotonic_ms += 1;
        self.reactor.begin(self.now);
        self.reactor.resume();
        for (conn, socket) in &self.peers[senders] {
            socket.again();
            self.reactor.ready(*conn, READABLE);
        }
        self.reactor.serve_requests();
        self.reactor.fire_timers();
        self.reactor.end_tick();
        while self.reactor.has_pending_work() {
            self.reactor.begin(self.now);
            self.reactor.resume();
            self.reactor.serve_requests();
            self.reactor.end_tick();
        }
    }

    fn written(&self) -> usize {
        self.peers.iter().map(|(_, socket)| socket.written()).sum()
    }

    /// No tick allocates, and each writes `expected` octets.
    #[track_caller]
    fn expect_no_allocation(&mut self, what: &str, senders: std::ops::Range<usize>, expected: usize) {
        for _ in 0..WARM_UP {
            self.tick(senders.clone());
        }
        let before = self.written();
        let counted = measure(|| (0..TICKS).for_each(|_| self.tick(senders.clone())));
        assert_eq!(self.written() - before, TICKS * expected, "{what}: octets written");
        assert_eq!(counted.count_total, 0, "{what}: allocations in {TICKS} ticks");
    }
}

fn masked(opcode: Opcode, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, true, opcode, &vec![b'm'; len], Some([1, 2, 3, 4]));
    frame
}

/// The length of a message from the server.
fn answer_len(len: usize) -> usize {
    let mut frame = Vec::new();
    write_frame(&mut frame, true, Opcode::Binary, &vec![0; len], None);
    frame.len()
}

/// Lengths that cross every form of the header, up to what fills the receive buffer in one read.
const LENGTHS: [usize; 6] = [0, 20, 125, 126, 1024, 60_000];

#[test]
fn an_echo_allocates_nothing() {
    for opcode in [Opcode::Binary, Opcode::Text] {
        for (len, depth) in LENGTHS.iter().flat_map(|&len| [(len, 1), (len, 16)]) {
            if len * depth > 64 * 1024 {
                continue;
            }
            let mut world = World::new(Echo, 3);
            for at in 0..3 {
                world.sends(at, masked(opcode, len).repeat(depth));
            }
            let what = format!("{opcode:?} of {len} bytes, {depth} in one read");
            world.expect_no_allocation(&what, 0..3, 3 * depth * answer_len(len));
        }
    }
}

/// Reads that are full cut a message in two, and what is cut is put together in a buffer of its own: a few allocations for
/// 64 KiB, which are thousands of messages.
#[test]
fn a_flood_allocates_for_reads_and_not_for_messages() {
    const MESSAGES: usize = 10_000;
    let mut world = World::new(Echo, 3);
    let bytes = masked(Opcode::Binary, 20).repeat(MESSAGES);
    let reads = 3 * bytes.len().div_ceil(64 * 1024);
    (0..3).for_each(|at| world.sends(at, bytes.clone()));
    (0..WARM_UP).for_each(|_| world.tick(0..3));
    let before = world.written();
    let counted = measure(|| (0..TICKS).for_each(|_| world.tick(0..3)));
    assert_eq!(world.written() - before, TICKS * 3 * MESSAGES * answer_len(20));
    let most = (TICKS * reads * 3) as u64;
    assert!(counted.count_total <= most, "{} allocations, {most} at most", counted.count_total);
}

#[test]
fn a_publish_allocates_nothing() {
    for (publishers, len) in [(1, 100), (16, 100), (64, 20), (4, 10_000)] {
        let mut world = World::new(Fanout::default(), 64);
        for at in 0..publishers {
            world.sends(at, masked(Opcode::Text, len));
        }
        let what = format!("{publishers} publish {len} bytes to 64");
        world.expect_no_allocation(&what, 0..publishers, 64 * publishers * answer_len(len));
    }
}

/// Sends what comes on to whoever was opened last.
#[derive(Default)]
struct Forward {
    last: Option<ConnId>,
}

impl Application for Forward {
    type Mail = Infallible;

    fn on_open<C: Context>(&mut self, _: &mut C, conn: ConnId) {
        self.last = Some(conn);
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, _: ConnId, message: Message<'_>) {
        ctx.send(self.last.unwrap(), message.as_outgoing()).unwrap();
    }
}

#[test]
fn a_send_to_another_connection_allocates_nothing() {
    for len in LENGTHS {
        let mut world = World::new(Forward::default(), 8);
        for at in 0..4 {
            world.sends(at, masked(Opcode::Binary, len));
        }
        let what = format!("{len} bytes from each of 4 to one");
        world.expect_no_allocation(&what, 0..4, 4 * answer_len(len));
    }
}

#[test]
fn pings_and_pongs_allocate_nothing() {
    let mut world = World::new(Echo, 2);
    world.sends(0, [masked(Opcode::Ping, 20), masked(Opcode::Pong, 5)].concat());
    world.expect_no_allocation("a ping and a pong", 0..1, answer_len(20));
}

#[test]
fn an_idle_connection_keeps_nothing_of_a_large_message() {
    // A whole message, one in fragments, and one that its peer is slow to take.
    let fragments = |len| {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, false, Opcode::Binary, &vec![1; len], Some([9; 4]));
        write_frame(&mut bytes, true, Opcode::Continuation, &[2; 10], Some([9; 4]));
        bytes
    };
    let mut world = World::new(Echo, 4);
    let mut large_messages = || {
        world.sends(0, masked(Opcode::Binary, 4 << 20));
        world.sends(1, fragments(1 << 20));
        world.sends(2, masked(Opcode::Text, 1 << 20));
        world.peers[2].1.0.borrow_mut().room = 1000;
        let before = world.written();
        world.tick(0..3);
        let (conn, slow) = world.peers[2].clone();
        assert_eq!(slow.0.borrow().room, 0, "a backlog is waiting");
        slow.0.borrow_mut().room = usize::MAX;
        world.reactor.ready(conn, WRITABLE);
        world.tick(3..4);
        assert_eq!(
            world.written() - before,
            answer_len(4 << 20) + answer_len((1 << 20) + 10) + answer_len(1 << 20)
        );
        // What the peers of this test hold is not the reactor's.
        (0..3).for_each(|at| world.sends(at, Vec::new()));
    };
    // The first time the loop's own buffers come to the size that they keep.
    large_messages();
    let kept = measure(large_messages);
    assert!(kept.count_total > 0, "there was something to give back");
    assert!(kept.bytes_current < 4096, "{} bytes are kept", kept.bytes_current);
}
