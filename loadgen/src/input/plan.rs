//! The checked plan of a run. Pure: this file resolves, opens and reads nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use switchboard::proto::MessageKind;
use switchboard::proto::head::is_token;

use super::destination::Destination;
use super::error::PlanError;
use super::options::{ConnectArgs, Mask, TimeArgs, TrafficArgs};
use super::target::Endpoint;
use super::values::{Arrivals, MAX_RATE, Sizes, Stages, ThinkTime};
use crate::clock::steering::Steering;
use crate::clock::{Nanos, SECOND, nanos};

/// Limit on the connections of one process; `loadgen merge` joins the reports of several.
const MAX_CONNECTIONS: u32 = 1_000_000;
/// Limit on the URLs of one run; the report has figures for each.
const MAX_URLS: usize = 64;
/// Limit on the event loops of one process.
const MAX_THREADS: u32 = 256;
/// Longest run.
pub(crate) const MAX_DURATION: Duration = Duration::from_hours(24);
/// Longest payload in bytes.
pub(crate) const MAX_SIZE: usize = 16 << 20;
/// Limit on the bytes that all connections together have in flight, for the memory of the server and of the generator.
const MAX_IN_FLIGHT_BYTES: u64 = 1 << 30;
/// Limit on the unanswered messages of one connection in an open loop. Messages beyond it are late, and the report
/// counts them.
pub(crate) const MAX_IN_FLIGHT: u64 = 65_536;
/// Limit on the events of a Poisson process: 256 MiB of memory for each thread.
const MAX_RANDOM_EVENTS: f64 = 68_719_476_736.0;
/// Descriptors besides the connections: standard streams, event queues, timers, reports.
const OTHER_DESCRIPTORS: u64 = 16;
const DESCRIPTORS_PER_THREAD: u64 = 4;
/// Default of `--connect-burst`.
const CONNECT_BURST: u32 = 64;

/// Fields that the opening handshake itself writes.
const OWN_FIELDS: [&str; 8] = [
    "host",
    "connection",
    "upgrade",
    "origin",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];

/// What decides when messages go out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Load {
    /// Closed loop: answers trigger messages.
    Closed,
    /// Open loop: messages per second over all connections.
    Rate(f64),
    /// Open loop: messages per second over all connections, which change over time.
    Stages(Stages),
}

/// When messages go out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pacing {
    pub(crate) load: Load,
    /// How the messages of an open loop are spread over time.
    pub(crate) arrivals: Arrivals,
    /// The seed of random arrivals.
    pub(crate) seed: u64,
    /// What a person does to the rate while the run lasts.
    pub(crate) steering: Steering,
    /// The first stage begins after the warm-up.
    pub(crate) warmup: Nanos,
    /// Limit on the unanswered messages of each connection.
    pub(crate) pipeline: u64,
}

impl Pacing {
    /// Whether the clock decides when messages go out.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.load, Load::Closed)
    }

    /// The stages of a rate that changes.
    pub(crate) fn stages(&self) -> Option<&Stages> {
        if let Load::Stages(stages) = &self.load { Some(stages) } else { None }
    }

    /// Messages per second, if they are constant.
    pub(crate) fn rate(&self) -> Option<f64> {
        if let Load::Rate(rate) = self.load { Some(rate) } else { None }
    }
}

/// The latency that the intervals of a report show, and that a condition without a group means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Primary {
    /// From the actual send.
    Send,
    /// From the planned instant.
    Plan,
    /// Of opening handshakes, from the planned instant of the dial.
    Handshake,
}

impl Primary {
    /// Its name in the JSON report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Plan => "plan",
            Self::Handshake => "handshake",
        }
    }
}

/// What the `--rate` of a scenario counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Paced {
    /// Messages per second.
    #[default]
    Messages,
    /// New connections per second.
    Connections,
    /// The scenario has no rate: connections are held.
    Nothing,
}

/// What a scenario adds to the options that all scenarios share.
#[derive(Debug)]
pub(crate) struct Outline {
    /// The name of the subcommand.
    pub(crate) name: &'static str,
    pub(crate) time: TimeArgs,
    pub(crate) traffic: TrafficArgs,
    pub(crate) paced: Paced,
    /// What the report calls an answer, such as `echoed`.
    pub(crate) answered: &'static str,
    /// Numbers of the scenario's own options for the report, by their names in the JSON.
    pub(crate) details: BTreeMap<String, u64>,
    /// Subprotocols to offer if the command line names none.
    pub(crate) subprotocols: &'static [&'static str],
    /// Whether all opening handshakes may be in progress at the same time.
    pub(crate) connects_at_once: bool,
    /// Closed loop: the time between an answer and the next message of the connection.
    pub(crate) think: Option<ThinkTime>,
}

impl Outline {
    /// A scenario with messages that are answered.
    pub(crate) fn new(name: &'static str, time: &TimeArgs, traffic: &TrafficArgs) -> Self {
        Self {
            name,
            time: time.clone(),
            traffic: traffic.clone(),
            paced: Paced::Messages,
            answered: "answered",
            details: BTreeMap::new(),
            subprotocols: &[],
            connects_at_once: false,
            think: None,
        }
    }

    /// Adds a number to the report.
    pub(crate) fn with(mut self, name: &str, value: u64) -> Self {
        self.details.insert(name.to_owned(), value);
        self
    }
}

/// A run, checked and bounded in connections, time and bytes in flight.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The name of the scenario.
    pub(crate) name: &'static str,
    pub(crate) paced: Paced,
    /// What the report calls an answer.
    pub(crate) answered: &'static str,
    /// Numbers of the scenario's own options, by their names in the JSON report.
    pub(crate) details: BTreeMap<String, u64>,
    /// The servers, at least one. Connections take them in turn.
    pub(crate) destinations: Vec<Destination>,
    /// Each connection begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    pub(crate) sizes: Sizes,
    pub(crate) message_kind: MessageKind,
    pub(crate) pacing: Pacing,
    pub(crate) warmup: Nanos,
    pub(crate) duration: Nanos,
    /// The time of day of the first message.
    pub(crate) start_at: Option<SystemTime>,
    /// Closed loop: the time between an answer and the next message of the connection.
    pub(crate) think: Option<ThinkTime>,
    /// Messages of each connection, if their number ends the run.
    pub(crate) messages: Option<u64>,
    /// Connections per second; infinite: as fast as the server answers.
    pub(crate) connect_rate: f64,
    /// Limit on the opening handshakes in progress.
    pub(crate) connect_burst: u32,
    pub(crate) origin: Option<String>,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) deflate: bool,
    pub(crate) tls_insecure: bool,
    pub(crate) mask: Mask,
    pub(crate) seed: u64,
}

impl Plan {
    /// Checks the options of a run and of its servers.
    ///
    /// # Errors
    /// A sentence that names the option at fault.
    pub(crate) fn check(
        outline: Outline,
        connect: &ConnectArgs,
        destinations: Vec<Destination>,
        seed: u64,
    ) -> Result<Self, PlanError> {
        let Outline { name, time, traffic, paced, answered, details, think, .. } = outline;
        let Outline { subprotocols, connects_at_once, .. } = outline;
        within("the number of URLs", destinations.len() as u64, 1, MAX_URLS as u64)?;
        let twin = |at: usize| destinations[..at].iter().any(|other| other.target == destinations[at].target);
        if let Some(at) = (0..destinations.len()).find(|at| twin(*at)) {
            return Err(PlanError(format!("{} is named twice", destinations[at].target.url)));
        }
        check_connect(connect)?;
        let (warmup, duration) = check_time(&time, &traffic)?;
        let pacing = Pacing { seed, warmup, ..check_traffic(connect, &traffic)? };
        check_random_events(&pacing, duration)?;
        if think.is_some() && (pacing.is_open() || pacing.pipeline > 1) {
            return Err(PlanError("--think is for a closed loop with one message in flight".to_owned()));
        }
        let burst = if connects_at_once { connect.connections } else { CONNECT_BURST };
        let offered = if connect.subprotocol.is_empty() {
            subprotocols.iter().copied().map(str::to_owned).collect()
        } else {
            connect.subprotocol.clone()
        };
        Ok(Self {
            name,
            paced,
            answered,
            details,
            destinations,
            proxy_protocol: connect.proxy_protocol,
            sources: connect.sources(),
            connections: connect.connections,
            threads: connect.threads.min(connect.connections),
            sizes: traffic.size,
            message_kind: if traffic.text { MessageKind::Text } else { MessageKind::Binary },
            pacing,
            warmup,
            duration,
            start_at: time.start_at,
            think,
            messages: traffic.messages,
            connect_rate: match connect.connect_rate {
                Some(rate) => rate_within("--connect-rate", rate)?,
                None => f64::INFINITY,
            },
            connect_burst: connect.connect_burst.unwrap_or(burst),
            origin: connect.origin.clone(),
            subprotocols: offered,
            fields: connect.header.iter().map(|field| parse_field(field)).collect::<Result<_, _>>()?,
            deflate: connect.deflate,
            tls_insecure: connect.tls_insecure,
            mask: connect.mask,
            seed,
        })
    }

    /// The URLs for reports, without secrets.
    pub(crate) fn url(&self) -> String {
        let first = self.destinations.first().map_or("", |destination| &destination.target.url);
        match self.destinations.len() {
            0 | 1 => first.to_owned(),
            count => format!("{first} and {} more", count - 1),
        }
    }

    /// Where connection `number` goes if it is to the server at `destination`, and from which address. Connections to one
    /// server take its addresses in turn, and those to one address the source addresses: each pair of them is used.
    pub(crate) fn route(&self, number: u32, destination: usize) -> (&Endpoint, Option<IpAddr>) {
        let endpoints = &self.destinations[destination].endpoints;
        let turn = number as usize / self.destinations.len();
        let source = self.sources.get(turn / endpoints.len() % self.sources.len().max(1));
        (&endpoints[turn % endpoints.len()], source.copied())
    }

    /// The most connections that one server has.
    pub(crate) fn connections_of_one(&self) -> u32 {
        self.connections.div_ceil(self.destinations.len() as u32)
    }

    /// Descriptors that the run needs at most.
    pub(crate) fn descriptors(&self) -> u64 {
        u64::from(self.connections) + u64::from(self.threads) * DESCRIPTORS_PER_THREAD + OTHER_DESCRIPTORS
    }

    /// Limit on the time of all opening handshakes together: 30 s, and a second for every thousand connections.
    pub(crate) fn connect_limit(&self) -> Nanos {
        let paced = f64::from(self.connections) / self.connect_rate.min(1000.0);
        30 * SECOND + nanos(Duration::try_from_secs_f64(paced).unwrap_or(MAX_DURATION))
    }

    /// The latency that the run is about.
    pub(crate) fn primary(&self) -> Primary {
        match (self.paced, self.pacing.is_open()) {
            (Paced::Connections | Paced::Nothing, _) => Primary::Handshake,
            (Paced::Messages, true) => Primary::Plan,
            (Paced::Messages, false) => Primary::Send,
        }
    }

    /// Connections of one thread: it has the numbers `thread`, `thread + threads`, and so on.
    pub(crate) fn share(&self, thread: u32) -> u32 {
        (self.connections + self.threads - 1 - thread) / self.threads
    }
}

/// Checks that there are ports for all connections. `pairs`: pairs of source address and target; `ports`: how many the
/// kernel has for each pair, if known.
pub(crate) fn check_ports(connections: u32, pairs: usize, ports: Option<u32>) -> Result<(), PlanError> {
    let Some(ports) = ports else { return Ok(()) };
    let available = u64::from(ports) * pairs.max(1) as u64;
    if u64::from(connections) <= available {
        return Ok(());
    }
    let needed = u64::from(connections).div_ceil(u64::from(ports).max(1));
    Err(PlanError(format!(
        "{connections} connections need more ports than the {available} there are (net.ipv4.ip_local_port_range has \
         {ports} for each source address): name {needed} addresses with --source-ip, such as 127.0.0.2-127.0.0.{}",
        needed.min(250) + 1
    )))
}

/// Checks the soft limit of descriptors. `None`: there is no limit.
pub(crate) fn check_descriptors(needed: u64, limit: Option<u64>) -> Result<(), PlanError> {
    match limit {
        Some(limit) if limit < needed => Err(PlanError(format!(
            "{needed} descriptors are needed and {limit} are allowed: raise the hard limit (ulimit -Hn {needed} as \
             root, LimitNOFILE= of a unit, or /etc/security/limits.conf), ask for fewer --connections, or run several \
             processes and `loadgen merge` their reports"
        ))),
        _ => Ok(()),
    }
}

fn check_connect(connect: &ConnectArgs) -> Result<(), PlanError> {
    within("--connections", connect.connections.into(), 1, MAX_CONNECTIONS.into())?;
    within("--connect-burst", connect.connect_burst.unwrap_or(1).into(), 1, MAX_CONNECTIONS.into())?;
    within("--threads", connect.threads.into(), 1, MAX_THREADS.into())?;
    if let Some(bad) = connect.subprotocol.iter().find(|name| !is_token(name.as_bytes())) {
        return Err(PlanError(format!("--subprotocol {bad:?} is not a token")));
    }
    if connect.origin.as_deref().is_some_and(|origin| !is_field_value(origin)) {
        return Err(PlanError("--origin holds a control character".to_owned()));
    }
    Ok(())
}

fn check_traffic(connect: &ConnectArgs, traffic: &TrafficArgs) -> Result<Pacing, PlanError> {
    within("--size", traffic.size.max as u64, 0, MAX_SIZE as u64)?;
    within("--messages", traffic.messages.unwrap_or(1), 1, u32::MAX.into())?;
    let pipeline = u64::from(traffic.pipeline.unwrap_or(1));
    within("--pipeline", pipeline, 1, MAX_IN_FLIGHT)?;
    let bytes = u64::from(connect.connections) * pipeline * traffic.size.max as u64;
    within("--connections x --pipeline x --size", bytes, 0, MAX_IN_FLIGHT_BYTES)?;
    let load = match (traffic.rate, &traffic.shape.stages) {
        (Some(_), Some(_)) => return Err(PlanError("--rate and --stages exclude each other".to_owned())),
        (Some(rate), None) => Load::Rate(rate_within("--rate", rate)?),
        (None, Some(_)) if traffic.messages.is_some() => {
            return Err(PlanError("--messages and --stages exclude each other".to_owned()));
        }
        (None, Some(stages)) => Load::Stages(stages.clone()),
        (None, None) => Load::Closed,
    };
    let arrivals = traffic.shape.arrivals;
    if load == Load::Closed && arrivals != Arrivals::Even {
        return Err(PlanError("--arrivals needs an open loop: add --rate or --stages".to_owned()));
    }
    let unbounded = if load == Load::Closed { 1 } else { MAX_IN_FLIGHT };
    let steering = Steering::default();
    Ok(Pacing {
        load,
        arrivals,
        seed: 0,
        steering,
        warmup: 0,
        pipeline: traffic.pipeline.map_or(unbounded, u64::from),
    })
}

/// A Poisson process keeps 16 bytes for every 4096 events in each thread.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn check_random_events(pacing: &Pacing, duration: Nanos) -> Result<(), PlanError> {
    let seconds = |nanos: Nanos| nanos as f64 / SECOND as f64;
    let warmup = seconds(pacing.warmup);
    let events = match &pacing.load {
        Load::Closed => return Ok(()),
        Load::Rate(rate) => rate * (warmup + seconds(duration)),
        Load::Stages(stages) => stages
            .0
            .iter()
            .map(|stage| f64::midpoint(stage.from, stage.to) * seconds(stage.length))
            .fold(warmup * stages.0.first().map_or(0.0, |stage| stage.from), |sum, events| sum + events),
    };
    if pacing.arrivals != Arrivals::Poisson || events <= MAX_RANDOM_EVENTS {
        return Ok(());
    }
    Err(PlanError(format!(
        "--arrivals poisson is for at most {MAX_RANDOM_EVENTS} events, and the run has {events:.0}: use a lower rate or a \
         shorter run"
    )))
}

/// Returns warm-up and duration.
fn check_time(time: &TimeArgs, traffic: &TrafficArgs) -> Result<(Nanos, Nanos), PlanError> {
    let is_counted = traffic.messages.is_some();
    let default = match &traffic.shape.stages {
        Some(stages) => Duration::from_nanos(stages.length()),
        None => Duration::from_secs(if is_counted { 60 } else { 10 }),
    };
    let duration = time.duration.unwrap_or(default);
    let warmup = time.warmup.unwrap_or(if is_counted { Duration::ZERO } else { Duration::from_secs(1) });
    if duration.is_zero() || duration > MAX_DURATION || warmup > MAX_DURATION {
        return Err(PlanError("--duration must be above 0, and no time above 24 hours".to_owned()));
    }
    if is_counted && !warmup.is_zero() {
        return Err(PlanError("--messages counts from the first one: it has no --warmup".to_owned()));
    }
    Ok((nanos(warmup), nanos(duration)))
}

/// Checks that the value of an option is from `min` to `max`.
pub(crate) fn within(name: &str, value: u64, min: u64, max: u64) -> Result<(), PlanError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(PlanError(format!("{name} is {value}, and must be from {min} to {max}")))
}

/// Checks the value of an option that is a rate, and returns it.
pub(crate) fn rate_within(name: &str, rate: f64) -> Result<f64, PlanError> {
    if (0.001..=MAX_RATE).contains(&rate) {
        return Ok(rate);
    }
    Err(PlanError(format!("{name} is {rate}, and must be from 0.001 to {MAX_RATE} a second")))
}

fn parse_field(field: &str) -> Result<(String, String), PlanError> {
    let (name, value) = field
        .split_once(':')
        .ok_or_else(|| PlanError(format!("--header {field:?} is not of the form 'Name: value'")))?;
    let value = value.trim();
    if !is_token(name.as_bytes()) || !is_field_value(value) {
        return Err(PlanError(format!("--header {field:?} is not an HTTP field")));
    }
    if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(PlanError(format!("the opening handshake writes {name} itself")));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn is_field_value(value: &str) -> bool {
    !value.bytes().any(|octet| octet < b' ' && octet != b'\t' || octet == 0x7F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_say_what_to_do() {
        assert_eq!(check_descriptors(5000, Some(5000)), Ok(()));
        assert_eq!(check_descriptors(5000, None), Ok(()));
        let error = check_descriptors(5000, Some(1024)).unwrap_err().to_string();
        assert!(error.contains("1024") && error.contains("ulimit"), "{error}");
    }

    #[test]
    fn too_few_ports_say_how_many_addresses_are_needed() {
        assert_eq!(check_ports(28_000, 0, Some(28_232)), Ok(()));
        assert_eq!(check_ports(50_000, 2, Some(28_232)), Ok(()));
        assert_eq!(check_ports(1_000_000, 0, None), Ok(()));
        let error = check_ports(50_000, 0, Some(28_232)).unwrap_err().to_string();
        assert!(error.contains("2 addresses") && error.contains("127.0.0.2-127.0.0.3"), "{error}");
    }
}
