//! All servers in turn, A B C, B C A …, and what comes of it.

use std::error::Error;
use std::io;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cell::Cell;
use crate::contender::Contender;
use crate::load::Span;
use crate::metric::{Metric, Sample};
use crate::verify;

/// What each round of one server gave in one cell.
pub(crate) struct Row {
    pub(crate) name: String,
    /// It is no build of ours.
    pub(crate) is_rival: bool,
    pub(crate) rounds: Vec<Result<Sample, String>>,
}

/// One cell, of all servers.
pub(crate) struct Table {
    pub(crate) cell: Cell,
    pub(crate) rows: Vec<Row>,
}

/// Where things run and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bench {
    pub(crate) server_core: usize,
    pub(crate) rounds: usize,
    pub(crate) span: Span,
}

/// Every server answers rightly in the modes that are measured, or the comparison is worth nothing.
pub(crate) fn verify(bench: Bench, contenders: &[Contender], cells: &[Cell]) -> Result<(), Box<dyn Error>> {
    for contender in contenders.iter().filter(|one| !one.is_busy()) {
        let measured = cells.iter().filter(|cell| cell.has(contender));
        let mut modes = measured.map(Cell::mode).collect::<Vec<_>>();
        modes.dedup();
        for mode in modes {
            let checked = contender
                .start(mode, bench.server_core, &[])
                .and_then(|server| verify::verify(server.endpoint, mode, contender.is_raw()));
            checked.map_err(|error| format!("{} {}: {error}", contender.name, mode.name()))?;
        }
    }
    Ok(())
}

/// Measures one cell.
pub(crate) fn measure(bench: Bench, contenders: &[Contender], cell: &Cell, bar: &ProgressBar) -> Table {
    let contenders: Vec<_> = contenders.iter().filter(|one| cell.has(one)).collect();
    let mut rows: Vec<Row> = contenders
        .iter()
        .map(|one| Row { name: one.name.clone(), is_rival: one.is_rival(), rounds: vec![] })
        .collect();
    for round in 0..cell.rounds(bench.rounds) {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            bar.set_message(format!("{}: {}", cell.name, contenders[at].name));
            let sample = run(bench, contenders[at], cell);
            rows[at].rounds.push(sample.map_err(|error| error.to_string()));
            bar.inc(1);
        }
    }
    Table { cell: cell.clone(), rows }
}

fn run(bench: Bench, contender: &Contender, cell: &Cell) -> io::Result<Sample> {
    let server = contender.start(cell.mode(), bench.server_core, &[])?;
    cell.run(contender, &server, bench.span)
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}");
    ProgressBar::new(steps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Row {
    /// The median over the rounds.
    pub(crate) fn median(&self, metric: Metric) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| value(round, metric)).collect())
    }

    /// The median of what this server has for each unit of the other, round by round.
    pub(crate) fn ratio_to(&self, other: &Self, metric: Metric) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(pairs.filter_map(|(a, b)| Some(value(a, metric)? / value(b, metric)?)).collect())
    }

    /// Why a round failed, if one did.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.rounds.iter().find_map(|round| round.as_ref().err().map(String::as_str))
    }
}

impl Table {
    pub(crate) fn ours(&self) -> Option<&Row> {
        self.row(self.cell.ours())
    }

    pub(crate) fn floor(&self) -> Option<&Row> {
        self.row(self.cell.floor())
    }

    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

fn value(round: &Result<Sample, String>, metric: Metric) -> Option<f64> {
    round.as_ref().ok()?.iter().find(|(of, _)| *of == metric).map(|(_, value)| *value)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
