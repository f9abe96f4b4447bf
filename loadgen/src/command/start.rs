//! From a command line to a running flood: checks what this machine allows, runs the plan, and reports.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::print::print;
use crate::input::destination::Destination;
use crate::input::error::Failure;
use crate::input::options::ConnectArgs;
use crate::input::plan::{Plan, check_descriptors, check_ports};
use crate::input::target::Target;
use crate::output::assertion::conclude;
use crate::output::files::Files;
use crate::output::report::Report;
use crate::run::Launch;
use crate::scenario::Scenario;
use crate::scenario::args::ScenarioArgs;

/// Runs a scenario, prints and writes its report. Returns the exit status.
pub(crate) fn run_scenario(scenario: &Scenario) -> Result<u8, Failure> {
    let args = scenario.args();
    let output = args.output();
    let plan = plan(args)?;
    // Before the flood: a run whose report cannot be written must not start.
    let files = Files::create(&output.report)?;
    let report = flood(&plan, args)?;
    print(&report, &output.report)?;
    files.write(&report)?;
    Ok(report.exit_code(output.strict))
}

/// A seed for a run that does not name one.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one("loadgen")
}

/// Checks the plan of a scenario, and what this machine allows.
pub(crate) fn plan(args: &dyn ScenarioArgs) -> Result<Plan, Failure> {
    let connect = args.connect();
    let destinations = connect.urls().map(|url| destination(url, connect)).collect::<Result<_, _>>()?;
    let seed = connect.seed.unwrap_or_else(random_seed);
    let plan = Plan::check(args.outline()?, connect, destinations, seed)?;
    check_descriptors(plan.descriptors(), raise_descriptor_limit(plan.descriptors()))?;
    let ports = ephemeral_ports();
    for Destination { target, endpoints } in &plan.destinations {
        let pairs = plan.sources.len().max(1) * endpoints.len();
        check_ports(plan.connections_of_one(), pairs, if target.socket.is_some() { None } else { ports })?;
    }
    Ok(plan)
}

/// A server by its URL, with the addresses to connect to.
fn destination(url: &str, connect: &ConnectArgs) -> Result<Destination, Failure> {
    let target = Target::parse(url)?;
    let addresses = if target.socket.is_some() { Vec::new() } else { resolve(&target)? };
    let addresses =
        if connect.all_addresses { addresses } else { answering_first(addresses, connect.i_own_this_server) };
    Ok(Destination::check(target, &addresses, connect)?)
}

fn resolve(target: &Target) -> Result<Vec<SocketAddr>, Failure> {
    let resolved = (target.host.as_str(), target.port).to_socket_addrs();
    let mut addresses: Vec<_> = resolved
        .map_err(|error| format!("{}: {error}; check the name, and /etc/hosts or the DNS", target.host))?
        .collect();
    addresses.dedup();
    Ok(addresses)
}

/// Limit on the time that one of several addresses may take to answer.
const ADDRESS_WAIT: Duration = Duration::from_secs(1);

/// Moves the first address that answers to the front, if there are several. A name such as `localhost` has addresses of
/// both families, and the server may listen on one only.
fn answering_first(mut addresses: Vec<SocketAddr>, is_owned: bool) -> Vec<SocketAddr> {
    // The plan is not checked yet, so no other machine may be dialled without permission.
    let is_ours = is_owned || addresses.iter().all(|address| address.ip().to_canonical().is_loopback());
    if addresses.len() > 1 && is_ours {
        let answers = |address: &SocketAddr| TcpStream::connect_timeout(address, ADDRESS_WAIT).is_ok();
        if let Some(at) = addresses.iter().position(answers) {
            addresses.swap(0, at);
        }
    }
    addresses
}

/// Runs a plan, and checks the conditions on its report.
pub(crate) fn flood(plan: &Plan, args: &dyn ScenarioArgs) -> Result<Report, Failure> {
    let output = args.output();
    let outcome = args.run(Launch { plan, output, stop: stop_flag()?, supervisor: None })?;
    let mut report = Report::new(plan, &outcome);
    conclude(&mut report, &output.report);
    Ok(report)
}

/// A flag that the first SIGINT or SIGTERM sets. The second one ends the process.
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

/// Raises the soft limit of descriptors as far as needed and allowed. Returns the limit; `None`: there is none.
fn raise_descriptor_limit(needed: u64) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let soft = current?;
    let wanted = needed.min(maximum.unwrap_or(needed));
    if soft < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        return Some(wanted);
    }
    Some(soft)
}

/// Number of ports for outgoing connections of one source address; `None`: unknown.
fn ephemeral_ports() -> Option<u32> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = range.split_whitespace().map(str::parse::<u32>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    Some(last.saturating_sub(first) + 1)
}
