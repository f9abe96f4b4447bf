//! Frames and handshakes, by the project's own client role; and whether a server answers rightly.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::{
    Connection, Event, Input, Limits, MaskingKeys, MessageKind, Opcode, ProtoConfig, write_frame,
};

use crate::serve::Mode;

/// The masking-key of all frames: a fixed one costs a server what any other does.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const NONCE: [u8; 16] = *b"sixteen octets!!";
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A message as a client writes it.
pub(crate) fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, true, opcode, payload, Some(KEY));
    frame
}

/// A message as a server writes it.
pub(crate) fn unmasked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, true, opcode, payload, None);
    frame
}

/// A payload of lower-case letters.
pub(crate) fn letters(len: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(len).collect()
}

fn request() -> ClientRequest<'static> {
    ClientRequest { host: "localhost", target: "/", ..ClientRequest::default() }
}

/// The octets of an upgrade request.
pub(crate) fn upgrade_request() -> Vec<u8> {
    let mut out = Vec::new();
    ClientHandshake::start(&request(), NONCE, &mut out);
    out
}

/// Connects and shakes hands, checking the answer.
pub(crate) fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut out = Vec::new();
    let mut handshake = ClientHandshake::start(&request(), NONCE, &mut out);
    stream.write_all(&out)?;
    let mut head = Vec::new();
    let mut octet = [0];
    loop {
        stream.read_exact(&mut octet)?;
        head.push(octet[0]);
        match handshake.receive(&head, &request(), &Limits::default()) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(stream),
            Err(error) => return Err(io::Error::other(format!("handshake: {error}"))),
        }
    }
}

/// Reads an upgrade response without a look at it but for its status.
pub(crate) fn read_head(stream: &mut impl Read) -> io::Result<()> {
    let mut head = [0; 1024];
    let mut len = 0;
    while !head[..len].ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut head[len..])?;
        if read == 0 {
            return Err(io::Error::other("the server ended the connection, or its answer is endless"));
        }
        len += read;
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(io::Error::other("the server does not upgrade"));
    }
    Ok(())
}

/// Sends text and binary messages of many lengths, and decodes and compares every answer.
pub(crate) fn verify(address: SocketAddr, mode: Mode, is_raw: bool) -> io::Result<()> {
    let mut sender = open(address)?;
    let mut receivers = vec![];
    if mode == Mode::Fanout {
        receivers.push(open(address)?);
        receivers.push(open(address)?);
        // A server may be about to subscribe them.
        std::thread::sleep(Duration::from_millis(50));
    }
    for len in [0, 1, 20, 125, 126, 1024, 65_535, 65_536, 1 << 20] {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let payload = letters(len);
            let frame = masked(opcode, &payload);
            let mut writing = sender.try_clone()?;
            let mut write = io::Result::Ok(());
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| writing.write_all(&frame));
                let mut answers = receivers.iter_mut().collect::<Vec<_>>();
                answers.push(&mut sender);
                let checked = answers.into_iter().try_for_each(|stream| {
                    if is_raw { expect_octets(stream, &frame) } else { expect(stream, opcode, &payload) }
                });
                write = writer.join().unwrap_or(Ok(())).and(checked);
            });
            write.map_err(|error| io::Error::other(format!("a message of {len} bytes: {error}")))?;
        }
    }
    Ok(())
}

fn expect_octets(stream: &mut TcpStream, expected: &[u8]) -> io::Result<()> {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got)?;
    if got == expected { Ok(()) } else { Err(io::Error::other("other octets came back")) }
}

/// Reads one message and compares it.
pub(crate) fn expect(stream: &mut TcpStream, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
    let kind = if opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
    let limits = Limits::default().with_max_message(2 << 20);
    let config = Arc::new(ProtoConfig::default().with(|it| it.limits = limits));
    let mut connection = Connection::client(&config, MaskingKeys::secure([0; 32]), 0);
    let mut buffer = vec![0; 256 * 1024];
    let mut owed = Vec::new();
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Err(io::Error::other("the server ended the connection"));
        }
        let mut input = Input::new(&mut buffer[..len]);
        match connection.next_event(&mut input, &mut owed) {
            Ok(None) => {}
            Ok(Some(Event::Message(message))) => {
                let is_equal = message.kind == kind && message.payload == payload;
                return if is_equal { Ok(()) } else { Err(io::Error::other("another message came back")) };
            }
            Ok(Some(other)) => return Err(io::Error::other(format!("no message came, but {other:?}"))),
            Err(error) => return Err(io::Error::other(format!("protocol error: {error}"))),
        }
    }
}
