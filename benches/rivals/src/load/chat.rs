//! Everyone in one room posts, the next time when everything that all have said is there.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::Token;
use mio::net::TcpStream;
use switchboard::proto::{FrameHeader, Opcode};

use super::{Fleet, Mark, Span, Tape, Usage};
use crate::contender::Running;
use crate::wire;

/// Bytes of a post's text.
const TEXT_LEN: usize = 100;
/// Nothing at all came for so long: messages were lost.
const STALL: Duration = Duration::from_secs(5);

/// Counts the frames of a stream that carry a `message`: nothing else in the measured time is as long as its text and more.
#[derive(Debug, Default)]
struct Frames {
    /// The octets of a header that is not whole.
    head: Vec<u8>,
    /// Octets of a payload that are still to come.
    rest: usize,
}

impl Frames {
    fn count(&mut self, mut octets: &[u8]) -> u64 {
        let mut messages = 0;
        while !octets.is_empty() {
            let skipped = self.rest.min(octets.len());
            self.rest -= skipped;
            octets = &octets[skipped..];
            if octets.is_empty() {
                break;
            }
            // A header is taken octet by octet where it is cut, which is seldom.
            let header = if self.head.is_empty() { FrameHeader::parse(octets) } else { Ok(None) };
            let (header, taken) = if let Ok(Some(whole)) = header {
                whole
            } else {
                self.head.push(octets[0]);
                octets = &octets[1..];
                let Ok(Some((header, _))) = FrameHeader::parse(&self.head) else { continue };
                (header, 0)
            };
            self.head.clear();
            octets = &octets[taken..];
            self.rest = header.payload_len as usize;
            messages += u64::from(self.rest > TEXT_LEN + 40);
        }
        messages
    }
}

/// Deliveries in the measured time, to all `people`.
pub(crate) fn run(server: &Running, people: usize, span: Span) -> io::Result<(u64, Usage)> {
    let mut fleet = Fleet::open(server.address, people)?;
    for (at, lane) in fleet.lanes.iter_mut().enumerate() {
        let hello = format!(r#"{{"type":"hello","user":"person {at}"}}"#);
        write_all(&mut lane.stream, &wire::masked(Opcode::Text, hello.as_bytes()))?;
        write_all(
            &mut lane.stream,
            &wire::masked(Opcode::Text, br#"{"type":"join","room":"general","history":0}"#),
        )?;
    }
    // Who has come in is told to all, and that is over before anything is counted.
    let until = Instant::now() + Duration::from_millis(700);
    while Instant::now() < until {
        for lane in &mut fleet.lanes {
            lane.read(&mut fleet.buffer)?;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let text = String::from_utf8_lossy(&wire::letters(TEXT_LEN)).into_owned();
    let post = format!(r#"{{"type":"post","id":1,"room":"general","text":"{text}"}}"#);
    let tape = Tape::new(&wire::masked(Opcode::Text, post.as_bytes()));
    let mut frames: Vec<Frames> = fleet.lanes.iter().map(|_| Frames::default()).collect();
    for lane in &mut fleet.lanes {
        lane.owe(1, &tape);
        lane.pump(&tape)?;
    }
    drive(&mut fleet, &mut frames, &tape, Instant::now() + span.warm_up)?;
    let mark = Mark::now(server)?;
    let deliveries = drive(&mut fleet, &mut frames, &tape, Instant::now() + span.measured)?;
    Ok((deliveries, mark.usage()?))
}

fn drive(fleet: &mut Fleet, frames: &mut [Frames], tape: &Tape, until: Instant) -> io::Result<u64> {
    let Fleet { poll, events, lanes, buffer } = fleet;
    let people = lanes.len() as u64;
    let mut deliveries = 0;
    let mut last = Instant::now();
    loop {
        poll.poll(events, Some(Duration::from_millis(20)))?;
        let now = Instant::now();
        if !events.is_empty() {
            last = now;
        } else if now - last > STALL {
            return Err(io::Error::other("nothing came for 5 s: messages were lost"));
        }
        for event in &*events {
            let Token(at) = event.token();
            let lane = &mut lanes[at];
            if event.is_readable() {
                let came = read(&mut lane.stream, &mut frames[at], buffer)?;
                deliveries += came;
                lane.answers += came;
                lane.owe(lane.answers / people + 1 - lane.sent, tape);
            }
            lane.pump(tape)?;
        }
        if now >= until {
            return Ok(deliveries);
        }
    }
}

/// Reads all that is there; gives the messages that began in it.
fn read(stream: &mut TcpStream, frames: &mut Frames, buffer: &mut [u8]) -> io::Result<u64> {
    let mut messages = 0;
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server ended a connection")),
            Ok(len) => {
                messages += frames.count(&buffer[..len]);
                if len < buffer.len() {
                    return Ok(messages);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
            Err(error) => return Err(error),
        }
    }
}

/// A few octets, for which a new connection has room.
fn write_all(stream: &mut TcpStream, octets: &[u8]) -> io::Result<()> {
    match stream.write(octets)? {
        len if len == octets.len() => Ok(()),
        _ => Err(io::Error::other("a new connection took only part of a command")),
    }
}
