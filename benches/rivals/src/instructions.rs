//! User-space instructions per echoed message, counted by callgrind: a figure that noise cannot touch.

use std::error::Error;
use std::io::{Read, Write};
use std::process::Command;

use switchboard::proto::Opcode;

use crate::contender::{Contender, FLOOR, OURS};
use crate::report::model::{CellReport, MetricReport, ServerReport};
use crate::serve::Mode;
use crate::target;
use crate::wire;

/// Rounds of few and of many; their difference is what is counted, so that start-up costs nothing.
const ROUNDS: [u64; 2] = [200, 2_200];

/// What is echoed, and what ours may come to.
pub(crate) struct Case {
    name: &'static str,
    size: usize,
    opcode: Opcode,
    connections: usize,
    in_flight: usize,
    bound: Option<u64>,
}

pub(crate) const CASES: [Case; 5] = [
    Case {
        name: "20 B x 1",
        size: 20,
        opcode: Opcode::Binary,
        connections: 1,
        in_flight: 1,
        bound: Some(300),
    },
    Case {
        name: "20 B x 16",
        size: 20,
        opcode: Opcode::Binary,
        connections: 1,
        in_flight: 16,
        bound: Some(150),
    },
    Case {
        name: "125 B text x 16",
        size: 125,
        opcode: Opcode::Text,
        connections: 1,
        in_flight: 16,
        bound: Some(320),
    },
    Case { name: "1 KiB x 1", size: 1024, opcode: Opcode::Binary, connections: 1, in_flight: 1, bound: None },
    Case {
        name: "20 B x 1 on each of 20 connections",
        size: 20,
        opcode: Opcode::Binary,
        connections: 20,
        in_flight: 1,
        bound: Some(300),
    },
];

const CALLGRIND: &[&str] = &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];

/// Whether valgrind is there.
pub(crate) fn check() -> Result<(), Box<dyn Error>> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("valgrind: {error} (on Debian: apt-get install valgrind)").into()),
    }
}

/// Instructions per message of one server in one case.
pub(crate) fn count(contender: &Contender, case: usize, core: usize) -> Result<u64, Box<dyn Error>> {
    let case = &CASES[case];
    let mut totals = [0; 2];
    for (total, rounds) in totals.iter_mut().zip(ROUNDS) {
        *total = total_of(contender, case, rounds, core)?;
    }
    let messages = (ROUNDS[1] - ROUNDS[0]) * (case.connections * case.in_flight) as u64;
    Ok((totals[1] - totals[0]) / messages)
}

/// The counts of all servers in one case, as a cell of the report.
pub(crate) fn report(case: usize, counts: &[(String, u64)]) -> CellReport {
    let Case { name, bound, .. } = CASES[case];
    let of = |name: &str| counts.iter().find(|(server, _)| server == name).map(|(_, count)| *count as f64);
    let key = "instructions_per_message".to_owned();
    let server = |(name, count): &(String, u64)| {
        let figures = [(key.clone(), *count as f64)];
        ServerReport {
            name: name.clone(),
            rounds: vec![figures.clone().into()],
            failure: None,
            medians: figures.into(),
            shown: [(key.clone(), count.to_string())].into(),
            to_floor: of(FLOOR).map(|floor| *count as f64 / floor),
            ours_to_it: of(OURS).map(|ours| ours / *count as f64),
        }
    };
    let outcome = bound.zip(of(OURS)).map(|(bound, ours)| target::instructions(name, bound, ours as u64));
    CellReport {
        name: format!("user-space instructions per echoed message, {name} in flight"),
        is_secure: false,
        metrics: vec![MetricReport { key: key.clone(), title: "instructions/message".into() }],
        servers: counts.iter().map(server).collect(),
        targets: outcome.into_iter().collect(),
    }
}

/// All instructions of a server that echoes this many rounds. A round is one write on each connection of all that is in flight
/// there, and the next one goes out when every answer is there.
///
/// With several connections the server is stopped while they are written to, so that it finds all of them in one wait. A
/// wait that was stopped returns once for nothing; so that this does not count, the server is stopped in as many rounds
/// whatever their number, and in those that are left over nothing is written.
fn total_of(contender: &Contender, case: &Case, rounds: u64, core: usize) -> Result<u64, Box<dyn Error>> {
    let payload = wire::letters(case.size);
    let frame = wire::masked(case.opcode, &payload);
    let answer = if contender.is_raw() { frame.clone() } else { wire::unmasked(case.opcode, &payload) };
    let frames = frame.repeat(case.in_flight);
    let mut answers = vec![0; answer.len() * case.in_flight];
    let server = contender.start(Mode::Echo, core, CALLGRIND)?;
    let mut streams = Vec::new();
    for _ in 0..case.connections {
        streams.push(wire::open(server.endpoint)?);
    }
    let is_stopped = case.connections > 1;
    let stops = if is_stopped { ROUNDS[1] } else { rounds };
    for round in 0..stops {
        if is_stopped {
            server.stop()?;
        }
        let written = if round < rounds { &frames[..] } else { &[] };
        for stream in &mut streams {
            stream.write_all(written)?;
        }
        if is_stopped {
            server.go_on()?;
        }
        for stream in streams.iter_mut().filter(|_| !written.is_empty()) {
            stream.read_exact(&mut answers)?;
            if !answers.chunks(answer.len()).all(|one| one == answer) {
                return Err(format!("{}: another message came back", contender.name).into());
            }
        }
    }
    drop(streams);
    let said = server.finish()?;
    let total = said.lines().find_map(|line| line.split("Collected :").nth(1));
    Ok(total.ok_or_else(|| format!("callgrind said:\n{said}"))?.trim().parse()?)
}
