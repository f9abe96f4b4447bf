//! Frames and handshakes, by the project's own client role.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::{Limits, Opcode, write_frame};

use crate::link::{Endpoint, Link};

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
pub(crate) fn open(endpoint: Endpoint) -> io::Result<Link<TcpStream>> {
    let mut stream = Link::connect(endpoint)?;
    stream.socket().set_nodelay(true)?;
    stream.socket().set_read_timeout(Some(ANSWER_LIMIT))?;
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
