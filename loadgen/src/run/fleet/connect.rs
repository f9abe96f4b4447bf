//! Sockets: dials connections.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use switchboard::proto::MaskingKeys;
use switchboard::proto::client::{ClientHandshake, ClientRequest};

use super::dial::Dial;
use super::errors::explain_connect;
use super::member::{Member, Opening, Throttle};
use super::proxy;
use super::{Fleet, HANDSHAKE_WAIT, Route};
use crate::clock::Nanos;
use crate::input::target::Endpoint;
use crate::output::record::OpeningSteps;
use crate::run::workload::{End, Workload};

/// Receive buffer of a connection that reads slowly, in bytes: small, so that the server notices.
const SLOW_RECEIVE_BUFFER: usize = 4096;

impl<W: Workload> Fleet<'_, W> {
    /// Dials the connections that are due.
    pub(super) fn dial(&mut self, now: Nanos) {
        if self.is_held {
            return;
        }
        while let Some(dial) = self.dialer.next(now) {
            let Err(error) = self.dial_one(dial, now) else { continue };
            self.dialer.handshake_ended();
            // The request is not for the next connection.
            self.out.clear();
            self.wire.clear();
            let lane = &mut self.slots[dial.place as usize].lane;
            let end = End::Failed(explain_connect(&error));
            self.record.serving(dial.server.into());
            let dials_again = self.workload.end(lane, &end, now, &mut self.record);
            self.record.served();
            if dials_again {
                self.dial_again(dial.place, dial.server, now);
                // Another attempt in this tick would fail in the same way.
                return;
            }
        }
    }

    /// Opens and registers a socket, and sends the request as soon as that is possible.
    fn dial_one(&mut self, dial: Dial, now: Nanos) -> io::Result<()> {
        let Dial { place, server, planned } = dial;
        let number = self.number(place);
        let read_rate = self.workload.read_rate(number);
        let (endpoint, source) = self.plan.route(number, server.into());
        let Route { request, tls } = &self.routes[server as usize];
        let mut stream = connect(endpoint, source, read_rate.map(|_| SLOW_RECEIVE_BUFFER))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(place as usize), interest)?;
        let tls = match tls {
            Some(setup) => Some(setup.connect().map_err(io::Error::other)?),
            None => None,
        };
        let handshake = start_handshake(request, &mut self.nonces, &mut self.out);
        let dialled = self.shared.clock.now();
        let deadline = now + HANDSHAKE_WAIT;
        let steps = OpeningSteps { planned, dialled, ..OpeningSteps::default() };
        let opening = Opening { handshake, received: Vec::new(), steps, deadline };
        let mut member = Member::new(stream, opening, tls, server);
        member.throttle = read_rate.map(|rate| Box::new(Throttle::new(rate, now)));
        if self.plan.proxy_protocol {
            // Before TLS, and before all else.
            member.send_first(proxy::header(stream_addresses(&member, endpoint)));
        }
        // The socket takes the request when it is connected.
        self.record.count.octets_out += member.send(&mut self.out, &mut self.wire, &mut self.buffers)?;
        if member.is_flushed() {
            member.connected(self.shared.clock.now());
        }
        self.slots[place as usize].member = Some(member);
        self.open += 1;
        Ok(())
    }
}

/// The addresses of a TCP connection; `None`: it has none.
fn stream_addresses(member: &Member, endpoint: &Endpoint) -> Option<(SocketAddr, SocketAddr)> {
    let Endpoint::Tcp(target) = endpoint else { return None };
    Some((member.stream.local_addr().ok()?, *target))
}

fn connect(
    endpoint: &Endpoint,
    source: Option<IpAddr>,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let (socket, target): (_, SockAddr) = match endpoint {
        Endpoint::Tcp(target) if source.is_none() && receive_buffer.is_none() => {
            let stream = TcpStream::connect(*target)?;
            stream.set_nodelay(true)?;
            return Ok(stream);
        }
        Endpoint::Tcp(target) => {
            let socket = Socket::new(Domain::for_address(*target), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_tcp_nodelay(true)?;
            (socket, (*target).into())
        }
        Endpoint::Unix(path) => (Socket::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(path)?),
    };
    socket.set_nonblocking(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        #[cfg(target_os = "linux")]
        // The kernel chooses the port at connect, so that each target has all ports of the source address
        // (IP_BIND_ADDRESS_NO_PORT, ip(7)).
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target) {
        Err(error) if !is_under_way(&error) => Err(error),
        // A Unix domain socket reads and writes with the same system calls.
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// A Unix domain socket whose listen backlog is full reports EAGAIN, and does not connect later.
fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// Begins an opening handshake; the request is appended to `out`.
fn start_handshake(
    request: &ClientRequest<'_>,
    nonces: &mut MaskingKeys,
    out: &mut Vec<u8>,
) -> ClientHandshake {
    let mut nonce = [0; 16];
    nonce.chunks_exact_mut(4).for_each(|part| part.copy_from_slice(&nonces.next_key()));
    ClientHandshake::start(request, nonce, out)
}
