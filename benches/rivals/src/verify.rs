//! Whether a server answers rightly.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use switchboard::proto::{Connection, Event, Input, Limits, MaskingKeys, MessageKind, Opcode, ProtoConfig};

use crate::link::Endpoint;
use crate::load::{Lane, Tape, prepare};
use crate::serve::Mode;
use crate::wire;

const LENGTHS: [usize; 9] = [0, 1, 20, 125, 126, 1024, 65_535, 65_536, 1 << 20];
const RECEIVE_LEN: usize = 256 * 1024;
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// What must come back.
struct Expected {
    frame: Vec<u8>,
    kind: MessageKind,
    payload: Vec<u8>,
}

/// What has come on a connection.
enum Answers {
    /// The octets of an answer that is not whole.
    Octets(Vec<u8>),
    Messages(Connection),
}

impl Answers {
    /// Takes octets; returns whether they bring what is expected to its end.
    fn receive(&mut self, octets: &mut [u8], expected: &Expected) -> io::Result<bool> {
        match self {
            Self::Octets(got) => {
                got.extend_from_slice(octets);
                if octets.is_empty() || got.len() < expected.frame.len() {
                    return Ok(false);
                }
                if std::mem::take(got) == expected.frame {
                    return Ok(true);
                }
                Err(io::Error::other("other octets came back"))
            }
            Self::Messages(connection) => {
                match connection.next_event(&mut Input::new(octets), &mut Vec::new()) {
                    Ok(None) => Ok(false),
                    Ok(Some(Event::Message(message)))
                        if message.kind == expected.kind && message.payload == expected.payload =>
                    {
                        Ok(true)
                    }
                    Ok(Some(Event::Message(_))) => Err(io::Error::other("another message came back")),
                    Ok(Some(other)) => Err(io::Error::other(format!("no message came, but {other:?}"))),
                    Err(error) => Err(io::Error::other(format!("protocol error: {error}"))),
                }
            }
        }
    }
}

/// Connections to one server: the first one sends, and each must get every message.
struct Peers {
    poll: Poll,
    events: Events,
    lanes: Vec<(Lane, Answers)>,
    buffer: Vec<u8>,
}

/// Sends text and binary messages of many lengths, and decodes and compares every answer.
pub(crate) fn verify(endpoint: Endpoint, mode: Mode, is_raw: bool) -> io::Result<()> {
    let count = if mode == Mode::Fanout { 3 } else { 1 };
    let mut peers = Peers::open(endpoint, count, is_raw)?;
    if mode == Mode::Fanout {
        // A server may be about to subscribe them.
        std::thread::sleep(Duration::from_millis(50));
    }
    for len in LENGTHS {
        for (opcode, kind) in [(Opcode::Text, MessageKind::Text), (Opcode::Binary, MessageKind::Binary)] {
            let payload = wire::letters(len);
            let expected = Expected { frame: wire::masked(opcode, &payload), kind, payload };
            peers
                .exchange(&expected)
                .map_err(|error| io::Error::other(format!("a message of {len} bytes: {error}")))?;
        }
    }
    Ok(())
}

impl Peers {
    fn open(endpoint: Endpoint, count: usize, is_raw: bool) -> io::Result<Self> {
        let limits = Limits::default().with_max_message(2 << 20);
        let config = Arc::new(ProtoConfig::default().with(|it| it.limits = limits));
        let poll = Poll::new()?;
        let mut lanes = Vec::new();
        for at in 0..count {
            let mut stream = prepare(wire::open(endpoint)?)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(stream.socket_mut(), Token(at), interest)?;
            let answers = if is_raw {
                Answers::Octets(Vec::new())
            } else {
                Answers::Messages(Connection::client(&config, MaskingKeys::secure([0; 32]), 0))
            };
            lanes.push((Lane::new(stream), answers));
        }
        Ok(Self { poll, events: Events::with_capacity(16), lanes, buffer: vec![0; RECEIVE_LEN] })
    }

    fn exchange(&mut self, expected: &Expected) -> io::Result<()> {
        let Self { poll, events, lanes, buffer } = self;
        let tape = Tape::new(&expected.frame);
        let sender = &mut lanes[0].0;
        sender.owe(1, &tape);
        sender.pump(&tape)?;
        let mut missing = lanes.len();
        while missing > 0 {
            poll.poll(events, Some(ANSWER_LIMIT))?;
            if events.is_empty() {
                return Err(io::Error::other("there is no answer"));
            }
            for event in &*events {
                let (lane, answers) = &mut lanes[event.token().0];
                let mut octets = Vec::new();
                lane.read_pieces(buffer, |piece| octets.extend_from_slice(piece))?;
                missing -= usize::from(answers.receive(&mut octets, expected)?);
                lane.pump(&tape)?;
            }
        }
        Ok(())
    }
}
