//! A table for each cell.

use std::fmt::Write as _;

use crate::compare::Table;

/// One cell: the medians of each server, and its ratio to the floor and of ours to it.
pub(crate) fn table(table: &Table) -> String {
    let metrics = table.cell.metrics();
    let mut out = format!("\n{}\n{:22}", table.cell.name, "");
    for metric in metrics {
        let _ = write!(out, " {:>17}", metric.title);
    }
    let first = metrics[0];
    let _ = writeln!(out, " {:>10} {:>12}", "to floor", "ours to it");
    for row in &table.rows {
        let _ = write!(out, "{:22}", row.name);
        for &metric in metrics {
            let median = row.median(metric);
            let _ = write!(out, " {:>17}", median.map_or_else(|| "-".into(), |value| metric.show(value)));
        }
        let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.3}"));
        let to_floor = table.floor().and_then(|floor| row.ratio_to(floor, first));
        let ours = table.ours().and_then(|ours| ours.ratio_to(row, first));
        let _ = writeln!(out, " {:>10} {:>12}", ratio(to_floor), ratio(ours));
        if let Some(failure) = row.failure() {
            let _ = writeln!(out, "{:22} failed: {failure}", "");
        }
    }
    for target in &table.cell.targets {
        let _ = writeln!(out, "  {}", target.outcome(table));
    }
    out
}
