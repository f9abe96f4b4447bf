//! Charts of a report in characters: the rate over time, and the distribution of the latency.

use super::figures::{Time, per_second, rate, share};
use super::latency::Latency;
use super::report::Report;

/// Limit on the characters of the rate over time.
const CURVE_LEN: usize = 60;
/// Limit on the rows of the distribution.
const MAX_ROWS: usize = 12;
/// Characters of the longest bar.
const BAR_LEN: f64 = 40.0;
/// Levels of a character, from an eighth to all of its height.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Parts of a character, from an eighth to all of its width.
const PARTS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// One character for each value, by its share of the highest one.
pub(crate) fn curve(values: &[u64]) -> String {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    values.iter().map(|value| LEVELS[(u128::from(*value) * 7 / u128::from(most)) as usize]).collect()
}

/// The rate over time in a line; `None`: the run has too few intervals.
pub(super) fn rate_over_time(report: &Report) -> Option<String> {
    let answered: Vec<u64> = report.intervals.iter().map(|interval| interval.answered).collect();
    if answered.len() < 2 {
        return None;
    }
    let each = answered.len().div_ceil(CURVE_LEN);
    let sums: Vec<u64> =
        answered.chunks(each).map(|chunk| chunk.iter().sum::<u64>() / chunk.len() as u64).collect();
    let of = |value: Option<&u64>| rate(per_second(*value.unwrap_or(&0), report.interval_ns));
    Some(format!("{}  {} to {} per second", curve(&sums), of(sums.iter().min()), of(sums.iter().max())))
}

/// The distribution of a latency, a row for each power of two: upper bound, bar and share.
pub(super) fn distribution(latency: &Latency) -> Vec<String> {
    let mut rows: Vec<(u32, u64)> = Vec::new();
    for (value, count) in &latency.histogram {
        let octave = value.max(&1).ilog2();
        match rows.last_mut() {
            Some((last, sum)) if *last == octave => *sum += count,
            _ => rows.push((octave, *count)),
        }
    }
    // The longest latencies share the last row.
    let beyond: u64 = rows.get(MAX_ROWS - 1..).unwrap_or_default().iter().map(|(_, count)| count).sum();
    let is_cut = rows.len() > MAX_ROWS;
    if is_cut {
        rows.truncate(MAX_ROWS);
        rows[MAX_ROWS - 1].1 = beyond;
    }
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let last = rows.len().saturating_sub(1);
    let lines = rows.iter().enumerate().map(|(i, (octave, count))| {
        let bound = if is_cut && i == last {
            format!("≥ {}", Time(1 << octave))
        } else {
            format!("< {}", Time(2 << octave))
        };
        let percent = share(*count, latency.count) * 100.0;
        format!("{bound:<10}  {:<40}  {percent:.2} %", bar(share(*count, most)))
    });
    lines.collect()
}

/// A bar whose length is this share of the longest one.
#[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
fn bar(share: f64) -> String {
    let eighths = (share * BAR_LEN * 8.0).round().max(1.0) as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(PARTS[eighths % 8 - 1]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_shows_each_value_by_its_share_of_the_highest() {
        assert_eq!(curve(&[]), "");
        assert_eq!(curve(&[0, 50, 100]), "▁▄█");
        assert_eq!(curve(&[u64::MAX, 0]), "█▁");
    }

    #[test]
    fn the_rows_of_a_distribution_are_bounded_and_add_up() {
        let histogram: Vec<(u64, u64)> = (0..40).map(|bits| (1 << bits, 1)).collect();
        let latency = Latency { count: 40, histogram, ..Latency::default() };
        let rows = distribution(&latency);
        assert_eq!(rows.len(), MAX_ROWS);
        assert!(rows[0].starts_with("< ") && rows[11].starts_with("≥ "), "{rows:?}");
        let shares = rows.iter().map(|row| row.rsplit("  ").next().unwrap().trim_end_matches(" %"));
        let sum: f64 = shares.map(|share| share.parse::<f64>().unwrap()).sum();
        assert!((sum - 100.0).abs() < 0.1, "{rows:?}");
        assert_eq!((bar(1.0).chars().count(), bar(0.0)), (40, "▏".to_owned()));
    }
}
