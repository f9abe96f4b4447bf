//! Numbers as people read them.

use std::fmt;

use crate::clock::{Nanos, SECOND};

/// A time with three significant digits and a unit.
pub(crate) struct Time(pub(crate) Nanos);

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            nanos @ 0..1_000_000 => (nanos as f64 / 1e3, "us"),
            nanos @ 1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
            nanos => (nanos as f64 / 1e9, "s"),
        };
        let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        write!(f, "{value:.digits$} {unit}")
    }
}

/// A number with separators: 1,234,567.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate, rounded, with separators.
#[expect(clippy::cast_sign_loss, reason = "a rate is not negative")]
pub(crate) fn rate(per_second: f64) -> String {
    grouped(per_second.round() as u64)
}

/// Microseconds of a time.
#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
pub(crate) fn micros(nanos: Nanos) -> f64 {
    nanos as f64 / 1e3
}

/// Mebibytes of a number of bytes.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The quotient of two numbers; 0 if the divisor is 0.
#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
pub(crate) fn share(value: u64, of: u64) -> f64 {
    if of > 0 { value as f64 / of as f64 } else { 0.0 }
}

/// Events per second.
#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
pub(crate) fn per_second(count: u64, window: Nanos) -> f64 {
    if window > 0 { count as f64 * SECOND as f64 / window as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0, 12, 999, 1000, 1_234_567].map(grouped), ["0", "12", "999", "1,000", "1,234,567"]);
        let times =
            [0, 1_234, 45_678, 456_789, 1_500_000, 2_000_000_000].map(|nanos| Time(nanos).to_string());
        assert_eq!(times, ["0.00 us", "1.23 us", "45.7 us", "457 us", "1.50 ms", "2.00 s"]);
        assert_eq!(rate(1234.6), "1,235");
    }
}
