//! A load generator that floods any WebSocket server and checks every answer.
//!
//! Its rooms are layers. Each names only the rooms above it in this list:
//!
//! | room | what it holds |
//! |---|---|
//! | `clock` | the clocks |
//! | `input` | options that scenarios share, conditions, and the checked plan of a run |
//! | `output` | what a run recorded, the report of it, and the report's formats |
//! | `run` | the event loops, the schedule, and the seam to what connections say ([`run::workload::Workload`]) |
//! | `scenario` | one file for each scenario: its options and its workload |
//! | `command` | the command line and the subcommands |

mod clock;
mod command;
mod input;
mod output;
mod run;
mod scenario;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use self::command::cli::{Cli, Command};
use self::command::remote::{agent, lead};
use self::command::{compare, merge, pages, search, start};

/// The exit status of a run that could not start.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(scenario) => start::run_scenario(&scenario),
        Command::Search(args) => search::search(args),
        Command::Compare(args) => compare::compare(&args),
        Command::Merge(args) => merge::merge(&args),
        Command::Agent(args) => agent::agent(&args),
        Command::Lead(args) => lead::lead(&args),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // If stderr is closed, the exit status is all that is left to say it with.
            let _ = writeln!(io::stderr(), "loadgen: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}
