//! A healthy client: one small message every millisecond, and how long its echo takes.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use switchboard::proto::Opcode;

use super::prepare;
use super::talker::{Talk, Talker};
use crate::link::{Endpoint, Link};
use crate::wire;

const INTERVAL: Duration = Duration::from_millis(1);
const LEN: usize = 20;

pub(crate) struct Probe {
    stream: Link<TcpStream>,
    talker: Talker,
    frame: Vec<u8>,
    /// When the message that is under way, or the next one, was to be sent. What is late counts as late.
    planned: Instant,
    is_under_way: bool,
    round_trips: Histogram<u64>,
}

/// A histogram of nanoseconds up to an hour.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are in order"))
}

/// A percentile in microseconds.
pub(crate) fn percentile(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

impl Probe {
    pub(crate) fn open(endpoint: Endpoint, is_raw: bool) -> io::Result<Self> {
        let frame = wire::masked(Opcode::Binary, &wire::letters(LEN));
        Ok(Self {
            stream: prepare(wire::open(endpoint)?)?,
            talker: Talk::new(is_raw, frame.len()).talker(),
            frame,
            planned: Instant::now(),
            is_under_way: false,
            round_trips: histogram(),
        })
    }

    /// Sends what is due and takes what has come. To be called as often as can be.
    pub(crate) fn poke(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if !self.is_under_way {
            if now >= self.planned {
                self.stream.write_all(&self.frame)?;
                self.is_under_way = true;
            }
            return Ok(());
        }
        let mut buffer = [0; 256];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the server ended the healthy client's connection")),
            Ok(len) => {
                let mut owed = Vec::new();
                if self.talker.receive(&mut buffer[..len], &mut owed)? > 0 {
                    self.is_under_way = false;
                    self.record(Instant::now());
                    self.planned += INTERVAL;
                }
                self.stream.write_all(&owed)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn record(&mut self, now: Instant) {
        self.round_trips.saturating_record(now.duration_since(self.planned).as_nanos() as u64);
    }

    /// The round trips since the last call, and those that should have been made and were not.
    pub(crate) fn take(&mut self) -> Histogram<u64> {
        let now = Instant::now();
        let planned = self.planned;
        while self.planned < now {
            self.record(now);
            self.planned += INTERVAL;
        }
        if self.is_under_way {
            self.planned = planned;
        }
        std::mem::replace(&mut self.round_trips, histogram())
    }
}
