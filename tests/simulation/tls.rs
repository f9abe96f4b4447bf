//! TLS over the network of the simulation: small sockets, cuts everywhere, and a client of rustls as the oracle.

use std::cmp::Ordering;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, LazyLock};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore, ServerConfig};
use switchboard::app::{ConnId, Entrance, Now};
use switchboard::apps::Echo;
use switchboard::proto::Limits;
use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::reactor::{Config, Reactor};
use switchboard::tls::{Failure, Tls, TlsStream};

use crate::network::{Random, SharedWire, SimSocket, Wire};

/// A server's configuration, with either provider, and that of clients which trust it.
static CONFIGS: LazyLock<([ServerConfig; 2], Arc<ClientConfig>)> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let issuer =
        CertifiedIssuer::self_signed(CertificateParams::new(["sim".to_owned()]).unwrap(), key).unwrap();
    let certificate = CertificateDer::from(issuer.der().to_vec());
    let key = PrivateKeyDer::try_from(issuer.key().serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let servers = [Arc::clone(&provider), switchboard::tls::provider()].map(|provider| {
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.clone_key())
            .unwrap()
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    client.resumption = Resumption::disabled();
    (servers, Arc::new(client))
});

/// An echo over TLS with one connection.
struct World {
    reactor: Reactor<Echo, TlsStream<SimSocket>>,
    tls: Tls,
    conn: ConnId,
    wire: SharedWire,
    client: ClientConnection,
    now: Now,
    /// Decrypted octets that the client has received.
    received: Vec<u8>,
    /// Octets for the server that are not sent yet.
    outgoing: Vec<u8>,
    /// The client failed.
    error: Option<rustls::Error>,
    is_notified: bool,
}

impl World {
    fn new(seed: u64, capacity: usize) -> Self {
        Self::with(seed, capacity, Config::default())
    }

    fn with(seed: u64, capacity: usize, config: Config) -> Self {
        let (servers, client) = &*CONFIGS;
        let server = &servers[seed as usize % 2];
        let now = Now { monotonic_ms: 1000, unix_ms: 1_700_000_000_000 };
        let tls = Tls::new(server.clone());
        let mut reactor = Reactor::new(config, Echo, seed, now);
        let wire = Wire::new(Random(seed), capacity);
        let socket = TlsStream::accept(SimSocket(wire.clone()), &tls).unwrap();
        let conn = reactor.accepted(socket, ([127, 0, 0, 1], 1).into(), Entrance::default());
        let mut client =
            ClientConnection::new(Arc::clone(client), ServerName::try_from("sim").unwrap()).unwrap();
        client.set_buffer_limit(None);
        Self {
            reactor,
            tls,
            conn,
            wire,
            client,
            now,
            received: Vec::new(),
            outgoing: Vec::new(),
            error: None,
            is_notified: false,
        }
    }

    /// The request for an upgrade, to be sent after the handshake.
    fn upgrade(&mut self) {
        let mut request = Vec::new();
        let offer = ClientRequest { host: "sim", target: "/", ..ClientRequest::default() };
        let _ = ClientHandshake::start(&offer, [7; 16], &mut request);
        self.send(&request);
    }

    fn send(&mut self, octets: &[u8]) {
        self.client.writer().write_all(octets).unwrap();
    }

    /// Takes what the client has to send off its hands.
    fn gather(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.outgoing).unwrap();
        }
    }

    /// Sends at most `count` octets of the client's.
    fn pass(&mut self, count: usize) {
        self.gather();
        let count = count.min(self.outgoing.len());
        if count > 0 {
            let octets: Vec<u8> = self.outgoing.drain(..count).collect();
            self.wire.borrow_mut().client_sends(&octets);
        }
    }

    /// The client takes at most `count` octets off the wire.
    fn take(&mut self, count: usize) {
        let octets = self.wire.borrow_mut().client_takes(count);
        let mut octets = octets.as_slice();
        while !octets.is_empty() && self.error.is_none() {
            if self.client.read_tls(&mut octets).unwrap() == 0 {
                break;
            }
            match self.client.process_new_packets() {
                Ok(state) => {
                    self.is_notified |= state.peer_has_closed();
                    let mut plain = vec![0; state.plaintext_bytes_to_read()];
                    self.client.reader().read_exact(&mut plain).unwrap();
                    self.received.extend_from_slice(&plain);
                }
                Err(error) => self.error = Some(error),
            }
        }
    }

    fn tick(&mut self) {
        self.tick_after(1);
    }

    fn tick_after(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.reactor.begin(self.now);
        self.reactor.resume();
        let edges = self.wire.borrow_mut().take_edges();
        if let Some(readiness) = edges {
            self.reactor.ready(self.conn, readiness);
        }
        self.reactor.serve_requests();
        self.reactor.fire_timers();
        self.reactor.end_tick();
    }

    /// Passes everything to and fro until nothing moves.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            self.gather();
            let is_still = self.outgoing.is_empty() && self.wire.borrow().to_client.is_empty();
            self.pass(usize::MAX);
            self.tick();
            let is_quiet = self.wire.borrow().to_client.is_empty();
            self.take(usize::MAX);
            if is_still && is_quiet && !self.reactor.has_pending_work() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// A connection that is open, with nothing on the way.
    fn open(seed: u64, capacity: usize) -> Self {
        Self::open_with(seed, capacity, Config::default())
    }

    fn open_with(seed: u64, capacity: usize, config: Config) -> Self {
        let mut world = Self::with(seed, capacity, config);
        world.settle();
        world.upgrade();
        world.settle();
        assert!(world.received.starts_with(b"HTTP/1.1 101 "), "{:?}", world.error);
        world.received.clear();
        world
    }
}

/// A masked binary frame with a masking-key of zeros.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    header(payload.len(), 0x80, &mut frame);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The frame that echoes it.
fn echo(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    header(payload.len(), 0, &mut frame);
    frame.extend_from_slice(payload);
    frame
}

fn header(len: usize, mask: u8, out: &mut Vec<u8>) {
    match len {
        0..126 => out.push(mask | len as u8),
        126..65_536 => {
            out.push(mask | 0x7E);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask | 0x7F);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

fn payload(random: &mut Random) -> Vec<u8> {
    let len = match random.below(6) {
        0 => random.below(3),
        1 => 16_384 - 20 + random.below(40),
        2 => 65_536 - 20 + random.below(40),
        3 => random.below(200_000),
        _ => random.below(400),
    };
    let first = random.next() as u8;
    (0..len).map(|at| first.wrapping_add((at / 7) as u8)).collect()
}

#[test]
fn tl_07_every_octet_comes_back_in_order_whatever_the_sockets_take() {
    let (mut partial, mut full) = (0, 0);
    for seed in 0..96 {
        let mut random = Random(seed);
        let capacity = [40, 700, 17_000, 70_000, 1 << 20][random.below(5)];
        let config = Config::default().with(|it| {
            it.max_queue_age_ms = 0;
            it.max_backlog = 8 << 20;
            it.proto.timeouts.ping_ms = 0;
            it.proto.limits = Limits::default().with_max_message(1 << 20);
        });
        let mut world = World::open_with(seed, capacity, config);
        let mut expected = Vec::new();
        for _ in 0..=random.below(12) {
            let payload = payload(&mut random);
            world.send(&frame(&payload));
            expected.extend(echo(&payload));
            for _ in 0..random.below(6) {
                if random.one_in(3) {
                    world.wire.borrow_mut().takes_half = true;
                }
                world.pass(1 + random.below(40_000));
                world.tick();
                world.take(random.below(30_000));
            }
        }
        world.settle();
        assert_eq!(world.error, None, "seed {seed}");
        assert_eq!(world.received.len(), expected.len(), "seed {seed}");
        assert!(world.received == expected, "seed {seed}: other octets");
        assert_eq!(world.reactor.stats().connections, 1, "seed {seed}");
        let wire = world.wire.borrow();
        (partial, full) = (partial + wire.partial_writes, full + wire.full_writes);
    }
    assert!(partial > 20 && full > 20, "{partial} {full}: nothing was put to the test");
}

#[test]
fn a_handshake_a_message_and_a_close_may_be_cut_at_every_octet() {
    let mut cut = 1;
    let mut total = usize::MAX;
    while cut < total {
        let mut world = World::new(1, 1 << 20);
        let mut sent = 0;
        // The first `cut` octets of all that the client sends come in one piece, the next one alone.
        let mut step = |world: &mut World| {
            for _ in 0..6 {
                world.gather();
                let count = match sent.cmp(&cut) {
                    Ordering::Less => cut - sent,
                    Ordering::Equal => 1,
                    Ordering::Greater => usize::MAX,
                };
                sent += count.min(world.outgoing.len());
                world.pass(count);
                world.tick();
                world.tick();
                world.take(usize::MAX);
            }
        };
        step(&mut world);
        world.upgrade();
        step(&mut world);
        world.send(&frame(b"to be cut"));
        step(&mut world);
        world.send(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]);
        step(&mut world);
        assert_eq!(world.error, None, "cut at {cut}");
        let mut expected = echo(b"to be cut");
        expected.extend([0x88, 2, 0x03, 0xE8]);
        assert!(world.received.ends_with(&expected), "cut at {cut}: {:?}", world.received);
        assert!(
            world.is_notified && world.wire.borrow().server_fin,
            "cut at {cut}: no close_notify, or no FIN"
        );
        total = sent;
        // Every octet where records begin and end, and each seventh of the long random strings.
        cut += if cut < 200 || cut + 250 > total { 1 } else { 7 };
    }
    assert!(total > 500, "{total}");
}

#[test]
fn tl_10_what_is_no_tls_gets_an_answer_that_it_can_read_and_then_its_end() {
    for (octets, answer) in [
        (&b"GET / HTTP/1.1\r\nHost: sim\r\n\r\n"[..], &b"HTTP/1.1 400 Bad Request\r\n"[..]),
        // An alert (21) that is fatal (2).
        (b"\x16\x03\x01\x00\x06\x63\x00\x00\x02\x00\x00", b"\x15\x03\x03\x00\x02\x02"),
        (b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", b"\x15\x03\x03\x00\x02\x02"),
        (b"\x16\x03\x01\xff\xff", b"\x15\x03\x03\x00\x02\x02"),
    ] {
        let mut world = World::new(3, 1 << 20);
        world.wire.borrow_mut().client_sends(octets);
        for _ in 0..5 {
            world.tick();
        }
        let got = world.wire.borrow_mut().client_takes(usize::MAX);
        assert!(got.starts_with(answer), "{octets:?}: {:?}", String::from_utf8_lossy(&got));
        assert!(world.wire.borrow().server_fin, "{octets:?}: no FIN");
        assert!(!world.wire.borrow().server_closed, "{octets:?}: the answer may be lost");
        // More of it is read and thrown away.
        world.wire.borrow_mut().client_sends(&octets.repeat(100));
        world.tick();
        world.tick();
        assert_eq!(world.wire.borrow().unread(), 0);
        world.wire.borrow_mut().client_ends();
        world.tick();
        assert!(world.wire.borrow().server_closed);
        assert_eq!(world.reactor.stats().connections, 0);
        let plain = u64::from(answer.starts_with(b"HTTP"));
        assert_eq!(
            (world.tls.failed(Failure::Plain), world.tls.failed(Failure::Protocol)),
            (plain, 1 - plain)
        );
    }
}

#[test]
fn tl_01_a_handshake_that_stalls_ends_at_the_deadline_of_the_first_request() {
    let config = Config::default();
    let deadline = config.proto.timeouts.handshake_ms;
    let mut world = World::with(4, 1 << 20, config);
    world.pass(100);
    world.tick();
    world.tick_after(deadline - 10);
    assert!(!world.wire.borrow().server_closed);
    world.tick_after(20);
    world.tick();
    assert!(world.wire.borrow().server_closed, "it is not waited for any longer");
    // The same deadline holds for what follows the handshake.
    let mut world = World::new(4, 1 << 20);
    world.tick_after(deadline / 2);
    world.settle();
    assert_eq!(world.tls.completed().full_13, 1);
    world.tick_after(deadline / 2 + 20);
    world.tick();
    assert!(world.wire.borrow().server_closed);
}

#[test]
fn tl_09_a_flood_of_new_keys_ends_the_connection() {
    let mut world = World::open(5, 1 << 20);
    for _ in 0..200 {
        // Each wants new keys of the server, too.
        world.client.refresh_traffic_keys().unwrap();
    }
    for _ in 0..50 {
        world.pass(usize::MAX);
        world.tick();
        world.take(usize::MAX);
    }
    assert!(
        world.wire.borrow().server_fin || world.wire.borrow().server_closed,
        "a flood of new keys goes on"
    );
}

/// The hello of a client, as one record, and the rest of what it has to send.
fn hello(world: &mut World) -> Vec<u8> {
    world.gather();
    std::mem::take(&mut world.outgoing)
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, 3];
    record.extend_from_slice(&(content.len() as u16).to_be_bytes());
    record.extend_from_slice(content);
    record
}

#[test]
fn tl_03_a_hello_in_records_of_one_octet_is_taken() {
    let mut world = World::new(11, 1 << 20);
    let hello = hello(&mut world);
    for octet in &hello[5..] {
        world.wire.borrow_mut().client_sends(&record(22, &[*octet]));
        world.tick();
    }
    world.settle();
    assert_eq!((world.tls.completed().full_13, world.error.as_ref()), (1, None));
    world.upgrade();
    world.settle();
    assert!(world.received.starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn tl_04_close_notify_during_the_handshake_does_not_hold_the_loop() {
    for behind_hello in [false, true] {
        let config = Config::default();
        let deadline = config.proto.timeouts.handshake_ms;
        let mut world = World::with(12, 1 << 20, config);
        let mut octets = hello(&mut world);
        if !behind_hello {
            octets.truncate(0);
        }
        octets.extend(record(21, &[1, 0]));
        world.wire.borrow_mut().client_sends(&octets);
        for _ in 0..10 {
            world.tick();
        }
        assert!(!world.reactor.has_pending_work(), "the loop goes round and round");
        world.tick_after(deadline);
        world.tick();
        assert!(world.wire.borrow().server_closed, "behind the hello: {behind_hello}");
        assert_eq!(world.reactor.stats().connections, 0);
    }
}

#[test]
fn tl_06_half_a_message_is_never_delivered() {
    let mut world = World::open(13, 1 << 20);
    let message = frame(&[7; 5000]);
    world.send(&message[..3000]);
    world.settle();
    world.wire.borrow_mut().client_ends();
    world.tick();
    world.take(usize::MAX);
    assert_eq!(world.received, b"");
    assert_eq!(world.reactor.stats().connections, 0);
    // Half a record.
    let mut world = World::open(14, 1 << 20);
    world.send(&message);
    world.pass(100);
    world.tick();
    world.wire.borrow_mut().client_ends();
    world.tick();
    world.take(usize::MAX);
    assert_eq!(world.received, b"");
    assert_eq!(world.reactor.stats().connections, 0);
}

#[test]
fn tl_09_records_that_are_too_long_or_not_authentic_end_the_connection() {
    for content in [vec![0; 16_384 + 300], vec![7; 100]] {
        let mut world = World::open(15, 1 << 20);
        world.wire.borrow_mut().client_sends(&record(23, &content));
        for _ in 0..5 {
            world.tick();
        }
        world.take(usize::MAX);
        let Some(rustls::Error::AlertReceived(_)) = world.error else {
            panic!("no alert: {:?}", world.error)
        };
        assert!(world.wire.borrow().server_fin);
    }
}

/// Encrypts records that no well-behaved client would send (RFC 8446 5.2).
struct Forger {
    key: LessSafeKey,
    iv: [u8; 12],
    seq: u64,
}

impl Forger {
    /// Goes on where a client is.
    fn new(client: ClientConnection) -> Self {
        let (seq, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            other => panic!("another cipher: {:?}", std::mem::discriminant(&other)),
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).unwrap());
        Self { key, iv: iv.as_ref().try_into().unwrap(), seq }
    }

    fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut inner = [content, &[kind]].concat();
        let mut nonce = self.iv;
        for (octet, seq) in nonce[4..].iter_mut().zip(self.seq.to_be_bytes()) {
            *octet ^= seq;
        }
        self.seq += 1;
        let mut header = vec![23, 3, 3];
        header.extend_from_slice(&((inner.len() + 16) as u16).to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut inner).unwrap();
        header.extend(inner);
        header
    }
}

#[test]
fn tl_11_messages_of_tls_in_pieces_do_not_break_a_write() {
    const APPLICATION: u8 = 23;
    const HANDSHAKE: u8 = 22;
    let key_update = [24, 0, 0, 1, 0];
    for cut in 1..5 {
        let mut world = World::open(16, 100);
        let unused = ClientConnection::new(Arc::clone(&CONFIGS.1), ServerName::try_from("sim").unwrap());
        let mut forger = Forger::new(std::mem::replace(&mut world.client, unused.unwrap()));
        // An answer that the client does not read: the server writes the rest of it later.
        let message = forger.record(APPLICATION, &frame(&[1; 5000]));
        world.wire.borrow_mut().client_sends(&message);
        world.tick();
        // Half a message of TLS is kept while the server goes on writing.
        let half = forger.record(HANDSHAKE, &key_update[..cut]);
        world.wire.borrow_mut().client_sends(&half);
        world.tick();
        for _ in 0..200 {
            world.wire.borrow_mut().client_takes(usize::MAX);
            world.tick();
        }
        assert_eq!(world.reactor.stats().queued_bytes, 0, "cut at {cut}");
        let rest = forger.record(HANDSHAKE, &key_update[cut..]);
        world.wire.borrow_mut().client_sends(&rest);
        world.tick();
        assert!(!world.wire.borrow().server_fin, "cut at {cut}: the keys are not taken");
        // What is kept when the connection ends.
        let mut world = World::open(17, 1 << 20);
        let unused = ClientConnection::new(Arc::clone(&CONFIGS.1), ServerName::try_from("sim").unwrap());
        let mut forger = Forger::new(std::mem::replace(&mut world.client, unused.unwrap()));
        let half = forger.record(HANDSHAKE, &key_update[..cut]);
        world.wire.borrow_mut().client_sends(&half);
        world.tick();
        world.wire.borrow_mut().client_ends();
        world.tick();
        assert!(world.wire.borrow().server_closed);
    }
    // Two messages in one record, the first of which is an error.
    let mut world = World::open(18, 1 << 20);
    let unused = ClientConnection::new(Arc::clone(&CONFIGS.1), ServerName::try_from("sim").unwrap());
    let mut forger = Forger::new(std::mem::replace(&mut world.client, unused.unwrap()));
    let both = forger.record(HANDSHAKE, &[&[11, 0, 0, 1, 0][..], &key_update].concat());
    world.wire.borrow_mut().client_sends(&both);
    world.tick();
    world.tick();
    assert!(world.wire.borrow().server_fin);
}

#[test]
fn a_few_new_keys_are_taken() {
    let mut world = World::open(6, 1 << 20);
    for round in 0_u8..20 {
        world.client.refresh_traffic_keys().unwrap();
        world.send(&frame(&[round; 300]));
        world.settle();
        assert_eq!(world.received, echo(&[round; 300]));
        world.received.clear();
    }
}

#[test]
fn the_clients_end_is_answered_in_kind() {
    let mut world = World::open(7, 1 << 20);
    world.client.send_close_notify();
    world.settle();
    world.tick();
    assert!(world.is_notified, "no close_notify");
    assert!(world.wire.borrow().server_closed || world.wire.borrow().server_fin);
    assert_eq!(world.reactor.stats().connections, 0);
    // FIN without close_notify.
    let mut world = World::open(8, 1 << 20);
    world.wire.borrow_mut().client_ends();
    world.tick();
    world.take(usize::MAX);
    assert!(world.is_notified && world.wire.borrow().server_closed);
    // In the middle of the handshake.
    let mut world = World::new(9, 1 << 20);
    world.pass(50);
    world.tick();
    world.wire.borrow_mut().client_ends();
    world.tick();
    assert!(world.wire.borrow().server_closed);
    assert_eq!(world.tls.failed(Failure::Aborted), 1);
}

#[test]
fn tl_07_a_reader_that_stalls_is_dropped_as_without_tls() {
    let config = Config::default().with(|it| {
        it.max_queue_age_ms = 5_000;
    });
    let mut world = World::with(10, 30_000, config);
    world.settle();
    world.upgrade();
    world.settle();
    world.send(&frame(&vec![1; 40_000]));
    world.pass(usize::MAX);
    for _ in 0..10 {
        world.tick();
    }
    assert!(world.reactor.stats().queued_bytes > 0, "what waits is not counted");
    world.tick_after(5_100);
    world.tick();
    assert!(world.wire.borrow().server_closed, "it is kept for ever");
}

#[test]
fn tl_05_four_handshakes_are_begun_in_a_tick() {
    let ([server, _], client) = &*CONFIGS;
    let now = Now { monotonic_ms: 1000, unix_ms: 1_700_000_000_000 };
    let tls = Tls::new(server.clone());
    let mut reactor = Reactor::new(Config::default(), Echo, 1, now);
    let mut wires = Vec::new();
    for _ in 0..20 {
        let wire = Wire::new(Random(1), 1 << 20);
        let socket = TlsStream::accept(SimSocket(wire.clone()), &tls).unwrap();
        let conn = reactor.accepted(socket, ([127, 0, 0, 1], 1).into(), Entrance::default());
        let mut client =
            ClientConnection::new(Arc::clone(client), ServerName::try_from("sim").unwrap()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        wire.borrow_mut().client_sends(&hello);
        wires.push((conn, wire));
    }
    for begun in [4, 8, 12, 16, 20] {
        reactor.begin(now);
        reactor.resume();
        for (conn, wire) in &wires {
            let edges = wire.borrow_mut().take_edges();
            if let Some(readiness) = edges {
                reactor.ready(*conn, readiness);
            }
        }
        reactor.end_tick();
        reactor.serve_requests();
        reactor.fire_timers();
        reactor.end_tick();
        let answered = wires.iter().filter(|(_, wire)| !wire.borrow().to_client.is_empty()).count();
        assert_eq!(answered, begun);
    }
}
