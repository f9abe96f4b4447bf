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
    burst(&mut fleet, is_raw, tape)?;
    thread::sleep(settling);
    let after = process::memory(server.pid())? as f64;
    drop(first);
    let each = |memory: f64| (memory - before) / connections as f64;
    Ok(vec![(IDLE_MEMORY, each(idle)), (BURST_MEMORY, each(after)), (MEMORY, after)])
}

/// One message on every connection, some at a time. Pings are answered meanwhile: it takes a while.
fn burst(fleet: &mut Fleet, is_raw: bool, tape: &Tape) -> io::Result<()> {
    let talk = Talk::new(is_raw, tape.frame_len);
    let Fleet { poll, events, lanes, buffer } = fleet;
    let mut talkers: Vec<_> = lanes.iter().map(|_| talk.talker()).collect();
    let (mut begun, mut done) = (0, 0);
    let mut last = Instant::now();
    while done < lanes.len() {
        while begun < lanes.len() && begun < done + AT_ONCE {
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
    Ok(())
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
