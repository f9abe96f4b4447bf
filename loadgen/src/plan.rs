//! The checked plan of a run. Pure: nothing is resolved, opened or read here.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use switchboard::proto::MessageKind;
use switchboard::proto::head::is_token;
use url::{Position, Url};

use crate::cli::{EchoArgs, Mask};
use crate::clock::{Nanos, SECOND, nanos};

/// Most connections of one run: there are no more ports from one address to another.
const MAX_CONNECTIONS: u32 = 64_511;
/// Longest run; whoever wants more can say so again.
const MAX_DURATION: Duration = Duration::from_hours(24);
/// Longest payload in bytes.
const MAX_SIZE: usize = 16 << 20;
/// What all connections together may have in flight, in bytes: a server's memory and ours.
const MAX_IN_FLIGHT_BYTES: u64 = 1 << 30;
/// Messages of one connection that may be unanswered in an open loop; more are late, which the report says.
pub(crate) const MAX_IN_FLIGHT: u64 = 65_536;
/// Descriptors besides the connections: standard streams, event queue, timer, report.
const OTHER_DESCRIPTORS: u64 = 16;
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
pub(crate) struct PlanError(String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

/// Who is asked, as the URL says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The URL as it stands in the report.
    pub(crate) url: String,
    /// Name or address to resolve, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The Host field.
    pub(crate) authority: String,
    pub(crate) path_and_query: String,
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, PlanError> {
        let url = Url::parse(text).map_err(|error| PlanError(format!("{text} is not a URL: {error}")))?;
        match url.scheme() {
            "ws" => {}
            "wss" => return Err(PlanError("wss:// is not supported yet; use ws://".to_owned())),
            other => return Err(PlanError(format!("{other}:// is not WebSocket; use ws://"))),
        }
        // RFC 6455 3: fragment identifiers MUST NOT be used on these URIs.
        if url.fragment().is_some() {
            return Err(PlanError("a WebSocket URL has no fragment (#…)".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(PlanError("give credentials with --header 'Authorization: …'".to_owned()));
        }
        let host = url.host_str().unwrap_or_default();
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(80),
            authority: url[Position::BeforeHost..Position::AfterPort].to_owned(),
            path_and_query: url[Position::BeforePath..Position::AfterQuery].to_owned(),
            url: url.to_string(),
        })
    }
}

/// What decides when a message goes out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pacing {
    /// The answers: each connection keeps so many messages unanswered.
    Closed { pipeline: u64 },
    /// The clock: so many messages per second over all connections.
    Open { rate: f64 },
}

/// A run, checked and bounded in connections, time and bytes in flight.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) size: usize,
    pub(crate) kind: MessageKind,
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
    pub(crate) mask: Mask,
    pub(crate) seed: u64,
}

impl Plan {
    /// Checks what was asked for. `addresses`: what the host of the target resolves to.
    pub(crate) fn check(
        args: &EchoArgs,
        target: Target,
        addresses: &[SocketAddr],
        seed: u64,
    ) -> Result<Self, PlanError> {
        let address =
            *addresses.first().ok_or_else(|| PlanError(format!("{} has no address", target.host)))?;
        if !address.ip().to_canonical().is_loopback() && !args.i_own_this_server {
            return Err(PlanError(format!(
                "{} is not this machine: a flood hurts whoever runs it; add --i-own-this-server if that is you",
                address.ip()
            )));
        }
        within("--connections", args.connections.into(), 1, MAX_CONNECTIONS.into())?;
        within("--connect-burst", args.connect_burst.into(), 1, MAX_CONNECTIONS.into())?;
        within("--size", args.size as u64, 0, MAX_SIZE as u64)?;
        within("--pipeline", args.pipeline.into(), 1, MAX_IN_FLIGHT)?;
        within("--messages", args.messages.unwrap_or(1), 1, u32::MAX.into())?;
        let bytes = u64::from(args.connections) * u64::from(args.pipeline) * args.size as u64;
        within("--connections x --pipeline x --size", bytes, 0, MAX_IN_FLIGHT_BYTES)?;
        let pacing = match args.rate {
            Some(rate) => Pacing::Open { rate: rate_within("--rate", rate)? },
            None => Pacing::Closed { pipeline: args.pipeline.into() },
        };
        let default = Duration::from_secs(if args.messages.is_some() { 60 } else { 10 });
        let duration = args.duration.unwrap_or(default);
        let default = if args.messages.is_some() { Duration::ZERO } else { Duration::from_secs(1) };
        let warmup = args.warmup.unwrap_or(default);
        if duration.is_zero() || duration > MAX_DURATION || warmup > MAX_DURATION {
            return Err(PlanError("--duration must be above 0, and no time above 24 hours".to_owned()));
        }
        if let Some(bad) = args.subprotocol.iter().find(|name| !is_token(name.as_bytes())) {
            return Err(PlanError(format!("--subprotocol {bad:?} is not a token")));
        }
        if args.origin.as_deref().is_some_and(|origin| !is_field_value(origin)) {
            return Err(PlanError("--origin holds a control character".to_owned()));
        }
        Ok(Self {
            target,
            address,
            connections: args.connections,
            size: args.size,
            kind: if args.text { MessageKind::Text } else { MessageKind::Binary },
            pacing,
            warmup: nanos(warmup),
            duration: nanos(duration),
            messages: args.messages,
            connect_rate: match args.connect_rate {
                Some(rate) => rate_within("--connect-rate", rate)?,
                None => f64::INFINITY,
            },
            connect_burst: args.connect_burst,
            origin: args.origin.clone(),
            subprotocols: args.subprotocol.clone(),
            fields: args.header.iter().map(|field| parse_field(field)).collect::<Result<_, _>>()?,
            mask: args.mask,
            seed,
        })
    }

    /// Descriptors that the run holds at its height.
    pub(crate) fn descriptors(&self) -> u64 {
        u64::from(self.connections) + OTHER_DESCRIPTORS
    }

    /// How long all opening handshakes together may take: a thousand a second is slow, and a start is free.
    pub(crate) fn connect_limit(&self) -> Nanos {
        let paced = f64::from(self.connections) / self.connect_rate.min(1000.0);
        30 * SECOND + nanos(Duration::try_from_secs_f64(paced).unwrap_or(MAX_DURATION))
    }
}

/// Checks the soft limit of descriptors after it was raised as far as it goes.
pub(crate) fn check_descriptors(needed: u64, limit: Option<u64>) -> Result<(), PlanError> {
    match limit {
        Some(limit) if limit < needed => Err(PlanError(format!(
            "{needed} descriptors are needed and {limit} are allowed: raise the hard limit (ulimit -Hn {needed} as \
             root, LimitNOFILE= of a unit, or /etc/security/limits.conf), or ask for fewer --connections"
        ))),
        _ => Ok(()),
    }
}

fn within(name: &str, value: u64, min: u64, max: u64) -> Result<(), PlanError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(PlanError(format!("{name} is {value}, and must be from {min} to {max}")))
}

fn rate_within(name: &str, rate: f64) -> Result<f64, PlanError> {
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
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    const HERE: &str = "127.0.0.1:9001";

    fn plan(options: &str, address: &str) -> Result<Plan, PlanError> {
        let words = ["loadgen", "echo", "ws://localhost:9001/x?y=1"];
        let cli = Cli::try_parse_from(words.into_iter().chain(options.split_whitespace())).unwrap();
        let Command::Echo(args) = cli.command;
        Plan::check(&args, Target::parse(&args.url)?, &[address.parse().unwrap()], 7)
    }

    #[test]
    fn a_url_becomes_a_target() {
        let target = Target::parse("ws://[::1]:8080/chat%20room?a=b").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 8080));
        assert_eq!(
            (target.authority.as_str(), target.path_and_query.as_str()),
            ("[::1]:8080", "/chat%20room?a=b")
        );
        let target = Target::parse("ws://example.org").unwrap();
        assert_eq!(
            (target.port, target.authority.as_str(), target.path_and_query.as_str()),
            (80, "example.org", "/")
        );
        for bad in
            ["localhost:1", "http://localhost/", "wss://localhost/", "ws://h/#f", "ws://u:p@h/", "ws://"]
        {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_has_no_bound_is_refused() {
        for bad in [
            "--connections 0",
            "--connections 70000",
            "--size 99999999",
            "--pipeline 0",
            "--messages 0",
            "--duration 0s",
            "--duration 9000m",
            "--warmup 9000m",
            "--rate 0",
            "--rate NaN",
            "--rate inf",
            "--connect-rate 0",
            "--connect-burst 0",
            "--connections 60000 --pipeline 60000 --size 1000",
            "--subprotocol a,b",
            "--header nothing",
            "--header Host:x",
        ] {
            assert!(plan(bad, HERE).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_flooded_unless_it_is_owned() {
        let error = plan("", "192.0.2.1:80").unwrap_err().to_string();
        assert!(error.contains("--i-own-this-server"), "{error}");
        assert!(plan("--i-own-this-server", "192.0.2.1:80").is_ok());
        for here in ["127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(plan("", here).is_ok(), "{here}");
        }
    }

    #[test]
    fn a_number_of_messages_needs_no_warm_up_and_gets_a_longer_bound() {
        let timed = plan("", HERE).unwrap();
        assert_eq!((timed.warmup, timed.duration), (SECOND, 10 * SECOND));
        let counted = plan("--messages 5", HERE).unwrap();
        assert_eq!((counted.warmup, counted.duration), (0, 60 * SECOND));
    }

    #[test]
    fn too_few_descriptors_say_what_to_do() {
        let needed = plan("--connections 5000", HERE).unwrap().descriptors();
        assert!(needed > 5000);
        assert_eq!(check_descriptors(needed, Some(needed)), Ok(()));
        assert_eq!(check_descriptors(needed, None), Ok(()));
        let error = check_descriptors(needed, Some(1024)).unwrap_err().to_string();
        assert!(error.contains("1024") && error.contains("ulimit"), "{error}");
    }
}
