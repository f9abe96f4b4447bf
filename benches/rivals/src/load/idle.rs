//! Connections that are open and say nothing; and what is left of a large message on each.

use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use mio::Token;

use super::talker::Talk;
use super::{Fleet, Lane, Span, Tape};
use crate::contender::Running;
use crate::metric::{BURST_MEMORY, IDLE_MEMORY, MEMORY, Sample};
use crate::process;

/// Connections that are open before the others are counted: a server's first ones cost it what is not theirs.
const FIRST: usize = 100;
/// Large messages under way at once.
const AT_ONCE: usize = 64;
/// A server that holds so many bytes more gets no more large messages: the machine needs some memory itself.
const ENOUGH: u64 = 2 << 30;
/// Connections between two looks at its memory.
const LOOK: usize = 64;
const STALL: Duration = Duration::from_secs(10);

pub(crate) fn run(
    connections: usize,
    server: &Running,
    is_raw: bool,
    tape: &Tape,
    span: Span,
) -> io::Result<Sample> {
    // A server may take its time to give memory back.
    let settling = span.warm_up + span.measured;
    let first = Fleet::open(server.address, FIRST)?;
    thread::sleep(settling / 4);
    let before = process::memory(server.pid())? as f64;
    let mut fleet = Fleet::open(server.address, connections)?;
    thread::sleep(settling);
    let idle = process::memory(server.pid())? as f64;
    let done = burst(&mut fleet, server, is_raw, tape)?;
    thread::sleep(settling);
    let after = process::memory(server.pid())? as f64;
    drop(first);
    let idle_each = (idle - before) / connections as f64;
    let after_each = idle_each + (after - idle) / done as f64;
    Ok(vec![(IDLE_MEMORY, idle_each), (BURST_MEMORY, after_each), (MEMORY, after)])
}

/// One message on every connection, some at a time; gives the number of connections that had theirs before it was enough.
/// Pings are answered meanwhile: it takes a while.
fn burst(fleet: &mut Fleet, server: &Running, is_raw: bool, tape: &Tape) -> io::Result<usize> {
    let talk = Talk::new(is_raw, tape.frame_len);
    let Fleet { poll, events, lanes, buffer } = fleet;
    let mut talkers: Vec<_> = lanes.iter().map(|_| talk.talker()).collect();
    let (mut begun, mut done) = (0, 0);
    let mut wanted = lanes.len();
    let enough = process::memory(server.pid())? + ENOUGH;
    let mut last = Instant::now();
    while done < wanted {
        while begun < wanted && begun < done + AT_ONCE {
            if begun % LOOK == 0 && process::memory(server.pid())? > enough {
                wanted = begun;
                break;
            }
            lanes[begun].owe(1, tape);
            lanes[begun].pump(tape)?;
            begun += 1;
        }
        poll.poll(events, Some(Duration::from_millis(100)))?;
        for event in &*events {
            let Token(at) = event.token();
            let lane = &mut lanes[at];
            if event.is_readable() {
                last = Instant::now();
                done += receive(lane, &mut talkers[at], buffer)? as usize;
            }
            lane.pump(tape)?;
        }
        if last.elapsed() > STALL {
            return Err(io::Error::other("nothing came for 10 s in the midst of large messages"));
        }
    }
    Ok(done)
}

/// Messages that are whole now.
pub(crate) fn receive(
    lane: &mut Lane,
    talker: &mut super::talker::Talker,
    buffer: &mut [u8],
) -> io::Result<u64> {
    let mut messages = 0;
    let mut owed = Vec::new();
    loop {
        match lane.stream.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server ended a connection")),
            Ok(len) => messages += talker.receive(&mut buffer[..len], &mut owed)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    // A pong between a message's octets would be one of them; then it waits for the next ping.
    if lane.owed == 0 && !owed.is_empty() {
        lane.stream.write_all(&owed)?;
    }
    Ok(messages)
}
