//! A list of operations on a client and a server with two byte pipes between them: messages arrive whole and in order,
//! and the closing handshake ends.

use std::sync::Arc;

use switchboard::proto::{
    CloseCode, Connection, DeflateConfig, DeflatePool, Event, Input, Limits, MaskingKeys, MessageKind,
    Millis, Outgoing, ProtoConfig, ReadyState, SendError, Timeout, Timeouts,
};

use super::deflate::agreement;
use super::source::Source;

struct Endpoint {
    connection: Connection,
    /// Octets on their way to it.
    pipe: Vec<u8>,
    sent: Vec<(MessageKind, Vec<u8>)>,
    received: Vec<(MessageKind, Vec<u8>)>,
    /// Pieces of a message that is handed up piece by piece.
    unfinished: Vec<u8>,
    /// Fragments of a message that is sent in fragments.
    fragments: Option<String>,
    closes_received: usize,
    began_to_close: bool,
}

impl Endpoint {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            pipe: Vec::new(),
            sent: Vec::new(),
            received: Vec::new(),
            unfinished: Vec::new(),
            fragments: None,
            closes_received: 0,
            began_to_close: false,
        }
    }
}

struct Session {
    ends: [Endpoint; 2],
    now: Millis,
    sent_len: usize,
}

/// What the long messages of one run may come to.
const MAX_SENT_LEN: usize = 100_000;

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    // A peer that answers late is not given up: the pipes here are as slow as the fuzzer likes.
    let timeouts = Timeouts::default().with(|it| {
        it.ping_ms = 1000;
        it.pong_ms = 0;
        it.message_ms = 0;
    });
    let deflate = Some(DeflateConfig::default().with(|it| it.min_len = 4));
    let limits = Limits::default().with_max_message(1 << 20);
    let config = Arc::new(ProtoConfig::default().with(|it| {
        it.timeouts = timeouts;
        it.limits = limits;
        it.deflate = deflate;
    }));
    let keys = match source.octet() {
        0 => MaskingKeys::Fixed([0; 4]),
        seed => MaskingKeys::Seeded(u64::from(seed)),
    };
    let (mut client, mut server) = (Connection::client(&config, keys, 0), Connection::server(&config, 0));
    let choices = source.octet();
    if choices & 1 != 0 {
        let (agreement, pool) = (agreement(source.octet()), DeflatePool::new(&config));
        client = client.with_deflate(agreement, &pool);
        server = server.with_deflate(agreement, &pool);
    }
    client.stream_messages(choices & 2 != 0);
    server.stream_messages(choices & 4 != 0);
    let ends = [Endpoint::new(client), Endpoint::new(server)];
    let mut session = Session { ends, now: 0, sent_len: 0 };
    while !source.is_empty() {
        session.step(&mut source);
    }
    session.finish();
}

impl Session {
    fn step(&mut self, source: &mut Source<'_>) {
        let choice = source.octet();
        let side = usize::from(choice & 1);
        match choice >> 1 & 7 {
            0 => {
                let len = usize::from(source.octet());
                let text = String::from_utf8_lossy(source.take(len)).into_owned();
                self.send(side, MessageKind::Text, text.into_bytes());
            }
            1 => {
                let len = usize::from(source.octet());
                self.send(side, MessageKind::Binary, source.take(len).to_vec());
            }
            2 => {
                // Of every length form; the longest are too slow to come often.
                let len = match source.pair() {
                    len @ 65_000.. if self.sent_len < MAX_SENT_LEN => usize::from(len) + 400,
                    len => usize::from(len % 300),
                };
                self.sent_len += len;
                self.send(side, MessageKind::Text, vec![b'a' + (len % 26) as u8; len]);
            }
            3 if choice >> 4 & 1 == 0 => self.ping(side, source),
            3 => {
                let len = usize::from(source.octet());
                let text = String::from_utf8_lossy(source.take(len)).into_owned();
                self.send_fragment(side, &text, choice >> 5 & 1 == 1);
            }
            4 | 5 => {
                let len = usize::from(source.octet());
                self.deliver(side, len);
            }
            6 if choice >> 4 == 0 => {
                let code = CloseCode(source.pair());
                self.close(side, code, &String::from_utf8_lossy(source.take(130)));
            }
            6 => self.deliver(side, usize::MAX),
            _ => self.wait(side, u64::from(source.octet()) * 10),
        }
    }

    fn send(&mut self, side: usize, kind: MessageKind, payload: Vec<u8>) {
        let mut out = Vec::new();
        let end = &mut self.ends[side];
        let message = match kind {
            MessageKind::Text => Outgoing::text(std::str::from_utf8(&payload).expect("made from text")),
            MessageKind::Binary => Outgoing::binary(&payload),
        };
        let expected = if end.connection.ready_state() != ReadyState::Open {
            Err(SendError::NotOpen)
        } else if end.fragments.is_some() {
            Err(SendError::MessageUnfinished)
        } else {
            Ok(())
        };
        assert_eq!(end.connection.encode(message, &mut out), expected);
        assert_eq!(out.is_empty(), expected.is_err());
        if expected.is_ok() {
            end.sent.push((kind, payload));
        }
        self.ends[1 - side].pipe.extend(out);
    }

    /// One fragment of text: the first, one that continues, or the last.
    fn send_fragment(&mut self, side: usize, text: &str, is_last: bool) {
        let mut out = Vec::new();
        let end = &mut self.ends[side];
        if end.connection.ready_state() != ReadyState::Open {
            assert_eq!(
                end.connection.encode_fragment(Outgoing::text(text), is_last, &mut out),
                Err(SendError::NotOpen)
            );
            return;
        }
        assert_eq!(end.connection.encode_fragment(Outgoing::text(text), is_last, &mut out), Ok(()));
        let mut message = end.fragments.take().unwrap_or_default();
        message.push_str(text);
        if is_last {
            end.sent.push((MessageKind::Text, message.into_bytes()));
        } else {
            end.fragments = Some(message);
        }
        assert_eq!(end.connection.is_sending_fragments(), !is_last);
        self.ends[1 - side].pipe.extend(out);
    }

    fn ping(&mut self, side: usize, source: &mut Source<'_>) {
        let mut out = Vec::new();
        let len = usize::from(source.octet());
        // Closing or closed: nothing is sent.
        let _ = self.ends[side].connection.ping(source.take(len), &mut out);
        self.ends[1 - side].pipe.extend(out);
    }

    fn close(&mut self, side: usize, code: CloseCode, reason: &str) {
        let mut out = Vec::new();
        let end = &mut self.ends[side];
        end.began_to_close |= end.connection.ready_state() == ReadyState::Open;
        end.connection.close(code, reason, self.now, &mut out);
        assert_ne!(end.connection.ready_state(), ReadyState::Open);
        self.ends[1 - side].pipe.extend(out);
    }

    fn wait(&mut self, side: usize, ms: Millis) {
        self.now += ms;
        let mut out = Vec::new();
        let timeout = self.ends[side].connection.handle_timeout(self.now, &mut out);
        assert_ne!(timeout, Timeout::PongOverdue);
        assert_eq!(out.is_empty(), timeout != Timeout::Pinged);
        self.ends[1 - side].pipe.extend(out);
    }

    /// Brings up to `len` octets to one end. Whatever the other end sent breaks no rule.
    fn deliver(&mut self, side: usize, len: usize) {
        let end = &mut self.ends[side];
        let mut bytes: Vec<u8> = end.pipe.drain(..len.min(end.pipe.len())).collect();
        let mut out = Vec::new();
        let mut input = Input::new(&mut bytes);
        end.connection.heard(self.now);
        while let Some(event) =
            end.connection.next_event(&mut input, &mut out).expect("no rule is broken between two of us")
        {
            match event {
                Event::Message(message) => end.received.push((message.kind, message.payload.to_vec())),
                Event::Chunk(chunk) => {
                    end.unfinished.extend_from_slice(chunk.payload);
                    if chunk.is_last {
                        end.received.push((chunk.kind, std::mem::take(&mut end.unfinished)));
                    }
                }
                Event::Ping(_) | Event::Pong(_) => {}
                Event::Close(_) => end.closes_received += 1,
            }
        }
        self.ends[1 - side].pipe.extend(out);
    }

    /// Everything arrives, then one end closes.
    fn finish(mut self) {
        for side in [0, 1] {
            if self.ends[side].fragments.is_some() {
                self.send_fragment(side, "the end", true);
            }
        }
        self.deliver_all();
        self.close(0, CloseCode::NORMAL, "");
        self.deliver_all();
        for side in [0, 1] {
            let (end, other) = (&self.ends[side], &self.ends[1 - side]);
            assert_eq!(end.connection.ready_state(), ReadyState::Closed);
            assert_eq!(end.closes_received, 1, "one Close each way");
            assert!(!end.connection.is_mid_message());
            // Who has begun to close takes no more messages (RFC 6455 1.4); whoever has not gets all of them.
            assert!(other.sent.starts_with(&end.received));
            assert!(end.began_to_close || end.received.len() == other.sent.len());
        }
    }

    fn deliver_all(&mut self) {
        while self.ends.iter().any(|end| !end.pipe.is_empty()) {
            self.deliver(0, usize::MAX);
            self.deliver(1, usize::MAX);
        }
    }
}
