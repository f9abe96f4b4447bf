//! The progress line on stderr, when that is a terminal.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::SECOND;
use crate::fleet::Progress;
use crate::report::grouped;
use crate::schedule::Phase;

/// Shows what the fleet is doing, and the rate since the line was drawn last.
#[derive(Debug)]
pub(crate) struct Line {
    bar: Option<ProgressBar>,
    last: Option<Progress>,
}

impl Line {
    pub(crate) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { bar, last: None }
    }

    /// Draws the line anew.
    pub(crate) fn show(&mut self, progress: Progress) {
        let Some(bar) = &self.bar else { return };
        let (since, echoed) = self.last.map_or((0, 0), |last| (last.now, last.echoed));
        let elapsed = (progress.now - since).max(1);
        let rate = u128::from(progress.echoed - echoed) * u128::from(SECOND) / u128::from(elapsed);
        let phase = match progress.phase {
            Phase::Connecting => "connecting",
            Phase::WarmUp => "warming up",
            Phase::Measuring => "measuring",
            Phase::Draining => "awaiting answers",
            Phase::Closing => "closing",
            Phase::Over => "over",
        };
        let seconds = progress.now / SECOND;
        let (open, rate) = (grouped(progress.open as u64), grouped(rate as u64));
        bar.set_message(format!("{phase}  {seconds} s  {open} connections  {rate} msgs/s"));
        bar.tick();
        self.last = Some(progress);
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
