//! Conditions on the figures of a report, such as `p99<5ms` and `p99>1.1x`: how they are written and read.

use std::fmt;
use std::str::FromStr;

/// The figures that a condition may name, for the error message.
const FIGURES: &str = "p50, p90, p99, p99.9, p99.99, min, mean or max (alone: from the planned instant in an open loop, \
    from the send in a closed one, of the handshake in churn, storm and idle; or with send., plan., last., delivery., \
    handshake., dial., tls., upgrade., first., storm. or drift. before it), rate, handshakes, lost, duplicated, reordered, corrupted, unsent, failed, opened, \
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
    /// Longer signs first, so that `<=` is not read as `<`.
    const ALL: [(&'static str, Self); 6] = [
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("==", Self::Equal),
        ("!=", Self::Unequal),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    #[expect(clippy::float_cmp, reason = "counts are whole numbers, and exact")]
    fn compares(self, left: f64, right: f64) -> bool {
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
    /// In the unit that the condition is written in.
    limit: f64,
    /// Nanoseconds of the unit; 1 if the figure is not a time.
    unit: f64,
}

/// A finite number of at least 0. NaN and infinity are refused: a condition with them always or never holds.
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
        return Err(format!("{figure:?} is not a figure; use one of {FIGURES}"));
    }
    Ok((figure, *sign, text[at + sign_text.len()..].trim()))
}

/// Latencies that a condition may select with a word before the figure, such as `send.p99`.
const GROUPS: [&str; 11] =
    ["send", "plan", "last", "delivery", "handshake", "dial", "tls", "upgrade", "first", "storm", "drift"];

/// Figures of a latency.
const TIMES: [&str; 8] = ["min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// The group and the name of a figure: `send.p99` is `p99` of the group `send`, `p99` and `p99.9` have no group.
pub(crate) fn group_of(figure: &str) -> (Option<&str>, &str) {
    match figure.split_once('.') {
        Some((group, name)) if GROUPS.contains(&group) => (Some(group), name),
        _ => (None, figure),
    }
}

/// Whether the figure is a time.
pub(crate) fn is_time(figure: &str) -> bool {
    TIMES.contains(&group_of(figure).1)
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
            (_, true) => return Err(format!("{figure} is a time: write a limit such as 5ms or 200us")),
            (unit, false) => return Err(format!("{figure} has no unit {unit:?}")),
        };
        let limit = number(digits).ok_or(format!("{limit:?} is not a limit"))?;
        Ok(Self { text: text.to_owned(), figure, sign, limit, unit })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    /// The name of the figure.
    pub(crate) fn figure(&self) -> &str {
        &self.figure
    }

    /// The unit of the figure, with a space before it.
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

    /// Converts a figure (times in nanoseconds) to the unit of the condition.
    pub(crate) fn in_unit(&self, value: f64) -> f64 {
        value / self.unit
    }

    /// Whether the condition holds for a figure in its unit.
    pub(crate) fn holds(&self, value: f64) -> bool {
        self.sign.compares(value, self.limit)
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
        let limit = self::number(number).ok_or(format!("{limit:?} is not a ratio such as 1.1x"))?;
        Ok(Self { text: text.to_owned(), figure, sign, limit })
    }
}

impl fmt::Display for RatioCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl RatioCondition {
    /// Whether the condition holds for a ratio.
    pub(crate) fn holds(&self, ratio: f64) -> bool {
        self.sign.compares(ratio, self.limit)
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
