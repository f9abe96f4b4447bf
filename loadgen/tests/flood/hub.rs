//! A server for tests that sends messages of one connection to others.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use switchboard::proto::{Connection, Event, Input, MessageKind, Opcode, ProtoConfig, write_frame};

use crate::support::accept;

/// Which messages go to which receivers.
pub(crate) type Letters = Vec<(usize, MessageKind, Vec<u8>)>;

/// What the server does with the messages of its members, which are numbered in the order of their arrival.
pub(crate) trait Club: Send + 'static {
    /// The agreed subprotocol.
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    /// A member connected to one of the servers.
    fn joined(&mut self, _member: usize, _server: usize) {}

    /// A member sent a message.
    fn said(&mut self, member: usize, message: &[u8]) -> Letters;

    /// Whether the server closes the member's connection with 1008 instead of the next delivery.
    fn expels(&self, _member: usize) -> bool {
        false
    }

    /// A member disconnected.
    fn left(&mut self, _member: usize) {}
}

struct Hub<C> {
    club: C,
    streams: Vec<Option<TcpStream>>,
}

/// One server.
pub(crate) fn hub(club: impl Club) -> SocketAddr {
    let [address] = hubs(club);
    address
}

/// Several servers with one club. Each connection is served on a thread, which ends with it or with the process.
pub(crate) fn hubs<const SERVERS: usize>(club: impl Club) -> [SocketAddr; SERVERS] {
    let hub = Arc::new(Mutex::new(Hub { club, streams: Vec::new() }));
    std::array::from_fn(|server| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let hub = Arc::clone(&hub);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (hub, stream) = (Arc::clone(&hub), stream.expect("a connection"));
                thread::spawn(move || serve(&hub, server, stream));
            }
        });
        address
    })
}

fn serve<C: Club>(hub: &Mutex<Hub<C>>, server: usize, mut stream: TcpStream) {
    let config = Arc::new(ProtoConfig::default());
    let mut buffer = vec![0; 64 * 1024];
    let subprotocol = hub.lock().expect("a club").club.subprotocol();
    let head = accept(&mut stream, &mut buffer, &config.limits, subprotocol);
    let member = {
        let mut hub = hub.lock().expect("a club");
        if stream.write_all(&head).is_err() {
            return;
        }
        hub.streams.push(Some(stream.try_clone().expect("a socket")));
        let member = hub.streams.len() - 1;
        hub.club.joined(member, server);
        member
    };
    let mut connection = Connection::server(&config, 0);
    let mut is_open = true;
    while is_open {
        let count = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let (mut input, mut out) = (Input::new(&mut buffer[..count]), Vec::new());
        let mut hub = hub.lock().expect("a club");
        while let Some(event) =
            connection.next_event(&mut input, &mut out).expect("a client that keeps the rules")
        {
            match event {
                Event::Message(message) => {
                    let letters = hub.club.said(member, message.payload);
                    hub.deliver(letters);
                }
                Event::Close(_) => is_open = false,
                Event::Ping(_) | Event::Pong(_) | Event::Chunk(_) => {}
            }
        }
        // The client may have disconnected.
        let _ = stream.write_all(&out);
    }
    let mut hub = hub.lock().expect("a club");
    hub.streams[member] = None;
    hub.club.left(member);
}

impl<C: Club> Hub<C> {
    fn deliver(&mut self, letters: Letters) {
        for (to, kind, payload) in letters {
            let opcode = if kind == MessageKind::Text { Opcode::Text } else { Opcode::Binary };
            let mut frame = Vec::new();
            write_frame(&mut frame, true, opcode, &payload, None);
            if self.club.expels(to) {
                if let Some(mut stream) = self.streams[to].take() {
                    // The client may have disconnected.
                    let _ = stream
                        .write_all(&[0x88, 2, 0x03, 0xF0])
                        .and_then(|()| stream.shutdown(Shutdown::Write));
                }
            } else if let Some(stream) = &mut self.streams[to] {
                // The client may have disconnected.
                let _ = stream.write_all(&frame);
            }
        }
    }
}
