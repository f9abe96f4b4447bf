//! An open loop: messages at planned instants, whatever the server does; latency counts from the plan.

use std::io;
use std::time::{Duration, Instant};

use mio::Token;

use super::probe::{histogram, percentile};
use super::{Fleet, Mark, Span, Tape};
use crate::contender::Running;
use crate::metric::{CPU, P50, P99, P999, RATE, Sample};

pub(crate) fn run(
    connections: usize,
    per_second: u64,
    server: &Running,
    tape: &Tape,
    answer_len: usize,
    span: Span,
) -> io::Result<Sample> {
    let mut fleet = Fleet::open(server.endpoint, connections)?;
    let Fleet { poll, events, lanes, buffer } = &mut fleet;
    let lane_count = lanes.len() as u64;
    let mut round_trips = histogram();
    let start = Instant::now();
    let warm_up_ns = span.warm_up.as_nanos() as u64;
    let end_ns = warm_up_ns + span.measured.as_nanos() as u64;
    let planned_ns = |number: u64| number * 1_000_000_000 / per_second;
    let (mut sent, mut answers) = (0, 0_u64);
    let mut mark = None;
    loop {
        // It never sleeps: waking up would be in the figures.
        poll.poll(events, Some(Duration::ZERO))?;
        let mut now_ns = start.elapsed().as_nanos() as u64;
        for event in &*events {
            let Token(at) = event.token();
            let lane = &mut lanes[at];
            if event.is_readable() {
                let mut number = lane.answers * lane_count + at as u64;
                let octets = lane.read(buffer)?;
                now_ns = start.elapsed().as_nanos() as u64;
                for _ in 0..lane.count(octets, answer_len) {
                    if planned_ns(number) >= warm_up_ns {
                        answers += 1;
                        round_trips.saturating_record(now_ns - planned_ns(number));
                    }
                    number += lane_count;
                }
            }
            lane.pump(tape)?;
        }
        if mark.is_none() && now_ns >= warm_up_ns {
            mark = Some(Mark::now(server)?);
        }
        if now_ns >= end_ns {
            break;
        }
        while planned_ns(sent) <= now_ns {
            let lane = &mut lanes[(sent % lane_count) as usize];
            lane.owe(1, tape);
            lane.pump(tape)?;
            sent += 1;
        }
    }
    // What never came back is as late as it can be known to be.
    for (at, lane) in (0..).zip(&*lanes) {
        for nth in lane.answers..lane.sent {
            let planned = planned_ns(nth * lane_count + at);
            if planned >= warm_up_ns {
                round_trips.saturating_record(end_ns.saturating_sub(planned));
            }
        }
    }
    let usage = mark.ok_or_else(|| io::Error::other("nothing was measured"))?.usage()?;
    Ok(vec![
        (P99, percentile(&round_trips, 0.99)),
        (P50, percentile(&round_trips, 0.5)),
        (P999, percentile(&round_trips, 0.999)),
        (RATE, answers as f64 / usage.seconds),
        (CPU, usage.server_cpu * 1e6 / answers as f64),
    ])
}
