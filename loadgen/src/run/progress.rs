//! The view of a running flood on stderr, if stderr is a terminal: one line, or a small screen.

use std::io::{self, IsTerminal as _};

use console::style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen::Screen;
use super::shared::Snapshot;
use crate::clock::{Nanos, SECOND};
use crate::output::figures::{grouped, per_second, rate as shown};

/// Interval between two drawings.
const REDRAW: Nanos = SECOND / 4;

/// Shows the figures of the run, and the rate since the last drawing.
#[derive(Debug)]
pub(crate) struct View {
    drawn: Drawn,
    last: Option<(Nanos, Snapshot)>,
}

#[derive(Debug)]
enum Drawn {
    Nothing,
    Line(ProgressBar),
    Screen(Box<Screen>),
}

impl View {
    /// One line if stderr is a terminal, or else nothing.
    pub(crate) fn new() -> Self {
        let drawn = if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {msg}");
            Drawn::Line(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner())))
        } else {
            Drawn::Nothing
        };
        Self { drawn, last: None }
    }

    /// A screen that can be steered.
    pub(super) fn screen(screen: Screen) -> Self {
        Self { drawn: Drawn::Screen(Box::new(screen)), last: None }
    }

    /// Obeys the keys that were pressed. Returns whether there were any.
    pub(crate) fn obey(&mut self, now: Nanos) -> bool {
        let Drawn::Screen(screen) = &mut self.drawn else { return false };
        let has_obeyed = screen.obey(now);
        if has_obeyed {
            // The effect is shown at once.
            self.last = None;
        }
        has_obeyed
    }

    /// Draws again, unless the last drawing is too recent.
    pub(crate) fn show(&mut self, now: Nanos, snapshot: &Snapshot) {
        let (since, before) = self.last.map_or((0, 0), |(at, last)| (at, last.answered));
        if matches!(self.drawn, Drawn::Nothing) || self.last.is_some() && now < since + REDRAW {
            return;
        }
        self.last = Some((now, *snapshot));
        match &mut self.drawn {
            Drawn::Nothing => {}
            Drawn::Line(bar) => {
                let answered = snapshot.answered.saturating_sub(before);
                bar.set_message(line(now, snapshot, per_second(answered, now - since)));
                bar.tick();
            }
            Drawn::Screen(screen) => screen.draw(now, snapshot),
        }
    }

    /// Removes the view.
    pub(crate) fn clear(&mut self) {
        if let Drawn::Line(bar) = &mut self.drawn {
            bar.finish_and_clear();
        }
        self.drawn = Drawn::Nothing;
    }
}

fn line(now: Nanos, snapshot: &Snapshot, rate: f64) -> String {
    let Snapshot { phase, open, faults, failures, .. } = *snapshot;
    let (phase, seconds, open, rate) = (phase.name(), now / SECOND, grouped(open), shown(rate));
    let wrong = match faults + failures {
        0 => String::new(),
        count => format!("  {}", style(format!("{} wrong", grouped(count))).red()),
    };
    format!("{phase}  {seconds} s  {open} connections  {rate} msgs/s{wrong}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_what_went_wrong() {
        let snapshot = Snapshot { open: 1234, ..Snapshot::default() };
        let text = line(2 * SECOND, &snapshot, 56_789.0);
        assert_eq!(text, "connecting  2 s  1,234 connections  56,789 msgs/s");
        let text = line(0, &Snapshot { faults: 2, failures: 1, ..snapshot }, 0.0);
        assert!(console::strip_ansi_codes(&text).ends_with("3 wrong"), "{text}");
    }
}
