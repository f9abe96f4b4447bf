//! A closed loop: this many messages in flight, the next one when an answer is there.

use std::io;
use std::time::{Duration, Instant};

use mio::Token;

use super::{Fleet, Lane, Mark, Span, Tape, Usage};
use crate::contender::Running;

/// Nothing at all came for so long: messages were lost.
const STALL: Duration = Duration::from_secs(5);

/// Who sends how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How many lanes send: the first ones.
    pub(crate) senders: usize,
    /// Answers that a lane gets for each message of its own: 1 for an echo; all senders' for a fan-out.
    pub(crate) answers_per_message: u64,
    /// Messages in flight for each sender.
    pub(crate) in_flight: u64,
}

/// Answers that came in the measured time, on all lanes. `read` takes what is there for a lane, by its number, and returns the
/// answers that are whole.
pub(crate) fn run(
    fleet: &mut Fleet,
    server: &Running,
    tape: &Tape,
    mut read: impl FnMut(usize, &mut Lane, &mut [u8]) -> io::Result<u64>,
    pace: Pace,
    span: Span,
) -> io::Result<(u64, Usage)> {
    for lane in &mut fleet.lanes[..pace.senders] {
        lane.owe(pace.in_flight, tape);
        lane.pump(tape)?;
    }
    drive(fleet, tape, &mut read, pace, Instant::now() + span.warm_up)?;
    let mark = Mark::now(server)?;
    let answers = drive(fleet, tape, &mut read, pace, Instant::now() + span.measured)?;
    Ok((answers, mark.usage()?))
}

/// Reads answers of one length.
pub(crate) fn counted(answer_len: usize) -> impl Fn(usize, &mut Lane, &mut [u8]) -> io::Result<u64> {
    move |_, lane, buffer| {
        let octets = lane.read(buffer)?;
        Ok(lane.count(octets, answer_len))
    }
}

fn drive(
    fleet: &mut Fleet,
    tape: &Tape,
    read: &mut impl FnMut(usize, &mut Lane, &mut [u8]) -> io::Result<u64>,
    pace: Pace,
    until: Instant,
) -> io::Result<u64> {
    let Fleet { poll, events, lanes, buffer } = fleet;
    let mut answers = 0;
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
                answers += read(at, lane, buffer)?;
                if at < pace.senders {
                    let allowed = match pace.answers_per_message {
                        1 => lane.answers,
                        answers => lane.answers / answers,
                    };
                    lane.owe(allowed + pace.in_flight - lane.sent, tape);
                }
            }
            lane.pump(tape)?;
        }
        // Not before: an event that is not seen to does not come again.
        if now >= until {
            return Ok(answers);
        }
    }
}
