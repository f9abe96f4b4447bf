//! Against tungstenite, in both roles: what one sends the other understands, and both understand a stream alike.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;
use switchboard::proto::{MessageKind, Opcode, Outgoing, ProtoConfig, ReadyState};
use tungstenite::protocol::Role as TheirRole;
use tungstenite::{Message, WebSocket};

use crate::streams::{Step, step};
use crate::support::{Outcome, Role, Seen, connection, frame, receive};

/// Two byte strings in place of a socket.
#[derive(Clone, Default)]
struct Pipe {
    incoming: Rc<RefCell<io::Cursor<Vec<u8>>>>,
    outgoing: Rc<RefCell<Vec<u8>>>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.incoming.borrow_mut().read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn their_side(role: Role, incoming: &[u8]) -> (WebSocket<Pipe>, Pipe) {
    let pipe = Pipe::default();
    *pipe.incoming.borrow_mut() = io::Cursor::new(incoming.to_vec());
    let role = if role == Role::Server { TheirRole::Server } else { TheirRole::Client };
    (WebSocket::from_raw_socket(pipe.clone(), role, None), pipe)
}

/// What tungstenite makes of a stream, until its first error.
fn their_events(role: Role, bytes: &[u8]) -> Vec<Seen> {
    let (mut socket, _) = their_side(role, bytes);
    let mut events = Vec::new();
    while let Ok(message) = socket.read() {
        events.push(match message {
            Message::Text(text) => Seen::Message(MessageKind::Text, text.as_bytes().to_vec()),
            Message::Binary(bytes) => Seen::Message(MessageKind::Binary, bytes.to_vec()),
            Message::Ping(payload) => Seen::Ping(payload.to_vec()),
            Message::Pong(payload) => Seen::Pong(payload.to_vec()),
            Message::Close(_) | Message::Frame(_) => break,
        });
    }
    events
}

fn without_close(outcome: Outcome) -> Vec<Seen> {
    outcome.events.into_iter().take_while(|event| !matches!(event, Seen::Close(_))).collect()
}

fn opposite(role: Role) -> Role {
    if role == Role::Server { Role::Client } else { Role::Server }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

proptest! {
    #[test]
    fn they_understand_what_we_send(role in role(), steps in vec(step(), 0..10)) {
        let mut ours = connection(role, &ProtoConfig::default());
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Text(parts) => {
                    ours.encode(Outgoing::text(&parts.concat()), &mut bytes).unwrap();
                    expected.push(Seen::Message(MessageKind::Text, parts.concat().into_bytes()));
                }
                Step::Binary(parts) => {
                    ours.encode(Outgoing::binary(&parts.concat()), &mut bytes).unwrap();
                    expected.push(Seen::Message(MessageKind::Binary, parts.concat()));
                }
                Step::Ping(payload) | Step::Pong(payload) => {
                    ours.ping(&payload, &mut bytes).unwrap();
                    expected.push(Seen::Ping(payload));
                }
            }
        }
        prop_assert_eq!(their_events(opposite(role), &bytes), expected);
    }

    #[test]
    fn we_understand_what_they_send(
        role in role(),
        steps in vec(step(), 0..10),
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let (mut socket, pipe) = their_side(opposite(role), &[]);
        let mut expected = Vec::new();
        for step in steps {
            let (message, seen) = match step {
                Step::Text(parts) => {
                    let text = parts.concat();
                    (Message::text(text.clone()), Seen::Message(MessageKind::Text, text.into_bytes()))
                }
                Step::Binary(parts) => {
                    (Message::binary(parts.concat()), Seen::Message(MessageKind::Binary, parts.concat()))
                }
                Step::Ping(payload) => (Message::Ping(payload.clone().into()), Seen::Ping(payload)),
                Step::Pong(payload) => (Message::Pong(payload.clone().into()), Seen::Pong(payload)),
            };
            socket.send(message).unwrap();
            expected.push(seen);
        }
        socket.close(None).unwrap();
        let mut ours = connection(role, &ProtoConfig::default());
        let bytes = pipe.outgoing.borrow().clone();
        let outcome = receive(&mut ours, &bytes, &cuts);
        prop_assert_eq!(ours.ready_state(), ReadyState::Closed);
        prop_assert_eq!(without_close(outcome), expected);
    }

    /// They let more pass (lengths that are not minimal, for one), so what we see must be a prefix of what they see.
    #[test]
    fn a_damaged_stream_is_never_understood_differently(
        role in role(),
        frames in vec((any::<bool>(), 0..4u8, vec(any::<u8>(), 0..40)), 1..8),
        flips in vec((any::<usize>(), 0..8u8), 0..3),
    ) {
        let mut bytes = Vec::new();
        for (fin, kind, payload) in &frames {
            let opcode = [Opcode::Binary, Opcode::Continuation, Opcode::Ping, Opcode::Text][usize::from(*kind)];
            bytes.extend(frame(role, *fin, opcode, payload));
        }
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        let ours = without_close(receive(&mut connection(role, &ProtoConfig::default()), &bytes, &[]));
        let theirs = their_events(role, &bytes);
        prop_assert!(theirs.starts_with(&ours), "ours {:?}\ntheirs {:?}", ours, theirs);
    }
}
