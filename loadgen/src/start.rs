//! From a command line to a running flood: what has to be checked on this machine first.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cli::{OutputArgs, Scenario};
use crate::output::Files;
use crate::plan::{Plan, Target, check_descriptors, check_ports, connect_of, output_of};
use crate::report::Report;
use crate::run::{Beside, Failure, run};

/// Runs a scenario, prints and writes its report; gives the exit status.
pub(crate) fn scenario(scenario: &Scenario) -> Result<u8, Failure> {
    let output = output_of(scenario);
    let plan = plan(scenario)?;
    // Opened before the flood: a run whose report cannot be kept is a run for nothing.
    let files = Files::create(output.json.as_deref(), output.html.as_deref(), output.csv.as_deref())?;
    let report = flood(&plan, output)?;
    write!(io::stdout(), "{report}")?;
    files.write(&report)?;
    Ok(report.exit_code(output.strict))
}

/// Checks the plan of a scenario, and what this machine allows.
pub(crate) fn plan(scenario: &Scenario) -> Result<Plan, Failure> {
    let connect = connect_of(scenario);
    let target = Target::parse(&connect.url)?;
    let addresses: Vec<_> = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(|error| format!("{}: {error}", target.host))?
        .collect();
    let addresses = answering_first(addresses);
    let seed = connect.seed.unwrap_or_else(|| RandomState::new().hash_one("loadgen"));
    let plan = Plan::check(scenario, target, &addresses, seed)?;
    check_descriptors(plan.descriptors(), raise_descriptor_limit(plan.descriptors()))?;
    check_ports(plan.connections, plan.sources.len(), ephemeral_ports())?;
    Ok(plan)
}

/// How long an address of several may take to answer before the next one is tried.
const ADDRESS_WAIT: Duration = Duration::from_secs(1);

/// The address that answers first in the order in which they came; where a name has one only, nobody is asked. A name such as
/// `localhost` has addresses of both families, and a server may listen on one.
fn answering_first(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.dedup();
    // No stranger is dialled before the plan allows it.
    let is_ours = addresses.iter().all(|address| address.ip().to_canonical().is_loopback());
    if addresses.len() > 1 && is_ours {
        let answers = |address: &SocketAddr| TcpStream::connect_timeout(address, ADDRESS_WAIT).is_ok();
        if let Some(at) = addresses.iter().position(answers) {
            addresses.swap(0, at);
        }
    }
    addresses
}

/// Runs a plan, and checks the conditions on its report.
pub(crate) fn flood(plan: &Plan, output: &OutputArgs) -> Result<Report, Failure> {
    let beside = Beside { pid: output.pid, metrics: output.metrics, tui: output.tui };
    let outcome = run(plan, beside, &stop_flag()?)?;
    let mut report = Report::new(plan, &outcome);
    report.assertions = output.assert.iter().map(|condition| condition.check(&report)).collect();
    Ok(report)
}

/// Set by the first signal that asks the process to end; the second one ends it at once.
pub(crate) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(stop) = STOP.get() {
        return Ok(Arc::clone(stop));
    }
    let stop = Arc::clone(STOP.get_or_init(Arc::default));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
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

/// Ports that the kernel gives to outgoing connections of one address; `None`: it does not say.
fn ephemeral_ports() -> Option<u32> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = range.split_whitespace().map(str::parse::<u32>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    Some(last.saturating_sub(first) + 1)
}
