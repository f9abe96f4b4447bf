//! Values of options: times, sizes, addresses, and the shape of a load over time.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::{Nanos, nanos};

/// Limit on the addresses of one `--source-ip`.
const MAX_ADDRESSES: u32 = 65_536;

/// Highest rate of a run, in events per second.
pub(crate) const MAX_RATE: f64 = 100e6;

/// Limit on the stages of a run.
const MAX_STAGES: usize = 1000;

/// Reads `10s`, `500ms`, `2m`, or seconds without a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1.0,
        "" | "s" => 1e3,
        "m" => 60e3,
        "h" => 3600e3,
        _ => return Err("expected a time such as 10s, 500ms, 2m or 1h".to_owned()),
    };
    let number: f64 =
        digits.parse().map_err(|_| "expected a time such as 10s, 500ms, 2m or 1h".to_owned())?;
    Duration::try_from_secs_f64(number * unit_ms / 1e3).map_err(|_| "the time is out of range".to_owned())
}

/// Reads a time of day: RFC 3339, or seconds since 1970.
pub(crate) fn instant(text: &str) -> Result<SystemTime, String> {
    let since_1970 = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let instant = match since_1970 {
        Some(since) => UNIX_EPOCH.checked_add(since),
        None => humantime::parse_rfc3339_weak(text).ok(),
    };
    instant
        .ok_or_else(|| "expected an instant such as 2026-03-01T12:00:00Z, or seconds since 1970".to_owned())
}

/// Sizes of messages in bytes, uniformly distributed from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read =
            |part: &str| part.trim().parse().map_err(|_| "expected bytes, such as 20 or 20-200".to_owned());
        let (min, max) = match text.split_once('-') {
            Some((min, max)) => (read(min)?, read(max)?),
            None => (read(text)?, read(text)?),
        };
        if min > max {
            return Err("write the smaller size first, such as 20-200".to_owned());
        }
        Ok(Self { min, max })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

/// One address, or all from the first to the last: `127.0.0.2-127.0.0.99`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses(pub(crate) Vec<IpAddr>);

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected an address, or IPv4 addresses such as 127.0.0.2-127.0.0.99";
        let Some((first, last)) = text.split_once('-') else {
            return text.parse().map(|address| Self(vec![address])).map_err(|_| EXPECTED.to_owned());
        };
        let read = |part: &str| part.trim().parse::<Ipv4Addr>().map_err(|_| EXPECTED.to_owned());
        let (first, last) = (u32::from(read(first)?), u32::from(read(last)?));
        if first > last {
            return Err("write the lower address first".to_owned());
        }
        if last - first >= MAX_ADDRESSES {
            return Err(format!("more than {MAX_ADDRESSES} addresses"));
        }
        Ok(Self((first..=last).map(|bits| IpAddr::from(Ipv4Addr::from(bits))).collect()))
    }
}

/// A part of a run with a constant rate, or with a rate that changes linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stage {
    pub(crate) length: Nanos,
    /// Events per second at the start and at the end.
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// Limit on the characters of an annotation.
const MAX_ANNOTATION: usize = 500;

/// Reads an annotation.
pub(crate) fn annotation(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=MAX_ANNOTATION => Ok(text.to_owned()),
        count => Err(format!("it has {count} characters, and must have from 1 to {MAX_ANNOTATION}")),
    }
}

/// One of several processes that run the same scenario together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// From 0.
    pub(crate) index: u32,
    pub(crate) of: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

impl Share {
    /// Whether thing number `number` of all belongs to this process: they are dealt in turn.
    #[inline]
    pub(crate) fn has(self, number: u32) -> bool {
        self.of == 1 || number % self.of == self.index
    }

    /// The number among all things of this process's own thing number `own`.
    #[inline]
    pub(crate) fn number(self, own: u32) -> u32 {
        own * self.of + self.index
    }

    /// The reverse of [`Self::number`].
    #[inline]
    pub(crate) fn own(self, number: u32) -> u32 {
        if self.of == 1 { number } else { number / self.of }
    }

    /// Its part of `all` things; the first processes have one more if it does not divide evenly.
    pub(crate) fn count(self, all: u32) -> u32 {
        all / self.of + u32::from(self.index < all % self.of)
    }

    /// Its part of a rate.
    pub(crate) fn rate(self, all: f64) -> f64 {
        all / f64::from(self.of)
    }
}

/// Stages one after another: `10s@1000/s,30s@1000..5000/s,10s@0`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stages(pub(crate) Vec<Stage>);

impl Stages {
    /// The length of all stages.
    pub(crate) fn length(&self) -> Nanos {
        self.0.iter().map(|stage| stage.length).fold(0, Nanos::saturating_add)
    }
}

impl FromStr for Stages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected stages such as 10s@1000/s,30s@1000..5000/s,10s@0";
        let rate = |text: &str| match text.trim().parse::<f64>() {
            Ok(rate) if (0.0..=MAX_RATE).contains(&rate) => Ok(rate),
            Ok(_) => Err(format!("a rate must be from 0 to {MAX_RATE} a second")),
            Err(_) => Err(EXPECTED.to_owned()),
        };
        let stage = |text: &str| {
            let (length, rates) = text.split_once('@').ok_or(EXPECTED)?;
            let rates = rates.trim().trim_end_matches("/s");
            let (from, to) = rates.split_once("..").unwrap_or((rates, rates));
            let length = nanos(duration(length.trim())?);
            if length == 0 {
                return Err("a stage must have a length".to_owned());
            }
            Ok(Stage { length, from: rate(from)?, to: rate(to)? })
        };
        let stages: Vec<Stage> = text.split(',').map(stage).collect::<Result<_, String>>()?;
        if stages.len() > MAX_STAGES {
            return Err(format!("more than {MAX_STAGES} stages"));
        }
        if stages.iter().all(|stage| stage.from + stage.to == 0.0) {
            return Err("no stage has a rate".to_owned());
        }
        Ok(Self(stages))
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Stage { length, from, to }) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{}@{from}", humantime::format_duration(Duration::from_nanos(*length)))?;
            if from.to_bits() != to.to_bits() {
                write!(f, "..{to}")?;
            }
            f.write_str("/s")?;
        }
        Ok(())
    }
}

/// How the messages of an open loop are spread over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// At equal distances.
    #[default]
    Even,
    /// At random, as a Poisson process.
    Poisson,
    /// Several messages at the same instant, and bursts at equal distances.
    Bursts(u64),
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.split_once(':')) {
            ("even", _) => Ok(Self::Even),
            ("poisson", _) => Ok(Self::Poisson),
            (_, Some(("bursts", count))) => match count.parse() {
                Ok(count @ 1..=1_000_000) => Ok(Self::Bursts(count)),
                _ => Err("a burst has from 1 to 1000000 messages".to_owned()),
            },
            _ => Err("expected even, poisson or bursts:N".to_owned()),
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Even => f.write_str("even"),
            Self::Poisson => f.write_str("poisson"),
            Self::Bursts(count) => write!(f, "bursts:{count}"),
        }
    }
}

/// How long a user waits between an answer and the next message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ThinkTime {
    /// Always the same time.
    Fixed(Nanos),
    /// Uniformly distributed.
    Uniform(Nanos, Nanos),
    /// Exponentially distributed with this mean, and at most ten times as long.
    Exponential(Nanos),
}

impl ThinkTime {
    /// A time for two random numbers: `unit` uniformly distributed from 0 to 1, `exponential` with the mean 1.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "times of a run are far below 2^53 ns, and not negative"
    )]
    pub(crate) fn of(self, unit: f64, exponential: f64) -> Nanos {
        match self {
            Self::Fixed(time) => time,
            Self::Uniform(min, max) => min + ((max - min) as f64 * unit) as Nanos,
            Self::Exponential(mean) => (mean as f64 * exponential.min(10.0)) as Nanos,
        }
    }
}

impl FromStr for ThinkTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = |text: &str| duration(text.trim()).map(nanos);
        let think = if let Some(mean) = text.strip_prefix("exp:") {
            Self::Exponential(time(mean)?)
        } else if let Some((min, max)) = text.split_once('-') {
            let (min, max) = (time(min)?, time(max)?);
            if min > max {
                return Err("write the shorter time first, such as 100ms-300ms".to_owned());
            }
            Self::Uniform(min, max)
        } else {
            Self::Fixed(time(text)?)
        };
        Ok(think)
    }
}

impl fmt::Display for ThinkTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |nanos: &Nanos| humantime::format_duration(Duration::from_nanos(*nanos));
        match self {
            Self::Fixed(each) => write!(f, "{}", time(each)),
            Self::Uniform(min, max) => write!(f, "{}-{}", time(min), time(max)),
            Self::Exponential(mean) => write!(f, "exp:{}", time(mean)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        for (text, ms) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("3", 3_000),
            ("0.25s", 250),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "10x", "-1s", "1e400s", "ten"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_instant_is_a_date_or_a_number() {
        let expected = Ok(UNIX_EPOCH + Duration::from_millis(1_772_366_400_500));
        for text in ["1772366400.5", "2026-03-01T12:00:00.5Z", "2026-03-01 12:00:00.5"] {
            assert_eq!(instant(text), expected, "{text}");
        }
        for bad in ["", "noon", "-1", "1e300", "2026-13-01T00:00:00Z"] {
            assert!(instant(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_is_one_or_a_range() {
        assert_eq!("20".parse(), Ok(Sizes { min: 20, max: 20 }));
        assert_eq!("20-200".parse(), Ok(Sizes { min: 20, max: 200 }));
        assert_eq!("20-200".parse::<Sizes>().unwrap().to_string(), "20-200");
        for bad in ["", "-", "x", "9-8", "1-", "1.5"] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_one_or_a_range() {
        let range: Addresses = "127.0.0.254-127.0.1.1".parse().unwrap();
        let expected: Vec<IpAddr> = ["127.0.0.254", "127.0.0.255", "127.0.1.0", "127.0.1.1"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        assert_eq!(range.0, expected);
        assert_eq!("::1".parse::<Addresses>().unwrap().0.len(), 1);
        for bad in ["", "localhost", "127.0.0.9-127.0.0.2", "0.0.0.0-255.255.255.255", "127.0.0.1-"] {
            assert!(bad.parse::<Addresses>().is_err(), "{bad}");
        }
    }

    #[test]
    fn stages_have_a_length_and_a_rate_or_two() {
        let stages: Stages = "10s@1000/s, 500ms@0..5e3/s,1m@0".parse().unwrap();
        let second = 1_000_000_000;
        assert_eq!(
            stages.0,
            [
                Stage { length: 10 * second, from: 1000.0, to: 1000.0 },
                Stage { length: second / 2, from: 0.0, to: 5000.0 },
                Stage { length: 60 * second, from: 0.0, to: 0.0 },
            ]
        );
        assert_eq!(stages.length(), 70 * second + second / 2);
        assert_eq!(stages.to_string(), "10s@1000/s,500ms@0..5000/s,1m@0/s");
        for bad in
            ["", "10s", "@5", "10s@", "10s@x", "10s@-1", "0s@5", "10s@0", "10s@1..2..3", "10s@NaN", "10s@1e9"]
        {
            assert!(bad.parse::<Stages>().is_err(), "{bad}");
        }
    }

    #[test]
    fn arrivals_and_think_times_are_read() {
        for text in ["even", "poisson", "bursts:50"] {
            assert_eq!(text.parse::<Arrivals>().unwrap().to_string(), text);
        }
        for bad in ["", "bursts", "bursts:0", "bursts:x", "random"] {
            assert!(bad.parse::<Arrivals>().is_err(), "{bad}");
        }
        for text in ["200ms", "100ms-300ms", "exp:2s"] {
            assert_eq!(text.parse::<ThinkTime>().unwrap().to_string(), text);
        }
        for bad in ["", "exp:", "3s-1s", "x"] {
            assert!(bad.parse::<ThinkTime>().is_err(), "{bad}");
        }
        let think: ThinkTime = "100ms-300ms".parse().unwrap();
        assert_eq!((think.of(0.0, 9.0), think.of(0.5, 9.0)), (100_000_000, 200_000_000));
        let think: ThinkTime = "exp:1s".parse().unwrap();
        assert_eq!((think.of(0.9, 0.5), think.of(0.9, 99.0)), (500_000_000, 10_000_000_000));
    }
}
