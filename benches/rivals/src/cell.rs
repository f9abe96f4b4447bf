//! What is measured: cells, each a load on a server that has just been started.

use std::io;

use switchboard::proto::Opcode;

use crate::contender::{BUSY, Contender, OURS, Running};
use crate::load::closed::{self, Pace};
use crate::load::{Fleet, Span, Tape, flood, handshakes, idle, latency};
use crate::metric::{
    BURST_MEMORY, CPU, GENERATOR_LOAD, HANDSHAKE_CPU, HANDSHAKES, IDLE_LOAD, IDLE_MEMORY, IDLE_P99, MEMORY,
    Metric, P50, P99, P99_ABOVE_IDLE, P999, RATE, SERVER_LOAD, Sample,
};
use crate::process;
use crate::serve::Mode;
use crate::target::{Against, Target};
use crate::wire;

/// The group of a cell, by which cells are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// Every message comes back
    Echo,
    /// Every message goes to everyone
    Fanout,
    /// Memory of idle connections, and after a large message on each
    Idle,
    /// Connections that come and go
    Handshake,
    /// Messages at planned instants
    Latency,
    /// Two peers that send without pause
    Flood,
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    Echo {
        size: usize,
        connections: usize,
        in_flight: u64,
    },
    Fanout {
        connections: usize,
        publishers: usize,
        in_flight: u64,
    },
    Idle {
        connections: usize,
    },
    Churn {
        clients: usize,
    },
    Storm {
        clients: usize,
    },
    Latency {
        connections: usize,
        per_second: u64,
    },
    /// One connection, and also a server that never sleeps.
    Lone {
        per_second: u64,
    },
    Flood {
        flooders: usize,
    },
}

/// Bytes of a message that is fanned out, of one that is flooded with, of one that is sent by plan, and of a large one.
const FANOUT_LEN: usize = 100;
const FLOOD_LEN: usize = 20;
const LATENCY_LEN: usize = 125;
const BURST_LEN: usize = 1 << 20;
/// Connections whose memory is measured; with the first hundred, and some to spare, a limit of 20,000 permits them.
const IDLE_CONNECTIONS: usize = 19_000;

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) load: Load,
    pub(crate) targets: Vec<Target>,
}

/// Every cell of the groups.
pub(crate) fn cells(groups: &[Group]) -> Vec<Cell> {
    groups.iter().flat_map(|group| group.cells()).collect()
}

impl Group {
    fn cells(self) -> Vec<Cell> {
        let cell =
            |name: &str, load, targets: &[Target]| Cell { name: name.into(), load, targets: targets.into() };
        match self {
            Self::Echo => echoes(),
            Self::Fanout => fanouts(),
            Self::Idle => vec![cell(
                &format!("memory of {IDLE_CONNECTIONS} idle connections, and after 1 MiB on each"),
                Load::Idle { connections: IDLE_CONNECTIONS },
                &[
                    Target::at_most(200.0, IDLE_MEMORY, Against::Nothing),
                    Target::at_most(0.01, IDLE_LOAD, Against::Nothing),
                    Target::at_most(1.1, BURST_MEMORY, Against::Own(IDLE_MEMORY)),
                ],
            )],
            Self::Handshake => vec![
                cell(
                    "handshakes of 64 clients, again and again",
                    Load::Churn { clients: 64 },
                    &[Target::at_most(0.8, HANDSHAKE_CPU, Against::Server("bun"))],
                ),
                cell(
                    "storms of 1000 clients at once, and a healthy one",
                    Load::Storm { clients: 1_000 },
                    &[Target::at_most(1_000.0, P99_ABOVE_IDLE, Against::Nothing)],
                ),
            ],
            Self::Latency => [(1_000, 60_000), (100, 20_000)]
                .map(|(connections, per_second)| Cell {
                    name: format!("open loop, {per_second} messages/s over {connections} connections"),
                    load: Load::Latency { connections, per_second },
                    targets: vec![Target::at_most(1.0, P99, Against::BestRival)],
                })
                .into_iter()
                .chain([cell(
                    "open loop, 2000 messages/s over 1 connection",
                    Load::Lone { per_second: 2_000 },
                    &[Target::at_most(0.7, P50, Against::Server(OURS)).of(BUSY)],
                )])
                .collect(),
            Self::Flood => vec![cell(
                "two floods of small messages, and a healthy client",
                Load::Flood { flooders: 2 },
                &[
                    Target::at_most(2_000.0, P99, Against::Nothing),
                    Target::at_least(4e6, RATE, Against::Nothing),
                ],
            )],
        }
    }
}

fn echoes() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (size, title, bound) in
        [(20, "20 B", 1.05), (125, "125 B", 1.05), (1024, "1 KiB", 1.1), (16 << 10, "16 KiB", 1.1)]
    {
        for connections in [100, 1_000, 10_000] {
            for in_flight in [1, 16] {
                cells.push(Cell {
                    name: format!("echo {title} x {connections} connections x {in_flight} in flight"),
                    load: Load::Echo { size, connections, in_flight },
                    targets: vec![Target::at_most(bound, CPU, Against::Server("floor"))],
                });
            }
        }
    }
    cells.push(Cell {
        name: "echo 1 MiB x 10 connections x 1 in flight".into(),
        load: Load::Echo { size: 1 << 20, connections: 10, in_flight: 1 },
        targets: vec![Target::at_most(1.3, CPU, Against::Server("floor"))],
    });
    cells
}

fn fanouts() -> Vec<Cell> {
    let bun = |bound| Some(Target::at_least(bound, RATE, Against::Server("bun")));
    [
        (1_000, 1, 1, 0.95, None),
        (1_000, 1, 16, 0.95, None),
        (1_000, 16, 4, 0.9, bun(2.0)),
        (100, 100, 1, 0.9, None),
        (500, 500, 1, 0.9, bun(5.0)),
    ]
    .map(|(connections, publishers, in_flight, bound, more)| Cell {
        name: format!("fan-out to {connections}, {publishers} publish x {in_flight} in flight"),
        load: Load::Fanout { connections, publishers, in_flight },
        targets: [Target::at_least(bound, RATE, Against::Server("floor"))].into_iter().chain(more).collect(),
    })
    .into()
}

impl Cell {
    /// What the server must do.
    pub(crate) fn mode(&self) -> Mode {
        match self.load {
            Load::Fanout { .. } => Mode::Fanout,
            _ => Mode::Echo,
        }
    }

    /// The figures that decide, first the one whose ratios count.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        match self.load {
            Load::Echo { .. } => &[CPU, RATE, SERVER_LOAD, GENERATOR_LOAD, MEMORY],
            Load::Fanout { .. } => &[RATE, CPU, SERVER_LOAD, GENERATOR_LOAD, MEMORY],
            Load::Idle { .. } => &[IDLE_MEMORY, BURST_MEMORY, MEMORY, IDLE_LOAD],
            Load::Churn { .. } => &[HANDSHAKE_CPU, HANDSHAKES],
            Load::Storm { .. } => &[P99_ABOVE_IDLE, P99, IDLE_P99, HANDSHAKES, HANDSHAKE_CPU],
            Load::Latency { .. } => &[P99, P50, P999, RATE, CPU],
            Load::Lone { .. } => &[P50, P99, P999, RATE, CPU],
            Load::Flood { .. } => &[P99, P50, RATE, CPU],
        }
    }

    /// Descriptors that the generator needs, and the server, too.
    pub(crate) fn descriptors(&self) -> u64 {
        let connections = match self.load {
            Load::Echo { connections, .. }
            | Load::Fanout { connections, .. }
            | Load::Latency { connections, .. } => connections,
            Load::Idle { connections } => connections + 100,
            Load::Churn { clients } | Load::Storm { clients } => clients * 2,
            Load::Flood { flooders } => flooders,
            Load::Lone { .. } => 1,
        };
        connections as u64 + 64
    }

    /// Whether a server is measured here: one that never sleeps where that is the question.
    pub(crate) fn has(&self, contender: &Contender) -> bool {
        !contender.is_busy() || matches!(self.load, Load::Lone { .. })
    }

    /// Memory is what it is, the first time too, and takes long to measure.
    pub(crate) fn rounds(&self, wanted: usize) -> usize {
        if matches!(self.load, Load::Idle { .. }) { 1 } else { wanted }
    }

    /// Less of what takes long, for a look at whether it works.
    pub(crate) fn make_quick(&mut self) {
        match &mut self.load {
            Load::Idle { connections }
            | Load::Echo { connections, .. }
            | Load::Fanout { connections, .. }
            | Load::Latency { connections, .. } => *connections = (*connections).min(200),
            _ => {}
        }
        if let Load::Fanout { connections, publishers, .. } = &mut self.load {
            *publishers = (*publishers).min(*connections);
        }
    }

    /// Puts the load on a server that has just been started.
    pub(crate) fn run(&self, contender: &Contender, server: &Running, span: Span) -> io::Result<Sample> {
        let is_raw = contender.is_raw();
        let frames = |opcode, len| Frames::new(opcode, len, is_raw);
        match self.load {
            Load::Echo { size, connections, in_flight } => {
                let opcode = if size == 125 { Opcode::Text } else { Opcode::Binary };
                let pace = Pace { senders: connections, answers_per_message: 1, in_flight };
                closed_loop(server, connections, &frames(opcode, size), pace, span)
            }
            Load::Fanout { connections, publishers, in_flight } => {
                let pace = Pace { senders: publishers, answers_per_message: publishers as u64, in_flight };
                let mut frames = frames(Opcode::Text, FANOUT_LEN);
                if is_raw {
                    // Answers are all there is: they shall be as long as the others'.
                    frames.tape = Tape::new(&wire::unmasked(Opcode::Text, &wire::letters(FANOUT_LEN)));
                    frames.answer_len = frames.tape.frame_len;
                }
                closed_loop(server, connections, &frames, pace, span)
            }
            Load::Idle { connections } => {
                let tape = frames(Opcode::Binary, BURST_LEN).tape;
                idle::run(connections, contender, server, &tape, span)
            }
            Load::Churn { clients } => handshakes::churn(clients, server, span),
            Load::Storm { clients } => handshakes::storm(clients, server, is_raw, span),
            Load::Lone { per_second } => {
                let Frames { tape, answer_len } = frames(Opcode::Text, LATENCY_LEN);
                latency::run(1, per_second, server, &tape, answer_len, span)
            }
            Load::Latency { connections, per_second } => {
                let Frames { tape, answer_len } = frames(Opcode::Text, LATENCY_LEN);
                latency::run(connections, per_second, server, &tape, answer_len, span)
            }
            Load::Flood { flooders } => {
                let Frames { tape, answer_len } = frames(Opcode::Binary, FLOOD_LEN);
                flood::run(flooders, server, is_raw, &tape, answer_len, span)
            }
        }
    }
}

/// What goes out, and how long an answer is.
struct Frames {
    tape: Tape,
    answer_len: usize,
}

impl Frames {
    /// The answer of a raw server is what it got, masked.
    fn new(opcode: Opcode, len: usize, is_raw: bool) -> Self {
        let payload = wire::letters(len);
        let frame = wire::masked(opcode, &payload);
        let answer_len = if is_raw { frame.len() } else { wire::unmasked(opcode, &payload).len() };
        Self { tape: Tape::new(&frame), answer_len }
    }
}

fn closed_loop(
    server: &Running,
    connections: usize,
    frames: &Frames,
    pace: Pace,
    span: Span,
) -> io::Result<Sample> {
    let mut fleet = Fleet::open(server.address, connections)?;
    let (answers, usage) =
        closed::run(&mut fleet, server, &frames.tape, closed::counted(frames.answer_len), pace, span)?;
    let answers = answers as f64;
    Ok(vec![
        (RATE, answers / usage.seconds),
        (CPU, usage.server_cpu * 1e6 / answers),
        (SERVER_LOAD, usage.server_cpu / usage.seconds),
        (GENERATOR_LOAD, usage.generator_cpu / usage.seconds),
        (MEMORY, process::memory(server.pid())? as f64),
    ])
}
