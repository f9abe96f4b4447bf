//! A load generator that floods any WebSocket server and tells the truth about it.

mod buckets;
mod cli;
mod clock;
mod compare;
mod condition;
mod fleet;
mod merge;
mod metrics;
mod output;
mod payload;
mod plan;
mod process;
mod progress;
mod record;
mod report;
mod run;
mod scenario;
mod schedule;
mod search;
mod series;
mod start;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use self::cli::{Cli, Command};

/// The exit status of a run that could not start.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    let done = match &Cli::parse().command {
        Command::Run(scenario) => start::scenario(scenario),
        Command::Search(args) => search::search(args),
        Command::Compare(args) => compare::compare(args),
        Command::Merge(args) => merge::merge(args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // There is nowhere else to say it.
            let _ = writeln!(io::stderr(), "loadgen: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}
