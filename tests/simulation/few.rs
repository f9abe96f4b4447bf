//! A few clients that do what a test says, on the loop and the network of the simulation.

use std::collections::BTreeMap;

use switchboard::app::{Application, ConnId, Entrance, Now};
use switchboard::proto::DeflateConfig;
use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::reactor::{Config, Reactor};

use crate::network::{Random, SharedWire, SimSocket, Wire};

pub struct Few<A> {
    pub reactor: Reactor<A, SimSocket>,
    pub wires: BTreeMap<ConnId, SharedWire>,
    now: Now,
}

impl<A: Application> Few<A> {
    pub fn new(app: A, config: Config) -> Self {
        let now = Now { monotonic_ms: 1000, unix_ms: 1_700_000_000_000 };
        Self { reactor: Reactor::new(config, app, 1, now), wires: BTreeMap::new(), now }
    }

    /// A connection that offers compression.
    pub fn connect(&mut self) -> ConnId {
        let wire = Wire::new(Random(1), 1 << 20);
        let conn =
            self.reactor.accepted(SimSocket(wire.clone()), ([127, 0, 0, 1], 1).into(), Entrance::default());
        let mut request = Vec::new();
        let deflate = DeflateConfig::default();
        let offer =
            ClientRequest { host: "sim", target: "/", deflate: Some(&deflate), ..ClientRequest::default() };
        let _ = ClientHandshake::start(&offer, [7; 16], &mut request);
        wire.borrow_mut().client_sends(&request);
        self.wires.insert(conn, wire);
        self.tick();
        conn
    }

    /// A TCP connection that has sent nothing.
    pub fn accept(&mut self, ip: [u8; 4], entrance: Entrance) -> ConnId {
        let wire = Wire::new(Random(1), 1 << 20);
        let conn = self.reactor.accepted(SimSocket(wire.clone()), (ip, 1).into(), entrance);
        self.wires.insert(conn, wire);
        conn
    }

    /// All that the server has written to a connection and nobody has read.
    pub fn read(&mut self, conn: ConnId) -> String {
        let octets = self.wires[&conn].borrow_mut().client_takes(usize::MAX);
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// Whether the server has ended its side.
    pub fn is_ended(&self, conn: ConnId) -> bool {
        let wire = self.wires[&conn].borrow();
        wire.server_fin || wire.server_closed
    }

    pub fn send(&mut self, conn: ConnId, octets: &[u8]) {
        self.wires[&conn].borrow_mut().client_sends(octets);
    }

    pub fn tick(&mut self) {
        self.tick_after(1);
    }

    /// A tick that comes `ms` after the one before.
    pub fn tick_after(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.reactor.begin(self.now);
        let is_paused = self.reactor.is_input_paused();
        if !is_paused {
            self.reactor.resume();
        }
        for (conn, wire) in &self.wires {
            let edges = wire.borrow_mut().take_edges();
            match edges {
                Some(readiness) if is_paused => self.reactor.hold(*conn, readiness),
                Some(readiness) => self.reactor.ready(*conn, readiness),
                None => {}
            }
        }
        self.reactor.serve_requests();
        self.reactor.fire_timers();
        self.reactor.end_tick();
    }
}

/// A frame with a masking-key of zeros.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}
