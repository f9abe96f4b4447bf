//! Two peers that send small messages as fast as they can, and a healthy one beside them.

use std::io;
use std::time::Instant;

use super::probe::{Probe, percentile};
use super::{Fleet, Mark, Span, Tape};
use crate::contender::Running;
use crate::metric::{CPU, P50, P99, RATE, Sample};

pub(crate) fn run(
    flooders: usize,
    server: &Running,
    is_raw: bool,
    tape: &Tape,
    answer_len: usize,
    span: Span,
) -> io::Result<Sample> {
    let mut fleet = Fleet::open(server.endpoint, flooders)?;
    let mut probe = Probe::open(server.endpoint, is_raw)?;
    let warm = Instant::now() + span.warm_up;
    drive(&mut fleet, &mut probe, tape, answer_len, warm)?;
    probe.take();
    let mark = Mark::now(server)?;
    let answers = drive(&mut fleet, &mut probe, tape, answer_len, Instant::now() + span.measured)? as f64;
    let usage = mark.usage()?;
    let round_trips = probe.take();
    Ok(vec![
        (P99, percentile(&round_trips, 0.99)),
        (P50, percentile(&round_trips, 0.5)),
        (RATE, answers / usage.seconds),
        (CPU, usage.server_cpu * 1e6 / answers),
    ])
}

/// Never waits: there is always more to write.
fn drive(
    fleet: &mut Fleet,
    probe: &mut Probe,
    tape: &Tape,
    answer_len: usize,
    until: Instant,
) -> io::Result<u64> {
    let mut answers = 0;
    while Instant::now() < until {
        for lane in &mut fleet.lanes {
            if lane.owed < tape.len() {
                lane.owe((tape.len() / tape.frame_len as u64).max(1), tape);
            }
            lane.pump(tape)?;
            probe.poke()?;
            let octets = lane.read(&mut fleet.buffer)?;
            answers += lane.count(octets, answer_len);
            probe.poke()?;
        }
    }
    Ok(answers)
}
