//! Values of options: times, ranges of sizes, ranges of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

/// Limit on the addresses of one `--source-ip`.
const MAX_ADDRESSES: u32 = 65_536;

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
}
