//! What people see of a running flood on stderr, when that is a terminal: one line, or a small view.

use std::io::{self, IsTerminal as _};

use console::{Term, style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::{Nanos, SECOND};
use crate::fleet::Snapshot;
use crate::plan::Plan;
use crate::report::figures::{Time, grouped};
use crate::schedule::Phase;

/// The view is drawn anew so often.
const REDRAW: Nanos = SECOND / 4;
/// Rates that the view shows as a curve.
const CURVE_LEN: usize = 60;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Shows what the fleet is doing, and the rate since it was drawn last.
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
    /// `is_tui`: the small view is wanted, and there is a terminal for it.
    pub(crate) fn new(is_tui: bool, plan: &Plan) -> Self {
        let title = format!("loadgen {}  {}", plan.kind.name(), plan.target.url);
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

    /// Draws anew.
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
                // A terminal that cannot be drawn on shows nothing.
                let _ = term.clear_last_lines(*lines);
                *lines = text.lines().count();
                let _ = term.write_str(&text);
            }
        }
    }

    /// Takes it away.
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
        format!("              {}\n", style(curve(rates)).cyan()),
    ]
    .join("\n")
}

/// The last rates, one character each.
fn curve(rates: &[u64]) -> String {
    let rates = &rates[rates.len().saturating_sub(CURVE_LEN)..];
    let most = rates.iter().copied().max().unwrap_or(0).max(1);
    rates.iter().map(|rate| LEVELS[(rate * 7 / most) as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_shows_the_newest_rates_by_their_share_of_the_highest() {
        assert_eq!(curve(&[]), "");
        assert_eq!(curve(&[0, 50, 100]), "▁▄█");
        assert_eq!(curve(&[7; 200]).chars().count(), CURVE_LEN);
    }

    #[test]
    fn what_goes_wrong_stands_in_the_line() {
        let snapshot = Snapshot { open: 1234, ..Snapshot::default() };
        let text = line(2 * SECOND, &snapshot, 56_789);
        assert_eq!(text, "connecting  2 s  1,234 connections  56,789 msgs/s");
        let text = line(0, &Snapshot { faults: 2, failures: 1, ..snapshot }, 0);
        assert!(console::strip_ansi_codes(&text).ends_with("3 wrong"), "{text}");
    }
}
