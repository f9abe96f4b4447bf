//! Conditions on reports, such as `p99<5ms` and `p99>1.1x`.

use std::fmt;
use std::str::FromStr;

use crate::report::{Assertion, Latency, Report};

/// The figures that a condition can be about.
const FIGURES: &str = "p50, p90, p99, p99.9, p99.99, min, mean or max (alone: from the planned instant in an open loop, \
    from the send in a closed one, of the handshake in churn, storm and idle; or with send., plan., last., delivery., \
    handshake. or storm. before it), rate, handshakes, lost, duplicated, reordered, corrupted, unsent, failed, opened, \
    late, unrecovered, slow_cut, busy, rss";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    Unequal,
}

impl Sign {
    /// The longer signs stand first, so that none is taken for its beginning.
    const ALL: [(&'static str, Self); 6] = [
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("==", Self::Equal),
        ("!=", Self::Unequal),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    #[expect(clippy::float_cmp, reason = "counts are whole numbers, and exact")]
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
        }
    }
}

/// A figure, a sign and a limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    text: String,
    figure: String,
    sign: Sign,
    /// In the unit that was written.
    limit: f64,
    /// Nanoseconds of the unit; 1 for what has none.
    unit: f64,
}

/// A number that can be compared with; NaN never holds, and infinity always or never.
fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

fn split(text: &str) -> Result<(String, Sign, &str), String> {
    let (at, (sign_text, sign)) = Sign::ALL
        .iter()
        .filter_map(|sign| Some((text.find(sign.0)?, sign)))
        .min_by_key(|(at, sign)| (*at, std::cmp::Reverse(sign.0.len())))
        .ok_or("expected a figure, one of < <= > >= == !=, and a limit, such as p99<5ms")?;
    let figure = text[..at].trim().to_owned();
    if !is_figure(&figure) {
        return Err(format!("{figure:?} is no figure; there are {FIGURES}"));
    }
    Ok((figure, *sign, text[at + sign_text.len()..].trim()))
}

/// Whether the figure is a time.
pub(crate) fn is_time(figure: &str) -> bool {
    let name = figure.split_once('.').filter(|(group, _)| is_group(group)).map_or(figure, |(_, name)| name);
    Latency::default().value(name).is_some()
}

fn is_group(name: &str) -> bool {
    ["send", "plan", "last", "delivery", "handshake", "storm"].contains(&name)
}

fn is_figure(figure: &str) -> bool {
    const COUNTS: [&str; 14] = [
        "rate",
        "handshakes",
        "lost",
        "duplicated",
        "reordered",
        "corrupted",
        "unsent",
        "failed",
        "opened",
        "late",
        "unrecovered",
        "slow_cut",
        "busy",
        "rss",
    ];
    is_time(figure) || COUNTS.contains(&figure)
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (figure, sign, limit) = split(text)?;
        let digits = limit.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
        let unit = match (&limit[digits.len()..], is_time(&figure)) {
            ("ns", true) | ("", false) => 1.0,
            ("us", true) => 1e3,
            ("ms", true) => 1e6,
            ("s", true) => 1e9,
            ("%", false) => 0.01,
            (_, true) => return Err(format!("{figure} is a time: give a limit such as 5ms or 200us")),
            (unit, false) => return Err(format!("{figure} has no unit {unit:?}")),
        };
        let limit = number(digits).ok_or(format!("{limit:?} is no limit"))?;
        Ok(Self { text: text.to_owned(), figure, sign, limit, unit })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    /// The unit of the figure as it is written behind a value.
    pub(crate) fn unit_name(&self) -> &'static str {
        if is_time(&self.figure) {
            return match self.unit {
                unit if unit >= 1e9 => " s",
                unit if unit >= 1e6 => " ms",
                unit if unit >= 1e3 => " us",
                _ => " ns",
            };
        }
        match self.figure.as_str() {
            "rate" => " msgs/s",
            "handshakes" => " connections/s",
            "rss" => " bytes",
            "failed" | "opened" | "slow_cut" => " connections",
            "busy" if self.unit < 1.0 => " %",
            "busy" => " of a core",
            "unrecovered" => " histories",
            _ => " messages",
        }
    }

    /// Checks it. What the run did not measure does not hold.
    pub(crate) fn check(&self, report: &Report) -> Assertion {
        let value = figure(report, &self.figure).map(|value| value / self.unit);
        Assertion {
            condition: self.text.clone(),
            value,
            holds: value.is_some_and(|value| self.sign.holds(value, self.limit)),
        }
    }
}

/// A figure of a report: times in nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
pub(crate) fn figure(report: &Report, name: &str) -> Option<f64> {
    let count = |value: u64| Some(value as f64);
    match name {
        "rate" => Some(report.messages_per_second),
        "handshakes" => Some(report.handshakes_per_second),
        "lost" => count(report.lost),
        "duplicated" => count(report.duplicated),
        "reordered" => count(report.reordered),
        "corrupted" => count(report.corrupted),
        "unsent" => count(report.unsent),
        "failed" => count(report.failed),
        "opened" => count(report.opened),
        "late" => report.late.and_then(count),
        "unrecovered" => count(report.unrecovered),
        "slow_cut" => report.slow.as_ref().and_then(|slow| count(slow.cut.values().sum())),
        "busy" => Some(report.generator.busiest_thread),
        "rss" => report.server.as_ref().and_then(|server| count(server.max_rss_bytes)),
        _ => {
            let Some((group, name)) = name.split_once('.').filter(|(group, _)| is_group(group)) else {
                return report.primary()?.value(name);
            };
            let latency = match group {
                "send" => report.latency_from_send_ns.as_ref(),
                "plan" => report.latency_from_plan_ns.as_ref(),
                "last" => report.latency_to_last_ns.as_ref(),
                "delivery" => report.latency_of_delivery_ns.as_ref(),
                "handshake" => report.handshake_ns.as_ref(),
                _ => return storm(report, name),
            };
            latency?.value(name)
        }
    }
}

/// Storms are few: only their longest, shortest and mean are figures.
#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
fn storm(report: &Report, name: &str) -> Option<f64> {
    let storms = &report.storms_ns;
    match name {
        "max" => storms.iter().max().map(|storm| *storm as f64),
        "min" => storms.iter().min().map(|storm| *storm as f64),
        "mean" if !storms.is_empty() => Some(storms.iter().sum::<u64>() as f64 / storms.len() as f64),
        _ => None,
    }
}

/// A figure, a sign and a limit on the ratio of two reports.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RatioCondition {
    text: String,
    pub(crate) figure: String,
    sign: Sign,
    limit: f64,
}

impl FromStr for RatioCondition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (figure, sign, limit) = split(text)?;
        if !matches!(sign, Sign::Less | Sign::LessOrEqual | Sign::Greater | Sign::GreaterOrEqual) {
            return Err("a ratio is compared with < <= > or >=".to_owned());
        }
        let number = limit.strip_suffix('x').ok_or("expected a ratio such as 1.1x")?;
        let limit = self::number(number).ok_or(format!("{limit:?} is no ratio such as 1.1x"))?;
        Ok(Self { text: text.to_owned(), figure, sign, limit })
    }
}

impl fmt::Display for RatioCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl RatioCondition {
    pub(crate) fn holds(&self, ratio: f64) -> bool {
        self.sign.holds(ratio, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_with_their_units() {
        for (text, figure, limit, unit) in [
            ("p99<5ms", "p99", 5.0, 1e6),
            ("p99.9 <= 200us", "p99.9", 200.0, 1e3),
            ("send.max>=1s", "send.max", 1.0, 1e9),
            ("lost==0", "lost", 0.0, 1.0),
            ("rate > 1000", "rate", 1000.0, 1.0),
            ("busy<50%", "busy", 50.0, 0.01),
            ("failed!=1", "failed", 1.0, 1.0),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!((condition.figure.as_str(), condition.to_string().as_str()), (figure, text));
            assert!((condition.limit - limit).abs() < 1e-9 && (condition.unit - unit).abs() < 1e-9, "{text}");
        }
        for bad in [
            "",
            "p99",
            "p99<",
            "p98<5ms",
            "p99<5",
            "lost==0ms",
            "rate>x",
            "<5ms",
            "other.p99<5ms",
            "rate>nan",
            "rate>inf",
            "p99<NaNms",
            "p99<-1ms",
            "rate>-inf",
            "lost<infinity",
        ] {
            assert!(bad.parse::<Condition>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ratios_are_read() {
        let condition: RatioCondition = "p99>1.1x".parse().unwrap();
        assert!(condition.holds(1.2) && !condition.holds(1.1));
        for bad in ["p99>1.1", "p99==1x", "p99>x", "p42>1x", "p99>NaNx", "p99>infx", "p99>-1x"] {
            assert!(bad.parse::<RatioCondition>().is_err(), "{bad}");
        }
    }
}
