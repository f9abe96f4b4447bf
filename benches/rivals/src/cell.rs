//! What is measured: cells, each a load on a server that has just been started.

use std::io;

use switchboard::proto::Opcode;

use crate::contender::{BUSY, Contender, FLOOR, FLOOR_TLS, OURS, OURS_TLS, Running};
use crate::load::closed::{self, Pace};
use crate::load::handshakes::Message;
use crate::load::{Fleet, Span, Tape, flood, handshakes, idle, latency};
use crate::metric::{
    BURST_MEMORY, CONNECTION_CPU, CONNECTIONS, CPU, GENERATOR_LOAD, HANDSHAKE_CPU, HANDSHAKES, IDLE_LOAD,
    IDLE_MEMORY, IDLE_P99, MEMORY, Metric, P50, P99, P99_ABOVE_IDLE, P999, RATE, SERVER_LOAD, Sample,
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
    /// Echoes, handshakes and idle connections over TLS
    Tls,
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
    /// Each connection has one echo.
    Visits {
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

/// Bytes of a message that is fanned out, of one that is flooded with, of one that is sent by plan, of the only one of a
/// connection, and of a large one.
const FANOUT_LEN: usize = 100;
const FLOOD_LEN: usize = 20;
const VISIT_LEN: usize = 20;
const LATENCY_LEN: usize = 125;
const BURST_LEN: usize = 1 << 20;
/// Connections whose memory is measured; with the first hundred, and some to spare, a limit of 20,000 permits them.
const IDLE_CONNECTIONS: usize = 19_000;

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) load: Load,
    pub(crate) targets: Vec<Target>,
    /// It is about TLS.
    pub(crate) is_secure: bool,
}

/// Every cell of the groups.
pub(crate) fn cells(groups: &[Group]) -> Vec<Cell> {
    groups.iter().flat_map(|group| group.cells()).collect()
}

impl Group {
    fn cells(self) -> Vec<Cell> {
        let cell = |name: &str, load, targets: &[Target]| Cell {
            name: name.into(),
            load,
            targets: targets.into(),
            is_secure: false,
        };
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
                    is_secure: false,
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
            Self::Tls => over_tls(),
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
                    is_secure: false,
                });
            }
        }
    }
    cells.push(Cell {
        name: "echo 1 MiB x 10 connections x 1 in flight".into(),
        load: Load::Echo { size: 1 << 20, connections: 10, in_flight: 1 },
        targets: vec![Target::at_most(1.3, CPU, Against::Server("floor"))],
        is_secure: false,
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
        is_secure: false,
    })
    .into()
}

/// Bytes of a message and how many are in flight; what that may cost over TLS, in what it costs without and in what it costs Bun.
const TLS_ECHOES: [(usize, &str, u64, f64, f64); 5] = [
    (20, "20 B", 1, 1.2, 0.85),
    (20, "20 B", 16, 1.25, 0.57),
    (1024, "1 KiB", 1, 1.35, 0.87),
    (1024, "1 KiB", 16, 2.1, 0.55),
    (64 << 10, "64 KiB", 1, 1.4, 0.88),
];

fn over_tls() -> Vec<Cell> {
    let cell = |name: &str, load, targets: &[Target]| Cell {
        name: format!("TLS: {name}"),
        load,
        targets: targets.iter().map(|target| target.of(OURS_TLS)).collect(),
        is_secure: true,
    };
    let bun = Against::Server("bun tls");
    let echoes = TLS_ECHOES.map(|(size, title, in_flight, to_plain, to_bun)| {
        cell(
            &format!("echo {title} x 50 connections x {in_flight} in flight"),
            Load::Echo { size, connections: 50, in_flight },
            &[Target::at_most(to_plain, CPU, Against::Server(OURS)), Target::at_most(to_bun, CPU, bun)],
        )
    });
    let others = [
        cell(
            "connections of 16 clients with one message each, again and again",
            Load::Visits { clients: 16 },
            &[Target::at_most(0.82, CONNECTION_CPU, bun)],
        ),
        cell(
            "storms of 2000 clients at once, and a healthy one",
            Load::Storm { clients: 2_000 },
            &[Target::at_most(2_000.0, P99_ABOVE_IDLE, Against::Nothing)],
        ),
        cell(
            "memory of 5000 idle connections, and after 1 MiB on each",
            Load::Idle { connections: 5_000 },
            &[Target::at_most(4_096.0, IDLE_MEMORY, Against::Nothing)],
        ),
    ];
    echoes.into_iter().chain(others).collect()
}

impl Cell {
    /// The name of ours here, and of the floor.
    pub(crate) fn ours(&self) -> &'static str {
        if self.is_secure { OURS_TLS } else { OURS }
    }

    pub(crate) fn floor(&self) -> &'static str {
        if self.is_secure { FLOOR_TLS } else { FLOOR }
    }

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
            Load::Visits { .. } => &[CONNECTION_CPU, CONNECTIONS],
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
            Load::Churn { clients } | Load::Visits { clients } | Load::Storm { clients } => clients * 2,
            Load::Flood { flooders } => flooders,
            Load::Lone { .. } => 1,
        };
        connections as u64 + 64
    }

    /// Whether a server is measured here: one that never sleeps where that is the question; where TLS is, those that speak it, and
    /// ours without.
    pub(crate) fn has(&self, contender: &Contender) -> bool {
        if self.is_secure {
            return contender.is_secure() || contender.name == OURS;
        }
        !contender.is_secure() && (!contender.is_busy() || matches!(self.load, Load::Lone { .. }))
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
            Load::Storm { clients } if self.is_secure => *clients = (*clients).min(200),
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
            Load::Visits { clients } => {
                let frame = wire::masked(Opcode::Binary, &wire::letters(VISIT_LEN));
                let Frames { answer_len, .. } = frames(Opcode::Binary, VISIT_LEN);
                handshakes::visits(clients, Message { frame, answer_len }, server, span)
            }
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
    let mut fleet = Fleet::open(server.endpoint, connections)?;
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
