//! Prints a report.

use std::io::{self, IsTerminal as _, Write as _};

use crate::input::options::{ReportArgs, When};
use crate::output::report::Report;
use crate::output::text::WithBars;

/// Prints the text of a report to stdout.
pub(super) fn print(report: &Report, args: &ReportArgs) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let has_bars = match args.bars {
        When::Auto => out.is_terminal(),
        When::Always => true,
        When::Never => false,
    };
    if has_bars { write!(out, "{}", WithBars(report)) } else { write!(out, "{report}") }
}
