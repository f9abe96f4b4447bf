//! Sockets: how connections are begun, and how they are cut off.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::member::{Member, Opening, Throttle};
use super::scenario::{End, Scenario};
use super::{Fleet, HANDSHAKE_WAIT, Seat, serve};
use crate::clock::Nanos;

/// What the kernel keeps for a connection that reads slowly, in bytes: little, so that the server notices.
const SLOW_RECEIVE_BUFFER: usize = 4096;

impl<S: Scenario> Fleet<'_, S> {
    /// Dials everyone whose turn has come.
    pub(super) fn dial(&mut self, now: Nanos) {
        while let Some((place, planned)) = self.dialer.next(now) {
            let Err(error) = self.dial_one(place, planned, now) else { continue };
            self.dialer.settled();
            let Seat { lane, .. } = &mut self.seats[place as usize];
            let end = End::Failed(format!("connect: {}", error.kind()));
            if self.scenario.end(lane, &end, now, &mut self.record) && self.phase.sends() {
                self.dialer.push(place, now);
                // What failed at once would fail at once again: the next tick is soon enough.
                return;
            }
        }
    }

    /// Opens and registers a socket, and sends the request as soon as that is possible.
    fn dial_one(&mut self, place: u32, planned: Nanos, now: Nanos) -> io::Result<()> {
        let number = self.thread + place * self.plan.threads;
        let source = self.plan.sources.get(number as usize % self.plan.sources.len().max(1)).copied();
        let read_rate = self.scenario.read_rate(number);
        let mut stream = connect(self.plan.address, source, read_rate.map(|_| SLOW_RECEIVE_BUFFER))?;
        stream.set_nodelay(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(place as usize), interest)?;
        let tls = match &self.tls {
            Some(setup) => Some(setup.connect().map_err(io::Error::other)?),
            None => None,
        };
        let handshake = serve::start_handshake(&self.request, &mut self.nonces, &mut self.out);
        let dialled = self.shared.clock.now();
        let deadline = now + HANDSHAKE_WAIT;
        let opening = Opening { handshake, received: Vec::new(), planned, dialled, deadline };
        let mut member = Member::new(stream, opening, tls);
        member.throttle = read_rate.map(|rate| Box::new(Throttle::new(rate, now)));
        // What the socket does not take yet, it takes when it is connected.
        self.record.count.octets_out += member.send(&mut self.out, &mut self.wire, &mut self.spares)?;
        self.seats[place as usize].member = Some(member);
        self.open += 1;
        Ok(())
    }
}

fn connect(
    target: SocketAddr,
    source: Option<IpAddr>,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    if source.is_none() && receive_buffer.is_none() {
        return TcpStream::connect(target);
    }
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        #[cfg(target_os = "linux")]
        // The port is chosen when the target is known, so that each target has all ports of the source
        // (IP_BIND_ADDRESS_NO_PORT, ip(7)).
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// Lets the connection end with an RST: as a machine that is gone, and without TIME-WAIT (RFC 9293 3.6.1).
pub(super) fn abort(stream: &TcpStream) {
    // Otherwise it ends with a FIN, which is nearly as good.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
