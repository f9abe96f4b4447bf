//! A load generator that floods any WebSocket server and tells the truth about it.

mod cli;
mod clock;
mod echo;
mod fleet;
mod payload;
mod plan;
mod progress;
mod record;
mod report;
mod schedule;

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::{self, Write as _};
use std::net::ToSocketAddrs as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use switchboard::proto::MaskingKeys;
use switchboard::proto::client::ClientRequest;

use self::cli::{Cli, Command, EchoArgs, Mask};
use self::echo::Echo;
use self::fleet::Fleet;
use self::plan::{Plan, Target, check_descriptors};
use self::progress::Line;
use self::record::Record;
use self::report::Report;

type Failure = Box<dyn std::error::Error>;

/// The exit status of a run that could not start.
const NOT_STARTED: u8 = 2;
/// The masking-key of `--mask fixed`.
const FIXED_KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn main() -> ExitCode {
    let Command::Echo(args) = Cli::parse().command;
    match echo(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // There is nowhere else to say it.
            let _ = writeln!(io::stderr(), "loadgen: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// Runs the scenario `echo`; gives the exit status.
fn echo(args: &EchoArgs) -> Result<u8, Failure> {
    let target = Target::parse(&args.url)?;
    let addresses: Vec<_> = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(|error| format!("{}: {error}", target.host))?
        .collect();
    let seed = args.seed.unwrap_or_else(|| RandomState::new().hash_one("loadgen"));
    let plan = Plan::check(args, target, &addresses, seed)?;
    check_descriptors(plan.descriptors(), raise_descriptor_limit(plan.descriptors()))?;
    // Opened before the flood: a run whose report cannot be kept is a run for nothing.
    let mut json = args.json.as_ref().map(File::create).transpose()?;

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends the process at once.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }

    let record = flood(&plan, &stop)?;
    let report = Report::new(&plan, &record, stop.load(Ordering::Relaxed));
    write!(io::stdout(), "{report}")?;
    if let Some(file) = &mut json {
        file.write_all(report.json().as_bytes())?;
    }
    Ok(report.verdict.exit_code())
}

fn flood(plan: &Plan, stop: &AtomicBool) -> Result<Record, Failure> {
    let subprotocols: Vec<&str> = plan.subprotocols.iter().map(String::as_str).collect();
    let fields: Vec<(&str, &str)> =
        plan.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let request = ClientRequest {
        host: &plan.target.authority,
        target: &plan.target.path_and_query,
        origin: plan.origin.as_deref(),
        subprotocols: &subprotocols,
        fields: &fields,
        ..ClientRequest::default()
    };
    let keys = match plan.mask {
        Mask::Fixed => MaskingKeys::Fixed(FIXED_KEY),
        Mask::Random => MaskingKeys::Seeded(plan.seed),
    };
    let fleet = Fleet::new(plan, request, Echo::new(plan, keys), Record::new()?)?;
    let mut line = Line::new();
    let record = fleet.run(stop, |progress| line.show(progress))?;
    line.clear();
    Ok(record)
}

/// Raises the soft limit of descriptors as far as needed and allowed; `None`: there is none.
fn raise_descriptor_limit(needed: u64) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let soft = current?;
    let wanted = needed.min(maximum.unwrap_or(needed));
    if soft < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        return Some(wanted);
    }
    Some(soft)
}
