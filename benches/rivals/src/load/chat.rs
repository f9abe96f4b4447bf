//! Everyone in one room posts, the next time when everything that all have said is there.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use switchboard::proto::{FrameHeader, Opcode};

use super::closed::{self, Pace};
use super::{Fleet, Lane, Span, Tape, Usage};
use crate::contender::Running;
use crate::wire;

/// Counts the frames of a stream that carry a `message`: nothing else in the measured time is as long as its text and more.
#[derive(Debug, Default)]
struct Frames {
    /// The octets of a header that is not whole.
    head: Vec<u8>,
    /// Octets of a payload that are still to come.
    rest: usize,
}

impl Frames {
    fn count(&mut self, mut octets: &[u8], text_len: usize) -> u64 {
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
            messages += u64::from(self.rest > text_len + 40);
        }
        messages
    }
}

/// Who is in the room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) people: usize,
    /// Octets of the text of a post.
    pub(crate) text_len: usize,
    /// Messages come without the fields that can be left out.
    pub(crate) is_lean: bool,
}

/// Deliveries in the measured time, to all people, each of whom posts.
pub(crate) fn run(server: &Running, crowd: Crowd, span: Span) -> io::Result<(u64, Usage)> {
    let Crowd { people, text_len, is_lean } = crowd;
    let omit = if is_lean { r#","omit":["client","prev"]"# } else { "" };
    let mut fleet = Fleet::open(server.endpoint, people)?;
    for (at, lane) in fleet.lanes.iter_mut().enumerate() {
        let hello = format!(r#"{{"type":"hello","user":"person {at}"{omit}}}"#);
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
    let text = String::from_utf8_lossy(&wire::letters(text_len)).into_owned();
    let post = format!(r#"{{"type":"post","id":1,"room":"general","text":"{text}"}}"#);
    let tape = Tape::new(&wire::masked(Opcode::Text, post.as_bytes()));
    let mut frames: Vec<Frames> = fleet.lanes.iter().map(|_| Frames::default()).collect();
    let read = |at: usize, lane: &mut Lane, buffer: &mut [u8]| {
        let mut came = 0;
        lane.read_pieces(buffer, |octets| came += frames[at].count(octets, text_len))?;
        lane.answers += came;
        Ok(came)
    };
    let pace = Pace { senders: people, answers_per_message: people as u64, in_flight: 1 };
    closed::run(&mut fleet, server, &tape, read, pace, span)
}

/// A few octets, for which a new connection has room.
fn write_all(stream: &mut impl Write, octets: &[u8]) -> io::Result<()> {
    match stream.write(octets)? {
        len if len == octets.len() => Ok(()),
        _ => Err(io::Error::other("a new connection took only part of a command")),
    }
}
