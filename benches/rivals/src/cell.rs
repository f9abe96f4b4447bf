//! What is measured: cells, each a load and the figures that it gives.

use std::io;

use switchboard::proto::Opcode;

use crate::contender::{Contender, Running};
use crate::load::closed::{self, Pace};
use crate::load::{Fleet, Span, Tape};
use crate::process;
use crate::serve::Mode;
use crate::wire;

/// A figure of a server: its key in JSON, its title, its unit, and whether less of it is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) less_is_better: bool,
}

const fn less(key: &'static str, title: &'static str) -> Metric {
    Metric { key, title, less_is_better: true }
}

const fn more(key: &'static str, title: &'static str) -> Metric {
    Metric { key, title, less_is_better: false }
}

/// Messages that came back, or deliveries of a fan-out, per second.
pub(crate) const RATE: Metric = more("messages_per_second", "messages/s");
/// Seconds of the server on its core for each million of them, which is microseconds for each.
pub(crate) const CPU: Metric = less("server_cpu_us_per_message", "server CPU s per M");
/// Part of the time that the server was on its core.
pub(crate) const SERVER_LOAD: Metric = less("server_load", "server load");
/// Part of the time that the generator was on its core: near 1, it is the generator that limits the rate.
pub(crate) const GENERATOR_LOAD: Metric = less("generator_load", "generator load");
/// Resident user-space memory at the end.
pub(crate) const MEMORY: Metric = less("memory_bytes", "memory");

/// One run of one server in one cell.
pub(crate) type Sample = Vec<(Metric, f64)>;

/// The group of a cell, by which cells are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// Every message comes back
    Echo,
    /// Every message goes to everyone
    Fanout,
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    Echo { size: usize, connections: usize, in_flight: u64 },
    Fanout { connections: usize, publishers: usize, in_flight: u64 },
}

/// Bytes of a message that is fanned out.
const FANOUT_LEN: usize = 100;

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) load: Load,
}

/// Every cell of the groups.
pub(crate) fn cells(groups: &[Group]) -> Vec<Cell> {
    groups
        .iter()
        .flat_map(|group| match group {
            Group::Echo => echoes(),
            Group::Fanout => fanouts(),
        })
        .collect()
}

fn echoes() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (size, title) in [(20, "20 B"), (125, "125 B"), (1024, "1 KiB"), (16 << 10, "16 KiB")] {
        for connections in [100, 1_000, 10_000] {
            for in_flight in [1, 16] {
                let name = format!("echo {title} x {connections} connections x {in_flight} in flight");
                cells.push(Cell { name, load: Load::Echo { size, connections, in_flight } });
            }
        }
    }
    cells.push(Cell {
        name: "echo 1 MiB x 10 connections x 1 in flight".into(),
        load: Load::Echo { size: 1 << 20, connections: 10, in_flight: 1 },
    });
    cells
}

fn fanouts() -> Vec<Cell> {
    [(1_000, 1, 1), (1_000, 1, 16), (1_000, 16, 4), (100, 100, 1), (500, 500, 1)]
        .map(|(connections, publishers, in_flight)| Cell {
            name: format!("fan-out to {connections}, {publishers} publish x {in_flight} in flight"),
            load: Load::Fanout { connections, publishers, in_flight },
        })
        .to_vec()
}

impl Cell {
    /// What the server must do.
    pub(crate) fn mode(&self) -> Mode {
        match self.load {
            Load::Echo { .. } => Mode::Echo,
            Load::Fanout { .. } => Mode::Fanout,
        }
    }

    /// The figures that decide, first the one whose ratios count.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        match self.load {
            Load::Echo { .. } => &[CPU, RATE, SERVER_LOAD, GENERATOR_LOAD, MEMORY],
            Load::Fanout { .. } => &[RATE, CPU, SERVER_LOAD, GENERATOR_LOAD, MEMORY],
        }
    }

    /// Descriptors that the generator needs, and the server, too.
    pub(crate) fn descriptors(&self) -> u64 {
        let (Load::Echo { connections, .. } | Load::Fanout { connections, .. }) = self.load;
        connections as u64 + 64
    }

    /// Puts the load on a server that has just been started.
    pub(crate) fn run(&self, contender: &Contender, server: &Running, span: Span) -> io::Result<Sample> {
        let (connections, size, opcode, pace) = match self.load {
            Load::Echo { size, connections, in_flight } => {
                let opcode = if size == 125 { Opcode::Text } else { Opcode::Binary };
                (connections, size, opcode, Pace { senders: connections, answers_per_message: 1, in_flight })
            }
            Load::Fanout { connections, publishers, in_flight } => {
                let answers_per_message = publishers as u64;
                let pace = Pace { senders: publishers, answers_per_message, in_flight };
                (connections, FANOUT_LEN, Opcode::Text, pace)
            }
        };
        let payload = wire::letters(size);
        let answer = wire::unmasked(opcode, &payload);
        let masked = wire::masked(opcode, &payload);
        // The floor's answers are what it got. In a fan-out, where answers are all there is, they shall be as long as
        // the others'.
        let (frame, answer_len) = match (contender.is_raw(), self.mode()) {
            (false, _) => (&masked, answer.len()),
            (true, Mode::Echo) => (&masked, masked.len()),
            (true, Mode::Fanout) => (&answer, answer.len()),
        };
        let mut fleet = Fleet::open(server.address, connections)?;
        let (answers, usage) = closed::run(&mut fleet, server, &Tape::new(frame), answer_len, pace, span)?;
        let answers = answers as f64;
        Ok(vec![
            (RATE, answers / usage.seconds),
            (CPU, usage.server_cpu * 1e6 / answers),
            (SERVER_LOAD, usage.server_cpu / usage.seconds),
            (GENERATOR_LOAD, usage.generator_cpu / usage.seconds),
            (MEMORY, process::memory(server.pid())? as f64),
        ])
    }
}
