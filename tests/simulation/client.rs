//! A simulated client: the project's own core in client role, with moods.

use std::sync::Arc;

use switchboard::app::ConnId;
use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::{
    CloseCode, CloseFrame, Connection, DeflateConfig, DeflatePool, Event, Input, Limits, MaskingKeys,
    Outgoing, ProtoConfig, ReadyState, ResponseError,
};

use crate::network::{Random, SharedWire};

/// How it ended, as the client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Close(CloseFrame),
    /// FIN without a Close.
    Fin,
    /// The server had no patience for the opening handshake.
    TooLate,
    /// The server had no room.
    Refused,
    /// The client broke off by itself.
    Gone,
}

pub struct Client {
    pub wire: SharedWire,
    pub conn: ConnId,
    pub name: String,
    handshake: Option<ClientHandshake>,
    connection: Connection,
    config: Arc<ProtoConfig>,
    keys: MaskingKeys,
    /// Whether the server takes context over, where compression was agreed on.
    pub server_takeover: Option<bool>,
    received: Vec<u8>,
    /// Octets that the client's own network has not delivered.
    outgoing: Vec<u8>,
    pub messages: Vec<String>,
    pub end: Option<End>,
    pub reads_nothing: bool,
    /// It fills each of its writes with the commands that bring the longest answers.
    pub is_greedy: bool,
    /// It began the closing handshake.
    pub is_leaving: bool,
    pub pings: usize,
}

impl Client {
    pub fn new(name: String, conn: ConnId, wire: SharedWire, random: &mut Random) -> Self {
        let mut outgoing = Vec::new();
        let target = format!("/{name}");
        let deflate = random.one_in(2).then(|| random_deflate(random));
        let request = ClientRequest {
            host: "sim",
            target: &target,
            deflate: deflate.as_ref(),
            ..ClientRequest::default()
        };
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&random.next().to_le_bytes());
        let handshake = ClientHandshake::start(&request, nonce, &mut outgoing);
        let keys = MaskingKeys::Seeded(random.next());
        let config = Arc::new(ProtoConfig::default().with(|it| {
            it.limits = Limits::default().with_max_message(1 << 20);
            it.deflate = deflate;
        }));
        Self {
            wire,
            conn,
            name,
            handshake: Some(handshake),
            connection: Connection::client(&config, keys.clone(), 0),
            config,
            keys,
            server_takeover: None,
            received: Vec::new(),
            outgoing,
            messages: Vec::new(),
            end: None,
            reads_nothing: false,
            is_greedy: random.one_in(10),
            is_leaving: false,
            pings: 0,
        }
    }

    pub fn is_open(&self) -> bool {
        self.handshake.is_none() && self.end.is_none() && self.connection.ready_state() == ReadyState::Open
    }

    pub fn say(&mut self, command: &str) {
        if self.connection.ready_state() == ReadyState::Open {
            self.connection.encode(Outgoing::text(command), &mut self.outgoing).unwrap();
        }
    }

    /// Many expensive commands in one write, once the ones before are under way.
    pub fn demand(&mut self, random: &mut Random) {
        if self.outgoing.is_empty() {
            let (count, size) = (1 + random.below(50), random.below(5_000));
            for _ in 0..count {
                self.say(&format!("echo {size}"));
            }
        }
    }

    pub fn close(&mut self) {
        self.is_leaving = true;
        self.connection.close(CloseCode::NORMAL, "done", 0, &mut self.outgoing);
    }

    /// Octets that break the protocol, in place of a frame.
    pub fn rave(&mut self) {
        if self.is_open() {
            self.outgoing.extend([0xF3, 0x80, 1, 2, 3, 4]);
        }
    }

    pub fn break_off(&mut self, with_reset: bool) {
        if self.end.is_none() {
            let mut wire = self.wire.borrow_mut();
            if with_reset {
                wire.client_resets();
            } else {
                wire.client_ends();
            }
            self.end = Some(End::Gone);
        }
    }

    /// Delivers some of what the client wrote; `all` of it in a quiet phase.
    pub fn deliver(&mut self, random: &mut Random, all: bool) {
        if self.outgoing.is_empty() || matches!(self.end, Some(End::Gone)) {
            return;
        }
        let count = if all { self.outgoing.len() } else { 1 + random.below(self.outgoing.len()) };
        let bytes: Vec<u8> = self.outgoing.drain(..count).collect();
        self.wire.borrow_mut().client_sends(&bytes);
    }

    /// Reads some of what arrived; everything in a quiet phase. Says whether anything happened.
    pub fn read(&mut self, random: &mut Random, all: bool) -> bool {
        if self.end.is_some() || self.reads_nothing && !all {
            return false;
        }
        let count = if all { usize::MAX } else { random.below(3000) };
        let mut bytes = self.wire.borrow_mut().client_takes(count);
        let is_over = {
            let wire = self.wire.borrow();
            (wire.server_fin || wire.server_closed) && wire.to_client.is_empty()
        };
        let happened = !bytes.is_empty();
        if self.handshake.is_some() {
            self.received.append(&mut bytes);
            self.shake_hands();
        } else {
            self.frames(&mut bytes);
        }
        if is_over && self.end.is_none() {
            self.end = Some(End::Fin);
        }
        if is_over {
            self.wire.borrow_mut().client_ends();
        }
        happened
    }

    fn shake_hands(&mut self) {
        let Some(handshake) = &mut self.handshake else { return };
        let request =
            ClientRequest { host: "sim", deflate: self.config.deflate.as_ref(), ..ClientRequest::default() };
        let agreed = handshake.receive(&self.received, &request, &Limits::default());
        match agreed {
            Ok(Some(agreement)) => {
                if let Some(agreed) = agreement.deflate {
                    self.server_takeover = Some(!agreed.server_no_context_takeover);
                    // Nothing was said on the connection yet.
                    self.connection = Connection::client(&self.config, self.keys.clone(), 0)
                        .with_deflate(agreed, &DeflatePool::new(&self.config));
                }
                let mut rest = self.received.split_off(agreement.head_len);
                self.handshake = None;
                self.frames(&mut rest);
            }
            Ok(None) => {}
            Err(ResponseError::Status(408)) => {
                self.end = Some(End::TooLate);
                self.wire.borrow_mut().client_ends();
            }
            Err(ResponseError::Status(503)) => {
                self.end = Some(End::Refused);
                self.wire.borrow_mut().client_ends();
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn frames(&mut self, bytes: &mut [u8]) {
        let mut input = Input::new(bytes);
        while let Some(event) =
            self.connection.next_event(&mut input, &mut self.outgoing).expect("the server keeps the protocol")
        {
            match event {
                Event::Message(message) => self.messages.push(message.text().unwrap().to_owned()),
                Event::Chunk(_) => panic!("nobody asked for pieces"),
                Event::Ping(_) => self.pings += 1,
                Event::Pong(_) => {}
                Event::Close(frame) => self.end = Some(End::Close(frame)),
            }
        }
        if self.end.is_some() && !matches!(self.end, Some(End::Gone)) {
            // RFC 6455 7.1.1: the answer goes out, then the client ends its side too.
            let answer = std::mem::take(&mut self.outgoing);
            let mut wire = self.wire.borrow_mut();
            wire.client_sends(&answer);
            wire.client_ends();
        }
    }
}

/// Some parameters; the same on both sides make what is agreed differ from client to client.
pub fn random_deflate(random: &mut Random) -> DeflateConfig {
    DeflateConfig::default().with(|it| {
        it.server_no_context_takeover = random.one_in(3);
        it.client_no_context_takeover = random.one_in(3);
        it.server_max_window_bits = [9, 11, 15][random.below(3)];
        it.client_max_window_bits = [9, 11, 15][random.below(3)];
        it.min_len = [0, 20, 200][random.below(3)];
        it.level = 1;
    })
}
