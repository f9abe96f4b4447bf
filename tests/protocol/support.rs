//! Drives a connection over byte strings.

use std::sync::Arc;

use switchboard::proto::{
    CloseFrame, Connection, Event, Input, MaskingKeys, MessageKind, Opcode, ProtoConfig, ProtocolError,
    write_frame,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

/// An event that owns what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Message(MessageKind, Vec<u8>),
    Chunk(MessageKind, Vec<u8>, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(CloseFrame),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub events: Vec<Seen>,
    pub error: Option<ProtocolError>,
    /// What the connection wrote by itself.
    pub answers: Vec<u8>,
}

pub fn connection(role: Role, config: &ProtoConfig) -> Connection {
    let config = Arc::new(config.clone());
    match role {
        Role::Server => Connection::server(&config, 0),
        Role::Client => Connection::client(&config, MaskingKeys::Seeded(7), 0),
    }
}

/// Feeds `bytes` in pieces that end at `cuts`; an error fails the connection, as a caller must.
pub fn receive(connection: &mut Connection, bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut outcome = Outcome { events: Vec::new(), error: None, answers: Vec::new() };
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let (mut start, mut pauses) = (0, 0);
    for end in ends {
        let mut piece = bytes[start..end].to_vec();
        start = end;
        let mut input = Input::new(&mut piece);
        loop {
            match connection.next_event(&mut input, &mut outcome.answers) {
                Ok(Some(event)) => outcome.events.push(seen(event)),
                // Or it pauses (`Connection::pause_after_inflating`), each time behind another octet.
                Ok(None) if pauses == bytes.len() => break,
                Ok(None) => {
                    if input.is_empty() {
                        break;
                    }
                    pauses += 1;
                }
                Err(error) => {
                    connection.fail(error, 0, &mut outcome.answers);
                    outcome.error.get_or_insert(error);
                }
            }
        }
        assert!(input.is_empty());
    }
    outcome
}

pub fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::Message(message) => Seen::Message(message.kind, message.payload.to_vec()),
        Event::Chunk(chunk) => Seen::Chunk(chunk.kind, chunk.payload.to_vec(), chunk.is_last),
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong(payload) => Seen::Pong(payload.to_vec()),
        Event::Close(frame) => Seen::Close(frame),
    }
}

/// A frame as a peer of `role` receives it: masked for a server.
pub fn frame(role: Role, fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, fin, opcode, payload, (role == Role::Server).then_some([0x37, 0xFA, 0x21, 0x3D]));
    out
}

/// The code of the first Close frame in what a server wrote.
pub fn close_code(answers: &[u8]) -> Option<u16> {
    let mut client = connection(Role::Client, &ProtoConfig::default());
    receive(&mut client, answers, &[]).events.iter().find_map(|event| match event {
        Seen::Close(frame) => Some(frame.code.0),
        _ => None,
    })
}
