//! The command line of `loadgen`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::input::condition::{Condition, RatioCondition};
use crate::input::options::ReportArgs;
use crate::scenario::Scenario;

/// Floods a WebSocket server, checks every answer, and reports what the server did.
///
/// Exit status: 0 everything was correct, 1 a message was lost or wrong or a connection failed, 2 the run could not
/// start, 3 an --assert, --fail-if or --until condition decided against the run, 4 with --strict: the generator itself
/// was the limit, 130 the run was interrupted.
#[derive(Debug, Parser)]
#[command(version, term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Run(Scenario),
    /// Search the highest rate at which a scenario keeps its --until conditions
    ///
    /// Runs the scenario at doubling rates until a condition breaks, halves the distance, and confirms the result with a
    /// second run at that rate. Exit status 3 if not even the lowest rate holds.
    Search(SearchArgs),
    /// Compare two reports: ratios of their figures with bootstrap confidence
    Compare(CompareArgs),
    /// Merge the reports of several processes of one run
    Merge(MergeArgs),
    /// Run scenarios for a lead on another machine, until the process is ended
    Agent(AgentArgs),
    /// Run a scenario on several agents at the same time, and merge their reports
    ///
    /// Each agent has its share of --connections and of all rates. The lead compares the clocks, waits until all agents
    /// have opened their connections, and lets them send the first message at one instant. The options of the lead come
    /// before the scenario. Exit status 1 if an agent was lost.
    Lead(LeadArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print a man page, or write all of them
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// A condition that must hold, such as 'p99<10ms'; may be repeated, before the scenario or after it
    #[arg(long, value_name = "CONDITION", global = true)]
    pub(crate) until: Vec<Condition>,
    /// Lowest rate to try
    #[arg(long, value_name = "R", default_value_t = 1000.0, global = true)]
    pub(crate) from: f64,
    /// Highest rate to try
    #[arg(long, value_name = "R", default_value_t = 4_000_000.0, global = true)]
    pub(crate) to: f64,
    /// Stop when the rate is known with this relative precision
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, global = true)]
    pub(crate) precision: f64,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The report to compare with: the baseline
    pub(crate) base: PathBuf,
    /// The new report
    pub(crate) new: PathBuf,
    /// A condition on a ratio new / base, such as 'p99>1.1x'; exit status 3 if it holds with confidence; may be repeated
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_if: Vec<RatioCondition>,
    /// Also fail if a condition holds without confidence, and if a report is client-bound (exit status 4)
    #[arg(long)]
    pub(crate) strict: bool,
    /// Also compare reports of failed or interrupted runs, and of different plans
    #[arg(long)]
    pub(crate) anyway: bool,
    /// Write the comparison as one HTML page with the charts of both runs
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Seed of the resampling
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// The secret that agents and their lead share.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// File with the token that agents and their lead share, 16 characters or more [default: the environment variable
    /// `LOADGEN_TOKEN`]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Where to listen for a lead
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7070")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LeadArgs {
    /// An agent; may be repeated, before the scenario
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub(crate) agent: Vec<String>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell that completes
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Subcommand whose page is wanted, such as `echo` [default: the page of loadgen]
    #[arg(value_name = "SUBCOMMAND", conflicts_with = "dir")]
    pub(crate) subcommand: Option<String>,
    /// Write the pages of all subcommands into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// Reports of processes that ran at the same time, written by --json
    #[arg(required = true, num_args = 1..)]
    pub(crate) reports: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: ReportArgs,
}
