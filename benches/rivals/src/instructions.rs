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

/// Size, text or binary, messages in flight; its name, and what ours may come to.
pub(crate) const CASES: [(usize, Opcode, u64, &str, Option<u64>); 4] = [
    (20, Opcode::Binary, 1, "20 B x 1", Some(300)),
    (20, Opcode::Binary, 16, "20 B x 16", Some(150)),
    (125, Opcode::Text, 16, "125 B text x 16", Some(320)),
    (1024, Opcode::Binary, 1, "1 KiB x 1", None),
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
    let (_, _, in_flight, ..) = CASES[case];
    let mut totals = [0; 2];
    for (total, rounds) in totals.iter_mut().zip(ROUNDS) {
        *total = total_of(contender, case, rounds, core)?;
    }
    Ok((totals[1] - totals[0]) / ((ROUNDS[1] - ROUNDS[0]) * in_flight))
}

/// The counts of all servers in one case, as a cell of the report.
pub(crate) fn report(case: usize, counts: &[(String, u64)]) -> CellReport {
    let (.., name, bound) = CASES[case];
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
        metrics: vec![MetricReport { key: key.clone(), title: "instructions/message".into() }],
        servers: counts.iter().map(server).collect(),
        targets: outcome.into_iter().collect(),
    }
}

/// All instructions of a server that echoes so many rounds. A round is one write of all that is in flight, and the
/// next one goes out when every answer is there.
fn total_of(contender: &Contender, case: usize, rounds: u64, core: usize) -> Result<u64, Box<dyn Error>> {
    let (size, opcode, in_flight, ..) = CASES[case];
    let payload = wire::letters(size);
    let frame = wire::masked(opcode, &payload);
    let answer = if contender.is_raw() { frame.clone() } else { wire::unmasked(opcode, &payload) };
    let frames = frame.repeat(in_flight as usize);
    let mut answers = vec![0; answer.len() * in_flight as usize];
    let server = contender.start(Mode::Echo, core, CALLGRIND)?;
    let mut stream = wire::open(server.address)?;
    for _ in 0..rounds {
        stream.write_all(&frames)?;
        stream.read_exact(&mut answers)?;
    }
    if !answers.chunks(answer.len()).all(|one| one == answer) {
        return Err(format!("{}: another message came back", contender.name).into());
    }
    drop(stream);
    let said = server.finish()?;
    let total = said.lines().find_map(|line| line.split("Collected :").nth(1));
    Ok(total.ok_or_else(|| format!("callgrind said:\n{said}"))?.trim().parse()?)
}
