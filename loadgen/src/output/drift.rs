//! The drift of an open loop: by how much messages left after their planned instants, and whether that grows.

use crate::clock::{Nanos, SECOND};

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its middle.
    pub(crate) at: Nanos,
    /// Messages planned in it that were sent.
    pub(crate) sent: u64,
    /// The mean drift of them.
    pub(crate) drift: Nanos,
}

/// By how much the drift grows, in nanoseconds for each second of the run: the slope of the line that fits the mean drifts
/// of all parts best, each as heavy as the messages that it had. `None`: fewer than two parts had messages.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of hours are far below 2^52")]
pub(crate) fn trend(parts: &[Part]) -> Option<f64> {
    let points = || {
        parts
            .iter()
            .filter(|part| part.sent > 0)
            .map(|part| (part.sent as f64, part.at as f64 / SECOND as f64, part.drift as f64))
    };
    points().nth(1)?;
    let weight: f64 = points().map(|(weight, ..)| weight).sum();
    let mean_at = points().map(|(weight, at, _)| weight * at).sum::<f64>() / weight;
    let mean_drift = points().map(|(weight, _, drift)| weight * drift).sum::<f64>() / weight;
    let together: f64 =
        points().map(|(weight, at, drift)| weight * (at - mean_at) * (drift - mean_drift)).sum();
    let spread: f64 = points().map(|(weight, at, _)| weight * (at - mean_at).powi(2)).sum();
    Some(together / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trend of parts of 100 ms with these messages and mean drifts.
    fn rounded(of: &[(u64, Nanos)]) -> Option<i64> {
        let parts: Vec<Part> =
            (0..).zip(of).map(|(i, &(sent, drift))| Part { at: i * SECOND / 10, sent, drift }).collect();
        trend(&parts).map(|trend| trend.round() as i64)
    }

    #[test]
    fn the_trend_is_what_each_second_adds() {
        assert_eq!(rounded(&[(5, 1000), (5, 2000), (5, 3000)]), Some(10_000));
        // A part without messages says nothing.
        assert_eq!(rounded(&[(5, 3000), (0, 0), (5, 2000)]), Some(-5_000));
        assert_eq!(rounded(&[(7, 40), (9, 40), (1, 40)]), Some(0));
        // One message in two thousand does not make a trend.
        assert!(rounded(&[(1000, 10), (1000, 10), (1, 5000)]).unwrap() < 200);
        assert_eq!(rounded(&[(7, 40), (0, 0)]), None);
        assert_eq!(rounded(&[]), None);
    }
}
