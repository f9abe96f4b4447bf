//! The checked plan of a run. Pure: nothing is resolved, opened or read here.

mod target;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use switchboard::proto::MessageKind;
use switchboard::proto::head::is_token;

pub(crate) use self::target::Target;
use crate::cli::values::Sizes;
use crate::cli::{ConnectArgs, Mask, OutputArgs, Scenario, TimeArgs, TrafficArgs};
use crate::clock::{Nanos, SECOND, nanos};
use crate::record::Primary;

/// Most connections of one run: more are the business of several processes, and of `loadgen merge`.
const MAX_CONNECTIONS: u32 = 1_000_000;
/// Event loops of one run.
const MAX_THREADS: u32 = 256;
/// Longest run; whoever wants more can say so again.
const MAX_DURATION: Duration = Duration::from_hours(24);
/// Longest payload in bytes.
const MAX_SIZE: usize = 16 << 20;
/// What all connections together may have in flight, in bytes: a server's memory and ours.
const MAX_IN_FLIGHT_BYTES: u64 = 1 << 30;
/// Messages of one connection that may be unanswered in an open loop; more are late, which the report says.
pub(crate) const MAX_IN_FLIGHT: u64 = 65_536;
/// Publishers times subscribers: each pair has a sequence of its own, of 8 bytes.
const MAX_PAIRS: u64 = 1 << 25;
/// Storms of one run.
const MAX_ROUNDS: u32 = 1000;
/// Descriptors besides the connections: standard streams, event queues, timers, reports.
const OTHER_DESCRIPTORS: u64 = 16;
const DESCRIPTORS_PER_THREAD: u64 = 4;
/// Opening handshakes under way at once, unless asked otherwise.
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

/// Why a run does not start; the text says what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlanError(pub(crate) String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

/// What decides when a message goes out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pacing {
    /// The clock: so many messages per second over all connections. Without it the answers alone decide.
    pub(crate) rate: Option<f64>,
    /// Messages that each connection keeps unanswered at most.
    pub(crate) pipeline: u64,
}

/// What the connections do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Echo,
    Fanout { publishers: u32, excludes_self: bool },
    Chat { rooms: u32, rejoin_rate: f64 },
    Idle,
    Churn { messages: u64 },
    Slow { slow: u32, bytes_per_second: u64, publishers: Option<u32> },
    Storm { rounds: u32, pause: Nanos, rooms: u32 },
}

impl Kind {
    /// The name of the subcommand.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Fanout { .. } => "fanout",
            Self::Chat { .. } => "chat",
            Self::Idle => "idle",
            Self::Churn { .. } => "churn",
            Self::Slow { .. } => "slow",
            Self::Storm { .. } => "storm",
        }
    }
}

/// A run, checked and bounded in connections, time and bytes in flight.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    pub(crate) sizes: Sizes,
    pub(crate) message_kind: MessageKind,
    pub(crate) pacing: Pacing,
    pub(crate) warmup: Nanos,
    pub(crate) duration: Nanos,
    /// Messages of each connection, if they end the run.
    pub(crate) messages: Option<u64>,
    /// Connections per second; infinite: as fast as they are answered.
    pub(crate) connect_rate: f64,
    pub(crate) connect_burst: u32,
    pub(crate) origin: Option<String>,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) deflate: bool,
    pub(crate) tls_insecure: bool,
    pub(crate) mask: Mask,
    pub(crate) seed: u64,
}

/// The parts of every scenario's arguments, in one form.
struct Parts<'a> {
    kind: Kind,
    connect: &'a ConnectArgs,
    time: TimeArgs,
    traffic: TrafficArgs,
}

/// The outputs that a scenario was asked for.
pub(crate) fn output_of(scenario: &Scenario) -> &OutputArgs {
    match scenario {
        Scenario::Echo(args) => &args.output,
        Scenario::Fanout(args) => &args.output,
        Scenario::Chat(args) => &args.output,
        Scenario::Idle(args) => &args.output,
        Scenario::Churn(args) => &args.output,
        Scenario::Slow(args) => &args.output,
        Scenario::Storm(args) => &args.output,
    }
}

/// Whom a scenario connects to.
pub(crate) fn connect_of(scenario: &Scenario) -> &ConnectArgs {
    match scenario {
        Scenario::Echo(args) => &args.connect,
        Scenario::Fanout(args) => &args.connect,
        Scenario::Chat(args) => &args.connect,
        Scenario::Idle(args) => &args.connect,
        Scenario::Churn(args) => &args.connect,
        Scenario::Slow(args) => &args.connect,
        Scenario::Storm(args) => &args.connect,
    }
}

/// Sets the rate of a scenario that has one; gives whether it has.
pub(crate) fn set_rate(scenario: &mut Scenario, new: f64) -> bool {
    let rate = match scenario {
        Scenario::Echo(args) => &mut args.traffic.rate,
        Scenario::Fanout(args) => &mut args.traffic.rate,
        Scenario::Slow(args) => &mut args.traffic.rate,
        Scenario::Chat(args) => &mut args.rate,
        Scenario::Churn(args) => &mut args.rate,
        Scenario::Idle(_) | Scenario::Storm(_) => return false,
    };
    *rate = Some(new);
    true
}

fn traffic(
    rate: Option<f64>,
    pipeline: Option<u32>,
    messages: Option<u64>,
    size: Sizes,
    text: bool,
) -> TrafficArgs {
    TrafficArgs { rate, pipeline, messages, size, text, binary: false }
}

impl<'a> Parts<'a> {
    fn of(scenario: &'a Scenario) -> Result<Self, PlanError> {
        let connect = connect_of(scenario);
        let fixed = |duration, warmup| TimeArgs { duration: Some(duration), warmup: Some(warmup) };
        let small = Sizes { min: 20, max: 20 };
        let (kind, time, traffic) = match scenario {
            Scenario::Echo(args) => (Kind::Echo, args.time.clone(), args.traffic.clone()),
            Scenario::Fanout(args) => {
                let (publishers, excludes_self) = (args.publishers, args.exclude_self);
                within("--publishers", publishers.into(), 1, connect.connections.into())?;
                (Kind::Fanout { publishers, excludes_self }, args.time.clone(), args.traffic.clone())
            }
            Scenario::Chat(args) => {
                within("--rooms", args.rooms.into(), 1, connect.connections.into())?;
                let rejoin_rate =
                    args.rejoin_rate.map_or(Ok(0.0), |rate| rate_within("--rejoin-rate", rate))?;
                let kind = Kind::Chat { rooms: args.rooms, rejoin_rate };
                (kind, args.time.clone(), traffic(args.rate, args.pipeline, args.messages, args.size, true))
            }
            Scenario::Idle(args) => {
                (Kind::Idle, fixed(args.duration, Duration::ZERO), traffic(None, None, None, small, false))
            }
            Scenario::Churn(args) => {
                within("--messages", args.messages, 0, u32::MAX.into())?;
                let kind = Kind::Churn { messages: args.messages };
                (kind, args.time.clone(), traffic(args.rate, None, None, args.size, args.text))
            }
            Scenario::Slow(args) => {
                (slow_kind(args, connect.connections)?, args.time.clone(), args.traffic.clone())
            }
            Scenario::Storm(args) => {
                within("--rounds", args.rounds.into(), 1, MAX_ROUNDS.into())?;
                within("--rooms", args.rooms.into(), 1, connect.connections.into())?;
                let (rounds, pause, rooms) = (args.rounds, nanos(args.pause), args.rooms);
                let kind = Kind::Storm { rounds, pause, rooms };
                (kind, fixed(args.duration, Duration::ZERO), traffic(None, None, None, small, false))
            }
        };
        Ok(Self { kind, connect, time, traffic })
    }
}

#[expect(clippy::cast_sign_loss, reason = "the share was checked to lie between 0 and 1")]
fn slow_kind(args: &crate::cli::SlowArgs, connections: u32) -> Result<Kind, PlanError> {
    if !(0.0..=1.0).contains(&args.slow_share) {
        return Err(PlanError("--slow-share must be from 0 to 1".to_owned()));
    }
    within("--slow-bytes", args.slow_bytes, 1, 1 << 30)?;
    let slow = (f64::from(connections) * args.slow_share).round() as u32;
    if let Some(publishers) = args.fanout {
        within("--fanout", publishers.into(), 1, (connections - slow).into())?;
    }
    Ok(Kind::Slow { slow, bytes_per_second: args.slow_bytes, publishers: args.fanout })
}

impl Plan {
    /// Checks what was asked for. `addresses`: what the host of the target resolves to.
    pub(crate) fn check(
        scenario: &Scenario,
        target: Target,
        addresses: &[SocketAddr],
        seed: u64,
    ) -> Result<Self, PlanError> {
        let Parts { kind, connect, time, traffic } = Parts::of(scenario)?;
        let sources: Vec<IpAddr> = connect.source_ip.iter().flat_map(|range| range.0.clone()).collect();
        let address = choose_address(&target, addresses, &sources)?;
        if !address.ip().to_canonical().is_loopback() && !connect.i_own_this_server {
            return Err(PlanError(format!(
                "{} is not this machine: a flood hurts whoever runs it; add --i-own-this-server if that is you",
                address.ip()
            )));
        }
        check_connect(connect)?;
        let pacing = check_traffic(&kind, connect, &traffic)?;
        let bounded_by_count = traffic.messages.is_some();
        let (warmup, duration) = check_time(&time, bounded_by_count)?;
        Ok(Self {
            target,
            address,
            sources,
            connections: connect.connections,
            threads: connect.threads.min(connect.connections),
            sizes: traffic.size,
            message_kind: if traffic.text { MessageKind::Text } else { MessageKind::Binary },
            pacing,
            warmup,
            duration,
            messages: traffic.messages,
            connect_rate: match connect.connect_rate {
                Some(rate) => rate_within("--connect-rate", rate)?,
                None => f64::INFINITY,
            },
            connect_burst: connect.connect_burst.unwrap_or(match kind {
                // That is what a storm is.
                Kind::Storm { .. } => connect.connections,
                _ => CONNECT_BURST,
            }),
            origin: connect.origin.clone(),
            subprotocols: match (&kind, connect.subprotocol.is_empty()) {
                (Kind::Chat { .. }, true) => vec!["chat.v1.json".to_owned(), "json".to_owned()],
                (Kind::Storm { .. }, true) => vec!["chat.v1.json".to_owned()],
                _ => connect.subprotocol.clone(),
            },
            fields: connect.header.iter().map(|field| parse_field(field)).collect::<Result<_, _>>()?,
            deflate: connect.deflate,
            tls_insecure: connect.tls_insecure,
            mask: connect.mask,
            seed,
            kind,
        })
    }

    /// Descriptors that the run holds at its height.
    pub(crate) fn descriptors(&self) -> u64 {
        u64::from(self.connections) + u64::from(self.threads) * DESCRIPTORS_PER_THREAD + OTHER_DESCRIPTORS
    }

    /// How long all opening handshakes together may take: a thousand a second is slow, and a start is free.
    pub(crate) fn connect_limit(&self) -> Nanos {
        let paced = f64::from(self.connections) / self.connect_rate.min(1000.0);
        30 * SECOND + nanos(Duration::try_from_secs_f64(paced).unwrap_or(MAX_DURATION))
    }

    /// The latency that the run is about.
    pub(crate) fn primary(&self) -> Primary {
        match (&self.kind, self.pacing.rate) {
            (Kind::Churn { .. } | Kind::Storm { .. } | Kind::Idle, _) => Primary::Handshake,
            (_, Some(_)) => Primary::Plan,
            (_, None) => Primary::Send,
        }
    }

    /// Connections of one thread: numbers `thread`, `thread + threads`, and so on.
    pub(crate) fn share(&self, thread: u32) -> u32 {
        (self.connections + self.threads - 1 - thread) / self.threads
    }
}

/// Checks that there are ports for all connections: each source address has those of the kernel's range.
pub(crate) fn check_ports(connections: u32, sources: usize, ports: Option<u32>) -> Result<(), PlanError> {
    let Some(ports) = ports else { return Ok(()) };
    let available = u64::from(ports) * sources.max(1) as u64;
    if u64::from(connections) <= available {
        return Ok(());
    }
    let needed = u64::from(connections).div_ceil(u64::from(ports).max(1));
    Err(PlanError(format!(
        "{connections} connections need more ports than the {available} there are (net.ipv4.ip_local_port_range has \
         {ports} for each source address): give {needed} addresses with --source-ip, such as 127.0.0.2-127.0.0.{}",
        needed.min(250) + 1
    )))
}

/// Checks the soft limit of descriptors after it was raised as far as it goes.
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

fn choose_address(
    target: &Target,
    addresses: &[SocketAddr],
    sources: &[IpAddr],
) -> Result<SocketAddr, PlanError> {
    let fits = |address: &&SocketAddr| sources.iter().all(|source| source.is_ipv4() == address.is_ipv4());
    match (addresses.iter().find(fits), addresses.first()) {
        (Some(address), _) => Ok(*address),
        (None, Some(_)) => Err(PlanError(format!(
            "--source-ip must be addresses of the family (IPv4 or IPv6) that {} has",
            target.host
        ))),
        (None, None) => Err(PlanError(format!("{} has no address", target.host))),
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

fn check_traffic(kind: &Kind, connect: &ConnectArgs, traffic: &TrafficArgs) -> Result<Pacing, PlanError> {
    within("--size", traffic.size.max as u64, 0, MAX_SIZE as u64)?;
    within("--messages", traffic.messages.unwrap_or(1), 1, u32::MAX.into())?;
    let pipeline = u64::from(traffic.pipeline.unwrap_or(1));
    within("--pipeline", pipeline, 1, MAX_IN_FLIGHT)?;
    let bytes = u64::from(connect.connections) * pipeline * traffic.size.max as u64;
    within("--connections x --pipeline x --size", bytes, 0, MAX_IN_FLIGHT_BYTES)?;
    let publishers = match *kind {
        Kind::Fanout { publishers, .. } | Kind::Slow { publishers: Some(publishers), .. } => publishers,
        Kind::Chat { .. } => {
            let least = crate::scenario::chat::SHORTEST_TEXT as u64;
            within("--size", traffic.size.min as u64, least, 4096)?;
            0
        }
        _ => 0,
    };
    if publishers > 0 {
        let pairs = u64::from(publishers) * u64::from(connect.connections);
        within("publishers x connections", pairs, 1, MAX_PAIRS)?;
        // A delivery is known by the numbers of its publisher and of the message.
        let least = if traffic.text { 16 } else { 8 };
        within("--size of what is fanned out", traffic.size.min as u64, least, MAX_SIZE as u64)?;
    }
    let rate = traffic.rate.map(|rate| rate_within("--rate", rate)).transpose()?;
    let unbounded = if rate.is_some() { MAX_IN_FLIGHT } else { 1 };
    Ok(Pacing { rate, pipeline: traffic.pipeline.map_or(unbounded, u64::from) })
}

/// Warm-up and duration.
fn check_time(time: &TimeArgs, is_counted: bool) -> Result<(Nanos, Nanos), PlanError> {
    let duration = time.duration.unwrap_or(Duration::from_secs(if is_counted { 60 } else { 10 }));
    let warmup = time.warmup.unwrap_or(if is_counted { Duration::ZERO } else { Duration::from_secs(1) });
    if duration.is_zero() || duration > MAX_DURATION || warmup > MAX_DURATION {
        return Err(PlanError("--duration must be above 0, and no time above 24 hours".to_owned()));
    }
    if is_counted && !warmup.is_zero() {
        return Err(PlanError("--messages counts from the first one: there is no --warmup".to_owned()));
    }
    Ok((nanos(warmup), nanos(duration)))
}

fn within(name: &str, value: u64, min: u64, max: u64) -> Result<(), PlanError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(PlanError(format!("{name} is {value}, and must be from {min} to {max}")))
}

pub(crate) fn rate_within(name: &str, rate: f64) -> Result<f64, PlanError> {
    if (0.001..=100e6).contains(&rate) {
        return Ok(rate);
    }
    Err(PlanError(format!("{name} is {rate}, and must be from 0.001 to 100000000 a second")))
}

fn parse_field(field: &str) -> Result<(String, String), PlanError> {
    let (name, value) = field
        .split_once(':')
        .ok_or_else(|| PlanError(format!("--header {field:?} is not of the form 'Name: value'")))?;
    let value = value.trim();
    if !is_token(name.as_bytes()) || !is_field_value(value) {
        return Err(PlanError(format!("--header {field:?} is no HTTP field")));
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
pub(crate) mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    const HERE: &str = "127.0.0.1:9001";

    /// The plan of a command line after `loadgen`, against `ws://localhost:9001`.
    pub(crate) fn plan_of(words: &str, address: &str) -> Result<Plan, PlanError> {
        let mut all = vec!["loadgen"];
        let (scenario, options) = words.split_once(' ').unwrap_or((words, ""));
        all.extend([scenario, "ws://localhost:9001/x?y=1"]);
        all.extend(options.split_whitespace());
        let Command::Run(scenario) = Cli::try_parse_from(all).unwrap().command else { unreachable!() };
        let target = Target::parse(&connect_of(&scenario).url)?;
        Plan::check(&scenario, target, &[address.parse().unwrap()], 7)
    }

    #[test]
    fn what_has_no_bound_is_refused() {
        for bad in [
            "echo --connections 0",
            "echo --connections 2000000",
            "echo --threads 0",
            "echo --size 99999999",
            "echo --pipeline 0",
            "echo --messages 0",
            "echo --messages 5 --warmup 1s",
            "echo --duration 0s",
            "echo --duration 9000m",
            "echo --warmup 9000m",
            "echo --rate 0",
            "echo --rate NaN",
            "echo --rate inf",
            "echo --connect-rate 0",
            "echo --connect-burst 0",
            "echo --connections 60000 --pipeline 60000 --size 1000",
            "echo --subprotocol a,b",
            "echo --header nothing",
            "echo --header Host:x",
            "echo --source-ip ::1",
            "fanout --publishers 0",
            "fanout --publishers 101",
            "fanout --size 7",
            "fanout --size 8 --text",
            "fanout --connections 10000 --publishers 10000",
            "chat --rooms 0",
            "chat --size 10",
            "slow --slow-share 1.5",
            "slow --slow-bytes 0",
            "slow --fanout 100",
            "storm --rounds 0",
            "idle --duration 25h",
        ] {
            assert!(plan_of(bad, HERE).is_err(), "{bad}");
        }
        for good in
            ["echo --rate 10 --pipeline 2", "idle", "churn", "slow --fanout 5", "storm", "chat", "fanout"]
        {
            assert!(plan_of(good, HERE).is_ok(), "{good}");
        }
    }

    #[test]
    fn only_this_machine_is_flooded_unless_it_is_owned() {
        let error = plan_of("echo", "192.0.2.1:80").unwrap_err().to_string();
        assert!(error.contains("--i-own-this-server"), "{error}");
        assert!(plan_of("echo --i-own-this-server", "192.0.2.1:80").is_ok());
        for here in ["127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(plan_of("echo", here).is_ok(), "{here}");
        }
    }

    #[test]
    fn a_number_of_messages_needs_no_warm_up_and_gets_a_longer_bound() {
        let timed = plan_of("echo", HERE).unwrap();
        assert_eq!((timed.warmup, timed.duration), (SECOND, 10 * SECOND));
        let counted = plan_of("echo --messages 5", HERE).unwrap();
        assert_eq!((counted.warmup, counted.duration), (0, 60 * SECOND));
    }

    #[test]
    fn an_open_loop_has_no_bound_on_what_is_unanswered_unless_it_is_given_one() {
        let pacing = |words| plan_of(words, HERE).unwrap().pacing;
        assert_eq!(pacing("echo"), Pacing { rate: None, pipeline: 1 });
        assert_eq!(pacing("echo --rate 5"), Pacing { rate: Some(5.0), pipeline: MAX_IN_FLIGHT });
        assert_eq!(pacing("echo --rate 5 --pipeline 2"), Pacing { rate: Some(5.0), pipeline: 2 });
    }

    #[test]
    fn threads_share_the_connections() {
        let plan = plan_of("echo --connections 10 --threads 4", HERE).unwrap();
        assert_eq!([0, 1, 2, 3].map(|thread| plan.share(thread)), [3, 3, 2, 2]);
        assert_eq!(plan_of("echo --connections 2 --threads 4", HERE).unwrap().threads, 2);
    }

    #[test]
    fn too_few_descriptors_say_what_to_do() {
        let needed = plan_of("echo --connections 5000", HERE).unwrap().descriptors();
        assert!(needed > 5000);
        assert_eq!(check_descriptors(needed, Some(needed)), Ok(()));
        assert_eq!(check_descriptors(needed, None), Ok(()));
        let error = check_descriptors(needed, Some(1024)).unwrap_err().to_string();
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
