//! The command line of `loadgen`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Floods a WebSocket server with checked messages and reports what it took.
#[derive(Debug, Parser)]
#[command(version, term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send messages to an echo server and compare every answer bit for bit
    ///
    /// Exit status: 0 all answers were right, 1 something was lost, wrong or refused, 2 the run could not start,
    /// 130 it was interrupted.
    Echo(EchoArgs),
}

/// Whose masking-keys go into the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mask {
    /// One key for all frames: cheapest
    Fixed,
    /// A new key for every frame, as RFC 6455 5.3 asks of clients
    Random,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EchoArgs {
    /// The server, as `ws://HOST[:PORT]/PATH`
    pub(crate) url: String,

    /// Connections, all open before the first message
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) connections: u32,
    /// Payload of each message in bytes
    #[arg(long, value_name = "B", default_value_t = 20)]
    pub(crate) size: usize,
    /// Closed loop: messages that each connection keeps unanswered
    #[arg(long, value_name = "P", default_value_t = 1, conflicts_with = "rate")]
    pub(crate) pipeline: u32,
    /// Open loop: messages per second over all connections, each at its planned instant, answered or not
    #[arg(long, value_name = "R", conflicts_with = "messages")]
    pub(crate) rate: Option<f64>,
    /// How long to measure [default: 10s; with --messages it is a bound: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Traffic before the measurement, not in the figures [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "messages")]
    pub(crate) warmup: Option<Duration>,
    /// Each connection sends and gets M messages, then closes
    #[arg(long, value_name = "M")]
    pub(crate) messages: Option<u64>,
    /// Text messages (letters) instead of binary ones
    #[arg(long, conflicts_with = "binary")]
    pub(crate) text: bool,
    /// Binary messages: the default
    #[arg(long)]
    pub(crate) binary: bool,

    /// New connections per second [default: as fast as they are answered]
    #[arg(long, value_name = "R")]
    pub(crate) connect_rate: Option<f64>,
    /// Opening handshakes under way at once, so that the server's listen backlog is not overrun
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) connect_burst: u32,
    /// Offer a subprotocol; may stand more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,
    /// A further field of the request; may stand more than once
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// The Origin field
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Masking-keys of the frames
    #[arg(long, value_enum, default_value_t = Mask::Random)]
    pub(crate) mask: Mask,
    /// Seed of keys and payloads [default: a new one, printed in the report]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,

    /// Write the report to a file as JSON, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Allow a target that is not this machine
    #[arg(long)]
    pub(crate) i_own_this_server: bool,
}

/// Reads `10s`, `500ms`, `2m`, or seconds without a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1.0,
        "" | "s" => 1e3,
        "m" => 60e3,
        _ => return Err("expected a time such as 10s, 500ms or 2m".to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| "expected a time such as 10s, 500ms or 2m".to_owned())?;
    Duration::try_from_secs_f64(number * unit_ms / 1e3)
        .map_err(|_| "not a time that can be waited".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        for (text, ms) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("3", 3_000), ("0.25s", 250)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "10x", "-1s", "1e400s", "ten"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
