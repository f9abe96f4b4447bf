//! What agents and their lead send: one JSON object in each line.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};

/// The version of these messages. Both sides must have the same version of `loadgen` besides.
pub(super) const PROTOCOL: &str = concat!("loadgen-agent/1 ", env!("CARGO_PKG_VERSION"));
/// Limit on a line that a lead sends, in bytes: a command line.
pub(super) const MAX_ORDER: u64 = 256 << 10;
/// Limit on a line that an agent sends, in bytes: a report.
pub(super) const MAX_ANSWER: u64 = 64 << 20;
/// A peer whose machine is gone is noticed after three of these intervals.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// What a lead sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Order {
    /// The first message: proves that the lead knows the token.
    Prove { protocol: String, nonce: String, mac: String },
    /// Asks for the time.
    Clock,
    /// Opens the connections of a run: the words behind `loadgen`, and the agent's place among all.
    Prepare { words: Vec<String>, index: u32, of: u32 },
    /// Sends the first message at this instant of the agent's clock, in nanoseconds since 1970.
    Start { at_ns: i64 },
    /// Ends the run.
    Stop,
}

/// What an agent sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Answer {
    /// The first message.
    Challenge {
        protocol: String,
        nonce: String,
    },
    /// Proves that the agent knows the token.
    Proof {
        mac: String,
    },
    /// The time of day at which [`Order::Clock`] was read, in nanoseconds since 1970.
    Clock {
        now_ns: i64,
    },
    /// The run is planned, and its connections are being opened.
    Prepared {
        connections: u32,
    },
    /// All connections are open.
    Ready,
    Progress(Progress),
    /// The run is over: the report, as `--json` writes it.
    Report {
        json: String,
    },
    /// The order cannot be obeyed.
    Refused {
        reason: String,
    },
}

/// Figures of a running agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) open: u64,
    pub(super) answered: u64,
    pub(super) faults: u64,
    pub(super) failures: u64,
}

/// Reads the lines of a peer.
#[derive(Debug)]
pub(super) struct Lines {
    stream: BufReader<TcpStream>,
    limit: u64,
}

/// Writes lines to a peer, from any thread.
#[derive(Debug, Clone)]
pub(super) struct Sender(Arc<Mutex<TcpStream>>);

/// Makes both halves of a connection. `limit`: the longest line of the peer in bytes.
pub(super) fn split(stream: TcpStream, limit: u64) -> io::Result<(Lines, Sender)> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(super::PATIENCE))?;
    SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    let sender = Sender(Arc::new(Mutex::new(stream.try_clone()?)));
    Ok((Lines { stream: BufReader::new(stream), limit }, sender))
}

impl Lines {
    /// Reads the next message.
    ///
    /// # Errors
    /// A sentence: the connection ended, `wait` passed, or the line is no such message.
    pub(super) fn next<M: DeserializeOwned>(&mut self, wait: Option<Duration>) -> Result<M, String> {
        self.stream.get_ref().set_read_timeout(wait).map_err(|error| error.to_string())?;
        let mut line = Vec::new();
        match self.stream.by_ref().take(self.limit).read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(count) if count as u64 == self.limit => {
                return Err(format!("it sent a line of more than {} bytes", self.limit));
            }
            Ok(_) => return Err("it closed the connection".to_owned()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                let wait = wait.unwrap_or_default().as_secs();
                return Err(format!("nothing was heard of it for {wait} s"));
            }
            Err(error) => return Err(format!("the connection was lost: {}", error.kind())),
        }
        serde_json::from_slice(&line)
            .map_err(|_| "it does not speak the protocol of loadgen agents".to_owned())
    }
}

impl Sender {
    /// Ends the connection for both sides and for all threads.
    pub(super) fn close(&self) {
        // The peer may have ended it.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
    }

    /// Sends a message.
    ///
    /// # Errors
    /// A sentence that says why it could not be sent.
    pub(super) fn send(&self, message: &impl Serialize) -> Result<(), String> {
        let mut line = serde_json::to_vec(message).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(&line).map_err(|error| format!("the connection was lost: {}", error.kind()))
    }
}
