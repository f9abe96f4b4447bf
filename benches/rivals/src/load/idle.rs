//! Connections that are open and say nothing; and what is left of a large message on each.

use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use mio::Token;

use super::talker::{Talk, Talker};
use super::{Fleet, Lane, Mark, Span, Tape};
use crate::contender::{Contender, Running};
use crate::metric::{BURST_MEMORY, IDLE_LOAD, IDLE_MEMORY, MEMORY, Sample};
use crate::process;

/// Connections that are open before the others are counted: a server's first ones cost it what is not theirs.
const FIRST: usize = 100;
/// Large messages under way at once.
const AT_ONCE: usize = 64;
/// A server that holds this many bytes more gets no more large messages: the machine needs some memory itself.
const ENOUGH: u64 = 2 << 30;
/// Connections between two looks at its memory.
const LOOK: usize = 64;
const STALL: Duration = Duration::from_secs(10);

pub(crate) fn run(
    connections: usize,
    contender: &Contender,
    server: &Running,
    tape: &Tape,
    span: Span,
) -> io::Result<Sample> {
    // A server may take its time to give memory back.
    let settling = span.warm_up + span.measured;
    let first = Fleet::open(server.endpoint, FIRST)?;
    thread::sleep(settling / 4);
    let before = process::memory(server.pid())? as f64;
    let mut fleet = Fleet::open(server.endpoint, connections)?;
    thread::sleep(settling);
    let idle = process::memory(server.pid())? as f64;
    let talk = Talk::new(contender.is_raw(), tape.frame_len);
    let mut talkers: Vec<_> = fleet.lanes.iter().map(|_| talk.talker()).collect();
    let mut sample = Sample::new();
    // Of the rivals none pings unasked.
    if !contender.is_rival() {
        sample.push((IDLE_LOAD, stay_silent(&mut fleet, &mut talkers, server, span)?));
    }
    let done = burst(&mut fleet, &mut talkers, server, tape)?;
    thread::sleep(settling);
    let after = process::memory(server.pid())? as f64;
    drop(first);
    let idle_each = (idle - before) / connections as f64;
    let after_each = idle_each + (after - idle) / done as f64;
    sample.extend([(IDLE_MEMORY, idle_each), (BURST_MEMORY, after_each), (MEMORY, after)]);
    Ok(sample)
}

/// Answers pings, and says nothing else, for a ping interval of ours; returns the part of it that the server worked.
fn stay_silent(fleet: &mut Fleet, talkers: &mut [Talker], server: &Running, span: Span) -> io::Result<f64> {
    let Fleet { poll, events, lanes, buffer } = fleet;
    let mark = Mark::now(server)?;
    let until = Instant::now() + span.measured * 26;
    while Instant::now() < until {
        poll.poll(events, Some(Duration::from_millis(100)))?;
        for event in events.iter().filter(|event| event.is_readable()) {
            let Token(at) = event.token();
            receive(&mut lanes[at], &mut talkers[at], buffer)?;
        }
    }
    let usage = mark.usage()?;
    Ok(usage.server_cpu / usage.seconds)
}

/// One message on every connection, some at a time; returns the number of connections that had theirs before it was enough.
/// Pings are answered meanwhile: it takes a while.
fn burst(fleet: &mut Fleet, talkers: &mut [Talker], server: &Running, tape: &Tape) -> io::Result<usize> {
    let Fleet { poll, events, lanes, buffer } = fleet;
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
pub(crate) fn receive(lane: &mut Lane, talker: &mut Talker, buffer: &mut [u8]) -> io::Result<u64> {
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
