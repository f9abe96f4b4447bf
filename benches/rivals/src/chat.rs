//! What the chat costs beside the plain fan-out that it stands on: one room, in which everyone posts and all hear.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

use crate::contender::{MAX_QUEUED, Running, launch};
use crate::load::chat::{self, Crowd};
use crate::load::closed::{self, Pace};
use crate::load::{Fleet, Span, Tape, Usage};
use crate::wire;
use switchboard::proto::Opcode;

const PEOPLE: usize = 500;
const TEXT_LEN: usize = 100;
/// Deliveries a second with the history in memory, in those of the fan-out, and with it on the disk, in those from memory.
const MEMORY_TO_FANOUT: f64 = 0.5;
const DISK_TO_MEMORY: f64 = 0.8;
/// Deliveries for each second of CPU, of messages without what can be left out, in those of the fan-out.
const LEAN_TO_FANOUT: f64 = 0.55;

/// Deliveries a second, and microseconds of the server for each.
#[derive(Debug, Clone, Copy)]
struct Figures {
    rate: f64,
    cpu: f64,
}

impl Figures {
    fn new((deliveries, usage): (u64, Usage)) -> Self {
        let deliveries = deliveries as f64;
        Self { rate: deliveries / usage.seconds, cpu: usage.server_cpu * 1e6 / deliveries }
    }
}

/// Runs the four in turn, `rounds` times, and prints the medians.
pub(crate) fn run(ours: &Path, core: usize, rounds: usize, span: Span) -> Result<(), Box<dyn Error>> {
    let mut all: [Vec<Figures>; 4] = Default::default();
    for round in 0..rounds {
        for turn in 0..4 {
            let which = (round + turn) % 4;
            all[which].push(match which {
                0 => fanout(ours, core, span)?,
                1 => chat_of(ours, core, span, (None, false))?,
                2 => chat_of(ours, core, span, (None, true))?,
                _ => {
                    let directory = tempfile::tempdir()?;
                    chat_of(ours, core, span, (Some(directory.path()), false))?
                }
            });
        }
    }
    println!(
        "{PEOPLE} people in one room, each posts {TEXT_LEN} B and waits until it has what all have said"
    );
    println!("{:24}{:>16}{:>20}", "", "deliveries/s", "CPU us/delivery");
    for (name, figures) in
        ["fanout", "chat, in memory", "chat, in memory, lean", "chat, on the disk"].iter().zip(&all)
    {
        let rate = median(figures.iter().map(|one| one.rate));
        let cpu = median(figures.iter().map(|one| one.cpu));
        println!("{name:24}{:>14.2} M{cpu:>20.4}", rate / 1e6);
    }
    let ratio = |one: usize, other: usize| {
        median(all[one].iter().zip(&all[other]).map(|(one, other)| one.rate / other.rate))
    };
    let per_cpu = |one: usize| median(all[one].iter().zip(&all[0]).map(|(one, fanout)| fanout.cpu / one.cpu));
    for (what, beside, bound, value) in [
        ("in memory", "fanout", MEMORY_TO_FANOUT, ratio(1, 0)),
        ("on the disk", "in memory", DISK_TO_MEMORY, ratio(3, 1)),
    ] {
        let outcome = if value >= bound { "met" } else { "MISSED" };
        println!("  {what}, deliveries/s at least {bound} x {beside}: {outcome} ({value:.3})");
    }
    let (whole, lean) = (per_cpu(1), per_cpu(2));
    let outcome = if lean >= LEAN_TO_FANOUT { "met" } else { "MISSED" };
    println!(
        "  lean, deliveries per CPU second at least {LEAN_TO_FANOUT} x fanout: {outcome} ({lean:.3}; whole messages {whole:.3})"
    );
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn fanout(ours: &Path, core: usize, span: Span) -> Result<Figures, Box<dyn Error>> {
    let server = start(ours, core, &["fanout".into()])?;
    let text = wire::letters(TEXT_LEN);
    let tape = Tape::new(&wire::masked(Opcode::Text, &text));
    let answer_len = wire::unmasked(Opcode::Text, &text).len();
    let pace = Pace { senders: PEOPLE, answers_per_message: PEOPLE as u64, in_flight: 1 };
    let mut fleet = Fleet::open(server.endpoint, PEOPLE)?;
    Ok(Figures::new(closed::run(&mut fleet, &server, &tape, closed::counted(answer_len), pace, span)?))
}

fn chat_of(
    ours: &Path,
    core: usize,
    span: Span,
    (data, is_lean): (Option<&Path>, bool),
) -> Result<Figures, Box<dyn Error>> {
    let mut words: Vec<OsString> = vec!["serve".into(), "--posts-per-second".into(), "0".into()];
    match data {
        Some(directory) => words.extend(["--data".into(), directory.join("data").into()]),
        None => words.push("--ephemeral".into()),
    }
    let server = start(ours, core, &words)?;
    Ok(Figures::new(chat::run(&server, Crowd { people: PEOPLE, text_len: TEXT_LEN, is_lean }, span)?))
}

fn start(ours: &Path, core: usize, words: &[OsString]) -> std::io::Result<Running> {
    launch(core, false, |address| {
        let mut all = vec![ours.into()];
        all.extend(words.iter().cloned());
        all.extend(["--max-queued".into(), MAX_QUEUED.into(), "--listen".into(), address.to_string().into()]);
        Ok(all)
    })
}
