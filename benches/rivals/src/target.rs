//! What ours is to reach, and whether it does.

use crate::cell::Load;
use crate::compare::{Row, Table};
use crate::contender::{FLOOR, OURS};
use crate::metric::{CPU, Metric};

/// What a figure of ours is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Against {
    /// The figure itself is bounded.
    Nothing,
    /// Another figure of ours.
    Own(Metric),
    /// The same figure of that server, round by round.
    Server(&'static str),
    /// The same figure of the contender with the least, the floor apart.
    BestRival,
}

/// A bound for a figure of ours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    /// Whose figure it is.
    server: &'static str,
    metric: Metric,
    against: Against,
    bound: f64,
    is_at_most: bool,
}

/// What came of a target.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Outcome {
    pub(crate) target: String,
    /// The figure or the ratio that is bounded; none when a server that it needs was not measured.
    pub(crate) value: Option<f64>,
    pub(crate) is_met: Option<bool>,
}

impl Target {
    pub(crate) fn at_most(bound: f64, metric: Metric, against: Against) -> Self {
        Self { server: OURS, metric, against, bound, is_at_most: true }
    }

    pub(crate) fn at_least(bound: f64, metric: Metric, against: Against) -> Self {
        Self { server: OURS, metric, against, bound, is_at_most: false }
    }

    /// Of another build of ours, or of ours with other options.
    pub(crate) fn of(self, server: &'static str) -> Self {
        Self { server, ..self }
    }

    pub(crate) fn outcome(&self, table: &Table) -> Outcome {
        let value = table.row(self.server).and_then(|ours| self.value(table, ours));
        let is_met =
            value.map(|value| if self.is_at_most { value <= self.bound } else { value >= self.bound });
        Outcome { target: self.to_string(), value, is_met }
    }

    fn value(&self, table: &Table, ours: &Row) -> Option<f64> {
        match self.against {
            Against::Nothing => ours.median(self.metric),
            Against::Own(other) => Some(ours.median(self.metric)? / ours.median(other)?),
            Against::Server(name) => ours.ratio_to(table.row(name)?, self.metric),
            Against::BestRival => {
                let rivals = table.rows.iter().filter(|row| row.is_rival && row.name != FLOOR);
                let least = rivals.filter_map(|row| row.median(self.metric)).min_by(f64::total_cmp)?;
                Some(ours.median(self.metric)? / least)
            }
        }
    }
}

/// A message at 10,000 connections costs at most this many times what it costs at 100.
const MANY_TO_FEW: f64 = 1.25;

/// Targets that are about two cells: the same echo with few connections and with many.
pub(crate) fn across(tables: &[Table]) -> Vec<Outcome> {
    let ours = |table: &Table| table.ours()?.median(CPU);
    let floor = |table: &Table| table.row(FLOOR)?.median(CPU);
    let mut outcomes = Vec::new();
    for few in tables {
        let Load::Echo { size, connections: 100, in_flight } = few.cell.load else { continue };
        let many = tables.iter().find(|table| {
            matches!(table.cell.load, Load::Echo { size: other, connections: 10_000, in_flight: depth }
                if (other, depth) == (size, in_flight))
        });
        let Some(value) = many.and_then(|many| Some(ours(many)? / ours(few)?)) else { continue };
        let of_floor = many.and_then(|many| Some(floor(many)? / floor(few)?));
        let of_floor =
            of_floor.map_or_else(String::new, |of_floor| format!(", where the floor has {of_floor:.3} x"));
        outcomes.push(Outcome {
            target: format!(
                "echo {size} B x {in_flight} in flight: CPU at 10000 connections at most {MANY_TO_FEW} x that at 100{of_floor}"
            ),
            value: Some(value),
            is_met: Some(value <= MANY_TO_FEW),
        });
    }
    outcomes
}

/// User-space instructions per message.
pub(crate) fn instructions(case: &str, bound: u64, count: u64) -> Outcome {
    Outcome {
        target: format!("instructions per message, {case}: at most {bound}"),
        value: Some(count as f64),
        is_met: Some(count <= bound),
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { metric, bound, .. } = self;
        if self.server != OURS {
            write!(f, "{}: ", self.server)?;
        }
        let relation = if self.is_at_most { "at most" } else { "at least" };
        match self.against {
            Against::Nothing => write!(f, "{} {relation} {}", metric.title, metric.show(*bound)),
            Against::Own(other) => write!(f, "{} {relation} {bound} x \"{}\"", metric.title, other.title),
            Against::Server(name) => write!(f, "{} {relation} {bound} x that of {name}", metric.title),
            Against::BestRival => write!(f, "{} {relation} {bound} x that of the best rival", metric.title),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self.is_met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        write!(f, "{}: {word}", self.target)?;
        self.value.map_or(Ok(()), |value| write!(f, " ({value:.3})"))
    }
}
