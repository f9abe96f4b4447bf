//! The view of a running flood on stderr, if stderr is a terminal: one line, or a small screen.

use std::io::{self, IsTerminal as _};

use console::{Term, style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::schedule::Phase;
use super::shared::Snapshot;
use crate::clock::{Nanos, SECOND};
use crate::input::plan::Plan;
use crate::output::bars::curve;
use crate::output::figures::{Time, grouped};

/// Interval between two drawings.
const REDRAW: Nanos = SECOND / 4;
/// Number of rates in the curve.
const CURVE_LEN: usize = 60;

/// Shows the figures of the run, and the rate since the last drawing.
#[derive(Debug)]
pub(crate) struct View {
    drawn: Drawn,
    title: String,
    last: Option<(Nanos, Snapshot)>,
}

#[derive(Debug)]
enum Drawn {
    Nothing,
    Line(ProgressBar),
    Screen { term: Term, lines: usize, rates: Vec<u64> },
}

impl View {
    /// `is_tui`: show the small screen; stderr is a terminal.
    pub(crate) fn new(is_tui: bool, plan: &Plan) -> Self {
        let title = format!("loadgen {}  {}", plan.name, plan.url());
        let drawn = if is_tui {
            Drawn::Screen { term: Term::stderr(), lines: 0, rates: Vec::new() }
        } else if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {msg}");
            Drawn::Line(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner())))
        } else {
            Drawn::Nothing
        };
        Self { drawn, title, last: None }
    }

    /// Draws again, unless the last drawing is too recent.
    pub(crate) fn show(&mut self, now: Nanos, snapshot: &Snapshot) {
        if matches!(self.drawn, Drawn::Nothing) {
            return;
        }
        let (since, before) = self.last.map_or((0, 0), |(at, last)| (at, last.answered));
        if now < since + REDRAW {
            return;
        }
        let elapsed = u128::from((now - since).max(1));
        let answered = snapshot.answered.saturating_sub(before);
        let rate = (u128::from(answered) * u128::from(SECOND) / elapsed) as u64;
        self.last = Some((now, *snapshot));
        match &mut self.drawn {
            Drawn::Nothing => {}
            Drawn::Line(bar) => {
                bar.set_message(line(now, snapshot, rate));
                bar.tick();
            }
            Drawn::Screen { term, lines, rates } => {
                if snapshot.phase == Phase::Measuring {
                    rates.push(rate);
                }
                let text = screen(&self.title, now, snapshot, rate, rates);
                // A terminal that refuses the write shows nothing; the run goes on.
                let _ = term.clear_last_lines(*lines);
                *lines = text.lines().count();
                let _ = term.write_str(&text);
            }
        }
    }

    /// Removes the view.
    pub(crate) fn clear(&mut self) {
        match &mut self.drawn {
            Drawn::Nothing => {}
            Drawn::Line(bar) => bar.finish_and_clear(),
            Drawn::Screen { term, lines, .. } => {
                let _ = term.clear_last_lines(std::mem::take(lines));
            }
        }
    }
}

fn line(now: Nanos, snapshot: &Snapshot, rate: u64) -> String {
    let Snapshot { phase, open, faults, failures, .. } = *snapshot;
    let (phase, seconds, open, rate) = (phase.name(), now / SECOND, grouped(open), grouped(rate));
    let wrong = match faults + failures {
        0 => String::new(),
        count => format!("  {}", style(format!("{} wrong", grouped(count))).red()),
    };
    format!("{phase}  {seconds} s  {open} connections  {rate} msgs/s{wrong}")
}

#[expect(clippy::cast_sign_loss, reason = "latencies are not negative")]
fn screen(title: &str, now: Nanos, snapshot: &Snapshot, rate: u64, rates: &[u64]) -> String {
    let Snapshot { phase, open, sent, answered, faults, failures, p50, p99 } = *snapshot;
    let wrong = |count: u64| {
        let text = style(grouped(count));
        if count > 0 { text.red() } else { text.green() }
    };
    [
        style(title).bold().to_string(),
        format!("phase         {}, {} s", phase.name(), now / SECOND),
        format!("connections   {} open, {} failed", grouped(open), wrong(failures)),
        format!(
            "messages      {} sent, {} answered, {} wrong",
            grouped(sent),
            grouped(answered),
            wrong(faults)
        ),
        format!("latency now   p50 {}  p99 {}", Time(p50 as u64), Time(p99 as u64)),
        format!("throughput    {} msgs/s", grouped(rate)),
        format!("              {}\n", style(newest(rates)).cyan()),
    ]
    .join("\n")
}

/// The newest rates, one character each.
fn newest(rates: &[u64]) -> String {
    curve(&rates[rates.len().saturating_sub(CURVE_LEN)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_has_the_newest_rates() {
        assert_eq!(newest(&[0, 50, 100]), "▁▄█");
        let rates: Vec<u64> = (0..200).collect();
        assert_eq!((newest(&rates).chars().count(), newest(&rates).chars().next()), (CURVE_LEN, Some('▅')));
    }

    #[test]
    fn the_line_counts_what_went_wrong() {
        let snapshot = Snapshot { open: 1234, ..Snapshot::default() };
        let text = line(2 * SECOND, &snapshot, 56_789);
        assert_eq!(text, "connecting  2 s  1,234 connections  56,789 msgs/s");
        let text = line(0, &Snapshot { faults: 2, failures: 1, ..snapshot }, 0);
        assert!(console::strip_ansi_codes(&text).ends_with("3 wrong"), "{text}");
    }
}
