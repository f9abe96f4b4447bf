//! User-space instructions per echoed message in the protocol core alone: parse, unmask, validate, encode.
//!
//! `cargo bench --bench instructions` runs itself under callgrind with two counts of messages and divides the
//! difference, so start-up costs nothing. A figure that noise cannot touch.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a bench")]

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

use switchboard::proto::{Connection, Event, Input, Opcode, ProtoConfig, write_frame};

/// Reads of few and of many, whose difference is what is measured: where it is a bench, and where a test sees that it works.
const BENCH: [u32; 2] = [1_000, 11_000];
const TEST: [u32; 2] = [10, 110];

const CASES: [(&str, Opcode, usize, usize); 5] = [
    ("20 B binary, 1 frame per read", Opcode::Binary, 20, 1),
    ("20 B binary, 16 frames per read", Opcode::Binary, 20, 16),
    ("125 B text, 16 frames per read", Opcode::Text, 125, 16),
    ("1 KiB binary, 1 frame per read", Opcode::Binary, 1024, 1),
    ("1 KiB text, 16 frames per read", Opcode::Text, 1024, 16),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, case, reads] = &arguments[..] {
        echo(case.parse().unwrap(), reads.parse().unwrap());
        return;
    }
    let reads = if arguments.iter().any(|argument| argument == "--bench") { BENCH } else { TEST };
    println!("instructions per echoed message, core alone (callgrind)");
    for (at, (name, _, _, frames)) in CASES.iter().enumerate() {
        let [few, many] = reads.map(|reads| instructions(at, reads));
        let messages = u64::from(reads[1] - reads[0]) * *frames as u64;
        println!("{name:36} {:>6}", (many - few) / messages);
    }
}

/// What callgrind counts for one run of this program.
fn instructions(case: usize, reads: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args([case.to_string(), reads.to_string()])
        .output()
        .expect("valgrind is needed: apt-get install valgrind");
    let log = String::from_utf8_lossy(&output.stderr);
    let collected = log.lines().find_map(|line| line.split("Collected :").nth(1));
    collected.unwrap_or_else(|| panic!("valgrind said:\n{log}")).trim().parse().unwrap()
}

/// The reads of an echo server. A masking-key of zeros costs what any other does and leaves the octets as they are,
/// so the input needs no copying.
fn echo(case: usize, reads: u32) {
    let (_, opcode, size, frames) = CASES[case];
    let mut bytes = Vec::new();
    for _ in 0..frames {
        write_frame(&mut bytes, true, opcode, &vec![b'a'; size], Some([0; 4]));
    }
    let mut connection = Connection::server(&Arc::new(ProtoConfig::default()), 0);
    let mut out = Vec::with_capacity(2 * bytes.len());
    let mut answers = Vec::new();
    for _ in 0..reads {
        out.clear();
        let mut input = Input::new(black_box(&mut bytes));
        while let Ok(Some(Event::Message(message))) = connection.next_event(&mut input, &mut answers) {
            connection.encode(message.as_outgoing(), &mut out).unwrap();
        }
        black_box(&mut out);
    }
}
